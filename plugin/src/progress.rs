//! How connecting to each player comes along, as data that a game can draw.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bevy_ecs::change_detection::DetectChanges;
use bevy_ecs::component::Component;
use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Commands, Query, Res, ResMut};
use traversal_core::failure::FailureReport;
use traversal_core::id::PlayerId;
use traversal_core::method::Method;
use traversal_core::{DisconnectReason, Event, PathKind};

use crate::players::RemotePlayer;
use crate::state::{CurrentRoom, Members, Peers};

/// At most this many steps are kept of one story; the oldest go first. A match has up to ten, and each change of its
/// path adds one.
const MOST_STEPS: usize = 32;

/// Component of a [`RemotePlayer`](crate::RemotePlayer): it tells the story of connecting to that player, step by
/// step. It is there from the moment on that the lobby server matched the two, begins anew with each match, and goes
/// on while they are connected. A member of the room to whom no connection is made (another guest, where all play
/// with the host) has none.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use bevy_traversal::{Progress, RemotePlayer};
///
/// fn draw(players: Query<(&Name, &Progress), With<RemotePlayer>>) {
///     for (name, progress) in &players {
///         println!("{name}: {}", progress.state());
///         for step in progress.steps() {
///             println!("  {:>6} ms  {}", step.at.as_millis(), step.what);
///         }
///     }
/// }
/// # let _ = IntoSystem::into_system(draw);
/// ```
#[derive(Component, Clone, Debug, PartialEq)]
pub struct Progress {
    began: Instant,
    steps: VecDeque<Step>,
    /// The story has had this many steps so far, forgotten ones included.
    count: u64,
}

/// This is one step of a [`Progress`].
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// It happened this long after the first step; this is as exact as a frame.
    pub at: Duration,
    /// This happened.
    pub what: StepKind,
}

/// This is what happened in a [`Step`]; its text is fit for a player.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StepKind {
    /// The lobby server told the two of each other, and the search for a way begins.
    Planned {
        /// These are the methods that will be tried, in this order.
        methods: Vec<Method>,
    },
    /// A further method is tried.
    Trying {
        /// This is the method that begins.
        method: Method,
    },
    /// The first way stands: the game plays.
    Connected {
        /// The way is of this kind.
        path: PathKind,
        /// This is the method that found it; none over the relay.
        method: Option<Method>,
        /// This is how long it took from the request to join, as the network thread measured it.
        took: Duration,
    },
    /// The connection took another way.
    Moved {
        /// The way is of this kind.
        path: PathKind,
        /// This is the method that found it; none over the relay.
        method: Option<Method>,
    },
    /// The game plays over the relay, and no direct way was found in time.
    Relayed {
        /// This says why, and what may help.
        report: Box<FailureReport>,
    },
    /// No way was found.
    Failed {
        /// This says why, and what may help.
        report: Box<FailureReport>,
    },
    /// Nothing is heard of the player at present.
    Away,
    /// The player is heard again.
    Back {
        /// This is how long nothing was heard.
        away: Duration,
    },
    /// The connection is gone.
    Ended {
        /// It ended for this reason.
        reason: DisconnectReason,
    },
}

/// This is what a [`Progress`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgressState {
    /// A way is looked for.
    Searching,
    /// A way stands.
    Connected,
    /// A way stands, and nothing is heard at present.
    Away,
    /// No way was found.
    Failed,
    /// The connection is gone.
    Ended,
}

impl Progress {
    fn new(now: Instant) -> Self {
        Self { began: now, steps: VecDeque::new(), count: 0 }
    }

    fn note(&mut self, now: Instant, what: StepKind) {
        if self.steps.len() >= MOST_STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(Step { at: now.saturating_duration_since(self.began), what });
        self.count += 1;
    }

