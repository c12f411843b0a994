//! A dedicated host: `--rooms N` rooms in one process, each an [`App`] of its own with a login and an identity of its own.
//! One thread updates all of them in turn, and each room has the plugin's network thread beside it.
//!
//! The game is the smallest that a server can have authority over: it counts what each player sends, and sends it back. `peer
//! join` plays it.

#![allow(clippy::too_many_arguments, reason = "systems take what they use")]

mod room;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bevy_app::{App, TaskPoolPlugin, Update};
use bevy_ecs::prelude::*;
use bevy_time::TimePlugin;
use bevy_traversal::{IdentitySource, KeptFile, RoomOptions, ServerKey, TraversalConfig, TraversalPlugin};
use clap::Parser;
use headless::Output;
use headless::args::seconds;
use serde_json::json;

use crate::room::{Rounds, Table};

/// Host many rooms in one process, without a player in any of them.
#[derive(Parser, Debug)]
#[command(name = "dedicated", version, after_help = EXAMPLES)]
struct Cli {
    /// Lobby server, HOST:PORT; may be given several times
    #[arg(long, required = true)]
    lobby: Vec<String>,
    /// Rooms to host; each is a login
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    rooms: u16,
    /// The rooms are called NAME-1, NAME-2, ...
    #[arg(long, value_name = "NAME", default_value = "room")]
    prefix: String,
    /// Players that each room takes
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    players: u16,
    /// Players who may watch each room
    #[arg(long, default_value_t = 0)]
    spectators: u16,
    /// How long the seat of a player is kept who is lost, and that of this host, if it crashes and is started again
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=600))]
    keep_seat: u64,
    /// Folder for an identity for each room: with it this program hosts its rooms on when it is started again after a crash
    /// [default: new identities each start]
    #[arg(long, value_name = "FOLDER")]
    identities: Option<PathBuf>,
    /// Only players of the same game meet
    #[arg(long, default_value = "peer")]
    game: String,
    /// Public key that the lobby server must have; may be given several times
    #[arg(long, value_name = "BASE64")]
    server_key: Vec<ServerKey>,
    /// How often in a second each room is updated
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1000))]
    ticks: u32,
    /// End after so long [default: on SIGINT or SIGTERM]
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    run_for: Option<Duration>,
    /// JSON lines instead of text
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  dedicated --lobby 203.0.113.10:3478 --rooms 20 --players 8 --identities /var/lib/mygame
  peer join --lobby 203.0.113.10:3478 --room room-7

JSON events (--json): room (name, code, hosts_on), room_failed, player_in, player_out, player_away, player_back (room, peer),
served (room, peer, messages).";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let stop = match headless::start("dedicated", "warn") {
        Ok(stop) => stop,
        Err(code) => return code,
    };
    if let Some(folder) = &cli.identities
        && let Err(error) = std::fs::create_dir_all(folder)
    {
        eprintln!("dedicated: cannot make the folder {}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    let output = Arc::new(Output::new(cli.json));
    output.event("start", json!({"version": env!("CARGO_PKG_VERSION"), "rooms": cli.rooms}));
    let mut rooms: Vec<App> = (1..=cli.rooms).map(|number| open(&cli, number, &output)).collect();
    let (tick, start) = (Duration::from_secs(1) / cli.ticks, Instant::now());
    let mut next = start;
    while !stop.load(Ordering::Relaxed) && cli.run_for.is_none_or(|time| start.elapsed() < time) {
        for room in &mut rooms {
            room.update();
        }
        next += tick;
        let now = Instant::now();
        if next > now {
            std::thread::sleep(next - now);
        } else {
            // The machine is too slow for so many rooms: what was missed is not made up for.
            next = now;
        }
    }
    for room in &mut rooms {
        room.world_mut().run_system_cached(room::leave).ok();
    }
    ExitCode::SUCCESS
}

/// Makes the app of one room.
fn open(cli: &Cli, number: u16, output: &Arc<Output>) -> App {
    let name = format!("{}-{number}", cli.prefix);
    let identity = cli.identities.as_ref().map(|folder| folder.join(format!("{name}.key")));
    let config = TraversalConfig {
        lobby: cli.lobby.clone(),
        server_keys: cli.server_key.clone(),
        game: cli.game.clone(),
        name: name.clone(),
        identity: identity.map_or(IdentitySource::Ephemeral, IdentitySource::File),
        // A server's address is its own, and its operator opens the port.
        port_mapping: Vec::new(),
        kept_profiles: KeptFile::Off,
        known_servers: if cli.identities.is_some() { KeptFile::default() } else { KeptFile::Off },
        ..TraversalConfig::default()
    };
    let options = RoomOptions {
        name,
        capacity: cli.players,
        spectators: cli.spectators,
        keep_seat: Duration::from_secs(cli.keep_seat),
        seat: false,
        ..RoomOptions::default()
    };
    let mut app = App::new();
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin, TraversalPlugin { config }))
        .insert_resource(Table::new(options, output.clone(), cli.identities.is_some()))
        .init_resource::<Rounds>()
        .add_systems(Update, (room::host, room::guests, room::play).chain());
    app.finish();
    app.cleanup();
    app
}
