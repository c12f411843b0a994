//! Two NATs, a lobby server and two punchers: just enough of a world to see each method through.

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::*;
use crate::nat::{Confidence, FilteringBehavior as F, MappingBehavior as M};
use crate::ports::advance;
pub(super) use run::run;

/// This is a NAT, with what is known about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nat {
    pub(super) profile: NatProfile,
    /// Others take so many ports a second.
    pub(super) foreign: f64,
}

pub(super) fn nat(mapping: M, filtering: F, allocation: PortAllocation) -> Nat {
    let profile = NatProfile {
        mapping,
        filtering,
        allocation,
        translated: Some(true),
        confidence: Confidence::Full,
        foreign_rate: Some(0.0),
        ..NatProfile::default()
    };
    Nat { profile, foreign: 0.0 }
}

pub(super) fn named(name: &str, step: i32) -> Nat {
    let ports = PortAllocation::Sequential { step };
    match name {
        "fc" => nat(M::EndpointIndependent, F::EndpointIndependent, ports),
        "r" => nat(M::EndpointIndependent, F::AddressDependent, ports),
        "pr" => nat(M::EndpointIndependent, F::AddressAndPortDependent, ports),
        "as" => nat(M::AddressDependent, F::AddressDependent, ports),
        "ps" => nat(M::AddressAndPortDependent, F::AddressAndPortDependent, ports),
        "random" => nat(M::AddressAndPortDependent, F::AddressAndPortDependent, PortAllocation::Random),
        other => panic!("{other}"),
    }
}

pub(super) const PEER: &str = "192.0.2.1:4000";
pub(super) const SERVERS: [&str; 2] = ["203.0.113.1:3478", "203.0.113.2:3478"];

/// Returns the context of a puncher that a test drives by hand: the other side is at [`PEER`], the server at
/// [`SERVERS`].
pub(super) fn context(role: Role, own: &str, peer: &str) -> PunchContext {
    PunchContext {
        bubble_targets: Vec::new(),
        match_id: MatchId(1),
        role,
        own: named(own, 1).profile,
        peer: named(peer, 1).profile,
        peer_public: vec![PEER.parse().unwrap()],
        servers: SERVERS.map(|server| server.parse().unwrap()).into(),
        rtt: RttEstimate::of(Duration::from_millis(50)),
        peer_rtt: RttEstimate::of(Duration::from_millis(50)),
        detect: Detect::Server,
        first_ttl: None,
        ports_ahead: None,
        caps: Caps::default(),
        seed: 1,
        edition: 0,
    }
}

impl Nat {
    pub(super) fn busy(mut self, rate: f64) -> Self {
        self.foreign = rate;
        self.profile.foreign_rate = Some(rate as f32);
        self
    }
}

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) method: Method,
    /// These are the NATs of the sending side and the receiving side of the plan.
    pub(super) nats: [Nat; 2],
    /// This is the one-way delay to the server of each; between the two it is the sum of both, less a bit.
    pub(super) delay: [Duration; 2],
    /// Each datagram is lost with this probability.
    pub(super) loss: f64,
    pub(super) seed: u64,
    pub(super) server_addresses: usize,
    pub(super) detect: Detect,
    pub(super) caps: Caps,
    pub(super) bubble_targets: [Vec<u16>; 2],
    pub(super) deadline: Duration,
}

