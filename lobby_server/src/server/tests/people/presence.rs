//! Presence: who hears of whom, when, and after what goes wrong.

use super::*;

/// What a player named P with its number is like who has said nothing.
fn plain(number: u8) -> Presence {
    Presence { name: format!("P{number}"), room: None, playing: false, away: false, text: String::new() }
}

fn on_one_node_and_on_two(test: impl Fn(Nodes)) {
    test(Nodes::new(1));
    test(Nodes::new(2));
}

#[test]
fn two_who_allow_each_other_hear_of_each_other_and_others_of_nobody() {
    on_one_node_and_on_two(|mut nodes| {
        let [a, b, c] = nodes.players(3)[..] else { unreachable!() };
        nodes.list(a, &[b]);
        nodes.list(c, &[a, b]);
        assert_eq!((nodes.news(a), nodes.news(b), nodes.news(c)), (vec![], vec![], vec![]));
        nodes.list(b, &[a]);
        assert_eq!((nodes.sees(a, b), nodes.sees(b, a)), (Some(plain(2)), Some(plain(1))));
        assert_eq!((nodes.news(a).len(), nodes.news(b).len(), nodes.news(c)), (1, 1, vec![]));
        // Not allowed any more: off line, as far as both know.
        nodes.allow(b, a, false);
        assert_eq!((nodes.sees(a, b), nodes.sees(b, a)), (None, None));
        nodes.allow(b, a, true);
        assert_eq!((nodes.sees(a, b), nodes.sees(b, a)), (Some(plain(2)), Some(plain(1))));
        nodes.log_out(a);
        assert_eq!(nodes.sees(b, a), None);
        assert_eq!(nodes.news(c), vec![]);
    });
}

#[test]
fn contacts_hear_of_rooms_and_words_at_the_moment_of_change() {
    on_one_node_and_on_two(|mut nodes| {
        let [a, b] = nodes.players(2)[..] else { unreachable!() };
        nodes.list(a, &[b]);
        nodes.list(b, &[a]);
        let world = &mut nodes.worlds[a.node];
        world.host(a.index, named("the den"));
        nodes.turn();
        assert_eq!(nodes.sees(b, a), Some(Presence { room: Some("the den".into()), ..plain(1) }));
        let status = Status { away: true, text: "  lunch ".into(), ..Status::default() };
        nodes.status(a, status.clone());
        let away = Presence { away: true, text: "lunch".into(), ..plain(1) };
        assert_eq!(nodes.sees(b, a), Some(Presence { room: Some("the den".into()), ..away.clone() }));
        nodes.status(a, Status { hide_room: true, playing: true, ..status });
        assert_eq!(nodes.sees(b, a), Some(Presence { playing: true, ..away }));
        nodes.ask(a, Request::LeaveRoom);
        assert_eq!(nodes.news(b).len(), 4, "of a room that is hidden there is no news");
        let text = "x".repeat(200);
        let refused = nodes
            .try_ask(a, Request::Contacts(ContactsRequest::Status(Status { text, ..Status::default() })));
        assert!(matches!(refused, Err(RequestError::Malformed { what }) if what.contains("status")));
    });
}

#[test]
fn players_of_two_games_are_no_contacts() {
    let mut nodes = Nodes::new(1);
    let a = nodes.players(1)[0];
    let world = &mut nodes.worlds[0];
    let index = world.add(2, "203.0.113.2:4000");
    world.fakes[index].login.game = "other".into();
    world.log_in(index);
    let b = Player { node: 0, index };
    nodes.list(a, &[b]);
    nodes.list(b, &[a]);
    assert_eq!((nodes.news(a), nodes.news(b)), (vec![], vec![]));
}

#[test]
fn a_list_comes_in_parts_and_has_a_limit() {
    let mut nodes = Nodes::new(1);
    let [a, b] = nodes.players(2)[..] else { unreachable!() };
    nodes.list(b, &[a]);
    let part = |first, last, allow| Request::Contacts(ContactsRequest::Part { first, last, allow });
    let strangers = |from: u16, count: u16| -> Vec<PlayerId> {
        (from..from + count).map(|n| PlayerId([n.to_le_bytes(); 8].concat().try_into().unwrap())).collect()
    };
    let no_beginning = nodes.try_ask(a, part(false, true, vec![nodes.id(b)]));
    assert!(matches!(no_beginning, Err(RequestError::Malformed { .. })));
    let too_long = nodes.try_ask(a, part(true, true, strangers(1, 61)));
    assert!(matches!(too_long, Err(RequestError::Malformed { .. })));
    let own = nodes.id(b);
    nodes.ask(a, part(true, false, vec![own]));
    assert_eq!(nodes.news(a), vec![], "it is not whole yet");
    nodes.ask(a, part(false, true, strangers(1, 60)));
    assert_eq!(nodes.sees(a, b), Some(plain(2)));
    // A longer one is refused, and the earlier one stays.
    nodes.ask(a, part(true, false, strangers(1, 60)));
    for n in 1..16 {
        nodes.pass(Duration::from_millis(500));
        nodes.ask(a, part(false, false, strangers(1 + n * 60, 60)));
    }
    let refused = nodes.try_ask(a, part(false, false, strangers(961, 60)));
    assert_eq!(refused, Err(RequestError::TooManyContacts { limit: 1000 }));
    assert_eq!(nodes.sees(a, b), Some(plain(2)));
    nodes.allow(b, a, false);
    assert_eq!(nodes.sees(a, b), None, "and is in force");
}

