//! Opens what the server needs, and starts it.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use mio::{Poll, Waker};
use traversal_core::wire::secret::same;
use traversal_core::{Identity, Secret};

use super::{BoundServer, WAKER, least_buffer};
use crate::addresses::Addresses;
#[cfg(unix)]
use crate::admin::{Admin, AdminError};
use crate::bans::{BansError, BansFile};
use crate::bind::open_all;
use crate::bind_error::BindError;
use crate::check::chain;
use crate::cluster::{self, Cluster, Member, NodeRegistry, RegistryError};
use crate::config::{ConfigError, ServerConfig, Settings};
use crate::files;
use crate::http::{Http, HttpError};
use crate::key::{self, KeyError};
use crate::link;
use crate::log::Losses;
use crate::registry::MemoryRegistry;
use crate::server::{Server, ServerSocketId};
use crate::status::Handle;
use crate::tcp::Streams;
use crate::tickets::{Tickets, TokenKeyError};
use crate::tls::{Certificate, TlsError};
use crate::tokens::{Checkers, TokenCheck, TokenLogin};
use crate::turns::Turns;
use crate::udp::Bound;
use crate::watch::{UsageFile, Watch};

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
    /// The bans cannot be read: to go on would let in who is banned.
    #[error(transparent)]
    Bans(#[from] BansError),
    /// A key of the game's login service cannot be used.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// The certificate or the key of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no key, or no randomness for the seed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The registry that nodes share cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
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
    bans_file: Option<BansFile>,
}

impl std::fmt::Debug for LobbyServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LobbyServer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

struct SharedToken(Secret<String>);

/// Returns what checks the tokens of logins by these settings, if anything does.
fn token_check(settings: &Settings) -> Result<Option<Box<dyn TokenCheck>>, TokenKeyError> {
    if !settings.token_key.is_empty() {
        let tickets = Tickets::read(&settings.token_key)?;
        tracing::info!(
            keys = tickets.names().join(", "),
            "players show tickets that one of these keys has signed"
        );
        return Ok(Some(Box::new(tickets)));
    }
    let token = settings.token.clone();
    Ok(token.map(|token| Box::new(SharedToken(token)) as Box<dyn TokenCheck>))
}

/// Has later logins' tokens checked by these settings. Keys that cannot be read leave the check as it is.
pub(super) fn replace_token_check(server: &mut Server, settings: &Settings) {
    match token_check(settings) {
        Ok(check) => server.replace_token_check(check),
        Err(error) => tracing::error!("tickets are checked as before: {}", chain(&error)),
    }
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
        Self {
            settings,
            identity: None,
            token_check: None,
            log_losses: Losses::default(),
            usage_file: None,
            bans_file: None,
        }
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

    /// Begins with the bans in this file, and keeps there what the operator makes of them. Where there is none nobody is banned.
    #[must_use]
    pub fn bans_file(mut self, file: PathBuf) -> Self {
        self.bans_file = Some(BansFile::new(file));
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
        let own_check = token_check(&self.settings)?;
        let certificate = Certificate::read(&self.settings)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
        let now_s = since.map_or(0, |since| since.as_secs());
        let bans = self.bans_file.as_ref().map(|file| file.read(now_s)).transpose()?;
        let (mut sockets, listeners) = open_all(&self.settings)?;
        let resolver = self.settings.resolver()?;
        let mut link = link::Sockets::open(&self.settings, sockets.iter().map(|bound| &bound.about))?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        for (index, bound) in sockets.iter_mut().enumerate() {
            bound.register(poll.registry(), ServerSocketId(index as u16))?;
        }
        link.register(poll.registry())?;
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
        let admin =
            admin.map(|path| Admin::start(path, handle.clone(), self.bans_file.clone())).transpose()?;
        let about = sockets.iter().map(|bound| bound.about);
        let about = about.chain(listeners.iter().map(|listener| listener.about)).collect();
        let local = |tls: bool| {
            let of_kind = listeners.iter().filter(|listener| listener.tls == tls);
            of_kind.map(|listener| listener.local).collect::<Vec<_>>()
        };
        let tcp = (local(false), local(true));
        let streams = Streams::new(
            &self.settings,
            files::tcp_places(&self.settings),
            poll.registry().try_clone()?,
            listeners,
            u16::try_from(sockets.len()).unwrap_or(u16::MAX),
            certificate,
        )?;
        let registry = cluster::address(&self.settings.registry)?;
        let node = if registry.is_some() { cluster::draw_node()? } else { 0 };
        let config = ServerConfig { node, ..self.settings.server() };
        let public_key = identity.public_key();
        let mut server = Server::new(config, identity, seed, about, Instant::now());
        if let Ok(since) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            server.set_time_of_day(Instant::now(), since.as_secs());
        }
        server.set_bans(bans.unwrap_or_default());
        if let Some(file) = &self.usage_file {
            server.restore_relay_usage(&file.read());
        }
        let mut checkers = None;
        if let Some(check) = self.token_check {
            server.ask_about_tokens();
            checkers = Some(Checkers::start(check, &handle.waker())?);
        } else if let Some(check) = own_check {
            server.set_token_check(check);
        }
        let mut resolving = None;
        if let Some(resolver) = resolver {
            if resolver.is_fixed() {
                server.set_neighbour(Instant::now(), resolver.look_up()?);
            } else {
                resolving = Some(resolver.keep_looking(handle.clone())?);
            }
        }
        let addresses = Addresses::of(&sockets, tcp, http.as_ref().map(Http::address), public_key);
        let registry = match registry {
            None => NodeRegistry::Memory(MemoryRegistry::new()),
            Some(registry) => {
                let member = Member { node, addresses: cluster::told(&sockets), public_key };
                // Where it is not there, the thread that speaks to it says so, and when it is.
                cluster::look(&registry, &member)?;
                NodeRegistry::Shared(Cluster::start(registry, &member, handle.waker())?)
            }
        };
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
            link,
            _resolving: resolving,
            server,
            registry,
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
