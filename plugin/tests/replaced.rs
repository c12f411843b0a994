//! What takes another's place comes a frame later, however many events a slow frame finds: netcodes look once a frame.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bevy_app::{PreUpdate, Update};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::common_conditions::resource_added;
use bevy_renet::{RenetClient, RenetReceive};
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::game::{Game, config, host, room, until};
use test_support::lobby;

/// What each frame has seen of renet's client, each thing once.
#[derive(Resource, Default)]
struct Seen(Vec<&'static str>);

/// How many datagrams of the host have come.
#[derive(Resource, Default)]
struct Heard(usize);

fn look(client: Option<Res<RenetClient>>, mut seen: ResMut<Seen>) {
    let now = match client {
        None => "none",
        Some(client) if client.is_connected() => "connected",
        Some(_) => "ended",
    };
    if seen.0.last() != Some(&now) {
        seen.0.push(now);
    }
}

fn watched(lobby: &RunningServer, name: &str, agent: AgentConfig) -> Game {
    let mut game = Game::new(TraversalConfig { agent, ..config(lobby, name) });
    // Where replicon looks.
    game.app
        .init_resource::<Seen>()
        .init_resource::<Heard>()
        .add_systems(
            PreUpdate,
            ((|mut seen: ResMut<Seen>| seen.0.push("added")).run_if(resource_added::<RenetClient>), look)
                .chain()
                .after(RenetReceive),
        )
        .add_systems(Update, |mut datagrams: ResMut<Datagrams>, mut heard: ResMut<Heard>| {
            heard.0 += datagrams.drain().count();
        });
    game
}

fn connections(game: &Game) -> usize {
    game.all::<PeerConnected>().len()
}

/// The guest's frame hangs; everything happens meanwhile, and the host says something. Then the guest's frames go on.
fn catch_up(host: &mut Game, guest: &mut Game) {
    let player = host.all::<PeerConnected>().pop().unwrap().peer.id;
    let received = |game: &Game| game.resource::<TraversalStats>().game_received();
    let before = received(guest);
    host.resource_mut::<Datagrams>().send(player, vec![1]).unwrap();
    host.app.update();
    until([host], "it is at the guest's machine", 5.0, |_| received(guest) > before);
    guest.resource_mut::<Seen>().0.clear();
    let (met, heard) = (connections(guest), guest.resource::<Heard>().0);
    guest.app.update();
    assert_eq!(connections(guest), met, "the end and the new connection in one frame");
    guest.app.update();
    assert_eq!(connections(guest), met + 1, "the frame after");
    until([guest], "what came early", 5.0, |[guest]| guest.resource::<Heard>().0 > heard);
    assert_eq!(guest.resource::<TraversalStats>().stale_dropped(), 0);
}

#[test]
fn a_guest_that_goes_out_and_in_while_its_frame_hangs_has_a_frame_without_a_client() {
    let lobby = lobby();
    let mut host = host(&lobby, room());
    let mut guest = watched(&lobby, "guest", AgentConfig::default());
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |[host, guest]| {
        connections(host) == 1 && connections(guest) == 1
    });
    guest.write(LeaveRoom);
    guest.write(JoinRoom::name("room"));
    guest.app.update();
    until([&mut host], "the host has it again", 5.0, |[host]| connections(host) == 2);
    catch_up(&mut host, &mut guest);
    assert_eq!(guest.resource::<Seen>().0, ["ended", "added", "connected"]);
    assert_eq!(guest.all::<RoomJoined>().len(), 2);
}

#[test]
fn a_member_whose_frame_hangs_over_a_migration_has_a_frame_without_a_connected_client() {
    let lobby = lobby();
    let mut old = host(&lobby, room());
    let mut first = watched(&lobby, "first", AgentConfig::default());
    // The one whom the other reaches better hosts next: not this one.
    let manual = NatFacts::of_kind(NatKind::PortSensitiveSymmetric).unwrap();
    let mut second = watched(&lobby, "second", AgentConfig { manual, ..AgentConfig::default() });
    for (count, game) in [(1, &mut first), (2, &mut second)] {
        game.write(JoinRoom::name("room"));
        until([&mut old, game], "the guest connects", 8.0, |[old, game]| {
            connections(old) == count && connections(game) == 1
        });
    }
    old.write(LeaveRoom);
    until([&mut old, &mut first], "the other one hosts and has it", 15.0, |[_, first]| {
        first.all::<HostMigrated>().iter().any(|migrated| migrated.hosting) && connections(first) == 2
    });
    catch_up(&mut first, &mut second);
    assert_eq!(second.resource::<Seen>().0, ["ended", "added", "connected"]);
}

/// Two rooms of one's own in one slow frame: each has its `RenetServer`.
#[test]
fn a_host_that_changes_rooms_while_its_frame_hangs_is_told_of_the_second_a_frame_later() {
    let lobby = lobby();
    let mut game = host(&lobby, room());
    game.write(LeaveRoom);
    game.write(HostRoom(RoomOptions { name: "another".into(), ..room() }));
    game.app.update();
    let mut looker = Game::new(config(&lobby, "looker"));
    until([&mut looker], "the second room is open", 5.0, |[looker]| {
        looker.write(ListRooms);
        looker.all::<RoomsListed>().iter().any(|listed| listed.0.iter().any(|room| room.name == "another"))
    });
    game.app.update();
    assert_eq!((game.all::<RoomLeft>().len(), game.all::<RoomJoined>().len()), (1, 1));
    until([&mut game], "the second room", 5.0, |[game]| game.all::<RoomJoined>().len() == 2);
}
