//! The roster: who is logged in, by which session, from where, and what of each player is known.
//!
//! Nobody else touches a session. What a datagram means for rooms and matches comes back to the dispatcher, which tells
//! their owners.

mod busy;
mod client;
mod families;
mod frames;
mod knocks;
mod login;
mod mapped_ports;
mod membership;
mod moving;
mod party;
mod probes;
mod said;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use traversal_core::Identity;
use traversal_core::id::PlayerId;
use traversal_core::wire::handshake::ServerHandshake;
use traversal_core::wire::message::{Farewell, Frame, ToPlayer};
use traversal_core::wire::port_report::ReportKey;
use traversal_core::wire::secret::MacKey;

use super::context::Context;
use super::games::GameSlot;
use super::sockets::ServerSocketId;
use super::timers::Timer;
use crate::bans::Bans;
use crate::census::Census;
use crate::config::ServerConfig;
use crate::ids::SessionId;
use crate::limits::{PortTurns, PrefixLimiter, Rate};
use crate::tokens::Tokens;
pub(super) use client::Client;
use client::Player;
use login::RecentInits;
pub(super) use probes::{ProbeSeen, Prober};
use said::Games;
use tokens::AskedTokens;

/// Cookies go out at this rate to the ports of one address that asks for more than [`ServerConfig::hello_rate`], each
/// in its turn. With it no address gets more than 200 kB a second, whoever pretends to be there.
const HELLO_TURNS: Rate = Rate::new(2048.0, 2048.0);

/// Players at an address that is banned hear why at this rate; what else comes from there costs nothing.
const BANNED_RATE: Rate = Rate::new(0.2, 5.0);

/// Who was heard within this comes before who was not: members keep alive every 4 s.
const FRESH: Duration = Duration::from_secs(6);

/// No sign of life is waited for longer than that, whatever a player's answers pretend of its distance: two answers over
/// the longest round trip that a login is for (5 s).
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// This owner has sessions and players, with the limits of logins.
pub(super) struct Roster {
    handshake: ServerHandshake,
    tokens: Tokens,
    asked: AskedTokens,
    /// These may not log in.
    pub(super) bans: Bans,
    /// Limits the logins from addresses that are banned: each of them is told why, and a handshake is dear.
    banned_limit: PrefixLimiter,
    /// They are large, and the nodes of a tree are a third empty.
    sessions: BTreeMap<SessionId, Box<Client>>,
    players: BTreeMap<PlayerId, Player>,
    /// These players came into a room, left one, or are gone.
    moved: BTreeSet<PlayerId>,
    census: Census,
    games: Games,
    inits: RecentInits,
    /// These sessions have something to send, or their timer may have changed.
    dirty: BTreeSet<SessionId>,
    /// There was a handshake since entropy was mixed in.
    handshakes: bool,
    /// Makes what proves a report of a port.
    report_key: ReportKey,
    /// Makes what proves an address.
    path_key: MacKey,
    hello_limit: PrefixLimiter,
    hello_turns: (PortTurns, PrefixLimiter),
    /// Limits the answers to sealed datagrams of sessions that are not known.
    unknown_limit: PrefixLimiter,
    login_limit: PrefixLimiter,
    mapped_port_limit: PrefixLimiter,
}

/// These are the secrets that the roster works with, drawn at the server's start.
pub(super) struct RosterKeys {
    pub(super) cookie: [u8; 32],
    pub(super) report: [u8; 32],
    pub(super) path: [u8; 32],
    pub(super) limiter: [u8; 16],
}

impl Roster {
    pub(super) fn new(config: &ServerConfig, identity: Identity, keys: RosterKeys, now: Instant) -> Self {
        let limit = |rate| PrefixLimiter::new(rate, keys.limiter, now);
        Self {
            handshake: ServerHandshake::new(identity, keys.cookie, now),
            tokens: Tokens::Nobody,
            asked: AskedTokens::default(),
            bans: Bans::default(),
            banned_limit: limit(BANNED_RATE),
            sessions: BTreeMap::new(),
            players: BTreeMap::new(),
            moved: BTreeSet::new(),
            census: Census::default(),
            games: Games::default(),
            inits: RecentInits::default(),
            dirty: BTreeSet::new(),
            handshakes: false,
            report_key: ReportKey::new(keys.report),
            path_key: MacKey::new(keys.path),
            hello_limit: limit(config.hello_rate),
            hello_turns: (PortTurns::new(keys.limiter, now), limit(HELLO_TURNS)),
            unknown_limit: limit(config.hello_rate),
            login_limit: limit(config.login_rate),
            mapped_port_limit: limit(config.mapped_port_rate),
        }
    }

    /// Returns the server's lasting key.
    pub(crate) fn identity(&self) -> &Identity {
        self.handshake.identity()
    }

    /// Returns whether there was a handshake since entropy was mixed in.
    pub(crate) fn wants_new_entropy(&self) -> bool {
        self.handshakes
    }

    /// Notes that entropy was mixed in.
    pub(crate) fn has_entropy(&mut self) {
        self.handshakes = false;
    }

    /// Says how every login's token is checked.
    pub(crate) fn check_tokens(&mut self, tokens: Tokens) {
        self.tokens = tokens;
    }

    /// Returns whether there is no session, half-open ones aside.
    pub(crate) fn is_empty(&self) -> bool {
        self.players.is_empty()
    }

    /// Returns all players who are logged in.
    pub(crate) fn player_ids(&self) -> Vec<PlayerId> {
        self.players.keys().copied().collect()
    }

