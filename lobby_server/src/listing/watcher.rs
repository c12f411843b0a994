//! The rooms that one player watches.
//!
//! A watcher knows the first rooms of its order that pass its conditions, up to its limit: the window. It is exact up to the
//! place that the search for them has come to. A change costs one look for each watcher; only where the window loses a room
//! the search goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use traversal_core::wire::message::{RoomQuery, RoomSummary};

use super::PAGE_BUDGET;
use super::catalogue::{Catalogue, Place};
use super::view::{Viewer, Wanted, row_bytes};

/// So many rooms that are gone are told of in one message.
const MAX_GONE: usize = 50;

/// This says how far the window is exact.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Searched {
    Nothing,
    To(Place),
    All,
}

/// This is what one player watches, and what it was told of it.
#[derive(Debug)]
pub(crate) struct Watcher {
    query: Arc<RoomQuery>,
    window: BTreeSet<Place>,
    values: BTreeMap<Arc<str>, u64>,
    searched: Searched,
    /// It has read so many changes of the catalogue.
    read: u64,
    /// These rooms were told as they were with this change, and have these codes.
    told: BTreeMap<Arc<str>, (u64, String)>,
    /// It was told by this view.
    viewer: Option<Viewer>,
    /// Something may have to be told.
    stale: bool,
    /// It was told last that there was nothing more.
    settled: bool,
}

/// This is what a player is to be told at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) changed: Vec<RoomSummary>,
    pub(crate) gone: Vec<String>,
    /// There is no more to be told.
    pub(crate) settled: bool,
}

impl Watcher {
    /// Makes one that has been told nothing.
    pub(crate) fn new(query: RoomQuery) -> Self {
        Self {
            query: Arc::new(query),
            window: BTreeSet::new(),
            values: BTreeMap::new(),
            searched: Searched::Nothing,
            read: 0,
            told: BTreeMap::new(),
            viewer: None,
            stale: true,
            settled: false,
        }
    }

    pub(crate) fn query(&self) -> &RoomQuery {
        &self.query
    }

    fn limit(&self) -> usize {
        self.query.limit.into()
    }

    fn restart(&mut self, catalogue: &Catalogue) {
        self.window.clear();
        self.values.clear();
        self.searched = Searched::Nothing;
        self.read = catalogue.changes();
        (self.stale, self.settled) = (true, false);
    }

    /// Returns whether the window needs more rooms, and there may be some.
    fn searches(&self) -> bool {
        self.window.len() < self.limit() && self.searched != Searched::All
    }

    fn drop_room(&mut self, name: &Arc<str>) -> bool {
        let Some(value) = self.values.remove(name) else { return false };
        self.window.remove(&Place { value, name: Arc::clone(name) })
    }

    fn insert(&mut self, place: Place) {
        self.values.insert(Arc::clone(&place.name), place.value);
        self.window.insert(place);
    }

    /// Leaves out the last room of a window that has one too many.
    fn cut(&mut self) {
        let descending = self.query.descending;
        let last = |window: &BTreeSet<Place>| {
            if descending { window.first().cloned() } else { window.last().cloned() }
        };
        if self.window.len() <= self.limit() {
            return;
        }
        if let Some(place) = last(&self.window) {
            self.drop_room(&place.name);
        }
        if let Some(place) = last(&self.window) {
            self.searched = Searched::To(place);
        }
    }

    /// Brings the window up to date, with at most so many looks, which are taken off.
    pub(crate) fn advance(&mut self, catalogue: &Catalogue, viewer: &Viewer, looks: &mut usize) {
        // The server's clock and the round trip alone are no reason to tell all rooms again.
        let same = |known: &Viewer| Viewer { now_s: 0, rtt: None, ..known.clone() };
        if self.viewer.as_ref().is_none_or(|known| same(known) != same(viewer)) {
            self.told.values_mut().for_each(|(version, _)| *version = u64::MAX);
            self.restart(catalogue);
        }
        self.viewer = Some(viewer.clone());
        let query = Arc::clone(&self.query);
        let wanted = Wanted::new(&query);
        match catalogue.changed_since(self.read) {
            None => self.restart(catalogue),
            Some(names) => {
                for name in names {
                    if *looks == 0 {
                        return;
                    }
                    *looks -= 1;
                    self.read += 1;
                    self.has_changed(catalogue, name, &wanted, viewer);
                }
            }
        }
        if self.searches() {
            self.search(catalogue, &wanted, viewer, looks);
        }
    }

