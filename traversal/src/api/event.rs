//! What an agent tells the game.

use std::net::SocketAddr;
use std::time::Duration;

use super::{ChatWay, Countdown, LobbyState, MemberDiff, RequestFailure, RequestKind, SocketId};
use crate::failure::FailureReport;
use crate::id::{CallId, JoinId, PlayerId};
use crate::kept::KeptProfile;
use crate::method::{Method, Role};
use crate::nat::NatProfile;
use crate::port_mapping::PortMappingState;
use crate::seat::Seat;
use crate::wire::message::{
    BackfillStatus, CallEnd, ChatTo, CountdownEnd, InviteToken, MatchEnd, MatchFound, MemberState, PartyEnd,
    PartyInfo, PlayerInfo, Presence, QueueStatus, RoomBan, RoomCursor, RoomEnd, RoomInfo, RoomQuery,
    RoomSummary, SeatKept,
};

/// This is a way to another player that carries authenticated data in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PathKind {
    /// The two share a network, and packets stay inside it.
    Lan,
    /// Packets go straight from one player's NAT to the other's, over IPv4.
    Direct,
    /// Packets go straight from one player to the other over IPv6.
    DirectV6,
    /// The lobby server passes packets on.
    Relay,
}

impl PathKind {
    /// Returns what kind of way it is, in words that go after "connected".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Lan => "within the own network",
            Self::Direct => "directly",
            Self::DirectV6 => "directly over IPv6",
            Self::Relay => "over the relay",
        }
    }

    /// Returns the name that stands in JSON: `lan`, `direct`, `direct-v6` or `relay`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::DirectV6 => "direct-v6",
            Self::Relay => "relay",
        }
    }
}

/// This is a path as the game may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathInfo {
    /// This says whether it is direct, over which family, or relayed.
    pub kind: PathKind,
    /// Datagrams to the other player go to this address. There is none over the relay.
    pub remote: Option<SocketAddr>,
    /// This is the own socket that it runs on.
    pub socket: SocketId,
    /// This is the method that found it; there is none over the relay.
    pub method: Option<Method>,
    /// This is the measured round trip to the other player, which there is not before the first measurement.
    pub rtt: Option<Duration>,
    /// This is the longest game datagram that goes in one piece, in bytes: 514 (498 over the relay) before it is
    /// known, soon 1,166 (1,150), and at the most [`MAX_PAYLOAD`](crate::wire::pair::MAX_PAYLOAD). Longer ones are
    /// split and joined. It changes while the path stands: [`Event::SizeChanged`].
    pub size: usize,
    /// This path stood this long after this player's request to join, or after the arrival of the other's.
    pub since_request: Duration,
    /// This side has sent this many datagrams to find it.
    pub packets_sent: u32,
    /// Those went to this many different addresses and ports.
    pub targets: u32,
    /// Those left from this many of the own sockets.
    pub sockets: u32,
}

/// This says how a connection does at present, as measured on the path in use: see
/// [`Agent::qualities`](crate::Agent::qualities).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkQuality {
    /// This is the smoothed round trip of the pings (RFC 6298); `None` before the first answer on this path.
    pub rtt: Option<Duration>,
    /// This is how far round trips lie from the smoothed one, on average: RTTVAR of RFC 6298. It is a quarter of the
    /// first round trip while there is no second one.
    pub jitter: Option<Duration>,
    /// This is the share of pings that were not answered, 0 to 1: the ping or its answer was lost. One that is
    /// overdue counts. The newest count most, each with a sixteenth, so at one ping in 400 ms this is about the last
    /// 6 s. Where both ways lose alike, one way loses 1 - sqrt(1 - `loss`).
    pub loss: f32,
    /// This counts the bytes of sealed datagrams that were sent to the player since the match began, those of the
    /// search for a path included; without the headers of UDP, IP and the relay.
    pub bytes_sent: u64,
    /// This counts the same for what came in and was authentic.
    pub bytes_received: u64,
}

/// This says why the channel to a player ended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The other side closed it.
    #[error("the other player left{}", crate::text::because(.reason))]
    Closed {
        /// This is what the other side says about it; it may be empty.
        reason: String,
    },
    /// The server has ended the match.
    #[error(transparent)]
    Match(#[from] MatchEnd),
    /// The other player was away for longer than [`AgentConfig::away_timeout`](crate::AgentConfig::away_timeout).
    #[error("the connection was lost")]
    Lost,
    /// This side closed it.
    #[error("closed by this side")]
    Local,
    /// The other side does not hear the game any more, only the driver.
    #[error("the game stopped responding")]
    Stalled,
}

