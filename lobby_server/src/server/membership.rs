//! Who comes into a room and goes out of it, and the matches that follow from that.

use std::time::Duration;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{
    MatchEnd, RequestError, Response, RoomEnd, RoomInfo, ToPlayer, Topology,
};

use super::joining::JoinWish;
use super::requests::Pending;
use super::{Server, Timer};
use crate::kicked::{Kick, OUT};
use crate::registry::RegistryOperation;
use crate::rooms::{ROOM_NEWS, Room};

/// Who was heard within this is there: players in a room give a sign of life every 4 s.
const REMATCH_FRESH: Duration = Duration::from_secs(8);

impl Server {
    /// The player is in: the room's answer, the plans and the new list of members go out at once.
    pub(super) fn admit(&mut self, wish: &JoinWish) {
        let (player, id) = (wish.player, wish.room);
        let Some(info) = self.take_in(player, id) else { return };
        self.roster.respond(&mut self.cx, wish.session, wish.request, Ok(Response::Room(info)));
        self.tell_ticket(id, player);
        self.tell_kicked(id, player);
        if !wish.resume {
            let members =
                self.rooms.get(&id).map(|room| room.members.iter().map(|member| member.id).collect());
            let members: Vec<PlayerId> = members.unwrap_or_default();
            self.match_with(id, player, &members);
        } else {
            self.matches.tell_public(&mut self.cx, &mut self.roster, player);
            self.pair_later(id);
        }
        self.publish(id);
        let host = self.rooms.get(&id).map(Room::host);
        if host.is_none_or(|host| self.roster.room_of(host) != Some(id)) {
            // It is waited for no longer than it takes to ask the others.
            self.suspect(id, None);
        }
    }

    /// Puts a player on the list of members.
    pub(super) fn take_in(&mut self, player: PlayerId, id: RoomId) -> Option<RoomInfo> {
        let party = self.roster.party(&self.cx, player)?;
        let room = self.rooms.get_mut(&id)?;
        if !room.has(player) {
            room.members.push(party.info);
        }
        let info = room.info();
        self.roster.enter_room(&mut self.cx, player, id);
        Some(info)
    }

    /// Matches a player who comes in with the host; in a mesh, with all of these members.
    pub(super) fn match_with(&mut self, id: RoomId, player: PlayerId, members: &[PlayerId]) {
        let Some(room) = self.rooms.get(&id) else { return };
        let (host, mesh, epoch) = (room.host(), room.topology == Topology::Mesh, room.epoch);
        for other in members.iter().filter(|other| **other != player && (mesh || **other == host)) {
            self.matches.begin_match(&mut self.cx, &mut self.roster, epoch, *other, player, *other != host);
        }
    }

    /// In a mesh: two members have no connection (any more), and the later one of them wants one.
    pub(super) fn rematch(&mut self, player: PlayerId, other: PlayerId) -> Result<Response, RequestError> {
        let present = |player: PlayerId| {
            Some((
                self.roster.present_room(player)?,
                self.roster.last_heard(self.roster.session_of(player)?)?,
            ))
        };
        let (room, _) = present(player).ok_or(RequestError::NotInRoom)?;
        let there = present(other).filter(|(of, heard)| {
            *of == room && other != player && self.cx.now.saturating_duration_since(*heard) < REMATCH_FRESH
        });
        let of = self.rooms.get(&room).ok_or(RequestError::NotInRoom)?;
        if there.is_none() {
            return Err(RequestError::NoSuchPlayer);
        }
        // Whose channel to the host is lost leaves the room and may join again.
        if of.topology != Topology::Mesh || [player, other].contains(&of.host()) {
            return Err(RequestError::Malformed { what: "request".into() });
        }
        let epoch = of.epoch;
        self.matches.begin_match(&mut self.cx, &mut self.roster, epoch, other, player, true);
        Ok(Response::Done)
    }

    /// Tells all members who is inside, and the registry the new numbers: at once, or where players come and go faster
    /// than that is of use, some of these changes at a time.
    pub(super) fn publish(&mut self, id: RoomId) {
        let now = self.cx.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.revision += 1;
        if room.news.take(ROOM_NEWS, now) {
            self.tell_members(id);
        } else if !self.cx.timers.is_set(Timer::News(id)) {
            self.cx
                .timers
                .set(Timer::News(id), Some(now + Duration::from_secs_f64(1.0 / ROOM_NEWS.per_second)));
        }
    }

    pub(super) fn tell_members(&mut self, id: RoomId) {
        self.cx.timers.set(Timer::News(id), None);
        let Some(room) = self.rooms.get(&id) else { return };
        let snapshot = room.snapshot();
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        for member in members {
            for part in &snapshot {
                self.roster.tell(&mut self.cx, member, part.clone());
            }
        }
        self.update_record(id);
    }

