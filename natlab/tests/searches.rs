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
use traversal_core::failure::FailureReason;
use traversal_core::wire::message::Topology;
use traversal_core::{AgentConfig, Event, PathKind, RelayPolicy};

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

    /// Returns from when to when a player searched for another one.
    fn searches(&self) -> Vec<(usize, IpAddr, Duration, Duration)> {
        let mut searches = Vec::new();
        for ((host, ip), times) in &self.fresh {
            for row in times.chunk_by(|earlier, later| *later - *earlier <= PAUSE) {
                if row.len() >= MANY {
                    searches.push((*host, *ip, row[0], row[row.len() - 1]));
                }
            }
        }
        searches
    }

    /// Returns the pairs of searches of one player that overlap.
    fn overlapping(&self) -> Vec<String> {
        let searches = self.searches();
        let mut found = Vec::new();
        for (index, one) in searches.iter().enumerate() {
            for other in &searches[index + 1..] {
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

/// Returns when the two became direct, after the wish to join.
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
/// All reach the host, without whom there is no room.
const MESH_4: [&str; 4] = ["portrestricted", "psrandom", "portrestricted", "psrandom"];
const MESH_8: [&str; 8] = [
    "portrestricted",
    "psrandom",
    "portrestricted",
    "psrandom",
    "portrestricted",
    "psrandom",
    "portrestricted",
    "psrandom",
];

const WORLDS: [(&str, &[&str], Topology); 5] = [
    ("host with 3 random joiners", &STAR_3, Topology::Star),
    ("random host with 3 joiners", &RANDOM_HOST, Topology::Star),
    ("host with 8 random joiners", &STAR_8, Topology::Star),
    ("mesh of 4", &MESH_4, Topology::Mesh),
    ("mesh of 8", &MESH_8, Topology::Mesh),
];

#[test]
fn no_player_searches_for_two_others_at_once_and_all_are_found_one_after_the_other() {
    for (name, specs, topology) in WORLDS {
        for seed in 0..3 {
            let mut party = party(seed, specs, topology, &AgentConfig::default());
            // Nobody waits for a turn to play.
            run(&mut party, Duration::from_secs(2));
            let pairs = searched(specs, topology);
            for (one, other) in &pairs {
                assert!(party.world.has_played(*one, *other), "{name}, seed {seed}: {one}-{other}");
            }
            run(&mut party, Duration::from_secs(60));
            for (one, other) in &pairs {
                assert!(party.world.has_direct(*one, *other), "{name}, seed {seed}: {one}-{other}");
            }
            let seen = party.seen.borrow();
            assert!(seen.searches().len() >= pairs.len(), "{name}, seed {seed}: {:?}", seen.searches());
            assert_eq!(seen.overlapping(), [""; 0], "{name}, seed {seed}");
        }
    }
}

/// Names the players who have not told how it went with everyone else.
fn unsettled(party: &Party, topology: Topology) -> Vec<usize> {
    let count = party.world.players.len();
    let settled = |one: &usize| {
        let others = if topology == Topology::Mesh || *one == 0 { count - 1 } else { 1 };
        let player = party.world.player(*one);
        player.paths.len() + player.failures.len() >= others
    };
    (0..count).filter(|one| !settled(one)).collect()
}

#[test]
fn without_a_relay_who_waits_is_found_as_well_and_every_attempt_ends() {
    let config = AgentConfig { relay: RelayPolicy::Never, ..AgentConfig::default() };
    for (name, specs, topology) in WORLDS {
        for seed in 0..3 {
            let mut party = party(seed, specs, topology, &config);
            // Random with random is hopeless, and fails after its ten seconds; the last search begins when the others
            // are over.
            run(&mut party, Duration::from_secs(70));
            let open = unsettled(&party, topology);
            assert_eq!(open, [0; 0], "{name}, seed {seed}: {:#?}", party.world.player(open[0]).events);
            assert_eq!(party.seen.borrow().overlapping(), [""; 0], "{name}, seed {seed}");
            let pairs = searched(specs, topology);
            let missing: Vec<_> =
                pairs.iter().filter(|pair| !party.world.has_direct(pair.0, pair.1)).collect();
            // One try finds 98 of 100.
            assert!(missing.len() <= 1, "{name}, seed {seed}: {missing:?}");
        }
    }
}

#[test]
fn every_attempt_ends_when_the_server_that_gives_the_turns_is_gone() {
    let config = AgentConfig { relay: RelayPolicy::Never, ..AgentConfig::default() };
    for after in [500, 3_000] {
        let mut party = party(1, &STAR_8, Topology::Star, &config);
        run(&mut party, Duration::from_millis(after));
        let server = party.world.server;
        party.world.world.replace_node(server, natlab::lobby::SimulatedProgram::Idle);
        run(&mut party, config.search_wait + Duration::from_secs(20));
        for joiner in 1..STAR_8.len() {
            let player = party.world.player(joiner);
            assert!(!player.paths.is_empty() || !player.failures.is_empty(), "{after} ms: {joiner}");
        }
        assert_eq!(party.seen.borrow().overlapping(), [""; 0], "{after} ms");
    }
}

#[test]
fn who_waits_long_is_told_so_and_is_direct_all_the_same() {
    let mut waited = 0;
    for seed in 0..3 {
        let mut party = party(seed, &STAR_8, Topology::Star, &AgentConfig::default());
        run(&mut party, Duration::from_secs(60));
        for joiner in 1..STAR_8.len() {
            let mut events = party.world.player(joiner).events.iter().map(|(_, event)| event);
            let told = |event: &Event| matches!(event, Event::PeerRelayed { report, .. } if report.reason == FailureReason::SearchWaits);
            let direct = |event: &Event| matches!(event, Event::PathChanged { path, .. } if path.kind != PathKind::Relay);
            if events.any(told) {
                waited += 1;
                assert!(events.any(direct), "seed {seed}: {joiner}");
            }
        }
    }
    assert!(waited > 0, "eight searches take longer than one attempt");
}

#[test]
fn who_needs_no_search_does_not_wait_for_those_who_do() {
    let specs = ["portrestricted", "psrandom", "psrandom", "psrandom", "restricted", "as", "ps"];
    for seed in 0..3 {
        let mut party = party(seed, &specs, Topology::Star, &AgentConfig::default());
        run(&mut party, Duration::from_secs(20));
        for quick in [4, 5, 6] {
            let after = direct_after(&party, 0, quick).unwrap();
            assert!(after < Duration::from_secs(1), "seed {seed}: {} after {after:?}", specs[quick]);
        }
    }
}
