//! The sealed transport against renet's stock netcode transport, over loopback, in one run; and what the plugin
//! costs a frame in which nothing happens.
//!
//! `cargo bench -p bevy_traversal --features stock_netcode --bench transport`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bevy_app::{App, TaskPoolPlugin};
use bevy_renet::netcode::{
    ClientAuthentication, NetcodeClientPlugin, NetcodeClientTransport, NetcodeServerPlugin,
    NetcodeServerTransport, ServerAuthentication, ServerConfig,
};
use bevy_renet::renet::{ConnectionConfig, DefaultChannel};
use bevy_renet::{RenetClient, RenetClientPlugin, RenetServer, RenetServerPlugin};
use bevy_time::TimePlugin;
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::lobby;

/// A message has this many bytes, which fit one datagram of either transport.
const SIZE: usize = 1100;
/// This many messages are on their way at a time.
const WINDOW: u64 = 256;
/// One measurement takes this long; there are [`ROUNDS`] of each, by turns.
const RUN: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
/// Without any message for so long, those on their way were lost, to the newest.
const LOST: Duration = Duration::from_millis(200);
/// The idle measurement takes this many frames.
const FRAMES: u32 = 50_000;

fn main() {
    // `cargo test --benches` only wants to see it run.
    let quick = std::env::args().any(|argument| argument == "--test");
    let (rounds, run, frames) =
        if quick { (1, Duration::from_millis(200), 100) } else { (ROUNDS, RUN, FRAMES) };
    let mut ratios = Vec::new();
    let (mut sealed_all, mut stock_all, mut plain_all) = (Vec::new(), Vec::new(), Vec::new());
    // The plugin asks the system for larger buffers than sockets have by themselves: the two transports get the same.
    let buffer = TraversalConfig::default().socket_buffer;
    for _ in 0..rounds {
        plain_all.push(Pair::stock(None).measure(run));
        let stock = Pair::stock(Some(buffer)).measure(run);
        let sealed = Pair::sealed().measure(run);
        ratios.push(sealed.per_second / stock.per_second);
        stock_all.push(stock);
        sealed_all.push(sealed);
    }
    print_all("stock netcode", &stock_all);
    print_all("stock, small buffers", &plain_all);
    print_all("sealed", &sealed_all);
    println!("throughput, sealed / stock: {:.2} (median of {rounds})", median(&mut ratios));
    let bare = frame(App::new(), frames);
    let lobby = lobby();
    let mut app = App::new();
    app.add_plugins(TraversalPlugin { config: config(&lobby, "idle") });
    let plugin = frame(app, frames);
    println!(
        "idle frame: {:.2} us bare, {:.2} us with the plugin logged in: {:.2} us for the plugin",
        bare,
        plugin,
        plugin - bare
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Measure {
    per_second: f64,
    cpu_us: f64,
    sent: u64,
    lost: u64,
    /// This is where the plugin lost some, by its own account.
    drops: Drops,
}

/// This is what was counted on both sides together.
#[derive(Clone, Copy, Default)]
struct Drops {
    sender: u64,
    receiver: u64,
    stale: u64,
    discarded: u64,
}

impl Drops {
    fn of(app: &App) -> Self {
        let Some(stats) = app.world().get_resource::<TraversalStats>() else { return Self::default() };
        Self {
            sender: stats.outgoing_dropped() + stats.send_errors(),
            receiver: stats.incoming_dropped(),
            stale: stats.stale_dropped(),
            discarded: stats.discarded(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            sender: self.sender + other.sender,
            receiver: self.receiver + other.receiver,
            stale: self.stale + other.stale,
            discarded: self.discarded + other.discarded,
        }
    }
}

fn print_all(name: &str, all: &[Measure]) {
    let mut rates: Vec<f64> = all.iter().map(|measure| measure.per_second).collect();
    let mut costs: Vec<f64> = all.iter().map(|measure| measure.cpu_us).collect();
    let lost: u64 = all.iter().map(|measure| measure.lost).sum();
    let sent: u64 = all.iter().map(|measure| measure.sent).sum();
    let rate = median(&mut rates);
    println!(
        "{name:>20}: {:>8.0} messages/s ({:.0} MB/s), {:.2} us of processor per message, {lost} of {sent} lost",
        rate,
        rate * SIZE as f64 / 1e6,
        median(&mut costs)
    );
    let Drops { sender, receiver, stale, discarded } =
        all.iter().map(|measure| measure.drops).fold(Drops::default(), Drops::and);
    if lost > 0 {
        println!(
            "{:>20}  counted by the plugin: {sender} not sent, {receiver} not taken by the app, {stale} without a \
             connection, {discarded} discarded; the others by the system",
            ""
        );
    }
}

/// Returns the median time of a frame, in microseconds.
fn frame(mut app: App, frames: u32) -> f64 {
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin));
    app.finish();
    app.cleanup();
    let deadline = Instant::now() + Duration::from_secs(5);
    let online = |app: &App| app.world().get_resource::<LobbyLink>().is_none_or(LobbyLink::online);
    while !online(&app) {
        app.update();
        assert!(Instant::now() < deadline, "no login");
    }
    let mut times: Vec<f64> = (0..frames)
        .map(|_| {
            let start = Instant::now();
            app.update();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    median(&mut times)
}

fn config(lobby: &RunningServer, name: &str) -> TraversalConfig {
    TraversalConfig {
        lobby: vec![lobby.addresses().first[0].to_string()],
        name: name.into(),
        renet: connection(),
        ..TraversalConfig::default()
    }
}

fn connection() -> ConnectionConfig {
    ConnectionConfig { available_bytes_per_tick: 1 << 20, ..ConnectionConfig::default() }
}

/// Returns the processor time of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok();
    // The file is about the first thread only where the kernel is so; all threads then.
    let own = |text: String| text.split(' ').next().and_then(|ns| ns.parse().ok()).map(Duration::from_nanos);
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let all: Duration = threads
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(own)
        .sum();
    if all.is_zero() { stat.and_then(own).unwrap_or_default() } else { all }
}

#[derive(Default)]
struct Shared {
    running: AtomicBool,
    /// Nothing more is to be sent.
    stop: AtomicBool,
    /// What was sent has arrived, or will not.
    over: AtomicBool,
    received: AtomicU64,
    /// The newest message that arrived has this number, counted from 1: older ones that are missing are not on their
    /// way.
    newest: AtomicU64,
    sent: AtomicU64,
}

/// These are a receiving server and a sending client, each an app in a thread of its own.
struct Pair {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Drops>>,
    _lobby: Option<RunningServer>,
}

impl Pair {
    fn stock(buffer: Option<usize>) -> Self {
        let bind = move || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
            if let Some(bytes) = buffer {
                // A wish, as the plugin's is.
                let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(bytes);
                let _ = socket2::SockRef::from(&socket).set_send_buffer_size(bytes);
            }
            socket
        };
        let socket = bind();
        let address = socket.local_addr().expect("an address");
        let server = move || {
            let mut app = App::new();
            let config = ServerConfig {
                current_time: Duration::ZERO,
                max_clients: 1,
                protocol_id: 7,
                public_addresses: vec![address],
                authentication: ServerAuthentication::Unsecure,
            };
            app.add_plugins((RenetServerPlugin, NetcodeServerPlugin))
                .insert_resource(RenetServer::new(connection()))
                .insert_resource(NetcodeServerTransport::new(config, socket).expect("a transport"));
            app
        };
        let client = move || {
            let mut app = App::new();
            let socket = bind();
            let authentication = ClientAuthentication::Unsecure {
                protocol_id: 7,
                client_id: 1,
                server_addr: address,
                user_data: None,
            };
            let transport = NetcodeClientTransport::new(Duration::ZERO, authentication, socket);
            app.add_plugins((RenetClientPlugin, NetcodeClientPlugin))
                .insert_resource(RenetClient::new(connection()))
                .insert_resource(transport.expect("a transport"));
            app
        };
        Self::start(server, client, None)
    }

    fn sealed() -> Self {
        let lobby = lobby();
        let (host, guest) = (config(&lobby, "host"), config(&lobby, "guest"));
        let server = move || {
            let mut app = App::new();
            app.add_plugins(TraversalPlugin { config: host });
            app.world_mut()
                .write_message(HostRoom(RoomOptions { name: "bench".into(), ..Default::default() }));
            app
        };
        let client = move || {
            let mut app = App::new();
            app.add_plugins(TraversalPlugin { config: guest });
            let wait = Duration::from_secs(5);
            app.world_mut().write_message(JoinRoom { wait, ..JoinRoom::name("bench") });
            app
        };
        Self::start(server, client, Some(lobby))
    }

    fn start(
        server: impl FnOnce() -> App + Send + 'static,
        client: impl FnOnce() -> App + Send + 'static,
        lobby: Option<RunningServer>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let (receiving, sending) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || receive(server(), &receiving)),
            std::thread::spawn(move || send(client(), &sending)),
        ];
        Self { shared, threads, _lobby: lobby }
    }

    fn measure(self, run: Duration) -> Measure {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.shared.running.load(Ordering::Acquire) {
            assert!(Instant::now() < deadline, "no connection");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(run / 10);
        let before = self.shared.received.load(Ordering::Relaxed);
        let (start, cpu_start) = (Instant::now(), cpu());
        std::thread::sleep(run);
        let messages = (self.shared.received.load(Ordering::Relaxed) - before) as f64;
        let (seconds, cpu_used) = (start.elapsed().as_secs_f64(), cpu() - cpu_start);
        self.shared.stop.store(true, Ordering::Release);
        let drops = self.threads.into_iter().map(|thread| thread.join().expect("no panic"));
        let drops = drops.fold(Drops::default(), Drops::and);
        let sent = self.shared.sent.load(Ordering::Relaxed);
        Measure {
            per_second: messages / seconds,
            cpu_us: cpu_used.as_secs_f64() * 1e6 / messages,
            sent,
            lost: sent - self.shared.received.load(Ordering::Relaxed),
            drops,
        }
    }
}

