//! Players as apps of the test's own process: all are turned in one thread.

use std::time::{Duration, Instant};

use arena::bots::{idle_app, player_app, single_threaded};
use arena::scene::Scene;
use arena::session::{Goal, Profile, Session, Target};
use bevy::prelude::*;
use bevy_traversal::KeptFile;

const DEADLINE: Duration = Duration::from_secs(120);

/// The players meet in the room of this name.
pub(crate) const ROOM: &str = "the room";

/// Returns the goal of one who enters the room.
pub(crate) fn join() -> Goal {
    let target = Target::Name(String::from(ROOM));
    Goal::Join { target, password: None, wait: Duration::from_secs(20), watch: false }
}

/// Turns all apps until something is so.
pub(crate) fn until(apps: &mut [App], what: &str, mut done: impl FnMut(&[App]) -> bool) {
    let begun = Instant::now();
    while !done(apps) {
        assert!(begun.elapsed() < DEADLINE, "not in time: {what}\n{}", tell(apps));
        let frame = Instant::now();
        for app in &mut *apps {
            app.update();
        }
        // The rate of the game, as with a window.
        std::thread::sleep(Duration::from_micros(16_667).saturating_sub(frame.elapsed()));
    }
}

/// Returns what all have been told.
pub(crate) fn tell(apps: &[App]) -> String {
    apps.iter().map(|app| format!("{:?}\n", app.world().resource::<Session>().story)).collect()
}

/// Returns what an app shows.
pub(crate) fn scene(app: &App) -> &Scene {
    app.world().resource::<Scene>()
}

/// Returns a player; the computer plays it, or nobody.
pub(crate) fn player(name: &str, server: &str, goal: Goal, plays: bool) -> App {
    let profile = Profile { name: name.to_owned(), server: server.to_owned() };
    let seed = name.bytes().map(u64::from).sum();
    let make = if plays { player_app } else { idle_app };
    let mut app = make(profile, goal, seed, KeptFile::Off);
    single_threaded(&mut app);
    app.finish();
    app.cleanup();
    app
}
