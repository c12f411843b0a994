//! Turns pages into Bevy UI. A page is drawn anew only when it has changed.

mod place;

use bevy::prelude::*;

use self::place::draw;
use super::form::Form;
use super::navigate::TroubleText;
use super::page::{Action, Control, Field, Page};
use super::{Screen, pages};
use crate::chat::Chat;
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
    (pictures, chat): (Option<Res<UiPictures>>, Res<Chat>),
    mut shown: ResMut<Shown>,
    mut focus: ResMut<Focus>,
) {
    let Some(pictures) = pictures else { return };
    let page = pages::page(*screen.get(), &form, &session, &goal, &scene, &trouble, &chat);
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
            | Action::FindPlayers
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
