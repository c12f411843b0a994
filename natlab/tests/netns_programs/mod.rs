//! Runs the shipped `lobby_server` and `peer` behind NATs and reads what came of it.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// `natlab run` says with this exit code that the machine does not permit namespaces.
pub(crate) const NOT_HERE: i32 = 77;
/// One way, between any two machines.
pub(crate) const DELAY_MS: f64 = 25.0;
/// One at a time: they measure time.
static TURN: Mutex<()> = Mutex::new(());

/// Whether these programs are built beside natlab; says so where not.
pub(crate) fn built(names: &[&str]) -> bool {
    let program = Path::new(env!("CARGO_BIN_EXE_natlab"));
    for name in names {
        let binary = program.with_file_name(name);
        // A program that is not written yet prints nothing.
        let built =
            Command::new(&binary).arg("--help").output().is_ok_and(|output| !output.stdout.is_empty());
        if !built {
            eprintln!("SKIPPED: {} is not built", binary.display());
            return false;
        }
    }
    true
}

/// Runs a pair; `peer` is what is added to the players' command line.
pub(crate) fn run(natlab: &[&str], peer: &[&str]) -> Option<Value> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !built(&["lobby_server", "peer"]) {
        return None;
    }
    let command = "peer {role} --lobby {lobby} --room {room} --server-key {key} --json".split(' ');
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_natlab"))
        .args(["run", "--json", "--delay-ms", &DELAY_MS.to_string(), "--time-limit", "60"])
        .args(natlab)
        .arg("--")
        .args(command)
        .args(peer)
        .output()
        .expect("natlab runs");
    let error = String::from_utf8_lossy(&stderr);
    if status.code() == Some(NOT_HERE) {
        eprintln!("SKIPPED: {error}");
        return None;
    }
    Some(serde_json::from_slice(&stdout).unwrap_or_else(|bad| panic!("{bad}: {error}")))
}

/// All events of this name.
pub(crate) fn events<'a>(report: &'a Value, role: &str, name: &str) -> Vec<&'a Value> {
    let events = report["events"][role].as_array().expect("events");
    events.iter().filter(|event| event["event"] == name).collect()
}

/// The first event of this name, or null.
pub(crate) fn event<'a>(report: &'a Value, role: &str, name: &str) -> &'a Value {
    events(report, role, name).first().copied().unwrap_or(&Value::Null)
}

/// What the router counted of a side.
pub(crate) fn counted(report: &Value, side: &str, what: &str) -> u64 {
    report["links"][side][what].as_u64().expect("a count")
}

/// Side and role of both players.
pub(crate) const PLAYERS: [(&str, &str); 2] = [("left", "host"), ("right", "join")];
