//! The core on real sockets, in a thread of its own.

mod start;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use traversal_core::WakeGuard;
use traversal_udp::Alarm;

use crate::addresses::Addresses;
#[cfg(unix)]
use crate::admin::Admin;
use crate::budget::RelayUsage;
use crate::cluster::{self, NodeRegistry};
use crate::config::{ServerConfig, Settings};
use crate::door::{Answer, Door, Newcomer};
use crate::http::Http;
use crate::key;
use crate::link;
use crate::log::Losses;
use crate::server::{Gauges, NeighbourState, Server, ServerSocketId};
use crate::status::{Handle, Limit, Status, Task};
use crate::surroundings::{NeighbourTrouble, Surroundings};
use crate::tcp::Streams;
use crate::tls::Certificate;
use crate::tokens::Checkers;
use crate::turns::Turns;
use crate::udp::{self, Bound};
use crate::watch::{UsageFile, Watch};
use start::replace_token_check;
pub use start::{LobbyServer, RunningServer, StartError};

const WAKER: Token = Token(usize::MAX);
/// The system is asked for its addresses so often.
const LOOK_AROUND: Duration = Duration::from_secs(15);
/// `check` waits so long for the neighbour: it pings once a second, and its name may have to be looked up.
const LINK_TRY: Duration = Duration::from_secs(4);
/// Meanwhile it looks so often.
const LINK_LOOK: Duration = Duration::from_millis(50);
/// Players are told this when the server ends.
const GOODBYE: &str = "its operator has ended it; it may be back soon";

/// Newcomers are served for so long before the sockets are read again. A socket's buffer of the usual 208 KiB holds some 180
/// hellos: at 100,000 a second it is full after 1.8 ms, and what players who are logged in say finds no place then.
const DOOR_TIME: Duration = Duration::from_millis(1);

/// This is a server with open sockets.
pub struct BoundServer {
    #[cfg(unix)]
    admin: Option<Admin>,
    /// These settings are in force.
    settings: Settings,
    start: Instant,
    /// The server ends at this time, since it was asked to.
    ends_at: Option<Instant>,
    poll: Poll,
    sockets: Vec<Bound>,
    streams: Streams,
    /// The link to the neighbour.
    link: link::Sockets,
    _resolving: Option<Sender<()>>,
    server: Server,
    registry: NodeRegistry,
    /// The program that embeds the server checks tokens itself, in these threads.
    checkers: Option<Checkers>,
    asked: Receiver<Task>,
    handle: Handle,
    http: Option<Http>,
    _watch: Watch,
    usage_file: Option<UsageFile>,
    turns: Turns,
    wanted_buffer: usize,
    started: Duration,
    addresses: Addresses,
    log_losses: Losses,
    send_errors: u64,
    too_long: u64,
}

