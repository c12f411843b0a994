mod fills;

use std::time::Duration;

use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::wire::message::{NumberRule, QuickRules, TextRule};

use super::*;
use crate::host_choice::HostCandidate;

/// Players wait, at times that are told.
struct Waiting {
    queues: Queues,
    start: Instant,
    rooms: u64,
}

impl Waiting {
    fn new() -> Self {
        Self { queues: Queues::default(), start: Instant::now(), rooms: 0 }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn enter_with(&mut self, at: u64, number: u8, wanted: &QuickMatch, nat: &HostCandidate) {
        let key = QueueKey::of("game", 1, wanted);
        let numbers = wanted.rules.numbers.iter().map(|number| number.value).collect();
        let unit = Unit { first: comer(number, numbers, nat), mates: Vec::new() };
        self.queues.enter(self.at(at), unit, (key, wanted));
    }

    /// A party waits, of whom these are the first numbers of each.
    fn enter_party(&mut self, at: u64, members: &[(u8, i32)], wanted: &QuickMatch) {
        let mut comers = members.iter().map(|(number, skill)| comer(*number, vec![*skill], &cone()));
        let unit = Unit { first: comers.next().unwrap(), mates: comers.collect() };
        self.queues.enter(self.at(at), unit, (QueueKey::of("game", 1, wanted), wanted));
    }

    fn enter(&mut self, at: u64, number: u8, wanted: &QuickMatch) {
        self.enter_with(at, number, wanted, &cone());
    }

    /// Who plays with this player now.
    fn gather(&mut self, at: u64, number: u8) -> Option<Vec<u8>> {
        self.rooms += 1;
        let group = self.queues.gather(self.at(at), player(number), RoomId(self.rooms))?;
        Some(group.players.iter().map(|player| player.0[0]).collect())
    }

    /// Looks at all who are due by then.
    fn look(&mut self, at: u64) -> Vec<Vec<u8>> {
        let due = self.queues.take_due(self.at(at), 1000);
        due.into_iter().filter_map(|player| self.gather(at, player.0[0])).collect()
    }
}

fn comer(number: u8, numbers: Vec<i32>, nat: &HostCandidate) -> Comer {
    let from = IpAddr::from([203, 0, 113, number]);
    Comer { player: player(number), from, nat: nat.clone(), numbers }
}

fn player(number: u8) -> PlayerId {
    PlayerId([number; 16])
}

fn wish(mode: &str, players: u16) -> QuickMatch {
    QuickMatch { mode: mode.into(), players, ..QuickMatch::default() }
}

fn skilled(players: u16, skill: i32, within: &[u32]) -> QuickMatch {
    let numbers = vec![NumberRule::new("skill", skill).within(within).every(5)];
    QuickMatch { players, rules: QuickRules { numbers, ..QuickRules::default() }, ..QuickMatch::default() }
}

fn nat(mapping: MappingBehavior, allocation: PortAllocation) -> HostCandidate {
    let filtering = FilteringBehavior::AddressAndPortDependent;
    let nat =
        NatProfile { mapping, filtering, allocation, confidence: Confidence::Full, ..NatProfile::UNKNOWN };
    HostCandidate { nat, relay_only: false, rtt: None }
}

fn symmetric() -> HostCandidate {
    nat(MappingBehavior::AddressAndPortDependent, PortAllocation::Random)
}

fn cone() -> HostCandidate {
    nat(MappingBehavior::EndpointIndependent, PortAllocation::Preserving)
}

#[test]
fn who_waited_longest_plays_first_and_others_wait_for_more() {
    let mut waiting = Waiting::new();
    for number in 1..=5 {
        waiting.enter(u64::from(number), number, &wish("duel", 3));
    }
    waiting.enter(6, 6, &wish("duel", 2));
    waiting.enter(7, 7, &wish("other", 3));
    assert_eq!(waiting.gather(8, 5), Some(vec![1, 2, 5]), "the one who is looked at, and who waited longest");
    assert_eq!(waiting.gather(8, 4), None);
    let key = waiting.queues.line_of(player(4)).unwrap();
    let now = waiting.at(8);
    let news = waiting.queues.news(now, &key);
    let status = QueueStatus { position: 2, waiting: 2, players: 3, estimate_s: None };
    assert_eq!((news.len(), news[1]), (2, (player(4), status)));
    assert_eq!(waiting.queues.len(), 7);
}

#[test]
fn who_leaves_is_gone_and_who_is_put_back_stands_where_it_stood() {
    let mut waiting = Waiting::new();
    let from = IpAddr::from([203, 0, 113, 2]);
    for number in 1..=4 {
        waiting.enter(u64::from(number), number, &wish("duel", 2));
    }
    assert!(matches!(waiting.queues.leave(player(4)), Some(Left::Line(_))));
    assert_eq!(waiting.queues.leave(player(4)), None);
    assert_eq!(waiting.gather(5, 2), Some(vec![1, 2]));
    assert_eq!(waiting.queues.leave(player(1)), Some(Left::Gathering(RoomId(1))));
    waiting.queues.put_back(waiting.at(5), &[player(1), player(2)]);
    assert_eq!(waiting.queues.status_of(waiting.at(5), player(2)).unwrap().position, 1);
    assert_eq!(waiting.gather(5, 3), Some(vec![2, 3]));
    for number in 2..=3 {
        waiting.queues.leave(player(number));
    }
    assert_eq!(waiting.queues.len(), 0);
    assert!(
        waiting.queues.lines.is_empty() && waiting.queues.by_key.is_empty() && waiting.queues.due.is_empty()
    );
    assert!(!waiting.queues.is_full(from, 1));
}

#[test]
fn a_tolerance_widens_in_steps_and_both_sides_have_to_hold() {
    let mut waiting = Waiting::new();
    waiting.enter(0, 1, &skilled(2, 1200, &[50, 100, 200]));
    waiting.enter(0, 2, &skilled(2, 1290, &[50, 100, 200]));
    assert_eq!(waiting.gather(0, 2), None, "90 apart, 50 allowed");
    assert!(waiting.look(4).is_empty(), "nobody is due");
    assert_eq!(waiting.look(5), [vec![1, 2]], "100 after five seconds");
    // One who would take all does not make the other one take all.
    waiting.enter(6, 3, &skilled(2, 1000, &[2000]));
    waiting.enter(6, 4, &skilled(2, 1500, &[50]));
    assert_eq!((waiting.gather(6, 3), waiting.gather(6, 4)), (None, None));
    assert!(waiting.look(600).is_empty());
    let any = QuickMatch {
        rules: QuickRules {
            numbers: vec![NumberRule::new("skill", 9000).within([50]).every(5).then_any()],
            ..QuickRules::default()
        },
        ..QuickMatch::default()
    };
    waiting.enter(600, 5, &any);
    waiting.enter(
        600,
        6,
        &QuickMatch {
            rules: QuickRules {
                numbers: vec![NumberRule { value: 0, ..any.rules.numbers[0].clone() }],
                ..QuickRules::default()
            },
            ..QuickMatch::default()
        },
    );
    assert_eq!(waiting.gather(600, 6), None);
    assert_eq!(waiting.look(605).len(), 1, "then any");
}

#[test]
fn all_of_a_match_suit_each_other_not_only_the_one_who_came_last() {
    let mut waiting = Waiting::new();
    waiting.enter(0, 1, &skilled(3, 1000, &[100]));
    waiting.enter(0, 2, &skilled(3, 1200, &[100]));
    waiting.enter(0, 3, &skilled(3, 1100, &[100]));
    assert_eq!(waiting.gather(0, 3), None, "1000 and 1200 do not suit");
    waiting.enter(1, 4, &skilled(3, 1150, &[100]));
    assert_eq!(waiting.gather(1, 4), Some(vec![2, 3, 4]));
}

#[test]
fn texts_are_equal_for_ever_or_for_some_time() {
    let mut waiting = Waiting::new();
    let with = |region: &str, for_s: Option<u16>| QuickMatch {
        rules: QuickRules {
            texts: [("region".to_owned(), TextRule { value: region.into(), for_s })].into(),
            ..QuickRules::default()
        },
        ..QuickMatch::default()
    };
    waiting.enter(0, 1, &with("eu", None));
    waiting.enter(0, 2, &with("us", None));
    assert_eq!(waiting.gather(0, 2), None);
    waiting.enter(1, 3, &with("eu", None));
    assert_eq!(waiting.gather(1, 3), Some(vec![1, 3]));
    waiting.enter(2, 4, &with("eu", Some(10)));
    waiting.enter(2, 5, &with("us", Some(10)));
    assert_eq!(waiting.gather(2, 5), None);
    assert_eq!(waiting.look(12), [vec![4, 5]]);
}

#[test]
fn one_who_can_be_reached_directly_is_taken_first_but_nobody_waits_for_ever() {
    let random = || nat(MappingBehavior::AddressAndPortDependent, PortAllocation::Random);
    let mut waiting = Waiting::new();
    waiting.enter_with(0, 1, &wish("duel", 3), &random());
    waiting.enter_with(1, 2, &wish("duel", 3), &cone());
    waiting.queues.leave(player(1));
    waiting.queues.leave(player(2));
    waiting.enter_with(0, 1, &wish("duel", 2), &random());
    waiting.enter(4, 2, &wish("duel", 2));
    assert_eq!(
        waiting.gather(4, 2).map(|all| all.len()),
        Some(2),
        "two are put together whatever their NATs"
    );
    let mut waiting = Waiting::new();
    waiting.enter_with(0, 1, &wish("duel", 2), &random());
    waiting.enter_with(4, 2, &wish("duel", 2), &cone());
    waiting.enter_with(4, 3, &wish("duel", 2), &random());
    assert_eq!(waiting.gather(4, 3), Some(vec![2, 3]), "four seconds longer count less than a direct way");
    waiting.enter_with(20, 4, &wish("duel", 2), &cone());
    waiting.enter_with(20, 5, &wish("duel", 2), &random());
    assert_eq!(waiting.gather(20, 5), Some(vec![1, 5]), "twenty count more");
}

#[test]
fn the_estimate_is_the_median_of_late_and_unknown_before() {
    let mut waiting = Waiting::new();
    for (pair, wait) in [(0, 2), (1, 4), (2, 30)] {
        let (first, second) = (pair * 2 + 1, pair * 2 + 2);
        waiting.enter(100, first, &wish("duel", 2));
        waiting.enter(100, second, &wish("duel", 2));
        assert!(waiting.gather(100 + wait, second).is_some());
        let estimate = waiting.queues.status_of(waiting.at(100), player(first)).unwrap().estimate_s;
        assert_eq!(estimate.is_some(), pair == 2, "four were matched before the third pair");
        for number in [first, second] {
            waiting.queues.matched(waiting.at(100 + wait), player(number));
        }
    }
    // The line was forgotten, its waits were not.
    assert!(waiting.queues.lines.is_empty());
    waiting.enter(140, 9, &wish("duel", 2));
    assert_eq!(waiting.queues.status_of(waiting.at(140), player(9)).unwrap().estimate_s, Some(4));
    assert_eq!(waiting.queues.status_of(waiting.at(1000), player(9)).unwrap().estimate_s, None);
}

#[test]
fn a_long_line_is_told_in_parts_and_a_look_takes_no_longer_in_it() {
    let mut queues = Queues::default();
    let now = Instant::now();
    let wanted = skilled(2, 0, &[0]);
    let id = |number: u32| PlayerId(u128::from(number).to_be_bytes());
    for number in 0..3000_u32 {
        let mut wanted = wanted.clone();
        wanted.rules.numbers[0].value = number as i32;
        let first = Comer { player: id(number), ..comer(1, vec![number as i32], &cone()) };
        let unit = Unit { first, mates: Vec::new() };
        queues.enter(now, unit, (QueueKey::of("game", 1, &wanted), &wanted));
    }
    let key = queues.line_of(id(0)).unwrap();
    let mut places = Vec::new();
    for _ in 0..12 {
        let news = queues.news(now, &key);
        assert!(news.len() <= TOLD_AT_ONCE);
        places.extend(news.into_iter().map(|(_, status)| status.position));
    }
    assert_eq!(places, (1..=2048).collect::<Vec<u32>>(), "eight parts, and then the rate");
    let later = now + Duration::from_secs(10);
    let more: usize = (0..12).map(|_| queues.news(later, &key).len()).sum();
    assert_eq!(more, 7 * 256 + 184, "the end of the line, and its beginning again");
    let line = queues.lines.values().next().unwrap();
    let slot = *line.arrival.values().nth(1500).unwrap();
    let wide = queues.tickets[slot as usize].take().unwrap().with(Schedule::default().into());
    assert!(line.candidates(&wide, now, LOOKED_AT).len() <= LOOKED_AT);
}

#[test]
fn wishes_out_of_range_are_refused() {
    let good = wish("duel", 64);
    assert_eq!(check_wish(good.clone()), Ok(good.clone()));
    assert!(check_wish(QuickMatch::default()).is_ok());
    let mesh = QuickMatch { topology: Topology::Mesh, players: MESH_CAPACITY, ..good.clone() };
    assert!(check_wish(mesh.clone()).is_ok());
    let with = |rules: QuickRules| QuickMatch { players: 4, rules, ..QuickMatch::default() };
    let number = || NumberRule::new("skill", 1);
    let numbers = |numbers: Vec<NumberRule>| with(QuickRules { numbers, ..QuickRules::default() });
    let texts = |texts: &[(&str, &str)]| {
        let rule = |value: &str| TextRule { value: value.into(), for_s: None };
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), rule(text))).collect();
        with(QuickRules { texts, ..QuickRules::default() })
    };
    let long = "x".repeat(48);
    assert!(check_wish(numbers(vec![number().within([1, 2, 3]).every(600)])).is_ok());
    assert!(check_wish(texts(&[("map", long.as_str())])).is_ok());
    assert!(
        check_wish(with(QuickRules { teams: vec![1, 3], accept_s: Some(3), ..QuickRules::default() }))
            .is_ok()
    );
    for bad in [
        QuickMatch { players: 1, ..good.clone() },
        QuickMatch { players: 65, ..good.clone() },
        QuickMatch { players: MESH_CAPACITY + 1, ..mesh },
        QuickMatch { mode: "x".repeat(49), ..good.clone() },
        QuickMatch { mode: "a\u{7}".into(), ..good },
        numbers(vec![number().within([2, 1])]),
        numbers(vec![number().within(Vec::new())]),
        numbers(vec![number().within((0..9).collect::<Vec<u32>>())]),
        numbers(vec![number().every(0)]),
        numbers(vec![number(), number()]),
        numbers((0..9).map(|index| NumberRule::new(format!("n{index}"), 0)).collect()),
        texts(&[("", "x")]),
        texts(&[("mode", "x")]),
        texts(&[("map", "a\u{7}")]),
        texts(&["1", "2", "3", "4", "5", "6", "7"].map(|name| (name, long.as_str()))),
        with(QuickRules { teams: vec![2, 3], ..QuickRules::default() }),
        with(QuickRules { teams: vec![0, 4], ..QuickRules::default() }),
        with(QuickRules { accept_s: Some(2), ..QuickRules::default() }),
    ] {
        assert!(matches!(check_wish(bad.clone()), Err(RequestError::Malformed { .. })), "{bad:?}");
    }
}

