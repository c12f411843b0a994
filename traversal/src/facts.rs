//! Facts about the own NAT that are set by hand, one by one (M9; S1: the user enters the type of NAT, the port number
//! differential, the target ports of bubbles).
//!
//! A fact that is set wins over the measured one; what is not set is measured all the same. [`NatFacts`] travels to the
//! server with the profile, so that its own classification (E1) does not overrule the player.

mod text;

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nat::{Confidence, FilteringBehavior, MappingBehavior, NatKind, NatProfile, PortAllocation};

/// This is the largest port step that can be set: with it a counter passes through 15 ports before it begins anew.
/// Measured steps are up to 64 (M4).
pub const MAX_STEP: i32 = 4096;
/// This is the highest rate of foreign ports that can be set, per second. Carriers' NATs were seen with 1,000; at ten
/// times that the whole port space is used up in 6 s.
pub const MAX_FOREIGN_RATE: f32 = 10_000.0;
/// This is the least that may be set for the life of an idle mapping.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// This is the longest life of an idle mapping that can be set: no NAT is known that keeps one for longer than a day.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);
/// This many bubble targets can be set. Each is tested eight times within the first second, so they take a third of
/// what may be sent in it ([`Caps::datagrams_per_second`](crate::Caps::datagrams_per_second)).
pub const MAX_BUBBLE_TARGETS: u16 = 8;

/// This is what is known of the own NAT beforehand (M9). Each fact stands for itself; `None`: it is measured.
///
/// ```
/// use traversal_core::NatFacts;
/// use traversal_core::nat::{NatKind, NatProfile, PortAllocation};
///
/// let mut facts = NatFacts::of_kind(NatKind::PortRestrictedCone)?;
/// facts.allocation = Some(PortAllocation::Sequential { step: 2 });
/// facts.check()?;
/// let profile = facts.over(NatProfile::UNKNOWN);
/// assert_eq!(profile.kind(), NatKind::PortRestrictedCone);
/// # Ok::<(), traversal_core::FactError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NatFacts {
    /// This says whether there is a NAT at all; `Some(false)`: the machine has its public address itself (M5).
    pub translated: Option<bool>,
    /// This says when a mapping is reused (RFC 4787 section 4.1).
    pub mapping: Option<MappingBehavior>,
    /// This says what a mapping lets in (RFC 4787 section 5).
    pub filtering: Option<FilteringBehavior>,
    /// This says how ports of new mappings are chosen (RFC 4787 section 4.2). The port step is a part of it: from
    /// -[`MAX_STEP`] to [`MAX_STEP`], without 0.
    pub allocation: Option<PortAllocation>,
    /// This many ports per second are taken by other machines behind the same NAT, 0 to [`MAX_FOREIGN_RATE`].
    pub foreign_rate: Option<f32>,
    /// An idle mapping lives for this long: 1 s to [`MAX_TIMEOUT`]. Keepalives go out after two thirds of it, but no
    /// later than [`AgentConfig::keepalive`](crate::AgentConfig::keepalive) says (M31).
    pub timeout: Option<Duration>,
}

/// This is a fact that cannot be: the text says what can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactError {
    /// There is no such kind of NAT, or it is one that cannot be set.
    #[error(
        "\"{0}\" is no kind of NAT that can be set: none, firewall, full-cone, restricted-cone, port-restricted-cone, \
         address-sensitive-symmetric (as), port-sensitive-symmetric (ps)"
    )]
    Kind(String),
    /// There is no mapping behaviour of this name.
    #[error("\"{0}\" is no mapping: endpoint-independent, address-dependent, address-and-port-dependent")]
    Mapping(String),
    /// There is no filtering behaviour of this name.
    #[error("\"{0}\" is no filtering: endpoint-independent, address-dependent, address-and-port-dependent")]
    Filtering(String),
    /// There is no allocation of this name.
    #[error(
        "\"{0}\" is no allocation of ports: preserving, random, or FIRST-LAST for random ports in a block"
    )]
    Allocation(String),
    /// The fact was set to "unknown".
    #[error("the {0} is set to unknown: leave it out, and it is measured")]
    Unknown(&'static str),
    /// The step is out of range.
    #[error("a port step of {0} is not possible: -{MAX_STEP} to {MAX_STEP} ports, without 0")]
    Step(i32),
    /// The rate is out of range.
    #[error("{0} foreign ports a second are not possible: 0 to {MAX_FOREIGN_RATE}")]
    ForeignRate(String),
    /// The lifetime is out of range.
    #[error("a mapping's life of {} s is not possible: 1 to {} s", .0.as_secs_f32(), MAX_TIMEOUT.as_secs())]
    Timeout(Duration),
    /// The text names no ports.
    #[error("\"{0}\" names no ports: PORT, or FIRST-LAST, from 1 to 65535")]
    Ports(String),
    /// This many bubble targets are too many.
    #[error("{0} bubble targets are too many: up to {MAX_BUBBLE_TARGETS} ports")]
    TooManyTargets(u32),
}

