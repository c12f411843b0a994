//! What two players may expect before they are matched.

use super::{PlanOptions, plan};
use crate::method::{ExpectedWay, Method};
use crate::nat::{Confidence, NatProfile};

/// Returns the way by which the caller is expected to reach the callee, by the very plan that they would get; `relay`: the
/// server would pass packets on.
pub fn expected_way(caller: &NatProfile, callee: &NatProfile, relay: bool) -> ExpectedWay {
    let blocked = caller.udp_blocked || callee.udp_blocked;
    let unknown = |profile: &NatProfile| profile.confidence == Confidence::Unknown && !profile.mapped;
    if !blocked && (unknown(caller) || unknown(callee)) {
        return ExpectedWay::Unknown;
    }
    let plan = plan(caller, callee, PlanOptions::default());
    let aimed = |method: &Method| !method.searches();
    match (plan.hopeless, relay) {
        (None, _) if plan.methods.iter().any(aimed) => ExpectedWay::Direct,
        (None, _) => ExpectedWay::Search,
        (Some(_), true) => ExpectedWay::Relay,
        (Some(_), false) => ExpectedWay::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::{FilteringBehavior as F, MappingBehavior as M, PortAllocation as P};

    fn nat(mapping: M, allocation: P) -> NatProfile {
        NatProfile {
            mapping,
            filtering: F::AddressAndPortDependent,
            allocation,
            confidence: Confidence::Full,
            ..NatProfile::UNKNOWN
        }
    }

    #[test]
    fn the_way_is_that_of_the_plan() {
        let cone = nat(M::EndpointIndependent, P::Preserving);
        let counting = nat(M::AddressAndPortDependent, P::Sequential { step: 1 });
        let random = nat(M::AddressAndPortDependent, P::Random);
        let blocked = NatProfile { udp_blocked: true, ..NatProfile::UNKNOWN };
        for (a, b, way) in [
            (cone, cone, ExpectedWay::Direct),
            (cone, counting, ExpectedWay::Direct),
            (cone, random, ExpectedWay::Search),
            (random, random, ExpectedWay::Relay),
            (cone, blocked, ExpectedWay::Relay),
            (cone, NatProfile::UNKNOWN, ExpectedWay::Unknown),
            (NatProfile::UNKNOWN, NatProfile::UNKNOWN, ExpectedWay::Unknown),
            (blocked, NatProfile::UNKNOWN, ExpectedWay::Relay),
        ] {
            assert_eq!(expected_way(&a, &b, true), way, "{a:?} {b:?}");
            assert_eq!(expected_way(&b, &a, true), way, "{b:?} {a:?}");
            let alone = if way == ExpectedWay::Relay { ExpectedWay::Unreachable } else { way };
            assert_eq!(expected_way(&a, &b, false), alone);
        }
    }
}
