//! The link to the lobby server: login, keepalive, loss, and login again (M23, M28, M31).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;

use crate::Identity;
use crate::api::{Event, LobbyError, LobbyState};
use crate::config::{AgentConfig, RelayPolicy};
use crate::cx::Cx;
use crate::timer::{due, earliest};
use crate::wire::handshake::{ClientHandshake, ClientProgress, Refusal, parse_unknown_session};
use crate::wire::message::{Frame, Login, LoginRefusal, ToPlayer, Welcome};
use crate::wire::port_report::PortReport;
use crate::wire::session::ClientSession;
use crate::wire::{Dropped, Kind, VERSION};

/// Between two hellos or inits; the next hello goes to the next address of the server (happy eyeballs: RFC 8305
/// section 5 has the same 250 ms).
const RETRY: Duration = Duration::from_millis(250);
/// Unanswered pings in a row after which the server counts as lost, and the time between them.
const PINGS: u32 = 6;
const PING_RETRY: Duration = Duration::from_millis(500);

/// The link and what it is about to do.
#[derive(Debug)]
pub(crate) struct LobbyLink {
    servers: Vec<SocketAddr>,
    /// The key that the server had when it was first reached, where none is pinned (trust on first use).
    first_key: Option<[u8; 32]>,
    state: State,
    backoff: Duration,
}

#[derive(Debug)]
enum State {
    Idle,
    /// For the time of the next login.
    Waiting(Instant),
    Shaking(Box<Shaking>),
    Online(Box<Online>),
}

#[derive(Debug)]
struct Shaking {
    handshake: ClientHandshake,
    login: Login,
    ephemeral: Identity,
    deadline: Instant,
    next: Instant,
    tries: usize,
    /// Known from the cookie on.
    server: Option<SocketAddr>,
    /// What went wrong at one of the addresses, while others may still answer.
    error: Option<LobbyError>,
}

/// Logged in.
#[derive(Debug)]
pub(crate) struct Online {
    /// The sealed channel.
    pub(crate) session: ClientSession,
    /// The server's address.
    pub(crate) server: SocketAddr,
    /// What it said.
    pub(crate) welcome: Welcome,
    /// This login's key for pairs.
    pub(crate) ephemeral: Identity,
    /// Where the server sees us now.
    pub(crate) public: SocketAddr,
    server_key: [u8; 32],
    ping: Option<Ping>,
    pings: u32,
}

#[derive(Debug)]
struct Ping {
    unanswered: u32,
    next: Instant,
}

/// What the server saw of a probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeSeen {
    pub(crate) observed: SocketAddr,
    /// To be shown again, if that was asked for.
    pub(crate) report: Option<PortReport>,
}

/// What came of an input, for the rooms.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// Online (again): take up what waited.
    LoggedIn,
    /// No longer online.
    Lost,
    /// A reliable frame.
    Message(ToPlayer),
    /// The answer to a probe.
    ProbeSeen { tag: u32, seen: ProbeSeen, from: SocketAddr },
}

impl LobbyLink {
    pub(crate) fn new(config: &AgentConfig) -> Self {
        Self { servers: Vec::new(), first_key: None, state: State::Idle, backoff: config.relogin_min }
    }

    pub(crate) fn online(&mut self) -> Option<&mut Online> {
        match &mut self.state {
            State::Online(online) => Some(online),
            _ => None,
        }
    }

    pub(crate) fn is_online(&self) -> bool {
        matches!(self.state, State::Online(_))
    }

