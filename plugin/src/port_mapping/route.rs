//! The way to the machine's router.

use std::net::Ipv4Addr;

/// This is where the router is, and from which address it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// This machine has this address on that network.
    pub(crate) local: Ipv4Addr,
    /// The router has this address in this network.
    pub(crate) gateway: Ipv4Addr,
}

/// Finds the router by the interface with the default route, or by the one that has `bind`.
pub(crate) fn find(bind: Option<Ipv4Addr>) -> Option<Route> {
    let interfaces = netdev::get_interfaces();
    let interface = interfaces.iter().find(|interface| match bind {
        Some(bind) => interface.ipv4.iter().any(|net| net.addr() == bind),
        None => interface.default,
    })?;
    let gateway = *interface.gateway.as_ref()?.ipv4.first()?;
    let nets = &interface.ipv4;
    let local = bind
        .or_else(|| nets.iter().find(|net| net.contains(&gateway)).map(|net| net.addr()))
        .or_else(|| nets.first().map(|net| net.addr()))?;
    (!gateway.is_unspecified() && !gateway.is_loopback()).then_some(Route { local, gateway })
}
