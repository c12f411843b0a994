//! Entering a room: the server lets in by itself, or asks the host.

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{JoinId, PlayerId, RoomId};
use traversal_core::text;
use traversal_core::wire::message::{
    PlayerInfo, RequestError, Response, RoomEnd, RoomTarget, ToPlayer, Topic, checked_password,
};

use super::wishes::{Entry, JoinWish, Pending, Search, Waiting};
use super::{Others, Rooms};
use crate::ids::Asker;
use crate::limits::is_full;
use crate::registry::RegistryOperation;
use crate::room::Room;
use crate::server::timers::Timer;

/// So many players may wait for one host's answer.
const ASKS_PER_ROOM: usize = 64;
/// So many of them may be of one address (see [`nested`](crate::limits::nested)): a household asks at once, and leaves
/// room for others.
const ASKS_PER_ADDRESS: usize = 8;

/// This is a player that waits for the host's word.
#[derive(Debug)]
pub(super) struct Ask {
    entry: Entry,
}

impl Rooms {
    /// Looks for the room that a player wants to enter.
    pub(super) fn join(
        &mut self,
        others: &mut Others<'_>,
        wish: JoinWish,
        target: RoomTarget,
    ) -> Result<Option<Response>, RequestError> {
        let password = checked_password(wish.password)?;
        let (wish, target) = (JoinWish { password, ..wish }, target.checked()?);
        others.roster.may_seek_room(wish.asker.player)?;
        let client = others.roster.client(wish.asker.session).ok_or(RequestError::NoSuchPlayer)?;
        if self.queues.has(wish.asker.player) {
            return Err(RequestError::AlreadyQueued);
        }
        let (game, from) = (String::from(client.login().game()), client.ip());
        if matches!(target, RoomTarget::Code(_)) {
            self.may_try_code(others, from)?;
        }
        others.roster.set_busy(wish.asker);
        self.search(others, Search { wish, game, target, until: None });
        Ok(None)
    }

    /// Asks the registry where a room is.
    pub(super) fn search(&mut self, others: &mut Others<'_>, search: Search) {
        let find = RegistryOperation::Find { game: search.game.clone(), target: search.target.clone() };
        self.ask_registry(others, find, Pending::Find(search));
    }

    /// The room was found here: may the player enter?
    pub(super) fn enter(&mut self, others: &mut Others<'_>, entry: Entry) {
        let asker = entry.wish.asker;
        if let Err(error) = self.try_enter(others, entry) {
            others.respond(asker, Err(error));
        }
    }

    fn try_enter(&mut self, others: &mut Others<'_>, mut entry: Entry) -> Result<(), RequestError> {
        let Asker { session, player, request } = entry.wish.asker;
        let now = others.cx.now;
        let Some(client) = others.roster.client(session) else { return Ok(()) };
        let ip = client.ip();
        if others.roster.session_of(player) != Some(session) {
            return Ok(());
        }
        let room = self
            .rooms
            .get(&entry.room)
            .filter(|room| room.is_open() && room.setup.game == client.login().game())
            .ok_or(RequestError::NoSuchRoom)?;
        if room.setup.game_protocol != client.login().game_protocol {
            return Err(RequestError::OtherVersion {
                room: room.setup.game_protocol,
                yours: client.login().game_protocol,
            });
        }
        let (inside, hosts) = (others.roster.room_of(player), room.host() == player);
        if let Some(kick) = room.kicked.of(now, player).filter(|_| !hosts) {
            return Err(RequestError::Banned { reason: kick.words.1.clone(), for_s: kick.left_s(now) });
        }
        // Whoever has its place there has shown before that it may come in.
        let same_place = entry.wish.watch.is_some() == room.is_watched_by(player);
        let back = inside == Some(entry.room) && !hosts && same_place;
        let returns = entry.known || entry.resume || entry.allowed || inside == Some(entry.room) || hosts;
        if room.setup.options.locked && !returns {
            return Err(RequestError::RoomLocked);
        }
        entry.allowed |= room.invited.get(&player).is_some_and(|until| *until > now);
        entry.allowed |= self.is_invited(others, &entry)?;
        if !back {
            self.check_password(others, &entry, ip)?;
        }
        match inside {
            Some(_) if back => {
                self.admit(others, &entry);
                return Ok(());
            }
            // Of an earlier session that is not taken up again. If it was the host of this very room, another member
            // hosts it now, or it is gone.
            Some(_) => self.leave_former(others, player),
            // Out of our sight meanwhile, and it does not come back as the host.
            None if hosts && !self.hand_over(others, entry.room, None) => {
                self.close_room(others, entry.room, player, RoomEnd::HostLost);
            }
            None => {}
        }
        let room = self.rooms.get(&entry.room).ok_or(RequestError::NoSuchRoom)?;
        if entry.wish.watch.is_some() {
            let limit = room.setup.options.spectators;
            if room.spectators.len() >= usize::from(limit) {
                return Err(RequestError::SpectatorsFull { limit });
            }
        } else if room.players() + self.queues.coming_into(entry.room)
            >= usize::from(room.setup.options.capacity)
        {
            // Seats that are kept are not asked for; others give way to who is there.
            let kept = !self.keep_seat(others, room).is_zero();
            if kept || entry.checked || !self.check(others, entry.room, false, Waiting::Join(entry)) {
                return Err(RequestError::RoomFull);
            }
            tracing::trace!(?session, ?request, "room is full: its members are asked for a sign of life");
            return Ok(());
        }
        if room.setup.options.auto_allow || entry.allowed {
            self.use_invite(&entry);
            self.admit(others, &entry);
            return Ok(());
        }
        let host = room.host();
        let of_room = self.asks.values().filter(|ask| ask.entry.room == entry.room);
        let from =
            of_room.clone().filter_map(|ask| Some(others.roster.client(ask.entry.wish.asker.session)?.ip()));
        if of_room.count() >= ASKS_PER_ROOM || is_full(ip, ASKS_PER_ADDRESS, from) {
            return Err(RequestError::Limited { retry_after_s: 5 });
        }
        let name = others.roster.name_of(session);
        let join = JoinId(others.cx.rng.next_u64());
        let info = PlayerInfo { id: player, name };
        self.asks.insert(join, Ask { entry });
        others.cx.timers.set(Timer::Ask(join), Some(now + others.cx.config.join_answer_timeout));
        others.tell(host, ToPlayer::JoinRequest { join, player: info });
        Ok(())
    }

