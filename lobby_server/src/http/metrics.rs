//! The metrics, in both text formats that Prometheus reads.

use std::fmt::{Error, Write};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::histogram::Histogram;
use crate::key::printed;
use crate::server::GameNumbers;
use crate::status::Status;
use crate::surroundings::Finding;
use crate::watch::Seen;

/// These are the text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' own, which every tool reads.
    Prometheus,
    /// OpenMetrics 1.0, which newer Prometheus servers ask for.
    OpenMetrics,
}

impl Format {
    /// Returns the format for somebody who accepts these.
    pub(super) fn accepted_by(accept: Option<&str>) -> Self {
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Returns the type of its content.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes all metrics.
pub(super) fn metrics(format: Format, status: &Status, seen: &Seen) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics { status: status.clone(), seen: seen.clone() }));
    let mut out = String::new();
    let written = match format {
        Format::Prometheus => prometheus_text::encode(&mut out, &registry),
        Format::OpenMetrics => text::encode(&mut out, &registry),
    };
    if written.is_err() {
        // A string takes everything.
        let _ = out.write_str("\n");
    }
    out
}

/// These are all numbers of one moment.
#[derive(Debug)]
struct Metrics {
    status: Status,
    seen: Seen,
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let out = &mut Writer(&mut encoder);
        self.gauges(out)?;
        self.counters(out)?;
        self.refusals(out)?;
        self.chat(out)?;
        self.matches(out)?;
        self.times(out)?;
        self.games(out)?;
        self.limits(out)?;
        self.registry(out)?;
        self.place(out)?;
        self.process(out)
    }
}

/// Writes families of metrics.
struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Writer<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// The name gets `_total` at its end.
    fn seconds_spent(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, f64, u64>(&value, None)
    }

    /// The name gets `_total` at its end.
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    /// Writes a series for each row, which has the values of these labels.
    fn rows<'r, const N: usize>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        labels: [&str; N],
        rows: impl IntoIterator<Item = ([&'r str; N], u64)>,
    ) -> Result<(), Error> {
        let counter = matches!(kind, MetricType::Counter);
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (values, number) in rows {
            let labels: [(&str, &str); N] = std::array::from_fn(|index| (labels[index], values[index]));
            let mut series = family.encode_family(&labels)?;
            if counter {
                series.encode_counter::<NoLabelSet, u64, u64>(&number, None)?;
            } else {
                series.encode_gauge(&number)?;
            }
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Histogram) -> Result<(), Error> {
        let buckets: Vec<(f64, u64)> = times.buckets().collect();
        self.0.encode_descriptor(name, help, None, MetricType::Histogram)?.encode_histogram::<NoLabelSet>(
            times.sum().as_secs_f64(),
            times.count(),
            &buckets,
            None,
        )
    }

    fn info<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [(&str, &str); N],
    ) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }
}

impl Metrics {
    fn gauges(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let (status, gauges) = (&self.status, &self.status.gauges);
        out.gauge("lobby_sessions", "Players logged in.", gauges.sessions as u64)?;
        out.gauge("lobby_rooms", "Open rooms.", gauges.rooms as u64)?;
        out.gauge("lobby_queued", "Players who wait for a quick match.", gauges.queued as u64)?;
        out.gauge("lobby_watchers", "Players who watch lists of rooms.", gauges.watchers as u64)?;
        let help = "Players whose lists of contacts are known.";
        out.gauge("lobby_contact_lists", help, gauges.contact_lists as u64)?;
        out.gauge("lobby_contacts", "Contacts on these lists, together.", gauges.contacts as u64)?;
        out.gauge("lobby_matches", "Running matches.", gauges.matches as u64)?;
        out.gauge("lobby_relays", "Matches that may use the relay.", gauges.relays as u64)?;
        let help = "TCP connections, of players whose networks block UDP.";
        out.gauge("lobby_tcp_connections", help, status.tcp_connections as u64)?;
        let help = "TLS connections, of players whose networks let out nothing but port 443; part of the TCP connections.";
        out.gauge("lobby_tls_connections", help, status.tls.connections as u64)?;
        let help = "Bytes that wait for slow readers of TCP connections.";
        out.gauge("lobby_tcp_queue_bytes", help, status.tcp_waiting as u64)?;
        out.gauge("lobby_ready", "1: the server takes new players.", u64::from(status.takes_players))?;
        out.gauge("lobby_uptime_seconds", "Seconds since the start.", status.uptime.as_secs())?;
        let help = "Longest turn of the server's loop within the last ten to twenty seconds.";
        out.seconds("lobby_lag_seconds", help, status.lag.as_secs_f64())?;
        let help = "Receive buffer that the system has granted to the UDP socket that has the least.";
        out.gauge("lobby_receive_buffer_bytes", help, status.receive_buffer as u64)?;
        let help = "Receive buffer that was asked for.";
        out.gauge("lobby_receive_buffer_wanted_bytes", help, status.wanted_buffer as u64)?;
        if let Some(kernel) = self.seen.kernel {
            let help =
                "Bytes that wait in the receive buffers of the UDP sockets, with the kernel's own memory.";
            out.gauge("lobby_receive_queue_bytes", help, kernel.waiting)?;
            let help = "Datagrams that the system lost because a receive buffer was full.";
            out.counter("lobby_kernel_drops", help, kernel.drops)?;
        }
        Ok(())
    }

