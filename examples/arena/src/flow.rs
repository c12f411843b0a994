//! Pursues the player's [`Goal`]: log in, open or enter the room, make and end the match. The same with a window,
//! without one, and in computer players.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bevy::prelude::*;
use bevy_renet::{RenetClient, RenetServer};

use crate::net::HostGame;
use crate::net::systems::{Colour, Hosted, Joined, NetSystems};
use crate::scene::{Happened, Scene};
use crate::session::{
    Ask, Counted, Goal, HostChange, HostPlan, Link, Member, Profile, RoomWish, Session, target_words,
};
use crate::sim::{GameEvent, Phase, Rules, TICK_HZ};

/// What was not answered is said again after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// A match meant to begin by itself begins after this long with fewer players than it wanted.
const PATIENCE: u32 = 25 * TICK_HZ;

/// A host stays for so long after its last round: renet repeats what was lost, and all are to hear who won.
const FAREWELL: Duration = Duration::from_secs(2);

/// Everything random in this app comes of this seed.
#[derive(Resource, Clone, Copy, Debug)]
pub struct Seed(pub u64);

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
            .add_systems(Update, count_rounds.after(NetSystems::Scene));
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
        ask.write(if asked.goal == Goal::Browse { Ask::Unwatch } else { Ask::Leave });
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
                ask.write(Ask::Join { target, password, wait: *wait, watch: *watch });
            }
            Goal::Invited(invite) => {
                session.tell("Going where the invite leads.");
                ask.write(Ask::Invited(invite.clone()));
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
    match (&*goal, hosted) {
        (Goal::Host(plan), None) if hosting => {
            let game = HostGame::dressed(plan.rules, seed.0, Some(&profile.name), colour.0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::systems::{NetPlugin, PlayerName};
    use crate::session::Target;
    use bevy_traversal::RoomQuery;

    /// Returns an app with the flow alone: what it asks for is looked at, and nobody answers but the test.
    fn app() -> App {
        let mut app = App::new();
        app.add_plugins(MinimalPlugins)
            .insert_resource(Profile { name: String::from("Ann"), server: String::from("here:1") })
            .insert_resource(PlayerName(String::from("Ann")))
            .insert_resource(Seed(1))
            .add_plugins((NetPlugin, FlowPlugin));
        app
    }

    fn asks(app: &mut App) -> Vec<Ask> {
        app.update();
        app.world_mut().resource_mut::<Messages<Ask>>().drain().collect()
    }

    fn online(app: &mut App) {
        app.world_mut().resource_mut::<Session>().link = Link::Online { seen_as: String::new() };
    }

    fn join() -> Goal {
        let target = Target::Name(String::from("den"));
        Goal::Join { target, password: None, wait: Duration::ZERO, watch: false }
    }

    #[test]
    fn logs_in_first_asks_once_and_asks_again_when_tried_again() {
        let mut app = app();
        assert_eq!(asks(&mut app), []);
        app.insert_resource(join());
        assert_eq!(asks(&mut app), [Ask::Connect]);
        assert_eq!(asks(&mut app), [], "waits for the login");
        online(&mut app);
        assert!(matches!(asks(&mut app)[..], [Ask::Join { .. }]));
        assert_eq!(asks(&mut app), []);
        app.world_mut().resource_mut::<Goal>().set_changed();
        assert_eq!(asks(&mut app), [Ask::Leave]);
        assert!(matches!(asks(&mut app)[..], [Ask::Join { .. }]));
        app.insert_resource(Goal::Idle);
        assert_eq!(asks(&mut app), [Ask::Leave]);
        assert_eq!(asks(&mut app), []);
    }

    #[test]
    fn another_server_is_logged_in_to_anew() {
        let mut app = app();
        app.insert_resource(Goal::Browse);
        assert_eq!(asks(&mut app), [Ask::Connect]);
        online(&mut app);
        assert_eq!(asks(&mut app), [Ask::Watch(RoomWish::default().0)]);
        assert_eq!(asks(&mut app), [], "the server tells by itself what changes");
        let text = String::from("den");
        app.insert_resource(RoomWish(RoomQuery { text, ..RoomQuery::default() }));
        assert!(matches!(asks(&mut app)[..], [Ask::Watch(_)]), "another search");
        app.insert_resource(Profile { name: String::from("Ann"), server: String::from("there:1") });
        assert_eq!(asks(&mut app), [Ask::Connect]);
    }

    #[test]
    fn an_invite_is_followed_also_where_the_own_server_is_away() {
        let mut app = app();
        app.insert_resource(Goal::Invited(String::from("bevy-traversal:there/K7QF2M#key")));
        assert_eq!(asks(&mut app), [Ask::Connect]);
        assert_eq!(asks(&mut app), [], "the own server may be the one");
        app.world_mut().resource_mut::<Session>().link = Link::Retrying { reason: String::new() };
        assert!(matches!(asks(&mut app)[..], [Ask::Invited(_)]));
        assert_eq!(asks(&mut app), []);
    }

    #[test]
    fn a_match_lives_as_long_as_its_room_and_begins_by_itself() {
        let mut app = app();
        app.insert_resource(Goal::Host(HostPlan { begin_with: Some(2), ..HostPlan::default() }));
        app.update();
        online(&mut app);
        app.update();
        assert!(app.world().get_resource::<Hosted>().is_none());
        app.world_mut().resource_mut::<Session>().room = Some(crate::session::Room {
            name: String::from("den"),
            code: String::from("K7QF2M"),
            hosting: true,
            capacity: 8,
        });
        app.update();
        app.world_mut().resource_mut::<Hosted>().0.world.join("Ben");
        app.world_mut().run_schedule(FixedUpdate);
        let phase = app.world().resource::<Hosted>().0.world.phase;
        assert!(matches!(phase, Phase::Countdown { .. }), "{phase:?}");
        app.world_mut().resource_mut::<Session>().room = None;
        app.update();
        assert!(app.world().get_resource::<Hosted>().is_none());
    }

    #[test]
    fn a_host_that_was_replaced_while_it_was_away_is_a_guest_of_the_same_room() {
        let mut app = app();
        app.insert_resource(Goal::Host(HostPlan::default()));
        app.update();
        online(&mut app);
        let room = |hosting| crate::session::Room {
            name: String::from("den"),
            code: String::from("K7QF2M"),
            hosting,
            capacity: 8,
        };
        app.world_mut().resource_mut::<Session>().room = Some(room(true));
        app.update();
        assert!(app.world().get_resource::<Hosted>().is_some());
        app.world_mut().resource_mut::<Session>().room = Some(room(false));
        app.world_mut().write_message(HostChange { hosting: false, previous: 1, name: String::from("Ben") });
        app.world_mut().resource_mut::<Messages<Ask>>().clear();
        let mut client = RenetClient::new(bevy_renet::renet::ConnectionConfig::default());
        client.set_connected();
        app.insert_resource(client);
        app.update();
        app.update();
        assert!(app.world().get_resource::<Hosted>().is_none());
        assert!(app.world().get_resource::<Joined>().is_some(), "it plays with the new host");
        let rooms = |ask: &Ask| matches!(ask, Ask::Host(_) | Ask::Join { .. });
        assert!(!asks(&mut app).iter().any(rooms), "and asks for no room");
    }
}
