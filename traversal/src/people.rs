//! Contacts and calls, as the player's device keeps them: the list of those whom the player allows is here, and is told to the
//! server after each login. What the server says of contacts counts until it says otherwise, or has forgotten them.

mod calls;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;

use self::calls::Calls;
use crate::api::{Event, RequestFailure, RequestKind};
use crate::cx::Cx;
use crate::id::{PlayerId, RequestId};
use crate::timer::due;
use crate::wire::message::{
    CONTACTS_PER_PART, CallRequest, ContactNews, ContactsRequest, MAX_CONTACTS, Presence, Request,
    RequestError, Response, Status, ToServer,
};

/// After a login the server tells within this which contacts are on line; of whom it says nothing are off line.
const CONFIRMED: Duration = Duration::from_secs(6);
/// What the server could not take is said again after so long, or after what it says.
const AGAIN: Duration = Duration::from_secs(2);
/// What the server refuses for good is not said again before something else changes; for the case that a limit was changed, it
/// is after so long.
const REFUSED: Duration = Duration::from_secs(60);
/// Numbers of requests about people begin here; those of the lobby count up from 0.
const FIRST_REQUEST: u32 = 1 << 31;

/// This is what the server was told last and has not answered yet.
#[derive(Clone, Debug)]
enum Step {
    /// The list as far as this part is told; it is this list.
    Part {
        from: usize,
        last: bool,
    },
    Allow(PlayerId, bool),
    Status(Status),
}

/// This is the contacts and calls of a player.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// The game uses contacts: before that the server is told of none.
    used: bool,
    allowed: BTreeSet<PlayerId>,
    status: Status,
    /// The server knows this list; none: it knows none.
    told: Option<BTreeSet<PlayerId>>,
    told_status: Option<Status>,
    /// This list is being told.
    telling: Vec<PlayerId>,
    next_part: usize,
    awaited: Option<(RequestId, Step)>,
    again_at: Option<Instant>,
    next_request: u32,
    known: BTreeMap<PlayerId, Presence>,
    /// The server has not said anything of these since the login.
    unsure: Option<(Instant, BTreeSet<PlayerId>)>,
    calls: Calls,
}

