//! The thread that speaks to Redis: it carries out what the core wants, says each second that this node is there, and tells
//! Redis again what this node holds, now and then and whenever Redis may have lost it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use redis::{ConnectionInfo, Value};
use traversal_core::id::{PlayerId, RoomId};

use super::entries::{Posted, read_changes, read_lost, read_posts, read_pulse, read_reply};
use super::jobs::{Event, Identifying, Job, MOST_POSTS, Order};
use super::link::{Link, LinkError, fine, shown};
use super::numbers::Shared;
use super::words::Words;
use crate::registry::{BEAT, RegistryDown, RegistryId, RegistryNote, RegistryReply, RoomRecord};

/// So many commands go to Redis at once.
const BATCH: usize = 256;
/// So many rooms or players are told of again by one script, for which everybody else waits.
const GROUP: usize = 32;
/// So many such scripts go with one batch: what the core wants waits for them.
const GROUPS: usize = 16;
/// All that this node holds is told again within this time, a third of its life.
const ROUND: Duration = Duration::from_secs(180);
/// A node looks so often for what others have to say to it: so much later a player at the most hears of one at another node. A
/// node that is alone does not.
const COLLECT: Duration = Duration::from_millis(100);
/// Where Redis is not reached it is tried again after a wait between these, the longer the more often it failed.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// So many rooms that are gone are remembered while Redis is not reached; it forgets the others by itself.
const MAX_OWED: usize = 65_536;

/// This is the driver's state.
pub(super) struct Driver {
    pub(super) address: ConnectionInfo,
    pub(super) own: Identifying,
    pub(super) orders: Receiver<Order>,
    pub(super) events: Sender<Event>,
    pub(super) shared: Shared,
    pub(super) state: State,
    pub(super) words: Words,
}

/// This is what the driver knows.
#[derive(Default)]
pub(super) struct State {
    link: Option<Link>,
    /// Nothing is tried before.
    retry_at: Option<Instant>,
    failures: u32,
    next_beat: Option<Instant>,
    next_collect: Option<Instant>,
    /// This post was the last one that was read.
    last_post: Option<String>,
    /// The data that Redis had at the last beat began with this one.
    era: Option<String>,
    /// This note was the last one; none: there was none since the era began.
    last_note: Option<String>,
    rooms: BTreeMap<RoomId, RoomRecord>,
    players: BTreeSet<PlayerId>,
    /// Redis has not heard of these players' arrivals.
    arrivals: BTreeSet<PlayerId>,
    /// These rooms have news, or are to be told again.
    dirty: BTreeSet<RoomId>,
    /// These players' places are to be told again.
    stale: BTreeSet<PlayerId>,
    /// Redis has not heard that these rooms are gone.
    owed: VecDeque<Job>,
    /// What is told again in turn comes after these.
    turn: (Option<RoomId>, Option<PlayerId>),
}

