//! What the network thread does: it takes inputs, gives them to the agent, and sends what comes of them. It alone reads the
//! sockets and the clock.

mod inputs;
mod outputs;
mod requests;
#[cfg_attr(not(feature = "port_mapping"), path = "run_loop/no_router.rs")]
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
use traversal_core::{Agent, Command, Identity, KeptProfile, SocketId, WakeGuard};
use traversal_udp::{Alarm, Buffer, Episode};

use crate::config::TraversalConfig;
use crate::identity;
use crate::interfaces::Local;
use crate::kept_profiles::Keeper;
use crate::known_servers::Known;
use crate::own_networks::OwnNetworks;
use crate::protocol::{Report, Request, Shared};
use crate::queue::GameDatagram;
use crate::resolve::Names;
use crate::sockets::{self, Socket, WAKE, token};
use crate::stream::Race;
#[cfg(feature = "port_mapping")]
pub(crate) use router::Router;
use watch::{AppWatch, Look};

/// Events that wait for an app that does not tick; then the newest are dropped.
const MAX_EVENTS: usize = 8192;
/// Readiness notices per poll; more come with the next.
const READINESS: usize = 256;
/// This is how long the login waits for the machine's own addresses; listing them takes some milliseconds.
const FIRST_ADDRESSES: Duration = Duration::from_millis(300);
const STALLED: &str = "the game stopped responding";

struct Connection {
    generation: u32,
    stalled: bool,
    /// This many game datagrams came for the app since its last frame.
    waiting: usize,
}

/// This is who plays, and what this start of the game has of its own.
pub(crate) struct Player {
    /// These are the lasting keys of the player.
    pub(crate) identity: Identity,
    /// These are fresh random bytes, from which the agent draws its own.
    pub(crate) seed: [u8; 32],
    /// These are the NAT profiles that earlier starts have measured.
    pub(crate) kept: Vec<KeptProfile>,
}

/// These are the network thread's ends of its channels.
pub(crate) struct Ends {
    pub(crate) requests: Receiver<Request>,
    pub(crate) reports: Sender<Report>,
    /// The machine's own addresses and networks come here, whenever they have changed.
    pub(crate) local: Receiver<Local>,
}

/// This is the state of the network thread.
pub(crate) struct RunLoop {
    agent: Agent,
    poll: Poll,
    sockets: BTreeMap<SocketId, Socket>,
    /// This is how many there may be beside the main ones.
    spare_sockets: usize,
    /// This notes when the system refuses further sockets.
    refused_sockets: Episode,
    /// This is the last socket that got something to send, and how often that was another one than before.
    last: (SocketId, u64),
    /// This leads to the lobby server, where UDP does not get through.
    stream: Option<Race>,
    /// The last stream that came about was one of TLS.
    tls_first: bool,
    tls_port: u16,
    socket_buffer: usize,
    shared: Shared,
    requests: Receiver<Request>,
    reports: Sender<Report>,
    local: Receiver<Local>,
    own_networks: OwnNetworks,
    names: Names,
    /// It is asked for a port, where that is wanted.
    #[cfg(feature = "port_mapping")]
    router: Option<Router>,
    /// This is what is known of the lobby servers' keys.
    known: Option<Known>,
    /// This is where measured profiles are kept.
    keeper: Option<Keeper>,
    /// Requests to a lobby whose name is being resolved.
    held: Vec<Command>,
    connections: BTreeMap<PlayerId, Connection>,
    in_room: bool,
    generation: u32,
    /// These are the game datagrams for the app that came in this round.
    incoming: Vec<GameDatagram>,
    /// Events of this round, and those that found the channel to the app full.
    events: VecDeque<Report>,
    app: AppWatch,
    guard: WakeGuard,
    /// This is the buffer for what comes in; there is none while it is in use.
    buffer: Option<Buffer>,
    scratch: Vec<u8>,
}

impl RunLoop {
    pub(crate) fn new(
        config: &TraversalConfig,
        Player { identity, seed, mut kept }: Player,
        (main, main_v6): (Socket, Option<Socket>),
        poll: Poll,
        shared: Shared,
        Ends { requests, reports, local }: Ends,
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
        let mut run_loop = Self {
            agent: Agent::new(agent_config, identity, seed, bound),
            poll,
            sockets: BTreeMap::new(),
            spare_sockets: 0,
            refused_sockets: Episode::default(),
            last: (SocketId::MAIN, 0),
            stream: None,
            tls_first: false,
            tls_port: config.tls_port,
            socket_buffer: config.socket_buffer,
            shared,
            requests,
            reports,
            local,
            own_networks: OwnNetworks::default(),
            names,
            #[cfg(feature = "port_mapping")]
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
        run_loop.add_socket(SocketId::MAIN, main)?;
        if let Some(main_v6) = main_v6 {
            run_loop.add_socket(SocketId::MAIN_V6, main_v6)?;
        }
        Ok(run_loop)
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

    /// Runs until told to stop.
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
                if self.stream.as_mut().is_some_and(|stream| stream.handle_event(event)) {
                    continue;
                }
                let id = u32::try_from(event.token().0).map(SocketId);
                if let Some(socket) = id.ok().and_then(|id| self.sockets.get_mut(&id)) {
                    if event.is_readable() || event.is_error() {
                        socket.set_readable();
                    }
                    socket.blocked &= !event.is_writable();
                }
            }
            self.go_round();
        }
        self.farewell();
    }

    /// Returns how long the thread may sleep; none: until something comes.
    fn wait(&self, now: Instant) -> Option<Duration> {
        // Nothing is read before it is open.
        let stream = self.stream.as_ref().is_some_and(Race::is_readable);
        let reading = self.sockets.values().filter_map(|socket| socket.poll_timeout(now)).min();
        if stream || reading.is_some_and(|at| at <= now) {
            return Some(Duration::ZERO);
        }
        let watched = self.in_room || !self.connections.is_empty();
        let stall = self.app.stalls_at().filter(|_| watched);
        let race = self.stream.as_ref().and_then(Race::poll_timeout);
        let due = [self.agent.poll_timeout(), self.names.timeout(), stall, reading, race];
        let due = due.into_iter().flatten().min();
        due.map(|due| due.saturating_duration_since(now).max(self.guard.least_wait()))
    }

    /// Takes all inputs that are there, and sends what comes of them.
    fn go_round(&mut self) {
        let now = Instant::now();
        self.watch_app(now);
        while let Ok(local) = self.local.try_recv() {
            self.apply_local(now, local);
        }
        self.send_games(now);
        while let Ok(request) = self.requests.try_recv() {
            self.request(now, request);
        }
        self.router_news(now);
        if let Some(resolved) = self.names.poll(now) {
            self.resolved(now, resolved);
        }
        self.receive();
        self.receive_from_stream();
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

    /// Sends what the game has handed over. Requests come after it: the last words before a connection is closed leave by it.
    fn send_games(&mut self, now: Instant) {
        while let Some(batch) = self.shared.outgoing.pop() {
            for datagram in batch {
                self.send(now, &datagram);
            }
        }
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

    /// Says goodbye to players and server, so that nobody waits for a timeout.
    fn farewell(&mut self) {
        let now = Instant::now();
        self.send_games(now);
        while let Ok(request) = self.requests.try_recv() {
            self.request(now, request);
        }
        self.close_all(now, "the game was closed");
        self.command(now, Command::Disconnect);
        self.flush();
    }
}
