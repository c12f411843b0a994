//! The core on real sockets, in a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token, Waker};
use traversal_core::wire::secret::same;
use traversal_core::{Identity, Secret, WakeGuard};
use traversal_udp::Alarm;

use crate::addresses::Addresses;
use crate::bind::open_all;
use crate::bind_error::BindError;
use crate::config::{ConfigError, Settings};
use crate::door::{Answer, Door, Newcomer};
use crate::files;
use crate::http::{Http, HttpError};
use crate::key::{self, KeyError};
use crate::log::Losses;
use crate::registry::MemoryRegistry;
use crate::server::{Server, ServerSocketId};
use crate::status::{Handle, Reply, Status};
use crate::surroundings::Surroundings;
use crate::tcp::Streams;
use crate::tokens::{Checkers, TokenCheck, TokenLogin};
use crate::udp::{self, Bound};

const WAKER: Token = Token(usize::MAX);
/// The system is asked for its addresses so often.
const LOOK_AROUND: Duration = Duration::from_secs(15);
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
}

impl std::fmt::Debug for LobbyServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LobbyServer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

struct SharedToken(Secret<String>);

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
        Self { settings, identity: None, token_check: None, log_losses: Losses::default() }
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
        let http =
            if self.settings.no_http { None } else { Some(Http::start(self.settings.http, handle.clone())?) };
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
        let mut checkers = None;
        if let Some(check) = self.token_check {
            server.ask_about_tokens();
            checkers = Some(Checkers::start(check, &handle.waker())?);
        } else if let Some(token) = self.settings.token.clone() {
            server.set_token_check(Box::new(SharedToken(token)));
        }
        let addresses = Addresses::of(&sockets, tcp, http.as_ref().map(Http::address), server.public_key());
        Ok(BoundServer {
            poll,
            sockets,
            streams,
            server,
            checkers,
            asked,
            handle,
            http,
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
    poll: Poll,
    sockets: Vec<Bound>,
    streams: Streams,
    server: Server,
    checkers: Option<Checkers>,
    asked: Receiver<Reply>,
    handle: Handle,
    http: Option<Http>,
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
        let start = Instant::now();
        let mut registry = MemoryRegistry::new();
        let mut events = Events::with_capacity(64);
        let mut buffer = udp::buffer();
        let mut guard = WakeGuard::default();
        let mut look_around = start;
        let alarm = Alarm::new(self.handle.waker());
        let mut door = Door::new(start);
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
                let due =
                    [self.server.poll_timeout(), self.streams.poll_timeout(), reading, Some(look_around)];
                let due = due.into_iter().flatten().min();
                due.map(|due| due.saturating_duration_since(now).max(guard.least_wait()))
            };
            alarm.set(now, wait);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
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
            let stop = self.handle.is_stopped();
            if stop {
                self.server.stop(now, "the lobby server stops");
            }
            self.drain(&mut registry);
            self.streams.flush(now);
            while let Ok(reply) = self.asked.try_recv() {
                reply(self.status(now, start));
            }
            if stop {
                drop(self.http.take());
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

    fn status(&self, now: Instant, start: Instant) -> Status {
        Status {
            counters: self.server.counters(),
            gauges: self.server.gauges(),
            outcomes: self.server.outcomes().clone(),
            send_errors: self.send_errors,
            too_long: self.too_long,
            tcp_connections: self.streams.len(),
            log_dropped: self.log_losses.dropped(),
            log_limited: self.log_losses.limited(),
            findings: self.server.findings(now),
            uptime: start.elapsed(),
        }
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
