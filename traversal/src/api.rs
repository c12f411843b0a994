//! What goes into an [`Agent`](crate::Agent) and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::failure::FailureReport;
use crate::id::{JoinId, PlayerId};
use crate::kept::KeptProfile;
use crate::known_routers::RouterName;
use crate::nat::NatProfile;
use crate::port_mapping::{NoPortMapping, PortMapping, PortMappingState};
use crate::wire::message::{
    LoginRefusal, MatchEnd, Method, PlayerInfo, QueueStatus, QuickMatch, RequestError, Role, RoomEnd,
    RoomInfo, RoomOptions, RoomSummary, RoomTarget,
};

/// A socket of this player, named by the agent. [`SocketId::MAIN`] is there from the start; the others are asked
/// for with [`Output::OpenSocket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

impl SocketId {
    /// The game's socket for IPv4: login, LAN and public paths leave from it.
    pub const MAIN: Self = Self(0);
    /// The same for IPv6, where there is any.
    pub const MAIN_V6: Self = Self(1);
    /// The TCP stream to the lobby server, where UDP does not get through: see [`Output::OpenStream`].
    pub const STREAM: Self = Self(u32::MAX - 1);
}

/// What became of the stream that [`Output::OpenStream`] asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// Connected: datagrams may be sent.
    Open,
    /// Not connected, or no longer.
    Closed,
}

/// What the game wants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Log in to one of these servers (a name's addresses, resolved by the driver), tried in turn; again after
    /// each loss. Replaces an earlier one.
    Connect(Vec<SocketAddr>),
    /// Which addresses are of one lobby server, and the key that it had before. Counts for each [`Command::Connect`] from
    /// then on, where no key is pinned ([`AgentConfig::server_keys`](crate::AgentConfig::server_keys)). Addresses that are
    /// not named are taken for those of one server, whose key is not known.
    KnowServers(Vec<KnownServer>),
    /// Log out and stay out.
    Disconnect,
    /// Open a room.
    HostRoom(RoomOptions),
    /// Enter a room.
    JoinRoom {
        /// Which.
        target: RoomTarget,
        /// If it wants one.
        password: Option<String>,
        /// Keep asking for so long while there is no such room.
        wait: Duration,
    },
    /// Leave. When the host leaves, another member hosts the room, or it closes: see [`RoomOptions::migrate`].
    LeaveRoom,
    /// Ask for the public rooms.
    ListRooms,
    /// Answer an [`Event::JoinRequest`] (M23).
    AnswerJoin {
        /// Whose.
        join: JoinId,
        /// Let in?
        allow: bool,
        /// For the player, when not.
        reason: String,
    },
    /// Host: put a member out.
    Kick {
        /// Whom.
        player: PlayerId,
        /// Told to it.
        reason: String,
        /// It may come back: otherwise not for a day, as long as the room lives.
        rejoin: bool,
    },
    /// Host: new metadata of the room.
    SetMetadata(std::collections::BTreeMap<String, String>),
    /// End the channel to this player; `reason` is told to it.
    ClosePeer {
        /// Whom.
        player: PlayerId,
        /// Told to it.
        reason: String,
    },
    /// The machine's own addresses, at the start and whenever they change (M28).
    LocalAddresses(Vec<IpAddr>),
    /// Play with anybody who wants the same: the server finds them and makes the room.
    QuickMatch(QuickMatch),
    /// No longer.
    CancelQuickMatch,
    /// What the router says about a forwarded port for [`SocketId::MAIN`]; again whenever it was renewed, changed or
    /// lost.
    PortMapping(Result<PortMapping, NoPortMapping>),
    /// What the machine's router calls itself (M38); none: it is not known any more.
    Router(Option<RouterName>),
}

/// A lobby server, see [`Command::KnowServers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownServer {
    /// Where it is.
    pub addresses: Vec<SocketAddr>,
    /// The key that it had when it was first reached; none: the first login trusts whoever answers.
    pub key: Option<[u8; 32]>,
}

/// Which request an [`Event::RequestFailed`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// [`Command::HostRoom`].
    Host,
    /// [`Command::JoinRoom`].
    Join,
    /// [`Command::LeaveRoom`].
    Leave,
    /// [`Command::ListRooms`].
    List,
    /// [`Command::Kick`].
    Kick,
    /// [`Command::SetMetadata`].
    SetMetadata,
    /// [`Command::QuickMatch`].
    QuickMatch,
    /// [`Command::CancelQuickMatch`].
    CancelQuickMatch,
}

