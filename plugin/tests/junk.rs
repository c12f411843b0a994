//! Junk with the other player's source address, at a connected host's and guest's socket.
//!
//! Needs the right to open raw sockets (root, or CAP_NET_RAW); says so and passes where there is none.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bevy_log::tracing_subscriber;
use bevy_renet::renet::DefaultChannel;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::*;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use test_support::game::{Game, pair, until};
use test_support::lobby;

/// The test sends this many datagrams of junk in all.
const JUNK: usize = 30_000;
/// The agents look for better paths no longer than so.
const SETTLE: Duration = Duration::from_secs(2);
/// All payloads are shorter than this: one Ethernet frame holds no more.
const LONGEST: usize = 1473;
/// All of it may cause at most this many lines at INFO and above.
const LINES: usize = 10;

/// Counts the lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.iter().filter(|byte| **byte == b'\n').count(), Ordering::Relaxed);
        eprint!("{}", String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends with any source, and hears all UDP of the machine.
struct Wire {
    send: Socket,
    hear: Socket,
}

impl Wire {
    fn open() -> io::Result<Self> {
        let send = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
        send.set_header_included_v4(true)?;
        let hear = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
        hear.set_nonblocking(true)?;
        Ok(Self { send, hear })
    }

    /// Sends a UDP datagram from `from`, whoever that is.
    fn forge(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let length = 28 + payload.len();
        let mut packet = vec![0x45, 0];
        packet.extend((length as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]); // the kernel fills in id and checksum
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend((length as u16 - 20).to_be_bytes());
        packet.extend([0, 0]); // no UDP checksum
        packet.extend(payload);
        // A full buffer drops it, as a network does.
        let _ = self.send.send_to(&packet, &SockAddr::from(to));
    }

    /// Returns what passed since the last look.
    fn heard(&self) -> Vec<Passed> {
        let mut heard = Vec::new();
        let mut buffer = [0; 2048];
        // `Socket` reads into initialised memory too.
        while let Ok(length) = io::Read::read(&mut &self.hear, &mut buffer) {
            let packet = &buffer[..length];
            let address = |ip: usize, port: usize| {
                let ip = Ipv4Addr::new(packet[ip], packet[ip + 1], packet[ip + 2], packet[ip + 3]);
                SocketAddrV4::new(ip, u16::from_be_bytes([packet[port], packet[port + 1]]))
            };
            if length > 28 {
                heard.push(Passed {
                    from: address(12, 20),
                    to: address(16, 22),
                    payload: packet[28..].to_vec(),
                });
            }
        }
        heard
    }
}

/// This is a datagram on its way.
struct Passed {
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: Vec<u8>,
}

/// This is xorshift64*, which gives the same junk in each run.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
    /// Returns random bytes, fewer than `limit`.
    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        (0..self.below(limit)).map(|_| self.next() as u8).collect()
    }
}

/// Returns one piece of junk.
fn junk(random: &mut Random, captured: &[Passed]) -> Vec<u8> {
    let mut datagram = captured[random.below(captured.len())].payload.clone();
    match random.below(8) {
        0 => random.bytes(LONGEST),
        1 => {
            // Our own kinds, with nothing behind them.
            let mut bytes = random.bytes(LONGEST);
            if let (Some(first), Some(real)) = (bytes.first_mut(), datagram.first()) {
                *first = *real;
            }
            bytes
        }
        2 => {
            let at = random.below(datagram.len());
            datagram[at] ^= 1 << random.below(8);
            datagram
        }
        3 => {
            datagram.truncate(random.below(datagram.len()));
            datagram
        }
        4 => {
            datagram.extend(random.bytes(100));
            datagram
        }
        5 => {
            // The header of one, the rest of another.
            let other = &captured[random.below(captured.len())].payload;
            let cut = random.below(datagram.len().min(other.len()));
            [&datagram[..cut], &other[cut..]].concat()
        }
        _ => datagram,
    }
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address} is not IPv4"),
    }
}

