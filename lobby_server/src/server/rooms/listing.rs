//! Lists of public rooms: what players ask for, and what other nodes' rooms are.
//!
//! A node keeps a catalogue of each game whose rooms somebody wants to see: its own rooms as they change, and those of other
//! nodes as the registry tells of them, once a second. So a question is answered here, whatever its conditions are, and Redis
//! hears nothing of it. A game that nobody has asked about for a while is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::nat::NatProfile;
use traversal_core::text::fold;
use traversal_core::wire::message::{MAX_LISTED, RequestError, Response, RoomQuery, RoomSummary};

use super::watching::Watching;
use super::wishes::{JoinWish, Pending};
use super::{Others, Rooms};
use crate::ids::{Asker, SessionId};
use crate::limits::{Bucket, PrefixLimiter, Rate};
use crate::listing::{Catalogue, LOOKS_PER_PAGE, Viewer, Views, page, told_rtt};
use crate::registry::{
    ChangeMark, Changes, HostReach, RegistryDown, RegistryOperation, RegistryReply, RoomRecord, Shown,
};
use crate::relay::RelayMode;
use crate::room::Room;
use crate::server::refusals::Refusal;
use crate::server::timers::Timer;

/// One address may have so many rooms looked at: a page costs up to 2,000 looks, so it is 25 of the dearest a second.
const LOOK_RATE: Rate = Rate::new(50_000.0, 200_000.0);
/// All together may have so many rooms looked at for their pages, which takes about a fifth of a core.
const ALL_LOOKS: Rate = Rate::new(1_000_000.0, 1_000_000.0);
/// The registry is asked so often what is new of other nodes' rooms.
const POLL: Duration = Duration::from_secs(1);
/// A game is forgotten when nobody has asked about its rooms for so long.
const IDLE: Duration = Duration::from_secs(120);
/// The rooms of so many games are kept at a time.
const MAX_GAMES: usize = 1024;
/// So many players wait for the rooms of other nodes.
const MAX_WAITING: usize = 1024;
/// So many rooms of a game are listed.
const MAX_ROOMS: usize = 100_000;

/// This is all that lists of rooms are made of.
pub(in crate::server) struct Listing {
    pub(super) games: BTreeMap<String, Game>,
    pub(super) watching: Watching,
    pub(super) views: Views,
    /// These other nodes are there.
    there: BTreeSet<u64>,
    looks: Bucket,
    look_limit: PrefixLimiter,
}

/// These are the rooms of a game.
pub(super) struct Game {
    pub(super) catalogue: Catalogue,
    /// Somebody has asked for them then.
    used: Instant,
    remote: Remote,
    /// These wait until all nodes' rooms are known.
    waiting: Vec<Waiting>,
}

/// This is asked for by somebody who waits.
enum Waiting {
    /// A page of a list.
    Page(Asker, RoomQuery),
    /// To enter the only public room.
    Only(JoinWish),
}

impl Waiting {
    fn asker(&self) -> Asker {
        match self {
            Self::Page(asker, _) => *asker,
            Self::Only(wish) => wish.asker,
        }
    }
}

/// This says how far the rooms of other nodes are known.
#[derive(Debug, Default)]
struct Remote {
    mark: ChangeMark,
    /// All were told once.
    whole: bool,
    /// The registry was asked, and has not answered.
    asked: bool,
    /// Another node has come since then: what was left out of its rooms is not in the answer.
    anew_wanted: bool,
    poll_at: Option<Instant>,
}

impl Listing {
    pub(super) fn new(limiter_key: [u8; 16], now: Instant) -> Self {
        Self {
            games: BTreeMap::new(),
            watching: Watching::default(),
            views: Views::default(),
            there: BTreeSet::new(),
            looks: Bucket::full(ALL_LOOKS, now),
            look_limit: PrefixLimiter::new(LOOK_RATE, limiter_key, now),
        }
    }

    /// Returns whether the rooms of this game may be looked at once more, for this address; it is counted if so.
    pub(super) fn may_look(&mut self, ip: IpAddr, now: Instant, game: &str) -> bool {
        let rooms = self.games.get(game).map_or(0, |game| game.catalogue.len());
        let cost = 10.0 + rooms.min(LOOKS_PER_PAGE) as f64;
        self.look_limit.allow_many(ip, now, cost) && self.looks.take_many(ALL_LOOKS, now, cost)
    }

