//! The list of ways to a player: which there are, and which one gives way to another.

use std::time::Instant;

use super::{MAX_CANDIDATES, Paths, SizeSearch};
use crate::api::PathKind;
use crate::method::Method;
use crate::pulse::Pulse;
use crate::way::Way;

/// This is a way to the other player that is tested or was heard from: an own socket and an address of the other's.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) way: Way,
    pub(crate) kind: PathKind,
    pub(crate) method: Method,
    /// The server named it: tested by our own clock. Others get one answer for each datagram that came from there, so
    /// that a player who forges its source cannot turn us on anybody.
    pub(super) vouched: bool,
    pub(super) next_test: Option<Instant>,
    pub(super) tests: usize,
    pub(crate) heard: Option<Instant>,
    /// This says whether what goes this way arrives.
    pub(crate) pulse: Pulse,
    pub(super) confirmed: bool,
    /// This says how long a datagram may be that goes this way.
    pub(crate) size: SizeSearch,
}

impl Candidate {
    pub(crate) fn is_relay(&self) -> bool {
        self.kind == PathKind::Relay
    }

    /// What was proven is old: test it again, if it ever was any good.
    pub(super) fn retry(&mut self, now: Instant) {
        self.confirmed = false;
        self.size.forget_error();
        if self.vouched || self.heard.is_some() {
            self.tests = 0;
            self.next_test = Some(now);
        }
    }
}

impl Paths {
    /// Adds an address that the server vouches for, to be tested from `at` on.
    pub(crate) fn add(&mut self, at: Instant, way: Way, kind: PathKind, method: Method) {
        if let Some(index) = self.find(way) {
            let candidate = &mut self.candidates[index];
            if !candidate.vouched {
                candidate.vouched = true;
                candidate.next_test = Some(at);
            }
        } else {
            self.push(way, kind, method, Some(at));
        }
    }

    pub(super) fn push(
        &mut self,
        way: Way,
        kind: PathKind,
        method: Method,
        next_test: Option<Instant>,
    ) -> Option<usize> {
        let vouched = next_test.is_some();
        let candidate = Candidate {
            way,
            kind,
            method,
            vouched,
            next_test,
            tests: 0,
            heard: None,
            pulse: Pulse::new(self.expected),
            confirmed: false,
            size: SizeSearch::new(way.remote.is_ipv6()),
        };
        if self.candidates.len() < MAX_CANDIDATES {
            self.candidates.push(candidate);
            return Some(self.candidates.len() - 1);
        }
        let index = self.dispensable()?;
        self.candidates[index] = candidate;
        Some(index)
    }

    /// Returns the way that was heard longest ago of those of which nothing has come: where each datagram of the
    /// other side leaves by another port, the newest is the one that lasts.
    fn dispensable(&self) -> Option<usize> {
        (0..self.candidates.len())
            .filter(|index| {
                let candidate = &self.candidates[*index];
                let idle = !candidate.confirmed && candidate.heard.is_some();
                idle && !candidate.is_relay() && self.selected_index() != Some(*index)
            })
            .min_by_key(|index| self.candidates[*index].heard)
    }

    pub(super) fn find(&self, way: Way) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.way == way)
    }
}
