//! Keeps what the relay has used over a restart: a small file, written whole and not often.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use traversal_udp::private::read_at_most;

use crate::budget::RelayUsage;
use crate::files;

/// It is written so often at the most. A server that is killed forgets what was sent since.
const PERIOD: Duration = Duration::from_secs(60);
/// A file of this program is no longer than that: a line for each game with a budget.
const LONGEST: u64 = 1 << 20;

/// This is the file.
#[derive(Clone, Debug)]
pub(crate) struct UsageFile {
    path: PathBuf,
    written: Option<(Instant, RelayUsage)>,
    failed: bool,
}

impl UsageFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, written: None, failed: false }
    }

    /// Reads what was used. Where there is nothing, or nothing of ours, it begins at zero, and the log says so.
    pub(crate) fn read(&self) -> RelayUsage {
        let read = || {
            let text = read_at_most(&self.path, LONGEST)?;
            serde_json::from_slice(&text).map_err(std::io::Error::from)
        };
        match read() {
            Ok(usage) => usage,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => RelayUsage::default(),
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "what the relay has used cannot be read: it counts from zero");
                RelayUsage::default()
            }
        }
    }

    /// Writes what was used, where it has changed and was not written lately.
    pub(crate) fn keep(&mut self, now: Instant, usage: &RelayUsage) {
        let lately = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) < PERIOD;
        if !self.written.as_ref().is_some_and(lately) {
            self.write(now, usage);
        }
    }

    /// Writes what was used at once, where it has changed.
    pub(crate) fn write(&mut self, now: Instant, usage: &RelayUsage) {
        let same = self.written.as_ref().is_some_and(|(_, written)| written == usage);
        if same || (self.written.is_none() && usage.all == crate::budget::RelayUsed::default()) {
            return;
        }
        let result = self.put(usage);
        self.written = Some((now, usage.clone()));
        if let Err(error) = &result
            && !self.failed
        {
            tracing::warn!(
                file = %self.path.display(), %error,
                "what the relay has used cannot be kept: the budgets count from zero after a restart"
            );
        }
        self.failed = result.is_err();
    }

    fn put(&self, usage: &RelayUsage) -> std::io::Result<()> {
        files::replace(&self.path, serde_json::to_string(usage)?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::RelayUsed;

    fn usage(bytes: u64) -> RelayUsage {
        RelayUsage {
            day: 20_000,
            month: 24_000,
            all: RelayUsed { day: bytes, month: bytes },
            ..RelayUsage::default()
        }
    }

    #[test]
    fn it_is_written_once_a_minute_and_what_is_damaged_counts_from_zero() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay_usage.json");
        let mut file = UsageFile::new(path.clone());
        assert_eq!(file.read(), RelayUsage::default());
        let now = Instant::now();
        file.keep(now, &usage(0));
        assert!(!path.exists(), "nothing was relayed yet");
        file.keep(now, &usage(7));
        assert_eq!(file.read(), usage(7));
        file.keep(now + PERIOD / 2, &usage(8));
        assert_eq!(file.read(), usage(7));
        file.keep(now + PERIOD, &usage(9));
        assert_eq!(file.read(), usage(9));
        file.write(now + PERIOD, &usage(10));
        assert_eq!(file.read(), usage(10), "at the end");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "and nothing beside it");
        for damaged in ["", "{\"day\":", "[]", "{\"day\":-1}"] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(file.read(), RelayUsage::default(), "{damaged}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        file.write(now, &usage(11)); // is no panic
        assert_eq!(file.read(), RelayUsage::default());
    }
}
