//! A laboratory for `bevy_traversal`: simulated NATs, links and whole worlds that drive the shipping agent and the
//! shipping lobby server in virtual time, and real programs behind emulated NATs.

pub mod link;
pub mod nat;
pub mod oracle;
pub mod stats;
pub mod world;
