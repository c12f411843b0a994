//! What a player says to the server, and what it asks of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::calls::CallRequest;
use super::chat::ChatRequest;
use super::contacts::ContactsRequest;
use super::gather::QuickMatch;
use super::invite::{InviteTerms, InviteToken};
use super::listing::RoomQuery;
use super::members::InRoom;
use super::party::PartyRequest;
use super::rendezvous::KeptMatch;
use super::room::{KickNote, RoomOptions, RoomTarget, RoomTicket};
use super::seat_notes::SeatNote;
use super::seats::Rejoin;
use crate::facts::NatFacts;
use crate::failure::FailureReason;
use crate::id::{JoinId, MatchId, PlayerId, RequestId, RoomId};
use crate::nat::NatProfile;
use crate::secret::Secret;
use crate::wire::life::PROOF;
use crate::wire::port_report::PortReport;

/// This is a message of a player to the server, which arrives reliably.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToServer {
    /// Wants an answer ([`ToPlayer::Response`](super::ToPlayer::Response)).
    Request {
        /// Comes back in the answer.
        id: RequestId,
        /// This is what the player asks for.
        request: Request,
    },
    /// The machine's addresses changed.
    LocalAddresses(Vec<SocketAddr>),
    /// The host answers [`ToPlayer::JoinRequest`](super::ToPlayer::JoinRequest) (M23).
    JoinAnswer {
        /// This is the question that is answered.
        join: JoinId,
        /// This says whether the player may come in.
        allow: bool,
        /// Told to the player who is not let in.
        reason: String,
    },
    /// The match has come to this, for the server's counters and for the other side.
    MatchReport {
        /// This is the match that it is about.
        match_id: MatchId,
        /// This is what came of the match.
        outcome: MatchOutcome,
        /// This says why not (directly), as far as this side knows.
        cause: Option<FailureReason>,
    },
    /// This is what the classification found (M7).
    Profile {
        /// This is the NAT, as the player sees it.
        profile: NatProfile,
        /// The server is to check it against what it saw itself, and to answer with
        /// [`ToPlayer::Profile`](super::ToPlayer::Profile) (E1).
        check: bool,
        /// This says what of it was set by hand (M9): the server's own view does not overrule that.
        manual: NatFacts,
    },
    /// A member says whether it hears its host: in answer to [`ToPlayer::ConfirmLoss`](super::ToPlayer::ConfirmLoss),
    /// or unasked when its channel to the host is gone. Where the server does not hear the host either, and no member
    /// does, the room gets another one.
    HostSeen {
        /// The room whose host is in question.
        room: RoomId,
        /// It is about the host of this epoch.
        epoch: u32,
        /// This member still hears it. Nobody is kept as host by that word alone.
        heard: bool,
    },
    /// The match plays over the relay and its attempt is over: both sides are to try once more, with a
    /// [`ToPlayer::Replan`](super::ToPlayer::Replan).
    PunchAgain {
        /// This is the match that it is about.
        match_id: MatchId,
    },
    /// The forwarded port leads here: the token of [`Frame::MappedPortSeen`](super::Frame::MappedPortSeen). None: it
    /// does not any more.
    MappedPort(Option<[u8; 16]>),
    /// The player's bubble left by one of these ports, as it has measured itself (E2).
    ClaimRange {
        /// This is the match that it is for.
        match_id: MatchId,
        /// The try has this number, made of its plan, method and attempt.
        round: u16,
        /// The NAT's ports lie this far apart; negative: they count downwards.
        step: i32,
        /// These are the server's own reports of the first and the second range probe.
        reports: [PortReport; 2],
    },
    /// The attempt has come to a method that searches by many sockets or ports
    /// ([`Method::searches`](super::Method::searches)). Answered by [`ToPlayer::Search`](super::ToPlayer::Search). Where such
    /// a method comes first in the plan, the server knows.
    AskSearch {
        /// This is the match that it is for.
        match_id: MatchId,
        /// The match's plan has this edition.
        edition: u8,
    },
    /// The search is over, or not wanted any more: other matches may have their turn.
    SearchOver {
        /// This is the match that it is for.
        match_id: MatchId,
        /// The match's plan has this edition.
        edition: u8,
    },
    /// Back in the room after a new login, these matches go on: where the server has forgotten one, and the other
    /// side says the same, both get a [`ToPlayer::Relay`](super::ToPlayer::Relay). There are at most
    /// [`MAX_KEPT`](super::MAX_KEPT) of them.
    KeepMatches(Vec<KeptMatch>),
    /// Back in the room after a new login, a player says who was put out of it, for a server that was restarted.
    /// There are at most [`MAX_KICK_NOTES`](super::MAX_KICK_NOTES) at a time.
    KickNotes {
        /// This is the room that the player is in.
        room: RoomId,
        /// These are the notes, as the server gave them.
        notes: Vec<KickNote>,
    },
    /// The player's next packets leave by these ports, one by each: its NAT keeps the inner ports of sockets that have
    /// sent nothing yet. The other side is told them with the IP that the session is validated at
    /// ([`Facts::Kept`](super::Facts::Kept)), so no stranger can be named.
    KeptPorts {
        /// This is the match that it is for.
        match_id: MatchId,
        /// The try has this number, made of its plan, method and attempt.
        round: u16,
        /// These are the ports, at most [`MAX_KEPT_PORTS`](super::MAX_KEPT_PORTS) of them, no well-known ones.
        ports: Vec<u16>,
    },
    /// A member hands on the host's answer to the challenge of a
    /// [`ToPlayer::ConfirmLoss`](super::ToPlayer::ConfirmLoss): the host is alive, so it stays host.
    HostProof {
        /// The room whose host is in question.
        room: RoomId,
        /// It is about the host of this epoch.
        epoch: u32,
        /// This is the host's lasting key, of which its id is made: a server that was restarted does not know it.
        key: [u8; 32],
        /// The host has given this proof, see [`LifeKey::prove`](crate::wire::life::LifeKey::prove).
        proof: [u8; PROOF],
    },
    /// Back in its room after a new login, its host says who had a seat there and is not back, for a server that was
    /// restarted. There are at most [`MAX_SEAT_NOTES`](super::MAX_SEAT_NOTES) at a time.
    SeatNotes {
        /// This is the room that the player hosts.
        room: RoomId,
        /// The others know already that these players are away.
        away: bool,
        /// These are the notes, as the server gave them.
        notes: Vec<SeatNote>,
    },
}

