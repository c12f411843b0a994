//! Other ways into a match, through the built program without a window: one that only watches, and one with an invite.

mod programs;

use std::io::{BufRead, BufReader};

use programs::{all, arena};

#[test]
fn one_who_watches_hears_who_wins_and_plays_no_part() {
    let server = test_support::lobby();
    let lobby = server.addresses().first[0].to_string();
    let rules = ["--rounds", "1", "--points", "2", "--round-seconds", "20"];
    let host = ["--lobby", &lobby, "--host", "den", "--name", "Ann", "--bots", "1", "--begin-with", "2"];
    let host = arena(&[&host[..], &rules[..]].concat());
    let watcher = arena(&["--lobby", &lobby, "--join", "den", "--name", "Eve", "--watch", "--rounds", "1"]);
    let (seen, played) = (all(watcher), all(host));
    let winner = |text: &str| text.lines().find(|line| line.starts_with("Winner: ")).map(String::from);
    assert!(winner(&played).is_some(), "{played}");
    assert_eq!(winner(&seen), winner(&played), "{seen}");
    assert!(!played.contains("Eve came in"), "{played}");
}

#[test]
fn an_invite_leads_a_program_that_knows_no_lobby_server_into_the_room() {
    let server = test_support::lobby();
    let lobby = server.addresses().first[0].to_string();
    let rules = ["--rounds", "1", "--points", "1", "--round-seconds", "20"];
    let host =
        ["--lobby", &lobby, "--host", "den", "--password", "sesame", "--name", "Ann", "--begin-with", "2"];
    let mut host = arena(&[&host[..], &rules[..]].concat());
    let mut lines = BufReader::new(host.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let invite = lines.find_map(|line| line.strip_prefix("Invite: ").map(String::from)).expect("an invite");
    let guest = arena(&["--join", &invite, "--name", "Ben", "--rounds", "1"]);
    assert!(all(guest).lines().any(|line| line.starts_with("Winner: ")));
    assert!(lines.any(|line| line == "Ben came in."), "the host hears of it");
    assert!(host.wait().expect("it ends").success());
}
