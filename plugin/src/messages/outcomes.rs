//! What the game is told. Each outcome is a message that systems read from `Update` on in the frame in which it came.

use std::time::Duration;

use bevy_app::App;
use bevy_ecs::message::Message;
use traversal_core::failure::FailureReport;
use traversal_core::id::{JoinId, PlayerId};
use traversal_core::nat::NatProfile;
use traversal_core::wire::message::{
    Method, PlayerInfo, QueueStatus, Role, RoomBan, RoomCursor, RoomEnd, RoomInfo, RoomSummary,
};
use traversal_core::{DisconnectReason, LobbyState, PathInfo, PortMappingState, RequestFailure, RequestKind};

use crate::error::TraversalError;

/// Outcome: the link to the lobby server changed.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct LobbyChanged(pub LobbyState);

/// Outcome: the link to the lobby server failed or was lost.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct LobbyFailed {
    /// This is why; its text is fit for a player.
    pub error: TraversalError,
    /// This is when the next try is due; none: there will be none without a new
    /// [`ConnectLobby`](crate::ConnectLobby).
    pub retry_in: Option<Duration>,
    /// These are the servers that were asked for, as in [`TraversalConfig::lobby`](crate::TraversalConfig::lobby).
    pub servers: Vec<String>,
}

/// Outcome: this player's own NAT is known, or better known.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub struct NatChanged(pub NatProfile);

/// Outcome: the state of port mapping has changed: a port was forwarded or lost, or a test showed whether it helps. The latest is in
/// [`NatStatus`](crate::NatStatus) too.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMappingChanged(pub PortMappingState);

/// Outcome: a room was opened or entered. It comes again after the lobby server came back.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomJoined {
    /// This is the room, as it is now.
    pub room: RoomInfo,
    /// It is true if this player hosts the room.
    pub hosting: bool,
    /// It is true if this player only watches.
    pub spectating: bool,
}

/// Outcome: this player is out of the room.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomLeft {
    /// This is the room as it was last known; `None`: this player never got into one.
    pub room: Option<RoomInfo>,
    /// This is why; `None`: the game asked for it.
    pub reason: Option<RoomEnd>,
}

/// Outcome: the host changed the room's metadata, its lock ([`LockRoom`](crate::LockRoom)) or its teams ([`SetTeams`](crate::SetTeams)).
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
    /// This is the room as it is now: its `host`, and its `epoch`, which counts the changes.
    pub room: RoomInfo,
    /// This player is the new host.
    pub hosting: bool,
    /// This player hosted the room before.
    pub previous: PlayerId,
    /// This is who is inside, the new host first, without the old one. Not all of them need get through to the new
    /// host.
    pub members: Vec<PlayerInfo>,
}

/// Outcome: players came or went. Who is inside now is in [`Members`](crate::Members).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct MembersChanged {
    /// These are the players who came in since the last message.
    pub joined: Vec<PlayerInfo>,
    /// These are the players who went since the last message.
    pub left: Vec<PlayerInfo>,
}

/// Outcome: these are the public rooms that [`ListRooms`](crate::ListRooms) has found.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomsListed {
    /// These are the rooms, in the order that was asked for.
    pub rooms: Vec<RoomSummary>,
    /// There may be more: the next list begins here, as [`RoomQuery::after`](crate::RoomQuery::after). None: these are all.
    pub next: Option<RoomCursor>,
}

/// Outcome: something has changed among the rooms that the game [watches](crate::WatchRooms). All of them are in
/// [`RoomList`](crate::RoomList).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomListChanged {
    /// These rooms are new, or are like this now.
    pub changed: Vec<RoomSummary>,
    /// The rooms with these codes are gone, or are not wanted any more.
    pub gone: Vec<String>,
}

/// Outcome: this player's place in the line for a quick match has changed. `None`: it left the line, since it was matched,
/// gave up or was refused.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueChanged(pub Option<QueueStatus>);

/// Outcome: a quick match with an accept step has found its players. Answer with
/// [`AnswerMatch`](crate::AnswerMatch) within `within_s` seconds. Then [`RoomJoined`] follows; or [`QueueChanged`], since
/// another one does not play, and this player waits on in its place; or [`RequestFailed`], if this one does not play.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchFound(pub traversal_core::wire::message::MatchFound);

