//! Three programs, one of them killed: the room lives on with another host.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use test_support::programs::{Lobby, assert_played};

#[test]
fn the_host_is_killed_and_the_others_play_on() {
    let lobby = Lobby::start();
    let mut host = lobby.host("A", &["--players", "3", "--migrate", "--for", "60"]);
    let joiner = |name| lobby.peer(name, "join", &["--migrate", "--for", "25"]);
    let (mut first, mut second) = (joiner("B"), joiner("C"));
    for player in [&mut first, &mut second] {
        player.event("game_message", 10.0);
    }
    host.kill();
    let changed = [&mut first, &mut second].map(|player| player.event("host_changed", 15.0));
    assert_eq!((&changed[0]["epoch"], &changed[1]["epoch"]), (&1.into(), &1.into()));
    assert_eq!(changed[0]["host"], changed[1]["host"]);
    assert_ne!(changed[0]["hosting"], changed[1]["hosting"], "one of them");
    first.success(40.0);
    second.success(20.0);
    assert_played(&first, "C");
    assert_played(&second, "B");
}

#[cfg_attr(not(unix), ignore = "sends signals, which other systems than Unix do not have")]
#[test]
fn without_it_the_room_ends_with_its_host() {
    let lobby = Lobby::start();
    let host = lobby.host("A", &["--players", "2", "--for", "60"]);
    let mut joiner = lobby.peer("B", "join", &["--migrate", "--for", "60"]);
    joiner.event("game_message", 10.0);
    host.terminate();
    joiner.event("room_left", 10.0);
    joiner.success(5.0);
    assert!(joiner.events("host_changed").is_empty());
}
