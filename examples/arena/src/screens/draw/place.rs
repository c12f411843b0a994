//! Puts a page on the screen, item by item.

use bevy::prelude::*;
use bevy::text::FontSize;

use super::super::page::{Action, Item, Page, Tone};
use super::super::picture;
use super::{Numbered, Press, Typed, UiPictures};
use crate::network::Light;
use crate::theme;

/// So many letters of what is being typed are shown: the last ones.
const TAIL: usize = 52;

/// Puts a page on the screen. Returns its root.
pub(super) fn draw(commands: &mut Commands, page: &Page, pictures: &UiPictures, veil: f32) -> Entity {
    let screen = Node {
        width: percent(100),
        height: percent(100),
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Center,
        ..default()
    };
    let panel = Node {
        width: px(page.width),
        max_width: percent(96),
        max_height: percent(97),
        flex_direction: FlexDirection::Column,
        row_gap: px(14),
        padding: UiRect::axes(px(40), px(30)),
        border: UiRect::all(px(2)),
        border_radius: BorderRadius::all(px(18)),
        ..default()
    };
    let mut placer = Placer { pictures, next: 0, close: false };
    let back = BackgroundColor(theme::NIGHT.with_alpha(veil));
    commands
        .spawn((screen, back, GlobalZIndex(10)))
        .with_children(|screen| {
            let look = (BackgroundColor(theme::PANEL), BorderColor::all(theme::LINE));
            screen.spawn((panel, look)).with_children(|panel| {
                for item in &page.items {
                    placer.place(panel, item, false);
                }
            });
        })
        .id()
}

/// Returns a text in one of the tones.
fn words(tone: Tone, text: &str) -> impl Bundle {
    let (size, colour) = match tone {
        Tone::Heading => (theme::HEADING, theme::WORDS),
        Tone::Plain => (theme::TEXT, theme::WORDS),
        Tone::Faint => (theme::SMALL, theme::FAINT),
        Tone::Good => (theme::TEXT, theme::GOOD),
        Tone::Bad => (theme::TEXT, theme::BAD),
        Tone::Player(player) => (theme::TEXT, theme::colour(player)),
        Tone::Code => (theme::HEADING, theme::ACCENT),
    };
    let font = TextFont { font_size: FontSize::Px(size), ..default() };
    (Text::new(text), font, TextColor(colour), TextLayout::linebreak(LineBreak::WordOrCharacter))
}

/// Puts the items of a page on the screen, one after the other.
struct Placer<'a> {
    pictures: &'a UiPictures,
    /// The next control gets this number.
    next: usize,
    /// Items stand close together.
    close: bool,
}

