//! Rooms that look for more players in a line. A room is compared with those who wait as one of them is with the others: it has
//! numbers, a tolerance that widens from when it began to look, and the kinds of NAT of those inside.
//!
//! Whoever comes in keeps its places from the moment at which it is found, and waits no longer then: so two never get the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{BackfillStatus, QuickMatch};

use super::choice::worth;
use super::ticket::{LOOK_AGAIN, Schedule, Ticket, Unit};
use super::{LOOKED_AT, QueueKey, Queues};

/// Of the rooms of one line so many are compared with a player who comes: those that have looked longest.
const ROOMS_LOOKED_AT: usize = 32;

/// These places of a room are free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// So many players may come in.
    pub(crate) all: usize,
    /// So many of them into each team; empty: there are no teams.
    pub(crate) teams: Vec<usize>,
}

/// Players who come in as one take these places.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seats {
    count: usize,
    /// This is the team of each of them, where there are teams.
    teams: Vec<u8>,
}

impl Places {
    /// Returns places for so many who come in as one, where the teams have these sizes: all in one team, if the largest one is
    /// made for so many. The team with the most free places comes first. None: there are none.
    fn seats_for(&self, count: usize, sizes: &[u16]) -> Option<Seats> {
        if count > self.all {
            return None;
        }
        if sizes.is_empty() {
            return Some(Seats { count, teams: Vec::new() });
        }
        let mut free = self.teams.clone();
        // Of those that have as many, the last one of these: the first team.
        let emptiest = |free: &[usize]| (0..free.len()).rev().max_by_key(|team| free[*team]);
        let largest = sizes.iter().copied().max().map_or(0, usize::from);
        let mut teams = Vec::with_capacity(count);
        if count <= largest {
            let team = emptiest(&free).filter(|team| free[*team] >= count)?;
            teams.resize(count, team as u8);
        } else {
            for _ in 0..count {
                let team = emptiest(&free).filter(|team| free[*team] > 0)?;
                free[team] -= 1;
                teams.push(team as u8);
            }
        }
        Some(Seats { count, teams })
    }

    /// Returns what is left without these; none: they are not all free.
    fn without(&self, seats: &Seats) -> Option<Self> {
        let mut teams = self.teams.clone();
        for team in &seats.teams {
            let free = teams.get_mut(usize::from(*team))?;
            *free = free.checked_sub(1)?;
        }
        Some(Self { all: self.all.checked_sub(seats.count)?, teams })
    }
}

/// This is a room that looks for players.
#[derive(Debug)]
struct Fill {
    key: Arc<QueueKey>,
    wanted: QuickMatch,
    /// It is compared by this with those who wait.
    ticket: Ticket,
    /// The members leave these places free.
    places: Places,
    /// These have some of them: players who are being gathered, in what has these ids.
    coming: BTreeMap<RoomId, Seats>,
    /// It is looked at then; none: it has no free place.
    due: Option<Instant>,
    /// Its host was told this last.
    told: Option<BackfillStatus>,
}

impl Fill {
    /// Returns the places that nobody has.
    fn free(&self) -> Places {
        let mut free = self.places.clone();
        for seats in self.coming.values() {
            free = free.without(seats).unwrap_or_default();
        }
        free
    }

    fn coming(&self) -> usize {
        self.coming.values().map(|seats| seats.count).sum()
    }
}

/// These are all rooms that look for players.
#[derive(Debug, Default)]
pub(super) struct Fills {
    all: BTreeMap<RoomId, Fill>,
    /// These have free places: since when each looks.
    open: BTreeMap<Arc<QueueKey>, BTreeSet<(Instant, RoomId)>>,
    due: BTreeSet<(Instant, RoomId)>,
    /// Hosts were told so often.
    revision: u64,
}

impl Fills {
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Something of a room has changed: is it among those with free places, and looked at then, if it is?
    fn note(&mut self, room: RoomId, look_at: Instant) {
        let Some(fill) = self.all.get_mut(&room) else { return };
        let open = fill.free().all > 0;
        let next = open.then_some(look_at);
        let (key, since, former) =
            (fill.key.clone(), fill.ticket.since, std::mem::replace(&mut fill.due, next));
        if let Some(at) = former {
            self.due.remove(&(at, room));
        }
        if let Some(at) = next {
            self.due.insert((at, room));
            self.open.entry(key).or_default().insert((since, room));
        } else {
            self.close(&key, (since, room));
        }
    }

    fn close(&mut self, key: &QueueKey, entry: (Instant, RoomId)) {
        if let Some(rooms) = self.open.get_mut(key) {
            rooms.remove(&entry);
            if rooms.is_empty() {
                self.open.remove(key);
            }
        }
    }
}

