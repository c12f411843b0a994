//! The fields of what is printed.

use std::net::SocketAddr;

use bevy_traversal::{FailureReport, NatFacts, NatProfile, PathInfo, PortAllocation, PortMappingState};
use headless::ms;
use serde_json::{Value, json};

fn known(text: String) -> Option<String> {
    (text != "unknown").then_some(text)
}

/// Returns the fields of a `nat` event.
pub(crate) fn nat(profile: &NatProfile, manual: &NatFacts, port_mapping: &PortMappingState) -> Value {
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
        "allocation_confidence": profile.allocation_confidence,
        "parity": profile.parity,
        "hairpin": profile.hairpin,
        "several_addresses": profile.pooled,
        "lifetime_at_least_s": profile.timeout.map(|lives| lives.as_secs()),
        "lifetime_below_s": profile.timeout_below.map(|below| below.as_secs()),
        "foreign_rate": profile.foreign_rate,
        "manual": manual.names(),
        "confidence": known(profile.confidence.to_string()),
        "port_mapping": port_mapping.mapping().map(|_| self::port_mapping(port_mapping)),
    })
}

/// Returns the fields of a `port_mapping` event.
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

/// Returns the fields of a `path` event.
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

/// Returns the fields of a `failed` event about a peer.
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
        "no_relay": report.no_relay.map(|why| why.name()),
        "tried": tried,
        "advice": report.advice(),
    })
}
