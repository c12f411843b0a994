//! STUN requests, well made and not.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use arbitrary::{Arbitrary, Result, Unstructured};
use lobby_server::Server;

use crate::servers::{answer, generous, stranger_at};

thread_local! {
    static SERVERS: RefCell<[Server; 2]> = RefCell::new([generous(false), generous(true)]);
}

const COOKIE: [u8; 4] = 0x2112_A442u32.to_be_bytes();
/// These are CHANGE-REQUEST, FINGERPRINT, PADDING, RESPONSE-PORT, RFC 3489's RESPONSE-ADDRESS, those that the server knows and
/// leaves out, and some that it does not know.
const KINDS: [u16; 14] = [
    0x0003, 0x8028, 0x0006, 0x0008, 0x001C, 0x0024, 0x0025, 0x0020, 0x7f00, 0x0027, 0x8022, 0xC001, 0x0026,
    0x0002,
];

/// The server gets a request of any attributes: what answers it is a right answer to it, goes to whoever asked, and
/// is no longer than documented.
pub fn stun(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let (two_addresses, v6, wrong) = (bool::arbitrary(u)?, bool::arbitrary(u)?, u8::arbitrary(u)?);
    let transaction = <[u8; 12]>::arbitrary(u)?;
    let (socket, from) = stranger_at(two_addresses, v6, 0);
    let mut request = [&[0, 1, 0, 0], &COOKIE[..], &transaction].concat();
    let mut attributes = 0;
    while request.len() < 600 && u.ratio(3, 4)? {
        attribute(u, &mut request)?;
        attributes += 1;
    }
    let length = (request.len() - 20) as u16;
    request[2..4].copy_from_slice(&length.to_be_bytes());
    if wrong < 64 {
        // Somewhere a byte is another one.
        let index = u.choose_index(request.len())?;
        request[index] = u8::arbitrary(u)?;
    }
    // As RFC 3489 has it, which knows IPv4 alone.
    let classic = (64..96).contains(&wrong);
    if classic {
        request[4] ^= 0xff;
    }
    // With another first byte it is one of our own datagrams (RFC 7983): those are `stranger`'s.
    if request[0] > 3 {
        return Ok(());
    }
    SERVERS.with_borrow_mut(|servers| {
        let server = &mut servers[usize::from(two_addresses)];
        let answer = answer(server, two_addresses, socket, from, &request);
        match answer {
            Some(answer) => check(&request, &answer, from),
            None => assert!(attributes > 0 || wrong < 64 || classic && v6, "a plain request is answered"),
        }
    });
    Ok(())
}

fn attribute(u: &mut Unstructured<'_>, request: &mut Vec<u8>) -> Result<()> {
    let kind = if u.ratio(7, 8)? { *u.choose(&KINDS)? } else { u16::arbitrary(u)? };
    let value = if kind == 0x8028 && u.ratio(3, 4)? {
        // As RFC 8489 section 14.7 has it: over what stands in front, the length with this attribute.
        let length = (request.len() - 20 + 8) as u16;
        request[2..4].copy_from_slice(&length.to_be_bytes());
        (crc32fast::hash(request) ^ 0x5354_554E).to_be_bytes().to_vec()
    } else if kind == 0x0003 && u.ratio(3, 4)? {
        vec![0, 0, 0, u8::arbitrary(u)?]
    } else {
        let length = u.int_in_range(0..=20)?;
        u.bytes(length)?.to_vec()
    };
    request.extend_from_slice(&kind.to_be_bytes());
    request.extend_from_slice(&(value.len() as u16).to_be_bytes());
    request.extend_from_slice(&value);
    request.resize(request.len().next_multiple_of(4), 0);
    Ok(())
}

/// The answer is whole, for this request, and says where it came from.
fn check(request: &[u8], answer: &[u8], from: SocketAddr) {
    let u16_at = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    assert_eq!(usize::from(u16_at(2)), answer.len() - 20);
    assert_eq!(answer[4..20], request[4..20], "cookie and transaction are those of the request");
    let success = u16_at(0) == 0x0101;
    assert!(success || u16_at(0) == 0x0111, "a success or an error");
    let (mut at, mut seen) = (20, false);
    while at < answer.len() {
        let (kind, size) = (u16_at(at), usize::from(u16_at(at + 2)));
        let value = &answer[at + 4..at + 4 + size];
        match kind {
            0x0001 => {
                assert_ne!(request[4..8], COOKIE, "in the clear for clients of RFC 3489 alone");
                assert_eq!(xored(value, &[0; 16]), from, "the address is the one that was asked from");
                seen = true;
            }
            0x0020 => {
                assert_eq!(request[4..8], COOKIE);
                assert_eq!(xored(value, &request[4..20]), from, "the address is the one that was asked from");
                seen = true;
            }
            0x8028 => {
                assert_eq!(at + 8, answer.len(), "the fingerprint comes last");
                assert_eq!(value, (crc32fast::hash(&answer[..at]) ^ 0x5354_554E).to_be_bytes());
            }
            _ => {}
        }
        at += 4 + size.next_multiple_of(4);
    }
    assert_eq!(at, answer.len());
    assert_eq!(seen, success, "a success says the address, an error does not");
}

fn xored(value: &[u8], mask: &[u8]) -> SocketAddr {
    let octets: Vec<u8> = value[4..].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let port = u16::from_be_bytes([value[2] ^ mask[0], value[3] ^ mask[1]]);
    let ip: IpAddr = match <[u8; 4]>::try_from(&octets[..]) {
        Ok(octets) => octets.into(),
        Err(_) => <[u8; 16]>::try_from(&octets[..]).expect("an address of IPv6").into(),
    };
    SocketAddr::new(ip, port)
}
