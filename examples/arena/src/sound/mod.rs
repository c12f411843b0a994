//! Sounds and music, all worked out by [`synth`]; silent where the system has no sound.

mod mixer;
mod output;
pub mod synth;

use std::collections::BTreeSet;
use std::sync::mpsc::{SyncSender, sync_channel};

use bevy::prelude::*;

use self::mixer::{Mixer, Order};
use self::synth::Effect;
use crate::net::systems::NetSystems;
use crate::scene::{Happened, Scene};
use crate::screens::Form;
use crate::screens::page::Pressed;
use crate::session::Session;
use crate::settings::Settings;
use crate::sim::{GameEvent, HALF_SIZE, Phase, PlayerSlot};

/// So many orders wait for the thread that plays; what is more is not heard.
const WAITING: usize = 128;

/// This plugin lets the game be heard.
#[derive(Debug)]
pub struct SoundPlugin;

#[derive(Resource)]
struct Speaker(SyncSender<Order>);

impl Speaker {
    fn play(&self, effect: Effect, loud: f32, at: Vec2) {
        // A full queue means a thread that is gone, or silent.
        let _ = self.0.try_send(Order::Play { effect, loud, from: at.x / HALF_SIZE.x });
    }
}

impl Plugin for SoundPlugin {
    fn build(&self, app: &mut App) {
        let (speaker, orders) = sync_channel(WAITING);
        output::start(move || Mixer::new(orders));
        app.insert_resource(Speaker(speaker))
            .add_systems(Update, (set_volume, press, hear, count, of_host, shots).after(NetSystems::Scene));
    }
}

/// Returns how loud sounds and music are, 0..=1.
fn volumes(settings: &Settings) -> (f32, f32) {
    // Twice as loud for the ear is more than twice as much.
    let loud = |step: u8| if settings.muted { 0.0 } else { (f32::from(step) / 10.0).powi(2) };
    (loud(settings.volume), loud(settings.music))
}

fn set_volume(form: Res<Form>, speaker: Res<Speaker>, mut told: Local<Option<(f32, f32)>>) {
    let now = volumes(&form.settings);
    let (sounds, music) = now;
    // Told again with the next frame where the queue is full.
    if *told != Some(now) && speaker.0.try_send(Order::Volume { sounds, music }).is_ok() {
        *told = Some(now);
    }
}

fn press(mut pressed: MessageReader<Pressed>, speaker: Res<Speaker>) {
    if pressed.read().count() > 0 {
        speaker.play(Effect::Button, 0.6, Vec2::ZERO);
    }
}

/// Returns the sound of an event, and how loud it is; none: it has none.
fn sound_of(event: &GameEvent, me: Option<PlayerSlot>) -> Option<(Effect, f32, Option<PlayerSlot>)> {
    let own = |player: PlayerSlot, mine, others| if me == Some(player) { mine } else { others };
    Some(match event {
        GameEvent::Hit { whom, .. } => (Effect::Hit, own(*whom, 1.0, 0.45), Some(*whom)),
        GameEvent::Downed { whom, .. } => (Effect::Boom, own(*whom, 1.0, 0.7), Some(*whom)),
        GameEvent::PickupTaken { by, .. } => (Effect::Pickup, own(*by, 0.9, 0.4), Some(*by)),
        GameEvent::Joined { .. } => (Effect::Join, 0.7, None),
        GameEvent::Fight => (Effect::Go, 0.9, None),
        GameEvent::RoundWon { .. } => (Effect::Win, 0.9, None),
        _ => return None,
    })
}

/// The show behind the title is silent.
fn plays(session: &Session) -> bool {
    session.room.is_some()
}

fn hear(
    mut happened: MessageReader<Happened>,
    session: Res<Session>,
    scene: Res<Scene>,
    speaker: Res<Speaker>,
) {
    for Happened(event) in happened.read().filter(|_| plays(&session)) {
        if let Some((effect, loud, whose)) = sound_of(event, scene.local) {
            let at = whose.and_then(|player| scene.actor(player)).map(|actor| actor.at).unwrap_or_default();
            speaker.play(effect, loud, at);
        }
    }
}

/// Each second of a countdown is heard.
fn count(scene: Res<Scene>, session: Res<Session>, speaker: Res<Speaker>, mut before: Local<Option<u32>>) {
    let counts = matches!(scene.phase, Some(Phase::Countdown { .. } | Phase::Resuming { .. }));
    let left = scene.seconds_left().filter(|_| counts && plays(&session)).map(|left| left.ceil() as u32);
    if left != *before && left.is_some_and(|left| left > 0) {
        speaker.play(Effect::Tick, 0.8, Vec2::ZERO);
    }
    *before = left;
}

