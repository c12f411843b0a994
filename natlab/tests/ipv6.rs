//! Players with IPv6: beside IPv4 and without it, through firewalls that let in only what was asked for.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::nat::{NatConfig, NatSpec};
use natlab::oracle::Relation;
use natlab::scenario::{Ipv6, PairWorld, PairWorldSettings};
use natlab::world::HostId;
use traversal_core::failure::FailureReason;
use traversal_core::wire::message::Method;
use traversal_core::{Event, PathKind, RelayPolicy};

const DELAY: Duration = Duration::from_millis(30);

fn filter(name: &str) -> NatConfig {
    NatConfig::preset(name).unwrap()
}

fn settings(seed: u64, (left, left_v6): (&str, Ipv6), (right, right_v6): (&str, Ipv6)) -> PairWorldSettings {
    let [left, right] = [left, right].map(|spec| spec.parse::<NatSpec>().unwrap().chain);
    let settings = PairWorldSettings::equal(seed, &left, &right, DELAY);
    PairWorldSettings { left_v6, right_v6, ..settings }
}

fn firewalled() -> Ipv6 {
    Ipv6::Beside(filter("firewall"))
}

fn path(pair: &PairWorld, host: HostId) -> Option<PathKind> {
    pair.player(host).paths.values().next().map(|path| path.kind)
}

/// Why there is no direct path, each time that this player was told so.
fn told(pair: &PairWorld, host: HostId) -> Vec<FailureReason> {
    let reason = |event: &Event| match event {
        Event::PeerRelayed { report, .. } | Event::PeerFailed { report, .. } => Some(report.reason),
        _ => None,
    };
    pair.player(host).events.iter().filter_map(|(_, event)| reason(event)).collect()
}

/// Returns the kinds of path that the two have after this time.
fn joined(settings: PairWorldSettings, time: Duration) -> (PairWorld, [Option<PathKind>; 2]) {
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare(), "logged in and in a room");
    pair.request();
    assert!(pair.wait(Duration::from_secs(5), PairWorld::is_played), "played");
    let end = pair.world.now() + time;
    pair.world.run_until(end);
    let paths = [path(&pair, pair.left), path(&pair, pair.right)];
    (pair, paths)
}

#[test]
fn where_no_nat_lets_ipv4_through_stateful_firewalls_are_punched_in_ipv6() {
    for (left, right) in [("psrandom", "psrandom"), ("ps", "psrandom"), ("portrestricted+cgn", "psrandom")] {
        let (pair, paths) =
            joined(settings(1, (left, firewalled()), (right, firewalled())), Duration::from_secs(1));
        assert_eq!(paths, [Some(PathKind::DirectV6); 2], "{left} - {right}");
        // From the request: the server's detour, one test each way and its answer.
        for (host, peer) in [(pair.left, pair.right), (pair.right, pair.left)] {
            let peer = pair.player(peer).id.unwrap();
            let at = pair.player(host).direct_at[&peer];
            let took = at - pair.world.instant_at(pair.requested());
            assert!(took <= DELAY * 8, "{left} - {right}: {took:?}");
        }
    }
}

#[test]
fn a_player_without_ipv6_is_met_in_ipv4() {
    for (left, right) in [("portrestricted", "portrestricted"), ("ps", "restricted")] {
        for (left_v6, right_v6) in [(firewalled(), Ipv6::None), (Ipv6::None, firewalled())] {
            let (_, paths) = joined(settings(2, (left, left_v6), (right, right_v6)), Duration::from_secs(4));
            assert_eq!(paths, [Some(PathKind::Direct); 2], "{left} - {right}");
        }
    }
}

#[test]
fn a_player_with_ipv6_alone_and_one_with_ipv4_alone_play_over_the_relay() {
    let only = Ipv6::Only(filter("firewall"));
    let (pair, paths) =
        joined(settings(3, ("none", only), ("portrestricted", Ipv6::None)), Duration::from_secs(12));
    assert_eq!(paths, [Some(PathKind::Relay); 2]);
    assert_eq!(pair.player(pair.left).disconnects + pair.player(pair.right).disconnects, 0);
    for host in [pair.left, pair.right] {
        assert_eq!(told(&pair, host), [FailureReason::NoCommonFamily], "why it is the relay");
    }
}