impl Setup {
    pub(super) fn new(method: Method, sending: Nat, receiving: Nat) -> Self {
        Self {
            method,
            nats: [sending, receiving],
            delay: [Duration::from_millis(25); 2],
            loss: 0.0,
            seed: 1,
            server_addresses: 2,
            detect: Detect::Server,
            caps: Caps::default(),
            bubble_targets: Default::default(),
            deadline: Duration::from_secs(10),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The first datagram of the other side got in anywhere at this time.
    pub(super) first: Option<Duration>,
    /// Both sides heard an answer.
    pub(super) confirmed: Option<Duration>,
    pub(super) sent: [Vec<(Duration, Slot, SocketAddr)>; 2],
    pub(super) spending: [Spending; 2],
    /// This slot heard the other side.
    pub(super) heard_on: [Option<Slot>; 2],
    pub(super) facts: Vec<Facts>,
    /// Each side's tests left by these ports.
    pub(super) left_by: [Vec<(u16, SocketAddr)>; 2],
}

enum Happening {
    ToServer { side: usize, source: SocketAddr, at: SocketAddr, purpose: ProbePurpose, tag: u32 },
    Seen { side: usize, tag: u32, observed: SocketAddr },
    Facts { side: usize, facts: Facts },
    ToPeer { side: usize, source: SocketAddr, to: SocketAddr, confirms: bool },
}

struct Side {
    nat: Nat,
    ip: IpAddr,
    counter: i64,
    mappings: BTreeMap<(Slot, Option<IpAddr>, Option<u16>), u16>,
    opened: BTreeSet<(Slot, SocketAddr)>,
    foreign_due: f64,
    puncher: Box<dyn Puncher>,
    budget: Budget,
    spending: Spending,
}

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Side {
    fn new(setup: &Setup, side: usize, start: Instant, servers: &[SocketAddr], chance: &mut Chance) -> Self {
        // Both are logged in: the lobby port of each is the first one of its main socket.
        let lobby = IPS.map(|ip| SocketAddr::new(ip, 30_000));
        let nat = setup.nats[side];
        let context = PunchContext {
            match_id: MatchId(7),
            role: if side == 0 { Role::Sending } else { Role::Receiving },
            own: nat.profile,
            peer: setup.nats[1 - side].profile,
            peer_public: vec![lobby[1 - side]],
            servers: servers.to_vec(),
            rtt: RttEstimate::of(setup.delay[side] * 2),
            peer_rtt: RttEstimate::of(setup.delay[1 - side] * 2),
            detect: setup.detect,
            first_ttl: None,
            ports_ahead: None,
            caps: setup.caps,
            bubble_targets: setup.bubble_targets[side].clone(),
            seed: setup.seed.wrapping_mul(0x1234_5678_9ABC_DEF1),
            edition: 0,
        };
        let foreign_due =
            if nat.foreign > 0.0 { -(1.0 - chance.next()).ln() / nat.foreign } else { f64::INFINITY };
        let login = match nat.profile.mapping {
            M::EndpointIndependent => (Slot::Main, None, None),
            M::AddressDependent => (Slot::Main, Some(servers[0].ip()), None),
            _ => (Slot::Main, Some(servers[0].ip()), Some(servers[0].port())),
        };
        Self {
            nat,
            ip: IPS[side],
            counter: 0,
            mappings: BTreeMap::from([(login, 30_000)]),
            opened: BTreeSet::from([(Slot::Main, servers[0])]),
            foreign_due,
            puncher: puncher(setup.method, start, context).unwrap(),
            budget: Budget::new(setup.caps),
            spending: Spending::default(),
        }
    }

    fn new_port(&mut self, now: f64, chance: &mut Chance) -> u16 {
        match self.nat.profile.allocation {
            PortAllocation::Sequential { step } => {
                while self.foreign_due <= now {
                    self.counter += i64::from(step);
                    self.foreign_due += -(1.0 - chance.next()).ln() / self.nat.foreign;
                }
                self.counter += i64::from(step);
                advance(30_000, self.counter)
            }
            PortAllocation::RandomInBlock { first, last } => {
                first + (chance.next() * f64::from(last - first + 1)) as u16
            }
            _ => 1_024 + (chance.next() * 64_512.0) as u16,
        }
    }

    fn out(&mut self, now: f64, slot: Slot, to: SocketAddr, chance: &mut Chance) -> SocketAddr {
        self.opened.insert((slot, to));
        let key = match self.nat.profile.mapping {
            M::EndpointIndependent => (slot, None, None),
            M::AddressDependent => (slot, Some(to.ip()), None),
            _ => (slot, Some(to.ip()), Some(to.port())),
        };
        let port = match self.mappings.get(&key) {
            Some(port) => *port,
            None => {
                let port = self.new_port(now, chance);
                self.mappings.insert(key, port);
                port
            }
        };
        SocketAddr::new(self.ip, port)
    }

    /// Returns which socket a datagram gets to.
    fn inside(&self, source: SocketAddr, port: u16) -> Option<Slot> {
        let here = self.mappings.iter().filter(|(_, p)| **p == port);
        here.map(|(key, _)| key).find_map(|(slot, ip, dst_port)| {
            let same_mapping = |to: &SocketAddr| {
                ip.is_none_or(|ip| ip == to.ip()) && dst_port.is_none_or(|p| p == to.port())
            };
            let lets_in = self.opened.iter().any(|(s, to)| {
                s == slot
                    && same_mapping(to)
                    && match self.nat.profile.filtering {
                        F::EndpointIndependent => true,
                        F::AddressDependent => to.ip() == source.ip(),
                        _ => *to == source,
                    }
            });
            lets_in.then_some(*slot)
        })
    }
}

/// The two sides have these public addresses.
const IPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
