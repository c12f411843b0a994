//! The player's agent: the facade that a driver turns.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::Identity;
pub use crate::api::*;
use crate::attempt::Hands;
use crate::config::AgentConfig;
use crate::cx::{Cx, Main};
use crate::detection::Detection;
use crate::failure::{FailureReason, FailureReport, Stage};
use crate::id::{MatchId, PlayerId};
use crate::lobby::{Lobby, LobbyNews};
use crate::login::{LinkEvent, LobbyLink};
use crate::mesh::Mesh;
use crate::path::RELAY;
use crate::peer::{Peer, PeerNews};
use crate::port_mapping::MappingCheck;
use crate::punch::Budget;
use crate::sockets::{Owner, Sockets};
use crate::timer::earliest;
use crate::wire::message::{
    Facts, MatchEnd, MatchOutcome, PunchPlan, Replan, Request, RequestError, RoomEnd, ToPlayer, ToServer,
    Topology,
};
use crate::wire::{Dropped, Kind, MAX_DATAGRAM, RELAY_HEADER, pair};

/// See [`Agent::quiet`].
const ROOM_KEEPALIVE: Duration = Duration::from_secs(4);
/// How long after the first plan of a mesh the others count as made by the same wish to join.
const JOIN_PLANS: Duration = Duration::from_secs(1);

/// News that may wait for the plan of their match: a few of each of its methods.
const EARLY: usize = 16;

/// News of a match whose plan has not come yet: messages of the server may overtake each other.
#[derive(Debug)]
enum Early {
    Facts(Facts),
    Replan(Box<Replan>),
}

/// One player's traversal, without sockets, clock or threads.
///
/// Run loop: give one input (`handle_*`, [`send`](Self::send)), then drain [`poll_output`](Self::poll_output) and
/// [`poll_event`](Self::poll_event) until both are empty, then sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    identity: Identity,
    main: Main,
    local: Vec<IpAddr>,
    rng: ChaCha20Rng,
    link: LobbyLink,
    lobby: Lobby,
    detection: Detection,
    mapping: MappingCheck,
    sockets: Sockets,
    budget: Budget,
    peers: BTreeMap<MatchId, Peer>,
    /// The match that a player's game datagrams take.
    by_player: BTreeMap<PlayerId, MatchId>,
    /// Plans that overtook the news of the host they are for.
    early_plans: Vec<PunchPlan>,
    mesh: Mesh,
    /// When the game last asked to join, and when the first plan came of it.
    join_requested: Option<(Instant, Option<Instant>)>,
    /// News of matches whose plan has not come yet.
    early: VecDeque<(MatchId, Early)>,
    dropped: BTreeMap<Dropped, u64>,
    outputs: VecDeque<Output>,
    events: VecDeque<Event>,
}

/// Borrows the parts of the agent that everything needs, and leaves the others.
macro_rules! cx {
    ($agent:ident, $now:expr) => {
        Cx {
            now: $now,
            config: &$agent.config,
            identity: &$agent.identity,
            main: $agent.main,
            uplink: $agent.link.uplink(),
            local: &$agent.local,
            rng: &mut $agent.rng,
            outputs: &mut $agent.outputs,
            events: &mut $agent.events,
        }
    };
}

/// The same for what a match needs beside it.
macro_rules! hands {
    ($agent:ident) => {
        Hands { link: &mut $agent.link, sockets: &mut $agent.sockets, budget: &mut $agent.budget }
    };
}

mod rooms;

