//! What this player came for and how far it has come; paths, printed; and when to stop.

use std::time::{Duration, Instant};

use bevy_app::AppExit;
use bevy_ecs::prelude::*;
use bevy_traversal::traversal_core::classify::LifetimeSearch;
use bevy_traversal::traversal_core::nat::{Confidence, NatKind};
use bevy_traversal::{
    HostRoom, JoinRoom, NatChanged, NatFacts, NatProfile, NatStatus, NoPortMapping, PathChanged, PeerAway,
    PeerBack, PeerConnected, PeerDisconnected, PeerPlanned, PeerRelayed, Peers, PortMappingChanged,
    PortMappingState, QuickMatch, Role, RoomTarget, TraversalFailed, TraversalLink, TraversalStats,
};
use headless::Output;
use serde_json::{Value, json};

use crate::args::{Game, Sub};
use crate::output;
use crate::play::Scores;

/// What is measured comes in steps; without another one for so long it was the last.
const NAT_SETTLES: Duration = Duration::from_millis(1500);

/// How long a router's first answer is waited for: one that is there answers on its own network at once, and one that is
/// silent to three requests by NAT-PMP (0.75 s) and to a search by UPnP (1.5 s) hardly ever speaks. The plugin goes on
/// asking for longer; a game does not wait for it.
const ROUTER_ANSWERS: Duration = Duration::from_millis(1600);

/// How long the server's check of what a router granted is waited for: five tries of a second, at the most.
const ROUTER_CHECKED: Duration = Duration::from_millis(6000);

/// After the longest silence, for its knocks.
const LIFETIME_SETTLES: Duration = Duration::from_secs(10);

/// How long the last reliable messages are waited for, with `--complete`.
const COMPLETE: Duration = Duration::from_secs(10);

/// What this player came for.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    Nat {
        /// How long an idle mapping lives, too.
        lifetime: bool,
    },
    Host {
        room: HostRoom,
        expected: usize,
        refuse: Option<String>,
    },
    Join {
        join: JoinRoom,
        idle: Duration,
    },
    Quick(QuickMatch),
}

