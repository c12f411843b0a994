//! Bans: an operator keeps somebody out, with the built program.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(unix)]

use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use test_support::server::{Operated, Player, player_id, program};
use test_support::until;
use traversal_core::wire::message::{Farewell, Frame};

/// Waits last at most this many seconds.
const PATIENCE: f64 = 20.0;

struct Lobby(Operated);

impl Lobby {
    fn start() -> Self {
        Self(Operated::start())
    }

    fn restart(self) -> Self {
        Self(self.0.restart())
    }

    fn file(&self) -> PathBuf {
        self.0.directory.path().join("bans.json")
    }

    fn log_in(&self, seed: u8, from: &str) -> Result<Player, String> {
        let from: IpAddr = from.parse().unwrap();
        let mut player = Player::log_in_from(from, self.0.running.address(), seed, b"")?;
        assert!(player.ping());
        Ok(player)
    }

    fn refused(&self, seed: u8, from: &str) -> String {
        self.log_in(seed, from).err().expect("a refusal")
    }

    fn admin(&self, arguments: &[&str]) -> Value {
        let output = self.0.run(&[&["--json"][..], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn error(&self, arguments: &[&str]) -> String {
        let output = self.0.run(&[&["--json"][..], arguments].concat());
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn a_banned_player_goes_at_once_reads_why_and_until_when_and_stays_out_over_a_restart() {
    let lobby = Lobby::start();
    let mut one = lobby.log_in(1, "127.0.0.1").unwrap();
    let mut other = lobby.log_in(2, "127.0.0.1").unwrap();
    let answer = lobby.admin(&["ban", &player_id(1)[..6], "--for", "2h", "--reason", "cheats"]);
    let banned = &answer["banned"];
    assert_eq!(
        (&banned["whom"], &banned["put_out"], &banned["reason"]),
        (&json!(player_id(1)), &json!(1), &json!("cheats"))
    );
    assert!(banned["ends"].as_str().unwrap().ends_with("UTC"), "{banned}");
    let told = |frame: &Frame<_>| {
        matches!(frame, Frame::Goodbye { why: Farewell::PutOut, reason }
            if reason == "banned from this server for 2 h 0 min more: cheats")
    };
    assert!(one.wait_for(told));
    assert!(other.ping(), "others stay");
    let lobby = lobby.restart();
    let refusal = lobby.refused(1, "127.0.0.1");
    assert!(
        refusal.starts_with("banned from this server for ") && refusal.ends_with(": cheats"),
        "{refusal}"
    );
    lobby.log_in(2, "127.0.0.1").unwrap();
    let bans = lobby.admin(&["bans"]);
    assert_eq!(bans["bans"].as_array().unwrap().len(), 1, "{bans}");
    assert_eq!(lobby.admin(&["unban", &player_id(1)])["unbanned"][0]["reason"], "cheats");
    lobby.log_in(1, "127.0.0.1").unwrap();
    assert_eq!(std::fs::read_to_string(lobby.file()).unwrap(), "[]");
    assert!(lobby.error(&["unban", &player_id(1)]).contains("no such ban"));
}

#[cfg(target_os = "linux")] // elsewhere 127.0.0.1 is the only address of the loopback
#[test]
fn a_prefix_is_banned_of_all_games_or_one_and_its_players_hear_why() {
    let lobby = Lobby::start();
    let mut inside = lobby.log_in(1, "127.0.7.1").unwrap();
    let mut outside = lobby.log_in(2, "127.0.8.1").unwrap();
    lobby.admin(&["ban", "127.0.7.0/24", "--game", "another"]);
    assert!(inside.ping(), "it plays another game");
    lobby.log_in(3, "127.0.7.2").unwrap();
    let answer = lobby.admin(&["ban", "127.0.7.77/24", "--reason", "floods"]);
    assert_eq!(
        (&answer["banned"]["whom"], &answer["banned"]["put_out"]),
        (&json!("127.0.7.0/24"), &json!(2))
    );
    assert!(inside.wait_for(|frame| matches!(frame, Frame::Goodbye { why: Farewell::PutOut, .. })));
    assert!(outside.ping());
    assert_eq!(lobby.refused(4, "127.0.7.3"), "banned from this server: floods");
    lobby.log_in(4, "127.0.8.3").unwrap();
    // Both are lifted where no game is named.
    assert_eq!(lobby.admin(&["unban", "127.0.7.0/24"])["unbanned"].as_array().unwrap().len(), 2);
    lobby.log_in(5, "127.0.7.3").unwrap();
}

#[test]
fn a_ban_ends_by_itself() {
    let lobby = Lobby::start();
    lobby.admin(&["ban", &player_id(1), "--for", "2s"]);
    assert!(lobby.refused(1, "127.0.0.1").contains("1 min more"));
    until("the ban ends", PATIENCE, || lobby.log_in(1, "127.0.0.1").is_ok());
    assert_eq!(lobby.admin(&["bans"])["bans"], json!([]));
}

#[test]
fn what_bans_too_many_or_nobody_is_refused_and_a_damaged_file_lets_nobody_in_silently() {
    let lobby = Lobby::start();
    for (arguments, said) in [
        (&["ban", "0.0.0.0/0"][..], "at least 8 bits"),
        (&["ban", "9f3c"], "there is none of this name"),
        (&["ban", "nobody"], "32 digits"),
        (&["ban", &player_id(1), "--for", "12"], "as in 90m"),
        (&["ban", &player_id(1), "--for", "0h"], "as in 90m"),
        (&["ban", &player_id(1), "--game", ""], "game"),
        (&["unban", "127.0.0.1"], "no such ban"),
    ] {
        let error = lobby.error(arguments);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    assert!(!lobby.file().exists(), "nothing has changed");
    std::fs::write(lobby.file(), "[{").unwrap();
    let key = lobby.0.directory.path().join("key");
    let start = program()
        .args(["--bind", "127.0.0.1:0", "--no-http", "--key-file", key.to_str().unwrap()])
        .output()
        .unwrap();
    let error = String::from_utf8(start.stderr).unwrap();
    assert_eq!(start.status.code(), Some(1));
    assert!(error.lines().count() == 1 && error.contains("move it away"), "{error}");
}
