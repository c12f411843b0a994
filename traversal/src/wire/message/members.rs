//! What members of a room tell each other through the server: properties of their own and of the room, who is ready, teams,
//! and the moment at which all begin.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::gather::QuickMatch;
use super::quick::BackfillStatus;
use super::to_player::RequestError;
use crate::id::PlayerId;
use crate::text::{self, Metadata};

/// A member has at most this many properties.
pub const MAX_MEMBER_PROPERTIES: usize = 16;
/// A member's properties have at most this many bytes, keys and values together: they fit one datagram.
pub const MAX_MEMBER_BYTES: usize = 512;
/// A room has at most this many properties.
pub const MAX_ROOM_PROPERTIES: usize = 64;
/// A room's properties have at most this many bytes, keys and values together.
pub const MAX_ROOM_BYTES: usize = 4096;
/// The changes in one message have at most this many bytes, keys and values together, so that it fits a datagram.
pub const MAX_CHANGES: usize = 800;
/// A room has at most this many teams.
pub const MAX_TEAMS: usize = 8;
/// A countdown takes at most this many milliseconds: ten minutes.
pub const MAX_COUNTDOWN_MS: u32 = 600_000;

/// These are changes to properties: each key gets a new value, or is removed (`None`). Other keys stay as they are.
pub type Changes = BTreeMap<String, Option<String>>;

/// This is what a member says of itself, for the others in its room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// The member is ready. It is no property, since the server reads it: no key of a game's can be taken for it.
    pub ready: bool,
    /// The member plays in this team, counted from 0 in the order of [`RoomInfo::teams`](super::RoomInfo::teams).
    pub team: Option<u8>,
    /// These are its properties, at most [`MAX_MEMBER_PROPERTIES`] of [`MAX_MEMBER_BYTES`] bytes.
    #[serde(deserialize_with = "text::read_properties")]
    pub properties: Metadata,
}

/// This is a member's wish for a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TeamWish {
    /// In no team.
    Leave,
    /// In whichever has the most free places: the server chooses, and stays with the present one if that is as good.
    Any,
    /// In this one, counted from 0.
    Team(u8),
}

/// This is what a member changes about itself. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChanges {
    /// Says anew whether the member is ready.
    pub ready: Option<bool>,
    /// The member wants another team.
    pub team: Option<TeamWish>,
    /// These properties change.
    pub properties: Changes,
}

impl MemberChanges {
    /// Returns the changes that make this state of a new member's.
    pub fn all(state: &MemberState) -> Self {
        Self {
            ready: Some(state.ready),
            team: state.team.map(TeamWish::Team),
            properties: state
                .properties
                .iter()
                .map(|(key, value)| (key.clone(), Some(value.clone())))
                .collect(),
        }
    }
}

/// Whose properties are changed, for their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertiesOf {
    /// They are a member's own.
    Member,
    /// They are the room's.
    Room,
}

impl PropertiesOf {
    /// Returns the most properties and bytes.
    fn limits(self) -> (usize, usize) {
        match self {
            Self::Member => (MAX_MEMBER_PROPERTIES, MAX_MEMBER_BYTES),
            Self::Room => (MAX_ROOM_PROPERTIES, MAX_ROOM_BYTES),
        }
    }

    /// Returns the properties with these changes.
    ///
    /// # Errors
    /// [`RequestError::TooManyProperties`] and [`RequestError::PropertiesTooLong`] with the limit that they would break;
    /// [`RequestError::Malformed`] for a key or a value that is no text of this kind.
    pub fn change(self, properties: &Metadata, changes: &Changes) -> Result<Metadata, RequestError> {
        let (most, most_bytes) = self.limits();
        let mut changed = properties.clone();
        // What is far too much is not worth the work of checking its texts.
        let said: usize =
            changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len)).sum();
        if said > 4 * MAX_ROOM_BYTES {
            return Err(too_long(said, most_bytes));
        }
        for (key, value) in changes {
            let key = text::PROPERTY_KEY.check(key)?;
            match value {
                Some(value) => _ = changed.insert(key, text::PROPERTY_VALUE.check(value)?),
                None => _ = changed.remove(&key),
            }
        }
        let bytes: usize = changed.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > most_bytes {
            return Err(too_long(bytes, most_bytes));
        }
        let numbers: BTreeSet<u32> = changed.keys().map(|key| key_hash(key)).collect();
        if numbers.len() < changed.len() {
            let what = String::from(
                "key of a property (it has the same number as another one; choose another word)",
            );
            return Err(RequestError::Malformed { what });
        }
        if changed.len() > most {
            let (count, max) = (u16::try_from(changed.len()).unwrap_or(u16::MAX), most as u16);
            return Err(RequestError::TooManyProperties { count, max });
        }
        Ok(changed)
    }
}

