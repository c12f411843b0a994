//! Logging in: from the second handshake datagram to a session.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use rand_chacha::rand_core::RngCore;
use sha2::{Digest, Sha256};
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::nat::NatProfile;
use traversal_core::text;
use traversal_core::wire::handshake::{PendingLogin, ServerHandshake, contributes, refuse_unknown_session};
use traversal_core::wire::message::{Farewell, Frame, LoginRefusal, MAX_TOKEN, RoomEnd, ToPlayer, Welcome};
use traversal_core::wire::{Dropped, Kind};

use super::busy::Busy;
use super::client::{Client, HalfOpen, Membership, Player};
use super::tokens::rename;
use super::{Context, Roster};
use crate::ids::SessionId;
use crate::limits::Bucket;
use crate::matchmaking::{Realm, realm};
use crate::server::refusals::Refusal;
use crate::server::sockets::Route;
use crate::tokens::{TokenLogin, Tokens};

/// Who comes while the server stops is to ask again after so many seconds: it may be started anew.
const STOPPING_S: u8 = 1;
/// Answers to logins that are kept for retransmissions.
const RECENT_INITS: usize = 4096;

/// These answers to handshakes are kept by the hash of the question: a retransmission gets the same answer.
#[derive(Debug, Default)]
pub(super) struct RecentInits {
    answers: BTreeMap<[u8; 32], (SocketAddr, SessionId, Vec<u8>)>,
    order: VecDeque<(Instant, [u8; 32])>,
}

impl RecentInits {
    fn answer(&self, hash: &[u8; 32]) -> Option<&(SocketAddr, SessionId, Vec<u8>)> {
        self.answers.get(hash)
    }

    /// Forgets an answer: the session that it led to is over, so the same question is a new one.
    pub(super) fn forget(&mut self, hash: &[u8; 32]) {
        self.answers.remove(hash);
    }

    fn keep(&mut self, now: Instant, hash: [u8; 32], answer: (SocketAddr, SessionId, Vec<u8>)) {
        while let Some((since, old)) = self.order.front().copied() {
            let expired = now.saturating_duration_since(since) > ServerHandshake::INIT_LIFETIME;
            if !expired && self.order.len() < RECENT_INITS {
                break;
            }
            self.order.pop_front();
            self.answers.remove(&old);
        }
        self.order.push_back((now, hash));
        self.answers.insert(hash, answer);
    }
}

/// Sends a player away before it has a session.
pub(super) fn refuse(cx: &mut Context, route: Route, pending: PendingLogin, refusal: LoginRefusal) {
    let reason = Refusal::of_login(&refusal);
    refuse_for(cx, route, pending, refusal, reason);
}

/// Does the same, and counts it under this reason.
fn refuse_for(cx: &mut Context, route: Route, pending: PendingLogin, refusal: LoginRefusal, reason: Refusal) {
    cx.counters.logins_refused += 1;
    cx.counters.refuse(reason);
    tracing::debug!(player = %pending.player, %refusal, "login refused");
    if let Ok(answer) = pending.refuse(refusal) {
        cx.transmit(route, answer);
    }
}

impl Roster {
    /// Answers the first datagram of a login with a cookie.
    pub(crate) fn handle_hello(&mut self, cx: &mut Context, route: Route, datagram: &[u8]) {
        let reply = if cx.stopping {
            ServerHandshake::refuse_busy(datagram, STOPPING_S)
        } else {
            self.handshake.handle_hello(cx.now, (route.peer, cx.is_stream(route)), datagram).ok()
        };
        self.answer_hello(cx, route, datagram, reply);
    }

    /// Answers the first datagram of a login: the player is to come back after so many seconds.
    pub(crate) fn turn_away(&mut self, cx: &mut Context, route: Route, datagram: &[u8], again_s: u8) {
        let reply = ServerHandshake::refuse_busy(datagram, again_s);
        self.answer_hello(cx, route, datagram, reply);
    }

