//! Two lobby servers that share a registry in Redis: players meet whichever they log in to, and outlive the end of one.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")] // other systems have one loopback address only

use std::time::{Duration, Instant};

use test_support::programs::{Lobby, Program, assert_played};
use test_support::redis::{Redis, two_nodes};
use test_support::scratch;

/// These share a registry and a key.
struct Nodes {
    one: Lobby,
    two: Lobby,
    _redis: Redis,
}

impl Nodes {
    fn start() -> Option<Self> {
        let ([one, two], _redis) = two_nodes()?;
        Some(Self { one, two, _redis })
    }

    /// Starts two players who play: one hosts at the first node, and the other one comes to the second with the room's code.
    fn game(&self, seconds: &str) -> (Program, Program) {
        let mut host = self.one.peer("A", "host", &["--players", "2", "--capacity", "3", "--for", seconds]);
        let code = host.event("room", 10.0)["code"].as_str().unwrap().to_owned();
        let mut joiner = self.two.peer("B", "join", &["--room", &code, "--for", seconds]);
        joiner.event("game_message", 15.0);
        host.event("game_message", 15.0);
        (host, joiner)
    }

    /// Starts a third player, who comes to the second node for the room.
    fn third(&self) -> Program {
        self.two.peer("C", "join", &["--for", "2", "--wait", "30", "--deadline", "40"])
    }
}

/// Asserts that nobody but the third player came or went.
fn assert_undisturbed(program: &Program) {
    let gone = program.events("disconnected");
    assert!(gone.iter().all(|gone| gone["peer"] == "C"), "{}", program.log());
    assert_eq!(program.events("room_left").len(), 0, "{}", program.log());
}

#[test]
fn players_of_two_nodes_meet_by_a_code() {
    let Some(nodes) = Nodes::start() else { return };
    let (mut host, mut joiner) = nodes.game("2");
    joiner.success(30.0);
    host.success(30.0);
    assert_played(&host, "B");
    assert_played(&joiner, "A");
}

#[test]
fn a_node_is_killed_in_the_middle_and_its_room_can_be_joined_again_within_ten_seconds() {
    let Some(mut nodes) = Nodes::start() else { return };
    let (mut host, joiner) = nodes.game("120");
    nodes.one.kill();
    let killed = Instant::now();
    let mut third = nodes.third();
    third.event("room", 25.0);
    let took = killed.elapsed();
    println!("the room could be joined again after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    third.success(30.0);
    assert_played(&third, "A");
    // The host heard of the second node from the first one.
    host.event("lobby_failed", 1.0);
    assert_undisturbed(&host);
    assert_undisturbed(&joiner);
}

#[test]
fn a_node_that_ends_sends_its_players_to_the_other_one() {
    let Some(mut nodes) = Nodes::start() else { return };
    let (host, joiner) = nodes.game("120");
    nodes.one.program.terminate();
    assert!(nodes.one.program.exit(20.0).success());
    let mut third = nodes.third();
    third.success(30.0);
    assert_played(&third, "A");
    assert_undisturbed(&host);
    assert_undisturbed(&joiner);
}

#[test]
fn what_members_said_goes_with_them_to_another_node() {
    let Some(mut nodes) = Nodes::start() else { return };
    let said = [
        "--players",
        "2",
        "--capacity",
        "3",
        "--property",
        "skin=red",
        "--room-property",
        "map=cave",
        "--for",
        "120",
    ];
    let mut host = nodes.one.peer("A", "host", &said);
    let code = host.event("room", 10.0)["code"].as_str().unwrap().to_owned();
    let joiner = ["--room", &code, "--ready", "--property", "skin=blue", "--for", "120"];
    let mut joiner = nodes.two.peer("B", "join", &joiner);
    joiner.event("game_message", 15.0);
    while host.event("member_changed", 15.0)["ready"] != true {}
    nodes.one.kill();
    let mut third = nodes.two.peer("C", "join", &["--for", "30", "--wait", "30", "--deadline", "40"]);
    third.event("room", 30.0);
    // One that comes together with the room may be told before the room, and the player has no name yet then.
    let has = |third: &Program, skin: &str, ready: bool| {
        let told = third.events("member_changed");
        told.iter().any(|told| told["properties"]["skin"] == skin && told["ready"] == ready)
    };
    while !(has(&third, "red", false) && has(&third, "blue", true)) {
        third.event("member_changed", 30.0);
    }
    // It came with the list above, or comes with the host.
    let cave = |third: &Program| third.events("room_property").iter().any(|told| told["value"] == "cave");
    if !cave(&third) {
        third.event("room_property", 30.0);
    }
    assert!(cave(&third), "{}", third.log());
}

#[test]
fn a_guest_that_is_started_again_at_another_node_is_sent_to_its_seat() {
    let Some(nodes) = Nodes::start() else { return };
    let mut host = nodes.one.peer("A", "host", &["--players", "2", "--for", "120"]);
    let code = host.event("room", 10.0)["code"].as_str().unwrap().to_owned();
    let key = scratch("seat").join("key").to_str().unwrap().to_owned();
    let join = ["--room", &code, "--identity", &key, "--for"];
    let mut lost = nodes.two.peer("B", "join", &[&join[..], &["120"]].concat());
    lost.event("game_message", 15.0);
    lost.kill();
    host.event("player_away", 20.0);
    let mut stranger = nodes.two.peer("C", "join", &["--room", &code, "--for", "2"]);
    stranger.failure(20.0, "the room is full");
    let mut back = nodes.two.peer("B", "join", &[&join[..], &["2"]].concat());
    back.event("seat_kept", 20.0);
    host.event("player_back", 20.0);
    back.success(30.0);
    assert_played(&back, "A");
}

#[test]
fn a_seat_outlives_the_end_of_the_node_that_has_kept_it() {
    let Some(mut nodes) = Nodes::start() else { return };
    let mut host = nodes.one.peer("A", "host", &["--players", "3", "--for", "120"]);
    let code = host.event("room", 10.0)["code"].as_str().unwrap().to_owned();
    let mut other = nodes.one.peer("B", "join", &["--room", &code, "--for", "120"]);
    other.event("game_message", 15.0);
    let key = scratch("seat").join("key").to_str().unwrap().to_owned();
    let mut lost = nodes.one.peer("C", "join", &["--room", &code, "--identity", &key, "--for", "120"]);
    lost.event("game_message", 15.0);
    let joined = lost.events("logged_in")[0]["player"].clone();
    lost.kill();
    for program in [&mut host, &mut other] {
        assert_eq!(program.event("player_away", 20.0)["player"], joined);
    }
    nodes.one.kill();
    for program in [&mut host, &mut other] {
        program.event("logged_in", 60.0);
    }
    // The other node keeps the seat by the note that the host has shown.
    let back = ["--room", &code, "--identity", &key, "--take-seat", "--for", "2"];
    let mut back = nodes.two.peer("C", "join", &back);
    assert_eq!(back.event("seat_kept", 30.0)["room"], "r1");
    assert_eq!(other.event("player_back", 20.0)["player"], joined);
    back.success(30.0);
    assert_played(&back, "A");
    for program in [&host, &other] {
        assert_undisturbed(program);
    }
}
