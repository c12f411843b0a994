//! What the server stands in, and what is wrong with that: something in front of it that hides where players come from, a
//! public address that it does not know, addresses that have changed.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use traversal_core::address::{Scope, scope};
use traversal_core::id::PlayerId;

use crate::matchmaking::{Reach, reach};

/// The last so many players tell where players come from.
const PLAYERS: usize = 16;
/// So many players at one address that is the server's own or its gateway's are too many: nobody plays there.
const AT_THE_DOOR: usize = 2;
/// So many at any other local address are too many, where nobody comes from elsewhere.
const AT_ONE_ADDRESS: usize = 8;
/// A change of addresses is shown for so long.
const CHANGE_SHOWN: Duration = Duration::from_secs(24 * 3600);

/// The machine's place in its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Addresses of its interfaces, loopback included, in order.
    pub own: Vec<IpAddr>,
    /// Routers that its default routes lead to, in order.
    pub gateways: Vec<IpAddr>,
    /// It is a container with a network of its own (Docker, Podman).
    pub container: bool,
}

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
        let of = |gateway: &netdev::NetworkDevice| -> Vec<IpAddr> {
            let v4 = gateway.ipv4.iter().copied().map(IpAddr::V4);
            v4.chain(gateway.ipv6.iter().copied().map(IpAddr::V6)).collect()
        };
        let doors = interfaces.iter().filter(|one| !one.is_loopback() && !one.ip_addrs().is_empty()).count();
        Self {
            gateways: sorted(gateways.flat_map(of).filter(|ip| !ip.is_unspecified()).collect()),
            own: sorted(interfaces.iter().flat_map(|interface| interface.ip_addrs()).collect()),
            // With the host's network a container sees the host's interfaces, Docker's bridge among them.
            container: doors == 1 && is_container(),
        }
    }

    /// What is wrong with this place whatever players come.
    pub fn findings(&self) -> Vec<Finding> {
        let container = self.outer().next().filter(|_| self.container);
        container.map(|own| Finding::Container { own }).into_iter().collect()
    }

    /// An address that players on the internet reach is on an interface.
    pub fn is_public(&self) -> bool {
        self.own.iter().any(|ip| reach(*ip) == Reach::Public)
    }

    /// An address of this family that players may reach the machine at: a public one, if there is any.
    pub(crate) fn reachable(&self, v6: bool) -> Option<IpAddr> {
        // Link-local addresses need a scope that the other side cannot know.
        let usable = |ip: &IpAddr| ip.is_ipv6() == v6 && (!v6 || scope(*ip) != Scope::LinkLocal);
        self.outer().filter(usable).min_by_key(|ip| (reach(*ip) != Reach::Public, *ip))
    }

    /// Addresses other than loopback.
    fn outer(&self) -> impl Iterator<Item = IpAddr> {
        self.own.iter().copied().filter(|ip| reach(*ip) != Reach::Loopback)
    }
}

/// Docker and Podman leave a mark (`/.dockerenv`, `/run/.containerenv`).
fn is_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| std::path::Path::new(mark).exists())
}

/// Something about the server's place that costs players, and what to do about it: see its `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// All of the last players come from one local address that is none of theirs.
    OneAddress {
        /// That address.
        address: IpAddr,
        /// How many players.
        players: usize,
    },
    /// Players come from the internet, and no address of this machine is a public one.
    PublicAddressUnknown {
        /// An address of this machine.
        own: IpAddr,
    },
    /// The server is in a container with a network of its own.
    Container {
        /// An address of the container.
        own: IpAddr,
    },
    /// The server is bound to an address that no interface has any more.
    AddressGone {
        /// That address.
        address: IpAddr,
    },
    /// The machine has other addresses than at the start.
    AddressesChanged {
        /// Those that it had.
        gone: Vec<IpAddr>,
        /// Those that it has got.
        new: Vec<IpAddr>,
    },
}

impl Finding {
    /// Names of all kinds, as in the metrics.
    pub const NAMES: [&'static str; 5] =
        ["one-address", "public-address-unknown", "container", "address-gone", "addresses-changed"];

    /// Its kind, one of [`NAMES`](Self::NAMES).
    pub fn name(&self) -> &'static str {
        Self::NAMES[match self {
            Self::OneAddress { .. } => 0,
            Self::PublicAddressUnknown { .. } => 1,
            Self::Container { .. } => 2,
            Self::AddressGone { .. } => 3,
            Self::AddressesChanged { .. } => 4,
        }]
    }

