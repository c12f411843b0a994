//! Requests to the server; `room` has the room this player is in, `party` its party, `queue` the wait for a quick match, `listing`
//! and `watch` the lists of public rooms.

mod backfill;
mod clock;
mod countdown;
mod listing;
mod members;
mod party;
mod queue;
mod room;
mod seat_notes;
mod seats;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::clock::ServerClock;
pub(crate) use self::countdown::start_countdown;
use self::listing::Listed;
use self::members::is_in_order;
use self::party::Party;
use self::queue::Queued;
pub(crate) use self::room::Room;
use self::seat_notes::SeatNotes;
use self::watch::Watch;
use crate::api::{Event, RequestFailure, RequestKind};
use crate::cx::Cx;
use crate::id::{PlayerId, RequestId, RoomId};
use crate::login::ServerLink;
use crate::timer::due;
use crate::wire::message::{
    KickNote, Request, RequestError, Response, RoomBan, RoomInfo, RoomNews, RoomTicket, Teams, ToServer,
};

/// So many requests may wait for an answer; more means that the game asks every frame.
const MAX_PENDING: usize = 32;
/// A player who waits for a room asks again so often, counted from the answer that there is none.
const WAIT_RETRY: Duration = Duration::from_millis(400);
/// What is said in a room waits for so many seconds at the most where the server says that it is too much at a time.
const MOST_PATIENCE_S: u32 = 30;
/// A room is asked for again so often after the server was lost.
const RESUME_RETRY: Duration = Duration::from_secs(2);

/// This is the room of this player, and all that it asks of the server.
#[derive(Debug, Default)]
pub(crate) struct Lobby {
    next_request: u32,
    pending: BTreeMap<RequestId, Pending>,
    room: Option<Room>,
    queue: Option<Queued>,
    party: Party,
    watch: Watch,
    /// This came before the answer that lets this player into the room, since frames overtake each other.
    early_ticket: Option<RoomTicket>,
    early_host: Option<(RoomInfo, PlayerId)>,
    early_notes: Option<(RoomId, Vec<KickNote>)>,
    early_teams: Option<Teams>,
    /// Notes to be shown to the server, see [`take_notes_to_show`](Self::take_notes_to_show).
    notes_to_show: Vec<KickNote>,
    /// News that came before the answer that lets this player into their room.
    early_news: Vec<(RoomId, RoomNews)>,
    /// The clock of the server that this player is logged in at.
    clock: ServerClock,
    /// The server keeps a seat for this player, which it has not taken.
    seat_kept: bool,
    bans: Vec<RoomBan>,
    /// These are of the room that this player hosts.
    seat_notes: Option<SeatNotes>,
    /// These were members when the server was lost.
    seats_to_show: Vec<PlayerId>,
}

#[derive(Debug)]
struct Pending {
    kind: Option<RequestKind>,
    request: Request,
    /// So much has come of a list of rooms.
    listed: Listed,
    /// The game was promised an outcome by then.
    deadline: Instant,
    /// It is asked again until then while there is no such room.
    wait_until: Option<Instant>,
    /// The request is sent then (again); `None`: it is on its way.
    send_at: Option<Instant>,
    /// This is when it left.
    sent_at: Option<Instant>,
}

/// This says what an answer means for the matches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LobbyNews {
    /// A member was put out: end its channel.
    Kicked { player: PlayerId, reason: String },
    /// The player was let in after the game had changed its mind: end all channels.
    Unwanted,
    /// The server was lost before it had told of the room of a quick match: end all channels, this player waits again.
    MatchLost,
    /// This player is in the room, or back in it.
    Entered,
    /// It has another host.
    HostChanged { room: RoomInfo, previous: PlayerId },
    /// This player hosted it, and another one does now.
    Stale { epoch: u32 },
    /// No other host came in time.
    HostGone,
}

impl Lobby {
    pub(crate) fn room(&self) -> Option<&Room> {
        self.room.as_ref()
    }

    /// Returns whether this player is in a room, or about to be.
    pub(crate) fn is_busy(&self) -> bool {
        self.room.is_some() || self.queue.is_some() || !self.pending.is_empty()
    }

