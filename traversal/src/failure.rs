//! Why two players could not be connected, in words that help.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod report;

pub use report::FailureReport;

use crate::method::Method;

/// This says how far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The plan was waited for.
    Request,
    /// The two sides send and listen.
    Punch,
    /// The two were connected, and then lost each other.
    Established,
}

impl Stage {
    /// Returns the name that stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Punch => "punch",
            Self::Established => "established",
        }
    }
}

/// This is the cause, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureReason {
    /// Both NATs choose random ports.
    RandomPortsOnBothSides,
    /// One NAT chooses random ports and the other a new port per destination.
    RandomPortsAgainstSymmetric,
    /// Both NATs choose a new port per destination and the ports could not be predicted in time.
    SymmetricOnBothSides,
    /// UDP does not get through on this side.
    UdpBlocked,
    /// Nothing at all came from the other player.
    NoAnswer,
    /// Datagrams came, but no way back was found.
    OneWayOnly,
    /// The only way is through the relay, and it may not be used.
    RelayForbidden,
    /// The other side gave up or left meanwhile.
    PeerLeft,
    /// A path stood and died.
    PathLost,
    /// One of the caps was reached.
    CapReached,
    /// The other player's keys do not fit: the plan was not for this pair.
    BadPlan,
    /// One NAT chooses random ports, the other filters by port, and the search did not hit in time.
    RandomPortsNotFound,
    /// Both are behind one NAT that does not turn packets round, and not in one network.
    NoHairpin,
    /// A player, the game or the server wants the relay alone: nothing direct was tried.
    RelayOnly,
    /// Only a search by many sockets or ports could join the two, and one of them was busy with another player's.
    SearchWaits,
    /// The only way is through the relay, and that has no room for another pair.
    RelayFull,
    /// One player is reached by IPv4 alone and the other by IPv6 alone.
    NoCommonFamily,
    /// The lobby server sees both at one local address that is not theirs: something before it hides where they are.
    AddressesHidden,
}

impl FailureReason {
    /// Returns the name that stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RandomPortsOnBothSides => "random-ports-on-both-sides",
            Self::RandomPortsAgainstSymmetric => "random-ports-against-symmetric",
            Self::SymmetricOnBothSides => "symmetric-on-both-sides",
            Self::UdpBlocked => "udp-blocked",
            Self::NoAnswer => "no-answer",
            Self::OneWayOnly => "one-way-only",
            Self::RelayForbidden => "relay-forbidden",
            Self::PeerLeft => "peer-left",
            Self::PathLost => "path-lost",
            Self::CapReached => "cap-reached",
            Self::BadPlan => "bad-plan",
            Self::RandomPortsNotFound => "random-ports-not-found",
            Self::NoHairpin => "no-hairpin",
            Self::RelayOnly => "relay-only",
            Self::SearchWaits => "search-waits",
            Self::RelayFull => "relay-full",
            Self::NoCommonFamily => "no-common-family",
            Self::AddressesHidden => "addresses-hidden",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RandomPortsOnBothSides => "Both routers choose random ports, so no direct path exists.",
            Self::RandomPortsAgainstSymmetric => {
                "One router chooses random ports and the other a new port for each destination."
            }
            Self::SymmetricOnBothSides => {
                "Both routers use a new port for each destination, and the ports could not be met in time."
            }
            Self::UdpBlocked => "UDP does not get through on this network.",
            Self::NoAnswer => "Nothing arrived from the other player.",
            Self::OneWayOnly => "The other player was heard, but nothing got back to it.",
            Self::RelayForbidden => "The two networks only meet through the relay, and it is switched off.",
            Self::PeerLeft => "The other player left.",
            Self::PathLost => "The connection to the other player was lost.",
            Self::CapReached => {
                "The limits on packets or sockets were reached before a way through was found."
            }
            Self::BadPlan => "The connection plan did not fit this player.",
            Self::RandomPortsNotFound => {
                "One router chooses random ports, and the search for one of them did not hit in time."
            }
            Self::NoHairpin => "Both players are behind one router, which does not connect its own networks.",
            Self::RelayOnly => "Only the relay was wanted, so no direct path was tried.",
            Self::SearchWaits => {
                "Only a search among many ports finds a way, and one of the two still searches for another player."
            }
            Self::RelayFull => "The two networks only meet through the relay, and it is full.",
            Self::NoCommonFamily => "One player's network has IPv4 alone and the other's IPv6 alone.",
            Self::AddressesHidden => {
                "The lobby server sees all players at one address, and so cannot tell them where the others are."
            }
        })
    }
}

/// This says why a pair gets no relay from the server.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[non_exhaustive]
pub enum NoRelay {
    /// Whoever runs the server does not allow it, or not for this game.
    #[error("The lobby server does not allow its relay for this game.")]
    Off,
    /// So many pairs play over it that the shares of all would become too small to play.
    #[error("The lobby server's relay is full.")]
    Full,
    /// The traffic that the server's operator allows the relay for this day or month is used up.
    #[error("The lobby server's relay has used up its traffic for this day or month.")]
    Budget,
}

impl NoRelay {
    /// Returns the name that stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Full => "full",
            Self::Budget => "budget",
        }
    }
}

/// This says what one method cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// This is the method that was tried.
    pub method: Method,
    /// The method ran for this long.
    pub time: Duration,
    /// The method sent this many datagrams.
    pub packets: u32,
}
