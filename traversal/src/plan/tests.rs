use super::*;
use crate::nat::{FilteringBehavior as F, MappingBehavior as M, NatKind, PortAllocation as P};

fn nat(mapping: M, filtering: F, allocation: P) -> NatProfile {
    NatProfile {
        mapping,
        filtering,
        allocation,
        translated: Some(true),
        confidence: Confidence::Full,
        ..NatProfile::default()
    }
}

const COUNT: P = P::Sequential { step: 1 };

/// Returns the NAT of this short name; "none" is no NAT.
fn named(name: &str) -> NatProfile {
    let (eim, adm, apdm) = (M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent);
    let (eif, adf, apdf) = (F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent);
    let profile = match name {
        "none" => NatProfile { translated: Some(false), ..nat(eim, eif, P::Preserving) },
        "fc" => nat(eim, eif, COUNT),
        "r" => nat(eim, adf, COUNT),
        "pr" => nat(eim, apdf, COUNT),
        "as" => nat(adm, adf, COUNT),
        "ps" => nat(apdm, apdf, COUNT),
        "psrandom" => nat(apdm, apdf, P::Random),
        "asrandom" => nat(adm, adf, P::Random),
        "blocked" => NatProfile { udp_blocked: true, confidence: Confidence::Full, ..NatProfile::default() },
        other => panic!("{other}"),
    };
    assert_ne!(profile.kind(), NatKind::Unknown, "{name}");
    profile
}

const NAMES: [&str; 6] = ["none", "fc", "r", "pr", "as", "ps"];

#[test]
fn m11_outcome_table_cell_by_cell() {
    use Decision::{Impossible as No, Keep as Ok, Swap};
    let table = [
        ("none", [Ok, Ok, Ok, Ok, Ok, Ok]),
        ("fc", [Ok, Ok, Ok, Ok, Ok, Ok]),
        ("r", [Ok, Ok, Ok, Ok, Ok, Ok]),
        ("pr", [Ok, Ok, Ok, Ok, Swap, Swap]),
        ("as", [Ok, Ok, Ok, Ok, Ok, Ok]),
        ("ps", [Ok, Ok, Ok, Ok, Swap, No]),
    ];
    for (sending, row) in table {
        for (receiving, expected) in NAMES.into_iter().zip(row) {
            assert_eq!(
                bubble_outcome(&named(sending), &named(receiving)),
                expected,
                "{sending} to {receiving}"
            );
        }
    }
}

#[test]
fn m10_decision_follows_the_flow_chart() {
    // S1 fig. 6 in its own words.
    let flow_chart = |caller: &str, callee: &str| match (caller, callee) {
        ("ps", "ps") => Decision::Impossible,
        ("ps", "as") | ("pr", "as" | "ps") => Decision::Swap,
        _ => Decision::Keep,
    };
    for caller in NAMES {
        for callee in NAMES {
            let decision = bubble_decision(&named(caller), &named(callee));
            assert_eq!(decision, flow_chart(caller, callee), "{caller} calls {callee}");
        }
    }
}

#[test]
fn m12_one_fact_decides_and_only_ps_ps_fails() {
    for caller in NAMES {
        for callee in NAMES {
            let expected = match (caller, callee) {
                ("ps", "ps") => MultiBubbleDecision::Impossible,
                ("ps", _) => MultiBubbleDecision::CalleeReceives,
                _ => MultiBubbleDecision::CallerReceives,
            };
            let (a, b) = (named(caller), named(callee));
            assert_eq!(multi_bubble_decision(&a, &b), expected, "{caller} calls {callee}");
            assert_eq!(
                works(Method::MultiBubble, &a, &b, Role::Receiving),
                expected != MultiBubbleDecision::Impossible,
                "{caller} with {callee}"
            );
        }
    }
}

#[test]
fn m12_not_port_sensitive_is_all_that_a_single_server_address_must_tell() {
    let half = NatProfile {
        mapping: M::NotPortSensitive,
        filtering: F::Unknown,
        confidence: Confidence::Reduced,
        ..named("as")
    };
    assert_eq!(multi_bubble_decision(&half, &named("ps")), MultiBubbleDecision::CallerReceives);
    assert_eq!(multi_bubble_decision(&named("ps"), &half), MultiBubbleDecision::CalleeReceives);
    let plan = plan(&half, &named("ps"), PlanOptions::default());
    assert!(plan.methods.contains(&Method::MultiBubble));
    assert_eq!(plan.hopeless, None);
}

