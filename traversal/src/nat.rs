//! What a NAT does, in the terms of RFC 4787; the sources' five names are how it is shown to people.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// This says when an outgoing packet reuses a mapping (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MappingBehavior {
    /// It was not measured.
    #[default]
    Unknown,
    /// A socket has one public port for all destinations.
    EndpointIndependent,
    /// A socket has a new public port for each destination address.
    AddressDependent,
    /// A socket has a new public port for each destination address and port.
    AddressAndPortDependent,
    /// The mapping is not address-and-port-dependent; whether it is address-dependent cannot be told with one server address
    /// (M6).
    NotPortSensitive,
}

/// This says which incoming packets a mapping lets in (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FilteringBehavior {
    /// It was not measured.
    #[default]
    Unknown,
    /// Packets get in from anywhere.
    EndpointIndependent,
    /// Packets get in from addresses that were sent to.
    AddressDependent,
    /// Packets get in from addresses and ports that were sent to.
    AddressAndPortDependent,
}

/// This says how the external port of a new mapping is chosen (RFC 4787 section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PortAllocation {
    /// It was not measured.
    #[default]
    Unknown,
    /// A new port is the internal one, where that is free.
    Preserving,
    /// A new port is the last one plus a step.
    Sequential {
        /// Successive ports are this far apart; negative: they count downwards. It is never 0.
        step: i32,
    },
    /// New ports show no pattern.
    Random,
    /// New ports show no pattern inside a block of ports.
    RandomInBlock {
        /// The block begins with this port.
        first: u16,
        /// The block ends with this port, which is included.
        last: u16,
    },
}

/// This says how sure a profile is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Confidence {
    /// Nothing was measured yet.
    #[default]
    Unknown,
    /// It was measured with two server addresses.
    Full,
    /// It was measured with one server address; some facts stay unknown.
    Reduced,
    /// It was measured too long ago.
    Stale,
    /// It was set by hand, or read from a stored profile (M9).
    Manual,
}

/// This is all that is known about a player's way to the internet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)] // a kept one of an older version has fewer facts
pub struct NatProfile {
    /// This says how the NAT maps: for which destinations a socket has the same public port.
    pub mapping: MappingBehavior,
    /// The filtering says whose packets the NAT lets in.
    pub filtering: FilteringBehavior,
    /// The allocation says which ports new mappings get.
    pub allocation: PortAllocation,
    /// This says whether the NAT translates addresses: not if the server sees the machine's own one (M5). `None`: it is
    /// not known.
    pub translated: Option<bool>,
    /// This says whether a packet to the own external address comes back in (RFC 4787 section 6). `None`: it is not
    /// known.
    pub hairpin: Option<bool>,
    /// Several external addresses were seen.
    pub pooled: Option<bool>,
    /// UDP does not get through at all.
    pub udp_blocked: bool,
    /// An idle mapping lives for at least this long. `None`: it was not measured.
    pub timeout: Option<Duration>,
    /// An idle mapping was seen to live for less than this. `None`: none was.
    pub timeout_below: Option<Duration>,
    /// This many ports per second are taken by other machines behind the same NAT, as measured. `None`: it was not
    /// measured.
    pub foreign_rate: Option<f32>,
    /// This says how sure all this is.
    pub confidence: Confidence,
    /// This says whether a port that the router forwards (UPnP, NAT-PMP, PCP) was reached by the server's second
    /// address, so that the game's socket is behind a full cone, whatever the NAT does elsewhere.
    pub mapped: bool,
    /// This is the probability that `allocation` is right, 0 to 1, as measured; for a NAT that keeps ports, it is the
    /// share it kept.
    pub allocation_confidence: Option<f32>,
    /// This says whether even inner ports get even outer ports (RFC 4787 section 4.2.2). `None`: it is not known.
    pub parity: Option<bool>,
}

/// These are the names that people know NATs by. Mapping decides first; only an endpoint-independent mapping is told
/// apart by its filtering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    /// There is no NAT and no filter.
    None,
    /// Mapping and filtering are endpoint-independent.
    FullCone,
    /// The mapping is endpoint-independent, the filtering address-dependent (R).
    RestrictedCone,
    /// The mapping is endpoint-independent, the filtering address-and-port-dependent (PR).
    PortRestrictedCone,
    /// There is a new port for each destination address (AS).
    AddressSensitiveSymmetric,
    /// There is a new port for each destination address and port (PS).
    PortSensitiveSymmetric,
    /// No translation, but unsolicited packets are dropped.
    Firewall,
    /// UDP does not get through.
    UdpBlocked,
    /// Nothing is known of it.
    Unknown,
}

impl NatProfile {
    /// Returns the same NAT as seen through a forwarded port that was proven to lead here.
    #[must_use]
    pub fn with_mapped_port(self) -> Self {
        Self {
            mapping: MappingBehavior::EndpointIndependent,
            filtering: FilteringBehavior::EndpointIndependent,
            allocation: PortAllocation::Preserving,
            confidence: Confidence::Full,
            foreign_rate: None,
            udp_blocked: false,
            mapped: true,
            allocation_confidence: None,
            parity: None,
            ..self
        }
    }

