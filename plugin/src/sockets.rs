//! UDP sockets with batched system calls.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use mio::net::UdpSocket;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Type};

use crate::state::{Counters, count};

/// Most bytes of one batched send: one UDP datagram's limit, less headers.
const MAX_BATCH_BYTES: usize = 60_000;
/// Datagrams that wait for a full socket buffer; then the newest are dropped.
const MAX_QUEUE: usize = 4096;
/// Room for one receive call's datagrams; the kernel merges up to 64 KiB of one sender into one buffer.
const BUFFER: usize = 1 << 16;
/// Buffers of one receive call.
const BUFFERS: usize = 8;

struct Waiting {
    to: SocketAddr,
    ttl: Option<u8>,
    payload: Vec<u8>,
}

/// A socket that the driver reads.
pub(crate) struct Socket {
    io: UdpSocket,
    /// None where the system lacks what batching needs: then one call per datagram.
    state: Option<UdpSocketState>,
    local: SocketAddr,
    ttl: u32,
    queue: VecDeque<Waiting>,
    /// Number of the row that the first one in line belongs to, see `Turn::transmit`.
    pub(crate) row: u64,
    /// There may be something to read.
    pub(crate) readable: bool,
    /// The socket's buffer is full; wait for it to be writable.
    pub(crate) blocked: bool,
    /// Registered for that.
    pub(crate) watches_writable: bool,
}

