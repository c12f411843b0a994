use std::net::SocketAddr;

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

const CHANGE_NOTHING: &[u8] = b"\0\x03\0\x04\0\0\0\0";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn with_cookie(cookie: u32, attributes: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 1];
    out.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    out.extend_from_slice(&cookie.to_be_bytes());
    out.extend_from_slice(&[7; 12]);
    out.extend_from_slice(attributes);
    out
}

fn modern(attributes: &[u8]) -> Request {
    parse(&with_cookie(MAGIC_COOKIE, attributes)).unwrap()
}

fn classic(attributes: &[u8]) -> Request {
    parse(&with_cookie(0x0102_0304, attributes)).unwrap()
}

/// Answers from the first of two addresses, or of one.
fn answer(request: &Request, two: bool) -> Vec<u8> {
    success(
        request,
        at("198.51.100.1:1"),
        Some(at("198.18.0.10:3478")),
        two.then(|| at("198.18.0.11:3479")),
        false,
    )
}

#[test]
fn the_sample_request_of_rfc_5769_is_read() {
    let request = parse(REQUEST).expect("a valid request with a valid fingerprint");
    assert!(request.fingerprint && request.unknown.is_empty() && !request.classic);
    let mut broken = REQUEST.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(parse(&broken), None, "a wrong fingerprint is not STUN");
}

#[test]
fn addresses_are_masked_as_in_rfc_5769() {
    let request = parse(REQUEST).unwrap();
    let v4 = success(&request, at("192.0.2.1:32853"), None, None, false);
    assert_eq!(&v4[20..32], XOR_V4);
    let v6 = success(&request, at("[2001:db8:1234:5678:11:2233:4455:6677]:32853"), None, None, false);
    assert_eq!(&v6[20..44], XOR_V6);
    let crc = u32::from_be_bytes(v6[v6.len() - 4..].try_into().unwrap());
    assert_eq!(crc, crc32(&v6[..v6.len() - 8]) ^ FINGERPRINT_XOR);
    assert_eq!(usize::from(u16_at(&v6, 2).unwrap()), v6.len() - HEADER);
}

#[test]
fn a_change_request_needs_two_addresses() {
    let request = modern(b"\0\x03\0\x04\0\0\0\x06");
    assert!(request.change_ip && request.change_port);
    assert_eq!(request.error(true), None);
    let answer = refusal(&request, &request.error(false).unwrap());
    assert_eq!(u16_at(&answer, 0), Some(BINDING_ERROR));
    assert_eq!(&answer[24..28], b"\0\0\x04\x14", "code 420");
    assert_eq!(u16_at(&answer, answer.len() - 4), Some(CHANGE_REQUEST));
}

#[test]
fn other_is_told_where_there_is_one_and_origin_to_who_investigates() {
    assert_eq!(answer(&modern(b""), false).len(), 32);
    assert_eq!(answer(&modern(b""), true).len(), 44);
    assert_eq!(
        &answer(&modern(CHANGE_NOTHING), true)[32..],
        b"\x80\x2c\0\x08\0\x01\x0d\x97\xc6\x12\0\x0b\x80\x2b\0\x08\0\x01\x0d\x96\xc6\x12\0\x0a"
    );
    let software = [&b"\x80\x22\0\x30"[..], &[b'x'; 48]].concat();
    assert_eq!(answer(&modern(&software), true).len(), 56, "no longer than its request of 72");
}

#[test]
fn a_request_without_a_cookie_is_answered_as_rfc_3489_has_it() {
    let request = classic(CHANGE_NOTHING);
    assert!(request.classic);
    let answer_ = answer(&request, true);
    assert_eq!(answer_[..4], [1, 1, 0, 36]);
    assert_eq!(answer_[4..20], with_cookie(0x0102_0304, b"")[4..20], "all 128 bits come back");
    assert_eq!(
        &answer_[20..],
        b"\0\x01\0\x08\0\x01\0\x01\xc6\x33\x64\x01\
          \0\x05\0\x08\0\x01\x0d\x97\xc6\x12\0\x0b\
          \0\x04\0\x08\0\x01\x0d\x96\xc6\x12\0\x0a",
        "MAPPED-ADDRESS, CHANGED-ADDRESS and SOURCE-ADDRESS, in the clear"
    );
    assert_eq!(answer(&classic(b""), false)[20..24], [0, 1, 0, 8]);
}

