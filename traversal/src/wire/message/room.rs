//! Rooms and the players in them, as members and strangers see them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MAX_PASSWORD;
use super::gather::{MESH_CAPACITY, Topology};
use super::members::{PropertiesOf, check_teams};
use super::seats::{MAX_INSIDE, MAX_KEEP_SEAT, SeatTerms, seconds};
use super::to_player::RequestError;
use crate::id::{PlayerId, RoomId};
use crate::method::ExpectedWay;
use crate::secret::Secret;
use crate::text;

/// This is a player as others may see it: without addresses (M27).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerInfo {
    /// The player has this id.
    pub id: PlayerId,
    /// This is the display name, which keeps to the rule [`text::NAME`].
    #[serde(deserialize_with = "text::read_name")]
    pub name: String,
}

/// This is what a host says about its room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomOptions {
    /// The name is unique per game on a server. It may be empty: then the server takes the code as the name.
    pub name: String,
    /// This many players may be in the room, the host among them where it has a [`seat`](Self::seat): 2..=64, and
    /// 1..=64 without.
    pub capacity: u16,
    /// Everyone who joins is asked for it.
    pub password: Option<Secret<String>>,
    /// This says whether the room stands in listings.
    pub public: bool,
    /// The server lets players in without asking the host (M23's allowance, given beforehand).
    pub auto_allow: bool,
    /// This small map of strings is shown in listings: at most 384 bytes, keys and values together. What only those
    /// inside need to know goes into [`properties`](Self::properties), which may be longer.
    pub metadata: BTreeMap<String, String>,
    /// This says whether another member becomes host and the room lives on, when the host leaves or is lost. Where it
    /// is off, the room closes.
    pub migrate: bool,
    /// This says who is connected to whom. A mesh takes at most [`MESH_CAPACITY`] players.
    pub topology: Topology,
    /// Nobody new is let in: only who has a seat or was inside before.
    pub locked: bool,
    /// These are the sizes of the teams: at most [`MAX_TEAMS`](super::MAX_TEAMS), of 1 to 64 players. Empty: there are none.
    pub teams: Vec<u8>,
    /// The members see these and strangers do not, but for those whose keys begin with
    /// [`LISTED_PREFIX`](super::LISTED_PREFIX), which lists can be filtered by: at most [`MAX_ROOM_PROPERTIES`](super::MAX_ROOM_PROPERTIES) of
    /// [`MAX_ROOM_BYTES`](super::MAX_ROOM_BYTES) bytes (4 KiB), keys and values together. They do not fit the datagram that
    /// opens the room: the agent sends them as soon as it is open.
    #[serde(skip)]
    pub properties: BTreeMap<String, String>,
    /// A member of whom nothing is heard keeps its seat for this long: 0 to 600 s, in whole seconds; 60 s by default.
    /// The seat counts against the capacity meanwhile. With zero a full room gives the seat of a silent member to
    /// whoever knocks.
    #[serde(with = "seconds")]
    pub keep_seat: Duration,
    /// This many may watch the room beside its players: 0 (the default) to 64, with the capacity no more than
    /// [`MAX_INSIDE`].
    pub spectators: u16,
    /// This says whether the host is a player (the default). A host without a seat, such as a dedicated server, does not
    /// count against the capacity, and takes the room along when it leaves, whatever `migrate` says.
    pub seat: bool,
}

impl Default for RoomOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            capacity: 8,
            password: None,
            public: true,
            auto_allow: true,
            metadata: BTreeMap::new(),
            migrate: true,
            topology: Topology::default(),
            locked: false,
            teams: Vec::new(),
            properties: BTreeMap::new(),
            keep_seat: Duration::from_secs(60),
            spectators: 0,
            seat: true,
        }
    }
}

/// A room takes so many players, the host among them.
const CAPACITY: std::ops::RangeInclusive<u16> = 2..=64;

