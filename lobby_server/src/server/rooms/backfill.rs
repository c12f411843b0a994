//! Rooms that run and look for more players in the line of a quick match.
//!
//! The host asks -> whoever waits and suits is taken out of the line, and has its places in the room from then on -> a sign of life
//! of each -> all say yes, where they are asked -> they are in, as by any join. The wish stands: whenever a place is free, the room
//! looks again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{
    QuickMatch, QuickMatched, RequestError, RoomNews, Teams, ToPlayer, Topology,
};

use super::elsewhere::ALONE;
use super::gathering::Gathering;
use super::seats::QUIET;
use super::{Others, Rooms};
use crate::queue::{Comer, Filling, Places, QueueKey, Unit, check_wish};
use crate::room::Room;
use crate::server::refusals::Refusal;
use crate::server::timers::Timer;

/// A room whose host is not heard looks again so soon: one sign of life in 4 s may get lost.
const HOST_AGAIN: Duration = Duration::from_secs(2);

/// A room that was made of a ticket, after a restart or at another node, looks for nobody for so long: first its members come back.
const COME_BACK: Duration = Duration::from_secs(5);

fn malformed(what: &str) -> RequestError {
    RequestError::Malformed { what: what.into() }
}

/// Returns the sizes of a room's teams, as those who wait name them.
fn teams_of(room: &Room) -> Vec<u16> {
    room.setup.options.teams.iter().copied().map(u16::from).collect()
}

/// Returns the places of a room that are free for players who want this.
fn free_places(room: &Room, wanted: &QuickMatch) -> Places {
    let options = &room.setup.options;
    if options.locked || !room.is_open() || teams_of(room) != wanted.rules.teams {
        return Places::default();
    }
    let most = usize::from(options.capacity.min(wanted.players));
    let teams = room.shared.free_places(&options.teams, room.players());
    Places { all: most.saturating_sub(room.players()), teams }
}

/// Returns whether a room's host is there: nobody is called into a room that is perhaps about to end.
fn is_hosted(others: &Others<'_>, room: &Room) -> bool {
    let session = others.roster.session_of(room.host());
    let heard = session.and_then(|session| others.roster.last_heard(session));
    heard.is_some_and(|heard| others.cx.now.saturating_duration_since(heard) < QUIET)
}

/// Returns from when on a room may look, if it is not to yet.
fn looks_from(room: &Room, now: Instant) -> Option<Instant> {
    let from = room.opened_at + COME_BACK;
    (room.is_restored() && now < from).then_some(from)
}

/// Returns whether these players may come into a room, if it has places.
fn may_come(room: &Room, players: &[PlayerId], now: Instant) -> bool {
    looks_from(room, now).is_none()
        && players.iter().all(|player| room.kicked.of(now, *player).is_none() && !room.has(*player))
}

impl Rooms {
    /// The host has its room look for players who wait for this, or look no longer.
    pub(super) fn backfill(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
        id: RoomId,
        wanted: Option<QuickMatch>,
    ) -> Result<(), RequestError> {
        let Some(wanted) = wanted else {
            if self.queues.coming_into(id) > 0 {
                // Those whom it has called lose their time.
                self.count_left(others, host);
            }
            self.end_backfill(others, id);
            return Ok(());
        };
        let wanted = check_wish(wanted)?;
        let room = self.rooms.get(&id).ok_or(RequestError::NotInRoom)?;
        if room.setup.options.topology != wanted.topology {
            return Err(malformed("shape of the match (it has to be the room's)"));
        }
        if teams_of(room) != wanted.rules.teams {
            return Err(malformed("teams of the match (they have to be the room's: set those first)"));
        }
        let from = others.roster.client_of(host).map(|client| client.ip());
        if from.is_some_and(|from| !self.leave_limit.would_allow(from, others.cx.now)) {
            others.cx.counters.limit(Refusal::QueueOfAddress);
            return Err(RequestError::Limited { retry_after_s: 30 });
        }
        let key = QueueKey::of(&room.setup.game, room.setup.game_protocol, &wanted);
        let members = Self::ways_into(others, room, &wanted).ok_or(RequestError::NotInRoom)?;
        if self.queues.line_of_room(id).is_some_and(|(known, _)| *known != key) {
            self.end_backfill(others, id);
        }
        self.queues.look_for(others.cx.now, id, (key, wanted), &members);
        self.backfill_changed(others, id);
        Ok(())
    }

    /// Returns those inside to whom a player who comes in gets a connection, with the room's numbers.
    fn ways_into(others: &Others<'_>, room: &Room, wanted: &QuickMatch) -> Option<Unit> {
        let comer = |player: PlayerId, numbers: Vec<i32>| {
            let from = others.roster.client_of(player)?.ip();
            let nat = others.roster.host_candidate(others.cx, player);
            Some(Comer { player, from, nat, numbers })
        };
        let numbers = wanted.rules.numbers.iter().map(|number| number.value).collect();
        let first = comer(room.host(), numbers)?;
        let mesh = wanted.topology == Topology::Mesh;
        let guests = room.members.iter().skip(1).filter(|_| mesh);
        // Without numbers of their own the room's count for them.
        let mates = guests.filter_map(|member| comer(member.id, Vec::new())).collect();
        Some(Unit { first, mates })
    }

    /// A room looks for nobody any more: who was on the way in waits on.
    pub(super) fn end_backfill(&mut self, others: &mut Others<'_>, id: RoomId) {
        for gathering in self.queues.stop_looking(id).unwrap_or_default() {
            self.disperse(others, gathering);
        }
    }

