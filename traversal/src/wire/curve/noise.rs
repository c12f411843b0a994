//! The curve as the Noise handshake wants it.

use snow::types::{Dh, Random};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{public_key, shared_secret};

/// This is one key pair of a handshake. The pair that lasts is given along: its public half is not computed again for each
/// login.
#[derive(Default)]
pub(in crate::wire) struct Curve {
    lasting: Option<(Zeroizing<[u8; 32]>, [u8; 32])>,
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Curve {
    /// Makes one that knows the public half of the secret which lasts.
    pub(in crate::wire) fn knowing(secret: &[u8; 32], public: [u8; 32]) -> Self {
        Self { lasting: Some((Zeroizing::new(*secret), public)), ..Self::default() }
    }

    fn hold(&mut self) {
        let known = self.lasting.take().filter(|(secret, _)| bool::from(secret[..].ct_eq(&self.secret[..])));
        self.public = known.map_or_else(|| public_key(&self.secret), |(_, public)| public);
    }
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
        self.hold();
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        rng.try_fill_bytes(&mut *self.secret)?;
        self.hold();
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.secret
    }

    /// Refuses a key with which nothing can be agreed on: Noise lets it pass (section 12.1), nobody here has one.
    fn dh(&self, point: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let point = point.first_chunk().ok_or(snow::Error::Dh)?;
        let shared = shared_secret(&self.secret, point).ok_or(snow::Error::Dh)?;
        out[..32].copy_from_slice(&*shared);
        Ok(())
    }
}
