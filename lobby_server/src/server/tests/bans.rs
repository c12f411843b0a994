//! Bans at the core: what a login costs that cannot come to anything, and ways around a ban.

use super::*;
use crate::server::{BanError, Refusal};

fn world() -> World {
    let mut world = World::new();
    world.server.set_time_of_day(world.now, 1_800_000_000);
    world
}

fn banned(world: &World, index: usize) -> Option<(String, Option<u64>)> {
    match world.fakes[index].refused.clone()? {
        LoginRefusal::Banned { reason, left_s } => Some((reason, left_s)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_banned_address_costs_a_few_handshakes_and_is_told_why() {
    let mut world = world();
    world.server.ban(world.now, "203.0.113.0/24", None, Some(3600), "floods").unwrap();
    let mut told = 0;
    for n in 1..=50u8 {
        let index = world.add(n, &format!("203.0.113.1:{}", 4000 + u16::from(n)));
        world.log_in(index);
        assert!(world.fakes[index].session.is_none());
        if let Some(said) = banned(&world, index) {
            assert_eq!(said, ("floods".into(), Some(3600)));
            told += 1;
        }
    }
    assert_eq!(told, 5, "the rest made the server compute nothing");
    // Later it is told again, and somebody else at once.
    world.pass(Duration::from_secs(6));
    for (n, address) in [(60, "203.0.113.1:5000"), (61, "203.0.113.2:5000")] {
        let index = world.add(n, address);
        world.log_in(index);
        assert!(banned(&world, index).is_some(), "{address}");
    }
    world.player(62, "203.0.114.1:4000");
    assert!(world.server.counters().refusals.of(Refusal::LoginBanned) >= 50);
}

#[test]
fn who_is_banned_between_login_and_proof_does_not_get_in() {
    let mut world = world();
    let index = world.add(1, "203.0.113.1:4000");
    for _ in 0..2 {
        let datagram = world.fakes[index].handshake.datagram().to_vec();
        world.send_raw(index, &datagram);
    }
    assert!(world.fakes[index].session.is_some() && world.server.gauges().sessions == 0);
    world.server.ban(world.now, "203.0.113.1", None, None, "").unwrap();
    world.ping(index);
    assert_eq!(world.server.gauges().sessions, 0);
    let told = world.fakes[index].frames.iter().any(
        |frame| matches!(frame, Frame::Goodbye { reason, .. } if reason.contains("banned from this server")),
    );
    assert!(told, "{:?}", world.fakes[index].frames);
}

#[test]
fn a_session_does_not_move_to_a_banned_address() {
    let mut world = world();
    let index = world.player(1, "203.0.113.1:4000");
    world.server.ban(world.now, "192.0.2.0/24", Some("game"), None, "").unwrap();
    world.fakes[index].address = at("192.0.2.1:4000");
    world.ping(index);
    let rows = world.server.players();
    assert_eq!(rows[0].address, at("203.0.113.1:4000"), "it stays where it was");
    world.fakes[index].address = at("198.51.100.1:4000");
    world.ping(index);
    assert_eq!(world.server.players()[0].address, at("198.51.100.1:4000"), "elsewhere it goes");
}

#[test]
fn a_ban_puts_out_exactly_those_whom_it_is_about() {
    let mut world = world();
    let players: Vec<usize> = (1..=3).map(|n| world.player(n, &format!("203.0.113.{n}:4000"))).collect();
    assert_eq!(world.server.ban(world.now, "203.0.113.0/31", Some("another"), None, "").unwrap().put_out, 0);
    assert_eq!(world.server.ban(world.now, "203.0.113.2/31", Some("game"), None, "").unwrap().put_out, 2);
    world.turn();
    assert_eq!(world.server.gauges().sessions, 1);
    world.ping(players[0]);
    assert!(matches!(world.server.ban(world.now, "x", None, None, ""), Err(BanError::NotWhom(..))));
    assert_eq!(world.server.ban_rows(world.now).len(), 2);
    // Both of an hour and for good, in UTC.
    let banned = world.server.ban(world.now, "10.1.2.3", None, Some(3600), "").unwrap();
    assert_eq!(banned.ban.ends.as_deref(), Some("2027-01-15 09:00 UTC"));
    assert_eq!(banned.ban.made, "2027-01-15 08:00 UTC");
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.server.ban_rows(world.now).len(), 2, "one is over");
}
