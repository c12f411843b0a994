//! What is known of the own NAT, and of the connections to other players: printed, and kept in mind.

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_traversal::{
    Confidence, LONGEST_LIFETIME_SEARCH, NatChanged, NatKind, NatProfile, NatStatus, NoPortMapping,
    PathChanged, PeerAway, PeerBack, PeerConnected, PeerDisconnected, PeerPlanned, PeerRelayed, Peers,
    PortMappingChanged, PortMappingState, Role, TraversalFailed, TraversalLink,
};
use headless::Output;
use serde_json::json;

use crate::output;
use crate::play::Scores;
use crate::session::{Goal, LIFETIME_SEARCH, Session};

/// What is measured comes in steps; without another one for so long it was the last.
pub(crate) const NAT_SETTLES: Duration = Duration::from_millis(1500);

/// A router's first answer is waited for so long: one that is there answers on its own network at once, and one that
/// is silent to three requests by NAT-PMP (0.75 s) and to a search by UPnP (1.5 s) hardly ever speaks. The plugin
/// goes on asking for longer; a game does not wait for it.
pub(crate) const ROUTER_ANSWERS: Duration = Duration::from_millis(1600);

/// The server's check of what a router granted is waited for so long: five tries of a second, at the most.
pub(crate) const ROUTER_CHECKED: Duration = Duration::from_millis(6000);

/// Prints the own NAT, and what the router says. Ends `peer nat` when all is known that it waits for.
pub(crate) fn nat(
    mut session: ResMut<Session>,
    output: Res<Output>,
    link: Res<TraversalLink>,
    status: Res<NatStatus>,
    mut nat: MessageReader<NatChanged>,
    mut mapping: MessageReader<PortMappingChanged>,
) {
    for NatChanged(profile) in nat.read() {
        output.event("nat", output::nat(profile, &session.manual, &status.port_mapping));
        // What was known from an earlier start is a hint; it is being measured.
        if profile.confidence != Confidence::Stale {
            session.nat = Some((*profile, Instant::now()));
            session.nat_since.get_or_insert_with(Instant::now);
        }
    }
    for PortMappingChanged(state) in mapping.read() {
        output.event("port_mapping", output::port_mapping(state));
    }
    let waits_for_router = match status.port_mapping {
        _ if link.config().port_mapping.is_empty() => None,
        PortMappingState::None(NoPortMapping::NotAsked) => Some(ROUTER_ANSWERS),
        PortMappingState::Checking(_) => Some(ROUTER_CHECKED),
        _ => None,
    };
    let waited = |long| session.nat_since.is_some_and(|since| since.elapsed() >= long);
    if let (Goal::Nat { lifetime }, Some((profile, at))) = (&session.goal, &session.nat)
        && (profile.confidence == Confidence::Full && !profile.mapped || at.elapsed() >= NAT_SETTLES)
        && waits_for_router.is_none_or(waited)
        && (!lifetime || knows_lifetime(profile) || waited(LIFETIME_SEARCH))
    {
        if waits_for_router.is_some() && status.port_mapping.mapping().is_none() {
            let text = "no router has answered by UPnP, NAT-PMP or PCP so far";
            output.event("port_mapping", json!({"state": "none", "verified": false, "text": text}));
        }
        if !output.is_json() {
            output.event("advice", json!({"text": profile.meaning()}));
        }
        session.over = true;
    }
}

/// Prints attempts, and players who are away or back.
pub(crate) fn contacts(
    output: Res<Output>,
    mut planned: MessageReader<PeerPlanned>,
    mut away: MessageReader<PeerAway>,
    mut back: MessageReader<PeerBack>,
) {
    for PeerPlanned { peer, role, methods, hosting, .. } in planned.read() {
        if *hosting {
            output.event("request", json!({"peer": peer.name, "player": peer.id.to_string()}));
        }
        let role = match role {
            Role::Sending => "sending",
            Role::Receiving => "receiving",
        };
        let methods: Vec<&str> = methods.iter().map(|method| method.name()).collect();
        output.event("plan", json!({"peer": peer.name, "punch_role": role, "methods": methods}));
    }
    for PeerAway { peer, .. } in away.read() {
        output.event("peer_away", json!({"peer": peer.name}));
    }
    for PeerBack { peer, away, .. } in back.read() {
        output.event("peer_back", json!({"peer": peer.name, "away_ms": headless::ms(*away)}));
    }
}

/// Prints and counts connections that end or begin.
pub(crate) fn connections(
    mut session: ResMut<Session>,
    mut scores: ResMut<Scores>,
    output: Res<Output>,
    mut disconnected: MessageReader<PeerDisconnected>,
    mut connected: MessageReader<PeerConnected>,
) {
    for PeerDisconnected { peer, reason, .. } in disconnected.read() {
        output.event("disconnected", json!({"peer": peer.name, "text": reason.to_string()}));
        scores.disconnected(peer.id);
        if session.ends_with_its_host() {
            session.host_gone = true;
            session.trouble.get_or_insert(reason.to_string());
        }
    }
    for PeerConnected { peer, path, client_id, .. } in connected.read() {
        output.event("path", output::path(&peer.name, path));
        scores.connected(peer, *client_id, path.kind.name());
    }
}

/// Prints ways that change, and attempts that found no direct one.
pub(crate) fn paths(
    mut session: ResMut<Session>,
    mut scores: ResMut<Scores>,
    output: Res<Output>,
    peers: Res<Peers>,
    mut path_changed: MessageReader<PathChanged>,
    mut relayed: MessageReader<PeerRelayed>,
    mut failed: MessageReader<TraversalFailed>,
) {
    for PathChanged { player, path } in path_changed.read() {
        if let Some(peer) = peers.peer(*player) {
            output.event("path", output::path(&peer.info.name, path));
            scores.path(*player, path.kind.name());
        }
    }
    for PeerRelayed { peer, report } in relayed.read() {
        output.event("relayed", output::failure(&peer.name, report));
    }
    for TraversalFailed { peer, report } in failed.read() {
        output.event("failed", output::failure(&peer.name, report));
        session.trouble = Some(report.to_string());
        session.over |= session.ends_with_its_host();
    }
}

/// Returns whether the search for the lifetime has come to its end, or is of no use here.
fn knows_lifetime(profile: &NatProfile) -> bool {
    profile.timeout_below.is_some()
        || profile.timeout.is_some_and(|lives| lives >= LONGEST_LIFETIME_SEARCH)
        || matches!(profile.kind(), NatKind::None | NatKind::UdpBlocked)
}