/// Outcome: this says who is in which team of the room that a quick match with teams has made. It comes after
/// [`RoomJoined`].
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct QuickTeams(pub Vec<Vec<PlayerId>>);

/// Outcome: a request failed.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RequestFailed {
    /// This kind of request failed.
    pub request: RequestKind,
    /// This is why; its text is fit for a player.
    pub error: RequestFailure,
}

/// Outcome for a host whose room has [`RoomOptions::auto_allow`](crate::RoomOptions::auto_allow) off: a player wants to come in. Answer with
/// [`AllowPeer`](crate::AllowPeer) or [`RefusePeer`](crate::RefusePeer).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct JoinRequested {
    /// An answer names the request to join by this.
    pub join: JoinId,
    /// This is the player who wants to come in.
    pub player: PlayerInfo,
}

/// Outcome for a host: somebody tries passwords of its room. The lobby server slows that down (ten at once and then
/// one in ten seconds for each address); a host may open the room anew with a longer password, or ask for each player
/// ([`RoomOptions::auto_allow`](crate::RoomOptions::auto_allow)). It comes at most once in ten seconds; an honest
/// typing error counts, too.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPasswords {
    /// This is how many were wrong within the last minute, from all addresses together.
    pub in_last_minute: u16,
}

/// Outcome: the operator of the lobby server tells all players of this game something, for example that the server will be
/// updated. It is to be shown to the player.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The text is in one line, of at most 400 characters.
    pub text: String,
}

/// Outcome: the lobby server matched this player with another, and the attempt to connect begins.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PeerPlanned {
    /// This is the player to be connected with.
    pub peer: PlayerInfo,
    /// This side has this role in punching.
    pub role: Role,
    /// These are the methods of punching that will be tried, in this order.
    pub methods: Vec<Method>,
    /// This player hosts, and the other one is a guest.
    pub hosting: bool,
    /// This says whether this is a pair of a mesh, neither of whom hosts.
    pub mesh: bool,
}

/// Outcome: a path to another player stands; game data flows from this frame on.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PeerConnected {
    /// This player is at the other end.
    pub peer: PlayerInfo,
    /// On the host, renet knows that player by this number.
    pub client_id: u64,
    /// This is the way by which it is reached.
    pub path: PathInfo,
    /// This player hosts, and the other one is a guest.
    pub hosting: bool,
    /// This says whether this is a pair of a mesh, neither of whom hosts: there is no renet between them, but
    /// [`Datagrams`](crate::Datagrams).
    pub mesh: bool,
    /// One of the two only watches: this player, or where it hosts, the other one.
    pub spectator: bool,
    /// The other side has shown that it holds the private key of `peer.id`, which takes no word of the lobby server's: who
    /// knows that id from elsewhere (a contact, an invitation) knows who this is.
    pub proven: bool,
    /// These six groups of four digits are the same on both sides. Two players who do not know each other's ids read
    /// them to each other: if they agree, nobody stands between the two, the lobby server neither.
    pub code: String,
}

/// Outcome: the game plays over the relay, and no direct path was found in time. The game need not do anything.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PeerRelayed {
    /// This player is at the other end.
    pub peer: PlayerInfo,
    /// This says why, what was tried, and what may help; its text is fit for a player.
    pub report: FailureReport,
}

/// Outcome: the connection to a player moved to another path. The game need not do anything.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PathChanged {
    /// This player is at the other end.
    pub player: PlayerId,
    /// This is the way by which it is reached from now on.
    pub path: PathInfo,
}

/// Outcome: another length of datagrams goes in one piece to a player. The game need not do anything: longer ones are split
/// and joined, and lost whole if a part is lost: where 10 % of the packets are lost, so are 19 % of the datagrams in two
/// parts. A game that minds keeps to `size`, which is in [`Peers`](crate::Peers), too (`path.size`).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeChanged {
    /// This player is at the other end.
    pub player: PlayerId,
    /// This is the longest datagram of the game's that goes in one piece, in bytes; 498 to
    /// [`MAX_DATAGRAM`](crate::MAX_DATAGRAM).
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
    /// This is the player of whom nothing is heard.
    pub peer: PlayerInfo,
    /// On the host, renet knows that player by this number, as in [`PeerConnected`].
    pub client_id: u64,
}

