//! Health, metrics and a small status page.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tiny_http::{Header, Response};

use crate::run::{Handle, Status};

/// The status page cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP on {address}{}", advice(.source, .address))]
pub struct HttpError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

fn advice(source: &std::io::Error, address: &SocketAddr) -> String {
    if source.kind() == std::io::ErrorKind::AddrInUse {
        let other = SocketAddr::new(address.ip(), 0);
        format!(
            "; the port is in use, perhaps by another lobby_server: choose another with --http {other}, or \
             switch it off with --no-http"
        )
    } else {
        String::new()
    }
}

/// The thread that answers.
pub(crate) struct Http {
    server: Arc<tiny_http::Server>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    pub(crate) fn start(address: SocketAddr, handle: Handle) -> Result<Self, HttpError> {
        let error = |source| HttpError { address, source };
        let listener = TcpListener::bind(address).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let server = tiny_http::Server::from_listener(listener, None)
            .map_err(|source| error(std::io::Error::other(source)))?;
        let server = Arc::new(server);
        let inner = Arc::clone(&server);
        let thread = std::thread::Builder::new()
            .name("lobby_http".into())
            .spawn(move || {
                for request in inner.incoming_requests() {
                    let (code, kind, body) = answer(request.url(), &handle);
                    let mut response = Response::from_string(body).with_status_code(code);
                    if let Ok(header) = Header::from_bytes("Content-Type", kind) {
                        response.add_header(header);
                    }
                    let _ = request.respond(response);
                }
            })
            .map_err(error)?;
        Ok(Self { server, address, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(url: &str, handle: &Handle) -> (u16, &'static str, String) {
    const TEXT: &str = "text/plain; charset=utf-8";
    let path = url.split('?').next().unwrap_or_default();
    if !matches!(path, "/" | "/health" | "/metrics") {
        return (404, TEXT, "not found; there are /, /health and /metrics\n".into());
    }
    let Some(status) = handle.status() else {
        return (503, TEXT, "the server does not answer\n".into());
    };
    match path {
        "/health" => (200, TEXT, "ok\n".into()),
        "/metrics" => (200, "text/plain; version=0.0.4; charset=utf-8", metrics(&status)),
        _ => (200, "text/html; charset=utf-8", page(&status)),
    }
}

/// Name, help and value of each number; counters first.
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
        ("dropped_total", "Datagrams dropped: junk, not authentic or replayed", counters.dropped, true),
        ("limited_total", "Datagrams and requests over a rate", counters.limited, true),
        ("logins_total", "Logins accepted", counters.logins, true),
        ("logins_refused_total", "Logins refused", counters.logins_refused, true),
        ("timeouts_total", "Sessions ended by silence", counters.timeouts, true),
        ("requests_total", "Requests of players", counters.requests, true),
        ("requests_failed_total", "Requests answered with an error", counters.requests_failed, true),
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
        ("relay_limited_total", "Datagrams for the relay over its quotas", counters.relay_limited, true),
    ]
}

/// Prometheus' text format.
fn metrics(status: &Status) -> String {
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
    for (of, count) in &status.outcomes {
        let [a, b] = of.nats;
        let _ = writeln!(
            out,
            "lobby_pairs_total{{outcome=\"{}\",cause=\"{}\",nat_a=\"{a}\",nat_b=\"{b}\"}} {count}",
            of.outcome,
            of.cause_name(),
        );
    }
    out
}

fn page(status: &Status) -> String {
    let mut out = String::from(
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=5><title>lobby_server</title>\
         <style>body{font:16px sans-serif;margin:2em}td{padding:.2em 1em .2em 0}td+td{text-align:right}</style>\
         <h1>lobby_server</h1><table>",
    );
    for (_, help, value, _) in numbers(status) {
        let _ = write!(out, "<tr><td>{help}<td>{value}");
    }
    out.push_str("</table>");
    pairs(&mut out, status);
    out.push_str("<p><a href=/metrics>metrics</a> <a href=/health>health</a>");
    out
}

/// How matches went, the most frequent first.
fn pairs(out: &mut String, status: &Status) {
    if status.outcomes.is_empty() {
        return;
    }
    let total: u64 = status.outcomes.values().sum();
    out.push_str("<h2>How matches went</h2><table><tr><th>NATs<th>outcome<th>why<th>matches<th>share");
    let mut rows: Vec<_> = status.outcomes.iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (of, count) in rows {
        let [a, b] = of.nats;
        let why = of.cause.map_or_else(String::new, |cause| cause.to_string());
        let share = *count as f64 * 100.0 / total.max(1) as f64;
        let _ = write!(out, "<tr><td>{a} – {b}<td>{}<td>{why}<td>{count}<td>{share:.1} %", of.outcome);
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
            tcp_connections: 0,
            uptime: Duration::from_secs(1),
        };
        let text = metrics(&status);
        let line = "lobby_pairs_total{outcome=\"relayed\",cause=\"random-ports-not-found\",\
                    nat_a=\"port-restricted cone\",nat_b=\"port-sensitive symmetric\"} 3\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("cause=\"none\""), "{text}");
        let page = page(&status);
        assert!(page.contains("25.0 %") && page.contains("did not hit in time"), "{page}");
    }
}
