//! The built program: what it prints, how it starts and stops, and that junk does not disturb it.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use test_support::server::{Player, Running, get, program};
use traversal_core::wire::Kind;
use traversal_core::wire::message::Frame;

/// Waits until nobody has this port any more: the tests beside start programs, and a child that has not become its
/// program yet still holds all that its parent held when it was made. True: it is free.
fn is_free(address: SocketAddr) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            result => return result.is_ok(),
        }
    }
}

#[cfg_attr(not(unix), ignore = "sends signals, which other systems than Unix do not have")]
#[test]
fn the_ready_line_says_where_the_server_is_and_sigterm_ends_it_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let server = Running::start(directory.path(), &flags);
    assert!(server.ready.starts_with("lobby_server ready on 127.0.0.1:"), "{}", server.ready);
    assert!(server.ready.contains(" (second 127.0.0.1:"), "{}", server.ready);
    let key = server.ready.trim().rsplit("key ").next().unwrap().to_string();

    let mut player = Player::log_in(server.address(), 1, b"").unwrap();
    assert!(player.ping());
    let printed = program()
        .args(["key", "--key-file", directory.path().join("key").to_str().unwrap()])
        .output()
        .unwrap();
    assert!(printed.status.success());
    assert_eq!(String::from_utf8(printed.stdout).unwrap().trim(), key);
    let where_from = String::from_utf8(printed.stderr).unwrap();
    assert!(where_from.contains(directory.path().join("key").to_str().unwrap()), "{where_from}");
    assert_eq!(lobby_server::key::printed(&player.server_key), key);

    assert!(get(server.http(), "/health").starts_with("HTTP/1.1 200"));
    assert!(get(server.http(), "/metrics").contains("\nlobby_sessions 1\n"));
    assert!(get(server.http(), "/status.json").contains("\"sessions\":1,"));
    assert!(get(server.http(), "/").contains("<title>lobby_server</title>"));
    assert!(get(server.http(), "/metrics").contains(&format!("\nlobby_key_info{{key=\"{key}\"}} 1\n")));
    assert!(get(server.http(), "/nothing").starts_with("HTTP/1.1 404"));

    let output = server.stop("-TERM");
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(player.wait_for(|frame| matches!(frame, Frame::Goodbye { .. })), "players are told");
    assert!(!log.contains("127.0.0.1:0") && !log.contains("WARN"), "{log}");
}

#[cfg_attr(not(unix), ignore = "sends signals, which other systems than Unix do not have")]
#[test]
fn sigint_ends_it_cleanly_too() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &["--bind", "127.0.0.1:0", "--no-http"]);
    assert!(!server.ready.contains("http"), "{}", server.ready);
    assert_eq!(server.stop("-INT").status.code(), Some(0));
}

#[test]
fn a_second_server_on_the_same_port_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let first = Running::start(directory.path(), &["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let key = directory.path().join("key");
    let key = key.to_str().unwrap();
    let second = program()
        .args(["--key-file", key, "--no-http", "--bind", &first.address().to_string()])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stdout.is_empty(), "not ready");
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(error.lines().filter(|line| line.starts_with("lobby_server:")).count(), 1, "{error}");
    assert!(error.contains("in use") && error.contains("--bind"), "{error}");

    let third = program()
        .args(["--key-file", key, "--bind", "127.0.0.1:0", "--http", &first.http().to_string()])
        .output()
        .unwrap();
    assert_eq!(third.status.code(), Some(1));
    let error = String::from_utf8(third.stderr).unwrap();
    assert!(error.contains("HTTP") && error.contains("--no-http"), "{error}");

    let check = program()
        .args(["check", "--key-file", key, "--no-http", "--bind", &first.address().to_string()])
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8(check.stdout).unwrap().contains("FAILED"));
}

