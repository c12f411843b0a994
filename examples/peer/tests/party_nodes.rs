//! Parties at two lobby servers that share a registry in Redis.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")] // other systems have one loopback address only

use serde_json::Value;
use test_support::programs::{Lobby, Program};
use test_support::redis::two_nodes;

/// Waits until the party has so many members who are there.
fn wait_for_members(program: &mut Program, count: usize) {
    let there = |party: &Value| {
        party["members"].as_array().unwrap().iter().filter(|member| member["away"] == false).count()
    };
    while there(&program.event("party", 30.0)) != count {}
}

/// One opens a party at the first node, and another one comes to the second node with its code.
fn party([one, two]: &[Lobby; 2], args: &[&str]) -> [Program; 2] {
    let time = ["--deadline", "120", "--for", "1"];
    let mut first = one.peer("A", "party", &[&["--create", "4"][..], &time, args].concat());
    let code = first.event("party", 20.0)["code"].as_str().unwrap().to_owned();
    let second = two.peer("B", "party", &[&["--code", &code, "--members", "9"][..], &time].concat());
    [first, second]
}

#[test]
fn a_member_at_another_node_comes_to_the_party_and_all_go_where_the_others_wait() {
    let Some((nodes, _redis)) = two_nodes() else { return };
    // For some of these modes the line is at the party's node, for others at the other one.
    for mode in ["m1", "m2", "m3", "m4"] {
        let quick = ["--members", "2", "--mode", mode, "--players", "3"];
        let [mut first, mut second] = party(&nodes, &quick);
        second.event("party", 30.0);
        let wait = ["--mode", mode, "--players", "3", "--for", "2", "--deadline", "60"];
        let mut third = nodes[1].peer("C", "quick", &wait);
        let codes =
            [&mut first, &mut second, &mut third].map(|program| program.event("room", 40.0)["code"].clone());
        assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
        first.success(30.0);
        second.success(30.0);
        third.exit(30.0);
    }
}

#[test]
fn a_party_outlives_the_end_of_its_node() {
    let Some((mut nodes, _redis)) = two_nodes() else { return };
    let [mut first, mut second] = party(&nodes, &["--members", "3", "--mode", "duel", "--players", "3"]);
    second.event("party", 30.0);
    wait_for_members(&mut first, 2);
    let code = first.events("party")[0]["code"].as_str().unwrap().to_owned();
    nodes[0].kill();
    for program in [&mut first, &mut second] {
        program.event("logged_in", 60.0);
        wait_for_members(program, 2);
    }
    let third = ["--code", &code, "--members", "9", "--deadline", "60", "--for", "1"];
    let mut third = nodes[1].peer("C", "party", &third);
    for program in [&mut first, &mut second, &mut third] {
        program.event("room", 40.0);
        program.success(30.0);
    }
}
