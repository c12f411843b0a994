//! What the settings mean to the parts of the server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use traversal_core::{DEFAULT_PORT, HostPort};

use super::{ConfigError, Settings};
use crate::budget::{RelayBudget, RelayBudgets};
use crate::config::{RINGS_AT_ONCE, STRANGERS_AT_ONCE, ServerConfig, relay_rate, ring_rate};
use crate::link::{Resolver, link_of};

impl Settings {
    /// Returns the core's part of the settings.
    pub fn server(&self) -> ServerConfig {
        ServerConfig {
            region: self.region.clone(),
            games: self.games.clone(),
            session_timeout: Duration::from_secs(self.session_timeout_s),
            keep_seat: Duration::from_secs(self.keep_seat_s),
            max_sessions: self.max_sessions,
            max_sessions_per_address: self.max_sessions_per_address,
            max_rooms: self.max_rooms,
            max_rooms_per_address: self.max_rooms_per_address,
            max_queued_per_address: self.max_queued_per_address,
            max_contacts: self.max_contacts,
            ring_rate: ring_rate(self.rings_per_minute, RINGS_AT_ONCE),
            stranger_ring_rate: ring_rate(self.stranger_rings_per_minute, STRANGERS_AT_ONCE),
            same_nat_mask_v4: self.same_nat_mask_v4,
            same_nat_mask_v6: self.same_nat_mask_v6,
            relay: self.relay,
            relay_games: self.relay_games.clone(),
            relay_rate: relay_rate(self.relay_kilobytes_per_s),
            relay_total_rate: relay_rate(self.relay_total_kilobytes_per_s),
            relay_budgets: self.relay_budgets(),
            relay_lifetime: Duration::from_secs(self.relay_lifetime_s),
            chat: self.chat,
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

    /// Returns how to find the other server, if there is to be one.
    ///
    /// # Errors
    /// [`ConfigError::Value`]: its place cannot be read.
    pub(crate) fn resolver(&self) -> Result<Option<Resolver>, ConfigError> {
        let Some(neighbour) = &self.neighbour else { return Ok(None) };
        let read = |setting: &str, text: &str| {
            text.parse::<HostPort>().map_err(|why| ConfigError::Value(format!("{setting} = {text:?}: {why}")))
        };
        let neighbour = read("neighbour", neighbour)?;
        let link = match &self.neighbour_link {
            Some(link) => read("neighbour_link", link)?,
            None => link_of(&neighbour).ok_or_else(|| {
                ConfigError::Value("neighbour: its port has no two after it; give neighbour_link too".into())
            })?,
        };
        Ok(Some(Resolver { neighbour, link }))
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
