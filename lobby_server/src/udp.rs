//! The server's UDP sockets: the only place that opens or turns them. Beside each first one there is a listener for
//! TCP (see `tcp.rs`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::{Interest, Registry, Token};
use traversal_udp::{Buffer, Episode, Origin, Outgoing, Received, Sent, Socket, in_use};

use crate::config::Settings;
use crate::server::{Server, ServerSocket, ServerSocketId};
use crate::surroundings::Surroundings;
use crate::tcp::Listener;

/// Entries taken with one system call, each of one datagram or of several equal ones.
const BATCH: usize = 16;
/// Batches of one socket before the others get their turn.
const BATCHES_IN_A_ROW: usize = 32;
/// Asked of the system for each direction; it grants what it allows.
const SOCKET_BUFFER: usize = 2 << 20;

/// A socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve {protocol} {address}{}", advice(.source, .address, .protocol))]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub protocol: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

fn advice(source: &io::Error, address: &SocketAddr, protocol: &str) -> String {
    match source.kind() {
        _ if in_use(source) && protocol == "TCP" => {
            "; the port is in use: stop what serves there, choose another port with --bind, or give up players \
             whose networks block UDP with --no-tcp"
                .into()
        }
        _ if in_use(source) => format!(
            "; the port is in use, or the system reserves it: stop the other lobby or STUN server there, or choose \
             another port with --bind {}",
            SocketAddr::new(address.ip(), address.port().wrapping_add(2))
        ),
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: give one of its own with --bind (and what players know it as \
             with --public-address)"
                .into()
        }
        io::ErrorKind::PermissionDenied => "; choose a port above 1023".into(),
        _ => String::new(),
    }
}

/// A socket of the server and what it is for.
pub(crate) struct Bound {
    socket: Socket,
    pub(crate) about: ServerSocket,
    refused_sends: Episode,
    too_long: Episode,
}

fn open(address: SocketAddr, about: ServerSocket) -> Result<Bound, BindError> {
    let socket = Socket::open(address, Some(SOCKET_BUFFER)).map_err(|source| BindError {
        address,
        protocol: "UDP",
        source,
    })?;
    let about = ServerSocket { local: socket.local(), ..about };
    Ok(Bound { socket, about, refused_sends: Episode::default(), too_long: Episode::default() })
}

/// Free ports that are tried until one is free for UDP and TCP.
const PORT_TRIES: usize = 16;

