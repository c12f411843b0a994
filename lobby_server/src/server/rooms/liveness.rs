//! Is a player that stands in the way still there? Asked before a room is called full or a name taken, so that a
//! player who was killed and comes back at once gets in.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry as MapEntry;
use std::time::{Duration, Instant};

use traversal_core::id::RoomId;
use traversal_core::wire::message::MatchEnd;

use super::wishes::{Entry, RoomClaim, Waiting};
use super::{Others, Rooms};
use crate::ids::SessionId;
use crate::server::timers::Timer;

/// Pings of one check are this far apart at the least. At 30 % loss each way, ten of them miss a living player once in
/// a thousand checks.
const PING_PERIOD: Duration = Duration::from_millis(150);

/// Pings of one check.
const PINGS: u32 = 10;

/// Returns the time between the pings of a check that takes so long.
pub(crate) fn ping_period(wait: Duration) -> Duration {
    PING_PERIOD.max(wait / PINGS)
}

/// This is one check of a room's members.
#[derive(Debug)]
pub(super) struct Check {
    suspects: BTreeSet<SessionId>,
    deadline: Instant,
    period: Duration,
    waiting: Vec<Waiting>,
}

impl Rooms {
    /// Asks the members of a room (or its host alone) that were silent for a while. False: nobody to ask.
    pub(super) fn check(
        &mut self,
        others: &mut Others<'_>,
        room: RoomId,
        host_only: bool,
        waiting: Waiting,
    ) -> bool {
        let now = others.cx.now;
        let Some(asked) = self.rooms.get(&room) else { return false };
        let count = if host_only { 1 } else { asked.members.len() };
        let fresh = others.cx.config.liveness_fresh;
        let suspects: BTreeSet<SessionId> = asked.members[..count.min(asked.members.len())]
            .iter()
            .filter_map(|member| others.roster.session_of(member.id))
            .filter(|id| {
                others
                    .roster
                    .last_heard(*id)
                    .is_some_and(|heard| now.saturating_duration_since(heard) > fresh)
            })
            .collect();
        let wait = others.roster.wait_for(others.cx.config.liveness_wait, suspects.iter().copied());
        for id in &suspects {
            self.checks_of.entry(*id).or_default().insert(room);
        }
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
        self.check_timeout(others, room);
        true
    }

    /// A session gave a sign of life: perhaps somebody waits for it.
    pub(crate) fn session_heard(&mut self, others: &mut Others<'_>, id: SessionId) {
        self.heard(others, id);
        self.seat_heard(others, id);
        self.awaited_heard(others, id);
        self.gathering_heard(others, id);
    }

    fn heard(&mut self, others: &mut Others<'_>, id: SessionId) {
        self.host_heard(others, id);
        for room in self.checks_of.remove(&id).unwrap_or_default() {
            let Some(check) = self.checks.get_mut(&room) else { continue };
            if check.suspects.remove(&id) && check.suspects.is_empty() {
                self.finish_check(others, room);
            }
        }
    }

    /// Asks the members that are still silent once more, or ends the check.
    pub(crate) fn check_timeout(&mut self, others: &mut Others<'_>, room: RoomId) {
        let now = others.cx.now;
        let Some(check) = self.checks.get(&room) else { return };
        if now >= check.deadline {
            self.finish_check(others, room);
            return;
        }
        let next = (now + check.period).min(check.deadline);
        others.cx.timers.set(Timer::Check(room), Some(next));
        for id in check.suspects.clone() {
            others.ping(id);
        }
    }

    fn finish_check(&mut self, others: &mut Others<'_>, room: RoomId) {
        others.cx.timers.set(Timer::Check(room), None);
        let Some(check) = self.take_check(room) else { return };
        for id in check.suspects {
            self.end_session(others, id, MatchEnd::Gone);
        }
        self.go_on(others, check.waiting);
    }

    fn take_check(&mut self, room: RoomId) -> Option<Check> {
        let check = self.checks.remove(&room)?;
        for id in &check.suspects {
            if let MapEntry::Occupied(mut rooms) = self.checks_of.entry(*id) {
                rooms.get_mut().remove(&room);
                if rooms.get().is_empty() {
                    rooms.remove();
                }
            }
        }
        Some(check)
    }

    /// The room is gone: who waited for its members need not wait.
    pub(super) fn abandon_check(&mut self, others: &mut Others<'_>, room: RoomId) {
        others.cx.timers.set(Timer::Check(room), None);
        if let Some(check) = self.take_check(room) {
            self.go_on(others, check.waiting);
        }
    }

    fn go_on(&mut self, others: &mut Others<'_>, waiting: Vec<Waiting>) {
        for waiting in waiting {
            match waiting {
                Waiting::Join(entry) => self.enter(others, Entry { checked: true, ..entry }),
                Waiting::Claim(claim) => self.claim(others, RoomClaim { checked: true, ..claim }),
            }
        }
    }
}
