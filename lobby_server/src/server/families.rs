//! Players with IPv4 and IPv6: the address in the family that the session does not run over.

use std::net::SocketAddr;
use std::time::Duration;

use traversal_core::wire::Kind;
use traversal_core::wire::message::{Frame, REGISTER_TAG};
use traversal_core::wire::secret::CODE;

use super::moving::OTHER_FAMILY;
use super::{Route, Server, ServerSocket};
use crate::matchmaking::{Reach, reach};

/// Players say it again every 15 s: two of these may be lost.
const OTHER_LIFETIME: Duration = Duration::from_secs(45);

/// The address as players know it; none where the socket is bound to all and nothing better is known.
fn known_as(socket: &ServerSocket) -> Option<SocketAddr> {
    let own = Some(socket.local.ip()).filter(|ip| !ip.is_unspecified());
    let ip = socket.public.or(own).or(socket.interface)?;
    Some(SocketAddr::new(ip, socket.local.port()))
}

impl Server {
    /// Our first sockets in the other family than this player's.
    pub(super) fn other_family(&self, route: Route) -> Vec<SocketAddr> {
        let first = |socket: &&ServerSocket| {
            !socket.stream
                && !socket.second_address
                && !socket.second_port
                && socket.local.is_ipv4() != route.peer.is_ipv4()
        };
        let reachable = |address: &SocketAddr| match (reach(address.ip()), reach(route.peer.ip())) {
            (Reach::Loopback, from) => from == Reach::Loopback,
            (Reach::Local, from) => from != Reach::Public,
            (Reach::Public, _) => true,
        };
        // A welcome has one datagram; nobody needs more.
        self.cx.sockets.iter().filter(first).filter_map(known_as).filter(reachable).take(2).collect()
    }

    /// A probe of a session from the other family: an address that is known already is only noted again, another
    /// one is to be proven first. Both answers are as long as the probe.
    pub(super) fn register(&mut self, id: u64, route: Route) {
        let now = self.cx.now;
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if client.login.relay_only || client.route.peer.is_ipv4() == route.peer.is_ipv4() {
            self.cx.counters.dropped += 1;
            return;
        }
        if let Some((address, heard)) = &mut client.other
            && *address == route.peer
        {
            *heard = now;
            return self.tell_registered(id, route);
        }
        let Some(token) = self.path_token(id, route, OTHER_FAMILY, self.path_epoch()) else { return };
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if let Some(datagram) = client.session.seal(now, Kind::Probe, &Frame::PathChallenge { token }) {
            self.cx.transmit(route, datagram);
        }
    }

    /// The echo: the address is this player's, and those who are matched with it are told.
    pub(super) fn register_response(&mut self, id: u64, route: Route, token: &[u8; CODE]) {
        if !self.proves(id, route, OTHER_FAMILY, token) {
            self.cx.counters.dropped += 1;
            return;
        }
        let Some(client) = self.sessions.get_mut(&id) else { return };
        client.other = Some((route.peer, self.cx.now));
        let player = client.player;
        tracing::debug!(%player, address = %route.peer, "reached in the other family too");
        self.tell_registered(id, route);
        self.tell_public(player);
    }

    fn tell_registered(&mut self, id: u64, route: Route) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let seen = Frame::ProbeSeen { tag: REGISTER_TAG, observed: route.peer };
        if let Some(datagram) = client.session.seal(self.cx.now, Kind::Probe, &seen) {
            self.cx.counters.probes += 1;
            self.cx.transmit(route, datagram);
        }
    }
}

impl super::session::Client {
    /// Where the player is reached in the other family, while that is fresh.
    pub(super) fn other_address(&self) -> Option<SocketAddr> {
        let (address, heard) = self.other?;
        // The session itself is never silent for long, so its last sign of life is as good as the time.
        let fresh = self.session.last_heard().saturating_duration_since(heard) < OTHER_LIFETIME;
        (fresh && address.is_ipv4() != self.route.peer.is_ipv4()).then_some(address)
    }
}
