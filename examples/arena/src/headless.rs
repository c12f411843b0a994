//! Playing without a window: the same match, told in lines.

use std::time::Duration;

use bevy::log::LogPlugin;
use bevy::prelude::*;
use bevy_traversal::QueueStatus;

use crate::bots::{Crew, CrewPlugin, player_app};
use crate::chat::{Chat, Prepared};
use crate::cli::Cli;
use crate::flow::{Referee, StopPlugin};
use crate::scene::Scene;
use crate::session::{Goal, Link, Profile, Session, estimate_words, queue_words};
use crate::settings::known_servers;
use crate::sim::Phase;

/// A match is waited for so long before the program gives up, where an end is wanted.
#[derive(Resource, Clone, Copy, Debug)]
struct Patience(Duration);

/// Plays until the rounds are over or the program is told to stop.
pub fn run(cli: &Cli, profile: Profile, goal: Goal, bots: usize, seed: u64) -> AppExit {
    let mut app = player_app(profile, goal, seed, known_servers());
    app.add_plugins((
        LogPlugin { filter: String::from("warn"), ..Default::default() },
        StopPlugin,
        CrewPlugin,
    ))
    .insert_resource(Patience(Duration::from_secs(cli.patience.into())))
    .insert_resource(Crew::wanting(bots))
    .insert_resource(Referee { rounds: cli.rounds, print: true, ..Default::default() })
    .insert_resource(Prepared(cli.say.clone()))
    .add_systems(Update, (tell, tell_queue, tell_chat, give_up));
    app.run()
}

fn tell(session: Res<Session>, mut last: Local<Option<String>>, mut invite: Local<Option<String>>) {
    if session.invite.is_some() && *invite != session.invite {
        invite.clone_from(&session.invite);
        println!("Invite: {}", session.invite.as_deref().unwrap_or_default());
    }
    let seen = last.as_ref().and_then(|last| session.story.iter().rposition(|line| line == last));
    for line in session.story.iter().skip(seen.map_or(0, |seen| seen + 1)) {
        println!("{line}");
        *last = Some(line.clone());
    }
}

/// Prints how the quick match comes along.
fn tell_queue(session: Res<Session>, mut told: Local<Option<QueueStatus>>) {
    if let Some(queue) = session.queue.filter(|queue| told.as_ref() != Some(queue)) {
        println!("{} {}", queue_words(&queue), estimate_words(&queue));
        *told = Some(queue);
    }
}

/// Prints what was written in the room.
fn tell_chat(chat: Res<Chat>, mut told: Local<usize>) {
    let fresh = chat.count.saturating_sub(*told).min(chat.lines().len());
    for line in chat.lines().skip(chat.lines().len() - fresh) {
        let colon = if line.name.is_empty() { "" } else { ": " };
        println!("[chat] {}{colon}{}", line.name, line.text);
    }
    *told = chat.count;
}

fn give_up(
    time: Res<Time<Real>>,
    scene: Res<Scene>,
    referee: Res<Referee>,
    patience: Res<Patience>,
    mut session: ResMut<Session>,
    mut played: Local<Duration>,
    mut exit: MessageWriter<AppExit>,
) {
    if !matches!(scene.phase, None | Some(Phase::Lobby)) {
        *played = time.elapsed();
    }
    if let Some(trouble) = session.trouble.take() {
        eprintln!("arena: {trouble}");
        exit.write(AppExit::error());
    } else if referee.rounds.is_some() && time.elapsed() - *played > patience.0 {
        let why = match &session.link {
            Link::Retrying { reason } | Link::Refused { reason } => reason.clone(),
            Link::Connecting => String::from("The lobby server does not answer yet."),
            _ => String::from("Nobody came to play."),
        };
        eprintln!("arena: no match after {} s. {why}", patience.0.as_secs());
        exit.write(AppExit::error());
    }
}
