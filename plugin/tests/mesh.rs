//! Rooms in which every two players are connected, and quick matches.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use bevy_renet::renet::DefaultChannel;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::game::{Game, config, host, room, until};
use test_support::lobby;

fn mesh() -> RoomOptions {
    RoomOptions { topology: Topology::Mesh, ..room() }
}

fn join(lobby: &RunningServer, name: &str) -> Game {
    let mut game = Game::new(config(lobby, name));
    game.write(JoinRoom::name("room"));
    game
}

fn peers(game: &Game) -> usize {
    game.resource::<Peers>().len()
}

/// Its player's id, also while the lobby server is away.
fn own_id(game: &Game) -> PlayerId {
    let name = &game.resource::<TraversalLink>().config().name;
    game.resource::<Members>().0.iter().find(|member| member.name == *name).unwrap().id
}

/// Each says something to each other one, until all have heard all; who heard whom say what.
fn talk<const N: usize>(mut games: [&mut Game; N]) {
    let mut heard: [BTreeSet<PlayerId>; N] = std::array::from_fn(|_| BTreeSet::new());
    until(games.each_mut().map(|game| &mut **game), "all hear all", 8.0, |games| {
        for (index, game) in games.iter_mut().enumerate() {
            let own = own_id(game);
            let others: Vec<PlayerId> = game.resource::<Peers>().iter().map(|peer| peer.info.id).collect();
            let mut datagrams = game.app.world_mut().resource_mut::<Datagrams>();
            for other in others {
                datagrams.send(other, own.0.to_vec()).unwrap();
            }
            for datagram in datagrams.drain() {
                assert_eq!(datagram.payload, datagram.player.0, "from who it says");
                heard[index].insert(datagram.player);
            }
        }
        heard.iter().all(|heard| heard.len() == N - 1)
    });
}

fn four(lobby: &RunningServer) -> [Game; 4] {
    let mut a = host(lobby, mesh());
    let [mut b, mut c, mut d] = ["b", "c", "d"].map(|name| join(lobby, name));
    until([&mut a, &mut b, &mut c, &mut d], "every pair connects", 10.0, |games| {
        games.iter().all(|game| peers(game) == 3)
    });
    [a, b, c, d]
}

#[test]
fn every_two_of_four_are_connected_and_renet_stays_with_the_host() {
    let lobby = lobby();
    let [mut a, mut b, mut c, mut d] = four(&lobby);
    assert!(a.all::<PeerConnected>().iter().all(|connected| connected.hosting && !connected.mesh));
    for game in [&b, &c, &d] {
        let connected = game.all::<PeerConnected>();
        assert_eq!(connected.len(), 3);
        assert!(connected.iter().all(|connected| !connected.hosting));
        assert_eq!(connected.iter().filter(|connected| connected.mesh).count(), 2);
        assert!(game.has::<RenetClient>() && !game.has::<RenetServer>());
    }
    assert_eq!(a.resource::<RenetServer>().clients_id().len(), 3);
    talk([&mut a, &mut b, &mut c, &mut d]);
    // And renet goes on beside it.
    let channel: u8 = DefaultChannel::ReliableOrdered.into();
    b.app.world_mut().resource_mut::<RenetClient>().send_message(channel, "from b");
    let id = b.resource::<LobbyLink>().player().unwrap().client_id();
    until([&mut a, &mut b], "renet's message comes", 5.0, |[a, _]| {
        let mut server = a.app.world_mut().resource_mut::<RenetServer>();
        server.receive_message(id, channel).is_some_and(|message| message == "from b")
    });
}

