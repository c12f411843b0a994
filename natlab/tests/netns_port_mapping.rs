//! The shipped programs behind routers of the kernel's in which a real miniupnpd forwards ports.
//!
//! Skipped, loudly, where namespaces are not permitted, where miniupnpd is not installed (Debian: `miniupnpd` and
//! `miniupnpd-nftables`), or where the programs are not built (`cargo build -p lobby_server -p peer`).
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value;
use test_support::{are_built, skipped};

const NOT_HERE: i32 = 77;
const DELAY_MS: f64 = 25.0;
/// Only one test runs at a time, as they measure time.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a pair, the right one after the left one knows its NAT; `peer` is what is added to the players' command line.
/// What miniupnpd said comes beside the report.
fn run(left: &str, right: &str, peer: &[&str]) -> Option<(Value, String)> {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let program = Path::new(env!("CARGO_BIN_EXE_natlab"));
    if !are_built(&["lobby_server", "peer"]) {
        return None;
    }
    if !Path::new("/usr/sbin/miniupnpd").exists() {
        skipped("miniupnpd is not installed");
        return None;
    }
    let command = "peer {role} --lobby {lobby} --room {room} --server-key {key} --json".split(' ');
    let Output { status, stdout, stderr } = Command::new(program)
        .args(["run", "--json", "--delay-ms", &DELAY_MS.to_string(), "--time-limit", "60"])
        .args(["--left", left, "--right", right, "--after", "port_mapping"])
        .arg("--")
        .args(command)
        .args(peer)
        .output()
        .expect("natlab runs");
    let error = String::from_utf8_lossy(&stderr);
    if status.code() == Some(NOT_HERE) {
        skipped(error);
        return None;
    }
    let report: Value = serde_json::from_slice(&stdout).unwrap_or_else(|bad| panic!("{bad}: {error}"));
    let mut router = String::new();
    for entry in fs::read_dir(report["log_dir"].as_str()?).expect("the logs") {
        let path = entry.expect("a log").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("miniupnpd") && name.ends_with(".err") {
            router.push_str(&fs::read_to_string(path).expect("its log"));
        }
    }
    Some((report, router))
}

fn states(report: &Value, role: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = report["events"][role].as_array().expect("events");
    let said = events.iter().filter(|event| event["event"] == "port_mapping");
    said.map(|event| (text(&event["state"]), text(&event["protocol"]))).collect()
}

/// By this protocol the host's random symmetric router becomes a full cone, for the other one's random symmetric NAT.
fn is_direct_at_once(service: &str, protocol: &str, removed: &str) {
    let left = format!("kernel:fully-random:{service}");
    for right in ["psrandom", "portrestricted"] {
        let flags = ["--for", "2", "--relay", "never", "--port-mapping", protocol];
        let Some((report, router)) = run(&left, right, &flags) else { return };
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["path"], "direct", "{report}");
        // 2 round trips, as for cones, and a second more for a debug build on a busy machine.
        let since = report["since_request_ms"].as_f64().expect("a time");
        assert!((DELAY_MS * 3.0..DELAY_MS * 4.0 + 1000.0).contains(&since), "{since} ms");
        let last = states(&report, "host").pop();
        assert_eq!(last, Some(("verified".into(), protocol.into())), "{report}");
        // Given back at the end, before the router ended.
        assert!(router.contains(removed), "{router}");
    }
}

#[test]
fn by_upnp() {
    is_direct_at_once("upnp", "upnp", "removing redirect rule");
    is_direct_at_once("upnp1", "upnp", "removing redirect rule");
}

#[test]
fn by_nat_pmp() {
    is_direct_at_once("pcp", "nat-pmp", "NAT-PMP UDP port");
}

#[test]
fn by_pcp() {
    is_direct_at_once("pcp", "pcp", "PCP: UDP port");
}

#[test]
fn of_all_three_one_is_taken() {
    let flags = ["--for", "1", "--relay", "never"];
    let Some((report, router)) = run("kernel:fully-random:upnp:pcp", "psrandom", &flags) else { return };
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(states(&report, "host").pop(), Some(("verified".into(), "pcp".into())), "{report}");
    assert!(!router.contains("AddPortMapping"), "{router}");
}

#[test]
fn behind_a_second_nat_a_granted_port_does_not_count() {
    for service in ["upnp", "pcp"] {
        let left = format!("kernel:fully-random:{service}+portrestricted");
        let Some((report, router)) = run(&left, "psrandom", &["--for", "3"]) else { return };
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["path"], "relay", "random against random: {report}");
        let states = states(&report, "host");
        let names: Vec<&str> = states.iter().map(|(state, _)| state.as_str()).collect();
        assert_eq!(names, ["checking", "unreachable"], "{report}");
        assert!(router.contains("port mapping accepted"), "it was granted: {router}");
    }
}

#[test]
fn no_router_is_asked_where_that_is_not_wanted() {
    for flags in [["--for", "1", "--no-port-mapping"].as_slice(), &["--for", "1", "--relay", "only"]] {
        // Without a port_mapping event the right one starts after a while.
        let Some((report, router)) = run("kernel:upnp:pcp", "portrestricted", flags) else { return };
        assert_eq!(report["ok"], true, "{report}");
        assert!(!router.contains("request received") && !router.contains("M-SEARCH from"), "{router}");
        assert!(states(&report, "host").is_empty(), "{report}");
    }
}
