//! The agent's matches, from their plans to their ends.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Agent, DisconnectReason, Event, IntoSocketError, ReleasedSocket};
use crate::address::canonical;
use crate::attempt::PlanPermit;
use crate::failure::{FailureReason, FailureReport, Stage};
use crate::id::{MatchId, PlayerId};
use crate::login::MatchUse;
use crate::mesh::Mesh;
use crate::peer::{Peer, PeerNews};
use crate::sockets::Owner;
use crate::way::Way;
use crate::wire::message::{
    Facts, MatchEnd, MatchOutcome, PunchPlan, Replan, Request, RoomEnd, ToServer, Topology,
};

/// The others count as made by the same wish to join for so long after the first plan of a mesh; where a lost one
/// comes again later than that, it is twice the time of an answer.
const JOIN_PLANS: Duration = Duration::from_secs(1);
/// A member whose host has closed the channel, or could not be reached, waits so long for another one. The server
/// asks host and members for 4.5 s at the most, and may have to be found again itself.
const SEEK: Duration = Duration::from_secs(20);
/// So many news may wait for the plan of their match: a few of each of its methods.
const EARLY: usize = 16;

/// The server tells this of a match. They may come before its plan: messages of the server may overtake each other.
#[derive(Debug)]
pub(super) enum MatchNews {
    Facts(Facts),
    Replan(Box<Replan>),
    /// The permit to search changed.
    Permit(PlanPermit),
    Ended(MatchEnd),
}

impl Agent {
    /// Returns when the game asked for the join that this plan is made for; `now` if the game did not ask for it.
    fn requested(&mut self, now: Instant, plan: &PunchPlan) -> Instant {
        let Some((asked, first)) = self.join_requested.as_mut().filter(|_| !plan.hosting) else { return now };
        let (asked, first) = (*asked, *first.get_or_insert(now));
        if now.saturating_duration_since(first) > self.shared.link.timing().at_least(JOIN_PLANS, 2) {
            self.join_requested = None;
            return now;
        }
        asked
    }

    pub(super) fn handle_plan(&mut self, now: Instant, mut plan: PunchPlan) {
        for address in plan.peer_public.iter_mut().chain(&mut plan.peer_local) {
            *address = canonical(*address);
        }
        let Some(plan) = self.plan_of_this_host(plan) else { return };
        let requested = self.requested(now, &plan);
        self.mesh.planned(plan.peer.id);
        // A plan is used once: the keys made from it must not be made again.
        if self.peers.contains_key(&plan.match_id) {
            return;
        }
        let Some(online) = self.shared.link.online() else { return };
        // Also when that match is over long since: its keys would begin to count anew.
        let Some(use_of) = online.use_match(plan.match_id) else { return };
        let ephemeral = online.ephemeral.clone();
        if let Some(old) = self.by_player.get(&plan.peer.id).and_then(|id| self.peers.get_mut(id)) {
            old.end(&mut self.shared.cx(now), MatchEnd::Replaced.into());
        }
        let mut cx = self.shared.cx(now);
        let (info, match_id, (own_nat, peer_nat)) =
            (plan.peer.clone(), plan.match_id, (plan.own_nat, plan.peer_nat));
        let (role, methods, seat) = (plan.role, plan.methods.clone(), plan.seat());
        cx.emit(Event::Plan { peer: info.clone(), role, methods, seat });
        let full = use_of == MatchUse::TooMany || self.by_player.len() >= cx.config.caps.peers;
        match Peer::new(&mut cx, plan, &ephemeral, requested).filter(|_| !full) {
            Some(peer) => {
                self.lobby.planned();
                self.by_player.insert(info.id, match_id);
                self.peers.insert(match_id, peer);
                self.handle_peer_timeout(now, match_id);
                self.hand_early(now, match_id);
            }
            None => {
                let reason = if full { FailureReason::CapReached } else { FailureReason::BadPlan };
                let report = FailureReport {
                    stage: Stage::Request,
                    reason,
                    relayed: false,
                    no_relay: None,
                    own_nat,
                    peer_nat,
                    tried: Vec::new(),
                };
                self.mesh.give_up(info.id);
                cx.emit(Event::PeerFailed { peer: info, report });
                self.tell_server(
                    now,
                    ToServer::MatchReport { match_id, outcome: MatchOutcome::Failed, cause: Some(reason) },
                );
            }
        }
    }

