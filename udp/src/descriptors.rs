//! How many files and sockets the process has open, and may have.

/// This is what a process has open, where the system does not say how many: libraries, the poller, a log, sockets.
#[cfg(unix)]
const USUAL: u64 = 64;

/// Returns how many files and sockets this process may have open; none: the system has no such limit for sockets
/// (Windows), or there is none.
pub fn limit() -> Option<u64> {
    #[cfg(unix)]
    {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }
    #[cfg(not(unix))]
    {
        None
    }
}

/// Returns how many it has open, as well as the system tells (a usual number where it does not; 0 on Windows).
pub fn open() -> u64 {
    #[cfg(unix)]
    {
        // A directory of the process's descriptors: Linux, Android, macOS and iOS have it.
        std::fs::read_dir("/dev/fd").map_or(USUAL, |files| files.count() as u64)
    }
    #[cfg(not(unix))]
    {
        0
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn open_sockets_count() {
        let before = open();
        let sockets: Vec<_> = (0..20).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        // Other tests open and close some meanwhile.
        assert!(open() >= before + 10, "{} sockets", sockets.len());
        assert!(limit().unwrap() > 20);
    }
}
