//! What strangers do to the server at once, each at a bounded rate.
//!
//! They come from addresses of loopback other than the honest players': who shares an address with an attacker shares its
//! limits, which is another promise.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use socket2::{Domain, Socket, Type};
use traversal_core::NatFacts;
use traversal_core::nat::NatProfile;
use traversal_core::wire::Kind;
use traversal_core::wire::handshake::ClientHandshake;
use traversal_core::wire::message::{QuickMatch, Request, RoomOptions, RoomTarget, ToPlayer, ToServer};

use super::guest::Guest;

/// It is the room of the honest players, which is open to everybody.
pub(super) const ROOM: &str = "siege";
/// This is a room with a password.
pub(super) const LOCKED: &str = "locked";

/// Where it goes, and how far it has come.
pub(super) struct Target {
    pub(super) server: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) stop: AtomicBool,
}

impl Target {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// This is an attack: its name, what is counted, and itself.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) counted: &'static str,
    pub(super) run: fn(&Target, &AtomicU64),
}

/// These are all attacks of a siege.
pub(super) const ALL: [Attack; 9] = [
    Attack { name: "churn", counted: "players who came and went", run: churn },
    Attack { name: "lies", counted: "members with 700 profiles and lies about the host", run: lies },
    Attack { name: "queue", counted: "quick matches asked for and cancelled", run: queue },
    Attack { name: "guesses", counted: "passwords tried", run: guesses },
    Attack { name: "junk", counted: "junk datagrams", run: junk },
    Attack { name: "hellos", counted: "hellos", run: hellos },
    Attack { name: "half-open", counted: "logins that nobody stands behind", run: half_open },
    Attack { name: "tcp", counted: "slow TCP connections", run: slow_tcp },
    Attack { name: "http", counted: "junk requests to the pages", run: junk_http },
];

