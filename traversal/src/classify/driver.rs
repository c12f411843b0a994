//! The peer's part: which probes to send, from which fresh sockets, and for how long to wait.

mod steps;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Evidence, RttEstimate, Sighting, classify};
use crate::nat::NatProfile;
use crate::ports::StepRule;
use crate::wire::message::ProbePurpose;
use steps::{Hairpin, LaterBursts};

/// This is what a [`Classifier`] starts with.
#[derive(Clone, Debug)]
pub struct ClassifierConfig {
    /// These are the server's sockets, as in [`Welcome::probe_targets`](crate::wire::message::Welcome). Those of
    /// another address family than the first one are left out.
    pub targets: Vec<SocketAddr>,
    /// These addresses are on the machine's own interfaces (M28).
    pub local: Vec<IpAddr>,
    /// This is the round trip to the server and its spread, as the login measured them.
    pub rtt: RttEstimate,
    /// This says how the port step is taken from the intervals (M4).
    pub step_rule: StepRule,
}

/// This is a probe to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeOrder {
    /// This is the socket that it leaves from.
    pub slot: u16,
    /// This is the socket of the server that it goes to.
    pub target: SocketAddr,
    /// This is what the server is to do.
    pub purpose: ProbePurpose,
    /// This probe was sent before: it is a retransmission.
    pub repeated: bool,
    /// This is the length of the burst that it belongs to, see [`ProbeTag::burst`](super::ProbeTag::burst).
    pub burst: u8,
    /// The answer carries this tag. It is local to the classifier: on the wire it may be another one
    /// ([`ProbeTag`](super::ProbeTag)).
    pub tag: u32,
}

/// This is what a [`Classifier`] wants done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassifierOrder {
    /// Open a fresh socket.
    OpenSocket {
        /// This is the number that the socket is called by from now on.
        slot: u16,
    },
    /// The host sends a probe.
    Probe(ProbeOrder),
    /// Send anything that [`Classifier::handle_hairpin`] can be told about, to this own external address.
    Hairpin {
        /// This is the socket that it leaves from.
        slot: u16,
        /// This is the own external address that it goes to.
        to: SocketAddr,
        /// It is recognised by these bytes when it comes back.
        tag: u32,
    },
    /// A socket is not needed any more.
    CloseSocket {
        /// This is the socket to be closed.
        slot: u16,
    },
}

/// The first burst has so many sockets, six of them for the allocation alone: with eight samples random ports in a block are told from
/// a counter, even where a third of them is lost. A NAT with a new port per destination makes two more mappings for the
/// test of that. With the six of [`steps`]' later bursts, which only a NAT that counts such ports (or one that is not
/// told yet) gets, it makes 16: a quarter of the smallest quota of a carrier.
const BURST: u16 = 8;
/// Asks for an answer from another port. A socket of its own: one that has sent elsewhere would lie.
const PORT_SLOT: u16 = 6;
/// Asks for an answer from another address. The same.
const ADDRESS_SLOT: u16 = 7;
/// At 10 % loss each way, four tries all fail once in 770 times.
const TRIES: u32 = 4;
/// Silence is the answer of most filters, so filter tests are repeated without waiting for it to be sure.
const FILTER_TRIES: u32 = 5;

#[derive(Debug)]
struct Pending {
    order: ProbeOrder,
    sent: Instant,
    tries: u32,
    due: Instant,
    state: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Waiting,
    Seen { observed: SocketAddr, from: SocketAddr },
    Silent,
}

/// Finds out a player's [`NatProfile`] (M1-M6). Sans-IO; drain [`poll_order`](Self::poll_order) after each input.
#[derive(Debug)]
pub struct Classifier {
    targets: Vec<SocketAddr>,
    other_port: Option<SocketAddr>,
    other_address: Option<SocketAddr>,
    local: Vec<IpAddr>,
    step_rule: StepRule,
    rtt: RttEstimate,
    start: Instant,
    sockets: Vec<Option<Option<u16>>>,
    pending: Vec<Pending>,
    hairpin: Hairpin,
    later: LaterBursts,
    orders: VecDeque<ClassifierOrder>,
    burst_sent: bool,
    /// The mapping is tested from a second socket, too.
    mapping_again: bool,
    done: bool,
}

impl Classifier {
    /// Starts with opening sockets. Without targets it is done at once, knowing nothing.
    pub fn new(now: Instant, config: ClassifierConfig) -> Self {
        let mut targets = config.targets;
        if let Some(first) = targets.first().copied() {
            targets.retain(|t| t.is_ipv4() == first.is_ipv4());
        }
        let first = targets.first().copied();
        let other_port = first.and_then(|f| targets.iter().copied().find(|t| t.ip() == f.ip() && *t != f));
        let other_address = first.and_then(|f| targets.iter().copied().find(|t| t.ip() != f.ip()));
        let done = first.is_none();
        let orders = if done { 0 } else { BURST };
        Self {
            targets,
            other_port,
            other_address,
            local: config.local,
            step_rule: config.step_rule,
            rtt: config.rtt,
            start: now,
            sockets: vec![None; usize::from(orders)],
            pending: Vec::new(),
            hairpin: Hairpin::NotYet,
            later: LaterBursts::default(),
            orders: (0..orders).map(|slot| ClassifierOrder::OpenSocket { slot }).collect(),
            burst_sent: false,
            mapping_again: false,
            done,
        }
    }