#[test]
fn who_comes_late_is_connected_with_all_and_who_leaves_is_gone_for_all() {
    let lobby = lobby();
    let mut a = host(&lobby, mesh());
    let mut b = join(&lobby, "b");
    until([&mut a, &mut b], "two are there", 8.0, |games| games.iter().all(|game| peers(game) == 1));
    let mut c = join(&lobby, "c");
    until([&mut a, &mut b, &mut c], "the late one too", 8.0, |games| {
        games.iter().all(|game| peers(game) == 2)
    });
    talk([&mut a, &mut b, &mut c]);
    b.write(LeaveRoom);
    until([&mut a, &mut b, &mut c], "it is gone", 5.0, |[a, b, c]| {
        peers(a) == 1 && peers(b) == 0 && peers(c) == 1
    });
    for game in [&a, &c] {
        assert_eq!(game.all::<PeerDisconnected>().len(), 1);
    }
    talk([&mut a, &mut c]);
    // And back again.
    b.write(JoinRoom::name("room"));
    until([&mut a, &mut b, &mut c], "it is back", 8.0, |games| games.iter().all(|game| peers(game) == 2));
    talk([&mut a, &mut b, &mut c]);
    let player = c.resource::<LobbyLink>().player().unwrap();
    a.write(KickPeer { player, reason: "enough".into(), rejoin: bevy_traversal::Rejoin::Never });
    until([&mut a, &mut b, &mut c], "the other one is out", 5.0, |[a, b, c]| {
        peers(a) == 1 && peers(b) == 1 && peers(c) == 0 && !c.all::<RoomLeft>().is_empty()
    });
    assert!(a.has::<RenetServer>() && b.has::<RenetClient>());
}

#[test]
fn a_mesh_lives_on_while_the_lobby_server_is_away() {
    let lobby = lobby();
    let [mut a, mut b, mut c, mut d] = four(&lobby);
    drop(lobby);
    talk([&mut a, &mut b, &mut c, &mut d]);
    for game in [&a, &b, &c, &d] {
        assert!(game.all::<PeerDisconnected>().is_empty() && game.all::<RoomLeft>().is_empty());
    }
}

#[test]
fn renet_follows_the_new_host_of_a_mesh() {
    let lobby = lobby();
    let [mut a, mut b, mut c, mut d] = four(&lobby);
    a.write(LeaveRoom);
    until([&mut a, &mut b, &mut c, &mut d], "the others play on", 10.0, |[_, b, c, d]| {
        let servers = [&**b, &**c, &**d].into_iter().filter(|game| {
            game.app
                .world()
                .get_resource::<RenetServer>()
                .is_some_and(|server| server.clients_id().len() == 2)
        });
        let clients = [&**b, &**c, &**d].into_iter().filter(|game| {
            game.app.world().get_resource::<RenetClient>().is_some_and(|client| client.is_connected())
        });
        servers.count() == 1 && clients.count() == 2 && [b, c, d].iter().all(|game| peers(game) == 2)
    });
    talk([&mut b, &mut c, &mut d]);
}

#[test]
fn three_who_want_the_same_quick_match_play_as_a_mesh() {
    let lobby = lobby();
    let wish = QuickMatch { topology: Topology::Mesh, ..QuickMatch::of("brawl", 3) };
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| Game::new(config(&lobby, name)));
    a.write(wish.clone());
    until([&mut a], "it waits", 5.0, |[a]| a.resource::<QuickMatchQueue>().0.is_some());
    let status = QueueStatus { position: 1, waiting: 1, players: 3, estimate_s: None };
    assert_eq!(a.resource::<QuickMatchQueue>().0, Some(status));
    b.write(wish.clone());
    c.write(wish);
    until([&mut a, &mut b, &mut c], "all play", 10.0, |games| games.iter().all(|game| peers(game) == 2));
    let hosts = [&a, &b, &c].into_iter().filter(|game| game.has::<RenetServer>()).count();
    assert_eq!(hosts, 1);
    for game in [&a, &b, &c] {
        assert!(game.resource::<QuickMatchQueue>().0.is_none());
        assert_eq!(game.all::<RoomJoined>()[0].room.topology, Topology::Mesh);
    }
    talk([&mut a, &mut b, &mut c]);
}

