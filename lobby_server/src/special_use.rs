//! Addresses that the internet does not route: those of IANA's registries of special-purpose addresses.
//!
//! It is about what a person is told. In laboratories such addresses stand for the internet, so what players are told of
//! each other does not go by this.

use std::net::IpAddr;

/// A block of addresses, and what it is for; `None` within a wider block: the internet does route this part of it.
type Block = (&'static str, u8, Option<&'static str>);

/// What is not "globally reachable" in IANA's registry of IPv4 (iana-ipv4-special-registry, of 2024-10), and what names
/// many machines (RFC 5771).
const V4: &[Block] = &[
    ("0.0.0.0", 8, Some("\"this network\" (RFC 791)")),
    ("10.0.0.0", 8, Some("private (RFC 1918)")),
    ("100.64.0.0", 10, Some("shared behind a carrier's NAT (RFC 6598)")),
    ("127.0.0.0", 8, Some("loopback (RFC 1122)")),
    ("169.254.0.0", 16, Some("link-local (RFC 3927)")),
    ("172.16.0.0", 12, Some("private (RFC 1918)")),
    ("192.0.0.0", 24, Some("for protocols (RFC 6890)")),
    ("192.0.0.9", 32, None),
    ("192.0.0.10", 32, None),
    ("192.0.2.0", 24, Some("for documentation (RFC 5737)")),
    ("192.88.99.0", 24, Some("6to4 relays, given up (RFC 7526)")),
    ("192.168.0.0", 16, Some("private (RFC 1918)")),
    ("198.18.0.0", 15, Some("for benchmarks (RFC 2544)")),
    ("198.51.100.0", 24, Some("for documentation (RFC 5737)")),
    ("203.0.113.0", 24, Some("for documentation (RFC 5737)")),
    ("224.0.0.0", 4, Some("multicast (RFC 5771)")),
    ("240.0.0.0", 4, Some("reserved (RFC 1112)")),
];

/// The same of IPv6 (iana-ipv6-special-registry, of 2024-10; multicast by RFC 4291).
const V6: &[Block] = &[
    ("::", 128, Some("unspecified (RFC 4291)")),
    ("::1", 128, Some("loopback (RFC 4291)")),
    ("64:ff9b:1::", 48, Some("for local translation (RFC 8215)")),
    ("100::", 64, Some("discarded (RFC 6666)")),
    ("100:0:0:1::", 64, Some("a dummy prefix (RFC 9780)")),
    ("2001::", 23, Some("for protocols (RFC 2928)")),
    ("2001::", 32, Some("Teredo (RFC 4380)")),
    ("2001:1::1", 128, None),
    ("2001:1::2", 128, None),
    ("2001:1::3", 128, None),
    ("2001:2::", 48, Some("for benchmarks (RFC 5180)")),
    ("2001:3::", 32, None),
    ("2001:4:112::", 48, None),
    ("2001:10::", 28, Some("ORCHID, given up (RFC 4843)")),
    ("2001:20::", 28, None),
    ("2001:30::", 28, None),
    ("2001:db8::", 32, Some("for documentation (RFC 3849)")),
    ("2002::", 16, Some("6to4 (RFC 3056)")),
    ("3fff::", 20, Some("for documentation (RFC 9637)")),
    ("5f00::", 16, Some("segments of routes (RFC 9602)")),
    ("fc00::", 7, Some("unique local (RFC 4193)")),
    ("fe80::", 10, Some("link-local (RFC 4291)")),
    ("ff00::", 8, Some("multicast (RFC 4291)")),
];

/// Returns what this address is set aside for; `None`: the internet routes it. The narrowest block counts.
pub(crate) fn special_use(ip: IpAddr) -> Option<&'static str> {
    let ip = ip.to_canonical();
    let (blocks, width) = if ip.is_ipv4() { (V4, 32) } else { (V6, 128) };
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let inside = |(network, length, _): &&Block| {
        let network: Option<IpAddr> = network.parse().ok();
        network.is_some_and(|network| {
            (bits(network) ^ bits(ip)).checked_shr(width - u32::from(*length)).unwrap_or(0) == 0
        })
    };
    blocks.iter().filter(inside).max_by_key(|(_, length, _)| *length).and_then(|(_, _, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_told_from_its_neighbours() {
        for (text, special) in [
            ("192.0.2.2", "documentation"),
            ("::ffff:192.0.2.2", "documentation"),
            ("198.51.100.255", "documentation"),
            ("203.0.113.0", "documentation"),
            ("198.19.255.255", "benchmarks"),
            ("0.1.2.3", "this network"),
            ("10.255.0.1", "private"),
            ("100.127.0.1", "carrier"),
            ("127.9.9.9", "loopback"),
            ("169.254.1.1", "link-local"),
            ("172.31.0.1", "private"),
            ("192.0.0.8", "protocols"),
            ("192.88.99.1", "6to4"),
            ("192.168.0.1", "private"),
            ("239.0.0.1", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("64:ff9b:1::7", "translation"),
            ("100::1", "discarded"),
            ("2001::7", "Teredo"),
            ("2001:2::7", "benchmarks"),
            ("2001:db8::1", "documentation"),
            ("2001:1ff::1", "protocols"),
            ("2002:102:304::1", "6to4"),
            ("3fff:fff::1", "documentation"),
            ("5f00::1", "segments"),
            ("fd00::1", "unique local"),
            ("fe80::1", "link-local"),
            ("ff02::1", "multicast"),
        ] {
            let said = special_use(text.parse().unwrap());
            assert!(said.is_some_and(|said| said.contains(special)), "{text}: {said:?}");
        }
        for text in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.0.9",
            "192.0.1.1",
            "192.0.3.1",
            "192.31.196.1",
            "198.17.0.1",
            "198.20.0.1",
            "203.0.114.1",
            "223.255.255.1",
            "64:ff9b::102:304",
            "2001:1::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:3::1",
            "2620:4f:8000::1",
            "2a00::1",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert_eq!(special_use(text.parse().unwrap()), None, "{text}");
        }
    }
}