fn sorted(players: Option<Vec<u8>>) -> Option<Vec<u8>> {
    players.map(|mut players| {
        players.sort_unstable();
        players
    })
}

#[test]
fn a_party_is_one_and_all_of_it_play_or_nobody() {
    let mut waiting = Waiting::new();
    let four = wish("m", 4);
    waiting.enter_party(0, &[(1, 0), (2, 0), (3, 0)], &four);
    let status = waiting.queues.status_of(waiting.at(0), player(2)).unwrap();
    assert_eq!((status.position, status.waiting), (1, 3), "one place, three players");
    waiting.enter_party(1, &[(4, 0), (5, 0)], &four);
    assert_eq!(waiting.gather(1, 4), None, "three and two do not make four");
    assert_eq!(waiting.gather(1, 2), None);
    waiting.enter(2, 6, &four);
    assert_eq!(sorted(waiting.gather(2, 6)), Some(vec![1, 2, 3, 6]), "who waited longest");
    // Who leaves takes the others along.
    assert!(waiting.queues.leave(player(5)).is_some());
    assert!(!waiting.queues.has(player(4)) && waiting.queues.leave(player(4)).is_none());
    let all: Vec<PlayerId> = [1, 2, 3, 6].map(player).into();
    waiting.queues.put_back(waiting.at(3), &all);
    assert_eq!(waiting.queues.status_of(waiting.at(3), player(3)).unwrap().waiting, 4);
    assert_eq!(sorted(waiting.gather(3, 3)), Some(vec![1, 2, 3, 6]));
    for one in all {
        waiting.queues.matched(waiting.at(4), one);
    }
    assert_eq!((waiting.queues.len(), waiting.queues.lines.len()), (0, 0));
    assert!(!waiting.queues.is_full(IpAddr::from([203, 0, 113, 2]), 1), "nobody is counted any more");
}

