//! Frame times, and how much of a frame the network takes.

mod parts;

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_renet::{RenetReceive, RenetSend};
use bevy_traversal::TraversalSystems;

pub use parts::PartsPlugin;

/// So many frames pass before the measurement: pipelines are built, caches fill, the match begins.
const WARM_UP: u32 = 120;

/// Measures, prints, exits.
#[derive(Debug)]
pub struct BenchPlugin {
    /// So many frames are measured.
    pub frames: u32,
}

#[derive(Resource)]
struct Bench {
    frames: u32,
    seen: u32,
    last: Instant,
    mark: Instant,
    network: Duration,
    times: Vec<Duration>,
}

impl Plugin for BenchPlugin {
    fn build(&self, app: &mut App) {
        let now = Instant::now();
        app.insert_resource(Bench {
            frames: self.frames,
            seen: 0,
            last: now,
            mark: now,
            network: Duration::ZERO,
            times: Vec::new(),
        })
        .add_systems(PreUpdate, (begin.before(TraversalSystems::Receive), end.after(RenetReceive)))
        .add_systems(PostUpdate, (begin.before(RenetSend), end.after(TraversalSystems::Send)))
        .add_systems(Last, count);
    }
}

fn begin(mut bench: ResMut<Bench>) {
    bench.mark = Instant::now();
}

/// Other systems may run meanwhile on other threads: an upper bound.
fn end(mut bench: ResMut<Bench>) {
    let spent = bench.mark.elapsed();
    bench.network += spent;
}

fn count(mut bench: ResMut<Bench>, mut exit: MessageWriter<AppExit>) {
    let now = Instant::now();
    let time = now - bench.last;
    bench.last = now;
    bench.seen += 1;
    if bench.seen <= WARM_UP {
        bench.network = Duration::ZERO;
        return;
    }
    bench.times.push(time);
    if bench.times.len() < bench.frames as usize {
        return;
    }
    let total: Duration = bench.times.iter().sum();
    let frames = f64::from(bench.frames);
    let mean = total.as_secs_f64() / frames;
    bench.times.sort_unstable();
    let at = |share: f64| bench.times[((frames - 1.0) * share) as usize].as_secs_f64() * 1e3;
    let network = bench.network.as_secs_f64() / frames;
    println!(
        "{} frames: {:.1} per second, mean {:.2} ms, median {:.2} ms, 99th {:.2} ms; network (plugin and renet) \
         {:.3} ms a frame, {:.2} %",
        bench.frames,
        1.0 / mean,
        mean * 1e3,
        at(0.5),
        at(0.99),
        network * 1e3,
        100.0 * network / mean
    );
    exit.write(AppExit::Success);
}
