//! The built program's end: it lets nobody in any more, waits for rooms, and tells its players.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(unix)] // signals

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use test_support::server::{Player, Running, get, program};
use traversal_core::wire::message::{Farewell, Frame, Request, RequestError, RoomOptions, ToPlayer};

/// Nothing here takes so long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);

struct Lobby {
    running: Running,
    _directory: tempfile::TempDir,
}

impl Lobby {
    fn start(drain: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let flags = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--drain", drain];
        Self { running: Running::start_as(program(), directory.path(), &flags), _directory: directory }
    }

    fn address(&self) -> SocketAddr {
        self.running.address()
    }

    fn status_of(&self, path: &str) -> String {
        get(self.running.http(), path).lines().next().unwrap().to_owned()
    }

    fn terminate(&self) {
        let kill = Command::new("kill").args(["-TERM", &self.running.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    fn waits_until_not_ready(&self) {
        let end = Instant::now() + PATIENCE;
        while self.status_of("/ready").contains("200") {
            assert!(Instant::now() < end, "it still takes new players");
        }
    }

    fn end(mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.running.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A player who hosts a room.
fn host(lobby: &Lobby) -> Player {
    let mut host = Player::log_in(lobby.address(), 1, b"").unwrap();
    let options = RoomOptions { name: "room".into(), ..RoomOptions::default() };
    host.ask(1, Request::CreateRoom { options }).unwrap();
    host
}

fn is_goodbye(frame: &Frame<ToPlayer>) -> bool {
    matches!(frame, Frame::Goodbye { why: Farewell::Leaving, reason } if reason.contains("operator"))
}

#[test]
fn sigterm_sends_idle_players_away_and_waits_for_the_rooms() {
    let lobby = Lobby::start("600");
    let mut host = host(&lobby);
    let mut idle = Player::log_in(lobby.address(), 2, b"").unwrap();
    assert!(idle.ping());
    assert!(lobby.status_of("/ready").contains("200") && lobby.status_of("/health").contains("200"));
    assert!(get(lobby.running.http(), "/metrics").contains("\nlobby_ready 1\n"));

    lobby.terminate();
    assert!(idle.wait_for(is_goodbye), "who has nothing to finish is to go elsewhere");
    lobby.waits_until_not_ready();
    assert!(lobby.status_of("/ready").contains("503"), "no new players");
    assert!(lobby.status_of("/health").contains("200"), "it turns");
    assert!(get(lobby.running.http(), "/metrics").contains("\nlobby_ready 0\n"));
    let refused = Player::log_in(lobby.address(), 3, b"").err().unwrap();
    assert!(refused.contains("stopping"), "{refused}");
    assert!(host.ping(), "the room goes on");
    // Its place among the rooms is left, so there is nothing to wait for.
    host.ask(2, Request::LeaveRoom).unwrap();
    assert!(host.wait_for(is_goodbye));
    assert_eq!(lobby.end().code(), Some(0));
}

#[test]
fn no_room_is_made_any_more_and_a_second_sigterm_ends_it_at_once() {
    let lobby = Lobby::start("600");
    let mut host = host(&lobby);
    lobby.terminate();
    lobby.waits_until_not_ready();
    let options = RoomOptions { name: "another".into(), ..RoomOptions::default() };
    assert_eq!(host.ask(2, Request::CreateRoom { options }), Err(RequestError::Stopping));
    lobby.terminate();
    assert!(host.wait_for(is_goodbye));
    assert_eq!(lobby.end().code(), Some(0));
}

#[test]
fn the_wait_has_a_limit() {
    let lobby = Lobby::start("1");
    let mut host = host(&lobby);
    let begin = Instant::now();
    lobby.terminate();
    assert!(host.wait_for(is_goodbye));
    assert!(begin.elapsed() >= Duration::from_secs(1), "the room had its time");
    assert_eq!(lobby.end().code(), Some(0));
}

#[test]
fn an_empty_server_ends_at_once() {
    let lobby = Lobby::start("600");
    lobby.terminate();
    assert_eq!(lobby.end().code(), Some(0));
}
