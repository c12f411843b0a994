//! Predicted ports on both sides (M24, S4), with measured steps, rates and round trips.
//!
//! Each side that gets a new port for each destination makes known which ones its next packets leave by. The S4 flow,
//! when both are such: A (sending) is seen at P, and says how many ports n further the other side is to aim. B
//! (receiving) hears of it, is seen at Q, and in the same row sends one packet to P + n; B's NAT gives it Q + 1. A hears
//! of Q and sends packets to Q + 1 from some sockets: one of them leaves by P + n, and the two meet.
//!
//! n depends on how many ports others take at A's NAT until A sends, which is a round trip to the server on each side
//! later ([`foresight`](super::foresight)). A alone knows its NAT, its clock and what it said, so B does what A asks, and
//! nothing has to be reckoned twice. B sends from a few sockets in a row, each for a longer time, and A picks the one
//! that fits. A is the side whose ports are surer to be foretold: B's are told at the moment in which it uses them.
//!
//! A NAT that keeps the inner port of a socket that has sent nothing yet (RFC 4787 section 4.2.1) needs no probe and no
//! n: a fresh socket's own port is the one. Where one side keeps its port for everybody, it only tries the next few
//! ports of the other, which aims at that port.

mod volley;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::engine::{Engine, REPEATS};
use super::foresight::{ForeignRate, Row};
use super::tactic::Tactic;
use super::told::{KEPT_PORTS, Theirs};
use super::{Ports, Slot, step_of};
use crate::config::MOST_PORTS_AHEAD;
use crate::method::{Method, Role};
use crate::ports::distance;
use crate::rtt::RttEstimate;
use crate::wire::message::{Ahead, Facts};

use volley::Volley;

/// The spread of packets sent in a row, at the NAT of the side that sends them. It follows no round trip: they stand behind
/// each other in the same queues, and only a pause of the machine or of its Wi-Fi (some milliseconds) comes between them.
const ROW_SPREAD: Duration = Duration::from_millis(20);

/// Each takes a socket for a probe and a few for packets.
const ROUNDS: u8 = 40;

#[derive(Debug)]
pub(super) struct Prediction {
    engine: Engine,
    due: Option<Instant>,
    attempt: u8,
    /// This is what this side has made known of its ports, the newest last.
    calls: Vec<Call>,
    /// These are the open sockets, with their local ports.
    open: BTreeMap<u16, u16>,
    /// These sockets are for packets to the other side. They serve again only where their next destination is surely a
    /// new port.
    pool: Vec<u16>,
    sent_to: BTreeSet<SocketAddr>,
    /// This is what waits for its sockets, in the order of sending.
    wanted: VecDeque<Volley>,
    /// This is the newest round of the other side that was answered.
    answered: Option<u8>,
    /// This counts the new mappings that this puncher has made.
    own_ports: u32,
    /// This says when a probe left, the port it was seen at, and the own mappings until then: the first one and the
    /// last.
    counted: Option<[(Instant, u16, u32); 2]>,
    /// So much time passed from the last call to its answer.
    age: Option<Duration>,
}

/// This is one round of this side.
#[derive(Clone, Debug)]
struct Call {
    attempt: u8,
    /// The probe's socket and tag, once it is sent.
    probe: Option<(u16, u32)>,
    ahead: Ahead,
    /// These are the sockets whose ports were told, where ports are kept.
    kept: Vec<u16>,
    own_ports: u32,
    answered: bool,
}

impl Prediction {
    pub(super) fn new(now: Instant, engine: Engine) -> Self {
        let mut this = Self {
            engine,
            due: None,
            attempt: 0,
            calls: Vec::new(),
            open: BTreeMap::new(),
            pool: Vec::new(),
            sent_to: BTreeSet::new(),
            wanted: VecDeque::new(),
            answered: None,
            own_ports: 0,
            counted: None,
            age: None,
        };
        this.next(now);
        this
    }

    fn own(&self) -> Ports {
        Ports::of(&self.engine.context.own)
    }

    fn peer(&self) -> Ports {
        Ports::of(&self.engine.context.peer)
    }