    /// Asks the server; before the login is done the request waits for it. False: the game was told why not.
    pub(crate) fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        kind: RequestKind,
        request: Request,
        wait: Duration,
    ) -> bool {
        if !cx.link.is_wanted() {
            cx.emit(Event::RequestFailed { request: kind, error: RequestFailure::NotLoggedIn });
            return false;
        }
        if self.pending.len() >= MAX_PENDING {
            let error = RequestFailure::Server(RequestError::Limited { retry_after_s: 1 });
            cx.emit(Event::RequestFailed { request: kind, error });
            return false;
        }
        // The host may take its time to allow a request (M23); everything else the server answers by itself.
        let patience = match kind {
            RequestKind::Join => cx.config.allow_timeout,
            _ => Self::patience(cx),
        };
        let pending = Pending {
            kind: Some(kind),
            request,
            listed: Listed::default(),
            deadline: cx.now + patience + wait,
            wait_until: (!wait.is_zero()).then(|| cx.now + wait),
            send_at: Some(cx.now),
            sent_at: None,
        };
        self.push(cx, pending);
        true
    }

    /// Asks for something of the agent's own; the game hears nothing of it.
    pub(crate) fn ask_silently(&mut self, cx: &mut Cx<'_>, request: Request) {
        let deadline = cx.now + Self::patience(cx);
        let (wait_until, send_at, sent_at, listed) = (None, Some(cx.now), None, Listed::default());
        self.push(cx, Pending { kind: None, request, listed, deadline, wait_until, send_at, sent_at });
    }

    /// Returns how long the server may take to answer. Request and answer may each get lost, more than once where a
    /// seventh of all packets is (busy mobile and satellite links): in the time of eight answers a request is sent
    /// four times. Before the login is done that has to come about, too.
    fn patience(cx: &Cx<'_>) -> Duration {
        let usual = cx.config.request_timeout;
        if cx.link.is_online() {
            cx.link.timing().at_least(usual, 8)
        } else {
            usual + cx.config.login_timeout
        }
    }

    /// Returns when the game has to hear what became of this. A login that the server has begun to answer is waited
    /// for.
    fn deadline_of(pending: &Pending, link: &ServerLink) -> Instant {
        link.answered_until().map_or(pending.deadline, |until| pending.deadline.max(until))
    }

    fn push(&mut self, cx: &mut Cx<'_>, pending: Pending) {
        let id = RequestId(self.next_request);
        self.next_request = self.next_request.wrapping_add(1);
        self.pending.insert(id, pending);
        self.flush(cx);
    }

    /// Sends what is due, if there is a cx.link.
    fn flush(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        let Some(online) = cx.link.online() else { return };
        // Frames may overtake each other: nothing is entered before the leaving is done.
        let leaving = self.is_leaving();
        let next = self.next_in_order();
        let unsettled = self.party.is_unsettled();
        for (id, pending) in &mut self.pending {
            let enters = matches!(
                pending.request,
                Request::CreateRoom { .. }
                    | Request::JoinRoom { .. }
                    | Request::JoinInvited { .. }
                    | Request::TakeUpRoom { .. }
                    | Request::QuickMatch(_)
                    | Request::Spectate { .. }
                    | Request::TakeSeat
            );
            let waits = is_in_order(&pending.request) && next != Some(*id)
                || unsettled && matches!(pending.request, Request::QuickMatch(_));
            if due(pending.send_at, now) && !(leaving && enters) && !waits {
                let message = ToServer::Request { id: *id, request: pending.request.clone() };
                // A request too long for a datagram stays unsent; `Agent` checks lengths beforehand.
                pending.send_at = online.session.send(now, message).is_err().then(|| now + WAIT_RETRY);
                pending.sent_at = Some(now);
            }
        }
        cx.link.drain(&mut cx.env);
    }

    /// Returns the request about what members tell each other that may be sent: they go one by one, since frames overtake
    /// each other, what is shown after a new login before what the game wants, and all only while this player is in the room.
    fn next_in_order(&self) -> Option<RequestId> {
        let in_order = || self.pending.iter().filter(|(_, pending)| is_in_order(&pending.request));
        if self.room.as_ref().is_some_and(|room| !room.told_in)
            || in_order().any(|(_, pending)| pending.send_at.is_none())
        {
            return None;
        }
        in_order().min_by_key(|(id, pending)| (pending.kind.is_some(), **id)).map(|(id, _)| *id)
    }

    fn is_leaving(&self) -> bool {
        let leaves = |pending: &Pending| matches!(pending.request, Request::LeaveRoom | Request::LeaveQueue);
        self.pending.values().any(leaves)
    }

    /// Begins a new session: everything unanswered is asked again, and the room or the queue taken up again.
    pub(crate) fn logged_in(&mut self, cx: &mut Cx<'_>) -> Vec<LobbyNews> {
        let patience = Self::patience(cx);
        self.seat_kept = false;
        self.party_logged_in(cx.now);
        for pending in self.pending.values_mut() {
            pending.send_at = Some(cx.now);
            pending.deadline = pending.deadline.max(cx.now + patience);
        }
        let asked = self.pending.values().any(|pending| pending.kind == Some(RequestKind::QuickMatch));
        let own = |queued: &&Queued| !asked && !queued.of_party;
        if let Some(Queued { wanted, .. }) = self.queue.as_ref().filter(own) {
            let request = Request::QuickMatch(wanted.clone());
            self.ask(cx, RequestKind::QuickMatch, request, Duration::ZERO);
            if let Some(queued) = &mut self.queue {
                queued.asked_again(cx.now + patience);
            }
        }
        if self.seats_to_show.is_empty() {
            // The new server's first list of members may come before its word that this player is in.
            self.seats_to_show = self.member_ids();
        }
        if let Some(room) = &mut self.room {
            room.resume_at = Some(cx.now);
            room.told_in = false;
            if let Some(backfill) = &mut room.backfill {
                backfill.logged_in();
            }
            room.shared.logged_in(cx.now, &self.clock, cx.link.timing().rtt());
        }
        // Another one may have been started since.
        self.clock = ServerClock::default();
        // What was shown before is shown anew, as it is now.
        self.pending
            .retain(|_, pending| pending.kind.is_some() || !matches!(pending.request, Request::InRoom(_)));
        self.watch_anew(cx);
        let mut news = self.handle_timeout(cx);
        news.extend(self.wait_again().then_some(LobbyNews::MatchLost));
        news
    }

    pub(crate) fn handle_response(
        &mut self,
        cx: &mut Cx<'_>,
        id: RequestId,
        result: Result<Response, RequestError>,
    ) -> Option<LobbyNews> {
        let Some(mut pending) = self.pending.remove(&id) else {
            if matches!(result, Ok(Response::Room(_))) {
                self.leave(cx);
                return Some(LobbyNews::Unwanted);
            }
            return None;
        };
        self.took_time(cx.now, pending.sent_at, &result);
        match (result, pending.kind) {
            (Ok(Response::Room(info)), _) => {
                let properties = match &mut pending.request {
                    Request::CreateRoom { options } => Some(std::mem::take(&mut options.properties)),
                    _ => None,
                };
                let news = self.entered(cx, info, Some(pending.request));
                self.show_shared(cx, properties);
                self.flush(cx);
                return Some(news);
            }
            (Ok(Response::Rooms { rooms, next }), Some(RequestKind::List)) => {
                self.handle_page(cx, pending, rooms, next);
            }
            (Ok(Response::Invite(token)), Some(RequestKind::MakeInvite)) => {
                if let Some(room) = &self.room {
                    let code = room.info.code.clone();
                    cx.emit(Event::InviteMade { code, token });
                }
            }
            (result, None) if matches!(pending.request, Request::Party(_)) => {
                if let Request::Party(request) = &pending.request {
                    self.party_answered(cx, request, result.err());
                }
            }
            (Ok(_), Some(RequestKind::RevokeInvites)) => cx.emit(Event::InvitesRevoked),
            (Ok(_), Some(RequestKind::Watch)) => self.watch_taken(cx.now),
            (Err(error), Some(RequestKind::Watch)) => self.watch_refused(cx, error),
            (Ok(Response::Bans { bans, more }), Some(RequestKind::ListBans)) => {
                if let Some(request) = self.take_bans(cx, bans, more) {
                    self.push(cx, Pending { request, send_at: Some(cx.now), ..pending });
                }
            }
            (Ok(_), _) => {
                if let Request::LiftBan { player } = pending.request {
                    cx.emit(Event::BanLifted(player));
                }
                if let Request::Kick { player, reason, .. } = pending.request {
                    return Some(LobbyNews::Kicked { player, reason });
                }
                self.took_in_room(cx, pending.request);
            }
            (Err(RequestError::Limited { retry_after_s }), _)
                if is_in_order(&pending.request)
                    && self.room.is_some()
                    && retry_after_s <= MOST_PATIENCE_S =>
            {
                // It is asked again, with what is added to it meanwhile.
                let wait = Duration::from_secs(u64::from(retry_after_s.max(1)));
                let deadline = cx.now + wait + Self::patience(cx);
                self.push(cx, Pending { deadline, send_at: Some(cx.now + wait), sent_at: None, ..pending });
            }
            (Err(RequestError::NoSuchRoom), Some(_))
                if pending.wait_until.is_some_and(|until| until > cx.now) =>
            {
                pending.send_at = Some(cx.now + WAIT_RETRY);
                self.push(cx, pending);
            }
            (Err(error), Some(kind)) => {
                if let Request::Party(request) = &pending.request {
                    self.party_answered(cx, request, Some(error.clone()));
                }
                self.wish_failed(cx, kind);
                cx.emit(Event::RequestFailed { request: kind, error: RequestFailure::Server(error) });
            }
            (Err(_), None)
                if matches!(
                    pending.request,
                    Request::LeaveRoom
                        | Request::LeaveQueue
                        | Request::Rematch { .. }
                        | Request::StopWatching
                        | Request::InRoom(_)
                ) => {}
            (Err(RequestError::StaleHost { epoch }), None) => return Some(LobbyNews::Stale { epoch }),
            (Err(error), None) => self.resume_later(cx.now, &error),
        }
        self.flush(cx);
        None
    }

    /// What would be asked again after a new login is not, since it failed.
    fn wish_failed(&mut self, cx: &mut Cx<'_>, kind: RequestKind) {
        match kind {
            RequestKind::QuickMatch => self.end_queue(cx),
            RequestKind::Backfill => self.end_backfill(cx),
            _ => {}
        }
    }

    /// The room cannot be had back yet: its host may not have logged in again, or the server still knows our own former
    /// session.
    fn resume_later(&mut self, now: Instant, error: &RequestError) {
        if let Some(room) = &mut self.room {
            if *error == RequestError::BadTicket {
                room.ticket = None;
            }
            room.resume_at = Some(now + RESUME_RETRY);
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Vec<LobbyNews> {
        let mut news = Vec::new();
        let late: Vec<RequestId> = self
            .pending
            .iter()
            .filter(|(_, pending)| Self::deadline_of(pending, cx.link) <= cx.now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(pending) = self.pending.remove(&id) else { continue };
            self.party_unanswered(cx.now, &pending.request);
            if pending.kind == Some(RequestKind::Watch) {
                self.watch_unanswered(cx.now);
                continue;
            }
            if let Some(kind) = pending.kind {
                self.wish_failed(cx, kind);
                let error = match (cx.link.online().is_some(), pending.wait_until) {
                    (true, Some(_)) => RequestFailure::Server(RequestError::NoSuchRoom),
                    (true, None) => RequestFailure::Timeout,
                    (false, _) => RequestFailure::LobbyLost,
                };
                cx.emit(Event::RequestFailed { request: kind, error });
            }
            if let Request::Kick { player, reason, .. } = pending.request {
                news.push(LobbyNews::Kicked { player, reason });
            }
        }
        if due(self.queue_deadline(cx.link), cx.now) {
            self.queue_closed_by(cx, RequestFailure::LobbyLost);
        }
        if cx.link.online().is_some()
            && let Some(room) = &mut self.room
            && due(room.resume_at, cx.now)
        {
            room.resume_at = None;
            let request = room.resume();
            self.ask_silently(cx, request);
        }
        if let Some(room) = &mut self.room
            && due(room.seeking, cx.now)
        {
            room.seeking = None;
            news.push(LobbyNews::HostGone);
        }
        self.resume_party(cx);
        self.countdown_timeout(cx);
        self.renew_watch(cx);
        self.flush(cx);
        news
    }

    pub(crate) fn poll_timeout(&self, link: &ServerLink) -> Option<Instant> {
        let online = link.is_online();
        let deadlines = self.pending.values().map(|pending| Self::deadline_of(pending, link));
        // What waits for a leaving to be done goes out with its answer, or its deadline.
        let leaving = self.is_leaving();
        let next = self.next_in_order();
        let unsettled = self.party.is_unsettled();
        let may = |(id, pending): (&RequestId, &Pending)| {
            pending
                .send_at
                .filter(|_| online && !leaving && (!is_in_order(&pending.request) || next == Some(*id)))
                .filter(|_| !unsettled || !matches!(pending.request, Request::QuickMatch(_)))
        };
        let sends = self.pending.iter().filter_map(may);
        let resume = self.room.as_ref().and_then(|room| room.resume_at).filter(|_| online);
        let seeking = self.room.as_ref().and_then(|room| room.seeking);
        let queue = self.queue_deadline(link);
        let countdown = self.countdown_at(link.timing().rtt());
        let watch = self.watch_due().filter(|_| online);
        let party = self.resume_party_at().filter(|_| online);
        let others = countdown.into_iter().chain(watch).chain(party);
        deadlines.chain(sends).chain(resume).chain(seeking).chain(queue).chain(others).min()
    }
}
