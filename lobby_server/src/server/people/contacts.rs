//! Whom each player allows, and what follows when it allows others, changes, comes or goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{CONTACTS_PER_PART, ContactsRequest, Presence, RequestError, Status};

use super::post::{Envelope, Post, Word};
use super::{Around, timer};
use crate::ids::Asker;
use crate::limits::{Bucket, PrefixLimiter, Rate, RecentLimiter};
use crate::registry::MAX_POSTED;
use crate::server::context::Context;
use crate::server::refusals::Refusal;
use crate::server::timers::Timer;

/// A player's changes are told to its contacts at this rate: each costs as much as it has contacts. With 50 of them that is
/// four a second, and with 1,000 one in five seconds.
const NOTES: Rate = Rate::new(200.0, 4_000.0);
/// Lists from one address (see [`nested`](crate::limits::nested)) come at this rate: each costs as much as it has new contacts.
/// Forty players with 1,000 contacts each log in at once, and two a second.
const LISTS: Rate = Rate::new(2_000.0, 40_000.0);
/// A player is told of its contacts at this rate, some 30 of them in one message: all of 1,000 within four seconds.
pub(super) const PUSHES: Rate = Rate::new(5.0, 20.0);
/// A change that is over the rate is told so much later.
const LATER: Duration = Duration::from_secs(1);
/// Contacts are told anew by so many words at once, see [`RESYNC_EVERY`]. The last player's words may be more.
const RESYNC_AT_ONCE: usize = 64;
/// 1,280 words a second tell anew, each of which is a script of the registry for 60 contacts: 1,280 players with so few of them,
/// or 75 with 1,000.
const RESYNC_EVERY: Duration = Duration::from_millis(50);
/// Whom nobody confirms within this is off line: the answer takes a second where the registry does well.
const CONFIRMED: Duration = Duration::from_secs(5);
/// So many callers that were refused are remembered for one player.
const MAX_REFUSED: usize = 256;

/// This is what is known of a contact that is on line.
#[derive(Debug)]
pub(super) struct Known {
    /// It is at this node.
    pub(super) node: u64,
    pub(super) state: Arc<Presence>,
}

/// This is what a player who is here has to do with contacts.
pub(super) struct Entry {
    pub(super) game: String,
    pub(super) allows: BTreeSet<PlayerId>,
    /// Parts of a new list have come.
    coming: Option<BTreeSet<PlayerId>>,
    /// The list is whole: before that, nobody is told anything.
    listed: bool,
    status: Status,
    /// This is what contacts were told last.
    told: Option<Presence>,
    /// These contacts allow this player, too, and are on line.
    pub(super) known: BTreeMap<PlayerId, Known>,
    /// The player was told this of them.
    pub(super) shown: BTreeMap<PlayerId, Arc<Presence>>,
    /// Of these the player is to be told anew.
    pub(super) news: BTreeSet<PlayerId>,
    notes: Bucket,
    pub(super) pushes: Bucket,
    /// These have to be confirmed until then.
    pub(super) unsure: Option<(Instant, BTreeSet<PlayerId>)>,
    rings: [Bucket; 2],
    refused: BTreeMap<PlayerId, Instant>,
}

impl Entry {
    fn new(game: &str, now: Instant) -> Self {
        let bucket = Bucket::of_any_rate(now);
        Self {
            game: game.into(),
            allows: BTreeSet::new(),
            coming: None,
            listed: false,
            status: Status::default(),
            told: None,
            known: BTreeMap::new(),
            shown: BTreeMap::new(),
            news: BTreeSet::new(),
            notes: bucket,
            pushes: bucket,
            unsure: None,
            rings: [bucket; 2],
            refused: BTreeMap::new(),
        }
    }

    /// Returns what contacts are to know, once the list is whole.
    pub(super) fn told(&self) -> Option<&Presence> {
        self.told.as_ref().filter(|_| self.listed)
    }
}

