//! A small NAT, written for these tests alone, behind which a real [`Classifier`] runs. One file of over 400 lines, since all
//! tests share that NAT.

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;
use crate::nat::NatKind;
use crate::wire::message::ProbePurpose;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ports {
    Preserve,
    Count(i32),
    Random,
    Block(u16, u16),
}

#[derive(Clone, Copy, Debug)]
struct Model {
    /// This says how it maps: 0: one port for all, 1: per address, 2: per address and port.
    mapping: u8,
    /// This says how it filters: 0: not at all, 1: by address, 2: by address and port.
    filtering: u8,
    ports: Ports,
    translates: bool,
    hairpin: bool,
    blocked: bool,
    /// Others take so many ports a second.
    foreign: u32,
    /// Each n-th packet, either way, is lost.
    lose_every: u32,
    addresses: usize,
}

const MODEL: Model = Model {
    mapping: 0,
    filtering: 0,
    ports: Ports::Count(1),
    translates: true,
    hairpin: false,
    blocked: false,
    foreign: 0,
    lose_every: 0,
    addresses: 2,
};

const RTT: Duration = Duration::from_millis(60);

fn servers(addresses: usize) -> Vec<SocketAddr> {
    let all = ["203.0.113.10:3478", "203.0.113.10:3479", "203.0.113.11:3478", "203.0.113.11:3479"];
    all[..addresses * 2].iter().map(|s| s.parse().unwrap()).collect()
}

struct World {
    model: Model,
    servers: Vec<SocketAddr>,
    start: Instant,
    counter: i64,
    foreign_taken: u32,
    random: u64,
    packets: u32,
    mappings: BTreeMap<(u16, Option<IpAddr>, Option<u16>), u16>,
    sent: Vec<(u16, SocketAddr)>,
    external: IpAddr,
}

impl World {
    fn lost(&mut self) -> bool {
        self.packets += 1;
        self.model.blocked
            || (self.model.lose_every > 0 && self.packets.is_multiple_of(self.model.lose_every))
    }

    fn new_port(&mut self, now: Instant, local: u16) -> u16 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = (self.random >> 33) as u32;
        match self.model.ports {
            Ports::Preserve => local,
            Ports::Random => 1_024 + (random % 64_512) as u16,
            Ports::Block(first, size) => first + (random % u32::from(size)) as u16,
            Ports::Count(step) => {
                let due = (now - self.start).as_secs_f64() * f64::from(self.model.foreign);
                let foreign = due as u32 - self.foreign_taken;
                self.foreign_taken += foreign;
                self.counter += i64::from(step) * i64::from(foreign + 1);
                crate::ports::advance(30_000, self.counter)
            }
        }
    }

    fn out(&mut self, now: Instant, local: u16, to: SocketAddr) -> SocketAddr {
        self.sent.push((local, to));
        if !self.model.translates {
            return SocketAddr::new(self.external, local);
        }
        let key = match self.model.mapping {
            0 => (local, None, None),
            1 => (local, Some(to.ip()), None),
            _ => (local, Some(to.ip()), Some(to.port())),
        };
        let port = match self.mappings.get(&key) {
            Some(port) => *port,
            None => {
                let port = self.new_port(now, local);
                self.mappings.insert(key, port);
                port
            }
        };
        SocketAddr::new(self.external, port)
    }

    fn lets_in(&self, local: u16, from: SocketAddr) -> bool {
        self.sent.iter().any(|(l, to)| {
            *l == local
                && match self.model.filtering {
                    0 => true,
                    1 => to.ip() == from.ip(),
                    _ => *to == from,
                }
        })
    }

    fn answer_from(&self, asked: SocketAddr, purpose: ProbePurpose) -> Option<SocketAddr> {
        match purpose {
            ProbePurpose::Report => Some(asked),
            ProbePurpose::ReplyFromOtherPort => {
                self.servers.iter().copied().find(|s| s.ip() == asked.ip() && *s != asked)
            }
            ProbePurpose::ReplyFromOtherAddress => {
                self.servers.iter().copied().find(|s| s.ip() != asked.ip())
            }
            _ => None,
        }
    }
}

