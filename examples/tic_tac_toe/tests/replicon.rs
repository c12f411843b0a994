//! bevy_replicon over renet, over connections of this plugin: order of plugins, channels, a migration, a reconnect.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bevy_app::{App, PluginGroup, Startup, TaskPoolPlugin, Update};
use bevy_ecs::prelude::*;
use bevy_replicon::prelude::*;
use bevy_replicon_renet::{RenetChannelsExt, RepliconRenetPlugins};
use bevy_state::app::StatesPlugin;
use bevy_state::prelude::*;
use bevy_time::TimePlugin;
use bevy_traversal::*;
use lobby_server::RunningServer;
use serde::{Deserialize, Serialize};
use test_support::game::{Game, config, until};
use test_support::lobby;

#[derive(Component, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number(u32);

#[derive(Event, Serialize, Deserialize, Clone, Copy)]
struct Add(u32);

/// These are the states of replicon's client, in the order in which they came.
#[derive(Resource, Default)]
struct States(Vec<ClientState>);

fn add_replicon(app: &mut App, auth_method: AuthMethod) {
    app.add_plugins((
        RepliconPlugins.build().set(RepliconSharedPlugin { auth_method }),
        RepliconRenetPlugins,
    ));
}

fn add_game(app: &mut App) {
    app.replicate::<Number>()
        .add_client_event::<Add>(Channel::Ordered)
        .register_required_components::<Remote, Replicated>()
        .init_resource::<States>()
        .add_observer(|add: On<FromClient<Add>>, mut commands: Commands| {
            commands.spawn((Replicated, Number(add.message.0)));
        })
        .add_systems(Startup, |mut config: ResMut<RenetConfig>, channels: Res<RepliconChannels>| {
            config.0.server_channels_config = channels.server_configs();
            config.0.client_channels_config = channels.client_configs();
        })
        .add_systems(
            OnEnter(ClientState::Connecting),
            |mut commands: Commands, remote: Query<Entity, With<Remote>>| {
                remote.iter().for_each(|entity| commands.entity(entity).despawn());
            },
        )
        .add_systems(Update, |state: Res<State<ClientState>>, mut states: ResMut<States>| {
            if states.0.last() != Some(state.get()) {
                states.0.push(*state.get());
            }
        });
}

