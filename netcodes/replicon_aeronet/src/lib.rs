//! bevy_replicon over the paths of `bevy_traversal`, by way of aeronet: whoever hosts a room has replicon's server, whoever joins it
//! has replicon's client. After a change of host both are made anew.
//!
//! `aeronet_traversal` makes sessions of the room's connections, and `aeronet_replicon` carries replicon over sessions that are
//! marked as its own. The marks are what is left.
//!
//! ```no_run
//! use bevy_app::{App, TaskPoolPlugin};
//! use bevy_replicon::prelude::RepliconPlugins;
//! use bevy_state::app::StatesPlugin;
//! use bevy_traversal::{TraversalConfig, TraversalPlugin, Transport};
//! use replicon_aeronet_traversal::RepliconTraversalPlugin;
//!
//! let config = TraversalConfig {
//!     transport: Transport::Manual, // without renet
//!     ..TraversalPlugin::new("squares", "lobby.example.com").config
//! };
//! App::new()
//!     .add_plugins((TaskPoolPlugin::default(), StatesPlugin, TraversalPlugin { config }))
//!     .add_plugins((RepliconPlugins, RepliconTraversalPlugin));
//! // Then what is replicated, then `commands.host_room("den")` or `commands.join_room("den")`.
//! ```

use aeronet_replicon::client::{AeronetRepliconClient, AeronetRepliconClientPlugin};
use aeronet_replicon::server::{AeronetRepliconServer, AeronetRepliconServerPlugin};
use aeronet_traversal::{AeronetTraversalPlugin, PeerRole, TraversalServer, TraversalSession};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;

/// Adds what joins replicon and `bevy_traversal`, the aeronet plugins between them too. It stands behind replicon's
/// `RepliconPlugins`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepliconTraversalPlugin;

impl Plugin for RepliconTraversalPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins((AeronetTraversalPlugin, AeronetRepliconServerPlugin, AeronetRepliconClientPlugin))
            .add_observer(mark_server)
            .add_observer(mark_host);
    }
}

/// The guests' sessions are the server's children, by which aeronet_replicon knows them.
fn mark_server(opened: On<Add, TraversalServer>, mut commands: Commands) {
    commands.entity(opened.entity).insert(AeronetRepliconServer);
}

/// The session of the host is the one that replicon's client uses. Other guests of a mesh are nothing to replicon.
fn mark_host(opened: On<Add, TraversalSession>, mut commands: Commands, sessions: Query<&TraversalSession>) {
    if sessions.get(opened.entity).is_ok_and(|session| session.role == PeerRole::Host) {
        commands.entity(opened.entity).insert(AeronetRepliconClient);
    }
}
