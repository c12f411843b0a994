//! Reliable frames on their way out: which wait, which were sent, and when one is sent again.
//!
//! What a queue may hold is bounded in bytes. A message that tells a state takes the place of an older one about the
//! same [`Topic`] that still waits, so that a receiver who is slow, or gone, costs no more than the states that there
//! are.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{MAX_FRAME, SendError};
use crate::rtt::RttEstimate;
use crate::wire::codec;
use crate::wire::message::{Frame, Topic};

/// So many reliable frames are on their way at a time; further ones wait.
const IN_FLIGHT: usize = 32;
/// Reliable frames on their way have at most this many bytes together: the initial window of RFC 9002 section 7.2, which may go
/// to an address that was just proven.
pub const IN_FLIGHT_BYTES: usize = 14_720;
/// At most this many bytes of reliable frames wait for their turn. The 63 plans and lists of members of a full room take a third
/// of it.
pub const WAITING_BYTES: usize = 128 * 1024;
/// With so many bytes in line a receiver causes nothing more itself (see [`Outgoing::is_backed_up`]).
const BACKED_UP: usize = 32 * 1024;
/// The front of a reliable frame, variant and sequence number, has so many bytes at the most.
const FRONT: usize = 1 + 5;

/// A frame is not sent again sooner than this; delayed wake-ups of the other side's driver are far shorter.
const MIN_RTO: Duration = Duration::from_millis(60);
/// This is the upper bound while answers come: ten tries fit the five seconds that a request may take, so that 30 %
/// loss each way cannot starve it. Where an answer takes longer, twice its time is the bound.
const MAX_RTO: Duration = Duration::from_millis(500);
/// This is the upper bound while no round trip is known: the wait doubles until an answer has had the time to come.
const BLIND_RTO: Duration = Duration::from_secs(4);
/// Repetitions of a frame whose acknowledgement tells the round trip.
const REMEMBERED: usize = 8;
/// Unanswered for so long, or for four times as long as an answer takes, the way is taken for dead: then only the oldest frame is sent again, until anything comes
/// in. A living way with 30 % loss each way that carries several frames is silent for a second once in thousands.
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// While nothing comes in, the wait is at least the silence so far divided by this: an eighth more from try to try,
/// which begins to tell after four seconds.
const SILENCE_SHARE: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    next_seq: u32,
    /// It is there while there is anything in it: a server has very many sessions, of which most have nothing to say.
    lines: Option<Box<Lines>>,
    /// An answer takes so long.
    pub(super) timing: RttEstimate,
}

#[derive(Debug, Default)]
struct Lines {
    /// Sent and not acknowledged, by sequence number.
    flight: BTreeMap<u32, Sent>,
    flight_bytes: usize,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    topic: Option<Topic>,
    body: Vec<u8>,
    queued: Instant,
}

#[derive(Debug)]
struct Sent {
    frame: Vec<u8>,
    queued: Instant,
    first_sent: Instant,
    /// These datagrams carried it, by their counters, with when they left.
    carried: VecDeque<(u64, Instant)>,
    /// It is sent again then.
    due: Instant,
    tries: u32,
}

impl Lines {
    fn is_empty(&self) -> bool {
        self.flight.is_empty() && self.waiting.is_empty()
    }

