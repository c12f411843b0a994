//! Pursues the player's [`Goal`]: log in, open or enter the room, make and end the match. The same with a window,
//! without one, and in computer players.

mod referee;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bevy::prelude::*;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::JoinRoom;

pub use referee::{Referee, StopPlugin};

use crate::net::HostGame;
use crate::net::systems::{Colour, Hosted, Joined, NetSystems};
use crate::scene::Scene;
use crate::session::{
    Ask, Counted, Goal, HostChange, Link, Member, Profile, RoomWish, Session, target_words,
};
use crate::sim::{Phase, Rules, TICK_HZ};

/// What was not answered is said again after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// A match meant to begin by itself begins after this long with fewer players than it wanted.
const PATIENCE: u32 = 25 * TICK_HZ;

/// Everything random in this app comes of this seed.
#[derive(Resource, Clone, Copy, Debug)]
pub struct Seed(pub u64);

/// With this the game logs in on the title already: so it knows the own NAT, and has the list of rooms at once.
#[derive(Resource, Clone, Copy, Debug)]
pub struct LogsInAtOnce;

/// This says what has been asked for already.
#[derive(Resource, Clone, Debug, Default)]
struct Asked {
    profile: Option<Profile>,
    goal: Goal,
    listed: Option<RoomWish>,
}

/// This plugin leads from "I want to play" to a running match.
#[derive(Debug)]
pub struct FlowPlugin;

impl Plugin for FlowPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Session>()
            .init_resource::<Goal>()
            .init_resource::<Asked>()
            .init_resource::<Referee>()
            .init_resource::<RoomWish>()
            .add_message::<Ask>()
            .add_message::<Counted>()
            .add_message::<HostChange>()
            .add_systems(
                Update,
                (pursue, change_host, keep_match, tell_joinings, seat_watchers, begin_counted, talk)
                    .chain()
                    .before(NetSystems::Scene),
            )
            .add_systems(FixedUpdate, begin_by_itself.before(NetSystems::Tick))
            .add_systems(Update, referee::count_rounds.after(NetSystems::Scene));
    }
}

fn pursue(
    goal: Res<Goal>,
    wish: Res<RoomWish>,
    profile: Res<Profile>,
    at_once: Option<Res<LogsInAtOnce>>,
    mut session: ResMut<Session>,
    mut asked: ResMut<Asked>,
    mut ask: MessageWriter<Ask>,
) {
    if goal.is_changed() && matches!(session.link, Link::Refused { .. }) {
        // Nothing more comes of that login.
        asked.profile = None;
    }
    if goal.is_changed() && asked.goal != Goal::Idle {
        // Another goal, or the same once more: out of wherever the last one led, and on in the next frame.
        match asked.goal {
            Goal::Browse => _ = ask.write(Ask::Unwatch),
            // The players may have been put together in this moment: then there is a room to leave.
            Goal::Quick(_) if session.room.is_none() => _ = ask.write_batch([Ask::Unqueue, Ask::Leave]),
            _ => _ = ask.write(Ask::Leave),
        }
        asked.goal = Goal::Idle;
        return;
    }
    if *goal == Goal::Idle && (at_once.is_none() || profile.server.is_empty()) {
        return;
    }
    if asked.profile.as_ref() != Some(&*profile) {
        asked.profile = Some(profile.clone());
        asked.goal = Goal::Idle;
        (session.link, session.nat) = (Link::Connecting, None);
        session.tell(format!("Looking for the lobby server {}.", profile.server));
        ask.write(Ask::Connect);
        return;
    }
    // An invite may lead to another server than the one that does not answer.
    let elsewhere = matches!(session.link, Link::Retrying { .. } | Link::Refused { .. });
    let invited = matches!(*goal, Goal::Invited(_)) && elsewhere;
    if !matches!(session.link, Link::Online { .. }) && !invited {
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
            Goal::Join { target, password, wait, watch } => {
                session.tell(format!("Asking to enter {}.", target_words(target)));
                let (target, password) = (target.clone(), password.clone());
                ask.write(Ask::Join(JoinRoom { target, password, wait: *wait, spectate: *watch }));
            }
            Goal::Invited(invite) => {
                session.tell("Going where the invite leads.");
                ask.write(Ask::Invited(invite.clone()));
            }
            Goal::Quick(plan) => {
                session.tell(format!("Waiting for players: {} make a match.", plan.players));
                ask.write(Ask::Quick(*plan));
            }
        }
    }
    if *goal == Goal::Browse && asked.listed.as_ref() != Some(&*wish) {
        asked.listed = Some(wish.clone());
        ask.write(Ask::Watch(wish.0.clone()));
    }
}

