//! Keyboard and mouse on pages.

use bevy::clipboard::Clipboard;
use bevy::input::ButtonState;
use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::prelude::*;

use super::draw::{Focus, Numbered, Press, Shown};
use super::form::Form;
use super::page::{Action, Control, Page, Pressed};
use super::{Parting, Screen};
use crate::chat::Chat;
use crate::settings::Act;

/// The mouse focuses what it moves over, and presses what it clicks. What appears under a pointer at rest is not what the
/// player means.
pub(super) fn mouse(
    touched: Query<(Ref<Interaction>, Option<&Numbered>, Option<&Press>)>,
    mut moves: MessageReader<CursorMoved>,
    mut at: Local<Option<Vec2>>,
    mut focus: ResMut<Focus>,
    mut pressed: MessageWriter<Pressed>,
) {
    let before = *at;
    // The first place is where the pointer was when the window opened.
    *at = moves.read().last().map(|moved| moved.position).or(before);
    let moved = before.is_some() && *at != before;
    for (interaction, numbered, press) in &touched {
        let clicked = interaction.is_changed() && *interaction == Interaction::Pressed;
        if let Some(Numbered(number)) = numbered
            && (clicked || moved && *interaction != Interaction::None)
        {
            focus.0 = *number;
        }
        if let Some(Press(action)) = press.filter(|_| clicked) {
            pressed.write(Pressed(action.clone()));
        }
    }
}

/// Tab and arrows move, Enter presses, Escape goes back, letters go into the field in focus.
pub(super) fn keyboard(
    mut keys: MessageReader<KeyboardInput>,
    held: Res<ButtonInput<KeyCode>>,
    screen: Res<State<Screen>>,
    shown: Res<Shown>,
    (mut form, mut chat): (ResMut<Form>, ResMut<Chat>),
    mut focus: ResMut<Focus>,
    mut clipboard: ResMut<Clipboard>,
    mut pressed: MessageWriter<Pressed>,
) {
    let controls = shown.page.as_ref().map(Page::controls).unwrap_or_default();
    if chat.typing.is_some() && !screen.get().has_chat() {
        chat.typing = None;
    }
    let command = held.any_pressed([KeyCode::ControlLeft, KeyCode::ControlRight, KeyCode::SuperLeft]);
    for key in keys.read().filter(|key| key.state == ButtonState::Pressed) {
        let pastes = command && matches!(&key.logical_key, Key::Character(c) if c.eq_ignore_ascii_case("v"));
        if chat.typing.is_some() {
            let copied = if pastes { clipboard.fetch_text().poll_result() } else { None };
            let copied = copied.and_then(Result::ok);
            if let Some(text) = chat.key(key, copied.as_deref().or(pastes.then_some(""))) {
                pressed.write(Pressed(Action::Say(text)));
            }
            continue;
        }
        if let Some(act) = form.awaits_key {
            // A key that cannot be set leaves all as it was.
            form.settings.set_key(act, key.key_code);
            form.awaits_key = None;
            continue;
        }
        if key.logical_key == Key::Escape {
            let action = match screen.get() {
                Screen::Title => continue,
                Screen::Game => Action::Go(Screen::Paused),
                Screen::Sure(_) => Action::Go(Screen::Paused),
                Screen::Connecting | Screen::Lobby | Screen::Trouble => Action::Leave,
                Screen::Over => Action::Go(Screen::Sure(Parting::Leave)),
                _ => Action::Back,
            };
            pressed.write(Pressed(action));
            continue;
        }
        let control = controls.get(focus.0);
        if key.key_code == KeyCode::KeyM
            && !matches!(control, Some(Control::Field(_)))
            && !Act::ALL.iter().any(|act| form.settings.key(*act) == KeyCode::KeyM)
        {
            form.settings.muted = !form.settings.muted;
            continue;
        }
        if opens_chat(key, *screen.get(), control, &form) {
            chat.open();
            continue;
        }
        let Some(control) = control else { continue };
        let step = match key.logical_key {
            Key::Tab if held.pressed(KeyCode::ShiftLeft) || held.pressed(KeyCode::ShiftRight) => -1,
            Key::Tab | Key::ArrowDown => 1,
            Key::ArrowUp => -1,
            _ => 0,
        };
        if step != 0 {
            let count = controls.len() as i64;
            focus.0 = (focus.0 as i64 + step).rem_euclid(count) as usize;
            continue;
        }
        match (control, &key.logical_key) {
            (Control::Field(field), Key::Backspace) => form.erase(*field),
            (Control::Field(_), Key::Enter) => {
                // As in any form: on to the next, which ends at the button.
                focus.0 = (focus.0 + 1) % controls.len();
            }
            (Control::Field(field), _) if pastes => {
                if let Some(Ok(copied)) = clipboard.fetch_text().poll_result() {
                    form.type_in(*field, copied.trim());
                }
            }
            (Control::Field(field), _) => {
                if let Some(typed) = &key.text {
                    form.type_in(*field, typed);
                }
            }
            (Control::Choice(choice), Key::ArrowLeft) => form.change(*choice, -1),
            (Control::Choice(choice), Key::ArrowRight | Key::Enter | Key::Space) => form.change(*choice, 1),
            (Control::Button(action), Key::Enter | Key::Space) => {
                pressed.write(Pressed(action.clone()));
            }
            (Control::Button(_), Key::ArrowRight) => focus.0 = (focus.0 + 1).min(controls.len() - 1),
            (Control::Button(_), Key::ArrowLeft) => focus.0 = focus.0.saturating_sub(1),
            _ => {}
        }
    }
}

