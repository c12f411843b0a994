//! The room this player is in: its members, its host, and coming back into it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backfill::Backfill;
use super::members::Shared;
use super::seats::Seats;
use super::{Lobby, LobbyNews, RESUME_RETRY};
use crate::api::{Event, RequestKind};
use crate::cx::Cx;
use crate::id::{PlayerId, RoomEpoch, RoomId};
use crate::secret::Secret;
use crate::wire::message::{KickNote, PlayerInfo, Request, RoomInfo, RoomTarget, RoomTicket};

/// A member waits so for this long at the most, whatever the server says: five times the silence that ends a session
/// there by default.
const LONGEST_SEEK: Duration = Duration::from_secs(175);

/// Notes of who was put out that are kept, as many as the server remembers.
pub(super) const MAX_KICKED: usize = 256;

/// Adds notes of who was put out.
fn keep(kicked: &mut BTreeMap<PlayerId, KickNote>, notes: Vec<KickNote>) {
    for note in notes {
        if kicked
            .get(&note.player)
            .is_some_and(|known| (known.serial, known.lifted) > (note.serial, note.lifted))
        {
            continue;
        }
        if kicked.len() < MAX_KICKED || kicked.contains_key(&note.player) {
            kicked.insert(note.player, note);
        } else if let Some(first) = kicked.values().min_by_key(|note| note.until_s).map(|note| note.player) {
            kicked.remove(&first);
            kicked.insert(note.player, note);
        }
    }
}

/// The room this player is in.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) info: RoomInfo,
    pub(crate) hosting: bool,
    /// This is what to ask for where there is no ticket.
    entered_by: Request,
    /// This is shown when the server forgot us.
    pub(super) ticket: Option<RoomTicket>,
    password: Option<Secret<String>>,
    /// These may not come back, to be shown to a server that was restarted.
    kicked: BTreeMap<PlayerId, KickNote>,
    /// It is due then, after the server was lost.
    pub(super) resume_at: Option<Instant>,
    /// The host is lost; until then another one may come.
    pub(crate) seeking: Option<Instant>,
    revision: Option<u32>,
    parts: BTreeMap<u8, Vec<PlayerInfo>>,
    /// All parts of this revision came, and `members` is of it.
    pub(super) whole_members: Option<u32>,
    /// The members as of the latest list of which all parts came, the host first.
    pub(crate) members: Vec<PlayerInfo>,
    /// This is what the members tell each other.
    pub(super) shared: Shared,
    /// The server has said in this session that this player is in the room.
    pub(super) told_in: bool,
    /// This is what is known of the seats.
    pub(super) seats: Seats,
    /// This player hosts the room, and has it look for more players.
    pub(super) backfill: Option<Backfill>,
}

impl Room {
    /// Returns the room under its present host.
    pub(crate) fn epoch(&self) -> RoomEpoch {
        RoomEpoch { room: self.info.id, epoch: self.info.epoch }
    }

    /// Returns the request that leads back in.
    pub(super) fn resume(&self) -> Request {
        match self.ticket {
            Some(ticket) => Request::TakeUpRoom {
                ticket,
                code: self.info.code.clone(),
                options: self.info.options(self.password.clone()),
            },
            None => self.entered_by.clone(),
        }
    }

    /// Gives those who watch the room, as far as is known.
    pub(crate) fn spectators(&self) -> impl Iterator<Item = PlayerId> + '_ {
        self.seats.spectators().iter().map(|player| player.id)
    }

    /// Returns whether this player only watches.
    pub(crate) fn is_watched(&self) -> bool {
        matches!(self.entered_by, Request::Spectate { .. })
    }
}

/// Returns the password that a room was entered with.
fn password_of(request: &Request) -> Option<Secret<String>> {
    match request {
        Request::CreateRoom { options } | Request::TakeUpRoom { options, .. } => options.password.clone(),
        Request::JoinRoom { password, .. } | Request::Spectate { password, .. } => password.clone(),
        _ => None,
    }
}

impl Lobby {
    /// Takes back requests to open or enter a room. True if there were any.
    pub(crate) fn cancel_entering(&mut self) -> bool {
        let before = self.pending.len();
        self.pending
            .retain(|_, pending| !matches!(pending.kind, Some(RequestKind::Host | RequestKind::Join)));
        self.pending.len() != before
    }

