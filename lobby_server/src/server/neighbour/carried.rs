//! What the two servers carry for each other: probes that came to one, and datagrams that one is to send.

use std::net::{IpAddr, SocketAddr};

use traversal_core::wire::Kind;

use super::Neighbour;
use crate::limits::Rate;
use crate::link::datagram::{LinkMessage, MAX_CARRIED, SecondPorts};
use crate::matchmaking::{Realm, realm};
use crate::server::context::Context;
use crate::server::refusals::Refusal;
use crate::server::sockets::{Route, ServerSocket, ServerSocketId};
use crate::stun;

/// One address gets so many bytes a second by what the other server has us send, as many as of all our answers to hellos:
/// a whole carrier's NAT classifies 100 players a second with it.
pub(super) const EMIT_RATE: Rate = Rate::new(200_000.0, 400_000.0);
/// One address has so many bytes of probes a second handed over.
pub(super) const FORWARD_RATE: Rate = EMIT_RATE;
/// The link carries so many bytes a second each way: 500 logins a second take about 1 MB.
pub(super) const LINK_RATE: Rate = Rate::new(4_000_000.0, 8_000_000.0);

/// This is to be sent from one of the other server's sockets.
#[derive(Debug)]
pub(in crate::server) struct Emission {
    pub(in crate::server) route: Route,
    /// It proves something only if nothing was sent there before from where it goes.
    pub(in crate::server) proof: bool,
    pub(in crate::server) payload: Vec<u8>,
}

/// This is what a datagram of the other server carries.
#[derive(Debug, PartialEq)]
pub(super) enum Carried<'a> {
    /// It came in at one of its sockets.
    Arrived(Route, &'a [u8]),
    /// We are to send it.
    Emit(Route, &'a [u8]),
}

impl Neighbour {
    pub(super) fn forward(&mut self, cx: &mut Context, route: Route, datagram: &[u8]) -> bool {
        let second_port =
            cx.sockets.get(usize::from(route.socket.0)).is_some_and(|socket| socket.second_port);
        let ours = own_socket(cx, route.peer.is_ipv4(), second_port) == Some(route.socket);
        if !self.linked || !ours || !self.is_players(route.peer) || datagram.len() > MAX_CARRIED {
            return false;
        }
        let (ip, cost) = (route.peer.ip(), datagram.len() as f64);
        if !self.forward_limit.allow_many(ip, cx.now, cost)
            || !self.totals[0].take_many(LINK_RATE, cx.now, cost)
        {
            cx.counters.limit(Refusal::NeighbourProbeRate);
            return true;
        }
        cx.counters.neighbour_probes += 1;
        self.tell(&LinkMessage::Arrived { second_port, from: route.peer, datagram });
        true
    }

    pub(super) fn arrived<'a>(
        &mut self,
        cx: &mut Context,
        (second_port, from): (bool, SocketAddr),
        datagram: &'a [u8],
    ) -> Option<Carried<'a>> {
        let socket = socket_of(cx, cx.own_sockets.., from.is_ipv4(), second_port);
        match socket {
            Some(socket) if self.is_players(from) && Kind::of(datagram) == Some(Kind::Probe) => {
                Some(Carried::Arrived(Route { socket, asked: None, peer: from }, datagram))
            }
            _ => {
                cx.counters.dropped += 1;
                None
            }
        }
    }

    pub(super) fn emit(&mut self, cx: &mut Context, emission: &Emission) {
        let Emission { route, proof, payload } = emission;
        // The other server may have been lost meanwhile.
        let Some(socket) = cx.sockets.get(usize::from(route.socket.0)) else {
            cx.counters.dropped += 1;
            return;
        };
        let (second_port, proof, to) = (socket.second_port, *proof, route.peer);
        self.tell(&LinkMessage::Emit { second_port, proof, to, datagram: payload });
    }

    /// Decides whether we send something for the other server.
    pub(super) fn asked_to_emit<'a>(
        &mut self,
        cx: &mut Context,
        (second_port, proof, to): (bool, bool, SocketAddr),
        datagram: &'a [u8],
    ) -> Option<Carried<'a>> {
        let carries = Kind::of(datagram) == Some(Kind::Probe) || stun::is_answer(datagram);
        let socket = own_socket(cx, to.is_ipv4(), second_port);
        let Some(socket) = socket.filter(|_| carries && self.is_players(to)) else {
            cx.counters.dropped += 1;
            return None;
        };
        if proof && self.heard.may_have(cx.now, to) {
            cx.counters.refuse(Refusal::NeighbourHeard);
            return None;
        }
        let cost = datagram.len() as f64;
        if !self.emit_limit.allow_many(to.ip(), cx.now, cost)
            || !self.totals[1].take_many(LINK_RATE, cx.now, cost)
        {
            cx.counters.limit(Refusal::NeighbourSendRate);
            return None;
        }
        Some(Carried::Emit(Route { socket, asked: None, peer: to }, datagram))
    }

    /// Returns whether a player may be there: on the internet; on this machine or in its network only where the other server
    /// is named by such an address.
    fn is_players(&self, address: SocketAddr) -> bool {
        let broadcast = matches!(address.ip(), IpAddr::V4(ip) if ip.is_broadcast());
        let host = !(address.ip().is_unspecified() || address.ip().is_multicast() || broadcast);
        let named = |wanted: fn(Realm) -> bool| self.places.players.iter().any(|at| wanted(realm(at.ip())));
        host && address.port() != 0
            && match realm(address.ip()) {
                Realm::Public => true,
                Realm::Local => named(|realm| realm != Realm::Public),
                Realm::Loopback => named(|realm| realm == Realm::Loopback),
            }
    }
}

/// Finds the socket of our first address in this family, with its first or second port.
fn own_socket(cx: &Context, v4: bool, second_port: bool) -> Option<ServerSocketId> {
    socket_of(cx, ..cx.own_sockets, v4, second_port)
}

fn socket_of(
    cx: &Context,
    within: impl std::ops::RangeBounds<usize>,
    v4: bool,
    second_port: bool,
) -> Option<ServerSocketId> {
    let fits = |socket: &ServerSocket| {
        !socket.stream && socket.local.is_ipv4() == v4 && socket.second_port == second_port
    };
    let mut sockets = cx.sockets.iter().enumerate();
    let index = sockets.find(|(index, socket)| within.contains(index) && fits(socket))?.0;
    Some(ServerSocketId(index as u16))
}

/// Returns the second ports of our first address.
pub(super) fn own_ports(cx: &Context) -> SecondPorts {
    let port = |v4| {
        let socket = own_socket(cx, v4, true)?;
        cx.sockets.get(usize::from(socket.0)).map(|socket| socket.local.port())
    };
    SecondPorts { v4: port(true).unwrap_or(0), v6: port(false).unwrap_or(0) }
}
