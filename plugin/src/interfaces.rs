//! The machine's own addresses, in the order in which other players are likely to reach it there: the server takes only so
//! many of them (M28).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use mio::Waker;
use netdev::ipnet::Ipv4Net;
use traversal_core::address::{Scope, scope};
use traversal_core::wire::message::MAX_LOCAL_ADDRESSES;

/// This says by which network interfaces players in the same network may reach this machine: their addresses are told to
/// the lobby server and to the players of a match. What goes over the internet leaves by the system's routes all the
/// same; [`TraversalConfig::bind`](crate::TraversalConfig::bind) keeps the whole plugin to one interface.
///
/// A name is the one that the system shows (`ip link`, `ipconfig`, `ifconfig`), in upper or lower case; with `*` at its
/// end it stands for all that begin so. A name that fits nothing does nothing.
///
/// ```
/// use bevy_traversal::Interfaces;
///
/// let played_over_zerotier = Interfaces::Only(vec!["zt*".into()]);
/// let never_over_the_dock = Interfaces::Except(vec!["enp0s13f0u1".into(), "Ethernet 3".into()]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// All that are up, the default route's first, then cables and Wi-Fi, then VPNs; those that lead to machines within
    /// this one (Docker, VirtualBox, ...) where there is nothing else. Eight addresses are told at the most.
    #[default]
    Automatic,
    /// These alone, in this order, whatever they lead to.
    Only(Vec<String>),
    /// All but these, in the order of [`Automatic`](Self::Automatic).
    Except(Vec<String>),
}

impl Interfaces {
    /// Returns the place of an interface of this name among those that are allowed, the first one lowest; none: it is not
    /// allowed.
    fn place(&self, name: &str) -> Option<usize> {
        let name = name.to_lowercase();
        let fits = |pattern: &String| {
            let pattern = pattern.to_lowercase();
            pattern.strip_suffix('*').map_or(name == pattern, |beginning| name.starts_with(beginning))
        };
        match self {
            Self::Automatic => Some(0),
            Self::Only(names) => names.iter().position(fits),
            Self::Except(names) => (!names.iter().any(fits)).then_some(0),
        }
    }

    /// Returns whether an interface of this name may stand for a network in which other players sit.
    fn is_network(&self, name: &str) -> bool {
        let named = matches!(self, Self::Only(_));
        self.place(name).is_some() && (named || leads(name) == Leads::On)
    }
}

/// This is what the machine's interfaces have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Local {
    /// These are the addresses that another player may reach, the likeliest first.
    pub(crate) addresses: Vec<IpAddr>,
    /// These are the networks in which other players may sit.
    pub(crate) networks: Vec<OwnNetwork>,
}

/// This is a network that an interface of this machine is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnNetwork {
    /// This is the interface's address there, and how many bits of it are the network's.
    pub(crate) net: Ipv4Net,
    /// The system knows the interface by this number.
    pub(crate) index: u32,
}

