//! A small arena shooter for two to eight players on `bevy_traversal` and renet: the first thing to run, and code
//! to copy from.
//!
//! - [`traversal_glue`]: all that a game needs to be tied to the traversal plugin; [`network`]: what this one shows of it; [`chat`]:
//!   what players write to each other;
//! - [`net`]: the game over renet, as in any game with a `RenetServer` and a `RenetClient`;
//! - [`flow`]: from "I want to play" to a running match; [`session`]: what is known on the way;
//! - [`sim`]: the rules; [`protocol`]: what is said; [`scene`]: what is to be seen;
//! - [`screens`], [`view`], [`theme`], [`input`], [`gamepad`], [`window`], `sound`: what a player sees and does; [`headless`], [`bots`]: without one.
#![allow(clippy::too_many_arguments, clippy::type_complexity)] // Bevy systems name what they need

pub mod app;
pub mod bench;
pub mod bots;
pub mod chat;
pub mod cli;
pub mod embedded;
pub mod flow;
pub mod gamepad;
pub mod headless;
pub mod input;
pub mod net;
pub mod network;
pub mod protocol;
pub mod scene;
pub mod screens;
pub mod session;
pub mod settings;
pub mod showcase;
pub mod sim;
#[cfg(feature = "sound")]
pub mod sound;
pub mod theme;
pub mod traversal_glue;
pub mod view;
pub mod window;