    /// This is the profile of which nothing is known.
    pub const UNKNOWN: Self = Self {
        mapping: MappingBehavior::Unknown,
        filtering: FilteringBehavior::Unknown,
        allocation: PortAllocation::Unknown,
        translated: None,
        hairpin: None,
        pooled: None,
        udp_blocked: false,
        timeout: None,
        timeout_below: None,
        foreign_rate: None,
        confidence: Confidence::Unknown,
        mapped: false,
        allocation_confidence: None,
        parity: None,
    };

    /// Returns whether UDP surely does not get through. Where this is false and [`udp_blocked`](Self::udp_blocked) is
    /// true, the player is logged in over TCP, but UDP has not been tried for long enough to say that it is more than
    /// slow.
    pub fn is_udp_blocked(&self) -> bool {
        self.udp_blocked && !matches!(self.confidence, Confidence::Unknown | Confidence::Stale)
    }

    /// Returns what it means for a player who wants to host, in one sentence.
    pub fn meaning(&self) -> &'static str {
        match self.kind() {
            NatKind::None | NatKind::FullCone => "Other players can reach this machine directly.",
            NatKind::RestrictedCone | NatKind::PortRestrictedCone | NatKind::Firewall => {
                "Most players can be reached directly, with the lobby server's help."
            }
            NatKind::AddressSensitiveSymmetric | NatKind::PortSensitiveSymmetric
                if matches!(
                    self.allocation,
                    PortAllocation::Random | PortAllocation::RandomInBlock { .. }
                ) =>
            {
                "The router chooses random ports: players with such a router, too, are reached over the relay, the others \
                 directly; with UPnP, NAT-PMP or PCP switched on in the router all could be reached."
            }
            NatKind::AddressSensitiveSymmetric | NatKind::PortSensitiveSymmetric => {
                "Many players can be reached directly by port prediction, the others over the relay; with UPnP, NAT-PMP or \
                 PCP switched on in the router all could be reached."
            }
            NatKind::UdpBlocked => "UDP does not get out: games are played through the server, over TCP.",
            NatKind::Unknown => {
                let nothing = self.mapping == MappingBehavior::Unknown
                    && self.filtering == FilteringBehavior::Unknown
                    && self.confidence == Confidence::Unknown;
                if nothing {
                    "Nothing is known yet."
                } else {
                    "The kind could not be told from what was measured."
                }
            }
        }
    }

    /// Returns the name for this profile.
    pub fn kind(&self) -> NatKind {
        use FilteringBehavior as F;
        use MappingBehavior as M;
        if self.is_udp_blocked() {
            return NatKind::UdpBlocked;
        }
        if self.translated == Some(false) {
            return match self.filtering {
                F::EndpointIndependent => NatKind::None,
                F::AddressDependent | F::AddressAndPortDependent => NatKind::Firewall,
                F::Unknown => NatKind::Unknown,
            };
        }
        match (self.mapping, self.filtering) {
            (M::EndpointIndependent, F::EndpointIndependent) => NatKind::FullCone,
            (M::EndpointIndependent, F::AddressDependent) => NatKind::RestrictedCone,
            (M::EndpointIndependent, F::AddressAndPortDependent) => NatKind::PortRestrictedCone,
            (M::AddressDependent, _) => NatKind::AddressSensitiveSymmetric,
            (M::AddressAndPortDependent, _) => NatKind::PortSensitiveSymmetric,
            (M::EndpointIndependent, F::Unknown) | (M::Unknown | M::NotPortSensitive, _) => NatKind::Unknown,
        }
    }
}

impl fmt::Display for NatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::FullCone => "full cone",
            Self::RestrictedCone => "restricted cone",
            Self::PortRestrictedCone => "port-restricted cone",
            Self::AddressSensitiveSymmetric => "address-sensitive symmetric",
            Self::PortSensitiveSymmetric => "port-sensitive symmetric",
            Self::Firewall => "firewall",
            Self::UdpBlocked => "udp blocked",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for MappingBehavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::NotPortSensitive => "not-port-sensitive",
        })
    }
}

impl fmt::Display for FilteringBehavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        })
    }
}

impl fmt::Display for PortAllocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Preserving => "preserving",
            Self::Sequential { .. } => "sequential",
            Self::Random => "random",
            Self::RandomInBlock { .. } => "random-in-block",
        })
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Full => "full",
            Self::Reduced => "reduced",
            Self::Stale => "stale",
            Self::Manual => "manual",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_random_ports_is_not_promised_a_prediction() {
        let symmetric = NatProfile {
            mapping: MappingBehavior::AddressAndPortDependent,
            filtering: FilteringBehavior::AddressAndPortDependent,
            confidence: Confidence::Full,
            ..NatProfile::UNKNOWN
        };
        let meaning = |allocation| NatProfile { allocation, ..symmetric }.meaning();
        assert!(meaning(PortAllocation::Random).contains("random ports"));
        assert!(meaning(PortAllocation::Sequential { step: 1 }).contains("prediction"));
    }
}
