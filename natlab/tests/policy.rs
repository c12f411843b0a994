//! What the relay's policy means on the wire, as the world sees it: `only` never sends a packet to another player,
//! `never` none through the relay, whoever of players and server says so.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lobby_server::{Rate, RelayMode, ServerConfig};
use natlab::lobby::{Lobby, SimulatedProgram};
use natlab::nat::NatSpec;
use natlab::scenario::{JoinReport, PairWorld, PairWorldSettings};
use natlab::world::{Fate, Packet};
use traversal_core::failure::FailureReason;
use traversal_core::wire::Kind;
use traversal_core::wire::message::NoRelay;
use traversal_core::{Event, PathKind, RelayPolicy};

const PAIRS: [(&str, &str); 5] = [
    ("none", "none"),
    ("fullcone", "portrestricted"),
    ("as", "ps"),
    ("ps", "psrandom"),
    ("firewall", "linux"),
];

struct Played {
    report: JoinReport,
    /// They are addresses of the other's network that somebody sent to.
    strangers: Vec<String>,
    relayed: u64,
}

/// Joins and plays for a while, the server having this policy for this game.
fn play((left, right): (&str, &str), relays: [RelayPolicy; 2], mode: RelayMode) -> Played {
    let [left, right] = [left, right].map(|spec| spec.parse::<NatSpec>().unwrap().chain);
    let mut settings = PairWorldSettings::equal(11, &left, &right, Duration::from_millis(30));
    settings.relays = Some(relays);
    let mut pair = PairWorld::new(settings);
    let other = if mode == RelayMode::Allow { RelayMode::Never } else { RelayMode::Allow };
    let config = ServerConfig {
        relay: other,
        relay_games: [("default".into(), mode)].into(),
        ..ServerConfig::default()
    };
    let (server, now) = (pair.server, pair.world.instant());
    pair.world
        .replace_node(server, SimulatedProgram::Lobby(Box::new(Lobby::new(config, true, [5; 32], now))));
    let relayed = Rc::new(Cell::new(0));
    let count = Rc::clone(&relayed);
    pair.world.add_tap(Box::new(move |_: Fate, packet: &Packet<'_>| {
        let through = Kind::of(packet.payload) == Some(Kind::Relay);
        count.set(count.get() + u64::from(through));
    }));
    let report = pair.join();
    for host in [pair.left, pair.right] {
        pair.act(host, |player, now| player.keep_talking(now, 20));
    }
    let end = pair.world.now() + Duration::from_secs(20);
    pair.world.run_until(end);
    let mut strangers = Vec::new();
    for (host, own) in [(pair.left, "198.18.1."), (pair.right, "198.18.2.")] {
        // To the address of its own NAT goes the hairpin test.
        let targets = pair.world.stats(host).targets.keys().map(ToString::to_string);
        strangers.extend(targets.filter(|to| !to.starts_with(own)));
    }
    Played { report, strangers, relayed: relayed.get() }
}

#[test]
fn relay_only_never_sends_a_packet_to_another_player() {
    use RelayPolicy::{Allow, Only};
    for pair in PAIRS {
        for (relays, mode) in [
            ([Only, Only], RelayMode::Allow),
            ([Only, Allow], RelayMode::Allow),
            ([Allow, Only], RelayMode::Allow),
            ([Allow, Allow], RelayMode::Only),
        ] {
            let told = format!("{pair:?}, {relays:?}, server {mode:?}");
            let played = play(pair, relays, mode);
            assert!(played.report.played, "{told}: {:?}", played.report.cause);
            assert_eq!(played.strangers, [""; 0], "{told}");
            assert!(played.relayed > 100, "{told}");
            for side in [&played.report.left, &played.report.right] {
                assert_eq!(side.path, Some(PathKind::Relay), "{told}");
                let why = side.events.iter().find_map(|(_, event)| match event {
                    Event::PeerRelayed { report, .. } => Some(report.reason),
                    _ => None,
                });
                assert_eq!(why, Some(FailureReason::RelayOnly), "{told}: the reason is said");
            }
        }
    }
}

