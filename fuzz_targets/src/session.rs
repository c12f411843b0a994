//! The sealed session between a player and the server, with somebody between them, or with a changed player who seals whatever
//! it likes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Result, Unstructured};
use traversal_core::id::{MatchId, PlayerId, RequestId, RoomId};
use traversal_core::wire::message::{
    Frame, MatchEnd, PlayerInfo, Request, RequestError, RoomEnd, ToPlayer, ToServer,
};
use traversal_core::wire::session::{
    AHEAD, ClientSession, IN_FLIGHT_BYTES, SILENT_AFTER, SILENT_BYTES, ServerSession, WAITING_BYTES,
};
use traversal_core::wire::{Dropped, Kind, MAX_CONTROL, codec};

use crate::handshake::logged_in;
use crate::mutation::damage;
use crate::servers::at;

/// This is what may wait and be on its way.
const QUEUED: usize = WAITING_BYTES + IN_FLIGHT_BYTES;

/// One end of the session and what it must not do.
struct End<S> {
    session: S,
    /// These are the messages that tell no state, by their number: bytes in line, as long as the other end has not
    /// had them.
    owed: BTreeMap<u32, usize>,
    next: u32,
    /// It has taken the reliable frames with these numbers: all below, and those in `taken`.
    below: u32,
    taken: BTreeSet<u32>,
    /// These are on the way from it.
    sent: Vec<Vec<u8>>,
    heard: Instant,
    /// This many bytes left since its silence was [`SILENT_AFTER`].
    silent: usize,
}

impl<S> End<S> {
    fn new(session: S, now: Instant) -> Self {
        let (owed, taken, sent) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Self { session, owed, next: 0, below: 0, taken, sent, heard: now, silent: 0 }
    }

    /// A reliable frame is taken once, and not when it is too far ahead.
    fn take(&mut self, seq: u32) {
        assert!(seq < self.below + AHEAD, "{seq} is too far above {}", self.below);
        assert!(seq >= self.below && self.taken.insert(seq), "frame {seq} is taken twice");
        while self.taken.remove(&self.below) {
            self.below += 1;
        }
    }

    /// A datagram leaves.
    fn put(&mut self, now: Instant, datagram: Vec<u8>) {
        assert!(datagram.len() <= MAX_CONTROL);
        if now.saturating_duration_since(self.heard) >= SILENT_AFTER {
            self.silent += datagram.len();
            assert!(self.silent <= SILENT_BYTES, "{} bytes to a silent address", self.silent);
        }
        self.sent.push(datagram);
    }
}

/// A message arrived that the other end had said under this number.
fn arrived(owed: &mut BTreeMap<u32, usize>, number: u32) {
    assert!(owed.remove(&number).is_some(), "message {number} is handed out once, and was said");
}

/// Returns a message that tells no state, and its number. One in eight is long: a line of messages has a bound in
/// bytes.
fn event(number: u32) -> ToPlayer {
    let length = if number.is_multiple_of(8) { number as usize % 600 } else { 4 };
    let result = Err(RequestError::Malformed { what: "x".repeat(length) });
    ToPlayer::Response { id: RequestId(number), result }
}

fn number_of(message: &ToPlayer) -> Option<u32> {
    match message {
        ToPlayer::Response { id, .. } => Some(id.0),
        _ => None,
    }
}

/// Returns a message that tells a state.
fn state(u: &mut Unstructured<'_>) -> Result<ToPlayer> {
    let (room, small) = (RoomId(1), u8::arbitrary(u)?);
    let member = |n: u8| PlayerInfo { id: PlayerId([n; 16]), name: "n".repeat(48) };
    Ok(match small % 4 {
        0 => {
            let members = (0..12).map(member).collect();
            ToPlayer::Members { room, revision: small.into(), part: small % 6, parts: 6, members }
        }
        1 => ToPlayer::RoomEnded { room, reason: RoomEnd::Kicked { reason: "r".repeat(small.into()) } },
        2 => ToPlayer::MatchEnded { match_id: MatchId(small.into()), reason: MatchEnd::Left },
        _ => ToPlayer::ConfirmLoss { room, epoch: small.into(), challenge: [small; 16] },
    })
}

