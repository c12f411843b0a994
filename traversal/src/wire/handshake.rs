//! Hello, cookie and Noise IK.

/// A player's or server's static X25519 key pair.
#[derive(Clone)]
pub struct Identity {
    pub(crate) secret: [u8; 32],
}

impl Identity {
    /// From 32 random bytes, kept by the caller.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self { secret }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}