    /// Players came into a room or went out of it, or have other teams: it may look for other ones than before.
    pub(super) fn backfill_changed(&mut self, others: &mut Others<'_>, id: RoomId) {
        let (Some(wanted), Some(room)) = (self.queues.wanted_by(id), self.rooms.get(&id)) else { return };
        let places = free_places(room, wanted);
        let Some(members) = Self::ways_into(others, room, wanted) else { return };
        for gathering in self.queues.set_places(others.cx.now, id, &members, places) {
            self.disperse(others, gathering);
        }
        self.set_look_timer(others);
        self.tell_backfill(others, id);
    }

    /// Tells the host how the search comes along, if that is another thing than before.
    pub(super) fn tell_backfill(&mut self, others: &mut Others<'_>, id: RoomId) {
        let Some(host) = self.rooms.get(&id).map(Room::host) else { return };
        if let Some((revision, status)) = self.queues.news_of_room(id) {
            let news = RoomNews::Backfill { revision, status };
            others.tell(host, ToPlayer::InRoom { room: id, news });
        }
    }

    /// Looks for players in the line for a room. Where the line belongs to another node the room goes there, with all who are
    /// inside.
    pub(super) fn look_for_players(&mut self, others: &mut Others<'_>, id: RoomId) {
        let now = others.cx.now;
        let (Some((key, since)), Some(room)) = (self.queues.line_of_room(id), self.rooms.get(&id)) else {
            return;
        };
        if let Some(from) = looks_from(room, now) {
            return self.queues.look_at_room(id, from);
        }
        if !is_hosted(others, room) {
            return self.queues.look_at_room(id, now + HOST_AGAIN);
        }
        let (rooms, gatherings, rng) = (&self.rooms, &self.gatherings, &mut others.cx.rng);
        let gathering = || loop {
            let gathering = RoomId(rng.next_u64());
            if !rooms.contains_key(&gathering) && !gatherings.contains_key(&gathering) {
                return gathering;
            }
        };
        let found = self.queues.fill_room(now, id, gathering, |players| may_come(room, players, now));
        let any = !found.is_empty();
        for filling in found {
            self.call_in(others, filling);
        }
        if any {
            self.tell_queue(others, &key);
            self.tell_backfill(others, id);
            return;
        }
        let own = Some(others.cx.config.node);
        let owner = others.cx.nodes.owner(own, &key.bytes()).map(|site| site.addresses.clone());
        let Some(addresses) = owner.filter(|addresses| !addresses.is_empty()) else { return };
        if now < since + ALONE {
            self.queues.look_at_room(id, since + ALONE);
        } else if self.queues.coming_into(id) == 0 {
            self.move_out(others, id, &addresses);
        }
    }

    /// Takes a player, and its party, out of the line into a room that looks for such. `gathering` is an id that is free. False:
    /// there is none.
    pub(super) fn find_running_room(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        gathering: RoomId,
    ) -> bool {
        let (now, rooms, silent) = (others.cx.now, &self.rooms, Cell::new(None));
        let may = |id: RoomId, players: &[PlayerId]| {
            let room = rooms.get(&id).filter(|room| may_come(room, players, now));
            let hosted = room.is_some_and(|room| is_hosted(others, room));
            if room.is_some() && !hosted {
                silent.set(Some(id));
            }
            hosted
        };
        let found = self.queues.find_room(now, player, gathering, may);
        if let Some(room) = silent.get() {
            self.queues.look_at_room(room, now + HOST_AGAIN);
        }
        let Some(filling) = found else { return false };
        let room = filling.room;
        self.call_in(others, filling);
        self.tell_backfill(others, room);
        true
    }

    fn call_in(&mut self, others: &mut Others<'_>, filling: Filling) {
        let Filling { key, room, gathering, players, teams } = filling;
        self.begin_gathering(others, gathering, (key, players, Vec::new()), Some((room, teams)));
    }

    /// Players for whom a room has looked are there, and have said yes: they are in it.
    pub(super) fn come_in(&mut self, others: &mut Others<'_>, gathering: RoomId) {
        let now = others.cx.now;
        let Some(Gathering { key, players, into: Some((id, teams)), .. }) =
            self.gatherings.remove(&gathering)
        else {
            return;
        };
        others.cx.timers.set(Timer::Gathering(gathering), None);
        self.queues.free_up(now, id, gathering);
        let mut info = None;
        for (index, player) in players.iter().enumerate() {
            self.queues.matched(now, *player);
            self.party_is_matched(others, *player);
            info = self.take_in(others, *player, id).or(info);
            if let Some(Room { shared, setup, .. }) = self.rooms.get_mut(&id) {
                shared.came_in(*player);
                if let Some(team) = teams.get(index) {
                    shared.put_into_team(*player, *team, &setup.options.teams);
                }
            }
        }
        let (Some(info), Some(room)) = (info, self.rooms.get(&id)) else { return };
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        let teams = room.shared.teams(info.teams.len(), &room.members);
        others.cx.counters.backfilled += players.len() as u64;
        tracing::info!(mode = key.wanted.mode, players = players.len(), game = %key.game, "players for a running room");
        for player in &players {
            let matched = QuickMatched { room: info.clone(), wanted: key.wanted.without_rules() };
            others.tell(*player, ToPlayer::QuickMatched(Box::new(matched)));
            self.tell_ticket(others, id, *player);
            self.tell_kicked(others, id, *player);
            self.tell_shared(others, id, *player);
        }
        if !teams.is_empty() {
            for member in &members {
                others.tell(*member, ToPlayer::Teams(Teams { room: id, teams: teams.clone() }));
            }
        }
        for player in &players {
            // Two of them get one connection.
            let before = members.iter().position(|member| member == player).unwrap_or(0);
            self.match_with(others, id, *player, &members[..before]);
        }
        self.publish(others, id);
        self.spread(others, id);
    }
}
