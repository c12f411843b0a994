//! From screen to screen: what the player presses, and what the session brings about.

use std::time::Duration;

use bevy::clipboard::Clipboard;
use bevy::prelude::*;

use super::Screen;
use super::form::Form;
use super::page::{Action, Pressed};
use crate::chat::Say;
use crate::embedded::Practice;
use crate::net::systems::{Hosted, Joined, PlayerName, Ready};
use crate::scene::Scene;
use crate::session::{Ask, Goal, HostPlan, Link, Profile, Session, Target, is_invite};
use crate::sim::{Phase, clean_name};

/// This is what stands on the last screen that anybody wants to see.
#[derive(Resource, Clone, Debug, Default)]
pub struct TroubleText {
    /// This sentence says what went wrong.
    pub text: String,
    /// It ended a match, rather than the way into one.
    pub played: bool,
    /// The room wants another password.
    pub password: bool,
}

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
    (mut ask, mut ready, mut say): (MessageWriter<Ask>, MessageWriter<Ready>, MessageWriter<Say>),
    mut exit: MessageWriter<AppExit>,
    (hosted, mut practice): (Option<ResMut<Hosted>>, ResMut<Practice>),
    mut clipboard: ResMut<Clipboard>,
    mut trouble: ResMut<TroubleText>,
) {
    let mut hosted = hosted;
    for Pressed(action) in pressed.read() {
        let aim = match action {
            Action::Go(screen) => {
                next.set(*screen);
                continue;
            }
            Action::SetKey(act) => {
                form.awaits_key = Some(*act);
                continue;
            }
            Action::Back if *screen.get() == Screen::Settings => {
                form.awaits_key = None;
                next.set(if session.room.is_some() { Screen::Paused } else { Screen::Title });
                continue;
            }
            Action::Back => {
                let playing = matches!(screen.get(), Screen::Paused | Screen::Sure(_));
                next.set(if playing { Screen::Game } else { Screen::Title });
                if matches!(*goal, Goal::Browse) {
                    *goal = Goal::Idle;
                }
                continue;
            }
            Action::Leave => {
                *goal = Goal::Idle;
                // After a match against bots the title tells of the other lobby server again.
                form.server.trim().clone_into(&mut profile.server);
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
                // The lobby server counts down for all at once; without it the match begins as it can.
                if matches!(session.link, Link::Online { .. }) {
                    ask.write(Ask::Count);
                } else if let Some(hosted) = &mut hosted {
                    hosted.0.begin();
                }
                continue;
            }
            // In the room the lobby server tells it; after a match, the match does.
            Action::Ready(wants) if *screen.get() == Screen::Lobby => {
                ask.write(Ask::Ready(*wants));
                continue;
            }
            Action::Ready(wants) => {
                ready.write(Ready(*wants));
                continue;
            }
            Action::Copy(text) => {
                if let Err(error) = clipboard.set_text(text.as_str()) {
                    warn!("nothing was copied: {error:?}");
                }
                continue;
            }
            Action::Say(text) => {
                say.write(Say(text.clone()));
                continue;
            }
            Action::Kick(client) => {
                ask.write(Ask::Kick(*client));
                continue;
            }
            Action::Retry => match goal.clone() {
                Goal::Join { target, wait, watch, .. } if session.wrong_password => {
                    Goal::Join { target, password: form.password(), wait, watch }
                }
                same => same,
            },
            Action::QuickPlay => Goal::Host(HostPlan { bots: 3, begin_with: Some(4), ..form.plan() }),
            Action::OpenRoom => Goal::Host(form.plan()),
            Action::FindPlayers => Goal::Quick(form.quick()),
            Action::Browse => Goal::Browse,
            Action::Enter { code, locked, watch } => Goal::Join {
                target: Target::Code(code.clone()),
                password: form.password().filter(|_| *locked),
                wait: Duration::ZERO,
                watch: *watch,
            },
            Action::EnterCode if is_invite(form.code.trim()) => Goal::Invited(form.code.trim().to_owned()),
            Action::EnterCode => Goal::Join {
                target: Target::Code(form.code.trim().to_owned()),
                password: form.password(),
                wait: WAIT,
                watch: false,
            },
        };
        let server = match action {
            Action::QuickPlay => practice.server(),
            _ => Ok(form.server.trim().to_owned()),
        };
        let server = match server {
            Ok(server) => server,
            Err(text) => {
                *trouble = TroubleText { text, ..TroubleText::default() };
                next.set(Screen::Trouble);
                continue;
            }
        };
        let wanted = Profile { name: clean_name(&form.name), server };
        if wanted.name != profile.name {
            form.settings.name.clone_from(&wanted.name);
        }
        name.0.clone_from(&wanted.name);
        profile.set_if_neq(wanted);
        session.story.clear();
        session.trouble = None;
        session.wrong_password = false;
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
        *trouble = TroubleText {
            text: refused.or(session.trouble.take()).unwrap_or_default(),
            played: matches!(here, S::Game | S::Paused | S::Sure(_) | S::Over),
            password: session.wrong_password,
        };
        next.set(S::Trouble);
        return;
    }
    let playing = hosted.is_some() || joined.is_some_and(|joined| joined.0.welcomed());
    let place = match scene.phase.filter(|_| playing) {
        Some(Phase::Lobby) => Some(S::Lobby),
        Some(Phase::MatchOver { .. }) => Some(S::Over),
        Some(_) => Some(S::Game),
        None => None,
    };
    let to = match (here, place) {
        (S::Connecting, Some(place)) => place,
        (S::Connecting, None) if *goal == Goal::Browse && matches!(session.link, Link::Online { .. }) => {
            S::Rooms
        }
        (S::Lobby | S::Over, Some(S::Game)) => S::Game,
        (S::Game | S::Paused | S::Sure(_) | S::Over, Some(S::Lobby)) => S::Lobby,
        (S::Game | S::Paused | S::Sure(_) | S::Lobby, Some(S::Over)) => S::Over,
        // The match is still to be seen while the next host says what it knows of it.
        (S::Game | S::Paused | S::Sure(_) | S::Over, None) if session.room.is_some() && scene.stands => {
            return;
        }
        (S::Lobby | S::Game | S::Paused | S::Sure(_) | S::Over, None) => S::Connecting,
        _ => return,
    };
    next.set(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screens::Parting;
    use bevy::state::app::StatesPlugin;

    /// Returns an app in which pages are obeyed, without a window.
    fn app(form: Form) -> App {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, StatesPlugin))
            .init_state::<Screen>()
            .insert_resource(Profile { name: String::from("Ann"), server: form.server.clone() })
            .insert_resource(PlayerName(String::from("Ann")))
            .insert_resource(form)
            .init_resource::<Goal>()
            .init_resource::<Session>()
            .init_resource::<Scene>()
            .init_resource::<Practice>()
            .init_resource::<Clipboard>()
            .init_resource::<TroubleText>()
            .add_message::<Pressed>()
            .add_message::<Ask>()
            .add_message::<Ready>()
            .add_message::<Say>()
            .add_systems(Update, (obey, follow).chain());
        app
    }

    fn press(app: &mut App, action: Action) -> Screen {
        app.world_mut().write_message(Pressed(action));
        app.update();
        app.update();
        *app.world().resource::<State<Screen>>().get()
    }

    #[test]
    fn a_wrong_password_is_asked_for_again() {
        let mut app = app(Form { password: "wrong".into(), ..Form::default() });
        let target = Target::Code(String::from("K7QF2M"));
        let given = Some("wrong".into());
        app.insert_resource(Goal::Join { target, password: given, wait: WAIT, watch: false });
        let mut session = app.world_mut().resource_mut::<Session>();
        session.trouble = Some(String::from("Wrong room password."));
        session.wrong_password = true;
        app.update();
        assert!(app.world().resource::<TroubleText>().password);
        app.world_mut().resource_mut::<Form>().password = "right".into();
        press(&mut app, Action::Retry);
        let Goal::Join { password, .. } = app.world().resource::<Goal>() else { panic!("another goal") };
        assert_eq!(*password, Some("right".into()));
    }

    #[test]
    fn play_against_bots_needs_no_lobby_server_but_its_own() {
        let mut app = app(Form { server: String::from("192.0.2.1:3478"), ..Form::default() });
        assert_eq!(press(&mut app, Action::QuickPlay), Screen::Connecting);
        let server = app.world().resource::<Profile>().server.clone();
        assert!(server.starts_with("127.0.0.1:"), "{server}");
        assert!(matches!(app.world().resource::<Goal>(), Goal::Host(_)));
        press(&mut app, Action::Browse);
        assert_eq!(app.world().resource::<Profile>().server, "192.0.2.1:3478");
    }

    #[test]
    fn the_way_out_of_a_match_asks_and_leads_back() {
        let mut app = app(Form::default());
        for parting in [Parting::Leave, Parting::Quit] {
            assert_eq!(press(&mut app, Action::Go(Screen::Sure(parting))), Screen::Sure(parting));
            assert_eq!(press(&mut app, Action::Back), Screen::Game);
        }
    }

    #[test]
    fn a_quick_match_is_looked_for_refused_in_words_and_looked_for_again() {
        let mut app = app(Form { server: String::from("192.0.2.1:3478"), ..Form::default() });
        assert_eq!(press(&mut app, Action::Go(Screen::Quick)), Screen::Quick);
        assert_eq!(press(&mut app, Action::FindPlayers), Screen::Connecting);
        assert!(matches!(app.world().resource::<Goal>(), Goal::Quick(plan) if plan.players == 2));
        let refused = String::from("The lobby server does not answer.");
        app.world_mut().resource_mut::<Session>().trouble = Some(refused.clone());
        app.update();
        app.update();
        assert_eq!(*app.world().resource::<State<Screen>>().get(), Screen::Trouble);
        assert_eq!(app.world().resource::<TroubleText>().text, refused);
        assert_eq!(press(&mut app, Action::Retry), Screen::Connecting);
        assert!(matches!(app.world().resource::<Goal>(), Goal::Quick(_)));
        assert_eq!(press(&mut app, Action::Leave), Screen::Title);
        assert_eq!(*app.world().resource::<Goal>(), Goal::Idle);
    }

    #[test]
    fn a_match_that_ends_is_told_from_a_way_that_did_not_work() {
        let mut app = app(Form::default());
        app.insert_resource(Goal::Host(HostPlan::default()));
        // The host is looked for.
        app.world_mut().resource_mut::<Scene>().stands = true;
        let (room, code) = (String::from("den"), String::from("K7QF2M"));
        let room = crate::session::Room { name: room, code, hosting: false, capacity: 8 };
        app.world_mut().resource_mut::<Session>().room = Some(room);
        assert_eq!(press(&mut app, Action::Go(Screen::Game)), Screen::Game);
        let mut session = app.world_mut().resource_mut::<Session>();
        (session.room, session.trouble) = (None, Some(String::from("The host is gone.")));
        app.update();
        assert!(app.world().resource::<TroubleText>().played);
        app.update();
        assert_eq!(*app.world().resource::<State<Screen>>().get(), Screen::Trouble);
    }
}
