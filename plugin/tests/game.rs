//! renet between two apps, from the first message to the end.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bevy_renet::renet::DefaultChannel;
use bevy_renet::{RenetClient, RenetServer, RenetServerEvent};
use bevy_traversal::*;
use std::sync::{Arc, Mutex};
use test_support::game::{Game, config, host, pair, room, until};
use test_support::lobby;

fn guest_id(host: &Game) -> u64 {
    host.all::<PeerConnected>().last().unwrap().client_id
}

/// Sends on both channels both ways, and waits for it.
fn exchange(host: &mut Game, guest: &mut Game) {
    let id = guest_id(host);
    for channel in [DefaultChannel::Unreliable, DefaultChannel::ReliableOrdered] {
        let channel: u8 = channel.into();
        host.app.world_mut().resource_mut::<RenetServer>().send_message(id, channel, "from the host");
        guest.app.world_mut().resource_mut::<RenetClient>().send_message(channel, "from the guest");
        let (mut at_host, mut at_guest) = (None, None);
        until([host, guest], "messages pass", 5.0, |[host, guest]| {
            let mut server = host.app.world_mut().resource_mut::<RenetServer>();
            at_host = at_host.take().or_else(|| server.receive_message(id, channel));
            let mut client = guest.app.world_mut().resource_mut::<RenetClient>();
            at_guest = at_guest.take().or_else(|| client.receive_message(channel));
            at_host.is_some() && at_guest.is_some()
        });
        assert_eq!(at_host.unwrap().as_ref(), b"from the guest");
        assert_eq!(at_guest.unwrap().as_ref(), b"from the host");
    }
}

type Events = Arc<Mutex<Vec<String>>>;

fn renet_events(host: &mut Game) -> Events {
    let events = Events::default();
    let log = events.clone();
    host.app.add_observer(move |event: bevy_ecs::observer::On<RenetServerEvent>| {
        log.lock().unwrap().push(format!("{:?}", event.0));
    });
    events
}

#[test]
fn renet_appears_by_itself_and_goes_with_the_room() {
    let lobby = lobby();
    let (mut host, mut guest) = pair(&lobby);
    assert!(host.has::<RenetServer>() && !host.has::<RenetClient>());
    assert!(guest.has::<RenetClient>() && !guest.has::<RenetServer>());
    assert!(guest.resource::<RenetClient>().is_connected());
    let connected = &host.all::<PeerConnected>()[0];
    assert_eq!(connected.peer.name, "guest");
    assert_eq!(connected.client_id, connected.peer.id.client_id());
    assert!(connected.hosting && !guest.all::<PeerConnected>()[0].hosting);
    exchange(&mut host, &mut guest);
    guest.write(LeaveRoom);
    until([&mut host, &mut guest], "the guest is out", 5.0, |[host, guest]| {
        !guest.has::<RenetClient>() && host.resource::<Peers>().is_empty()
    });
    assert!(host.has::<RenetServer>());
    let gone = host.all::<PeerDisconnected>();
    assert_eq!(gone.len(), 1);
    assert!(
        matches!(gone[0].reason, DisconnectReason::Closed { .. } | DisconnectReason::Match(_)),
        "{gone:?}"
    );
    host.write(LeaveRoom);
    until([&mut host], "the host is out", 5.0, |[host]| !host.has::<RenetServer>());
    assert!(host.resource::<CurrentRoom>().info.is_none());
}

#[test]
fn a_player_comes_back_under_the_same_client_id() {
    let lobby = lobby();
    let mut host = host(&lobby, room());
    let events = renet_events(&mut host);
    let secret = IdentitySource::Secret([7; 32]);
    for round in 1..=3 {
        let mut guest = Game::new(TraversalConfig { identity: secret.clone(), ..config(&lobby, "guest") });
        guest.write(JoinRoom { wait: std::time::Duration::from_secs(3), ..JoinRoom::name("room") });
        until([&mut host, &mut guest], "both connect", 8.0, |[host, guest]| {
            host.all::<PeerConnected>().len() == round && !guest.all::<PeerConnected>().is_empty()
        });
        exchange(&mut host, &mut guest);
        // The app goes without a word to the game.
    }
    until([&mut host], "the last one is gone", 8.0, |[host]| host.all::<PeerDisconnected>().len() == 3);
    let ids: Vec<u64> = host.all::<PeerConnected>().iter().map(|connected| connected.client_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let events = events.lock().unwrap();
    assert_eq!(events.len(), 6, "one event each way and connection: {events:?}");
    assert!(
        events.chunks(2).all(|pair| pair[0].contains("ClientConnected") && pair[1].contains("Disconnected"))
    );
}

#[test]
fn a_guest_that_leaves_by_renet_leaves_the_room() {
    let lobby = lobby();
    let (mut host, mut guest) = pair(&lobby);
    let events = renet_events(&mut host);
    guest.app.world_mut().resource_mut::<RenetClient>().disconnect();
    until([&mut host, &mut guest], "the guest is out", 5.0, |[host, guest]| {
        !guest.has::<RenetClient>() && !host.all::<PeerDisconnected>().is_empty()
    });
    assert!(guest.resource::<CurrentRoom>().info.is_none());
    let events = events.lock().unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains("DisconnectedByClient"), "{events:?}");
    assert_eq!(host.all::<PeerDisconnected>().len(), 1);
    assert_eq!(guest.all::<PeerDisconnected>().len(), 1);
}

