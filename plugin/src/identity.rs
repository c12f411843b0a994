//! The player's key pair, and the one place where entropy enters.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use traversal_core::Identity;
use traversal_udp::private;

use crate::config::IdentitySource;
use crate::error::TraversalError;

/// Returns 32 random bytes from the system.
pub(crate) fn entropy() -> Result<[u8; 32], TraversalError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| TraversalError::Driver { reason: error.to_string() })?;
    Ok(bytes)
}

/// This is the identity of this run, and what goes with it.
pub(crate) struct Loaded {
    pub(crate) identity: Identity,
    /// Other files lie beside this one: those of known lobby servers and of NAT profiles. Programs may share them.
    pub(crate) beside: Option<PathBuf>,
    /// This is held while the identity is in use, so that a second instance takes another one.
    pub(crate) in_use: Option<fs::File>,
}

/// Loads the identity, or makes it.
///
/// # Errors
///
/// [`TraversalError::Identity`] when its file cannot be used, [`TraversalError::Driver`] when the system gives no random
/// bytes.
pub(crate) fn load(source: &IdentitySource) -> Result<Loaded, TraversalError> {
    let (secret, beside, in_use) = match source {
        IdentitySource::Ephemeral => (entropy()?, None, None),
        IdentitySource::Secret(secret) => (*secret, None, None),
        IdentitySource::File(path) => (from_file(path)?, Some(path.clone()), None),
        IdentitySource::Platform { app } => {
            let folder = data_folder(app)?;
            let (path, in_use) = first_free(&folder)?;
            (from_file(&path)?, Some(folder.join("player.key")), in_use)
        }
    };
    Ok(Loaded { identity: Identity::from_secret(secret), beside, in_use })
}

/// At most this many instances of one game may run on one machine at a time; more are a mistake.
const MAX_INSTANCES: usize = 64;

/// Returns the folder in which the system keeps this program's data for this user.
fn data_folder(app: &str) -> Result<PathBuf, TraversalError> {
    let failed = |reason: &str| TraversalError::Identity { path: PathBuf::from(app), reason: reason.into() };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ' | '.');
    if app.is_empty() || app.len() > 64 || app.starts_with('.') || !app.chars().all(plain) {
        return Err(failed(
            "`app` must be 1 to 64 letters, digits, `-`, `_`, `.` or spaces, and not begin with a point",
        ));
    }
    directories::ProjectDirs::from("", "", app).map(|found| found.data_local_dir().to_owned()).ok_or_else(
        || {
            failed(
                "this system names no folder for a program's data; give a file with `IdentitySource::File`",
            )
        },
    )
}

/// Returns the file of the first identity in `folder` that no running instance uses, and the lock that says so.
fn first_free(folder: &Path) -> Result<(PathBuf, Option<fs::File>), TraversalError> {
    for instance in 1..=MAX_INSTANCES {
        let name = if instance == 1 { "player.key".into() } else { format!("player-{instance}.key") };
        let path = folder.join(&name);
        let failed = |reason: String| TraversalError::Identity { path: path.clone(), reason };
        let (lock, _) = open_or_create(&folder.join(format!("{name}.in_use")))
            .map_err(|error| failed(error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {
                if instance > 1 {
                    bevy_log::info!(
                        "another instance runs: this one has an identity of its own, {}",
                        path.display()
                    );
                }
                return Ok((path, Some(lock)));
            }
            Err(fs::TryLockError::WouldBlock) => {}
            // Android has no locks, and runs one instance.
            Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok((path, None));
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error.to_string())),
        }
    }
    let reason = format!("{MAX_INSTANCES} instances of this game run already; close some");
    Err(TraversalError::Identity { path: folder.to_owned(), reason })
}

fn from_file(path: &Path) -> Result<[u8; 32], TraversalError> {
    let failed = |reason: String| TraversalError::Identity { path: path.to_owned(), reason };
    // A whole one is never changed any more.
    if let Ok(secret) = fs::read(path).map_err(|_| ()).and_then(|bytes| bytes.try_into().map_err(|_| ())) {
        return Ok(secret);
    }
    let (mut file, created) = open_or_create(path).map_err(|error| failed(error.to_string()))?;
    // Another program may make it at this moment.
    match file.lock() {
        Ok(()) => {}
        // Without locks (Android) it is the one that has created the file who writes it.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            if !created {
                return wait_for(path).ok_or_else(|| failed("it is not whole; move it away".into()));
            }
        }
        Err(error) => return Err(failed(error.to_string())),
    }
    let mut bytes = Vec::new();
    (&mut file).take(MAX_READ).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if !bytes.is_empty() {
        return bytes.try_into().map_err(|bytes: Vec<u8>| {
            failed(format!("it has {} bytes instead of 32; move it away to have a new one made", bytes.len()))
        });
    }
    let secret = entropy()?;
    if let Err(error) = file.write_all(&secret).and_then(|()| file.sync_all()) {
        // An empty file is as good as none: the next start makes an identity. What went wrong first is told.
        let _ = file.set_len(0);
        return Err(failed(error.to_string()));
    }
    Ok(secret)
}

