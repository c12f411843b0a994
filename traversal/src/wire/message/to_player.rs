//! What the server says to a player: answers to its requests, and news.

use serde::{Deserialize, Serialize};

use super::gather::{QueueStatus, QuickMatched};
use super::rendezvous::{Facts, PunchPlan, RelayGrant, Replan, SprayTurn};
use super::room::{KickNote, PlayerInfo, RoomEnd, RoomInfo, RoomSummary, RoomTicket};
use crate::failure::NoRelay;
use crate::id::{JoinId, MatchId, PlayerId, RequestId, RoomId};
use crate::nat::NatProfile;
use crate::text::{self, TextError};
use crate::wire::life::CHALLENGE;

/// Server to player, reliably.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToPlayer {
    /// To a [`ToServer::Request`](super::ToServer::Request).
    Response {
        /// Of the request.
        id: RequestId,
        /// The answer.
        result: Result<Response, RequestError>,
    },
    /// Who is in the room. Snapshots, newest revision wins; the parts of one revision belong together.
    Members {
        /// Which room.
        room: RoomId,
        /// Counts up with each change.
        revision: u32,
        /// 0-based.
        part: u8,
        /// How many parts this revision has.
        parts: u8,
        /// The host first.
        members: Vec<PlayerInfo>,
    },
    /// New metadata.
    RoomChanged(RoomInfo),
    /// The player is no longer in the room.
    RoomEnded {
        /// Which.
        room: RoomId,
        /// Why.
        reason: RoomEnd,
    },
    /// To the host: someone asks to come in (M23).
    JoinRequest {
        /// To be answered with it.
        join: JoinId,
        /// Who.
        player: PlayerInfo,
    },
    /// Connect to this player, so.
    Plan(Box<PunchPlan>),
    /// News about a match that runs.
    Facts {
        /// Which.
        match_id: MatchId,
        /// What.
        facts: Facts,
    },
    /// A better plan for a match that has no direct path yet: more is known about the NATs now.
    Replan(Box<Replan>),
    /// Drop the match: the other side left, was kicked or is gone.
    MatchEnded {
        /// Which.
        match_id: MatchId,
        /// Why.
        reason: MatchEnd,
    },
    /// What the classification found, where it is done on the server (M7).
    Profile(NatProfile),
    /// The right to come back into the room; a new one with each epoch.
    Ticket(RoomTicket),
    /// The server does not hear the host of the room: does this member? Answered by
    /// [`ToServer::HostSeen`](super::ToServer::HostSeen), and where it does, by
    /// [`ToServer::HostProof`](super::ToServer::HostProof) in addition.
    ConfirmLoss {
        /// The room whose host is in question.
        room: RoomId,
        /// Of the host in question.
        epoch: u32,
        /// For the host, drawn for this question.
        challenge: [u8; CHALLENGE],
    },
    /// To a member who lost the host: the server hears it, or another member has shown that it is alive, so it stays host.
    HostStands {
        /// The room whose host is in question.
        room: RoomId,
        /// Of the host in question.
        epoch: u32,
    },
    /// To a member who lost the host: it is not decided yet whether the host is gone.
    HostInQuestion {
        /// The room whose host it is.
        room: RoomId,
        /// Of the host in question.
        epoch: u32,
        /// Seconds from now within which it is, and this member has heard of it.
        within_s: u16,
    },
    /// The room has another host. Its plans follow.
    HostChanged {
        /// The room as it is now.
        room: RoomInfo,
        /// Who hosted it before.
        previous: PlayerId,
    },
    /// How a quick match comes along.
    Queue(QueueStatus),
    /// The wait for a quick match is over, and this is why.
    QueueClosed(RequestError),
    /// The players of a quick match are together: this one is in the room now.
    QuickMatched(Box<QuickMatched>),
    /// Other players are told this port now, and plans count on it. None: no more.
    MappedPort(Option<u16>),
    /// Whether it is this match's turn to search by many sockets or ports.
    Spray {
        /// Which match.
        match_id: MatchId,
        /// Of its plan.
        edition: u8,
        /// It is, or not.
        turn: SprayTurn,
    },
    /// Another way through the relay, for a match that goes on after the server was restarted.
    Relay {
        /// The match that goes on.
        match_id: MatchId,
        /// What stands in place of the plan's own grant.
        grant: RelayGrant,
    },
    /// A match that goes on after the server was restarted gets no relay.
    NoRelay {
        /// The match that goes on.
        match_id: MatchId,
        /// Why the server gives none.
        why: NoRelay,
    },
    /// To a member: who may not come back into the room. At most [`MAX_KICK_NOTES`](super::MAX_KICK_NOTES) at a time, in
    /// addition to those that it has.
    KickNotes {
        /// The room that they may not come back into.
        room: RoomId,
        /// What the server has sealed, to be shown with [`ToServer::KickNotes`](super::ToServer::KickNotes).
        notes: Vec<KickNote>,
    },
    /// To the host: somebody tries passwords of its room. At most once in ten seconds.
    WrongPasswords {
        /// The room that this player hosts.
        room: RoomId,
        /// How many were wrong within the last minute, from all addresses together.
        in_last_minute: u16,
    },
}

