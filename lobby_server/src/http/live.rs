//! What the status page asks for again and again: how the server is, and the last hour.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use traversal_core::nat::NatKind;

use crate::histogram::Histogram;
use crate::key::printed;
use crate::outcomes::PairResult;
use crate::server::GameNumbers;
use crate::status::Status;
use crate::watch::{HISTORY_PERIOD, Sample, Seen};

/// Kinds of NAT, the friendliest first, as they stand in the heat map.
const KINDS: [NatKind; 9] = [
    NatKind::None,
    NatKind::FullCone,
    NatKind::RestrictedCone,
    NatKind::PortRestrictedCone,
    NatKind::AddressSensitiveSymmetric,
    NatKind::PortSensitiveSymmetric,
    NatKind::Firewall,
    NatKind::UdpBlocked,
    NatKind::Unknown,
];

#[derive(Serialize)]
struct Live<'a> {
    version: &'static str,
    uptime_s: u64,
    key: String,
    findings: Vec<ShownFinding>,
    now: Now,
    /// Bytes a second.
    relay_cap: u64,
    limits: Vec<ShownLimit>,
    outcomes: Outcomes,
    nat_kinds: Vec<String>,
    pairs: Vec<Pair>,
    connect: Connect,
    refused: Vec<Refused>,
    games: Vec<Game<'a>>,
}

#[derive(Serialize)]
struct ShownFinding {
    text: String,
    serious: bool,
}

/// What the system does not tell is none.
#[derive(Serialize)]
struct Now {
    sessions: usize,
    rooms: usize,
    queued: usize,
    matches: usize,
    relays: usize,
    tcp_connections: usize,
    /// So many of them are of TLS.
    tls_connections: usize,
    /// Nodes that share the registry; none where it is this server's own.
    nodes: Option<u64>,
    matches_per_minute: f64,
    relay_bytes_per_s: f64,
    lag_ms: f64,
    kernel_drops: Option<u64>,
    /// Some of them are of the last minute.
    kernel_drops_lately: u64,
    receive_buffer: usize,
    wanted_buffer: usize,
    cpu: Option<f64>,
    memory_bytes: Option<u64>,
}

#[derive(Serialize)]
struct ShownLimit {
    name: String,
    used: f64,
    max: f64,
}

#[derive(Default, Serialize)]
struct Outcomes {
    direct: u64,
    relayed: u64,
    failed: u64,
}

#[derive(Serialize)]
struct Pair {
    a: String,
    b: String,
    #[serde(flatten)]
    outcomes: Outcomes,
    /// These are the causes, the most frequent first.
    causes: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    text: String,
    count: u64,
}

/// The last bound is none: whatever was longer.
#[derive(Serialize)]
struct Connect {
    bounds: Vec<Option<f64>>,
    direct: Vec<u64>,
    relayed: Vec<u64>,
    direct_half: Option<f64>,
    direct_most: Option<f64>,
    relayed_half: Option<f64>,
    relayed_most: Option<f64>,
}

#[derive(Serialize)]
struct Refused {
    what: &'static str,
    reason: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct Game<'a> {
    game: &'a str,
    sessions: u64,
    matches: u64,
    direct: u64,
    relayed: u64,
    failed: u64,
    relayed_bytes: u64,
}

/// Says how the server is, as JSON.
pub(super) fn status(status: &Status, seen: &Seen) -> String {
    let relay_cap = status.limits.iter().find(|limit| limit.name == "relay_bytes_per_second");
    let relay_cap = relay_cap.map_or(0, |limit| limit.max);
    let live = Live {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: status.uptime.as_secs(),
        key: printed(&status.public_key),
        findings: findings(status),
        now: now(status, seen),
        relay_cap,
        limits: limits(status, seen, relay_cap),
        outcomes: outcomes(&status.games),
        nat_kinds: KINDS.iter().map(NatKind::to_string).collect(),
        pairs: pairs(status),
        connect: connect(&status.timings.connect_direct, &status.timings.connect_relayed),
        refused: refused(status),
        games: games(&status.games),
    };
    json(&live)
}

/// Returns what is wrong, the worst first.
fn findings(status: &Status) -> Vec<ShownFinding> {
    let registry = (!status.registry.up).then(|| ShownFinding {
        text: String::from(
            "The registry that this node shares with others is not there, or does not take this node in: rooms can be neither \
             opened nor found. The log says why. Running games go on.",
        ),
        serious: true,
    });
    let found = status.findings.iter();
    let found =
        found.map(|finding| ShownFinding { text: finding.to_string(), serious: finding.is_serious() });
    registry.into_iter().chain(found).collect()
}

/// Tells the last hour, as JSON.
pub(super) fn history(seen: &Seen) -> String {
    #[derive(Serialize)]
    struct Past<'a> {
        period_s: u64,
        samples: &'a [Sample],
    }
    json(&Past { period_s: HISTORY_PERIOD.as_secs(), samples: &seen.history })
}

