//! `peer doctor`: what it says with a lobby server, without one, and where one is not what it should be.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use test_support::programs::{Lobby, Program};

fn doctor(args: &[&str]) -> Program {
    Program::start("doctor", Command::new(env!("CARGO_BIN_EXE_peer")).arg("doctor").args(args))
}

/// The checks by their names, once the program has ended.
fn checks(program: &Program) -> BTreeMap<String, Value> {
    let checks = program.events("check").into_iter();
    checks.map(|check| (check["check"].as_str().unwrap().to_owned(), check)).collect()
}

fn status(checks: &BTreeMap<String, Value>, name: &str) -> String {
    checks.get(name).unwrap_or_else(|| panic!("no check {name}: {checks:?}"))["status"]
        .as_str()
        .unwrap()
        .into()
}

/// The address by which this machine would leave for the internet; none: it has no way there.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string()).filter(|ip| !ip.starts_with("127."))
}

#[test]
fn with_a_lobby_server_all_is_looked_at_and_nothing_tells_who_it_is() {
    let lobby = Lobby::start();
    let args = ["--json", "--lobby", &lobby.address, "--server-key", &lobby.key];
    let mut program = doctor(&args);
    program.success(40.0);
    let found = checks(&program);
    for name in [
        "version",
        "clock",
        "sockets",
        "interfaces",
        "mtu",
        "lobby tcp",
        "lobby tls",
        "lobby",
        "nat",
        "hairpin",
    ] {
        let status = status(&found, name);
        assert!(["ok", "note", "skipped"].contains(&status.as_str()), "{name}: {}", program.log());
    }
    assert_eq!(status(&found, "sockets"), "ok", "{}", program.log());
    assert_eq!(status(&found, "lobby"), "ok", "{}", program.log());
    assert_eq!(status(&found, "relay"), "ok", "{}", program.log());
    assert!(found["relay"]["facts"]["size"].as_u64().unwrap() >= 498, "{}", found["relay"]);
    assert!(found.contains_key("port mapping"));
    assert_eq!(program.events("diagnosis")[0]["ok"], true);
    let mut open = doctor(&["--json", "--show-addresses"]);
    open.success(20.0);
    if let Some(own) = own_address() {
        assert!(!program.log().contains(&own), "{own} is in\n{}", program.log());
        assert!(open.log().contains(&own), "{own} is not in\n{}", open.log());
    }
}

#[test]
fn as_text_it_is_a_list_with_a_result() {
    let lobby = Lobby::start();
    let mut program = doctor(&["--lobby", &lobby.address]);
    program.success(40.0);
    for line in [
        "ok      version       bevy_traversal ",
        "ok      lobby         logged in to ",
        "Result: nothing here ",
    ] {
        assert!(program.out.iter().any(|found| found.starts_with(line)), "no {line:?}\n{}", program.log());
    }
    assert!(program.out.last().unwrap().contains("masked"), "{}", program.log());
}

#[test]
fn without_a_lobby_server_the_machine_alone_is_looked_at() {
    let mut program = doctor(&["--json"]);
    program.success(20.0);
    let found = checks(&program);
    assert_eq!(status(&found, "lobby"), "skipped");
    assert!(!found.contains_key("nat"), "{}", program.log());
}

#[test]
fn a_lobby_server_that_is_not_there_is_named_and_the_program_fails() {
    // Nobody listens at the port of a socket that was just closed.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let began = Instant::now();
    let mut program = doctor(&["--json", "--deadline", "15", "--lobby", &format!("127.0.0.1:{port}")]);
    program.exit(25.0);
    assert!(began.elapsed() < Duration::from_secs(18), "{:?}", began.elapsed());
    let found = checks(&program);
    assert_eq!((status(&found, "lobby"), status(&found, "lobby tcp")), ("bad".into(), "note".into()));
    let text = found["lobby"]["text"].as_str().unwrap();
    assert!(text.contains(&format!(":{port}")) && text.contains("does not answer"), "{text}");
    assert!(!found.contains_key("nat"), "{}", program.log());
    assert_eq!(program.events("diagnosis")[0]["bad"], serde_json::json!(["lobby"]));
}

#[test]
fn a_wrong_port_that_another_program_has_is_told_apart_from_a_closed_one() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let mut program = doctor(&["--json", "--deadline", "12", "--lobby", &address]);
    let end = program.exit(25.0);
    assert!(!end.success());
    let found = checks(&program);
    assert_eq!((status(&found, "lobby"), status(&found, "lobby tcp")), ("bad".into(), "ok".into()));
}

#[test]
fn a_name_that_leads_nowhere_is_told_and_the_deadline_holds() {
    let began = Instant::now();
    // RFC 2606: no such name exists.
    let mut program = doctor(&["--json", "--deadline", "3", "--lobby", "no-such-lobby.invalid"]);
    let end = program.exit(20.0);
    assert!(!end.success() && began.elapsed() < Duration::from_secs(8), "{end} {:?}", began.elapsed());
    assert_eq!(status(&checks(&program), "lobby name"), "bad", "{}", program.log());
}

#[test]
fn a_lobby_that_is_no_host_is_told_with_what_to_write_instead() {
    let mut program = doctor(&["--json", "--deadline", "3", "--lobby", "https://lobby.example.com"]);
    let end = program.exit(20.0);
    assert!(!end.success(), "{end}");
    assert_eq!(status(&checks(&program), "lobby name"), "bad", "{}", program.log());
    assert!(program.log().contains("write HOST or HOST:PORT alone"), "{}", program.log());
}

#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] // of which the server's ciphers are here
fn tls_of_the_lobby_server_is_told_apart_from_another_programs_and_from_none() {
    let (certificate, key) = test_support::certificates::ONE.write(&test_support::scratch("doctor-tls"));
    let lobby = Lobby::start_with(&[
        ("LOBBY_TLS_CERT", certificate.to_str().unwrap()),
        ("LOBBY_TLS_KEY", key.to_str().unwrap()),
        ("LOBBY_TLS_PORT", "0"),
    ]);
    let log = lobby.program.log();
    let port = log.split_once(", tls ").unwrap().1.split(',').next().unwrap().trim();
    let port = port.rsplit_once(':').unwrap().1.to_owned();
    let look = |port: &str| {
        let mut program = doctor(&["--json", "--lobby", &lobby.address, "--tls-port", port]);
        program.success(40.0);
        checks(&program).remove("lobby tls").unwrap()
    };
    let found = look(&port);
    assert_eq!((&found["status"], &found["facts"]["lobby"]), (&"ok".into(), &true.into()), "{found}");
    assert!(found["text"].as_str().unwrap().contains("answers by TLS"), "{found}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let found = look(&closed.to_string());
    assert_eq!((&found["status"], &found["facts"]["open"]), (&"note".into(), &false.into()), "{found}");
    assert!(found["text"].as_str().unwrap().contains("--tls-cert"), "{found}");

    // Something that speaks another language.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        for mut stream in other.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut stream, b"220 mail.example.com ESMTP\r\n");
        }
    });
    let found = look(&port);
    assert_eq!((&found["status"], &found["facts"]["lobby"]), (&"note".into(), &false.into()), "{found}");
}
