//! Random worlds with faults, as many as there is time for: every attempt must end by its deadline in a path or a reason
//! that is true of its world, and nothing may panic, spin, pass a cap or send where it may not.
//!
//! - [`worlds`](any_world): what the worlds are like; [`tell`]: one of them, with its faults;
//! - [`judge`]: what must hold; [`run`]: many of them, on all processors, to be resumed.

mod args;
mod judge;
mod record;
mod story;
mod watch;
mod worlds;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::scenario::PairWorldSettings;

pub use args::{SoakArgs, SoakError};
pub use judge::{Finding, Verdict, Wrong, judge, names};
pub use record::{FailedWorld, Record, RecordError};
pub use story::{FAULTS, Fault, Story, tell};
pub use watch::{Seen, Watched, check_caps, check_destinations, is_server, watch};
pub use worlds::{any, any_link, any_nat, any_world, any_world_apart, internet_world};

/// A thread takes this many worlds at a time.
const BATCH: u64 = 32;

/// Returns the world of a seed: of the internet where it is even, of any settings where it is odd.
pub fn settings(seed: u64) -> PairWorldSettings {
    if seed.is_multiple_of(2) { internet_world(seed) } else { any_world_apart(seed) }
}

/// Returns the verdict on a seed; a panic is one too.
pub fn world(seed: u64) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| judge(&tell(seed, settings(seed))))).unwrap_or_else(|panic| Verdict {
        findings: vec![Finding { wrong: Wrong::Panic, text: message(&*panic) }],
        about: judge::about(&settings(seed), &[], Duration::ZERO),
        ..Verdict::default()
    })
}

/// Returns the verdict on a seed and all that the two agents reported, for people.
pub fn account(seed: u64) -> String {
    let told = catch_unwind(AssertUnwindSafe(|| {
        let story = tell(seed, settings(seed));
        let mut text = String::new();
        for (name, host) in [("left", story.pair.left), ("right", story.pair.right)] {
            for (at, event) in &story.pair.player(host).events {
                let at = at.saturating_duration_since(story.pair.world.instant_at(story.pair.requested()));
                text += &format!("{:8.3} {name:5} {event:?}\n", at.as_secs_f64());
            }
        }
        text
    }));
    let verdict = world(seed);
    format!("{}{}\n{:#?}\n", told.unwrap_or_default(), verdict.about, verdict.findings)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}

/// It says which worlds to run, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoakSettings {
    /// This many worlds are run in all, those of the record included.
    pub worlds: u64,
    /// How long the soak may take; none: until all worlds are run.
    pub time: Option<Duration>,
    /// It runs on this many threads; 0: as many as there are processors.
    pub threads: usize,
}

/// Goes on with a record until it has as many worlds as wanted; `saved` gets it every few seconds and at the end.
pub fn run(settings: SoakSettings, record: Record, saved: impl FnMut(&Record) + Send) -> Record {
    let began = Instant::now();
    let end = record.first_seed.saturating_add(settings.worlds);
    let next = AtomicU64::new(record.next);
    let stop = AtomicBool::new(false);
    let shared = Mutex::new(Shared { record, waiting: BTreeMap::new(), saved, last_saved: began });
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= end {
                return;
            }
            let batch: Vec<(u64, Verdict)> =
                (first..end.min(first + BATCH)).map(|seed| (seed, world(seed))).collect();
            if settings.time.is_some_and(|time| began.elapsed() >= time) {
                stop.store(true, Ordering::Relaxed);
            }
            if let Ok(mut shared) = shared.lock() {
                shared.take(first, batch);
            }
        }
    };
    let threads = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    match shared.into_inner() {
        Ok(mut shared) => {
            (shared.saved)(&shared.record);
            shared.record
        }
        Err(poisoned) => poisoned.into_inner().record,
    }
}

struct Shared<F> {
    record: Record,
    /// These batches were done before earlier ones: at most one a thread.
    waiting: BTreeMap<u64, Vec<(u64, Verdict)>>,
    saved: F,
    last_saved: Instant,
}

impl<F: FnMut(&Record)> Shared<F> {
    /// Enters batches in the order of their seeds, so that a record is the same whoever made it.
    fn take(&mut self, first: u64, batch: Vec<(u64, Verdict)>) {
        self.waiting.insert(first, batch);
        while let Some(batch) = self.waiting.remove(&self.record.next) {
            for (seed, verdict) in batch {
                self.record.enter(seed, verdict);
            }
        }
        if self.last_saved.elapsed() >= Duration::from_secs(5) {
            self.last_saved = Instant::now();
            (self.saved)(&self.record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soak(worlds: u64, threads: usize, record: Record) -> Record {
        run(SoakSettings { worlds, time: None, threads }, record, |_| {})
    }

    #[test]
    fn a_record_is_the_same_however_it_came_about() {
        let whole = soak(80, 1, Record::new(1));
        assert_eq!(whole.worlds(), 80);
        assert_eq!(whole, soak(80, 3, Record::new(1)), "by several threads");
        let part = soak(33, 2, Record::new(1));
        let json = serde_json::to_string(&part).unwrap();
        assert_eq!(whole, soak(80, 2, serde_json::from_str(&json).unwrap()), "resumed");
        assert!(whole.paths > 80, "{whole:?}");
    }

    /// Each of these worlds had a finding once.
    #[test]
    fn worlds_in_which_something_was_wrong() {
        for (what, seeds) in [
            ("a login over TCP, since UDP was slow", &[2025, 2969, 8019, 10199, 11811, 14043][..]),
            ("several counters look like chance", &[13477]),
            ("a counter behind a NAT that keeps ports", &[3_000_757]),
            ("a mapping that was tested late is no part of its burst", &[3_002_893]),
            ("a quick match over a restart of the server", &[5806, 6200, 9186, 14338, 14682]),
            ("a quick match without a server", &[3_001_522, 3_001_624]),
            (
                "an attempt that was over with its quick match",
                &[10_015_140, 10_017_104, 10_039_180, 10_054_186, 10_066_762, 10_073_384, 10_094_108],
            ),
            ("a match that was planned while UDP was slow", &[10_022_337, 10_106_019]),
            ("a session that left UDP after three lost pings on a link that had been slow", &[20_197_089]),
            (
                "a match that moves to another host before it has a way",
                &[20_030_570, 20_083_578, 20_231_312, 20_264_700, 20_477_224],
            ),
        ] {
            for seed in seeds {
                let verdict = world(*seed);
                assert!(verdict.findings.is_empty(), "{what}: {seed}: {verdict:#?}");
            }
        }
    }

    #[test]
    fn a_panic_is_a_finding() {
        let failed = catch_unwind(|| panic!("as {}", "meant")).map_err(|panic| message(&*panic));
        assert_eq!(failed, Err("as meant".to_owned()));
    }
}
