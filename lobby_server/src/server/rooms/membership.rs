//! Who comes into a room and goes out of it, and the matches that follow from that.

use std::time::Duration;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{
    MatchEnd, RequestError, Response, RoomEnd, RoomInfo, ToPlayer, Topology,
};

use super::wishes::{Entry, Pending};
use super::{Others, Rooms};
use crate::ids::{SessionId, Sides};
use crate::registry::RegistryOperation;
use crate::room::{ROOM_NEWS, Room};
use crate::server::matches::PairKind;
use crate::server::operator::RoomRow;
use crate::server::timers::Timer;

/// Who was heard within this is there: players in a room give a sign of life every 4 s.
const REMATCH_FRESH: Duration = Duration::from_secs(8);

impl Rooms {
    /// The player is in: the room's answer, the plans and the new list of members go out at once.
    pub(super) fn admit(&mut self, others: &mut Others<'_>, entry: &Entry) {
        let (asker, id) = (entry.wish.asker, entry.room);
        let player = asker.player;
        if let Some(resume) = entry.wish.watch {
            return self.admit_spectator(others, asker, id, resume);
        }
        let Some(info) = self.take_in(others, player, id) else { return };
        if let Some(room) = self.rooms.get_mut(&id).filter(|_| !entry.resume && !entry.known) {
            room.shared.came_in(player);
        }
        others.respond(asker, Ok(Response::Room(info)));
        self.tell_ticket(others, id, player);
        self.tell_kicked(others, id, player);
        self.tell_shared(others, id, player);
        if !entry.resume {
            let members =
                self.rooms.get(&id).map(|room| room.members.iter().map(|member| member.id).collect());
            let members: Vec<PlayerId> = members.unwrap_or_default();
            self.match_with(others, id, player, &members);
        } else {
            others.matches.tell_public(others.cx, others.roster, player);
            self.pair_later(others, id);
        }
        self.publish(others, id);
        self.spread(others, id);
        let host = self.rooms.get(&id).map(Room::host);
        if host.is_none_or(|host| others.roster.room_of(host) != Some(id)) {
            // It is waited for no longer than it takes to ask the others.
            self.suspect(others, id, None);
        }
    }

    /// Returns the number of rooms that the registry has taken.
    pub(crate) fn open_count(&self) -> usize {
        self.rooms.values().filter(|room| room.is_open()).count()
    }

    /// Returns the code of a room.
    pub(crate) fn code_of(&self, id: RoomId) -> Option<String> {
        self.rooms.get(&id).map(|room| room.setup.code.clone())
    }

    /// Returns what an operator is shown of all rooms that are open.
    pub(crate) fn rows(&self) -> Vec<RoomRow> {
        let open = self.rooms.values().filter(|room| room.is_open());
        open.map(|Room { setup, members, .. }| RoomRow {
            code: setup.code.clone(),
            name: setup.options.name.clone(),
            game: setup.game.clone(),
            capacity: setup.options.capacity,
            public: setup.options.public,
            password: setup.password.is_some(),
            members: members.iter().map(|member| member.name.clone()).collect(),
        })
        .collect()
    }

    /// Ends the room with this code for all who are in it.
    pub(crate) fn close_by_operator(&mut self, others: &mut Others<'_>, code: &str, reason: &RoomEnd) {
        let found = self.rooms.iter().find(|(_, room)| room.is_open() && room.setup.code == code);
        let Some((id, inside)) = found.map(|(id, room)| (*id, room.inside().collect::<Vec<_>>())) else {
            return;
        };
        self.close_room(others, id, None, reason.clone());
        for player in inside {
            others.matches.end_matches(others.cx, others.roster, player, MatchEnd::Left);
        }
    }

    /// Counts the players who wait for a quick match.
    pub(crate) fn queued_count(&self) -> usize {
        self.queues.len()
    }

    /// Counts the players who watch lists of rooms.
    pub(crate) fn watcher_count(&self) -> usize {
        self.listing.watching.count()
    }

    /// Puts a player on the list of members.
    pub(super) fn take_in(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        id: RoomId,
    ) -> Option<RoomInfo> {
        let party = others.roster.party(others.cx, player)?;
        let room = self.rooms.get_mut(&id)?;
        if !room.has(player) {
            room.remove(player);
            room.members.push(party.info);
        }
        let info = room.info();
        self.away.remove(&player);
        others.roster.enter_room(others.cx, player, id);
        Some(info)
    }

