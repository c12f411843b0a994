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

#[test]
fn a_tolerance_that_widens_brings_together_who_did_not_suit_at_first() {
    let lobby = Lobby::start();
    let with = |near: &'static str| ["--mode", "ranked", "--for", "1", "--near", near];
    let mut near = lobby.peer("A", "quick", &with("skill=1200:50,400/3"));
    near.event("queue", 10.0);
    let mut far = lobby.peer("B", "quick", &with("skill=1500:50,400/3"));
    let waiting = far.event("queue", 10.0);
    assert_eq!((&waiting["waiting"], &waiting["estimate_s"]), (&2.into(), &serde_json::Value::Null));
    near.success(25.0);
    far.success(25.0);
    assert_played(&near, "B");
    assert_played(&far, "A");
}

#[test]
fn who_does_not_suit_waits_though_enough_are_there() {
    let lobby = Lobby::start();
    let with = |near: &'static str| ["--mode", "ranked", "--deadline", "4", "--near", near];
    let mut all = [("A", "skill=1200:50"), ("B", "skill=1500:50"), ("C", "level=1200:50")]
        .map(|(name, near)| lobby.peer(name, "quick", &with(near)));
    for program in &mut all {
        program.failure(15.0, "nobody");
        assert!(program.events("room").is_empty(), "{}", program.log());
    }
}

#[test]
fn all_are_asked_and_who_says_no_is_out() {
    let lobby = Lobby::start();
    let args = ["--mode", "duel", "--for", "1", "--accept", "10"];
    let mut first = lobby.peer("A", "quick", &args);
    first.event("queue", 10.0);
    let mut refuses = lobby.peer("B", "quick", &[&args[..], &["--answer", "no"]].concat());
    refuses.failure(15.0, "you refused the match");
    assert_eq!(first.event("match_found", 10.0)["within_s"], 10);
    let mut second = lobby.peer("C", "quick", &args);
    first.success(20.0);
    second.success(20.0);
    assert_played(&first, "C");
    assert_eq!(first.events("match_found").len(), 2, "{}", first.log());
}

#[test]
fn teams_are_the_same_for_all() {
    let lobby = Lobby::start();
    let with = |near: &'static str| {
        ["--mode", "2v1", "--players", "3", "--for", "1", "--match-teams", "1,2", "--near", near]
    };
    let mut all = [("A", "skill=300:500"), ("B", "skill=100:500"), ("C", "skill=200:500")]
        .map(|(name, near)| lobby.peer(name, "quick", &with(near)));
    let told = all.each_mut().map(|program| program.event("teams", 15.0)["teams"].clone());
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    let sizes: Vec<usize> =
        told[0].as_array().unwrap().iter().map(|team| team.as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1, 2]);
    for program in &mut all {
        program.success(20.0);
    }
}
