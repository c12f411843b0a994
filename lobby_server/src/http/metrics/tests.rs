use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use traversal_core::failure::FailureReason;
use traversal_core::nat::NatKind;
use traversal_core::wire::message::MatchOutcome;

use super::*;
use crate::outcomes::PairOutcome;
use crate::server::Refusal;
use crate::watch::{Kernel, Process};

/// A name that tries to break out of its label, and one in which each character needs more than a byte.
const HOSTILE: [&str; 2] = ["a\"} 1\nlobby_sessions 9\n\\", "игра 遊戲"];

fn busy() -> (Status, Seen) {
    let mut status = Status::for_tests();
    let nats = [NatKind::PortSensitiveSymmetric, NatKind::PortRestrictedCone];
    let cause = Some(FailureReason::RandomPortsNotFound);
    let relayed = PairOutcome::new(MatchOutcome::Relayed, cause, nats).unwrap();
    let direct = PairOutcome::new(MatchOutcome::Direct, None, nats).unwrap();
    status.outcomes = [(relayed, 3), (direct, 9)].into();
    status.findings = vec![Finding::OneAddress { address: "172.17.0.1".parse().unwrap(), players: 5 }];
    status.counters.limit(Refusal::RoomsOfAddress);
    status.timings.rtt.observe(Duration::from_millis(33));
    for game in HOSTILE {
        status.games.push(GameNumbers {
            game: game.into(),
            sessions: 2,
            direct: 9,
            ..GameNumbers::default()
        });
    }
    let seen = Seen {
        kernel: Some(Kernel { drops: 997_324, waiting: 4096 }),
        process: Some(Process { cpu_seconds: 1.5, max_fds: Some(1024), ..Process::default() }),
        history: Vec::new(),
    };
    (status, seen)
}

/// Reads a text as strictly as the formats are defined, and returns its series with their values. It panics at what breaks a
/// rule: a family without help or type or that comes twice, a series that stands elsewhere than under its family or comes
/// twice, a label or number that is none, and a histogram whose buckets do not add up.
fn read(format: Format, text: &str) -> BTreeMap<String, f64> {
    let text = match format {
        Format::Prometheus => text,
        Format::OpenMetrics => text.strip_suffix("# EOF\n").expect("the end is marked"),
    };
    assert!(text.ends_with('\n'), "the last line ends");
    let (mut series, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut helped, mut family) = (String::new(), (String::new(), String::new()));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(help.ends_with('.') && families.insert(name.to_string()), "{line}");
            helped = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, helped, "{line}");
            assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
            family = (name.into(), kind.into());
        } else {
            let (name, mut labels, value) = sample(line);
            for (_, bound) in labels.iter_mut().filter(|(label, _)| label == "le") {
                // Written as 1 in one format, as 1.0 in the other.
                *bound = bound.parse::<f64>().expect(line).to_string();
            }
            let suffix =
                name.strip_prefix(family.0.as_str()).unwrap_or_else(|| panic!("{line}: not of {family:?}"));
            let allowed: &[&str] = match (family.1.as_str(), format) {
                ("counter", Format::OpenMetrics) => &["_total"],
                ("info", Format::OpenMetrics) => &["_info"],
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}: not of {family:?}");
            assert!(
                labels.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len() == labels.len(),
                "{line}"
            );
            assert!(series.insert(format!("{name}{labels:?}"), value).is_none(), "twice: {line}");
        }
    }
    check_buckets(&series);
    series
}

/// Takes a line apart: name, labels, value.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect(line);
            assert!(is_name(label), "{line}");
            let (mut value, mut letters) = (String::new(), after.char_indices());
            let close = loop {
                match letters.next().expect(line) {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match letters.next().expect(line).1 {
                        'n' => '\n',
                        other @ ('\\' | '"') => other,
                        other => panic!("{other:?} in {line}"),
                    }),
                    (_, letter) => value.push(letter),
                }
            };
            labels.push((label.to_string(), value));
            rest = &after[close + 1..];
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').expect(line);
        }
    }
    let value: f64 = rest.strip_prefix(' ').expect(line).parse().expect(line);
    assert!(value.is_finite(), "{line}");
    (name.into(), labels, value)
}

