//! What Linux tells of a process: its processor time, its memory, and what its sockets lost.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A process needs so many descriptors beside its players' sockets.
const BESIDE: u64 = 256;

/// Returns the processor time of one thread, from its `schedstat`.
fn of_thread(folder: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(folder.join("schedstat")).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

/// Returns the processor time that a process has had: that of all the threads that it has. None: there is no such process.
pub(super) fn processor_time(pid: u32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(threads.flatten().filter_map(|thread| of_thread(&thread.path())).sum())
}

/// Returns the processor time that the calling thread has had.
pub(super) fn own_time() -> Duration {
    of_thread(Path::new("/proc/thread-self")).unwrap_or_default()
}

/// Returns how many megabytes of memory a process has.
pub(super) fn memory_mb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// Returns how many datagrams the receive buffer of the UDP socket at this address had no room for: the last column of
/// `/proc/net/udp`. None: there is no such socket here.
pub(super) fn socket_drops(address: SocketAddr) -> Option<u64> {
    let table = if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    let text = std::fs::read_to_string(table).ok()?;
    drops_in(&text, address)
}

/// Returns an address as these tables have it: each 32 bits as this machine reads them, in hexadecimal.
fn in_table(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (words, _) = octets.as_chunks::<4>();
    let words: String = words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
    format!("{words}:{:04X}", address.port())
}

fn drops_in(table: &str, address: SocketAddr) -> Option<u64> {
    // Players at other addresses may have the server's port.
    let everywhere = SocketAddr::new(
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() },
        address.port(),
    );
    let served = [in_table(address), in_table(everywhere)];
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_server = served.iter().any(|served| columns.get(1) == Some(&served.as_str()));
        is_server.then(|| columns.last()?.parse().ok())?
    })
}

/// This is what became of the wish for more descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Descriptors {
    /// The process had leave for so many when it began.
    pub before: u64,
    /// It has leave for so many now.
    pub now: u64,
    /// It wanted so many.
    pub wanted: u64,
}

/// Lets this process, and those that it starts, open as many files as so many sockets take, as far as the system allows: up
/// to the hard limit, and beyond where it may raise that one, too.
pub(super) fn raise_descriptors(sockets: u64) -> Descriptors {
    let wanted = sockets + BESIDE;
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    if before < wanted {
        let beyond = wanted > hard && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok();
        if !beyond {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
        }
    }
    let now = getrlimit(Resource::RLIMIT_NOFILE).map_or(before, |(soft, _)| soft);
    Descriptors { before, now, wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_has_time_and_memory() {
        let before = own_time();
        let mut sum = 0u64;
        while own_time() <= before {
            (0..10_000u64).for_each(|n| sum = sum.wrapping_add(n * n));
        }
        assert!(processor_time(std::process::id()).unwrap() >= own_time(), "{sum}");
        assert!(memory_mb(std::process::id()).unwrap() > 1.0);
        assert_eq!(processor_time(u32::MAX), None);
    }

    #[test]
    fn drops_are_the_last_column() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let line = |address: &str, drops: u32| {
            let address = in_table(at(address));
            format!(
                "10: {address} 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 53249 2 0 {drops}\n"
            )
        };
        let table = [
            "sl local_address rem_address\n".to_owned(),
            line("127.64.0.7:3478", 1),
            line("127.0.0.1:3478", 4711),
            line("0.0.0.0:3480", 5),
        ];
        let drops = |address| drops_in(&table.concat(), at(address));
        assert_eq!((drops("127.0.0.1:3478"), drops("127.0.0.1:3479")), (Some(4711), None));
        assert_eq!(drops("127.0.0.1:3480"), Some(5));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(socket_drops(socket.local_addr().unwrap()), Some(0));
        if let Ok(socket) = std::net::UdpSocket::bind("[::1]:0") {
            assert_eq!(socket_drops(socket.local_addr().unwrap()), Some(0));
        }
    }

    #[test]
    fn descriptors_are_raised_up_to_what_is_allowed() {
        let got = raise_descriptors(100);
        assert!(got.now >= got.before && got.wanted == 100 + BESIDE, "{got:?}");
    }
}
