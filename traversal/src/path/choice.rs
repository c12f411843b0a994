//! Which of the ways that were found is taken, and when another one is tried again.

use std::time::{Duration, Instant};

use super::{Candidate, Carries, InUse, Paths, UPGRADE};
use crate::api::PathKind;
use crate::config::AgentConfig;
use crate::pulse::Doubt;

/// Better addresses are still tested for so long once a path stands; or for two round trips of a far player.
const SETTLE: Duration = Duration::from_millis(1500);

/// A path of the same kind must be this much faster to be worth a change.
const FASTER: f64 = 0.7;

/// A game stays so long on the lesser way that it fell to, by how often it fell lately: a way that comes and goes
/// costs a second of silence each time, so it is trusted less and less.
const HOLD: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(60),
];

/// A way that stood so long has made good for earlier falls.
const CALM: Duration = Duration::from_secs(60);

/// At this place in [`UPGRADE`] stands the first try of the own network from a direct way: it is after a minute; the
/// second one follows five minutes later.
const OWN_NETWORK: usize = 3;

/// The better kind of way wins, whatever its round trip.
fn rank(candidate: &Candidate) -> u8 {
    match candidate.kind {
        PathKind::Lan => 2,
        PathKind::Direct | PathKind::DirectV6 => 1,
        PathKind::Relay => 0,
    }
}

/// A way that carries short datagrams only is worth less than any other.
fn worth(candidate: &Candidate) -> (bool, u8) {
    (candidate.size.carries() != Carries::Short, rank(candidate))
}

impl Paths {
    pub(super) fn settle_time(&self) -> Duration {
        self.expected.map_or(SETTLE, |rtt| SETTLE.max(rtt * 2))
    }

    pub(super) fn proven(&mut self, index: usize) -> bool {
        let candidate = &mut self.candidates[index];
        let news = !candidate.confirmed;
        candidate.confirmed = true;
        candidate.next_test = None;
        news
    }

    /// Picks the best proven way. True when the choice changed.
    pub(crate) fn choose(&mut self, now: Instant, config: &AgentConfig) -> bool {
        let rtt = |candidate: &Candidate| candidate.pulse.rtt().unwrap_or(Duration::MAX);
        let alive = self.selected().filter(|selected| selected.confirmed).map(worth);
        let held = alive.filter(|_| self.held.is_some_and(|at| now < at));
        let best = (0..self.candidates.len())
            .filter(|index| {
                let candidate = &self.candidates[*index];
                candidate.confirmed && held.is_none_or(|present| worth(candidate) <= present)
            })
            .min_by_key(|index| {
                let candidate = &self.candidates[*index];
                (std::cmp::Reverse(worth(candidate)), rtt(candidate))
            });
        let Some(best) = best else { return false };
        let selected = self.selected_index();
        let change = selected.is_none_or(|selected| {
            let (old, new) = (&self.candidates[selected], &self.candidates[best]);
            !old.confirmed
                || worth(new) > worth(old)
                || (worth(new) == worth(old) && rtt(new).as_secs_f64() < rtt(old).as_secs_f64() * FASTER)
        });
        if !change || selected == Some(best) {
            self.prospect = None;
            return false;
        }
        if self.has_to_show(best) {
            self.prospect = Some(best);
            self.candidates[best].size.begin(now);
            return false;
        }
        self.take(now, best, config);
        true
    }

    /// Lets game datagrams take this way from now on.
    fn take(&mut self, now: Instant, best: usize, config: &AgentConfig) {
        self.prospect = None;
        if self.in_use.is_none() {
            self.settle = Some(now + self.settle_time());
        }
        let chosen = rank(&self.candidates[best]);
        let fell = self.selected().is_some_and(|old| worth(old) > worth(&self.candidates[best]));
        self.upgrade = if fell {
            if self.in_use.is_some_and(|way| now.saturating_duration_since(way.since) >= CALM) {
                self.falls = 0;
            }
            let hold = now + HOLD[self.falls.min(HOLD.len() - 1)];
            self.falls += 1;
            self.held = Some(hold);
            Some((hold, 0))
        } else {
            self.first_upgrade(now, chosen)
        };
        let kind = self.candidates[best].kind;
        for candidate in &mut self.candidates {
            // The other family may be faster: it is measured while better ways are looked for at all.
            if fell || rank(candidate) < chosen || candidate.kind == kind {
                candidate.next_test = None;
            }
        }
        self.in_use = Some(InUse {
            index: best,
            since: now,
            next_ping: now + config.path_ping,
            hurried: 0,
            doubt: Doubt::None,
            recovering: false,
        });
        self.candidates[best].pulse.forgive();
        self.candidates[best].size.begin(now);
    }

    /// Returns whether game datagrams arrive by the way in use is in such doubt that they had better take a second
    /// one too.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubt() >= Doubt::Serious
    }

    /// Looks whether the way in use still answers. True when that has just come into doubt.
    pub(super) fn watch(&mut self, now: Instant) -> bool {
        self.checked = Some(now);
        let Some(in_use) = &mut self.in_use else { return false };
        let index = in_use.index;
        let doubt = self.candidates[index].pulse.doubt(now);
        let before = std::mem::replace(&mut in_use.doubt, doubt);
        if doubt == Doubt::None {
            (in_use.recovering, in_use.hurried) = (false, 0);
            return false;
        }
        if before == Doubt::None {
            in_use.next_ping = now;
        }
        if doubt >= Doubt::Serious && !std::mem::replace(&mut in_use.recovering, true) {
            for (_, candidate) in self.candidates.iter_mut().enumerate().filter(|(other, _)| *other != index)
            {
                candidate.retry(now);
            }
        }
        if doubt == Doubt::Dead {
            self.candidates[index].confirmed = false;
        }
        before == Doubt::None
    }

    /// Returns when better ways are tried again than the one that was chosen at `now`, and how often they count as
    /// tried: soon, and for ever, where the relay carries the game. Where a direct way does, the own network only,
    /// twice: a system may let nothing out into it before its user allows that (macOS, iOS), and the address may be a
    /// stranger's.
    fn first_upgrade(&self, now: Instant, chosen: u8) -> Option<(Instant, usize)> {
        let better = || self.candidates.iter().any(|candidate| rank(candidate) > chosen && candidate.vouched);
        let times = if chosen == 0 { 0 } else { OWN_NETWORK };
        (chosen == 0 || better()).then(|| (now + UPGRADE[times], times + 1))
    }

    /// Better ways than the present one are tried again, ever more rarely. True when that begins.
    pub(super) fn try_upgrade(&mut self, now: Instant) -> bool {
        let Some((_, times)) = self.upgrade.filter(|(at, _)| *at <= now) else { return false };
        let Some(present) = self.selected().map(rank) else { return false };
        // Over a direct way the game plays well enough not to ask for ever.
        let again = present == 0 || times < UPGRADE.len();
        self.upgrade = again.then(|| (now + UPGRADE[times.min(UPGRADE.len() - 1)], times + 1));
        self.settle = Some(now + self.settle_time());
        for candidate in self.candidates.iter_mut().filter(|candidate| rank(candidate) > present) {
            candidate.retry(now);
        }
        true
    }
}