impl NatFacts {
    /// These are facts of which nothing is set.
    pub const NONE: Self = Self {
        translated: None,
        mapping: None,
        filtering: None,
        allocation: None,
        foreign_rate: None,
        timeout: None,
    };

    /// Returns what the name of a kind says. The names of symmetric NATs say nothing of the filter (M6), and those of
    /// all kinds but "none" and "firewall" nothing of ports: that is measured.
    pub fn of_kind(kind: NatKind) -> Result<Self, FactError> {
        use FilteringBehavior as F;
        use MappingBehavior as M;
        let (translated, mapping, filtering) = match kind {
            NatKind::None => (false, M::EndpointIndependent, Some(F::EndpointIndependent)),
            NatKind::Firewall => (false, M::EndpointIndependent, Some(F::AddressAndPortDependent)),
            NatKind::FullCone => (true, M::EndpointIndependent, Some(F::EndpointIndependent)),
            NatKind::RestrictedCone => (true, M::EndpointIndependent, Some(F::AddressDependent)),
            NatKind::PortRestrictedCone => (true, M::EndpointIndependent, Some(F::AddressAndPortDependent)),
            NatKind::AddressSensitiveSymmetric => (true, M::AddressDependent, None),
            NatKind::PortSensitiveSymmetric => (true, M::AddressAndPortDependent, None),
            NatKind::UdpBlocked | NatKind::Unknown => return Err(FactError::Kind(kind.to_string())),
        };
        Ok(Self {
            translated: Some(translated),
            mapping: Some(mapping),
            filtering,
            allocation: (!translated).then_some(PortAllocation::Preserving),
            ..Self::NONE
        })
    }

    /// Checks whether all of it can be, and else says what can.
    pub fn check(&self) -> Result<(), FactError> {
        // The second is what a measurement with one server address leaves open, and nothing to know beforehand.
        if let Some(MappingBehavior::Unknown | MappingBehavior::NotPortSensitive) = self.mapping {
            return Err(FactError::Unknown("mapping"));
        }
        if self.filtering == Some(FilteringBehavior::Unknown) {
            return Err(FactError::Unknown("filtering"));
        }
        match self.allocation {
            Some(PortAllocation::Unknown) => return Err(FactError::Unknown("allocation of ports")),
            Some(PortAllocation::Sequential { step }) if !step_is_possible(step) => {
                return Err(FactError::Step(step));
            }
            Some(PortAllocation::RandomInBlock { first, last }) if first == 0 || first > last => {
                return Err(FactError::Ports(format!("{first}-{last}")));
            }
            _ => {}
        }
        if let Some(rate) = self.foreign_rate.filter(|rate| !rate_is_possible(*rate)) {
            return Err(FactError::ForeignRate(rate.to_string()));
        }
        match self.timeout {
            Some(timeout) if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) => {
                Err(FactError::Timeout(timeout))
            }
            _ => Ok(()),
        }
    }

    /// Returns the profile with these facts in place of the measured ones. Where mapping, filtering and ports are all
    /// set by hand nothing measured decides anything: its confidence is [`Confidence::Manual`].
    #[must_use]
    pub fn over(&self, measured: NatProfile) -> NatProfile {
        let all = self.mapping.is_some() && self.filtering.is_some() && self.allocation.is_some();
        NatProfile {
            translated: self.translated.or(measured.translated),
            mapping: self.mapping.unwrap_or(measured.mapping),
            filtering: self.filtering.unwrap_or(measured.filtering),
            allocation: self.allocation.unwrap_or(measured.allocation),
            // It is about the measured one.
            allocation_confidence: measured.allocation_confidence.filter(|_| self.allocation.is_none()),
            foreign_rate: self.foreign_rate.or(measured.foreign_rate),
            timeout: self.timeout.or(measured.timeout),
            // Both bounds belong to one measurement.
            timeout_below: measured.timeout_below.filter(|_| self.timeout.is_none()),
            confidence: if all { Confidence::Manual } else { measured.confidence },
            ..measured
        }
    }

    /// Returns the names of the facts that are set, as `peer` prints them.
    pub fn names(&self) -> Vec<&'static str> {
        [
            (self.translated.is_some(), "translated"),
            (self.mapping.is_some(), "mapping"),
            (self.filtering.is_some(), "filtering"),
            (self.allocation.is_some(), "allocation"),
            (self.foreign_rate.is_some(), "foreign_rate"),
            (self.timeout.is_some(), "timeout"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
        .collect()
    }
}

