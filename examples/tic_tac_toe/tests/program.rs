//! The program itself, with a lobby server in this process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use lobby_server::RunningServer;
use serde_json::Value;
use test_support::lobby;
use test_support::programs::Program;

/// A player has this long, and some seconds to end.
const DEADLINE: &str = "60";
const END: f64 = 70.0;

fn player(lobby: &RunningServer, entry: &str, args: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tic_tac_toe"));
    command.args([entry, "den", "--json", "--autoplay", "--deadline", DEADLINE, "--name", entry, "--lobby"]);
    command.arg(lobby.addresses().first[0].to_string()).args(args);
    Program::start(entry, &mut command)
}

/// Returns what this player saw of all rounds.
fn result(mut player: Program) -> (Program, Value) {
    player.success(END);
    let last = player.events("round").pop().unwrap();
    (player, last)
}

#[test]
fn two_play_and_one_looks_on() {
    let lobby = lobby();
    let all = ["host", "join", "join"].map(|entry| player(&lobby, entry, &["--rounds", "2"]));
    let [host, first, second] = all.map(result);
    let score =
        |round: &Value| (round["played"].clone(), round["won_by_x"].clone(), round["won_by_o"].clone());
    assert_eq!(score(&host.1), score(&first.1));
    assert_eq!(score(&host.1), score(&second.1));
    assert_eq!(host.1["played"], 2);
}

/// The guest hosts what it has, and the old host plays on as a guest, with its own marks.
#[test]
fn a_round_goes_on_when_its_host_leaves_and_comes_again() {
    let lobby = lobby();
    let host = player(&lobby, "host", &["--rounds", "2", "--leave-at", "3"]);
    let guest = player(&lobby, "join", &["--rounds", "2"]);
    let ((host, of_host), (guest, of_guest)) = (result(host), result(guest));
    assert_eq!(of_host["played"], 2);
    assert_eq!((&of_host["won_by_x"], &of_host["won_by_o"]), (&of_guest["won_by_x"], &of_guest["won_by_o"]));
    let changed = guest.events("host_changed");
    assert_eq!((changed.len(), &changed[0]["hosting"]), (1, &Value::Bool(true)));
    assert_eq!(host.events("left").len(), 1);
    // What the guest saw stays, until there is a new board.
    let boards = guest.events("board");
    let rows = |line: &Value| line["rows"].as_str().unwrap().to_owned();
    for pair in boards.windows(2) {
        let (before, after) = (rows(&pair[0]), rows(&pair[1]));
        let marks = |rows: &str| rows.chars().filter(|mark| matches!(mark, 'X' | 'O')).count();
        let kept = before.chars().zip(after.chars()).all(|(old, new)| old == '-' || old == new);
        assert!(kept || marks(&after) == 1, "{before} then {after}");
    }
}
