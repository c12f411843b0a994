//! What must hold in every world: random networks, random faults.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::lobby;
use natlab::nat::{Allocation, Fallback, Filtering, Kind, Mapping, NatConfig, NatSpec};
use natlab::oracle::{Cause, Outlook, Relation};
use natlab::scenario::{JoinMoment, PairSettings, PairWorld};
use natlab::world::{Fate, Packet};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::failure::FailureReason;
use traversal_core::{Caps, PathKind, RelayPolicy};

fn chain(spec: &str) -> Vec<NatConfig> {
    spec.parse::<NatSpec>().unwrap().chain
}

fn any<T: Copy>(rng: &mut ChaCha8Rng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

fn any_nat(rng: &mut ChaCha8Rng) -> NatConfig {
    NatConfig {
        kind: any(rng, &[Kind::Nat, Kind::Nat, Kind::Nat, Kind::Nat, Kind::Firewall, Kind::Router]),
        mapping: any(
            rng,
            &[Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent],
        ),
        filtering: any(
            rng,
            &[
                Filtering::EndpointIndependent,
                Filtering::AddressDependent,
                Filtering::AddressAndPortDependent,
            ],
        ),
        allocation: any(
            rng,
            &[
                Allocation::Preserving(Fallback::Random),
                Allocation::Preserving(Fallback::Sequential),
                Allocation::Sequential(1),
                Allocation::Sequential(-2),
                Allocation::Sequential(5),
                Allocation::Random,
                Allocation::RandomInBlock(1024),
            ],
        ),
        parity: rng.random_bool(0.1),
        cross: rng.random_range(0.0..50.0),
        timeout: Duration::from_secs(any(rng, &[20, 30, 120])),
        stream_timeout: Duration::from_secs(any(rng, &[20, 120])),
        inbound_refresh: rng.random(),
        pool: any(rng, &[1, 1, 1, 4]),
        quota: any(rng, &[None, None, None, Some(40), Some(300)]),
        hairpin: rng.random(),
        clash: rng.random_bool(0.2),
        ..NatConfig::default()
    }
}

fn any_link(rng: &mut ChaCha8Rng) -> Link {
    let mut way = || Way {
        delay: Duration::from_secs_f64(rng.random_range(0.001..0.07)),
        jitter: Duration::from_secs_f64(rng.random_range(0.0..0.02)),
        loss: rng.random_range(0.0..0.15),
        reorder: rng.random_range(0.0..0.1),
        duplicate: rng.random_range(0.0..0.1),
        ..Way::default()
    };
    Link { up: way(), down: way() }
}

fn any_world(seed: u64) -> PairSettings {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let depth = any(&mut rng, &[0, 1, 1, 1, 1, 2]);
    let left: Vec<_> = (0..depth).map(|_| any_nat(&mut rng)).collect();
    let depth = any(&mut rng, &[0, 1, 1, 1, 1, 2]);
    let right: Vec<_> = (0..depth).map(|_| any_nat(&mut rng)).collect();
    let mut settings = PairSettings::equal(seed, &left, &right, Duration::ZERO);
    settings.left_link = any_link(&mut rng);
    settings.right_link = any_link(&mut rng);
    settings.server_link = any_link(&mut rng);
    settings.relation =
        any(&mut rng, &[Relation::Apart, Relation::Apart, Relation::Apart, Relation::SameLan]);
    settings.two_addresses = rng.random_bool(0.8);
    settings.join = if rng.random_bool(0.8) { JoinMoment::BothKnown } else { JoinMoment::AtOnce };
    settings.config.relay = any(&mut rng, &[RelayPolicy::Allow, RelayPolicy::Never]);
    settings
}

/// What the world has seen the two players do.
#[derive(Default)]
struct Watched {
    /// Destinations of each host, and when it first sent there.
    sent: Vec<(Duration, usize, SocketAddr)>,
    seen: BTreeSet<(usize, SocketAddr)>,
    /// A datagram that carries a player's public address in the clear and goes to a player.
    arrived_between: [bool; 2],
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(_) => false,
    }
}