#[cfg_attr(not(any(target_os = "linux", windows)), ignore = "other systems have one loopback address only")]
#[test]
fn two_addresses_are_four_sockets_and_check_calls_it_full() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--bind", "127.0.0.1:0", "--second-address", "127.0.0.2", "--no-http"];
    let server = Running::start(directory.path(), &flags);
    assert!(server.ready.contains("(second 127.0.0.2:"), "{}", server.ready);
    let check = program().arg("check").args(flags).output().unwrap();
    let text = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success(), "{text}");
    assert!(text.contains("classification: full") && text.contains("firewall:"), "{text}");
    let one = program().args(["check", "--bind", "127.0.0.1:0", "--no-http"]).output().unwrap();
    assert!(String::from_utf8(one.stdout).unwrap().contains("classification: reduced"));
}

#[cfg_attr(not(any(target_os = "linux", windows)), ignore = "other systems have one loopback address only")]
#[test]
fn on_all_addresses_the_answer_comes_from_the_one_that_was_asked() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &["--bind", "0.0.0.0:0", "--no-http"]);
    let port = server.address().port();
    // A connected socket takes nothing from another address. On Linux all of 127/8 is this machine.
    for address in ["127.0.0.1", "127.0.0.77"] {
        let server = format!("{address}:{port}").parse().unwrap();
        assert!(Player::log_in(server, 1, b"").unwrap().ping(), "{address}");
    }
}

#[test]
fn settings_come_from_file_and_environment_and_mistakes_are_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lobby.toml");
    std::fs::write(&file, "bind = \"127.0.0.1:0\"\nno_http = true\ntoken = \"sesame\"\n").unwrap();
    let server = Running::start(directory.path(), &["--config", file.to_str().unwrap()]);
    let error = Player::log_in(server.address(), 1, b"guess").err().expect("refused");
    assert!(error.contains("token"), "{error}");
    assert!(Player::log_in(server.address(), 2, b"sesame").unwrap().ping());

    let wrong = program().env("LOBBY_BIND", "nonsense").arg("check").output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    let error = String::from_utf8(wrong.stderr).unwrap();
    assert!(error.lines().count() == 1 && error.contains("nonsense"), "{error}");
    let missing = program().args(["check", "--config", "/nonexistent.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
}

#[cfg_attr(not(unix), ignore = "sends signals, which other systems than Unix do not have")]
#[test]
fn junk_does_not_disturb_the_players_and_floods_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &["--bind", "127.0.0.1:0", "--no-http"]);
    let mut player = Player::log_in(server.address(), 1, b"").unwrap();
    assert!(player.ping());
    let ping = player.session.seal(Instant::now(), Kind::Control, &Frame::Ping { id: 1 }).unwrap();
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..3000u32 {
        let mut junk = vec![0; (rng.next_u32() % 1500) as usize];
        rng.fill_bytes(&mut junk);
        if let Some(first) = junk.first_mut() {
            *first = 0xC0 | (rng.next_u32() as u8 & 0x0f);
        }
        // From a stranger, and from the player's own address: random, damaged, repeated.
        let _ = stranger.send_to(&junk, server.address());
        let _ = player.socket.send(&junk);
        let mut damaged = ping.clone();
        let at = rng.next_u32() as usize % damaged.len();
        damaged[at] ^= 1 << (round % 8);
        let _ = player.socket.send(&damaged);
        let _ = player.socket.send(&ping);
        if round % 100 == 0 {
            assert!(player.ping(), "round {round}");
        }
    }
    assert!(player.ping());
    assert!(Player::log_in(server.address(), 2, b"").unwrap().ping());
    let output = server.stop("-TERM");
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.lines().count() < 20, "{log}");
}

#[test]
fn an_embedded_server_serves_and_is_gone_when_dropped() {
    let settings = lobby_server::Settings {
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        no_http: true,
        ..lobby_server::Settings::default()
    };
    let server = lobby_server::LobbyServer::new(settings).spawn().unwrap();
    let address = server.addresses().first[0];
    let mut player = Player::log_in(address, 1, b"").unwrap();
    assert!(player.ping());
    assert_eq!(player.server_key, server.public_key());
    assert_eq!(server.handle().status().expect("an answer").gauges.sessions, 1);
    server.stop();
    assert!(player.wait_for(|frame| matches!(frame, Frame::Goodbye { .. })));
    assert!(is_free(address), "nobody has its port any more");
}