    fn counters(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let (status, counters) = (&self.status, &self.status.counters);
        let help = "Processor time that handshakes of TLS have taken, in seconds.";
        out.seconds_spent("lobby_tls_seconds", help, status.tls.time.as_secs_f64())?;
        let mut put = |name: &str, help: &str, value| out.counter(name, help, value);
        put("lobby_datagrams_in", "Datagrams received.", counters.datagrams_in)?;
        put("lobby_bytes_in", "Bytes received.", counters.bytes_in)?;
        put("lobby_datagrams_out", "Datagrams sent.", counters.datagrams_out)?;
        put("lobby_bytes_out", "Bytes sent.", counters.bytes_out)?;
        put("lobby_send_errors", "Datagrams that the system did not take.", status.send_errors)?;
        let help = "Datagrams longer than this machine's way to the player takes (EMSGSIZE).";
        put("lobby_too_long", help, status.too_long)?;
        put("lobby_dropped", "Datagrams dropped: junk, not authentic or replayed.", counters.dropped)?;
        put("lobby_limited", "Datagrams and requests over a limit.", counters.limited)?;
        let help =
            "Answers not sent because they were longer than what came from an address that is not proven.";
        put("lobby_withheld", help, counters.withheld)?;
        let help = "Messages dropped because their player takes none.";
        put("lobby_pushes_dropped", help, counters.pushes_dropped)?;
        put("lobby_logins", "Logins accepted.", counters.logins)?;
        put("lobby_logins_refused", "Logins refused.", counters.logins_refused)?;
        put("lobby_tls_handshakes", "Handshakes of TLS that were done.", status.tls.handshakes)?;
        let help = "Connections that ended within their handshake of TLS, or brought something else.";
        put("lobby_tls_failed", help, status.tls.failed)?;
        let help =
            "Times that a handshake of TLS waited, because all together took their share of the processor.";
        put("lobby_tls_waited", help, status.tls.waited)?;
        put("lobby_timeouts", "Sessions ended by silence.", counters.timeouts)?;
        put("lobby_requests", "Requests of players.", counters.requests)?;
        put("lobby_requests_failed", "Requests answered with an error.", counters.requests_failed)?;
        put("lobby_wrong_passwords", "Wrong passwords of rooms.", counters.wrong_passwords)?;
        put("lobby_rooms_opened", "Rooms opened.", counters.rooms_opened)?;
        let help = "Messages to players who watch rooms, of what has changed among them.";
        put("lobby_rooms_told", help, counters.rooms_told)?;
        put("lobby_contacts_told", "Messages of news of contacts.", counters.contacts_told)?;
        put("lobby_calls", "Calls of players of this node.", counters.calls)?;
        put("lobby_calls_rung", "Calls that rang at players of this node.", counters.calls_rung)?;
        put("lobby_calls_taken", "Calls that players of this node have taken.", counters.calls_taken)?;
        put("lobby_quick_matches", "Quick matches made.", counters.quick_matches)?;
        let help = "Players who came from a line into rooms that looked for more.";
        put("lobby_backfilled", help, counters.backfilled)?;
        put("lobby_sent_elsewhere", "Players sent to another node.", counters.sent_elsewhere)?;
        put("lobby_migrations", "Rooms that got another host.", counters.migrations)?;
        put("lobby_probes", "Probes answered.", counters.probes)?;
        put("lobby_claims", "Port ranges measured by players and believed.", counters.claims)?;
        put("lobby_claims_refused", "Port ranges measured by players and refused.", counters.claims_refused)?;
        put("lobby_stun", "STUN requests answered.", counters.stun)?;
        let help = "Probes handed to the neighbour, of sessions that this server does not know.";
        put("lobby_neighbour_probes", help, counters.neighbour_probes)?;
        put("lobby_neighbour_sent", "Datagrams sent for the neighbour.", counters.neighbour_sent)?;
        put("lobby_relayed", "Datagrams through the relay.", counters.relayed)?;
        put("lobby_relayed_bytes", "Bytes through the relay.", counters.relayed_bytes)?;
        let help = "Datagrams for the relay without its owner's token.";
        put("lobby_relay_dropped", help, counters.relay_dropped)?;
        put("lobby_relay_limited", "Datagrams for the relay over its quotas.", counters.relay_limited)?;
        let help = "Matches without a relay, because it carries as many as it can or its budget is used up.";
        put("lobby_relays_refused", help, counters.relays_refused)?;
        let help = "Log lines dropped: the output was full, closed or too slow.";
        put("lobby_log_dropped", help, status.log_dropped)?;
        put("lobby_log_limited", "Log lines left out: their kind came too often.", status.log_limited)
    }

