//! Where the server stands, as it finds out from its players.

use std::time::{Duration, Instant};

use super::{ServerConfig, ServerSocket, World, at};
use crate::surroundings::{Finding, Surroundings};

fn around(own: &[&str], gateway: &str) -> Surroundings {
    let own = own.iter().map(|ip| ip.parse().unwrap()).collect();
    Surroundings { own, gateways: vec![gateway.parse().unwrap()], container: false }
}

fn names(world: &World) -> Vec<&'static str> {
    world.server.findings(world.now).iter().map(Finding::name).collect()
}

#[test]
fn players_through_a_proxy_are_noticed_when_they_have_proven_to_be_there() {
    let sockets = vec![ServerSocket::first(at("0.0.0.0:3478"))];
    let mut world = World::with(ServerConfig::default(), sockets);
    world.server.set_surroundings(world.now, around(&["127.0.0.1", "172.17.0.2"], "172.17.0.1"));
    world.player(1, "172.17.0.1:40001");
    assert!(names(&world).is_empty());
    // A replayed login proves nothing.
    let replay = world.add(2, "172.17.0.1:40002");
    for _ in 0..2 {
        let datagram = world.fakes[replay].handshake.datagram().to_vec();
        world.send_raw(replay, &datagram);
    }
    assert!(names(&world).is_empty());
    world.player(3, "172.17.0.1:40003");
    assert_eq!(names(&world), ["one-address"]);
    // One from elsewhere, and nobody says so any more.
    world.player(4, "203.0.113.1:4000");
    assert_eq!(names(&world), ["public-address-unknown"]);
}

#[test]
fn a_new_address_of_the_machine_is_what_players_of_the_other_family_are_told() {
    let v6 = ServerSocket::first(at("[::]:3478"));
    let sockets = vec![ServerSocket::first(at("198.51.100.7:3478")), v6];
    let mut world = World::with(ServerConfig::default(), sockets);
    let start: Instant = world.now;
    world.server.set_surroundings(start, around(&["198.51.100.7", "2001:db8::7"], "198.51.100.1"));
    let player = world.player(1, "203.0.113.1:4000");
    let told = |world: &World, player: usize| world.fakes[player].welcome.clone().unwrap().other_family;
    assert_eq!(told(&world, player), [at("[2001:db8::7]:3478")]);
    world.pass(Duration::from_secs(1));
    world.server.set_surroundings(world.now, around(&["198.51.100.8", "2001:db8::8"], "198.51.100.1"));
    assert_eq!(names(&world), ["address-gone", "addresses-changed"]);
    let player = world.player(2, "203.0.113.2:4000");
    assert_eq!(told(&world, player), [at("[2001:db8::8]:3478")]);
}

#[test]
fn a_player_from_the_internet_may_probe_a_server_that_does_not_know_its_public_address() {
    let mut other_port = ServerSocket::first(at("10.0.0.5:3479"));
    other_port.second_port = true;
    let mut other_address = ServerSocket::first(at("10.0.0.6:3478"));
    other_address.second_address = true;
    let sockets = vec![ServerSocket::first(at("10.0.0.5:3478")), other_port, other_address];
    let mut world = World::with(ServerConfig::default(), sockets);
    let player = world.player(1, "203.0.113.1:4000");
    let told = &world.fakes[player].welcome.as_ref().unwrap().probe_targets;
    // Where the second address is, only the operator can say.
    assert_eq!(*told, [at("0.0.0.0:3478"), at("0.0.0.0:3479")]);
}
