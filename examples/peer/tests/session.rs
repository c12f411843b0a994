//! Players meet through the lobby server and play over renet.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use test_support::programs::{Lobby, assert_played};

#[test]
fn one_host_and_three_joiners_play() {
    let lobby = Lobby::start();
    let mut host = lobby.peer("A", "host", &["--players", "4", "--for", "4"]);
    let room = host.event("room", 10.0);
    assert_eq!(room["role"], "host");
    assert_eq!(room["members"], 1);
    assert!(room["code"].as_str().unwrap().len() >= 6);
    // All three at the same instant.
    let names = ["B", "C", "D"];
    let mut joiners = names.map(|name| lobby.peer(name, "join", &["--for", "3"]));
    for joiner in &mut joiners {
        let path = joiner.event("path", 10.0);
        assert_eq!(path["peer"], "A");
        assert!(path["since_request_ms"].as_f64().unwrap() > 0.0);
        joiner.success(20.0);
        assert_played(joiner, "A");
    }
    host.success(20.0);
    for name in names {
        assert_played(&host, name);
    }
}

#[test]
fn a_joiner_waits_for_its_room_and_finds_it_by_code() {
    let lobby = Lobby::start();
    let mut early = lobby.peer("B", "join", &["--wait", "10", "--for", "2"]);
    early.event("request", 10.0);
    let mut host = lobby.peer("A", "host", &["--players", "3", "--for", "4"]);
    let code = host.event("room", 10.0)["code"].as_str().unwrap().to_owned();
    let args = ["--lobby", &lobby.address, "--server-key", &lobby.key, "--name", "C", "--room", &code];
    let mut late =
        test_support::programs::peer("C", &lobby.address, "join", &[&args[2..], &["--for", "2"]].concat());
    early.success(20.0);
    late.success(20.0);
    host.success(20.0);
    assert_played(&host, "B");
    assert_played(&host, "C");
}

#[test]
fn two_players_use_the_stock_netcode_transports_on_the_punched_socket() {
    let lobby = Lobby::start();
    let args = ["--transport", "stock-netcode", "--for", "3"];
    let mut host = lobby.peer("A", "host", &args);
    host.event("room", 10.0);
    let mut joiner = lobby.peer("B", "join", &args);
    joiner.event("game_connected", 10.0);
    joiner.success(20.0);
    host.success(20.0);
    assert_played(&host, "B");
    assert_played(&joiner, "A");
}

#[test]
fn passwords_and_big_messages() {
    let lobby = Lobby::start();
    let args = ["--password", "pass word", "--size", "4000", "--rate", "100", "--for", "3"];
    let mut host = lobby.peer("A", "host", &args);
    host.event("room", 10.0);
    let mut joiner = lobby.peer("B", "join", &args);
    joiner.success(20.0);
    host.success(20.0);
    assert_played(&host, "B");
    assert_played(&joiner, "A");
}

#[cfg(unix)]
#[test]
fn sigterm_is_a_clean_end_for_both_sides() {
    let lobby = Lobby::start();
    let mut host = lobby.host("A", &["--for", "60"]);
    let mut joiner = lobby.peer("B", "join", &["--for", "60"]);
    joiner.event("game_message", 10.0);
    host.event("game_message", 10.0);
    host.terminate();
    host.success(5.0);
    let gone = joiner.event("disconnected", 5.0);
    assert!(
        gone["text"].as_str().unwrap().contains("left") || gone["text"].as_str().unwrap().contains("closed")
    );
    joiner.success(5.0);
}
