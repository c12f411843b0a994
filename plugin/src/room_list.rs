//! The rooms that the game watches.

use bevy_ecs::resource::Resource;
use traversal_core::wire::message::{RoomQuery, RoomSummary};

/// Resource: these are the public rooms that the game [watches](crate::WatchRooms).
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomList {
    /// The game watches these; none: it watches none, and `rooms` is empty.
    pub watched: Option<RoomQuery>,
    /// These are the rooms, in the order that was asked for. While the lobby server is away they stay as they were.
    pub rooms: Vec<RoomSummary>,
    /// This says whether `rooms` has every room that fits `watched`.
    pub complete: bool,
}

impl RoomList {
    /// The game begins to watch.
    pub(crate) fn begin(&mut self, query: RoomQuery) {
        *self = Self { watched: Some(query), ..Self::default() };
    }

    /// Takes what is new.
    pub(crate) fn take(&mut self, changed: &[RoomSummary], gone: &[String], settled: bool) {
        let Some(query) = &self.watched else { return };
        let new = |room: &RoomSummary| changed.iter().any(|other| other.code == room.code);
        self.rooms.retain(|room| !gone.contains(&room.code) && !new(room));
        self.rooms.extend(changed.iter().cloned());
        self.rooms.sort_by(|a, b| query.compare(a, b));
        self.complete = settled;
    }
}

#[cfg(test)]
mod tests {
    use traversal_core::wire::message::RoomSort;

    use super::*;

    fn room(name: &str, members: u16) -> RoomSummary {
        RoomSummary { name: name.into(), code: name.to_uppercase(), members, ..RoomSummary::default() }
    }

    #[test]
    fn rooms_stand_in_the_order_that_was_asked_for_once_each() {
        let mut list = RoomList::default();
        list.take(&[room("a", 1)], &[], true);
        assert!(list.rooms.is_empty(), "nothing is watched");
        list.begin(RoomQuery { sort: RoomSort::Players, descending: true, ..RoomQuery::default() });
        list.take(&[room("a", 1), room("b", 3)], &[], false);
        list.take(&[room("c", 2), room("a", 4)], &["B".into()], true);
        let names: Vec<&str> = list.rooms.iter().map(|room| room.name.as_str()).collect();
        assert_eq!((names, list.complete), (vec!["a", "c"], true));
    }
}
