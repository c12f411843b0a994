//! `natlab soak`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Record, RecordError, SoakSettings, account, run};

/// Failed worlds that are told at the end.
const TOLD: usize = 50;

/// Options of `natlab soak`.
#[derive(Args, Clone, Debug)]
pub struct SoakArgs {
    /// Worlds in all, those of the record included
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    worlds: u64,
    /// The first of them; with `--worlds 1` it runs a failed one again [default: 1, or the record's]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=u64::MAX / 2))]
    first_seed: Option<u64>,
    /// Keep the record in this file, and go on with what is in it
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Stop after so many seconds; with --resume the next run goes on
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: Option<u64>,
    /// Threads [default: one per processor]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Tell everything that the two agents reported in the first world instead
    #[arg(long)]
    tell: bool,
    /// Print JSON instead of words
    #[arg(long)]
    json: bool,
}

/// Why a soak did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    /// The record could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The result cannot be put into JSON.
    #[error("cannot print the result as JSON")]
    Json(#[from] serde_json::Error),
    /// Something was wrong in some of the worlds.
    #[error(
        "something was wrong in {failed} of {worlds} worlds; `--first-seed SEED --worlds 1` runs one of them again"
    )]
    Failed {
        /// How many worlds had something wrong.
        failed: u64,
        /// How many worlds there were.
        worlds: u64,
    },
}

impl SoakArgs {
    /// Runs it; what is to be printed on stdout, and how it ended.
    pub fn execute(&self) -> (String, Result<(), SoakError>) {
        // Panics are findings, told with their seeds: not on stderr as well, a million times.
        std::panic::set_hook(Box::new(|_| {}));
        if self.tell {
            return (account(self.first_seed.unwrap_or(1)), Ok(()));
        }
        let record = match &self.resume {
            Some(path) => Record::load(path, self.first_seed),
            None => Ok(Record::new(self.first_seed.unwrap_or(1))),
        };
        // Nobody wants to hear of a wrong path after an hour.
        let record = record.and_then(|record| self.save(&record).map(|()| record));
        let record = match record {
            Ok(record) => record,
            Err(error) => return (String::new(), Err(error.into())),
        };
        let bar = ProgressBar::new(self.worlds).with_style(
            ProgressStyle::with_template("{bar:40} {pos}/{len} worlds, {per_sec}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_position(record.worlds());
        let settings = SoakSettings {
            worlds: self.worlds,
            time: self.seconds.map(Duration::from_secs),
            threads: self.threads,
        };
        let mut saved = Ok(());
        let record = run(settings, record, |record| {
            bar.set_position(record.worlds());
            saved = self.save(record);
        });
        bar.finish_and_clear();
        let _ = std::panic::take_hook();
        let told = if self.json {
            match serde_json::to_string(&record) {
                Ok(json) => json + "\n",
                Err(error) => return (String::new(), Err(error.into())),
            }
        } else {
            words(&record)
        };
        let ended = match record.failed {
            0 => saved.map_err(Into::into),
            failed => Err(SoakError::Failed { failed, worlds: record.worlds() }),
        };
        (told, ended)
    }

    fn save(&self, record: &Record) -> Result<(), RecordError> {
        self.resume.as_ref().map_or(Ok(()), |path| record.save(path))
    }
}

fn words(record: &Record) -> String {
    let mut text = format!(
        "{} worlds from seed {} on: {} attempts ended in a path, {} in a reason (each side counts)\n",
        record.worlds(),
        record.first_seed,
        record.paths,
        record.reasons
    );
    for (wrong, count) in &record.wrong {
        text += &format!("{wrong:?} in {count}\n");
    }
    for failed in record.listed.iter().take(TOLD) {
        let findings: Vec<String> =
            failed.findings.iter().map(|finding| format!("{:?}: {}", finding.wrong, finding.text)).collect();
        text += &format!("seed {}: {}\n    {}\n", failed.seed, findings.join("; "), failed.about);
    }
    if record.failed > TOLD.min(record.listed.len()) as u64 {
        text += "more seeds are in the record (--resume FILE) and in the JSON\n";
    }
    text
}
