//! What a game asks of contacts and calls, and what it hears of them.

use bevy_ecs::message::Message;
use traversal_core::id::{CallId, PlayerId};
use traversal_core::wire::message::{CallAnswer, CallEnd, PlayerInfo, Presence};

/// Request: set the status that contacts see. It is answered by [`RequestFailed`](crate::RequestFailed) where the text is longer
/// than 60 characters or 120 bytes, or breaks another rule of texts.
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetStatus {
    /// The player is not at the device.
    pub away: bool,
    /// These are the player's own words, at most 60 characters and 120 bytes.
    pub text: String,
    /// Contacts are not told in which room the player is.
    pub hide_room: bool,
    /// Players who are not among the contacts may call, too.
    pub strangers_ring: bool,
}

/// Request: call this player, to play with it. It is answered by [`Calling`] or [`RequestFailed`](crate::RequestFailed); in the end
/// [`CallAccepted`] or [`CallEnded`] follows.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPlayer {
    /// This player is called.
    pub player: PlayerId,
}

/// Request: answer a call, see [`IncomingCall`].
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct AnswerCall {
    /// This call is answered.
    pub call: CallId,
    /// This is the answer; the caller reads the reason of a no, which is cut to 160 characters and 200 bytes.
    pub answer: CallAnswer,
}

/// Request: end a call that this player makes. It is answered by [`CallEnded`].
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct HangUp {
    /// This call is to end.
    pub call: CallId,
}

/// Outcome: there is news of a contact. How all are is in [`Contacts`](crate::Contacts).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PresenceChanged {
    /// This is the contact.
    pub player: PlayerId,
    /// This is the contact's presence, or `None` if it is off line or no longer allows this player.
    pub presence: Option<Presence>,
}

/// Outcome: the server was asked to call a player.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calling {
    /// The call goes by this number.
    pub call: CallId,
    /// This player is called.
    pub player: PlayerId,
}

/// Outcome: the game of the player who was called rings.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRinging {
    /// This is the call.
    pub call: CallId,
    /// This player is called.
    pub player: PlayerId,
}

/// Outcome: a player calls this one, which answers with [`AnswerCall`]. It rings for half a minute.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct IncomingCall {
    /// The answer names this call.
    pub call: CallId,
    /// This is the caller.
    pub from: PlayerInfo,
    /// The caller is among the contacts; else it is a stranger.
    pub contact: bool,
}

/// Outcome: a call was taken. Both come into one room, of which [`RoomJoined`](crate::RoomJoined) tells the one who enters it, or
/// [`RequestFailed`](crate::RequestFailed) why it cannot.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallAccepted {
    /// This is the call.
    pub call: CallId,
    /// This is the other player.
    pub player: PlayerId,
}

/// Outcome: a call is over, and nothing came of it.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct CallEnded {
    /// This is the call.
    pub call: CallId,
    /// This is the other player.
    pub player: PlayerId,
    /// This is why; its text is fit for a player.
    pub why: CallEnd,
}
