//! Two windows of the game on one desktop, each behind a NAT of its own: X11 through its Unix socket, the game through
//! the emulated NATs.
//!
//! Skipped, loudly, also where there is neither `Xvfb` nor a (software) Vulkan driver.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::{NOT_HERE, PLAYERS, built, counted, skipped, turn};
use serde_json::Value;

/// A virtual display, gone when dropped.
struct Display {
    child: Child,
    name: String,
    /// Where it wrote its number; a closed pipe would end it.
    _told: BufReader<ChildStdout>,
}

impl Display {
    fn open() -> Option<Self> {
        let mut child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-noreset"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut number = String::new();
        let mut told = BufReader::new(child.stdout.take()?);
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

fn vulkan() -> bool {
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
        .iter()
        .any(|folder| Path::new(folder).read_dir().is_ok_and(|mut files| files.next().is_some()))
}

/// Width and height of a picture, and how many of its pixels are near each colour.
fn look(file: &Path, colours: [[u8; 3]; 2]) -> ((u32, u32), [usize; 2]) {
    let decoder = png::Decoder::new(BufReader::new(std::fs::File::open(file).expect("the picture is there")));
    let mut reader = decoder.read_info().expect("a PNG file");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a picture that fits")];
    let info = reader.next_frame(&mut pixels).expect("whole");
    assert_eq!(info.color_type, png::ColorType::Rgb);
    let near = |colour: [u8; 3]| {
        let same = |pixel: &&[u8]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 40);
        pixels[..info.buffer_size()].chunks_exact(3).filter(same).count()
    };
    ((info.width, info.height), colours.map(near))
}

#[test]
fn two_windows_play_directly_through_two_nats() {
    if !built(&["lobby_server", "arena"]) {
        return;
    }
    if !vulkan() {
        return skipped("no Vulkan driver (Debian: mesa-vulkan-drivers libvulkan1)");
    }
    let _turn = turn();
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
        // The colours of the host and of the guest.
        let (size, [host, guest]) =
            look(&folder.join(format!("{role}.png")), [[46, 227, 237], [255, 71, 163]]);
        assert_eq!(size, (640, 360));
        assert!(host > 60 && guest > 60, "{role}: {host} pixels of the host, {guest} of the guest");
        // Ten seconds of a match, most of them not over the relay.
        let (direct, relayed) = (counted(&report, side, "to_players"), counted(&report, side, "relayed"));
        assert!(
            direct > 200 && direct > relayed,
            "{role}: {direct} datagrams to the other, {relayed} relayed"
        );
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
