//! What the members of a room share through the server: what each says of itself, the room's properties, and the moment at
//! which all begin. Pure: who may change what is decided by the dispatcher.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::text::Metadata;
use traversal_core::wire::message::{
    Changes, CountdownEnd, CountdownRule, LISTED_PREFIX, MemberChanges, MemberState, PlayerInfo,
    PropertiesOf, RequestError, RoomNews, ServerCountdown, TeamWish, key_hash,
};

use crate::limits::Bucket;
use crate::room::ROOM_NEWS;

/// So many changes are told at a time: a room of 64 whose members change something all the time costs each of them 64
/// messages a second ([`ROOM_NEWS`]).
const NEWS_AT_A_TIME: usize = 16;

/// So long before its end nothing cancels a countdown any more: what would, might come to some of the members after they have
/// begun.
pub(crate) const FINAL: Duration = Duration::from_millis(500);

/// While not all properties are known, members are told of each one that is removed; of no more than so many at a time.
const MAX_REMOVED: usize = 128;

/// The properties of a room that is shown again come in so many parts at the most.
const MAX_SHOWN: u8 = 16;

/// This is a property of the room.
#[derive(Debug)]
struct Property {
    /// This player, the host at that time, wrote it.
    by: PlayerId,
    value: String,
}

/// This is something of which the members are yet to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Untold {
    Member(PlayerId),
    Property(String),
    Keys,
}

/// This is a countdown.
#[derive(Debug)]
struct Running {
    id: u64,
    at: Instant,
    at_ms: u64,
    rule: CountdownRule,
    /// These players were in the room when it began; none: it began before the server was restarted, and members come back
    /// one by one.
    members: Option<BTreeSet<PlayerId>>,
}

/// This is what the members of a room share.
#[derive(Debug)]
pub(crate) struct Shared {
    states: BTreeMap<PlayerId, MemberState>,
    properties: BTreeMap<String, Property>,
    /// It is false after a restart of the server, until the host has shown its room's properties.
    complete: bool,
    /// These parts of them were shown.
    shown: BTreeMap<u8, Metadata>,
    countdown: Option<Running>,
    /// Anything has changed so often.
    revision: u32,
    /// There is one entry for each thing that is there, and [`MAX_REMOVED`] for what is gone.
    untold: VecDeque<Untold>,
    /// This limits how often the members are told of changes, see [`ROOM_NEWS`].
    pub(crate) news: Bucket,
}

impl Shared {
    /// Nothing is known of a new room; `complete` is false for one that was there before the server was restarted.
    pub(crate) fn new(complete: bool, now: Instant) -> Self {
        Self {
            states: BTreeMap::new(),
            properties: BTreeMap::new(),
            complete,
            shown: BTreeMap::new(),
            countdown: None,
            revision: 0,
            untold: VecDeque::new(),
            news: Bucket::full(ROOM_NEWS, now),
        }
    }

    fn note(&mut self, untold: Untold) {
        self.revision = self.revision.saturating_add(1);
        if !self.untold.contains(&untold) {
            self.untold.push_back(untold);
        }
    }

    /// Returns whether the members are to be told of something.
    pub(crate) fn has_news(&self) -> bool {
        !self.untold.is_empty()
    }

    /// A member changes what it says of itself: all of it, or nothing where something of it is not possible.
    pub(crate) fn set_member(
        &mut self,
        player: PlayerId,
        changes: &MemberChanges,
        teams: &[u8],
    ) -> Result<(), RequestError> {
        let old = self.states.get(&player).cloned().unwrap_or_default();
        let team = match changes.team {
            None => old.team,
            Some(TeamWish::Leave) => None,
            Some(TeamWish::Team(team)) => Some(self.place_in(player, team, teams)?),
            Some(TeamWish::Any) => Some(self.any_place(player, teams)?),
        };
        let state = MemberState {
            ready: changes.ready.unwrap_or(old.ready),
            team,
            properties: PropertiesOf::Member.change(&old.properties, &changes.properties)?,
        };
        if state != old {
            self.states.insert(player, state);
            self.note(Untold::Member(player));
        }
        Ok(())
    }

