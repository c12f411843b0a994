//! The second address as another machine's: two lobby servers with one address each, linked.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::nat::{NatConfig, NatSpec, Proto};
use natlab::scenario::{Draw, JoinMoment, PairWorld, PairWorldSettings, Worlds};
use traversal_core::config::Detect;
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatKind, NatProfile};
use traversal_core::{Command, MappingProtocol, PortMapping, PortMappingState};

fn chain(spec: &str) -> Vec<NatConfig> {
    spec.parse::<NatSpec>().unwrap().chain
}

fn settings(seed: u64, left: &str, right: &str) -> PairWorldSettings {
    let equal = PairWorldSettings::equal(seed, &chain(left), &chain(right), Duration::from_millis(40));
    PairWorldSettings { two_machines: true, ..equal }
}

fn run(pair: &mut PairWorld, seconds: u64) {
    let end = pair.world.now() + Duration::from_secs(seconds);
    pair.world.run_until(end);
}

fn profiles(settings: PairWorldSettings) -> [NatProfile; 2] {
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare());
    [pair.left, pair.right].map(|host| pair.player(host).nat)
}

/// Returns what must be the same, whatever the drawn ports: kind, mapping, filter, allocation and how sure it is.
fn told(profile: NatProfile) -> (NatKind, MappingBehavior, FilteringBehavior, Confidence, Option<bool>) {
    (profile.kind(), profile.mapping, profile.filtering, profile.confidence, profile.translated)
}

const NATS: [(&str, NatKind); 8] = [
    ("none", NatKind::None),
    ("fullcone", NatKind::FullCone),
    ("restricted", NatKind::RestrictedCone),
    ("portrestricted", NatKind::PortRestrictedCone),
    ("as", NatKind::AddressSensitiveSymmetric),
    ("ps", NatKind::PortSensitiveSymmetric),
    ("psrandom", NatKind::PortSensitiveSymmetric),
    ("cgn", NatKind::PortRestrictedCone),
];

#[test]
fn two_machines_with_one_address_each_classify_every_kind_in_full() {
    for (index, (nat, _)) in NATS.into_iter().enumerate() {
        for detect in [Detect::Server, Detect::Peer] {
            let mut two = settings(100 + index as u64, nat, "none");
            two.config.detect = detect;
            let one = PairWorldSettings { two_machines: false, ..two.clone() };
            let (two, one) = (profiles(two), profiles(one));
            assert_eq!(told(two[0]), told(one[0]), "{nat}");
            assert_eq!(two[0].confidence, Confidence::Full, "{nat}");
            assert_ne!(two[0].kind(), NatKind::Unknown, "{nat}");
        }
    }
}

/// Without loss both see the same, in the networks that are drawn for the matrix, with their delays.
#[test]
fn in_drawn_worlds_the_classification_is_that_of_one_machine_with_two_addresses() {
    let draw = Draw { worlds: Worlds::Internet, ..Draw::default() };
    let mut full = 0;
    for seed in 0..24 {
        let names = NATS.map(|(name, _)| name);
        let spec = |index: u64| names[(index % names.len() as u64) as usize].parse::<NatSpec>().unwrap();
        let mut one = draw.settings(seed, &spec(seed), &spec(seed / 3 + 1));
        for link in [&mut one.left_link, &mut one.right_link, &mut one.server_link] {
            for way in [&mut link.up, &mut link.down] {
                *way = Way { delay: way.delay, ..Way::default() };
            }
        }
        one.two_addresses = true;
        one.two_machines = false;
        one.join = JoinMoment::BothKnown;
        let two = PairWorldSettings { two_machines: true, ..one.clone() };
        let (one, two) = (profiles(one), profiles(two));
        for (one, two) in one.into_iter().zip(two) {
            assert_eq!(told(two), told(one), "seed {seed}");
            full += u32::from(two.confidence == Confidence::Full);
        }
    }
    assert_eq!(full, 48);
}

#[test]
fn with_loss_on_every_line_the_kind_is_still_found() {
    let way = Way { delay: Duration::from_millis(20), loss: 0.03, ..Way::default() };
    let mut right = 0;
    for seed in 0..20 {
        let (nat, kind) = NATS[1 + seed % 5];
        let mut settings = settings(300 + seed as u64, nat, "none");
        for link in [&mut settings.left_link, &mut settings.right_link, &mut settings.server_link] {
            *link = Link::both(way.clone());
        }
        right += u32::from(profiles(settings)[0].kind() == kind);
    }
    assert!(right >= 19, "{right} of 20");
}

#[test]
fn players_behind_nats_meet_over_two_machines() {
    for (index, (left, right)) in
        [("portrestricted", "as"), ("restricted", "ps"), ("cgn", "portrestricted")].into_iter().enumerate()
    {
        let report = PairWorld::new(settings(400 + index as u64, left, right)).join();
        assert!(report.direct, "{left} and {right}: {report:?}");
    }
}

