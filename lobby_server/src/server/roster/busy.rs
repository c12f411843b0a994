//! What is kept of a session only while something goes on: most players do no more than to show that they are there.

use std::time::{Duration, Instant};

use traversal_core::classify::Sighting;
use traversal_core::id::RequestId;

use super::client::{Client, HalfOpen};
use super::moving::{Challenge, Former};
use crate::config::ServerConfig;
use crate::limits::Bucket;
use crate::server::chat::TEXTS;

/// This is there from the login on, and again whenever the player does something.
pub(super) struct Busy {
    /// This is its newest request to enter a room, and when it came.
    pub(super) wish: Option<(RequestId, Instant)>,
    /// These are probes of the classification that runs, as they were seen here (E1).
    pub(super) sightings: Vec<Sighting>,
    /// This says how it was reached until it went from UDP to a stream or back.
    pub(super) former: Option<Former>,
    pub(super) challenge: Option<Challenge>,
    /// This says when the login was answered; `None`: several times, so that it tells no round trip (Karn's rule).
    pub(super) accepted: Option<Instant>,
    /// Kept until a sealed datagram comes.
    pub(super) half_open: Option<HalfOpen>,
    pub(super) probes: Bucket,
    pub(super) knocks: Bucket,
    pub(super) requests: Bucket,
    /// This limits what it writes.
    pub(super) texts: Bucket,
    /// This limits how much it causes others to be told.
    pub(super) effects: Bucket,
    /// This says when it last sent something to be relayed.
    pub(super) relayed_at: Option<Instant>,
}

impl Busy {
    pub(super) fn new(now: Instant) -> Self {
        let full = Bucket::of_any_rate(now);
        Self {
            wish: None,
            sightings: Vec::new(),
            former: None,
            challenge: None,
            accepted: None,
            half_open: None,
            probes: full,
            knocks: full,
            requests: full,
            texts: full,
            effects: full,
            relayed_at: None,
        }
    }

    /// Returns whether a new one would do the same as this one. `up` is how long the server runs, and `heard` when the
    /// player was heard last.
    fn is_over(&self, (now, up, heard): (Instant, Duration, Instant), config: &ServerConfig) -> bool {
        let buckets = [
            (&self.probes, config.probe_rate),
            (&self.knocks, config.knock_rate),
            (&self.requests, config.request_rate),
            (&self.texts, TEXTS),
            (&self.effects, config.effect_rate),
        ];
        self.wish.is_none()
            && self.former.is_none()
            && self.half_open.is_none()
            && self.sightings.iter().all(|sighting| super::probes::is_forgotten(sighting, up))
            && self.challenge.as_ref().is_none_or(|challenge| challenge.is_over(now))
            && self.relayed_at.is_none_or(|at| at <= heard)
            && buckets.iter().all(|(bucket, rate)| bucket.left(*rate, now) >= rate.burst)
    }
}

impl Client {
    /// Returns what goes on; it begins now if there was nothing.
    pub(super) fn busy(&mut self, now: Instant) -> &mut Busy {
        self.busy.get_or_insert_with(|| Box::new(Busy::new(now)))
    }

    /// Forgets what went on, if it is over.
    pub(super) fn rest(&mut self, now: Instant, up: Duration, config: &ServerConfig) {
        let heard = self.session.last_heard();
        self.busy.take_if(|busy| busy.is_over((now, up, heard), config));
    }

    pub(super) fn sightings(&self) -> &[Sighting] {
        self.busy.as_ref().map_or(&[], |busy| &busy.sightings)
    }

    pub(super) fn former(&self) -> Option<Former> {
        self.busy.as_ref()?.former
    }
}
