use proptest::prelude::*;

use super::*;
use crate::nat::{Confidence, FilteringBehavior, MappingBehavior};
use crate::plan::{PlanOptions, plan};

const SYMMETRIC: NatProfile = NatProfile {
    mapping: MappingBehavior::AddressAndPortDependent,
    filtering: FilteringBehavior::AddressAndPortDependent,
    allocation: PortAllocation::Sequential { step: 3 },
    foreign_rate: Some(0.0),
    translated: Some(true),
    confidence: Confidence::Full,
    ..NatProfile::UNKNOWN
};
const CONE: NatProfile = NatProfile {
    mapping: MappingBehavior::EndpointIndependent,
    allocation: PortAllocation::Preserving,
    ..SYMMETRIC
};
const RANDOM: NatProfile = NatProfile { allocation: PortAllocation::Random, ..SYMMETRIC };

fn made(nats: [NatProfile; 2]) -> Plan {
    plan(&nats[0], &nats[1], PlanOptions::default())
}

fn begun(nats: [NatProfile; 2]) -> PlanInForce {
    PlanInForce::new(&made(nats), nats)
}

fn learn(plan: &mut PlanInForce, nats: [NatProfile; 2]) -> Revision {
    plan.learn(&made(nats), nats)
}

fn methods(plan: &PlanInForce) -> Vec<(Method, u8)> {
    plan.methods.iter().map(|planned| (planned.method, planned.since)).collect()
}

#[test]
fn a_plan_that_knowledge_makes_shorter_takes_the_place_of_the_longer_one() {
    let mut plan = begun([NatProfile::UNKNOWN; 2]);
    assert_eq!(
        methods(&plan),
        [(Method::Cone, 0), (Method::Prediction, 0), (Method::Bubble, 0), (Method::MultiBubble, 0)]
    );
    assert_eq!(learn(&mut plan, [RANDOM, CONE]), Revision::Plan);
    assert_eq!(methods(&plan), [(Method::Birthday, 1)], "what cannot work has no share of the time");
    let mut plan = begun([NatProfile::UNKNOWN; 2]);
    assert_eq!(learn(&mut plan, [CONE, CONE]), Revision::Plan);
    assert_eq!(
        methods(&plan),
        [(Method::Cone, 0), (Method::Bubble, 1), (Method::MultiBubble, 1)],
        "the tests go on"
    );
}

#[test]
fn an_edition_that_cannot_be_is_cut_to_the_last_one() {
    let nats = [SYMMETRIC, CONE];
    let mut plan = PlanInForce::resumed(&made(nats), nats, u8::MAX);
    assert!(methods(&plan).iter().all(|(_, since)| *since == EDITIONS - 1), "{:?}", methods(&plan));
    assert!(!plan.begin_again(&made(nats), nats), "there is none after it");
}

#[test]
fn what_the_news_does_not_change_goes_on() {
    let mut plan = begun([SYMMETRIC, NatProfile::UNKNOWN]);
    let before = methods(&plan);
    assert!(before.contains(&(Method::Prediction, 0)) && before.contains(&(Method::Bubble, 0)));
    assert_eq!(learn(&mut plan, [SYMMETRIC, CONE]), Revision::Plan, "plain tests are of no use");
    assert_eq!(
        methods(&plan),
        [(Method::Prediction, 0), (Method::Bubble, 0), (Method::MultiBubble, 1)],
        "the guess and the bubble do the same as before; the port of a cone is known without a range"
    );
    assert_eq!(learn(&mut plan, [SYMMETRIC, NatProfile { hairpin: Some(false), ..CONE }]), Revision::Facts);
    assert_eq!(learn(&mut plan, [SYMMETRIC, NatProfile { hairpin: Some(false), ..CONE }]), Revision::Nothing);
    assert_eq!(plan.edition, 1);
    // Ports that are counted otherwise change all that counts them.
    let other_step = NatProfile { allocation: PortAllocation::Sequential { step: -1 }, ..SYMMETRIC };
    assert_eq!(learn(&mut plan, [other_step, CONE]), Revision::Plan);
    assert!(plan.methods.iter().all(|planned| planned.since == 2), "{plan:?}");
}

