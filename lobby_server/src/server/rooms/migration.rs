//! A room that outlives its host: who says that the host is lost, who is next, and what the members are told.
//!
//! The server replaces a host only when it does not hear it *and* its members do not either: a host that is merely cut off
//! from the server goes on hosting its members. A host that leaves on its own account needs no vote.
//!
//! Members may lie. A member's word that it hears the host keeps nobody host: it has to hand on the host's answer to a
//! challenge ([`LifeKey`]), which counts like a sign of life that the server hears itself, whoever says otherwise. Without
//! one such a word only has the server wait longer ([`Voices::silence`]), and who gives it does not become host. Only a
//! host that is shown to be alive has anybody sent away ([`ToPlayer::HostStands`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{PlayerId, RoomEpoch, RoomId};
use traversal_core::wire::life::{CHALLENGE, LifeKey, PROOF};
use traversal_core::wire::message::{MatchEnd, PlayerInfo, ToPlayer};

use super::liveness::ping_period;
use super::{Others, Rooms};
use crate::host_choice::{HostCandidate, choose_host};
use crate::ids::{SessionId, Sides};
use crate::room::Room;
use crate::server::matches::PairKind;
use crate::server::roster::Client;
use crate::server::timers::Timer;

/// A host that answers may be about to leave: its channels end before its word is here. This is longer than two
/// retransmissions of that word take; where answers take long, it is twice their time.
const ALIVE_GRACE: Duration = Duration::from_secs(1);

/// Where not all members who spoke, or only one, miss the host, the server must not have heard it for so long: two of the
/// signs of life that players in a room give every 4 s, and what may delay one.
const DOUBT: Duration = Duration::from_secs(10);

/// A member who says that it hears the host may take so long to show it: at 30 % loss each way one of the 13 requests
/// that it makes in 4 s gets no answer through once in six thousand times. It is longer where members are far away.
const PROOF_WAIT: Duration = Duration::from_secs(5);

/// A member needs so much to hear of the decision, in addition to the time that it is told.
const NEWS: Duration = Duration::from_secs(3);

/// This is the question whether a room's host is lost.
#[derive(Debug)]
pub(super) struct Loss {
    stage: Stage,
    /// This is what members said: whether they hear it.
    said: BTreeMap<PlayerId, bool>,
    /// This is when the server heard the host last; for one that it does not know, since when it asks.
    heard_at: Instant,
    /// These members were told when there will be an answer, with the time that they were told.
    told: BTreeMap<PlayerId, Instant>,
    /// This is for the host, to be answered by way of a member.
    challenge: [u8; CHALLENGE],
    /// Until then members may show that it is alive.
    proof_until: Instant,
    /// The answers are checked with this key, which is made when the first one comes.
    life_key: Option<LifeKey>,
}

/// So many members miss the host, and so many say that they hear it.
#[derive(Clone, Copy, Debug)]
struct Voices {
    lost: usize,
    heard: usize,
}

impl Voices {
    /// Returns how long the server itself must not have heard the host before these voices may replace it, where
    /// nobody has shown that it is alive; `session` is the silence after which a session is over. `None`: nobody
    /// misses it.
    fn silence(self, session: Duration) -> Option<Duration> {
        match (self.lost, self.heard) {
            (0, _) => None,
            (2.., 0) => Some(Duration::ZERO),
            // One voice alone may be a lie; so may those that say otherwise, however many.
            _ => Some(DOUBT.min(session)),
        }
    }
}

#[derive(Debug)]
enum Stage {
    /// The host is asked for a sign of life.
    Pinging { until: Instant, period: Duration },
    /// It gave one.
    Alive,
    /// The members are asked, and who has not spoken by then is not waited for.
    Asking { until: Instant },
}

impl Stage {
    fn is_asking(&self) -> bool {
        matches!(self, Self::Asking { .. })
    }
}

impl Rooms {
    /// Returns the members with a session, as the host's successors in the order of their seniority.
    fn successors(&self, others: &Others<'_>, id: RoomId) -> Vec<PlayerId> {
        let Some(room) = self.rooms.get(&id) else { return Vec::new() };
        let present = |player: &PlayerId| others.roster.is_present(*player, id);
        room.members.iter().skip(1).map(|member| member.id).filter(present).collect()
    }

