//! Random worlds in which things go wrong at random moments of a join: whatever it is, everybody is told how it ended,
//! nobody sends where it may not, and the same seed is the same story.

#![allow(clippy::unwrap_used)]

mod worlds;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lobby_server::ServerConfig;
use natlab::link::{Link, Way};
use natlab::lobby::{Lobby, Program};
use natlab::oracle::Relation;
use natlab::scenario::{PairSettings, PairWorld};
use natlab::world::HostId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::wire::message::RoomTarget;
use traversal_core::{Command, Event, PathKind};

use worlds::{Watched, any, any_world, check_caps, check_destinations, watch};

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The server is switched off, for good.
    ServerKilled,
    /// The server is switched off, and comes back without a memory.
    ServerRestarted,
    NatReboots,
    AddressChanges,
    LossBurst,
    DuplicatedJoin,
    LeavesAndJoinsAgain,
    PeerKilled,
    /// Unplugged for a moment.
    PeerSleeps,
    UdpBlocked,
    SlowLink,
}

const FAULTS: [Fault; 11] = [
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
];

/// What is to be undone later.
enum Undo {
    Server,
    Link(bool, Link),
    Wake(HostId),
}

struct Story {
    pair: PairWorld,
    rng: ChaCha8Rng,
    undo: Vec<(Duration, Undo)>,
    /// Hosts that are dead.
    dead: Vec<HostId>,
    joins: u64,
}

impl Story {
    fn join(&mut self) {
        self.joins += 1;
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
            Fault::LossBurst | Fault::SlowLink => {
                let old =
                    if left { &self.pair.settings().left_link } else { &self.pair.settings().right_link };
                let old = old.clone();
                let way = match fault {
                    Fault::LossBurst => Way { loss: self.rng.random_range(0.5..1.0), ..old.up.clone() },
                    _ => Way {
                        delay: Duration::from_millis(self.rng.random_range(300..900)),
                        ..old.up.clone()
                    },
                };
                self.set_link(left, Link::both(way));
                self.undo.push((a_while, Undo::Link(left, old)));
            }
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
        }
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
                    self.pair.world.replace_node(server, Program::Lobby(Box::new(fresh)));
                    self.pair.world.set_down(server, false);
                }
                Undo::Link(left, link) => self.set_link(left, link),
                Undo::Wake(host) if !self.dead.contains(&host) => self.pair.world.set_down(host, false),
                Undo::Wake(_) => {}
            }
        }
    }
}

fn settings(seed: u64) -> PairSettings {
    let mut settings = any_world(seed);
    if settings.relation == Relation::SameOuterNat {
        // Which addresses are whose would be hard to tell after a change.
        settings.relation = Relation::Apart;
    }
    settings
}

/// A join with some faults, up to the time by which everybody must have been told.
fn tell(seed: u64) -> (Story, Watched, Vec<(Duration, Fault)>, bool) {
    let mut pair = PairWorld::new(settings(seed));
    let watched = watch(&mut pair);
    let ready = pair.prepare();
    let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6661_756c_7473);
    let mut story = Story { pair, rng, undo: Vec::new(), dead: Vec::new(), joins: 1 };
    let mut plan = Vec::new();
    if ready {
        story.pair.request();
        let requested = story.pair.requested();
        for _ in 0..story.rng.random_range(1..4) {
            // Most of what matters happens within the first second.
            let after = any(&mut story.rng, &[0.3, 1.0, 3.0, 12.0]);
            let at = requested + Duration::from_secs_f64(story.rng.random_range(0.0..after));
            plan.push((at, any(&mut story.rng, &FAULTS)));
        }
        plan.sort_by_key(|(at, _)| *at);
        for (at, fault) in &plan {
            story.run_until(*at);
            story.happen(*fault);
        }
        // The last of them may begin an attempt: waiting for the room, its answer, the deadline, the path's own end.
        let config = &story.pair.settings().config;
        let patience = Duration::from_secs(5) + config.request_timeout + config.connect_deadline;
        let end = story.pair.world.now() + patience + config.path_timeout + Duration::from_secs(8);
        story.run_until(end);
    }
    (story, watched, plan, ready)
}

