//! A port that the router forwards to the game's socket, and what is known of it. `mapping_check` finds that out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::address::is_local;

/// This says how a router was asked for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MappingProtocol {
    /// It was asked by UPnP (Internet Gateway Device).
    Upnp,
    /// It was asked by the NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// It was asked by the Port Control Protocol (RFC 6887).
    Pcp,
}

impl MappingProtocol {
    /// These are all protocols, the preferred one first: the newest, whose answers say most.
    pub const ALL: [Self; 3] = [Self::Pcp, Self::NatPmp, Self::Upnp];

    /// Returns the name that stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upnp => "upnp",
            Self::NatPmp => "nat-pmp",
            Self::Pcp => "pcp",
        }
    }
}

impl fmt::Display for MappingProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upnp => "UPnP",
            Self::NatPmp => "NAT-PMP",
            Self::Pcp => "PCP",
        })
    }
}

/// This is what a router granted: a port that it forwards to the game's IPv4 socket, or says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortMapping {
    /// This says how it was asked.
    pub protocol: MappingProtocol,
    /// This is the router's own idea of its public address, if it has one.
    pub external_ip: Option<IpAddr>,
    /// This is the port that the router forwards.
    pub external_port: u16,
}

/// This says why no port is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NoPortMapping {
    /// Nobody has asked a router (yet).
    #[default]
    #[error("no router was asked for a port")]
    NotAsked,
    /// The public address is the machine's own, or the lobby server is on this machine.
    #[error("no port mapping is needed")]
    NotNeeded,
    /// The machine has no router.
    #[error("there is no router to ask for a port")]
    NoRouter,
    /// The router speaks none of the protocols.
    #[error("the router does not answer UPnP, NAT-PMP or PCP; switch one of them on in its settings")]
    Silent,
    /// The router said no, or nothing that makes sense.
    #[error("the router refuses to forward a port; its settings may say why")]
    Refused,
}

/// This says whether a port is forwarded, and whether it leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortMappingState {
    /// No port is forwarded.
    None(NoPortMapping),
    /// The router has granted one, and the server has not reached it (yet).
    Checking(PortMapping),
    /// The server's second address has reached it: everybody can.
    Verified {
        /// The router has granted this.
        mapping: PortMapping,
        /// Other players reach this one here.
        address: SocketAddr,
    },
    /// It does not lead here: another NAT stands before the router, or a firewall.
    Unreachable(PortMapping),
    /// This server cannot tell, having no address beside its first that this socket has not sent to within five minutes. So it does not count.
    Unproven(PortMapping),
}

impl Default for PortMappingState {
    fn default() -> Self {
        Self::None(NoPortMapping::default())
    }
}

impl PortMappingState {
    /// Returns what the router granted, if it did.
    pub fn mapping(&self) -> Option<PortMapping> {
        match self {
            Self::None(_) => None,
            Self::Checking(mapping)
            | Self::Verified { mapping, .. }
            | Self::Unreachable(mapping)
            | Self::Unproven(mapping) => Some(*mapping),
        }
    }

    /// Returns where other players reach this one, if that is proven.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Verified { address, .. } => Some(*address),
            _ => None,
        }
    }

    /// Returns the name that stands in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None(_) => "none",
            Self::Checking(_) => "checking",
            Self::Verified { .. } => "verified",
            Self::Unreachable(_) => "unreachable",
            Self::Unproven(_) => "unproven",
        }
    }
}

impl fmt::Display for PortMappingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None(why) => why.fmt(f),
            Self::Checking(mapping) => {
                write!(f, "the router granted port {} by {}", mapping.external_port, mapping.protocol)
            }
            Self::Verified { mapping, address } => {
                write!(f, "the router forwards {address} by {}, and everybody gets through", mapping.protocol)
            }
            Self::Unreachable(PortMapping { protocol, external_ip: Some(ip), external_port, .. })
                if is_local(*ip) =>
            {
                write!(
                    f,
                    "the router granted port {external_port} by {protocol}, but its own address is {ip}: it is behind another \
                     router (double NAT); switch one of the two to bridge mode, or forward the port there too"
                )
            }
            Self::Unreachable(mapping) => write!(
                f,
                "the router granted port {} by {}, but nothing gets through: another NAT stands before it",
                mapping.external_port, mapping.protocol
            ),
            Self::Unproven(mapping) => write!(
                f,
                "the router granted port {} by {}; a lobby server with one address cannot prove that it works",
                mapping.external_port, mapping.protocol
            ),
        }
    }
}
