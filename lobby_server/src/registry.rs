//! What servers know together: which rooms there are and which node holds them.
//!
//! The core treats the registry as an effect: a [`RegistryCommand`] goes out, its [`RegistryReply`] comes in
//! later. [`MemoryRegistry`] answers at once.

use std::collections::BTreeMap;

use traversal_core::id::RoomId;
use traversal_core::text::{fold, look};
use traversal_core::wire::message::{RoomSummary, RoomTarget};

/// This numbers a command; its reply bears the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryId(pub u64);

/// This is something that the registry is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryCommand {
    /// This is the number that comes back with the reply.
    pub id: RegistryId,
    /// This is what the registry is to do.
    pub operation: RegistryOperation,
}

/// This says where a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLocation {
    /// This is the node that holds it; 0 where there is only one.
    pub node: u64,
    /// The room has this id on that node.
    pub room: RoomId,
}

/// This is a room as all nodes know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRecord {
    /// This is the node that holds the room, and the room's id there.
    pub location: RoomLocation,
    /// The room belongs to this game; each game has names and codes of its own.
    pub game: String,
    /// This says whether listings show the room.
    pub public: bool,
    /// Listings say this of the room.
    pub summary: RoomSummary,
}

/// This is what a [`RegistryCommand`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryOperation {
    /// This claims a new room, if its name and code are free. Reply: `Claimed`, `NameTaken` or `CodeTaken`.
    Claim(RoomRecord),
    /// This gives new numbers for a room that is there. Reply: `Done`.
    Update(RoomRecord),
    /// The room is gone. Reply: `Done`.
    Release {
        /// The room belongs to this game.
        game: String,
        /// This is the node that holds the room, and the room's id there.
        location: RoomLocation,
        /// The room has this name.
        name: String,
    },
    /// This asks where a room is. Reply: `Found`.
    Find {
        /// The room belongs to this game.
        game: String,
        /// The room has this name or code.
        target: RoomTarget,
    },
    /// It asks for a page of public rooms in the order of their names. The reply is `Rooms`.
    List {
        /// The rooms belong to this game.
        game: String,
        /// The page begins after this name; none: with the first one.
        after: Option<String>,
        /// The page has at most so many rooms.
        limit: usize,
    },
}

/// The registry answers a [`RegistryOperation`] with this.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryReply {
    /// The room is known now.
    Claimed,
    /// Another room has the name.
    NameTaken(RoomLocation),
    /// Another room has the code.
    CodeTaken,
    /// The command was carried out.
    Done,
    /// This says where the room is; `None`: there is no such room.
    Found(Option<RoomLocation>),
    /// This is a page of a listing.
    Rooms {
        /// These are the rooms of the page, in the order of their names.
        rooms: Vec<RoomSummary>,
        /// There are more after the last one.
        more: bool,
    },
}

/// The registry did not do it: not reachable, or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry does not answer")]
pub struct RegistryDown;

/// Returns the form of a room code that is compared: upper case, without the look-alikes' mix-ups.
pub(crate) fn code_key(code: &str) -> String {
    code.trim()
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect()
}

/// This is the registry of a single node.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    /// The rooms stand here by game and name, in the order of a list.
    rooms: BTreeMap<(String, String), RoomRecord>,
    /// These say what the names look like, each of which there is once, and the names.
    looks: BTreeMap<(String, String), String>,
    /// Game and code lead to the name.
    codes: BTreeMap<(String, String), String>,
}

