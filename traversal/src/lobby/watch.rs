//! The public rooms that the game watches: the server tells of each change, and this keeps the news in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Lobby;
use crate::api::{Event, RequestFailure, RequestKind};
use crate::cx::Cx;
use crate::timer::due;
use crate::wire::message::{
    MAX_WATCHED, MIN_WATCH_PAUSE_MS, Request, RequestError, RoomQuery, RoomSummary, RoomsNews,
};

/// The server forgets the wish after ten minutes: it is said again so often.
const RENEWAL: Duration = Duration::from_secs(300);
/// Where the server has not answered, or has too much to do, the wish is said again after so long at the least.
const AGAIN: Duration = Duration::from_secs(5);
/// So many news may have overtaken an older one: the server has far fewer on their way.
const MAX_EARLY: usize = 64;

/// This is the wish of the game to watch rooms.
#[derive(Debug, Default)]
pub(super) struct Watch {
    wanted: Option<Wanted>,
    /// The next wish gets this number.
    next: u32,
}

#[derive(Debug)]
struct Wanted {
    query: RoomQuery,
    pause_ms: u16,
    number: u32,
    /// The game knows the rooms with these codes.
    known: BTreeSet<String>,
    /// These are known from before a new login, and have not been told of since.
    stale: BTreeSet<String>,
    /// The next news have this number; later ones wait.
    expected: u32,
    early: BTreeMap<u32, RoomsNews>,
    /// The wish is said (again) then; `None`: it is on its way.
    ask_at: Option<Instant>,
}

impl Wanted {
    /// The wish begins anew, in a new session.
    fn begin(&mut self, number: u32) {
        self.number = number;
        self.stale.clone_from(&self.known);
        self.expected = 0;
        self.early.clear();
    }

    /// Takes news that are next, and adds what they mean to what the game is told.
    fn take(&mut self, news: RoomsNews, changed: &mut BTreeMap<String, RoomSummary>, gone: &mut Vec<String>) {
        for code in news.gone {
            changed.remove(&code);
            self.stale.remove(&code);
            if self.known.remove(&code) {
                gone.push(code);
            }
        }
        for room in news.changed {
            self.stale.remove(&room.code);
            // What a server says beyond what was asked for is left out.
            if self.known.contains(&room.code) || self.known.len() < 2 * usize::from(MAX_WATCHED) {
                self.known.insert(room.code.clone());
                gone.retain(|code| *code != room.code);
                changed.insert(room.code.clone(), room);
            }
        }
        if news.settled {
            for code in std::mem::take(&mut self.stale) {
                self.known.remove(&code);
                gone.push(code);
            }
        }
    }
}

impl Lobby {
    /// Watches these rooms, in place of others.
    pub(crate) fn watch_rooms(&mut self, cx: &mut Cx<'_>, query: RoomQuery, pause: Duration) {
        let query = match query.checked(MAX_WATCHED) {
            Ok(query) if self.room.is_none() => query,
            Ok(_) => return Self::watch_failed(cx, RequestFailure::Server(RequestError::AlreadyInRoom)),
            Err(error) => return Self::watch_failed(cx, RequestFailure::Server(error.into())),
        };
        if !cx.link.is_wanted() {
            return Self::watch_failed(cx, RequestFailure::NotLoggedIn);
        }
        self.forget_watch_requests();
        cx.emit(Event::WatchBegun(query.clone()));
        let pause = pause.as_millis().clamp(MIN_WATCH_PAUSE_MS.into(), u16::MAX.into());
        self.watch.wanted = Some(Wanted {
            query,
            pause_ms: pause as u16,
            number: 0,
            known: BTreeSet::new(),
            stale: BTreeSet::new(),
            expected: 0,
            early: BTreeMap::new(),
            ask_at: Some(cx.now),
        });
        if cx.link.is_online() {
            self.watch_anew(cx);
        }
    }

    fn watch_failed(cx: &mut Cx<'_>, error: RequestFailure) {
        cx.emit(Event::RequestFailed { request: RequestKind::Watch, error });
    }

    /// The game does not watch rooms any more.
    pub(crate) fn stop_watching(&mut self, cx: &mut Cx<'_>) {
        if self.watch.wanted.is_some() {
            self.end_watch(cx);
            if cx.link.is_online() {
                self.ask_silently(cx, Request::StopWatching);
            }
        }
    }

    /// Forgets the wish: the player is in a room, or logged out.
    pub(crate) fn end_watch(&mut self, cx: &mut Cx<'_>) {
        self.forget_watch_requests();
        if self.watch.wanted.take().is_some() {
            cx.emit(Event::WatchEnded);
        }
    }

    fn forget_watch_requests(&mut self) {
        self.pending.retain(|_, pending| pending.kind != Some(RequestKind::Watch));
    }

    /// Says the wish in a session that does not know it.
    pub(super) fn watch_anew(&mut self, cx: &mut Cx<'_>) {
        self.forget_watch_requests();
        if let Some(wanted) = &mut self.watch.wanted {
            wanted.begin(self.watch.next);
            self.watch.next = self.watch.next.wrapping_add(1);
            self.say_wish(cx);
        }
    }

