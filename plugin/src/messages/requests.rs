//! What the game asks for. Each request is written as a message and handed over at the end of the frame.

use std::collections::BTreeMap;
use std::time::Duration;

use bevy_app::App;
use bevy_ecs::message::Message;
use traversal_core::Secret;
use traversal_core::id::{JoinId, PlayerId};
use traversal_core::wire::message::{
    MIN_WATCH_PAUSE_MS, NumberRule, QuickRules, Rejoin, RoomOptions, RoomQuery, RoomTarget, TextRule,
    Topology,
};

use crate::config::ServerKey;

/// Request: log in to a lobby server, instead of the present one if there is any, whose room is left. It is not
/// needed for the servers in [`TraversalConfig::lobby`](crate::TraversalConfig::lobby).
#[derive(Message, Clone, Debug, Default, PartialEq)]
pub struct ConnectLobby {
    /// These are the servers, as in [`TraversalConfig::lobby`](crate::TraversalConfig::lobby), which they replace.
    pub servers: Vec<String>,
    /// Replaces the name in the configuration; ends connections that stand.
    pub name: Option<String>,
    /// Replaces the token in the configuration; ends connections that stand.
    pub token: Option<Secret<Vec<u8>>>,
    /// Replaces the keys in the configuration; ends connections that stand.
    pub server_keys: Option<Vec<ServerKey>>,
}

impl ConnectLobby {
    /// Makes a request to log in to one server, `host:port` or `host`.
    pub fn to(server: impl Into<String>) -> Self {
        Self { servers: vec![server.into()], ..Self::default() }
    }
}

/// Request: leave the room, log out and stay out.
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisconnectLobby;

/// Request: open a room and host the game. It is answered by [`RoomJoined`](crate::RoomJoined) or
/// [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRoom(pub RoomOptions);

/// Request: enter a room. It is answered by [`RoomJoined`](crate::RoomJoined) or
/// [`RequestFailed`](crate::RequestFailed); then [`PeerConnected`](crate::PeerConnected) or
/// [`TraversalFailed`](crate::TraversalFailed) follow.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct JoinRoom {
    /// This room is to be entered, by name or by code.
    pub target: RoomTarget,
    /// The room has this password; `None` where it has none.
    pub password: Option<Secret<String>>,
    /// The plugin keeps asking for this long while there is no such room.
    pub wait: Duration,
    /// This player only watches ([`RoomOptions::spectators`](crate::RoomOptions::spectators)): it has no seat, never hosts, and only
    /// receives. See [`spectating`](crate::spectating).
    pub spectate: bool,
}

impl JoinRoom {
    /// Makes a request to enter the room of this name, at once.
    pub fn name(name: impl Into<String>) -> Self {
        Self { target: RoomTarget::Name(name.into()), password: None, wait: Duration::ZERO, spectate: false }
    }

    /// Makes a request to enter the room of this short code, at once.
    pub fn code(code: impl Into<String>) -> Self {
        Self { target: RoomTarget::Code(code.into()), password: None, wait: Duration::ZERO, spectate: false }
    }
}

/// Request: leave the room. When the host leaves, another member hosts the room (see
/// [`HostMigrated`](crate::HostMigrated)), or it closes where [`RoomOptions::migrate`] is off. It is answered by
/// [`RoomLeft`](crate::RoomLeft).
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaveRoom;

/// Request: list public rooms of this game. It is answered by [`RoomsListed`](crate::RoomsListed) or
/// [`RequestFailed`](crate::RequestFailed). The default asks for the first hundred by their names.
///
/// ```
/// use bevy_traversal::{FilterTest, ListRooms, RoomFilter, RoomQuery, RoomSort};
///
/// let all = ListRooms::default();
/// let deserts = ListRooms(RoomQuery {
///     filters: vec![RoomFilter::new("map", FilterTest::Equal("desert".into()))],
///     not_full: true,
///     sort: RoomSort::RoundTrip,
///     ..RoomQuery::default()
/// });
/// # assert_ne!(all, deserts);
/// ```
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRooms(pub RoomQuery);

/// Request: know public rooms of this game and each change among them, until this player enters a room or writes
/// [`StopWatchingRooms`]. They are in the resource [`RoomList`](crate::RoomList), and
/// [`RoomListChanged`](crate::RoomListChanged) says what is new. The server is asked anew after each new login.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct WatchRooms {
    /// These are wanted, at most 100.
    pub query: RoomQuery,
    /// Two [`RoomListChanged`](crate::RoomListChanged) are at least this far apart: 0.5 s (the default) to 65 s.
    pub pause: Duration,
}

impl Default for WatchRooms {
    fn default() -> Self {
        Self { query: RoomQuery::default(), pause: Duration::from_millis(MIN_WATCH_PAUSE_MS.into()) }
    }
}

/// Request: stop watching the list of rooms. [`RoomList`](crate::RoomList) is emptied.
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopWatchingRooms;

/// Request of a host: let this player in, see [`JoinRequested`](crate::JoinRequested).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowPeer {
    /// This is the request that is answered, from [`JoinRequested`](crate::JoinRequested).
    pub join: JoinId,
}

/// Request of a host: do not let this player in, see [`JoinRequested`](crate::JoinRequested).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RefusePeer {
    /// This is the request that is answered, from [`JoinRequested`](crate::JoinRequested).
    pub join: JoinId,
    /// That player reads this reason; it is cut to 160 characters and 200 bytes.
    pub reason: String,
}

/// Request of a host: put a member out of the room and disconnect it. While the lobby server is away it is only
/// disconnected.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct KickPeer {
    /// This member is put out.
    pub player: PlayerId,
    /// That player reads this reason; it is cut to 160 characters and 200 bytes.
    pub reason: String,
    /// This says when it may come back: at once, after a time, or not as long as the room lives, whoever hosts it then.
    /// What it reads meanwhile is [`RequestError::Banned`](crate::RequestError::Banned) with the reason.
    pub rejoin: Rejoin,
}