/// Runs a classification; gives its profile, its evidence and how long it took.
fn run(model: Model) -> (NatProfile, Evidence, Duration) {
    let start = Instant::now();
    let servers = servers(model.addresses);
    let external: IpAddr = "198.51.100.7".parse().unwrap();
    let mut world = World {
        model,
        servers: servers.clone(),
        start,
        counter: 0,
        foreign_taken: 0,
        random: 12_345,
        packets: 0,
        mappings: BTreeMap::new(),
        sent: Vec::new(),
        external,
    };
    let own: IpAddr = if model.translates { "192.168.1.2".parse().unwrap() } else { external };
    let mut classifier = Classifier::new(
        start,
        ClassifierConfig {
            targets: servers,
            local: vec![own],
            rtt: RttEstimate::of(RTT),
            step_rule: StepRule::Gcd,
        },
    );
    let local = |slot: u16| 50_000 + slot;
    let mut now = start;
    let mut answers: Vec<(Instant, u32, SocketAddr, SocketAddr)> = Vec::new();
    let mut open = 0i32;
    for _ in 0..10_000 {
        while let Some(order) = classifier.poll_order() {
            match order {
                ClassifierOrder::OpenSocket { slot } => {
                    open += 1;
                    classifier.handle_socket(now, slot, Some(local(slot)));
                }
                ClassifierOrder::CloseSocket { .. } => open -= 1,
                ClassifierOrder::Hairpin { slot, to, .. } => {
                    world.out(now, local(slot), to);
                    if model.hairpin {
                        classifier.handle_hairpin(now);
                    }
                }
                ClassifierOrder::Probe(probe) => {
                    let lost_out = world.lost();
                    let observed = world.out(now, local(probe.slot), probe.target);
                    let Some(from) = world.answer_from(probe.target, probe.purpose) else { continue };
                    if !lost_out && !world.lost() && world.lets_in(local(probe.slot), from) {
                        answers.push((now + RTT, probe.tag, observed, from));
                    }
                }
            }
        }
        if classifier.is_done() {
            assert_eq!(open, 0, "every socket is given back");
            assert_eq!(classifier.poll_timeout(), None);
            return (classifier.profile(), classifier.evidence(), now - start);
        }
        answers.sort_by_key(|a| std::cmp::Reverse(a.0));
        let due = classifier.poll_timeout().expect("waits for something");
        if answers.last().is_some_and(|a| a.0 <= due) {
            let (at, tag, observed, from) = answers.pop().unwrap();
            now = at;
            classifier.handle_seen(now, tag, observed, from);
        } else {
            now = due;
            classifier.handle_timeout(now);
        }
    }
    panic!("does not end");
}

#[test]
fn m1_m2_m3_the_five_names() {
    for (mapping, filtering, kind) in [
        (0, 0, NatKind::FullCone),
        (0, 1, NatKind::RestrictedCone),
        (0, 2, NatKind::PortRestrictedCone),
        (1, 1, NatKind::AddressSensitiveSymmetric),
        (2, 2, NatKind::PortSensitiveSymmetric),
    ] {
        let (profile, _, _) = run(Model { mapping, filtering, ..MODEL });
        assert_eq!(profile.kind(), kind);
        assert_eq!(profile.confidence, Confidence::Full);
        assert_eq!(profile.allocation, PortAllocation::Sequential { step: 1 });
        assert_eq!(profile.translated, Some(true));
        assert_eq!(profile.pooled, Some(false));
    }
}

#[test]
fn m3_every_mapping_with_every_filter_even_with_loss() {
    use {FilteringBehavior as F, MappingBehavior as M};
    let mappings = [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent];
    let filters = [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent];
    for (m, mapping) in mappings.into_iter().enumerate() {
        for (f, filtering) in filters.into_iter().enumerate() {
            for lose_every in [0, 7, 5] {
                let (profile, _, took) =
                    run(Model { mapping: m as u8, filtering: f as u8, lose_every, ..MODEL });
                assert_eq!((profile.mapping, profile.filtering), (mapping, filtering), "loss {lose_every}");
                assert!(took < Duration::from_secs(4), "{took:?}");
            }
        }
    }
}

#[test]
fn m4_allocations() {
    let symmetric = Model { mapping: 2, filtering: 2, ..MODEL };
    let told = |ports| run(Model { ports, ..symmetric }).0.allocation;
    assert_eq!(told(Ports::Count(3)), PortAllocation::Sequential { step: 3 });
    assert_eq!(told(Ports::Count(-2)), PortAllocation::Sequential { step: -2 });
    assert_eq!(told(Ports::Random), PortAllocation::Random);
    assert!(matches!(told(Ports::Block(5_056, 4_032)), PortAllocation::RandomInBlock { .. }));
    assert_eq!(run(Model { ports: Ports::Preserve, ..MODEL }).0.allocation, PortAllocation::Preserving);
}

