//! The sockets of the link: one of each family that this server serves.

use std::net::SocketAddr;
use std::time::Instant;

use mio::{Registry, Token};
use traversal_udp::Buffer;

use super::places::LINK_PORT_BEHIND;
use crate::bind_error::BindError;
use crate::config::Settings;
use crate::server::{LinkTransmit, Server, ServerSocket, ServerSocketId};
use crate::udp::{Bound, open};

/// The link's sockets are numbered down from here, far from those of players.
const LAST: u16 = u16::MAX;
const MOST: usize = 2;

/// Returns whether an event is about a socket of the link.
pub(crate) fn is_link(token: Token) -> bool {
    (usize::from(LAST) - MOST..=usize::from(LAST)).contains(&token.0)
}

fn id(index: usize) -> ServerSocketId {
    ServerSocketId(LAST - index as u16)
}

/// These are the link's sockets.
pub(crate) struct Sockets(Vec<Bound>);

impl Sockets {
    /// Opens what the settings ask for; `first` are the first sockets of players.
    pub(crate) fn open<'a>(
        settings: &Settings,
        first: impl Iterator<Item = &'a ServerSocket>,
    ) -> Result<Self, BindError> {
        let mut sockets: Vec<Bound> = Vec::new();
        if settings.neighbour.is_none() {
            return Ok(Self(sockets));
        }
        let beside = |socket: &ServerSocket| {
            SocketAddr::new(socket.local.ip(), socket.local.port().wrapping_add(LINK_PORT_BEHIND))
        };
        let wanted: Vec<SocketAddr> = match settings.link_bind {
            Some(address) => vec![address],
            None => first.filter(|about| !about.stream && !about.second_port).map(beside).collect(),
        };
        for address in wanted {
            if sockets.iter().any(|bound| bound.about.local.is_ipv4() == address.is_ipv4()) {
                continue;
            }
            sockets.push(open(address, settings.socket_buffer(), ServerSocket::first(address))?);
        }
        Ok(Self(sockets))
    }

    /// Has the poll watch them.
    pub(crate) fn register(&mut self, registry: &Registry) -> std::io::Result<()> {
        self.0.iter_mut().enumerate().try_for_each(|(index, bound)| bound.register(registry, id(index)))
    }

    /// Returns the addresses that they are bound to.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|bound| bound.about.local).collect()
    }

    /// The poll has told of something to read.
    pub(crate) fn set_readable(&mut self, token: Token) {
        let index = usize::from(LAST).checked_sub(token.0);
        if let Some(bound) = index.and_then(|index| self.0.get_mut(index)) {
            bound.set_readable();
        }
    }

    /// Returns when they should be read without any news from the poll.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.0.iter().filter_map(|bound| bound.poll_timeout(now)).min()
    }

    /// Gives what has come in to the core, and mends what the system has taken away.
    pub(crate) fn turn(&mut self, buffer: &mut Buffer, server: &mut Server, registry: &Registry) {
        for (index, bound) in self.0.iter_mut().enumerate() {
            bound.read(buffer, |now, datagram| {
                server.handle_link_datagram(now, datagram.from, datagram.payload);
            });
            bound.mend(Instant::now(), registry, id(index));
        }
    }

    /// Sends to the other server. False: the system does not take it.
    pub(crate) fn send(&mut self, transmit: &LinkTransmit) -> bool {
        let fits = |bound: &&mut Bound| bound.about.local.is_ipv4() == transmit.to.is_ipv4();
        let bound = self.0.iter_mut().find(fits);
        bound.is_some_and(|bound| bound.send(transmit.to, None, &transmit.payload).sent > 0)
    }
}
