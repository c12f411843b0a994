//! The program itself, with a lobby server in this process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Child, Command, Output, Stdio};

use lobby_server::{LobbyServer, RunningServer, Settings};
use serde_json::Value;

fn lobby() -> RunningServer {
    let settings = Settings {
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        second_port: Some(0),
        no_http: true,
        ..Settings::default()
    };
    LobbyServer::new(settings).spawn().unwrap()
}

fn player(lobby: &RunningServer, entry: &str, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lightyear_traversal"));
    command.args([entry, "den", "--json", "--deadline", "60", "--lobby"]);
    command.arg(lobby.addresses().first[0].to_string()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn lines(output: &Output, event: &str) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == event)
        .collect()
}

fn finished(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn three_players_push_their_boxes_and_all_see_all() {
    let lobby = lobby();
    let all = ["host", "join", "join"].map(|entry| player(&lobby, entry, &["--players", "3"]));
    for output in all.map(finished) {
        assert_eq!(lines(&output, "summary")[0]["boxes"], 3);
    }
}

/// The guest hosts the boxes where it saw them last, and the old host pushes its own on, as a guest.
#[test]
fn the_boxes_stay_where_they_are_when_the_host_leaves_and_comes_again() {
    let lobby = lobby();
    let all = ["host", "join"].map(|entry| player(&lobby, entry, &["--players", "2", "--leave-at", "40"]));
    let [host, guest] = all.map(finished);
    assert_eq!(lines(&host, "left").len(), 1);
    let changed = lines(&guest, "host_changed");
    assert_eq!((changed.len(), &changed[0]["hosting"]), (1, &Value::Bool(true)));
    // No box went back to where it began.
    for output in [&host, &guest] {
        assert_eq!(lines(output, "summary")[0]["boxes"], 2);
        let boxes = lines(output, "box");
        for (index, later) in boxes.iter().enumerate() {
            let earlier = boxes[..index].iter().filter(|earlier| earlier["player"] == later["player"]);
            let before = earlier.filter_map(|earlier| earlier["at"].as_u64()).max().unwrap_or(0);
            assert!(later["at"].as_u64().unwrap() + 20 >= before, "{later} after {before}");
        }
    }
}
