//! What is fuzzed, as functions that take any bytes and panic when something that is promised does not hold.
//!
//! `fuzz/` runs them with cargo-fuzz, which wants a nightly compiler; `tests/replay.rs` runs each with its corpus and some
//! thousand damaged copies of it on whatever compiler there is, so that they never rot. See docs/fuzzing.md.

mod agent;
mod frame;
mod handshake;
mod messages;
mod mutation;
mod pair;
mod seals;
mod seeds;
mod server;
mod servers;
mod session;
mod settings;
mod stranger;
mod stream;
mod stun;

pub use agent::agent;
pub use frame::frame;
pub use handshake::handshake;
pub use pair::pair;
pub use seals::seals;
pub use seeds::seeds;
pub use server::server;
pub use session::session;
pub use settings::settings;
pub use stranger::stranger;
pub use stream::stream;
pub use stun::stun;

/// A target takes any bytes, and panics when a promise is broken.
pub type Target = fn(&[u8]);

/// These are all targets, by the names that `cargo fuzz` and the folders of the corpus have.
pub const ALL: [(&str, Target); 11] = [
    ("agent", agent),
    ("frame", frame),
    ("handshake", handshake),
    ("pair", pair),
    ("seals", seals),
    ("server", server),
    ("session", session),
    ("settings", settings),
    ("stranger", stranger),
    ("stream", stream),
    ("stun", stun),
];
