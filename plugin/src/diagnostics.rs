//! How the connections do: measurements for Bevy's diagnostics, and the same as components of the players.

use std::time::{Duration, Instant};

use bevy_app::{App, Plugin, PostUpdate, PreUpdate};
use bevy_diagnostic::{Diagnostic, DiagnosticPath, Diagnostics, RegisterDiagnostic};
use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::component::Component;
use bevy_ecs::entity::Entity;
use bevy_ecs::lifecycle::Remove;
use bevy_ecs::observer::On;
use bevy_ecs::query::With;
#[cfg(feature = "reflect")]
use bevy_ecs::reflect::ReflectComponent;
use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::schedule::common_conditions::{resource_changed, resource_exists};
use bevy_ecs::system::{Commands, Local, Query, Res, ResMut};
use traversal_core::id::PlayerId;
use traversal_core::{LinkQuality, PathKind};

use crate::link::TraversalLink;
use crate::players::{ConnectedBy, RemotePlayer};
use crate::progress;
use crate::state::Peers;
use crate::systems::{TraversalSystems, hand_over_requests};

/// This much time lies between two measurements, where the game sets nothing else: twice a second is as fast as people
/// read figures.
const PERIOD: Duration = Duration::from_millis(500);

/// Plugin: it measures all connections at a fixed rate, twice a second by default; never per packet. The figures
/// stand in Bevy's `DiagnosticsStore` ([`RTT`](Self::RTT), ...), as means or sums of all players, and for each player
/// as components of its [`RemotePlayer`](crate::RemotePlayer): [`Rtt`], [`Jitter`], [`Loss`], [`Traffic`]. While
/// nobody is connected nothing is measured.
///
/// The network thread pings each player over the path in use (every 400 ms by default, `path_ping` of
/// [`TraversalConfig::agent`](crate::TraversalConfig::agent)), whatever the game sends and by whatever netcode: round trip, jitter
/// and loss are those of these pings. renet has figures of its own
/// ([`RenetClient::packet_loss`](bevy_renet::renet::RenetClient::packet_loss)), of its packets.
///
/// ```
/// use bevy_app::App;
/// use bevy_diagnostic::DiagnosticsStore;
/// use bevy_ecs::prelude::*;
/// use bevy_traversal::TraversalDiagnosticsPlugin;
///
/// fn show(store: Res<DiagnosticsStore>) {
///     if let Some(rtt) = store.get_measurement(&TraversalDiagnosticsPlugin::RTT) {
///         println!("{:.0} ms", rtt.value);
///     }
/// }
///
/// App::new().add_plugins(TraversalDiagnosticsPlugin::default()).add_systems(bevy_app::Update, show);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraversalDiagnosticsPlugin {
    /// This much time lies between two measurements (default: 500 ms). Zero measures in every frame.
    pub period: Duration,
}

impl Default for TraversalDiagnosticsPlugin {
    fn default() -> Self {
        Self { period: PERIOD }
    }
}

impl TraversalDiagnosticsPlugin {
    /// This figure is the mean of the players' round trips, in ms.
    pub const RTT: DiagnosticPath = DiagnosticPath::const_new("traversal/rtt");
    /// This figure is the mean of the players' losses ([`Loss`]), in percent.
    pub const LOSS: DiagnosticPath = DiagnosticPath::const_new("traversal/loss");
    /// This figure is the mean of the players' jitters ([`Jitter`]), in ms.
    pub const JITTER: DiagnosticPath = DiagnosticPath::const_new("traversal/jitter");
    /// This is what is sent to all players together, in bytes a second ([`Traffic`]).
    pub const BYTES_SENT: DiagnosticPath = DiagnosticPath::const_new("traversal/bytes_sent");
    /// This is what comes from all players together, in bytes a second ([`Traffic`]).
    pub const BYTES_RECEIVED: DiagnosticPath = DiagnosticPath::const_new("traversal/bytes_received");
    /// This is how many of the connected players are reached over the relay.
    pub const RELAYED_PEERS: DiagnosticPath = DiagnosticPath::const_new("traversal/relayed_peers");
}

impl Plugin for TraversalDiagnosticsPlugin {
    fn build(&self, app: &mut App) {
        for (path, suffix) in [
            (Self::RTT, " ms"),
            (Self::LOSS, " %"),
            (Self::JITTER, " ms"),
            (Self::BYTES_SENT, " B/s"),
            (Self::BYTES_RECEIVED, " B/s"),
            (Self::RELAYED_PEERS, ""),
        ] {
            app.register_diagnostic(Diagnostic::new(path).with_suffix(suffix));
        }
        app.insert_resource(Period(self.period))
            .init_resource::<Qualities>()
            .add_systems(
                PreUpdate,
                show.run_if(resource_changed::<Qualities>)
                    .run_if(resource_exists::<TraversalLink>)
                    .in_set(TraversalSystems::Receive)
                    .after(progress::follow),
            )
            .add_systems(PostUpdate, ask.in_set(TraversalSystems::Send).before(hand_over_requests))
            .add_observer(forget);
    }
}

/// Component of a connected player: this is the smoothed round trip (RFC 6298).
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
pub struct Rtt(pub Duration);

/// Component of a connected player: it says how far round trips lie from the smoothed one, on average (RTTVAR of RFC
/// 6298).
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
pub struct Jitter(pub Duration);

