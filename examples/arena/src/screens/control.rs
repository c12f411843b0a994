//! Keyboard and mouse on pages.

use bevy::input::ButtonState;
use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::prelude::*;

use super::Screen;
use super::draw::{Focus, Numbered, Press, Shown};
use super::form::Form;
use super::page::{Action, Control, Page, Pressed};

/// The mouse focuses what it is over and presses what it clicks.
pub(super) fn mouse(
    touched: Query<(&Interaction, Option<&Numbered>, Option<&Press>), Changed<Interaction>>,
    mut focus: ResMut<Focus>,
    mut pressed: MessageWriter<Pressed>,
) {
    for (interaction, numbered, press) in &touched {
        if let (Interaction::Hovered | Interaction::Pressed, Some(Numbered(number))) = (interaction, numbered)
        {
            focus.0 = *number;
        }
        if let (Interaction::Pressed, Some(Press(action))) = (interaction, press) {
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
    mut pressed: MessageWriter<Pressed>,
) {
    let controls = shown.page.as_ref().map(Page::controls).unwrap_or_default();
    for key in keys.read().filter(|key| key.state == ButtonState::Pressed) {
        if key.logical_key == Key::Escape {
            let action = match screen.get() {
                Screen::Title => continue,
                Screen::Game => Action::Go(Screen::Paused),
                Screen::Connecting | Screen::Lobby | Screen::Trouble => Action::Leave,
                _ => Action::Back,
            };
            pressed.write(Pressed(action));
            continue;
        }
        let Some(control) = controls.get(focus.0) else { continue };
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
