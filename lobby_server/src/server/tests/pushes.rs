//! What other players cause never ends a session, and what nobody acknowledges does not go on for ever.

use super::*;
use traversal_core::NatFacts;
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::wire::message::{QueueStatus, QuickMatch};

fn profile(number: u32) -> NatProfile {
    let allocations = [PortAllocation::Random, PortAllocation::Sequential { step: 1 + (number / 2) as i32 }];
    NatProfile {
        mapping: MappingBehavior::AddressAndPortDependent,
        filtering: FilteringBehavior::AddressAndPortDependent,
        allocation: allocations[number as usize % 2],
        confidence: Confidence::Full,
        ..NatProfile::default()
    }
}

/// Sends reliable messages as fast as a changed client may: without waiting for acknowledgements. Sequence numbers go on
/// from `from`.
fn flood(world: &mut World, index: usize, from: u32, messages: impl Iterator<Item = ToServer>) {
    let now = world.now;
    for (seq, body) in (from..).zip(messages) {
        let Some(session) = &mut world.fakes[index].session else { return };
        let datagram = session.seal(now, Kind::Control, &Frame::Reliable { seq, body }).unwrap();
        world.send_raw(index, &datagram);
    }
}

#[test]
fn seven_hundred_profiles_of_one_member_do_not_throw_the_host_out() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let room = world.host(host, named("r"));
    let evil = world.player(66, "198.51.100.66:5000");
    assert!(world.answer(evil, by_name("r")).is_ok());
    world.fakes[host].dead = true;
    flood(
        &mut world,
        evil,
        2,
        (0..700).map(|number| ToServer::Profile {
            profile: profile(number),
            check: false,
            manual: NatFacts::NONE,
        }),
    );
    assert!(world.server.counters().limited > 0, "and it is told so by getting no acknowledgement");
    world.fakes[host].dead = false;
    world.pass(Duration::from_secs(4));
    assert_eq!(world.server.gauges().sessions, 2);
    assert_eq!(world.server.counters().pushes_dropped, 0);
    let Ok(Response::Rooms { rooms, .. }) =
        world.answer(host, Request::ListRooms { query: Default::default() })
    else {
        panic!("the host is still served")
    };
    assert_eq!((rooms[0].code.clone(), rooms[0].host_name.as_str()), (room.code, "P1"));
    assert_eq!(world.fakes[host].members().first(), Some(&world.fakes[host].id()), "and still hosts");
}

#[test]
fn who_comes_and_goes_in_a_queue_does_not_throw_out_who_waits() {
    let mut world = World::new();
    let victim = world.player(1, "203.0.113.1:4000");
    let wish = || Request::QuickMatch(QuickMatch { players: 64, ..QuickMatch::default() });
    assert!(world.answer(victim, wish()).is_ok());
    let evil: Vec<usize> = (0..6).map(|n| world.player(60 + n, &format!("198.51.100.{n}:5000"))).collect();
    // A bad network, or a game that loads: nothing for 20 s.
    world.fakes[victim].dead = true;
    world.sent.clear();
    let (mut asked, mut limited) = (0, 0);
    for _ in 0..200 {
        for index in &evil {
            for request in [wish(), Request::LeaveQueue] {
                asked += 1;
                let answer = world.answer(*index, request);
                limited += u32::from(matches!(answer, Err(RequestError::Limited { .. })));
            }
        }
        world.pass(Duration::from_millis(100));
    }
    assert!(limited > asked / 4, "{limited} of {asked}: who causes too much hears it");
    world.fakes[victim].dead = false;
    world.pass(Duration::from_secs(3));
    for index in &evil {
        let _ = world.answer(*index, Request::LeaveQueue);
    }
    world.pass(Duration::from_secs(3));
    assert_eq!(world.server.gauges().sessions, 7);
    assert_eq!(world.server.gauges().queued, 1, "and the victim waits on");
    let newest = world.fakes[victim].told.iter().rev().find_map(|message| match message {
        ToPlayer::Queue(status) => Some(*status),
        _ => None,
    });
    assert_eq!(newest, Some(QueueStatus { position: 1, waiting: 1, players: 64, estimate_s: None }));
}

#[test]
fn a_full_room_may_come_in_within_one_round_trip_of_the_host() {
    let mut world = World::new();
    let host = world.player(200, "203.0.113.200:4000");
    world.host(host, RoomOptions { capacity: 64, ..named("r") });
    let joiners: Vec<usize> = (1..64).map(|n| world.player(n, &format!("203.0.113.{n}:4000"))).collect();
    // The acknowledgements of the host are on their way.
    world.fakes[host].dead = true;
    for index in &joiners {
        assert!(world.answer(*index, by_name("r")).is_ok());
    }
    world.fakes[host].dead = false;
    world.pass(Duration::from_secs(3));
    assert_eq!(world.server.gauges().sessions, 64);
    assert_eq!(world.fakes[host].plans().len(), 63);
    for index in [vec![host], joiners].concat() {
        assert_eq!(world.fakes[index].members().len(), 64);
    }
    assert_eq!(world.server.counters().pushes_dropped, 0);
}