    /// Hands news of a match to its peer, or keeps them until its plan comes: they may have overtaken a plan that got lost
    /// and is sent again.
    pub(super) fn match_news(&mut self, now: Instant, match_id: MatchId, news: MatchNews) {
        let Some(peer) = self.peers.get_mut(&match_id) else {
            if self.early.len() >= EARLY {
                self.early.pop_front();
            }
            return self.early.push_back((match_id, news));
        };
        let cx = &mut self.shared.cx(now);
        match news {
            MatchNews::Facts(facts) => peer.handle_facts(cx, &facts),
            MatchNews::Replan(plan) => peer.replan(cx, *plan),
            MatchNews::Permit(permit) => peer.handle_permit(cx, permit),
            MatchNews::Ended(reason) => self.match_ended(now, match_id, reason),
        }
    }

    /// Hands over what came before the plan of this match, in the order in which it came.
    fn hand_early(&mut self, now: Instant, match_id: MatchId) {
        let (early, later) = self.early.drain(..).partition::<VecDeque<_>, _>(|(id, _)| *id == match_id);
        self.early = later;
        for (_, news) in early {
            let ended = matches!(news, MatchNews::Ended(_));
            if self.peers.contains_key(&match_id) {
                self.match_news(now, match_id, news);
            }
            if ended {
                return;
            }
        }
    }

    pub(super) fn match_ended(&mut self, now: Instant, match_id: MatchId, reason: MatchEnd) {
        let Some(peer) = self.peers.get_mut(&match_id) else { return };
        if reason == MatchEnd::Migrated {
            return peer.close(&mut self.shared.cx(now), &reason.to_string(), Some(reason.into()));
        }
        // The server has lost sight of the other player; while the path works the game goes on. Of one who is away nothing
        // is to be expected any more: its place in the room is gone, too.
        if reason == MatchEnd::Gone && peer.is_connected() && !peer.is_away() {
            // And it needs the relay again when the other one is back.
            let kept = peer.kept();
            return self.keep_matches(now, kept);
        }
        peer.end(&mut self.shared.cx(now), reason.into());
    }

    /// Does the book-keeping after something happened to a match.
    pub(super) fn handle_peer(&mut self, now: Instant, match_id: MatchId, news: PeerNews) {
        let relayed = self.peers.get(&match_id).and_then(Peer::selected).is_some_and(Way::is_relay);
        let outcome = match news {
            PeerNews::Connected if relayed => MatchOutcome::Relayed,
            PeerNews::Relayed => MatchOutcome::Relayed,
            PeerNews::Connected | PeerNews::Direct => MatchOutcome::Direct,
            PeerNews::Ended => MatchOutcome::Closed,
            PeerNews::Failed => MatchOutcome::Failed,
            PeerNews::Lost => MatchOutcome::Lost,
        };
        let cause = match outcome {
            MatchOutcome::Relayed | MatchOutcome::Failed => self.peers.get(&match_id).and_then(Peer::cause),
            MatchOutcome::Lost => Some(FailureReason::PathLost),
            _ => None,
        };
        self.tell_server(now, ToServer::MatchReport { match_id, outcome, cause });
        let Some(peer) = self.peers.get(&match_id) else { return };
        match news {
            PeerNews::Connected | PeerNews::Direct | PeerNews::Relayed => {}
            PeerNews::Lost => self.mesh.lost((now, self.shared.link.timing()), peer.info.id),
            PeerNews::Ended | PeerNews::Failed => self.mesh.give_up(peer.info.id),
        }
        let host = self.lobby.room().map(|room| room.info.host);
        let goes_on = matches!(news, PeerNews::Connected | PeerNews::Direct | PeerNews::Relayed);
        if goes_on && host == Some(peer.info.id) && self.lobby.host_found() {
            // It was started anew, before another one took its place.
            return self.say_host_seen(now, true);
        }
        if !goes_on && host == Some(peer.info.id) {
            if self.lobby.host_lost(now + SEEK) {
                return self.say_host_seen(now, false);
            }
            let reason = if news == PeerNews::Ended { RoomEnd::Closed } else { RoomEnd::HostLost };
            self.room_without_host(now, reason);
        }
    }

    pub(super) fn handle_peer_timeout(&mut self, now: Instant, match_id: MatchId) {
        let Some(peer) = self.peers.get_mut(&match_id) else { return };
        let news = peer.handle_timeout(&mut self.shared.cx(now));
        let contact = peer.take_contact();
        if let Some(news) = news {
            self.handle_peer(now, match_id, news);
        }
        if let Some(contact) = contact {
            self.handle_contact(now, match_id, contact);
        }
    }

