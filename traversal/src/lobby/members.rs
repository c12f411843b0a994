//! What the members of the room tell each other: this player's view of it, and its own share, which it shows again to a
//! server that was restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Lobby;
use super::clock::ServerClock;
use super::countdown::Running;
use crate::api::{Event, MemberDiff, RequestKind};
use crate::cx::Cx;
use crate::id::{PlayerId, RoomId};
use crate::text::Metadata;
use crate::wire::message::{
    Changes, InRoom, MAX_CHANGES, MAX_ROOM_PROPERTIES, MemberChanges, MemberState, PropertiesOf, Request,
    RequestError, Response, RoomNews, TeamWish, key_hash, parts_of,
};

/// States of so many players are kept at the most, whatever the server says: a room has 64.
const MAX_STATES: usize = 128;
/// So many keys are remembered, with those that were removed: a message about one may be overtaken by a newer one.
const MAX_KEYS: usize = 4 * MAX_ROOM_PROPERTIES;
/// News that come before the answer that lets this player into the room: of all 63 others, and all properties.
const MAX_EARLY: usize = 256;

/// This is a property of the room, or one that was removed.
#[derive(Debug)]
struct Property {
    revision: Option<u32>,
    value: Option<String>,
}

/// This is what is known of the room's members and properties.
#[derive(Debug, Default)]
pub(super) struct Shared {
    states: BTreeMap<PlayerId, (Option<u32>, MemberState)>,
    properties: BTreeMap<String, Property>,
    /// The newest list of keys is as of this change.
    keys: Option<u32>,
    /// The server knows the room's properties.
    complete: bool,
    /// This is what this player has said of itself, as far as the server took it.
    own: MemberState,
    /// This is what this player wrote as host, as far as the server took it.
    written: Changes,
    pub(super) countdown: Option<Running>,
    all_ready: bool,
    /// This is to be shown after a new login.
    to_show: Option<(MemberState, Metadata)>,
}

impl Shared {
    /// Returns the room's properties.
    fn properties(&self) -> Metadata {
        let there = |(key, property): (&String, &Property)| Some((key.clone(), property.value.clone()?));
        self.properties.iter().filter_map(there).collect()
    }

    /// Returns the room's properties with what this player has written.
    fn copy(&self) -> Metadata {
        let mut copy = self.properties();
        for (key, value) in &self.written {
            match value {
                Some(value) => _ = copy.insert(key.clone(), value.clone()),
                None => _ = copy.remove(key),
            }
        }
        copy
    }

    /// Begins a new session: the server may have been restarted, and counts anew then.
    pub(super) fn logged_in(&mut self, now: Instant, clock: &ServerClock, rtt: Option<Duration>) {
        if self.to_show.is_none() {
            self.to_show = Some((self.own.clone(), self.copy()));
        }
        self.states.values_mut().for_each(|(revision, _)| *revision = None);
        self.properties.values_mut().for_each(|property| property.revision = None);
        self.keys = None;
        if let Some(running) = &mut self.countdown {
            running.fixed = Some(running.moment(clock, rtt).max(now));
        }
    }

    /// Another player hosts the room: what this one wrote as host is that one's to change.
    pub(super) fn hosts_no_more(&mut self) {
        self.written.clear();
    }

    /// Takes a change of a member's state; gives what is news.
    fn take_state(&mut self, player: PlayerId, revision: u32, state: MemberState) -> Option<Event> {
        if self.states.len() >= MAX_STATES && !self.states.contains_key(&player) {
            return None;
        }
        let (known, old) = self.states.entry(player).or_default();
        if known.is_some_and(|known| revision < known) {
            return None;
        }
        *known = Some(revision);
        let old = std::mem::replace(old, state.clone());
        let diff = MemberDiff::between(&old, &state)?;
        Some(Event::MemberChanged { player, changed: diff, state })
    }

