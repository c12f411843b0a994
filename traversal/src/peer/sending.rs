//! What leaves for the other player: sealed, directly or through the relay.

use std::net::SocketAddr;

use super::{Peer, PeerStage};
use crate::api::{PathKind, SocketId};
use crate::attempt::Hands;
use crate::config::RelayPolicy;
use crate::cx::Cx;
use crate::path::RELAY;
use crate::wire::life::CHALLENGE;
use crate::wire::pair::PairMessage;
use crate::wire::{Kind, RELAY_HEADER};

impl Peer {
    /// Sends a game datagram; false when there is no path or it is too long.
    pub(crate) fn send(&mut self, cx: &mut Cx<'_>, channel: u8, payload: &[u8]) -> bool {
        if !self.is_connected() {
            return false;
        }
        let Some((socket, remote, kind)) = self.selected() else { return false };
        let Some(sealed) = self.channel.seal_data_on(channel, payload) else { return false };
        if kind != PathKind::Relay && self.paths.is_doubtful() {
            // Both ways until it is clear: the other side takes what comes first and drops the copy.
            self.transmit(cx, RELAY, remote, None, sealed.clone());
        }
        self.transmit(cx, socket, remote, None, sealed);
        true
    }

    pub(super) fn transmit(
        &self,
        cx: &mut Cx<'_>,
        socket: SocketId,
        to: SocketAddr,
        ttl: Option<u8>,
        sealed: Vec<u8>,
    ) {
        if socket != RELAY {
            return cx.transmit_with_ttl(socket, to, ttl, sealed);
        }
        if let (Some(grant), Some(server)) =
            (&self.plan.relay, self.server.filter(|_| cx.config.relay != RelayPolicy::Never))
        {
            let mut datagram = Vec::with_capacity(RELAY_HEADER + sealed.len());
            datagram.push(Kind::Relay as u8);
            datagram.extend_from_slice(&grant.token);
            datagram.extend_from_slice(&sealed);
            match cx.uplink {
                Some(uplink) => cx.transmit(uplink.socket, uplink.server, datagram),
                // While a new login is under way, the old session may still carry it.
                None => cx.transmit_main(server, datagram),
            }
        }
    }

    pub(super) fn send_message(
        &mut self,
        cx: &mut Cx<'_>,
        socket: SocketId,
        to: SocketAddr,
        message: &PairMessage,
    ) {
        if let Some(sealed) = self.channel.seal_message(message) {
            if matches!(self.stage, PeerStage::Punching) {
                self.packets_sent += 1;
            }
            self.transmit(cx, socket, to, None, sealed);
        }
    }

    /// Asks the other player, who hosts, for a proof that it is alive; both ways where the one in use is in doubt.
    pub(crate) fn ask_for_proof(&mut self, cx: &mut Cx<'_>, challenge: [u8; CHALLENGE]) {
        let Some((socket, remote, kind)) = self.selected() else { return };
        let message = PairMessage::ProveLife { challenge };
        if kind != PathKind::Relay && self.paths.is_doubtful() {
            self.send_message(cx, RELAY, remote, &message);
        }
        self.send_message(cx, socket, remote, &message);
    }

    /// Answers to where something authentic came from, one for one, and with no more bytes than the `length` that came:
    /// the source may be forged.
    pub(crate) fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        hands: &mut Hands<'_>,
        ((socket, to), length): ((SocketId, SocketAddr), usize),
        message: &PairMessage,
    ) {
        if socket == RELAY || self.is_connected() && self.paths.is_selected(socket, to) {
            return self.send_message(cx, socket, to, message);
        }
        let sealed = self.channel.seal_message(message).filter(|sealed| sealed.len() <= length);
        if let Some(sealed) = sealed
            && self.attempt.may_send(cx.now, hands.budget, to)
        {
            if matches!(self.stage, PeerStage::Punching) {
                self.packets_sent += 1;
            }
            self.transmit(cx, socket, to, None, sealed);
        }
    }

    /// Stands for the other end of the relay's way.
    pub(crate) fn relay_server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// The relay's header of what comes to this side.
    pub(crate) fn relay_token(&self) -> Option<&[u8]> {
        self.plan.relay.as_ref().map(|grant| grant.token.as_slice())
    }
}
