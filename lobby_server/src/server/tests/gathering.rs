//! Quick matches.

use super::*;
use crate::server::tests::{World, by_name, named};
use traversal_core::NatFacts;
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::wire::message::{
    Farewell, MatchFound, NumberRule, QueueStatus, QuickMatch, QuickMatched, QuickRules, TextRule, Topology,
};

fn wish(mode: &str, players: u16) -> Request {
    Request::QuickMatch(QuickMatch { mode: mode.into(), players, ..QuickMatch::default() })
}

fn matched(fake: &Fake) -> Option<QuickMatched> {
    fake.told.iter().find_map(|message| match message {
        ToPlayer::QuickMatched(matched) => Some((**matched).clone()),
        _ => None,
    })
}

fn status(fake: &Fake) -> Option<QueueStatus> {
    fake.told.iter().rev().find_map(|message| match message {
        ToPlayer::Queue(status) => Some(*status),
        _ => None,
    })
}

fn players(world: &mut World, count: u8) -> Vec<usize> {
    (1..=count).map(|index| world.player(index, &format!("203.0.113.{index}:4000"))).collect()
}

#[test]
fn two_who_want_the_same_are_put_into_a_room_of_their_own() {
    let mut world = World::new();
    let two = players(&mut world, 2);
    assert_eq!(world.answer(two[0], wish("duel", 2)), Ok(Response::Done));
    assert_eq!(
        status(&world.fakes[0]),
        Some(QueueStatus { position: 1, waiting: 1, players: 2, estimate_s: None })
    );
    assert_eq!(world.server.gauges().queued, 1);
    assert_eq!(world.answer(two[1], wish("duel", 2)), Ok(Response::Done));
    let rooms: Vec<QuickMatched> = world.fakes.iter().map(|fake| matched(fake).expect("matched")).collect();
    assert_eq!(rooms[0], rooms[1]);
    let room = &rooms[0].room;
    assert_eq!((room.host, room.capacity), (world.fakes[0].id(), 2));
    assert_eq!(room.name, room.code);
    assert_eq!(room.metadata["mode"], "duel");
    let both = [world.fakes[0].id(), world.fakes[1].id()];
    for (index, host) in [(0, true), (1, false)] {
        let plans = world.fakes[index].plans();
        assert_eq!(plans.len(), 1);
        assert_eq!((plans[0].hosting, plans[0].mesh), (host, false));
        assert_eq!(world.fakes[index].members(), both);
    }
    let gauges = world.server.gauges();
    assert_eq!((gauges.queued, gauges.rooms, gauges.matches), (0, 1, 1));
    assert_eq!(world.server.counters().quick_matches, 1);
    // It is not for strangers, and a room like any other.
    let listed = world.answer(0, Request::ListRooms { query: Default::default() });
    assert_eq!(listed, Ok(Response::Rooms { rooms: Vec::new(), next: None }));
    assert_eq!(world.answer(1, Request::LeaveRoom), Ok(Response::Done));
    assert_eq!(world.answer(0, Request::LeaveRoom), Ok(Response::Done));
    assert_eq!(world.server.gauges().rooms, 0);
}

#[test]
fn modes_numbers_shapes_games_and_versions_do_not_mix() {
    let mut world = World::new();
    for (secret, game, protocol) in
        [(1, "game", 1), (2, "game", 1), (3, "game", 1), (4, "game", 1), (5, "other", 1), (6, "game", 2)]
    {
        let player = world.add(secret, &format!("203.0.113.{secret}:4000"));
        world.fakes[player].login.game = game.into();
        world.fakes[player].login.game_protocol = protocol;
        world.log_in(player);
    }
    let mesh =
        QuickMatch { mode: "duel".into(), players: 2, topology: Topology::Mesh, ..QuickMatch::default() };
    let wishes = [
        wish("duel", 2),
        wish("race", 2),
        wish("duel", 3),
        Request::QuickMatch(mesh),
        wish("duel", 2),
        wish("duel", 2),
    ];
    for (index, wish) in wishes.into_iter().enumerate() {
        assert_eq!(world.answer(index, wish), Ok(Response::Done));
    }
    assert!(world.fakes.iter().all(|fake| matched(fake).is_none()));
    assert_eq!(world.server.gauges().queued, 6);
}

