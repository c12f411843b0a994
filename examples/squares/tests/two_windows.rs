//! Two windows of the game on virtual displays.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use test_support::display::{Display, vulkan};
use test_support::{lobby, skipped};

/// This is a game, with its lines; it is killed when it is dropped.
struct Game(Child, Receiver<String>);

impl Drop for Game {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, display: &Display, lobby: &str, arguments: &[&str]) -> Game {
    let mut child = Command::new(program)
        .args(arguments)
        .env("DISPLAY", &display.name)
        .env("LOBBY", lobby)
        .env_remove("WAYLAND_DISPLAY")
        .stdin(Stdio::null())
        .stderr(Stdio::piped()) // Bevy's log
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    Game(child, lines)
}

/// Waits for a line with these words; a debug build draws slowly without a graphics card.
fn wait_for(Game(_, lines): &Game, words: &str) {
    let (deadline, mut told) = (Instant::now() + Duration::from_secs(60), Vec::new());
    while !told.last().is_some_and(|line: &String| line.contains(words)) {
        let left = deadline.saturating_duration_since(Instant::now());
        told.push(lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {words:?}:\n{}", told.join("\n"))));
    }
}

/// Both windows of this program show two squares.
fn both_show_both_players(program: &str) {
    if let Err(why) = vulkan() {
        return skipped(why);
    }
    let Some(display) = Display::open() else {
        return skipped("no Xvfb (Debian: xvfb)");
    };
    let lobby = lobby();
    let address = lobby.addresses().first[0].to_string();
    let host = start(program, &display, &address, &["host", "den"]);
    wait_for(&host, "hosting the room");
    let guest = start(program, &display, &address, &["join", "den"]);
    wait_for(&guest, " 2 squares");
    wait_for(&host, " 2 squares");
}

#[test]
fn two_windows_show_both_players_squares() {
    both_show_both_players(env!("CARGO_BIN_EXE_squares"));
}

#[test]
fn without_renet_too() {
    both_show_both_players(env!("CARGO_BIN_EXE_squares_datagrams"));
}