    /// Makes place for another game: for one with rooms or without, whatever the names are that somebody has made up. Only
    /// what is watched or waited for stays.
    fn forget_one(&mut self) -> bool {
        let unused =
            |(name, game): &(&String, &Game)| game.waiting.is_empty() && !self.watching.watches(name);
        let worth = |(_, game): &(&String, &Game)| (game.catalogue.len() > 0, game.used);
        let Some(name) = self.games.iter().filter(unused).min_by_key(worth).map(|(name, _)| name.clone())
        else {
            return false;
        };
        self.games.remove(&name).is_some()
    }

    /// Returns when the registry is to be asked next.
    pub(super) fn next_poll(&self) -> Option<Instant> {
        self.games.values().filter_map(|game| game.remote.poll_at).min()
    }
}

/// Returns what others may be told by of a host's NAT, without what changes all the time and decides nothing.
fn lasting(nat: NatProfile) -> NatProfile {
    NatProfile {
        foreign_rate: None,
        timeout: None,
        timeout_below: None,
        hairpin: None,
        pooled: None,
        parity: None,
        ..nat
    }
}

impl Rooms {
    /// Returns the room as all nodes know it.
    pub(super) fn record_of(others: &Others<'_>, room: &Room) -> RoomRecord {
        let config = &others.cx.config;
        let host = others.roster.party(others.cx, room.host());
        let open_to_all = room.setup.options.auto_allow && room.setup.password.is_none();
        let reach = |host: &crate::matchmaking::Party| HostReach {
            nat: lasting(host.nat),
            v6: host.public.is_ipv6(),
            relay_only: host.relay_only,
        };
        let summary = RoomSummary {
            region: config.region.clone(),
            rtt_ms: host.as_ref().and_then(|host| host.timing.rtt()).map(told_rtt),
            ..room.summary()
        };
        let age = others.cx.now.saturating_duration_since(room.opened_at).as_secs();
        let shown = Shown {
            summary,
            opened_s: others.cx.calendar().saturating_sub(age),
            host: host.as_ref().filter(|_| open_to_all).map(reach),
            properties: room.shared.listed(),
        };
        RoomRecord {
            location: room.location(config.node),
            epoch: room.epoch,
            game: room.setup.game.clone(),
            public: room.setup.options.public,
            shown,
        }
    }

    /// Puts a room of this node into its list, as it is now, or takes it out.
    pub(super) fn list_room(&mut self, record: &RoomRecord) {
        let Some(game) = self.listing.games.get_mut(&record.game) else { return };
        if record.public {
            game.catalogue.put(record.location.node, record.shown.clone());
        } else {
            self.unlist_room(&record.game, record.location.node, &record.shown.summary.name);
        }
    }

    /// A room of this node is gone.
    pub(super) fn unlist_room(&mut self, game: &str, node: u64, name: &str) {
        if let Some(game) = self.listing.games.get_mut(game) {
            game.catalogue.remove(|its| its == node, &fold(name));
        }
    }

    /// More is known of how a player can be reached: where it hosts a room, others are told by it.
    pub(in crate::server) fn host_reach_changed(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let hosted = others.roster.present_room(player).filter(|id| {
            self.rooms
                .get(id)
                .is_some_and(|room| room.host() == player && room.is_open() && room.setup.options.public)
        });
        if let Some(id) = hosted {
            self.update_record(others, id);
        }
    }

    /// Returns the player of this session as one who looks at rooms.
    pub(super) fn viewer(&mut self, others: &Others<'_>, player: PlayerId) -> Option<Viewer> {
        let party = others.roster.party(others.cx, player)?;
        let protocol = others.roster.client_of(player)?.login().game_protocol;
        let nat = self.listing.views.nat(others.cx.now, party.public.ip(), lasting(party.nat));
        Some(Viewer {
            nat,
            v6: party.public.is_ipv6(),
            relay_only: party.relay_only,
            relay: others.roster.relay_mode(others.cx, player) != RelayMode::Never,
            rtt: party.timing.rtt(),
            protocol,
            region: others.cx.config.region.clone(),
            now_s: others.cx.calendar(),
        })
    }

