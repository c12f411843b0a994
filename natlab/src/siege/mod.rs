//! Real players on a real lobby server, while strangers do what they can to it: `natlab siege` and `natlab flood`.
//!
//! All of it stays on this machine's loopback. The players are the shipping agents on sockets, the server is the built
//! program. `attacks` has what the strangers do.

mod attacks;
mod flood;
mod guest;
mod seat;
pub(crate) mod server;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use traversal_core::Identity;
use traversal_core::wire::message::RoomOptions;

use self::attacks::{ALL, LOCKED, ROOM, Target};
pub use self::flood::{FloodArgs, flood};
use self::seat::{Fate, Part, play};
use self::server::Server;
use crate::stats::quantile;

/// Where the honest players are.
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The room has this many honest players, its host among them.
const PLAYERS: u8 = 4;
/// The honest players have this long to log in.
const AT_HOME: Duration = Duration::from_secs(20);
/// Memory may grow by so much from the third tenth of the time to the last one, in MB, and by a fifth.
const GROWTH_MB: f64 = 8.0;

/// Options of `natlab siege`.
#[derive(Args, Clone, Debug)]
pub struct SiegeArgs {
    /// How long the siege lasts
    #[arg(long, value_name = "MINUTES", default_value_t = 3.0)]
    minutes: f64,
    /// The lobby server's program [default: `lobby_server` beside this one]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
}

/// Why a siege did not begin, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SiegeError {
    /// There is no folder for the server's key and log.
    #[error("cannot make a folder for the server's key and log: {0}")]
    Folder(#[source] std::io::Error),
    /// The program does not start.
    #[error(
        "cannot start {program}: {source}; build it with `cargo build --release -p lobby_server`, or give --server"
    )]
    Start {
        /// It is the program that could not be started.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It printed something else than its ready line.
    #[error("the server is not ready; it printed {line:?}")]
    NotReady {
        /// It is the line that it printed instead.
        line: String,
    },
    /// A player has no socket, or a thread ended.
    #[error("a player could not play: {0}")]
    Player(String),
    /// Something happened that must not.
    #[error("the siege found {0} faults")]
    Faults(usize),
}

/// Returns the program to attack: the given one, else `lobby_server` beside this one.
pub(crate) fn program(given: &Option<PathBuf>) -> PathBuf {
    given.clone().unwrap_or_else(|| {
        let beside = |itself: PathBuf| itself.with_file_name("lobby_server");
        std::env::current_exe().map_or_else(|_| Path::new("lobby_server").into(), beside)
    })
}

fn secret(number: u8) -> [u8; 32] {
    [number; 32]
}

