//! The command line.

use std::time::Duration;

use bevy_ecs::resource::Resource;
use bevy_traversal::ServerKey;
use clap::{Parser, ValueEnum};
use headless::args::seconds;

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Host,
    Join,
}

/// Tic-tac-toe in the terminal: write the number of a cell, 1 to 9. When the host leaves, the game goes on
#[derive(Parser, Resource, Clone, Debug)]
#[command(version, after_help = "Example, in two terminals:\n  tic_tac_toe host den\n  tic_tac_toe join den")]
pub(crate) struct Args {
    /// Open the room, or enter it
    #[arg(value_enum)]
    pub(crate) entry: Entry,
    /// Name of the room
    pub(crate) room: String,
    /// Lobby server, HOST:PORT
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) lobby: String,
    /// Public key that the lobby server must have, as `lobby_server key` prints it
    #[arg(long, value_name = "BASE64")]
    pub(crate) server_key: Vec<ServerKey>,
    /// Display name
    #[arg(long, default_value = "player")]
    pub(crate) name: String,
    /// Plays by itself, without input
    #[arg(long)]
    pub(crate) autoplay: bool,
    /// Rounds to play
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// As the host, leave the room once when there are so many marks, and come again as a guest
    #[arg(long, value_name = "MARKS")]
    pub(crate) leave_at: Option<usize>,
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub(crate) deadline: Duration,
    /// JSON lines instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
