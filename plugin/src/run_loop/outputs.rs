//! What the agent wants done, and what the app is told.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use crossbeam_channel::TrySendError;
use mio::Interest;
use traversal_core::id::PlayerId;
use traversal_core::{
    DisconnectReason, Event, LobbyError, LobbyState, Output, SocketId, StreamBy, StreamState, Transmit,
};

use super::{Connection, MAX_EVENTS, RunLoop};
use crate::descriptors;
use crate::error::SocketError;
use crate::handoff::PunchedSocket;
use crate::protocol::Report;
use crate::queue::GameDatagram;
use crate::sockets::{Socket, token};
use crate::state::count;
use crate::stream::{Race, Way};

/// Times in a row that something shorter is sent for what the system refuses; the rest waits for the next round.
const REFUSALS: usize = 16;

impl RunLoop {
    /// Takes all that the agent has to say after an input.
    pub(super) fn drain(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.agent.poll_output() {
                self.output(now, output);
            } else if let Some(event) = self.agent.poll_event() {
                self.event(now, event);
            } else {
                return;
            }
        }
    }

    fn output(&mut self, now: Instant, output: Output) {
        match output {
            Output::Transmit(transmit) if transmit.socket == SocketId::STREAM => {
                match self.stream.as_mut().and_then(Race::stream) {
                    Some(stream) => stream.push(&transmit.payload, &self.shared.counters),
                    None => count(&self.shared.counters.send_errors, 1),
                }
            }
            Output::Transmit(transmit) => self.transmit(now, transmit),
            Output::OpenSocket { socket, v6 } => {
                let local = self.open(socket, v6);
                if let Err(error) = &local
                    && self.refused_sockets.begins(now)
                {
                    bevy_log::info!("a NAT test or a search has fewer sockets than it wanted: {error}");
                }
                self.agent.handle_socket(now, socket, local);
            }
            Output::CloseSocket { socket } => {
                if let Some(mut socket) = self.sockets.remove(&socket) {
                    socket.flush(&mut self.scratch, &self.shared.counters);
                    self.deregister(&mut socket);
                }
            }
            Output::OpenStream { to, by } => {
                self.close_stream();
                if let Err(error) = self.open_stream(now, to, by) {
                    self.stream_broke(now, to, &error);
                }
            }
            Output::CloseStream => self.close_stream(),
            other => bevy_log::debug!("unknown output of the agent: {other:?}"),
        }
    }

    /// Puts it in line. What goes out of one socket in a row leaves with one system call, and yet all of it leaves in
    /// the agent's order, over all sockets: NATs give ports in the order in which packets come, and the other side
    /// counts on that.
    fn transmit(&mut self, now: Instant, transmit: Transmit) {
        if self.last.0 != transmit.socket {
            if self.sockets.get(&transmit.socket).is_some_and(Socket::has_queue) {
                // Something of another socket has been put in line since, and comes first.
                self.flush_sockets();
            }
            self.last = (transmit.socket, self.last.1 + 1);
        }
        let origin = self.own_networks.origin(now, transmit.to);
        let Some(socket) = self.sockets.get_mut(&transmit.socket) else {
            return count(&self.shared.counters.send_errors, 1);
        };
        if !socket.has_queue() {
            socket.row = self.last.1;
        }
        socket.push(transmit, origin, &self.shared.counters);
    }

    /// Opens a further socket beside a main one, on the same interface.
    fn open(&mut self, id: SocketId, v6: bool) -> io::Result<SocketAddr> {
        let further =
            self.sockets.keys().filter(|id| !matches!(**id, SocketId::MAIN | SocketId::MAIN_V6)).count();
        if further == 0 {
            // Looked up once for each search: it means reading a directory.
            self.spare_sockets = descriptors::spare().unwrap_or(usize::MAX);
        }
        if further >= self.spare_sockets {
            return Err(io::Error::other("the process may open no more files; raise its limit (ulimit -n)"));
        }
        let beside = if v6 { SocketId::MAIN_V6 } else { SocketId::MAIN };
        let beside = self.sockets.get(&beside).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = Socket::open(SocketAddr::new(beside.local().ip(), 0), None)?;
        self.add_socket(id, socket)
    }

    fn open_stream(&mut self, now: Instant, to: SocketAddr, by: StreamBy) -> io::Result<()> {
        let beside = if to.is_ipv6() { SocketId::MAIN_V6 } else { SocketId::MAIN };
        let from = self.sockets.get(&beside).map(|main| main.local().ip());
        let way = Way { to, tls_port: self.tls_port, host: self.names.host_at(to), from };
        self.stream = Some(Race::begin(now, self.poll.registry(), way, by, self.tls_first)?);
        Ok(())
    }

    /// Closes the stream after what waits to be sent, as far as the system takes it at once.
    fn close_stream(&mut self) {
        let Some(mut race) = self.stream.take() else { return };
        if let Some(stream) = race.stream()
            && let Err(error) = stream.flush(&self.shared.counters)
        {
            bevy_log::debug!("the connection to the lobby server broke: {error}");
        }
        race.close(self.poll.registry());
    }

    /// The stream to this address cannot be had, or not any longer.
    pub(super) fn stream_broke(&mut self, now: Instant, to: SocketAddr, error: &io::Error) {
        // The agent may have opened another one meanwhile.
        if self.stream.as_ref().is_some_and(|stream| stream.to() != to) {
            return;
        }
        bevy_log::debug!("no TCP or TLS connection to the lobby server: {error}");
        self.close_stream();
        self.agent.handle_stream(now, StreamState::Closed);
        self.drain(now);
    }

    fn deregister(&self, socket: &mut Socket) {
        if let Err(error) = self.poll.registry().deregister(&mut **socket) {
            bevy_log::debug!("cannot deregister a socket: {error}");
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        self.router_watches(&event);
        let key_changed = match &event {
            Event::Lobby(state) => self.key_changed(state),
            _ => None,
        };
        let report = match event {
            Event::Datagram { player, channel, payload } => {
                // One who sends too much must not take the others' places.
                let share = (self.shared.incoming.limit() / self.connections.len().max(1)).max(1);
                let connection = self.connections.get_mut(&player);
                if connection.as_ref().is_some_and(|connection| connection.waiting >= share) {
                    return count(&self.shared.counters.incoming_dropped, 1);
                }
                let generation = connection.map_or(0, |connection| {
                    connection.waiting += 1;
                    connection.generation
                });
                self.incoming.push(GameDatagram { player, generation, channel, payload });
                return;
            }
            Event::NatMeasured(measured) => {
                if let Some(keeper) = &self.keeper {
                    keeper.keep(measured);
                }
                return;
            }
            Event::PeerConnected { ref peer, .. } => {
                self.generation += 1;
                let generation = self.generation;
                self.connections.insert(peer.id, Connection { generation, stalled: false, waiting: 0 });
                Report::Connected { event, generation }
            }
            Event::PeerDisconnected { peer, reason } => {
                let stalled = self.connections.remove(&peer.id).is_some_and(|connection| connection.stalled);
                let reason = if stalled { DisconnectReason::Stalled } else { reason };
                Report::Agent(Event::PeerDisconnected { peer, reason })
            }
            event => {
                if let Event::Lobby(LobbyState::Online { server, server_key, .. }) = &event {
                    let name = self.names.server_at(*server);
                    if let (Some(name), Some(known)) = (&name, &mut self.known) {
                        known.learn(name, *server, *server_key);
                    }
                    self.events.push_back(Report::Reached(name, *server_key));
                }
                match &event {
                    Event::Lobby(LobbyState::Retrying { .. }) => self.names.refresh(now),
                    Event::RoomEntered { .. } => self.in_room = true,
                    Event::RoomLeft { .. } => self.in_room = false,
                    _ => {}
                }
                match (event, key_changed) {
                    (Event::Lobby(state), Some((server, file))) => Report::KeyChanged { state, server, file },
                    (event, _) => Report::Agent(event),
                }
            }
        };
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(report);
        } else {
            count(&self.shared.counters.events_dropped, 1);
        }
    }

    /// Returns the server that has another key than in a file, and the file.
    fn key_changed(&self, state: &LobbyState) -> Option<(String, PathBuf)> {
        let LobbyState::Refused { error: LobbyError::KeyChanged { server } } = state else { return None };
        let server = self.names.server_at(*server)?;
        let file = self.known.as_ref()?.file_of(&server)?.to_owned();
        Some((server, file))
    }

    /// Sends what is in line and hands over what came.
    pub(super) fn flush(&mut self) {
        while let Some(report) = self.events.pop_front() {
            if let Err(TrySendError::Full(report) | TrySendError::Disconnected(report)) =
                self.reports.try_send(report)
            {
                self.events.push_front(report);
                break;
            }
        }
        if !self.incoming.is_empty() {
            let batch = std::mem::take(&mut self.incoming);
            count(&self.shared.counters.game_received, batch.len() as u64);
            self.shared.incoming.push(batch, &self.shared.counters.incoming_dropped);
        }
        if let Some(race) = &mut self.stream
            && let Some(stream) = race.stream().filter(|stream| stream.has_queue())
            && let Err(error) = stream.flush(&self.shared.counters)
        {
            let to = race.to();
            self.stream_broke(Instant::now(), to, &error);
        }
        self.flush_sockets();
    }

    /// Sends what is in line, in the order in which it was put there.
    fn flush_sockets(&mut self) {
        // What the agent sends for something refused is shorter, and may be too long still.
        for _ in 0..REFUSALS {
            self.flush_in_order();
            let refused = |(id, socket): (&SocketId, &mut Socket)| {
                let id = *id;
                std::mem::take(&mut socket.too_long).into_iter().map(move |(to, length)| (id, to, length))
            };
            let refused: Vec<_> = self.sockets.iter_mut().flat_map(refused).collect();
            if refused.is_empty() {
                return;
            }
            let now = Instant::now();
            for (id, to, length) in refused {
                self.agent.handle_too_long(now, id, to, length);
            }
            self.drain(now);
        }
    }

    fn flush_in_order(&mut self) {
        let mut waiting: Vec<_> = self.sockets.iter_mut().filter(|(_, socket)| socket.has_queue()).collect();
        waiting.sort_by_key(|(_, socket)| socket.row);
        for (id, socket) in waiting {
            let was_blocked = socket.watches_writable;
            if !socket.blocked {
                socket.flush(&mut self.scratch, &self.shared.counters);
            }
            if socket.blocked != was_blocked {
                socket.watches_writable = socket.blocked;
                let interest =
                    if socket.blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
                if let Err(error) = self.poll.registry().reregister(&mut **socket, token(*id), interest) {
                    bevy_log::debug!("cannot watch a socket: {error}");
                    socket.blocked = false;
                }
            }
        }
    }

    /// Opens a socket anew that the system took away (iOS and macOS do that to an app in the background).
    pub(super) fn mend(&mut self, now: Instant, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let before = socket.local();
        let Some(mended) = socket.mend(now, self.poll.registry(), token(id)) else { return };
        (socket.blocked, socket.watches_writable) = (false, false);
        match mended.result {
            Ok(()) => {
                let local = socket.local();
                if mended.first {
                    bevy_log::info!(
                        "the system had taken the socket at {before} away: it is open again at {local}"
                    );
                }
                self.agent.handle_socket(now, id, Ok(local));
                self.drain(now);
                if id == SocketId::MAIN && local != before {
                    self.router_moves();
                }
            }
            Err(error) if mended.first => {
                bevy_log::warn!(
                    "the system took the socket at {before} away and gives no other one: {error}; trying again"
                );
            }
            Err(_) => {}
        }
    }

    /// Gives the socket of the path to `player` away.
    pub(super) fn release(&mut self, now: Instant, player: PlayerId) -> Result<PunchedSocket, SocketError> {
        let system = |error: io::Error| SocketError::System(error.to_string());
        let released = self.agent.release_socket(now, player);
        self.drain(now);
        let released = released?;
        let mut socket = self.sockets.remove(&released.socket).ok_or(SocketError::NotRunning)?;
        socket.flush(&mut self.scratch, &self.shared.counters);
        self.deregister(&mut socket);
        if matches!(released.socket, SocketId::MAIN | SocketId::MAIN_V6) {
            // The agent goes on with another port, and the server moves its session there.
            let address = SocketAddr::new(socket.local().ip(), 0);
            let fresh = Socket::open(address, Some(self.socket_buffer)).map_err(system)?;
            let local = self.add_socket(released.socket, fresh).map_err(system)?;
            self.agent.handle_socket(now, released.socket, Ok(local));
            self.drain(now);
            self.router_moves();
        }
        if self.connections.remove(&player).is_some() {
            self.events.push_back(Report::Released(player));
        }
        Ok(PunchedSocket {
            player,
            socket: socket.into_std(),
            remote: released.remote,
            shared_key: released.shared_key,
        })
    }
}
