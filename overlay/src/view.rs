//! What the overlay says, as words: no boxes and no colours here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_ecs::query::ROQueryItem;
use bevy_ecs::system::SystemParam;
use bevy_traversal::{
    ConnectedBy, CurrentRoom, FailureReport, IsHost, Jitter, LobbyLink, LobbyState, Loss, NatStatus,
    NoPortMapping, PathKind, PeerConnected, PlayerId, PortMappingState, Progress, ProgressState,
    RemotePlayer, RequestFailed, RoomJoined, Rtt, Traffic, TraversalFailed,
};

use crate::history::History;

/// At most this many players are shown; the others are counted. Those who need a look come first.
pub(crate) const MOST_PLAYERS: usize = 6;
/// This many of these are shown with all details.
const WHOLE: usize = 3;
/// This is how long a failure is shown of somebody who is no member of the room any more.
const REMEMBERED: Duration = Duration::from_secs(120);

/// This is what a line is about, which gives it its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The line is about nothing in particular.
    #[default]
    Plain,
    /// It is there for who looks for it.
    Faint,
    /// It is as it should be: a direct path, a login.
    Good,
    /// It is being looked for.
    Busy,
    /// It works, over a detour: the relay.
    Detour,
    /// It does not work.
    Bad,
}

/// This is a line of text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Line {
    fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

/// This is what is said of one player.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PlayerView {
    /// This is the player's name, in the colour of its path.
    pub(crate) name: Line,
    /// It tells the path in words, beside the name.
    pub(crate) path: Line,
    /// It tells round trip, loss and bytes, beside the graph. If it is empty, there is no graph.
    pub(crate) figures: Line,
    pub(crate) history: History,
    pub(crate) details: [Line; 3],
}

/// This is all that is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    /// These lines are about the machine, the lobby server, the room and the latest trouble. Empty ones are left out.
    pub(crate) head: [Line; 5],
    pub(crate) players: Vec<PlayerView>,
    pub(crate) foot: Line,
}

/// Resource: it remembers what went wrong and no entity tells.
#[derive(Resource, Debug, Default)]
pub(crate) struct Troubles {
    players: BTreeMap<PlayerId, (String, FailureReport, Instant)>,
    request: Option<String>,
}

/// Keeps in mind who could not be reached, until that is over.
pub(crate) fn remember(
    mut troubles: ResMut<Troubles>,
    mut failed: MessageReader<TraversalFailed>,
    mut connected: MessageReader<PeerConnected>,
    mut refused: MessageReader<RequestFailed>,
    mut joined: MessageReader<RoomJoined>,
) {
    for TraversalFailed { peer, report } in failed.read() {
        if troubles.players.len() >= MOST_PLAYERS
            && let Some(oldest) = troubles.players.iter().min_by_key(|(_, (.., at))| *at).map(|(id, _)| *id)
        {
            troubles.players.remove(&oldest);
        }
        troubles.players.insert(peer.id, (peer.name.clone(), report.clone(), Instant::now()));
    }
    for PeerConnected { peer, .. } in connected.read() {
        troubles.players.remove(&peer.id);
    }
    for _ in joined.read() {
        troubles.request = None;
    }
    for RequestFailed { error, .. } in refused.read() {
        troubles.request = Some(error.to_string());
    }
}

/// This is what is known of a player.
type Known = (
    &'static RemotePlayer,
    &'static Name,
    Has<IsHost>,
    Option<&'static ConnectedBy>,
    Option<&'static Progress>,
    (Option<&'static Rtt>, Option<&'static Jitter>, Option<&'static Loss>, Option<&'static Traffic>),
    Option<&'static History>,
);

/// This is all that the overlay looks at.
#[derive(SystemParam)]
pub(crate) struct Seen<'w, 's> {
    nat: Res<'w, NatStatus>,
    lobby: Res<'w, LobbyLink>,
    room: Res<'w, CurrentRoom>,
    troubles: Res<'w, Troubles>,
    players: Query<'w, 's, Known>,
}

