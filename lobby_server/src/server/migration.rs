//! A room that outlives its host: who says that the host is lost, who is next, and what the members are told.
//!
//! The server replaces a host only when it does not hear it *and* the members do not either: a host that is merely
//! cut off from the server goes on hosting. A host that leaves on its own account needs no vote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{MatchEnd, PlayerInfo, RoomEnd, ToPlayer};

use super::liveness::ping_period;
use super::{Server, Timer};
use crate::host_choice::{Candidate, choose_host};

/// A host that answers may be about to leave: its channels end before its word is here. Longer than two
/// retransmissions of that word take; where answers take long, twice their time.
const ALIVE_GRACE: Duration = Duration::from_secs(1);

/// Who was heard within this comes before who was not: members keep alive every 4 s.
const FRESH: Duration = Duration::from_secs(6);

/// The question whether a room's host is lost.
#[derive(Debug)]
pub(super) struct Loss {
    stage: Stage,
    /// What members said: whether they hear it.
    said: BTreeMap<PlayerId, bool>,
}

#[derive(Debug)]
enum Stage {
    /// The host is asked for a sign of life.
    Pinging { until: Instant, period: Duration },
    /// It gave one.
    Alive,
    /// The members are asked.
    Asking,
}

impl Server {
    /// Members with a session, as the host's successors in the order of their seniority.
    fn successors(&self, id: RoomId) -> Vec<PlayerId> {
        let Some(room) = self.rooms.get(&id) else { return Vec::new() };
        let present = |player: &PlayerId| {
            self.players.get(player).is_some_and(|state| state.room == Some(id) && !state.stale)
        };
        room.members.iter().skip(1).map(|member| member.id).filter(present).collect()
    }

    /// Anybody who is in this room and may still play in it.
    pub(super) fn is_inhabited(&self, id: RoomId) -> bool {
        let inside =
            |member: &PlayerInfo| self.players.get(&member.id).is_some_and(|state| state.room == Some(id));
        self.rooms.get(&id).is_some_and(|room| room.members.iter().any(inside))
    }

    /// A member says whether it hears its host.
    pub(super) fn handle_host_seen(
        &mut self,
        now: Instant,
        member: PlayerId,
        (id, epoch): (RoomId, u32),
        heard: bool,
    ) {
        let inside = self.players.get(&member).is_some_and(|state| state.room == Some(id) && !state.stale);
        let Some(room) = self.rooms.get(&id).filter(|_| inside) else { return };
        if !room.migrate || room.epoch != epoch || room.host() == member {
            return;
        }
        match self.losses.get_mut(&id) {
            Some(loss) => {
                loss.said.insert(member, heard);
                if matches!(loss.stage, Stage::Asking) {
                    self.decide_if_all_said(now, id);
                }
            }
            None if heard => {}
            None => self.suspect(now, id, Some(member)),
        }
    }

    /// The host of this room may be lost: a member says so, or its session is over.
    pub(super) fn suspect(&mut self, now: Instant, id: RoomId, reporter: Option<PlayerId>) {
        let Some(room) = self.rooms.get(&id).filter(|room| room.migrate && room.claimed) else { return };
        if let Some(loss) = self.losses.get_mut(&id) {
            loss.said.extend(reporter.map(|member| (member, false)));
            return;
        }
        let present = self.players.get(&room.host()).is_some_and(|host| host.room == Some(id));
        let host = self.players.get(&room.host()).map(|host| host.session);
        let wait = self.wait_for(self.config.liveness_wait, host);
        let stage = Stage::Pinging { until: now + wait, period: ping_period(wait) };
        let said = reporter.map(|member| (member, false)).into_iter().collect();
        self.losses.insert(id, Loss { stage, said });
        if present {
            self.loss_timeout(now, id);
        } else {
            self.ask_members(now, id);
        }
    }

    /// A session gave a sign of life: perhaps a host's that was in question.
    pub(super) fn host_heard(&mut self, now: Instant, session: u64) {
        if self.losses.is_empty() {
            return;
        }
        let Some(player) = self.sessions.get(&session).map(|client| client.player) else { return };
        let Some(state) = self.players.get(&player).filter(|state| state.session == session) else { return };
        let Some(id) = state.room.filter(|_| !state.stale) else { return };
        if self.rooms.get(&id).is_none_or(|room| room.host() != player) {
            return;
        }
        if let Some(loss) = self.losses.get_mut(&id)
            && !matches!(loss.stage, Stage::Alive)
        {
            loss.stage = Stage::Alive;
            let grace = self.wait_for(ALIVE_GRACE, [session]);
            self.timers.set(Timer::Loss(id), Some(now + grace));
        }
    }

    pub(super) fn loss_timeout(&mut self, now: Instant, id: RoomId) {
        let Some(loss) = self.losses.get(&id) else { return };
        match loss.stage {
            Stage::Pinging { until, period } if now < until => {
                self.timers.set(Timer::Loss(id), Some((now + period).min(until)));
                let host = self.rooms.get(&id).and_then(|room| self.players.get(&room.host()));
                if let Some(session) = host.map(|host| host.session) {
                    self.ping(now, session);
                }
            }
            Stage::Pinging { .. } => self.ask_members(now, id),
            Stage::Alive => self.host_stands(now, id),
            Stage::Asking => self.decide(now, id),
        }
    }

