//! Players who watch public rooms: they are told of each change, at their rate.
//!
//! A player watches with one session, one set of rooms. It stops when it enters a room, is gone, says so, or has not said
//! again for ten minutes that it watches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use traversal_core::wire::message::{
    MAX_WATCHED, MIN_WATCH_PAUSE_MS, RequestError, Response, RoomQuery, RoomsNews, ToPlayer,
};

use super::{Others, Rooms};
use crate::ids::{Asker, SessionId};
use crate::listing::Watcher;
use crate::server::refusals::Refusal;

/// The wish to watch is forgotten after so long.
const KEPT: Duration = Duration::from_secs(600);
/// Who watches is told something in turns, so often.
const TURN: Duration = Duration::from_millis(50);
/// In one turn so many rooms are looked at: 400,000 a second, which takes less than a tenth of a core. Where that is not enough,
/// players are told less often.
const LOOKS_PER_TURN: usize = 20_000;
/// A player has so many messages at once: 8 kB.
const MESSAGES: usize = 8;
/// Who has not acknowledged what it was told for so long is told nothing new.
const DEAF: Duration = Duration::from_secs(3);

/// These are the players who watch.
#[derive(Default)]
pub(super) struct Watching {
    players: BTreeMap<SessionId, Wish>,
    due: BTreeSet<(Instant, SessionId)>,
    /// So many players watch the rooms of each game.
    games: BTreeMap<String, usize>,
    last_turn: Option<Instant>,
}

struct Wish {
    game: String,
    /// The player numbers its wishes.
    watch: u32,
    pause: Duration,
    until: Instant,
    due: Instant,
    /// The next news get this number.
    number: u32,
    watcher: Watcher,
}

impl Watching {
    /// Counts the players who watch.
    pub(super) fn count(&self) -> usize {
        self.players.len()
    }

    pub(super) fn watches(&self, game: &str) -> bool {
        self.games.contains_key(game)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let first = self.due.first().map(|(at, _)| *at)?;
        Some(self.last_turn.map_or(first, |last| first.max(last + TURN)))
    }

    fn remove(&mut self, id: SessionId) -> bool {
        let Some(wish) = self.players.remove(&id) else { return false };
        self.due.remove(&(wish.due, id));
        if let Some(count) = self.games.get_mut(&wish.game) {
            *count -= 1;
            if *count == 0 {
                self.games.remove(&wish.game);
            }
        }
        true
    }

    fn insert(&mut self, id: SessionId, wish: Wish) {
        self.remove(id);
        *self.games.entry(wish.game.clone()).or_default() += 1;
        self.due.insert((wish.due, id));
        self.players.insert(id, wish);
    }

    fn next_at(&mut self, id: SessionId, at: Instant) {
        if let Some(wish) = self.players.get_mut(&id) {
            self.due.remove(&(wish.due, id));
            wish.due = at;
            self.due.insert((at, id));
        }
    }
}

impl Rooms {
    /// A player wants to watch rooms, or says so again.
    pub(super) fn watch(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        (watch, pause_ms): (u32, u16),
        query: RoomQuery,
    ) -> Result<Option<Response>, RequestError> {
        let query = query.checked(MAX_WATCHED)?;
        if others.roster.present_room(asker.player).is_some() {
            return Err(RequestError::AlreadyInRoom);
        }
        let game = Self::game_of_session(others, asker.session).ok_or(RequestError::NoSuchPlayer)?;
        if !self.open_game(others, &game) {
            others.cx.counters.limit(Refusal::ListRate);
            return Err(RequestError::Limited { retry_after_s: 10 });
        }
        let now = others.cx.now;
        let pause = Duration::from_millis(pause_ms.max(MIN_WATCH_PAUSE_MS).into());
        let former = self.listing.watching.players.get(&asker.session);
        if former.is_none_or(|wish| wish.watch != watch || *wish.watcher.query() != query) {
            // All rooms are looked at anew.
            let ip = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?.ip();
            if !self.listing.may_look(ip, now, &game) {
                others.cx.counters.limit(Refusal::ListRate);
                return Err(RequestError::Limited { retry_after_s: 1 });
            }
        }
        let watching = &mut self.listing.watching;
        match watching.players.get_mut(&asker.session) {
            Some(wish) if wish.watch == watch && *wish.watcher.query() == query => {
                (wish.until, wish.pause) = (now + KEPT, pause);
            }
            former => {
                // Another wish is no way to be told more often.
                let due = former.map_or(now, |former| former.due.max(now));
                let watcher = Watcher::new(query);
                let until = now + KEPT;
                watching.insert(asker.session, Wish { game, watch, pause, until, due, number: 0, watcher });
            }
        }
        self.set_listing_timer(others);
        Ok(Some(Response::Done))
    }

    /// A player does not watch any more, or is gone.
    pub(in crate::server) fn stop_watching(&mut self, id: SessionId) {
        self.listing.watching.remove(id);
    }

    /// Tells those whose turn it is, and asks the registry what is due.
    pub(crate) fn listing_timeout(&mut self, others: &mut Others<'_>) {
        let now = others.cx.now;
        self.poll_games(others);
        let mut looks = LOOKS_PER_TURN;
        self.listing.watching.last_turn = Some(now);
        while looks > 0
            && let Some((_, id)) = self.listing.watching.due.first().filter(|(at, _)| *at <= now).copied()
        {
            // It costs something by itself.
            looks -= 1;
            match self.tell_watcher(others, id, &mut looks) {
                Some(next) => self.listing.watching.next_at(id, next),
                None => self.stop_watching(id),
            }
        }
        self.set_listing_timer(others);
    }

    /// Tells a player what is new. Returns when it is its turn again; none: it watches no longer.
    fn tell_watcher(&mut self, others: &mut Others<'_>, id: SessionId, looks: &mut usize) -> Option<Instant> {
        let now = others.cx.now;
        let player = others.roster.player_in(id)?;
        let wish = self.listing.watching.players.get(&id)?;
        if wish.until <= now || others.roster.present_room(player).is_some() {
            return None;
        }
        let (pause, game) = (wish.pause, wish.game.clone());
        if !others.roster.listens(others.cx, id, DEAF) {
            return Some(now + pause);
        }
        if !self.open_game(others, &game) {
            return Some(now + pause);
        }
        let viewer = self.viewer(others, player)?;
        let kept = self.listing.games.get(&game)?;
        let wish = self.listing.watching.players.get_mut(&id)?;
        // One that looks at all rooms anew leaves something to the others.
        let mut share = (*looks).min(LOOKS_PER_TURN / 8);
        *looks -= share;
        wish.watcher.advance(&kept.catalogue, &viewer, &mut share);
        *looks += share;
        for _ in 0..MESSAGES {
            let Some(news) = wish.watcher.news(&kept.catalogue, &viewer) else { break };
            let (watch, number) = (wish.watch, wish.number);
            wish.number = wish.number.wrapping_add(1);
            let news =
                RoomsNews { watch, number, changed: news.changed, gone: news.gone, settled: news.settled };
            others.cx.counters.rooms_told += 1;
            others.roster.tell_session(others.cx, id, ToPlayer::Rooms(news));
        }
        Some(now + pause)
    }
}
