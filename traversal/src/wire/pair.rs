//! Datagrams between two players: sealed under a key that only the two know.
//!
//! ```text
//! kind 1 | match 8 | counter 8 | ChaCha20-Poly1305( tag 1, content ) 16
//! ```
//! The tag tells game datagrams of channel 0 (0), the agents' messages (1) and game datagrams of the other channels
//! (16 and their number) apart.
//!
//! The pair key is HKDF-SHA256 over three Diffie-Hellman results: of both players' login keys, and of each one's lasting
//! key with the other's login key. The salt is the secret that the server drew for this match; the match, all four keys
//! and who hosts are bound in. So
//! - neither a relay nor an eavesdropper can read or forge, also when they learn the lasting keys later (the login keys
//!   are forgotten with the login);
//! - a server that names another login key, or calls both sides the host, gets them no channel: whoever has the channel
//!   holds the private key of the player id that the plan names;
//! - a datagram of another match, or of the own side, never fits: each direction's key is labelled by its sender's keys.

use std::net::SocketAddr;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::message::Method;
use super::replay::ReplayWindow;
use super::{Dropped, FORGERIES, Kind, MAX_DATAGRAM, VERSION, codec, take};
use crate::Identity;
use crate::id::MatchId;
use crate::text;

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
        #[serde(deserialize_with = "text::read_reason")]
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
    /// Datagrams whose seal did not fit.
    forged: u64,
    heard: bool,
    /// Makes keys for others, and the code.
    hkdf: Hkdf<Sha256>,
    transcript: [u8; 32],
}

/// The keys of both sides of a match, as one side has them.
#[derive(Clone, Copy)]
pub struct PairKeys<'a> {
    /// The own lasting key.
    pub identity: &'a Identity,
    /// The own key of this login.
    pub ephemeral: &'a Identity,
    /// The other side's lasting key.
    pub peer_key: &'a [u8; 32],
    /// The other side's key of its login.
    pub peer_ephemeral: &'a [u8; 32],
    /// From the server, the same for both.
    pub pair_secret: &'a [u8; 32],
    /// This side hosts, and the other one does not.
    pub host: bool,
}

impl PairKeys<'_> {
    /// The three results in the same order on both sides, and the digest of all that is public.
    fn agree(&self, match_id: MatchId) -> Option<(Zeroizing<[u8; 96]>, [u8; 32])> {
        let (own_key, own_ephemeral) = (self.identity.public_key(), self.ephemeral.public_key());
        // What comes back as one's own would be sealed twice under one key.
        if own_ephemeral == *self.peer_ephemeral || own_key == *self.peer_key {
            return None;
        }
        let both = self.ephemeral.diffie_hellman(self.peer_ephemeral)?;
        let by_own_key = self.identity.diffie_hellman(self.peer_ephemeral)?;
        let by_peer_key = self.ephemeral.diffie_hellman(self.peer_key)?;
        let own = (own_ephemeral, own_key, self.host);
        let peer = (*self.peer_ephemeral, *self.peer_key, !self.host);
        let own_first = own_ephemeral < *self.peer_ephemeral;
        let (sides, by_keys) = if own_first {
            ([own, peer], [by_own_key, by_peer_key])
        } else {
            ([peer, own], [by_peer_key, by_own_key])
        };
        let mut shared = Zeroizing::new([0; 96]);
        for (part, result) in shared.chunks_exact_mut(32).zip([&both, &by_keys[0], &by_keys[1]]) {
            part.copy_from_slice(&**result);
        }
        let mut digest = Sha256::new_with_prefix(b"bevy_traversal pair 1");
        digest.update(VERSION.to_le_bytes());
        digest.update(match_id.0.to_le_bytes());
        for (ephemeral, key, host) in sides {
            digest.update(ephemeral);
            digest.update(key);
            digest.update([u8::from(host)]);
        }
        Some((shared, digest.finalize().into()))
    }
}

/// The match that a [`Kind::Pair`] datagram names.
pub fn match_of(datagram: &[u8]) -> Option<MatchId> {
    let mut rest = datagram.get(1..)?;
    take(&mut rest).map(|bytes| MatchId(u64::from_le_bytes(bytes)))
}

