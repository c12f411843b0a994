//! What the process takes of the machine.

/// These numbers are known on Linux; elsewhere they are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// It has used so many seconds of processor time, its own and the kernel's for it.
    pub(crate) cpu_seconds: f64,
    /// So many bytes of its memory are in the machine's.
    pub(crate) resident_bytes: u64,
    /// So many bytes of addresses are in use.
    pub(crate) virtual_bytes: u64,
    /// It has so many files and sockets open.
    pub(crate) open_fds: u64,
    /// It may have so many open; none: without a limit.
    pub(crate) max_fds: Option<u64>,
}

impl Process {
    /// Asks the system.
    pub(crate) fn read() -> Option<Self> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
            let (ticks, page) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64);
            parse(&stat, ticks, page)
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        None
    }
}

/// Reads `/proc/self/stat` (proc(5)): the fields stand behind the name, which may have spaces and brackets itself.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn parse(stat: &str, ticks_per_second: u64, page: u64) -> Option<Process> {
    use traversal_udp::descriptors;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process {
        cpu_seconds: (number(11)? + number(12)?) as f64 / ticks_per_second.max(1) as f64,
        virtual_bytes: number(20)?,
        resident_bytes: number(21)?.saturating_mul(page),
        open_fds: descriptors::open(),
        max_fds: descriptors::limit(),
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_program_is_called() {
        let line = "4242 (a) b (c) S 1 4242 4242 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 3 0 99 1048576 300 18446744073709551615";
        let process = parse(line, 100, 4096).unwrap();
        assert_eq!(process.cpu_seconds, 2.0);
        assert_eq!((process.virtual_bytes, process.resident_bytes), (1_048_576, 300 * 4096));
        assert_eq!(parse("4242 (a) S 1 2", 100, 4096), None);
    }

    #[test]
    fn this_very_process_uses_memory_and_files() {
        let process = Process::read().unwrap();
        assert!(
            process.resident_bytes > 100_000 && process.virtual_bytes > process.resident_bytes,
            "{process:?}"
        );
        assert!(process.open_fds > 2, "{process:?}");
    }
}
