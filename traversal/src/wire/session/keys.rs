//! The two keys of a session.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use snow::HandshakeState;
use zeroize::Zeroizing;

use crate::wire::Dropped;
use crate::wire::sizes::TAG;

/// These are what the handshake ends with (Noise, section 5.2, `Split`), and nothing else of it: a server keeps them for each
/// of very many players. They are forgotten when dropped.
pub(in crate::wire) struct SessionKeys {
    own: Zeroizing<[u8; 32]>,
    theirs: Zeroizing<[u8; 32]>,
}

impl SessionKeys {
    /// Takes them from a handshake that is over.
    pub(in crate::wire) fn of(mut handshake: HandshakeState) -> Result<Self, Dropped> {
        if !handshake.is_handshake_finished() {
            return Err(Dropped::Malformed);
        }
        let (of_initiator, of_responder) = handshake.dangerously_get_raw_split();
        let (own, theirs) = if handshake.is_initiator() {
            (of_initiator, of_responder)
        } else {
            (of_responder, of_initiator)
        };
        Ok(Self { own: Zeroizing::new(own), theirs: Zeroizing::new(theirs) })
    }

    /// Seals the plain text that stands before the last [`TAG`] bytes, which are for the tag. None: the counter is used up.
    pub(super) fn seal(&self, counter: u64, bytes: &mut [u8]) -> Option<()> {
        let (plain, place) = bytes.split_last_chunk_mut::<TAG>()?;
        let tag = cipher(&self.own).encrypt_in_place_detached(&nonce(counter)?, &[], plain).ok()?;
        place.copy_from_slice(&tag);
        Some(())
    }

    /// Opens what the other side has sealed: the plain text.
    pub(super) fn open(&self, counter: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = sealed.split_last_chunk::<TAG>()?;
        let mut plain = text.to_vec();
        let tag = Tag::from_slice(tag);
        cipher(&self.theirs).decrypt_in_place_detached(&nonce(counter)?, &[], &mut plain, tag).ok()?;
        Some(plain)
    }
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(Key::from_slice(key))
}

/// Four zeros and the counter (Noise, section 12.3). The highest one is reserved (section 5.1).
fn nonce(counter: u64) -> Option<Nonce> {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    (counter != u64::MAX).then_some(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;
    use crate::wire::handshake::builder;

    /// Both sides of a handshake that is over.
    fn shaken() -> [HandshakeState; 2] {
        let remote = Identity::from_secret([2; 32]).public_key();
        let (own, seed) = (|secret| builder([secret; 32], None).unwrap(), [[1; 32], [2; 32]]);
        let initiator = own(3).local_private_key(&seed[0]).unwrap();
        let initiator = initiator.remote_public_key(&remote).unwrap();
        let mut initiator = initiator.build_initiator().unwrap();
        let mut responder = own(4).local_private_key(&seed[1]).unwrap().build_responder().unwrap();
        let (mut message, mut read) = ([0; 200], [0; 200]);
        let len = initiator.write_message(&[], &mut message).unwrap();
        responder.read_message(&message[..len], &mut read).unwrap();
        let len = responder.write_message(&[], &mut message).unwrap();
        initiator.read_message(&message[..len], &mut read).unwrap();
        [initiator, responder]
    }

    /// What is sealed here is what snow's own transport opens, and the other way round, for both sides and any counter.
    #[test]
    fn the_keys_are_those_of_noise() {
        let of_noise = shaken().map(|side| side.into_stateless_transport_mode().unwrap());
        let own = shaken().map(|side| SessionKeys::of(side).unwrap());
        for (side, other) in [(0, 1), (1, 0)] {
            for counter in [0, 1, 7 << 40] {
                let mut sealed = [&b"plain"[..], &[0; TAG]].concat();
                own[side].seal(counter, &mut sealed).unwrap();
                let mut opened = [0; 32];
                let len = of_noise[other].read_message(counter, &sealed, &mut opened).unwrap();
                assert_eq!(&opened[..len], b"plain");
                let mut of_other = [0; 32];
                let len = of_noise[other].write_message(counter, b"back", &mut of_other).unwrap();
                assert_eq!(own[side].open(counter, &of_other[..len]).unwrap(), b"back");
                assert_eq!(own[side].open(counter + 1, &of_other[..len]), None, "another counter");
                of_other[0] ^= 1;
                assert_eq!(own[side].open(counter, &of_other[..len]), None, "changed on the way");
            }
        }
        assert_eq!(own[0].open(0, &[0; TAG - 1]), None, "shorter than a tag");
        assert!(own[0].seal(u64::MAX, &mut [0; TAG]).is_none(), "used up");
    }

    #[test]
    fn a_handshake_that_is_not_over_has_no_keys() {
        let state = builder([0; 32], None).unwrap().local_private_key(&[2; 32]).unwrap().build_responder();
        assert!(SessionKeys::of(state.unwrap()).is_err());
    }
}
