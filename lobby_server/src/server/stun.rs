//! STUN for everybody: a plain client learns its address, and may ask for answers from the server's other addresses.

use std::time::Instant;

use super::context::Context;
use super::sockets::Route;
use crate::config::ServerConfig;
use crate::limits::PrefixLimiter;
use crate::server::refusals::Refusal;
use crate::stun;

/// This owner has the STUN service, with its limit of requests by network.
pub(super) struct Stun {
    limit: PrefixLimiter,
}

impl Stun {
    pub(super) fn new(config: &ServerConfig, limiter_key: [u8; 16], now: Instant) -> Self {
        Self { limit: PrefixLimiter::new(config.stun_rate, limiter_key, now) }
    }

    /// Answers a request for its sender's address. Whatever is no such request is dropped.
    pub(super) fn handle(&mut self, cx: &mut Context, route: Route, datagram: &[u8]) {
        let request = if cx.config.stun { stun::parse(datagram) } else { None };
        let Some(request) = request else {
            cx.counters.dropped += 1;
            return;
        };
        if !self.limit.allow(route.peer.ip(), cx.now) {
            cx.counters.limit(Refusal::StunRate);
            return;
        }
        let far = cx.other(route, true, true);
        if let Some(refusal) = stun::unknown_attributes(&request, far.is_some()) {
            cx.hand_out(route, refusal);
            return;
        }
        let from = if request.change_ip || request.change_port {
            cx.other(route, request.change_ip, request.change_port)
        } else {
            Some(route)
        };
        let Some(from) = from else {
            cx.counters.dropped += 1;
            return;
        };
        cx.counters.stun += 1;
        let other = far.and_then(|route| cx.told_address(route));
        let reply = stun::success(&request, route.peer, cx.told_address(from), other);
        cx.hand_out(from, reply);
    }
}
