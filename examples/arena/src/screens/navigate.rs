//! From screen to screen: what the player presses, and what the session brings about.

use std::time::Duration;

use bevy::prelude::*;

use super::Screen;
use super::form::Form;
use super::page::{Action, Pressed};
use crate::net::systems::{Hosted, Joined, PlayerName};
use crate::scene::Scene;
use crate::session::{Ask, Goal, HostPlan, Link, Profile, Session, Target};
use crate::sim::{Phase, clean_name};

/// This is the sentence on the last screen that anybody wants to see.
#[derive(Resource, Clone, Debug, Default)]
pub struct TroubleText(pub String);

/// A room whose name or code was typed is asked for so long.
const WAIT: Duration = Duration::from_secs(3);

/// Opens with this goal, as the command line says.
pub fn autostart(app: &mut App, goal: Goal) {
    if goal != Goal::Idle {
        app.insert_resource(goal);
        app.insert_state(Screen::Connecting);
    }
}

/// Does what was pressed.
pub(super) fn obey(
    mut pressed: MessageReader<Pressed>,
    screen: Res<State<Screen>>,
    mut next: ResMut<NextState<Screen>>,
    mut form: ResMut<Form>,
    mut goal: ResMut<Goal>,
    mut profile: ResMut<Profile>,
    mut name: ResMut<PlayerName>,
    mut session: ResMut<Session>,
    mut ask: MessageWriter<Ask>,
    mut exit: MessageWriter<AppExit>,
    hosted: Option<ResMut<Hosted>>,
) {
    let mut hosted = hosted;
    for Pressed(action) in pressed.read() {
        let aim = match action {
            Action::Go(screen) => {
                next.set(*screen);
                continue;
            }
            Action::Back => {
                next.set(if *screen.get() == Screen::Paused { Screen::Game } else { Screen::Title });
                if matches!(*goal, Goal::Browse) {
                    *goal = Goal::Idle;
                }
                continue;
            }
            Action::Leave => {
                *goal = Goal::Idle;
                session.trouble = None;
                next.set(Screen::Title);
                continue;
            }
            Action::Quit => {
                exit.write(AppExit::Success);
                continue;
            }
            Action::Change(choice, by) => {
                form.change(*choice, *by);
                continue;
            }
            Action::Begin => {
                if let Some(hosted) = &mut hosted {
                    hosted.0.begin();
                }
                continue;
            }
            Action::Kick(client) => {
                ask.write(Ask::Kick(*client));
                continue;
            }
            Action::Retry => goal.clone(),
            Action::QuickPlay => Goal::Host(HostPlan { bots: 3, begin_with: Some(4), ..form.plan() }),
            Action::OpenRoom => Goal::Host(form.plan()),
            Action::Browse => Goal::Browse,
            Action::Enter { code, locked } => Goal::Join {
                target: Target::Code(code.clone()),
                password: form.password().filter(|_| *locked),
                wait: Duration::ZERO,
            },
            Action::EnterCode => Goal::Join {
                target: Target::Code(form.code.trim().to_owned()),
                password: form.password(),
                wait: WAIT,
            },
        };
        let wanted = Profile { name: clean_name(&form.name), server: form.server.trim().to_owned() };
        name.0.clone_from(&wanted.name);
        profile.set_if_neq(wanted);
        session.story.clear();
        session.trouble = None;
        session.rooms = None;
        // Told apart from the last one, so that the same is tried once more.
        *goal = aim;
        goal.set_changed();
        next.set(Screen::Connecting);
    }
}

/// Goes where the session is.
pub(super) fn follow(
    screen: Res<State<Screen>>,
    mut next: ResMut<NextState<Screen>>,
    goal: Res<Goal>,
    scene: Res<Scene>,
    hosted: Option<Res<Hosted>>,
    joined: Option<Res<Joined>>,
    mut session: ResMut<Session>,
    mut trouble: ResMut<TroubleText>,
) {
    use Screen as S;
    let here = *screen.get();
    if *goal == Goal::Idle {
        return;
    }
    let refused = joined.as_ref().and_then(|joined| joined.0.refused.clone());
    if session.trouble.is_some() || refused.is_some() {
        trouble.0 = refused.or(session.trouble.take()).unwrap_or_default();
        next.set(S::Trouble);
        return;
    }
    let playing = hosted.is_some() || joined.is_some_and(|joined| joined.0.me().is_some());
    let place = match scene.phase.filter(|_| playing) {
        Some(Phase::Lobby) => Some(S::Lobby),
        Some(_) => Some(S::Game),
        None => None,
    };
    let to = match (here, place) {
        (S::Connecting, Some(place)) => place,
        (S::Connecting, None) if *goal == Goal::Browse && matches!(session.link, Link::Online { .. }) => {
            S::Rooms
        }
        (S::Lobby, Some(S::Game)) => S::Game,
        (S::Game | S::Paused, Some(S::Lobby)) => S::Lobby,
        (S::Lobby | S::Game | S::Paused, None) => S::Connecting,
        _ => return,
    };
    next.set(to);
}
