//! The chat over a match: the latest lines, which fade, and the one that is being typed.

use bevy::prelude::*;

use super::build::{Card, absolute, font, over};
use crate::chat::Chat;
use crate::net::systems::NetSystems;
use crate::scene::{Scene, label};
use crate::theme;

/// So many lines are shown.
const LINES: usize = 4;
/// A line is shown for so many seconds, and fades in the last ones.
const STAYS: f32 = 10.0;
const FADES: f32 = 2.0;
/// The lines stand so far above the window's edge, in design pixels: above the line about the network.
const ABOVE: f32 = 40.0;

/// The lines are so wide, in design pixels; longer ones go on in the next row.
const WIDE: f32 = 660.0;

/// This is the column of all of them.
#[derive(Component)]
struct Column;
/// This is the plate of a line, from the top.
#[derive(Component)]
struct Plate(usize);
/// This is the writer's name.
#[derive(Component)]
struct Writer(usize);
/// This is the text behind it.
#[derive(Component)]
struct Words(usize);
/// This is the plate of what is being typed.
#[derive(Component)]
struct Entry;
#[derive(Component)]
struct EntryText;

pub(super) struct ChatHudPlugin;

impl Plugin for ChatHudPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, build)
            .add_systems(Update, (lines, entry, stand_above_the_card).after(NetSystems::Scene));
    }
}

fn build(mut commands: Commands) {
    let column = Node {
        bottom: px(ABOVE),
        left: px(16),
        width: px(WIDE),
        row_gap: px(4),
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::FlexStart,
        ..absolute()
    };
    let plate = || Node {
        max_width: px(WIDE),
        padding: UiRect::axes(px(10), px(2)),
        border_radius: BorderRadius::all(px(8)),
        display: Display::None,
        ..default()
    };
    commands.spawn((Column, over(column))).with_children(|column| {
        for row in 0..LINES {
            column.spawn((Plate(row), plate(), BackgroundColor(Color::NONE))).with_children(|plate| {
                plate
                    .spawn((Writer(row), Text::new(""), font(theme::SMALL), TextColor(theme::FAINT)))
                    .with_child((Words(row), TextSpan::new(""), font(theme::SMALL), TextColor(theme::WORDS)));
            });
        }
        let look = BackgroundColor(theme::PANEL);
        column.spawn((Entry, plate(), look)).with_child((
            EntryText,
            Text::new(""),
            font(theme::SMALL),
            TextColor(theme::ACCENT),
        ));
    });
}

/// Returns how much of a line of this age is to be seen, 0..=1. While somebody types all are.
fn shown(age: f32, typing: bool) -> f32 {
    if typing { 1.0 } else { ((STAYS - age) / FADES).clamp(0.0, 1.0) }
}

fn lines(
    (time, chat, scene): (Res<Time<Real>>, Res<Chat>, Res<Scene>),
    mut plates: Query<(&Plate, &mut Node, &mut BackgroundColor)>,
    mut names: Query<(&Writer, &mut Text, &mut TextColor), Without<Words>>,
    mut words: Query<(&Words, &mut TextSpan, &mut TextColor), Without<Writer>>,
) {
    let now = time.elapsed();
    // The newest stands in the last row.
    let line = |row: usize| {
        let line = chat.lines().rev().nth(LINES - 1 - row)?;
        let alpha = shown(now.saturating_sub(line.at).as_secs_f32(), chat.typing.is_some());
        (alpha > 0.0).then_some((line, alpha))
    };
    for (Plate(row), mut node, mut back) in &mut plates {
        let alpha = line(*row).map(|(_, alpha)| alpha);
        let display = if alpha.is_some() { Display::Flex } else { Display::None };
        if node.display != display {
            node.display = display;
        }
        back.set_if_neq(BackgroundColor(theme::NIGHT.with_alpha(0.62 * alpha.unwrap_or_default())));
    }
    for (Writer(row), mut text, mut colour) in &mut names {
        let Some((line, alpha)) = line(*row) else { continue };
        let actor = scene.actors.iter().find(|actor| line.client.is_some() && actor.client == line.client);
        let tint = actor.map_or(theme::FAINT, |actor| scene.colour(actor.player));
        text.set_if_neq(Text::new(label(&line.name, 14)));
        colour.set_if_neq(TextColor(tint.with_alpha(alpha)));
    }
    for (Words(row), mut text, mut colour) in &mut words {
        let Some((line, alpha)) = line(*row) else { continue };
        let (colon, tint) = if line.name.is_empty() { ("", theme::DETOUR) } else { (": ", theme::WORDS) };
        let words = format!("{colon}{}", line.text);
        if text.0 != words {
            text.0 = words;
        }
        colour.set_if_neq(TextColor(tint.with_alpha(alpha)));
    }
}

fn entry(
    chat: Res<Chat>,
    mut plates: Query<&mut Node, With<Entry>>,
    mut texts: Query<&mut Text, With<EntryText>>,
) {
    for mut node in &mut plates {
        let display = if chat.typing.is_some() { Display::Flex } else { Display::None };
        if node.display != display {
            node.display = display;
        }
    }
    for mut text in &mut texts {
        let typing = chat.typing.as_deref().map(|typing| format!("Say: {typing}_"));
        text.set_if_neq(Text::new(typing.unwrap_or_default()));
    }
}

/// The card about the network lies where the lines stand: they make room for it.
fn stand_above_the_card(
    cards: Query<(&ComputedNode, &InheritedVisibility), With<Card>>,
    mut columns: Query<&mut Node, With<Column>>,
) {
    let seen = cards.iter().find(|(_, visible)| visible.get());
    let bottom = seen.map_or(ABOVE, |(card, _)| 66.0 + card.size.y * card.inverse_scale_factor());
    for mut node in &mut columns {
        if node.bottom != px(bottom) {
            node.bottom = px(bottom);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_fades_and_is_gone_and_is_there_again_while_somebody_types() {
        assert_eq!(shown(0.0, false), 1.0);
        assert_eq!(shown(STAYS - FADES, false), 1.0);
        assert!((0.4..0.6).contains(&shown(STAYS - FADES / 2.0, false)));
        assert_eq!(shown(STAYS + 1.0, false), 0.0);
        assert_eq!(shown(STAYS + 1.0, true), 1.0);
    }
}
