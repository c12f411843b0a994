//! What each part of the picture costs: frames with and without it take turns, and what is counted is the time of the processors, so
//! that whatever else the machine does matters little.

use std::fs::{self, DirEntry};
use std::io;
use std::time::{Duration, Instant};

use bevy::camera::visibility::VisibilitySystems;
use bevy::prelude::*;

use super::WARM_UP;
use crate::view::Layer;

/// So many frames in a row leave out the same part.
const SLICE: u32 = 12;
/// The first ones of them are not counted: a frame is drawn while the next one is worked out.
const UNSETTLED: u32 = 4;

/// This is left out of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Omitted {
    Nothing,
    Layer(Layer),
    Interface,
    All,
}

impl Omitted {
    fn every() -> Vec<Self> {
        let layers = Layer::ALL.map(Self::Layer);
        [&[Self::Nothing][..], &layers, &[Self::Interface, Self::All]].concat()
    }

    fn leaves_out(self, layer: Layer) -> bool {
        self == Self::All || self == Self::Layer(layer)
    }

    fn name(self) -> String {
        match self {
            Self::Nothing => String::from("a whole frame"),
            Self::Layer(layer) => format!("{layer:?}").to_lowercase(),
            Self::Interface => String::from("interface"),
            Self::All => String::from("what is left without all of these"),
        }
    }
}

/// Measures, prints, exits.
#[derive(Debug)]
pub struct PartsPlugin {
    /// So many frames are measured for each part.
    pub frames: u32,
}

#[derive(Resource)]
struct Parts {
    frames: u32,
    seen: u32,
    begun: Instant,
    last: Duration,
    turn: usize,
    times: Vec<(Omitted, Vec<Duration>)>,
}

impl Plugin for PartsPlugin {
    fn build(&self, app: &mut App) {
        let times = Omitted::every().into_iter().map(|part| (part, Vec::new())).collect();
        app.insert_resource(Parts {
            frames: self.frames,
            seen: 0,
            begun: Instant::now(),
            last: Duration::ZERO,
            turn: 0,
            times,
        })
        .add_systems(PostUpdate, leave_out.before(VisibilitySystems::VisibilityPropagate))
        .add_systems(Last, count);
    }
}

fn leave_out(
    parts: Res<Parts>,
    mut layers: Query<(&Layer, &mut Visibility), Without<Node>>,
    mut interface: Query<&mut Visibility, (With<Node>, Without<ChildOf>)>,
    mut before: Local<usize>,
) {
    let part = parts.times[parts.turn].0;
    let changed = std::mem::replace(&mut *before, parts.turn) != parts.turn;
    for (layer, mut visibility) in &mut layers {
        if part.leaves_out(*layer) {
            visibility.set_if_neq(Visibility::Hidden);
        } else if changed {
            *visibility = Visibility::Inherited;
        }
    }
    for mut visibility in &mut interface {
        if matches!(part, Omitted::Interface | Omitted::All) {
            visibility.set_if_neq(Visibility::Hidden);
        } else if changed {
            *visibility = Visibility::Inherited;
        }
    }
}

/// Returns the time of the processors that all threads have used, where the system tells it (Linux: `/proc/PID/task/*/schedstat`, its
/// first number, in nanoseconds); else the time that has passed.
fn spent(begun: Instant) -> Duration {
    let of_thread = |thread: io::Result<DirEntry>| {
        let told = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        told.split(' ').next()?.parse::<u64>().ok()
    };
    match fs::read_dir("/proc/self/task") {
        Ok(threads) => Duration::from_nanos(threads.filter_map(of_thread).sum()),
        Err(_) => begun.elapsed(),
    }
}

fn count(mut parts: ResMut<Parts>, mut exit: MessageWriter<AppExit>) {
    let now = spent(parts.begun);
    let time = now.saturating_sub(parts.last);
    (parts.last, parts.seen) = (now, parts.seen + 1);
    if parts.seen <= WARM_UP {
        return;
    }
    let place = (parts.seen - WARM_UP) % SLICE;
    let turn = parts.turn;
    if place >= UNSETTLED {
        parts.times[turn].1.push(time);
    }
    if place + 1 == SLICE {
        parts.turn = (turn + 1) % parts.times.len();
    }
    if parts.times.iter().any(|(_, times)| times.len() < parts.frames as usize) {
        return;
    }
    let mut medians = parts.times.iter_mut().map(|(part, times)| {
        times.sort_unstable();
        (part.name(), times[times.len() / 2].as_secs_f64() * 1e3)
    });
    let (name, whole) = medians.next().unwrap_or_default();
    println!("{name:<34} {whole:>6.1} ms of the processors");
    let rest: Vec<_> = medians.collect();
    for (i, (name, median)) in rest.iter().enumerate() {
        let cost = if i + 1 == rest.len() { *median } else { whole - median };
        println!("{name:<34} {cost:>6.1} ms, {:.0} %", 100.0 * cost / whole);
    }
    exit.write(AppExit::Success);
}
