//! The server's key: made on the first start, kept in a file that only its owner may read.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use traversal_core::Identity;

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
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "key file {path} holds no key; move it away to have a new one made (clients that pin the old key must then be told)"
    )]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoEntropy,
}

/// 32 random bytes from the system.
pub(crate) fn entropy() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| KeyError::NoEntropy)?;
    Ok(bytes)
}

/// Where the key is kept if nothing else is said.
///
/// # Errors
/// [`KeyError::NoDirectory`].
pub fn default_file() -> Result<PathBuf, KeyError> {
    let directories = directories::ProjectDirs::from("", "", "lobby_server").ok_or(KeyError::NoDirectory)?;
    Ok(directories.data_dir().join("server.key"))
}

/// The printed form of a public key.
pub fn printed(public_key: &[u8; 32]) -> String {
    STANDARD.encode(public_key)
}

/// Reads the key, or makes one where there is none.
///
/// # Errors
/// See [`KeyError`].
pub fn load_or_create(path: &Path) -> Result<Identity, KeyError> {
    let file_error = |source| KeyError::File { path: path.into(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = entropy()?;
            match create(path, &secret) {
                Ok(()) => {
                    tracing::info!(file = %path.display(), "made a new server key");
                    Ok(Identity::from_secret(secret))
                }
                // Another one was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    parse(path, &std::fs::read_to_string(path).map_err(file_error)?)
                }
                Err(error) => Err(file_error(error)),
            }
        }
        Err(error) => Err(file_error(error)),
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

fn create(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{}", STANDARD.encode(secret))?;
    file.sync_all()
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
        std::fs::write(&path, "junk").unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyError::Malformed { .. })));
    }
}