impl Placer<'_> {
    fn number(&mut self) -> Numbered {
        self.next += 1;
        Numbered(self.next - 1)
    }

    /// Places one item; with `shared` it shares a row with others.
    fn place(&mut self, parent: &mut ChildSpawnerCommands, item: &Item, shared: bool) {
        match item {
            Item::Logo => {
                let node =
                    Node { width: px(560), height: px(146), align_self: AlignSelf::Center, ..default() };
                let image = ImageNode { color: theme::ACCENT, ..ImageNode::new(self.pictures.logo.clone()) };
                parent.spawn((node, image));
            }
            Item::Text(Tone::Code, text) if shared => {
                // A code is read out: it stands in one line.
                let node = Node { align_self: AlignSelf::Center, flex_shrink: 0.0, ..default() };
                parent.spawn((node, words(Tone::Code, text))).insert(TextLayout::no_wrap());
            }
            Item::Text(Tone::Heading, text) if shared => {
                let node = Node { align_self: AlignSelf::Center, ..share(true) };
                parent.spawn((node, words(Tone::Heading, text))).insert(TextLayout::no_wrap());
            }
            Item::Text(tone, text) => {
                let align_self = if shared { AlignSelf::Center } else { AlignSelf::Auto };
                parent.spawn((Node { align_self, ..share(shared) }, words(*tone, text)));
            }
            Item::Light(light, text) => {
                let colour = match light {
                    Light::Green => theme::GOOD,
                    Light::Amber => theme::DETOUR,
                    Light::Red => theme::BAD,
                    Light::Grey => theme::FAINT.with_alpha(0.5),
                };
                let row = Node { column_gap: px(12), align_items: AlignItems::Center, ..default() };
                parent.spawn(row).with_children(|row| {
                    let lamp = Node {
                        width: px(18),
                        height: px(18),
                        flex_shrink: 0.0,
                        border_radius: BorderRadius::MAX,
                        ..default()
                    };
                    row.spawn((lamp, BackgroundColor(colour)));
                    row.spawn(words(Tone::Faint, text));
                });
            }
            Item::Picture(shown) => picture::place(parent, shown),
            Item::Gap => {
                parent.spawn(Node { height: px(8), ..default() });
            }
            Item::Column(items) => {
                let node = Node { row_gap: px(5), flex_direction: FlexDirection::Column, ..default() };
                self.close = true;
                parent.spawn(node).with_children(|column| {
                    for item in items {
                        self.place(column, item, false);
                    }
                });
                self.close = false;
            }
            Item::Chat(lines, typing) => written(parent, lines, typing.as_deref()),
            Item::Row(items) => {
                let node = Node { column_gap: px(16), width: percent(100), ..default() };
                parent.spawn(node).with_children(|row| {
                    for item in items {
                        self.place(row, item, true);
                    }
                });
            }
            Item::Button(text, action, enabled) => {
                let action = enabled.then_some(action);
                self.button(parent, text, action, shared);
            }
            Item::Field(field, label, hint) => {
                let numbered = self.number();
                let typed = Typed { number: numbered.0, field: *field, hint };
                parent.spawn(labelled(shared)).with_children(|outer| {
                    outer.spawn(words(Tone::Faint, label));
                    let look = (BackgroundColor(theme::NIGHT), BorderColor::all(theme::LINE));
                    outer.spawn((Button, framed(), look, numbered)).with_children(|frame| {
                        frame.spawn((words_no_wrap(), typed));
                    });
                });
            }
            Item::Choice(choice, label, value) => {
                let numbered = self.number();
                parent.spawn(labelled(shared)).with_children(|outer| {
                    outer.spawn(words(Tone::Faint, label));
                    let look = (BackgroundColor(theme::CONTROL), BorderColor::all(theme::LINE));
                    let frame = Node { justify_content: JustifyContent::SpaceBetween, ..framed() };
                    outer.spawn((Button, frame, look, numbered)).with_children(|frame| {
                        for (text, by) in [("<", -1), (">", 1)] {
                            if by > 0 {
                                frame.spawn(words(Tone::Plain, value)).insert(TextLayout::no_wrap());
                            }
                            let node = Node { padding: UiRect::horizontal(px(16)), ..default() };
                            let press = Press(Action::Change(*choice, by));
                            frame.spawn((Button, node, press)).with_child(words(Tone::Plain, text));
                        }
                    });
                });
            }
            Item::Line(tone, left, right, presses) => self.line(parent, (*tone, left), right, presses),
        }
    }

    /// Places a button; without an action it cannot be pressed.
    fn button(
        &mut self,
        parent: &mut ChildSpawnerCommands,
        text: &str,
        action: Option<&Action>,
        shared: bool,
    ) {
        let node = Node {
            justify_content: JustifyContent::Center,
            padding: UiRect::axes(px(18), px(11)),
            border: UiRect::all(px(2)),
            border_radius: BorderRadius::all(px(10)),
            ..share(shared)
        };
        if let Some(action) = action {
            let look = (BackgroundColor(theme::CONTROL), BorderColor::all(theme::LINE));
            let mut button = parent.spawn((Button, node, look, self.number(), Press(action.clone())));
            button.with_child(words(Tone::Plain, text));
        } else {
            let look = (BackgroundColor(theme::DISABLED), BorderColor::all(theme::DISABLED));
            parent.spawn((node, look)).with_child(words(Tone::Faint, text));
        }
    }

    /// Places a framed line of a list, with its small buttons.
    fn line(
        &mut self,
        parent: &mut ChildSpawnerCommands,
        (tone, left): (Tone, &str),
        right: &str,
        presses: &[(String, Action)],
    ) {
        let node = Node {
            column_gap: px(16),
            align_items: AlignItems::Center,
            padding: UiRect::axes(px(16), px(if self.close { 2 } else { 6 })),
            min_height: px(if self.close { 40 } else { 44 }),
            border_radius: BorderRadius::all(px(8)),
            ..default()
        };
        parent.spawn((node, BackgroundColor(theme::NIGHT.with_alpha(0.6)))).with_children(|line| {
            let grow = Node { flex_grow: 1.0, flex_basis: px(0), overflow: Overflow::clip(), ..default() };
            line.spawn((grow, words(tone, left))).insert(TextLayout::no_wrap());
            line.spawn(words(Tone::Faint, right));
            for (text, action) in presses {
                let node = Node {
                    padding: UiRect::axes(px(14), px(3)),
                    border: UiRect::all(px(2)),
                    border_radius: BorderRadius::all(px(8)),
                    ..default()
                };
                let look = (BackgroundColor(theme::CONTROL), BorderColor::all(theme::LINE));
                line.spawn((Button, node, look, self.number(), Press(action.clone())))
                    .with_child(words(Tone::Faint, text));
            }
        });
    }
}

