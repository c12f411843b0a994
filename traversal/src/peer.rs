//! One player that this one is matched with: the sealed channel, its paths, its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Identity;
use crate::api::{DisconnectReason, Event, PathInfo, PathKind, SocketId};
use crate::attempt::{Attempt, Hands};
use crate::classify::RttEstimate;
use crate::config::{AgentConfig, RelayPolicy};
use crate::cx::Cx;
use crate::failure::{FailureReason, FailureReport, Stage};
use crate::id::MatchId;
use crate::login::{LobbyLink, ProbeSeen};
use crate::path::{Paths, RELAY, is_local, is_sendable, kind_of};
use crate::plan::expected_failure;
use crate::sockets::Owner;
use crate::timer::{due, earliest};
use crate::wire::message::{Facts, MAX_REASON, Method, PlayerInfo, PunchPlan, Replan, ToServer};
use crate::wire::pair::{Opened, PairChannel, PairMessage};
use crate::wire::{Dropped, Kind, RELAY_HEADER};

/// A close is repeated until it is acknowledged, at these times; then the other side's own timeout must do.
const CLOSE_REPEATS: [Duration; 4] = [
    Duration::from_millis(60),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
];

/// How long the other ways of an attempt stay open once a direct one stands: the two sides may have chosen differently.
const TIDY: Duration = Duration::from_secs(2);

/// Head start of direct test messages before the relay is tried, where they are likely to arrive.
const RELAY_LATER: Duration = Duration::from_millis(150);

/// How long a player with a forwarded port waits for the other side, which can reach it whatever its NAT does.
///
/// A Linux router that gives each destination a random port keeps the flow that the player opened itself; the other
/// side's packet to the forwarded port would make a second flow between the same two ends, and is dropped. So the other
/// side goes first; of two forwarded ports, the one who joins.
fn hold_back(plan: &PunchPlan, link: &mut LobbyLink) -> Option<Duration> {
    let waits = plan.own_nat.mapped && (plan.host || !plan.peer_nat.mapped);
    // The plans reach both sides within a way of each other, and the packet takes one more.
    waits.then(|| RttEstimate::new(link.online().and_then(|online| online.session.rtt())).overdue() * 2)
}

/// One match.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) info: PlayerInfo,
    pub(crate) match_id: MatchId,
    /// This side hosts, or came first in a pair of a mesh.
    pub(crate) host: bool,
    channel: PairChannel,
    plan: PunchPlan,
    paths: Paths,
    attempt: Attempt,
    /// Until then direct ways are looked for, also while the game plays over the relay.
    punch_until: Instant,
    /// Where the server is, for the relay.
    server: Option<SocketAddr>,
    /// Private addresses count as one network with ours.
    lan: bool,
    stage: PeerStage,
    requested: Instant,
    last_heard: Instant,
    packets_sent: u32,
    punch_over: bool,
    /// Until then the other side's first packet is waited for (see [`hold_back`]).
    hold_until: Option<Instant>,
    /// When the sockets of the losers are closed, a moment after a direct way won.
    tidy_at: Option<Instant>,
    /// The game knows why it plays over the relay.
    told_relayed: bool,
    cause: Option<FailureReason>,
}

#[derive(Debug)]
enum PeerStage {
    Punching { deadline: Instant },
    Connected,
    Closing { repeats: usize, next: Instant, reason: String },
    Ended,
}

/// What a match came to, for the agent's book-keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerNews {
    Connected,
    /// A direct path came after the relay.
    Direct,
    /// It stays with the relay, or fell back to it.
    Relayed,
    Ended,
    Failed,
    Lost,
}

