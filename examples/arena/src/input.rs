//! Keyboard, mouse and gamepad of the player who sits here.

use bevy::prelude::*;

use crate::chat::Chat;
use crate::gamepad::PadWish;
use crate::net::systems::Wish;
use crate::scene::Scene;
use crate::screens::Screen;
use crate::settings::{Act, Settings};
use crate::sim::{Input, aim_of};
use crate::view::StageCamera;

/// After so many seconds without the mouse, the ship looks where it goes: for playing on the keyboard alone.
const MOUSE: f32 = 3.0;

/// Reads keyboard, mouse and gamepads.
#[derive(Debug)]
pub struct InputPlugin;

impl Plugin for InputPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(PreUpdate, read.after(bevy::input::InputSystems));
    }
}

fn read(
    time: Res<Time>,
    keys: Res<ButtonInput<KeyCode>>,
    (buttons, pads): (Res<ButtonInput<MouseButton>>, Query<&Gamepad>),
    (settings, chat): (Option<Res<Settings>>, Res<Chat>),
    screen: Res<State<Screen>>,
    scene: Res<Scene>,
    windows: Query<&Window>,
    camera: Query<(&Camera, &GlobalTransform), With<StageCamera>>,
    mut wish: ResMut<Wish>,
    mut mouse: Local<(Vec2, f32)>,
) {
    // Who types does not steer.
    if *screen.get() != Screen::Game || chat.typing.is_some() {
        wish.0 = Input { aim: wish.0.aim, ..Input::default() };
        return;
    }
    let key =
        |act| settings.as_ref().map_or_else(|| Settings::default().key(act), |settings| settings.key(act));
    let held = |act, also| f32::from(u8::from(keys.any_pressed([key(act), also])));
    let direction = Vec2::new(
        held(Act::Right, KeyCode::ArrowRight) - held(Act::Left, KeyCode::ArrowLeft),
        held(Act::Up, KeyCode::ArrowUp) - held(Act::Down, KeyCode::ArrowDown),
    );
    let mut input = Input { aim: wish.0.aim, ..Input::default() };
    input.walk_towards(direction);
    input.fire =
        buttons.pressed(MouseButton::Left) || keys.any_pressed([key(Act::Fire), KeyCode::ControlLeft]);
    input.dash =
        buttons.pressed(MouseButton::Right) || keys.any_pressed([key(Act::Dash), KeyCode::ShiftLeft]);
    let pad_aim = pads.iter().filter_map(|pad| PadWish::of(pad).add_to(&mut input)).last();
    if let Some(aim) = pad_aim {
        // It is in the player's hands, and the mouse is not.
        mouse.1 = -MOUSE;
        input.aim = aim_of(aim);
    }
    let cursor = windows.single().ok().and_then(Window::cursor_position);
    if let Some(cursor) = cursor
        && (cursor != mouse.0 || buttons.pressed(MouseButton::Left))
    {
        *mouse = (cursor, time.elapsed_secs());
    }
    let recent = time.elapsed_secs() - mouse.1 < MOUSE && cursor.is_some();
    if recent {
        let there = camera
            .single()
            .ok()
            .zip(cursor)
            .and_then(|((camera, eye), cursor)| camera.viewport_to_world_2d(eye, cursor).ok());
        if let (Some(there), Some(me)) = (there, scene.me()) {
            input.aim = aim_of(there - me.at);
        }
    } else if direction != Vec2::ZERO && pad_aim.is_none() {
        input.aim = aim_of(direction);
    }
    wish.0 = input;
}
