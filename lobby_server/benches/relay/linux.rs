//! The bench itself.
#![allow(
    clippy::disallowed_methods,
    reason = "the bare forwarder is measured without what the server does around its calls"
)]

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, Settings};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use traversal_core::id::RequestId;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Frame, PunchPlan, Request, RoomOptions, RoomTarget, ToPlayer, ToServer};
use traversal_core::wire::session::ClientSession;

use crate::turn::{HEADER, TurnClient, TurnServer, channel_data};
use test_support::login::log_in;

/// A datagram has as many bytes as a full renet slice with everything around it.
const SIZE: usize = 1280;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1500);
/// So many datagrams make a batch: as many as the server takes with one system call.
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
        let (_, session, _) = log_in(seed, &[], |datagram| {
            let mut buffer = [0; 2048];
            socket.send(datagram).unwrap();
            let len = socket.recv(&mut buffer).map_err(|error| format!("no answer: {error}"))?;
            Ok(buffer[..len].to_vec())
        })
        .unwrap();
        Self { socket, session }
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

/// Returns the time that the thread of this name has run, in seconds.
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

/// Sends to `to` from `from` while counting what comes in at `at`, `length` bytes long; datagrams per second of the
/// forwarder's time, and per second.
fn load(
    (from, to): (&UdpSocket, SocketAddr),
    datagram: &[u8],
    (at, length): (&UdpSocket, usize),
    time: impl Fn() -> f64,
) -> (f64, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let received = Arc::new(AtomicU64::new(0));
    let at = at.try_clone().unwrap();
    at.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (counting, count) = (Arc::clone(&stop), Arc::clone(&received));
    let counter = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while !counting.load(Ordering::Relaxed) {
            if at.recv(&mut buffer).is_ok_and(|len| len == length) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let before = time();
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
    let time = time() - before;
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
    let turn = CoturnRun::start();
    if turn.is_none() {
        println!("SKIPPED: coturn's part, as there is no `turnserver` (Debian: apt-get install coturn)");
    }
    println!(
        "{SIZE} bytes, {ROUNDS} rounds of {ROUND:?} each; datagrams per second of processor time, and per second"
    );
    println!(
        "round     relay      /s      bare      /s  ratio    coturn      /s  ratio  both ends      /s  ratio"
    );
    let mut ratios = [const { Vec::new() }; 3];
    for round in 1..=ROUNDS {
        let relay = load((&sender, address), &datagram, (&host.socket, SIZE), || thread_time("lobby_server"));
        let at = (&sink, SIZE);
        let others = [
            Some(load((&source, forwarder), &datagram, at, || thread_time("bare"))),
            turn.as_ref().map(CoturnRun::to_a_socket),
            turn.as_ref().map(CoturnRun::to_a_client),
        ];
        print!("{round:5} {:9.0} {:7.0}", relay.0, relay.1);
        for (other, ratios) in others.into_iter().zip(&mut ratios) {
            let Some(other) = other else { continue };
            ratios.push(relay.0 / other.0);
            print!(" {:9.0} {:7.0} {:6.2}", other.0, other.1, relay.0 / other.0);
        }
        println!();
    }
    stop.store(true, Ordering::Relaxed);
    let what = ["a bare forwarder (goal: at least 0.7)", "coturn, one end", "coturn, both ends"];
    for (mut ratios, what) in ratios.into_iter().zip(what) {
        ratios.sort_by(f64::total_cmp);
        if let Some(median) = ratios.get(ratios.len() / 2) {
            println!("median ratio {median:.2} to {what}");
        }
    }
}

/// This is coturn, with a player on either side of it.
struct CoturnRun {
    server: TurnServer,
    /// This client is bound to `plain`.
    one: TurnClient,
    plain: UdpSocket,
    /// These clients are bound to each other.
    pair: [TurnClient; 2],
}

impl CoturnRun {
    fn start() -> Option<Self> {
        let server = TurnServer::start()?;
        let allocate = || TurnClient::allocate(server.address);
        let (one, pair) = (allocate(), [allocate(), allocate()]);
        let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(address) = plain.local_addr().unwrap() else { return None };
        one.bind(address);
        pair[0].bind(pair[1].relayed);
        pair[1].bind(pair[0].relayed);
        Some(Self { server, one, plain, pair })
    }

    /// One end has an allocation, the other one is reached as it is: coturn handles each datagram once.
    fn to_a_socket(&self) -> (f64, f64) {
        let way = (&self.one.socket, self.server.address.into());
        load(way, &channel_data(SIZE - HEADER), (&self.plain, SIZE - HEADER), || self.server.time())
    }

    /// Both ends have an allocation, as where neither can be reached: each datagram passes both.
    fn to_a_client(&self) -> (f64, f64) {
        let [from, to] = &self.pair;
        let way = (&from.socket, self.server.address.into());
        load(way, &channel_data(SIZE - HEADER), (&to.socket, SIZE), || self.server.time())
    }
}