/// Component of a connected player: this is the share of pings of about the last 6 s that were not answered, 0 to 1.
/// It counts both ways, since either the ping or its answer was lost: where each way loses a tenth, this is 0.19.
#[derive(Component, Clone, Copy, Debug, PartialEq, PartialOrd)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
pub struct Loss(pub f32);

/// Component of a connected player: it counts sealed datagrams on the way to it and from it, the pings included,
/// without the headers of UDP and IP (28 bytes each over IPv4).
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
pub struct Traffic {
    /// This many bytes were sent to the player since the search for a path began.
    pub sent: u64,
    /// This many bytes came in from the player since then.
    pub received: u64,
    /// This many bytes are sent in a second, by the latest two measurements; it is 0 before the second one.
    pub sent_per_s: f32,
    /// This many bytes come in in a second, by the latest two measurements.
    pub received_per_s: f32,
}

/// Resource: this much time lies between two measurements.
#[derive(Resource, Clone, Copy, Debug)]
struct Period(Duration);

/// Resource: it holds the latest measurement of all connections.
#[derive(Resource, Debug, Default)]
pub(crate) struct Qualities {
    /// This is when it was taken.
    at: Option<Instant>,
    players: Vec<(PlayerId, LinkQuality)>,
    /// One was asked for and has not come.
    asked: bool,
}

impl Qualities {
    /// Takes the answer of the network thread.
    pub(crate) fn take(&mut self, at: Instant, players: Vec<(PlayerId, LinkQuality)>) {
        *self = Self { at: Some(at), players, asked: false };
    }

    /// Notes that the network thread is gone, and its answer with it.
    pub(crate) fn driver_gone(&mut self) {
        *self = Self::default();
    }
}

/// Asks the network thread when the period is over. Nobody is asked for while nobody is connected, but once after the last one
/// is gone.
fn ask(
    link: Option<ResMut<TraversalLink>>,
    mut qualities: ResMut<Qualities>,
    (peers, period): (Res<Peers>, Res<Period>),
    mut last: Local<Option<Instant>>,
) {
    let Some(mut link) = link else { return };
    let qualities = qualities.bypass_change_detection();
    if peers.is_empty() && qualities.players.is_empty() {
        *last = None;
        return;
    }
    let now = Instant::now();
    if !qualities.asked && last.is_none_or(|last| now.saturating_duration_since(last) >= period.0) {
        *last = Some(now);
        qualities.asked = link.bypass_change_detection().measure();
    }
}

/// Gives the figures to the players' entities and to the diagnostics.
fn show(
    qualities: Res<Qualities>,
    peers: Res<Peers>,
    mut before: Local<Option<Instant>>,
    players: Query<(Entity, &RemotePlayer, Option<&Traffic>), With<ConnectedBy>>,
    mut commands: Commands,
    mut diagnostics: Diagnostics,
) {
    let Some(at) = qualities.at else {
        *before = None;
        return;
    };
    let elapsed = before.replace(at).map(|before| at.saturating_duration_since(before).as_secs_f32());
    let per_second = |bytes: u64, before: Option<u64>| match (elapsed, before) {
        (Some(elapsed), Some(before)) if elapsed > 0.0 => bytes.saturating_sub(before) as f32 / elapsed,
        _ => 0.0,
    };
    let (mut rtt, mut jitter, mut loss) = (Mean::default(), Mean::default(), Mean::default());
    let (mut sent, mut received) = (0.0, 0.0);
    for (entity, RemotePlayer(id), traffic) in &players {
        let Some((_, quality)) = qualities.players.iter().find(|(player, _)| player == id) else { continue };
        let traffic = Traffic {
            sent: quality.bytes_sent,
            received: quality.bytes_received,
            sent_per_s: per_second(quality.bytes_sent, traffic.map(|before| before.sent)),
            received_per_s: per_second(quality.bytes_received, traffic.map(|before| before.received)),
        };
        let mut entity = commands.entity(entity);
        entity.try_insert((Loss(quality.loss), traffic));
        if let (Some(of_path), Some(spread)) = (quality.rtt, quality.jitter) {
            entity.try_insert((Rtt(of_path), Jitter(spread)));
            rtt.add(of_path.as_secs_f64() * 1e3);
            jitter.add(spread.as_secs_f64() * 1e3);
        }
        loss.add(f64::from(quality.loss) * 100.0);
        sent += f64::from(traffic.sent_per_s);
        received += f64::from(traffic.received_per_s);
    }
    use TraversalDiagnosticsPlugin as Paths;
    for (path, mean) in [(Paths::RTT, rtt), (Paths::JITTER, jitter), (Paths::LOSS, loss)] {
        if let Some(mean) = mean.value() {
            diagnostics.add_measurement(&path, || mean);
        }
    }
    diagnostics.add_measurement(&Paths::BYTES_SENT, || sent);
    diagnostics.add_measurement(&Paths::BYTES_RECEIVED, || received);
    let relayed = || peers.iter().filter(|peer| peer.path.kind == PathKind::Relay).count() as f64;
    diagnostics.add_measurement(&Paths::RELAYED_PEERS, relayed);
}

/// Removes the figures of a connection that is gone.
fn forget(gone: On<Remove, ConnectedBy>, mut commands: Commands) {
    commands.entity(gone.entity).try_remove::<(Rtt, Jitter, Loss, Traffic)>();
}

/// This is the mean of what was added.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}