/// Returns a game that adds replicon's plugins after this one's.
fn game(lobby: &RunningServer, name: &str, auth: AuthMethod) -> Game {
    Game::with(config(lobby, name), |app| {
        app.add_plugins(StatesPlugin);
        add_replicon(app, auth);
        add_game(app);
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
    game.app.world_mut().commands().client_trigger(Add(number));
}

fn connected(game: &Game) -> bool {
    *game.resource::<State<ClientState>>() == ClientState::Connected
}

/// Starts a host with a world of one number, and guests who see it.
fn play<const N: usize>(lobby: &RunningServer, auth: AuthMethod) -> (Game, [Game; N]) {
    let mut host = game(lobby, "host", auth);
    host.write(HostRoom(test_support::game::room()));
    until([&mut host], "the server runs", 5.0, |[host]| {
        *host.resource::<State<ServerState>>() == ServerState::Running
    });
    spawn(&mut host, 1);
    let guests = std::array::from_fn(|_| {
        let mut guest = game(lobby, "guest", auth);
        guest.write(JoinRoom::name("room"));
        until([&mut host, &mut guest], "the world is replicated", 8.0, |[_, guest]| numbers(guest) == [1]);
        guest
    });
    (host, guests)
}

#[test]
fn replicons_plugins_may_come_before_this_one() {
    let lobby = lobby();
    let before = |name: &str| {
        let mut app = App::new();
        app.add_plugins((TaskPoolPlugin::default(), TimePlugin, StatesPlugin));
        add_replicon(&mut app, AuthMethod::default());
        app.add_plugins(TraversalPlugin { config: config(&lobby, name) });
        add_game(&mut app);
        app.finish();
        app.cleanup();
        Game { app }
    };
    let (mut host, mut guest) = (before("host"), before("guest"));
    host.write(HostRoom(test_support::game::room()));
    guest.write(JoinRoom { wait: std::time::Duration::from_secs(5), ..JoinRoom::name("room") });
    spawn(&mut host, 3);
    until([&mut host, &mut guest], "the world is replicated", 8.0, |[_, guest]| numbers(guest) == [3]);
}

#[test]
fn channels_of_what_is_registered_are_there_on_both_sides() {
    let lobby = lobby();
    let (mut host, [mut guest]) = play(&lobby, AuthMethod::default());
    let config = &guest.resource::<RenetConfig>().0;
    // replicon's own are fewer without the event.
    assert_eq!(
        config.client_channels_config.len(),
        guest.resource::<RepliconChannels>().client_channels().len()
    );
    assert_eq!((config.server_channels_config.len(), config.client_channels_config.len()), (3, 3));
    ask(&mut guest, 2);
    until([&mut host, &mut guest], "the event arrives", 5.0, |[host, guest]| {
        numbers(host) == [1, 2] && numbers(guest) == [1, 2]
    });
}

#[test]
fn replication_goes_on_after_a_migration() {
    for auth in [AuthMethod::ProtocolCheck, AuthMethod::None] {
        migrate(auth);
    }
}

fn migrate(auth: AuthMethod) {
    let lobby = lobby();
    let (mut old, [mut first, mut second]) = play(&lobby, auth);
    old.write(LeaveRoom);
    until([&mut old, &mut first, &mut second], "one of them hosts", 10.0, |[_, first, second]| {
        [first, second].into_iter().any(|game| *game.resource::<State<ServerState>>() == ServerState::Running)
    });
    let (mut new, mut member) =
        if first.resource::<CurrentRoom>().hosting { (first, second) } else { (second, first) };
    spawn(&mut new, 2);
    until([&mut new, &mut member], "the new host's world is there, and each once", 5.0, |[_, member]| {
        numbers(member) == [1, 2]
    });
    assert_eq!(numbers(&mut new), [1, 2], "what it had from the old host");
    ask(&mut member, 3);
    until([&mut new, &mut member], "and back", 5.0, |[new, member]| {
        numbers(new) == [1, 2, 3] && numbers(member) == [1, 2, 3]
    });
    use ClientState::{Connected, Connecting, Disconnected};
    let states = &member.resource::<States>().0;
    assert_eq!(states[..], [Disconnected, Connecting, Connected, Disconnected, Connecting, Connected]);
}

/// A guest goes out and in again in one frame of the host's.
#[test]
fn replication_goes_on_after_a_reconnect_that_one_frame_of_the_host_finds() {
    let lobby = lobby();
    let (mut host, [mut guest]) = play(&lobby, AuthMethod::ProtocolCheck);
    guest.write(LeaveRoom);
    guest.write(JoinRoom::name("room"));
    until([&mut guest], "the guest is in again", 8.0, |[guest]| guest.all::<PeerConnected>().len() == 2);
    spawn(&mut host, 2);
    until([&mut host, &mut guest], "the world is there again", 5.0, |[_, guest]| numbers(guest) == [1, 2]);
    assert!(guest.all::<RoomLeft>().len() == 1, "it was not put out");
}

/// A guest goes out and in again in one frame of its own: it hears of both ends and beginnings at once.
#[test]
fn replication_goes_on_after_a_reconnect_that_one_frame_finds() {
    for auth in [AuthMethod::ProtocolCheck, AuthMethod::None] {
        reconnect(auth);
    }
}

fn reconnect(auth: AuthMethod) {
    let lobby = lobby();
    let (mut host, [mut guest]) = play(&lobby, auth);
    guest.write(LeaveRoom);
    guest.write(JoinRoom::name("room"));
    guest.app.update();
    let received = |guest: &Game| guest.resource::<TraversalStats>().game_received();
    let before = received(&guest);
    // Without a check the host sends its world at once: it is there when the guest's frame goes on.
    until([&mut host], "the host has it again, and its world is on the way", 8.0, |[host]| {
        let sent = auth == AuthMethod::ProtocolCheck || received(&guest) > before;
        host.all::<PeerConnected>().len() == 2 && sent
    });
    spawn(&mut host, 2);
    until([&mut host, &mut guest], "the world is there again", 5.0, |[_, guest]| {
        connected(guest) && numbers(guest) == [1, 2]
    });
    ask(&mut guest, 3);
    until([&mut host, &mut guest], "and back", 5.0, |[host, guest]| {
        numbers(host) == [1, 2, 3] && numbers(guest) == [1, 2, 3]
    });
    use ClientState::{Connected, Connecting, Disconnected};
    let states = &guest.resource::<States>().0;
    assert_eq!(states[..], [Disconnected, Connecting, Connected, Disconnected, Connecting, Connected]);
}
