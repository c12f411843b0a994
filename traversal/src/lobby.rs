//! Requests to the server and the room this player is in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::{Event, RequestFailure, RequestKind};
use crate::cx::Cx;
use crate::id::{PlayerId, RequestId, RoomId};
use crate::login::LobbyLink;
use crate::timer::due;
use crate::wire::message::{
    PlayerInfo, QueueStatus, QuickMatch, QuickMatched, Request, RequestError, Response, RoomInfo,
    RoomSummary, RoomTarget, RoomTicket, ToServer,
};

/// Requests that wait for an answer; more means that the game asks every frame.
const MAX_PENDING: usize = 32;
/// Rooms in one listing: a screen shows far fewer, and the server sends them a page at a time.
const MAX_LISTED: usize = 500;
/// How often a player who waits for a room asks again.
const WAIT_RETRY: Duration = Duration::from_millis(400);
/// How often a room is asked for again after the server was lost.
const RESUME_RETRY: Duration = Duration::from_secs(2);
/// How long a member without its host waits for another one. The server asks host and members for 4.5 s at the most,
/// and may have to be found again itself.
const SEEK: Duration = Duration::from_secs(20);

/// Everything about rooms.
#[derive(Debug, Default)]
pub(crate) struct Lobby {
    next_request: u32,
    pending: BTreeMap<RequestId, Pending>,
    room: Option<Room>,
    queue: Option<Queued>,
    listed: Vec<RoomSummary>,
    /// Frames overtake each other: what came before the answer that lets this player into the room.
    early_ticket: Option<RoomTicket>,
    early_host: Option<(RoomInfo, PlayerId)>,
}

/// The quick match that this player waits for.
#[derive(Debug)]
struct Queued {
    wanted: QuickMatch,
    /// The game has heard how it comes along.
    told: bool,
}

#[derive(Debug)]
struct Pending {
    kind: Option<RequestKind>,
    request: Request,
    /// When the game was promised an outcome by.
    deadline: Instant,
    /// Asked again until then while there is no such room.
    wait_until: Option<Instant>,
    /// When to send (again); none: it is on its way.
    send_at: Option<Instant>,
}

/// The room this player is in.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) info: RoomInfo,
    pub(crate) hosting: bool,
    /// What to ask for where there is no ticket.
    entered_by: Request,
    /// What to ask with when the server forgot us.
    ticket: Option<RoomTicket>,
    password: Option<String>,
    /// Due after the server was lost.
    resume_at: Option<Instant>,
    /// The host is lost; until then another one may come.
    pub(crate) seeking: Option<Instant>,
    revision: Option<u32>,
    parts: BTreeMap<u8, Vec<PlayerInfo>>,
    /// The latest whole list.
    pub(crate) members: Vec<PlayerInfo>,
}

impl Room {
    /// How to come back in.
    fn resume(&self) -> Request {
        match self.ticket {
            Some(ticket) => Request::TakeUpRoom {
                ticket,
                code: self.info.code.clone(),
                options: self.info.options(self.password.clone()),
            },
            None => self.entered_by.clone(),
        }
    }
}

/// What an answer means for the matches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LobbyNews {
    /// A member was put out: end its channel.
    Kicked { player: PlayerId, reason: String },
    /// Let in after the game had changed its mind: end all channels.
    Unwanted,
    /// In the room, or back in it.
    Entered,
    /// It has another host.
    HostChanged { room: RoomInfo, previous: PlayerId },
    /// This player hosted it, and another one does now.
    Stale { epoch: u32 },
    /// No other host came in time.
    HostGone,
}

/// The password that a room was entered with.
fn password_of(request: Request) -> Option<String> {
    match request {
        Request::CreateRoom { options } | Request::TakeUpRoom { options, .. } => options.password,
        Request::JoinRoom { password, .. } => password,
        _ => None,
    }
}

impl Lobby {
    pub(crate) fn room(&self) -> Option<&Room> {
        self.room.as_ref()
    }

