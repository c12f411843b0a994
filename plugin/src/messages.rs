//! What the game asks for, and what it is told. Nothing here happens once per packet.

use std::collections::BTreeMap;
use std::time::Duration;

use bevy_ecs::message::Message;
use traversal_core::failure::FailureReport;
use traversal_core::id::{JoinId, PlayerId};
use traversal_core::nat::NatProfile;
use traversal_core::wire::message::{
    Method, PlayerInfo, QueueStatus, Role, RoomEnd, RoomInfo, RoomOptions, RoomSummary, RoomTarget, Topology,
};
use traversal_core::{
    DisconnectReason, LobbyState, PathInfo, PortMappingState, RequestFailure, RequestKind, Secret,
};

use crate::config::ServerKey;
use crate::error::TraversalError;

/// Request: log in to a lobby server, instead of the present one if there is any, whose room is left. Not needed for
/// the servers in [`TraversalConfig::lobby`](crate::TraversalConfig::lobby).
#[derive(Message, Clone, Debug, Default, PartialEq)]
pub struct ConnectLobby {
    /// As in [`TraversalConfig::lobby`](crate::TraversalConfig::lobby), which it replaces.
    pub servers: Vec<String>,
    /// Replaces the name in the configuration; ends connections that stand.
    pub name: Option<String>,
    /// Replaces the token in the configuration; ends connections that stand.
    pub token: Option<Secret<Vec<u8>>>,
    /// Replaces the keys in the configuration; ends connections that stand.
    pub server_keys: Option<Vec<ServerKey>>,
}

impl ConnectLobby {
    /// To one server, `host:port` or `host`.
    pub fn to(server: impl Into<String>) -> Self {
        Self { servers: vec![server.into()], ..Self::default() }
    }
}

/// Request: leave the room, log out and stay out.
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisconnectLobby;

/// Request: open a room and host the game. Answered by [`RoomJoined`] or [`RequestFailed`].
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRoom(pub RoomOptions);

/// Request: enter a room. Answered by [`RoomJoined`] or [`RequestFailed`]; then [`PeerConnected`] or
/// [`TraversalFailed`] follow.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct JoinRoom {
    /// Which.
    pub target: RoomTarget,
    /// If it wants one.
    pub password: Option<Secret<String>>,
    /// Keep asking for so long while there is no such room.
    pub wait: Duration,
}

impl JoinRoom {
    /// The room of this name, at once.
    pub fn name(name: impl Into<String>) -> Self {
        Self { target: RoomTarget::Name(name.into()), password: None, wait: Duration::ZERO }
    }

    /// The room of this short code, at once.
    pub fn code(code: impl Into<String>) -> Self {
        Self { target: RoomTarget::Code(code.into()), password: None, wait: Duration::ZERO }
    }
}

/// Request: leave the room. When the host leaves, another member hosts the room (see [`HostMigrated`]), or it closes
/// where [`RoomOptions::migrate`] is off. Answered by [`RoomLeft`].
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaveRoom;

/// Request: the public rooms of this game. Answered by [`RoomsListed`].
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListRooms;

/// Request of a host: let this player in, see [`JoinRequested`].
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowPeer {
    /// From [`JoinRequested`].
    pub join: JoinId,
}

/// Request of a host: do not let this player in, see [`JoinRequested`].
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RefusePeer {
    /// From [`JoinRequested`].
    pub join: JoinId,
    /// Told to the player; it is cut to 160 characters and 200 bytes.
    pub reason: String,
}

/// Request of a host: put a member out of the room and disconnect it. While the lobby server is away it is only
/// disconnected.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct KickPeer {
    /// Whom.
    pub player: PlayerId,
    /// Told to the player.
    pub reason: String,
    /// It may come back. Otherwise the server does not let it in again for a day, as long as the room lives, whoever
    /// hosts it then.
    pub rejoin: bool,
}

