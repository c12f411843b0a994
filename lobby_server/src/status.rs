//! How a running server is, and the handle that asks it or stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mio::Waker;

use crate::outcomes::Outcomes;
use crate::server::{Counters, Gauges};
use crate::surroundings::Finding;

/// Somebody who asks how the server is waits so long.
pub(crate) const STATUS_WAIT: Duration = Duration::from_secs(1);

/// Takes the answer of somebody who asked how the server is.
pub(crate) type Reply = Box<dyn FnOnce(Status) + Send>;

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
    /// This says what is wrong with the server's place in the network, the worst first.
    pub findings: Vec<Finding>,
    /// The server has run for so long.
    pub uptime: Duration,
}

/// Asks a running server to stop, or how it is; may be cloned.
#[derive(Clone, Debug)]
pub struct Handle {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    ask: Sender<Reply>,
}

impl Handle {
    /// Returns a handle that wakes the server by `waker`, and where its questions come out.
    pub(crate) fn new(waker: Arc<Waker>) -> (Self, Receiver<Reply>) {
        let (ask, asked) = channel();
        (Self { stop: Arc::new(AtomicBool::new(false)), waker, ask }, asked)
    }

    /// Wakes the server's thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Returns whether the server is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Has the server tell its players, and end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }

    /// Asks how the server is, and waits for a second at most; none: it does not answer.
    pub fn status(&self) -> Option<Status> {
        let (reply, answer) = channel();
        self.ask(move |status| drop(reply.send(status)));
        answer.recv_timeout(STATUS_WAIT).ok()
    }

    /// Has the server's thread give its status to `reply`, which is dropped unused where there is none any more.
    pub(crate) fn ask(&self, reply: impl FnOnce(Status) + Send + 'static) {
        if self.ask.send(Box::new(reply)).is_ok() {
            let _ = self.waker.wake();
        }
    }
}
