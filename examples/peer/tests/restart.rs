//! The lobby server is killed and started again while two play over its relay.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use test_support::programs::{Lobby, Program, assert_played};

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
