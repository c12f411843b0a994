//! Every method between two NATs of the model, one test a promise of its document. One file of over 400 lines: a list.

use std::time::Duration;

use super::model::{Nat, Outcome, Setup, context, named, run};
use super::*;
use crate::nat::{FilteringBehavior as F, MappingBehavior as M};
use crate::plan::works;

const NAMES: [&str; 5] = ["fc", "r", "pr", "as", "ps"];

fn share(setup: &Setup, seeds: u64) -> f64 {
    let good =
        (0..seeds).filter(|seed| run(&Setup { seed: *seed, ..setup.clone() }).confirmed.is_some()).count();
    good as f64 / seeds as f64
}

fn assert_capped(outcome: &Outcome, caps: &Caps) {
    for side in 0..2 {
        let spending = &outcome.spending[side];
        assert!(spending.datagrams <= caps.datagrams_per_attempt);
        assert!(spending.targets() <= caps.targets_per_attempt);
        assert!(spending.sockets <= caps.sockets_per_attempt);
        let times: Vec<Duration> = outcome.sent[side].iter().map(|s| s.0).collect();
        for (i, first) in times.iter().enumerate() {
            let within = times[i..].iter().take_while(|t| **t - *first < Duration::from_secs(1)).count();
            assert!(within <= caps.datagrams_per_second as usize, "{within} in a second");
        }
    }
}

#[test]
fn m11_m12_each_method_does_what_the_plan_says_and_no_more() {
    for a in NAMES {
        for b in NAMES {
            for method in Method::ALL {
                let (left, right) = (named(a, 1), named(b, 1));
                let setup = Setup::new(method, left, right);
                let outcome = run(&setup);
                let expected = works(method, &left.profile, &right.profile, Role::Sending);
                let happened = outcome.confirmed.is_some();
                // Endpoint-independent filters let strangers in, and methods that aim at many ports hit more than
                // they were made for.
                let exact = matches!(method, Method::Cone | Method::Bubble | Method::MultiBubble);
                if expected || (exact && a != "fc" && b != "fc") {
                    assert_eq!(happened, expected, "{method:?} {a} to {b}");
                }
                assert_capped(&outcome, &setup.caps);
            }
        }
    }
}

#[test]
fn m13_m18_bubble_and_replies_at_the_expected_time() {
    // h is a leg to the server; between the players there are two: with h = 25 ms the bracket's answer arrives
    // after probe h, facts h, reply 2h.
    let h = Duration::from_millis(25);
    for (a, b) in [("as", "pr"), ("ps", "pr"), ("as", "ps"), ("as", "as"), ("ps", "r")] {
        let outcome = run(&Setup::new(Method::Bubble, named(a, 3), named(b, -2)));
        let first = outcome.first.unwrap();
        assert!(first <= h * 4, "{a} {b}: {first:?}");
        // Two probes and a bubble; the range holds at most two ports; each is repeated.
        assert!(outcome.sent[1].len() <= 9, "{a} {b}: {} replies", outcome.sent[1].len());
    }
}

#[test]
fn m13_a_bubble_into_a_full_cone_is_communication_at_once() {
    let outcome = run(&Setup::new(Method::Bubble, named("ps", 1), named("fc", 1)));
    assert_eq!(outcome.first, Some(Duration::from_millis(50)));
    assert_eq!(outcome.heard_on[1], Some(Slot::Main));
}

#[test]
fn m14_a_cone_sends_its_bubble_from_the_registered_socket_without_probes() {
    let outcome = run(&Setup::new(Method::Bubble, named("pr", 1), named("pr", 1)));
    assert!(outcome.confirmed.is_some());
    assert!(outcome.facts.is_empty());
    assert_eq!(outcome.spending[0].sockets, 0);
}

#[test]
fn m15_foreign_ports_widen_the_range_and_one_reply_gets_in() {
    for step in [1, 3, -2] {
        let setup = Setup::new(Method::Bubble, named("as", step).busy(50.0), named("pr", 1));
        let outcome = run(&Setup { loss: 0.05, ..setup.clone() });
        assert!(outcome.confirmed.is_some());
        assert!(share(&Setup { loss: 0.1, ..setup }, 100) > 0.99, "step {step}");
    }
}

