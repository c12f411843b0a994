//! What a NAT lets happen, as questions that the methods ask.

use crate::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};

/// This is a [`NatProfile`] boiled down to what decides about methods. Unknown facts are optimistic in the questions
/// that let a method in and pessimistic in those that give a pair up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    mapping: MappingBehavior,
    filtering: FilteringBehavior,
    allocation: PortAllocation,
    /// The allocation may be another one than what is said.
    doubtful: bool,
    foreign_rate: f32,
}

/// A NAT's allocation of ports is doubted that was measured with less than this confidence, as is one that was measured and
/// could not be told: what serves where it is another one is tried, too, after what serves where it is as said.
const SURE: f32 = 0.9;

/// Returns what of a profile decides which packets get through. A player without translation is taken as
/// endpoint-independent (M5).
pub fn reach(profile: &NatProfile) -> Reach {
    let untranslated = profile.translated == Some(false);
    Reach {
        mapping: if untranslated { MappingBehavior::EndpointIndependent } else { profile.mapping },
        filtering: profile.filtering,
        allocation: profile.allocation,
        doubtful: is_doubtful(profile),
        foreign_rate: profile.foreign_rate.unwrap_or(0.0).max(0.0),
    }
}

fn is_doubtful(profile: &NatProfile) -> bool {
    match profile.allocation {
        PortAllocation::Unknown => matches!(profile.confidence, Confidence::Full | Confidence::Reduced),
        _ => profile.allocation_confidence.is_some_and(|confidence| confidence < SURE),
    }
}

impl Reach {
    /// Returns whether there is surely one port for everybody.
    pub fn mapping_is_fixed(self) -> bool {
        self.mapping == MappingBehavior::EndpointIndependent
    }

    /// Returns whether there is one port for everybody, as far as is known.
    pub fn mapping_may_be_fixed(self) -> bool {
        matches!(
            self.mapping,
            MappingBehavior::EndpointIndependent
                | MappingBehavior::NotPortSensitive
                | MappingBehavior::Unknown
        )
    }

    /// Returns whether there is one port for everybody, as far as is known: what is not known at all is most likely
    /// such a NAT.
    pub(crate) fn mapping_is_hoped_fixed(self) -> bool {
        self.mapping == MappingBehavior::Unknown || self.mapping_is_fixed()
    }

    /// Returns whether there is surely a new port for each address at least.
    pub fn never_fixed(self) -> bool {
        !self.mapping_may_be_fixed()
    }

    /// Returns whether there is one port for all ports of one address, as far as is known: this is all that M12 asks
    /// for.
    pub fn one_port_per_address(self) -> bool {
        self.mapping != MappingBehavior::AddressAndPortDependent
    }

    fn filters_no_ports(self) -> bool {
        self.filtering != FilteringBehavior::AddressAndPortDependent
    }

    fn filters_nothing(self) -> bool {
        matches!(self.filtering, FilteringBehavior::EndpointIndependent | FilteringBehavior::Unknown)
    }

    /// Returns whether new ports have no pattern, in a mapping that needs new ones.
    pub fn unpredictable(self) -> bool {
        self.never_fixed()
            && matches!(self.allocation, PortAllocation::Random | PortAllocation::RandomInBlock { .. })
    }

    /// Returns whether the port cannot be told, or that cannot be excluded.
    pub fn may_be_unpredictable(self) -> bool {
        self.unpredictable() || (self.never_fixed() && self.doubtful)
    }

    /// Returns whether the port that the next packet leaves by can be told: it stays the same, or the NAT counts.
    pub fn predictable(self) -> bool {
        !self.unpredictable()
    }

    /// Returns whether its next ports are told more surely: they are the inner ones, or others take far fewer of
    /// them. A small difference does not count, since each side may know the rates of another moment.
    pub fn surer_than(self, other: Self) -> bool {
        let kept = |side: Self| side.allocation == PortAllocation::Preserving;
        if !self.never_fixed() || !other.never_fixed() {
            return false; // The port of one of the two is known anyway.
        }
        match (kept(self), kept(other)) {
            (false, false) => self.foreign_rate * 2.0 + 10.0 < other.foreign_rate,
            (own, others) => own && !others,
        }
    }

    /// Returns whether one socket has a new port for each destination, one step after the other.
    pub fn counts_per_destination(self) -> bool {
        matches!(self.mapping, MappingBehavior::AddressAndPortDependent | MappingBehavior::Unknown)
            && matches!(
                self.allocation,
                // Where ports are kept, the second destination's is not the next one.
                PortAllocation::Sequential { .. } | PortAllocation::Unknown
            )
    }

    /// Returns whether a packet from `other` to the port that the lobby server sees gets in here, if this side has
    /// sent one to the port where the lobby server sees `other`; and so does the answer to it there.
    pub fn reached_at_known_port(self, other: Self) -> bool {
        let fixed = self.mapping_may_be_fixed()
            && (self.filters_nothing() || self.filters_no_ports() || other.mapping_may_be_fixed());
        // The port that the server sees takes packets from anybody, though the answers leave by another one.
        let open = self.filtering == FilteringBehavior::EndpointIndependent && other.filters_no_ports();
        fixed || open
    }

    /// From whichever port of its address `other` sends, it gets in here, and gets an answer that gets in there: this side's
    /// filter looks at no ports, and its answer leaves by the port that `other` has sent to, or `other` does not ask by
    /// which.
    fn talks_to_any_port_of(self, other: Self) -> bool {
        self.filters_no_ports() && (self.one_port_per_address() || other.filters_no_ports())
    }

    /// Returns whether M13-M18 work with this side sending the bubble to the lobby port of `receiving`.
    pub fn bubble_reaches(self, receiving: Self) -> bool {
        let reply_passes = receiving.mapping_may_be_fixed() || self.talks_to_any_port_of(receiving);
        self.predictable() && reply_passes
    }

    /// Returns whether M20-M22 work with this side getting the bubbles.
    pub fn takes_many_bubbles(self, sending: Self) -> bool {
        if !self.one_port_per_address() || self.unpredictable() {
            return false;
        }
        // Where the sender's ports cannot be told, no reply finds them; but a filter that does not look at ports
        // lets the bubbles themselves in, and the answer goes to where they came from.
        sending.predictable() || self.filters_no_ports()
    }

    /// This side's many random ports can be hit by `other`: its own filter must take what comes, which it does
    /// from a port known beforehand, or from any port if it does not look at ports; and the answer must get back.
    pub fn found_by_chance(self, other: Self) -> bool {
        self.may_be_unpredictable() && (other.mapping_may_be_fixed() || self.talks_to_any_port_of(other))
    }
}
