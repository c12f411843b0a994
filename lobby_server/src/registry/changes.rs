//! What has changed among the public rooms of each game, in the order in which it has.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::{CHANGES, ChangeMark, Changes, GONE, RoomRecord, Shown};

/// This remembers when each room was changed last, and which rooms went lately.
#[derive(Debug, Default)]
pub(super) struct Journal {
    games: BTreeMap<String, Game>,
    /// The last change of all has this number.
    last: u64,
}

#[derive(Debug, Default)]
struct Game {
    /// The rooms stand here by their last changes.
    changed: BTreeMap<u64, String>,
    numbers: BTreeMap<String, u64>,
    gone: VecDeque<(u64, Instant, String)>,
    /// What went up to here is forgotten.
    forgotten: u64,
}

impl Journal {
    /// Notes what became of the room with this game and name.
    pub(super) fn note(
        &mut self,
        now: Instant,
        (game, name): &(String, String),
        was: Option<&RoomRecord>,
        is: Option<&RoomRecord>,
    ) {
        let listed = |record: Option<&RoomRecord>| {
            record.filter(|record| record.public).map(|record| (record.location, record.shown.clone()))
        };
        let (was, is) = (listed(was), listed(is));
        if was == is {
            return;
        }
        self.last += 1;
        let game = self.games.entry(game.clone()).or_default();
        if let Some(number) = game.numbers.remove(name) {
            game.changed.remove(&number);
        }
        if is.is_some() {
            game.changed.insert(self.last, name.clone());
            game.numbers.insert(name.clone(), self.last);
        } else {
            game.gone.push_back((self.last, now, name.clone()));
        }
        let old = |at: Instant| now.saturating_duration_since(at) > GONE;
        while let Some((number, ..)) = game.gone.pop_front_if(|(_, at, _)| old(*at)) {
            game.forgotten = number;
        }
    }

    /// Returns what is new since then; `room` is asked for the room of a name, if the node that asks is to hear of it.
    pub(super) fn since(
        &self,
        now: Instant,
        game: &str,
        since: ChangeMark,
        room: impl Fn(&str) -> Option<RoomRecord>,
    ) -> Changes {
        let empty = Game::default();
        let game = self.games.get(game).unwrap_or(&empty);
        let anew =
            !since.begun && (since.changed == 0 || since.gone < game.forgotten || since.gone > self.last);
        let since = if anew { ChangeMark { changed: 0, gone: self.last, begun: true } } else { since };
        let mut mark = since;
        let mut found = game.changed.range(since.changed + 1..);
        let mut rooms: Vec<(u64, Shown)> = Vec::new();
        for (number, name) in found.by_ref().take(CHANGES) {
            mark.changed = *number;
            rooms.extend(room(name).map(|record| (record.location.node, record.shown)));
        }
        let more = found.next().is_some();
        let still = |name: &String| game.numbers.contains_key(name);
        let gone: Vec<String> = game
            .gone
            .iter()
            .filter(|(number, at, name)| {
                *number > since.gone && now.saturating_duration_since(*at) <= GONE && !still(name)
            })
            .map(|(.., name)| name.clone())
            .collect();
        if !more {
            // Nothing at all is no beginning.
            mark = ChangeMark { changed: mark.changed.max(1), gone: self.last, begun: false };
        }
        Changes { anew, rooms, gone, more, mark }
    }
}