#[test]
fn a_player_that_logs_in_anew_is_told_again() {
    on_one_node_and_on_two(|mut nodes| {
        let [a, b] = nodes.players(2)[..] else { unreachable!() };
        nodes.list(a, &[b]);
        nodes.list(b, &[a]);
        let world = &mut nodes.worlds[a.node];
        let mut rng = world.rng.clone();
        let fake = &mut world.fakes[a.index];
        (fake.session, fake.handshake) = (None, ClientHandshake::new(&mut rng));
        fake.told.clear();
        world.log_in(a.index);
        nodes.turn();
        assert_eq!(nodes.news(a), vec![], "its list has not come");
        nodes.list(a, &[b]);
        assert_eq!(nodes.sees(a, b), Some(plain(2)));
        assert_eq!(nodes.sees(b, a), Some(plain(1)));
        assert!(nodes.news(b).iter().all(|news| news.presence.is_some()), "it was never gone");
    });
}

#[test]
fn who_goes_on_to_another_node_stays_on_line_whichever_node_tells_first() {
    for old_one_first in [true, false] {
        let mut nodes = Nodes::new(2);
        let [a, b] = nodes.players(2)[..] else { unreachable!() };
        nodes.list(a, &[b]);
        nodes.list(b, &[a]);
        if old_one_first {
            nodes.log_out(a);
        }
        let moved = nodes.player(1, 1);
        nodes.list(moved, &[b]);
        nodes.pass(Duration::from_secs(2));
        assert_eq!((nodes.sees(b, a), nodes.sees(moved, b)), (Some(plain(1)), Some(plain(2))));
        if !old_one_first {
            nodes.log_out(a);
            nodes.pass(Duration::from_secs(2));
            assert_eq!(nodes.sees(b, a), Some(plain(1)));
        }
    }
}

#[test]
fn contacts_at_a_node_that_is_gone_are_off_line_and_come_back_with_it() {
    let mut nodes = Nodes::new(2);
    let [a, b] = nodes.players(2)[..] else { unreachable!() };
    nodes.list(a, &[b]);
    nodes.list(b, &[a]);
    for _ in 0..10 {
        nodes.worlds.iter_mut().for_each(|world| world.pass(Duration::from_millis(500)));
        nodes.beat_of(0);
        nodes.worlds[0].turn();
    }
    assert_eq!(nodes.sees(a, b), None);
    // It was only cut off.
    nodes.beat();
    nodes.pass(Duration::from_secs(1));
    assert_eq!((nodes.sees(a, b), nodes.sees(b, a)), (Some(plain(2)), Some(plain(1))));
}

#[test]
fn presence_is_right_again_after_the_registry_was_away() {
    let mut nodes = Nodes::new(2);
    let [a, b, c, d] = nodes.players(4)[..] else { unreachable!() };
    for (one, other) in [(a, b), (b, a), (c, b), (d, a)] {
        nodes.list(one, &[other]);
    }
    nodes.list(b, &[a, c]);
    nodes.list(a, &[b, d]);
    let registry = nodes.worlds[0].registry.take();
    nodes.worlds[1].registry = None;
    // Meanwhile everything changes: words, who is there, and who allows whom.
    nodes.status(a, Status { text: "later".into(), ..Status::default() });
    nodes.log_out(d);
    nodes.allow(c, b, false);
    for world in &mut nodes.worlds {
        // No longer than a command is waited for.
        world.pass(Duration::from_millis(800));
    }
    let forgotten =
        nodes.worlds.iter_mut().map(|world| std::iter::from_fn(|| world.server.poll_registry()).count());
    assert!(forgotten.sum::<usize>() > 0, "there were words that are lost");
    for world in &mut nodes.worlds {
        world.registry.clone_from(&registry);
        world.server.handle_registry_note(world.now, RegistryNote::Resumed);
    }
    nodes.pass(Duration::from_secs(12));
    assert_eq!(nodes.sees(b, a), Some(Presence { text: "later".into(), ..plain(1) }));
    assert_eq!((nodes.sees(a, d), nodes.sees(b, c), nodes.sees(c, b)), (None, None, None));
    assert_eq!(nodes.sees(a, b), Some(plain(2)));
}

#[test]
fn who_comes_back_in_another_game_is_off_line_for_its_contacts() {
    let mut nodes = Nodes::new(1);
    let [a, b] = nodes.players(2)[..] else { unreachable!() };
    nodes.list(a, &[b]);
    nodes.list(b, &[a]);
    let world = &mut nodes.worlds[0];
    let handshake = ClientHandshake::new(&mut world.rng);
    let fake = &mut world.fakes[a.index];
    (fake.session, fake.handshake, fake.login.game) = (None, handshake, "other".into());
    world.log_in(a.index);
    nodes.turn();
    assert_eq!(nodes.sees(b, a), None);
}
