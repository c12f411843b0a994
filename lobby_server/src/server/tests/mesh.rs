//! Rooms in which every pair is to be connected.

use std::collections::BTreeSet;

use super::*;
use crate::server::tests::{World, by_name, named};
use traversal_core::wire::message::{MESH_CAPACITY, MatchEnd, RoomEnd, Topology};

fn mesh(name: &str) -> RoomOptions {
    RoomOptions { topology: Topology::Mesh, migrate: false, ..named(name) }
}

/// Returns a mesh with so many players, the host first.
fn world_of(players: u8) -> World {
    let mut world = World::new();
    for index in 1..=players {
        let player = world.player(index, &format!("203.0.113.{index}:4000"));
        if index == 1 {
            let room = world.host(player, mesh("r"));
            assert_eq!(room.topology, Topology::Mesh);
        } else {
            assert!(world.answer(player, by_name("r")).is_ok());
        }
    }
    world
}

/// Says of each player's plans with whom they are, whether it came first, and whether neither hosts.
fn pairs(world: &World) -> Vec<Vec<(PlayerId, bool, bool)>> {
    let plans_of =
        |fake: &Fake| fake.plans().iter().map(|plan| (plan.peer.id, plan.hosting, plan.mesh)).collect();
    world.fakes.iter().map(plans_of).collect()
}

fn ends(fake: &Fake) -> Vec<MatchEnd> {
    fake.told
        .iter()
        .filter_map(|message| match message {
            ToPlayer::MatchEnded { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect()
}

#[test]
fn each_who_comes_is_matched_with_all_who_are_there() {
    let world = world_of(4);
    let id = |index: usize| world.fakes[index].id();
    let expected = vec![
        vec![(id(1), true, false), (id(2), true, false), (id(3), true, false)],
        vec![(id(0), false, false), (id(2), true, true), (id(3), true, true)],
        vec![(id(0), false, false), (id(1), false, true), (id(3), true, true)],
        vec![(id(0), false, false), (id(1), false, true), (id(2), false, true)],
    ];
    assert_eq!(pairs(&world), expected);
    assert_eq!(world.server.gauges().matches, 6);
    // Each pair has keys, and a relay's tokens, of its own.
    let plans: Vec<PunchPlan> = world.fakes.iter().flat_map(Fake::plans).collect();
    assert_eq!(plans.iter().map(|plan| plan.pair_secret).collect::<BTreeSet<_>>().len(), 6);
    assert_eq!(plans.iter().map(|plan| plan.relay.unwrap().token).collect::<BTreeSet<_>>().len(), 12);
}

#[test]
fn in_a_star_nobody_is_matched_but_with_the_host() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, named("r"));
    for index in 2..=4 {
        let player = world.player(index, &format!("203.0.113.{index}:4000"));
        assert!(world.answer(player, by_name("r")).is_ok());
    }
    assert_eq!(world.server.gauges().matches, 3);
    assert!(pairs(&world).concat().iter().all(|(_, _, mesh)| !mesh));
}

#[test]
fn leaving_kicking_and_closing_end_all_pairs() {
    let mut world = world_of(5);
    assert_eq!(world.answer(1, Request::LeaveRoom), Ok(Response::Done));
    for index in [0, 2, 3, 4] {
        assert_eq!(ends(&world.fakes[index]), [MatchEnd::Left], "{index}");
    }
    assert_eq!(world.server.gauges().matches, 6);
    let kick = Request::Kick {
        player: world.fakes[2].id(),
        reason: "cheats".into(),
        rejoin: message::Rejoin::Never,
    };
    assert_eq!(world.answer(0, kick), Ok(Response::Done));
    assert_eq!(ends(&world.fakes[2]), [MatchEnd::Left, MatchEnd::Kicked, MatchEnd::Kicked, MatchEnd::Kicked]);
    for index in [0, 3, 4] {
        assert_eq!(ends(&world.fakes[index]), [MatchEnd::Left, MatchEnd::Kicked], "{index}");
    }
    assert_eq!(world.answer(0, Request::LeaveRoom), Ok(Response::Done));
    assert_eq!(world.server.gauges().relays, world.server.gauges().matches);
    for index in [3, 4] {
        let closed =
            |message: &ToPlayer| matches!(message, ToPlayer::RoomEnded { reason: RoomEnd::Closed, .. });
        assert!(world.fakes[index].told.iter().any(closed));
    }
}

#[test]
fn a_mesh_is_not_larger_than_its_players_can_bear() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let options = RoomOptions { capacity: MESH_CAPACITY + 1, ..mesh("r") };
    let refused = world.answer(host, Request::CreateRoom { options });
    assert!(
        matches!(&refused, Err(RequestError::Malformed { what }) if what.contains("mesh")),
        "{refused:?}"
    );
    world.host(host, RoomOptions { capacity: MESH_CAPACITY, ..mesh("r") });
    for index in 2..=MESH_CAPACITY as u8 {
        let player = world.player(index, &format!("203.0.113.{index}:4000"));
        assert!(world.answer(player, by_name("r")).is_ok());
    }
    assert_eq!(world.server.gauges().matches, 120);
    assert_eq!(world.fakes[15].plans().len(), 15);
}

#[test]
fn a_pair_without_a_connection_is_matched_anew_when_the_later_one_asks() {
    let mut world = world_of(3);
    let before = world.fakes[1].plans().last().unwrap().match_id;
    let again = Request::Rematch { player: world.fakes[1].id() };
    assert_eq!(world.answer(2, again.clone()), Ok(Response::Done));
    let (of_one, of_two) = (world.fakes[1].plans(), world.fakes[2].plans());
    let (one, two) = (of_one.last().unwrap(), of_two.last().unwrap());
    assert_eq!(one.match_id, two.match_id);
    assert_ne!(one.match_id, before);
    assert!(one.hosting && one.mesh && !two.hosting && two.mesh);
    assert_eq!(world.server.gauges().matches, 3, "it takes the old one's place");

    // Not with oneself, the host, strangers, or those who were silent for long.
    let rematch = |world: &World, index: usize| Request::Rematch { player: world.fakes[index].id() };
    let (own, host) = (rematch(&world, 2), rematch(&world, 0));
    assert_eq!(world.answer(2, own), Err(RequestError::NoSuchPlayer));
    assert!(matches!(world.answer(2, host), Err(RequestError::Malformed { .. })));
    let stranger = world.player(9, "203.0.113.9:4000");
    let wish = rematch(&world, stranger);
    assert_eq!(world.answer(2, wish), Err(RequestError::NoSuchPlayer));
    assert_eq!(world.answer(stranger, again.clone()), Err(RequestError::NotInRoom));
    world.kill(1);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.answer(2, again), Err(RequestError::NoSuchPlayer));
}

#[test]
fn who_takes_its_room_up_again_gets_no_plans_and_may_ask_for_what_is_missing() {
    let mut world = world_of(3);
    // A new session, as after the server was away.
    let now = world.now;
    world.fakes[2].handshake = ClientHandshake::new(&mut world.rng);
    world.log_in(2);
    let ticket = world.fakes[2].ticket();
    let room = world.server.rooms.room(ticket.room).unwrap().info();
    assert_eq!(world.answer(2, back_to(&room, ticket)), Ok(Response::Room(room)));
    assert_eq!(world.fakes[2].plans().len(), 2);
    let again = Request::Rematch { player: world.fakes[1].id() };
    assert_eq!(world.answer(2, again), Ok(Response::Done));
    assert_eq!(world.fakes[2].plans().len(), 3);
    assert_eq!(now, world.now);
}
