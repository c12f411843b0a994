//! `lobby_server admin`: an operator asks a running server, and has it do things.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lobby_server::admin::client::ask;
use serde_json::{Value, json};
use test_support::server::{Operated, Player, player_id, program};
use test_support::until;
use traversal_core::wire::message::{Farewell, Frame, Request, RequestError, RoomEnd, RoomOptions, ToPlayer};

/// The log has each line by then.
const PATIENCE: Duration = Duration::from_secs(10);

struct Lobby(Operated);

impl Lobby {
    fn start() -> Self {
        Self(Operated::start())
    }

    fn player(&self, seed: u8) -> Player {
        let mut player = Player::log_in(self.0.running.address(), seed, b"").unwrap();
        assert!(player.ping());
        player
    }

    fn host(&self, seed: u8, name: &str) -> Player {
        let mut host = self.player(seed);
        let options = RoomOptions { name: name.into(), ..RoomOptions::default() };
        host.ask(1, Request::CreateRoom { options }).unwrap();
        host
    }

    /// Asks, and returns what is printed.
    fn admin(&self, arguments: &[&str]) -> String {
        let output = self.0.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.0.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    /// Reads the log until this is in it.
    fn log_has(&mut self, part: &str) {
        let (found, wait) = std::sync::mpsc::channel();
        let mut log = BufReader::new(self.0.running.child.stderr.take().unwrap());
        let wanted = part.to_owned();
        std::thread::spawn(move || {
            let mut line = String::new();
            while log.read_line(&mut line).is_ok_and(|length| length > 0) {
                if line.contains(&wanted) {
                    let _ = found.send(());
                }
                line.clear();
            }
        });
        wait.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no \"{part}\" in the log"));
    }
}

