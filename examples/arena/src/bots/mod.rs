//! Computer players: real peers. Each is an app of its own on a thread of its own, with the plugin, its own socket
//! and the same client code as a human player; only the hand on the mouse is a [`brain::Brain`].

pub mod brain;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bevy::app::ScheduleRunnerPlugin;
use bevy::ecs::schedule::{Schedules, SingleThreadedExecutor};
use bevy::prelude::*;
use bevy_traversal::KeptFile;
use bevy_traversal::Secret;

use crate::flow::{FlowPlugin, Seed};
use crate::net::EventLog;
use crate::net::systems::{Joined, NetPlugin, NetSystems, PlayerName, Ready, Wish};
use crate::scene::{BOT, Scene};
use crate::session::{Ask, Goal, Profile, Session, Target};
use crate::sim::{Phase, TICK_HZ};
use crate::traversal_glue::GluePlugin;
use brain::Brain;

/// A computer player keeps looking for its room for so long.
const WAIT: Duration = Duration::from_secs(30);

const NAMES: [&str; 8] = ["Ada", "Bo", "Cleo", "Dex", "Echo", "Finn", "Gigi", "Hal"];

/// Lets the player who sits here be played by a [`Brain`].
#[derive(Debug)]
pub struct BrainPlugin {
    /// The computer player's habits come of this seed.
    pub seed: u64,
}

#[derive(Resource, Debug)]
struct Mind(Brain);

impl Plugin for BrainPlugin {
    fn build(&self, app: &mut App) {
        app.insert_resource(Mind(Brain::new(self.seed)))
            .add_systems(FixedUpdate, think.before(NetSystems::Tick))
            .add_systems(Update, agree.after(NetSystems::Scene));
    }
}

/// A computer player is always ready for a match, and for another one.
fn agree(
    time: Res<Time<Real>>,
    (scene, session): (Res<Scene>, Res<Session>),
    mut ready: MessageWriter<Ready>,
    mut ask: MessageWriter<Ask>,
    mut asked: Local<Option<Duration>>,
) {
    if scene.phase == Some(Phase::Lobby) {
        // The room hears it from the lobby server.
        let said = session.members.iter().any(|member| member.me && member.ready);
        let again = asked.is_none_or(|at| time.elapsed() > at + Duration::from_secs(2));
        if !said && again && session.room.is_some() {
            *asked = Some(time.elapsed());
            ask.write(Ask::Ready(true));
        }
    } else if matches!(scene.phase, Some(Phase::MatchOver { .. })) && scene.me().is_some_and(|me| !me.ready) {
        ready.write(Ready(true));
    }
}

fn think(mut mind: ResMut<Mind>, scene: Res<Scene>, mut wish: ResMut<Wish>) {
    wish.0 = mind.0.think(&scene);
}

/// Makes an app without a window that plays by itself. It keeps no keys of servers, unless `known_servers` says where.
pub fn player_app(profile: Profile, goal: Goal, seed: u64, known_servers: KeptFile) -> App {
    let mut app = idle_app(profile, goal, seed, known_servers);
    app.add_plugins(BrainPlugin { seed });
    app
}

/// Makes the same with nobody at the keyboard: it pursues its goal, and does nothing in the match.
pub fn idle_app(profile: Profile, goal: Goal, seed: u64, known_servers: KeptFile) -> App {
    let mut app = App::new();
    let period = Duration::from_secs(1) / TICK_HZ;
    app.add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(period)))
        .insert_resource(PlayerName(profile.name.clone()))
        .insert_resource(profile)
        .insert_resource(Seed(seed))
        .insert_resource(goal)
        .add_plugins((GluePlugin(known_servers), NetPlugin, FlowPlugin));
    app
}

/// Runs every schedule of an app on its own thread: several small apps share a machine better so.
pub fn single_threaded(app: &mut App) {
    for (_, schedule) in app.world_mut().resource_mut::<Schedules>().iter_mut() {
        schedule.set_executor(SingleThreadedExecutor::new());
    }
}

/// This says what became of a computer player.
#[derive(Clone, Debug, Default)]
pub struct BotReport {
    /// Others see this name.
    pub name: String,
    /// This is what it heard in its (last) match.
    pub log: EventLog,
    /// This is what kept it from playing.
    pub trouble: Option<String>,
}

#[derive(Resource)]
struct Stop(Arc<AtomicBool>);

fn stop(stop: Res<Stop>, mut exit: MessageWriter<AppExit>) {
    if stop.0.load(Ordering::Relaxed) {
        exit.write(AppExit::Success);
    }
}

