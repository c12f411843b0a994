//! Whether a host that the server does not hear is gone: members' words, lies, and proofs of life.

use super::super::test_support::life_key;
use super::*;
use traversal_core::id::RoomEpoch;

/// Lets time pass for a room whose host the server does not hear. These members stay logged in.
pub(super) fn pass_with(world: &mut World, members: &[usize], seconds: u64) {
    for _ in 0..seconds {
        world.pass(Duration::from_secs(1));
        members.iter().for_each(|member| world.ping(*member));
    }
}

#[test]
fn one_liar_keeps_no_dead_host_against_one_honest_member_whatever_it_shows() {
    let mut world = World::new();
    let ([host, honest, liar], room) = world.three(named("r"));
    // While the host lived the liar was asked once and has kept the answer.
    world.fakes[host].dead = true;
    world.host_seen(honest, &room, 0, false);
    world.pass(Duration::from_secs(2));
    let kept = world.proof(liar, host, &room);
    world.fakes[host].dead = false;
    world.ping(host);
    world.pass(Duration::from_secs(2));
    assert!(world.fakes[honest].keeps_its_host());
    world.fakes[honest].told.clear();

    world.ping(host);
    let died = world.now;
    world.kill(host);
    world.host_seen(honest, &room, 0, false);
    world.pass(Duration::from_secs(2));
    let fresh = world.proof(liar, host, &room);
    let [host_key, liar_key] = [host, liar].map(|player| world.fakes[player].identity.clone());
    let own = life_key(&liar_key)
        .prove(RoomEpoch { room: room.id, epoch: 0 }, &world.fakes[liar].challenge())
        .unwrap();
    let epoch = life_key(&host_key)
        .prove(RoomEpoch { room: room.id, epoch: 1 }, &world.fakes[liar].challenge())
        .unwrap();
    for (key, proof) in [
        (&host_key, kept),
        (&host_key, epoch),
        (&host_key, own),
        (&liar_key, own),
        (&liar_key, fresh),
        (&host_key, [0; 16]),
    ] {
        world.host_seen(liar, &room, 0, true);
        world.say(liar, ToServer::HostProof { room: room.id, epoch: 0, key: key.public_key(), proof });
    }
    pass_with(&mut world, &[honest, liar], 6);
    assert!(!world.fakes[honest].keeps_its_host() && world.fakes[honest].ends().0.is_empty());
    assert!(world.fakes[honest].hosts().is_empty(), "the server waits for its host somewhat longer");
    assert_eq!(world.fakes[honest].in_question(), Some(0), "and says so");
    pass_with(&mut world, &[honest, liar], 3);
    assert!(world.now - died < Duration::from_secs(12));
    let honest_id = world.fakes[honest].id();
    assert_eq!(world.fakes[liar].hosts(), [(1, honest_id, world.fakes[host].id())]);
    assert!(world.fakes[honest].newest_plan().hosting, "who did not hear it hosts");
}

#[test]
fn a_lying_member_does_not_hold_up_two_who_miss_the_host_and_does_not_host() {
    let mut world = World::new();
    let ([host, liar, one], room) = world.three(named("r"));
    let other = world.player(4, "198.51.100.4:6000");
    assert!(world.answer(other, by_name("r")).is_ok());
    world.kill(host);
    world.host_seen(liar, &room, 0, true);
    world.host_seen(one, &room, 0, false);
    world.pass(Duration::from_secs(2));
    world.host_seen(liar, &room, 0, true);
    world.host_seen(other, &room, 0, false);
    pass_with(&mut world, &[liar, one, other], 6);
    assert!(
        world.fakes[one].hosts().is_empty(),
        "one says otherwise: the server waits for its host somewhat longer"
    );
    pass_with(&mut world, &[liar, one, other], 3);
    let hosts = world.fakes[one].hosts();
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    assert_ne!(hosts[0].1, world.fakes[liar].id(), "though it is the eldest");
    assert!(!world.fakes[one].keeps_its_host() && !world.fakes[other].keeps_its_host());
}

#[test]
fn two_liars_of_three_members_keep_no_dead_host_and_do_not_host() {
    let mut world = World::new();
    let ([host, liar, second], room) = world.three(named("r"));
    let honest = world.player(4, "198.51.100.4:6000");
    assert!(world.answer(honest, by_name("r")).is_ok());
    world.kill(host);
    world.host_seen(honest, &room, 0, false);
    world.pass(Duration::from_secs(2));
    for _ in 0..9 {
        for liar in [liar, second] {
            world.host_seen(liar, &room, 0, true);
        }
        pass_with(&mut world, &[liar, second, honest], 1);
        assert!(!world.fakes[honest].keeps_its_host() && world.fakes[honest].ends().0.is_empty());
    }
    let honest_id = world.fakes[honest].id();
    assert_eq!(world.fakes[honest].hosts(), [(1, honest_id, world.fakes[host].id())]);
    assert_eq!(world.fakes[liar].hosts(), world.fakes[honest].hosts());
}

