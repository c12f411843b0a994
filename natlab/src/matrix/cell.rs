//! All runs of one pair of NATs, in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::bound::{self, Means};
use crate::nat::NatSpec;
use crate::oracle::{self, Outlook, Relation};
use crate::scenario::{JoinReport, PairWorldSettings};
use crate::stats::{median, wilson};

/// A cell lists at most this many failed seeds where a direct path exists: all of them, within reason.
const LISTED_FAILURES: usize = 2000;
/// It lists at most this many where none exists: as examples.
const LISTED_EXAMPLES: usize = 20;

/// One bucket ends and the next begins at these numbers of ports that other machines take per second, on the side with
/// more.
const TRAFFIC: [f64; 5] = [0.0, 10.0, 100.0, 300.0, 1000.0];
/// These are the edges of the buckets for mean round trips, in milliseconds.
const ROUND_TRIPS: [f64; 5] = [0.0, 100.0, 300.0, 600.0, 1200.0];

/// This is one run, in short.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    seed: u64,
    outlook: &'static str,
    possible: bool,
    direct: bool,
    played: bool,
    settled: bool,
    /// The first direct packet, and in the next field the confirmation, came this long after the request, in
    /// milliseconds.
    first_ms: Option<f64>,
    confirmed_ms: Option<f64>,
    /// The other's first game datagram came this long after the request, in milliseconds, on the side where it came
    /// later.
    game_ms: Option<f64>,
    rtt_ms: f64,
    /// Other machines take this many ports per second at the NATs' counters, on the side where they take more.
    traffic: f64,
    /// How often this world's pair can meet at best, where that is left to chance.
    bound: Option<f64>,
    /// This many round trips are enough: see [`oracle::bound_round_trips`].
    bound_rtt: Option<(f64, f64)>,
    packets: u64,
    sockets: u32,
    method: &'static str,
    cause: Option<String>,
    /// It says whether the freight arrived on both sides; none: there was no freight, or nothing was played.
    carried: Option<bool>,
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Outcome {
    /// Makes a run in which nothing came about yet.
    fn blank(settings: &PairWorldSettings) -> Self {
        let (left, right, relation) = (&settings.left, &settings.right, settings.relation);
        let outlook = oracle::outlook(left, right, relation);
        let caps = settings.config.caps;
        let means = Means {
            per_second: caps.datagrams_per_second,
            in_all: caps.datagrams_per_attempt,
            targets: caps.targets_per_attempt,
            sockets: caps.sockets_per_attempt,
            time: settings.config.connect_deadline,
        };
        let rtt = settings.mean_rtt();
        let apart = relation == Relation::Apart;
        Self {
            seed: settings.seed,
            outlook: match outlook {
                Outlook::Direct => "direct",
                Outlook::Search => "search",
                Outlook::Impossible(cause) => cause.name(),
            },
            possible: !matches!(outlook, Outlook::Impossible(_)),
            direct: false,
            played: false,
            settled: false,
            first_ms: None,
            confirmed_ms: None,
            game_ms: None,
            rtt_ms: ms(rtt),
            traffic: bound::counter_traffic(left).max(bound::counter_traffic(right)),
            bound: apart.then(|| bound::share(left, right, rtt, means)).flatten(),
            bound_rtt: oracle::bound_round_trips(left, right, relation),
            packets: 0,
            sockets: 0,
            method: "none",
            cause: None,
            carried: None,
        }
    }

    pub(super) fn of(report: JoinReport, settings: &PairWorldSettings) -> Self {
        Self {
            direct: report.direct,
            played: report.played,
            settled: report.is_settled(),
            first_ms: report.first_packet.map(ms),
            confirmed_ms: report.confirmed.map(ms),
            game_ms: report.played.then_some(report.left.heard.max(report.right.heard)).flatten().map(ms),
            packets: report.left.packets + report.right.packets,
            sockets: report.left.sockets + report.right.sockets,
            method: report.method.map_or("none", |method| method.name()),
            cause: report.cause,
            ..Self::blank(settings)
        }
    }

    pub(super) fn is_played(&self) -> bool {
        self.played
    }

    pub(super) fn carrying(self, carried: Option<bool>) -> Self {
        Self { carried, ..self }
    }

    pub(super) fn panicked(seed: u64, settings: &PairWorldSettings) -> Self {
        Self { seed, cause: Some("panic".into()), ..Self::blank(settings) }
    }

    fn bucket(&self) -> Option<(&'static str, usize, usize)> {
        self.bound.map(|_| (self.outlook, place(&TRAFFIC, self.traffic), place(&ROUND_TRIPS, self.rtt_ms)))
    }
}

/// Which of the buckets between these edges a value is in; the last one takes what is beyond too.
fn place(edges: &[f64; 5], value: f64) -> usize {
    (1..4).filter(|edge| value >= edges[*edge]).count()
}