    fn answer_hello(&mut self, cx: &mut Context, route: Route, datagram: &[u8], reply: Option<Vec<u8>>) {
        let now = cx.now;
        let Some(reply) = reply.filter(|reply| reply.len() <= datagram.len()) else {
            cx.counters.dropped += 1;
            return;
        };
        // Only what would be answered counts, so that junk does not use up somebody's rate.
        let ip = route.peer.ip();
        let (turns, turn_limit) = &mut self.hello_turns;
        // A flood does not keep the others who share its address out.
        let allowed =
            self.hello_limit.allow(ip, now) || (turns.take(route.peer, now) && turn_limit.allow(ip, now));
        if allowed {
            cx.transmit(route, reply);
        } else {
            cx.counters.limit(Refusal::HelloRate);
        }
    }

    /// Answers the second datagram of a login: there is a session, or a reason why not.
    pub(crate) fn handle_init(&mut self, cx: &mut Context, route: Route, datagram: &[u8]) {
        let now = cx.now;
        let hash: [u8; 32] = Sha256::digest(datagram).into();
        if let Some((from, session, answer)) = self.inits.answer(&hash) {
            if *from == route.peer {
                let answer = answer.clone();
                if let Some(client) = self.sessions.get_mut(session) {
                    client.busy(now).accepted = None;
                }
                cx.transmit(route, answer);
            }
            return;
        }
        if self.asked.has_login(&hash) {
            // The player asks again while its token is being checked.
            return;
        }
        if !self.login_limit.would_allow(route.peer.ip(), now) {
            cx.counters.limit(Refusal::LoginRate);
            return;
        }
        if self.bans.has_address(cx.calendar(), route.peer.ip())
            && !self.banned_limit.allow(route.peer.ip(), now)
        {
            cx.counters.limit(Refusal::LoginBanned);
            return;
        }
        self.handshakes = true;
        let handled =
            self.handshake.handle_init(now, (route.peer, cx.is_stream(route)), datagram, &mut cx.rng);
        // What failed before any work was done could come from anybody, under anybody's address.
        if !matches!(handled, Err(Dropped::BadCookie | Dropped::Malformed)) {
            self.login_limit.allow(route.peer.ip(), now);
        }
        let Ok(mut pending) = handled else {
            cx.counters.dropped += 1;
            return;
        };
        // A name that is too long, or in part not to be shown, keeps nobody out.
        pending.login.name = text::NAME.clean(&pending.login.name);
        pending.login.game = text::GAME.check(&pending.login.game).unwrap_or(pending.login.game);
        let refusal = self.refusal(cx, &mut pending, route);
        if let Some(refusal) = refusal {
            refuse(cx, route, pending, refusal);
        } else if matches!(self.tokens, Tokens::Asked) {
            self.ask_about_login(cx, route, hash, pending);
        } else {
            self.admit_if_there_is_room(cx, route, hash, pending);
        }
    }

    /// Makes a session of a login that is in order, if there is a place for it.
    pub(super) fn admit_if_there_is_room(
        &mut self,
        cx: &mut Context,
        route: Route,
        init: [u8; 32],
        pending: PendingLogin,
    ) {
        if self.make_room(cx, pending.player, route.peer.ip()) {
            self.admit(cx, route, init, pending);
        } else {
            let of_address = self.census.is_address_full(route.peer.ip(), &cx.config.places());
            let reason = if of_address { Refusal::LoginAddressFull } else { Refusal::LoginFull };
            refuse_for(cx, route, pending, LoginRefusal::Full, reason);
        }
    }

