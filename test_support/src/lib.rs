//! What the tests of several crates share: servers, programs, displays, and apps with the plugin.
//!
//! A helper stands here if tests of more than one crate, or several test programs of one crate, need it. What only one of
//! them needs stands beside its tests.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests, which may panic")]

pub mod certificates;
pub mod crowd;
pub mod display;
#[cfg(feature = "game")]
pub mod game;
pub mod login;
#[cfg(target_os = "linux")]
pub mod namespaces;
#[cfg(feature = "pictures")]
pub mod pictures;
pub mod programs;
#[cfg(unix)]
pub mod redis;
pub mod server;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, RunningServer, Settings};

/// Starts a lobby server in this process, on any port of loopback, without web pages.
pub fn lobby() -> RunningServer {
    let settings = Settings {
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        second_port: Some(0),
        no_http: true,
        ..Settings::default()
    };
    LobbyServer::new(settings).spawn().unwrap()
}

/// Says that a test was skipped, past the capture of its output: it must not look like a passed one.
pub fn skipped(why: impl Display) {
    let _ = writeln!(io::stderr(), "\nSKIPPED: {why}\n");
}

/// Returns where cargo puts the built program of this name: two folders above the running test, `target/debug` as a rule.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Returns whether a program of this name is built beside the tests, and prints something when it is asked for help.
pub fn is_built(name: &str) -> bool {
    Command::new(program(name)).arg("--help").output().is_ok_and(|output| !output.stdout.is_empty())
}

/// Returns whether these programs are built; says so where one is not.
pub fn are_built(names: &[&str]) -> bool {
    let missing = names.iter().find(|name| !is_built(name));
    if let Some(name) = missing {
        skipped(format_args!("{} is not built", program(name).display()));
    }
    missing.is_none()
}

/// Receives one datagram, within the socket's timeout. A call with a timeout is not resumed by the system after a signal, as
/// when the machine was suspended: it is made again.
///
/// # Errors
/// Those of the system.
pub fn receive_from(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Waits until it is so, and looks every 20 ms.
///
/// # Panics
/// It is not so within this many seconds.
pub fn until(what: &str, seconds: f64, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within {seconds} s");
        // The pace of looking; the condition above is what is waited for.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a new folder for this test.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("test-{}-{count}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
