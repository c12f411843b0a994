//! Rooms that run and look for more players among those who wait for a quick match, with the built programs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use test_support::programs::{Lobby, Program, assert_played};

/// Waits until the host is told that so many are looked for and nobody is on the way.
fn wait_for_free(host: &mut Program, free: u64) {
    loop {
        let told = host.event("backfill", 20.0);
        if told["free"] == free && told["coming"] == 0 {
            return;
        }
    }
}

/// A room of three with the host and one guest in it, which looks for players of this mode.
fn two_of_three(lobby: &Lobby, args: &[&str]) -> (Program, Program) {
    let look = ["--players", "2", "--capacity", "3", "--for", "120", "--backfill", "brawl"];
    let mut host = lobby.host("A", &[&look[..], args].concat());
    let mut guest = lobby.peer("B", "join", &["--for", "120"]);
    guest.event("game_message", 20.0);
    wait_for_free(&mut host, 1);
    (host, guest)
}

const BRAWL: [&str; 6] = ["--mode", "brawl", "--players", "3", "--deadline", "60"];

#[test]
fn who_waits_takes_the_place_of_one_who_leaves_a_quick_match() {
    let lobby = Lobby::start();
    let duel = ["--mode", "duel", "--players", "2", "--backfill"];
    let mut both = ["A", "B"].map(|name| lobby.peer(name, "quick", &[&duel[..], &["--for", "120"]].concat()));
    let roles = both.each_mut().map(|program| program.event("room", 20.0)["role"].clone());
    let [mut host, mut leaves] = both;
    let mut name = "A";
    if roles[0] == "join" {
        std::mem::swap(&mut host, &mut leaves);
        name = "B";
    }
    leaves.event("game_message", 20.0);
    leaves.terminate();
    leaves.success(30.0);
    wait_for_free(&mut host, 1);
    for next in ["C", "D"] {
        let mut next = lobby.peer(next, "quick", &[&duel[..], &["--for", "2"]].concat());
        assert_eq!(next.event("room", 20.0)["role"], "join");
        next.success(30.0);
        assert_played(&next, name);
        assert_eq!(next.events("room")[0]["code"], host.events("room")[0]["code"]);
        wait_for_free(&mut host, 1);
    }
    assert!(host.events("room_left").is_empty(), "{}", host.log());
}

#[test]
fn of_two_who_come_at_once_one_gets_the_place_and_the_other_one_the_next() {
    let lobby = Lobby::start();
    let (mut host, guest) = two_of_three(&lobby, &[]);
    let [mut one, mut other] =
        ["C", "D"].map(|name| lobby.peer(name, "quick", &[&BRAWL[..], &["--for", "30"]].concat()));
    let came = loop {
        let peer = host.event("game_connected", 20.0)["peer"].clone();
        if peer != "B" {
            break peer;
        }
    };
    let (inside, waits) = if came == "C" { (&mut one, &mut other) } else { (&mut other, &mut one) };
    inside.event("game_message", 20.0);
    while waits.event("queue", 20.0)["waiting"] != 1 {}
    assert_eq!(host.events("backfill").last().unwrap()["free"], 0, "{}", host.log());
    assert!(waits.events("room").is_empty(), "{}", waits.log());
    guest.terminate();
    assert_eq!(waits.event("room", 20.0)["role"], "join");
    waits.event("game_message", 20.0);
    assert!(host.events("room_left").is_empty(), "{}", host.log());
}

#[test]
fn a_party_of_two_comes_into_one_team() {
    let lobby = Lobby::start();
    let look = ["--players", "2", "--capacity", "4", "--for", "120", "--backfill", "teams"];
    let team = ["--match-teams", "2,2", "--team", "0"];
    let mut host = lobby.host("A", &[&look[..], &team].concat());
    let mut guest = lobby.peer("B", "join", &["--for", "120", "--team", "0"]);
    guest.event("game_message", 20.0);
    wait_for_free(&mut host, 2);
    let stay = ["--for", "3", "--deadline", "60"];
    let quick = ["--create", "2", "--mode", "teams", "--players", "4", "--match-teams", "2,2"];
    let mut leader = lobby.peer("L", "party", &[&quick[..], &stay].concat());
    let code = leader.event("party", 10.0)["code"].as_str().unwrap().to_owned();
    let mut member = lobby.peer("M", "party", &[&["--code", &code, "--members", "9"][..], &stay].concat());
    let told = [&mut leader, &mut member].map(|program| {
        let teams = program.event("teams", 30.0)["teams"].clone();
        program.event("connected", 20.0);
        assert_eq!(program.events("room")[0]["role"], "join");
        teams
    });
    assert_eq!(told[0], told[1]);
    let ids = |program: &Program| program.events("logged_in")[0]["player"].clone();
    let team = |of: &[&Program]| of.iter().map(|program| ids(program)).collect::<Vec<Value>>();
    let sorted = |team: &Value| {
        let mut team = team.as_array().unwrap().clone();
        team.sort_by_key(ToString::to_string);
        team
    };
    let mut party = team(&[&leader, &member]);
    party.sort_by_key(ToString::to_string);
    assert_eq!(sorted(&told[0][1]), party);
    leader.success(30.0);
    member.success(30.0);
}

#[test]
fn the_host_takes_it_back_and_who_waits_is_not_put_in() {
    let lobby = Lobby::start();
    let (mut host, _guest) = two_of_three(&lobby, &["--backfill-for", "8"]);
    while host.event("backfill", 20.0)["free"] != Value::Null {}
    let mut waits = lobby.peer("C", "quick", &["--mode", "brawl", "--players", "3", "--deadline", "3"]);
    waits.failure(20.0, "nobody came in time");
    assert!(waits.events("room").is_empty(), "{}", waits.log());
}

#[test]
fn the_wish_is_said_again_to_a_server_that_was_started_anew() {
    let mut lobby = Lobby::start();
    let (mut host, mut guest) = two_of_three(&lobby, &[]);
    lobby.kill();
    lobby.restart();
    for program in [&mut host, &mut guest] {
        program.event("lobby_failed", 30.0);
        program.event("logged_in", 30.0);
    }
    wait_for_free(&mut host, 1);
    let mut next = lobby.peer("C", "quick", &[&BRAWL[..], &["--for", "2"]].concat());
    assert_eq!(next.event("room", 20.0)["role"], "join");
    next.success(30.0);
    assert_played(&next, "A");
    assert!(guest.events("disconnected").is_empty(), "{}", guest.log());
}

#[cfg(target_os = "linux")] // other systems have one loopback address only
#[test]
fn a_room_at_another_node_goes_where_such_players_wait() {
    let Some((nodes, _redis)) = test_support::redis::two_nodes() else { return };
    // For some of these modes the line is at the room's node, for others at the other one.
    for mode in ["m1", "m2", "m3", "m4"] {
        let look = ["--room", mode, "--players", "2", "--capacity", "3", "--for", "60", "--backfill", mode];
        let mut host = nodes[0].host("A", &look);
        let mut guest = nodes[0].peer("B", "join", &["--room", mode, "--for", "60"]);
        guest.event("game_message", 20.0);
        let wait = ["--mode", mode, "--players", "3", "--for", "2", "--deadline", "60"];
        let mut third = nodes[1].peer("C", "quick", &wait);
        assert_eq!(third.event("room", 40.0)["role"], "join");
        third.success(30.0);
        assert_played(&third, "A");
        host.event("backfill", 20.0);
        assert!(guest.events("disconnected").is_empty(), "{}", guest.log());
        assert!(host.events("room_left").is_empty(), "{}", host.log());
    }
}
