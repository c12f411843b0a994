//! One player that this one is matched with: the sealed channel, its paths, its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Identity;
use crate::api::{DisconnectReason, Event, PathInfo, PathKind, SocketId};
use crate::config::AgentConfig;
use crate::cx::Cx;
use crate::failure::{FailureReason, FailureReport, Stage, Tried};
use crate::id::MatchId;
use crate::path::{Paths, is_local, is_sendable, kind_of};
use crate::timer::earliest;
use crate::wire::Dropped;
use crate::wire::message::{MAX_REASON, Method, PlayerInfo, PunchPlan};
use crate::wire::pair::{Opened, PairChannel, PairMessage};

/// A close is repeated until it is acknowledged, at these times; then the other side's own timeout must do.
const CLOSE_REPEATS: [Duration; 4] = [
    Duration::from_millis(60),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
];

/// One match.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) info: PlayerInfo,
    pub(crate) match_id: MatchId,
    /// This side hosts.
    pub(crate) host: bool,
    channel: PairChannel,
    plan: PunchPlan,
    paths: Paths,
    /// Private addresses count as one network with ours.
    lan: bool,
    stage: PeerStage,
    requested: Instant,
    started: Instant,
    last_heard: Instant,
    packets_sent: u32,
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
    Ended,
    Failed,
    Lost,
}

