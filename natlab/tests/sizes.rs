//! Ways that take less than Ethernet does: every connected pair carries 1,200 bytes and what renet makes of 60 kB.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::freight::{Freight, Ledger};
use natlab::link::Link;
use natlab::matrix::{self, MatrixSettings};
use natlab::nat::{NatConfig, NatSpec};
use natlab::scenario::{Draw, Ipv6, PairWorld, PairWorldSettings};
use natlab::world::HostId;
use traversal_core::{PathKind, RelayPolicy};

const DELAY: Duration = Duration::from_millis(25);
/// It is the longest game datagram of all.
const MOST: usize = traversal_core::wire::pair::MAX_PAYLOAD;

/// What stands in the way on one side: `1280`, or `1280:silent` where no router tells.
fn narrow(link: &mut Link, mtu: &str) {
    (link.up.mtu, link.down.mtu) = (mtu.parse().unwrap(), mtu.parse().unwrap());
}

fn settings(seed: u64, nats: &str, [left, right]: [&str; 2], relay: RelayPolicy) -> PairWorldSettings {
    let chain = nats.parse::<NatSpec>().unwrap().chain;
    let mut settings = PairWorldSettings::equal(seed, &chain, &chain, DELAY);
    narrow(&mut settings.left_link, left);
    narrow(&mut settings.right_link, right);
    settings.config.relay = relay;
    settings
}

struct Play {
    pair: PairWorld,
    ledgers: [Ledger; 2],
}

impl Play {
    /// Joins, and plays a game that carries freight.
    fn new(settings: PairWorldSettings) -> Self {
        let mut pair = PairWorld::new(settings);
        let ledgers = [pair.left, pair.right].map(|host| {
            let (game, ledger) = Freight::new();
            pair.act(host, |player, _| player.play(Box::new(game))).unwrap();
            ledger
        });
        assert!(pair.prepare(), "logged in and in a room");
        pair.request();
        assert!(pair.wait(Duration::from_secs(10), |pair| {
            [pair.left, pair.right].iter().all(|host| !pair.player(*host).paths.is_empty())
        }));
        Self { pair, ledgers }
    }

    /// Both have the other's message and so many datagrams of 1,200 bytes.
    fn delivers(&mut self, datagrams: u32) -> bool {
        let ledgers = &self.ledgers;
        self.pair
            .wait(Duration::from_secs(10), |_| ledgers.iter().all(|ledger| ledger.is_delivered(datagrams)))
    }

    fn run(&mut self, time: Duration) {
        let end = self.pair.world.now() + time;
        self.pair.world.run_until(end);
    }

    /// Returns the way that a side takes, and the longest game datagram that goes in one piece.
    fn path(&mut self, host: HostId) -> (PathKind, usize) {
        let path = self.pair.act(host, |player, now| {
            let to = *player.paths.keys().next()?;
            player.agent().path(now, to)
        });
        let path = path.flatten().unwrap();
        (path.kind, path.size)
    }

    fn sides(&mut self) -> [(PathKind, usize); 2] {
        [self.pair.left, self.pair.right].map(|host| self.path(host))
    }
}

/// WireGuard, Tailscale and some carriers have 1,280; it is on either side, with and without the routers' word. Below 1,228
/// the login's padded hello does not pass either: UDP counts as blocked, and the relay is reached over TCP.
#[test]
fn everything_arrives_over_the_relay_from_behind_every_mtu() {
    for mtu in ["1500", "1492", "1420", "1300", "1280", "1280:silent", "1000:silent", "576"] {
        for sides in [[mtu, "1500"], ["1500", mtu], [mtu, mtu]] {
            let mut play = Play::new(settings(3, "psrandom", sides, RelayPolicy::Only));
            assert!(play.delivers(60), "{sides:?}");
            assert!(play.sides().iter().all(|(kind, _)| *kind == PathKind::Relay));
        }
    }
}

#[test]
fn everything_arrives_by_direct_paths_from_behind_every_mtu() {
    for mtu in ["1500", "1492:silent", "1420", "1280", "1280:silent", "1270", "1270:silent", "1250:silent"] {
        for sides in [[mtu, "1500"], ["1500", mtu], [mtu, mtu]] {
            let mut play = Play::new(settings(4, "portrestricted", sides, RelayPolicy::Never));
            assert!(play.delivers(60), "{sides:?}");
            assert!(play.sides().iter().all(|(kind, _)| *kind == PathKind::Direct));
        }
    }
}

