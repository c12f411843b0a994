//! Many seeds of every pair of NATs, on all processors, with results in the order of the seeds.

mod html;
mod table;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use traversal_core::Detect;

use crate::foretold;
use crate::nat::NatSpec;
use crate::oracle::{self, Outlook, Relation};
use crate::scenario::{Draw, JoinMoment, JoinReport, PairWorld};
use crate::stats::{median, wilson};

pub use html::page;
pub use table::table;

/// Failed seeds that a cell lists where a direct path exists: all of them, within reason.
const LISTED_FAILURES: usize = 2000;
/// Those that it lists where none exists: as examples.
const LISTED_EXAMPLES: usize = 20;

/// The NATs of every kind that two players must be able to play through: the named types, a home router behind a
/// carrier's, Linux' clash, random ports, no UDP at all.
pub const ALWAYS: [&str; 11] = [
    "none",
    "firewall",
    "fullcone",
    "restricted",
    "portrestricted",
    "as",
    "ps",
    "psrandom",
    "portrestricted+cgn",
    "linux",
    "udpblocked",
];

/// What to run.
#[derive(Clone, Debug)]
pub struct MatrixSettings {
    /// NATs of the hosts.
    pub left: Vec<NatSpec>,
    /// NATs of those who join.
    pub right: Vec<NatSpec>,
    /// Runs of each pair.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// How each run is drawn from its seed.
    pub draw: Draw,
    /// Threads; 0: as many as there are processors.
    pub threads: usize,
}

/// One run, in short.
#[derive(Clone, Debug)]
struct Outcome {
    seed: u64,
    direct: bool,
    played: bool,
    settled: bool,
    /// First packet and confirmation, in milliseconds.
    first_ms: Option<f64>,
    confirmed_ms: Option<f64>,
    /// Request to the other's first game datagram, on both sides the later one.
    game_ms: Option<f64>,
    rtt_ms: f64,
    packets: u64,
    sockets: u32,
    method: &'static str,
    cause: Option<String>,
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Outcome {
    fn of(report: JoinReport) -> Self {
        Self {
            seed: report.seed,
            direct: report.direct,
            played: report.played,
            settled: report.is_settled(),
            first_ms: report.first_packet.map(ms),
            confirmed_ms: report.confirmed.map(ms),
            game_ms: report.played.then_some(report.left.heard.max(report.right.heard)).flatten().map(ms),
            rtt_ms: ms(report.rtt),
            packets: report.left.packets + report.right.packets,
            sockets: report.left.sockets + report.right.sockets,
            method: report.method.map_or("none", |method| method.name()),
            cause: report.cause,
        }
    }

    fn panicked(seed: u64) -> Self {
        Self {
            seed,
            direct: false,
            played: false,
            settled: false,
            first_ms: None,
            confirmed_ms: None,
            game_ms: None,
            rtt_ms: 0.0,
            packets: 0,
            sockets: 0,
            method: "none",
            cause: Some("panic".into()),
        }
    }
}

/// A seed without a direct path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedSeed {
    /// To run it again: `--first-seed SEED --seeds 1`.
    pub seed: u64,
    /// Why.
    pub cause: String,
}

/// All runs of one pair.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// NAT of the host.
    pub left: String,
    /// NAT of the one who joins.
    pub right: String,
    /// What the oracle says: `direct`, `search`, or why it is impossible.
    pub outlook: &'static str,
    /// Runs.
    pub runs: usize,
    /// Those in which both sides had a direct path.
    pub direct: usize,
    /// Wilson interval of the direct ones at 95 %.
    pub direct_interval: (f64, f64),
    /// Those in which both heard the other's game.
    pub played: usize,
    /// Those in which each side said how it ended.
    pub settled: usize,
    /// Request to first direct packet.
    pub median_direct_ms: Option<f64>,
    /// The same in round trips of each run's world.
    pub median_direct_rtt: Option<f64>,
    /// What is enough where every way takes the same time and nothing is lost: see [`oracle::bound_round_trips`].
    pub bound_direct_rtt: Option<f64>,
    /// Request to both sides confirmed.
    pub median_confirmed_ms: Option<f64>,
    /// The same in round trips.
    pub median_confirmed_rtt: Option<f64>,
    /// What is enough, likewise.
    pub bound_confirmed_rtt: Option<f64>,
    /// Where both NATs count their ports for each destination: the most that any program could have, see
    /// [`foretold::share`].
    pub bound_direct_share: Option<f64>,
    /// Request until both had the other's first game datagram, by whichever way.
    pub median_game_ms: Option<f64>,
    /// The same in round trips.
    pub median_game_rtt: Option<f64>,
    /// Datagrams of both sides to anybody but the server, until confirmed.
    pub median_packets: Option<f64>,
    /// The most of them in any run.
    pub most_packets: u64,
    /// Sockets of both sides together in the direct runs.
    pub median_sockets: Option<f64>,
    /// The most of them in any run.
    pub most_sockets: u32,
    /// What won how often.
    pub methods: BTreeMap<String, usize>,
    /// Why the others failed.
    pub causes: BTreeMap<String, usize>,
    /// The others, with their causes; where the oracle says that no direct path exists, some of them.
    pub failed_seeds: Vec<FailedSeed>,
}

