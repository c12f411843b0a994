//! Who comes into a room and goes out of it, and the matches that follow from that.

use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{MatchId, PlayerId, RoomId};
use traversal_core::plan::PlanInForce;
use traversal_core::wire::message::{
    MatchEnd, RequestError, Response, RoomEnd, RoomInfo, ToPlayer, Topology,
};

use super::joining::JoinWish;
use super::requests::Pending;
use super::{Server, Timer};
use crate::kicked::{Kick, OUT};
use crate::matchmaking::{choose, plans};
use crate::registry::RegistryOperation;
use crate::rooms::ROOM_NEWS;

/// Who was heard within this is there: players in a room give a sign of life every 4 s.
const REMATCH_FRESH: Duration = Duration::from_secs(8);

impl Server {
    /// The player is in: the room's answer, the plans and the new list of members go out at once.
    pub(super) fn admit(&mut self, now: Instant, wish: &JoinWish) {
        let (player, id) = (wish.player, wish.room);
        let Some(info) = self.take_in(now, player, id) else { return };
        self.respond(now, wish.session, wish.request, Ok(Response::Room(info)));
        self.tell_ticket(now, id, player);
        self.tell_kicked(now, id, player);
        if !wish.resume {
            let members =
                self.rooms.get(&id).map(|room| room.members.iter().map(|member| member.id).collect());
            let members: Vec<PlayerId> = members.unwrap_or_default();
            self.match_with(now, id, player, &members);
        } else {
            self.tell_public(now, player);
            self.pair_later(now, id);
        }
        self.publish(now, id);
        let host = self.rooms.get(&id).and_then(|room| self.players.get(&room.host()));
        if host.is_none_or(|host| host.room != Some(id)) {
            // It is waited for no longer than it takes to ask the others.
            self.suspect(now, id, None);
        }
    }

    /// Puts a player on the list of members.
    pub(super) fn take_in(&mut self, _: Instant, player: PlayerId, id: RoomId) -> Option<RoomInfo> {
        let party = self.party(player)?;
        let room = self.rooms.get_mut(&id)?;
        if !room.has(player) {
            room.members.push(party.info);
        }
        let info = room.info();
        if let Some(state) = self.players.get_mut(&player) {
            state.room = Some(id);
            state.stale = false;
        }
        self.timers.set(Timer::Stale(player), None);
        Some(info)
    }

    /// Matches a player who comes in with the host; in a mesh, with all of these members.
    pub(super) fn match_with(&mut self, now: Instant, id: RoomId, player: PlayerId, members: &[PlayerId]) {
        let Some(room) = self.rooms.get(&id) else { return };
        let (host, mesh) = (room.host(), room.topology == Topology::Mesh);
        for other in members.iter().filter(|other| **other != player && (mesh || **other == host)) {
            self.begin_match(now, *other, player, *other != host);
        }
    }

    /// In a mesh: two members have no connection (any more), and the later one of them wants one.
    pub(super) fn rematch(
        &mut self,
        now: Instant,
        player: PlayerId,
        other: PlayerId,
    ) -> Result<Response, RequestError> {
        let present = |player: PlayerId| {
            let state = self.players.get(&player).filter(|state| !state.stale)?;
            Some((state.room?, self.sessions.get(&state.session)?.session.last_heard()))
        };
        let (room, _) = present(player).ok_or(RequestError::NotInRoom)?;
        let there = present(other).filter(|(of, heard)| {
            *of == room && other != player && now.saturating_duration_since(*heard) < REMATCH_FRESH
        });
        let of = self.rooms.get(&room).ok_or(RequestError::NotInRoom)?;
        if there.is_none() {
            return Err(RequestError::NoSuchPlayer);
        }
        // Whose channel to the host is lost leaves the room and may join again.
        if of.topology != Topology::Mesh || [player, other].contains(&of.host()) {
            return Err(RequestError::Malformed { what: "request".into() });
        }
        self.begin_match(now, other, player, true);
        Ok(Response::Done)
    }

