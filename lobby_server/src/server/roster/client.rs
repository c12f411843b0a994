//! What is kept of a session and of its player.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use traversal_core::NatFacts;
use traversal_core::id::{PlayerId, RequestId, RoomId};
use traversal_core::nat::NatProfile;
use traversal_core::wire::session::ServerSession;

use super::busy::Busy;
use super::mapped_ports::MappedPort;
use super::said::Said;
use crate::ids::SessionId;
use crate::limits::Bucket;
use crate::server::games::GameSlot;
use crate::server::sockets::Route;

/// This is a session: one login of a player.
pub(crate) struct Client {
    pub(super) player: PlayerId,
    /// The player has this lasting key.
    pub(super) key: [u8; 32],
    pub(super) login: Said,
    /// Here its game is counted. `None`: no sealed datagram has come yet.
    pub(super) game: Option<GameSlot>,
    pub(super) profile: NatProfile,
    /// This says what of it was set by hand (M9), if anything was.
    pub(super) manual: Option<Box<NatFacts>>,
    pub(super) session: ServerSession,
    /// It was told of a second address to probe when it logged in.
    pub(super) two_addresses: bool,
    /// This says how the player is reached; it moves only after an echo.
    pub(super) route: Route,
    /// This is what its router forwards to it, if it does.
    pub(super) mapped_port: Option<Box<MappedPort>>,
    /// The session has moved so often: what was to prove an address before does so no more.
    pub(super) moves: u32,
    /// This says where it is reached in the other family, and when that was last heard of.
    pub(super) other: Option<Box<(SocketAddr, Instant)>>,
    /// A sealed datagram came: this is no replayed handshake.
    pub(super) confirmed: bool,
    pub(super) frames: Bucket,
    pub(super) next_ping: u32,
    /// See there.
    pub(super) busy: Option<Box<Busy>>,
}

/// This is what is kept of a login until the player has proven to be there.
pub(super) struct HalfOpen {
    /// The first Noise message has this digest: a repetition of it is known by it.
    pub(super) init: [u8; 32],
    /// This is the login's token, to be spent then.
    pub(super) token: Vec<u8>,
}

/// This is a player that is logged in.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) session: SessionId,
    pub(super) membership: Membership,
    /// This is the request to create or to enter a room that waits for others.
    pub(super) busy: Option<RequestId>,
    /// The player is a former host that is matched with the others as soon as it is heard.
    pub(super) awaited: bool,
}

/// This says where a player is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// It is in no room.
    Outside,
    /// It is in this room.
    In(RoomId),
    /// It was in this room in an earlier session, and has not taken it up again in this one.
    Left(RoomId),
}

impl Membership {
    /// Returns the room that the player is in, or was in in an earlier session.
    pub(crate) fn room(self) -> Option<RoomId> {
        match self {
            Self::Outside => None,
            Self::In(room) | Self::Left(room) => Some(room),
        }
    }
}

impl Client {
    /// Returns what the player said when it logged in.
    pub(crate) fn login(&self) -> &Said {
        &self.login
    }

    /// Returns the round trip to the player, if it is known.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.session.rtt()
    }

    /// Returns where its game is counted.
    pub(crate) fn game(&self) -> GameSlot {
        self.game.unwrap_or(GameSlot::OTHERS)
    }

    /// Returns the IP address that the session is proven to be at.
    pub(crate) fn ip(&self) -> IpAddr {
        self.route.peer.ip()
    }

    /// Returns the way to the player that is proven.
    pub(crate) fn route(&self) -> Route {
        self.route
    }

    /// Returns whether a sealed datagram has come.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Returns when the player was last heard from where it is proven to be: by a sealed datagram, or by one for the
    /// relay with a token that only the two know.
    pub(crate) fn heard_at(&self) -> Instant {
        let relayed_at = self.busy.as_ref().and_then(|busy| busy.relayed_at);
        relayed_at.map_or(self.session.last_heard(), |at| at.max(self.session.last_heard()))
    }
}