fn too_long(bytes: usize, max_bytes: usize) -> RequestError {
    let number = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    RequestError::PropertiesTooLong { bytes: number(bytes), max_bytes: number(max_bytes) }
}

/// Cuts properties into parts that fit a datagram each; there is one at least.
pub fn parts_of<T: Clone>(
    properties: &BTreeMap<String, T>,
    bytes: impl Fn(&T) -> usize,
) -> Vec<BTreeMap<String, T>> {
    let mut parts = vec![BTreeMap::new()];
    let mut used = 0;
    for (key, value) in properties {
        let length = key.len() + bytes(value) + 6;
        if used + length > MAX_CHANGES && used > 0 {
            parts.push(BTreeMap::new());
            used = 0;
        }
        used += length;
        if let Some(part) = parts.last_mut() {
            part.insert(key.clone(), value.clone());
        }
    }
    parts
}

/// Checks the sizes of a room's teams.
///
/// # Errors
/// [`RequestError::Malformed`]: there are more than [`MAX_TEAMS`], or one of them has no place or more than 64.
pub fn check_teams(teams: &[u8]) -> Result<(), RequestError> {
    if teams.len() > MAX_TEAMS || teams.iter().any(|size| !(1..=64).contains(size)) {
        let what = format!("teams (at most {MAX_TEAMS}, of 1 to 64 players each)");
        return Err(RequestError::Malformed { what });
    }
    Ok(())
}

/// This says what cancels a countdown, besides the host. The host chooses; all three do by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountdownRule {
    /// Somebody is not ready any more. It also means that all must be ready for the countdown to begin.
    pub unready: bool,
    /// Somebody leaves, or is put out.
    pub leave: bool,
    /// Somebody comes in.
    pub join: bool,
}

impl Default for CountdownRule {
    fn default() -> Self {
        Self { unready: true, leave: true, join: true }
    }
}

/// This is a countdown that runs, as the server tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCountdown {
    /// Tells it from the room's other ones.
    pub id: u64,
    /// It is over then, by the server's clock, in milliseconds since the server was started.
    pub at_ms: u64,
    /// The server said so at this time by the same clock.
    pub now_ms: u64,
    /// This cancels the countdown.
    pub rule: CountdownRule,
}

/// This says why there is no countdown any more before it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CountdownEnd {
    /// The host has taken it back.
    #[error("the host stopped the countdown")]
    ByHost,
    /// This member is not ready any more.
    #[error("a player is not ready any more")]
    NotReady(PlayerId),
    /// This member is out of the room.
    #[error("a player left")]
    Left(PlayerId),
    /// This member has come in.
    #[error("a player came in")]
    Joined(PlayerId),
}

/// This is what a member may ask about its room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum InRoom {
    /// Change what this member says of itself.
    Member(MemberChanges),
    /// The host changes properties of the room.
    Properties(Changes),
    /// Back in the room as its host, show its properties, for a server that was restarted. One that was not knows them.
    Show {
        /// The part has this number, from 0 on.
        part: u8,
        /// This is how many there are.
        parts: u8,
        /// These are the properties in this part.
        properties: Metadata,
        /// This runs: its id, in this many milliseconds from now, by this rule.
        countdown: Option<(u64, u32, CountdownRule)>,
    },
    /// The host lets nobody new in, or does again. Who has a seat or a ticket comes in anyway.
    Lock(bool),
    /// The host says how many teams there are, and how many players each takes. Who has no place any more is in none.
    Teams(Vec<u8>),
    /// The host has a countdown begin. All members are told the same moment.
    StartCountdown {
        /// It takes this many milliseconds, at most [`MAX_COUNTDOWN_MS`].
        after_ms: u32,
        /// It is cancelled by this.
        rule: CountdownRule,
    },
    /// The host stops it.
    CancelCountdown {
        /// The countdown has this id; `None`: whichever runs.
        id: Option<u64>,
    },
    /// The host makes this member host, and stays as a member.
    HandOver {
        /// This member is to be host.
        player: PlayerId,
    },
    /// Asks for the server's clock ([`Response::Time`](super::Response::Time)).
    Time,
    /// The host has its room look for players among those who wait for this quick match, whenever it has a free place: the
    /// smaller one of [`QuickMatch::players`] and the room's capacity are inside then. Shape and teams are those of the room,
    /// and the numbers of the rules are the room's own. [`RoomNews::Backfill`] follows. The same wish again changes the
    /// numbers, and another one takes its place; `None`: the room looks no longer. Another host, and a new session of this one,
    /// end it.
    Backfill(Option<QuickMatch>),
}