impl RoomOptions {
    /// The options as a server takes them, with all texts as they are kept.
    ///
    /// # Errors
    /// [`RequestError::Malformed`]: which of them is not valid, and the rule.
    pub fn checked(self) -> Result<Self, RequestError> {
        let malformed = |what: &str| RequestError::Malformed { what: what.into() };
        if !CAPACITY.contains(&self.capacity) && (self.seat || self.capacity != 1) {
            return Err(malformed("room capacity (2 to 64)"));
        }
        if self.capacity.saturating_add(self.spectators) > MAX_INSIDE {
            return Err(malformed("spectators (with the capacity at most 64)"));
        }
        if self.keep_seat > MAX_KEEP_SEAT {
            return Err(malformed("time to keep a seat (0 to 600 s)"));
        }
        if self.topology == Topology::Mesh && !self.seat {
            return Err(malformed("seat (the host of a mesh is a player)"));
        }
        if self.topology == Topology::Mesh && self.capacity > MESH_CAPACITY {
            return Err(malformed("room capacity (2 to 16 in a mesh)"));
        }
        if self.password.as_ref().is_some_and(|password| password.is_empty()) {
            return Err(malformed("room password (1 byte or more)"));
        }
        check_teams(&self.teams)?;
        let properties =
            self.properties.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        Ok(Self {
            name: text::ROOM_NAME.check(&self.name)?,
            password: checked_password(self.password)?,
            metadata: text::check_metadata(&self.metadata)?,
            properties: PropertiesOf::Room.change(&BTreeMap::new(), &properties)?,
            migrate: self.migrate && self.seat,
            ..self
        })
    }
}

/// Returns a password in Unicode's normal form C, so that it is the same from every keyboard (RFC 8265 section 4.2).
///
/// # Errors
/// [`RequestError::Malformed`] when it is longer than [`MAX_PASSWORD`] bytes.
pub fn checked_password(password: Option<Secret<String>>) -> Result<Option<Secret<String>>, RequestError> {
    let password = password.map(|password| Secret::from(text::nfc(&password)));
    match &password {
        Some(long) if long.len() > MAX_PASSWORD => {
            let what = format!("room password (at most {MAX_PASSWORD} bytes, it has {})", long.len());
            Err(RequestError::Malformed { what })
        }
        _ => Ok(password),
    }
}

/// This says how a player names the room it wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomTarget {
    /// It is the room of this name.
    Name(String),
    /// It is the room of this short code, in upper or lower case.
    Code(String),
}

impl RoomTarget {
    /// Checks a name or a code, and returns it as it is kept.
    ///
    /// # Errors
    /// [`RequestError::Malformed`] when no room can have such a name.
    pub fn checked(self) -> Result<Self, RequestError> {
        Ok(match self {
            Self::Name(name) => Self::Name(text::ROOM_NAME.check(&name)?),
            Self::Code(code) => Self::Code(text::CODE.clean(&code)),
        })
    }
}

/// This is a room as a member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// The room has this id.
    pub id: RoomId,
    /// The room has this name.
    #[serde(deserialize_with = "text::read_room_name")]
    pub name: String,
    /// This short code is to be told to friends: six characters without look-alikes.
    #[serde(deserialize_with = "text::read_code")]
    pub code: String,
    /// This player hosts the room.
    pub host: PlayerId,
    /// Players it takes, with the host where it has a seat.
    pub capacity: u16,
    /// This is what the game says about it, see [`RoomOptions::metadata`].
    #[serde(deserialize_with = "text::read_metadata")]
    pub metadata: BTreeMap<String, String>,
    /// This says whether it stands in listings, see [`RoomOptions::public`].
    pub public: bool,
    /// This says whether everybody is let in, see [`RoomOptions::auto_allow`].
    pub auto_allow: bool,
    /// This says whether another member may host it, see [`RoomOptions::migrate`].
    pub migrate: bool,
    /// The room changed its host this many times.
    pub epoch: u32,
    /// This says who is connected to whom.
    pub topology: Topology,
    /// This says whether it lets nobody new in, see [`RoomOptions::locked`].
    pub locked: bool,
    /// These are the sizes of its teams, see [`RoomOptions::teams`].
    pub teams: Vec<u8>,
    /// This is what its host says about seats.
    pub seats: SeatTerms,
}

