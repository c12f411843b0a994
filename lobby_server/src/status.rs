//! How a running server is, and the handle that asks it or stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::Waker;
use traversal_core::text::TextError;

use crate::budget::{RelayBudgets, RelayUsage};
use crate::cluster::RegistryNumbers;
use crate::config::{ServerConfig, Settings};
use crate::histogram::Histogram;
use crate::outcomes::Outcomes;
use crate::run::BoundServer;
use crate::server::{Counters, GameNumbers, Gauges, Timings};
use crate::surroundings::Finding;
use crate::tcp::TlsNumbers;

/// Somebody who asks how the server is waits so long.
pub(crate) const STATUS_WAIT: Duration = Duration::from_secs(1);

/// The server's thread does this between two datagrams.
pub(crate) type Task = Box<dyn FnOnce(&mut BoundServer, Instant) + Send>;

/// This says whether the server is to end: it goes up only.
const SERVES: u8 = 0;
const DRAINS: u8 = 1;
const STOPS: u8 = 2;

/// This is a limit of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// This names the limit, as the metrics do.
    pub name: &'static str,
    /// So much of it is used; `None`: it holds for each address, or for each second, and is not told.
    pub used: Option<u64>,
    /// There is so much at the most.
    pub max: u64,
}

impl Limit {
    /// Returns the limits of the core, and how much of each is used.
    pub(crate) fn of_core(config: &ServerConfig, gauges: &Gauges, relay: &RelayUsage) -> Vec<Self> {
        let of = |name, used: Option<usize>, max: usize| Self {
            name,
            used: used.map(|used| used as u64),
            max: max as u64,
        };
        let budget = config.relay_budgets.all;
        let budgets = [
            ("relay_day_bytes", budget.day, relay.all.day),
            ("relay_month_bytes", budget.month, relay.all.month),
        ];
        let budgets = budgets
            .into_iter()
            .filter_map(|(name, max, used)| Some(Self { name, used: Some(used), max: max? }));
        let limits = [
            of("sessions", Some(gauges.sessions), config.max_sessions),
            of("sessions_per_address", None, config.max_sessions_per_address),
            of("rooms", Some(gauges.rooms), config.max_rooms),
            of("rooms_per_address", None, config.max_rooms_per_address),
            of("queued_per_address", None, config.max_queued_per_address),
            of("contacts_per_player", None, config.max_contacts),
            // A whole number of bytes, which is what the settings say.
            of("relay_bytes_per_second", None, config.relay_total_rate.per_second as usize),
        ];
        limits.into_iter().chain(budgets).collect()
    }
}

/// The status page and the metrics show this.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// This is what the server has counted since its start.
    pub counters: Counters,
    /// This says how many players, rooms and matches there are now.
    pub gauges: Gauges,
    /// This says how matches went since the start, by cause and NATs.
    pub outcomes: Outcomes,
    /// This says how long things took since the start.
    pub timings: Timings,
    /// These are the numbers of each game; those of games that have none of their own come first.
    pub games: Vec<GameNumbers>,
    /// These are the limits, and how much of each is used.
    pub limits: Vec<Limit>,
    /// These are the turns of the server's loop since the start, by how long they took.
    pub turns: Histogram,
    /// The longest turn of the last ten to twenty seconds took so long: a datagram may wait so long for others.
    pub lag: Duration,
    /// The system has granted so many bytes of receive buffer, for the socket that has the least.
    pub receive_buffer: usize,
    /// So many bytes of receive buffer were asked for.
    pub wanted_buffer: usize,
    /// The kernel lists the server's UDP sockets by these numbers (Linux: inodes).
    pub kernel_ids: Vec<u64>,
    /// So many bytes wait for slow readers of TCP connections.
    pub tcp_waiting: usize,
    /// The server began so long after the start of 1970 (UTC).
    pub started: Duration,
    /// This is what the relay may send.
    pub relay_budgets: RelayBudgets,
    /// This is what the relay has sent, in this day and month.
    pub relay_usage: RelayUsage,
    /// Clients pin this public key.
    pub public_key: [u8; 32],
    /// This counts the datagrams that the system, or the other end of a TCP connection, did not take.
    pub send_errors: u64,
    /// This counts the those of them that were longer than this machine's way there takes.
    pub too_long: u64,
    /// There are so many TCP connections of players whose networks block UDP.
    pub tcp_connections: usize,
    /// This is what TLS does, for those whose networks let out nothing but port 443.
    pub tls: TlsNumbers,
    /// This counts the log lines that the output did not take, or not in time.
    pub log_dropped: u64,
    /// Log lines left out because their kind came too often.
    pub log_limited: u64,
    /// This is how the registry is doing, where rooms are known.
    pub registry: RegistryNumbers,
    /// This says whether the server takes new players: not where it is about to end, or is full.
    pub takes_players: bool,
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

#[cfg(test)]
impl Status {
    /// Returns how a server is that has just begun.
    pub(crate) fn for_tests() -> Self {
        Self {
            counters: Counters::default(),
            gauges: Gauges::default(),
            outcomes: Outcomes::new(),
            timings: Timings::default(),
            games: vec![GameNumbers { game: "other games".into(), ..GameNumbers::default() }],
            limits: Limit::of_core(&ServerConfig::default(), &Gauges::default(), &RelayUsage::default()),
            turns: Histogram::of_turns(),
            lag: Duration::ZERO,
            receive_buffer: 212_992,
            wanted_buffer: 8_192_000,
            kernel_ids: Vec::new(),
            tcp_waiting: 0,
            started: Duration::from_secs(1_790_000_000),
            relay_budgets: RelayBudgets::default(),
            relay_usage: RelayUsage::default(),
            public_key: [7; 32],
            send_errors: 0,
            too_long: 0,
            tcp_connections: 0,
            tls: TlsNumbers::default(),
            log_dropped: 0,
            log_limited: 0,
            registry: RegistryNumbers::of_memory(),
            takes_players: true,
            findings: Vec::new(),
            uptime: Duration::from_secs(1),
        }
    }
}