#[test]
fn m16_one_server_address_takes_the_second_probe_from_a_fresh_socket() {
    for name in ["as", "ps"] {
        let setup =
            Setup { server_addresses: 1, ..Setup::new(Method::Bubble, named(name, 2), named("pr", 1)) };
        assert!(run(&setup).confirmed.is_some(), "{name}");
    }
}

#[test]
fn e2_the_peer_works_out_the_range_itself() {
    for method in [Method::Bubble, Method::MultiBubble] {
        let setup = Setup { detect: Detect::Peer, ..Setup::new(method, named("ps", 1), named("pr", 1)) };
        let outcome = run(&setup);
        assert!(outcome.confirmed.is_some(), "{method:?}");
        assert!(outcome.facts.is_empty(), "the server kept nothing");
    }
}

#[test]
fn m20_m22_many_bubbles_with_one_server_address() {
    for a in NAMES {
        for b in NAMES {
            let setup =
                Setup { server_addresses: 1, ..Setup::new(Method::MultiBubble, named(a, 1), named(b, 3)) };
            assert_eq!(run(&setup).confirmed.is_some(), (a, b) != ("ps", "ps"), "{a} {b}");
        }
    }
}

#[test]
fn m22_replies_leave_from_the_assigned_socket() {
    let outcome = run(&Setup::new(Method::MultiBubble, named("ps", 1), named("as", 1)));
    let main_socket = outcome.sent[1].iter().any(|s| s.1 == Slot::Main);
    assert!(!main_socket && !outcome.sent[1].is_empty());
    assert!(outcome.confirmed.is_some());
}

#[test]
fn random_symmetric_against_address_sensitive_without_a_search() {
    for method in [Method::Bubble, Method::MultiBubble] {
        for (a, b) in [("as", "random"), ("random", "as")] {
            let (left, right) = (named(a, 1), named(b, 1));
            if works(method, &left.profile, &right.profile, Role::Sending) {
                let outcome = run(&Setup::new(method, left, right));
                assert!(outcome.confirmed.is_some(), "{method:?} {a} {b}");
                assert!(outcome.spending.iter().all(|s| s.targets() < 10), "{method:?} {a} {b}");
            }
        }
    }
}

#[test]
fn m24_the_flow_of_s4_step_by_step() {
    let h = Duration::from_millis(25);
    let outcome = run(&Setup::new(Method::Prediction, named("ps", 1), named("ps", 1)));
    let Facts::Newest { address: newest_a, round, .. } = outcome.facts[0] else {
        panic!("{:?}", outcome.facts)
    };
    let Facts::Newest { address: newest_b, round: same, .. } = outcome.facts[1] else {
        panic!("{:?}", outcome.facts)
    };
    assert_eq!(round, same);
    // P + b is seen first; B answers in the row of its own probe (Q + d) with a packet to P + b + n ...
    let (left_by, target) = outcome.left_by[1][0];
    assert_eq!(outcome.sent[1][0].0, h * 2);
    assert_eq!(left_by, newest_b.port() + 1, "Q + d + 1");
    let n = target.port() - newest_a.port();
    assert!((2..=20).contains(&n), "{n}");
    // ... and A sends n packets in a row to the port that B's packet left by, from n sockets.
    let volley: Vec<_> = outcome.left_by[0]
        .iter()
        .filter(|(_, to)| outcome.left_by[1].iter().any(|b| b.0 == to.port()))
        .collect();
    let from: std::collections::BTreeSet<u16> = volley.iter().map(|v| v.0).collect();
    assert_eq!(outcome.sent[0][0].0, h * 4);
    assert_eq!(from.first(), Some(&(newest_a.port() + 1)), "P + b + m with m = 1: nobody else took a port");
    assert!(from.iter().zip(from.iter().skip(1)).all(|(a, b)| b - a == 1));
    // B opened for several guesses of the time; A fills the one that fits up to the meeting port.
    let aimed = volley[0].1.port();
    let meeting = outcome.left_by[1].iter().find(|b| b.0 == aimed).unwrap().1.port();
    assert!(from.contains(&meeting), "{meeting} in {from:?}");
    assert!(outcome.first.unwrap() <= h * 6, "or earlier, by a repeated packet of B that is still under way");
}

