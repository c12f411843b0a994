//! Datagrams between two players: sealed under a key that only the two know.
//!
//! ```text
//! kind 1 | match 8 | counter 8 | ChaCha20-Poly1305( tag 1, content ) 16
//! ```
//! The tag tells game datagrams of channel 0 (0), the agents' messages (1) and game datagrams of the other channels
//! (16 and their number) apart.
//!
//! The pair key is HKDF-SHA256 over the Diffie-Hellman of both players' login keys, salted with the secret that the
//! server drew for this match; match and direction are bound in. So neither a relay nor an eavesdropper can read or
//! forge, and a datagram of another match or of the own side never fits.

use std::net::SocketAddr;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::message::{MAX_REASON, Method};
use super::replay::ReplayWindow;
use super::{Dropped, Kind, MAX_DATAGRAM, codec, take};
use crate::Identity;
use crate::id::MatchId;

const HEADER: usize = 1 + 8 + 8;
const TAG: usize = 16;
/// What sealing adds to a game datagram, in bytes.
pub const OVERHEAD: usize = HEADER + 1 + TAG;
/// Longest game datagram, so that it still fits with a relay's header in front.
pub const MAX_PAYLOAD: usize = MAX_DATAGRAM - OVERHEAD - super::RELAY_HEADER;

/// Channels of game datagrams: 0 is what renet (or whatever carries the game) uses, the others are beside it.
pub const CHANNELS: u8 = 16;

/// Content of a test message: its confirmation, with the longest address and numbers, is no longer.
const TEST_PADDED: usize = 36;

const DATA: u8 = 0;
const CONTROL: u8 = 1;
/// Tag of channel `n`, less `n`.
const CHANNEL: u8 = 16;

/// What the two agents say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PairMessage {
    /// M30's test message, S1's bubble and reply, and later the path's ping: do you hear me?
    Test {
        /// Comes back in the confirmation; never used twice.
        tag: u32,
        /// Which method sent it.
        method: Method,
    },
    /// M30's confirmation, sent to where the test came from.
    Confirm {
        /// Of the test.
        tag: u32,
        /// Source of the test.
        observed: SocketAddr,
        /// A test of the sender's own, to be confirmed in turn; so every datagram is answered by at most one.
        test: Option<u32>,
    },
    /// The channel ends here, on purpose.
    Close {
        /// For the other player.
        reason: String,
    },
    /// The close arrived: no need to repeat it.
    CloseAck,
}

/// A datagram, opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// For the game, on this channel.
    Data(u8, &'a [u8]),
    /// For the agent.
    Message(PairMessage),
}

/// Seals and opens the datagrams of one match on one side.
pub struct PairChannel {
    match_id: MatchId,
    seal: ChaCha20Poly1305,
    open: ChaCha20Poly1305,
    next: u64,
    window: ReplayWindow,
    export: [u8; 32],
}

/// The match that a [`Kind::Pair`] datagram names.
pub fn match_of(datagram: &[u8]) -> Option<MatchId> {
    let mut rest = datagram.get(1..)?;
    take(&mut rest).map(|bytes| MatchId(u64::from_le_bytes(bytes)))
}

impl PairChannel {
    /// `host` tells the two directions apart; none when the other side's key is no key.
    pub fn new(
        match_id: MatchId,
        own: &Identity,
        other: &[u8; 32],
        pair_secret: &[u8; 32],
        host: bool,
    ) -> Option<Self> {
        let shared = own.diffie_hellman(other);
        // RFC 7748 section 6.1: an all-zero result means that the other key contributes nothing.
        if shared == [0; 32] {
            return None;
        }
        let hkdf = Hkdf::<Sha256>::new(Some(pair_secret), &shared);
        let derive = |label: &[u8]| {
            let mut key = [0; 32];
            hkdf.expand_multi_info(&[b"bevy_traversal pair 1 ", label, &match_id.0.to_le_bytes()], &mut key)
                .ok()
                .map(|()| key)
        };
        let from_host = ChaCha20Poly1305::new(Key::from_slice(&derive(b"host")?));
        let from_guest = ChaCha20Poly1305::new(Key::from_slice(&derive(b"guest")?));
        let export = derive(b"export")?;
        let (seal, open) = if host { (from_host, from_guest) } else { (from_guest, from_host) };
        Some(Self { match_id, seal, open, next: 0, window: ReplayWindow::default(), export })
    }

    /// A key for other protocols of the same two players.
    pub fn export_key(&self) -> [u8; 32] {
        self.export
    }

    /// Seals a game datagram of channel 0; none when it is longer than [`MAX_PAYLOAD`].
    pub fn seal_data(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        self.seal_data_on(0, payload)
    }

    /// Seals a game datagram; none when it is longer than [`MAX_PAYLOAD`] or there is no such channel.
    pub fn seal_data_on(&mut self, channel: u8, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() > MAX_PAYLOAD || channel >= CHANNELS {
            return None;
        }
        self.seal(if channel == 0 { DATA } else { CHANNEL + channel }, payload)
    }

