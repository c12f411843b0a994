//! Relay and direct path of the shipped programs, as the router in the middle sees them.

use crate::{PLAYERS, counted, event, events, run};

#[test]
fn relay_only_never_sends_anything_to_another_player() {
    for (left, right) in [("none", "none"), ("portrestricted", "kernel"), ("psrandom", "ps")] {
        let peer = ["--for", "2", "--relay", "only", "--expect-relay"];
        let Some(report) = run(&["--left", left, "--right", right], &peer) else { return };
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["path"], "relay", "{report}");
        for (side, role) in PLAYERS {
            // Not one packet of any protocol, at the cable of the player's own machine, whatever its TTL.
            assert_eq!(counted(&report, side, "to_players"), 0, "{report}");
            assert!(counted(&report, side, "relayed") > 40, "{report}");
            assert!(events(&report, role, "path").iter().all(|path| path["path"] == "relay"), "{report}");
        }
        // Nor does either learn the other's address.
        let told = report["events"].to_string();
        let (host, join) = told.split_once("\"join\":").expect("both");
        assert!(!host.contains("198.18.2.") && !join.contains("198.18.1."), "{told}");
    }
}

#[test]
fn full_slices_of_renet_pass_the_relay() {
    // Ten slices of 1,200 bytes each, and no fragment of IP passes the laboratory.
    let peer = ["--for", "3", "--relay", "only", "--expect-relay", "--size", "12000", "--rate", "5"];
    let Some(report) = run(&["--left", "portrestricted", "--right", "ps"], &peer) else { return };
    assert_eq!(report["ok"], true, "{report}");
    for (_, role) in PLAYERS {
        let summary = event(&report, role, "summary");
        assert_eq!(summary["reliable_in_order"], true, "{report}");
        assert!(summary["received"].as_u64() > Some(20), "{report}");
    }
}

#[test]
fn relay_never_never_sends_anything_over_the_relay() {
    for (left, right) in [("portrestricted", "fullcone"), ("psrandom", "psrandom")] {
        let peer = ["--for", "2", "--relay", "never", "--deadline", "8"];
        let Some(report) = run(&["--left", left, "--right", right], &peer) else { return };
        assert_eq!(report["ok"], left != "psrandom", "{report}");
        for (side, role) in PLAYERS {
            assert_eq!(counted(&report, side, "relayed"), 0, "{report}");
            assert!(counted(&report, side, "to_players") > 0, "{report}");
            assert!(events(&report, role, "path").iter().all(|path| path["path"] == "direct"), "{report}");
        }
        assert_eq!(counted(&report, "lobby", "relayed"), 0, "{report}");
    }
}

#[test]
fn a_pair_without_a_direct_path_plays_over_the_relay() {
    let Some(report) = run(&["--left", "psrandom", "--right", "psrandom"], &["--for", "1", "--expect-relay"])
    else {
        return;
    };
    assert_eq!(report["ok"], true, "{report}");
    // And --expect-relay is no empty word.
    let Some(report) = run(&["--left", "none", "--right", "none"], &["--for", "2", "--expect-relay"]) else {
        return;
    };
    assert_eq!(report["ok"], false, "{report}");
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("not the relay")), "{report}");
}