/// Places the latest lines of the chat, and below them what is being typed, or how to begin.
fn written(parent: &mut ChildSpawnerCommands, lines: &[(Tone, String, String)], typing: Option<&str>) {
    let column = Node { flex_direction: FlexDirection::Column, row_gap: px(3), ..default() };
    // A long text takes several rows; the oldest go out at the top.
    let above = Node {
        max_height: px(2.0 * theme::SMALL * 1.2),
        flex_direction: FlexDirection::Column,
        justify_content: JustifyContent::FlexEnd,
        overflow: Overflow::clip(),
        ..default()
    };
    parent.spawn(column).with_children(|column| {
        column.spawn(above).with_children(|above| {
            for (tone, name, text) in lines {
                let named = !name.is_empty();
                let (name, text) =
                    if named { (name.as_str(), format!(": {text}")) } else { ("", text.clone()) };
                let small = TextFont { font_size: FontSize::Px(theme::SMALL), ..default() };
                let tint = if named { theme::WORDS } else { theme::DETOUR };
                let node = Node { flex_shrink: 0.0, ..default() };
                above.spawn((node, words(*tone, name))).insert(small.clone()).with_child((
                    TextSpan::new(text),
                    small,
                    TextColor(tint),
                ));
            }
        });
        let (tone, words_below) = match typing {
            Some(typing) => {
                let skip = typing.chars().count().saturating_sub(TAIL);
                let tail: String = typing.chars().skip(skip).collect();
                (Tone::Plain, format!("Say: {tail}_"))
            }
            None => (Tone::Faint, String::from("T: write to all in the room")),
        };
        let small = TextFont { font_size: FontSize::Px(theme::SMALL), ..default() };
        column.spawn(words(tone, &words_below)).insert((small, TextLayout::no_wrap()));
    });
}

/// Returns a node that takes its share of a row, if it is in one.
fn share(shared: bool) -> Node {
    Node {
        flex_grow: if shared { 1.0 } else { 0.0 },
        flex_basis: if shared { px(0) } else { auto() },
        ..default()
    }
}

/// Returns a node for a label with something below it.
fn labelled(shared: bool) -> Node {
    Node { flex_direction: FlexDirection::Column, row_gap: px(5), ..share(shared) }
}

fn framed() -> Node {
    Node {
        height: px(54), // also while the text is empty
        align_items: AlignItems::Center,
        padding: UiRect::axes(px(14), px(0)),
        border: UiRect::all(px(2)),
        border_radius: BorderRadius::all(px(10)),
        overflow: Overflow::clip(),
        ..default()
    }
}

fn words_no_wrap() -> impl Bundle {
    let font = TextFont { font_size: FontSize::Px(theme::TEXT), ..default() };
    (Text::new(""), font, TextColor(theme::WORDS), TextLayout::no_wrap())
}
