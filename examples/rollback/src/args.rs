//! The command line.

use std::time::Duration;

use bevy_traversal::{MESH_CAPACITY, ServerKey};
use clap::Parser;
use headless::args::{RelayArg, seconds};

/// Players without a window who simulate together: each runs this, the lobby server brings them together, every two are
/// connected, and ggrs rolls back what was guessed wrong. Succeeds when all have confirmed all frames and agree.
#[derive(Parser, Debug)]
#[command(
    name = "rollback",
    version,
    after_help = "Example, in each of three terminals:\n  rollback --lobby 203.0.113.10:3478 --players 3 --frames 600"
)]
pub(crate) struct Args {
    /// Lobby server, HOST:PORT; may be given several times
    #[arg(long, required = true)]
    pub(crate) lobby: Vec<String>,
    /// Players in a game, with this one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=i64::from(MESH_CAPACITY)))]
    pub(crate) players: u16,
    /// Only players who name the same mode meet
    #[arg(long, default_value = "rollback")]
    pub(crate) mode: String,
    /// Frames to be confirmed, 60 a second
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(i32).range(20..=1_000_000))]
    pub(crate) frames: i32,
    /// Display name
    #[arg(long, default_value = "player")]
    pub(crate) name: String,
    /// Public key that the lobby server must have, as `lobby_server key` prints it; may be given several times
    #[arg(long, value_name = "BASE64")]
    pub(crate) server_key: Vec<ServerKey>,
    /// Whether the lobby server may relay
    #[arg(long, value_enum, default_value_t = RelayArg::Allow)]
    pub(crate) relay: RelayArg,
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, overrides_with = "deadline")]
    pub(crate) deadline: Duration,
    /// JSON lines instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
