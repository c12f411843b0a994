//! What a player has measured at an earlier start serves as a hint at the next one, and no more.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::scenario::{JoinMoment, PairWorld, PairWorldSettings};
use traversal_core::nat::{Confidence, NatKind, NatProfile};
use traversal_core::plan::{PlanOptions, plan};
use traversal_core::wire::message::Method;
use traversal_core::{Command, Event, KeptProfile, NatFacts, RelayPolicy, RouterName};

fn settings(seed: u64, left: &str, right: &str) -> PairWorldSettings {
    let chain = |spec: &str| spec.parse::<NatSpec>().unwrap().chain;
    let mut settings = PairWorldSettings::equal(seed, &chain(left), &chain(right), Duration::from_millis(40));
    settings.config.relay = RelayPolicy::Never;
    settings
}

/// Runs until the NATs are measured, which may take longer than a direct path.
fn measure(pair: &mut PairWorld) {
    let end = pair.world.now() + Duration::from_secs(4);
    pair.world.run_until(end);
}

/// Returns what both players keep of a first start, the host's first.
fn kept(left: &str, right: &str) -> [KeptProfile; 2] {
    kept_with(settings(1, left, right))
}

fn kept_with(settings: PairWorldSettings) -> [KeptProfile; 2] {
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare());
    measure(&mut pair);
    [pair.left, pair.right].map(|host| {
        let events = pair.player(host).events.iter().rev();
        let kept = events.filter_map(|(_, event)| match event {
            Event::NatMeasured(kept) => Some(kept.clone()),
            _ => None,
        });
        kept.clone().next().unwrap()
    })
}

/// The right player logs in and joins at once; returns what its first plan had, and what it was told of its own NAT.
fn joins_at_once(
    mut settings: PairWorldSettings,
    kept: &[KeptProfile],
) -> (PairWorld, Vec<Method>, Vec<NatProfile>) {
    settings.config.kept = kept.to_vec();
    settings.join = JoinMoment::AtOnce;
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare());
    pair.request();
    assert!(pair.wait(Duration::from_secs(8), PairWorld::is_direct_and_played), "{:?}", pair.world.drops());
    measure(&mut pair);
    let events = &pair.player(pair.right).events;
    let methods = events.iter().find_map(|(_, event)| match event {
        Event::Plan { methods, .. } => Some(methods.clone()),
        _ => None,
    });
    let told = events.iter().filter_map(|(_, event)| match event {
        Event::Nat(profile) => Some(*profile),
        _ => None,
    });
    let told = told.collect();
    (pair, methods.unwrap(), told)
}

fn unknown_plan() -> Vec<Method> {
    plan(&NatProfile::UNKNOWN, &NatProfile::UNKNOWN, PlanOptions::default()).methods
}

#[test]
fn m9_a_player_who_joins_at_its_next_start_is_planned_by_what_it_measured_before() {
    for (left, right) in [("ps,ports=sequential:3", "ps"), ("portrestricted", "psrandom"), ("as", "ps")] {
        let kept = kept(left, right);
        let [host, joiner] = kept.clone().map(|kept| kept.profile);
        assert_eq!((host.confidence, joiner.confidence), (Confidence::Full, Confidence::Full));
        let (_, methods, told) = joins_at_once(settings(2, left, right), &kept);
        let stale = |profile| NatProfile {
            confidence: Confidence::Stale,
            foreign_rate: None,
            allocation_confidence: None,
            ..profile
        };
        let expected = plan(&stale(joiner), &stale(host), PlanOptions::default()).methods;
        assert_eq!(methods, expected, "{left} {right}");
        assert_ne!(methods, unknown_plan(), "{left} {right}: the hint tells something");
        assert_eq!(told[0], stale(joiner));
        assert_eq!(told.last().unwrap().confidence, Confidence::Full, "it is measured all the same");
    }
}

