//! Many seeds of every pair of NATs, on all processors, with results in the order of the seeds.

mod cell;
mod html;
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use traversal_core::Detect;

use crate::freight::{Freight, Ledger};
use crate::nat::NatSpec;
use crate::oracle::Relation;
use crate::scenario::{Draw, JoinMoment, PairWorld, Worlds};

pub use cell::{Bucket, Cell, Class, FailedSeed};
pub use html::page;
pub use table::{buckets, table};

use cell::{Outcome, cell, ms};

/// These are the NATs of every kind that two players must be able to play through: the named types, a home router
/// behind a carrier's, Linux' clash, random ports, no UDP at all.
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

/// How long the freight may take once both have heard each other: 60 kB over the slowest way, with its losses.
const DELIVERY: Duration = Duration::from_secs(30);
/// This many datagrams of 1,200 bytes have to arrive.
const DATAGRAMS: u32 = 30;

/// What a matrix consists of: which NATs, and how each pair is run.
#[derive(Clone, Debug)]
pub struct MatrixSettings {
    /// These are the NATs of the hosts, one a row.
    pub left: Vec<NatSpec>,
    /// These are the NATs of those who join, one a column.
    pub right: Vec<NatSpec>,
    /// Each pair is run this many times.
    pub seeds: u64,
    /// This is the seed of the first run of each pair.
    pub first_seed: u64,
    /// How each run is drawn from its seed.
    pub draw: Draw,
    /// It runs on this many threads; 0: as many as there are processors.
    pub threads: usize,
}

/// These are the settings of a matrix as it was run, for the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct SettingsShown {
    /// Each pair was run this many times.
    pub seeds: u64,
    /// This is the seed of the first run of each pair.
    pub first_seed: u64,
    /// This is the delay one way, in milliseconds; none: it was drawn.
    pub delay_ms: Option<f64>,
    /// This share of the packets was lost, 0 to 1; none: it was drawn.
    pub loss: Option<f64>,
    /// Foreign machines take this many ports per second at the NATs; none: it was drawn.
    pub cross: Option<f64>,
    /// It says whether the relay was used: `allow`, `only` or `never`.
    pub relay: &'static str,
    /// The longest packet on the players' lines has this many bytes; none: it was drawn.
    pub mtu: Option<u16>,
    /// Each pair carried freight: long datagrams and a long reliable message.
    pub freight: bool,
    /// It is the method that was forced on all pairs; none: the server's plan.
    pub method: Option<&'static str>,
    /// How long an attempt may take, in seconds.
    pub deadline_s: f64,
    /// The server had one address only.
    pub one_address: bool,
    /// Which worlds were drawn: `internet` or `tidy`.
    pub worlds: &'static str,
    /// What was known at the join: `both`, `host` or `nothing`.
    pub known: &'static str,
    /// It says what the two networks shared: `apart`, `lan` or `outer-nat`.
    pub shared: &'static str,
    /// It says who classified and measured ranges: `server` or `peer`.
    pub detect: &'static str,
}

/// These are all results of a matrix.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// These are the pairs, row by row.
    pub cells: Vec<Cell>,
    /// These are the settings with which it was run.
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
            cell(left, right, settings.draw.relation, outcomes)
        })
        .collect();
    Matrix { cells, settings: shown(settings) }
}

/// Has both players carry freight.
fn load(world: &mut PairWorld) -> [Ledger; 2] {
    [world.left, world.right].map(|host| {
        let (game, ledger) = Freight::new();
        world.act(host, |player, _| player.play(Box::new(game)));
        ledger
    })
}

fn run_one(draw: &Draw, seed: u64, left: &NatSpec, right: &NatSpec) -> Outcome {
    // A panic in one seed is a finding about that seed, not the end of the matrix.
    let settings = draw.settings(seed, left, right);
    catch_unwind(AssertUnwindSafe(|| {
        let mut world = PairWorld::new(settings.clone());
        let ledgers = draw.freight.then(|| load(&mut world));
        let report = world.join();
        let outcome = Outcome::of(report, world.settings());
        let carried = ledgers.filter(|_| outcome.is_played()).map(|ledgers| {
            world.wait(DELIVERY, |_| ledgers.iter().all(|ledger| ledger.is_delivered(DATAGRAMS)))
        });
        outcome.carrying(carried)
    }))
    .unwrap_or_else(|_| Outcome::panicked(seed, &settings))
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
        mtu: settings.draw.mtu.map(|mtu| mtu.bytes),
        freight: settings.draw.freight,
        method: config.method.map(|method| method.name()),
        deadline_s: config.connect_deadline.as_secs_f64(),
        one_address: settings.draw.one_address,
        worlds: match settings.draw.worlds {
            Worlds::Internet => "internet",
            Worlds::Tidy => "tidy",
        },
        known: match settings.draw.moment() {
            JoinMoment::BothKnown => "both",
            JoinMoment::HostKnown => "host",
            JoinMoment::AtOnce => "nothing",
            JoinMoment::Together => "nothing-together",
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
