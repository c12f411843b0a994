//! One UDP socket.
#![allow(clippy::disallowed_methods, reason = "this is the one place that does UDP I/O")]

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Type};

use crate::buffer::{Buffer, ENTRY};
use crate::episode::Episode;
use crate::health::Health;
use crate::outgoing::{Origin, Outgoing, Sent};

/// Two attempts to open a broken socket anew are this far apart.
const MEND_PERIOD: Duration = Duration::from_secs(5);
/// One receive call of the system fills at most this many entries.
const ENTRIES: usize = 32;
/// This is the hop limit that systems start with (RFC 1700), where the socket does not tell its own.
const USUAL_TTL: u32 = 64;

/// This is what a receive call brought.
#[derive(Debug)]
pub enum Received {
    /// The buffer has datagrams; there may be more.
    Datagrams,
    /// There is nothing; the poll tells when there is.
    Nothing,
    /// The call failed. The socket is readable still; see [`Socket::poll_timeout`].
    Failed {
        /// The system refused it with this error.
        error: io::Error,
        /// An episode begins with it ([`Episode`]): it is worth a line in the log.
        first: bool,
    },
}

/// Returns whether a port cannot be had because something else has it. Windows says "permission denied" of ports that
/// Hyper-V and others reserve.
pub fn in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
        || cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied
}

/// This is how an attempt went to open a broken socket anew.
#[derive(Debug)]
pub struct Mended {
    /// This is the system's error, when no socket can be had; the broken one stays then, and is mended again five
    /// seconds later.
    pub result: io::Result<()>,
    /// An episode of such successes, or of such errors, begins with it ([`Episode`]): it is worth a line in the log.
    pub first: bool,
}

/// This is how mending has gone so far.
#[derive(Clone, Copy, Debug, Default)]
struct Mending {
    at: Option<Instant>,
    successes: Episode,
    errors: Episode,
}

/// This is a UDP socket that is bound, non-blocking, and watched by a [`mio::Poll`] (it is an event [`Source`]).
#[derive(Debug)]
pub struct Socket {
    io: UdpSocket,
    /// None where the system refused an option that batching needs: then one call per datagram.
    state: Option<UdpSocketState>,
    local: SocketAddr,
    ttl: u32,
    buffer: Option<usize>,
    granted: Option<usize>,
    batches: bool,
    readable: bool,
    health: Health,
    mending: Mending,
}

impl Socket {
    /// Opens a socket at `address`. `buffer`: bytes that are asked of the system for each direction; it may grant less.
    ///
    /// # Errors
    /// The system's, when the address cannot be bound.
    pub fn open(address: SocketAddr, buffer: Option<usize>) -> io::Result<Self> {
        #[cfg(any(test, feature = "faults"))]
        crate::faults::check(address, crate::faults::Call::Open)?;
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        let granted = buffer.and_then(|bytes| ask_for_buffers(&socket, bytes));
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let io = UdpSocket::from_std(socket.into());
        let local = io.local_addr()?;
        #[cfg(any(test, feature = "faults"))]
        crate::faults::opened(local);
        let state = UdpSocketState::new(UdpSockRef::from(&io)).ok();
        let options = SockRef::from(&io);
        let ttl = if local.is_ipv4() { options.ttl_v4() } else { options.unicast_hops_v6() };
        Ok(Self {
            io,
            state,
            local,
            ttl: ttl.unwrap_or(USUAL_TTL),
            buffer,
            granted,
            batches: true,
            readable: true,
            health: Health::default(),
            mending: Mending::default(),
        })
    }

    /// Closes the socket where it is broken ([`Health::is_broken`]), and opens another one in its place, at the same
    /// port if it can be had, else at any, watched by `registry` under `token`. None: it is not broken, or was mended
    /// within the last five seconds.
    pub fn mend(&mut self, now: Instant, registry: &Registry, token: Token) -> Option<Mended> {
        let waits = self.mending.at.is_some_and(|at| now < at + MEND_PERIOD);
        if waits || !(self.readable && self.health.is_broken(now)) {
            return None;
        }
        self.mending.at = Some(now);
        let result = self.reopen(registry).and_then(|()| registry.register(self, token, Interest::READABLE));
        let of_a_kind = if result.is_ok() { &mut self.mending.successes } else { &mut self.mending.errors };
        let first = of_a_kind.begins(now);
        Some(Mended { result, first })
    }

