//! Seats that are kept over a crash, spectators, and ban lists, with the built programs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use test_support::programs::{Lobby, Program, assert_played};
use test_support::scratch;

/// Starts a host and two guests, who fill its room; the second guest has this identity.
fn full(lobby: &Lobby, identity: &str, args: &[&str]) -> (Program, Program, Program) {
    let all = [&["--players", "3", "--for", "120", "--rejoin", "never"][..], args].concat();
    let host = lobby.host("A", &all);
    let mut other = lobby.peer("B", "join", &["--for", "120"]);
    other.event("game_message", 20.0);
    let mut lost = lobby.peer("C", "join", &["--for", "120", "--identity", identity]);
    lost.event("game_message", 20.0);
    (host, other, lost)
}

fn key() -> String {
    scratch("seat").join("key").to_str().unwrap().to_owned()
}

#[test]
fn a_guest_is_killed_and_started_again_in_its_seat_while_the_room_stays_full() {
    let (lobby, key) = (Lobby::start(), key());
    let (mut host, mut other, mut lost) = full(&lobby, &key, &[]);
    let joined = lost.events("logged_in")[0]["player"].clone();
    lost.kill();
    // Also who has no connection to it hears of it.
    for program in [&mut host, &mut other] {
        let away = program.event("player_away", 20.0);
        assert_eq!((&away["peer"], &away["player"]), (&"C".into(), &joined), "{away}");
        assert!(away["kept_s"].as_u64().unwrap() >= 50, "{away}");
    }
    let mut stranger = lobby.peer("D", "join", &["--for", "2"]);
    stranger.failure(20.0, "the room is full");
    let mut back = lobby.peer("C", "join", &["--for", "2", "--identity", &key, "--take-seat"]);
    let kept = back.event("seat_kept", 20.0);
    assert_eq!((&kept["room"], &kept["hosting"]), (&"r1".into(), &false.into()), "{kept}");
    for program in [&mut host, &mut other] {
        let home = program.event("player_back", 20.0);
        assert_eq!(home["player"], joined, "{home}");
        assert!(home["client_id"].is_u64(), "{home}");
    }
    assert_eq!(host.event("game_connected", 20.0)["peer"], "C");
    back.success(30.0);
    assert_played(&back, "A");
    // It has left in order: its seat is free at once.
    let mut next = lobby.peer("D", "join", &["--for", "2"]);
    next.success(30.0);
    assert_played(&next, "A");
    assert!(other.events("disconnected").is_empty(), "{}", other.log());
}

#[test]
fn a_seat_outlives_a_server_that_is_killed_while_its_player_is_away() {
    let (mut lobby, key) = (Lobby::start(), key());
    let (mut host, mut other, mut lost) = full(&lobby, &key, &[]);
    let joined = lost.events("logged_in")[0]["player"].clone();
    lost.kill();
    assert_eq!(other.event("player_away", 20.0)["player"], joined);
    lobby.kill();
    lobby.restart();
    for program in [&mut host, &mut other] {
        program.event("logged_in", 30.0);
    }
    let mut back = lobby.peer("C", "join", &["--for", "2", "--identity", &key, "--take-seat"]);
    let kept = back.event("seat_kept", 20.0);
    assert_eq!((&kept["room"], &kept["hosting"]), (&"r1".into(), &false.into()), "{kept}");
    let home = other.event("player_back", 20.0);
    assert_eq!((&home["player"], home["client_id"].is_u64()), (&joined, true), "{home}");
    back.success(30.0);
    assert_played(&back, "A");
    assert!(
        other.events("disconnected").is_empty() && other.events("room_left").is_empty(),
        "{}",
        other.log()
    );
}

#[test]
fn after_its_time_a_seat_is_gone() {
    let (lobby, key) = (Lobby::start(), key());
    let (mut host, mut other, mut lost) = full(&lobby, &key, &["--keep-seat", "4"]);
    lost.kill();
    let away = other.event("player_away", 20.0);
    assert!(away["kept_s"].as_u64().unwrap() <= 4, "{away}");
    // The room is asked for until its seat is free.
    let mut next = loop {
        let mut next = lobby.peer("D", "join", &["--for", "60"]);
        let answer = |line: &str| line.contains("\"event\":\"room\"") || line.contains("room-full");
        let line = next.line("an answer", 20.0, answer);
        if !line.contains("room-full") {
            break next;
        }
    };
    next.event("game_message", 20.0);
    let mut back = lobby.peer("C", "join", &["--for", "2", "--identity", &key, "--take-seat"]);
    back.failure(30.0, "the room is full");
    assert!(back.events("seat_kept").is_empty(), "{}", back.log());
    assert!(host.events("room_left").is_empty() && other.events("player_back").is_empty());
    host.terminate();
    host.success(10.0);
}

