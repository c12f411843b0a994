//! The core on real sockets, in a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token, Waker};
use traversal_core::wire::secret::same;
use traversal_core::{Identity, Secret, WakeGuard};
use traversal_udp::Alarm;

use crate::addresses::Addresses;
#[cfg(unix)]
use crate::admin::{Admin, AdminError};
use crate::bind::open_all;
use crate::bind_error::BindError;
use crate::budget::RelayUsage;
use crate::config::{ConfigError, Settings};
use crate::door::{Answer, Door, Newcomer};
use crate::files;
use crate::http::{Http, HttpError};
use crate::key::{self, KeyError};
use crate::log::Losses;
use crate::registry::MemoryRegistry;
use crate::server::{Gauges, Server, ServerSocketId};
use crate::status::{Handle, Limit, Status, Task};
use crate::surroundings::Surroundings;
use crate::tcp::Streams;
use crate::tokens::{Checkers, TokenCheck, TokenLogin};
use crate::turns::Turns;
use crate::udp::{self, Bound};
use crate::watch::{UsageFile, Watch};

const WAKER: Token = Token(usize::MAX);
/// The system is asked for its addresses so often.
const LOOK_AROUND: Duration = Duration::from_secs(15);
/// Players are told this when the server ends.
const GOODBYE: &str = "its operator has ended it; it may be back soon";

/// Newcomers are served for so long before the sockets are read again. A socket's buffer of the usual 208 KiB holds some 180
/// hellos: at 100,000 a second it is full after 1.8 ms, and what players who are logged in say finds no place then.
const DOOR_TIME: Duration = Duration::from_millis(1);
/// The server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings do not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A UDP or TCP socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket of the status page cannot be opened.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The operators' socket cannot be opened.
    #[cfg(unix)]
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// There is no key, or no randomness for the seed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system gives no poller or no thread.
    #[error("the server cannot start")]
    Io(#[from] std::io::Error),
}

/// This is a server to be started.
pub struct LobbyServer {
    settings: Settings,
    identity: Option<Identity>,
    token_check: Option<Box<dyn TokenCheck>>,
    log_losses: Losses,
    usage_file: Option<UsageFile>,
}

impl std::fmt::Debug for LobbyServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LobbyServer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

struct SharedToken(Secret<String>);

/// Returns what checks the tokens of logins by these settings, if anything does.
fn token_check(settings: &Settings) -> Option<Box<dyn TokenCheck>> {
    let token = settings.token.clone()?;
    Some(Box::new(SharedToken(token)))
}

impl TokenCheck for SharedToken {
    fn check(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        if same(self.0.as_bytes(), login.token) {
            Ok(())
        } else {
            Err(String::from("this server asks for a token, and yours is not right"))
        }
    }
}

impl LobbyServer {
    /// Makes a server whose key is drawn at the start: for servers that a game brings along.
    pub fn new(settings: Settings) -> Self {
        Self { settings, identity: None, token_check: None, log_losses: Losses::default(), usage_file: None }
    }

    /// Gives the server the key that this user's lobby servers have by default ([`key::default_file`]), which is made if there is
    /// none: for a server within a game that players of other machines come to, since they keep its key from one start to
    /// the next. Where the key cannot be kept, this start has one of its own, and the log says why.
    #[must_use]
    pub fn kept_identity(self) -> Self {
        match key::default_file().and_then(|file| key::load_or_create(&file)) {
            Ok(identity) => self.identity(identity),
            Err(error) => {
                tracing::warn!(%error, "players will find another key of this lobby server with the next start");
                self
            }
        }
    }

    /// Gives the server this key.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Has the token of every login checked, in threads of its own: a check that waits for another server keeps nobody else
    /// waiting.
    #[must_use]
    pub fn token_check(mut self, check: Box<dyn TokenCheck>) -> Self {
        self.token_check = Some(check);
        self
    }

    /// Has the metrics count the lines that this log did without.
    #[must_use]
    pub fn log_losses(mut self, losses: Losses) -> Self {
        self.log_losses = losses;
        self
    }

    /// Keeps what the relay has used in this file, so that the budgets of the day and month outlive a restart. It is written
    /// once a minute at the most, and at the end.
    #[must_use]
    pub fn usage_file(mut self, file: PathBuf) -> Self {
        self.usage_file = Some(UsageFile::new(file));
        self
    }