impl Agent {
    /// An agent that does nothing until [`Command::Connect`]. `seed` is where all its randomness comes from: take
    /// it from the system's entropy, or from the simulator. `main` are the local addresses of
    /// [`SocketId::MAIN`] and, if there is IPv6, [`SocketId::MAIN_V6`].
    pub fn new(
        config: AgentConfig,
        identity: Identity,
        seed: [u8; 32],
        main: (SocketAddr, Option<SocketAddr>),
    ) -> Self {
        Self {
            link: LobbyLink::new(&config),
            budget: Budget::new(config.caps),
            config,
            identity,
            main: Main { v4: main.0, v6: main.1 },
            local: Vec::new(),
            rng: ChaCha20Rng::from_seed(seed),
            lobby: Lobby::default(),
            detection: Detection::default(),
            mapping: MappingCheck::default(),
            sockets: Sockets::default(),
            peers: BTreeMap::new(),
            by_player: BTreeMap::new(),
            early_plans: Vec::new(),
            mesh: Mesh::default(),
            join_requested: None,
            early: VecDeque::new(),
            dropped: BTreeMap::new(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// This agent's settings.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// This player's id.
    pub fn player_id(&self) -> PlayerId {
        self.identity.player_id()
    }

    /// Datagrams dropped so far, by reason.
    pub fn dropped(&self) -> &BTreeMap<Dropped, u64> {
        &self.dropped
    }

    /// The path to a player at present.
    pub fn path(&self, now: Instant, player: PlayerId) -> Option<PathInfo> {
        self.peer(player)?.path_info(now)
    }

    fn peer(&self, player: PlayerId) -> Option<&Peer> {
        self.peers.get(self.by_player.get(&player)?)
    }

    /// Input: the game wants something.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        self.detection.renew_when_due(&mut cx!(self, now), &mut self.link, &mut self.sockets);
        match command {
            Command::Connect(servers) => {
                self.leave_room(now, "left");
                let mut cx = cx!(self, now);
                self.lobby.end_queue(&mut cx);
                self.detection.stop(&mut cx, &mut self.sockets);
                self.mapping.stop(&mut cx);
                self.mapping.contact(&servers);
                self.link.disconnect(&mut cx);
                self.link.connect(&mut cx, servers);
            }
            Command::Disconnect => {
                self.leave_room(now, "left");
                self.close_all(now, "left");
                let mut cx = cx!(self, now);
                self.lobby.end_queue(&mut cx);
                self.detection.stop(&mut cx, &mut self.sockets);
                self.mapping.stop(&mut cx);
                self.link.disconnect(&mut cx);
            }
            Command::HostRoom(options) => {
                let request = Request::CreateRoom { options };
                self.ask(now, RequestKind::Host, request, Duration::ZERO);
            }
            Command::JoinRoom { target, password, wait } => {
                self.join_requested = Some((now, None));
                let request = Request::JoinRoom { target, password };
                self.ask(now, RequestKind::Join, request, wait);
            }
            Command::LeaveRoom => {
                if self.lobby.room().is_some() {
                    self.leave_room(now, "left");
                } else if self.lobby.cancel_entering() {
                    // If the server lets this player in all the same, that is undone (see `LobbyNews::Unwanted`).
                    self.close_all(now, "left");
                } else {
                    let error = RequestFailure::Server(RequestError::NotInRoom);
                    self.events.push_back(Event::RequestFailed { request: RequestKind::Leave, error });
                }
            }
            Command::ListRooms => {
                self.ask(now, RequestKind::List, Request::ListRooms { after: None }, Duration::ZERO);
            }
            Command::AnswerJoin { join, allow, reason } => {
                self.tell_server(now, ToServer::JoinAnswer { join, allow, reason });
            }
            Command::Kick { player, reason } => {
                self.ask(now, RequestKind::Kick, Request::Kick { player, reason }, Duration::ZERO);
            }
            Command::SetMetadata(metadata) => {
                self.ask(now, RequestKind::SetMetadata, Request::SetMetadata(metadata), Duration::ZERO);
            }
            Command::ClosePeer { player, reason } => {
                self.close_peer(now, player, &reason);
            }
            Command::QuickMatch(wanted) => {
                self.lobby.quick_match(&mut cx!(self, now), &mut self.link, wanted);
            }
            Command::CancelQuickMatch => {
                self.lobby.cancel_quick_match(&mut cx!(self, now), &mut self.link);
            }
            Command::LocalAddresses(mut addresses) => {
                addresses.sort_unstable();
                addresses.dedup();
                if addresses != self.local {
                    self.local = addresses;
                    self.mapping.network_changed(&mut cx!(self, now), &mut self.link);
                    self.register_addresses(now);
                }
            }
            Command::PortMapping(news) => {
                self.mapping.set(&mut cx!(self, now), &mut self.link, news);
            }
        }
        self.show_mapping(now);
        self.sweep(now);
    }

    fn ask(&mut self, now: Instant, kind: RequestKind, request: Request, wait: Duration) {
        let mut cx = cx!(self, now);
        self.lobby.ask(&mut cx, &mut self.link, kind, request, wait);
    }

    fn tell_server(&mut self, now: Instant, message: ToServer) {
        let mut cx = cx!(self, now);
        if let Some(online) = self.link.online() {
            // Full only when the server has not answered for long; it will be noticed as lost.
            let _ = online.session.send(now, message);
            self.link.drain(&mut cx);
        }
    }

    fn register_addresses(&mut self, now: Instant) {
        if self.config.lan && self.config.relay != crate::RelayPolicy::Only {
            let endpoints = cx!(self, now).local_endpoints();
            self.tell_server(now, ToServer::LocalAddresses(endpoints));
        }
        // The NAT may be another one now.
        self.link.check_now(now);
        self.detection.start(&mut cx!(self, now), &mut self.link, &mut self.sockets);
        self.handle_timeout(now);
    }

    /// Input: a datagram came in on `socket`. Anything that is not ours is counted and dropped.
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, datagram: &[u8]) {
        let result = match Kind::of(datagram) {
            _ if datagram.len() > MAX_DATAGRAM => Err(Dropped::Malformed),
            // The server has nothing of this kind to say.
            Some(Kind::Pair) if socket == SocketId::STREAM => Err(Dropped::Malformed),
            Some(Kind::Pair) => self.handle_pair(now, socket, from, datagram),
            Some(Kind::Probe) if self.detection.handle_hairpin(now, datagram) => Ok(()),
            Some(Kind::Cookie | Kind::Accept | Kind::Refuse | Kind::Control | Kind::Probe) => {
                let mut cx = cx!(self, now);
                let result = self.link.handle_datagram(&mut cx, (socket, from), datagram);
                self.link_moved(now);
                // The router forwards to the main socket; what comes to another one proves nothing.
                let result = result.map(|event| {
                    event.filter(|event| {
                        socket == SocketId::MAIN || !matches!(event, LinkEvent::MappedPortSeen { .. })
                    })
                });
                result.map(|event| self.handle_link(now, event))
            }
            Some(Kind::Relay) => self.handle_relayed(now, (socket, from), datagram),
            Some(Kind::Hello | Kind::Init) | None => Err(Dropped::Malformed),
        };
        if let Err(reason) = result {
            tracing::trace!(%from, %reason, "datagram dropped");
            *self.dropped.entry(reason).or_default() += 1;
        }
        self.sweep(now);
    }

    fn handle_pair(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Dropped> {
        let id = pair::match_of(datagram).ok_or(Dropped::Malformed)?;
        let peer = self.peers.get_mut(&id).ok_or(Dropped::Unknown)?;
        let mut buffer = datagram.to_vec();
        let mut cx = cx!(self, now);
        if let Some(news) = peer.handle_datagram(&mut cx, &mut hands!(self), (socket, from), &mut buffer)? {
            self.handle_peer(now, id, news);
        }
        Ok(())
    }

    /// A datagram of another player, through the server.
    fn handle_relayed(
        &mut self,
        now: Instant,
        (socket, from): (SocketId, SocketAddr),
        datagram: &[u8],
    ) -> Result<(), Dropped> {
        let (header, inner) = datagram.split_at_checked(RELAY_HEADER).ok_or(Dropped::Malformed)?;
        if self.config.relay == crate::RelayPolicy::Never || Kind::of(inner) != Some(Kind::Pair) {
            return Err(Dropped::Malformed);
        }
        let id = pair::match_of(inner).ok_or(Dropped::Malformed)?;
        let peer = self.peers.get(&id).ok_or(Dropped::Unknown)?;
        if peer.relay_token() != Some(&header[1..]) {
            return Err(Dropped::NotAuthentic);
        }
        // One way, whichever of the server's addresses and sockets it takes at present.
        let server = peer.relay_server().unwrap_or(from);
        self.handle_pair(now, RELAY, server, inner)?;
        self.link.carried(now, socket);
        Ok(())
    }

    fn handle_link(&mut self, now: Instant, event: Option<LinkEvent>) {
        let mut cx = cx!(self, now);
        match event {
            None => {}
            Some(LinkEvent::Lost) => {
                self.detection.stop(&mut cx, &mut self.sockets);
                self.mapping.stop(&mut cx);
            }
            Some(LinkEvent::LoggedIn) => {
                let news = self.lobby.logged_in(&mut cx, &mut self.link);
                self.handle_lobby(now, news);
                self.detection.start(&mut cx!(self, now), &mut self.link, &mut self.sockets);
                self.mapping.logged_in(&mut cx!(self, now), &mut self.link);
            }
            Some(LinkEvent::MappedPortSeen { port, token, from }) => {
                self.mapping.handle_seen(&mut cx, &mut self.link, (port, token, from));
            }
            Some(LinkEvent::Knock { tag, socket }) => {
                self.detection.handle_knock(&mut cx, &mut self.link, &mut self.sockets, (tag, socket));
            }
            Some(LinkEvent::ProbeSeen { tag, seen, from }) => {
                let mut hands = hands!(self);
                if !self.peers.values_mut().any(|peer| peer.handle_seen(&mut cx, &mut hands, tag, seen)) {
                    self.detection.handle_seen(&mut cx, &mut self.link, &mut self.sockets, (tag, seen, from));
                }
            }
            Some(LinkEvent::Message(message)) => self.handle_message(now, message),
        }
        self.mapping.watch(&mut cx!(self, now), &mut self.link);
        self.show_mapping(now);
    }

    /// A forwarded port that counts shows in what is known of the NAT.
    fn show_mapping(&mut self, now: Instant) {
        let mapped = self.mapping.is_verified();
        self.detection.set_mapped(&mut cx!(self, now), mapped);
    }

    fn handle_message(&mut self, now: Instant, message: ToPlayer) {
        let mut cx = cx!(self, now);
        match message {
            ToPlayer::Response { id, result } => {
                let news = self.lobby.handle_response(&mut cx, &mut self.link, id, result);
                self.handle_lobby(now, news);
            }
            ToPlayer::Members { room, revision, part, parts, members } => {
                let members = self.lobby.handle_members(&mut cx, room, revision, (part, parts), members);
                if let Some(members) = members.filter(|_| self.in_mesh()) {
                    let own = self.identity.player_id();
                    let live = |player| self.by_player.contains_key(&player);
                    self.mesh.members(now, own, &members, live);
                }
            }
            ToPlayer::Queue(status) => self.lobby.handle_queue(&mut cx, &mut self.link, status),
            ToPlayer::QueueClosed(error) => self.lobby.queue_closed(&mut cx, error),
            ToPlayer::QuickMatched(matched) => {
                let news = self.lobby.handle_quick_matched(&mut cx, &mut self.link, *matched);
                self.handle_lobby(now, news);
            }
            ToPlayer::RoomChanged(info) => self.lobby.handle_room_changed(&mut cx, info),
            ToPlayer::RoomEnded { room, reason } => {
                if self.lobby.room().is_some_and(|known| known.info.id == room) {
                    self.room_ended(now, reason);
                }
            }
            ToPlayer::JoinRequest { join, player } => {
                // Still connected: it only comes back to the room after the server forgot it.
                if self.peer(player.id).is_some_and(Peer::is_connected) {
                    let answer = ToServer::JoinAnswer { join, allow: true, reason: String::new() };
                    self.tell_server(now, answer);
                } else {
                    self.events.push_back(Event::JoinRequest { join, player });
                }
            }
            ToPlayer::Plan(plan) => self.handle_plan(now, *plan),
            ToPlayer::Replan(plan) => {
                if let Some(peer) = self.peers.get_mut(&plan.match_id) {
                    peer.replan(&mut cx, &mut hands!(self), *plan);
                } else {
                    self.keep_early(plan.match_id, Early::Replan(plan));
                }
            }
            ToPlayer::MatchEnded { match_id, reason } => self.match_ended(now, match_id, reason),
            ToPlayer::Ticket(ticket) => self.lobby.handle_ticket(ticket),
            ToPlayer::ConfirmLoss { room, epoch } => self.confirm_loss(now, room, epoch),
            ToPlayer::HostStands { room, epoch } => self.host_stands(now, room, epoch),
            ToPlayer::HostChanged { room, previous } => self.host_changed(now, room, previous),
            ToPlayer::Profile(profile) => self.detection.handle_profile(&mut cx, profile),
            ToPlayer::MappedPort(port) => self.mapping.handle_verdict(&mut cx, &mut self.link, port),
            ToPlayer::Facts { match_id, facts } => {
                if let Some(peer) = self.peers.get_mut(&match_id) {
                    peer.handle_facts(&mut cx, &mut hands!(self), &facts);
                } else {
                    self.keep_early(match_id, Early::Facts(facts));
                }
            }
        }
    }

    fn handle_lobby(&mut self, now: Instant, news: impl IntoIterator<Item = LobbyNews>) {
        for news in news {
            match news {
                LobbyNews::Kicked { player, reason } => {
                    self.close_peer(now, player, &format!("removed by the host: {reason}"));
                }
                LobbyNews::Unwanted => self.close_all(now, "left"),
                LobbyNews::Entered => self.entered(now),
                LobbyNews::HostChanged { room, previous } => {
                    self.announce_host(now, room, previous);
                    self.entered(now);
                }
                LobbyNews::Stale { epoch } => self.room_ended(now, RoomEnd::HostReplaced { epoch }),
                LobbyNews::HostGone => self.room_without_host(now, RoomEnd::HostLost),
            }
        }
    }

    fn in_mesh(&self) -> bool {
        self.lobby.room().is_some_and(|room| room.info.topology == Topology::Mesh)
    }

    /// When the wish was made that this plan comes of.
    fn requested(&mut self, now: Instant, plan: &PunchPlan) -> Instant {
        let Some((asked, first)) = self.join_requested.as_mut().filter(|_| !plan.host) else { return now };
        let (asked, first) = (*asked, *first.get_or_insert(now));
        if now.saturating_duration_since(first) > JOIN_PLANS {
            self.join_requested = None;
            return now;
        }
        asked
    }

    fn handle_plan(&mut self, now: Instant, plan: PunchPlan) {
        let Some(plan) = self.plan_of_this_host(plan) else { return };
        let requested = self.requested(now, &plan);
        self.mesh.planned(plan.peer.id);
        // A plan is used once: the keys made from it must not be made again.
        if self.peers.contains_key(&plan.match_id) {
            return;
        }
        if let Some(old) = self.by_player.get(&plan.peer.id).and_then(|id| self.peers.get_mut(id)) {
            old.end(&mut cx!(self, now), MatchEnd::Replaced.into());
        }
        let Some(online) = self.link.online() else { return };
        let ephemeral = online.ephemeral.clone();
        let mut cx = cx!(self, now);
        let (info, match_id, (own_nat, peer_nat)) =
            (plan.peer.clone(), plan.match_id, (plan.own_nat, plan.peer_nat));
        let (role, methods, mesh) = (plan.role, plan.methods.clone(), plan.mesh);
        cx.emit(Event::Plan { peer: info.clone(), role, methods, host: plan.host && !mesh, mesh });
        let full = self.by_player.len() >= self.config.caps.peers;
        match Peer::new(&mut cx, &mut hands!(self), plan, &ephemeral, requested).filter(|_| !full) {
            Some(peer) => {
                self.by_player.insert(info.id, match_id);
                self.peers.insert(match_id, peer);
                self.handle_peer_timeout(now, match_id);
                self.hand_early(now, match_id);
            }
            None => {
                let reason = if full { FailureReason::CapReached } else { FailureReason::BadPlan };
                let report = FailureReport {
                    stage: Stage::Request,
                    reason,
                    relayed: false,
                    own_nat,
                    peer_nat,
                    tried: Vec::new(),
                };
                self.mesh.give_up(info.id);
                cx.emit(Event::PeerFailed { peer: info, report });
                self.tell_server(
                    now,
                    ToServer::MatchReport { match_id, outcome: MatchOutcome::Failed, cause: Some(reason) },
                );
            }
        }
    }

    /// It may have overtaken a plan that got lost and is sent again.
    fn keep_early(&mut self, match_id: MatchId, early: Early) {
        if self.early.len() >= EARLY {
            self.early.pop_front();
        }
        self.early.push_back((match_id, early));
    }

    /// What came before the plan of this match, in the order in which it came.
    fn hand_early(&mut self, now: Instant, match_id: MatchId) {
        let (early, later) = self.early.drain(..).partition::<VecDeque<_>, _>(|(of, _)| *of == match_id);
        self.early = later;
        for (_, early) in early {
            let mut cx = cx!(self, now);
            let Some(peer) = self.peers.get_mut(&match_id) else { return };
            match early {
                Early::Facts(facts) => peer.handle_facts(&mut cx, &mut hands!(self), &facts),
                Early::Replan(plan) => peer.replan(&mut cx, &mut hands!(self), *plan),
            }
        }
    }

    fn match_ended(&mut self, now: Instant, match_id: MatchId, reason: MatchEnd) {
        let Some(peer) = self.peers.get_mut(&match_id) else { return };
        if reason == MatchEnd::Migrated {
            return peer.close(&mut cx!(self, now), &reason.to_string(), Some(reason.into()));
        }
        // The server has lost sight of the other player; while the path works the game goes on.
        if reason == MatchEnd::Gone && peer.is_connected() {
            return;
        }
        peer.end(&mut cx!(self, now), reason.into());
    }

    fn room_ended(&mut self, now: Instant, reason: RoomEnd) {
        let host = self.lobby.room().map(|room| room.info.host);
        if reason == RoomEnd::HostLost
            && host.and_then(|host| self.peer(host)).is_some_and(Peer::is_connected)
        {
            self.lobby.resume(now);
            return;
        }
        self.lobby.room_ended();
        let text = reason.to_string();
        cx!(self, now).emit(Event::RoomLeft { reason: Some(reason) });
        self.close_all(now, &text);
    }

    /// Leaves on this side's own wish.
    fn leave_room(&mut self, now: Instant, reason: &str) {
        let Some(room) = self.lobby.forget_room(&mut cx!(self, now), &mut self.link) else { return };
        let reason = match (room.hosting, room.info.migrate) {
            (true, false) => "the host closed the room",
            (true, true) => "the host left",
            (false, _) => reason,
        };
        self.close_all(now, reason);
        cx!(self, now).emit(Event::RoomLeft { reason: None });
    }

    fn close_all(&mut self, now: Instant, reason: &str) {
        let players: Vec<PlayerId> = self.by_player.keys().copied().collect();
        for player in players {
            self.close_peer(now, player, reason);
        }
    }

    fn close_peer(&mut self, now: Instant, player: PlayerId, reason: &str) {
        self.mesh.give_up(player);
        let Some(peer) = self.by_player.get(&player).and_then(|id| self.peers.get_mut(id)) else { return };
        peer.close(&mut cx!(self, now), reason, Some(DisconnectReason::Local));
        let match_id = peer.match_id;
        self.tell_server(now, ToServer::MatchReport { match_id, outcome: MatchOutcome::Closed, cause: None });
    }

    /// Book-keeping after something happened to a match.
    fn handle_peer(&mut self, now: Instant, match_id: MatchId, news: PeerNews) {
        let relayed = self.peers.get(&match_id).and_then(Peer::selected).is_some_and(|path| path.0 == RELAY);
        let outcome = match news {
            PeerNews::Connected if relayed => MatchOutcome::Relayed,
            PeerNews::Relayed => MatchOutcome::Relayed,
            PeerNews::Connected | PeerNews::Direct => MatchOutcome::Direct,
            PeerNews::Ended => MatchOutcome::Closed,
            PeerNews::Failed => MatchOutcome::Failed,
            PeerNews::Lost => MatchOutcome::Lost,
        };
        let cause = match outcome {
            MatchOutcome::Relayed | MatchOutcome::Failed => self.peers.get(&match_id).and_then(Peer::cause),
            MatchOutcome::Lost => Some(FailureReason::PathLost),
            _ => None,
        };
        self.tell_server(now, ToServer::MatchReport { match_id, outcome, cause });
        let Some(peer) = self.peers.get(&match_id) else { return };
        match news {
            PeerNews::Connected | PeerNews::Direct | PeerNews::Relayed => {}
            PeerNews::Lost => self.mesh.lost(now, peer.info.id),
            PeerNews::Ended | PeerNews::Failed => self.mesh.give_up(peer.info.id),
        }
        let host = self.lobby.room().map(|room| room.info.host);
        let goes_on = matches!(news, PeerNews::Connected | PeerNews::Direct | PeerNews::Relayed);
        if !goes_on && host == Some(peer.info.id) {
            if self.lobby.host_lost(now) {
                return self.say_host_seen(now, false);
            }
            let reason = if news == PeerNews::Ended { RoomEnd::Closed } else { RoomEnd::HostLost };
            self.room_without_host(now, reason);
        }
    }

    /// Input: a socket asked for with [`Output::OpenSocket`] is open at this local address, or could not be opened.
    /// Also: the driver had to open a main socket anew.
    pub fn handle_socket(&mut self, now: Instant, socket: SocketId, local: std::io::Result<SocketAddr>) {
        match (socket, local) {
            (SocketId::MAIN, Ok(local)) => {
                self.main.v4 = local;
                self.mapping.network_changed(&mut cx!(self, now), &mut self.link);
            }
            (SocketId::MAIN_V6, local) => self.main.v6 = local.ok(),
            (socket, local) => {
                let local = local.ok();
                let Some(owner) = self.sockets.opened(socket, local) else { return };
                let mut cx = cx!(self, now);
                if let Owner::Match(id, method, slot) = owner {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.handle_socket(&mut cx, &mut hands!(self), (method, slot), local.is_some());
                    }
                } else {
                    self.detection.handle_socket(&mut cx, &mut self.link, &mut self.sockets, owner, local);
                }
                return self.sweep(now);
            }
        }
        self.register_addresses(now);
        self.sweep(now);
    }

    /// Input: what became of the stream that [`Output::OpenStream`] asked for last.
    pub fn handle_stream(&mut self, now: Instant, state: StreamState) {
        self.link.handle_stream(&mut cx!(self, now), state);
    }

    /// The session may have moved, between UDP and the stream or to another public address: what can be known of the NAT is something else then.
    fn link_moved(&mut self, now: Instant) {
        if self.link.take_moved() {
            self.detection.start(&mut cx!(self, now), &mut self.link, &mut self.sockets);
            self.mapping.look_again(&mut cx!(self, now), &mut self.link);
        }
    }

    /// Input: [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let quiet = self.quiet();
        let event = self.link.handle_timeout(&mut cx!(self, now), quiet);
        self.handle_link(now, event);
        self.detection.handle_timeout(&mut cx!(self, now), &mut self.link, &mut self.sockets);
        self.mapping.handle_timeout(&mut cx!(self, now), &mut self.link);
        self.show_mapping(now);
        let news = self.lobby.handle_timeout(&mut cx!(self, now), &mut self.link);
        self.handle_lobby(now, news);
        let matches: Vec<MatchId> = self.peers.keys().copied().collect();
        for match_id in matches {
            self.handle_peer_timeout(now, match_id);
        }
        self.mend_mesh(now);
        self.sweep(now);
    }