#[test]
fn m24_ps_ps_with_foreign_ports_loss_and_steps() {
    for (rate, goal) in [(0.0, 0.99), (5.0, 0.98), (50.0, 0.95)] {
        for steps in [(1, 1), (3, -2)] {
            let (a, b) = (named("ps", steps.0).busy(rate), named("ps", steps.1).busy(rate));
            let setup = Setup { loss: 0.03, ..Setup::new(Method::Prediction, a, b) };
            let got = share(&setup, 200);
            assert!(got >= goal, "{got} at {rate} a second, steps {steps:?}");
        }
    }
}

/// Whoever has the plan's sending role: the quiet side's ports are foretold, the busy one's told at the moment of use.
#[test]
fn m24_a_busy_counter_costs_nothing_beside_a_quiet_one() {
    for rate in [100.0, 350.0, 1_000.0] {
        let (quiet, busy) = (named("ps", 1).busy(10.0), named("ps", 3).busy(rate));
        for (a, b) in [(quiet, busy), (busy, quiet)] {
            let setup = Setup { loss: 0.05, ..Setup::new(Method::Prediction, a, b) };
            let got = share(&setup, 60);
            assert!(got >= 0.98, "{got} at {rate} a second");
        }
    }
}

#[test]
fn m24_two_busy_counters_meet_within_the_deadline() {
    let ms = Duration::from_millis;
    for (rate, delay) in [(100.0, ms(25)), (300.0, ms(25)), (300.0, ms(75)), (100.0, ms(300))] {
        let (a, b) = (named("ps", 1).busy(rate), named("ps", 3).busy(rate));
        let setup = Setup { loss: 0.03, delay: [delay; 2], ..Setup::new(Method::Prediction, a, b) };
        let got = share(&setup, 60);
        assert!(got >= 0.95, "{got} at {rate} a second, {delay:?} to the server");
    }
}

#[test]
fn m24_against_a_side_that_keeps_its_port() {
    for (a, b) in [("pr", "ps"), ("ps", "pr"), ("as", "pr"), ("r", "as")] {
        let setup = Setup::new(Method::Prediction, named(a, 3).busy(50.0), named(b, -2).busy(50.0));
        assert!(share(&Setup { loss: 0.05, ..setup }, 100) >= 0.99, "{a} {b}");
    }
}

#[test]
fn m24_sides_at_very_different_distances() {
    let ms = Duration::from_millis;
    for delay in [[ms(10), ms(150)], [ms(150), ms(10)], [ms(150), ms(150)]] {
        for method in [Method::Prediction, Method::Bubble, Method::MultiBubble] {
            let (a, b): (Nat, Nat) = match method {
                Method::Prediction => (named("ps", 1).busy(20.0), named("ps", 1).busy(20.0)),
                _ => (named("ps", 1).busy(20.0), named("pr", 1)),
            };
            let setup = Setup { delay, ..Setup::new(method, a, b) };
            let got = share(&setup, 60);
            assert!(got > 0.95, "{method:?} {delay:?}: {got}");
        }
    }
}

#[test]
fn giant_step_keeps_the_games_own_socket() {
    for (rate, goal) in [(0.0, 0.99), (5.0, 0.95), (20.0, 0.8)] {
        let setup = Setup::new(Method::GiantStep, named("ps", 3).busy(rate), named("ps", -2).busy(rate));
        let got = share(&Setup { loss: 0.02, ..setup.clone() }, 100);
        assert!(got >= goal, "{got} at {rate} a second");
        let outcome = run(&setup);
        for side in &outcome.sent {
            assert!(
                side.iter().take(48).all(|s| s.1 == Slot::Main),
                "the first round keeps the game's socket"
            );
        }
    }
}

