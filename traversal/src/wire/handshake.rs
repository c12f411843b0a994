//! The way to a session: hello, stateless cookie, Noise IK.
//!
//! ```text
//! player                                         server
//! Hello   magic version nonce, padded to 1,200 ─►         keeps nothing
//!         ◄─ Cookie  magic version nonce cookie server-key
//! Init    magic version nonce cookie noise-1(Login) ─►    address is validated, Noise work is done
//!         ◄─ Accept  magic version nonce noise-2(LoginReply)
//! ```
//! The player's static key is its identity. Each datagram is answered by at most one that is not longer. Nonce and cookie
//! are bound into the Noise handshake, so that the first message of one login cannot be sent as another one's. What is said
//! in the clear may be anybody's word: it ends nothing by itself.
//!
//! `noise` has the keys, `client` and `server` the two sides; here is what they share.

mod client;
mod noise;
mod server;
mod small_order;

use super::{Kind, MAGIC, MAX_CONTROL, VERSION, take};
pub use client::{ClientHandshake, ClientProgress, hello};
pub use noise::Identity;
#[cfg(test)]
pub(super) use noise::builder;
pub use server::{PendingLogin, ServerHandshake};
pub use small_order::contributes;

/// The number that a player draws for a login has this many bytes; the last one may differ between datagrams of one
/// login.
pub const NONCE: usize = 16;
const MAC_LEN: usize = 16;
/// So many bytes stand in front of every handshake datagram: kind, magic, version, nonce.
const HEADER: usize = 1 + MAGIC.len() + 2 + NONCE;

fn header(kind: Kind, nonce: &[u8; NONCE]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_CONTROL);
    out.push(kind as u8);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(nonce);
    out
}

/// Reads what stands in front of every handshake datagram: version and nonce.
fn parse_header(datagram: &mut &[u8]) -> Option<(u16, [u8; NONCE])> {
    take::<1>(datagram)?;
    if take::<3>(datagram)? != MAGIC {
        return None;
    }
    let version = u16::from_le_bytes(take(datagram)?);
    Some((version, take(datagram)?))
}

/// This says why the server says no in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server speaks another version.
    Version {
        /// This is the version that the server speaks.
        theirs: u16,
    },
    /// It takes nobody now.
    Busy {
        /// It wants to be asked again after this many seconds: 1 to 255, of which a player waits [`MOST_BUSY_S`] at the
        /// most.
        again_s: u8,
    },
}

/// Nobody waits longer than this many seconds because a server is said to be busy: that is said in the clear, and may be
/// anybody's word.
pub const MOST_BUSY_S: u8 = 30;

const REFUSE_VERSION: u8 = 1;
const REFUSE_SESSION: u8 = 2;
const REFUSE_BUSY: u8 = 3;

/// Returns the server's answer to a sealed datagram of a session that it does not know: the session as it is named
/// there, and its reset token ([`ServerHandshake::reset_token`]). It is shorter than any such datagram.
pub fn refuse_unknown_session(
    datagram: &[u8],
    token: impl FnOnce(u64) -> Option<[u8; 16]>,
) -> Option<Vec<u8>> {
    let session: [u8; 8] = datagram.get(1..9)?.try_into().ok()?;
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(&session);
    let mut out = header(Kind::Refuse, &nonce);
    out.push(REFUSE_SESSION);
    out.extend_from_slice(&token(u64::from_le_bytes(session))?);
    (out.len() <= datagram.len()).then_some(out)
}

/// Reads a refusal of a session in the clear: the session that the server does not know, and the token that shows that it
/// is the server who says so.
pub fn parse_unknown_session(datagram: &[u8]) -> Option<(u64, [u8; 16])> {
    let mut rest = datagram;
    let (_, nonce) = parse_header(&mut rest)?;
    let [REFUSE_SESSION] = take::<1>(&mut rest)? else { return None };
    let session: [u8; 8] = *nonce.first_chunk()?;
    Some((u64::from_le_bytes(session), rest.try_into().ok()?))
}

#[cfg(test)]
mod tests;
