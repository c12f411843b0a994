//! Bevy's own habits: commands, entities, observers, states, run conditions, and what is written to the log.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bevy_app::{PreUpdate, Update};
use bevy_ecs::name::Name;
use bevy_ecs::observer::On;
use bevy_ecs::prelude::*;
use bevy_ecs::system::RunSystemOnce;
use bevy_renet::renet::DefaultChannel;
use bevy_renet::{RenetClient, RenetClientPlugin, RenetServer, RenetServerPlugin};
use bevy_state::state::{NextState, State};
use bevy_traversal::*;
use test_support::game::{Game, config, host, pair, room, until};
use test_support::lobby;
use traversal_udp::faults::log;

/// This is what observers and systems saw, in order.
#[derive(Resource, Default)]
struct Seen(Vec<String>);

fn watched(game: &mut Game) {
    game.app
        .init_resource::<Seen>()
        .add_observer(|on: On<PlayerConnected>, names: Query<&Name>, mut seen: ResMut<Seen>| {
            seen.0.push(format!("connected {}", names.get(on.entity).unwrap()));
        })
        .add_observer(|on: On<PlayerDisconnected>, names: Query<&Name>, mut seen: ResMut<Seen>| {
            seen.0.push(format!("disconnected {}", names.get(on.entity).unwrap()));
        })
        .add_observer(|on: On<Trouble>, mut seen: ResMut<Seen>| {
            seen.0.push(format!("trouble: {}", on.event()))
        });
}

fn seen(game: &Game) -> Vec<String> {
    game.resource::<Seen>().0.clone()
}

/// Returns the names of the other players, whether each hosts, and whether it is connected.
fn players(game: &mut Game) -> Vec<(String, bool, bool)> {
    let world = game.app.world_mut();
    let mut query =
        world.query_filtered::<(&Name, Has<IsHost>, Has<ConnectedBy>, &MemberOf), With<RemotePlayer>>();
    let found: Vec<_> =
        query.iter(world).map(|(name, host, by, room)| (name.to_string(), host, by, room.0)).collect();
    let rooms = found.iter().filter(|(.., room)| world.get::<Room>(*room).is_some()).count();
    assert_eq!(rooms, found.len(), "each is a member of the room");
    found.into_iter().map(|(name, host, by, _)| (name, host, by)).collect()
}

fn rooms(game: &mut Game) -> Vec<Entity> {
    let world = game.app.world_mut();
    world.query_filtered::<Entity, With<Room>>().iter(world).collect()
}

fn command(game: &mut Game, ask: impl FnOnce(&mut Commands) + Send + Sync + 'static) {
    let mut ask = Some(ask);
    let run = move |mut commands: Commands| ask.take().unwrap()(&mut commands);
    game.app.world_mut().run_system_once(run).unwrap();
}

#[test]
fn the_room_and_its_players_are_entities_and_despawning_the_room_leaves_it() {
    let lobby = lobby();
    let mut host = Game::new(config(&lobby, "host"));
    let mut guest = Game::new(config(&lobby, "guest"));
    watched(&mut host);
    watched(&mut guest);
    command(&mut host, |commands| commands.host_room("room"));
    until([&mut host], "the room opens", 5.0, |[host]| !rooms(host).is_empty());
    assert!(players(&mut host).is_empty(), "this player is none of the others");
    command(&mut guest, |commands| commands.join_room("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter_mut().all(|game| players(game).iter().any(|(.., connected)| *connected))
    });
    assert_eq!(players(&mut host), [("guest".into(), false, true)]);
    assert_eq!(players(&mut guest), [("host".into(), true, true)]);
    assert_eq!(seen(&host), ["connected guest"]);
    assert_eq!(seen(&guest), ["connected host"]);
    // A game that clears its world takes the player's entity along, and not the player.
    let world = host.app.world_mut();
    let player = world.query_filtered::<Entity, With<RemotePlayer>>().single(world).unwrap();
    world.entity_mut(player).despawn();
    host.write(SetRoomMetadata([("map".to_owned(), "ice".to_owned())].into()));
    until([&mut host, &mut guest], "it is there again", 5.0, |[host, _]| players(host).len() == 1);
    assert_eq!(players(&mut host), [("guest".into(), false, true)]);
    let [entity] = rooms(&mut guest)[..] else { panic!("one room") };
    guest.app.world_mut().entity_mut(entity).despawn();
    until([&mut host, &mut guest], "the guest is out", 5.0, |[host, guest]| {
        !guest.all::<RoomLeft>().is_empty() && players(host).is_empty()
    });
    assert!(players(&mut guest).is_empty() && rooms(&mut guest).is_empty());
    assert_eq!(seen(&host), ["connected guest", "disconnected guest"]);
    assert_eq!(rooms(&mut host).len(), 1);
}

