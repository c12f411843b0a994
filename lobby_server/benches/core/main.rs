//! What the server's core takes, without sockets: processor time, memory, and what a second core gives.
//!
//! `cargo bench -p lobby_server --bench core -- WHAT`, where WHAT is
//! - `login`, or nothing: a login, beside the four multiplications on the curve that it is made of at the least;
//! - `memory [PLAYERS]`: players who are registered, a million if nothing else is said, by what the process holds (Linux);
//! - `play [PLAYERS] [JOINS_PER_SECOND]`: keepalives every 15 s and joins, 100,000 players and 500 joins if nothing else is said;
//! - `cores`: logins and relayed datagrams of one node and of two, each in a thread of its own.
#![allow(clippy::unwrap_used)] // a bench is a test

mod cores;
mod login;
mod memory;
mod play;
mod processor;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo test --all-targets` runs benches too, to see that they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |at: usize, usual: u32| words.get(at).map_or(usual, |word| word.parse().expect("a number"));
    match words.first().copied().unwrap_or("login") {
        "login" => login::run(),
        "memory" => memory::run(number(1, 1_000_000)),
        "play" => play::run(number(1, 100_000), number(2, 500)),
        "cores" => cores::run(),
        _ => println!("one of: login, memory [PLAYERS], play [PLAYERS] [JOINS_PER_SECOND], cores"),
    }
}
