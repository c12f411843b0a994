//! The ways to get through two NATs, and the two parts that are played in them.

use serde::{Deserialize, Serialize};

/// A way to get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Method {
    /// Test messages to the addresses in the plan (M30): LAN, cone to cone, no NAT.
    Cone,
    /// One bubble, bracketed by range probes (M13-M19).
    Bubble,
    /// Many bubbles and a port-assigning packet (M20-M22).
    MultiBubble,
    /// Predicted ports on both sides (M24).
    Prediction,
    /// One socket a side, strides 1 and 2.
    GiantStep,
    /// Random ports against an endpoint-independent mapping.
    Birthday,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cone, Self::Bubble, Self::MultiBubble, Self::Prediction, Self::GiantStep, Self::Birthday];

    /// It searches by many sockets or ports, so that a player takes part in one such search at a time.
    pub fn sprays(self) -> bool {
        matches!(self, Self::GiantStep | Self::Birthday)
    }

    /// As on the command line and in JSON.
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

/// S1's roles: who sends bubbles and who sends replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Sends bubbles.
    Sending,
    /// Sends replies.
    Receiving,
}

impl Role {
    /// The other side's.
    pub fn other(self) -> Self {
        match self {
            Self::Sending => Self::Receiving,
            Self::Receiving => Self::Sending,
        }
    }
}

/// A method of a better plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMethod {
    /// What is tried.
    pub method: Method,
    /// The edition that it began with as it is now: a method that runs since then goes on, any other one begins. It
    /// marks the rounds of the method, so that both sides mean the same ones.
    pub since: u8,
}
