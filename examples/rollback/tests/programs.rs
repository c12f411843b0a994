//! The program itself, several times, with a lobby server in this process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use lobby_server::RunningServer;
use test_support::lobby;

fn player(lobby: &RunningServer, name: &str, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollback"));
    command.args(["--json", "--deadline", "40", "--name", name, "--lobby"]);
    command.arg(lobby.addresses().first[0].to_string()).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn lines(output: &Output, event: &str) -> Vec<serde_json::Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == event)
        .collect()
}

fn play(players: usize) {
    let lobby = lobby();
    let count = players.to_string();
    let all: Vec<Child> = (0..players)
        .map(|index| player(&lobby, &format!("P{index}"), &["--players", &count, "--frames", "120"]))
        .collect();
    let mut checksums = BTreeSet::new();
    for child in all {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let summary = &lines(&output, "summary")[0];
        assert_eq!(summary["ok"], true, "{summary}");
        assert!(summary["confirmed"].as_i64().unwrap() >= 120, "{summary}");
        checksums.insert(summary["checksum"].as_str().unwrap().to_owned());
        let peers: BTreeSet<String> =
            lines(&output, "path").iter().map(|line| line["peer"].to_string()).collect();
        assert_eq!(peers.len(), players - 1, "every pair has a path");
    }
    assert_eq!(checksums.len(), 1, "one world");
}

#[test]
fn two_players_confirm_all_frames_and_agree() {
    play(2);
}

#[test]
fn four_players_confirm_all_frames_and_agree() {
    play(4);
}

#[test]
fn a_player_that_is_killed_ends_the_game_of_the_others_with_a_word() {
    let lobby = lobby();
    let args = ["--players", "2", "--frames", "100000"];
    let mut victim = player(&lobby, "victim", &args);
    let other = player(&lobby, "other", &args);
    let running = |line: &String| line.contains("\"running\"");
    let mut out = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(out.any(|line| running(&line)), "the game begins");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let output = other.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_eq!(lines(&output, "summary")[0]["ok"], false);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("victim") || text.contains("stopped answering") || text.contains("host"), "{text}");
}

#[test]
fn who_finds_nobody_says_so() {
    let lobby = lobby();
    let output = player(&lobby, "alone", &["--deadline", "2"]).wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("did not come together"), "{output:?}");
}
