//! What members tell each other, between programs: properties, ready and the countdown, teams, the lock, and a host who hands
//! over; with a restart of the lobby server in the middle.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use test_support::programs::{Lobby, Program, assert_played};

/// Returns the first of these events that fits, whether it has come already or is waited for: events of several kinds come in
/// any order.
fn seen(program: &mut Program, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut looked = 0;
    loop {
        let all = program.events(event);
        if let Some(found) = all.iter().skip(looked).find(|told| fits(told)) {
            return found.clone();
        }
        looked = all.len();
        program.event(event, 20.0);
    }
}

/// Waits for this member to say something that fits.
fn member(program: &mut Program, peer: &str, fits: impl Fn(&Value) -> bool) -> Value {
    seen(program, "member_changed", |told| told["peer"] == peer && fits(told))
}

#[test]
fn all_begin_at_the_same_moment_when_all_are_ready() {
    let lobby = Lobby::start();
    let mut host = lobby.host(
        "A",
        &["--players", "3", "--ready", "--property", "skin=red", "--start-when-ready", "2", "--for", "8"],
    );
    let mut first = lobby.peer(
        "B",
        "join",
        &["--ready", "--property", "skin=blue", "--property", "hat=top", "--for", "8"],
    );
    let mut second = lobby.peer("C", "join", &["--ready", "--for", "8"]);
    let said = member(&mut host, "B", |changed| changed["properties"]["hat"] == "top");
    assert_eq!(said["properties"], json!({"skin": "blue", "hat": "top"}));
    let over = [&mut host, &mut first, &mut second].map(|program| {
        seen(program, "all_ready", |told| told["all_ready"] == true);
        let countdown = seen(program, "countdown", |_| true);
        let (left, exact) = (countdown["in_ms"].as_f64().unwrap(), countdown["exact_ms"].as_f64().unwrap());
        assert!((0.0..=2000.0 + exact).contains(&left), "{countdown}");
        seen(program, "countdown_over", |_| true)["unix_ms"].as_f64().unwrap()
    });
    let apart = over.iter().copied().fold(f64::MIN, f64::max) - over.iter().copied().fold(f64::MAX, f64::min);
    // They know the moment within a millisecond here; the machine is busy with other tests, and a frame is 4 ms.
    assert!(apart < 500.0, "{apart} ms apart: {over:?}");
    for program in [&mut host, &mut first, &mut second] {
        program.success(30.0);
        assert!(
            program.events("countdown_cancelled").is_empty() && program.events("request_failed").is_empty()
        );
    }
}

#[test]
fn who_is_not_ready_any_more_cancels_the_countdown() {
    let lobby = Lobby::start();
    let mut host = lobby.host("A", &["--ready", "--start-when-ready", "60", "--for", "6"]);
    let mut joiner = lobby.peer("B", "join", &["--ready", "--unready-after", "2", "--for", "6"]);
    for program in [&mut host, &mut joiner] {
        seen(program, "countdown", |_| true);
        let cancelled = seen(program, "countdown_cancelled", |_| true);
        assert_eq!(cancelled["text"], "a player is not ready any more");
    }
    joiner.success(30.0);
    host.success(30.0);
    // Another one may have left by then, so it is looked for among all.
    for program in [&host, &joiner] {
        let ready: Vec<Value> =
            program.events("all_ready").into_iter().map(|told| told["all_ready"].clone()).collect();
        assert!(ready.windows(2).any(|two| two == [json!(true), json!(false)]), "{ready:?}");
    }
    assert!(joiner.events("countdown_over").is_empty());
}

