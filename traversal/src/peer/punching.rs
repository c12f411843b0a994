//! The part of a match that looks for a direct way: what the server tells, what the methods send, when it is over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{DirectSearch, Peer, PeerStage};
use crate::address::{is_local, is_sendable};
use crate::api::{Event, SocketId};
use crate::attempt::{Attempt, PlanPermit, PunchTest};
use crate::config::{AgentConfig, RelayPolicy};
use crate::cx::Cx;
use crate::login::{ProbeSeen, ServerLink};
use crate::method::Method;
use crate::nat::{Confidence, NatProfile};
use crate::path::{Paths, kind_of};
use crate::rtt::RttEstimate;
use crate::sockets::Owner;
use crate::way::{RELAY, Way};
use crate::wire::message::{Facts, PunchPlan, Replan, RoundTrip, ToServer};
use crate::wire::pair::PairMessage;

/// Returns the round trips to the server: this player's, and the other one's as the server says. One that is not known
/// is taken to be as long as the other.
pub(super) fn round_trips(plan: &PunchPlan, link: &ServerLink) -> (Duration, Duration) {
    let own = link.timing().rtt();
    let peer = plan.peer_rtt.and_then(|peer| peer.timing().rtt());
    let unknown = RttEstimate::INITIAL;
    (own.or(peer).unwrap_or(unknown), peer.or(own).unwrap_or(unknown))
}

/// Returns head start of direct test messages before the relay is tried, where they are likely to arrive: their round
/// trip, and half of one more for its spread. The way between the two is taken to be as long as their ways to the
/// server.
pub(super) fn head_start(plan: &PunchPlan, link: &ServerLink) -> Duration {
    let (own, peer) = round_trips(plan, link);
    let round_trip = (own + peer) / 2;
    round_trip + (round_trip / 2).max(RttEstimate::FLOOR)
}

/// Returns how long a player with a forwarded port waits for the other side, which can reach it whatever its NAT
/// does.
///
/// A Linux router that gives each destination a random port keeps the flow that the player opened itself; the other
/// side's packet to the forwarded port would make a second flow between the same two ends, and is dropped. So the other
/// side goes first; of two forwarded ports, the one who joins.
pub(super) fn hold_back(plan: &PunchPlan, link: &ServerLink) -> Option<Duration> {
    let waits = plan.own_nat.mapped && (plan.hosting || !plan.peer_nat.mapped);
    // The other side gets its plan half of its round trip to the server later, and its packet takes half of a direct one.
    let peer = plan.peer_rtt.map_or_else(|| link.timing(), RoundTrip::timing);
    waits.then(|| link.timing().overdue() + peer.overdue())
}

/// Returns whether test messages go to this public address of the other player. The plan's methods are about the NATs
/// of the session's family. In the other one nothing is known of any NAT, and IPv6 mostly has none: firewalls open to
/// those who are sent to, so tests from both sides are all that is needed.
pub(super) fn is_tested(
    config: &AgentConfig,
    plan: &PunchPlan,
    attempt: &Attempt,
    server: Option<SocketAddr>,
    address: SocketAddr,
) -> bool {
    let other_family = server.is_some_and(|server| server.is_ipv4() != address.is_ipv4());
    let blocked = plan.own_nat.udp_blocked || plan.peer_nat.udp_blocked;
    let free = config.method.is_none() && config.relay != RelayPolicy::Only && !blocked;
    attempt.has_cone() || (free && (other_family || address.is_ipv6()))
}

/// Adds ports of the other player's NAT that were set by hand (M9): they are tested like the one that the server
/// names, at its IP and no other.
pub(super) fn add_set_targets(cx: &Cx<'_>, plan: &PunchPlan, paths: &mut Paths) {
    let bubbles =
        cx.config.method.is_none_or(|forced| matches!(forced, Method::Bubble | Method::MultiBubble));
    let ip = plan.peer_public.first().map(SocketAddr::ip).filter(|ip| plan.same_nat || !is_local(*ip));
    let (Some(ip), Some(set)) = (ip.filter(|_| bubbles), &cx.config.bubble_targets) else { return };
    if cx.config.relay == RelayPolicy::Only || plan.own_nat.udp_blocked || plan.peer_nat.udp_blocked {
        return;
    }
    for to in set.ports().map(|port| SocketAddr::new(ip, port)).filter(|to| is_sendable(*to)) {
        if let Some(socket) = cx.main.towards(to) {
            paths.add(
                cx.now,
                Way::new(socket, to),
                kind_of(to, plan.same_nat && cx.config.lan),
                Method::Bubble,
            );
        }
    }
}

