//! Rooms that run and look for more players.

use std::collections::BTreeSet;

use super::*;
use traversal_core::id::RoomId;
use traversal_core::wire::message::{
    BackfillStatus, InRoom, MatchFound, MemberChanges, NumberRule, PartyNews, PartyRequest, QuickMatch,
    QuickMatched, QuickRules, Rejoin, RoomNews, TeamWish, Topology,
};

fn duel(players: u16) -> QuickMatch {
    QuickMatch { mode: "duel".into(), players, ..QuickMatch::default() }
}

fn with(players: u16, rules: QuickRules) -> QuickMatch {
    QuickMatch { rules, ..duel(players) }
}

fn backfill(wanted: &QuickMatch) -> Request {
    Request::InRoom(InRoom::Backfill(Some(wanted.clone())))
}

const END: Request = Request::InRoom(InRoom::Backfill(None));

impl World {
    /// Logs so many players in, each at an address of its own.
    fn players(&mut self, count: u8) -> Vec<usize> {
        (1..=count).map(|number| self.player(number, &format!("203.0.113.{number}:4000"))).collect()
    }

    /// The first of these hosts a room that takes so many, and the others are in it.
    fn room_of(&mut self, players: &[usize], options: RoomOptions) -> RoomInfo {
        let room = self.host(players[0], options);
        for player in &players[1..] {
            assert!(self.answer(*player, by_name("r")).is_ok());
        }
        room
    }

    /// The first of these opens a party, and the other one comes in.
    fn party(&mut self, players: &[usize]) {
        let create = Request::Party(PartyRequest::Create { most: 2 });
        assert_eq!(self.answer(players[0], create), Ok(Response::Done));
        let code = self.fakes[players[0]].told.iter().rev().find_map(|told| match told {
            ToPlayer::Party(PartyNews::State(info)) => Some(info.code.clone()),
            _ => None,
        });
        let join = Request::Party(PartyRequest::Join { code: code.unwrap() });
        assert_eq!(self.answer(players[1], join), Ok(Response::Done));
    }

    fn wait(&mut self, player: usize, wanted: &QuickMatch) {
        assert_eq!(self.answer(player, Request::QuickMatch(wanted.clone())), Ok(Response::Done));
        self.settle();
    }

    fn want(&mut self, host: usize, wanted: &QuickMatch) {
        assert_eq!(self.answer(host, backfill(wanted)), Ok(Response::Done));
        self.settle();
    }

    /// Lets so much time pass as a look at the line takes to come.
    fn settle(&mut self) {
        self.pass(Duration::from_millis(60));
    }

    /// Returns the room that this player was put into.
    fn put_into(&self, player: usize) -> Option<RoomId> {
        self.fakes[player].told.iter().rev().find_map(|told| match told {
            ToPlayer::QuickMatched(matched) => Some(matched.room.id),
            _ => None,
        })
    }

    /// How the search comes along, as the host was told last.
    fn free_and_coming(&self, host: usize) -> Option<(u16, u16)> {
        self.fakes[host].told.iter().rev().find_map(|told| match told {
            ToPlayer::InRoom { news: RoomNews::Backfill { status, .. }, .. } => {
                Some((status.free, status.coming))
            }
            _ => None,
        })
    }

    fn proposals(&self, player: usize) -> Vec<MatchFound> {
        let found = self.fakes[player].told.iter().filter_map(|told| match told {
            ToPlayer::MatchFound(found) => Some(*found),
            _ => None,
        });
        found.collect()
    }
}

fn of(capacity: u16) -> RoomOptions {
    RoomOptions { capacity, ..named("r") }
}

