//! Passwords and tokens in what games and servers hold.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Returns whether two secrets are the same, in a time that does not tell where they differ. Their lengths are no
/// secret.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// A password or a token, made of a text or of bytes with `into()`. It is not printed by `Debug`, is compared in a time
/// that does not tell where two differ, and is wiped from memory when dropped.
///
/// ```
/// use traversal_core::Secret;
///
/// let password: Secret<String> = "sesame".into();
/// assert_eq!(format!("{password:?}"), "Secret(..)");
/// assert_eq!(password.len(), 6);
/// ```
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> Deref for Secret<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        same(self.0.as_ref(), other.0.as_ref())
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(secret: T) -> Self {
        Self(secret)
    }
}

impl From<&str> for Secret<String> {
    fn from(secret: &str) -> Self {
        Self(secret.into())
    }
}

impl From<&[u8]> for Secret<Vec<u8>> {
    fn from(secret: &[u8]) -> Self {
        Self(secret.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::{Request, RoomOptions, RoomTarget, ToServer};
    use crate::{AgentConfig, Command, id::RequestId};

    /// Whatever holds a password or a login's token.
    #[test]
    fn nothing_that_games_hold_prints_a_password_or_a_token() {
        let password = Some(Secret::from("sesame-1234"));
        let options = RoomOptions { password: password.clone(), ..RoomOptions::default() };
        let target = || RoomTarget::Name("r".into());
        let join = Request::JoinRoom { target: target(), password: password.clone() };
        let token: Secret<Vec<u8>> = Secret::from(&b"sesame-1234"[..]);
        let wait = std::time::Duration::ZERO;
        let printed = [
            format!("{options:?}"),
            format!("{:?}", Command::HostRoom(options.clone())),
            format!("{:?}", Command::JoinRoom { target: target(), password, wait }),
            format!("{:?}", Request::CreateRoom { options }),
            format!("{join:?}"),
            format!("{:?}", ToServer::Request { id: RequestId(1), request: join }),
            format!("{:?}", AgentConfig { token, ..AgentConfig::default() }),
        ];
        for text in printed {
            assert!(!text.contains("sesame") && !text.contains("115, 101, 115"), "{text}");
            assert!(text.contains("Secret(..)"), "{text}");
        }
    }
}
