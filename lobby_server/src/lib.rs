//! Lobby server of `bevy_traversal`: matches players, directs hole punching, answers STUN.
//!
//! [`Server`] is the core, without sockets, clock or threads; simulators turn it themselves. [`LobbyServer`] runs
//! it on real sockets in a thread of its own, for games that bring their server along.

pub mod config;
mod limits;
mod matchmaking;
pub mod registry;
mod rendezvous;
mod rooms;
mod server;
mod stun;

pub use config::{ConfigError, ServerConfig, Settings};
pub use limits::Rate;
pub use registry::MemoryRegistry;
pub use server::{Counters, Gauges, Server, ServerSocket, ServerSocketId, ServerTransmit, TokenCheck};
pub use traversal_core::Identity;
