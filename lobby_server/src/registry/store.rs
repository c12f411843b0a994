//! What the registry's operations mean, without any input or output: the time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::text::{fold, look};
use traversal_core::wire::message::RoomTarget;

use super::changes::Journal;
use super::{
    DOUBT, LEASE, MAX_WAITING_POSTS, NodeSite, RESERVED, RegistryNote, RegistryOperation, RegistryReply,
    RoomLocation, RoomRecord, RoomSite, code_key,
};

/// This is all that the nodes know together.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// The rooms stand here by game and name, in the order of a list.
    rooms: BTreeMap<(String, String), RoomRecord>,
    /// These say what the names look like, each of which there is once, and the names.
    looks: BTreeMap<(String, String), String>,
    /// Game and code lead to the name.
    codes: BTreeMap<(String, String), String>,
    /// A room's id leads to its game and name.
    ids: BTreeMap<RoomId, (String, String)>,
    journal: Journal,
    nodes: BTreeMap<u64, Lease>,
    /// Players are at these nodes.
    players: BTreeMap<PlayerId, u64>,
    /// These notes wait for a node.
    notes: BTreeMap<u64, Vec<RegistryNote>>,
}

/// A node that has told that it is there.
#[derive(Debug)]
struct Lease {
    site: NodeSite,
    told: Instant,
}

/// This says whether a node is there, as seen by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    There,
    /// It has not told for a while.
    Doubtful,
    /// It is gone, and its names are kept.
    Gone,
    /// It is gone, and its names are free.
    Forgotten,
}

impl Store {
    pub(super) fn handle(&mut self, now: Instant, node: u64, operation: RegistryOperation) -> RegistryReply {
        match operation {
            RegistryOperation::Claim(record) => self.claim(now, node, record),
            RegistryOperation::Update(record) => {
                self.update(now, node, record);
                RegistryReply::Done
            }
            RegistryOperation::Release { game, location, name } => {
                let key = (game, fold(&name));
                if self.rooms.get(&key).is_some_and(|record| record.location == location) {
                    self.remove(now, &key);
                }
                RegistryReply::Done
            }
            RegistryOperation::Find { game, target } => self.find(now, node, game, &target),
            RegistryOperation::Changes { game, since } => {
                let shown = |name: &str| self.rooms.get(&(game.clone(), name.to_owned()));
                RegistryReply::Changes(self.journal.since(now, &game, since, |name| {
                    shown(name).filter(|room| room.location.node != node).cloned()
                }))
            }
            RegistryOperation::Arrive(player) => {
                let former = self.players.insert(player, node);
                if let Some(former) = former.filter(|former| *former != node) {
                    self.notes.entry(former).or_default().push(RegistryNote::PlayerElsewhere(player));
                }
                RegistryReply::Done
            }
            RegistryOperation::Locate(player) => RegistryReply::At(self.players.get(&player).copied()),
            RegistryOperation::Post { to, body } => {
                self.post(now, node, &to, &body);
                RegistryReply::Done
            }
            RegistryOperation::Depart(player) => {
                if self.players.get(&player) == Some(&node) {
                    self.players.remove(&player);
                }
                RegistryReply::Done
            }
        }
    }

    /// Hands a text to the other nodes of these players.
    fn post(&mut self, now: Instant, from: u64, to: &[PlayerId], body: &str) {
        let mut by_node: BTreeMap<u64, Vec<PlayerId>> = BTreeMap::new();
        for player in to {
            if let Some(at) = self.players.get(player).filter(|at| **at != from) {
                by_node.entry(*at).or_default().push(*player);
            }
        }
        for (node, to) in by_node {
            if !matches!(self.life(now, from, node), Life::There | Life::Doubtful) {
                continue;
            }
            let notes = self.notes.entry(node).or_default();
            if notes.len() < MAX_WAITING_POSTS {
                notes.push(RegistryNote::Post { from, to, body: body.into() });
            }
        }
    }

    /// Notes that a node is there, and tells it which others are.
    pub(super) fn beat(&mut self, now: Instant, site: NodeSite) {
        let node = site.node;
        self.nodes.insert(node, Lease { site, told: now });
        self.nodes.retain(|_, lease| now.saturating_duration_since(lease.told) < LEASE + RESERVED);
        let there =
            self.nodes.keys().filter(|other| **other != node && self.life(now, node, **other) == Life::There);
        let others = there.map(|other| self.nodes[other].site.clone()).collect();
        let notes = self.notes.entry(node).or_default();
        notes.retain(|note| !matches!(note, RegistryNote::Nodes(_)));
        notes.push(RegistryNote::Nodes(others));
        let known = &self.nodes;
        self.notes.retain(|node, _| known.contains_key(node));
        self.players.retain(|_, node| known.contains_key(node));
    }

    pub(super) fn notes(&mut self, node: u64) -> Vec<RegistryNote> {
        self.notes.remove(&node).unwrap_or_default()
    }