/// Draws any address of the networks 127.`net`.0.0/16.
fn address(rng: &mut impl Rng, net: u8) -> IpAddr {
    Ipv4Addr::new(127, net, rng.random(), rng.random_range(1..255)).into()
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn by_name(name: &str, password: Option<String>) -> Request {
    Request::JoinRoom { target: RoomTarget::Name(name.into()), password: password.map(Into::into) }
}

/// Players log in, open rooms, go into the honest ones' room, leave by the door, or vanish as if they were killed.
fn churn(target: &Target, done: &AtomicU64) {
    let mut rng = rng(1);
    while target.goes_on() {
        let seed = rng.next_u64();
        let Some(mut guest) = Guest::log_in(target.server, address(&mut rng, 10), seed) else { continue };
        match rng.random_range(0..3) {
            0 => guest.ask(Request::CreateRoom {
                options: RoomOptions { public: false, ..RoomOptions::default() },
            }),
            1 => guest.ask(by_name(ROOM, None)),
            _ => {
                guest.ask(by_name(ROOM, None));
                guest.ask(Request::LeaveRoom);
                guest.ask(by_name(ROOM, None));
            }
        }
        guest.listen(Duration::from_millis(50));
        done.fetch_add(1, Ordering::Relaxed);
        if rng.random() {
            guest.leave();
        }
    }
}

/// A member of the honest players' room causes as many messages to them as it can, and says that the host is gone.
fn lies(target: &Target, done: &AtomicU64) {
    let mut rng = rng(2);
    while target.goes_on() {
        let seed = rng.next_u64();
        let Some(mut guest) = Guest::log_in(target.server, address(&mut rng, 11), seed) else { continue };
        guest.ask(by_name(ROOM, None));
        let heard = guest.listen(Duration::from_millis(30));
        let room = heard.iter().find_map(|message| match message {
            ToPlayer::Members { room, .. } => Some(*room),
            _ => None,
        });
        for n in 0..700 {
            let profile = NatProfile { foreign_rate: Some(n as f32), ..NatProfile::default() };
            guest.say(ToServer::Profile { profile, check: false, manual: NatFacts::NONE });
        }
        for _ in 0..20 {
            if let Some(room) = room {
                guest.say(ToServer::HostSeen { room, epoch: 0, heard: false });
            }
        }
        guest.listen(Duration::from_millis(500));
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn queue(target: &Target, done: &AtomicU64) {
    let mut rng = rng(3);
    while target.goes_on() {
        let seed = rng.next_u64();
        let Some(mut guest) = Guest::log_in(target.server, address(&mut rng, 12), seed) else { continue };
        for _ in 0..50 {
            let (mode, players) = (format!("m{}", rng.random_range(0..3)), rng.random_range(2..4));
            guest.ask(Request::QuickMatch(QuickMatch { mode, players, ..QuickMatch::default() }));
            guest.ask(Request::LeaveQueue);
            guest.ask(Request::LeaveRoom);
            guest.listen(Duration::from_millis(40));
            done.fetch_add(1, Ordering::Relaxed);
            if !target.goes_on() {
                return;
            }
        }
    }
}

fn guesses(target: &Target, done: &AtomicU64) {
    let mut rng = rng(4);
    while target.goes_on() {
        let seed = rng.next_u64();
        let Some(mut guest) = Guest::log_in(target.server, address(&mut rng, 13), seed) else { continue };
        for _ in 0..12 {
            guest.ask(by_name(LOCKED, Some(format!("{:04}", rng.random_range(0..10_000)))));
            guest.listen(Duration::from_millis(40));
            done.fetch_add(1, Ordering::Relaxed);
        }
        guest.leave();
    }
}

/// Sends at this rate from sockets at ever other addresses.
fn rain(
    target: &Target,
    done: &AtomicU64,
    (net, per_second): (u8, u32),
    mut make: impl FnMut(&mut ChaCha20Rng) -> Vec<u8>,
) {
    let mut rng = rng(net.into());
    let (start, mut sent) = (Instant::now(), 0u64);
    let mut sockets: Vec<UdpSocket> = Vec::new();
    while target.goes_on() {
        let due = (start.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        if due <= sent {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        if (sockets.len() < 32 || sent % 4096 == 0)
            && let Ok(socket) = UdpSocket::bind(SocketAddr::new(address(&mut rng, net), 0))
        {
            if sockets.len() >= 32 {
                sockets.remove(0);
            }
            sockets.push(socket);
        }
        if !sockets.is_empty() {
            let datagram = make(&mut rng);
            let socket = &sockets[rng.random_range(0..sockets.len())];
            let _ = socket.send_to(&datagram, target.server);
        }
        sent += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends random bytes, half of them with a kind of ours in front.
fn junk(target: &Target, done: &AtomicU64) {
    const KINDS: [Kind; 5] = [Kind::Hello, Kind::Init, Kind::Control, Kind::Probe, Kind::Relay];
    rain(target, done, (14, 2000), |rng| {
        let mut datagram = vec![0; rng.random_range(0..1500)];
        rng.fill_bytes(&mut datagram);
        if rng.random()
            && let Some(first) = datagram.first_mut()
        {
            *first = KINDS[rng.random_range(0..KINDS.len())] as u8;
        }
        datagram
    });
}

fn hellos(target: &Target, done: &AtomicU64) {
    rain(target, done, (15, 5000), |rng| ClientHandshake::new(rng).hello().to_vec());
}

/// Begins logins whose players are not heard again.
fn half_open(target: &Target, done: &AtomicU64) {
    let mut rng = rng(5);
    while target.goes_on() {
        let seed = rng.next_u64();
        drop(Guest::log_in(target.server, address(&mut rng, 16), seed));
        done.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn connect(from: IpAddr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::new(from, 0).into()).ok()?;
    socket.connect_timeout(&to.into(), Duration::from_secs(1)).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Holds connections that send a byte now and then.
fn slow_tcp(target: &Target, done: &AtomicU64) {
    let mut rng = rng(6);
    let mut open: Vec<TcpStream> = Vec::new();
    while target.goes_on() {
        if open.len() < 200
            && let Some(stream) = connect(address(&mut rng, 17), target.server)
        {
            open.push(stream);
            done.fetch_add(1, Ordering::Relaxed);
        }
        open.retain_mut(|stream| !rng.random_bool(0.02) || stream.write_all(&[rng.random()]).is_ok());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Makes requests that are junk, endless or never end.
fn junk_http(target: &Target, done: &AtomicU64) {
    let mut rng = rng(7);
    let mut open: Vec<TcpStream> = Vec::new();
    while target.goes_on() {
        let Some(mut stream) = connect(address(&mut rng, 18), target.http) else { continue };
        let request: Vec<u8> = match rng.random_range(0..4) {
            0 => b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20),
            1 => b"POST / HTTP/1.1\r\nContent-Length: 70368744177664\r\n\r\n".to_vec(),
            2 => b"GET / HTTP/1.1\r\nX-Half: ".to_vec(),
            _ => (0..rng.random_range(1..4096)).map(|_| rng.random()).collect(),
        };
        let _ = stream.write_all(&request);
        done.fetch_add(1, Ordering::Relaxed);
        open.push(stream);
        if open.len() > 60 {
            open.remove(0);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