    /// Matches a player who comes in with the host; in a mesh, with all of these members.
    pub(super) fn match_with(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        player: PlayerId,
        members: &[PlayerId],
    ) {
        let Some(room) = self.rooms.get(&id) else { return };
        let (host, mesh, epoch) = (room.host(), room.setup.options.topology == Topology::Mesh, room.epoch);
        for other in members.iter().filter(|other| **other != player && (mesh || **other == host)) {
            others.matches.begin_match(
                others.cx,
                others.roster,
                epoch,
                Sides { host: *other, joiner: player },
                if *other == host { PairKind::Guest } else { PairKind::Mesh },
            );
        }
    }

    /// Makes a match of two members of a mesh who have no connection (any more), of whom the later one wants one.
    pub(super) fn rematch(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        other: PlayerId,
    ) -> Result<Response, RequestError> {
        let present = |player: PlayerId| {
            Some((
                others.roster.present_room(player)?,
                others.roster.last_heard(others.roster.session_of(player)?)?,
            ))
        };
        let (id, _) = present(player).ok_or(RequestError::NotInRoom)?;
        let there = present(other).filter(|(its_room, heard)| {
            *its_room == id
                && other != player
                && others.cx.now.saturating_duration_since(*heard) < REMATCH_FRESH
        });
        let room = self.rooms.get(&id).ok_or(RequestError::NotInRoom)?;
        if there.is_none() || !(room.has(player) && room.has(other)) {
            return Err(RequestError::NoSuchPlayer);
        }
        // Whose channel to the host is lost leaves the room and may join again.
        if room.setup.options.topology != Topology::Mesh || [player, other].contains(&room.host()) {
            return Err(RequestError::Malformed { what: "request".into() });
        }
        let epoch = room.epoch;
        others.matches.begin_match(
            others.cx,
            others.roster,
            epoch,
            Sides { host: other, joiner: player },
            PairKind::Mesh,
        );
        Ok(Response::Done)
    }

    /// Tells all members who is inside, and the registry the new numbers: at once, or where players come and go faster
    /// than that is of use, some of these changes at a time.
    pub(super) fn publish(&mut self, others: &mut Others<'_>, id: RoomId) {
        let now = others.cx.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.revision += 1;
        self.shared_members(others, id);
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if room.news.take(ROOM_NEWS, now) {
            self.tell_members(others, id);
        } else if !others.cx.timers.is_set(Timer::News(id)) {
            others
                .cx
                .timers
                .set(Timer::News(id), Some(now + Duration::from_secs_f64(1.0 / ROOM_NEWS.per_second)));
        }
        self.backfill_changed(others, id);
    }

    /// Tells all members, and the registry, who is in the room.
    pub(crate) fn tell_members(&mut self, others: &mut Others<'_>, id: RoomId) {
        others.cx.timers.set(Timer::News(id), None);
        let Some(room) = self.rooms.get(&id) else { return };
        let snapshot = room.snapshot(&self.away_seats(others.cx.now, id));
        let inside: Vec<PlayerId> = room.inside().collect();
        for member in inside {
            for part in &snapshot {
                others.tell(member, part.clone());
            }
        }
        self.update_record(others, id);
    }

    /// Tells the registry how the room is now.
    pub(super) fn update_record(&mut self, others: &mut Others<'_>, id: RoomId) {
        if let Some(record) = self.rooms.get(&id).map(|room| Self::record_of(others, room)) {
            if self.rooms.get(&id).is_some_and(Room::is_open) {
                self.list_room(&record);
            }
            self.ask_registry(others, RegistryOperation::Update(record), Pending::Nothing);
        }
    }

    /// Forgets a room, here and in the registry.
    pub(super) fn release(&mut self, others: &mut Others<'_>, id: RoomId) {
        let Some(room) = self.rooms.remove(&id) else { return };
        others.cx.timers.set(Timer::News(id), None);
        others.cx.timers.set(Timer::Shared(id), None);
        others.cx.timers.set(Timer::Guesses(id), None);
        others.cx.timers.set(Timer::Pairs(id), None);
        self.end_backfill(others, id);
        self.away.retain(|_, away| away.room != id);
        let location = room.location(others.cx.config.node);
        self.unlist_room(&room.setup.game, location.node, &room.setup.options.name);
        let release =
            RegistryOperation::Release { game: room.setup.game, location, name: room.setup.options.name };
        self.ask_registry(others, release, Pending::Nothing);
    }

