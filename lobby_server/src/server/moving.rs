//! Sessions whose address changes: the new one is proven before anything goes there.

use std::time::{Duration, Instant};

use traversal_core::text;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Farewell, Frame, MatchEnd, RoomEnd, ToPlayer};
use traversal_core::wire::secret::{CODE, same};

use super::keeping::KeptMatches;
use super::session::{Client, Player};
use super::{Route, Server, Timer};

/// How long relayed datagrams that come by the way that a session has left for a stream, or a stream for it, are still taken;
/// two answers of a far player.
const LEFT: Duration = Duration::from_secs(1);

/// What proves the address of a session, and that in the other family.
const SESSION: &[u8] = b"session";
pub(super) const OTHER_FAMILY: &[u8] = b"other family";
/// Between two challenges to one address. It bounds what is sent there, and waits for nothing: the token stays the same.
const CHALLENGE_AGAIN: Duration = Duration::from_millis(200);
/// A challenge may be answered for one to two of these.
const PATH_EPOCH: Duration = Duration::from_secs(10);

/// The way that a session has left.
#[derive(Clone, Copy)]
pub(super) struct Former {
    route: Route,
    /// Until then relayed datagrams that come that way are taken.
    until: Instant,
    /// The number of the datagram that made the session move.
    moved_by: u64,
}

/// The last challenge: it is not repeated at once.
pub(super) struct Challenge {
    route: Route,
    sent: Instant,
}

impl Server {
    /// The first sealed datagram of a session: the player is in, and its older session is over. False: its token is not
    /// taken, and the session over.
    pub(super) fn confirm(&mut self, id: u64) -> bool {
        let now = self.cx.now;
        let Some(client) = self.sessions.get_mut(&id) else { return false };
        let (player, game) = (client.player, client.login.game.clone());
        if let Some(at) = client.accepted.take() {
            // The answer to our answer: the first that is known of the way.
            client.session.sample_rtt(now.saturating_duration_since(at));
        }
        let token = client.half_open.take().map(|half_open| half_open.token).unwrap_or_default();
        if let Some(check) = &self.token_check
            && let Err(reason) = check.spend(&game, player, &token)
        {
            self.cx.counters.logins_refused += 1;
            tracing::debug!(%player, reason, "token refused");
            client.session.send_once(
                now,
                &Frame::Goodbye { reason: text::REASON.clean(&reason), why: Farewell::Token },
            );
            self.flush(id);
            self.forget_client(id);
            return false;
        }
        self.cx.counters.logins += 1;
        tracing::info!(%player, game, "logged in");
        let mut room = None;
        // Whoever still wants to play asks again in the new session.
        let _ = self.leave_queue(player);
        if let Some(old) = self.players.remove(&player) {
            room = old.room;
            if let Some(client) = self.sessions.get_mut(&old.session) {
                if let Some(room) = old.room {
                    let _ = client.session.send(now, ToPlayer::RoomEnded { room, reason: RoomEnd::Replaced });
                }
                let reason = String::from("this player logged in from another place");
                client.session.send_once(now, &Frame::Goodbye { reason, why: Farewell::Replaced });
                self.flush(old.session);
                self.forget_client(old.session);
            }
        }
        let state =
            Player { session: id, room, stale: room.is_some(), busy: None, kept: KeptMatches::default() };
        self.players.insert(player, state);
        if let Some(room) = room {
            if self.rooms.get(&room).is_some_and(|room| room.game == game) {
                self.cx.timers.set(Timer::Stale(player), Some(now + self.cx.config.session_timeout));
            } else {
                self.leave_room(player, MatchEnd::Left);
            }
        }
        true
    }