    /// Takes an input: a socket that was asked for is open at this local port, or (`None`) could not be opened.
    pub fn handle_socket(&mut self, now: Instant, slot: u16, local_port: Option<u16>) {
        match self.sockets.get_mut(usize::from(slot)) {
            Some(socket @ None) => *socket = Some(local_port),
            _ => return,
        }
        if slot >= BURST {
            self.send_later_burst(now, slot);
        } else if !self.burst_sent && self.sockets.iter().all(Option::is_some) {
            self.burst_sent = true;
            self.send_burst(now);
        }
        self.advance(now);
    }

    /// Takes an input: the server's answer to a probe. `from` is the socket of the server that it came from.
    pub fn handle_seen(&mut self, now: Instant, tag: u32, observed: SocketAddr, from: SocketAddr) {
        let Some(probe) = self.pending.get_mut(tag as usize) else { return };
        if matches!(probe.state, Fate::Seen { .. }) {
            return;
        }
        probe.state = Fate::Seen { observed, from };
        if probe.tries == 1 {
            self.rtt.sample(now.saturating_duration_since(probe.sent));
        }
        self.advance(now);
    }

    /// Takes an input: a [`ClassifierOrder::Hairpin`] packet came in on another of the sockets.
    pub fn handle_hairpin(&mut self, now: Instant) {
        self.hairpin = Hairpin::Told(true);
        self.advance(now);
    }