#[test]
fn what_would_reach_somebody_else_is_refused_of_rfc_3489_too() {
    // RESPONSE-ADDRESS: "send the answer to 192.0.2.1:53".
    let request = classic(b"\0\x02\0\x08\0\x01\0\x35\xc0\0\x02\x01");
    let error = request.error(true).unwrap();
    assert_eq!(error, Error::UnknownAttributes(vec![2]));
    let answer = refusal(&request, &error);
    assert_eq!(&answer[20..], b"\0\x09\0\x04\0\0\x04\x14\0\x0a\0\x04\0\x02\0\x02", "an even number of them");
    // RFC 5780's attributes are none of a client of RFC 3489.
    assert!(classic(b"\0\x27\0\x04\x12\x34\0\0").error(true).is_some());
    assert!(classic(b"\0\x26\0\x04abcd").error(true).is_some());
}

#[test]
fn a_padded_request_is_answered_with_as_many_bytes_and_no_more() {
    for size in (0..1500).step_by(4) {
        let padding = [&b"\0\x26"[..], &(size as u16).to_be_bytes(), &vec![b'x'; size]].concat();
        for two in [false, true] {
            let request = modern(&padding);
            let (asked, got) = (request.length, answer(&request, two));
            let bare = if two { 44 } else { 32 };
            assert!(got.len() <= asked.max(bare), "{} bytes for {asked}", got.len());
            if asked >= bare + 16 && asked <= 1472 {
                assert_eq!(got.len(), asked);
                let comes_back = got.windows(4).any(|four| four == b"xxxx");
                assert!(!comes_back, "nothing of the request is sent on");
            }
            assert!(got.len() <= 1472, "in one piece");
            assert_eq!(usize::from(u16_at(&got, 2).unwrap()), got.len() - HEADER);
        }
    }
}

#[test]
fn an_answer_to_another_port_says_no_more_than_it_has_to() {
    let request = modern(b"\0\x27\0\x04\x12\x34\0\0");
    assert_eq!((request.response_port, request.error(true)), (Some(0x1234), None));
    let go = |request: &Request| {
        success(request, at("198.51.100.1:1"), Some(at("198.18.0.10:1")), Some(at("198.18.0.11:2")), true)
    };
    assert_eq!(go(&request).len(), 32);
    let change = modern(b"\0\x27\0\x04\x12\x34\0\0\0\x03\0\x04\0\0\0\0");
    assert_eq!(go(&change).len(), 32);
    let software = [&b"\0\x27\0\x04\x12\x34\0\0\x80\x22\0\x30"[..], &[b'x'; 48]].concat();
    assert_eq!(go(&modern(&software)).len(), 56, "its request of 80 has paid for it");
    // RFC 5780 section 6.1, and a port that is none.
    assert_eq!(modern(b"\0\x27\0\x04\x12\x34\0\0\0\x26\0\0").error(true), Some(Error::BadRequest));
    assert_eq!(modern(b"\0\x27\0\x04\0\0\0\0").error(true), Some(Error::BadRequest));
    let answer = refusal(&request, &Error::Forbidden);
    assert_eq!(answer.len(), 28, "no longer than the request");
    assert_eq!(&answer[24..], b"\0\0\x04\x03");
}

#[test]
fn responses_and_indications_and_what_is_cut_are_not_answered() {
    let mut response = with_cookie(MAGIC_COOKIE, b"");
    response[0] = 1;
    assert_eq!(parse(&response), None);
    for end in 0..REQUEST.len() {
        assert_eq!(parse(&REQUEST[..end]), None, "cut at {end}");
    }
    let classic = with_cookie(1, CHANGE_NOTHING);
    for end in 0..classic.len() {
        assert_eq!(parse(&classic[..end]), None, "cut at {end}");
    }
    assert_eq!(parse(&[0; 20]), None);
    assert_eq!(parse(&with_cookie(1, b"\0\x03\0\x08\0\0\0\0")), None, "an attribute is longer than the rest");
}
