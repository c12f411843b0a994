//! What the app asks for, and the names and addresses that it takes to do it.

use std::net::SocketAddr;
use std::time::Instant;

use traversal_core::{Command, Event, LobbyError, LobbyState, SocketId};

use super::RunLoop;
use crate::interfaces::Local;
use crate::protocol::{Report, Request};
use crate::resolve::Resolved;

/// Requests that wait for a name to be resolved; as many as the agent keeps for a login.
const MAX_HELD: usize = 32;

/// Returns whether only a lobby server can answer this.
fn is_lobby_request(command: &Command) -> bool {
    matches!(
        command,
        Command::HostRoom(_)
            | Command::JoinRoom { .. }
            | Command::Spectate { .. }
            | Command::ListRooms(_)
            | Command::WatchRooms { .. }
            | Command::Party(_)
    )
}

impl RunLoop {
    /// Does what the app asks for.
    pub(super) fn request(&mut self, now: Instant, request: Request) {
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
            Request::Measure => {
                let qualities = self.agent.qualities(now).collect();
                self.events.push_back(Report::Qualities(now, qualities));
            }
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

    /// Hands on what became of the names of the lobby servers.
    pub(super) fn resolved(&mut self, now: Instant, resolved: Resolved) {
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

    /// Sets the addresses of a driver that is bound to one interface, where they do not change. For use before [`run`](Self::run).
    pub(crate) fn set_local(&mut self, local: Local) {
        self.apply_local(Instant::now(), local);
    }

    /// Tells the agent, the app and the router's thread the machine's own addresses, and keeps its networks.
    pub(super) fn apply_local(&mut self, now: Instant, Local { addresses, networks }: Local) {
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
}
