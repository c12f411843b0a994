//! Seats: a member of a room of whom nothing is heard keeps its place, its id and its matches for a while, and plays on when
//! it is back.
//!
//! A seat is a session that may be silent for longer ([`ServerConfig::keep_seat`](crate::ServerConfig::keep_seat)): so it is
//! bound to the player's key, there is one for each player, and it counts against all limits like any session. In a full
//! room it gives way to somebody who is there (`liveness`).

use std::time::Duration;

use traversal_core::id::{MatchId, PlayerId, RoomId};
use traversal_core::wire::message::{MatchEnd, RoomInfo, ToPlayer};

use super::{Server, Timer};

/// How long two members who are there may have no match before they get a fresh one: by then both have said which match goes
/// on. Two answers' time of the farthest member where that is longer.
const SAID: Duration = Duration::from_secs(3);

/// How long a player in a room may have been silent anyway when it went away: it gives a sign of life every 4 s, and one may
/// get lost.
const QUIET: Duration = Duration::from_secs(8);

impl Server {
    /// How long this session may be silent. One whose player is in a room with others has a seat there.
    pub(super) fn silence(&self, id: u64) -> Duration {
        let Some(client) = self.sessions.get(&id) else { return Duration::ZERO };
        let usual = self.cx.config.silence(client.confirmed);
        let state = self.players.get(&client.player).filter(|state| state.session == id);
        let room = state.and_then(|state| self.rooms.get(&state.room?));
        if room.is_some_and(|room| room.members.len() > 1) {
            usual.max(self.cx.config.keep_seat + QUIET)
        } else {
            usual
        }
    }

    /// A host that was replaced while nobody heard it keeps its seat, as the last of the members.
    pub(super) fn seat_former_host(&mut self, host: PlayerId, info: &RoomInfo) {
        let here = self.players.get(&host).filter(|state| state.room == Some(info.id));
        let Some((session, stale)) = here.map(|state| (state.session, state.stale)) else { return };
        let Some(party) = self.party(host) else { return };
        let Some(room) = self.rooms.get_mut(&info.id) else { return };
        room.members.push(party.info);
        if !stale {
            self.tell(host, ToPlayer::HostChanged { room: info.clone(), previous: host });
            self.tell_ticket(info.id, host);
            self.awaited.insert(session);
        }
    }

    /// A session gave a sign of life: perhaps of a member who is matched with the others as soon as it is back.
    pub(super) fn awaited_heard(&mut self, session: u64) {
        if !self.awaited.remove(&session) {
            return;
        }
        let Some(player) = self.sessions.get(&session).map(|client| client.player) else { return };
        let state = self.players.get(&player).filter(|state| state.session == session && !state.stale);
        let Some(id) = state.and_then(|state| state.room) else { return };
        let members = self.rooms.get(&id).map(|room| room.members.iter().map(|member| member.id).collect());
        let members: Vec<PlayerId> = members.unwrap_or_default();
        let unmatched = |other: &PlayerId| self.matches.between(*other, player).is_empty();
        let members: Vec<PlayerId> = members.into_iter().filter(unmatched).collect();
        self.match_with(id, player, &members);
    }

    /// Somebody is back, or has lost a match: soon each member has one with the host, an old one or a fresh one.
    pub(super) fn pair_later(&mut self, id: RoomId) {
        if self.cx.timers.is_set(Timer::Pairs(id)) {
            return;
        }
        let Some(room) = self.rooms.get(&id) else { return };
        let sessions = room.members.iter().filter_map(|member| self.players.get(&member.id));
        let wait = self.wait_for(SAID, sessions.map(|state| state.session));
        self.cx.timers.set(Timer::Pairs(id), Some(self.cx.now + wait));
    }

    /// Members without a match with the host get one; those of whom nothing is heard when they are back.
    pub(super) fn pair_up(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        // Pairs of a mesh ask by themselves.
        let (host, mut absent) = (room.host(), false);
        let present = |player: PlayerId| {
            self.players.get(&player).is_some_and(|state| state.room == Some(id) && !state.stale)
        };
        let members = room.members.iter().skip(1).map(|member| member.id);
        let unmatched = members.filter(|member| {
            present(host) && present(*member) && self.matches.between(host, *member).is_empty()
        });
        for member in unmatched.collect::<Vec<_>>() {
            if self.is_fresh(host) && self.is_fresh(member) {
                self.begin_match(host, member, false);
            } else {
                absent = true;
            }
        }
        if absent {
            self.pair_later(id);
        }
    }

    /// One side of a match has waited long enough for the other one: it is over for both.
    pub(super) fn lose_match(&mut self, player: PlayerId, match_id: MatchId, peer: PlayerId) {
        self.matches.end(match_id);
        self.sprays.end(self.cx.now, match_id);
        self.relay.end(match_id);
        self.tell(peer, ToPlayer::MatchEnded { match_id, reason: MatchEnd::Gone });
        if let Some(id) = self.players.get(&player).and_then(|state| state.room) {
            self.pair_later(id);
        }
    }
}
