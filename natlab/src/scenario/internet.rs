//! Worlds as measured on the internet. Each range has its source beside it; "(m)" marks a figure that was written down from
//! memory of the source named, rounded.
//!
//! The sources:
//! - Richter et al., "A Multi-perspective Analysis of Carrier-Grade NAT Deployment", IMC 2016 (sections 6.2 to 6.4);
//! - Klinec and Matyáš, "Traversing symmetric NAT with predictable port allocation", 2014 (table 1);
//! - Hätönen et al., "An Experimental Study of Home Gateway Characteristics", IMC 2010 (figure 3);
//! - Guha and Francis, "Characterization and Measurement of TCP Traversal through NATs and Firewalls", IMC 2005 (table 3);
//! - FCC, "Measuring Broadband America", eighth to thirteenth reports, 2018 to 2024 (charts 7 and 8);
//! - Hasslinger and Hohlfeld, "The Gilbert-Elliott Model for Packet Loss in Real Time Services on the Internet", 2008;
//! - Yajnik et al., "Measurement and Modelling of the Temporal Dependence in Packet Loss", INFOCOM 1999;
//! - Zhou and Van Mieghem, "Reordering of IP Packets in Internet", PAM 2004;
//! - Paxson, "End-to-End Internet Packet Dynamics", IEEE/ACM Transactions on Networking 7(3), 1999.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::link::{Burst, Link, Mtu, Way};
use crate::nat::{Allocation, Fallback};

/// How a player gets onto the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Fibre,
    Cable,
    Dsl,
    /// It is a mobile network of LTE or 5G.
    Mobile,
    /// It is 3G, the edge of a cell, or a queue that somebody else's upload keeps full.
    SlowMobile,
    LowOrbit,
    Geostationary,
}

/// These are the players by access. OECD's broadband statistics of 2023 count some 42 % fibre, 28 % cable and 20 % DSL
/// among fixed lines (m); that a fifth of players come over mobile networks is our assumption. Far more than its share
/// of players is given to what is slow, so that it is seen: satellites serve about one line in a hundred.
const ACCESS: [(Access, u32); 7] = [
    (Access::Fibre, 30),
    (Access::Cable, 20),
    (Access::Dsl, 15),
    (Access::Mobile, 20),
    (Access::SlowMobile, 6),
    (Access::LowOrbit, 4),
    (Access::Geostationary, 5),
];

/// A round trip from a player or a server to the middle of the internet is at most this long: with 600 ms on both sides the
/// longest is 1,200 ms, two geostationary hops.
const LONGEST: f64 = 0.6;

/// A leg's round trip is at least 10 ms, half of it on each side: fibre to a server in the same town (FCC: 8 to 14 ms).
const SHORTEST: f64 = 0.005;

/// What is drawn of a NAT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DrawnNat {
    pub(super) allocation: Allocation,
    pub(super) cross: f64,
    pub(super) timeout: Duration,
}

/// Draws one of these by its weight.
fn weighted<T: Copy>(rng: &mut ChaCha8Rng, choices: &[(T, u32)]) -> T {
    let mut place = rng.random_range(0..choices.iter().map(|(_, weight)| weight).sum());
    let mut chosen = choices[0].0;
    for (choice, weight) in choices {
        chosen = *choice;
        if place < *weight {
            break;
        }
        place -= weight;
    }
    chosen
}

fn log_uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    (rng.random_range(low.ln()..=high.ln())).exp()
}

impl Access {
    pub(super) fn any(rng: &mut ChaCha8Rng) -> Self {
        weighted(rng, &ACCESS)
    }

