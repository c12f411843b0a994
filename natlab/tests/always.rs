//! Every pair of NATs plays, at once; what cannot be direct says why. `natlab matrix --set always` runs the whole of it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use natlab::matrix::{self, ALWAYS, Cell, MatrixSettings};
use natlab::nat::NatSpec;
use natlab::oracle::{self, Outlook, Relation};
use natlab::scenario::{Draw, JoinReport, PairWorld, PairWorldSettings};
use traversal_core::failure::{FailureReason, FailureReport, Stage};
use traversal_core::nat::{NatKind, NatProfile};
use traversal_core::{Caps, Event, PathKind, RelayPolicy};

fn specs(names: &[&str]) -> Vec<NatSpec> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Returns those through which UDP gets at all.
fn with_udp() -> Vec<&'static str> {
    ALWAYS.into_iter().filter(|name| *name != "udpblocked").collect()
}

fn run(names: (&[&str], &[&str]), seeds: u64, draw: Draw) -> Vec<Cell> {
    let (left, right) = (specs(names.0), specs(names.1));
    let settings = MatrixSettings { left, right, seeds, first_seed: 1, draw, threads: 0 };
    matrix::run(&settings, |_| {}).cells
}

/// Draws the same delay between any two: the relay is twice as far as the direct way.
fn even() -> Draw {
    Draw { delay: Some(Duration::from_millis(50)), loss: Some(0.0), cross: Some(5.0), ..Draw::tidy() }
}

#[test]
fn every_pair_plays_and_the_first_game_datagram_comes_as_soon_as_it_can() {
    for cell in run((&ALWAYS, &ALWAYS), 3, even()) {
        let pair = format!("{} - {}", cell.left, cell.right);
        assert_eq!(cell.played, cell.runs, "{pair}: {:?}", cell.causes);
        // 2.5 round trips, and half of one more where the first way is the relay: as far as the server's detour is.
        let game = cell.median_game_rtt.unwrap();
        assert!(game <= 3.02, "{pair}: first game datagram after {game} round trips");
        let symmetric = |name: &str| ["as", "ps", "psrandom", "udpblocked"].contains(&name);
        if !symmetric(&cell.left) && !symmetric(&cell.right) {
            assert!(game <= 2.52, "{pair}: first game datagram after {game} round trips");
        }
    }
}

#[test]
fn every_pair_plays_in_drawn_worlds() {
    for cell in run((&ALWAYS, &ALWAYS), 2, Draw::tidy()) {
        assert_eq!(cell.played, cell.runs, "{} - {}: {:?}", cell.left, cell.right, cell.causes);
    }
}

#[test]
fn random_ports_meet_a_cone_within_the_caps() {
    for (left, right) in
        [("psrandom", "portrestricted"), ("portrestricted", "psrandom"), ("psrandom", "firewall")]
    {
        let draw = Draw {
            config: traversal_core::AgentConfig { relay: RelayPolicy::Never, ..Default::default() },
            ..Draw::tidy()
        };
        let cell = &run((&[left], &[right]), 200, draw)[0];
        let pair = format!("{left} - {right}");
        // 98.8 % of 1,000 seeds; eight of 200 would be chance once in some thousand.
        assert!(
            cell.direct * 100 >= cell.runs * 96,
            "{pair}: {} of {}: {:?}",
            cell.direct,
            cell.runs,
            cell.causes
        );
        assert_eq!(cell.methods.keys().collect::<Vec<_>>(), ["birthday"], "{pair}");
        let caps = Caps::default();
        // Both sides together.
        assert!(
            cell.most_packets <= 2 * u64::from(caps.datagrams_per_attempt),
            "{pair}: {}",
            cell.most_packets
        );
        assert!(cell.most_sockets <= 2 * caps.sockets_per_attempt + 2, "{pair}: {}", cell.most_sockets);
    }
    // Their filter does not ask for the port: nothing to be searched.
    for right in ["fullcone", "restricted"] {
        let cell = &run((&["psrandom"], &[right]), 30, Draw::tidy())[0];
        assert_eq!((cell.direct, cell.methods.get("birthday")), (30, None), "psrandom - {right}");
        assert!(cell.most_sockets <= 8 && cell.most_packets < 150, "psrandom - {right}");
    }
}