    /// Returns the sessions of players who are in no room, nor on their way into one.
    pub(crate) fn idle_sessions(&self) -> Vec<SessionId> {
        let idle = |player: &&Player| player.membership.room().is_none() && player.busy.is_none();
        self.players.values().filter(idle).map(|player| player.session).collect()
    }

    /// Sends a session this, once, at once.
    pub(crate) fn say(&mut self, cx: &mut Context, id: SessionId, frame: &Frame<ToPlayer>) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        client.session.send_once(cx.now, frame);
        self.hand_over_datagrams(cx, id);
    }

    /// Returns whether a player is logged in over this connection.
    pub(crate) fn has_way(&self, socket: ServerSocketId, peer: SocketAddr) -> bool {
        self.census.has_stream(socket, peer)
    }

    /// Returns a session that has something to send, or whose timer may have changed, since it came last.
    pub(crate) fn pop_unsettled(&mut self) -> Option<SessionId> {
        self.dirty.pop_first()
    }

    /// Returns how many players are logged in.
    pub(crate) fn player_count(&self) -> usize {
        self.players.len()
    }

    /// Returns a session, which may be one that is not confirmed yet.
    pub(crate) fn client(&self, id: SessionId) -> Option<&Client> {
        self.sessions.get(&id).map(Box::as_ref)
    }

    /// Returns the session of a player who is here.
    pub(crate) fn client_of(&self, player: PlayerId) -> Option<&Client> {
        self.client(self.session_of(player)?)
    }

    /// Returns where the game of this player is counted.
    pub(crate) fn game_of(&self, player: PlayerId) -> GameSlot {
        self.client_of(player).map_or(GameSlot::OTHERS, Client::game)
    }

    /// Returns the name that this session's player goes by.
    pub(crate) fn name_of(&self, id: SessionId) -> String {
        self.client(id).map(|client| String::from(client.login.name())).unwrap_or_default()
    }

    /// Returns when something came from where this session is proven to be.
    pub(crate) fn last_heard(&self, id: SessionId) -> Option<Instant> {
        self.client(id).map(|client| client.session.last_heard())
    }

    /// Returns the player of this session, if it is the player's present one.
    pub(crate) fn player_in(&self, id: SessionId) -> Option<PlayerId> {
        self.player_of(id).filter(|player| self.session_of(*player) == Some(id))
    }

    /// Whose session this is.
    pub(crate) fn player_of(&self, id: SessionId) -> Option<PlayerId> {
        self.sessions.get(&id).map(|client| client.player)
    }

    /// Returns the session of a player who is here.
    pub(crate) fn session_of(&self, player: PlayerId) -> Option<SessionId> {
        self.players.get(&player).map(|player| player.session)
    }

    /// Forgets a session.
    pub(crate) fn forget_client(&mut self, cx: &mut Context, id: SessionId) {
        let Some(client) = self.sessions.remove(&id) else { return };
        if let Some(slot) = client.game {
            cx.games.at(slot).sessions -= 1;
        }
        self.census.leave(id);
        cx.timers.set(Timer::Session(id), None);
        self.dirty.remove(&id);
    }

    /// Notes that a player is not here any more.
    pub(crate) fn forget_player(&mut self, player: PlayerId) {
        self.players.remove(&player);
        self.moved.insert(player);
    }

    /// Says goodbye to every player.
    pub(crate) fn say_goodbye(&mut self, cx: &Context, reason: &str) {
        for (id, client) in &mut self.sessions {
            let goodbye = Frame::Goodbye { reason: reason.into(), why: Farewell::Leaving };
            client.session.send_once(cx.now, &goodbye);
            self.dirty.insert(*id);
        }
    }

    /// Sets the timer of a session that may be silent for so long.
    pub(crate) fn set_session_timer(&mut self, cx: &mut Context, id: SessionId, silence: Duration) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let silent = client.session.last_heard() + silence;
        let due = client.session.poll_timeout().map_or(silent, |due| due.min(silent));
        cx.timers.set(Timer::Session(id), Some(due));
    }

    /// Moves what a session has to send to the outputs.
    pub(crate) fn hand_over_datagrams(&mut self, cx: &mut Context, id: SessionId) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        while let Some(datagram) = client.session.poll_datagram() {
            cx.hand_out(client.route, datagram);
        }
    }

    /// Returns whether something came from a player within the last seconds.
    pub(crate) fn is_fresh(&self, cx: &Context, player: PlayerId) -> bool {
        let client = self.client_of(player);
        client.is_some_and(|client| cx.now.saturating_duration_since(client.session.last_heard()) < FRESH)
    }

    /// Returns a wait for answers of these sessions: it is made for usual networks, and longer where one of them is far
    /// away.
    pub(crate) fn wait_for(
        &self,
        usual: Duration,
        sessions: impl IntoIterator<Item = SessionId>,
    ) -> Duration {
        let clients = sessions.into_iter().filter_map(|id| self.client(id));
        let longest = clients.map(|client| client.session.timing().at_least(usual, 2)).max();
        longest.map_or(usual, |wait| wait.min(LONGEST_WAIT.max(usual)))
    }
}

#[cfg(test)]
impl Roster {
    /// Gives all sessions.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.sessions.values().map(Box::as_ref)
    }

    /// Counts the parts of addresses that the census counts.
    pub(super) fn census_parts(&self) -> usize {
        self.census.parts()
    }

    /// Forgets all sessions, as a restart does.
    pub(super) fn forget_all(&mut self) {
        self.sessions.clear();
    }
}
