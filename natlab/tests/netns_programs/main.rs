//! The shipped programs, `lobby_server`, `peer` and `arena`, behind NATs in network namespaces.
//!
//! Skipped, loudly, where namespaces are not permitted or the programs are not built (`cargo build --workspace
//! --bins`).
#![cfg(target_os = "linux")]

mod away;
mod paths;
mod play;
mod script;
mod surroundings;
mod two_machines;
mod unprivileged;
mod windows;

use std::process::{Command, Output};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use serde_json::Value;
use test_support::{are_built, skipped};

/// `natlab run` says with this exit code that the machine does not permit namespaces.
const NOT_HERE: i32 = 77;
/// A packet takes this long one way, between any two machines, in milliseconds.
const DELAY_MS: f64 = 25.0;
/// Tests measure time. As many as there are cores can, beside each other; drawing two windows without a graphics card
/// takes all cores, so that one runs alone.
static CORES: RwLock<()> = RwLock::new(());

/// Waits until nobody draws.
fn beside_others() -> RwLockReadGuard<'static, ()> {
    CORES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a pair; `peer` is what is added to the players' command line.
fn run(natlab: &[&str], peer: &[&str]) -> Option<Value> {
    run_within(60, natlab, peer)
}

/// Does the same as [`run`], ended after so many seconds at the latest.
fn run_within(seconds: u32, natlab: &[&str], peer: &[&str]) -> Option<Value> {
    let command = PEER.split(' ').chain(peer.iter().copied()).collect::<Vec<_>>();
    run_command(seconds, natlab, &command)
}

/// How each player is started.
const PEER: &str = "peer {role} --lobby {lobby} --room {room} --server-key {key} --json";

/// Runs a pair of this command, ended after so many seconds at the latest.
fn run_command(seconds: u32, natlab: &[&str], command: &[&str]) -> Option<Value> {
    let _turn = beside_others();
    if !are_built(&["lobby_server", "peer"]) {
        return None;
    }
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_natlab"))
        .args(["run", "--json", "--delay-ms", &DELAY_MS.to_string(), "--time-limit", &seconds.to_string()])
        .args(natlab)
        .arg("--")
        .args(command)
        .output()
        .expect("natlab runs");
    let error = String::from_utf8_lossy(&stderr);
    if status.code() == Some(NOT_HERE) {
        skipped(error);
        return None;
    }
    Some(serde_json::from_slice(&stdout).unwrap_or_else(|bad| panic!("{bad}: {error}")))
}

/// Returns all events of this name.
fn events<'a>(report: &'a Value, role: &str, name: &str) -> Vec<&'a Value> {
    let events = report["events"][role].as_array().expect("events");
    events.iter().filter(|event| event["event"] == name).collect()
}

/// Returns the first event of this name, or null.
fn event<'a>(report: &'a Value, role: &str, name: &str) -> &'a Value {
    events(report, role, name).first().copied().unwrap_or(&Value::Null)
}

/// Returns what the router counted of a side.
fn counted(report: &Value, side: &str, what: &str) -> u64 {
    report["links"][side][what].as_u64().expect("a count")
}

/// These are the side and the role of both players.
const PLAYERS: [(&str, &str); 2] = [("left", "host"), ("right", "join")];
