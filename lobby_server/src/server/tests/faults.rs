//! What happens when players vanish, come back, move, or the server has limits.

use super::*;
use traversal_core::wire::message::{Facts, MatchEnd, RoomEnd};

fn ends(fake: &Fake) -> (Vec<RoomEnd>, Vec<MatchEnd>) {
    let mut rooms = Vec::new();
    let mut matches = Vec::new();
    for message in &fake.told {
        match message {
            ToPlayer::RoomEnded { reason, .. } => rooms.push(reason.clone()),
            ToPlayer::MatchEnded { reason, .. } => matches.push(*reason),
            _ => {}
        }
    }
    (rooms, matches)
}

#[test]
fn a_retransmitted_login_gets_the_same_answer_and_no_second_session() {
    let mut world = World::new();
    let player = world.add(1, "203.0.113.1:4000");
    let hello = world.fakes[player].handshake.datagram().to_vec();
    world.send_raw(player, &hello);
    let init = world.fakes[player].handshake.datagram().to_vec();
    world.send_raw(player, &init);
    let first = world.sent.back().unwrap().2.clone();
    world.send_raw(player, &init);
    assert_eq!(world.sent.back().unwrap().2, first);
    let answers = world.sent.len();
    world.send_from(ServerSocketId(0), at("192.0.2.66:1"), &init);
    assert_eq!(world.sent.len(), answers, "a copy from elsewhere is not answered");
    assert!(first.len() <= init.len() && world.sent.front().unwrap().2.len() <= hello.len());
    assert_eq!(world.server.roster.clients().count(), 1);
    assert_eq!(world.server.gauges().sessions, 0, "nobody is in before a sealed datagram");
    world.ping(player);
    assert_eq!(world.server.gauges().sessions, 1);
}

#[test]
fn a_full_room_lets_a_player_in_whose_ghost_is_silent() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let ghost = world.player(2, "198.51.100.1:5000");
    world.host(host, RoomOptions { capacity: 2, keep_seat: Duration::ZERO, ..named("r") });
    assert!(world.answer(ghost, by_name("r")).is_ok());
    world.kill(ghost);
    world.pass(Duration::from_millis(1500));
    let back = world.player(3, "198.51.100.1:5001");
    let join = world.ask(back, by_name("r"));
    assert_eq!(world.fakes[back].answer(join), None, "the members are asked first");
    world.pass(Duration::from_millis(1600));
    assert!(matches!(world.fakes[back].answer(join), Some(Ok(Response::Room(_)))));
    assert_eq!(ends(&world.fakes[host]).1, [MatchEnd::Gone]);
    assert_eq!(world.fakes[host].members().len(), 2);
}

#[test]
fn a_full_room_of_living_players_stays_full() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let member = world.player(2, "198.51.100.1:5000");
    world.host(host, RoomOptions { capacity: 2, ..named("r") });
    assert!(world.answer(member, by_name("r")).is_ok());
    world.pass(Duration::from_secs(5));
    let late = world.player(3, "198.51.100.2:5000");
    assert_eq!(world.answer(late, by_name("r")), Err(RequestError::RoomFull), "at once: all have answered");
    assert_eq!(world.fakes[host].members().len(), 2);
}

#[test]
fn of_two_who_wait_for_one_free_place_one_gets_it() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let ghost = world.player(2, "198.51.100.1:5000");
    world.host(host, RoomOptions { capacity: 2, keep_seat: Duration::ZERO, ..named("r") });
    assert!(world.answer(ghost, by_name("r")).is_ok());
    world.kill(ghost);
    world.pass(Duration::from_secs(2));
    let one = world.player(3, "198.51.100.2:5000");
    let two = world.player(4, "198.51.100.3:5000");
    let asked = [(one, world.ask(one, by_name("r"))), (two, world.ask(two, by_name("r")))];
    world.pass(Duration::from_secs(2));
    let answers = asked.map(|(index, id)| world.fakes[index].answer(id).expect("an answer").is_ok());
    assert_eq!(answers, [true, false]);
}

#[test]
fn a_name_whose_owner_was_killed_is_free_again_within_two_seconds() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let member = world.player(2, "198.51.100.1:5000");
    let old = world.host(host, RoomOptions { migrate: false, ..named("r") });
    assert!(world.answer(member, by_name("r")).is_ok());
    world.kill(host);
    world.pass(Duration::from_millis(1100));
    let back = world.player(3, "203.0.113.1:4001");
    let create = world.ask(back, Request::CreateRoom { options: named("r") });
    world.pass(Duration::from_millis(1600));
    let Some(Ok(Response::Room(room))) = world.fakes[back].answer(create) else { panic!("the room") };
    assert_ne!(room.id, old.id);
    assert_eq!(ends(&world.fakes[member]), (vec![RoomEnd::HostLost], vec![MatchEnd::Gone]));
    assert!(world.answer(member, by_name("r")).is_ok());
}

