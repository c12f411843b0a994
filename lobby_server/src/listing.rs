//! Lists of the public rooms of a game: which rooms there are in which order ([`catalogue`]), what of them one player sees
//! ([`view`]), and what has changed among those that it watches ([`watcher`]). All of it is pure.
//!
//! What a question costs is counted in *looks*: how many rooms were looked at for it.

mod catalogue;
mod view;
mod watcher;

pub(crate) use catalogue::{Catalogue, Place};
pub(crate) use view::{Viewer, Views, told_rtt};
pub(crate) use watcher::Watcher;

use traversal_core::wire::message::{RoomCursor, RoomQuery, RoomSummary};

/// For one page so many rooms are looked at, at the most.
pub(crate) const LOOKS_PER_PAGE: usize = 2000;
/// The rooms of one datagram may take so much, so that they fit a control datagram (1,200 bytes) with its headers.
pub(crate) const PAGE_BUDGET: usize = 1000;

/// This is a page of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) rooms: Vec<RoomSummary>,
    /// The next page begins after this place; none: this is the last one.
    pub(crate) next: Option<RoomCursor>,
    /// So many rooms were looked at.
    pub(crate) looks: usize,
}

/// Returns the page of a query, which is [checked](RoomQuery::checked), as this player sees it.
pub(crate) fn page(catalogue: &Catalogue, query: &RoomQuery, viewer: &Viewer) -> Page {
    let wanted = view::Wanted::new(query);
    let after = query.after.as_ref().map(Place::of_cursor);
    let mut page = Page::default();
    let mut used = 0;
    let mut last: Option<&Place> = None;
    let mut found = catalogue.in_order(query.sort, query.descending, after.as_ref());
    for place in found.by_ref() {
        if page.looks == LOOKS_PER_PAGE || page.rooms.len() == usize::from(query.limit) {
            page.next = last.and_then(|last| catalogue.cursor(last));
            return page;
        }
        page.looks += 1;
        let Some(entry) = catalogue.entry(&place.name) else { continue };
        if wanted.has(viewer, entry) {
            let room = viewer.sees(entry, &query.show);
            used += view::row_bytes(&room);
            if used > PAGE_BUDGET && !page.rooms.is_empty() {
                page.next = last.and_then(|last| catalogue.cursor(last));
                return page;
            }
            page.rooms.push(room);
        }
        last = Some(place);
    }
    page
}

#[cfg(test)]
mod tests;
