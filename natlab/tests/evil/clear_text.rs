//! Somebody on the way who hears everything and forges what is said in the clear, but holds nothing back.

use std::time::Duration;

use natlab::link::Link;
use traversal_core::Event;
use traversal_core::failure::FailureReason;
use traversal_core::id::MatchId;
use traversal_core::nat::NatProfile;
use traversal_core::wire::message::{MatchEnd, Method, PunchPlan, Role, ToPlayer};

use crate::server::{identity_of, nobody};
use crate::stage::{PEER, Stage};

fn stage(seed: u64) -> Stage {
    Stage::new(seed, "portrestricted", Link::delay(Duration::from_millis(30)))
}

#[test]
fn a_login_gets_through_beside_forged_answers() {
    for pinned in [false, true] {
        let mut stage = stage(1);
        stage.with_server(|server| server.forge = true);
        if pinned {
            stage.pin_server();
        }
        stage.log_in();
        assert!(stage.with_server(|server| server.forged) >= 3, "there was something to resist");
    }
}

#[test]
fn a_session_ends_on_the_servers_own_word_alone() {
    let mut stage = stage(2);
    stage.log_in();
    let states = |stage: &Stage| {
        stage.player().events.iter().filter(|(_, event)| matches!(event, Event::Lobby(_))).count()
    };
    let before = states(&stage);
    for token in 100..150u8 {
        stage.with_server(|server| server.refuse_session([token; 16]));
        stage.run(1);
    }
    assert_eq!(states(&stage), before, "nothing happened");
    assert!(stage.player().is_online());
    // The token of the welcome.
    stage.with_server(|server| server.refuse_session([6; 16]));
    stage.run(5);
    assert!(states(&stage) > before, "a new login");
    assert!(stage.player().is_online());
}

#[test]
fn a_plan_that_comes_again_after_its_match_makes_no_keys_again() {
    let mut stage = stage(3);
    stage.log_in();
    let plan = PunchPlan {
        match_id: MatchId(1),
        peer: nobody(1),
        peer_ephemeral: identity_of(2).public_key(),
        pair_secret: [3; 32],
        hosting: true,
        role: Role::Sending,
        same_nat: false,
        peer_public: vec![PEER],
        peer_local: Vec::new(),
        own_nat: NatProfile::default(),
        peer_nat: NatProfile::default(),
        methods: vec![Method::Cone],
        deadline_ms: 10_000,
        relay: None,
        no_relay: None,
        epoch: 0,
        mesh: false,
        peer_rtt: None,
        peer_key: identity_of(1).public_key(),
        spectator: false,
    };
    let plans = |stage: &Stage| {
        stage.player().events.iter().filter(|(_, event)| matches!(event, Event::Plan { .. })).count()
    };
    for round in 0..3 {
        stage.say(&ToPlayer::Plan(Box::new(plan.clone())));
        stage.run(1);
        stage.say(&ToPlayer::MatchEnded { match_id: MatchId(1), reason: MatchEnd::Left });
        stage.run(1);
        assert_eq!(plans(&stage), 1, "round {round}");
    }
    stage.say(&ToPlayer::Plan(Box::new(PunchPlan { match_id: MatchId(2), ..plan.clone() })));
    stage.run(1);
    assert_eq!(plans(&stage), 2, "another match is another");
    // The player whom the plan names has another key.
    let (peer, peer_key) = (nobody(4), identity_of(9).public_key());
    let lie = PunchPlan { match_id: MatchId(3), peer, peer_key, ..plan };
    stage.say(&ToPlayer::Plan(Box::new(lie)));
    stage.run(1);
    let reasons: Vec<FailureReason> = stage
        .player()
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::PeerFailed { peer, report } if peer.id == nobody(4).id => Some(report.reason),
            _ => None,
        })
        .collect();
    // The first match ended before it had begun, and the last plan takes the place of the second one.
    assert_eq!(reasons, [FailureReason::PeerLeft, FailureReason::PeerLeft, FailureReason::BadPlan]);
}
