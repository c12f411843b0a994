//! The driver's UDP sockets, each with the datagrams that wait to be sent.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use mio::Token;
use traversal_core::address::is_site;
use traversal_core::{SocketId, Transmit};
use traversal_udp::{Buffer, Episode, Origin, Outgoing, Received};

use crate::state::{Counters, count};

/// This is the waker's token; sockets have the numbers of their [`SocketId`]s.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// One batched send has at most this many bytes: one UDP datagram's limit, less headers.
const MAX_BATCH_BYTES: usize = 60_000;
/// At most this many datagrams wait for a full socket buffer; then the newest are dropped.
const MAX_QUEUE: usize = 4096;
/// This is how many buffers one receive call fills.
const BUFFERS: usize = 8;

/// Returns the token under which the poll tells about a socket.
pub(crate) fn token(socket: SocketId) -> Token {
    Token(socket.0 as usize)
}

struct Waiting {
    to: SocketAddr,
    origin: Origin,
    ttl: Option<u8>,
    payload: Vec<u8>,
}

/// This is a socket that the driver reads.
pub(crate) struct Socket {
    io: traversal_udp::Socket,
    queue: VecDeque<Waiting>,
    /// This is the number of the row that the first one in line belongs to; see `RunLoop::transmit`.
    pub(crate) row: u64,
    /// The socket's buffer is full; wait for it to be writable.
    pub(crate) blocked: bool,
    /// The poll is asked to tell when it is writable.
    pub(crate) watches_writable: bool,
    /// It has been told that the system lets nothing out into the local network.
    lan_refusal_told: bool,
    /// Sends that the system refused, of any kind but as too long.
    refused_sends: Episode,
    /// The system refused these datagrams as too long: it holds to whom they were to go, and their length. It is for
    /// the agent.
    pub(crate) too_long: Vec<(SocketAddr, usize)>,
}

impl Deref for Socket {
    type Target = traversal_udp::Socket;

    fn deref(&self) -> &Self::Target {
        &self.io
    }
}

impl DerefMut for Socket {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.io
    }
}

impl Socket {
    /// Opens a socket and binds it to this address.
    pub(crate) fn open(address: SocketAddr, buffer: Option<usize>) -> io::Result<Self> {
        let io = traversal_udp::Socket::open(address, buffer)?;
        let queue = VecDeque::new();
        Ok(Self {
            io,
            queue,
            row: 0,
            blocked: false,
            watches_writable: false,
            lan_refusal_told: false,
            refused_sends: Episode::default(),
            too_long: Vec::new(),
        })
    }

    /// Gives the socket away, without what waits to be sent.
    pub(crate) fn into_std(self) -> std::net::UdpSocket {
        self.io.into_std()
    }

    /// Puts a datagram in line for [`flush`](Self::flush).
    pub(crate) fn push(&mut self, transmit: Transmit, origin: Origin, counters: &Counters) {
        let Transmit { to, ttl, payload, .. } = transmit;
        if self.queue.len() >= MAX_QUEUE {
            count(&counters.outgoing_dropped, 1);
        } else {
            self.queue.push_back(Waiting { to, origin, ttl, payload });
        }
    }

    pub(crate) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends what is in line, until the socket's buffer is full.
    pub(crate) fn flush(&mut self, scratch: &mut Vec<u8>, counters: &Counters) {
        self.blocked = false;
        while let Some(first) = self.queue.front() {
            let Waiting { to, origin, ttl, ref payload } = *first;
            let (run, segment) = (self.run(), payload.len());
            scratch.clear();
            for waiting in self.queue.iter().take(run) {
                scratch.extend_from_slice(&waiting.payload);
            }
            let segment = (run > 1).then_some(segment);
            let sent = self.io.send(&Outgoing { to, origin, ttl, payload: scratch, segment });
            count(&counters.send_calls, 1);
            count(&counters.datagrams_sent, sent.sent as u64);
            count(&counters.send_errors, sent.lost as u64);
            if sent.batch_refused {
                count(&counters.batches_refused, 1);
                bevy_log::info!(
                    "the system refuses datagrams in batches at {}: they are sent one by one from now on",
                    self.io.local()
                );
            }
            if let Some(length) = sent.too_long {
                count(&counters.too_long, 1);
                self.too_long.push((to, length));
            } else if let Some(error) = sent.error {
                if self.refused_sends.begins(Instant::now()) {
                    bevy_log::debug!("sending from {} to {to} failed: {error}", self.io.local());
                }
                if is_site(to.ip())
                    && refuses_the_lan(error)
                    && !std::mem::replace(&mut self.lan_refusal_told, true)
                {
                    bevy_log::info!(
                        "the system lets nothing out to another machine of the local network ({error}): on macOS and iOS \
                         the player must allow this game to use the local network; a game on the relay tries it again, and players meet \
                         over other ways until then"
                    );
                }
            }
            self.queue.drain(..sent.sent + sent.lost);
            if sent.blocked {
                self.blocked = true;
                return;
            }
        }
    }