    /// Takes a value of a property; gives what is news.
    fn take_property(
        &mut self,
        by: PlayerId,
        revision: u32,
        key: String,
        value: Option<String>,
    ) -> Option<Event> {
        if self.properties.len() >= MAX_KEYS && !self.properties.contains_key(&key) {
            let gone = self.properties.iter().filter(|(_, property)| property.value.is_none());
            let oldest = gone.min_by_key(|(_, property)| property.revision).map(|(key, _)| key.clone())?;
            self.properties.remove(&oldest);
        }
        let before = self.keys.is_some_and(|keys| revision < keys) && !self.properties.contains_key(&key);
        let property = self.properties.entry(key.clone()).or_insert(Property { revision: None, value: None });
        if before || property.revision.is_some_and(|known| revision < known) {
            return None;
        }
        property.revision = Some(revision);
        if property.value == value {
            return None;
        }
        property.value.clone_from(&value);
        Some(Event::PropertyChanged { key, value, by })
    }

    /// Takes the list of keys: others that are older are gone. Gives what is news.
    fn take_keys(&mut self, host: PlayerId, revision: u32, keys: &[u32], complete: bool) -> Vec<Event> {
        if self.keys.is_some_and(|known| revision < known) {
            return Vec::new();
        }
        self.keys = Some(revision);
        self.complete = complete;
        if !complete {
            return Vec::new();
        }
        let keys: BTreeSet<u32> = keys.iter().copied().collect();
        let mut gone = Vec::new();
        for (key, property) in &mut self.properties {
            let older = property.revision.is_none_or(|known| known <= revision);
            if older && property.value.is_some() && !keys.contains(&key_hash(key)) {
                property.value = None;
                gone.push(Event::PropertyChanged { key: key.clone(), value: None, by: host });
            }
        }
        gone
    }

    /// Puts changes of this player's own, which the server took, into what is shown again.
    fn took_own(&mut self, changes: MemberChanges) {
        self.own.ready = changes.ready.unwrap_or(self.own.ready);
        if let Ok(properties) = PropertiesOf::Member.change(&self.own.properties, &changes.properties) {
            self.own.properties = properties;
        }
        match changes.team {
            Some(TeamWish::Leave) => self.own.team = None,
            Some(TeamWish::Team(team)) => self.own.team = Some(team),
            // The news tell which.
            Some(TeamWish::Any) | None => {}
        }
    }
}

/// Returns whether this request is about what members tell each other: one of them waits for the other's answer.
pub(super) fn is_in_order(request: &Request) -> bool {
    matches!(request, Request::InRoom(asked) if !matches!(asked, InRoom::Time))
}

impl Lobby {
    /// Asks for something in the room; a player in none is told at once.
    pub(crate) fn ask_in_room(&mut self, cx: &mut Cx<'_>, kind: RequestKind, asked: InRoom) {
        let refused = match (&self.room, &asked) {
            (None, _) => Err(RequestError::NotInRoom),
            (Some(room), InRoom::Member(changes)) => {
                PropertiesOf::Member.change(&room.shared.own.properties, &changes.properties).map(|_| ())
            }
            (Some(room), InRoom::Properties(changes)) => {
                PropertiesOf::Room.change(&room.shared.copy(), changes).map(|_| ())
            }
            _ => Ok(()),
        };
        if let Err(error) = refused {
            return cx.emit(Event::RequestFailed { request: kind, error: error.into() });
        }
        let split = |changes: &Changes| parts_of(changes, |value| value.as_ref().map_or(0, String::len));
        let parts: Vec<InRoom> = match asked {
            InRoom::Properties(changes) => split(&changes).into_iter().map(InRoom::Properties).collect(),
            InRoom::Member(changes) => {
                let parts = split(&changes.properties).into_iter().enumerate();
                let part = |(part, properties)| match part {
                    0 => MemberChanges { properties, ..changes.clone() },
                    _ => MemberChanges { properties, ..MemberChanges::default() },
                };
                parts.map(part).map(InRoom::Member).collect()
            }
            other => vec![other],
        };
        for part in parts {
            let Some(part) = self.add_to_waiting(kind, part) else { continue };
            if !self.ask(cx, kind, Request::InRoom(part), Duration::ZERO) {
                return;
            }
        }
    }