    fn reopen(&mut self, registry: &Registry) -> io::Result<()> {
        // The port is not free before the old socket is closed, and nothing is closed before there is another one.
        let any_port = Self::open(SocketAddr::new(self.local.ip(), 0), self.buffer)?;
        // Of a socket that the system took away it may have forgotten that it is watched.
        let _ = registry.deregister(self);
        let (local, buffer, mending) = (self.local, self.buffer, self.mending);
        *self = any_port;
        if let Ok(same_port) = Self::open(local, buffer) {
            *self = same_port;
        }
        self.mending = mending;
        Ok(())
    }

    /// Returns the address that it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Returns how many bytes of receive buffer the system has granted, of those that were asked for; none: nothing was
    /// asked for, or the system does not tell.
    pub fn receive_buffer(&self) -> Option<usize> {
        self.granted
    }

    /// Returns the number by which the kernel lists this socket (Linux: its inode), see
    /// [`kernel_queues`](crate::kernel_queues); none on systems that have no such list. It is another one after
    /// [`mend`](Self::mend).
    pub fn kernel_id(&self) -> Option<u64> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        return rustix::fs::fstat(&self.io).ok().map(|stat| stat.st_ino);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        None
    }

    /// Notes that the poll has told of something to read, or of an error.
    pub fn set_readable(&mut self) {
        self.readable = true;
    }

    /// Returns whether it should be read at `now`.
    pub fn is_readable(&self, now: Instant) -> bool {
        self.readable && self.health.retry_at().is_none_or(|at| at <= now)
    }

    /// Returns when it should be read without any news from the poll; none: not before there is news.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.readable.then(|| self.health.retry_at().unwrap_or(now))
    }

    /// Makes one receive call, at `now`; what comes is in `buffer`. After [`Received::Nothing`] the poll tells when there
    /// is more.
    pub fn receive(&mut self, now: Instant, buffer: &mut Buffer) -> Received {
        match self.fill(buffer) {
            Ok(filled) => {
                buffer.filled = filled;
                self.health.succeeded();
                Received::Datagrams
            }
            Err(error) => {
                buffer.filled = 0;
                if error.kind() == io::ErrorKind::WouldBlock {
                    self.readable = false;
                    self.health.succeeded();
                    return Received::Nothing;
                }
                let first = self.health.failed(now, &error);
                Received::Failed { error, first }
            }
        }
    }

    fn fill(&self, buffer: &mut Buffer) -> io::Result<usize> {
        #[cfg(any(test, feature = "faults"))]
        crate::faults::check(self.local, crate::faults::Call::Receive)?;
        let Buffer { bytes, metas, .. } = buffer;
        let mut entries = bytes.chunks_exact_mut(ENTRY);
        match &self.state {
            Some(state) => {
                let count = metas.len().min(ENTRIES);
                let mut slices: [IoSliceMut<'_>; ENTRIES] =
                    std::array::from_fn(|_| IoSliceMut::new(entries.next().unwrap_or_default()));
                self.io.try_io(|| {
                    state.recv(UdpSockRef::from(&self.io), &mut slices[..count], &mut metas[..count])
                })
            }
            None => {
                let (len, from) = self.io.recv_from(entries.next().unwrap_or_default())?;
                if let Some(meta) = metas.first_mut() {
                    *meta = RecvMeta::default();
                    (meta.addr, meta.len, meta.stride) = (from, len, len);
                }
                Ok(1)
            }
        }
    }

    /// Returns how many datagrams [`send`](Self::send) takes at once, at the most.
    pub fn max_segments(&self) -> usize {
        self.state.as_ref().filter(|_| self.batches).map_or(1, UdpSocketState::max_gso_segments)
    }

    /// Sends datagrams. A batch that the system refuses, or knows nothing of, goes out one datagram at a time; if
    /// that works, this socket makes no batches any more (quinn-udp finds out by itself on Linux, and not on
    /// Windows).
    pub fn send(&mut self, outgoing: &Outgoing<'_>) -> Sent {
        let segment = outgoing.segment.filter(|segment| *segment > 0 && *segment < outgoing.payload.len());
        let Some(segment) = segment else {
            let mut sent = Sent::default();
            sent.note(self.send_one(outgoing, outgoing.payload), outgoing.payload.len());
            return sent;
        };
        let count = outgoing.payload.len().div_ceil(segment);
        let batches = self.max_segments() > 1 && !matches!(outgoing.origin, Origin::Interface { .. });
        if batches {
            let mut result = self.send_batch(outgoing, segment);
            while result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                result = self.send_batch(outgoing, segment);
            }
            match result {
                Ok(()) => return Sent { sent: count, ..Sent::default() },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Sent { blocked: true, ..Sent::default() };
                }
                Err(_) => {}
            }
        }
        let mut sent = Sent::default();
        for part in outgoing.payload.chunks(segment) {
            sent.note(self.send_one(outgoing, part), part.len());
            if sent.blocked {
                break;
            }
        }
        // Where a datagram alone is refused too, the fault lies elsewhere: no route, a firewall, too long. The last one may be
        // short enough.
        if batches && sent.sent > 0 && sent.too_long.is_none() {
            (self.batches, sent.batch_refused) = (false, true);
        }
        sent
    }

    fn send_batch(&self, outgoing: &Outgoing<'_>, segment: usize) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        crate::faults::check(self.local, crate::faults::Call::SendBatch)
            .and_then(|()| crate::faults::check_length(self.local, segment))?;
        self.transmit(outgoing, outgoing.payload, Some(segment))
    }

    fn send_one(&self, outgoing: &Outgoing<'_>, payload: &[u8]) -> io::Result<()> {
        loop {
            #[cfg(any(test, feature = "faults"))]
            crate::faults::check(self.local, crate::faults::Call::Send)
                .and_then(|()| crate::faults::check_length(self.local, payload.len()))?;
            let result = match outgoing.ttl {
                None => self.transmit(outgoing, payload, None),
                Some(ttl) => {
                    self.set_ttl(u32::from(ttl))?;
                    let result = self.transmit(outgoing, payload, None);
                    self.set_ttl(self.ttl)?;
                    result
                }
            };
            if !result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                return result;
            }
        }
    }

    fn transmit(
        &self,
        outgoing: &Outgoing<'_>,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> io::Result<()> {
        let src_ip = match outgoing.origin {
            Origin::System => None,
            Origin::Address(address) => Some(address),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Origin::Interface { address, index } => {
                return self.transmit_by_interface(outgoing.to, contents, address, index);
            }
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            Origin::Interface { address, .. } => Some(address.into()),
        };
        let Some(state) = &self.state else { return self.io.send_to(contents, outgoing.to).map(|_| ()) };
        let destination = outgoing.to;
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip };
        self.io.try_io(|| state.try_send(UdpSockRef::from(&self.io), &transmit))
    }

    /// quinn-udp says the address alone, which leaves the interface to the routes here.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn transmit_by_interface(
        &self,
        to: SocketAddr,
        contents: &[u8],
        address: std::net::Ipv4Addr,
        index: u32,
    ) -> io::Result<()> {
        use nix::libc::{in_addr, in_pktinfo};
        use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
        let info = in_pktinfo {
            ipi_ifindex: i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?,
            ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
            ipi_addr: in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let to = SockaddrStorage::from(to);
        self.io.try_io(|| {
            let contents = [io::IoSlice::new(contents)];
            sendmsg(self.io.as_raw_fd(), &contents, &control, MsgFlags::empty(), Some(&to))?;
            Ok(())
        })
    }

    fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let socket = SockRef::from(&self.io);
        if self.local.is_ipv4() { socket.set_ttl_v4(ttl) } else { socket.set_unicast_hops_v6(ttl) }
    }

    /// Gives the socket away, as it would be had it never been here: its owner receives one datagram with each call.
    pub fn into_std(self) -> std::net::UdpSocket {
        self.receive_apart();
        self.io.into()
    }

    /// Switches merged receiving (GRO) off: a plain `recv_from` would get several datagrams as one.
    fn receive_apart(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = nix::sys::socket::setsockopt(&self.io, nix::sys::socket::sockopt::UdpGroSegment, &false);
        #[cfg(windows)]
        if let Some(state) = &self.state {
            let _ = state.set_gro(UdpSockRef::from(&self.io), false);
        }
    }
}

/// Asks for so many bytes of buffer in each direction, and returns how many there are for receiving. Linux grants no more
/// than `net.core.rmem_max`, unless the process may do as it likes (`CAP_NET_ADMIN`).
fn ask_for_buffers(socket: &socket2::Socket, bytes: usize) -> Option<usize> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let forced = {
        use nix::sys::socket::{setsockopt, sockopt};
        (
            setsockopt(socket, sockopt::RcvBufForce, &bytes).is_ok(),
            setsockopt(socket, sockopt::SndBufForce, &bytes).is_ok(),
        )
    };
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let forced = (false, false);
    if !forced.0 {
        let _ = socket.set_recv_buffer_size(bytes);
    }
    if !forced.1 {
        let _ = socket.set_send_buffer_size(bytes);
    }
    // Linux takes twice as many, for what it keeps beside each datagram, and tells that.
    let told = socket.recv_buffer_size().ok()?;
    Some(if cfg!(any(target_os = "linux", target_os = "android")) { told / 2 } else { told })
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.io.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.io.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.io.deregister(registry)
    }
}

#[cfg(test)]
mod tests;