#[test]
fn parties_are_put_together_where_only_one_choice_comes_to_the_number() {
    let mut waiting = Waiting::new();
    let five = wish("m", 5);
    // The one that waited longest, of four, leads nowhere: there is nobody alone.
    waiting.enter_party(0, &[(1, 0), (2, 0), (3, 0), (4, 0)], &five);
    waiting.enter_party(1, &[(11, 0), (12, 0)], &five);
    waiting.enter_party(2, &[(21, 0), (22, 0), (23, 0)], &five);
    assert_eq!(sorted(waiting.gather(2, 21)), Some(vec![11, 12, 21, 22, 23]));
    let mut waiting = Waiting::new();
    let seven = wish("m", 7);
    waiting.enter_party(0, &[(1, 0), (2, 0)], &seven);
    waiting.enter_party(1, &[(3, 0), (4, 0)], &seven);
    waiting.enter_party(2, &[(5, 0), (6, 0), (7, 0)], &seven);
    waiting.enter_party(3, &[(8, 0), (9, 0), (10, 0)], &seven);
    assert_eq!(sorted(waiting.gather(3, 8)), Some(vec![1, 2, 3, 4, 8, 9, 10]));
}

#[test]
fn a_party_plays_in_one_team() {
    let mut waiting = Waiting::new();
    let rules = QuickRules { teams: vec![3, 3], ..QuickRules::default() };
    let wanted = QuickMatch { players: 6, rules, ..QuickMatch::default() };
    for first in [1, 3, 5] {
        waiting.enter_party(0, &[(first, 0), (first + 1, 0)], &wanted);
    }
    assert_eq!(waiting.gather(0, 1), None, "three pairs make no two teams of three");
    waiting.enter(1, 7, &wanted);
    waiting.enter(1, 8, &wanted);
    waiting.rooms += 1;
    let group = waiting.queues.gather(waiting.at(1), player(8), RoomId(9)).unwrap();
    assert_eq!(group.teams.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
    for pair in [1, 3, 5] {
        let team = |number: u8| group.teams.iter().position(|team| team.contains(&player(number)));
        assert_eq!(team(pair), team(pair + 1), "{group:?}");
    }
}

#[test]
fn of_a_party_the_mean_of_its_numbers_counts_and_in_teams_each_ones_own() {
    let mut waiting = Waiting::new();
    let three = |skill| skilled(3, skill, &[50]);
    waiting.enter_party(0, &[(1, 1000), (2, 1201)], &three(1000));
    waiting.enter(0, 3, &three(1000));
    assert_eq!(waiting.gather(0, 3), None, "the mean is 1100");
    waiting.enter(0, 4, &three(1080));
    assert_eq!(sorted(waiting.gather(0, 4)), Some(vec![1, 2, 4]));
    let mut waiting = Waiting::new();
    let mut wanted = skilled(4, 1000, &[1000]);
    wanted.rules.teams = vec![2, 2];
    waiting.enter_party(0, &[(1, 1000), (2, 1000)], &wanted);
    waiting.enter(0, 3, &wanted);
    waiting.enter(0, 4, &wanted);
    let group = waiting.queues.gather(waiting.at(0), player(4), RoomId(9)).unwrap();
    assert!(group.teams.iter().any(|team| team.contains(&player(1)) && team.contains(&player(2))));
}

#[test]
fn of_two_parties_the_one_is_taken_whom_more_of_the_others_reach() {
    let mut waiting = Waiting::new();
    let four = wish("m", 4);
    let enter = |waiting: &mut Waiting, members: [(u8, HostCandidate); 2]| {
        let mut comers = members.iter().map(|(number, nat)| comer(*number, Vec::new(), nat));
        let unit = Unit { first: comers.next().unwrap(), mates: comers.collect() };
        waiting.queues.enter(waiting.at(0), unit, (QueueKey::of("game", 1, &four), &four));
    };
    enter(&mut waiting, [(1, symmetric()), (2, symmetric())]);
    enter(&mut waiting, [(3, symmetric()), (4, cone())]);
    enter(&mut waiting, [(5, cone()), (6, symmetric())]);
    assert_eq!(sorted(waiting.gather(1, 5)), Some(vec![3, 4, 5, 6]));
}
