//! Very many real players on a real lobby server, on this machine: `natlab load`.
//!
//! The players are the shipping agents on real UDP sockets, many in a thread (`crew`), each with an address of its own in
//! 127.64.0.0/10, some at ::1. They log in at a steady rate; then it is measured what they do at the rates that are asked
//! for, open loop: what is due begins, however late the server is with what came before.

mod crew;
mod echo;
mod order;
mod process;
mod report;
mod seat;
mod tally;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use clap::Args;

use self::crew::{Crew, GATHERING, MEASURING, OVER, Shared};
use self::order::Order;
pub use self::process::Descriptors;
pub use self::report::{ActReport, GeneratorReport, Report, ServerReport};
pub use self::tally::Quantiles;
use self::tally::Tally;
use crate::cli::{CliError, show};
use crate::siege::server::Server;
use crate::siege::{SiegeError, program};

/// A player has so many sockets at the most: its own, 16 for what it measures after the login, and some whose lifetimes it
/// looks for.
const SOCKETS_EACH: u64 = 24;
/// A room has so many guests on average, where the number of rooms is not given.
const GUESTS: f64 = 4.0;
/// The echo is measured for so long.
const ECHO: Duration = Duration::from_secs(3);

/// Options of `natlab load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Players who are logged in before the measurement
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    players: u32,
    /// How long it is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = rate)]
    seconds: f64,
    /// Logins a second before the measurement
    #[arg(long, value_name = "PER_SECOND", default_value_t = 250.0, value_parser = rate)]
    login_rate: f64,
    /// How long those may take that have begun last
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = rate)]
    patience: f64,
    /// Give players their main socket alone: they cannot measure their NATs, and many more of them fit a process
    #[arg(long)]
    lean: bool,
    /// More players, who all log in at once when the measurement begins
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=4_000_000))]
    crowd: u32,
    /// Players a second who log out and in again
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0, value_parser = rate)]
    logins: f64,
    /// Players a second who join a room, are connected to its host, and leave it
    #[arg(long, value_name = "PER_SECOND", default_value_t = 20.0, value_parser = rate)]
    joins: f64,
    /// How long a player stays in a room
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = rate)]
    stay: f64,
    /// Rooms to join, each with a host among the players [default: as many as make four guests in each]
    #[arg(long, value_name = "N")]
    rooms: Option<u32>,
    /// Lists of rooms a second
    #[arg(long, value_name = "PER_SECOND", default_value_t = 20.0, value_parser = rate)]
    lists: f64,
    /// Players a second who want a quick match of two
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0, value_parser = rate)]
    matches: f64,
    /// Texts a second that players write to the one contact that each of them has
    #[arg(long, value_name = "PER_SECOND", default_value_t = 0.0, value_parser = rate)]
    chat: f64,
    /// Pairs of players who play over the relay
    #[arg(long, value_name = "N", default_value_t = 5)]
    relay_pairs: u32,
    /// Datagrams a second that each of them sends
    #[arg(long, value_name = "PER_SECOND", default_value_t = 30.0, value_parser = rate)]
    relay_rate: f64,
    /// Bytes of each
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u16).range(8..=1100))]
    relay_bytes: u16,
    /// Players who come by IPv6; all of them are at ::1 and share the limits of one address
    #[arg(long, value_name = "N", default_value_t = 8)]
    v6: u32,
    /// Time without traffic after which a player in no room sends a keepalive
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0, value_parser = rate)]
    keepalive: f64,
    /// Threads of the generator [default: one less than there are processors]
    #[arg(long, value_name = "N")]
    threads: Option<u16>,
    /// Chooses who does what, and when; another run is other players [default: drawn from the time]
    #[arg(long)]
    seed: Option<u64>,
    /// A lobby server that runs on this machine already, one address per family [default: start one]
    #[arg(long, value_name = "ADDR:PORT", value_parser = loopback)]
    to: Vec<SocketAddr>,
    /// The process of that server, to know what it needs
    #[arg(long, value_name = "PID", requires = "to")]
    pid: Option<u32>,
    /// The lobby server's program [default: `lobby_server` beside this one]
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    server: Option<PathBuf>,
    /// Do not measure the bare echo
    #[arg(long)]
    no_echo: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Arguments for the server that is started
    #[arg(last = true, conflicts_with = "to")]
    arguments: Vec<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1e6).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1000000 is needed".into()),
    }
}

/// A load is for this machine alone: players have addresses of loopback, and nobody else is to get their traffic.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "an address and a port are needed".to_string())?;
    let serves = address.ip().is_loopback() && address.port() != 0;
    serves
        .then_some(address)
        .ok_or_else(|| "an address of loopback is needed (127.0.0.1:3478, [::1]:3478)".into())
}

