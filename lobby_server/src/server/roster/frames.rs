//! What comes over sessions, and what is told to their players.

use std::net::SocketAddr;
use std::time::Duration;

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{Frame, RequestError, Response, ToPlayer, ToServer, Topic};
use traversal_core::wire::session::session_of;

use super::{Context, Roster};
use crate::ids::{Asker, SessionId};
use crate::limits::Rate;
use crate::server::refusals::Refusal;
use crate::server::sockets::Route;

impl Roster {
    /// Returns the frame in a sealed datagram, which is not taken.
    pub(crate) fn peek(&self, datagram: &[u8]) -> Option<Frame<ToServer>> {
        self.client(SessionId(session_of(datagram)?))?.session.read(datagram)
    }

    /// Opens a sealed datagram; true beside it where it is the first one of its session.
    pub(crate) fn open(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        datagram: &[u8],
    ) -> Option<(Frame<ToServer>, bool)> {
        let client = self.sessions.get_mut(&id)?;
        let frame = match client.session.open(datagram) {
            Ok(frame) => frame,
            Err(dropped) => {
                tracing::trace!(%dropped, "sealed datagram dropped");
                cx.counters.dropped += 1;
                return None;
            }
        };
        self.dirty.insert(id);
        cx.incoming.proven = Some(client.route);
        let fresh = !std::mem::replace(&mut client.confirmed, true);
        if fresh {
            self.census.confirm(id);
        }
        Some((frame, fresh))
    }

    /// Notes that the player gave a sign of life, where this way is the one it is proven to be at. Says whether it is.
    pub(crate) fn note_sign_of_life(&mut self, cx: &Context, id: SessionId, route: Route) -> bool {
        let Some(client) = self.sessions.get_mut(&id) else { return false };
        let proven = cx.same_way(client.route, route);
        if proven {
            client.session.heard(cx.now);
        }
        proven
    }

    /// Takes acknowledgements, and what is over the player's rate, out of what is to be dealt with.
    pub(crate) fn take_frame(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        frame: Frame<ToServer>,
    ) -> Option<Frame<ToServer>> {
        let client = self.sessions.get_mut(&id)?;
        if let Frame::Ack { seq, counter } = frame {
            match client.session.acknowledged(cx.now, seq, counter) {
                Err(_) => cx.counters.dropped += 1,
                Ok(()) => client.session.rtt().into_iter().for_each(|rtt| cx.timings.rtt.observe(rtt)),
            }
            return None;
        }
        if !matches!(frame, Frame::Probe(_)) && !client.frames.take(cx.config.frame_rate, cx.now) {
            cx.counters.limit(Refusal::FrameRate);
            return None;
        }
        Some(frame)
    }

    /// Returns whether this message is to be dealt with, which may cause `cost` messages to others.
    pub(crate) fn accept(&mut self, cx: &mut Context, id: SessionId, seq: u32, cost: f64) -> bool {
        let Some(client) = self.sessions.get_mut(&id) else { return false };
        if client.session.is_fresh(seq) {
            let refusal = if client.session.is_backed_up() {
                Some(Refusal::BackedUp)
            } else {
                let may = client.busy(cx.now).effects.take_many(cx.config.effect_rate, cx.now, cost);
                (!may).then_some(Refusal::EffectRate)
            };
            if let Some(refusal) = refusal {
                cx.counters.limit(refusal);
                return false;
            }
        }
        client.session.accept(cx.now, seq).unwrap_or_else(|_| {
            cx.counters.limit(Refusal::BackedUp);
            false
        })
    }

    /// Deals with a session's timer. False: it has been silent for too long, and is to end.
    pub(crate) fn keep_alive(&mut self, cx: &mut Context, id: SessionId, silence: Duration) -> bool {
        let Some(client) = self.sessions.get_mut(&id) else { return true };
        if cx.now.saturating_duration_since(client.session.last_heard()) >= silence {
            cx.counters.timeouts += 1;
            tracing::debug!(player = %client.player, "session timed out");
            if let Some(half_open) = client.busy.as_mut().and_then(|busy| busy.half_open.take()) {
                self.inits.forget(&half_open.init);
            }
            return false;
        }
        client.session.handle_timeout(cx.now);
        self.dirty.insert(id);
        true
    }

