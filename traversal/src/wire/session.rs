//! The sealed control channel after the handshake, with the little reliability that it needs: a reliable frame is
//! sent again until it is acknowledged, and handed out once. Frames may overtake each other.
//!
//! ```text
//! kind 1 | session 8 | counter 8 | sealed( kind 1, frame ) 16
//! ```
//! `outgoing` has the reliable frames on their way.

mod keys;
mod outgoing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::{Frame, ToPlayer, ToServer, Topic, Topical};
use super::replay::ReplayWindow;
use super::sizes::{HEADER, OVERHEAD, TAG};
use super::{Dropped, FORGERIES, Kind, MAX_CONTROL, codec, take};
use crate::rtt::RttEstimate;
pub(super) use keys::SessionKeys;
use outgoing::Outgoing;
pub use outgoing::{IN_FLIGHT_BYTES, WAITING_BYTES};

/// The kind stands once more under the seal: who changes it on the way changes what the datagram may do.
const SEALED_KIND: usize = 1;
/// Probes and their answers are padded to this: the longest of them, a knock at an IPv6 mapping, has as many.
const PROBE_PADDED: usize = 52;
/// A frame has at most this many bytes, as it is encoded.
pub const MAX_FRAME: usize = MAX_CONTROL - OVERHEAD;
/// A reliable frame is taken when its sequence number is less than this above the lowest missing one. The sender has far fewer
/// frames on their way.
pub const AHEAD: u32 = 1024;
/// An address that was silent for this long may be somebody else's by now.
pub const SILENT_AFTER: Duration = Duration::from_secs(10);
/// A silent address is sent at most this many bytes until something comes from there. They are enough for the retransmissions
/// that find out.
pub const SILENT_BYTES: usize = 4 * 1024;

/// This is the player's end of a session.
pub type ClientSession = Session<ToServer, ToPlayer>;
/// This is the server's end of a session.
pub type ServerSession = Session<ToPlayer, ToServer>;

/// A sealed datagram has at least this many bytes: as many as a path challenge, so that whoever sends one under a
/// forged address does not have more sent there.
pub const MIN_SEALED: usize = 64;

/// This is one end of a session: it sends frames of `Out` and takes frames of `In`.
///
/// Run loop: after any input drain [`poll_datagram`](Self::poll_datagram), then wait for
/// [`poll_timeout`](Self::poll_timeout).
pub struct Session<Out, In> {
    id: u64,
    keys: SessionKeys,
    next_counter: u64,
    /// This is the counter of the datagram that was opened last.
    opened: u64,
    window: ReplayWindow,
    /// Datagrams whose seal did not fit.
    forged: u64,
    outgoing: Outgoing,
    /// All frames with a lower number were received.
    received_below: u32,
    /// These were received already, out of turn.
    #[expect(
        clippy::box_collection,
        reason = "there are none as a rule, and a server has very many sessions"
    )]
    received_above: Option<Box<BTreeSet<u32>>>,
    /// Most of the time there are none.
    #[expect(clippy::box_collection, reason = "as before")]
    out: Option<Box<VecDeque<Vec<u8>>>>,
    last_heard: Instant,
    last_sent: Instant,
    /// It was last looked then at what is due.
    looked: Instant,
    /// Bytes sent since the other side's silence has lasted for [`SILENT_AFTER`].
    silent_bytes: usize,
    types: PhantomData<fn(Out) -> In>,
}

/// A reliable frame could not be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The message is longer than [`MAX_FRAME`].
    #[error("message is too long for a datagram")]
    TooLong,
    /// Too many bytes wait already: the other side does not answer.
    #[error("too many messages wait for the other side")]
    QueueFull,
}

/// Returns the session that a sealed control datagram names, if it is one.
pub fn session_of(datagram: &[u8]) -> Option<u64> {
    let mut rest = datagram.get(1..)?;
    take(&mut rest).map(u64::from_le_bytes)
}

impl<Out: Serialize + Topical, In: DeserializeOwned> Session<Out, In> {
    pub(super) fn new(id: u64, keys: SessionKeys, now: Instant) -> Self {
        Self {
            id,
            keys,
            next_counter: 0,
            opened: 0,
            window: ReplayWindow::default(),
            forged: 0,
            outgoing: Outgoing::default(),
            received_below: 0,
            received_above: None,
            out: None,
            last_heard: now,
            last_sent: now,
            looked: now,
            silent_bytes: 0,
            types: PhantomData,
        }
    }

    /// Stands in front of this session's datagrams.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns when the other side was last [heard](Self::heard).
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// Returns when the last datagram was sealed.
    pub fn last_sent(&self) -> Instant {
        self.last_sent
    }