impl Seen<'_, '_> {
    /// Puts it into words.
    pub(crate) fn view(&self) -> View {
        let head = [
            self.nat_line(),
            self.router_line(),
            self.lobby_line(),
            self.room_line(),
            self.troubles.request.as_ref().map(|text| Line::new(Tone::Bad, text)).unwrap_or_default(),
        ];
        let mut players: Vec<(u8, PlayerView)> = Vec::new();
        let mut through_host = 0;
        for known in &self.players {
            match player(known) {
                Some(shown) => players.push(shown),
                None => through_host += 1,
            }
        }
        for (id, (name, report, at)) in &self.troubles.players {
            let is_shown = self.players.iter().any(|(RemotePlayer(player), ..)| player == id);
            if !is_shown && at.elapsed() < REMEMBERED {
                players.push((0, failed(name.clone(), report)));
            }
        }
        players.sort_by(|(a, one), (b, other)| (a, &one.name.text).cmp(&(b, &other.name.text)));
        let more = players.len().saturating_sub(MOST_PLAYERS);
        let mut players: Vec<PlayerView> =
            players.into_iter().take(MOST_PLAYERS).map(|(_, shown)| shown).collect();
        for shown in players.iter_mut().skip(WHOLE) {
            shown.details[1..].fill(Line::default());
        }
        View { head, foot: Line::new(Tone::Faint, foot(players.len(), more, through_host)), players }
    }

    fn nat_line(&self) -> Line {
        let profile = &self.nat.profile;
        Line::new(Tone::Plain, format!("Own NAT: {}. {}", profile.kind(), profile.meaning()))
    }

    fn router_line(&self) -> Line {
        match &self.nat.port_mapping {
            PortMappingState::None(NoPortMapping::NotAsked | NoPortMapping::NotNeeded) => Line::default(),
            state => Line::new(Tone::Faint, format!("Router: {state}")),
        }
    }

    fn lobby_line(&self) -> Line {
        let servers = self.lobby.servers.join(", ");
        let (tone, text) = match &self.lobby.state {
            LobbyState::Online { .. } => (Tone::Good, format!("logged in to {servers}")),
            LobbyState::Connecting => (Tone::Busy, format!("logging in to {servers}")),
            LobbyState::Retrying { error, .. } => {
                (Tone::Bad, format!("{servers}: {error}; trying again by itself"))
            }
            LobbyState::Refused { error } => (Tone::Bad, format!("{servers}: {error}")),
            _ => match &self.lobby.error {
                Some(error) => (Tone::Bad, error.to_string()),
                None => (Tone::Faint, "not logged in".into()),
            },
        };
        Line::new(tone, format!("Lobby: {text}"))
    }

    fn room_line(&self) -> Line {
        let Some(room) = &self.room.info else { return Line::new(Tone::Faint, "In no room") };
        let part = if self.room.hosting { "hosting" } else { "guest" };
        Line::new(Tone::Plain, format!("Room: {} (code {}), {part}", room.name, room.code))
    }
}

fn foot(shown: usize, more: usize, through_host: usize) -> String {
    let mut parts = Vec::new();
    if more > 0 {
        parts.push(format!("{more} more players"));
    }
    if through_host > 0 {
        let (noun, verb) = if through_host == 1 { ("player", "plays") } else { ("players", "play") };
        parts.push(format!("{through_host} {noun} {verb} with the host alone"));
    }
    if shown == 0 && parts.is_empty() {
        parts.push("No other player yet".into());
    }
    parts.join("; ")
}

fn path_tone(kind: PathKind) -> Tone {
    if kind == PathKind::Relay { Tone::Detour } else { Tone::Good }
}

