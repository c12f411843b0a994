//! Invites: a host's allowance to enter its room, sealed by the server, which whoever is given it shows.

use serde::{Deserialize, Serialize};

/// An invite is good for at most this many minutes: a week.
pub const MAX_INVITE_MINUTES: u16 = 7 * 24 * 60;
/// This many invites of a room that serve once may be out at a time; it is the server's memory that tells whether one
/// has served.
pub const MAX_OPEN_INVITES: u16 = 64;

/// This says what an invite is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteTerms {
    /// It lets in one player. Otherwise it lets in everybody who shows it.
    pub once: bool,
    /// It is good for this many minutes: 1 to [`MAX_INVITE_MINUTES`].
    pub minutes: u16,
}

impl InviteTerms {
    /// Returns the terms of an invite that lets in one player, within a day.
    pub fn once() -> Self {
        Self { once: true, minutes: 24 * 60 }
    }

    /// Returns the terms of an invite that lets in everybody who shows it, for this many minutes.
    pub fn for_minutes(minutes: u16) -> Self {
        Self { once: false, minutes }
    }
}

/// This is the host's allowance to enter its room: past its password, and without asking the host again. Who was put out of
/// the room stays out.
///
/// The server makes the seal with a key made of its long-lived one. It covers the game, the room, its host and who was put
/// out of it, and all that stands here: another host, a player who is put out for good and the host's word that its invites
/// are over end all that are out.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteToken {
    /// The invite has this number, drawn by chance, below 2^31.
    pub number: u32,
    /// It is good until then, in seconds since 1970.
    pub until_s: u32,
    /// It lets in one player.
    pub once: bool,
    /// Made by the server.
    pub seal: [u8; 16],
}

impl std::fmt::Debug for InviteToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number: _, until_s, once, seal: _ } = self;
        f.debug_struct("InviteToken").field("until_s", until_s).field("once", once).finish_non_exhaustive()
    }
}

/// The highest bit of the number's bytes in a text says whether the invite serves once.
const ONCE: u32 = 1 << 31;

impl InviteToken {
    /// A token is written in this many bytes.
    pub const LENGTH: usize = 24;

    /// Returns the token as it is written into texts; it is no message.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let number = self.number & !ONCE | if self.once { ONCE } else { 0 };
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.until_s.to_be_bytes());
        bytes[8..].copy_from_slice(&self.seal);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written. Whether it is genuine only the server can tell.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut seal = [0; 16];
        seal.copy_from_slice(&bytes[8..]);
        Self { number: word(0) & !ONCE, until_s: word(4), once: word(0) & ONCE != 0, seal }
    }
}

/// This says why an invite lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum InviteFault {
    /// Its time is over.
    #[error("its time is over")]
    Expired,
    /// It serves once, and has let in another player.
    #[error("it was for one player, and another one has used it")]
    Used,
    /// The host has ended its invites, or put somebody out, or the room has another host; or the invite serves once and the
    /// server was restarted since; or it is for another room, or forged.
    #[error("the host has ended it, or it is for another room")]
    Ended,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(number in 0..ONCE, until_s: u32, once: bool, seal: [u8; 16]) {
            let token = InviteToken { number, until_s, once, seal };
            prop_assert_eq!(InviteToken::from_bytes(&token.to_bytes()), token);
        }
    }
}