impl Socket {
    /// Opens and binds one.
    pub(crate) fn open(address: SocketAddr, buffer: Option<usize>) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Some(bytes) = buffer {
            // A wish: the system may grant less.
            let _ = socket.set_recv_buffer_size(bytes);
            let _ = socket.set_send_buffer_size(bytes);
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let io = UdpSocket::from_std(socket.into());
        let local = io.local_addr()?;
        let state = UdpSocketState::new(UdpSockRef::from(&io)).ok();
        let ttl =
            if local.is_ipv4() { SockRef::from(&io).ttl_v4() } else { SockRef::from(&io).unicast_hops_v6() };
        let queue = VecDeque::new();
        Ok(Self {
            io,
            state,
            local,
            ttl: ttl.unwrap_or(64),
            queue,
            row: 0,
            readable: true,
            blocked: false,
            watches_writable: false,
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn source(&mut self) -> &mut UdpSocket {
        &mut self.io
    }

    /// Gives the socket away, without what waits to be sent.
    pub(crate) fn into_std(self) -> std::net::UdpSocket {
        self.io.into()
    }

    /// Puts a datagram in line for [`flush`](Self::flush).
    pub(crate) fn push(&mut self, to: SocketAddr, ttl: Option<u8>, payload: Vec<u8>, counters: &Counters) {
        if self.queue.len() >= MAX_QUEUE {
            count(&counters.outgoing_dropped, 1);
        } else {
            self.queue.push_back(Waiting { to, ttl, payload });
        }
    }

    pub(crate) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends what is in line, until the socket's buffer is full.
    pub(crate) fn flush(&mut self, scratch: &mut Vec<u8>, counters: &Counters) {
        self.blocked = false;
        while let Some(first) = self.queue.front() {
            let (run, segment) = (self.run(), first.payload.len());
            let result = if run > 1 {
                scratch.clear();
                for waiting in self.queue.iter().take(run) {
                    scratch.extend_from_slice(&waiting.payload);
                }
                self.send(first.to, scratch, Some(segment))
            } else {
                self.send_one(first)
            };
            count(&counters.send_calls, 1);
            match result {
                Ok(()) => count(&counters.datagrams_sent, run as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                // The batch was refused, not the datagrams: from now on they go one by one.
                Err(_) if run > 1 && self.max_run() == 1 => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    bevy_log::trace!("sending failed: {error}");
                    count(&counters.send_errors, run as u64);
                }
            }
            self.queue.drain(..run);
        }
    }

    fn max_run(&self) -> usize {
        self.state.as_ref().map_or(1, UdpSocketState::max_gso_segments)
    }

    /// How many datagrams from the front may leave in one call: one destination, one length, the last one may be
    /// shorter.
    fn run(&self) -> usize {
        let Some(first) = self.queue.front() else { return 0 };
        let (max, segment) = (self.max_run(), first.payload.len());
        if max == 1 || first.ttl.is_some() || segment == 0 {
            return 1;
        }
        let (mut run, mut bytes) = (1, segment);
        for waiting in self.queue.iter().skip(1) {
            let length = waiting.payload.len();
            bytes += length;
            let fits = waiting.to == first.to
                && waiting.ttl.is_none()
                && (1..=segment).contains(&length)
                && bytes <= MAX_BATCH_BYTES;
            if run >= max || !fits {
                break;
            }
            run += 1;
            if length < segment {
                break;
            }
        }
        run
    }

    fn send_one(&self, waiting: &Waiting) -> io::Result<()> {
        let Some(ttl) = waiting.ttl else { return self.send(waiting.to, &waiting.payload, None) };
        self.set_ttl(u32::from(ttl))?;
        let result = self.send(waiting.to, &waiting.payload, None);
        self.set_ttl(self.ttl)?;
        result
    }

    fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let socket = SockRef::from(&self.io);
        if self.local.is_ipv4() { socket.set_ttl_v4(ttl) } else { socket.set_unicast_hops_v6(ttl) }
    }

    fn send(&self, destination: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let Some(state) = &self.state else { return self.io.send_to(contents, destination).map(|_| ()) };
        let transmit = quinn_udp::Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        self.io.try_io(|| state.try_send(UdpSockRef::from(&self.io), &transmit))
    }

    /// One receive call; what came is in `buffer`. Not [`readable`](Self::readable) any more when there was
    /// nothing.
    pub(crate) fn receive(&mut self, buffer: &mut Buffer, counters: &Counters) {
        count(&counters.receive_calls, 1);
        buffer.filled = 0;
        match buffer.fill(&self.io, self.state.as_ref()) {
            Ok(filled) => buffer.filled = filled,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            // Interrupted, or an ICMP error of an earlier send (`ConnectionReset` on Windows): says nothing about
            // this socket.
            Err(error) => bevy_log::trace!("receiving failed: {error}"),
        }
    }
}

/// Memory for one receive call, shared by all sockets of a driver.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    metas: [RecvMeta; BUFFERS],
    filled: usize,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; BUFFER * BUFFERS], metas: [RecvMeta::default(); BUFFERS], filled: 0 }
    }

    /// What the last receive call brought.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.metas.iter().zip(self.bytes.chunks_exact(BUFFER)).take(self.filled).flat_map(|(meta, bytes)| {
            let whole = bytes.get(..meta.len).unwrap_or_default();
            // An empty datagram has no stride.
            whole.chunks(meta.stride.max(1)).map(|part| (meta.addr, part))
        })
    }

    fn fill(&mut self, io: &UdpSocket, state: Option<&UdpSocketState>) -> io::Result<usize> {
        let mut parts = self.bytes.chunks_exact_mut(BUFFER);
        match state {
            Some(state) => {
                let mut slices: [IoSliceMut<'_>; BUFFERS] =
                    std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
                io.try_io(|| state.recv(UdpSockRef::from(io), &mut slices, &mut self.metas))
            }
            None => {
                let (len, addr) = io.recv_from(parts.next().unwrap_or_default())?;
                if let Some(meta) = self.metas.first_mut() {
                    *meta = RecvMeta::default();
                    (meta.addr, meta.len, meta.stride) = (addr, len, len);
                }
                Ok(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn pair() -> (Socket, Socket) {
        let any = "127.0.0.1:0".parse().unwrap();
        (Socket::open(any, Some(1 << 20)).unwrap(), Socket::open(any, Some(1 << 20)).unwrap())
    }

    fn exchange(lengths: &[usize]) -> (Vec<Vec<u8>>, u64) {
        let (mut left, mut right) = pair();
        let counters = Counters::default();
        let sent: Vec<Vec<u8>> = lengths.iter().zip(0u8..).map(|(len, n)| vec![n; *len]).collect();
        for payload in &sent {
            left.push(right.local(), None, payload.clone(), &counters);
        }
        left.flush(&mut Vec::new(), &counters);
        let (mut buffer, mut got) = (Buffer::new(), Vec::new());
        let deadline = Instant::now() + Duration::from_secs(5);
        while got.len() < sent.len() && Instant::now() < deadline {
            right.receive(&mut buffer, &counters);
            for (from, bytes) in buffer.datagrams() {
                assert_eq!(from, left.local());
                got.push(bytes.to_vec());
            }
        }
        assert_eq!(got, sent);
        (got, counters.send_calls.into_inner())
    }

    #[test]
    fn batches_keep_boundaries_and_order() {
        let (_, calls) = exchange(&[1200; 40]);
        assert!(calls <= 40);
        exchange(&[1200, 1200, 300, 1200, 7, 7, 8, 1]);
        exchange(&[65, 64, 63, 62]);
    }

    #[test]
    fn a_ttl_holds_for_one_datagram() {
        let (mut left, mut right) = pair();
        let counters = Counters::default();
        left.push(right.local(), Some(3), vec![1], &counters);
        left.push(right.local(), None, vec![2], &counters);
        left.flush(&mut Vec::new(), &counters);
        assert_eq!(SockRef::from(&left.io).ttl_v4().unwrap(), left.ttl);
        let (mut buffer, mut got) = (Buffer::new(), 0);
        let deadline = Instant::now() + Duration::from_secs(5);
        while got < 2 && Instant::now() < deadline {
            right.receive(&mut buffer, &counters);
            got += buffer.datagrams().count();
        }
        assert_eq!(got, 2);
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let (left, _right) = pair();
        let error = Socket::open(left.local(), None).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