fn step_is_possible(step: i32) -> bool {
    step != 0 && step.unsigned_abs() <= MAX_STEP.unsigned_abs()
}

fn rate_is_possible(rate: f32) -> bool {
    (0.0..=MAX_FOREIGN_RATE).contains(&rate)
}

impl NatProfile {
    /// Leaves out what no NAT can do: a profile that comes from the network or from a file is another's word.
    #[must_use]
    pub fn plausible(self) -> Self {
        let allocation = match self.allocation {
            PortAllocation::Sequential { step } if !step_is_possible(step) => PortAllocation::Unknown,
            PortAllocation::RandomInBlock { first, last } if first == 0 || first > last => {
                PortAllocation::Unknown
            }
            possible => possible,
        };
        let possible = |time: &Duration| *time <= MAX_TIMEOUT;
        Self {
            allocation,
            foreign_rate: self.foreign_rate.filter(|rate| rate_is_possible(*rate)),
            allocation_confidence: self.allocation_confidence.filter(|sure| (0.0..=1.0).contains(sure)),
            timeout: self.timeout.filter(possible),
            timeout_below: self.timeout_below.filter(possible),
            ..self
        }
    }
}

/// These are ports of the *other* player's NAT at which this player's bubbles are aimed, beside the port where the
/// lobby server sees it (M9, M13). S1: the target port of bubbles "may be preliminarily set in the transmission side
/// information processor, or [...] by manual input by the user". It serves where the other player has said which port
/// its router forwards to it, or from which ports its NAT takes new ones: the game's socket tests them whatever the
/// plan says, and the bubbles of a sending side go there, too.
///
/// Only the IP at which the lobby server has validated the matched player is ever sent to, and the [`Caps`](crate::Caps)
/// count these packets like all others.
///
/// ```
/// use traversal_core::BubbleTargets;
///
/// let targets: BubbleTargets = "40000-40003".parse()?;
/// assert_eq!(targets.ports().count(), 4);
/// assert!("1-65535".parse::<BubbleTargets>().is_err());
/// # Ok::<(), traversal_core::FactError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BubbleTargets(RangeInclusive<u16>);

impl BubbleTargets {
    /// Takes these ports, from 1 to 65535, at most [`MAX_BUBBLE_TARGETS`] of them.
    pub fn new(ports: RangeInclusive<u16>) -> Result<Self, FactError> {
        let (first, last) = (*ports.start(), *ports.end());
        if first == 0 || first > last {
            return Err(FactError::Ports(format!("{first}-{last}")));
        }
        let count = u32::from(last - first) + 1;
        if count > u32::from(MAX_BUBBLE_TARGETS) {
            return Err(FactError::TooManyTargets(count));
        }
        Ok(Self(ports))
    }

