//! The own player: moved at once by the own inputs, put right by the host's word.

use std::collections::VecDeque;

use bevy::math::Vec2;

use crate::sim::{Body, Bolt, Freedom, Input, PlayerSlot, Stepped, angle_of, step_body};

/// Inputs kept that the host has not answered yet: 2 s.
const KEPT: usize = 120;
/// Corrections up to here are smoothed away; longer ones are jumps.
const JUMP: f32 = 140.0;

/// This is the own body, ahead of the host's.
#[derive(Debug, Default)]
pub(super) struct Prediction {
    body: Body,
    before: Vec2,
    /// This is the shown minus the predicted place; it fades.
    error: Vec2,
    pending: VecDeque<Input>,
    next: u32,
    /// These are the own shots in flight, which are ahead of the host, too.
    pub(super) bolts: Vec<Bolt>,
    /// This is how far the last correction moved the body, in world units, for tests and the curious.
    pub(super) corrected: f32,
}

impl Prediction {
    /// Applies a new input; returns its number.
    pub(super) fn step(&mut self, player: PlayerSlot, mut input: Input, freedom: Freedom) -> (u32, Stepped) {
        self.next += 1;
        input.seq = self.next;
        self.before = self.body.at;
        let stepped = step_body(&mut self.body, &input, freedom);
        self.bolts.retain_mut(|bolt| bolt.step(freedom.map));
        if stepped.fired {
            self.bolts.push(Bolt::fired(0, player, input.seq, self.body.at, angle_of(self.body.aim)));
        }
        if self.pending.len() == KEPT {
            self.pending.pop_front();
        }
        self.pending.push_back(input);
        self.error *= 0.88;
        (input.seq, stepped)
    }

    /// Returns the newest inputs, at most `count`, oldest first.
    pub(super) fn bundle(&self, count: usize) -> Vec<Input> {
        let skip = self.pending.len().saturating_sub(count);
        self.pending.iter().skip(skip).copied().collect()
    }

    /// Takes the host's word: the body is `body` after input number `applied`. The inputs after it are applied again.
    pub(super) fn reconcile(&mut self, applied: u32, body: Body, freedom: Freedom) {
        self.pending.retain(|input| input.seq > applied);
        let shown = self.body.at + self.error;
        let mut now = body;
        let mut before = body.at;
        for input in &self.pending {
            before = now.at;
            step_body(&mut now, input, freedom);
        }
        self.corrected = self.body.at.distance(now.at);
        self.body = now;
        self.before = before;
        self.error = shown - now.at;
        if self.error.length() > JUMP {
            self.error = Vec2::ZERO;
            self.before = now.at;
        }
    }

    /// Ends own shots that the host has let end, or never let begin.
    pub(super) fn confirm_bolts(&mut self, applied: u32, flying: impl Fn(u32) -> bool) {
        self.bolts.retain(|bolt| bolt.input > applied || flying(bolt.input));
    }

    /// Returns how many inputs are under way: so many steps this side is ahead.
    pub(super) fn ahead(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn body(&self) -> &Body {
        &self.body
    }

    /// Returns where to show the own player, `fraction` of a step after the last one.
    pub(super) fn shown(&self, fraction: f32) -> Vec2 {
        self.before.lerp(self.body.at, fraction) + self.error
    }
}
