//! Login, room and paths: what the plugin says, printed; and when to stop.

use std::time::{Duration, Instant};

use bevy_app::AppExit;
use bevy_ecs::prelude::*;
use bevy_traversal::traversal_core::classify::LifetimeSearch;
use bevy_traversal::traversal_core::nat::{Confidence, NatKind};
use bevy_traversal::{
    CurrentRoom, HostMigrated, HostRoom, JoinRequested, JoinRoom, LobbyChanged, LobbyFailed, LobbyLink,
    LobbyState, Members, NatChanged, NatProfile, NatStatus, NoPortMapping, PathChanged, PeerConnected,
    PeerDisconnected, PeerPlanned, PeerRelayed, Peers, PortMappingChanged, PortMappingState, QueueChanged,
    QueueStatus, QuickMatch, RefusePeer, RequestError, RequestFailed, RequestFailure, RequestKind, Role,
    RoomJoined, RoomLeft, RoomTarget, TraversalError, TraversalFailed, TraversalLink, TraversalStats,
};
use serde_json::{Value, json};

use crate::args::{Game, Sub};
use crate::output::{self, Output};
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
    deadline: Instant,
    /// When the room was asked for, and whether again.
    asked: bool,
    /// Since when the lobby was seen.
    online_at: Option<Instant>,
    /// A room was entered; it is printed when its members are known.
    room_pending: bool,
    /// First connection of renet.
    pub(crate) connected_at: Option<Instant>,
    /// What is known of the own NAT, and since when.
    nat: Option<(NatProfile, Instant)>,
    /// When it was first known.
    nat_since: Option<Instant>,
    /// The host of a joined room is gone.
    host_gone: bool,
    /// Host of the present room.
    hosting: bool,
    frozen: bool,
    /// The last thing that went wrong.
    trouble: Option<String>,
    pub(crate) stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// Set when it is over.
    pub(crate) over: bool,
}

impl Session {
    pub(crate) fn new(
        goal: Goal,
        game: Option<Game>,
        deadline: Duration,
        stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    ) -> Self {
        Self {
            goal,
            game,
            deadline: Instant::now() + deadline,
            asked: false,
            online_at: None,
            room_pending: false,
            connected_at: None,
            nat: None,
            nat_since: None,
            host_gone: false,
            hosting: false,
            frozen: false,
            trouble: None,
            stop,
            over: false,
        }
    }

    /// A join of a name that looks like a code is tried as a code too.
    fn next_target(&mut self) -> bool {
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
    fn has_joined(&self) -> bool {
        match self.goal {
            Goal::Join { .. } => true,
            Goal::Quick(_) => !self.hosting,
            _ => false,
        }
    }

    /// Without its host there is nothing left to do.
    fn ends_with_its_host(&self) -> bool {
        self.has_joined() && !self.game.as_ref().is_some_and(|game| game.migrate)
    }

    /// Ends it with this text.
    pub(crate) fn fail(&mut self, text: String) {
        self.trouble = Some(text);
        self.over = true;
    }

    fn give_up(&mut self, output: &Output, stage: &str, reason: &str, text: &str) {
        output.event(
            "failed",
            json!({"peer": null, "stage": stage, "reason": reason, "text": text, "local_nat": null,
                   "remote_nat": null, "tried": [], "advice": null}),
        );
        self.fail(text.to_owned());
    }
}

/// The lobby: logs in by itself; asks for the room once online.
pub(crate) fn lobby(
    mut session: ResMut<Session>,
    output: Res<Output>,
    link: Res<LobbyLink>,
    mut changed: MessageReader<LobbyChanged>,
    mut failed: MessageReader<LobbyFailed>,
    (mut host, mut quick): (MessageWriter<HostRoom>, MessageWriter<QuickMatch>),
    mut join: MessageWriter<JoinRoom>,
) {
    for LobbyChanged(state) in changed.read() {
        if let LobbyState::Online { player, public, .. } = state {
            let local: Vec<String> = link.local.iter().map(ToString::to_string).collect();
            output.event(
                "logged_in",
                json!({"player": player.to_string(), "public": public.to_string(), "local": local}),
            );
        }
    }
    for LobbyFailed { error, retry_in } in failed.read() {
        let text = error.to_string();
        match retry_in {
            Some(retry_in) => {
                let retry_ms = output::rounded(retry_in.as_secs_f64() * 1000.0);
                output.event("lobby_failed", json!({"text": text, "retry_ms": retry_ms}));
                session.trouble = Some(text);
            }
            None => session.give_up(&output, "lobby", lobby_reason(error), &text),
        }
    }
    let idled = link.online() && {
        let online_at = *session.online_at.get_or_insert_with(Instant::now);
        !matches!(&session.goal, Goal::Join { idle, .. } if online_at.elapsed() < *idle)
    };
    if idled && !session.asked {
        session.asked = true;
        match &session.goal {
            Goal::Nat { .. } => {}
            Goal::Host { room, .. } => _ = host.write(room.clone()),
            Goal::Quick(wanted) => {
                output.event("request", json!({"peer": null, "player": null, "mode": wanted.mode}));
                quick.write(wanted.clone());
            }
            Goal::Join { join: room, .. } => {
                let name = match &room.target {
                    RoomTarget::Name(name) | RoomTarget::Code(name) => name,
                };
                output.event("request", json!({"peer": null, "player": null, "room": name}));
                join.write(room.clone());
            }
        }
    }
}

fn lobby_reason(error: &TraversalError) -> &'static str {
    use bevy_traversal::LobbyError as L;
    match error {
        TraversalError::Lobby(L::NoAnswer) => "no-answer",
        TraversalError::Lobby(L::Unresolvable { .. }) => "unresolvable",
        TraversalError::Lobby(L::WrongKey) => "wrong-key",
        TraversalError::Lobby(L::OtherProtocol { .. }) => "other-protocol",
        TraversalError::Lobby(L::Refused(_)) => "refused",
        TraversalError::Lobby(_) => "lost",
        TraversalError::Bind { .. } => "bind",
        TraversalError::Identity { .. } => "identity",
        _ => "driver",
    }
}

