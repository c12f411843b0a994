//! Who hosts, where the server picks: the player that the others reach best, and of equals the one who came first.

use std::time::Duration;

use traversal_core::nat::NatProfile;
use traversal_core::plan::works;
use traversal_core::wire::message::{Method, Role};

/// This is a player who may become host.
#[derive(Clone, Debug)]
pub(crate) struct HostCandidate {
    /// This is what is known of its NAT.
    pub(crate) nat: NatProfile,
    /// It plays over the relay alone.
    pub(crate) relay_only: bool,
    /// This is the round trip that counts: to the players, or else to this server.
    pub(crate) rtt: Option<Duration>,
}

/// Rates how well two players reach each other: 3 by plain test messages, 2 by bubbles or predicted ports, 1 by a
/// search, 0 over the relay at the best.
pub(crate) fn reached(a: &HostCandidate, b: &HostCandidate) -> u32 {
    if a.relay_only || b.relay_only {
        return 0;
    }
    let any = |methods: &[Method]| {
        methods.iter().any(|method| {
            [Role::Sending, Role::Receiving].into_iter().any(|role| works(*method, &a.nat, &b.nat, role))
        })
    };
    if any(&[Method::Cone]) {
        3
    } else if any(&[Method::Bubble, Method::MultiBubble, Method::Prediction]) {
        2
    } else {
        u32::from(any(&[Method::GiantStep, Method::Birthday]))
    }
}

/// Returns the index of the best host among players in the order of their seniority: reachability counts first, then
/// the shorter round trip (where both were measured and differ by more than a fifth), then seniority. Returns `None`
/// where there is no player.
pub(crate) fn choose_host(candidates: &[HostCandidate]) -> Option<usize> {
    let reach = |index: usize| -> u32 {
        let others = candidates.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| reached(&candidates[index], other)).sum()
    };
    let best = (0..candidates.len()).map(reach).max()?;
    let mut able = (0..candidates.len()).filter(|index| reach(*index) == best);
    let first = able.next()?;
    // Noise in the measurement is no reason to pass over the first.
    let faster = |new: usize, old: usize| match (candidates[new].rtt, candidates[old].rtt) {
        (Some(new), Some(old)) => new.as_secs_f64() < old.as_secs_f64() * 0.8,
        _ => false,
    };
    Some(able.fold(first, |chosen, index| if faster(index, chosen) { index } else { chosen }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use traversal_core::nat::{
        Confidence, FilteringBehavior as F, MappingBehavior as M, PortAllocation as P,
    };

    fn host_candidate(mapping: M, filtering: F, allocation: P, rtt_ms: u64) -> HostCandidate {
        let nat = NatProfile {
            mapping,
            filtering,
            allocation,
            confidence: Confidence::Full,
            ..NatProfile::default()
        };
        HostCandidate { nat, relay_only: false, rtt: Some(Duration::from_millis(rtt_ms)) }
    }

    fn cone(rtt_ms: u64) -> HostCandidate {
        host_candidate(M::EndpointIndependent, F::AddressAndPortDependent, P::Preserving, rtt_ms)
    }

    fn random(rtt_ms: u64) -> HostCandidate {
        host_candidate(M::AddressAndPortDependent, F::AddressAndPortDependent, P::Random, rtt_ms)
    }

    #[test]
    fn the_one_that_all_reach_hosts_whoever_came_first() {
        assert_eq!(choose_host(&[random(20), random(20), cone(90), random(20)]), Some(2));
        let full = host_candidate(M::EndpointIndependent, F::EndpointIndependent, P::Preserving, 300);
        assert_eq!(choose_host(&[random(20), cone(20), full]), Some(2));
    }

    #[test]
    fn among_equals_the_clearly_nearer_one_and_then_the_first() {
        assert_eq!(choose_host(&[cone(50), cone(48), cone(45)]), Some(0), "within the noise");
        assert_eq!(choose_host(&[cone(100), cone(50), cone(49)]), Some(1));
        let unmeasured = HostCandidate { rtt: None, ..cone(0) };
        assert_eq!(choose_host(&[unmeasured.clone(), cone(10)]), Some(0));
        assert_eq!(choose_host(&[unmeasured]), Some(0));
        assert_eq!(choose_host(&[]), None);
    }

    #[test]
    fn who_plays_over_the_relay_alone_hosts_only_where_nobody_else_can() {
        let hidden = HostCandidate { relay_only: true, ..cone(1) };
        assert_eq!(choose_host(&[hidden.clone(), cone(50), cone(50)]), Some(1));
        assert_eq!(choose_host(&[hidden.clone(), hidden]), Some(0));
    }
}
