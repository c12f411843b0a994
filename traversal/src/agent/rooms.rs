//! The agent in its room, whose host may change.

use std::time::{Duration, Instant};

use super::{Agent, Event};
use crate::id::{MatchId, PlayerId, RoomEpoch};
use crate::peer::{Contact, Peer};
use crate::wire::life::CHALLENGE;
use crate::wire::message::{
    KeptMatch, MAX_KEPT, MAX_KICK_NOTES, MatchEnd, PunchPlan, RoomEnd, RoomInfo, ToServer,
};

/// A host that was heard within this is there: five pings of its path, or the time of an answer on a path whose answers take
/// longer.
const HEARD: Duration = Duration::from_secs(2);

impl Agent {
    /// Returns a plan for the host that this player knows, or for no room; `None` if it has to wait for the news of
    /// another host, or is of an earlier one.
    pub(super) fn plan_of_this_host(&mut self, plan: PunchPlan) -> Option<PunchPlan> {
        // The pairs of a mesh have nothing to do with its host.
        let Some(room) = self.lobby.room().filter(|_| !plan.mesh) else { return Some(plan) };
        match plan.epoch.cmp(&room.info.epoch) {
            std::cmp::Ordering::Equal => Some(plan),
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Greater => {
                if self.early_plans.len() < self.shared.config.caps.peers {
                    self.early_plans.push(plan);
                }
                None
            }
        }
    }

    /// Tells the server whether this member hears its host.
    pub(super) fn say_host_seen(&mut self, now: Instant, heard: bool) {
        if let Some(room) = self.lobby.room() {
            let (room, epoch) = (room.info.id, room.info.epoch);
            self.tell_server(now, ToServer::HostSeen { room, epoch, heard });
        }
    }

    /// A player is away, or back. While it is the host, another one may take its place meanwhile.
    pub(super) fn handle_contact(&mut self, now: Instant, match_id: MatchId, contact: Contact) {
        let Some(peer) = self.peers.get(&match_id) else { return };
        let (player, until) = (peer.info.id, peer.lost_at(&self.shared.config));
        if self.lobby.room().is_none_or(|room| room.info.host != player) {
            return;
        }
        match contact {
            Contact::Missed if self.lobby.host_lost(until) => self.say_host_seen(now, false),
            Contact::Missed => {}
            Contact::Back if self.lobby.host_found() => self.say_host_seen(now, true),
            Contact::Back => {}
        }
    }

    /// The server does not hear the host. A member that hears it has it prove that it is alive.
    pub(super) fn confirm_loss(&mut self, now: Instant, about: RoomEpoch, challenge: [u8; CHALLENGE]) {
        let asked = self.lobby.room().filter(|known| known.epoch() == about);
        let Some(host) = asked.filter(|known| !known.hosting).map(|known| known.info.host) else { return };
        let heard = self.peer(host).is_some_and(|peer| {
            peer.heard_within(now, HEARD.max(peer.answer_time()))
                || peer.is_excused(now, &self.shared.config, &self.shared.link)
        });
        self.say_host_seen(now, heard);
        if heard {
            self.seek_proof(now, about, challenge);
        }
    }

    /// Notes that only this player has lost the host, which hosts on.
    pub(super) fn host_stands(&mut self, now: Instant, about: RoomEpoch) {
        let meant = |known: &crate::lobby::Room| known.epoch() == about && known.seeking.is_some();
        let Some(host) = self.lobby.room().filter(|room| meant(room)).map(|room| room.info.host) else {
            return;
        };
        // One that is away for this player only may yet be reached again.
        if !self.peer(host).is_some_and(Peer::is_away) {
            self.room_without_host(now, RoomEnd::HostLost);
        }
    }

