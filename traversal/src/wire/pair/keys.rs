//! What the pair key is made of.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::Identity;
use crate::id::MatchId;
use crate::wire::VERSION;
use crate::wire::message::PunchPlan;

/// These are the keys of both sides of a match, as one side has them.
#[derive(Clone, Copy)]
pub struct PairKeys<'a> {
    /// This side has this lasting key pair.
    pub identity: &'a Identity,
    /// This side has this key pair since its login.
    pub ephemeral: &'a Identity,
    /// The other side has this lasting public key.
    pub peer_key: &'a [u8; 32],
    /// The other side has this public key since its login.
    pub peer_ephemeral: &'a [u8; 32],
    /// This secret comes from the server, and is the same for both.
    pub pair_secret: &'a [u8; 32],
    /// This side hosts, and the other one does not.
    pub hosting: bool,
}

impl<'a> PairKeys<'a> {
    /// Returns them as a plan of the server's has them, for the player of this identity, logged in with this key.
    pub fn of_plan(plan: &'a PunchPlan, identity: &'a Identity, ephemeral: &'a Identity) -> Self {
        let PunchPlan { peer_key, peer_ephemeral, pair_secret, hosting, .. } = plan;
        Self { identity, ephemeral, peer_key, peer_ephemeral, pair_secret, hosting: *hosting }
    }

    /// The three results in the same order on both sides, and the digest of all that is public.
    pub(super) fn agree(&self, match_id: MatchId) -> Option<(Zeroizing<[u8; 96]>, [u8; 32])> {
        let (own_key, own_ephemeral) = (self.identity.public_key(), self.ephemeral.public_key());
        // What comes back as one's own would be sealed twice under one key.
        if own_ephemeral == *self.peer_ephemeral || own_key == *self.peer_key {
            return None;
        }
        let both = self.ephemeral.diffie_hellman(self.peer_ephemeral)?;
        let by_own_key = self.identity.diffie_hellman(self.peer_ephemeral)?;
        let by_peer_key = self.ephemeral.diffie_hellman(self.peer_key)?;
        let own = (own_ephemeral, own_key, self.hosting);
        let peer = (*self.peer_ephemeral, *self.peer_key, !self.hosting);
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