/// P5, P6 and P7 are the ports of three sockets at one port of the server, P8 is that of the third socket at another one.
#[test]
fn m4_e4_counts_p8_only_where_the_nat_is_port_sensitive() {
    let step = |observed: [u16; 4]| {
        let targets = servers(1);
        let sighting = |(i, port): (usize, u16)| Sighting {
            local_port: 50_000 + 3 * i.min(2) as u16,
            target: targets[usize::from(i == 3)],
            observed: SocketAddr::from(([198, 51, 100, 1], port)),
            sent: Duration::ZERO,
            repeated: false,
            burst: 0,
            sequence: i as u16,
        };
        let sightings = observed.into_iter().enumerate().map(sighting).collect();
        classify(&Evidence { sightings, step_rule: StepRule::Min, ..Evidence::default() }).allocation
    };
    // P8 differs: the smallest of three differences. P8 equals P7: the smaller of the first two.
    assert_eq!(step([4_000, 4_006, 4_012, 4_014]), PortAllocation::Sequential { step: 2 });
    assert_eq!(step([4_000, 4_004, 4_010, 4_010]), PortAllocation::Sequential { step: 4 });
}

#[test]
fn m4_step_and_rate_among_foreign_ports() {
    for (step, foreign) in [(1, 50), (3, 50), (-2, 20)] {
        let model = Model { mapping: 2, filtering: 2, ports: Ports::Count(step), foreign, ..MODEL };
        let (profile, _, _) = run(model);
        assert_eq!(profile.allocation, PortAllocation::Sequential { step });
        let rate = profile.foreign_rate.expect("measured");
        assert!((rate - foreign as f32).abs() <= foreign as f32 * 0.2 + 2.0, "{rate} of {foreign}");
    }
}

#[test]
fn m4_a_classification_is_over_in_two_round_trips_and_a_second_and_costs_16_mappings_at_most() {
    for foreign in [0, 1_000] {
        for step in [1, -2, 64, -64] {
            let model = Model { mapping: 2, filtering: 0, ports: Ports::Count(step), foreign, ..MODEL };
            let (profile, evidence, took) = run(model);
            assert_eq!(profile.allocation, PortAllocation::Sequential { step }, "{foreign}");
            let rate = profile.foreign_rate.expect("measured");
            assert!((rate - foreign as f32).abs() <= foreign as f32 * 0.05 + 2.0, "{rate} of {foreign}");
            assert!(took < RTT * 2 + Duration::from_secs(1), "{took:?}");
            let ports: std::collections::BTreeSet<_> =
                evidence.sightings.iter().map(|s| s.observed).collect();
            assert!(ports.len() <= 16, "{}", ports.len());
        }
    }
    // Where new ports do not matter, or have no pattern, the first burst is all.
    for (mapping, ports, most) in [(0, Ports::Count(1), 8), (2, Ports::Random, 10)] {
        let (_, evidence, _) = run(Model { mapping, ports, ..MODEL });
        let ports: std::collections::BTreeSet<_> = evidence.sightings.iter().map(|s| s.observed).collect();
        assert!(ports.len() <= most, "{}", ports.len());
    }
}

#[test]
fn m5_no_nat_and_firewall_only() {
    let (profile, _, _) = run(Model { translates: false, ..MODEL });
    assert_eq!((profile.kind(), profile.translated), (NatKind::None, Some(false)));
    let (profile, _, _) = run(Model { translates: false, filtering: 2, ..MODEL });
    assert_eq!(profile.kind(), NatKind::Firewall);
    assert_eq!(profile.mapping, MappingBehavior::EndpointIndependent);
}

#[test]
fn m6_one_server_address_tells_port_sensitive_from_not() {
    let (profile, _, _) = run(Model { mapping: 1, filtering: 1, addresses: 1, ..MODEL });
    assert_eq!(profile.mapping, MappingBehavior::NotPortSensitive);
    assert_eq!(profile.filtering, FilteringBehavior::Unknown, "said, not guessed");
    assert_eq!(profile.confidence, Confidence::Reduced);
    assert_eq!(profile.kind(), NatKind::Unknown);
    let (profile, _, _) = run(Model { mapping: 2, filtering: 2, addresses: 1, ..MODEL });
    assert_eq!(profile.mapping, MappingBehavior::AddressAndPortDependent);
    assert_eq!(
        profile.filtering,
        FilteringBehavior::AddressAndPortDependent,
        "silence tells with one address, too"
    );
}