fn check_buckets(series: &BTreeMap<String, f64>) {
    let mut histograms = 0;
    for (name, count) in series {
        let Some(name) = name.strip_suffix("_count[]") else { continue };
        let start = format!("{name}_bucket[(\"le\", \"");
        let mut buckets: Vec<(f64, f64)> = series
            .iter()
            .filter_map(|(key, value)| {
                let bound = key.strip_prefix(&start)?.strip_suffix("\")]")?;
                Some((bound.parse().expect(bound), *value))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.len() > 10 && buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
            "{name}: {buckets:?}"
        );
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{name}");
        assert!(series.contains_key(&format!("{name}_sum[]")), "{name}");
        histograms += 1;
    }
    assert!(histograms >= 6, "{histograms}");
}

#[test]
fn both_formats_are_well_formed_and_say_the_same() {
    for (status, seen) in [(Status::for_tests(), Seen::default()), busy()] {
        let [plain, open] = [Format::Prometheus, Format::OpenMetrics]
            .map(|format| read(format, &metrics(format, &status, &seen)));
        let apart = plain.iter().find(|(name, value)| open.get(*name) != Some(value));
        assert!(plain.len() == open.len() && apart.is_none(), "{apart:?}");
        assert!(plain.len() > 200, "{}", plain.len());
    }
}

#[test]
fn names_of_games_stay_within_their_label() {
    let (status, seen) = busy();
    let series = read(Format::Prometheus, &metrics(Format::Prometheus, &status, &seen));
    assert_eq!(series["lobby_sessions[]"], 0.0);
    for game in HOSTILE {
        assert_eq!(series[&format!("lobby_game_sessions[(\"game\", {game:?})]")], 2.0);
        let direct = format!("lobby_game_connections_total[(\"game\", {game:?}), (\"outcome\", \"direct\")]");
        assert_eq!(series[&direct], 9.0);
    }
}

#[test]
fn every_series_is_there_from_the_start_but_pairs_of_nats_that_did_not_occur() {
    let (status, seen) = busy();
    let mut fresh = Status::for_tests();
    // Named by the operator, games are there from the start.
    fresh.games.extend(HOSTILE.map(|game| GameNumbers { game: game.into(), ..GameNumbers::default() }));
    let names = |status| -> BTreeSet<String> {
        read(Format::Prometheus, &metrics(Format::Prometheus, status, &seen)).into_keys().collect()
    };
    let (busy, fresh) = (names(&status), names(&fresh));
    let late: Vec<&String> = busy.difference(&fresh).collect();
    assert!(late.iter().all(|name| name.starts_with("lobby_pairs_total[")), "{late:?}");
    assert_eq!(late.len(), 2);
    for name in [
        "lobby_refused_total[(\"what\", \"login\"), (\"reason\", \"full\")]",
        "lobby_limit[(\"limit\", \"sessions\")]",
        "lobby_limit_used[(\"limit\", \"rooms\")]",
        "lobby_kernel_drops_total[]",
        "process_cpu_seconds_total[]",
        "lobby_login_seconds_count[]",
    ] {
        assert!(fresh.contains(name), "{name}: {fresh:#?}");
    }
}

#[test]
fn matches_are_told_by_cause_and_nats_and_the_place_by_its_findings() {
    let (status, seen) = busy();
    let text = metrics(Format::Prometheus, &status, &seen);
    for line in [
        "lobby_pairs_total{outcome=\"relayed\",cause=\"random-ports-not-found\",\
         nat_a=\"port-restricted cone\",nat_b=\"port-sensitive symmetric\"} 3\n",
        "cause=\"none\"",
        "lobby_surroundings{finding=\"one-address\"} 1\n",
        "lobby_surroundings{finding=\"address-gone\"} 0\n",
        "lobby_refused_total{what=\"room\",reason=\"address-full\"} 1\n",
        "lobby_limited_total 1\n",
        "lobby_kernel_drops_total 997324\n",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

#[test]
fn who_asks_for_openmetrics_gets_it_and_everybody_else_the_older_format() {
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4";
    assert_eq!(Format::accepted_by(Some(prometheus)), Format::OpenMetrics);
    for other in [None, Some("*/*"), Some("text/html,application/xml;q=0.9")] {
        assert_eq!(Format::accepted_by(other), Format::Prometheus);
    }
}

/// Prometheus' own tool, where it is installed (Debian: in the package `prometheus`).
#[test]
fn promtool_has_nothing_to_say() {
    let (status, seen) = busy();
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("SKIPPED: there is no promtool");
        return;
    };
    let text = metrics(Format::Prometheus, &status, &seen);
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success() && said.iter().all(String::is_empty), "{said:?}");
}
