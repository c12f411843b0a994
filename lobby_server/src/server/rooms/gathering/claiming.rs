//! The players of a quick match are there: they get a room.

use std::collections::BTreeMap;

use traversal_core::id::RoomId;
use traversal_core::wire::message::{
    PlayerInfo, QuickMatch, QuickMatched, RequestError, RoomOptions, Teams, ToPlayer,
};

use super::{Gathering, Others, Rooms};
use crate::host_choice::{HostCandidate, choose_host};
use crate::registry::{RegistryOperation, RegistryReply};
use crate::room::{self, Origin, Room, Setup};
use crate::server::rooms::elsewhere::SEARCH_AGAIN;
use crate::server::rooms::wishes::Pending;
use crate::server::timers::Timer;

/// This key of the room's metadata says what is played.
const MODE: &str = "mode";

impl Rooms {
    /// All are there: they come into their room, or the registry is asked to take it.
    pub(super) fn claim_for(&mut self, others: &mut Others<'_>, id: RoomId) {
        others.cx.timers.set(Timer::Gathering(id), None);
        let Some(gathering) = self.gatherings.get_mut(&id) else { return };
        if gathering.into.is_some() {
            return self.come_in(others, id);
        }
        gathering.claiming = true;
        let (key, mut players) = (gathering.key.clone(), gathering.players.clone());
        let candidates: Vec<HostCandidate> =
            players.iter().map(|player| others.roster.host_candidate(others.cx, *player)).collect();
        // The host stands first; the others stay in their order.
        let chosen = choose_host(&candidates).unwrap_or(0);
        players[..=chosen].rotate_right(1);
        let host_id = players[0];
        if let Some(gathering) = self.gatherings.get_mut(&id) {
            gathering.players = players;
        }
        let host =
            others.roster.client_of(host_id).map(|client| (String::from(client.login().name()), client.ip()));
        let Some((host_name, from)) = host else { return self.disperse(others, id) };
        let code = room::draw_code(&mut others.cx.rng);
        let QuickMatch { mode, players: capacity, topology, rules } = key.wanted.clone();
        // There are 64 players at the most.
        let teams = rules.teams.iter().map(|size| *size as u8).collect();
        let mut metadata: BTreeMap<String, String> =
            rules.texts.into_iter().map(|(name, text)| (name, text.value)).collect();
        if !mode.is_empty() {
            metadata.insert(MODE.to_owned(), mode);
        }
        let setup = Setup {
            id,
            game: key.game.clone(),
            game_protocol: key.game_protocol,
            code: code.clone(),
            options: RoomOptions {
                name: code,
                capacity,
                password: None,
                public: false,
                auto_allow: true,
                metadata,
                migrate: true,
                topology,
                teams,
                ..RoomOptions::default()
            },
            password: None,
        };
        let members = vec![PlayerInfo { id: host_id, name: host_name }];
        let room = Room::new(setup, members, from, Origin::New, others.cx.now);
        let record = Self::record_of(others, &room);
        self.rooms.insert(id, room);
        self.ask_registry(others, RegistryOperation::Claim(record), Pending::Gathering(id));
    }

    /// Takes the registry's answer. A code that is taken is drawn anew.
    pub(in crate::server::rooms) fn gathering_claimed(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        reply: Option<RegistryReply>,
    ) {
        if !self.gatherings.contains_key(&id) {
            // It was dispersed meanwhile, and the room released.
            return;
        }
        match reply {
            Some(RegistryReply::Claimed) => self.gathered(others, id),
            // It does not know yet which names are free.
            Some(RegistryReply::Moving) => {
                self.rooms.remove(&id);
                others.cx.timers.set(Timer::Gathering(id), Some(others.cx.now + SEARCH_AGAIN));
            }
            Some(RegistryReply::CodeTaken | RegistryReply::NameTaken(_)) => {
                self.rooms.remove(&id);
                self.claim_for(others, id);
            }
            _ => self.registry_silent(others, id),
        }
    }

    /// Without the registry there are no rooms: those who wait are told, rather than kept.
    fn registry_silent(&mut self, others: &mut Others<'_>, id: RoomId) {
        self.release(others, id);
        let Some(gathering) = self.gatherings.remove(&id) else { return };
        for player in &gathering.players {
            self.queues.leave(*player);
            self.party_is_matched(others, *player);
            others.tell(*player, ToPlayer::QueueClosed(RequestError::RegistryUnavailable));
        }
    }

    /// The room is there: all are in it.
    fn gathered(&mut self, others: &mut Others<'_>, id: RoomId) {
        let Some(Gathering { key, players, teams, .. }) = self.gatherings.remove(&id) else { return };
        if let Some(room) = self.rooms.get_mut(&id) {
            room.open();
        }
        others.cx.count_room(&key.game);
        others.cx.counters.quick_matches += 1;
        tracing::info!(mode = key.wanted.mode, players = players.len(), game = %key.game, "quick match");
        let mut info = None;
        for player in &players {
            self.queues.matched(others.cx.now, *player);
            self.party_is_matched(others, *player);
            info = self.take_in(others, *player, id);
        }
        let Some(room) = info else { return };
        if let Some(Room { shared, .. }) = self.rooms.get_mut(&id) {
            for (team, players) in (0u8..).zip(&teams) {
                players.iter().for_each(|player| shared.put_into_team(*player, team, &room.teams));
            }
        }
        for player in &players {
            let matched = QuickMatched { room: room.clone(), wanted: key.wanted.without_rules() };
            others.tell(*player, ToPlayer::QuickMatched(Box::new(matched)));
            if !teams.is_empty() {
                others.tell(*player, ToPlayer::Teams(Teams { room: id, teams: teams.clone() }));
            }
            self.tell_ticket(others, id, *player);
        }
        for (index, player) in players.iter().enumerate().skip(1) {
            self.match_with(others, id, *player, &players[..index]);
        }
        self.publish(others, id);
        self.spread(others, id);
    }
}
