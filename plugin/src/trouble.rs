//! What goes wrong, as one event for observers, and what happens, as lines in the log.

use std::fmt;
use std::time::{Duration, Instant};

use bevy_ecs::event::Event;
use bevy_ecs::message::MessageReader;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Commands, Res, ResMut, SystemParam};
use traversal_core::LobbyState;
use traversal_core::wire::message::RoomEnd;

use crate::error::TraversalError;
use crate::messages::outcomes as m;
use crate::state::{CurrentRoom, LobbyLink, Peers};

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

/// Lines of the log at `warn` and `info` within [`WINDOW`]; what is beyond goes to `debug`.
const MAX_LINES: u32 = 20;
/// See [`MAX_LINES`].
const WINDOW: Duration = Duration::from_secs(10);

/// Resource: bounds what other players and the network can have written to the log.
#[derive(Resource, Debug, Default)]
pub(crate) struct LogBound {
    since: Option<Instant>,
    lines: u32,
}

impl LogBound {
    /// One more line is to be written at `now`. False: there were too many.
    fn takes(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            (self.since, self.lines) = (Some(now), 0);
        }
        self.lines += 1;
        self.lines <= MAX_LINES
    }

    fn warn(&mut self, line: impl fmt::Display) {
        if self.takes(Instant::now()) {
            bevy_log::warn!("{line}");
        } else {
            bevy_log::debug!("{line}");
        }
    }

    fn info(&mut self, line: impl fmt::Display) {
        if self.takes(Instant::now()) {
            bevy_log::info!("{line}");
        } else {
            bevy_log::debug!("{line}");
        }
    }
}

/// Readers of what is told.
#[derive(SystemParam)]
pub(crate) struct News<'w, 's> {
    lobby_changed: MessageReader<'w, 's, m::LobbyChanged>,
    lobby_failed: MessageReader<'w, 's, m::LobbyFailed>,
    nat_changed: MessageReader<'w, 's, m::NatChanged>,
    port_mapping: MessageReader<'w, 's, m::PortMappingChanged>,
    room_joined: MessageReader<'w, 's, m::RoomJoined>,
    room_left: MessageReader<'w, 's, m::RoomLeft>,
    request_failed: MessageReader<'w, 's, m::RequestFailed>,
    migrated: MessageReader<'w, 's, m::HostMigrated>,
    planned: MessageReader<'w, 's, m::PeerPlanned>,
    connected: MessageReader<'w, 's, m::PeerConnected>,
    relayed: MessageReader<'w, 's, m::PeerRelayed>,
    path_changed: MessageReader<'w, 's, m::PathChanged>,
    away: MessageReader<'w, 's, m::PeerAway>,
    back: MessageReader<'w, 's, m::PeerBack>,
    disconnected: MessageReader<'w, 's, m::PeerDisconnected>,
    failed: MessageReader<'w, 's, m::TraversalFailed>,
}

/// Writes a line for each thing that happened: `warn` for what went wrong, `info` for what a player would notice, `debug` for
/// how it came about. Failures are triggered as [`Trouble`].
pub(crate) fn tell(
    mut news: News,
    mut commands: Commands,
    mut log: ResMut<LogBound>,
    (lobby, room, peers): (Res<LobbyLink>, Res<CurrentRoom>, Res<Peers>),
) {
    let log = &mut *log;
    for m::LobbyChanged(state) in news.lobby_changed.read() {
        match state {
            LobbyState::Online { player, public, server, .. } => {
                log.info(format_args!("logged in to {server} as {player}; it sees this machine at {public}"));
            }
            LobbyState::Connecting => bevy_log::debug!("logging in to {}", lobby.servers.join(", ")),
            _ => {}
        }
    }
    let mut trouble = |log: &mut LogBound, trouble: Trouble| {
        log.warn(&trouble);
        commands.trigger(trouble);
    };
    for failed in news.lobby_failed.read() {
        trouble(log, Trouble::Lobby(failed.clone()));
    }
    for failed in news.request_failed.read() {
        trouble(log, Trouble::Request(failed.clone()));
    }
    for m::NatChanged(profile) in news.nat_changed.read() {
        bevy_log::debug!("this machine's NAT: {}", profile.kind());
    }
    for m::PortMappingChanged(state) in news.port_mapping.read() {
        bevy_log::debug!("the router's port: {state:?}");
    }
    for m::RoomJoined { room, hosting } in news.room_joined.read() {
        let part = if *hosting { "hosting" } else { "joined" };
        log.info(format_args!("{part} the room \"{}\" (code {})", room.name, room.code));
    }
    for m::PeerPlanned { peer, methods, .. } in news.planned.read() {
        let methods: Vec<_> = methods.iter().map(|method| method.name()).collect();
        bevy_log::debug!("looking for a way to {}: {}", peer.name, methods.join(", "));
    }
    for m::PeerConnected { peer, path, .. } in news.connected.read() {
        let rtt = path.rtt.map(|rtt| format!(", round trip {} ms", rtt.as_millis())).unwrap_or_default();
        log.info(format_args!(
            "connected to {} by the {} path in {} ms{rtt}",
            peer.name,
            path.kind.name(),
            path.since_request.as_millis()
        ));
    }
    for m::PeerRelayed { peer, report } in news.relayed.read() {
        log.info(format_args!("{} is reached over the relay: {report}. {}", peer.name, report.advice()));
    }
    for m::PathChanged { player, path } in news.path_changed.read() {
        let name = peers.peer(*player).map_or("a player", |peer| &peer.info.name);
        log.info(format_args!("{name} is reached by the {} path now", path.kind.name()));
    }
    for m::PeerAway { peer, .. } in news.away.read() {
        log.info(format_args!("nothing is heard of {} at present", peer.name));
    }
    for m::PeerBack { peer, away, .. } in news.back.read() {
        log.info(format_args!("{} is back after {:.0} s", peer.name, away.as_secs_f32()));
    }
    for m::PeerDisconnected { peer, reason, .. } in news.disconnected.read() {
        log.info(format_args!("disconnected from {}: {reason}", peer.name));
    }
    for failed in news.failed.read() {
        trouble(log, Trouble::Player(failed.clone()));
    }
    for m::HostMigrated { room, hosting, members, .. } in news.migrated.read() {
        let host =
            members.iter().find(|member| member.id == room.host).map_or("another player", |host| &host.name);
        let host = if *hosting { "this player" } else { host };
        log.info(format_args!("the host of \"{}\" is gone: {host} hosts now", room.name));
    }
    for m::RoomLeft { room: left, reason } in news.room_left.read() {
        match reason {
            Some(reason) => trouble(log, Trouble::Room(reason.clone())),
            None => {
                let name = left.as_ref().or(room.info.as_ref()).map_or("", |room| &room.name);
                log.info(format_args!("left the room \"{name}\""));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_takes_twenty_lines_in_ten_seconds() {
        let (mut bound, start) = (LogBound::default(), Instant::now());
        let taken = |bound: &mut LogBound, at| (0..100).filter(|_| bound.takes(at)).count();
        assert_eq!(taken(&mut bound, start), 20);
        assert_eq!(taken(&mut bound, start + WINDOW / 2), 0);
        assert_eq!(taken(&mut bound, start + WINDOW), 20);
    }
}