impl MemoryRegistry {
    /// Makes a registry without rooms.
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries out an operation at once.
    pub fn handle(&mut self, operation: RegistryOperation) -> RegistryReply {
        match operation {
            RegistryOperation::Claim(record) => self.claim(record),
            RegistryOperation::Update(record) => {
                let key = (record.game.clone(), fold(&record.summary.name));
                if let Some(known) = self.rooms.get_mut(&key)
                    && known.location == record.location
                {
                    *known = record;
                }
                RegistryReply::Done
            }
            RegistryOperation::Release { game, location, name } => {
                let key = (game.clone(), fold(&name));
                if self.rooms.get(&key).is_some_and(|record| record.location == location)
                    && let Some(record) = self.rooms.remove(&key)
                {
                    self.looks.remove(&(game.clone(), look(&record.summary.name)));
                    self.codes.remove(&(game, code_key(&record.summary.code)));
                }
                RegistryReply::Done
            }
            RegistryOperation::Find { game, target } => {
                let name = match target {
                    RoomTarget::Name(name) => self.looks.get(&(game.clone(), look(&name))).cloned(),
                    RoomTarget::Code(code) => self.codes.get(&(game.clone(), code_key(&code))).cloned(),
                };
                let record = name.and_then(|name| self.rooms.get(&(game, name)));
                RegistryReply::Found(record.map(|record| record.location))
            }
            RegistryOperation::List { game, after, limit } => self.list(game, after, limit),
        }
    }

    fn claim(&mut self, record: RoomRecord) -> RegistryReply {
        let key = (record.game.clone(), fold(&record.summary.name));
        let look = (record.game.clone(), look(&record.summary.name));
        let code = (record.game.clone(), code_key(&record.summary.code));
        if let Some(name) = self.looks.get(&look)
            && let Some(known) = self.rooms.get(&(record.game.clone(), name.clone()))
        {
            return RegistryReply::NameTaken(known.location);
        }
        if self.codes.contains_key(&code) {
            return RegistryReply::CodeTaken;
        }
        self.codes.insert(code, key.1.clone());
        self.looks.insert(look, key.1.clone());
        self.rooms.insert(key, record);
        RegistryReply::Claimed
    }