#[test]
fn random_ports_meet_an_address_sensitive_nat_without_a_search() {
    for (left, right) in [("psrandom", "as"), ("as", "psrandom")] {
        let cell = &run((&[left], &[right]), 40, Draw::tidy())[0];
        assert_eq!(cell.direct, 40, "{left} - {right}: {:?}", cell.causes);
        assert_eq!(cell.methods.get("birthday"), None, "{left} - {right}");
        assert!(cell.most_sockets <= 40, "{left} - {right}: {} sockets", cell.most_sockets);
        assert!(cell.median_direct_rtt.unwrap() < 4.0, "{left} - {right}: {:?}", cell.median_direct_rtt);
    }
}

/// What this side's agent says about the pair.
fn reports(report: &JoinReport) -> Vec<(bool, FailureReport)> {
    let events = report.left.events.iter().chain(&report.right.events);
    events
        .filter_map(|(_, event)| match event {
            Event::PeerFailed { report, .. } => Some((false, report.clone())),
            Event::PeerRelayed { report, .. } => Some((true, report.clone())),
            _ => None,
        })
        .collect()
}

/// Returns the causes that are right for what the oracle says.
fn right_reasons(cause: oracle::Cause) -> &'static [FailureReason] {
    match cause {
        oracle::Cause::RandomOnBothSides => &[FailureReason::RandomPortsOnBothSides],
        oracle::Cause::RandomAgainstSymmetric => &[FailureReason::RandomPortsAgainstSymmetric],
        oracle::Cause::UdpBlocked => &[FailureReason::UdpBlocked],
        _ => &[],
    }
}

#[test]
fn what_cannot_be_direct_says_why_on_both_sides_over_the_relay_and_without_one() {
    let names = with_udp();
    let mut seen: BTreeMap<FailureReason, usize> = BTreeMap::new();
    for left in specs(&names) {
        for right in specs(&names) {
            let Outlook::Impossible(cause) = oracle::outlook(&left.chain, &right.chain, Relation::Apart)
            else {
                continue;
            };
            for relay in [RelayPolicy::Allow, RelayPolicy::Never] {
                let pair = format!("{} - {}, relay {relay:?}", left.name, right.name);
                let mut settings =
                    PairWorldSettings::equal(3, &left.chain, &right.chain, Duration::from_millis(40));
                settings.config.relay = relay;
                let report = PairWorld::new(settings).join();
                let told = reports(&report);
                assert_eq!(told.len(), 2, "{pair}: one on each side: {told:?}");
                for (relayed, told) in told {
                    assert_eq!(relayed, relay == RelayPolicy::Allow, "{pair}");
                    assert!(
                        right_reasons(cause).contains(&told.reason),
                        "{pair}: {:?} for {cause:?}",
                        told.reason
                    );
                    assert_eq!(told.stage, Stage::Punch, "{pair}");
                    let unknown = |nat: &NatProfile| nat.kind() == NatKind::Unknown;
                    assert!(!unknown(&told.own_nat) && !unknown(&told.peer_nat), "{pair}: {told:?}");
                    let text = told.to_string();
                    assert!(text.contains(&told.advice()) && text.contains(". "), "{pair}: {text}");
                    *seen.entry(told.reason).or_default() += 1;
                }
                let kind = (relay == RelayPolicy::Allow).then_some(PathKind::Relay);
                assert_eq!((report.left.path, report.right.path), (kind, kind), "{pair}");
            }
        }
    }
    assert!(seen.len() >= 2, "{seen:?}");
}