    /// Returns the range of the round trip to the provider's door, in seconds.
    fn round_trip(self) -> (f64, f64) {
        match self {
            // FCC: medians of 8 to 14 ms for fibre, 13 to 30 ms for cable, 20 to 60 ms for DSL, 570 to 650 ms for
            // geostationary satellites (m), measured to the nearest test server: the server's own few ms are in there.
            Self::Fibre => (0.003, 0.012),
            Self::Cable => (0.010, 0.030),
            Self::Dsl => (0.018, 0.060),
            Self::Geostationary => (0.540, 0.600),
            // Speedtest and RIPE Atlas: 25 to 60 ms for low orbits, with peaks above (m).
            Self::LowOrbit => (0.022, 0.080),
            // OpenSignal's country reports: LTE 30 to 90 ms, 5G 20 to 40 ms (m).
            Self::Mobile => (0.020, 0.100),
            // OpenSignal: 3G 90 to 250 ms; full queues add up to half a second (Gettys and Nichols, "Bufferbloat", 2011; m).
            Self::SlowMobile => (0.090, 0.500),
        }
    }

    /// Draws the longest packet. It is Ethernet's 1,500 as a rule. PPPoE's header leaves 1,492 (RFC 2516), Japan's NTT
    /// lines 1,454 (its interface specification for FLET'S): DSL and some fibre. 3GPP TS 23.060, annex C, recommends
    /// 1,358 to mobile networks, so that tunnels between their stations need no fragments; many use 1,430 or more (m),
    /// and translation of IPv4 to IPv6 takes 20 (464XLAT, RFC 6877). One player in ten has a VPN on: WireGuard's 1,420
    /// (`wg-quick(8)`), or Tailscale's 1,280 (its documentation), the least that IPv6 allows (RFC 8200 section 5) (m).
    ///
    /// One way in ten is a black hole: RIPE Labs found 4 to 6 % of IPv4 probes, and as many or fewer of IPv6, where ICMP is
    /// filtered (de Boer and Bosma, "Discovering Path MTU black holes on the Internet using RIPE Atlas", 2012); more behind
    /// players' own firewalls (m).
    pub(super) fn mtu(self, rng: &mut ChaCha8Rng) -> Mtu {
        let line = match self {
            Self::Fibre => weighted(rng, &[(1500, 75), (1492, 20), (1454, 5)]),
            Self::Dsl => weighted(rng, &[(1492, 70), (1500, 25), (1454, 5)]),
            Self::Mobile | Self::SlowMobile => {
                weighted(rng, &[(1500, 50), (1480, 10), (1430, 15), (1420, 5), (1358, 15), (1280, 5)])
            }
            Self::Cable | Self::LowOrbit | Self::Geostationary => 1500,
        };
        let vpn = weighted(rng, &[(1500, 90), (1420, 5), (1280, 5)]);
        Mtu { bytes: line.min(vpn), icmp: !rng.random_bool(0.1) }
    }

    /// Returns the most jitter of a way, in seconds: fixed lines have some ms (FCC); a radio bearer's schedule and its
    /// retransmissions tens of them (LTE's HARQ: 8 ms a try); a low orbit changes satellites every 15 s and its queues
    /// with it (m).
    fn jitter(self) -> f64 {
        match self {
            Self::Fibre | Self::Cable => 0.003,
            Self::Dsl => 0.008,
            Self::LowOrbit | Self::Geostationary => 0.020,
            Self::Mobile => 0.030,
            Self::SlowMobile => 0.060,
        }
    }

    /// Makes the link between the player's outermost NAT and the middle of the internet.
    pub(super) fn link(self, rng: &mut ChaCha8Rng) -> Link {
        let (low, high) = self.round_trip();
        let access = log_uniform(rng, low, high);
        link(rng, access, self.jitter())
    }

    /// Draws whether it is behind a carrier's NAT rather than one at home. Richter: nine in ten cellular networks and
    /// 17 % of the others translate; satellites' do (m).
    fn has_carrier(self, rng: &mut ChaCha8Rng) -> bool {
        match self {
            Self::Mobile | Self::SlowMobile | Self::LowOrbit => rng.random_bool(0.9),
            Self::Fibre | Self::Cable | Self::Dsl | Self::Geostationary => rng.random_bool(0.17),
        }
    }

