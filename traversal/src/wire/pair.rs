//! Datagrams between two players: sealed under a key that only the two know.
//!
//! ```text
//! kind 1 | match 8 | counter 8 | ChaCha20-Poly1305( tag 1, content ) 16
//! ```
//! The tag tells game datagrams of channel 0 (0), the agents' messages (1), parts of game datagrams (2) and game datagrams of
//! the other channels (16 and their number) apart.
//!
//! The pair key is HKDF-SHA256 over three Diffie-Hellman results: of both players' login keys, and of each one's lasting
//! key with the other's login key. The salt is the secret that the server drew for this match; the match, all four keys
//! and who hosts are bound in. So
//! - neither a relay nor an eavesdropper can read or forge, also when they learn the lasting keys later (the login keys
//!   are forgotten with the login);
//! - a server that names another login key, or calls both sides the host, gets them no channel: whoever has the channel
//!   holds the private key of the player id that the plan names;
//! - a datagram of another match, or of the own side, never fits: each direction's key is labelled by its sender's keys.

mod keys;
mod parts;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::life::{CHALLENGE, PROOF};
use super::message::Method;
use super::replay::ReplayWindow;
pub use super::sizes::OVERHEAD;
use super::sizes::{HEADER, TAG};
use super::{Dropped, FORGERIES, Kind, MAX_DATAGRAM, codec, take};
use crate::id::{MatchId, PlayerId};
use crate::text;
pub use keys::PairKeys;
use parts::PART_HEADER;
pub use parts::{Joiner, MAX_PARTS, Part};

/// A game datagram has at most this many bytes: it goes in one piece by a relay, too, where all links are Ethernet.
/// Where a way takes less it is split, and joined on the other side.
pub const MAX_PAYLOAD: usize = MAX_DATAGRAM - OVERHEAD - super::RELAY_HEADER;

/// Game datagrams have this many channels: 0 is what renet (or whatever carries the game) uses, the others are beside
/// it.
pub const CHANNELS: u8 = 16;

/// The content of a message that is answered is padded to so many bytes: its answer, with the longest address and
/// numbers, is no longer.
const ASKING: usize = 36;

const DATA: u8 = 0;
const CONTROL: u8 = 1;
const PART: u8 = 2;
/// This is the tag of channel `n`, less `n`.
const CHANNEL: u8 = 16;

/// The two agents of a match say this to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PairMessage {
    /// This is M30's test message, S1's bubble and reply, and later the path's ping: it asks whether the other side
    /// hears it.
    Test {
        /// Comes back in the confirmation; never used twice.
        tag: u32,
        /// This says which method sent it.
        method: Method,
    },
    /// M30's confirmation, sent to where the test came from.
    Confirm {
        /// The test carries this tag.
        tag: u32,
        /// This is the address that the test came from.
        observed: SocketAddr,
        /// This is a test of the sender's own, to be confirmed in turn; so every datagram is answered by at most one.
        test: Option<u32>,
    },
    /// The channel ends here, on purpose.
    Close {
        /// The reason, told to the other player; may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
    },
    /// The close arrived: no need to repeat it.
    CloseAck,
    /// A member that the server has asked sends this to the host: show the server that you are alive.
    ProveLife {
        /// The server has given this challenge.
        challenge: [u8; CHALLENGE],
    },
    /// This is the answer, to be handed on; see [`LifeKey::prove`](super::life::LifeKey::prove).
    ProofOfLife {
        /// This is the challenge that was asked with.
        challenge: [u8; CHALLENGE],
        /// The proof is about the room that the sender hosts.
        proof: [u8; PROOF],
    },
    /// Somebody has written this: the sender, or a member of whom the host of the room passes it on. It is sent again until it is
    /// answered with [`PairMessage::ChatTaken`].
    Chat {
        /// This is the writer.
        from: PlayerId,
        /// The writer's number of the text.
        number: u64,
        /// This says whom it is for.
        audience: Audience,
        /// This is the text.
        #[serde(deserialize_with = "text::read_chat")]
        text: String,
    },
    /// A text has arrived.
    ChatTaken {
        /// This is its writer.
        from: PlayerId,
        /// The writer's number of the text.
        number: u64,
        /// All have it to whom the answering side passes it on; there may be none.
        all: bool,
    },
}

/// This says whom a text is for that goes over the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Audience {
    /// It is for all in the room.
    Room,
    /// It is for the other side alone.
    Contact,
    /// It is for all in the party of both sides.
    Party,
}

