//! What a run with two players can be told.

use std::time::Duration;

use traversal_core::{AgentConfig, RelayPolicy};

use crate::link::Link;
use crate::nat::NatConfig;
use crate::oracle::Relation;

/// When the right player logs in and asks to join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JoinMoment {
    /// It joins once both NATs are known: the time from the request on is that of punching alone.
    #[default]
    BothKnown,
    /// It joins as soon as it is logged in, which it does when the host's NAT is known and the room is open: most real
    /// players.
    HostKnown,
    /// It joins as soon as it is logged in, which it does when the room is open; the host has opened it at once, too.
    AtOnce,
    /// Both start at the same instant and want a quick match as soon as they are logged in: nobody waits for anybody.
    Together,
}

/// What a network has of IPv6. There is no translation; a filter stands at the outermost NAT, if there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Ipv6 {
    /// There is no IPv6.
    #[default]
    None,
    /// There is IPv6 beside IPv4, behind this filter.
    Beside(NatConfig),
    /// There is IPv6 alone, behind this filter.
    Only(NatConfig),
}

/// This is everything about a run with two players.
#[derive(Clone, Debug)]
pub struct PairWorldSettings {
    /// Where all randomness comes from.
    pub seed: u64,
    /// These are the NATs of the player that hosts, the inner one first.
    pub left: Vec<NatConfig>,
    /// They are the NATs of the player that joins.
    pub right: Vec<NatConfig>,
    /// What the left player has of IPv6.
    pub left_v6: Ipv6,
    /// What the right player has of IPv6.
    pub right_v6: Ipv6,
    /// It says what the two networks share; with anything shared the left side's outer NAT counts.
    pub relation: Relation,
    /// It is the line between the left player's outermost NAT and the middle of the internet.
    pub left_link: Link,
    /// This is the line of the right player.
    pub right_link: Link,
    /// This is the line of the lobby server.
    pub server_link: Link,
    /// The middle of the internet takes this many hops.
    pub core_hops: u8,
    /// Whether the server has two addresses.
    pub two_addresses: bool,
    /// The second address is another machine's: two servers with one address each, and a link between them.
    pub two_machines: bool,
    /// How much is known of the two NATs when the right player asks to join.
    pub join: JoinMoment,
    /// The server lets players in without asking the host.
    pub auto_allow: bool,
    /// The room outlives its host, as it does by default.
    pub migrate: bool,
    /// These are the settings of both agents.
    pub config: AgentConfig,
    /// This is the relay policy of each side, where they differ.
    pub relays: Option<[RelayPolicy; 2]>,
}

impl PairWorldSettings {
    /// Returns settings of two players behind these NATs, with the same one-way delay between any two of players and
    /// server, no loss, no jitter.
    pub fn equal(seed: u64, left: &[NatConfig], right: &[NatConfig], delay: Duration) -> Self {
        let link = Link::delay(delay / 2);
        Self {
            seed,
            left: left.to_vec(),
            right: right.to_vec(),
            left_v6: Ipv6::None,
            right_v6: Ipv6::None,
            relation: Relation::Apart,
            left_link: link.clone(),
            right_link: link.clone(),
            server_link: link,
            core_hops: 8,
            two_addresses: true,
            two_machines: false,
            join: JoinMoment::BothKnown,
            auto_allow: true,
            migrate: true,
            config: AgentConfig::default(),
            relays: None,
        }
    }

    /// Returns the round trip between the two players without jitter.
    pub fn peer_rtt(&self) -> Duration {
        round_trip(&self.left_link, &self.right_link)
    }

    /// Returns the mean of the three round trips between players and server: the yardstick for times.
    pub fn mean_rtt(&self) -> Duration {
        (self.peer_rtt()
            + round_trip(&self.left_link, &self.server_link)
            + round_trip(&self.right_link, &self.server_link))
            / 3
    }
}

fn round_trip(a: &Link, b: &Link) -> Duration {
    a.up.delay + a.down.delay + b.up.delay + b.down.delay
}
