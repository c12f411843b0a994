//! One run of two punchers against each other: what leaves, what arrives, and when.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{
    Chance, Facts, Happening, IPS, Ledger, Outcome, ProbePurpose, PunchInput, PunchOrder, Setup, Side, Slot,
    step_of,
};

/// Runs both punchers against each other.
pub(in crate::punch) fn run(setup: &Setup) -> Outcome {
    let mut run = Run::new(setup);
    while run.now <= setup.deadline && run.outcome.confirmed.is_none() {
        for side in 0..2 {
            while run.carry_out_order(side) {}
        }
        if !run.step() {
            break;
        }
    }
    for (side, host) in run.sides.into_iter().enumerate() {
        run.outcome.spending[side] = host.spending;
    }
    run.outcome
}

/// This is one run under way.
struct Run<'a> {
    setup: &'a Setup,
    start: Instant,
    /// So much time has passed since the start.
    now: Duration,
    chance: Chance,
    servers: Vec<SocketAddr>,
    sides: Vec<Side>,
    /// This says what happens when; things of one instant stand in the order in which they were put there.
    agenda: BTreeMap<(Duration, u64), Happening>,
    count: u64,
    /// These are the first and the second range probe of each side's rounds, as the server saw them.
    ranges: BTreeMap<(usize, u16), [Option<SocketAddr>; 2]>,
    heard: [bool; 2],
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn new(setup: &'a Setup) -> Self {
        let servers: Vec<SocketAddr> =
            ["203.0.113.1:3478", "203.0.113.1:3479", "203.0.113.2:3478", "203.0.113.2:3479"]
                [..setup.server_addresses * 2]
                .iter()
                .map(|s| s.parse().unwrap())
                .collect();
        let start = Instant::now();
        let mut chance = Chance(setup.seed);
        let sides = (0..2).map(|side| Side::new(setup, side, start, &servers, &mut chance)).collect();
        Self {
            setup,
            start,
            now: Duration::ZERO,
            chance,
            servers,
            sides,
            agenda: BTreeMap::new(),
            count: 0,
            ranges: BTreeMap::new(),
            heard: [false; 2],
            outcome: Outcome::default(),
        }
    }

    fn push(&mut self, at: Duration, what: Happening) {
        self.count += 1;
        self.agenda.insert((at, self.count), what);
    }

    fn handle(&mut self, side: usize, input: PunchInput<'_>) {
        self.sides[side].puncher.handle(self.start + self.now, input);
    }

    /// Returns what one side's NAT makes of a datagram that leaves now.
    fn out(&mut self, side: usize, slot: Slot, to: SocketAddr) -> SocketAddr {
        self.sides[side].out(self.now.as_secs_f64(), slot, to, &mut self.chance)
    }

    /// Facts get from one side to the other by the server; the control channel repeats what is lost.
    fn tell_other(&mut self, side: usize, facts: Facts) {
        let at = self.now + self.setup.delay[side] + self.setup.delay[1 - side];
        self.push(at, Happening::Facts { side: 1 - side, facts });
    }

    /// Carries out the next order of one side. False if it has none.
    fn carry_out_order(&mut self, side: usize) -> bool {
        let host = &mut self.sides[side];
        let mut ledger = Ledger { budget: &mut host.budget, attempt: &mut host.spending };
        let Some(order) = host.puncher.poll_order(self.start + self.now, &mut ledger) else { return false };
        let lost = self.chance.next() < self.setup.loss;
        match order {
            PunchOrder::OpenSocket { slot } => {
                self.handle(side, PunchInput::Socket { slot, port: Some(40_000 + slot) });
            }
            PunchOrder::CloseSocket { slot } => {
                self.sides[side].mappings.retain(|(s, _, _), _| *s != Slot::Own(slot));
            }
            PunchOrder::Test { slot, to, .. } => {
                self.outcome.sent[side].push((self.now, slot, to));
                let source = self.out(side, slot, to);
                self.outcome.left_by[side].push((source.port(), to));
                let what = Happening::ToPeer { side: 1 - side, source, to, confirms: false };
                if !lost && to.ip() == IPS[1 - side] {
                    self.push(self.now + self.between(), what);
                }
            }
            PunchOrder::Probe { slot, to, purpose, tag } => {
                let source = self.out(side, slot, to);
                if !lost {
                    let what = Happening::ToServer { side, source, at: to, purpose, tag };
                    self.push(self.now + self.setup.delay[side], what);
                }
            }
            PunchOrder::TellKept { round, ports } => {
                self.tell_other(side, Facts::Kept { round, ip: IPS[side], ports });
            }
            PunchOrder::Report { facts, .. } => self.tell_other(side, facts),
        }
        true
    }

    fn between(&self) -> Duration {
        self.setup.delay[0] + self.setup.delay[1]
    }

    /// Lets the next thing happen, or wakes the punchers. False when nothing is left to happen.
    fn step(&mut self) -> bool {
        let wake = self.sides.iter().filter_map(|s| s.puncher.poll_timeout()).min().map(|t| t - self.start);
        let next = self.agenda.first_key_value().map(|(key, _)| key.0);
        match (next, wake) {
            (Some(at), due) if due.is_none_or(|due| at <= due) => {
                let ((at, _), what) = self.agenda.pop_first().unwrap();
                self.now = at;
                self.happen(what);
            }
            (_, Some(due)) => {
                self.now = due.max(self.now);
                (0..2).for_each(|side| self.handle(side, PunchInput::Timeout));
            }
            _ => return false,
        }
        true
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::ToServer { side, source, at, purpose, tag } => {
                assert!(self.servers.contains(&at));
                if let Some(facts) = self.facts_of(side, source, purpose) {
                    self.outcome.facts.push(facts.clone());
                    // The control channel repeats what is lost.
                    let at = self.now + self.setup.delay[1 - side];
                    self.push(at, Happening::Facts { side: 1 - side, facts });
                }
                if self.chance.next() >= self.setup.loss {
                    let seen = Happening::Seen { side, tag, observed: source };
                    self.push(self.now + self.setup.delay[side], seen);
                }
            }
            Happening::Seen { side, tag, observed } => {
                self.handle(side, PunchInput::ProbeSeen { tag, observed });
            }
            Happening::Facts { side, facts } => self.handle(side, PunchInput::Facts(&facts)),
            Happening::ToPeer { side, source, to, confirms } => self.arrive(side, source, to, confirms),
        }
    }

    /// Returns what the server makes of a probe.
    fn facts_of(&mut self, side: usize, source: SocketAddr, purpose: ProbePurpose) -> Option<Facts> {
        match purpose {
            ProbePurpose::Range { round, second, .. } => {
                let seen = self.ranges.entry((side, round)).or_default();
                seen[usize::from(second)] = Some(source);
                let [Some(first), Some(last)] = *seen else { return None };
                let step = step_of(&self.sides[side].nat.profile);
                Some(Facts::Range { round, ip: source.ip(), first: first.port(), last: last.port(), step })
            }
            ProbePurpose::Newest { round, ahead, .. } => {
                Some(Facts::Newest { round, address: source, ahead })
            }
            _ => None,
        }
    }

    /// A test or an answer reaches a side's NAT.
    fn arrive(&mut self, side: usize, source: SocketAddr, to: SocketAddr, confirms: bool) {
        let Some(slot) = self.sides[side].inside(source, to.port()) else { return };
        self.outcome.first.get_or_insert(self.now);
        self.outcome.heard_on[side].get_or_insert(slot);
        self.heard[side] |= confirms;
        if self.heard == [true, true] {
            self.outcome.confirmed.get_or_insert(self.now);
        }
        self.handle(side, PunchInput::Datagram { slot, from: source });
        // As the agent would: answer from the same socket, at once and a few times more.
        let answer_from = self.out(side, slot, source);
        let answer = || Happening::ToPeer { side: 1 - side, source: answer_from, to: source, confirms: true };
        let at = self.now + self.between();
        if !confirms {
            for again in 0..3 {
                if self.chance.next() >= self.setup.loss {
                    self.push(at + Duration::from_millis(40) * again, answer());
                }
            }
        } else if !self.heard[1 - side] && self.chance.next() >= self.setup.loss {
            // The first answer is answered, too.
            self.push(at, answer());
        }
    }
}