/// Why there was no load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The server does not start.
    #[error(transparent)]
    Server(#[from] SiegeError),
    /// The system does not give enough sockets.
    #[error(
        "this system lets a process open {} files, and {} are needed, {each} for each player; raise the limit (ulimit -Hn), \
         take fewer players, give them one socket each (--lean), or start this several times with --to",
        descriptors.now, descriptors.wanted
    )]
    Descriptors {
        /// What the system gave.
        descriptors: Descriptors,
        /// Each player takes so many.
        each: u64,
    },
    /// A thread of the generator broke.
    #[error("the generator broke: {0}")]
    Generator(#[source] std::io::Error),
    /// Nobody got in.
    #[error("no player could log in: {0}")]
    NobodyIn(String),
    /// The server ended meanwhile.
    #[error("the server has ended meanwhile")]
    Ended,
}

/// What a process needs between two moments.
struct Reading {
    at: Instant,
    server: Option<Duration>,
    own: Duration,
    drops: Option<u64>,
}

impl Reading {
    fn take(pid: Option<u32>, sockets: &[SocketAddr]) -> Self {
        Self {
            at: Instant::now(),
            server: pid.and_then(process::processor_time),
            own: process::processor_time(std::process::id()).unwrap_or_default(),
            drops: sockets.iter().map(|address| process::socket_drops(*address)).sum(),
        }
    }
}

/// The server under load: started here, or somebody else's.
struct Target {
    started: Option<Server>,
    pid: Option<u32>,
    v4: SocketAddr,
    v6: Option<SocketAddr>,
}

impl Target {
    fn of(args: &LoadArgs) -> Result<Self, LoadError> {
        let of_family = |v4: bool| args.to.iter().copied().find(|address| address.is_ipv4() == v4);
        if let Some(any) = args.to.first() {
            let (v4, v6) = (of_family(true), of_family(false));
            return Ok(Self { started: None, pid: args.pid, v4: v4.unwrap_or(*any), v6 });
        }
        let all = args.players + args.crowd + 1000;
        let environment = [
            ("LOBBY_MAX_SESSIONS", all.min(1_000_000).to_string()),
            ("LOBBY_MAX_ROOMS", all.min(1_000_000).to_string()),
            ("LOBBY_MAX_SESSIONS_PER_ADDRESS", args.v6.clamp(256, 1_000_000).to_string()),
        ];
        let has_v6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
        let binds: &[&str] =
            if has_v6 { &["--bind", "127.0.0.1:0", "--bind", "[::1]:0"] } else { &["--bind", "127.0.0.1:0"] };
        let server = Server::start_with(&program(&args.server), binds, &args.arguments, &environment)?;
        Ok(Self { pid: Some(server.pid()), v4: server.address, v6: server.beside, started: Some(server) })
    }

    fn sockets(&self) -> Vec<SocketAddr> {
        let mut sockets = vec![self.v4];
        sockets.extend(self.v6.filter(|v6| *v6 != self.v4));
        sockets
    }
}

fn order(args: &LoadArgs, target: &Target) -> Order {
    let players = args.players as usize;
    let usual = (args.joins * args.stay / GUESTS).ceil().max(1.0) as usize;
    let relay_pairs = (args.relay_pairs as usize).min(players / 4);
    let rooms = args.rooms.map_or(usual, |rooms| rooms as usize).min((players - 2 * relay_pairs) / 2);
    let left = players - 2 * relay_pairs - rooms;
    // A server without IPv4 has all players at ::1.
    let v6 = if target.v4.is_ipv6() { players } else { (args.v6 as usize).min(left / 2) };
    let processors = thread::available_parallelism().map_or(1, |count| count.get());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Order {
        threads: args.threads.map_or(processors.saturating_sub(1), usize::from).clamp(1, players),
        server: target.v4,
        server_v6: target.v6,
        game: "load".into(),
        seed: args.seed.unwrap_or(since.as_nanos() as u64),
        keepalive: Duration::from_secs_f64(args.keepalive.max(1.0)),
        players,
        crowd: args.crowd as usize,
        rooms,
        relay_pairs,
        v6: if target.v6.is_some() { v6 } else { 0 },
        login_rate: args.login_rate.max(1.0),
        logins: args.logins,
        joins: args.joins,
        stay: Duration::from_secs_f64(args.stay),
        lists: args.lists,
        matches: args.matches,
        chat: args.chat,
        relay_rate: args.relay_rate,
        relay_bytes: args.relay_bytes.into(),
        lean: args.lean,
    }
}

/// Runs `natlab load`: prints what players did at which rate, how long it took, what went wrong, and what the server needed.
///
/// # Errors
/// If the server or the players cannot be started, nobody can log in, or the server ends.
pub fn load(args: &LoadArgs) -> Result<(), CliError> {
    let report = measure(args)?;
    let text = if args.json { serde_json::to_string(&report)? + "\n" } else { report.text() };
    show(&text)
}

