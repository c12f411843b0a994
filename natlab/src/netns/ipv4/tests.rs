//! Packets are rewritten, and their checksums with them.

use super::*;

fn endpoint(text: &str) -> SocketAddrV4 {
    text.parse().expect("an endpoint")
}

/// Sums pseudo header and segment: 0 when the checksum is right.
fn transport_error(packet: &[u8]) -> u16 {
    let mut bytes = packet[12..20].to_vec();
    bytes.extend([0, packet[9]]);
    bytes.extend(u16::try_from(packet.len() - 20).expect("short").to_be_bytes());
    bytes.extend(&packet[20..]);
    checksum(&bytes)
}

fn packet(protocol: u8, source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let (length, sum_at) = if protocol == TCP { (20, 36) } else { (8, 26) };
    let mut bytes = vec![0; 20 + length];
    bytes.extend(payload);
    let total = u16::try_from(bytes.len()).expect("short");
    bytes[0] = 0x45;
    put(&mut bytes, 2, total);
    bytes[8] = 64;
    bytes[9] = protocol;
    bytes[12..16].copy_from_slice(&source.ip().octets());
    bytes[16..20].copy_from_slice(&destination.ip().octets());
    put(&mut bytes, 20, source.port());
    put(&mut bytes, 22, destination.port());
    if protocol == UDP {
        put(&mut bytes, 24, total - 20);
    }
    let sum = checksum(&bytes[..20]);
    put(&mut bytes, 10, sum);
    let sum = transport_error(&bytes);
    put(&mut bytes, sum_at, sum);
    bytes
}

#[test]
fn rewriting_keeps_every_checksum_right() {
    for protocol in [UDP, TCP] {
        for port in [0, 1, 255, 256, 40_001, 65_535] {
            let mut bytes =
                packet(protocol, endpoint("192.168.1.2:40001"), endpoint("198.18.0.10:3478"), b"abcde");
            assert_eq!((checksum(&bytes[..20]), transport_error(&bytes)), (0, 0), "the test's own packet");
            let mut view = Ipv4::parse(&mut bytes).expect("a packet");
            view.set_source(SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 1), port));
            view.set_destination(SocketAddrV4::new(Ipv4Addr::new(10, 255, 0, 1), port ^ 0x5555));
            assert!(view.take_hop());
            assert_eq!(view.source(), SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, 1), port));
            assert_eq!(view.ttl(), 63);
            assert_eq!((checksum(&bytes[..20]), transport_error(&bytes)), (0, 0), "{protocol} {port}");
        }
    }
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    let mut bytes = packet(UDP, endpoint("192.168.1.2:1"), endpoint("198.18.0.10:2"), b"x");
    put(&mut bytes, 26, 0);
    Ipv4::parse(&mut bytes).expect("a packet").set_source(endpoint("198.18.1.1:9"));
    assert_eq!(word(&bytes, 26), 0);
    assert_eq!(checksum(&bytes[..20]), 0);
}

#[test]
fn a_damaged_datagram_stays_damaged() {
    let mut bytes = packet(UDP, endpoint("192.168.1.2:1"), endpoint("198.18.0.10:2"), b"payload");
    bytes[30] ^= 0x40;
    Ipv4::parse(&mut bytes).expect("a packet").set_source(endpoint("198.18.1.1:9"));
    assert_ne!(transport_error(&bytes), 0);
}

#[test]
fn the_last_hop_is_not_forwarded() {
    let mut bytes = packet(UDP, endpoint("192.168.1.2:1"), endpoint("198.18.0.10:2"), b"");
    bytes[8] = 1;
    let sum = {
        put(&mut bytes, 10, 0);
        checksum(&bytes[..20])
    };
    put(&mut bytes, 10, sum);
    assert!(!Ipv4::parse(&mut bytes).expect("a packet").take_hop());
}

#[test]
fn what_is_too_short_or_cut_is_refused() {
    let whole = packet(TCP, endpoint("192.168.1.2:1"), endpoint("198.18.0.10:2"), b"");
    for length in 0..whole.len() {
        let mut cut = whole[..length].to_vec();
        assert_eq!(Ipv4::parse(&mut cut).err(), Some(Unreadable::Malformed), "{length}");
        if length >= 20 {
            // The length field agrees, the transport header is cut.
            put(&mut cut, 2, u16::try_from(length).expect("short"));
            assert_eq!(Ipv4::parse(&mut cut).err(), Some(Unreadable::Malformed), "{length}");
        }
    }
    let mut fragment = whole;
    fragment[6] = 0x20;
    assert_eq!(Ipv4::parse(&mut fragment).err(), Some(Unreadable::Fragment));
}

#[test]
fn an_error_finds_its_way_back() {
    let original = packet(UDP, endpoint("198.18.1.1:50000"), endpoint("198.18.2.1:7"), b"bubble");
    let mut error = time_exceeded(&original, Ipv4Addr::new(198, 18, 0, 1)).expect("an error");
    let mut view = Ipv4::parse(&mut error).expect("a packet");
    assert_eq!(view.kind(), Some(Kind::Error));
    assert_eq!(view.quoted(), Some((Protocol::Udp, endpoint("198.18.1.1:50000"), endpoint("198.18.2.1:7"))));
    view.translate_error_inward(endpoint("192.168.1.2:40001"));
    assert_eq!(view.quoted().map(|quoted| quoted.1), Some(endpoint("192.168.1.2:40001")));
    assert_eq!((checksum(&error[..20]), checksum(&error[20..]), checksum(&error[28..48])), (0, 0, 0));
    assert_eq!(address(&error, 16), Ipv4Addr::new(192, 168, 1, 2));
    let mut error = fragmentation_needed(&original, Ipv4Addr::new(198, 18, 0, 1), 1280).expect("an error");
    assert_eq!((error[20], error[21], word(&error, 26), checksum(&error[20..])), (3, 4, 1280, 0));
    assert_eq!(Ipv4::parse(&mut error).expect("a packet").kind(), Some(Kind::Error));
}