/// This is news of the room that this player is in. Each tells a state, of which the newest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RoomNews {
    /// A member says this of itself now.
    Member {
        /// This is the member.
        player: PlayerId,
        /// Counts up with each change of anything in the room.
        revision: u32,
        /// This is all that it says.
        state: MemberState,
    },
    /// A property of the room has this value now.
    Property {
        /// This player, the host at that time, wrote it.
        by: PlayerId,
        /// Counts up with each change of anything in the room.
        revision: u32,
        /// The property has this key.
        #[serde(deserialize_with = "text::read_property_key")]
        key: String,
        /// It has this value; `None`: it was removed.
        #[serde(deserialize_with = "text::read_property_value")]
        value: Option<String>,
    },
    /// The room has properties with these keys only.
    Keys {
        /// It is so since this change.
        revision: u32,
        /// These are the keys, each as [`key_hash`] has it.
        keys: Vec<u32>,
        /// It is false after a restart of the server, while the host has not shown its room's properties yet: what the
        /// members know of them stays until then.
        complete: bool,
    },
    /// A countdown runs, or another one.
    Countdown(ServerCountdown),
    /// A countdown was cancelled.
    CountdownCancelled {
        /// It is this one.
        id: u64,
        /// This is why.
        why: CountdownEnd,
    },
    /// The search for more players comes along like this; it goes to the host alone.
    Backfill {
        /// Counts up with each of them that the server tells anybody.
        revision: u64,
        /// It is like this.
        status: BackfillStatus,
    },
}

/// Returns a number for a key: keys of one room with the same number would be taken for one, which the server prevents.
pub fn key_hash(key: &str) -> u32 {
    // FNV-1a: short, and the same everywhere.
    key.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(pairs: &[(&str, Option<&str>)]) -> Changes {
        pairs.iter().map(|(key, value)| (String::from(*key), value.map(String::from))).collect()
    }

    #[test]
    fn properties_are_merged_and_removed_within_limits_that_the_error_names() {
        let of = PropertiesOf::Member;
        let first = of
            .change(&Metadata::new(), &changes(&[("skin", Some("red")), ("hat", Some("top"))]))
            .expect("fits");
        let second = of.change(&first, &changes(&[("skin", Some("blue")), ("hat", None)])).expect("fits");
        assert_eq!(second, [(String::from("skin"), String::from("blue"))].into());

        let long = changes(&[("a", Some(&"x".repeat(300))), ("b", Some(&"x".repeat(300)))]);
        let refused = of.change(&second, &long).expect_err("602 bytes and 8");
        assert_eq!(refused, RequestError::PropertiesTooLong { bytes: 610, max_bytes: 512 });
        assert!(refused.to_string().contains("512"), "{refused}");
        assert!(PropertiesOf::Room.change(&second, &long).is_ok());

        let many: Changes = (0..17).map(|n| (format!("k{n}"), Some(String::new()))).collect();
        assert_eq!(
            of.change(&Metadata::new(), &many),
            Err(RequestError::TooManyProperties { count: 17, max: 16 })
        );
        for bad in [
            changes(&[("", Some("v"))]),
            changes(&[("k", Some("a\u{1b}b"))]),
            changes(&[(&"k".repeat(65), None)]),
        ] {
            assert!(matches!(of.change(&second, &bad), Err(RequestError::Malformed { .. })), "{bad:?}");
        }
    }

    #[test]
    fn four_kibibytes_go_in_parts_that_fit_a_datagram() {
        let all: Changes = (0..8).map(|n| (format!("key{n}"), Some("v".repeat(508)))).collect();
        assert_eq!(
            all.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len)).sum::<usize>(),
            4096
        );
        assert!(PropertiesOf::Room.change(&Metadata::new(), &all).is_ok());
        let parts = parts_of(&all, |value| value.as_ref().map_or(0, String::len));
        assert_eq!(parts.iter().flatten().count(), 8);
        for part in parts {
            let request = super::super::Request::InRoom(InRoom::Properties(part));
            let bytes = crate::wire::codec::encode(&request).expect("can be encoded").len();
            assert!(bytes + 40 < crate::wire::session::MAX_FRAME, "{bytes}");
        }
        assert_eq!(parts_of(&Changes::new(), |_| 0).len(), 1);
    }

    #[test]
    fn teams_have_sizes() {
        assert_eq!(check_teams(&[2, 2, 64]), Ok(()));
        for bad in [&[0][..], &[65], &[1; 9]] {
            assert!(matches!(check_teams(bad), Err(RequestError::Malformed { .. })), "{bad:?}");
        }
    }
}
