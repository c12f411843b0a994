//! The ways through two NATs, one file each, behind one small trait.
//!
//! A [`Puncher`] is one side of one method. It decides which socket sends to which destination, with which TTL and
//! when; that every bubble, reply and test is the same sealed datagram of the pair is not its business. It is
//! sans-IO: after each [`handle`](Puncher::handle) drain [`poll_order`](Puncher::poll_order), then sleep until
//! [`poll_timeout`](Puncher::poll_timeout). Whoever hosts it answers authentic datagrams (M18) and drops the
//! puncher when a path stands; sockets that it opened and did not close are then the host's to keep or close.

mod birthday;
mod bubble;
mod budget;
mod cone;
mod engine;
mod foresight;
mod giant_step;
#[cfg(test)]
mod model;
mod multi_bubble;
#[cfg(test)]
mod order_tests;
mod pace;
mod prediction;
mod search;
mod stage;
mod tactic;
#[cfg(test)]
mod tests;
mod told;

pub use budget::{Budget, Ledger, Spending, Verdict};
pub use engine::WIDEST_CLAIM;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::{AgentConfig, Caps, Detect};
use crate::facts::BubbleTargets;
use crate::id::MatchId;
use crate::method::{Method, Role};
use crate::nat::{NatProfile, PortAllocation};
use crate::plan::{EDITIONS, role_in};
use crate::reach::reach;
use crate::rtt::RttEstimate;
use crate::wire::message::{Facts, ProbePurpose, PunchPlan, RoundTrip};

/// This is a socket as a puncher names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// This is the game's own socket, the one that the lobby server knows.
    Main,
    /// This socket is one that the puncher asked for.
    Own(u16),
}

/// This is what a puncher wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum PunchOrder {
    /// Open a socket on any free port, of the family of the lobby server's sockets.
    OpenSocket {
        /// This is the number that the socket is called by from now on, in [`Slot::Own`].
        slot: u16,
    },
    /// Close a socket that was opened so.
    CloseSocket {
        /// The socket has this number.
        slot: u16,
    },
    /// Send the pair's datagram: a bubble, a reply, a port-assigning packet, a test.
    Test {
        /// This is the socket that it leaves from.
        slot: Slot,
        /// This is the address that it goes to.
        to: SocketAddr,
        /// This is the TTL that it has instead of the system's; never one on [`Slot::Main`].
        ttl: Option<u8>,
    },
    /// Send a probe to the lobby server.
    Probe {
        /// This is the socket that it leaves from.
        slot: Slot,
        /// This is the socket of the server that it goes to.
        to: SocketAddr,
        /// This is what the server is to do with what it sees.
        purpose: ProbePurpose,
        /// Comes back with the answer; unique within this puncher only.
        tag: u32,
    },
    /// Tell the other side, through the server, what this side has measured itself (E2).
    Report {
        /// These are the facts that were measured.
        facts: Facts,
        /// It was measured with these probes.
        tags: [u32; 2],
    },
    /// Tell the other side, through the server, which ports the next packets leave by, since the own NAT keeps inner ports.
    TellKept {
        /// The try has this number, made of its plan, method and attempt.
        round: u16,
        /// These are the ports, at most [`MAX_KEPT_PORTS`](crate::wire::message::MAX_KEPT_PORTS) of them.
        ports: Vec<u16>,
    },
}

/// This is what a puncher hears.
#[derive(Clone, Copy, Debug)]
pub enum PunchInput<'a> {
    /// A socket that it asked for is open, or could not be opened.
    Socket {
        /// The socket has this number.
        slot: u16,
        /// The socket has this local port; `None`: it could not be opened.
        port: Option<u16>,
    },
    /// The server has answered a probe.
    ProbeSeen {
        /// The probe carries this tag.
        tag: u32,
        /// This says where it was seen.
        observed: SocketAddr,
    },
    /// This is news about this match. Give each to every puncher of it; they know their own.
    Facts(&'a Facts),
    /// An authentic datagram of the other player came in on one of its sockets, or on the main one.
    Datagram {
        /// This is the socket that it came in on.
        slot: Slot,
        /// This is the address that it came from.
        from: SocketAddr,
    },
    /// The time of [`Puncher::poll_timeout`] has come.
    Timeout,
}

/// This says whether a puncher has anything left to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has something to try.
    Running,
    /// It has heard the other side and holds still, so that a path can be made of it.
    Heard,
    /// It has tried everything.
    Exhausted,
    /// It had, but a cap is reached.
    CapReached,
}