/// This owner has the lists of the players who are here.
pub(super) struct Contacts {
    pub(super) entries: BTreeMap<PlayerId, Box<Entry>>,
    /// All lists together have so many contacts.
    total: usize,
    /// There is news of these players' contacts.
    pub(super) unflushed: BTreeSet<PlayerId>,
    lists: PrefixLimiter,
    /// Calls of one player, and of one player to another.
    callers: (RecentLimiter<PlayerId>, RecentLimiter<(PlayerId, PlayerId)>),
    /// All are told anew; this one comes next.
    resync: Option<PlayerId>,
    /// The registry did not take what these players' contacts were told: it is told again.
    again: BTreeSet<PlayerId>,
}

impl Contacts {
    pub(super) fn new(key: [u8; 16], now: Instant) -> Self {
        let callers = (Rate::new(0.2, 5.0), Rate::new(0.05, 3.0));
        Self {
            entries: BTreeMap::new(),
            total: 0,
            unflushed: BTreeSet::new(),
            lists: PrefixLimiter::new(LISTS, key, now),
            callers: (RecentLimiter::new(callers.0), RecentLimiter::new(callers.1)),
            resync: None,
            again: BTreeSet::new(),
        }
    }

    /// Takes what a player says of its contacts.
    pub(super) fn request(
        &mut self,
        around: &mut Around<'_>,
        post: &mut Post,
        asker: Asker,
        request: ContactsRequest,
    ) -> Result<(), RequestError> {
        let now = around.cx.now;
        let client = around.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let (ip, game) = (client.ip(), client.login().game());
        let entry = self.entries.entry(asker.player).or_insert_with(|| Box::new(Entry::new(game, now)));
        match request {
            ContactsRequest::Part { first, last, allow } => {
                if allow.len() > CONTACTS_PER_PART {
                    return Err(RequestError::Malformed { what: "part of a list of contacts".into() });
                }
                if first {
                    entry.coming = Some(BTreeSet::new());
                }
                let Some(coming) = &mut entry.coming else {
                    return Err(RequestError::Malformed { what: "first part of a list of contacts".into() });
                };
                coming.extend(allow.into_iter().filter(|player| *player != asker.player));
                if coming.len() > around.cx.config.max_contacts {
                    entry.coming = None;
                    return Err(too_many(around.cx));
                }
                if last {
                    let list = coming.clone();
                    self.set_list(around, post, (asker.player, ip), list)?;
                }
            }
            ContactsRequest::Allow { player, allow } => {
                let allow = allow && player != asker.player;
                if entry.listed && entry.allows.contains(&player) == allow {
                    return Ok(());
                }
                let mut list = entry.allows.clone();
                if allow {
                    list.insert(player);
                } else {
                    list.remove(&player);
                }
                // Who has more than a limit that was lowered may take some off.
                if list.len() > around.cx.config.max_contacts.max(entry.allows.len()) {
                    return Err(too_many(around.cx));
                }
                self.set_list(around, post, (asker.player, ip), list)?;
            }
            ContactsRequest::Status(status) => {
                entry.status = status.checked()?;
                self.refresh(around, post, asker.player);
            }
            _ => return Err(RequestError::Malformed { what: "request".into() }),
        }
        Ok(())
    }

    /// A player allows these from now on. Who is new on the list is told, and who is not on it any more.
    fn set_list(
        &mut self,
        around: &mut Around<'_>,
        post: &mut Post,
        (player, ip): (PlayerId, IpAddr),
        list: BTreeSet<PlayerId>,
    ) -> Result<(), RequestError> {
        let now = around.cx.now;
        let Some(entry) = self.entries.get_mut(&player) else { return Ok(()) };
        let added: Vec<PlayerId> = list.difference(&entry.allows).copied().collect();
        let removed: Vec<PlayerId> = entry.allows.difference(&list).copied().collect();
        // To go through the list costs something even where nothing of it has changed.
        let cost = (added.len() + removed.len()) as f64 + (list.len() / 16) as f64;
        if !self.lists.allow_many(ip, now, cost) {
            around.cx.counters.limit(Refusal::ContactsRate);
            return Err(RequestError::Limited { retry_after_s: 5 });
        }
        self.total = self.total + added.len() - removed.len();
        (entry.coming, entry.listed, entry.allows) = (None, true, list);
        for contact in &removed {
            entry.known.remove(contact);
        }
        // A new session has been told of nobody.
        entry.news.extend(entry.known.keys().chain(entry.shown.keys()).copied());
        let game = entry.game.clone();
        let first = entry.told.is_none();
        let state = entry.told.get_or_insert_with(|| presence_of(around, player, &entry.status)).clone();
        let envelope = |to, word| Envelope { game: game.clone(), from: player, word, to, far_only: false };
        post.push(envelope(removed, Word::Presence { state: None, answer: false }));
        post.push(envelope(added, Word::Presence { state: Some(state), answer: true }));
        self.unflushed.insert(player);
        if !first {
            self.refresh(around, post, player);
        }
        Ok(())
    }

