//! `lobby_server admin`: asks a running server, and prints what it says.

use std::fmt::Write;
use std::path::Path;

use clap::Subcommand;
use lobby_server::admin::client::{AskError, ask};
use serde_json::{Map, Value, json};

/// What a running server is asked.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Say how the server is.
    Status,
    /// List the players who are logged in.
    Players,
    /// List the rooms that are open.
    Rooms,
    /// Log a player out; its game does not log in again by itself.
    Kick {
        /// The player's id, or as much of its beginning as tells it from others.
        player: String,
        /// What the player reads about it.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List who is banned.
    Bans,
    /// Keep a player, an address or a prefix out; who is here goes.
    Ban {
        /// A player's id, or the beginning of that of one who is here; an address, or a prefix as in 203.0.113.0/24.
        whom: String,
        /// Out of this game alone. [default: of all]
        #[arg(long)]
        game: Option<String>,
        /// For so long, as in 90m, 12h, 7d or 4w. [default: for good]
        #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
        for_s: Option<u64>,
        /// What they read about it.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Lift a ban.
    Unban {
        /// As `bans` shows it.
        whom: String,
        /// For this game alone. [default: for all]
        #[arg(long)]
        game: Option<String>,
    },
    /// Close a room.
    Close {
        /// The room's code, or its name where only one game has a room of it.
        room: String,
        /// What its players read about it.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Tell all players of a game something.
    Announce {
        /// Players of this game alone. [default: of all]
        #[arg(long)]
        game: Option<String>,
        /// At most 400 characters.
        text: String,
    },
    /// List what players told of each other, the newest last: the last 500, since the start.
    Reports,
    /// Let nobody in any more, and end as at SIGTERM; asked a second time, end at once.
    Drain,
    /// Show the settings that can change while the server runs, or change some.
    Limits {
        /// As in max_rooms=500; until the configuration is read again, or the server starts anew.
        #[arg(value_name = "KEY=VALUE", value_parser = key_and_value)]
        changes: Vec<(String, String)>,
    },
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in max_rooms=500")?;
    Ok((key.into(), value.into()))
}

/// Reads a time, as in "12h".
fn seconds(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600), ('w', 7 * 24 * 3600)];
    let read = units.into_iter().find_map(|(unit, length)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(length)
    });
    read.filter(|seconds| *seconds > 0)
        .ok_or_else(|| "write a number and its unit, as in 90m, 12h, 7d or 4w".into())
}

impl What {
    /// Asks the server at this socket, and returns what is to be printed.
    pub(crate) fn ask(self, socket: &Path, as_json: bool) -> Result<String, AskError> {
        let (path, body) = match self {
            Self::Status => ("/api/status", None),
            Self::Players => ("/api/players", None),
            Self::Rooms => ("/api/rooms", None),
            Self::Kick { player, reason } => {
                ("/api/kick", Some(json!({ "player": player, "reason": reason })))
            }
            Self::Bans => ("/api/bans", None),
            Self::Ban { whom, game, for_s, reason } => {
                let body = json!({ "whom": whom, "game": game, "for_s": for_s, "reason": reason });
                ("/api/ban", Some(body))
            }
            Self::Unban { whom, game } => ("/api/unban", Some(json!({ "whom": whom, "game": game }))),
            Self::Close { room, reason } => ("/api/close", Some(json!({ "room": room, "reason": reason }))),
            Self::Announce { game: Some(game), text } => {
                ("/api/announce", Some(json!({ "game": game, "text": text })))
            }
            Self::Announce { game: None, text } => ("/api/announce", Some(json!({ "text": text }))),
            Self::Reports => ("/api/reports", None),
            Self::Drain => ("/api/drain", Some(json!({}))),
            Self::Limits { changes } if changes.is_empty() => ("/api/limits", None),
            Self::Limits { changes } => {
                let changes: Map<String, Value> =
                    changes.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
                ("/api/limits", Some(Value::Object(changes)))
            }
        };
        let answer = ask(socket, path, body.as_ref())?;
        Ok(if as_json { format!("{answer}\n") } else { shown(&answer) })
    }
}

/// Writes an answer for a person: a list as a table, anything else as lines.
fn shown(answer: &Value) -> String {
    let Value::Object(fields) = answer else { return format!("{answer}\n") };
    match fields.iter().collect::<Vec<_>>()[..] {
        [(name, Value::Array(rows))] => table(name, rows),
        [(name, Value::Object(inner))] if name == "limits" => lines(inner),
        [(name, Value::Object(inner))] => format!("{name}:\n{}", lines(inner)),
        _ => lines(fields),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn lines(fields: &Map<String, Value>) -> String {
    fields.iter().fold(String::new(), |mut out, (key, value)| {
        let _ = writeln!(out, "{key} = {}", plain(value));
        out
    })
}

fn table(name: &str, rows: &[Value]) -> String {
    let Some(Value::Object(first)) = rows.first() else { return format!("no {name}\n") };
    let columns: Vec<&String> = first.keys().collect();
    let mut cells: Vec<Vec<String>> = vec![columns.iter().map(ToString::to_string).collect()];
    cells.extend(rows.iter().map(|row| columns.iter().map(|column| plain(&row[column.as_str()])).collect()));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    cells.iter().fold(String::new(), |mut out, row| {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(out, "{}", padded.join("  ").trim_end());
        out
    })
}