impl People {
    /// The player allows these from now on, and nobody else.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn allow(&mut self, cx: &mut Cx<'_>, list: Vec<PlayerId>) {
        let own = cx.identity.player_id();
        let list: BTreeSet<PlayerId> = list.into_iter().filter(|player| *player != own).collect();
        if list.len() > MAX_CONTACTS {
            let error = RequestError::TooManyContacts { limit: MAX_CONTACTS as u16 }.into();
            return cx.emit(Event::RequestFailed { request: RequestKind::Contacts, error });
        }
        (self.used, self.allowed) = (true, list);
        let gone: Vec<PlayerId> =
            self.known.keys().filter(|player| !self.allowed.contains(player)).copied().collect();
        for player in gone {
            self.learn(cx, ContactNews { player, presence: None });
        }
        self.again_at = None;
        self.step(cx);
    }

    /// The player is to be shown in this way. Whether it plays is known here.
    pub(crate) fn set_status(&mut self, cx: &mut Cx<'_>, status: Status) {
        match status.checked() {
            Ok(status) => {
                self.used = true;
                self.status = Status { playing: self.status.playing, ..status };
                self.again_at = None;
                self.step(cx);
            }
            Err(error) => {
                let error = RequestFailure::Server(error.into());
                cx.emit(Event::RequestFailed { request: RequestKind::Status, error });
            }
        }
    }

    /// Returns whether this player is allowed.
    pub(crate) fn allows(&self, player: PlayerId) -> bool {
        self.allowed.contains(&player)
    }

    /// Notes whether the player is connected to another one.
    pub(crate) fn set_playing(&mut self, cx: &mut Cx<'_>, playing: bool) {
        if std::mem::replace(&mut self.status.playing, playing) != playing {
            self.step(cx);
        }
    }

    /// Begins a new session: the server knows nothing of this player's contacts.
    pub(crate) fn logged_in(&mut self, cx: &mut Cx<'_>) {
        (self.told, self.told_status, self.awaited, self.again_at) = (None, None, None, None);
        (self.next_part, self.telling) = (0, Vec::new());
        self.unsure = Some((cx.now + CONFIRMED, self.known.keys().copied().collect()));
        self.calls.logged_in(cx);
        self.step(cx);
    }

    /// The server says something of contacts.
    pub(crate) fn handle_news(&mut self, cx: &mut Cx<'_>, news: Vec<ContactNews>) {
        for one in news {
            if self.allowed.contains(&one.player) {
                if let Some((_, unsure)) = &mut self.unsure {
                    unsure.remove(&one.player);
                }
                self.learn(cx, one);
            }
        }
    }

    fn learn(&mut self, cx: &mut Cx<'_>, news: ContactNews) {
        let ContactNews { player, presence } = news;
        let former = match presence.clone() {
            Some(presence) => self.known.insert(player, presence),
            None => self.known.remove(&player),
        };
        if former != presence {
            cx.emit(Event::Presence { player, presence });
        }
    }

    /// Takes the answer to a request. False: it is not to one of these.
    pub(crate) fn handle_response(
        &mut self,
        cx: &mut Cx<'_>,
        id: RequestId,
        result: &Result<Response, RequestError>,
    ) -> bool {
        if id.0 < FIRST_REQUEST {
            return false;
        }
        let Some((_, step)) = self.awaited.take_if(|(awaited, _)| *awaited == id) else {
            self.calls.handle_response(cx, id, result);
            return true;
        };
        match result {
            Ok(_) => self.done(step),
            Err(error) => {
                // From the beginning: perhaps the server has forgotten the first parts.
                self.next_part = 0;
                let (wait, told) = match error {
                    RequestError::Limited { retry_after_s } => {
                        (Duration::from_secs(u64::from(*retry_after_s).max(1)), false)
                    }
                    RequestError::Stopping => (AGAIN, false),
                    _ => (REFUSED, true),
                };
                self.again_at = Some(cx.now + wait);
                if told {
                    let request = match step {
                        Step::Status(_) => RequestKind::Status,
                        Step::Part { .. } | Step::Allow(..) => RequestKind::Contacts,
                    };
                    let error = RequestFailure::Server(error.clone());
                    cx.emit(Event::RequestFailed { request, error });
                }
            }
        }
        self.step(cx);
        true
    }

    fn done(&mut self, step: Step) {
        match step {
            Step::Part { last: true, .. } => {
                self.told = Some(std::mem::take(&mut self.telling).into_iter().collect());
                self.next_part = 0;
            }
            Step::Part { from, .. } => self.next_part = from + CONTACTS_PER_PART,
            Step::Allow(player, allow) => {
                if let Some(told) = &mut self.told {
                    if allow { _ = told.insert(player) } else { _ = told.remove(&player) }
                }
            }
            Step::Status(status) => self.told_status = Some(status),
        }
    }

    /// Says the next thing to the server that it does not know, one after the other.
    fn step(&mut self, cx: &mut Cx<'_>) {
        if !self.used || self.awaited.is_some() || self.again_at.is_some_and(|at| at > cx.now) {
            return;
        }
        if !cx.link.is_online() {
            return;
        }
        self.again_at = None;
        let Some((step, request)) = self.next_step() else { return };
        let id = self.draw_id();
        if send(cx, id, Request::Contacts(request)) {
            self.awaited = Some((id, step));
        } else {
            self.again_at = Some(cx.now + AGAIN);
        }
    }

    fn next_step(&mut self) -> Option<(Step, ContactsRequest)> {
        // The status goes first: who is told that the player is on line is told at once how.
        if self.told_status.as_ref() != Some(&self.status)
            && (self.told_status.is_some() || self.status != Status::default())
        {
            let status = self.status.clone();
            return Some((Step::Status(status.clone()), ContactsRequest::Status(status)));
        }
        let Some(told) = &self.told else {
            if self.next_part == 0 {
                self.telling = self.allowed.iter().copied().collect();
            }
            let from = self.next_part;
            let rest = self.telling.get(from..).unwrap_or_default();
            let allow: Vec<PlayerId> = rest.iter().copied().take(CONTACTS_PER_PART).collect();
            let last = rest.len() <= CONTACTS_PER_PART;
            return Some((
                Step::Part { from, last },
                ContactsRequest::Part { first: from == 0, last, allow },
            ));
        };
        let added = self.allowed.difference(told).next().map(|player| (*player, true));
        let (player, allow) = added.or_else(|| Some((*told.difference(&self.allowed).next()?, false)))?;
        Some((Step::Allow(player, allow), ContactsRequest::Allow { player, allow }))
    }

    fn draw_id(&mut self) -> RequestId {
        let id = RequestId(FIRST_REQUEST | self.next_request);
        self.next_request = (self.next_request + 1) % FIRST_REQUEST;
        id
    }

    /// What was put off is due.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if due(self.again_at, cx.now) {
            self.step(cx);
        }
        if let Some((_, unsure)) = self.unsure.take_if(|(until, _)| *until <= cx.now)
            && cx.link.is_online()
        {
            for player in unsure {
                self.learn(cx, ContactNews { player, presence: None });
            }
        }
        self.calls.handle_timeout(cx);
    }

    pub(crate) fn poll_timeout(&self, online: bool) -> Option<Instant> {
        let again = self.again_at.filter(|_| online && self.awaited.is_none());
        let unsure = self.unsure.as_ref().map(|(until, _)| *until);
        [again, unsure, self.calls.poll_timeout()].into_iter().flatten().min()
    }
}

/// Sends a request; false: there is no session that takes it.
pub(crate) fn send(cx: &mut Cx<'_>, id: RequestId, request: Request) -> bool {
    let now = cx.now;
    let Some(online) = cx.link.online() else { return false };
    let sent = online.session.send(now, ToServer::Request { id, request }).is_ok();
    cx.link.drain(&mut cx.env);
    sent
}

/// Draws the number of a call.
fn draw_call(cx: &mut Cx<'_>) -> crate::id::CallId {
    crate::id::CallId(cx.rng.next_u64())
}

impl People {
    /// The player calls another one.
    pub(crate) fn call(&mut self, cx: &mut Cx<'_>, player: PlayerId) {
        let id = self.draw_id();
        self.calls.call(cx, id, player);
    }

    /// The player answers, or hangs up.
    pub(crate) fn about_call(&mut self, cx: &mut Cx<'_>, kind: RequestKind, request: CallRequest) {
        let id = self.draw_id();
        self.calls.ask(cx, id, kind, request);
    }

    /// Takes news of a call. Returns where this player and the other one meet, if they do.
    pub(crate) fn handle_call(
        &mut self,
        cx: &mut Cx<'_>,
        news: crate::wire::message::CallNews,
    ) -> Option<crate::wire::message::CallPlace> {
        self.calls.handle_news(cx, news)
    }
}
