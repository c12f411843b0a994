//! `natlab load` has real players do what it says, and tells what came of it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::process::{Command, Output};

use serde_json::Value;

fn load(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natlab"));
    command.args(["load", "--seconds", "2"]).args(arguments).output().unwrap()
}

fn act<'a>(report: &'a Value, name: &str) -> &'a Value {
    let acts = report["acts"].as_array().unwrap();
    acts.iter().find(|act| act["name"] == name).unwrap_or_else(|| panic!("no {name:?} in {report:#}"))
}

#[test]
fn a_load_of_every_kind_is_carried_and_told() {
    let lobby = test_support::lobby();
    let (to, pid) = (lobby.addresses().first[0].to_string(), std::process::id().to_string());
    // More rooms than stand on one page of a list.
    let players =
        ["--players", "90", "--login-rate", "100", "--crowd", "10", "--rooms", "26", "--stay", "0.3"];
    let rates = ["--joins", "20", "--lists", "20", "--matches", "10", "--logins", "5", "--relay-pairs", "2"];
    let output = load(&[&["--to", &to, "--pid", &pid, "--json"][..], &players, &rates].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["login", "list", "join", "path to the host", "quick match", "relayed datagram"] {
        let act = act(&report, name);
        assert!(act["count"].as_u64().unwrap() > 0 && act["p99_ms"].as_f64().unwrap() > 0.0, "{name}: {act}");
    }
    assert_eq!(
        (&act(&report, "login before")["count"], &act(&report, "login in the crowd")["count"]),
        (&90.into(), &10.into())
    );
    assert!(act(&report, "leave")["begun"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(report["online"][0], 90, "{report:#}");
    assert_eq!(
        (&report["sessions_lost"], report["errors"].as_object().unwrap().len()),
        (&0.into(), 0),
        "{report:#}"
    );
    let server = &report["server"];
    for number in [
        "processors",
        "memory_mb",
        "datagrams_per_second",
        "us_per_datagram",
        "echo_us_per_datagram",
        "ratio",
    ] {
        assert!(server[number].as_f64().unwrap() > 0.0, "{number}: {server}");
    }
}

#[test]
fn texts_between_contacts_are_carried_and_told() {
    let lobby = test_support::lobby();
    let to = lobby.addresses().first[0].to_string();
    let players = ["--players", "80", "--login-rate", "100", "--relay-pairs", "0"];
    let rates = ["--joins", "0", "--lists", "0", "--matches", "0", "--logins", "0", "--chat", "20"];
    let output = load(&[&["--to", &to, "--no-echo", "--json"][..], &players, &rates].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let texts = act(&report, "text to a contact");
    // At one a second and five at once, of which some are asked for twice in a second.
    assert!(texts["count"].as_u64().unwrap() >= 15 && texts["p99_ms"].as_f64().unwrap() > 0.0, "{report:#}");
    assert_eq!(report["errors"].as_object().unwrap().len(), 0, "{report:#}");
}

#[test]
fn more_players_than_there_are_descriptors_for_are_refused_with_what_to_do() {
    let output = load(&["--players", "4000000", "--to", "127.0.0.1:9"]);
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("96000264 are needed, 24 for each player") && told.contains("--lean"), "{told}");
}

#[test]
fn only_this_machine_gets_load() {
    let output = load(&["--to", "192.0.2.1:3478"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("an address of loopback"), "{output:?}");
}

#[test]
fn who_cannot_log_in_is_an_error_that_says_why() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = nobody.local_addr().unwrap().to_string();
    let output = load(&["--to", &to, "--players", "2", "--patience", "1", "--no-echo"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no player could log in"), "{output:?}");
}