#[test]
fn the_key_is_printed_where_there_is_one_and_made_only_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deeper/server.key");
    let run = |flags: &[&str]| {
        program().args(["key", "--key-file", file.to_str().unwrap()]).args(flags).output().unwrap()
    };
    let none = run(&[]);
    let error = String::from_utf8(none.stderr).unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(error.contains("--new") && none.stdout.is_empty() && !file.exists(), "{error}");
    let made = run(&["--new"]);
    assert!(made.status.success());
    assert_eq!(run(&[]).stdout, made.stdout);
    let again = run(&["--new"]);
    assert_eq!(again.status.code(), Some(1), "a key is never lost by a slip");
    assert_eq!(run(&[]).stdout, made.stdout);
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_brings_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    lobby_server::key::create(&file).unwrap();
    for (mode, warned) in [(0o600, false), (0o640, true), (0o604, true)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let server = Running::start(directory.path(), &["--bind", "127.0.0.1:0", "--no-http"]);
        let log = String::from_utf8(server.stop("-TERM").stderr).unwrap();
        assert_eq!(log.contains("chmod 600"), warned, "{mode:o}: {log}");
    }
}

/// The file system has no room; it is in namespaces of its own. Where the machine gives none, there is nothing to
/// test with.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_key_behind() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().to_str().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4k none {disk} && head -c 4096 /dev/zero > {disk}/full && \
         ! \"$0\" key --new --key-file {disk}/server.key 2> /dev/null && ls -A {disk}"
    );
    let output = std::process::Command::new("unshare")
        .args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_lobby_server")])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            assert_eq!(String::from_utf8(output.stdout).unwrap(), "full\n", "nothing but what filled it");
        }
        other => eprintln!("not tested: no namespace or no tmpfs here: {other:?}"),
    }
}

#[test]
fn a_setting_out_of_range_is_one_line_with_the_rule() {
    for (flags, variables, rule) in [
        (vec!["--bind", "127.0.0.1:5000", "--second-port", "5000"], vec![], "another port"),
        (vec![], vec![("LOBBY_RELAY_LIFETIME_S", "9223372036854775807")], "relay_lifetime_s"),
        (vec![], vec![("LOBBY_MAX_SESSIONS", "0")], "from 1"),
    ] {
        let output = program().args(["check", "--no-http"]).args(flags).envs(variables).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(error.lines().count() == 1 && error.contains(rule), "{error}");
    }
}

/// The trap: a server runs with a key file of its own, and `key` beside it finds, or makes, another one.
#[cfg(target_os = "linux")]
#[test]
fn key_beside_a_running_server_with_another_key_file_does_not_show_the_wrong_one() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let (home, http) = (directory.path().join("home"), server.http().to_string());
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.env("HOME", &home).env_remove("XDG_DATA_HOME");
        command.args(["key", "--http", &http]).args(arguments).output().unwrap()
    };
    let none = run(&[]);
    assert!(!none.status.success() && none.stdout.is_empty(), "there is none, and none is made: {none:?}");
    let made = run(&["--new"]);
    assert!(made.status.success());
    assert!(String::from_utf8_lossy(&made.stderr).contains("that runs here"), "{made:?}");
    // Now there are two, and who names none gets none.
    let other = run(&[]);
    let error = String::from_utf8_lossy(&other.stderr);
    assert!(!other.status.success() && other.stdout.is_empty() && error.contains("--key-file"), "{error}");
    let key = server.ready.trim().rsplit("key ").next().unwrap();
    assert!(error.contains(key), "the running one is said: {error}");
    let meant = run(&["--key-file", directory.path().join("key").to_str().unwrap()]);
    assert_eq!(String::from_utf8(meant.stdout).unwrap().trim(), key);
}