/// This is what came of a match, as [`ToServer::MatchReport`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MatchOutcome {
    /// A direct path stands.
    Direct,
    /// Plays over the relay.
    Relayed,
    /// There was no path within the deadline.
    Failed,
    /// The path was lost and no other found.
    Lost,
    /// One side ended it on purpose.
    Closed,
}

/// This is what a player may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// Open a room and be its host.
    CreateRoom {
        /// This says how it is to be.
        options: RoomOptions,
    },
    /// The player wants to enter a room.
    JoinRoom {
        /// This is the room to be entered.
        target: RoomTarget,
        /// This is the room's password, if the room wants one.
        password: Option<Secret<String>>,
    },
    /// Leave the room this player is in. When its host leaves, another member hosts it, or it closes: see
    /// [`RoomOptions::migrate`].
    LeaveRoom,
    /// The player wants a page of the public rooms of this game.
    ListRooms {
        /// These are wanted.
        query: RoomQuery,
    },
    /// The host puts a member out.
    Kick {
        /// This is the member to be put out.
        player: PlayerId,
        /// Told to that player.
        reason: String,
        /// This says when it may come back.
        rejoin: Rejoin,
    },
    /// The host gives the room new metadata.
    SetMetadata(BTreeMap<String, String>),
    /// Come back into a room, after a new login or a restart of the server. Whoever still has its channel to the
    /// host keeps it: a match is made only where the host is another one by now.
    TakeUpRoom {
        /// This is the ticket that gives the right to.
        ticket: RoomTicket,
        /// The room has this short code.
        code: String,
        /// This says how the room is, as this player knows it, for a server that forgot.
        options: RoomOptions,
    },
    /// Wait for players who want the same. Answered with [`Response::Done`](super::Response::Done); then
    /// [`ToPlayer::Queue`](super::ToPlayer::Queue) follows, and in the end
    /// [`ToPlayer::QuickMatched`](super::ToPlayer::QuickMatched).
    QuickMatch(QuickMatch),
    /// The player waits for a quick match no longer.
    LeaveQueue,
    /// In a mesh, the one who came later says this: this pair has no connection (any more), make one.
    Rematch {
        /// This is the player to be connected with.
        player: PlayerId,
    },
    /// Something about the room that the player is in.
    InRoom(InRoom),
    /// Whom the player allows, and how it is shown to those.
    Contacts(ContactsRequest),
    /// The player calls another one, answers a call, or hangs up.
    Call(CallRequest),
    /// The host wants an invite to its room. Answered with [`Response::Invite`](super::Response::Invite).
    MakeInvite(InviteTerms),
    /// The host ends all invites to its room that are out.
    RevokeInvites,
    /// Enter a room by an invite.
    JoinInvited {
        /// The room has this short code; empty: it is the only public room of this game.
        code: String,
        /// This is the host's allowance, if the invite has one.
        token: Option<InviteToken>,
    },
    /// The player wants to hear of the public rooms of this game, and of each change among them, until it enters a room,
    /// says [`Request::StopWatching`], or has not asked again for ten minutes. Answered with
    /// [`Response::Done`](super::Response::Done); then [`ToPlayer::Rooms`](super::ToPlayer::Rooms) follow. The same wish
    /// again lets it go on; another one takes its place.
    WatchRooms {
        /// The player numbers its wishes by this; it comes back with the news.
        watch: u32,
        /// These are wanted, at most [`MAX_WATCHED`](super::MAX_WATCHED).
        query: RoomQuery,
        /// News come with at least this pause between them, in milliseconds; less than
        /// [`MIN_WATCH_PAUSE_MS`](super::MIN_WATCH_PAUSE_MS) counts as that.
        pause_ms: u16,
    },
    /// The player does not want to hear of rooms any more.
    StopWatching,
    /// The answer to [`ToPlayer::MatchFound`](super::ToPlayer::MatchFound): who says no is out of the line.
    AnswerMatch {
        /// This is the match that is answered.
        proposal: u64,
        /// The player plays.
        accept: bool,
    },
    /// The player wants to watch a room. It gets a match with the host alone, over which it only receives.
    Spectate {
        /// This is the room to be watched.
        target: RoomTarget,
        /// This is the room's password, if the room wants one.
        password: Option<Secret<String>>,
        /// It watches already and has lost its session: whoever still has its channel to the host keeps it.
        resume: bool,
    },
    /// The player takes the seat that was kept for it ([`ToPlayer::SeatKept`](super::ToPlayer::SeatKept)); a host hosts on.
    TakeSeat,
    /// The host wants a page of its room's ban list, in the order of the players' ids.
    ListBans {
        /// Players after this one.
        after: Option<PlayerId>,
    },
    /// The host lets a player come back that was put out.
    LiftBan {
        /// This is the player.
        player: PlayerId,
    },
    /// The player writes to others, or tells the operator of one.
    Chat(ChatRequest),
    /// Something about the player's party.
    Party(PartyRequest),
}