/// These are all states of a game in the order in which it was in them.
#[derive(Resource, Default)]
struct Went(Vec<RoomState>);

fn state_watched(game: &mut Game) {
    game.app.init_resource::<Went>().add_systems(
        Update,
        |state: Res<State<RoomState>>, mut went: ResMut<Went>| {
            if went.0.last() != Some(state.get()) {
                went.0.push(*state.get());
            }
        },
    );
}

fn went(game: &Game) -> Vec<RoomState> {
    game.resource::<Went>().0.clone()
}

/// Has the state look at the messages of the next frame, as it does after a request: it looks where there is news alone.
fn look_at_messages(game: &mut Game) {
    game.write(CancelQuickMatch);
    game.app.update();
}

#[test]
fn the_state_follows_the_way_into_a_room_through_a_migration_and_out() {
    use RoomState::{Entering, Hosting, Joined, Migrating, Out};
    let lobby = lobby();
    let mut first = Game::new(config(&lobby, "first"));
    let mut second = Game::new(config(&lobby, "second"));
    let mut third = Game::new(config(&lobby, "third"));
    for game in [&mut first, &mut second, &mut third] {
        state_watched(game);
    }
    first.app.update();
    first.write(HostRoom(room()));
    until([&mut first], "the room opens", 5.0, |[first]| went(first).last() == Some(&Hosting));
    assert_eq!(went(&first), [Out, Entering, Hosting]);
    second.app.update();
    third.app.update();
    second.write(JoinRoom::name("no such room"));
    until([&mut first, &mut second], "it is refused", 5.0, |[_, second]| {
        went(second) == [Out, Entering, Out]
    });
    for game in [&mut second, &mut third] {
        game.write(JoinRoom::name("room"));
        until([&mut first, game], "the guest connects", 5.0, |[_, game]| {
            !game.all::<PeerConnected>().is_empty()
        });
    }
    until([&mut first, &mut second], "the state follows", 5.0, |[_, second]| {
        went(second) == [Out, Entering, Out, Entering, Joined]
    });
    second.app.world_mut().resource_mut::<NextState<RoomState>>().set(Out);
    until([&mut first, &mut second], "a state that the game sets is set back", 5.0, |[_, second]| {
        went(second) == [Out, Entering, Out, Entering, Joined, Out, Joined]
    });
    first.write(LeaveRoom);
    until([&mut first, &mut second, &mut third], "the others play on", 15.0, |[first, second, third]| {
        let hosts = [second.resource::<CurrentRoom>().hosting, third.resource::<CurrentRoom>().hosting];
        went(first).last() == Some(&Out)
            && hosts != [false, false]
            && second.all::<PeerConnected>().len() + third.all::<PeerConnected>().len() == 4
    });
    assert_eq!(went(&first), [Out, Entering, Hosting, Out]);
    let (mut promoted, mut follower) =
        if second.resource::<CurrentRoom>().hosting { (second, third) } else { (third, second) };
    until([&mut promoted, &mut follower], "the states follow", 5.0, |[promoted, follower]| {
        went(promoted).last() == Some(&Hosting) && went(follower).last() == Some(&Joined)
    });
    // A host that says goodbye is followed by another one in the same frame. One that is lost is looked for.
    let host = follower.resource::<CurrentRoom>().info.clone().unwrap().host;
    let connected = follower.all::<PeerConnected>().pop().unwrap();
    let (peer, client_id) = (connected.peer.clone(), connected.client_id);
    assert_eq!(peer.id, host);
    look_at_messages(&mut follower);
    follower.write(PeerDisconnected { peer, client_id, reason: DisconnectReason::Local });
    until([&mut promoted, &mut follower], "it is lost", 5.0, |[_, follower]| {
        went(follower).last() == Some(&Migrating)
    });
    look_at_messages(&mut follower);
    follower.write(connected);
    until([&mut promoted, &mut follower], "it is there", 5.0, |[_, follower]| {
        went(follower).last() == Some(&Joined)
    });
}

#[test]
fn a_game_that_adds_renets_plugins_after_this_one_does_not_panic() {
    let lobby = lobby();
    let mut game = Game::with(config(&lobby, "host"), |app| {
        app.add_plugins((RenetServerPlugin, RenetClientPlugin));
    });
    game.write(HostRoom(room()));
    until([&mut game], "the server is there", 5.0, |[game]| game.has::<RenetServer>());
}

