//! Parties: players who stay together from match to match. Their leader waits for quick matches with all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::room::PlayerInfo;
use crate::id::{PartyId, PlayerId};
use crate::text;

/// A party has at most this many members: as many as a mesh, and as fit one datagram with their names.
pub const MAX_PARTY: u16 = 16;

/// This is what a player asks about parties. Each is answered with [`Response::Done`](super::Response::Done); what comes of it
/// follows as [`PartyNews`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PartyRequest {
    /// Opens a party that this player leads.
    Create {
        /// It takes this many members, the leader among them: 2..=[`MAX_PARTY`].
        most: u16,
    },
    /// Enters the party of this code.
    Join {
        /// This is the code, as [`PartyInfo::code`] has it.
        code: String,
    },
    /// Is in the party still, after a new login. A server that has forgotten it makes it anew.
    Resume {
        /// This shows that there is such a party, and that this player is in it.
        ticket: PartyTicket,
        /// The party has this code.
        code: String,
    },
    /// Invites a player, who hears of it if it has allowed this one to call (M36).
    Invite {
        /// This is the player.
        player: PlayerId,
    },
    /// The player is in the party no longer. Where it led, the one who has been there longest does.
    Leave,
    /// The leader puts a member out. The party has another code then.
    Kick {
        /// This is the member.
        player: PlayerId,
    },
    /// The leader has another member lead.
    Lead {
        /// This is the member.
        player: PlayerId,
    },
    /// The leader ends the party.
    Disband,
    /// These are this player's numbers, by the names of [`NumberRule`](super::NumberRule)s: for the party counts the mean of its
    /// members. There are at most [`MAX_ATTRIBUTES`](super::MAX_ATTRIBUTES).
    Numbers(BTreeMap<String, i32>),
}

/// This is news of a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PartyNews {
    /// This player is in a party, which is like this now. The newest revision wins.
    State(PartyInfo),
    /// This is the right to be in the party after a new login; there is a new one with each change of members.
    Ticket(PartyTicket),
    /// A player invites this one to its party.
    Invited {
        /// [`PartyRequest::Join`] with this code takes the invitation.
        #[serde(deserialize_with = "text::read_code")]
        code: String,
        /// This is the player.
        from: PlayerInfo,
        /// It is among the contacts; else it is a stranger.
        contact: bool,
    },
    /// This player is in the party no longer.
    Ended {
        /// This is the party.
        party: PartyId,
        /// This is why.
        why: PartyEnd,
    },
}

/// This is a party as its members know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyInfo {
    /// The party has this id.
    pub id: PartyId,
    /// Who knows this code comes in. It has ten characters, and another one after somebody was put out.
    #[serde(deserialize_with = "text::read_code")]
    pub code: String,
    /// It takes this many members.
    pub most: u16,
    /// Counts up with each change.
    pub revision: u32,
    /// The leader is the first one; the others stand as they came.
    pub members: Vec<PartyMember>,
    /// The party waits for a quick match.
    pub queued: bool,
}

impl PartyInfo {
    /// Returns who leads; `None`: nobody is in it.
    pub fn leader(&self) -> Option<PlayerId> {
        self.members.first().map(|member| member.info.id)
    }
}

/// This is a member of a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyMember {
    /// This is the player. Its name is empty as long as a server that was restarted does not know it.
    pub info: PlayerInfo,
    /// The server does not hear it, and keeps its place for a minute.
    pub away: bool,
}

/// This is the right to be in a party after a new login, sealed by the server. All members hold the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyTicket {
    /// It is for this party.
    pub party: PartyId,
    /// These are its members, at most [`MAX_PARTY`], the leader first.
    pub members: Vec<PlayerId>,
    /// The members have changed this many times: the newest ticket wins.
    pub edition: u32,
    /// The party takes this many members.
    pub most: u16,
    /// It is good until then, in seconds since 1970.
    pub until_s: u64,
    /// The server's seal.
    pub seal: [u8; 16],
}

/// This is why a player is in its party no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum PartyEnd {
    /// The player has left it.
    #[error("you left the party")]
    Left,
    /// The leader has put it out.
    #[error("the leader put you out of the party")]
    Kicked,
    /// The leader has ended it.
    #[error("the leader ended the party")]
    Disbanded,
    /// It was away for too long.
    #[error("you were away for too long, and are out of the party; ask for its code again")]
    Away,
    /// No server knows it any more.
    #[error("the party is lost; make another one")]
    Lost,
}