fn json(value: &impl Serialize) -> String {
    // Maps with keys of text, and numbers: nothing of it can fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// Gives the samples of the last minute.
fn lately(seen: &Seen) -> &[Sample] {
    let count = (Duration::from_secs(60).as_secs() / HISTORY_PERIOD.as_secs()) as usize;
    &seen.history[seen.history.len().saturating_sub(count)..]
}

/// Rates are those of the last minute: one of ten seconds jumps.
fn mean(seen: &Seen, of: fn(&Sample) -> f64) -> f64 {
    let samples = lately(seen);
    samples.iter().map(of).sum::<f64>() / samples.len().max(1) as f64
}

fn now(status: &Status, seen: &Seen) -> Now {
    let gauges = &status.gauges;
    Now {
        sessions: gauges.sessions,
        rooms: gauges.rooms,
        queued: gauges.queued,
        matches: gauges.matches,
        relays: gauges.relays,
        tcp_connections: status.tcp_connections,
        tls_connections: status.tls.connections,
        nodes: status.registry.shared.then_some(status.registry.nodes),
        matches_per_minute: mean(seen, |sample| sample.matches_per_minute),
        relay_bytes_per_s: relay_rate(seen),
        lag_ms: status.lag.as_secs_f64() * 1000.0,
        kernel_drops: seen.kernel.map(|kernel| kernel.drops),
        kernel_drops_lately: lately(seen).iter().map(|sample| sample.kernel_drops).sum(),
        receive_buffer: status.receive_buffer,
        wanted_buffer: status.wanted_buffer,
        cpu: seen.process.map(|_| seen.history.last().map_or(0.0, |sample| sample.cpu)),
        memory_bytes: seen.process.map(|process| process.resident_bytes),
    }
}

fn relay_rate(seen: &Seen) -> f64 {
    seen.history.last().map_or(0.0, |sample| sample.relay_bytes_per_s)
}

/// Returns the limits whose use is known; the relay's in Mbit/s.
fn limits(status: &Status, seen: &Seen, relay_cap: u64) -> Vec<ShownLimit> {
    let known = status.limits.iter().filter_map(|limit| {
        Some(ShownLimit { name: limit.name.into(), used: limit.used? as f64, max: limit.max as f64 })
    });
    let budgets = &status.relay_budgets.games;
    let of_games = budgets.iter().flat_map(|(game, budget)| {
        let used = status.relay_usage.games.get(game).copied().unwrap_or_default();
        let meter = |period, used: u64, max: Option<u64>| {
            Some(ShownLimit {
                name: format!("{game}: relay {period}_bytes"),
                used: used as f64,
                max: max? as f64,
            })
        };
        [meter("day", used.day, budget.day), meter("month", used.month, budget.month)].into_iter().flatten()
    });
    let megabits = |bytes: f64| bytes * 8.0 / 1e6;
    let relay = ShownLimit {
        name: "relay".into(),
        used: megabits(relay_rate(seen)),
        max: megabits(relay_cap as f64),
    };
    known.chain([relay]).chain(of_games).filter(|limit| limit.max > 0.0).collect()
}

fn outcomes(games: &[GameNumbers]) -> Outcomes {
    games.iter().fold(Outcomes::default(), |all, game| Outcomes {
        direct: all.direct + game.direct,
        relayed: all.relayed + game.relayed,
        failed: all.failed + game.failed,
    })
}

/// Returns how matches went by pair, the most frequent pair first.
fn pairs(status: &Status) -> Vec<Pair> {
    let mut all: BTreeMap<[NatKind; 2], (Outcomes, BTreeMap<String, u64>)> = BTreeMap::new();
    for (pair, count) in &status.outcomes {
        let (outcomes, causes) = all.entry(pair.nats).or_default();
        match pair.outcome {
            PairResult::Direct => outcomes.direct += count,
            PairResult::Relayed => outcomes.relayed += count,
            PairResult::Failed => outcomes.failed += count,
        }
        if let Some(cause) = pair.cause {
            *causes.entry(cause.to_string()).or_default() += count;
        }
    }
    let pair = |([a, b], (outcomes, causes)): ([NatKind; 2], (Outcomes, BTreeMap<String, u64>))| {
        let mut causes: Vec<Cause> = causes.into_iter().map(|(text, count)| Cause { text, count }).collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        Pair { a: a.to_string(), b: b.to_string(), outcomes, causes }
    };
    let mut pairs: Vec<Pair> = all.into_iter().map(pair).collect();
    pairs.sort_by_key(|Pair { outcomes, .. }| {
        std::cmp::Reverse(outcomes.direct + outcomes.relayed + outcomes.failed)
    });
    pairs
}

fn connect(direct: &Histogram, relayed: &Histogram) -> Connect {
    let counts = |histogram: &Histogram| histogram.buckets().map(|(_, count)| count).collect();
    let finite = |bound: f64| Some(bound).filter(|bound| bound.is_finite());
    let part = |histogram: &Histogram, part| histogram.quantile(part).and_then(finite);
    Connect {
        bounds: direct.buckets().map(|(bound, _)| finite(bound)).collect(),
        direct: counts(direct),
        relayed: counts(relayed),
        direct_half: part(direct, 0.5),
        direct_most: part(direct, 0.95),
        relayed_half: part(relayed, 0.5),
        relayed_most: part(relayed, 0.95),
    }
}

fn refused(status: &Status) -> Vec<Refused> {
    let counts = status.counters.refusals.iter().filter(|(_, count)| *count > 0);
    let mut all: Vec<Refused> = counts
        .map(|(refusal, count)| Refused { what: refusal.what(), reason: refusal.reason(), count })
        .collect();
    all.sort_by_key(|refused| std::cmp::Reverse(refused.count));
    all
}

/// Returns the games that anybody has played, the one with most players first.
fn games(games: &[GameNumbers]) -> Vec<Game<'_>> {
    let mut all: Vec<Game<'_>> = games
        .iter()
        .filter(|game| game.logins > 0)
        .map(|game| Game {
            game: &game.game,
            sessions: game.sessions,
            matches: game.matches,
            direct: game.direct,
            relayed: game.relayed,
            failed: game.failed,
            relayed_bytes: game.relayed_bytes,
        })
        .collect();
    all.sort_by_key(|game| std::cmp::Reverse(game.sessions));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use traversal_core::failure::FailureReason;
    use traversal_core::wire::message::MatchOutcome;

    use super::*;
    use crate::outcomes::PairOutcome;
    use crate::server::Refusal;

    #[test]
    fn every_kind_of_nat_has_its_place_in_the_heat_map_once() {
        let names: BTreeSet<String> = KINDS.iter().map(NatKind::to_string).collect();
        assert_eq!(names.len(), KINDS.len());
        // A kind that is added to the traversal comes to mind here.
        for kind in KINDS {
            match kind {
                NatKind::None
                | NatKind::FullCone
                | NatKind::RestrictedCone
                | NatKind::PortRestrictedCone
                | NatKind::AddressSensitiveSymmetric
                | NatKind::PortSensitiveSymmetric
                | NatKind::Firewall
                | NatKind::UdpBlocked
                | NatKind::Unknown => {}
            }
        }
    }

    #[test]
    fn pairs_add_up_over_their_causes_and_the_most_frequent_comes_first() {
        let mut shown = Status::for_tests();
        let nats = [NatKind::PortSensitiveSymmetric, NatKind::PortRestrictedCone];
        let pair = |outcome, cause| PairOutcome::new(outcome, cause, nats).unwrap();
        shown.outcomes = [
            (pair(MatchOutcome::Relayed, Some(FailureReason::RandomPortsNotFound)), 3),
            (pair(MatchOutcome::Failed, Some(FailureReason::NoAnswer)), 1),
            (pair(MatchOutcome::Direct, None), 9),
            (PairOutcome::new(MatchOutcome::Direct, None, [NatKind::None; 2]).unwrap(), 2),
        ]
        .into();
        shown.registry.up = false;
        shown.counters.limit(Refusal::RoomsFull);
        shown.timings.connect_direct.observe(Duration::from_millis(350));
        shown.timings.connect_direct.observe(Duration::from_secs(60));
        let hostile = "</script><b>\u{2028}";
        shown.games.push(GameNumbers {
            game: hostile.into(),
            logins: 1,
            direct: 4,
            ..GameNumbers::default()
        });
        let json: serde_json::Value = serde_json::from_str(&status(&shown, &Seen::default())).unwrap();
        assert!(json["findings"][0]["text"].as_str().unwrap().contains("registry"), "{json}");
        assert_eq!(json["now"]["nodes"], serde_json::Value::Null, "it is no node");
        let first = &json["pairs"][0];
        assert_eq!(first["a"], "port-restricted cone");
        assert_eq!([&first["direct"], &first["relayed"], &first["failed"]], [9, 3, 1]);
        assert_eq!(first["causes"][0]["count"], 3);
        assert_eq!(json["pairs"][1]["direct"], 2);
        assert_eq!(json["outcomes"]["direct"], 4, "of all games");
        assert_eq!(json["refused"], serde_json::json!([{ "what": "room", "reason": "full", "count": 1 }]));
        assert_eq!(json["games"][0]["game"], hostile);
        assert_eq!(json["now"]["kernel_drops"], serde_json::Value::Null, "nothing is known");
        assert_eq!(json["connect"]["direct_half"], 0.4);
        assert_eq!(json["connect"]["direct_most"], serde_json::Value::Null, "longer than all bounds");
        assert_eq!(
            json["connect"]["bounds"].as_array().unwrap().len(),
            json["connect"]["direct"].as_array().unwrap().len()
        );
    }
}
