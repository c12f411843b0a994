//! Everything that can be set about the plugin.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bevy_ecs::resource::Resource;
use bevy_renet::renet::ConnectionConfig;
#[cfg(feature = "port_mapping")]
use traversal_core::RelayPolicy;
use traversal_core::classify::LifetimeSearch;
use traversal_core::{AgentConfig, MappingProtocol};

use crate::datagrams::GAME;
use crate::interfaces::Interfaces;
use crate::kept_file::KeptFile;
use crate::resolve::{Resolve, SystemResolver};

/// The search for the lifetime of an idle NAT mapping may take this long, beside a few round trips: its longest
/// silence. The result stands in [`NatProfile::timeout`](crate::NatProfile::timeout).
pub const LONGEST_LIFETIME_SEARCH: Duration = LifetimeSearch::LONGEST;

/// These are the settings of a [`TraversalPlugin`](crate::TraversalPlugin).
///
/// ```
/// use bevy_traversal::prelude::*;
///
/// let config = TraversalConfig {
///     lobby: vec!["lobby.example.com".into()],
///     game: "pong".into(),
///     name: "Ada".into(),
///     ..Default::default()
/// };
/// assert!(config.server_keys.is_empty(), "the server's key is trusted on first use");
/// ```
#[derive(Clone)]
pub struct TraversalConfig {
    /// These are the lobby servers, `host:port` or `host` (port [`DEFAULT_PORT`](crate::DEFAULT_PORT)), tried in turn.
    /// Where there are any, the plugin logs in when the app starts; without, it waits for a
    /// [`ConnectLobby`](crate::ConnectLobby) message.
    pub lobby: Vec<String>,
    /// This is the address of a lobby server that runs within this game, for a first run with nothing else, and for
    /// play in one's own network; none by default. Where the port is taken, whoever serves there is used, and this
    /// game serves as soon as it ends. The plugin logs in to it when [`lobby`](Self::lobby) is empty. `127.0.0.1`
    /// serves this machine alone, `0.0.0.0` all networks that the machine is in.
    #[cfg(feature = "embedded_lobby")]
    pub embedded_lobby: Option<SocketAddr>,
    /// The lobby server must have one of these public keys. Empty: the first key seen is trusted, and kept as
    /// [`known_servers`](Self::known_servers) says.
    pub server_keys: Vec<ServerKey>,
    /// This names the game, in at most 64 bytes: players of different games do not meet.
    pub game: String,
    /// This numbers the game's own protocol (default 0); players of different numbers do not meet.
    pub game_protocol: u32,
    /// Others see this display name. It has at most 32 characters and 48 bytes: what is more, or cannot be shown, is
    /// left out ([`text::NAME`](crate::text::NAME)).
    pub name: String,
    /// These opaque bytes are for the lobby server's login check. There are at most 512; none by default.
    pub token: Vec<u8>,
    /// The game's socket is bound to this local address. None: any free port on all interfaces, IPv4 and IPv6. An
    /// address of one interface keeps the plugin to that interface.
    pub bind: Option<SocketAddr>,
    /// This says whether IPv6 is used beside IPv4, where there is any and `bind` does not forbid it (default: yes).
    pub ipv6: bool,
    /// The machine's router is asked by these protocols to forward the game's port, in the order of preference. If
    /// there are none, or without the feature `port_mapping`, it is not asked at all. The asking begins with the
    /// login, in the background; a forwarded port is renewed, and given back at the end. It only counts
    /// once the lobby server's second address has reached it ([`PortMappingState`](crate::PortMappingState)). Nobody
    /// is asked where the lobby server is on this machine, where the public address is the machine's own, and with
    /// [`RelayPolicy::Only`](crate::RelayPolicy::Only).
    ///
    /// By default PCP, NAT-PMP, then UPnP; nothing on macOS and iOS, where asking the router brings up the system's
    /// question whether the game may find devices in the local network. A game that has explained this to its player sets
    /// [`MappingProtocol::ALL`](crate::MappingProtocol::ALL).
    pub port_mapping: Vec<MappingProtocol>,
    /// This is where the player's identity comes from; by default it is a new one with each start. Released games set
    /// [`IdentitySource::Platform`].
    pub identity: IdentitySource,
    /// This is where the keys of lobby servers are kept, when none is pinned by [`server_keys`](Self::server_keys): a text file
    /// with a line `host:port KEY` for each server, which several programs may share (default: beside the identity, with
    /// `.known_servers` behind its name). A server with another key than before is not logged in to
    /// ([`TraversalError::ServerKeyChanged`](crate::TraversalError::ServerKeyChanged)). Where nothing is kept, the first key of
    /// each server is trusted for the run. Servers at loopback addresses are never kept.
    pub known_servers: KeptFile,
    /// Measured NATs are kept here for 30 days (M9): at most 16 networks, each known by a block of its public address and by
    /// its local networks (default: beside the identity, with `.nat.json` behind its name). They are a start for the first
    /// join; everything is measured again.
    pub kept_profiles: KeptFile,
    /// Contacts are kept here, see [`Contacts`](crate::Contacts): a text file with a line for each, its id and its name
    /// (default: beside the identity, with `.contacts` behind its name). A game that keeps them itself says
    /// [`KeptFile::Off`].
    pub contacts: KeptFile,
    /// These are the agent's further settings: LAN, relay, TCP, method, detection, what is known of the NATs
    /// beforehand (its `manual`, `bubble_targets` and M24's `ports_ahead`), caps, timeouts. Its `game`,
    /// `game_protocol`, `name`, `token` and `server_keys` are replaced by the fields above.
    pub agent: AgentConfig,
    /// This is how game data travels; by default with renet over the sealed path.
    pub transport: Transport,
    /// These are renet's channels and budgets, for [`Transport::Sealed`]; they are the same on all players.
    pub renet: ConnectionConfig,
    /// renet's packets are taken once in this period at the most; with zero, the default, in every frame. renet
    /// acknowledges acknowledgements, so that two players who say nothing to each other send a small datagram in each
    /// frame, both ways. With a 30th of a second they send 30 a second at any frame rate, and a message waits this long
    /// at the worst. It is also the tick that [`ConnectionConfig::available_bytes_per_tick`] counts by. It is for
    /// [`Transport::Sealed`].
    pub renet_send_period: Duration,
    /// The lobby server serves TLS at this port (default 443), where a network lets out neither UDP nor TCP to its own port.
    /// With [`AgentConfig::tcp`] switched off it is not tried.
    pub tls_port: u16,
    /// This is how the names of lobby servers are resolved; by default by the operating system.
    pub resolver: Arc<dyn Resolve>,
    /// The resolver may take this long before the lobby counts as unresolvable (default 3.5 s: twice the 1.5 s a stub
    /// resolver commonly waits for an answer, and a reserve); twice as long as its former answers took, where those
    /// took longer. In the background it is waited for beyond that, and a late answer counts.
    pub resolve_timeout: Duration,
    /// Other players of the same network are told the addresses of these network interfaces (default:
    /// [`Interfaces::Automatic`], all that may lead to any).
    pub interfaces: Interfaces,
    /// The machine's own addresses are looked at once in this period (default 5 s).
    pub local_address_period: Duration,
    /// The app may go this long without a tick (a level loads, a debugger holds it) before its players are let go
    /// (default 30 s). Until then the network thread keeps the connections alive.
    pub stall_timeout: Duration,
    /// At most this many game datagrams may be on their way to the app; what comes in beyond that is dropped and
    /// counted. The default, 2,048, takes 3 s of ten players who send 60 datagrams of 1,200 bytes a second (2 MB).
    pub incoming_datagrams: usize,
    /// At most this many game datagrams may be on their way to the network thread (default 4,096); what is sent
    /// beyond that is dropped and counted.
    pub outgoing_datagrams: usize,
    /// The system is asked for a buffer of this size, in bytes, for each direction of the game's socket. The default,
    /// 1 MiB, takes a burst of 700 datagrams of 1,500 bytes.
    pub socket_buffer: usize,
}