    /// Brings two players together; `host` hosts the room, or was there first in a pair of a mesh.
    pub(super) fn begin_match(&mut self, now: Instant, host: PlayerId, joiner: PlayerId, mesh: bool) {
        let (Some(of_host), Some(of_joiner)) = (self.party(host), self.party(joiner)) else { return };
        let id = MatchId(self.rng.next_u64());
        let mut secret = [0; 32];
        self.rng.fill_bytes(&mut secret);
        let chosen = choose(&of_host, &of_joiner);
        let plan = PlanInForce::new(&chosen, [of_joiner.nat, of_host.nat]);
        for old in self.matches.begin(id, (host, joiner), plan) {
            self.relay.end(old);
            self.sprays.end(now, old);
            self.tell(now, host, ToPlayer::MatchEnded { match_id: old, reason: MatchEnd::Replaced });
        }
        let relay = self.grant_relay(now, id, [host, joiner]);
        let (mut for_host, mut for_joiner) =
            plans(id, secret, (&of_host, &of_joiner), &chosen, relay, &self.config.policy());
        let room = self.players.get(&joiner).and_then(|joiner| joiner.room);
        let epoch = room.and_then(|room| self.rooms.get(&room)).map_or(0, |room| room.epoch);
        (for_host.epoch, for_joiner.epoch) = (epoch, epoch);
        (for_host.mesh, for_joiner.mesh) = (mesh, mesh);
        self.counters.matches += 1;
        tracing::debug!(host = %host, joiner = %joiner, same_nat = for_host.same_nat, "match begins");
        self.plan_spray(now, (id, 0), [host, joiner], chosen.methods.first().copied());
        self.tell(now, joiner, ToPlayer::Plan(Box::new(for_joiner)));
        self.tell(now, host, ToPlayer::Plan(Box::new(for_host)));
    }

    /// More is known about a player's NAT: its matches without a direct path get better plans.
    pub(super) fn replan(&mut self, now: Instant, player: PlayerId) {
        for (id, [host, joiner]) in self.matches.unsettled(player) {
            let (Some(of_host), Some(of_joiner)) = (self.party(host), self.party(joiner)) else { continue };
            let (chosen, nats) = (choose(&of_host, &of_joiner), [of_joiner.nat, of_host.nat]);
            if let Some(plan) = self.matches.learn(id, &chosen, nats) {
                self.tell_replan(now, id, (host, &of_host), (joiner, &of_joiner), &plan);
            }
        }
    }

    /// Tells all members who is inside, and the registry the new numbers: at once, or where players come and go faster
    /// than that is of use, some of these changes at a time.
    pub(super) fn publish(&mut self, now: Instant, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.revision += 1;
        if room.news.take(ROOM_NEWS, now) {
            self.tell_members(now, id);
        } else if !self.timers.is_set(Timer::News(id)) {
            self.timers.set(Timer::News(id), Some(now + Duration::from_secs_f64(1.0 / ROOM_NEWS.per_second)));
        }
    }

    pub(super) fn tell_members(&mut self, now: Instant, id: RoomId) {
        self.timers.set(Timer::News(id), None);
        let Some(room) = self.rooms.get(&id) else { return };
        let snapshot = room.snapshot();
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        for member in members {
            for part in &snapshot {
                self.tell(now, member, part.clone());
            }
        }
        self.update_record(now, id);
    }

    pub(super) fn update_record(&mut self, now: Instant, id: RoomId) {
        if let Some(record) = self.rooms.get(&id).map(|room| room.record(self.config.node)) {
            self.ask_registry(now, RegistryOperation::Update(record), Pending::Nothing);
        }
    }

    /// Forgets a room, here and in the registry.
    pub(super) fn release(&mut self, now: Instant, id: RoomId) {
        let Some(room) = self.rooms.remove(&id) else { return };
        self.timers.set(Timer::News(id), None);
        self.timers.set(Timer::Guesses(id), None);
        self.timers.set(Timer::Pairs(id), None);
        let location = room.location(self.config.node);
        let release = RegistryOperation::Release { game: room.game, location, name: room.name };
        self.ask_registry(now, release, Pending::Nothing);
    }

