//! What the server's core takes, without sockets: processor time and memory.
//!
//! `cargo bench -p lobby_server --bench core -- login`: a login, beside the four multiplications on the curve that it is
//! made of at the least.
#![allow(clippy::unwrap_used)] // a bench is a test

mod login;
mod processor;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // `cargo test --all-targets` runs benches too, to see that they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    match words[..] {
        [] | ["login"] => login::run(),
        _ => println!("one of: login"),
    }
}
