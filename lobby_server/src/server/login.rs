//! Logging in: from the second handshake datagram to a session.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use rand_chacha::rand_core::RngCore;
use sha2::{Digest, Sha256};
use traversal_core::NatFacts;
use traversal_core::address::canonical;
use traversal_core::id::PlayerId;
use traversal_core::nat::NatProfile;
use traversal_core::text;
use traversal_core::wire::Dropped;
use traversal_core::wire::handshake::{PendingLogin, ServerHandshake, contributes};
use traversal_core::wire::message::{LoginRefusal, MAX_LOCAL_ADDRESSES, MAX_TOKEN, Welcome};

use super::mapped_ports::MappedPort;
use super::session::{Client, HalfOpen};
use super::{Route, Server};
use crate::limits::Bucket;
use crate::matchmaking::{Reach, reach};

/// Answers to logins that are kept for retransmissions.
const RECENT_INITS: usize = 4096;

/// Answers to handshakes, by the hash of the question: a retransmission gets the same answer.
#[derive(Debug, Default)]
pub(super) struct RecentInits {
    answers: BTreeMap<[u8; 32], (SocketAddr, u64, Vec<u8>)>,
    order: VecDeque<(Instant, [u8; 32])>,
}

impl RecentInits {
    fn answer(&self, hash: &[u8; 32]) -> Option<&(SocketAddr, u64, Vec<u8>)> {
        self.answers.get(hash)
    }

    /// The session that it led to is over, so the same question is a new one.
    pub(super) fn forget(&mut self, hash: &[u8; 32]) {
        self.answers.remove(hash);
    }

