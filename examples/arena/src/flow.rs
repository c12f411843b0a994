//! Pursues the player's [`Goal`]: log in, open or enter the room, make and end the match. The same with a window,
//! without one, and in computer players.

use std::collections::BTreeMap;
use std::time::Duration;

use bevy::prelude::*;
use bevy_renet::RenetClient;

use crate::net::HostGame;
use crate::net::systems::{Hosted, Joined, NetSystems};
use crate::scene::{Happened, Scene};
use crate::session::{Ask, Goal, HostPlan, Link, Profile, Session};
use crate::sim::{GameEvent, Phase, TICK_HZ};

/// How often the list of rooms is asked for while it is looked at.
const REFRESH: Duration = Duration::from_secs(2);
/// A match meant to begin by itself begins after this long with fewer players than it wanted.
const PATIENCE: u32 = 25 * TICK_HZ;

/// Seed of everything random in this app.
#[derive(Resource, Clone, Copy, Debug)]
pub struct Seed(pub u64);

/// Ends the program after so many rounds, and tells who won them.
#[derive(Resource, Clone, Debug, Default)]
pub struct Referee {
    /// Rounds to be played; none: for ever.
    pub rounds: Option<u16>,
    /// Print what happens.
    pub print: bool,
    /// Rounds that are over.
    pub over: u16,
    /// Rounds that each name won.
    pub wins: BTreeMap<String, u16>,
}

/// What has been asked for already.
#[derive(Resource, Clone, Debug, Default)]
struct Asked {
    profile: Option<Profile>,
    goal: Goal,
    listed: Option<Duration>,
}

/// The flow.
#[derive(Debug)]
pub struct FlowPlugin;

impl Plugin for FlowPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Session>()
            .init_resource::<Goal>()
            .init_resource::<Asked>()
            .init_resource::<Referee>()
            .add_message::<Ask>()
            .add_systems(Update, (pursue, keep_match).chain().before(NetSystems::Scene))
            .add_systems(FixedUpdate, begin_by_itself.before(NetSystems::Tick))
            .add_systems(Update, count_rounds.after(NetSystems::Scene));
    }
}

fn pursue(
    time: Res<Time<Real>>,
    goal: Res<Goal>,
    profile: Res<Profile>,
    mut session: ResMut<Session>,
    mut asked: ResMut<Asked>,
    mut ask: MessageWriter<Ask>,
) {
    if *goal == Goal::Idle {
        if asked.goal != Goal::Idle {
            asked.goal = Goal::Idle;
            ask.write(Ask::Leave);
        }
        return;
    }
    if asked.profile.as_ref() != Some(&*profile) {
        asked.profile = Some(profile.clone());
        asked.goal = Goal::Idle;
        session.link = Link::Connecting;
        session.tell(format!("Looking for the lobby server {}.", profile.server));
        ask.write(Ask::Connect);
        return;
    }
    if !matches!(session.link, Link::Online { .. }) {
        return;
    }
    if asked.goal != *goal {
        asked.goal = goal.clone();
        asked.listed = None;
        match &*goal {
            Goal::Idle | Goal::Browse => {}
            Goal::Host(plan) => {
                session.tell("Asking the lobby server for a room.");
                ask.write(Ask::Host(plan.clone()));
            }
            Goal::Join { target, password, wait } => {
                session.tell(format!("Asking to enter {}.", target.words()));
                ask.write(Ask::Join { target: target.clone(), password: password.clone(), wait: *wait });
            }
        }
    }
    if *goal == Goal::Browse && asked.listed.is_none_or(|at| time.elapsed() - at > REFRESH) {
        asked.listed = Some(time.elapsed());
        ask.write(Ask::List);
    }
}

/// A hosted room has a match; a connection that is gone has none.
fn keep_match(
    mut commands: Commands,
    session: Res<Session>,
    goal: Res<Goal>,
    profile: Res<Profile>,
    seed: Res<Seed>,
    hosted: Option<Res<Hosted>>,
    joined: Option<Res<Joined>>,
    client: Option<Res<RenetClient>>,
) {
    let hosting = session.room.as_ref().is_some_and(|room| room.hosting);
    match (&*goal, hosted) {
        (Goal::Host(plan), None) if hosting => {
            commands.insert_resource(Hosted(HostGame::new(plan.rules, seed.0, Some(&profile.name))));
        }
        (_, Some(_)) if !hosting => commands.remove_resource::<Hosted>(),
        _ => {}
    }
    if joined.is_some() && client.is_none_or(|client| client.is_disconnected()) {
        commands.remove_resource::<Joined>();
    }
}

fn begin_by_itself(goal: Res<Goal>, hosted: Option<ResMut<Hosted>>, mut waited: Local<u32>) {
    let (Some(mut hosted), Goal::Host(HostPlan { begin_with: Some(wanted), .. })) = (hosted, &*goal) else {
        *waited = 0;
        return;
    };
    if hosted.0.world.phase != Phase::Lobby {
        return;
    }
    *waited += 1;
    if hosted.0.world.players.len() >= *wanted || *waited > PATIENCE {
        hosted.0.begin();
    }
}

fn count_rounds(
    mut happened: MessageReader<Happened>,
    scene: Res<Scene>,
    mut referee: ResMut<Referee>,
    mut exit: MessageWriter<AppExit>,
) {
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
        exit.write(AppExit::Success);
    }
}