#[test]
fn a_player_who_waits_is_put_into_a_room_that_looks_and_the_room_looks_again_when_one_leaves() {
    let mut world = World::new();
    let all = world.players(5);
    // A password and a host who is asked keep nobody out whom the host has asked for.
    let options = RoomOptions { password: Some("sesame".into()), auto_allow: false, ..of(3) };
    let room = world.host(all[0], options);
    world.wait(all[1], &duel(3));
    world.want(all[0], &duel(3));
    assert_eq!(world.put_into(all[1]), Some(room.id));
    let matched = world.fakes[all[1]].told.iter().find_map(|told| match told {
        ToPlayer::QuickMatched(matched) => Some(QuickMatched::clone(matched)),
        _ => None,
    });
    let matched = matched.unwrap();
    assert_eq!((matched.wanted, matched.room.host), (duel(3).without_rules(), world.fakes[all[0]].id()));
    assert_eq!(world.fakes[all[1]].plans().len(), 1, "with the host");
    assert!(!world.fakes[all[1]].plans()[0].hosting);
    assert_eq!(world.fakes[all[1]].ticket().room, room.id);
    assert_eq!(world.free_and_coming(all[0]), Some((1, 0)));
    // Who comes later is put in at once, and the next one finds it full.
    world.wait(all[2], &duel(3));
    assert_eq!(world.put_into(all[2]), Some(room.id));
    assert_eq!(world.free_and_coming(all[0]), Some((0, 0)));
    world.wait(all[3], &duel(3));
    assert_eq!(world.put_into(all[3]), None);
    let ids = |players: &[usize]| players.iter().map(|player| world.fakes[*player].id()).collect::<Vec<_>>();
    assert_eq!(world.fakes[all[0]].members(), ids(&all[..3]));
    // One leaves, and the one who waits takes its place.
    assert_eq!(world.answer(all[1], Request::LeaveRoom), Ok(Response::Done));
    world.settle();
    assert_eq!(world.put_into(all[3]), Some(room.id));
    // A duel of another size is another line.
    assert_eq!(world.answer(all[2], Request::LeaveRoom), Ok(Response::Done));
    world.wait(all[4], &duel(4));
    assert_eq!((world.put_into(all[4]), world.server.gauges().queued), (None, 1));
    assert_eq!(world.server.counters().backfilled, 3);
}

#[test]
fn two_who_come_at_once_do_not_get_one_place_and_strangers_do_not_take_it() {
    let mut world = World::new();
    let all = world.players(4);
    let room = world.host(all[0], of(2));
    let asked = || with(2, QuickRules { accept_s: Some(5), ..QuickRules::default() });
    world.wait(all[1], &asked());
    world.want(all[0], &asked());
    let found = world.proposals(all[1])[0];
    assert_eq!((found.players, found.within_s), (2, 5));
    assert_eq!(world.free_and_coming(all[0]), Some((0, 1)));
    world.wait(all[2], &asked());
    assert!(world.proposals(all[2]).is_empty(), "the place is kept for the first one");
    assert_eq!(world.answer(all[3], by_name("r")), Err(RequestError::RoomFull));
    // The first one says nothing: the place is the second one's.
    for _ in 0..12 {
        [0, 2].into_iter().for_each(|index| world.ping(index));
        world.pass(Duration::from_millis(500));
    }
    let second = world.proposals(all[2])[0];
    let yes = Request::AnswerMatch { proposal: second.proposal, accept: true };
    assert_eq!(world.answer(all[2], yes), Ok(Response::Done));
    assert_eq!((world.put_into(all[1]), world.put_into(all[2])), (None, Some(room.id)));
    assert_eq!(world.free_and_coming(all[0]), Some((0, 0)));
    assert_eq!(world.server.gauges().queued, 0);
}

#[test]
fn the_host_takes_it_back_locks_the_room_or_puts_somebody_out() {
    let mut world = World::new();
    let all = world.players(4);
    let room = world.host(all[0], of(3));
    let asked = with(3, QuickRules { accept_s: Some(30), ..QuickRules::default() });
    world.want(all[0], &asked);
    world.wait(all[1], &asked);
    let first = world.proposals(all[1])[0].proposal;
    assert_eq!(world.answer(all[0], END), Ok(Response::Done));
    let yes = |proposal| Request::AnswerMatch { proposal, accept: true };
    assert_eq!(world.answer(all[1], yes(first)), Err(RequestError::NotQueued), "it is not asked any more");
    assert_eq!((world.put_into(all[1]), world.server.gauges().queued), (None, 1));
    // It is asked for again, and locked.
    world.want(all[0], &asked);
    let second = world.proposals(all[1])[1].proposal;
    assert!(world.answer(all[0], Request::InRoom(InRoom::Lock(true))).is_ok());
    assert_eq!(world.answer(all[1], yes(second)), Err(RequestError::NotQueued));
    assert_eq!(world.free_and_coming(all[0]), Some((0, 0)));
    assert!(world.answer(all[0], Request::InRoom(InRoom::Lock(false))).is_ok());
    world.settle();
    let third = world.proposals(all[1])[2].proposal;
    assert_eq!(world.answer(all[1], yes(third)), Ok(Response::Done));
    assert_eq!(world.put_into(all[1]), Some(room.id));
    // Whom the host has put out does not come back by the line.
    let player = world.fakes[all[1]].id();
    let kick = Request::Kick { player, reason: String::new(), rejoin: Rejoin::Never };
    assert_eq!(world.answer(all[0], kick), Ok(Response::Done));
    world.wait(all[1], &asked);
    world.pass(Duration::from_secs(1));
    assert_eq!((world.proposals(all[1]).len(), world.server.gauges().queued), (3, 1));
    // The room is gone: nobody is called into it.
    world.wait(all[2], &asked);
    assert_eq!(world.proposals(all[2]).len(), 1);
    assert_eq!(world.answer(all[0], Request::LeaveRoom), Ok(Response::Done));
    assert_eq!(world.server.gauges().queued, 2);
}

