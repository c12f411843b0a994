//! STUN for everybody: a plain client learns its address, and may ask for answers from the server's other addresses.

mod askers;

use std::net::SocketAddr;
use std::time::Instant;

use super::context::Context;
use super::sockets::Route;
use crate::config::ServerConfig;
use crate::limits::{PrefixLimiter, Rate};
use crate::server::refusals::Refusal;
use crate::stun::{self, Error, Request};
use askers::Askers;

/// Answers go to ports of one address that have not asked by themselves at this rate. A client wants one of them
/// (`turnutils_stunclient`); whoever shares the address with others can send them no more.
const UNASKED: Rate = Rate::new(2.0, 10.0);
/// Such answers go to no port below this one, where servers are (RFC 6335 section 6); clients have theirs above.
const SYSTEM_PORTS_END: u16 = 1024;

/// This owner has the STUN service, with its limit of requests by network.
pub(super) struct Stun {
    limit: PrefixLimiter,
    unasked_limit: PrefixLimiter,
    askers: Askers,
}

impl Stun {
    pub(super) fn new(config: &ServerConfig, limiter_key: [u8; 16], now: Instant) -> Self {
        Self {
            limit: PrefixLimiter::new(config.stun_rate, limiter_key, now),
            unasked_limit: PrefixLimiter::new(UNASKED, limiter_key, now),
            askers: Askers::new(limiter_key, now),
        }
    }

    /// Answers a request for its sender's address. Whatever is no such request is dropped.
    pub(super) fn handle(&mut self, cx: &mut Context, route: Route, datagram: &[u8]) {
        // RFC 3489 knows IPv4 alone: a request without a cookie has no right answer over IPv6.
        let is_known = |request: &Request| !request.classic || route.peer.is_ipv4();
        let request = if cx.config.stun { stun::parse(datagram).filter(is_known) } else { None };
        let Some(request) = request else {
            cx.counters.dropped += 1;
            return;
        };
        if !self.limit.allow(route.peer.ip(), cx.now) {
            cx.counters.limit(Refusal::StunRate);
            return;
        }
        let far = cx.other(route, true, true);
        if let Some(error) = request.error(far.is_some()) {
            cx.hand_out(route, stun::refusal(&request, &error));
            return;
        }
        let from = if request.change_ip || request.change_port {
            cx.other(route, request.change_ip, request.change_port)
        } else {
            Some(route)
        };
        let Some(mut from) = from else {
            cx.counters.dropped += 1;
            return;
        };
        let other = far.and_then(|route| cx.told_address(route));
        let origin = cx.told_address(from);
        let elsewhere = request.response_port.filter(|port| *port != route.peer.port());
        let reply = stun::success(&request, route.peer, origin, other, elsewhere.is_some());
        if let Some(port) = elsewhere {
            from.peer = SocketAddr::new(route.peer.ip(), port);
            let fits = reply.len() <= datagram.len();
            if !self.may_answer(cx, from.peer, fits) {
                cx.counters.refuse(Refusal::StunPort);
                cx.hand_out(route, stun::refusal(&request, &Error::Forbidden));
                return;
            }
        } else {
            self.askers.note(route.peer, cx.now);
        }
        cx.counters.stun += 1;
        cx.hand_out(from, reply);
    }

    /// Returns whether this port may get the answer to a request that came from another port of its address: it may be
    /// another program's, or another customer's behind the same NAT. What it has asked for itself it may get; else no more
    /// bytes than came in, seldom, and only where no server is.
    fn may_answer(&mut self, cx: &Context, port: SocketAddr, fits: bool) -> bool {
        if self.askers.take(port, cx.now) {
            return true;
        }
        fits && port.port() >= SYSTEM_PORTS_END && self.unasked_limit.allow(port.ip(), cx.now)
    }
}
