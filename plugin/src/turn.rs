//! What the driver thread does: takes inputs, turns the agent, sends what comes out.

mod outputs;
mod router;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Interest, Poll};
use traversal_core::id::PlayerId;
use traversal_core::{
    Agent, Command, Event, Identity, KeptProfile, LobbyError, LobbyState, SocketId, StreamState, WakeGuard,
};
use traversal_udp::{Alarm, Buffer, Episode};

use crate::config::TraversalConfig;
use crate::driver::{GameDatagram, Local, Report, Request, Shared, WAKE, token};
use crate::identity;
use crate::kept_profiles::Keeper;
use crate::known_servers::Known;
use crate::own_networks::OwnNetworks;
use crate::resolve::{Names, Resolved};
use crate::sockets::{self, Socket};
use crate::state::count;
use crate::stream::Stream;
pub(crate) use router::Router;
use watch::{AppWatch, Look};

/// Receive calls on one socket before the others, the timers and the app get their turn: with 8 buffers each, a
/// flood cannot starve them.
const RECEIVE_CALLS: usize = 16;
/// Events that wait for an app that does not tick; then the newest are dropped.
const MAX_EVENTS: usize = 8192;
/// Readiness notices per poll; more come with the next.
const READINESS: usize = 256;
/// Requests that wait for a name to be resolved; as many as the agent keeps for a login.
const MAX_HELD: usize = 32;
/// How long the login waits for the machine's own addresses; listing them takes some milliseconds.
const FIRST_ADDRESSES: Duration = Duration::from_millis(300);
const STALLED: &str = "the game stopped responding";

fn is_lobby_request(command: &Command) -> bool {
    matches!(command, Command::HostRoom(_) | Command::JoinRoom { .. } | Command::ListRooms)
}

struct Connection {
    generation: u32,
    stalled: bool,
    /// Game datagrams for the app since its last frame.
    waiting: usize,
}

/// The state of a driver thread.
pub(crate) struct Turn {
    agent: Agent,
    poll: Poll,
    sockets: BTreeMap<SocketId, Socket>,
    /// How many there may be beside the main ones.
    spare_sockets: usize,
    /// Further ones that the system refused.
    refused_sockets: Episode,
    /// The last socket that got something to send, and how often that was another one than before.
    last: (SocketId, u64),
    /// To the lobby server, where UDP does not get through.
    stream: Option<Stream>,
    socket_buffer: usize,
    shared: Shared,
    requests: Receiver<Request>,
    reports: Sender<Report>,
    local: Receiver<Local>,
    own_networks: OwnNetworks,
    names: Names,
    /// Asked for a port, where that is wanted.
    router: Option<Router>,
    /// What is known of the lobby servers' keys.
    known: Option<Known>,
    /// Where measured profiles are kept.
    keeper: Option<Keeper>,
    /// Requests to a lobby whose name is being resolved.
    held: Vec<Command>,
    connections: BTreeMap<PlayerId, Connection>,
    in_room: bool,
    generation: u32,
    /// Game datagrams of this turn.
    incoming: Vec<GameDatagram>,
    /// Events of this turn, and those that found the channel full.
    events: VecDeque<Report>,
    app: AppWatch,
    guard: WakeGuard,
    /// None while it is in use.
    buffer: Option<Buffer>,
    scratch: Vec<u8>,
}