/// Looks at the machine's interfaces until told to stop.
pub(crate) fn watch(
    interfaces: &Interfaces,
    v6: bool,
    period: Duration,
    local: &Sender<Local>,
    stopped: &Receiver<()>,
    waker: &Waker,
) {
    let mut last = None;
    loop {
        match local_ip_address::list_afinet_netifas() {
            Ok(all) => {
                let up = all.into_iter().filter(|(name, _)| !is_down(name));
                let now = Local {
                    addresses: usable(interfaces, up, &of_default_routes(), v6),
                    networks: networks(interfaces),
                };
                // A full channel means that the driver is behind: the next look tells it.
                if last.as_ref() != Some(&now) && local.try_send(now.clone()).is_ok() {
                    last = Some(now);
                    let _ = waker.wake();
                }
            }
            Err(error) => bevy_log::debug!("cannot list the network interfaces: {error}"),
        }
        if !matches!(stopped.recv_timeout(period), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

/// This is what an interface leads to, the likeliest first. Systems tell it by names alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leads {
    /// It leads to the internet and the network at home: the default route.
    Out,
    /// It leads to some network beside that of the default route.
    On,
    /// It leads to those who are in the same virtual private network.
    Through,
    /// It leads to machines that run inside this one.
    Inside,
}

/// These are beginnings of interfaces' names: bridges of Docker, Podman, Kubernetes, libvirt, LXC, VMware, VirtualBox,
/// Hyper-V and macOS.
const INSIDE: [&str; 18] = [
    "br-",
    "docker",
    "podman",
    "cni",
    "flannel",
    "cali",
    "kube",
    "virbr",
    "vnet",
    "veth",
    "lxc",
    "lxd",
    "vmnet",
    "vboxnet",
    "virtualbox",
    "vmware",
    "bridge",
    "vmenet",
];
/// These are beginnings of interfaces' names: tunnels of OpenVPN, WireGuard, Tailscale, ZeroTier, Nebula, Hamachi,
/// IPsec and macOS.
const THROUGH: [&str; 14] = [
    "tun",
    "tap",
    "utun",
    "wg",
    "wireguard",
    "nordlynx",
    "proton",
    "tailscale",
    "zt",
    "zerotier",
    "nebula",
    "ham",
    "ipsec",
    "openvpn",
];

fn leads(name: &str) -> Leads {
    let name = name.to_lowercase();
    let begins = |names: &[&str]| names.iter().any(|beginning| name.starts_with(beginning));
    if begins(&INSIDE) {
        Leads::Inside
    } else if begins(&THROUGH) || name.contains("vpn") {
        Leads::Through
    } else {
        Leads::On
    }
}

/// Ranks addresses of one kind, the likeliest lowest: a public one, then those that home routers give.
fn likelihood(ip: IpAddr) -> u8 {
    match (scope(ip), ip) {
        (Scope::Global, _) => 0,
        (Scope::Private, IpAddr::V4(v4)) => match v4.octets()[0] {
            192 => 1,
            10 => 2,
            _ => 3,
        },
        _ => 4,
    }
}

/// Returns the addresses that leave by the default routes.
fn of_default_routes() -> Vec<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849), to which no network has a route of its own.
    let far: [IpAddr; 2] =
        [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
    far.into_iter().filter_map(|far| source(SocketAddr::new(far, 9))).collect()
}

/// Returns the address of this machine that the system's routes give a datagram to there. None: they let nothing out.
/// Nothing is sent: a connected UDP socket has only looked the route up.
pub(crate) fn source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Returns the addresses at which players in the same network may reach this machine, the likeliest first.
#[cfg(feature = "lan")]
pub(crate) fn addresses(allowed: &Interfaces, v6: bool) -> Vec<IpAddr> {
    let all = local_ip_address::list_afinet_netifas().unwrap_or_default();
    usable(allowed, all.into_iter().filter(|(name, _)| !is_down(name)), &of_default_routes(), v6)
}

/// Returns the IPv4 networks in which other players may sit, by the interfaces that are up; unless they are named, not
/// those of VPNs, and not those inside this machine.
pub(crate) fn networks(allowed: &Interfaces) -> Vec<OwnNetwork> {
    of_scopes(allowed, &[Scope::Private, Scope::Shared])
}

/// Returns these, and those in which machines gave themselves addresses because nobody gives any (RFC 3927): two laptops and a
/// cable.
#[cfg(feature = "lan")]
pub(crate) fn networks_of_any_kind(allowed: &Interfaces) -> Vec<OwnNetwork> {
    of_scopes(allowed, &[Scope::Private, Scope::Shared, Scope::LinkLocal])
}

fn of_scopes(allowed: &Interfaces, scopes: &[Scope]) -> Vec<OwnNetwork> {
    let up = netdev::get_interfaces()
        .into_iter()
        .filter(|interface| interface.is_up() && !interface.is_point_to_point());
    let outside = up.filter(|interface| {
        let name = interface.friendly_name.as_ref().unwrap_or(&interface.name);
        allowed.is_network(name)
    });
    outside
        .flat_map(|interface| interface.ipv4.into_iter().map(move |net| (net, interface.index)))
        .filter(|(net, _)| scopes.contains(&scope(net.addr().into())))
        .map(|(net, index)| OwnNetwork { net, index })
        .collect()
}

/// Returns whether the system says that nothing is plugged in or running there, as at a bridge without machines.
fn is_down(name: &str) -> bool {
    cfg!(any(target_os = "linux", target_os = "android"))
        && std::fs::read_to_string(format!("/sys/class/net/{name}/operstate"))
            .is_ok_and(|state| matches!(state.trim(), "down" | "lowerlayerdown" | "notpresent"))
}

/// Returns the addresses that another player may reach, those of the default routes first: not loopback, and not
/// link-local, which needs a scope that the other side cannot know. What leads to machines inside this one is left
/// out where there is anything else.
fn usable(
    allowed: &Interfaces,
    interfaces: impl IntoIterator<Item = (String, IpAddr)>,
    default: &[IpAddr],
    v6: bool,
) -> Vec<IpAddr> {
    let mut usable: Vec<(usize, Leads, u8, IpAddr)> = interfaces
        .into_iter()
        .filter_map(|(name, ip)| Some((allowed.place(&name)?, leads(&name), ip.to_canonical())))
        .filter(|(.., ip)| v6 || ip.is_ipv4())
        .filter(|(.., ip)| !matches!(scope(*ip), Scope::Loopback | Scope::LinkLocal | Scope::Unspecified))
        .map(|(place, leads, ip)| {
            (place, if default.contains(&ip) { Leads::Out } else { leads }, likelihood(ip), ip)
        })
        .collect();
    usable.sort_unstable();
    let named = matches!(allowed, Interfaces::Only(_));
    if !named && usable.first().is_some_and(|(_, leads, ..)| *leads != Leads::Inside) {
        usable.retain(|(_, leads, ..)| *leads != Leads::Inside);
    }
    let mut addresses: Vec<IpAddr> = usable.into_iter().map(|(.., ip)| ip).collect();
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|ip| seen.insert(*ip));
    addresses.truncate(MAX_LOCAL_ADDRESSES);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(interfaces: &[(&str, &str)], default: &[&str], v6: bool) -> Vec<String> {
        allowed_of(&Interfaces::Automatic, interfaces, default, v6)
    }

    fn allowed_of(
        allowed: &Interfaces,
        interfaces: &[(&str, &str)],
        default: &[&str],
        v6: bool,
    ) -> Vec<String> {
        let ip = |text: &&str| text.parse::<IpAddr>().unwrap();
        let interfaces = interfaces.iter().map(|(name, text)| ((*name).to_owned(), ip(text)));
        let default: Vec<IpAddr> = default.iter().map(ip).collect();
        usable(allowed, interfaces, &default, v6).iter().map(ToString::to_string).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn interfaces_are_named_in_their_order_or_left_out() {
        let interfaces = [
            ("eth0", "192.168.1.2"),
            ("Ethernet 3", "192.168.9.2"),
            ("zt7nnig26", "10.147.17.5"),
            ("docker0", "172.17.0.1"),
        ];
        let only =
            |list: &[&str]| allowed_of(&Interfaces::Only(names(list)), &interfaces, &["192.168.1.2"], false);
        assert_eq!(only(&["zt*", "eth0"]), ["10.147.17.5", "192.168.1.2"], "in the order of the names");
        assert_eq!(only(&["docker0", "eth0"]), ["172.17.0.1", "192.168.1.2"], "whatever they lead to");
        assert_eq!(only(&["eth"]), [""; 0], "the beginning of a name is no name");
        assert_eq!(only(&[]), [""; 0], "no address is told");

        let except = Interfaces::Except(names(&["ethernet 3", "zt*"]));
        assert_eq!(allowed_of(&except, &interfaces, &["192.168.1.2"], false), ["192.168.1.2"]);
        let home = Interfaces::Except(names(&["eth*", "zt*"]));
        assert_eq!(allowed_of(&home, &interfaces, &[], false), ["172.17.0.1"], "there is nothing else");
    }

    #[test]
    fn the_network_of_a_vpn_counts_where_it_is_named() {
        assert!(Interfaces::Automatic.is_network("eth0") && !Interfaces::Automatic.is_network("wg0"));
        assert!(Interfaces::Only(names(&["wg0"])).is_network("wg0"));
        assert!(!Interfaces::Only(names(&["wg0"])).is_network("eth0"));
        assert!(!Interfaces::Except(names(&["eth0"])).is_network("eth0"));
        assert!(!Interfaces::Except(names(&["eth0"])).is_network("wg0"));
    }

    #[test]
    fn loopback_and_link_local_addresses_are_not_given_out() {
        let interfaces = [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth0", "fe80::1"),
            ("eth0", "169.254.1.1"),
            ("eth0", "192.168.1.2"),
            ("eth0", "2001:db8::1"),
        ];
        assert_eq!(of(&interfaces, &[], false), ["192.168.1.2"]);
        assert_eq!(of(&interfaces, &[], true).len(), 2);
    }

    #[test]
    fn nine_bridges_do_not_hide_the_network_at_home() {
        let bridges: Vec<(String, String)> =
            (17..26).map(|n| (format!("br-{n:012x}"), format!("172.{n}.0.1"))).collect();
        let mut interfaces: Vec<(&str, &str)> =
            bridges.iter().map(|(name, ip)| (name.as_str(), ip.as_str())).collect();
        interfaces.push(("wlan0", "192.168.178.20"));
        assert_eq!(of(&interfaces, &["192.168.178.20"], true), ["192.168.178.20"]);
        assert_eq!(of(&interfaces, &[], true), ["192.168.178.20"], "without a default route neither");
        assert_eq!(of(&interfaces[..9], &[], true).len(), MAX_LOCAL_ADDRESSES, "where there is nothing else");
    }

    #[test]
    fn the_default_route_comes_first_and_tunnels_last() {
        let interfaces = [
            ("tailscale0", "100.64.3.4"),
            ("wg0", "10.0.0.2"),
            ("eth1", "10.1.0.2"),
            ("eth0", "192.168.1.2"),
            ("Wi-Fi", "172.20.10.3"),
            ("eth0", "2001:db8:1::2"),
            ("vEthernet (WSL)", "172.28.0.1"),
        ];
        // A phone's hotspot, beside a network without a way out.
        assert_eq!(
            of(&interfaces, &["172.20.10.3", "2001:db8:1::2"], true),
            ["2001:db8:1::2", "172.20.10.3", "192.168.1.2", "10.1.0.2", "10.0.0.2", "100.64.3.4"]
        );
        // All traffic goes through the tunnel; the network at home is still there.
        assert_eq!(of(&interfaces, &["10.0.0.2"], false)[..2], ["10.0.0.2", "192.168.1.2"]);
        // A bridge may be this machine's door.
        let bridged = [("br0", "192.168.1.9"), ("br-lan", "192.168.2.1")];
        assert_eq!(of(&bridged, &["192.168.2.1"], false), ["192.168.2.1", "192.168.1.9"]);
    }

    #[test]
    fn an_interface_that_is_not_there_is_not_down_and_routes_are_looked_up_without_sending() {
        assert!(!is_down("no-such-interface") && !is_down("lo"));
        assert!(of_default_routes().iter().all(|ip| scope(*ip) != Scope::Unspecified));
    }
}
