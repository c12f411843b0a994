//! Sans-IO core of `bevy_traversal`. See [`Agent`] for the run-loop contract.

mod agent;
mod api;
mod attempt;
pub mod classify;
pub mod config;
mod cx;
mod detection;
pub mod failure;
pub mod id;
mod lobby;
mod login;
pub mod nat;
mod path;
mod peer;
pub mod plan;
pub mod ports;
pub mod punch;
mod sockets;
mod timer;
pub mod wire;

pub use agent::{
    Agent, Command, DisconnectReason, Event, IntoSocketError, LobbyError, LobbyState, Output, PathInfo,
    PathKind, ReleasedSocket, RequestFailure, RequestKind, SocketId, Transmit,
};
pub use config::{AgentConfig, Caps, Detect, RelayPolicy};
pub use path::{is_local, is_sendable};
pub use wire::handshake::Identity;
