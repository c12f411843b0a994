//! What an agent tells about its link to the lobby server, and about its requests.

use std::net::SocketAddr;
use std::time::Duration;

use crate::id::PlayerId;
use crate::wire::message::{LoginRefusal, RequestError};

/// The state of the link to the lobby server.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum LobbyState {
    /// Not asked to connect.
    #[default]
    Offline,
    /// A login is under way.
    Connecting,
    /// Logged in.
    Online {
        /// This player's id.
        player: PlayerId,
        /// Where the server sees it.
        public: SocketAddr,
        /// The server's address.
        server: SocketAddr,
        /// The server's public key; to be kept for the next login, see [`Command::KnowServers`](crate::Command::KnowServers).
        server_key: [u8; 32],
    },
    /// No link; another try follows.
    Retrying {
        /// Why.
        error: LobbyError,
        /// When the next try is due.
        retry_in: Duration,
    },
    /// No link, and no further try: nothing would change.
    Refused {
        /// Why.
        error: LobbyError,
    },
}

/// Why there is no link to the lobby server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LobbyError {
    /// No answer from any of its addresses.
    #[error("the lobby server does not answer; check its address, and that UDP or TCP gets out to its port")]
    NoAnswer,
    /// Its name has no address.
    #[error("the lobby server's name cannot be resolved: {reason}")]
    Unresolvable {
        /// The resolver's words.
        reason: String,
    },
    /// Its key is not a pinned one.
    #[error("the lobby server's key is not the expected one; it was replaced, or somebody pretends to be it")]
    WrongKey,
    /// Its key is another one than when it was first reached, and none is pinned.
    #[error(
        "the lobby server at {server} has another key than before; it was replaced, or somebody pretends to be it"
    )]
    KeyChanged {
        /// Where it was reached.
        server: SocketAddr,
    },
    /// It speaks another version of our protocol.
    #[error("this game needs protocol {ours}, the server speaks {theirs}; update the older of the two")]
    OtherProtocol {
        /// Ours.
        ours: u16,
        /// The server's newest.
        theirs: u16,
    },
    /// It refused.
    #[error(transparent)]
    Refused(#[from] LoginRefusal),
    /// This player has logged in from another place, with the same identity: the later login counts. Nothing is tried
    /// again, since the two would throw each other out in turn.
    #[error(
        "this player logged in from another place, which counts now; to play at both, give each its own identity"
    )]
    Replaced,
    /// It was there and is gone.
    #[error("the lobby server is gone")]
    Lost,
    /// It says that it stops.
    #[error("the lobby server stopped: {reason}")]
    Stopped {
        /// Its words.
        reason: String,
    },
}

/// Which request an [`Event::RequestFailed`](super::Event::RequestFailed) is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// [`Command::HostRoom`](super::Command::HostRoom).
    Host,
    /// [`Command::JoinRoom`](super::Command::JoinRoom).
    Join,
    /// [`Command::LeaveRoom`](super::Command::LeaveRoom).
    Leave,
    /// [`Command::ListRooms`](super::Command::ListRooms).
    List,
    /// [`Command::Kick`](super::Command::Kick).
    Kick,
    /// [`Command::SetMetadata`](super::Command::SetMetadata).
    SetMetadata,
    /// [`Command::QuickMatch`](super::Command::QuickMatch).
    QuickMatch,
    /// [`Command::CancelQuickMatch`](super::Command::CancelQuickMatch).
    CancelQuickMatch,
}

/// Why a request did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// The server's answer.
    #[error(transparent)]
    Server(#[from] RequestError),
    /// The server did not answer in time.
    #[error("the lobby server does not answer")]
    Timeout,
    /// Not logged in.
    #[error("not logged in to a lobby server")]
    NotLoggedIn,
    /// The link to the server was lost meanwhile.
    #[error("the link to the lobby server was lost")]
    LobbyLost,
}
