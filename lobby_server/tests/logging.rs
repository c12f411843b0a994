//! Outputs of the program that cannot be written, or that nobody reads: the server serves and ends as ever.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(target_os = "linux")] // /dev/full

use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use test_support::server::{Player, get, program};
use traversal_core::wire::Kind;
use traversal_core::wire::message::Frame;

/// This is the program with ports that were free a moment ago: there is no ready line to read them from.
struct Deaf {
    child: Child,
    address: SocketAddr,
    http: SocketAddr,
}

fn free_port() -> SocketAddr {
    // One that is free for TCP and UDP.
    loop {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if std::net::UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

fn command(directory: &Path) -> (Command, SocketAddr, SocketAddr) {
    let (address, http) = (free_port(), free_port());
    let mut command = program();
    command.args(["--key-file", directory.join("key").to_str().unwrap(), "--second-port", "0"]).args([
        "--bind",
        &address.to_string(),
        "--http",
        &http.to_string(),
    ]);
    (command, address, http)
}

impl Deaf {
    fn start(directory: &Path, stdout: Stdio, stderr: Stdio) -> Self {
        let (mut command, address, http) = command(directory);
        let child = command.env("RUST_LOG", "trace").stdout(stdout).stderr(stderr).spawn().unwrap();
        // It serves when its page does.
        let begin = Instant::now();
        while std::net::TcpStream::connect(http).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
        Self { child, address, http }
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = get(self.http, "/metrics");
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).expect(name)
    }

    /// A player makes lines until some were dropped, and everybody is served.
    fn serves_until_lines_are_dropped(&self) {
        let mut player = Player::log_in(self.address, 1, b"").unwrap();
        // Each makes a line at `trace`.
        let mut damaged = player.session.seal(Instant::now(), Kind::Control, &Frame::Ping { id: 1 }).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        while self.metric("lobby_log_dropped_total ") == 0 {
            for _ in 0..200 {
                player.socket.send(&damaged).unwrap();
            }
            assert!(player.ping());
        }
        assert!(Player::log_in(self.address, 255, b"").unwrap().ping());
    }

    fn ends_cleanly(mut self) {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < Duration::from_secs(4), "it hangs at its end");
            std::thread::yield_now();
        };
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Returns a pipe that takes nothing more, and is not read.
fn stuck_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::empty()).unwrap();
    (reader, writer.into())
}

#[test]
fn a_log_that_cannot_be_written_costs_lines_and_no_players() {
    for stderr in [full(), closed_pipe()] {
        let directory = tempfile::tempdir().unwrap();
        let server = Deaf::start(directory.path(), Stdio::null(), stderr);
        server.serves_until_lines_are_dropped();
        server.ends_cleanly();
    }
}

#[test]
fn a_log_that_nobody_reads_freezes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (reader, stderr) = stuck_pipe();
    let server = Deaf::start(directory.path(), Stdio::null(), stderr);
    server.serves_until_lines_are_dropped();
    server.ends_cleanly();
    drop(reader);
}

#[test]
fn a_ready_line_that_nobody_takes_stops_nothing() {
    for stdout in [full(), closed_pipe()] {
        let directory = tempfile::tempdir().unwrap();
        let server = Deaf::start(directory.path(), stdout, Stdio::null());
        assert!(Player::log_in(server.address, 1, b"").unwrap().ping());
        server.ends_cleanly();
    }
    let directory = tempfile::tempdir().unwrap();
    let (reader, stdout) = stuck_pipe();
    let server = Deaf::start(directory.path(), stdout, Stdio::null());
    assert!(Player::log_in(server.address, 1, b"").unwrap().ping());
    server.ends_cleanly();
    drop(reader);
}

#[test]
fn a_start_that_fails_says_so_by_its_code_where_nobody_can_read_why() {
    for stderr in [full(), closed_pipe()] {
        let status = program().args(["--config", "/nonexistent.toml"]).stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }
}

#[test]
fn players_who_come_again_and_again_fill_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let (mut command, address, http) = command(directory.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let server = Deaf { child, address, http };
    let begin = Instant::now();
    for _ in 0..3 {
        for seed in 1..=120 {
            assert!(Player::log_in(server.address, seed, b"").unwrap().ping());
        }
    }
    let limited = server.metric("lobby_log_limited_total ");
    let seconds = begin.elapsed().as_secs();
    assert!(limited >= 360 - 60 - (seconds + 1), "{limited} lines left out in {seconds} s");
    let mut stderr = {
        let mut server = server;
        let pipe = server.child.stderr.take().unwrap();
        server.ends_cleanly();
        pipe
    };
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    let logins = log.matches("logged in").count();
    assert!((60..=61 + seconds as usize).contains(&logins), "{logins} lines in {seconds} s");
}
