//! Sessions whose address changes: the new one is proven before anything goes there.

use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::wire::Kind;
use traversal_core::wire::message::Frame;
use traversal_core::wire::secret::{CODE, same};

use super::client::Client;
use super::{Context, Roster};
use crate::ids::SessionId;
use crate::server::refusals::Refusal;
use crate::server::sockets::Route;

/// Relayed datagrams that come by the way that a session has left for a stream, or a stream for it, are still taken
/// for so long; or for two answers of a far player.
const LEFT: Duration = Duration::from_secs(1);

/// This proves the address of a session, and that in the other family.
const SESSION: &[u8] = b"session";
pub(super) const OTHER_FAMILY: &[u8] = b"other family";
/// Two challenges to one address are this far apart. It bounds what is sent there, and waits for nothing: the token
/// stays the same.
const CHALLENGE_AGAIN: Duration = Duration::from_millis(200);
/// A challenge may be answered for one to two of these.
const PATH_EPOCH: Duration = Duration::from_secs(10);

/// This is the way that a session has left.
#[derive(Clone, Copy)]
pub(super) struct Former {
    route: Route,
    /// Until then relayed datagrams that come that way are taken.
    until: Instant,
    /// This is the number of the datagram that made the session move.
    moved_by: u64,
}

/// A session's address is another one.
pub(crate) struct Moved {
    pub(crate) player: PlayerId,
    /// What its router had forwarded to it belongs to the old address.
    pub(crate) unmapped: bool,
}

/// This is the last challenge, which is not repeated at once.
pub(super) struct Challenge {
    route: Route,
    sent: Instant,
}

impl Challenge {
    /// Returns whether another one may be sent to the same address.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.sent) >= CHALLENGE_AGAIN
    }
}

impl Roster {
    /// Returns what has to be echoed from an address to prove it. It is made of the address, so that nothing has to
    /// be kept, and nobody who causes challenges for other addresses can have a good one forgotten.
    pub(super) fn path_token(
        &self,
        cx: &Context,
        id: SessionId,
        route: Route,
        family: &[u8],
        epoch: u64,
    ) -> Option<[u8; CODE]> {
        let moves = self.sessions.get(&id)?.moves;
        let address = route.peer.to_string();
        let parts = [
            &id.0.to_le_bytes()[..],
            address.as_bytes(),
            &[u8::from(cx.is_stream(route))],
            &moves.to_le_bytes(),
            &epoch.to_le_bytes(),
        ];
        self.path_key.code(family, &parts)
    }

    /// Returns the number of the period that challenges are made for now.
    pub(super) fn path_epoch(&self, cx: &Context) -> u64 {
        cx.uptime().as_secs() / PATH_EPOCH.as_secs()
    }

    /// Returns whether this was echoed in time.
    pub(super) fn proves(
        &self,
        cx: &Context,
        id: SessionId,
        route: Route,
        family: &[u8],
        token: &[u8; CODE],
    ) -> bool {
        let present = self.path_epoch(cx);
        [present, present.saturating_sub(1)]
            .into_iter()
            .any(|epoch| self.path_token(cx, id, route, family, epoch).is_some_and(|own| same(&own, token)))
    }

    /// The session has just gone from this way to another, so what is relayed may still come by it.
    pub(crate) fn was_left(&self, cx: &Context, client: &Client, route: Route) -> bool {
        client.former().is_some_and(|former| cx.now < former.until && cx.same_way(former.route, route))
    }

    /// Returns whether the datagram that was opened last was on its way here when the session left this way: it does
    /// not bring it back, and one that was sent later does (RFC 9000 section 9.3 compares packet numbers, too).
    fn is_late(&self, cx: &Context, client: &Client, route: Route) -> bool {
        let number = client.session.opened();
        client.former().is_some_and(|former| number < former.moved_by && cx.same_way(former.route, route))
    }

    /// An authentic datagram came by another way than the last ones: have it proven first.
    pub(crate) fn notice_address(&mut self, cx: &mut Context, id: SessionId, route: Route) {
        let now = cx.now;
        let Some(client) = self.sessions.get(&id) else { return };
        if client.route == route || self.is_late(cx, client, route) {
            return;
        }
        let proven = cx.same_way(client.route, route);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if proven {
            // The player turned to another of our sockets; its address is proven.
            client.route = route;
            self.census.turn(id, cx.way(route));
            return;
        }
        let open = client.busy.as_ref().and_then(|busy| busy.challenge.as_ref());
        if open.is_some_and(|open| open.route == route && !open.is_over(now)) {
            return;
        }
        client.busy(now).challenge = Some(Challenge { route, sent: now });
        let Some(token) = self.path_token(cx, id, route, SESSION, self.path_epoch(cx)) else { return };
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if let Some(datagram) = client.session.seal(now, Kind::Control, &Frame::PathChallenge { token }) {
            cx.transmit(route, datagram);
        }
    }

    /// An address is proven: the session moves there, if there is room.
    pub(crate) fn path_response(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        route: Route,
        token: &[u8; CODE],
    ) -> Option<Moved> {
        let now = cx.now;
        if !self.proves(cx, id, route, SESSION, token) {
            cx.counters.dropped += 1;
            return None;
        }
        let client = self.sessions.get_mut(&id)?;
        client.busy(now).challenge = None;
        client.moves = client.moves.wrapping_add(1);
        if !self.census.may_turn(id, route.peer.ip(), &cx.config.places()) {
            // That address has its share of sessions: this one stays where it was.
            cx.counters.limit(Refusal::MoveAddressFull);
            return None;
        }
        let client = self.sessions.get_mut(&id)?;
        if self.bans.find(cx.calendar(), client.player, route.peer.ip(), client.login.game()).is_some() {
            // It stays where it was, too; its next login tells it why.
            cx.counters.limit(Refusal::LoginBanned);
            return None;
        }
        let (former, player) = (client.route, client.player);
        let old = former.peer;
        client.route = route;
        client.session.heard(now);
        let (from_stream, to_stream) = (cx.is_stream(former), cx.is_stream(route));
        if let Some(client) = self.sessions.get_mut(&id) {
            let until = now + client.session.timing().at_least(LEFT, 2);
            let moved_by = client.session.opened();
            client.busy(now).former =
                (from_stream != to_stream).then_some(Former { route: former, until, moved_by });
        }
        self.census.turn(id, cx.way(route));
        tracing::debug!(%player, address = %route.peer, "address moved");
        self.pong(cx, id, 0);
        let unmapped = old.ip() != route.peer.ip() && self.forget_mapped_port(cx, id);
        Some(Moved { player, unmapped })
    }
}