    /// What has to be echoed from an address to prove it. Made of the address, so that nothing has to be kept, and nobody
    /// who causes challenges for other addresses can have a good one forgotten.
    pub(super) fn path_token(&self, id: u64, route: Route, family: &[u8], epoch: u64) -> Option<[u8; CODE]> {
        let moves = self.sessions.get(&id)?.moves;
        let address = route.peer.to_string();
        let parts = [
            &id.to_le_bytes()[..],
            address.as_bytes(),
            &[u8::from(self.cx.is_stream(route))],
            &moves.to_le_bytes(),
            &epoch.to_le_bytes(),
        ];
        self.path_key.code(family, &parts)
    }

    pub(super) fn path_epoch(&self) -> u64 {
        self.cx.uptime().as_secs() / PATH_EPOCH.as_secs()
    }

    /// Whether this was echoed in time.
    pub(super) fn proves(&self, id: u64, route: Route, family: &[u8], token: &[u8; CODE]) -> bool {
        let present = self.path_epoch();
        [present, present.saturating_sub(1)]
            .into_iter()
            .any(|epoch| self.path_token(id, route, family, epoch).is_some_and(|own| same(&own, token)))
    }

    /// The session has just gone from this way to another, so what is relayed may still come by it.
    pub(super) fn was_left(&self, client: &Client, route: Route) -> bool {
        client
            .former
            .is_some_and(|former| self.cx.now < former.until && self.cx.same_way(former.route, route))
    }

    /// The datagram that was opened last was on its way here when the session left this way: it does not bring it back, and
    /// one that was sent later does (RFC 9000 section 9.3 compares packet numbers, too).
    fn is_late(&self, client: &Client, route: Route) -> bool {
        let number = client.session.opened();
        client.former.is_some_and(|former| number < former.moved_by && self.cx.same_way(former.route, route))
    }

    /// An authentic datagram came by another way than the last ones: have it proven first.
    pub(super) fn notice_address(&mut self, id: u64, route: Route) {
        let now = self.cx.now;
        let Some(client) = self.sessions.get(&id) else { return };
        if client.route == route || self.is_late(client, route) {
            return;
        }
        let proven = self.cx.same_way(client.route, route);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if proven {
            // The player turned to another of our sockets; its address is proven.
            client.route = route;
            self.census.turn(id, (route.socket, route.peer));
            return;
        }
        if client.challenge.as_ref().is_some_and(|open| {
            open.route == route && now.saturating_duration_since(open.sent) < CHALLENGE_AGAIN
        }) {
            return;
        }
        client.challenge = Some(Challenge { route, sent: now });
        let Some(token) = self.path_token(id, route, SESSION, self.path_epoch()) else { return };
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if let Some(datagram) = client.session.seal(now, Kind::Control, &Frame::PathChallenge { token }) {
            self.cx.transmit(route, datagram);
        }
    }

    pub(super) fn path_response(&mut self, id: u64, route: Route, token: &[u8; CODE]) {
        let now = self.cx.now;
        if !self.proves(id, route, SESSION, token) {
            self.cx.counters.dropped += 1;
            return;
        }
        let Some(client) = self.sessions.get_mut(&id) else { return };
        client.challenge = None;
        client.moves = client.moves.wrapping_add(1);
        if !self.census.may_turn(id, route.peer.ip(), &self.cx.config.places()) {
            // That address has its share of sessions: this one stays where it was.
            self.cx.counters.limited += 1;
            return;
        }
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let (former, player) = (client.route, client.player);
        let old = former.peer;
        client.route = route;
        client.session.heard(now);
        let (from_stream, to_stream) = (self.cx.is_stream(former), self.cx.is_stream(route));
        if let Some(client) = self.sessions.get_mut(&id) {
            let until = now + client.session.timing().at_least(LEFT, 2);
            let moved_by = client.session.opened();
            client.former = (from_stream != to_stream).then_some(Former { route: former, until, moved_by });
        }
        self.census.turn(id, (route.socket, route.peer));
        tracing::debug!(%player, address = %route.peer, "address moved");
        self.pong(id, 0);
        if old.ip() != route.peer.ip() {
            self.forget_mapped_port(id);
        }
        self.tell_public(player);
    }
}
