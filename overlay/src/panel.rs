//! The boxes and texts on the screen. They are made once when the overlay is shown, and follow the words from then on.

use std::time::Instant;

use bevy_color::{Alpha, Color};
use bevy_ecs::prelude::*;
use bevy_text::{FontSize, LineBreak, TextColor, TextFont, TextLayout};
use bevy_ui::prelude::*;
use bevy_ui::{percent, px, vh, vw};

use crate::history::SAMPLES;
use crate::view::{Line, MOST_PLAYERS, PlayerView, Seen, Tone, View};
use crate::{Overlay, REFRESH};

const WIDTH: f32 = 440.0;
const MARGIN: f32 = 8.0;
const SMALL: f32 = 12.0;
const NORMAL: f32 = 14.0;
/// A bar of a graph is this wide, and so is the space between two.
const BAR: f32 = 4.0;
/// The graph of round trips is this high, and that of losses is [`LOSS_HEIGHT`] high.
const RTT_HEIGHT: f32 = 24.0;
/// The graph of losses is this high; see [`RTT_HEIGHT`].
const LOSS_HEIGHT: f32 = 8.0;
/// The graph of round trips is so high in ms, or more where they are longer.
const LEAST_SCALE: f32 = 50.0;
/// The graph of losses is full at this share.
const LOSS_SCALE: f32 = 0.25;

const BACK: Color = Color::srgba(0.03, 0.045, 0.07, 0.9);
const GRAPH_BACK: Color = Color::srgb(0.11, 0.13, 0.16);
const RULE: Color = Color::srgba(1.0, 1.0, 1.0, 0.15);

fn colour(tone: Tone) -> Color {
    match tone {
        Tone::Plain => Color::srgb(0.91, 0.93, 0.95),
        Tone::Faint => Color::srgb(0.62, 0.67, 0.73),
        Tone::Good => Color::srgb(0.40, 0.87, 0.52),
        Tone::Busy => Color::srgb(0.47, 0.73, 1.0),
        Tone::Detour => Color::srgb(1.0, 0.74, 0.30),
        Tone::Bad => Color::srgb(1.0, 0.45, 0.42),
    }
}

/// Resource: this is what is on the screen. It is there while the overlay is shown.
#[derive(Resource, Debug)]
pub(crate) struct Panel {
    root: Entity,
    head: Vec<Entity>,
    players: Vec<Slot>,
    foot: Entity,
    shown: View,
    refreshed: Option<Instant>,
}

/// This is the place of one player.
#[derive(Debug)]
struct Slot {
    root: Entity,
    dot: Entity,
    name: Entity,
    path: Entity,
    graph: Entity,
    bars: Vec<Entity>,
    losses: Vec<Entity>,
    figures: Entity,
    details: Vec<Entity>,
}

/// Makes it, keeps it up to date, and takes it away.
pub(crate) fn follow(
    mut commands: Commands,
    overlay: Res<Overlay>,
    panel: Option<ResMut<Panel>>,
    seen: Seen,
    mut parts: Parts,
) {
    match (overlay.shown, panel) {
        (true, None) => {
            let panel = build(&mut commands);
            commands.insert_resource(panel);
        }
        (false, Some(panel)) => {
            commands.entity(panel.root).try_despawn();
            commands.remove_resource::<Panel>();
        }
        (true, Some(mut panel)) => {
            let now = Instant::now();
            if panel.refreshed.is_some_and(|last| now.saturating_duration_since(last) < REFRESH) {
                return;
            }
            if !parts.contains(panel.root) {
                // The game has cleared its world.
                *panel = build(&mut commands);
                return;
            }
            panel.refreshed = Some(now);
            let view = seen.view();
            if view != panel.shown {
                panel.show(&mut parts, view);
            }
        }
        (false, None) => {}
    }
}

/// This is what an entity of the overlay may have.
type Part = (
    &'static mut Node,
    Option<&'static mut Text>,
    Option<&'static mut TextColor>,
    Option<&'static mut BackgroundColor>,
);
type Parts<'w, 's> = Query<'w, 's, Part, With<OfOverlay>>;

