//! The built program's configuration: what `check` and the start say of it, how people may write it, and what changes
//! while the server runs.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

#[cfg(unix)]
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Output;
#[cfg(unix)]
use std::time::{Duration, Instant};

use test_support::server::{Player, Running, get, program};

const LOOPBACK: [&str; 4] = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];

/// Runs the program to its end, with a key file in this folder.
fn run(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let key = directory.join("key");
    let mut command = program();
    command.args(["--key-file", key.to_str().unwrap()]).args(arguments);
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Asserts that the program refuses to run, with one line on stderr, and returns that.
fn refusal(output: &Output) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn a_mistake_is_refused_by_check_and_start_alike_and_names_what_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lobby.toml");
    std::fs::write(&file, "max_room = 5\n").unwrap();
    let file = file.to_str().unwrap();
    let folder = directory.path().to_str().unwrap();
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case; 9] = [
        (&["--config", file], &[], "\"max_room\""),
        (&["--config", file], &[], "the nearest is \"max_rooms\""),
        (&[], &[("LOBBY_MAX_SESSION", "5")], "the nearest is LOBBY_MAX_SESSIONS"),
        (&[], &[("LOBBY_MAX_SESSIONS", "0")], "max_sessions is 0: from 1"),
        (&[], &[("LOBBY_NO_TCP", "maybe")], "LOBBY_NO_TCP"),
        (&[], &[("LOBBY_LOG", "lobby_server=loud")], "log \"lobby_server=loud\""),
        (&[], &[("RUST_LOG", "lobby_server=loud")], "RUST_LOG"),
        (&["--bind", "127.0.0.1:5000", "--second-port", "5000"], &[], "another port"),
        (&["--drain", "100000"], &[], "drain_s"),
    ];
    for (flags, variables, said) in cases {
        for command in [&["check", "--no-http"][..], &["--no-http"]] {
            let error = refusal(&run(directory.path(), &[command, flags].concat(), variables));
            assert!(error.contains(said), "{said}: {error}");
        }
    }
    // A key that cannot be read is found by both, too.
    let keyless = |command: &[&str]| {
        program().args(command).args(["--key-file", folder]).args(LOOPBACK).output().unwrap()
    };
    let start = refusal(&keyless(&[]));
    let check = keyless(&["check"]);
    let report = String::from_utf8(check.stdout.clone()).unwrap();
    assert!(start.contains(folder), "{start}");
    assert!(report.contains("key: FAILED") && report.contains(folder), "{report}");
    refusal(&check);
}

#[test]
fn the_environment_may_say_yes_and_a_token_of_digits() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program();
    command.envs([
        ("LOBBY_NO_TCP", "1"),
        ("LOBBY_STUN", "off"),
        ("LOBBY_NO_HTTP", "Yes"),
        ("LOBBY_TOKEN", "0012345"),
    ]);
    let server = Running::start_as(command, directory.path(), &["--bind", "127.0.0.1:0"]);
    assert!(!server.ready.contains("http"), "{}", server.ready);
    let tcp = std::net::TcpStream::connect(server.address());
    assert!(tcp.is_err(), "there is no TCP");
    assert!(Player::log_in(server.address(), 1, b"12345").is_err(), "digits are not a number");
    assert!(Player::log_in(server.address(), 2, b"0012345").unwrap().ping());
}

#[test]
fn the_second_port_is_the_one_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    // Free a moment ago.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let server = Running::start(directory.path(), &[&LOOPBACK[..], &["--second-port", &port]].concat());
    assert!(server.ready.contains(&format!("(second 127.0.0.1:{port})")), "{}", server.ready);
}

#[test]
fn check_names_addresses_that_the_internet_does_not_route() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["check", "--bind", "127.0.0.1:0", "--no-http", "--public-address", "192.0.2.2"];
    let text = String::from_utf8(run(directory.path(), &flags, &[]).stdout).unwrap();
    assert!(text.contains("reaches 192.0.2.2, which is for documentation"), "{text}");
    assert!(!text.contains("reach: the internet"), "{text}");
    assert!(text.contains("key: none yet"), "{text}");
}

#[test]
fn with_log_json_the_ready_line_is_json_and_the_file_may_ask_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lobby.toml");
    std::fs::write(&file, "log_json = true\n").unwrap();
    let by_file = ["--config", file.to_str().unwrap()];
    for asked in [&["--log-json"][..], &by_file] {
        let server = Running::start(directory.path(), &[&LOOPBACK[..], asked].concat());
        let ready: serde_json::Value = serde_json::from_str(&server.ready).unwrap();
        assert_eq!(ready["event"], "ready");
        let address = ready["udp"][0].as_str().unwrap().parse().unwrap();
        let player = Player::log_in(address, 1, b"").unwrap();
        assert_eq!(ready["key"], lobby_server::key::printed(&player.server_key));
        assert!(get(ready["http"].as_str().unwrap().parse().unwrap(), "/health").starts_with("HTTP/1.1 200"));
    }
}

/// This is a running server whose log is read line by line.
#[cfg(unix)]
struct Watched {
    server: Running,
    log: std::sync::mpsc::Receiver<String>,
}

#[cfg(unix)]
impl Watched {
    fn start(directory: &Path, flags: &[&str]) -> Self {
        let mut server = Running::start(directory, flags);
        let stderr = BufReader::new(server.child.stderr.take().unwrap());
        let (lines, log) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        Self { server, log }
    }

    fn signal(&self, name: &str) {
        let id = self.server.child.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for a line of the log with this in it.
    fn line(&self, part: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        let mut seen = String::new();
        while let Ok(line) = self.log.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if line.contains(part) {
                return line;
            }
            seen += &line;
        }
        panic!("no \"{part}\" in: {seen}");
    }
}

#[cfg(unix)]
#[test]
fn sighup_reads_the_configuration_again_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lobby.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("token = \"old\"\nhttp = \"127.0.0.1:0\"\n");
    let server =
        Watched::start(directory.path(), &["--bind", "127.0.0.1:0", "--config", file.to_str().unwrap()]);
    let address = server.server.address();
    let mut stays = Player::log_in(address, 1, b"old").unwrap();
    assert!(stays.ping());

    write("token = \"new\"\nmax_sessions = 2\nlog = \"lobby_server=debug\"\nhttp = \"127.0.0.1:1\"\n");
    server.signal("-HUP");
    let line = server.line("the configuration was read again");
    assert!(line.contains("log, max_sessions, token changed"), "{line}");
    let line = server.line("with the next start only");
    assert!(line.contains("WARN") && line.contains("http will change"), "{line}");
    assert!(stays.ping(), "who is in stays in");
    let error = Player::log_in(address, 2, b"old").err().unwrap();
    assert!(error.contains("token"), "{error}");
    server.line("login refused"); // at debug, as the new filter says
    let mut second = Player::log_in(address, 3, b"new").unwrap();
    assert!(second.ping());
    let error = Player::log_in(address, 4, b"new").err().unwrap();
    assert!(error.contains("full"), "{error}");

    for bad in ["token = \"newer\"\nmax_session = 2\n", "token = [", "token = \"newer\"\nmax_rooms = 0\n"] {
        write(bad);
        server.signal("-HUP");
        let line = server.line("the configuration stays as it is");
        assert!(line.contains("ERROR"), "{line}");
    }
    drop(second);
    assert!(Player::log_in(address, 3, b"new").unwrap().ping(), "the settings of before are in force");
    assert!(get(server.server.http(), "/health").starts_with("HTTP/1.1 200"));
}
