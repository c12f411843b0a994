//! The networks that this machine's interfaces are in, and the way to a player there where the system's routes lead
//! elsewhere: a VPN may have the addresses of the network at home for itself, and takes its datagrams then.
//!
//! IPv4 alone: networks at home give the same few ranges to everybody (RFC 1918, section 3), so that two of them clash;
//! IPv6 addresses are one home's own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use traversal_udp::{Episode, Origin};

use crate::interfaces::{self, OwnNetwork};

/// A look at the routes to one address is good for this long.
const LOOK_PERIOD: Duration = Duration::from_secs(5);
/// The routes of at most this many addresses are remembered; players name them.
const MAX_REMEMBERED: usize = 64;

/// This knows the ways to players in this machine's own networks.
#[derive(Debug, Default)]
pub(crate) struct OwnNetworks {
    networks: Vec<OwnNetwork>,
    looked_up: HashMap<Ipv4Addr, (Instant, Origin)>,
    /// This notes players to whom a route would have led away.
    led_away: Episode,
}

impl OwnNetworks {
    /// Takes the networks that the interfaces are in now.
    pub(crate) fn set(&mut self, networks: Vec<OwnNetwork>) {
        self.networks = networks;
        self.looked_up.clear();
    }

    /// Returns where a datagram to `to` should leave.
    pub(crate) fn origin(&mut self, now: Instant, to: SocketAddr) -> Origin {
        self.origin_by(now, to, interfaces::source)
    }

    /// Does the same; `source` is the address that the system's routes give a datagram to there.
    fn origin_by(
        &mut self,
        now: Instant,
        to: SocketAddr,
        source: impl Fn(SocketAddr) -> Option<IpAddr>,
    ) -> Origin {
        let IpAddr::V4(ip) = to.ip() else { return Origin::System };
        if !self.networks.iter().any(|network| network.net.contains(&ip)) {
            return Origin::System;
        }
        if let Some((at, origin)) = self.looked_up.get(&ip)
            && now < *at + LOOK_PERIOD
        {
            return *origin;
        }
        // Where the system lets nothing out, that is meant so.
        let origin = source(to).map_or(Origin::System, |source| self.correct(ip, source));
        if let Origin::Interface { address, .. } = origin
            && self.led_away.begins(now)
        {
            bevy_log::info!(
                "the system's routes lead to {ip} elsewhere (a VPN has these addresses for itself): datagrams to the own \
                 network leave by the interface with {address}"
            );
        }
        if self.looked_up.len() >= MAX_REMEMBERED {
            self.looked_up.clear();
        }
        self.looked_up.insert(ip, (now, origin));
        origin
    }

    /// Returns the interface in the network of `ip`, unless the routes choose one such themselves, by its address
    /// `source`.
    fn correct(&self, ip: Ipv4Addr, source: IpAddr) -> Origin {
        let mut there: Vec<_> = self.networks.iter().filter(|network| network.net.contains(&ip)).collect();
        if there.iter().any(|network| source == network.net.addr()) || source == ip {
            return Origin::System;
        }
        there.sort_by_key(|network| std::cmp::Reverse(network.net.prefix_len()));
        there.first().map_or(Origin::System, |network| Origin::Interface {
            address: network.net.addr(),
            index: network.index,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn network(net: &str, index: u32) -> OwnNetwork {
        OwnNetwork { net: net.parse().unwrap(), index }
    }

    fn own(networks: &[OwnNetwork]) -> OwnNetworks {
        let mut own = OwnNetworks::default();
        own.set(networks.to_vec());
        own
    }

    fn to(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 4000)
    }

    /// WireGuard with `AllowedIPs = 192.168.1.0/24`, on a machine whose Wi-Fi is such a network, too.
    #[test]
    fn a_vpn_that_takes_the_addresses_of_the_network_at_home_does_not_take_its_players() {
        let mut own = own(&[network("192.168.1.20/24", 3)]);
        let (now, vpn) = (Instant::now(), |_| Some("10.8.0.2".parse().unwrap()));
        let wifi = Origin::Interface { address: Ipv4Addr::new(192, 168, 1, 20), index: 3 };
        assert_eq!(own.origin_by(now, to("192.168.1.7"), vpn), wifi);
        for elsewhere in ["192.168.2.7", "203.0.113.9", "2001:db8::1"] {
            assert_eq!(own.origin_by(now, to(elsewhere), vpn), Origin::System, "{elsewhere}");
        }
    }

    #[test]
    fn the_routes_choice_among_own_networks_and_of_no_way_out_stands() {
        // A cable and Wi-Fi at one router.
        let mut own = own(&[network("192.168.1.20/24", 3), network("192.168.1.21/24", 4)]);
        let now = Instant::now();
        let by = |source: Option<&str>| {
            let source: Option<IpAddr> = source.map(|text| text.parse().unwrap());
            move |_| source
        };
        assert_eq!(own.origin_by(now, to("192.168.1.7"), by(Some("192.168.1.21"))), Origin::System);
        assert_eq!(own.origin_by(now, to("192.168.1.8"), by(None)), Origin::System, "a firewall's route");
        assert_eq!(
            own.origin_by(now, to("192.168.1.20"), by(Some("192.168.1.20"))),
            Origin::System,
            "itself"
        );
    }

    #[test]
    fn the_nearest_network_counts_and_a_look_at_the_routes_holds_five_seconds() {
        let mut own = own(&[network("10.0.0.5/8", 2), network("10.1.2.5/24", 3)]);
        let (now, looks) = (Instant::now(), Cell::new(0));
        let vpn = |_| {
            looks.set(looks.get() + 1);
            Some("172.16.0.2".parse().unwrap())
        };
        let near = Origin::Interface { address: Ipv4Addr::new(10, 1, 2, 5), index: 3 };
        assert_eq!(own.origin_by(now, to("10.1.2.9"), vpn), near);
        assert_eq!(own.origin_by(now + LOOK_PERIOD / 2, to("10.1.2.9"), vpn), near);
        assert_eq!(looks.get(), 1);
        assert_eq!(own.origin_by(now + LOOK_PERIOD, to("10.1.2.9"), vpn), near);
        assert_eq!(looks.get(), 2);
        for last in 0..200 {
            own.origin_by(now, to(&format!("10.1.2.{last}")), vpn);
        }
        assert!(own.looked_up.len() <= MAX_REMEMBERED);
        own.set(Vec::new());
        assert_eq!(own.origin_by(now, to("10.1.2.9"), vpn), Origin::System, "the interface is gone");
    }
}
