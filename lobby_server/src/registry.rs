//! What nodes know together: which rooms there are, which node holds each of them, and where players are.
//!
//! The core treats the registry as an effect: a [`RegistryCommand`] goes out, its [`RegistryReply`] comes in later, and what
//! the registry has to say without being asked comes in as a [`RegistryNote`]. [`MemoryRegistry`] answers at once.
//!
//! A room lives at one node, and so do all players who are in it: a player who asks another node for it is sent there.

mod changes;
mod memory;
mod store;
#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::nat::NatProfile;
use traversal_core::text::Metadata;
use traversal_core::wire::message::{RoomSummary, RoomTarget};

pub use memory::MemoryRegistry;

/// A node tells the registry so often that it is there.
pub const BEAT: Duration = Duration::from_secs(1);
/// A node that has not told for so long is perhaps gone: nobody is sent there, and nothing of it is taken over yet.
pub const DOUBT: Duration = Duration::from_millis(2500);
/// A node that has not told for so long is gone: another one may take up its rooms with those who were in them.
pub const LEASE: Duration = Duration::from_secs(4);
/// The names and codes of a node that is gone are kept for those who were in its rooms for so long after that.
pub const RESERVED: Duration = Duration::from_secs(30);

/// So many players may be named in one [`RegistryOperation::Post`]: the shared registry serves nobody else meanwhile.
pub const MAX_POSTED: usize = 60;
/// So many posts may wait for one node; older ones are dropped.
pub(crate) const MAX_WAITING_POSTS: usize = 20_000;

/// This numbers a command; its reply bears the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryId(pub u64);

/// This is something that the registry is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryCommand {
    /// This is the number that comes back with the reply.
    pub id: RegistryId,
    /// This is what the registry is to do.
    pub operation: RegistryOperation,
}

/// This says where a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLocation {
    /// This is the node that holds it; 0 where there is only one.
    pub node: u64,
    /// The room has this id there.
    pub room: RoomId,
}

/// This is a room of another node, and where players log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSite {
    /// This is the node that holds the room, and the room's id.
    pub location: RoomLocation,
    /// Players log in to the node at these addresses; none: the registry knows of none, or it is the node that asks.
    pub addresses: Vec<SocketAddr>,
}

/// This is a node as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSite {
    /// The node has this number, which it drew at its start; 0 where there is only one.
    pub node: u64,
    /// Players log in at these addresses: one for each family that it serves.
    pub addresses: Vec<SocketAddr>,
    /// So many players are logged in.
    pub players: u32,
    /// It takes nobody in any more.
    pub draining: bool,
}

/// This is a room as all nodes know it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomRecord {
    /// This is the node that holds the room, and the room's id there.
    pub location: RoomLocation,
    /// The room has had so many hosts before the present one: who comes with an older ticket was replaced.
    pub epoch: u32,
    /// The room belongs to this game; each game has names and codes of its own.
    pub game: String,
    /// This says whether listings show the room.
    pub public: bool,
    /// Listings say this of the room.
    pub shown: Shown,
}

/// This is what all nodes need to know of a room to list it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Listings show this, with all of the room's metadata. Its age is not here, its round trip is the host's own to its
    /// node, and who asks is told another way than this.
    pub summary: RoomSummary,
    /// The room was opened at this time, in seconds since 1970.
    pub opened_s: u64,
    /// This decides how players are expected to reach the host. None: they are told nothing, as the room does not let
    /// everybody in, or nothing is known.
    pub host: Option<HostReach>,
    /// These properties of the room are for everybody
    /// ([`LISTED_PREFIX`](traversal_core::wire::message::LISTED_PREFIX)), with their whole keys.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub properties: Metadata,
}

impl Shown {
    /// Returns what the room says of itself under this key.
    pub fn value(&self, key: &str) -> Option<&String> {
        self.summary.metadata.get(key).or_else(|| self.properties.get(key))
    }
}

/// This is what is known of how a room's host can be reached. It is told to no player.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostReach {
    /// This is its NAT.
    pub nat: NatProfile,
    /// The NAT is one of IPv6.
    pub v6: bool,
    /// It plays over the relay alone.
    pub relay_only: bool,
}

