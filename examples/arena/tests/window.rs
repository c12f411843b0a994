//! Two windows on a virtual display, through a separate lobby server: each shows both players.
//!
//! Needs `Xvfb` and a (software) Vulkan driver; without them it says that it was skipped.

#![cfg(all(unix, not(target_os = "macos")))]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use lobby_server::{LobbyServer, Settings};

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

/// Past the capture of the test's output: a skipped test must not look like a passed one.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: the window test: {why} ***\n");
}

fn vulkan() -> bool {
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
        .iter()
        .any(|folder| Path::new(folder).read_dir().is_ok_and(|mut files| files.next().is_some()))
}

/// Pixels near a colour.
fn count(picture: &(u32, u32, Vec<u8>), colour: [u8; 3]) -> usize {
    let near = |pixel: &&[u8]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 40);
    picture.2.chunks_exact(3).filter(near).count()
}

fn read(file: &Path) -> (u32, u32, Vec<u8>) {
    let decoder = png::Decoder::new(BufReader::new(std::fs::File::open(file).expect("the picture is there")));
    let mut reader = decoder.read_info().expect("a PNG file");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a picture that fits")];
    let info = reader.next_frame(&mut pixels).expect("whole");
    assert_eq!(info.color_type, png::ColorType::Rgb);
    pixels.truncate(info.buffer_size());
    (info.width, info.height, pixels)
}

#[test]
fn two_windows_show_both_players() {
    if !vulkan() {
        return skipped("no Vulkan driver (Debian: mesa-vulkan-drivers libvulkan1)");
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
        let picture = read(&folder.join(file));
        assert_eq!((picture.0, picture.1), (640, 360));
        let (cyan, pink) = (count(&picture, [46, 227, 237]), count(&picture, [255, 71, 163]));
        assert!(cyan > 60 && pink > 60, "{file}: {cyan} pixels of the one player, {pink} of the other");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
