//! The axes along which NATs differ, and the named NATs.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What kind of box it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A plain router: no translation, no filter.
    Router,
    /// A stateful firewall: no translation, but only what the filter lets in.
    Firewall,
    /// It translates addresses and ports.
    Nat,
}

/// When an outgoing packet reuses a mapping (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mapping {
    /// One mapping serves all destinations.
    EndpointIndependent,
    /// Each destination address has a mapping.
    AddressDependent,
    /// One per destination address and port.
    AddressAndPortDependent,
}

/// What comes in through a mapping (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filtering {
    /// It lets everything in.
    EndpointIndependent,
    /// From addresses that the mapping has sent to.
    AddressDependent,
    /// From addresses and ports that the mapping has sent to.
    AddressAndPortDependent,
}

/// What a port-preserving NAT does when the port is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// A random one (Linux).
    Random,
    /// The next free one of a global counter (older Linux).
    Sequential,
}

/// How the port of a new mapping is chosen (RFC 4787 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allocation {
    /// The internal port where it is free.
    Preserving(Fallback),
    /// A counter with a signed step; taken ports are stepped over.
    Sequential(i32),
    /// Any free port is taken.
    Random,
    /// Any free port of a block of so many that belongs to the subscriber alone (RFC 7422).
    RandomInBlock(u16),
}

/// How an external address is chosen where there are several (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// One for all mappings of an internal address (REQ-2).
    Paired,
    /// Any one for each new mapping.
    Arbitrary,
}

/// What becomes of a packet from the inside to an external address (RFC 4787 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hairpin {
    /// A packet to one's own outer address is dropped.
    No,
    /// It comes back in, from the sender's external address and port: REQ-9a.
    ExternalSource,
    /// It comes back in, from the sender's internal address and port.
    InternalSource,
}

/// A NAT that takes unsolicited packets for an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blacklist {
    /// After so many unsolicited packets from one address ...
    pub after: u32,
    /// ... nothing from that address comes in for so long.
    pub ban: Duration,
}

/// This is a NAT or firewall.
#[derive(Clone, Debug, PartialEq)]
pub struct NatConfig {
    /// What the box does at all.
    pub kind: Kind,
    /// When a mapping is used again.
    pub mapping: Mapping,
    /// What a mapping lets in.
    pub filtering: Filtering,
    /// How ports are chosen.
    pub allocation: Allocation,
    /// External ports it may use; a block or quota lies inside.
    pub port_range: RangeInclusive<u16>,
    /// Even internal ports get even external ones (RFC 4787 section 4.2.2).
    pub parity: bool,
    /// UDP ports per second that other machines behind it take: the rate of a Poisson process.
    pub cross: f64,
    /// How long an idle mapping lives.
    pub timeout: Duration,
    /// Life once an answer has come in; Linux has two values.
    pub stream_timeout: Duration,
    /// Incoming packets prolong the mapping too (RFC 4787 REQ-6 leaves it free).
    pub inbound_refresh: bool,
    /// How many external addresses there are: 1 to 64.
    pub pool: u16,
    /// How one of them is chosen.
    pub pooling: Pooling,
    /// Mappings that one internal address may have at a time.
    pub quota: Option<u32>,
    /// What becomes of packets from the inside to an external address.
    pub hairpin: Hairpin,
    /// Linux's inbound-first clash: an unsolicited packet that arrives before our own to its sender occupies the
    /// port towards that sender, so ours leaves from a random one.
    pub clash: bool,
    /// Whether senders of packets that nobody asked for are banned, and when.
    pub blacklist: Option<Blacklist>,
    /// Whether it lets no UDP through at all.
    pub udp_blocked: bool,
}

impl Default for NatConfig {
    /// What most home routers do: endpoint-independent mapping, address-and-port-dependent filtering, ports
    /// preserved, 120 s (RFC 4787 REQ-5's least).
    fn default() -> Self {
        Self {
            kind: Kind::Nat,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressAndPortDependent,
            allocation: Allocation::Preserving(Fallback::Random),
            port_range: 1024..=65535,
            parity: false,
            cross: 0.0,
            timeout: Duration::from_secs(120),
            stream_timeout: Duration::from_secs(120),
            inbound_refresh: true,
            pool: 1,
            pooling: Pooling::Paired,
            quota: None,
            hairpin: Hairpin::No,
            clash: false,
            blacklist: None,
            udp_blocked: false,
        }
    }
}

/// A NAT that has a name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// This is the name on the command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
}

/// The named NATs, in the order in which they are listed.
pub const PRESETS: [Preset; 11] = [
    Preset { name: "none", about: "no NAT, no filter: a public address" },
    Preset { name: "firewall", about: "no translation; lets in only answers" },
    Preset { name: "fullcone", about: "one port for all, anybody may send to it" },
    Preset { name: "restricted", about: "one port for all; only addresses sent to may answer" },
    Preset { name: "portrestricted", about: "one port for all; only addresses and ports sent to may answer" },
    Preset { name: "as", about: "address-sensitive symmetric: a new port per address, in sequence" },
    Preset { name: "ps", about: "port-sensitive symmetric: a new port per address and port, in sequence" },
    Preset { name: "psrandom", about: "port-sensitive symmetric with random ports (pf, cloud gateways)" },
    Preset {
        name: "cgn",
        about: "carrier-grade: one port for all, random in a block of 4,032, 256 at most, hairpins, four addresses",
    },
    Preset {
        name: "linux",
        about: "masquerade without a firewall: keeps ports, 30/120 s, inbound-first clash, no hairpin",
    },
    Preset { name: "udpblocked", about: "no UDP gets through" },
];

impl NatConfig {
    /// The named NAT, if there is one of this name.
    pub fn preset(name: &str) -> Option<Self> {
        use Allocation::{Random, RandomInBlock, Sequential};
        let nat = Self::default();
        Some(match name {
            "none" => Self {
                kind: Kind::Router,
                filtering: Filtering::EndpointIndependent,
                hairpin: Hairpin::ExternalSource,
                ..nat
            },
            "firewall" => Self { kind: Kind::Firewall, hairpin: Hairpin::ExternalSource, ..nat },
            "fullcone" => Self { filtering: Filtering::EndpointIndependent, ..nat },
            "restricted" => Self { filtering: Filtering::AddressDependent, ..nat },
            "portrestricted" => nat,
            "as" => Self {
                mapping: Mapping::AddressDependent,
                filtering: Filtering::AddressDependent,
                allocation: Sequential(1),
                ..nat
            },
            "ps" => Self { mapping: Mapping::AddressAndPortDependent, allocation: Sequential(1), ..nat },
            "psrandom" => Self { mapping: Mapping::AddressAndPortDependent, allocation: Random, ..nat },
            // RFC 6888: endpoint-independent, a quota, hairpinning, paired pooling; RFC 7422's block size.
            "cgn" => Self {
                filtering: Filtering::EndpointIndependent,
                allocation: RandomInBlock(4032),
                quota: Some(256),
                pool: 4,
                hairpin: Hairpin::ExternalSource,
                timeout: Duration::from_secs(300),
                stream_timeout: Duration::from_secs(300),
                ..nat
            },
            "linux" => Self { timeout: Duration::from_secs(30), clash: true, ..nat },
            "udpblocked" => Self { udp_blocked: true, ..nat },
            _ => return None,
        })
    }

    /// Whether it changes addresses, which firewalls and routers do not.
    pub fn translates(&self) -> bool {
        self.kind == Kind::Nat
    }
}
