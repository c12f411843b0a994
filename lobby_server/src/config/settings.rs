//! What an operator sets, and where it comes from: flags, environment, file, defaults, in this order.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Deserializer, Serialize};
use traversal_core::Secret;
use traversal_core::address::canonical;

use super::rules;
use super::{DEFAULT_PORT, ServerConfig, relay_rate};
use crate::budget::{RelayBudget, RelayBudgets};
use crate::relay::RelayMode;

/// Reads one value or a list; in the environment and in TOML, a string with commas serves too.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Many(Vec<String>),
        One(String),
    }
    let items = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(items) => items,
        OneOrMany::One(text) => text.split(',').map(String::from).collect(),
    };
    items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
        .map(|item| {
            item.parse().map_err(|error| serde::de::Error::custom(format_args!("\"{item}\": {error}")))
        })
        .collect()
}

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
    /// Metrics, health and the status page are served here (default 127.0.0.1:9600).
    pub http: SocketAddr,
    /// This says whether none of them is served.
    pub no_http: bool,
    /// Rooms are kept in this registry; `memory` is the only one.
    pub registry: String,
    /// The server's secret key is in this file; unset: in the platform's data directory.
    pub key_file: Option<PathBuf>,
    /// Only these games are served; empty, the default, means all.
    #[serde(deserialize_with = "one_or_many")]
    pub games: Vec<String>,
    /// Only players who show this token may log in; unset, the default: everybody may.
    pub token: Option<Secret<String>>,
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
    /// This says whether plain STUN Binding requests are answered (default: yes).
    pub stun: bool,
    /// This says whether no TCP is served: players whose networks block UDP cannot log in then.
    pub no_tcp: bool,
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
    /// A member of a room keeps its place there for so many seconds while nothing is heard of it: see
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
    /// See [`ServerConfig::same_nat_mask_v4`].
    pub same_nat_mask_v4: u8,
    /// See [`ServerConfig::same_nat_mask_v6`].
    pub same_nat_mask_v6: u8,
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
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 9600)),
            no_http: false,
            registry: String::from("memory"),
            key_file: None,
            games: Vec::new(),
            token: None,
            relay: core.relay,
            relay_games: BTreeMap::new(),
            relay_kilobytes_per_s: 512,
            relay_total_kilobytes_per_s: 50_000,
            relay_gigabytes_per_day: 80,
            relay_gigabytes_per_month: 400,
            relay_games_gigabytes_per_day: BTreeMap::new(),
            relay_games_gigabytes_per_month: BTreeMap::new(),
            relay_lifetime_s: core.relay_lifetime.as_secs(),
            stun: core.stun,
            no_tcp: false,
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
            same_nat_mask_v4: core.same_nat_mask_v4,
            same_nat_mask_v6: core.same_nat_mask_v6,
        }
    }
}

/// These keys may stand in the environment: other `LOBBY_*` variables (Kubernetes makes some) are not ours.
pub(crate) const KEYS: [&str; 35] = [
    "bind",
    "second_address",
    "second_port",
    "public_address",
    "second_public_address",
    "http",
    "no_http",
    "registry",
    "key_file",
    "games",
    "token",
    "relay",
    "relay_games",
    "relay_kilobytes_per_s",
    "relay_total_kilobytes_per_s",
    "relay_gigabytes_per_day",
    "relay_gigabytes_per_month",
    "relay_games_gigabytes_per_day",
    "relay_games_gigabytes_per_month",
    "relay_lifetime_s",
    "stun",
    "no_tcp",
    "socket_buffer_kilobytes",
    "max_tcp",
    "max_tcp_per_address",
    "tcp_login_timeout_s",
    "session_timeout_s",
    "keep_seat_s",
    "max_sessions",
    "max_sessions_per_address",
    "max_rooms",
    "max_rooms_per_address",
    "max_queued_per_address",
    "same_nat_mask_v4",
    "same_nat_mask_v6",
];

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file, a variable or a flag cannot be read.
    #[error("the configuration cannot be read")]
    Read(#[from] Box<figment::Error>),
    /// A value makes no sense.
    #[error("configuration: {0}")]
    Value(String),
}

