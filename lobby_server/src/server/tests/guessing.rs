//! Passwords and codes that somebody guesses.

use std::time::Duration;

use traversal_core::wire::message::{Request, RequestError, Response, RoomOptions, RoomTarget, ToPlayer};

use super::{World, named};

fn with_password(password: String) -> Request {
    Request::JoinRoom { target: RoomTarget::Name("r".into()), password: Some(password.into()) }
}

fn locked(world: &mut World, password: &str) {
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, RoomOptions { password: Some(password.into()), ..named("r") });
}

/// The guesses come from one address, with as many sessions and as fast as it likes, an hour long.
#[test]
fn a_password_of_four_digits_is_not_found_by_one_address() {
    let mut world = World::new();
    locked(&mut world, "9999");
    let guessers: Vec<usize> =
        (2..=40).map(|n| world.player(n, &format!("198.51.100.1:{}", 4000 + u16::from(n)))).collect();
    let (mut wrong, mut next) = (0, 0);
    for _ in 0..360 {
        for guesser in &guessers {
            match world.answer(*guesser, with_password(format!("{next:04}"))) {
                Err(RequestError::WrongPassword) => (wrong, next) = (wrong + 1, next + 1),
                Err(RequestError::Limited { .. }) => {}
                other => panic!("{other:?} after {wrong}"),
            }
        }
        world.pass(Duration::from_secs(10));
        (0..world.fakes.len()).for_each(|player| world.ping(player));
    }
    // Ten at once, and then one each ten seconds.
    assert!((300..=10 + 360 + 1).contains(&wrong), "{wrong}");
    assert_eq!(world.server.counters().wrong_passwords, wrong);
}

#[test]
fn guesses_of_many_addresses_lock_nobody_else_out() {
    let mut world = World::new();
    locked(&mut world, "sesame");
    let mut wrong = 0;
    for n in 2..=80 {
        let guesser = world.player(n, &format!("198.51.100.{n}:4000"));
        for guess in 0..5 {
            let answer = world.answer(guesser, with_password(format!("{guess}")));
            wrong += usize::from(answer == Err(RequestError::WrongPassword));
        }
    }
    // What the room has for those who failed before, and one of each address after that.
    assert!((79..=30 + 79).contains(&wrong), "{wrong}");
    let friend = world.player(100, "192.0.2.1:4000");
    let answer = world.answer(friend, with_password("sesame".into()));
    assert!(matches!(answer, Ok(Response::Room(_))), "{answer:?}");
}

#[test]
fn a_typing_error_or_two_cost_nothing() {
    let mut world = World::new();
    locked(&mut world, "sesame");
    let friend = world.player(2, "198.51.100.1:4000");
    for _ in 0..3 {
        let answer = world.answer(friend, with_password("Sesame".into()));
        assert_eq!(answer, Err(RequestError::WrongPassword));
    }
    assert!(matches!(world.answer(friend, with_password("sesame".into())), Ok(Response::Room(_))));
}

#[test]
fn codes_are_tried_slowly() {
    let mut world = World::new();
    let guessers: Vec<usize> =
        (2..=40).map(|n| world.player(n, &format!("198.51.100.1:{}", 4000 + u16::from(n)))).collect();
    let mut tried = 0;
    for round in 0..60 {
        for guesser in &guessers {
            let target = RoomTarget::Code(format!("AAA{:03}", (round + guesser) % 900 + 100));
            let answer = world.answer(*guesser, Request::JoinRoom { target, password: None });
            tried += usize::from(answer == Err(RequestError::NoSuchRoom));
        }
        world.pass(Duration::from_secs(1));
    }
    assert!((100..=100 + 31).contains(&tried), "{tried} in a minute");
}

#[test]
fn the_host_is_told_of_wrong_passwords_and_seldom() {
    let mut world = World::new();
    locked(&mut world, "sesame");
    let told = |world: &World| {
        let messages = world.fakes[0].told.iter();
        messages
            .filter_map(|message| match message {
                ToPlayer::WrongPasswords { in_last_minute, .. } => Some(*in_last_minute),
                _ => None,
            })
            .collect::<Vec<u16>>()
    };
    let guessers: Vec<usize> = (2..=6).map(|n| world.player(n, &format!("198.51.100.{n}:4000"))).collect();
    assert_eq!(world.answer(guessers[0], with_password("a".into())), Err(RequestError::WrongPassword));
    world.pass(Duration::from_millis(100));
    assert_eq!(told(&world), [1], "at once");
    for second in 0..60 {
        let _ = world.answer(guessers[second % 5], with_password(format!("{second}")));
        world.pass(Duration::from_secs(1));
        (0..world.fakes.len()).for_each(|player| world.ping(player));
    }
    let counts = told(&world);
    assert!((5..=7).contains(&counts.len()), "{counts:?}");
    let (last, wrong) = (counts.last().copied(), world.server.counters().wrong_passwords);
    assert!(last.is_some_and(|last| u64::from(last) <= wrong && last > 20), "{counts:?} of {wrong}");
    // Nobody tries any more: nothing is told.
    world.pass(Duration::from_secs(11));
    let before = told(&world).len();
    for _ in 0..12 {
        world.pass(Duration::from_secs(10));
        (0..world.fakes.len()).for_each(|player| world.ping(player));
    }
    assert_eq!(told(&world).len(), before);
}
