//! What the shipped lobby server stands behind, and what its players are told of that.

use std::fs;

use serde_json::Value;

use crate::{PLAYERS, event, events, run};

/// Returns all that the two players and the server said.
fn said(report: &Value) -> (String, String) {
    let log = fs::read_to_string(format!("{}/lobby.err", report["log_dir"].as_str().expect("a directory")));
    (report["events"].to_string(), log.expect("the server's log"))
}

#[test]
fn behind_a_proxy_nobody_is_called_blocked_and_the_server_says_what_is_wrong() {
    for (left, right) in [("none", "portrestricted"), ("psrandom", "psrandom")] {
        let nats = ["--left", left, "--right", right, "--lobby-behind", "proxy"];
        let Some(report) = run(&nats, &["--for", "14", "--expect-relay"]) else { return };
        assert_eq!(report["ok"], true, "{report}");
        for (_, role) in PLAYERS {
            let summary = event(&report, role, "summary");
            assert!(summary["received"].as_u64() > Some(50), "{report}");
            assert!(
                events(&report, role, "relayed").iter().all(|told| told["reason"] == "addresses-hidden"),
                "{report}"
            );
            assert!(!events(&report, role, "relayed").is_empty(), "{report}");
        }
        let (players, server) = said(&report);
        for wrong in [
            "udp blocked",
            "UDP does not get",
            "udp-blocked",
            "one router",
            "no-hairpin",
            "symmetric",
            "random-ports",
        ] {
            assert!(!players.contains(wrong), "{wrong}: {players}");
        }
        assert_eq!(server.matches("come from 172.17.0.1").count(), 1, "{server}");
        assert!(server.contains("--network host"), "{server}");
    }
}

#[test]
fn behind_a_clouds_nat_that_nobody_told_the_server_of_nats_are_found_and_paths_direct() {
    let nats = ["--left", "portrestricted", "--right", "psrandom", "--lobby-behind", "nat", "--after", "nat"];
    let Some(report) = run(&nats, &["--for", "3"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    // One address: the two kinds of filters and of symmetric NATs are not told apart, but ports are.
    let allocation = |role: &str| event(&report, role, "nat")["allocation"].clone();
    assert_eq!(
        [allocation("host"), allocation("join")],
        ["preserving", "random"].map(Value::from),
        "{report}"
    );
    let (_, server) = said(&report);
    assert!(server.contains("--public-address") && !server.contains("WARN"), "{server}");

    let nats = ["--left", "portrestricted", "--right", "ps", "--lobby-behind", "nat"];
    let Some(report) = run(&nats, &["--for", "3"]) else { return };
    assert_eq!(report["path"], "direct", "{report}");
}
