//! What stands over the match: points, time, network, announcements, names.

mod build;
mod chat;
mod ways;

use bevy::prelude::*;

use self::build::{
    Chip, ChipFrame, ChipName, ChipPoints, Clock, FeedText, Headline, Hud, NameTag, Plate, Subline, build,
};
use super::Screen;
use crate::net::systems::NetSystems;
use crate::scene::{Actor, Happened, Scene, label};
use crate::session::{HostChange, Session};
use crate::sim::{GameEvent, MAX_PLAYERS, Phase, PlayerSlot, TICK_HZ, team};
use crate::theme;
use crate::view::{StageCamera, on_stage};

/// These are the controls, as they are told at the beginning and in the menu.
pub(super) const CONTROLS: &str = "WASD: walk   mouse: aim and fire   space: dash";
/// A line of the feed stays for so many seconds.
const FEED: f32 = 4.0;

pub(super) struct HudPlugin;

impl Plugin for HudPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Feed>()
            .add_systems(Startup, build)
            .add_systems(Update, (visible, chips, clock, announce, feed).after(NetSystems::Scene))
            .add_systems(Update, names.after(NetSystems::Scene))
            .add_plugins((ways::WaysPlugin, chat::ChatHudPlugin));
    }
}

/// Returns whether a text is a name over a ship.
#[cfg(test)]
pub(super) fn is_name_tag(world: &World, text: Entity) -> bool {
    world.get::<ChildOf>(text).is_some_and(|parent| world.get::<NameTag>(parent.parent()).is_some())
}

#[derive(Resource, Default)]
struct Feed(Vec<(f32, String)>);

fn visible(screen: Res<State<Screen>>, mut hud: Query<&mut Visibility, With<Hud>>) {
    let wanted = match screen.get() {
        Screen::Game => Visibility::Inherited,
        _ => Visibility::Hidden,
    };
    for mut visibility in &mut hud {
        visibility.set_if_neq(wanted);
    }
}

/// Returns who stands at a place of the bar. The clock stays in the middle: four places on each side, filled from the middle
/// outwards, by the players' numbers: who looks for a name finds it where it was.
fn actor_at(scene: &Scene, place: usize) -> Option<&Actor> {
    let half = MAX_PLAYERS / 2;
    let rank = if place < half { (half - 1 - place) * 2 } else { (place - half) * 2 + 1 };
    scene.actors.get(rank)
}

fn chips(
    scene: Res<Scene>,
    mut chips: Query<(&Chip, &mut Node)>,
    mut frames: Query<(&ChipFrame, &mut BorderColor, &mut BackgroundColor)>,
    mut names: Query<(&ChipName, &mut Text, &mut TextColor), Without<ChipPoints>>,
    mut points: Query<(&ChipPoints, &mut Text), Without<ChipName>>,
) {
    let count = scene.actors.len();
    let actor_at = |place: usize| actor_at(&scene, place);
    for (Chip(place), mut node) in &mut chips {
        // An empty place keeps its width only where that keeps the clock in the middle.
        let display = if actor_at(*place).is_some() || (count % 2 == 1 && mirrored(*place, count)) {
            Display::Flex
        } else {
            Display::None
        };
        if node.display != display {
            node.display = display;
        }
    }
    for (ChipFrame(place), mut border, mut back) in &mut frames {
        let actor = actor_at(*place);
        let own = actor.is_some_and(|actor| Some(actor.player) == scene.local);
        let (line, panel) = match actor {
            Some(actor) => (scene.colour(actor.player).with_alpha(if own { 1.0 } else { 0.4 }), theme::PANEL),
            None => (Color::NONE, Color::NONE),
        };
        border.set_if_neq(BorderColor::all(line));
        back.set_if_neq(BackgroundColor(panel));
    }
    for (ChipName(place), mut text, mut colour) in &mut names {
        let actor = actor_at(*place);
        let name = actor.map(|actor| actor.label(6)).unwrap_or_default();
        if text.0 != name {
            text.0 = name;
        }
        colour.set_if_neq(TextColor(actor.map_or(theme::FAINT, |actor| scene.colour(actor.player))));
    }
    for (ChipPoints(place), mut text) in &mut points {
        let shown = actor_at(*place).map(|actor| actor.points.to_string()).unwrap_or_default();
        if text.0 != shown {
            text.0 = shown;
        }
    }
}

/// With an odd number of players, the place opposite to the last one stays as air.
fn mirrored(place: usize, count: usize) -> bool {
    let half = MAX_PLAYERS / 2;
    place >= half && (place - half) * 2 + 1 == count
}