    /// Adds changes to those that wait to be sent, so that a game that changes something every frame asks no more often
    /// than the server answers. Gives back what cannot be added.
    fn add_to_waiting(&mut self, kind: RequestKind, asked: InRoom) -> Option<InRoom> {
        let last = self.pending.iter_mut().rfind(|(_, pending)| is_in_order(&pending.request));
        let waiting = last.map(|(_, pending)| pending).filter(|pending| {
            pending.kind == Some(kind) && pending.send_at.is_some() && pending.sent_at.is_none()
        });
        let Some(waiting) = waiting else { return Some(asked) };
        match (&mut waiting.request, asked) {
            (Request::InRoom(InRoom::Member(waiting)), InRoom::Member(changes)) => {
                let mut properties = waiting.properties.clone();
                properties.extend(changes.properties.clone());
                // A team may be full: nothing else is refused with it.
                let team = waiting.team.is_some() || changes.team.is_some();
                if team || bytes_of(&properties) > MAX_CHANGES {
                    return Some(InRoom::Member(changes));
                }
                waiting.ready = changes.ready.or(waiting.ready);
                waiting.properties = properties;
                None
            }
            (Request::InRoom(InRoom::Properties(waiting)), InRoom::Properties(changes)) => {
                let mut properties = waiting.clone();
                properties.extend(changes.clone());
                if bytes_of(&properties) > MAX_CHANGES {
                    return Some(InRoom::Properties(changes));
                }
                *waiting = properties;
                None
            }
            (_, asked) => Some(asked),
        }
    }

    /// The server took a request about the room.
    pub(super) fn took_in_room(&mut self, cx: &Cx<'_>, request: Request) {
        let Some(room) = &mut self.room else { return };
        let (own, shared) = (cx.identity.player_id(), &mut room.shared);
        match request {
            Request::InRoom(InRoom::Member(changes)) => shared.took_own(changes),
            Request::InRoom(InRoom::Properties(changes)) if room.info.host == own => {
                shared.written.extend(changes)
            }
            _ => {}
        }
    }

    /// Takes the server's clock, which was asked for at this time.
    pub(super) fn took_time(
        &mut self,
        now: Instant,
        asked: Option<Instant>,
        response: &Result<Response, RequestError>,
    ) {
        if let (Some(asked), Ok(Response::Time { now_ms })) = (asked, response) {
            self.clock.sample(asked, now, *now_ms);
        }
    }

    /// This player is in the room: says what it says of itself, and as host what the room's properties are, to a server
    /// that may not know. `fresh`: these are of the options that opened the room.
    pub(super) fn show_shared(&mut self, cx: &mut Cx<'_>, fresh: Option<Metadata>) {
        let Some(room) = &mut self.room else { return };
        let (hosting, shared) = (room.hosting, &mut room.shared);
        room.told_in = true;
        let id = room.info.id;
        if let Some((state, properties)) = shared.to_show.take() {
            if state != MemberState::default() {
                let changes = MemberChanges::all(&state);
                self.ask_silently(cx, Request::InRoom(InRoom::Member(changes)));
            }
            if hosting {
                self.show_properties(cx, &properties);
            }
        } else if let Some(properties) = fresh.filter(|properties| !properties.is_empty()) {
            let changes: Changes = properties.into_iter().map(|(key, value)| (key, Some(value))).collect();
            for part in parts_of(&changes, |value| value.as_ref().map_or(0, String::len)) {
                self.ask_silently(cx, Request::InRoom(InRoom::Properties(part)));
            }
        }
        self.backfill_again(cx);
        self.ask_silently(cx, Request::InRoom(InRoom::Time));
        for (of, news) in std::mem::take(&mut self.early_news) {
            if of == id {
                self.handle_in_room(cx, of, news);
            }
        }
    }