/// The server's answer to a [`Request`](super::Request).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Response {
    /// The room is open, or entered. Members follow as [`ToPlayer::Members`].
    Room(RoomInfo),
    /// Done.
    Done,
    /// A page of rooms.
    Rooms {
        /// The page.
        rooms: Vec<RoomSummary>,
        /// There are more after the last one.
        more: bool,
    },
}

/// Why a [`Request`](super::Request) failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nothing under this name or code.
    #[error("there is no such room; check its name or code, or wait for its host")]
    NoSuchRoom,
    /// As many as it takes.
    #[error("the room is full")]
    RoomFull,
    /// Or none was given.
    #[error("wrong room password")]
    WrongPassword,
    /// Another host has it.
    #[error("a room of this name exists already; choose another name")]
    NameTaken,
    /// The host said no.
    #[error("the host refused: {reason}")]
    Refused {
        /// The host's words.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
    },
    /// The host did not answer in time.
    #[error("the host did not answer the request to join")]
    HostSilent,
    /// The room's game speaks another protocol.
    #[error("this room needs version {room} of the game, yours is {yours}")]
    OtherVersion {
        /// Of the room.
        room: u32,
        /// Of the player.
        yours: u32,
    },
    /// Leave the present room first.
    #[error("you are in a room already; leave it first")]
    AlreadyInRoom,
    /// For example leaving without being inside.
    #[error("you are not in a room")]
    NotInRoom,
    /// Only the host may.
    #[error("only the host of the room can do this")]
    NotHost,
    /// That player is not registered, or not in this room (M34).
    #[error("that player is not here")]
    NoSuchPlayer,
    /// A field too long, out of range or empty.
    #[error("not valid: {what}")]
    Malformed {
        /// Which one, and the rule that it breaks.
        #[serde(deserialize_with = "text::read_reason")]
        what: String,
    },
    /// A limit of the server.
    #[error("too many requests or rooms; try again in {retry_after_s} s")]
    Limited {
        /// Seconds.
        retry_after_s: u32,
    },
    /// The server's registry did not answer.
    #[error("the lobby server's registry does not answer; try again later")]
    RegistryUnavailable,
    /// The server is about to stop.
    #[error("the lobby server is stopping; try again in a minute")]
    Stopping,
    /// The room has had another host since; to the player who hosted it.
    #[error("another player hosts the room by now (change {epoch} of its host); join it as a member")]
    StaleHost {
        /// The room's present epoch.
        epoch: u32,
    },
    /// The ticket is not this server's, or for another room or player.
    #[error("the server does not know this place in the room; join it anew")]
    BadTicket,
    /// One queue at a time, and none beside a room.
    #[error("you are waiting for a quick match; cancel that first")]
    AlreadyQueued,
    /// For example when the match was made in the same moment.
    #[error("you are not waiting for a quick match")]
    NotQueued,
}

impl From<TextError> for RequestError {
    fn from(error: TextError) -> Self {
        Self::Malformed { what: error.to_string() }
    }
}

/// Why a match is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum MatchEnd {
    /// The other player left the room.
    #[error("the other player left")]
    Left,
    /// The other player was put out, or this one.
    #[error("removed by the host")]
    Kicked,
    /// The other player's session timed out.
    #[error("the other player is gone")]
    Gone,
    /// A newer match of the same two players takes its place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The room has another host, who takes the other player's place.
    #[error("another player hosts the room now")]
    Migrated,
}