    /// Returns how many ports a row of packets may cover.
    fn width(&self) -> u32 {
        let caps = &self.engine.context.caps;
        u32::from(MOST_PORTS_AHEAD)
            .min(caps.datagrams_per_second / 2)
            .min(caps.sockets_per_attempt * 3 / 8)
            .max(1)
    }

    /// Returns how long it takes from a call to its answer: a round trip to the server on each side.
    fn answer_time(&self) -> Duration {
        let rtt = |timing: RttEstimate| timing.rtt().unwrap_or(RttEstimate::INITIAL);
        self.age.unwrap_or(rtt(self.engine.context.rtt) + rtt(self.engine.context.peer_rtt))
    }

    /// Returns how long an answer is waited for: half as long again as it takes, or longer where the ways to the
    /// server vary by more.
    fn patience(&self) -> Duration {
        let usual = (self.answer_time() * 3 / 2).max(self.engine.patience(2, 1)) + REPEATS[1];
        let guessed = self.age.is_none() && self.engine.context.peer_rtt.rtt().is_none();
        if guessed { usual * (u32::from(self.attempt) + 1) / 2 } else { usual }
    }

    fn rate(&self) -> ForeignRate {
        let profile = ForeignRate::of_profile(self.engine.context.own.foreign_rate);
        let Some([(from, first, before), (to, last, after)]) = self.counted else { return profile };
        let (time, step) = (to.saturating_duration_since(from), step_of(&self.engine.context.own));
        // Answers may overtake each other.
        let own = after.saturating_sub(before);
        let taken = u32::try_from(distance(first, last) / step).ok();
        match taken.and_then(|taken| taken.checked_sub(own)) {
            // A shorter time says less than the profile, which was measured over a second.
            Some(foreign) if time * 2 > self.answer_time() => ForeignRate::counted(foreign, time),
            _ => profile,
        }
    }

    fn next(&mut self, now: Instant) {
        if self.attempt >= ROUNDS {
            self.due = None;
            self.engine.set_exhausted();
            return;
        }
        let to = self.engine.peer;
        match (self.own(), self.peer()) {
            (Ports::Fixed, Ports::Fixed) => {
                self.attempt += 1;
                self.engine.test(now, 1, Slot::Main, to);
                self.engine.repeat(now, Slot::Main, to);
                self.due = Some(now + self.engine.patience(self.attempt.min(4).into(), 1));
            }
            // Waits for the other side's ports.
            (Ports::Fixed, _) => self.due = None,
            (_, Ports::Fixed) => {
                let sockets = if self.own() == Ports::Kept { KEPT_PORTS } else { 1 };
                self.call(now, vec![to; sockets]);
            }
            _ if self.engine.context.role == Role::Sending => self.call(now, Vec::new()),
            _ => self.due = None,
        }
    }

    /// Makes this side's ports known, with packets to these destinations in the same row.
    fn call(&mut self, now: Instant, to: Vec<SocketAddr>) {
        self.attempt += 1;
        let attempt = self.attempt;
        self.volley(now, Some(attempt), to);
        self.due = Some(now + self.patience());
    }

    /// Takes the other side's ports of a round: the first few that its packets leave by.
    fn on_ports(&mut self, now: Instant, round: u16, theirs: &Theirs) {
        let Some(attempt) = self.engine.attempt_of(round) else { return };
        if !self.engine.context.is_peer(theirs.ip()) || self.peer() == Ports::Fixed {
            return;
        }
        let newer = self.answered.is_none_or(|a| attempt > a);
        if self.own() == Ports::Fixed {
            if newer {
                self.answered = Some(attempt);
                self.reply(now, theirs);
            }
        } else if self.engine.context.role == Role::Sending {
            self.meet(now, attempt, theirs);
        } else if newer {
            // B of S4: one packet to each port that A names.
            self.answered = Some(attempt);
            self.engine.clear();
            let to = theirs.targets(step_of(&self.engine.context.peer));
            self.volley(now, Some(attempt), to);
        }
    }