    /// This player hosts the room from now on. A server that was restarted does not know its properties yet.
    pub(super) fn host_shows(&mut self, cx: &mut Cx<'_>) {
        let Some(room) = self.room.as_ref().filter(|room| room.hosting && !room.shared.complete) else {
            return;
        };
        let properties = room.shared.copy();
        self.show_properties(cx, &properties);
    }

    fn show_properties(&mut self, cx: &mut Cx<'_>, properties: &Metadata) {
        let rtt = cx.link.timing().rtt();
        let countdown = self.room.as_ref().and_then(|room| room.shared.countdown).and_then(|running| {
            let left = running.moment(&self.clock, rtt).saturating_duration_since(cx.now);
            let after_ms = u32::try_from(left.as_millis()).ok().filter(|left| *left > 0)?;
            Some((running.told.id, after_ms, running.told.rule))
        });
        let all = parts_of(properties, String::len);
        let parts = all.len() as u8;
        for (part, properties) in all.into_iter().enumerate() {
            let show = InRoom::Show { part: part as u8, parts, properties, countdown };
            self.ask_silently(cx, Request::InRoom(show));
        }
    }

    /// Takes news of the room.
    pub(crate) fn handle_in_room(&mut self, cx: &mut Cx<'_>, id: RoomId, news: RoomNews) {
        let Some(room) = self.room.as_mut().filter(|room| room.info.id == id) else {
            if self.early_news.len() < MAX_EARLY {
                self.early_news.push((id, news));
            }
            return;
        };
        let own = cx.identity.player_id();
        match news {
            RoomNews::Member { player, revision, state } => {
                if player == own && room.shared.to_show.is_none() {
                    room.shared.own.team = state.team;
                }
                if let Some(event) = room.shared.take_state(player, revision, state) {
                    cx.emit(event);
                }
                self.check_ready(cx);
            }
            RoomNews::Property { by, revision, key, value } => {
                if !key.is_empty()
                    && let Some(event) = room.shared.take_property(by, revision, key, value)
                {
                    cx.emit(event);
                }
            }
            RoomNews::Keys { revision, keys, complete } => {
                let host = room.info.host;
                room.shared
                    .take_keys(host, revision, &keys, complete)
                    .into_iter()
                    .for_each(|event| cx.emit(event));
                if !complete {
                    self.host_shows(cx);
                }
            }
            RoomNews::Countdown(told) => self.countdown_told(cx, told),
            RoomNews::Backfill { revision, status } => self.handle_backfill(cx, revision, status),
            RoomNews::CountdownCancelled { id, why } => {
                if room.shared.countdown.take_if(|running| running.told.id == id).is_some() {
                    cx.emit(Event::CountdownCancelled { why });
                }
            }
        }
    }

    /// Tells the game when all are ready, and when they are not any more.
    pub(super) fn check_ready(&mut self, cx: &mut Cx<'_>) {
        let Some(room) = &mut self.room else { return };
        let (members, shared) = (&room.members, &mut room.shared);
        let is_ready = |player: &PlayerId| shared.states.get(player).is_some_and(|(_, state)| state.ready);
        let all_ready = !members.is_empty() && members.iter().all(|member| is_ready(&member.id));
        if std::mem::replace(&mut shared.all_ready, all_ready) != all_ready {
            cx.emit(Event::AllReady(all_ready));
        }
    }

    /// The list of members is another one: what the others have said goes with them.
    pub(super) fn members_changed(&mut self, cx: &mut Cx<'_>, before: &[PlayerId]) {
        let Some(room) = &mut self.room else { return };
        let here: BTreeSet<PlayerId> = room.members.iter().map(|member| member.id).collect();
        for left in before.iter().filter(|player| !here.contains(player)) {
            room.shared.states.remove(left);
        }
        self.check_ready(cx);
    }
}

fn bytes_of(changes: &Changes) -> usize {
    changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len) + 6).sum()
}