/// Runs `natlab siege`.
///
/// # Errors
/// If the server cannot be started, or something happened to it or its honest players that must not.
pub fn siege(args: &SiegeArgs) -> Result<(), SiegeError> {
    let mut server = Server::start(&program(&args.server))?;
    let time = Duration::from_secs_f64(args.minutes.max(0.1) * 60.0);
    let stop = Arc::new(AtomicBool::new(false));
    let friends = (1..=PLAYERS).map(|n| Identity::from_secret(secret(n)).player_id()).collect();
    let open = RoomOptions { name: ROOM.into(), capacity: 16, ..RoomOptions::default() };
    let locked = RoomOptions { name: LOCKED.into(), password: Some("4711".into()), ..RoomOptions::default() };
    let mut parts =
        vec![Part::Host { room: open, friends }, Part::Host { room: locked, friends: Vec::new() }];
    parts.extend((1..PLAYERS).map(|_| Part::Join(ROOM.into())));
    let seats: Vec<_> = [1, 100, 2, 3, 4]
        .into_iter()
        .zip(parts)
        .map(|(number, part)| {
            let (address, stop) = (server.address, Arc::clone(&stop));
            let patience = time + Duration::from_secs(60);
            thread::spawn(move || play((HOME, address), secret(number), part, (patience, stop)))
        })
        .collect();
    // The honest ones are at home before it begins; who is not will be a fault in the end.
    let late = Instant::now() + AT_HOME;
    let at_home = || server.metric("lobby_sessions").is_some_and(|sessions| sessions as usize >= seats.len());
    while !at_home() && Instant::now() < late {
        thread::sleep(Duration::from_millis(50));
    }

    let target = Arc::new(Target { server: server.address, http: server.http, stop: AtomicBool::new(false) });
    let counts: Vec<Arc<AtomicU64>> = ALL.iter().map(|_| Arc::default()).collect();
    let attackers: Vec<_> = ALL
        .iter()
        .zip(&counts)
        .map(|(attack, count)| {
            let (target, count) = (Arc::clone(&target), Arc::clone(count));
            thread::spawn(move || (attack.run)(&target, &count))
        })
        .collect();
    let (start, mut memory) = (Instant::now(), Vec::new());
    let mut faults = Vec::new();
    for tenth in 1..=10 {
        while start.elapsed() < time.mul_f64(f64::from(tenth) / 10.0) && server.runs() {
            thread::sleep(Duration::from_millis(200));
        }
        if !server.runs() {
            faults.push("the server has ended".to_string());
            break;
        }
        memory.extend(server.memory_mb());
        println!(
            "{:6.1} min: {:.1} MB, {} sessions, {} rooms, {} kB of log",
            start.elapsed().as_secs_f64() / 60.0,
            memory.last().copied().unwrap_or_default(),
            server.metric("lobby_sessions").unwrap_or_default(),
            server.metric("lobby_rooms").unwrap_or_default(),
            server.log_bytes() / 1000,
        );
    }
    target.stop.store(true, Ordering::Relaxed);
    for attacker in attackers {
        if attacker.join().is_err() {
            faults.push("an attacker panicked".into());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut fates = Vec::new();
    for seat in seats {
        let fate = seat.join().map_err(|_| SiegeError::Player("it panicked".into()))?;
        fates.push(fate.map_err(|error| SiegeError::Player(error.to_string()))?);
    }
    for (attack, count) in ALL.iter().zip(&counts) {
        println!("{:>10}: {} {}", attack.name, count.load(Ordering::Relaxed), attack.counted);
        if count.load(Ordering::Relaxed) == 0 {
            faults.push(format!("nothing came of the attack {:?}", attack.name));
        }
    }
    faults.extend(judge(&fates, &memory));
    print!("{}", told(&fates));
    faults.iter().for_each(|fault| println!("FAULT: {fault}"));
    if faults.is_empty() { Ok(()) } else { Err(SiegeError::Faults(faults.len())) }
}

/// What must not have happened.
fn judge(fates: &[Fate], memory: &[f64]) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, fate) in fates.iter().enumerate() {
        faults.extend(fate.faults.iter().map(|fault| format!("honest player {number}: {fault}")));
        if !fate.entered || fate.answers_ms.is_empty() {
            faults.push(format!("honest player {number} did not get into its room"));
        }
        // The second one sits in the locked room alone.
        if number != 1 && fate.played_with == 0 {
            faults.push(format!("honest player {number} met nobody"));
        }
        if number == 1 && fate.warnings == 0 {
            faults.push("the host of the locked room heard nothing of the guesses".into());
        }
    }
    if let [.., last] = memory
        && let Some(early) = memory.get(2)
        && *last > early * 1.2 + GROWTH_MB
    {
        faults.push(format!("memory grew from {early:.1} to {last:.1} MB"));
    }
    faults
}

fn told(fates: &[Fate]) -> String {
    let mut answers: Vec<f64> = fates.iter().flat_map(|fate| &fate.answers_ms).copied().collect();
    let ended: usize = fates.iter().map(|fate| fate.faults.len()).sum();
    let kicked: u32 = fates.iter().map(|fate| fate.kicked).sum();
    let warnings: u32 = fates.iter().map(|fate| fate.warnings).sum();
    let mut text = format!(
        "honest players: {} with {ended} faults; {kicked} strangers put out; {warnings} warnings of wrong passwords\n",
        fates.len()
    );
    let count = answers.len();
    if let (Some(median), Some(p99)) = (quantile(&mut answers, 0.5), quantile(&mut answers, 0.99)) {
        let most = answers.last().copied().unwrap_or_default();
        let _ =
            writeln!(text, "their {count} requests: p50 {median:.1} ms, p99 {p99:.1} ms, most {most:.1} ms");
    }
    text
}
