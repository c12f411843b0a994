//! The shipped programs, `lobby_server` and `peer`, behind NATs in network namespaces.

use crate::{DELAY_MS, PLAYERS, counted, event, run};
use serde_json::Value;

fn per_second(report: &Value, side: &str) -> Vec<u64> {
    let seconds = report["links"][side]["sent"]["udp_per_second"].as_array().expect("a list");
    seconds.iter().filter_map(Value::as_u64).collect()
}

/// The first direct packet cannot come earlier than 1.5 round trips after the request, and the joining player knows
/// the path at 2; a debug build on a busy machine gets a second more.
fn plays_direct(left: &str, right: &str) {
    let Some(report) = run(&["--left", left, "--right", right], &["--for", "1", "--relay", "never"]) else {
        return;
    };
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["path"], "direct", "{report}");
    let since = report["since_request_ms"].as_f64().expect("a time");
    assert!((DELAY_MS * 3.0..DELAY_MS * 4.0 + 1000.0).contains(&since), "{since} ms");
    for (side, role) in PLAYERS {
        let summary = event(&report, role, "summary");
        assert_eq!(summary["reliable_in_order"], true, "{report}");
        // The router has seen at least what the game says it sent.
        let counted = report["links"][side]["sent"]["udp"].as_u64();
        assert!(counted >= summary["sent"].as_u64() && summary["sent"].as_u64() > Some(0), "{report}");
    }
}

#[test]
fn kernel_nats_on_both_sides() {
    plays_direct("kernel", "kernel");
}

#[test]
fn a_kernel_nat_against_emulated_symmetric_ones() {
    for (left, right) in [("kernel", "as"), ("as", "kernel"), ("ps", "kernel")] {
        let nats = ["--left", left, "--right", right, "--after", "nat"];
        let Some(report) = run(&nats, &["--for", "3", "--relay", "never"]) else { return };
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["path"], "direct", "{report}");
    }
}

#[test]
fn a_kernel_nat_against_an_emulated_cone() {
    plays_direct("portrestricted", "kernel");
}

#[test]
fn a_kernel_nat_with_random_ports_against_an_emulated_full_cone() {
    plays_direct("kernel:fully-random", "fullcone");
}

#[test]
fn routers_that_accept_what_comes_first() {
    plays_direct("kernel:accept", "kernel:accept");
    plays_direct("linux", "kernel:accept");
}

#[test]
fn a_symmetric_nat_joins_a_host_whose_nat_is_known() {
    for left in ["kernel", "portrestricted"] {
        let nats = ["--left", left, "--right", "ps", "--after", "nat"];
        let Some(report) = run(&nats, &["--for", "3", "--relay", "never"]) else { return };
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["path"], "direct", "{report}");
    }
}

/// Its ports come true only where datagrams leave in the order that the agent gave them, over all of its sockets.
#[test]
fn two_port_sensitive_nats_meet_where_they_predicted() {
    let Some(report) = run(&["--left", "ps", "--right", "ps"], &["--for", "2", "--deadline", "15"]) else {
        return;
    };
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["path"], "direct", "{report}");
    assert_eq!(report["method"], "prediction", "{report}");
}

#[test]
fn two_nats_in_a_row_on_both_sides() {
    plays_direct("portrestricted+cgn", "kernel+fullcone");
}

#[test]
fn forged_datagrams_do_not_disturb_the_game() {
    let nats = ["--left", "kernel", "--right", "fullcone", "--junk", "4"];
    let Some(report) = run(&nats, &["--for", "3", "--relay", "never"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    // Everything forged left a raw socket on a third machine, whose own address nobody ever saw.
    let attacker = counted(&report, "attacker", "udp_endpoints");
    assert!((2..=50).contains(&attacker), "{report}");
    assert_eq!(report["links"]["attacker"]["received"]["udp"], 0, "{report}");
    for (side, role) in PLAYERS {
        let forged = counted(&report, side, "forged");
        assert!(forged > 200, "{report}");
        let summary = event(&report, role, "summary");
        // A replay can overtake nothing here, so all of it is thrown away, and counted, where it reaches the socket.
        let discarded = summary["discarded"].as_u64().expect("a count");
        assert!(discarded > forged / 2, "{discarded} of {forged}");
        let (sent, received) =
            (summary["sent"].as_f64().expect("sent"), summary["received"].as_f64().expect("received"));
        // Nothing forged counts as received, and next to nothing is lost.
        assert!(received <= sent + 10.0 && received >= sent * 0.8, "{summary}");
        assert_eq!(summary["reliable_in_order"], true);
    }
}

#[test]
fn a_hopeless_pair_says_why_and_keeps_its_caps() {
    let nats = ["--left", "kernel:fully-random", "--right", "psrandom"];
    let Some(report) = run(&nats, &["--relay", "never", "--deadline", "12"]) else { return };
    assert_eq!(report["ok"], false);
    assert!(report["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{report}");
    for side in ["left", "right"] {
        // 200 punch datagrams per second (ICE's "well supported" pace), and what goes to the lobby server.
        let most = per_second(&report, side).into_iter().max();
        assert!(most <= Some(300), "{side}: {most:?} datagrams in one second");
    }
}

#[test]
fn a_mapping_that_dies_early_is_kept_alive_while_the_host_waits() {
    // Longer than the NAT's timeout.
    let nats = ["--left", "portrestricted,timeout=8", "--right", "kernel", "--stagger", "20"];
    let Some(report) = run(&nats, &["--for", "1", "--deadline", "40", "--relay", "never"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    let since = report["since_request_ms"].as_f64().expect("a time");
    assert!(since < DELAY_MS * 4.0 + 1000.0, "{since} ms");
}

#[test]
fn once_connected_the_lobby_server_hears_little() {
    let nats = ["--left", "portrestricted", "--right", "kernel"];
    let Some(report) = run(&nats, &["--for", "6", "--relay", "never"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    let heard = report["links"]["lobby"]["received"]["udp_per_second"].as_array().expect("a list");
    // Login, classification and introduction are over after three seconds; the last second has the goodbyes.
    let later: Vec<u64> = heard.iter().skip(3).filter_map(Value::as_u64).collect();
    let (_, idle) = later.split_last().expect("a run of more than three seconds");
    assert!(idle.iter().sum::<u64>() <= 4 * idle.len() as u64, "{heard:?}");
    for side in ["left", "right"] {
        // A packet of acknowledgements per frame of 4 ms, 20 messages a second on two channels, and keepalives.
        let later: Vec<u64> = per_second(&report, side).into_iter().skip(3).collect();
        assert!(later.iter().all(|count| *count <= 250 + 2 * 20 + 10), "{later:?}");
        // Nothing went where nobody is.
        assert_eq!(report["links"][side]["unroutable"], 0, "{report}");
    }
}
