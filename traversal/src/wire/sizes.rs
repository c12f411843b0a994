//! How long datagrams may be, in bytes behind the headers of IP and UDP. Everything else that bounds a datagram follows from
//! these.

/// An IP packet in an Ethernet frame has so many bytes at the most (RFC 894): hardly any way through the internet takes
/// more.
const ETHERNET: usize = 1500;
/// The headers of IPv4, without options (RFC 791), and UDP (RFC 768) have so many bytes.
const IPV4_UDP: usize = 20 + 8;
/// The headers of IPv6 (RFC 8200) and UDP have so many bytes.
const IPV6_UDP: usize = 40 + 8;

/// A datagram of any kind over IPv4 has at most this many bytes, a relay's header included; streams and the relay take
/// no longer one either.
pub const MAX_DATAGRAM: usize = ETHERNET - IPV4_UDP;
/// A datagram of any kind over IPv6 has at most this many bytes.
pub const MAX_DATAGRAM_V6: usize = ETHERNET - IPV6_UDP;
/// A way that is any good carries this much: what QUIC relies on (RFC 9000 section 14), so that hardly a network is without
/// it. It fits the least IPv6 packet that every link takes (1,280, RFC 8200 section 5).
pub const FULL_DATAGRAM: usize = 1200;
/// Every way carries this much: the IPv4 packet that each host must take (576, RFC 1122 section 3.3.2).
pub const LEAST_DATAGRAM: usize = 576 - IPV4_UDP;

/// A sealed datagram has this many bytes in front of what is sealed: its kind, the session or match, and the counter.
pub(super) const HEADER: usize = 1 + 8 + 8;
/// A seal ends with this many bytes of proof (RFC 8439 section 2.8).
pub(super) const TAG: usize = 16;
/// Sealing adds this many bytes to a frame or a game datagram: the header, one byte under the seal that says what it is, and the
/// proof.
pub const OVERHEAD: usize = HEADER + 1 + TAG;

const _: () = assert!(FULL_DATAGRAM + IPV6_UDP <= 1280);