    pub(super) fn in_mesh(&self) -> bool {
        self.lobby.room().is_some_and(|room| room.info.topology == Topology::Mesh && !room.is_watched())
    }

    /// Asks for the pairs of a mesh that have no connection.
    pub(super) fn mend_mesh(&mut self, now: Instant) {
        if !self.in_mesh() {
            self.mesh = Mesh::default();
            return;
        }
        if !self.shared.link.is_online() {
            return;
        }
        let live = |player| self.by_player.contains_key(&player);
        for player in self.mesh.handle_timeout((now, self.shared.link.timing()), live) {
            self.lobby.ask_silently(&mut self.shared.cx(now), Request::Rematch { player });
        }
    }

    pub(super) fn close_all(&mut self, now: Instant, reason: &str) {
        let players: Vec<PlayerId> = self.by_player.keys().copied().collect();
        for player in players {
            self.close_peer(now, player, reason);
        }
    }

    /// Closes all channels where the game did not ask for it: of an attempt that has not come to its end it hears that it
    /// failed.
    pub(super) fn give_up_all(&mut self, now: Instant, reason: &str) {
        for peer in self.peers.values_mut() {
            peer.give_up(&mut self.shared.cx(now));
        }
        self.close_all(now, reason);
    }

    pub(super) fn close_peer(&mut self, now: Instant, player: PlayerId, reason: &str) {
        self.mesh.give_up(player);
        let Some(peer) = self.by_player.get(&player).and_then(|id| self.peers.get_mut(id)) else { return };
        peer.close(&mut self.shared.cx(now), reason, Some(DisconnectReason::Local));
        let match_id = peer.match_id;
        self.tell_server(now, ToServer::MatchReport { match_id, outcome: MatchOutcome::Closed, cause: None });
    }

    /// Passes on the turn to search by many sockets or ports, where the match that had it does so no more.
    fn pass_search(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.check_permit(&mut self.shared.cx(now));
        }
        // Each time round, a match has ended its search: at once, if it has nothing left to try.
        for _ in 0..=self.peers.len() {
            let searches = |holder| self.peers.get(&holder).is_some_and(Peer::is_searching);
            if self.shared.budget.searching().is_none_or(searches) {
                return;
            }
            self.shared.budget.end_search();
            for peer in self.peers.values_mut() {
                peer.punch(&mut self.shared.cx(now));
            }
        }
    }

    /// Forgets matches that are over.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.pass_search(now);
        for id in self.peers.values().filter(|peer| peer.is_ended()).map(|peer| peer.match_id) {
            let cx = &mut self.shared.cx(now);
            cx.sockets.close_all(
                &mut cx.env,
                |owner| matches!(owner, Owner::Match(match_id, ..) if match_id == id),
            );
        }
        self.by_player.retain(|_, id| self.peers.get(id).is_some_and(Peer::is_live));
        self.peers.retain(|_, peer| !peer.is_ended());
    }

    /// Takes the direct path to `player` out of the agent's cx. The agent forgets the player and its socket; if
    /// that was a main socket, the driver opens another and says so with [`handle_socket`](Self::handle_socket).
    ///
    /// The two sides may use different ways at a time. Here the one who joined follows the host: it gives the way
    /// that the host's latest game datagram took. So the host sends some first, and the other one waits for them.
    ///
    /// # Errors
    /// See [`IntoSocketError`].
    pub fn release_socket(
        &mut self,
        now: Instant,
        player: PlayerId,
    ) -> Result<ReleasedSocket, IntoSocketError> {
        let id = *self.by_player.get(&player).ok_or(IntoSocketError::NotConnected)?;
        let peer = self.peers.get(&id).ok_or(IntoSocketError::NotConnected)?;
        let way = peer.releasable().ok_or(IntoSocketError::NotConnected)?;
        let Way { socket, remote } = way;
        if way.is_relay() {
            return Err(IntoSocketError::Relayed);
        }
        if peer.is_crossed() {
            return Err(IntoSocketError::Crossed);
        }
        let shared = |other: &Peer| {
            other.match_id != id && other.is_live() && other.selected().is_none_or(|way| way.socket == socket)
        };
        if self.peers.values().any(shared) {
            return Err(IntoSocketError::SharedSocket);
        }
        let shared_key = peer.export(b"bevy_traversal socket", b"");
        self.mesh.give_up(player);
        self.shared.sockets.forget(socket);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.drop_silently();
        }
        self.sweep(now);
        Ok(ReleasedSocket { socket, remote, shared_key })
    }
}
