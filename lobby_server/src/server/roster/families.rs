//! Players with IPv4 and IPv6: the address in the family that the session does not run over.

use std::net::SocketAddr;
use std::time::Duration;

use traversal_core::id::PlayerId;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Frame, REGISTER_TAG};
use traversal_core::wire::secret::CODE;

use super::moving::OTHER_FAMILY;
use super::{Context, Roster};
use crate::ids::SessionId;
use crate::matchmaking::{Realm, realm};
use crate::server::sockets::{Route, ServerSocket};

/// Players say it again every 15 s: two of these may be lost.
const OTHER_LIFETIME: Duration = Duration::from_secs(45);

/// Returns the address as players know it; there is none where the socket is bound to all and nothing better is known.
fn known_as(socket: &ServerSocket) -> Option<SocketAddr> {
    let own = Some(socket.local.ip()).filter(|ip| !ip.is_unspecified());
    let ip = socket.public.or(own).or(socket.interface)?;
    Some(SocketAddr::new(ip, socket.local.port()))
}

impl super::client::Client {
    /// Returns where the player is reached in the other family, while that is fresh.
    pub(super) fn other_address(&self) -> Option<SocketAddr> {
        let (address, heard) = *self.other.as_deref()?;
        // The session itself is never silent for long, so its last sign of life is as good as the time.
        let fresh = self.session.last_heard().saturating_duration_since(heard) < OTHER_LIFETIME;
        (fresh && address.is_ipv4() != self.route.peer.is_ipv4()).then_some(address)
    }
}

impl Roster {
    /// Returns our first sockets in the other family than this player's.
    pub(super) fn other_family(&self, cx: &Context, route: Route) -> Vec<SocketAddr> {
        let first = |socket: &&ServerSocket| {
            !socket.stream
                && !socket.second_address
                && !socket.second_port
                && socket.local.is_ipv4() != route.peer.is_ipv4()
        };
        let reachable = |address: &SocketAddr| match (realm(address.ip()), realm(route.peer.ip())) {
            (Realm::Loopback, from) => from == Realm::Loopback,
            (Realm::Local, from) => from != Realm::Public,
            (Realm::Public, _) => true,
        };
        // A welcome has one datagram; nobody needs more.
        cx.sockets.iter().filter(first).filter_map(known_as).filter(reachable).take(2).collect()
    }

    /// Takes a probe of a session from the other family: an address that is known already is only noted again, another
    /// one is to be proven first. Both answers are as long as the probe.
    pub(super) fn register(&mut self, cx: &mut Context, id: SessionId, route: Route) {
        let now = cx.now;
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if client.login.relay_only || client.route.peer.is_ipv4() == route.peer.is_ipv4() {
            cx.counters.dropped += 1;
            return;
        }
        if let Some((address, heard)) = client.other.as_deref_mut()
            && *address == route.peer
        {
            *heard = now;
            return self.tell_registered(cx, id, route);
        }
        let Some(token) = self.path_token(cx, id, route, OTHER_FAMILY, self.path_epoch(cx)) else { return };
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if let Some(datagram) = client.session.seal(now, Kind::Probe, &Frame::PathChallenge { token }) {
            cx.transmit(route, datagram);
        }
    }

    /// Takes the echo: the address is this player's, and those who are matched with it are to be told.
    pub(crate) fn register_response(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        route: Route,
        token: &[u8; CODE],
    ) -> Option<PlayerId> {
        if !self.proves(cx, id, route, OTHER_FAMILY, token) {
            cx.counters.dropped += 1;
            return None;
        }
        let client = self.sessions.get_mut(&id)?;
        client.other = Some(Box::new((route.peer, cx.now)));
        let player = client.player;
        tracing::debug!(%player, address = %route.peer, "reached in the other family too");
        self.tell_registered(cx, id, route);
        Some(player)
    }

    fn tell_registered(&mut self, cx: &mut Context, id: SessionId, route: Route) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let seen = Frame::ProbeSeen { tag: REGISTER_TAG, observed: route.peer };
        if let Some(datagram) = client.session.seal(cx.now, Kind::Probe, &seen) {
            cx.counters.probes += 1;
            cx.transmit(route, datagram);
        }
    }
}