#[test]
fn conditions_say_what_is_there_and_channels_are_read_when_the_room_is_entered() {
    let lobby = lobby();
    let mut host = host(&lobby, room());
    // Set long after the plugin was built: both sides get a fourth channel.
    let mut channels = DefaultChannel::config();
    let mut fourth = channels[0].clone();
    fourth.channel_id = 3;
    channels.push(fourth);
    let four = move |mut config: ResMut<RenetConfig>| {
        config.0.server_channels_config.clone_from(&channels);
        config.0.client_channels_config.clone_from(&channels);
    };
    let mut guest = Game::with(config(&lobby, "guest"), |app| {
        app.add_systems(bevy_app::Startup, four.clone());
    });
    // With `joined` this would panic between the two messages.
    guest.app.add_systems(
        PreUpdate,
        (|client: ResMut<RenetClient>| assert!(client.is_connected()))
            .run_if(client_ready)
            .after(TraversalSystems::Receive),
    );
    host.app.world_mut().run_system_once(four).unwrap();
    host.write(LeaveRoom);
    until([&mut host], "the room is left", 5.0, |[host]| !host.all::<RoomLeft>().is_empty());
    host.write(HostRoom(room()));
    until([&mut host], "another one opens", 5.0, |[host]| host.all::<RoomJoined>().len() == 2);
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    assert!(host.app.world_mut().run_system_once(server_ready).unwrap());
    guest.app.world_mut().resource_mut::<RenetClient>().send_message(3, "over the fourth");
    let id = host.all::<PeerConnected>()[0].client_id;
    until([&mut host, &mut guest], "it arrives", 5.0, |[host, _]| {
        host.app.world_mut().resource_mut::<RenetServer>().receive_message(id, 3).is_some()
    });
}

/// A player who is told nothing asks the developer; a developer who is told nothing gives up.
#[test]
fn what_happens_and_what_goes_wrong_is_in_the_log_in_one_line_each() {
    log::listen();
    let lobby = lobby();
    let (mut host, mut guest) = pair(&lobby);
    watched(&mut guest);
    guest.write(JoinRoom::name("nowhere-7c1f"));
    guest.write(HostRoom(RoomOptions { name: "name-7c1f".repeat(40), ..room() }));
    until([&mut host, &mut guest], "both are refused", 5.0, |[_, guest]| {
        guest.all::<RequestFailed>().len() == 2
    });
    assert_eq!(seen(&guest).len(), 2, "{:?}", seen(&guest));
    let mut lost = Game::new(TraversalConfig {
        // Nobody is there: port 9 is for discarding (RFC 863).
        lobby: vec!["127.0.0.1:9".into()],
        ..config(&lobby, "lost")
    });
    until([&mut lost], "there is no lobby", 15.0, |[lost]| !lost.all::<LobbyFailed>().is_empty());
    lost.app.update();
    let logged = log::logged();
    let lines = |level: &str, text: &str| {
        logged
            .lines()
            .filter(|line| line.contains(level) && line.contains("bevy_traversal::") && line.contains(text))
            .count()
    };
    let port = lobby.addresses().first[0].to_string();
    assert_eq!(lines("INFO", &format!("logged in to {port} ")), 2, "{logged}");
    assert!(lines("INFO", "hosting the room \"room\"") >= 1, "{logged}");
    assert!(lines("INFO", "connected to guest by the ") >= 1, "{logged}");
    for refused in guest.all::<RequestFailed>() {
        assert_eq!(lines("WARN", &refused.error.to_string()), 1, "{refused:?}\n{logged}");
    }
    assert!(lines("WARN", "127.0.0.1:9") >= 1, "which server: {logged}");
    drop(host);
    until([&mut guest], "the host is gone", 10.0, |[guest]| !guest.all::<PeerDisconnected>().is_empty());
    guest.app.update();
    assert!(log::logged().contains("disconnected from host"), "{}", log::logged());
}

#[test]
#[cfg(feature = "reflect")]
fn inspectors_can_look_at_the_components() {
    let lobby = lobby();
    let game = Game::new(config(&lobby, "inspected"));
    let registry = game.resource::<AppTypeRegistry>().read();
    for name in [
        "Room",
        "RemotePlayer",
        "MemberOf",
        "IsHost",
        "ConnectedBy",
        "IsAway",
        "Rtt",
        "Jitter",
        "Loss",
        "Traffic",
    ] {
        let registration = registry.get_with_short_type_path(name).unwrap_or_else(|| panic!("{name}"));
        assert!(registration.data::<ReflectComponent>().is_some(), "{name}");
    }
    assert!(registry.get_with_short_type_path("RoomState").is_some());
}