/// A puncher plays one side of one method.
pub trait Puncher: std::fmt::Debug + Send {
    /// Names the method.
    fn method(&self) -> Method;
    /// Takes an input: something that the puncher has to hear.
    fn handle(&mut self, now: Instant, input: PunchInput<'_>);
    /// Returns the next order that is due and that the caps allow. What it gives out is counted in the ledger.
    fn poll_order(&mut self, now: Instant, ledger: &mut Ledger<'_>) -> Option<PunchOrder>;
    /// Returns when [`PunchInput::Timeout`] is due; `None`: never.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Tells whether it has something left to try.
    fn progress(&self) -> Progress;
    /// It searches by many sockets or ports, or would if the budget let it.
    fn searches(&self) -> bool;
}

/// This is what a puncher starts with.
#[derive(Clone, Debug)]
pub struct PunchContext {
    /// This is the match that this is about.
    pub match_id: MatchId,
    /// This side has this role in the plan.
    pub role: Role,
    /// This side's NAT, as the server knows it.
    pub own: NatProfile,
    /// This is the other side's NAT, as the server knows it.
    pub peer: NatProfile,
    /// This says where the server sees the other side. Only its IPs are ever sent to.
    pub peer_public: Vec<SocketAddr>,
    /// These are the lobby server's sockets, as in [`Welcome::probe_targets`](crate::wire::message::Welcome).
    pub servers: Vec<SocketAddr>,
    /// This is the round trip to the lobby server.
    pub rtt: RttEstimate,
    /// This is the other side's, as the server has measured it; nothing is known where it has not.
    pub peer_rtt: RttEstimate,
    /// This says who works out ranges (E1: the server, E2: the peer).
    pub detect: Detect,
    /// Openers get this TTL, see [`AgentConfig::opener_ttl`]; `None` is the system's.
    pub first_ttl: Option<u8>,
    /// Predictions aim this many ports ahead, see [`AgentConfig::ports_ahead`]; `None`: the measured rates say it.
    pub ports_ahead: Option<u16>,
    /// This is what this player may send and open at the most.
    pub caps: Caps,
    /// These ports of the other side's NAT were set by hand (M9): see [`AgentConfig::bubble_targets`].
    pub bubble_targets: Vec<u16>,
    /// Choices by chance are made from this seed.
    pub seed: u64,
    /// The plan has this edition, see [`Replan::edition`](crate::wire::message::Replan).
    pub edition: u8,
}

impl PunchContext {
    /// Takes what the server's plan says.
    pub fn new(
        plan: &PunchPlan,
        servers: &[SocketAddr],
        rtt: RttEstimate,
        config: &AgentConfig,
        seed: u64,
    ) -> Self {
        Self {
            match_id: plan.match_id,
            role: plan.role,
            own: plan.own_nat,
            peer: plan.peer_nat,
            peer_public: plan.peer_public.clone(),
            servers: servers.to_vec(),
            rtt,
            peer_rtt: plan.peer_rtt.map(RoundTrip::timing).unwrap_or_default(),
            detect: config.detect,
            first_ttl: config.opener_ttl,
            ports_ahead: config.ports_ahead,
            caps: config.caps,
            bubble_targets: config.bubble_targets.iter().flat_map(BubbleTargets::ports).collect(),
            seed,
            edition: 0,
        }
    }

    /// Returns how long an answer of the other side takes, by way of the server or directly: half of each side's
    /// round trip to the server is on either way. Where nobody knows how far the other side is, STUN's first wait
    /// stands for its part.
    fn round_trip(&self) -> Duration {
        (self.rtt.overdue() + self.peer_rtt.overdue()) / 2
    }

    fn own_is_fixed(&self) -> bool {
        reach(&self.own).mapping_is_fixed()
    }

    fn peer_is_fixed(&self) -> bool {
        reach(&self.peer).mapping_is_fixed()
    }

    /// Returns where the lobby server sees the other side, in the family of the server's sockets.
    fn peer_address(&self) -> Option<SocketAddr> {
        let v4 = self.servers.first().is_none_or(SocketAddr::is_ipv4);
        self.peer_public.iter().copied().find(|a| a.is_ipv4() == v4)
    }

    fn is_peer(&self, ip: IpAddr) -> bool {
        self.peer_public.iter().any(|a| a.ip() == ip)
    }
}

/// Makes this side's puncher for a method of the plan. `None`: it can do nothing here (no address of the other side, no
/// server).
pub fn puncher(method: Method, now: Instant, context: PunchContext) -> Option<Box<dyn Puncher>> {
    let peer = context.peer_address()?;
    let server = *context.servers.first()?;
    let role = role_in(method, context.role, &context.own, &context.peer);
    let context = PunchContext { role, ..context };
    let engine = engine::Engine::new(method, context, peer, server);
    Some(match method {
        Method::Cone => Box::new(cone::Cone::new(now, engine)),
        Method::Bubble => Box::new(bubble::Bubble::new(now, engine)),
        Method::MultiBubble => Box::new(multi_bubble::MultiBubble::new(now, engine)),
        Method::Prediction => Box::new(prediction::Prediction::new(now, engine)),
        Method::GiantStep => Box::new(giant_step::GiantStep::new(now, engine)),
        Method::Birthday => Box::new(birthday::Birthday::new(now, engine)),
    })
}

/// Returns how long a method needs to have had its chance, for its share of an attempt's time. A round trip here is
/// one from one player to the other and back by way of the server, which a message about ports takes.
pub(crate) fn expected_time(method: Method, context: &PunchContext) -> Duration {
    let round_trip = context.round_trip();
    match method {
        // A test, its answer, and both once more for loss.
        Method::Cone => round_trip * 4,
        // Probe, news, reply and confirmation take two; three tries, since one in five packets may be lost (0.8^3 = 0.5
        // for all three of a try).
        Method::Bubble => round_trip * 8,
        // The same; foreign ports make many tries miss.
        Method::Prediction => round_trip * 16,
        // Each side brackets in turn, so four a try.
        Method::MultiBubble => round_trip * 12,
        // Two passes over some fifty ports a try, and the news of where they begin.
        Method::GiantStep => (round_trip + pace::PACE * 100) * 2,
        Method::Birthday => birthday::Birthday::time(context) + round_trip * 2,
    }
}

/// A match searches by many sockets or ports ([`Method::searches`]) no longer than this at a time: 1,200 probes at 200
/// a second take 6 s, and an attempt 10 s.
pub const SEARCH_TURN: Duration = Duration::from_secs(12);

/// This is the number of a try on the wire: punchers of several methods run in one match and must know their own facts,
/// and not take those of an older plan for their own. To the server it is only a number; newer plans have higher ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Round {
    edition: u8,
    method: Method,
    attempt: u8,
}

/// Returns the edition of the plan that a round belongs to.
pub(crate) fn edition_of(round: u16) -> u8 {
    (round >> 11) as u8
}

impl Round {
    fn number(self) -> u16 {
        let method = match self.method {
            Method::Cone => 0,
            Method::Bubble => 1,
            Method::MultiBubble => 2,
            Method::Prediction => 3,
            Method::GiantStep => 4,
            Method::Birthday => 5,
        };
        (u16::from(self.edition % EDITIONS) << 11) | (method << 8) | u16::from(self.attempt)
    }

