//! When to stop, and what is said then.

use std::time::{Duration, Instant};

use bevy_app::AppExit;
use bevy_ecs::prelude::*;
use bevy_traversal::TraversalStats;
use headless::Output;
use serde_json::{Value, json};

use crate::play::Scores;
use crate::session::{Goal, Session};

/// The last reliable messages are waited for so long, with `--complete`.
const COMPLETE: Duration = Duration::from_secs(10);

/// Ends the program if there is an outcome: the one that is given, or what the times say. `done`: all has come about, and the
/// program ends well then; else it ends badly at `until`, and says that it is `late`. A signal ends it well.
pub(crate) fn end(
    outcome: Option<Result<(), String>>,
    (done, until): (Option<Instant>, Instant),
    (stopped, late): (bool, &str),
    output: &Output,
    exit: &mut MessageWriter<AppExit>,
) {
    let now = Instant::now();
    let over = done.is_some_and(|at| at <= now) || stopped;
    let in_time = || match (over, done) {
        (true, _) => Some(Ok(())),
        (false, None) if until <= now => Some(Err(late.into())),
        (false, _) => None,
    };
    match outcome.or_else(in_time) {
        None => {}
        Some(Ok(())) => _ = exit.write(AppExit::Success),
        Some(Err(text)) => {
            output.event("failed", json!({"text": text}));
            eprintln!("peer: {text}");
            exit.write(AppExit::error());
        }
    }
}

/// Ends the program when its time is over, on a signal, and when there is nothing left to wait for.
pub(crate) fn finish(
    mut session: ResMut<Session>,
    output: Res<Output>,
    mut scores: ResMut<Scores>,
    stats: Res<TraversalStats>,
    mut exit: MessageWriter<AppExit>,
) {
    let now = Instant::now();
    freeze(&mut session, &output, now);
    let stopped = session.stop.load(std::sync::atomic::Ordering::Relaxed);
    let played = match (&session.game, session.connected_at) {
        (Some(game), Some(at)) => now >= at + game.play,
        _ => now >= session.deadline,
    };
    if !(session.over || stopped || played || session.host_gone) {
        return;
    }
    let complete = session.game.as_ref().is_some_and(|game| game.complete) && session.connected_at.is_some();
    let late = match (&session.game, session.connected_at) {
        (Some(game), Some(at)) => now >= at + game.play + COMPLETE,
        _ => true,
    };
    if complete && !scores.close() && !(session.over || stopped || late) {
        return;
    }
    session.over = true;
    let text = session.trouble.take();
    let problem = match &session.goal {
        Goal::Nat { .. } if text.is_none() && !played && !stopped => None,
        Goal::Rooms(_) if text.is_none() && !played => None,
        Goal::Rooms(_) => Some(text.unwrap_or_else(|| "the lobby server did not answer in time".into())),
        Goal::Nat { .. } => {
            Some(text.unwrap_or_else(|| "the lobby server told nothing about the NAT in time".into()))
        }
        goal => {
            let expected = match goal {
                Goal::Host { expected, .. } => *expected,
                Goal::Quick(wanted, _) if session.hosted_first => usize::from(wanted.players) - 1,
                _ => 1,
            };
            for summary in scores.summaries(stats.discarded()) {
                output.event("summary", summary);
            }
            let relay = session.game.as_ref().is_some_and(|game| game.expect_relay);
            match scores.problem(expected, relay) {
                None if complete => scores.missing(),
                None => None,
                Some(problem) if session.connected_at.is_none() => Some(text.unwrap_or(problem)),
                Some(problem) => Some(problem),
            }
        }
    };
    match problem {
        None => exit.write(AppExit::Success),
        Some(problem) => {
            eprintln!("peer: {problem}");
            exit.write(AppExit::error())
        }
    };
}

fn freeze(session: &mut Session, output: &Output, now: Instant) {
    let Some(game) = session.game.clone().filter(|_| !session.frozen) else { return };
    if let (Some(at), Some(after), Some(length)) = (session.connected_at, game.freeze_after, game.freeze_for)
        && now >= at + after
    {
        session.frozen = true;
        output.event("frozen", json!({"seconds": length.as_secs_f64()}));
        // This is what the flag asks for: a game that does not tick.
        std::thread::sleep(length);
        output.event("awake", Value::Null);
    }
}
