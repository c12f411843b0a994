//! Entry points for the fuzz targets: what they call that is nobody else's business. Behind the feature `fuzzing`, which
//! adds these functions and changes nothing.

use serde::Serialize;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::RoomTicket;

use crate::{ConfigError, Server, Settings};

/// Reads settings from the text of a file and from flags, as [`Settings::load`] does from a file on disk, but without
/// those of the environment.
///
/// # Errors
/// When a value cannot be read.
pub fn settings(text: &str, flags: impl Serialize) -> Result<Settings, ConfigError> {
    Settings::of_text(text, flags)
}

/// Returns the seal that this server's ticket of a room must have, for a room of this game, name and code and for
/// this holder.
pub fn ticket_seal(
    server: &Server,
    names: [&str; 3],
    ticket: &RoomTicket,
    holder: PlayerId,
) -> Option<[u8; 16]> {
    server.ticket_seal(names, ticket, holder)
}
