//! What kind of NAT a player is behind (M1-M6, M9), told from probes to the lobby server's sockets.
//!
//! [`classify`] is a pure function of what was seen, so it serves both places where the work may be done (M7):
//! the peer (E2) hosts a [`Classifier`], which decides what to send and ends with a profile; the server (E1) fills
//! the same [`Evidence`] with what it saw itself, and takes the filter tests, which only the peer can judge, from
//! the peer's report ([`merge_report`]).

mod driver;
mod lifetime;

pub use crate::rtt::RttEstimate;
pub use driver::{Classifier, ClassifierConfig, ClassifierOrder, ProbeOrder};
pub use lifetime::{Lifetime, LifetimeOrder, LifetimeSearch};

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use crate::ports::{Estimate, FreshMapping, StepRule, allocation, foreign_rate};

/// This is the tag that a classification probe carries on the wire: it names the local port, so that a server which
/// works out the NAT's type itself knows which probes left from one socket, and whether a port was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeTag {
    /// The probe left from the local socket with this port.
    pub local_port: u16,
    /// An earlier packet, of which nothing was heard, may have made the mapping already: a counter's port may be
    /// older than this probe.
    pub repeated: bool,
    /// This says which burst it is part of; it has 2 bits. All packets of a burst leave back to back.
    pub burst: u8,
    /// Place in the order of sending, and makes the tag unique within the session; 13 bits.
    pub sequence: u16,
}

/// This is the bit of a tag's lower half that says [`ProbeTag::repeated`].
const REPEATED: u16 = 1 << 15;
/// [`ProbeTag::burst`] stands above these bits of a tag's lower half.
const SEQUENCE: u16 = (1 << 13) - 1;

impl From<ProbeTag> for u32 {
    fn from(tag: ProbeTag) -> Self {
        let flag = if tag.repeated { REPEATED } else { 0 };
        let burst = u16::from(tag.burst % 4) << 13;
        (u32::from(tag.local_port) << 16) | u32::from(flag | burst | (tag.sequence & SEQUENCE))
    }
}

impl From<u32> for ProbeTag {
    fn from(tag: u32) -> Self {
        // Both halves by construction 16 bits.
        let (local_port, low) = ((tag >> 16) as u16, tag as u16);
        let burst = (low >> 13) as u8 % 4;
        Self { local_port, repeated: low & REPEATED != 0, burst, sequence: low & SEQUENCE }
    }
}

/// This is one probe that was seen by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// This is port of the local socket that it left from; tells the sockets apart.
    pub local_port: u16,
    /// This is socket of the server that it was sent to.
    pub target: SocketAddr,
    /// This says where it was seen.
    pub observed: SocketAddr,
    /// This says when it was sent (or, on the server, came in), counted from any fixed moment.
    pub sent: Duration,
    /// It was sent more than once before it was seen.
    pub repeated: bool,
    /// The probe belonged to this burst, see [`ProbeTag::burst`].
    pub burst: u8,
    /// This is the order in which the probes left, see [`ProbeTag::sequence`].
    pub sequence: u16,
}

/// This is all that was found out about one NAT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// These addresses are on the machine's own interfaces (M5, M28).
    pub local: Vec<IpAddr>,
    /// These probes were seen, in the order of sending (or of coming in).
    pub sightings: Vec<Sighting>,
    /// This says whether an answer came in from another port of an address that the fresh socket had sent to (M3).
    pub from_other_port: Option<bool>,
    /// This says whether an answer came in from an address that the fresh socket had never sent to (M1).
    pub from_other_address: Option<bool>,
    /// This says whether a packet to the own external address came back in.
    pub hairpin: Option<bool>,
    /// The server has two addresses.
    pub two_addresses: bool,
    /// This says how the step is taken from the intervals.
    pub step_rule: StepRule,
}

/// Returns the profile that fits the evidence. What cannot be told stays unknown.
pub fn classify(evidence: &Evidence) -> NatProfile {
    let sightings = &evidence.sightings;
    if sightings.is_empty() {
        // Probes run beside a session by UDP, so silence says that the server's other sockets are not reached, by a
        // firewall or a proxy before it, and nothing about UDP.
        return NatProfile::UNKNOWN;
    }
    let translated = translated(evidence);
    let mut fresh = fresh_mappings(sightings);
    let (mapping, ports) = if translated == Some(false) {
        let allocation = PortAllocation::Preserving;
        (MappingBehavior::EndpointIndependent, Estimate { allocation, confidence: 1.0, parity: Some(true) })
    } else {
        (mapping(sightings), choice_of_ports(&mut fresh, evidence.step_rule))
    };
    let rate = match ports.allocation {
        PortAllocation::Sequential { step } => foreign_rate(&fresh, step),
        _ => None,
    };
    NatProfile {
        mapping,
        filtering: filtering(evidence),
        allocation: ports.allocation,
        translated,
        hairpin: evidence.hairpin,
        pooled: Some(sightings.iter().any(|s| s.observed.ip() != sightings[0].observed.ip())),
        udp_blocked: false,
        timeout: None,
        timeout_below: None,
        foreign_rate: rate,
        confidence: if evidence.two_addresses { Confidence::Full } else { Confidence::Reduced },
        mapped: false,
        allocation_confidence: Some(ports.confidence).filter(|_| ports.allocation != PortAllocation::Unknown),
        parity: ports.parity,
    }
}