impl Default for TraversalConfig {
    fn default() -> Self {
        let agent = AgentConfig::default();
        Self {
            lobby: Vec::new(),
            #[cfg(feature = "embedded_lobby")]
            embedded_lobby: None,
            server_keys: Vec::new(),
            game: agent.game.clone(),
            game_protocol: agent.game_protocol,
            name: agent.name.clone(),
            token: Vec::new(),
            bind: None,
            ipv6: true,
            port_mapping: default_port_mapping(cfg!(any(target_os = "macos", target_os = "ios"))),
            identity: IdentitySource::default(),
            known_servers: KeptFile::default(),
            kept_profiles: KeptFile::default(),
            contacts: KeptFile::default(),
            agent,
            transport: Transport::default(),
            renet: ConnectionConfig::default(),
            renet_send_period: Duration::ZERO,
            tls_port: traversal_core::TLS_PORT,
            resolver: Arc::new(SystemResolver),
            resolve_timeout: Duration::from_millis(3500),
            interfaces: Interfaces::default(),
            local_address_period: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            incoming_datagrams: 2048,
            outgoing_datagrams: 4096,
            socket_buffer: 1 << 20,
        }
    }
}

/// Returns how the router is asked; `prompts`: the system asks the user first (Apple's technical note TN3179).
fn default_port_mapping(prompts: bool) -> Vec<MappingProtocol> {
    if prompts { Vec::new() } else { MappingProtocol::ALL.to_vec() }
}

impl TraversalConfig {
    #[cfg(feature = "port_mapping")]
    /// Returns whether the router is asked for a port, if one turns out to be of use.
    pub(crate) fn asks_router(&self) -> bool {
        !self.port_mapping.is_empty()
            && self.agent.relay != RelayPolicy::Only
            && self.bind.is_none_or(|bind| bind.is_ipv4() && !bind.ip().is_loopback())
    }