/// Returns what is said of a player, and how much it needs a look: 0 the most. None: this player has nothing to do
/// with that one.
fn player(known: ROQueryItem<'_, '_, Known>) -> Option<(u8, PlayerView)> {
    let (_, name, host, by, progress, (rtt, jitter, loss, traffic), history) = known;
    let name = if host { format!("{name} (host)") } else { name.to_string() };
    let state = progress.map(Progress::state);
    if let Some(ConnectedBy { path, .. }) = by {
        let away = state == Some(ProgressState::Away);
        let tone = if away { Tone::Faint } else { path_tone(path.kind) };
        let figures = rtt.map(|Rtt(rtt)| {
            figures(*rtt, jitter.map(|jitter| jitter.0), loss.map_or(0.0, |loss| loss.0), traffic)
        });
        let words = if away { "away: nothing is heard" } else { path.kind.in_words() };
        let view = PlayerView {
            name: Line::new(tone, name),
            path: Line::new(tone, words),
            figures: Line::new(Tone::Plain, figures.unwrap_or_default()),
            history: history.cloned().unwrap_or_default(),
            details: connected(path.kind, path.method, progress),
        };
        let rank = if away || path.kind == PathKind::Relay { 1 } else { 3 };
        return Some((rank, view));
    }
    let progress = progress?;
    Some(match (state?, progress.report()) {
        (ProgressState::Failed, Some(report)) => (0, failed(name, report)),
        (state, _) => {
            let step = progress.steps().next_back().map(|step| step.what.to_string()).unwrap_or_default();
            let seconds = progress.began().elapsed().as_secs_f32();
            let tone = if state == ProgressState::Searching { Tone::Busy } else { Tone::Faint };
            let path = match state {
                ProgressState::Searching => format!("{state} for {seconds:.0} s"),
                _ => state.to_string(),
            };
            let view = PlayerView {
                name: Line::new(tone, name),
                path: Line::new(tone, path),
                details: [Line::new(Tone::Faint, step), Line::default(), Line::default()],
                ..PlayerView::default()
            };
            (2, view)
        }
    })
}

fn figures(rtt: Duration, jitter: Option<Duration>, loss: f32, traffic: Option<&Traffic>) -> String {
    let ms = |time: Duration| time.as_secs_f32() * 1e3;
    let jitter = jitter.map_or_else(String::new, |jitter| format!(", jitter {:.0} ms", ms(jitter)));
    let rates = traffic.map_or_else(String::new, |traffic| {
        format!("\n{} out, {} in", rate(traffic.sent_per_s), rate(traffic.received_per_s))
    });
    format!("{:.0} ms{jitter}, {:.0} % lost{rates}", ms(rtt), loss * 100.0)
}

fn rate(bytes: f32) -> String {
    if bytes < 1000.0 { format!("{bytes:.0} B/s") } else { format!("{:.1} kB/s", bytes / 1e3) }
}

/// Returns how the path was found; over the relay, why there is no better one.
fn connected(
    path: PathKind,
    method: Option<bevy_traversal::Method>,
    progress: Option<&Progress>,
) -> [Line; 3] {
    let took = progress.and_then(Progress::connected_in);
    let took = took.map_or_else(String::new, |took| match took.as_millis() {
        ms @ ..1000 => format!(" in {ms} ms"),
        _ => format!(" in {:.1} s", took.as_secs_f32()),
    });
    let found = match method {
        Some(method) => format!("Connected{took}; found by {}", method.in_words()),
        None => format!("Connected{took}"),
    };
    let found = Line::new(Tone::Faint, found);
    let report = progress.and_then(Progress::report).filter(|_| path == PathKind::Relay);
    match report {
        Some(report) => {
            let [why, what] = why(report);
            [why, what, found]
        }
        None if path == PathKind::Relay => {
            [found, Line::new(Tone::Busy, "A direct way is still looked for"), Line::default()]
        }
        None => [found, Line::default(), Line::default()],
    }
}

/// Returns the reason, and what to do.
fn why(report: &FailureReport) -> [Line; 2] {
    [
        Line::new(Tone::Detour, format!("Why: {}", report.reason)),
        Line::new(Tone::Plain, format!("What to do: {}", report.advice())),
    ]
}

fn failed(name: String, report: &FailureReport) -> PlayerView {
    let [why, what] = why(report);
    let tried = report.tried.iter().map(|tried| {
        format!("{} ({} packets, {:.1} s)", tried.method.name(), tried.packets, tried.time.as_secs_f32())
    });
    let tried: Vec<String> = tried.collect();
    let tried = if tried.is_empty() { "nothing".into() } else { tried.join(", ") };
    PlayerView {
        name: Line::new(Tone::Bad, name),
        path: Line::new(Tone::Bad, ProgressState::Failed.to_string()),
        details: [Line { tone: Tone::Bad, ..why }, what, Line::new(Tone::Faint, format!("Tried: {tried}"))],
        ..PlayerView::default()
    }
}