/// The neighbour is killed in the middle of a classification, of a search, and while nothing happens: every join gets its
/// path, and whoever logs in then is classified as with one address.
#[test]
fn no_join_is_lost_with_the_neighbour() {
    for (index, (left, right)) in
        [("portrestricted", "portrestricted"), ("portrestricted", "as"), ("fullcone", "ps")]
            .into_iter()
            .enumerate()
    {
        for after_ms in [60, 200, 600, 2000, 6000] {
            let mut settings = settings(500 + index as u64, left, right);
            settings.join = JoinMoment::AtOnce;
            let mut pair = PairWorld::new(settings);
            // Both are logged in, and find out about their NATs while they join.
            assert!(pair.prepare(), "{left} and {right}");
            pair.request();
            let dies = pair.world.now() + Duration::from_millis(after_ms);
            pair.world.run_until(dies);
            pair.stop_neighbour();
            let met = pair.wait(Duration::from_secs(20), PairWorld::is_direct_and_played);
            assert!(met, "{left} and {right}, {after_ms} ms");
            assert!(pair.player(pair.left).is_online() && pair.player(pair.right).is_online());
        }
    }
}

#[test]
fn who_logs_in_without_the_neighbour_is_classified_as_with_one_address_until_it_is_back() {
    let mut pair = PairWorld::new(settings(600, "portrestricted", "portrestricted"));
    pair.stop_neighbour();
    run(&mut pair, 5);
    assert!(pair.prepare());
    let reduced = pair.player(pair.left).nat;
    assert_eq!(
        (reduced.confidence, reduced.mapping),
        (Confidence::Reduced, MappingBehavior::NotPortSensitive)
    );
    pair.start_neighbour(7);
    run(&mut pair, 3);
    // The first server restarts: all log in anew.
    pair.stop_server();
    pair.start_server(8);
    run(&mut pair, 60);
    let full = pair.player(pair.left).nat;
    assert_eq!((full.confidence, full.kind()), (Confidence::Full, NatKind::PortRestrictedCone));
}

#[test]
fn a_neighbour_that_comes_in_the_middle_of_a_classification_makes_nobody_surer_than_it_can_be() {
    for after_ms in [0, 100, 400, 1000] {
        let mut settings = settings(700, "portrestricted", "ps");
        settings.join = JoinMoment::AtOnce;
        let mut pair = PairWorld::new(settings);
        pair.stop_neighbour();
        run(&mut pair, 5);
        assert!(pair.prepare());
        let comes = pair.world.now() + Duration::from_millis(after_ms);
        pair.world.run_until(comes);
        pair.start_neighbour(9);
        run(&mut pair, 10);
        for host in [pair.left, pair.right] {
            let nat = pair.player(host).nat;
            assert_eq!(nat.confidence, Confidence::Reduced, "{after_ms} ms: {nat:?}");
        }
    }
}

/// Returns how it stands with the port that the left player's router is said to forward, which is the one that the server sees
/// it at, once it has logged in at these servers one after the other.
fn forwarded(logins: &[&[SocketAddr]], forwards: bool, seconds: u64) -> PortMappingState {
    let mut pair = PairWorld::new(settings(800, "restricted", "none"));
    let left = pair.left;
    for names in logins {
        let names = names.to_vec();
        pair.act(left, |player, now| player.command(now, Command::Connect(names)));
        assert!(pair.wait(Duration::from_secs(5), |pair| pair.player(left).is_online()));
        run(&mut pair, 5);
    }
    let local = pair.world.local(left, 0).unwrap();
    if forwards {
        let nat = pair.left_nats[0];
        pair.world.nat_mut(nat).forward_port(Proto::Udp, local.port(), local);
    }
    let mapping =
        PortMapping { protocol: MappingProtocol::Upnp, external_ip: None, external_port: local.port() };
    pair.act(left, |player, now| player.command(now, Command::PortMapping(Ok(mapping))));
    run(&mut pair, seconds);
    pair.player(left).port_mapping()
}

/// The trap of a neighbour: the NAT lets in what comes from where the game's socket has sent to, forwarded or not.
#[test]
fn a_neighbour_that_the_player_has_sent_to_proves_no_forwarded_port() {
    let [a, b] = [0, 1].map(|machine| natlab::lobby::sockets_of(machine)[0]);
    let both = &[a, b][..];
    // Both names are known, and one of them was asked.
    assert!(matches!(forwarded(&[both], true, 10), PortMappingState::Verified { .. }));
    assert!(matches!(forwarded(&[both], false, 10), PortMappingState::Unreachable(_)));
    // It was logged in at the neighbour a moment ago.
    for forwards in [true, false] {
        assert!(
            matches!(forwarded(&[&[b], &[a]], forwards, 250), PortMappingState::Unproven(_)),
            "{forwards}"
        );
    }
    // Then the NAT has forgotten it, and the port is tried.
    assert!(matches!(forwarded(&[&[b], &[a]], true, 320), PortMappingState::Verified { .. }));
}
