//! Quick matches: players who want the same find each other.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use test_support::programs::{Lobby, Program, assert_played};

/// Its role, once it is in a room.
fn role(program: &mut Program) -> String {
    program.event("room", 10.0)["role"].as_str().unwrap().to_owned()
}

#[test]
fn two_who_want_the_same_play() {
    let lobby = Lobby::start();
    let args = ["--mode", "duel", "--for", "2"];
    let mut first = lobby.peer("A", "quick", &args);
    let queue = first.event("queue", 10.0);
    assert_eq!((&queue["position"], &queue["waiting"], &queue["players"]), (&1.into(), &1.into(), &2.into()));
    let mut second = lobby.peer("B", "quick", &args);
    let mut roles = [role(&mut first), role(&mut second)];
    roles.sort();
    assert_eq!(roles, ["host", "join"]);
    first.success(20.0);
    second.success(20.0);
    assert_played(&first, "B");
    assert_played(&second, "A");
}

#[test]
fn three_play_around_one_host() {
    let lobby = Lobby::start();
    let names = ["A", "B", "C"];
    let args = ["--mode", "race", "--players", "3", "--for", "3"];
    let mut all = names.map(|name| lobby.peer(name, "quick", &args));
    let roles = all.each_mut().map(role);
    assert_eq!(roles.iter().filter(|role| *role == "host").count(), 1, "{roles:?}");
    for program in &mut all {
        program.success(20.0);
    }
    let host = roles.iter().position(|role| role == "host").unwrap();
    for (index, name) in names.into_iter().enumerate().filter(|(index, _)| *index != host) {
        assert_played(&all[host], name);
        assert_played(&all[index], names[host]);
    }
}

#[test]
fn modes_and_numbers_do_not_mix() {
    let lobby = Lobby::start();
    let wait = ["--deadline", "4"];
    let mut others =
        [("A", "duel", "2"), ("B", "race", "2"), ("C", "duel", "3")].map(|(name, mode, players)| {
            lobby.peer(name, "quick", &[&["--mode", mode, "--players", players][..], &wait].concat())
        });
    for program in &mut others {
        program.failure(15.0, "nobody came in time");
        assert!(program.events("room").is_empty(), "{}", program.log());
    }
}

#[test]
fn one_who_was_killed_while_waiting_is_in_nobodys_game() {
    let lobby = Lobby::start();
    let args = ["--mode", "duel", "--for", "2"];
    let mut victim = lobby.peer("V", "quick", &args);
    victim.event("queue", 10.0);
    victim.kill();
    let mut first = lobby.peer("A", "quick", &args);
    let mut second = lobby.peer("B", "quick", &args);
    first.success(20.0);
    second.success(20.0);
    assert_played(&first, "B");
    assert_played(&second, "A");
}
