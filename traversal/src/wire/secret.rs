//! Secrets: how they are compared, and keys for codes that only their holder can make.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

pub use crate::secret::same;

/// A code has this many bytes; guessing one would take 2^64 datagrams.
pub const CODE: usize = 16;

/// Returns a generator that goes on from its own state and from what the system gives: whoever learns the state
/// later, or chose the seed, cannot tell what comes of it.
pub fn mixed(rng: &mut ChaCha20Rng, entropy: [u8; 32]) -> ChaCha20Rng {
    let mut state = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *state);
    let entropy = Zeroizing::new(entropy);
    let mut seed = Zeroizing::new([0; 32]);
    // An extraction of 64 bytes into 32 never fails.
    let _ = Hkdf::<Sha256>::new(Some(&*state), &*entropy).expand(b"bevy_traversal entropy 1", &mut *seed);
    ChaCha20Rng::from_seed(*seed)
}

/// This key makes message authentication codes: HMAC-SHA-256, cut to [`CODE`] bytes. Forgotten when dropped.
#[derive(Clone)]
pub struct MacKey([u8; 32]);

impl MacKey {
    /// Makes a key of 32 random bytes.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Returns the code of these parts for this purpose. Each part is covered with its length, so that no two lists are
    /// alike.
    pub fn code(&self, purpose: &[u8], parts: &[&[u8]]) -> Option<[u8; CODE]> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).ok()?;
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().first_chunk().copied()
    }

    /// Returns whether this is the code of these parts.
    pub fn fits(&self, purpose: &[u8], parts: &[&[u8]], code: &[u8; CODE]) -> bool {
        self.code(purpose, parts).is_some_and(|own| same(&own, code))
    }
}

impl Drop for MacKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mixed_in_changes_all_that_follows() {
        let next = |entropy: Option<[u8; 32]>| {
            let mut rng = ChaCha20Rng::from_seed([1; 32]);
            if let Some(entropy) = entropy {
                rng = mixed(&mut rng, entropy);
            }
            rng.next_u64()
        };
        assert_eq!(next(Some([2; 32])), next(Some([2; 32])));
        let all = [next(None), next(Some([2; 32])), next(Some([3; 32]))];
        assert_eq!(all.into_iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn a_code_is_of_its_key_its_purpose_and_its_parts() {
        let key = MacKey::new([7; 32]);
        let code = key.code(b"path", &[b"ab", b"c"]).unwrap();
        assert!(key.fits(b"path", &[b"ab", b"c"], &code));
        assert!(!key.fits(b"path", &[b"a", b"bc"], &code));
        assert!(!key.fits(b"reset", &[b"ab", b"c"], &code));
        assert!(!MacKey::new([8; 32]).fits(b"path", &[b"ab", b"c"], &code));
        assert_eq!(format!("{key:?}"), "MacKey(..)");
        assert!(same(b"abc", b"abc") && !same(b"abc", b"abd") && !same(b"abc", b"ab"));
    }
}