    /// The player is in its room no longer, and its matches are over. A host gives the room to another member, or takes
    /// it along. One that is only out of our sight keeps it until the members say that it is lost.
    pub(super) fn leave_room(&mut self, now: Instant, player: PlayerId, why: MatchEnd) {
        let Some(state) = self.players.get_mut(&player) else { return };
        state.stale = false;
        let left = state.room.take();
        self.timers.set(Timer::Stale(player), None);
        let Some((id, room)) = left.and_then(|id| Some((id, self.rooms.get_mut(&id)?))) else {
            return self.end_matches(now, player, why);
        };
        if room.host() != player {
            room.members.retain(|member| member.id != player);
            self.end_matches(now, player, why);
            if self.is_inhabited(id) {
                self.publish(now, id);
            } else {
                // Its host was out of our sight already.
                self.close_room(now, id, player, RoomEnd::HostLost);
            }
            return;
        }
        let migrate = room.migrate && self.is_inhabited(id);
        if migrate && why == MatchEnd::Gone {
            return self.suspect(now, id, None);
        }
        if migrate && self.hand_over(now, id, None) {
            return;
        }
        let reason = if why == MatchEnd::Left { RoomEnd::Closed } else { RoomEnd::HostLost };
        self.close_room(now, id, player, reason);
        self.end_matches(now, player, why);
    }

    /// The player has turned to another room, or enters this one anew: its place in the former one is free at once.
    pub(super) fn leave_former(&mut self, now: Instant, player: PlayerId) {
        let former = self.players.get(&player).and_then(|state| self.rooms.get(&state.room?));
        let hosts = former.is_some_and(|room| room.host() == player);
        self.leave_room(now, player, if hosts { MatchEnd::Left } else { MatchEnd::Gone });
    }

    pub(super) fn close_room(&mut self, now: Instant, id: RoomId, host: PlayerId, reason: RoomEnd) {
        let Some(room) = self.rooms.get(&id) else { return };
        tracing::info!(room = %room.name, game = %room.game, %reason, "room closed");
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        let absent = room.host();
        self.release(now, id);
        if absent != host {
            self.end_matches(now, absent, MatchEnd::Gone);
        }
        for member in members.into_iter().filter(|member| *member != host) {
            let Some(state) = self.players.get_mut(&member) else { continue };
            if state.room != Some(id) {
                continue;
            }
            state.room = None;
            let stale = std::mem::take(&mut state.stale);
            self.timers.set(Timer::Stale(member), None);
            if !stale {
                self.tell(now, member, ToPlayer::RoomEnded { room: id, reason: reason.clone() });
            }
        }
        self.abandon_asks(now, id);
        self.abandon_check(now, id);
        self.abandon_loss(id);
    }

    /// The host puts a member out.
    pub(super) fn put_out(&mut self, now: Instant, id: RoomId, member: PlayerId, reason: String) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.members.retain(|other| other.id != member);
        if let Some(state) = self.players.get_mut(&member) {
            state.room = None;
            state.stale = false;
        }
        self.timers.set(Timer::Stale(member), None);
        let ended = RoomEnd::Kicked { reason };
        self.tell(now, member, ToPlayer::RoomEnded { room: id, reason: ended });
        for (match_id, peer) in self.matches.of(member) {
            self.matches.end(match_id);
            self.sprays.end(now, match_id);
            self.relay.end(match_id);
            for player in [member, peer] {
                self.tell(now, player, ToPlayer::MatchEnded { match_id, reason: MatchEnd::Kicked });
            }
        }
        self.publish(now, id);
    }

    /// Who was put out does not come back, with its ticket neither: the others get newer ones.
    pub(super) fn keep_out(&mut self, now: Instant, id: RoomId, player: PlayerId) {
        let until_s = self.time_of_day(now).map_or(u64::MAX, |seconds| seconds + OUT.as_secs());
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.kicked.insert(now, player, Kick { until: now + OUT, until_s });
        room.generation = room.generation.saturating_add(1);
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        for member in members {
            self.tell_ticket(now, id, member);
            self.tell_kick_notes(now, id, member, &[(player, until_s)]);
        }
    }

    /// Ends all matches of a player and tells the others.
    pub(super) fn end_matches(&mut self, now: Instant, player: PlayerId, why: MatchEnd) {
        for (match_id, peer) in self.matches.of(player) {
            self.matches.end(match_id);
            self.sprays.end(now, match_id);
            self.relay.end(match_id);
            self.tell(now, peer, ToPlayer::MatchEnded { match_id, reason: why });
        }
    }
}
