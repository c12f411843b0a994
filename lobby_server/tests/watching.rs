//! What an operator sees when it becomes too much: what the kernel loses, what is refused, and one line of the log for each.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(target_os = "linux")] // other systems do not tell what they lose

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use lobby_server::{RelayUsage, RelayUsed};
use test_support::server::{Player, Running, get, program, program_after};
use test_support::until;
use traversal_core::wire::message::{Request, RequestError, RoomOptions};

const FLAGS: [&str; 4] = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];

/// Starts the server with these settings, as environment variables.
fn start(directory: &std::path::Path, settings: &[(&str, &str)]) -> Running {
    let mut command = program();
    command.envs(settings.iter().copied());
    Running::start_as(command, directory, &FLAGS)
}

/// Returns the value of this series.
fn series(http: SocketAddr, name: &str) -> f64 {
    let metrics = get(http, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}:\n{metrics}"))
}

/// Waits for so many warnings, which the watch writes once a second, ends the server, and returns all of them.
fn warnings(mut server: Running, count: usize) -> Vec<String> {
    let log = server.log();
    log.wait_for(count, "WARN");
    server.stop("-TERM");
    log.whole().into_iter().filter(|line| line.contains("WARN")).collect()
}

fn signal(server: &Running, signal: &str) {
    assert!(Command::new("kill").args([signal, &server.child.id().to_string()]).status().unwrap().success());
}

#[test]
fn what_the_kernel_loses_is_counted_and_told_once_with_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), &[("LOBBY_SOCKET_BUFFER_KILOBYTES", "64")]);
    let mut player = Player::log_in(server.address(), 1, b"").unwrap();
    assert_eq!(series(server.http(), "lobby_receive_buffer_bytes"), 64_000.0);
    until("the watch has looked", 20.0, || {
        get(server.http(), "/metrics").contains("lobby_kernel_drops_total 0\n")
    });
    let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 1..=3 {
        // It stands still, as on a machine that has no processor for it.
        signal(&server, "-STOP");
        for _ in 0..2000 {
            flood.send_to(&[0; 1000], server.address()).unwrap();
        }
        signal(&server, "-CONT");
        until("losses", 20.0, || {
            series(server.http(), "lobby_kernel_drops_total") > f64::from(round) * 1800.0
        });
    }
    assert!(series(server.http(), "lobby_kernel_drops_total") < 6000.0, "what was sent");
    assert!(player.ping());
    let status = get(server.http(), "/status.json");
    assert!(status.contains("\"kernel_drops\":5"), "{status}");
    let warnings = warnings(server, 1);
    let [warning] = warnings.as_slice() else { panic!("one line for all of it: {warnings:#?}") };
    assert!(
        warning.contains("receive buffer was full") && warning.contains("socket_buffer_kilobytes"),
        "{warning}"
    );
}

#[test]
fn a_full_server_says_so_in_its_log_and_by_reason() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("LOBBY_MAX_SESSIONS", "2"), ("LOBBY_MAX_ROOMS_PER_ADDRESS", "1")];
    let server = start(directory.path(), &settings);
    let mut players = [1, 2].map(|seed| Player::log_in(server.address(), seed, b"").unwrap());
    // Each has been heard: none is half-open, and gives way.
    assert!(players.iter_mut().all(Player::ping));
    for seed in 3..9 {
        assert!(Player::log_in(server.address(), seed, b"").is_err(), "there is no place");
    }
    for (number, player) in (1..).zip(&mut players) {
        let options = RoomOptions { name: format!("room {number}"), ..RoomOptions::default() };
        let made = player.ask(number, Request::CreateRoom { options });
        assert_eq!(made.is_ok(), number == 1, "{made:?}");
        assert!(made.is_ok() || matches!(made, Err(RequestError::Limited { .. })));
    }
    let http = server.http();
    assert_eq!(series(http, "lobby_refused_total{what=\"login\",reason=\"full\"}"), 6.0);
    assert_eq!(series(http, "lobby_refused_total{what=\"login\",reason=\"address-full\"}"), 0.0);
    assert_eq!(series(http, "lobby_refused_total{what=\"room\",reason=\"address-full\"}"), 1.0);
    assert_eq!(series(http, "lobby_limit{limit=\"sessions\"}"), 2.0);
    assert_eq!(series(http, "lobby_limit_used{limit=\"sessions\"}"), 2.0);
    assert_eq!(series(http, "lobby_login_seconds_count"), 2.0);
    assert!(get(http, "/status.json").contains("{\"what\":\"login\",\"reason\":\"full\",\"count\":6}"));
    let warnings = warnings(server, 2);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for setting in ["raise max_sessions,", "raise max_rooms_per_address"] {
        assert!(warnings.iter().any(|line| line.contains(setting)), "{setting}: {warnings:#?}");
    }
}