    /// Returns how many others than this player are in a team.
    fn others_in(&self, player: PlayerId, team: u8) -> usize {
        self.states.iter().filter(|(other, state)| **other != player && state.team == Some(team)).count()
    }

    fn place_in(&self, player: PlayerId, team: u8, teams: &[u8]) -> Result<u8, RequestError> {
        let Some(size) = teams.get(usize::from(team)) else {
            return Err(RequestError::NoSuchTeam { teams: teams.len() as u8 });
        };
        if self.others_in(player, team) >= usize::from(*size) {
            return Err(RequestError::TeamFull { size: u16::from(*size) });
        }
        Ok(team)
    }

    /// Returns the team in which this player has the most free places; its own one of those that have as many.
    fn any_place(&self, player: PlayerId, teams: &[u8]) -> Result<u8, RequestError> {
        if teams.is_empty() {
            return Err(RequestError::NoSuchTeam { teams: 0 });
        }
        let own = self.states.get(&player).and_then(|state| state.team);
        let free = |team: u8, size: u8| usize::from(size).saturating_sub(self.others_in(player, team));
        let places = (0u8..).zip(teams).map(|(team, size)| (free(team, *size), own == Some(team), team));
        let best = places
            .filter(|(free, ..)| *free > 0)
            .max_by_key(|(free, own, team)| (*free, *own, u8::MAX - team));
        let size = teams.iter().map(|size| u16::from(*size)).sum();
        best.map(|(.., team)| team).ok_or(RequestError::TeamFull { size })
    }

    /// Returns how many places are free in each of these teams. A member who is in none may come into any: it counts in each.
    pub(crate) fn free_places(&self, teams: &[u8], members: usize) -> Vec<usize> {
        let inside = |team| self.states.values().filter(|state| state.team == Some(team)).count();
        let in_teams: Vec<usize> = (0..teams.len() as u8).map(inside).collect();
        let in_none = members.saturating_sub(in_teams.iter().sum());
        let free = |(size, inside): (&u8, usize)| usize::from(*size).saturating_sub(inside + in_none);
        teams.iter().zip(in_teams).map(free).collect()
    }

    /// Puts a member into a team, if there is a place.
    pub(crate) fn put_into_team(&mut self, player: PlayerId, team: u8, teams: &[u8]) {
        let changes = MemberChanges { team: Some(TeamWish::Team(team)), ..MemberChanges::default() };
        // Where the team is full the member chooses another one.
        let _ = self.set_member(player, &changes, teams);
    }

    /// Returns who of these members is in which of so many teams.
    pub(crate) fn teams(&self, teams: usize, members: &[PlayerInfo]) -> Vec<Vec<PlayerId>> {
        let of = |player: &PlayerId| self.states.get(player).and_then(|state| state.team);
        let in_team =
            |team| members.iter().map(|member| member.id).filter(|id| of(id) == Some(team)).collect();
        (0..teams as u8).map(in_team).collect()
    }

    /// The teams have these sizes now: who has no place any more is in none, the last ones of the `members` first.
    pub(crate) fn teams_are(&mut self, teams: &[u8], members: &[PlayerInfo]) {
        let mut taken = BTreeMap::<u8, u8>::new();
        for member in members {
            let Some(team) = self.states.get(&member.id).and_then(|state| state.team) else { continue };
            let count = taken.entry(team).or_default();
            if teams.get(usize::from(team)).is_some_and(|size| *count < *size) {
                *count += 1;
            } else if let Some(state) = self.states.get_mut(&member.id) {
                state.team = None;
                self.note(Untold::Member(member.id));
            }
        }
    }