fn ready(app: &mut App) {
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin));
    app.finish();
    app.cleanup();
}

/// Does what a loop does that has nothing to do.
fn pause() {
    std::thread::sleep(Duration::from_micros(50));
}

fn receive(mut app: App, shared: &Shared) -> Drops {
    ready(&mut app);
    while !shared.over.load(Ordering::Acquire) {
        app.update();
        let mut count = 0;
        if let Some(mut server) = app.world_mut().get_resource_mut::<RenetServer>() {
            for id in server.clients_id() {
                while let Some(message) = server.receive_message(id, DefaultChannel::Unreliable) {
                    count += 1;
                    let number = message.first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
                    shared.newest.fetch_max(number, Ordering::Relaxed);
                }
            }
        }
        if count > 0 {
            shared.received.fetch_add(count, Ordering::Relaxed);
            shared.running.store(true, Ordering::Release);
        } else {
            pause();
        }
    }
    Drops::of(&app)
}

fn send(mut app: App, shared: &Shared) -> Drops {
    ready(&mut app);
    let (mut sent, mut gone, mut seen, mut since) = (0, 0, 0, Instant::now());
    loop {
        let stop = shared.stop.load(Ordering::Acquire);
        let newest = shared.newest.load(Ordering::Relaxed);
        if newest != seen || sent == 0 {
            (seen, since) = (newest, Instant::now());
        } else if since.elapsed() > LOST {
            if stop {
                break;
            }
            (gone, since) = (sent, Instant::now());
        }
        let due = if stop { 0 } else { (newest.max(gone) + WINDOW).saturating_sub(sent) };
        let connected = match app.world_mut().get_resource_mut::<RenetClient>() {
            Some(mut client) if client.is_connected() => {
                for number in sent + 1..=sent + due {
                    let mut message = vec![7; SIZE];
                    message[..8].copy_from_slice(&number.to_le_bytes());
                    client.send_message(DefaultChannel::Unreliable, message);
                }
                sent += due;
                true
            }
            _ => false,
        };
        app.update();
        if due == 0 || !connected {
            pause();
        }
    }
    shared.sent.store(sent, Ordering::Relaxed);
    shared.over.store(true, Ordering::Release);
    Drops::of(&app)
}