#[test]
fn who_waited_longest_plays_first_and_hears_how_it_comes_along() {
    let mut world = World::new();
    players(&mut world, 5);
    for index in 0..3 {
        assert!(world.answer(index, wish("", 4)).is_ok());
    }
    for (index, position) in [(0, 1), (1, 2), (2, 3)] {
        assert_eq!(
            status(&world.fakes[index]),
            Some(QueueStatus { position, waiting: 3, players: 4, estimate_s: None })
        );
    }
    assert_eq!(world.answer(0, Request::LeaveQueue), Ok(Response::Done));
    assert_eq!(
        status(&world.fakes[2]),
        Some(QueueStatus { position: 2, waiting: 2, players: 4, estimate_s: None })
    );
    for index in [3, 0] {
        assert!(world.answer(index, wish("", 4)).is_ok());
    }
    assert_eq!(matched(&world.fakes[1]).unwrap().room.host, world.fakes[1].id());
    for index in [0, 2, 3] {
        assert!(matched(&world.fakes[index]).is_some());
        assert_eq!(world.fakes[index].plans().len(), 1, "a star");
    }
    assert!(matched(&world.fakes[4]).is_none());
}

#[test]
fn a_quick_match_may_be_a_mesh() {
    let mut world = World::new();
    players(&mut world, 3);
    let mesh =
        QuickMatch { mode: "fight".into(), players: 3, topology: Topology::Mesh, ..QuickMatch::default() };
    for index in 0..3 {
        assert!(world.answer(index, Request::QuickMatch(mesh.clone())).is_ok());
    }
    assert_eq!(world.server.gauges().matches, 3);
    assert!(world.fakes.iter().all(|fake| fake.plans().len() == 2));
    assert_eq!(matched(&world.fakes[0]).unwrap().room.topology, Topology::Mesh);
}

#[test]
fn the_one_whom_the_others_reach_hosts() {
    let mut world = World::new();
    players(&mut world, 3);
    let profile = |mapping, allocation| NatProfile {
        mapping,
        allocation,
        filtering: FilteringBehavior::AddressAndPortDependent,
        confidence: Confidence::Full,
        ..NatProfile::default()
    };
    let symmetric = profile(MappingBehavior::AddressAndPortDependent, PortAllocation::Random);
    let cone = profile(MappingBehavior::EndpointIndependent, PortAllocation::Preserving);
    for (index, profile) in [symmetric, symmetric, cone].into_iter().enumerate() {
        world.say(index, ToServer::Profile { profile, check: false, manual: NatFacts::NONE });
    }
    for index in 0..3 {
        assert!(world.answer(index, wish("", 3)).is_ok());
    }
    let room = matched(&world.fakes[0]).unwrap().room;
    assert_eq!(room.host, world.fakes[2].id());
    assert_eq!(world.fakes[0].members(), [2, 0, 1].map(|index: usize| world.fakes[index].id()));
    assert!(world.fakes[2].plans().iter().all(|plan| plan.hosting));
}

