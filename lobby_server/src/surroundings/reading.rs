//! Asks the system for the machine's place in its network: the one thing here that is not a part of the core.

use std::net::IpAddr;

use super::Surroundings;

impl Surroundings {
    /// Reads them from the system. What the system does not say is left out.
    pub fn read() -> Self {
        let interfaces = netdev::get_interfaces();
        let sorted = |mut ips: Vec<IpAddr>| {
            ips.sort_unstable();
            ips.dedup();
            ips
        };
        let gateways = interfaces.iter().filter_map(|interface| interface.gateway.as_ref());
        let addresses = |gateway: &netdev::NetworkDevice| -> Vec<IpAddr> {
            let v4 = gateway.ipv4.iter().copied().map(IpAddr::V4);
            v4.chain(gateway.ipv6.iter().copied().map(IpAddr::V6)).collect()
        };
        let doors = interfaces.iter().filter(|one| !one.is_loopback() && !one.ip_addrs().is_empty()).count();
        Self {
            gateways: sorted(gateways.flat_map(addresses).filter(|ip| !ip.is_unspecified()).collect()),
            own: sorted(interfaces.iter().flat_map(|interface| interface.ip_addrs()).collect()),
            // With the host's network a container sees the host's interfaces, Docker's bridge among them.
            container: doors == 1 && is_container(),
        }
    }
}

/// Returns whether this runs in a container: Docker and Podman leave a mark (`/.dockerenv`, `/run/.containerenv`).
fn is_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| std::path::Path::new(mark).exists())
}
