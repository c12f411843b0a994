//! The bench itself.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, Settings};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::Identity;
use traversal_core::id::RequestId;
use traversal_core::wire::Kind;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{
    Frame, Login, PunchPlan, Request, RoomOptions, RoomTarget, ToPlayer, ToServer,
};
use traversal_core::wire::session::ClientSession;

/// A full renet slice with everything around it.
const SIZE: usize = 1280;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1500);
/// As many as the server takes with one system call.
const BATCH: usize = 16;

struct Player {
    socket: UdpSocket,
    session: ClientSession,
}

impl Player {
    fn log_in(server: SocketAddr, seed: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let identity = Identity::from_secret([seed; 32]);
        let login = Login {
            game: "bench".into(),
            game_protocol: 0,
            name: "P".into(),
            token: Vec::new(),
            ephemeral: [seed; 32],
            local: Vec::new(),
            relay_only: false,
        };
        let mut handshake = ClientHandshake::new(&mut rng);
        loop {
            socket.send(handshake.datagram()).unwrap();
            let mut buffer = [0; 2048];
            let len = socket.recv(&mut buffer).unwrap();
            let now = Instant::now();
            if let Ok(ClientProgress::Accepted(accepted)) =
                handshake.handle(&buffer[..len], &identity, &[], &login, now, &mut rng)
            {
                return Self { socket, session: accepted.1 };
            }
        }
    }

    fn ask(&mut self, request: Request) {
        let message = ToServer::Request { id: RequestId(1), request };
        self.session.send(Instant::now(), message).unwrap();
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(datagram) = self.session.poll_datagram() {
            self.socket.send(&datagram).unwrap();
        }
    }

    fn wait<T>(&mut self, wanted: impl Fn(ToPlayer) -> Option<T>) -> T {
        loop {
            let mut buffer = [0; 2048];
            let len = self.socket.recv(&mut buffer).unwrap();
            let frame = self.session.handle(Instant::now(), &buffer[..len]);
            self.flush();
            if let Ok(Some(Frame::Reliable { body, .. })) = frame
                && let Some(found) = wanted(body)
            {
                return found;
            }
        }
    }

    fn plan(&mut self) -> PunchPlan {
        self.wait(|message| if let ToPlayer::Plan(plan) = message { Some(*plan) } else { None })
    }
}

/// Time that the thread of this name has run, in seconds.
fn thread_time(name: &str) -> f64 {
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap();
            return stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9;
        }
    }
    panic!("no thread {name}");
}

/// Sends to `to` from `from` while counting what comes in at `at`; datagrams per second of the thread's time, and
/// per second.
fn load(from: &UdpSocket, to: SocketAddr, datagram: &[u8], at: &UdpSocket, thread: &str) -> (f64, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let received = Arc::new(AtomicU64::new(0));
    let at = at.try_clone().unwrap();
    at.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (counting, count) = (Arc::clone(&stop), Arc::clone(&received));
    let counter = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while !counting.load(Ordering::Relaxed) {
            if at.recv(&mut buffer).is_ok_and(|len| len == SIZE) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let before = thread_time(thread);
    let start = Instant::now();
    let mut in_flight_from = received.load(Ordering::Relaxed);
    let mut sent = 0u64;
    while start.elapsed() < ROUND {
        for _ in 0..BATCH {
            let _ = from.send_to(datagram, to);
            sent += 1;
        }
        // Not more on the way than the buffers hold, so that nothing is spent on what is lost anyway.
        let waited = Instant::now();
        while sent.saturating_sub(received.load(Ordering::Relaxed) - in_flight_from) > 256 {
            if waited.elapsed() > Duration::from_millis(20) {
                in_flight_from = received.load(Ordering::Relaxed);
                sent = 0;
                break;
            }
            std::thread::yield_now();
        }
    }
    let time = thread_time(thread) - before;
    let elapsed = start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    counter.join().unwrap();
    let got = received.load(Ordering::Relaxed) as f64;
    (got / time, got / elapsed)
}

/// Forwards everything from one socket to one address: the same calls as the server's, with nothing in between.
fn bare(to: SocketAddr, stop: Arc<AtomicBool>) -> SocketAddr {
    let socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::Builder::new()
        .name("bare".into())
        .spawn(move || {
            let mut socket = socket;
            let mut poll = mio::Poll::new().unwrap();
            poll.registry().register(&mut socket, mio::Token(0), mio::Interest::READABLE).unwrap();
            let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
            let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), 2 << 20);
            let mut events = mio::Events::with_capacity(8);
            let mut buffers = vec![vec![0; 65_536]; BATCH];
            let mut metas = [RecvMeta::default(); BATCH];
            while !stop.load(Ordering::Relaxed) {
                poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
                loop {
                    let mut slices: Vec<IoSliceMut<'_>> =
                        buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
                    let Ok(count) = state.recv(UdpSockRef::from(&socket), &mut slices, &mut metas) else {
                        break;
                    };
                    for (meta, buffer) in metas[..count].iter().zip(&buffers) {
                        for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                            let transmit = Transmit {
                                destination: to,
                                ecn: None,
                                contents: datagram,
                                segment_size: None,
                                src_ip: None,
                            };
                            let _ = state.try_send(UdpSockRef::from(&socket), &transmit);
                        }
                    }
                }
            }
        })
        .unwrap();
    address
}

pub(super) fn run() {
    let settings = Settings {
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        no_http: true,
        relay_kilobytes_per_s: 4_000_000,
        relay_total_kilobytes_per_s: 4_000_000,
        ..Settings::default()
    };
    let server = LobbyServer::new(settings).spawn().unwrap();
    let address = server.addresses().first[0];
    let (mut host, mut joiner) = (Player::log_in(address, 1), Player::log_in(address, 2));
    let options = RoomOptions { name: "r".into(), ..RoomOptions::default() };
    host.ask(Request::CreateRoom { options });
    host.wait(|message| matches!(message, ToPlayer::Response { .. }).then_some(()));
    let target = RoomTarget::Name("r".into());
    joiner.ask(Request::JoinRoom { target, password: None });
    let plan = joiner.plan();
    host.plan();
    let mut datagram = vec![Kind::Relay as u8];
    datagram.extend_from_slice(&plan.relay.unwrap().token);
    datagram.push(Kind::Pair as u8);
    datagram.extend_from_slice(&plan.match_id.0.to_le_bytes());
    datagram.resize(SIZE, 7);

    let stop = Arc::new(AtomicBool::new(false));
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let source = UdpSocket::bind("127.0.0.1:0").unwrap();
    let forwarder = bare(sink.local_addr().unwrap(), Arc::clone(&stop));
    let sender = joiner.socket.try_clone().unwrap();
    let mut ratios = Vec::new();
    println!("{SIZE} bytes, {ROUNDS} rounds of {ROUND:?} each");
    println!("round   relay/s of CPU   bare/s of CPU   ratio     relay/s      bare/s");
    for round in 1..=ROUNDS {
        let relay = load(&sender, address, &datagram, &host.socket, "lobby_server");
        let bare = load(&source, forwarder, &datagram, &sink, "bare");
        let ratio = relay.0 / bare.0;
        println!("{round:5} {:16.0} {:15.0} {ratio:7.2} {:11.0} {:11.0}", relay.0, bare.0, relay.1, bare.1);
        ratios.push(ratio);
    }
    stop.store(true, Ordering::Relaxed);
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2} (goal: at least 0.7)", ratios[ratios.len() / 2]);
}
