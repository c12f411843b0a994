//! The server's key: made on the first start, kept in a file that only its owner may read.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use traversal_core::Identity;
use traversal_udp::private;

use crate::files::folder_of;

/// The key cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The platform names no data directory.
    #[error("no home directory to keep the server's key in; give --key-file FILE")]
    NoDirectory,
    /// The file cannot be read or written.
    #[error("key file {path} cannot be read or made")]
    File {
        /// This is the file that was asked for.
        path: PathBuf,
        /// This is what the system said.
        source: io::Error,
    },
    /// There is no key yet.
    #[error("there is no key at {path}: start the server once, or make one with `lobby_server key --new`")]
    Missing {
        /// This is the file that it would be in.
        path: PathBuf,
    },
    /// A new key was asked for where there is one.
    #[error(
        "there is a key at {path} already; games that pin it refuse another one. Move it away to have a new one made"
    )]
    Exists {
        /// This is the file that it is in.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error(
        "key file {path} holds no key; move it away to have a new one made (clients that pin the old key must then be told)"
    )]
    Malformed {
        /// This is the file that was asked for.
        path: PathBuf,
    },
    /// There are two places where it may be, and nobody said which.
    #[error(
        "this user's key would be in {own}, that of this machine's service is in {service}: say which with --key-file FILE{}",
        root(.service)
    )]
    Ambiguous {
        /// This is the place of a server that this user starts.
        own: PathBuf,
        /// This is the place of the service's key.
        service: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoEntropy,
}

/// Says that the service's key is root's to read, where it is.
fn root(service: &Path) -> &'static str {
    match service.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => ", as root for the service's",
        _ => "",
    }
}

/// The unit of systemd that comes with the server keeps its key here.
pub const SERVICE_FILE: &str = "/var/lib/lobby_server/server.key";

/// Draws 32 random bytes from the system.
pub(crate) fn entropy() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| KeyError::NoEntropy)?;
    Ok(bytes)
}

/// Returns where the key is kept if nothing else is said.
///
/// # Errors
/// [`KeyError::NoDirectory`].
pub fn default_file() -> Result<PathBuf, KeyError> {
    let directories = directories::ProjectDirs::from("", "", "lobby_server").ok_or(KeyError::NoDirectory)?;
    Ok(directories.data_dir().join("server.key"))
}

/// Returns the file of the key that a person asks for who names none: of this user's own server or, where that has no
/// key, of this machine's service ([`SERVICE_FILE`]). `new`: one is to be made.
///
/// # Errors
/// [`KeyError::Ambiguous`] where it could be either, since who pins the wrong one locks everybody out;
/// [`KeyError::NoDirectory`].
pub fn file_to_show(new: bool) -> Result<PathBuf, KeyError> {
    if cfg!(unix) { choose(default_file()?, SERVICE_FILE.into(), new) } else { default_file() }
}

fn choose(own: PathBuf, service: PathBuf, new: bool) -> Result<PathBuf, KeyError> {
    let absent = |path: &Path| {
        path.metadata().is_err_and(|error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        })
    };
    // Before its first start the service has a folder at the most, and its unit.
    let place = if new { service.parent().unwrap_or(&service) } else { &service };
    if own == service || absent(place) {
        return Ok(own);
    }
    if new || !absent(&own) || std::fs::File::open(&service).is_err() {
        return Err(KeyError::Ambiguous { own, service });
    }
    Ok(service)
}

/// Returns the key that the server would start with: none yet, where the first start makes it.
///
/// # Errors
/// What the start would fail with; nothing is made or changed.
pub fn check(path: &Path) -> Result<Option<Identity>, KeyError> {
    match load(path) {
        Err(KeyError::Missing { .. }) => {}
        other => return other.map(Some),
    }
    let directory = folder_of(path);
    let there = directory.ancestors().find(|folder| folder.exists());
    // A key file would be made in the same way.
    let there = there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match tempfile::tempfile_in(there) {
        Ok(_) => Ok(None),
        Err(source) => Err(KeyError::File { path: path.into(), source }),
    }
}

/// Writes a public key as it is printed.
pub fn printed(public_key: &[u8; 32]) -> String {
    STANDARD.encode(public_key)
}

/// Reads the key. Warns when others than its owner can read it too.
///
/// # Errors
/// [`KeyError::Missing`] where there is none; see [`KeyError`] for the rest.
pub fn load(path: &Path) -> Result<Identity, KeyError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let identity = parse(path, &text)?;
            warn_if_others_can_read(path);
            Ok(identity)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyError::Missing { path: path.into() }),
        Err(source) => Err(KeyError::File { path: path.into(), source }),
    }
}

/// Makes a key where there is none.
///
/// # Errors
/// [`KeyError::Exists`] where there is one; see [`KeyError`] for the rest.
pub fn create(path: &Path) -> Result<Identity, KeyError> {
    let secret = entropy()?;
    match write(path, &secret) {
        Ok(()) => {
            tracing::info!(file = %path.display(), "made a new server key");
            Ok(Identity::from_secret(secret))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyError::Exists { path: path.into() })
        }
        Err(source) => Err(KeyError::File { path: path.into(), source }),
    }
}