#[test]
fn birthday_hits_as_often_as_the_formula_says() {
    for (a, b) in [("random", "pr"), ("pr", "random")] {
        let setup = Setup::new(Method::Birthday, named(a, 1), named(b, 1));
        let got = share(&setup, 60);
        assert!(got > 0.93, "{a} {b}: {got}");
        assert_capped(&run(&setup), &setup.caps);
    }
}

#[test]
fn birthday_in_a_block_needs_fewer() {
    let block = PortAllocation::RandomInBlock { first: 5_056, last: 9_087 };
    let random = model::nat(M::AddressAndPortDependent, F::AddressAndPortDependent, block);
    let setup =
        Setup { deadline: Duration::from_secs(4), ..Setup::new(Method::Birthday, named("pr", 1), random) };
    assert!(share(&setup, 60) > 0.98);
}

#[test]
fn caps_hold_whatever_the_other_side_claims() {
    let tight = Caps {
        datagrams_per_second: 20,
        datagrams_per_attempt: 100,
        targets_per_attempt: 30,
        sockets_per_attempt: 5,
        ..Caps::default()
    };
    for method in Method::ALL {
        for (a, b) in [("ps", "ps"), ("random", "pr"), ("as", "ps")] {
            let setup = Setup {
                caps: tight,
                loss: 0.3,
                deadline: Duration::from_secs(30),
                ..Setup::new(method, named(a, 1), named(b, 1))
            };
            assert_capped(&run(&setup), &tight);
        }
    }
}

#[test]
fn m27_strangers_addresses_in_facts_are_never_sent_to() {
    let now = Instant::now();
    let stranger: IpAddr = "203.0.113.99".parse().unwrap();
    for method in Method::ALL {
        for role in [Role::Sending, Role::Receiving] {
            let mut puncher = puncher(method, now, context(role, "pr", "ps")).unwrap();
            let mut budget = Budget::new(Caps::default());
            let mut attempt = Spending::default();
            for attempt_number in 0..=255u8 {
                let round = Round { edition: 0, method, attempt: attempt_number }.number();
                let range = Facts::Range { round, ip: stranger, first: 1, last: 65_535, step: i32::MIN };
                let newest =
                    Facts::Newest { round, address: SocketAddr::new(stranger, 7), ahead: [1, 2, 3, 4] };
                let kept = Facts::Kept { round, ip: stranger, ports: vec![5_000; 300] };
                puncher.handle(now, PunchInput::Facts(&kept));
                puncher.handle(now, PunchInput::Facts(&range));
                puncher.handle(now, PunchInput::Facts(&newest));
            }
            let mut ledger = Ledger { budget: &mut budget, attempt: &mut attempt };
            while let Some(order) = puncher.poll_order(now, &mut ledger) {
                assert!(!matches!(order, PunchOrder::Test { to, .. } if to.ip() == stranger));
            }
        }
    }
}

