//! The core on real sockets, in a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use traversal_core::Identity;

use crate::config::{ConfigError, Settings};
use crate::http::{Http, HttpError};
use crate::key::{self, KeyError};
use crate::outcomes::Outcomes;
use crate::registry::MemoryRegistry;
use crate::server::{Counters, Gauges, Server, ServerSocketId, TokenCheck};
use crate::udp::{BindError, Bound, Buffers, open_all};

const WAKER: Token = Token(usize::MAX);

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A UDP socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket of the status page.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The key, or the seed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The poller or the thread.
    #[error("the server cannot start")]
    Io(#[from] std::io::Error),
}

/// What the status page and the metrics show.
#[derive(Clone, Debug)]
pub struct Status {
    /// Counts since the start.
    pub counters: Counters,
    /// Numbers of the moment.
    pub gauges: Gauges,
    /// How matches went.
    pub outcomes: Outcomes,
    /// Datagrams that the system did not take.
    pub send_errors: u64,
    /// Time since the start.
    pub uptime: Duration,
}

/// A server to be started.
pub struct LobbyServer {
    settings: Settings,
    identity: Option<Identity>,
    token_check: Option<Box<dyn TokenCheck>>,
}

impl std::fmt::Debug for LobbyServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LobbyServer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Asks a running server to stop, or how it is; may be cloned.
#[derive(Clone, Debug)]
pub struct Handle {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    ask: Sender<Sender<Status>>,
}

impl Handle {
    /// Has the server tell its players, and end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }

    /// How the server is; none: it does not answer.
    pub fn status(&self) -> Option<Status> {
        let (reply, answer) = channel();
        self.ask.send(reply).ok()?;
        self.waker.wake().ok()?;
        answer.recv_timeout(Duration::from_secs(1)).ok()
    }
}

struct SharedToken(String);

impl TokenCheck for SharedToken {
    fn check(
        &self,
        _game: &str,
        _player: traversal_core::id::PlayerId,
        _name: &str,
        token: &[u8],
    ) -> Result<(), String> {
        let own = self.0.as_bytes();
        let differ = own.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b));
        if own.len() == token.len() && differ == 0 {
            Ok(())
        } else {
            Err(String::from("this server asks for a token, and yours is not right"))
        }
    }
}

impl LobbyServer {
    /// With a key that is drawn at the start: for servers that a game brings along.
    pub fn new(settings: Settings) -> Self {
        Self { settings, identity: None, token_check: None }
    }

    /// With this key.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// With a check of every login's token.
    #[must_use]
    pub fn token_check(mut self, check: Box<dyn TokenCheck>) -> Self {
        self.token_check = Some(check);
        self
    }

    /// Opens the sockets; [`BoundServer::run`] serves them.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn bind(self) -> Result<BoundServer, StartError> {
        let identity = match self.identity {
            Some(identity) => identity,
            None => Identity::from_secret(key::entropy()?),
        };
        let seed = key::entropy()?;
        let mut sockets = open_all(&self.settings)?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        for (index, bound) in sockets.iter_mut().enumerate() {
            poll.registry().register(&mut bound.socket, Token(index), Interest::READABLE)?;
        }
        let (ask, asked) = channel();
        let handle = Handle { stop: Arc::new(AtomicBool::new(false)), waker, ask };
        let http =
            if self.settings.no_http { None } else { Some(Http::start(self.settings.http, handle.clone())?) };
        let about = sockets.iter().map(|bound| bound.about).collect();
        let mut server = Server::new(self.settings.server(), identity, seed, about, Instant::now());
        if let Some(check) = self.token_check {
            server.set_token_check(check);
        } else if let Some(token) = self.settings.token.clone() {
            server.set_token_check(Box::new(SharedToken(token)));
        }
        let addresses = Addresses::of(&sockets, http.as_ref().map(Http::address), server.public_key());
        Ok(BoundServer { poll, sockets, server, asked, handle, http, addresses, send_errors: 0 })
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

/// Where a server is, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Sockets that players log in to: the first port of each first address.
    pub first: Vec<SocketAddr>,
    /// The sockets farthest from them: second address and port, where there are.
    pub second: Vec<SocketAddr>,
    /// All sockets.
    pub all: Vec<SocketAddr>,
    /// Metrics and status page.
    pub http: Option<SocketAddr>,
    /// The key that clients pin.
    pub public_key: [u8; 32],
}

