//! A room that outlives its host.

mod seats;
mod votes;

use super::*;
use traversal_core::nat::{MappingBehavior, PortAllocation};
use traversal_core::wire::message::{MatchEnd, RoomEnd};

#[test]
fn a_host_that_leaves_hands_the_room_over_at_once() {
    let mut world = World::new();
    let ([host, next, other], _) = world.three(named("r"));
    let (old_id, new_id) = (world.fakes[host].id(), world.fakes[next].id());
    assert_eq!(world.answer(host, Request::LeaveRoom), Ok(Response::Done));
    for member in [next, other] {
        assert_eq!(world.fakes[member].hosts(), [(1, new_id, old_id)]);
        assert_eq!(world.fakes[member].ends(), (vec![], vec![MatchEnd::Migrated]));
        let ticket = world.fakes[member].ticket();
        assert_eq!((ticket.epoch, ticket.host), (1, new_id));
        assert_eq!(world.fakes[member].members(), [new_id, world.fakes[other].id()]);
    }
    let (of_host, of_member) = (world.fakes[next].newest_plan(), world.fakes[other].newest_plan());
    assert!(of_host.hosting && !of_member.hosting && of_host.match_id == of_member.match_id);
    assert_eq!((of_host.epoch, of_member.epoch), (1, 1));
    assert_eq!(of_host.peer.id, world.fakes[other].id());
    assert_eq!(world.server.gauges().matches, 1, "the old host's are over");
    assert_eq!(world.server.counters().migrations, 1);
    // The room is open to all, the old host included, as it was.
    assert!(world.answer(host, by_name("r")).is_ok());
    assert!(!world.fakes[host].newest_plan().hosting);
    assert_eq!(world.fakes[next].members().len(), 3);
    // The new host may do what hosts do, and the old one may not.
    let metadata = BTreeMap::from([("map".to_string(), "ice".to_string())]);
    assert_eq!(world.answer(host, Request::SetMetadata(metadata.clone())), Err(RequestError::NotHost));
    assert_eq!(world.answer(next, Request::SetMetadata(metadata)), Ok(Response::Done));
}

#[test]
fn switched_off_the_room_closes_with_its_host() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(RoomOptions { migrate: false, ..named("r") });
    assert!(!room.migrate);
    world.host_seen(next, &room, 0, false);
    world.pass(Duration::from_secs(5));
    assert!(!world.fakes[other].is_asked(), "nobody is asked");
    assert_eq!(world.answer(host, Request::LeaveRoom), Ok(Response::Done));
    for member in [next, other] {
        assert!(world.fakes[member].hosts().is_empty());
        assert_eq!(world.fakes[member].ends().0, [RoomEnd::Closed]);
    }
    assert_eq!(world.server.gauges(), crate::Gauges { sessions: 3, ..crate::Gauges::default() });
}

#[test]
fn a_silent_host_is_replaced_when_its_members_confirm() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    world.kill(host);
    world.host_seen(next, &room, 0, false);
    world.pass(Duration::from_millis(1300));
    assert!(!world.fakes[other].is_asked(), "the host is asked first");
    world.pass(Duration::from_millis(400));
    assert!(world.fakes[other].is_asked() && !world.fakes[next].is_asked(), "who has not spoken is asked");
    assert!(world.fakes[next].hosts().is_empty());
    world.host_seen(other, &room, 0, false);
    let new_id = world.fakes[next].id();
    assert_eq!(world.fakes[other].hosts(), [(1, new_id, world.fakes[host].id())]);
    assert!(world.fakes[next].newest_plan().hosting);
    let (other, former) = (world.fakes[other].id(), world.fakes[host].id());
    assert_eq!(world.fakes[next].members(), [new_id, other, former], "it keeps its seat");
}

#[test]
fn the_next_host_is_the_one_that_all_reach_and_then_the_nearest() {
    let mut world = World::new();
    let players: Vec<usize> = (1..=4).map(|n| world.player(n, &format!("203.0.113.{n}:4000"))).collect();
    use MappingBehavior::{AddressAndPortDependent, EndpointIndependent};
    for (index, mapping, allocation) in [
        (players[1], AddressAndPortDependent, PortAllocation::Random),
        (players[2], EndpointIndependent, PortAllocation::Preserving),
        (players[3], AddressAndPortDependent, PortAllocation::Random),
    ] {
        world.profile(index, mapping, allocation);
    }
    world.host(players[0], named("r"));
    for joiner in &players[1..] {
        assert!(world.answer(*joiner, by_name("r")).is_ok());
    }
    assert!(world.answer(players[0], Request::LeaveRoom).is_ok());
    let reached = world.fakes[players[2]].id();
    assert_eq!(world.fakes[players[1]].hosts()[0].1, reached);
    assert_eq!(world.fakes[players[3]].members()[0], reached);
    // Of those who are left the first is as good as the other.
    assert!(world.answer(players[2], Request::LeaveRoom).is_ok());
    assert_eq!(world.fakes[players[3]].hosts()[1].1, world.fakes[players[1]].id());
}