#[test]
fn no_well_known_port_is_sent_to_whoever_names_it() {
    let now = Instant::now();
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    for method in Method::ALL {
        for role in [Role::Sending, Role::Receiving] {
            for own in ["pr", "as", "ps"] {
                let mut puncher = puncher(method, now, context(role, own, "ps")).unwrap();
                let mut budget = Budget::new(Caps::default());
                let mut attempt = Spending::default();
                let round = Round { edition: 0, method, attempt: 1 }.number();
                let facts = [
                    Facts::Kept { round, ip, ports: vec![22, 80, 443] },
                    Facts::Range { round, ip, first: 22, last: 23, step: 1 },
                    Facts::Newest { round, address: SocketAddr::new(ip, 22), ahead: [1, 2, 3, 4] },
                    Facts::OpenRange { round, ip, bound: 30, step: -1 },
                ];
                for facts in facts {
                    puncher.handle(now, PunchInput::Facts(&facts));
                    let mut ledger = Ledger { budget: &mut budget, attempt: &mut attempt };
                    while let Some(order) = puncher.poll_order(now, &mut ledger) {
                        if let PunchOrder::OpenSocket { slot } = order {
                            puncher.handle(now, PunchInput::Socket { slot, port: Some(40_000) });
                        }
                        let harm = |to: SocketAddr| to.ip() == ip && to.port() < 1_024;
                        assert!(!matches!(order, PunchOrder::Test { to, .. } if harm(to)), "{order:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn m19_a_search_beyond_the_range_waits_while_another_match_searches() {
    let start = Instant::now();
    let mut puncher = puncher(Method::Bubble, start, context(Role::Receiving, "pr", "ps")).unwrap();
    let ip = "192.0.2.1".parse().unwrap();
    let round = Round { edition: 0, method: Method::Bubble, attempt: 1 }.number();
    let range = Facts::Range { round, ip, first: 40_000, last: 40_003, step: 1 };
    puncher.handle(start, PunchInput::Facts(&range));
    let mut budget = Budget::new(Caps::default());
    let mut attempt = Spending::default();
    let other = MatchId(u64::MAX);
    assert!(budget.take_search(other, true));
    let (mut now, mut wakes) = (start, 0);
    let mut ports = |budget: &mut Budget, now: &mut Instant, until: Instant| {
        let mut ports = std::collections::BTreeSet::new();
        while *now < until {
            let mut ledger = Ledger { budget: &mut *budget, attempt: &mut attempt };
            while let Some(order) = puncher.poll_order(*now, &mut ledger) {
                if let PunchOrder::Test { to, .. } = order {
                    ports.insert(to.port());
                }
            }
            let Some(due) = puncher.poll_timeout().filter(|due| *due < until) else { break };
            wakes += 1;
            assert!(wakes < 5_000, "it spins");
            *now = (*now).max(due);
            puncher.handle(*now, PunchInput::Timeout);
        }
        ports
    };
    let end = start + Duration::from_secs(3);
    let measured: Vec<u16> = ports(&mut budget, &mut now, end).into_iter().collect();
    assert_eq!(measured, [40_000, 40_001, 40_002, 40_003], "the range itself waits for nobody");
    budget.end_search();
    now = end;
    let wide = ports(&mut budget, &mut now, end + Duration::from_secs(2));
    assert!(wide.len() > 50, "{} more", wide.len());
    assert_ne!(budget.searching(), Some(other));
}

#[test]
fn nonsense_does_not_panic_and_wakes_are_bounded() {
    let ip = "192.0.2.1".parse().unwrap();
    for method in Method::ALL {
        for role in [Role::Sending, Role::Receiving] {
            let start = Instant::now();
            let mut now = start;
            let mut puncher = puncher(method, now, context(role, "pr", "ps")).unwrap();
            let mut budget = Budget::new(Caps::default());
            let mut attempt = Spending::default();
            let mut wakes = 0u32;
            while now - start < Duration::from_secs(60) {
                let mut ledger = Ledger { budget: &mut budget, attempt: &mut attempt };
                while let Some(order) = puncher.poll_order(now, &mut ledger) {
                    if let PunchOrder::OpenSocket { slot } = order {
                        puncher.handle(
                            now,
                            PunchInput::Socket { slot, port: (slot % 3 != 0).then_some(40_000) },
                        );
                    }
                }
                let round = Round { edition: 0, method, attempt: wakes as u8 }.number();
                let step = [i32::MIN, -1, 0, 1, i32::MAX][wakes as usize % 5];
                let facts = Facts::Range { round, ip, first: 65_535, last: 0, step };
                puncher.handle(now, PunchInput::Facts(&facts));
                let newest =
                    Facts::Newest { round, address: SocketAddr::new(ip, 65_535), ahead: [65_535; 4] };
                let kept = Facts::Kept { round, ip, ports: vec![0; 300] };
                puncher.handle(now, PunchInput::Facts(&kept));
                puncher.handle(now, PunchInput::Facts(&newest));
                puncher.handle(now, PunchInput::ProbeSeen { tag: wakes, observed: SocketAddr::new(ip, 9) });
                let Some(due) = puncher.poll_timeout() else { break };
                now = now.max(due);
                puncher.handle(now, PunchInput::Timeout);
                wakes += 1;
                assert!(wakes < 100_000, "{method:?} spins");
            }
        }
    }
}