    /// A room has changed, is new or is gone.
    fn has_changed(&mut self, catalogue: &Catalogue, name: &Arc<str>, wanted: &Wanted<'_>, viewer: &Viewer) {
        self.stale |= self.drop_room(name);
        let Some(entry) = catalogue.entry(name).filter(|entry| wanted.has(viewer, entry)) else { return };
        let place = entry.place(self.query.sort, name);
        let within = match &self.searched {
            Searched::Nothing => false,
            Searched::To(edge) => !edge.is_before(&place, self.query.descending),
            Searched::All => true,
        };
        if within {
            self.insert(place);
            self.cut();
            self.stale = true;
        }
    }

    fn search(&mut self, catalogue: &Catalogue, wanted: &Wanted<'_>, viewer: &Viewer, looks: &mut usize) {
        let after = match &self.searched {
            Searched::To(place) => Some(place.clone()),
            Searched::Nothing | Searched::All => None,
        };
        for place in catalogue.in_order(self.query.sort, self.query.descending, after.as_ref()) {
            if *looks == 0 || self.window.len() >= self.limit() {
                return;
            }
            *looks -= 1;
            if catalogue.entry(&place.name).is_some_and(|entry| wanted.has(viewer, entry)) {
                self.insert(place.clone());
            }
            self.searched = Searched::To(place.clone());
            self.stale = true;
        }
        self.searched = Searched::All;
        self.stale = true;
    }

    /// Returns whether the window is as it should be.
    pub(crate) fn is_current(&self, catalogue: &Catalogue) -> bool {
        self.read == catalogue.changes() && !self.searches()
    }

    /// Returns what is to be told next, as much as one message takes; none: nothing is.
    pub(crate) fn news(&mut self, catalogue: &Catalogue, viewer: &Viewer) -> Option<News> {
        if !self.stale {
            return None;
        }
        let current = self.is_current(catalogue);
        let (mut news, mut used) = (News::default(), 0);
        // What is not wanted any more first. While rooms are still being found, none is.
        if current {
            let gone = self.told.keys().filter(|name| !self.values.contains_key(*name));
            let gone: Vec<Arc<str>> = gone.take(MAX_GONE).cloned().collect();
            for name in gone {
                if let Some((_, code)) = self.told.remove(&name) {
                    used += code.len() + 1;
                    news.gone.push(code);
                }
            }
        }
        let mut more = news.gone.len() == MAX_GONE;
        let in_order: Box<dyn Iterator<Item = &Place>> = if self.query.descending {
            Box::new(self.window.iter().rev())
        } else {
            Box::new(self.window.iter())
        };
        for place in in_order {
            let Some(entry) = catalogue.entry(&place.name) else { continue };
            if self.told.get(&place.name).is_some_and(|(version, _)| *version == entry.version) {
                continue;
            }
            let room = viewer.sees(entry, &self.query.show);
            used += row_bytes(&room);
            if used > PAGE_BUDGET && !(news.changed.is_empty() && news.gone.is_empty()) {
                more = true;
                break;
            }
            // Another room may have the name by now.
            if let Some((_, code)) =
                self.told.insert(Arc::clone(&place.name), (entry.version, room.code.clone()))
                && code != room.code
            {
                news.gone.push(code);
            }
            news.changed.push(room);
        }
        news.settled = current && !more;
        self.stale = more || !current;
        if news.changed.is_empty() && news.gone.is_empty() && (!news.settled || self.settled) {
            return None;
        }
        self.settled = news.settled;
        Some(news)
    }
}