    /// Makes a session of a login that is in order.
    fn admit(&mut self, cx: &mut Context, route: Route, init: [u8; 32], mut pending: PendingLogin) {
        let now = cx.now;
        let mut id = SessionId(cx.rng.next_u64());
        while self.sessions.contains_key(&id) {
            id = SessionId(cx.rng.next_u64());
        }
        let welcome = Welcome {
            session: id.0,
            observed: route.peer,
            probe_targets: self.probe_targets(cx, route),
            session_timeout_s: cx.config.session_timeout.as_secs() as u32,
            other_family: self.other_family(cx, route),
            reset: self.handshake.reset_token(cx.config.node, id.0).unwrap_or_default(),
        };
        let (player, key) = (pending.player, pending.public_key);
        let token = std::mem::take(&mut pending.login.token);
        let login = self.games.keep(pending.login.clone());
        let Ok((answer, session)) = pending.accept(&welcome, now) else { return };
        self.inits.keep(now, init, (route.peer, id, answer.clone()));
        self.census.enter(id, cx.way(route));
        let client = Client {
            player,
            key,
            login,
            game: None,
            profile: NatProfile::default(),
            manual: None,
            session,
            two_addresses: cx.has_second_address(route.peer.is_ipv4()),
            route,
            other: None,
            mapped_port: None,
            confirmed: false,
            busy: Some(Box::new(Busy {
                accepted: Some(now),
                half_open: Some(HalfOpen { init, token }),
                ..Busy::new(now)
            })),
            moves: 0,
            frames: Bucket::full(cx.config.frame_rate, now),
            next_ping: 0,
        };
        self.sessions.insert(id, Box::new(client));
        cx.transmit(route, answer);
        self.dirty.insert(id);
    }

    fn refusal(&self, cx: &Context, pending: &mut PendingLogin, route: Route) -> Option<LoginRefusal> {
        let login = &pending.login;
        let malformed = |what: String| Some(LoginRefusal::Malformed { what });
        if cx.is_closing() {
            return Some(LoginRefusal::Stopping);
        }
        if let Err(error) = text::GAME.check(&login.game) {
            return malformed(error.to_string());
        }
        let now_s = cx.calendar();
        if let Some(ban) = self.bans.find(now_s, pending.player, route.peer.ip(), &login.game) {
            return Some(ban.refusal(now_s));
        }
        if !cx.config.games.is_empty() && !cx.config.games.contains(&login.game) {
            return Some(LoginRefusal::UnknownGame { game: login.game.clone() });
        }
        if let Err(error) = text::NAME.check(&login.name) {
            return malformed(error.to_string());
        }
        if login.token.len() > MAX_TOKEN {
            return malformed(format!("token: at most {MAX_TOKEN} bytes, it has {}", login.token.len()));
        }
        if !contributes(&login.ephemeral) {
            return malformed(String::from("ephemeral: a key with which no secret can be agreed on"));
        }
        let about = TokenLogin {
            game: &login.game,
            player: pending.player,
            name: &login.name,
            address: route.peer.ip(),
            token: &login.token,
        };
        if let Tokens::AtOnce(check) = &self.tokens {
            match check.admit(&about) {
                Ok(admission) => rename(pending, admission),
                Err(refusal) => return Some(refusal),
            }
        }
        None
    }

    /// Returns whether one more session of this player may begin at this address. Its older session ends for it;
    /// where that is not enough, half-open ones give way.
    fn make_room(&mut self, cx: &mut Context, player: PlayerId, ip: IpAddr) -> bool {
        let places = cx.config.places();
        let old = self.players.get(&player).map(|player| player.session);
        while !self.census.has_room(ip, old, &places) {
            let Some(half_open) = self.census.gives_way(ip, &places) else { return false };
            tracing::debug!("a login that was not used gives way");
            self.forget_client(cx, half_open);
        }
        true
    }

    /// Returns the sockets that take this player's probes, as [`Welcome::probe_targets`] wants them.
    fn probe_targets(&self, cx: &Context, route: Route) -> Vec<SocketAddr> {
        let mut targets = Vec::new();
        for (address, port) in [(false, false), (false, true), (true, false), (true, true)] {
            let socket = cx.sockets.iter().position(|socket| {
                !socket.stream
                    && socket.local.is_ipv4() == route.peer.is_ipv4()
                    && socket.second_address == address
                    && socket.second_port == port
            });
            let Some(index) = socket else { continue };
            let to = Route { socket: crate::server::ServerSocketId(index as u16), ..route };
            let Some(target) = cx.told_address(to) else { continue };
            match (realm(target.ip()), realm(route.peer.ip())) {
                (Realm::Public, _) | (Realm::Loopback, Realm::Loopback) => targets.push(target),
                (Realm::Local, from) if from != Realm::Public => targets.push(target),
                // A NAT that we are not told of is before us, and leaves ports as they are; the player knows its address.
                (Realm::Local, _) if !address => {
                    let nowhere = match target {
                        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                    };
                    targets.push(SocketAddr::new(nowhere, target.port()));
                }
                (Realm::Local | Realm::Loopback, _) => {}
            }
        }
        targets
    }

