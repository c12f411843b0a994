//! Two windows on a virtual display, through a separate lobby server: each shows both players.
//!
//! Needs `Xvfb` and a (software) Vulkan driver; without them it says that it was skipped.

#![cfg(all(unix, not(target_os = "macos")))]

mod display;
mod pictures;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use display::{Display, vulkan};
use lobby_server::{LobbyServer, Settings};
use pictures::assert_shows_both_players;

/// Past the capture of the test's output: a skipped test must not look like a passed one.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: the window test: {why} ***\n");
}

#[test]
fn two_windows_show_both_players() {
    if let Err(why) = vulkan() {
        return skipped(why);
    }
    let Some(display) = Display::open() else {
        return skipped("no Xvfb (Debian: xvfb xauth)");
    };
    let bind = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let settings = Settings { bind, no_http: true, ..Settings::default() };
    let server = LobbyServer::new(settings).spawn().unwrap();
    let lobby = server.addresses().first[0].to_string();
    let folder = std::env::temp_dir().join(format!("arena-window-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let start = |role: &[&str], file: &str| {
        Command::new(env!("CARGO_BIN_EXE_arena"))
            .args([
                "--lobby",
                &lobby,
                "--size",
                "640x360",
                "--seed",
                "5",
                "--points",
                "99",
                "--in-match",
                "--after",
                "3",
                "--linger",
                "8",
            ])
            .args(role)
            .arg("--screenshot")
            .arg(folder.join(file))
            .env("DISPLAY", &display.name)
            .env_remove("WAYLAND_DISPLAY")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let host = start(&["--host", "den", "--name", "Ann", "--begin-with", "2"], "host.png");
    let join = start(&["--join", "den", "--name", "Ben"], "join.png");
    for (who, child) in [("join", join), ("host", host)] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{who}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for file in ["host.png", "join.png"] {
        assert_shows_both_players(&folder.join(file), (640, 360));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