#[test]
fn without_a_relay_both_are_told_that_they_have_no_family_in_common() {
    let only = Ipv6::Only(filter("firewall"));
    let mut settings = settings(8, ("none", only), ("portrestricted", Ipv6::None));
    settings.relays = Some([RelayPolicy::Never; 2]);
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare(), "logged in and in a room");
    pair.request();
    let end = pair.world.now() + Duration::from_secs(60);
    pair.world.run_until(end);
    for host in [pair.left, pair.right] {
        assert_eq!(told(&pair, host), [FailureReason::NoCommonFamily]);
    }
}

#[test]
fn a_player_with_ipv6_alone_meets_one_with_both_in_ipv6() {
    for (only, beside) in [("firewall", "firewall"), ("none", "firewall"), ("firewall", "none")] {
        let (only, beside) = (Ipv6::Only(filter(only)), Ipv6::Beside(filter(beside)));
        let (_, paths) = joined(settings(4, ("none", only), ("psrandom", beside)), Duration::from_secs(3));
        assert_eq!(paths, [Some(PathKind::DirectV6); 2]);
    }
}

#[test]
fn an_ipv6_firewall_that_lets_nothing_in_leaves_ipv4_and_the_relay() {
    let closed = || Ipv6::Beside("udp=no,kind=firewall".parse::<NatSpec>().unwrap().chain[0].clone());
    for (nat, expected) in [("portrestricted", PathKind::Direct), ("psrandom", PathKind::Relay)] {
        let settings = settings(5, (nat, closed()), (nat, firewalled()));
        let (_, paths) = joined(settings, Duration::from_secs(12));
        assert_eq!(paths, [Some(expected); 2], "{nat}");
    }
}

#[test]
fn of_two_direct_ways_the_faster_one_is_taken_and_kept() {
    // In both families through open networks: the same links, so whichever stood first stays.
    let (mut pair, first) =
        joined(settings(6, ("portrestricted", firewalled()), ("portrestricted", firewalled())), DELAY * 20);
    assert!(
        first.iter().all(|path| matches!(path, Some(PathKind::Direct | PathKind::DirectV6))),
        "{first:?}"
    );
    let count = |pair: &PairWorld| {
        [pair.left, pair.right].map(|host| {
            let changes =
                |event: &traversal_core::Event| matches!(event, traversal_core::Event::PathChanged { .. });
            pair.player(host).events.iter().filter(|(_, event)| changes(event)).count()
        })
    };
    let before = count(&pair);
    let end = pair.world.now() + Duration::from_secs(60);
    pair.world.run_until(end);
    assert_eq!(count(&pair), before, "no flapping");
}

#[test]
fn one_network_is_known_by_its_ipv6_prefix_too() {
    let mut settings = settings(7, ("portrestricted", firewalled()), ("portrestricted", firewalled()));
    settings.relation = Relation::SameLan;
    let (_, paths) = joined(settings, Duration::from_secs(2));
    assert_eq!(paths, [Some(PathKind::Lan); 2]);
}

#[test]
fn relay_only_players_show_no_address_in_either_family() {
    let mut settings = settings(8, ("psrandom", firewalled()), ("psrandom", firewalled()));
    settings.config.relay = RelayPolicy::Only;
    let (pair, paths) = joined(settings, Duration::from_secs(12));
    assert_eq!(paths, [Some(PathKind::Relay); 2]);
    for host in [pair.left, pair.right] {
        assert_eq!(pair.world.stats(host).to_players, 0);
    }
}

#[test]
fn a_forced_method_stays_in_its_family() {
    let mut settings = settings(9, ("psrandom", firewalled()), ("psrandom", firewalled()));
    settings.config.method = Some(Method::Bubble);
    let (_, paths) = joined(settings, Duration::from_secs(2));
    assert_eq!(paths, [Some(PathKind::Relay); 2]);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut settings = settings(seed, ("psrandom", firewalled()), ("ps", firewalled()));
        settings.left_link.up.loss = 0.1;
        PairWorld::new(settings).join()
    };
    let (first, again) = (run(1), run(1));
    assert!(first.direct, "{:?}", first.cause);
    assert_eq!(first.trace, again.trace);
}
