//! Two windows on a virtual display, through a separate lobby server: each shows both players.
//!
//! Needs `Xvfb` and a (software) Vulkan driver; without them it says that it was skipped.

#![cfg(all(unix, not(target_os = "macos")))]

use std::process::{Command, Stdio};

use test_support::display::{Display, vulkan};
use test_support::pictures::assert_shows_both_players;
use test_support::skipped;

#[test]
fn two_windows_show_both_players() {
    if let Err(why) = vulkan() {
        return skipped(why);
    }
    let Some(display) = Display::open() else {
        return skipped("no Xvfb (Debian: xvfb xauth)");
    };
    let server = test_support::lobby();
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