/// Component: this entity belongs to the overlay.
#[derive(Component, Clone, Copy, Debug, Default)]
pub(crate) struct OfOverlay;

fn text(size: f32) -> impl Bundle {
    let font = TextFont { font_size: FontSize::Px(size), ..TextFont::default() };
    (OfOverlay, Text::default(), font, TextColor(colour(Tone::Plain)), Node::default())
}

fn spawn(commands: &mut Commands, parent: Entity, part: impl Bundle) -> Entity {
    let part = commands.spawn(part).id();
    commands.entity(parent).add_child(part);
    part
}

fn build(commands: &mut Commands) -> Panel {
    let column = Node {
        position_type: PositionType::Absolute,
        top: px(MARGIN),
        left: px(MARGIN),
        width: px(WIDTH),
        // Whatever the window is like, the overlay stays within it.
        max_width: vw(96),
        max_height: vh(97),
        flex_direction: FlexDirection::Column,
        row_gap: px(4),
        padding: UiRect::all(px(10)),
        border_radius: BorderRadius::all(px(6)),
        overflow: Overflow::clip(),
        ..Node::default()
    };
    let root = commands.spawn((OfOverlay, column, BackgroundColor(BACK), GlobalZIndex(i32::MAX - 1))).id();
    let head = (0..View::default().head.len()).map(|_| spawn(commands, root, text(SMALL))).collect();
    let players = (0..MOST_PLAYERS).map(|_| slot(commands, root)).collect();
    let foot = spawn(commands, root, text(SMALL));
    // What is empty is not there.
    Panel { root, head, players, foot, shown: View::default(), refreshed: None }
}

fn slot(commands: &mut Commands, parent: Entity) -> Slot {
    let column = Node {
        display: Display::None,
        flex_direction: FlexDirection::Column,
        flex_shrink: 0.0,
        row_gap: px(3),
        margin: UiRect::top(px(3)),
        padding: UiRect::top(px(6)),
        border: UiRect::top(px(1)),
        ..Node::default()
    };
    let root = spawn(commands, parent, (OfOverlay, column, BorderColor::all(RULE)));
    let row = Node { align_items: AlignItems::Center, column_gap: px(8), ..Node::default() };
    let first = spawn(commands, root, (OfOverlay, row.clone()));
    let dot = Node {
        width: px(10),
        height: px(10),
        flex_shrink: 0.0,
        border_radius: BorderRadius::all(px(5)),
        ..Node::default()
    };
    let dot = spawn(commands, first, (OfOverlay, dot, BackgroundColor(Color::NONE)));
    let name = spawn(commands, first, text(NORMAL));
    // A name of one long word is broken anywhere, so that the path beside it keeps its place.
    let name_box = Node { flex_grow: 1.0, flex_basis: px(0), min_width: px(0), ..Node::default() };
    commands.entity(name).insert((name_box, TextLayout::linebreak(LineBreak::AnyCharacter)));
    let path = spawn(commands, first, text(SMALL));
    commands.entity(path).insert(Node { flex_shrink: 0.0, ..Node::default() });
    let graph = spawn(commands, root, (OfOverlay, Node { display: Display::None, ..row }));
    let boxes =
        Node { flex_direction: FlexDirection::Column, row_gap: px(2), flex_shrink: 0.0, ..Node::default() };
    let boxes = spawn(commands, graph, (OfOverlay, boxes));
    let bars = bars(commands, boxes, RTT_HEIGHT);
    let losses = self::bars(commands, boxes, LOSS_HEIGHT);
    let figures = spawn(commands, graph, text(SMALL));
    let details = (0..PlayerView::default().details.len()).map(|_| spawn(commands, root, text(SMALL)));
    let details = details.collect();
    Slot { root, dot, name, path, graph, bars, losses, figures, details }
}