/// This is what a [`RegistryCommand`] asks for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RegistryOperation {
    /// This claims a room, new or taken up by a ticket, if its name and code are free. The reply is `Claimed`, `NameTaken` or
    /// `CodeTaken`; where the registry knows this very room, `Held`, `Stale` or `Moving`.
    Claim(RoomRecord),
    /// This gives new numbers for a room that is there. The reply is `Done`. Where another node has it by now, a
    /// [`RegistryNote::RoomLost`] follows.
    Update(RoomRecord),
    /// The room is gone. The reply is `Done`.
    Release {
        /// The room belongs to this game.
        game: String,
        /// This is the node that holds the room, and the room's id there.
        location: RoomLocation,
        /// The room has this name.
        name: String,
    },
    /// This asks where a room is. The reply is `Found` or `Moving`.
    Find {
        /// The room belongs to this game.
        game: String,
        /// The room has this name or code.
        target: RoomTarget,
    },
    /// It asks what is new of the public rooms of other nodes. The reply is `Changes`.
    Changes {
        /// The rooms belong to this game.
        game: String,
        /// This was known before.
        since: ChangeMark,
    },
    /// A player has logged in at this node. The reply is `Done`; the node where it was before hears of it
    /// ([`RegistryNote::PlayerElsewhere`]).
    Arrive(PlayerId),
    /// A player has left this node. The reply is `Done`. Where it has arrived at another node since, nothing changes.
    Depart(PlayerId),
    /// This asks at which node a player is. The reply is `At`.
    Locate(PlayerId),
    /// Hands this text to the other nodes at which these players are. The reply is `Done`, wherever they are or not.
    Post {
        /// These are the players, at most [`MAX_POSTED`].
        to: Vec<PlayerId>,
        /// Only nodes read it.
        body: String,
    },
}

/// The registry answers a [`RegistryOperation`] with this.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RegistryReply {
    /// The room is known now.
    Claimed,
    /// Another room has the name.
    NameTaken(RoomLocation),
    /// Another room has the code.
    CodeTaken,
    /// The very room is at another node, which is there.
    Held(RoomSite),
    /// The very room had a later host than this claim says.
    Stale {
        /// The latest host hosted in this epoch.
        epoch: u32,
    },
    /// The room's node is perhaps gone: in some seconds the room is there again, or free.
    Moving,
    /// The command was carried out.
    Done,
    /// This says where the room is; `None`: there is no such room.
    Found(Option<RoomSite>),
    /// The player is at this node; `None`: at none.
    At(Option<u64>),
    /// This is new of the public rooms of other nodes.
    Changes(Changes),
}

/// The registry says of rooms at most so many at once.
pub const CHANGES: usize = 256;
/// That a room is gone is remembered for so long: who has not asked since is told all anew.
pub const GONE: Duration = Duration::from_secs(60);

/// This says how far a node has read the changes of a game's rooms. The default is the beginning: all rooms are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeMark {
    /// Rooms that were changed after this are to be told.
    pub changed: u64,
    /// Rooms that went after this are to be told.
    pub gone: u64,
    /// All rooms are being told, and not all are told yet.
    pub begun: bool,
}

/// This is new of a game's public rooms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// All rooms are told: what was known before is not valid any more.
    pub anew: bool,
    /// These rooms are new or are like this now, and are at these other nodes; at most [`CHANGES`].
    pub rooms: Vec<(u64, Shown)>,
    /// The rooms with these names, [folded](traversal_core::text::fold), are gone.
    pub gone: Vec<String>,
    /// There is more, after this.
    pub more: bool,
    /// The next question is to begin here.
    pub mark: ChangeMark,
}

/// The registry says this to a node without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryNote {
    /// These other nodes are there.
    Nodes(Vec<NodeSite>),
    /// Another node has this room; none is known: the registry lost it, and so does the node.
    RoomLost {
        /// The room has this id.
        room: RoomId,
        /// The room is there now.
        site: Option<RoomSite>,
    },
    /// The player has logged in at another node. It may be here again since: [`RegistryOperation::Locate`] tells.
    PlayerElsewhere(PlayerId),
    /// Another node has this to say about or to these players, who are or were here.
    Post {
        /// It comes from this node.
        from: u64,
        /// These are the players.
        to: Vec<PlayerId>,
        /// This is what the other node said.
        body: String,
    },
    /// The registry was away, or has lost what it knew: what nodes had to tell each other meanwhile may be lost.
    Resumed,
}

/// The registry did not do it: not reachable, or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry does not answer")]
pub struct RegistryDown;

/// Returns the form of a room code that is compared: upper case, without the look-alikes' mix-ups.
pub(crate) fn code_key(code: &str) -> String {
    code.trim()
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect()
}
