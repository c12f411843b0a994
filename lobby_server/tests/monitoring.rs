//! The dashboard for Grafana and the alert rules name nothing that the server does not tell.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(target_os = "linux")] // other systems tell less of a process and its sockets

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use test_support::server::{Running, get};

const GRAFANA: &str = include_str!("../dist/grafana.json");
const ALERTS: &str = include_str!("../dist/alerts.yml");

/// Returns what looks like a name of ours in this text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = |word: &&str| word.starts_with("lobby_") || word.starts_with("process_");
    // The program's own name stands there, too.
    words.filter(ours).filter(|word| !word.starts_with("lobby_server")).map(String::from).collect()
}

/// Gives the queries of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(GRAFANA).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_string()).collect()
}

/// Gives the names of series that a server tells which has just begun, with a budget for a game.
fn told() -> BTreeSet<String> {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("lobby.toml");
    std::fs::write(&config, "[relay_games_gigabytes_per_day]\nmine = 1\n").unwrap();
    let flags = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let server = Running::start(directory.path(), &flags);
    let begin = Instant::now();
    loop {
        let metrics = get(server.http(), "/metrics");
        // What is seen of the process and by the kernel comes after a second.
        if metrics.contains("\nprocess_open_fds ") {
            let (_, body) = metrics.split_once("\r\n\r\n").unwrap();
            let name = |line: &str| line.split(['{', ' ']).next().map(String::from);
            let families = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(name);
            let series = body.lines().filter(|line| !line.starts_with('#')).filter_map(name);
            return series.chain(families).collect();
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{metrics}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let queries = queries();
    assert!(queries.len() > 20, "{}", queries.len());
    let wanted: BTreeSet<String> =
        queries.iter().flat_map(|query| names(query)).chain(names(ALERTS)).collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    let told = told();
    // Names of a setting and of the label of a limit are no metrics.
    let unknown: Vec<&String> = wanted.iter().filter(|name| !told.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} of {told:?}");
}

/// Prometheus' own tool, where it is installed (Debian: in the package `prometheus`).
#[test]
fn promtool_takes_the_rules_and_the_queries() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("SKIPPED: there is no promtool");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yml");
    let dashboard: String = queries()
        .iter()
        .enumerate()
        .map(|(number, query)| {
            let query = query.replace("$job", ".*");
            format!(
                "  - record: dashboard:query{number}\n    expr: {}\n",
                serde_json::to_string(&query).unwrap()
            )
        })
        .collect();
    for text in [ALERTS.to_string(), format!("groups:\n- name: dashboard\n  rules:\n{dashboard}")] {
        std::fs::write(&rules, text).unwrap();
        let output = Command::new("promtool").args(["check", "rules"]).arg(&rules).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
