//! When the program ends: after so many rounds, or when it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bevy::prelude::*;
use bevy_renet::RenetServer;

use crate::scene::{Happened, Scene};
use crate::sim::GameEvent;

/// A host stays for so long after its last round: renet repeats what was lost, and all are to hear who won.
const FAREWELL: Duration = Duration::from_secs(2);

/// Ends the program after so many rounds, and tells who won them.
#[derive(Resource, Clone, Debug, Default)]
pub struct Referee {
    /// So many rounds are played; `None`: the match goes on for ever.
    pub rounds: Option<u16>,
    /// This says whether what happens is printed.
    pub print: bool,
    /// So many rounds are over.
    pub over: u16,
    /// This counts the rounds that each name won.
    pub wins: BTreeMap<String, u16>,
}

/// Ends the program cleanly on SIGINT, SIGTERM and SIGHUP, and on Windows on Ctrl-C and Ctrl-Break; Bevy's own plugin would call that an error.
#[derive(Debug)]
pub struct StopPlugin;

#[derive(Resource)]
struct Stop(Arc<AtomicBool>);

impl Plugin for StopPlugin {
    fn build(&self, app: &mut App) {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        if let Err(error) = ctrlc::set_handler(move || told.store(true, Ordering::Relaxed)) {
            warn!("signals will end the program at once: {error}");
        }
        app.insert_resource(Stop(stop)).add_systems(
            First,
            |stop: Res<Stop>, mut exit: MessageWriter<AppExit>| {
                if stop.0.load(Ordering::Relaxed) {
                    exit.write(AppExit::Success);
                }
            },
        );
    }
}

/// Counts the rounds, tells what happens, and ends the program when there were enough.
pub(super) fn count_rounds(
    mut happened: MessageReader<Happened>,
    scene: Res<Scene>,
    mut referee: ResMut<Referee>,
    server: Option<Res<RenetServer>>,
    time: Res<Time<Real>>,
    mut leave_at: Local<Option<Duration>>,
    mut exit: MessageWriter<AppExit>,
) {
    if leave_at.is_some_and(|at| at <= time.elapsed()) {
        exit.write(AppExit::Success);
    }
    for Happened(event) in happened.read() {
        let name =
            |player: u8| scene.actor(player).map_or("somebody", |actor| actor.name.as_str()).to_owned();
        let line = match event {
            GameEvent::Joined { name, .. } => format!("{name} came in."),
            GameEvent::RoundStarted { round } => format!("Round {round} begins."),
            GameEvent::Downed { by, whom } => format!("{} downed {}.", name(*by), name(*whom)),
            GameEvent::RoundWon { round, winner, points } => {
                referee.over += 1;
                *referee.wins.entry(name(*winner)).or_default() += 1;
                let points: Vec<_> =
                    points.iter().map(|(player, points)| format!("{} {points}", name(*player))).collect();
                format!("Round {round}: winner {} ({}).", name(*winner), points.join(", "))
            }
            _ => continue,
        };
        if referee.print {
            println!("{line}");
        }
    }
    if referee.rounds.is_some_and(|rounds| referee.over >= rounds) {
        if let Some((name, _)) = referee.wins.iter().max_by_key(|(_, wins)| **wins) {
            println!("Winner: {name}");
        }
        referee.rounds = None;
        let guests = server.is_some_and(|server| server.connected_clients() > 0);
        *leave_at = Some(time.elapsed() + if guests { FAREWELL } else { Duration::ZERO });
    }
}
