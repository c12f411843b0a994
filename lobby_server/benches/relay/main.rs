//! What the relay costs: datagrams forwarded per second of one core's time, beside a bare forwarder that makes the
//! same system calls and looks at nothing. Both run in this process, one after the other, several times in turn, under
//! the same load. Where coturn's `turnserver` is installed (Debian: `coturn`), it carries the same load too, as channel
//! data in a process of its own: a lean relay beside a general one.
//!
//! `cargo bench -p lobby_server --bench relay` prints a table and the ratio. Linux only: elsewhere it says so.
#![allow(clippy::unwrap_used)] // a bench is a test

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod turn;

fn main() {
    // `cargo test --all-targets` runs benches too, to see that they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    #[cfg(target_os = "linux")]
    linux::run();
    #[cfg(not(target_os = "linux"))]
    println!("this bench reads the threads' time from /proc: Linux only");
}