#[test]
fn whatever_goes_wrong_everybody_is_told_how_it_ended() {
    let mut happened: BTreeMap<Fault, u32> = BTreeMap::new();
    let (mut connected, mut failed) = (0, 0);
    for seed in 0..400 {
        let (story, watched, plan, ready) = tell(seed);
        let told = format!("seed {seed}: {plan:?}");
        plan.iter().for_each(|(_, fault)| *happened.entry(*fault).or_default() += 1);
        for host in [story.pair.left, story.pair.right] {
            if !ready || story.dead.contains(&host) {
                continue;
            }
            let player = story.pair.player(host);
            let count = |test: fn(&Event) -> bool| player.events.iter().filter(|(_, e)| test(e)).count();
            // Each plan is an attempt, and each of them ends in a path or in a reason.
            let plans = count(|event| matches!(event, Event::Plan { .. }));
            let paths = count(|event| matches!(event, Event::PeerConnected { .. }));
            let reasons = count(|event| matches!(event, Event::PeerFailed { .. }));
            // Somebody who leaves knows how that ended.
            let left = plan.iter().filter(|(_, fault)| *fault == Fault::LeavesAndJoinsAgain).count();
            let left = if host == story.pair.right { left } else { 0 };
            let story_told = || {
                let line = |(at, event): &(std::time::Instant, Event)| {
                    format!("{:?} {event:?}", at.duration_since(story.pair.world.instant_at(Duration::ZERO)))
                };
                player.events.iter().map(line).collect::<Vec<_>>().join("\n")
            };
            assert!(
                paths + reasons <= plans && plans <= paths + reasons + left,
                "{told}, host {host:?}: {plans} plans, {paths} paths, {reasons} reasons\n{}",
                story_told()
            );
            connected += paths;
            failed += reasons;
            // A path that stands is one to somebody who lives; one that died was announced.
            let ended = count(|event| matches!(event, Event::PeerDisconnected { .. }));
            assert_eq!(player.paths.len(), paths - ended, "{told}, host {host:?}");
            let other = if host == story.pair.left { story.pair.right } else { story.pair.left };
            assert!(
                player.paths.is_empty() || !story.dead.contains(&other),
                "{told}: {host:?} has a path to one who is dead"
            );
            // Direct means that both have heard the other, and not through the server.
            let seen = watched.borrow();
            for (at, event) in &player.events {
                if let Event::PeerConnected { path, .. } | Event::PathChanged { path, .. } = event
                    && path.kind != PathKind::Relay
                {
                    let at = at.duration_since(story.pair.world.instant_at(Duration::ZERO));
                    let both = [host, other]
                        .iter()
                        .all(|host| seen.arrived.get(&host.0).is_some_and(|first| *first <= at));
                    assert!(both, "{told}: {host:?} calls a path direct that has not carried both ways");
                }
            }
        }
        if ready && !story.dead.contains(&story.pair.right) {
            // Each wish to join is answered: by the room, or by a reason.
            let player = story.pair.player(story.pair.right);
            let rooms = player.events.iter().filter(|(_, e)| matches!(e, Event::RoomEntered { .. })).count();
            assert!(rooms > 0 || !player.refusals.is_empty(), "{told}: no answer to the request to join");
        }
        for host in [story.pair.left, story.pair.right] {
            let attempts = story.pair.player(host).events.iter();
            let attempts = attempts.filter(|(_, event)| matches!(event, Event::Plan { .. })).count() as u64;
            check_caps(&story.pair, host, attempts.max(1), &told);
        }
        check_destinations(&story.pair, &watched, ready, &told);
    }
    assert!(connected > 200 && failed > 20, "{connected} connected, {failed} failed");
    assert!(FAULTS.iter().all(|fault| happened.get(fault).is_some_and(|times| *times >= 20)), "{happened:?}");
}

#[test]
fn the_same_seed_is_the_same_story_with_faults_too() {
    for seed in (0..400).step_by(20) {
        let run = || {
            let (story, ..) = tell(seed);
            let told = [story.pair.left, story.pair.right].map(|host| {
                // Instants differ from run to run, what happens does not.
                let events = story.pair.player(host).events.iter().map(|(_, event)| format!("{event:?}"));
                events.collect::<Vec<_>>()
            });
            (story.pair.world.trace_hash(), told)
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}