/// Who watches is told of the match as soon as it is connected.
fn seat_watchers(session: Res<Session>, server: Option<Res<RenetServer>>, hosted: Option<ResMut<Hosted>>) {
    let (Some(server), Some(mut hosted)) = (server, hosted) else { return };
    let connected = |client: &u64| server.is_connected(*client);
    let now: std::collections::BTreeSet<u64> = session.watchers.iter().copied().filter(connected).collect();
    if hosted.0.watchers() != &now {
        hosted.0.set_watchers(now);
    }
}

/// The match begins when the lobby server's countdown is over.
fn begin_counted(mut counted: MessageReader<Counted>, hosted: Option<ResMut<Hosted>>) {
    let Some(Counted(left)) = counted.read().last() else { return };
    if let Some(mut hosted) = hosted {
        hosted.0.begin_in((left.as_secs_f32() * TICK_HZ as f32) as u32);
    }
}

/// Tells the room what is due: the host wants an invite at hand, and who plays is no longer waiting to.
fn talk(
    time: Res<Time<Real>>,
    (session, scene): (Res<Session>, Res<Scene>),
    mut ask: MessageWriter<Ask>,
    mut told: Local<(Option<String>, Duration)>,
) {
    let room = session.room.as_ref().filter(|_| matches!(session.link, Link::Online { .. }));
    let code = room.map(|room| format!("{} {}", room.code, room.hosting));
    if let Some(room) = room.filter(|_| told.0 != code) {
        ask.write(Ask::Invite { hosting: room.hosting });
    }
    told.0 = code;
    let ready = session.members.iter().any(|member| member.me && member.ready);
    let plays = matches!(scene.phase, Some(Phase::Playing { .. })) && !session.watching;
    if ready && plays && room.is_some() && time.elapsed() > told.1 + AGAIN {
        told.1 = time.elapsed();
        ask.write(Ask::Ready(false));
    }
}

/// A hosted room has a match; a connection that is gone has none.
fn keep_match(
    mut commands: Commands,
    session: Res<Session>,
    goal: Res<Goal>,
    profile: Res<Profile>,
    (seed, colour): (Res<Seed>, Res<Colour>),
    hosted: Option<Res<Hosted>>,
    joined: Option<Res<Joined>>,
    client: Option<Res<RenetClient>>,
) {
    let hosting = session.room.as_ref().is_some_and(|room| room.hosting);
    match (goal.rules(), hosted) {
        (Some(rules), None) if hosting => {
            let game = HostGame::dressed(rules, seed.0, Some(&profile.name), colour.0);
            commands.insert_resource(Hosted(game.known_as(session.me)));
        }
        (_, Some(_)) if !hosting => commands.remove_resource::<Hosted>(),
        _ => {}
    }
    // Inside the room it is kept: another host may go on with it.
    let over = client.is_none_or(|client| client.is_disconnected()) && session.room.is_none();
    if joined.is_some() && over {
        commands.remove_resource::<Joined>();
    }
}

/// The match goes on with another host: here, from what was seen last, or there.
fn change_host(
    mut commands: Commands,
    mut changes: MessageReader<HostChange>,
    session: Res<Session>,
    seed: Res<Seed>,
    profile: Res<Profile>,
    mut joined: Option<ResMut<Joined>>,
) {
    for change in changes.read() {
        let Some(joined) = &mut joined else { continue };
        if change.hosting {
            let own = session.me.unwrap_or_default();
            let game = joined.0.take_over(own, change.previous, seed.0);
            // Before the first snapshot there is nothing to go on with.
            let fresh = || HostGame::new(Rules::default(), seed.0, Some(&profile.name)).known_as(session.me);
            commands.insert_resource(Hosted(game.unwrap_or_else(fresh)));
            commands.remove_resource::<Joined>();
        } else {
            joined.0 = std::mem::take(&mut joined.0).begun_anew();
        }
    }
}

/// The host tells its guests how each of them is joined with it: all see the same card at the end.
fn tell_joinings(session: Res<Session>, hosted: Option<ResMut<Hosted>>) {
    let Some(mut hosted) = hosted.filter(|_| session.is_changed()) else { return };
    let joined = |member: &Member| Some((member.client, member.connection.as_ref()?.joined?));
    let joinings = session.members.iter().filter_map(joined).collect();
    hosted.0.set_joinings(joinings);
}

/// Begins with so many players as the goal says, or after a while with those who are there.
fn begin_by_itself(goal: Res<Goal>, hosted: Option<ResMut<Hosted>>, mut waited: Local<u32>) {
    let (Some(mut hosted), Some(wanted)) = (hosted, goal.begins_with()) else {
        *waited = 0;
        return;
    };
    if hosted.0.world.phase != Phase::Lobby {
        return;
    }
    *waited += 1;
    let here = hosted.0.world.players.len();
    // A quick match against nobody is none.
    let alone = matches!(*goal, Goal::Quick(_)) && here < 2;
    if here >= wanted || *waited > PATIENCE && !alone {
        hosted.0.begin();
    }
}