#[test]
fn both_players_come_to_opposite_roles() {
    let all = ["none", "fc", "r", "pr", "as", "ps", "psrandom", "asrandom"].map(named);
    let methods =
        [Method::Bubble, Method::MultiBubble, Method::Prediction, Method::GiantStep, Method::Birthday];
    for a in &all {
        for b in &all {
            for method in methods {
                for (role, other) in [(Role::Sending, Role::Receiving), (Role::Receiving, Role::Sending)] {
                    assert_ne!(role_in(method, role, a, b), role_in(method, other, b, a));
                    assert_eq!(
                        works(method, a, b, role),
                        works(method, b, a, other),
                        "{method:?} {a:?} {b:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_pair_of_the_five_names_has_a_plan() {
    for caller in NAMES {
        for callee in NAMES {
            let plan = plan(&named(caller), &named(callee), PlanOptions::default());
            assert_eq!(plan.hopeless, None, "{caller} calls {callee}");
            assert!(!plan.methods.is_empty());
        }
    }
}

#[test]
fn cones_start_with_test_messages_and_symmetric_pairs_with_speculation() {
    let first = |a, b| plan(&named(a), &named(b), PlanOptions::default()).methods;
    assert_eq!(first("pr", "pr")[0], Method::Cone);
    assert_eq!(first("ps", "fc")[0], Method::Cone);
    assert_eq!(first("ps", "r")[0], Method::Cone);
    let bracketed = plan(&named("pr"), &named("ps"), PlanOptions::default());
    assert_eq!(bracketed.methods, [Method::Prediction, Method::Bubble, Method::MultiBubble]);
    assert!(starts_together(&bracketed.methods[..1], Method::Bubble), "guess and bracket run side by side");
    assert!(!starts_together(&bracketed.methods[..2], Method::MultiBubble));
    assert_eq!(bracketed.caller, Role::Receiving, "M10 swaps");
    assert_eq!(first("ps", "ps"), [Method::Prediction, Method::GiantStep]);
}

#[test]
fn random_ports_against_a_cone_are_searched_by_chance() {
    let plan = plan(&named("pr"), &named("psrandom"), PlanOptions::default());
    assert_eq!(plan.methods, [Method::Birthday]);
    assert_eq!(plan.hopeless, None);
    assert_eq!(role_in(Method::Birthday, Role::Receiving, &named("psrandom"), &named("pr")), Role::Sending);
}

#[test]
fn random_symmetric_against_address_sensitive_needs_no_search() {
    for (a, b) in [("psrandom", "as"), ("as", "psrandom")] {
        let plan = plan(&named(a), &named(b), PlanOptions::default());
        assert_eq!(plan.methods, [Method::Bubble, Method::MultiBubble], "{a} {b}");
        assert_eq!(plan.hopeless, None);
        let bubble_from_as = if a == "as" { Role::Sending } else { Role::Receiving };
        assert_eq!(plan.caller, bubble_from_as, "its port can be bracketed, and its filter takes any port");
    }
    // The side with the countable ports gets the bubbles, whoever called.
    assert_eq!(
        role_in(Method::MultiBubble, Role::Sending, &named("as"), &named("psrandom")),
        Role::Receiving
    );
}

#[test]
fn impossible_pairs_say_why() {
    let hopeless = |a, b| plan(&named(a), &named(b), PlanOptions::default()).hopeless;
    assert_eq!(hopeless("psrandom", "psrandom"), Some(FailureReason::RandomPortsOnBothSides));
    assert_eq!(hopeless("psrandom", "ps"), Some(FailureReason::RandomPortsAgainstSymmetric));
    assert_eq!(hopeless("ps", "psrandom"), Some(FailureReason::RandomPortsAgainstSymmetric));
    assert_eq!(hopeless("blocked", "fc"), Some(FailureReason::UdpBlocked));
    assert_eq!(hopeless("ps", "blocked"), Some(FailureReason::UdpBlocked));
    assert!(plan(&named("psrandom"), &named("ps"), PlanOptions::default()).methods.is_empty());
}

#[test]
fn missing_or_old_facts_give_hopeful_plans() {
    let unknown = NatProfile::default();
    for other in NAMES {
        let plan = plan(&unknown, &named(other), PlanOptions::default());
        assert_eq!(plan.methods[0], Method::Cone, "{other}");
        assert!(plan.methods.contains(&Method::Prediction), "{other}");
        assert_eq!(plan.hopeless, None);
    }
    let stale = NatProfile { confidence: Confidence::Stale, ..named("psrandom") };
    let plan = plan(&stale, &named("psrandom"), PlanOptions::default());
    assert_eq!(plan.hopeless, Some(FailureReason::RandomPortsOnBothSides));
    assert_eq!(plan.methods, [Method::Cone], "a few tests in case it is not so any more");
}

#[test]
fn a_forced_method_stands_alone() {
    let options = PlanOptions { force: Some(Method::Bubble) };
    let plan_ps = plan(&named("ps"), &named("ps"), options);
    assert_eq!(plan_ps.methods, [Method::Bubble]);
    assert_eq!(plan_ps.hopeless, Some(FailureReason::SymmetricOnBothSides));
    assert_eq!(plan(&named("ps"), &named("r"), options).hopeless, None);
}

#[test]
fn a_search_needs_a_filter_that_looks_at_no_port_and_an_answer_that_gets_back() {
    let port_sensitive = NatProfile { filtering: F::AddressDependent, ..named("psrandom") };
    for other in ["ps", "psrandom"] {
        assert!(works(Method::Birthday, &named("asrandom"), &named(other), Role::Sending), "{other}");
        assert!(!works(Method::Birthday, &port_sensitive, &named(other), Role::Sending), "{other}");
    }
    assert!(works(Method::Birthday, &port_sensitive, &named("pr"), Role::Sending), "one port for all");
    assert!(
        works(Method::Birthday, &port_sensitive, &port_sensitive, Role::Sending),
        "nobody looks at ports"
    );
}

#[test]
fn an_allocation_of_which_nobody_is_sure_has_the_alternative_tried_as_well() {
    let methods = |nat: NatProfile| plan(&nat, &named("pr"), PlanOptions::default()).methods;
    let measured = |allocation, confidence| NatProfile {
        allocation,
        allocation_confidence: Some(confidence),
        ..named("ps")
    };
    let counted = [Method::Prediction, Method::Bubble, Method::MultiBubble];
    assert_eq!(methods(measured(COUNT, 0.99)), counted);
    let doubtful = [Method::Prediction, Method::Bubble, Method::MultiBubble, Method::Birthday];
    // Three of eight ports were kept: whatever the NAT does with the others, it may be drawing them.
    assert_eq!(methods(measured(P::Preserving, 0.375)), doubtful);
    // Too few answers to tell a counter from chance.
    assert_eq!(methods(NatProfile { allocation: P::Unknown, ..named("ps") }), doubtful);
    assert_eq!(methods(NatProfile { allocation_confidence: None, ..named("ps") }), counted, "set by hand");
    assert_eq!(methods(measured(P::Random, 0.6)), [Method::Birthday], "a counter is excluded");
}

#[test]
fn a_failure_says_what_could_have_been() {
    let cause = |a, b| expected_failure(&named(a), &named(b));
    assert_eq!(cause("asrandom", "ps"), FailureReason::RandomPortsNotFound, "a search is possible");
    assert_eq!(cause("asrandom", "asrandom"), FailureReason::RandomPortsNotFound);
    assert_eq!(cause("psrandom", "pr"), FailureReason::RandomPortsNotFound);
    assert_eq!(cause("psrandom", "ps"), FailureReason::RandomPortsAgainstSymmetric);
    assert_eq!(cause("psrandom", "psrandom"), FailureReason::RandomPortsOnBothSides);
    assert_eq!(cause("psrandom", "as"), FailureReason::SymmetricOnBothSides, "a bubble would have done");
    assert_eq!(cause("psrandom", "fc"), FailureReason::NoAnswer, "tests would have done");
    let in_doubt = NatProfile { udp_blocked: true, confidence: Confidence::Stale, ..named("pr") };
    assert_eq!(expected_failure(&in_doubt, &named("pr")), FailureReason::NoAnswer, "UDP may be slow");
    assert_eq!(cause("blocked", "pr"), FailureReason::UdpBlocked);
}

/// Returns whether one bubble leads to packets both ways, told from the packets alone.
fn a_bubble_leads_both_ways(sending: &NatProfile, receiving: &NatProfile) -> bool {
    let fixed = |nat: &NatProfile| nat.mapping == M::EndpointIndependent;
    let by_port = |nat: &NatProfile| nat.filtering == F::AddressAndPortDependent;
    // Two probes bracket the bubble's port; replies come from the port that it was sent to, or from a new one. What is
    // answered to them leaves by the bubble's port again, where the receiving side has just sent to, unless the sending NAT
    // has a new port for the new one, too.
    let bracketed = fixed(sending) || !matches!(sending.allocation, P::Random);
    let new_port_for_new_port = sending.mapping == M::AddressAndPortDependent;
    let answer_gets_in = !new_port_for_new_port || !by_port(receiving);
    let reply_gets_in = bracketed && (fixed(receiving) || (!by_port(sending) && answer_gets_in));
    // The bubble gets in itself, at the port that the server knows: a filter that looks at addresses has been opened
    // there only if that port is the one for all. The answer leaves by it, or by a new port.
    let bubble_gets_in = (fixed(receiving) && !by_port(receiving))
        || (receiving.filtering == F::EndpointIndependent && !by_port(sending));
    reply_gets_in || bubble_gets_in
}

#[test]
fn m11_the_whole_space_follows_from_the_packets() {
    let mappings = [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent];
    let filters = [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent];
    let ports = [P::Preserving, COUNT, P::Sequential { step: -3 }, P::Random];
    let mut all = Vec::new();
    for mapping in mappings {
        for filtering in filters {
            for allocation in ports {
                all.push(nat(mapping, filtering, allocation));
            }
        }
    }
    let mut seen = std::collections::BTreeMap::new();
    for a in &all {
        for b in &all {
            let expected = match (a_bubble_leads_both_ways(a, b), a_bubble_leads_both_ways(b, a)) {
                (true, _) => Decision::Keep,
                (false, true) => Decision::Swap,
                (false, false) => Decision::Impossible,
            };
            let found = bubble_outcome(a, b);
            if found != expected {
                seen.entry(format!("{found:?} for {expected:?}"))
                    .or_insert_with(Vec::new)
                    .push([a, b].map(|nat| (nat.mapping, nat.filtering, nat.allocation)));
            }
        }
    }
    let report: Vec<_> = seen.iter().map(|(what, pairs)| (what, pairs.len(), pairs[0])).collect();
    assert!(seen.is_empty(), "{report:#?}");
}