#[test]
fn one_proof_of_life_outweighs_all_who_say_that_the_host_is_gone() {
    let mut world = World::new();
    let ([host, liar, second], room) = world.three(named("r"));
    let honest = world.player(4, "198.51.100.4:6000");
    assert!(world.answer(honest, by_name("r")).is_ok());
    world.kill(host); // For the server, that is: it is cut off.
    for second_of_many in 0..75 {
        for liar in [liar, second] {
            world.host_seen(liar, &room, 0, false);
        }
        pass_with(&mut world, &[liar, second, honest], 1);
        world.answer_for(honest, host, &room);
        let stands = world.fakes[liar].keeps_its_host();
        assert!(stands || second_of_many < 4, "the liars are told so");
        assert!(world.fakes[honest].hosts().is_empty(), "after {second_of_many} s");
    }
    assert_eq!(world.server.gauges().sessions, 3, "its session is over long since");
    assert!(world.fakes[honest].ends().0.is_empty());
    // It dies, and that cannot be shown any more.
    for liar in [liar, second] {
        world.host_seen(liar, &room, 0, false);
    }
    world.pass(Duration::from_secs(2));
    world.host_seen(honest, &room, 0, false);
    assert_eq!(world.fakes[honest].hosts().len(), 1);
}

#[test]
fn a_proof_counts_of_a_member_that_was_asked_and_of_nobody_else() {
    let mut world = World::new();
    let ([host, honest, liar], room) = world.three(named("r"));
    let stranger = world.player(9, "203.0.113.9:4000");
    world.kill(host);
    world.host_seen(liar, &room, 0, false);
    world.pass(Duration::from_secs(2));
    let (key, proof) = (world.fakes[host].identity.public_key(), world.proof(honest, host, &room));
    world.say(stranger, ToServer::HostProof { room: room.id, epoch: 0, key, proof });
    pass_with(&mut world, &[honest, liar], 2);
    assert!(!world.fakes[liar].keeps_its_host());
    world.say(honest, ToServer::HostProof { room: room.id, epoch: 0, key, proof });
    pass_with(&mut world, &[honest, liar], 2);
    assert!(world.fakes[liar].keeps_its_host());
    // The question is over, and the next one has another challenge.
    world.fakes[liar].told.clear();
    world.host_seen(liar, &room, 0, false);
    for _ in 0..4 {
        world.say(honest, ToServer::HostProof { room: room.id, epoch: 0, key, proof });
        pass_with(&mut world, &[honest, liar], 1);
    }
    assert!(!world.fakes[liar].keeps_its_host());
    assert_ne!(world.proof(honest, host, &room), proof);
}

#[test]
fn a_host_that_is_cut_off_from_a_restarted_server_stays_host_by_its_proof() {
    let mut world = World::new();
    let ([host, honest, liar], room) = world.three(named("r"));
    let tickets = [honest, liar].map(|member| world.fakes[member].ticket());
    world.restart();
    let members = [world.player(2, "198.51.100.1:5000"), world.player(3, "198.51.100.2:6000")];
    for (member, ticket) in members.into_iter().zip(tickets) {
        assert!(world.answer(member, back_to(&room, ticket)).is_ok());
    }
    let [honest, liar] = members;
    world.host_seen(liar, &room, 0, false);
    world.host_seen(honest, &room, 0, true);
    pass_with(&mut world, &members, 3);
    world.prove(honest, host, &room);
    pass_with(&mut world, &members, 30);
    assert!(world.fakes[liar].keeps_its_host() && world.fakes[honest].hosts().is_empty());
}

#[test]
fn two_liars_take_no_room_from_a_host_that_is_only_slow_to_answer() {
    let mut world = World::new();
    let ([host, liar, second], room) = world.three(named("r"));
    let honest = world.player(4, "198.51.100.4:6000");
    assert!(world.answer(honest, by_name("r")).is_ok());
    world.fakes[host].dead = true;
    for liar in [liar, second] {
        world.host_seen(liar, &room, 0, false);
    }
    world.pass(Duration::from_secs(2));
    world.host_seen(honest, &room, 0, true);
    pass_with(&mut world, &[liar, second, honest], 5);
    world.fakes[host].dead = false;
    world.ping(host);
    pass_with(&mut world, &[host, liar, second, honest], 5);
    assert!(world.fakes[honest].hosts().is_empty() && world.fakes[honest].ends().0.is_empty());
    assert!(world.fakes[liar].keeps_its_host() && !world.fakes[honest].keeps_its_host());
    assert!(world.fakes[host].ends().0.is_empty());
}

