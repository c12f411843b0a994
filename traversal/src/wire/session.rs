//! The sealed control channel after the handshake, with the little reliability that it needs: a reliable frame is
//! sent again until it is acknowledged, and handed out once. Frames may overtake each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use snow::StatelessTransportState;

use super::message::{Frame, ToPlayer, ToServer};
use super::replay::ReplayWindow;
use super::{Dropped, Kind, MAX_CONTROL, codec, take};
use crate::classify::RttEstimate;

/// kind, session, nonce.
const HEADER: usize = 1 + 8 + 8;
const TAG: usize = 16;
/// Probes and their answers are padded to this: the longest of them, a knock at an IPv6 mapping, has as many.
const PROBE_PADDED: usize = 52;
/// Longest frame, encoded.
pub const MAX_FRAME: usize = MAX_CONTROL - HEADER - TAG;
/// Reliable frames on their way at a time; further ones wait.
const IN_FLIGHT: usize = 32;
/// Reliable frames that wait or are on their way. More means the other side is gone.
const QUEUE: usize = 512;
/// Sequence numbers above the lowest missing one that are taken; the sender has far fewer in flight.
const AHEAD: u32 = 1024;
/// Lower bound of the retransmission time; delayed wake-ups of the other side's driver are far shorter.
const MIN_RTO: Duration = Duration::from_millis(60);
/// Upper bound where answers take less: ten tries fit the five seconds that a request may take, so that 30 % loss each way
/// cannot starve it. Where they take longer, twice the time of an answer is the bound.
const MAX_RTO: Duration = Duration::from_millis(500);
/// Upper bound while no round trip is known: the wait doubles until an answer has had the time to come.
const BLIND_RTO: Duration = Duration::from_secs(4);
/// Repetitions of a frame whose acknowledgement tells the round trip.
const REMEMBERED: usize = 8;

/// The player's end.
pub type ClientSession = Session<ToServer, ToPlayer>;
/// The server's end.
pub type ServerSession = Session<ToPlayer, ToServer>;

/// Shortest sealed datagram: as long as a path challenge at least, so that whoever sends one under a forged address does
/// not have more sent there.
pub const MIN_SEALED: usize = 64;

/// One end of a session: sends frames of `Out`, takes frames of `In`.
///
/// Run loop: after any input drain [`poll_datagram`](Self::poll_datagram), then wait for
/// [`poll_timeout`](Self::poll_timeout).
pub struct Session<Out, In> {
    id: u64,
    transport: StatelessTransportState,
    next_nonce: u64,
    window: ReplayWindow,
    next_seq: u32,
    /// By sequence number; the first [`IN_FLIGHT`] are on their way.
    unacked: BTreeMap<u32, Unacked>,
    /// All below were received.
    received_below: u32,
    received_above: BTreeSet<u32>,
    out: VecDeque<Vec<u8>>,
    timing: RttEstimate,
    last_heard: Instant,
    last_sent: Instant,
    types: PhantomData<fn(Out) -> In>,
}

struct Unacked {
    frame: Vec<u8>,
    queued: Instant,
    /// When it is due (again), and the wait after that; none: not sent yet.
    due: Option<Instant>,
    /// The datagrams that carried it, and when they left.
    sent: VecDeque<(u64, Instant)>,
    tries: u32,
}

/// A reliable frame could not be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Longer than [`MAX_FRAME`].
    #[error("message is too long for a datagram")]
    TooLong,
    /// Too many wait already: the other side does not answer.
    #[error("too many messages wait for the other side")]
    QueueFull,
}

/// The session that a sealed control datagram names, if it is one.
pub fn session_of(datagram: &[u8]) -> Option<u64> {
    let mut rest = datagram.get(1..)?;
    take(&mut rest).map(u64::from_le_bytes)
}