    /// The player is in its room no longer, and its matches are over. A host gives the room to another member, or takes
    /// it along. One that is only out of our sight keeps it until the members say that it is lost.
    pub(super) fn leave_room(&mut self, others: &mut Others<'_>, player: PlayerId, why: MatchEnd) {
        if others.roster.session_of(player).is_none() {
            return;
        }
        let left = self.part(others, player);
        let Some((id, room)) = left.and_then(|id| Some((id, self.rooms.get_mut(&id)?))) else {
            return others.matches.end_matches(others.cx, others.roster, player, why);
        };
        if room.host() != player {
            room.remove(player);
            others.matches.end_matches(others.cx, others.roster, player, why);
            if self.is_inhabited(others, id) {
                self.publish(others, id);
            } else {
                // Its host was out of our sight already.
                self.close_room(others, id, player, RoomEnd::HostLost);
            }
            return;
        }
        let migrate = room.setup.options.migrate && self.is_inhabited(others, id);
        if migrate && why == MatchEnd::Gone {
            return self.suspect(others, id, None);
        }
        if migrate && self.hand_over(others, id, None) {
            return;
        }
        let reason = if why == MatchEnd::Left { RoomEnd::Closed } else { RoomEnd::HostLost };
        self.close_room(others, id, player, reason);
        others.matches.end_matches(others.cx, others.roster, player, why);
    }

    /// The player has turned to another room, or enters this one anew: its place in the former one is free at once.
    pub(super) fn leave_former(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let former = others.roster.room_of(player).and_then(|id| self.rooms.get(&id));
        let hosts = former.is_some_and(|room| room.host() == player);
        self.leave_room(others, player, if hosts { MatchEnd::Left } else { MatchEnd::Gone });
    }

    /// Ends a room for all who are in it. `host`, if it is the one who ends it, is told nothing.
    pub(super) fn close_room(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        host: impl Into<Option<PlayerId>>,
        reason: RoomEnd,
    ) {
        let host = host.into();
        let Some(room) = self.rooms.get(&id) else { return };
        tracing::info!(room = %room.setup.options.name, game = %room.setup.game, %reason, "room closed");
        let inside: Vec<PlayerId> = room.inside().collect();
        let absent = room.host();
        self.release(others, id);
        if Some(absent) != host {
            others.matches.end_matches(others.cx, others.roster, absent, MatchEnd::Gone);
        }
        for member in inside.into_iter().filter(|member| Some(*member) != host) {
            if others.roster.room_of(member) != Some(id) {
                continue;
            }
            let present = others.roster.is_present(member, id);
            self.part(others, member);
            if present {
                others.tell(member, ToPlayer::RoomEnded { room: id, reason: reason.clone() });
            }
        }
        self.abandon_asks(others, id);
        self.abandon_check(others, id);
        self.abandon_loss(others, id);
    }

    /// The host puts a member out.
    pub(super) fn put_out(&mut self, others: &mut Others<'_>, id: RoomId, member: PlayerId, reason: String) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.remove(member);
        self.part(others, member);
        let ended = RoomEnd::Kicked { reason };
        others.tell(member, ToPlayer::RoomEnded { room: id, reason: ended });
        others.matches.end_kicked_matches(others.cx, others.roster, member);
        self.publish(others, id);
    }

    /// A player that was in this room has logged in anew: its place is kept for a while, if the room is one of its game.
    pub(crate) fn keep_place(&mut self, others: &mut Others<'_>, player: PlayerId, room: RoomId, game: &str) {
        if self.rooms.get(&room).is_some_and(|room| room.host() == player) {
            // A new session says anew what its room is to do.
            self.end_backfill(others, room);
        }
        if self.rooms.get(&room).is_some_and(|room| room.setup.game == game) {
            self.keep_stale(others, player, room);
        } else {
            self.leave_room(others, player, MatchEnd::Left);
        }
    }

    /// A session is over: on purpose, or not.
    pub(crate) fn end_session(&mut self, others: &mut Others<'_>, id: SessionId, why: MatchEnd) {
        let Some(player) = others.roster.player_of(id) else { return };
        if others.roster.session_of(player) == Some(id) {
            self.gone_from_party(others, player);
            self.out_of_line(others, player);
            if let Ok(room) = self.hosted_room(others, player) {
                self.end_backfill(others, room);
            }
            self.leave_room(others, player, why);
            others.roster.forget_player(player);
            self.note_place(others, player, false);
            others.matches.forget_kept_of(player);
            others.cx.timers.set(Timer::Stale(player), None);
        }
        self.stop_watching(id);
        others.roster.forget_client(others.cx, id);
    }
}
