//! What players find out about their NATs, with the shipping agent and server, against what the NATs are.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::nat::{NatConfig, NatSpec};
use natlab::scenario::{JoinMoment, PairWorld, PairWorldSettings};
use traversal_core::config::Detect;
use traversal_core::nat::{
    Confidence, FilteringBehavior, MappingBehavior, NatKind, NatProfile, PortAllocation,
};
use traversal_core::plan::{PlanOptions, plan};
use traversal_core::{Command, Event, NatFacts};

fn chain(spec: &str) -> Vec<NatConfig> {
    spec.parse::<NatSpec>().unwrap().chain
}

fn settings(seed: u64, left: &str, right: &str) -> PairWorldSettings {
    PairWorldSettings::equal(seed, &chain(left), &chain(right), Duration::from_millis(40))
}

/// Returns a world whose two players are logged in and have measured their NATs.
fn measured(settings: PairWorldSettings) -> PairWorld {
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare());
    pair
}

fn run(pair: &mut PairWorld, seconds: u64) {
    let end = pair.world.now() + Duration::from_secs(seconds);
    pair.world.run_until(end);
}

fn left(pair: &PairWorld) -> NatProfile {
    pair.player(pair.left).nat
}

fn lossy(loss: f64) -> Link {
    Link::both(Way {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        loss,
        ..Way::default()
    })
}

/// Returns the seconds that a mapping lives at least, and below which it does.
fn lifetime(profile: NatProfile) -> (u64, u64) {
    let seconds = |time: Option<Duration>| time.map_or(0, |time| time.as_secs());
    (seconds(profile.timeout), seconds(profile.timeout_below))
}

/// These NATs keep ports, count them or draw them, and have all filters; one is a firewall that translates nothing.
const LIFE: [&str; 9] = [
    "fullcone",
    "restricted",
    "portrestricted",
    "portrestricted,ports=sequential:3",
    "as",
    "ps",
    "psrandom",
    "cgn",
    "firewall",
];

#[test]
fn m31_the_lifetime_of_a_mapping_is_found_behind_every_nat_with_loss() {
    for (timeout, expected) in [(20, (18, 28)), (30, (28, 58)), (60, (58, 118)), (120, (118, 178))] {
        for (index, nat) in LIFE.into_iter().enumerate() {
            let seed = timeout * 100 + index as u64;
            let spec = format!("{nat},timeout={timeout}");
            let strict = format!("{spec},inbound-refresh=no");
            let mut settings = settings(seed, &spec, &strict);
            // Two lossy links on the way: 5 % in one world, about 10 % in the next.
            let loss = if index % 2 == 0 { 0.025 } else { 0.05 };
            settings.left_link = lossy(loss);
            settings.right_link = lossy(loss);
            settings.server_link = lossy(loss);
            let mut pair = measured(settings);
            run(&mut pair, 190);
            for host in [pair.left, pair.right] {
                let player = pair.player(host);
                assert!(player.is_online());
                assert_eq!(lifetime(player.nat), expected, "{spec}, host {host:?}");
            }
        }
    }
}

#[test]
fn m31_one_server_address_tells_the_lifetime_as_well_and_a_short_one_at_once() {
    let mut settings = settings(7, "portrestricted,timeout=20", "portrestricted,timeout=5");
    settings.two_addresses = false;
    let mut pair = measured(settings);
    run(&mut pair, 12);
    assert_eq!(lifetime(pair.player(pair.right).nat), (0, 8), "as soon as the shortest silence is over");
    run(&mut pair, 25);
    assert_eq!(lifetime(left(&pair)), (18, 28), "long before the longest silence is over");
}

#[test]
fn m31_what_was_found_stays_while_it_is_measured_again() {
    let mut pair = measured(settings(8, "portrestricted,timeout=20", "portrestricted"));
    for _ in 0..100 {
        run(&mut pair, 10);
        if pair.world.now() > Duration::from_secs(60) {
            assert_eq!(lifetime(left(&pair)), (18, 28), "at {:?}", pair.world.now());
        }
    }
}