impl Turn {
    pub(crate) fn new(
        config: &TraversalConfig,
        (identity, seed, mut kept): (Identity, [u8; 32], Vec<KeptProfile>),
        (main, main_v6): (Socket, Option<Socket>),
        poll: Poll,
        shared: Shared,
        (requests, reports, local): (Receiver<Request>, Sender<Report>, Receiver<Local>),
    ) -> io::Result<Self> {
        let now = Instant::now();
        let bound = (main.local(), main_v6.as_ref().map(|main| main.local()));
        let names = Names::new(
            config.resolver.clone(),
            config.resolve_timeout,
            shared.waker.clone(),
            main_v6.is_some(),
        );
        let mut agent_config = config.agent_config();
        agent_config.kept.append(&mut kept);
        let mut turn = Self {
            agent: Agent::new(agent_config, identity, seed, bound),
            poll,
            sockets: BTreeMap::new(),
            spare_sockets: 0,
            refused_sockets: Episode::default(),
            last: (SocketId::MAIN, 0),
            stream: None,
            socket_buffer: config.socket_buffer,
            shared,
            requests,
            reports,
            local,
            own_networks: OwnNetworks::default(),
            names,
            router: None,
            known: None,
            keeper: None,
            held: Vec::new(),
            connections: BTreeMap::new(),
            in_room: false,
            generation: 0,
            incoming: Vec::new(),
            events: VecDeque::new(),
            app: AppWatch::new(now, config.stall_timeout),
            guard: WakeGuard::default(),
            buffer: Some(sockets::buffer()),
            scratch: Vec::new(),
        };
        turn.add_socket(SocketId::MAIN, main)?;
        if let Some(main_v6) = main_v6 {
            turn.add_socket(SocketId::MAIN_V6, main_v6)?;
        }
        Ok(turn)
    }

    fn add_socket(&mut self, id: SocketId, mut socket: Socket) -> io::Result<SocketAddr> {
        let local = socket.local();
        self.poll.registry().register(&mut *socket, token(id), Interest::READABLE)?;
        self.sockets.insert(id, socket);
        Ok(local)
    }

    pub(crate) fn set_known(&mut self, known: Known) {
        self.known = Some(known);
    }

    pub(crate) fn set_keeper(&mut self, keeper: Keeper) {
        self.keeper = Some(keeper);
    }