/// These players come into a room that looked for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filling {
    pub(crate) key: Arc<QueueKey>,
    /// It is this room.
    pub(crate) room: RoomId,
    /// They are gathered in what has this id.
    pub(crate) gathering: RoomId,
    pub(crate) players: Vec<PlayerId>,
    /// This is the team of each of them, where there are teams.
    pub(crate) teams: Vec<u8>,
}

impl Queues {
    /// A room looks for players from now on, or does so with other numbers. `members` are those inside whose ways count, the host
    /// first. Who is on the way in stays so.
    pub(crate) fn look_for(
        &mut self,
        now: Instant,
        room: RoomId,
        (key, wanted): (QueueKey, QuickMatch),
        members: &Unit,
    ) {
        let (since, coming) = match self.forget_fill(room) {
            Some(known) if *known.key == key => (known.ticket.since, known.coming),
            _ => (now, BTreeMap::new()),
        };
        let schedule = Arc::new(Schedule::of(&wanted.rules));
        let ticket = self.ticket_of_room(since, members, schedule);
        let (places, due, told) = (Places::default(), None, None);
        self.fills.all.insert(room, Fill { key: Arc::new(key), wanted, ticket, places, coming, due, told });
    }

    fn ticket_of_room(&mut self, since: Instant, members: &Unit, schedule: Arc<Schedule>) -> Ticket {
        // It stands in no line, and came after all others there.
        Ticket::new(since, members, (u32::MAX, u64::MAX), &mut self.classes).with(schedule)
    }

    fn forget_fill(&mut self, room: RoomId) -> Option<Fill> {
        let fill = self.fills.all.remove(&room)?;
        if let Some(at) = fill.due {
            self.fills.due.remove(&(at, room));
        }
        self.fills.close(&fill.key, (fill.ticket.since, room));
        Some(fill)
    }

    /// A room looks for nobody any more. Returns what those are gathered in who were on the way; none: it did not look.
    pub(crate) fn stop_looking(&mut self, room: RoomId) -> Option<Vec<RoomId>> {
        self.forget_fill(room).map(|fill| fill.coming.into_keys().collect())
    }

    /// Returns what a room looks for.
    pub(crate) fn wanted_by(&self, room: RoomId) -> Option<&QuickMatch> {
        self.fills.all.get(&room).map(|fill| &fill.wanted)
    }

    /// Returns the line in which a room looks for players, and since when.
    pub(crate) fn line_of_room(&self, room: RoomId) -> Option<(Arc<QueueKey>, Instant)> {
        self.fills.all.get(&room).map(|fill| (fill.key.clone(), fill.ticket.since))
    }

    /// Counts those who are on their way into a room that has looked for them.
    pub(crate) fn coming_into(&self, room: RoomId) -> usize {
        self.fills.all.get(&room).map_or(0, Fill::coming)
    }

    /// The members of a room leave these places free now, and these are the ways that count. Returns what those are gathered in
    /// who have no place any more.
    pub(crate) fn set_places(
        &mut self,
        now: Instant,
        room: RoomId,
        members: &Unit,
        places: Places,
    ) -> Vec<RoomId> {
        let Some(fill) = self.fills.all.get(&room) else { return Vec::new() };
        let (since, schedule) = (fill.ticket.since, fill.ticket.schedule.clone());
        let ticket = self.ticket_of_room(since, members, schedule);
        let Some(fill) = self.fills.all.get_mut(&room) else { return Vec::new() };
        (fill.ticket, fill.places) = (ticket, places);
        let mut left = fill.places.clone();
        let mut out = Vec::new();
        for (gathering, seats) in &fill.coming {
            match left.without(seats) {
                Some(without) => left = without,
                None => out.push(*gathering),
            }
        }
        self.fills.note(room, now);
        out
    }

    /// Those who were on the way have come in, or do not come.
    pub(crate) fn free_up(&mut self, now: Instant, room: RoomId, gathering: RoomId) {
        if let Some(fill) = self.fills.all.get_mut(&room)
            && fill.coming.remove(&gathering).is_some()
        {
            self.fills.note(room, now);
        }
    }

    /// Takes at most so many rooms that are to be looked at by now.
    pub(crate) fn take_due_rooms(&mut self, now: Instant, most: usize) -> Vec<RoomId> {
        let due = self.fills.due.iter().take_while(|(at, _)| *at <= now).take(most);
        let due: Vec<RoomId> = due.map(|(_, room)| *room).collect();
        for room in &due {
            let next = self.fills.all.get(room).and_then(|fill| fill.ticket.next_look(now));
            self.fills.note(*room, next.map_or(now + LOOK_AGAIN, |next| next.min(now + LOOK_AGAIN)));
        }
        due
    }