#[test]
fn m31_a_server_restarted_in_between_makes_no_mapping_short() {
    let mut pair = measured(settings(9, "portrestricted", "portrestricted"));
    run(&mut pair, 50);
    let server = pair.server;
    pair.world.set_down(server, true);
    run(&mut pair, 20);
    let now = pair.world.instant();
    let fresh = natlab::lobby::Lobby::new(lobby_server::ServerConfig::default(), true, [9; 32], now);
    pair.world.replace_node(server, natlab::lobby::SimulatedProgram::Lobby(Box::new(fresh)));
    pair.world.set_down(server, false);
    run(&mut pair, 250);
    assert!(pair.player(pair.left).is_online());
    assert_eq!(lifetime(left(&pair)), (118, 178));
    let told = pair.player(pair.left).events.iter();
    for profile in
        told.filter_map(|(_, event)| if let Event::Nat(profile) = event { Some(profile) } else { None })
    {
        let short = profile.timeout_below.is_some_and(|below| below < Duration::from_secs(120));
        assert!(!short, "{profile:?}");
    }
}

/// What was told about the NAT, in turn.
fn told(pair: &PairWorld) -> Vec<(Duration, NatProfile)> {
    let start = pair.world.instant_at(Duration::ZERO);
    let events = pair.player(pair.left).events.iter();
    let profile = |(at, event): &(std::time::Instant, Event)| match event {
        Event::Nat(profile) => Some((*at - start, *profile)),
        _ => None,
    };
    events.filter_map(profile).collect()
}

#[test]
fn m1_m2_m3_m7_every_named_nat_is_known_as_it_is_by_the_server_and_by_the_player() {
    let names = [
        ("none", NatKind::None),
        ("firewall", NatKind::Firewall),
        ("fullcone", NatKind::FullCone),
        ("restricted", NatKind::RestrictedCone),
        ("portrestricted", NatKind::PortRestrictedCone),
        ("as", NatKind::AddressSensitiveSymmetric),
        ("ps", NatKind::PortSensitiveSymmetric),
        ("psrandom", NatKind::PortSensitiveSymmetric),
        ("cgn", NatKind::FullCone),
        ("linux", NatKind::PortRestrictedCone),
        ("udpblocked", NatKind::UdpBlocked),
    ];
    assert_eq!(names.len(), natlab::nat::PRESETS.len(), "all of `natlab list`");
    for (name, kind) in names {
        for (detect, loss) in [(Detect::Server, 0.0), (Detect::Peer, 0.0), (Detect::Server, 0.025)] {
            let mut settings = settings(20, name, name);
            settings.config.detect = detect;
            settings.left_link = lossy(loss);
            settings.server_link = lossy(loss);
            let profile = left(&measured(settings));
            assert_eq!(profile.kind(), kind, "{name}, {detect:?}, loss {loss}: {profile:?}");
            assert_eq!(profile.confidence, Confidence::Full, "{name}");
        }
    }
}

#[test]
fn m3_mapping_and_filtering_are_told_apart_from_each_other() {
    use {FilteringBehavior as F, MappingBehavior as M};
    let mappings =
        [("eim", M::EndpointIndependent), ("adm", M::AddressDependent), ("apdm", M::AddressAndPortDependent)];
    let filters =
        [("eif", F::EndpointIndependent), ("adf", F::AddressDependent), ("apdf", F::AddressAndPortDependent)];
    for (m, mapping) in mappings {
        for (f, filtering) in filters {
            for ports in ["preserving", "random", "sequential:1", "block:4032"] {
                let spec = format!("mapping={m},filtering={f},ports={ports}");
                for detect in [Detect::Server, Detect::Peer] {
                    let mut settings = settings(21, &spec, "none");
                    settings.config.detect = detect;
                    let profile = left(&measured(settings));
                    assert_eq!(
                        (profile.mapping, profile.filtering),
                        (mapping, filtering),
                        "{spec} {detect:?}"
                    );
                    assert_eq!(profile.translated, Some(true), "{spec}");
                }
            }
        }
    }
}

