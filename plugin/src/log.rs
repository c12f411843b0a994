//! What happens, as lines in the log.

use std::fmt;
use std::time::{Duration, Instant};

use bevy_ecs::message::MessageReader;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Res, ResMut, SystemParam};
use traversal_core::LobbyState;

use crate::messages::outcomes as m;
use crate::state::{CurrentRoom, LobbyLink, Peers};
use crate::trouble::Trouble;

/// At most this many lines are written at `warn` (and [`MOST_NEWS`] at `info`) within a [`WINDOW`], so that neither
/// other players nor the network fill the log; what is beyond goes to `debug`. A full room of 64 is told whole.
const MOST_WARNINGS: u32 = 10;
/// At most this many lines are written at `info` within a [`WINDOW`]; see [`MOST_WARNINGS`].
const MOST_NEWS: u32 = 150;
/// Lines are counted over this time; see [`MOST_WARNINGS`].
const WINDOW: Duration = Duration::from_secs(60);

/// This counts the lines of one level within the present window.
#[derive(Debug, Default)]
struct Lines {
    since: Option<Instant>,
    count: u32,
}

impl Lines {
    /// One more is to be written at `now`. False: there were `most` already.
    fn take(&mut self, now: Instant, most: u32) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            (self.since, self.count) = (Some(now), 0);
        }
        self.count += 1;
        self.count <= most
    }
}

/// Resource: it counts the lines that were written lately.
#[derive(Resource, Debug, Default)]
pub(crate) struct LogBound {
    warnings: Lines,
    news: Lines,
}

impl LogBound {
    fn warn(&mut self, line: impl fmt::Display) {
        if self.warnings.take(Instant::now(), MOST_WARNINGS) {
            bevy_log::warn!("{line}");
        } else {
            bevy_log::debug!("{line}");
        }
    }

    fn info(&mut self, line: impl fmt::Display) {
        if self.news.take(Instant::now(), MOST_NEWS) {
            bevy_log::info!("{line}");
        } else {
            bevy_log::debug!("{line}");
        }
    }
}

/// These read what is told.
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
/// how it came about.
pub(crate) fn tell(
    mut news: News,
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
    for failed in news.lobby_failed.read() {
        log.warn(Trouble::Lobby(failed.clone()));
    }
    for failed in news.request_failed.read() {
        log.warn(Trouble::Request(failed.clone()));
    }
    for m::NatChanged(profile) in news.nat_changed.read() {
        bevy_log::debug!("this machine's NAT: {}", profile.kind());
    }
    for m::PortMappingChanged(state) in news.port_mapping.read() {
        bevy_log::debug!("the router's port: {state:?}");
    }
    for m::RoomJoined { room, hosting, .. } in news.room_joined.read() {
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
        log.warn(Trouble::Player(failed.clone()));
    }
    for m::HostMigrated { room, hosting, members, .. } in news.migrated.read() {
        let host =
            members.iter().find(|member| member.id == room.host).map_or("another player", |host| &host.name);
        let host = if *hosting { "this player" } else { host };
        log.info(format_args!("the host of \"{}\" is gone: {host} hosts now", room.name));
    }
    for m::RoomLeft { room: left, reason } in news.room_left.read() {
        match reason {
            Some(reason) => log.warn(Trouble::Room(reason.clone())),
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
    fn a_level_has_so_many_lines_in_a_window() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let taken = |lines: &mut Lines, at| (0..100).filter(|_| lines.take(at, 10)).count();
        assert_eq!(taken(&mut lines, start), 10);
        assert_eq!(taken(&mut lines, start + WINDOW / 2), 0);
        assert_eq!(taken(&mut lines, start + WINDOW), 10);
    }
}