impl RoomInfo {
    /// Returns the options that make such a room, but for the password, which the server does not tell.
    pub fn options(&self, password: Option<Secret<String>>) -> RoomOptions {
        RoomOptions {
            name: self.name.clone(),
            capacity: self.capacity,
            password,
            public: self.public,
            auto_allow: self.auto_allow,
            metadata: self.metadata.clone(),
            migrate: self.migrate,
            topology: self.topology,
            locked: self.locked,
            teams: self.teams.clone(),
            properties: BTreeMap::new(),
            keep_seat: self.seats.keep_seat(),
            spectators: self.seats.spectators,
            seat: self.seats.seat,
        }
    }
}

/// This is a member's right to come back into its room, also after the server was restarted. For the host it is the
/// right to host it: the room belongs to whoever has the host's ticket of the newest epoch.
///
/// The server keeps none of them: it makes the seal with a key made of its long-lived one, so that it can check it
/// after a restart. It covers the game, the room's id, name and code, the holder, and all that stands here.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomTicket {
    /// This is the room that it is for.
    pub room: RoomId,
    /// This is the room's epoch when the ticket was made.
    pub epoch: u32,
    /// This player hosts the room in this epoch.
    pub host: PlayerId,
    /// Made by the server for the one player who holds the ticket.
    pub seal: [u8; 16],
    /// The host had put somebody out for good this many times. After a restart the newest generation counts: a ticket
    /// of an earlier one may be of somebody who was put out.
    pub generation: u32,
    /// It is good until then, in seconds since 1970; the greatest number: for ever.
    pub until_s: u64,
    /// This says how the host wants the room.
    pub terms: RoomTerms,
}

/// This says how a host wants its room, as far as others must not change it when they take the room up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomTerms {
    /// It takes this many players, see [`RoomOptions::capacity`].
    pub capacity: u16,
    /// This says whether it stands in listings, see [`RoomOptions::public`].
    pub public: bool,
    /// This says whether everybody is let in, see [`RoomOptions::auto_allow`].
    pub auto_allow: bool,
    /// This says whether another member may host it, see [`RoomOptions::migrate`].
    pub migrate: bool,
    /// This says who is connected with whom, see [`RoomOptions::topology`].
    pub topology: Topology,
    /// It has a password.
    pub password: bool,
    /// This is what the host says about seats.
    pub seats: SeatTerms,
}

impl RoomTerms {
    /// Returns those of a room that is to be like this.
    pub fn of(options: &RoomOptions) -> Self {
        Self {
            capacity: options.capacity,
            public: options.public,
            auto_allow: options.auto_allow,
            migrate: options.migrate,
            topology: options.topology,
            password: options.password.is_some(),
            seats: SeatTerms::of(options),
        }
    }
}

impl std::fmt::Debug for RoomTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomTicket")
            .field("room", &self.room)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// This says, on the server's word, that the host of a room has put a player out for good. All members hold these
/// notes and show them when they take the room up after a restart of the server, which then knows again who may not
/// come in.
///
/// The seal is made with a key made of the server's long-lived one and covers the room and all that stands here: a member
/// can keep a note to itself, and make none.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KickNote {
    /// This is the player who was put out.
    pub player: PlayerId,
    /// The player stays out until then, in seconds since 1970. The greatest number means a day from when the note is
    /// shown.
    pub until_s: u64,
    /// Made by the server.
    pub seal: [u8; 16],
    /// Of two notes about one player the one with the greater number counts.
    pub serial: u32,
    /// The host has lifted the ban: of two notes with one number, this one counts.
    pub lifted: bool,
}

impl std::fmt::Debug for KickNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { player, until_s, serial, lifted, seal: _ } = self;
        let mut note = f.debug_struct("KickNote");
        note.field("player", player)
            .field("until_s", until_s)
            .field("serial", serial)
            .field("lifted", lifted)
            .finish_non_exhaustive()
    }
}

