//! A gamepad: the left stick walks, the right one aims, A fires, B dashes; in menus the D-pad moves, A presses, B goes back, and
//! Start opens the menu. On Windows and macOS Bevy reads gamepads itself. Its way to do so on Linux wants the headers of libudev,
//! and the game is to build without any: there the crate `evdev` reads `/dev/input`, and tells Bevy what it read.

#[cfg(target_os = "linux")]
mod linux;

use bevy::input::ButtonState;
use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::prelude::*;

use crate::chat::Chat;
use crate::screens::Screen;
use crate::sim::Input;

/// A trigger fires when it is pulled so far, 0..=1.
const PULLED: f32 = 0.4;
/// A stick that is pushed less aims nowhere, 0..=1.
const AIMS: f32 = 0.4;

/// This plugin reads gamepads.
#[derive(Debug)]
pub struct GamepadPlugin;

impl Plugin for GamepadPlugin {
    fn build(&self, app: &mut App) {
        #[cfg(target_os = "linux")]
        app.add_plugins(linux::LinuxPadsPlugin);
        app.add_systems(First, menus);
    }
}

/// What a player does with a gamepad in a match.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PadWish {
    /// It walks there.
    pub walk: Vec2,
    /// It aims there; none: the right stick is at rest.
    pub aim: Option<Vec2>,
    /// It fires.
    pub fire: bool,
    /// It dashes.
    pub dash: bool,
}

impl PadWish {
    /// Returns what is done with this gamepad.
    pub fn of(pad: &Gamepad) -> Self {
        let pulled = |trigger| pad.get(trigger).is_some_and(|pulled| pulled > PULLED);
        Self {
            walk: (pad.left_stick() + pad.dpad()).clamp_length_max(1.0),
            aim: Some(pad.right_stick()).filter(|stick| stick.length() > AIMS),
            fire: pad.any_pressed([GamepadButton::South, GamepadButton::RightTrigger])
                || pulled(GamepadButton::RightTrigger2),
            dash: pad.any_pressed([GamepadButton::East, GamepadButton::LeftTrigger])
                || pulled(GamepadButton::LeftTrigger2),
        }
    }

    /// Adds it to what keyboard and mouse say. Returns where it aims, if it does anything.
    pub fn add_to(self, input: &mut Input) -> Option<Vec2> {
        if self.walk != Vec2::ZERO {
            input.walk_towards(self.walk);
        }
        input.fire |= self.fire;
        input.dash |= self.dash;
        self.aim.or(Some(self.walk).filter(|walk| *walk != Vec2::ZERO))
    }
}