/// Why a request did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// The server's answer.
    #[error(transparent)]
    Server(#[from] RequestError),
    /// The server did not answer in time.
    #[error("the lobby server does not answer")]
    Timeout,
    /// Not logged in.
    #[error("not logged in to a lobby server")]
    NotLoggedIn,
    /// The link to the server was lost meanwhile.
    #[error("the link to the lobby server was lost")]
    LobbyLost,
}

/// The state of the link to the lobby server.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum LobbyState {
    /// Not asked to connect.
    #[default]
    Offline,
    /// A login is under way.
    Connecting,
    /// Logged in.
    Online {
        /// This player's id.
        player: PlayerId,
        /// Where the server sees it.
        public: SocketAddr,
        /// The server's address.
        server: SocketAddr,
        /// The server's public key; to be kept for the next login, see [`Command::KnowServers`].
        server_key: [u8; 32],
    },
    /// No link; another try follows.
    Retrying {
        /// Why.
        error: LobbyError,
        /// When the next try is due.
        retry_in: Duration,
    },
    /// No link, and no further try: nothing would change.
    Refused {
        /// Why.
        error: LobbyError,
    },
}

/// Why there is no link to the lobby server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LobbyError {
    /// No answer from any of its addresses.
    #[error("the lobby server does not answer; check its address, and that UDP or TCP gets out to its port")]
    NoAnswer,
    /// Its name has no address.
    #[error("the lobby server's name cannot be resolved: {reason}")]
    Unresolvable {
        /// The resolver's words.
        reason: String,
    },
    /// Its key is not a pinned one.
    #[error("the lobby server's key is not the expected one; it was replaced, or somebody pretends to be it")]
    WrongKey,
    /// Its key is another one than when it was first reached, and none is pinned.
    #[error(
        "the lobby server at {server} has another key than before; it was replaced, or somebody pretends to be it"
    )]
    KeyChanged {
        /// Where it was reached.
        server: SocketAddr,
    },
    /// It speaks another version of our protocol.
    #[error("this game needs protocol {ours}, the server speaks {theirs}; update the older of the two")]
    OtherProtocol {
        /// Ours.
        ours: u16,
        /// The server's newest.
        theirs: u16,
    },
    /// It refused.
    #[error(transparent)]
    Refused(#[from] LoginRefusal),
    /// This player has logged in from another place, with the same identity: the later login counts. Nothing is tried
    /// again, since the two would throw each other out in turn.
    #[error(
        "this player logged in from another place, which counts now; to play at both, give each its own identity"
    )]
    Replaced,
    /// It was there and is gone.
    #[error("the lobby server is gone")]
    Lost,
    /// It says that it stops.
    #[error("the lobby server stopped: {reason}")]
    Stopped {
        /// Its words.
        reason: String,
    },
}

/// A way to another player that carries authenticated data in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PathKind {
    /// Inside one network.
    Lan,
    /// Through the NATs.
    Direct,
    /// The same over IPv6.
    DirectV6,
    /// Through the lobby server.
    Relay,
}

impl PathKind {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::DirectV6 => "direct-v6",
            Self::Relay => "relay",
        }
    }
}

/// A path as the game may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathInfo {
    /// What kind.
    pub kind: PathKind,
    /// The other end; none over the relay.
    pub remote: Option<SocketAddr>,
    /// Local socket it runs on.
    pub socket: SocketId,
    /// Which method won; none over the relay.
    pub method: Option<Method>,
    /// Round trip, as measured.
    pub rtt: Option<Duration>,
    /// From the request (or its arrival) to this path.
    pub since_request: Duration,
    /// Punch datagrams sent for it.
    pub packets_sent: u32,
    /// Distinct destinations.
    pub targets: u32,
    /// Sockets used.
    pub sockets: u32,
}

/// Why the channel to a player ended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The other side closed it.
    #[error("the other player left: {reason}")]
    Closed {
        /// Its words; may be empty.
        reason: String,
    },
    /// The server says so.
    #[error(transparent)]
    Match(#[from] MatchEnd),
    /// Nothing came for too long on any path.
    #[error("the connection was lost")]
    Lost,
    /// This side closed it.
    #[error("closed by this side")]
    Local,
    /// The other side does not hear the game any more, only the driver.
    #[error("the game stopped responding")]
    Stalled,
}

