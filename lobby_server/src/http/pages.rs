//! What the pages say: metrics in Prometheus' text format, and the status page for a person.

use std::fmt::Write;

use crate::key::printed;
use crate::status::Status;
use crate::surroundings::Finding;

/// Gives name, help and value of each number; counters come first.
fn numbers(status: &Status) -> Vec<(&'static str, &'static str, u64, bool)> {
    let (counters, gauges) = (&status.counters, &status.gauges);
    vec![
        ("sessions", "Players logged in", gauges.sessions as u64, false),
        ("rooms", "Open rooms", gauges.rooms as u64, false),
        ("queued", "Players who wait for a quick match", gauges.queued as u64, false),
        ("matches", "Running matches", gauges.matches as u64, false),
        ("relays", "Matches that may use the relay", gauges.relays as u64, false),
        (
            "tcp_connections",
            "TCP connections, of players whose networks block UDP",
            status.tcp_connections as u64,
            false,
        ),
        ("uptime_seconds", "Seconds since the start", status.uptime.as_secs(), false),
        ("datagrams_in_total", "Datagrams received", counters.datagrams_in, true),
        ("bytes_in_total", "Bytes received", counters.bytes_in, true),
        ("datagrams_out_total", "Datagrams sent", counters.datagrams_out, true),
        ("bytes_out_total", "Bytes sent", counters.bytes_out, true),
        ("send_errors_total", "Datagrams that the system did not take", status.send_errors, true),
        (
            "too_long_total",
            "Datagrams longer than this machine's way to the player takes (EMSGSIZE)",
            status.too_long,
            true,
        ),
        ("dropped_total", "Datagrams dropped: junk, not authentic or replayed", counters.dropped, true),
        ("limited_total", "Datagrams and requests over a rate", counters.limited, true),
        ("logins_total", "Logins accepted", counters.logins, true),
        ("logins_refused_total", "Logins refused", counters.logins_refused, true),
        ("timeouts_total", "Sessions ended by silence", counters.timeouts, true),
        ("requests_total", "Requests of players", counters.requests, true),
        ("requests_failed_total", "Requests answered with an error", counters.requests_failed, true),
        ("wrong_passwords_total", "Wrong passwords of rooms", counters.wrong_passwords, true),
        ("rooms_opened_total", "Rooms opened", counters.rooms_opened, true),
        ("quick_matches_total", "Quick matches made", counters.quick_matches, true),
        ("matches_total", "Matches begun", counters.matches, true),
        ("matches_direct_total", "Sides that reported a direct path", counters.matches_direct, true),
        ("migrations_total", "Rooms that got another host", counters.migrations, true),
        ("matches_relayed_total", "Sides that reported the relay", counters.matches_relayed, true),
        ("matches_failed_total", "Sides that found no path", counters.matches_failed, true),
        ("probes_total", "Probes answered", counters.probes, true),
        ("claims_total", "Port ranges measured by players and believed", counters.claims, true),
        (
            "claims_refused_total",
            "Port ranges measured by players and refused",
            counters.claims_refused,
            true,
        ),
        ("stun_total", "STUN requests answered", counters.stun, true),
        ("relayed_total", "Datagrams through the relay", counters.relayed, true),
        ("relayed_bytes_total", "Bytes through the relay", counters.relayed_bytes, true),
        (
            "relay_dropped_total",
            "Datagrams for the relay without its owner's token",
            counters.relay_dropped,
            true,
        ),
        (
            "log_dropped_total",
            "Log lines dropped: the output was full, closed or too slow",
            status.log_dropped,
            true,
        ),
        ("log_limited_total", "Log lines left out: their kind came too often", status.log_limited, true),
        (
            "relays_refused_total",
            "Matches without a relay, because it carries as many as it can",
            counters.relays_refused,
            true,
        ),
        ("relay_limited_total", "Datagrams for the relay over its quotas", counters.relay_limited, true),
    ]
}

/// Writes Prometheus' text format.
pub(super) fn metrics(status: &Status) -> String {
    let mut out = String::new();
    for (name, help, value, counter) in numbers(status) {
        let kind = if counter { "counter" } else { "gauge" };
        let _ =
            write!(out, "# HELP lobby_{name} {help}.\n# TYPE lobby_{name} {kind}\nlobby_{name} {value}\n");
    }
    let _ = write!(
        out,
        "# HELP lobby_pairs_total Matches by how they went, why not directly, and the NATs of the two.\n\
         # TYPE lobby_pairs_total counter\n"
    );
    for (pair, count) in &status.outcomes {
        let [a, b] = pair.nats;
        let _ = writeln!(
            out,
            "lobby_pairs_total{{outcome=\"{}\",cause=\"{}\",nat_a=\"{a}\",nat_b=\"{b}\"}} {count}",
            pair.outcome.name(),
            pair.cause_name(),
        );
    }
    let _ = write!(
        out,
        "# HELP lobby_surroundings 1: this is wrong with the server's place in the network; the status page has the cure.\n\
         # TYPE lobby_surroundings gauge\n"
    );
    for name in Finding::NAMES {
        let here = status.findings.iter().any(|finding| finding.name() == name);
        let _ = writeln!(out, "lobby_surroundings{{finding=\"{name}\"}} {}", u8::from(here));
    }
    key(&mut out, status);
    out
}

