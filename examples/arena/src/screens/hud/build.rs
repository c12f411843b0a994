//! The parts of the HUD, as they are put on the screen at the start.

use bevy::prelude::*;
use bevy::text::FontSize;

use crate::sim::{MAX_PLAYERS, PlayerSlot};
use crate::theme;

#[derive(Component)]
pub(super) struct Hud;
#[derive(Component)]
pub(super) struct Chip(pub(super) usize);
/// This is the frame of a chip.
#[derive(Component)]
pub(super) struct ChipFrame(pub(super) usize);
/// This is the badge below a chip: the way to that player.
#[derive(Component)]
pub(super) struct ChipWay(pub(super) usize);
/// This lies behind the lines about the network in the middle.
#[derive(Component)]
pub(super) struct Card;
#[derive(Component)]
pub(super) struct CardText;
#[derive(Component)]
pub(super) struct ChipName(pub(super) usize);
#[derive(Component)]
pub(super) struct ChipPoints(pub(super) usize);
#[derive(Component)]
pub(super) struct Clock;
/// This is the line below the floor, on the left.
#[derive(Component)]
pub(super) struct NetworkText;
/// This lies behind announcements, so that they can be read over ships and pillars.
#[derive(Component)]
pub(super) struct Plate;
#[derive(Component)]
pub(super) struct Headline;
#[derive(Component)]
pub(super) struct Subline;
#[derive(Component)]
pub(super) struct FeedText;
#[derive(Component)]
pub(super) struct NameTag(pub(super) PlayerSlot);

pub(super) fn font(size: f32) -> TextFont {
    TextFont { font_size: FontSize::Px(size), ..default() }
}

pub(super) fn build(mut commands: Commands) {
    build_points(&mut commands);
    build_corners(&mut commands);
    build_announcements(&mut commands);
    build_card(&mut commands);
    for player in 0..MAX_PLAYERS as u8 {
        let node = Node { width: px(300), justify_content: JustifyContent::Center, ..absolute() };
        commands.spawn((NameTag(player), node, Visibility::Hidden, GlobalZIndex(4))).with_child((
            Text::new(""),
            font(theme::SMALL),
            TextColor(theme::colour(player).with_alpha(0.9)),
            TextLayout::no_wrap(),
        ));
    }
}

pub(super) fn absolute() -> Node {
    Node { position_type: PositionType::Absolute, ..default() }
}

/// Returns something of the HUD that lies over the match.
pub(super) fn over(node: Node) -> impl Bundle {
    (Hud, node, Visibility::Hidden, GlobalZIndex(5))
}

/// Points, left and right of the clock.
fn build_points(commands: &mut Commands) {
    let bar = Node {
        top: px(8),
        left: px(12),
        right: px(12),
        justify_content: JustifyContent::Center,
        column_gap: px(8),
        ..absolute()
    };
    commands.spawn(over(bar)).with_children(|bar| {
        for i in 0..=MAX_PLAYERS {
            if i == MAX_PLAYERS / 2 {
                let node = Node { width: px(110), justify_content: JustifyContent::Center, ..default() };
                bar.spawn(node).with_child((Clock, Text::new(""), font(36.0), TextColor(theme::WORDS)));
            }
            if i == MAX_PLAYERS {
                break;
            }
            let place = Node { width: px(132), flex_direction: FlexDirection::Column, ..default() };
            let frame = Node {
                height: px(40),
                padding: UiRect::horizontal(px(10)),
                border: UiRect::all(px(2)),
                border_radius: BorderRadius::all(px(9)),
                column_gap: px(8),
                align_items: AlignItems::Center,
                justify_content: JustifyContent::SpaceBetween,
                overflow: Overflow::clip(),
                ..default()
            };
            let look = (BackgroundColor(theme::PANEL), BorderColor::all(theme::LINE));
            // The pointer over it asks for more about the way to that player.
            bar.spawn((Chip(i), place, Interaction::None)).with_children(|chip| {
                chip.spawn((ChipFrame(i), frame, look)).with_children(|frame| {
                    let layout = TextLayout::no_wrap();
                    let small = font(theme::SMALL);
                    frame.spawn((ChipName(i), Text::new(""), small, TextColor(theme::WORDS), layout));
                    frame.spawn((ChipPoints(i), Text::new(""), font(theme::TEXT), TextColor(theme::WORDS)));
                });
                let below = Node { justify_content: JustifyContent::Center, ..default() };
                let words =
                    (Text::new(""), font(theme::BADGE), TextColor(theme::FAINT), TextLayout::no_wrap());
                chip.spawn(below).with_child((ChipWay(i), words));
            });
        }
    });
}

/// Builds the corners: what is known of the network, and what has happened.
fn build_corners(commands: &mut Commands) {
    let corner = Node { bottom: px(1), left: px(16), ..absolute() };
    commands.spawn(over(corner)).with_child((
        NetworkText,
        Text::new(""),
        font(theme::SMALL),
        TextColor(theme::FAINT),
    ));
    let corner = Node { bottom: px(1), right: px(16), ..absolute() };
    commands.spawn(over(corner)).with_child((
        FeedText,
        Text::new(""),
        font(theme::SMALL),
        TextColor(theme::WORDS),
        TextLayout::justify(Justify::Right),
    ));
}

/// Builds the card about the network.
fn build_card(commands: &mut Commands) {
    let place =
        Node { bottom: px(58), width: percent(100), justify_content: JustifyContent::Center, ..absolute() };
    let card = Node {
        max_width: px(1120),
        padding: UiRect::axes(px(26), px(14)),
        border: UiRect::all(px(2)),
        border_radius: BorderRadius::all(px(14)),
        ..default()
    };
    let look = (BackgroundColor(theme::PANEL), BorderColor::all(theme::LINE), Visibility::Hidden);
    commands.spawn(over(place)).with_children(|place| {
        place.spawn((Card, card, look)).with_child((
            CardText,
            Text::new(""),
            font(theme::SMALL),
            TextColor(theme::WORDS),
        ));
    });
}

/// Builds the words in the middle.
fn build_announcements(commands: &mut Commands) {
    let middle = Node {
        top: percent(14),
        width: percent(100),
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::Center,
        ..absolute()
    };
    let plate = Node {
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::Center,
        padding: UiRect::axes(px(36), px(8)),
        border_radius: BorderRadius::all(px(18)),
        ..default()
    };
    commands.spawn(over(middle)).with_children(|middle| {
        middle.spawn((Plate, plate, BackgroundColor(Color::NONE))).with_children(|plate| {
            let centre = TextLayout::justify(Justify::Center);
            plate.spawn((Headline, Text::new(""), font(theme::HUGE), TextColor(theme::WORDS), centre));
            plate.spawn((Subline, Text::new(""), font(theme::HEADING), TextColor(theme::WORDS), centre));
        });
    });
}