impl Driver {
    /// Serves until the core's end is gone, and takes its leave of the others then.
    pub(super) fn run(mut self) {
        let mut jobs = Vec::new();
        loop {
            let wait = self.wait(Instant::now());
            let ends = match self.orders.recv_timeout(wait) {
                Ok(order) => self.take(order, &mut jobs),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            let mut ended = ends;
            while jobs.len() < BATCH && !ended {
                let Ok(order) = self.orders.try_recv() else { break };
                ended = self.take(order, &mut jobs);
            }
            self.turn(&mut jobs);
            if ended {
                self.leave();
                return;
            }
        }
    }

    /// Returns how long there is nothing to do but to wait for the core.
    fn wait(&self, now: Instant) -> Duration {
        let state = &self.state;
        if state.link.is_some() && self.shared.is_up() && state.has_news() {
            return Duration::ZERO;
        }
        let collect = state.next_collect.filter(|_| self.shared.is_up());
        let due = match state.link {
            Some(_) => state.next_beat.map(|beat| collect.map_or(beat, |collect| collect.min(beat))),
            None => state.retry_at,
        };
        due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    /// Takes an order of the core; true: it was the last one.
    fn take(&mut self, order: Order, jobs: &mut Vec<Job>) -> bool {
        let state = &mut self.state;
        match order {
            Order::Ask(job) => jobs.push(job),
            Order::Update(record) => {
                state.dirty.insert(record.location.room);
                state.rooms.insert(record.location.room, *record);
            }
            Order::Release { room, key } => {
                // What is told again in this turn would bring it back.
                state.forget(room);
                jobs.push(Job::Release { room, key });
            }
            Order::Arrive(player) => {
                state.players.insert(player);
                state.arrivals.insert(player);
            }
            Order::Depart(player) => {
                state.players.remove(&player);
                state.arrivals.remove(&player);
                state.stale.remove(&player);
                jobs.push(Job::Depart(player));
            }
            Order::End => return true,
        }
        false
    }

    fn turn(&mut self, jobs: &mut Vec<Job>) {
        let now = Instant::now();
        if self.state.link.is_none() && self.state.retry_at.is_none_or(|at| at <= now) {
            match Link::open(&self.address).and_then(|mut link| {
                link.about()?.judge()?;
                Ok(link)
            }) {
                Ok(link) => {
                    self.state.link = Some(link);
                    self.state.next_beat = None;
                }
                Err(error) => self.lose(&error),
            }
        }
        if self.state.link.is_none() {
            return self.give_up(std::mem::take(jobs));
        }
        let now = Instant::now();
        if self.state.next_beat.is_none_or(|at| at <= now) {
            self.state.next_beat = Some(now + BEAT);
            // Nothing else goes with it: whether this node may take part is known afterwards.
            let beat = Job::Beat { site: self.shared.site(), last: self.state.last_note.clone() };
            self.perform(vec![beat]);
            if self.shared.is_up() {
                self.state.go_on();
            }
        }
        if !self.shared.is_up() {
            return self.give_up(std::mem::take(jobs));
        }
        // Rooms that are gone first: their names may be wanted again.
        let mut batch: Vec<Job> = self.state.owed.drain(..self.state.owed.len().min(BATCH)).collect();
        batch.append(jobs);
        self.state.add_news(&mut batch);
        let now = Instant::now();
        if self.state.next_collect.is_some_and(|at| at <= now) {
            self.state.next_collect = Some(now + COLLECT);
            batch.push(Job::Collect { last: self.state.last_post.clone() });
        }
        if !batch.is_empty() {
            self.perform(batch);
        }
    }

    /// Has Redis do these, and goes by its answers.
    fn perform(&mut self, batch: Vec<Job>) {
        let calls: Vec<_> = batch.iter().map(|job| job.call(&self.own)).collect();
        let start = Instant::now();
        let Some(link) = &mut self.state.link else { return self.give_up(batch) };
        match link.run(&calls) {
            Ok(replies) => {
                self.shared.count(batch.len(), start.elapsed());
                for (job, reply) in batch.into_iter().zip(replies) {
                    self.finish(job, reply);
                }
            }
            Err(error) => {
                self.lose(&error);
                self.give_up(batch);
            }
        }
    }

    fn finish(&mut self, job: Job, reply: Value) {
        let reply = match fine(reply) {
            Ok(reply) => reply,
            Err(error) => {
                // Full, or the scripts are gone: the connection is made anew.
                let gone = matches!(&error, LinkError::Refused(text) if text.starts_with("NOSCRIPT"));
                self.shared.count_failure(1);
                if matches!(job, Job::Beat { .. }) || gone {
                    self.lose(&error);
                } else {
                    self.words.refused(&error);
                }
                return self.fail(job);
            }
        };
        match job {
            Job::Beat { .. } => match read_pulse(&reply) {
                Some(Ok(pulse)) => {
                    let lost = self.state.era.as_ref().is_some_and(|era| *era != pulse.era);
                    if lost || pulse.lapsed || !self.shared.is_up() {
                        self.state.tell_all();
                    }
                    if lost {
                        (self.state.last_note, self.state.last_post) = (None, None);
                    }
                    let resumed = lost || pulse.lapsed || !self.shared.is_up();
                    self.state.era = Some(pulse.era);
                    self.state.last_note = pulse.last.or(self.state.last_note.take());
                    self.state.failures = 0;
                    self.shared.set_up(pulse.others.len() as u64 + 1);
                    self.words.is_there(&shown(&self.address), lost);
                    let alone = pulse.others.is_empty();
                    self.state.next_collect =
                        self.state.next_collect.or(Some(Instant::now())).filter(|_| !alone);
                    self.note(RegistryNote::Nodes(pulse.others));
                    if resumed {
                        self.note(RegistryNote::Resumed);
                    }
                    pulse
                        .gone
                        .into_iter()
                        .for_each(|player| self.note(RegistryNote::PlayerElsewhere(player)));
                }
                Some(Err(stranger)) => {
                    self.shared.set_down();
                    self.words.stranger(&stranger);
                }
                None => self.lose(&LinkError::Nonsense),
            },
            Job::Claim { id, record } => {
                let reply = read_reply(&reply).ok_or(RegistryDown);
                if reply == Ok(RegistryReply::Claimed) {
                    self.state.rooms.insert(record.location.room, *record);
                }
                self.answer(id, reply);
            }
            Job::Find { id, .. } | Job::Locate { id, .. } => {
                self.answer(id, read_reply(&reply).ok_or(RegistryDown));
            }
            Job::Changes { id, .. } => self.answer(id, read_changes(&reply).ok_or(RegistryDown)),
            Job::Post { id, .. } => self.answer(id, Ok(RegistryReply::Done)),
            Job::Collect { .. } => {
                let posts = read_posts(&reply).unwrap_or_default();
                if posts.len() >= MOST_POSTS {
                    self.state.next_collect = Some(Instant::now());
                }
                for (id, post) in posts {
                    self.state.last_post = Some(id);
                    if let Some(Posted { from, to, body }) = post {
                        self.note(RegistryNote::Post { from, to, body });
                    }
                }
            }
            Job::Renew(_) => {
                for (room, site) in read_lost(&reply).unwrap_or_default() {
                    self.state.forget(room);
                    self.shared.count_lost();
                    self.note(RegistryNote::RoomLost { room, site });
                }
            }
            Job::Release { room, .. } => self.state.forget(room),
            Job::Arrive(_) | Job::Stay(_) | Job::Depart(_) => {}
        }
    }

    /// Redis has not done it, as far as is known. What somebody waits for fails, and facts are told again later.
    fn fail(&mut self, job: Job) {
        match job {
            Job::Claim { id, .. }
            | Job::Find { id, .. }
            | Job::Changes { id, .. }
            | Job::Locate { id, .. }
            | Job::Post { id, .. } => {
                self.answer(id, Err(RegistryDown));
            }
            Job::Release { room, key } => {
                self.state.forget(room);
                if self.state.owed.len() < MAX_OWED {
                    self.state.owed.push_back(Job::Release { room, key });
                }
            }
            Job::Renew(records) => {
                let still = records.iter().map(|record| record.location.room);
                let rooms = &self.state.rooms;
                let still: Vec<RoomId> = still.filter(|room| rooms.contains_key(room)).collect();
                self.state.later(still);
            }
            Job::Arrive(player) if self.state.players.contains(&player) => {
                self.state.arrivals.insert(player);
            }
            Job::Beat { .. } | Job::Arrive(_) | Job::Stay(_) | Job::Depart(_) | Job::Collect { .. } => {}
        }
    }

    fn give_up(&mut self, jobs: Vec<Job>) {
        self.shared.count_failure(jobs.len());
        jobs.into_iter().for_each(|job| self.fail(job));
    }

    /// The connection is of no use.
    fn lose(&mut self, error: &LinkError) {
        let state = &mut self.state;
        state.link = None;
        let wait = BACKOFF.0.saturating_mul(1 << state.failures.min(4)).min(BACKOFF.1);
        state.failures = state.failures.saturating_add(1);
        // Nodes that lost it together do not come back together.
        let part = 0.5 + 0.5 * self.shared.draw();
        state.retry_at = Some(Instant::now() + wait.mul_f64(part));
        self.shared.set_down();
        self.words.is_away(&shown(&self.address), error);
    }

    fn answer(&self, id: RegistryId, reply: Result<RegistryReply, RegistryDown>) {
        self.tell(Event::Reply(id, reply));
    }

    fn note(&self, note: RegistryNote) {
        self.tell(Event::Note(note));
    }

    /// Gives the core something. Where it is gone, this thread is soon.
    fn tell(&self, event: Event) {
        if self.events.send(event).is_ok() {
            self.shared.wake();
        }
    }

    /// Tells the others that this node ends: nobody has to wait until it is missed.
    fn leave(&mut self) {
        if let (true, Some(link)) = (self.shared.is_up(), &mut self.state.link)
            && let Err(error) = link.run(&[Job::leave(&self.own)])
        {
            tracing::debug!(%error, "the other nodes will find out that this one is gone");
        }
    }
}

impl State {
    /// All that this node holds is to be told again.
    fn tell_all(&mut self) {
        self.dirty.extend(self.rooms.keys());
        self.stale.extend(&self.players);
    }

    /// Some of what this node holds is to be told again, in turn: after a beat.
    fn go_on(&mut self) {
        let share = |all: usize| all.div_ceil((ROUND.as_secs() / BEAT.as_secs()) as usize);
        let after = self.turn.0.map_or(Unbounded, Excluded);
        let rooms: Vec<RoomId> =
            self.rooms.range((after, Unbounded)).map(|(id, _)| *id).take(share(self.rooms.len())).collect();
        self.turn.0 = rooms.last().copied();
        self.dirty.extend(rooms);
        let after = self.turn.1.map_or(Unbounded, Excluded);
        let players: Vec<PlayerId> =
            self.players.range((after, Unbounded)).copied().take(share(self.players.len())).collect();
        self.turn.1 = players.last().copied();
        self.stale.extend(players);
    }

    fn has_news(&self) -> bool {
        !(self.dirty.is_empty() && self.stale.is_empty() && self.arrivals.is_empty() && self.owed.is_empty())
    }

    /// Adds some of the news to a batch.
    fn add_news(&mut self, batch: &mut Vec<Job>) {
        for _ in 0..BATCH {
            let Some(player) = self.arrivals.pop_first() else { break };
            self.stale.remove(&player);
            batch.push(Job::Arrive(player));
        }
        for _ in 0..GROUPS {
            let mut records = Vec::new();
            while records.len() < GROUP
                && let Some(room) = self.dirty.pop_first()
            {
                records.extend(self.rooms.get(&room).cloned());
            }
            if !records.is_empty() {
                batch.push(Job::Renew(records));
            }
            let players: Vec<PlayerId> = std::iter::from_fn(|| self.stale.pop_first()).take(GROUP).collect();
            if !players.is_empty() {
                batch.push(Job::Stay(players));
            }
        }
    }

    /// Rooms of which Redis takes no news, while it answers (it is full): they come again in their turn.
    fn later(&mut self, rooms: Vec<RoomId>) {
        if self.link.is_none() {
            self.dirty.extend(rooms);
        }
    }

    fn forget(&mut self, room: RoomId) {
        self.rooms.remove(&room);
        self.dirty.remove(&room);
    }
}