/// This is more than an identity has: a file of any length is not read whole.
const MAX_READ: u64 = 64;

/// This is how often a file is read that another program is writing, and how long apart: a second in all.
const READS: u32 = 100;
const READ_PERIOD: std::time::Duration = std::time::Duration::from_millis(10);

/// Waits for what another program writes in this moment, and returns it.
fn wait_for(path: &Path) -> Option<[u8; 32]> {
    (0..READS).find_map(|_| {
        let secret = fs::read(path).ok()?.try_into().ok();
        if secret.is_none() {
            std::thread::sleep(READ_PERIOD);
        }
        secret
    })
}

/// Opens or makes the file, and returns it and whether it is new. It does so without a link or a rename: file systems
/// without links (exFAT, network shares) and Android refuse those.
fn open_or_create(path: &Path) -> io::Result<(fs::File, bool)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = private::options();
    options.read(true);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((options.open(path)?, false)),
        made => {
            let file = made?;
            restrict(path);
            Ok((file, true))
        }
    }
}

/// Takes a new file, which was made with [`private::options`], from everybody but its owner where that is not done yet. A system
/// that cannot is told of once: the game goes on.
pub(crate) fn restrict(path: &Path) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Err(error) = private::restrict(path)
        && !TOLD.swap(true, Ordering::Relaxed)
    {
        bevy_log::warn!("others on this machine may read {}, as its folder says: {error}", path.display());
    }
}

/// Writes `content` into a new file beside `path` that only its owner may read, and gives that file's path. The folder is
/// made if it is missing. When it cannot be written whole, nothing is left of it.
pub(crate) fn write_beside(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut file = private::options().create_new(true).open(&beside)?;
    restrict(&beside);
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Whatever went wrong first is told.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    Ok(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("bevy_traversal-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_file_keeps_the_identity() {
        let folder = folder("identity");
        let path = folder.join("deeper").join("player.key");
        let first = from_file(&path).unwrap();
        assert_eq!(from_file(&path).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing beside it");
        fs::write(&path, b"short").unwrap();
        let error = from_file(&path).unwrap_err();
        assert!(error.to_string().contains("5 bytes"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"short", "what is there is not overwritten");
        fs::write(&path, vec![0; 1 << 20]).unwrap();
        assert!(from_file(&path).unwrap_err().to_string().contains("64 bytes"));
        // Of a start that the power failed at.
        fs::write(&path, b"").unwrap();
        let again = from_file(&path).unwrap();
        assert_eq!(from_file(&path).unwrap(), again);
        fs::write(&path, b"half").unwrap();
        let other = path.clone();
        let writer = std::thread::spawn(move || fs::write(other, [7; 32]).unwrap());
        assert_eq!(wait_for(&path), Some([7; 32]), "of another program, where there are no locks");
        writer.join().unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn each_instance_on_a_machine_has_an_identity_of_its_own() {
        let folder = folder("instances");
        let (first, held) = first_free(&folder).unwrap();
        assert_eq!(first, folder.join("player.key"));
        let (second, _held_too) = first_free(&folder).unwrap();
        assert_eq!(second, folder.join("player-2.key"));
        assert_ne!(from_file(&first).unwrap(), from_file(&second).unwrap());
        drop(held);
        assert_eq!(first_free(&folder).unwrap().0, first, "it is free again");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_app_names_one_folder_below_the_systems() {
        for bad in ["", ".", "..", "../up", "a/b", "a\\b", "C:x", "nul\0", &"a".repeat(65)] {
            let error = data_folder(bad).unwrap_err().to_string();
            assert!(error.contains("letters, digits"), "{bad:?}: {error}");
        }
        assert!(data_folder("squares-2.0").unwrap().to_string_lossy().contains("squares-2.0"));
    }

    #[test]
    fn programs_that_start_at_once_have_one_identity() {
        let folder = folder("identities");
        for round in 0..50 {
            let path = folder.join(format!("{round}.key"));
            let start = std::sync::Barrier::new(4);
            let secrets: Vec<[u8; 32]> = std::thread::scope(|scope| {
                let make = || {
                    start.wait();
                    from_file(&path).unwrap()
                };
                let threads = [(); 4].map(|()| scope.spawn(make));
                threads.map(|thread| thread.join().unwrap()).to_vec()
            });
            assert!(secrets.iter().all(|secret| secret[..] == fs::read(&path).unwrap()[..]), "round {round}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