/// As run, for the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct SettingsShown {
    /// Runs of each pair.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// One-way delay; none: drawn.
    pub delay_ms: Option<f64>,
    /// Share lost; none: drawn.
    pub loss: Option<f64>,
    /// Foreign allocations per second; none: drawn.
    pub cross: Option<f64>,
    /// `allow`, `only` or `never`.
    pub relay: &'static str,
    /// The forced method.
    pub method: Option<&'static str>,
    /// Deadline of an attempt.
    pub deadline_s: f64,
    /// The server had one address only.
    pub one_address: bool,
    /// What was known at the join: `both`, `host` or `nothing`.
    pub known: &'static str,
    /// What the two networks shared: `apart`, `lan` or `outer-nat`.
    pub shared: &'static str,
    /// Who classified and measured ranges: `server` or `peer`.
    pub detect: &'static str,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// Pairs, row by row.
    pub cells: Vec<Cell>,
    /// As run.
    pub settings: SettingsShown,
}

/// Runs it all; `progress` is called with the number of runs that are done.
pub fn run(settings: &MatrixSettings, progress: impl Fn(usize) + Sync) -> Matrix {
    let pairs: Vec<(&NatSpec, &NatSpec)> =
        settings.left.iter().flat_map(|left| settings.right.iter().map(move |right| (left, right))).collect();
    let seeds = settings.seeds as usize;
    let total = pairs.len() * seeds;
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<Option<Outcome>>> = Mutex::new(vec![None; total]);
    let threads = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= total {
                return;
            }
            let (left, right) = pairs[index / seeds];
            let seed = settings.first_seed + (index % seeds) as u64;
            let outcome = run_one(&settings.draw, seed, left, right);
            if let Ok(mut results) = results.lock() {
                results[index] = Some(outcome);
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().unwrap_or_default();
    let cells = pairs
        .iter()
        .enumerate()
        .map(|(index, (left, right))| {
            let outcomes = results.iter().skip(index * seeds).take(seeds).flatten();
            cell(left, right, outcomes, &settings.draw)
        })
        .collect();
    Matrix { cells, settings: shown(settings) }
}

fn run_one(draw: &Draw, seed: u64, left: &NatSpec, right: &NatSpec) -> Outcome {
    // A panic in one seed is a finding about that seed, not the end of the matrix.
    catch_unwind(AssertUnwindSafe(|| Outcome::of(PairWorld::new(draw.settings(seed, left, right)).join())))
        .unwrap_or_else(|_| Outcome::panicked(seed))
}

fn shown(settings: &MatrixSettings) -> SettingsShown {
    let config = &settings.draw.config;
    SettingsShown {
        seeds: settings.seeds,
        first_seed: settings.first_seed,
        delay_ms: settings.draw.delay.map(ms),
        loss: settings.draw.loss,
        cross: settings.draw.cross,
        relay: match config.relay {
            traversal_core::RelayPolicy::Allow => "allow",
            traversal_core::RelayPolicy::Only => "only",
            traversal_core::RelayPolicy::Never => "never",
        },
        method: config.method.map(|method| method.name()),
        deadline_s: config.connect_deadline.as_secs_f64(),
        one_address: settings.draw.one_address,
        known: match settings.draw.join {
            JoinMoment::BothKnown => "both",
            JoinMoment::HostKnown => "host",
            JoinMoment::AtOnce => "nothing",
        },
        shared: match settings.draw.relation {
            Relation::Apart => "apart",
            Relation::SameLan => "lan",
            Relation::SameOuterNat => "outer-nat",
        },
        detect: match config.detect {
            Detect::Server => "server",
            Detect::Peer => "peer",
        },
    }
}

fn cell<'a>(
    left: &NatSpec,
    right: &NatSpec,
    outcomes: impl Iterator<Item = &'a Outcome>,
    draw: &Draw,
) -> Cell {
    let outlook = oracle::outlook(&left.chain, &right.chain, draw.relation);
    let listed = if matches!(outlook, Outlook::Impossible(_)) { LISTED_EXAMPLES } else { LISTED_FAILURES };
    let bound = oracle::bound_round_trips(&left.chain, &right.chain, draw.relation);
    let outlook = match outlook {
        Outlook::Direct => "direct",
        Outlook::Search => "search",
        Outlook::Impossible(cause) => cause.name(),
    };
    let mut cell = Cell {
        left: left.name.clone(),
        right: right.name.clone(),
        outlook,
        runs: 0,
        direct: 0,
        direct_interval: (0.0, 1.0),
        played: 0,
        settled: 0,
        median_direct_ms: None,
        median_direct_rtt: None,
        bound_direct_rtt: bound.map(|(first, _)| first),
        median_confirmed_ms: None,
        median_confirmed_rtt: None,
        bound_confirmed_rtt: bound.map(|(_, both)| both),
        bound_direct_share: None,
        median_game_ms: None,
        median_game_rtt: None,
        median_packets: None,
        most_packets: 0,
        median_sockets: None,
        most_sockets: 0,
        methods: BTreeMap::new(),
        causes: BTreeMap::new(),
        failed_seeds: Vec::new(),
    };
    let [mut first, mut first_rtt, mut confirmed, mut confirmed_rtt, mut packets] = [const { Vec::new() }; 5];
    let [mut game, mut game_rtt, mut sockets, mut round_trips] = [const { Vec::new() }; 4];
    for outcome in outcomes {
        round_trips.push(outcome.rtt_ms);
        cell.runs += 1;
        cell.direct += usize::from(outcome.direct);
        cell.played += usize::from(outcome.played);
        cell.settled += usize::from(outcome.settled);
        game.extend(outcome.game_ms);
        game_rtt.extend(outcome.game_ms.map(|time| time / outcome.rtt_ms));
        cell.most_packets = cell.most_packets.max(outcome.packets);
        cell.most_sockets = cell.most_sockets.max(outcome.sockets);
        if outcome.direct {
            sockets.push(f64::from(outcome.sockets));
            *cell.methods.entry(outcome.method.into()).or_default() += 1;
            packets.push(outcome.packets as f64);
            first.extend(outcome.first_ms);
            first_rtt.extend(outcome.first_ms.map(|time| time / outcome.rtt_ms));
            confirmed.extend(outcome.confirmed_ms);
            confirmed_rtt.extend(outcome.confirmed_ms.map(|time| time / outcome.rtt_ms));
        } else if let Some(cause) = &outcome.cause {
            *cell.causes.entry(cause.clone()).or_default() += 1;
            if cell.failed_seeds.len() < listed {
                cell.failed_seeds.push(FailedSeed { seed: outcome.seed, cause: cause.clone() });
            }
        }
    }
    cell.direct_interval = wilson(cell.direct, cell.runs);
    cell.bound_direct_share = median(&mut round_trips).and_then(|round_trip| {
        let answer = Duration::from_secs_f64(2.0 * round_trip / 1e3);
        let [left, right] = [&left.chain[..], &right.chain[..]];
        foretold::of_pair(left, right, draw.relation, answer, &draw.config).map(round)
    });
    cell.median_direct_ms = median(&mut first).map(round);
    cell.median_direct_rtt = median(&mut first_rtt).map(round);
    cell.median_confirmed_ms = median(&mut confirmed).map(round);
    cell.median_confirmed_rtt = median(&mut confirmed_rtt).map(round);
    cell.median_game_ms = median(&mut game).map(round);
    cell.median_game_rtt = median(&mut game_rtt).map(round);
    cell.median_packets = median(&mut packets);
    cell.median_sockets = median(&mut sockets);
    cell
}

/// To a thousandth, as nobody reads more.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
