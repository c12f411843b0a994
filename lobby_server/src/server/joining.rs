//! Entering a room: the server lets in by itself, or asks the host.

use rand_chacha::rand_core::RngCore;
use traversal_core::Secret;
use traversal_core::id::{JoinId, PlayerId, RequestId, RoomId};
use traversal_core::text;
use traversal_core::wire::message::{
    PlayerInfo, RequestError, Response, RoomEnd, RoomTarget, ToPlayer, Topic, checked_password,
};

use super::liveness::Waiting;
use super::requests::Pending;
use super::{Server, Timer};
use crate::limits::is_full;
use crate::registry::RegistryOperation;
use crate::rooms::Room;

/// Players that may wait for one host's answer.
const ASKS_PER_ROOM: usize = 64;
/// Those of one address (see [`nested`](crate::limits::nested)): a household asks at once, and leaves room for others.
const ASKS_PER_ADDRESS: usize = 8;

/// Someone wants to enter a room.
#[derive(Debug)]
pub(super) struct JoinWish {
    pub(super) session: u64,
    pub(super) player: PlayerId,
    pub(super) request: RequestId,
    pub(super) room: RoomId,
    pub(super) password: Option<Secret<String>>,
    pub(super) resume: bool,
    /// The members of the full room were asked already.
    pub(super) checked: bool,
    /// The host said yes.
    pub(super) allowed: bool,
}

/// A wish that waits for the host.
#[derive(Debug)]
pub(super) struct Ask {
    wish: JoinWish,
}

impl Server {
    pub(super) fn join(
        &mut self,
        wish: JoinWish,
        target: RoomTarget,
    ) -> Result<Option<Response>, RequestError> {
        let password = checked_password(wish.password)?;
        let (wish, target) = (JoinWish { password, ..wish }, target.checked()?);
        self.roster.may_seek_room(wish.player)?;
        let client = self.roster.client(wish.session).ok_or(RequestError::NoSuchPlayer)?;
        if self.queues.has(wish.player) {
            return Err(RequestError::AlreadyQueued);
        }
        let (game, from) = (client.login().game.clone(), client.ip());
        if matches!(target, RoomTarget::Code(_)) {
            self.may_try_code(from)?;
        }
        self.roster.set_busy(wish.player, wish.request);
        let find = RegistryOperation::Find { game, target };
        self.ask_registry(find, Pending::Find(wish));
        Ok(None)
    }

    /// The room was found here: may the player enter?
    pub(super) fn enter(&mut self, wish: JoinWish) {
        let (session, request) = (wish.session, wish.request);
        if let Err(error) = self.try_enter(wish) {
            self.roster.respond(&mut self.cx, session, request, Err(error));
        }
    }