impl Peer {
    /// None when the plan's keys are no keys.
    pub(crate) fn new(
        cx: &mut Cx<'_>,
        hands: &mut Hands<'_>,
        plan: PunchPlan,
        ephemeral: &Identity,
        requested: Instant,
    ) -> Option<Self> {
        let now = cx.now;
        let channel =
            PairChannel::new(plan.match_id, ephemeral, &plan.peer_ephemeral, &plan.pair_secret, plan.host)?;
        let mut paths = Paths::default();
        let attempt = Attempt::new(cx, &plan, hands.link);
        let lan = cx.config.lan && plan.same_nat;
        let direct = cx.config.relay != RelayPolicy::Only;
        let local = plan.peer_local.iter().filter(|address| lan && is_local(address.ip()));
        // Whoever is on this network itself is seen at a private address by a server there (or on this machine).
        let public = plan.peer_public.iter().filter(|address| plan.same_nat || !is_local(address.ip()));
        let server = hands.link.online().map(|online| online.server);
        let public = public.filter(|address| is_tested(cx.config, &plan, &attempt, server, **address));
        let hold_until = hold_back(&plan, hands.link).map(|hold| now + hold);
        let from_now = local.map(|address| (now, address));
        let held = public.map(|address| (hold_until.filter(|_| address.is_ipv4()).unwrap_or(now), address));
        for (at, address) in from_now.chain(held).filter(|(_, address)| direct && is_sendable(**address)) {
            if let Some(socket) = cx.main.towards(*address) {
                paths.add(at, socket, *address, kind_of(*address, lan), Method::Cone);
            }
        }
        if let Some(server) = server.filter(|_| plan.relay.is_some() && cx.config.relay != RelayPolicy::Never)
        {
            // Where direct test messages are likely to arrive, they get a start, so that the game need not move.
            let likely = attempt.cone_is_likely() && !paths.is_empty();
            let start = if likely { RELAY_LATER } else { Duration::ZERO };
            paths.add(now + start, RELAY, server, PathKind::Relay, Method::Cone);
        }
        let allowed = Duration::from_millis(u64::from(plan.deadline_ms)).min(cx.config.connect_deadline);
        Some(Self {
            info: plan.peer.clone(),
            match_id: plan.match_id,
            host: plan.host,
            channel,
            paths,
            attempt,
            punch_until: now + allowed,
            server,
            lan,
            stage: PeerStage::Punching { deadline: now + allowed },
            requested,
            last_heard: now,
            packets_sent: 0,
            punch_over: false,
            hold_until,
            tidy_at: None,
            told_relayed: false,
            cause: None,
            plan,
        })
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.stage, PeerStage::Connected)
    }

    /// Being connected, or connected: not on its way out.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, PeerStage::Punching { .. } | PeerStage::Connected)
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stage, PeerStage::Ended)
    }

    /// Something authentic arrived not longer ago than this.
    pub(crate) fn heard_within(&self, now: Instant, time: Duration) -> bool {
        self.is_connected() && now.saturating_duration_since(self.last_heard) <= time
    }

    pub(crate) fn export_key(&self) -> [u8; 32] {
        self.channel.export_key()
    }

    /// Socket and address of the path in use.
    pub(crate) fn selected(&self) -> Option<(SocketId, SocketAddr, PathKind)> {
        self.paths.selected().map(|path| (path.socket, path.remote, path.kind))
    }

    /// The path to be given away: both sides must mean the same one, so the other side follows the host.
    pub(crate) fn releasable(&self) -> Option<(SocketId, SocketAddr, PathKind)> {
        let path = if self.host { self.paths.selected() } else { self.paths.selected_there() };
        path.map(|path| (path.socket, path.remote, path.kind))
    }

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

    fn transmit(&self, cx: &mut Cx<'_>, socket: SocketId, to: SocketAddr, ttl: Option<u8>, sealed: Vec<u8>) {
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

    /// Stands for the other end of the relay's way.
    pub(crate) fn relay_server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// The relay's header of what comes to this side.
    pub(crate) fn relay_token(&self) -> Option<&[u8]> {
        self.plan.relay.as_ref().map(|grant| grant.token.as_slice())
    }

    fn send_message(&mut self, cx: &mut Cx<'_>, socket: SocketId, to: SocketAddr, message: &PairMessage) {
        if let Some(sealed) = self.channel.seal_message(message) {
            if matches!(self.stage, PeerStage::Punching { .. }) {
                self.packets_sent += 1;
            }
            self.transmit(cx, socket, to, None, sealed);
        }
    }

    /// Answers to where something authentic came from, one for one, and with no more bytes than the `length` that came:
    /// the source may be forged.
    fn answer(
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
            if matches!(self.stage, PeerStage::Punching { .. }) {
                self.packets_sent += 1;
            }
            self.transmit(cx, socket, to, None, sealed);
        }
    }

    /// A datagram of this match.
    pub(crate) fn handle_datagram(
        &mut self,
        cx: &mut Cx<'_>,
        hands: &mut Hands<'_>,
        (socket, from): (SocketId, SocketAddr),
        datagram: &mut [u8],
    ) -> Result<Option<PeerNews>, Dropped> {
        let length = datagram.len();
        let opened = self.channel.open(datagram)?;
        self.last_heard = cx.now;
        let known_ip = |address: &SocketAddr| address.ip() == from.ip();
        let way = if socket == RELAY {
            (PathKind::Relay, true)
        } else {
            (kind_of(from, self.lan), self.plan.peer_public.iter().any(known_ip))
        };
        let method_here = self.attempt.method_of(hands.sockets.owner(socket));
        if socket != RELAY {
            self.attempt.handle_datagram(cx.now, hands.sockets.owner(socket), from);
        }
        // Over the cap of destinations the game's data still gets in, but no further way is made of it.
        let admitted = socket == RELAY || self.attempt.admits(hands.budget, from);
        match opened {
            Opened::Message(PairMessage::Test { .. } | PairMessage::Confirm { .. }) if !admitted => Ok(None),
            Opened::Data(channel, payload) => {
                // Data waits for nobody: the sender had both directions proven.
                let payload = payload.to_vec();
                if !self.is_live() {
                    return Ok(None);
                }
                if admitted {
                    self.paths.heard(cx.now, socket, from, way, method_here);
                    self.paths.carried_data(socket, from);
                }
                let news = self.choose(cx);
                cx.emit(Event::Datagram { player: self.info.id, channel, payload });
                Ok(news)
            }
            Opened::Message(PairMessage::Test { tag, .. }) if self.is_live() => {
                let own = self.paths.heard(cx.now, socket, from, way, method_here);
                let answer = PairMessage::Confirm { tag, observed: from, test: own };
                self.answer(cx, hands, ((socket, from), length), &answer);
                Ok(self.choose(cx))
            }
            Opened::Message(PairMessage::Confirm { tag, test, .. }) if self.is_live() => {
                self.paths.heard(cx.now, socket, from, way, method_here);
                self.paths.confirmed(cx.now, tag, socket, from);
                if let Some(tag) = test {
                    let answer = PairMessage::Confirm { tag, observed: from, test: None };
                    self.answer(cx, hands, ((socket, from), length), &answer);
                }
                Ok(self.choose(cx))
            }
            Opened::Message(PairMessage::Close { reason }) => {
                self.send_message(cx, socket, from, &PairMessage::CloseAck);
                if !self.is_live() {
                    return Ok(None);
                }
                let news = if self.is_connected() { PeerNews::Ended } else { PeerNews::Failed };
                self.stage = PeerStage::Ended;
                if news == PeerNews::Ended {
                    let reason = DisconnectReason::Closed { reason };
                    cx.emit(Event::PeerDisconnected { peer: self.info.clone(), reason });
                } else {
                    self.emit_failure(cx, Stage::Punch, FailureReason::PeerLeft);
                }
                Ok(Some(news))
            }
            Opened::Message(PairMessage::CloseAck) => {
                if matches!(self.stage, PeerStage::Closing { .. }) {
                    self.stage = PeerStage::Ended;
                }
                Ok(None)
            }
            Opened::Message(_) => Ok(None),
        }
    }

    /// A socket of this match is open, or could not be opened.
    pub(crate) fn handle_socket(
        &mut self,
        cx: &mut Cx<'_>,
        hands: &mut Hands<'_>,
        (method, slot): (Method, u16),
        open: bool,
    ) {
        self.attempt.handle_socket(cx.now, method, slot, open);
        self.punch(cx, hands);
    }

    /// The server saw a probe; true if it was one of this match.
    pub(crate) fn handle_seen(
        &mut self,
        cx: &mut Cx<'_>,
        hands: &mut Hands<'_>,
        tag: u32,
        seen: ProbeSeen,
    ) -> bool {
        let ours = self.attempt.handle_seen(cx.now, tag, seen);
        if ours {
            self.punch(cx, hands);
        }
        ours
    }

    /// News from the server.
    pub(crate) fn handle_facts(&mut self, cx: &mut Cx<'_>, hands: &mut Hands<'_>, facts: &Facts) {
        if let Facts::PeerPublic(addresses) = facts {
            self.plan.peer_public.clone_from(addresses);
            self.add_public(cx);
        }
        self.attempt.handle_facts(cx.now, facts);
        self.punch(cx, hands);
    }

    /// Test messages go to where the server sees the other side.
    fn add_public(&mut self, cx: &Cx<'_>) {
        let sendable =
            |address: &&SocketAddr| is_sendable(**address) && (self.plan.same_nat || !is_local(address.ip()));
        let tested =
            |address: &&SocketAddr| is_tested(cx.config, &self.plan, &self.attempt, self.server, **address);
        for address in self.plan.peer_public.iter().filter(sendable).filter(tested) {
            if let Some(socket) = cx.main.towards(*address) {
                let at = self.hold_until.filter(|_| address.is_ipv4()).unwrap_or(cx.now);
                self.paths.add(at, socket, *address, kind_of(*address, self.lan), Method::Cone);
            }
        }
    }

    /// More is known about the NATs: begin anew, unless a direct way stands.
    pub(crate) fn replan(&mut self, cx: &mut Cx<'_>, hands: &mut Hands<'_>, better: Replan) {
        let relayed = self.paths.selected().is_none_or(|path| path.kind == PathKind::Relay);
        if !self.is_live() || !relayed {
            return;
        }
        if better.edition < self.attempt.edition() {
            return; // Overtaken by a newer one.
        }
        (self.plan.own_nat, self.plan.peer_nat) = (better.own_nat, better.peer_nat);
        if better.edition == self.attempt.edition() {
            return self.attempt.learn(&self.plan);
        }
        (self.plan.role, self.plan.methods) = (better.role, better.methods);
        self.attempt.replan(cx, &self.plan, better.edition);
        self.close_unused(cx, hands, &self.paths.sockets_in_use());
        self.hold_until = hold_back(&self.plan, hands.link).map(|hold| cx.now + hold);
        self.add_public(cx);
        if self.is_connected() {
            self.punch_over = false;
            self.tidy_at = None;
            self.punch_until = cx.now + cx.config.connect_deadline;
        }
        self.punch(cx, hands);
        let facts = self.attempt.facts_in_time();
        for facts in &facts {
            self.attempt.handle_facts(cx.now, facts);
        }
        if !facts.is_empty() {
            self.punch(cx, hands);
        }
    }

    /// A direct way is still looked for.
    fn is_punching(&self) -> bool {
        match self.stage {
            PeerStage::Punching { .. } => true,
            PeerStage::Connected => {
                self.paths.selected().is_some_and(|path| path.kind == PathKind::Relay) && !self.punch_over
            }
            _ => false,
        }
    }

    /// The game has been on the relay for a while: have both sides try again what opens new ports.
    fn ask_to_punch_again(&self, cx: &mut Cx<'_>, hands: &mut Hands<'_>) {
        let relayed = self.paths.selected().is_some_and(|path| path.kind == PathKind::Relay);
        let methods = self.plan.methods.iter().any(|method| *method != Method::Cone);
        if !relayed || !methods || !self.punch_over || cx.config.relay == RelayPolicy::Only {
            return;
        }
        if let Some(online) = hands.link.online() {
            // Full only when the server has not answered for long.
            let _ = online.session.send(cx.now, ToServer::PunchAgain { match_id: self.match_id });
            hands.link.drain(cx);
        }
    }

    /// Sends what the punchers want.
    fn punch(&mut self, cx: &mut Cx<'_>, hands: &mut Hands<'_>) {
        if !self.is_punching() || self.hold_until.is_some() {
            return;
        }
        self.attempt.advance(cx, self.punch_until);
        let in_use = self.paths.sockets_in_use();
        while let Some(spray) = self.attempt.poll(cx, hands, &in_use) {
            // The server names addresses of the matched player alone; private ones are the LAN's business.
            let allowed = is_sendable(spray.to) && (self.plan.same_nat || !is_local(spray.to.ip()));
            let tag = self.paths.open_test(cx.now, spray.socket, spray.to, spray.method);
            let message = PairMessage::Test { tag, method: spray.method };
            if let Some(sealed) = self.channel.seal_message(&message).filter(|_| allowed) {
                self.packets_sent += 1;
                self.transmit(cx, spray.socket, spray.to, spray.ttl, sealed);
            }
        }
    }

    /// No more punching: the sockets that no way runs on are closed.
    fn end_punching(&mut self, cx: &mut Cx<'_>, hands: &mut Hands<'_>) {
        self.punch_over = true;
        self.attempt.finish(cx.now);
        // By now each side pings only the way that it has chosen.
        let recently = cx.now.checked_sub(cx.config.path_ping * 2);
        let used = self.paths.sockets_used(recently);
        if self.selected().is_some() {
            self.paths.keep_only(&used, |socket| {
                socket == SocketId::MAIN || socket == SocketId::MAIN_V6 || socket == RELAY
            });
        }
        self.close_unused(cx, hands, &used);
    }

    /// Closes this match's sockets but these.
    fn close_unused(&self, cx: &mut Cx<'_>, hands: &mut Hands<'_>, used: &[SocketId]) {
        let id = self.match_id;
        let close: Vec<Owner> =
            hands.sockets.owned(|owner| matches!(owner, Owner::Match(of, ..) if of == id));
        for owner in close {
            if hands.sockets.get(owner).is_none_or(|(socket, _)| !used.contains(&socket)) {
                hands.sockets.close(cx, owner);
            }
        }
    }

    /// Takes the best proven path, and says so when that is news.
    fn choose(&mut self, cx: &mut Cx<'_>) -> Option<PeerNews> {
        if !self.paths.choose(cx.now, cx.config) {
            return None;
        }
        let path = self.path_info(cx.now)?;
        let relayed = path.kind == PathKind::Relay;
        if !relayed {
            self.told_relayed = false;
            if !self.punch_over {
                self.tidy_at.get_or_insert(cx.now + TIDY);
            }
        }
        if self.is_connected() {
            cx.emit(Event::PathChanged { player: self.info.id, path });
            return if relayed {
                self.tell_relayed(cx, Stage::Established, FailureReason::PathLost)
            } else {
                Some(PeerNews::Direct)
            };
        }
        self.stage = PeerStage::Connected;
        let mesh = self.plan.mesh;
        cx.emit(Event::PeerConnected { peer: self.info.clone(), host: self.host && !mesh, mesh, path });
        if relayed && self.attempt.is_idle() {
            // Nothing is being tried that this could be the end of.
            _ = self.tell_relayed(cx, Stage::Punch, self.failure_reason(cx.config));
        }
        Some(PeerNews::Connected)
    }

    /// The path in use, as the game may see it.
    pub(crate) fn path_info(&self, now: Instant) -> Option<PathInfo> {
        let path = self.paths.selected()?;
        let relay = path.kind == PathKind::Relay;
        Some(PathInfo {
            kind: path.kind,
            remote: (!relay).then_some(path.remote),
            socket: if relay { SocketId::MAIN } else { path.socket },
            method: (!relay).then_some(path.method),
            rtt: path.pulse.rtt(),
            since_request: now.saturating_duration_since(self.requested),
            packets_sent: self.packets_sent,
            targets: self.attempt.spending().targets().max(1),
            sockets: self.attempt.spending().sockets + 1,
        })
    }

    /// Ends the channel from this side. The game is told with `event`.
    pub(crate) fn close(&mut self, cx: &mut Cx<'_>, reason: &str, event: Option<DisconnectReason>) {
        if !self.is_live() {
            return;
        }
        let was_connected = self.is_connected();
        let mut reason = reason.to_owned();
        while reason.len() > MAX_REASON {
            reason.pop();
        }
        self.stage = PeerStage::Closing { repeats: 0, next: cx.now, reason };
        self.send_close(cx);
        if let (true, Some(reason)) = (was_connected, event) {
            cx.emit(Event::PeerDisconnected { peer: self.info.clone(), reason });
        }
    }

    fn send_close(&mut self, cx: &mut Cx<'_>) {
        let path = self.selected().map(|(socket, remote, _)| (socket, remote));
        let PeerStage::Closing { repeats, next, reason } = &mut self.stage else { return };
        let message = PairMessage::Close { reason: reason.clone() };
        let gap = CLOSE_REPEATS.get(*repeats).copied();
        *repeats += 1;
        match (gap, path) {
            (Some(gap), Some((socket, remote))) => {
                *next = cx.now + gap;
                self.send_message(cx, socket, remote, &message);
            }
            // Nobody to tell, or told often enough.
            _ => self.stage = PeerStage::Ended,
        }
    }

    /// Forgets the match at once, without a word to the other side.
    pub(crate) fn drop_silently(&mut self) {
        self.stage = PeerStage::Ended;
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>, hands: &mut Hands<'_>) -> Option<PeerNews> {
        match &self.stage {
            PeerStage::Ended => return None,
            PeerStage::Closing { next, .. } => {
                if *next <= cx.now {
                    self.send_close(cx);
                }
                return None;
            }
            PeerStage::Punching { deadline } if *deadline <= cx.now => {
                self.emit_failure(cx, Stage::Punch, self.failure_reason(cx.config));
                self.stage = PeerStage::Ended;
                return Some(PeerNews::Failed);
            }
            PeerStage::Connected
                if cx.now.saturating_duration_since(self.last_heard) >= cx.config.path_timeout =>
            {
                cx.emit(Event::PeerDisconnected { peer: self.info.clone(), reason: DisconnectReason::Lost });
                self.stage = PeerStage::Ended;
                return Some(PeerNews::Lost);
            }
            PeerStage::Punching { .. } | PeerStage::Connected => {}
        }
        let mut told = None;
        let relayed_too_long = self.is_connected() && self.punch_until <= cx.now;
        if !self.punch_over && (due(self.tidy_at, cx.now) || relayed_too_long) {
            let relayed = self.paths.selected().is_some_and(|path| path.kind == PathKind::Relay);
            if relayed {
                told = self.tell_relayed(cx, Stage::Punch, self.failure_reason(cx.config));
            }
            self.end_punching(cx, hands);
        }
        let mut orders = Vec::new();
        let news = self.paths.handle_timeout(cx.now, cx.config, &mut orders);
        if news.doubt {
            // Perhaps this side's NAT forgot everything: then the server sees it elsewhere now, and has to know
            // before the relay takes anything.
            hands.link.check_now(cx.now);
        }
        if news.upgrade {
            // By our own clock alone, so that nobody else can have us spend more.
            self.attempt.renew(cx.now);
            self.ask_to_punch_again(cx, hands);
        }
        told = self.choose(cx).or(told);
        for order in orders {
            let established = self.is_connected() && self.paths.is_selected(order.socket, order.remote);
            // What is over the caps is left out: it will be due again.
            if !established
                && order.socket != RELAY
                && !self.attempt.may_send(cx.now, hands.budget, order.remote)
            {
                continue;
            }
            let test = PairMessage::Test { tag: order.tag, method: order.method };
            self.send_message(cx, order.socket, order.remote, &test);
        }
        if due(self.hold_until, cx.now) {
            self.hold_until = None;
        }
        if self.is_punching() {
            self.attempt.handle_timeout(cx.now);
            self.punch(cx, hands);
        }
        told
    }

    /// The cause, from what was heard and from what the two NATs are.
    fn failure_reason(&self, config: &AgentConfig) -> FailureReason {
        // The TCP address of a player without UDP is not told, which is no wish of anybody's.
        let blocked = self.plan.own_nat.udp_blocked || self.plan.peer_nat.udp_blocked;
        if config.relay == RelayPolicy::Only || (self.plan.peer_public.is_empty() && !blocked) {
            let relay = self.plan.relay.is_some() && config.relay != RelayPolicy::Never;
            return if relay { FailureReason::RelayOnly } else { FailureReason::RelayForbidden };
        }
        match expected_failure(&self.plan.own_nat, &self.plan.peer_nat) {
            FailureReason::NoAnswer if self.paths.heard_directly() => FailureReason::OneWayOnly,
            FailureReason::NoAnswer if self.plan.same_nat => FailureReason::NoHairpin,
            expected => expected,
        }
    }

    /// Why there is no direct path, as last told to the game.
    pub(crate) fn cause(&self) -> Option<FailureReason> {
        self.cause
    }

    /// The game plays over the relay: why, unless it was told already.
    fn tell_relayed(&mut self, cx: &mut Cx<'_>, stage: Stage, reason: FailureReason) -> Option<PeerNews> {
        if std::mem::replace(&mut self.told_relayed, true) {
            return None;
        }
        self.cause = Some(reason);
        let report = self.report(cx.now, stage, reason);
        cx.emit(Event::PeerRelayed { peer: self.info.clone(), report });
        Some(PeerNews::Relayed)
    }

    /// The match is over for a reason that the agent knows: the game is told, the other side is not.
    pub(crate) fn end(&mut self, cx: &mut Cx<'_>, reason: DisconnectReason) {
        if self.is_connected() {
            cx.emit(Event::PeerDisconnected { peer: self.info.clone(), reason });
        } else if self.is_live() {
            self.emit_failure(cx, Stage::Punch, FailureReason::PeerLeft);
        }
        self.stage = PeerStage::Ended;
    }

    fn emit_failure(&mut self, cx: &mut Cx<'_>, stage: Stage, reason: FailureReason) {
        self.cause = Some(reason);
        let report = self.report(cx.now, stage, reason);
        cx.emit(Event::PeerFailed { peer: self.info.clone(), report });
    }

    fn report(&self, now: Instant, stage: Stage, reason: FailureReason) -> FailureReport {
        let (own_nat, peer_nat) = (self.plan.own_nat, self.plan.peer_nat);
        let relayed = self.is_connected() && self.selected().is_some_and(|path| path.0 == RELAY);
        FailureReport { stage, reason, relayed, own_nat, peer_nat, tried: self.attempt.tried(now) }
    }

    pub(crate) fn poll_timeout(&self, config: &AgentConfig) -> Option<Instant> {
        let paths = earliest(self.paths.poll_timeout(), self.hold_until);
        match &self.stage {
            PeerStage::Ended => None,
            PeerStage::Closing { next, .. } => Some(*next),
            PeerStage::Punching { deadline } => {
                earliest(Some(*deadline), earliest(paths, self.attempt.poll_timeout()))
            }
            PeerStage::Connected => {
                let punching = self.attempt.poll_timeout().filter(|_| self.is_punching());
                let end = (!self.punch_over).then(|| self.tidy_at.unwrap_or(self.punch_until));
                let paths = earliest(paths, earliest(punching, end));
                earliest(Some(self.last_heard + config.path_timeout), paths)
            }
        }
    }
}

/// Whether test messages go to this public address of the other player. The plan's methods are about the NATs of the
/// session's family. In the other one nothing is known of any NAT, and IPv6 mostly has none: firewalls open to those
/// who are sent to, so tests from both sides are all that is needed.
fn is_tested(
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