    /// Returns the steps, the oldest first: the latest 32.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> {
        self.steps.iter()
    }

    /// Returns when the first step happened.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Returns whether the connection is searched for, stands, is away, has failed or was ended.
    pub fn state(&self) -> ProgressState {
        let state = |step: &Step| match step.what {
            StepKind::Planned { .. } => Some(ProgressState::Searching),
            StepKind::Connected { .. } | StepKind::Back { .. } => Some(ProgressState::Connected),
            StepKind::Away => Some(ProgressState::Away),
            StepKind::Failed { .. } => Some(ProgressState::Failed),
            StepKind::Ended { .. } => Some(ProgressState::Ended),
            // A better way is looked for while the game plays over the relay.
            StepKind::Trying { .. } | StepKind::Moved { .. } | StepKind::Relayed { .. } => None,
        };
        self.steps.iter().rev().find_map(state).unwrap_or(ProgressState::Searching)
    }

    /// Returns how long it took to connect, from the request to join to the first way; none before that way stands.
    pub fn connected_in(&self) -> Option<Duration> {
        self.steps.iter().rev().find_map(|step| match step.what {
            StepKind::Connected { took, .. } => Some(took),
            _ => None,
        })
    }

    /// Returns why there is no direct way, and what may help; none while there is one, and while it is still looked for.
    pub fn report(&self) -> Option<&FailureReport> {
        self.steps
            .iter()
            .rev()
            .take_while(|step| match step.what {
                StepKind::Moved { path, .. } => path == PathKind::Relay,
                _ => true,
            })
            .find_map(|step| match &step.what {
                StepKind::Relayed { report } | StepKind::Failed { report } => Some(&**report),
                _ => None,
            })
    }
}

impl fmt::Display for ProgressState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Searching => "connecting",
            Self::Connected => "connected",
            Self::Away => "away",
            Self::Failed => "no way found",
            Self::Ended => "disconnected",
        })
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |f: &mut fmt::Formatter<'_>, path: PathKind, method: Option<Method>| {
            f.write_str(path.in_words())?;
            method.map_or(Ok(()), |method| write!(f, ", found by {}", method.in_words()))
        };
        match self {
            Self::Planned { methods } if methods.is_empty() => {
                f.write_str("the lobby server matched the two; only the relay can join them")
            }
            Self::Planned { .. } => f.write_str("the lobby server matched the two"),
            Self::Trying { method } => write!(f, "trying {}", method.in_words()),
            Self::Connected { path, method, .. } => {
                f.write_str("connected ")?;
                way(f, *path, *method)
            }
            Self::Moved { path, method } => {
                f.write_str("moved: now ")?;
                way(f, *path, *method)
            }
            Self::Relayed { report } => write!(f, "no direct way: {}", report.reason),
            Self::Failed { report } => write!(f, "failed: {}", report.reason),
            Self::Away => f.write_str("nothing is heard"),
            Self::Back { away } => write!(f, "back after {:.0} s", away.as_secs_f32()),
            Self::Ended { reason } => write!(f, "disconnected: {reason}"),
        }
    }
}

/// Resource: it holds the stories of all players, with or without an entity.
#[derive(Resource, Debug, Default)]
pub(crate) struct Stories(BTreeMap<PlayerId, Progress>);

impl Stories {
    /// Takes what an event adds to a story. A [`Event::Plan`] begins a new one.
    pub(crate) fn note(&mut self, event: &Event) {
        let (player, what) = match event {
            Event::Plan { peer, methods, .. } => {
                self.0.insert(peer.id, Progress::new(Instant::now()));
                (peer.id, StepKind::Planned { methods: methods.clone() })
            }
            Event::MethodBegun { player, method } => (*player, StepKind::Trying { method: *method }),
            Event::PeerConnected { peer, path, .. } => {
                let (path, method, took) = (path.kind, path.method, path.since_request);
                (peer.id, StepKind::Connected { path, method, took })
            }
            Event::PathChanged { player, path } => {
                (*player, StepKind::Moved { path: path.kind, method: path.method })
            }
            Event::PeerRelayed { peer, report } => {
                (peer.id, StepKind::Relayed { report: Box::new(report.clone()) })
            }
            Event::PeerFailed { peer, report } => {
                (peer.id, StepKind::Failed { report: Box::new(report.clone()) })
            }
            Event::PeerAway { player } => (*player, StepKind::Away),
            Event::PeerBack { player, away } => (*player, StepKind::Back { away: *away }),
            Event::PeerDisconnected { peer, reason } => (peer.id, StepKind::Ended { reason: reason.clone() }),
            _ => return,
        };
        let now = Instant::now();
        self.0.entry(player).or_insert_with(|| Progress::new(now)).note(now, what);
    }
}

