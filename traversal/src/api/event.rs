//! What an agent tells the game.

use std::net::SocketAddr;
use std::time::Duration;

use super::{LobbyState, RequestFailure, RequestKind, SocketId};
use crate::failure::FailureReport;
use crate::id::{JoinId, PlayerId};
use crate::kept::KeptProfile;
use crate::nat::NatProfile;
use crate::port_mapping::PortMappingState;
use crate::wire::message::{MatchEnd, Method, PlayerInfo, QueueStatus, Role, RoomEnd, RoomInfo, RoomSummary};

/// A way to another player that carries authenticated data in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PathKind {
    /// Inside one network.
    Lan,
    /// Through the NATs.
    Direct,
    /// The same over IPv6.
    DirectV6,
    /// Through the lobby server.
    Relay,
}

impl PathKind {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::DirectV6 => "direct-v6",
            Self::Relay => "relay",
        }
    }
}

/// A path as the game may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathInfo {
    /// What kind.
    pub kind: PathKind,
    /// The other end; none over the relay.
    pub remote: Option<SocketAddr>,
    /// Local socket it runs on.
    pub socket: SocketId,
    /// Which method won; none over the relay.
    pub method: Option<Method>,
    /// Round trip, as measured.
    pub rtt: Option<Duration>,
    /// From the request (or its arrival) to this path.
    pub since_request: Duration,
    /// Punch datagrams sent for it.
    pub packets_sent: u32,
    /// Distinct destinations.
    pub targets: u32,
    /// Sockets used.
    pub sockets: u32,
}

/// Why the channel to a player ended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The other side closed it.
    #[error("the other player left: {reason}")]
    Closed {
        /// Its words; may be empty.
        reason: String,
    },
    /// The server says so.
    #[error(transparent)]
    Match(#[from] MatchEnd),
    /// Nothing came for too long on any path.
    #[error("the connection was lost")]
    Lost,
    /// This side closed it.
    #[error("closed by this side")]
    Local,
    /// The other side does not hear the game any more, only the driver.
    #[error("the game stopped responding")]
    Stalled,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The link to the server changed.
    Lobby(LobbyState),
    /// What is known of the own NAT changed.
    Nat(NatProfile),
    /// The NAT of this network was measured: for the driver to store, and to give back at the next start with
    /// [`AgentConfig::kept`](crate::AgentConfig::kept).
    NatMeasured(KeptProfile),
    /// A room was opened or entered. After a new login the room is entered anew, with this event.
    RoomEntered {
        /// Which.
        room: RoomInfo,
        /// This player is its host.
        hosting: bool,
    },
    /// Metadata changed.
    RoomChanged(RoomInfo),
    /// Who is inside now; the host first.
    Members(Vec<PlayerInfo>),
    /// Out of the room.
    RoomLeft {
        /// Why; none: on request.
        reason: Option<RoomEnd>,
    },
    /// The public rooms.
    Rooms(Vec<RoomSummary>),
    /// A request failed.
    RequestFailed {
        /// Which.
        request: RequestKind,
        /// Why.
        error: RequestFailure,
    },
    /// Host: a player asks to come in; answer with [`Command::AnswerJoin`](super::Command::AnswerJoin).
    JoinRequest {
        /// To answer with.
        join: JoinId,
        /// Who.
        player: PlayerInfo,
    },
    /// Host: somebody tries passwords of the room. The server lets through only some ([`RoomOptions::password`](crate::wire::message::RoomOptions::password)); a host
    /// may choose another one by opening the room anew, or stop letting in strangers. At most once in ten seconds.
    WrongPasswords {
        /// How many were wrong within the last minute, from all addresses together.
        in_last_minute: u16,
    },
    /// The server matched this player with another.
    Plan {
        /// With whom.
        peer: PlayerInfo,
        /// This side's part.
        role: Role,
        /// What will be tried.
        methods: Vec<Method>,
        /// This side hosts.
        host: bool,
        /// A pair of a mesh, neither of whom hosts.
        mesh: bool,
    },
    /// The first path to a player stands: game datagrams flow.
    PeerConnected {
        /// Who.
        peer: PlayerInfo,
        /// This side hosts.
        host: bool,
        /// A pair of a mesh, neither of whom hosts.
        mesh: bool,
        /// By which way.
        path: PathInfo,
        /// The other side has shown that it holds the private key of `peer.id`, which takes no word of the server's: who
        /// knows that id from elsewhere knows who this is.
        proven: bool,
        /// The same on both sides, for two players who do not know each other's ids: see
        /// [`PairChannel::code`](crate::wire::pair::PairChannel::code).
        code: String,
    },
    /// The game plays over the relay, and no direct path was found within the deadline: why.
    PeerRelayed {
        /// With whom.
        peer: PlayerInfo,
        /// Why.
        report: FailureReport,
    },
    /// The channel to a player moved to another path.
    PathChanged {
        /// Whose.
        player: PlayerId,
        /// By which way now.
        path: PathInfo,
    },
    /// The channel to a player is gone.
    PeerDisconnected {
        /// Who.
        peer: PlayerInfo,
        /// Why.
        reason: DisconnectReason,
    },
    /// No path to a player within the deadline.
    PeerFailed {
        /// Who.
        peer: PlayerInfo,
        /// Why.
        report: FailureReport,
    },
    /// The host left or was lost, and another member hosts the room. The channel to the old host has ended by now;
    /// those to the new one follow, each with [`Event::Plan`] and [`Event::PeerConnected`].
    HostChanged {
        /// The room as it is now: its `host` and its `epoch` are new.
        room: RoomInfo,
        /// This player is the new host.
        hosting: bool,
        /// Who hosted it before.
        previous: PlayerId,
        /// Who is inside, the new host first, without the old one. As far as is known; [`Event::Members`] follows.
        members: Vec<PlayerInfo>,
    },
    /// A game datagram.
    Datagram {
        /// From whom; authenticated.
        player: PlayerId,
        /// On which channel it was sent, see [`Agent::send_on`](crate::Agent::send_on).
        channel: u8,
        /// Its content.
        payload: Vec<u8>,
    },
    /// A quick match comes along; none: this player waits no longer, since it was matched, gave up or was refused.
    Queue(Option<QueueStatus>),
    /// How it stands with the port that the router forwards changed.
    PortMapping(PortMappingState),
}
