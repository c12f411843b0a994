//! Keyboard and mouse on pages.

use bevy::clipboard::Clipboard;
use bevy::input::ButtonState;
use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::prelude::*;

use super::draw::{Focus, Numbered, Press, Shown};
use super::form::Form;
use super::page::{Action, Control, Page, Pressed};
use super::{Parting, Screen};
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
    mut form: ResMut<Form>,
    mut focus: ResMut<Focus>,
    mut clipboard: ResMut<Clipboard>,
    mut pressed: MessageWriter<Pressed>,
) {
    let controls = shown.page.as_ref().map(Page::controls).unwrap_or_default();
    for key in keys.read().filter(|key| key.state == ButtonState::Pressed) {
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
            (Control::Field(field), Key::Character(c))
                if c.eq_ignore_ascii_case("v")
                    && held.any_pressed([
                        KeyCode::ControlLeft,
                        KeyCode::ControlRight,
                        KeyCode::SuperLeft,
                    ]) =>
            {
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
}