    /// Leaves the room: here at once, at the server before anything else is entered.
    pub(crate) fn forget_room(&mut self, cx: &mut Cx<'_>) -> Option<Room> {
        let room = self.room_ended()?;
        self.leave(cx);
        Some(room)
    }

    pub(super) fn leave(&mut self, cx: &mut Cx<'_>) {
        self.ask_silently(cx, Request::LeaveRoom);
    }

    /// The server knows already that this player is out.
    pub(crate) fn room_ended(&mut self) -> Option<Room> {
        // Whatever was asked about it is moot.
        self.pending.retain(|_, pending| pending.kind.is_some());
        (self.early_ticket, self.early_host, self.early_notes) = (None, None, None);
        self.early_news.clear();
        self.room.take()
    }

    /// Takes note that this player is in a room now: by its own request, or put into it by the server.
    pub(super) fn entered(&mut self, cx: &mut Cx<'_>, info: RoomInfo, request: Option<Request>) -> LobbyNews {
        self.end_watch(cx);
        let password = request.as_ref().and_then(password_of);
        let spectating = matches!(request, Some(Request::Spectate { .. }));
        self.seat_kept = false;
        let hosting = info.host == cx.identity.player_id();
        let former = self.room.take().filter(|room| room.info.id == info.id);
        let entered_by = if hosting {
            Request::CreateRoom { options: info.options(password.clone()) }
        } else if let Some(Request::JoinInvited { token, .. }) = request {
            // An invite that serves once serves the one player again.
            Request::JoinInvited { code: info.code.clone(), token }
        } else {
            let (target, password) = (RoomTarget::Name(info.name.clone()), password.clone());
            if spectating {
                Request::Spectate { target, password, resume: true }
            } else {
                Request::JoinRoom { target, password }
            }
        };
        let ticket = self.early_ticket.take().filter(|ticket| ticket.room == info.id);
        let known = former.as_ref().map(|room| (room.info.epoch, room.info.host));
        let replaced = known.filter(|(epoch, _)| info.epoch > *epoch).map(|(_, host)| host);
        let (seeking, ticket, mut members, mut kicked, shared, seats, backfill) = match former {
            Some(mut room) => {
                if !hosting {
                    room.shared.hosts_no_more();
                }
                (
                    room.seeking,
                    ticket.or(room.ticket),
                    room.members,
                    room.kicked,
                    room.shared,
                    room.seats.again(),
                    room.backfill,
                )
            }
            None => (None, ticket, Vec::new(), BTreeMap::new(), Shared::default(), Seats::default(), None),
        };
        self.notes_to_show = kicked.values().copied().collect();
        let early = self.early_notes.take().filter(|(room, _)| *room == info.id);
        keep(&mut kicked, early.map(|(_, notes)| notes).unwrap_or_default());
        members.retain(|member| Some(member.id) != replaced);
        self.room = Some(Room {
            info: info.clone(),
            hosting,
            entered_by,
            ticket,
            password,
            kicked,
            resume_at: None,
            seeking: seeking.filter(|_| replaced.is_none()),
            revision: None,
            parts: BTreeMap::new(),
            whole_members: None,
            members,
            shared,
            told_in: true,
            seats,
            backfill,
        });
        if !hosting {
            self.end_backfill(cx);
        }
        cx.emit(Event::RoomEntered { room: info.clone(), hosting, spectating });
        if let Some((early, previous)) = self.early_host.take()
            && self.host_changed(cx, &early, previous)
        {
            return LobbyNews::HostChanged { room: early, previous };
        }
        // It changed while this player was away.
        replaced.map_or(LobbyNews::Entered, |previous| LobbyNews::HostChanged { room: info, previous })
    }

    /// A call was taken, and this player hosts the room that was opened for the two.
    pub(crate) fn handle_room_of_call(&mut self, cx: &mut Cx<'_>, info: RoomInfo) -> LobbyNews {
        self.entered(cx, info, None)
    }

    /// Takes the right to come back.
    pub(crate) fn handle_ticket(&mut self, ticket: RoomTicket) {
        match self.room.as_mut().filter(|room| room.info.id == ticket.room) {
            Some(room) if room.ticket.is_none_or(|known| known.epoch <= ticket.epoch) => {
                room.ticket = Some(ticket);
            }
            Some(_) => {}
            None => self.early_ticket = Some(ticket),
        }
    }