/// A host that is not heard of, and one that is heard again.
fn of_host(scene: Res<Scene>, session: Res<Session>, speaker: Res<Speaker>, mut stood: Local<bool>) {
    let stands = plays(&session) && (scene.stands || session.doubt.is_some());
    if stands != *stood && plays(&session) {
        speaker.play(if stands { Effect::Lost } else { Effect::Back }, 1.0, Vec2::ZERO);
    }
    *stood = stands;
}

fn shots(
    scene: Res<Scene>,
    session: Res<Session>,
    speaker: Res<Speaker>,
    mut before: Local<BTreeSet<(PlayerSlot, u32)>>,
) {
    let now = scene.bolts.iter().map(|bolt| (bolt.owner, bolt.key)).collect();
    for bolt in scene.bolts.iter().filter(|bolt| !before.contains(&(bolt.owner, bolt.key))) {
        if plays(&session) {
            let loud = if scene.local == Some(bolt.owner) { 0.5 } else { 0.25 };
            speaker.play(Effect::Shot, loud, bolt.at);
        }
    }
    *before = now;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;
    use crate::scene::SceneBolt;
    use crate::session::Room;

    fn app() -> (App, Receiver<Order>) {
        let (speaker, orders) = sync_channel(WAITING);
        let mut app = App::new();
        app.insert_resource(Speaker(speaker))
            .init_resource::<Form>()
            .init_resource::<Session>()
            .init_resource::<Scene>()
            .add_message::<Happened>()
            .add_message::<Pressed>()
            .add_systems(Update, (set_volume, press, hear, count, of_host, shots).chain());
        (app, orders)
    }

    fn heard(app: &mut App, orders: &Receiver<Order>) -> Vec<Effect> {
        app.update();
        let play = |order| if let Order::Play { effect, .. } = order { Some(effect) } else { None };
        orders.try_iter().filter_map(play).collect()
    }

    #[test]
    fn a_match_is_heard_and_the_show_behind_the_title_is_not() {
        let (mut app, orders) = app();
        let bolt = SceneBolt { owner: 1, key: 9, at: Vec2::ZERO, velocity: Vec2::X };
        app.world_mut().resource_mut::<Scene>().bolts.push(bolt);
        app.world_mut().write_message(Happened(GameEvent::Fight));
        assert_eq!(heard(&mut app, &orders), []);
        let (name, code) = (String::from("den"), String::from("K7QF2M"));
        app.world_mut().resource_mut::<Session>().room =
            Some(Room { name, code, hosting: true, capacity: 8 });
        app.world_mut().write_message(Happened(GameEvent::Fight));
        app.world_mut().resource_mut::<Scene>().bolts.push(SceneBolt { key: 10, ..bolt });
        assert_eq!(heard(&mut app, &orders), [Effect::Go, Effect::Shot]);
        assert_eq!(heard(&mut app, &orders), [], "each once");
        let mut scene = app.world_mut().resource_mut::<Scene>();
        (scene.phase, scene.tick) = (Some(Phase::Countdown { ends: 180 }), 0);
        assert_eq!(heard(&mut app, &orders), [Effect::Tick]);
        app.world_mut().resource_mut::<Scene>().tick = 30;
        assert_eq!(heard(&mut app, &orders), [], "the same second");
        app.world_mut().resource_mut::<Scene>().stands = true;
        assert_eq!(heard(&mut app, &orders), [Effect::Lost]);
        app.world_mut().resource_mut::<Scene>().stands = false;
        assert_eq!(heard(&mut app, &orders), [Effect::Back]);
    }

    #[test]
    fn the_settings_say_how_loud_it_is() {
        let (mut app, orders) = app();
        app.update();
        let loud = |orders: &Receiver<Order>| match orders.try_iter().last() {
            Some(Order::Volume { sounds, music }) => Some((sounds, music)),
            _ => None,
        };
        assert!(loud(&orders).is_some_and(|(sounds, music)| sounds > 0.2 && music > 0.1));
        app.world_mut().resource_mut::<Form>().settings.muted = true;
        app.update();
        assert_eq!(loud(&orders), Some((0.0, 0.0)));
    }
}
