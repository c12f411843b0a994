//! Other players, shown a little in the past between two known places.

use std::collections::VecDeque;

use bevy::math::Vec2;

use crate::protocol::{Snapshot, unpack};
use crate::sim::{DT, PlayerSlot, angle_of};

/// Others are shown so many seconds in the past: three snapshots, so that one lost and one late do not show.
const DELAY: f32 = 0.1;
/// Without news, others are shown going straight on for so many seconds at the most.
const EXTRAPOLATE: f32 = 0.12;
const KEPT: usize = 32;

/// Snapshots and the guess of the host's clock.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    snapshots: VecDeque<Snapshot>,
    /// This is the host's time minus ours, in seconds, as the fastest datagrams tell it.
    offset: Option<f64>,
}

impl Timeline {
    /// Takes a snapshot in; false if it is old or known.
    pub(super) fn add(&mut self, snapshot: Snapshot, now: f64) -> bool {
        let sample = f64::from(snapshot.tick) * f64::from(DT) - now;
        self.offset = Some(match self.offset {
            None => sample,
            // Far off: another clock, as after a pause of the host.
            Some(offset) if (sample - offset).abs() > 1.0 => sample,
            // Datagrams are never too early: believe these fast, the late ones slowly.
            Some(offset) if sample > offset => offset + (sample - offset) * 0.25,
            Some(offset) => offset + (sample - offset) * 0.01,
        });
        if self.snapshots.back().is_some_and(|newest| newest.tick >= snapshot.tick) {
            // Late: still of use between its neighbours, but not news.
            if let Err(place) = self.snapshots.binary_search_by_key(&snapshot.tick, |s| s.tick) {
                self.snapshots.insert(place, snapshot);
            }
            self.trim();
            return false;
        }
        self.snapshots.push_back(snapshot);
        self.trim();
        true
    }

    fn trim(&mut self) {
        while self.snapshots.len() > KEPT {
            self.snapshots.pop_front();
        }
    }

    pub(super) fn newest(&self) -> Option<&Snapshot> {
        self.snapshots.back()
    }

    /// Returns the host's time as it reaches us now, in steps.
    pub(super) fn host_tick(&self, now: f64) -> Option<f64> {
        Some((now + self.offset?) / f64::from(DT))
    }

    /// Returns the step that is shown of others now.
    pub(super) fn shown_tick(&self, now: f64) -> Option<f64> {
        Some(self.host_tick(now)? - f64::from(DELAY / DT))
    }

    /// Returns where a player was at that step, and where it looked.
    pub(super) fn player_at(&self, player: PlayerSlot, tick: f64) -> Option<(Vec2, f32)> {
        let find = |snapshot: &Snapshot| {
            let state = snapshot.players.iter().find(|p| p.player == player)?;
            Some((f64::from(snapshot.tick), unpack(state.at), angle_of(state.aim)))
        };
        let after = self.snapshots.iter().position(|s| f64::from(s.tick) >= tick);
        let (a, b) = match after {
            Some(0) => return find(&self.snapshots[0]).map(|(_, at, angle)| (at, angle)),
            Some(i) => (&self.snapshots[i - 1], &self.snapshots[i]),
            None => {
                let count = self.snapshots.len();
                let b = self.snapshots.back()?;
                (self.snapshots.get(count.wrapping_sub(2)).unwrap_or(b), b)
            }
        };
        let (Some(from), Some(to)) = (find(a), find(b)) else {
            return find(b).map(|(_, at, angle)| (at, angle));
        };
        let span = to.0 - from.0;
        if span <= 0.0 || from.1.distance(to.1) > 160.0 {
            // Alone, or a jump (round start, respawn).
            return Some((to.1, to.2));
        }
        let latest = 1.0 + f64::from(EXTRAPOLATE / DT) / span;
        let fraction = ((tick - from.0) / span).clamp(0.0, latest) as f32;
        let turn =
            (to.2 - from.2 + std::f32::consts::PI).rem_euclid(std::f32::consts::TAU) - std::f32::consts::PI;
        Some((from.1.lerp(to.1, fraction), from.2 + turn * fraction.min(1.0)))
    }
}
