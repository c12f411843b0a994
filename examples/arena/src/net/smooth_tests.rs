//! How smooth the match is at a round trip of 150 ms with 5 % of all datagrams lost each way, in figures.
//!
//! The bounds, in world units; the window shows two thirds of a pixel for each at 1280x720:
//! - A ship walks 350 units a second, 5.8 in a step, and dashes 19.2 in a step. What a frame moves beyond that is a jump.
//! - A ship has a radius of 26. What is off by less than a ship's radius still looks like the same place, and a shot that is seen to
//!   hit does hit.

use std::collections::BTreeMap;

use bevy::math::Vec2;

use super::ClientGame;
use super::glide::Glide;
use super::tests::{Match, assembled};
use crate::bots::brain::Brain;
use crate::sim::{DT, Input, PLAYER_RADIUS, Phase, PlayerSlot, Rules, TICK_HZ};

/// A dash moves a ship so far in a step.
const FASTEST: f32 = 1150.0 * DT;
/// A frame may move the own ship by so much more than its speed does: 1.3 pixels. Jumps of 12.8 pixels were seen by the author of
/// <https://nkh.do/posts/smoothing-movement-jank>; this is a tenth.
const OWN_JUMP: f32 = 2.0;
/// Others may be off by so much from where they were, in all but one frame of a hundred: 2.7 pixels.
const OTHERS_OFF: f32 = 4.0;

/// What a run of a fight has shown.
#[derive(Debug, Default)]
struct Measured {
    own_steps: Vec<f32>,
    others_off: Vec<f32>,
}

impl Measured {
    fn percentile(values: &[f32], share: f32) -> f32 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        sorted[((sorted.len() - 1) as f32 * share) as usize]
    }
}

/// Plays a fight of computer players with their bad links, and measures what one of them sees.
fn fight(seconds: u32) -> Measured {
    let mut game: Match = assembled(3, 0.075, 0.05, Rules { target: 99, ..Rules::default() });
    game.host.begin();
    let mut brains: Vec<_> = (0..4).map(|i| Brain::new(40 + i)).collect();
    let mut truth = BTreeMap::<u32, BTreeMap<PlayerSlot, Vec2>>::new();
    let mut measured = Measured::default();
    let mut before: Option<Vec2> = None;
    for _ in 0..seconds * TICK_HZ {
        let own = brains[0].think(&game.host.scene(1.0));
        game.step(own, |id, client| brains[id as usize].think(&client.scene(1.0)));
        let alive = game.host.world.players.iter().filter(|(_, p)| p.alive());
        truth.insert(game.host.world.tick, alive.map(|(slot, p)| (*slot, p.body.at)).collect());
        if !matches!(game.host.world.phase, Phase::Playing { .. }) {
            continue;
        }
        let client = &game.players[&1].game;
        let scene = client.scene(1.0);
        let me = scene.me().filter(|me| me.alive()).map(|me| me.at);
        if let (Some(me), Some(before)) = (me, before)
            // Who comes back does so elsewhere, and that is no jump.
            && me.distance(before) < 140.0
        {
            measured.own_steps.push(me.distance(before));
        }
        before = me;
        let shown = client.shown_tick().unwrap();
        let (Some(a), Some(b)) = (truth.get(&(shown.floor() as u32)), truth.get(&(shown.floor() as u32 + 1)))
        else {
            continue;
        };
        for actor in scene.actors.iter().filter(|actor| Some(actor.player) != scene.local && actor.alive()) {
            let (Some(a), Some(b)) = (a.get(&actor.player), b.get(&actor.player)) else { continue };
            if a.distance(*b) < 140.0 {
                measured.others_off.push(a.lerp(*b, shown.fract() as f32).distance(actor.at));
            }
        }
    }
    measured
}

#[test]
fn own_and_other_ships_move_smoothly_in_a_fight_at_150_ms_and_5_percent_loss() {
    let measured = fight(60);
    let (own, others) = (&measured.own_steps, &measured.others_off);
    assert!(
        own.len() > 1500 && others.len() > 4000,
        "a fight worth the name: {} {}",
        own.len(),
        others.len()
    );
    let of = |values: &[f32]| [0.5, 0.99, 0.999, 1.0].map(|share| Measured::percentile(values, share));
    let text = format!("own steps {:?}, others off {:?} (50, 99, 99.9, 100 %)", of(own), of(others));
    println!("{text}");
    assert!(of(own)[3] <= FASTEST + OWN_JUMP, "{text}");
    assert!(of(others)[1] <= OTHERS_OFF, "{text}");
    assert!(of(others)[3] <= PLAYER_RADIUS, "{text}");
}

/// The host is gone, and a guest goes on as the host: what it shows moves from frame to frame by less than a ship walks, and is true
/// when the count is over.
#[test]
fn nobody_jumps_when_another_player_hosts() {
    let mut game = assembled(2, 0.075, 0.05, Rules::default());
    game.host.begin();
    let mut brains: Vec<_> = (0..3).map(|i| Brain::new(7 + i)).collect();
    for _ in 0..8 * TICK_HZ {
        let own = brains[0].think(&game.host.scene(1.0));
        game.step(own, |id, client| brains[id as usize].think(&client.scene(1.0)));
    }
    let mut player = game.players.remove(&1).unwrap().game;
    // Two seconds without a word.
    for _ in 0..2 * TICK_HZ {
        player.advance(f64::from(DT));
        player.tick(Input::default());
    }
    let mut shown = player.scene(1.0);
    let mut next = player.take_over(1, 0, 7).unwrap();
    next.reliable(2, &ClientGame::hello("P2"));
    let mut glide = Glide::default();
    let (mut furthest, mut raw) = (0.0f32, 0.0f32);
    for step in 0..3 * TICK_HZ - 2 {
        next.tick(Input::default());
        let truth = next.scene(1.0);
        let mut scene = truth.clone();
        glide.soften(&shown, &mut scene, DT);
        for actor in scene.actors.iter().filter(|actor| actor.alive()) {
            let (Some(before), Some(there)) = (shown.actor(actor.player), truth.actor(actor.player)) else {
                continue;
            };
            furthest = furthest.max(before.at.distance(actor.at));
            if step == 0 {
                raw = raw.max(before.at.distance(there.at));
            }
            if step > TICK_HZ {
                assert!(actor.at.distance(there.at) < 0.1, "true before the count is over");
            }
        }
        shown = scene;
    }
    assert!(matches!(shown.phase, Some(Phase::Resuming { .. })));
    println!("{furthest} a frame at the most, instead of {raw} at once");
    assert!(raw > 10.0, "there is something to be softened");
    assert!(furthest <= 350.0 * DT, "{furthest}");
}