#[test]
fn who_cancels_a_quick_match_waits_no_longer() {
    let lobby = lobby();
    let [mut a, mut b] = ["a", "b"].map(|name| Game::new(config(&lobby, name)));
    let wish = QuickMatch::of("duel", 2);
    a.write(CancelQuickMatch);
    until([&mut a], "there is nothing to cancel", 5.0, |[a]| !a.all::<RequestFailed>().is_empty());
    a.write(wish.clone());
    until([&mut a], "it waits", 5.0, |[a]| a.resource::<QuickMatchQueue>().0.is_some());
    a.write(CancelQuickMatch);
    until([&mut a], "no longer", 5.0, |[a]| a.resource::<QuickMatchQueue>().0.is_none());
    b.write(wish.clone());
    let alone = Some(QueueStatus { position: 1, waiting: 1, players: 2, estimate_s: None });
    until([&mut a, &mut b], "the other one waits alone", 5.0, |[_, b]| {
        b.resource::<QuickMatchQueue>().0 == alone
    });
    // A room of one's own, or the queue: not both.
    b.write(HostRoom(room()));
    until([&mut b], "it is told", 5.0, |[b]| !b.all::<RequestFailed>().is_empty());
    assert!(b.all::<RequestFailed>()[0].error.to_string().contains("cancel that first"));
    a.write(wish);
    until([&mut a, &mut b], "both play", 8.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    assert_eq!(a.all::<RequestFailed>().len(), 1);
}

#[test]
fn datagrams_that_cannot_be_sent_say_why() {
    let lobby = lobby();
    let mut a = host(&lobby, mesh());
    let nobody = PlayerId([9; 16]);
    let mut send = |to, payload| a.app.world_mut().resource_mut::<Datagrams>().send(to, payload);
    assert_eq!(send(nobody, vec![1]), Err(DatagramError::NotConnected(nobody)));
    let length = MAX_DATAGRAM + 1;
    let most = MAX_DATAGRAM;
    assert_eq!(send(nobody, vec![0; length]), Err(DatagramError::TooLong { length, most }));
}

/// One player sends many at once: those of the others still come.
#[test]
fn one_who_floods_does_not_take_the_others_places() {
    let lobby = lobby();
    let small = TraversalConfig { incoming_datagrams: 64, ..config(&lobby, "small") };
    let mut a = Game::new(small);
    a.write(HostRoom(mesh()));
    let [mut b, mut c] = ["b", "c"].map(|name| {
        let mut game = Game::new(config(&lobby, name));
        game.write(JoinRoom { wait: Duration::from_secs(5), ..JoinRoom::name("room") });
        game
    });
    until([&mut a, &mut b, &mut c], "all connect", 8.0, |games| games.iter().all(|game| peers(game) == 2));
    let target = a.resource::<LobbyLink>().player().unwrap();
    let (flooder, quiet) =
        (b.resource::<LobbyLink>().player().unwrap(), c.resource::<LobbyLink>().player().unwrap());
    for _ in 0..200 {
        b.app.world_mut().resource_mut::<Datagrams>().send(target, vec![7; 100]).unwrap();
    }
    // The flood is on its way, and waits at the target, before the quiet one says anything.
    b.app.update();
    let dropped = |game: &Game| game.resource::<TraversalStats>().incoming_dropped();
    until([&mut b], "the flood is there", 5.0, |_| dropped(&a) > 0);
    c.app.world_mut().resource_mut::<Datagrams>().send(target, vec![1]).unwrap();
    let mut heard = BTreeSet::new();
    until([&mut a, &mut c], "both are heard", 5.0, |[a, _]| {
        heard.extend(a.app.world_mut().resource_mut::<Datagrams>().drain().map(|datagram| datagram.player));
        heard.contains(&flooder) && heard.contains(&quiet)
    });
}
