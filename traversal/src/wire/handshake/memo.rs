//! Remembers multiplications on the curve, for fuzzing alone: cargo-fuzz sets `--cfg fuzzing`, nobody else does.
//!
//! Targets begin every execution with the same logins of the same players. The results are those of the curve, so nothing
//! else is different: what takes most of an execution is looked up.

use std::cell::RefCell;
use std::collections::HashMap;

use snow::types::{Dh, Random};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// So many results are remembered; then all are forgotten.
const MOST: usize = 4096;

thread_local! {
    static KNOWN: RefCell<HashMap<([u8; 32], [u8; 32]), [u8; 32]>> = RefCell::default();
}

/// Returns the public key of a secret one.
pub(super) fn public(secret: [u8; 32]) -> [u8; 32] {
    multiply(secret, X25519_BASEPOINT_BYTES)
}

/// A shared secret, kept as x25519-dalek keeps its `SharedSecret`.
pub(super) struct Shared([u8; 32]);

impl Shared {
    pub(super) fn new(secret: [u8; 32], point: [u8; 32]) -> Self {
        Self(multiply(secret, point))
    }

    pub(super) fn was_contributory(&self) -> bool {
        self.0 != [0; 32]
    }

    pub(super) fn to_bytes(&self) -> [u8; 32] {
        self.0
    }
}

fn multiply(secret: [u8; 32], point: [u8; 32]) -> [u8; 32] {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MOST {
            known.clear();
        }
        *known.entry((secret, point)).or_insert_with(|| x25519(secret, point))
    })
}

/// This is snow's curve, with a memory.
#[derive(Default)]
pub(super) struct Curve {
    secret: [u8; 32],
    public: [u8; 32],
}

impl Dh for Curve {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = public(self.secret);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        rng.try_fill_bytes(&mut self.secret)?;
        self.public = public(self.secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    fn dh(&self, point: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let point = point.first_chunk().ok_or(snow::Error::Dh)?;
        out[..32].copy_from_slice(&multiply(self.secret, *point));
        Ok(())
    }
}
