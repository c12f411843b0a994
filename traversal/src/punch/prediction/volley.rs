//! Rows of packets: what they need, when they leave, and when they are sent again.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Call, Prediction};
use crate::method::Role;
use crate::nat::MappingBehavior;
use crate::punch::told::KEPT_PORTS;
use crate::punch::{Ports, Slot};
use crate::wire::message::Ahead;

/// A row of so few packets is repeated in case some are lost; of a longer one the other side's repetitions get in.
const REPEATED: usize = 24;

/// So many rounds of this side may still be answered.
const KEPT_CALLS: usize = 3;

/// These packets wait for their sockets.
#[derive(Clone, Debug)]
pub(super) struct Volley {
    /// The round whose ports are made known in the same row, first or, where they are kept, last.
    pub(super) call: Option<u8>,
    pub(super) sends: Vec<(u16, SocketAddr)>,
}

impl Prediction {
    /// Gets the sockets, then sends all in a row.
    pub(super) fn volley(&mut self, now: Instant, call: Option<u8>, to: Vec<SocketAddr>) {
        let kept = self.own() == Ports::Kept;
        let by_port = self.engine.context.own.mapping == MappingBehavior::AddressAndPortDependent;
        if kept || !by_port || to.iter().any(|to| self.sent_to.contains(to)) {
            // Those whose ports were told wait for their packets.
            for slot in std::mem::take(&mut self.pool) {
                self.close(now, slot);
            }
        }
        let mut new_call = call.map(|attempt| Call {
            attempt,
            probe: None,
            ahead: Ahead::default(),
            kept: Vec::new(),
            own_ports: 0,
            answered: false,
        });
        let sockets = if kept && new_call.is_some() && to.is_empty() { KEPT_PORTS } else { to.len() };
        while self.pool.len() < sockets {
            let slot = self.engine.open(now);
            self.pool.push(slot);
        }
        if let Some(call) = &mut new_call {
            if kept {
                call.kept = std::mem::take(&mut self.pool);
            } else {
                call.probe = Some((self.engine.open(now), 0));
            }
        }
        let slots = new_call.as_ref().filter(|_| kept).map_or(&self.pool, |call| &call.kept);
        let sends = slots.iter().copied().zip(to).collect();
        if let Some(call) = new_call {
            self.calls.push(call);
            if self.calls.len() > KEPT_CALLS {
                self.forget_oldest(now);
            }
        }
        self.wanted.push_back(Volley { call, sends });
        self.fire_when_open(now);
    }

    fn close(&mut self, now: Instant, slot: u16) {
        self.open.remove(&slot);
        self.engine.close(now, slot);
    }

    fn forget_oldest(&mut self, now: Instant) {
        let old = self.calls.remove(0);
        for slot in old.kept.into_iter().chain(old.probe.map(|(slot, _)| slot)) {
            self.close(now, slot);
        }
    }

    pub(super) fn fire_when_open(&mut self, now: Instant) {
        while let Some(volley) = self.wanted.pop_front() {
            if !self.is_open(&volley) {
                self.wanted.push_front(volley);
                return;
            }
            self.fire(now, &volley);
        }
    }

    fn call_of(&self, volley: &Volley) -> Option<usize> {
        volley.call.and_then(|attempt| self.calls.iter().position(|call| call.attempt == attempt))
    }

    /// Returns whether all of its sockets are open.
    fn is_open(&self, volley: &Volley) -> bool {
        let told = self.call_of(volley).map(|call| &self.calls[call]);
        let told = told.into_iter().flat_map(|call| call.kept.iter().chain(call.probe.iter().map(|p| &p.0)));
        volley.sends.iter().map(|(slot, _)| slot).chain(told).all(|slot| self.open.contains_key(slot))
    }

    fn fire(&mut self, now: Instant, volley: &Volley) {
        let (call, sends) = (self.call_of(volley), &volley.sends);
        if let Some(call) = call {
            self.send_probe(now, call, sends.len() as u32);
        }
        for (i, (slot, to)) in sends.iter().enumerate() {
            let row = if i == 0 && call.is_none() { sends.len() as u32 } else { 1 };
            self.engine.opener(now, row, self.attempt, Slot::Own(*slot), *to);
            self.sent_to.insert(*to);
        }
        self.own_ports += sends.len() as u32;
        self.repeat(now, call.is_some(), sends);
        if let Some(call) = call.map(|call| &self.calls[call]).filter(|call| !call.kept.is_empty()) {
            let ports = call.kept.iter().filter_map(|slot| self.open.get(slot)).copied().collect();
            self.engine.tell_kept(now, call.attempt, ports);
        }
    }

    /// Sends the probe of a call whose ports count, first of a row of `more` packets.
    fn send_probe(&mut self, now: Instant, call: usize, more: u32) {
        let Some((slot, _)) = self.calls[call].probe else { return };
        let both_move = self.own() != Ports::Fixed && self.peer() != Ports::Fixed;
        let ahead = match self.engine.context.ports_ahead {
            _ if !both_move || self.engine.context.role != Role::Sending => Ahead::default(),
            Some(n) => [n.clamp(1, self.width() as u16), 0, 0, 0],
            None => self.rate().ahead(self.answer_time(), self.width()),
        };
        self.own_ports += 1;
        let tag = self.engine.newest_probe(now, 1 + more, slot, self.calls[call].attempt, ahead);
        let call = &mut self.calls[call];
        (call.probe, call.ahead, call.own_ports) = (Some((slot, tag)), ahead, self.own_ports);
    }

    /// The same packets again, in case some are lost. Those that the other side must first be told of go on until its own
    /// packets are likely to have left.
    ///
    /// These may get in just after the other side has sent its first one, which saves half a round trip. Where they
    /// come too early and make its NAT clash, the bracketed bubble beside this has openers that never do.
    fn repeat(&mut self, now: Instant, told: bool, sends: &[(u16, SocketAddr)]) {
        let both_move = self.own() != Ports::Fixed && self.peer() != Ports::Fixed;
        if sends.len() <= REPEATED {
            for (slot, to) in sends {
                self.engine.repeat(now, Slot::Own(*slot), *to);
            }
        }
        if told && both_move {
            let time = self.answer_time();
            for later in [time / 2, time * 3 / 4, time] {
                for (slot, to) in sends {
                    self.engine.test(now + later, 1, Slot::Own(*slot), *to);
                }
            }
        }
    }
}
