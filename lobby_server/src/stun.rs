//! STUN Binding (RFC 8489) with the attributes of RFC 5780, for any STUN client that wants to know its address.
//!
//! Own code because the crates that speak it bring TURN or ICE along; a Binding answer is a header and four
//! attributes. `PADDING` and `RESPONSE-PORT` are not there on purpose: they make a server a reflector.

use std::net::{IpAddr, SocketAddr};

/// Every STUN message has this cookie (RFC 8489 section 5).
const MAGIC_COOKIE: u32 = 0x2112_A442;
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const CHANGE_REQUEST: u16 = 0x0003;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
const RESPONSE_ORIGIN: u16 = 0x802B;
const OTHER_ADDRESS: u16 = 0x802C;

/// An attribute with an IPv6 address has so many bytes.
const ADDRESS_V6: usize = 24;

/// Attributes below this must be understood (RFC 8489 section 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;
/// These attributes authenticate: we take them without checking, as there is no secret (USERNAME, MESSAGE-INTEGRITY,
/// MESSAGE-INTEGRITY-SHA256, and ICE's PRIORITY, USE-CANDIDATE).
const IGNORED: [u16; 5] = [0x0006, 0x0008, 0x001C, 0x0024, 0x0025];
/// The CRC of FINGERPRINT is combined with this (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// This is what a Binding request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    transaction: [u8; 12],
    /// This says whether the answer is to come from the other address.
    pub(crate) change_ip: bool,
    /// This says whether the answer is to come from the other port.
    pub(crate) change_port: bool,
    /// CHANGE-REQUEST is there: it is a client of RFC 5780.
    investigates: bool,
    length: usize,
    unknown: Vec<u16>,
    fingerprint: bool,
}

/// Returns whether a datagram is STUN: two zero bits in front and the magic cookie at bytes 4..8.
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER && datagram[0] < 4 && datagram[4..8] == MAGIC_COOKIE.to_be_bytes()
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

/// Reads a Binding request; anything else is nothing.
pub(crate) fn parse(datagram: &[u8]) -> Option<Request> {
    if !is_stun(datagram) || u16_at(datagram, 0)? != BINDING_REQUEST {
        return None;
    }
    let length = usize::from(u16_at(datagram, 2)?);
    if length % 4 != 0 || datagram.len() != HEADER + length {
        return None;
    }
    let mut transaction = [0; 12];
    transaction.copy_from_slice(&datagram[8..20]);
    let mut request = Request {
        transaction,
        change_ip: false,
        change_port: false,
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
            FINGERPRINT => {
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

/// Returns the answer to a request: `mapped` is where it came from, `origin` the address the answer leaves from and
/// `other` the server's other address and port, where it has both.
///
/// A forged source gets what this answers, so it says no more than is needed: MAPPED-ADDRESS is for clients of RFC 3489,
/// whose requests have no magic cookie and are not answered; RESPONSE-ORIGIN goes to those that investigate a NAT (RFC
/// 5780), or where the answer is still no longer than the request. OTHER-ADDRESS is how they find out that they can.
pub(crate) fn success(
    request: &Request,
    mapped: SocketAddr,
    origin: Option<SocketAddr>,
    other: Option<SocketAddr>,
) -> Vec<u8> {
    let mut out = header(BINDING_SUCCESS, request);
    push_address(&mut out, XOR_MAPPED_ADDRESS, mapped, Some(&request.transaction));
    if let Some(other) = other {
        push_address(&mut out, OTHER_ADDRESS, other, None);
    }
    let room = request.length >= out.len() + ADDRESS_V6 + if request.fingerprint { 8 } else { 0 };
    if let Some(origin) = origin.filter(|_| request.investigates || room) {
        push_address(&mut out, RESPONSE_ORIGIN, origin, None);
    }
    finish(out, request.fingerprint)
}

/// Returns a 420 (Unknown Attribute), when there is something in the request that we do not serve.
pub(crate) fn unknown_attributes(request: &Request, two_addresses: bool) -> Option<Vec<u8>> {
    let mut unknown = request.unknown.clone();
    if !two_addresses && (request.change_ip || request.change_port) {
        unknown.push(CHANGE_REQUEST);
    }
    if unknown.is_empty() {
        return None;
    }
    let mut out = header(BINDING_ERROR, request);
    // Without a reason phrase: it would be longer than the request.
    push_attribute(&mut out, ERROR_CODE, b"\0\0\x04\x14");
    let list: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    push_attribute(&mut out, UNKNOWN_ATTRIBUTES, &list);
    Some(finish(out, request.fingerprint))
}

fn header(kind: u16, request: &Request) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
    out.extend_from_slice(&request.transaction);
    out
}

fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().div_ceil(4) * 4, 0);
}