#[test]
fn hosts_that_leave_one_after_the_other_end_the_room_with_the_last() {
    let mut world = World::new();
    let ([host, next, other], _) = world.three(named("r"));
    for (epoch, leaver) in [(1, host), (2, next)] {
        assert!(world.answer(leaver, Request::LeaveRoom).is_ok());
        assert_eq!(world.fakes[other].hosts().last().map(|host| host.0), Some(epoch));
    }
    assert!(world.answer(other, Request::LeaveRoom).is_ok());
    assert_eq!(world.server.gauges().rooms, 0);
    assert_eq!(world.answer(host, by_name("r")), Err(RequestError::NoSuchRoom));
}

#[test]
fn a_room_whose_players_all_vanish_goes_with_the_last_session() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    world.kill(host);
    world.host_seen(next, &room, 0, false);
    world.kill(next);
    world.kill(other);
    world.pass(Duration::from_secs(80));
    assert_eq!(world.server.gauges(), crate::Gauges::default());
    assert!(!world.server.rooms.doubts_a_host() && world.server.rooms.count() == 0);
}

#[test]
fn an_old_host_that_logs_in_anew_in_time_has_its_seat_as_a_member() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(RoomOptions { capacity: 3, ..named("r") });
    let ticket = world.fakes[host].ticket();
    world.kill(host);
    for member in [next, other] {
        world.host_seen(member, &room, 0, false);
    }
    for _ in 0..10 {
        world.pass(Duration::from_secs(5));
        [next, other].into_iter().for_each(|member| world.ping(member));
    }
    let back = world.player(1, "203.0.113.1:4001");
    let Ok(Response::Room(now)) = world.answer(back, back_to(&room, ticket)) else { panic!("it is let in") };
    assert_eq!((now.epoch, now.host), (1, world.fakes[next].id()));
    assert!(!world.fakes[back].newest_plan().hosting && world.fakes[next].newest_plan().hosting);
    assert_eq!(world.fakes[other].members().len(), 3);
}

#[test]
fn an_old_host_that_comes_back_too_late_is_told_and_may_join_as_a_member() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    let ticket = world.fakes[host].ticket();
    world.kill(host);
    for member in [next, other] {
        world.host_seen(member, &room, 0, false);
    }
    world.pass(Duration::from_secs(2));
    assert_eq!(world.fakes[other].hosts().len(), 1);
    for _ in 0..14 {
        world.pass(Duration::from_secs(5));
        [next, other].into_iter().for_each(|member| world.ping(member));
    }
    assert_eq!(world.fakes[next].members().len(), 2, "its seat is free");
    let back = world.player(1, "203.0.113.1:4001");
    let answer = world.answer(back, back_to(&room, ticket));
    assert_eq!(answer, Err(RequestError::StaleHost { epoch: 1 }));
    assert!(answer.unwrap_err().to_string().contains("join it as a member"));
    assert!(world.answer(back, by_name("r")).is_ok());
    assert!(!world.fakes[back].newest_plan().hosting);
    assert_eq!(world.fakes[next].members().len(), 3);
}

#[test]
fn an_old_host_that_was_only_slow_is_a_member_when_it_wakes() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    world.fakes[host].dead = true;
    for member in [next, other] {
        world.host_seen(member, &room, 0, false);
    }
    world.pass(Duration::from_secs(2));
    let plans = world.fakes[next].plans().len();
    world.fakes[host].dead = false;
    world.pass(Duration::from_secs(1));
    world.ping(host);
    assert!(world.fakes[host].ends().0.is_empty());
    let (old, new) = (world.fakes[host].id(), world.fakes[next].id());
    assert_eq!(world.fakes[host].hosts(), [(1, new, old)]);
    assert!(!world.fakes[host].newest_plan().hosting, "as an ordinary member");
    assert_eq!(world.fakes[next].plans().len(), plans + 1, "once it is there, and not before");
    assert_eq!(world.fakes[next].members(), [new, world.fakes[other].id(), old]);
}