/// Leaves with the log of the match in hand: when the room closes, the match goes.
#[derive(Resource, Default)]
struct Report(BotReport);

fn report(joined: Option<Res<Joined>>, session: Res<Session>, mut report: ResMut<Report>) {
    if let Some(joined) = joined.filter(|joined| joined.is_changed()) {
        report.0.log.clone_from(&joined.0.log);
    }
    if session.trouble.is_some() && session.is_changed() {
        report.0.trouble.clone_from(&session.trouble);
    }
}

/// This is a computer player on its own thread.
#[derive(Debug)]
pub struct Bot {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<BotReport>>,
}

impl Bot {
    /// Sends one into a room. Gives none when the system has no thread left.
    pub fn spawn(
        server: &str,
        target: Target,
        password: Option<Secret<String>>,
        number: usize,
        seed: u64,
    ) -> Option<Self> {
        let stop_flag = Arc::new(AtomicBool::new(false));
        let name = format!("{}{BOT}", NAMES[number % NAMES.len()]);
        let profile = Profile { name: name.clone(), server: server.to_owned() };
        let goal = Goal::Join { target, password, wait: WAIT, watch: false };
        let flag = stop_flag.clone();
        // Multiples of 101 after each other: each has another style.
        let seed = seed.wrapping_add(101 * (number as u64 + 1));
        let play = move || {
            let mut app = player_app(profile, goal, seed, KeptFile::Off);
            app.insert_resource(Stop(flag))
                .insert_resource(Report(BotReport { name, ..Default::default() }))
                .add_systems(First, stop)
                .add_systems(Last, report);
            single_threaded(&mut app);
            play(app)
        };
        let thread = thread::Builder::new().name(format!("bot {number}")).spawn(play).ok()?;
        Some(Self { stop: stop_flag, thread: Some(thread) })
    }

    /// Tells it to leave and waits for its report.
    pub fn retire(mut self) -> BotReport {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed already.
            let _ = thread.join();
        }
    }
}

/// Turns the app until it is told to stop. Not [`App::run`], which would take the world, and the report, with it.
fn play(mut app: App) -> BotReport {
    let period = Duration::from_secs(1) / TICK_HZ;
    app.finish();
    app.cleanup();
    loop {
        let begun = std::time::Instant::now();
        app.update();
        if app.should_exit().is_some() {
            break;
        }
        thread::sleep(period.saturating_sub(begun.elapsed()));
    }
    app.world_mut().remove_resource::<Report>().map(|report| report.0).unwrap_or_default()
}

/// These are the computer players of this program.
#[derive(Resource, Debug, Default)]
pub struct Crew {
    /// So many are wanted.
    pub wanted: usize,
    bots: Vec<Bot>,
}

impl Crew {
    /// So many, as soon as there is a room.
    pub fn wanting(wanted: usize) -> Self {
        Self { wanted, bots: Vec::new() }
    }

    /// Sends all away and collects what they have to say.
    pub fn retire(&mut self) -> Vec<BotReport> {
        // All at once, so that their goodbyes do not add up.
        for bot in &self.bots {
            bot.stop.store(true, Ordering::Relaxed);
        }
        self.bots.drain(..).map(Bot::retire).collect()
    }
}

/// Keeps the wanted number of computer players in this player's room.
#[derive(Debug)]
pub struct CrewPlugin;

impl Plugin for CrewPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Crew>().add_systems(Update, keep_crew);
    }
}

fn keep_crew(
    mut crew: ResMut<Crew>,
    session: Res<Session>,
    goal: Res<Goal>,
    profile: Res<Profile>,
    seed: Res<Seed>,
) {
    let (wanted, password) = match (&*goal, &session.room) {
        (Goal::Host(plan), Some(_)) => (plan.bots.max(crew.wanted), plan.password.clone()),
        (Goal::Join { password, .. }, Some(_)) => (crew.wanted, password.clone()),
        _ => (0, None),
    };
    if wanted == 0 && !crew.bots.is_empty() {
        crew.retire();
    }
    let Some(room) = session.room.as_ref().filter(|_| crew.bots.len() < wanted) else { return };
    let number = crew.bots.len();
    let target = Target::Code(room.code.clone());
    match Bot::spawn(&profile.server, target, password, number, seed.0) {
        Some(bot) => crew.bots.push(bot),
        None => warn!("no thread for another computer player"),
    }
}
