//! What the kernel says of the queues of UDP sockets: what waits there, and what was lost because they were full.
//!
//! A datagram for which a socket's receive buffer has no room is dropped without a word to anybody. Linux counts them in
//! `/proc/net/udp` and `/proc/net/udp6` (the last column; the socket options `SO_RXQ_OVFL` and `SO_MEMINFO` tell the same
//! number). Other systems do not tell it for each socket.

use std::collections::BTreeMap;
use std::io;

/// This is what the kernel says of one UDP socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelQueue {
    /// So many bytes of received datagrams wait to be read, with the kernel's own memory for each.
    pub waiting: u64,
    /// So many datagrams were lost since the socket was opened: its queue was full, or their checksum was wrong.
    pub drops: u64,
}

/// Returns what the kernel says of these sockets, by [`Socket::kernel_id`](crate::Socket::kernel_id). It reads the lines of
/// all UDP sockets in the calling thread's network namespace, which takes some microseconds for each.
///
/// # Errors
/// On systems other than Linux and Android, and where `/proc` cannot be read.
pub fn kernel_queues(ids: &[u64]) -> io::Result<BTreeMap<u64, KernelQueue>> {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut found = parse(&std::fs::read_to_string("/proc/thread-self/net/udp")?, ids);
    // Where IPv6 is switched off there is no such file.
    if let Ok(text) = std::fs::read_to_string("/proc/thread-self/net/udp6") {
        found.append(&mut parse(&text, ids));
    }
    Ok(found)
}

/// Takes the lines of these sockets; the first line is a heading.
fn parse(text: &str, ids: &[u64]) -> BTreeMap<u64, KernelQueue> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let queues = words.nth(4)?;
        let id = words.nth(4)?.parse().ok()?;
        let drops = words.nth(2)?.parse().ok()?;
        let waiting = u64::from_str_radix(queues.split(':').nth(1)?, 16).ok()?;
        Some((id, KernelQueue { waiting, drops }))
    };
    text.lines().skip(1).filter_map(line).filter(|(id, _)| ids.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 prints it.
    const TEXT: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1404: 00000000:0D96 00000000:0000 07 00000000:00034B00 00:00000000 00000000   998        0 37713 2 00000000c0e3a52f 997324
 2030: 0100007F:0D97 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 37714 2 0000000000000000 0
";

    #[test]
    fn a_line_is_read_as_the_kernel_writes_it_and_junk_is_passed_over() {
        let found = parse(TEXT, &[37713]);
        assert_eq!(found, [(37713, KernelQueue { waiting: 0x34B00, drops: 997_324 })].into());
        assert_eq!(parse(TEXT, &[37713, 37714, 5]).len(), 2);
        for end in 0..TEXT.len() {
            assert!(parse(&TEXT[..end], &[37713, 37714]).len() <= 2);
        }
        assert!(parse("sl\n1 2 3 4 5 6 7 8 9 10 11 12 13\n", &[10]).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn datagrams_for_which_a_socket_has_no_room_are_counted_and_those_that_wait_are_seen() {
        let small = crate::Socket::open("127.0.0.1:0".parse().unwrap(), Some(4096)).unwrap();
        let other = crate::Socket::open("[::1]:0".parse().unwrap(), None).ok();
        let ids: Vec<u64> = [Some(&small), other.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(crate::Socket::kernel_id)
            .collect();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // The system takes more than is asked for, but not a megabyte.
        for _ in 0..1000 {
            sender.send_to(&[7; 1000], small.local()).unwrap();
        }
        let queues = kernel_queues(&ids).unwrap();
        assert_eq!(queues.len(), ids.len());
        let full = queues[&ids[0]];
        assert!(full.drops > 900 && full.drops < 1000, "{full:?}");
        assert!(full.waiting > 1000, "{full:?}");
        if let Some(id) = ids.get(1) {
            assert_eq!(queues[id], KernelQueue::default());
        }
    }
}