/// This is a seed without a direct path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedSeed {
    /// This is the seed of the run; `--first-seed SEED --seeds 1` runs it again.
    pub seed: u64,
    /// It says why the run failed, in the words of the report.
    pub cause: String,
    /// What the oracle says of this seed's world.
    pub outlook: &'static str,
}

/// These are the runs of a pair of which the oracle says the same.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Class {
    /// It counts this many runs.
    pub runs: usize,
    /// In this many of them both sides had a direct path.
    pub direct: usize,
    /// This is the Wilson interval of the share of direct runs, at 95 %.
    pub direct_interval: (f64, f64),
    /// It is the mean over these worlds of how often such a pair can meet at best, where chance decides: see [`bound`].
    pub bound: Option<f64>,
    /// It counts the other runs by why they failed.
    pub causes: BTreeMap<String, usize>,
    #[serde(skip)]
    bounds: (f64, usize),
}

impl Class {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.direct += usize::from(outcome.direct);
        if let Some(bound) = outcome.bound {
            self.bounds = (self.bounds.0 + bound, self.bounds.1 + 1);
        }
        if let Some(cause) = outcome.cause.as_ref().filter(|_| !outcome.direct) {
            *self.causes.entry(cause.clone()).or_default() += 1;
        }
        self.direct_interval = wilson(self.direct, self.runs);
        // One number for all: worlds without a bound leave nothing to chance.
        let certain = (self.runs - self.bounds.1) as f64;
        self.bound = (self.bounds.1 > 0).then(|| round((self.bounds.0 + certain) / self.runs as f64));
    }
}

/// Runs in which chance decides, by traffic and round trip.
#[derive(Clone, Debug, Serialize)]
pub struct Bucket {
    /// What the oracle says of these runs' worlds.
    pub outlook: &'static str,
    /// Foreign machines take this many ports per second, on the side with more of them: from, to.
    pub traffic: (f64, f64),
    /// The mean round trip lies in this range, in milliseconds: from, to.
    pub rtt_ms: (f64, f64),
    /// What came of the runs.
    #[serde(flatten)]
    pub class: Class,
}

/// These are all runs of one pair.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cell {
    /// This is the NAT of the host.
    pub left: String,
    /// This is the NAT of the one who joins.
    pub right: String,
    /// What the oracle says of the NATs as named: `direct`, `search`, or why it is impossible. Where the ports are drawn, it
    /// may say other things of a run: see [`outlooks`](Self::outlooks).
    pub outlook: &'static str,
    /// It counts this many runs.
    pub runs: usize,
    /// In this many of them both sides had a direct path.
    pub direct: usize,
    /// This is the Wilson interval of the share of direct runs, at 95 %.
    pub direct_interval: (f64, f64),
    /// It holds the same by what the oracle says of each run's world.
    pub outlooks: BTreeMap<&'static str, Class>,
    /// They are the runs in which chance decides, by traffic and round trip.
    pub buckets: Vec<Bucket>,
    /// In this many of them both heard the other's game.
    pub played: usize,
    /// With `--freight`, the freight arrived on both sides in this many of them.
    pub carried: usize,
    /// They are the seeds of those in which it did not, though both heard the other's game.
    pub not_carried: Vec<u64>,
    /// In this many of them each side said how it ended.
    pub settled: usize,
    /// The first direct packet came this long after the request, in milliseconds.
    pub median_direct_ms: Option<f64>,
    /// This is the same in round trips of each run's world.
    pub median_direct_rtt: Option<f64>,
    /// What is enough where every way takes the same time and nothing is lost: see [`oracle::bound_round_trips`]; none where
    /// it is not the same in all runs.
    pub bound_direct_rtt: Option<f64>,
    /// Both sides confirmed this long after the request, in milliseconds.
    pub median_confirmed_ms: Option<f64>,
    /// This is the time from the request until both sides confirmed, in round trips.
    pub median_confirmed_rtt: Option<f64>,
    /// What is enough for both sides to confirm, as in `bound_direct_rtt`.
    pub bound_confirmed_rtt: Option<f64>,
    /// Both had the other's first game datagram this long after the request, in milliseconds, by whichever way.
    pub median_game_ms: Option<f64>,
    /// This is the time from the request until the game plays, in round trips.
    pub median_game_rtt: Option<f64>,
    /// Both sides together sent this many datagrams to anybody but the server until they confirmed.
    pub median_packets: Option<f64>,
    /// This is the most of them in any run.
    pub most_packets: u64,
    /// Both sides together had this many sockets in the direct runs.
    pub median_sockets: Option<f64>,
    /// This is the most of them in any run.
    pub most_sockets: u32,
    /// How often each method found the direct way.
    pub methods: BTreeMap<String, usize>,
    /// It counts the other runs by why they failed.
    pub causes: BTreeMap<String, usize>,
    /// These are the others, with their causes; where the oracle says that no direct path exists, some of them.
    pub failed_seeds: Vec<FailedSeed>,
}