    /// Asks for the pairs of a mesh that have no connection.
    fn mend_mesh(&mut self, now: Instant) {
        if !self.in_mesh() {
            self.mesh = Mesh::default();
            return;
        }
        if !self.link.is_online() {
            return;
        }
        let live = |player| self.by_player.contains_key(&player);
        for player in self.mesh.handle_timeout(now, live) {
            self.lobby.ask_silently(&mut cx!(self, now), &mut self.link, Request::Rematch { player });
        }
    }

    /// How long the link to the server may be idle (M31). While a room is open a lost server is to be noticed sooner:
    /// others want to join.
    fn quiet(&self) -> Duration {
        let quiet = self.detection.keepalive(self.config.keepalive);
        if self.lobby.is_busy() { quiet.min(ROOM_KEEPALIVE) } else { quiet }
    }

    fn handle_peer_timeout(&mut self, now: Instant, match_id: MatchId) {
        let Some(peer) = self.peers.get_mut(&match_id) else { return };
        if let Some(news) = peer.handle_timeout(&mut cx!(self, now), &mut hands!(self)) {
            self.handle_peer(now, match_id, news);
        }
    }

    /// Forgets matches that are over.
    fn sweep(&mut self, now: Instant) {
        for id in self.peers.values().filter(|peer| peer.is_ended()).map(|peer| peer.match_id) {
            let mut cx = cx!(self, now);
            self.sockets.close_all(&mut cx, |owner| matches!(owner, Owner::Match(of, ..) if of == id));
        }
        self.by_player.retain(|_, id| self.peers.get(id).is_some_and(Peer::is_live));
        self.peers.retain(|_, peer| !peer.is_ended());
    }

