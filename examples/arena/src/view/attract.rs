//! The show behind the title: a match of computer players that nobody takes part in.

use bevy::prelude::*;

use crate::bots::brain::Brain;
use crate::flow::Seed;
use crate::net::HostGame;
use crate::net::systems::{Hosted, Joined, NetSystems};
use crate::scene::{Happened, Scene};
use crate::sim::Rules;

const CAST: usize = 5;

#[derive(Resource)]
struct Show {
    game: HostGame,
    brains: Vec<Brain>,
    seq: u32,
}

pub(super) struct AttractPlugin;

impl Plugin for AttractPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, prepare)
            .add_systems(FixedUpdate, step.run_if(nobody_plays))
            .add_systems(Update, show.in_set(NetSystems::Scene).run_if(nobody_plays));
    }
}

fn nobody_plays(hosted: Option<Res<Hosted>>, joined: Option<Res<Joined>>) -> bool {
    hosted.is_none() && joined.is_none()
}

fn prepare(mut commands: Commands, seed: Res<Seed>) {
    let rules = Rules { target: 30, round_seconds: 600, overtime_seconds: 5, ..Rules::default() };
    let mut game = HostGame::new(rules, seed.0, None);
    let brains = (0..CAST as u64).map(|i| Brain::new(seed.0.wrapping_add(i))).collect();
    for _ in 0..CAST {
        game.world.join("");
    }
    game.begin();
    commands.insert_resource(Show { game, brains, seq: 0 });
}

fn step(show: Option<ResMut<Show>>) {
    let Some(mut show) = show else { return };
    let show = &mut *show;
    show.seq += 1;
    let mut scene = show.game.scene(1.0);
    for (slot, brain) in show.brains.iter_mut().enumerate() {
        scene.local = Some(slot as u8);
        scene.dash_charge = 1.0;
        let input = crate::sim::Input { seq: show.seq, ..brain.think(&scene) };
        show.game.world.apply(slot as u8, &input);
    }
    show.game.tick(Default::default());
}

fn show(
    time: Res<Time<Fixed>>,
    show: Option<ResMut<Show>>,
    mut scene: ResMut<Scene>,
    mut happened: MessageWriter<Happened>,
) {
    let Some(mut show) = show else { return };
    *scene = show.game.scene(time.overstep_fraction());
    happened.write_batch(show.game.take_events().into_iter().map(Happened));
}