#[test]
fn m4_a_counter_behind_a_nat_that_keeps_ports_is_told_from_first_mappings() {
    // Eight fresh sockets; the inner NAT counts. The outer one keeps each port for the first destination, and draws one for
    // those after it, which find it taken.
    let seen = |local: u16, external: u16, target: usize, sequence: u16| Sighting {
        local_port: local,
        target: servers(2)[target],
        observed: SocketAddr::new("198.51.100.1".parse().unwrap(), external),
        sent: Duration::ZERO,
        repeated: false,
        burst: 0,
        sequence,
    };
    let mut sightings: Vec<Sighting> = (0..8).map(|i| seen(40_000 + i * 7, 30_001 + i, 0, i)).collect();
    sightings.extend([seen(40_000, 61_203, 1, 8), seen(40_000, 5_772, 2, 9), seen(40_007, 18_394, 1, 10)]);
    let profile = classify(&Evidence { sightings, two_addresses: true, ..Evidence::default() });
    assert_eq!(profile.mapping, MappingBehavior::AddressAndPortDependent);
    assert_eq!(profile.allocation, PortAllocation::Sequential { step: 1 });
    // Chance alone does not become a counter that way.
    let drawn = [9_113, 50_220, 33_871, 2_904, 61_005, 27_446, 41_932, 15_777];
    let mut sightings: Vec<Sighting> =
        (0..8).map(|i| seen(40_000 + i * 7, drawn[usize::from(i)], 0, i)).collect();
    sightings.extend([seen(40_000, 61_203, 1, 8), seen(40_000, 5_772, 2, 9)]);
    let profile = classify(&Evidence { sightings, two_addresses: true, ..Evidence::default() });
    assert_eq!(profile.allocation, PortAllocation::Random);
}

#[test]
fn hairpin_blocked_and_nothing_to_ask() {
    assert_eq!(run(Model { hairpin: true, ..MODEL }).0.hairpin, Some(true));
    assert_eq!(run(MODEL).0.hairpin, Some(false));
    assert_eq!(run(Model { mapping: 2, filtering: 2, ..MODEL }).0.hairpin, None);
    let (profile, _, _) = run(Model { blocked: true, ..MODEL });
    assert_eq!(profile.kind(), NatKind::Unknown, "the session that it runs beside is by UDP");
    let now = Instant::now();
    let config = ClassifierConfig {
        targets: Vec::new(),
        local: Vec::new(),
        rtt: RttEstimate::default(),
        step_rule: StepRule::Min,
    };
    let mut none = Classifier::new(now, config);
    assert!(none.is_done() && none.poll_order().is_none());
    assert_eq!(none.profile(), NatProfile::default());
}

#[test]
fn waits_no_longer_than_the_round_trip_demands() {
    // Open NAT: nothing is silent but the hairpin test.
    let (_, _, took) = run(Model { hairpin: true, ..MODEL });
    assert!(took <= RTT + Duration::from_millis(5), "{took:?}");
    // Silent filters: five tries half a timeout apart and one timeout.
    let (_, _, took) = run(Model { filtering: 2, hairpin: true, ..MODEL });
    assert!(took < RTT * 8, "{took:?}");
}

#[test]
fn pooled_addresses_are_seen() {
    let (_, mut evidence, _) = run(Model { mapping: 2, filtering: 2, ..MODEL });
    evidence.sightings[1].observed.set_ip("198.51.100.8".parse().unwrap());
    let profile = classify(&evidence);
    assert_eq!(profile.pooled, Some(true));
    assert_eq!(profile.allocation, PortAllocation::Sequential { step: 1 });
}

#[test]
fn m7_the_server_comes_to_the_same_profile_from_what_it_saw() {
    for (mapping, filtering) in [(0, 1), (1, 1), (2, 2)] {
        let (profile, evidence, _) = run(Model { mapping, filtering, ..MODEL });
        // The server does not hear about the filter tests and the hairpin.
        let server =
            Evidence { from_other_port: None, from_other_address: None, hairpin: None, ..evidence.clone() };
        let seen = classify(&server);
        assert_eq!(seen.filtering, FilteringBehavior::Unknown);
        assert_eq!(merge_report(&seen, &profile), profile);
    }
}

