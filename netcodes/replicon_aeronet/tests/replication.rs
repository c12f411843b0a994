//! A world that is replicated over connections of `bevy_traversal`, with a lobby server in this process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bevy_ecs::prelude::*;
use bevy_replicon::prelude::*;
use bevy_state::app::StatesPlugin;
use bevy_state::prelude::*;
use bevy_traversal::*;
use lobby_server::RunningServer;
use replicon_aeronet_traversal::RepliconTraversalPlugin;
use serde::{Deserialize, Serialize};
use test_support::game::{Game, config, room, until};
use test_support::lobby;

#[derive(Component, Serialize, Deserialize, Clone, Copy)]
struct Number(u32);

#[derive(Event, Serialize, Deserialize, Clone, Copy)]
struct Spawn(u32);

fn game(lobby: &RunningServer, name: &str) -> Game {
    let config = TraversalConfig { transport: Transport::Manual, ..config(lobby, name) };
    Game::with(config, |app| {
        app.add_plugins((StatesPlugin, RepliconPlugins, RepliconTraversalPlugin))
            .replicate::<Number>()
            .add_client_event::<Spawn>(Channel::Ordered)
            // Who hosts next shows the others what it has got from the last host.
            .register_required_components::<Remote, Replicated>()
            .add_observer(|spawn: On<FromClient<Spawn>>, mut commands: Commands| {
                commands.spawn((Replicated, Number(spawn.message.0)));
            })
            .add_systems(
                OnEnter(ClientState::Connected),
                |mut commands: Commands, remote: Query<Entity, With<Remote>>| {
                    remote.iter().for_each(|entity| commands.entity(entity).despawn());
                },
            );
    })
}

fn numbers(game: &mut Game) -> Vec<u32> {
    let world = game.app.world_mut();
    let mut numbers: Vec<u32> = world.query::<&Number>().iter(world).map(|number| number.0).collect();
    numbers.sort_unstable();
    numbers
}

fn spawn(game: &mut Game, number: u32) {
    game.app.world_mut().spawn((Replicated, Number(number)));
}

fn ask(game: &mut Game, number: u32) {
    game.app.world_mut().commands().client_trigger(Spawn(number));
}

fn serves(game: &Game) -> bool {
    *game.resource::<State<ServerState>>() == ServerState::Running
}

#[test]
fn replication_goes_on_after_a_migration() {
    let lobby = lobby();
    let mut old = game(&lobby, "host");
    old.write(HostRoom(room()));
    until([&mut old], "the server runs", 5.0, |[old]| serves(old));
    spawn(&mut old, 1);
    let [mut first, mut second] = ["first", "second"].map(|name| {
        let mut guest = game(&lobby, name);
        guest.write(JoinRoom::name("room"));
        until([&mut old, &mut guest], "the world is replicated", 8.0, |[_, guest]| numbers(guest) == [1]);
        ask(&mut guest, 2);
        until([&mut old, &mut guest], "a client is heard", 5.0, |[old, guest]| {
            numbers(old).contains(&2) && numbers(guest) == numbers(old)
        });
        let world = old.app.world_mut();
        let asked: Vec<Entity> = world
            .query::<(Entity, &Number)>()
            .iter(world)
            .filter(|(_, n)| n.0 == 2)
            .map(|(e, _)| e)
            .collect();
        asked.into_iter().for_each(|entity| _ = world.despawn(entity));
        until([&mut old, &mut guest], "what is despawned goes", 5.0, |[_, guest]| numbers(guest) == [1]);
        guest
    });
    old.write(LeaveRoom);
    until([&mut old, &mut first, &mut second], "one of them hosts", 10.0, |[_, first, second]| {
        serves(first) || serves(second)
    });
    let (mut new, mut member) = if serves(&first) { (first, second) } else { (second, first) };
    spawn(&mut new, 3);
    until([&mut new, &mut member], "the new host's world is there, and each once", 8.0, |[new, member]| {
        numbers(new) == [1, 3] && numbers(member) == [1, 3]
    });
    ask(&mut member, 4);
    until([&mut new, &mut member], "and back", 5.0, |[new, member]| {
        numbers(new) == [1, 3, 4] && numbers(member) == [1, 3, 4]
    });
}