    /// Returns the smoothed round trip (RFC 6298) of the handshake, of acknowledged frames, and of what the caller
    /// has measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.outgoing.timing.rtt()
    }

    /// Returns how long an answer of the other end takes.
    pub fn timing(&self) -> RttEstimate {
        self.outgoing.timing
    }

    /// Takes what the handshake has shown of it.
    pub fn set_timing(&mut self, timing: RttEstimate) {
        self.outgoing.timing = timing;
    }

    /// Takes a round trip to the other end that was measured otherwise.
    pub fn sample_rtt(&mut self, rtt: Duration) {
        self.outgoing.timing.sample(rtt);
    }

    /// Returns how long the oldest reliable frame has waited for its acknowledgement.
    pub fn oldest_unacked(&self, now: Instant) -> Option<Duration> {
        self.outgoing.oldest().map(|queued| now.saturating_duration_since(queued))
    }

    /// Returns whether more than 32 KiB wait to be acknowledged by the other side: what it asks for
    /// is better not taken (see [`accept`](Self::accept)) before it has acknowledged some.
    pub fn is_backed_up(&self) -> bool {
        self.outgoing.is_backed_up()
    }

    /// Queues a message to be delivered once. It takes the place of an older one about the same
    /// [topic](Topical::topic) that was not sent yet.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&mut self, now: Instant, body: Out) -> Result<(), SendError> {
        let encoded = codec::encode(&body).map_err(|_| SendError::TooLong)?;
        self.outgoing.push(now, body.topic(), encoded)?;
        self.handle_timeout(now);
        Ok(())
    }

    /// Takes back what was not sent yet about these topics, and says what that was.
    pub fn withdraw(&mut self, fits: impl Fn(Topic) -> bool) -> Vec<Topic> {
        self.outgoing.withdraw(fits)
    }

    /// Queues a frame that is sent once, for better or worse.
    pub fn send_once(&mut self, now: Instant, frame: &Frame<Out>) {
        let Ok(frame) = codec::encode(frame) else { return };
        self.put_out(now, frame);
    }

    /// Seals a frame for the caller to send; [`Kind::Probe`] ones leave from sockets that only the caller knows.
    pub fn seal(&mut self, now: Instant, kind: Kind, frame: &Frame<Out>) -> Option<Vec<u8>> {
        let mut frame = codec::encode(frame).ok()?;
        if kind == Kind::Probe {
            // Question and answer are of one length: nobody is amplified.
            frame.resize(frame.len().max(PROBE_PADDED), 0);
        }
        self.seal_bytes(now, kind, &frame)
    }

    /// Seals bytes as they are, without padding: for tests of what a changed client may send.
    #[doc(hidden)]
    pub fn seal_bare(&mut self, kind: Kind, frame: &[u8]) -> Option<Vec<u8>> {
        let plain = [&[kind as u8], frame].concat();
        self.seal_plain(kind, &plain)
    }

    /// Seals a frame for the other side's address, if that may be sent to.
    fn put_out(&mut self, now: Instant, frame: Vec<u8>) -> bool {
        let silent = self.is_silent(now);
        if silent && self.silent_bytes + (frame.len() + OVERHEAD).max(MIN_SEALED) > SILENT_BYTES {
            return false;
        }
        let Some(datagram) = self.seal_bytes(now, Kind::Control, &frame) else { return false };
        if silent {
            self.silent_bytes += datagram.len();
        }
        self.out.get_or_insert_default().push_back(datagram);
        true
    }

    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_heard) >= SILENT_AFTER
    }

    /// Returns whether a frame of any length may go to the other side's address.
    fn may_send(&self, now: Instant) -> bool {
        !self.is_silent(now) || self.silent_bytes + MAX_CONTROL <= SILENT_BYTES
    }

    fn seal_bytes(&mut self, now: Instant, kind: Kind, frame: &[u8]) -> Option<Vec<u8>> {
        if frame.len() > MAX_FRAME {
            return None;
        }
        let mut plain = Vec::with_capacity(MIN_SEALED.max(SEALED_KIND + frame.len()));
        plain.push(kind as u8);
        plain.extend_from_slice(frame);
        plain.resize(plain.len().max(MIN_SEALED - HEADER - TAG), 0);
        let datagram = self.seal_plain(kind, &plain)?;
        self.last_sent = now;
        Some(datagram)
    }

    fn seal_plain(&mut self, kind: Kind, plain: &[u8]) -> Option<Vec<u8>> {
        let counter = self.next_counter;
        let mut datagram = Vec::with_capacity(HEADER + plain.len() + TAG);
        datagram.push(kind as u8);
        datagram.extend_from_slice(&self.id.to_le_bytes());
        datagram.extend_from_slice(&counter.to_le_bytes());
        datagram.extend_from_slice(plain);
        datagram.resize(datagram.len() + TAG, 0);
        self.keys.seal(counter, &mut datagram[HEADER..])?;
        self.next_counter += 1;
        Some(datagram)
    }

    /// Opens a datagram that came by the session's own way, and takes what is in it: acknowledgements are dealt with
    /// here, reliable frames acknowledged. `None` means there is nothing else in it for the caller.
    ///
    /// # Errors
    /// When it is not authentic, was seen before, or acknowledges what was never sent.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Frame<In>>, Dropped> {
        let frame = self.open(datagram)?;
        self.heard(now);
        match frame {
            Frame::Ack { seq, counter } => self.acknowledged(now, seq, counter).map(|()| None),
            Frame::Reliable { seq, .. } => Ok(self.accept(now, seq)?.then_some(frame)),
            other => Ok(Some(other)),
        }
    }

    /// Returns what a datagram to this end says, without taking it: this is for tools that look on. `None`: it is not
    /// for this session.
    pub fn read(&self, datagram: &[u8]) -> Option<Frame<In>> {
        let mut rest = datagram.get(1..).filter(|_| datagram.len() <= MAX_CONTROL)?;
        let id = u64::from_le_bytes(take(&mut rest)?);
        let counter = u64::from_le_bytes(take(&mut rest)?);
        let plain = self.keys.open(counter, rest).filter(|_| id == self.id)?;
        codec::decode(plain.get(SEALED_KIND..)?).ok()
    }

    /// Opens a datagram and does nothing about what is in it. Where it came from is for the caller to judge, who says
    /// [`heard`](Self::heard), [`acknowledged`](Self::acknowledged) and [`accept`](Self::accept) as it sees fit.
    ///
    /// # Errors
    /// When it is not authentic, or was seen before.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Frame<In>, Dropped> {
        if datagram.len() > MAX_CONTROL {
            return Err(Dropped::Malformed);
        }
        let mut rest = datagram;
        let [kind] = take(&mut rest).ok_or(Dropped::Malformed)?;
        let id = u64::from_le_bytes(take(&mut rest).ok_or(Dropped::Malformed)?);
        let counter = u64::from_le_bytes(take(&mut rest).ok_or(Dropped::Malformed)?);
        if id != self.id {
            return Err(Dropped::Unknown);
        }
        if !self.window.check(counter) {
            return Err(Dropped::Replayed);
        }
        if self.forged >= FORGERIES {
            return Err(Dropped::Limit);
        }
        let Some(plain) = self.keys.open(counter, rest) else {
            self.forged += 1;
            return Err(Dropped::NotAuthentic);
        };
        if plain.first() != Some(&kind) {
            // The counter stays free for the datagram as it was sent.
            self.forged += 1;
            return Err(Dropped::NotAuthentic);
        }
        self.window.accept(counter);
        self.opened = counter;
        codec::decode(&plain[SEALED_KIND..]).map_err(|_| Dropped::Malformed)
    }

    /// Returns the number of the datagram that was [opened](Self::open) last: the other side counts what it seals.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Notes that something authentic came from where the other side is known to be: only that keeps a session alive.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.silent_bytes = 0;
        self.handle_timeout(now);
    }

    /// Returns whether this reliable frame is yet to be [accepted](Self::accept).
    pub fn is_fresh(&self, seq: u32) -> bool {
        seq >= self.received_below && !self.received_above.as_ref().is_some_and(|above| above.contains(&seq))
    }

    /// Takes the reliable frame that was [opened](Self::open) last: acknowledges it, and says whether it is a new one. One that is not accepted comes again.
    ///
    /// # Errors
    /// When its number is too far ahead of those that are missing.
    pub fn accept(&mut self, now: Instant, seq: u32) -> Result<bool, Dropped> {
        let fresh = self.is_fresh(seq);
        if fresh {
            if seq - self.received_below >= AHEAD {
                return Err(Dropped::Limit);
            }
            if seq == self.received_below {
                self.received_below += 1;
            } else {
                self.received_above.get_or_insert_default().insert(seq);
            }
            if let Some(above) = &mut self.received_above {
                while above.remove(&self.received_below) {
                    self.received_below += 1;
                }
                self.received_above.take_if(|above| above.is_empty());
            }
        }
        self.send_once(now, &Frame::Ack { seq, counter: self.opened });
        Ok(fresh)
    }

    /// The other side has this reliable frame, which came to it in the datagram of this counter.
    ///
    /// # Errors
    /// When no such frame, or no such datagram, was ever sent (RFC 9000 section 13.1 has the same for packets).
    pub fn acknowledged(&mut self, now: Instant, seq: u32, counter: u64) -> Result<(), Dropped> {
        if counter >= self.next_counter || !self.outgoing.acknowledged(now, seq, counter) {
            return Err(Dropped::NeverSent);
        }
        self.handle_timeout(now);
        Ok(())
    }

    /// Sends what is due (again).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.looked = now;
        while self.may_send(now) {
            let Some(frame) = self.outgoing.next(now, self.last_heard, self.next_counter) else { return };
            self.put_out(now, frame);
        }
    }

    /// Returns the next datagram to send to the other end's address.
    pub fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        let datagram = self.out.as_mut()?.pop_front();
        // It keeps no memory for those to come.
        self.out.take_if(|out| out.is_empty());
        datagram
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.may_send(self.looked) {
            return None;
        }
        self.outgoing.due(self.looked, self.last_heard)
    }
}

impl<Out, In> std::fmt::Debug for Session<Out, In> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("unacked", &self.outgoing.len()).finish_non_exhaustive()
    }
}