#[test]
fn teams_have_sizes_and_a_locked_room_lets_nobody_new_in() {
    let lobby = Lobby::start();
    let host =
        ["--players", "3", "--capacity", "8", "--teams", "1,1", "--team", "0", "--lock", "--for", "10"];
    let mut host = lobby.host("A", &host);
    let mut balanced = lobby.peer("B", "join", &["--team", "any", "--for", "10"]);
    assert_eq!(member(&mut host, "B", |changed| !changed["team"].is_null())["team"], 1);
    let mut late = lobby.peer("C", "join", &["--team", "1", "--for", "10"]);
    let refused = seen(&mut late, "request_failed", |_| true);
    assert_eq!(refused["text"], "the team is full (1 of 1); choose another one");
    let changed = seen(&mut host, "room_changed", |_| true);
    assert_eq!((&changed["locked"], &changed["teams"]), (&json!(true), &json!([1, 1])));
    let mut stranger = lobby.peer("D", "join", &["--for", "5"]);
    stranger.failure(15.0, "the room is locked");
    for program in [&mut host, &mut balanced, &mut late] {
        program.success(30.0);
    }
}

#[test]
fn a_host_hands_over_and_stays() {
    let lobby = Lobby::start();
    let mut host = lobby.host(
        "A",
        &[
            "--players",
            "3",
            "--migrate",
            "--property",
            "skin=red",
            "--room-property",
            "map=cave",
            "--hand-over",
            "B",
            "--after",
            "3",
            "--for",
            "20",
        ],
    );
    let joiner = |name| lobby.peer(name, "join", &["--migrate", "--for", "12"]);
    let (mut next, mut other) = (joiner("B"), joiner("C"));
    for program in [&mut next, &mut other] {
        seen(program, "room_property", |told| told["value"] == "cave");
        member(program, "A", |changed| changed["properties"]["skin"] == "red");
        seen(program, "game_message", |_| true);
    }
    for program in [&mut host, &mut next, &mut other] {
        let changed = seen(program, "host_changed", |_| true);
        assert_eq!((&changed["host"], &changed["epoch"]), (&json!("B"), &json!(1)), "{}", program.log());
    }
    next.success(40.0);
    other.success(40.0);
    assert_played(&next, "A");
    assert_played(&next, "C");
    assert_played(&other, "B");
    let left = host.events("room_left");
    assert!(left.is_empty() || host.events("host_changed").len() == 1, "it stayed: {left:?}");
}

#[test]
fn what_members_said_is_there_again_after_a_restart_of_the_server() {
    let mut lobby = Lobby::start();
    let long = format!("story={}", "x".repeat(500));
    let mut host = lobby.host(
        "A",
        &[
            "--players",
            "3",
            "--capacity",
            "4",
            "--property",
            "skin=red",
            "--room-property",
            "map=cave",
            "--room-property",
            &long,
            "--teams",
            "2,2",
            "--team",
            "1",
            "--lock",
            "--for",
            "40",
        ],
    );
    let first = ["--ready", "--property", "skin=blue", "--for", "40"];
    let mut first = lobby.peer("B", "join", &first);
    let mut second = lobby.peer("C", "join", &["--for", "40"]);
    member(&mut host, "B", |changed| changed["ready"] == true && changed["properties"]["skin"] == "blue");
    seen(&mut host, "room_changed", |told| told["locked"] == true);
    seen(&mut second, "game_message", |_| true);
    seen(&mut first, "game_message", |_| true);
    lobby.kill();
    lobby.restart();
    for program in [&mut host, &mut first, &mut second] {
        program.event("lobby_failed", 25.0);
        program.event("logged_in", 25.0);
        program.event("room", 25.0);
    }
    // It is locked still, for whoever was not inside.
    let mut stranger = lobby.peer("D", "join", &["--for", "5"]);
    stranger.failure(25.0, "the room is locked");
    // Who was inside takes nothing for news: everybody says the same as before.
    for program in [&host, &first, &second] {
        let news = program.events("room_property");
        assert_eq!(news.len(), 2, "the two that were there: {news:?}\n{}", program.log());
        let gone = program.events("member_changed").into_iter().find(|told| {
            let changed = &told["changed"];
            changed["ready"] == false || changed["properties"].get("skin").is_some_and(Value::is_null)
        });
        assert_eq!(gone, None, "{}", program.log());
    }
    for program in [&host, &first, &second] {
        program.terminate();
    }
}
