//! What the game may look at in any frame.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bevy_ecs::resource::Resource;
use traversal_core::id::PlayerId;
use traversal_core::nat::{NatKind, NatProfile};
use traversal_core::wire::message::{PlayerInfo, QueueStatus, RoomInfo};
use traversal_core::{LobbyState, PathInfo, PortMappingState};

use crate::error::TraversalError;

/// Resource: this is the link to the lobby server.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub struct LobbyLink {
    /// This is how far the login has come, or how it failed; offline before the first one.
    pub state: LobbyState,
    /// These are the servers that were asked for last, as in
    /// [`TraversalConfig::lobby`](crate::TraversalConfig::lobby).
    pub servers: Vec<String>,
    /// The game's sockets have these addresses on this machine; there are none until they are known.
    pub local: Vec<SocketAddr>,
    /// This is the latest failure; `None` while this player is logged in.
    pub error: Option<TraversalError>,
}

impl LobbyLink {
    /// Returns whether this player is logged in.
    pub fn online(&self) -> bool {
        matches!(self.state, LobbyState::Online { .. })
    }

    /// Returns this player's id, while it is logged in.
    pub fn player(&self) -> Option<PlayerId> {
        match self.state {
            LobbyState::Online { player, .. } => Some(player),
            _ => None,
        }
    }
}

/// Resource: this is the room that this player is in, if any.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentRoom {
    /// This is the room; `None`: this player is in no room.
    pub info: Option<RoomInfo>,
    /// It is true while this player hosts the room.
    pub hosting: bool,
    /// It is true while this player only watches the room.
    pub spectating: bool,
}

/// Resource: this is the player's place in the line for a quick match, or `None` if it does not wait for one.
#[derive(Resource, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuickMatchQueue(pub Option<QueueStatus>);

/// Resource: these players are in the room, the host first.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(pub Vec<PlayerInfo>);

/// Resource: this says who of the room's members is away, and who spectates.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomSeats {
    /// These members are away, and their seats are kept ([`PlayerAway`](crate::PlayerAway)).
    pub away: BTreeSet<PlayerId>,
    /// These players watch.
    pub spectators: Vec<PlayerInfo>,
}

/// This is another player to whom a path stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// These are the player's id and name.
    pub info: PlayerInfo,
    /// On the host, renet knows it by this number.
    pub client_id: u64,
    /// This player hosts, and the other one is a guest.
    pub hosting: bool,
    /// This says whether this is a pair of a mesh, neither of whom hosts: there is no renet between them, but
    /// [`Datagrams`](crate::Datagrams).
    pub mesh: bool,
    /// One of the two only watches: this player, or where it hosts, the other one.
    pub spectator: bool,
    /// This is the way by which it is reached now.
    pub path: PathInfo,
    /// Nothing is heard of it at present: see [`PeerAway`](crate::PeerAway).
    pub away: bool,
    /// This number tells the connection from an earlier one of the same player.
    pub(crate) generation: u32,
}

/// Resource: these are the connected players and their paths.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub struct Peers(pub(crate) BTreeMap<PlayerId, Peer>);

impl Peers {
    /// Returns how many players are connected.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the connected player of this id, if there is one.
    pub fn peer(&self, player: PlayerId) -> Option<&Peer> {
        self.0.get(&player)
    }

    /// Returns the connected player whom renet knows by this number, if there is one.
    pub fn by_client_id(&self, client_id: u64) -> Option<&Peer> {
        self.0.values().find(|peer| peer.client_id == client_id)
    }

    /// Gives all connected players, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.0.values()
    }
}

/// Resource: it holds what is known about this player's own NAT.
#[derive(Resource, Clone, Copy, Debug, Default, PartialEq)]
pub struct NatStatus {
    /// This is the NAT as other players meet it: a full cone while a forwarded port counts, else what was measured.
    pub profile: NatProfile,
    /// This says whether the router forwards a port, and whether that helps.
    pub port_mapping: PortMappingState,
}

impl NatStatus {
    /// Returns the kind of NAT that the profile amounts to.
    pub fn kind(&self) -> NatKind {
        self.profile.kind()
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The network thread and the systems count in these, and anybody may read them.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)+
        }

        impl TraversalStats {
            $($(#[$doc])*
            pub fn $name(&self) -> u64 {
                self.0.$name.load(Ordering::Relaxed)
            })+
        }
    };
}

/// Resource: it counts what happened since the app started.
#[derive(Resource, Clone, Debug, Default)]
pub struct TraversalStats(pub(crate) Arc<Counters>);

counters! {
    /// Returns how many datagrams left this machine.
    datagrams_sent,
    /// Returns how many datagrams arrived, of whatever sender.
    datagrams_received,
    /// Returns how many datagrams arrived and were thrown away: not ours, damaged, forged, or heard before.
    discarded,
    /// Returns how many system calls were made to send.
    send_calls,
    /// Returns how many system calls were made to receive.
    receive_calls,
    /// Returns how many game datagrams were handed to the app.
    game_received,
    /// Returns how many game datagrams were handed to the agent.
    game_sent,
    /// Returns how many game datagrams were dropped because the app did not take them in time.
    incoming_dropped,
    /// Returns how many game datagrams were dropped because the driver did not take them in time, or the socket's
    /// buffer stayed full.
    outgoing_dropped,
    /// Returns how many game datagrams were dropped because their connection was gone.
    stale_dropped,
    /// Returns how many datagrams the system refused to send.
    send_errors,
    /// Returns how many of the refused datagrams ([`send_errors`](Self::send_errors)) were too long for the system's
    /// way there. Each batch counts once; shorter ones are sent since.
    too_long,
    /// Returns how many batches the system refused whole; their datagrams left one by one.
    batches_refused,
    /// Returns how many receive calls failed.
    receive_errors,
    /// Returns how many events were dropped because the app did not take them for very long.
    events_dropped,
}

pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