    /// Until told to stop.
    pub(crate) fn run(mut self) {
        let mut ready = Events::with_capacity(READINESS);
        let alarm = Alarm::new(self.shared.waker.clone());
        // The login tells them; a machine that is slow to list its interfaces tells them later.
        if let Ok(local) = self.local.recv_timeout(FIRST_ADDRESSES) {
            self.apply_local(Instant::now(), local);
        }
        while !self.shared.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            let timeout = self.wait(now);
            alarm.set(now, timeout);
            self.app.sleeps(timeout.map(|timeout| now + timeout));
            if let Err(error) = self.poll.poll(&mut ready, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                bevy_log::error!("the network thread stops: {error}");
                return;
            }
            for event in ready.iter().filter(|event| event.token() != WAKE) {
                let id = u32::try_from(event.token().0).map(SocketId);
                if id == Ok(SocketId::STREAM)
                    && let Some(stream) = &mut self.stream
                {
                    stream.readable |= event.is_readable() || event.is_error() || event.is_read_closed();
                    stream.writable |= event.is_writable();
                    continue;
                }
                if let Some(socket) = id.ok().and_then(|id| self.sockets.get_mut(&id)) {
                    if event.is_readable() || event.is_error() {
                        socket.set_readable();
                    }
                    socket.blocked &= !event.is_writable();
                }
            }
            self.turn();
        }
        self.farewell();
    }

    /// How long nothing is to be done.
    fn wait(&self, now: Instant) -> Option<Duration> {
        // Nothing is read before it is open.
        let stream = self.stream.as_ref().is_some_and(|stream| stream.readable && stream.is_open());
        let reading = self.sockets.values().filter_map(|socket| socket.poll_timeout(now)).min();
        if stream || reading.is_some_and(|at| at <= now) {
            return Some(Duration::ZERO);
        }
        let watched = self.in_room || !self.connections.is_empty();
        let stall = self.app.stalls_at().filter(|_| watched);
        let due = [self.agent.poll_timeout(), self.names.timeout(), stall, reading];
        let due = due.into_iter().flatten().min();
        due.map(|due| due.saturating_duration_since(now).max(self.guard.least_wait()))
    }

    /// One round of inputs and outputs.
    fn turn(&mut self) {
        let now = Instant::now();
        self.watch_app(now);
        while let Ok(local) = self.local.try_recv() {
            self.apply_local(now, local);
        }
        while let Ok(request) = self.requests.try_recv() {
            self.request(now, request);
        }
        self.router_news(now);
        if let Some(resolved) = self.names.poll(now) {
            self.resolved(now, resolved);
        }
        while let Some(batch) = self.shared.outgoing.pop() {
            for datagram in batch {
                self.send(now, &datagram);
            }
        }
        self.receive();
        self.turn_stream();
        let now = Instant::now();
        if self.agent.wants_entropy()
            && let Ok(entropy) = identity::entropy()
        {
            self.agent.mix_entropy(entropy);
        }
        if self.agent.poll_timeout().is_some_and(|due| due <= now) {
            self.agent.handle_timeout(now);
            if self.guard.woken(now, self.agent.poll_timeout()) {
                bevy_log::warn!("the agent asks for the same instant again and again; please report it");
            }
            self.drain(now);
        }
        self.flush();
    }

    fn watch_app(&mut self, now: Instant) {
        match self.app.look(now, self.shared.ticks.load(Ordering::Relaxed)) {
            Look::Ticked => self.connections.values_mut().for_each(|connection| connection.waiting = 0),
            Look::Stalled => {
                if self.in_room || !self.connections.is_empty() {
                    let time = self.app.timeout();
                    bevy_log::warn!("the app did not tick for {time:?}: its players are let go");
                }
                for connection in self.connections.values_mut() {
                    connection.stalled = true;
                }
                self.close_all(now, STALLED);
            }
            Look::Same => {}
        }
    }

    fn close_all(&mut self, now: Instant, reason: &str) {
        let players: Vec<PlayerId> = self.connections.keys().copied().collect();
        for player in players {
            self.command(now, Command::ClosePeer { player, reason: reason.to_owned() });
        }
        // The players hear the reason from here before the server tells them that the room is closed.
        self.flush();
        if self.in_room {
            self.command(now, Command::LeaveRoom);
        }
    }

    fn command(&mut self, now: Instant, command: Command) {
        self.agent.handle_command(now, command);
        self.drain(now);
    }

    fn request(&mut self, now: Instant, request: Request) {
        match request {
            Request::Connect(servers) => {
                if let Some(known) = &mut self.known {
                    known.reload();
                }
                if let Some(resolved) = self.names.connect(now, &servers) {
                    self.resolved(now, resolved);
                } else {
                    self.events.push_back(Report::Agent(Event::Lobby(LobbyState::Connecting)));
                }
            }
            Request::Agent(Command::Disconnect) => {
                self.names.stop();
                self.command(now, Command::Disconnect);
            }
            // The agent would say that nobody asked it to log in.
            Request::Agent(command) if self.names.resolving() && is_lobby_request(&command) => {
                if self.held.len() < MAX_HELD {
                    self.held.push(command);
                }
            }
            Request::Agent(command) => self.command(now, command),
            Request::IntoSocket { player, reply } => {
                // The game may have given up waiting.
                let _ = reply.send(self.release(now, player));
            }
        }
    }

    /// Tells the agent which addresses are of one server, and the key that it had before.
    fn know(&mut self, now: Instant, addresses: &[SocketAddr]) {
        if let Some(known) = &self.known {
            let servers = known.of(self.names.servers(addresses));
            self.command(now, Command::KnowServers(servers));
        }
    }

    fn resolved(&mut self, now: Instant, resolved: Resolved) {
        match resolved {
            Resolved::Addresses(addresses) => {
                self.know(now, &addresses);
                self.command(now, Command::Connect(addresses));
                for command in std::mem::take(&mut self.held) {
                    self.command(now, command);
                }
            }
            Resolved::Moved(addresses) => {
                self.know(now, &addresses);
                self.command(now, Command::ServersMoved(addresses));
            }
            Resolved::Failed { reason, retry_in } => {
                let error = LobbyError::Unresolvable { reason };
                let state = if retry_in.is_zero() {
                    LobbyState::Refused { error }
                } else {
                    LobbyState::Retrying { error, retry_in }
                };
                self.events.push_back(Report::Agent(Event::Lobby(state)));
                // Each gets its answer: that there is no login.
                for command in std::mem::take(&mut self.held) {
                    self.command(now, command);
                }
            }
        }
    }

    /// Before the thread runs: the addresses will not change.
    pub(crate) fn set_local(&mut self, local: Local) {
        self.apply_local(Instant::now(), local);
    }

    fn apply_local(&mut self, now: Instant, Local { addresses, networks }: Local) {
        self.own_networks.set(networks);
        let port = |v4: bool| {
            let id = if v4 { SocketId::MAIN } else { SocketId::MAIN_V6 };
            self.sockets.get(&id).map(|socket| socket.local().port())
        };
        let local = addresses
            .iter()
            .filter_map(|ip| port(ip.is_ipv4()).map(|port| SocketAddr::new(*ip, port)))
            .collect();
        self.events.push_back(Report::Local(local));
        self.router_local(&addresses);
        // It may be another network, with another router.
        self.command(now, Command::Router(None));
        self.command(now, Command::LocalAddresses(addresses));
    }

    fn send(&mut self, now: Instant, datagram: &GameDatagram) {
        let counters = &self.shared.counters;
        let current = self.connections.get(&datagram.player).map(|connection| connection.generation);
        if current != Some(datagram.generation) {
            count(&counters.stale_dropped, 1);
        } else if self.agent.send_on(now, datagram.player, datagram.channel, &datagram.payload) {
            count(&counters.game_sent, 1);
        }
        self.drain(now);
    }

    fn receive(&mut self) {
        let now = Instant::now();
        let ids: Vec<SocketId> =
            self.sockets.iter().filter(|(_, socket)| socket.is_readable(now)).map(|(id, _)| *id).collect();
        let Some(mut buffer) = self.buffer.take() else { return };
        for id in ids {
            for _ in 0..RECEIVE_CALLS {
                let now = Instant::now();
                // The agent may close it on any datagram.
                let socket = self.sockets.get_mut(&id).filter(|socket| socket.is_readable(now));
                let Some(socket) = socket else { break };
                if !socket.receive(now, &mut buffer, &self.shared.counters) {
                    continue;
                }
                let mut received = 0;
                for datagram in buffer.datagrams() {
                    received += 1;
                    self.agent.handle_datagram(now, id, datagram.from, datagram.payload);
                    self.drain(now);
                }
                count(&self.shared.counters.datagrams_received, received);
            }
            self.mend(Instant::now(), id);
        }
        self.buffer = Some(buffer);
        let discarded = self.agent.dropped().values().sum();
        self.shared.counters.discarded.store(discarded, Ordering::Relaxed);
    }

    /// The stream: connected, what it brought, closed.
    fn turn_stream(&mut self) {
        let now = Instant::now();
        let Some(stream) = &mut self.stream else { return };
        let mut datagrams = Vec::new();
        let mut result = stream.finish_connect();
        let (to, opened) = (stream.to(), matches!(result, Ok(true)));
        for _ in 0..RECEIVE_CALLS {
            if result.is_err() || !stream.is_open() || !stream.readable {
                break;
            }
            result = stream.receive(&mut datagrams, &self.shared.counters).map(|()| false);
        }
        if opened {
            self.agent.handle_stream(now, StreamState::Open);
            self.drain(now);
        }
        count(&self.shared.counters.datagrams_received, datagrams.len() as u64);
        for datagram in datagrams {
            self.agent.handle_datagram(now, SocketId::STREAM, to, &datagram);
            self.drain(now);
        }
        if let Err(error) = result {
            self.stream_broke(now, to, &error);
        }
    }

    /// Says goodbye to players and server, so that nobody waits for a timeout.
    fn farewell(&mut self) {
        let now = Instant::now();
        while let Ok(request) = self.requests.try_recv() {
            self.request(now, request);
        }
        while let Some(batch) = self.shared.outgoing.pop() {
            for datagram in batch {
                self.send(now, &datagram);
            }
        }
        self.close_all(now, "the game was closed");
        self.command(now, Command::Disconnect);
        self.flush();
    }
}