#[test]
fn a_host_that_disconnects_by_renet_ends_the_connection() {
    let lobby = lobby();
    let (mut host, mut guest) = pair(&lobby);
    let events = renet_events(&mut host);
    let id = guest_id(&host);
    host.app.world_mut().resource_mut::<RenetServer>().disconnect(id);
    until([&mut host, &mut guest], "both know", 5.0, |games| {
        games.iter().all(|game| game.all::<PeerDisconnected>().len() == 1)
    });
    let reason = guest.all::<PeerDisconnected>()[0].reason.to_string();
    assert!(reason.contains("disconnected by the host"), "{reason}");
    let events = events.lock().unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains("DisconnectedByServer"), "{events:?}");
    assert!(host.resource::<Peers>().is_empty());
}

#[test]
fn a_kicked_player_hears_why() {
    let lobby = lobby();
    let (mut host, mut guest) = pair(&lobby);
    let player = host.all::<PeerConnected>()[0].peer.id;
    host.write(KickPeer { player, reason: "too good".into(), rejoin: bevy_traversal::Rejoin::Never });
    until([&mut host, &mut guest], "the guest is out", 5.0, |[host, guest]| {
        !guest.all::<RoomLeft>().is_empty() && host.resource::<Peers>().is_empty()
    });
    until([&mut host], "the members know", 5.0, |[host]| host.resource::<Members>().0.len() == 1);
    let told = format!("{:?} {:?}", guest.all::<RoomLeft>(), guest.all::<PeerDisconnected>());
    assert!(told.contains("too good"), "{told}");
    assert_eq!(guest.all::<PeerDisconnected>().len(), 1);
    assert!(host.all::<RequestFailed>().is_empty(), "{:?}", host.all::<RequestFailed>());
}

#[test]
fn a_host_that_leaves_ends_the_game_of_all_where_migration_is_off() {
    let lobby = lobby();
    let mut host = host(&lobby, RoomOptions { migrate: false, ..room() });
    let mut guest = Game::new(config(&lobby, "guest"));
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    host.write(LeaveRoom);
    until([&mut host, &mut guest], "all are out", 5.0, |games| {
        games.iter().all(|game| {
            game.all::<RoomLeft>().len() == 1 && !game.has::<RenetServer>() && !game.has::<RenetClient>()
        })
    });
    assert_eq!(guest.all::<PeerDisconnected>().len(), 1);
    // A room of one's own works at once.
    guest.write(HostRoom(room()));
    until([&mut guest], "another room", 5.0, |[guest]| {
        assert!(guest.all::<RequestFailed>().is_empty(), "{:?}", guest.all::<RequestFailed>());
        guest.has::<RenetServer>()
    });
}

#[test]
fn a_game_comes_late_and_finds_the_room_in_the_list() {
    let lobby = lobby();
    let (mut host, mut first) = pair(&lobby);
    exchange(&mut host, &mut first);
    let mut late = Game::new(config(&lobby, "late"));
    late.write(ListRooms::default());
    until([&mut host, &mut first, &mut late], "the list comes", 5.0, |[_, _, late]| {
        !late.all::<RoomsListed>().is_empty()
    });
    let RoomsListed { rooms, .. } = &late.all::<RoomsListed>()[0];
    assert_eq!((rooms.len(), rooms[0].members), (1, 2));
    late.write(JoinRoom::code(rooms[0].code.to_lowercase()));
    until([&mut host, &mut first, &mut late], "the late one connects", 5.0, |[host, _, late]| {
        !late.all::<PeerConnected>().is_empty() && host.all::<PeerConnected>().len() == 2
    });
    exchange(&mut host, &mut late);
    assert_eq!(host.resource::<Members>().0.len(), 3);
    assert!(first.all::<PeerDisconnected>().is_empty());
}