/// IPv6's headers are 20 bytes longer, and 1,280 is the least that it allows.
#[test]
fn everything_arrives_over_ipv6_direct_and_relayed() {
    let filter = || Ipv6::Only(NatConfig::preset("firewall").unwrap());
    for mtu in ["1500", "1300", "1300:silent", "1280", "1280:silent"] {
        for relay in [RelayPolicy::Never, RelayPolicy::Only] {
            for sides in [[mtu, "1500"], [mtu, mtu]] {
                let mut settings = settings(5, "firewall", sides, relay);
                (settings.left_v6, settings.right_v6) = (filter(), filter());
                let mut play = Play::new(settings);
                assert!(play.delivers(60), "{sides:?} {relay:?}");
                let kind = if relay == RelayPolicy::Only { PathKind::Relay } else { PathKind::DirectV6 };
                assert!(play.sides().iter().all(|(way, _)| *way == kind));
            }
        }
    }
}

/// The way spends 28 bytes on IPv4 and UDP, 34 on the seal, 16 on the relay.
#[test]
fn the_size_that_is_shown_is_what_the_way_carries() {
    for (mtu, relay, most) in [
        ("1500", RelayPolicy::Never, MOST),
        ("1500", RelayPolicy::Only, MOST),
        ("1400", RelayPolicy::Never, 1400 - 28 - 34),
        ("1400:silent", RelayPolicy::Only, 1400 - 28 - 34 - 16),
        ("1280:silent", RelayPolicy::Only, 1280 - 28 - 34 - 16),
        ("1280", RelayPolicy::Never, 1280 - 28 - 34),
    ] {
        let nats = if relay == RelayPolicy::Only { "psrandom" } else { "portrestricted" };
        let mut play = Play::new(settings(6, nats, [mtu, "1500"], relay));
        play.run(Duration::from_secs(5));
        for (kind, size) in play.sides() {
            assert!(size <= most && size + 8 > most, "{kind:?} behind {mtu}: {size} of {most}");
        }
        let mut told = play.pair.player(play.pair.left).events.iter().filter_map(|(_, event)| match event {
            traversal_core::Event::SizeChanged { size, .. } => Some(*size),
            _ => None,
        });
        let last = told.next_back();
        let (_, shown) = play.path(play.pair.left);
        assert_eq!(last, Some(shown), "what was told last");
    }
}

/// A route changes in the middle of the game, and nobody tells.
#[test]
fn a_black_hole_that_begins_in_play_costs_less_than_a_second() {
    for (nats, relay) in [("portrestricted", RelayPolicy::Never), ("psrandom", RelayPolicy::Only)] {
        for mtu in ["1280:silent", "1000:silent"] {
            let mut play = Play::new(settings(7, nats, ["1500", "1500"], relay));
            assert!(play.delivers(60));
            let nat = *play.pair.left_nats.last().unwrap();
            let mut link = play.pair.settings().left_link.clone();
            narrow(&mut link, mtu);
            play.pair.world.set_nat_link(nat, link);
            for ledger in &play.ledgers {
                ledger.read().values_mut().for_each(natlab::freight::Received::forget_gaps);
            }
            play.run(Duration::from_secs(10));
            for ledger in &play.ledgers {
                let gap = ledger.read().values().next().unwrap().longest_gap;
                assert!(gap <= Duration::from_secs(1), "{gap:?} over {nats} at {mtu}");
            }
            assert_eq!(play.pair.player(play.pair.left).disconnects, 0);
        }
    }
}

/// As the players' lines are: see `scenario/internet.rs` for the shares and their sources.
#[test]
fn every_pair_that_meets_in_drawn_worlds_carries_everything() {
    let nats: Vec<NatSpec> =
        ["portrestricted", "psrandom", "udpblocked"].iter().map(|name| name.parse().unwrap()).collect();
    for mtu in [None, Some("1280:silent".parse().unwrap())] {
        let draw = Draw { freight: true, mtu, ..Draw::default() };
        let (left, right) = (nats.clone(), nats.clone());
        let matrix =
            matrix::run(&MatrixSettings { left, right, seeds: 8, first_seed: 1, draw, threads: 0 }, |_| {});
        for cell in &matrix.cells {
            assert_eq!(cell.carried, cell.played, "{} - {}: {:?}", cell.left, cell.right, cell.not_carried);
            assert_eq!(cell.played, cell.runs, "{} - {}: {:?}", cell.left, cell.right, cell.causes);
        }
    }
}
