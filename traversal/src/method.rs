//! The ways to get through two NATs, and the two parts that are played in them.

use serde::{Deserialize, Serialize};

/// This is a method to get through two NATs; docs/methods.md explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Method {
    /// Test messages go to the addresses in the plan (M30): LAN, cone to cone, no NAT.
    Cone,
    /// One bubble is bracketed by range probes (M13-M19).
    Bubble,
    /// Many bubbles follow a port-assigning packet (M20-M22).
    MultiBubble,
    /// Both sides predict each other's ports (M24).
    Prediction,
    /// Each side sends from one socket, and their strides are 1 and 2.
    GiantStep,
    /// Random ports are met by chance, from an endpoint-independent mapping.
    Birthday,
}

impl Method {
    /// These are all methods, in the order of their numbers on the wire.
    pub const ALL: [Self; 6] =
        [Self::Cone, Self::Bubble, Self::MultiBubble, Self::Prediction, Self::GiantStep, Self::Birthday];

    /// Returns whether it searches by many sockets or ports, so that a player takes part in one such search at a
    /// time.
    pub fn searches(self) -> bool {
        matches!(self, Self::GiantStep | Self::Birthday)
    }

    /// Returns what it does, in words that go after "found by" and "trying".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Cone => "plain test messages",
            Self::Bubble => "one opening and a range of ports",
            Self::MultiBubble => "many openings and a range of ports",
            Self::Prediction => "predicted ports on both sides",
            Self::GiantStep => "a search with different strides",
            Self::Birthday => "a search among random ports",
        }
    }

    /// Returns the name that stands on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cone => "cone",
            Self::Bubble => "bubble",
            Self::MultiBubble => "multi-bubble",
            Self::Prediction => "prediction",
            Self::GiantStep => "giant-step",
            Self::Birthday => "birthday",
        }
    }
}

/// The roles of S1 say who sends bubbles and who sends replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// This side sends bubbles.
    Sending,
    /// This side sends replies.
    Receiving,
}

impl Role {
    /// Returns the other side's role.
    pub fn other(self) -> Self {
        match self {
            Self::Sending => Self::Receiving,
            Self::Receiving => Self::Sending,
        }
    }
}

/// This is the way by which a room's host is expected to be reached, by what is known of both NATs. It is no promise: what is
/// known may be old, and a firewall may stop what a NAT lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExpectedWay {
    /// Too little is known of one of the NATs, or the room does not let everybody in, and tells strangers nothing.
    #[default]
    Unknown,
    /// A direct path is expected within a second or two.
    Direct,
    /// A direct path has to be searched by many sockets or ports, which takes some seconds and may fail. It is played over
    /// the relay meanwhile.
    Search,
    /// There is no direct path: it is played over the relay.
    Relay,
    /// There is no direct path, and no relay.
    Unreachable,
}

impl ExpectedWay {
    /// Returns the name that stands in JSON: `unknown`, `direct`, `search`, `relay` or `unreachable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Direct => "direct",
            Self::Search => "search",
            Self::Relay => "relay",
            Self::Unreachable => "unreachable",
        }
    }
}

/// This is a method of a better plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMethod {
    /// This is the method to be tried.
    pub method: Method,
    /// This is the edition that it began with as it is now: a method that runs since then goes on, any other one
    /// begins. It marks the rounds of the method, so that both sides mean the same ones.
    pub since: u8,
}
