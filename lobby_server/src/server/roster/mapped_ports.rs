//! Ports that players' routers forward: sent to from our second address, and told to others once the player has echoed
//! what arrived there.
//!
//! A player names a port and nothing else: it is tried at the IP that its own session is validated at. So the worst
//! that a liar can do is to have a few small datagrams sent to machines behind the very same public address.

use std::net::SocketAddr;

use rand_chacha::rand_core::RngCore;
use traversal_core::id::PlayerId;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Frame, ToPlayer};
use traversal_core::wire::secret::same;

use super::client::Client;
use super::{Context, Roster};
use crate::ids::SessionId;
use crate::matchmaking::{Realm, realm};
use crate::relay::RelayMode;
use crate::server::refusals::Refusal;
use crate::server::sockets::Route;

/// This is a port as a session has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MappedPort {
    asked: Option<Asked>,
    /// The player was reached there from our second address, and has echoed.
    proven: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    address: SocketAddr,
    token: [u8; 16],
}

impl Client {
    /// Returns where others reach this player beside the address of its session.
    pub(super) fn mapped(&self) -> Option<SocketAddr> {
        self.mapped_port.as_ref()?.proven.filter(|address| address.ip() == self.route.peer.ip())
    }
}

impl Roster {
    /// Sends to a port that the player says is forwarded to it.
    pub(super) fn try_mapped_port(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        (route, port, length): (Route, u16, usize),
    ) {
        let now = cx.now;
        // The other port too: what filters by address must not be taken for what filters nothing.
        let from = cx.other(route, true, true).or_else(|| cx.other(route, true, false));
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let player = client.player;
        let address = SocketAddr::new(client.route.peer.ip(), port);
        let allowed = route.peer == client.route.peer
            && port >= 1024
            && realm(address.ip()) == Realm::Public
            && !client.login.relay_only
            && self.relay_mode(cx, player) != RelayMode::Only
            && !cx.is_stream(route);
        let (Some(from), true) = (from, allowed) else {
            cx.counters.dropped += 1;
            return;
        };
        if !self.mapped_port_limit.allow(address.ip(), now) {
            cx.counters.limit(Refusal::MappedPortRate);
            return;
        }
        let mut token = [0; 16];
        cx.rng.fill_bytes(&mut token);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let asked = &mut client.mapped_port.get_or_insert_default().asked;
        // An answer that was lost is sent again as it was.
        let asked = match asked {
            Some(asked) if asked.address == address => asked,
            _ => asked.insert(Asked { address, token }),
        };
        let frame = Frame::MappedPortSeen { port, token: asked.token };
        if let Some(datagram) = client.session.seal(now, Kind::Probe, &frame)
            && datagram.len() <= length
        {
            cx.counters.probes += 1;
            cx.incoming.proof = true;
            cx.transmit(Route { peer: address, ..from }, datagram);
            cx.incoming.proof = false;
        }
    }

    /// Takes the player's echo; no token: its router forwards nothing any more. The player comes back where that is
    /// news for others.
    pub(crate) fn mapped_port_echo(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        token: Option<[u8; 16]>,
    ) -> Option<PlayerId> {
        let client = self.sessions.get_mut(&id)?;
        let known = client.mapped_port.as_deref().copied().unwrap_or_default();
        let before = known.proven;
        match (token, known.asked) {
            (None, _) => client.mapped_port = None,
            (Some(token), Some(asked))
                if same(&token, &asked.token) && asked.address.ip() == client.route.peer.ip() =>
            {
                // The next check is to be proven anew.
                client.mapped_port = Some(Box::new(MappedPort { asked: None, proven: Some(asked.address) }));
            }
            (Some(_), _) => {
                cx.counters.dropped += 1;
                return None;
            }
        }
        let (player, proven) = (client.player, client.mapped_port.as_ref().and_then(|port| port.proven));
        self.tell_session(cx, id, ToPlayer::MappedPort(proven.map(|address| address.port())));
        if before != proven {
            tracing::debug!(%player, mapped = proven.is_some(), "forwarded port");
        }
        (before != proven).then_some(player)
    }

    /// The player's address is another one now: what was proven belongs to the old one. Says whether there was anything.
    pub(super) fn forget_mapped_port(&mut self, cx: &mut Context, id: SessionId) -> bool {
        let Some(client) = self.sessions.get_mut(&id) else { return false };
        let forgotten = client.mapped_port.take().is_some_and(|port| port.proven.is_some());
        if forgotten {
            self.tell_session(cx, id, ToPlayer::MappedPort(None));
        }
        forgotten
    }
}