#[test]
fn when_the_direct_path_dies_silently_the_game_goes_on_over_the_relay() {
    let nats = ["--left", "portrestricted", "--right", "fullcone", "--cut-direct", "4"];
    let Some(report) = run(&nats, &["--for", "12", "--rate", "60"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    for (side, role) in PLAYERS {
        let paths: Vec<&str> =
            events(&report, role, "path").iter().filter_map(|path| path["path"].as_str()).collect();
        let direct = paths.iter().position(|path| *path == "direct").expect("a direct path");
        assert_eq!(paths.last(), Some(&"relay"), "{paths:?}");
        assert!(direct + 1 < paths.len(), "{paths:?}");
        assert!(counted(&report, side, "cut") > 0, "{report}");
        assert!(events(&report, role, "disconnected").is_empty(), "{report}");
        let summary = event(&report, role, "summary");
        assert_eq!(summary["path"], "relay", "{report}");
        assert_eq!(summary["reliable_in_order"], true, "{report}");
        // Half of the run came after the cut.
        let (sent, received) = (summary["sent"].as_f64().expect("sent"), summary["received"].as_f64());
        assert!(received > Some(sent * 0.75), "{summary}");
    }
}

/// A game's stream survives the death of the direct path: all of the reliable channel arrives, in order, both ways.
#[test]
fn the_games_reliable_stream_survives_the_death_of_the_direct_path_whole() {
    let nats = ["--left", "portrestricted", "--right", "fullcone", "--cut-direct", "3"];
    let peer = ["--for", "9", "--rate", "60", "--reliable-rate", "20", "--complete"];
    let Some(report) = run(&nats, &peer) else { return };
    assert_eq!(report["ok"], true, "{report}");
    let [host, join] = PLAYERS.map(|(_, role)| event(&report, role, "summary"));
    for ((side, role), (own, other)) in PLAYERS.into_iter().zip([(host, join), (join, host)]) {
        assert!(counted(&report, side, "cut") > 0, "the direct way was in use: {report}");
        assert_eq!(own["path"], "relay", "{report}");
        assert!(events(&report, role, "disconnected").is_empty(), "{report}");
        assert_eq!(own["reliable_in_order"], true, "{report}");
        // Neither lost nor doubled.
        assert_eq!(own["reliable_received"], other["reliable_sent"], "{report}");
        let reliable = own["reliable_sent"].as_u64().expect("a count");
        let all = own["sent"].as_u64().expect("a count");
        // A frame that comes late sends less, so only what a machine under any load does is asked for.
        assert!(reliable > 20 && all > 3 * reliable, "both channels were busy: {own}");
    }
}

#[test]
fn after_an_interruption_the_direct_path_comes_back() {
    let nats = ["--left", "portrestricted", "--right", "fullcone", "--cut-direct", "4:6"];
    let Some(report) = run(&nats, &["--for", "30", "--rate", "30"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    for (_, role) in PLAYERS {
        let paths: Vec<&str> =
            events(&report, role, "path").iter().filter_map(|path| path["path"].as_str()).collect();
        let last: Vec<&str> = paths.iter().rev().take(3).rev().copied().collect();
        assert_eq!(last, ["direct", "relay", "direct"], "{paths:?}");
        assert_eq!(event(&report, role, "summary")["reliable_in_order"], true, "{report}");
    }
}

/// Sends long reliable messages between real programs, where one of them can only send or receive so much.
fn plays_at(left: &str, right: &str, peer: &[&str]) -> Option<serde_json::Value> {
    let peer = [&["--for", "5", "--size", "4000", "--rate", "5"], peer].concat();
    let report = run(&["--left", left, "--right", right], &peer)?;
    assert_eq!(report["ok"], true, "{report}");
    for (_, role) in PLAYERS {
        let summary = event(&report, role, "summary");
        assert_eq!(summary["reliable_in_order"], true, "{report}");
        assert!(summary["received"].as_u64() >= Some(15), "{report}");
    }
    Some(report)
}

#[test]
fn long_messages_pass_the_relay_from_behind_1280_bytes() {
    for side in ["psrandom+mtu=1280", "psrandom+mtu=1280:silent", "psrandom+mtu=1280:own"] {
        for (left, right) in [("psrandom", side), (side, "psrandom")] {
            if plays_at(left, right, &["--relay", "only"]).is_none() {
                return;
            }
        }
    }
}

#[test]
fn long_messages_pass_direct_paths_of_1270_bytes() {
    for side in ["portrestricted+mtu=1270", "portrestricted+mtu=1270:silent", "portrestricted+mtu=1270:own"] {
        for (left, right) in [("portrestricted", side), (side, side)] {
            let Some(report) = plays_at(left, right, &["--relay", "never"]) else { return };
            if side.ends_with(":own") {
                // The system refused probes, and the laboratory saw no long packet of that side's.
                assert!(report["links"]["right"]["dropped"]["too-long"].is_null(), "{report}");
            }
        }
    }
}