    /// The host lets a player in, or does not.
    pub(crate) fn handle_join_answer(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
        join: JoinId,
        allow: bool,
        reason: String,
    ) {
        let Some(ask) = self.asks.get(&join) else { return };
        if self.rooms.get(&ask.entry.room).is_none_or(|room| room.host() != host) {
            return;
        }
        let Some(Ask { entry }) = self.asks.remove(&join) else { return };
        others.cx.timers.set(Timer::Ask(join), None);
        if allow {
            self.enter(others, Entry { allowed: true, ..entry });
        } else {
            let refused = RequestError::Refused { reason: text::REASON.clean(&reason) };
            others.respond(entry.wish.asker, Err(refused));
        }
    }

    /// The host has not answered in time.
    pub(crate) fn ask_timeout(&mut self, others: &mut Others<'_>, join: JoinId) {
        if let Some(Ask { entry }) = self.asks.remove(&join) {
            if let Some(host) = self.rooms.get(&entry.room).map(Room::host) {
                others.roster.untell(host, Topic::Join(join));
            }
            others.respond(entry.wish.asker, Err(RequestError::HostSilent));
        }
    }

    /// The room has another host: it is asked what the former one did not answer.
    pub(super) fn ask_again(&mut self, others: &mut Others<'_>, room: RoomId) {
        let Some(host) = self.rooms.get(&room).map(Room::host) else { return };
        let open: Vec<(JoinId, Asker)> = self
            .asks
            .iter()
            .filter(|(_, ask)| ask.entry.room == room)
            .map(|(join, ask)| (*join, ask.entry.wish.asker))
            .collect();
        for (join, asker) in open {
            let player = PlayerInfo { id: asker.player, name: others.roster.name_of(asker.session) };
            others
                .cx
                .timers
                .set(Timer::Ask(join), Some(others.cx.now + others.cx.config.join_answer_timeout));
            others.tell(host, ToPlayer::JoinRequest { join, player });
        }
    }

    /// The room is gone: nobody waits for its host any more.
    pub(super) fn abandon_asks(&mut self, others: &mut Others<'_>, room: RoomId) {
        let open: Vec<JoinId> =
            self.asks.iter().filter(|(_, ask)| ask.entry.room == room).map(|(join, _)| *join).collect();
        for join in open {
            others.cx.timers.set(Timer::Ask(join), None);
            if let Some(Ask { entry }) = self.asks.remove(&join) {
                others.respond(entry.wish.asker, Err(RequestError::NoSuchRoom));
            }
        }
    }
}
