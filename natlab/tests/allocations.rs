//! Counters among much foreign traffic and with long steps, and NATs that keep ports per destination: what is told of
//! them, and that players behind them are joined.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::matrix::{self, MatrixSettings};
use natlab::nat::NatSpec;
use natlab::scenario::{Draw, JoinMoment, PairWorld, PairWorldSettings};
use traversal_core::RelayPolicy;
use traversal_core::config::Detect;
use traversal_core::nat::{MappingBehavior, NatProfile, PortAllocation};

fn spec(text: &str) -> NatSpec {
    text.parse().unwrap()
}

/// Joins with a port-restricted cone without the relay, in tidy worlds (10 % loss, 300 ms); tells how many of `seeds`
/// for each NAT were not direct.
fn failed(nats: Vec<NatSpec>, join: JoinMoment, (first_seed, seeds): (u64, u64)) -> Vec<String> {
    let mut draw = Draw { join: Some(join), ..Draw::tidy() };
    draw.config.relay = RelayPolicy::Never;
    let right = vec![spec("portrestricted")];
    let settings = MatrixSettings { left: nats, right, seeds, first_seed, draw, threads: 0 };
    let cells = matrix::run(&settings, |_| {}).cells;
    let short = cells.iter().filter(|cell| cell.direct < cell.runs);
    short
        .flat_map(|cell| {
            cell.failed_seeds.iter().map(|seed| format!("{}, {seed:?}: {:?}", cell.left, cell.causes))
        })
        .collect()
}

#[test]
fn a_counter_among_600_to_1000_foreign_ports_a_second_meets_a_cone() {
    for join in [JoinMoment::BothKnown, JoinMoment::AtOnce] {
        let nats = vec![spec("ps,cross=600"), spec("ps,cross=1000")];
        let failed = failed(nats, join, (1, 50));
        // 99 % of 100.
        assert!(failed.len() <= 1, "{join:?}: {failed:#?}");
    }
}

#[test]
fn a_counter_by_every_step_from_minus_64_to_64_meets_a_cone() {
    for join in [JoinMoment::BothKnown, JoinMoment::AtOnce] {
        let steps = (-64..=64).filter(|step| *step != 0);
        let nats = steps.map(|step| spec(&format!("ps,ports=sequential:{step},cross=20"))).collect();
        let failed = failed(nats, join, (1, 3));
        assert!(failed.is_empty(), "{join:?}: {failed:#?}");
    }
}

fn lossy(loss: f64, reorder: f64) -> Link {
    let delay = Duration::from_millis(20);
    // Two links make a leg.
    let loss = 1.0 - (1.0 - loss).sqrt();
    Link::both(Way { delay, jitter: delay / 4, loss, reorder, ..Way::default() })
}

/// Returns the profile of a player behind this NAT, after a login, with this share of packets lost and 1 % out of
/// order.
fn measured(seed: u64, nat: &str, loss: f64, detect: Detect) -> NatProfile {
    let mut settings = PairWorldSettings::equal(seed, &spec(nat).chain, &spec("none").chain, Duration::ZERO);
    settings.left_link = lossy(loss, 0.01);
    settings.server_link = lossy(loss, 0.01);
    settings.config.detect = detect;
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare(), "{nat}, seed {seed}");
    pair.player(pair.left).nat
}

#[test]
fn m4_m24_step_and_rate_of_a_busy_counter_are_told_under_15_percent_loss() {
    let (mut told, mut near, mut runs) = (0, 0, 0);
    for detect in [Detect::Server, Detect::Peer] {
        // A counter by 64 comes by 1,008 ports only, so fewer than 9 a second may be taken where each lives 120 s; one by
        // 55 comes by all.
        for (step, rate) in [(1, 1000), (16, 30), (-25, 300), (55, 600), (64, 8), (-2, 50)] {
            for seed in 0..10 {
                let nat = format!("ps,ports=sequential:{step},cross={rate}");
                let profile = measured(seed, &nat, 0.15, detect);
                runs += 1;
                told += usize::from(profile.allocation == PortAllocation::Sequential { step });
                // Within three standard deviations of a Poisson count over a second, and a few lost probes' own ports.
                let off = (f64::from(profile.foreign_rate.unwrap_or(-1e9)) - f64::from(rate)).abs();
                near += usize::from(off <= 3.0 * f64::from(rate).sqrt() + 10.0);
            }
        }
    }
    assert!(told >= runs * 97 / 100, "{told} of {runs}");
    assert!(near >= runs * 90 / 100, "{near} of {runs} rates");
}

#[test]
fn m4_a_nat_that_keeps_ports_per_destination_is_known_to_keep_them() {
    for cross in [0, 50, 200] {
        for detect in [Detect::Server, Detect::Peer] {
            for seed in 0..5 {
                let nat = format!("ps,ports=preserving,cross={cross}");
                let profile = measured(seed, &nat, 0.05, detect);
                assert_eq!(profile.allocation, PortAllocation::Preserving, "{nat}, seed {seed}, {detect:?}");
                assert_eq!(profile.mapping, MappingBehavior::AddressAndPortDependent, "{nat}, seed {seed}");
            }
        }
    }
}

#[test]
fn m4_ports_without_a_pattern_are_never_taken_for_a_counter() {
    for nat in ["psrandom", "psrandom,cross=500", "ps,ports=block:512", "ps,ports=block:4032"] {
        for seed in 0..20 {
            let told = measured(seed, nat, 0.15, Detect::Server).allocation;
            assert!(!matches!(told, PortAllocation::Sequential { .. }), "{nat}, seed {seed}: {told:?}");
        }
    }
}
