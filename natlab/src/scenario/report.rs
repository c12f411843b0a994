//! What a run came to.

use std::time::{Duration, Instant};

use traversal_core::failure::FailureReason;
use traversal_core::wire::message::Method;
use traversal_core::{Event, LobbyState, PathKind};

use crate::oracle::Outlook;

use super::PairWorld;
use crate::world::HostId;

/// This is one side of a run.
#[derive(Clone, Debug)]
pub struct Side {
    /// It holds everything the agent reported but game datagrams; times count from the start of the world.
    pub events: Vec<(Duration, Event)>,
    /// This is the kind of path at the end.
    pub path: Option<PathKind>,
    /// Why it failed, if it did.
    pub failure: Option<FailureReason>,
    /// This is the time from the request to any path; none: there was none.
    pub connected: Option<Duration>,
    /// This is the time from the request to a direct path; none: there was none.
    pub direct: Option<Duration>,
    /// The first game datagram came in this long after the request; none: there was none.
    pub heard: Option<Duration>,
    /// It sent this many datagrams to others than the server until both were direct (or to the end).
    pub packets: u64,
    /// It used this many sockets for the other one, the game's own among them; 0 where nothing stands.
    pub sockets: u32,
    /// It sent to this many distinct addresses and ports other than the server's.
    pub targets: usize,
    /// It sent at most this many datagrams to others than the server in any second.
    pub busiest_second: u64,
}

/// What a run with two players came to.
#[derive(Clone, Debug)]
pub struct JoinReport {
    /// This is the seed of the world.
    pub seed: u64,
    /// What the oracle says of the world.
    pub outlook: Outlook,
    /// Both logged in and the room was open.
    pub ready: bool,
    /// Whether both have a direct path.
    pub direct: bool,
    /// Whether both heard the other's game.
    pub played: bool,
    /// The first datagram got from player to player this long after the request; none: none did.
    pub first_packet: Option<Duration>,
    /// Both had a direct path this long after the request; none: they had none.
    pub confirmed: Option<Duration>,
    /// This is the mean round trip of this world.
    pub rtt: Duration,
    /// It is the method that found the direct way; none: there is none.
    pub method: Option<Method>,
    /// Why it is not direct, in a word.
    pub cause: Option<String>,
    /// This is the side that hosts.
    pub left: Side,
    /// It is the side that joins.
    pub right: Side,
    /// This is a hash of everything that happened in the world.
    pub trace: u64,
}

impl JoinReport {
    pub(super) fn of(pair: &PairWorld, ready: bool) -> Self {
        let direct = pair.is_direct();
        let (left, right) = (side(pair, pair.left, pair.right), side(pair, pair.right, pair.left));
        let heard = [pair.left, pair.right].map(|host| pair.world.stats(host).first_from_player);
        let first_packet = heard.into_iter().flatten().min().map(|at| at.saturating_sub(pair.requested()));
        let confirmed = match (left.direct, right.direct) {
            (Some(left), Some(right)) => Some(left.max(right)),
            _ => None,
        };
        let method = [pair.right, pair.left].into_iter().find_map(|host| {
            let player = pair.player(host);
            player.paths.values().find_map(|path| path.method)
        });
        let mut report = Self {
            seed: pair.settings().seed,
            outlook: pair.outlook(),
            ready,
            direct,
            played: pair.is_played(),
            first_packet: first_packet.filter(|_| direct),
            confirmed: confirmed.filter(|_| direct),
            rtt: pair.settings().mean_rtt(),
            method: method.filter(|_| direct),
            cause: None,
            left,
            right,
            trace: pair.world.trace_hash(),
        };
        report.cause = (!direct).then(|| report.cause_of(pair));
        report
    }

    fn cause_of(&self, pair: &PairWorld) -> String {
        if !self.ready {
            for (name, host) in [("left", pair.left), ("right", pair.right)] {
                if let LobbyState::Retrying { error, .. } | LobbyState::Refused { error } =
                    &pair.player(host).lobby
                {
                    return format!("{name}: {error}");
                }
            }
            return "not ready".into();
        }
        if let Some((_, error)) = pair.player(pair.right).refusals.first() {
            return format!("request: {error}");
        }
        match (self.right.failure, self.left.failure) {
            (Some(reason), _) | (None, Some(reason)) => reason.name().into(),
            (None, None) => match (self.left.path, self.right.path) {
                (None, None) => "no outcome".into(),
                (Some(PathKind::Relay), Some(PathKind::Relay)) => "relayed".into(),
                (left, right) => {
                    let name = |path: Option<PathKind>| path.map_or("nothing", PathKind::name);
                    format!("left {}, right {}", name(left), name(right))
                }
            },
        }
    }

    /// Tells whether each side said how it ended: by a path or by a reason.
    pub fn is_settled(&self) -> bool {
        let told = |side: &Side| side.path.is_some() || side.failure.is_some();
        told(&self.left) && told(&self.right)
    }
}

fn side(pair: &PairWorld, host: HostId, other: HostId) -> Side {
    let player = pair.player(host);
    let peer = pair.player(other).id;
    let base = pair.world.instant_at(Duration::ZERO);
    let since = |at: Instant| at.saturating_duration_since(base);
    let since_request = |at: &Instant| since(*at).saturating_sub(pair.requested());
    let stats = pair.world.stats(host);
    Side {
        events: player.events.iter().map(|(at, event)| (since(*at), event.clone())).collect(),
        path: peer.and_then(|peer| player.paths.get(&peer)).map(|path| path.kind),
        failure: player.failures.last().map(|report| report.reason),
        connected: peer.and_then(|peer| player.connected_at.get(&peer)).map(since_request),
        direct: peer.and_then(|peer| player.direct_at.get(&peer)).map(since_request),
        heard: peer.and_then(|peer| player.heard_at.get(&peer)).map(since_request),
        packets: stats.marked.unwrap_or(stats.to_players),
        sockets: peer.and_then(|peer| player.paths.get(&peer)).map_or(0, |path| path.sockets),
        targets: stats.targets.len(),
        busiest_second: stats.busiest_second,
    }
}
