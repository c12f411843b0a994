//! A laboratory for `bevy_traversal`: simulated NATs, links and whole worlds that drive the shipping agent and the
//! shipping lobby server in virtual time, and real programs behind emulated NATs.

pub mod cli;
pub mod demo;
pub mod link;
pub mod lobby;
pub mod matrix;
pub mod nat;
#[cfg(target_os = "linux")]
pub mod netns;
pub mod oracle;
pub mod player;
pub mod scenario;
pub mod stats;
pub mod world;