impl Settings {
    /// Puts together what file, environment and flags say. `flags` holds only what was given.
    ///
    /// # Errors
    /// When the file is not there or a value cannot be read.
    pub fn load(file: Option<&Path>, flags: impl Serialize) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Env::prefixed("LOBBY_").only(&KEYS));
        Self::read(&figment.merge(Serialized::defaults(flags)))
    }

    /// Returns what a file with this text and flags say, without the environment.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn of_text(text: &str, flags: impl Serialize) -> Result<Self, ConfigError> {
        let figment = Figment::from(Serialized::defaults(Self::default())).merge(Toml::string(text));
        Self::read(&figment.merge(Serialized::defaults(flags)))
    }

    fn read(figment: &Figment) -> Result<Self, ConfigError> {
        let mut settings: Self = figment.extract().map_err(Box::new)?;
        settings.make_canonical();
        settings.validate()?;
        Ok(settings)
    }

    /// Makes IPv4 addresses of those that are written as mapped into IPv6.
    fn make_canonical(&mut self) {
        self.bind.iter_mut().chain([&mut self.http]).for_each(|address| *address = canonical(*address));
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

    /// Returns the core's part of the settings.
    pub fn server(&self) -> ServerConfig {
        ServerConfig {
            games: self.games.clone(),
            session_timeout: Duration::from_secs(self.session_timeout_s),
            keep_seat: Duration::from_secs(self.keep_seat_s),
            max_sessions: self.max_sessions,
            max_sessions_per_address: self.max_sessions_per_address,
            max_rooms: self.max_rooms,
            max_rooms_per_address: self.max_rooms_per_address,
            max_queued_per_address: self.max_queued_per_address,
            same_nat_mask_v4: self.same_nat_mask_v4,
            same_nat_mask_v6: self.same_nat_mask_v6,
            relay: self.relay,
            relay_games: self.relay_games.clone(),
            relay_rate: relay_rate(self.relay_kilobytes_per_s),
            relay_total_rate: relay_rate(self.relay_total_kilobytes_per_s),
            relay_budgets: self.relay_budgets(),
            relay_lifetime: Duration::from_secs(self.relay_lifetime_s),
            stun: self.stun,
            ..ServerConfig::default()
        }
    }

    /// Returns what the relay may send in a day and a month.
    fn relay_budgets(&self) -> RelayBudgets {
        let bytes = |gigabytes: u32| (gigabytes > 0).then(|| u64::from(gigabytes) * 1_000_000_000);
        let all = RelayBudget {
            day: bytes(self.relay_gigabytes_per_day),
            month: bytes(self.relay_gigabytes_per_month),
        };
        let mut games: BTreeMap<String, RelayBudget> = BTreeMap::new();
        for (game, gigabytes) in &self.relay_games_gigabytes_per_day {
            games.entry(game.clone()).or_default().day = bytes(*gigabytes);
        }
        for (game, gigabytes) in &self.relay_games_gigabytes_per_month {
            games.entry(game.clone()).or_default().month = bytes(*gigabytes);
        }
        RelayBudgets { all, games }
    }

    /// Returns how many bytes of buffer are asked of the system for each UDP socket and direction.
    pub(crate) fn socket_buffer(&self) -> usize {
        self.socket_buffer_kilobytes as usize * 1000
    }

    /// Gives the sockets to open, and for each whether a missing one is an error.
    pub(crate) fn addresses(&self) -> Vec<(SocketAddr, bool)> {
        if self.bind.is_empty() {
            vec![
                (SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)), true),
                (SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)), false),
            ]
        } else {
            self.bind.iter().map(|bind| (*bind, true)).collect()
        }
    }

    /// Returns the second port beside this first address: the one that was set, else the next one (3479 after 3478).
    pub(crate) fn second_port_for(&self, first: SocketAddr) -> u16 {
        let next = if first.port() == 0 { 0 } else { first.port().wrapping_add(1) };
        self.second_port.unwrap_or(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Flags {
        #[serde(skip_serializing_if = "Option::is_none")]
        http: Option<SocketAddr>,
    }

    #[test]
    fn flags_win_over_the_file_and_unknown_keys_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lobby.toml");
        std::fs::write(
            &file,
            "bind = \"127.0.0.1:0\"\ngames = [\"a\", \"b\"]\nhttp = \"127.0.0.1:1\"\nmax_rooms = 3\n",
        )
        .unwrap();
        let settings = Settings::load(Some(&file), Flags { http: None }).unwrap();
        assert_eq!(settings.bind, ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(settings.games, ["a", "b"]);
        assert_eq!(settings.http, "127.0.0.1:1".parse().unwrap());
        assert_eq!(settings.server().max_rooms, 3);
        let flags = Flags { http: Some("127.0.0.1:2".parse().unwrap()) };
        let mapped = Flags { http: Some("[::ffff:127.0.0.1]:2".parse().unwrap()) };
        assert_eq!(Settings::load(None, mapped).unwrap().http, "127.0.0.1:2".parse().unwrap());
        assert_eq!(Settings::load(Some(&file), flags).unwrap().http, "127.0.0.1:2".parse().unwrap());

        std::fs::write(&file, "bund = \"127.0.0.1:0\"\n").unwrap();
        let error = Settings::load(Some(&file), Flags { http: None }).unwrap_err();
        let text = crate::check::chain(&error);
        assert!(text.contains("bund"), "{text}");
        assert!(Settings::load(Some(&directory.path().join("none.toml")), Flags { http: None }).is_err());
    }

    #[test]
    fn every_setting_can_stand_in_the_environment() {
        let value = figment::value::Value::serialize(Settings::default()).unwrap();
        let mut keys: Vec<String> = value.into_dict().unwrap().into_keys().collect();
        let mut known = KEYS.map(String::from).to_vec();
        keys.sort();
        known.sort();
        assert_eq!(keys, known);
    }

    #[test]
    fn the_example_file_says_the_defaults() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("lobby.example.toml");
        assert_eq!(Settings::load(Some(&file), Flags { http: None }).unwrap(), Settings::default());
        let text = std::fs::read_to_string(file).unwrap();
        for key in KEYS {
            assert!(text.contains(key), "{key} is missing");
        }
    }
}