    /// Returns how many datagrams from the front may leave in one call: one destination, one length, the last one may
    /// be shorter.
    fn run(&self) -> usize {
        let Some(first) = self.queue.front() else { return 0 };
        let (max, segment) = (self.io.max_segments(), first.payload.len());
        if max == 1 || first.ttl.is_some() || segment == 0 {
            return 1;
        }
        let (mut run, mut bytes) = (1, segment);
        for waiting in self.queue.iter().skip(1) {
            let length = waiting.payload.len();
            bytes += length;
            let fits = waiting.to == first.to
                && waiting.origin == first.origin
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

    /// Makes one receive call; what came is in `buffer`. Returns false if there was nothing.
    pub(crate) fn receive(&mut self, now: Instant, buffer: &mut Buffer, counters: &Counters) -> bool {
        count(&counters.receive_calls, 1);
        match self.io.receive(now, buffer) {
            Received::Datagrams => true,
            Received::Nothing => false,
            Received::Failed { error, first } => {
                count(&counters.receive_errors, 1);
                if first {
                    bevy_log::debug!("receiving at {} failed: {error}", self.io.local());
                }
                false
            }
        }
    }
}

/// Returns whether this is what systems say of datagrams into the local network that the user has not allowed (macOS
/// and iOS: EHOSTUNREACH, a firewall: EPERM), or that there is none.
fn refuses_the_lan(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, PermissionDenied};
    matches!(error, HostUnreachable | NetworkUnreachable | PermissionDenied)
}

/// Returns memory for receiving; it serves all sockets of a driver.
pub(crate) fn buffer() -> Buffer {
    Buffer::new(BUFFERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn transmit(to: SocketAddr, payload: Vec<u8>) -> Transmit {
        Transmit { socket: SocketId::MAIN, to, ttl: None, payload }
    }

    #[test]
    fn a_queue_of_mixed_lengths_keeps_boundaries_and_order() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (mut left, mut right) = (Socket::open(any, None).unwrap(), Socket::open(any, None).unwrap());
        let counters = Counters::default();
        for lengths in [&[1200; 40][..], &[1200, 1200, 300, 1200, 7, 7, 8, 1], &[65, 64, 63, 62]] {
            let sent: Vec<Vec<u8>> = lengths.iter().zip(0u8..).map(|(len, n)| vec![n; *len]).collect();
            for payload in &sent {
                left.push(transmit(right.local(), payload.clone()), Origin::System, &counters);
            }
            left.flush(&mut Vec::new(), &counters);
            let (mut buffer, mut got) = (buffer(), Vec::new());
            let deadline = Instant::now() + Duration::from_secs(5);
            while got.len() < sent.len() && Instant::now() < deadline {
                if right.receive(Instant::now(), &mut buffer, &counters) {
                    got.extend(buffer.datagrams().map(|datagram| datagram.payload.to_vec()));
                }
            }
            assert_eq!(got, sent);
        }
        assert!(counters.send_calls.into_inner() <= 52);
    }

    #[test]
    fn a_local_network_that_the_system_keeps_closed_is_told_once_and_tried_again() {
        use traversal_udp::faults::{self, Call};
        let mut socket = Socket::open("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let counters = Counters::default();
        // EHOSTUNREACH.
        faults::fail_forever(socket.local(), Call::Send, if cfg!(windows) { 10065 } else { 113 });
        let mut send = |to: &str| {
            socket.push(transmit(to.parse().unwrap(), vec![1]), Origin::System, &counters);
            socket.flush(&mut Vec::new(), &counters);
            (socket.lan_refusal_told, socket.has_queue())
        };
        assert_eq!(send("203.0.113.1:9"), (false, false), "no route to the internet is another matter");
        assert_eq!(send("192.168.1.7:9"), (true, false));
        assert_eq!(send("192.168.1.7:9"), (true, false));
        assert_eq!(counters.send_errors.load(std::sync::atomic::Ordering::Relaxed), 3, "each was tried");
    }
}