    fn ask_members(&mut self, now: Instant, id: RoomId) {
        let successors = self.successors(id);
        let Some(epoch) = self.rooms.get(&id).map(|room| room.epoch) else { return };
        let Some(loss) = self.losses.get_mut(&id) else { return };
        loss.stage = Stage::Asking;
        let silent: Vec<PlayerId> =
            successors.into_iter().filter(|member| !loss.said.contains_key(member)).collect();
        let asked = silent.iter().filter_map(|member| self.players.get(member).map(|state| state.session));
        let wait = self.wait_for(self.config.loss_wait, asked);
        self.timers.set(Timer::Loss(id), Some(now + wait));
        for member in silent {
            self.tell(now, member, ToPlayer::ConfirmLoss { room: id, epoch });
        }
        self.decide_if_all_said(now, id);
    }

    fn decide_if_all_said(&mut self, now: Instant, id: RoomId) {
        let successors = self.successors(id);
        let Some(loss) = self.losses.get(&id) else { return };
        // One who hears it is enough.
        let heard = loss.said.values().any(|heard| *heard);
        if heard || successors.iter().all(|member| loss.said.contains_key(member)) {
            self.decide(now, id);
        }
    }

    /// All who wanted to have spoken.
    fn decide(&mut self, now: Instant, id: RoomId) {
        let Some(loss) = self.losses.get(&id) else { return };
        if loss.said.values().any(|heard| *heard) {
            self.host_stands(now, id);
            return;
        }
        let able: BTreeSet<PlayerId> = loss.said.keys().copied().collect();
        if able.is_empty() {
            // Nobody there to speak. Who comes back asks again; a room that nobody comes back to ends with its last session.
            self.abandon_loss(id);
            return;
        }
        if !self.hand_over(now, id, Some(&able)) {
            self.abandon_loss(id);
        }
    }

    /// The host is there: who lost it, lost it alone.
    fn host_stands(&mut self, now: Instant, id: RoomId) {
        self.timers.set(Timer::Loss(id), None);
        let (Some(loss), Some(room)) = (self.losses.remove(&id), self.rooms.get(&id)) else { return };
        let stands = ToPlayer::HostStands { room: id, epoch: room.epoch };
        for (member, _) in loss.said.into_iter().filter(|(_, heard)| !heard) {
            self.tell(now, member, stands.clone());
        }
    }

    /// The question has found its answer otherwise.
    pub(super) fn abandon_loss(&mut self, id: RoomId) {
        self.timers.set(Timer::Loss(id), None);
        self.losses.remove(&id);
    }

    /// Makes the best of the members host (of those in `able`, where that is given), ends the old host's matches and
    /// begins the new one's. False: the room may not change its host, or there is nobody to be it.
    ///
    /// Each time the old host is put out, so a room whose hosts fail one after the other comes to its end.
    pub(super) fn hand_over(&mut self, now: Instant, id: RoomId, able: Option<&BTreeSet<PlayerId>>) -> bool {
        let mut successors = self.successors(id);
        successors.retain(|member| able.is_none_or(|able| able.contains(member)));
        if successors.iter().any(|member| self.is_fresh(now, *member)) {
            successors.retain(|member| self.is_fresh(now, *member));
        }
        let candidates: Vec<Candidate> = successors.iter().map(|member| self.candidate(*member)).collect();
        let chosen = choose_host(&candidates).and_then(|index| successors.get(index).copied());
        let Some(room) = self.rooms.get_mut(&id).filter(|room| room.migrate && room.claimed) else {
            return false;
        };
        let (Some(chosen), Some(epoch)) = (chosen, room.epoch.checked_add(1)) else { return false };
        let previous = room.host();
        room.epoch = epoch;
        room.members.retain(|member| member.id != previous);
        // Stable: the others keep their seniority.
        room.members.sort_by_key(|member| member.id != chosen);
        let info = room.info();
        tracing::info!(room = %room.name, game = %room.game, epoch, "room has another host");
        self.counters.migrations += 1;
        self.abandon_loss(id);
        if let Some(state) = self.players.get_mut(&previous).filter(|state| state.room == Some(id)) {
            state.room = None;
            let stale = std::mem::take(&mut state.stale);
            self.timers.set(Timer::Stale(previous), None);
            if !stale {
                let reason = RoomEnd::HostReplaced { epoch };
                self.tell(now, previous, ToPlayer::RoomEnded { room: id, reason });
            }
        }
        self.end_matches(now, previous, MatchEnd::Migrated);
        let members = self.successors(id);
        for member in std::iter::once(chosen).chain(members.iter().copied()) {
            self.tell(now, member, ToPlayer::HostChanged { room: info.clone(), previous });
            self.tell_ticket(now, id, member);
        }
        for member in members {
            self.begin_match(now, chosen, member, false);
        }
        self.ask_again(now, id);
        self.publish(now, id);
        true
    }

    fn is_fresh(&self, now: Instant, player: PlayerId) -> bool {
        let session = self.players.get(&player).and_then(|state| self.sessions.get(&state.session));
        session.is_some_and(|client| now.saturating_duration_since(client.session.last_heard()) < FRESH)
    }
}
