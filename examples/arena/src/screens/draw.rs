//! Turns pages into Bevy UI. A page is drawn anew only when it has changed.

use bevy::prelude::*;
use bevy::text::FontSize;

use super::form::Form;
use super::navigate::TroubleText;
use super::page::{Action, Control, Field, Item, Page, Tone};
use super::{Screen, pages, picture};
use crate::network::Light;
use crate::scene::Scene;
use crate::session::{Goal, Session};
use crate::theme;

/// The keyboard means the control with this number.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub struct Focus(pub usize);

/// This is the page on the screen.
#[derive(Resource, Debug, Default)]
pub(super) struct Shown {
    pub(super) screen: Option<Screen>,
    pub(super) page: Option<Page>,
    root: Option<Entity>,
}

/// This is a control on the screen, by its number in [`Page::controls`].
#[derive(Component, Clone, Copy, Debug)]
pub(super) struct Numbered(pub(super) usize);

/// This is a small button that moves a choice.
#[derive(Component, Clone, Debug)]
pub(super) struct Press(pub(super) Action);

/// This is the text of a field, with what it shows while empty.
#[derive(Component, Clone, Copy, Debug)]
pub(super) struct Typed {
    number: usize,
    field: Field,
    hint: &'static str,
}

/// These are the pictures of the UI.
#[derive(Resource, Clone, Debug)]
pub struct UiPictures {
    logo: Handle<Image>,
}

pub(super) fn load(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let logo = crate::view::picture(include_bytes!("../../../../assets/logo.png"));
    commands.insert_resource(UiPictures { logo: images.add(logo) });
}

/// Has all text set in a font with many scripts: names are written in any.
pub(super) fn set_font(mut fonts: ResMut<Assets<Font>>) {
    let font = Font::from_bytes(include_bytes!("../../../../assets/DejaVuSans.ttf").to_vec());
    if let Err(error) = fonts.insert(AssetId::default(), font) {
        warn!("the game's font cannot be used: {error}");
    }
}

/// Everything grows with the window.
pub(super) fn scale(windows: Query<&Window>, mut scale: ResMut<UiScale>) {
    let Ok(window) = windows.single() else { return };
    let wanted = (window.size() / theme::DESIGN).min_element().clamp(0.25, 8.0);
    if (scale.0 - wanted).abs() > 1e-3 {
        scale.0 = wanted;
    }
}

pub(super) fn refresh(
    mut commands: Commands,
    screen: Res<State<Screen>>,
    form: Res<Form>,
    session: Res<Session>,
    goal: Res<Goal>,
    scene: Res<Scene>,
    trouble: Res<TroubleText>,
    pictures: Option<Res<UiPictures>>,
    mut shown: ResMut<Shown>,
    mut focus: ResMut<Focus>,
) {
    let Some(pictures) = pictures else { return };
    let page = pages::page(*screen.get(), &form, &session, &goal, &scene, &trouble);
    let controls = page.as_ref().map(Page::controls).unwrap_or_default();
    if shown.screen != Some(*screen.get()) {
        focus.0 = first(&controls);
    } else if shown.page == page {
        return;
    } else {
        // Others come and go; the focus stays on what it was.
        let before = shown.page.as_ref().map(Page::controls).unwrap_or_default();
        let same = before.get(focus.0).and_then(|control| controls.iter().position(|c| c == control));
        focus.0 = same.unwrap_or_else(|| first(&controls));
    }
    shown.screen = Some(*screen.get());
    if let Some(root) = shown.root.take() {
        commands.entity(root).despawn();
    }
    if let Some(page) = &page {
        let veil = if matches!(screen.get(), Screen::Paused | Screen::Sure(_)) { 0.35 } else { 0.25 };
        shown.root = Some(draw(&mut commands, page, &pictures, veil));
    }
    shown.page = page;
}

/// Returns where the focus is when a screen opens: it is on what most players want next.
fn first(controls: &[Control]) -> usize {
    let opens = controls.contains(&Control::Button(Action::OpenRoom));
    // A password is what is wanted next only where the last one was wrong.
    let again = controls.contains(&Control::Button(Action::Retry));
    let likely = |control: &Control| match control {
        Control::Button(
            Action::QuickPlay
            | Action::Begin
            | Action::Ready(_)
            | Action::Retry
            | Action::Enter { watch: false, .. },
        )
        | Control::Field(Field::Code) => !opens,
        Control::Field(Field::Password) => again,
        _ => false,
    };
    let harmless = |control: &Control| !matches!(control, Control::Button(Action::Kick(_) | Action::Copy(_)));
    controls.iter().position(likely).or_else(|| controls.iter().position(harmless)).unwrap_or(0)
}

fn draw(commands: &mut Commands, page: &Page, pictures: &UiPictures, veil: f32) -> Entity {
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
    let mut placer = Placer { pictures, next: 0 };
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
            padding: UiRect::axes(px(16), px(6)),
            min_height: px(44),
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

/// Updates the focus and the texts that are being typed, without drawing anew.
pub(super) fn highlight(
    time: Res<Time>,
    focus: Res<Focus>,
    form: Res<Form>,
    shown: Res<Shown>,
    mut borders: Query<(&Numbered, &mut BorderColor)>,
    mut typed: Query<(&Typed, &mut Text, &mut TextColor)>,
) {
    for (Numbered(number), mut border) in &mut borders {
        let wanted = if *number == focus.0 { theme::ACCENT } else { theme::LINE };
        border.set_if_neq(BorderColor::all(wanted));
    }
    let controls = shown.page.as_ref().map(Page::controls).unwrap_or_default();
    for (place, mut text, mut colour) in &mut typed {
        let value = form.text(place.field);
        let focused = focus.0 == place.number && matches!(controls.get(focus.0), Some(Control::Field(_)));
        // The end of a long text is what is being typed.
        let long = value.chars().count().saturating_sub(22);
        let tail: String = value.chars().skip(long).collect();
        let caret = if focused && time.elapsed_secs().fract() < 0.6 { "_" } else { "" };
        let (wanted, tint) = match (value.is_empty(), focused) {
            (true, false) => (place.hint.to_owned(), theme::FAINT.with_alpha(0.5)),
            _ => (format!("{tail}{caret}"), theme::WORDS),
        };
        if text.0 != wanted {
            text.0 = wanted;
        }
        colour.set_if_neq(TextColor(tint));
    }
}