impl<Out: Serialize, In: DeserializeOwned> Session<Out, In> {
    pub(super) fn new(id: u64, transport: StatelessTransportState, now: Instant) -> Self {
        Self {
            id,
            transport,
            next_nonce: 0,
            window: ReplayWindow::default(),
            next_seq: 0,
            unacked: BTreeMap::new(),
            received_below: 0,
            received_above: BTreeSet::new(),
            out: VecDeque::new(),
            timing: RttEstimate::default(),
            last_heard: now,
            last_sent: now,
            types: PhantomData,
        }
    }

    /// Stands in front of this session's datagrams.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When the last authentic datagram came in.
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// When the last datagram was sealed.
    pub fn last_sent(&self) -> Instant {
        self.last_sent
    }

    /// Smoothed round trip (RFC 6298) of the handshake, of acknowledged frames, and of what the caller has measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.timing.rtt()
    }

    /// How long an answer of the other end takes.
    pub fn timing(&self) -> RttEstimate {
        self.timing
    }

    /// What the handshake has shown of it.
    pub fn set_timing(&mut self, timing: RttEstimate) {
        self.timing = timing;
    }

    /// A round trip to the other end was measured otherwise.
    pub fn sample_rtt(&mut self, rtt: Duration) {
        self.timing.sample(rtt);
    }

    /// How long the oldest reliable frame has waited for its acknowledgement.
    pub fn oldest_unacked(&self, now: Instant) -> Option<Duration> {
        self.unacked.values().next().map(|first| now.saturating_duration_since(first.queued))
    }

    /// Queues a frame to be delivered once.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&mut self, now: Instant, body: Out) -> Result<(), SendError> {
        if self.unacked.len() >= QUEUE {
            return Err(SendError::QueueFull);
        }
        let seq = self.next_seq;
        let frame = codec::encode(&Frame::Reliable { seq, body }).map_err(|_| SendError::TooLong)?;
        if frame.len() > MAX_FRAME {
            return Err(SendError::TooLong);
        }
        self.next_seq += 1;
        self.unacked.insert(seq, Unacked { frame, queued: now, due: None, sent: VecDeque::new(), tries: 0 });
        self.handle_timeout(now);
        Ok(())
    }

    /// Queues a frame that is sent once, for better or worse.
    pub fn send_once(&mut self, now: Instant, frame: &Frame<Out>) {
        if let Some(datagram) = self.seal(now, Kind::Control, frame) {
            self.out.push_back(datagram);
        }
    }

    /// Seals a frame for the caller to send; [`Kind::Probe`] ones leave from sockets that only the caller knows.
    pub fn seal(&mut self, now: Instant, kind: Kind, frame: &Frame<Out>) -> Option<Vec<u8>> {
        let mut frame = codec::encode(frame).ok()?;
        if kind == Kind::Probe {
            // Question and answer are of one length: nobody is amplified.
            frame.resize(frame.len().max(PROBE_PADDED), 0);
        }
        self.seal_bytes(now, kind, frame)
    }

    fn seal_bytes(&mut self, now: Instant, kind: Kind, mut frame: Vec<u8>) -> Option<Vec<u8>> {
        if frame.len() > MAX_FRAME {
            return None;
        }
        frame.resize(frame.len().max(MIN_SEALED - HEADER - TAG), 0);
        let nonce = self.next_nonce;
        let mut datagram = vec![0; HEADER + frame.len() + TAG];
        datagram[0] = kind as u8;
        datagram[1..9].copy_from_slice(&self.id.to_le_bytes());
        datagram[9..17].copy_from_slice(&nonce.to_le_bytes());
        self.transport.write_message(nonce, &frame, &mut datagram[HEADER..]).ok()?;
        self.next_nonce += 1;
        self.last_sent = now;
        Some(datagram)
    }

    /// Opens a datagram of this session. Acknowledgements are dealt with here; `None` means there is nothing else in
    /// it for the caller.
    ///
    /// # Errors
    /// When it is not authentic, or was seen before.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Frame<In>>, Dropped> {
        if datagram.len() > MAX_CONTROL {
            return Err(Dropped::Malformed);
        }
        let mut rest = datagram.get(1..).ok_or(Dropped::Malformed)?;
        let id = u64::from_le_bytes(take(&mut rest).ok_or(Dropped::Malformed)?);
        let nonce = u64::from_le_bytes(take(&mut rest).ok_or(Dropped::Malformed)?);
        if id != self.id {
            return Err(Dropped::Unknown);
        }
        if !self.window.check(nonce) {
            return Err(Dropped::Replayed);
        }
        let mut plain = vec![0; rest.len()];
        let len = self.transport.read_message(nonce, rest, &mut plain).map_err(|_| Dropped::NotAuthentic)?;
        self.window.accept(nonce);
        self.last_heard = now;
        let frame: Frame<In> = codec::decode(&plain[..len]).map_err(|_| Dropped::Malformed)?;
        match frame {
            Frame::Ack { seq, nonce } => {
                self.acknowledged(now, seq, nonce);
                Ok(None)
            }
            Frame::Reliable { seq, .. } => {
                let fresh = self.take_seq(seq)?;
                self.send_once(now, &Frame::Ack { seq, nonce });
                Ok(fresh.then_some(frame))
            }
            other => Ok(Some(other)),
        }
    }

    fn take_seq(&mut self, seq: u32) -> Result<bool, Dropped> {
        if seq < self.received_below {
            return Ok(false);
        }
        if seq - self.received_below >= AHEAD {
            return Err(Dropped::Limit);
        }
        let fresh = self.received_above.insert(seq);
        while self.received_above.remove(&self.received_below) {
            self.received_below += 1;
        }
        Ok(fresh)
    }

    fn acknowledged(&mut self, now: Instant, seq: u32, nonce: u64) {
        let Some(done) = self.unacked.remove(&seq) else { return };
        // The datagram is named, so a repeated frame tells the round trip as well (Karn's problem does not arise): else
        // nothing would ever be measured where it is longer than the first wait.
        if let Some((_, sent)) = done.sent.iter().find(|(of, _)| *of == nonce) {
            self.timing.sample(now.saturating_duration_since(*sent));
        }
        self.handle_timeout(now);
    }

    /// How long to wait for the acknowledgement of what was sent so many times before.
    fn rto(&self, tries: u32) -> Duration {
        if self.timing.rtt().is_none() {
            return (RttEstimate::INITIAL * 2u32.saturating_pow(tries.min(8))).min(BLIND_RTO);
        }
        let overdue = self.timing.overdue().max(MIN_RTO);
        overdue.mul_f64(1.5f64.powi(tries.min(8) as i32)).min(MAX_RTO.max(overdue * 2))
    }

    /// Sends what is due (again).
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |(_, frame): &(&u32, &Unacked)| frame.due.is_none_or(|at| at <= now);
        let due = self.unacked.iter().take(IN_FLIGHT).filter(is_due);
        let due: Vec<(u32, u32, Vec<u8>)> =
            due.map(|(seq, frame)| (*seq, frame.tries, frame.frame.clone())).collect();
        for (seq, tries, bytes) in due {
            let (wait, nonce) = (self.rto(tries), self.next_nonce);
            if let Some(datagram) = self.seal_bytes(now, Kind::Control, bytes) {
                self.out.push_back(datagram);
            }
            let Some(frame) = self.unacked.get_mut(&seq) else { continue };
            frame.due = Some(now + wait);
            frame.tries += 1;
            if frame.sent.len() >= REMEMBERED {
                frame.sent.pop_front();
            }
            frame.sent.push_back((nonce, now));
        }
    }

    /// The next datagram to send to the other end's address.
    pub fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.unacked.values().take(IN_FLIGHT).filter_map(|frame| frame.due).min()
    }
}

impl<Out, In> std::fmt::Debug for Session<Out, In> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("unacked", &self.unacked.len()).finish_non_exhaustive()
    }
}
