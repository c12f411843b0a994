//! Two built programs, of which each is the other's second address.
#![cfg(target_os = "linux")] // the only system where all of 127.0.0.0/8 is there without being set up
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use test_support::server::{Player, Running, get, program};
use test_support::{skipped, until};

const FIRST: &str = "127.0.0.1";
const SECOND: &str = "127.0.0.2";

/// Returns a port that was free a moment ago at both addresses, with the two after it.
fn free_port() -> u16 {
    let free = |port: u16| {
        let all: Vec<_> = (0..6)
            .map(|n| UdpSocket::bind(([FIRST, SECOND][n / 3], port.checked_add(n as u16 % 3)?)).ok())
            .collect();
        all.iter().all(Option::is_some).then_some(port)
    };
    let random = || UdpSocket::bind((FIRST, 0)).unwrap().local_addr().unwrap().port();
    (0..50).find_map(|_| free(random())).expect("three free ports in a row")
}

/// Returns the flags of the server at `own` whose neighbour is at `other`.
fn flags(own: &str, other: &str, port: u16) -> Vec<String> {
    let [bind, neighbour] = [format!("{own}:{port}"), format!("{other}:{port}")];
    ["--bind", &bind, "--neighbour", &neighbour, "--http", "127.0.0.1:0"].map(String::from).to_vec()
}

fn start(directory: &Path, own: &str, other: &str, port: u16) -> Running {
    let flags = flags(own, other, port);
    Running::start(directory, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until the server's metrics say this.
fn wait_for(server: &Running, line: &str) {
    until(line, 30.0, || get(server.http(), "/metrics").contains(line));
}

/// Asks for a STUN answer from the other address; returns where it came from.
fn changed(server: SocketAddr) -> Option<SocketAddr> {
    let socket = UdpSocket::bind((FIRST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let request = b"\0\x01\0\x08\x21\x12\xa4\x42abcdefghijkl\0\x03\0\x04\0\0\0\x06";
    for _ in 0..10 {
        socket.send_to(request, server).unwrap();
        let mut buffer = [0; 200];
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            assert_eq!(&buffer[8..20], b"abcdefghijkl", "{:?}", &buffer[..length]);
            // An error says that there is no other address.
            return (buffer[1] == 1 && buffer[0] == 1).then_some(from);
        }
    }
    None
}

/// Waits until there is another address, and returns where an answer from there comes from.
fn until_changed(server: SocketAddr) -> SocketAddr {
    let mut from = None;
    until("they link", 20.0, || {
        from = changed(server);
        from.is_some()
    });
    from.unwrap()
}

fn check(directory: &Path, own: &str, other: &str, port: u16) -> String {
    let key = directory.join("key");
    let mut command = program();
    command.args(["--key-file", key.to_str().unwrap(), "check"]).args(flags(own, other, port));
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn two_programs_lend_each_other_their_addresses_and_say_when_one_is_gone() {
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let directory = directory.path();
    let first = start(directory, FIRST, SECOND, port);
    let alone = "lobby_surroundings{finding=\"neighbour-silent\"} 1";
    wait_for(&first, alone);
    assert_eq!(changed(first.address()), None, "there is one address");
    // With the same key file the second one links by itself; `check` says so before it starts.
    let report = check(directory, SECOND, FIRST, port);
    assert!(
        report.contains(&format!("neighbour: ok, {FIRST}:{port} answers and has the same key")),
        "{report}"
    );
    assert!(report.contains(&format!("let UDP in to port {} from {FIRST}", port + 2)), "{report}");
    let second = start(directory, SECOND, FIRST, port);
    let from = |ip: &str| SocketAddr::new(ip.parse().unwrap(), port + 1);
    assert_eq!(until_changed(first.address()), from(SECOND), "from the other address and port");
    assert_eq!(until_changed(second.address()), from(FIRST));
    wait_for(&first, "lobby_surroundings{finding=\"neighbour-silent\"} 0");
    wait_for(&first, "lobby_neighbour_sent_total 1");
    // The second one is killed: those who are here stay, and are told of one address.
    let mut player = Player::log_in(first.address(), 1, b"").unwrap();
    drop(second);
    wait_for(&first, alone);
    assert!(player.ping());
    assert_eq!(changed(first.address()), None);
    let second = start(directory, SECOND, FIRST, port);
    assert_eq!(until_changed(first.address()), from(SECOND), "it is back by itself");
    drop(second);
    let log = String::from_utf8(first.stop("-TERM").stderr).unwrap();
    assert_eq!(log.matches("is not linked: it does not answer").count(), 1, "{log}");
    assert!(log.matches("linked: its address").count() >= 2, "twice the server: {log}");
}

#[test]
fn a_server_with_another_key_is_refused_and_both_say_why() {
    let (ours, theirs, port) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), free_port());
    let mut first = start(ours.path(), FIRST, SECOND, port);
    let made = lobby_server::key::create(&theirs.path().join("key"));
    assert!(made.is_ok());
    let report = check(theirs.path(), SECOND, FIRST, port);
    assert!(report.contains("neighbour: FAILED") && report.contains("another key"), "{report}");
    let second = start(theirs.path(), SECOND, FIRST, port);
    for server in [&first, &second] {
        wait_for(server, "lobby_surroundings{finding=\"neighbour-key\"} 1");
        assert_eq!(changed(server.address()), None);
    }
    let log = first.child.stderr.take().unwrap();
    let warning = BufReader::new(log).lines().map_while(Result::ok).find(|line| line.contains("another key"));
    let warning = warning.expect("it is in the log");
    assert!(warning.contains("WARN") && warning.contains("Copy this server's key file"), "{warning}");
}

#[test]
fn natdiscovery_of_coturn_finds_mapping_and_filtering_with_two_programs() {
    let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
    let first = start(directory.path(), FIRST, SECOND, port);
    let _second = start(directory.path(), SECOND, FIRST, port);
    until_changed(first.address());
    let args = ["30", "turnutils_natdiscovery", "-m", "-f", "-p", &port.to_string(), FIRST];
    let output = Command::new("timeout").args(args).output().unwrap();
    if output.status.code() == Some(127) {
        return skipped("this machine has no turnutils_natdiscovery (Debian: coturn)");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    for said in
        ["Endpoint Independent Mapping", "Endpoint Independent Filtering", "Response origin: : 127.0.0.2"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
}
