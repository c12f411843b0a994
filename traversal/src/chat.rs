//! What this player writes to others, what it reads, and as the host of a room what it passes on from one member to the others.
//! How it goes its ways is in `agent/chat.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;

use crate::api::{ChatWay, Event, RequestFailure};
use crate::cx::Cx;
use crate::id::{PlayerId, RequestId, RoomId};
use crate::wire::message::{ChatFault, ChatTo, RequestError};

/// So many texts of the game may wait for their turn: they go one by one, so that they come in order.
pub(crate) const MAX_WAITING: usize = 8;
/// A text that could not be handed on is given up after so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A text between players is sent again after so long, or after the time of an answer, if it was not taken.
pub(crate) const AGAIN: Duration = Duration::from_millis(300);
/// What the members have not taken after so long, or after four answers, goes through the server.
pub(crate) const BETWEEN: Duration = Duration::from_secs(2);
/// Where neither the server nor a player was reached, both are tried again after so long.
pub(crate) const ANEW: Duration = Duration::from_secs(1);
/// A host tells the writer after so long, or after three answers, that not all have taken what it passes on.
pub(crate) const PASSED_ON: Duration = Duration::from_secs(1);
/// Texts that came lately: one that comes again, by another way too, is not shown again.
const MAX_SEEN: usize = 1024;
/// A host passes on so many texts at a time.
const MAX_PASSING: usize = 64;
/// Writers whose rate is known.
const MAX_WRITERS: usize = 256;
/// Numbers of requests about chat begin here, above those of the others.
const FIRST_REQUEST: u32 = 3 << 30;

/// This is how often somebody may write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    /// This player writes so many at once, and one a second.
    pub(crate) const OWN: f64 = 5.0;
    /// Another one may do some more: what packets do on their way.
    pub(crate) const OTHERS: f64 = 8.0;

    /// Takes one, or says how long to wait. `most` may come at once.
    fn take(&mut self, now: Instant, most: f64) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left, self.at) = ((self.left + passed).min(most), now.max(self.at));
        if self.left < 1.0 {
            return Err(Duration::try_from_secs_f64(1.0 - self.left).unwrap_or_default());
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// This says how far a text of this player has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It is to be decided by which way it goes.
    Begun,
    /// It was sent to players who have not taken it yet.
    Between { missing: BTreeSet<PlayerId>, next: Instant, end: Instant },
    /// The server is to be asked then, or where it is away the players again; `None`: as soon as there is a session.
    Server { at: Option<Instant> },
    /// The server was asked.
    Asked(RequestId),
}

/// This is a text that this player writes.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) number: u64,
    pub(crate) to: ChatTo,
    /// It was written in this room.
    pub(crate) room: Option<RoomId>,
    pub(crate) text: String,
    pub(crate) until: Instant,
    pub(crate) stage: Stage,
    /// Somebody has it.
    pub(crate) any: bool,
    /// Nobody is known not to have it.
    pub(crate) all: bool,
}

/// This is a text that this player, as the host, passes on.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) from: PlayerId,
    pub(crate) number: u64,
    pub(crate) text: String,
    pub(crate) missing: BTreeSet<PlayerId>,
    /// All others have it.
    pub(crate) all: bool,
    pub(crate) next: Instant,
    pub(crate) end: Instant,
}

/// This is a text that came.
#[derive(Debug)]
struct Seen {
    from: PlayerId,
    number: u64,
    /// Whether all have it to whom it was passed on; none: that is not known yet.
    all: Option<bool>,
}

/// This is the chat of a player.
#[derive(Debug)]
pub(crate) struct Chat {
    /// The server's operator lets players write.
    pub(crate) on: bool,
    told_on: bool,
    next_number: Option<u64>,
    next_request: u32,
    own: Option<Allowance>,
    writers: BTreeMap<PlayerId, Allowance>,
    /// The first one is on its way.
    pub(crate) texts: VecDeque<Text>,
    pub(crate) passing: Vec<Passing>,
    seen: VecDeque<Seen>,
    reports: BTreeMap<RequestId, PlayerId>,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            on: true,
            told_on: true,
            next_number: None,
            next_request: 0,
            own: None,
            writers: BTreeMap::new(),
            texts: VecDeque::new(),
            passing: Vec::new(),
            seen: VecDeque::new(),
            reports: BTreeMap::new(),
        }
    }
}

impl Chat {
    /// Takes note whether there is chat.
    pub(crate) fn switched(&mut self, cx: &mut Cx<'_>, on: bool) {
        self.on = on;
        if std::mem::replace(&mut self.told_on, on) != on {
            cx.emit(Event::ChatSwitched { on });
        }
    }

    /// Puts a text of this player into the line.
    ///
    /// # Errors
    /// There are too many, or they come too fast.
    pub(crate) fn push(
        &mut self,
        cx: &mut Cx<'_>,
        (to, room): (ChatTo, Option<RoomId>),
        text: String,
    ) -> Result<(), ChatFault> {
        let now = cx.now;
        let too_fast = |wait: Duration| {
            let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
            ChatFault::TooFast { retry_after_ms }
        };
        if self.texts.len() >= MAX_WAITING {
            return Err(too_fast(ANEW));
        }
        let own = self.own.get_or_insert(Allowance { left: Allowance::OWN, at: now });
        own.take(now, Allowance::OWN).map_err(too_fast)?;
        // Another start of the game has other numbers, all of them exact in JSON.
        let number = self.next_number.get_or_insert_with(|| u64::from(cx.rng.next_u32()) << 16);
        let text = Text {
            number: *number,
            to,
            room,
            text,
            until: now + PATIENCE,
            stage: Stage::Begun,
            any: false,
            all: true,
        };
        *number += 1;
        self.texts.push_back(text);
        Ok(())
    }