#[test]
fn m4_ports_that_are_kept_counted_drawn_or_drawn_from_a_block_among_those_of_others() {
    use PortAllocation as P;
    for cross in [0, 20] {
        for (ports, expected) in [
            ("preserving", Some(P::Preserving)),
            ("sequential:1", Some(P::Sequential { step: 1 })),
            ("sequential:3", Some(P::Sequential { step: 3 })),
            ("sequential:-2", Some(P::Sequential { step: -2 })),
            ("random", Some(P::Random)),
            ("block:4032", None),
        ] {
            for mapping in ["eim", "adm", "apdm"] {
                let spec = format!("mapping={mapping},ports={ports},cross={cross}");
                let allocation = left(&measured(settings(22, &spec, "none"))).allocation;
                match expected {
                    Some(expected) => assert_eq!(allocation, expected, "{spec}"),
                    None => {
                        let P::RandomInBlock { first, last } = allocation else {
                            panic!("{spec}: {allocation:?}")
                        };
                        assert!(last - first < 8_064, "{spec}: {first} to {last}");
                    }
                }
            }
        }
    }
}

#[test]
fn hairpins_and_several_addresses_are_noticed() {
    for (spec, hairpin) in
        [("fullcone", false), ("fullcone,hairpin=yes", true), ("portrestricted,hairpin=yes", true)]
    {
        assert_eq!(left(&measured(settings(23, spec, "none"))).hairpin, Some(hairpin), "{spec}");
    }
    assert_eq!(
        left(&measured(settings(23, "ps,hairpin=yes", "none"))).hairpin,
        None,
        "no address to send to"
    );
    for (pooling, pooled) in [("paired", false), ("arbitrary", true)] {
        let spec = format!("portrestricted,pool=4,pooling={pooling}");
        assert_eq!(left(&measured(settings(24, &spec, "none"))).pooled, Some(pooled), "{pooling}");
    }
}

#[test]
fn m6_with_one_server_address_what_is_unknown_is_said() {
    use {FilteringBehavior as F, MappingBehavior as M};
    for (name, mapping, filtering, kind) in [
        ("fullcone", M::NotPortSensitive, F::Unknown, NatKind::Unknown),
        ("restricted", M::NotPortSensitive, F::Unknown, NatKind::Unknown),
        ("portrestricted", M::NotPortSensitive, F::AddressAndPortDependent, NatKind::Unknown),
        ("as", M::NotPortSensitive, F::Unknown, NatKind::Unknown),
        ("ps", M::AddressAndPortDependent, F::AddressAndPortDependent, NatKind::PortSensitiveSymmetric),
    ] {
        for detect in [Detect::Server, Detect::Peer] {
            let mut settings = settings(25, name, "none");
            settings.two_addresses = false;
            settings.config.detect = detect;
            let profile = left(&measured(settings));
            assert_eq!((profile.mapping, profile.filtering), (mapping, filtering), "{name}");
            assert_eq!((profile.kind(), profile.confidence), (kind, Confidence::Reduced), "{name}");
        }
    }
}

#[test]
fn m8_a_room_is_entered_before_the_classification_ends() {
    let mut settings = settings(26, "ps", "ps");
    settings.join = JoinMoment::AtOnce;
    let pair = measured(settings);
    assert!(pair.player(pair.left).in_room);
    assert!(told(&pair).is_empty(), "it goes on in the background");
    let mut pair = pair;
    run(&mut pair, 5);
    assert_eq!(left(&pair).kind(), NatKind::PortSensitiveSymmetric);
}

#[test]
fn m8_another_network_is_measured_at_once() {
    let mut pair = measured(settings(27, "portrestricted", "none"));
    assert_eq!(left(&pair).kind(), NatKind::PortRestrictedCone);
    // Another router, with another provider: all that the machine sees is another public address.
    let nat = pair.left_nats[0];
    pair.world.nat_mut(nat).replace(chain("ps").remove(0));
    pair.world.nat_mut(nat).change_address(vec!["198.18.1.77".parse().unwrap()]);
    run(&mut pair, 30);
    assert_eq!(left(&pair).kind(), NatKind::PortSensitiveSymmetric);
    // The same router, and the machine says that its own addresses are others.
    let before = told(&pair).len();
    pair.act(pair.left, |player, now| {
        player.command(
            now,
            Command::LocalAddresses(vec!["192.168.1.2".parse().unwrap(), "10.9.8.7".parse().unwrap()]),
        );
    });
    run(&mut pair, 5);
    assert!(told(&pair).len() > before);
}

