//! Seats of players of whom nothing is heard, and matches that one side has given up.

use traversal_core::failure::FailureReason;
use traversal_core::id::MatchId;
use traversal_core::wire::message::{MatchEnd, MatchOutcome};

use super::votes::pass_with;
use super::*;

fn lost(match_id: MatchId) -> ToServer {
    let cause = Some(FailureReason::PathLost);
    ToServer::MatchReport { match_id, outcome: MatchOutcome::Lost, cause }
}

#[test]
fn who_says_that_it_lost_a_match_ends_only_its_own() {
    let mut world = World::new();
    let ([host, honest, liar], _) = world.three(named("r"));
    let newest_match = |world: &World, player: usize| world.fakes[player].newest_plan().match_id;
    let (honests, liars) = (newest_match(&world, honest), newest_match(&world, liar));
    world.say(liar, lost(honests));
    pass_with(&mut world, &[host, honest, liar], 8);
    assert_eq!((newest_match(&world, honest), newest_match(&world, liar)), (honests, liars));
    assert_eq!(world.server.gauges().matches, 2);
    for player in [host, honest, liar] {
        assert!(world.fakes[player].ends().1.is_empty());
    }
    // Its own is over for the other side too; since both are there they get a fresh one.
    world.say(liar, lost(liars));
    assert_eq!(world.fakes[host].ends().1, [MatchEnd::Gone]);
    assert_eq!(world.server.gauges().matches, 1);
    pass_with(&mut world, &[host, honest, liar], 5);
    assert_eq!(world.server.gauges().matches, 2);
    assert_ne!(newest_match(&world, liar), liars);
    assert_eq!(newest_match(&world, honest), honests);
}

#[test]
fn a_fresh_match_waits_until_both_are_heard() {
    let mut world = World::new();
    let ([host, other, sleeper], _) = world.three(named("r"));
    let plans = world.fakes[host].plans().len();
    world.fakes[sleeper].dead = true;
    pass_with(&mut world, &[host, other], 10);
    world.say(host, lost(world.fakes[sleeper].newest_plan().match_id));
    pass_with(&mut world, &[host, other], 20);
    assert_eq!(world.fakes[host].plans().len(), plans, "nobody answers there");
    world.fakes[sleeper].dead = false;
    pass_with(&mut world, &[host, other, sleeper], 5);
    assert_eq!(world.fakes[host].plans().len(), plans + 1);
}

#[test]
fn in_a_full_room_without_kept_seats_one_gives_way_to_who_is_there() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let member = world.player(2, "198.51.100.1:5000");
    let third = world.player(3, "198.51.100.2:6000");
    let room = world.host(host, RoomOptions { capacity: 2, keep_seat: Duration::ZERO, ..named("r") });
    assert!(world.answer(member, by_name("r")).is_ok());
    let ticket = world.fakes[member].ticket();
    world.kill(member);
    pass_with(&mut world, &[host, third], 20);
    assert_eq!(world.fakes[host].members().len(), 2, "nobody wants it");
    let request = world.ask(third, by_name("r"));
    pass_with(&mut world, &[host, third], 3);
    assert_eq!(world.fakes[third].answer(request), Some(Ok(Response::Room(room.clone()))));
    assert_eq!(world.fakes[host].ends().1, [MatchEnd::Gone], "who was away is not waited for any more");
    let back = world.player(2, "198.51.100.1:5001");
    let request = world.ask(back, back_to(&room, ticket));
    pass_with(&mut world, &[host, third, back], 3);
    assert_eq!(world.fakes[back].answer(request), Some(Err(RequestError::RoomFull)));
}