    /// Draws the number of a request.
    pub(crate) fn draw_id(&mut self) -> RequestId {
        let id = RequestId(FIRST_REQUEST | self.next_request);
        self.next_request = (self.next_request + 1) % (1 << 30);
        id
    }

    /// Returns whether an answer with this number may be one to a request about chat.
    pub(crate) fn is_own(&self, id: RequestId) -> bool {
        let asked = |text: &Text| matches!(text.stage, Stage::Asked(asked) if asked == id);
        self.texts.front().is_some_and(asked) || self.reports.contains_key(&id)
    }

    /// A report of this player went out.
    pub(crate) fn reported(&mut self, id: RequestId, player: PlayerId) {
        self.reports.insert(id, player);
    }

    /// Returns whether another report may go out: one waits for its answer at a time.
    pub(crate) fn may_report(&self) -> bool {
        self.reports.len() < MAX_WAITING
    }

    /// Returns the player that was reported by this request.
    pub(crate) fn take_report(&mut self, id: RequestId) -> Option<PlayerId> {
        self.reports.remove(&id)
    }

    /// The session is gone, and with it what was asked about others.
    pub(crate) fn take_reports(&mut self) -> impl Iterator<Item = PlayerId> + use<> {
        std::mem::take(&mut self.reports).into_values()
    }

    /// Ends the text that is on its way, and tells the game what became of it.
    pub(crate) fn end(&mut self, cx: &mut Cx<'_>, result: Result<ChatWay, RequestFailure>) {
        let Some(Text { number, to, text, any, all, .. }) = self.texts.pop_front() else { return };
        cx.emit(match result {
            Ok(by) => Event::ChatSent { number, to, text, by, all },
            // Some have it: they are not to read it twice, so it is not to be written again.
            Err(_) if any => Event::ChatSent { number, to, text, by: ChatWay::Connection, all: false },
            Err(why) => Event::ChatRefused { to, text, why },
        });
    }

    /// Ends the text that is on its way, which the server or this agent refuses.
    pub(crate) fn refuse(&mut self, cx: &mut Cx<'_>, why: ChatFault) {
        self.end(cx, Err(RequestFailure::Server(RequestError::Chat(why))));
    }

    /// Returns whether a text of this writer may be taken now: it is within the rate.
    pub(crate) fn may_write(&mut self, now: Instant, from: PlayerId) -> bool {
        if self.writers.len() >= MAX_WRITERS && !self.writers.contains_key(&from) {
            let full = |allowance: &Allowance| {
                now.saturating_duration_since(allowance.at).as_secs_f64() + allowance.left
                    >= Allowance::OTHERS
            };
            self.writers.retain(|_, allowance| !full(allowance));
            if self.writers.len() >= MAX_WRITERS {
                return false;
            }
        }
        let allowance = self.writers.entry(from).or_insert(Allowance { left: Allowance::OTHERS, at: now });
        allowance.take(now, Allowance::OTHERS).is_ok()
    }

    /// Returns what is known of a text that came before: none, it is new.
    pub(crate) fn seen(&self, from: PlayerId, number: u64) -> Option<Option<bool>> {
        self.seen.iter().find(|seen| seen.from == from && seen.number == number).map(|seen| seen.all)
    }

    /// Notes that a text has come.
    pub(crate) fn note(&mut self, from: PlayerId, number: u64, all: Option<bool>) {
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.from == from && seen.number == number) {
            seen.all = all;
            return;
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { from, number, all });
    }

    /// Begins to pass on a text. False: there are too many.
    pub(crate) fn pass_on(&mut self, passing: Passing) -> bool {
        let room = self.passing.len() < MAX_PASSING;
        if room {
            self.passing.push(passing);
        }
        room
    }

    /// Returns when something is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let text = self.texts.front().map(|text| match &text.stage {
            Stage::Begun => text.until,
            Stage::Between { next, end, .. } => *next.min(end),
            Stage::Server { at: Some(at) } => text.until.min(*at),
            Stage::Server { at: None } | Stage::Asked(_) => text.until,
        });
        let passing = self.passing.iter().map(|passing| passing.next.min(passing.end)).min();
        [text, passing].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_go_at_once_and_then_one_a_second_and_who_waits_is_told_for_how_long() {
        let now = Instant::now();
        let mut own = Allowance { left: Allowance::OWN, at: now };
        assert_eq!((0..9).filter(|_| own.take(now, Allowance::OWN).is_ok()).count(), 5);
        let later = now + Duration::from_millis(400);
        let wait = own.take(later, Allowance::OWN).unwrap_err();
        assert!(wait > Duration::from_millis(590) && wait <= Duration::from_millis(600), "{wait:?}");
        assert!(own.take(later + wait, Allowance::OWN).is_ok());
        assert!(own.take(now, Allowance::OWN).is_err(), "a clock that goes back gives nothing");
    }

    #[test]
    fn what_others_send_takes_no_more_memory_than_is_allowed() {
        let now = Instant::now();
        let mut chat = Chat::default();
        let id = |n: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            PlayerId(id)
        };
        for n in 0..100_000 {
            if chat.may_write(now, id(n)) {
                chat.note(id(n), 1, None);
            }
        }
        assert_eq!((chat.writers.len(), chat.seen.len()), (MAX_WRITERS, MAX_WRITERS));
        // One who has been silent makes room for another.
        assert!(chat.may_write(now + Duration::from_secs(9), id(1 << 20)));
        for number in 0..100_000 {
            chat.note(id(1), number, Some(true));
        }
        assert_eq!(chat.seen.len(), MAX_SEEN);
        assert_eq!(chat.seen(id(1), 99_999), Some(Some(true)));
    }
}