/// Returns a number that the program `date` prints, in UTC.
fn date(format: &str) -> u64 {
    let output = Command::new("date").args(["-u", format]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn what_the_relay_has_used_outlives_the_server_and_is_told_when_it_is_all() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay_usage.json");
    let all = RelayUsed { day: 80_000_000_000, month: 90_000_000_000 };
    let month = u32::try_from(date("+%Y") * 12 + date("+%m") - 1).unwrap();
    let usage = RelayUsage { day: date("+%s") / 86_400, month, all, ..RelayUsage::default() };
    let text = serde_json::to_string(&usage).unwrap();
    std::fs::write(&file, &text).unwrap();
    let server = start(directory.path(), &[]);
    assert_eq!(series(server.http(), "lobby_limit_used{limit=\"relay_day_bytes\"}"), 80e9);
    assert_eq!(series(server.http(), "lobby_limit_used{limit=\"relay_month_bytes\"}"), 90e9);
    assert_eq!(series(server.http(), "lobby_limit{limit=\"relay_month_bytes\"}"), 400e9);
    let warnings = warnings(server, 1);
    let [warning] = warnings.as_slice() else { panic!("one line: {warnings:#?}") };
    assert!(warning.contains("is used up") && warning.contains("relay_gigabytes_per_day"), "{warning}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "it is there for the next start");
}

/// Only who may do as it likes (`CAP_NET_ADMIN`) gets more than `net.core.rmem_max`.
#[test]
fn a_buffer_that_is_not_granted_is_told_with_the_setting_of_the_system() {
    let allowed = std::fs::read_to_string("/proc/sys/net/core/rmem_max").ok();
    let Some(allowed) = allowed.and_then(|allowed| allowed.trim().parse::<usize>().ok()) else {
        println!("SKIPPED: the system does not tell net.core.rmem_max");
        return;
    };
    if Command::new("setpriv").arg("--version").output().is_err() || allowed > 900_000_000 {
        println!("SKIPPED: there is no setpriv, or the system grants everything");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let wanted = (allowed / 1000 + 1000).to_string();
    let mut command = program_after(
        "if [ $(id -u) = 0 ]; then exec setpriv --bounding-set -net_admin --inh-caps -net_admin \"$0\" \"$@\"; fi",
    );
    command.env("LOBBY_SOCKET_BUFFER_KILOBYTES", &wanted);
    let server = Running::start_as(command, directory.path(), &FLAGS);
    assert_eq!(series(server.http(), "lobby_receive_buffer_bytes"), allowed as f64);
    assert_eq!(
        series(server.http(), "lobby_receive_buffer_wanted_bytes"),
        wanted.parse::<f64>().unwrap() * 1000.0
    );
    let log = String::from_utf8(server.stop("-TERM").stderr).unwrap();
    let cure = format!("sysctl -w net.core.rmem_max={wanted}000");
    assert!(log.contains(&cure) && !log.contains("WARN"), "{cure}: {log}");
}