impl Peer {
    /// None when the plan's keys are no keys.
    pub(crate) fn new(
        cx: &Cx<'_>,
        plan: PunchPlan,
        ephemeral: &Identity,
        requested: Instant,
    ) -> Option<Self> {
        let now = cx.now;
        let channel =
            PairChannel::new(plan.match_id, ephemeral, &plan.peer_ephemeral, &plan.pair_secret, plan.host)?;
        let mut paths = Paths::default();
        let lan = cx.config.lan && plan.same_nat;
        let local = plan.peer_local.iter().filter(|address| lan && is_local(address.ip()));
        // Whoever is on this network itself is seen at a private address by a server there (or on this machine).
        let public = plan.peer_public.iter().filter(|address| plan.same_nat || !is_local(address.ip()));
        for address in local.chain(public).filter(|address| is_sendable(**address)) {
            if let Some(socket) = cx.main.towards(*address) {
                paths.add(now, socket, *address, kind_of(*address, lan), Method::Cone);
            }
        }
        let allowed = Duration::from_millis(u64::from(plan.deadline_ms)).min(cx.config.connect_deadline);
        Some(Self {
            info: plan.peer.clone(),
            match_id: plan.match_id,
            host: plan.host,
            channel,
            paths,
            lan,
            stage: PeerStage::Punching { deadline: now + allowed },
            requested,
            started: now,
            last_heard: now,
            packets_sent: 0,
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

    pub(crate) fn export_key(&self) -> [u8; 32] {
        self.channel.export_key()
    }

    /// Socket and address of the path in use.
    pub(crate) fn selected(&self) -> Option<(SocketId, SocketAddr, PathKind)> {
        self.paths.selected().map(|path| (path.socket, path.remote, path.kind))
    }

    /// Sends a game datagram; false when there is no path or it is too long.
    pub(crate) fn send(&mut self, cx: &mut Cx<'_>, payload: &[u8]) -> bool {
        if !self.is_connected() {
            return false;
        }
        let Some((socket, remote, _)) = self.selected() else { return false };
        let Some(sealed) = self.channel.seal_data(payload) else { return false };
        cx.transmit(socket, remote, sealed);
        true
    }

    fn send_message(&mut self, cx: &mut Cx<'_>, socket: SocketId, to: SocketAddr, message: &PairMessage) {
        if let Some(sealed) = self.channel.seal_message(message) {
            if matches!(self.stage, PeerStage::Punching { .. }) {
                self.packets_sent += 1;
            }
            cx.transmit(socket, to, sealed);
        }
    }

    /// A datagram of this match.
    pub(crate) fn handle_datagram(
        &mut self,
        cx: &mut Cx<'_>,
        socket: SocketId,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<Option<PeerNews>, Dropped> {
        let opened = self.channel.open(datagram)?;
        self.last_heard = cx.now;
        match opened {
            Opened::Data(payload) => {
                // Data waits for nobody: the sender had both directions proven.
                let payload = payload.to_vec();
                if !self.is_live() {
                    return Ok(None);
                }
                self.paths.heard(cx.now, socket, from, self.lan);
                self.paths.carried_data(socket, from);
                let news = self.choose(cx);
                cx.emit(Event::Datagram { player: self.info.id, payload });
                Ok(news)
            }
            Opened::Message(PairMessage::Test { tag, .. }) if self.is_live() => {
                let own = self.paths.heard(cx.now, socket, from, self.lan);
                self.send_message(cx, socket, from, &PairMessage::Confirm { tag, observed: from, test: own });
                Ok(None)
            }
            Opened::Message(PairMessage::Confirm { tag, test, .. }) if self.is_live() => {
                self.paths.heard(cx.now, socket, from, self.lan);
                self.paths.confirmed(cx.now, tag, socket, from);
                if let Some(tag) = test {
                    let answer = PairMessage::Confirm { tag, observed: from, test: None };
                    self.send_message(cx, socket, from, &answer);
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

    /// Takes the best proven path, and says so when that is news.
    fn choose(&mut self, cx: &mut Cx<'_>) -> Option<PeerNews> {
        if !self.paths.choose(cx.now, cx.config) {
            return None;
        }
        let path = self.path_info(cx.now)?;
        if self.is_connected() {
            cx.emit(Event::PathChanged { player: self.info.id, path });
            return None;
        }
        self.stage = PeerStage::Connected;
        cx.emit(Event::PeerConnected { peer: self.info.clone(), host: self.host, path });
        Some(PeerNews::Connected)
    }

    /// The path in use, as the game may see it.
    pub(crate) fn path_info(&self, now: Instant) -> Option<PathInfo> {
        let path = self.paths.selected()?;
        let relay = path.kind == PathKind::Relay;
        Some(PathInfo {
            kind: path.kind,
            remote: (!relay).then_some(path.remote),
            socket: path.socket,
            method: (!relay).then_some(path.method),
            rtt: path.rtt,
            since_request: now.saturating_duration_since(self.requested),
            packets_sent: self.packets_sent,
            targets: self.paths.targets(),
            sockets: self.paths.sockets(),
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

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Option<PeerNews> {
        match &self.stage {
            PeerStage::Ended => return None,
            PeerStage::Closing { next, .. } => {
                if *next <= cx.now {
                    self.send_close(cx);
                }
                return None;
            }
            PeerStage::Punching { deadline } if *deadline <= cx.now => {
                let reason =
                    if self.paths.heard_any() { FailureReason::OneWayOnly } else { FailureReason::NoAnswer };
                self.emit_failure(cx, Stage::Punch, reason);
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
        let mut orders = Vec::new();
        self.paths.handle_timeout(cx.now, self.last_heard, cx.config, &mut orders);
        for order in orders {
            let test = PairMessage::Test { tag: order.tag, method: order.method };
            self.send_message(cx, order.socket, order.remote, &test);
        }
        None
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

    fn emit_failure(&self, cx: &mut Cx<'_>, stage: Stage, reason: FailureReason) {
        let tried = vec![Tried {
            method: Method::Cone,
            time: cx.now.saturating_duration_since(self.started),
            packets: self.packets_sent,
        }];
        let report =
            FailureReport { stage, reason, own_nat: self.plan.own_nat, peer_nat: self.plan.peer_nat, tried };
        cx.emit(Event::PeerFailed { peer: self.info.clone(), report });
    }

    pub(crate) fn poll_timeout(&self, config: &AgentConfig) -> Option<Instant> {
        let paths = self.paths.poll_timeout(self.last_heard, config);
        match &self.stage {
            PeerStage::Ended => None,
            PeerStage::Closing { next, .. } => Some(*next),
            PeerStage::Punching { deadline } => earliest(Some(*deadline), paths),
            PeerStage::Connected => earliest(Some(self.last_heard + config.path_timeout), paths),
        }
    }
}