/// Menus are moved through as by keys.
fn menus(
    pads: Query<&Gamepad>,
    (screen, chat): (Res<State<Screen>>, Option<Res<Chat>>),
    mut keys: MessageWriter<KeyboardInput>,
) {
    if chat.is_some_and(|chat| chat.typing.is_some()) {
        // The keys are for the text.
        return;
    }
    let playing = *screen.get() == Screen::Game;
    for pad in &pads {
        for (button, in_match, key, code) in [
            (GamepadButton::DPadUp, false, Key::ArrowUp, KeyCode::ArrowUp),
            (GamepadButton::DPadDown, false, Key::ArrowDown, KeyCode::ArrowDown),
            (GamepadButton::DPadLeft, false, Key::ArrowLeft, KeyCode::ArrowLeft),
            (GamepadButton::DPadRight, false, Key::ArrowRight, KeyCode::ArrowRight),
            (GamepadButton::South, false, Key::Enter, KeyCode::Enter),
            (GamepadButton::East, false, Key::Escape, KeyCode::Escape),
            (GamepadButton::Start, true, Key::Escape, KeyCode::Escape),
        ] {
            if pad.just_pressed(button) && (in_match || !playing) {
                // Pressed and let go at once: no key stays down.
                for state in [ButtonState::Pressed, ButtonState::Released] {
                    let (logical_key, window) = (key.clone(), Entity::PLACEHOLDER);
                    keys.write(KeyboardInput {
                        key_code: code,
                        logical_key,
                        state,
                        text: None,
                        repeat: false,
                        window,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bevy::input::InputPlugin;
    use bevy::input::gamepad::{
        GamepadConnection, GamepadConnectionEvent, RawGamepadAxisChangedEvent, RawGamepadButtonChangedEvent,
        RawGamepadEvent,
    };
    use bevy::state::app::StatesPlugin;

    use super::*;

    /// Returns an app with one gamepad, which tells Bevy what the test says.
    fn app() -> (App, Entity) {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, InputPlugin, StatesPlugin)).init_state::<Screen>();
        app.add_systems(First, menus);
        let pad = app.world_mut().spawn_empty().id();
        let connection =
            GamepadConnection::Connected { name: String::from("pad"), vendor_id: None, product_id: None };
        app.world_mut().write_message(GamepadConnectionEvent::new(pad, connection));
        app.update();
        (app, pad)
    }

    fn turn(app: &mut App, pad: Entity, axis: GamepadAxis, value: f32) {
        let event = RawGamepadAxisChangedEvent::new(pad, axis, value);
        app.world_mut().write_message(RawGamepadEvent::from(event));
    }

    fn push(app: &mut App, pad: Entity, button: GamepadButton, value: f32) {
        let event = RawGamepadButtonChangedEvent::new(pad, button, value);
        app.world_mut().write_message(RawGamepadEvent::from(event));
    }

    #[test]
    fn sticks_walk_and_aim_and_buttons_fire_and_dash() {
        let (mut app, pad) = app();
        let wish = |app: &App| PadWish::of(app.world().get::<Gamepad>(pad).unwrap());
        assert_eq!(wish(&app), PadWish::default());
        turn(&mut app, pad, GamepadAxis::LeftStickX, 1.0);
        turn(&mut app, pad, GamepadAxis::RightStickY, -0.9);
        push(&mut app, pad, GamepadButton::RightTrigger2, 1.0);
        push(&mut app, pad, GamepadButton::East, 1.0);
        app.update();
        let seen = wish(&app);
        assert!(seen.walk.x > 0.9 && seen.fire && seen.dash, "{seen:?}");
        assert!(seen.aim.is_some_and(|aim| aim.y < -0.5), "{seen:?}");
        let mut input = Input::default();
        assert!(seen.add_to(&mut input).is_some_and(|aim| aim.y < -0.5), "the right stick aims");
        assert!(input.walk.0 > 100 && input.fire && input.dash, "{input:?}");
        push(&mut app, pad, GamepadButton::East, 0.0);
        push(&mut app, pad, GamepadButton::RightTrigger2, 0.0);
        app.update();
        assert!(!wish(&app).dash && !wish(&app).fire);
    }

    #[test]
    fn in_menus_it_is_a_keyboard_and_in_a_match_start_alone_is() {
        let (mut app, pad) = app();
        let typed = |app: &mut App, button| {
            push(app, pad, button, 1.0);
            app.update();
            app.world_mut().resource_mut::<Messages<KeyboardInput>>().clear();
            app.update();
            let keys: Vec<_> = app.world_mut().resource_mut::<Messages<KeyboardInput>>().drain().collect();
            push(app, pad, button, 0.0);
            app.update();
            let down = app.world().resource::<ButtonInput<KeyCode>>().get_pressed().count();
            assert_eq!(down, 0, "no key stays down");
            keys.first().map(|key| key.logical_key.clone())
        };
        assert_eq!(typed(&mut app, GamepadButton::DPadDown), Some(Key::ArrowDown));
        assert_eq!(typed(&mut app, GamepadButton::South), Some(Key::Enter));
        assert_eq!(typed(&mut app, GamepadButton::East), Some(Key::Escape));
        app.insert_state(Screen::Game);
        app.update();
        assert_eq!(typed(&mut app, GamepadButton::South), None, "it fires");
        assert_eq!(typed(&mut app, GamepadButton::Start), Some(Key::Escape));
        let mut chat = Chat::default();
        chat.open();
        app.insert_resource(chat);
        assert_eq!(typed(&mut app, GamepadButton::Start), None, "the player types");
    }
}