impl Addresses {
    fn of(sockets: &[Bound], http: Option<SocketAddr>, public_key: [u8; 32]) -> Self {
        let all: Vec<_> = sockets.iter().map(|bound| bound.about).collect();
        let first: Vec<SocketAddr> = all
            .iter()
            .filter(|about| !about.second_address && !about.second_port)
            .map(|about| about.local)
            .collect();
        let mut second = Vec::new();
        for v4 in [true, false] {
            let far = all
                .iter()
                .filter(|about| about.local.is_ipv4() == v4 && about.second_port)
                .max_by_key(|about| about.second_address);
            second.extend(far.map(|about| about.local));
        }
        Self { first, second, all: all.iter().map(|about| about.local).collect(), http, public_key }
    }
}

/// `198.18.0.10:3478 (second 198.18.0.11:3479), http 127.0.0.1:9600, key ...`
impl std::fmt::Display for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |addresses: &[SocketAddr]| {
            addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ")
        };
        write!(f, "{}", list(&self.first))?;
        if !self.second.is_empty() {
            write!(f, " (second {})", list(&self.second))?;
        }
        if let Some(http) = self.http {
            write!(f, ", http {http}")?;
        }
        write!(f, ", key {}", key::printed(&self.public_key))
    }
}

/// A server with open sockets.
pub struct BoundServer {
    poll: Poll,
    sockets: Vec<Bound>,
    server: Server,
    asked: Receiver<Sender<Status>>,
    handle: Handle,
    http: Option<Http>,
    addresses: Addresses,
    send_errors: u64,
}

impl std::fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundServer").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl BoundServer {
    /// Where it is.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// To stop it from elsewhere.
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
        let mut buffers = Buffers::new();
        // Edge-triggered: a socket stays here until it was read to the end.
        let mut ready = vec![true; self.sockets.len()];
        loop {
            let now = Instant::now();
            let wait = if ready.contains(&true) {
                Some(Duration::ZERO)
            } else {
                self.server.poll_timeout().map(|due| due.saturating_duration_since(now))
            };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if let Some(ready) = ready.get_mut(event.token().0) {
                    *ready = true;
                }
            }
            for (index, bound) in self.sockets.iter().enumerate() {
                if ready[index] {
                    let id = ServerSocketId(index as u16);
                    ready[index] = bound.receive(id, &mut buffers, &mut self.server);
                    drain(&mut self.server, &self.sockets, &mut registry, &mut self.send_errors);
                }
            }
            let now = Instant::now();
            if self.server.poll_timeout().is_some_and(|due| due <= now) {
                self.server.handle_timeout(now);
            }
            let stop = self.handle.stop.load(Ordering::Acquire);
            if stop {
                self.server.stop(now, "the lobby server stops");
            }
            drain(&mut self.server, &self.sockets, &mut registry, &mut self.send_errors);
            while let Ok(reply) = self.asked.try_recv() {
                let _ = reply.send(Status {
                    counters: self.server.counters(),
                    gauges: self.server.gauges(),
                    outcomes: self.server.outcomes().clone(),
                    send_errors: self.send_errors,
                    uptime: start.elapsed(),
                });
            }
            if stop {
                drop(self.http.take());
                return Ok(());
            }
        }
    }
}

fn drain(server: &mut Server, sockets: &[Bound], registry: &mut MemoryRegistry, send_errors: &mut u64) {
    server.turn_registry(Instant::now(), registry);
    while let Some(transmit) = server.poll_transmit() {
        let Some(socket) = sockets.get(usize::from(transmit.socket.0)) else { continue };
        if let Err(error) = socket.send(transmit.to, transmit.source, &transmit.payload) {
            *send_errors += 1;
            tracing::trace!(%error, "sending failed");
        }
    }
}

/// A server that serves in a thread of its own; dropping it stops and joins it.
#[derive(Debug)]
pub struct RunningServer {
    handle: Handle,
    addresses: Addresses,
    thread: Option<JoinHandle<()>>,
}

impl RunningServer {
    /// Where it is.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// To ask how it is.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The key that clients pin.
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