#[test]
fn refusals_say_why() {
    let config = ServerConfig { max_queued_per_address: 2, ..ServerConfig::default() };
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let first = world.player(1, "203.0.113.1:4000");
    assert_eq!(world.answer(first, Request::LeaveQueue), Err(RequestError::NotQueued));
    let bad = world.answer(first, wish("x", 1));
    assert!(matches!(bad, Err(RequestError::Malformed { .. })), "{bad:?}");
    assert!(world.answer(first, wish("x", 3)).is_ok());
    assert_eq!(world.answer(first, wish("y", 3)), Err(RequestError::AlreadyQueued));
    let create = Request::CreateRoom { options: named("r") };
    assert_eq!(world.answer(first, create), Err(RequestError::AlreadyQueued));
    assert_eq!(world.answer(first, by_name("r")), Err(RequestError::AlreadyQueued));
    let second = world.player(2, "203.0.113.1:4001");
    assert!(world.answer(second, wish("x", 3)).is_ok());
    let third = world.player(3, "203.0.113.1:4002");
    assert!(matches!(world.answer(third, wish("z", 3)), Err(RequestError::Limited { .. })));
    let host = world.player(4, "203.0.113.4:4000");
    world.host(host, named("r"));
    assert_eq!(world.answer(host, wish("x", 3)), Err(RequestError::AlreadyInRoom));
}

#[test]
fn one_who_was_killed_in_the_queue_holds_up_nobody_and_is_in_no_room() {
    let mut world = World::new();
    players(&mut world, 3);
    assert!(world.answer(0, wish("duel", 2)).is_ok());
    world.kill(0);
    world.pass(Duration::from_millis(10));
    assert!(world.answer(1, wish("duel", 2)).is_ok());
    world.pass(Duration::from_secs(1));
    assert!(matched(&world.fakes[1]).is_none(), "the first one is still being asked");
    world.pass(Duration::from_secs(1));
    let alone = QueueStatus { position: 1, waiting: 1, players: 2, estimate_s: None };
    assert_eq!(status(&world.fakes[1]), Some(alone), "it is gone, and the other one waits on");
    world.ping(2);
    assert!(world.answer(2, wish("duel", 2)).is_ok());
    world.pass(Duration::from_secs(1));
    let room = matched(&world.fakes[1]).expect("matched").room;
    assert_eq!(world.fakes[1].members(), [1, 2].map(|index: usize| world.fakes[index].id()));
    assert_eq!(room.host, world.fakes[1].id());
}

#[test]
fn who_logs_in_anew_or_out_waits_no_longer() {
    let mut world = World::new();
    players(&mut world, 3);
    for index in 0..2 {
        assert!(world.answer(index, wish("", 3)).is_ok());
    }
    world.fakes[0].handshake = ClientHandshake::new(&mut world.rng);
    world.log_in(0);
    assert_eq!(world.server.gauges().queued, 1);
    let now = world.now;
    let goodbye = Frame::Goodbye { reason: String::new(), why: Farewell::Leaving };
    world.fakes[1].session.as_mut().unwrap().send_once(now, &goodbye);
    world.turn();
    assert_eq!(world.server.gauges().queued, 0);
    for index in [0, 2] {
        assert!(world.answer(index, wish("", 2)).is_ok());
    }
    assert!(matched(&world.fakes[0]).is_some());
}

#[test]
fn who_leaves_while_the_registry_thinks_leaves_the_others_waiting() {
    let mut world = World::new();
    players(&mut world, 3);
    let registry = world.registry.take();
    for index in 0..2 {
        world.ask(index, wish("", 2));
    }
    world.ask(1, Request::LeaveQueue);
    world.ask(2, wish("", 2));
    world.registry = registry;
    world.turn();
    assert!(matched(&world.fakes[1]).is_none());
    for index in [0, 2] {
        let room = matched(&world.fakes[index]).expect("matched").room;
        assert_eq!(room.host, world.fakes[0].id());
    }
    assert_eq!(world.server.gauges().rooms, 1);
}

#[test]
fn without_the_registry_those_who_wait_are_told() {
    let mut world = World::new();
    players(&mut world, 2);
    world.registry = None;
    for index in 0..2 {
        world.ask(index, wish("", 2));
    }
    world.pass(Duration::from_secs(3));
    for fake in &world.fakes {
        let closed =
            |message: &ToPlayer| matches!(message, ToPlayer::QueueClosed(RequestError::RegistryUnavailable));
        assert!(fake.told.iter().any(closed));
    }
    assert_eq!((world.server.gauges().queued, world.server.gauges().rooms), (0, 0));
}

