//! What goes wrong ends with a clear word, and soon.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use test_support::programs::{Lobby, assert_played, peer};
use test_support::scratch;

#[test]
fn there_is_no_such_room() {
    let lobby = Lobby::start();
    lobby.peer("B", "join", &[]).failure(5.0, "no such room");
}

#[test]
fn the_room_is_full() {
    let lobby = Lobby::start();
    let _host = lobby.host("A", &["--for", "60"]);
    let mut first = lobby.peer("B", "join", &["--for", "60"]);
    first.event("room", 10.0);
    lobby.peer("C", "join", &[]).failure(5.0, "the room is full");
}

#[test]
fn the_password_is_wrong() {
    let lobby = Lobby::start();
    let _host = lobby.host("A", &["--password", "right"]);
    lobby.peer("B", "join", &["--password", "wrong"]).failure(5.0, "wrong room password");
    lobby.peer("C", "join", &[]).failure(5.0, "wrong room password");
}

#[test]
fn the_room_name_is_taken() {
    let lobby = Lobby::start();
    let _host = lobby.host("A", &[]);
    lobby.peer("B", "host", &[]).failure(5.0, "exists already");
}

#[test]
fn the_host_refuses() {
    let lobby = Lobby::start();
    let mut host = lobby.host("A", &["--refuse", "not today"]);
    lobby.peer("B", "join", &[]).failure(5.0, "the host refused: not today");
    assert_eq!(host.event("request", 5.0)["peer"], "B");
}

#[test]
fn there_is_no_lobby_server() {
    // A port that was free a moment ago.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    drop(socket);
    let mut joiner = peer("B", &address, "join", &["--room", "r1", "--deadline", "6"]);
    let failed = joiner.event("lobby_failed", 5.0);
    assert!(failed["text"].as_str().unwrap().contains("does not answer"), "{failed}");
    joiner.failure(8.0, "does not answer");
}

#[test]
fn the_name_does_not_resolve() {
    let mut joiner = peer("B", "lobby.invalid:3478", "join", &["--room", "r1", "--deadline", "5"]);
    let failed = joiner.event("lobby_failed", 5.0);
    assert!(failed["text"].as_str().unwrap().contains("cannot be resolved"), "{failed}");
    joiner.failure(8.0, "cannot be resolved");
}

#[test]
fn the_server_has_another_key() {
    let lobby = Lobby::start();
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let mut joiner = peer("B", &lobby.address, "join", &["--room", "r1", "--server-key", key]);
    joiner.failure(5.0, "key is not the expected one");
}

/// This server is of another age: it answers every hello with its own version.
#[test]
fn the_server_speaks_another_protocol() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut joiner = peer("B", &address, "join", &["--room", "r1"]);
    let mut hello = [0; 1500];
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let from = loop {
        match socket.recv_from(&mut hello) {
            // A call with a timeout is not resumed by the system after a signal.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => break result.unwrap().1,
        }
    };
    // Kind, magic, version, the hello's nonce, and that it is about the version.
    let mut refusal = vec![0xCB];
    refusal.extend_from_slice(b"btv");
    refusal.extend_from_slice(&9u16.to_le_bytes());
    refusal.extend_from_slice(&hello[6..22]);
    refusal.push(1);
    socket.send_to(&refusal, from).unwrap();
    joiner.failure(5.0, "this game needs protocol 1, the server speaks 9");
}

#[test]
fn the_server_does_not_serve_this_game() {
    let lobby = Lobby::start_with(&[("LOBBY_GAMES", "[chess]")]);
    let mut joiner = peer("B", &lobby.address, "join", &["--room", "r1", "--game", "go"]);
    joiner.failure(5.0, "this server does not serve the game \"go\"");
}

#[test]
fn the_local_port_is_taken() {
    let lobby = Lobby::start();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = socket.local_addr().unwrap().to_string();
    lobby.peer("B", "join", &["--bind", &bind]).failure(5.0, "cannot open a UDP socket");
}

#[test]
fn a_second_server_on_the_same_port() {
    let lobby = Lobby::start();
    let key_file = scratch("second").join("key");
    let mut command = Lobby::command(&lobby.address, &key_file);
    let mut second = test_support::programs::Program::start("second lobby_server", &mut command);
    let status = second.exit(5.0);
    assert!(!status.success());
    assert!(second.err.iter().any(|line| line.contains(&lobby.address)), "{}", second.log());
}