/// Writes the key as the value of a label: that is where Prometheus has texts.
fn key(out: &mut String, status: &Status) {
    let _ = write!(
        out,
        "# HELP lobby_key_info 1: the server's public key, which games pin.\n# TYPE lobby_key_info gauge\n\
         lobby_key_info{{key=\"{}\"}} 1\n# HELP lobby_ready 1: the server takes new players.\n\
         # TYPE lobby_ready gauge\nlobby_ready {}\n",
        printed(&status.public_key),
        u8::from(status.takes_players)
    );
}

pub(super) fn page(status: &Status) -> String {
    let mut out = String::from(
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=5><title>lobby_server</title>\
         <style>body{font:16px sans-serif;margin:2em}td{padding:.2em 1em .2em 0}td+td{text-align:right}</style>\
         <h1>lobby_server</h1>",
    );
    for finding in &status.findings {
        let strength = if finding.is_serious() { "strong" } else { "span" };
        let _ = write!(out, "<p><{strength}>{finding}</{strength}>");
    }
    let _ = write!(out, "<p>Key to pin in games: <code>{}</code>", printed(&status.public_key));
    out.push_str("<table>");
    for (_, help, value, _) in numbers(status) {
        let _ = write!(out, "<tr><td>{help}<td>{value}");
    }
    out.push_str("</table>");
    pairs(&mut out, status);
    out.push_str("<p><a href=/metrics>metrics</a> <a href=/health>health</a>");
    out
}

/// Writes how matches went, the most frequent first.
fn pairs(out: &mut String, status: &Status) {
    if status.outcomes.is_empty() {
        return;
    }
    let total: u64 = status.outcomes.values().sum();
    out.push_str("<h2>How matches went</h2><table><tr><th>NATs<th>outcome<th>why<th>matches<th>share");
    let mut rows: Vec<_> = status.outcomes.iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (pair, count) in rows {
        let [a, b] = pair.nats;
        let why = pair.cause.map_or_else(String::new, |cause| cause.to_string());
        let share = *count as f64 * 100.0 / total.max(1) as f64;
        let _ =
            write!(out, "<tr><td>{a} – {b}<td>{}<td>{why}<td>{count}<td>{share:.1} %", pair.outcome.name());
    }
    out.push_str("</table>");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use traversal_core::failure::FailureReason;
    use traversal_core::nat::NatKind;
    use traversal_core::wire::message::MatchOutcome;

    use super::*;
    use crate::outcomes::PairOutcome;

    #[test]
    fn matches_are_shown_by_cause_and_nats() {
        let nats = [NatKind::PortSensitiveSymmetric, NatKind::PortRestrictedCone];
        let cause = Some(FailureReason::RandomPortsNotFound);
        let relayed = PairOutcome::new(MatchOutcome::Relayed, cause, nats).unwrap();
        let direct = PairOutcome::new(MatchOutcome::Direct, None, nats).unwrap();
        let status = Status {
            counters: crate::Counters::default(),
            gauges: crate::Gauges::default(),
            outcomes: [(relayed, 3), (direct, 9)].into(),
            send_errors: 0,
            too_long: 0,
            tcp_connections: 0,
            log_dropped: 0,
            log_limited: 0,
            takes_players: true,
            public_key: [0; 32],
            findings: vec![Finding::OneAddress { address: "172.17.0.1".parse().unwrap(), players: 5 }],
            uptime: Duration::from_secs(1),
        };
        let text = metrics(&status);
        let line = "lobby_pairs_total{outcome=\"relayed\",cause=\"random-ports-not-found\",\
                    nat_a=\"port-restricted cone\",nat_b=\"port-sensitive symmetric\"} 3\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("cause=\"none\""), "{text}");
        let page = page(&status);
        assert!(text.contains("lobby_surroundings{finding=\"one-address\"} 1\n"), "{text}");
        assert!(text.contains("lobby_surroundings{finding=\"address-gone\"} 0\n"), "{text}");
        assert!(page.contains("<strong>All of the last 5 players come from 172.17.0.1"), "{page}");
        assert!(page.contains("25.0 %") && page.contains("did not hit in time"), "{page}");
    }
}
