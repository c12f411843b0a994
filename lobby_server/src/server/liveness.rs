//! Is a player that stands in the way still there? Asked before a room is called full or a name taken, so that a
//! player who was killed and comes back at once gets in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use traversal_core::id::RoomId;
use traversal_core::wire::message::MatchEnd;

use super::creating::Claim;
use super::joining::JoinWish;
use super::{Server, Timer};

/// Least time between pings of one check. At 30 % loss each way, ten of them miss a living player once in a thousand
/// checks.
const PING_PERIOD: Duration = Duration::from_millis(150);

/// Pings of one check.
const PINGS: u32 = 10;

/// Time between the pings of a check that takes so long.
pub(super) fn ping_period(wait: Duration) -> Duration {
    PING_PERIOD.max(wait / PINGS)
}

/// One check of a room's members.
#[derive(Debug)]
pub(super) struct Check {
    suspects: BTreeSet<u64>,
    deadline: Instant,
    period: Duration,
    waiting: Vec<Waiting>,
}

/// What goes on when the check is done.
#[derive(Debug)]
pub(super) enum Waiting {
    Join(JoinWish),
    Claim(Claim),
}

impl Server {
    /// Asks the members of a room (or its host alone) that were silent for a while. False: nobody to ask.
    pub(super) fn check(&mut self, room: RoomId, host_only: bool, waiting: Waiting) -> bool {
        let now = self.cx.now;
        let Some(of) = self.rooms.get(&room) else { return false };
        let count = if host_only { 1 } else { of.members.len() };
        let fresh = self.cx.config.liveness_fresh;
        let suspects: BTreeSet<u64> = of.members[..count.min(of.members.len())]
            .iter()
            .filter_map(|member| self.roster.session_of(member.id))
            .filter(|id| {
                self.roster.last_heard(*id).is_some_and(|heard| now.saturating_duration_since(heard) > fresh)
            })
            .collect();
        let wait = self.roster.wait_for(self.cx.config.liveness_wait, suspects.iter().copied());
        if let Some(open) = self.checks.get_mut(&room) {
            open.waiting.push(waiting);
            if !suspects.is_subset(&open.suspects) {
                open.suspects.extend(suspects);
                (open.deadline, open.period) = (now + wait, ping_period(wait));
            }
            return true;
        }
        if suspects.is_empty() {
            return false;
        }
        let (deadline, period) = (now + wait, ping_period(wait));
        self.checks.insert(room, Check { suspects, deadline, period, waiting: vec![waiting] });
        self.check_timeout(room);
        true
    }

    /// A session gave a sign of life.
    pub(super) fn heard(&mut self, id: u64) {
        self.host_heard(id);
        let mut done = Vec::new();
        for (room, check) in &mut self.checks {
            if check.suspects.remove(&id) && check.suspects.is_empty() {
                done.push(*room);
            }
        }
        for room in done {
            self.finish_check(room);
        }
    }

    pub(super) fn check_timeout(&mut self, room: RoomId) {
        let now = self.cx.now;
        let Some(check) = self.checks.get(&room) else { return };
        if now >= check.deadline {
            self.finish_check(room);
            return;
        }
        let next = (now + check.period).min(check.deadline);
        self.cx.timers.set(Timer::Check(room), Some(next));
        for id in check.suspects.clone() {
            self.roster.ping(&self.cx, id);
        }
    }

    fn finish_check(&mut self, room: RoomId) {
        self.cx.timers.set(Timer::Check(room), None);
        let Some(check) = self.checks.remove(&room) else { return };
        for id in check.suspects {
            self.end_session(id, MatchEnd::Gone);
        }
        self.go_on(check.waiting);
    }

    /// The room is gone: who waited for its members need not wait.
    pub(super) fn abandon_check(&mut self, room: RoomId) {
        self.cx.timers.set(Timer::Check(room), None);
        if let Some(check) = self.checks.remove(&room) {
            self.go_on(check.waiting);
        }
    }

    fn go_on(&mut self, waiting: Vec<Waiting>) {
        for waiting in waiting {
            match waiting {
                Waiting::Join(wish) => self.enter(JoinWish { checked: true, ..wish }),
                Waiting::Claim(claim) => self.claim(Claim { checked: true, ..claim }),
            }
        }
    }
}