fn clock(scene: Res<Scene>, mut clock: Query<(&mut Text, &mut TextColor), With<Clock>>) {
    let Ok((mut text, mut colour)) = clock.single_mut() else { return };
    let (shown, tint) = match (scene.phase, scene.seconds_left()) {
        (Some(Phase::Playing { overtime, .. }), Some(left)) => {
            let left = left.ceil() as u32;
            let tint = if overtime || left <= 10 { theme::BAD } else { theme::WORDS };
            (format!("{}:{:02}", left / 60, left % 60), tint)
        }
        (Some(Phase::Resuming { left, .. }), _) => {
            let left = left.div_ceil(TICK_HZ);
            (format!("{}:{:02}", left / 60, left % 60), theme::FAINT)
        }
        _ => (String::new(), theme::WORDS),
    };
    if text.0 != shown {
        text.0 = shown;
    }
    colour.set_if_neq(TextColor(tint));
}

/// How long the host is not heard of, and who hosts since.
#[derive(Default)]
struct HostWatch {
    since: Option<f32>,
    next: Option<String>,
}

impl HostWatch {
    /// Returns what is to be said of the host while the match stands.
    fn words(&mut self, now: f32, scene: &Scene, session: &Session) -> Option<(String, String)> {
        let stands = scene.stands || session.doubt.is_some();
        if !stands && !matches!(scene.phase, Some(Phase::Resuming { .. })) {
            *self = Self::default();
            return None;
        }
        if !stands {
            // It goes on: the count, and with whom.
            self.since = None;
            let count = scene.seconds_left().unwrap_or_default().ceil().max(1.0);
            return Some((format!("{count}"), self.next.clone().unwrap_or_default()));
        }
        let seconds = (now - *self.since.get_or_insert(now)).floor();
        let online = session.lobby_lost().is_none();
        let what = match (&session.doubt, &self.next) {
            (Some(_), _) if online => String::from("The host is gone, looking for another"),
            (Some(_), _) => String::from("The host is gone, and the lobby server does not answer"),
            (None, Some(next)) => next.clone(),
            (None, None) => String::from("Nothing is heard of the host"),
        };
        Some((String::new(), format!("{what}: {seconds} s")))
    }
}

fn announce(
    time: Res<Time<Real>>,
    session: Res<Session>,
    mut changes: MessageReader<HostChange>,
    mut host: Local<HostWatch>,
    scene: Res<Scene>,
    mut headline: Query<(&mut Text, &mut TextColor), (With<Headline>, Without<Subline>)>,
    mut subline: Query<&mut Text, (With<Subline>, Without<Headline>)>,
    mut plate: Query<&mut BackgroundColor, With<Plate>>,
    mut nodes: Query<&mut Node, With<Headline>>,
) {
    let (Ok((mut big, mut colour)), Ok(mut small)) = (headline.single_mut(), subline.single_mut()) else {
        return;
    };
    let left = scene.seconds_left().unwrap_or_default();
    let me = scene.me();
    for change in changes.read() {
        host.next = Some(if change.hosting {
            String::from("The host is gone: you host now")
        } else {
            format!("The host is gone: {} hosts now", label(&change.name, 14))
        });
    }
    let of_host = host.words(time.elapsed_secs(), &scene, &session);
    let (head, sub, tint) = match scene.phase {
        Some(_) if of_host.is_some() => {
            let (head, sub) = of_host.unwrap_or_default();
            (head, sub, theme::ACCENT)
        }
        Some(Phase::Countdown { .. }) => {
            let round = match scene.round {
                1 if scene.local.is_some() => String::from(CONTROLS),
                round => format!("Round {round}"),
            };
            // All see the same number at the same moment where the lobby server counts.
            let left = session.count.map_or(left.ceil(), |count| count as f32);
            (format!("{}", left.max(1.0)), round, theme::ACCENT)
        }
        Some(Phase::RoundOver { winner, .. }) => {
            let name = scene.actor(winner).map_or_else(|| String::from("Somebody"), |actor| actor.label(14));
            let text = match (scene.teams, scene.local) {
                (false, Some(me)) if me == winner => String::from("You win!"),
                (true, Some(me)) if team(me) == team(winner) => String::from("Your team wins!"),
                (true, _) => format!("{name}'s team wins"),
                _ => format!("{name} wins"),
            };
            let wins = scene.actor(winner).map_or(0, |actor| actor.wins);
            let rounds = if wins == 1 { "round" } else { "rounds" };
            (text, format!("{wins} {rounds} won; next one in {:.0}", left.ceil()), scene.colour(winner))
        }
        Some(Phase::Playing { overtime, .. }) => match me {
            Some(me) if !me.alive() => (String::new(), String::from("Down! Back in a moment."), theme::WORDS),
            _ if overtime => (String::new(), String::from("Next point wins"), theme::WORDS),
            _ => (String::new(), String::new(), theme::WORDS),
        },
        _ => (String::new(), String::new(), theme::WORDS),
    };
    let silent = head.is_empty() && sub.is_empty();
    for mut back in &mut plate {
        let veil = if silent { 0.0 } else { 0.62 };
        back.set_if_neq(BackgroundColor(theme::NIGHT.with_alpha(veil)));
    }
    for mut node in &mut nodes {
        // Without words it takes no room.
        let display = if head.is_empty() { Display::None } else { Display::Flex };
        if node.display != display {
            node.display = display;
        }
    }
    if big.0 != head {
        big.0 = head;
    }
    colour.set_if_neq(TextColor(tint));
    if small.0 != sub {
        small.0 = sub;
    }
}

