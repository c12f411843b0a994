//! Rooms without a lobby server of anybody else (feature `lan`): the host's game brings the server along, those in the same
//! network find it, and whoever has an invite to it comes in from elsewhere.
//!
//! `words` is what is said in the local network, `announce` and `watch` are the two threads that say and hear it, `found` is
//! what was heard, `serve` is the server, and `systems` is the app's side.

mod announce;
mod found;
mod serve;
mod systems;
mod watch;
mod words;

use std::net::SocketAddr;

use bevy_app::{App, PostUpdate, PreUpdate};
use bevy_ecs::message::Message;
use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::schedule::SystemCondition;
use bevy_ecs::schedule::common_conditions::{on_message, resource_changed};
use traversal_core::invite::Invite;
use traversal_core::wire::message::RoomOptions;
use traversal_core::{NoPortMapping, PortMapping};

use crate::messages::outcomes::{RequestFailed, RoomLeft, RoomsListed};
use crate::state::{CurrentRoom, Members};
use crate::systems::TraversalSystems;

/// At most this many rooms of the local network are listed.
pub const MAX_LAN_ROOMS: usize = 64;

/// Request: open a room at a lobby server within this game, and host it. It is answered by
/// [`RoomJoined`](crate::RoomJoined) or [`RequestFailed`](crate::RequestFailed); [`ServedHere`] says how others reach it.
///
/// The server runs as long as the room. The room ends with its host, whatever [`RoomOptions::migrate`] says: its server ends
/// then. While this player hosts it, it is logged in at that server alone; afterwards it is at the servers of the
/// configuration again.
///
/// ```
/// use bevy_traversal::{HostHere, RoomOptions};
///
/// let on_the_ship = HostHere::from(RoomOptions { name: "cabin 7".into(), ..Default::default() });
/// assert!(on_the_ship.announce);
/// // The router at home forwards UDP port 34780 to this machine.
/// let for_friends = HostHere {
///     bind: "0.0.0.0:34780".parse()?,
///     public_name: Some("ada.example.net".into()),
///     announce: false,
///     ..on_the_ship
/// };
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct HostHere {
    /// This says how the room is to be.
    pub room: RoomOptions,
    /// The server is bound to this address, for UDP and TCP; by default to any free port on all interfaces (IPv4).
    pub bind: SocketAddr,
    /// Others on the internet reach this machine by this name or address, `host` or `host:port` (the port of
    /// [`bind`](Self::bind) by default): it stands in invites. None: the first address in the local network does.
    pub public_name: Option<String>,
    /// Those in the same network are told of the room.
    pub announce: bool,
    /// The machine's router is asked to forward the server's UDP port, by the protocols of
    /// [`TraversalConfig::port_mapping`](crate::TraversalConfig::port_mapping) (feature `port_mapping`):
    /// [`Served::router`] says what came of it. It is given back when the room is over.
    pub ask_router: bool,
}

impl From<RoomOptions> for HostHere {
    fn from(room: RoomOptions) -> Self {
        Self {
            room,
            bind: SocketAddr::from(([0, 0, 0, 0], 0)),
            public_name: None,
            announce: true,
            ask_router: false,
        }
    }
}

/// Request: look for rooms in the local network, or cease to. What is found is in [`LanRooms`] and [`FoundRooms`].
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLan(pub bool);

/// This is a room in the local network. Whoever is in that network may have said so: nothing of it is proven before the
/// login, and the key then is the one that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanRoom {
    /// The room has this name.
    pub name: String,
    /// The host has this display name.
    pub host_name: String,
    /// This many players are inside, the host among them.
    pub members: u16,
    /// It takes this many players, the host included.
    pub capacity: u16,
    /// It asks for a password.
    pub password: bool,
    /// [`JoinInvite`](crate::JoinInvite) with this leads into it.
    pub invite: Invite,
}

/// Resource: these rooms are in the local network, in the order of their names, while [`WatchLan`] is on. There are at most
/// [`MAX_LAN_ROOMS`]. A room disappears 12 s after its host was last heard.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct LanRooms(pub Vec<LanRoom>);

/// This says where a listed room was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomOrigin {
    /// The lobby server has listed it.
    Lobby,
    /// It is in the local network.
    Lan,
}

/// This is a room that was found in one way or the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRoom {
    /// It was found there.
    pub origin: RoomOrigin,
    /// This is what is known of it. Its invite leads into it from wherever this player is logged in.
    pub room: LanRoom,
}

/// Resource: these are the rooms of the lobby server, as last listed ([`ListRooms`](crate::ListRooms)), and those of the local
/// network, in one list: the local ones first, each in the order of their names.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundRooms(pub Vec<FoundRoom>);

/// This says whether the router forwards the port of a server that runs in this game.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// It was not asked: see [`HostHere::ask_router`].
    #[default]
    NotAsked,
    /// It has not answered yet.
    Asking,
    /// It forwards this port of its own. That is proven by the first who comes in by it: nobody on the internet tries it
    /// before.
    Port(PortMapping),
    /// It forwards the port, but the address that it has itself is none of the internet: another NAT stands before it, as with
    /// many providers, and nobody comes in.
    BehindAnother(PortMapping),
    /// It does not; the text of this is fit for a player.
    No(NoPortMapping),
}

/// This is how others reach the server that runs in this game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// It is served at these addresses of this machine.
    pub addresses: Vec<SocketAddr>,
    /// These invites lead to its one room: the first by [`HostHere::public_name`] if there is one, then by the address that the
    /// router forwards, if it does, then by each of the machine's addresses.
    pub invites: Vec<Invite>,
    /// This is what the router says.
    pub router: Forwarded,
    /// So does this one, if the router forwards the server's port. It is known where this player was logged in at a lobby
    /// server on the internet before.
    pub if_forwarded: Option<Invite>,
}

/// Resource: this is the server that runs in this game, if one does.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedHere(pub Option<Served>);

/// Adds all that the local network needs.
pub(crate) fn add(app: &mut App) {
    app.add_message::<HostHere>()
        .add_message::<WatchLan>()
        .init_resource::<LanRooms>()
        .init_resource::<FoundRooms>()
        .init_resource::<ServedHere>()
        .init_resource::<systems::Lan>()
        .add_systems(
            PreUpdate,
            (
                systems::hear.run_if(systems::hears),
                systems::list.run_if(on_message::<RoomsListed>.or_else(resource_changed::<LanRooms>)),
                systems::end.run_if(on_message::<RoomLeft>.or_else(on_message::<RequestFailed>)),
                systems::tell.run_if(resource_changed::<CurrentRoom>.or_else(resource_changed::<Members>)),
            )
                .chain()
                .after(crate::systems::receive)
                .in_set(TraversalSystems::Receive),
        )
        .add_systems(
            PostUpdate,
            systems::requests
                .run_if(on_message::<HostHere>.or_else(on_message::<WatchLan>))
                .in_set(TraversalSystems::Send),
        );
}
