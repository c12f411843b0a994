//! Looks at the running server and its process once a second, from a thread of its own: what the kernel lost, what the
//! process takes, the last hour for the charts, and what the operator is to hear of.
//!
//! The game's thread does nothing for it but to say how it is. What `/proc` costs, and lines of the log, are not its own.

mod history;
mod process;
mod usage_file;
mod warnings;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use traversal_udp::{KernelQueue, kernel_queues};

use crate::status::{Handle, Status};
use history::History;
pub(crate) use history::{PERIOD as HISTORY_PERIOD, Sample};
pub(crate) use process::Process;
pub(crate) use usage_file::UsageFile;
use warnings::Warnings;

/// It looks so often.
const PERIOD: Duration = Duration::from_secs(1);
/// The kernel's list of sockets is read again only after so many times as long as it took: it has all UDP sockets of the
/// machine, and 17,000 of them take 0.1 s, most of which the network code is kept from its own work. So it is a fiftieth of a core.
const KERNEL_PAUSE: u32 = 50;

/// This is what the kernel says of all UDP sockets of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// So many datagrams were lost since the server's start because a receive buffer was full.
    pub(crate) drops: u64,
    /// So many bytes wait in receive buffers.
    pub(crate) waiting: u64,
}

/// This is what was seen last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// None where the system does not tell.
    pub(crate) kernel: Option<Kernel>,
    pub(crate) process: Option<Process>,
    pub(crate) history: Vec<Sample>,
}

/// This watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    /// The thread ends when this is gone, and is not waited for: it may just be waiting for the game's thread.
    _end: Sender<()>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn start(handle: Handle, usage_file: Option<UsageFile>) -> std::io::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (end, ended) = channel();
        let watcher = Watcher {
            handle,
            seen: Arc::clone(&seen),
            drops: Drops::default(),
            kernel: None,
            kernel_due: Instant::now(),
            history: History::default(),
            warnings: Warnings::default(),
            usage_file,
        };
        std::thread::Builder::new().name("lobby_watch".into()).spawn(move || watcher.run(&ended))?;
        Ok(Self { seen, _end: end })
    }

    /// Shares what is seen.
    pub(crate) fn seen(&self) -> Arc<Mutex<Seen>> {
        Arc::clone(&self.seen)
    }
}

/// Returns a copy of what was seen.
pub(crate) fn look(seen: &Mutex<Seen>) -> Seen {
    seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Watcher {
    handle: Handle,
    seen: Arc<Mutex<Seen>>,
    drops: Drops,
    /// This is what the kernel said when it was asked last.
    kernel: Option<Kernel>,
    /// It is asked again from then on.
    kernel_due: Instant,
    history: History,
    warnings: Warnings,
    usage_file: Option<UsageFile>,
}

impl Watcher {
    fn run(mut self, ended: &Receiver<()>) {
        while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            // Where it does not answer within a second it is asked again; that it was late is seen then.
            if let Some(status) = self.handle.status() {
                self.look(Instant::now(), &status);
            }
        }
    }

    fn look(&mut self, now: Instant, status: &Status) {
        if self.kernel_due <= now {
            let begun = Instant::now();
            self.kernel = kernel_queues(&status.kernel_ids).ok().map(|queues| self.drops.note(&queues));
            self.kernel_due = now + KERNEL_PAUSE * begun.elapsed();
        }
        let kernel = self.kernel;
        let process = Process::read();
        if self.history.due() <= status.uptime {
            self.history.take(status, kernel, process);
        }
        self.warnings.tell(now, status, kernel);
        if let Some(file) = &mut self.usage_file {
            file.keep(now, &status.relay_usage);
        }
        let seen = Seen { kernel, process, history: self.history.samples().collect() };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// The kernel counts for each socket, and a socket that was opened anew begins at zero.
#[derive(Debug, Default)]
struct Drops {
    by_socket: BTreeMap<u64, u64>,
    total: u64,
}

impl Drops {
    fn note(&mut self, queues: &BTreeMap<u64, KernelQueue>) -> Kernel {
        for (id, queue) in queues {
            let before = self.by_socket.get(id).copied().unwrap_or_default();
            // The kernel counts in 32 bits.
            self.total += u64::from((queue.drops as u32).wrapping_sub(before as u32));
        }
        self.by_socket = queues.iter().map(|(id, queue)| (*id, queue.drops)).collect();
        Kernel { drops: self.total, waiting: queues.values().map(|queue| queue.waiting).sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_all_sockets_add_up_over_a_new_one_and_an_overflow() {
        let queues = |counts: &[(u64, u64)]| {
            let queue = |(id, drops): &(u64, u64)| (*id, KernelQueue { waiting: 10, drops: *drops });
            counts.iter().map(queue).collect::<BTreeMap<_, _>>()
        };
        let mut drops = Drops::default();
        assert_eq!(drops.note(&queues(&[(1, 5), (2, 0)])), Kernel { drops: 5, waiting: 20 });
        assert_eq!(drops.note(&queues(&[(1, 7), (2, 1)])).drops, 8);
        assert_eq!(drops.note(&queues(&[(3, 2), (2, 1)])).drops, 10, "the first was opened anew");
        assert_eq!(drops.note(&queues(&[(3, u64::from(u32::MAX))])).drops, 10 + u64::from(u32::MAX) - 2);
        let before = drops.total;
        assert_eq!(drops.note(&queues(&[(3, 1)])).drops, before + 2);
    }
}