#[test]
fn a_silent_session_is_over_after_its_time_and_others_are_told() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let member = world.player(2, "198.51.100.1:5000");
    world.host(host, named("r"));
    assert!(world.answer(member, by_name("r")).is_ok());
    world.kill(member);
    let pass = |world: &mut World, times| {
        for _ in 0..times {
            world.pass(Duration::from_secs(10));
            world.ping(host);
        }
    };
    pass(&mut world, 5);
    assert_eq!(world.fakes[host].members().len(), 2, "its seat is kept");
    assert!(ends(&world.fakes[host]).1.is_empty());
    pass(&mut world, 2);
    assert_eq!(world.server.gauges().sessions, 1);
    assert_eq!(world.fakes[host].members().len(), 1);
    assert_eq!(ends(&world.fakes[host]).1, [MatchEnd::Gone]);
    assert_eq!(world.server.roster.census_parts(), 1);
}

#[test]
fn the_same_player_back_keeps_its_place_and_its_match() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let member = world.player(2, "198.51.100.1:5000");
    let room = world.host(host, RoomOptions { capacity: 2, ..named("r") });
    assert!(world.answer(member, by_name("r")).is_ok());

    // Both log in again from new addresses, as after a change of network.
    let (of_host, of_member) = (world.fakes[host].ticket(), world.fakes[member].ticket());
    let member_again = world.player(2, "198.51.100.9:5000");
    assert_eq!(ends(&world.fakes[member]).0, [RoomEnd::Replaced], "the old place is told");
    assert!(world.answer(member_again, back_to(&room, of_member)).is_ok());
    let host_again = world.player(1, "203.0.113.9:4000");
    let changed = RoomInfo { capacity: 8, ..room };
    let again = world.answer(host_again, back_to(&changed, of_host));
    assert_eq!(again, Ok(Response::Room(changed)));
    assert!(world.fakes[member_again].plans().is_empty() && world.fakes[host_again].plans().is_empty());
    world.pass(Duration::from_secs(20));
    world.ping(host_again);
    world.ping(member_again);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.fakes[member_again].members().len(), 2);
    assert_eq!(world.server.gauges().matches, 1);
    assert!(ends(&world.fakes[member_again]).1.is_empty());
}

#[test]
fn a_player_back_without_its_channel_gets_a_new_match_in_its_old_place() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let member = world.player(2, "198.51.100.1:5000");
    world.host(host, RoomOptions { capacity: 2, ..named("r") });
    assert!(world.answer(member, by_name("r")).is_ok());
    world.kill(member);
    let back = world.player(2, "198.51.100.1:5001");
    assert!(world.answer(back, by_name("r")).is_ok(), "at once: it has its place");
    assert_eq!(world.fakes[back].plans().len(), 1);
    assert_eq!(ends(&world.fakes[host]).1, [MatchEnd::Replaced]);
    assert_eq!(world.server.gauges().matches, 1);
}

#[test]
fn a_place_that_is_not_taken_up_again_is_given_away() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let member = world.player(2, "198.51.100.1:5000");
    world.host(host, RoomOptions { keep_seat: Duration::ZERO, ..named("r") });
    assert!(world.answer(member, by_name("r")).is_ok());
    world.kill(member);
    let back = world.player(2, "198.51.100.1:5001");
    for _ in 0..4 {
        world.pass(Duration::from_secs(10));
        world.ping(host);
        world.ping(back);
    }
    assert_eq!(world.fakes[host].members().len(), 1);
    assert_eq!(ends(&world.fakes[host]).1, [MatchEnd::Gone]);
}

#[test]
fn a_session_moves_only_after_an_echo_and_the_peer_is_told() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let member = world.player(2, "198.51.100.1:5000");
    world.host(host, named("r"));
    assert!(world.answer(member, by_name("r")).is_ok());

    // A captured datagram, sent on by somebody else: the challenge goes there, and no echo comes.
    let now = world.now;
    let session = world.fakes[host].session.as_mut().unwrap();
    let captured = session.seal(now, Kind::Control, &Frame::Ping { id: 5 }).unwrap();
    world.send_from(ServerSocketId(0), at("192.0.2.66:666"), &captured);
    let strange = world.sent.iter().filter(|(_, to, _)| *to == at("192.0.2.66:666")).count();
    assert_eq!(strange, 1, "nothing but the challenge");
    let id = world.server.roster.session_of(world.fakes[host].id()).unwrap();
    assert_eq!(world.server.roster.client(id).unwrap().route().peer, at("203.0.113.1:4000"));

    world.fakes[host].address = at("203.0.113.77:4100");
    world.ping(host);
    assert_eq!(world.server.roster.client(id).unwrap().route().peer, at("203.0.113.77:4100"));
    let told = world.fakes[member].told.iter().any(|message| {
        let facts = Facts::PeerPublic(vec![at("203.0.113.77:4100")]);
        matches!(message, ToPlayer::Facts { facts: told, .. } if *told == facts)
    });
    assert!(told, "the other player hears of it");
    let pong = world.fakes[host].frames.last().cloned();
    assert!(
        matches!(pong, Some(Frame::Pong { observed, .. }) if observed == at("203.0.113.77:4100")),
        "and the player where it is seen now: {pong:?}"
    );
    assert_eq!(world.server.roster.census_parts(), 2);
}

