//! Who sends bubbles, who sends replies, and which methods are tried: pure functions of two [`NatProfile`]s
//! (M10-M12). They work on the RFC 4787 space; the tables of S1 for its five names fall out of them.

mod expected;
mod revision;
mod roles;

pub use crate::reach::{Reach, reach};
pub use expected::expected_way;
pub use revision::{EDITIONS, PlanInForce, Revision};
pub use roles::{
    Decision, MultiBubbleDecision, bubble_decision, bubble_outcome, multi_bubble_decision, role_in,
};

use crate::failure::FailureReason;
use crate::method::{Method, Role};
use crate::nat::{Confidence, NatProfile};

/// This is what [`plan`] needs to know beside the two NATs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Only this method is tried, with no speculation beside it. `None`, the default: all that may work.
    pub force: Option<Method>,
}

/// This is what the server tells both players.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The caller has this role, and the other player the other one. A single method may turn it round: [`role_in`].
    pub caller: Role,
    /// These methods are tried in this order. Those that [`starts_together`] names begin at once, the others in their
    /// turn.
    pub methods: Vec<Method>,
    /// A direct path cannot be had, and why. The methods are empty then, or hopeful tries where facts are missing.
    pub hopeless: Option<FailureReason>,
}

/// Returns whether `method` starts together with the ones before it in a plan's list, rather than after they failed.
/// The wire only carries the list; both sides know this rule.
///
/// Direct tests, speculation and bracket cost little and disturb each other not at all, so they start at once
/// (play begins over the relay meanwhile). The others open many mappings and would spoil the measurement: they
/// wait.
pub fn starts_together(earlier: &[Method], method: Method) -> bool {
    let light = |m: &Method| matches!(m, Method::Cone | Method::Bubble | Method::Prediction);
    !earlier.is_empty() && light(&method) && earlier.iter().all(light)
}

/// Returns the plan for a caller (who asked to be connected) and a callee.
///
/// Each profile is taken as it is where it was measured; what is unknown or stale is hoped for, so that cheap
/// methods are tried before the pair is given up.
pub fn plan(caller: &NatProfile, callee: &NatProfile, options: PlanOptions) -> Plan {
    let role = match bubble_decision(caller, callee) {
        Decision::Swap => Role::Receiving,
        Decision::Keep | Decision::Impossible => Role::Sending,
    };
    if let Some(method) = options.force {
        let works = works(method, caller, callee, role);
        return Plan {
            caller: role,
            methods: vec![method],
            hopeless: (!works).then(|| expected_failure(caller, callee)),
        };
    }
    if caller.udp_blocked || callee.udp_blocked {
        return Plan { caller: role, methods: Vec::new(), hopeless: Some(expected_failure(caller, callee)) };
    }
    let mut wanted = Vec::new();
    for method in order(caller, callee) {
        if works(method, caller, callee, role) {
            wanted.push(method);
        }
    }
    let hopeless = wanted.is_empty().then(|| expected_failure(caller, callee));
    if hopeless.is_some() && !(sure(caller) && sure(callee)) {
        // Old or missing facts may be wrong; a few test messages cost nothing.
        wanted.push(Method::Cone);
    }
    Plan { caller: role, methods: wanted, hopeless }
}

fn sure(profile: &NatProfile) -> bool {
    matches!(profile.confidence, Confidence::Full | Confidence::Manual)
}

/// Returns the methods, the cheapest first, where several of them may serve. A method that failed is followed by
/// another one, never by itself (97.6 % of successes come with the first try of one).
fn order(a: &NatProfile, b: &NatProfile) -> Vec<Method> {
    let (ra, rb) = (reach(a), reach(b));
    let mut methods = Vec::with_capacity(6);
    let both_fixed = ra.mapping_is_fixed() && rb.mapping_is_fixed();
    if both_fixed || !(sure(a) && sure(b)) || works(Method::Cone, a, b, Role::Sending) {
        methods.push(Method::Cone);
    }
    if !(both_fixed && sure(a) && sure(b)) {
        methods.push(Method::Prediction);
    }
    methods.extend([Method::Bubble, Method::MultiBubble]);
    if ra.never_fixed() && rb.never_fixed() {
        methods.push(Method::GiantStep);
    }
    if ra.may_be_unpredictable() || rb.may_be_unpredictable() {
        methods.push(Method::Birthday);
    }
    methods
}

/// Returns whether a method can work between these two, `role` being `a`'s. Unknown facts are hoped for.
pub fn works(method: Method, a: &NatProfile, b: &NatProfile, role: Role) -> bool {
    if a.udp_blocked || b.udp_blocked {
        return false;
    }
    let (ra, rb) = (reach(a), reach(b));
    let (sending, receiving) = match role_in(method, role, a, b) {
        Role::Sending => (ra, rb),
        Role::Receiving => (rb, ra),
    };
    match method {
        Method::Cone => ra.reached_at_known_port(rb) || rb.reached_at_known_port(ra),
        Method::Bubble => sending.bubble_reaches(receiving) || receiving.reached_at_known_port(sending),
        Method::MultiBubble => receiving.takes_many_bubbles(sending),
        Method::Prediction => ra.predictable() && rb.predictable(),
        Method::GiantStep => ra.counts_per_destination() && rb.counts_per_destination(),
        Method::Birthday => ra.found_by_chance(rb) || rb.found_by_chance(ra),
    }
}

/// Returns the cause to name when no direct path came about between these two.
pub fn expected_failure(a: &NatProfile, b: &NatProfile) -> FailureReason {
    if a.is_udp_blocked() || b.is_udp_blocked() {
        return FailureReason::UdpBlocked;
    }
    if a.udp_blocked || b.udp_blocked {
        return FailureReason::NoAnswer;
    }
    let (ra, rb) = (reach(a), reach(b));
    let works = |method| [Role::Sending, Role::Receiving].iter().any(|role| works(method, a, b, *role));
    let aimed = [Method::Bubble, Method::MultiBubble, Method::Prediction];
    if works(Method::Cone) {
        FailureReason::NoAnswer
    } else if aimed.into_iter().any(works) {
        let both = ra.never_fixed() && rb.never_fixed();
        if both { FailureReason::SymmetricOnBothSides } else { FailureReason::NoAnswer }
    } else if works(Method::Birthday) {
        FailureReason::RandomPortsNotFound
    } else if ra.unpredictable() && rb.unpredictable() {
        FailureReason::RandomPortsOnBothSides
    } else {
        FailureReason::RandomPortsAgainstSymmetric
    }
}

#[cfg(test)]
mod tests;
