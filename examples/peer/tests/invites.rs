//! Invites between programs, from one player's screen to the other's command line.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use test_support::program;
use test_support::programs::{Lobby, Program, assert_played};

/// Starts a player who has nothing but an invite.
fn invited(name: &str, invite: &str, args: &[&str]) -> Program {
    let mut command = Command::new(program("peer"));
    command.args(["join", "--json", "--name", name, "--invite", invite, "--no-port-mapping"]).args(args);
    Program::start(name, &mut command)
}

fn invite(host: &mut Program) -> String {
    host.event("invite", 10.0)["text"].as_str().unwrap().to_owned()
}

const CLOSED: [&str; 4] = ["--password", "sesame", "--refuse", "only by invite"];

#[test]
fn an_invite_for_one_player_lets_in_one_past_the_password_and_the_hosts_no() {
    let lobby = Lobby::start();
    let args =
        [&CLOSED[..], &["--players", "2", "--capacity", "4", "--for", "8", "--invite", "once"]].concat();
    let mut host = lobby.peer("A", "host", &args);
    let text = invite(&mut host);
    assert!(text.starts_with(&format!("bevy-traversal:{}/", lobby.address)), "{text}");
    let mut guest = invited("B", &text, &["--for", "6"]);
    guest.event("game_connected", 15.0);
    let mut late = invited("C", &text, &[]);
    let failed = late.event("failed", 15.0);
    assert_eq!(failed["reason"], "invite-over", "{failed}");
    late.failure(10.0, "another one has used it");
    guest.success(20.0);
    assert_played(&guest, "A");
    host.success(20.0);
}

#[test]
fn an_invite_for_some_minutes_comes_as_a_link_and_ends_with_the_hosts_word() {
    let lobby = Lobby::start();
    let page = "https://game.example/join";
    let of_host =
        ["--players", "3", "--for", "12", "--invite", "5", "--invite-page", page, "--revoke-after", "7"];
    let mut host = lobby.peer("A", "host", &[&CLOSED[..], &of_host].concat());
    let event = host.event("invite", 10.0);
    assert_eq!((&event["once"], event["discord"].is_string()), (&false.into(), true), "{event}");
    let link = event["link"].as_str().unwrap();
    assert!(link.starts_with("https://game.example/join#") && link.matches('#').count() == 1, "{link}");
    let mut guests = ["B", "C"].map(|name| invited(name, link, &["--for", "3"]));
    for guest in &mut guests {
        guest.success(20.0);
        assert_played(guest, "A");
    }
    host.event("invites_revoked", 15.0);
    let mut late = invited("D", link, &[]);
    late.failure(15.0, "the host has ended it");
    host.success(20.0);
}

#[test]
fn a_plain_invite_names_the_room_and_allows_nothing() {
    let lobby = Lobby::start();
    let mut open = lobby.peer("A", "host", &["--for", "6", "--invite", "plain"]);
    let text = invite(&mut open);
    let mut guest = invited("B", &text, &["--for", "3"]);
    guest.success(20.0);
    assert_played(&guest, "A");
    open.success(20.0);
    let args =
        [&["--room", "closed", "--for", "1", "--deadline", "8", "--invite", "plain"], &CLOSED[..]].concat();
    let mut closed = lobby.peer("C", "host", &args);
    let text = invite(&mut closed);
    invited("D", &text, &[]).failure(15.0, "wrong room password");
}

#[test]
fn what_is_no_invite_is_refused_with_what_to_do() {
    for (text, says) in [
        ("K7PX2M", "copy all of the invite"),
        (
            "bevy-traversal:lobby.example.com:0#BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
            "its port is no number from 1 to 65535",
        ),
    ] {
        invited("A", text, &["--deadline", "5"]).failure(10.0, says);
    }
    let mut command = Command::new(program("peer"));
    let mut none = Program::start("none", command.args(["join", "--room", "r1"]));
    none.failure(10.0, "--lobby <LOBBY>");
}

#[test]
fn an_invite_goes_on_when_the_server_was_restarted() {
    let mut lobby = Lobby::start();
    let args = [&CLOSED[..], &["--for", "10", "--deadline", "60", "--invite", "5"]].concat();
    let mut host = lobby.peer("A", "host", &args);
    let text = invite(&mut host);
    lobby.kill();
    lobby.restart();
    host.event("room", 45.0);
    let mut guest = invited("B", &text, &["--for", "3", "--wait", "20"]);
    guest.success(40.0);
    assert_played(&guest, "A");
}