    fn refusals(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let refusals = self.status.counters.refusals;
        let rows = refusals.iter().map(|(refusal, count)| ([refusal.what(), refusal.reason()], count));
        let family = ("lobby_refused", "What was refused, and why.", MetricType::Counter);
        out.rows(family, ["what", "reason"], rows)
    }

    fn chat(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let counters = &self.status.counters;
        let rows = [
            (["room"], counters.room_texts),
            (["party"], counters.party_texts),
            (["contact"], counters.contact_texts),
        ];
        let family = ("lobby_texts", "Texts of players that were handed on.", MetricType::Counter);
        out.rows(family, ["to"], rows)?;
        let help = "Times that a reader did not get a text, because it takes nothing at present.";
        out.counter("lobby_texts_dropped", help, counters.texts_dropped)?;
        out.counter("lobby_reports", "Reports of players about others.", counters.reports)
    }

    fn matches(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let counters = &self.status.counters;
        // `lobby_matches` is the gauge: OpenMetrics knows one kind for one name.
        out.counter("lobby_matches_begun", "Matches begun.", counters.matches)?;
        out.counter("lobby_matches_direct", "Sides that reported a direct path.", counters.matches_direct)?;
        out.counter("lobby_matches_relayed", "Sides that reported the relay.", counters.matches_relayed)?;
        out.counter("lobby_matches_failed", "Sides that found no path.", counters.matches_failed)?;
        let sum = |of: fn(&GameNumbers) -> u64| self.status.games.iter().map(of).sum();
        let rows = [
            (["direct"], sum(|game| game.direct)),
            (["relayed"], sum(|game| game.relayed)),
            (["failed"], sum(|game| game.failed)),
        ];
        let help = "Matches by how they went, each counted once for each outcome.";
        out.rows(("lobby_connections", help, MetricType::Counter), ["outcome"], rows)?;
        let help =
            "Matches by how they went, why not directly, and the NATs of the two; those that occurred.";
        let pairs: Vec<([String; 4], u64)> = self
            .status
            .outcomes
            .iter()
            .map(|(pair, count)| {
                let [a, b] = pair.nats;
                let labels =
                    [pair.outcome.name().into(), pair.cause_name().into(), a.to_string(), b.to_string()];
                (labels, *count)
            })
            .collect();
        let rows = pairs.iter().map(|(labels, count)| (labels.each_ref().map(String::as_str), *count));
        out.rows(("lobby_pairs", help, MetricType::Counter), ["outcome", "cause", "nat_a", "nat_b"], rows)
    }

    fn times(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let timings = &self.status.timings;
        let help = "Time from a login's second datagram to the first sealed one of its session.";
        out.histogram("lobby_login_seconds", help, &timings.login)?;
        let help = "Time from the request to enter a room to its answer, of those who got in.";
        out.histogram("lobby_join_seconds", help, &timings.join)?;
        let help = "Time from a match's begin to the word that the two are connected directly.";
        out.histogram("lobby_connect_direct_seconds", help, &timings.connect_direct)?;
        let help = "Time from a match's begin to the word that the two are connected over the relay.";
        out.histogram("lobby_connect_relayed_seconds", help, &timings.connect_relayed)?;
        let help = "Estimated round trips between players and the server, one at each acknowledgement.";
        out.histogram("lobby_rtt_seconds", help, &timings.rtt)?;
        out.histogram("lobby_turn_seconds", "Turns of the server's loop.", &self.status.turns)
    }

