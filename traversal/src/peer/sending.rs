//! What leaves for the other player: sealed, directly or through the relay.

use std::net::SocketAddr;

use super::{Peer, PeerStage};
use crate::api::{Event, PathKind};
use crate::config::RelayPolicy;
use crate::cx::Cx;
use crate::path::TestOrder;
use crate::seat::Seat;
use crate::way::Way;
use crate::wire::life::CHALLENGE;
use crate::wire::pair::{MAX_PAYLOAD, OVERHEAD, PairMessage};
use crate::wire::sizes::LEAST_DATAGRAM;
use crate::wire::{Kind, RELAY_HEADER};

impl Peer {
    /// Sends a game datagram; false when there is no path, the other player is away, or it is too long.
    pub(crate) fn send(&mut self, cx: &mut Cx<'_>, channel: u8, payload: &[u8]) -> bool {
        // Nobody takes it at present, and a game's reliable messages are repeated by itself.
        if !self.is_connected() || self.is_away() || !self.may_pass(cx, Seat::Spectator, channel) {
            return false;
        }
        let Some(way) = self.selected() else { return false };
        // Both ways until it is clear: the other side takes what comes first and drops the copy.
        let both = !way.is_relay() && self.paths.is_doubtful();
        let copy = self.paths.relay_size().filter(|_| both).map(|size| size - RELAY_HEADER);
        let header = if way.is_relay() { RELAY_HEADER } else { 0 };
        let present = self.paths.selected().map_or(LEAST_DATAGRAM, |path| path.size.present());
        let most = copy.map_or(present - header, |copy| copy.min(present - header));
        let Some(parts) = self.channel.seal_data_within(channel, payload, most) else { return false };
        for sealed in parts {
            self.paths.sent(header + sealed.len());
            if both {
                self.transmit(cx, Way::relay(way.remote), None, sealed.clone());
            }
            self.transmit(cx, way, None, sealed);
        }
        true
    }

    /// Returns whether a game datagram passes on this channel, where the match is one with a spectator and this side has
    /// this seat in it.
    pub(super) fn may_pass(&self, cx: &Cx<'_>, seat: Seat, channel: u8) -> bool {
        self.plan.seat() != seat || cx.config.spectator_channel == Some(channel)
    }

    /// Sends a test; how long it is to be where that is to be tested, a relay's header included.
    pub(super) fn send_test(&mut self, cx: &mut Cx<'_>, order: TestOrder) {
        let header = if order.way.is_relay() { RELAY_HEADER } else { 0 };
        let length = order.probe.map_or(0, |length| length.saturating_sub(header));
        if let Some(sealed) = self.channel.seal_test(order.tag, order.method, length) {
            if matches!(self.stage, PeerStage::Punching) {
                self.packets_sent += 1;
            }
            self.transmit(cx, order.way, None, sealed);
        }
    }

    /// Returns the longest game datagram that goes in one piece by a way that takes datagrams of this length.
    pub(super) fn in_one_piece(kind: PathKind, length: usize) -> usize {
        let header = if kind == PathKind::Relay { RELAY_HEADER } else { 0 };
        length.saturating_sub(header + OVERHEAD).min(MAX_PAYLOAD)
    }

    /// The system refuses datagrams of this length on this way.
    pub(crate) fn refused(&mut self, cx: &mut Cx<'_>, way: Way, length: usize) {
        self.paths.refused(cx.now, way, length);
        let server = self.server.filter(|_| cx.link.uplink() == Some(way));
        if let Some(server) = server {
            self.paths.refused(cx.now, Way::relay(server), length);
        }
        self.tell_size(cx);
    }

    /// Says how long a game datagram may be to go in one piece, if that has changed.
    pub(super) fn tell_size(&mut self, cx: &mut Cx<'_>) {
        let Some(path) = self.paths.selected().filter(|_| self.is_connected()) else { return };
        let size = Self::in_one_piece(path.kind, path.size.present());
        if self.told_size.replace(size).is_some_and(|told| told != size) {
            cx.emit(Event::SizeChanged { player: self.info.id, size });
        }
    }

    pub(super) fn transmit(&mut self, cx: &mut Cx<'_>, way: Way, ttl: Option<u8>, sealed: Vec<u8>) {
        let length = sealed.len() as u64;
        if !way.is_relay() {
            self.bytes.0 += length;
            return cx.transmit_with_ttl(way.socket, way.remote, ttl, sealed);
        }
        if let (Some(grant), Some(server)) =
            (&self.plan.relay, self.server.filter(|_| cx.config.relay != RelayPolicy::Never))
        {
            self.bytes.0 += length;
            let mut datagram = Vec::with_capacity(RELAY_HEADER + sealed.len());
            datagram.push(Kind::Relay as u8);
            datagram.extend_from_slice(&grant.token);
            datagram.extend_from_slice(&sealed);
            match cx.link.uplink() {
                Some(uplink) => cx.transmit(uplink.socket, uplink.remote, datagram),
                // While a new login is under way, the old session may still carry it.
                None => cx.transmit_main(server, datagram),
            }
        }
    }

    pub(super) fn send_message(&mut self, cx: &mut Cx<'_>, way: Way, message: &PairMessage) {
        if let Some(sealed) = self.channel.seal_message(message) {
            if matches!(self.stage, PeerStage::Punching) {
                self.packets_sent += 1;
            }
            self.transmit(cx, way, None, sealed);
        }
    }

    /// Asks the other player, who hosts, for a proof that it is alive; both ways where the one in use is in doubt.
    pub(crate) fn ask_for_proof(&mut self, cx: &mut Cx<'_>, challenge: [u8; CHALLENGE]) {
        self.tell(cx, &PairMessage::ProveLife { challenge });
    }

    /// Sends a message by the way in use; both ways where that is in doubt.
    pub(crate) fn tell(&mut self, cx: &mut Cx<'_>, message: &PairMessage) {
        let Some(way) = self.selected() else { return };
        if !way.is_relay() && self.paths.is_doubtful() {
            self.send_message(cx, Way::relay(way.remote), message);
        }
        self.send_message(cx, way, message);
    }

    /// Answers to where something authentic came from, one for one, and with no more bytes than the `length` that came:
    /// the source may be forged.
    pub(crate) fn answer(&mut self, cx: &mut Cx<'_>, (way, length): (Way, usize), message: &PairMessage) {
        if way.is_relay() || self.is_connected() && self.paths.is_selected(way) {
            return self.send_message(cx, way, message);
        }
        let sealed = self.channel.seal_message(message).filter(|sealed| sealed.len() <= length);
        if let Some(sealed) = sealed
            && self.attempt.may_send(cx.env.now, cx.budget, way.remote)
        {
            if matches!(self.stage, PeerStage::Punching) {
                self.packets_sent += 1;
            }
            self.transmit(cx, way, None, sealed);
        }
    }

    /// Stands for the other end of the relay's way.
    pub(crate) fn relay_server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// Returns the relay's header of what comes to this side.
    pub(crate) fn relay_token(&self) -> Option<&[u8]> {
        self.plan.relay.as_ref().map(|grant| grant.token.as_slice())
    }
}
