//! The same squares without renet: each player tells all others where it is, over a mesh. `squares_datagrams host den`, or `join den`.
use bevy::prelude::*;
use bevy_traversal::{Transport, prelude::*};

/// Where this player's square is, and where the others' are.
#[derive(Resource)]
struct Squares(Vec2, std::collections::BTreeMap<PlayerId, Vec2>);

fn main() {
    let mut traversal = TraversalPlugin::new("squares_datagrams", std::env::var("LOBBY").unwrap_or_default());
    traversal.config.transport = Transport::Manual;
    let somewhere = Vec2::new(f32::from((std::process::id() as u8).wrapping_mul(37)) - 128.0, 0.0);
    App::new()
        .add_plugins((DefaultPlugins, traversal))
        .insert_resource(Squares(somewhere, default()))
        .add_systems(Startup, enter)
        .add_systems(Update, (steer, talk, draw).chain())
        .run();
}
fn enter(mut commands: Commands) {
    commands.spawn(Camera2d);
    match std::env::args().collect::<Vec<_>>().as_slice() {
        [_, role, room] if role == "join" => commands.join_room(room),
        other => {
            let name = other.get(2).map_or("den", String::as_str).into();
            commands.host_room_with(RoomOptions { name, topology: Topology::Mesh, ..default() });
        }
    }
}
fn steer(mut squares: ResMut<Squares>, keys: Res<ButtonInput<KeyCode>>) {
    let axis = |less, more| f32::from(keys.pressed(more)) - f32::from(keys.pressed(less));
    squares.0.x += 5.0 * axis(KeyCode::ArrowLeft, KeyCode::ArrowRight);
    squares.0.y += 5.0 * axis(KeyCode::ArrowDown, KeyCode::ArrowUp);
}
fn talk(mut squares: ResMut<Squares>, mut datagrams: ResMut<Datagrams>, peers: Res<Peers>) {
    squares.1.retain(|player, _| peers.peer(*player).is_some());
    for peer in peers.iter() {
        let at = postcard::to_stdvec(&squares.0.to_array()).unwrap_or_default();
        // One that is lost, or cannot be sent now, is followed by the next frame's.
        datagrams.send(peer.info.id, at).ok();
    }
    for datagram in datagrams.drain() {
        postcard::from_bytes(&datagram.payload)
            .map(|at| squares.1.insert(datagram.player, Vec2::from_array(at)))
            .ok();
    }
}
fn draw(mut commands: Commands, squares: Res<Squares>, old: Query<Entity, With<Sprite>>) {
    if old.iter().len() != squares.1.len() + 1 {
        info!("{} squares", squares.1.len() + 1);
    }
    old.iter().for_each(|square| commands.entity(square).despawn());
    for (number, at) in std::iter::once(&squares.0).chain(squares.1.values()).enumerate() {
        let color = Color::hsl(number as f32 * 100.0, 0.8, 0.6);
        commands.spawn((
            Sprite::from_color(color, Vec2::splat(40.0)),
            Transform::from_translation(at.extend(0.0)),
        ));
    }
}