    /// The other side's packets to our port left in one row with its probe.
    fn reply(&mut self, now: Instant, theirs: &Theirs) {
        self.engine.clear();
        let peer = self.engine.context.peer;
        let [counted, ..] = ForeignRate::of_profile(peer.foreign_rate).ahead(ROW_SPREAD, self.width());
        let ports: Vec<SocketAddr> =
            (0..usize::from(counted)).map_while(|i| theirs.port(i, step_of(&peer))).collect();
        for (i, to) in ports.iter().enumerate() {
            let row = if i == 0 { ports.len() as u32 } else { 1 };
            self.engine.test(now, row, Slot::Main, *to);
            self.engine.repeat(now, Slot::Main, *to);
        }
    }

    /// Does what A of S4 does: sends a row of packets to the port that B's packet left by.
    fn meet(&mut self, now: Instant, attempt: u8, theirs: &Theirs) {
        let Some(at) = self.calls.iter().position(|call| call.attempt == attempt && !call.answered) else {
            return;
        };
        let step = step_of(&self.engine.context.peer);
        let call = self.calls[at].clone();
        if let Some((_, tag)) = call.probe {
            let Some(left) = self.engine.left_at(tag) else { return };
            let age = now.saturating_duration_since(left);
            (self.age, self.calls[at].answered) = (Some(age), true);
            self.engine.clear();
            let own = self.own_ports.saturating_sub(call.own_ports);
            let row = match self.engine.context.ports_ahead {
                // As S4 has it: n packets.
                Some(_) => Some(Row { guess: 0, packets: call.ahead[0].into(), chance: 1.0 }),
                None => self.rate().row(age, own, &call.ahead, self.width()),
            };
            let to = row.and_then(|row| Some((row, theirs.port(row.guess, step)?)));
            if let Some((row, to)) = to {
                self.volley(now, None, vec![to; row.packets as usize]);
            }
            if to.is_none_or(|(row, _)| row.chance < 0.9) {
                return self.next(now);
            }
        } else {
            self.calls[at].answered = true;
            self.engine.clear();
            for (i, slot) in call.kept.iter().enumerate() {
                let Some(to) = theirs.port(i, step) else { break };
                self.engine.test(now, 1, Slot::Own(*slot), to);
                self.engine.repeat(now, Slot::Own(*slot), to);
            }
        }
        self.due = Some(now + self.answer_time() * 5 / 4 + REPEATS[1]);
    }
}

impl Tactic for Prediction {
    const METHOD: Method = Method::Prediction;

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn drop_search(&mut self) {
        self.wanted.clear();
    }

    fn on_probe_seen(&mut self, now: Instant, tag: u32, observed: SocketAddr) {
        let Some(call) = self.calls.iter().find(|call| call.probe.is_some_and(|(_, known)| known == tag))
        else {
            return;
        };
        let Some(left) = self.engine.left_at(tag) else { return };
        if self.engine.context.rtt.rtt().is_none() {
            self.engine.context.rtt.sample(now.saturating_duration_since(left));
        }
        let seen = (left, observed.port(), call.own_ports);
        self.counted = Some([self.counted.map_or(seen, |[first, _]| first), seen]);
    }

    fn on_socket(&mut self, now: Instant, slot: u16, port: Option<u16>) {
        if let Some(port) = port {
            self.open.insert(slot, port);
        } else {
            // What needs it goes without; a probe's round is lost.
            self.pool.retain(|known| *known != slot);
            for volley in &mut self.wanted {
                volley.sends.retain(|(from, _)| *from != slot);
            }
            let lost = |call: &Call| call.probe.is_some_and(|(from, _)| from == slot);
            if let Some(call) = self.calls.iter().find(|call| lost(call)) {
                self.wanted.retain(|volley| volley.call != Some(call.attempt));
            }
            for call in &mut self.calls {
                call.kept.retain(|known| *known != slot);
            }
        }
        self.fire_when_open(now);
    }

    fn on_facts(&mut self, now: Instant, facts: &Facts) {
        match facts {
            Facts::Newest { round, address, ahead } => {
                self.on_ports(now, *round, &Theirs::Newest(*address, *ahead));
            }
            Facts::Kept { round, ip, ports } => self.on_ports(now, *round, &Theirs::Kept(*ip, ports)),
            _ => {}
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.next(now);
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }
}