fn measure(args: &LoadArgs) -> Result<Report, LoadError> {
    let all = u64::from(args.players) + u64::from(args.crowd);
    // Those at ::1 have a second main socket.
    let each = if args.lean { 1 } else { SOCKETS_EACH };
    let descriptors = process::raise_descriptors(all * each + u64::from(args.v6));
    if descriptors.now < descriptors.wanted {
        return Err(LoadError::Descriptors { descriptors, each });
    }
    let mut target = Target::of(args)?;
    let order = order(args, &target);
    let before = target.started.as_ref().and(target.pid).and_then(process::memory_mb);
    let shared = Shared { phase: AtomicU8::new(GATHERING), online: AtomicI64::new(0) };
    let online = || shared.online.load(Ordering::Relaxed);
    let (mut tally, online, first, last, memory) = thread::scope(|scope| {
        let start = Instant::now();
        let crews: Vec<_> = (0..order.threads)
            .map(|thread| {
                let (order, shared) = (&order, &shared);
                scope.spawn(move || Crew::new(order, shared, thread, start)?.run())
            })
            .collect();
        let patience = Duration::from_secs_f64(order.players as f64 / order.login_rate + args.patience);
        let broken = |crews: &[ScopedJoinHandle<'_, _>]| crews.iter().any(ScopedJoinHandle::is_finished);
        while online() < order.players as i64 && start.elapsed() < patience && !broken(&crews) {
            thread::sleep(Duration::from_millis(20));
        }
        let (in_before, first) = (online(), Reading::take(target.pid, &target.sockets()));
        shared.phase.store(MEASURING, Ordering::Release);
        let time = Duration::from_secs_f64(args.seconds);
        while first.at.elapsed() < time && !broken(&crews) {
            thread::sleep((time.saturating_sub(first.at.elapsed())).min(Duration::from_millis(20)));
        }
        let last = Reading::take(target.pid, &target.sockets());
        let (in_after, memory) = (online(), target.pid.and_then(process::memory_mb));
        shared.phase.store(OVER, Ordering::Release);
        let mut tally = Tally::default();
        for crew in crews {
            let counted = crew.join().map_err(|_| std::io::Error::other("a thread panicked"));
            tally.add(counted.and_then(|counted| counted).map_err(LoadError::Generator)?);
        }
        Ok::<_, LoadError>((tally, [in_before, in_after], first, last, memory))
    })?;
    if target.started.as_mut().is_some_and(|server| !server.runs()) {
        return Err(LoadError::Ended);
    }
    if online == [0, 0] {
        let why = tally.errors.keys().next().cloned();
        return Err(LoadError::NobodyIn(why.unwrap_or_else(|| "the server does not answer".into())));
    }
    let seconds = (last.at - first.at).as_secs_f64();
    let dropped = last.drops.zip(first.drops).map(|(last, first)| last.saturating_sub(first));
    let taken = tally.sent.saturating_sub(dropped.unwrap_or_default());
    let mut server = target.pid.zip(last.server).zip(first.server).map(|((pid, last), first)| {
        let time = last.saturating_sub(first).as_secs_f64();
        ServerReport {
            pid,
            processors: time / seconds,
            memory_before_mb: before,
            memory_mb: memory.unwrap_or_default(),
            datagrams_per_second: taken as f64 / seconds,
            dropped,
            us_per_datagram: time * 1e6 / taken.max(1) as f64,
            echo_us_per_datagram: None,
            ratio: None,
        }
    });
    // The echo has the machine to itself, as the server had.
    drop(target);
    if let Some(server) = server.as_mut().filter(|_| !args.no_echo && taken > 0) {
        let length = (tally.sent_bytes / tally.sent.max(1)) as usize;
        let echo = echo::measure(server.datagrams_per_second, length, ECHO).map_err(LoadError::Generator)?;
        server.echo_us_per_datagram = echo.map(|time| time.as_secs_f64() * 1e6);
        server.ratio = server.echo_us_per_datagram.map(|echo| server.us_per_datagram / echo);
    }
    Ok(Report {
        players: order.players,
        threads: order.threads,
        crowd: order.crowd,
        seconds,
        descriptors,
        online,
        acts: Report::acts(&mut tally, seconds),
        sessions_lost: tally.lost,
        errors: std::mem::take(&mut tally.errors),
        skipped: tally.skipped,
        server,
        generator: GeneratorReport {
            processors: last.own.saturating_sub(first.own).as_secs_f64() / seconds,
            late: tally.late.told(),
            refused: tally.refused,
        },
    })
}