#[test]
fn players_and_rooms_are_listed() {
    let lobby = Lobby::start();
    assert_eq!(lobby.admin(&["players"]), "no players\n");
    assert_eq!(lobby.admin(&["rooms"]), "no rooms\n");
    let _host = lobby.host(1, "castle");
    let _guest = lobby.player(2);
    let rooms: Value = serde_json::from_str(&lobby.admin(&["rooms", "--json"])).unwrap();
    let room = &rooms["rooms"][0];
    assert_eq!(
        (&room["name"], &room["game"], &room["members"]),
        (&json!("castle"), &json!("game"), &json!(["P"]))
    );
    let players: Value = serde_json::from_str(&lobby.admin(&["players", "--json"])).unwrap();
    let rows = players["players"].as_array().unwrap();
    let row = |seed: u8| rows.iter().find(|row| row["player"] == player_id(seed)).unwrap();
    assert_eq!((rows.len(), &row(1)["room"], &row(2)["room"]), (2, &room["code"], &Value::Null));
    assert!(row(2)["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    let table = lobby.admin(&["players"]);
    assert!(table.lines().count() == 3 && table.contains(&player_id(1)), "{table}");
    let status = lobby.admin(&["status"]);
    assert!(status.contains("players = 2\n") && status.contains("takes_players = true\n"), "{status}");
}

#[test]
fn who_is_kicked_is_told_why_and_others_stay() {
    let mut lobby = Lobby::start();
    let (mut one, mut other) = (lobby.player(1), lobby.player(2));
    lobby.admin(&["kick", &player_id(1)[..8], "--reason", "cheats"]);
    let told = |frame: &Frame<ToPlayer>| matches!(frame, Frame::Goodbye { why: Farewell::PutOut, reason } if reason == "cheats");
    assert!(one.wait_for(told));
    assert!(other.ping());
    assert!(lobby.refused(&["kick", &player_id(1)]).contains("none of this name"));
    assert!(lobby.refused(&["kick", "no such id"]).contains("none of this name"));
    let _third = lobby.player(3);
    assert!(lobby.refused(&["kick", ""]).contains("there are 2"));
    lobby.log_has("an operator has put a player out");
}

#[test]
fn a_room_is_closed_for_all_who_are_in_it() {
    let mut lobby = Lobby::start();
    let mut host = lobby.host(1, "castle");
    let closed = lobby.admin(&["close", "castle", "--reason", "rude name"]);
    assert!(closed.contains("name = castle"), "{closed}");
    let reason = host.told_until(|message| match message {
        ToPlayer::RoomEnded { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason, Some(RoomEnd::ByOperator { reason: "rude name".into() }));
    assert_eq!(host.ask(2, Request::LeaveRoom), Err(RequestError::NotInRoom));
    assert!(lobby.refused(&["close", "castle"]).contains("none of this name"));
    lobby.log_has("an operator has closed a room");
}

#[test]
fn an_announcement_reaches_the_players_of_a_game() {
    let mut lobby = Lobby::start();
    let mut player = lobby.player(1);
    assert_eq!(lobby.admin(&["announce", "--game", "another", "not for you"]), "told = 0\n");
    assert_eq!(lobby.admin(&["announce", "--game", "game", "We are back at noon."]), "told = 1\n");
    assert_eq!(lobby.admin(&["announce", "To all"]), "told = 1\n");
    for expected in ["We are back at noon.", "To all"] {
        let text = player.told_until(|message| match message {
            ToPlayer::Announcement { text } => Some(text.clone()),
            _ => None,
        });
        assert_eq!(text.as_deref(), Some(expected));
    }
    assert!(lobby.refused(&["announce", &"x".repeat(401)]).contains("at most 400 characters"));
    assert!(lobby.refused(&["announce", "\u{1b}[2J"]).contains("announcement"));
    lobby.log_has("an operator has told players something");
}

#[test]
fn limits_are_shown_and_changed() {
    let mut lobby = Lobby::start();
    assert!(lobby.admin(&["limits"]).contains("max_sessions = 20000\n"));
    let _player = lobby.player(1);
    let now = lobby.admin(&["limits", "max_sessions=1", "stun=no"]);
    assert!(now.contains("max_sessions = 1\n") && now.contains("stun = false\n"), "{now}");
    let error = Player::log_in(lobby.0.running.address(), 2, b"").err().unwrap();
    assert!(error.contains("full"), "{error}");
    assert!(lobby.refused(&["limits", "max_session=1"]).contains("the nearest is \"max_sessions\""));
    assert!(lobby.refused(&["limits", "max_sessions=0"]).contains("from 1"));
    assert!(lobby.refused(&["limits", "token=mine"]).contains("cannot be set"));
    assert!(lobby.admin(&["limits"]).contains("max_sessions = 1\n"), "what was refused changed nothing");
    lobby.log_has("an operator has changed limits");
}

#[test]
fn a_drained_server_ends_and_its_socket_is_gone() {
    let mut lobby = Lobby::start();
    assert_eq!(lobby.admin(&["drain"]), "draining = true\n");
    until("it ends", PATIENCE.as_secs_f64(), || lobby.0.running.child.try_wait().unwrap().is_some());
    assert!(!lobby.0.socket().exists());
    let error = lobby.refused(&["players"]);
    assert!(error.contains("no lobby server listens at") && error.contains("--admin-socket"), "{error}");
}

#[test]
fn the_socket_is_for_its_user_alone_and_one_server_has_it() {
    let lobby = Lobby::start();
    let socket = lobby.0.socket();
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let key = lobby.0.directory.path().join("key");
    let second = program()
        .args(["--bind", "127.0.0.1:0", "--no-http", "--key-file", key.to_str().unwrap()])
        .args(["--admin-socket", socket.to_str().unwrap()])
        .output()
        .unwrap();
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(error.lines().count() == 1 && error.contains("another lobby server listens there"), "{error}");
    assert_eq!(lobby.admin(&["players"]), "no players\n", "the first one still has it");
}

#[test]
fn what_the_description_names_is_what_is_served() {
    let lobby = Lobby::start();
    let socket = lobby.0.socket();
    let description = ask(&socket, "/openapi.json", None).unwrap();
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() >= 9);
    for (path, methods) in paths {
        for (method, about) in methods.as_object().unwrap() {
            let body = (method == "post").then(|| {
                assert!(path == "/api/drain" || about["requestBody"].is_object(), "{path}");
                json!({"nonsense": 1})
            });
            if path == "/api/drain" {
                continue;
            }
            let answer = ask(&socket, path, body.as_ref());
            let known =
                answer.as_ref().err().is_none_or(|error| !error.to_string().contains("no such thing"));
            assert!(known, "{method} {path}: {answer:?}");
            assert_eq!(answer.is_ok(), method == "get", "{method} {path}: {answer:?}");
        }
    }
    let error = ask(&socket, "/api/nothing", None).unwrap_err().to_string();
    assert!(error.contains("openapi.json"), "{error}");
}