    /// A room is to be looked at by then.
    pub(crate) fn look_at_room(&mut self, room: RoomId, at: Instant) {
        let due = self.fills.all.get(&room).and_then(|fill| fill.due);
        if due.is_some_and(|due| at < due) {
            self.fills.note(room, at);
        }
    }

    /// Returns what a room's host is to be told, if that is another thing than it was told last.
    pub(crate) fn news_of_room(&mut self, room: RoomId) -> Option<(u64, BackfillStatus)> {
        let fill = self.fills.all.get_mut(&room)?;
        let status = BackfillStatus { free: fill.free().all as u16, coming: fill.coming() as u16 };
        if fill.told.replace(status) == Some(status) {
            return None;
        }
        self.fills.revision += 1;
        Some((self.fills.revision, status))
    }

    /// Takes players out of their line for a room that looks for them: who suits it, and is worth most. `id` gives an id for what
    /// those who come in as one are gathered in, and `may` says whether they may come in at all.
    pub(crate) fn fill_room(
        &mut self,
        now: Instant,
        room: RoomId,
        mut id: impl FnMut() -> RoomId,
        may: impl Fn(&[PlayerId]) -> bool,
    ) -> Vec<Filling> {
        let Some(fill) = self.fills.all.get(&room) else { return Vec::new() };
        let (mut free, sizes) = (fill.free(), &fill.key.wanted.rules.teams);
        let line = self.by_key.get(&fill.key).and_then(|line| self.lines.get(line));
        let Some(line) = line.filter(|_| free.all > 0) else { return Vec::new() };
        let mut ranked: Vec<(f64, u32, &Ticket)> = Vec::new();
        for slot in line.candidates(&fill.ticket, now, LOOKED_AT) {
            let ticket = self.tickets.get(slot as usize).and_then(Option::as_ref);
            if let Some(ticket) =
                ticket.filter(|ticket| ticket.size() <= free.all && ticket.suits(&fill.ticket, now))
            {
                ranked.push((worth(&fill.ticket, ticket, &mut self.classes, now), slot, ticket));
            }
        }
        ranked.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.2.seq.cmp(&other.2.seq)));
        let mut chosen: Vec<(u32, Seats)> = Vec::new();
        for (_, slot, ticket) in ranked {
            if free.all == 0 {
                break;
            }
            let Some(seats) = free.seats_for(ticket.size(), sizes) else { continue };
            let Some(left) = free.without(&seats) else { continue };
            let players: Vec<PlayerId> = ticket.players().collect();
            if may(&players) {
                free = left;
                chosen.push((slot, seats));
            }
        }
        let fillings =
            chosen.into_iter().filter_map(|(slot, seats)| self.take_for(now, (slot, seats), room, id()));
        fillings.collect()
    }

    /// Takes a player, and all who wait as one with it, out of its line for a room that looks for such: that which is worth most.
    /// `may` says whether these may come into a room at all.
    pub(crate) fn find_room(
        &mut self,
        now: Instant,
        player: PlayerId,
        gathering: RoomId,
        may: impl Fn(RoomId, &[PlayerId]) -> bool,
    ) -> Option<Filling> {
        let line = self.line_of(player)?;
        let rooms = self.fills.open.get(&line)?;
        let slot = self.places.get(&player)?.1;
        let ticket = self.tickets.get(slot as usize)?.as_ref()?;
        let players: Vec<PlayerId> = ticket.players().collect();
        let mut best: Option<(f64, RoomId, Seats)> = None;
        for (_, room) in rooms.iter().take(ROOMS_LOOKED_AT) {
            let Some(fill) = self.fills.all.get(room) else { continue };
            let Some(seats) = fill.free().seats_for(ticket.size(), &line.wanted.rules.teams) else {
                continue;
            };
            if !ticket.suits(&fill.ticket, now) || !may(*room, &players) {
                continue;
            }
            let worth = worth(ticket, &fill.ticket, &mut self.classes, now);
            if best.as_ref().is_none_or(|(most, ..)| worth > *most) {
                best = Some((worth, *room, seats));
            }
        }
        let (_, room, seats) = best?;
        self.take_for(now, (slot, seats), room, gathering)
    }

    fn take_for(
        &mut self,
        now: Instant,
        (slot, seats): (u32, Seats),
        room: RoomId,
        gathering: RoomId,
    ) -> Option<Filling> {
        let players = self.ticket(slot)?.players().collect();
        let fill = self.fills.all.get_mut(&room)?;
        let (key, teams) = (fill.key.clone(), seats.teams.clone());
        fill.coming.insert(gathering, seats);
        let next = fill.due.unwrap_or(now + LOOK_AGAIN);
        self.fills.note(room, next);
        self.take_from_line(slot, gathering);
        Some(Filling { key, room, gathering, players, teams })
    }
}
