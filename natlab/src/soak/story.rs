//! A join in which things go wrong at random moments.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lobby_server::ServerConfig;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::Command;
use traversal_core::wire::message::RoomTarget;

use super::watch::{Watched, watch};
use super::worlds::any;
use crate::link::{Link, Way};
use crate::lobby::{Lobby, SimulatedProgram};
use crate::scenario::{PairWorld, PairWorldSettings};
use crate::world::HostId;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The server is switched off, for good.
    ServerKilled,
    /// The server is switched off, and comes back without a memory.
    ServerRestarted,
    /// A NAT forgets everything.
    NatReboots,
    /// A NAT has another external address from now on.
    AddressChanges,
    /// A link loses half of everything or more for a while.
    LossBurst,
    /// The joining player asks again and again.
    DuplicatedJoin,
    /// The joining player leaves and asks again.
    LeavesAndJoinsAgain,
    /// A player is gone without a word.
    PeerKilled,
    /// A player is unplugged for a moment.
    PeerSleeps,
    /// A NAT lets no UDP through any more.
    UdpBlocked,
    /// A link takes most of a second for a while.
    SlowLink,
    /// A link mixes up the order of packets and doubles them for a while.
    Disorder,
    /// From now on a NAT lets unsolicited packets occupy its ports, as a Linux router without a firewall.
    Clash,
}

/// These are all faults that can happen in a story.
pub const FAULTS: [Fault; 13] = [
    Fault::ServerKilled,
    Fault::ServerRestarted,
    Fault::NatReboots,
    Fault::AddressChanges,
    Fault::LossBurst,
    Fault::DuplicatedJoin,
    Fault::LeavesAndJoinsAgain,
    Fault::PeerKilled,
    Fault::PeerSleeps,
    Fault::UdpBlocked,
    Fault::SlowLink,
    Fault::Disorder,
    Fault::Clash,
];

/// A world has at most this many packets and timeouts; the busiest have some ten thousand.
const MOST_STEPS: u64 = 2_000_000;

/// What is to be undone later.
enum Undo {
    Server,
    Link(bool, Box<Link>),
    Wake(HostId),
}

/// It is a join with its faults, run up to the time by which everybody must have been told how it ended.
pub struct Story {
    /// This is the world at the end.
    pub pair: PairWorld,
    /// It is what the onlooker remembers.
    pub watched: Watched,
    /// What went wrong, and when.
    pub plan: Vec<(Duration, Fault)>,
    /// Both logged in and the room was open, so that the join was asked for.
    pub ready: bool,
    /// These hosts are gone for good.
    pub dead: Vec<HostId>,
    rng: ChaCha8Rng,
    undo: Vec<(Duration, Undo)>,
}

/// Tells the story of a seed in this world.
pub fn tell(seed: u64, settings: PairWorldSettings) -> Story {
    let mut pair = PairWorld::new(settings);
    let watched = watch(&mut pair);
    pair.world.limit_steps(MOST_STEPS);
    let ready = pair.prepare();
    let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6661_756c_7473);
    let mut story = Story { pair, watched, plan: Vec::new(), ready, dead: Vec::new(), rng, undo: Vec::new() };
    if ready {
        story.run();
    }
    story
}

