//! How a running server is, and the handle that asks it or stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::Waker;
use traversal_core::text::TextError;

use crate::config::Settings;
use crate::outcomes::Outcomes;
use crate::run::BoundServer;
use crate::server::{Counters, Gauges};
use crate::surroundings::Finding;

/// Somebody who asks how the server is waits so long.
pub(crate) const STATUS_WAIT: Duration = Duration::from_secs(1);

/// The server's thread does this between two datagrams.
pub(crate) type Task = Box<dyn FnOnce(&mut BoundServer, Instant) + Send>;

/// This says whether the server is to end: it goes up only.
const SERVES: u8 = 0;
const DRAINS: u8 = 1;
const STOPS: u8 = 2;

/// The status page and the metrics show this.
#[derive(Clone, Debug)]
pub struct Status {
    /// This is what the server has counted since its start.
    pub counters: Counters,
    /// This says how many players, rooms and matches there are now.
    pub gauges: Gauges,
    /// This says how matches went since the start, by cause and NATs.
    pub outcomes: Outcomes,
    /// This counts the datagrams that the system, or the other end of a TCP connection, did not take.
    pub send_errors: u64,
    /// This counts the those of them that were longer than this machine's way there takes.
    pub too_long: u64,
    /// There are so many TCP connections of players whose networks block UDP.
    pub tcp_connections: usize,
    /// This counts the log lines that the output did not take, or not in time.
    pub log_dropped: u64,
    /// Log lines left out because their kind came too often.
    pub log_limited: u64,
    /// This says whether the server takes new players: not where it is about to end, or is full.
    pub takes_players: bool,
    /// Clients pin this public key.
    pub public_key: [u8; 32],
    /// This says what is wrong with the server's place in the network, the worst first.
    pub findings: Vec<Finding>,
    /// The server has run for so long.
    pub uptime: Duration,
}

/// Asks a running server to stop, or how it is; may be cloned.
#[derive(Clone, Debug)]
pub struct Handle {
    end: Arc<AtomicU8>,
    waker: Arc<Waker>,
    tasks: Sender<Task>,
}

impl Handle {
    /// Returns a handle that wakes the server by `waker`, and where its questions come out.
    pub(crate) fn new(waker: Arc<Waker>) -> (Self, Receiver<Task>) {
        let (tasks, asked) = channel();
        (Self { end: Arc::new(AtomicU8::new(SERVES)), waker, tasks }, asked)
    }

    /// Wakes the server's thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Returns whether the server is to end now.
    pub(crate) fn is_stopped(&self) -> bool {
        self.end.load(Ordering::Acquire) >= STOPS
    }

    /// Returns whether the server is to end when its rooms have.
    pub(crate) fn is_draining(&self) -> bool {
        self.end.load(Ordering::Acquire) >= DRAINS
    }

    /// Has the server tell its players, and end.
    pub fn stop(&self) {
        self.end_by(STOPS);
    }

    /// Has the server let nobody in any more, and end when nobody is in a room, or after [`Settings::drain_s`]. Asked a
    /// second time it ends at once.
    pub fn drain(&self) {
        self.end_by(if self.is_draining() { STOPS } else { DRAINS });
    }

    fn end_by(&self, how: u8) {
        self.end.fetch_max(how, Ordering::AcqRel);
        let _ = self.waker.wake();
    }

    /// Tells all players of a game this, or of all games, and returns how many there are; `None`: the server does not answer.
    ///
    /// # Errors
    /// The text breaks the rule of [`ANNOUNCEMENT`](traversal_core::text::ANNOUNCEMENT).
    pub fn announce(&self, game: Option<&str>, text: &str) -> Option<Result<usize, TextError>> {
        let (reply, answer) = channel();
        let (game, text) = (game.map(String::from), text.to_owned());
        self.have(move |server, now| {
            // Who has asked may be gone.
            let _ = reply.send(server.core().announce(now, game.as_deref(), &text));
        });
        answer.recv_timeout(STATUS_WAIT).ok()
    }

    /// Has the server go by these settings from now on, as far as it can without a new start.
    pub fn reconfigure(&self, settings: Settings) {
        self.have(move |server, now| server.reconfigure(now, settings));
    }

    /// Asks how the server is, and waits for a second at most; none: it does not answer.
    pub fn status(&self) -> Option<Status> {
        let (reply, answer) = channel();
        self.ask(move |status| drop(reply.send(status)));
        answer.recv_timeout(STATUS_WAIT).ok()
    }

    /// Has the server's thread give its status to `reply`, which is dropped unused where there is none any more.
    pub(crate) fn ask(&self, reply: impl FnOnce(Status) + Send + 'static) {
        self.have(move |server, now| reply(server.status(now)));
    }

    /// Has the server's thread do this, which is dropped undone where there is none any more.
    pub(crate) fn have(&self, task: impl FnOnce(&mut BoundServer, Instant) + Send + 'static) {
        if self.tasks.send(Box::new(task)).is_ok() {
            let _ = self.waker.wake();
        }
    }
}