    fn try_enter(&mut self, wish: JoinWish) -> Result<(), RequestError> {
        let now = self.cx.now;
        let Some(client) = self.roster.client(wish.session) else { return Ok(()) };
        let ip = client.ip();
        if self.roster.session_of(wish.player) != Some(wish.session) {
            return Ok(());
        }
        let room = self
            .rooms
            .get(&wish.room)
            .filter(|room| room.claimed && room.game == client.login().game)
            .ok_or(RequestError::NoSuchRoom)?;
        if room.game_protocol != client.login().game_protocol {
            return Err(RequestError::OtherVersion {
                room: room.game_protocol,
                yours: client.login().game_protocol,
            });
        }
        let (inside, hosts) = (self.roster.room_of(wish.player), room.host() == wish.player);
        if room.kicked.has(now, wish.player) && !hosts {
            return Err(RequestError::Refused { reason: "the host put you out".into() });
        }
        self.check_password(&wish, ip)?;
        match inside {
            Some(inside) if inside == wish.room && !hosts => {
                self.admit(&wish);
                return Ok(());
            }
            // Of an earlier session that is not taken up again. If it was the host of this very room, another member
            // hosts it now, or it is gone.
            Some(_) => self.leave_former(wish.player),
            // Out of our sight meanwhile, and it does not come back as the host.
            None if hosts && !self.hand_over(wish.room, None) => {
                self.close_room(wish.room, wish.player, RoomEnd::HostLost);
            }
            None => {}
        }
        let room = self.rooms.get(&wish.room).ok_or(RequestError::NoSuchRoom)?;
        if room.is_full() {
            let (session, request, checked) = (wish.session, wish.request, wish.checked);
            if checked || !self.check(wish.room, false, Waiting::Join(wish)) {
                return Err(RequestError::RoomFull);
            }
            tracing::trace!(session, ?request, "room is full: its members are asked for a sign of life");
            return Ok(());
        }
        if room.auto_allow || wish.allowed {
            self.admit(&wish);
            return Ok(());
        }
        let host = room.host();
        let of_room = self.asks.values().filter(|ask| ask.wish.room == wish.room);
        let from = of_room.clone().filter_map(|ask| Some(self.roster.client(ask.wish.session)?.ip()));
        if of_room.count() >= ASKS_PER_ROOM || is_full(ip, ASKS_PER_ADDRESS, from) {
            return Err(RequestError::Limited { retry_after_s: 5 });
        }
        let name = self.roster.name_of(wish.session);
        let join = JoinId(self.cx.rng.next_u64());
        let player = PlayerInfo { id: wish.player, name };
        self.asks.insert(join, Ask { wish });
        self.cx.timers.set(Timer::Ask(join), Some(now + self.cx.config.join_answer_timeout));
        self.roster.tell(&mut self.cx, host, ToPlayer::JoinRequest { join, player });
        Ok(())
    }

    pub(super) fn handle_join_answer(&mut self, host: PlayerId, join: JoinId, allow: bool, reason: String) {
        let Some(ask) = self.asks.get(&join) else { return };
        if self.rooms.get(&ask.wish.room).is_none_or(|room| room.host() != host) {
            return;
        }
        let Some(Ask { wish }) = self.asks.remove(&join) else { return };
        self.cx.timers.set(Timer::Ask(join), None);
        if allow {
            self.enter(JoinWish { allowed: true, ..wish });
        } else {
            let refused = RequestError::Refused { reason: text::REASON.clean(&reason) };
            self.roster.respond(&mut self.cx, wish.session, wish.request, Err(refused));
        }
    }

    pub(super) fn ask_timeout(&mut self, join: JoinId) {
        if let Some(Ask { wish }) = self.asks.remove(&join) {
            if let Some(host) = self.rooms.get(&wish.room).map(Room::host) {
                self.roster.untell(host, Topic::Join(join));
            }
            self.roster.respond(&mut self.cx, wish.session, wish.request, Err(RequestError::HostSilent));
        }
    }

    /// The room has another host: it is asked what the former one did not answer.
    pub(super) fn ask_again(&mut self, room: RoomId) {
        let Some(host) = self.rooms.get(&room).map(Room::host) else { return };
        let open: Vec<(JoinId, u64, PlayerId)> = self
            .asks
            .iter()
            .filter(|(_, ask)| ask.wish.room == room)
            .map(|(join, ask)| (*join, ask.wish.session, ask.wish.player))
            .collect();
        for (join, session, id) in open {
            let player = PlayerInfo { id, name: self.roster.name_of(session) };
            self.cx.timers.set(Timer::Ask(join), Some(self.cx.now + self.cx.config.join_answer_timeout));
            self.roster.tell(&mut self.cx, host, ToPlayer::JoinRequest { join, player });
        }
    }

    /// The room is gone: nobody waits for its host any more.
    pub(super) fn abandon_asks(&mut self, room: RoomId) {
        let open: Vec<JoinId> =
            self.asks.iter().filter(|(_, ask)| ask.wish.room == room).map(|(join, _)| *join).collect();
        for join in open {
            self.cx.timers.set(Timer::Ask(join), None);
            if let Some(Ask { wish }) = self.asks.remove(&join) {
                self.roster.respond(&mut self.cx, wish.session, wish.request, Err(RequestError::NoSuchRoom));
            }
        }
    }
}