/// What happened.
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
        /// Which.
        room: RoomInfo,
        /// This player is its host.
        hosting: bool,
    },
    /// Metadata changed.
    RoomChanged(RoomInfo),
    /// Who is inside now; the host first.
    Members(Vec<PlayerInfo>),
    /// Out of the room.
    RoomLeft {
        /// Why; none: on request.
        reason: Option<RoomEnd>,
    },
    /// The public rooms.
    Rooms(Vec<RoomSummary>),
    /// A request failed.
    RequestFailed {
        /// Which.
        request: RequestKind,
        /// Why.
        error: RequestFailure,
    },
    /// Host: a player asks to come in; answer with [`Command::AnswerJoin`].
    JoinRequest {
        /// To answer with.
        join: JoinId,
        /// Who.
        player: PlayerInfo,
    },
    /// The server matched this player with another.
    Plan {
        /// With whom.
        peer: PlayerInfo,
        /// This side's part.
        role: Role,
        /// What will be tried.
        methods: Vec<Method>,
        /// This side hosts.
        host: bool,
        /// A pair of a mesh, neither of whom hosts.
        mesh: bool,
    },
    /// The first path to a player stands: game datagrams flow.
    PeerConnected {
        /// Who.
        peer: PlayerInfo,
        /// This side hosts.
        host: bool,
        /// A pair of a mesh, neither of whom hosts.
        mesh: bool,
        /// By which way.
        path: PathInfo,
        /// The other side has shown that it holds the private key of `peer.id`, which takes no word of the server's: who
        /// knows that id from elsewhere knows who this is.
        proven: bool,
        /// The same on both sides, for two players who do not know each other's ids: see
        /// [`PairChannel::code`](crate::wire::pair::PairChannel::code).
        code: String,
    },
    /// The game plays over the relay, and no direct path was found within the deadline: why.
    PeerRelayed {
        /// With whom.
        peer: PlayerInfo,
        /// Why.
        report: FailureReport,
    },
    /// The channel to a player moved to another path.
    PathChanged {
        /// Whose.
        player: PlayerId,
        /// By which way now.
        path: PathInfo,
    },
    /// The channel to a player is gone.
    PeerDisconnected {
        /// Who.
        peer: PlayerInfo,
        /// Why.
        reason: DisconnectReason,
    },
    /// No path to a player within the deadline.
    PeerFailed {
        /// Who.
        peer: PlayerInfo,
        /// Why.
        report: FailureReport,
    },
    /// The host left or was lost, and another member hosts the room. The channel to the old host has ended by now;
    /// those to the new one follow, each with [`Event::Plan`] and [`Event::PeerConnected`].
    HostChanged {
        /// The room as it is now: its `host` and its `epoch` are new.
        room: RoomInfo,
        /// This player is the new host.
        hosting: bool,
        /// Who hosted it before.
        previous: PlayerId,
        /// Who is inside, the new host first, without the old one. As far as is known; [`Event::Members`] follows.
        members: Vec<PlayerInfo>,
    },
    /// A game datagram.
    Datagram {
        /// From whom; authenticated.
        player: PlayerId,
        /// On which channel it was sent, see [`Agent::send_on`](crate::Agent::send_on).
        channel: u8,
        /// Its content.
        payload: Vec<u8>,
    },
    /// A quick match comes along; none: this player waits no longer, since it was matched, gave up or was refused.
    Queue(Option<QueueStatus>),
    /// How it stands with the port that the router forwards changed.
    PortMapping(PortMappingState),
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send a datagram.
    Transmit(Transmit),
    /// Open a socket on any free port of this family; answer with [`Agent::handle_socket`](crate::Agent::handle_socket).
    OpenSocket {
        /// To be called so from now on.
        socket: SocketId,
        /// IPv6?
        v6: bool,
    },
    /// Close a socket that [`Output::OpenSocket`] opened.
    CloseSocket {
        /// Which.
        socket: SocketId,
    },
    /// Connect to this address by TCP, in place of an earlier stream if there is one; say how it went with
    /// [`Agent::handle_stream`](crate::Agent::handle_stream). What is transmitted from [`SocketId::STREAM`] goes
    /// over it, each datagram framed by [`wire::stream`](crate::wire::stream), and what comes in so is given to
    /// [`Agent::handle_datagram`](crate::Agent::handle_datagram) as from this address.
    OpenStream {
        /// To whom.
        to: SocketAddr,
    },
    /// Close the stream, after what waits to be sent. No more is to be heard of it.
    CloseStream,
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From which socket.
    pub socket: SocketId,
    /// To whom.
    pub to: SocketAddr,
    /// With this TTL instead of the system's; only on sockets that the game does not send on yet.
    pub ttl: Option<u8>,
    /// The datagram.
    pub payload: Vec<u8>,
}

/// A punched path that its new owner answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedSocket {
    /// The driver hands this socket over.
    pub socket: SocketId,
    /// The other end.
    pub remote: SocketAddr,
    /// Known to the two players only; 32 bytes.
    pub shared_key: [u8; 32],
}

/// Why a socket cannot be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntoSocketError {
    /// No path to that player.
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
