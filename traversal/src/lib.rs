//! Sans-IO core of `bevy_traversal`. See [`Agent`] for the run-loop contract.

pub mod agent;
pub mod classify;
pub mod config;
pub mod failure;
pub mod id;
pub mod nat;
pub mod plan;
pub mod ports;
pub mod punch;
pub mod wire;

pub use agent::{
    Agent, Command, DisconnectReason, Event, IntoSocketError, LobbyError, LobbyState, Output, PathInfo,
    PathKind, ReleasedSocket, RequestFailure, RequestKind, SocketId, Transmit,
};
pub use config::{AgentConfig, Caps, Detect, RelayPolicy};
pub use wire::handshake::Identity;