/// Request of a host: new metadata of the room, keys and values at most 384 bytes together. Answered by [`RoomChanged`]
/// or [`RequestFailed`].
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRoomMetadata(pub BTreeMap<String, String>);

/// Request: end the connection to one player; the room stays as it is.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct ClosePeer {
    /// Whom.
    pub player: PlayerId,
    /// Told to the player.
    pub reason: String,
}

/// Request: play with anybody who wants the same. The server gathers the players, those who waited longest first, and
/// puts them into a room; the one whom the others reach best hosts. Answered by [`QueueChanged`] while it comes along,
/// then by [`RoomJoined`] as with any room; or by [`RequestFailed`].
///
/// ```
/// use bevy_traversal::{QuickMatch, Topology};
///
/// let duel = QuickMatch::of("duel", 2);
/// let brawl = QuickMatch { topology: Topology::Mesh, ..QuickMatch::of("brawl", 4) };
/// # assert_ne!(duel, brawl);
/// ```
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct QuickMatch {
    /// What is to be played: only players who name the same meet. At most 48 bytes; may be empty.
    pub mode: String,
    /// How many players, with this one: 2..=64, in a mesh 2..=16. Only players who want as many meet.
    pub players: u16,
    /// Who is connected to whom.
    pub topology: Topology,
}

impl QuickMatch {
    /// So many players around a host.
    pub fn of(mode: impl Into<String>, players: u16) -> Self {
        Self { mode: mode.into(), players, topology: Topology::Star }
    }
}

impl From<QuickMatch> for traversal_core::wire::message::QuickMatch {
    fn from(QuickMatch { mode, players, topology }: QuickMatch) -> Self {
        Self { mode, players, topology }
    }
}

/// Request: wait for a quick match no longer. Answered by [`QueueChanged`].
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelQuickMatch;

/// Outcome: the link to the lobby server changed.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct LobbyChanged(pub LobbyState);

/// Outcome: the link to the lobby server failed or was lost.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct LobbyFailed {
    /// Why; its text is fit for a player.
    pub error: TraversalError,
    /// When the next try is due; none: there will be none without a new [`ConnectLobby`].
    pub retry_in: Option<Duration>,
}

/// Outcome: the own NAT is known, or better known.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub struct NatChanged(pub NatProfile);

/// Outcome: the router forwards a port, or no longer, or it was found out whether that helps. The latest is in
/// [`NatStatus`](crate::NatStatus) too.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMappingChanged(pub PortMappingState);

/// Outcome: a room was opened or entered; again after the lobby server came back.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomJoined {
    /// Which.
    pub room: RoomInfo,
    /// This player is its host.
    pub hosting: bool,
}

/// Outcome: out of the room.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomLeft {
    /// Which, as last seen.
    pub room: Option<RoomInfo>,
    /// Why; none: on request.
    pub reason: Option<RoomEnd>,
}

/// Outcome: the room's metadata changed.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomChanged(pub RoomInfo);

/// Outcome: the host left or was lost, and another member hosts the room. The game goes on if the new host carries its
/// state over; see the [crate's documentation](crate#when-the-host-leaves) for how.
///
/// In this order, each in a frame of its own or several in one:
/// 1. [`PeerDisconnected`] about the old host. The room is still there ([`in_room`](crate::in_room)), and renet's client
///    is disconnected. If no other host is found there is a [`RoomLeft`] instead of what follows.
/// 2. `HostMigrated`. On the new host `RenetServer` is there and `RenetClient` gone when the systems of this frame's
///    `Update` run, and [`hosting`](crate::hosting) holds.
/// 3. [`PeerPlanned`] and [`PeerConnected`]: on the new host for each member that gets through to it, on the others for
///    the new host, with a fresh `RenetClient`.
///
/// [`MembersChanged`] says that the old host is out, with the message or later. One that was away, and replaced meanwhile, is
/// a member when it is back: it reads a [`PeerDisconnected`] for each of its guests, then this message with itself as
/// `previous`, its `RenetServer` is gone, and a [`PeerConnected`] to the new host follows.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct HostMigrated {
    /// The room as it is now: its `host`, and its `epoch`, which counts the changes.
    pub room: RoomInfo,
    /// This player is the new host.
    pub hosting: bool,
    /// Who hosted it before.
    pub previous: PlayerId,
    /// Who is inside, the new host first, without the old one. Not all of them need get through to the new host.
    pub members: Vec<PlayerInfo>,
}