#[test]
fn only_the_host_asks_and_what_it_asks_fits_its_room() {
    let mut world = World::new();
    let all = world.players(3);
    assert_eq!(world.answer(all[0], backfill(&duel(3))), Err(RequestError::NotInRoom));
    world.room_of(&all[..2], of(3));
    assert_eq!(world.answer(all[1], backfill(&duel(3))), Err(RequestError::NotHost));
    let mesh = QuickMatch { topology: Topology::Mesh, ..duel(3) };
    let teams = with(2, QuickRules { teams: vec![1, 1], ..QuickRules::default() });
    for wrong in [duel(1), mesh, teams] {
        let answer = world.answer(all[0], backfill(&wrong));
        assert!(matches!(answer, Err(RequestError::Malformed { .. })), "{answer:?}");
    }
    assert_eq!(world.answer(all[0], END), Ok(Response::Done), "it did not look");
    // Another host has not asked.
    world.want(all[0], &duel(3));
    let next = world.fakes[all[1]].id();
    assert!(world.answer(all[0], Request::InRoom(InRoom::HandOver { player: next })).is_ok());
    world.wait(all[2], &duel(3));
    assert_eq!(world.put_into(all[2]), None);
    world.want(all[1], &duel(3));
    assert!(world.put_into(all[2]).is_some());
}

#[test]
fn a_tolerance_that_widens_brings_a_player_and_a_room_together() {
    let mut world = World::new();
    let all = world.players(2);
    let room = world.host(all[0], of(2));
    let skilled = |skill: i32, within: &[u32]| {
        let numbers = vec![NumberRule::new("skill", skill).within(within).every(2)];
        with(2, QuickRules { numbers, ..QuickRules::default() })
    };
    world.wait(all[1], &skilled(1500, &[400]));
    world.want(all[0], &skilled(1200, &[50, 400]));
    assert_eq!(world.put_into(all[1]), None);
    for _ in 0..5 {
        all.iter().for_each(|player| world.ping(*player));
        world.pass(Duration::from_millis(500));
    }
    assert_eq!(world.put_into(all[1]), Some(room.id));
}

#[test]
fn a_party_of_two_comes_into_one_team_and_all_are_told() {
    let mut world = World::new();
    let all = world.players(4);
    let room = world.room_of(&all[..2], RoomOptions { teams: vec![2, 2], ..of(4) });
    let into = |world: &mut World, player: usize, team| {
        let changes = MemberChanges { team: Some(TeamWish::Team(team)), ..MemberChanges::default() };
        assert!(world.answer(player, Request::InRoom(InRoom::Member(changes))).is_ok());
        world.settle();
    };
    let wanted = with(4, QuickRules { teams: vec![2, 2], ..QuickRules::default() });
    world.party(&all[2..]);
    world.wait(all[2], &wanted);
    into(&mut world, all[0], 0);
    world.want(all[0], &wanted);
    assert_eq!(world.put_into(all[2]), None, "one inside is in no team yet, and may come into either");
    into(&mut world, all[1], 0);
    assert_eq!((world.put_into(all[2]), world.put_into(all[3])), (Some(room.id), Some(room.id)));
    let id = |player: usize| world.fakes[all[player]].id();
    for fake in &world.fakes {
        let teams = fake.told.iter().rev().find_map(|told| match told {
            ToPlayer::Teams(teams) => Some(teams.teams.clone()),
            _ => None,
        });
        assert_eq!(teams.unwrap(), [vec![id(0), id(1)], vec![id(2), id(3)]]);
    }
}

