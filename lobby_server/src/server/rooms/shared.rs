//! What the members of a room share: who may change what of it, and who is told.

use std::collections::BTreeSet;
use std::time::Duration;

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{
    CountdownEnd, CountdownRule, InRoom, MAX_COUNTDOWN_MS, RequestError, Response, RoomNews, ToPlayer,
    check_teams,
};

use super::{Others, Rooms};
use crate::room::{ROOM_NEWS, Room};
use crate::server::timers::Timer;

impl Rooms {
    /// Returns how many messages to others a request about a room may cause. What is told by [`ROOM_NEWS`] is limited
    /// by that.
    pub(super) fn effects_in_room(&self, others: &Others<'_>, player: PlayerId, asked: &InRoom) -> f64 {
        let room = others.roster.room_of(player).and_then(|room| self.rooms.get(&room));
        let members = room.map_or(0, |room| room.members.len()) as f64;
        match asked {
            InRoom::Time => 0.0,
            InRoom::Lock(_)
            | InRoom::Teams(_)
            | InRoom::StartCountdown { .. }
            | InRoom::CancelCountdown { .. } => members,
            // Those who wait are asked, and get plans.
            InRoom::Backfill(wanted) => {
                4.0 + wanted.as_ref().map_or(0.0, |wanted| 4.0 * f64::from(wanted.players.min(64)))
            }
            // Each gets a plan and a ticket, too.
            InRoom::HandOver { .. } => 4.0 * members,
            _ => 4.0,
        }
    }

    /// Does what a member asks about its room.
    pub(super) fn in_room(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        asked: InRoom,
    ) -> Result<Response, RequestError> {
        if asked == InRoom::Time {
            return Ok(Response::Time { now_ms: clock_ms(others) });
        }
        let id = others.roster.present_room(player).ok_or(RequestError::NotInRoom)?;
        let room = self.rooms.get_mut(&id).ok_or(RequestError::NotInRoom)?;
        if !matches!(asked, InRoom::Member(_)) && room.host() != player {
            return Err(RequestError::NotHost);
        }
        // They are part of what all nodes know of the room.
        let places = matches!(asked, InRoom::Member(_) | InRoom::Lock(_) | InRoom::Teams(_));
        let listed =
            matches!(asked, InRoom::Properties(_) | InRoom::Show { .. }).then(|| room.shared.listed());
        match asked {
            InRoom::Member(changes) => {
                room.shared.set_member(player, &changes, &room.setup.options.teams)?;
                self.check_countdown(others, id);
                self.spread(others, id);
            }
            InRoom::Properties(changes) => {
                room.shared.set_properties(player, &changes)?;
                self.spread(others, id);
            }
            InRoom::Show { part, parts, properties, countdown } => {
                if room.shared.show(player, (part, parts), properties)?
                    && let Some((countdown, after_ms, rule)) = countdown
                {
                    self.show_countdown(others, id, countdown, after_ms, rule);
                }
                self.spread(others, id);
            }
            InRoom::Lock(locked) => {
                room.setup.options.locked = locked;
                self.tell_changed(others, id);
            }
            InRoom::Teams(teams) => {
                check_teams(&teams)?;
                room.shared.teams_are(&teams, &room.members);
                room.setup.options.teams = teams;
                self.tell_changed(others, id);
                self.spread(others, id);
            }
            InRoom::StartCountdown { after_ms, rule } => self.start_countdown(others, id, after_ms, rule)?,
            InRoom::CancelCountdown { .. } => {
                let stopped = room.shared.stop_countdown(others.cx.now).ok_or(RequestError::NoCountdown)?;
                self.tell_all(
                    others,
                    id,
                    &[RoomNews::CountdownCancelled { id: stopped, why: CountdownEnd::ByHost }],
                );
            }
            InRoom::HandOver { player: next } => self.hand_over_to(others, id, next)?,
            InRoom::Backfill(wanted) => self.backfill(others, player, id, wanted)?,
            _ => return Err(RequestError::Malformed { what: "request".into() }),
        }
        if listed.is_some() && listed != self.rooms.get(&id).map(|room| room.shared.listed()) {
            self.update_record(others, id);
        }
        if places {
            self.backfill_changed(others, id);
        }
        Ok(Response::Done)
    }

    /// Tells all members, and the registry, how the room is now.
    pub(super) fn tell_changed(&mut self, others: &mut Others<'_>, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let changed = ToPlayer::RoomChanged(room.info());
        let inside: Vec<PlayerId> = room.inside().collect();
        for player in inside {
            others.tell(player, changed.clone());
        }
        self.update_record(others, id);
    }

