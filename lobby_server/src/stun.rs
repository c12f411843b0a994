//! STUN Binding (RFC 8489) with the attributes of RFC 5780, and as RFC 3489 had it, for any STUN client that wants to know
//! its address.
//!
//! Own code because the crates that speak it bring TURN or ICE along; a Binding answer is a header and four
//! attributes.
//!
//! A server that answers everybody is a tool against others: somebody writes another's address on a request, and the answer
//! goes there. So nothing that a request says makes the answer larger, or has it go to another IP address than the request's
//! own: PADDING is answered with no more bytes than came, RESPONSE-ADDRESS of RFC 3489 is refused, and RESPONSE-PORT brings a port
//! no more bytes than came, unless it has asked this server itself (`crate::server::stun`).

mod answer;
#[cfg(test)]
mod tests;

pub(crate) use answer::{Error, refusal, success};

/// Every STUN message since RFC 5389 has this cookie (RFC 8489 section 5).
const MAGIC_COOKIE: u32 = 0x2112_A442;
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const MAPPED_ADDRESS: u16 = 0x0001;
const CHANGE_REQUEST: u16 = 0x0003;
/// RFC 3489 section 11.2.5; RFC 5780 calls it RESPONSE-ORIGIN.
const SOURCE_ADDRESS: u16 = 0x0004;
/// RFC 3489 section 11.2.3; RFC 5780 calls it OTHER-ADDRESS.
const CHANGED_ADDRESS: u16 = 0x0005;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PADDING: u16 = 0x0026;
const RESPONSE_PORT: u16 = 0x0027;
const FINGERPRINT: u16 = 0x8028;
const RESPONSE_ORIGIN: u16 = 0x802B;
const OTHER_ADDRESS: u16 = 0x802C;

/// Attributes below this must be understood (RFC 8489 section 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;
/// These attributes authenticate: we take them without checking, as there is no secret (USERNAME, MESSAGE-INTEGRITY,
/// MESSAGE-INTEGRITY-SHA256, and ICE's PRIORITY, USE-CANDIDATE).
const IGNORED: [u16; 5] = [0x0006, 0x0008, 0x001C, 0x0024, 0x0025];
/// The CRC of FINGERPRINT is combined with this (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// A request has so many bytes at the most: clients that see whether fragments get through pad theirs to a little more than
/// the 1,500 of an Ethernet frame (`turnutils_natdiscovery -P`: 1,532).
pub(crate) const LONGEST_REQUEST: usize = 2048;

/// This is what a Binding request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// These are the bytes 4 to 20, which the answer repeats: the cookie and 96 bits, or 128 bits where there is no cookie.
    transaction: [u8; 16],
    /// There is no cookie: the client is of RFC 3489.
    pub(crate) classic: bool,
    /// This says whether the answer is to come from the other address.
    pub(crate) change_ip: bool,
    /// This says whether the answer is to come from the other port.
    pub(crate) change_port: bool,
    /// The answer is to go to this port of the same address.
    pub(crate) response_port: Option<u16>,
    /// The answer is to be as long as the request.
    padded: bool,
    /// CHANGE-REQUEST is there: it is a client that investigates a NAT.
    investigates: bool,
    length: usize,
    unknown: Vec<u16>,
    fingerprint: bool,
}

/// Returns whether a datagram may be a request: its first byte has no datagram of ours (RFC 7983). Its length is another
/// matter than that of ours, too.
pub(crate) fn may_be(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// Returns whether a datagram has the form of an answer: success or error, and as long as it says. Answers to clients of RFC
/// 3489 have no magic cookie.
pub(crate) fn is_answer(datagram: &[u8]) -> bool {
    let kind = u16_at(datagram, 0);
    let length = u16_at(datagram, 2).map(|length| HEADER + usize::from(length));
    matches!(kind, Some(BINDING_SUCCESS | BINDING_ERROR)) && length == Some(datagram.len())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Reads a Binding request; anything else is nothing. One without a cookie is told from junk by its type, by a length that is
/// the datagram's, and by attributes that fill it to the last byte.
pub(crate) fn parse(datagram: &[u8]) -> Option<Request> {
    if datagram.len() < HEADER || u16_at(datagram, 0)? != BINDING_REQUEST {
        return None;
    }
    let length = usize::from(u16_at(datagram, 2)?);
    if length % 4 != 0 || datagram.len() != HEADER + length {
        return None;
    }
    let mut transaction = [0; 16];
    transaction.copy_from_slice(&datagram[4..20]);
    let classic = transaction[..4] != MAGIC_COOKIE.to_be_bytes();
    let mut request = Request {
        transaction,
        classic,
        change_ip: false,
        change_port: false,
        response_port: None,
        padded: false,
        investigates: false,
        length: datagram.len(),
        unknown: Vec::new(),
        fingerprint: false,
    };
    let mut at = HEADER;
    while at < datagram.len() {
        let kind = u16_at(datagram, at)?;
        let size = usize::from(u16_at(datagram, at + 2)?);
        let value = datagram.get(at + 4..at + 4 + size)?;
        match kind {
            CHANGE_REQUEST => {
                request.investigates = true;
                let flags = *value.get(3)?;
                request.change_ip = flags & 0x4 != 0;
                request.change_port = flags & 0x2 != 0;
            }
            RESPONSE_PORT if !classic => request.response_port = Some(u16_at(value, 0)?),
            PADDING if !classic => request.padded = true,
            FINGERPRINT if !classic => {
                let crc = u32::from_be_bytes(value.try_into().ok()?);
                if crc != crc32(&datagram[..at]) ^ FINGERPRINT_XOR {
                    return None;
                }
                request.fingerprint = true;
            }
            kind if kind >= COMPREHENSION_OPTIONAL || IGNORED.contains(&kind) => {}
            // A reply lists them all; more than eight would make it longer than the request.
            kind if request.unknown.len() < 8 => request.unknown.push(kind),
            _ => {}
        }
        at += 4 + size.div_ceil(4) * 4;
    }
    Some(request)
}

/// Returns CRC-32 of ITU V.42, as FINGERPRINT wants it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
