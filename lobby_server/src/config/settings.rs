//! What an operator sets, and where it comes from: flags, environment, file, defaults, in this order.

mod meaning;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::{Deserialize, Serialize};
use traversal_core::address::canonical;
use traversal_core::{Secret, TLS_PORT};

use super::ServerConfig;
use super::rules;
use super::sources::{Environment, nearest, one_or_many, secret, secret_text};
use crate::relay::RelayMode;

/// These are all settings of the program. The fields are the keys of the configuration file; in upper case behind
/// `LOBBY_` they are environment variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The server is bound to these addresses; port 0 is any free one. Empty, the default: all of IPv4, and all of IPv6
    /// where there is any.
    #[serde(deserialize_with = "one_or_many")]
    pub bind: Vec<SocketAddr>,
    /// These are second addresses of this machine, one per family, for full classification (default: none).
    #[serde(deserialize_with = "one_or_many")]
    pub second_address: Vec<IpAddr>,
    /// This is a second port on each address. Unset: the one after the first (3479 after 3478), or any free one where
    /// the first is or where that is taken.
    pub second_port: Option<u16>,
    /// Players know the first address by these, one per family, where it is not on an interface (cloud 1:1 NAT). None
    /// by default.
    #[serde(deserialize_with = "one_or_many")]
    pub public_address: Vec<IpAddr>,
    /// Players know the second address by these, one per family.
    #[serde(deserialize_with = "one_or_many")]
    pub second_public_address: Vec<IpAddr>,
    /// Another lobby server with the same key file is here, as `HOST` or `HOST:PORT`, as players reach it: its address is this
    /// server's second one, and this one's is its. Unset, the default: there is none.
    pub neighbour: Option<String>,
    /// The other server's end of the link is here, as `HOST:PORT`; unset: at the same host, two ports after its first one.
    pub neighbour_link: Option<String>,
    /// This server's end of the link is bound to this address; unset: to its own addresses, two ports after the first one.
    pub link_bind: Option<SocketAddr>,
    /// Metrics, health and the status page are served here (default 127.0.0.1:9600).
    pub http: SocketAddr,
    /// This says whether none of them is served.
    pub no_http: bool,
    /// Rooms are known there: `memory`, the default, for a server that is alone, or the address of a Redis or Valkey that
    /// several share, as in `redis://10.0.0.5:6379`. It may hold a password.
    #[serde(deserialize_with = "secret_text")]
    pub registry: Secret<String>,
    /// The server's secret key is in this file; unset: in the platform's data directory.
    pub key_file: Option<PathBuf>,
    /// Lists of rooms say that the rooms of this server are in this region, up to 16 characters; empty, the default: it has no
    /// name. Players may look for rooms of one region.
    pub region: String,
    /// Only these games are served; empty, the default, means all.
    #[serde(deserialize_with = "one_or_many")]
    pub games: Vec<String>,
    /// Only players who show this token may log in; unset, the default: everybody may.
    #[serde(deserialize_with = "secret")]
    pub token: Option<Secret<String>>,
    /// Only players may log in who show a ticket that the game's login service has signed with one of these keys, up to 8: a
    /// public key of Ed25519 in PEM, or a secret of 32 to 4,096 bytes for HS256 (docs/accounts.md). None, the default:
    /// everybody may. They are read again with the settings.
    #[serde(deserialize_with = "one_or_many")]
    pub token_key: Vec<PathBuf>,
    /// This says whether players may play over this server: `allow`, `only` (their addresses never leave it) or
    /// `never`.
    pub relay: RelayMode,
    /// This says whether players of single games may play over this server, by the game's id; `relay` counts for all
    /// others.
    pub relay_games: BTreeMap<String, RelayMode>,
    /// Each side of a pair may send so many thousands of bytes per second through the relay (default 512).
    pub relay_kilobytes_per_s: u32,
    /// All together may send so many thousands of bytes per second through the relay (default 50,000).
    pub relay_total_kilobytes_per_s: u32,
    /// The relay may send so many gigabytes in a day, of the calendar in UTC (default 80: a fifth of a month's, so that no
    /// single day uses up the month); 0: as many as there are.
    pub relay_gigabytes_per_day: u32,
    /// The relay may send so many gigabytes in a month (default 400: four fifths of the 500 that the smallest servers of
    /// common hosters include, which leaves the rest for everything else); 0: as many as there are.
    pub relay_gigabytes_per_month: u32,
    /// The relay may send so many gigabytes in a day for players of single games, by the game's id.
    pub relay_games_gigabytes_per_day: BTreeMap<String, u32>,
    /// The relay may send so many gigabytes in a month for players of single games, by the game's id.
    pub relay_games_gigabytes_per_month: BTreeMap<String, u32>,
    /// One match may use the relay for so many seconds (default 12 h).
    pub relay_lifetime_s: u64,
    /// This says whether players may write to each other (default: yes).
    pub chat: bool,
    /// This says whether plain STUN Binding requests are answered (default: yes).
    pub stun: bool,
    /// This says whether no TCP is served: players whose networks block UDP cannot log in then.
    pub no_tcp: bool,
    /// The certificate of TLS is in this file, with those that it is signed by, in PEM; `tls_key` has its key. Unset, the
    /// default: no TLS is served, and players whose networks let out nothing but port 443 cannot log in.
    pub tls_cert: Option<PathBuf>,
    /// The secret key of `tls_cert` is in this file, in PEM.
    pub tls_key: Option<PathBuf>,
    /// TLS is served at this port of each first address (default 443; 0: any free one, for tests). Players try 443.
    pub tls_port: u16,
    /// So many thousands of bytes of buffer are asked of the system for each UDP socket and direction (default 8,192). What
    /// comes while the server is busy waits there: 8 MB hold some 10,000 small datagrams, what 100,000 a second bring in a
    /// tenth of a second. They take memory only while something waits.
    pub socket_buffer_kilobytes: u32,
    /// There are so many TCP connections at the most (default 2,000).
    pub max_tcp: usize,
    /// One IPv4 address or IPv6 /64 has so many TCP connections at the most (default 128): a school or an office has
    /// many players behind one.
    pub max_tcp_per_address: usize,
    /// A TCP connection must have logged in after so many seconds (default 30). A login takes three round trips over
    /// it, of 5 s at the most, and twice that where something has to be sent again.
    pub tcp_login_timeout_s: u64,
    /// A session is over after so many seconds of silence (default 35).
    pub session_timeout_s: u64,
    /// A member of a room keeps its seat for so many seconds at the most while nothing is heard of it (default 600): see
    /// [`ServerConfig::keep_seat`].
    pub keep_seat_s: u64,
    /// See [`ServerConfig::max_sessions`].
    pub max_sessions: usize,
    /// See [`ServerConfig::max_sessions_per_address`].
    pub max_sessions_per_address: usize,
    /// See [`ServerConfig::max_rooms`].
    pub max_rooms: usize,
    /// See [`ServerConfig::max_rooms_per_address`].
    pub max_rooms_per_address: usize,
    /// See [`ServerConfig::max_queued_per_address`].
    pub max_queued_per_address: usize,
    /// See [`ServerConfig::max_contacts`].
    pub max_contacts: usize,
    /// See [`ServerConfig::ring_rate`]: so many in a minute (default 30).
    pub rings_per_minute: u32,
    /// See [`ServerConfig::stranger_ring_rate`]: so many in a minute (default 6).
    pub stranger_rings_per_minute: u32,
    /// See [`ServerConfig::same_nat_mask_v4`].
    pub same_nat_mask_v4: u8,
    /// See [`ServerConfig::same_nat_mask_v6`].
    pub same_nat_mask_v6: u8,
    /// The log has this, as in `RUST_LOG`, which wins over it (default `info`).
    pub log: String,
    /// This says whether the log, and the line that says where the server is, are JSON (default: no).
    pub log_json: bool,
    /// The server's user and root may ask a running server, and have it do things, at this Unix socket (default: nobody may).
    pub admin_socket: Option<PathBuf>,
    /// The end waits so many seconds for running rooms (default 10; 0: it does not).
    pub drain_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let core = ServerConfig::default();
        Self {
            bind: Vec::new(),
            second_address: Vec::new(),
            second_port: None,
            public_address: Vec::new(),
            second_public_address: Vec::new(),
            neighbour: None,
            neighbour_link: None,
            link_bind: None,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 9600)),
            no_http: false,
            registry: crate::cluster::MEMORY.into(),
            key_file: None,
            region: String::new(),
            games: Vec::new(),
            token: None,
            token_key: Vec::new(),
            relay: core.relay,
            relay_games: BTreeMap::new(),
            relay_kilobytes_per_s: 512,
            relay_total_kilobytes_per_s: 50_000,
            relay_gigabytes_per_day: 80,
            relay_gigabytes_per_month: 400,
            relay_games_gigabytes_per_day: BTreeMap::new(),
            relay_games_gigabytes_per_month: BTreeMap::new(),
            relay_lifetime_s: core.relay_lifetime.as_secs(),
            chat: core.chat,
            stun: core.stun,
            no_tcp: false,
            tls_cert: None,
            tls_key: None,
            tls_port: TLS_PORT,
            socket_buffer_kilobytes: 8192,
            max_tcp: 2000,
            max_tcp_per_address: 128,
            tcp_login_timeout_s: 30,
            session_timeout_s: core.session_timeout.as_secs(),
            keep_seat_s: core.keep_seat.as_secs(),
            max_sessions: core.max_sessions,
            max_sessions_per_address: core.max_sessions_per_address,
            max_rooms: core.max_rooms,
            max_rooms_per_address: core.max_rooms_per_address,
            max_queued_per_address: core.max_queued_per_address,
            max_contacts: core.max_contacts,
            rings_per_minute: 30,
            stranger_rings_per_minute: 6,
            same_nat_mask_v4: core.same_nat_mask_v4,
            same_nat_mask_v6: core.same_nat_mask_v6,
            log: String::from("info"),
            log_json: false,
            admin_socket: None,
            drain_s: 10,
        }
    }
}