    /// Returns how it is about `node`, as `asker` sees it.
    fn life(&self, now: Instant, asker: u64, node: u64) -> Life {
        if node == asker {
            return Life::There;
        }
        let silent = self.nodes.get(&node).map(|lease| now.saturating_duration_since(lease.told));
        match silent.unwrap_or(Duration::MAX) {
            silent if silent < DOUBT => Life::There,
            silent if silent < LEASE => Life::Doubtful,
            silent if silent < LEASE + RESERVED => Life::Gone,
            _ => Life::Forgotten,
        }
    }

    fn site(&self, asker: u64, location: RoomLocation) -> RoomSite {
        let lease = self.nodes.get(&location.node).filter(|_| location.node != asker);
        RoomSite { location, addresses: lease.map(|lease| lease.site.addresses.clone()).unwrap_or_default() }
    }

    fn remove(&mut self, now: Instant, key: &(String, String)) {
        let Some(record) = self.rooms.remove(key) else { return };
        self.journal.note(now, key, Some(&record), None);
        self.looks.remove(&(key.0.clone(), look(&record.shown.summary.name)));
        self.codes.remove(&(key.0.clone(), code_key(&record.shown.summary.code)));
        self.ids.remove(&record.location.room);
    }

    /// Returns the room that stands in the way of a claim, if its node is not forgotten. Those of forgotten nodes go.
    fn in_the_way(&mut self, now: Instant, node: u64, key: Option<(String, String)>) -> Option<RoomLocation> {
        let key = key?;
        let location = self.rooms.get(&key)?.location;
        if self.life(now, node, location.node) == Life::Forgotten {
            self.remove(now, &key);
            return None;
        }
        Some(location)
    }

    fn claim(&mut self, now: Instant, node: u64, record: RoomRecord) -> RegistryReply {
        let game = record.game.clone();
        let mut former = None;
        if let Some(key) = self.ids.get(&record.location.room).cloned()
            && let Some(known) = self.rooms.get(&key)
        {
            let (location, epoch) = (known.location, known.epoch);
            match self.life(now, node, location.node) {
                Life::There if location.node != node => {
                    return RegistryReply::Held(self.site(node, location));
                }
                Life::Doubtful => return RegistryReply::Moving,
                _ if epoch > record.epoch => return RegistryReply::Stale { epoch },
                _ => self.remove(now, &key),
            }
            former = Some(location.node);
        }
        let key = (game.clone(), fold(&record.shown.summary.name));
        let look = (game.clone(), look(&record.shown.summary.name));
        let code = (game.clone(), code_key(&record.shown.summary.code));
        let by_look = self.looks.get(&look).map(|name| (game.clone(), name.clone()));
        if let Some(owner) = self.in_the_way(now, node, by_look) {
            return RegistryReply::NameTaken(owner);
        }
        let by_code = self.codes.get(&code).map(|name| (game, name.clone()));
        if self.in_the_way(now, node, by_code).is_some() {
            return RegistryReply::CodeTaken;
        }
        self.codes.insert(code, key.1.clone());
        self.looks.insert(look, key.1.clone());
        self.ids.insert(record.location.room, key.clone());
        if let Some(former) = former.filter(|former| *former != node) {
            // Perhaps it was only cut off, and believes that it has the room.
            let note = RegistryNote::RoomLost {
                room: record.location.room,
                site: Some(self.site(former, record.location)),
            };
            self.notes.entry(former).or_default().push(note);
        }
        self.journal.note(now, &key, None, Some(&record));
        self.rooms.insert(key, record);
        RegistryReply::Claimed
    }

    fn update(&mut self, now: Instant, node: u64, record: RoomRecord) {
        let key = (record.game.clone(), fold(&record.shown.summary.name));
        let room = record.location.room;
        match self.rooms.get_mut(&key) {
            Some(known) if known.location == record.location => {
                let was = std::mem::replace(known, record);
                self.journal.note(now, &key, Some(&was), Some(known));
            }
            _ => {
                let holder =
                    self.ids.get(&room).and_then(|key| self.rooms.get(key)).map(|known| known.location);
                let there = holder.filter(|holder| self.life(now, node, holder.node) == Life::There);
                let site = there.map(|holder| self.site(node, holder));
                self.notes.entry(node).or_default().push(RegistryNote::RoomLost { room, site });
            }
        }
    }

    fn find(&self, now: Instant, node: u64, game: String, target: &RoomTarget) -> RegistryReply {
        let name = match target {
            RoomTarget::Name(name) => self.looks.get(&(game.clone(), look(name))).cloned(),
            RoomTarget::Code(code) => self.codes.get(&(game.clone(), code_key(code))).cloned(),
        };
        let Some(record) = name.and_then(|name| self.rooms.get(&(game, name))) else {
            return RegistryReply::Found(None);
        };
        match self.life(now, node, record.location.node) {
            Life::There => RegistryReply::Found(Some(self.site(node, record.location))),
            Life::Doubtful | Life::Gone => RegistryReply::Moving,
            Life::Forgotten => RegistryReply::Found(None),
        }
    }
}
