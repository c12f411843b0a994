#![doc = include_str!("../README.md")]

mod packets;
mod sessions;

use aeronet_io::{AeronetIoPlugin, IoSystems};
use bevy_app::{App, Last, Plugin, PostUpdate, PreUpdate};
use bevy_ecs::component::Component;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::world::World;
use bevy_traversal::{Datagrams, PlayerId, SOCKET_CHANNELS, TraversalSystems};

/// The sessions' packets take the [`DatagramSocket`](bevy_traversal::DatagramSocket) with this number. It is the last
/// one, so that a game's own may count from 0.
pub const CHANNEL: u8 = SOCKET_CHANNELS - 1;

/// This is the least that [`Session::mtu`](aeronet_io::Session::mtu) ever says, in bytes. Every path takes packets of
/// this length; the few that do not take them in one piece carry them in two or three.
pub const MIN_MTU: usize = 1200;

/// Adds the IO layer; see the [crate's documentation](crate). It stands beside
/// [`TraversalPlugin`](bevy_traversal::TraversalPlugin), in any order, and adds `AeronetIoPlugin` where it is missing.
///
/// # Panics
/// When the app starts without a `TraversalPlugin`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AeronetTraversalPlugin;

/// Component: this is the server of this player, while it hosts a room. Its sessions are the guests, as its children.
///
/// It is there before aeronet's `ServerEndpoint` and `Server` are: what an observer of `On<Add, TraversalServer>` inserts, those who
/// observe these find.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraversalServer;

/// Component: this is a session, and says who is at the other end.
///
/// It is there before aeronet's `Session` is: what an observer of `On<Add, TraversalSession>` inserts, those who observe `Session`
/// find.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[require(Dropped)]
pub struct TraversalSession {
    /// This player is at the other end, authenticated by the path's keys.
    pub player: PlayerId,
    /// This is what that player is in the room.
    pub role: PeerRole,
}

/// This is what the player at the other end of a session is in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// The other end is a guest in the room that this player hosts; the session is a child of the
    /// [`TraversalServer`].
    Guest,
    /// The other end is the host of the room that this player is in.
    Host,
    /// The other end is a guest in the room that this one is a guest in, too, and whose topology is a mesh.
    MeshPeer,
}

/// Component of a session: it counts the packets that were not sent, or not handed to the game, since the session
/// began.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// This counts packets to send that are longer than [`MAX_DATAGRAM`](bevy_traversal::MAX_DATAGRAM).
    pub too_long: u64,
    /// This counts packets to send beyond what goes in one frame: 512 to all players together, whose turn it is one
    /// after the other.
    pub full: u64,
    /// This counts packets that came while 4,096 others waited in `Session::recv`, which only a game with
    /// `NoClearBuffers` lets happen.
    pub unread: u64,
}

impl Plugin for AeronetTraversalPlugin {
    fn build(&self, app: &mut App) {
        if !app.is_plugin_added::<AeronetIoPlugin>() {
            app.add_plugins(AeronetIoPlugin);
        }
        app.init_resource::<sessions::Sessions>()
            .configure_sets(PreUpdate, IoSystems::Poll.after(TraversalSystems::Receive))
            .configure_sets(PostUpdate, IoSystems::Flush.before(TraversalSystems::Send))
            .add_systems(
                PreUpdate,
                // The sessions of this frame are there before its packets are handed in.
                (sessions::follow, sessions::measure, packets::receive).chain().in_set(IoSystems::Poll),
            )
            .add_systems(PostUpdate, packets::send.in_set(IoSystems::Flush))
            .add_systems(Last, sessions::say_goodbye)
            .add_observer(sessions::on_disconnect)
            .add_observer(sessions::on_close)
            .add_observer(sessions::on_session_removed)
            .add_observer(sessions::on_server_removed);
    }

    fn finish(&self, app: &mut App) {
        open(app.world_mut());
    }
}

/// Takes the channel of the packets.
fn open(world: &mut World) {
    let Some(mut datagrams) = world.get_resource_mut::<Datagrams>() else {
        panic!("AeronetTraversalPlugin needs bevy_traversal's TraversalPlugin in the same app");
    };
    match datagrams.socket(CHANNEL) {
        Ok(socket) => world.insert_resource(packets::Channel(socket)),
        Err(error) => unreachable!("the last channel is there: {error}"),
    }
}
