//! What tests of rooms share: a room with three players, its host in question, and the server's restart.

use super::*;
use traversal_core::NatFacts;
use traversal_core::id::RoomEpoch;
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::wire::life::LifeKey;
use traversal_core::wire::message::{MatchEnd, RoomEnd};

impl World {
    /// The server is killed and started again: its key stays, all else is gone.
    pub(super) fn restart(&mut self) {
        let sockets = vec![ServerSocket::first(at("198.18.0.10:3478"))];
        self.server =
            Server::new(ServerConfig::default(), Identity::from_secret([9; 32]), [77; 32], sockets, self.now);
        self.registry = Some(MemoryRegistry::new());
        for fake in &mut self.fakes {
            (fake.session, fake.dead) = (None, true);
        }
    }

    /// Opens a room with three players in it.
    pub(super) fn three(&mut self, options: RoomOptions) -> ([usize; 3], RoomInfo) {
        let players = [
            self.player(1, "203.0.113.1:4000"),
            self.player(2, "198.51.100.1:5000"),
            self.player(3, "198.51.100.2:6000"),
        ];
        let room = self.host(players[0], options);
        for joiner in &players[1..] {
            assert!(self.answer(*joiner, by_name("r")).is_ok());
        }
        (players, room)
    }

    /// Lets the members say of their host that they do not hear it (or do).
    pub(super) fn host_seen(&mut self, index: usize, room: &RoomInfo, epoch: u32, heard: bool) {
        self.say(index, ToServer::HostSeen { room: room.id, epoch, heard });
    }

    /// Returns what the host says to the challenge that this member was given.
    pub(super) fn proof(&self, member: usize, host: usize, room: &RoomInfo) -> [u8; 16] {
        let key = life_key(&self.fakes[host].identity);
        key.prove(RoomEpoch { room: room.id, epoch: room.epoch }, &self.fakes[member].challenge()).unwrap()
    }

    /// Lets the member hand on the host's proof.
    pub(super) fn prove(&mut self, member: usize, host: usize, room: &RoomInfo) {
        let (key, proof) = (self.fakes[host].identity.public_key(), self.proof(member, host, room));
        self.say(member, ToServer::HostProof { room: room.id, epoch: room.epoch, key, proof });
    }

    /// The member answers what it was asked meanwhile, as one that hears its host.
    pub(super) fn answer_for(&mut self, member: usize, host: usize, room: &RoomInfo) {
        if self.fakes[member].is_asked() {
            self.host_seen(member, room, room.epoch, true);
            self.prove(member, host, room);
            self.fakes[member].told.retain(|message| !matches!(message, ToPlayer::ConfirmLoss { .. }));
        }
    }

    pub(super) fn profile(&mut self, index: usize, mapping: MappingBehavior, allocation: PortAllocation) {
        let profile = NatProfile {
            mapping,
            filtering: FilteringBehavior::AddressAndPortDependent,
            allocation,
            confidence: Confidence::Full,
            ..NatProfile::default()
        };
        self.say(index, ToServer::Profile { profile, check: false, manual: NatFacts::NONE });
    }
}

/// Returns what a player shares with the server of these tests.
pub(super) fn life_key(player: &Identity) -> LifeKey {
    LifeKey::new(player, &Identity::from_secret([9; 32]).public_key()).unwrap()
}

impl Fake {
    /// Returns the challenge of the newest question.
    pub(super) fn challenge(&self) -> [u8; 16] {
        let newest = self.told.iter().rev().find_map(|message| match message {
            ToPlayer::ConfirmLoss { challenge, .. } => Some(*challenge),
            _ => None,
        });
        newest.expect("a question")
    }

    /// Returns the hosts that the room got, as this player was told: epoch, new and old one.
    pub(super) fn hosts(&self) -> Vec<(u32, PlayerId, PlayerId)> {
        self.told
            .iter()
            .filter_map(|message| match message {
                ToPlayer::HostChanged { room, previous } => Some((room.epoch, room.host, *previous)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn is_asked(&self) -> bool {
        self.told.iter().any(|message| matches!(message, ToPlayer::ConfirmLoss { .. }))
    }

    /// Returns the epoch of a host that is in question, as this member was told.
    pub(super) fn in_question(&self) -> Option<u32> {
        self.told.iter().find_map(|message| match message {
            ToPlayer::HostInQuestion { epoch, .. } => Some(*epoch),
            _ => None,
        })
    }

    pub(super) fn keeps_its_host(&self) -> bool {
        self.told.iter().any(|message| matches!(message, ToPlayer::HostStands { .. }))
    }

    pub(super) fn ends(&self) -> (Vec<RoomEnd>, Vec<MatchEnd>) {
        let (mut rooms, mut matches) = (Vec::new(), Vec::new());
        for message in &self.told {
            match message {
                ToPlayer::RoomEnded { reason, .. } => rooms.push(reason.clone()),
                ToPlayer::MatchEnded { reason, .. } => matches.push(*reason),
                _ => {}
            }
        }
        (rooms, matches)
    }

    pub(super) fn newest_plan(&self) -> PunchPlan {
        self.plans().last().cloned().expect("a plan")
    }
}