#[test]
fn one_address_has_its_share_of_sessions_and_rooms() {
    let config =
        ServerConfig { max_sessions_per_address: 3, max_rooms_per_address: 1, ..ServerConfig::default() };
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let players: Vec<usize> = (1..=3)
        .map(|index| world.player(index, &format!("203.0.113.1:{}", 4000 + u16::from(index))))
        .collect();
    let fourth = world.add(4, "203.0.113.1:4004");
    world.log_in(fourth);
    assert_eq!(world.fakes[fourth].refused, Some(LoginRefusal::Full));
    let elsewhere = world.player(5, "203.0.113.2:4000");
    world.host(players[0], named("a"));
    let second = world.answer(players[1], Request::CreateRoom { options: named("b") });
    assert!(matches!(second, Err(RequestError::Limited { .. })));
    world.host(elsewhere, named("c"));
}

#[test]
fn requests_over_the_rate_are_refused_with_a_reason() {
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    let answers: Vec<_> =
        (0..40).map(|_| world.answer(player, Request::ListRooms { query: Default::default() })).collect();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(RequestError::Limited { .. }))).count();
    assert_eq!(refused, 10, "of 40 at once the burst of 30 passes");
}

#[test]
fn games_and_tokens_are_checked() {
    struct Sesame;
    impl crate::TokenCheck for Sesame {
        fn check(&self, login: &crate::TokenLogin<'_>) -> Result<(), String> {
            if login.token == b"sesame" { Ok(()) } else { Err("say the word".into()) }
        }
    }
    let config = ServerConfig { games: vec!["game".into()], ..ServerConfig::default() };
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    world.server.set_token_check(Box::new(Sesame));
    let wrong = world.add(1, "203.0.113.1:4000");
    world.log_in(wrong);
    assert_eq!(world.fakes[wrong].refused, Some(LoginRefusal::Token { reason: "say the word".into() }));
    let other = world.add(2, "203.0.113.2:4000");
    world.fakes[other].login.game = "x".into();
    world.log_in(other);
    assert_eq!(world.fakes[other].refused, Some(LoginRefusal::UnknownGame { game: "x".into() }));
    let right = world.add(3, "203.0.113.3:4000");
    world.fakes[right].login.token = b"sesame".to_vec();
    world.log_in(right);
    assert!(world.fakes[right].session.is_some());
}

#[test]
fn a_registry_that_does_not_answer_is_said() {
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    world.registry = None;
    let list = world.ask(player, Request::ListRooms { query: Default::default() });
    let create = world.ask(player, Request::CreateRoom { options: named("r") });
    let join = world.ask(player, by_name("r"));
    assert_eq!(world.fakes[player].answer(join), Some(Err(RequestError::AlreadyInRoom)), "one at a time");
    // What this node knows by itself it lists.
    assert_eq!(world.fakes[player].answer(list), Some(Ok(Response::Rooms { rooms: Vec::new(), next: None })));
    world.pass(Duration::from_millis(2100));
    assert_eq!(world.fakes[player].answer(create), Some(Err(RequestError::RegistryUnavailable)));
    world.registry = Some(MemoryRegistry::new());
    world.turn();
    world.host(player, named("r"));
    assert_eq!(world.server.rooms.count(), 1);
}

#[test]
fn a_server_that_stops_says_so() {
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    let now = world.now;
    world.server.stop(now, "maintenance");
    world.turn();
    assert!(
        matches!(&world.fakes[player].frames[..], [.., Frame::Goodbye { reason, .. }] if reason == "maintenance")
    );
    let late = world.add(2, "203.0.113.2:4000");
    world.log_in(late);
    assert!(world.fakes[late].in_clear);
}

#[test]
fn a_session_that_is_not_known_is_told_so_in_fewer_bytes() {
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    world.server.roster.forget_all();
    let now = world.now;
    let ping = world.fakes[player].session.as_mut().unwrap().seal(now, Kind::Control, &Frame::Ping { id: 1 });
    let ping = ping.unwrap();
    world.send_raw(player, &ping);
    let (_, to, reply) = world.sent.back().unwrap();
    assert_eq!((*to, Kind::of(reply)), (at("203.0.113.1:4000"), Some(Kind::Refuse)));
    assert!(reply.len() <= ping.len());
}
