//! What the server says to a player: answers to its requests, and news.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::calls::CallNews;
use super::chat::{ChatFault, ChatNews};
use super::contacts::ContactNews;
use super::gather::{QueueStatus, QuickMatched};
use super::invite::{InviteFault, InviteToken};
use super::listing::{RoomCursor, RoomsNews};
use super::members::RoomNews;
use super::party::PartyNews;
use super::quick::{MatchFound, Teams};
use super::rendezvous::{Facts, PunchPlan, RelayGrant, Replan, SearchPermit};
use super::room::{KickNote, PlayerInfo, RoomEnd, RoomInfo, RoomSummary, RoomTicket};
use super::seat_notes::SeatNote;
use super::seats::{AwaySeat, RoomBan, SeatKept, until};
use crate::failure::NoRelay;
use crate::id::{JoinId, MatchId, PlayerId, RequestId, RoomId};
use crate::nat::NatProfile;
use crate::text::{self, TextError};
use crate::wire::life::CHALLENGE;

/// This is a message of the server to a player, which arrives reliably.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToPlayer {
    /// This answers a [`ToServer::Request`](super::ToServer::Request).
    Response {
        /// The request has this id.
        id: RequestId,
        /// This is what came of the request.
        result: Result<Response, RequestError>,
    },
    /// This says who is in the room. These are snapshots, of which the newest revision wins; the parts of one
    /// revision belong together.
    Members {
        /// This is the room that they are in.
        room: RoomId,
        /// Counts up with each change.
        revision: u32,
        /// The part has this number, from 0 on.
        part: u8,
        /// This revision has this many parts.
        parts: u8,
        /// These members are in this part; in part 0 the host is first.
        members: Vec<PlayerInfo>,
    },
    /// The host has changed the room's metadata.
    RoomChanged(RoomInfo),
    /// The player is no longer in the room.
    RoomEnded {
        /// This is the room that it is about.
        room: RoomId,
        /// This says why this player is out of it.
        reason: RoomEnd,
    },
    /// The host is told that someone asks to come in (M23).
    JoinRequest {
        /// The answer is to name this id.
        join: JoinId,
        /// This is the player who asks.
        player: PlayerInfo,
    },
    /// The agent is to connect to this player, in this way.
    Plan(Box<PunchPlan>),
    /// There is news about a match that runs.
    Facts {
        /// This is the match that they are about.
        match_id: MatchId,
        /// This is what the server has learned of the other side.
        facts: Facts,
    },
    /// This is a better plan for a match that has no direct path yet: more is known about the NATs now.
    Replan(Box<Replan>),
    /// The match is to be dropped: the other side left, was kicked or is gone.
    MatchEnded {
        /// This is the match that has ended.
        match_id: MatchId,
        /// This says why it has ended.
        reason: MatchEnd,
    },
    /// This is what the classification found, where it is done on the server (M7).
    Profile(NatProfile),
    /// This is the right to come back into the room; there is a new one with each epoch.
    Ticket(RoomTicket),
    /// The server does not hear the host of the room: does this member? Answered by
    /// [`ToServer::HostSeen`](super::ToServer::HostSeen), and where it does, by
    /// [`ToServer::HostProof`](super::ToServer::HostProof) in addition.
    ConfirmLoss {
        /// The room whose host is in question.
        room: RoomId,
        /// The host in question hosts in this epoch.
        epoch: u32,
        /// The host is to be asked with this challenge, which was drawn for this question.
        challenge: [u8; CHALLENGE],
    },
    /// This goes to a member who lost the host: the server hears it, or another member has shown that it is alive, so
    /// it stays host.
    HostStands {
        /// The room whose host is in question.
        room: RoomId,
        /// The host in question hosts in this epoch.
        epoch: u32,
    },
    /// This goes to a member who lost the host: it is not decided yet whether the host is gone.
    HostInQuestion {
        /// The room whose host it is.
        room: RoomId,
        /// The host in question hosts in this epoch.
        epoch: u32,
        /// It is decided within this many seconds from now, and this member has heard of it.
        within_s: u16,
    },
    /// The room has another host. Its plans follow.
    HostChanged {
        /// The room as it is now.
        room: RoomInfo,
        /// This player hosted it before.
        previous: PlayerId,
    },
    /// This says how a quick match comes along.
    Queue(QueueStatus),
    /// The wait for a quick match is over, and this is why.
    QueueClosed(RequestError),
    /// The players of a quick match are together: this one is in the room now.
    QuickMatched(Box<QuickMatched>),
    /// Other players are told this port now, and plans count on it. None: no more.
    MappedPort(Option<u16>),
    /// This says whether it is this match's turn to search by many sockets or ports.
    Search {
        /// This is the match that it is for.
        match_id: MatchId,
        /// The match's plan has this edition.
        edition: u8,
        /// It is, or not.
        turn: SearchPermit,
    },
    /// This is another way through the relay, for a match that goes on after the server was restarted.
    Relay {
        /// This is the match that goes on.
        match_id: MatchId,
        /// This is the grant that takes the place of the plan's own.
        grant: RelayGrant,
    },
    /// A match that goes on after the server was restarted gets no relay.
    NoRelay {
        /// This is the match that goes on.
        match_id: MatchId,
        /// This says why the server gives none.
        why: NoRelay,
    },
    /// A member is told who may not come back into the room. There are at most
    /// [`MAX_KICK_NOTES`](super::MAX_KICK_NOTES) at a time, in addition to those that it has.
    KickNotes {
        /// This is the room that they may not come back into.
        room: RoomId,
        /// This is what the server has sealed, to be shown with [`ToServer::KickNotes`](super::ToServer::KickNotes).
        notes: Vec<KickNote>,
    },
    /// The host is told that somebody tries passwords of its room, at most once in ten seconds.
    WrongPasswords {
        /// This player hosts this room.
        room: RoomId,
        /// This many were wrong within the last minute, from all addresses together.
        in_last_minute: u16,
    },
    /// The operator of the server tells all players of a game something.
    Announcement {
        /// The text has at most [`MAX_ANNOUNCEMENT`](crate::text::MAX_ANNOUNCEMENT) bytes.
        #[serde(deserialize_with = "text::read_announcement")]
        text: String,
    },
    /// What this player wants is at another node of the same servers: it is to log in there, and to ask again. There are at
    /// most [`MAX_NODE_ADDRESSES`](super::MAX_NODE_ADDRESSES), of one node.
    GoTo(Vec<SocketAddr>),
    /// These are other nodes of the same servers, for the case that this one is gone. There are at most
    /// [`MAX_NODE_ADDRESSES`](super::MAX_NODE_ADDRESSES).
    Nodes(Vec<SocketAddr>),
    /// There is news of what the members of the room tell each other.
    InRoom {
        /// This is the room that it is about.
        room: RoomId,
        /// This is what is new.
        news: RoomNews,
    },
    /// There is news of contacts who allow this player, as it allows them.
    Contacts(Vec<ContactNews>),
    /// There is news of a call.
    Call(CallNews),
    /// This is what has changed among the rooms that the player watches
    /// ([`Request::WatchRooms`](super::Request::WatchRooms)).
    Rooms(RoomsNews),
    /// Players for a quick match were found: does this one play?
    MatchFound(MatchFound),
    /// Who is in which team.
    Teams(Teams),
    /// This says which members are away, and who watches. These are snapshots with the same revisions and parts as
    /// [`ToPlayer::Members`]; there is none as long as nobody was away and nobody watched.
    Seats {
        /// This is the room that it is about.
        room: RoomId,
        /// Counts up with each change.
        revision: u32,
        /// The part has this number, from 0 on.
        part: u8,
        /// This revision has this many parts.
        parts: u8,
        /// These members are away, as far as they are in this part.
        away: Vec<AwaySeat>,
        /// These players watch, as far as they are in this part.
        spectators: Vec<PlayerInfo>,
    },
    /// A player who has just logged in has a seat in a room, which it has not taken yet in this session.
    SeatKept(SeatKept),
    /// The host of a room is told who has a seat there. There are at most [`MAX_SEAT_NOTES`](super::MAX_SEAT_NOTES) at a
    /// time, in addition to those that it has.
    SeatNotes {
        /// The player hosts this room.
        room: RoomId,
        /// This is what the server has sealed, to be shown with [`ToServer::SeatNotes`](super::ToServer::SeatNotes).
        notes: Vec<SeatNote>,
    },
    /// Somebody has written something, or chat was switched on or off.
    Chat(ChatNews),
    /// There is news of the player's party, or of another one that it is invited to.
    Party(PartyNews),
}

