//! The end of a match, or of its direct way: told to the other side, and to the game with its cause.

use std::time::Duration;

use super::{Peer, PeerNews, PeerStage};
use crate::address::is_local;
use crate::api::{DisconnectReason, Event};
use crate::config::RelayPolicy;
use crate::cx::Cx;
use crate::env::Families;
use crate::failure::{FailureReason, FailureReport, NoRelay, Stage};
use crate::plan::expected_failure;
use crate::text;
use crate::way::Way;
use crate::wire::pair::PairMessage;

/// A close is repeated until it is acknowledged, at these times; then the other side's own timeout must do. The times follow
/// no round trip: they are against loss, and nobody waits for the acknowledgement.
const CLOSE_REPEATS: [Duration; 4] = [
    Duration::from_millis(60),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
];

impl Peer {
    /// Ends the channel from this side. The game is told with `event`; where it had no path yet, that the attempt failed,
    /// unless the game itself ended it.
    pub(crate) fn close(&mut self, cx: &mut Cx<'_>, reason: &str, event: Option<DisconnectReason>) {
        if !self.is_live() {
            return;
        }
        let was_connected = self.is_connected();
        let reason = text::REASON.clean(reason);
        self.stage = PeerStage::Closing { repeats: 0, next: cx.now, reason };
        self.send_close(cx);
        match event {
            Some(reason) if was_connected => {
                cx.emit(Event::PeerDisconnected { peer: self.info.clone(), reason });
            }
            Some(DisconnectReason::Local) | None => {}
            Some(_) => self.emit_failure(cx, Stage::Punch, FailureReason::PeerLeft),
        }
    }

    /// Notes that an attempt that is about to be closed has failed.
    pub(crate) fn give_up(&mut self, cx: &mut Cx<'_>) {
        if self.is_live() && !self.is_connected() {
            self.emit_failure(cx, Stage::Punch, FailureReason::PeerLeft);
        }
    }

    pub(super) fn send_close(&mut self, cx: &mut Cx<'_>) {
        let way = self.selected();
        let doubtful = self.paths.is_doubtful();
        let PeerStage::Closing { repeats, next, reason } = &mut self.stage else { return };
        let message = PairMessage::Close { reason: reason.clone() };
        let gap = CLOSE_REPEATS.get(*repeats).copied();
        *repeats += 1;
        match (gap, way) {
            (Some(gap), Some(way)) => {
                *next = cx.now + gap;
                if doubtful && !way.is_relay() {
                    self.send_message(cx, Way::relay(way.remote), &message);
                }
                self.send_message(cx, way, &message);
            }
            // Nobody to tell, or told often enough.
            _ => self.stage = PeerStage::Ended,
        }
    }

    /// Forgets the match at once, without a word to the other side.
    pub(crate) fn drop_silently(&mut self) {
        self.stage = PeerStage::Ended;
    }

    /// Returns the cause, from what was heard and from what the two NATs are.
    pub(super) fn failure_reason(&self, cx: &Cx<'_>) -> FailureReason {
        let config = cx.config;
        // The TCP address of a player without UDP is not told, which is no wish of anybody's.
        let blocked = self.over_tcp || self.plan.own_nat.udp_blocked || self.plan.peer_nat.udp_blocked;
        if config.relay == RelayPolicy::Only || (self.plan.peer_public.is_empty() && !blocked) {
            return match (config.relay, self.plan.relay, self.plan.no_relay) {
                (RelayPolicy::Never, ..) => FailureReason::RelayForbidden,
                (_, Some(_), _) => FailureReason::RelayOnly,
                (.., Some(NoRelay::Full | NoRelay::Budget)) => FailureReason::RelayFull,
                _ => FailureReason::RelayForbidden,
            };
        }
        // A server that was lost meanwhile says nothing about the families; the plan's addresses came from it.
        let theirs =
            self.plan.peer_public.iter().fold(Families::default(), |all, address| all.with(*address));
        let known = cx.link.families() != Families::default() && theirs != Families::default();
        if known && !blocked && !self.plan.same_nat && !cx.link.families().shares_one_with(theirs) {
            return FailureReason::NoCommonFamily;
        }
        if !blocked && self.is_hidden(cx) {
            return FailureReason::AddressesHidden;
        }
        if self.attempt.waits_for_permit() {
            return FailureReason::SearchWaits;
        }
        match expected_failure(&self.plan.own_nat, &self.plan.peer_nat) {
            FailureReason::NoAnswer if self.paths.heard_directly() => FailureReason::OneWayOnly,
            FailureReason::NoAnswer if self.plan.same_nat => FailureReason::NoHairpin,
            expected => expected,
        }
    }

    /// Returns whether the server sees both at one local address that is not this machine's, and so does not see
    /// where they are.
    fn is_hidden(&self, cx: &Cx<'_>) -> bool {
        let Some(seen) = cx.link.seen_at().map(|seen| seen.ip()).filter(|ip| is_local(*ip)) else {
            return false;
        };
        let there = self.plan.peer_public.iter().any(|address| address.ip() == seen);
        there && !cx.local.is_empty() && !cx.local.contains(&seen) && !self.paths.heard_directly()
    }

    /// One of the two is logged in over TCP, and it is not sure yet that UDP does not get through to it.
    pub(super) fn udp_is_in_doubt(&self) -> bool {
        [&self.plan.own_nat, &self.plan.peer_nat].iter().any(|nat| nat.udp_blocked && !nat.is_udp_blocked())
    }

    /// Returns why there is no direct path, as last told to the game.
    pub(crate) fn cause(&self) -> Option<FailureReason> {
        self.cause
    }

    /// Tells the game that it plays over the relay, and why, unless it was told already.
    pub(super) fn tell_relayed(
        &mut self,
        cx: &mut Cx<'_>,
        stage: Stage,
        reason: FailureReason,
    ) -> Option<PeerNews> {
        if std::mem::replace(&mut self.told_relayed, true) {
            return None;
        }
        self.cause = Some(reason);
        let report = self.report(cx, stage, reason);
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

    pub(super) fn emit_failure(&mut self, cx: &mut Cx<'_>, stage: Stage, reason: FailureReason) {
        self.cause = Some(reason);
        let report = self.report(cx, stage, reason);
        cx.emit(Event::PeerFailed { peer: self.info.clone(), report });
    }

    pub(super) fn report(&self, cx: &Cx<'_>, stage: Stage, reason: FailureReason) -> FailureReport {
        let (own_nat, peer_nat) = (self.plan.own_nat, self.plan.peer_nat);
        let relayed = self.plays_over_relay();
        let no_relay = self.plan.no_relay.filter(|_| cx.config.relay != RelayPolicy::Never);
        FailureReport {
            stage,
            reason,
            relayed,
            no_relay,
            own_nat,
            peer_nat,
            tried: self.attempt.tried(cx.now),
        }
    }
}
