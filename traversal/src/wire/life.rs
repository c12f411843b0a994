//! A host's proof that it is alive, for a server that does not hear it.
//!
//! The server gives each member that it asks a challenge that nobody could know before. The member hands it to the host
//! over their own channel, the host makes a code of it, and the member hands that on. Host and server share the key of the
//! code, which both make of their lasting keys: so it outlives sessions and restarts, and no member has it.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::secret::{CODE, MacKey};
use crate::Identity;
use crate::id::RoomEpoch;

/// A challenge has this many bytes.
pub const CHALLENGE: usize = 16;
/// A proof has this many bytes.
pub const PROOF: usize = CODE;

/// A player and a server share this key for proofs of life.
#[derive(Clone)]
pub struct LifeKey(MacKey);

impl LifeKey {
    /// Makes it from the own key pair and the other side's public key; none when that one contributes nothing.
    pub fn new(own: &Identity, other: &[u8; 32]) -> Option<Self> {
        let shared = own.diffie_hellman(other)?;
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &*shared).expand(b"bevy_traversal life 1", &mut *key).ok()?;
        Some(Self(MacKey::new(*key)))
    }

    /// Returns what only the living host of this room and epoch can say to this challenge.
    pub fn prove(&self, about: RoomEpoch, challenge: &[u8; CHALLENGE]) -> Option<[u8; PROOF]> {
        self.0.code(b"life", &[&about.room.0.to_le_bytes(), &about.epoch.to_le_bytes(), challenge])
    }

    /// Returns whether the host has said so, in a time that tells nothing about the right proof.
    pub fn fits(&self, about: RoomEpoch, challenge: &[u8; CHALLENGE], proof: &[u8; PROOF]) -> bool {
        let (room, epoch) = (about.room.0.to_le_bytes(), about.epoch.to_le_bytes());
        self.0.fits(b"life", &[&room, &epoch, challenge], proof)
    }
}

impl fmt::Debug for LifeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LifeKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RoomId;

    #[test]
    fn a_proof_is_of_one_host_one_room_one_epoch_and_one_challenge() {
        let [host, member, server] = [1, 2, 3].map(|secret| Identity::from_secret([secret; 32]));
        let of_host = LifeKey::new(&host, &server.public_key()).unwrap();
        let of_server = LifeKey::new(&server, &host.public_key()).unwrap();
        let about = RoomEpoch { room: RoomId(7), epoch: 1 };
        let proof = of_host.prove(about, &[5; 16]).unwrap();
        assert!(of_server.fits(about, &[5; 16], &proof));
        assert!(!of_server.fits(RoomEpoch { room: RoomId(8), ..about }, &[5; 16], &proof));
        assert!(!of_server.fits(RoomEpoch { epoch: 2, ..about }, &[5; 16], &proof));
        assert!(!of_server.fits(about, &[6; 16], &proof));
        let of_member = LifeKey::new(&member, &server.public_key()).unwrap();
        let forged = of_member.prove(about, &[5; 16]).unwrap();
        assert!(!of_server.fits(about, &[5; 16], &forged));
        assert!(LifeKey::new(&host, &[0; 32]).is_none());
        assert_eq!(format!("{of_host:?}"), "LifeKey(..)");
    }
}