/// Returns what the server worked out itself, with the facts that only the peer can know from its report (filter
/// tests, hairpin, timeout), and with whatever else only the report knows.
pub fn merge_report(seen: &NatProfile, report: &NatProfile) -> NatProfile {
    let known_mapping = seen.mapping != MappingBehavior::Unknown;
    let known_ports = seen.allocation != PortAllocation::Unknown;
    NatProfile {
        mapping: if known_mapping { seen.mapping } else { report.mapping },
        filtering: report.filtering,
        allocation: if known_ports { seen.allocation } else { report.allocation },
        translated: seen.translated.or(report.translated),
        hairpin: report.hairpin,
        pooled: seen.pooled.or(report.pooled),
        udp_blocked: seen.udp_blocked && report.udp_blocked,
        timeout: report.timeout,
        timeout_below: report.timeout_below,
        foreign_rate: seen.foreign_rate.or(report.foreign_rate),
        confidence: if known_mapping { seen.confidence } else { report.confidence },
        mapped: false,
        allocation_confidence: if known_ports {
            seen.allocation_confidence
        } else {
            report.allocation_confidence
        },
        parity: seen.parity.or(report.parity),
    }
}

/// Answers M5: whether the seen address is none of the machine's own. It is `None` where its own are not known.
fn translated(evidence: &Evidence) -> Option<bool> {
    if evidence.local.is_empty() {
        return None;
    }
    let own = |s: &Sighting| s.observed.port() == s.local_port && evidence.local.contains(&s.observed.ip());
    Some(!evidence.sightings.iter().any(own))
}

/// Answers M2 and, with one server address, M6. Each pair of probes from one socket is a vote: a NAT may leave its
/// habit for a single socket (RFC 4787 section 4.1), and if half of them disagree the harder case is taken.
fn mapping(sightings: &[Sighting]) -> MappingBehavior {
    let (mut ports, mut addresses) = ((0u32, 0u32), (0u32, 0u32));
    for (i, a) in sightings.iter().enumerate() {
        let others =
            sightings[i + 1..].iter().filter(|b| b.local_port == a.local_port && b.target != a.target);
        for b in others {
            let votes = if a.target.ip() == b.target.ip() { &mut ports } else { &mut addresses };
            if a.observed == b.observed { votes.0 += 1 } else { votes.1 += 1 }
        }
    }
    let differ = |votes: (u32, u32)| (votes != (0, 0)).then_some(votes.1 >= votes.0);
    match (differ(ports), differ(addresses)) {
        (Some(true), _) => MappingBehavior::AddressAndPortDependent,
        (_, Some(false)) => MappingBehavior::EndpointIndependent,
        (Some(false), Some(true)) => MappingBehavior::AddressDependent,
        (Some(false), None) => MappingBehavior::NotPortSensitive,
        // Different addresses alone do not tell the two symmetric kinds apart.
        (None, Some(true) | None) => MappingBehavior::Unknown,
    }
}

/// Tells the filtering behaviour (M1 and M3). With one server address an answer from another port leaves open whether the
/// address matters, so it
/// is unknown (M6); silence still tells.
fn filtering(evidence: &Evidence) -> FilteringBehavior {
    match (evidence.from_other_address, evidence.from_other_port) {
        (Some(true), _) => FilteringBehavior::EndpointIndependent,
        (_, Some(false)) => FilteringBehavior::AddressAndPortDependent,
        (Some(false), Some(true)) => FilteringBehavior::AddressDependent,
        (None, Some(true)) | (_, None) => FilteringBehavior::Unknown,
    }
}

/// Returns how ports are chosen. A NAT that keeps the inner port while it is free may be behind one that counts: the
/// first mapping of each socket counts then, and later ones, which find the port taken, are drawn. Methods use fresh
/// sockets, so the first ones are what matters; `mappings` are those that the result is about.
fn choice_of_ports(mappings: &mut Vec<FreshMapping>, rule: StepRule) -> Estimate {
    let all = allocation(mappings, rule);
    if matches!(all.allocation, PortAllocation::Sequential { .. } | PortAllocation::Preserving) {
        return all;
    }
    let mut sockets = BTreeSet::new();
    let firsts: Vec<FreshMapping> = mappings.iter().filter(|m| sockets.insert(m.local)).copied().collect();
    if firsts.len() == mappings.len() {
        return all;
    }
    let counted = allocation(&firsts, rule);
    if !matches!(counted.allocation, PortAllocation::Sequential { .. }) {
        return all;
    }
    *mappings = firsts;
    counted
}

/// Returns all mappings that the probes made, each by the first probe that showed it.
fn fresh_mappings(sightings: &[Sighting]) -> Vec<FreshMapping> {
    // Sequence numbers start again; those of one classification lie near to each other.
    let Some(base) = sightings.first().map(|s| s.sequence.wrapping_sub(SEQUENCE / 2)) else {
        return Vec::new();
    };
    let order = |s: &Sighting| u32::from(s.sequence.wrapping_sub(base) & SEQUENCE);
    // A packet that was lost behind the NAT has made a mapping, and a later one to another target may share it.
    let may_be_older = |s: &Sighting| {
        sightings.iter().any(|o| o.repeated && o.local_port == s.local_port && o.observed == s.observed)
    };
    let mut in_order: Vec<&Sighting> = sightings.iter().collect();
    in_order.sort_by_key(|s| order(s));
    let mut seen = BTreeSet::new();
    in_order
        .into_iter()
        .filter(|s| seen.insert(s.observed))
        .map(|s| FreshMapping {
            sent: s.sent,
            burst: s.burst,
            order: order(s),
            local: s.local_port,
            external: s.observed.port(),
            address: s.observed.ip(),
            repeated: may_be_older(s),
        })
        .collect()
}

#[cfg(test)]
mod tests;