/// A NAT is known as far as it will be, until it is another one.
fn is_measured(nat: &NatProfile) -> bool {
    matches!(nat.confidence, Confidence::Full | Confidence::Reduced | Confidence::Manual)
}

impl Peer {
    /// A socket of this match is open, or could not be opened.
    pub(crate) fn handle_socket(
        &mut self,
        cx: &mut Cx<'_>,
        (method, slot): (Method, u16),
        port: Option<u16>,
    ) {
        self.attempt.handle_socket(cx.now, method, slot, port);
        self.punch(cx);
    }

    /// The server saw a probe; true if it was one of this match.
    pub(crate) fn handle_seen(&mut self, cx: &mut Cx<'_>, tag: u32, seen: ProbeSeen) -> bool {
        let ours = self.attempt.handle_seen(cx.now, tag, seen);
        if ours {
            self.punch(cx);
        }
        ours
    }

    /// Takes news from the server.
    pub(crate) fn handle_facts(&mut self, cx: &mut Cx<'_>, facts: &Facts) {
        if let Facts::PeerPublic(addresses) = facts {
            self.plan.peer_public.clone_from(addresses);
            self.add_public(cx);
        }
        self.attempt.handle_facts(cx.now, facts);
        self.punch(cx);
    }

    /// Adds tests to where the server sees the other side: at a private address, if it is on this network itself.
    pub(super) fn add_public(&mut self, cx: &Cx<'_>) {
        let sendable =
            |address: &&SocketAddr| is_sendable(**address) && (self.plan.same_nat || !is_local(address.ip()));
        let tested =
            |address: &&SocketAddr| is_tested(cx.config, &self.plan, &self.attempt, self.server, **address);
        for address in self.plan.peer_public.iter().filter(sendable).filter(tested) {
            if let Some(socket) = cx.main.towards(*address) {
                let at = self.hold_until.filter(|_| address.is_ipv4()).unwrap_or(cx.now);
                self.paths.add(at, Way::new(socket, *address), kind_of(*address, self.lan), Method::Cone);
            }
        }
    }

    /// More is known about the NATs: begin anew, unless a direct way stands.
    pub(crate) fn replan(&mut self, cx: &mut Cx<'_>, better: Replan) {
        if !self.is_live() || self.selected().is_some() && !self.wants_direct() {
            return;
        }
        if better.edition < self.attempt.edition() {
            return; // Overtaken by a newer one.
        }
        let were_known = is_measured(&self.plan.own_nat) && is_measured(&self.plan.peer_nat);
        (self.plan.own_nat, self.plan.peer_nat) = (better.own_nat, better.peer_nat);
        if better.edition == self.attempt.edition() {
            return self.attempt.learn(&better);
        }
        self.plan.role = better.role;
        self.plan.methods = better.methods.iter().map(|planned| planned.method).collect();
        self.punch_until += self.attempt.replan(cx, &better);
        self.attempt.ask_permit_again(cx);
        if !were_known {
            // The time until both NATs are known does not count, within reason.
            self.punch_until = self.punch_until.max((cx.now + self.allowed).min(self.punch_latest));
        }
        self.close_unused(cx, &self.paths.sockets_in_use());
        self.hold_until = hold_back(&self.plan, cx.link).map(|hold| cx.now + hold);
        self.add_public(cx);
        if self.is_connected() {
            self.search = DirectSearch::Running;
            self.punch_until = cx.now + cx.config.connect_deadline;
        }
        if let Some(permit) = self.attempt.permit_in_time() {
            self.handle_permit(cx, permit);
        }
        self.punch(cx);
        let facts = self.attempt.facts_in_time();
        for facts in &facts {
            self.attempt.handle_facts(cx.now, facts);
        }
        if !facts.is_empty() {
            self.punch(cx);
        }
    }

    /// Returns whether a direct way is still looked for.
    pub(super) fn is_punching(&self) -> bool {
        match self.stage {
            PeerStage::Punching => true,
            PeerStage::Connected => self.wants_direct() && self.search != DirectSearch::Over,
            _ => false,
        }
    }

    /// Returns whether there is no direct way, or the one that there was is dead.
    fn wants_direct(&self) -> bool {
        self.is_relayed() || self.is_away()
    }