#[test]
fn m8_what_has_grown_old_is_measured_again() {
    let mut pair = measured(settings(28, "portrestricted", "none"));
    run(&mut pair, 300);
    let nat = pair.left_nats[0];
    pair.world.nat_mut(nat).replace(chain("restricted").remove(0));
    run(&mut pair, 200);
    assert_eq!(left(&pair).kind(), NatKind::PortRestrictedCone, "a snapshot");
    run(&mut pair, 120);
    assert_eq!(left(&pair).kind(), NatKind::RestrictedCone, "after ten minutes");
    assert!(told(&pair).iter().all(|(_, profile)| profile.confidence == Confidence::Full));
}

#[test]
fn m8_after_a_machine_has_slept_its_profile_is_stale_until_it_is_measured_again() {
    let mut pair = measured(settings(29, "portrestricted", "portrestricted"));
    run(&mut pair, 5);
    let before = told(&pair).len();
    let left_host = pair.left;
    pair.world.set_clock(left_host, Duration::from_secs(700));
    // The game's wish is the first that the agent hears of the new day.
    pair.act(left_host, |player, now| player.command(now, Command::ListRooms(Default::default())));
    let news = told(&pair);
    assert_eq!(news.len(), before + 1);
    assert_eq!(news[before].1.confidence, Confidence::Stale);
    assert_eq!(news[before].1.kind(), NatKind::PortRestrictedCone, "what was known is still the best guess");
    run(&mut pair, 5);
    assert_eq!(left(&pair).confidence, Confidence::Full);
}

#[test]
fn m9_each_fact_set_by_hand_wins_and_the_rest_is_measured_all_the_same() {
    let step = PortAllocation::Sequential { step: 7 };
    let facts = [
        NatFacts { mapping: Some(MappingBehavior::AddressAndPortDependent), ..NatFacts::NONE },
        NatFacts { filtering: Some(FilteringBehavior::AddressDependent), ..NatFacts::NONE },
        NatFacts { allocation: Some(step), ..NatFacts::NONE },
        NatFacts { foreign_rate: Some(120.0), ..NatFacts::NONE },
        NatFacts { timeout: Some(Duration::from_secs(45)), ..NatFacts::NONE },
        NatFacts::of_kind(NatKind::PortSensitiveSymmetric).unwrap(),
    ];
    for detect in [Detect::Server, Detect::Peer] {
        let mut settings = settings(30, "portrestricted", "none");
        settings.config.detect = detect;
        let mut pair = measured(settings.clone());
        run(&mut pair, 3);
        let measured_alone = left(&pair);
        assert_eq!(measured_alone.confidence, Confidence::Full);
        for manual in facts {
            settings.config.manual = manual;
            let mut pair = measured(settings.clone());
            run(&mut pair, 3);
            assert_eq!(left(&pair), manual.over(measured_alone), "{detect:?} {manual:?}");
        }
    }
}

#[test]
fn m9_a_player_who_joins_right_after_its_login_is_planned_by_what_it_has_set() {
    let mut settings = settings(31, "portrestricted", "ps");
    let manual = NatFacts {
        allocation: Some(PortAllocation::Sequential { step: 1 }),
        filtering: Some(FilteringBehavior::AddressAndPortDependent),
        ..NatFacts::of_kind(NatKind::PortSensitiveSymmetric).unwrap()
    };
    settings.config.manual = manual;
    settings.join = JoinMoment::AtOnce;
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare());
    pair.request();
    let right = pair.right;
    let planned = |pair: &PairWorld| {
        pair.player(right).events.iter().find_map(|(_, event)| match event {
            Event::Plan { methods, .. } => Some(methods.clone()),
            _ => None,
        })
    };
    assert!(pair.wait(Duration::from_secs(3), |pair| planned(pair).is_some()));
    // Both have set the same; no probe has come back yet.
    let known = manual.over(NatProfile::UNKNOWN);
    assert_eq!(planned(&pair).unwrap(), plan(&known, &known, PlanOptions::default()).methods);
    let unknown = plan(&NatProfile::UNKNOWN, &NatProfile::UNKNOWN, PlanOptions::default());
    assert_ne!(planned(&pair).unwrap(), unknown.methods);
}
