//! The public rooms of one game, in all orders of a list.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use traversal_core::text::fold;
use traversal_core::wire::message::{RoomCursor, RoomSort};

use crate::registry::Shown;

/// So many changes are remembered: who watches and has not read them looks at all rooms anew.
const LOG: usize = 4096;
/// A round trip that is not known comes after all that are.
const FAR: u64 = u64::MAX;

/// These are the orders, as they are numbered here.
const SORTS: [RoomSort; 4] = [RoomSort::Name, RoomSort::Players, RoomSort::Age, RoomSort::RoundTrip];

fn number_of(sort: RoomSort) -> usize {
    SORTS.iter().position(|known| *known == sort).unwrap_or(0)
}

/// This is a room's place in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Rooms come by this number first.
    pub(crate) value: u64,
    /// Then they come by their names, [folded](fold).
    pub(crate) name: Arc<str>,
}

impl Place {
    /// Returns the place that a player goes on from.
    pub(crate) fn of_cursor(cursor: &RoomCursor) -> Self {
        Self { value: cursor.value, name: fold(&cursor.name).into() }
    }

    /// Returns whether the place comes before another one in a list.
    pub(crate) fn is_before(&self, other: &Self, descending: bool) -> bool {
        if descending { self > other } else { self < other }
    }
}

/// This is a room of a list.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) shown: Shown,
    /// The room is at this node.
    pub(crate) node: u64,
    /// What is searched for has to stand in this.
    pub(crate) text: String,
    /// It has changed with this change of the catalogue.
    pub(crate) version: u64,
    values: [u64; SORTS.len()],
}

impl Entry {
    fn new(region: &str, node: u64, shown: Shown, version: u64) -> Self {
        let room = &shown.summary;
        let near = room.region == region;
        let values = SORTS.map(|sort| match sort {
            RoomSort::Players => room.members.into(),
            // The youngest come first.
            RoomSort::Age => u64::MAX - shown.opened_s,
            RoomSort::RoundTrip => room.rtt_ms.filter(|_| near).map_or(FAR, u64::from),
            _ => 0,
        });
        let text = [fold(&room.name), fold(&room.host_name)].join("\n");
        Self { shown, node, text, version, values }
    }

    pub(crate) fn place(&self, sort: RoomSort, name: &Arc<str>) -> Place {
        Place { value: self.values[number_of(sort)], name: Arc::clone(name) }
    }
}

/// These are the rooms. Each has a name of its own, in which case does not count.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    region: String,
    rooms: BTreeMap<Arc<str>, Entry>,
    orders: [BTreeSet<Place>; SORTS.len()],
    /// The rooms with these names have changed, in this order.
    log: VecDeque<Arc<str>>,
    /// So many changes were there in all.
    changes: u64,
}

impl Catalogue {
    /// Makes an empty one of a node in this region.
    pub(crate) fn new(region: &str) -> Self {
        Self { region: region.into(), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Returns how many rooms there are, and the code of the first one.
    pub(crate) fn first(&self) -> (usize, Option<String>) {
        (self.len(), self.rooms.values().next().map(|entry| entry.shown.summary.code.clone()))
    }

    /// Returns the number of changes that were made.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the names of the rooms that have changed after so many changes; none: that is too long ago to be known.
    pub(crate) fn changed_since(&self, changes: u64) -> Option<impl Iterator<Item = &Arc<str>>> {
        let missed = usize::try_from(self.changes.checked_sub(changes)?).ok()?;
        let first = self.log.len().checked_sub(missed)?;
        Some(self.log.range(first..))
    }

    /// Takes a room as it is now at this node.
    pub(crate) fn put(&mut self, node: u64, shown: Shown) {
        let name: Arc<str> = fold(&shown.summary.name).into();
        if self.rooms.get(&name).is_some_and(|known| known.node == node && known.shown == shown) {
            return;
        }
        self.take_out(&name);
        self.note(&name);
        let entry = Entry::new(&self.region, node, shown, self.changes);
        for (order, sort) in self.orders.iter_mut().zip(SORTS) {
            order.insert(entry.place(sort, &name));
        }
        self.rooms.insert(name, entry);
    }

    /// The room with this folded name is gone from this node.
    pub(crate) fn remove(&mut self, node: impl Fn(u64) -> bool, name: &str) {
        if self.rooms.get(name).is_some_and(|known| node(known.node)) {
            self.take_out(name);
            self.note(&name.into());
        }
    }

    /// Keeps only the rooms of these nodes.
    pub(crate) fn keep(&mut self, node: impl Fn(u64) -> bool) {
        let gone = self.rooms.iter().filter(|(_, entry)| !node(entry.node));
        let gone: Vec<Arc<str>> = gone.map(|(name, _)| Arc::clone(name)).collect();
        for name in gone {
            self.take_out(&name);
            self.note(&name);
        }
    }

    fn take_out(&mut self, name: &str) {
        let Some((name, entry)) = self.rooms.remove_entry(name) else { return };
        for (order, sort) in self.orders.iter_mut().zip(SORTS) {
            order.remove(&entry.place(sort, &name));
        }
    }

    fn note(&mut self, name: &Arc<str>) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(Arc::clone(name));
        self.changes += 1;
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.rooms.get(name)
    }

    /// Returns how a player names this place.
    pub(crate) fn cursor(&self, place: &Place) -> Option<RoomCursor> {
        let name = self.entry(&place.name)?.shown.summary.name.clone();
        Some(RoomCursor { value: place.value, name })
    }

    /// Gives all places of an order, after this one.
    pub(crate) fn in_order<'a>(
        &'a self,
        sort: RoomSort,
        descending: bool,
        after: Option<&Place>,
    ) -> Box<dyn Iterator<Item = &'a Place> + 'a> {
        let order = &self.orders[number_of(sort)];
        let bound = after.map_or(Unbounded, Excluded);
        if descending {
            Box::new(order.range((Unbounded, bound)).rev())
        } else {
            Box::new(order.range((bound, Unbounded)))
        }
    }
}