#[test]
fn m9_what_is_measured_wins_over_a_hint_that_is_wrong() {
    // The router was replaced: same addresses, another NAT.
    for (before, now) in [
        ("psrandom", "portrestricted"),
        ("portrestricted", "ps"),
        ("fullcone", "as"),
        ("ps,ports=sequential:-5", "ps,ports=sequential:2"),
    ] {
        let kept = kept("portrestricted", before);
        let (pair, _, told) = joins_at_once(settings(3, "portrestricted", now), &kept);
        let measured = kept_with(settings(1, "portrestricted", now))[1].profile;
        assert_eq!(told[0].confidence, Confidence::Stale);
        let last = told.last().unwrap();
        assert_eq!((last.kind(), last.allocation), (measured.kind(), measured.allocation), "{before} {now}");
        assert_eq!(last.confidence, Confidence::Full);
        assert!(pair.player(pair.right).failures.is_empty());
    }
}

#[test]
fn m9_a_hint_does_not_serve_in_another_network_or_after_a_month() {
    let [_, joiner] = kept("portrestricted", "ps");
    let old = KeptProfile { age: Duration::from_secs(31 * 86_400), ..joiner.clone() };
    let elsewhere = ["203.0.113.9".parse().unwrap(), "192.168.77.2".parse().unwrap()];
    let network = traversal_core::kept::Network::of(elsewhere[0], &elsewhere[1..]);
    let elsewhere = KeptProfile { network, ..joiner };
    for worthless in [old, elsewhere] {
        let (_, methods, told) = joins_at_once(settings(4, "portrestricted", "ps"), &[worthless]);
        assert_eq!(methods, unknown_plan());
        assert!(told.iter().all(|profile| profile.confidence != Confidence::Stale));
    }
}

#[test]
fn m9_what_was_set_by_hand_is_not_kept_as_if_it_were_measured() {
    let mut by_hand = settings(5, "portrestricted", "portrestricted");
    by_hand.config.manual = NatFacts::of_kind(NatKind::PortSensitiveSymmetric).unwrap();
    for kept in kept_with(by_hand) {
        assert_eq!(kept.profile.kind(), NatKind::PortRestrictedCone);
    }
}

#[test]
fn m38_what_is_known_of_a_router_is_a_hint_until_it_is_measured() {
    let router = |name: &str| RouterName { manufacturer: name.into(), model: String::new() };
    let joins = |nat: &str, router: Option<RouterName>| {
        let mut settings = settings(6, "portrestricted", nat);
        // A far server: its router answers long before it.
        settings.server_link = natlab::link::Link::delay(Duration::from_millis(300));
        settings.join = JoinMoment::AtOnce;
        let mut pair = PairWorld::new(settings);
        let right = pair.right;
        pair.act(right, |player, now| player.command(now, Command::Router(router)));
        assert!(pair.prepare());
        pair.request();
        assert!(pair.wait(Duration::from_secs(10), PairWorld::is_direct_and_played), "{nat}");
        measure(&mut pair);
        let told = pair.player(right).events.iter().filter_map(|(_, event)| match event {
            Event::Nat(profile) => Some((profile.kind(), profile.confidence)),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let cone = NatKind::PortRestrictedCone;
    let told = joins("portrestricted", Some(router("OpenWRT")));
    assert_eq!(told[0], (cone, Confidence::Stale));
    assert_eq!(*told.last().unwrap(), (cone, Confidence::Full));
    // Its owner has changed the rules.
    let told = joins("portrestricted", Some(router("pfSense")));
    assert_eq!(told[0], (NatKind::PortSensitiveSymmetric, Confidence::Stale));
    assert_eq!(*told.last().unwrap(), (cone, Confidence::Full));
    for unknown in [None, Some(router("Nobody knows"))] {
        let told = joins("portrestricted", unknown);
        assert!(told.iter().all(|(_, confidence)| *confidence != Confidence::Stale));
    }
}
