//! Replies to every candidate port, and wider when nothing comes of it (M15, M19).

use std::iter::Peekable;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::Slot;
use super::engine::Engine;
use super::pace::{PACE, next_due};
use crate::ports::{PortRange, StepRule, Widened, Widening, advance};

/// So many candidates of a range are sent in one row; more are paced. Brackets of busy NATs hold less than ten.
const ROW: u32 = 32;

/// Steps beyond the known end of an open range that are tried in the first row.
const OPEN_STEPS: i64 = 8;

/// This is one range that is being answered.
#[derive(Debug)]
pub(super) struct ReplySearch {
    ports: Peekable<Widening>,
    slot: Slot,
    ip: IpAddr,
    due: Instant,
    left: u32,
    first_stage: bool,
}

impl ReplySearch {
    /// Sends replies from `slot` to `range` at `ip`, now, and twice more for loss.
    pub(super) fn start(now: Instant, engine: &mut Engine, slot: Slot, ip: IpAddr, range: PortRange) -> Self {
        Self::begin(now, engine, slot, ip, range, false)
    }

    /// Sends replies to ports beyond `bound` in the direction of `step`, nearest first: the range's other end is not
    /// known (M19).
    pub(super) fn start_open(
        now: Instant,
        engine: &mut Engine,
        slot: Slot,
        ip: IpAddr,
        (bound, step): (u16, i32),
    ) -> Self {
        // Two probes and the bubble take three steps of a counter that nobody else uses.
        let last = advance(bound, i64::from(step) * OPEN_STEPS);
        Self::begin(now, engine, slot, ip, PortRange::new(bound, last, step), true)
    }

    fn begin(
        now: Instant,
        engine: &mut Engine,
        slot: Slot,
        ip: IpAddr,
        range: PortRange,
        open: bool,
    ) -> Self {
        // A port that is the same for everybody is known for sure: nothing to widen.
        let fixed = engine.context.peer_is_fixed();
        let range = if fixed { PortRange::single(range.first()) } else { range };
        let most = if fixed { 1 } else { engine.context.caps.targets_per_attempt / 4 };
        let mut search = Self {
            ports: Widening::new(range, StepRule::Gcd, (false, open)).peekable(),
            slot,
            ip,
            due: now,
            // Wide searches of one round must leave something for the next, with a better range.
            left: most.max(1),
            first_stage: true,
        };
        search.step(now, engine);
        search
    }

    /// Takes an input: [`due`](Self::due) may have come.
    pub(super) fn step(&mut self, now: Instant, engine: &mut Engine) {
        while self.left > 0 && self.due <= now && !engine.wide_waits() {
            self.try_next(now, engine);
        }
    }

    fn try_next(&mut self, now: Instant, engine: &mut Engine) {
        if self.first_stage {
            self.first_stage = false;
            let Some((stage @ Widened::Range { .. }, _)) = self.ports.peek().copied() else { return };
            let mut batch = Vec::new();
            while batch.len() < ROW as usize
                && let Some((_, port)) = self.ports.next_if(|(s, _)| *s == stage)
            {
                batch.push(SocketAddr::new(self.ip, port));
            }
            self.left = self.left.saturating_sub(batch.len() as u32);
            for (i, to) in (0u32..).zip(&batch) {
                engine.test(now, if i == 0 { batch.len() as u32 } else { 1 }, self.slot, *to);
                engine.repeat(now, self.slot, *to);
            }
            let more = matches!(self.ports.peek(), Some((s, _)) if *s == stage);
            // An answer comes back a round trip later; until then the range may well have been right.
            self.due = now + if more { PACE } else { engine.patience(2, 1) };
            return;
        }
        let Some((_, port)) = self.ports.next().filter(|_| self.left > 0) else {
            self.left = 0; // Every port was tried.
            return;
        };
        self.left -= 1;
        engine.wide_test(now, self.slot, SocketAddr::new(self.ip, port));
        // Half the rate: other methods and other players share it.
        self.due = next_due(self.due, now, PACE * 2);
    }

    /// Returns when the next candidate is due; `None`: there is no more.
    pub(super) fn due(&self, engine: &Engine) -> Option<Instant> {
        (self.left > 0 && !engine.wide_waits()).then_some(self.due)
    }

    /// Returns whether it goes beyond what was measured.
    pub(super) fn is_wide(&self) -> bool {
        !self.first_stage && self.left > 0
    }
}