pub(super) fn cell<'a>(
    left: &NatSpec,
    right: &NatSpec,
    relation: Relation,
    outcomes: impl Iterator<Item = &'a Outcome>,
) -> Cell {
    let mut cell = Cell {
        left: left.name.clone(),
        right: right.name.clone(),
        outlook: match oracle::outlook(&left.chain, &right.chain, relation) {
            Outlook::Direct => "direct",
            Outlook::Search => "search",
            Outlook::Impossible(cause) => cause.name(),
        },
        ..Cell::default()
    };
    let mut times = Times::default();
    let mut bound_rtt = None;
    let mut buckets: BTreeMap<(&'static str, usize, usize), Class> = BTreeMap::new();
    let mut examples = 0;
    for outcome in outcomes {
        cell.runs += 1;
        cell.direct += usize::from(outcome.direct);
        cell.played += usize::from(outcome.played);
        cell.settled += usize::from(outcome.settled);
        cell.carried += usize::from(outcome.carried == Some(true));
        if outcome.carried == Some(false) && cell.not_carried.len() < LISTED_FAILURES {
            cell.not_carried.push(outcome.seed);
        }
        cell.most_packets = cell.most_packets.max(outcome.packets);
        cell.most_sockets = cell.most_sockets.max(outcome.sockets);
        cell.outlooks.entry(outcome.outlook).or_default().add(outcome);
        if let Some(bucket) = outcome.bucket() {
            buckets.entry(bucket).or_default().add(outcome);
        }
        let same = bound_rtt.is_none_or(|known| known == outcome.bound_rtt);
        bound_rtt = Some(outcome.bound_rtt.filter(|_| same));
        times.add(outcome);
        if outcome.direct {
            *cell.methods.entry(outcome.method.into()).or_default() += 1;
        } else if let Some(cause) = &outcome.cause {
            *cell.causes.entry(cause.clone()).or_default() += 1;
            examples += usize::from(!outcome.possible);
            let listed = outcome.possible || examples <= LISTED_EXAMPLES;
            if listed && cell.failed_seeds.len() < LISTED_FAILURES {
                let (seed, outlook) = (outcome.seed, outcome.outlook);
                cell.failed_seeds.push(FailedSeed { seed, cause: cause.clone(), outlook });
            }
        }
    }
    cell.direct_interval = wilson(cell.direct, cell.runs);
    let bucket = |((outlook, traffic, rtt), class)| Bucket {
        outlook,
        traffic: (TRAFFIC[traffic], TRAFFIC[traffic + 1]),
        rtt_ms: (ROUND_TRIPS[rtt], ROUND_TRIPS[rtt + 1]),
        class,
    };
    cell.buckets = buckets.into_iter().map(bucket).collect();
    (cell.bound_direct_rtt, cell.bound_confirmed_rtt) = bound_rtt.flatten().unzip();
    times.tell(&mut cell);
    cell
}

/// What medians are taken of.
#[derive(Default)]
struct Times {
    first: Vec<f64>,
    first_rtt: Vec<f64>,
    confirmed: Vec<f64>,
    confirmed_rtt: Vec<f64>,
    game: Vec<f64>,
    game_rtt: Vec<f64>,
    packets: Vec<f64>,
    sockets: Vec<f64>,
}

impl Times {
    fn add(&mut self, outcome: &Outcome) {
        let in_rtt = |time: Option<f64>| time.map(|time| time / outcome.rtt_ms);
        self.game.extend(outcome.game_ms);
        self.game_rtt.extend(in_rtt(outcome.game_ms));
        if outcome.direct {
            self.sockets.push(f64::from(outcome.sockets));
            self.packets.push(outcome.packets as f64);
            self.first.extend(outcome.first_ms);
            self.first_rtt.extend(in_rtt(outcome.first_ms));
            self.confirmed.extend(outcome.confirmed_ms);
            self.confirmed_rtt.extend(in_rtt(outcome.confirmed_ms));
        }
    }

    fn tell(mut self, cell: &mut Cell) {
        cell.median_direct_ms = median(&mut self.first).map(round);
        cell.median_direct_rtt = median(&mut self.first_rtt).map(round);
        cell.median_confirmed_ms = median(&mut self.confirmed).map(round);
        cell.median_confirmed_rtt = median(&mut self.confirmed_rtt).map(round);
        cell.median_game_ms = median(&mut self.game).map(round);
        cell.median_game_rtt = median(&mut self.game_rtt).map(round);
        cell.median_packets = median(&mut self.packets);
        cell.median_sockets = median(&mut self.sockets);
    }
}

/// Rounds to a thousandth, as nobody reads more.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_upper_bucket_and_the_last_one_takes_the_rest() {
        let places = [0.0, 9.9, 10.0, 100.0, 299.9, 300.0, 1000.0, 5000.0].map(|rate| place(&TRAFFIC, rate));
        assert_eq!(places, [0, 0, 1, 2, 2, 3, 3, 3]);
    }
}