    fn list(&self, game: String, after: Option<String>, limit: usize) -> RegistryReply {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let start = match after {
            Some(after) => Excluded((game.clone(), fold(&after))),
            None => Included((game.clone(), String::new())),
        };
        let mut found = self
            .rooms
            .range((start, Unbounded))
            .take_while(|((its_game, _), _)| *its_game == game)
            .filter(|(_, record)| record.public)
            .map(|(_, record)| record.summary.clone());
        let rooms: Vec<RoomSummary> = found.by_ref().take(limit).collect();
        let more = found.next().is_some();
        RegistryReply::Rooms { rooms, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(game: &str, name: &str, code: &str, room: u64) -> RoomRecord {
        RoomRecord {
            location: RoomLocation { node: 0, room: RoomId(room) },
            game: game.into(),
            public: true,
            summary: RoomSummary {
                name: name.into(),
                code: code.into(),
                host_name: "h".into(),
                members: 1,
                capacity: 8,
                password: false,
                metadata: BTreeMap::new(),
            },
        }
    }

    #[test]
    fn names_are_unique_per_game_whatever_their_case() {
        let mut registry = MemoryRegistry::new();
        assert_eq!(
            registry.handle(RegistryOperation::Claim(record("g", "Room", "AAAAAA", 1))),
            RegistryReply::Claimed
        );
        let taken = registry.handle(RegistryOperation::Claim(record("g", "rOOM ", "BBBBBB", 2)));
        assert_eq!(taken, RegistryReply::NameTaken(RoomLocation { node: 0, room: RoomId(1) }));
        let code = registry.handle(RegistryOperation::Claim(record("g", "other", "aaaaaa", 3)));
        assert_eq!(code, RegistryReply::CodeTaken);
        let elsewhere = registry.handle(RegistryOperation::Claim(record("h", "room", "AAAAAA", 4)));
        assert_eq!(elsewhere, RegistryReply::Claimed);
        let find = |registry: &mut MemoryRegistry, target| {
            registry.handle(RegistryOperation::Find { game: "g".into(), target })
        };
        let by_code = find(&mut registry, RoomTarget::Code(" aaa-aaa ".into()));
        assert_eq!(by_code, RegistryReply::Found(Some(RoomLocation { node: 0, room: RoomId(1) })));
        registry.handle(RegistryOperation::Release {
            game: "g".into(),
            location: RoomLocation { node: 0, room: RoomId(1) },
            name: "Room".into(),
        });
        assert_eq!(find(&mut registry, RoomTarget::Name("room".into())), RegistryReply::Found(None));
        assert_eq!(find(&mut registry, RoomTarget::Code("AAAAAA".into())), RegistryReply::Found(None));
    }

    #[test]
    fn names_that_look_the_same_are_one_room() {
        let mut registry = MemoryRegistry::new();
        let mut claim = |name: &str, room: u64| {
            registry.handle(RegistryOperation::Claim(record("g", name, &format!("CODE{room:02}"), room)))
        };
        assert_eq!(claim("Café", 1), RegistryReply::Claimed);
        assert_eq!(claim("paypal 10", 2), RegistryReply::Claimed);
        let taken = |room| RegistryReply::NameTaken(RoomLocation { node: 0, room: RoomId(room) });
        // Another normal form, full-width letters, a space of another width, Cyrillic letters, l and O for 1 and 0.
        for (name, room) in [
            ("Cafe\u{301}", 1),
            ("ｃａｆé", 1),
            ("paypal\u{a0}\u{2003}10", 2),
            ("\u{440}\u{430}\u{443}pal 10", 2),
            ("paypal lO", 2),
        ] {
            assert_eq!(claim(name, 9), taken(room), "{name}");
        }
        assert_eq!(claim("paypal 11", 3), RegistryReply::Claimed);
        let find =
            RegistryOperation::Find { game: "g".into(), target: RoomTarget::Name("CAFE\u{301}".into()) };
        let found = RegistryReply::Found(Some(RoomLocation { node: 0, room: RoomId(1) }));
        assert_eq!(registry.handle(find), found);
        let location = RoomLocation { node: 0, room: RoomId(1) };
        registry.handle(RegistryOperation::Release { game: "g".into(), location, name: "Café".into() });
        let again = registry.handle(RegistryOperation::Claim(record("g", "Cafe\u{301}", "CODE09", 9)));
        assert_eq!(again, RegistryReply::Claimed);
    }

    #[test]
    fn a_release_of_somebody_elses_room_does_nothing() {
        let mut registry = MemoryRegistry::new();
        registry.handle(RegistryOperation::Claim(record("g", "r", "AAAAAA", 1)));
        registry.handle(RegistryOperation::Release {
            game: "g".into(),
            location: RoomLocation { node: 0, room: RoomId(2) },
            name: "r".into(),
        });
        let again = registry.handle(RegistryOperation::Claim(record("g", "r", "BBBBBB", 3)));
        assert!(matches!(again, RegistryReply::NameTaken(_)));
    }

    #[test]
    fn listings_go_by_pages_and_leave_private_rooms_out() {
        let mut registry = MemoryRegistry::new();
        for (index, name) in ["d", "B", "a", "c", "x"].iter().enumerate() {
            let mut room = record("g", name, &format!("CODE{index:02}"), index as u64);
            room.public = *name != "c";
            registry.handle(RegistryOperation::Claim(room));
        }
        registry.handle(RegistryOperation::Claim(record("f", "a", "CODE00", 9)));
        registry.handle(RegistryOperation::Claim(record("h", "a", "CODE00", 9)));
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let list = RegistryOperation::List { game: "g".into(), after: after.clone(), limit: 2 };
            let RegistryReply::Rooms { rooms, more } = registry.handle(list) else { panic!("a page") };
            seen.extend(rooms.iter().map(|room| room.name.clone()));
            after = seen.last().cloned();
            if !more {
                break;
            }
        }
        assert_eq!(seen, ["a", "B", "d", "x"]);
    }
}
