//! What goes into an [`Agent`](crate::Agent) and what comes out of it: here sockets, the game's commands and the orders to the
//! driver; `event` has what happened, `lobby` the words about the link to the server and about requests.

mod chat;
mod event;
mod lobby;
mod members;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use chat::ChatWay;
pub use event::{DisconnectReason, Event, LinkQuality, PathInfo, PathKind, RoomsFound};
pub use lobby::{LobbyError, LobbyState, RequestFailure, RequestKind};
pub use members::{Countdown, MemberDiff};

use crate::id::{CallId, JoinId, PlayerId};
use crate::known_routers::RouterName;
use crate::port_mapping::{NoPortMapping, PortMapping};
use crate::secret::Secret;
use crate::wire::message::{
    CallAnswer, Changes, ChatTo, CountdownRule, InviteTerms, InviteToken, MemberChanges, PartyRequest,
    QuickMatch, Rejoin, RoomOptions, RoomQuery, RoomTarget, Status,
};

/// This names a socket of the player. The agent draws the names. [`SocketId::MAIN`] is there from the start; the others
/// are asked for with [`Output::OpenSocket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

impl SocketId {
    /// This is the game's socket for IPv4: login, LAN and public paths leave from it.
    pub const MAIN: Self = Self(0);
    /// This is the game's socket for IPv6, where there is any.
    pub const MAIN_V6: Self = Self(1);
    /// This is the TCP stream to the lobby server, where UDP does not get through: see [`Output::OpenStream`].
    pub const STREAM: Self = Self(u32::MAX - 1);
}

/// This says what became of the stream that [`Output::OpenStream`] asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// The stream is connected: datagrams may be sent.
    Open,
    /// It is not connected, or no longer.
    Closed,
}

/// This says how a stream is to be had, see [`Output::OpenStream`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamBy {
    /// By TCP to the server's port; where that does not come about soon, by TLS beside it. The first that stands is the
    /// stream, and the other one is given up.
    TcpOrTls,
    /// By TLS alone: TCP came about before, and brought nothing.
    Tls,
}

