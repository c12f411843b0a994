//! What a soak has come to, in a file that the next one goes on from.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Finding, Verdict, Wrong};

/// A record lists at most this many failed worlds; all are counted.
const LISTED: usize = 1000;

/// It is a world in which something was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedWorld {
    /// This is the seed of the world; `natlab soak --first-seed SEED --worlds 1` runs it again.
    pub seed: u64,
    /// It lists all that was wrong, world by world.
    pub findings: Vec<Finding>,
    /// These are the world and its faults in a line.
    pub about: String,
}

/// These are all worlds from a first seed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// This is the seed of the first world.
    pub first_seed: u64,
    /// It is the first one that has not been run.
    pub next: u64,
    /// This many attempts ended in a path, one for each side.
    pub paths: u64,
    /// This many attempts ended in a reason.
    pub reasons: u64,
    /// Something was wrong in this many worlds.
    pub failed: u64,
    /// How many worlds had each kind of what can be wrong.
    pub wrong: BTreeMap<Wrong, u64>,
    /// This is the first of them, as many as fit.
    pub listed: Vec<FailedWorld>,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error("cannot read or write the record {}: {source}; give --resume a file in a folder that exists", path.display())]
    File {
        /// This is the path of the record.
        path: PathBuf,
        /// What the system or the parser says.
        source: io::Error,
    },
    /// The file holds no record.
    #[error("{} is no record of a soak: {source}; give --resume another file", path.display())]
    Content {
        /// This is the path of the record.
        path: PathBuf,
        /// What the system or the parser says.
        source: serde_json::Error,
    },
    /// The record is of a soak that began with another seed.
    #[error("{} begins with seed {begins}; leave --first-seed out to go on with it, or give --resume another file", path.display())]
    OtherSeed {
        /// This is the path of the record.
        path: PathBuf,
        /// This is the seed of the first world of this part.
        begins: u64,
    },
}

impl Record {
    /// Makes a record in which nothing stands yet.
    pub fn new(first_seed: u64) -> Self {
        Self {
            first_seed,
            next: first_seed,
            paths: 0,
            reasons: 0,
            failed: 0,
            wrong: BTreeMap::new(),
            listed: Vec::new(),
        }
    }

    /// How many worlds are in it.
    pub fn worlds(&self) -> u64 {
        self.next - self.first_seed
    }

    pub(super) fn enter(&mut self, seed: u64, verdict: Verdict) {
        self.next = seed + 1;
        self.paths += verdict.paths as u64;
        self.reasons += verdict.reasons as u64;
        if verdict.findings.is_empty() {
            return;
        }
        self.failed += 1;
        let kinds: std::collections::BTreeSet<Wrong> =
            verdict.findings.iter().map(|finding| finding.wrong).collect();
        for wrong in kinds {
            *self.wrong.entry(wrong).or_default() += 1;
        }
        if self.listed.len() < LISTED {
            self.listed.push(FailedWorld { seed, findings: verdict.findings, about: verdict.about });
        }
    }

    /// Reads a record; a new one if there is no such file. A first seed that is given must be the record's.
    ///
    /// # Errors
    /// If it cannot be read or is another one.
    pub fn load(path: &Path, first_seed: Option<u64>) -> Result<Self, RecordError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::new(first_seed.unwrap_or(1)));
            }
            Err(source) => return Err(RecordError::File { path: path.to_owned(), source }),
        };
        let record: Self = serde_json::from_str(&text)
            .map_err(|source| RecordError::Content { path: path.to_owned(), source })?;
        match first_seed {
            Some(first) if first != record.first_seed => {
                Err(RecordError::OtherSeed { path: path.to_owned(), begins: record.first_seed })
            }
            _ => Ok(record),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn save(&self, path: &Path) -> Result<(), RecordError> {
        let error = |source| RecordError::File { path: path.to_owned(), source };
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| RecordError::Content { path: path.to_owned(), source })?;
        let beside = path.with_extension("part");
        fs::write(&beside, text).map_err(error)?;
        fs::rename(&beside, path).map_err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_keeps_to_its_seed() {
        let folder = std::env::temp_dir().join(format!("natlab-soak-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("record.json");
        let mut record = Record::load(&path, Some(7)).unwrap();
        let finding = Finding { wrong: Wrong::Late, text: "too late".into() };
        record.enter(7, Verdict { paths: 2, findings: vec![finding], ..Verdict::default() });
        record.save(&path).unwrap();
        assert_eq!(Record::load(&path, None).unwrap(), record);
        assert!(matches!(Record::load(&path, Some(8)), Err(RecordError::OtherSeed { begins: 7, .. })));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(Record::load(&path, None), Err(RecordError::Content { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn failures_are_all_counted_but_not_all_listed() {
        let mut record = Record::new(0);
        for seed in 0..LISTED as u64 + 5 {
            let finding = Finding { wrong: Wrong::Cap, text: String::new() };
            record.enter(seed, Verdict { findings: vec![finding.clone(), finding], ..Verdict::default() });
        }
        assert_eq!((record.failed, record.listed.len()), (LISTED as u64 + 5, LISTED));
        assert_eq!(record.wrong[&Wrong::Cap], LISTED as u64 + 5, "once a world");
    }
}
