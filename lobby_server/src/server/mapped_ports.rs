//! Ports that players' routers forward: sent to from our second address, and told to others once the player has echoed
//! what arrived there.
//!
//! A player names a port and nothing else: it is tried at the IP that its own session is validated at. So the worst
//! that a liar can do is to have a few small datagrams sent to machines behind the very same public address.

use std::net::SocketAddr;

use rand_chacha::rand_core::RngCore;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Facts, Frame, ToPlayer};
use traversal_core::wire::secret::same;

use super::session::Client;
use super::{Route, Server};
use crate::matchmaking::{Reach, public_addresses, reach};
use crate::relay::RelayMode;

/// A port as a session has it.
#[derive(Debug, Default)]
pub(super) struct MappedPort {
    asked: Option<Asked>,
    /// Reached from our second address, and echoed.
    proven: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    address: SocketAddr,
    token: [u8; 16],
}

impl Client {
    /// Where others reach this player beside the address of its session.
    pub(super) fn mapped(&self) -> Option<SocketAddr> {
        self.mapped_port.proven.filter(|address| address.ip() == self.route.peer.ip())
    }
}

impl Server {
    /// Sends to a port that the player says is forwarded to it.
    pub(super) fn try_mapped_port(&mut self, id: u64, (route, port, length): (Route, u16, usize)) {
        let now = self.cx.now;
        // The other port too: what filters by address must not be taken for what filters nothing.
        let from = self.cx.other(route, true, true).or_else(|| self.cx.other(route, true, false));
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let player = client.player;
        let address = SocketAddr::new(client.route.peer.ip(), port);
        let allowed = route.peer == client.route.peer
            && port >= 1024
            && reach(address.ip()) == Reach::Public
            && !client.login.relay_only
            && self.relay_mode(player) != RelayMode::Only
            && !self.cx.is_stream(route);
        let (Some(from), true) = (from, allowed) else {
            self.cx.counters.dropped += 1;
            return;
        };
        if !self.mapped_port_limit.allow(address.ip(), now) {
            self.cx.counters.limited += 1;
            return;
        }
        let mut token = [0; 16];
        self.cx.rng.fill_bytes(&mut token);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let asked = &mut client.mapped_port.asked;
        // An answer that was lost is sent again as it was.
        let asked = match asked {
            Some(asked) if asked.address == address => asked,
            _ => asked.insert(Asked { address, token }),
        };
        let frame = Frame::MappedPortSeen { port, token: asked.token };
        if let Some(datagram) = client.session.seal(now, Kind::Probe, &frame)
            && datagram.len() <= length
        {
            self.cx.counters.probes += 1;
            self.cx.transmit(Route { peer: address, ..from }, datagram);
        }
    }

    /// The player's echo; none: its router forwards nothing any more.
    pub(super) fn mapped_port_echo(&mut self, id: u64, token: Option<[u8; 16]>) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let before = client.mapped_port.proven;
        match (token, client.mapped_port.asked) {
            (None, _) => client.mapped_port = MappedPort::default(),
            (Some(token), Some(asked))
                if same(&token, &asked.token) && asked.address.ip() == client.route.peer.ip() =>
            {
                // The next check is to be proven anew.
                client.mapped_port = MappedPort { asked: None, proven: Some(asked.address) };
            }
            (Some(_), _) => {
                self.cx.counters.dropped += 1;
                return;
            }
        }
        let (player, proven) = (client.player, client.mapped_port.proven);
        self.tell_session(id, ToPlayer::MappedPort(proven.map(|address| address.port())));
        if before != proven {
            tracing::debug!(%player, mapped = proven.is_some(), "forwarded port");
            self.tell_public(player);
            self.replan(player);
        }
    }

    /// The player's address is another one now: what was proven belongs to the old one.
    pub(super) fn forget_mapped_port(&mut self, id: u64) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if std::mem::take(&mut client.mapped_port).proven.is_some() {
            let player = client.player;
            self.tell_session(id, ToPlayer::MappedPort(None));
            self.replan(player);
        }
    }

    /// Those who are being connected to this player hear where it is seen.
    pub(super) fn tell_public(&mut self, player: traversal_core::id::PlayerId) {
        for (match_id, peer) in self.matches.of(player) {
            let (Some(of), Some(to)) = (self.party(player), self.party(peer)) else { continue };
            let addresses = public_addresses(&of, &to, &self.cx.config.policy());
            if !addresses.is_empty() {
                self.tell(peer, ToPlayer::Facts { match_id, facts: Facts::PeerPublic(addresses) });
            }
        }
    }
}