    /// Players suffer from it now.
    pub fn is_serious(&self) -> bool {
        matches!(self, Self::OneAddress { .. } | Self::AddressGone { .. })
    }
}

/// How to let the server see where players come from.
const CURE: &str = "Run it in the machine's own network: docker run --network host, podman run --network host, in \
                    Kubernetes hostNetwork: true or externalTrafficPolicy: Local. Where that cannot be: rootful Docker \
                    with \"userland-proxy\": false, rootless Docker with \
                    DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER=slirp4netns, Podman with --network \
                    slirp4netns:port_handler=slirp4netns or --network pasta; and no UDP load balancer that puts its own \
                    address in.";

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::OneAddress { address, players } => write!(
                f,
                "All of the last {players} players come from {address}, which is none of their own: a proxy or a NAT \
                 before this server hides where they are, so they can play over the relay alone. {CURE} If they are all in \
                 one network with this machine, and the router loops them back: give them the server's address in that \
                 network."
            ),
            Self::PublicAddressUnknown { own } => write!(
                f,
                "Players come from the internet, but this machine knows itself only as {own} (a cloud's 1:1 NAT, or a \
                 router that forwards the port), so it cannot tell players its address of the other family, nor STUN \
                 clients its second one. Give its public address with --public-address IP."
            ),
            Self::Container { own } => write!(
                f,
                "The server is in a container with a network of its own ({own}). Some of these hide where players come \
                 from, and the ones that do not still translate addresses. {CURE}"
            ),
            Self::AddressGone { address } => write!(
                f,
                "The server is bound to {address}, which no interface of this machine has any more: nobody reaches it \
                 there. Bind 0.0.0.0 and [::] (the default), which follow every change, or give the machine a fixed \
                 address; then start the server again."
            ),
            Self::AddressesChanged { gone, new } => {
                f.write_str("The addresses of this machine have changed")?;
                if !gone.is_empty() {
                    write!(f, "; gone: {}", list(gone))?;
                }
                if !new.is_empty() {
                    write!(f, "; new: {}", list(new))?;
                }
                f.write_str(
                    ". Players who know the server by a name find it again as soon as the name leads to the new address; \
                     a --public-address that was given has to be changed by hand.",
                )
            }
        }
    }
}

/// Where a player who has logged in comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// From the internet.
    Internet,
    /// From an address of its own: nothing stands between.
    Own,
    /// From a local address that is none of its own.
    Hidden(IpAddr),
}

/// Watches the machine's addresses, and where players come from.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    around: Surroundings,
    /// The last players, each once, the newest last.
    players: VecDeque<(PlayerId, Origin)>,
    changed: Option<(Instant, Finding)>,
}

impl Watch {
    /// The system's present word. True if the addresses are others than before.
    pub(crate) fn set(&mut self, now: Instant, around: Surroundings) -> bool {
        let before = std::mem::replace(&mut self.around, around);
        let without = |a: &Surroundings, b: &Surroundings| -> Vec<IpAddr> {
            a.outer().filter(|ip| !b.own.contains(ip)).collect()
        };
        let (gone, new) = (without(&before, &self.around), without(&self.around, &before));
        // The first word is no change.
        let changed = !before.own.is_empty() && (!gone.is_empty() || !new.is_empty());
        if changed {
            self.changed = Some((now, Finding::AddressesChanged { gone, new }));
        }
        changed
    }

    /// A player has proven to be at `seen`, and says that its interfaces have `local`.
    pub(crate) fn logged_in(&mut self, player: PlayerId, seen: IpAddr, local: impl Iterator<Item = IpAddr>) {
        let local: Vec<IpAddr> = local.collect();
        let origin = match reach(seen) {
            Reach::Public => Origin::Internet,
            // It does not say where it is, so nothing can be told.
            _ if local.is_empty() => return,
            // Who is on this machine has this machine's addresses.
            Reach::Loopback if local.iter().any(|ip| self.around.own.contains(ip)) => Origin::Own,
            Reach::Local if local.contains(&seen) => Origin::Own,
            _ => Origin::Hidden(seen),
        };
        self.players.retain(|(known, _)| *known != player);
        if self.players.len() >= PLAYERS {
            self.players.pop_front();
        }
        self.players.push_back((player, origin));
    }

