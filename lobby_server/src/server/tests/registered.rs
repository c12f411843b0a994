//! Who is registered, with which addresses, and what the one program does for them (M28, M33, M34).

use super::*;
use crate::server::tests::{World, at, by_name, named};

/// Returns the frames of this kind that a player got.
fn pongs(fake: &Fake) -> Vec<(u32, SocketAddr)> {
    let pong = |frame: &Frame<ToPlayer>| match frame {
        Frame::Pong { id, observed } => Some((*id, *observed)),
        _ => None,
    };
    fake.frames.iter().filter_map(pong).collect()
}

#[test]
fn m28_the_seen_address_comes_in_the_data_and_the_own_ones_are_registered_as_the_player_names_them() {
    let mut world = World::new();
    let a = world.player(1, "203.0.113.1:4000");
    let b = world.player(2, "203.0.113.1:5000");
    for (player, seen) in [(a, "203.0.113.1:4000"), (b, "203.0.113.1:5000")] {
        assert_eq!(world.fakes[player].welcome.as_ref().unwrap().observed, at(seen));
        assert_eq!(pongs(&world.fakes[player]), [(1, at(seen))], "and again with each sign of life");
    }
    // The machine's interfaces are the player's to name: at the login, and when they change.
    let moved = vec![at("10.7.0.2:5000"), at("192.168.1.77:5000")];
    world.say(b, ToServer::LocalAddresses(moved.clone()));
    world.host(a, named("r"));
    world.answer(b, by_name("r")).unwrap();
    // Both are behind one NAT, so each is told the other's.
    assert_eq!(world.fakes[a].plans()[0].peer_local, moved);
    assert_eq!(world.fakes[b].plans()[0].peer_local, [at("192.168.1.1:4000")]);
}

#[test]
fn m33_one_program_at_one_address_reports_addresses_matches_and_maintains() {
    // One socket: what S3 calls the address server, the matching server and the maintenance server.
    let mut world = World::with(ServerConfig::default(), vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    // Address report.
    assert_eq!(world.fakes[host].welcome.as_ref().unwrap().observed, at("203.0.113.1:4000"));
    // Matching.
    let room = world.host(host, named("r"));
    assert_eq!(world.answer(joiner, by_name("r")), Ok(Response::Room(room)));
    assert_eq!(world.fakes[joiner].plans()[0].peer_public, [at("203.0.113.1:4000")]);
    assert_eq!(world.fakes[host].plans()[0].peer_public, [at("198.51.100.1:5000")]);
    // Maintenance: whoever is silent is forgotten, whoever gives signs of life is not.
    let timeout = RoomOptions::default().keep_seat;
    world.kill(joiner);
    let (step, mut passed) = (timeout / 8, Duration::ZERO);
    while passed <= timeout + step {
        world.pass(step);
        passed += step;
        world.ping(host);
    }
    assert_eq!(world.fakes[host].members(), [world.fakes[host].id()]);
    assert!(world.sent.iter().all(|(socket, ..)| *socket == ServerSocketId(0)));
}

#[test]
fn m34_one_who_is_not_registered_cannot_be_connected_to_and_the_request_says_why() {
    let mut world = World::new();
    let joiner = world.player(2, "198.51.100.1:5000");
    // Never logged in: an identity is no address.
    let never = world.add(3, "203.0.113.3:4000");
    let stranger = world.fakes[never].id();
    world.host(joiner, named("own"));
    let call = Request::Rematch { player: stranger };
    assert_eq!(world.answer(joiner, call), Err(RequestError::NoSuchPlayer));
    world.answer(joiner, Request::LeaveRoom).unwrap();
    assert_eq!(world.answer(joiner, by_name("r")), Err(RequestError::NoSuchRoom));

    // Logged in once, and silent for too long.
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, named("r"));
    world.kill(host);
    let timeout = ServerConfig::default().session_timeout;
    let (step, mut passed) = (timeout / 4, Duration::ZERO);
    while passed <= timeout * 2 {
        world.pass(step);
        passed += step;
        world.ping(joiner);
    }
    world.sent.clear();
    assert_eq!(world.answer(joiner, by_name("r")), Err(RequestError::NoSuchRoom));
    assert!(world.fakes[joiner].plans().is_empty(), "no address is told");
    let to_others = world.sent.iter().filter(|(_, to, _)| *to != at("198.51.100.1:5000")).count();
    assert_eq!(to_others, 0, "nobody else hears of it");
}