#[test]
fn relay_never_sends_nothing_through_the_relay() {
    use RelayPolicy::{Allow, Never};
    for pair in PAIRS {
        for (relays, mode) in [
            ([Never, Never], RelayMode::Allow),
            ([Never, Allow], RelayMode::Allow),
            ([Allow, Never], RelayMode::Allow),
            ([Allow, Allow], RelayMode::Never),
        ] {
            let told = format!("{pair:?}, {relays:?}, server {mode:?}");
            let played = play(pair, relays, mode);
            let hopeless = pair == ("ps", "psrandom");
            assert_eq!(played.report.direct, !hopeless, "{told}: {:?}", played.report.cause);
            for (side, policy) in [(&played.report.left, relays[0]), (&played.report.right, relays[1])] {
                assert_ne!(side.path, Some(PathKind::Relay), "{told}");
                if hopeless && policy == Never {
                    assert!(side.failure.is_some(), "{told}");
                }
            }
            if mode == RelayMode::Never || relays == [Never, Never] {
                assert_eq!(played.relayed, 0, "{told}");
            }
        }
    }
}

#[test]
fn only_against_never_fails_with_that_reason() {
    let relays = [RelayPolicy::Only, RelayPolicy::Never];
    let played = play(("fullcone", "fullcone"), relays, RelayMode::Allow);
    assert!(!played.report.played && played.strangers.is_empty(), "{:?}", played.strangers);
    assert_eq!(played.report.right.failure, Some(FailureReason::RelayForbidden));
    assert!(played.report.left.failure.is_some());
}

/// Has two players whose routers choose random ports, so that the relay is their only way, and a server that gives
/// none.
fn refused(config: ServerConfig, relays: [RelayPolicy; 2]) -> PairWorld {
    let random = "psrandom".parse::<NatSpec>().unwrap().chain;
    let mut settings = PairWorldSettings::equal(21, &random, &random, Duration::from_millis(30));
    settings.relays = Some(relays);
    let mut pair = PairWorld::new(settings);
    let (server, now) = (pair.server, pair.world.instant());
    pair.world
        .replace_node(server, SimulatedProgram::Lobby(Box::new(Lobby::new(config, true, [5; 32], now))));
    let report = pair.join();
    let found = [&report.left.path, &report.right.path];
    assert!(found.iter().all(|path| path.is_none()), "{found:?}");
    pair
}

#[test]
fn a_relay_that_is_refused_says_why_to_both_players() {
    let full = ServerConfig {
        // Less than two sides of a pair can be played with (8 kB/s each).
        relay_total_rate: Rate::new(15_000.0, 30_000.0),
        ..ServerConfig::default()
    };
    let off = ServerConfig { relay: RelayMode::Never, ..ServerConfig::default() };
    for (config, relays, reason, why, text) in [
        (
            full.clone(),
            [RelayPolicy::Allow; 2],
            FailureReason::RandomPortsOnBothSides,
            Some(NoRelay::Full),
            "The lobby server's relay is full. Try again when fewer players use the relay",
        ),
        (
            full,
            [RelayPolicy::Only; 2],
            FailureReason::RelayFull,
            Some(NoRelay::Full),
            "it is full. Try again",
        ),
        (
            off,
            [RelayPolicy::Allow; 2],
            FailureReason::RandomPortsOnBothSides,
            Some(NoRelay::Off),
            "does not allow its relay for this game. Ask whoever runs the lobby server",
        ),
        (
            ServerConfig::default(),
            [RelayPolicy::Never; 2],
            FailureReason::RandomPortsOnBothSides,
            None,
            "Allow the relay in the game's settings",
        ),
    ] {
        let pair = refused(config, relays);
        for host in [pair.left, pair.right] {
            let events = &pair.player(host).events;
            let report = events.iter().find_map(|(_, event)| match event {
                Event::PeerFailed { report, .. } => Some(report),
                _ => None,
            });
            let report = report.unwrap_or_else(|| panic!("no reason: {events:#?}"));
            assert_eq!((report.reason, report.no_relay), (reason, why), "{report}");
            assert!(report.to_string().contains(text), "{report}");
            assert!(why != Some(NoRelay::Full) || report.story().contains("full"), "{}", report.story());
        }
    }
}