    /// Seals a message.
    pub fn seal_message(&mut self, message: &PairMessage) -> Option<Vec<u8>> {
        let mut content = codec::encode(message).ok()?;
        if matches!(message, PairMessage::Test { .. }) {
            // No shorter than its confirmation, so that a forged source gets no more than was sent.
            content.resize(content.len().max(TEST_PADDED), 0);
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
        let content = self.decrypt(counter, datagram)?;
        self.window.accept(counter);
        parse(content)
    }

    /// What a datagram to this side says, without taking it: for tools that look on. None: it is not of this match.
    pub fn read<'a>(&self, datagram: &'a mut [u8]) -> Option<Opened<'a>> {
        let counter = counter_of(datagram).ok()?;
        parse(self.decrypt(counter, datagram).ok()?).ok()
    }

    fn decrypt<'a>(&self, counter: u64, datagram: &'a mut [u8]) -> Result<&'a [u8], Dropped> {
        let (header, rest) = datagram.split_at_mut(HEADER);
        let (content, seal) = rest.split_at_mut(rest.len() - TAG);
        self.open
            .decrypt_in_place_detached(&nonce(counter), header, content, Tag::from_slice(seal))
            .map_err(|_| Dropped::NotAuthentic)?;
        Ok(content)
    }
}

/// Counter of a datagram that is long enough to be one.
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
        Some((&CONTROL, message)) => {
            let message: PairMessage = codec::decode(message).map_err(|_| Dropped::Malformed)?;
            match &message {
                PairMessage::Close { reason } if reason.len() > MAX_REASON => Err(Dropped::Malformed),
                _ => Ok(Opened::Message(message)),
            }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair() -> (PairChannel, PairChannel) {
        let (a, b) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
        let id = MatchId(77);
        let host = PairChannel::new(id, &a, &b.public_key(), &[9; 32], true).unwrap();
        let guest = PairChannel::new(id, &b, &a.public_key(), &[9; 32], false).unwrap();
        (host, guest)
    }

    #[test]
    fn data_and_messages_cross_once() {
        let (mut host, mut guest) = pair();
        let sealed = host.seal_data(b"hello").unwrap();
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(match_of(&sealed), Some(MatchId(77)));
        assert_eq!(guest.read(&mut sealed.clone()), Some(Opened::Data(0, b"hello")));
        assert_eq!(host.read(&mut sealed.clone()), None, "not to this side");
        assert_eq!(guest.open(&mut sealed.clone()), Ok(Opened::Data(0, b"hello")));
        assert_eq!(guest.open(&mut sealed.clone()), Err(Dropped::Replayed));
        let test = PairMessage::Test { tag: 3, method: Method::Cone };
        let mut sealed = guest.seal_message(&test).unwrap();
        assert_eq!(host.open(&mut sealed), Ok(Opened::Message(test)));
        assert_eq!(host.export_key(), guest.export_key());
    }

    #[test]
    fn channels_are_told_apart_and_there_are_no_others() {
        let (mut host, mut guest) = pair();
        for channel in 0..CHANNELS {
            let mut sealed = host.seal_data_on(channel, &[channel]).unwrap();
            assert_eq!(sealed.len(), 1 + OVERHEAD);
            assert_eq!(guest.open(&mut sealed), Ok(Opened::Data(channel, &[channel])));
        }
        assert!(host.seal_data_on(CHANNELS, b"x").is_none());
        for tag in [2, CHANNEL, CHANNEL + CHANNELS, 255] {
            let mut sealed = host.seal(tag, b"x").unwrap();
            assert_eq!(guest.open(&mut sealed), Err(Dropped::Malformed), "{tag}");
        }
    }

    #[test]
    fn own_datagrams_do_not_come_back_as_the_others() {
        let (mut host, _) = pair();
        let mut sealed = host.seal_data(b"echo").unwrap();
        assert_eq!(host.open(&mut sealed), Err(Dropped::NotAuthentic));
    }

    #[test]
    fn a_key_that_contributes_nothing_is_refused() {
        let own = Identity::from_secret([1; 32]);
        assert!(PairChannel::new(MatchId(1), &own, &[0; 32], &[9; 32], true).is_none());
    }

    #[test]
    fn the_longest_payload_fits_behind_a_relay_header() {
        let (mut host, _) = pair();
        assert_eq!(
            host.seal_data(&[0; MAX_PAYLOAD]).unwrap().len() + crate::wire::RELAY_HEADER,
            MAX_DATAGRAM
        );
        assert!(host.seal_data(&[0; MAX_PAYLOAD + 1]).is_none());
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(at in 0usize..40, flip in 1u8..) {
            let (mut host, mut guest) = pair();
            let mut sealed = host.seal_data(b"0123456").unwrap();
            let at = at % sealed.len();
            sealed[at] ^= flip;
            // The kind and the match are bound in as well.
            prop_assert!(guest.open(&mut sealed).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
            let (mut host, _) = pair();
            prop_assert!(host.open(&mut bytes).is_err());
        }
    }
}
