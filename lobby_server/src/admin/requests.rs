//! What can be asked, and what comes of it.

use std::time::Instant;

use figment::value::Dict;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::check::chain;
use crate::run::BoundServer;
use crate::server::{BanError, NotOne};

/// A request was not carried out.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// This says why, for a person.
    pub(super) text: String,
}

impl Refused {
    pub(super) fn bad(text: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text }
    }
}

impl From<NotOne> for Refused {
    fn from(error: NotOne) -> Self {
        let status = if error == NotOne::None { StatusCode::NOT_FOUND } else { StatusCode::CONFLICT };
        Self { status, text: error.to_string() }
    }
}

impl From<BanError> for Refused {
    fn from(error: BanError) -> Self {
        let status = match error {
            BanError::None => StatusCode::NOT_FOUND,
            BanError::TooMany(_) | BanError::NotWhom(_, NotOne::Several(_)) => StatusCode::CONFLICT,
            BanError::NotWhom(..) | BanError::Game(_) => StatusCode::BAD_REQUEST,
        };
        Self { status, text: error.to_string() }
    }
}

/// Somebody is to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutOut {
    /// The player's id, or as much of its beginning as tells it from others.
    player: String,
    #[serde(default)]
    reason: String,
}

/// Somebody is to stay out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bar {
    /// A player's id, or the beginning of that of one who is here; an address, or a prefix.
    whom: String,
    /// Of this game; of all, where it is left out.
    game: Option<String>,
    /// For so many seconds; for good, where it is left out.
    for_s: Option<u64>,
    #[serde(default)]
    reason: String,
}

/// Somebody may come again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lift {
    /// As the list of bans has it.
    whom: String,
    /// For this game; for all, where it is left out.
    game: Option<String>,
}

/// A room is to be closed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Close {
    /// The room's code or name.
    room: String,
    #[serde(default)]
    reason: String,
}

/// Players are to be told something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Announce {
    /// Players of this game; of all, where it is left out.
    game: Option<String>,
    text: String,
}

/// This is one request.
#[derive(Debug)]
pub(super) enum Asked {
    Status,
    Players,
    Rooms,
    Limits,
    SetLimits(Dict),
    PutOut(PutOut),
    Bans,
    Ban(Bar),
    Unban(Lift),
    Close(Close),
    Announce(Announce),
    Reports,
    Drain,
}

impl Asked {
    pub(super) fn read(method: &Method, path: &str, body: &[u8]) -> Result<Self, Refused> {
        fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
            serde_json::from_slice(body).map_err(|error| Refused::bad(format!("the body: {error}")))
        }
        match (method.as_str(), path) {
            ("GET", "/api/status") => Ok(Self::Status),
            ("GET", "/api/players") => Ok(Self::Players),
            ("GET", "/api/rooms") => Ok(Self::Rooms),
            ("GET", "/api/limits") => Ok(Self::Limits),
            ("POST", "/api/limits") => json(body).map(Self::SetLimits),
            ("POST", "/api/kick") => json(body).map(Self::PutOut),
            ("GET", "/api/bans") => Ok(Self::Bans),
            ("POST", "/api/ban") => json(body).map(Self::Ban),
            ("POST", "/api/unban") => json(body).map(Self::Unban),
            ("POST", "/api/close") => json(body).map(Self::Close),
            ("POST", "/api/announce") => json(body).map(Self::Announce),
            ("GET", "/api/reports") => Ok(Self::Reports),
            ("POST", "/api/drain") => Ok(Self::Drain),
            _ => Err(Refused {
                status: StatusCode::NOT_FOUND,
                text: "there is no such thing to ask; GET /openapi.json says what there is".into(),
            }),
        }
    }

    /// Returns whether the bans are others afterwards, and are to be kept.
    pub(super) fn changes_bans(&self) -> bool {
        matches!(self, Self::Ban(_) | Self::Unban(_))
    }

    /// Does it, in the server's own thread.
    pub(super) fn carry_out(self, bound: &mut BoundServer, now: Instant) -> Result<Value, Refused> {
        match self {
            Self::Status => {
                let status = bound.status(now);
                Ok(json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "key": crate::key::printed(&status.public_key),
                    "uptime_s": status.uptime.as_secs(),
                    "takes_players": status.takes_players,
                    "players": status.gauges.sessions,
                    "rooms": status.gauges.rooms,
                    "matches": status.gauges.matches,
                    "findings": status.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
                }))
            }
            Self::Players => Ok(json!({ "players": bound.core().players() })),
            Self::Rooms => Ok(json!({ "rooms": bound.core().rooms() })),
            Self::Limits => Ok(json!({ "limits": bound.settings().limits() })),
            Self::SetLimits(changes) => {
                let keys = changes.keys().cloned().collect::<Vec<_>>().join(", ");
                let settings = bound.settings().with(changes).map_err(|error| Refused::bad(chain(&error)))?;
                bound.reconfigure(now, settings);
                tracing::info!(keys, "an operator has changed limits");
                Ok(json!({ "limits": bound.settings().limits() }))
            }
            Self::PutOut(PutOut { player, reason }) => {
                let row = bound.core().put_out(now, &player, &reason)?;
                tracing::info!(
                    player = row.player,
                    name = row.name,
                    reason,
                    "an operator has put a player out"
                );
                Ok(json!({ "kicked": row }))
            }
            Self::Bans => Ok(json!({ "bans": bound.core().ban_rows(now) })),
            Self::Ban(Bar { whom, game, for_s, reason }) => {
                let banned = bound.core().ban(now, &whom, game.as_deref(), for_s, &reason)?;
                let (whom, put_out, ends) = (&banned.ban.whom, banned.put_out, banned.ban.ends.as_deref());
                tracing::info!(whom, game, ends, reason, put_out, "an operator has made a ban");
                Ok(json!({ "banned": banned }))
            }
            Self::Unban(Lift { whom, game }) => {
                let lifted = bound.core().lift_ban(now, &whom, game.as_deref())?;
                tracing::info!(whom, game, "an operator has lifted a ban");
                Ok(json!({ "unbanned": lifted }))
            }
            Self::Close(Close { room, reason }) => {
                let row = bound.core().close_room(now, &room, &reason)?;
                tracing::info!(room = row.name, game = row.game, reason, "an operator has closed a room");
                Ok(json!({ "closed": row }))
            }
            Self::Announce(Announce { game, text }) => {
                let told = bound.core().announce(now, game.as_deref(), &text);
                let told = told.map_err(|error| Refused::bad(error.to_string()))?;
                tracing::info!(game, text, told, "an operator has told players something");
                Ok(json!({ "told": told }))
            }
            Self::Reports => Ok(json!({ "reports": bound.core().reports() })),
            Self::Drain => {
                tracing::info!("an operator has the server end");
                bound.handle().drain();
                Ok(json!({ "draining": true }))
            }
        }
    }
}
