//! A farm of rooms in one process, with the built programs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use test_support::programs::{Lobby, Program, assert_played};
use test_support::scratch;

fn farm(lobby: &Lobby, args: &[&str]) -> Program {
    let mut program = Command::new(env!("CARGO_BIN_EXE_dedicated"));
    program.args(["--lobby", &lobby.address, "--server-key", &lobby.key, "--json"]).args(args);
    Program::start("dedicated", &mut program)
}

#[test]
fn many_rooms_in_one_process_are_played_and_none_counts_its_host() {
    let lobby = Lobby::start();
    let mut farm = farm(&lobby, &["--rooms", "5", "--players", "2", "--for", "120"]);
    for _ in 0..5 {
        farm.event("room", 20.0);
    }
    let mut players: Vec<Program> = [("B", "room-1"), ("C", "room-1"), ("D", "room-4")]
        .map(|(name, room)| lobby.peer(name, "join", &["--room", room, "--for", "4"]))
        .into();
    for player in &mut players {
        assert_eq!(player.event("room", 20.0)["dedicated"], true);
    }
    let mut late = lobby.peer("E", "join", &["--room", "room-1", "--for", "2"]);
    late.failure(20.0, "the room is full");
    for (player, host) in players.iter_mut().zip(["room-1", "room-1", "room-4"]) {
        player.success(30.0);
        assert_played(player, host);
    }
    farm.terminate();
    farm.success(20.0);
}

#[test]
fn a_farm_that_was_killed_hosts_its_rooms_on_with_the_players_who_are_inside() {
    let lobby = Lobby::start();
    let folder = scratch("farm");
    let args = ["--rooms", "2", "--identities", folder.to_str().unwrap(), "--for", "120"];
    let mut first = farm(&lobby, &args);
    let codes = |farm: &mut Program| {
        let mut rooms: Vec<(String, String)> = (0..2)
            .map(|_| farm.event("room", 20.0))
            .map(|room| (room["name"].to_string(), room["code"].to_string()))
            .collect();
        rooms.sort();
        rooms
    };
    let before = codes(&mut first);
    let stays = ["--room", "room-2", "--for", "120", "--migrate"];
    let mut player = lobby.peer("B", "join", &stays);
    player.event("game_message", 20.0);
    first.kill();
    let mut second = farm(&lobby, &args);
    assert_eq!(codes(&mut second), before);
    assert!(second.events("room").iter().all(|room| room["hosts_on"] == true), "{}", second.log());
    let back = second.event("player_in", 30.0);
    assert_eq!((&back["room"], &back["peer"]), (&"room-2".into(), &"B".into()));
    player.event("game_connected", 20.0);
    assert!(player.events("room_left").is_empty(), "{}", player.log());
    let mut late = lobby.peer("C", "join", &["--room", "room-2", "--for", "2"]);
    late.success(30.0);
    assert_played(&late, "room-2");
}