impl Goal {
    /// How much longer than anything else it takes.
    pub(crate) fn takes(&self) -> Duration {
        match self {
            Self::Nat { lifetime: true } => LifetimeSearch::LONGEST + LIFETIME_SETTLES,
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn of(command: &Sub) -> Self {
        match command {
            Sub::Nat { lifetime, .. } => Self::Nat { lifetime: *lifetime },
            Sub::Host { room, players, capacity, refuse, password, game, .. } => {
                let room = bevy_traversal::RoomOptions {
                    name: room.clone(),
                    capacity: capacity.unwrap_or(*players),
                    password: password.clone(),
                    auto_allow: refuse.is_none(),
                    migrate: game.migrate,
                    ..Default::default()
                };
                let expected = usize::from(*players) - 1;
                Self::Host { room: HostRoom(room), expected, refuse: refuse.clone() }
            }
            Sub::Quick { mode, players, .. } => Self::Quick(QuickMatch::of(mode.clone(), *players)),
            Sub::Join { room, wait, idle, password, .. } => {
                let target = RoomTarget::Name(room.clone());
                let join = JoinRoom { target, password: password.clone(), wait: *wait };
                Self::Join { join, idle: *idle }
            }
        }
    }
}

/// Resource: how far it has come.
#[derive(Resource)]
pub(crate) struct Session {
    pub(crate) goal: Goal,
    pub(crate) game: Option<Game>,
    /// What the user has set of the own NAT.
    pub(crate) manual: NatFacts,
    pub(crate) deadline: Instant,
    /// When the room was asked for, and whether again.
    pub(crate) asked: bool,
    /// Since when the lobby was seen.
    pub(crate) online_at: Option<Instant>,
    /// A room was entered; it is printed when its members are known.
    pub(crate) room_pending: bool,
    /// First connection of renet.
    pub(crate) connected_at: Option<Instant>,
    /// What is known of the own NAT, and since when.
    pub(crate) nat: Option<(NatProfile, Instant)>,
    /// When it was first known.
    pub(crate) nat_since: Option<Instant>,
    /// The host of a joined room is gone.
    pub(crate) host_gone: bool,
    /// Host of the present room.
    pub(crate) hosting: bool,
    /// Its host from the start: all others are expected. One who takes over may do so when they leave.
    pub(crate) hosted_first: bool,
    pub(crate) frozen: bool,
    /// The last thing that went wrong.
    pub(crate) trouble: Option<String>,
    pub(crate) stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// Set when it is over.
    pub(crate) over: bool,
}

impl Session {
    pub(crate) fn new(
        goal: Goal,
        (game, manual): (Option<Game>, NatFacts),
        deadline: Duration,
        stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    ) -> Self {
        Self {
            goal,
            game,
            manual,
            deadline: Instant::now() + deadline,
            asked: false,
            online_at: None,
            room_pending: false,
            connected_at: None,
            nat: None,
            nat_since: None,
            host_gone: false,
            hosting: false,
            hosted_first: false,
            frozen: false,
            trouble: None,
            stop,
            over: false,
        }
    }

    /// A join of a name that looks like a code is tried as a code too.
    pub(crate) fn next_target(&mut self) -> bool {
        let Goal::Join { join, .. } = &mut self.goal else { return false };
        let RoomTarget::Name(name) = &join.target else { return false };
        if name.len() != 6 || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return false;
        }
        join.target = RoomTarget::Code(name.clone());
        join.wait = Duration::ZERO;
        true
    }

    /// Plays with a host, and with it only.
    pub(crate) fn has_joined(&self) -> bool {
        match self.goal {
            Goal::Join { .. } => true,
            Goal::Quick(_) => !self.hosting,
            _ => false,
        }
    }

    /// Without its host there is nothing left to do.
    pub(crate) fn ends_with_its_host(&self) -> bool {
        self.has_joined() && !self.game.as_ref().is_some_and(|game| game.migrate)
    }

    /// Ends it with this text.
    pub(crate) fn fail(&mut self, text: String) {
        self.trouble = Some(text);
        self.over = true;
    }

    pub(crate) fn give_up(&mut self, output: &Output, stage: &str, reason: &str, text: &str) {
        output.event(
            "failed",
            json!({"peer": null, "stage": stage, "reason": reason, "text": text, "local_nat": null,
                   "remote_nat": null, "no_relay": null, "tried": [], "advice": null}),
        );
        self.fail(text.to_owned());
    }
}

/// NAT, plans and paths.
pub(crate) fn paths(
    mut session: ResMut<Session>,
    mut scores: ResMut<Scores>,
    output: Res<Output>,
    peers: Res<Peers>,
    (link, status): (Res<TraversalLink>, Res<NatStatus>),
    (mut nat, mut mapping): (MessageReader<NatChanged>, MessageReader<PortMappingChanged>),
    mut planned: MessageReader<PeerPlanned>,
    mut connected: MessageReader<PeerConnected>,
    (mut path_changed, mut relayed): (MessageReader<PathChanged>, MessageReader<PeerRelayed>),
    (mut away, mut back): (MessageReader<PeerAway>, MessageReader<PeerBack>),
    mut disconnected: MessageReader<PeerDisconnected>,
    mut failed: MessageReader<TraversalFailed>,
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
        && (!lifetime || knows_lifetime(profile) || waited(LifetimeSearch::LONGEST + LIFETIME_SETTLES))
    {
        if waits_for_router.is_some() && status.port_mapping.mapping().is_none() {
            let text = "no router has answered by UPnP, NAT-PMP or PCP so far";
            output.event("port_mapping", json!({"state": "none", "verified": false, "text": text}));
        }
        if !output.is_json() {
            output.event("advice", json!({"text": output::advice(profile)}));
        }
        session.over = true;
    }
    for PeerPlanned { peer, role, methods, host, .. } in planned.read() {
        if *host {
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

/// The search for the lifetime has its end, or is of no use here.
fn knows_lifetime(profile: &NatProfile) -> bool {
    profile.timeout_below.is_some()
        || profile.timeout.is_some_and(|lives| lives >= LifetimeSearch::LONGEST)
        || matches!(profile.kind(), NatKind::None | NatKind::UdpBlocked)
}

/// The clock, signals and what is left to wait for.
pub(crate) fn finish(
    mut session: ResMut<Session>,
    output: Res<Output>,
    mut scores: ResMut<Scores>,
    stats: Res<TraversalStats>,
    mut exit: MessageWriter<AppExit>,
) {
    let now = Instant::now();
    freeze(&mut session, &output, now);
    let stopped = session.stop.load(std::sync::atomic::Ordering::Relaxed);
    let played = match (&session.game, session.connected_at) {
        (Some(game), Some(at)) => now >= at + game.play,
        _ => now >= session.deadline,
    };
    if !(session.over || stopped || played || session.host_gone) {
        return;
    }
    let complete = session.game.as_ref().is_some_and(|game| game.complete) && session.connected_at.is_some();
    let late = match (&session.game, session.connected_at) {
        (Some(game), Some(at)) => now >= at + game.play + COMPLETE,
        _ => true,
    };
    if complete && !scores.close() && !(session.over || stopped || late) {
        return;
    }
    session.over = true;
    let text = session.trouble.take();
    let problem = match &session.goal {
        Goal::Nat { .. } if text.is_none() && !played && !stopped => None,
        Goal::Nat { .. } => {
            Some(text.unwrap_or_else(|| "the lobby server told nothing about the NAT in time".into()))
        }
        goal => {
            let expected = match goal {
                Goal::Host { expected, .. } => *expected,
                Goal::Quick(wanted) if session.hosted_first => usize::from(wanted.players) - 1,
                _ => 1,
            };
            for summary in scores.summaries(stats.discarded()) {
                output.event("summary", summary);
            }
            let relay = session.game.as_ref().is_some_and(|game| game.expect_relay);
            match scores.problem(expected, relay) {
                None if complete => scores.missing(),
                None => None,
                Some(problem) if session.connected_at.is_none() => Some(text.unwrap_or(problem)),
                Some(problem) => Some(problem),
            }
        }
    };
    match problem {
        None => exit.write(AppExit::Success),
        Some(problem) => {
            eprintln!("peer: {problem}");
            exit.write(AppExit::error())
        }
    };
}

fn freeze(session: &mut Session, output: &Output, now: Instant) {
    let Some(game) = session.game.clone().filter(|_| !session.frozen) else { return };
    if let (Some(at), Some(after), Some(length)) = (session.connected_at, game.freeze_after, game.freeze_for)
        && now >= at + after
    {
        session.frozen = true;
        output.event("frozen", json!({"seconds": length.as_secs_f64()}));
        // This is what the flag asks for: a game that does not tick.
        std::thread::sleep(length);
        output.event("awake", Value::Null);
    }
}
