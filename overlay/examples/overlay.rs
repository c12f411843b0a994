//! A window with nothing but the overlay: `overlay host den`, `overlay join den`. A third word says what is done about the lobby
//! server's relay: `allow`, `only` or `never`; with `only` on one side and `never` on the other nobody can meet. `LOBBY` is the lobby
//! server, 127.0.0.1 by default; `NAME` is the player's name.

use bevy::prelude::*;
use bevy_traversal::{AgentConfig, RelayPolicy, prelude::*};
use bevy_traversal_overlay::OverlayPlugin;

fn main() {
    let relay = match std::env::args().nth(3).as_deref() {
        Some("only") => RelayPolicy::Only,
        Some("never") => RelayPolicy::Never,
        _ => RelayPolicy::Allow,
    };
    let lobby = std::env::var("LOBBY").unwrap_or("127.0.0.1".into());
    let mut traversal = TraversalPlugin::new("overlay", lobby);
    let role = std::env::args().nth(1).unwrap_or("host".into());
    traversal.config.name = std::env::var("NAME").unwrap_or(role);
    traversal.config.agent = AgentConfig { relay, ..default() };
    App::new()
        .add_plugins((DefaultPlugins, traversal, OverlayPlugin { shown: true, ..default() }))
        .add_systems(Startup, enter)
        .run();
}

fn enter(mut commands: Commands) {
    commands.spawn(Camera2d);
    let words: Vec<String> = std::env::args().collect();
    match words.get(1..3) {
        Some([role, room]) if role == "join" => commands.join_room(room),
        Some([_, room]) => commands.host_room(room),
        _ => commands.host_room("den"),
    }
}
