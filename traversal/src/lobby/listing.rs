//! Lists of public rooms, which come in pages.

use std::time::Duration;

use super::{Lobby, Pending};
use crate::api::{Event, RequestFailure, RequestKind, RoomsFound};
use crate::cx::Cx;
use crate::wire::message::{MAX_LISTED, Request, RequestError, RoomCursor, RoomQuery, RoomSummary};

/// One list takes so many pages at the most: where few of very many rooms are wanted the server looks at some thousand for
/// each.
const MAX_PAGES: u8 = 100;

/// This is what has come of a list.
#[derive(Debug, Default)]
pub(super) struct Listed {
    rooms: Vec<RoomSummary>,
    pages: u8,
}

impl Lobby {
    /// Asks for the rooms that the game wants.
    pub(crate) fn list(&mut self, cx: &mut Cx<'_>, query: RoomQuery) {
        match query.checked(MAX_LISTED) {
            Ok(query) => {
                self.ask(cx, RequestKind::List, Request::ListRooms { query }, Duration::ZERO);
            }
            Err(error) => {
                let error = RequestFailure::Server(RequestError::from(error));
                cx.emit(Event::RequestFailed { request: RequestKind::List, error });
            }
        }
    }

    /// A page has come: the next one is asked for, or the game is told.
    pub(super) fn handle_page(
        &mut self,
        cx: &mut Cx<'_>,
        mut pending: Pending,
        rooms: Vec<RoomSummary>,
        next: Option<RoomCursor>,
    ) {
        let Request::ListRooms { query } = &mut pending.request else { return };
        let listed = &mut pending.listed;
        // A room that has moved in the order meanwhile may come twice.
        let new = |room: &RoomSummary| listed.rooms.iter().all(|known| known.code != room.code);
        let rooms: Vec<RoomSummary> = rooms.into_iter().filter(new).take(query.limit.into()).collect();
        query.limit -= rooms.len() as u16;
        listed.rooms.extend(rooms);
        listed.pages += 1;
        match next {
            Some(next) if query.limit > 0 && listed.pages < MAX_PAGES => {
                query.after = Some(next);
                pending.deadline = pending.deadline.max(cx.now + Self::patience(cx));
                pending.send_at = Some(cx.now);
                self.push(cx, pending);
            }
            next => cx.emit(Event::Rooms(RoomsFound { rooms: std::mem::take(&mut listed.rooms), next })),
        }
    }
}