#[test]
fn a_spectator_receives_and_is_not_heard() {
    let lobby = Lobby::start();
    let mut host = lobby.host("A", &["--players", "2", "--spectators", "1", "--for", "8"]);
    let mut guest = lobby.peer("B", "join", &["--for", "8"]);
    guest.event("game_message", 20.0);
    let mut eye = lobby.peer("E", "join", &["--spectate", "--speak", "--for", "3"]);
    let room = eye.event("room", 20.0);
    assert_eq!((&room["spectating"], &room["members"]), (&true.into(), &2.into()), "{room}");
    for program in [&mut host, &mut guest] {
        assert_eq!(program.event("spectators", 10.0)["peers"], serde_json::json!(["E"]));
    }
    let mut late = lobby.peer("F", "join", &["--spectate", "--for", "2"]);
    late.failure(20.0, "the room takes 1 spectators");
    eye.success(30.0);
    let seen = eye.events("summary").remove(0);
    assert!(seen["received"].as_u64().unwrap() > 10 && seen["sent"].as_u64().unwrap() > 10, "{seen}");
    assert_eq!(seen["reliable_in_order"], true, "{seen}");
    host.success(30.0);
    let about = host.events("summary").into_iter().find(|summary| summary["peer"] == "E").unwrap();
    assert_eq!(about["received"], 0, "{about}");
    // renet's acknowledgements came through: all reliable messages were delivered, and nothing filled up.
    assert!(seen["reliable_received"].as_u64().unwrap() > 10, "{seen}");
    assert_played(&host, "B");
}

#[test]
fn who_was_put_out_reads_why_and_comes_back_when_the_host_lets_it() {
    let lobby = Lobby::start();
    let kick = ["--kick", "C", "--kick-reason", "too loud", "--lift-after", "6", "--for", "60"];
    let mut host = lobby.host("A", &[&["--players", "3", "--rejoin", "never"][..], &kick].concat());
    let mut other = lobby.peer("B", "join", &["--for", "60"]);
    other.event("game_message", 20.0);
    let key = key();
    let mut out = lobby.peer("C", "join", &["--for", "60", "--identity", &key]);
    let left = out.event("room_left", 20.0);
    assert!(left["text"].as_str().unwrap().contains("too loud"), "{left}");
    let bans = host.event("bans", 10.0)["bans"].clone();
    assert_eq!((&bans[0]["peer"], &bans[0]["left_s"]), (&"C".into(), &serde_json::Value::Null), "{bans}");
    assert_eq!(bans[0]["reason"], "too loud");
    let mut again = lobby.peer("C", "join", &["--for", "2", "--identity", &key]);
    again.failure(20.0, "the host put you out of this room: too loud; you cannot come back");
    // Answers may overtake each other.
    host.line("an empty ban list", 20.0, |line| line.contains("\"bans\":[]"));
    if host.events("lifted").is_empty() {
        host.event("lifted", 10.0);
    }
    let mut back = lobby.peer("C", "join", &["--for", "2", "--identity", &key]);
    back.success(30.0);
    assert_played(&back, "A");
}

#[test]
fn who_is_put_out_for_some_seconds_comes_back_after_them() {
    let lobby = Lobby::start();
    let args = ["--players", "2", "--kick", "C", "--rejoin", "after=5", "--for", "60"];
    let _host = lobby.host("A", &args);
    let key = key();
    let mut out = lobby.peer("C", "join", &["--for", "60", "--identity", &key]);
    out.event("room_left", 20.0);
    let mut again = lobby.peer("C", "join", &["--for", "2", "--identity", &key]);
    again.failure(20.0, "you can come back in");
    let end = Instant::now() + Duration::from_secs(20);
    let back = loop {
        let mut back = lobby.peer("C", "join", &["--for", "2", "--identity", &key]);
        if back.exit(30.0).success() {
            break back;
        }
        assert!(back.log().contains("you can come back in"), "{}", back.log());
        assert!(Instant::now() < end, "it is still out: {}", back.log());
    };
    assert_played(&back, "A");
}
