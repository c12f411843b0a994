//! What goes wrong, as one event for observers.

use std::fmt;

use bevy_ecs::event::Event;
use bevy_ecs::message::MessageReader;
use bevy_ecs::system::Commands;
use traversal_core::wire::message::RoomEnd;

use crate::error::TraversalError;
use crate::messages::outcomes as m;

/// Event: something went wrong. One observer for it sees all that a player should read; each kind has a message of its own, too.
///
/// ```no_run
/// use bevy_ecs::prelude::*;
/// use bevy_traversal::prelude::*;
///
/// fn show(trouble: On<Trouble>) {
///     println!("{}", trouble.event());
/// }
/// ```
/// `app.add_observer(show)` registers it.
#[derive(Event, Clone, Debug, PartialEq)]
pub enum Trouble {
    /// There is no link to the lobby server.
    Lobby(m::LobbyFailed),
    /// A request came to nothing.
    Request(m::RequestFailed),
    /// This player is out of its room, and did not wish to be.
    Room(RoomEnd),
    /// No way to another player was found.
    Player(m::TraversalFailed),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lobby(m::LobbyFailed { error, retry_in, servers }) => {
                match error {
                    TraversalError::Lobby(_) => write!(f, "{}: {error}", servers.join(", "))?,
                    _ => error.fmt(f)?,
                }
                retry_in.map_or(Ok(()), |retry| write!(f, "; trying again in {:.0} s", retry.as_secs_f32()))
            }
            Self::Request(m::RequestFailed { error, .. }) => error.fmt(f),
            Self::Room(reason) => write!(f, "out of the room: {reason}"),
            Self::Player(m::TraversalFailed { peer, report }) => {
                write!(f, "no way to {}: {report}. {}", peer.name, report.advice())
            }
        }
    }
}

/// Triggers the event for each message that tells of a failure.
pub(crate) fn trigger(
    mut lobby: MessageReader<m::LobbyFailed>,
    mut request: MessageReader<m::RequestFailed>,
    mut player: MessageReader<m::TraversalFailed>,
    mut room: MessageReader<m::RoomLeft>,
    mut commands: Commands,
) {
    lobby.read().for_each(|failed| commands.trigger(Trouble::Lobby(failed.clone())));
    request.read().for_each(|failed| commands.trigger(Trouble::Request(failed.clone())));
    player.read().for_each(|failed| commands.trigger(Trouble::Player(failed.clone())));
    room.read()
        .filter_map(|left| left.reason.clone())
        .for_each(|reason| commands.trigger(Trouble::Room(reason)));
}