#[test]
fn matches_that_begin_and_end_unheard_leave_nothing_in_line() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, named("r"));
    let evil: Vec<usize> = (0..4).map(|n| world.player(60 + n, &format!("198.51.100.{n}:5000"))).collect();
    world.fakes[host].dead = true;
    for _ in 0..150 {
        for index in &evil {
            let _ = world.answer(*index, by_name("r"));
            let _ = world.answer(*index, Request::LeaveRoom);
        }
        world.pass(Duration::from_millis(200));
        if world.server.cx.uptime() > Duration::from_secs(30) {
            break;
        }
    }
    world.fakes[host].dead = false;
    world.fakes[host].told.clear();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.server.gauges().sessions, 5);
    // What was on its way, the list of members, and a note of each one's seat.
    let told = &world.fakes[host].told;
    let notes = told.iter().filter(|message| matches!(message, ToPlayer::SeatNotes { .. })).count();
    assert!(notes <= 4 * evil.len(), "{notes} notes");
    assert!(told.len() - notes <= 40, "{} messages", told.len());
    assert_eq!(world.fakes[host].members(), [world.fakes[host].id()]);
}

#[test]
fn a_message_over_the_rate_is_not_acknowledged_and_so_not_lost() {
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    let now = world.now;
    let session = world.fakes[player].session.as_mut().unwrap();
    // The burst is a thousand.
    for number in 0..1300u16 {
        let local = vec![SocketAddr::from(([192, 168, 1, 1], 1024 + number))];
        session.send(now, ToServer::LocalAddresses(local)).unwrap();
    }
    world.turn();
    assert!(world.server.counters().limited > 0);
    world.pass(Duration::from_secs(5));
    let session = world.fakes[player].session.as_ref().unwrap();
    assert_eq!(session.oldest_unacked(world.now), None, "all of them were taken");
    let local = world.server.roster.clients().next().unwrap().login().local();
    assert_eq!(local, [at("192.168.1.1:2323")]);
}

#[test]
fn only_where_a_player_is_proven_to_be_keeps_its_session_and_a_gone_address_gets_little() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, named("r"));
    let evil = world.player(66, "198.51.100.66:5000");
    world.sent.clear();
    // It has left its address to somebody else, and goes on from another one that it never proves.
    let mut session = world.fakes[evil].session.take().unwrap();
    world.fakes[evil].dead = true;
    let (start, mut seq) = (world.now, 100);
    let (mut early, mut late) = (0, 0);
    while world.server.gauges().sessions == 2 && world.now < start + Duration::from_secs(120) {
        for _ in 0..5 {
            let request = Request::ListRooms { query: Default::default() };
            let body = ToServer::Request { id: RequestId(seq), request };
            let datagram = session.seal(world.now, Kind::Control, &Frame::Reliable { seq, body }).unwrap();
            seq += 1;
            world.send_from(ServerSocketId(0), at("192.0.2.66:6000"), &datagram);
        }
        world.pass(Duration::from_millis(500));
        let silent = world.now > start + Duration::from_secs(10);
        let gone = |(_, to, _): &&(ServerSocketId, SocketAddr, Vec<u8>)| *to == at("198.51.100.66:5000");
        let bytes: usize = world.sent.iter().filter(gone).map(|(.., sent)| sent.len()).sum();
        *(if silent { &mut late } else { &mut early }) += bytes;
        world.sent.clear();
        // The host is there.
        world.ping(host);
    }
    assert_eq!(world.server.gauges().sessions, 1, "its session is over");
    let lasted = world.now - start;
    assert!(lasted < Duration::from_secs(37), "{lasted:?}");
    assert!(late <= 4096, "{late} bytes after ten seconds of silence");
    assert!(early <= 110_000, "{early} bytes before");
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_counted_and_changes_nothing() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, named("r"));
    let before = world.server.counters().dropped;
    let now = world.now;
    for seq in 1000..1100 {
        let session = world.fakes[host].session.as_mut().unwrap();
        let ack = session.seal(now, Kind::Control, &Frame::Ack { seq, counter: 0 }).unwrap();
        world.send_raw(host, &ack);
    }
    assert_eq!(world.server.counters().dropped, before + 100);
    let guest = world.player(2, "203.0.113.2:4000");
    assert!(world.answer(guest, by_name("r")).is_ok());
    assert_eq!(world.fakes[host].plans().len(), 1, "what is sent after that still arrives");
}