    /// What a name leaves open of a NAT.
    pub(super) fn nat(self, rng: &mut ChaCha8Rng) -> DrawnNat {
        let carrier = self.has_carrier(rng);
        let allocation = weighted(rng, if carrier { &CARRIERS } else { &HOMES });
        let step = step(rng);
        // Richter: chunks of 512 to 16,384 ports a subscriber (m); RFC 7422's example has 4,032 usable ones.
        let block = 512 << rng.random_range(0..=5);
        // Linux since 2.6 takes a random port when its own is taken, older ones and others the next one (m).
        let fallback = if rng.random_bool(0.8) { Fallback::Random } else { Fallback::Sequential };
        let allocation = match allocation {
            Ports::Preserved => Allocation::Preserving(fallback),
            Ports::Counted => Allocation::Sequential(step),
            Ports::Random => Allocation::Random,
            Ports::Block => Allocation::RandomInBlock(block),
        };
        DrawnNat { allocation, cross: cross(rng), timeout: timeout(rng) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    Preserved,
    Counted,
    Random,
    Block,
}

/// Richter, section 6.2: in carriers' networks about 40 % preserve ports, 20 % count, 40 % are random, of which a third
/// within a chunk of the subscriber's own (m, rounded to 5 %; cellular ones preserve less and are random more).
const CARRIERS: [(Ports, u32); 4] =
    [(Ports::Preserved, 40), (Ports::Counted, 20), (Ports::Random, 25), (Ports::Block, 15)];

/// Richter: 92 % of the sessions behind NATs at home kept their port (m). Nearly all of those NATs are cones, for which it
/// does not matter. Of symmetric ones at home Guha and Francis found most to count by one (m), and Linux, which most home
/// routers run, keeps the port of each destination while it is free; pf draws it. Nobody has counted them since, so these
/// shares are our assumption.
const HOMES: [(Ports, u32); 3] = [(Ports::Preserved, 60), (Ports::Counted, 30), (Ports::Random, 10)];

/// Draws by how much a counter moves on. Several processors or line cards with a counter each show as steps as large as
/// there are of them, up to 64 (our assumption): these are drawn as any magnitude, small ones more often.
fn step(rng: &mut ChaCha8Rng) -> i32 {
    match rng.random_range(0..100) {
        0..55 => 1,
        55..65 => 2,
        65..70 => -1,
        70..75 => -2,
        _ => {
            // 1 to 64, each rounding to the nearest.
            let magnitude = log_uniform(rng, 0.5, 64.5).round().clamp(1.0, 64.0) as i32;
            if rng.random() { magnitude } else { -magnitude }
        }
    }
}

/// Draws how many ports per second others behind the same address take. Klinec and Matyáš, from flow records of a
/// university: 47 a second at night and 264 by day (table 1: 4.73 in 100 ms, 2.64 in 10 ms), Poisson over a second. A
/// carrier's NAT with 17,068 subscribers made 417 translations a second (Cisco community, thread 2220143). A home makes
/// one now and then. So: log-uniform, from 0 to 1,000, above what was seen.
fn cross(rng: &mut ChaCha8Rng) -> f64 {
    log_uniform(rng, 1.0, 1001.0) - 1.0
}

/// Draws how long a mapping lives. Hätönen: of 34 home gateways, none forgot a UDP binding before 30 s, the median kept
/// it 90 s without an answer and 180 s with one (m). Richter: carriers' 10 to 200 s, half of them under 65 s (m).
fn timeout(rng: &mut ChaCha8Rng) -> Duration {
    Duration::from_secs_f64(log_uniform(rng, 30.0, 200.0))
}

/// The server is in a data centre: some ms to an exchange, and the way there.
pub(super) fn server_link(rng: &mut ChaCha8Rng) -> Link {
    let access = log_uniform(rng, 0.002, 0.010);
    link(rng, access, 0.001)
}

/// Draws how many routers are between two ends of the internet: traceroutes count 7 to 20 (Paxson; CAIDA's Ark; m), of
/// which this is the part outside of the two access networks.
pub(super) fn core_hops(rng: &mut ChaCha8Rng) -> u8 {
    rng.random_range(6..=18)
}

/// Returns a round trip to the middle of the internet: the access and the distance. Light in fibre takes 1 ms there and
/// back for 100 km; cables take a detour of a half, so half of the earth's 20,000 km between two ends is at most 150 ms
/// on each side. Players meet players who are near as a rule: log-uniform from 15 km to 10,000 km.
fn link(rng: &mut ChaCha8Rng, access: f64, jitter: f64) -> Link {
    let distance = log_uniform(rng, 0.000_2, 0.150);
    let round_trip = (access + distance).clamp(SHORTEST, LONGEST);
    // Routes differ by direction (Paxson: half of them), and most access is slower upwards.
    let up = rng.random_range(0.4..=0.6);
    let mut way = |share: f64| Way {
        delay: Duration::from_secs_f64(round_trip * share),
        jitter: Duration::from_secs_f64(rng.random_range(0.0..=jitter)),
        ..losses(rng)
    };
    Link { up: way(up), down: way(1.0 - up) }
}

/// What goes wrong on a way.
fn losses(rng: &mut ChaCha8Rng) -> Way {
    // FCC, chart 8: most lines lose less than 0.4 % at peak hours, some up to 1 %, few more (m). Wireless hops at home and
    // full queues lose more; the bound of 15 % between two is 7.8 % on each side's way.
    let loss = match rng.random_range(0..100) {
        0..60 => log_uniform(rng, 0.000_1, 0.004),
        60..85 => rng.random_range(0.004..=0.02),
        _ => rng.random_range(0.02..=0.078),
    };
    // Yajnik: half of the traces needed a model with memory, over times of up to a second (m). Hasslinger and Hohlfeld: two
    // states fit a backbone's losses.
    let burst = rng.random_bool(0.5).then(|| Burst {
        length: Duration::from_secs_f64(log_uniform(rng, 0.010, 0.5)),
        loss: rng.random_range(0.3..=1.0),
    });
    // Zhou and Van Mieghem: of bursts of 50 UDP datagrams 56 % had one out of order and 14 % more than two: between none
    // and 4 in 100, late by a few ms.
    let reorder = if rng.random_bool(0.5) { rng.random_range(0.0..=0.04) } else { 0.0 };
    let reorder_delay = Duration::from_secs_f64(log_uniform(rng, 0.000_5, 0.020));
    // Paxson: replication was rare, and came from single links: one in ten here, up to 2 in 100 (m).
    let duplicate = if rng.random_bool(0.1) { rng.random_range(0.0..=0.02) } else { 0.0 };
    Way { loss, burst, reorder, reorder_delay, duplicate, ..Way::default() }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const DRAWS: usize = 20_000;

    fn draws<T>(draw: impl Fn(&mut ChaCha8Rng) -> T) -> Vec<T> {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        (0..DRAWS).map(|_| draw(&mut rng)).collect()
    }

    fn share<T>(drawn: &[T], test: impl Fn(&T) -> bool) -> f64 {
        drawn.iter().filter(|one| test(one)).count() as f64 / drawn.len() as f64
    }

    #[test]
    fn round_trips_go_from_10_to_1200_ms() {
        let halves = draws(|rng| {
            let link = Access::any(rng).link(rng);
            (link.up.delay + link.down.delay).as_secs_f64()
        });
        let round_trips: Vec<f64> = halves.chunks(2).map(|pair| pair[0] + pair[1]).collect();
        assert!(round_trips.iter().all(|time| (0.0099..=1.2001).contains(time)));
        let between = |low: f64, high: f64| share(&round_trips, |time| (low..high).contains(time));
        assert!(between(0.0, 0.05) > 0.1 && between(0.05, 0.3) > 0.4, "most are short");
        assert!(between(0.3, 0.6) > 0.05 && between(0.6, 1.0) > 0.05, "some are long");
        assert!(between(1.0, 1.21) > 0.001, "a few have two satellites");
    }

    #[test]
    fn losses_go_to_15_percent_between_two_ways_and_half_come_in_bursts() {
        let ways = draws(losses);
        assert!(ways.iter().all(|way| way.loss > 0.0 && 1.0 - (1.0 - way.loss).powi(2) <= 0.15));
        assert!(share(&ways, |way| way.loss < 0.004) > 0.55 && share(&ways, |way| way.loss > 0.06) > 0.02);
        let bursts = share(&ways, |way| way.burst.is_some());
        assert!((bursts - 0.5).abs() < 0.02, "{bursts}");
        assert!(
            ways.iter().flat_map(|way| way.burst.map(|burst| (burst.loss, way.loss))).all(|(b, l)| b > l)
        );
        assert!(
            share(&ways, |way| way.reorder > 0.0) > 0.45 && share(&ways, |way| way.duplicate > 0.0) > 0.05
        );
    }

    #[test]
    fn most_ways_carry_ethernet_frames_and_some_no_more_than_ipv6_must() {
        let mtus = draws(|rng| Access::any(rng).mtu(rng));
        assert!(mtus.iter().all(|mtu| (1280..=1500).contains(&mtu.bytes)));
        let carry = |low: u16, high: u16| share(&mtus, |mtu| (low..=high).contains(&mtu.bytes));
        assert!(carry(1500, 1500) > 0.5, "{}", carry(1500, 1500));
        assert!(carry(1492, 1492) > 0.1 && carry(1358, 1454) > 0.1 && carry(1280, 1280) > 0.04);
        assert!((share(&mtus, |mtu| !mtu.icmp) - 0.1).abs() < 0.01);
    }

    #[test]
    fn foreign_allocations_are_log_uniform_up_to_1000_a_second() {
        let rates = draws(cross);
        assert!(rates.iter().all(|rate| (0.0..=1000.0).contains(rate)));
        let share = |low: f64, high: f64| share(&rates, |rate| (low..high).contains(rate));
        // ln 11 / ln 1001, and so on.
        for (low, high, expected) in [(0.0, 10.0, 0.347), (10.0, 100.0, 0.321), (100.0, 1001.0, 0.332)] {
            assert!((share(low, high) - expected).abs() < 0.02, "{low} to {high}: {}", share(low, high));
        }
    }

    #[test]
    fn steps_go_to_64_either_way_and_are_one_as_a_rule() {
        let steps = draws(step);
        assert!(steps.iter().all(|step| *step != 0 && step.abs() <= 64));
        assert!(share(&steps, |step| *step == 1) > 0.5 && share(&steps, |step| *step < 0) > 0.15);
        for edge in [-64, 64] {
            assert!(steps.contains(&edge), "{edge}");
        }
    }

    #[test]
    fn every_kind_of_allocation_is_drawn() {
        let nats = draws(|rng| Access::any(rng).nat(rng));
        let share_that = |test: fn(&Allocation) -> bool| share(&nats, |nat| test(&nat.allocation));
        let preserved = share_that(|allocation| matches!(allocation, Allocation::Preserving(_)));
        let counted = share_that(|allocation| matches!(allocation, Allocation::Sequential(_)));
        let random = share_that(|allocation| matches!(allocation, Allocation::Random));
        let block = share_that(|allocation| matches!(allocation, Allocation::RandomInBlock(_)));
        // 27 % + 0.17 * 70 % of the players are behind carriers: 39 %.
        assert!((preserved - 0.52).abs() < 0.03 && (counted - 0.26).abs() < 0.03, "{preserved} {counted}");
        assert!((random - 0.16).abs() < 0.03 && (block - 0.06).abs() < 0.02, "{random} {block}");
        assert!(nats.iter().all(|nat| (30..=200).contains(&nat.timeout.as_secs())));
    }
}