/// Outcome: players came or went. Who is inside now is in [`Members`](crate::Members).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct MembersChanged {
    /// Who came.
    pub joined: Vec<PlayerInfo>,
    /// Who went.
    pub left: Vec<PlayerInfo>,
}

/// Outcome: the public rooms of this game.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomsListed(pub Vec<RoomSummary>);

/// Outcome: the quick match that this player waits for comes along; none: it waits no longer, since it was matched,
/// gave up or was refused.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueChanged(pub Option<QueueStatus>);

/// Outcome: a request failed.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RequestFailed {
    /// Which.
    pub request: RequestKind,
    /// Why; its text is fit for a player.
    pub error: RequestFailure,
}

/// Outcome for a host whose room has [`RoomOptions::auto_allow`] off: a player wants to come in. Answer with
/// [`AllowPeer`] or [`RefusePeer`].
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct JoinRequested {
    /// To answer with.
    pub join: JoinId,
    /// Who.
    pub player: PlayerInfo,
}

/// Outcome for a host: somebody tries passwords of its room. The lobby server slows that down (ten at once and then one in
/// ten seconds for each address); a host may open the room anew with a longer password, or ask for each player
/// ([`RoomOptions::auto_allow`]). At most once in ten seconds; an honest typing error counts, too.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPasswords {
    /// How many were wrong within the last minute, from all addresses together.
    pub in_last_minute: u16,
}

/// Outcome: the lobby server matched this player with another, and the attempt to connect begins.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PeerPlanned {
    /// With whom.
    pub peer: PlayerInfo,
    /// This side's part in punching.
    pub role: Role,
    /// What will be tried.
    pub methods: Vec<Method>,
    /// This side hosts.
    pub host: bool,
    /// A pair of a mesh, neither of whom hosts.
    pub mesh: bool,
}

/// Outcome: a path to another player stands; game data flows from this frame on.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PeerConnected {
    /// Who.
    pub peer: PlayerInfo,
    /// renet's name for that player on the host.
    pub client_id: u64,
    /// By which way.
    pub path: PathInfo,
    /// This side hosts.
    pub host: bool,
    /// A pair of a mesh, neither of whom hosts: there is no renet between them, but [`Datagrams`](crate::Datagrams).
    pub mesh: bool,
    /// The other side has shown that it holds the private key of `peer.id`, which takes no word of the lobby server's: who
    /// knows that id from elsewhere (a contact, an invitation) knows who this is.
    pub proven: bool,
    /// Six groups of four digits, the same on both sides. Two players who do not know each other's ids read them to each
    /// other: if they agree, nobody stands between the two, the lobby server neither.
    pub code: String,
}

/// Outcome: the game plays over the relay, and no direct path was found in time. The game need not do anything.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PeerRelayed {
    /// With whom.
    pub peer: PlayerInfo,
    /// Why, what was tried, and what may help; its text is fit for a player.
    pub report: FailureReport,
}

/// Outcome: the connection to a player moved to another path. The game need not do anything.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PathChanged {
    /// Whose.
    pub player: PlayerId,
    /// By which way now.
    pub path: PathInfo,
}

/// Outcome: another length of datagrams goes in one piece to a player. The game need not do anything: longer ones are split
/// and joined, and lost whole if a part is lost: where 10 % of the packets are lost, so are 19 % of the datagrams in two
/// parts. A game that minds keeps to `size`, which is in [`Peers`](crate::Peers), too (`path.size`).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeChanged {
    /// The player at the other end.
    pub player: PlayerId,
    /// The longest datagram of the game's that goes in one piece, in bytes; 498 to [`MAX_DATAGRAM`](crate::MAX_DATAGRAM).
    pub size: usize,
}

