//! What the plugin adds to a frame in which nothing happens, with its entities and diagnostics, beside an app without it; and what
//! that frame allocates.
//!
//! `cargo bench -p bevy_traversal --bench frame`
//!
//! The players are real: each has its sockets, its network thread and a sealed connection to the host, whose frames are timed.
//! `renet` is an app with renet's server and as many clients, and nothing of this plugin: what a frame costs anyway.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench may panic; criterion's macros make a public function"
)]

use std::time::{Duration, Instant};

use bevy_app::{App, TaskPoolPlugin};
use bevy_renet::renet::ConnectionConfig;
use bevy_renet::{RenetClientPlugin, RenetServer, RenetServerPlugin};
use bevy_time::TimePlugin;
use bevy_traversal::*;
use criterion::{Criterion, criterion_group, criterion_main};
use lobby_server::RunningServer;
use test_support::game::{Game, config, until};
use test_support::lobby;

/// The rooms have this many players, the host among them. A room has 64 at the most.
const SIZES: [u16; 3] = [1, 8, 64];

/// Makes an app with what every app has, ready to run.
fn app(add: impl FnOnce(&mut App)) -> App {
    let mut app = App::new();
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin));
    add(&mut app);
    app.finish();
    app.cleanup();
    app
}

/// Makes an app with renet alone, and this many clients.
fn renet(clients: u16) -> App {
    app(|app| {
        let mut server = RenetServer::new(ConnectionConfig::default());
        (0..u64::from(clients)).for_each(|id| server.add_connection(id));
        app.add_plugins((RenetServerPlugin, RenetClientPlugin)).insert_resource(server);
    })
}

/// Returns a game that no stall ends: the guests' apps stand still while the host's frames are timed. It has none of
/// the systems by which tests watch messages.
fn game(lobby: &RunningServer, name: &str) -> Game {
    let config = TraversalConfig { stall_timeout: Duration::from_secs(3600), ..config(lobby, name) };
    let add = |app: &mut App| {
        app.add_plugins((TraversalPlugin { config }, TraversalDiagnosticsPlugin::default()));
    };
    Game { app: app(add) }
}

/// Starts a host and its guests, and returns them when all are connected.
fn room(lobby: &RunningServer, players: u16) -> (Game, Vec<Game>) {
    let mut host = game(lobby, "host");
    let name = format!("room of {players}");
    let options = RoomOptions { name: name.clone(), capacity: players.max(2), ..RoomOptions::default() };
    host.write(HostRoom(options));
    until([&mut host], "the room opens", 10.0, |[host]| host.resource::<CurrentRoom>().hosting);
    let mut guests: Vec<Game> = Vec::new();
    for number in 1..players {
        let mut guest = game(lobby, &format!("guest {number}"));
        guest.write(JoinRoom { wait: Duration::from_secs(10), ..JoinRoom::name(&name) });
        until([&mut host, &mut guest], "a guest connects", 30.0, |[host, guest]| {
            host.resource::<Peers>().len() == usize::from(number) && !guest.resource::<Peers>().is_empty()
        });
        guests.push(guest);
    }
    (host, guests)
}

/// Runs the app until buffers have their size, and what was to be told is told.
fn settle(app: &mut App) {
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn measure(criterion: &mut Criterion, name: &str, app: &mut App) {
    settle(app);
    // The least of some goes: in the others there is news, twice a second at the least where players are measured.
    let goes =
        (0..20).map(|_| allocation_counter::measure(|| (0..100).for_each(|_| app.update())).count_total);
    println!("{name}: {:.2} allocations a frame", goes.min().unwrap() as f64 / 100.0);
    criterion.bench_function(name, |bencher| bencher.iter(|| app.update()));
}

fn frames(criterion: &mut Criterion) {
    measure(criterion, "bare", &mut app(|_| ()));
    for players in SIZES {
        measure(criterion, &format!("renet, {players} players"), &mut renet(players - 1));
    }
    let lobby = lobby();
    let mut menu = game(&lobby, "menu");
    until([&mut menu], "it logs in", 10.0, |[menu]| menu.resource::<LobbyLink>().online());
    measure(criterion, "plugin, in the menu", &mut menu.app);
    for players in SIZES {
        let (mut host, guests) = room(&lobby, players);
        measure(criterion, &format!("plugin, {players} players"), &mut host.app);
        assert_eq!(host.resource::<Peers>().len(), guests.len(), "nobody was lost meanwhile");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = frames
}
criterion_main!(benches);