#[test]
fn a_host_may_be_asked_first() {
    let lobby = lobby();
    let mut host = host(&lobby, RoomOptions { auto_allow: false, ..room() });
    let mut guest = Game::new(config(&lobby, "guest"));
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "the host is asked", 5.0, |[host, _]| {
        !host.all::<JoinRequested>().is_empty()
    });
    let asked = host.all::<JoinRequested>()[0].clone();
    assert_eq!(asked.player.name, "guest");
    host.write(RefusePeer { join: asked.join, reason: "later".into() });
    until([&mut host, &mut guest], "the guest hears no", 5.0, |[_, guest]| {
        !guest.all::<RequestFailed>().is_empty()
    });
    assert!(guest.all::<RequestFailed>()[0].error.to_string().contains("later"));
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "the host is asked again", 5.0, |[host, _]| {
        host.all::<JoinRequested>().len() == 2
    });
    let join = host.all::<JoinRequested>()[1].join;
    host.write(AllowPeer { join });
    until([&mut host, &mut guest], "the guest is in", 5.0, |[_, guest]| {
        !guest.all::<PeerConnected>().is_empty()
    });
}

/// Returns a packet of renet with a slice whose number is beyond its message.
fn poison() -> Vec<u8> {
    let reliable_slice = 2;
    let channel: u8 = DefaultChannel::ReliableOrdered.into();
    let (sequence, message, slice, slices) = (0, 0, 9, 2);
    let mut packet = vec![reliable_slice, sequence, channel, message, slice, slices];
    let length: u16 = 1200;
    packet.extend((length | 0x4000).to_be_bytes()); // a varint of two bytes
    packet.extend([0; 1200]);
    packet
}

#[test]
fn a_player_with_a_changed_client_only_ends_its_own_game() {
    let lobby = lobby();
    let (mut host, mut honest) = pair(&lobby);
    let changed = TraversalConfig { transport: Transport::Manual, ..config(&lobby, "changed") };
    let mut changed = Game::new(changed);
    changed.write(JoinRoom::name("room"));
    until([&mut host, &mut honest, &mut changed], "it connects", 5.0, |[host, _, changed]| {
        host.all::<PeerConnected>().len() == 2 && !changed.all::<PeerConnected>().is_empty()
    });
    let target = changed.all::<PeerConnected>()[0].peer.id;
    changed.app.world_mut().resource_mut::<Datagrams>().send(target, poison()).unwrap();
    until([&mut host, &mut honest, &mut changed], "it is out", 5.0, |[host, _, changed]| {
        host.all::<PeerDisconnected>().len() == 1 && !changed.all::<PeerDisconnected>().is_empty()
    });
    let reason = changed.all::<PeerDisconnected>()[0].reason.to_string();
    assert!(reason.contains("malformed"), "{reason}");
    assert_eq!(host.resource::<Peers>().len(), 1);
    let id = host.resource::<Peers>().iter().next().unwrap().client_id;
    let channel: u8 = DefaultChannel::ReliableOrdered.into();
    host.app.world_mut().resource_mut::<RenetServer>().send_message(id, channel, "still here");
    until([&mut host, &mut honest], "the others play on", 5.0, |[_, honest]| {
        honest.app.world_mut().resource_mut::<RenetClient>().receive_message(channel).is_some()
    });
}

#[test]
fn renets_packets_may_be_taken_less_often() {
    let lobby = lobby();
    let mut host = host(&lobby, room());
    let hour = std::time::Duration::from_secs(3600);
    let mut guest = Game::new(TraversalConfig { renet_send_period: hour, ..config(&lobby, "guest") });
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    let sent = |game: &Game| game.resource::<TraversalStats>().game_sent();
    let (before, of_host) = (sent(&guest), sent(&host));
    guest
        .app
        .world_mut()
        .resource_mut::<RenetClient>()
        .send_message(DefaultChannel::ReliableOrdered, "in an hour");
    // The host says something in each frame, which the guest would acknowledge in each of its own.
    let id = guest_id(&host);
    until([&mut host, &mut guest], "the host's come", 5.0, |[host, guest]| {
        let mut server = host.app.world_mut().resource_mut::<RenetServer>();
        server.send_message(id, DefaultChannel::Unreliable, "now");
        let mut client = guest.app.world_mut().resource_mut::<RenetClient>();
        while client.receive_message(DefaultChannel::Unreliable).is_some() {}
        sent(host) > of_host + 50
    });
    assert!(sent(&guest) <= before + 1, "{} datagrams", sent(&guest) - before);
    let mut server = host.app.world_mut().resource_mut::<RenetServer>();
    assert!(server.receive_message(id, DefaultChannel::ReliableOrdered).is_none());
}
