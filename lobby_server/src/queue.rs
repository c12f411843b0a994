//! Who waits for a quick match, and who suits whom. Pure: whether players are still there is decided by the dispatcher.
//!
//! Players who agree in all that has to be equal stand in one [`line`]. One is looked at when it comes, and whenever its
//! tolerance widens: whoever it suits at that moment and did not suit before is found then. A look is at a fixed number of
//! others, those who came first and those who are nearest, so it takes the same time in a line of two million.

mod choice;
mod classes;
mod fills;
mod line;
pub mod measured;
mod teams;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::text;
use traversal_core::wire::message::{MESH_CAPACITY, QueueStatus, QuickMatch, RequestError, Topology};

use crate::limits::{Bucket, Counts, Rate};
use choice::choose;
use classes::Classes;
use fills::Fills;
pub(crate) use fills::{Filling, Places};
use line::{Line, Waits};
pub(crate) use ticket::{Comer, Unit};
use ticket::{Schedule, Ticket};

/// So many players of one line are told, in the long run and at once, how it comes along. A line of a hundred is told
/// of 20 changes at once, and of two a second in the long run.
const NEWS: Rate = Rate::new(256.0, 2048.0);
/// So many players of a line are told at a time; of a longer line the next ones are told the next time.
const TOLD_AT_ONCE: usize = 256;
/// A look is at so many others: more than the 64 of the largest match, so that players without rules are always put together.
const LOOKED_AT: usize = 128;
/// The waits of so many lines in which nobody is any more are kept.
const KEPT_LINES: usize = 1024;

/// Only players with the same key meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueKey {
    pub(crate) game: String,
    pub(crate) game_protocol: u32,
    /// This is what has to be equal: of the numbers their names alone.
    pub(crate) wanted: QuickMatch,
}

impl QueueKey {
    /// Returns the key of those who may meet one who wants this.
    pub(crate) fn of(game: &str, game_protocol: u32, wanted: &QuickMatch) -> Self {
        let mut wanted = wanted.clone();
        for number in &mut wanted.rules.numbers {
            (number.value, number.every_s, number.then_any) = (0, 0, false);
            number.within.clear();
        }
        wanted.rules.texts.retain(|_, text| text.for_s.is_none());
        Self { game: game.into(), game_protocol, wanted }
    }

    /// Returns a text of this key, which is another one for each key.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        format!("{self:?}").into_bytes()
    }
}

/// This says where a player waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The player waits in line.
    Waiting,
    /// The player was put together with others, in what is to become this room.
    Gathered(RoomId),
}

/// These players are to play together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) key: Arc<QueueKey>,
    /// Who waited longest comes first.
    pub(crate) players: Vec<PlayerId>,
    /// These are the teams, where there are any.
    pub(crate) teams: Vec<Vec<PlayerId>>,
}

/// These are all queues.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    lines: BTreeMap<u32, Line>,
    next_line: u32,
    by_key: BTreeMap<Arc<QueueKey>, u32>,
    /// All tickets; places that are free are in `free`.
    tickets: Vec<Option<Ticket>>,
    free: Vec<u32>,
    next_seq: u64,
    /// Where the ticket of each player is.
    places: BTreeMap<PlayerId, (Place, u32)>,
    by_address: Counts,
    /// These are to be looked at then.
    due: BTreeSet<(Instant, u32)>,
    classes: Classes,
    /// This says how long it took in lines where nobody is any more.
    past: BTreeMap<Arc<QueueKey>, Waits>,
    /// These lines were not told of their last changes.
    untold: BTreeSet<u32>,
    /// These rooms look for more players.
    fills: Fills,
}

