//! A NAT as RFC 4787 describes one: every axis apart from the others, no clock, no sockets.
//!
//! # How to drive one
//! [`Nat`] is an object that packets are shown to. Time comes in with each packet, as the [`Duration`] since any
//! fixed start, and must not run backwards; the seed decides every random choice.
//!
//! ```
//! use natlab::nat::{Header, Nat, NatConfig, Proto, Verdict};
//! use std::time::Duration;
//!
//! let config = NatConfig::preset("ps").expect("a preset");
//! let mut nat = Nat::new(config, vec!["198.18.1.1".parse().unwrap()], 7);
//! let out = Header::udp("192.168.1.2:40000".parse().unwrap(), "198.18.0.10:3478".parse().unwrap());
//! let Verdict::Forward(seen) = nat.outbound(Duration::ZERO, out) else { panic!("dropped") };
//! let answer = Header { src: out.dst, dst: seen.src, ttl: 64, proto: Proto::Udp };
//! let Verdict::Forward(back) = nat.inbound(Duration::from_millis(50), answer) else { panic!("dropped") };
//! assert_eq!(back.dst, out.src);
//! ```
//!
//! - [`Nat::outbound`]: a packet from the inside. [`Verdict::Forward`]: send it on outside with this header;
//!   [`Verdict::Hairpin`]: it was for the NAT's own external address, deliver it *inside* with this header.
//! - [`Nat::inbound`]: a packet from the outside to an external address. [`Verdict::Forward`]: deliver it inside.
//! - The NAT counts the TTL down by one, as any router; a packet that dies in it leaves no trace, neither a mapping
//!   nor a clash.
//! - [`Nat::reboot`] and [`Nat::change_address`] are the two things that happen to a NAT by itself.
//! - [`Nat::forward_port`] is what a router does after UPnP, NAT-PMP or PCP.
//! - [`Nat::counters`] tells what it did. Several NATs in a row: [`NatSpec`] parses them, the inner one first;
//!   the external address of an inner one lies inside the next.

mod config;
mod forward;
mod ports;
mod spec;
mod table;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub use config::{
    Allocation, Blacklist, Fallback, Filtering, Hairpin, Kind, Mapping, NatConfig, PRESETS, Pooling, Preset,
};
pub use spec::{NatSpec, SpecError};
pub use table::Nat;

/// This is a transport protocol with ports; each has its own port space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proto {
    /// It is the User Datagram Protocol (UDP).
    Udp,
    /// It is TCP, translated like UDP, but with a long timeout and without foreign traffic.
    Tcp,
}

/// What a NAT sees of a packet, and what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Where it comes from.
    pub src: SocketAddr,
    /// Where it goes to.
    pub dst: SocketAddr,
    /// How many hops it may still take.
    pub ttl: u8,
    /// It is of this protocol.
    pub proto: Proto,
}

impl Header {
    /// Makes a UDP header with the usual TTL of 64.
    pub fn udp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self { src, dst, ttl: 64, proto: Proto::Udp }
    }
}

/// What a NAT does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, on the other side, with this header.
    Forward(Header),
    /// It came from the inside to the NAT's own external address and goes back inside with this header (RFC 4787
    /// section 6).
    Hairpin(Header),
    /// It goes nowhere, for this reason.
    Drop(DropReason),
}

/// This says why a NAT dropped a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Its TTL ran out here.
    TtlExpired,
    /// The NAT lets no UDP through.
    UdpBlocked,
    /// It came from the outside to a port without a mapping.
    NoMapping,
    /// The mapping's filter does not know the sender.
    Filtered,
    /// The subscriber has all the ports it may have.
    Quota,
    /// No port is left for a new mapping.
    NoPort,
    /// It came to the NAT's own address from the inside, and the NAT does not hairpin.
    NoHairpin,
    /// The sender sent too much that nobody asked for.
    Blacklisted,
    /// It came from the outside, but not to an address of this NAT.
    NotMine,
    /// It came to a forwarded port, but its inner end has opened a flow to that sender by another port (Linux).
    FlowExists,
}

impl DropReason {
    /// Returns the name that it has in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::TtlExpired => "ttl-expired",
            Self::UdpBlocked => "udp-blocked",
            Self::NoMapping => "no-mapping",
            Self::Filtered => "filtered",
            Self::Quota => "quota",
            Self::NoPort => "no-port",
            Self::NoHairpin => "no-hairpin",
            Self::Blacklisted => "blacklisted",
            Self::NotMine => "not-mine",
            Self::FlowExists => "flow-exists",
        }
    }
}

/// What a NAT did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// It made this many mappings for its own hosts.
    pub mappings: u64,
    /// How many ports foreign traffic has taken.
    pub foreign: u64,
    /// How many packets were let out.
    pub outbound: u64,
    /// How many packets were let in.
    pub inbound: u64,
    /// How many packets were turned round to the inside.
    pub hairpinned: u64,
    /// This many mappings had to take another port because of an inbound packet that came first.
    pub clashes: u64,
    /// How many packets were dropped, by reason.
    pub drops: BTreeMap<DropReason, u64>,
}

/// This is one line for people: what a NAT holds for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingView {
    /// This is the address inside.
    pub internal: SocketAddr,
    /// This is the address outside.
    pub external: SocketAddr,
    /// When it dies if nothing refreshes it.
    pub expires: Duration,
}

#[cfg(test)]
mod tests;