/// This is what a datagram holds, once it is opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// This is a game datagram on this channel.
    Data(u8, &'a [u8]),
    /// This is a part of a game datagram, to be joined with the others: see [`Joiner`].
    Part(Part<'a>),
    /// This is a message for the agent.
    Message(PairMessage),
}

/// Seals and opens the datagrams of one match on one side.
pub struct PairChannel {
    match_id: MatchId,
    seal: ChaCha20Poly1305,
    open: ChaCha20Poly1305,
    next: u64,
    /// This is the number of the next game datagram that is split.
    message: u16,
    window: ReplayWindow,
    /// Datagrams whose seal did not fit.
    forged: u64,
    heard: bool,
    /// Makes keys for others, and the code.
    hkdf: Hkdf<Sha256>,
    transcript: [u8; 32],
}

/// Returns the match that a [`Kind::Pair`] datagram names.
pub fn match_of(datagram: &[u8]) -> Option<MatchId> {
    let mut rest = datagram.get(1..)?;
    take(&mut rest).map(|bytes| MatchId(u64::from_le_bytes(bytes)))
}

impl PairChannel {
    /// Makes the channel of a match; none when the other side's keys are no keys, or one's own.
    pub fn new(match_id: MatchId, keys: &PairKeys<'_>) -> Option<Self> {
        let (shared, transcript) = keys.agree(match_id)?;
        let hkdf = Hkdf::<Sha256>::new(Some(keys.pair_secret), &*shared);
        let cipher = |sender: &[u8; 32]| {
            let mut key = Zeroizing::new([0; 32]);
            hkdf.expand_multi_info(&[b"seal ", sender, &transcript], &mut *key).ok()?;
            Some(ChaCha20Poly1305::new(Key::from_slice(&*key)))
        };
        Some(Self {
            match_id,
            seal: cipher(&keys.ephemeral.public_key())?,
            open: cipher(keys.peer_ephemeral)?,
            next: 0,
            message: 0,
            window: ReplayWindow::default(),
            forged: 0,
            heard: false,
            hkdf,
            transcript,
        })
    }

    /// Makes a key for another protocol of the same two players, the same on both sides (like RFC 5705's exporters).
    /// Another label or context gives another key, none of which tells anything about the others.
    pub fn export(&self, label: &[u8], context: &[u8]) -> [u8; 32] {
        let length = (label.len() as u64).to_le_bytes();
        let mut key = [0; 32];
        let info = [b"export ".as_slice(), &length, label, context, &self.transcript];
        // Fails for lengths above 8,160 only.
        let _ = self.hkdf.expand_multi_info(&info, &mut key);
        key
    }

    /// Returns six groups of four digits that are the same on both sides. Two players who have never met, and read
    /// them to each other, know that nobody stands between them, the server neither: it would have to find keys that
    /// give the same 80 bits by chance, in the time of one plan.
    pub fn code(&self) -> String {
        let mut bytes = Zeroizing::new([0; 24]);
        let _ = self.hkdf.expand_multi_info(&[b"code ", &self.transcript], &mut *bytes);
        let group = |bytes: &[u8]| {
            let number = bytes.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
            format!("{:04}", number % 10_000)
        };
        bytes.chunks_exact(4).map(group).collect::<Vec<_>>().join(" ")
    }

    /// Returns whether something came from the other side, so that it holds the private key of the player that the
    /// plan names.
    pub fn is_proven(&self) -> bool {
        self.heard
    }

    /// Seals a game datagram; none when it is longer than [`MAX_PAYLOAD`] or there is no such channel.
    pub fn seal_data_on(&mut self, channel: u8, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() > MAX_PAYLOAD || channel >= CHANNELS {
            return None;
        }
        self.seal(if channel == 0 { DATA } else { CHANNEL + channel }, payload)
    }

    /// Seals a game datagram so that no datagram is longer than `most` bytes, its seal included: in one piece if it fits, else
    /// in parts. None when it is longer than [`MAX_PAYLOAD`], there is no such channel, or it would take more than
    /// [`MAX_PARTS`].
    pub fn seal_data_within(&mut self, channel: u8, payload: &[u8], most: usize) -> Option<Vec<Vec<u8>>> {
        if payload.len() + OVERHEAD <= most {
            return Some(vec![self.seal_data_on(channel, payload)?]);
        }
        let room = most.checked_sub(OVERHEAD + PART_HEADER).filter(|room| *room > 0)?;
        // Even parts, since a full one would be the first to meet a narrower way. At least two: one has no room.
        let even = payload.len().div_ceil(payload.len().div_ceil(room));
        let count = u8::try_from(payload.len().div_ceil(even)).ok().filter(|count| *count <= MAX_PARTS)?;
        if payload.len() > MAX_PAYLOAD || channel >= CHANNELS {
            return None;
        }
        let message = self.message;
        self.message = message.wrapping_add(1);
        let mut bytes = Vec::with_capacity(PART_HEADER + even);
        let parts = payload.chunks(even).zip(0..);
        parts
            .map(|(content, index)| {
                bytes.clear();
                Part { channel, message, index, count, content }.write(&mut bytes);
                self.seal(PART, &bytes)
            })
            .collect()
    }

    /// Seals a test message so that the datagram is `length` bytes long, or as long as it must be.
    pub fn seal_test(&mut self, tag: u32, method: Method, length: usize) -> Option<Vec<u8>> {
        let mut content = codec::encode(&PairMessage::Test { tag, method }).ok()?;
        let padded = length.min(MAX_DATAGRAM).saturating_sub(OVERHEAD);
        // No shorter than its confirmation, so that a forged source gets no more than was sent.
        content.resize(content.len().max(ASKING).max(padded), 0);
        self.seal(CONTROL, &content)
    }

    /// Seals a message to the other agent; none once all counters are used up.
    pub fn seal_message(&mut self, message: &PairMessage) -> Option<Vec<u8>> {
        if let PairMessage::Test { tag, method } = message {
            return self.seal_test(*tag, *method, 0);
        }
        let mut content = codec::encode(message).ok()?;
        if matches!(message, PairMessage::ProveLife { .. }) {
            // As with a test.
            content.resize(content.len().max(ASKING), 0);
        }
        self.seal(CONTROL, &content)
    }

    fn seal(&mut self, tag: u8, content: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(OVERHEAD + content.len());
        out.push(Kind::Pair as u8);
        out.extend_from_slice(&self.match_id.0.to_le_bytes());
        out.extend_from_slice(&self.next.to_le_bytes());
        out.push(tag);
        out.extend_from_slice(content);
        let (header, plain) = out.split_at_mut(HEADER);
        let seal = self.seal.encrypt_in_place_detached(&nonce(self.next), header, plain).ok()?;
        out.extend_from_slice(&seal);
        self.next += 1;
        Some(out)
    }

    /// Opens a datagram, in place.
    ///
    /// # Errors
    /// When it is not authentic, or was seen before.
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Opened<'a>, Dropped> {
        let counter = counter_of(datagram)?;
        if !self.window.check(counter) {
            return Err(Dropped::Replayed);
        }
        if self.forged >= FORGERIES {
            return Err(Dropped::Limit);
        }
        let content = match decrypt(&self.open, counter, datagram) {
            Ok(content) => content,
            Err(dropped) => {
                self.forged += 1;
                return Err(dropped);
            }
        };
        self.heard = true;
        self.window.accept(counter);
        parse(content)
    }

    /// Returns what a datagram to this side says, without taking it: this is for tools that look on. `None`: it is
    /// not of this match.
    pub fn read<'a>(&self, datagram: &'a mut [u8]) -> Option<Opened<'a>> {
        let counter = counter_of(datagram).ok()?;
        parse(decrypt(&self.open, counter, datagram).ok()?).ok()
    }
}

