//! What must hold in every world: random networks, random faults.

#![allow(clippy::unwrap_used)]

mod worlds;

use std::time::Duration;

use natlab::nat::{NatConfig, NatSpec};
use natlab::oracle::{Cause, Outlook, Relation};
use natlab::scenario::{PairSettings, PairWorld};
use traversal_core::failure::FailureReason;
use traversal_core::{Caps, PathKind, RelayPolicy};

use worlds::{any_world, check_caps, check_destinations, watch};

fn chain(spec: &str) -> Vec<NatConfig> {
    spec.parse::<NatSpec>().unwrap().chain
}

#[test]
fn random_worlds() {
    let (mut possible, mut met) = (0, 0);
    for seed in 0..400 {
        let settings = any_world(seed);
        let mut pair = PairWorld::new(settings);
        let watched = watch(&mut pair);
        let report = pair.join();
        let told = format!("seed {seed}: {:?}", report.cause);
        let refused = !pair.player(pair.right).refusals.is_empty();

        // Every attempt ends in connected or failed-with-reason by its deadline.
        assert!(!report.ready || report.is_settled() || refused, "no outcome: {told}");

        // Connected means that both directions carried authenticated data.
        if report.direct {
            assert_eq!(watched.borrow().arrived.len(), 2, "{told}");
        }
        if report.left.path.is_some() && report.right.path.is_some() {
            assert!(report.played, "paths that do not carry the game: {told}");
        }

        // What the oracle calls impossible is not direct.
        if let Outlook::Impossible(_) = report.outlook {
            assert!(!report.direct, "{told}: {:?}", pair.settings());
        }
        if report.outlook == Outlook::Direct && report.ready {
            possible += 1;
            met += u32::from(report.direct);
        }
        for host in [pair.left, pair.right] {
            check_caps(&pair, host, 1, &told);
        }
        check_destinations(&pair, &watched, report.ready, &told);
    }
    // What it calls possible mostly comes about, even with quotas of 40 ports, a quarter of the packets lost on the way,
    // and counters in steps of five among 50 foreign ports a second.
    assert!(possible > 250 && met * 100 >= possible * 88, "{met} of {possible} possible ones");
}

/// What the agent holds, in words: sessions, rooms, events, paths.
fn everything_known(pair: &PairWorld, host: natlab::world::HostId) -> String {
    format!("{:?}", pair.player(host))
}

#[test]
fn nothing_of_a_player_reaches_another_before_the_join_is_allowed() {
    let mut prepared = 0;
    for seed in 0..12 {
        let mut settings = any_world(seed);
        settings.relation = Relation::Apart;
        // The host has to say yes, and does not for a while.
        settings.auto_allow = false;
        let mut pair = PairWorld::new(settings);
        let watched = watch(&mut pair);
        if !pair.prepare() {
            continue;
        }
        prepared += 1;
        // It looks at the list of rooms, and asks.
        let (left, right) = (pair.left, pair.right);
        pair.world.act(left, |node, _| {
            // Nobody answers for it: the question stays open.
            node.player_mut().unwrap().silent = true;
        });
        pair.act(right, |player, now| player.command(now, traversal_core::Command::ListRooms));
        pair.request();
        let end = pair.world.now() + Duration::from_secs(4);
        pair.world.run_until(end);
        let asked = pair
            .player(left)
            .events
            .iter()
            .any(|(_, event)| matches!(event, traversal_core::Event::JoinRequest { .. }));
        assert!(asked, "seed {seed}: the host was asked");
        for (host, side, other) in [(left, 1, 2), (right, 2, 1)] {
            let known = everything_known(&pair, host);
            assert!(known.contains(&format!("198.18.{side}.")), "seed {seed}: it knows itself");
            assert!(
                !known.contains(&format!("198.18.{other}.")),
                "seed {seed}: a public address of the other"
            );
            assert!(!known.contains(&format!("192.168.1.{}:", 1 + other)), "seed {seed}: a private one");
            for (_, sender, to) in &watched.borrow().sent {
                let own = to.ip().to_string().starts_with(&format!("198.18.{side}."));
                assert!(*sender != host.0 || own || worlds::is_server(to.ip()), "seed {seed}: {to}");
            }
        }
        assert!(watched.borrow().arrived.is_empty(), "seed {seed}");
    }
    assert!(prepared >= 8, "{prepared} of 12");
}

#[test]
fn a_relay_only_player_sends_nothing_to_the_other_and_gets_nothing_from_it() {
    for (left, right) in [("none", "none"), ("fullcone", "restricted"), ("ps", "as")] {
        for seed in 0..5 {
            let mut settings =
                PairSettings::equal(seed, &chain(left), &chain(right), Duration::from_millis(30));
            settings.config.relay = RelayPolicy::Only;
            let mut pair = PairWorld::new(settings);
            let report = pair.join();
            assert!(!report.direct);
            let requested = pair.requested();
            for host in [pair.left, pair.right] {
                let stats = pair.world.stats(host);
                assert!(stats.first_from_player.is_none_or(|at| at < requested), "{left} - {right}");
            }
        }
    }
}

#[test]
fn the_reason_names_the_cause() {
    for (left, right, cause, reason) in [
        ("psrandom", "psrandom", Cause::RandomOnBothSides, FailureReason::RandomPortsOnBothSides),
        ("psrandom", "ps", Cause::RandomAgainstSymmetric, FailureReason::RandomPortsAgainstSymmetric),
        ("ps", "psrandom", Cause::RandomAgainstSymmetric, FailureReason::RandomPortsAgainstSymmetric),
    ] {
        for seed in 0..3 {
            let mut settings =
                PairSettings::equal(seed, &chain(left), &chain(right), Duration::from_millis(30));
            settings.config.relay = RelayPolicy::Never;
            let report = PairWorld::new(settings).join();
            assert_eq!(report.outlook, Outlook::Impossible(cause));
            assert_eq!(report.left.failure, Some(reason), "{left} - {right}, seed {seed}");
            assert_eq!(report.right.failure, Some(reason), "{left} - {right}, seed {seed}");
        }
    }
}

#[test]
fn small_caps_hold() {
    let caps = Caps {
        datagrams_per_second: 40,
        datagrams_per_attempt: 100,
        targets_per_attempt: 20,
        sockets_per_attempt: 4,
        ..Caps::default()
    };
    for (left, right) in
        [("ps,cross=20", "ps,cross=20"), ("psrandom", "portrestricted"), ("psrandom", "psrandom")]
    {
        for seed in 0..5 {
            let mut settings =
                PairSettings::equal(seed, &chain(left), &chain(right), Duration::from_millis(30));
            settings.config.caps = caps;
            settings.config.relay = RelayPolicy::Never;
            let report = PairWorld::new(settings).join();
            for side in [&report.left, &report.right] {
                // The classification's hairpin test goes to this side's own external addresses, no part of an attempt.
                let hairpin = 2;
                assert!(side.targets <= 20 + hairpin, "{left} - {right}: {} targets", side.targets);
                if !report.direct {
                    assert!(side.packets <= 100, "{left} - {right}: {} datagrams", side.packets);
                    assert!(
                        side.busiest_second <= 40,
                        "{left} - {right}: {} in a second",
                        side.busiest_second
                    );
                }
            }
            assert!(report.left.path != Some(PathKind::Relay));
        }
    }
}
