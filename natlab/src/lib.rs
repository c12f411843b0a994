//! A laboratory for `bevy_traversal`: simulated NATs, links and whole worlds that drive the shipping agent and the
//! shipping lobby server in virtual time, and real programs behind emulated NATs.
//!
//! - [`nat`], [`link`] and [`world`]: the simulated internet, written apart from what the product believes about NATs;
//! - [`player`] and [`lobby`]: the shipping agent and server in it; [`freight`]: a game of long datagrams on top;
//!   [`scenario`]: one join of two players;
//! - [`matrix`] and [`stats`]: many of them; [`soak`]: random ones in which things go wrong; [`demo`]: one, told step by step;
//! - [`oracle`] and [`bound`]: what should be possible, and how often;
//! - `siege` (Linux): real players on a real lobby server under attack, on this machine's loopback;
//! - `load` (Linux): very many real players on a real lobby server, and what it costs;
//! - `netns` (Linux): real programs in namespaces, behind the same NATs or the kernel's; [`cli`]: the arguments.

pub mod bound;
pub mod cli;
pub mod demo;
pub mod freight;
pub mod link;
#[cfg(target_os = "linux")]
pub mod load;
pub mod lobby;
pub mod matrix;
pub mod nat;
#[cfg(target_os = "linux")]
pub mod netns;
pub mod oracle;
pub mod player;
pub mod scenario;
#[cfg(target_os = "linux")]
pub mod siege;
pub mod soak;
pub mod stats;
pub mod world;
