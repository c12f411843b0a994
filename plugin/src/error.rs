//! What can go wrong on this machine, before or beside the network.

use std::net::SocketAddr;
use std::path::PathBuf;

use traversal_core::{FactError, IntoSocketError, LobbyError};

/// This is why there is no link to a lobby server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraversalError {
    /// The lobby server could not be reached or did not let this player in; the [`LobbyError`] says why.
    #[error(transparent)]
    Lobby(#[from] LobbyError),
    /// The server has another key than when this player first logged in to it.
    #[error(
        "{server} has another key than before: it was replaced, or somebody pretends to be it. If whoever runs it says \
         that it has a new key, remove the line that begins with \"{server}\" from {}",
        file.display()
    )]
    ServerKeyChanged {
        /// This is the server as the game names it, and as its line in the file begins.
        server: String,
        /// This file has the old key; see [`TraversalConfig::known_servers`](crate::TraversalConfig::known_servers).
        file: PathBuf,
    },
    /// The game's socket could not be opened.
    #[error("cannot open a UDP socket on {address}: {reason}")]
    Bind {
        /// This is the address that it was to be bound to.
        address: SocketAddr,
        /// This is the kind of failure, as the standard library tells it.
        kind: std::io::ErrorKind,
        /// This is what the system says about it.
        reason: String,
    },
    /// The identity file could not be read or written, or is none.
    #[error("cannot use the identity file {}: {reason}", path.display())]
    Identity {
        /// The identity was to be read from this file, or written to it.
        path: PathBuf,
        /// This is what the system says about it.
        reason: String,
    },
    /// [`AgentConfig::manual`](crate::AgentConfig::manual) has a fact that cannot be.
    #[error(transparent)]
    Facts(#[from] FactError),
    /// The system gave no random bytes, no poller or no thread.
    #[error("the network thread cannot run: {reason}")]
    Driver {
        /// This is what the system says about it.
        reason: String,
    },
}

/// This is why [`TraversalLink::into_socket`](crate::TraversalLink::into_socket) gave no socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The path does not allow it.
    #[error(transparent)]
    Path(#[from] IntoSocketError),
    /// The network thread does not run, or stopped meanwhile.
    #[error("the network thread does not run")]
    NotRunning,
    /// The system would not give the socket away.
    #[error("the system would not hand the socket over: {0}")]
    System(String),
}