/// Reads the key, or makes one where there is none.
///
/// # Errors
/// See [`KeyError`].
pub fn load_or_create(path: &Path) -> Result<Identity, KeyError> {
    match load(path) {
        Err(KeyError::Missing { .. }) => {}
        other => return other,
    }
    match create(path) {
        // Another process was faster.
        Err(KeyError::Exists { .. }) => load(path),
        other => other,
    }
}

/// This takes a file from everybody but its owner, as it is typed.
const RESTRICT: &str =
    if cfg!(windows) { "icacls FILE /inheritance:r /grant:r \"%USERNAME%:F\"" } else { "chmod 600 FILE" };

fn warn_if_others_can_read(path: &Path) {
    if private::is_open_to_others(path).is_ok_and(|open| open) {
        tracing::warn!(
            file = %path.display(),
            "others on this machine can read or change the server's key, and pretend to be this server: {RESTRICT}"
        );
    }
}

/// Takes a new file from everybody but its owner where that is not done yet.
fn restrict(path: &Path) {
    if let Err(error) = private::restrict(path) {
        tracing::warn!(
            %error,
            "others on this machine can read the server's key where its folder says so: the system does not restrict it"
        );
    }
}

fn parse(path: &Path, text: &str) -> Result<Identity, KeyError> {
    STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(Identity::from_secret)
        .ok_or_else(|| KeyError::Malformed { path: path.into() })
}

/// Puts the file in its place whole, or not at all: a full disk leaves nothing behind. Never over another one.
fn write(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let directory = folder_of(path);
    std::fs::create_dir_all(directory)?;
    // Only its owner may read it.
    let mut file = tempfile::Builder::new().prefix(".server.key.").tempfile_in(directory)?;
    restrict(file.path());
    writeln!(file, "{}", STANDARD.encode(secret))?;
    file.as_file().sync_all()?;
    if let Err(error) = file.persist_noclobber(path) {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            return Err(error.error);
        }
        // The file system knows neither links nor a rename that spares what is there.
        in_place(path, secret)?;
    }
    // That it has its name outlives a power cut too, where the system can say so.
    if let Ok(directory) = std::fs::File::open(directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}

/// Writes it without a file beside it: nothing of it is left when it cannot be written whole.
fn in_place(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let mut file = private::options().create_new(true).open(path)?;
    restrict(path);
    let written = writeln!(file, "{}", STANDARD.encode(secret)).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deeper").join("server.key");
        let first = load_or_create(&path).unwrap().public_key();
        assert_eq!(load_or_create(&path).unwrap().public_key(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(matches!(create(&path), Err(KeyError::Exists { .. })), "never over another one");
        assert_eq!(load(&path).unwrap().public_key(), first);
        let files = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing is left beside it");
        std::fs::write(&path, "junk").unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyError::Malformed { .. })));
        let missing = directory.path().join("none");
        assert!(matches!(load(&missing), Err(KeyError::Missing { .. })) && !missing.exists());
    }

    #[test]
    fn a_key_is_shown_only_where_there_is_no_doubt_which_one_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let (own, service) =
            (directory.path().join("own/server.key"), directory.path().join("service/server.key"));
        let chosen = |new| choose(own.clone(), service.clone(), new);
        // No service on this machine.
        assert_eq!(chosen(false).unwrap(), own);
        assert_eq!(chosen(true).unwrap(), own);
        // One that has never run.
        std::fs::create_dir(service.parent().unwrap()).unwrap();
        assert_eq!(chosen(false).unwrap(), own);
        assert!(matches!(chosen(true), Err(KeyError::Ambiguous { .. })), "whose is to be made?");
        create(&service).unwrap();
        assert_eq!(chosen(false).unwrap(), service);
        create(&own).unwrap();
        let error = chosen(false).unwrap_err().to_string();
        let named = [&own, &service].map(|path| error.contains(path.to_str().unwrap()));
        assert_eq!(named, [true, true], "{error}");
    }

    #[test]
    fn a_check_of_the_key_changes_nothing_and_finds_what_the_start_would() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("deeper/still/server.key");
        assert!(check(&missing).unwrap().is_none());
        assert!(!directory.path().join("deeper").exists());
        assert!(matches!(check(directory.path()), Err(KeyError::File { .. })));
        let file = directory.path().join("file");
        std::fs::write(&file, "junk").unwrap();
        assert!(matches!(check(&file), Err(KeyError::Malformed { .. })));
        assert!(matches!(check(&file.join("server.key")), Err(KeyError::File { .. })));
        let key = create(&missing).unwrap().public_key();
        assert_eq!(check(&missing).unwrap().unwrap().public_key(), key);
    }

    #[test]
    fn without_links_the_key_is_written_in_its_place_and_never_over_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.key");
        in_place(&path, &[7; 32]).unwrap();
        let key = load(&path).unwrap().public_key();
        assert_eq!(key, Identity::from_secret([7; 32]).public_key());
        let error = in_place(&path, &[8; 32]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(load(&path).unwrap().public_key(), key);
    }
}
