//! The axes along which NATs differ, and the named NATs.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What kind of box it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is a plain router: it neither translates nor filters.
    Router,
    /// It is a stateful firewall: it translates nothing, but only lets in what the filter allows.
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
    /// Each destination address and port has a mapping.
    AddressAndPortDependent,
}

/// What comes in through a mapping (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filtering {
    /// It lets everything in.
    EndpointIndependent,
    /// It lets in what comes from addresses that the mapping has sent to.
    AddressDependent,
    /// It lets in what comes from addresses and ports that the mapping has sent to.
    AddressAndPortDependent,
}

/// What a port-preserving NAT does when the port is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// It takes a random one (Linux).
    Random,
    /// It takes the next free one of a global counter (older Linux).
    Sequential,
}

/// How the port of a new mapping is chosen (RFC 4787 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allocation {
    /// It keeps the internal port where that is free.
    Preserving(Fallback),
    /// It counts with this signed step and skips taken ports.
    Sequential(i32),
    /// Any free port is taken.
    Random,
    /// It takes any free port of a block of so many that belongs to the subscriber alone (RFC 7422).
    RandomInBlock(u16),
}

/// How an external address is chosen where there are several (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// All mappings of an internal address share one (REQ-2).
    Paired,
    /// Each new mapping takes any of them.
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

/// It is a NAT that takes unsolicited packets for an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blacklist {
    /// It bans an address after this many unsolicited packets from it.
    pub after: u32,
    /// Nothing from that address comes in for this long.
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
    /// It uses external ports of this range; a block or quota lies inside.
    pub port_range: RangeInclusive<u16>,
    /// Even internal ports get even external ones (RFC 4787 section 4.2.2).
    pub parity: bool,
    /// Other machines behind it take this many UDP ports per second: it is the rate of a Poisson process.
    pub cross: f64,
    /// How long an idle mapping lives.
    pub timeout: Duration,
    /// A mapping lives this long once an answer has come in; Linux has two values.
    pub stream_timeout: Duration,
    /// Incoming packets prolong the mapping too (RFC 4787 REQ-6 leaves it free).
    pub inbound_refresh: bool,
    /// How many external addresses there are: 1 to 64.
    pub pool: u16,
    /// How one of them is chosen.
    pub pooling: Pooling,
    /// One internal address may have this many mappings at a time.
    pub quota: Option<u32>,
    /// What becomes of packets from the inside to an external address.
    pub hairpin: Hairpin,
    /// It imitates Linux's inbound-first clash: an unsolicited packet that arrives before our own to its sender
    /// occupies the port towards that sender, so ours leaves from a random one.
    pub clash: bool,
    /// It says whether senders of packets that nobody asked for are banned, and when.
    pub blacklist: Option<Blacklist>,
    /// It says whether it lets no UDP through at all.
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

/// It is a NAT that has a name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// This is the name on the command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
}

/// These are the named NATs, in the order in which they are listed.
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
    /// Returns the named NAT, if there is one of this name.
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