/// Outcome: a player who was away ([`PeerAway`]) is back, and plays on.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PeerBack {
    /// This is the player who is heard again.
    pub peer: PlayerInfo,
    /// On the host, renet knows that player by this number, as in [`PeerConnected`].
    pub client_id: u64,
    /// This is how long nothing was heard of it.
    pub away: Duration,
}

/// Outcome: the connection to a player is gone. It comes once for each [`PeerConnected`].
#[derive(Message, Clone, Debug, PartialEq)]
pub struct PeerDisconnected {
    /// This is the player at the other end, who is gone.
    pub peer: PlayerInfo,
    /// On the host, renet knows that player by this number, as in [`PeerConnected`].
    pub client_id: u64,
    /// This is why; its text is fit for a player.
    pub reason: DisconnectReason,
}

/// Outcome: the lobby server has not heard of another member for about 8 s, connected to this player or not, and keeps its
/// seat ([`RoomOptions::keep_seat`](crate::RoomOptions::keep_seat)). Then comes [`PlayerBack`], or the member is out
/// ([`MembersChanged`]). Who is away is in [`RoomSeats`](crate::RoomSeats), too. Of a connected player [`PeerAway`] tells
/// sooner.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PlayerAway {
    /// This is the member.
    pub player: PlayerInfo,
    /// renet on the host knows the member by this number, now and when it is back.
    pub client_id: u64,
    /// The seat is kept for this long, from now on.
    pub kept: Duration,
}

/// Outcome: a member who was away ([`PlayerAway`]) has its seat again, in the same session or with a new login.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PlayerBack {
    /// This is the member.
    pub player: PlayerInfo,
    /// renet on the host knows the member by this number, as before.
    pub client_id: u64,
}

/// Outcome: these players watch the room now; they are in [`RoomSeats`](crate::RoomSeats), too.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct SpectatorsChanged(pub Vec<PlayerInfo>);

/// Outcome of a login: this player was in a room (its program ended without leaving it), and has a seat there still. Answer
/// with [`TakeSeat`](crate::TakeSeat), or give it up with [`LeaveRoom`](crate::LeaveRoom). The player's identity has to be the
/// same as before, see [`IdentitySource`](crate::IdentitySource).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct SeatKept {
    /// The room has this name.
    pub name: String,
    /// The room has this short code.
    pub code: String,
    /// This player hosts the room.
    pub hosting: bool,
    /// The seat is kept for this long, from now on.
    pub kept: Duration,
}

/// Outcome: this is the room's ban list, as it was asked for with [`ListBans`](crate::ListBans).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct BansListed(pub Vec<RoomBan>);

/// Outcome: the room's ban of this player was lifted ([`LiftBan`](crate::LiftBan)).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanLifted(pub PlayerId);

/// Outcome: no path to a player was found.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct TraversalFailed {
    /// This is the player to whom no path was found.
    pub peer: PlayerInfo,
    /// This says why, what was tried, and what may help; its text is fit for a player.
    pub report: FailureReport,
}

/// Registers all outcomes.
pub(crate) fn add(app: &mut App) {
    app.add_message::<LobbyChanged>()
        .add_message::<LobbyFailed>()
        .add_message::<NatChanged>()
        .add_message::<PortMappingChanged>()
        .add_message::<RoomJoined>()
        .add_message::<RoomLeft>()
        .add_message::<RoomChanged>()
        .add_message::<HostMigrated>()
        .add_message::<MembersChanged>()
        .add_message::<RoomsListed>()
        .add_message::<RoomListChanged>()
        .add_message::<QueueChanged>()
        .add_message::<MatchFound>()
        .add_message::<QuickTeams>()
        .add_message::<RequestFailed>()
        .add_message::<JoinRequested>()
        .add_message::<WrongPasswords>()
        .add_message::<Announcement>()
        .add_message::<PeerPlanned>()
        .add_message::<PeerConnected>()
        .add_message::<PeerRelayed>()
        .add_message::<PathChanged>()
        .add_message::<SizeChanged>()
        .add_message::<PeerAway>()
        .add_message::<PeerBack>()
        .add_message::<PeerDisconnected>()
        .add_message::<TraversalFailed>()
        .add_message::<PlayerAway>()
        .add_message::<PlayerBack>()
        .add_message::<SpectatorsChanged>()
        .add_message::<SeatKept>()
        .add_message::<BansListed>()
        .add_message::<BanLifted>();
}