/// This is what the game wants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Log in to one of these servers (a name's addresses, resolved by the driver), tried in turn; again after
    /// each loss. Replaces an earlier one.
    Connect(Vec<SocketAddr>),
    /// The names of the servers of [`Command::Connect`] lead to these addresses by now (dynamic DNS, a server that was moved).
    /// A login that is under way, and each one to come, goes there; a session that stands, the room and its players stay.
    ServersMoved(Vec<SocketAddr>),
    /// This tells which addresses are of one lobby server, and the key that it had before. It counts for each
    /// [`Command::Connect`] from then on, where no key is pinned
    /// ([`AgentConfig::server_keys`](crate::AgentConfig::server_keys)). Addresses that are not named are taken for
    /// those of one server, whose key is not known.
    KnowServers(Vec<KnownServer>),
    /// The game wants to log out and stay out.
    Disconnect,
    /// The game wants to open a room.
    HostRoom(RoomOptions),
    /// The game wants to enter a room.
    JoinRoom {
        /// This is the room to be entered.
        target: RoomTarget,
        /// This is the room's password, if the room wants one.
        password: Option<Secret<String>>,
        /// The player keeps asking for this long while there is no such room.
        wait: Duration,
    },
    /// The game wants to leave the room. When the host leaves, another member hosts it, or it closes: see
    /// [`RoomOptions::migrate`].
    LeaveRoom,
    /// The game asks for public rooms; [`Event::Rooms`] answers.
    ListRooms(RoomQuery),
    /// The game answers an [`Event::JoinRequest`] (M23).
    AnswerJoin {
        /// This is the question that is answered, from [`Event::JoinRequest`].
        join: JoinId,
        /// This says whether the player may come in.
        allow: bool,
        /// Told to the player who is not let in.
        reason: String,
    },
    /// Host: put a member out.
    Kick {
        /// This is the member to be put out.
        player: PlayerId,
        /// That player reads this reason; it is cut to 160 characters and 200 bytes.
        reason: String,
        /// This says when it may come back.
        rejoin: Rejoin,
    },
    /// Host: set new metadata of the room.
    SetMetadata(std::collections::BTreeMap<String, String>),
    /// End the channel to this player; `reason` is told to it.
    ClosePeer {
        /// This player is at the other end.
        player: PlayerId,
        /// That player reads this reason; it is cut to 160 characters and 200 bytes.
        reason: String,
    },
    /// The machine's own addresses are these: at the start, and whenever they change (M28).
    LocalAddresses(Vec<IpAddr>),
    /// Play with anybody who wants the same: the server finds them and makes the room.
    QuickMatch(QuickMatch),
    /// This player does not want a quick match any more.
    CancelQuickMatch,
    /// Says whether this player plays a match that was found ([`Event::MatchFound`]). Who says no waits no longer.
    AnswerMatch {
        /// It is this match.
        proposal: u64,
        /// The player plays.
        accept: bool,
    },
    /// This is what the router says about a forwarded port for [`SocketId::MAIN`]; it comes again whenever that was
    /// renewed, changed or lost.
    PortMapping(Result<PortMapping, NoPortMapping>),
    /// This is what the machine's router calls itself (M38); `None`: it is not known any more.
    Router(Option<RouterName>),
    /// Member: change what this player says of itself in its room. Answered by [`Event::MemberChanged`] or
    /// [`Event::RequestFailed`].
    SetMember(MemberChanges),
    /// Host: change properties of the room. Answered by [`Event::PropertyChanged`] for each that is another one now.
    SetProperties(Changes),
    /// Host: let nobody new in, or do again. Answered by [`Event::RoomChanged`].
    LockRoom(bool),
    /// Host: have teams of these sizes. Answered by [`Event::RoomChanged`].
    SetTeams(Vec<u8>),
    /// Host: have a countdown begin that all see end at the same moment. Answered by [`Event::CountdownStarted`].
    StartCountdown {
        /// The countdown takes this long, at most ten minutes.
        after: Duration,
        /// This cancels it.
        rule: CountdownRule,
    },
    /// Host: stop the countdown.
    CancelCountdown,
    /// Host: make this member host, and stay as a member. Answered by [`Event::HostChanged`].
    HandOver {
        /// This member is to be host.
        player: PlayerId,
    },
    /// These players, and nobody else, may know that this one is on line, and may call it (M35). There are at most
    /// [`MAX_CONTACTS`](crate::wire::message::MAX_CONTACTS). Of those who allow this player in turn
    /// [`Event::Presence`] tells. The list counts for all logins to come.
    SetContacts(Vec<PlayerId>),
    /// Contacts see this player so; `playing` is set by the agent.
    SetStatus(Status),
    /// Call a player to play with it (M36). [`Event::Calling`] and [`Event::CallRinging`] follow, and in the end
    /// [`Event::CallAccepted`] or [`Event::CallEnded`].
    Call(PlayerId),
    /// The game answers an [`Event::IncomingCall`].
    AnswerCall {
        /// This call is answered.
        call: CallId,
        /// This is the answer.
        answer: CallAnswer,
    },
    /// The player who called wants it no longer.
    HangUp(CallId),
    /// Host: make an invite to the room. Answered by [`Event::InviteMade`].
    MakeInvite(InviteTerms),
    /// Host: end all invites to the room.
    RevokeInvites,
    /// The game wants to enter a room by an invite.
    JoinInvited {
        /// The room has this short code; empty: it is the only public room of this game at the server.
        code: String,
        /// This is the host's allowance, if the invite has one.
        token: Option<InviteToken>,
        /// The player keeps asking for this long while there is no such room.
        wait: Duration,
    },
    /// The game wants to know public rooms and each change among them ([`Event::RoomsChanged`]), until this player enters a
    /// room or wants it no more. After a new login the server is asked anew.
    WatchRooms {
        /// These are wanted, at most [`MAX_WATCHED`](crate::wire::message::MAX_WATCHED).
        query: RoomQuery,
        /// News come with at least this pause between them: 0.5 s to 65 s.
        pause: Duration,
    },
    /// The game does not want to hear of rooms any more.
    StopWatching,
    /// The game wants to watch a room: this player has no seat in it, and only receives from its host.
    Spectate {
        /// This is the room to be watched.
        target: RoomTarget,
        /// This is the room's password, if the room wants one.
        password: Option<Secret<String>>,
        /// The player keeps asking for this long while there is no such room.
        wait: Duration,
    },
    /// The game takes the seat that was kept for this player ([`Event::SeatKept`]).
    TakeSeat,
    /// Host: ask who may not come back into the room.
    ListBans,
    /// Host: let a player come back that was put out.
    LiftBan {
        /// This is the player.
        player: PlayerId,
    },
    /// This player writes something. Answered by [`Event::ChatSent`] or [`Event::ChatRefused`]. Five go at once, then one a
    /// second; at most eight wait.
    Say {
        /// This says whom it is for.
        to: ChatTo,
        /// This is the text: 1 to 256 characters, at most 448 bytes, none of them invisible
        /// ([`text::CHAT`](crate::text::CHAT)).
        text: String,
    },
    /// This player tells the operator of the server of another one. Answered by [`Event::Reported`] or
    /// [`Event::RequestFailed`].
    Report {
        /// This player is reported.
        player: PlayerId,
        /// This is what the reporter says: at most 400 characters and 800 bytes ([`text::REPORT`](crate::text::REPORT)).
        text: String,
    },
    /// The game wants something of the player's party. Answered by [`Event::Party`], [`Event::PartyEnded`] or
    /// [`Event::RequestFailed`]. [`PartyRequest::Resume`] is the agent's own, and does nothing here.
    Party(PartyRequest),
    /// Host: have the room look for players who wait for this quick match, whenever it has a free place; `None`: no longer.
    /// Answered by [`Event::Backfill`] or [`Event::RequestFailed`]. It is said again after each new login, until another player
    /// hosts the room.
    Backfill(Option<QuickMatch>),
}

