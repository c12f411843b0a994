//! Noise IK with randomness that comes from outside, and the identity whose key it proves.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::Sha256;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, Zeroizing};

use super::server::COOKIE;
use super::{MAC_LEN, NONCE};
use crate::id::PlayerId;
use crate::wire::{MAGIC, VERSION};

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_SHA256";

/// This is the static X25519 key pair of a player or a server.
#[derive(Clone)]
pub struct Identity {
    secret: StaticSecret,
    pub(super) public: [u8; 32],
}

impl Identity {
    /// Makes it of 32 random bytes, which the caller keeps.
    pub fn from_secret(mut bytes: [u8; 32]) -> Self {
        let secret = StaticSecret::from(bytes);
        bytes.zeroize();
        #[cfg(not(fuzzing))]
        let public = x25519_dalek::PublicKey::from(&secret).to_bytes();
        #[cfg(fuzzing)]
        let public = super::memo::public(secret.to_bytes());
        Self { secret, public }
    }

    /// Returns the public half of the key.
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// Returns the id that others know this identity by.
    pub fn player_id(&self) -> PlayerId {
        PlayerId::from_public_key(&self.public)
    }

    /// Returns a message authentication code that only the holder of the secret can make or check, so it is as
    /// lasting as the identity: HMAC-SHA-256, cut to 16 bytes, with a key of its own for each purpose.
    pub fn mac(&self, purpose: &[u8], content: &[u8]) -> Option<[u8; MAC_LEN]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.secret.as_bytes()).expand(purpose, &mut *key).ok()?;
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&*key).ok()?;
        mac.update(content);
        mac.finalize().into_bytes().first_chunk().copied()
    }

    /// Makes the shared secret; none when the other key contributes nothing (RFC 7748 section 6.1: an all-zero result).
    pub(crate) fn diffie_hellman(&self, other: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        #[cfg(not(fuzzing))]
        let shared = self.secret.diffie_hellman(&x25519_dalek::PublicKey::from(*other));
        #[cfg(fuzzing)]
        let shared = super::memo::Shared::new(self.secret.to_bytes(), *other);
        shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.player_id())
    }
}

/// This is snow with the injected generator: the same seed makes the same run.
struct Seeded([u8; 32]);

impl Drop for Seeded {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

struct SeededRandom(ChaCha20Rng);

impl Random for SeededRandom {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SeededRandom(ChaCha20Rng::from_seed(self.0))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        #[cfg(fuzzing)]
        if *choice == DHChoice::Curve25519 {
            return Some(Box::<super::memo::Curve>::default());
        }
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Returns what stands in the clear in front of the first message: magic, version, nonce and cookie. It is bound into
/// the keys.
pub(super) fn prologue(nonce: &[u8; NONCE], cookie: &[u8; COOKIE]) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), nonce, cookie].concat()
}

/// Makes a builder of this suite, with randomness from this seed.
pub(in crate::wire) fn builder<'a>(seed: [u8; 32]) -> Result<Builder<'a>, snow::Error> {
    Ok(Builder::with_resolver(PATTERN.parse()?, Box::new(Seeded(seed))))
}

/// `remote` is there for the initiator alone, who knows the responder's key.
pub(super) fn noise(
    identity: &Identity,
    rng: &mut impl RngCore,
    remote: Option<&[u8; 32]>,
    prologue: &[u8],
) -> Result<HandshakeState, snow::Error> {
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *seed);
    let secret = Zeroizing::new(identity.secret.to_bytes());
    let builder = builder(*seed)?.prologue(prologue)?.local_private_key(&*secret)?;
    match remote {
        Some(key) => builder.remote_public_key(key)?.build_initiator(),
        None => builder.build_responder(),
    }
}