    /// Returns the frames on their way that may be tried again, when that is due.
    fn repeatable(&self, dead: bool) -> impl Iterator<Item = (&u32, &Sent)> {
        self.flight.iter().take(if dead { 1 } else { self.flight.len() })
    }
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.lines.as_ref().map_or(0, |lines| lines.flight.len() + lines.waiting.len())
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        let lines = self.lines.as_ref()?;
        let sent = lines.flight.values().next().map(|sent| sent.queued);
        sent.or_else(|| lines.waiting.front().map(|waiting| waiting.queued))
    }

    /// Returns whether the other side takes less than it asks for.
    pub(super) fn is_backed_up(&self) -> bool {
        self.lines.as_ref().is_some_and(|lines| lines.waiting_bytes > BACKED_UP)
    }

    /// Puts an encoded message in line, or in the place of the one about the same topic.
    pub(super) fn push(
        &mut self,
        now: Instant,
        topic: Option<Topic>,
        body: Vec<u8>,
    ) -> Result<(), SendError> {
        if body.len() + FRONT > MAX_FRAME {
            return Err(SendError::TooLong);
        }
        let lines = self.lines.get_or_insert_default();
        let same = |waiting: &&mut Waiting| topic.is_some() && waiting.topic == topic;
        if let Some(older) = lines.waiting.iter_mut().find(same) {
            lines.waiting_bytes = lines.waiting_bytes + body.len() - older.body.len();
            older.body = body;
            return Ok(());
        }
        if lines.waiting_bytes + body.len() > WAITING_BYTES {
            return Err(SendError::QueueFull);
        }
        lines.waiting_bytes += body.len();
        lines.waiting.push_back(Waiting { topic, body, queued: now });
        Ok(())
    }

    /// Takes back what waits about these topics; tells which.
    pub(super) fn withdraw(&mut self, fits: impl Fn(Topic) -> bool) -> Vec<Topic> {
        let mut withdrawn = Vec::new();
        let Some(lines) = &mut self.lines else { return withdrawn };
        lines.waiting.retain(|waiting| match waiting.topic {
            Some(topic) if fits(topic) => {
                withdrawn.push(topic);
                lines.waiting_bytes -= waiting.body.len();
                false
            }
            _ => true,
        });
        self.lines.take_if(|lines| lines.is_empty());
        withdrawn
    }

    /// Takes an acknowledgement, of what came in the datagram of this counter; returns false when no such frame was
    /// ever sent.
    pub(super) fn acknowledged(&mut self, now: Instant, seq: u32, counter: u64) -> bool {
        if seq >= self.next_seq {
            return false;
        }
        let Some(lines) = &mut self.lines else { return true };
        let Some(done) = lines.flight.remove(&seq) else { return true };
        lines.flight_bytes -= done.frame.len();
        self.lines.take_if(|lines| lines.is_empty());
        // The datagram is named, so a repeated frame tells the round trip as well (Karn's problem does not arise): else
        // nothing would ever be measured where it is longer than the first wait.
        if let Some((_, sent)) = done.carried.iter().find(|(by, _)| *by == counter) {
            self.timing.sample(now.saturating_duration_since(*sent));
        }
        true
    }

    /// Returns how long to wait for the acknowledgement of what was sent so many times before.
    fn rto(&self, tries: u32) -> Duration {
        if self.timing.rtt().is_none() {
            return (RttEstimate::INITIAL * 2u32.saturating_pow(tries.min(8))).min(BLIND_RTO);
        }
        let overdue = self.timing.overdue().max(MIN_RTO);
        overdue.mul_f64(1.5f64.powi(tries.min(8) as i32)).min(MAX_RTO.max(overdue * 2))
    }

    /// Returns how long the other side has owed an answer; `None`: it owes none.
    fn unanswered(&self, now: Instant, last_heard: Instant) -> Option<Duration> {
        let first = self.lines.as_ref()?.flight.values().next()?.first_sent;
        Some(now.saturating_duration_since(first.max(last_heard)))
    }

    /// Returns whether the way seems dead: then only the oldest frame is tried again, and no new one leaves.
    fn seems_dead(&self, now: Instant, last_heard: Instant) -> bool {
        let dead = DEAD_AFTER.max(self.rto(0) * 4);
        self.unanswered(now, last_heard).is_some_and(|silence| silence >= dead)
    }

    /// Returns the next frame to be sent, again or for the first time, in the datagram of this counter.
    pub(super) fn next(&mut self, now: Instant, last_heard: Instant, counter: u64) -> Option<Vec<u8>> {
        let dead = self.seems_dead(now, last_heard);
        let silence = self.unanswered(now, last_heard).unwrap_or_default();
        let again = self.lines.as_ref()?.repeatable(dead).find(|(_, sent)| sent.due <= now);
        if let Some((seq, tries)) = again.map(|(seq, sent)| (*seq, sent.tries)) {
            let wait = self.rto(tries).max(silence / SILENCE_SHARE);
            let sent = self.lines.as_mut()?.flight.get_mut(&seq)?;
            (sent.due, sent.tries) = (now + wait, tries + 1);
            if sent.carried.len() >= REMEMBERED {
                sent.carried.pop_front();
            }
            sent.carried.push_back((counter, now));
            return Some(sent.frame.clone());
        }
        let due = now + self.rto(0);
        let lines = self.lines.as_mut()?;
        let full = lines.flight.len() >= IN_FLIGHT || dead;
        let fits = |waiting: &Waiting| lines.flight_bytes + waiting.body.len() + FRONT <= IN_FLIGHT_BYTES;
        if full || !lines.waiting.front().is_some_and(fits) {
            return None;
        }
        let Waiting { body, queued, .. } = lines.waiting.pop_front()?;
        lines.waiting_bytes -= body.len();
        // A unit takes no bytes, so this is the front of a frame and the message is its end.
        let mut frame = codec::encode(&Frame::Reliable { seq: self.next_seq, body: () }).ok()?;
        frame.extend_from_slice(&body);
        lines.flight_bytes += frame.len();
        let carried = VecDeque::from([(counter, now)]);
        let sent = Sent { frame: frame.clone(), queued, first_sent: now, carried, due, tries: 1 };
        lines.flight.insert(self.next_seq, sent);
        self.next_seq += 1;
        Some(frame)
    }

    /// Returns when [`next`](Self::next) has something (again).
    pub(super) fn due(&self, now: Instant, last_heard: Instant) -> Option<Instant> {
        let lines = self.lines.as_ref()?;
        lines.repeatable(self.seems_dead(now, last_heard)).map(|(_, sent)| sent.due).min()
    }
}
