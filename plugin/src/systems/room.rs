//! What the members of a room tell each other, between driver and app.

use bevy_ecs::message::{MessageReader, MessageWriter};
use bevy_ecs::system::{ResMut, SystemParam};
use traversal_core::id::RoomId;
use traversal_core::wire::message::{MemberChanges, PlayerInfo};
use traversal_core::{Command, Event, RequestKind as Kind};

use crate::messages::room as m;

/// This reads the requests.
#[derive(SystemParam)]
pub(crate) struct RoomRequests<'w, 's> {
    properties: MessageReader<'w, 's, m::SetProperties>,
    room_properties: MessageReader<'w, 's, m::SetRoomProperties>,
    ready: MessageReader<'w, 's, m::SetReady>,
    team: MessageReader<'w, 's, m::SetTeam>,
    lock: MessageReader<'w, 's, m::LockRoom>,
    teams: MessageReader<'w, 's, m::SetTeams>,
    start: MessageReader<'w, 's, m::StartCountdown>,
    cancel: MessageReader<'w, 's, m::CancelCountdown>,
    hand_over: MessageReader<'w, 's, m::HandOver>,
    backfill: MessageReader<'w, 's, m::Backfill>,
    end_backfill: MessageReader<'w, 's, m::EndBackfill>,
}

impl RoomRequests<'_, '_> {
    /// Hands them to the driver, each kind in its order; who gives the room away does so last.
    pub(super) fn ask(&mut self, mut ask: impl FnMut(Command, Kind)) {
        for request in self.teams.read() {
            ask(Command::SetTeams(request.0.clone()), Kind::SetTeams);
        }
        let member = |changes| Command::SetMember(changes);
        for request in self.properties.read() {
            let changes = MemberChanges { properties: request.0.clone(), ..MemberChanges::default() };
            ask(member(changes), Kind::SetMember);
        }
        for request in self.team.read() {
            let changes = MemberChanges { team: Some(request.0), ..MemberChanges::default() };
            ask(member(changes), Kind::SetMember);
        }
        for request in self.ready.read() {
            let changes = MemberChanges { ready: Some(request.0), ..MemberChanges::default() };
            ask(member(changes), Kind::SetMember);
        }
        for request in self.room_properties.read() {
            ask(Command::SetProperties(request.0.clone()), Kind::SetProperties);
        }
        for request in self.lock.read() {
            ask(Command::LockRoom(request.0), Kind::LockRoom);
        }
        for _ in self.cancel.read() {
            ask(Command::CancelCountdown, Kind::CancelCountdown);
        }
        for request in self.start.read() {
            let m::StartCountdown { after, rule } = *request;
            ask(Command::StartCountdown { after, rule }, Kind::StartCountdown);
        }
        for _ in self.end_backfill.read() {
            ask(Command::Backfill(None), Kind::Backfill);
        }
        for request in self.backfill.read() {
            ask(Command::Backfill(Some(request.0.clone().into())), Kind::Backfill);
        }
        for request in self.hand_over.read() {
            ask(Command::HandOver { player: request.player }, Kind::HandOver);
        }
    }
}

/// This writes the outcomes, and keeps what is known.
#[derive(SystemParam)]
pub(crate) struct RoomSide<'w> {
    shared: ResMut<'w, m::RoomShared>,
    member: MessageWriter<'w, m::PlayerPropertiesChanged>,
    property: MessageWriter<'w, m::RoomPropertyChanged>,
    all_ready: MessageWriter<'w, m::AllReadyChanged>,
    started: MessageWriter<'w, m::CountdownStarted>,
    cancelled: MessageWriter<'w, m::CountdownCancelled>,
    over: MessageWriter<'w, m::CountdownOver>,
    backfill: MessageWriter<'w, m::BackfillChanged>,
}

impl RoomSide<'_> {
    /// This player is in this room; `before`: it was in this one.
    pub(super) fn entered(&mut self, room: RoomId, before: Option<RoomId>) {
        if before != Some(room) {
            self.left();
        }
    }

    /// This player is in no room.
    pub(super) fn left(&mut self) {
        *self.shared = m::RoomShared::default();
    }

    /// These members are out.
    pub(super) fn members_left(&mut self, left: &[PlayerInfo]) {
        for member in left {
            self.shared.members.remove(&member.id);
        }
    }

    /// Takes an event about what members tell each other; gives back another one.
    pub(super) fn event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::MemberChanged { player, changed, state } => {
                self.shared.members.insert(player, state.clone());
                self.member.write(m::PlayerPropertiesChanged { player, changed, state });
            }
            Event::PropertyChanged { key, value, by } => {
                match &value {
                    Some(value) => _ = self.shared.properties.insert(key.clone(), value.clone()),
                    None => _ = self.shared.properties.remove(&key),
                }
                self.property.write(m::RoomPropertyChanged { key, value, by });
            }
            Event::AllReady(all_ready) => {
                self.shared.all_ready = all_ready;
                self.all_ready.write(m::AllReadyChanged { all_ready });
            }
            Event::CountdownStarted(countdown) => {
                self.shared.countdown = Some(countdown);
                self.started.write(m::CountdownStarted(countdown));
            }
            Event::CountdownCancelled { why } => {
                self.shared.countdown = None;
                self.cancelled.write(m::CountdownCancelled { why });
            }
            Event::CountdownOver => {
                self.shared.countdown = None;
                self.over.write(m::CountdownOver);
            }
            Event::Backfill(status) => {
                self.backfill.write(m::BackfillChanged(status));
            }
            other => return Some(other),
        }
        None
    }
}
