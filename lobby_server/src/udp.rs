//! The server's UDP sockets: the only place that opens or turns them. Beside each first one there is a listener for
//! TCP (see `tcp.rs`).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::UdpSocket;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use traversal_core::address::{Scope, scope};

use crate::config::Settings;
use crate::matchmaking::{Reach, reach};
use crate::server::{Server, ServerSocket, ServerSocketId};
use crate::tcp::Listener;

/// Datagrams taken with one system call.
const BATCH: usize = 16;
/// Room for one received batch entry: the system may hand out several equal datagrams at once.
const BUFFER: usize = 65_536;
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
        io::ErrorKind::AddrInUse if protocol == "TCP" => {
            "; the port is in use: stop what serves there, choose another port with --bind, or give up players \
             whose networks block UDP with --no-tcp"
                .into()
        }
        io::ErrorKind::AddrInUse => format!(
            "; the port is in use: stop the other lobby or STUN server there, or choose another port with \
             --bind {}",
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

pub(crate) struct Bound {
    pub(crate) socket: UdpSocket,
    state: UdpSocketState,
    pub(crate) about: ServerSocket,
}

fn open(address: SocketAddr, about: ServerSocket) -> Result<Bound, BindError> {
    let attempt = || -> io::Result<Bound> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The system grants less where it must.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket.into());
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let local = socket.local_addr()?;
        Ok(Bound { socket, state, about: ServerSocket { local, ..about } })
    };
    attempt().map_err(|source| BindError { address, protocol: "UDP", source })
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
            Err(error)
                if address.port() == 0
                    && tries < PORT_TRIES
                    && error.source.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// An address of this machine that players may reach it at: a public one, if there is any.
fn own_address(v6: bool) -> Option<IpAddr> {
    let interfaces = local_ip_address::list_afinet_netifas().unwrap_or_default();
    let mut own: Vec<IpAddr> = interfaces
        .into_iter()
        .map(|(_, ip)| ip)
        // Link-local addresses need a scope that the other side cannot know.
        .filter(|ip| ip.is_ipv6() == v6 && (!v6 || scope(*ip) != Scope::LinkLocal))
        .filter(|ip| reach(*ip) != Reach::Loopback)
        .collect();
    own.sort_by_key(|ip| (reach(*ip) != Reach::Public, *ip));
    own.first().copied()
}

/// Opens all sockets that the settings ask for.
pub(crate) fn open_all(settings: &Settings) -> Result<(Vec<Bound>, Vec<Listener>), BindError> {
    let mut all = Vec::new();
    let mut listeners = Vec::new();
    let mut served = [false, false];
    for (first, required) in settings.addresses() {
        let family = |ip: &&IpAddr| ip.is_ipv4() == first.is_ipv4();
        let public = settings.public_address.iter().find(family).copied();
        let second_public = settings.second_public_address.iter().find(family).copied();
        // Of several addresses of one family, the first is the one that classification works with.
        let main = !std::mem::replace(&mut served[usize::from(first.is_ipv6())], true);
        let interface = first.ip().is_unspecified().then(|| own_address(first.is_ipv6())).flatten();
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
        Err(error) if settings.second_port.is_none() && error.source.kind() == io::ErrorKind::AddrInUse => {
            tracing::info!(port, "second port is in use: taking a free one");
            open(SocketAddr::new(first.ip(), 0), about)
        }
        other => other,
    }
}

/// Buffers for receiving.
pub(crate) struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    pub(crate) fn new() -> Self {
        Self(vec![vec![0; BUFFER]; BATCH])
    }
}

impl Bound {
    /// Gives what has come in to the core. True: there may be more.
    pub(crate) fn receive(&self, id: ServerSocketId, buffers: &mut Buffers, server: &mut Server) -> bool {
        let mut metas = [RecvMeta::default(); BATCH];
        for _ in 0..BATCHES_IN_A_ROW {
            let mut slices: Vec<IoSliceMut<'_>> =
                buffers.0.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            let count = match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // Windows reports ICMP errors of earlier sends here.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                Err(error) => {
                    tracing::debug!(%error, "receiving failed");
                    return false;
                }
            };
            let now = Instant::now();
            for (meta, buffer) in metas[..count].iter().zip(&buffers.0) {
                let asked = self.about.local.ip().is_unspecified().then_some(meta.dst_ip).flatten();
                for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    server.handle_datagram_at(now, id, asked, meta.addr, datagram);
                }
            }
        }
        true
    }

    /// Sends; what the system does not take is lost, as UDP may be.
    pub(crate) fn send(&self, to: SocketAddr, source: Option<IpAddr>, payload: &[u8]) -> io::Result<()> {
        let transmit =
            Transmit { destination: to, ecn: None, contents: payload, segment_size: None, src_ip: source };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }
}