    /// Gives the ports, from the first one to the last.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: NatProfile = NatProfile {
        mapping: MappingBehavior::EndpointIndependent,
        filtering: FilteringBehavior::AddressAndPortDependent,
        allocation: PortAllocation::Random,
        translated: Some(true),
        timeout: Some(Duration::from_secs(28)),
        timeout_below: Some(Duration::from_secs(31)),
        foreign_rate: Some(3.0),
        confidence: Confidence::Full,
        ..NatProfile::UNKNOWN
    };

    #[test]
    fn m9_each_fact_alone_wins_and_leaves_the_others_as_measured() {
        assert_eq!(NatFacts::NONE.over(MEASURED), MEASURED);
        let step = PortAllocation::Sequential { step: -7 };
        let facts = NatFacts { allocation: Some(step), ..NatFacts::NONE };
        assert_eq!(facts.over(MEASURED), NatProfile { allocation: step, ..MEASURED });
        let facts = NatFacts { foreign_rate: Some(400.0), ..NatFacts::NONE };
        assert_eq!(facts.over(MEASURED), NatProfile { foreign_rate: Some(400.0), ..MEASURED });
        let filtering = FilteringBehavior::EndpointIndependent;
        let facts = NatFacts { filtering: Some(filtering), ..NatFacts::NONE };
        assert_eq!(facts.over(MEASURED), NatProfile { filtering, ..MEASURED });
        let timeout = Some(Duration::from_secs(90));
        let facts = NatFacts { timeout, ..NatFacts::NONE };
        assert_eq!(facts.over(MEASURED), NatProfile { timeout, timeout_below: None, ..MEASURED });
    }

    #[test]
    fn m9_a_kind_sets_what_its_name_says() {
        for kind in [
            NatKind::None,
            NatKind::Firewall,
            NatKind::FullCone,
            NatKind::RestrictedCone,
            NatKind::PortRestrictedCone,
            NatKind::AddressSensitiveSymmetric,
            NatKind::PortSensitiveSymmetric,
        ] {
            let facts = NatFacts::of_kind(kind).unwrap();
            facts.check().unwrap();
            for measured in [NatProfile::UNKNOWN, MEASURED] {
                assert_eq!(facts.over(measured).kind(), kind);
            }
            // As it is printed, and as it is typed.
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.to_string().replace(' ', "-").parse(), Ok(kind));
        }
        assert!(NatFacts::of_kind(NatKind::Unknown).is_err());
        assert!("udpblocked".parse::<NatKind>().is_err());
    }

    #[test]
    fn only_what_decides_everything_is_called_set_by_hand() {
        let mut facts = NatFacts::of_kind(NatKind::FullCone).unwrap();
        assert_eq!(facts.over(NatProfile::UNKNOWN).confidence, Confidence::Unknown);
        assert_eq!(facts.over(MEASURED).confidence, Confidence::Full);
        facts.allocation = Some(PortAllocation::Preserving);
        assert_eq!(facts.over(MEASURED).confidence, Confidence::Manual);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let step =
            |step| NatFacts { allocation: Some(PortAllocation::Sequential { step }), ..NatFacts::NONE };
        for possible in [1, -1, 64, -64, MAX_STEP, -MAX_STEP] {
            assert_eq!(step(possible).check(), Ok(()));
        }
        for (impossible, says) in [
            (step(0), "without 0"),
            (step(4097), "4096"),
            (step(i32::MIN), "-4096 to 4096"),
            (NatFacts { foreign_rate: Some(f32::NAN), ..NatFacts::NONE }, "0 to 10000"),
            (NatFacts { foreign_rate: Some(-1.0), ..NatFacts::NONE }, "0 to 10000"),
            (NatFacts { timeout: Some(Duration::ZERO), ..NatFacts::NONE }, "1 to 86400 s"),
            (NatFacts { mapping: Some(MappingBehavior::Unknown), ..NatFacts::NONE }, "leave it out"),
            (
                NatFacts {
                    allocation: Some(PortAllocation::RandomInBlock { first: 9, last: 8 }),
                    ..NatFacts::NONE
                },
                "FIRST-LAST",
            ),
        ] {
            let refused = impossible.check().unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
        for text in ["", "0", "5-4", "70000", "a", "1-", "-5"] {
            let refused = text.parse::<BubbleTargets>().unwrap_err().to_string();
            assert!(refused.contains("from 1 to 65535"), "{refused}");
        }
        let refused = "1000-1008".parse::<BubbleTargets>().unwrap_err().to_string();
        assert_eq!(refused, "9 bubble targets are too many: up to 8 ports");
        assert_eq!("1000-1007".parse::<BubbleTargets>().unwrap().to_string(), "1000-1007");
        assert_eq!("65535".parse::<BubbleTargets>().unwrap().ports().collect::<Vec<_>>(), [65535]);
    }

    #[test]
    fn a_profile_from_elsewhere_keeps_only_what_can_be() {
        let wild = NatProfile {
            allocation: PortAllocation::Sequential { step: i32::MIN },
            foreign_rate: Some(f32::INFINITY),
            timeout: Some(Duration::MAX),
            timeout_below: Some(Duration::MAX),
            ..MEASURED
        };
        let tame = NatProfile {
            allocation: PortAllocation::Unknown,
            foreign_rate: None,
            timeout: None,
            timeout_below: None,
            ..MEASURED
        };
        assert_eq!(wild.plausible(), tame);
        assert_eq!(MEASURED.plausible(), MEASURED);
    }
}
