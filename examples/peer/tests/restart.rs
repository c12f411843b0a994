//! The lobby server is killed and started again while two play over its relay; and one ends gently, of two that players know.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use test_support::programs::{Lobby, Program, assert_played, peer};

const ARGS: [&str; 9] =
    ["--relay", "only", "--expect-relay", "--rate", "60", "--reliable-rate", "20", "--complete", "--for"];

fn summary(program: &Program) -> serde_json::Value {
    program.events("summary").remove(0)
}

#[test]
fn the_game_over_the_relay_goes_on_and_nothing_reliable_is_lost() {
    let mut lobby = Lobby::start();
    let args = [&ARGS[..], &["8"]].concat();
    let mut host = lobby.peer("A", "host", &args);
    host.event("room", 10.0);
    let mut joiner = lobby.peer("B", "join", &args);
    joiner.event("game_message", 10.0);
    host.event("game_message", 10.0);
    lobby.kill();
    lobby.restart();
    // Both are back while they still play; their last words go through the new server.
    for program in [&mut host, &mut joiner] {
        program.event("lobby_failed", 20.0);
        program.event("logged_in", 20.0);
    }
    joiner.success(40.0);
    host.success(40.0);
    for (program, with) in [(&joiner, "A"), (&host, "B")] {
        assert_played(program, with);
        assert_eq!(program.events("plan").len(), 1, "the same match\n{}", program.log());
        let summary = summary(program);
        assert!(summary["reliable_sent"].as_u64().unwrap() > 20, "{summary}");
    }
    assert_eq!(summary(&host)["reliable_received"], summary(&joiner)["reliable_sent"]);
    assert_eq!(summary(&joiner)["reliable_received"], summary(&host)["reliable_sent"]);
}

#[test]
fn a_server_that_ends_sends_who_waits_to_another_one_and_keeps_who_is_in_a_room() {
    let (first, second) = (Lobby::start(), Lobby::start());
    let mut host = first.host("A", &["--for", "60"]);
    let duel = ["--mode", "duel", "--players", "2", "--for", "1", "--deadline", "60"];
    let both = [&["--name", "B", "--lobby", &second.address][..], &duel].concat();
    let mut waits = peer("B", &first.address, "quick", &both);
    waits.event("logged_in", 10.0);
    first.program.terminate();
    let away = waits.event("lobby_failed", 10.0);
    assert!(away["text"].as_str().unwrap().contains("its operator has ended it"), "{away}");
    waits.event("logged_in", 20.0);
    let mut other = second.peer("C", "quick", &duel);
    waits.success(60.0);
    other.success(60.0);
    assert_played(&waits, "C");
    assert!(host.events("room_left").is_empty(), "{}", host.log());
    // It had its 10 s, and plays on without a server.
    host.event("lobby_failed", 20.0);
    assert!(host.events("room_left").is_empty(), "{}", host.log());
}
