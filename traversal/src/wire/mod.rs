//! Every byte that leaves a socket.
//!
//! The first byte of a datagram is its [`Kind`]. Handshake datagrams ([`Kind::Hello`] to [`Kind::Refuse`]) go on
//! with [`MAGIC`] and the version, the sealed ones with what finds their key; the version is bound into their
//! keys by the handshake's prologue.

pub mod codec;
pub mod curve;
pub mod handshake;
pub mod life;
pub mod message;
pub mod pair;
pub mod port_report;
pub mod replay;
#[cfg(test)]
mod samples;
pub mod secret;
pub mod session;
pub mod sizes;
pub mod stream;
#[cfg(test)]
mod vectors;

pub use sizes::MAX_DATAGRAM;

/// A control datagram has at most this many bytes, headers included.
pub const MAX_CONTROL: usize = sizes::FULL_DATAGRAM;
/// After so many datagrams with a wrong seal a key opens nothing more (RFC 9001 section 6.6, for ChaCha20-Poly1305).
/// At 100,000 a second that takes eight days; the next login, or the next match, has fresh keys.
pub(crate) const FORGERIES: u64 = 1 << 36;
/// This many bytes stand in front of a datagram that goes through the server's relay: kind and allocation token.
pub const RELAY_HEADER: usize = 16;
/// Bytes 1..4 of every handshake datagram are these.
pub const MAGIC: [u8; 3] = *b"btv";
/// This is the version of everything in this module. A server answers other versions with [`Kind::Refuse`], whose
/// layout and that of [`Kind::Hello`]'s first 22 bytes never change.
pub const VERSION: u16 = 1;

/// The kind is the first byte of our datagrams: its low nibble is 7-15 (netcode uses 0-6), and it is outside the ranges
/// of RFC 7983 (STUN, ZRTP, DTLS, TURN, RTP), so that all of these can share a socket with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A player asks the server whether it may log in. It is padded to [`MAX_CONTROL`].
    Hello = 0xC7,
    /// The server gives a player a cookie to come back with, and the server's key.
    Cookie = 0xC8,
    /// The player sends the server its cookie and the first Noise message.
    Init = 0xC9,
    /// The server answers with the second Noise message.
    Accept = 0xCA,
    /// The server says no, in the clear.
    Refuse = 0xCB,
    /// This is a sealed control frame, either way.
    Control = 0xCC,
    /// This is a sealed control frame that never moves the session's address (probes and their answers).
    Probe = 0xCD,
    /// This is a datagram that goes through the server's relay.
    Relay = 0xCE,
    /// This is a sealed datagram between two players.
    Pair = 0xCF,
}

impl Kind {
    /// Returns what a datagram claims to be; `None`: it is not ours.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        Some(match *datagram.first()? {
            0xC7 => Self::Hello,
            0xC8 => Self::Cookie,
            0xC9 => Self::Init,
            0xCA => Self::Accept,
            0xCB => Self::Refuse,
            0xCC => Self::Control,
            0xCD => Self::Probe,
            0xCE => Self::Relay,
            0xCF => Self::Pair,
            _ => return None,
        })
    }
}

/// Takes `N` bytes off the front of `bytes`.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

/// This says why an incoming datagram was dropped. It is never logged above TRACE: anybody can cause it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Dropped {
    /// The datagram is too short, too long or not in our format.
    #[error("malformed")]
    Malformed,
    /// There is no session, match or attempt that it could belong to.
    #[error("unknown session")]
    Unknown,
    /// The seal does not fit.
    #[error("not authentic")]
    NotAuthentic,
    /// It was seen before, or is too old to tell.
    #[error("replayed")]
    Replayed,
    /// The cookie is wrong or too old.
    #[error("bad cookie")]
    BadCookie,
    /// A bound on memory or work was reached.
    #[error("over a limit")]
    Limit,
    /// It acknowledges what was never sent.
    #[error("acknowledges what was never sent")]
    NeverSent,
    /// It is a game datagram of a player who only watches.
    #[error("sent by a spectator")]
    Spectator,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_stay_clear_of_netcode_stun_and_rfc_7983() {
        for byte in 0..=255u8 {
            if Kind::of(&[byte]).is_some() {
                assert!(byte & 0x0f >= 7, "{byte:#x} could be netcode's");
                assert!(!matches!(byte, 0..=3 | 16..=79 | 128..=191), "{byte:#x} is taken in RFC 7983");
            }
        }
    }
}