    /// The one local address that all of the last players come from.
    fn one_address(&self) -> Option<Finding> {
        let Some((_, Origin::Hidden(address))) = self.players.back().copied() else { return None };
        let players = self.players.len();
        let door = self.around.own.contains(&address) || self.around.gateways.contains(&address);
        let enough = if door { AT_THE_DOOR } else { AT_ONE_ADDRESS };
        let all = self.players.iter().all(|(_, origin)| *origin == Origin::Hidden(address));
        (all && players >= enough).then_some(Finding::OneAddress { address, players })
    }

    /// What is wrong now. `bound` are the addresses that the server is bound to, `public` whether one was set that players
    /// know it by.
    pub(crate) fn findings(
        &self,
        now: Instant,
        bound: impl Iterator<Item = IpAddr>,
        public: bool,
    ) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.one_address().into_iter().collect();
        if findings.is_empty() {
            findings = self.around.findings();
        }
        if let Some(own) = self.around.outer().next() {
            let internet = self.players.iter().any(|(_, origin)| *origin == Origin::Internet);
            if internet && !public && !self.around.is_public() {
                findings.push(Finding::PublicAddressUnknown { own });
            }
        }
        // Where the system says nothing about its interfaces, nothing is missing among them.
        let mut gone: Vec<IpAddr> = bound
            .filter(|ip| !ip.is_unspecified() && reach(*ip) != Reach::Loopback)
            .filter(|ip| !self.around.own.is_empty() && !self.around.own.contains(ip))
            .collect();
        gone.sort_unstable();
        gone.dedup();
        findings.extend(gone.into_iter().map(|address| Finding::AddressGone { address }));
        if let Some((at, changed)) = &self.changed
            && now.saturating_duration_since(*at) < CHANGE_SHOWN
        {
            findings.push(changed.clone());
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| ip(text)).collect()
    }

    /// A machine with these addresses and this gateway.
    fn watch(own: &[&str], gateway: &str) -> Watch {
        let around = Surroundings { own: ips(own), gateways: vec![ip(gateway)], container: false };
        let mut watch = Watch::default();
        assert!(!watch.set(Instant::now(), around));
        watch
    }

    /// Players of these numbers come in from `seen`; `local` is the network that they are in.
    fn come(watch: &mut Watch, numbers: std::ops::Range<u8>, seen: &str, local: &str) {
        for number in numbers {
            let own = ip(&format!("{local}.{number}"));
            let seen = if seen == "own" { own } else { ip(seen) };
            watch.logged_in(PlayerId([number; 16]), seen, [own].into_iter());
        }
    }

    fn names(watch: &Watch) -> Vec<&'static str> {
        watch.findings(Instant::now(), std::iter::empty(), false).iter().map(Finding::name).collect()
    }

    #[test]
    fn players_who_all_come_from_the_gateway_or_from_the_server_itself_are_hidden() {
        // Docker's proxy; rootless Docker and Podman; a proxy on the machine.
        for address in ["172.17.0.1", "172.17.0.2", "127.0.0.1"] {
            let mut watch = watch(&["127.0.0.1", "172.17.0.2"], "172.17.0.1");
            come(&mut watch, 1..2, address, "192.168.1");
            assert!(names(&watch).is_empty(), "one may be in a network of this machine");
            // The same one again is no other.
            come(&mut watch, 1..2, address, "192.168.1");
            assert!(names(&watch).is_empty());
            come(&mut watch, 2..3, address, "192.168.7");
            let all = watch.findings(Instant::now(), std::iter::empty(), false);
            assert_eq!(all, [Finding::OneAddress { address: ip(address), players: 2 }]);
            let text = all[0].to_string();
            assert!(text.contains("--network host") && text.contains("userland-proxy"), "{text}");
            // One who is seen where it is: the proxy is not before everybody.
            come(&mut watch, 9..10, "203.0.113.9", "192.168.1");
            assert!(!names(&watch).contains(&"one-address"));
            // But it is an old story in time.
            come(&mut watch, 20..36, address, "192.168.1");
            assert!(names(&watch).contains(&"one-address"));
        }
    }

    #[test]
    fn a_lan_party_a_carriers_nat_and_tests_on_one_machine_are_as_they_should_be() {
        let home = || watch(&["127.0.0.1", "192.168.1.50"], "192.168.1.1");
        let mut lan = home();
        come(&mut lan, 1..40, "own", "192.168.1");
        assert!(names(&lan).is_empty());

        let mut machine = home();
        for number in 1..40 {
            machine.logged_in(PlayerId([number; 16]), ip("127.0.0.1"), [ip("192.168.1.50")].into_iter());
        }
        assert!(names(&machine).is_empty());
        // Without any interface but loopback, and with players who do not say where they are.
        let mut bare = watch(&["127.0.0.1"], "127.0.0.1");
        for number in 1..40 {
            bare.logged_in(PlayerId([number; 16]), ip("127.0.0.1"), std::iter::empty());
        }
        assert!(names(&bare).is_empty());

        let mut carrier = watch(&["127.0.0.1", "198.51.100.7"], "198.51.100.1");
        come(&mut carrier, 1..40, "203.0.113.1", "100.64.3");
        assert!(names(&carrier).is_empty(), "many customers of one public address");

        // Three virtual machines of one player behind its address, in a network where nobody else plays.
        let mut machines = home();
        come(&mut machines, 1..4, "192.168.1.77", "10.0.2");
        assert!(names(&machines).is_empty());
        // But eight players behind one address that is no player's are no household.
        come(&mut machines, 4..9, "192.168.1.77", "10.0.2");
        assert_eq!(names(&machines), ["one-address"]);
    }

    #[test]
    fn a_server_that_does_not_know_its_public_address_is_told_where_players_come_from_the_internet() {
        let mut cloud = watch(&["10.0.0.5", "127.0.0.1"], "10.0.0.1");
        come(&mut cloud, 1..3, "own", "10.0.0");
        assert!(names(&cloud).is_empty(), "a server of a LAN");
        come(&mut cloud, 3..4, "203.0.113.1", "192.168.1");
        assert_eq!(names(&cloud), ["public-address-unknown"]);
        assert!(cloud.findings(Instant::now(), std::iter::empty(), true).is_empty(), "it was set");
        let mut public = watch(&["198.51.100.7", "10.0.0.5"], "198.51.100.1");
        come(&mut public, 3..4, "203.0.113.1", "192.168.1");
        assert!(names(&public).is_empty());
    }

    #[test]
    fn a_container_is_told_until_it_is_known_to_hide_the_players() {
        let around = Surroundings {
            own: ips(&["127.0.0.1", "172.17.0.2"]),
            gateways: ips(&["172.17.0.1"]),
            container: true,
        };
        let mut container = Watch::default();
        container.set(Instant::now(), around);
        assert_eq!(names(&container), ["container"]);
        come(&mut container, 1..3, "172.17.0.1", "192.168.1");
        assert_eq!(names(&container), ["one-address"]);
    }

    #[test]
    fn addresses_that_change_are_told_for_a_day_and_a_bound_one_that_is_gone_for_good() {
        let mut watch = watch(&["127.0.0.1", "203.0.113.5"], "203.0.113.1");
        let start = Instant::now();
        let bound = || ["0.0.0.0", "127.0.0.1", "203.0.113.5", "203.0.113.5"].map(ip).into_iter();
        assert!(watch.findings(start, bound(), false).is_empty());
        let later = |own: &[&str]| Surroundings { own: ips(own), ..Surroundings::default() };
        assert!(!watch.set(start, later(&["127.0.0.1", "203.0.113.5"])));
        assert!(watch.set(start, later(&["127.0.0.1", "203.0.113.77"])));
        let gone = Finding::AddressGone { address: ip("203.0.113.5") };
        let changed = Finding::AddressesChanged { gone: ips(&["203.0.113.5"]), new: ips(&["203.0.113.77"]) };
        assert_eq!(watch.findings(start, bound(), false), [gone.clone(), changed.clone()]);
        assert!(gone.is_serious() && !changed.is_serious());
        assert!(changed.to_string().contains("gone: 203.0.113.5; new: 203.0.113.77"));
        let tomorrow = start + CHANGE_SHOWN;
        assert_eq!(watch.findings(tomorrow, bound(), false), [gone]);
    }

    #[test]
    fn this_machine_has_addresses() {
        let around = Surroundings::read();
        assert!(around.own.iter().any(|ip| reach(*ip) == Reach::Loopback), "{around:?}");
    }
}