    /// Returns the game that this session's player plays.
    pub(super) fn game_of_session(others: &Others<'_>, id: SessionId) -> Option<String> {
        others.roster.client(id).map(|client| String::from(client.login().game()))
    }

    /// Begins to keep the rooms of a game, if that is not done yet. False: too many games are asked for.
    pub(super) fn open_game(&mut self, others: &mut Others<'_>, name: &str) -> bool {
        let now = others.cx.now;
        if let Some(game) = self.listing.games.get_mut(name) {
            game.used = now;
            return true;
        }
        if self.listing.games.len() >= MAX_GAMES && !self.listing.forget_one() {
            return false;
        }
        let mut catalogue = Catalogue::new(&others.cx.config.region);
        let own = self.rooms.values().filter(|room| room.is_open() && room.setup.options.public);
        for room in own.filter(|room| room.setup.game == name) {
            let record = Self::record_of(others, room);
            catalogue.put(record.location.node, record.shown);
        }
        let game = Game { catalogue, used: now, remote: Remote::default(), waiting: Vec::new() };
        self.listing.games.insert(name.into(), game);
        self.poll_game(others, name);
        self.set_listing_timer(others);
        true
    }

    /// A player asks for a page of rooms.
    pub(super) fn list(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        query: RoomQuery,
    ) -> Result<Option<Response>, RequestError> {
        let query = query.checked(MAX_LISTED)?;
        let limited = |others: &mut Others<'_>, retry_after_s| {
            others.cx.counters.limit(Refusal::ListRate);
            Err(RequestError::Limited { retry_after_s })
        };
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let (ip, game) = (client.ip(), String::from(client.login().game()));
        if !self.open_game(others, &game) {
            return limited(others, 10);
        }
        let now = others.cx.now;
        let listing = &mut self.listing;
        if !listing.may_look(ip, now, &game) {
            return limited(others, 1);
        }
        let Some(kept) = listing.games.get_mut(&game) else { return limited(others, 10) };
        if kept.remote.whole || listing.there.is_empty() {
            return Ok(self.page(others, asker, &game, &query));
        }
        if kept.waiting.len() >= MAX_WAITING {
            return limited(others, 1);
        }
        self.wait_for_rooms(others, &game, Waiting::Page(asker, query));
        Ok(None)
    }

    /// A player wants to enter the only public room of its game.
    pub(super) fn find_only_room(&mut self, others: &mut Others<'_>, name: &str, wish: JoinWish) {
        let opened = self.open_game(others, name);
        let listing = &self.listing;
        match listing.games.get(name).filter(|_| opened) {
            Some(game) if game.remote.whole || listing.there.is_empty() => {
                let (count, first) = game.catalogue.first();
                self.only_room(others, wish, count, first);
            }
            Some(game) if game.waiting.len() < MAX_WAITING => {
                self.wait_for_rooms(others, name, Waiting::Only(wish));
            }
            _ => others.respond(wish.asker, Err(RequestError::Limited { retry_after_s: 1 })),
        }
    }

    fn wait_for_rooms(&mut self, others: &mut Others<'_>, name: &str, waiting: Waiting) {
        let Some(game) = self.listing.games.get_mut(name) else { return };
        game.waiting.push(waiting);
        if !game.remote.asked {
            self.poll_game(others, name);
        }
    }

    fn page(&mut self, others: &Others<'_>, asker: Asker, game: &str, query: &RoomQuery) -> Option<Response> {
        let viewer = self.viewer(others, asker.player)?;
        let page = page(&self.listing.games.get(game)?.catalogue, query, &viewer);
        Some(Response::Rooms { rooms: page.rooms, next: page.next })
    }

    /// Asks the registry what is new of a game's rooms at other nodes, if there are any.
    fn poll_game(&mut self, others: &mut Others<'_>, name: &str) {
        let alone = self.listing.there.is_empty();
        let Some(game) = self.listing.games.get_mut(name) else { return };
        game.remote.poll_at = (!alone).then(|| others.cx.now + POLL);
        if alone || game.remote.asked {
            return;
        }
        game.remote.asked = true;
        let changes = RegistryOperation::Changes { game: name.into(), since: game.remote.mark };
        self.ask_registry(others, changes, Pending::Changes(name.into()));
        self.set_listing_timer(others);
    }

    /// Takes what is new of other nodes' rooms.
    pub(super) fn take_changes(
        &mut self,
        others: &mut Others<'_>,
        name: &str,
        reply: Result<RegistryReply, RegistryDown>,
    ) {
        let own = others.cx.config.node;
        let Some(game) = self.listing.games.get_mut(name) else { return };
        game.remote.asked = false;
        let anew_wanted = std::mem::take(&mut game.remote.anew_wanted);
        let Ok(RegistryReply::Changes(changes)) = reply else {
            // What is known is shown on; who has waited for the others' hears that they are not known.
            if !game.remote.whole {
                for waiting in std::mem::take(&mut game.waiting) {
                    others.respond(waiting.asker(), Err(RequestError::RegistryUnavailable));
                }
            }
            return;
        };
        let Changes { anew, rooms, gone, more, mark } = changes;
        if anew {
            game.catalogue.keep(|node| node == own);
        }
        for name in gone {
            game.catalogue.remove(|node| node != own, &name);
        }
        for (node, shown) in rooms.into_iter().filter(|(node, _)| self.listing.there.contains(node)) {
            let known = game.catalogue.entry(&fold(&shown.summary.name));
            // Of a room that has just come here the other node's word is old.
            if known.is_some_and(|known| known.node != own)
                || known.is_none() && game.catalogue.len() < MAX_ROOMS
            {
                game.catalogue.put(node, shown);
            }
        }
        game.remote.mark = if anew_wanted { ChangeMark::default() } else { mark };
        if more || anew_wanted {
            self.poll_game(others, name);
            return;
        }
        game.remote.whole = true;
        let (count, first) = game.catalogue.first();
        for waiting in std::mem::take(&mut game.waiting) {
            match waiting {
                Waiting::Page(asker, query) => {
                    if let Some(page) = self.page(others, asker, name, &query) {
                        others.respond(asker, Ok(page));
                    }
                }
                Waiting::Only(wish) => self.only_room(others, wish, count, first.clone()),
            }
        }
    }

    /// These other nodes are there: rooms of others cannot be entered now.
    pub(in crate::server) fn nodes_are(&mut self, others: &mut Others<'_>, there: BTreeSet<u64>) {
        if there == self.listing.there {
            return;
        }
        let own = others.cx.config.node;
        let new = !there.is_subset(&self.listing.there);
        self.listing.there = there;
        let games: Vec<String> = self.listing.games.keys().cloned().collect();
        for name in games {
            let listing = &mut self.listing;
            let Some(game) = listing.games.get_mut(&name) else { continue };
            game.catalogue.keep(|node| node == own || listing.there.contains(&node));
            if new {
                // Its rooms were told before, and left out.
                game.remote.mark = ChangeMark::default();
                game.remote.anew_wanted = game.remote.asked;
            }
            self.poll_game(others, &name);
        }
    }

    /// Asks about the games that are due, and forgets those that nobody asks about.
    pub(super) fn poll_games(&mut self, others: &mut Others<'_>) {
        let now = others.cx.now;
        let due = |game: &Game| game.remote.poll_at.is_some_and(|at| at <= now);
        let games: Vec<String> =
            self.listing.games.iter().filter(|(_, game)| due(game)).map(|(name, _)| name.clone()).collect();
        for name in games {
            self.poll_game(others, &name);
        }
        self.listing.forget_idle(now);
    }

    /// Sets the timer of lists: for the next question to the registry, or the next news for somebody who watches.
    pub(super) fn set_listing_timer(&self, others: &mut Others<'_>) {
        let idle = self.listing.games.values().map(|game| game.used + IDLE).min();
        let next = self.listing.next_poll().into_iter().chain(self.listing.watching.next_due()).chain(idle);
        others.cx.timers.set(Timer::Listing, next.min());
    }
}

impl Listing {
    /// Forgets the games that nobody has asked about for a while, but for those that somebody watches.
    fn forget_idle(&mut self, now: Instant) {
        let Self { games, watching, .. } = self;
        for (name, game) in games.iter_mut() {
            if watching.watches(name) {
                game.used = now;
            }
        }
        games.retain(|_, game| now.saturating_duration_since(game.used) < IDLE || !game.waiting.is_empty());
    }
}
