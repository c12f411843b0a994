//! What is printed: JSON lines, or the same as text.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

use bevy_ecs::resource::Resource;
use bevy_traversal::traversal_core::nat::{
    Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation,
};
use bevy_traversal::{FailureReport, NatKind, PathInfo, PortMappingState};
use serde_json::{Map, Value, json};

/// Resource: the printer.
#[derive(Resource)]
pub(crate) struct Output {
    json: bool,
    start: Instant,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, start: Instant::now() }
    }

    /// JSON lines?
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an event. `fields` is an object.
    pub(crate) fn event(&self, event: &str, fields: Value) {
        let t_ms = rounded(self.start.elapsed().as_secs_f64() * 1000.0);
        let line = if self.json {
            let mut object = Map::new();
            object.insert("t_ms".into(), t_ms.into());
            object.insert("event".into(), event.into());
            if let Value::Object(fields) = fields {
                object.extend(fields);
            }
            Value::Object(object).to_string()
        } else {
            let mut line = format!("{:>9.1} ms  {event}", t_ms);
            for (name, value) in fields.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                line.push_str(&format!("  {}: {value}", name.replace('_', " ")));
            }
            line
        };
        // Nobody may be reading any more; that is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// One digit after the point.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn ms(duration: std::time::Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0)
}

fn known(text: String) -> Option<String> {
    (text != "unknown").then_some(text)
}

/// The fields of a `nat` event.
pub(crate) fn nat(profile: &NatProfile, port_mapping: &PortMappingState) -> Value {
    let step = match profile.allocation {
        PortAllocation::Sequential { step } => Some(step),
        _ => None,
    };
    json!({
        "kind": profile.kind().to_string(),
        "mapping": known(profile.mapping.to_string()),
        "filtering": known(profile.filtering.to_string()),
        "allocation": known(profile.allocation.to_string()),
        "step": step,
        "hairpin": profile.hairpin,
        "several_addresses": profile.pooled,
        "lifetime_at_least_s": profile.timeout.map(|lives| lives.as_secs()),
        "lifetime_below_s": profile.timeout_below.map(|below| below.as_secs()),
        "confidence": known(profile.confidence.to_string()),
        "port_mapping": port_mapping.mapping().map(|_| self::port_mapping(port_mapping)),
    })
}

/// The fields of a `port_mapping` event.
pub(crate) fn port_mapping(state: &PortMappingState) -> Value {
    let mapping = state.mapping();
    // Where others reach this player, or what the router says of it.
    let external = state.address().or_else(|| {
        let mapping = mapping?;
        Some(SocketAddr::new(mapping.external_ip?, mapping.external_port))
    });
    json!({
        "state": state.name(),
        "protocol": mapping.map(|mapping| mapping.protocol.name()),
        "external": external.map(|external| external.to_string()),
        "verified": state.address().is_some(),
        "text": state.to_string(),
    })
}

/// What a NAT means for a player who wants to host, for `peer nat` without `--json`.
pub(crate) fn advice(profile: &NatProfile) -> &'static str {
    match profile.kind() {
        NatKind::None | NatKind::FullCone => "Other players can reach this machine directly.",
        NatKind::RestrictedCone | NatKind::PortRestrictedCone | NatKind::Firewall => {
            "Most players can be reached directly, with the lobby server's help."
        }
        NatKind::AddressSensitiveSymmetric | NatKind::PortSensitiveSymmetric => {
            "Many players can be reached directly by port prediction, the others over the relay; with UPnP, NAT-PMP or \
             PCP switched on in the router all could be reached."
        }
        NatKind::UdpBlocked => "UDP does not get out: games are played through the server, over TCP.",
        NatKind::Unknown => {
            let nothing = profile.mapping == MappingBehavior::Unknown
                && profile.filtering == FilteringBehavior::Unknown
                && profile.confidence == Confidence::Unknown;
            if nothing {
                "Nothing is known yet."
            } else {
                "The kind could not be told from what was measured."
            }
        }
    }
}

/// The fields of a `path` event.
pub(crate) fn path(peer: &str, path: &PathInfo) -> Value {
    json!({
        "peer": peer,
        "path": path.kind.name(),
        "remote": path.remote.map(|remote| remote.to_string()),
        "method": path.method.map_or("relay", |method| method.name()),
        "rtt_ms": path.rtt.map(ms),
        "since_request_ms": ms(path.since_request),
        "packets_sent": path.packets_sent,
        "targets": path.targets,
        "sockets": path.sockets,
    })
}

/// The fields of a `failed` event about a peer.
pub(crate) fn failure(peer: &str, report: &FailureReport) -> Value {
    let tried: Vec<Value> = report
        .tried
        .iter()
        .map(|tried| json!({"method": tried.method.name(), "ms": ms(tried.time), "packets": tried.packets}))
        .collect();
    json!({
        "peer": peer,
        "stage": report.stage.name(),
        "reason": report.reason.name(),
        "text": report.reason.to_string(),
        "local_nat": report.own_nat.kind().to_string(),
        "remote_nat": report.peer_nat.kind().to_string(),
        "tried": tried,
        "advice": report.advice(),
    })
}