    /// The host writes properties of the room.
    pub(crate) fn set_properties(&mut self, by: PlayerId, changes: &Changes) -> Result<(), RequestError> {
        let changed = PropertiesOf::Room.change(&self.properties(), changes)?;
        if !self.complete && self.untold.len() > self.states.len() + self.properties.len() + MAX_REMOVED {
            return Err(RequestError::Limited { retry_after_s: 2 });
        }
        self.replace(by, changed);
        // Whoever writes them knows them.
        Ok(())
    }

    /// Returns the room's properties that are for everybody.
    pub(crate) fn listed(&self) -> Metadata {
        let listed = self.properties.range(String::from(LISTED_PREFIX)..);
        let listed = listed.take_while(|(key, _)| key.starts_with(LISTED_PREFIX));
        listed.map(|(key, property)| (key.clone(), property.value.clone())).collect()
    }

    fn properties(&self) -> Metadata {
        self.properties.iter().map(|(key, property)| (key.clone(), property.value.clone())).collect()
    }

    /// The properties are these from now on.
    fn replace(&mut self, by: PlayerId, properties: Metadata) {
        let gone: Vec<String> =
            self.properties.keys().filter(|key| !properties.contains_key(*key)).cloned().collect();
        for key in gone {
            self.properties.remove(&key);
            let told = Untold::Property(key);
            if self.complete {
                // The list of keys tells it, however many were removed since members were told last.
                self.untold.retain(|untold| *untold != told);
                self.note(Untold::Keys);
            } else {
                self.note(told);
            }
        }
        for (key, value) in properties {
            if self.properties.get(&key).is_none_or(|property| property.value != value) {
                self.properties.insert(key.clone(), Property { by, value });
                self.note(Untold::Property(key));
            }
        }
    }

    /// The host shows a part of the room's properties to a server that was restarted. True: all of them are known now.
    pub(crate) fn show(
        &mut self,
        host: PlayerId,
        (part, parts): (u8, u8),
        properties: Metadata,
    ) -> Result<bool, RequestError> {
        if self.complete {
            return Ok(false);
        }
        if part >= parts || parts > MAX_SHOWN {
            return Err(RequestError::Malformed {
                what: format!("part of properties (at most {MAX_SHOWN})"),
            });
        }
        self.shown.insert(part, properties);
        if self.shown.len() < usize::from(parts) {
            return Ok(false);
        }
        let said = std::mem::take(&mut self.shown).into_values().flatten();
        let changes: Changes = said.map(|(key, value)| (key, Some(value))).collect();
        // What was written since counts.
        let mut properties = PropertiesOf::Room.change(&Metadata::new(), &changes)?;
        properties.extend(self.properties());
        let changes = properties.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let properties = PropertiesOf::Room.change(&Metadata::new(), &changes)?;
        self.replace(host, properties);
        self.complete = true;
        self.note(Untold::Keys);
        Ok(true)
    }

    /// Returns how many of these members are not ready.
    pub(crate) fn waiting(&self, members: &[PlayerInfo]) -> usize {
        let ready = |member: &&PlayerInfo| self.states.get(&member.id).is_some_and(|state| state.ready);
        members.len() - members.iter().filter(ready).count()
    }

    /// A countdown begins: it is over at this moment, which the server's clock calls so.
    pub(crate) fn begin_countdown(
        &mut self,
        id: u64,
        (at, at_ms): (Instant, u64),
        rule: CountdownRule,
        members: Option<&[PlayerInfo]>,
    ) {
        let members = members.map(|members| members.iter().map(|member| member.id).collect());
        self.countdown = Some(Running { id, at, at_ms, rule, members });
    }

    /// Returns the countdown, as it is told, while it is not over.
    pub(crate) fn countdown(&self, now: Instant, now_ms: u64) -> Option<ServerCountdown> {
        let Running { id, at_ms, rule, .. } = self.countdown.as_ref().filter(|running| running.at > now)?;
        Some(ServerCountdown { id: *id, at_ms: *at_ms, now_ms, rule: *rule })
    }