    /// Refuses a sealed datagram of a session that is not known: its player is told to log in anew.
    pub(crate) fn refuse_unknown(&mut self, cx: &mut Context, route: Route, kind: Kind, datagram: &[u8]) {
        cx.counters.dropped += 1;
        if kind == Kind::Control
            && self.unknown_limit.allow(route.peer.ip(), cx.now)
            && let Some(reply) =
                refuse_unknown_session(datagram, |id| self.handshake.reset_token(cx.config.node, id))
        {
            cx.transmit(route, reply);
        }
    }

    /// The player has proven to be there: its token is spent. None: it is not taken, and the session is over.
    pub(crate) fn confirm(&mut self, cx: &mut Context, id: SessionId) -> Option<PlayerId> {
        let now = cx.now;
        let client = self.sessions.get_mut(&id)?;
        let (player, game) = (client.player, String::from(client.login.game()));
        if let Some(at) = client.busy(now).accepted.take() {
            // The answer to our answer: the first that is known of the way.
            let took = now.saturating_duration_since(at);
            client.session.sample_rtt(took);
            cx.timings.login.observe(took);
        }
        let token = client.busy(now).half_open.take().map(|half_open| half_open.token).unwrap_or_default();
        let (name, address) = (String::from(client.login.name()), client.route.peer.ip());
        let now_s = cx.calendar();
        let banned = self.bans.find(now_s, player, address, &game).map(|ban| ban.refusal(now_s).to_string());
        let refused = match &self.tokens {
            _ if banned.is_some() => banned,
            Tokens::AtOnce(check) => {
                let about = TokenLogin { game: &game, player, name: &name, address, token: &token };
                check.spend(&about).err()
            }
            Tokens::Nobody | Tokens::Asked => None,
        };
        if let Some(reason) = refused {
            self.dismiss(cx, id, &reason);
            self.forget_client(cx, id);
            return None;
        }
        cx.counters.logins += 1;
        let slot = cx.games.slot(&game);
        self.sessions.get_mut(&id)?.game = Some(slot);
        let numbers = cx.games.at(slot);
        numbers.logins += 1;
        numbers.sessions += 1;
        tracing::info!(%player, game, "logged in");
        if matches!(self.tokens, Tokens::Asked) {
            self.ask_to_spend(cx, id, (game, player, name, address, token));
        }
        Some(player)
    }

    /// This session is its player's only one from now on. Where the player was in a room in its older session, that room
    /// and the game of the new session come back.
    pub(crate) fn take_over(&mut self, cx: &mut Context, id: SessionId) -> Option<(RoomId, String)> {
        let client = self.sessions.get(&id)?;
        let (player, game) = (client.player, String::from(client.login.game()));
        let mut room = None;
        if let Some(old) = self.players.remove(&player) {
            room = old.membership.room();
            if let Some(client) = self.sessions.get_mut(&old.session) {
                if let Some(room) = room {
                    let replaced = ToPlayer::RoomEnded { room, reason: RoomEnd::Replaced };
                    let _ = client.session.send(cx.now, replaced);
                }
                let reason = String::from("this player logged in from another place");
                client.session.send_once(cx.now, &Frame::Goodbye { reason, why: Farewell::Replaced });
                self.hand_over_datagrams(cx, old.session);
                self.forget_client(cx, old.session);
            }
        }
        self.players.insert(
            player,
            Player {
                session: id,
                membership: room.map_or(Membership::Outside, Membership::Left),
                busy: None,
                awaited: false,
            },
        );
        Some((room?, game))
    }
}
