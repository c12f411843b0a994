//! M10-M12: who is the sending and who the receiving side.

use crate::method::{Method, Role};
use crate::nat::{FilteringBehavior, MappingBehavior, NatProfile};
use crate::reach::reach;

/// This is S1 E1's decision about a caller that starts as the sending side (M10), with its outcome table (M11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// A bubble works with the roles as they are.
    Keep,
    /// Works with roles exchanged.
    Swap,
    /// One bubble does not work in either direction.
    Impossible,
}

/// Decides M11 for any two NATs: whether a bubble from `sending` works, works the other way round, or not at all.
pub fn bubble_outcome(sending: &NatProfile, receiving: &NatProfile) -> Decision {
    let (s, r) = (reach(sending), reach(receiving));
    if s.bubble_reaches(r) || r.reached_at_known_port(s) {
        Decision::Keep
    } else if r.bubble_reaches(s) || s.reached_at_known_port(r) {
        Decision::Swap
    } else {
        Decision::Impossible
    }
}

/// Decides M10 for any two NATs: the caller starts as the sending side. (S1 lets a port-restricted caller swap without
/// looking at the callee, to save a measurement; both are measured here already.)
///
/// What is not known is taken as the strictest first, so that the roles are right for most players who join before
/// their NAT is known: then S1's rule applies, which swaps a port-restricted caller against a symmetric callee. With one
/// server address a cone cannot be told from an address-sensitive NAT; the latter is the stricter, and a
/// port-restricted caller swaps without looking, as S1 allows (M10, M40).
pub fn bubble_decision(caller: &NatProfile, callee: &NatProfile) -> Decision {
    match bubble_outcome(&strict(caller), &strict(callee)) {
        Decision::Impossible => bubble_outcome(caller, callee),
        decision => decision,
    }
}

fn strict(profile: &NatProfile) -> NatProfile {
    let mapping = match profile.mapping {
        MappingBehavior::Unknown => MappingBehavior::EndpointIndependent,
        MappingBehavior::NotPortSensitive => MappingBehavior::AddressDependent,
        known => known,
    };
    let filtering = match profile.filtering {
        // With one server address this is what a filter looks like that does not ask for the port.
        FilteringBehavior::Unknown if mapping == MappingBehavior::AddressDependent => {
            FilteringBehavior::AddressDependent
        }
        FilteringBehavior::Unknown => FilteringBehavior::AddressAndPortDependent,
        known => known,
    };
    NatProfile { mapping, filtering, ..*profile }
}

/// The decision of S1's E4 (M12) says which side sends many bubbles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MultiBubbleDecision {
    /// The caller is the receiving side.
    CallerReceives,
    /// The callee takes the bubbles.
    CalleeReceives,
    /// It does not work: both NATs are port-sensitive.
    Impossible,
}

/// Decides M12, which needs one fact only: whether a NAT is port-sensitive.
pub fn multi_bubble_decision(caller: &NatProfile, callee: &NatProfile) -> MultiBubbleDecision {
    if reach(caller).one_port_per_address() {
        MultiBubbleDecision::CallerReceives
    } else if reach(callee).one_port_per_address() {
        MultiBubbleDecision::CalleeReceives
    } else {
        MultiBubbleDecision::Impossible
    }
}

/// Returns the role that a player with NAT `own` plays in one method of a plan that gave it `role`. Both players come
/// to opposite answers, since both know both profiles.
///
/// With many bubbles the receiving side must not be port-sensitive, and is better not one whose ports cannot be
/// predicted; in a search by chance the side that opens the random ports is called sending; with predicted ports the
/// side whose counter moves less; all others keep the plan's role.
pub fn role_in(method: Method, role: Role, own: &NatProfile, peer: &NatProfile) -> Role {
    let (o, p) = (reach(own), reach(peer));
    let (own_fits, peer_fits) = match method {
        Method::MultiBubble => (p.takes_many_bubbles(o), o.takes_many_bubbles(p)),
        Method::Birthday => (o.found_by_chance(p), p.found_by_chance(o)),
        // M24: the sending side's ports are foretold over two round trips, the other side's at the moment of use.
        Method::Prediction => (o.surer_than(p), p.surer_than(o)),
        _ => return role,
    };
    match (own_fits, peer_fits) {
        (true, false) => Role::Sending,
        (false, true) => Role::Receiving,
        _ => role,
    }
}