    /// This player is in the room, or back in it after a new login.
    pub(super) fn entered(&mut self, now: Instant) {
        if self.lobby.room().is_some_and(|room| room.seeking.is_some()) {
            self.say_host_seen(now, false);
        }
        let kept: Vec<KeptMatch> = self.peers.values().filter_map(Peer::kept).collect();
        self.keep_matches(now, kept);
        let notes = self.lobby.take_notes_to_show();
        if let Some(room) = self.lobby.room().map(|room| room.info.id) {
            for part in notes.chunks(MAX_KICK_NOTES) {
                self.tell_server(now, ToServer::KickNotes { room, notes: part.to_vec() });
            }
        }
        for message in self.lobby.take_seats_to_show() {
            self.tell_server(now, message);
        }
        self.use_early_plans(now);
    }

    /// Tells the server which matches go on; it may have been started anew.
    pub(super) fn keep_matches(&mut self, now: Instant, kept: impl IntoIterator<Item = KeptMatch>) {
        let kept: Vec<KeptMatch> = kept.into_iter().collect();
        for part in kept.chunks(MAX_KEPT) {
            self.tell_server(now, ToServer::KeepMatches(part.to_vec()));
        }
    }

    fn use_early_plans(&mut self, now: Instant) {
        for plan in std::mem::take(&mut self.early_plans) {
            self.handle_plan(now, plan);
        }
    }

    /// Notes that another member hosts the room.
    pub(super) fn host_changed(&mut self, now: Instant, room: RoomInfo, previous: PlayerId) {
        if self.lobby.host_changed(&mut self.shared.cx(now), &room, previous) {
            self.announce_host(now, room, previous);
        }
    }

    /// Ends the channel to the old host and tells the game. An old host that was away ends those to its members.
    pub(super) fn announce_host(&mut self, now: Instant, room: RoomInfo, previous: PlayerId) {
        if previous == self.shared.identity.player_id() {
            for peer in self.peers.values_mut().filter(|peer| peer.is_of_own_room()) {
                peer.end(&mut self.shared.cx(now), MatchEnd::Migrated.into());
            }
        }
        if let Some(peer) = self.by_player.get(&previous).and_then(|id| self.peers.get_mut(id)) {
            let reason = MatchEnd::Migrated;
            peer.close(&mut self.shared.cx(now), &reason.to_string(), Some(reason.into()));
        }
        let members = self.lobby.room().map(|room| room.members.clone()).unwrap_or_default();
        let hosting = room.host == self.shared.identity.player_id();
        self.shared.events.push_back(Event::HostChanged { room, hosting, previous, members });
        self.use_early_plans(now);
    }

    /// Without its host the room is of no use to this player, and would stand in the way of another.
    pub(super) fn room_without_host(&mut self, now: Instant, reason: RoomEnd) {
        let mut cx = self.shared.cx(now);
        if self.lobby.forget_room(&mut cx).is_some() {
            cx.emit(Event::RoomLeft { reason: Some(reason) });
        }
        self.close_all(now, "left");
    }

    pub(super) fn room_ended(&mut self, now: Instant, reason: RoomEnd) {
        let host = self.lobby.room().map(|room| room.info.host);
        if reason == RoomEnd::HostLost
            && host
                .and_then(|host| self.peer(host))
                .is_some_and(|peer| peer.is_connected() && !peer.is_away())
        {
            self.lobby.resume(now);
            return;
        }
        self.lobby.room_ended();
        let text = reason.to_string();
        self.shared.cx(now).emit(Event::RoomLeft { reason: Some(reason) });
        self.close_all(now, &text);
    }

    /// Leaves on this side's own wish.
    pub(super) fn leave_room(&mut self, now: Instant, reason: &str) {
        let Some(room) = self.lobby.forget_room(&mut self.shared.cx(now)) else { return };
        let reason = match (room.hosting, room.info.migrate) {
            (true, false) => "the host closed the room",
            (true, true) => "the host left",
            (false, _) => reason,
        };
        self.close_all(now, reason);
        self.shared.cx(now).emit(Event::RoomLeft { reason: None });
    }
}