/// These are rooms that a listing has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomsFound {
    /// These are the rooms, in the order that was asked for.
    pub rooms: Vec<RoomSummary>,
    /// There may be more: the next part begins after this place
    /// ([`RoomQuery::after`](crate::wire::message::RoomQuery::after)). None: these are all.
    pub next: Option<RoomCursor>,
}

/// This is something that an [`Agent`](crate::Agent) tells the game.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The link to the server changed.
    Lobby(LobbyState),
    /// What is known of the own NAT changed.
    Nat(NatProfile),
    /// The NAT of this network was measured: for the driver to store, and to give back at the next start with
    /// [`AgentConfig::kept`](crate::AgentConfig::kept).
    NatMeasured(KeptProfile),
    /// A room was opened or entered. After a new login the room is entered anew, with this event.
    RoomEntered {
        /// This is the room, with what is known of it.
        room: RoomInfo,
        /// This player is its host.
        hosting: bool,
        /// This player only watches.
        spectating: bool,
    },
    /// The room's metadata changed, or its lock, or its teams; here is the room as it is now.
    RoomChanged(RoomInfo),
    /// The members of the room changed; here are all of them, the host first.
    Members(Vec<PlayerInfo>),
    /// This player is out of its room.
    RoomLeft {
        /// This is why the server put it out; `None`: it left on request.
        reason: Option<RoomEnd>,
    },
    /// The server answers [`Command::ListRooms`](super::Command::ListRooms).
    Rooms(RoomsFound),
    /// A request of the game failed.
    RequestFailed {
        /// This is what was asked for.
        request: RequestKind,
        /// This says why it did not come about.
        error: RequestFailure,
    },
    /// Host: a player asks to come in; answer with [`Command::AnswerJoin`](super::Command::AnswerJoin).
    JoinRequest {
        /// This id of the question is repeated in [`Command::AnswerJoin`](super::Command::AnswerJoin).
        join: JoinId,
        /// This is the player who asks.
        player: PlayerInfo,
    },
    /// Host: somebody tries passwords of the room. The server lets through only some
    /// ([`RoomOptions::password`](crate::wire::message::RoomOptions::password)); a host may choose another one by opening
    /// the room anew, or stop letting in strangers. Comes once in ten seconds at the most.
    WrongPasswords {
        /// This many were wrong within the last minute, from all addresses together.
        in_last_minute: u16,
    },
    /// The operator of the lobby server tells all players of this game something, to be shown to the player.
    Announcement {
        /// The text is in one line.
        text: String,
    },
    /// The server matched this player with another.
    Plan {
        /// This is the player to be connected with.
        peer: PlayerInfo,
        /// This side has this role in punching (M10).
        role: Role,
        /// This is the methods that will be tried, in this order.
        methods: Vec<Method>,
        /// This is what this player is to the other one.
        seat: Seat,
    },
    /// A further method of the plan is tried from now on. Plain test messages ([`Method::Cone`]), where they are in the plan, begin
    /// with it.
    MethodBegun {
        /// This is the player to be connected with.
        player: PlayerId,
        /// This is the method that begins.
        method: Method,
    },
    /// The first path to a player stands: game datagrams flow.
    PeerConnected {
        /// This player is at the other end.
        peer: PlayerInfo,
        /// This is what this player is to the other one.
        seat: Seat,
        /// This is the way that stands.
        path: PathInfo,
        /// The other side has shown that it holds the private key of `peer.id`, which takes no word of the server's: who
        /// knows that id from elsewhere knows who this is.
        proven: bool,
        /// This code is the same on both sides, for two players who do not know each other's ids: see
        /// [`PairChannel::code`](crate::wire::pair::PairChannel::code).
        code: String,
    },
    /// The game plays over the relay, and no direct path was found within the deadline: why.
    PeerRelayed {
        /// This player is at the other end.
        peer: PlayerInfo,
        /// This says why there is no direct path, and what can be done about it.
        report: FailureReport,
    },
    /// The channel to a player moved to another path.
    PathChanged {
        /// This player is at the other end.
        player: PlayerId,
        /// This is the way that is used from now on.
        path: PathInfo,
    },
    /// Another length of game datagrams goes in one piece by the present path to a player.
    SizeChanged {
        /// This player is at the other end.
        player: PlayerId,
        /// This is the longest that does, in bytes: see [`PathInfo::size`].
        size: usize,
    },
    /// Nothing is heard of a connected player any more: it sleeps, its router starts anew, it changes its network. The
    /// connection and its keys are kept, and all ways are tried until [`Event::PeerBack`], or until
    /// [`Event::PeerDisconnected`] says that it is lost. Game datagrams for this player are dropped meanwhile.
    PeerAway {
        /// This player is at the other end.
        player: PlayerId,
    },
    /// A player who was away answers again, and the same connection goes on.
    PeerBack {
        /// This player is at the other end.
        player: PlayerId,
        /// Nothing was answered for this long.
        away: Duration,
    },
    /// The channel to a player is gone.
    PeerDisconnected {
        /// This is the player who was at the other end.
        peer: PlayerInfo,
        /// This says why the channel ended.
        reason: DisconnectReason,
    },
    /// An attempt to connect to a player ended without a path.
    PeerFailed {
        /// This is the player to be connected with.
        peer: PlayerInfo,
        /// This says why no path was found, and what can be done about it.
        report: FailureReport,
    },
    /// The host left or was lost, and another member hosts the room. The channel to the old host has ended by now;
    /// those to the new one follow, each with [`Event::Plan`] and [`Event::PeerConnected`]. An old host that was away is
    /// told the same when it is back, with itself as `previous`: all its channels have ended, and it is a member.
    HostChanged {
        /// The room as it is now: its `host` and its `epoch` are new.
        room: RoomInfo,
        /// This player is the new host.
        hosting: bool,
        /// This player hosted it before.
        previous: PlayerId,
        /// These are all who are inside, the new host first, without the old one, as far as is known;
        /// [`Event::Members`] follows.
        members: Vec<PlayerInfo>,
    },
    /// A game datagram came in.
    Datagram {
        /// This is the player who sent it; this is proven by the pair's keys.
        player: PlayerId,
        /// This is the channel that it was sent on, see [`Agent::send_on`](crate::Agent::send_on).
        channel: u8,
        /// This is the bytes that the other game sent.
        payload: Vec<u8>,
    },
    /// A quick match comes along; none: this player waits no longer, since it was matched, gave up or was refused.
    Queue(Option<QueueStatus>),
    /// Players for a quick match with a step in which all say yes were found: does this one play? It is answered by
    /// [`Command::AnswerMatch`](super::Command::AnswerMatch). [`Event::Queue`] after it says that somebody does not, and
    /// this player waits on.
    MatchFound(MatchFound),
    /// This says who is in which team of the room that a quick match has made. It comes after
    /// [`Event::RoomEntered`].
    Teams(Vec<Vec<PlayerId>>),
    /// The state of the port that the router forwards changed.
    PortMapping(PortMappingState),
    /// A member of the room, perhaps this player, says something else of itself now.
    MemberChanged {
        /// This is the member.
        player: PlayerId,
        /// This is what it has changed.
        changed: MemberDiff,
        /// This is all that it says.
        state: MemberState,
    },
    /// A property of the room is another one now.
    PropertyChanged {
        /// The property has this key.
        key: String,
        /// It has this value; `None`: it was removed.
        value: Option<String>,
        /// This player wrote it, as host.
        by: PlayerId,
    },
    /// All members of the room are ready, or they are not any more.
    AllReady(bool),
    /// A countdown began, or this player came in while one runs.
    CountdownStarted(Countdown),
    /// The countdown was cancelled.
    CountdownCancelled {
        /// This is why.
        why: CountdownEnd,
    },
    /// The countdown is over: for all members at the same moment.
    CountdownOver,
    /// There is news of a contact who allows this player, too.
    Presence {
        /// This is the contact.
        player: PlayerId,
        /// This is how it is about it; `None`: it is off line, or does not allow this player any more.
        presence: Option<Presence>,
    },
    /// This player calls another one.
    Calling {
        /// The call goes by this number from now on.
        call: CallId,
        /// This player is called.
        player: PlayerId,
    },
    /// It rings at the player who was called.
    CallRinging {
        /// This is the call.
        call: CallId,
        /// This player is called.
        player: PlayerId,
    },
    /// A player calls this one; answer with [`Command::AnswerCall`](super::Command::AnswerCall).
    IncomingCall {
        /// The answer names this call.
        call: CallId,
        /// This is the caller.
        from: PlayerInfo,
        /// The caller is among the contacts; else it is a stranger, and strangers may call.
        contact: bool,
    },
    /// The call was taken: both come into one room, of which [`Event::RoomEntered`] and [`Event::Members`] tell. Where it
    /// cannot be entered after all, [`Event::RequestFailed`] says why.
    CallAccepted {
        /// This is the call.
        call: CallId,
        /// This is the other player.
        player: PlayerId,
    },
    /// A call is over and nothing came of it.
    CallEnded {
        /// This is the call.
        call: CallId,
        /// This is the other player.
        player: PlayerId,
        /// This says why.
        why: CallEnd,
    },
    /// Host: the server has made an invite ([`Command::MakeInvite`](super::Command::MakeInvite)).
    InviteMade {
        /// The room that it is for has this short code.
        code: String,
        /// This is the allowance, which the invite carries.
        token: InviteToken,
    },
    /// Host: the invites that were out let nobody in any more ([`Command::RevokeInvites`](super::Command::RevokeInvites)).
    InvitesRevoked,
    /// The game watches these rooms from now on ([`Command::WatchRooms`](super::Command::WatchRooms)), and knows none of them
    /// yet. What it watched before does not count any more.
    WatchBegun(RoomQuery),
    /// This has changed among the rooms that the game watches ([`Command::WatchRooms`](super::Command::WatchRooms)).
    RoomsChanged {
        /// These rooms are new, or are like this now; each has its code of its own.
        changed: Vec<RoomSummary>,
        /// The rooms with these codes are gone, or do not pass the conditions any more.
        gone: Vec<String>,
        /// The game knows all the rooms that it wants, at the moment.
        settled: bool,
    },
    /// The game does not watch rooms any more: on its own wish, or since this player is in a room, has logged out or was
    /// refused.
    WatchEnded,
    /// The server has not heard of another member for about 8 s, and keeps its seat.
    PlayerAway {
        /// This is the member.
        player: PlayerInfo,
        /// The seat is kept for this long, from this event on.
        kept: Duration,
    },
    /// The server hears a member again that was away, or the member has taken its seat with a new login.
    PlayerBack {
        /// This is the member.
        player: PlayerInfo,
    },
    /// These players watch the room at present.
    Spectators(Vec<PlayerInfo>),
    /// After a login: this player, which is in no room, has a seat in one. [`Command::TakeSeat`](super::Command::TakeSeat)
    /// takes it, [`Command::LeaveRoom`](super::Command::LeaveRoom) gives it up, and so does any other room.
    SeatKept(SeatKept),
    /// The server answers [`Command::ListBans`](super::Command::ListBans): these may not come back into the room.
    Bans(Vec<RoomBan>),
    /// The server has let a player come back that was put out.
    BanLifted(PlayerId),
    /// A text of this player was handed on.
    ChatSent {
        /// This player's number of the text.
        number: u64,
        /// This says whom it was for.
        to: ChatTo,
        /// This is the text as the others read it.
        text: String,
        /// It went by this way.
        by: ChatWay,
        /// All who are in the room have it, or had it sent by the server. Else the server is not reached and some have not
        /// taken it.
        all: bool,
    },
    /// A text of this player was not handed on.
    ChatRefused {
        /// This says whom it was for.
        to: ChatTo,
        /// This is the text as the game gave it.
        text: String,
        /// This says why; of what the server or the agent refuses it is a
        /// [`ChatFault`](crate::wire::message::ChatFault).
        why: RequestFailure,
    },
    /// Somebody has written something.
    ChatReceived {
        /// This is the writer. The name is the one that the server knows it by, as far as it came by the server.
        from: PlayerInfo,
        /// The writer's number of the text: it counts up while its game runs, also over texts that were not for this player.
        number: u64,
        /// It was for the room or the party that this player is in, or for this player alone.
        to: ChatTo,
        /// This is the text, without what is not to be shown.
        text: String,
        /// It came by this way.
        by: ChatWay,
    },
    /// The operator of the lobby server has switched chat off, or on again.
    ChatSwitched {
        /// There is chat.
        on: bool,
    },
    /// The operator of the lobby server can read what this player said of another one.
    Reported {
        /// This player was reported.
        player: PlayerId,
    },
    /// This player is in a party, which is new or like this now.
    Party(PartyInfo),
    /// This player is in its party no longer.
    PartyEnded(PartyEnd),
    /// A player invites this one to its party: [`PartyRequest::Join`](crate::wire::message::PartyRequest::Join) with the code takes
    /// the invitation.
    PartyInvited {
        /// The party has this code.
        code: String,
        /// This is the player.
        from: PlayerInfo,
        /// It is among the contacts; else it is a stranger.
        contact: bool,
    },
    /// Host: the search of the room for more players ([`Command::Backfill`](super::Command::Backfill)) comes along like this; none:
    /// it is over, since the game has taken it back, the server has refused it, or another player hosts the room.
    Backfill(Option<BackfillStatus>),
}
