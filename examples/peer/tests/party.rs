//! Parties: players who stay together, and wait for quick matches with their leader.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use serde_json::Value;
use test_support::programs::{Lobby, Program};
use test_support::{program, scratch};

/// Makes a party, and returns its code.
fn leader(lobby: &Lobby, args: &[&str]) -> (Program, String) {
    let mut leader = lobby.peer("A", "party", &[&["--create", "4"][..], args].concat());
    let code = leader.event("party", 10.0)["code"].as_str().unwrap().to_owned();
    (leader, code)
}

fn member(lobby: &Lobby, name: &'static str, code: &str, args: &[&str]) -> Program {
    lobby.peer(name, "party", &[&["--code", code][..], args].concat())
}

/// The names of the members as this program was told last, the leader's first.
fn names(program: &Program) -> Vec<String> {
    let events = program.events("party");
    let last = events.last().unwrap();
    let members = last["members"].as_array().unwrap();
    assert_eq!(last["mates"], members.len() - 1, "an entity for each other member: {last}");
    members.iter().map(|member| member["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the party has so many members who are there.
fn wait_for_members(program: &mut Program, count: usize) {
    let there = |party: &Value| {
        party["members"].as_array().unwrap().iter().filter(|member| member["away"] == false).count()
    };
    while there(&program.event("party", 20.0)) != count {}
}

#[test]
fn a_party_plays_two_matches_together_in_one_team() {
    let lobby = Lobby::start();
    let quick =
        ["--mode", "ranked", "--players", "4", "--match-teams", "2,2", "--matches", "2", "--for", "2"];
    let time = ["--deadline", "90"];
    let (mut first, code) = leader(&lobby, &[&["--members", "2"][..], &quick, &time].concat());
    let stays = [&["--matches", "2", "--for", "2", "--members", "9"][..], &time].concat();
    let mut second = member(&lobby, "B", &code, &stays);
    let single = [&quick[..2], &quick[2..6], &["--for", "3"]].concat();
    for _ in 0..2 {
        let mut others = ["C", "D"].map(|name| lobby.peer(name, "quick", &single));
        let rooms = [&mut first, &mut second].map(|program| program.event("room", 20.0)["code"].clone());
        assert_eq!(rooms[0], rooms[1]);
        for other in &mut others {
            assert_eq!(other.event("room", 20.0)["code"], rooms[0]);
            // It may end with the others' leaving.
            other.exit(30.0);
        }
    }
    first.success(30.0);
    second.success(30.0);
    let ids: Vec<Value> = first.events("party").last().unwrap()["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["player"].clone())
        .collect();
    let told = first.events("teams");
    assert_eq!(told.len(), 2, "{}", first.log());
    for told in told {
        let together = |team: &Value| ids.iter().all(|id| team.as_array().unwrap().contains(id));
        assert!(told["teams"].as_array().unwrap().iter().any(together), "{told}");
    }
}

/// Makes an identity, and returns its file and the player's id.
fn identity(lobby: &Lobby, name: &str) -> (String, String) {
    let file = scratch(name).join("key").to_str().unwrap().to_owned();
    let mut program = lobby.peer(name, "contacts", &["--identity", &file, "--for", "0"]);
    program.success(15.0);
    let id = program.events("logged_in")[0]["player"].as_str().unwrap().to_owned();
    (file, id)
}

#[test]
fn a_contact_is_invited_and_comes() {
    let lobby = Lobby::start();
    let (leads, leader_id) = identity(&lobby, "L");
    let (comes, other) = identity(&lobby, "B");
    let waits = ["--wait-invite", "--allow", &leader_id, "--identity", &comes, "--for", "1"];
    let mut second = lobby.peer("B", "party", &[&waits[..], &["--deadline", "60"]].concat());
    second.event("logged_in", 10.0);
    // A stranger is not let through, and hears nothing of that.
    let (mut stranger, _) = leader(&lobby, &["--members", "1", "--invite", &other, "--for", "2"]);
    stranger.success(20.0);
    let invite = ["--create", "2", "--identity", &leads, "--invite", &other, "--for", "2"];
    let mut first = lobby.peer("L", "party", &invite);
    let invited = second.event("party_invited", 10.0);
    assert_eq!((&invited["contact"], &invited["name"]), (&true.into(), &"L".into()));
    first.success(20.0);
    second.success(20.0);
    assert_eq!(names(&first), ["L", "B"]);
    assert_eq!(second.events("party_invited").len(), 1, "{}", second.log());
}

#[test]
fn an_invite_leads_to_the_party_from_anywhere_and_has_the_servers_key() {
    let (lobby, other) = (Lobby::start(), Lobby::start());
    let (mut first, _) = leader(&lobby, &["--members", "4", "--for", "2", "--deadline", "60"]);
    let text = first.events("party")[0]["invite"].as_str().unwrap().to_owned();
    assert!(text.starts_with(&format!("bevy-traversal:party/{}/", lobby.address)), "{text}");
    let invited = |name: &'static str, code: &str, args: &[&str]| {
        let mut command = Command::new(program("peer"));
        command.args(["party", "--json", "--no-port-mapping", "--name", name, "--code", code]).args(args);
        Program::start(name, &mut command)
    };
    let stays = ["--members", "4", "--for", "2", "--deadline", "60"];
    // One who has nothing but the text, one who has it as a link, and one who is at another lobby server.
    let mut nothing = invited("B", &text, &stays);
    let fragment = text.trim_start_matches("bevy-traversal:").replace('#', "%23");
    let mut link = invited("C", &format!("https://game.example/party#{fragment}"), &stays);
    let mut elsewhere = member(&other, "D", &text, &stays);
    for program in [&mut nothing, &mut link, &mut elsewhere, &mut first] {
        wait_for_members(program, 4);
        program.success(30.0);
    }
    let is_full = |party: &Value| party["members"].as_array().unwrap().len() == 4;
    assert!(first.events("party").iter().any(is_full), "{}", first.log());
    // The key of another server, and an invite into a room.
    let key = other.key.replace('+', "-").replace('/', "_");
    let forged = format!("{}#{}", text.split('#').next().unwrap(), key.trim_end_matches('='));
    let mut fooled = invited("E", &forged, &["--deadline", "8"]);
    fooled.failure(20.0, "");
    assert!(fooled.events("party").is_empty() && fooled.events("logged_in").is_empty(), "{}", fooled.log());
    let room = text.replace("party/", "");
    invited("F", &room, &["--deadline", "8"]).failure(20.0, "this is an invite into a room, not a party");
}

#[test]
fn members_write_to_each_other_and_to_nobody_else() {
    let lobby = Lobby::start();
    // The first line waits until somebody is there who can read it.
    let says = ["--members", "9", "--deadline", "60", "--chat", "--say", "/party welcome"];
    let (mut first, code) = leader(&lobby, &says);
    let reads = ["--members", "9", "--deadline", "60", "--chat"];
    let mut second = member(&lobby, "B", &code, &reads);
    let (mut apart, _) = leader(&lobby, &reads);
    let read = second.event("chat", 20.0);
    assert_eq!(
        (&read["from"], &read["to"], &read["text"]),
        (&"A".into(), &"party".into(), &"welcome".into())
    );
    assert_eq!(first.event("chat_sent", 10.0)["to"], "party");
    second.give("/party thank you");
    assert_eq!(first.event("chat", 10.0)["text"], "thank you");
    // Who is in another party reads nothing of that, and is read by its own one alone.
    apart.give("/party anybody?");
    assert_eq!(apart.event("chat_sent", 10.0)["to"], "party");
    apart.give("hello, room");
    assert_eq!(apart.event("chat_refused", 10.0)["to"], "room");
    second.give("/party again");
    assert_eq!(first.event("chat", 10.0)["text"], "again");
    assert_eq!((first.events("chat").len(), second.events("chat").len()), (2, 1), "{}", second.log());
    assert!(apart.events("chat").is_empty(), "{}", apart.log());
}

#[test]
fn the_leader_puts_out_hands_over_and_ends_it() {
    let lobby = Lobby::start();
    let (mut first, code) = leader(&lobby, &["--members", "2", "--kick-last", "--for", "1"]);
    let mut out = member(&lobby, "B", &code, &["--members", "9"]);
    out.success(20.0);
    assert_eq!(out.events("party_ended")[0]["text"], "the leader put you out of the party");
    first.success(20.0);
    let (mut first, code) = leader(&lobby, &["--members", "2", "--lead-last", "--for", "2"]);
    let mut second = member(&lobby, "B", &code, &["--for", "2"]);
    first.success(20.0);
    second.success(20.0);
    assert_eq!(names(&first), ["B", "A"]);
    let (mut first, code) = leader(&lobby, &["--members", "2", "--disband"]);
    let mut second = member(&lobby, "B", &code, &["--members", "9"]);
    first.success(20.0);
    second.success(20.0);
    assert_eq!(second.events("party_ended")[0]["text"], "the leader ended the party");
}

#[test]
fn a_party_too_large_for_its_match_hears_it_at_once() {
    let lobby = Lobby::start();
    let (mut first, code) = leader(&lobby, &["--members", "3", "--mode", "duel", "--players", "2"]);
    let mut others = ["B", "C"].map(|name| member(&lobby, name, &code, &["--members", "9"]));
    first.failure(20.0, "your party has 3 members, and this match is for 2");
    others.iter_mut().for_each(Program::kill);
    let mut stranger = member(&lobby, "D", "AAAAAAAAAA", &[]);
    stranger.failure(20.0, "there is no such party");
}

#[test]
fn a_party_outlives_a_restart_of_the_server_and_plays_then() {
    let mut lobby = Lobby::start();
    let quick = ["--members", "3", "--mode", "duel", "--players", "3", "--for", "1", "--deadline", "90"];
    let (mut first, code) = leader(&lobby, &quick);
    let stays = ["--members", "9", "--for", "1", "--deadline", "90"];
    let mut second = member(&lobby, "B", &code, &stays);
    wait_for_members(&mut first, 2);
    second.event("party", 10.0);
    lobby.kill();
    lobby.restart();
    for program in [&mut first, &mut second] {
        program.event("logged_in", 60.0);
        wait_for_members(program, 2);
    }
    // By the code that was told before.
    let mut third = member(&lobby, "C", &code, &stays);
    for program in [&mut first, &mut second, &mut third] {
        program.event("room", 30.0);
        program.success(30.0);
    }
    assert_eq!(names(&first), ["A", "B", "C"]);
}