    /// Tells a player where it is seen.
    pub(crate) fn pong(&mut self, cx: &Context, id: SessionId, ping: u32) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        // Whoever only shows that it is there has nothing else going on.
        client.rest(cx.now, cx.uptime(), &cx.config);
        let pong = Frame::Pong { id: ping, observed: client.route.peer };
        client.session.send_once(cx.now, &pong);
        self.dirty.insert(id);
    }

    /// Tells a player of the other nodes.
    pub(crate) fn tell_nodes(&mut self, cx: &mut Context, id: SessionId) {
        let addresses = cx.nodes.addresses(id);
        self.tell_session(cx, id, ToPlayer::Nodes(addresses));
    }

    /// Returns sessions of players who are logged in, by their ids from this one on, at most so many.
    pub(crate) fn sessions_from(&self, first: SessionId, count: usize) -> Vec<SessionId> {
        let confirmed = self.sessions.range(first..).filter(|(_, client)| client.confirmed);
        confirmed.take(count).map(|(id, _)| *id).collect()
    }

    /// Asks the player of a session for a sign of life.
    pub(crate) fn ping(&mut self, cx: &Context, id: SessionId) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        client.next_ping = client.next_ping.wrapping_add(1);
        client.session.send_once(cx.now, &Frame::Ping { id: client.next_ping });
        self.dirty.insert(id);
    }

    /// Sends a message to a player, if it is here.
    pub(crate) fn tell(&mut self, cx: &mut Context, player: PlayerId, message: ToPlayer) {
        if let Some(session) = self.players.get(&player).map(|player| player.session) {
            self.tell_session(cx, session, message);
        }
    }

    /// Sends a message to the player of a session.
    pub(crate) fn tell_session(&mut self, cx: &mut Context, id: SessionId, message: ToPlayer) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        match &message {
            ToPlayer::MatchEnded { match_id, .. } => {
                let of_match = |topic: Topic| topic.match_id() == Some(*match_id);
                if client.session.withdraw(of_match).contains(&Topic::Plan(*match_id)) {
                    // It never heard of that match.
                    return;
                }
            }
            ToPlayer::RoomEnded { room, .. } => {
                client.session.withdraw(|topic| topic.room() == Some(*room));
            }
            _ => {}
        }
        self.dirty.insert(id);
        // Others cause most of what a player is told, so that it is too much is never held against it.
        if let Err(error) = client.session.send(cx.now, message) {
            tracing::debug!(player = %client.player, %error, "a message to a player dropped");
            cx.counters.pushes_dropped += 1;
        }
    }

    /// Sends a message to a player. False: it has not acknowledged what it was told before, and is not here, so it was not sent.
    pub(crate) fn try_tell(&mut self, cx: &mut Context, player: PlayerId, message: ToPlayer) -> bool {
        let session = self.players.get(&player).map(|player| player.session);
        let Some((id, client)) = session.and_then(|id| Some((id, self.sessions.get_mut(&id)?))) else {
            return false;
        };
        self.dirty.insert(id);
        !client.session.is_backed_up() && client.session.send(cx.now, message).is_ok()
    }

    /// Returns whether the player takes what it is told: nothing has waited for its acknowledgement for so long, nor is there
    /// too much.
    pub(crate) fn listens(&self, cx: &Context, id: SessionId, wait: Duration) -> bool {
        self.client(id).is_some_and(|client| {
            let waits = client.session.oldest_unacked(cx.now).is_some_and(|waited| waited >= wait);
            !waits && !client.session.is_backed_up()
        })
    }

    /// Drops what a player was to be told about this, and was not yet: it is of no use any more.
    pub(crate) fn untell(&mut self, player: PlayerId, about: Topic) {
        let session = self.players.get(&player).map(|player| player.session);
        if let Some(client) = session.and_then(|id| self.sessions.get_mut(&id)) {
            client.session.withdraw(|topic| topic == about);
        }
    }

    /// Answers a request.
    pub(crate) fn respond(&mut self, cx: &mut Context, asker: Asker, result: Result<Response, RequestError>) {
        if let Err(error) = &result {
            cx.counters.requests_failed += 1;
            tracing::debug!(%error, "request failed");
        }
        if let Some(client) = self.sessions.get_mut(&asker.session) {
            let busy = client.busy.as_mut();
            let wish = busy.and_then(|busy| busy.wish.take_if(|(request, _)| *request == asker.request));
            if let (Some((_, since)), Ok(_)) = (wish, &result) {
                cx.timings.join.observe(cx.now.saturating_duration_since(since));
            }
            self.is_served(asker.player, asker.request);
            self.tell_session(cx, asker.session, ToPlayer::Response { id: asker.request, result });
        }
    }

    /// Notes the addresses of a player's own interfaces, as the player says them.
    pub(crate) fn set_local_addresses(&mut self, id: SessionId, local: Vec<SocketAddr>) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        client.login.set_local(local);
    }

    /// Notes that a player asks to enter a room.
    pub(crate) fn note_wish(&mut self, cx: &Context, asker: Asker) {
        if let Some(client) = self.sessions.get_mut(&asker.session) {
            client.busy(cx.now).wish = Some((asker.request, cx.now));
        }
    }

    /// Counts a request of a player. False: it is over its rate.
    pub(crate) fn take_request(&mut self, cx: &mut Context, id: SessionId) -> bool {
        let Some(client) = self.sessions.get_mut(&id) else { return false };
        let within = client.busy(cx.now).requests.take(cx.config.request_rate, cx.now);
        if !within {
            cx.counters.limit(Refusal::RequestRate);
        }
        within
    }

    /// Counts a text that a player writes, or returns how long it is to wait.
    pub(crate) fn take_text(&mut self, cx: &Context, id: SessionId, rate: Rate) -> Result<(), Duration> {
        let Some(client) = self.sessions.get_mut(&id) else { return Err(Duration::ZERO) };
        let texts = &mut client.busy(cx.now).texts;
        if texts.take(rate, cx.now) { Ok(()) } else { Err(texts.wait(rate, cx.now)) }
    }

    /// Returns whether a player may cause this many more messages to others; they are counted if so.
    pub(crate) fn may_cause(&mut self, cx: &mut Context, player: PlayerId, messages: f64) -> bool {
        let session = self.players.get(&player).map(|player| player.session);
        let Some(client) = session.and_then(|id| self.sessions.get_mut(&id)) else { return false };
        let may = client.busy(cx.now).effects.take_many(cx.config.effect_rate, cx.now, messages);
        if !may {
            cx.counters.limit(Refusal::EffectRate);
        }
        may
    }

    /// Notes that a player has sent something to be relayed.
    pub(crate) fn note_relayed(&mut self, cx: &Context, id: SessionId) {
        if let Some(client) = self.sessions.get_mut(&id) {
            client.busy(cx.now).relayed_at = Some(cx.now);
        }
    }
}
