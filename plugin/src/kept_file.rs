//! Files that are kept from one start to the next, as a rule beside the player's identity.

use std::io;
use std::path::{Path, PathBuf};

use traversal_udp::private;

/// This is where something is kept from one start to the next: the keys of lobby servers
/// ([`TraversalConfig::known_servers`](crate::TraversalConfig::known_servers)), NAT profiles
/// ([`TraversalConfig::kept_profiles`](crate::TraversalConfig::kept_profiles)) or contacts
/// ([`TraversalConfig::contacts`](crate::TraversalConfig::contacts)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeptFile {
    /// It is kept beside the file of [`IdentitySource::Platform`](crate::IdentitySource::Platform) or
    /// [`IdentitySource::File`](crate::IdentitySource::File), with an ending of its own behind the file's name. With another
    /// identity it is not kept.
    #[default]
    BesideIdentity,
    /// It is kept in this file.
    File(PathBuf),
    /// It is not kept.
    Off,
}

impl KeptFile {
    /// Returns the file, if there is one. `beside`: the identity's file; `ending`: what is put behind its name.
    pub(crate) fn path(&self, beside: Option<&Path>, ending: &str) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::BesideIdentity => {
                let mut path = beside?.to_owned().into_os_string();
                path.push(ending);
                Some(path.into())
            }
            Self::Off => None,
        }
    }
}

/// Reads a text file of at most this many bytes; none where there is no such file.
///
/// # Errors
/// The system's; [`io::ErrorKind::FileTooLarge`] and [`io::ErrorKind::InvalidData`] where it is no text of ours.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<Option<String>> {
    match private::read_at_most(path, most) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_the_identity_or_where_it_is_said_or_nowhere() {
        let identity = Some(Path::new("/home/a/player.key"));
        let beside = KeptFile::BesideIdentity;
        assert_eq!(beside.path(identity, ".contacts"), Some("/home/a/player.key.contacts".into()));
        assert_eq!(beside.path(None, ".contacts"), None);
        assert_eq!(KeptFile::Off.path(identity, ".contacts"), None);
        let elsewhere = KeptFile::File("/tmp/contacts".into());
        assert_eq!(elsewhere.path(None, ".other"), Some("/tmp/contacts".into()));
    }
}