/// The server answers a [`Request`](super::Request) with this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Response {
    /// The room is open, or entered. Members follow as [`ToPlayer::Members`].
    Room(RoomInfo),
    /// The request was carried out.
    Done,
    /// This is a page of rooms.
    Rooms {
        /// These are the rooms of one page.
        rooms: Vec<RoomSummary>,
        /// The next page begins after this place; none: this is the last one. A page may be short, or have no room at all,
        /// where the server had to look at many rooms for it: the next one goes on from there.
        next: Option<RoomCursor>,
    },
    /// This is the server's clock.
    Time {
        /// This many milliseconds have passed since the server was started.
        now_ms: u64,
    },
    /// This is an invite to the host's room.
    Invite(InviteToken),
    /// This is a page of a room's ban list.
    Bans {
        /// There are at most [`BANS_PER_PAGE`](super::BANS_PER_PAGE).
        bans: Vec<RoomBan>,
        /// There are more after the last one.
        more: bool,
    },
}

/// This says why a [`Request`](super::Request) failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no room under this name or code.
    #[error("there is no such room; check its name or code, or wait for its host")]
    NoSuchRoom,
    /// The room has as many members as it takes.
    #[error("the room is full")]
    RoomFull,
    /// The password is wrong, or none was given.
    #[error("wrong room password")]
    WrongPassword,
    /// Another host has it.
    #[error("a room of this name exists already; choose another name")]
    NameTaken,
    /// The host said no.
    #[error("the host refused{}", text::because(.reason))]
    Refused {
        /// This is what the host says about it; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
    },
    /// The host did not answer in time.
    #[error("the host did not answer the request to join")]
    HostSilent,
    /// The room's game speaks another protocol.
    #[error("this room needs version {room} of the game, yours is {yours}")]
    OtherVersion {
        /// The room has this protocol number.
        room: u32,
        /// This player has this protocol number.
        yours: u32,
    },
    /// The player is in a room, which it is to leave first.
    #[error("you are in a room already; leave it first")]
    AlreadyInRoom,
    /// The player is in no room, for example when it wants to leave one.
    #[error("you are not in a room")]
    NotInRoom,
    /// Only the host may.
    #[error("only the host of the room can do this")]
    NotHost,
    /// That player is not registered, or not in this room (M34).
    #[error("that player is not here")]
    NoSuchPlayer,
    /// A field is too long, out of range or empty.
    #[error("not valid: {what}")]
    Malformed {
        /// This says which field it is, and the rule that it breaks.
        #[serde(deserialize_with = "text::read_reason")]
        what: String,
    },
    /// A limit of the server is reached.
    #[error("too many requests or rooms; try again in {retry_after_s} s")]
    Limited {
        /// The player is to wait for this many seconds before it asks again.
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
        /// The room is in this epoch now.
        epoch: u32,
    },
    /// The ticket is not this server's, or for another room or player.
    #[error("the server does not know this place in the room; join it anew")]
    BadTicket,
    /// The player waits already: it may be in one queue at a time, and in none while it is in a room.
    #[error("you are waiting for a quick match; cancel that first")]
    AlreadyQueued,
    /// The player waits for no match, for example when it was made in the same moment.
    #[error("you are not waiting for a quick match")]
    NotQueued,
    /// There would be too many properties.
    #[error("at most {max} properties are allowed, it would be {count}; remove some first")]
    TooManyProperties {
        /// It would be this many.
        count: u16,
        /// There may be this many.
        max: u16,
    },
    /// The properties would be too long, keys and values together.
    #[error(
        "at most {max_bytes} bytes of properties are allowed, it would be {bytes}; shorten or remove some first"
    )]
    PropertiesTooLong {
        /// They would have this many bytes.
        bytes: u32,
        /// They may have this many bytes.
        max_bytes: u32,
    },
    /// The host has locked the room.
    #[error("the room is locked; ask its host to unlock it")]
    RoomLocked,
    /// The team has as many players as it takes; or all teams, where the server was to choose.
    #[error("the team is full ({size} of {size}); choose another one")]
    TeamFull {
        /// It takes this many players; all of them together, where the server was to choose.
        size: u16,
    },
    /// There is no such team.
    #[error("there is no such team; the room has {teams}")]
    NoSuchTeam {
        /// The room has this many teams.
        teams: u8,
    },
    /// Not all members are ready.
    #[error("{waiting} of the players are not ready yet")]
    NotReady {
        /// This many players are not ready.
        waiting: u16,
    },
    /// A countdown runs already.
    #[error("a countdown runs already; cancel it first")]
    CountdownRuns,
    /// There is no countdown that could be cancelled: none runs, or it is over in this moment for everybody.
    #[error("there is no countdown to be cancelled")]
    NoCountdown,
    /// The room keeps its host: [`RoomOptions::migrate`](super::RoomOptions::migrate) is off.
    #[error("this room keeps its host, who chose so when opening it")]
    HostStays,
    /// A list of contacts is too long.
    #[error("at most {limit} contacts are possible; remove some first")]
    TooManyContacts {
        /// A player may allow this many others.
        limit: u16,
    },
    /// The call is over, or was never there.
    #[error("that call is over")]
    NoSuchCall,
    /// A player may call one other at a time.
    #[error("you are calling somebody already; hang up first")]
    AlreadyCalling,
    /// The invite lets nobody in.
    #[error("this invite is not good any more: {why}; ask its host for another one")]
    InviteOver {
        /// This says why.
        why: InviteFault,
    },
    /// As many invites that serve once are out as the server can remember.
    #[error("at most {most} invites that serve once may be out; end them, or wait until some were used")]
    TooManyInvites {
        /// This many may be out.
        most: u16,
    },
    /// The invite names no room, and there are several.
    #[error("there are several rooms; ask for an invite with the code of one")]
    SeveralRooms,
    /// The player has refused a quick match that was found for it.
    #[error("you refused the match; ask for another one when you want to play")]
    MatchRefused,
    /// The player has not answered whether it plays a quick match that was found for it.
    #[error("you did not answer in time whether you play; ask for a match when you want to")]
    MatchUnanswered,
    /// The host has put this player out of the room.
    #[error("the host put you out of this room{}; {}", text::because(.reason), until(*.for_s))]
    Banned {
        /// This is what the host said about it; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
        /// The player may come back after this many seconds; `None`: not as long as the room lives.
        for_s: Option<u32>,
    },
    /// As many watch the room as may.
    #[error("the room takes {limit} spectators, and as many are inside; join it, or try again later")]
    SpectatorsFull {
        /// This many may watch it; 0: nobody.
        limit: u16,
    },
    /// No seat is kept for this player (any more).
    #[error("no seat is kept for you; join the room anew")]
    NoSeat,
    /// A text was not handed on.
    #[error(transparent)]
    Chat(ChatFault),
    /// The player is in no party.
    #[error("you are in no party")]
    NotInParty,
    /// The player is in a party, which it is to leave first.
    #[error("you are in a party already; leave it first")]
    AlreadyInParty,
    /// There is no party of this code, or it has not kept this player's place.
    #[error("there is no such party; ask one of its members for the code")]
    NoSuchParty,
    /// The party has as many members as it takes.
    #[error("the party is full ({most} of {most})")]
    PartyFull {
        /// It takes this many.
        most: u16,
    },
    /// Only the leader of the party may.
    #[error("only the leader of the party can do this")]
    NotPartyLeader,
    /// The party has more members than the match that it wants has players.
    #[error("your party has {size} members, and this match is for {players}; choose another one")]
    PartyTooLarge {
        /// The party has this many.
        size: u16,
        /// The match is for this many.
        players: u16,
    },
    /// Members of the party are away, or in a room.
    #[error("{missing} of your party are away or in a room; wait until all are there")]
    PartyIncomplete {
        /// This many members are away or in a room.
        missing: u16,
    },
    /// A member of the party has refused the match, not answered in time, or taken the party out of the line.
    #[error("a member of your party does not want to play now; ask for another match when all do")]
    PartyRefused,
    /// The party waits for a quick match, and nobody comes in meanwhile.
    #[error("the party waits for a match; ask its leader to cancel that first")]
    PartyQueued,
    /// The party is at another node, and this player is in a room at this one.
    #[error("your party is elsewhere; leave the room to be with it")]
    PartyElsewhere,
}

impl From<ChatFault> for RequestError {
    fn from(fault: ChatFault) -> Self {
        Self::Chat(fault)
    }
}

impl From<TextError> for RequestError {
    fn from(error: TextError) -> Self {
        Self::Malformed { what: error.to_string() }
    }
}

/// This says why a match is over.
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
