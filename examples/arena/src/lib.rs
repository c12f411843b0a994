//! A small arena shooter for two to eight players on `bevy_traversal` and renet.
//!
//! The rules are in [`sim`], what is said over the network in [`protocol`], who says it when in [`net`].

pub mod bots;
pub mod net;
pub mod protocol;
pub mod scene;
pub mod sim;