    /// Returns whether anybody is in this room and may still play in it.
    pub(super) fn is_inhabited(&self, others: &Others<'_>, id: RoomId) -> bool {
        let inside = |member: &PlayerInfo| others.roster.room_of(member.id) == Some(id);
        self.rooms.get(&id).is_some_and(|room| room.members.iter().any(inside))
    }

    /// A member says whether it hears its host.
    pub(crate) fn handle_host_seen(
        &mut self,
        others: &mut Others<'_>,
        member: PlayerId,
        about: RoomEpoch,
        heard: bool,
    ) {
        let id = about.room;
        let inside = others.roster.is_present(member, id);
        let Some(room) = self.rooms.get(&id).filter(|_| inside) else { return };
        if !room.setup.options.migrate
            || room.epoch != about.epoch
            || room.host() == member
            || !room.has(member)
        {
            return;
        }
        match self.losses.get_mut(&id) {
            Some(loss) => {
                loss.said.insert(member, heard);
                if !heard {
                    // Perhaps it did not wait yet when it was told how long.
                    loss.told.remove(&member);
                }
                self.decide_if_all_said(others, id);
            }
            None if heard => {}
            None => self.suspect(others, id, Some(member)),
        }
    }

    /// The host of this room may be lost: a member says so, or its session is over.
    pub(super) fn suspect(&mut self, others: &mut Others<'_>, id: RoomId, reporter: Option<PlayerId>) {
        let now = others.cx.now;
        let Some(room) = self.rooms.get(&id).filter(|room| room.setup.options.migrate && room.is_open())
        else {
            return;
        };
        if let Some(loss) = self.losses.get_mut(&id) {
            loss.said.extend(reporter.map(|member| (member, false)));
            return;
        }
        let host = room.host();
        let present = others.roster.room_of(host) == Some(id);
        let session = others.roster.session_of(host);
        // One that has logged in anew and not taken its room up says nothing about the room.
        let client = session
            .filter(|_| !others.roster.is_stale(host))
            .and_then(|session| others.roster.client(session));
        let heard_at = client.map_or(now, Client::heard_at);
        let wait = others.roster.wait_for(others.cx.config.liveness_wait, session);
        let stage = Stage::Pinging { until: now + wait, period: ping_period(wait) };
        let said = reporter.map(|member| (member, false)).into_iter().collect();
        let mut challenge = [0; CHALLENGE];
        others.cx.rng.fill_bytes(&mut challenge);
        let (told, life_key, proof_until) = (BTreeMap::new(), None, now);
        let loss = Loss { stage, said, heard_at, told, challenge, proof_until, life_key };
        self.losses.insert(id, loss);
        if present {
            self.loss_timeout(others, id);
        } else {
            self.ask_members(others, id);
        }
    }

    /// A session gave a sign of life: perhaps a host's that was in question.
    pub(super) fn host_heard(&mut self, others: &mut Others<'_>, session: SessionId) {
        if self.losses.is_empty() {
            return;
        }
        let Some(player) = others.roster.player_in(session) else { return };
        let Some(id) = others.roster.present_room(player) else { return };
        if self.rooms.get(&id).is_none_or(|room| room.host() != player) {
            return;
        }
        self.host_is_alive(others, id, session);
    }

    /// Takes the host's answer to the challenge, which a member hands on: it is as good as a sign of life that the
    /// server hears itself.
    pub(crate) fn handle_host_proof(
        &mut self,
        others: &mut Others<'_>,
        member: PlayerId,
        about: RoomEpoch,
        key: &[u8; 32],
        proof: &[u8; PROOF],
    ) {
        let id = about.room;
        let session = others.roster.session_of(member).filter(|_| others.roster.is_present(member, id));
        let (Some(room), Some(session)) = (self.rooms.get(&id), session) else { return };
        let of_host = room.epoch == about.epoch && PlayerId::from_public_key(key) == room.host();
        let Some(loss) = self.losses.get_mut(&id).filter(|loss| of_host && loss.stage.is_asking()) else {
            return;
        };
        if loss.life_key.is_none() {
            loss.life_key = LifeKey::new(others.roster.identity(), key);
        }
        let proven = loss.life_key.as_ref().is_some_and(|life| life.fits(about, &loss.challenge, proof));
        if proven {
            self.host_is_alive(others, id, session);
        } else {
            others.cx.counters.dropped += 1;
        }
    }

