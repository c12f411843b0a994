//! Two windows of the game on one desktop, each behind a NAT of its own: X11 through its Unix socket, the game through
//! the emulated NATs.
//!
//! Skipped, loudly, also where there is neither `Xvfb` nor a (software) Vulkan driver.

use std::path::PathBuf;
use std::process::Command;
use std::sync::PoisonError;

use crate::{CORES, NOT_HERE, PLAYERS, are_built, counted, skipped};
use serde_json::Value;

use test_support::display::{Display, vulkan};
use test_support::pictures::assert_shows_both_players;

#[test]
fn two_windows_play_directly_through_two_nats() {
    if !are_built(&["lobby_server", "arena"]) {
        return;
    }
    if let Err(why) = vulkan() {
        return skipped(why);
    }
    let _alone = CORES.write().unwrap_or_else(PoisonError::into_inner);
    let Some(display) = Display::open() else {
        return skipped("no Xvfb (Debian: xvfb)");
    };
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("natlab-windows-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a directory");
    let picture = folder.join("{role}.png");
    let output = Command::new(env!("CARGO_BIN_EXE_natlab"))
        .args(["run", "--left", "ps", "--right", "portrestricted", "--json", "--time-limit", "180", "--"])
        .args(["arena", "--lobby", "{lobby}", "--{role}", "{room}", "--size", "640x360", "--seed", "5"])
        .args(["--points", "99", "--begin-with", "2", "--patience", "120"])
        .args(["--in-match", "--after", "3", "--linger", "8", "--screenshot"])
        .arg(&picture)
        .env("DISPLAY", &display.name)
        .env_remove("WAYLAND_DISPLAY")
        .output()
        .expect("natlab runs");
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(NOT_HERE) {
        return skipped(error);
    }
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|bad| panic!("{bad}: {error}"));
    assert_eq!(report["ok"], true, "{report}");
    for (side, role) in PLAYERS {
        assert_shows_both_players(&folder.join(format!("{role}.png")), (640, 360));
        // Ten seconds of a match, most of them not over the relay.
        let (direct, relayed) = (counted(&report, side, "to_players"), counted(&report, side, "relayed"));
        assert!(
            direct > 200 && direct > relayed,
            "{role}: {direct} datagrams to the other, {relayed} relayed"
        );
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
