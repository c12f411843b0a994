//! Apps with the plugin, turned by the test.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bevy_app::{App, TaskPoolPlugin, Update};
use bevy_ecs::component::Mutable;
use bevy_ecs::message::{Message, MessageReader};
use bevy_ecs::prelude::{Mut, Res, Resource, Schedules};
use bevy_ecs::schedule::SingleThreadedExecutor;
use bevy_time::TimePlugin;
use bevy_traversal::*;
use lobby_server::RunningServer;

/// Returns a player's settings.
pub fn config(lobby: &RunningServer, name: &str) -> TraversalConfig {
    TraversalConfig {
        lobby: vec![lobby.addresses().first[0].to_string()],
        server_keys: vec![ServerKey(lobby.addresses().public_key)],
        game: "test".into(),
        ipv6: false,
        name: name.into(),
        ..TraversalConfig::default()
    }
}

/// This holds all messages of one kind so far.
#[derive(Resource)]
struct Log<M: Message>(Arc<Mutex<Vec<M>>>);

impl<M: Message> Clone for Log<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn log<M: Message + Clone>(mut messages: MessageReader<M>, log: Res<Log<M>>) {
    log.0.lock().unwrap().extend(messages.read().cloned());
}

/// This is an app with the plugin, turned by the test.
pub struct Game {
    /// This is the app, to be updated by the test alone.
    pub app: App,
}

impl Game {
    /// Makes an app with the plugin, and keeps the messages that it writes.
    pub fn new(config: TraversalConfig) -> Self {
        Self::with(config, |_| {})
    }

    /// Makes the same app, with what the game adds after the plugin.
    pub fn with(config: TraversalConfig, add: impl FnOnce(&mut App)) -> Self {
        let mut app = App::new();
        app.add_plugins((TaskPoolPlugin::default(), TimePlugin, TraversalPlugin { config }));
        add(&mut app);
        let mut game = Self { app };
        game.watch::<LobbyFailed>();
        game.watch::<RoomJoined>();
        game.watch::<RoomLeft>();
        game.watch::<RoomsListed>();
        game.watch::<RequestFailed>();
        game.watch::<JoinRequested>();
        game.watch::<PeerConnected>();
        game.watch::<PeerAway>();
        game.watch::<PeerBack>();
        game.watch::<PeerDisconnected>();
        game.watch::<TraversalFailed>();
        game.watch::<MembersChanged>();
        game.watch::<RoomChanged>();
        game.watch::<HostMigrated>();
        game.watch::<Announcement>();
        game.watch::<SizeChanged>();
        game.watch::<InviteMade>();
        game.watch::<InvitesRevoked>();
        game.app.finish();
        game.app.cleanup();
        game
    }

    fn watch<M: Message + Clone>(&mut self) {
        self.app.insert_resource(Log::<M>(Arc::default())).add_systems(Update, log::<M>);
    }

    /// Returns all messages of this kind so far.
    pub fn all<M: Message + Clone>(&self) -> Vec<M> {
        self.app.world().resource::<Log<M>>().0.lock().unwrap().clone()
    }

    /// Writes a message, as a game does.
    pub fn write(&mut self, message: impl Message) {
        self.app.world_mut().write_message(message);
    }

    /// Returns a resource that is there.
    pub fn resource<R: Resource>(&self) -> &R {
        self.app.world().resource::<R>()
    }

    /// Returns the resource, to be changed.
    pub fn resource_mut<R: Resource<Mutability = Mutable>>(&mut self) -> Mut<'_, R> {
        self.app.world_mut().resource_mut::<R>()
    }

    /// Returns whether there is such a resource.
    pub fn has<R: Resource>(&self) -> bool {
        self.app.world().contains_resource::<R>()
    }
}

/// Turns the apps until it is so.
pub fn until<const N: usize>(
    mut games: [&mut Game; N],
    what: &str,
    seconds: f64,
    mut so: impl FnMut(&mut [&mut Game; N]) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    loop {
        for game in &mut games {
            game.app.update();
        }
        if so(&mut games) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        // The pace of a frame; the condition above is what is waited for.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a host and returns it when its room is open.
pub fn host(lobby: &RunningServer, options: RoomOptions) -> Game {
    let mut host = Game::new(config(lobby, "host"));
    host.write(HostRoom(options));
    until([&mut host], "the room opens", 5.0, |[host]| !host.all::<RoomJoined>().is_empty());
    host
}

/// Returns options for a room with the name `room` and the defaults.
pub fn room() -> RoomOptions {
    RoomOptions { name: "room".into(), ..RoomOptions::default() }
}

/// Returns a host and a player who are connected.
pub fn pair(lobby: &RunningServer) -> (Game, Game) {
    let mut host = host(lobby, room());
    let mut guest = Game::new(config(lobby, "guest"));
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    (host, guest)
}

/// Has all systems that were added so far run on the app's own thread: Bevy's executor for several threads, which a program
/// with a window brings into a build of the whole workspace, allocates for each system that it runs.
pub fn single_threaded(app: &mut App) {
    for (_, schedule) in app.world_mut().resource_mut::<Schedules>().into_inner().iter_mut() {
        schedule.set_executor(SingleThreadedExecutor::new());
    }
}
