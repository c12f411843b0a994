//! The program's log: it costs lines, never players.
//!
//! Lines are written by a thread of their own. Where the output takes nothing (a full disk, a pipe that nobody reads or
//! that was closed), lines are dropped and counted, and the server goes on. Each kind of event has a rate, so that
//! nobody fills a disk by doing the same thing again and again.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Subscriber, callsite::Identifier};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

use crate::limits::{Bucket, Rate};

/// So many lines wait for the output; an event makes some 200 bytes.
const WAITING_LINES: usize = 4096;
/// So many lines of one kind of event (one place in the code) are written at `info` and above: 1 a second in the long
/// run, 60 at once. Six kinds tell what players do: some 100 kB a minute at the most, whatever they do.
const PER_KIND: Rate = Rate::new(1.0, 60.0);
/// The log itself says so often what it left out.
const SUMMARY: Duration = Duration::from_secs(60);
/// The end of the program waits so long for the last lines.
const END: Duration = Duration::from_secs(1);

/// This says how many lines the log did without. Clones count the same log.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    failed: Arc<AtomicU64>,
    limited: Arc<AtomicU64>,
    full: Option<ErrorCounter>,
}

impl Losses {
    /// Returns how many lines the output did not take, or not in time.
    pub fn dropped(&self) -> u64 {
        let full = self.full.as_ref().map_or(0, ErrorCounter::dropped_lines);
        self.failed.load(Ordering::Relaxed) + full as u64
    }

    /// Lines left out because their kind came too often.
    pub fn limited(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
    }
}

/// This is a running log. [`finish`](Self::finish) writes what still waits.
#[derive(Debug)]
pub struct Log {
    losses: Losses,
    worker: WorkerGuard,
    filter: Filter,
}

/// This changes what a running log has.
#[derive(Clone)]
pub struct Filter(Arc<dyn Fn(EnvFilter) -> bool + Send + Sync>);

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filter")
    }
}

impl Filter {
    /// Has the log go by this filter, as in `lobby_server=debug`; `RUST_LOG`, where it is set, wins over it. False: it is
    /// not one.
    pub fn set(&self, filter: &str) -> bool {
        wanted(filter).is_ok_and(|filter| (self.0)(filter))
    }
}

/// Returns what `RUST_LOG` says or, where that is not set, what the settings say.
fn wanted(filter: &str) -> Result<EnvFilter, ParseError> {
    match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text),
        _ => EnvFilter::try_new(filter),
    }
}

impl Log {
    /// Makes everything that is logged in this process go to `output`, filtered by `RUST_LOG` or, where that is not set, by
    /// `filter`.
    ///
    /// # Errors
    /// When the process has a log already, or the filter is not one.
    pub fn start(
        output: impl Write + Send + 'static,
        json: bool,
        filter: &str,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut losses = Losses::default();
        let output = Counted { output, failed: Arc::clone(&losses.failed) };
        let (writer, worker) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING_LINES)
            .lossy(true)
            .thread_name("lobby_log")
            .finish(output);
        losses.full = Some(writer.error_counter());
        let filter = wanted(filter).map_err(|error| format!("RUST_LOG: {error}"))?;
        let (filter, handle) = reload::Layer::new(filter);
        let limit = KindLimit::new(PER_KIND, Arc::clone(&losses.limited));
        tracing_subscriber::registry().with(limit).with(filter).with(lines(writer, json)).try_init()?;
        summarize(losses.clone());
        let filter = Filter(Arc::new(move |filter| handle.reload(filter).is_ok()));
        Ok(Self { losses, worker, filter })
    }

    /// Returns what the log did without.
    pub fn losses(&self) -> Losses {
        self.losses.clone()
    }

    /// Returns what changes the log's filter.
    pub fn filter(&self) -> Filter {
        self.filter.clone()
    }

    /// Writes what waits, for a second at the most.
    pub fn finish(self) {
        let (done, wait) = std::sync::mpsc::channel();
        // Not joined: an output that takes nothing does not hold up the end.
        let ending = std::thread::Builder::new().spawn(move || {
            drop(self.worker);
            let _ = done.send(());
        });
        if ending.is_ok() {
            let _ = wait.recv_timeout(END);
        }
    }
}

fn lines<S>(writer: NonBlocking, json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    // What cannot be written is counted; the layer would print it, and end the program where that fails too.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    if json { layer.json().boxed() } else { layer.with_ansi(io::stderr().is_terminal()).boxed() }
}

/// Says from time to time how many lines were left out.
fn summarize(losses: Losses) {
    let _ = std::thread::Builder::new().name("lobby_log_summary".into()).spawn(move || {
        let mut said = 0;
        loop {
            std::thread::sleep(SUMMARY);
            let limited = losses.limited();
            if limited > said {
                tracing::info!(
                    lines = limited - said,
                    "log lines of kinds that come too often were left out"
                );
                said = limited;
            }
        }
    });
}

/// Never fails: what the output does not take is counted.
struct Counted<W> {
    output: W,
    failed: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.output.write_all(line).is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.output.flush();
        Ok(())
    }
}

/// This is a rate for each place in the code that logs at `info` and above. What is logged below is asked for by name.
struct KindLimit {
    rate: Rate,
    buckets: Mutex<HashMap<Identifier, Bucket>>,
    limited: Arc<AtomicU64>,
}

impl KindLimit {
    fn new(rate: Rate, limited: Arc<AtomicU64>) -> Self {
        Self { rate, buckets: Mutex::default(), limited }
    }
}

impl<S: Subscriber> Layer<S> for KindLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket =
            buckets.entry(event.metadata().callsite()).or_insert_with(|| Bucket::full(self.rate, now));
        let allowed = bucket.take(self.rate, now);
        if !allowed {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what comes through.
    struct Count(Arc<AtomicU64>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_kind_of_event_has_a_rate_of_its_own() {
        let (limited, seen) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let limit = KindLimit::new(Rate::new(0.001, 3.0), Arc::clone(&limited));
        let subscriber = tracing_subscriber::registry().with(limit).with(Count(Arc::clone(&seen)));
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..10 {
                tracing::info!(n, "one kind");
                tracing::warn!(n, "another");
                tracing::debug!(n, "asked for by name");
            }
        });
        assert_eq!(seen.load(Ordering::Relaxed), 3 + 3 + 10);
        assert_eq!(limited.load(Ordering::Relaxed), 7 + 7);
    }

    #[test]
    fn an_output_that_takes_nothing_is_counted_and_no_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let failed = Arc::<AtomicU64>::default();
        let mut writer = Counted { output: Full, failed: Arc::clone(&failed) };
        assert!(writer.write_all(b"a line").is_ok() && writer.flush().is_ok());
        assert_eq!(failed.load(Ordering::Relaxed), 1);
    }
}
