//! What the server stands in, and what is wrong with that: something in front of it that hides where players come from, a
//! public address that it does not know, addresses that have changed.

mod reading;

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use traversal_core::address::{Scope, scope};
use traversal_core::id::PlayerId;

use crate::matchmaking::{Realm, realm};

/// The last so many players tell where players come from.
const PLAYERS: usize = 16;
/// So many players at one address that is the server's own or its gateway's are too many: nobody plays there.
const AT_THE_DOOR: usize = 2;
/// So many at any other local address are too many, where nobody comes from elsewhere.
const AT_ONE_ADDRESS: usize = 8;
/// A change of addresses is shown for so long.
const CHANGE_SHOWN: Duration = Duration::from_secs(24 * 3600);

/// This is the machine's place in its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// These addresses are on its interfaces, loopback included, in order.
    pub own: Vec<IpAddr>,
    /// The default routes lead to these routers, in order.
    pub gateways: Vec<IpAddr>,
    /// It is a container with a network of its own (Docker, Podman).
    pub container: bool,
}

impl Surroundings {
    /// Returns what is wrong with this place whatever players come.
    pub fn findings(&self) -> Vec<Finding> {
        let container = self.outer().next().filter(|_| self.container);
        container.map(|own| Finding::Container { own }).into_iter().collect()
    }

    /// Returns whether an address that players on the internet reach is on an interface.
    pub fn is_public(&self) -> bool {
        self.own.iter().any(|ip| realm(*ip) == Realm::Public)
    }

    /// Returns an address of this family that players may reach the machine at: a public one, if there is any.
    pub(crate) fn reachable(&self, v6: bool) -> Option<IpAddr> {
        // Link-local addresses need a scope that the other side cannot know.
        let usable = |ip: &IpAddr| ip.is_ipv6() == v6 && (!v6 || scope(*ip) != Scope::LinkLocal);
        self.outer().filter(usable).min_by_key(|ip| (realm(*ip) != Realm::Public, *ip))
    }

    /// Gives the addresses other than loopback.
    fn outer(&self) -> impl Iterator<Item = IpAddr> {
        self.own.iter().copied().filter(|ip| realm(*ip) != Realm::Loopback)
    }
}

/// This is something about the server's place that costs players, and what to do about it: see its `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// All of the last players come from one local address that is none of theirs.
    OneAddress {
        /// All of them come from this address.
        address: IpAddr,
        /// So many of the last players come from it.
        players: usize,
    },
    /// Players come from the internet, and no address of this machine is a public one.
    PublicAddressUnknown {
        /// This machine has this address.
        own: IpAddr,
    },
    /// The server is in a container with a network of its own.
    Container {
        /// The container has this address.
        own: IpAddr,
    },
    /// The server is bound to an address that no interface has any more.
    AddressGone {
        /// This is the address that was lost.
        address: IpAddr,
    },
    /// The machine has other addresses than at the start.
    AddressesChanged {
        /// It had these addresses.
        gone: Vec<IpAddr>,
        /// It has got these addresses.
        new: Vec<IpAddr>,
    },
    /// The other server whose address is to be the second one of this one is not linked.
    Neighbour {
        /// It is named by this address.
        address: SocketAddr,
        /// This is in the way.
        trouble: NeighbourTrouble,
    },
}

/// This is why two servers are not linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeighbourTrouble {
    /// The other one does not answer.
    Silent,
    /// It has another key.
    OtherKey,
    /// It has another version of the link.
    OtherVersion,
}

impl Finding {
    /// Names of all kinds, as in the metrics.
    pub const NAMES: [&'static str; 8] = [
        "one-address",
        "public-address-unknown",
        "container",
        "address-gone",
        "addresses-changed",
        "neighbour-silent",
        "neighbour-key",
        "neighbour-version",
    ];

    /// Names its kind: one of [`NAMES`](Self::NAMES).
    pub fn name(&self) -> &'static str {
        Self::NAMES[match self {
            Self::OneAddress { .. } => 0,
            Self::PublicAddressUnknown { .. } => 1,
            Self::Container { .. } => 2,
            Self::AddressGone { .. } => 3,
            Self::AddressesChanged { .. } => 4,
            Self::Neighbour { trouble: NeighbourTrouble::Silent, .. } => 5,
            Self::Neighbour { trouble: NeighbourTrouble::OtherKey, .. } => 6,
            Self::Neighbour { trouble: NeighbourTrouble::OtherVersion, .. } => 7,
        }]
    }

    /// Returns whether players suffer from it now.
    pub fn is_serious(&self) -> bool {
        matches!(self, Self::OneAddress { .. } | Self::AddressGone { .. } | Self::Neighbour { .. })
    }
}

impl NeighbourTrouble {
    /// Returns what is in the way, and what to do about it.
    pub(crate) fn with_cure(self) -> &'static str {
        match self {
            Self::Silent => {
                "it does not answer. Is it running, does it name this server with --neighbour, and do both firewalls let \
                 UDP in to the link's port (two after the first port, 3480)?"
            }
            Self::OtherKey => "it has another key. Copy this server's key file to it, and start it again.",
            Self::OtherVersion => {
                "it has another version of the lobby server. Start the same one on both machines."
            }
        }
    }
}

/// This says how to let the server see where players come from.
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
            Self::Neighbour { address, trouble } => write!(
                f,
                "The neighbour {address} is not linked: {} Until then players are told of this server's own address alone, \
                 and whether their NATs mind the address stays unknown.",
                trouble.with_cure()
            ),
        }
    }
}

/// This says where a player who has logged in comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The player comes from the internet.
    Internet,
    /// The player comes from an address of its own: nothing stands between.
    Own,
    /// The player comes from a local address that is none of its own.
    Hidden(IpAddr),
}

/// Watches the machine's addresses, and where players come from.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    around: Surroundings,
    /// These are the last players, each once, the newest last.
    players: VecDeque<(PlayerId, Origin)>,
    changed: Option<(Instant, Finding)>,
}

impl Watch {
    /// Takes the system's present word. True if the addresses are others than before.
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
        let origin = match realm(seen) {
            Realm::Public => Origin::Internet,
            // It does not say where it is, so nothing can be told.
            _ if local.is_empty() => return,
            // Who is on this machine has this machine's addresses.
            Realm::Loopback if local.iter().any(|ip| self.around.own.contains(ip)) => Origin::Own,
            Realm::Local if local.contains(&seen) => Origin::Own,
            _ => Origin::Hidden(seen),
        };
        self.players.retain(|(known, _)| *known != player);
        if self.players.len() >= PLAYERS {
            self.players.pop_front();
        }
        self.players.push_back((player, origin));
    }

    /// Returns the one local address that all of the last players come from.
    fn one_address(&self) -> Option<Finding> {
        let Some((_, Origin::Hidden(address))) = self.players.back().copied() else { return None };
        let players = self.players.len();
        let door = self.around.own.contains(&address) || self.around.gateways.contains(&address);
        let enough = if door { AT_THE_DOOR } else { AT_ONE_ADDRESS };
        let all = self.players.iter().all(|(_, origin)| *origin == Origin::Hidden(address));
        (all && players >= enough).then_some(Finding::OneAddress { address, players })
    }

    /// Returns what is wrong now. `bound` are the addresses that the server is bound to, `public` whether one was set
    /// that players know it by.
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
            .filter(|ip| !ip.is_unspecified() && realm(*ip) != Realm::Loopback)
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
mod tests;
