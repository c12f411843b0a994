//! The host leaves, and the others play on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bevy_app::Update;
use bevy_ecs::message::MessageReader;
use bevy_ecs::prelude::{Res, ResMut, Resource};
use bevy_renet::renet::DefaultChannel;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::game::{Game, config, host, room, until};
use test_support::lobby;

/// These are the kinds of messages in the order in which the game read them.
#[derive(Resource, Default)]
struct Told(Vec<String>);

/// This is what the resources were when the message about the new host was read.
#[derive(Resource, Default)]
struct Seen(Vec<(bool, bool, bool)>);

fn tell(
    mut disconnected: MessageReader<PeerDisconnected>,
    mut migrated: MessageReader<HostMigrated>,
    mut connected: MessageReader<PeerConnected>,
    (server, client, room): (Option<Res<RenetServer>>, Option<Res<RenetClient>>, Res<CurrentRoom>),
    (mut told, mut seen): (ResMut<Told>, ResMut<Seen>),
) {
    told.0.extend(disconnected.read().map(|gone| format!("lost {}", gone.peer.name)));
    for migrated in migrated.read() {
        told.0.push(format!("epoch {}", migrated.room.epoch));
        seen.0.push((server.is_some(), client.is_some(), room.hosting));
    }
    told.0.extend(connected.read().map(|peer| format!("met {}", peer.peer.name)));
}

fn watched(mut game: Game) -> Game {
    game.app.init_resource::<Told>().init_resource::<Seen>().add_systems(Update, tell);
    game
}

/// Returns a host and two guests who are connected to it.
fn three(lobby: &RunningServer, options: RoomOptions) -> (Game, Game, Game) {
    let mut host = host(lobby, options);
    let mut guests = ["first", "second"].map(|name| watched(Game::new(config(lobby, name))));
    for index in 0..2 {
        guests[index].write(JoinRoom::name("room"));
        let [first, second] = &mut guests;
        until([&mut host, first, second], "the guest connects", 5.0, |[host, first, second]| {
            host.all::<PeerConnected>().len() == index + 1
                && [first, second][..=index].iter().all(|guest| !guest.all::<PeerConnected>().is_empty())
        });
    }
    let [first, second] = guests;
    (host, first, second)
}

fn migrated(game: &Game) -> Vec<HostMigrated> {
    game.all::<HostMigrated>()
}

/// Renet messages pass between these two, who now is the host and who is not.
fn exchange(server: &mut Game, client: &mut Game) {
    let channel: u8 = DefaultChannel::ReliableOrdered.into();
    let id = server.resource::<Peers>().iter().next().unwrap().client_id;
    server.app.world_mut().resource_mut::<RenetServer>().send_message(id, channel, "from the new host");
    client.app.world_mut().resource_mut::<RenetClient>().send_message(channel, "from the member");
    let (mut at_server, mut at_client) = (None, None);
    until([server, client], "messages pass", 5.0, |[server, client]| {
        let mut renet = server.app.world_mut().resource_mut::<RenetServer>();
        at_server = at_server.take().or_else(|| renet.receive_message(id, channel));
        let mut renet = client.app.world_mut().resource_mut::<RenetClient>();
        at_client = at_client.take().or_else(|| renet.receive_message(channel));
        at_server.is_some() && at_client.is_some()
    });
    assert_eq!(at_server.unwrap().as_ref(), b"from the member");
    assert_eq!(at_client.unwrap().as_ref(), b"from the new host");
}

#[test]
fn a_host_that_leaves_gives_the_room_to_a_guest() {
    let lobby = lobby();
    let (mut old, mut first, mut second) = three(&lobby, room());
    let old_id = old.resource::<LobbyLink>().player().unwrap();
    old.write(LeaveRoom);
    until([&mut old, &mut first, &mut second], "they meet again", 8.0, |[old, first, second]| {
        !old.has::<RenetServer>() && [first, second].iter().all(|game| game.all::<PeerConnected>().len() == 2)
    });
    let (mut new, mut member) = if first.has::<RenetServer>() { (first, second) } else { (second, first) };
    let (of_new, of_member) = (&migrated(&new)[..], &migrated(&member)[..]);
    let ([of_new], [of_member]) = (of_new, of_member) else { panic!("{of_new:?} {of_member:?}") };
    assert!(of_new.hosting && !of_member.hosting);
    assert_eq!((of_new.room.epoch, of_new.previous, of_member.previous), (1, old_id, old_id));
    let new_id = new.resource::<LobbyLink>().player().unwrap();
    assert_eq!((of_member.room.host, of_member.members[0].id, of_member.members.len()), (new_id, new_id, 2));
    // The order that is promised, and the resources of that frame.
    for (game, name, seen) in
        [(&new, "second", (true, false, true)), (&member, "first", (false, true, false))]
    {
        let told = &game.resource::<Told>().0;
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[..3], ["met host", "lost host", "epoch 1"], "{told:?}");
        assert!(told[3].starts_with("met "), "{name}: {told:?}");
        assert_eq!(game.resource::<Seen>().0, [seen]);
    }
    assert!(new.has::<RenetServer>() && !new.has::<RenetClient>());
    assert!(member.has::<RenetClient>() && !member.has::<RenetServer>());
    assert!(new.resource::<CurrentRoom>().hosting && !member.resource::<CurrentRoom>().hosting);
    assert!(new.all::<RoomLeft>().is_empty() && member.all::<RoomLeft>().is_empty());
    exchange(&mut new, &mut member);

    // And so on: who came as a guest may leave as the host.
    new.write(LeaveRoom);
    until([&mut new, &mut member], "the last one hosts", 8.0, |[new, member]| {
        !new.has::<RenetServer>() && member.has::<RenetServer>()
    });
    assert_eq!(migrated(&member)[1].room.epoch, 2);
    old.write(JoinRoom::name("room"));
    until([&mut old, &mut member], "the first host joins it", 8.0, |[old, member]| {
        old.has::<RenetClient>() && !member.resource::<Peers>().is_empty()
    });
    exchange(&mut member, &mut old);
}

#[test]
fn an_app_that_is_closed_gives_its_room_away() {
    let lobby = lobby();
    let (old, mut first, mut second) = three(&lobby, room());
    drop(old);
    until([&mut first, &mut second], "they meet again", 8.0, |games| {
        games.iter().all(|game| game.all::<PeerConnected>().len() == 2)
    });
    let (mut new, mut member) = if first.has::<RenetServer>() { (first, second) } else { (second, first) };
    exchange(&mut new, &mut member);
}

#[test]
fn who_is_put_out_by_the_host_alone_does_not_get_another() {
    let lobby = lobby();
    let (mut host, mut first, mut second) = three(&lobby, room());
    let player = first.resource::<LobbyLink>().player().unwrap();
    host.write(ClosePeer { player, reason: "enough".into() });
    until([&mut host, &mut first, &mut second], "it is out", 8.0, |[_, first, _]| {
        !first.all::<RoomLeft>().is_empty() && !first.has::<RenetClient>()
    });
    assert_eq!(first.all::<RoomLeft>()[0].reason, Some(RoomEnd::HostLost));
    assert!(migrated(&first).is_empty() && migrated(&second).is_empty());
    assert!(second.all::<PeerDisconnected>().is_empty());
}