/// Request of a host: tell who may not come back into the room. It is answered by [`BansListed`](crate::BansListed) or
/// [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListBans;

/// Request of a host: let a player come back that was put out. It is answered by [`BanLifted`](crate::BanLifted) or
/// [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiftBan {
    /// This player may come back.
    pub player: PlayerId,
}

/// Request: take the seat that was kept for this player ([`SeatKept`](crate::SeatKept)), as a member or as the host. It is
/// answered by [`RoomJoined`](crate::RoomJoined) or [`RequestFailed`](crate::RequestFailed). [`LeaveRoom`] gives the seat
/// up instead, and so does every other room.
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeSeat;

/// Request of a host: give the room new metadata, whose keys and values have at most 384 bytes together: all of it is in
/// listings. What only members need may be longer: [`SetRoomProperties`](crate::SetRoomProperties). It is
/// answered by [`RoomChanged`](crate::RoomChanged) or [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRoomMetadata(pub BTreeMap<String, String>);

/// Request: end the connection to one player; the room stays as it is.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct ClosePeer {
    /// This player is at the other end.
    pub player: PlayerId,
    /// That player reads this reason; it is cut to 160 characters and 200 bytes.
    pub reason: String,
}

/// Request: play with anybody who wants the same. The server gathers the players, those who waited longest first, and
/// puts them into a room; the one whom the others reach best hosts. It is answered by
/// [`QueueChanged`](crate::QueueChanged) while it comes along, then by [`RoomJoined`](crate::RoomJoined) as with any
/// room; or by [`RequestFailed`](crate::RequestFailed).
///
/// ```
/// use bevy_traversal::{NumberRule, QuickMatch, Topology};
///
/// let duel = QuickMatch::of("duel", 2);
/// let brawl = QuickMatch { topology: Topology::Mesh, ..QuickMatch::of("brawl", 4) };
/// // Skills within 50, after 5 s within 100, after 10 s any; two teams; all say yes within 15 s.
/// let skill = NumberRule::new("skill", 1200).within([50, 100]).every(5).then_any();
/// let ranked = QuickMatch::of("ranked", 4).number(skill).equal("map", "dust").teams([2, 2]).accept_within(15);
/// # assert_ne!(duel, brawl);
/// # assert_eq!(ranked.rules.teams, [2, 2]);
/// ```
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct QuickMatch {
    /// This is what is to be played: only players who name the same meet. It has at most 48 bytes and may be
    /// empty.
    pub mode: String,
    /// This many players make the match, this one among them: 2 to 64, in a mesh 2 to 16. Only players who want as many
    /// meet.
    pub players: u16,
    /// The room has this shape: all with the host, or each with each.
    pub topology: Topology,
    /// The players are put together by these rules: numbers that are near, texts that are equal, teams, and a step in which
    /// all say yes.
    pub rules: QuickRules,
}

impl QuickMatch {
    /// Makes a request for this many players around a host.
    pub fn of(mode: impl Into<String>, players: u16) -> Self {
        Self { mode: mode.into(), players, topology: Topology::Star, rules: QuickRules::default() }
    }
}

impl QuickMatch {
    /// Adds a number that has to be near those of the others ([`QuickRules::numbers`]).
    #[must_use]
    pub fn number(mut self, number: NumberRule) -> Self {
        self.rules.numbers.push(number);
        self
    }

    /// Adds a text that has to be that of the others ([`QuickRules::texts`]).
    #[must_use]
    pub fn equal(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.rules.texts.insert(name.into(), TextRule { value: text.into(), for_s: None });
        self
    }

    /// Splits the players into teams of these sizes ([`QuickRules::teams`]).
    #[must_use]
    pub fn teams(mut self, sizes: impl Into<Vec<u16>>) -> Self {
        self.rules.teams = sizes.into();
        self
    }

    /// Has all asked whether they play ([`QuickRules::accept_s`]).
    #[must_use]
    pub fn accept_within(mut self, seconds: u16) -> Self {
        self.rules.accept_s = Some(seconds);
        self
    }
}

impl From<QuickMatch> for traversal_core::wire::message::QuickMatch {
    fn from(QuickMatch { mode, players, topology, rules }: QuickMatch) -> Self {
        Self { mode, players, topology, rules }
    }
}

/// Request: wait for a quick match no longer. It is answered by [`QueueChanged`](crate::QueueChanged).
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelQuickMatch;

/// Request: say whether this player plays the match that was found ([`MatchFound`](crate::MatchFound)). Who says no waits no
/// longer, and reads so in [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerMatch {
    /// This proposal is answered, from [`MatchFound`](crate::MatchFound).
    pub proposal: u64,
    /// The player plays.
    pub accept: bool,
}

/// Registers all requests.
pub(crate) fn add(app: &mut App) {
    app.add_message::<ConnectLobby>()
        .add_message::<DisconnectLobby>()
        .add_message::<HostRoom>()
        .add_message::<JoinRoom>()
        .add_message::<LeaveRoom>()
        .add_message::<ListRooms>()
        .add_message::<WatchRooms>()
        .add_message::<StopWatchingRooms>()
        .add_message::<AllowPeer>()
        .add_message::<RefusePeer>()
        .add_message::<KickPeer>()
        .add_message::<SetRoomMetadata>()
        .add_message::<ClosePeer>()
        .add_message::<QuickMatch>()
        .add_message::<CancelQuickMatch>()
        .add_message::<AnswerMatch>()
        .add_message::<ListBans>()
        .add_message::<LiftBan>()
        .add_message::<TakeSeat>();
}
