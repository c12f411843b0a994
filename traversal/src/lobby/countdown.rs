//! The countdown of a room, whose end is the same moment for all members.

use std::time::{Duration, Instant};

use super::Lobby;
use super::clock::ServerClock;
use crate::api::{Countdown, Event};
use crate::cx::Cx;
use crate::wire::message::{CountdownRule, InRoom, MAX_COUNTDOWN_MS, Request, ServerCountdown};

/// This is a countdown that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) told: ServerCountdown,
    /// This is when the news of it came, by which its moment is known while the server's clock is not.
    heard: Instant,
    /// This is its moment, once the session that it came by is gone.
    pub(super) fixed: Option<Instant>,
}

impl Running {
    /// Returns the moment at which it is over.
    pub(super) fn moment(&self, clock: &ServerClock, rtt: Option<Duration>) -> Instant {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        clock.local(self.told.at_ms).unwrap_or_else(|| {
            let left = self.told.at_ms.saturating_sub(self.told.now_ms).min(MAX_COUNTDOWN_MS.into());
            let left = Duration::from_millis(left);
            let way = rtt.unwrap_or_default() / 2;
            self.heard + left.saturating_sub(way)
        })
    }
}

impl Lobby {
    /// The server says that a countdown runs.
    pub(super) fn countdown_told(&mut self, cx: &mut Cx<'_>, told: ServerCountdown) {
        let rtt = cx.link.timing().rtt();
        let Some(room) = &mut self.room else { return };
        // After a restart of the server each one keeps to the moment that it knows.
        if room.shared.countdown.is_some_and(|running| running.told.id == told.id) {
            return;
        }
        let running = Running { told, heard: cx.now, fixed: None };
        room.shared.countdown = Some(running);
        let at = running.moment(&self.clock, rtt);
        let exact = self.clock.exactness().or(rtt.map(|rtt| rtt / 2));
        cx.emit(Event::CountdownStarted(Countdown { at, exact, rule: told.rule }));
        // Twice, since the quicker answer is the more exact one.
        for _ in 0..2 {
            self.ask_silently(cx, Request::InRoom(InRoom::Time));
        }
    }

    /// Returns when the countdown is over.
    pub(super) fn countdown_at(&self, rtt: Option<Duration>) -> Option<Instant> {
        let running = self.room.as_ref()?.shared.countdown?;
        Some(running.moment(&self.clock, rtt))
    }

    /// Tells the game that the countdown is over.
    pub(super) fn countdown_timeout(&mut self, cx: &mut Cx<'_>) {
        let due = self.countdown_at(cx.link.timing().rtt()).is_some_and(|at| at <= cx.now);
        if let Some(room) = self.room.as_mut().filter(|_| due) {
            room.shared.countdown = None;
            cx.emit(Event::CountdownOver);
        }
    }
}

/// Makes the request of a host that wants a countdown.
pub(crate) fn start_countdown(after: Duration, rule: CountdownRule) -> InRoom {
    InRoom::StartCountdown { after_ms: u32::try_from(after.as_millis()).unwrap_or(u32::MAX), rule }
}