/// Returns whether a key opens the entry of the chat: T, where it does nothing else, and in a match Enter, too.
fn opens_chat(key: &KeyboardInput, screen: Screen, control: Option<&Control>, form: &Form) -> bool {
    let free = !matches!(control, Some(Control::Field(_)))
        && !Act::ALL.iter().any(|act| form.settings.key(*act) == KeyCode::KeyT);
    let enter = screen == Screen::Game && key.logical_key == Key::Enter;
    screen.has_chat() && !key.repeat && (enter || free && key.key_code == KeyCode::KeyT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(app: &mut App, at: Vec2) {
        let window = Entity::PLACEHOLDER;
        app.world_mut().write_message(CursorMoved { window, position: at, delta: None });
        app.update();
    }

    #[test]
    fn what_appears_under_a_pointer_at_rest_does_not_take_the_focus() {
        let mut app = App::new();
        app.init_resource::<Focus>()
            .add_message::<CursorMoved>()
            .add_message::<Pressed>()
            .add_systems(Update, mouse);
        let focus = |app: &App| app.world().resource::<Focus>().0;
        point(&mut app, Vec2::new(10.0, 10.0));
        let button = app.world_mut().spawn((Numbered(3), Interaction::Hovered, Press(Action::Quit))).id();
        app.update();
        // The system tells the same place once more, as when a window opens.
        point(&mut app, Vec2::new(10.0, 10.0));
        assert_eq!(focus(&app), 0);
        point(&mut app, Vec2::new(11.0, 10.0));
        assert_eq!(focus(&app), 3, "the player moved it there");
        app.world_mut().resource_mut::<Focus>().0 = 1;
        app.update();
        assert_eq!(focus(&app), 1, "the keyboard has it again");
        app.world_mut().entity_mut(button).insert(Interaction::Pressed);
        app.update();
        assert_eq!(focus(&app), 3);
        let presses: Vec<Pressed> = app.world_mut().resource_mut::<Messages<Pressed>>().drain().collect();
        assert_eq!(presses, [Pressed(Action::Quit)]);
    }

    fn type_key(app: &mut App, key_code: KeyCode, logical_key: Key, text: Option<&str>) -> Vec<Action> {
        let (state, window) = (ButtonState::Pressed, Entity::PLACEHOLDER);
        let text = text.map(Into::into);
        app.world_mut().write_message(KeyboardInput {
            key_code,
            logical_key,
            state,
            text,
            repeat: false,
            window,
        });
        app.update();
        app.world_mut().resource_mut::<Messages<Pressed>>().drain().map(|Pressed(action)| action).collect()
    }

    #[test]
    fn who_types_neither_opens_the_menu_nor_switches_the_sound_off() {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, bevy::state::app::StatesPlugin))
            .insert_state(Screen::Game)
            .init_resource::<ButtonInput<KeyCode>>()
            .init_resource::<Shown>()
            .init_resource::<Form>()
            .init_resource::<Chat>()
            .init_resource::<Focus>()
            .init_resource::<Clipboard>()
            .add_message::<KeyboardInput>()
            .add_message::<Pressed>()
            .add_systems(Update, keyboard);
        let letter = |app: &mut App, code, c: &str| type_key(app, code, Key::Character(c.into()), Some(c));
        assert_eq!(letter(&mut app, KeyCode::KeyT, "t"), []);
        assert_eq!(app.world().resource::<Chat>().typing.as_deref(), Some(""), "the key itself is not typed");
        assert_eq!(letter(&mut app, KeyCode::KeyM, "m"), []);
        assert_eq!(letter(&mut app, KeyCode::KeyT, "t"), []);
        assert!(!app.world().resource::<Form>().settings.muted);
        let said = type_key(&mut app, KeyCode::Enter, Key::Enter, None);
        assert_eq!(said, [Action::Say(String::from("mt"))]);
        assert_eq!(type_key(&mut app, KeyCode::Enter, Key::Enter, None), [], "in a match it opens the entry");
        assert_eq!(type_key(&mut app, KeyCode::Escape, Key::Escape, None), []);
        assert_eq!(app.world().resource::<Chat>().typing, None);
        let menu = type_key(&mut app, KeyCode::Escape, Key::Escape, None);
        assert_eq!(menu, [Action::Go(Screen::Paused)]);
        // A page without chat closes it.
        app.world_mut().resource_mut::<Chat>().open();
        app.insert_state(Screen::Trouble);
        app.update();
        app.update();
        assert_eq!(app.world().resource::<Chat>().typing, None);
    }
}