    fn games(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let games = &self.status.games;
        let rows =
            |of: fn(&GameNumbers) -> u64| games.iter().map(move |game| ([game.game.as_str()], of(game)));
        let gauge = ("lobby_game_sessions", "Players of a game who are logged in.", MetricType::Gauge);
        out.rows(gauge, ["game"], rows(|game| game.sessions))?;
        let mut put = |name, help, of| out.rows((name, help, MetricType::Counter), ["game"], rows(of));
        put("lobby_game_logins", "Logins of players of a game.", |game| game.logins)?;
        put("lobby_game_rooms_opened", "Rooms opened for a game.", |game| game.rooms_opened)?;
        put("lobby_game_matches", "Matches of a game begun.", |game| game.matches)?;
        put("lobby_game_relayed_bytes", "Bytes of a game through the relay.", |game| game.relayed_bytes)?;
        let outcomes = games.iter().flat_map(|game| {
            let name = game.game.as_str();
            [
                ([name, "direct"], game.direct),
                ([name, "relayed"], game.relayed),
                ([name, "failed"], game.failed),
            ]
        });
        let (budgets, usage) = (&self.status.relay_budgets.games, &self.status.relay_usage.games);
        let most = budgets.iter().flat_map(|(game, budget)| {
            let named = move |period, most: Option<u64>| Some(([game.as_str(), period], most?));
            [named("day", budget.day), named("month", budget.month)].into_iter().flatten()
        });
        let help = "What the relay may send for a game, in bytes.";
        out.rows(("lobby_game_relay_budget_bytes", help, MetricType::Gauge), ["game", "period"], most)?;
        let used = usage.iter().flat_map(|(game, used)| {
            [([game.as_str(), "day"], used.day), ([game.as_str(), "month"], used.month)]
        });
        let help = "What the relay has sent for a game with a budget, in bytes with headers.";
        out.rows(("lobby_game_relay_used_bytes", help, MetricType::Gauge), ["game", "period"], used)?;
        let all = self.status.relay_usage.all;
        let help = "What the relay has sent, in bytes with headers.";
        let rows = [(["day"], all.day), (["month"], all.month)];
        out.rows(("lobby_relay_used_bytes", help, MetricType::Gauge), ["period"], rows)?;
        let family = ("lobby_game_connections", "Matches of a game by how they went.", MetricType::Counter);
        out.rows(family, ["game", "outcome"], outcomes)
    }

    fn limits(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let limits = &self.status.limits;
        let most = limits.iter().map(|limit| ([limit.name], limit.max));
        out.rows(("lobby_limit", "Limits of the server.", MetricType::Gauge), ["limit"], most)?;
        let used = limits.iter().filter_map(|limit| Some(([limit.name], limit.used?)));
        let help = "How much of a limit is used.";
        out.rows(("lobby_limit_used", help, MetricType::Gauge), ["limit"], used)
    }

    fn registry(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let registry = &self.status.registry;
        let help = "1: the registry answers, where rooms are known.";
        out.gauge("lobby_registry_up", help, u64::from(registry.up))?;
        let help = "Nodes that are there, this one among them; 0 where the registry is not.";
        out.gauge("lobby_registry_nodes", help, registry.nodes)?;
        let help = "What the registry that nodes share was told and asked.";
        out.counter("lobby_registry_commands", help, registry.commands)?;
        let help = "What the registry was told or asked and did not do.";
        out.counter("lobby_registry_failed", help, registry.failed)?;
        let help = "Rooms of this node that other nodes have by now, or that the registry has lost.";
        out.counter("lobby_registry_rooms_lost", help, registry.rooms_lost)?;
        let help = "Time until the registry that nodes share has answered a batch.";
        out.histogram("lobby_registry_seconds", help, &registry.round_trip)
    }

    fn place(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let here = |name: &str| self.status.findings.iter().any(|finding| finding.name() == name);
        let rows = Finding::NAMES.iter().map(|name| ([*name], u64::from(here(name))));
        let help = "1: this is wrong with the server's place in the network; the status page has the cure.";
        out.rows(("lobby_surroundings", help, MetricType::Gauge), ["finding"], rows)?;
        let version = env!("CARGO_PKG_VERSION");
        let labels = [("version", version), ("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
        out.info("lobby_build", "What is running.", labels)?;
        let key = printed(&self.status.public_key);
        out.info("lobby_key", "The server's public key, which games pin.", [("key", key.as_str())])
    }

    /// Writes what every program has, by the names that Prometheus' own libraries give.
    fn process(&self, out: &mut Writer<'_, '_>) -> Result<(), Error> {
        let start = self.status.started.as_secs_f64();
        out.seconds("process_start_time_seconds", "Start of the server, in seconds since 1970.", start)?;
        let Some(process) = self.seen.process else { return Ok(()) };
        let help = "Processor time that was used, in seconds.";
        out.seconds_spent("process_cpu_seconds", help, process.cpu_seconds)?;
        out.gauge("process_resident_memory_bytes", "Memory in use.", process.resident_bytes)?;
        out.gauge("process_virtual_memory_bytes", "Addresses in use.", process.virtual_bytes)?;
        out.gauge("process_open_fds", "Open files and sockets.", process.open_fds)?;
        match process.max_fds {
            Some(most) => out.gauge("process_max_fds", "Most open files and sockets.", most),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