/// Gives each player's entity its story, after the entities were made. Runs in frames in which there is news.
pub(crate) fn follow(
    mut commands: Commands,
    mut stories: ResMut<Stories>,
    (room, members, peers): (Res<CurrentRoom>, Res<Members>, Res<Peers>),
    players: Query<(Entity, &RemotePlayer, Option<&Progress>)>,
) {
    if room.info.is_none() && !stories.0.is_empty() {
        stories.0.clear();
    }
    if members.is_changed() || peers.is_changed() {
        // A match may be planned before the list of members names the player.
        let is_here =
            |id: &PlayerId| peers.peer(*id).is_some() || members.0.iter().any(|member| member.id == *id);
        stories.0.retain(|id, story| story.state() == ProgressState::Searching || is_here(id));
    }
    for (entity, RemotePlayer(id), shown) in &players {
        let Some(story) = stories.0.get(id) else { continue };
        if shown.is_none_or(|shown| (shown.began, shown.count) != (story.began, story.count)) {
            commands.entity(entity).try_insert(story.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traversal_core::failure::{FailureReason, Stage};
    use traversal_core::nat::NatProfile;

    fn story(steps: impl IntoIterator<Item = StepKind>) -> Progress {
        let mut story = Progress::new(Instant::now());
        steps.into_iter().for_each(|what| story.note(story.began, what));
        story
    }

    fn relayed() -> StepKind {
        StepKind::Relayed {
            report: Box::new(FailureReport {
                stage: Stage::Punch,
                reason: FailureReason::RandomPortsOnBothSides,
                relayed: true,
                no_relay: None,
                own_nat: NatProfile::UNKNOWN,
                peer_nat: NatProfile::UNKNOWN,
                tried: Vec::new(),
            }),
        }
    }

    #[test]
    fn a_story_says_what_it_has_come_to_and_why_there_is_no_direct_way() {
        let planned = || StepKind::Planned { methods: vec![Method::Bubble] };
        let connected = |path| StepKind::Connected { path, method: None, took: Duration::from_millis(80) };
        let trying = || StepKind::Trying { method: Method::Bubble };
        let searching = story([planned(), trying()]);
        assert_eq!((searching.state(), searching.connected_in()), (ProgressState::Searching, None));
        assert_eq!(searching.report(), None);
        let on_relay = story([planned(), connected(PathKind::Relay), trying(), relayed()]);
        assert_eq!(on_relay.state(), ProgressState::Connected);
        assert_eq!(on_relay.connected_in(), Some(Duration::from_millis(80)));
        assert_eq!(
            on_relay.report().map(|report| report.reason),
            Some(FailureReason::RandomPortsOnBothSides)
        );
        let direct = StepKind::Moved { path: PathKind::Direct, method: Some(Method::Bubble) };
        let at_last = story([planned(), connected(PathKind::Relay), relayed(), direct]);
        assert_eq!(at_last.report(), None, "there is a direct way now");
        let away = story([connected(PathKind::Direct), StepKind::Away]);
        assert_eq!(away.state(), ProgressState::Away);
    }

    #[test]
    fn a_story_is_bounded_and_keeps_the_latest() {
        let moved = |n: u32| StepKind::Moved {
            path: if n.is_multiple_of(2) { PathKind::Relay } else { PathKind::Direct },
            method: None,
        };
        let long = story((0..100).map(moved));
        assert_eq!((long.steps().count(), long.count), (MOST_STEPS, 100));
        assert_eq!(long.steps().next_back().map(|step| step.what.clone()), Some(moved(99)));
    }
}