    /// Tells a player's contacts how it is now, if that is news.
    pub(super) fn refresh(&mut self, around: &mut Around<'_>, post: &mut Post, player: PlayerId) {
        let now = around.cx.now;
        let Some(entry) = self.entries.get_mut(&player).filter(|entry| entry.listed) else { return };
        let state = presence_of(around, player, &entry.status);
        if entry.told.as_ref() == Some(&state) {
            return;
        }
        if !entry.notes.take_many(NOTES, now, entry.allows.len() as f64) {
            around.cx.timers.set_earlier(timer(player), now + LATER);
            return;
        }
        entry.told = Some(state.clone());
        let word = Word::Presence { state: Some(state), answer: false };
        let to = entry.allows.iter().copied().collect();
        post.push(Envelope { game: entry.game.clone(), from: player, word, to, far_only: false });
    }

    /// Returns the game of a player who has contacts.
    pub(super) fn game_of(&self, player: PlayerId) -> Option<&str> {
        self.entries.get(&player).map(|entry| entry.game.as_str())
    }

    /// A player has logged in anew: it sends its list again, and has been told nothing.
    pub(super) fn logged_in(&mut self, player: PlayerId) {
        if let Some(entry) = self.entries.get_mut(&player) {
            // The new session says it anew, unless it is as it is without a word.
            entry.status = Status::default();
            entry.coming = None;
            entry.shown.clear();
            entry.news.clear();
        }
    }

    /// A player is off line, or at another node.
    pub(super) fn gone(&mut self, cx: &mut Context, post: &mut Post, player: PlayerId) {
        let Some(entry) = self.entries.remove(&player) else { return };
        self.again.remove(&player);
        cx.timers.set(timer(player), None);
        self.total -= entry.allows.len();
        if entry.listed {
            let to = entry.allows.into_iter().collect();
            let word = Word::Presence { state: None, answer: false };
            post.push(Envelope { game: entry.game, from: player, word, to, far_only: false });
        }
    }

    /// What was put off about a player is due.
    pub(super) fn timeout(&mut self, around: &mut Around<'_>, post: &mut Post, player: PlayerId) {
        self.refresh(around, post, player);
        self.doubt(around.cx.now, player);
        self.unflushed.insert(player);
    }

    /// All players who are here tell their contacts at other nodes anew how they are.
    pub(super) fn resync(&mut self, cx: &mut Context) {
        self.resync = Some(PlayerId([0; 16]));
        cx.timers.set(Timer::Resync, Some(cx.now + RESYNC_EVERY));
    }

    /// The registry did not take what these players' contacts were told: they are told in turn.
    pub(super) fn tell_again(&mut self, cx: &mut Context, players: BTreeSet<PlayerId>) {
        self.again.extend(players.into_iter().filter(|player| self.entries.contains_key(player)));
        if !self.again.is_empty() && !cx.timers.is_set(Timer::Resync) {
            cx.timers.set(Timer::Resync, Some(cx.now + RESYNC_EVERY));
        }
    }

    /// Tells the next players' contacts anew.
    pub(super) fn resync_some(&mut self, around: &mut Around<'_>, post: &mut Post) {
        let (now, own) = (around.cx.now, around.cx.config.node);
        let mut words = 0;
        while words < RESYNC_AT_ONCE
            && let Some(player) = self.again.pop_first()
        {
            words += self.tell_far(post, player);
        }
        while words < RESYNC_AT_ONCE
            && let Some(from) = self.resync.take()
        {
            let mut next = self.entries.range(from..).map(|(player, _)| *player);
            let Some(player) = next.next() else { break };
            self.resync = next.next();
            words += self.tell_far(post, player);
            let Some(entry) = self.entries.get_mut(&player) else { continue };
            let far = entry.known.iter().filter(|(_, known)| known.node != own);
            let far: BTreeSet<PlayerId> = far.map(|(contact, _)| *contact).collect();
            if !far.is_empty() {
                entry.unsure = Some((now + CONFIRMED, far));
                around.cx.timers.set_earlier(timer(player), now + CONFIRMED);
            }
        }
        if self.resync.is_some() || !self.again.is_empty() {
            around.cx.timers.set(Timer::Resync, Some(now + RESYNC_EVERY));
        }
    }