fn told_matches(fake: &Fake) -> Vec<MatchFound> {
    let found = |message: &ToPlayer| match message {
        ToPlayer::MatchFound(found) => Some(*found),
        _ => None,
    };
    fake.told.iter().filter_map(found).collect()
}

fn closed_because(fake: &Fake) -> Option<RequestError> {
    fake.told.iter().find_map(|message| match message {
        ToPlayer::QueueClosed(error) => Some(error.clone()),
        _ => None,
    })
}

fn ruled(players: u16, rules: QuickRules) -> Request {
    Request::QuickMatch(QuickMatch { players, rules, ..QuickMatch::default() })
}

#[test]
fn players_whose_tolerance_widens_meet_when_it_is_wide_enough() {
    let mut world = World::new();
    players(&mut world, 2);
    for (index, skill) in [(0, 1200), (1, 1290)] {
        let numbers = vec![NumberRule::new("skill", skill).within([50, 100]).every(3)];
        assert!(world.answer(index, ruled(2, QuickRules { numbers, ..QuickRules::default() })).is_ok());
    }
    world.pass(Duration::from_secs(2));
    assert!(world.fakes.iter().all(|fake| matched(fake).is_none()));
    for _ in 0..8 {
        (0..2).for_each(|index| world.ping(index));
        world.pass(Duration::from_millis(500));
    }
    assert!(world.fakes.iter().all(|fake| matched(fake).is_some()));
}

#[test]
fn all_are_asked_and_who_says_no_or_nothing_is_out_while_the_others_keep_their_place() {
    let mut world = World::new();
    players(&mut world, 4);
    let rules = || QuickRules { accept_s: Some(5), ..QuickRules::default() };
    for index in 0..3 {
        assert!(world.answer(index, ruled(3, rules())).is_ok());
    }
    let found = told_matches(&world.fakes[0])[0];
    assert_eq!((found.players, found.within_s), (3, 5));
    let answer = |accept| Request::AnswerMatch { proposal: found.proposal, accept };
    assert_eq!(world.answer(3, answer(true)), Err(RequestError::NotQueued), "a stranger");
    let wrong = Request::AnswerMatch { proposal: found.proposal ^ 1, accept: false };
    assert_eq!(world.answer(0, wrong), Err(RequestError::NotQueued));
    assert_eq!(world.answer(0, answer(true)), Ok(Response::Done));
    assert!(world.answer(1, answer(false)).is_ok());
    assert_eq!(closed_because(&world.fakes[1]), Some(RequestError::MatchRefused));
    assert_eq!(status(&world.fakes[2]).map(|status| (status.position, status.waiting)), Some((2, 2)));
    assert!(world.answer(3, ruled(3, rules())).is_ok());
    let again: Vec<u64> =
        world.fakes.iter().filter_map(|fake| Some(told_matches(fake).get(1)?.proposal)).collect();
    assert_eq!(again.len(), 2, "the two who waited are asked again");
    for index in [0, 2] {
        assert!(world.answer(index, Request::AnswerMatch { proposal: again[0], accept: true }).is_ok());
    }
    assert!(world.fakes.iter().all(|fake| matched(fake).is_none()));
    for _ in 0..12 {
        [0, 2, 3].into_iter().for_each(|index| world.ping(index));
        world.pass(Duration::from_millis(500));
    }
    assert_eq!(closed_because(&world.fakes[3]), Some(RequestError::MatchUnanswered));
    assert_eq!((world.server.gauges().queued, world.server.gauges().rooms), (2, 0));
    assert!(world.answer(1, ruled(3, rules())).is_ok());
    let third = told_matches(&world.fakes[1]).last().unwrap().proposal;
    for index in 0..3 {
        assert!(world.answer(index, Request::AnswerMatch { proposal: third, accept: true }).is_ok());
    }
    assert_eq!(matched(&world.fakes[0]).expect("all said yes").room.host, world.fakes[0].id());
}

