//! Settings of the core; `settings` has those of an operator, of which they are made.

mod rules;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::census::Places;
use crate::limits::Rate;
use crate::matchmaking::Policy;
use crate::relay::{RelayLimits, RelayMode};
pub use settings::{ConfigError, Settings};

/// The port that STUN is registered for; many firewalls let it out.
pub const DEFAULT_PORT: u16 = 3478;

/// How long a login that was accepted may wait for its first sealed datagram: the answer may be lost and asked for again
/// three times, over a link of some seconds.
const HALF_OPEN: Duration = Duration::from_secs(10);

/// Settings of the core.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// This node, among those that share a registry.
    pub node: u64,
    /// Games that are served; empty: all.
    pub games: Vec<String>,
    /// Silence after which a session is over. Players keep alive every 15 s, so two keepalives may be lost.
    pub session_timeout: Duration,
    /// How long a member of a room keeps its place there while nothing is heard of it: a session of one who is with others is
    /// over after this silence, if it is longer than `session_timeout`. Players wait as long for each other
    /// (`AgentConfig::away_timeout`).
    pub keep_seat: Duration,
    /// Sessions in all. Each takes about 2 kB.
    pub max_sessions: usize,
    /// Sessions of one IPv4 address or IPv6 /64: a household or CGN has many players behind one. As with every limit per
    /// address, a /56 has twice as many and a /48 four times: one customer has all of it.
    pub max_sessions_per_address: usize,
    /// Rooms in all.
    pub max_rooms: usize,
    /// Rooms of one IPv4 address or IPv6 /64.
    pub max_rooms_per_address: usize,
    /// Players of one IPv4 address or IPv6 /64 that wait for a quick match.
    pub max_queued_per_address: usize,
    /// How long a host may take to answer a wish to join.
    pub join_answer_timeout: Duration,
    /// How long the members of a full room have to give a sign of life.
    pub liveness_wait: Duration,
    /// Who was heard within this is alive.
    pub liveness_fresh: Duration,
    /// How long the members of a room have to say whether they hear a host that the server does not.
    pub loss_wait: Duration,
    /// How long the registry may take.
    pub registry_timeout: Duration,
    /// Leading bits of two public IPv4 addresses that must agree for players to count as behind one NAT (M25):
    /// fewer than 32 for NATs with an address pool.
    pub same_nat_mask_v4: u8,
    /// The same for IPv6: the 64 bits of a network.
    pub same_nat_mask_v6: u8,
    /// How long players try to reach each other.
    pub plan_deadline: Duration,
    /// Whether players may play over this server.
    pub relay: RelayMode,
    /// The same for single games.
    pub relay_games: BTreeMap<String, RelayMode>,
    /// Bytes that each side of a pair may send through the relay. 60 full datagrams a second are 72 kB.
    pub relay_rate: Rate,
    /// Bytes that all together may.
    pub relay_total_rate: Rate,
    /// How long one match may use the relay.
    pub relay_lifetime: Duration,
    /// Answer plain STUN Binding requests.
    pub stun: bool,
    /// STUN answers per IPv4 address or IPv6 /64: they are longer than the requests.
    pub stun_rate: Rate,
    /// Hellos per IPv4 address or IPv6 /64.
    pub hello_rate: Rate,
    /// Logins per IPv4 address or IPv6 /64: a whole CGN's players come back at once after a restart.
    pub login_rate: Rate,
    /// Probes of one session. RFC 8445 calls 200 new bindings a second well supported.
    pub probe_rate: Rate,
    /// Datagrams to ports that players say are forwarded to them, per IPv4 address: behind a carrier's NAT they may hit
    /// a neighbour's. One check takes up to five, and a household starts a few at once.
    pub mapped_port_rate: Rate,
    /// Knocks at mappings of one session. Each of the six that are watched at a time takes a dozen at the most, some
    /// seconds apart from those of the next.
    pub knock_rate: Rate,
    /// Frames of one session other than probes.
    pub frame_rate: Rate,
    /// Requests of one session.
    pub request_rate: Rate,
    /// Wrong passwords of one address, for all rooms.
    pub guess_rate: Rate,
    /// Wrong passwords for one room, of all addresses that failed before.
    pub room_guess_rate: Rate,
    /// Rooms looked for by a code, of one address.
    pub code_rate: Rate,
    /// Messages to other players that one player's own messages cause. A full room's host that is being connected to
    /// all 63 others at once has each of them told a dozen facts.
    pub effect_rate: Rate,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            node: 0,
            games: Vec::new(),
            session_timeout: Duration::from_secs(35),
            keep_seat: Duration::from_secs(60),
            max_sessions: 20_000,
            max_sessions_per_address: 256,
            max_rooms: 10_000,
            max_rooms_per_address: 64,
            max_queued_per_address: 64,
            join_answer_timeout: Duration::from_secs(20),
            liveness_wait: Duration::from_millis(1500),
            liveness_fresh: Duration::from_secs(1),
            loss_wait: Duration::from_secs(2),
            registry_timeout: Duration::from_secs(2),
            same_nat_mask_v4: 32,
            same_nat_mask_v6: 64,
            plan_deadline: Duration::from_secs(10),
            relay: RelayMode::Allow,
            relay_games: BTreeMap::new(),
            relay_rate: relay_rate(512),
            relay_total_rate: relay_rate(50_000),
            relay_lifetime: Duration::from_secs(12 * 3600),
            stun: true,
            stun_rate: Rate::new(50.0, 200.0),
            hello_rate: Rate::new(256.0, 1024.0),
            login_rate: Rate::new(64.0, 512.0),
            probe_rate: Rate::new(250.0, 500.0),
            mapped_port_rate: Rate::new(0.5, 20.0),
            knock_rate: Rate::new(1.0, 24.0),
            frame_rate: Rate::new(200.0, 1000.0),
            request_rate: Rate::new(10.0, 30.0),
            guess_rate: Rate::new(0.1, 10.0),
            room_guess_rate: Rate::new(0.2, 30.0),
            code_rate: Rate::new(0.5, 100.0),
            effect_rate: Rate::new(100.0, 1000.0),
        }
    }
}

/// So many kB a second, and twice as much at once.
fn relay_rate(kilobytes: u32) -> Rate {
    let bytes = f64::from(kilobytes) * 1000.0;
    Rate::new(bytes, 2.0 * bytes)
}

impl ServerConfig {
    /// How long a session may be silent. One that is half-open has said nothing yet: its place is for somebody else soon.
    pub(crate) fn silence(&self, confirmed: bool) -> Duration {
        if confirmed { self.session_timeout } else { self.session_timeout.min(HALF_OPEN) }
    }

    pub(crate) fn places(&self) -> Places {
        Places { total: self.max_sessions, per_address: self.max_sessions_per_address }
    }

    pub(crate) fn relay_limits(&self) -> RelayLimits {
        RelayLimits { side: self.relay_rate, total: self.relay_total_rate, lifetime: self.relay_lifetime }
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            mask_v4: self.same_nat_mask_v4,
            mask_v6: self.same_nat_mask_v6,
            deadline_ms: u32::try_from(self.plan_deadline.as_millis()).unwrap_or(u32::MAX),
        }
    }
}
