//! What an address is, said in one place for agent, server and plugin.

use std::net::{IpAddr, SocketAddr};

/// This says how far an address reaches. IPv4 addresses that are mapped into IPv6 are what they are in IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// It is no address of anybody: `0.0.0.0`, `::`.
    Unspecified,
    /// The address counts on this machine alone (RFC 1122, RFC 4291).
    Loopback,
    /// The address counts on this link alone: 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291).
    LinkLocal,
    /// The address counts on this site alone (RFC 1918).
    Private,
    /// It lies behind a carrier's NAT or in an overlay network: 100.64.0.0/10 (RFC 6598).
    Shared,
    /// The address counts on this site alone: fc00::/7 (RFC 4193).
    UniqueLocal,
    /// It names many machines at a time: RFC 5771, RFC 4291.
    Multicast,
    /// It names all machines on the link.
    Broadcast,
    /// The address is one of the internet, or of what is set aside for examples and measurements (RFC 5737, RFC
    /// 2544), which is routed like it where it is used at all.
    Global,
}

/// Tells in which part of the internet an address counts.
pub fn scope(ip: IpAddr) -> Scope {
    match ip.to_canonical() {
        IpAddr::V4(ip) => match ip.octets() {
            _ if ip.is_unspecified() => Scope::Unspecified,
            _ if ip.is_loopback() => Scope::Loopback,
            _ if ip.is_link_local() => Scope::LinkLocal,
            _ if ip.is_private() => Scope::Private,
            [100, second, ..] if second & 0xc0 == 64 => Scope::Shared,
            _ if ip.is_multicast() => Scope::Multicast,
            _ if ip.is_broadcast() => Scope::Broadcast,
            _ => Scope::Global,
        },
        IpAddr::V6(ip) => match ip {
            _ if ip.is_unspecified() => Scope::Unspecified,
            _ if ip.is_loopback() => Scope::Loopback,
            _ if ip.is_unicast_link_local() => Scope::LinkLocal,
            _ if ip.is_unique_local() => Scope::UniqueLocal,
            _ if ip.is_multicast() => Scope::Multicast,
            _ => Scope::Global,
        },
    }
}

/// Returns whether the address counts on this machine, link or site only: such a one is never a destination without
/// the same-NAT bit.
pub fn is_local(ip: IpAddr) -> bool {
    scope(ip) == Scope::Loopback || is_site(ip)
}

/// Returns whether the address counts on this link or site only, but not on this machine alone.
pub fn is_site(ip: IpAddr) -> bool {
    matches!(scope(ip), Scope::LinkLocal | Scope::Private | Scope::Shared | Scope::UniqueLocal)
}

/// Returns whether one may send to this address at all.
pub fn is_sendable(address: SocketAddr) -> bool {
    let nobody = matches!(scope(address.ip()), Scope::Unspecified | Scope::Multicast | Scope::Broadcast);
    address.port() != 0 && !nobody
}

/// The same address as an IPv4 one, if it is one that is mapped into IPv6 (RFC 4291 section 2.5.5.2): sockets of that family
/// reach it, and so it is compared. To be done where an address comes in, from a name or from a user.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_is_told_in_either_form() {
        for (text, expected) in [
            ("0.0.0.0", Scope::Unspecified),
            ("127.0.0.1", Scope::Loopback),
            ("127.255.0.9", Scope::Loopback),
            ("169.254.3.4", Scope::LinkLocal),
            ("10.0.0.1", Scope::Private),
            ("172.16.0.1", Scope::Private),
            ("172.31.255.255", Scope::Private),
            ("172.32.0.1", Scope::Global),
            ("192.168.9.9", Scope::Private),
            ("100.63.255.255", Scope::Global),
            ("100.64.0.0", Scope::Shared),
            ("100.127.255.255", Scope::Shared),
            ("100.128.0.0", Scope::Global),
            ("224.0.0.1", Scope::Multicast),
            ("239.255.255.250", Scope::Multicast),
            ("255.255.255.255", Scope::Broadcast),
            ("192.0.2.1", Scope::Global),
            ("198.18.0.1", Scope::Global),
            ("8.8.8.8", Scope::Global),
        ] {
            let v4: std::net::Ipv4Addr = text.parse().unwrap();
            assert_eq!(scope(v4.into()), expected, "{text}");
            assert_eq!(scope(v4.to_ipv6_mapped().into()), expected, "::ffff:{text}");
        }
        for (text, expected) in [
            ("::", Scope::Unspecified),
            ("::1", Scope::Loopback),
            ("fe80::1", Scope::LinkLocal),
            ("febf::1", Scope::LinkLocal),
            ("fc00::1", Scope::UniqueLocal),
            ("fd12::1", Scope::UniqueLocal),
            ("ff02::1", Scope::Multicast),
            ("2001:db8::1", Scope::Global),
        ] {
            assert_eq!(scope(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_one_host_is_not_sent_to_and_shared_space_is_local() {
        for text in ["0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "8.8.8.8:0", "[ff02::1]:1", "[::]:1"] {
            assert!(!is_sendable(text.parse().unwrap()), "{text}");
        }
        assert!(is_sendable("100.64.0.1:1".parse().unwrap()));
        let local = ["127.0.0.1", "100.64.0.1", "10.1.1.1", "fd00::1", "fe80::1", "::1", "::ffff:100.64.0.1"];
        assert!(local.iter().all(|text| is_local(text.parse().unwrap())));
        assert!(!is_site("127.0.0.1".parse().unwrap()) && !is_local("8.8.8.8".parse().unwrap()));
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:7".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:7".parse().unwrap());
        let real: SocketAddr = "[2001:db8::1]:7".parse().unwrap();
        assert_eq!(canonical(real), real);
    }

    #[test]
    fn a_server_that_is_named_by_a_mapped_address_is_reached_from_the_ipv4_socket() {
        use crate::{Agent, AgentConfig, Command, Identity, Output, SocketId};
        let main = "0.0.0.0:4000".parse().unwrap();
        let mut agent =
            Agent::new(AgentConfig::default(), Identity::from_secret([7; 32]), [9; 32], (main, None));
        let mapped = "[::ffff:198.51.100.1]:3478".parse().unwrap();
        agent.handle_command(std::time::Instant::now(), Command::Connect(vec![mapped]));
        let Some(Output::Transmit(hello)) = agent.poll_output() else { panic!("no hello") };
        assert_eq!((hello.socket, hello.to), (SocketId::MAIN, "198.51.100.1:3478".parse().unwrap()));
    }
}