    pub(super) fn is_relayed(&self) -> bool {
        self.paths.is_relayed()
    }

    /// The server gives or takes this match's permit to search by many sockets or ports.
    pub(crate) fn handle_permit(&mut self, cx: &mut Cx<'_>, permit: PlanPermit) {
        if let Some(waited) = self.attempt.handle_permit(cx.now, permit) {
            // The deadline is one of what is done, not of waiting in line.
            self.punch_until += waited;
            if self.is_relayed() && self.search == DirectSearch::Over {
                (self.search, self.told_relayed) = (DirectSearch::Running, false);
            }
        }
        self.punch(cx);
    }

    /// Gives back this match's permit to search, or its wish for one, if nothing can come of it any more.
    pub(crate) fn check_permit(&mut self, cx: &mut Cx<'_>) {
        let punching =
            matches!(self.stage, PeerStage::Punching) || (self.is_connected() && self.wants_direct());
        self.attempt.check_permit(cx, punching);
    }

    /// Returns whether this match searches by many sockets or ports at present.
    pub(crate) fn is_searching(&self) -> bool {
        self.is_punching() && self.attempt.is_searching()
    }

    /// Returns when the attempt fails, where there is nothing to play over meanwhile.
    pub(super) fn deadline(&self, config: &AgentConfig) -> Instant {
        self.punch_until + self.attempt.grace(config)
    }

    /// The game has been on the relay for a while, or the other side is away: have both sides try again what opens new
    /// ports.
    pub(super) fn ask_to_punch_again(&self, cx: &mut Cx<'_>) {
        let wanted = self.wants_direct() && !self.attempt.is_in_line();
        let methods = self.plan.methods.iter().any(|method| *method != Method::Cone);
        if !wanted || !methods || self.search != DirectSearch::Over || cx.config.relay == RelayPolicy::Only {
            return;
        }
        cx.tell(ToServer::PunchAgain { match_id: self.match_id });
    }

    /// Returns when [`punch`](Self::punch) is due: not before the other side had its first packet, where that is
    /// waited for.
    pub(super) fn punch_timeout(&self) -> Option<Instant> {
        self.attempt.poll_timeout().filter(|_| self.hold_until.is_none())
    }

    /// Sends what the punchers want.
    pub(crate) fn punch(&mut self, cx: &mut Cx<'_>) {
        if !self.is_punching() || self.hold_until.is_some() {
            return;
        }
        for method in self.attempt.advance(cx, self.punch_until) {
            cx.emit(Event::MethodBegun { player: self.info.id, method });
        }
        let in_use = self.paths.sockets_in_use();
        while let Some(PunchTest { way, ttl, method }) = self.attempt.poll(cx, &in_use) {
            // The server names addresses of the matched player alone; private ones are the LAN's business.
            let allowed = is_sendable(way.remote) && (self.plan.same_nat || !is_local(way.remote.ip()));
            let tag = self.paths.open_test(cx.now, way, method);
            let message = PairMessage::Test { tag, method };
            if let Some(sealed) = self.channel.seal_message(&message).filter(|_| allowed) {
                self.packets_sent += 1;
                self.transmit(cx, way, ttl, sealed);
            }
        }
    }

    /// Ends the punching: the sockets that no way runs on are closed.
    pub(super) fn end_punching(&mut self, cx: &mut Cx<'_>) {
        self.search = DirectSearch::Over;
        self.attempt.finish(cx.now);
        // By now each side pings only the way that it has chosen.
        let recently = cx.now.checked_sub(cx.config.path_ping * 5);
        let used = self.paths.sockets_used(recently);
        if self.selected().is_some() {
            self.paths.keep_only(&used, |socket| {
                socket == SocketId::MAIN || socket == SocketId::MAIN_V6 || socket == RELAY
            });
        }
        self.close_unused(cx, &used);
    }

    /// Closes this match's sockets but these.
    pub(super) fn close_unused(&self, cx: &mut Cx<'_>, used: &[SocketId]) {
        let id = self.match_id;
        for (socket, owner) in
            cx.sockets.owned(|owner| matches!(owner, Owner::Match(match_id, ..) if match_id == id))
        {
            let runs = matches!(owner, Owner::Match(_, method, slot) if self.attempt.uses(method, slot));
            let needed = runs && cx.sockets.is_newest(socket);
            if !needed && !used.contains(&socket) {
                cx.sockets.close_socket(&mut cx.env, socket);
            }
        }
    }
}