#[test]
fn a_killed_host_that_joins_its_own_room_anew_is_a_member() {
    let mut world = World::new();
    let ([host, next, other], _) = world.three(named("r"));
    world.kill(host);
    let back = world.player(1, "203.0.113.1:4001");
    assert!(world.answer(back, by_name("r")).is_ok());
    assert_eq!(world.fakes[other].hosts(), [(1, world.fakes[next].id(), world.fakes[host].id())]);
    assert!(!world.fakes[back].newest_plan().hosting);
    assert_eq!(world.fakes[next].members().len(), 3);
}

#[test]
fn who_waits_for_the_old_hosts_word_gets_the_new_ones() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let next = world.player(2, "198.51.100.1:5000");
    let late = world.player(3, "198.51.100.2:6000");
    world.host(host, RoomOptions { auto_allow: false, ..named("r") });
    let asked = |fake: &Fake| {
        fake.told.iter().rev().find_map(|message| match message {
            ToPlayer::JoinRequest { join, .. } => Some(*join),
            _ => None,
        })
    };
    let first = world.ask(next, by_name("r"));
    let join = asked(&world.fakes[host]).expect("a request");
    world.say(host, ToServer::JoinAnswer { join, allow: true, reason: String::new() });
    assert!(matches!(world.fakes[next].answer(first), Some(Ok(Response::Room(_)))));
    let second = world.ask(late, by_name("r"));
    assert!(world.answer(host, Request::LeaveRoom).is_ok());
    let join = asked(&world.fakes[next]).expect("the new host is asked");
    world.say(next, ToServer::JoinAnswer { join, allow: true, reason: String::new() });
    assert!(matches!(world.fakes[late].answer(second), Some(Ok(Response::Room(_)))));
    assert!(world.fakes[next].newest_plan().hosting);
}

#[test]
fn a_killed_hosts_room_keeps_its_name_while_its_members_play_on() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    world.kill(host);
    world.pass(Duration::from_millis(1100));
    let stranger = world.player(9, "203.0.113.9:4000");
    let create = world.ask(stranger, Request::CreateRoom { options: named("r") });
    world.pass(Duration::from_millis(1600));
    assert_eq!(world.fakes[stranger].answer(create), Some(Err(RequestError::NameTaken)));
    for member in [next, other] {
        world.host_seen(member, &room, 0, false);
    }
    assert_eq!(world.fakes[other].hosts().len(), 1);
}

#[test]
fn after_a_restart_the_room_is_its_hosts_and_nobody_elses() {
    let mut world = World::new();
    let ([host, next, _], room) = world.three(named("r"));
    let (of_host, of_member) = (world.fakes[host].ticket(), world.fakes[next].ticket());
    assert!(!format!("{of_host:?}").contains(&format!("{:?}", of_host.seal)), "a secret is not printed");
    world.restart();
    let thief = world.player(8, "203.0.113.8:4000");
    for ticket in [
        of_host,
        of_member,
        RoomTicket { host: world.fakes[thief].id(), ..of_member },
        RoomTicket { epoch: 1, host: world.fakes[thief].id(), seal: [0; 16], ..of_host },
    ] {
        assert_eq!(world.answer(thief, back_to(&room, ticket)), Err(RequestError::BadTicket));
    }
    let again = world.player(1, "203.0.113.1:4000");
    let other_code = RoomInfo { code: "ZZZZZZ".into(), ..room.clone() };
    assert_eq!(world.answer(again, back_to(&other_code, of_host)), Err(RequestError::BadTicket));
    let other_name = RoomInfo { name: "s".into(), ..room.clone() };
    assert_eq!(world.answer(again, back_to(&other_name, of_host)), Err(RequestError::BadTicket));
    assert_eq!(world.answer(again, back_to(&room, of_host)), Ok(Response::Room(room.clone())));
    let member = world.player(2, "198.51.100.1:5000");
    assert_eq!(world.answer(member, back_to(&room, of_member)), Ok(Response::Room(room.clone())));
    assert!(world.fakes[member].plans().is_empty(), "it still has its channel");
    assert_eq!(world.fakes[again].members().len(), 2);
    // A stranger enters by the door.
    assert!(world.answer(thief, by_name("r")).is_ok());
    assert_eq!(world.fakes[thief].plans().len(), 1);
}

