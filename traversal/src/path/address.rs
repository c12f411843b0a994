//! What an address says about the way to it, and whether anything may be sent there.

use std::net::{IpAddr, SocketAddr};

use crate::api::PathKind;

/// What a path to this address is called.
pub(crate) fn kind_of(remote: SocketAddr, lan: bool) -> PathKind {
    if lan && is_local(remote.ip()) {
        PathKind::Lan
    } else if remote.is_ipv6() {
        PathKind::DirectV6
    } else {
        PathKind::Direct
    }
}

/// Private, link-local, unique-local or loopback: never a destination without the same-NAT bit.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64; // RFC 6598
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// An address that one may send to at all.
pub fn is_sendable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}