    /// Logged in, or on the way there.
    pub(crate) fn is_wanted(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Logs in to these, replacing what was.
    pub(crate) fn connect(&mut self, cx: &mut Cx<'_>, servers: Vec<SocketAddr>) {
        self.servers = servers.into_iter().filter(|server| cx.main.towards(*server).is_some()).collect();
        self.first_key = None;
        self.backoff = cx.config.relogin_min;
        if self.servers.is_empty() {
            self.state = State::Idle;
            let reason = String::from("it has no address that this machine can reach");
            cx.emit(Event::Lobby(LobbyState::Refused { error: LobbyError::Unresolvable { reason } }));
        } else {
            cx.emit(Event::Lobby(LobbyState::Connecting));
            self.start(cx);
        }
    }

    /// Logs out and stays out.
    pub(crate) fn disconnect(&mut self, cx: &mut Cx<'_>) {
        if let State::Online(online) = &mut self.state {
            online.session.send_once(cx.now, &Frame::Goodbye { reason: String::new(), stay_away: false });
            self.drain(cx);
        }
        if self.is_wanted() {
            self.state = State::Idle;
            cx.emit(Event::Lobby(LobbyState::Offline));
        }
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        let mut secret = [0; 32];
        cx.rng.fill_bytes(&mut secret);
        let ephemeral = Identity::from_secret(secret);
        let relay_only = cx.config.relay == RelayPolicy::Only;
        let login = Login {
            game: cx.config.game.clone(),
            game_protocol: cx.config.game_protocol,
            name: cx.config.name.clone(),
            token: cx.config.token.clone(),
            ephemeral: ephemeral.public_key(),
            local: if relay_only || !cx.config.lan { Vec::new() } else { cx.local_endpoints() },
            relay_only,
        };
        self.state = State::Shaking(Box::new(Shaking {
            handshake: ClientHandshake::new(cx.rng),
            login,
            ephemeral,
            deadline: cx.now + cx.config.login_timeout,
            next: cx.now,
            tries: 0,
            server: None,
            error: None,
        }));
        self.handle_timeout(cx, cx.config.keepalive);
    }

    /// A datagram that only the server can mean.
    pub(crate) fn handle_datagram(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<Option<LinkEvent>, Dropped> {
        match (&mut self.state, Kind::of(datagram)) {
            (State::Shaking(_), _) => self.handle_handshake(cx, from, datagram),
            (State::Online(online), Some(Kind::Refuse)) => {
                // Only somebody on the path knows the session's number; such a one could as well drop everything.
                if from == online.server && parse_unknown_session(datagram) == Some(online.session.id()) {
                    return Ok(self.lost(cx, LobbyError::Lost));
                }
                Err(Dropped::Unknown)
            }
            (State::Online(online), Some(Kind::Control | Kind::Probe)) => {
                let frame = online.session.handle(cx.now, datagram)?;
                online.ping = None;
                let event = match frame {
                    None => None,
                    Some(frame) => self.handle_frame(cx, from, frame),
                };
                self.drain(cx);
                Ok(event)
            }
            _ => Err(Dropped::Unknown),
        }
    }

    fn handle_frame(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        frame: Frame<ToPlayer>,
    ) -> Option<LinkEvent> {
        let State::Online(online) = &mut self.state else { return None };
        match frame {
            Frame::Reliable { body, .. } => return Some(LinkEvent::Message(body)),
            Frame::ProbeSeen { tag, observed } => {
                let seen = ProbeSeen { observed, report: None };
                return Some(LinkEvent::ProbeSeen { tag, seen, from });
            }
            Frame::PortSeen { tag, report } => {
                let seen = ProbeSeen { observed: report.observed, report: Some(report) };
                return Some(LinkEvent::ProbeSeen { tag, seen, from });
            }
            Frame::Goodbye { reason, stay_away: true } => {
                self.give_up(cx, LobbyError::Stopped { reason });
                return Some(LinkEvent::Lost);
            }
            Frame::Goodbye { reason, stay_away: false } => {
                return self.lost(cx, LobbyError::Stopped { reason });
            }
            Frame::Ping { id } => {
                let observed = online.server;
                online.session.send_once(cx.now, &Frame::Pong { id, observed });
            }
            Frame::PathChallenge { token } => {
                online.session.send_once(cx.now, &Frame::PathResponse { token })
            }
            Frame::Pong { observed, .. } if observed != online.public => {
                online.public = observed;
                let state = online.lobby_state(cx.identity);
                cx.emit(Event::Lobby(state));
            }
            Frame::Pong { .. } | Frame::Ack { .. } | Frame::PathResponse { .. } | Frame::Probe(_) => {}
        }
        None
    }

    fn handle_handshake(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<Option<LinkEvent>, Dropped> {
        let State::Shaking(shaking) = &mut self.state else { return Err(Dropped::Unknown) };
        let expected = shaking.server.map_or_else(|| self.servers.contains(&from), |server| server == from);
        if !expected {
            return Err(Dropped::Unknown);
        }
        let keys = match (&self.first_key, cx.config.server_keys.as_slice()) {
            (Some(key), []) => std::slice::from_ref(key),
            (_, pinned) => pinned,
        };
        let progress =
            shaking.handshake.handle(datagram, cx.identity, keys, &shaking.login, cx.now, cx.rng)?;
        let error = match progress {
            ClientProgress::Cookie => {
                shaking.server = Some(from);
                shaking.next = cx.now;
                self.handle_timeout(cx, cx.config.keepalive);
                return Ok(None);
            }
            ClientProgress::Accepted(accepted) => {
                let (welcome, session, server_key) = *accepted;
                let ephemeral = shaking.ephemeral.clone();
                let public = welcome.observed;
                let online = Online {
                    session,
                    server: from,
                    welcome,
                    ephemeral,
                    public,
                    server_key,
                    ping: None,
                    pings: 0,
                };
                self.first_key.get_or_insert(server_key);
                self.backoff = cx.config.relogin_min;
                cx.emit(Event::Lobby(online.lobby_state(cx.identity)));
                self.state = State::Online(Box::new(online));
                return Ok(Some(LinkEvent::LoggedIn));
            }
            ClientProgress::Refused(refusal) => {
                let temporary = matches!(refusal, LoginRefusal::Full | LoginRefusal::Stopping);
                let error = LobbyError::Refused(refusal);
                if temporary {
                    self.retry(cx, error);
                } else {
                    self.give_up(cx, error);
                }
                return Ok(None);
            }
            ClientProgress::RefusedInClear(Refusal::Version { theirs }) => {
                LobbyError::OtherProtocol { ours: VERSION, theirs }
            }
            ClientProgress::RefusedInClear(_) => LobbyError::Refused(LoginRefusal::Full),
            ClientProgress::WrongKey => LobbyError::WrongKey,
        };
        // Said in the clear or by a stranger: another address of the server may still answer better.
        shaking.error = Some(error.clone());
        if self.servers.len() == 1 {
            self.failed(cx, error);
        }
        Ok(None)
    }

    /// The end of one login attempt.
    fn failed(&mut self, cx: &mut Cx<'_>, error: LobbyError) {
        match error {
            LobbyError::WrongKey | LobbyError::OtherProtocol { .. } => self.give_up(cx, error),
            error => self.retry(cx, error),
        }
    }

    fn give_up(&mut self, cx: &mut Cx<'_>, error: LobbyError) {
        self.state = State::Idle;
        cx.emit(Event::Lobby(LobbyState::Refused { error }));
    }

    fn retry(&mut self, cx: &mut Cx<'_>, error: LobbyError) {
        // Up to half as long again, so that a restarted server is not hit by all its players at once.
        let jitter = f64::from(cx.rng.next_u32()) / f64::from(u32::MAX) / 2.0;
        let retry_in = self.backoff.mul_f64(1.0 + jitter);
        self.backoff = (self.backoff * 2).min(cx.config.relogin_max);
        self.state = State::Waiting(cx.now + retry_in);
        cx.emit(Event::Lobby(LobbyState::Retrying { error, retry_in }));
    }

    fn lost(&mut self, cx: &mut Cx<'_>, error: LobbyError) -> Option<LinkEvent> {
        self.retry(cx, error);
        Some(LinkEvent::Lost)
    }

    /// Asks the server at once whether it sees us where it did (after a change of the machine's addresses).
    pub(crate) fn check_now(&mut self, now: Instant) {
        if let State::Online(online) = &mut self.state {
            online.ping.get_or_insert(Ping { unanswered: 0, next: now }).next = now;
        }
    }

    /// `quiet`: how long the link may be idle.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>, quiet: Duration) -> Option<LinkEvent> {
        match &mut self.state {
            State::Idle => None,
            State::Waiting(until) => {
                if *until <= cx.now {
                    self.start(cx);
                }
                None
            }
            State::Shaking(shaking) => {
                if shaking.deadline <= cx.now {
                    let error = shaking.error.take().unwrap_or(LobbyError::NoAnswer);
                    self.failed(cx, error);
                } else if shaking.next <= cx.now {
                    let to = shaking.server.unwrap_or(self.servers[shaking.tries % self.servers.len()]);
                    shaking.tries += 1;
                    shaking.next = cx.now + RETRY;
                    cx.transmit_main(to, shaking.handshake.datagram().to_vec());
                }
                None
            }
            State::Online(online) => {
                online.session.handle_timeout(cx.now);
                let lost = online.keep_alive(cx, quiet);
                self.drain(cx);
                if lost { self.lost(cx, LobbyError::Lost) } else { None }
            }
        }
    }

    /// Sends what the session has ready.
    pub(crate) fn drain(&mut self, cx: &mut Cx<'_>) {
        if let State::Online(online) = &mut self.state {
            while let Some(datagram) = online.session.poll_datagram() {
                cx.transmit_main(online.server, datagram);
            }
        }
    }

    pub(crate) fn poll_timeout(&self, quiet: Duration) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Waiting(until) => Some(*until),
            State::Shaking(shaking) => Some(shaking.next.min(shaking.deadline)),
            State::Online(online) => {
                let ping = online.ping.as_ref().map_or_else(|| online.next_ping(quiet), |ping| ping.next);
                earliest(online.session.poll_timeout(), Some(ping))
            }
        }
    }
}

impl Online {
    fn lobby_state(&self, identity: &Identity) -> LobbyState {
        LobbyState::Online { player: identity.player_id(), public: self.public, server_key: self.server_key }
    }

    /// NATs are refreshed by what goes out (RFC 4787 REQ-6), loss is noticed by what no longer comes in.
    fn next_ping(&self, quiet: Duration) -> Instant {
        self.session.last_heard().min(self.session.last_sent()) + quiet
    }

    /// True when the server is lost.
    fn keep_alive(&mut self, cx: &mut Cx<'_>, quiet: Duration) -> bool {
        if self.ping.is_none() && due(Some(self.next_ping(quiet)), cx.now) {
            self.ping = Some(Ping { unanswered: 0, next: cx.now });
        }
        let Some(ping) = &mut self.ping else { return false };
        if ping.next > cx.now {
            return false;
        }
        if ping.unanswered >= PINGS {
            return true;
        }
        ping.unanswered += 1;
        ping.next = cx.now + PING_RETRY;
        let id = self.pings;
        self.pings = self.pings.wrapping_add(1);
        self.session.send_once(cx.now, &Frame::Ping { id });
        false
    }
}