fn feed(
    time: Res<Time>,
    scene: Res<Scene>,
    mut happened: MessageReader<Happened>,
    mut changes: MessageReader<HostChange>,
    mut feed: ResMut<Feed>,
    mut text: Query<&mut Text, With<FeedText>>,
) {
    let name = |player: PlayerSlot| {
        scene.actor(player).map_or_else(|| String::from("somebody"), |actor| actor.label(10))
    };
    let mut expected_leave = false;
    for change in changes.read() {
        expected_leave = true;
        let line = match change.hosting {
            true => String::from("you host now"),
            false => format!("{} hosts now", label(&change.name, 14)),
        };
        feed.0.push((time.elapsed_secs(), line));
    }
    for Happened(event) in happened.read() {
        let line = match event {
            GameEvent::Joined { name, .. } => format!("{} came in", label(name, 14)),
            // The old host: its going is told already.
            GameEvent::Left { .. } if expected_leave => continue,
            GameEvent::Left { .. } => String::from("somebody left"),
            GameEvent::Downed { by, whom } => format!("{} > {}", name(*by), name(*whom)),
            GameEvent::Overtime => String::from("overtime"),
            GameEvent::PickupTaken { by, kind } => {
                format!("{} took {}", name(*by), format!("{kind:?}").to_lowercase())
            }
            _ => continue,
        };
        feed.0.push((time.elapsed_secs(), line));
    }
    feed.0.retain(|(at, _)| time.elapsed_secs() - at < FEED);
    let surplus = feed.0.len().saturating_sub(2);
    feed.0.drain(..surplus);
    let Ok(mut text) = text.single_mut() else { return };
    let shown: Vec<_> = feed.0.iter().map(|(_, line)| line.as_str()).collect();
    let shown = shown.join("   ");
    if text.0 != shown {
        text.0 = shown;
    }
}

/// Names follow their players, in the crisp letters of the UI.
fn names(
    scene: Res<Scene>,
    screen: Res<State<Screen>>,
    scale: Res<UiScale>,
    camera: Query<(&Camera, &GlobalTransform), With<StageCamera>>,
    mut tags: Query<(&NameTag, &mut Node, &mut Visibility, &Children)>,
    mut texts: Query<&mut Text>,
) {
    let Ok((camera, eye)) = camera.single() else { return };
    let playing = matches!(screen.get(), Screen::Game | Screen::Paused | Screen::Sure(_));
    for (NameTag(player), mut node, mut visibility, children) in &mut tags {
        let actor = scene.actor(*player).filter(|actor| playing && actor.alive());
        // Above the ship, or below it under the upper wall where the points stand.
        let place = actor.and_then(|actor| {
            let offset = if actor.at.y > 330.0 { -52.0 } else { 80.0 };
            camera.world_to_viewport(eye, on_stage(actor.at + Vec2::Y * offset)).ok()
        });
        let (Some(actor), Some(place)) = (actor, place) else {
            visibility.set_if_neq(Visibility::Hidden);
            continue;
        };
        visibility.set_if_neq(Visibility::Inherited);
        node.left = px(place.x / scale.0 - 150.0);
        node.top = px(place.y / scale.0);
        if let Some(mut text) = children.first().and_then(|child| texts.get_mut(*child).ok()) {
            let name = actor.label(14);
            if text.0 != name {
                text.0 = name;
            }
        }
    }
}
