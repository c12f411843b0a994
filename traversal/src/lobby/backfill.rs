//! The room that this player hosts looks for more players among those who wait for a quick match.

use std::time::Duration;

use super::Lobby;
use super::queue::checked;
use crate::api::{Event, RequestKind};
use crate::cx::Cx;
use crate::wire::message::{BackfillStatus, InRoom, QuickMatch, Request, RequestError};

/// This is what the room looks for, as its host wishes. It stands until the game takes it back, and is said again to each server
/// that this player logs in at.
#[derive(Debug)]
pub(super) struct Backfill {
    wanted: QuickMatch,
    /// The newest news of this session had this number.
    told: Option<u64>,
}

impl Backfill {
    /// A new session has begun: another server counts anew.
    pub(super) fn logged_in(&mut self) {
        self.told = None;
    }
}

impl Lobby {
    /// The game wants its room to look for players, or to look no longer.
    pub(crate) fn backfill(&mut self, cx: &mut Cx<'_>, wanted: Option<QuickMatch>) {
        let kind = RequestKind::Backfill;
        let wanted = match (&self.room, wanted) {
            (None, _) => Err(RequestError::NotInRoom),
            (Some(room), _) if !room.hosting => Err(RequestError::NotHost),
            (Some(_), None) => Ok(None),
            (Some(_), Some(wanted)) => checked(wanted).map(Some),
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(error) => return cx.emit(Event::RequestFailed { request: kind, error: error.into() }),
        };
        let request = Request::InRoom(InRoom::Backfill(wanted.clone()));
        if !self.ask(cx, kind, request, Duration::ZERO) {
            return;
        }
        match wanted {
            None => self.end_backfill(cx),
            Some(wanted) => {
                if let Some(room) = &mut self.room {
                    let told = room.backfill.as_ref().and_then(|known| known.told);
                    room.backfill = Some(Backfill { wanted, told });
                }
            }
        }
    }

    /// The room looks for players no longer.
    pub(super) fn end_backfill(&mut self, cx: &mut Cx<'_>) {
        if self.room.as_mut().and_then(|room| room.backfill.take()).is_some() {
            cx.emit(Event::Backfill(None));
        }
    }

    /// This player is back in its room: the server is told again what it looks for.
    pub(super) fn backfill_again(&mut self, cx: &mut Cx<'_>) {
        let wanted =
            self.room.as_ref().and_then(|room| room.backfill.as_ref()).map(|known| known.wanted.clone());
        let Some(wanted) = wanted else { return };
        // What the game said meanwhile is said once.
        let waits = self.pending.values().any(|pending| pending.kind == Some(RequestKind::Backfill));
        if !waits {
            let request = Request::InRoom(InRoom::Backfill(Some(wanted)));
            self.ask(cx, RequestKind::Backfill, request, Duration::ZERO);
        }
    }

    /// Takes the news of how it comes along; an older one may come after a newer one.
    pub(super) fn handle_backfill(&mut self, cx: &mut Cx<'_>, revision: u64, status: BackfillStatus) {
        let backfill = self.room.as_mut().and_then(|room| room.backfill.as_mut());
        if let Some(backfill) = backfill.filter(|known| known.told.is_none_or(|told| told < revision)) {
            backfill.told = Some(revision);
            cx.emit(Event::Backfill(Some(status)));
        }
    }
}