    /// The host in question gave a sign of life, which came by this session.
    fn host_is_alive(&mut self, others: &mut Others<'_>, id: RoomId, session: SessionId) {
        let grace = others.roster.wait_for(ALIVE_GRACE, [session]);
        if let Some(loss) = self.losses.get_mut(&id)
            && !matches!(loss.stage, Stage::Alive)
        {
            loss.stage = Stage::Alive;
            others.cx.timers.set(Timer::Loss(id), Some(others.cx.now + grace));
        }
    }

    /// Goes on with the question whether a room's host is lost.
    pub(crate) fn loss_timeout(&mut self, others: &mut Others<'_>, id: RoomId) {
        let now = others.cx.now;
        let Some(loss) = self.losses.get(&id) else { return };
        match loss.stage {
            Stage::Pinging { until, period } if now < until => {
                others.cx.timers.set(Timer::Loss(id), Some((now + period).min(until)));
                let host = self.rooms.get(&id).map(Room::host);
                if let Some(session) = host.and_then(|host| others.roster.session_of(host)) {
                    others.ping(session);
                }
            }
            Stage::Pinging { .. } => self.ask_members(others, id),
            Stage::Alive => self.host_stands(others, id),
            Stage::Asking { .. } => self.decide(others, id),
        }
    }

    fn ask_members(&mut self, others: &mut Others<'_>, id: RoomId) {
        let now = others.cx.now;
        let successors = self.successors(others, id);
        let Some(epoch) = self.rooms.get(&id).map(|room| room.epoch) else { return };
        let Some(loss) = self.losses.get(&id) else { return };
        let silent: Vec<PlayerId> =
            successors.into_iter().filter(|member| !loss.said.contains_key(member)).collect();
        let challenge = loss.challenge;
        let asked: Vec<SessionId> =
            silent.iter().filter_map(|member| others.roster.session_of(*member)).collect();
        let until = now + others.roster.wait_for(others.cx.config.loss_wait, asked.iter().copied());
        let proof_until = now + others.roster.wait_for(PROOF_WAIT, asked);
        if let Some(loss) = self.losses.get_mut(&id) {
            (loss.stage, loss.proof_until) = (Stage::Asking { until }, proof_until);
        }
        others.cx.timers.set(Timer::Loss(id), Some(until));
        for member in silent {
            others.tell(member, ToPlayer::ConfirmLoss { room: id, epoch, challenge });
        }
        self.decide_if_all_said(others, id);
    }

    /// Decides where all members have spoken, or were waited for.
    fn decide_if_all_said(&mut self, others: &mut Others<'_>, id: RoomId) {
        let successors = self.successors(others, id);
        let Some(loss) = self.losses.get(&id) else { return };
        let Stage::Asking { until } = loss.stage else { return };
        if others.cx.now >= until || successors.iter().all(|member| loss.said.contains_key(member)) {
            self.decide(others, id);
        }
    }

    /// All have spoken who wanted to: the host is replaced, or stays as it is, or the time must tell.
    fn decide(&mut self, others: &mut Others<'_>, id: RoomId) {
        let successors = self.successors(others, id);
        let Some(loss) = self.losses.get_mut(&id) else { return };
        loss.said.retain(|member, _| successors.contains(member));
        let lost: BTreeSet<PlayerId> =
            loss.said.iter().filter(|(_, heard)| !**heard).map(|(member, _)| *member).collect();
        let voices = Voices { lost: lost.len(), heard: loss.said.len() - lost.len() };
        let Some(silence) = voices.silence(others.cx.config.session_timeout) else {
            // Nobody there misses it. Who comes back asks again; a room that nobody comes back to ends with its last
            // session.
            self.abandon_loss(others, id);
            return;
        };
        let mut due = loss.heard_at + silence;
        if voices.heard > 0 {
            due = due.max(loss.proof_until);
        }
        if others.cx.now < due {
            others.cx.timers.set(Timer::Loss(id), Some(due));
            let knows = |member: &PlayerId| loss.told.get(member).is_some_and(|told| *told >= due);
            let news: Vec<PlayerId> = lost.iter().filter(|member| !knows(member)).copied().collect();
            loss.told.extend(news.iter().map(|member| (*member, due)));
            self.tell_in_question(others, id, due, &news);
            return;
        }
        if !self.hand_over(others, id, Some(&lost)) {
            self.abandon_loss(others, id);
        }
    }

