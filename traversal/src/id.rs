//! Names for players, rooms and matches, as they stand on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// This names a player, who is known by its static key: it is the first 16 bytes of SHA-256 over the X25519 public key.
///
/// Stable for as long as the player keeps its [`Identity`](crate::Identity); nobody without the private key
/// can log in under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlayerId(pub [u8; 16]);

impl PlayerId {
    /// Returns the id that belongs to a static public key.
    pub fn from_public_key(key: &[u8; 32]) -> Self {
        let digest = Sha256::digest(key);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// Returns the id in 64 bits, for stacks that name their clients so (renet's `ClientId`).
    pub fn client_id(self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(bytes)
    }
}

impl fmt::Display for PlayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is no player's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a player's id has 32 hexadecimal digits")]
pub struct PlayerIdError;

impl FromStr for PlayerId {
    type Err = PlayerIdError;

    /// Reads what `Display` writes, in upper or lower case, without the space around it.
    fn from_str(text: &str) -> Result<Self, PlayerIdError> {
        let text = text.trim();
        let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| plain).ok_or(PlayerIdError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Debug for PlayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlayerId({self})")
    }
}

/// This is one attempt to connect two players, and the channel between them that comes of it. It is drawn at random
/// by the server, and stands in front of every datagram between the two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MatchId(pub u64);

/// This names a room on one server, which draws it at random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RoomId(pub u64);

/// This means a room during the time that one player hosts it: votes about the host, and proofs that it is alive, count
/// for that time alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoomEpoch {
    /// The room has this id.
    pub room: RoomId,
    /// The room has changed its host this many times, from 0.
    pub epoch: u32,
}

/// This names someone's wish to enter a room, which waits for the host's answer (M23).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct JoinId(pub u64);

/// This names a call of one player to another. The caller draws it at random, so it is told apart by the caller's id too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// This names a party on the servers, one of which draws it at random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PartyId(pub u64);

/// This numbers a request of this player to the server, so that answers are told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId(pub u32);