#[test]
fn the_host_is_killed() {
    let lobby = Lobby::start();
    let mut host = lobby.host("A", &["--for", "60"]);
    let mut joiner = lobby.peer("B", "join", &["--for", "60", "--away", "5"]);
    joiner.event("game_message", 10.0);
    host.kill();
    joiner.event("peer_away", 6.0);
    let gone = joiner.event("disconnected", 7.0);
    assert!(gone["text"].as_str().unwrap().contains("lost"), "{gone}");
    joiner.success(5.0);
    // The name is free for another host.
    let _next = lobby.host("C", &[]);
}

#[test]
fn a_joiner_is_killed_and_back_within_a_second() {
    let lobby = Lobby::start();
    let identity = scratch("joiner").join("identity");
    let identity = identity.to_str().unwrap();
    let mut host = lobby.host("A", &["--for", "60"]);
    let mut joiner = lobby.peer("B", "join", &["--for", "60", "--identity", identity]);
    joiner.event("game_message", 10.0);
    host.event("game_message", 10.0);
    joiner.kill();
    let mut again = lobby.peer("B", "join", &["--for", "2", "--wait", "3", "--identity", identity]);
    again.event("game_connected", 7.0);
    host.event("disconnected", 1.0);
    host.event("game_connected", 5.0);
    again.success(10.0);
    assert_played(&again, "A");
    let connected = host.events("game_connected").len();
    assert_eq!(connected, 2, "once per connection\n{}", host.log());
}

#[test]
fn the_lobby_server_is_killed_in_the_middle_of_a_game_and_comes_back() {
    let mut lobby = Lobby::start();
    let mut host = lobby.host("A", &["--players", "2", "--capacity", "3", "--for", "100"]);
    let mut joiner = lobby.peer("B", "join", &["--for", "100"]);
    joiner.event("game_message", 10.0);
    host.event("game_message", 10.0);
    lobby.kill();
    host.event("lobby_failed", 30.0);
    joiner.event("lobby_failed", 30.0);
    lobby.restart();
    host.event("logged_in", 20.0);
    joiner.event("logged_in", 20.0);
    host.event("room", 10.0);
    joiner.event("room", 10.0);
    // The room can be joined again.
    let mut third = lobby.peer("C", "join", &["--for", "2", "--wait", "5"]);
    third.success(20.0);
    assert_played(&third, "A");
    // And the game went on all the time.
    assert!(joiner.events("disconnected").is_empty(), "{}", joiner.log());
    assert!(host.events("disconnected").iter().all(|gone| gone["peer"] == "C"), "{}", host.log());
}

#[test]
fn a_game_that_does_not_tick_for_20_s_survives() {
    let lobby = Lobby::start();
    let freeze = ["--freeze-after", "1", "--freeze-for", "20", "--for", "24"];
    let mut host = lobby.peer("A", "host", &freeze);
    host.event("room", 10.0);
    let mut joiner = lobby.peer("B", "join", &["--for", "23"]);
    host.event("awake", 40.0);
    joiner.success(20.0);
    host.success(20.0);
    assert_played(&host, "B");
    assert_played(&joiner, "A");
}

#[test]
fn a_game_that_never_ticks_again_is_let_go() {
    let lobby = Lobby::start();
    let freeze = ["--freeze-after", "1", "--freeze-for", "30", "--stall-timeout", "2", "--for", "60"];
    let mut host = lobby.peer("A", "host", &freeze);
    host.event("room", 10.0);
    let mut joiner = lobby.peer("B", "join", &["--for", "60"]);
    host.event("frozen", 10.0);
    let gone = joiner.event("disconnected", 5.0);
    // The host's own word and the server's race each other.
    let text = gone["text"].as_str().unwrap();
    assert!(text.contains("stopped responding") || text.contains("left"), "{gone}");
    joiner.success(5.0);
}

#[test]
fn one_identity_at_two_places_ends_the_first_with_a_word_of_its_own() {
    let lobby = Lobby::start();
    let file = scratch("identity").join("player.key");
    let identity = ["--identity", file.to_str().unwrap(), "--for", "60"];
    let mut first = lobby.peer("A", "host", &identity);
    first.event("room", 10.0);
    let mut second = peer(
        "A",
        &lobby.address,
        "nat",
        &["--server-key", &lobby.key, "--identity", file.to_str().unwrap(), "--lifetime"],
    );
    second.event("logged_in", 10.0);
    first.failure(10.0, "logged in from another place");
    let failed = first.events("failed");
    assert!(failed.iter().any(|event| event["reason"] == "replaced"), "{}", first.log());
    assert!(
        first.events("lobby_failed").is_empty(),
        "and it does not throw the other one out\n{}",
        first.log()
    );
}