    /// Returns the attempt, if the number belongs to this method of this plan.
    fn attempt_of(edition: u8, method: Method, number: u16) -> Option<u8> {
        let attempt = number as u8;
        (Self { edition, method, attempt }.number() == number).then_some(attempt)
    }
}

/// This is what can be told of the port that a fresh socket's first packet leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// It is one port for everybody, as far as is known.
    Fixed,
    /// It leaves by the socket's own port.
    Kept,
    /// It leaves by the next port of a counter.
    Counted,
}

impl Ports {
    fn of(nat: &NatProfile) -> Self {
        match nat.allocation {
            _ if reach(nat).mapping_is_hoped_fixed() => Self::Fixed,
            PortAllocation::Preserving => Self::Kept,
            _ => Self::Counted,
        }
    }
}

/// Returns the step to count with: the measured one, else 1.
fn step_of(profile: &NatProfile) -> i32 {
    match profile.allocation {
        PortAllocation::Sequential { step } if step != 0 => step,
        _ => 1,
    }
}

#[cfg(test)]
mod round_tests {
    use super::*;

    #[test]
    fn rounds_of_other_methods_and_older_plans_are_not_taken_for_ones_own() {
        let mut seen = std::collections::BTreeSet::new();
        for edition in [0, 1, EDITIONS - 1] {
            for method in [Method::Bubble, Method::MultiBubble, Method::Prediction, Method::GiantStep] {
                for attempt in [0, 7, u8::MAX] {
                    let number = Round { edition, method, attempt }.number();
                    assert!(seen.insert(number), "{edition} {method:?} {attempt}");
                    assert_eq!(Round::attempt_of(edition, method, number), Some(attempt));
                    assert_eq!(edition_of(number), edition);
                    assert_eq!(Round::attempt_of(edition + 1, method, number), None);
                }
            }
        }
        let newest_of_old = Round { edition: 0, method: Method::Birthday, attempt: u8::MAX }.number();
        let oldest_of_new = Round { edition: 1, method: Method::Cone, attempt: 0 }.number();
        assert!(newest_of_old < oldest_of_new, "the server forgets the lowest numbers first");
    }
}
