use traversal_core::plan::{PlanOptions, plan};

use super::*;

const A: PlayerId = PlayerId([1; 16]);
const B: PlayerId = PlayerId([2; 16]);
const C: PlayerId = PlayerId([3; 16]);
const M: MatchId = MatchId(7);

fn unknown() -> PlanInForce {
    let nat = NatProfile::UNKNOWN;
    PlanInForce::new(&plan(&nat, &nat, PlanOptions::default()), [nat; 2])
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new([203, 0, 113, 1].into(), port)
}

fn range(second: bool, round: u16) -> ProbePurpose {
    ProbePurpose::Range { match_id: M, round, second }
}

#[test]
fn two_probes_make_a_range_for_the_other_side_once() {
    let mut matches = Rendezvous::default();
    matches.begin(M, Sides { host: A, joiner: B }, unknown());
    let ip = at(0).ip();
    assert_eq!(matches.probe(B, ip, 5, range(true, 0), at(10145)), None);
    let told = matches.probe(B, ip, 5, range(false, 0), at(10135));
    let facts = Facts::Range { round: 0, ip, first: 10135, last: 10145, step: 5 };
    assert_eq!(told, Some((A, M, facts)));
    assert_eq!(matches.probe(B, ip, 5, range(false, 0), at(20000)), None, "a repetition changes nothing");
}

#[test]
fn probes_of_strangers_or_from_elsewhere_do_not_count() {
    let mut matches = Rendezvous::default();
    matches.begin(M, Sides { host: A, joiner: B }, unknown());
    let ip = at(0).ip();
    assert_eq!(matches.probe(C, ip, 1, range(false, 0), at(1)), None);
    assert_eq!(matches.probe(C, ip, 1, range(true, 0), at(2)), None);
    let elsewhere = SocketAddr::new([198, 51, 100, 1].into(), 9);
    assert_eq!(matches.probe(B, ip, 1, range(false, 0), elsewhere), None);
    assert_eq!(matches.probe(B, ip, 1, range(true, 0), at(2)), None, "the first one is still missing");
    let newest = ProbePurpose::Newest { match_id: M, round: 3, ahead: [4, 0, 0, 0] };
    assert_eq!(matches.probe(B, ip, 1, newest, elsewhere), None);
    assert!(matches.probe(A, ip, 1, newest, at(2)).is_some_and(|(to, ..)| to == B));
    assert_eq!(matches.probe(A, ip, 1, newest, at(2)), None, "a repeated probe is no news");
}

#[test]
fn old_rounds_are_forgotten() {
    let mut matches = Rendezvous::default();
    matches.begin(M, Sides { host: A, joiner: B }, unknown());
    for round in 0..100 {
        matches.probe(B, at(0).ip(), 1, range(false, round), at(1));
    }
    assert!(matches.matches[&M].rounds[1].len() <= ROUNDS_KEPT);
    for round in 0..=u16::MAX {
        matches.probe(B, at(0).ip(), 1, range(false, round), at(1));
    }
    assert!(matches.matches[&M].rounds[1].len() <= ROUNDS_IN_ALL);
}

#[test]
fn m19_a_round_with_one_probe_leaves_a_range_that_is_open_on_one_side() {
    let mut matches = Rendezvous::default();
    matches.begin(M, Sides { host: A, joiner: B }, unknown());
    let ip = at(0).ip();
    assert_eq!(matches.probe(B, ip, 3, range(false, 1), at(10135)), None, "the second one may yet come");
    let told = matches.probe(B, ip, 3, range(true, 2), at(10190)).map(|(.., facts)| facts);
    assert_eq!(told, Some(Facts::OpenRange { round: 1, ip, bound: 10135, step: 3 }), "beyond the first");
    let told = matches.probe(B, ip, 3, range(false, 3), at(10200)).map(|(.., facts)| facts);
    assert_eq!(told, Some(Facts::OpenRange { round: 2, ip, bound: 10190, step: -3 }), "before the second");
    let told = matches.probe(B, ip, 3, range(true, 3), at(10206)).map(|(.., facts)| facts);
    assert!(matches!(told, Some(Facts::Range { round: 3, .. })));
    assert_eq!(matches.probe(B, ip, 3, range(false, 4), at(10210)), None, "that one is closed");
}

#[test]
fn rounds_of_one_method_do_not_push_out_those_of_another() {
    let mut matches = Rendezvous::default();
    matches.begin(M, Sides { host: A, joiner: B }, unknown());
    let ip = at(0).ip();
    for attempt in 0..20 {
        let newest = ProbePurpose::Newest { match_id: M, round: (3 << 8) | attempt, ahead: [0; 4] };
        assert!(matches.probe(B, ip, 1, newest, at(5)).is_some());
    }
    assert_eq!(matches.probe(B, ip, 1, range(false, (1 << 8) | 1), at(10135)), None);
    assert!(matches.probe(B, ip, 1, range(true, (1 << 8) | 1), at(10145)).is_some(), "a bubble's bracket");
}

#[test]
fn a_new_match_of_the_same_two_replaces_the_old_one() {
    let mut matches = Rendezvous::default();
    assert!(matches.begin(M, Sides { host: A, joiner: B }, unknown()).is_empty());
    assert!(matches.begin(MatchId(8), Sides { host: A, joiner: C }, unknown()).is_empty());
    assert_eq!(matches.begin(MatchId(9), Sides { host: A, joiner: B }, unknown()), [M]);
    assert_eq!(matches.matches_of(A), [(MatchId(8), C), (MatchId(9), B)]);
    assert_eq!(matches.end(MatchId(9)), Some([A, B]));
    assert_eq!(matches.end(MatchId(9)), None);
    assert!(matches.matches_of(B).is_empty());
    assert_eq!(matches.len(), 1);
}