/// This is what a player has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The player has left this line.
    Line(Arc<QueueKey>),
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
    pub(crate) fn line_of(&self, player: PlayerId) -> Option<Arc<QueueKey>> {
        let (place, slot) = self.places.get(&player)?;
        let line = self.lines.get(&self.ticket(*slot)?.line)?;
        (*place == Place::Waiting).then(|| line.key.clone())
    }

    /// Returns what is to become the room of a player who was put together with others.
    pub(crate) fn gathering_of(&self, player: PlayerId) -> Option<RoomId> {
        match self.places.get(&player)?.0 {
            Place::Gathered(room) => Some(room),
            Place::Waiting => None,
        }
    }

    /// Returns whether nobody else from this address may wait, of whom `limit` may.
    pub(crate) fn is_full(&self, from: IpAddr, limit: usize) -> bool {
        self.by_address.full(from, limit, None).is_some()
    }

    /// Returns so many of those who wait or are being put together, from this one on.
    pub(crate) fn players_from(&self, first: PlayerId, most: usize) -> Vec<PlayerId> {
        self.places.range(first..).map(|(player, _)| *player).take(most).collect()
    }

    fn ticket(&self, slot: u32) -> Option<&Ticket> {
        self.tickets.get(slot as usize)?.as_ref()
    }

    /// Puts a player, or all players of a party, at the end of its line, which has this key.
    pub(crate) fn enter(&mut self, now: Instant, unit: Unit, (key, wanted): (QueueKey, &QuickMatch)) {
        for comer in unit.all() {
            self.leave(comer.player);
        }
        let line_id = self.line_for(key);
        let Some(line) = self.lines.get_mut(&line_id) else { return };
        let ticket = Ticket::new(now, &unit, (line_id, self.next_seq), &mut self.classes)
            .with(line.share(Schedule::of(&wanted.rules)));
        self.next_seq += 1;
        let slot = self.free.pop().unwrap_or(self.tickets.len() as u32);
        line.put(&ticket, slot);
        line.tickets += 1;
        if slot as usize == self.tickets.len() {
            self.tickets.push(None);
        }
        self.tickets[slot as usize] = Some(ticket);
        for comer in unit.all() {
            self.places.insert(comer.player, (Place::Waiting, slot));
            self.by_address.add(comer.from);
        }
        self.plan_look(now, slot);
    }

    fn line_for(&mut self, key: QueueKey) -> u32 {
        if let Some(line) = self.by_key.get(&key) {
            return *line;
        }
        let key = Arc::new(key);
        let (id, waits) = (self.next_line, self.past.remove(&key).unwrap_or_default());
        self.next_line = self.next_line.wrapping_add(1);
        self.by_key.insert(key.clone(), id);
        self.lines.insert(id, Line::new(key, waits));
        id
    }

    /// Notes when a player in line is to be looked at next.
    fn plan_look(&mut self, now: Instant, slot: u32) {
        let Some(ticket) = self.tickets.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let next = ticket.next_look(now);
        let former = std::mem::replace(&mut ticket.due, next);
        if let Some(at) = former {
            self.due.remove(&(at, slot));
        }
        if let Some(at) = next {
            self.due.insert((at, slot));
        }
    }

    /// Returns when somebody is to be looked at, or a room that looks for players.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at).into_iter().chain(self.fills.next_look()).min()
    }

    /// Takes at most so many players who are to be looked at by now.
    pub(crate) fn take_due(&mut self, now: Instant, most: usize) -> Vec<PlayerId> {
        let due: Vec<u32> =
            self.due.iter().take_while(|(at, _)| *at <= now).take(most).map(|(_, slot)| *slot).collect();
        for slot in &due {
            self.plan_look(now, *slot);
        }
        due.into_iter().filter_map(|slot| Some(self.ticket(slot)?.player)).collect()
    }

    /// Takes a player out of line, or out of what is to become a room, and with it all who wait as one with it.
    pub(crate) fn leave(&mut self, player: PlayerId) -> Option<Left> {
        let (place, slot) = self.places.remove(&player)?;
        let ticket = self.tickets.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.by_address.remove(ticket.from);
        self.places.remove(&ticket.player);
        for mate in &ticket.mates {
            self.places.remove(&mate.player);
            self.by_address.remove(mate.from);
        }
        if let Some(at) = ticket.due {
            self.due.remove(&(at, slot));
        }
        let id = ticket.line;
        let line = self.lines.get_mut(&id)?;
        let key = line.key.clone();
        line.take(&ticket);
        line.tickets -= 1;
        line.unshare(ticket);
        self.forget_if_empty(id);
        Some(match place {
            Place::Waiting => Left::Line(key),
            Place::Gathered(room) => Left::Gathering(room),
        })
    }

    /// Forgets a line in which nobody is, but not how long it took there.
    fn forget_if_empty(&mut self, id: u32) {
        if self.lines.get(&id).is_none_or(|line| line.tickets > 0) {
            return;
        }
        let Some(line) = self.lines.remove(&id) else { return };
        self.by_key.remove(&line.key);
        self.untold.remove(&id);
        if line.waits.last().is_none() {
            return;
        }
        if self.past.len() >= KEPT_LINES
            && let Some(oldest) =
                self.past.iter().min_by_key(|(_, waits)| waits.last()).map(|(key, _)| key.clone())
        {
            self.past.remove(&oldest);
        }
        self.past.insert(line.key, line.waits);
    }

    /// Takes the players of one match out of the line, if this player suits enough others now.
    pub(crate) fn gather(&mut self, now: Instant, player: PlayerId, room: RoomId) -> Option<Group> {
        let (place, slot) = *self.places.get(&player)?;
        let ticket = self.ticket(slot).filter(|_| place == Place::Waiting)?;
        let line = self.lines.get(&ticket.line)?;
        let key = line.key.clone();
        let count = usize::from(key.wanted.players);
        if line.waiting() < count {
            return None;
        }
        let candidates = line.candidates(ticket, now, LOOKED_AT);
        let sizes = &key.wanted.rules.teams;
        let mut chosen = choose(&self.tickets, &mut self.classes, (slot, &candidates), now, (count, sizes))?;
        chosen.sort_by_key(|slot| self.ticket(*slot).map(|ticket| ticket.seq));
        let units: Vec<&Ticket> = chosen.iter().filter_map(|slot| self.ticket(*slot)).collect();
        let players: Vec<PlayerId> = units.iter().flat_map(|unit| unit.players()).collect();
        let numbers: Vec<Vec<i32>> = units.iter().map(|unit| unit.firsts().collect()).collect();
        let teams = teams::split(&numbers, sizes)?;
        let teams =
            teams.into_iter().map(|team| team.into_iter().map(|index| players[index]).collect()).collect();
        for slot in chosen {
            self.take_from_line(slot, room);
        }
        Some(Group { key, players, teams })
    }

    fn take_from_line(&mut self, slot: u32, room: RoomId) {
        let Some(ticket) = self.tickets.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if let Some(at) = ticket.due.take() {
            self.due.remove(&(at, slot));
        }
        if let Some(line) = self.lines.get_mut(&ticket.line) {
            line.take(ticket);
        }
        for player in ticket.players() {
            self.places.insert(player, (Place::Gathered(room), slot));
        }
    }

    /// The room is there: this player has waited as long as it took.
    pub(crate) fn matched(&mut self, now: Instant, player: PlayerId) {
        let ticket = self.places.get(&player).and_then(|(_, slot)| self.ticket(*slot));
        if let Some((line, waited)) = ticket.map(|ticket| (ticket.line, ticket.waited(now)))
            && let Some(line) = self.lines.get_mut(&line)
        {
            line.waits.note(now, waited);
        }
        self.leave(player);
    }

    /// It did not come to a room: those who are still there stand in line where they stood.
    pub(crate) fn put_back(&mut self, now: Instant, players: &[PlayerId]) {
        for player in players {
            let Some((place, slot)) = self.places.get_mut(player) else { continue };
            let slot = *slot;
            *place = Place::Waiting;
            if let Some(ticket) = self.tickets.get(slot as usize).and_then(Option::as_ref)
                && ticket.player == *player
                && let Some(line) = self.lines.get_mut(&ticket.line)
            {
                line.put(ticket, slot);
            }
            self.plan_look(now, slot);
        }
    }

    /// Returns what this player, who has just come or come back, is to be told.
    pub(crate) fn status_of(&self, now: Instant, player: PlayerId) -> Option<QueueStatus> {
        let ticket = self.ticket(self.places.get(&player)?.1)?;
        let line = self.lines.get(&ticket.line)?;
        let waiting = line.waiting() as u32;
        let places = line.arrival.len() as u32;
        let before = |most| line.arrival.range(..ticket.seq).take(most).count() as u32;
        // Counted from the front, or from the back where it is at the end; in the middle of a long line no nearer than that.
        let behind = line.arrival.range(ticket.seq..).take(TOLD_AT_ONCE).count();
        let position = match before(TOLD_AT_ONCE) {
            before if (before as usize) < TOLD_AT_ONCE => before + 1,
            _ => (places + 1).saturating_sub(behind as u32),
        };
        Some(QueueStatus {
            position,
            waiting,
            players: line.key.wanted.players,
            estimate_s: line.waits.estimate(now),
        })
    }

    /// Returns what those in the line are to be told, the first one first: of a long line some of them, and the next ones the
    /// next time. Empty: they were told enough, and it is noted.
    pub(crate) fn news(&mut self, now: Instant, key: &QueueKey) -> Vec<(PlayerId, QueueStatus)> {
        let Some(id) = self.by_key.get(key) else { return Vec::new() };
        let Some(line) = self.lines.get_mut(id) else { return Vec::new() };
        let (waiting, estimate_s) = (line.waiting() as u32, line.waits.estimate(now));
        let cost = line.waiting().min(TOLD_AT_ONCE) as f64;
        if !line.news.get_or_insert_with(|| Bucket::full(NEWS, now)).take_many(NEWS, now, cost) {
            self.untold.insert(*id);
            return Vec::new();
        }
        let players = line.key.wanted.players;
        let long = line.waiting() > TOLD_AT_ONCE;
        let (told, mut place) = if long { line.told_to } else { (0, 0) };
        let from = if place == 0 { Bound::Unbounded } else { Bound::Excluded(told) };
        let mut news = Vec::new();
        let mut last = told;
        for (seq, slot) in line.arrival.range((from, Bound::Unbounded)) {
            if news.len() >= TOLD_AT_ONCE {
                break;
            }
            place += 1;
            last = *seq;
            let Some(ticket) = self.tickets.get(*slot as usize).and_then(Option::as_ref) else { continue };
            let status = QueueStatus { position: place, waiting, players, estimate_s };
            news.extend(ticket.players().map(|player| (player, status)));
        }
        let rest = long && line.arrival.last_key_value().is_some_and(|(newest, _)| *newest > last);
        line.told_to = if rest { (last, place) } else { (0, 0) };
        if rest {
            self.untold.insert(*id);
        }
        news
    }

    /// Returns whether some line was not told of its last changes.
    pub(crate) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Returns the lines that were not told of their last changes.
    pub(crate) fn take_untold(&mut self) -> Vec<Arc<QueueKey>> {
        let untold = std::mem::take(&mut self.untold);
        untold.into_iter().filter_map(|id| Some(self.lines.get(&id)?.key.clone())).collect()
    }
}

/// Checks what a player wants, and keeps its text as texts are kept.
pub(crate) fn check_wish(wanted: QuickMatch) -> Result<QuickMatch, RequestError> {
    let malformed = |what: &str| Err(RequestError::Malformed { what: what.into() });
    let rules = wanted.rules.checked(wanted.players)?;
    let wanted = QuickMatch { mode: text::MODE.check(&wanted.mode)?, rules, ..wanted };
    let mesh = wanted.topology == Topology::Mesh;
    match wanted.players {
        2..=MESH_CAPACITY => Ok(wanted),
        17..=64 if !mesh => Ok(wanted),
        _ if mesh => malformed("number of players (2 to 16 in a mesh)"),
        _ => malformed("number of players (2 to 64)"),
    }
}
