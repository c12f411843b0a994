//! Sessions whose address changes: the new one is proven before anything goes there.

use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Frame, MatchEnd, RoomEnd, ToPlayer};

use super::keeping::KeptMatches;
use super::session::{Client, Player};
use super::{Route, Server, Timer};

/// How long what comes by the way that a session has left for a stream, or a stream for it, is still as good.
const LEFT: Duration = Duration::from_secs(1);

pub(super) struct Challenge {
    pub(super) token: [u8; 16],
    pub(super) route: Route,
    pub(super) sent: Instant,
}

impl Server {
    /// The first sealed datagram of a session: the player is in, and its older session is over.
    pub(super) fn confirm(&mut self, now: Instant, id: u64) {
        let Some(client) = self.sessions.get(&id) else { return };
        let (player, game) = (client.player, client.login.game.clone());
        self.counters.logins += 1;
        tracing::info!(%player, game, "logged in");
        let mut room = None;
        // Whoever still wants to play asks again in the new session.
        let _ = self.leave_queue(now, player);
        if let Some(old) = self.players.remove(&player) {
            room = old.room;
            if let Some(client) = self.sessions.get_mut(&old.session) {
                if let Some(room) = old.room {
                    let _ = client.session.send(now, ToPlayer::RoomEnded { room, reason: RoomEnd::Replaced });
                }
                let reason = String::from("this player logged in from another place");
                client.session.send_once(now, &Frame::Goodbye { reason, stay_away: true });
                self.flush(old.session);
                self.forget_client(old.session);
            }
        }
        let state =
            Player { session: id, room, stale: room.is_some(), busy: None, kept: KeptMatches::default() };
        self.players.insert(player, state);
        if let Some(room) = room {
            if self.rooms.get(&room).is_some_and(|room| room.game == game) {
                self.timers.set(Timer::Stale(player), Some(now + self.config.session_timeout));
            } else {
                self.leave_room(now, player, MatchEnd::Left);
            }
        }
    }

    /// The session has just gone from this way to another: what was on its way there does not bring it back.
    pub(super) fn was_left(&self, now: Instant, client: &Client, route: Route) -> bool {
        client.former.is_some_and(|(former, until)| now < until && self.same_way(former, route))
    }

    /// An authentic datagram came by another way than the last ones: have it proven first.
    pub(super) fn notice_address(&mut self, now: Instant, id: u64, route: Route) {
        let Some(client) = self.sessions.get(&id) else { return };
        if client.route == route || self.was_left(now, client, route) {
            return;
        }
        let proven = self.same_way(client.route, route);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if proven {
            // The player turned to another of our sockets; its address is proven.
            client.route = route;
            self.census.turn(id, (route.socket, route.peer));
            return;
        }
        let again = Duration::from_millis(200);
        if client
            .challenge
            .as_ref()
            .is_some_and(|open| open.route == route && now.saturating_duration_since(open.sent) < again)
        {
            return;
        }
        let token = match &client.challenge {
            Some(open) if open.route == route => open.token,
            _ => {
                let mut token = [0; 16];
                self.rng.fill_bytes(&mut token);
                token
            }
        };
        client.challenge = Some(Challenge { token, route, sent: now });
        if let Some(datagram) = client.session.seal(now, Kind::Control, &Frame::PathChallenge { token }) {
            self.transmit(route, datagram);
        }
    }

    pub(super) fn path_response(&mut self, now: Instant, id: u64, route: Route, token: [u8; 16]) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let proven = client.challenge.as_ref().is_some_and(|open| open.token == token && open.route == route);
        if !proven {
            self.counters.dropped += 1;
            return;
        }
        client.challenge = None;
        if !self.census.may_turn(id, route.peer.ip(), &self.config.places()) {
            // That address has its share of sessions: this one stays where it was.
            self.counters.limited += 1;
            return;
        }
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let (former, player) = (client.route, client.player);
        let old = former.peer;
        client.route = route;
        client.session.heard(now);
        let (from_stream, to_stream) = (self.is_stream(former), self.is_stream(route));
        if let Some(client) = self.sessions.get_mut(&id) {
            client.former = (from_stream != to_stream).then(|| (former, now + LEFT));
        }
        self.census.turn(id, (route.socket, route.peer));
        tracing::debug!(%player, address = %route.peer, "address moved");
        self.pong(now, id, 0);
        if old.ip() != route.peer.ip() {
            self.forget_mapped_port(now, id);
        }
        self.tell_public(now, player);
    }
}
