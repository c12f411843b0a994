//! A square for each player, moved with the arrow keys. `squares host den`, `squares join den`, or `squares` to meet anybody.
use bevy::prelude::*;
use bevy_renet::renet::DefaultChannel::Unreliable;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::prelude::*;

/// Where this player's square is, and where all are, by the players' client ids; the host's is 0.
#[derive(Resource)]
struct Squares((f32, f32), std::collections::BTreeMap<u64, (f32, f32)>);

fn main() {
    let lobby = std::env::var("LOBBY").unwrap_or_default();
    let somewhere = f32::from((std::process::id() as u8).wrapping_mul(37)) - 128.0;
    App::new()
        .add_plugins((DefaultPlugins, TraversalPlugin::new("squares", lobby)))
        .insert_resource(Squares((somewhere, 0.0), default()))
        .add_systems(Startup, enter)
        .add_systems(Update, (steer, host.run_if(server_ready), join.run_if(client_ready), draw).chain())
        .run();
}
fn enter(mut commands: Commands) {
    commands.spawn(Camera2d);
    match std::env::args().collect::<Vec<_>>().as_slice() {
        [_, role, room] if role == "join" => commands.join_room(room),
        [_, _, room] => commands.host_room(room),
        _ => commands.quick_match("squares", 2),
    }
}
fn steer(mut squares: ResMut<Squares>, keys: Res<ButtonInput<KeyCode>>) {
    let axis = |less, more| f32::from(keys.pressed(more)) - f32::from(keys.pressed(less));
    squares.0.0 += 5.0 * axis(KeyCode::ArrowLeft, KeyCode::ArrowRight);
    squares.0.1 += 5.0 * axis(KeyCode::ArrowDown, KeyCode::ArrowUp);
}
fn host(mut server: ResMut<RenetServer>, mut squares: ResMut<Squares>) {
    let (ids, own) = (server.clients_id(), squares.0);
    squares.1.retain(|id, _| ids.contains(id));
    squares.1.insert(0, own);
    for id in ids {
        while let Some(bytes) = server.receive_message(id, Unreliable) {
            postcard::from_bytes(&bytes).map(|at| squares.1.insert(id, at)).ok();
        }
    }
    server.broadcast_message(Unreliable, postcard::to_stdvec(&squares.1).unwrap_or_default());
}
fn join(mut client: ResMut<RenetClient>, mut squares: ResMut<Squares>) {
    client.send_message(Unreliable, postcard::to_stdvec(&squares.0).unwrap_or_default());
    while let Some(bytes) = client.receive_message(Unreliable) {
        postcard::from_bytes(&bytes).map(|all| squares.1 = all).ok();
    }
}
fn draw(mut commands: Commands, squares: Res<Squares>, old: Query<Entity, With<Sprite>>) {
    if old.iter().len() != squares.1.len() {
        info!("{} squares", squares.1.len());
    }
    old.iter().for_each(|square| commands.entity(square).despawn());
    for (id, (x, y)) in &squares.1 {
        let color = Color::hsl((id % 360) as f32, 0.8, 0.6);
        commands.spawn((Sprite::from_color(color, Vec2::splat(40.0)), Transform::from_xyz(*x, *y, 0.0)));
    }
}
