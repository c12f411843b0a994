//! Logins beside the highest flood of hellos that this machine makes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::wire::handshake::ClientHandshake;

use super::seat::{Part, play};
use super::server::Server;
use super::{HOME, SiegeError, program};

/// A login that takes longer is a fault.
const LOGIN: Duration = Duration::from_secs(2);

/// Options of `natlab flood`.
#[derive(Args, Clone, Debug)]
pub struct FloodArgs {
    /// Logins of honest players beside each flood
    #[arg(long, default_value_t = 20)]
    logins: u8,
    /// Threads that flood
    #[arg(long, default_value_t = 1)]
    threads: u8,
    /// The lobby server's program [default: `lobby_server` beside this one]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
}

/// Sends hellos from this address as fast as it can.
fn pour(server: SocketAddr, from: IpAddr, stop: &AtomicBool, sent: &AtomicU64) {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let sockets: Vec<UdpSocket> =
        (0..16).filter_map(|_| UdpSocket::bind(SocketAddr::new(from, 0)).ok()).collect();
    let hellos: Vec<Vec<u8>> = (0..256).map(|_| ClientHandshake::new(&mut rng).hello().to_vec()).collect();
    while !stop.load(Ordering::Relaxed) {
        for (n, hello) in hellos.iter().enumerate() {
            if let Some(socket) = sockets.get(n % sockets.len().max(1)) {
                sent.fetch_add(u64::from(socket.send_to(hello, server).is_ok()), Ordering::Relaxed);
            }
        }
    }
}

/// Runs `natlab flood`: prints the rate of the flood and how long logins took, from other addresses than the players' and
/// from their own.
///
/// # Errors
/// If the server cannot be started, or a login took longer than two seconds.
pub fn flood(args: &FloodArgs) -> Result<(), SiegeError> {
    let server = Server::start(&program(&args.server))?;
    let mut faults = 0;
    let other = IpAddr::V4(Ipv4Addr::new(127, 20, 0, 1));
    for (name, from) in [("other addresses", other), ("the players' own address", HOME)] {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let address = server.address;
        let floods: Vec<_> = (0..args.threads.max(1))
            .map(|_| {
                let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
                thread::spawn(move || pour(address, from, &stop, &sent))
            })
            .collect();
        let count = || server.metric("lobby_datagrams_in_total").unwrap_or_default();
        let (start, before) = (Instant::now(), count());
        thread::sleep(Duration::from_secs(1));
        let mut took: Vec<Option<Duration>> = Vec::new();
        for number in 1..=args.logins.max(1) {
            let end = (Duration::from_secs(10), Arc::default());
            let fate = play((HOME, address), super::secret(number), Part::LogIn, end);
            took.push(fate.map_err(|error| SiegeError::Player(error.to_string()))?.login);
        }
        let (seconds, received) = (start.elapsed().as_secs_f64(), count() - before);
        stop.store(true, Ordering::Relaxed);
        floods.into_iter().for_each(|flood| drop(flood.join()));
        let good = took.iter().filter(|login| login.is_some_and(|login| login <= LOGIN)).count();
        let longest = took.iter().flatten().max().map_or(0.0, Duration::as_secs_f64);
        faults += took.len() - good;
        println!(
            "hellos from {name}: {:.0} sent and {:.0} taken by the server a second; {good} of {} logins within {} s, the \
             longest {longest:.2} s",
            sent.load(Ordering::Relaxed) as f64 / seconds,
            received / seconds,
            took.len(),
            LOGIN.as_secs(),
        );
    }
    if faults == 0 { Ok(()) } else { Err(SiegeError::Faults(faults)) }
}