/// Gives all keys, with their defaults.
pub(crate) fn defaults() -> Dict {
    let value = Value::serialize(Settings::default()).ok();
    value.and_then(Value::into_dict).unwrap_or_default()
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file, a variable or a flag cannot be read.
    #[error("the configuration cannot be read")]
    Read(#[from] Box<figment::Error>),
    /// A key or a variable is no setting.
    #[error("configuration: {name} in {place} is no setting{}", advice(.nearest.as_ref()))]
    Unknown {
        /// The key or variable has this name.
        name: String,
        /// It stands in this file, or in the environment.
        place: String,
        /// This setting has a name like it, if there is one.
        nearest: Option<String>,
    },
    /// A value makes no sense.
    #[error("configuration: {0}")]
    Value(String),
}

fn advice(nearest: Option<&String>) -> String {
    match nearest {
        Some(name) => format!("; the nearest is {name}"),
        None => String::from("; lobby.example.toml and docs/hosting.md have them all"),
    }
}

impl Settings {
    /// Puts together what file, environment and flags say. `flags` holds only what was given.
    ///
    /// # Errors
    /// When the file is not there or a value cannot be read.
    pub fn load(file: Option<&Path>, flags: impl Serialize) -> Result<Self, ConfigError> {
        Self::from_sources(file, &Environment::read(), flags)
    }

    fn from_sources(
        file: Option<&Path>,
        environment: &Environment,
        flags: impl Serialize,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        Self::read(&figment.merge(environment).merge(Serialized::defaults(flags)))
    }

    /// Returns what a file with this text and flags say, without the environment.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn of_text(text: &str, flags: impl Serialize) -> Result<Self, ConfigError> {
        let figment = Figment::from(Serialized::defaults(Self::default())).merge(Toml::string(text));
        Self::read(&figment.merge(Serialized::defaults(flags)))
    }

    fn read(figment: &Figment) -> Result<Self, ConfigError> {
        let known = defaults();
        for key in figment.extract::<Dict>().map_err(Box::new)?.into_keys() {
            if !known.contains_key(&key) {
                return Err(unknown(figment, &key, &known));
            }
        }
        // "yes", 1 and "on" are true, and "3478" is a number.
        let mut settings: Self = figment.extract_lossy().map_err(Box::new)?;
        settings.make_canonical();
        settings.validate()?;
        Ok(settings)
    }

    /// Makes IPv4 addresses of those that are written as mapped into IPv6.
    fn make_canonical(&mut self) {
        let addresses = self.bind.iter_mut().chain([&mut self.http]).chain(&mut self.link_bind);
        addresses.for_each(|address| *address = canonical(*address));
        let ips = self.second_address.iter_mut().chain(&mut self.public_address);
        ips.chain(&mut self.second_public_address).for_each(|ip| *ip = ip.to_canonical());
    }

    /// Checks whether every value is one that the server can work with.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the rule that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        rules::check(self)
    }
}

fn unknown(figment: &Figment, key: &str, known: &Dict) -> ConfigError {
    let nearest = nearest(key, known.keys());
    match figment.find_metadata(key) {
        // Only files have one.
        Some(metadata) if metadata.source.is_some() => ConfigError::Unknown {
            name: format!("\"{}\"", key.escape_debug()),
            place: metadata.source.as_ref().map(ToString::to_string).unwrap_or_default(),
            nearest: nearest.map(|name| format!("\"{name}\"")),
        },
        _ => {
            let variable = |key: &str| format!("LOBBY_{}", key.to_uppercase());
            ConfigError::Unknown {
                name: variable(key),
                place: String::from("the environment"),
                nearest: nearest.map(|name| variable(name)),
            }
        }
    }
}