fn decrypt<'a>(open: &ChaCha20Poly1305, counter: u64, datagram: &'a mut [u8]) -> Result<&'a [u8], Dropped> {
    let (header, rest) = datagram.split_at_mut(HEADER);
    let (content, seal) = rest.split_at_mut(rest.len() - TAG);
    open.decrypt_in_place_detached(&nonce(counter), header, content, Tag::from_slice(seal))
        .map_err(|_| Dropped::NotAuthentic)?;
    Ok(content)
}

/// Returns the counter of a datagram that is long enough to be one.
fn counter_of(datagram: &[u8]) -> Result<u64, Dropped> {
    if datagram.len() < OVERHEAD || datagram.len() > MAX_DATAGRAM {
        return Err(Dropped::Malformed);
    }
    let mut fields = &datagram[9..HEADER];
    take(&mut fields).map(u64::from_le_bytes).ok_or(Dropped::Malformed)
}

fn parse(content: &[u8]) -> Result<Opened<'_>, Dropped> {
    match content.split_first() {
        Some((&DATA, payload)) => Ok(Opened::Data(0, payload)),
        Some((tag, payload)) if (CHANNEL + 1..CHANNEL + CHANNELS).contains(tag) => {
            Ok(Opened::Data(tag - CHANNEL, payload))
        }
        Some((&PART, part)) => Part::read(part).map(Opened::Part).ok_or(Dropped::Malformed),
        Some((&CONTROL, message)) => {
            codec::decode(message).map(Opened::Message).map_err(|_| Dropped::Malformed)
        }
        _ => Err(Dropped::Malformed),
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

impl std::fmt::Debug for PairChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairChannel").field("match_id", &self.match_id).finish_non_exhaustive()
    }
}