    pub(super) fn update_record(&mut self, id: RoomId) {
        if let Some(record) = self.rooms.get(&id).map(|room| room.record(self.cx.config.node)) {
            self.ask_registry(RegistryOperation::Update(record), Pending::Nothing);
        }
    }

    /// Forgets a room, here and in the registry.
    pub(super) fn release(&mut self, id: RoomId) {
        let Some(room) = self.rooms.remove(&id) else { return };
        self.cx.timers.set(Timer::News(id), None);
        self.cx.timers.set(Timer::Guesses(id), None);
        self.cx.timers.set(Timer::Pairs(id), None);
        let location = room.location(self.cx.config.node);
        let release = RegistryOperation::Release { game: room.game, location, name: room.name };
        self.ask_registry(release, Pending::Nothing);
    }

    /// The player is in its room no longer, and its matches are over. A host gives the room to another member, or takes
    /// it along. One that is only out of our sight keeps it until the members say that it is lost.
    pub(super) fn leave_room(&mut self, player: PlayerId, why: MatchEnd) {
        if self.roster.session_of(player).is_none() {
            return;
        }
        let left = self.roster.part_from_room(&mut self.cx, player);
        let Some((id, room)) = left.and_then(|id| Some((id, self.rooms.get_mut(&id)?))) else {
            return self.matches.end_matches(&mut self.cx, &mut self.roster, player, why);
        };
        if room.host() != player {
            room.members.retain(|member| member.id != player);
            self.matches.end_matches(&mut self.cx, &mut self.roster, player, why);
            if self.is_inhabited(id) {
                self.publish(id);
            } else {
                // Its host was out of our sight already.
                self.close_room(id, player, RoomEnd::HostLost);
            }
            return;
        }
        let migrate = room.migrate && self.is_inhabited(id);
        if migrate && why == MatchEnd::Gone {
            return self.suspect(id, None);
        }
        if migrate && self.hand_over(id, None) {
            return;
        }
        let reason = if why == MatchEnd::Left { RoomEnd::Closed } else { RoomEnd::HostLost };
        self.close_room(id, player, reason);
        self.matches.end_matches(&mut self.cx, &mut self.roster, player, why);
    }

    /// The player has turned to another room, or enters this one anew: its place in the former one is free at once.
    pub(super) fn leave_former(&mut self, player: PlayerId) {
        let former = self.roster.room_of(player).and_then(|id| self.rooms.get(&id));
        let hosts = former.is_some_and(|room| room.host() == player);
        self.leave_room(player, if hosts { MatchEnd::Left } else { MatchEnd::Gone });
    }

    pub(super) fn close_room(&mut self, id: RoomId, host: PlayerId, reason: RoomEnd) {
        let Some(room) = self.rooms.get(&id) else { return };
        tracing::info!(room = %room.name, game = %room.game, %reason, "room closed");
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        let absent = room.host();
        self.release(id);
        if absent != host {
            self.matches.end_matches(&mut self.cx, &mut self.roster, absent, MatchEnd::Gone);
        }
        for member in members.into_iter().filter(|member| *member != host) {
            if self.roster.room_of(member) != Some(id) {
                continue;
            }
            let present = self.roster.is_present(member, id);
            self.roster.part_from_room(&mut self.cx, member);
            if present {
                self.roster.tell(
                    &mut self.cx,
                    member,
                    ToPlayer::RoomEnded { room: id, reason: reason.clone() },
                );
            }
        }
        self.abandon_asks(id);
        self.abandon_check(id);
        self.abandon_loss(id);
    }

    /// The host puts a member out.
    pub(super) fn put_out(&mut self, id: RoomId, member: PlayerId, reason: String) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.members.retain(|other| other.id != member);
        self.roster.part_from_room(&mut self.cx, member);
        let ended = RoomEnd::Kicked { reason };
        self.roster.tell(&mut self.cx, member, ToPlayer::RoomEnded { room: id, reason: ended });
        self.matches.end_kicked_matches(&mut self.cx, &mut self.roster, member);
        self.publish(id);
    }

    /// Who was put out does not come back, with its ticket neither: the others get newer ones.
    pub(super) fn keep_out(&mut self, id: RoomId, player: PlayerId) {
        let now = self.cx.now;
        let until_s = self.cx.time_of_day().map_or(u64::MAX, |seconds| seconds + OUT.as_secs());
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.kicked.insert(now, player, Kick { until: now + OUT, until_s });
        room.generation = room.generation.saturating_add(1);
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        for member in members {
            self.tell_ticket(id, member);
            self.tell_kick_notes(id, member, &[(player, until_s)]);
        }
    }
}
