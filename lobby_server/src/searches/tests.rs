use super::*;

fn player(number: u8) -> PlayerId {
    PlayerId([number; 16])
}

fn id(a: u8, b: u8) -> MatchId {
    MatchId(u64::from(a) * 256 + u64::from(b))
}

fn plan(match_id: MatchId, edition: u8) -> PlanId {
    PlanId { match_id, edition }
}

fn ask(searches: &mut Searches, now: Instant, a: u8, b: u8) {
    for side in [a, b] {
        searches.ask(now, plan(id(a, b), 0), [player(a), player(b)], player(side));
    }
}

fn over(searches: &mut Searches, now: Instant, a: u8, b: u8) {
    for side in [a, b] {
        searches.over(now, plan(id(a, b), 0), player(side));
    }
}

/// Returns the matches that were told to begin.
fn begun(searches: &mut Searches) -> Vec<MatchId> {
    let notices = searches.take_notices();
    let begin: Vec<_> = notices.iter().filter(|notice| notice.turn == SearchPermit::Begin).collect();
    assert!(
        begin.chunks(2).all(|two| two.len() == 2 && two[0].plan.match_id == two[1].plan.match_id),
        "one side alone"
    );
    begin.chunks(2).map(|two| two[0].plan.match_id).collect()
}

#[test]
fn both_sides_begin_together_and_not_before_both_have_asked() {
    let (mut searches, now) = (Searches::default(), Instant::now());
    let sides = [player(1), player(2)];
    searches.ask(now, plan(id(1, 2), 3), sides, player(1));
    searches.ask(now, plan(id(1, 2), 3), sides, player(1));
    assert_eq!(searches.take_notices(), []);
    assert!(!searches.has(id(1, 2)));
    searches.ask(now, plan(id(1, 2), 3), sides, player(9));
    assert_eq!(searches.take_notices(), [], "a stranger's wish");
    searches.ask(now, plan(id(1, 2), 3), sides, player(2));
    let begin = |player| SearchNotice { player, plan: plan(id(1, 2), 3), turn: SearchPermit::Begin };
    assert_eq!(searches.take_notices(), sides.map(begin));
    assert!(searches.has(id(1, 2)));
}

#[test]
fn a_player_takes_part_in_one_search_and_the_others_wait_in_line() {
    let (mut searches, now) = (Searches::default(), Instant::now());
    for joiner in 1..=8 {
        ask(&mut searches, now, 0, joiner);
    }
    let notices = searches.take_notices();
    assert_eq!(notices.iter().filter(|notice| notice.turn == SearchPermit::Begin).count(), 2);
    assert_eq!(
        notices.iter().filter(|notice| notice.turn == SearchPermit::Wait).count(),
        14,
        "who waits is told"
    );
    for joiner in 1..8 {
        // The joiner alone does not make the host free.
        searches.over(now, plan(id(0, joiner), 0), player(joiner));
        assert_eq!(begun(&mut searches), []);
        searches.over(now, plan(id(0, joiner), 0), player(0));
        assert_eq!(begun(&mut searches), [id(0, joiner + 1)], "in the order in which they came");
    }
}

#[test]
fn every_pair_of_a_mesh_gets_its_turn_and_no_player_two_at_once() {
    let (mut searches, mut now) = (Searches::default(), Instant::now());
    let count = 8;
    let mut left = BTreeSet::new();
    for a in 0..count {
        for b in a + 1..count {
            ask(&mut searches, now, a, b);
            left.insert(id(a, b));
        }
    }
    let mut running: Vec<MatchId> = Vec::new();
    while !left.is_empty() {
        running.extend(begun(&mut searches));
        let players: Vec<u64> = running.iter().flat_map(|id| [id.0 / 256, id.0 % 256]).collect();
        assert_eq!(players.iter().collect::<BTreeSet<_>>().len(), players.len(), "{running:?}");
        assert!(!running.is_empty(), "nobody runs, and these wait: {left:?}");
        now += Duration::from_secs(1);
        let done = running.remove(0);
        left.remove(&done);
        over(&mut searches, now, (done.0 / 256) as u8, (done.0 % 256) as u8);
    }
}

#[test]
fn nobody_is_passed_over_for_ever() {
    // 0-1 waits for both, while 0-2 and 1-3 come again and again, never over at the same time.
    let (mut searches, mut now) = (Searches::default(), Instant::now());
    ask(&mut searches, now, 0, 2);
    ask(&mut searches, now, 1, 3);
    ask(&mut searches, now, 0, 1);
    assert_eq!(begun(&mut searches), [id(0, 2), id(1, 3)]);
    for round in 0..20 {
        now += Duration::from_secs(2);
        let (a, b) = if round % 2 == 0 { (0, 2) } else { (1, 3) };
        searches.end(now, id(a, b));
        ask(&mut searches, now, a, b);
        let begun = begun(&mut searches);
        if begun == [id(0, 1)] {
            assert!(round >= 8, "it was overtaken as long as that did no harm");
            return;
        }
    }
    panic!("it never came");
}

#[test]
fn who_says_nothing_is_free_again_and_what_ends_makes_room() {
    let (mut searches, now) = (Searches::default(), Instant::now());
    ask(&mut searches, now, 0, 1);
    ask(&mut searches, now, 0, 2);
    ask(&mut searches, now, 0, 3);
    assert_eq!(begun(&mut searches), [id(0, 1)]);
    // A match that waits and ends is not started.
    searches.end(now, id(0, 2));
    assert_eq!(begun(&mut searches), []);
    let at = searches.poll_timeout().unwrap();
    searches.handle_timeout(at);
    assert_eq!(begun(&mut searches), [id(0, 3)]);
    searches.end(at, id(0, 3));
    searches.end(at, id(0, 1));
    assert_eq!(searches.poll_timeout(), None);
    assert!(searches.wishes.is_empty() && searches.waiting.is_empty() && searches.busy.is_empty());
}

#[test]
fn the_other_side_hears_when_one_does_not_want_to_any_more() {
    let (mut searches, now) = (Searches::default(), Instant::now());
    ask(&mut searches, now, 0, 1);
    ask(&mut searches, now, 0, 2);
    searches.take_notices();
    let off = |player| SearchNotice { player, plan: plan(id(0, 2), 0), turn: SearchPermit::Off };
    searches.over(now, plan(id(0, 2), 0), player(2));
    assert_eq!(searches.take_notices(), [off(player(0))], "while it waits");
    assert!(!searches.has(id(0, 2)));
    searches.over(now, plan(id(0, 1), 0), player(1));
    let off = SearchNotice { player: player(0), plan: plan(id(0, 1), 0), turn: SearchPermit::Off };
    assert_eq!(searches.take_notices(), [off], "while it runs");
    assert!(searches.has(id(0, 1)), "the other side may need a moment to stop");
    searches.left(now, id(0, 1), player(0));
    assert_eq!(searches.take_notices(), []);
    assert!(!searches.has(id(0, 1)));
}

#[test]
fn a_new_plan_begins_a_new_wish_and_late_words_of_the_old_one_change_nothing() {
    let (mut searches, now) = (Searches::default(), Instant::now());
    ask(&mut searches, now, 0, 1);
    assert_eq!(begun(&mut searches), [id(0, 1)]);
    searches.plan(now, plan(id(0, 1), 1), [player(0), player(1)], true);
    assert_eq!(begun(&mut searches), [id(0, 1)]);
    searches.over(now, plan(id(0, 1), 0), player(0));
    assert!(searches.has(id(0, 1)));
    ask(&mut searches, now, 0, 2);
    assert_eq!(begun(&mut searches), []);
}