#[test]
fn random_worlds() {
    let mut direct = 0;
    for seed in 0..150 {
        let settings = any_world(seed);
        let relation = settings.relation;
        let caps = settings.config.caps;
        let mut pair = PairWorld::new(settings);
        let watched = Rc::new(RefCell::new(Watched::default()));
        let sink = Rc::clone(&watched);
        let players = [pair.left.0, pair.right.0];
        pair.world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| {
            let mut sink = sink.borrow_mut();
            match fate {
                Fate::Sent(host)
                    if players.contains(&host.0) && sink.seen.insert((host.0, packet.header.dst)) =>
                {
                    sink.sent.push((packet.at, host.0, packet.header.dst));
                }
                Fate::Delivered(host) if !lobby::ADDRESSES.contains(&packet.header.src.ip()) => {
                    if let Some(side) = players.iter().position(|player| *player == host.0) {
                        sink.arrived_between[side] = true;
                    }
                }
                _ => {}
            }
        }));
        let report = pair.join();
        let told = format!("seed {seed}: {:?}", report.cause);
        let refused = !pair.player(pair.right).refusals.is_empty();

        // Every attempt ends in connected or failed-with-reason by its deadline.
        assert!(!report.ready || report.is_settled() || refused, "no outcome: {told}");

        // Connected means that both directions carried authenticated data.
        let watched = watched.borrow();
        if report.direct {
            direct += 1;
            assert_eq!(watched.arrived_between, [true, true], "{told}");
        }
        if report.left.path.is_some() && report.right.path.is_some() {
            assert!(report.played, "paths that do not carry the game: {told}");
        }

        // What the oracle calls impossible is not direct.
        if let Outlook::Impossible(_) = report.outlook {
            assert!(!report.direct, "{told}");
        }

        // Caps, as the world counts them; pings and the game's own greetings come on top.
        for side in [&report.left, &report.right] {
            let extra = 60;
            assert!(
                side.busiest_second <= u64::from(caps.datagrams_per_second) + extra,
                "{told}: {} in a second, {} in all, to {}",
                side.busiest_second,
                side.packets,
                side.targets
            );
            assert!(side.targets <= caps.targets_per_attempt as usize, "{told}: {} targets", side.targets);
        }

        // Destinations: the server, the other player's public addresses, its private ones only on one network.
        let requested = pair.requested();
        for (at, host, to) in &watched.sent {
            if lobby::ADDRESSES.contains(&to.ip()) {
                continue;
            }
            let other_nats = if *host == pair.left.0 { &pair.right_nats } else { &pair.left_nats };
            let other = if *host == pair.left.0 { pair.right } else { pair.left };
            let own = if *host == pair.left.0 { pair.left } else { pair.right };
            let own_nats = if *host == pair.left.0 { &pair.left_nats } else { &pair.right_nats };
            let outermost = |nats: &[natlab::world::NatId], host| {
                nats.iter().rev().find(|nat| pair.world.nat(**nat).config().translates()).map_or_else(
                    || vec![pair.world.local(host, 0).unwrap().ip()],
                    |nat| pair.world.nat(*nat).external().to_vec(),
                )
            };
            let public = outermost(other_nats, other).contains(&to.ip());
            // A hairpin test goes to the own external address.
            let hairpin = outermost(own_nats, own).contains(&to.ip());
            let lan = relation == Relation::SameLan && is_private(to.ip());
            let allowed = report.ready && *at >= requested;
            assert!(hairpin || (allowed && (public || lan)), "seed {seed}: {host} sent to {to} at {at:?}");
        }
    }
    assert!(direct > 75, "only {direct} of 150 were direct");
}

#[test]
fn nothing_of_a_player_reaches_another_before_the_join_is_allowed() {
    for seed in 0..10 {
        let mut settings = any_world(seed);
        settings.relation = Relation::Apart;
        let mut pair = PairWorld::new(settings);
        if !pair.prepare() {
            continue;
        }
        let end = pair.world.now() + Duration::from_secs(60);
        pair.world.run_until(end);
        for host in [pair.left, pair.right] {
            let own: Vec<IpAddr> = [&pair.left_nats, &pair.right_nats]
                .into_iter()
                .flatten()
                .flat_map(|nat| pair.world.nat(*nat).external().to_vec())
                .collect();
            for to in pair.world.stats(host).targets.keys() {
                // Only a hairpin test, which goes to the own address.
                assert!(own.contains(&to.ip()), "seed {seed}: {to}");
            }
            assert!(pair.world.stats(host).first_from_player.is_none() || !pair.left_nats.is_empty());
        }
    }
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
