//! Gamepads of Linux: their events out of `/dev/input`, told to Bevy as its own plugin would. Systems let whoever sits at the
//! machine read gamepads; devices that may not be read are passed over.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use bevy::input::gamepad::{
    GamepadConnection, GamepadConnectionEvent, RawGamepadAxisChangedEvent, RawGamepadButtonChangedEvent,
    RawGamepadEvent,
};
use bevy::prelude::*;
use evdev::{AbsoluteAxisCode as Abs, Device, EventSummary, KeyCode as Key};

/// New gamepads are looked for so often.
const LOOK: Duration = Duration::from_secs(2);

pub(super) struct LinuxPadsPlugin;

impl Plugin for LinuxPadsPlugin {
    fn build(&self, app: &mut App) {
        // Before Bevy takes the events in, in `PreUpdate`.
        app.init_resource::<Pads>().add_systems(First, (look, read).chain());
    }
}

/// A gamepad that is open.
struct Pad {
    entity: Entity,
    device: Device,
    /// This is the range of each axis.
    ranges: BTreeMap<u16, (i32, i32)>,
}

#[derive(Resource, Default)]
struct Pads {
    looked: Option<Duration>,
    /// These were looked at; none: it is no gamepad.
    known: BTreeMap<PathBuf, Option<Pad>>,
}

fn open(path: &PathBuf, commands: &mut Commands) -> Option<Pad> {
    let device = Device::open(path).ok()?;
    device.supported_keys().filter(|keys| keys.contains(Key::BTN_SOUTH))?;
    device.set_nonblocking(true).ok()?;
    let ranges = device.get_absinfo().ok()?.map(|(axis, info)| (axis.0, (info.minimum(), info.maximum())));
    let ranges = ranges.collect();
    Some(Pad { entity: commands.spawn_empty().id(), device, ranges })
}

fn look(
    time: Res<Time<Real>>,
    mut pads: ResMut<Pads>,
    mut commands: Commands,
    mut connections: MessageWriter<GamepadConnectionEvent>,
) {
    if pads.looked.is_some_and(|at| time.elapsed() < at + LOOK) {
        return;
    }
    pads.looked = Some(time.elapsed());
    let folder = fs::read_dir("/dev/input").into_iter().flatten().flatten();
    let events = folder.filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    let there: Vec<PathBuf> = events.map(|entry| entry.path()).collect();
    // What is plugged in anew may have the same path.
    pads.known.retain(|path, pad| pad.is_some() || there.contains(path));
    for path in there {
        if pads.known.contains_key(&path) {
            continue;
        }
        let pad = open(&path, &mut commands);
        if let Some(pad) = &pad {
            let id = pad.device.input_id();
            let connection = GamepadConnection::Connected {
                name: pad.device.name().unwrap_or("gamepad").to_owned(),
                vendor_id: Some(id.vendor()),
                product_id: Some(id.product()),
            };
            connections.write(GamepadConnectionEvent::new(pad.entity, connection));
        }
        pads.known.insert(path, pad);
    }
}

