//! Quick match through the built program, without a window.

mod programs;

use std::io::{BufRead, BufReader};

use programs::{all, arena, text};

#[test]
fn two_find_each_other_and_play_to_a_winner() {
    let server = test_support::lobby();
    let lobby = server.addresses().first[0].to_string();
    let player = |name| {
        let rules = ["--rounds", "1", "--points", "1", "--round-seconds", "20"];
        arena(&[&["--lobby", &lobby, "--quick", "--name", name], &rules[..]].concat())
    };
    let mut first = player("Ann");
    let mut lines = BufReader::new(first.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let waits = lines.by_ref().find(|line| line.starts_with("You are the first"));
    let waits = waits.expect("it is told that it waits");
    assert!(waits.contains("nobody else waits yet") && waits.contains("not known"), "{waits}");
    let seen = all(player("Ben"));
    let rest: Vec<String> = lines.collect();
    assert!(first.wait().expect("it ends").success(), "{rest:?}");
    let winner = |line: &&str| line.starts_with("Winner: ");
    let won = seen.lines().find(winner).expect("a winner");
    assert_eq!(rest.iter().map(String::as_str).find(winner), Some(won));
    assert!(seen.contains("Round 1 begins."), "{seen}");
}

#[test]
fn who_waits_for_nobody_and_who_finds_no_server_reads_why() {
    let server = test_support::lobby();
    let lobby = server.addresses().first[0].to_string();
    let alone = arena(&["--lobby", &lobby, "--quick", "3", "--rounds", "1", "--patience", "4"]);
    let output = alone.wait_with_output().expect("it ends");
    let (out, error) = text(&output);
    assert!(!output.status.success(), "{out}");
    assert!(out.contains("Waiting for players: 3 make a match."), "{out}");
    assert_eq!(error.trim(), "arena: no match after 4 s. Nobody came to play.");
    drop(server);
    let nowhere = arena(&["--lobby", &lobby, "--quick", "--rounds", "1", "--patience", "4"]);
    let output = nowhere.wait_with_output().expect("it ends");
    let (out, error) = text(&output);
    assert!(!output.status.success(), "{out}");
    assert!(error.contains("lobby server"), "{error}");
    let output = arena(&["--quick"]).wait_with_output().expect("it ends");
    assert!(text(&output).1.contains("--lobby"), "a server inside the game has nobody who waits");
}