/// This is a room as a stranger sees it in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    /// The room has this name.
    #[serde(deserialize_with = "text::read_room_name")]
    pub name: String,
    /// Players tell each other this short code.
    #[serde(deserialize_with = "text::read_code")]
    pub code: String,
    /// The host has this display name.
    #[serde(deserialize_with = "text::read_name")]
    pub host_name: String,
    /// This many players are inside, the host among them where it has a seat.
    pub members: u16,
    /// It takes this many players, the host included where it has a seat.
    pub capacity: u16,
    /// Asks for a password.
    pub password: bool,
    /// This is what the game says about it, see [`RoomOptions::metadata`]: as much of it as a listing shows
    /// ([`MAX_LISTED_METADATA`](super::MAX_LISTED_METADATA)), or the keys that were asked for
    /// ([`RoomQuery::show`](super::RoomQuery::show)).
    #[serde(deserialize_with = "text::read_listed")]
    pub metadata: BTreeMap<String, String>,
    /// Lets nobody new in, see [`RoomOptions::locked`].
    #[serde(default)]
    pub locked: bool,
    /// Its server is in this region, as the operator names it; empty: it has no name.
    #[serde(deserialize_with = "text::read_region")]
    pub region: String,
    /// Its host's game speaks this protocol ([`AgentConfig::game_protocol`](crate::AgentConfig::game_protocol)): players of
    /// others cannot enter.
    pub protocol: u32,
    /// The room was opened this many seconds ago, when this was said. A server that was restarted counts from then on.
    pub age_s: u32,
    /// A packet takes this many milliseconds to the room's host and back *by way of the server*: the sum of both
    /// players' round trips to it, rounded up to ten. Over the relay it takes about as long, and a direct way is seldom
    /// longer. None: it is not known, as where the room is at a server of another region.
    pub rtt_ms: Option<u16>,
    /// The host is expected to be reached in this way.
    pub way: ExpectedWay,
    /// This many watch it.
    pub spectators: u16,
    /// This many may watch it.
    pub spectator_limit: u16,
    /// Its host is no player, see [`RoomOptions::seat`].
    pub dedicated: bool,
}

/// This says why a player is out of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RoomEnd {
    /// The host closed it.
    #[error("the host closed the room")]
    Closed,
    /// The host is gone.
    #[error("the host is gone")]
    HostLost,
    /// The host put the player out.
    #[error("removed by the host{}", text::because(.reason))]
    Kicked {
        /// This is what the host says about it; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
    },
    /// This player logged in elsewhere.
    #[error("this player logged in from another place")]
    Replaced,
    /// This player hosted the room and was lost, so another one hosts it.
    #[error("another player hosts the room by now (change {epoch} of its host); join it as a member")]
    HostReplaced {
        /// The room is in this epoch now.
        epoch: u32,
    },
    /// The operator of the server closed it.
    #[error("the operator of the lobby server closed the room{}", text::because(.reason))]
    ByOperator {
        /// This is what the operator says about it; it may be empty.
        #[serde(deserialize_with = "text::read_reason")]
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused() {
        let good = RoomOptions { name: "r".into(), ..RoomOptions::default() };
        assert_eq!(good.clone().checked(), Ok(good.clone()));
        let bad = [
            RoomOptions { name: "x".repeat(65), ..good.clone() },
            RoomOptions { name: "a\u{1b}b".into(), ..good.clone() },
            RoomOptions { capacity: 1, ..good.clone() },
            RoomOptions { capacity: 65, ..good.clone() },
            RoomOptions { capacity: MESH_CAPACITY + 1, topology: Topology::Mesh, ..good.clone() },
            RoomOptions { password: Some("x".repeat(65).into()), ..good.clone() },
            RoomOptions { password: Some("".into()), ..good.clone() },
            RoomOptions { metadata: [("k".to_string(), "v".repeat(384))].into(), ..good.clone() },
            RoomOptions { teams: vec![0], ..good.clone() },
        ];
        for options in bad {
            assert!(matches!(options.clone().checked(), Err(RequestError::Malformed { .. })), "{options:?}");
        }
    }
}
