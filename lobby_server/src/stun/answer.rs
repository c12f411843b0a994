//! What a Binding request is answered with.

use std::net::{IpAddr, SocketAddr};

use traversal_core::wire::MAX_DATAGRAM;

use super::{
    BINDING_ERROR, BINDING_SUCCESS, CHANGE_REQUEST, CHANGED_ADDRESS, ERROR_CODE, FINGERPRINT,
    FINGERPRINT_XOR, HEADER, MAGIC_COOKIE, MAPPED_ADDRESS, OTHER_ADDRESS, PADDING, RESPONSE_ORIGIN, Request,
    SOURCE_ADDRESS, UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS, crc32,
};

/// A request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// It contradicts itself, or says what makes no sense: 400.
    BadRequest,
    /// It would have somebody receive what did not ask for it: 403.
    Forbidden,
    /// It has these attributes, which are not served: 420.
    UnknownAttributes(Vec<u16>),
}

impl Request {
    /// Returns why this is refused whoever asks, if it is; `two_addresses`: there is another address to answer from.
    pub(crate) fn error(&self, two_addresses: bool) -> Option<Error> {
        let mut unknown = self.unknown.clone();
        if !two_addresses && (self.change_ip || self.change_port) {
            unknown.push(CHANGE_REQUEST);
        }
        if !unknown.is_empty() {
            return Some(Error::UnknownAttributes(unknown));
        }
        // RFC 5780 section 6.1: the one is about lost fragments, the other about lost mappings.
        let contradicts = self.response_port.is_some() && self.padded;
        (contradicts || self.response_port == Some(0)).then_some(Error::BadRequest)
    }
}

/// Returns the answer to a request: `mapped` is where it came from, `origin` the address the answer leaves from and
/// `other` the server's other address and port, where it has both. `elsewhere` says that it goes to another port than the
/// request's.
///
/// A forged source gets what this answers, so it says no more than is needed. OTHER-ADDRESS (in RFC 3489 CHANGED-ADDRESS) is
/// how those who investigate a NAT find out that they can. RESPONSE-ORIGIN (SOURCE-ADDRESS) goes to those who do, or where the
/// answer is still no longer than the request; whoever wants it from a bare request sends a CHANGE-REQUEST of zero. An answer
/// that goes to another port has neither, unless its request paid for them.
pub(crate) fn success(
    request: &Request,
    mapped: SocketAddr,
    origin: Option<SocketAddr>,
    other: Option<SocketAddr>,
    elsewhere: bool,
) -> Vec<u8> {
    let (is_mapped, is_origin, is_other) = if request.classic {
        (MAPPED_ADDRESS, SOURCE_ADDRESS, CHANGED_ADDRESS)
    } else {
        (XOR_MAPPED_ADDRESS, RESPONSE_ORIGIN, OTHER_ADDRESS)
    };
    let mut out = header(BINDING_SUCCESS, request);
    let mask = (!request.classic).then_some(&request.transaction);
    push_address(&mut out, is_mapped, mapped, mask);
    for (kind, address, always) in
        [(is_other, other, !elsewhere), (is_origin, origin, request.investigates && !elsewhere)]
    {
        let Some(address) = address else { continue };
        let before = out.len();
        push_address(&mut out, kind, address, None);
        if !always && out.len() + request.tail() > request.length {
            out.truncate(before);
        }
    }
    if request.padded {
        // As long as the request, but in one piece; what was in its padding comes back to nobody.
        let room = request.length.min(MAX_DATAGRAM).saturating_sub(out.len() + request.tail());
        if let Some(size) = (room / 4 * 4).checked_sub(4) {
            push_attribute(&mut out, PADDING, &vec![0; size]);
        }
    }
    finish(out, request.fingerprint)
}

/// Returns the answer to a request that is not served. It is no longer than the request, but for the list of what is not known,
/// which may make it 12 bytes longer.
pub(crate) fn refusal(request: &Request, error: &Error) -> Vec<u8> {
    let mut out = header(BINDING_ERROR, request);
    // Without a reason phrase: it would be longer than the request.
    let code = match error {
        Error::BadRequest => b"\0\0\x04\0",
        Error::Forbidden => b"\0\0\x04\x03",
        Error::UnknownAttributes(_) => b"\0\0\x04\x14",
    };
    push_attribute(&mut out, ERROR_CODE, code);
    if let Error::UnknownAttributes(unknown) = error {
        let mut list: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        if request.classic && unknown.len() % 2 == 1 {
            // RFC 3489 section 11.2.10 has no padding: one is named twice.
            list.extend_from_within(list.len() - 2..);
        }
        push_attribute(&mut out, UNKNOWN_ATTRIBUTES, &list);
    }
    finish(out, request.fingerprint)
}

impl Request {
    /// Returns how many bytes of the answer come after all others.
    fn tail(&self) -> usize {
        if self.fingerprint { 8 } else { 0 }
    }
}

fn header(kind: u16, request: &Request) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&request.transaction);
    out
}

fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().div_ceil(4) * 4, 0);
}

/// Adds an address; `mask` is the cookie and the transaction, with which it is combined.
fn push_address(out: &mut Vec<u8>, kind: u16, address: SocketAddr, mask: Option<&[u8; 16]>) {
    let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
    let mut port = address.port();
    if mask.is_some() {
        port ^= (MAGIC_COOKIE >> 16) as u16;
    }
    let mask = mask.copied().unwrap_or_default();
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