/// This is a lobby server that the player has been logged in at before, see [`Command::KnowServers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownServer {
    /// These addresses led to the server when it was last used.
    pub addresses: Vec<SocketAddr>,
    /// This is the key that it had when it was first reached; `None`: the first login trusts whoever answers.
    pub key: Option<[u8; 32]>,
}

/// This is what the driver is to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// The driver sends a datagram.
    Transmit(Transmit),
    /// Open a socket on any free port of this family; answer with [`Agent::handle_socket`](crate::Agent::handle_socket).
    OpenSocket {
        /// This is the name by which the socket is called from now on.
        socket: SocketId,
        /// This says whether the socket is one for IPv6; else it is one for IPv4.
        v6: bool,
    },
    /// Close a socket that [`Output::OpenSocket`] opened.
    CloseSocket {
        /// This is the socket to be closed.
        socket: SocketId,
    },
    /// Connect to this address by TCP, in place of an earlier stream if there is one; say how it went with
    /// [`Agent::handle_stream`](crate::Agent::handle_stream). What is transmitted from [`SocketId::STREAM`] goes
    /// over it, each datagram framed by [`wire::stream`](crate::wire::stream), and what comes in so is given to
    /// [`Agent::handle_datagram`](crate::Agent::handle_datagram) as from this address.
    ///
    /// Some networks let out nothing but TLS to port 443: there the stream is one of TLS, to [`TLS_PORT`](crate::TLS_PORT) at
    /// the same IP address, and everything else stays as it is. Any certificate will do, since it is not TLS that the
    /// session's secrecy comes from, but what is sealed inside. A driver without TLS counts it as closed.
    OpenStream {
        /// The lobby server has this address.
        to: SocketAddr,
        /// This says by which protocols it is tried.
        by: StreamBy,
    },
    /// Close the stream, after what waits to be sent. No more is to be heard of it.
    CloseStream,
}

/// This is a datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// This is the socket that it leaves from.
    pub socket: SocketId,
    /// This is the address that it goes to.
    pub to: SocketAddr,
    /// This is the TTL that it has instead of the system's; only on sockets that the game does not send on yet.
    pub ttl: Option<u8>,
    /// These bytes are the datagram, as they go out.
    pub payload: Vec<u8>,
}

/// This is a punched path that leaves the agent: its new owner answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedSocket {
    /// This socket carries the path; the driver hands it over.
    pub socket: SocketId,
    /// This address is the other player's end of the path.
    pub remote: SocketAddr,
    /// These 32 bytes are known to the two players only.
    pub shared_key: [u8; 32],
}

/// This says why a socket cannot be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntoSocketError {
    /// There is no path to that player.
    #[error("there is no connection to that player")]
    NotConnected,
    /// Only the relay leads there.
    #[error("that player is reached over the relay, not by a direct path")]
    Relayed,
    /// Other players are reached by the same socket.
    #[error("the socket serves other players too")]
    SharedSocket,
    /// Both NATs have a port for each destination: what the other side sends comes from elsewhere than it is reached at,
    /// which other stacks take for a stranger's.
    #[error("the two directions use different ports, which only this game's own transport follows")]
    Crossed,
}
