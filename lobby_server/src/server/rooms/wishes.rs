//! What players wait for on their way into a room.

use std::time::Instant;

use traversal_core::Secret;
use traversal_core::id::{PartyId, RoomId};
use traversal_core::wire::message::{InviteToken, RoomTarget};

use super::parties::PartySearch;
use crate::ids::{Asker, SessionId};

/// A player opens a room, whose name and code the registry is to take.
#[derive(Debug)]
pub(super) struct RoomClaim {
    pub(super) asker: Asker,
    pub(super) room: RoomId,
    /// The player gave no name: the code is the name, too.
    pub(super) name_is_code: bool,
    /// So many other codes were drawn because one was taken.
    pub(super) tries: u8,
    /// The owner of the name was asked for a sign of life already.
    pub(super) checked: bool,
    /// The registry does not know yet whether the room's name is free: it is asked until then.
    pub(super) until: Option<Instant>,
}

/// A player wants to enter a room that is being looked for.
#[derive(Debug)]
pub(super) struct JoinWish {
    pub(super) asker: Asker,
    pub(super) password: Option<Secret<String>>,
    /// The player was given this by the room's host.
    pub(super) invite: Option<InviteToken>,
    /// The player only wants to watch; true: it does so already, in an earlier session.
    pub(super) watch: Option<bool>,
}

/// A room is being looked for.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) wish: JoinWish,
    pub(super) game: String,
    pub(super) target: RoomTarget,
    /// The room's node is perhaps gone: it is looked for until then.
    pub(super) until: Option<Instant>,
}

/// A player wants to enter this room.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) wish: JoinWish,
    pub(super) room: RoomId,
    /// The player was in the room, and goes on with the matches that it has.
    pub(super) resume: bool,
    /// The members of the full room were asked for signs of life already.
    pub(super) checked: bool,
    /// The host, or a ticket, lets the player in without a password.
    pub(super) allowed: bool,
    /// A ticket shows that the player was inside before.
    pub(super) known: bool,
}

impl Entry {
    /// A player knocks at the door of a room that was found.
    pub(super) fn new(wish: JoinWish, room: RoomId) -> Self {
        Self { wish, room, resume: false, checked: false, allowed: false, known: false }
    }
}

/// This says what goes on when the registry has answered.
#[derive(Debug)]
pub(super) enum Pending {
    Claim(RoomClaim),
    Find(Search),
    /// What is new of this game's rooms at other nodes.
    Changes(String),
    Gathering(RoomId),
    /// A room is opened for a call.
    Call(RoomId),
    /// A room that the registry had lost is claimed again.
    Again(RoomId),
    /// The player of this session may be at another node.
    Locate(SessionId),
    /// A player looks for a party.
    FindParty(PartySearch),
    /// A party is to be known at this node; the player waits for the answer, if there is one.
    ClaimParty(PartyId, Option<Asker>),
    /// Nobody waits for this answer.
    Nothing,
}

/// This says what goes on when members were asked for signs of life.
#[derive(Debug)]
pub(super) enum Waiting {
    Join(Entry),
    Claim(RoomClaim),
}