    /// In a room, or about to be.
    pub(crate) fn is_busy(&self) -> bool {
        self.room.is_some() || self.queue.is_some() || !self.pending.is_empty()
    }

    /// Asks the server; before the login is done the request waits for it. False: the game was told why not.
    pub(crate) fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        link: &mut LobbyLink,
        kind: RequestKind,
        request: Request,
        wait: Duration,
    ) -> bool {
        if !link.is_wanted() {
            cx.emit(Event::RequestFailed { request: kind, error: RequestFailure::NotLoggedIn });
            return false;
        }
        if self.pending.len() >= MAX_PENDING {
            let error = RequestFailure::Server(RequestError::Limited { retry_after_s: 1 });
            cx.emit(Event::RequestFailed { request: kind, error });
            return false;
        }
        // The host may take its time to allow a request (M23); everything else the server answers by itself.
        let patience =
            if kind == RequestKind::Join { cx.config.allow_timeout } else { cx.config.request_timeout };
        let pending = Pending {
            kind: Some(kind),
            request,
            deadline: cx.now + patience + wait,
            wait_until: (!wait.is_zero()).then(|| cx.now + wait),
            send_at: Some(cx.now),
        };
        self.push(cx, link, pending);
        true
    }

    /// Asks for something of the agent's own; the game hears nothing of it.
    pub(crate) fn ask_silently(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink, request: Request) {
        let deadline = cx.now + cx.config.request_timeout;
        self.push(
            cx,
            link,
            Pending { kind: None, request, deadline, wait_until: None, send_at: Some(cx.now) },
        );
    }

    /// Waits for players who want the same.
    pub(crate) fn quick_match(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink, wanted: QuickMatch) {
        let kind = RequestKind::QuickMatch;
        let error = match (&self.room, &self.queue) {
            (Some(_), _) => RequestError::AlreadyInRoom,
            (_, Some(_)) => RequestError::AlreadyQueued,
            (None, None) => {
                if self.ask(cx, link, kind, Request::QuickMatch(wanted.clone()), Duration::ZERO) {
                    self.queue = Some(Queued { wanted, told: false });
                }
                return;
            }
        };
        cx.emit(Event::RequestFailed { request: kind, error: RequestFailure::Server(error) });
    }

    /// The game wants it no longer.
    pub(crate) fn cancel_quick_match(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink) {
        if self.queue.is_none() {
            let error = RequestFailure::Server(RequestError::NotQueued);
            return cx.emit(Event::RequestFailed { request: RequestKind::CancelQuickMatch, error });
        }
        self.end_queue(cx);
        self.ask_silently(cx, link, Request::LeaveQueue);
    }

    /// This player waits no longer.
    pub(crate) fn end_queue(&mut self, cx: &mut Cx<'_>) {
        self.pending.retain(|_, pending| pending.kind != Some(RequestKind::QuickMatch));
        if self.queue.take().is_some_and(|queued| queued.told) {
            cx.emit(Event::Queue(None));
        }
    }

    /// The server gives it up.
    pub(crate) fn queue_closed(&mut self, cx: &mut Cx<'_>, error: RequestError) {
        if self.queue.is_some() {
            self.end_queue(cx);
            let error = RequestFailure::Server(error);
            cx.emit(Event::RequestFailed { request: RequestKind::QuickMatch, error });
        }
    }

    /// How it comes along.
    pub(crate) fn handle_queue(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink, status: QueueStatus) {
        match &mut self.queue {
            Some(queued) => {
                queued.told = true;
                cx.emit(Event::Queue(Some(status)));
            }
            // The wish overtook its withdrawal.
            None if !self.pending.values().any(|pending| pending.request == Request::LeaveQueue) => {
                self.ask_silently(cx, link, Request::LeaveQueue);
            }
            None => {}
        }
    }

    /// The players are together, and this one is in their room.
    pub(crate) fn handle_quick_matched(
        &mut self,
        cx: &mut Cx<'_>,
        link: &mut LobbyLink,
        matched: QuickMatched,
    ) -> Option<LobbyNews> {
        let QuickMatched { room, wanted } = matched;
        if self.queue.as_ref().is_none_or(|queued| queued.wanted != wanted) {
            // The game changed its mind in the same moment.
            self.leave(cx, link);
            return Some(LobbyNews::Unwanted);
        }
        self.end_queue(cx);
        let news = self.entered(cx, room, None);
        Some(news)
    }

    fn push(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink, pending: Pending) {
        let id = RequestId(self.next_request);
        self.next_request = self.next_request.wrapping_add(1);
        self.pending.insert(id, pending);
        self.flush(cx, link);
    }

    /// Sends what is due, if there is a link.
    fn flush(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink) {
        let Some(online) = link.online() else { return };
        // Frames may overtake each other: nothing is entered before the leaving is done.
        let leaving = self.is_leaving();
        for (id, pending) in &mut self.pending {
            let enters = matches!(
                pending.request,
                Request::CreateRoom { .. }
                    | Request::JoinRoom { .. }
                    | Request::TakeUpRoom { .. }
                    | Request::QuickMatch(_)
            );
            if due(pending.send_at, cx.now) && !(leaving && enters) {
                let message = ToServer::Request { id: *id, request: pending.request.clone() };
                // A request too long for a datagram stays unsent; `Agent` checks lengths beforehand.
                pending.send_at = online.session.send(cx.now, message).is_err().then(|| cx.now + WAIT_RETRY);
            }
        }
        link.drain(cx);
    }

    fn is_leaving(&self) -> bool {
        let leaves = |pending: &Pending| matches!(pending.request, Request::LeaveRoom | Request::LeaveQueue);
        self.pending.values().any(leaves)
    }

    /// A new session: everything unanswered is asked again, and the room or the queue taken up again.
    pub(crate) fn logged_in(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink) -> Vec<LobbyNews> {
        for pending in self.pending.values_mut() {
            pending.send_at = Some(cx.now);
        }
        let asked = self.pending.values().any(|pending| pending.kind == Some(RequestKind::QuickMatch));
        if let Some(Queued { wanted, .. }) = self.queue.as_ref().filter(|_| !asked) {
            let request = Request::QuickMatch(wanted.clone());
            self.ask(cx, link, RequestKind::QuickMatch, request, Duration::ZERO);
        }
        if let Some(room) = &mut self.room {
            room.resume_at = Some(cx.now);
        }
        self.handle_timeout(cx, link)
    }

    /// Takes back requests to open or enter a room. True if there were any.
    pub(crate) fn cancel_entering(&mut self) -> bool {
        let before = self.pending.len();
        self.pending
            .retain(|_, pending| !matches!(pending.kind, Some(RequestKind::Host | RequestKind::Join)));
        self.pending.len() != before
    }

    /// Leaves the room: here at once, at the server before anything else is entered.
    pub(crate) fn forget_room(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink) -> Option<Room> {
        let room = self.room_ended()?;
        self.leave(cx, link);
        Some(room)
    }

    fn leave(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink) {
        self.ask_silently(cx, link, Request::LeaveRoom);
    }

    /// The server knows already that this player is out.
    pub(crate) fn room_ended(&mut self) -> Option<Room> {
        // Whatever was asked about it is moot.
        self.pending.retain(|_, pending| pending.kind.is_some());
        (self.early_ticket, self.early_host) = (None, None);
        self.room.take()
    }

    pub(crate) fn handle_response(
        &mut self,
        cx: &mut Cx<'_>,
        link: &mut LobbyLink,
        id: RequestId,
        result: Result<Response, RequestError>,
    ) -> Option<LobbyNews> {
        let Some(mut pending) = self.pending.remove(&id) else {
            if matches!(result, Ok(Response::Room(_))) {
                self.leave(cx, link);
                return Some(LobbyNews::Unwanted);
            }
            return None;
        };
        match (result, pending.kind) {
            (Ok(Response::Room(info)), _) => {
                let news = self.entered(cx, info, password_of(pending.request));
                self.flush(cx, link);
                return Some(news);
            }
            (Ok(Response::Rooms { rooms, more }), Some(RequestKind::List)) => {
                let last = rooms.last().map(|room| room.name.clone());
                self.listed.extend(rooms);
                if more && last.is_some() && self.listed.len() < MAX_LISTED {
                    let request = Request::ListRooms { after: last };
                    self.push(cx, link, Pending { request, send_at: Some(cx.now), ..pending });
                } else {
                    let rooms = std::mem::take(&mut self.listed);
                    cx.emit(Event::Rooms(rooms));
                }
            }
            (Ok(_), _) => {
                if let Request::Kick { player, reason } = pending.request {
                    return Some(LobbyNews::Kicked { player, reason });
                }
            }
            (Err(RequestError::NoSuchRoom), Some(_))
                if pending.wait_until.is_some_and(|until| until > cx.now) =>
            {
                pending.send_at = Some(cx.now + WAIT_RETRY);
                self.push(cx, link, pending);
            }
            (Err(error), Some(kind)) => {
                if kind == RequestKind::QuickMatch {
                    self.end_queue(cx);
                }
                cx.emit(Event::RequestFailed { request: kind, error: RequestFailure::Server(error) });
            }
            (Err(_), None)
                if matches!(
                    pending.request,
                    Request::LeaveRoom | Request::LeaveQueue | Request::Rematch { .. }
                ) => {}
            (Err(RequestError::StaleHost { epoch }), None) => return Some(LobbyNews::Stale { epoch }),
            // The room cannot be had back yet: its host may not have logged in again, or the server still knows our
            // own former session.
            (Err(error), None) => {
                if let Some(room) = &mut self.room {
                    if error == RequestError::BadTicket {
                        room.ticket = None;
                    }
                    room.resume_at = Some(cx.now + RESUME_RETRY);
                }
            }
        }
        self.flush(cx, link);
        None
    }

    fn entered(&mut self, cx: &mut Cx<'_>, info: RoomInfo, password: Option<String>) -> LobbyNews {
        let hosting = info.host == cx.identity.player_id();
        let former = self.room.take().filter(|room| room.info.id == info.id);
        let entered_by = if hosting {
            Request::CreateRoom { options: info.options(password.clone()) }
        } else {
            Request::JoinRoom { target: RoomTarget::Name(info.name.clone()), password: password.clone() }
        };
        let ticket = self.early_ticket.take().filter(|ticket| ticket.room == info.id);
        let known = former.as_ref().map(|room| (room.info.epoch, room.info.host));
        let replaced = known.filter(|(epoch, _)| info.epoch > *epoch).map(|(_, host)| host);
        let (seeking, ticket, mut members) = match former {
            Some(room) => (room.seeking, ticket.or(room.ticket), room.members),
            None => (None, ticket, Vec::new()),
        };
        members.retain(|member| Some(member.id) != replaced);
        self.room = Some(Room {
            info: info.clone(),
            hosting,
            entered_by,
            ticket,
            password,
            resume_at: None,
            seeking: seeking.filter(|_| replaced.is_none()),
            revision: None,
            parts: BTreeMap::new(),
            members,
        });
        cx.emit(Event::RoomEntered { room: info.clone(), hosting });
        if let Some((early, previous)) = self.early_host.take()
            && self.host_changed(cx.identity.player_id(), &early, previous)
        {
            return LobbyNews::HostChanged { room: early, previous };
        }
        // It changed while this player was away.
        replaced.map_or(LobbyNews::Entered, |previous| LobbyNews::HostChanged { room: info, previous })
    }

    /// The right to come back.
    pub(crate) fn handle_ticket(&mut self, ticket: RoomTicket) {
        match self.room.as_mut().filter(|room| room.info.id == ticket.room) {
            Some(room) if room.ticket.is_none_or(|known| known.epoch <= ticket.epoch) => {
                room.ticket = Some(ticket);
            }
            Some(_) => {}
            None => self.early_ticket = Some(ticket),
        }
    }

    /// The room has another host. True if it is news.
    pub(crate) fn host_changed(&mut self, own: PlayerId, info: &RoomInfo, previous: PlayerId) -> bool {
        let Some(room) = self.room.as_mut().filter(|room| room.info.id == info.id) else {
            self.early_host = Some((info.clone(), previous));
            return false;
        };
        if info.epoch <= room.info.epoch {
            return false;
        }
        room.info = info.clone();
        room.hosting = info.host == own;
        room.seeking = None;
        room.members.retain(|member| member.id != previous);
        room.members.sort_by_key(|member| member.id != info.host);
        true
    }

    /// The channel to the host is gone. True: the room may get another host, so this player stays in it.
    pub(crate) fn host_lost(&mut self, now: Instant) -> bool {
        let Some(room) = self.room.as_mut().filter(|room| room.info.migrate && !room.hosting) else {
            return false;
        };
        room.seeking.get_or_insert(now + SEEK);
        true
    }

    /// New metadata.
    pub(crate) fn handle_room_changed(&mut self, cx: &mut Cx<'_>, info: RoomInfo) {
        let Some(room) = self.room.as_mut().filter(|room| room.info.id == info.id) else { return };
        if info.epoch != room.info.epoch {
            // It overtook the news of another host, or was overtaken by it: that one has the metadata too.
            return;
        }
        if let Request::CreateRoom { options } = &mut room.entered_by {
            options.metadata.clone_from(&info.metadata);
        }
        room.info = info.clone();
        cx.emit(Event::RoomChanged(info));
    }

    /// A part of a snapshot of the members; all of them when it was the last missing one.
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
        room.members.clone_from(&members);
        let ids = members.iter().map(|member| member.id).collect();
        cx.emit(Event::Members(members));
        Some(ids)
    }

    /// The server let go of this room while the game goes on: ask for it again.
    pub(crate) fn resume(&mut self, now: Instant) {
        if let Some(room) = &mut self.room {
            room.resume_at = Some(now + RESUME_RETRY);
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>, link: &mut LobbyLink) -> Vec<LobbyNews> {
        let mut news = Vec::new();
        let late: Vec<RequestId> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= cx.now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(pending) = self.pending.remove(&id) else { continue };
            if let Some(kind) = pending.kind {
                if kind == RequestKind::QuickMatch {
                    self.end_queue(cx);
                }
                let error = match (link.online().is_some(), pending.wait_until) {
                    (true, Some(_)) => RequestFailure::Server(RequestError::NoSuchRoom),
                    (true, None) => RequestFailure::Timeout,
                    (false, _) => RequestFailure::LobbyLost,
                };
                cx.emit(Event::RequestFailed { request: kind, error });
            }
            if let Request::Kick { player, reason } = pending.request {
                news.push(LobbyNews::Kicked { player, reason });
            }
        }
        if link.online().is_some()
            && let Some(room) = &mut self.room
            && due(room.resume_at, cx.now)
        {
            room.resume_at = None;
            let request = room.resume();
            self.ask_silently(cx, link, request);
        }
        if let Some(room) = &mut self.room
            && due(room.seeking, cx.now)
        {
            room.seeking = None;
            news.push(LobbyNews::HostGone);
        }
        self.flush(cx, link);
        news
    }

    pub(crate) fn poll_timeout(&self, online: bool) -> Option<Instant> {
        let deadlines = self.pending.values().map(|pending| pending.deadline);
        // What waits for a leaving to be done goes out with its answer, or its deadline.
        let leaving = self.is_leaving();
        let sends =
            self.pending.values().filter_map(|pending| pending.send_at).filter(|_| online && !leaving);
        let resume = self.room.as_ref().and_then(|room| room.resume_at).filter(|_| online);
        let seeking = self.room.as_ref().and_then(|room| room.seeking);
        deadlines.chain(sends).chain(resume).chain(seeking).min()
    }
}
