//! What a program logs about its faults, for tests that count the lines.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing_subscriber::filter::LevelFilter;

/// This is what the process has logged.
#[derive(Clone, Copy)]
struct Log;

static LOGGED: Mutex<String> = Mutex::new(String::new());

fn kept() -> MutexGuard<'static, String> {
    LOGGED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        kept().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep what the process logs, from DEBUG on. Tests of one program share it; a second call does nothing.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).with_ansi(false);
        lines.with_writer(|| Log).init();
    });
}

/// Returns all that was logged since [`listen`].
pub fn logged() -> String {
    kept().clone()
}

/// Returns the levels of the lines of one crate that name this address, which no other test should have; but for
/// those that tell of a login from there.
pub fn levels_about(crate_name: &str, address: SocketAddr) -> Vec<&'static str> {
    let (ours, address) = (format!("{crate_name}::"), address.to_string());
    let names = |line: &str| {
        let behind = line.split_once(&address).map(|(_, behind)| behind);
        behind.is_some_and(|behind| !behind.starts_with(|next: char| next.is_ascii_digit()))
    };
    let logged = logged();
    let of_a_fault = |line: &&str| line.contains(&ours) && names(line) && !line.contains("logged in to ");
    let lines = logged.lines().filter(of_a_fault);
    let level =
        |line: &str| ["DEBUG", "INFO", "WARN", "ERROR"].into_iter().find(|level| line.contains(level));
    lines.filter_map(level).collect()
}
