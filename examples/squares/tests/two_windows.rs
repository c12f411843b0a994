//! Two windows of the game on virtual displays.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, Settings};

/// A game on a display of its own, and its lines; killed when dropped.
struct Game(Child, Receiver<String>);

impl Drop for Game {
    fn drop(&mut self) {
        // xvfb-run ends its display and the game on SIGTERM.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn start(lobby: &str, arguments: &[&str]) -> Game {
    let mut child = Command::new("xvfb-run")
        .args([
            "--auto-servernum",
            "--error-file=/dev/stderr",
            "--server-args=-screen 0 640x480x24",
            "sh",
            "-c",
        ])
        // The shell passes the signal on to the game.
        .args([
            "trap 'kill $game' TERM; \"$@\" 2>&1 & game=$!; wait $game",
            "sh",
            env!("CARGO_BIN_EXE_squares"),
        ])
        .args(arguments)
        .env("LOBBY", lobby)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
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

#[test]
fn two_windows_show_both_players_squares() {
    let there = |file: &str| Path::new(file).exists();
    if !there("/usr/bin/xvfb-run") || !(there("/usr/share/vulkan/icd.d") || there("/etc/vulkan/icd.d")) {
        return eprintln!("SKIPPED: no Xvfb, or no Vulkan driver (Debian: xvfb mesa-vulkan-drivers)");
    }
    let settings = Settings {
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        second_port: Some(0),
        no_http: true,
        ..Settings::default()
    };
    let lobby = LobbyServer::new(settings).spawn().unwrap();
    let address = lobby.addresses().first[0].to_string();
    let host = start(&address, &["host", "den"]);
    wait_for(&host, "hosting the room");
    let guest = start(&address, &["join", "den"]);
    wait_for(&guest, " 2 squares");
    wait_for(&host, " 2 squares");
}