    /// Tells a player's contacts at other nodes how it is, and asks how they are. Returns how many words that takes, at least
    /// one: the look at a player takes time, too.
    fn tell_far(&self, post: &mut Post, player: PlayerId) -> usize {
        let Some(entry) = self.entries.get(&player) else { return 1 };
        if let Some(state) = entry.told() {
            let word = Word::Presence { state: Some(state.clone()), answer: true };
            let to = entry.allows.iter().copied().collect();
            post.push(Envelope { game: entry.game.clone(), from: player, word, to, far_only: true });
        }
        entry.allows.len().div_ceil(MAX_POSTED).max(1)
    }

    /// Returns whether a caller may call this player now, whoever that is.
    pub(super) fn may_call(
        &mut self,
        now: Instant,
        caller: PlayerId,
        callee: PlayerId,
    ) -> Result<(), RequestError> {
        let limited = |retry_after_s| Err(RequestError::Limited { retry_after_s });
        // The caller's own comes first: it bounds how many pairs there are.
        if !self.callers.0.allow(caller, now) {
            return limited(5);
        }
        if !self.callers.1.allow((caller, callee), now) {
            return limited(20);
        }
        Ok(())
    }

    /// Returns whether the caller is a contact of this player, if it may call it.
    pub(super) fn lets_ring(&self, game: &str, callee: PlayerId, caller: PlayerId) -> Option<bool> {
        let entry = self.entries.get(&callee).filter(|entry| entry.game == game)?;
        match entry.allows.contains(&caller) {
            true => Some(true),
            false => entry.status.strangers_ring.then_some(false),
        }
    }

    /// Returns whether it rings at this player not too often; it is counted if not.
    pub(super) fn take_ring(&mut self, cx: &mut Context, callee: PlayerId, contact: bool) -> bool {
        let Some(entry) = self.entries.get_mut(&callee) else { return true };
        let rate = if contact { cx.config.ring_rate } else { cx.config.stranger_ring_rate };
        let taken = entry.rings[usize::from(contact)].take(rate, cx.now);
        if !taken {
            cx.counters.limit(Refusal::RingRate);
        }
        taken
    }

    /// Counts the players with a list, and the contacts on all lists.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.entries.len(), self.total)
    }

    /// Notes that a player has refused a caller, who is to wait until then.
    pub(super) fn refuse(&mut self, now: Instant, callee: PlayerId, caller: PlayerId, until: Instant) {
        let Some(entry) = self.entries.get_mut(&callee) else { return };
        entry.refused.retain(|_, until| *until > now);
        if entry.refused.len() < MAX_REFUSED {
            entry.refused.insert(caller, until);
        }
    }

    /// Returns how long a caller is to wait that was refused.
    pub(super) fn refused_for(&self, now: Instant, callee: PlayerId, caller: PlayerId) -> Option<Duration> {
        let until = self.entries.get(&callee)?.refused.get(&caller)?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

fn too_many(cx: &mut Context) -> RequestError {
    cx.counters.limit(Refusal::ContactsFull);
    RequestError::TooManyContacts { limit: u16::try_from(cx.config.max_contacts).unwrap_or(u16::MAX) }
}

/// Returns what contacts may know of a player who is here.
fn presence_of(around: &Around<'_>, player: PlayerId, status: &Status) -> Presence {
    let name = around.roster.session_of(player).map(|session| around.roster.name_of(session));
    let room = around.roster.present_room(player).filter(|_| !status.hide_room);
    Presence {
        name: name.unwrap_or_default(),
        room: room.and_then(|room| around.rooms.room_name(room)),
        playing: status.playing,
        away: status.away,
        text: status.text.clone(),
    }
}