#[test]
fn a_name_taken_meanwhile_is_not_entered_by_members_of_the_former_room() {
    let mut world = World::new();
    let ([host, next, _], room) = world.three(named("r"));
    let (of_host, of_member) = (world.fakes[host].ticket(), world.fakes[next].ticket());
    world.restart();
    let stranger = world.player(8, "203.0.113.8:4000");
    world.host(stranger, named("r"));
    let member = world.player(2, "198.51.100.1:5000");
    assert_eq!(world.answer(member, back_to(&room, of_member)), Err(RequestError::NameTaken));
    let again = world.player(1, "203.0.113.1:4000");
    assert_eq!(world.answer(again, back_to(&room, of_host)), Err(RequestError::NameTaken));
    assert_eq!(world.fakes[stranger].members().len(), 1);
}

#[test]
fn a_restart_while_the_host_is_lost_does_not_end_the_room() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    let tickets = [next, other].map(|member| world.fakes[member].ticket());
    world.restart();
    let members = [world.player(2, "198.51.100.1:5000"), world.player(3, "198.51.100.2:6000")];
    for (member, ticket) in members.into_iter().zip(tickets) {
        assert_eq!(world.answer(member, back_to(&room, ticket)), Ok(Response::Room(room.clone())));
    }
    assert!(world.fakes[members[1]].hosts().is_empty(), "the host has its time to come back");
    for member in members {
        world.host_seen(member, &room, 0, false);
    }
    let new_id = world.fakes[members[0]].id();
    assert_eq!(world.fakes[members[1]].hosts(), [(1, new_id, world.fakes[host].id())]);
    assert!(world.fakes[members[0]].newest_plan().hosting);
}

#[test]
fn after_a_restart_the_newest_host_wins_whoever_comes_first() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    let old_ticket = world.fakes[host].ticket();
    world.kill(host);
    for member in [next, other] {
        world.host_seen(member, &room, 0, false);
    }
    world.pass(Duration::from_secs(2));
    let (new_ticket, of_other) = (world.fakes[next].ticket(), world.fakes[other].ticket());
    assert_eq!((new_ticket.epoch, new_ticket.host), (1, world.fakes[next].id()));
    world.restart();
    let old = world.player(1, "203.0.113.1:4000");
    assert_eq!(world.answer(old, back_to(&room, old_ticket)), Ok(Response::Room(room.clone())));
    // A member's ticket proves as well as the host's that there was another host since.
    let member = world.player(3, "198.51.100.2:6000");
    assert!(world.answer(member, back_to(&room, of_other)).is_ok());
    assert_eq!(world.fakes[old].ends().0, [RoomEnd::HostReplaced { epoch: 1 }]);
    let new = world.player(2, "198.51.100.1:5000");
    let Ok(Response::Room(again)) = world.answer(new, back_to(&room, new_ticket)) else { panic!("a room") };
    assert_eq!((again.epoch, again.host), (1, world.fakes[new].id()));
    assert_eq!(world.fakes[new].members(), [world.fakes[new].id(), world.fakes[member].id()]);
    assert_eq!(world.answer(old, back_to(&room, old_ticket)), Err(RequestError::StaleHost { epoch: 1 }));
}

#[test]
fn a_mesh_keeps_its_other_pairs_when_the_host_leaves() {
    let mut world = World::new();
    let mesh = RoomOptions { topology: message::Topology::Mesh, ..named("r") };
    let ([host, next, other], _) = world.three(mesh);
    let late = world.player(4, "198.51.100.4:6000");
    assert!(world.answer(late, by_name("r")).is_ok());
    assert_eq!(world.server.gauges().matches, 6);
    let kept = world.fakes[late].plans().into_iter().find(|plan| plan.peer.id == world.fakes[other].id());
    assert!(world.answer(host, Request::LeaveRoom).is_ok());
    assert_eq!(world.server.gauges().matches, 3);
    let plan = world.fakes[late].newest_plan();
    assert!(!plan.hosting && !plan.mesh && plan.peer.id == world.fakes[next].id(), "with the new host");
    let ended = world.fakes[late].told.iter().any(|message| {
        matches!(message, ToPlayer::MatchEnded { match_id, .. } if Some(*match_id) == kept.as_ref().map(|plan| plan.match_id))
    });
    assert!(!ended, "the pair that has nothing to do with a host");
}