#[test]
fn a_search_goes_on_while_what_comes_before_it_begins_anew() {
    let random = NatProfile {
        mapping: MappingBehavior::AddressDependent,
        filtering: FilteringBehavior::AddressDependent,
        allocation: PortAllocation::Random,
        ..SYMMETRIC
    };
    // Its filter is not known yet, so a bubble is hoped for.
    let busy =
        |rate| NatProfile { foreign_rate: Some(rate), filtering: FilteringBehavior::Unknown, ..SYMMETRIC };
    let mut plan = begun([busy(10.0), random]);
    assert_eq!(methods(&plan), [(Method::Bubble, 0), (Method::Birthday, 0)]);
    assert_eq!(learn(&mut plan, [busy(200.0), random]), Revision::Plan);
    // Begun anew, it would have no sockets left: the cap is the attempt's.
    assert_eq!(methods(&plan), [(Method::Bubble, 1), (Method::Birthday, 0)]);
    let in_block = NatProfile { mapping: MappingBehavior::AddressAndPortDependent, ..random };
    learn(&mut plan, [busy(200.0), in_block]);
    assert_eq!(methods(&plan), [(Method::Bubble, 1), (Method::Birthday, 2)], "other ports are searched");
}

#[test]
fn a_match_has_so_many_editions_and_then_keeps_its_plan() {
    let mut plan = begun([SYMMETRIC, CONE]);
    let other_step = NatProfile { allocation: PortAllocation::Sequential { step: -1 }, ..SYMMETRIC };
    let nats = |n| if n % 2 == 0 { [other_step, CONE] } else { [SYMMETRIC, CONE] };
    let renewed = (0..100).filter(|n| learn(&mut plan, nats(*n)) == Revision::Plan).count();
    assert_eq!(renewed, usize::from(EDITIONS) - 1);
    assert_eq!(plan.edition, EDITIONS - 1);
    let last = plan.clone();
    assert!(!plan.begin_again(&made([CONE, CONE]), [CONE, CONE]));
    assert_eq!(plan, last);
}

fn any_nat() -> impl Strategy<Value = NatProfile> {
    use FilteringBehavior as F;
    use MappingBehavior as M;
    let mapping = prop::sample::select(vec![
        M::Unknown,
        M::EndpointIndependent,
        M::AddressDependent,
        M::AddressAndPortDependent,
        M::NotPortSensitive,
    ]);
    let filtering = prop::sample::select(vec![
        F::Unknown,
        F::EndpointIndependent,
        F::AddressDependent,
        F::AddressAndPortDependent,
    ]);
    let allocation = prop_oneof![
        Just(PortAllocation::Unknown),
        Just(PortAllocation::Preserving),
        Just(PortAllocation::Random),
        (-64..=64i32).prop_filter_map("no step", |step| {
            (step != 0).then_some(PortAllocation::Sequential { step })
        }),
    ];
    let confidence = prop::sample::select(vec![Confidence::Unknown, Confidence::Reduced, Confidence::Full]);
    // Up to what a carrier's NAT sees: hundreds of new mappings a second.
    let rate = prop::option::of(0.0..1000f32);
    (mapping, filtering, allocation, confidence, rate, any::<bool>()).prop_map(
        |(mapping, filtering, allocation, confidence, foreign_rate, udp_blocked)| NatProfile {
            mapping,
            filtering,
            allocation,
            confidence,
            foreign_rate,
            udp_blocked,
            ..NatProfile::UNKNOWN
        },
    )
}

proptest! {
    #[test]
    fn the_plan_in_force_is_the_one_for_what_is_known_now(news in prop::collection::vec([any_nat(), any_nat()], 1..20)) {
        let mut plan = begun([NatProfile::UNKNOWN; 2]);
        for nats in news {
            let before = plan.clone();
            let revision = learn(&mut plan, nats);
            let best = made(nats);
            let in_force: Vec<Method> = plan.methods.iter().map(|planned| planned.method).collect();
            prop_assert_eq!(&in_force, &best.methods);
            prop_assert!(best.methods.is_empty() || plan.caller == best.caller);
            prop_assert_eq!(plan.edition, before.edition + u8::from(revision == Revision::Plan));
            for planned in &plan.methods {
                let goes_on = before.methods.contains(planned);
                prop_assert!(goes_on || planned.since == plan.edition, "{:?}", planned);
                // What goes on must do the same with the new facts.
                if goes_on && planned.method != Method::Cone && !before.methods.is_empty() {
                    let role = |plan: &PlanInForce| role_in(planned.method, plan.caller, &plan.nats[0], &plan.nats[1]);
                    prop_assert_eq!(role(&before), role(&plan));
                }
            }
        }
    }
}
