//! What an agent tells about its link to the lobby server, and about its requests.

use std::net::SocketAddr;
use std::time::Duration;

use crate::id::PlayerId;
use crate::invite::InviteError;
use crate::text::because;
use crate::wire::message::{LoginRefusal, RequestError};

/// This says how the link to the lobby server stands.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum LobbyState {
    /// The agent was not asked to connect, or was told to disconnect.
    #[default]
    Offline,
    /// A login is under way.
    Connecting,
    /// The player is logged in.
    Online {
        /// This player has this id.
        player: PlayerId,
        /// This is the address that the server sees the player at.
        public: SocketAddr,
        /// This is the address that the server was reached at.
        server: SocketAddr,
        /// The server has this public key, which is to be kept for the next login, see
        /// [`Command::KnowServers`](crate::Command::KnowServers).
        server_key: [u8; 32],
    },
    /// There is no link, and another try follows.
    Retrying {
        /// This says why the last try failed, or the link ended.
        error: LobbyError,
        /// The next try comes after this time, from this event on.
        retry_in: Duration,
    },
    /// There is no link and no further try, since nothing would change.
    Refused {
        /// This says why the server cannot be used.
        error: LobbyError,
    },
}

/// This says why there is no link to the lobby server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LobbyError {
    /// None of the server's addresses answers.
    #[error("the lobby server does not answer; check its address, and that UDP or TCP gets out to its port")]
    NoAnswer,
    /// Its name has no address.
    #[error("the lobby server's name cannot be resolved: {reason}")]
    Unresolvable {
        /// The resolver's words, or why none of its addresses serves.
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
        /// This says where it was reached.
        server: SocketAddr,
    },
    /// It speaks another version of our protocol.
    #[error("this game needs protocol {ours}, the server speaks {theirs}; update the older of the two")]
    OtherProtocol {
        /// This is the version that this game speaks.
        ours: u16,
        /// This is the newest version that the server speaks.
        theirs: u16,
    },
    /// The server refused the login.
    #[error(transparent)]
    Refused(#[from] LoginRefusal),
    /// This player has logged in from another place, with the same identity: the later login counts. Nothing is tried
    /// again, since the two would throw each other out in turn.
    #[error(
        "this player logged in from another place, which counts now; to play at both, give each its own identity"
    )]
    Replaced,
    /// It has more logins than it can serve at the moment, and said when to ask again.
    #[error("the lobby server is busy; it is asked again when it said")]
    Busy,
    /// The server answered before and does so no more.
    #[error("the lobby server is gone")]
    Lost,
    /// The server says that it stops.
    #[error("the lobby server stopped{}", because(.reason))]
    Stopped {
        /// This is what the server says about it; it may be empty.
        reason: String,
    },
    /// The operator of the server has put this player out.
    #[error("the operator of the lobby server has put this player out{}", because(.reason))]
    PutOut {
        /// This is what the operator says about it; it may be empty.
        reason: String,
    },
}

/// This says which request an [`Event::RequestFailed`](super::Event::RequestFailed) is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// The game wants to open a room ([`Command::HostRoom`](super::Command::HostRoom)).
    Host,
    /// The game wants to enter a room ([`Command::JoinRoom`](super::Command::JoinRoom)), or to watch one
    /// ([`Command::Spectate`](super::Command::Spectate)).
    Join,
    /// The game wants to leave the room ([`Command::LeaveRoom`](super::Command::LeaveRoom)).
    Leave,
    /// The game wants to list the public rooms ([`Command::ListRooms`](super::Command::ListRooms)).
    List,
    /// The game wants to put a member out ([`Command::Kick`](super::Command::Kick)).
    Kick,
    /// The game wants to change the room's metadata ([`Command::SetMetadata`](super::Command::SetMetadata)).
    SetMetadata,
    /// The game wants to wait for players who want the same ([`Command::QuickMatch`](super::Command::QuickMatch)).
    QuickMatch,
    /// The game wants to wait for them no longer ([`Command::CancelQuickMatch`](super::Command::CancelQuickMatch)).
    CancelQuickMatch,
    /// The game wants to change what this player says of itself ([`Command::SetMember`](super::Command::SetMember)).
    SetMember,
    /// The game wants to change properties of the room ([`Command::SetProperties`](super::Command::SetProperties)).
    SetProperties,
    /// The game wants to lock or unlock the room ([`Command::LockRoom`](super::Command::LockRoom)).
    LockRoom,
    /// The game wants other teams ([`Command::SetTeams`](super::Command::SetTeams)).
    SetTeams,
    /// The game wants a countdown ([`Command::StartCountdown`](super::Command::StartCountdown)).
    StartCountdown,
    /// The game wants to stop it ([`Command::CancelCountdown`](super::Command::CancelCountdown)).
    CancelCountdown,
    /// The game wants another member to host the room ([`Command::HandOver`](super::Command::HandOver)).
    HandOver,
    /// The game has given a list of contacts ([`Command::SetContacts`](super::Command::SetContacts)).
    Contacts,
    /// The game says how contacts see the player ([`Command::SetStatus`](super::Command::SetStatus)).
    Status,
    /// The game wants to call a player ([`Command::Call`](super::Command::Call)).
    Call,
    /// The game answers a call ([`Command::AnswerCall`](super::Command::AnswerCall)).
    AnswerCall,
    /// The game hangs up ([`Command::HangUp`](super::Command::HangUp)).
    HangUp,
    /// The game wants an invite to its room ([`Command::MakeInvite`](super::Command::MakeInvite)).
    MakeInvite,
    /// The game wants to end the invites to its room ([`Command::RevokeInvites`](super::Command::RevokeInvites)).
    RevokeInvites,
    /// The game wants to watch rooms ([`Command::WatchRooms`](super::Command::WatchRooms)).
    Watch,
    /// The game says whether it plays a match that was found ([`Command::AnswerMatch`](super::Command::AnswerMatch)).
    AnswerMatch,
    /// The game wants the seat that was kept for it ([`Command::TakeSeat`](super::Command::TakeSeat)).
    TakeSeat,
    /// The game wants to know who may not come back ([`Command::ListBans`](super::Command::ListBans)).
    ListBans,
    /// The game wants to let somebody come back ([`Command::LiftBan`](super::Command::LiftBan)).
    LiftBan,
    /// The game tells the operator of a player ([`Command::Report`](super::Command::Report)).
    Report,
    /// Something about the player's party.
    Party,
    /// The game wants its room to look for more players, or to look no longer ([`Command::Backfill`](super::Command::Backfill)).
    Backfill,
}

/// This says why a request did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// The server refused the request.
    #[error(transparent)]
    Server(#[from] RequestError),
    /// The server did not answer in time.
    #[error("the lobby server does not answer")]
    Timeout,
    /// The player is not logged in, and no login is under way.
    #[error("not logged in to a lobby server")]
    NotLoggedIn,
    /// The link to the server was lost meanwhile.
    #[error("the link to the lobby server was lost")]
    LobbyLost,
    /// The text is no invite, or the invite cannot be used or made here.
    #[error("this invite cannot be used: {0}")]
    Invite(#[from] InviteError),
    /// The lobby server within this game cannot start.
    #[error("no room can be opened on this machine: {0}")]
    Here(String),
}
