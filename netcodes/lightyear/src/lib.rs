//! lightyear over the paths of `bevy_traversal`: whoever hosts a room has a lightyear server with a local player of its own, whoever
//! joins it has a lightyear client. After a change of host both are made anew.
//!
//! lightyear takes aeronet's sessions (`lightyear_aeronet`), and `aeronet_traversal` makes these of the room's connections. What is
//! left is here: an entity of lightyear's for each session, and the word that it is connected, which lightyear's own transports say
//! after a handshake. The paths here are authenticated already.
//!
//! ```no_run
//! use bevy_app::{App, TaskPoolPlugin};
//! use bevy_state::app::StatesPlugin;
//! use bevy_time::TimePlugin;
//! use bevy_traversal::{TraversalConfig, TraversalPlugin, Transport};
//! use lightyear::prelude::{client::ClientPlugins, server::ServerPlugins};
//! use lightyear_traversal::LightyearTraversalPlugin;
//!
//! let config = TraversalConfig {
//!     transport: Transport::Manual, // without renet
//!     ..TraversalPlugin::new("boxes", "lobby.example.com").config
//! };
//! App::new()
//!     .add_plugins((TaskPoolPlugin::default(), TimePlugin, StatesPlugin, TraversalPlugin { config }))
//!     .add_plugins((ClientPlugins::default(), ServerPlugins::default(), LightyearTraversalPlugin));
//! // Then what is replicated, then `commands.host_room("den")` or `commands.join_room("den")`.
//! ```

use aeronet_traversal::{AeronetTraversalPlugin, PeerRole, TraversalServer, TraversalSession};
use bevy_app::{App, Last, Plugin, PostUpdate, PreUpdate};
use bevy_ecs::prelude::*;
use bevy_traversal::{LobbyLink, PlayerId};
use lightyear::prelude::client::{Client, Connect, Connected, Disconnect, Disconnected};
use lightyear::prelude::server::{ClientOf, Started, Stop, Stopped};
use lightyear::prelude::{
    Link, LinkOf, LinkSystems, Linked, LocalId, PeerId, RemoteId, ReplicationReceiver, ReplicationSender,
    Server, Unlink, UnlinkReason,
};
use lightyear::transport::plugin::TransportSystems;
use lightyear_aeronet::server::ServerAeronetPlugin;
use lightyear_aeronet::{AeronetLinkOf, AeronetPlugin};

/// Adds what joins lightyear and `bevy_traversal`, the aeronet plugins between them too. It stands behind lightyear's
/// `ClientPlugins` and `ServerPlugins`, both of which every player needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct LightyearTraversalPlugin;

/// Component of a link of lightyear's: this player is at the other end. On the host it is a client, on the others it
/// is the host.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkedPlayer(pub PlayerId);

/// Component: this is lightyear's server of this player's room.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomServer;

/// Component: this is the host's own player, a client of lightyear's without a connection.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnPlayer;

impl Plugin for LightyearTraversalPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins((AeronetTraversalPlugin, AeronetPlugin, ServerAeronetPlugin));
        // Without them links connect, and nothing ever disconnects.
        if !app.is_plugin_added::<lightyear_connection::client::ConnectionPlugin>() {
            app.add_plugins(lightyear_connection::client::ConnectionPlugin);
        }
        if !app.is_plugin_added::<lightyear_connection::server::ConnectionPlugin>() {
            app.add_plugins(lightyear_connection::server::ConnectionPlugin);
        }
        app.configure_sets(PreUpdate, (LinkSystems::Receive, TransportSystems::Receive).chain())
            .configure_sets(PostUpdate, (TransportSystems::Send, LinkSystems::Send).chain())
            .add_observer(open_server)
            .add_observer(open_link)
            .add_observer(connect)
            .add_observer(disconnect)
            .add_observer(stop)
            .add_systems(Last, clean_up);
    }
}

/// Makes lightyear's server and the host's own player, when the room is hosted here.
fn open_server(opened: On<Add, TraversalServer>, mut commands: Commands) {
    let server = commands.spawn((RoomServer, Server::default())).id();
    commands.spawn((OwnPlayer, Client, LinkOf { server }, Link::default()));
    // Before aeronet's own components come: lightyear looks at these only.
    commands.entity(opened.entity).insert(AeronetLinkOf(server));
}

/// Makes a link of lightyear's when there is a connection. Its greatest packet is 1,200 bytes, which every path
/// takes.
fn open_link(
    opened: On<Add, TraversalSession>,
    mut commands: Commands,
    sessions: Query<&TraversalSession>,
    servers: Query<Entity, (With<RoomServer>, Without<Stopped>)>,
) {
    let Ok(session) = sessions.get(opened.entity) else { return };
    let player = LinkedPlayer(session.player);
    let link = match (session.role, servers.iter().next()) {
        (PeerRole::Guest, Some(server)) => commands.spawn((player, LinkOf { server }, Link::default())).id(),
        (PeerRole::Host, _) => commands.spawn((player, Client, Link::default(), ReplicationReceiver)).id(),
        _ => return,
    };
    commands.entity(opened.entity).insert(AeronetLinkOf(link));
}

/// A link stands, or the server does. Who is at the other end is known and proven.
fn connect(
    linked: On<Add, Linked>,
    mut commands: Commands,
    links: Query<(&LinkedPlayer, Has<LinkOf>)>,
    servers: Query<(), With<RoomServer>>,
    own: Query<(Entity, &LinkOf), With<OwnPlayer>>,
    lobby: Res<LobbyLink>,
) {
    let entity = linked.entity;
    if servers.contains(entity) {
        commands.entity(entity).insert(Started);
        for (own, _) in own.iter().filter(|(_, link)| link.server == entity) {
            commands.trigger(Connect { entity: own });
        }
    } else if let Ok((LinkedPlayer(player), guest)) = links.get(entity) {
        let other = PeerId::Netcode(player.client_id());
        if guest {
            let ids = (LocalId(PeerId::Server), RemoteId(other));
            commands.entity(entity).insert((Connected, ids, ClientOf, ReplicationSender));
        } else {
            let own = PeerId::Netcode(lobby.player().map_or(0, |own| own.client_id()));
            commands.entity(entity).insert((Connected, LocalId(own), RemoteId(PeerId::Server)));
        }
    }
}

fn disconnect(wish: On<Disconnect>, mut commands: Commands, links: Query<(), With<LinkedPlayer>>) {
    if links.contains(wish.entity) {
        let reason = UnlinkReason::UserRequested(None);
        commands.trigger(Unlink { entity: wish.entity, reason });
    }
}

fn stop(wish: On<Stop>, mut commands: Commands, servers: Query<(), With<RoomServer>>) {
    if servers.contains(wish.entity) {
        commands.trigger(Unlink { entity: wish.entity, reason: UnlinkReason::ServerStopped });
    }
}

/// Links to players that are connected no more.
type Ended = (With<LinkedPlayer>, With<Disconnected>, Without<Connected>);

/// What has ended stays for the rest of the frame, so that the game can read why.
fn clean_up(
    mut commands: Commands,
    links: Query<Entity, Ended>,
    servers: Query<Entity, (With<RoomServer>, With<Stopped>)>,
) {
    for ended in links.iter().chain(&servers) {
        commands.entity(ended).try_despawn();
    }
}