    fn tell_all(&mut self, others: &mut Others<'_>, id: RoomId, news: &[RoomNews]) {
        let Some(room) = self.rooms.get(&id) else { return };
        let present = |member: &PlayerId| others.roster.is_present(*member, id);
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).filter(present).collect();
        for member in members {
            for news in news {
                others.tell(member, ToPlayer::InRoom { room: id, news: news.clone() });
            }
        }
    }

    /// Tells somebody who has come in, or come back, all that the others know.
    pub(super) fn tell_shared(&mut self, others: &mut Others<'_>, id: RoomId, player: PlayerId) {
        let now_ms = clock_ms(others);
        let Some(room) = self.rooms.get(&id) else { return };
        for news in room.shared.all_news(room.host(), others.cx.now, now_ms) {
            others.tell(player, ToPlayer::InRoom { room: id, news });
        }
    }

    /// Tells the members what has changed: at once, or where more changes than that is of use, some of it at a time.
    pub(crate) fn spread(&mut self, others: &mut Others<'_>, id: RoomId) {
        let now = others.cx.now;
        loop {
            let Some(room) = self.rooms.get_mut(&id).filter(|room| room.shared.has_news()) else {
                return others.cx.timers.set(Timer::Shared(id), None);
            };
            if !room.shared.news.take(ROOM_NEWS, now) {
                let later = now + Duration::from_secs_f64(1.0 / ROOM_NEWS.per_second);
                return others.cx.timers.set(Timer::Shared(id), Some(later));
            }
            let news = room.shared.take_news(room.host());
            self.tell_all(others, id, &news);
        }
    }

    /// Players came or went.
    pub(super) fn shared_members(&mut self, others: &mut Others<'_>, id: RoomId) {
        let Some(Room { shared, members, .. }) = self.rooms.get_mut(&id) else { return };
        shared.members_are(members);
        self.check_countdown(others, id);
    }

    fn start_countdown(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        after_ms: u32,
        rule: CountdownRule,
    ) -> Result<(), RequestError> {
        let (now, now_ms) = (others.cx.now, clock_ms(others));
        let Some(room) = self.rooms.get_mut(&id) else { return Err(RequestError::NotInRoom) };
        if after_ms > MAX_COUNTDOWN_MS {
            let what = format!("countdown (at most {} s)", MAX_COUNTDOWN_MS / 1000);
            return Err(RequestError::Malformed { what });
        }
        if room.shared.countdown(now, now_ms).is_some() {
            return Err(RequestError::CountdownRuns);
        }
        let waiting = room.shared.waiting(&room.members);
        if rule.unready && waiting > 0 {
            return Err(RequestError::NotReady { waiting: waiting as u16 });
        }
        let at = (now + Duration::from_millis(after_ms.into()), now_ms + u64::from(after_ms));
        room.shared.begin_countdown(others.cx.rng.next_u64(), at, rule, Some(&room.members));
        let told = room.shared.countdown(now, now_ms).map(RoomNews::Countdown);
        self.tell_all(others, id, told.as_slice());
        Ok(())
    }

    /// A countdown began before the server was restarted. The members know its moment; the server needs it to cancel it.
    fn show_countdown(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        countdown: u64,
        after_ms: u32,
        rule: CountdownRule,
    ) {
        let (now, now_ms) = (others.cx.now, clock_ms(others));
        let Some(room) = self.rooms.get_mut(&id).filter(|_| after_ms <= MAX_COUNTDOWN_MS) else { return };
        let at = (now + Duration::from_millis(after_ms.into()), now_ms + u64::from(after_ms));
        room.shared.begin_countdown(countdown, at, CountdownRule { unready: false, ..rule }, None);
    }

    /// Stops the countdown where its rule says so.
    fn check_countdown(&mut self, others: &mut Others<'_>, id: RoomId) {
        let now = others.cx.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(why) = room.shared.countdown_ends(&room.members) else { return };
        if let Some(stopped) = room.shared.stop_countdown(now) {
            self.tell_all(others, id, &[RoomNews::CountdownCancelled { id: stopped, why }]);
        }
    }

    /// The host gives the room to this member and stays in it.
    fn hand_over_to(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        next: PlayerId,
    ) -> Result<(), RequestError> {
        let Some(room) = self.rooms.get(&id) else { return Err(RequestError::NotInRoom) };
        if !room.setup.options.migrate {
            return Err(RequestError::HostStays);
        }
        let there = room.host() != next && room.has(next) && others.roster.is_present(next, id);
        if there && self.hand_over(others, id, Some(&BTreeSet::from([next]))) {
            Ok(())
        } else {
            Err(RequestError::NoSuchPlayer)
        }
    }
}

/// Returns what the server's clock shows.
fn clock_ms(others: &Others<'_>) -> u64 {
    others.cx.uptime().as_millis() as u64
}
