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
use zeroize::{Zeroize, Zeroizing};

use super::server::COOKIE;
use super::{MAC_LEN, NONCE};
use crate::id::PlayerId;
use crate::wire::curve::{self, Curve};
use crate::wire::{MAGIC, VERSION};

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_SHA256";

/// This is the static X25519 key pair of a player or a server.
#[derive(Clone)]
pub struct Identity {
    secret: Zeroizing<[u8; 32]>,
    pub(super) public: [u8; 32],
}

impl Identity {
    /// Makes it of 32 random bytes, which the caller keeps.
    pub fn from_secret(mut bytes: [u8; 32]) -> Self {
        let secret = Zeroizing::new(bytes);
        bytes.zeroize();
        let public = curve::public_key(&secret);
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
        Hkdf::<Sha256>::new(None, &*self.secret).expand(purpose, &mut *key).ok()?;
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&*key).ok()?;
        mac.update(content);
        mac.finalize().into_bytes().first_chunk().copied()
    }

    /// Makes the shared secret; none when the other key contributes nothing (RFC 7748 section 6.1: an all-zero result).
    pub(crate) fn diffie_hellman(&self, other: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        curve::shared_secret(&self.secret, other)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.player_id())
    }
}

/// This is snow with the injected generator, so that the same seed makes the same run, and with this crate's curve.
struct Seeded {
    seed: Zeroizing<[u8; 32]>,
    /// This is whose handshake it is; none in tests of vectors.
    identity: Option<Identity>,
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
        Some(Box::new(SeededRandom(ChaCha20Rng::from_seed(*self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        if *choice != DHChoice::Curve25519 {
            return None;
        }
        let knowing = |own: &Identity| Curve::knowing(&own.secret, own.public);
        Some(Box::new(self.identity.as_ref().map(knowing).unwrap_or_default()))
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
pub(in crate::wire) fn builder<'a>(
    seed: [u8; 32],
    identity: Option<&Identity>,
) -> Result<Builder<'a>, snow::Error> {
    let resolver = Seeded { seed: Zeroizing::new(seed), identity: identity.cloned() };
    Ok(Builder::with_resolver(PATTERN.parse()?, Box::new(resolver)))
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
    let builder = builder(*seed, Some(identity))?.prologue(prologue)?.local_private_key(&*identity.secret)?;
    match remote {
        Some(key) => builder.remote_public_key(key)?.build_initiator(),
        None => builder.build_responder(),
    }
}