/// A first socket and, unless the settings say no, the listener at the same port.
fn open_first(
    settings: &Settings,
    address: SocketAddr,
    about: ServerSocket,
) -> Result<(Bound, Option<Listener>), BindError> {
    let mut tries = 0;
    loop {
        let bound = open(address, about)?;
        if settings.no_tcp {
            return Ok((bound, None));
        }
        tries += 1;
        match Listener::open(&bound.about) {
            Ok(listener) => return Ok((bound, Some(listener))),
            Err(error) if address.port() == 0 && tries < PORT_TRIES && in_use(&error.source) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens all sockets that the settings ask for.
pub(crate) fn open_all(settings: &Settings) -> Result<(Vec<Bound>, Vec<Listener>), BindError> {
    let mut all = Vec::new();
    let mut listeners = Vec::new();
    let mut served = [false, false];
    let around = Surroundings::read();
    for (first, required) in settings.addresses() {
        let family = |ip: &&IpAddr| ip.is_ipv4() == first.is_ipv4();
        let public = settings.public_address.iter().find(family).copied();
        let second_public = settings.second_public_address.iter().find(family).copied();
        // Of several addresses of one family, the first is the one that classification works with.
        let main = !std::mem::replace(&mut served[usize::from(first.is_ipv6())], true);
        let interface = first.ip().is_unspecified().then(|| around.reachable(first.is_ipv6())).flatten();
        let about = ServerSocket { public, interface, ..ServerSocket::first(first) };
        let bound = match open_first(settings, first, about) {
            Ok((bound, listener)) => {
                listeners.extend(listener);
                bound
            }
            Err(error) if !required => {
                tracing::info!(%error, "no IPv6");
                continue;
            }
            Err(error) => return Err(error),
        };
        let ports = [bound.about.local.port(), 0];
        all.push(bound);
        if !main {
            continue;
        }
        let beside = open_second_port(settings, first, ports[0], about)?;
        let ports = [ports[0], beside.about.local.port()];
        all.push(beside);
        if let Some(second) = settings.second_address.iter().find(family) {
            for (port, second_port) in [(ports[0], false), (ports[1], true)] {
                let about =
                    ServerSocket { public: second_public, second_address: true, second_port, ..about };
                all.push(open(SocketAddr::new(*second, port), about)?);
            }
        }
    }
    Ok((all, listeners))
}

/// The one the settings name; else the next one, or any where that is taken.
fn open_second_port(
    settings: &Settings,
    first: SocketAddr,
    first_port: u16,
    about: ServerSocket,
) -> Result<Bound, BindError> {
    let about = ServerSocket { second_port: true, ..about };
    let wanted = settings.second_port_for(first);
    let port = if wanted == first_port { 0 } else { wanted };
    match open(SocketAddr::new(first.ip(), port), about) {
        Err(error) if settings.second_port.is_none() && in_use(&error.source) => {
            tracing::info!(port, "second port is in use: taking a free one");
            open(SocketAddr::new(first.ip(), 0), about)
        }
        other => other,
    }
}

/// Memory for receiving; it serves all sockets.
pub(crate) fn buffer() -> Buffer {
    Buffer::new(BATCH)
}

/// What the poll calls a socket.
fn token(id: ServerSocketId) -> Token {
    Token(usize::from(id.0))
}

impl Bound {
    /// Has the poll watch it.
    pub(crate) fn register(&mut self, registry: &Registry, id: ServerSocketId) -> io::Result<()> {
        registry.register(&mut self.socket, token(id), Interest::READABLE)
    }

    /// Notes that the poll has told of something to read.
    pub(crate) fn set_readable(&mut self) {
        self.socket.set_readable();
    }

    /// When it should be read without any news from the poll.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.socket.poll_timeout(now)
    }

    /// Gives what has come in to the core.
    pub(crate) fn receive(&mut self, id: ServerSocketId, buffer: &mut Buffer, server: &mut Server) {
        for _ in 0..BATCHES_IN_A_ROW {
            let now = Instant::now();
            if !self.socket.is_readable(now) {
                return;
            }
            match self.socket.receive(now, buffer) {
                Received::Datagrams => {}
                Received::Nothing => return,
                Received::Failed { error, first: true } => {
                    tracing::debug!(%error, address = %self.about.local, "receiving failed");
                }
                Received::Failed { .. } => {}
            }
            for datagram in buffer.datagrams() {
                let asked = self.about.local.ip().is_unspecified().then_some(datagram.asked).flatten();
                server.handle_datagram_at(now, id, asked, datagram.from, datagram.payload);
            }
        }
    }

    /// Opens a socket that has failed for seconds anew. Its port stays: players know no other one.
    pub(crate) fn mend(&mut self, now: Instant, registry: &Registry, id: ServerSocketId) {
        let address = self.about.local;
        let Some(mended) = self.socket.mend(now, registry, token(id)).filter(|mended| mended.first) else {
            return;
        };
        match mended.result {
            Ok(()) if self.socket.local() == address => {
                tracing::warn!(%address, "the system had taken a socket away; it is open again");
            }
            Ok(()) => tracing::error!(
                %address,
                "the system had taken a socket away, and something else has its port now: restart the server"
            ),
            Err(error) => tracing::error!(
                %address, %error,
                "the system has taken a socket away, and gives no other one; trying again"
            ),
        }
    }

    /// Sends; what the system does not take is lost, as UDP may be.
    pub(crate) fn send(&mut self, to: SocketAddr, source: Option<IpAddr>, payload: &[u8]) -> Sent {
        let origin = source.map_or(Origin::System, Origin::Address);
        let sent = self.socket.send(&Outgoing { to, origin, ttl: None, payload, segment: None });
        let address = self.about.local;
        if let Some(length) = sent.too_long {
            // Players find by themselves what passes, and send no more of these.
            if self.too_long.begins(Instant::now()) {
                tracing::debug!(%address, %to, length, "longer than the way there takes");
            }
        } else if let Some(error) = sent.error
            && self.refused_sends.begins(Instant::now())
        {
            tracing::debug!(%address, %to, %error, "sending failed");
        }
        sent
    }
}
