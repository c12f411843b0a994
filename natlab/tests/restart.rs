//! The lobby server is started anew while two play over its relay: real renet streams over the shipping agents, in
//! virtual time. 60 unreliable and 20 reliable messages a second each way.

#![allow(clippy::unwrap_used)]

mod play;
mod stream;

use std::time::Duration;

use natlab::lobby::SimulatedProgram;
use natlab::scenario::{Draw, PairWorld};
use play::{Play, SECOND};
use traversal_core::{Event, PathKind};

/// Returns two players on the relay, whose networks leave no other way.
fn relayed(seed: u64, loss: f64) -> Play {
    let random = "psrandom".parse().unwrap();
    let draw = Draw { loss: Some(loss), cross: Some(5.0), ..Draw::tidy() };
    Play::new(draw.settings(seed, &random, &random))
}

fn disconnects(play: &Play) -> u32 {
    [play.pair.left, play.pair.right].map(|host| play.pair.player(host).disconnects).into_iter().sum()
}

/// All that was reliable and is three seconds old has arrived, once and in order.
fn assert_reliable(play: &Play, told: &str) {
    let settled = play.pair.world.instant() - 3 * SECOND;
    for (from, to) in [(0, 1), (1, 0)] {
        let (sent, got) = (play.tallies[from].borrow(), play.tallies[to].borrow());
        let due = sent.reliable_sent.iter().filter(|at| **at <= settled).count();
        let arrived = &got.reliable_got;
        assert!(arrived.len() >= due, "{told}: {} of {due} reliable messages", arrived.len());
        assert!(arrived.iter().copied().eq(0..arrived.len() as u32), "{told}: out of order");
    }
}

#[test]
fn a_relayed_pair_plays_on_after_a_restart_of_the_server() {
    for (seed, (away, loss)) in
        [(0.0, 0.0), (0.3, 0.05), (1.5, 0.0), (3.0, 0.05), (5.0, 0.0), (8.0, 0.05)].into_iter().enumerate()
    {
        for seed in (0..6).map(|n| seed as u64 + 100 * n) {
            let told = format!("seed {seed}, {away} s without a server, loss {loss}");
            let mut play = relayed(seed, loss);
            assert!(play.flow() > 40, "{told}: {} messages a second before", play.flow());
            play.pair.stop_server();
            play.run(Duration::from_secs_f64(away));
            play.pair.start_server(1000 + seed);
            play.run(15 * SECOND);
            assert_eq!(disconnects(&play), 0, "{told}");
            assert!(play.flow() > 40, "{told}: {} messages a second afterwards", play.flow());
            assert_reliable(&play, &told);
            // The same match, and no other one.
            for host in [play.pair.left, play.pair.right] {
                let player = play.pair.player(host);
                let plans = player.events.iter().filter(|(_, event)| matches!(event, Event::Plan { .. }));
                assert_eq!(plans.count(), 1, "{told}");
                assert!(player.paths.values().all(|path| path.kind == PathKind::Relay), "{told}");
            }
        }
    }
}

#[test]
fn two_restarts_in_a_row_are_survived_too() {
    let mut play = relayed(7, 0.02);
    for n in 0..2 {
        play.pair.stop_server();
        play.run(2 * SECOND);
        play.pair.start_server(50 + n);
        play.run(12 * SECOND);
        assert!(play.flow() > 40, "restart {n}: {} messages a second", play.flow());
    }
    assert_eq!(disconnects(&play), 0);
    assert_reliable(&play, "two restarts");
}

/// The direct way stands meanwhile, and the relay is there again when it is needed.
#[test]
fn a_direct_pair_has_the_relay_to_fall_back_to_after_a_restart() {
    let cone = "portrestricted".parse().unwrap();
    let mut play = Play::new(Draw { loss: Some(0.0), ..Draw::tidy() }.settings(3, &cone, &cone));
    assert!(play.pair.is_direct());
    play.pair.stop_server();
    play.run(SECOND);
    play.pair.start_server(9);
    play.run(12 * SECOND);
    assert!(play.pair.is_direct() && play.flow() > 40);
    let [left, right] = [&play.pair.left_nats, &play.pair.right_nats]
        .map(|nats| play.pair.world.nat(*nats.last().unwrap()).external()[0]);
    play.pair.world.cut(left, right, true);
    play.pair.world.cut(right, left, true);
    play.run(6 * SECOND);
    assert!(play.flow() > 40, "{} messages a second over the relay", play.flow());
    assert_eq!(disconnects(&play), 0);
    assert_reliable(&play, "a direct pair");
}

#[test]
fn a_server_that_stays_away_ends_the_pair_in_the_end() {
    let mut play = relayed(11, 0.0);
    let timeout = play.pair.settings().config.away_timeout;
    play.pair.stop_server();
    play.run(timeout - 2 * SECOND);
    assert_eq!(disconnects(&play), 0, "it is waited for");
    play.run(4 * SECOND);
    assert_eq!(disconnects(&play), 2);
}

/// Only the server's own silence is an excuse.
#[test]
fn a_player_who_is_gone_is_missed_as_soon_as_ever() {
    for restart in [false, true] {
        let mut play = relayed(13, 0.0);
        let right = play.pair.right;
        if restart {
            play.pair.start_server(14);
            play.run(15 * SECOND);
        }
        play.pair.world.replace_node(right, SimulatedProgram::Idle);
        let left = play.pair.left;
        let away = |pair: &PairWorld| {
            pair.player(left).events.iter().any(|(_, event)| matches!(event, Event::PeerAway { .. }))
        };
        let missed = play.pair.wait(6 * SECOND, away);
        assert!(missed, "after a restart: {restart}");
    }
}