    fn say_wish(&mut self, cx: &mut Cx<'_>) {
        let Some(wanted) = &mut self.watch.wanted else { return };
        wanted.ask_at = None;
        let (watch, query, pause_ms) = (wanted.number, wanted.query.clone(), wanted.pause_ms);
        let request = Request::WatchRooms { watch, query, pause_ms };
        if !self.ask(cx, RequestKind::Watch, request, Duration::ZERO) {
            self.end_watch(cx);
        }
    }

    /// The server has taken the wish.
    pub(super) fn watch_taken(&mut self, now: Instant) {
        if let Some(wanted) = &mut self.watch.wanted {
            wanted.ask_at = Some(now + RENEWAL);
        }
    }

    /// The server has not answered; none: it is not there.
    pub(super) fn watch_unanswered(&mut self, now: Instant) {
        if let Some(wanted) = &mut self.watch.wanted {
            wanted.ask_at = Some(now + AGAIN);
        }
    }

    /// The server refuses the wish: where it has too much to do only, it is asked again.
    pub(super) fn watch_refused(&mut self, cx: &mut Cx<'_>, error: RequestError) {
        let wait = match &error {
            RequestError::Limited { retry_after_s } => Duration::from_secs((*retry_after_s).into()),
            RequestError::RegistryUnavailable | RequestError::Stopping => Duration::ZERO,
            _ => {
                self.end_watch(cx);
                return Self::watch_failed(cx, RequestFailure::Server(error));
            }
        };
        if let Some(wanted) = &mut self.watch.wanted {
            wanted.ask_at = Some(cx.now + wait.clamp(AGAIN, RENEWAL));
        }
    }

    /// Takes news of the rooms that are watched.
    pub(crate) fn handle_rooms_news(&mut self, cx: &mut Cx<'_>, news: RoomsNews) {
        let Some(wanted) = self.watch.wanted.as_mut().filter(|wanted| wanted.number == news.watch) else {
            return;
        };
        if news.number < wanted.expected || wanted.early.len() >= MAX_EARLY {
            return;
        }
        wanted.early.insert(news.number, news);
        let (mut changed, mut gone, mut settled, mut any) = (BTreeMap::new(), Vec::new(), false, false);
        while let Some(next) = wanted.early.remove(&wanted.expected) {
            wanted.expected = wanted.expected.wrapping_add(1);
            (settled, any) = (next.settled, true);
            wanted.take(next, &mut changed, &mut gone);
        }
        if any {
            let changed = changed.into_values().collect();
            cx.emit(Event::RoomsChanged { changed, gone, settled });
        }
    }

    /// Says the wish again when it is due.
    pub(super) fn renew_watch(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        let ask_at = self.watch.wanted.as_ref().and_then(|wanted| wanted.ask_at);
        if cx.link.is_online() && due(ask_at, now) {
            self.say_wish(cx);
        }
    }

    /// Returns when [`renew_watch`](Self::renew_watch) is due, while there is a session.
    pub(super) fn watch_due(&self) -> Option<Instant> {
        self.watch.wanted.as_ref()?.ask_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(code: &str, members: u16) -> RoomSummary {
        RoomSummary { name: code.into(), code: code.into(), members, ..RoomSummary::default() }
    }

    fn wanted() -> Wanted {
        Wanted {
            query: RoomQuery::default(),
            pause_ms: 500,
            number: 1,
            known: BTreeSet::new(),
            stale: BTreeSet::new(),
            expected: 0,
            early: BTreeMap::new(),
            ask_at: None,
        }
    }

    fn take(
        wanted: &mut Wanted,
        changed: Vec<RoomSummary>,
        gone: &[&str],
        settled: bool,
    ) -> [Vec<String>; 2] {
        let (mut told, mut lost) = (BTreeMap::new(), Vec::new());
        let gone = gone.iter().map(|code| String::from(*code)).collect();
        wanted.take(RoomsNews { watch: 1, number: 0, changed, gone, settled }, &mut told, &mut lost);
        [told.into_keys().collect(), lost]
    }

    #[test]
    fn rooms_that_are_not_there_in_the_new_session_are_gone_once_all_is_told() {
        let mut wanted = wanted();
        take(&mut wanted, vec![room("A", 1), room("B", 1)], &[], true);
        wanted.begin(2);
        assert_eq!(take(&mut wanted, vec![room("B", 2)], &[], false), [vec!["B".to_owned()], vec![]]);
        assert_eq!(take(&mut wanted, vec![room("C", 1)], &[], true), [["C".to_owned()], ["A".to_owned()]]);
        assert!(wanted.known.contains("B") && wanted.known.len() == 2);
    }

    #[test]
    fn a_server_that_names_too_many_rooms_is_not_listened_to() {
        let mut wanted = wanted();
        for index in 0..1000 {
            take(&mut wanted, vec![room(&index.to_string(), 1)], &[], true);
        }
        assert_eq!(wanted.known.len(), 200);
        assert_eq!(take(&mut wanted, Vec::new(), &["5", "999"], true)[1], ["5"]);
    }
}
