//! Searches by many sockets or ports: one at a time for each player, whatever other matches it has.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use natlab::world::{Fate, Packet};
use traversal_core::wire::message::Topology;
use traversal_core::{AgentConfig, RelayPolicy};

/// A search makes new mappings or tries new ports so often; what pauses longer has ended.
const PAUSE: Duration = Duration::from_millis(1200);
/// Fewer new ones are a bubble's range or a row of predicted ports.
const MANY: usize = 60;

/// When each player sent from a socket to an address that it had not sent to from there, by the other player's IP.
#[derive(Debug, Default)]
struct Seen {
    pairs: BTreeSet<(usize, SocketAddr, SocketAddr)>,
    fresh: BTreeMap<(usize, IpAddr), Vec<Duration>>,
}

impl Seen {
    fn see(&mut self, host: usize, packet: &Packet<'_>) {
        let (from, to) = (packet.header.src, packet.header.dst);
        if self.pairs.insert((host, from, to)) {
            self.fresh.entry((host, to.ip())).or_default().push(packet.at);
        }
    }

    /// From when to when a player searched for another one.
    fn sprays(&self) -> Vec<(usize, IpAddr, Duration, Duration)> {
        let mut sprays = Vec::new();
        for ((host, ip), times) in &self.fresh {
            for row in times.chunk_by(|earlier, later| *later - *earlier <= PAUSE) {
                if row.len() >= MANY {
                    sprays.push((*host, *ip, row[0], row[row.len() - 1]));
                }
            }
        }
        sprays
    }

    /// Two searches of one player that overlap.
    fn overlapping(&self) -> Vec<String> {
        let sprays = self.sprays();
        let mut found = Vec::new();
        for (index, one) in sprays.iter().enumerate() {
            for other in &sprays[index + 1..] {
                if one.0 == other.0 && one.1 != other.1 && one.2 <= other.3 && other.2 <= one.3 {
                    found.push(format!("{one:?} and {other:?}"));
                }
            }
        }
        found
    }
}

struct Party {
    world: PartyWorld,
    seen: Rc<RefCell<Seen>>,
    asked: Duration,
}

/// All have logged in, and all but the host have just asked to join.
fn party(seed: u64, specs: &[&str], topology: Topology, config: &AgentConfig) -> Party {
    let chains: Vec<_> = specs.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
    let mut world = PartyWorld::new(seed, &chains, Duration::from_millis(30), config);
    assert!(world.prepare_as(topology));
    let seen = Rc::new(RefCell::new(Seen::default()));
    let sink = Rc::clone(&seen);
    world.world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| {
        if let Fate::Sent(host) = fate
            && !natlab::lobby::ADDRESSES.contains(&packet.header.dst.ip())
        {
            sink.borrow_mut().see(host.0, packet);
        }
    }));
    for host in world.players.clone() {
        world.world.count_anew(host);
    }
    let asked = world.world.now();
    for index in 1..specs.len() {
        world.join(index);
    }
    Party { world, seen, asked }
}

/// When the two became direct, after the wish to join.
fn direct_after(party: &Party, one: usize, other: usize) -> Option<Duration> {
    let base = party.world.world.instant_at(Duration::ZERO);
    let at = |one: usize, other: usize| {
        let other = party.world.player(other).id?;
        Some(party.world.player(one).direct_at.get(&other)?.saturating_duration_since(base))
    };
    Some(at(one, other)?.max(at(other, one)?).saturating_sub(party.asked))
}

fn run(party: &mut Party, time: Duration) {
    let end = party.asked + time;
    party.world.world.run_until(end);
}

/// Pairs that only a search joins: random ports on one side, and a port filter on the other.
fn searched(specs: &[&str], topology: Topology) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for one in 0..specs.len() {
        for other in one + 1..specs.len() {
            let meet = topology == Topology::Mesh || one == 0;
            if meet && (specs[one] == "psrandom") != (specs[other] == "psrandom") {
                pairs.push((one, other));
            }
        }
    }
    pairs
}

const STAR_3: [&str; 4] = ["portrestricted", "psrandom", "psrandom", "psrandom"];
const RANDOM_HOST: [&str; 4] = ["psrandom", "portrestricted", "portrestricted", "portrestricted"];
const STAR_8: [&str; 9] = [
    "portrestricted",
    "psrandom",
    "psrandom",
    "psrandom",
    "psrandom",
    "psrandom",
    "psrandom",
    "psrandom",
    "psrandom",
];
const MESH_4: [&str; 4] = ["psrandom", "portrestricted", "psrandom", "portrestricted"];
const MESH_8: [&str; 8] = [
    "psrandom",
    "portrestricted",
    "psrandom",
    "portrestricted",
    "psrandom",
    "portrestricted",
    "psrandom",
    "portrestricted",
];

#[test]
#[ignore = "prints how long searches take, to compare"]
fn measure() {
    for (name, specs, topology) in [
        ("host with 3 random joiners", &STAR_3[..], Topology::Star),
        ("random host with 3 joiners", &RANDOM_HOST[..], Topology::Star),
        ("host with 8 random joiners", &STAR_8[..], Topology::Star),
        ("mesh of 4", &MESH_4[..], Topology::Mesh),
        ("mesh of 8", &MESH_8[..], Topology::Mesh),
    ] {
        for relay in [RelayPolicy::Allow, RelayPolicy::Never] {
            let (mut all, mut in_10, mut times, mut overlaps, mut packets) = (0, 0, Vec::new(), 0, 0);
            for seed in 0..6 {
                let config = AgentConfig { relay, ..AgentConfig::default() };
                let mut party = party(seed, specs, topology, &config);
                run(&mut party, Duration::from_secs(120));
                for (one, other) in searched(specs, topology) {
                    all += 1;
                    if let Some(after) = direct_after(&party, one, other) {
                        times.push(after.as_secs_f64());
                        in_10 += usize::from(after <= Duration::from_secs(10));
                    }
                }
                overlaps += party.seen.borrow().overlapping().len();
                let hosts = &party.world.players;
                packets += hosts.iter().map(|h| party.world.world.stats(*h).targets.len()).sum::<usize>();
            }
            times.sort_by(f64::total_cmp);
            let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
            println!(
                "{name}, relay {relay:?}: {} of {all} direct ({in_10} within 10 s), mean {mean:.2} s, median {:.2} s, \
                 last {:.2} s, {overlaps} overlaps, {packets} targets",
                times.len(),
                times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
                times.last().copied().unwrap_or(f64::NAN),
            );
        }
    }
}