    /// Stops the countdown, where that is still possible; gives its id.
    pub(crate) fn stop_countdown(&mut self, now: Instant) -> Option<u64> {
        self.countdown.take_if(|running| running.at > now + FINAL).map(|running| running.id)
    }

    /// Returns why the countdown is to be stopped, if it is: these are the members now.
    pub(crate) fn countdown_ends(&self, members: &[PlayerInfo]) -> Option<CountdownEnd> {
        let Running { rule, members: then, .. } = self.countdown.as_ref()?;
        let now: BTreeSet<PlayerId> = members.iter().map(|member| member.id).collect();
        let none = BTreeSet::new();
        let then = then.as_ref().unwrap_or(&now);
        let left = if rule.leave { then.difference(&now).next() } else { none.first() };
        let joined = if rule.join { now.difference(then).next() } else { none.first() };
        let unready = |player: &&PlayerId| then.contains(*player) && !self.is_ready(**player);
        let unready = if rule.unready { now.iter().find(unready) } else { None };
        let left = left.map(|player| CountdownEnd::Left(*player));
        let joined = joined.map(|player| CountdownEnd::Joined(*player));
        left.or(joined).or(unready.map(|player| CountdownEnd::NotReady(*player)))
    }

    fn is_ready(&self, player: PlayerId) -> bool {
        self.states.get(&player).is_some_and(|state| state.ready)
    }

    /// A player came in: the others may know of an earlier time what it said then.
    pub(crate) fn came_in(&mut self, player: PlayerId) {
        self.note(Untold::Member(player));
    }

    /// The list of members has changed: who is out is forgotten.
    pub(crate) fn members_are(&mut self, members: &[PlayerInfo]) {
        let is_in = |player: &PlayerId| members.iter().any(|member| member.id == *player);
        self.states.retain(|player, _| is_in(player));
        self.untold.retain(|untold| !matches!(untold, Untold::Member(player) if !is_in(player)));
    }

    /// Returns what somebody is told who comes in, or comes back.
    pub(crate) fn all_news(&self, host: PlayerId, now: Instant, now_ms: u64) -> Vec<RoomNews> {
        let mut news = Vec::with_capacity(self.states.len() + self.properties.len() + 2);
        news.extend(self.states.keys().map(|player| self.news_of(host, &Untold::Member(*player))));
        news.extend(self.properties.keys().map(|key| self.news_of(host, &Untold::Property(key.clone()))));
        news.push(self.news_of(host, &Untold::Keys));
        news.extend(self.countdown(now, now_ms).map(RoomNews::Countdown));
        news
    }

    /// Takes some of what is to be told to all members.
    pub(crate) fn take_news(&mut self, host: PlayerId) -> Vec<RoomNews> {
        let some = self.untold.len().min(NEWS_AT_A_TIME);
        let told: Vec<Untold> = self.untold.drain(..some).collect();
        told.iter().map(|untold| self.news_of(host, untold)).collect()
    }

    fn news_of(&self, host: PlayerId, untold: &Untold) -> RoomNews {
        let revision = self.revision;
        match untold {
            Untold::Member(player) => {
                let state = self.states.get(player).cloned().unwrap_or_default();
                RoomNews::Member { player: *player, revision, state }
            }
            Untold::Property(key) => {
                let (by, value) = match self.properties.get(key) {
                    Some(property) => (property.by, Some(property.value.clone())),
                    None => (host, None),
                };
                RoomNews::Property { by, revision, key: key.clone(), value }
            }
            Untold::Keys => {
                let keys = self.properties.keys().map(|key| key_hash(key)).collect();
                RoomNews::Keys { revision, keys, complete: self.complete }
            }
        }
    }
}

#[cfg(test)]
mod tests;