impl Story {
    fn run(&mut self) {
        self.pair.request();
        let requested = self.pair.requested();
        let mut plan: Vec<(Duration, Fault)> = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            // Most of what matters happens within the first second.
            let after = any(&mut self.rng, &[0.3, 1.0, 3.0, 12.0]);
            let at = requested + Duration::from_secs_f64(self.rng.random_range(0.0..after));
            plan.push((at, any(&mut self.rng, &FAULTS)));
        }
        if self.rng.random_bool(0.2)
            && let Some((at, _)) = plan.first()
        {
            // Two at once.
            plan.push((*at, any(&mut self.rng, &FAULTS)));
        }
        plan.sort_by_key(|(at, _)| *at);
        for (at, fault) in &plan {
            self.run_until(*at);
            self.happen(*fault);
        }
        self.plan = plan;
        // The last of them may begin an attempt: waiting for the room, its answer, the deadline, the path's own end.
        let config = &self.pair.settings().config;
        let patience = Duration::from_secs(5) + config.request_timeout + 2 * config.connect_deadline;
        let mut end = self.pair.world.now() + patience + config.path_timeout + Duration::from_secs(8);
        if !self.dead.is_empty() {
            // Whoever is dead is waited for before it is lost.
            end += config.away_timeout;
        }
        self.run_until(end);
    }

    /// How often this went wrong.
    pub fn count(&self, fault: Fault) -> usize {
        self.plan.iter().filter(|(_, happened)| *happened == fault).count()
    }

    fn join(&mut self) {
        self.pair.act(self.pair.right, |player, now| {
            let target = RoomTarget::Name("lab".into());
            player.command(now, Command::JoinRoom { target, password: None, wait: Duration::from_secs(5) });
        });
    }

    fn happen(&mut self, fault: Fault) {
        let now = self.pair.world.now();
        let left = self.rng.random();
        let host = if left { self.pair.left } else { self.pair.right };
        let nats = if left { &self.pair.left_nats } else { &self.pair.right_nats };
        let nat = (!nats.is_empty()).then(|| nats[self.rng.random_range(0..nats.len())]);
        let a_while = now + Duration::from_secs_f64(self.rng.random_range(0.1..3.0));
        match fault {
            Fault::ServerKilled => self.pair.world.set_down(self.pair.server, true),
            Fault::ServerRestarted => {
                self.pair.world.set_down(self.pair.server, true);
                self.undo.push((a_while, Undo::Server));
            }
            Fault::NatReboots => {
                if let Some(nat) = nat {
                    self.pair.world.nat_mut(nat).reboot();
                }
            }
            Fault::AddressChanges => {
                if let Some(nat) = nat.filter(|nat| self.pair.world.nat(*nat).config().translates()) {
                    // Of the same provider: another last byte.
                    let moved = self.pair.world.nat(nat).external().iter().map(|ip| match ip {
                        IpAddr::V4(ip) => {
                            let [a, b, c, d] = ip.octets();
                            IpAddr::V4(Ipv4Addr::new(a, b, c, d ^ 0x20))
                        }
                        IpAddr::V6(_) => *ip,
                    });
                    let moved: Vec<IpAddr> = moved.collect();
                    self.pair.world.nat_mut(nat).change_address(moved);
                }
            }
            Fault::LossBurst | Fault::SlowLink | Fault::Disorder => self.spoil_link(fault, left, a_while),
            Fault::DuplicatedJoin => {
                for _ in 0..self.rng.random_range(1..4) {
                    self.join();
                }
            }
            Fault::LeavesAndJoinsAgain => {
                self.pair.act(self.pair.right, |player, now| player.command(now, Command::LeaveRoom));
                self.join();
            }
            Fault::PeerKilled => {
                self.pair.world.set_down(host, true);
                self.dead.push(host);
            }
            Fault::PeerSleeps => {
                self.pair.world.set_down(host, true);
                self.undo.push((a_while, Undo::Wake(host)));
            }
            Fault::UdpBlocked => {
                if let Some(nat) = nat {
                    self.pair.world.nat_mut(nat).block_udp(true);
                }
            }
            Fault::Clash => {
                if let Some(nat) = nat {
                    self.pair.world.nat_mut(nat).set_clash(true);
                }
            }
        }
    }

    fn spoil_link(&mut self, fault: Fault, left: bool, until: Duration) {
        let settings = self.pair.settings();
        let old = if left { &settings.left_link } else { &settings.right_link }.clone();
        let rng = &mut self.rng;
        let way = match fault {
            Fault::LossBurst => Way { loss: rng.random_range(0.5..1.0), burst: None, ..old.up.clone() },
            Fault::Disorder => Way {
                reorder: rng.random_range(0.1..0.5),
                reorder_delay: Duration::from_millis(rng.random_range(1..200)),
                duplicate: rng.random_range(0.0..0.5),
                ..old.up.clone()
            },
            _ => Way { delay: Duration::from_millis(rng.random_range(300..900)), ..old.up.clone() },
        };
        self.set_link(left, Link::both(way));
        self.undo.push((until, Undo::Link(left, Box::new(old))));
    }

    fn set_link(&mut self, left: bool, link: Link) {
        let (nats, host) = if left {
            (&self.pair.left_nats, self.pair.left)
        } else {
            (&self.pair.right_nats, self.pair.right)
        };
        match nats.last() {
            Some(nat) => {
                let nat = *nat;
                self.pair.world.set_nat_link(nat, link);
            }
            None => self.pair.world.set_host_link(host, link),
        }
    }

    fn run_until(&mut self, end: Duration) {
        loop {
            self.undo.sort_by_key(|(at, _)| *at);
            if self.undo.first().is_none_or(|(at, _)| *at > end) {
                return self.pair.world.run_until(end);
            }
            let (at, undo) = self.undo.remove(0);
            self.pair.world.run_until(at);
            match undo {
                Undo::Server => {
                    let (server, now) = (self.pair.server, self.pair.world.instant());
                    let two = self.pair.settings().two_addresses;
                    let fresh = Lobby::new(ServerConfig::default(), two, self.rng.random(), now);
                    self.pair.world.replace_node(server, SimulatedProgram::Lobby(Box::new(fresh)));
                    self.pair.world.set_down(server, false);
                }
                Undo::Link(left, link) => self.set_link(left, *link),
                Undo::Wake(host) if !self.dead.contains(&host) => self.pair.world.set_down(host, false),
                Undo::Wake(_) => {}
            }
        }
    }
}
