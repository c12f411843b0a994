//! What takes another's place comes a frame later, however many events a slow frame finds: netcodes look once a frame.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use bevy_app::{PreUpdate, Update};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::common_conditions::resource_added;
use bevy_renet::{RenetClient, RenetReceive, RenetServer};
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::game::{Game, config, host, room, until};
use test_support::lobby;

/// This is what each frame has seen of renet's client, each thing once.
#[derive(Resource, Default)]
struct Seen(Vec<&'static str>);

/// This is how many datagrams of the host have come.
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

fn watched(lobby: &RunningServer, name: &str) -> Game {
    let mut game = Game::new(config(lobby, name));
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

fn id(game: &Game) -> PlayerId {
    game.resource::<LobbyLink>().player().unwrap()
}

fn connections(game: &Game) -> usize {
    game.all::<PeerConnected>().len()
}

/// Makes a host and a guest who were connected; the guest is on its way out of the room and in again.
fn met_and_parted(lobby: &RunningServer) -> (Game, Game) {
    let mut host = host(lobby, room());
    let mut guest = watched(lobby, "guest");
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |[host, guest]| {
        connections(host) == 1 && connections(guest) == 1
    });
    guest.write(LeaveRoom);
    guest.write(JoinRoom::name("room"));
    (host, guest)
}

/// The guest's frame hangs; everything happens meanwhile, and the host says something. Then the guest's frames go on.
fn catch_up(host: &mut Game, guest: &mut Game) {
    let player = id(guest);
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
    let (mut host, mut guest) = met_and_parted(&lobby);
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
    let [mut first, mut second] = ["first", "second"].map(|name| watched(&lobby, name));
    for (count, game) in [(1, &mut first), (2, &mut second)] {
        game.write(JoinRoom::name("room"));
        until([&mut old, game], "the guest connects", 8.0, |[old, game]| {
            connections(old) == count && connections(game) == 1
        });
    }
    // Who hosts next is told to the old host when it comes again: the two others' frames hang.
    old.write(LeaveRoom);
    until([&mut old], "the old host is out", 5.0, |[old]| !old.all::<RoomLeft>().is_empty());
    old.write(JoinRoom { wait: Duration::from_secs(5), ..JoinRoom::name("room") });
    until([&mut old], "and in again", 10.0, |[old]| old.all::<RoomJoined>().len() == 2);
    let host = old.all::<RoomJoined>()[1].room.host;
    let (mut new, mut member) = if id(&first) == host { (first, second) } else { (second, first) };
    until([&mut old, &mut new], "the new host has both", 15.0, |[_, new]| new.resource::<Peers>().len() == 2);
    catch_up(&mut new, &mut member);
    assert_eq!(member.resource::<Seen>().0, ["ended", "added", "connected"]);
}

/// Each client of renet's has gone before the same player is another one: replicon would end the new one with the old.
#[test]
fn a_guest_that_goes_out_and_in_while_the_hosts_frame_hangs_is_another_client_a_frame_later() {
    let lobby = lobby();
    let (mut host, mut guest) = met_and_parted(&lobby);
    until([&mut guest], "the guest is in again", 8.0, |[guest]| connections(guest) == 2);
    host.app.update();
    assert_eq!((host.all::<PeerDisconnected>().len(), connections(&host)), (1, 1));
    assert!(host.resource::<RenetServer>().clients_id().is_empty());
    host.app.update();
    assert_eq!(connections(&host), 2);
    assert_eq!(host.resource::<RenetServer>().clients_id().len(), 1);
}

/// A player has two rooms of its own in one slow frame: each has its `RenetServer`.
#[test]
fn a_host_that_changes_rooms_while_its_frame_hangs_is_told_of_the_second_a_frame_later() {
    let lobby = lobby();
    let mut game = host(&lobby, room());
    game.write(LeaveRoom);
    game.write(HostRoom(RoomOptions { name: "another".into(), ..room() }));
    game.app.update();
    let mut looker = Game::new(config(&lobby, "looker"));
    until([&mut looker], "the second room is open", 5.0, |[looker]| {
        looker.write(ListRooms::default());
        looker
            .all::<RoomsListed>()
            .iter()
            .any(|listed| listed.rooms.iter().any(|room| room.name == "another"))
    });
    game.app.update();
    assert_eq!((game.all::<RoomLeft>().len(), game.all::<RoomJoined>().len()), (1, 1));
    until([&mut game], "the second room", 5.0, |[game]| game.all::<RoomJoined>().len() == 2);
}