#[test]
fn teams_are_told_to_all_and_what_was_agreed_stands_in_the_room() {
    let mut world = World::new();
    players(&mut world, 4);
    for (index, skill) in [(0, 1900), (1, 1500), (2, 1450), (3, 1100)] {
        let map = TextRule { value: "dust".into(), for_s: None };
        let rules = QuickRules {
            numbers: vec![NumberRule::new("skill", skill).within([1000])],
            texts: [("map".to_owned(), map)].into(),
            teams: vec![2, 2],
            accept_s: None,
        };
        assert!(world.answer(index, ruled(4, rules)).is_ok());
    }
    let id = |index: usize| world.fakes[index].id();
    for fake in &world.fakes {
        let teams = fake.told.iter().find_map(|message| match message {
            ToPlayer::Teams(teams) => Some(teams.clone()),
            _ => None,
        });
        let teams = teams.expect("teams");
        assert_eq!(teams.room, matched(fake).unwrap().room.id);
        assert_eq!(teams.teams, [vec![id(0), id(3)], vec![id(1), id(2)]]);
        assert_eq!(matched(fake).unwrap().room.metadata["map"], "dust");
    }
}

/// A player in line is in no room, whatever tickets it has kept.
#[test]
fn nobody_takes_a_room_up_while_it_waits_for_a_match() {
    let mut world = World::new();
    let three = players(&mut world, 3);
    let room = world.host(three[0], named("r"));
    assert!(world.answer(three[1], by_name("r")).is_ok());
    let ticket = world.fakes[three[1]].ticket();
    assert_eq!(world.answer(three[1], Request::LeaveRoom), Ok(Response::Done));
    assert!(world.answer(three[1], wish("duel", 2)).is_ok());
    assert_eq!(world.answer(three[1], back_to(&room, ticket)), Err(RequestError::AlreadyQueued));
    assert!(world.answer(three[2], wish("duel", 2)).is_ok());
    assert!(matched(&world.fakes[three[1]]).is_some());
    assert_eq!(world.fakes[three[0]].members(), [world.fakes[three[0]].id()], "nobody is left behind");
    assert_eq!(world.answer(three[1], Request::LeaveRoom), Ok(Response::Done));
    assert!(world.answer(three[1], back_to(&room, ticket)).is_ok(), "in no line it comes back as ever");
}

/// Who leaves every match that is put together with it does so a few times, and then does not wait for another one.
#[test]
fn who_leaves_matches_again_and_again_is_not_put_into_others_for_a_while() {
    let mut world = World::new();
    let [honest, evil] = players(&mut world, 2)[..] else { unreachable!() };
    let rules = QuickRules { accept_s: Some(15), ..QuickRules::default() };
    let wish = || {
        Request::QuickMatch(QuickMatch {
            mode: "duel".into(),
            players: 2,
            rules: rules.clone(),
            ..QuickMatch::default()
        })
    };
    assert!(world.answer(honest, wish()).is_ok());
    let mut left = 0;
    let refused = loop {
        match world.answer(evil, wish()) {
            Ok(_) => left += 1,
            Err(error) => break error,
        }
        assert!(left < 20, "it goes on and on");
        world.ping(honest);
        assert_eq!(world.answer(evil, Request::LeaveQueue), Ok(Response::Done));
        world.pass(Duration::from_millis(700));
    };
    assert_eq!(refused, RequestError::Limited { retry_after_s: 30 });
    assert!(left >= 10, "one who changes its mind now and then is not meant: {left}");
    world.pass(Duration::from_secs(12));
    world.ping(evil);
    assert!(world.answer(evil, wish()).is_ok(), "one in ten seconds");
}
