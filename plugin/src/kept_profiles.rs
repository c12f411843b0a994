//! The file of what was measured in which network, so that the next start has a hint (M9): see
//! [`traversal_core::kept`] for what a hint is worth.
//!
//! JSON, beside the identity, readable by its owner only: it says in which networks the player was. A file that is broken
//! or of a newer version is told in one line of the log; a broken one is replaced with the next measurement, a newer one is
//! left alone.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use traversal_core::KeptProfile;
use traversal_core::kept::{self, MAX_AGE, Network};
use traversal_core::nat::NatProfile;

use crate::identity::write_beside;
use crate::kept_file::read_text;

/// The file has this ending where it lies beside the identity.
pub(crate) const ENDING: &str = ".nat.json";
/// The file's format has this version; a file of another one is not read.
const VERSION: u32 = 1;
/// The file has at most this many bytes: sixteen networks take some 10 kB. A longer file is none of ours.
const MAX_FILE: u64 = 64 * 1024;
/// At most this many measurements may wait for the disk; one comes every few minutes.
const WAITING: usize = 8;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    profiles: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    network: Network,
    /// This is when it was measured, in seconds since 1970.
    measured_at: u64,
    profile: NatProfile,
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Debug, thiserror::Error)]
enum KeptError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("it has the format {0}, of a newer version of this program")]
    Newer(u32),
}

/// Returns what the file has; nothing where it cannot be read.
pub(crate) fn load(path: &Path) -> Vec<KeptProfile> {
    read(path, SystemTime::now()).unwrap_or_else(|error| {
        bevy_log::warn!("the kept NAT profiles in {} are not used: {error}", path.display());
        Vec::new()
    })
}

fn read(path: &Path, now: SystemTime) -> Result<Vec<KeptProfile>, KeptError> {
    let Some(text) = read_text(path, MAX_FILE)? else { return Ok(Vec::new()) };
    let head: Head = serde_json::from_str(&text)?;
    if head.version > VERSION {
        return Err(KeptError::Newer(head.version));
    }
    let File { profiles, .. } = serde_json::from_str(&text)?;
    let mut all = Vec::new();
    for Entry { network, measured_at, profile } in profiles.into_iter().rev() {
        // A clock that was set back says nothing about the age.
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(measured_at));
        let age = at.and_then(|at| now.duration_since(at).ok());
        if let Some(age) = age.filter(|age| *age < MAX_AGE) {
            kept::keep(&mut all, KeptProfile { network, profile, age });
        }
    }
    Ok(all)
}

/// Puts one more into the file. Another game on this machine may have written meanwhile, so it is read again.
fn store(path: &Path, new: KeptProfile) -> Result<(), KeptError> {
    let now = SystemTime::now();
    let mut all = match read(path, now) {
        // It was told when it was loaded.
        Err(KeptError::Json(_)) => Vec::new(),
        Err(KeptError::Io(error))
            if matches!(error.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidData) =>
        {
            Vec::new()
        }
        Err(error @ (KeptError::Newer(_) | KeptError::Io(_))) => return Err(error),
        Ok(all) => all,
    };
    kept::keep(&mut all, new);
    let seconds = |age| {
        let since = now.checked_sub(age).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        since.unwrap_or_default().as_secs()
    };
    let entry = |KeptProfile { network, profile, age }| Entry { network, measured_at: seconds(age), profile };
    let file = File { version: VERSION, profiles: all.into_iter().map(entry).collect() };
    Ok(replace(path, &serde_json::to_vec(&file)?)?)
}

/// Renames what was written beside, so that nobody reads half of it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = write_beside(path, content)?;
    let renamed = fs::rename(&beside, path);
    if renamed.is_err() {
        // Whatever went wrong first is told.
        let _ = fs::remove_file(&beside);
    }
    renamed
}

/// This is the driver's end of the thread that writes: a slow disk must not hold up the network.
pub(crate) struct Keeper(Sender<KeptProfile>);

