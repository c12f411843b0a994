//! Settings of the core; `settings` has those of an operator, of which they are made.

mod reload;
mod rules;
mod settings;
mod sources;

use std::collections::BTreeMap;
use std::time::Duration;

use traversal_core::wire::message::MAX_CONTACTS;

use crate::budget::RelayBudgets;
use crate::census::Places;
use crate::limits::Rate;
use crate::matchmaking::Policy;
use crate::relay::{RelayLimits, RelayMode};
pub use reload::Reload;
pub use settings::{ConfigError, Settings};

/// A login that was accepted may wait so long for its first sealed datagram: the answer may be lost and asked for
/// again three times, over a link of some seconds.
const HALF_OPEN: Duration = Duration::from_secs(10);

/// These are the settings of the core. Rates are events per second in the long run, and at once.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// This number names the node among those that share a registry. The default is 0.
    pub node: u64,
    /// Lists of rooms say that the rooms of this server are in this region; empty, the default: it has no name.
    pub region: String,
    /// Only these games are served; empty, the default, means all.
    pub games: Vec<String>,
    /// A session is over after this silence (default 35 s). Players keep alive every 15 s, so two keepalives may be
    /// lost.
    pub session_timeout: Duration,
    /// A member of a room of whom nothing is heard keeps its seat for so long at the most (default 600 s); the room's own
    /// `RoomOptions::keep_seat` (default 60 s) says for how long it wants that. Players wait for each other for 60 s by
    /// themselves (`AgentConfig::away_timeout`).
    pub keep_seat: Duration,
    /// There are so many sessions at the most (default 20,000). Each takes about 1 kB.
    pub max_sessions: usize,
    /// One IPv4 address or IPv6 /64 has so many sessions at the most (default 256): a household or CGN has many players
    /// behind one. As with every limit per address, a /56 has twice as many and a /48 four times: one customer has all
    /// of it.
    pub max_sessions_per_address: usize,
    /// There are so many rooms at the most (default 10,000).
    pub max_rooms: usize,
    /// One IPv4 address or IPv6 /64 has so many rooms at the most (default 64).
    pub max_rooms_per_address: usize,
    /// So many players of one IPv4 address or IPv6 /64 may wait for a quick match (default 64).
    pub max_queued_per_address: usize,
    /// A player may have so many contacts (default 1,000, which is also the most that there can be).
    pub max_contacts: usize,
    /// It rings at a player at this rate, for all of its contacts together (default 30 a minute, 10 at once).
    pub ring_rate: Rate,
    /// It rings at a player at this rate, for all strangers together, where it lets them ring (default 6 a minute, 3 at once).
    pub stranger_ring_rate: Rate,
    /// A host may take so long to answer a wish to join (default 20 s).
    pub join_answer_timeout: Duration,
    /// The members of a full room have so long to give a sign of life (default 1.5 s).
    pub liveness_wait: Duration,
    /// A player who was heard within this is alive (default 1 s).
    pub liveness_fresh: Duration,
    /// The members of a room have so long to say whether they hear a host that the server does not (default 2 s).
    pub loss_wait: Duration,
    /// The registry may take so long (default 2 s).
    pub registry_timeout: Duration,
    /// So many leading bits of two public IPv4 addresses must agree for players to count as behind one NAT (M25). The
    /// default is 32; fewer are for NATs with an address pool.
    pub same_nat_mask_v4: u8,
    /// So many leading bits of two IPv6 addresses must agree. The default is the 64 bits of a network.
    pub same_nat_mask_v6: u8,
    /// Players try for so long to reach each other (default 10 s).
    pub plan_deadline: Duration,
    /// This says whether players may play over this server (default: they may where they have no direct path).
    pub relay: RelayMode,
    /// This says whether players of single games may play over this server, by the game's id; `relay` counts for all
    /// others.
    pub relay_games: BTreeMap<String, RelayMode>,
    /// Each side of a pair may send so many bytes through the relay (default 512 kB a second). 60 full datagrams a
    /// second are 72 kB.
    pub relay_rate: Rate,
    /// All together may send so many bytes through the relay (default 50 MB a second).
    pub relay_total_rate: Rate,
    /// This is what the relay may send in a day and a month, headers of IP and UDP included (default: as much as there is).
    pub relay_budgets: RelayBudgets,
    /// One match may use the relay for so long (default 12 h).
    pub relay_lifetime: Duration,
    /// This says whether players may write to each other (default: yes).
    pub chat: bool,
    /// This says whether plain STUN Binding requests are answered (default: yes).
    pub stun: bool,
    /// One IPv4 address or IPv6 /64 gets STUN answers at this rate (default 50 a second, 200 at once): they are longer than
    /// the requests.
    pub stun_rate: Rate,
    /// One IPv4 address or IPv6 /64 may send hellos at this rate (default 256 a second, 1,024 at once).
    pub hello_rate: Rate,
    /// One IPv4 address or IPv6 /64 may log in at this rate (default 64 a second, 512 at once): a whole CGN's players come back
    /// at once after a restart.
    pub login_rate: Rate,
    /// One session may send probes at this rate (default 250 a second, 500 at once). RFC 8445 calls 200 new bindings a second well supported.
    pub probe_rate: Rate,
    /// Datagrams go to ports that players say are forwarded to them at this rate (default one in two seconds, 20 at once), per
    /// IPv4 address: behind a carrier's NAT
    /// they may hit a neighbour's. One check takes up to five, and a household starts a few at once.
    pub mapped_port_rate: Rate,
    /// Mappings of one session are knocked at at this rate (default one a second, 24 at once). Each of the six that are watched at a time takes a dozen at the most, some
    /// seconds apart from those of the next.
    pub knock_rate: Rate,
    /// One session may send frames other than probes at this rate (default 200 a second, 1,000 at once).
    pub frame_rate: Rate,
    /// One session may make requests at this rate (default 10 a second, 30 at once).
    pub request_rate: Rate,
    /// One address may try wrong passwords at this rate (default one in ten seconds, 10 at once), for all rooms together.
    pub guess_rate: Rate,
    /// One room has wrong passwords tried at this rate at the most (default one in five seconds, 30 at once), by all addresses
    /// that failed before.
    pub room_guess_rate: Rate,
    /// One address may look for rooms by a code at this rate (default one in two seconds, 100 at once).
    pub code_rate: Rate,
    /// One player's own messages may cause messages to other players at this rate (default 100 a second, 1,000 at once). A full room's host that is being
    /// connected to all 63 others at once has each of them told a dozen facts.
    pub effect_rate: Rate,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            node: 0,
            region: String::new(),
            games: Vec::new(),
            session_timeout: Duration::from_secs(35),
            keep_seat: Duration::from_secs(600),
            max_sessions: 20_000,
            max_sessions_per_address: 256,
            max_rooms: 10_000,
            max_rooms_per_address: 64,
            max_queued_per_address: 64,
            max_contacts: MAX_CONTACTS,
            ring_rate: ring_rate(30, RINGS_AT_ONCE),
            stranger_ring_rate: ring_rate(6, STRANGERS_AT_ONCE),
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
            relay_budgets: RelayBudgets::default(),
            relay_lifetime: Duration::from_secs(12 * 3600),
            chat: true,
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

/// Contacts may ring so often at once.
const RINGS_AT_ONCE: f64 = 10.0;
/// Strangers may ring so often at once.
const STRANGERS_AT_ONCE: f64 = 3.0;

/// Allows so many rings a minute, and so many at once.
fn ring_rate(per_minute: u32, at_once: f64) -> Rate {
    Rate::new(f64::from(per_minute) / 60.0, at_once)
}

/// Allows so many kB a second, and twice as much at once.
fn relay_rate(kilobytes: u32) -> Rate {
    let bytes = f64::from(kilobytes) * 1000.0;
    Rate::new(bytes, 2.0 * bytes)
}

impl ServerConfig {
    /// Returns how long a session may be silent. One that is half-open has said nothing yet: its place is for
    /// somebody else soon.
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
