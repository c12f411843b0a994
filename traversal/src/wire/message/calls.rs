//! Calls: one player asks another one to play (M36).

use serde::{Deserialize, Serialize};

use super::room::{PlayerInfo, RoomInfo};
use crate::id::{CallId, PlayerId};
use crate::text;

/// This is what a player asks about a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallRequest {
    /// Calls a player. Whether it is on line, exists and may be called shows only when it rings.
    Ring {
        /// The caller draws this number, which names the call.
        call: CallId,
        /// This player is called.
        player: PlayerId,
    },
    /// Answers a call.
    Answer {
        /// This call is answered.
        call: CallId,
        /// This is the answer.
        answer: CallAnswer,
    },
    /// The caller wants it no longer.
    HangUp {
        /// This call is over.
        call: CallId,
    },
}

/// This is what a player says who is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallAnswer {
    /// It takes the call.
    Yes,
    /// It does not.
    No {
        /// Told to the caller; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
    },
    /// It does something else.
    Busy,
}

/// This is news of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallNews {
    /// The caller is told that it rings at the other player.
    Ringing {
        /// This is the call.
        call: CallId,
    },
    /// A player is called, and is to answer.
    Ring {
        /// The answer names this call.
        call: CallId,
        /// This is the caller.
        from: PlayerInfo,
        /// The caller is among the contacts; else it is a stranger.
        contact: bool,
    },
    /// The call was taken: both come into one room.
    Accepted {
        /// This is the call.
        call: CallId,
        /// This says which room it is.
        place: CallPlace,
    },
    /// The call is over and nothing came of it.
    Ended {
        /// This is the call.
        call: CallId,
        /// This says why.
        why: CallEnd,
    },
}

impl CallNews {
    /// Returns the call that it is about.
    pub fn call(&self) -> CallId {
        match self {
            Self::Ringing { call }
            | Self::Ring { call, .. }
            | Self::Accepted { call, .. }
            | Self::Ended { call, .. } => *call,
        }
    }
}

/// This is where two players of a call meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallPlace {
    /// A room of two was opened for them, and this player hosts it.
    Opened(Box<RoomInfo>),
    /// This player is to enter the room of this code, which may be at another node.
    Enter {
        /// The room has this code.
        #[serde(deserialize_with = "text::read_code")]
        code: String,
    },
    /// The other player comes into the room that this one is in.
    Stay,
}

/// This is why nothing came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CallEnd {
    /// There is no such player, or it is not on line, or it has not allowed this one: nobody is told which (M34).
    #[error("that player cannot be reached: it is not on line, or has not allowed you to call")]
    NotReached,
    /// The other player said no.
    #[error("the call was refused{}", text::because(.reason))]
    Refused {
        /// This is what the other player says about it; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
    },
    /// The other player does something else, or is in another call.
    #[error("that player is busy; try again later")]
    Busy,
    /// It rang for long enough.
    #[error("nobody answered the call")]
    NoAnswer,
    /// The caller hung up.
    #[error("the caller hung up")]
    HungUp,
    /// The other player has logged out, or is not reached any more.
    #[error("the other player is gone")]
    Gone,
    /// Both are in rooms, in different ones.
    #[error("both of you are in rooms; one has to leave its room first")]
    BothInRooms,
    /// The other player refused a call of this one a moment ago.
    #[error("that player refused a moment ago; call again in {retry_after_s} s at the earliest")]
    TooSoon {
        /// A call rings again after this many seconds.
        retry_after_s: u32,
    },
    /// No room could be opened for the two.
    #[error("no room could be opened for the call; try again later")]
    NoRoom,
}