/// Outcome: nothing is heard of a connected player any more, for 4 s by default (`path_timeout` of
/// [`TraversalConfig::agent`](crate::TraversalConfig)): it sleeps, its router starts anew, it changes its network. The game
/// need not do anything; it may say so, or pause. Both sides read this at about the same time.
///
/// Then comes one of these, within the minute of `away_timeout`:
/// - [`PeerBack`]: the same connection goes on, with the same `client_id`. renet's connection was kept, and no reliable message
///   is lost or doubled. What is unreliable and was sent meanwhile is dropped, and so are [`Datagrams`](crate::Datagrams).
/// - [`PeerDisconnected`], with the reason; and [`PeerConnected`] after it where the two could be connected anew, with a fresh
///   connection of renet's.
///
/// renet keeps what is reliable in the memory of its channel
/// ([`ChannelConfig::max_memory_usage_bytes`](bevy_renet::renet::ChannelConfig), 5 MiB by default), and ends the connection
/// when that is full: a game that sends up to 87 kB of it a second has room for a minute.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PeerAway {
    /// The player of whom nothing is heard.
    pub peer: PlayerInfo,
    /// As in [`PeerConnected`].
    pub client_id: u64,
}

/// Outcome: a player who was away ([`PeerAway`]) is back, and plays on.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PeerBack {
    /// The player who is heard again.
    pub peer: PlayerInfo,
    /// As in [`PeerConnected`].
    pub client_id: u64,
    /// How long nothing was answered.
    pub away: std::time::Duration,
}

/// Outcome: the connection to a player is gone. One per [`PeerConnected`].
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PeerDisconnected {
    /// Who.
    pub peer: PlayerInfo,
    /// As in [`PeerConnected`].
    pub client_id: u64,
    /// Why; its text is fit for a player.
    pub reason: DisconnectReason,
}

/// Outcome: no path to a player was found.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct TraversalFailed {
    /// Who.
    pub peer: PlayerInfo,
    /// Why, what was tried, and what may help; its text is fit for a player.
    pub report: FailureReport,
}

/// Registers them all.
pub(crate) fn add(app: &mut bevy_app::App) {
    app.add_message::<ConnectLobby>()
        .add_message::<DisconnectLobby>()
        .add_message::<HostRoom>()
        .add_message::<JoinRoom>()
        .add_message::<LeaveRoom>()
        .add_message::<ListRooms>()
        .add_message::<AllowPeer>()
        .add_message::<RefusePeer>()
        .add_message::<KickPeer>()
        .add_message::<SetRoomMetadata>()
        .add_message::<ClosePeer>()
        .add_message::<QuickMatch>()
        .add_message::<CancelQuickMatch>()
        .add_message::<QueueChanged>()
        .add_message::<LobbyChanged>()
        .add_message::<LobbyFailed>()
        .add_message::<NatChanged>()
        .add_message::<PortMappingChanged>()
        .add_message::<RoomJoined>()
        .add_message::<RoomLeft>()
        .add_message::<RoomChanged>()
        .add_message::<HostMigrated>()
        .add_message::<MembersChanged>()
        .add_message::<RoomsListed>()
        .add_message::<RequestFailed>()
        .add_message::<JoinRequested>()
        .add_message::<WrongPasswords>()
        .add_message::<PeerPlanned>()
        .add_message::<PeerConnected>()
        .add_message::<PeerRelayed>()
        .add_message::<PathChanged>()
        .add_message::<SizeChanged>()
        .add_message::<PeerAway>()
        .add_message::<PeerBack>()
        .add_message::<PeerDisconnected>()
        .add_message::<TraversalFailed>();
}
