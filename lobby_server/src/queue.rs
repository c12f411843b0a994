//! Who waits for a quick match. Pure: when players are put together, and whether they are still there, is decided by
//! the dispatcher.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::text;
use traversal_core::wire::message::{MESH_CAPACITY, QueueStatus, QuickMatch, RequestError, Topology};

use crate::limits::{Bucket, Counts, Rate};

/// So many players of one line are told, in the long run and at once, how it comes along. A line of a hundred is told
/// of 20 changes at once, and of two a second in the long run.
const NEWS: Rate = Rate::new(256.0, 2048.0);

/// Only players with the same key meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueKey {
    pub(crate) game: String,
    pub(crate) game_protocol: u32,
    pub(crate) wanted: QuickMatch,
}

impl QueueKey {
    /// Returns a text of this key, which is another one for each key.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        format!("{self:?}").into_bytes()
    }
}

/// This says where a player waits.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The player waits in this line.
    Waiting(QueueKey),
    /// The player was put together with others, in what is to become this room.
    Gathered(RoomId),
}

/// These are all queues. Each is in the order of arrival, so who waited longest is taken first.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    lines: BTreeMap<QueueKey, Vec<PlayerId>>,
    places: BTreeMap<PlayerId, (Place, IpAddr)>,
    by_address: Counts,
    /// This says what each line may still be told.
    news: BTreeMap<QueueKey, Bucket>,
    /// These lines were not told of their last changes.
    untold: BTreeSet<QueueKey>,
}

/// This is what a player has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The player has left this line.
    Line(QueueKey),
    /// The player was on its way into this room.
    Gathering(RoomId),
}

impl Queues {
    /// Returns how many players wait or are being put together.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn has(&self, player: PlayerId) -> bool {
        self.places.contains_key(&player)
    }

    /// Returns the line that a player waits in; none: it does not wait, or is being put together with others.
    pub(crate) fn line_of(&self, player: PlayerId) -> Option<QueueKey> {
        match self.places.get(&player) {
            Some((Place::Waiting(key), _)) => Some(key.clone()),
            _ => None,
        }
    }

    /// Returns whether nobody else from this address may wait, of whom `limit` may.
    pub(crate) fn is_full(&self, from: IpAddr, limit: usize) -> bool {
        self.by_address.full(from, limit, None).is_some()
    }

    /// Puts a player at the end of the line.
    pub(crate) fn enter(&mut self, player: PlayerId, key: QueueKey, from: IpAddr) {
        self.lines.entry(key.clone()).or_default().push(player);
        if let Some((_, former)) = self.places.insert(player, (Place::Waiting(key), from)) {
            self.by_address.remove(former);
        }
        self.by_address.add(from);
    }

    /// Takes a player out of line, or out of what is to become a room.
    pub(crate) fn leave(&mut self, player: PlayerId) -> Option<Left> {
        let (place, from) = self.places.remove(&player)?;
        self.by_address.remove(from);
        match place {
            Place::Waiting(key) => {
                if let Some(line) = self.lines.get_mut(&key) {
                    line.retain(|other| *other != player);
                    if line.is_empty() {
                        self.forget_line(&key);
                    }
                }
                Some(Left::Line(key))
            }
            Place::Gathered(room) => Some(Left::Gathering(room)),
        }
    }

    fn forget_line(&mut self, key: &QueueKey) {
        self.lines.remove(key);
        self.news.remove(key);
        self.untold.remove(key);
    }

    /// Returns whether all in this line may be told how it comes along; if not, it is noted.
    pub(crate) fn may_tell(&mut self, now: Instant, key: &QueueKey) -> bool {
        let Some(line) = self.lines.get(key) else { return true };
        let cost = (line.len() as f64).min(NEWS.burst);
        let bucket = self.news.entry(key.clone()).or_insert_with(|| Bucket::full(NEWS, now));
        let may = bucket.take_many(NEWS, now, cost);
        if !may {
            self.untold.insert(key.clone());
        }
        may
    }

    /// Returns the lines that were not told of their last changes.
    pub(crate) fn take_untold(&mut self) -> Vec<QueueKey> {
        std::mem::take(&mut self.untold).into_iter().collect()
    }

    /// Takes the players of one match out of the line, if there are enough: those who waited longest.
    pub(crate) fn gather(&mut self, key: &QueueKey, room: RoomId) -> Option<Vec<PlayerId>> {
        let line = self.lines.get_mut(key)?;
        let count = usize::from(key.wanted.players);
        if line.len() < count {
            return None;
        }
        let players: Vec<PlayerId> = line.drain(..count).collect();
        if line.is_empty() {
            self.forget_line(key);
        }
        for player in &players {
            if let Some((place, _)) = self.places.get_mut(player) {
                *place = Place::Gathered(room);
            }
        }
        Some(players)
    }

    /// It did not come to a room: those who are still there stand in front of the line again.
    pub(crate) fn put_back(&mut self, key: &QueueKey, players: &[PlayerId]) {
        let players: Vec<PlayerId> =
            players.iter().filter(|player| self.places.contains_key(player)).copied().collect();
        for player in &players {
            if let Some((place, _)) = self.places.get_mut(player) {
                *place = Place::Waiting(key.clone());
            }
        }
        if !players.is_empty() {
            self.lines.entry(key.clone()).or_default().splice(0..0, players);
        }
    }

    /// Returns what each in the line is to be told, the first one first.
    pub(crate) fn status(&self, key: &QueueKey) -> Vec<(PlayerId, QueueStatus)> {
        let line = self.lines.get(key).map(Vec::as_slice).unwrap_or_default();
        let waiting = line.len() as u16;
        let status =
            |index: usize| QueueStatus { position: index as u16 + 1, waiting, players: key.wanted.players };
        line.iter().enumerate().map(|(index, player)| (*player, status(index))).collect()
    }
}

