//! A whole match of one host and three computer players: four apps, four sockets, a lobby server, real time.
//! The same under 150 ms and 5 % loss is in `src/net/tests.rs`, where time is counted instead of waited for.

use std::time::{Duration, Instant};

use arena::bots::{Bot, player_app, single_threaded};
use arena::embedded;
use arena::flow::Referee;
use arena::net::EventLog;
use arena::net::systems::Hosted;
use arena::session::{Goal, HostPlan, Profile, Session, Target};
use arena::sim::{GameEvent, Rules};
use bevy::prelude::*;
use bevy_traversal::KeptFile;

const DEADLINE: Duration = Duration::from_secs(120);

/// Turns an app until something is so.
fn until(app: &mut App, what: &str, mut done: impl FnMut(&World) -> bool) {
    let begun = Instant::now();
    while !done(app.world()) {
        assert!(begun.elapsed() < DEADLINE, "not in time: {what}");
        let frame = Instant::now();
        app.update();
        // The rate of the game, as with a window.
        std::thread::sleep(Duration::from_micros(16_667).saturating_sub(frame.elapsed()));
    }
}

fn entries(log: &EventLog) -> Vec<(u32, GameEvent)> {
    log.entries().cloned().collect()
}

#[test]
fn a_host_and_three_bots_play_to_a_winner_and_all_hear_the_same() {
    let server = embedded::start().unwrap();
    let address = server.address.to_string();
    let plan = HostPlan {
        room: String::from("the match"),
        rules: Rules { target: 2, round_seconds: 30, overtime_seconds: 5, ..Rules::default() },
        begin_with: Some(4),
        ..HostPlan::default()
    };
    let profile = Profile { name: String::from("Host"), server: address.clone() };
    let mut host = player_app(profile, Goal::Host(plan), 7, KeptFile::Off);
    single_threaded(&mut host);
    host.finish();
    host.cleanup();
    until(&mut host, "the room is open", |world| world.resource::<Session>().room.is_some());
    let room = || Target::Name(String::from("the match"));
    let bots: Vec<_> = (0..3).map(|i| Bot::spawn(&address, room(), None, i, 7).unwrap()).collect();
    until(&mut host, "a round is won", |world| world.resource::<Referee>().over == 1);
    let truth = entries(&host.world().resource::<Hosted>().0.log);
    // What is under way may arrive: the bots answer only for what had happened by now.
    let later = Instant::now() + Duration::from_secs(1);
    until(&mut host, "a second passes", |_| Instant::now() > later);
    let all = entries(&host.world().resource::<Hosted>().0.log);

    let joined = truth.iter().filter(|(_, event)| matches!(event, GameEvent::Joined { .. })).count();
    assert_eq!(joined, 4);
    let won = |(_, event): &&(u32, GameEvent)| matches!(event, GameEvent::RoundWon { .. });
    let winner = truth.iter().find(won).expect("somebody won");
    for bot in bots {
        let report = bot.retire();
        let heard = entries(&report.log);
        assert_eq!(report.trouble, None, "{}", report.name);
        assert_eq!(report.log.faults, 0, "{}: once and in order", report.name);
        let first = heard.first().expect("heard something").0;
        let from = all.iter().position(|(number, _)| *number == first).expect("a true event");
        let (expected, surplus) = (&all[from..], heard.len().saturating_sub(all.len() - from));
        // It may have heard a little more than was looked at here, never less than had happened.
        assert_eq!(heard[..heard.len() - surplus], expected[..heard.len() - surplus], "{}", report.name);
        assert!(heard.len() >= truth.len() - from, "{} misses events", report.name);
        assert!(heard.contains(winner), "{}", report.name);
    }
}

#[test]
fn a_room_that_does_not_exist_is_a_sentence() {
    let server = embedded::start().unwrap();
    let profile = Profile { name: String::from("Lost"), server: server.address.to_string() };
    let target = Target::Name(String::from("nowhere"));
    let mut app = player_app(
        profile,
        Goal::Join { target, password: None, wait: Duration::ZERO, watch: false },
        1,
        KeptFile::Off,
    );
    single_threaded(&mut app);
    app.finish();
    app.cleanup();
    until(&mut app, "the refusal", |world| world.resource::<Session>().trouble.is_some());
    let trouble = app.world().resource::<Session>().trouble.clone().unwrap();
    assert!(trouble.starts_with(char::is_uppercase) && trouble.ends_with('.'), "{trouble}");
    assert!(trouble.contains("room"), "{trouble}");
}
