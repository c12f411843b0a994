//! Where a datagram belongs: to the link, to a match, or nowhere.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Agent, SocketId};
use crate::address::is_sendable;
use crate::login::LinkEvent;
use crate::sockets::Owner;
use crate::way::{RELAY, Way};
use crate::wire::secret::same;
use crate::wire::{Dropped, Kind, MAX_DATAGRAM, RELAY_HEADER, pair};

impl Agent {
    fn handle_hairpin(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let mut cx = self.shared.cx(now);
        self.detection.handle_hairpin(&mut cx, datagram)
    }

    /// Takes an input: a datagram came in on `socket`. Anything that is not ours is counted and dropped.
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, datagram: &[u8]) {
        let result = match Kind::of(datagram) {
            // A source that nobody can be sent to is forged: port 0, all hosts.
            _ if datagram.len() > MAX_DATAGRAM || !is_sendable(from) => Err(Dropped::Malformed),
            // The server has nothing of this kind to say.
            Some(Kind::Pair) if socket == SocketId::STREAM => Err(Dropped::Malformed),
            Some(Kind::Pair) => self.handle_pair(now, Way::new(socket, from), datagram),
            Some(Kind::Probe) if self.handle_hairpin(now, datagram) => Ok(()),
            Some(Kind::Cookie | Kind::Accept | Kind::Refuse | Kind::Control | Kind::Probe) => {
                let mut cx = self.shared.cx(now);
                let result = cx.link.handle_datagram(&mut cx.env, Way::new(socket, from), datagram);
                self.link_moved(now);
                // The router forwards to the main socket; what comes to another one proves nothing.
                let result = result.map(|event| {
                    event.filter(|event| {
                        socket == SocketId::MAIN || !matches!(event, LinkEvent::MappedPortSeen { .. })
                    })
                });
                result.map(|event| self.handle_link(now, event))
            }
            Some(Kind::Relay) => self.handle_relayed(now, Way::new(socket, from), datagram),
            Some(Kind::Hello | Kind::Init) | None => Err(Dropped::Malformed),
        };
        if let Err(reason) = result {
            tracing::trace!(%from, %reason, "datagram dropped");
            *self.dropped.entry(reason).or_default() += 1;
        }
        self.sweep(now);
    }

    fn handle_pair(&mut self, now: Instant, way: Way, datagram: &[u8]) -> Result<(), Dropped> {
        let id = pair::match_of(datagram).ok_or(Dropped::Malformed)?;
        // Those of other matches and of the classification are closed when these are done: no path may stand on one.
        let serves = matches!(way.socket, SocketId::MAIN | SocketId::MAIN_V6 | RELAY)
            || matches!(self.shared.sockets.owner(way.socket), Some(Owner::Match(match_id, ..)) if match_id == id);
        let peer = self.peers.get_mut(&id).filter(|_| serves).ok_or(Dropped::Unknown)?;
        let mut buffer = datagram.to_vec();
        let mut cx = self.shared.cx(now);
        let news = peer.handle_datagram(&mut cx, way, &mut buffer)?;
        let (word, contact) = (peer.take_life_word(), peer.take_contact());
        let chat = peer.take_chat_word();
        if let Some(news) = news {
            self.handle_peer(now, id, news);
        }
        if let Some(contact) = contact {
            self.handle_contact(now, id, contact);
        }
        if let Some(word) = word {
            self.handle_life(now, id, word);
        }
        if let Some(word) = chat {
            self.handle_chat_word(now, id, word);
        }
        Ok(())
    }

    /// Handles a datagram of another player that came through the server.
    fn handle_relayed(&mut self, now: Instant, way: Way, datagram: &[u8]) -> Result<(), Dropped> {
        let (header, inner) = datagram.split_at_checked(RELAY_HEADER).ok_or(Dropped::Malformed)?;
        if self.shared.config.relay == crate::RelayPolicy::Never || Kind::of(inner) != Some(Kind::Pair) {
            return Err(Dropped::Malformed);
        }
        let id = pair::match_of(inner).ok_or(Dropped::Malformed)?;
        let peer = self.peers.get(&id).ok_or(Dropped::Unknown)?;
        if !peer.relay_token().is_some_and(|token| same(token, &header[1..])) {
            return Err(Dropped::NotAuthentic);
        }
        // One way, whichever of the server's addresses and sockets it takes at present.
        let server = peer.relay_server().unwrap_or(way.remote);
        self.handle_pair(now, Way::relay(server), inner)?;
        self.shared.link.carried(now, way.socket);
        Ok(())
    }
}