    /// Notes who was put out of the room.
    pub(crate) fn handle_kick_notes(&mut self, id: RoomId, notes: Vec<KickNote>) {
        match self.room.as_mut().filter(|room| room.info.id == id) {
            Some(room) => keep(&mut room.kicked, notes),
            None => match &mut self.early_notes {
                Some((room, early)) if *room == id && early.len() < MAX_KICKED => early.extend(notes),
                early => *early = Some((id, notes)),
            },
        }
    }

    /// Notes of who was put out, which the server may have forgotten, after this player came back into the room.
    pub(crate) fn take_notes_to_show(&mut self) -> Vec<KickNote> {
        std::mem::take(&mut self.notes_to_show)
    }

    /// The room has another host. True if it is news.
    pub(crate) fn host_changed(&mut self, cx: &mut Cx<'_>, info: &RoomInfo, previous: PlayerId) -> bool {
        let own = cx.identity.player_id();
        let Some(room) = self.room.as_mut().filter(|room| room.info.id == info.id) else {
            self.early_host = Some((info.clone(), previous));
            return false;
        };
        if info.epoch <= room.info.epoch {
            return false;
        }
        room.info = info.clone();
        room.hosting = info.host == own;
        let hosting = room.hosting;
        if !hosting {
            room.shared.hosts_no_more();
        }
        room.seeking = None;
        room.members.retain(|member| member.id != previous);
        room.members.sort_by_key(|member| member.id != info.host);
        if !hosting {
            self.end_backfill(cx);
        }
        self.host_shows(cx);
        true
    }

    /// The host is away, or the channel to it is gone. True: the room may get another host, so this player stays in it, until
    /// then or as long as it waits already.
    pub(crate) fn host_lost(&mut self, until: Instant) -> bool {
        let Some(room) = self.room.as_mut().filter(|room| room.info.migrate && !room.hosting) else {
            return false;
        };
        room.seeking.get_or_insert(until);
        true
    }

    /// The host is back. True: it was missed.
    pub(crate) fn host_found(&mut self) -> bool {
        self.room.as_mut().is_some_and(|room| room.seeking.take().is_some())
    }

    /// The server needs longer to say who hosts the room.
    pub(crate) fn host_in_question(&mut self, now: Instant, about: RoomEpoch, within: Duration) {
        let room = self.room.as_mut().filter(|room| room.epoch() == about);
        if let Some(until) = room.and_then(|room| room.seeking.as_mut()) {
            *until = (*until).max(now + within.min(LONGEST_SEEK));
        }
    }

    /// The host has changed the room's metadata.
    pub(crate) fn handle_room_changed(&mut self, cx: &mut Cx<'_>, info: RoomInfo) {
        let Some(room) = self.room.as_mut().filter(|room| room.info.id == info.id) else { return };
        if info.epoch != room.info.epoch {
            // It overtook the news of another host, or was overtaken by it: that one has the metadata too.
            return;
        }
        if let Request::CreateRoom { options } = &mut room.entered_by {
            options.metadata.clone_from(&info.metadata);
            (options.locked, options.teams) = (info.locked, info.teams.clone());
        }
        room.info = info.clone();
        cx.emit(Event::RoomChanged(info));
    }

    /// Takes a part of a snapshot of the members, and gives all of them when it was the last missing one.
    pub(crate) fn handle_members(
        &mut self,
        cx: &mut Cx<'_>,
        id: RoomId,
        revision: u32,
        (part, parts): (u8, u8),
        members: Vec<PlayerInfo>,
    ) -> Option<Vec<PlayerId>> {
        let room = self.room.as_mut().filter(|room| room.info.id == id)?;
        if part >= parts || room.revision.is_some_and(|known| revision < known) {
            return None;
        }
        if room.revision != Some(revision) {
            room.parts.clear();
            room.revision = Some(revision);
        }
        room.parts.insert(part, members);
        if room.parts.len() < usize::from(parts) {
            return None;
        }
        let members: Vec<PlayerInfo> = room.parts.values().flatten().cloned().collect();
        let before: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        room.members.clone_from(&members);
        room.whole_members = Some(revision);
        let ids = members.iter().map(|member| member.id).collect();
        cx.emit(Event::Members(members));
        self.members_changed(cx, &before);
        self.tell_seats(cx);
        Some(ids)
    }

    /// Asks again for the room that the server let go of, while the game goes on.
    pub(crate) fn resume(&mut self, now: Instant) {
        if let Some(room) = &mut self.room {
            room.resume_at = Some(now + RESUME_RETRY);
        }
    }
}