/// Spawns a row of bars that stand on its ground.
fn bars(commands: &mut Commands, parent: Entity, height: f32) -> Vec<Entity> {
    let row = Node {
        width: px(BAR * SAMPLES as f32),
        height: px(height),
        align_items: AlignItems::End,
        ..Node::default()
    };
    let row = spawn(commands, parent, (OfOverlay, row, BackgroundColor(GRAPH_BACK)));
    let bar = || Node {
        width: px(BAR - 1.0),
        height: percent(0),
        margin: UiRect::right(px(1)),
        flex_shrink: 0.0,
        ..Node::default()
    };
    (0..SAMPLES).map(|_| spawn(commands, row, (OfOverlay, bar(), BackgroundColor(Color::NONE)))).collect()
}

impl Panel {
    fn show(&mut self, parts: &mut Parts, view: View) {
        for (line, entity) in view.head.iter().zip(&self.head) {
            write(parts, *entity, line);
        }
        write(parts, self.foot, &view.foot);
        for (number, slot) in self.players.iter().enumerate() {
            let player = view.players.get(number);
            display(parts, slot.root, player.is_some());
            if let Some(player) = player.filter(|player| self.shown.players.get(number) != Some(*player)) {
                slot.show(parts, player);
            }
        }
        self.shown = view;
    }
}

impl Slot {
    fn show(&self, parts: &mut Parts, player: &PlayerView) {
        write(parts, self.name, &player.name);
        write(parts, self.path, &player.path);
        paint(parts, self.dot, colour(player.name.tone));
        for (line, entity) in player.details.iter().zip(&self.details) {
            write(parts, *entity, line);
        }
        display(parts, self.graph, !player.figures.text.is_empty());
        write(parts, self.figures, &player.figures);
        let samples = &player.history.0;
        let ms = |sample: &(std::time::Duration, f32)| sample.0.as_secs_f32() * 1e3;
        let scale = samples.iter().map(ms).fold(LEAST_SCALE, f32::max);
        // The newest stands at the right.
        let empty = SAMPLES - samples.len().min(SAMPLES);
        for (number, (bar, loss)) in self.bars.iter().zip(&self.losses).enumerate() {
            let sample = number.checked_sub(empty).and_then(|number| samples.get(number));
            let rtt = sample.map_or(0.0, |sample| (ms(sample) / scale).max(0.05));
            raise(parts, *bar, rtt, colour(player.name.tone).with_alpha(0.85));
            let lost = sample.map_or(0.0, |(_, loss)| (loss / LOSS_SCALE).min(1.0));
            raise(parts, *loss, lost, colour(Tone::Bad));
        }
    }
}

/// Writes a line; an empty one takes no place. What is the same is not touched, so that it is not laid out anew.
fn write(parts: &mut Parts, entity: Entity, line: &Line) {
    display(parts, entity, !line.text.is_empty());
    let Ok((_, Some(mut text), Some(mut text_colour), _)) = parts.get_mut(entity) else { return };
    if text.0 != line.text {
        text.0.clone_from(&line.text);
    }
    text_colour.set_if_neq(TextColor(colour(line.tone)));
}

fn display(parts: &mut Parts, entity: Entity, shown: bool) {
    let wanted = if shown { Display::Flex } else { Display::None };
    if let Ok((mut node, ..)) = parts.get_mut(entity)
        && node.display != wanted
    {
        node.display = wanted;
    }
}

fn paint(parts: &mut Parts, entity: Entity, colour: Color) {
    if let Ok((.., Some(mut background))) = parts.get_mut(entity) {
        background.set_if_neq(BackgroundColor(colour));
    }
}

/// Gives a bar this share of its box.
fn raise(parts: &mut Parts, entity: Entity, share: f32, colour: Color) {
    paint(parts, entity, colour);
    let height = percent((share * 100.0).round());
    if let Ok((mut node, ..)) = parts.get_mut(entity)
        && node.height != height
    {
        node.height = height;
    }
}