#[test]
fn a_room_of_a_match_with_teams_knows_them_and_fills_the_team_that_misses_one() {
    let mut world = World::new();
    let all = world.players(5);
    let wanted = with(4, QuickRules { teams: vec![2, 2], ..QuickRules::default() });
    all[..4].iter().for_each(|player| world.wait(*player, &wanted));
    let room = world.put_into(all[0]).expect("a match");
    let teams = |world: &World, player: usize| {
        world.fakes[player].told.iter().rev().find_map(|told| match told {
            ToPlayer::Teams(teams) => Some(teams.teams.clone()),
            _ => None,
        })
    };
    let before = teams(&world, all[0]).unwrap();
    let hosts = world.server.rooms.room(room).unwrap().host();
    let host = all.iter().copied().find(|player| world.fakes[*player].id() == hosts).unwrap();
    let leaves = all[..4].iter().copied().find(|player| *player != host).unwrap();
    let gone = world.fakes[leaves].id();
    world.want(host, &wanted);
    assert_eq!(world.free_and_coming(host), Some((0, 0)));
    assert_eq!(world.answer(leaves, Request::LeaveRoom), Ok(Response::Done));
    world.wait(all[4], &wanted);
    assert_eq!(world.put_into(all[4]), Some(room));
    let new = world.fakes[all[4]].id();
    for (team, was) in teams(&world, all[4]).unwrap().iter().zip(&before) {
        let stays = was.iter().copied().filter(|player| *player != gone);
        let expected: BTreeSet<PlayerId> = stays.chain(was.contains(&gone).then_some(new)).collect();
        assert_eq!(team.iter().copied().collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn in_a_mesh_each_pair_gets_one_match() {
    let mut world = World::new();
    let all = world.players(4);
    let mesh = QuickMatch { topology: Topology::Mesh, ..duel(4) };
    world.room_of(&all[..2], RoomOptions { topology: Topology::Mesh, ..of(4) });
    world.party(&all[2..]);
    world.wait(all[2], &mesh);
    world.want(all[0], &mesh);
    assert!(all.iter().all(|player| world.fakes[*player].plans().len() == 3));
    assert_eq!(world.server.gauges().matches, 6);
}

#[test]
fn a_host_that_is_not_heard_is_sent_nobody() {
    let mut world = World::new();
    let all = world.players(2);
    world.host(all[0], of(2));
    world.want(all[0], &duel(2));
    world.kill(all[0]);
    for _ in 0..20 {
        world.ping(all[1]);
        world.pass(Duration::from_secs(1));
    }
    world.wait(all[1], &duel(2));
    assert_eq!((world.put_into(all[1]), world.server.gauges().queued), (None, 1));
}

#[test]
fn a_new_session_of_the_host_asks_anew_as_after_a_restart() {
    let mut world = World::new();
    let all = world.players(3);
    let room = world.room_of(&all[..2], of(3));
    world.want(all[0], &duel(3));
    let ticket = world.fakes[all[0]].ticket();
    world.fakes[all[0]].handshake = ClientHandshake::new(&mut world.rng);
    world.log_in(all[0]);
    world.wait(all[2], &duel(3));
    assert_eq!(world.put_into(all[2]), None, "its former session is over, and so is the wish");
    assert!(world.answer(all[0], back_to(&room, ticket)).is_ok());
    world.want(all[0], &duel(3));
    assert_eq!(world.put_into(all[2]), Some(room.id));
}

/// A host that calls players and takes it back, again and again, is not heard for a while.
#[test]
fn a_host_does_not_call_players_in_vain_without_end() {
    let mut world = World::new();
    let all = world.players(2);
    world.host(all[0], of(2));
    let asked = with(2, QuickRules { accept_s: Some(30), ..QuickRules::default() });
    world.wait(all[1], &asked);
    let mut called = 0;
    let refused = loop {
        match world.answer(all[0], backfill(&asked)) {
            Ok(_) => called += 1,
            Err(error) => break error,
        }
        world.settle();
        assert!(called < 20, "it goes on and on");
        assert_eq!(world.answer(all[0], END), Ok(Response::Done));
        world.pass(Duration::from_millis(700));
        all.iter().for_each(|player| world.ping(*player));
    };
    assert_eq!(refused, RequestError::Limited { retry_after_s: 30 });
    assert!(called >= 10, "{called}");
}

#[test]
fn the_news_have_numbers_that_rise() {
    let mut world = World::new();
    let all = world.players(2);
    world.host(all[0], of(2));
    world.want(all[0], &duel(2));
    world.wait(all[1], &duel(2));
    let news: Vec<(u64, BackfillStatus)> = world.fakes[all[0]]
        .told
        .iter()
        .filter_map(|told| match told {
            ToPlayer::InRoom { news: RoomNews::Backfill { revision, status }, .. } => {
                Some((*revision, *status))
            }
            _ => None,
        })
        .collect();
    assert!(news.windows(2).all(|pair| pair[0].0 < pair[1].0), "{news:?}");
    assert_eq!(news.first().map(|(_, status)| status.free), Some(1));
    assert_eq!(news.last().map(|(_, status)| *status), Some(BackfillStatus::default()));
}
