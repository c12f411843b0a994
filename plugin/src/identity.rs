//! The player's key pair, and the one place where entropy enters.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use traversal_core::Identity;

use crate::config::IdentitySource;
use crate::error::TraversalError;

/// 32 bytes from the system.
pub(crate) fn entropy() -> Result<[u8; 32], TraversalError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| TraversalError::Driver { reason: error.to_string() })?;
    Ok(bytes)
}

pub(crate) fn load(source: &IdentitySource) -> Result<Identity, TraversalError> {
    let secret = match source {
        IdentitySource::Ephemeral => entropy()?,
        IdentitySource::Secret(secret) => *secret,
        IdentitySource::File(path) => from_file(path)?,
    };
    Ok(Identity::from_secret(secret))
}

fn from_file(path: &Path) -> Result<[u8; 32], TraversalError> {
    let failed = |reason: String| TraversalError::Identity { path: path.to_owned(), reason };
    let read = || match fs::read(path) {
        Ok(bytes) => <[u8; 32]>::try_from(bytes)
            .map(Some)
            .map_err(|bytes| failed(format!("it has {} bytes instead of 32", bytes.len()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    };
    if let Some(secret) = read()? {
        return Ok(secret);
    }
    let secret = entropy()?;
    match create(path, &secret) {
        Ok(()) => Ok(secret),
        // Another process was faster: its identity counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read()?.ok_or_else(|| failed("it disappeared".into()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn create(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    // Linked into place, so that nobody reads half an identity and none takes the place of another.
    let beside = write_beside(path, secret)?;
    let linked = fs::hard_link(&beside, path);
    let removed = fs::remove_file(&beside);
    linked.and(removed)
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
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
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

    #[test]
    fn a_file_keeps_the_identity() {
        let folder = std::env::temp_dir().join(format!("bevy_traversal-{}", std::process::id()));
        let path = folder.join("player.key");
        let first = from_file(&path).unwrap();
        assert_eq!(from_file(&path).unwrap(), first);
        fs::write(&path, b"short").unwrap();
        let error = from_file(&path).unwrap_err();
        assert!(error.to_string().contains("5 bytes"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