/// Returns where this player sends to.
fn target(game: &Game) -> SocketAddrV4 {
    v4(game.resource::<Peers>().iter().next().unwrap().path.remote.unwrap())
}

/// Sends reliable messages both ways, which must come in order; returns how many came to each.
fn chat(host: &mut Game, guest: &mut Game, sent: &mut u64, got: &mut [u64; 2]) {
    let channel: u8 = DefaultChannel::ReliableOrdered.into();
    let mut server = host.app.world_mut().resource_mut::<RenetServer>();
    for id in server.clients_id() {
        server.send_message(id, channel, sent.to_le_bytes().to_vec());
        while let Some(message) = server.receive_message(id, channel) {
            assert_eq!(message.as_ref(), got[0].to_le_bytes());
            got[0] += 1;
        }
    }
    let mut client = guest.app.world_mut().resource_mut::<RenetClient>();
    client.send_message(channel, sent.to_le_bytes().to_vec());
    while let Some(message) = client.receive_message(channel) {
        assert_eq!(message.as_ref(), got[1].to_le_bytes());
        got[1] += 1;
    }
    *sent += 1;
}

#[test]
fn junk_from_the_other_players_address_disturbs_nobody() {
    let wire = match Wire::open() {
        Ok(wire) => wire,
        Err(error) => {
            test_support::skipped(format_args!("no raw sockets here ({error}); run it as root"));
            return;
        }
    };
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt().with_writer(move || writer.clone()).init();
    let lobby = lobby();
    let (mut host, mut guest) = pair(&lobby);
    let server = v4(lobby.addresses().first[0]);

    // What really passes between the two, once their choice of a path has settled.
    let (mut to_host, mut to_guest, mut sent, mut got) = (Vec::new(), Vec::new(), 0_u64, [0; 2]);
    let start = Instant::now();
    until([&mut host, &mut guest], "enough was heard", 15.0, |[host, guest]| {
        chat(host, guest, &mut sent, &mut got);
        let (at_guest, at_host) = (target(host), target(guest));
        for passed in wire.heard() {
            if passed.from != server && passed.to == at_host {
                to_host.push(passed);
            } else if passed.from != server && passed.to == at_guest {
                to_guest.push(passed);
            }
        }
        start.elapsed() > SETTLE && to_host.len() > 100 && to_guest.len() > 100
    });
    let (at_host, from_guest) = to_host.last().map(|passed| (passed.to, passed.from)).unwrap();
    let (at_guest, from_host) = to_guest.last().map(|passed| (passed.to, passed.from)).unwrap();

    let noise = lines.0.load(Ordering::Relaxed);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut thrown = 0;
    until([&mut host, &mut guest], "all of it was thrown", 120.0, |[host, guest]| {
        chat(host, guest, &mut sent, &mut got);
        for _ in 0..100 {
            let from_server = random.below(10) == 0;
            let bytes = junk(&mut random, &to_host);
            wire.forge(if from_server { server } else { from_guest }, at_host, &bytes);
            let bytes = junk(&mut random, &to_guest);
            wire.forge(if from_server { server } else { from_host }, at_guest, &bytes);
            thrown += 2;
        }
        thrown >= JUNK
    });
    let behind = sent;
    until([&mut host, &mut guest], "every message comes, once and in order", 10.0, |[host, guest]| {
        chat(host, guest, &mut sent, &mut got);
        got.iter().all(|got| *got > behind)
    });
    for game in [&host, &guest] {
        assert_eq!(game.all::<PeerConnected>().len(), 1);
        assert!(game.all::<PeerDisconnected>().is_empty());
        assert!(game.all::<RoomLeft>().is_empty());
        assert!(game.resource::<LobbyLink>().online(), "{:?}", game.resource::<LobbyLink>());
        let received = game.resource::<TraversalStats>().datagrams_received();
        assert!(received as usize > JUNK / 4, "the junk arrived: {received}");
    }
    let noise = lines.0.load(Ordering::Relaxed) - noise;
    assert!(noise <= LINES, "{noise} lines in the log");
}