    fn keep(&mut self, now: Instant, hash: [u8; 32], answer: (SocketAddr, u64, Vec<u8>)) {
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

impl Server {
    pub(super) fn handle_init(&mut self, route: Route, datagram: &[u8]) {
        let now = self.cx.now;
        let hash: [u8; 32] = Sha256::digest(datagram).into();
        if let Some((from, session, answer)) = self.inits.answer(&hash) {
            if *from == route.peer {
                let answer = answer.clone();
                if let Some(client) = self.sessions.get_mut(session) {
                    client.accepted = None;
                }
                self.cx.transmit(route, answer);
            }
            return;
        }
        if !self.login_limit.would_allow(route.peer.ip(), now) {
            self.cx.counters.limited += 1;
            return;
        }
        self.handshakes = true;
        let handled = self.handshake.handle_init(
            now,
            (route.peer, self.cx.is_stream(route)),
            datagram,
            &mut self.cx.rng,
        );
        // What failed before any work was done could come from anybody, under anybody's address.
        if !matches!(handled, Err(Dropped::BadCookie | Dropped::Malformed)) {
            self.login_limit.allow(route.peer.ip(), now);
        }
        let Ok(mut pending) = handled else {
            self.cx.counters.dropped += 1;
            return;
        };
        // A name that is too long, or in part not to be shown, keeps nobody out.
        pending.login.name = text::NAME.clean(&pending.login.name);
        pending.login.game = text::GAME.check(&pending.login.game).unwrap_or(pending.login.game);
        let refusal = self.refusal(&pending).or_else(|| {
            let has_place = self.make_room(pending.player, route.peer.ip());
            (!has_place).then_some(LoginRefusal::Full)
        });
        if let Some(refusal) = refusal {
            self.cx.counters.logins_refused += 1;
            tracing::debug!(player = %pending.player, %refusal, "login refused");
            if let Ok(answer) = pending.refuse(refusal) {
                self.cx.transmit(route, answer);
            }
            return;
        }
        let mut id = self.cx.rng.next_u64();
        while self.sessions.contains_key(&id) {
            id = self.cx.rng.next_u64();
        }
        let welcome = Welcome {
            session: id,
            observed: route.peer,
            probe_targets: self.probe_targets(route),
            session_timeout_s: self.cx.config.session_timeout.as_secs() as u32,
            other_family: self.other_family(route),
            reset: self.handshake.reset_token(self.cx.config.node, id).unwrap_or_default(),
        };
        let (player, key) = (pending.player, pending.public_key);
        pending.login.local.truncate(MAX_LOCAL_ADDRESSES);
        pending.login.local.iter_mut().for_each(|address| *address = canonical(*address));
        let token = std::mem::take(&mut pending.login.token);
        let login = pending.login.clone();
        let Ok((answer, session)) = pending.accept(&welcome, now) else { return };
        self.inits.keep(now, hash, (route.peer, id, answer.clone()));
        self.census.enter(id, (route.socket, route.peer));
        let client = Client {
            player,
            key,
            login,
            profile: NatProfile::default(),
            manual: NatFacts::NONE,
            session,
            sightings: Vec::new(),
            route,
            former: None,
            other: None,
            mapped_port: MappedPort::default(),
            challenge: None,
            accepted: Some(now),
            confirmed: false,
            half_open: Some(HalfOpen { init: hash, token }),
            moves: 0,
            probes: Bucket::full(self.cx.config.probe_rate, now),
            knocks: Bucket::full(self.cx.config.knock_rate, now),
            frames: Bucket::full(self.cx.config.frame_rate, now),
            requests: Bucket::full(self.cx.config.request_rate, now),
            effects: Bucket::full(self.cx.config.effect_rate, now),
            relayed_at: None,
            next_ping: 0,
        };
        self.sessions.insert(id, client);
        self.cx.transmit(route, answer);
        self.dirty.insert(id);
    }

    fn refusal(&self, pending: &PendingLogin) -> Option<LoginRefusal> {
        let login = &pending.login;
        let malformed = |what: String| Some(LoginRefusal::Malformed { what });
        if self.cx.stopping {
            return Some(LoginRefusal::Stopping);
        }
        if let Err(error) = text::GAME.check(&login.game) {
            return malformed(error.to_string());
        }
        if !self.cx.config.games.is_empty() && !self.cx.config.games.contains(&login.game) {
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
        if let Some(check) = &self.token_check
            && let Err(reason) = check.check(&login.game, pending.player, &login.name, &login.token)
        {
            return Some(LoginRefusal::Token { reason: text::REASON.clean(&reason) });
        }
        None
    }

    /// Whether one more session of this player may begin at this address. Its older session ends for it; where that is
    /// not enough, half-open ones give way.
    fn make_room(&mut self, player: PlayerId, ip: IpAddr) -> bool {
        let places = self.cx.config.places();
        let old = self.players.get(&player).map(|player| player.session);
        while !self.census.has_room(ip, old, &places) {
            let Some(half_open) = self.census.gives_way(ip, &places) else { return false };
            tracing::debug!("a login that was not used gives way");
            self.forget_client(half_open);
        }
        true
    }

    /// The sockets that take this player's probes, as [`Welcome::probe_targets`] wants them.
    fn probe_targets(&self, route: Route) -> Vec<SocketAddr> {
        let mut targets = Vec::new();
        for (address, port) in [(false, false), (false, true), (true, false), (true, true)] {
            let socket = self.cx.sockets.iter().position(|socket| {
                !socket.stream
                    && socket.local.is_ipv4() == route.peer.is_ipv4()
                    && socket.second_address == address
                    && socket.second_port == port
            });
            let Some(index) = socket else { continue };
            let to = Route { socket: super::ServerSocketId(index as u16), ..route };
            let Some(target) = self.cx.told_address(to) else { continue };
            match (reach(target.ip()), reach(route.peer.ip())) {
                (Reach::Public, _) | (Reach::Loopback, Reach::Loopback) => targets.push(target),
                (Reach::Local, from) if from != Reach::Public => targets.push(target),
                // A NAT that we are not told of is before us, and leaves ports as they are; the player knows its address.
                (Reach::Local, _) if !address => {
                    let nowhere = match target {
                        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                    };
                    targets.push(SocketAddr::new(nowhere, target.port()));
                }
                (Reach::Local | Reach::Loopback, _) => {}
            }
        }
        targets
    }
}
