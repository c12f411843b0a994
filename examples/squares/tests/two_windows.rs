//! Two windows of the game on virtual displays.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, Settings};

/// A virtual display; gone when dropped.
struct Display {
    child: Child,
    name: String,
    /// Where it wrote its number; a closed pipe would end it.
    _told: BufReader<ChildStdout>,
}

impl Display {
    fn open() -> Option<Self> {
        let mut child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let (mut number, mut told) = (String::new(), BufReader::new(child.stdout.take()?));
        told.read_line(&mut number).ok()?;
        Some(Self { child, name: format!(":{}", number.trim()), _told: told })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A game, and its lines; killed when dropped.
struct Game(Child, Receiver<String>);

impl Drop for Game {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(display: &Display, lobby: &str, arguments: &[&str]) -> Game {
    let mut child = Command::new(env!("CARGO_BIN_EXE_squares"))
        .args(arguments)
        .env("DISPLAY", &display.name)
        .env("LOBBY", lobby)
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

#[test]
fn two_windows_show_both_players_squares() {
    let drivers = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let vulkan = drivers.iter().any(|folder| Path::new(folder).exists());
    let Some(display) = vulkan.then(Display::open).flatten() else {
        return eprintln!("SKIPPED: no Xvfb, or no Vulkan driver (Debian: xvfb mesa-vulkan-drivers)");
    };
    let settings = Settings {
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        second_port: Some(0),
        no_http: true,
        ..Settings::default()
    };
    let lobby = LobbyServer::new(settings).spawn().unwrap();
    let address = lobby.addresses().first[0].to_string();
    let host = start(&display, &address, &["host", "den"]);
    wait_for(&host, "hosting the room");
    let guest = start(&display, &address, &["join", "den"]);
    wait_for(&guest, " 2 squares");
    wait_for(&host, " 2 squares");
}