    /// Opens the sockets; [`BoundServer::run`] serves them.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn bind(self) -> Result<BoundServer, StartError> {
        self.settings.validate()?;
        let identity = match self.identity {
            Some(identity) => identity,
            None => Identity::from_secret(key::entropy()?),
        };
        let seed = key::entropy()?;
        let (mut sockets, listeners) = open_all(&self.settings)?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        for (index, bound) in sockets.iter_mut().enumerate() {
            bound.register(poll.registry(), ServerSocketId(index as u16))?;
        }
        let (handle, asked) = Handle::new(waker);
        tell_buffers(&sockets, self.settings.socket_buffer());
        let watch = Watch::start(handle.clone(), self.usage_file.clone())?;
        let http = if self.settings.no_http {
            None
        } else {
            Some(Http::start(self.settings.http, handle.clone(), watch.seen())?)
        };
        #[cfg(unix)]
        let admin = self.settings.admin_socket.as_deref();
        #[cfg(unix)]
        let admin = admin.map(|path| Admin::start(path, handle.clone())).transpose()?;
        let about = sockets.iter().map(|bound| bound.about);
        let about = about.chain(listeners.iter().map(|listener| listener.about)).collect();
        let tcp = listeners.iter().map(|listener| listener.about.local).collect();
        let streams = Streams::new(
            &self.settings,
            files::tcp_places(&self.settings),
            poll.registry().try_clone()?,
            listeners,
            u16::try_from(sockets.len()).unwrap_or(u16::MAX),
        )?;
        let mut server = Server::new(self.settings.server(), identity, seed, about, Instant::now());
        if let Ok(since) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            server.set_time_of_day(Instant::now(), since.as_secs());
        }
        if let Some(file) = &self.usage_file {
            server.restore_relay_usage(&file.read());
        }
        let mut checkers = None;
        if let Some(check) = self.token_check {
            server.ask_about_tokens();
            checkers = Some(Checkers::start(check, &handle.waker())?);
        } else if let Some(check) = token_check(&self.settings) {
            server.set_token_check(check);
        }
        let addresses = Addresses::of(&sockets, tcp, http.as_ref().map(Http::address), server.public_key());
        Ok(BoundServer {
            #[cfg(unix)]
            admin,
            wanted_buffer: self.settings.socket_buffer(),
            settings: self.settings,
            start: Instant::now(),
            ends_at: None,
            poll,
            sockets,
            streams,
            server,
            checkers,
            asked,
            handle,
            http,
            _watch: watch,
            usage_file: self.usage_file,
            turns: Turns::new(Instant::now()),
            started: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            addresses,
            log_losses: self.log_losses,
            send_errors: 0,
            too_long: 0,
        })
    }

    /// Opens the sockets and serves them in a thread of its own.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn spawn(self) -> Result<RunningServer, StartError> {
        let bound = self.bind()?;
        let (handle, addresses) = (bound.handle(), bound.addresses.clone());
        let thread = std::thread::Builder::new().name("lobby_server".into()).spawn(move || {
            if let Err(error) = bound.run() {
                tracing::error!(%error, "the lobby server ended");
            }
        })?;
        Ok(RunningServer { handle, addresses, thread: Some(thread) })
    }
}

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
    server: Server,
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

    /// Returns a handle that stops the server, or asks it, from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::stop`].
    ///
    /// # Errors
    /// When the poller breaks.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut registry = MemoryRegistry::new();
        let mut events = Events::with_capacity(64);
        let mut buffer = udp::buffer();
        let mut guard = WakeGuard::default();
        let mut look_around = Instant::now();
        let alarm = Alarm::new(self.handle.waker());
        let mut door = Door::new(self.start);
        loop {
            let now = Instant::now();
            if look_around <= now {
                look_around = now + LOOK_AROUND;
                self.server.set_surroundings(now, Surroundings::read());
            }
            let reading = self.sockets.iter().filter_map(|bound| bound.poll_timeout(now)).min();
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
                    None => self.streams.handle_event(event),
                }
            }
            for index in 0..self.sockets.len() {
                let id = ServerSocketId(index as u16);
                self.sockets[index].receive(id, &mut buffer, &mut self.server, &mut door);
                self.sockets[index].mend(Instant::now(), self.poll.registry(), id);
                self.drain(&mut registry);
            }
            self.open_door(&mut door, &mut registry);
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
            self.drain(&mut registry);
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

    /// Serves newcomers for a moment, one at the least.
    fn open_door(&mut self, door: &mut Door, registry: &mut MemoryRegistry) {
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
            self.drain(registry);
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
        self.server.reconfigure(now, settings.server());
        self.streams.reconfigure(&settings);
        if self.checkers.is_none() {
            self.server.replace_token_check(token_check(&settings));
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
            log_dropped: self.log_losses.dropped(),
            log_limited: self.log_losses.limited(),
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
    fn drain(&mut self, registry: &mut MemoryRegistry) {
        let now = Instant::now();
        self.server.turn_registry(now, registry);
        if let Some(checkers) = &self.checkers {
            while let Some(question) = self.server.poll_token_question() {
                checkers.ask(question);
            }
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

/// Says what to do where the system grants less than was asked for. It is enough for some thousand players; when datagrams
/// are lost for want of it, there is a warning.
fn tell_buffers(sockets: &[Bound], wanted: usize) {
    let Some(granted) = least_buffer(sockets).filter(|granted| *granted < wanted) else { return };
    tracing::info!(
        granted,
        wanted,
        "the system grants smaller receive buffers than were asked for, in bytes; where thousands play, let it grant \
         more: sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}"
    );
}

/// This is a server that serves in a thread of its own; dropping it stops and joins it.
#[derive(Debug)]
pub struct RunningServer {
    handle: Handle,
    addresses: Addresses,
    thread: Option<JoinHandle<()>>,
}

impl RunningServer {
    /// Returns the addresses that the server is reached at, and its key.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns a handle that asks the server how it is.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns the public key that clients pin.
    pub fn public_key(&self) -> [u8; 32] {
        self.addresses.public_key
    }

    /// Tells the players, and waits for the end.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic was printed by the hook already.
            let _ = thread.join();
        }
    }
}
