//! Who gets the places of the server when somebody wants them all.

use std::time::Duration;

use traversal_core::wire::message::{LoginRefusal, RequestError, RoomOptions, ToPlayer};

use super::{ServerSocket, World, at, by_name, named};
use crate::config::ServerConfig;
use crate::server::roster::Client;

fn with_per_address(max_sessions_per_address: usize) -> World {
    let config = ServerConfig { max_sessions_per_address, ..ServerConfig::default() };
    let v6 = ServerSocket::first(at("[2001:db8:ffff::10]:3478"));
    World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478")), v6])
}

/// The handshake of a login whose answer is not used.
fn half_open(world: &mut World, secret: u8, address: &str) {
    let index = world.add(secret, address);
    for _ in 0..2 {
        let datagram = world.fakes[index].handshake.datagram().to_vec();
        world.send_raw(index, &datagram);
    }
    assert_eq!(world.fakes[index].refused, None);
    world.fakes[index].dead = true;
}

#[test]
fn sessions_that_move_to_one_address_are_within_its_limit() {
    let mut world = with_per_address(4);
    let players: Vec<usize> = (1..=10).map(|n| world.player(n, &format!("203.0.113.{n}:4000"))).collect();
    for (n, player) in players.iter().enumerate() {
        world.fakes[*player].address = at(&format!("192.0.2.1:{}", 5000 + n));
        world.ping(*player);
    }
    let there = |world: &World| {
        let routes = world.server.roster.clients().map(Client::ip);
        routes.filter(|ip| *ip == at("192.0.2.1:1").ip()).count()
    };
    assert_eq!(there(&world), 4);
    assert!(world.server.counters().limited >= 6);
    assert_eq!(world.server.gauges().sessions, 10, "nobody is thrown out");
    // One goes back where it was: its place is free for the next one.
    world.fakes[players[0]].address = at("203.0.113.1:4000");
    world.ping(players[0]);
    world.pass(Duration::from_millis(300));
    world.ping(players[9]);
    assert_eq!(there(&world), 4);
}

#[test]
fn logins_that_are_not_used_do_not_lock_their_address_out() {
    let mut world = with_per_address(3);
    for secret in 1..=30 {
        half_open(&mut world, secret, &format!("203.0.113.1:{}", 4000 + u16::from(secret)));
    }
    assert_eq!(world.server.roster.clients().count(), 3);
    world.player(100, "203.0.113.1:5000");
    world.player(101, "203.0.113.1:5001");
    assert_eq!(world.server.gauges().sessions, 2);
}

#[test]
fn a_login_that_is_not_used_is_gone_after_seconds() {
    let mut world = with_per_address(3);
    half_open(&mut world, 1, "203.0.113.1:4000");
    assert_eq!(world.server.roster.clients().count(), 1);
    world.pass(Duration::from_secs(11));
    assert_eq!(world.server.roster.clients().count(), 0);
    assert_eq!(world.server.roster.census_parts(), 0);
}

#[test]
fn a_full_address_or_server_lets_a_known_player_back_in() {
    for config in [
        ServerConfig { max_sessions_per_address: 2, ..ServerConfig::default() },
        ServerConfig { max_sessions: 2, ..ServerConfig::default() },
    ] {
        let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
        let first = world.player(1, "203.0.113.1:4000");
        world.player(2, "203.0.113.1:4001");
        world.kill(first);
        // It has lost its session, and comes from another port.
        world.player(1, "203.0.113.1:4002");
        assert_eq!(world.server.gauges().sessions, 2);
        let third = world.add(3, "203.0.113.1:4003");
        world.log_in(third);
        assert_eq!(world.fakes[third].refused, Some(LoginRefusal::Full));
    }
}

#[test]
fn one_customers_ipv6_prefix_does_not_fill_the_server() {
    let mut world = with_per_address(4);
    let mut inside = 0;
    for n in 1..=40u8 {
        let player = world.add(n, &format!("[2001:db8:7:{n:x}::1]:4000"));
        let datagram = world.fakes[player].handshake.datagram().to_vec();
        world.send_from(super::ServerSocketId(1), world.fakes[player].address, &datagram);
        let datagram = world.fakes[player].handshake.datagram().to_vec();
        world.send_from(super::ServerSocketId(1), world.fakes[player].address, &datagram);
        world.ping(player);
        inside += usize::from(world.fakes[player].session.is_some());
    }
    assert_eq!(inside, 8, "the /56 that all are in has twice the share of a /64");
}

#[test]
fn join_requests_of_one_address_leave_room_for_others() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, RoomOptions { auto_allow: false, capacity: 64, ..named("r") });
    let mut limited = 0;
    for n in 2..=60 {
        let player = world.player(n, &format!("198.51.100.1:{}", 4000 + u16::from(n)));
        let request = world.ask(player, by_name("r"));
        if matches!(world.fakes[player].answer(request), Some(Err(RequestError::Limited { .. }))) {
            limited += 1;
        }
    }
    let asked = |world: &World| {
        let told = world.fakes[host].told.iter();
        told.filter(|message| matches!(message, ToPlayer::JoinRequest { .. })).count()
    };
    assert_eq!((asked(&world), limited), (8, 51));
    let other = world.player(61, "192.0.2.1:4000");
    world.ask(other, by_name("r"));
    assert_eq!(asked(&world), 9);
}
