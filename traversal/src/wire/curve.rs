//! X25519 (RFC 7748): all that multiplies on the curve, for Noise and between players.
//!
//! Two implementations give the same results in constant time: `curve25519-dalek` everywhere, and with the feature
//! `assembly` s2n-bignum's proven assembly (crate `graviola`) on processors that have what it needs, which takes less than
//! half the time. Servers log people in all day, so the lobby server has the feature; players log in once.

#[cfg(fuzzing)]
mod memo;
mod noise;
#[cfg(test)]
mod tests;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

pub(super) use noise::Curve;

/// This says by what the curve is computed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// By s2n-bignum's assembly.
    Assembly,
    /// By Rust code that runs on every processor.
    Portable,
}

impl Implementation {
    /// Returns the one that this program uses on this processor.
    pub fn here() -> Self {
        if has_assembly() { Self::Assembly } else { Self::Portable }
    }

    fn public_key(self, secret: &[u8; 32]) -> [u8; 32] {
        match self {
            Self::Assembly if has_assembly() => assembly::public_key(secret),
            _ => PublicKey::from(&StaticSecret::from(*secret)).to_bytes(),
        }
    }

    /// Returns the same as [`shared_secret`], by this implementation; where the processor cannot do it, by the portable one.
    pub fn shared_secret(self, secret: &[u8; 32], other: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        match self {
            Self::Assembly if has_assembly() => assembly::shared_secret(secret, other),
            _ => {
                let shared = StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(*other));
                shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
            }
        }
    }
}

impl std::fmt::Display for Implementation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Assembly => "assembly",
            Self::Portable => "portable",
        })
    }
}

/// Returns the public half of a key.
pub(crate) fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    let make = || Implementation::here().public_key(secret);
    #[cfg(fuzzing)]
    let make = || memo::remembered(secret, &x25519_dalek::X25519_BASEPOINT_BYTES, make);
    make()
}

/// Returns what the holder of `secret` and the owner of the public key `other` have in common; none when that key contributes
/// nothing (RFC 7748 section 6.1: an all-zero result).
pub fn shared_secret(secret: &[u8; 32], other: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let make = || Implementation::here().shared_secret(secret, other);
    #[cfg(fuzzing)]
    let make = || {
        let shared = memo::remembered(secret, other, || make().map_or([0; 32], |shared| *shared));
        Some(Zeroizing::new(shared)).filter(|shared| **shared != [0; 32])
    };
    make()
}

#[cfg(all(feature = "assembly", target_arch = "x86_64"))]
fn has_assembly() -> bool {
    use std::arch::is_x86_feature_detected as has;
    // What graviola asserts, and the instructions that its code for this curve is made of.
    has!("bmi1")
        && has!("bmi2")
        && has!("adx")
        && has!("avx")
        && has!("avx2")
        && has!("aes")
        && has!("pclmulqdq")
}

#[cfg(all(feature = "assembly", target_arch = "aarch64"))]
fn has_assembly() -> bool {
    use std::arch::is_aarch64_feature_detected as has;
    has!("neon") && has!("aes") && has!("pmull") && has!("sha2")
}

#[cfg(not(all(feature = "assembly", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn has_assembly() -> bool {
    false
}

#[cfg(all(feature = "assembly", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod assembly {
    use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
    use zeroize::Zeroizing;

    pub(super) fn public_key(secret: &[u8; 32]) -> [u8; 32] {
        StaticPrivateKey::from_array(secret).public_key().as_bytes()
    }

    pub(super) fn shared_secret(secret: &[u8; 32], other: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared = StaticPrivateKey::from_array(secret).diffie_hellman(&PublicKey::from_array(other));
        shared.ok().map(|shared| Zeroizing::new(shared.as_bytes()))
    }
}

/// Nobody comes here: [`has_assembly`] is false.
#[cfg(not(all(feature = "assembly", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod assembly {
    use zeroize::Zeroizing;

    use super::Implementation;

    pub(super) fn public_key(secret: &[u8; 32]) -> [u8; 32] {
        Implementation::Portable.public_key(secret)
    }

    pub(super) fn shared_secret(secret: &[u8; 32], other: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        Implementation::Portable.shared_secret(secret, other)
    }
}