/// It came from the other end, whatever is in it.
fn is_authentic<T>(result: &std::result::Result<T, Dropped>) -> bool {
    matches!(result, Ok(_) | Err(Dropped::NeverSent | Dropped::Limit))
}

struct Story {
    client: End<ClientSession>,
    server: End<ServerSession>,
    now: Instant,
    /// The player is not an agent.
    changed: bool,
}

/// Somebody between the two delivers, damages, repeats and holds back: each message is handed out at most once, and once in
/// the end. A changed player seals any frames, in any order: the server takes no number twice, nothing that was never sent is
/// acknowledged, and neither what waits nor what goes to a silent address grows beyond its bound.
pub fn session(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let changed = bool::arbitrary(u)?;
    let (client, server, now) = logged_in();
    let mut story = Story { client: End::new(client, now), server: End::new(server, now), now, changed };
    for _ in 0..400 {
        if u.is_empty() || story.step(u).is_err() {
            break;
        }
        story.drain();
    }
    if !changed {
        story.heal();
    }
    Ok(())
}

impl Story {
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=7)? {
            0 => self.server_says(u)?,
            1 => self.client_says(),
            2 | 3 => {
                let to_client = bool::arbitrary(u)?;
                let count = if to_client { self.server.sent.len() } else { self.client.sent.len() };
                if count > 0 {
                    let index = u.choose_index(count)?;
                    // Kept: it will come again.
                    let keep = bool::arbitrary(u)?;
                    self.deliver(to_client, index, keep);
                }
            }
            4 => {
                self.now += Duration::from_millis(u.int_in_range(0..=2400u64)? * 5);
                self.client.session.handle_timeout(self.now);
                self.server.session.handle_timeout(self.now);
            }
            5 => self.damaged(u)?,
            _ if self.changed => self.changed_player(u)?,
            _ => {
                let ping = Frame::Ping { id: 1 };
                self.client.session.send_once(self.now, &ping);
            }
        }
        Ok(())
    }

    fn server_says(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if bool::arbitrary(u)? {
            let _ = self.server.session.send(self.now, state(u)?);
            return Ok(());
        }
        let end = &mut self.server;
        let most = if u.ratio(1, 8)? { 40 } else { 4 };
        for _ in 0..u.int_in_range(1..=most)? {
            let body = event(end.next);
            let bytes = codec::encode(&body).map(|bytes| bytes.len()).expect("short enough");
            if end.session.send(self.now, body).is_ok() {
                end.owed.insert(end.next, bytes);
            }
            end.next += 1;
        }
        Ok(())
    }

    fn client_says(&mut self) {
        let end = &mut self.client;
        let request = Request::ListRooms { query: Default::default() };
        let body = ToServer::Request { id: RequestId(end.next), request };
        if end.session.send(self.now, body).is_ok() {
            end.owed.insert(end.next, 4);
        }
        end.next += 1;
    }

    fn deliver(&mut self, to_client: bool, index: usize, keep: bool) {
        let sent = if to_client { &mut self.server.sent } else { &mut self.client.sent };
        let datagram = if keep { sent[index].clone() } else { sent.swap_remove(index) };
        if to_client { self.hand_to_client(&datagram) } else { self.hand_to_server(&datagram) }
    }

    fn hand_to_client(&mut self, datagram: &[u8]) {
        let result = self.client.session.handle(self.now, datagram);
        if is_authentic(&result) {
            (self.client.heard, self.client.silent) = (self.now, 0);
        }
        if let Ok(Some(Frame::Reliable { seq, body })) = result {
            self.client.take(seq);
            if let Some(number) = number_of(&body) {
                arrived(&mut self.server.owed, number);
            }
        }
    }

    fn hand_to_server(&mut self, datagram: &[u8]) {
        let result = self.server.session.handle(self.now, datagram);
        if is_authentic(&result) {
            (self.server.heard, self.server.silent) = (self.now, 0);
        }
        if let Ok(Some(Frame::Reliable { seq, body })) = result {
            self.server.take(seq);
            if let ToServer::Request { id, .. } = body {
                arrived(&mut self.client.owed, id.0);
            }
        }
    }

    /// What is damaged on its way, or made up, opens at neither end.
    fn damaged(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let sent = if bool::arbitrary(u)? { &self.server.sent } else { &self.client.sent };
        if sent.is_empty() {
            return Ok(());
        }
        let mut datagram = u.choose(sent)?.clone();
        damage(u, &mut datagram)?;
        let known = |end: &[Vec<u8>]| end.contains(&datagram);
        if !known(&self.server.sent) && !known(&self.client.sent) {
            assert!(
                self.server.session.open(&datagram).is_err() && self.client.session.open(&datagram).is_err()
            );
        }
        Ok(())
    }

    /// The player seals something that its agent would not, and the server gets it at once.
    fn changed_player(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let seq = u32::from(u16::arbitrary(u)?) % 1200;
        let before = (self.server.session.oldest_unacked(self.now), self.server.session.rtt());
        // The server has numbered no more frames than messages were said.
        let never = self.server.next + 256 * 400;
        let (kind, frame) = match u.int_in_range(0..=6)? {
            0 => (Kind::Control, Frame::Ack { seq, counter: u64::from(u8::arbitrary(u)?) }),
            1 => (Kind::Control, Frame::Ack { seq: never, counter: 0 }),
            2 => (Kind::Control, Frame::Ack { seq, counter: u64::MAX - u64::from(u8::arbitrary(u)?) }),
            3 | 4 => {
                // A number that is taken is taken, whatever comes under it later.
                let body = ToServer::MappedPort(None);
                (if bool::arbitrary(u)? { Kind::Control } else { Kind::Probe }, Frame::Reliable { seq, body })
            }
            5 => (Kind::Control, Frame::PathResponse { token: [1; 16] }),
            _ => {
                let length = u.int_in_range(0..=64)?.min(u.len());
                let bytes = u.bytes(length)?.to_vec();
                if let Some(datagram) = self.client.session.seal_bare(Kind::Control, &bytes) {
                    self.hand_to_server(&datagram);
                }
                return Ok(());
            }
        };
        let Some(datagram) = self.client.session.seal(self.now, kind, &frame) else { return Ok(()) };
        if let Frame::Ack { seq, counter } = frame
            && (seq == never || counter > u64::from(u32::MAX))
        {
            assert_eq!(self.server.session.handle(self.now, &datagram), Err(Dropped::NeverSent));
            (self.server.heard, self.server.silent) = (self.now, 0);
            let after = (self.server.session.oldest_unacked(self.now), self.server.session.rtt());
            assert_eq!(before, after, "what was never sent is not acknowledged");
            return Ok(());
        }
        self.hand_to_server(&datagram);
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(datagram) = self.client.session.poll_datagram() {
            self.client.put(self.now, datagram);
        }
        while let Some(datagram) = self.server.session.poll_datagram() {
            self.server.put(self.now, datagram);
        }
        for end in [&mut self.client.sent, &mut self.server.sent] {
            // What is oldest is lost.
            let lost = end.len().saturating_sub(200);
            end.drain(..lost);
        }
        let waits: usize = self.server.owed.values().sum();
        // A changed player may acknowledge what it has never had.
        assert!(self.changed || waits <= QUEUED, "{waits} bytes wait");
    }

    /// The way is good again, and the player keeps its session alive: all that was said arrives.
    fn heal(&mut self) {
        for _ in 0..2000 {
            self.client.session.send_once(self.now, &Frame::Ping { id: 1 });
            self.drain();
            while !(self.client.sent.is_empty() && self.server.sent.is_empty()) {
                for datagram in std::mem::take(&mut self.client.sent) {
                    self.hand_to_server(&datagram);
                }
                let pong = Frame::Pong { id: 1, observed: at("203.0.113.1:4000") };
                if self.server.session.last_sent() < self.now {
                    self.server.session.send_once(self.now, &pong);
                }
                self.drain();
                for datagram in std::mem::take(&mut self.server.sent) {
                    self.hand_to_client(&datagram);
                }
                self.drain();
            }
            let waits = self.client.session.oldest_unacked(self.now);
            if waits.or(self.server.session.oldest_unacked(self.now)).is_none() {
                let owed = (&self.server.owed, &self.client.owed);
                assert!(owed.0.is_empty() && owed.1.is_empty(), "all that was said has arrived: {owed:?}");
                return;
            }
            self.now += Duration::from_millis(500);
            self.client.session.handle_timeout(self.now);
            self.server.session.handle_timeout(self.now);
        }
        panic!("frames are never acknowledged");
    }
}