fn read(
    mut pads: ResMut<Pads>,
    mut events: MessageWriter<RawGamepadEvent>,
    mut connections: MessageWriter<GamepadConnectionEvent>,
) {
    pads.known.retain(|_, pad| {
        let Some(Pad { entity, device, ranges }) = pad else { return true };
        match device.fetch_events() {
            Ok(fresh) => {
                for event in fresh {
                    match event.destructure() {
                        EventSummary::Key(_, key, value) => {
                            events.write_batch(button(*entity, key, value));
                        }
                        EventSummary::AbsoluteAxis(_, axis, value) => {
                            let range = ranges.get(&axis.0).copied().unwrap_or((-1, 1));
                            events.write_batch(moved(*entity, axis, value, range));
                        }
                        _ => {}
                    }
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(_) => {
                // It was unplugged.
                connections.write(GamepadConnectionEvent::new(*entity, GamepadConnection::Disconnected));
                false
            }
        }
    });
}

/// Returns the event of a button as the kernel tells it.
fn button(pad: Entity, key: Key, value: i32) -> Option<RawGamepadEvent> {
    let button = match key {
        Key::BTN_SOUTH => GamepadButton::South,
        Key::BTN_EAST => GamepadButton::East,
        Key::BTN_NORTH => GamepadButton::North,
        Key::BTN_WEST => GamepadButton::West,
        Key::BTN_TL => GamepadButton::LeftTrigger,
        Key::BTN_TR => GamepadButton::RightTrigger,
        Key::BTN_TL2 => GamepadButton::LeftTrigger2,
        Key::BTN_TR2 => GamepadButton::RightTrigger2,
        Key::BTN_SELECT => GamepadButton::Select,
        Key::BTN_START => GamepadButton::Start,
        Key::BTN_DPAD_UP => GamepadButton::DPadUp,
        Key::BTN_DPAD_DOWN => GamepadButton::DPadDown,
        Key::BTN_DPAD_LEFT => GamepadButton::DPadLeft,
        Key::BTN_DPAD_RIGHT => GamepadButton::DPadRight,
        _ => return None,
    };
    let value = f32::from(u8::from(value != 0));
    Some(RawGamepadButtonChangedEvent::new(pad, button, value).into())
}

/// Returns the events of an axis in its range: sticks are axes, triggers and the cross are buttons to Bevy.
fn moved(pad: Entity, axis: Abs, value: i32, (low, high): (i32, i32)) -> Vec<RawGamepadEvent> {
    let whole = (f64::from(high) - f64::from(low)).max(1.0);
    let share = ((f64::from(value) - f64::from(low)) / whole).clamp(0.0, 1.0) as f32;
    let stick = |axis, value| vec![RawGamepadAxisChangedEvent::new(pad, axis, value).into()];
    let pressed = |button, value| RawGamepadButtonChangedEvent::new(pad, button, value).into();
    let cross = |less, more| {
        let held = |held: bool| f32::from(u8::from(held));
        vec![pressed(less, held(share < 0.25)), pressed(more, held(share > 0.75))]
    };
    let along = share * 2.0 - 1.0;
    match axis {
        Abs::ABS_X => stick(GamepadAxis::LeftStickX, along),
        // The kernel's axes go down.
        Abs::ABS_Y => stick(GamepadAxis::LeftStickY, -along),
        Abs::ABS_RX => stick(GamepadAxis::RightStickX, along),
        Abs::ABS_RY => stick(GamepadAxis::RightStickY, -along),
        Abs::ABS_Z => vec![pressed(GamepadButton::LeftTrigger2, share)],
        Abs::ABS_RZ => vec![pressed(GamepadButton::RightTrigger2, share)],
        Abs::ABS_HAT0X => cross(GamepadButton::DPadLeft, GamepadButton::DPadRight),
        Abs::ABS_HAT0Y => cross(GamepadButton::DPadUp, GamepadButton::DPadDown),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_become_bevys() {
        let pad = Entity::PLACEHOLDER;
        let axis = |axis, value| RawGamepadEvent::from(RawGamepadAxisChangedEvent::new(pad, axis, value));
        let press =
            |button, value| RawGamepadEvent::from(RawGamepadButtonChangedEvent::new(pad, button, value));
        let xbox = (-32_768, 32_767);
        assert_eq!(moved(pad, Abs::ABS_X, 32_767, xbox), [axis(GamepadAxis::LeftStickX, 1.0)]);
        assert_eq!(moved(pad, Abs::ABS_Y, -32_768, xbox), [axis(GamepadAxis::LeftStickY, 1.0)]);
        assert_eq!(moved(pad, Abs::ABS_RZ, 255, (0, 255)), [press(GamepadButton::RightTrigger2, 1.0)]);
        let cross = moved(pad, Abs::ABS_HAT0X, -1, (-1, 1));
        assert_eq!(cross, [press(GamepadButton::DPadLeft, 1.0), press(GamepadButton::DPadRight, 0.0)]);
        let rest = moved(pad, Abs::ABS_HAT0X, 0, (-1, 1));
        assert_eq!(rest, [press(GamepadButton::DPadLeft, 0.0), press(GamepadButton::DPadRight, 0.0)]);
        assert_eq!(button(pad, Key::BTN_SOUTH, 1), Some(press(GamepadButton::South, 1.0)));
        assert_eq!(button(pad, Key::KEY_A, 1), None);
        // A broken device tells nonsense.
        assert_eq!(moved(pad, Abs::ABS_X, i32::MAX, (5, 5)), [axis(GamepadAxis::LeftStickX, 1.0)]);
    }
}