impl Keeper {
    /// Returns the handle, and what a thread is to run until the handle is dropped.
    pub(crate) fn new(path: PathBuf) -> (Self, impl FnOnce() + Send) {
        let (sender, receiver): (_, Receiver<KeptProfile>) = bounded(WAITING);
        let thread = move || {
            let mut told = false;
            for new in receiver {
                if let Err(error) = store(&path, new)
                    && !std::mem::replace(&mut told, true)
                {
                    bevy_log::warn!("cannot keep the NAT profile in {}: {error}", path.display());
                }
            }
        };
        (Self(sender), thread)
    }

    /// One that finds no room is left out: the next measurement comes in a few minutes.
    pub(crate) fn keep(&self, new: KeptProfile) {
        let _ = self.0.try_send(new);
    }
}

#[cfg(test)]
mod tests {
    use traversal_core::nat::{Confidence, MappingBehavior, PortAllocation};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bevy_traversal-kept-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn measured(n: u8, step: i32) -> KeptProfile {
        let local = ["192.168.1.2".parse().unwrap()];
        let profile = NatProfile {
            mapping: MappingBehavior::AddressAndPortDependent,
            allocation: PortAllocation::Sequential { step },
            timeout: Some(Duration::from_secs(28)),
            foreign_rate: Some(2.5),
            confidence: Confidence::Full,
            ..NatProfile::UNKNOWN
        };
        let network = Network::of([203, 0, n, 7].into(), &local);
        KeptProfile { network, profile, age: Duration::ZERO }
    }

    #[test]
    fn m9_profiles_are_kept_network_by_network_with_their_age() {
        let path = folder("round").join("sub").join("player.key.nat.json");
        assert!(load(&path).is_empty());
        let (keeper, thread) = Keeper::new(path.clone());
        let thread = std::thread::spawn(thread);
        for new in [measured(1, 3), measured(2, 5), measured(1, 4)] {
            keeper.keep(new);
        }
        drop(keeper);
        thread.join().unwrap();
        let all = load(&path);
        assert_eq!(all.len(), 2);
        for (network, step) in [(1, 4), (2, 5)] {
            let expected = measured(network, step);
            let found = all.iter().find(|kept| kept.network == expected.network).unwrap();
            assert_eq!(found.profile, expected.profile);
            assert!(found.age < Duration::from_secs(60), "{:?}", found.age);
        }
        let in_ten_days = SystemTime::now() + Duration::from_secs(864_000);
        assert!(read(&path, in_ten_days).unwrap()[0].age >= Duration::from_secs(864_000));
        assert!(read(&path, in_ten_days + MAX_AGE).unwrap().is_empty(), "too old");
        assert!(read(&path, UNIX_EPOCH).unwrap().is_empty(), "from the future, as far as the clock knows");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_dir_all(folder("round")).unwrap();
    }

    #[test]
    fn m9_a_file_that_is_broken_is_ignored_and_replaced_and_a_newer_one_is_left_alone() {
        let path = folder("broken").join("nat.json");
        let deep = "[".repeat(20_000);
        let long = format!("{{\"version\":1,\"profiles\":[]}}{}", " ".repeat(70_000));
        for broken in [
            "",
            "null",
            "{}",
            "{\"version\":1}",
            "{\"version\":1,\"profiles\":[{}]}",
            "{\"version\":-1,\"profiles\":[]}",
            "\u{0}\u{1}",
            deep.as_str(),
            long.as_str(),
        ] {
            fs::write(&path, broken).unwrap();
            assert!(read(&path, SystemTime::now()).is_err(), "{broken:.40}");
            assert!(load(&path).is_empty());
            store(&path, measured(1, 1)).unwrap();
            assert_eq!(load(&path).len(), 1);
        }
        let newer = "{\"version\":2,\"profiles\":\"of a kind that nobody knows yet\"}";
        fs::write(&path, newer).unwrap();
        assert!(load(&path).is_empty());
        assert!(matches!(store(&path, measured(1, 1)), Err(KeptError::Newer(2))));
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
        fs::remove_dir_all(folder("broken")).unwrap();
    }
}