    /// Tells members without their host how long they may have to wait.
    fn tell_in_question(&mut self, others: &mut Others<'_>, id: RoomId, due: Instant, members: &[PlayerId]) {
        let Some(epoch) = self.rooms.get(&id).map(|room| room.epoch) else { return };
        for member in members {
            let news = others.roster.wait_for(NEWS, others.roster.session_of(*member));
            let within = due.saturating_duration_since(others.cx.now) + news;
            let within_s = u16::try_from(within.as_secs() + 1).unwrap_or(u16::MAX);
            others.tell(*member, ToPlayer::HostInQuestion { room: id, epoch, within_s });
        }
    }

    /// The host is alive: who lost it, lost it alone.
    fn host_stands(&mut self, others: &mut Others<'_>, id: RoomId) {
        others.cx.timers.set(Timer::Loss(id), None);
        let (Some(loss), Some(room)) = (self.losses.remove(&id), self.rooms.get(&id)) else { return };
        let stands = ToPlayer::HostStands { room: id, epoch: room.epoch };
        for (member, _) in loss.said.into_iter().filter(|(_, heard)| !heard) {
            others.tell(member, stands.clone());
        }
    }

    /// The question has found its answer otherwise.
    pub(super) fn abandon_loss(&mut self, others: &mut Others<'_>, id: RoomId) {
        others.cx.timers.set(Timer::Loss(id), None);
        self.losses.remove(&id);
    }

    /// Makes the best of the members host (of those in `able`, where that is given), ends the old host's matches and
    /// begins the new one's. False: the room may not change its host, or there is nobody to be it.
    ///
    /// One that left is out; one that nobody hears keeps its seat.
    pub(super) fn hand_over(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        able: Option<&BTreeSet<PlayerId>>,
    ) -> bool {
        let mut successors = self.successors(others, id);
        successors.retain(|member| able.is_none_or(|able| able.contains(member)));
        if successors.iter().any(|member| others.roster.is_fresh(others.cx, *member)) {
            successors.retain(|member| others.roster.is_fresh(others.cx, *member));
        }
        let candidates: Vec<HostCandidate> =
            successors.iter().map(|member| others.roster.host_candidate(others.cx, *member)).collect();
        let chosen = choose_host(&candidates).and_then(|index| successors.get(index).copied());
        let Some(room) = self.rooms.get_mut(&id).filter(|room| room.setup.options.migrate && room.is_open())
        else {
            return false;
        };
        let (Some(chosen), Some(epoch)) = (chosen, room.epoch.checked_add(1)) else { return false };
        let previous = room.host();
        room.epoch = epoch;
        room.members.retain(|member| member.id != previous);
        // Stable: the others keep their seniority.
        room.members.sort_by_key(|member| member.id != chosen);
        let info = room.info();
        tracing::info!(room = %room.setup.options.name, game = %room.setup.game, epoch, "room has another host");
        others.cx.counters.migrations += 1;
        self.end_backfill(others, id);
        self.abandon_loss(others, id);
        others.matches.end_matches(others.cx, others.roster, previous, MatchEnd::Migrated);
        let members = self.successors(others, id);
        let spectators = self.spectators(others, id);
        self.seat_former_host(others, previous, &info);
        for member in std::iter::once(chosen).chain(members.iter().copied()) {
            others.tell(member, ToPlayer::HostChanged { room: info.clone(), previous });
            self.give_ticket(others, id, member);
        }
        self.tell_seat_notes(others, id, chosen);
        for spectator in &spectators {
            others.tell(*spectator, ToPlayer::HostChanged { room: info.clone(), previous });
        }
        let guests = members.into_iter().map(|member| (member, PairKind::Guest));
        for (joiner, kind) in guests.chain(spectators.into_iter().map(|player| (player, PairKind::Spectator)))
        {
            let sides = Sides { host: chosen, joiner };
            others.matches.begin_match(others.cx, others.roster, epoch, sides, kind);
        }
        self.ask_again(others, id);
        self.publish(others, id);
        true
    }
}
