//! Why two players could not be connected, in words that help.

use std::fmt;
use std::time::Duration;

use crate::nat::NatProfile;
use crate::wire::message::Method;

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Waiting for the plan.
    Request,
    /// Sending and listening.
    Punch,
    /// Connected, then lost.
    Established,
}

impl Stage {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Punch => "punch",
            Self::Established => "established",
        }
    }
}

/// The cause, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
}

impl FailureReason {
    /// As in JSON.
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
        }
    }

    /// What to do about it, in one sentence.
    pub fn advice(self) -> &'static str {
        match self {
            Self::RandomPortsOnBothSides | Self::RandomPortsAgainstSymmetric | Self::SymmetricOnBothSides => {
                "Allow the relay, or forward a UDP port on one router and bind the game to it."
            }
            Self::UdpBlocked => "Ask the network's owner to let UDP out, or use another network.",
            Self::NoAnswer => {
                "Check that the other player is still online; a firewall on either machine may drop the game."
            }
            Self::OneWayOnly => "A firewall drops one direction: allow the game in it, or allow the relay.",
            Self::RelayForbidden => "Allow the relay in the game's settings.",
            Self::PeerLeft => "Ask the other player to join again.",
            Self::PathLost => "Check the network on both sides; the game connects again when it is back.",
            Self::CapReached => "Raise the caps in the configuration, or allow the relay.",
            Self::BadPlan => "Update the game and the lobby server to the same version.",
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
        })
    }
}

/// What one method cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Which.
    pub method: Method,
    /// How long it ran.
    pub time: Duration,
    /// Datagrams it sent.
    pub packets: u32,
}

/// The whole story of a pair that has no (direct) path.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureReport {
    /// How far it came.
    pub stage: Stage,
    /// The cause.
    pub reason: FailureReason,
    /// This side's NAT.
    pub own_nat: NatProfile,
    /// The other side's.
    pub peer_nat: NatProfile,
    /// What was tried.
    pub tried: Vec<Tried>,
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.reason, self.reason.advice())
    }
}
