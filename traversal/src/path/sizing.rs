//! Which ways are asked how long datagrams may be: the one in use, and the one that would take its place.

use std::time::Instant;

use super::{Carries, Paths, TestOrder};
use crate::open_tests::OpenTest;
use crate::timer::earliest;
use crate::way::Way;

impl Paths {
    /// Returns whether a way has to show what it carries: from one that carries full datagrams the game does not go
    /// back to one that was too narrow, before that has shown that it carries them by now. Others get the benefit of
    /// the doubt: they carry everything in parts meanwhile.
    pub(super) fn has_to_show(&self, best: usize) -> bool {
        let good = |path: &super::Candidate| path.confirmed && path.size.carries() == Carries::Full;
        self.candidates[best].size.is_doubtful() && self.selected().is_some_and(good)
    }

    /// A game datagram leaves that makes one of this length on this way.
    pub(crate) fn sent(&mut self, length: usize) {
        if let Some(index) = self.selected_index() {
            self.candidates[index].size.sent(length);
        }
    }

    /// The system refuses datagrams of this length to this address.
    pub(crate) fn refused(&mut self, now: Instant, way: Way, length: usize) {
        if let Some(index) = self.find(way) {
            self.candidates[index].size.refused(now, length);
        }
    }

    /// Returns the longest datagram that the relay's way takes, if there is one.
    pub(crate) fn relay_size(&self) -> Option<usize> {
        self.candidates.iter().find(|path| path.is_relay()).map(|path| path.size.present())
    }

    fn sized(&self) -> impl Iterator<Item = usize> + use<> {
        let confirmed = |index: &usize| self.candidates.get(*index).is_some_and(|path| path.confirmed);
        let selected = self.selected_index().filter(confirmed);
        let prospect = self.prospect.filter(confirmed).filter(|index| self.selected_index() != Some(*index));
        selected.into_iter().chain(prospect)
    }

    /// Returns the tests of length that are due now.
    pub(super) fn test_sizes(&mut self, now: Instant, orders: &mut Vec<TestOrder>) {
        let selected = self.selected_index();
        for index in self.sized() {
            let path = &mut self.candidates[index];
            let errors = path.size.errors();
            path.size.begin(now);
            let mut lengths = Vec::new();
            if !path.size.handle_timeout(now, &path.pulse, &mut lengths) && selected != Some(index) {
                // It has died meanwhile. Of the one in use the pings tell.
                path.confirmed = false;
            }
            let (way, method) = (path.way, path.method);
            for length in lengths {
                let probe = (length > 0).then_some(length);
                let tag = self.open_tests.open(OpenTest { way, method, sent: now, probe });
                orders.push(TestOrder { way, method, tag, probe });
            }
            if self.candidates[index].size.errors() != errors && selected == Some(index) {
                self.look_for_fuller(now, index);
            }
        }
    }

    /// Any other way may carry more than this one.
    fn look_for_fuller(&mut self, now: Instant, than: usize) {
        self.settle = Some(now + self.settle_time());
        for (index, other) in self.candidates.iter_mut().enumerate() {
            if index != than && other.size.carries() != Carries::Short {
                other.retry(now);
            }
        }
    }

    pub(super) fn next_size(&self) -> Option<Instant> {
        self.sized().map(|index| self.candidates[index].size.poll_timeout()).fold(None, earliest)
    }
}