#[test]
fn one_voice_alone_takes_no_room_from_a_host_that_the_server_misses_for_seconds() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let liar = world.player(2, "198.51.100.1:5000");
    let room = world.host(host, named("r"));
    assert!(world.answer(liar, by_name("r")).is_ok());
    world.fakes[host].dead = true;
    world.host_seen(liar, &room, 0, false);
    pass_with(&mut world, &[liar], 8);
    world.fakes[host].dead = false;
    world.ping(host);
    pass_with(&mut world, &[host, liar], 5);
    assert!(world.fakes[liar].hosts().is_empty() && world.fakes[liar].keeps_its_host());
    assert!(world.fakes[host].ends().0.is_empty());
}

#[test]
fn a_strangers_wish_that_ends_the_hosts_session_makes_no_ones_voice_weigh_more() {
    let mut world = World::new();
    let ([host, honest, liar], room) = world.three(named("r"));
    world.kill(host); // For the server, that is: it is cut off.
    world.host_seen(liar, &room, 0, false);
    world.pass(Duration::from_secs(2));
    world.host_seen(honest, &room, 0, true);
    // Its name is wanted, so the server asks it for a sign of life and ends its session.
    let friend = world.player(9, "203.0.113.9:4000");
    let _ = world.ask(friend, Request::CreateRoom { options: named("r") });
    pass_with(&mut world, &[honest, liar], 2);
    assert_eq!(world.server.gauges().sessions, 3, "the host's is over");
    assert!(world.fakes[honest].hosts().is_empty(), "nor by that sooner");
    world.prove(honest, host, &room);
    pass_with(&mut world, &[honest, liar], 20);
    assert!(world.fakes[honest].hosts().is_empty() && world.fakes[liar].keeps_its_host());
}

#[test]
fn a_host_that_only_the_server_does_not_hear_stays_host_also_when_its_session_is_over() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    let third = world.player(4, "198.51.100.4:6000");
    assert!(world.answer(third, by_name("r")).is_ok());
    let ticket = world.fakes[host].ticket();
    world.kill(host); // For the server, that is: it is cut off. So it is from the third.
    pass_with(&mut world, &[next, other, third], 4);
    for _ in 0..10 {
        world.host_seen(third, &room, 0, false);
        pass_with(&mut world, &[next, other, third], 2);
        for member in [next, other] {
            world.host_seen(member, &room, 0, true);
            world.prove(member, host, &room);
        }
        pass_with(&mut world, &[next, other, third], 5);
    }
    assert_eq!(world.server.gauges().sessions, 3);
    for member in [next, other] {
        assert!(world.fakes[member].ends().0.is_empty() && world.fakes[member].hosts().is_empty());
    }
    let back = world.player(1, "203.0.113.1:4001");
    assert_eq!(world.answer(back, back_to(&room, ticket)), Ok(Response::Room(room)));
    assert_eq!(world.fakes[other].members().len(), 4);
    assert!(world.fakes[back].plans().is_empty(), "it has its channels still");
}

#[test]
fn a_host_that_answers_stays_whatever_members_say() {
    let mut world = World::new();
    let ([host, next, other], room) = world.three(named("r"));
    for member in [next, other] {
        world.host_seen(member, &room, 0, false);
    }
    world.pass(Duration::from_secs(6));
    for member in [next, other] {
        assert!(world.fakes[member].keeps_its_host() && world.fakes[member].hosts().is_empty());
    }
    assert_eq!(world.fakes[host].ends().0, []);
    // A stranger, or a member of long ago, has no say.
    world.kill(host);
    assert_eq!(world.answer(next, Request::LeaveRoom), Ok(Response::Done));
    world.host_seen(next, &room, 0, false);
    world.host_seen(other, &room, 7, false);
    world.pass(Duration::from_secs(5));
    assert!(world.fakes[other].hosts().is_empty());
    assert!(!world.server.rooms.doubts_a_host());
}

#[test]
fn members_that_do_not_answer_do_not_hold_the_others_up_but_are_not_made_host() {
    let mut world = World::new();
    let ([host, dead, alive], room) = world.three(named("r"));
    world.kill(host);
    world.kill(dead);
    world.host_seen(alive, &room, 0, false);
    // One voice alone, so the server waits until it has missed the host for 10 s itself.
    pass_with(&mut world, &[alive], 11);
    let alive_id = world.fakes[alive].id();
    assert_eq!(world.fakes[alive].hosts(), [(1, alive_id, world.fakes[host].id())]);
    assert!(world.fakes[alive].newest_plan().hosting, "the other one is met when it is back");
}