    /// Sends a game datagram on channel 0 over the best path to `player`; false if there is none, or it is longer than
    /// [`MAX_PAYLOAD`](crate::wire::pair::MAX_PAYLOAD).
    pub fn send(&mut self, now: Instant, player: PlayerId, payload: &[u8]) -> bool {
        self.send_on(now, player, 0, payload)
    }

    /// The same on a channel of its own, told apart from the others on the other side; false also if there are fewer
    /// than so many ([`CHANNELS`](crate::wire::pair::CHANNELS)).
    pub fn send_on(&mut self, now: Instant, player: PlayerId, channel: u8, payload: &[u8]) -> bool {
        let Some(peer) = self.by_player.get(&player).and_then(|id| self.peers.get_mut(id)) else {
            return false;
        };
        peer.send(&mut cx!(self, now), channel, payload)
    }

    /// Output: what to send, open or close next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Output: what happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Output: when [`handle_timeout`](Self::handle_timeout) is due; none: never.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let link = earliest(self.link.poll_timeout(self.quiet()), self.detection.poll_timeout());
        let link = earliest(link, self.mapping.poll_timeout());
        let lobby = self.lobby.poll_timeout(self.link.is_online());
        let peers = self.peers.values().filter_map(|peer| peer.poll_timeout(&self.config)).min();
        let mesh = self.mesh.poll_timeout().filter(|_| self.link.is_online());
        earliest(earliest(link, lobby), earliest(peers, mesh))
    }

    /// Takes the direct path to `player` out of the agent's hands. The agent forgets the player and its socket; if
    /// that was a main socket, the driver opens another and says so with [`handle_socket`](Self::handle_socket).
    ///
    /// The two sides may use different ways at a time. Here the one who joined follows the host: it gives the way
    /// that the host's latest game datagram took. So the host sends some first, and the other one waits for them.
    ///
    /// # Errors
    /// See [`IntoSocketError`].
    pub fn release_socket(
        &mut self,
        now: Instant,
        player: PlayerId,
    ) -> Result<ReleasedSocket, IntoSocketError> {
        let id = *self.by_player.get(&player).ok_or(IntoSocketError::NotConnected)?;
        let peer = self.peers.get(&id).ok_or(IntoSocketError::NotConnected)?;
        let (socket, remote, kind) = peer.releasable().ok_or(IntoSocketError::NotConnected)?;
        if kind == PathKind::Relay {
            return Err(IntoSocketError::Relayed);
        }
        let shared = |other: &Peer| {
            other.match_id != id && other.is_live() && other.selected().is_none_or(|path| path.0 == socket)
        };
        if self.peers.values().any(shared) {
            return Err(IntoSocketError::SharedSocket);
        }
        let shared_key = peer.export_key();
        self.mesh.give_up(player);
        if let Some(owner) = self.sockets.owner(socket) {
            self.sockets.forget(owner);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.drop_silently();
        }
        self.sweep(now);
        Ok(ReleasedSocket { socket, remote, shared_key })
    }
}