#[test]
fn m4_a_mapping_shared_with_a_lost_probe_does_not_hide_the_counter() {
    // An address-sensitive NAT counting by -1. The first packets of the sockets 0 and 1 were lost behind it; socket
    // 0's probe to the other port of the server came through by the mapping that the lost one had made.
    let at = |n: u16, target: usize, port: u16, ms: u64, repeated: bool| Sighting {
        local_port: 50_000 + n,
        target: servers(2)[target],
        observed: SocketAddr::new("198.51.100.7".parse().unwrap(), port),
        sent: Duration::from_millis(ms),
        repeated,
        burst: 0,
        sequence: n + 8 * (ms > 0) as u16,
    };
    let mut sightings: Vec<_> = (2..8).map(|n| at(n, 0, 16_300 - n, 0, false)).collect();
    sightings.push(at(0, 1, 16_300, 1, false));
    sightings.push(at(0, 2, 16_292, 1, false));
    sightings.push(at(0, 0, 16_300, 300, true));
    sightings.push(at(1, 0, 16_299, 300, true));
    let evidence = Evidence { sightings, two_addresses: true, ..Evidence::default() };
    let profile = classify(&evidence);
    assert_eq!(profile.mapping, MappingBehavior::AddressDependent);
    assert_eq!(profile.allocation, PortAllocation::Sequential { step: -1 });
}

#[test]
fn tags_carry_the_local_port() {
    for repeated in [false, true] {
        let tag = ProbeTag { local_port: 50_007, repeated, burst: 3, sequence: 513 };
        assert_eq!(ProbeTag::from(u32::from(tag)), tag);
    }
}

#[test]
fn answers_nobody_asked_for_are_ignored() {
    let now = Instant::now();
    let config = ClassifierConfig {
        targets: servers(2),
        local: Vec::new(),
        rtt: RttEstimate::default(),
        step_rule: StepRule::Min,
    };
    let mut classifier = Classifier::new(now, config);
    let stranger: SocketAddr = "192.0.2.1:9".parse().unwrap();
    classifier.handle_seen(now, 999, stranger, stranger);
    classifier.handle_seen(now, 0, stranger, stranger);
    classifier.handle_socket(now, 40_000, Some(1));
    classifier.handle_timeout(now);
    assert_eq!(classifier.profile(), NatProfile::default());
}

#[test]
fn m1_m3_filter_tests_come_from_sockets_that_have_sent_nowhere_else() {
    // Without any answer nothing is known early, and all tries are made.
    let start = Instant::now();
    let targets = servers(2);
    let config = ClassifierConfig {
        targets: targets.clone(),
        local: Vec::new(),
        rtt: RttEstimate::of(RTT),
        step_rule: StepRule::Gcd,
    };
    for answered in [false, true] {
        let mut classifier = Classifier::new(start, config.clone());
        let mut now = start;
        let mut sent: BTreeMap<u16, Vec<ProbeOrder>> = BTreeMap::new();
        while !classifier.is_done() {
            while let Some(order) = classifier.poll_order() {
                match order {
                    ClassifierOrder::OpenSocket { slot } => {
                        classifier.handle_socket(now, slot, Some(50_000 + slot));
                    }
                    ClassifierOrder::Probe(probe) => {
                        sent.entry(probe.slot).or_default().push(probe);
                        if answered && probe.purpose == ProbePurpose::Report {
                            let observed = SocketAddr::from(([198, 51, 100, 1], 50_000 + probe.slot));
                            classifier.handle_seen(now, probe.tag, observed, probe.target);
                        }
                    }
                    ClassifierOrder::Hairpin { .. } | ClassifierOrder::CloseSocket { .. } => {}
                }
            }
            let Some(due) = classifier.poll_timeout() else { break };
            now = due;
            classifier.handle_timeout(now);
        }
        let tests = |purpose| {
            let socket = sent.values().find(|probes| probes.iter().any(|probe| probe.purpose == purpose));
            socket.unwrap_or_else(|| panic!("nobody asks {purpose:?}"))
        };
        let (port, address) =
            (tests(ProbePurpose::ReplyFromOtherPort), tests(ProbePurpose::ReplyFromOtherAddress));
        assert_ne!(port[0].slot, address[0].slot);
        for probes in [port, address] {
            assert!(probes.iter().all(|probe| probe.target == targets[0]), "{probes:?}");
            assert_eq!(probes[0].purpose, ProbePurpose::Report, "its mapping is known to live");
        }
    }
}
