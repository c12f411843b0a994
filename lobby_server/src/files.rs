//! How many files and sockets the process may have open, and who gets them.
//!
//! Players' TCP connections come last: a part is kept back, so that however many connect, the status page, the log and
//! the key file still find a descriptor. And how a file is written so that nobody finds half of it.

use std::io::{self, Write};
use std::path::Path;

use traversal_udp::descriptors;

use crate::config::Settings;
use crate::http::MAX_CONNECTIONS;

/// Descriptors kept back from TCP connections: those of HTTP, and some for files, the resolver, and connections that
/// are about to be closed.
const RESERVE: u64 = MAX_CONNECTIONS as u64 + 64;
/// The program has so much open beside: libraries, the poller, a log, UDP sockets.
#[cfg(unix)]
const OPEN_ALREADY: u64 = 64;

/// Lets this process open as many files as `max_tcp` wants, as far as the system allows (the hard limit). For programs:
/// a library does not change the process that it is in.
pub fn raise_limit(settings: &Settings) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let wanted = settings.max_tcp as u64 + RESERVE + OPEN_ALREADY;
        let limit = getrlimit(Resource::Nofile);
        let Some(current) = limit.current.filter(|current| *current < wanted) else { return };
        let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        if raised > current {
            // Where the system refuses, fewer TCP connections are taken.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
        }
    }
    #[cfg(not(unix))]
    let _ = settings;
}

/// Returns for how many TCP connections of players there are descriptors, at most as many as the settings say. It is
/// called when the server's own sockets are open.
pub(crate) fn tcp_places(settings: &Settings) -> usize {
    let Some(limit) = descriptors::limit() else { return settings.max_tcp };
    let places = places(limit, descriptors::open(), settings.max_tcp);
    if places < settings.max_tcp && !settings.no_tcp {
        tracing::warn!(
            places,
            max_tcp = settings.max_tcp,
            "the system lets this process open {limit} files: fewer TCP connections of players are taken than \
             max_tcp says. Raise it (ulimit -n, LimitNOFILE= of systemd) or lower max_tcp"
        );
    }
    places
}

/// Returns the folder that a file is in, or is to be made in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts a whole file in the place of the old one: whoever reads, or is killed, finds one or the other.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
    file.write_all(content)?;
    file.as_file().sync_data()?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

fn places(limit: u64, open: u64, max_tcp: usize) -> usize {
    let left = limit.saturating_sub(open).saturating_sub(RESERVE);
    usize::try_from(left).unwrap_or(usize::MAX).min(max_tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_descriptors_is_kept_back() {
        // What shells give on Linux (1024) and macOS (256), and a service with room.
        assert_eq!(places(1024, 16, 2000), 1024 - 16 - RESERVE as usize);
        assert_eq!(places(256, 16, 2000), 256 - 16 - RESERVE as usize);
        assert_eq!(places(4096, 16, 2000), 2000);
        assert_eq!(places(64, 16, 2000), 0);
    }
}