/// Checks what a player wants, and keeps its text as texts are kept.
pub(crate) fn check_wish(wanted: QuickMatch) -> Result<QuickMatch, RequestError> {
    let malformed = |what: &str| Err(RequestError::Malformed { what: what.into() });
    let wanted = QuickMatch { mode: text::MODE.check(&wanted.mode)?, ..wanted };
    let mesh = wanted.topology == Topology::Mesh;
    match wanted.players {
        2..=MESH_CAPACITY => Ok(wanted),
        17..=64 if !mesh => Ok(wanted),
        _ if mesh => malformed("number of players (2 to 16 in a mesh)"),
        _ => malformed("number of players (2 to 64)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(mode: &str, players: u16) -> QueueKey {
        let wanted = QuickMatch { mode: mode.into(), players, ..QuickMatch::default() };
        QueueKey { game: "game".into(), game_protocol: 1, wanted }
    }

    fn player(number: u8) -> PlayerId {
        PlayerId([number; 16])
    }

    #[test]
    fn who_waited_longest_plays_first_and_others_wait_for_more() {
        let mut queues = Queues::default();
        let three = key("duel", 3);
        for number in 1..=5 {
            queues.enter(player(number), three.clone(), IpAddr::from([203, 0, 113, number]));
        }
        let here: IpAddr = "203.0.113.6".parse().unwrap();
        queues.enter(player(6), key("duel", 2), here);
        queues.enter(player(7), key("other", 3), here);
        assert_eq!(queues.gather(&three, RoomId(1)), Some(vec![player(1), player(2), player(3)]));
        assert_eq!(queues.gather(&three, RoomId(2)), None);
        let status = queues.status(&three);
        assert_eq!(status.len(), 2);
        assert_eq!(status[1], (player(5), QueueStatus { position: 2, waiting: 2, players: 3 }));
        assert_eq!(queues.len(), 7);
        assert!(queues.is_full(here, 2) && !queues.is_full(here, 3));
    }

    #[test]
    fn who_leaves_is_gone_from_the_line_and_from_what_was_to_become_a_room() {
        let mut queues = Queues::default();
        let two = key("duel", 2);
        for number in 1..=4 {
            queues.enter(player(number), two.clone(), "203.0.113.1".parse().unwrap());
        }
        assert_eq!(queues.leave(player(4)), Some(Left::Line(two.clone())));
        assert_eq!(queues.leave(player(4)), None);
        let gathered = queues.gather(&two, RoomId(9)).unwrap();
        assert_eq!(queues.leave(player(1)), Some(Left::Gathering(RoomId(9))));
        queues.put_back(&two, &gathered);
        assert_eq!(
            queues.gather(&two, RoomId(10)),
            Some(vec![player(2), player(3)]),
            "before those who came later"
        );
        for number in 2..=3 {
            queues.leave(player(number));
        }
        assert_eq!(queues.len(), 0);
        assert!(queues.lines.is_empty());
    }

    #[test]
    fn wishes_out_of_range_are_refused() {
        let good = QuickMatch { mode: "duel".into(), players: 64, ..QuickMatch::default() };
        assert_eq!(check_wish(good.clone()), Ok(good.clone()));
        assert!(check_wish(QuickMatch::default()).is_ok());
        let mesh = QuickMatch { topology: Topology::Mesh, players: MESH_CAPACITY, ..good.clone() };
        assert!(check_wish(mesh.clone()).is_ok());
        for bad in [
            QuickMatch { players: 1, ..good.clone() },
            QuickMatch { players: 65, ..good.clone() },
            QuickMatch { players: MESH_CAPACITY + 1, ..mesh },
            QuickMatch { mode: "x".repeat(49), ..good.clone() },
            QuickMatch { mode: "a\u{7}".into(), ..good },
        ] {
            assert!(matches!(check_wish(bad.clone()), Err(RequestError::Malformed { .. })), "{bad:?}");
        }
    }
}