impl PairChannel {
    /// None when the other side's keys are no keys, or one's own.
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
            window: ReplayWindow::default(),
            forged: 0,
            heard: false,
            hkdf,
            transcript,
        })
    }

    /// A key for another protocol of the same two players, the same on both sides (like RFC 5705's exporters). Another label
    /// or context gives another key, none of which tells anything about the others.
    pub fn export(&self, label: &[u8], context: &[u8]) -> [u8; 32] {
        let length = (label.len() as u64).to_le_bytes();
        let mut key = [0; 32];
        let info = [b"export ".as_slice(), &length, label, context, &self.transcript];
        // Fails for lengths above 8,160 only.
        let _ = self.hkdf.expand_multi_info(&info, &mut key);
        key
    }

    /// Six groups of four digits that are the same on both sides. Two players who have never met, and read them to each
    /// other, know that nobody stands between them, the server neither: it would have to find keys that give the same 80
    /// bits by chance, in the time of one plan.
    pub fn code(&self) -> String {
        let mut bytes = Zeroizing::new([0; 24]);
        let _ = self.hkdf.expand_multi_info(&[b"code ", &self.transcript], &mut *bytes);
        let group = |bytes: &[u8]| {
            let number = bytes.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
            format!("{:04}", number % 10_000)
        };
        bytes.chunks_exact(4).map(group).collect::<Vec<_>>().join(" ")
    }

    /// Something came from the other side, so it holds the private key of the player that the plan names.
    pub fn is_proven(&self) -> bool {
        self.heard
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

    /// What a datagram to this side says, without taking it: for tools that look on. None: it is not of this match.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: [u8; 32] = [9; 32];

    /// Lasting and login key of a player.
    fn player(n: u8) -> [Identity; 2] {
        [Identity::from_secret([n; 32]), Identity::from_secret([n + 100; 32])]
    }

    /// One side's channel; the other side's keys are what this side is told.
    fn channel(own: &[Identity; 2], told: [[u8; 32]; 2], host: bool) -> Option<PairChannel> {
        let [identity, ephemeral] = own;
        let [peer_key, peer_ephemeral] = &told;
        let pair_secret = &SECRET;
        let keys = PairKeys { identity, ephemeral, peer_key, peer_ephemeral, pair_secret, host };
        PairChannel::new(MatchId(77), &keys)
    }

    fn public(of: &[Identity; 2]) -> [[u8; 32]; 2] {
        [of[0].public_key(), of[1].public_key()]
    }

    fn pair() -> (PairChannel, PairChannel) {
        let (a, b) = (player(1), player(2));
        (channel(&a, public(&b), true).unwrap(), channel(&b, public(&a), false).unwrap())
    }

    fn understand(mut a: PairChannel, mut b: PairChannel) -> bool {
        let mut sealed = a.seal_data(b"hello").unwrap();
        let mut back = b.seal_data(b"hello").unwrap();
        let heard = [b.open(&mut sealed).is_ok(), a.open(&mut back).is_ok()];
        assert_eq!(heard[0], heard[1]);
        heard[0]
    }

    #[test]
    fn a_server_that_lies_about_keys_or_roles_gets_them_no_channel() {
        let (a, b, liar) = (player(1), player(2), player(3));
        assert!(understand(channel(&a, public(&b), true).unwrap(), channel(&b, public(&a), false).unwrap()));
        // The server stands between: it knows the login key that it names, but not the lasting key of the id.
        let between = [b[0].public_key(), liar[1].public_key()];
        let victim = channel(&a, between, true).unwrap();
        for identity in [&liar[0], &liar[1]] {
            let keys = PairKeys {
                identity,
                ephemeral: &liar[1],
                peer_key: &a[0].public_key(),
                peer_ephemeral: &a[1].public_key(),
                pair_secret: &SECRET,
                host: false,
            };
            let mut best = PairChannel::new(MatchId(77), &keys).unwrap();
            let mut victim = channel(&a, between, true).unwrap();
            assert!(victim.open(&mut best.seal_data(b"trust me").unwrap()).is_err());
            assert!(!victim.is_proven());
        }
        // And it cannot hand on what it hears: the other side was told otherwise, too.
        let other = channel(&b, [a[0].public_key(), liar[1].public_key()], false).unwrap();
        assert!(!understand(victim, other));
        // Both host, or neither.
        for host in [true, false] {
            let sides = (channel(&a, public(&b), host).unwrap(), channel(&b, public(&a), host).unwrap());
            assert!(!understand(sides.0, sides.1), "both {host}");
        }
    }

    #[test]
    fn ones_own_keys_are_refused() {
        let (a, b) = (player(1), player(2));
        assert!(channel(&a, public(&a), true).is_none());
        assert!(channel(&a, [b[0].public_key(), a[1].public_key()], true).is_none());
        assert!(channel(&a, [a[0].public_key(), b[1].public_key()], true).is_none());
    }

    #[test]
    fn both_sides_have_the_same_code_and_exports_and_others_have_not() {
        let (host, guest) = pair();
        assert_eq!(host.code(), guest.code());
        assert!(host.code().len() == 29 && host.code().chars().all(|c| c == ' ' || c.is_ascii_digit()));
        assert_eq!(host.export(b"voice", b"1"), guest.export(b"voice", b"1"));
        let other = channel(&player(1), public(&player(3)), true).unwrap();
        let keys = [
            host.export(b"voice", b"1"),
            host.export(b"voice1", b""),
            host.export(b"voice", b"2"),
            other.export(b"voice", b"1"),
        ];
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_ne!(host.code(), other.code());
    }

    #[test]
    fn after_too_many_forgeries_a_key_opens_nothing_more() {
        let (mut host, mut guest) = pair();
        let mut sealed = host.seal_data(b"x").unwrap();
        let mut forged = sealed.clone();
        forged[20] ^= 1;
        guest.forged = FORGERIES - 1;
        assert_eq!(guest.open(&mut forged), Err(Dropped::NotAuthentic));
        assert_eq!(guest.open(&mut sealed), Err(Dropped::Limit));
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
        assert!(host.is_proven() && guest.is_proven());
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
        let (a, b) = (player(1), player(2));
        assert!(channel(&a, [b[0].public_key(), [0; 32]], true).is_none());
        assert!(channel(&a, [[0; 32], b[1].public_key()], true).is_none());
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