/// The room and its members.
pub(crate) fn room(
    mut session: ResMut<Session>,
    output: Res<Output>,
    (room, members): (Res<CurrentRoom>, Res<Members>),
    (mut entered, mut migrated): (MessageReader<RoomJoined>, MessageReader<HostMigrated>),
    mut left: MessageReader<RoomLeft>,
    mut failed: MessageReader<RequestFailed>,
    mut requested: MessageReader<JoinRequested>,
    mut refuse: MessageWriter<RefusePeer>,
) {
    session.room_pending |= entered.read().count() > 0;
    if let Some(info) = room.info.as_ref().filter(|_| session.room_pending && !members.0.is_empty()) {
        session.room_pending = false;
        session.hosting = room.hosting;
        let role = if room.hosting { "host" } else { "join" };
        output.event(
            "room",
            json!({"name": info.name, "code": info.code, "role": role, "members": members.0.len()}),
        );
    }
    for HostMigrated { room, hosting, members, .. } in migrated.read() {
        let host = members.iter().find(|member| member.id == room.host).map(|member| &member.name);
        output.event(
            "host_changed",
            json!({"host": host, "hosting": hosting, "epoch": room.epoch, "members": members.len()}),
        );
        session.trouble = None;
        session.hosting = *hosting;
    }
    for RoomLeft { reason, .. } in left.read() {
        let text = reason.as_ref().map_or_else(|| "left".to_owned(), ToString::to_string);
        output.event("room_left", json!({"text": text}));
        if matches!(session.goal, Goal::Join { .. } | Goal::Quick(_)) {
            session.host_gone = true;
            session.trouble.get_or_insert(text);
        } else if session.asked {
            // The room is opened anew with the next frame.
            session.asked = false;
        }
    }
    for JoinRequested { join, player } in requested.read() {
        output.event("request", json!({"peer": player.name, "player": player.id.to_string()}));
        if let Goal::Host { refuse: Some(reason), .. } = &session.goal {
            refuse.write(RefusePeer { join: *join, reason: reason.clone() });
        }
    }
    for RequestFailed { request, error } in failed.read() {
        if !matches!(request, RequestKind::Host | RequestKind::Join | RequestKind::QuickMatch) {
            continue;
        }
        let (reason, passing) = request_reason(error);
        let text = error.to_string();
        if passing || (reason == "no-such-room" && session.next_target()) {
            session.trouble = Some(text);
            session.asked = false;
        } else {
            session.give_up(&output, "room", reason, &text);
        }
    }
}

/// Its name, and whether it is worth trying again.
fn request_reason(error: &RequestFailure) -> (&'static str, bool) {
    use RequestError as E;
    match error {
        RequestFailure::Timeout => ("timeout", true),
        RequestFailure::NotLoggedIn | RequestFailure::LobbyLost => ("lobby-lost", true),
        RequestFailure::Server(error) => match error {
            E::NoSuchRoom => ("no-such-room", false),
            E::RoomFull => ("room-full", false),
            E::WrongPassword => ("wrong-password", false),
            E::NameTaken => ("name-taken", false),
            E::Refused { .. } => ("refused", false),
            E::HostSilent => ("host-silent", false),
            E::OtherVersion { .. } => ("other-version", false),
            E::RegistryUnavailable | E::Stopping => ("server-unavailable", true),
            _ => ("rejected", false),
        },
        _ => ("rejected", false),
    }
}

/// How a quick match comes along.
pub(crate) fn queue(
    mut session: ResMut<Session>,
    output: Res<Output>,
    mut changed: MessageReader<QueueChanged>,
) {
    for QueueChanged(status) in changed.read() {
        session.trouble = None;
        if let (Some(QueueStatus { position, waiting, players }), Goal::Quick(wanted)) =
            (status, &session.goal)
        {
            let (mode, missing) = (wanted.mode.clone(), players.saturating_sub(*waiting));
            output.event(
                "queue",
                json!({"mode": mode, "position": position, "waiting": waiting, "players": players}),
            );
            // What is said if nobody else comes.
            session.trouble =
                Some(format!("{missing} more players wanted for {mode:?}; nobody came in time"));
        }
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
    mut disconnected: MessageReader<PeerDisconnected>,
    mut failed: MessageReader<TraversalFailed>,
) {
    for NatChanged(profile) in nat.read() {
        output.event("nat", output::nat(profile, &status.port_mapping));
        session.nat = Some((*profile, Instant::now()));
        session.nat_since.get_or_insert_with(Instant::now);
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
                Goal::Quick(wanted) if session.hosting => usize::from(wanted.players) - 1,
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