    /// Takes an input: [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.done {
            self.advance(now);
        }
    }

    /// Returns what to do next.
    pub fn poll_order(&mut self) -> Option<ClassifierOrder> {
        self.orders.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.done {
            return None;
        }
        let hairpin = match self.hairpin {
            Hairpin::Asking { due, .. } => Some(due),
            Hairpin::NotYet | Hairpin::Told(_) => None,
        };
        let waiting = self.pending.iter().filter(|p| p.state == Fate::Waiting).map(|p| p.due);
        waiting.chain(hairpin).chain(self.later.due).min()
    }

    /// Returns whether all is known that will be.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Returns the round trip to the server, as it was measured.
    pub fn rtt(&self) -> RttEstimate {
        self.rtt
    }

    /// Returns what is known so far; a plan need not wait for the end.
    pub fn profile(&self) -> NatProfile {
        classify(&self.evidence())
    }

    /// Returns what was seen so far.
    pub fn evidence(&self) -> Evidence {
        let sighting = |p: &Pending| match p.state {
            Fate::Seen { observed, .. } => Some(Sighting {
                local_port: self.local_port(p.order.slot)?,
                target: p.order.target,
                observed,
                sent: p.sent.saturating_duration_since(self.start),
                repeated: p.tries > 1 || p.order.repeated,
                burst: p.order.burst,
                sequence: p.order.tag as u16,
            }),
            Fate::Waiting | Fate::Silent => None,
        };
        Evidence {
            local: self.local.clone(),
            sightings: self.pending.iter().filter_map(sighting).collect(),
            from_other_port: self.filter_test(PORT_SLOT),
            from_other_address: self.filter_test(ADDRESS_SLOT),
            hairpin: match self.hairpin {
                Hairpin::Told(told) => Some(told),
                Hairpin::NotYet | Hairpin::Asking { .. } => None,
            },
            two_addresses: self.other_address.is_some(),
            step_rule: self.step_rule,
        }
    }

    fn local_port(&self, slot: u16) -> Option<u16> {
        self.sockets.get(usize::from(slot)).copied().flatten().flatten()
    }

    /// Silence counts only if the same socket got its ordinary answer, and an answer only if it came from where
    /// it was asked to come from.
    fn filter_test(&self, slot: u16) -> Option<bool> {
        let mut alive = false;
        let mut told = None;
        for probe in self.pending.iter().filter(|p| p.order.slot == slot) {
            match (probe.order.purpose, probe.state) {
                (ProbePurpose::Report, Fate::Seen { .. }) => alive = true,
                (ProbePurpose::ReplyFromOtherPort, Fate::Seen { from, .. }) => {
                    told =
                        (from.ip() == probe.order.target.ip() && from != probe.order.target).then_some(true);
                }
                (ProbePurpose::ReplyFromOtherAddress, Fate::Seen { from, .. }) => {
                    told = (from.ip() != probe.order.target.ip()).then_some(true);
                }
                (ProbePurpose::ReplyFromOtherPort | ProbePurpose::ReplyFromOtherAddress, Fate::Silent) => {
                    told = Some(false);
                }
                _ => {}
            }
        }
        told.filter(|answered| *answered || alive)
    }

    fn send_burst(&mut self, now: Instant) {
        // All first packets of fresh sockets in a row, so that the intervals show the step; those with even ports first,
        // for a counter by 1 changes from even to odd each time, and only a NAT that keeps the parity does not.
        let mut slots: Vec<u16> = (0..BURST).collect();
        slots.sort_by_key(|slot| self.local_port(*slot).map(|port| port % 2));
        for slot in slots {
            self.report(now, slot, 0);
        }
        self.test_mapping(now, 0);
        let first = self.targets[0];
        if self.other_port.is_some() {
            self.probe(now, PORT_SLOT, first, ProbePurpose::ReplyFromOtherPort);
        }
        if self.other_address.is_some() {
            self.probe(now, ADDRESS_SLOT, first, ProbePurpose::ReplyFromOtherAddress);
        }
    }

    /// Tests M2: the same socket sends to another port and to another address.
    fn test_mapping(&mut self, now: Instant, slot: u16) {
        for target in [self.other_port, self.other_address].into_iter().flatten() {
            self.probe(now, slot, target, ProbePurpose::Report);
        }
    }

    fn report(&mut self, now: Instant, slot: u16, target: usize) {
        if let Some(target) = self.targets.get(target).copied() {
            self.probe(now, slot, target, ProbePurpose::Report);
        }
    }

    fn probe(&mut self, now: Instant, slot: u16, target: SocketAddr, purpose: ProbePurpose) {
        if self.local_port(slot).is_none() {
            return;
        }
        let tag = self.pending.len() as u32;
        // The mapping's second test leaves long after the burst of its socket: its port is none of that burst's.
        let repeated = self.mapping_again && slot < BURST;
        let order = ProbeOrder { slot, target, purpose, repeated, burst: self.later.number(slot), tag };
        self.orders.push_back(ClassifierOrder::Probe(order));
        let due = now + self.patience(purpose, 1);
        self.pending.push(Pending { order, sent: now, tries: 1, due, state: Fate::Waiting });
    }

    fn patience(&self, purpose: ProbePurpose, tries: u32) -> Duration {
        let overdue = self.rtt.overdue();
        match purpose {
            ProbePurpose::Report => self.rtt.overdue_after(tries - 1),
            _ if tries < FILTER_TRIES => overdue / 2,
            _ => overdue,
        }
    }

    fn advance(&mut self, now: Instant) {
        self.repeat(now);
        // The mapping decides about everything, so it must not stay unknown because four packets in a row were lost.
        let lost = |probe: &Pending| probe.order.slot == 0 && probe.state == Fate::Silent;
        if !self.mapping_again && self.pending.iter().any(lost) && self.seen_at(1).is_some() {
            self.mapping_again = true;
            self.test_mapping(now, 1);
        }
        self.hairpin_step(now);
        self.later_bursts(now);
        self.finish_if_done();
    }

    fn repeat(&mut self, now: Instant) {
        for i in 0..self.pending.len() {
            let Pending { order, tries, due, state, .. } = self.pending[i];
            if state != Fate::Waiting || due > now {
                continue;
            }
            let limit = if order.purpose == ProbePurpose::Report { TRIES } else { FILTER_TRIES };
            if tries >= limit {
                self.pending[i].state = Fate::Silent;
                continue;
            }
            let patience = self.patience(order.purpose, tries + 1);
            let probe = &mut self.pending[i];
            probe.tries += 1;
            probe.sent = now;
            probe.due = now + patience;
            self.orders.push_back(ClassifierOrder::Probe(ProbeOrder { repeated: true, ..order }));
        }
    }

    fn seen_at(&self, slot: u16) -> Option<SocketAddr> {
        self.pending.iter().find(|p| p.order.slot == slot).and_then(|p| match p.state {
            Fate::Seen { observed, .. } => Some(observed),
            Fate::Waiting | Fate::Silent => None,
        })
    }

    fn reports_settled(&self) -> bool {
        self.pending.iter().all(|p| p.state != Fate::Waiting || p.order.purpose != ProbePurpose::Report)
    }

    fn finish_if_done(&mut self) {
        let waiting = !self.burst_sent
            || self.later.due.is_some()
            || self.sockets.iter().any(Option::is_none)
            || matches!(self.hairpin, Hairpin::Asking { .. })
            || self.pending.iter().any(|p| p.state == Fate::Waiting);
        if waiting || self.done {
            return;
        }
        self.done = true;
        for slot in 0..self.sockets.len() as u16 {
            if self.local_port(slot).is_some() {
                self.orders.push_back(ClassifierOrder::CloseSocket { slot });
            }
        }
    }
}
