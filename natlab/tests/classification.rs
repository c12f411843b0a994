//! What players find out about their NATs, with the shipping agent and server, against what the NATs are.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::nat::{NatConfig, NatSpec};
use natlab::scenario::{PairSettings, PairWorld};
use traversal_core::Event;
use traversal_core::nat::NatProfile;

fn chain(spec: &str) -> Vec<NatConfig> {
    spec.parse::<NatSpec>().unwrap().chain
}

fn settings(seed: u64, left: &str, right: &str) -> PairSettings {
    PairSettings::equal(seed, &chain(left), &chain(right), Duration::from_millis(40))
}

/// A world whose two players are logged in and have measured their NATs.
fn measured(settings: PairSettings) -> PairWorld {
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

/// Seconds that a mapping lives at least, and below which it does.
fn lifetime(profile: NatProfile) -> (u64, u64) {
    let seconds = |time: Option<Duration>| time.map_or(0, |time| time.as_secs());
    (seconds(profile.timeout), seconds(profile.timeout_below))
}

/// Ports kept, counted and random; all filters; a firewall that translates nothing.
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
    pair.world.replace_node(server, natlab::lobby::Program::Lobby(Box::new(fresh)));
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