impl std::fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundServer").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl BoundServer {
    /// Returns the addresses that the server is reached at, and its key.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns the addresses that other nodes would send players to.
    pub(crate) fn told(&self) -> Vec<SocketAddr> {
        cluster::told(&self.sockets)
    }

    /// Says what the certificate of TLS is, where there is one.
    pub(crate) fn certificate(&self) -> Option<String> {
        self.streams.certificate().map(Certificate::about)
    }

    /// Returns a handle that stops the server, or asks it, from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::stop`].
    ///
    /// # Errors
    /// When the poller breaks.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut buffer = udp::buffer();
        let mut guard = WakeGuard::default();
        let mut look_around = Instant::now();
        let alarm = Alarm::new(self.handle.waker());
        let mut door = Door::new(self.start);
        // The neighbour is asked before anybody comes.
        self.drain();
        loop {
            let now = Instant::now();
            if look_around <= now {
                look_around = now + LOOK_AROUND;
                self.server.set_surroundings(now, Surroundings::read());
            }
            let reading = self.sockets.iter().filter_map(|bound| bound.poll_timeout(now));
            let reading = reading.chain(self.link.poll_timeout(now)).min();
            let busy = self.streams.is_ready() || !door.is_empty();
            let wait = if reading.is_some_and(|at| at <= now) || busy {
                Some(Duration::ZERO)
            } else {
                let due = [self.server.poll_timeout(), self.streams.poll_timeout(), reading, self.ends_at];
                let due = due.into_iter().flatten().chain([look_around]).min();
                due.map(|due| due.saturating_duration_since(now).max(guard.least_wait()))
            };
            alarm.set(now, wait);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let woken = Instant::now();
            let late = self.server.poll_timeout().map(|due| woken.saturating_duration_since(due));
            for event in &events {
                match self.sockets.get_mut(event.token().0) {
                    Some(bound) => bound.set_readable(),
                    None if link::is_link(event.token()) => self.link.set_readable(event.token()),
                    None => self.streams.handle_event(event),
                }
            }
            for index in 0..self.sockets.len() {
                let id = ServerSocketId(index as u16);
                self.sockets[index].receive(id, &mut buffer, &mut self.server, &mut door);
                self.sockets[index].mend(Instant::now(), self.poll.registry(), id);
                self.drain();
            }
            self.link.turn(&mut buffer, &mut self.server, self.poll.registry());
            self.drain();
            self.open_door(&mut door);
            let now = Instant::now();
            self.streams.turn(now, &mut self.server);
            while let Some((id, answer)) = self.checkers.as_ref().and_then(Checkers::answer) {
                self.server.handle_token_answer(now, id, answer);
            }
            if self.server.wants_entropy()
                && let Ok(entropy) = key::entropy()
            {
                self.server.mix_entropy(entropy);
            }
            if self.server.poll_timeout().is_some_and(|due| due <= now) {
                self.server.handle_timeout(now);
                if guard.woken(now, self.server.poll_timeout()) {
                    tracing::warn!(
                        "the server's core asks for the same instant again and again; please report it"
                    );
                }
            }
            while let Ok(task) = self.asked.try_recv() {
                task(&mut self, now);
            }
            let stop = self.is_over(now);
            if stop {
                self.server.stop(now, GOODBYE);
            }
            self.drain();
            self.streams.flush(now);
            let end = Instant::now();
            self.turns.note(end, end.saturating_duration_since(woken), late);
            if stop {
                drop(self.http.take());
                #[cfg(unix)]
                drop(self.admin.take());
                if let Some(file) = &mut self.usage_file {
                    file.write(end, self.server.relay_usage(end));
                }
                return Ok(());
            }
        }
    }

    /// Tries the link to the neighbour for some seconds, and serves nobody meanwhile; none: there is to be no neighbour.
    pub(crate) fn try_link(&mut self) -> Option<NeighbourState> {
        let until = Instant::now() + LINK_TRY;
        let (mut events, mut buffer) = (Events::with_capacity(64), udp::buffer());
        self.settings.neighbour.as_ref()?;
        loop {
            let now = Instant::now();
            while let Ok(task) = self.asked.try_recv() {
                task(self, now);
            }
            self.server.handle_timeout(now);
            while let Some(transmit) = self.server.poll_link_transmit() {
                self.link.send(&transmit);
            }
            let silent = NeighbourState::Apart(NeighbourTrouble::Silent);
            let state = self.server.neighbour().unwrap_or(silent);
            if state != silent || now >= until {
                return Some(state);
            }
            let _ = self.poll.poll(&mut events, Some(LINK_LOOK));
            events.iter().for_each(|event| self.link.set_readable(event.token()));
            self.link.turn(&mut buffer, &mut self.server, self.poll.registry());
        }
    }

    /// Returns the addresses of this end of the link.
    pub(crate) fn link_addresses(&self) -> Vec<std::net::SocketAddr> {
        self.link.addresses()
    }

    /// Serves newcomers for a moment, one at the least.
    fn open_door(&mut self, door: &mut Door) {
        let until = Instant::now() + DOOR_TIME;
        loop {
            let now = Instant::now();
            match door.next(now) {
                None => break,
                Some((newcomer, Answer::Serve)) => {
                    let Newcomer { socket, asked, from, datagram, .. } = newcomer;
                    self.server.handle_datagram_at(now, socket, asked, from, &datagram);
                }
                Some((newcomer, Answer::ComeBack { again_s })) => {
                    self.server.turn_away(now, &newcomer, again_s);
                }
            }
            self.drain();
            if Instant::now() >= until {
                break;
            }
        }
        self.server.count_left_out(door.take_left_out());
    }

    /// Returns whether the end has come: asked for at once, or no later than the rooms' own.
    fn is_over(&mut self, now: Instant) -> bool {
        if self.handle.is_draining() && self.ends_at.is_none() {
            self.ends_at = Some(now + Duration::from_secs(self.settings.drain_s));
            tracing::info!(
                players = self.server.gauges().sessions,
                seconds = self.settings.drain_s,
                "nobody is let in any more; the end comes when no player is left, and no later than this"
            );
            self.server.drain(now, GOODBYE);
        }
        self.handle.is_stopped() || self.ends_at.is_some_and(|end| end <= now || self.server.is_empty())
    }

    /// Goes by these settings, as far as that needs no new sockets.
    pub(crate) fn reconfigure(&mut self, now: Instant, settings: Settings) {
        let node = self.server.config().node;
        self.server.reconfigure(now, ServerConfig { node, ..settings.server() });
        self.streams.reconfigure(&settings);
        if self.checkers.is_none() {
            replace_token_check(&mut self.server, &settings);
        }
        self.settings = settings;
    }

    /// Returns the settings in force.
    #[cfg(unix)]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the core.
    pub(crate) fn core(&mut self) -> &mut Server {
        &mut self.server
    }

    pub(crate) fn status(&mut self, now: Instant) -> Status {
        let mut counters = self.server.counters();
        counters.refusals.add(self.streams.refusals());
        let gauges = self.server.gauges();
        let relay_usage = self.server.relay_usage(now).clone();
        Status {
            counters,
            gauges,
            outcomes: self.server.outcomes().clone(),
            timings: self.server.timings().clone(),
            games: self.server.games().to_vec(),
            limits: self.limits(&gauges, &relay_usage),
            relay_budgets: self.server.config().relay_budgets.clone(),
            relay_usage,
            turns: self.turns.histogram().clone(),
            lag: self.turns.lag(now),
            receive_buffer: least_buffer(&self.sockets).unwrap_or(self.wanted_buffer),
            wanted_buffer: self.wanted_buffer,
            kernel_ids: self.sockets.iter().filter_map(Bound::kernel_id).collect(),
            tcp_waiting: self.streams.waiting(),
            started: self.started,
            public_key: self.addresses.public_key,
            send_errors: self.send_errors,
            too_long: self.too_long,
            tcp_connections: self.streams.len(),
            tls: self.streams.tls(),
            log_dropped: self.log_losses.dropped(),
            log_limited: self.log_losses.limited(),
            registry: self.registry.numbers(),
            findings: self.server.findings(now),
            takes_players: self.server.takes_players(),
            uptime: self.start.elapsed(),
        }
    }

    /// Returns all limits, and how much of each is used.
    fn limits(&self, gauges: &Gauges, relay: &RelayUsage) -> Vec<Limit> {
        let mut limits = Limit::of_core(self.server.config(), gauges, relay);
        let (tcp, per_address) = self.streams.places();
        let connections = Some(self.streams.len() as u64);
        limits.push(Limit { name: "tcp_connections", used: connections, max: tcp as u64 });
        limits.push(Limit { name: "tcp_connections_per_address", used: None, max: per_address as u64 });
        limits
    }

    /// Sends what the core has to say.
    fn drain(&mut self) {
        let now = Instant::now();
        self.registry.turn(now, &mut self.server);
        if let Some(checkers) = &self.checkers {
            while let Some(question) = self.server.poll_token_question() {
                checkers.ask(question);
            }
        }
        while let Some(transmit) = self.server.poll_link_transmit() {
            self.send_errors += u64::from(!self.link.send(&transmit));
        }
        while let Some(transmit) = self.server.poll_transmit() {
            let sent = match self.sockets.get_mut(usize::from(transmit.socket.0)) {
                Some(socket) => {
                    let sent = socket.send(transmit.to, transmit.source, &transmit.payload);
                    self.too_long += u64::from(sent.too_long.is_some());
                    sent.sent > 0
                }
                None => self.streams.send(now, transmit.socket, transmit.to, &transmit.payload),
            };
            self.send_errors += u64::from(!sent);
        }
    }
}

/// Returns the receive buffer of the socket that has the least.
fn least_buffer(sockets: &[Bound]) -> Option<usize> {
    sockets.iter().filter_map(Bound::receive_buffer).min()
}