    pub(crate) fn agent_config(&self) -> AgentConfig {
        AgentConfig {
            game: self.game.clone(),
            game_protocol: self.game_protocol,
            name: self.name.clone(),
            token: self.token.clone().into(),
            server_keys: self.server_keys.iter().map(|key| key.0).collect(),
            // renet sends nothing reliable to whom it hears no acknowledgements from; its guard lets nothing else through.
            spectator_channel: match self.transport {
                Transport::Sealed => Some(GAME),
                Transport::Manual => self.agent.spectator_channel,
            },
            ..self.agent.clone()
        }
    }
}

impl fmt::Debug for TraversalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraversalConfig")
            .field("lobby", &self.lobby)
            .field("game", &self.game)
            .field("game_protocol", &self.game_protocol)
            .field("name", &self.name)
            .field("bind", &self.bind)
            .field("identity", &self.identity)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// Resource: these are renet's channels and budgets, which are the same on all players. They begin as
/// [`TraversalConfig::renet`](crate::TraversalConfig::renet), and are read whenever a `RenetServer` or `RenetClient`
/// is made: a game that knows its channels only when the app has started (replicon's come of what is registered) sets
/// them then, before it enters a room.
///
/// ```no_run
/// use bevy_ecs::prelude::*;
/// use bevy_renet::renet::{ChannelConfig, SendType};
/// use bevy_traversal::RenetConfig;
///
/// fn set_channels(mut config: ResMut<RenetConfig>) {
///     let chat = ChannelConfig {
///         channel_id: 0,
///         max_memory_usage_bytes: 1 << 20,
///         send_type: SendType::Unreliable,
///     };
///     config.0.server_channels_config = vec![chat.clone()];
///     config.0.client_channels_config = vec![chat];
/// }
/// ```
#[derive(Resource, Debug)]
pub struct RenetConfig(pub ConnectionConfig);

/// This is how game data travels between players.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// renet carries it over the sealed path: `RenetServer` and `RenetClient` appear by themselves.
    #[default]
    Sealed,
    /// The game does it: with the [`Datagrams`](crate::Datagrams) resource, or with
    /// [`TraversalLink::into_socket`](crate::TraversalLink::into_socket).
    Manual,
}

/// This is where the player's key pair, and so its [`PlayerId`](crate::PlayerId), comes from.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum IdentitySource {
    /// The identity is a new one with each start: nobody recognises the player again, bans and contacts do not last, and
    /// a lobby server's key is trusted anew. Good for development and for tests.
    #[default]
    Ephemeral,
    /// The identity lies where the system keeps the data of the program `app` for this user, in the file `player.key`; it is
    /// made with the first start. This is what a released game should have:
    ///
    /// ```
    /// # use bevy_traversal::IdentitySource;
    /// let identity = IdentitySource::Platform { app: "squares".into() };
    /// ```
    ///
    /// On Linux that is `~/.local/share/squares`, on Windows `%LOCALAPPDATA%\squares\data`, on macOS
    /// `~/Library/Application Support/squares`. Two instances on one machine have two identities: the second one takes
    /// `player-2.key`, and says so in the log. The keys of lobby servers and the NAT profiles lie beside it, shared.
    Platform {
        /// The folder has this name of 1 to 64 ASCII letters, digits, `-`, `_`, `.` or spaces. It should never
        /// change.
        app: String,
    },
    /// The identity is made of 32 secret bytes in this file, which is made with the first start; only its owner can
    /// read it. Two running programs with one file are one player: the second one's login ends the first
    /// one's.
    File(PathBuf),
    /// The identity is made of these secret bytes, which the game keeps itself.
    Secret([u8; 32]),
}

impl fmt::Debug for IdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ephemeral => f.write_str("Ephemeral"),
            Self::Platform { app } => f.debug_struct("Platform").field("app", app).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Secret(_) => f.write_str("Secret(..)"),
        }
    }
}

/// This is a lobby server's public key, as `lobby_server key` prints it.
///
/// ```
/// use bevy_traversal::ServerKey;
///
/// let key: ServerKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".parse()?;
/// assert_eq!(key, ServerKey([0; 32]));
/// assert!("too short".parse::<ServerKey>().is_err());
/// # Ok::<(), bevy_traversal::ServerKeyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey(pub [u8; 32]);

/// This error says that the text is no public key of a lobby server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server key is 32 bytes in base64, as printed by `lobby_server key`")]
pub struct ServerKeyError;

impl FromStr for ServerKey {
    type Err = ServerKeyError;

    fn from_str(text: &str) -> Result<Self, ServerKeyError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| ServerKeyError)?;
        bytes.try_into().map(Self).map_err(|_| ServerKeyError)
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl From<[u8; 32]> for ServerKey {
    fn from(key: [u8; 32]) -> Self {
        Self(key)
    }
}