fn push_address(out: &mut Vec<u8>, kind: u16, address: SocketAddr, xor: Option<&[u8; 12]>) {
    let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
    let mut mask = [0; 16];
    let mut port = address.port();
    if let Some(transaction) = xor {
        mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        mask[4..].copy_from_slice(transaction);
        port ^= (MAGIC_COOKIE >> 16) as u16;
    }
    value.extend_from_slice(&port.to_be_bytes());
    let masked = |octets: &[u8]| octets.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect::<Vec<u8>>();
    match address.ip() {
        IpAddr::V4(ip) => value.extend(masked(&ip.octets())),
        IpAddr::V6(ip) => value.extend(masked(&ip.octets())),
    }
    push_attribute(out, kind, &value);
}

fn finish(mut out: Vec<u8>, fingerprint: bool) -> Vec<u8> {
    let attributes = out.len() - HEADER + if fingerprint { 8 } else { 0 };
    out[2..4].copy_from_slice(&(attributes as u16).to_be_bytes());
    if fingerprint {
        let crc = crc32(&out) ^ FINGERPRINT_XOR;
        push_attribute(&mut out, FINGERPRINT, &crc.to_be_bytes());
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    /// This is the sample request of RFC 5769 section 2.1.
    const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\
        \x3b\x36\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\x00\x08\x00\x14\x9a\xea\xa7\x0c\
        \xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    /// RFC 5769 sections 2.2 and 2.3 have these: XOR-MAPPED-ADDRESS of 192.0.2.1:32853 and of the IPv6 sample.
    const XOR_V4: &[u8] = b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
    const XOR_V6: &[u8] = b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\
        \xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";

    fn bare(transaction: [u8; 12], attributes: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 1, 0, attributes.len() as u8];
        out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(&transaction);
        out.extend_from_slice(attributes);
        out
    }

    #[test]
    fn the_sample_request_of_rfc_5769_is_read() {
        let request = parse(REQUEST).expect("a valid request with a valid fingerprint");
        assert!(request.fingerprint && request.unknown.is_empty());
        let mut broken = REQUEST.to_vec();
        *broken.last_mut().unwrap() ^= 1;
        assert_eq!(parse(&broken), None, "a wrong fingerprint is not STUN");
    }

    #[test]
    fn addresses_are_masked_as_in_rfc_5769() {
        let request = parse(REQUEST).unwrap();
        let v4 = success(&request, "192.0.2.1:32853".parse().unwrap(), None, None);
        assert_eq!(&v4[20..32], XOR_V4);
        let v6 =
            success(&request, "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap(), None, None);
        assert_eq!(&v6[20..44], XOR_V6);
        let crc = u32::from_be_bytes(v6[v6.len() - 4..].try_into().unwrap());
        assert_eq!(crc, crc32(&v6[..v6.len() - 8]) ^ FINGERPRINT_XOR);
        assert_eq!(usize::from(u16_at(&v6, 2).unwrap()), v6.len() - HEADER);
    }

    #[test]
    fn a_change_request_needs_two_addresses() {
        let request = parse(&bare([9; 12], b"\0\x03\0\x04\0\0\0\x06")).unwrap();
        assert!(request.change_ip && request.change_port);
        assert_eq!(unknown_attributes(&request, true), None);
        let refusal = unknown_attributes(&request, false).unwrap();
        assert_eq!(u16_at(&refusal, 0), Some(BINDING_ERROR));
        assert_eq!(&refusal[24..28], b"\0\0\x04\x14", "code 420");
        assert_eq!(u16_at(&refusal, refusal.len() - 4), Some(CHANGE_REQUEST));
    }

    #[test]
    fn other_is_told_where_there_is_one_and_origin_to_who_investigates() {
        let answer = |attributes: &[u8], two: bool| {
            let request = parse(&bare([1; 12], attributes)).unwrap();
            success(
                &request,
                "198.51.100.1:1".parse().unwrap(),
                Some("198.18.0.10:3478".parse().unwrap()),
                two.then(|| "198.18.0.11:3479".parse().unwrap()),
            )
        };
        let change = b"\0\x03\0\x04\0\0\0\0";
        assert_eq!(answer(b"", false).len(), 32);
        assert_eq!(answer(b"", true).len(), 44);
        assert_eq!(
            &answer(change, true)[32..],
            b"\x80\x2c\0\x08\0\x01\x0d\x97\xc6\x12\0\x0b\x80\x2b\0\x08\0\x01\x0d\x96\xc6\x12\0\x0a"
        );
        let software = [&b"\x80\x22\0\x30"[..], &[b'x'; 48]].concat();
        assert_eq!(answer(&software, true).len(), 56, "no longer than its request of 72");
    }

    #[test]
    fn responses_and_indications_and_padding_are_not_answered() {
        let mut response = bare([1; 12], b"");
        response[0] = 1;
        assert_eq!(parse(&response), None);
        let padding = parse(&bare([1; 12], b"\0\x26\0\x04abcd")).unwrap();
        assert!(unknown_attributes(&padding, true).is_some());
        for end in 0..REQUEST.len() {
            assert_eq!(parse(&REQUEST[..end]), None, "cut at {end}");
        }
    }
}
