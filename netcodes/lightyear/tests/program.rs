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
    let mut command = Command::new(env!("CARGO_BIN_EXE_lightyear_traversal"));
    command.args([entry, "den", "--json", "--deadline", DEADLINE, "--lobby"]);
    command.arg(lobby.addresses().first[0].to_string()).args(args);
    Program::start(entry, &mut command)
}

fn finished(mut player: Program) -> Program {
    player.success(END);
    player
}

#[test]
fn three_players_push_their_boxes_and_all_see_all() {
    let lobby = lobby();
    let all = ["host", "join", "join"].map(|entry| player(&lobby, entry, &["--players", "3"]));
    for player in all.map(finished) {
        assert_eq!(player.events("summary")[0]["boxes"], 3);
    }
}

/// The guest hosts the boxes where it saw them last, and the old host pushes its own on, as a guest.
#[test]
fn the_boxes_stay_where_they_are_when_the_host_leaves_and_comes_again() {
    let lobby = lobby();
    let all = ["host", "join"].map(|entry| player(&lobby, entry, &["--players", "2", "--leave-at", "40"]));
    let [host, guest] = all.map(finished);
    assert_eq!(host.events("left").len(), 1);
    let changed = guest.events("host_changed");
    assert_eq!((changed.len(), &changed[0]["hosting"]), (1, &Value::Bool(true)));
    // No box went back to where it began.
    for player in [&host, &guest] {
        assert_eq!(player.events("summary")[0]["boxes"], 2);
        let boxes = player.events("box");
        for (index, later) in boxes.iter().enumerate() {
            let earlier = boxes[..index].iter().filter(|earlier| earlier["player"] == later["player"]);
            let before = earlier.filter_map(|earlier| earlier["at"].as_u64()).max().unwrap_or(0);
            assert!(later["at"].as_u64().unwrap() + 20 >= before, "{later} after {before}");
        }
    }
}
