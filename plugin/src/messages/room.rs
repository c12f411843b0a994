//! What the members of a room tell each other: requests and outcomes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bevy_app::App;
use bevy_ecs::message::Message;
use bevy_ecs::resource::Resource;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::{
    BackfillStatus, Changes, CountdownEnd, CountdownRule, MemberState, TeamWish,
};
use traversal_core::{Countdown, MemberDiff};

use super::requests::QuickMatch;

/// Request: change properties of this player, which all in the room see. It has at most 16, of 512 bytes, keys and values
/// together; more is refused with [`RequestError::TooManyProperties`](crate::RequestError::TooManyProperties) or
/// [`RequestError::PropertiesTooLong`](crate::RequestError::PropertiesTooLong). It is answered by
/// [`PlayerPropertiesChanged`] where something is another one by it, or by [`RequestFailed`](crate::RequestFailed).
///
/// ```
/// use bevy_traversal::SetProperties;
///
/// let look = SetProperties::put("skin", "red").and("hat", "top");
/// let bare = SetProperties::remove("hat");
/// # assert_ne!(look, bare);
/// ```
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetProperties(pub Changes);

/// Request of a host: change properties of the room, which all in it see and strangers do not, but for those whose keys begin with
/// `list.` ([`LISTED_PREFIX`](crate::LISTED_PREFIX)): lists are filtered by them, and show those that they ask for. It has at most 64, of 4,096
/// bytes, keys and values together, and each value at most 512. It is answered by [`RoomPropertyChanged`] for each that is
/// another one by it, or by [`RequestFailed`](crate::RequestFailed).
///
/// What strangers are to see in every listing is the room's metadata: [`SetRoomMetadata`](crate::SetRoomMetadata).
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRoomProperties(pub Changes);

macro_rules! changes {
    ($($name:ident),+) => {
        $(impl $name {
            /// Makes a request to give a property this value; the others stay as they are.
            pub fn put(key: impl Into<String>, value: impl Into<String>) -> Self {
                Self::default().and(key, value)
            }

            /// Makes a request to remove a property.
            pub fn remove(key: impl Into<String>) -> Self {
                Self([(key.into(), None)].into())
            }

            /// Gives one more property a value.
            pub fn and(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
                self.0.insert(key.into(), Some(value.into()));
                self
            }
        })+
    };
}

changes!(SetProperties, SetRoomProperties);

/// Request: set whether this player is ready. It is answered by [`PlayerPropertiesChanged`] or
/// [`RequestFailed`](crate::RequestFailed); [`AllReadyChanged`] follows with the last one.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetReady(pub bool);

/// Request: play in this team, or in none, or have the server balance. It is answered by [`PlayerPropertiesChanged`] or
/// [`RequestFailed`](crate::RequestFailed): [`RequestError::TeamFull`](crate::RequestError::TeamFull) where there is no place.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetTeam(pub TeamWish);

/// Request of a host: lock the room (`true`) or unlock it (`false`). A locked room lets in only those who have a seat or were
/// inside before; others read [`RequestError::RoomLocked`](crate::RequestError::RoomLocked). It is answered by
/// [`RoomChanged`](crate::RoomChanged) or [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRoom(pub bool);

/// Request of a host: have teams that take this many players each, at most 8 teams of 1 to 64; empty: none. Who has no
/// place any more is in no team. It is answered by [`RoomChanged`](crate::RoomChanged) or
/// [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetTeams(pub Vec<u8>);

/// Request of a host: have a countdown begin that all members see end at the same moment. It is answered by
/// [`CountdownStarted`] or [`RequestFailed`](crate::RequestFailed):
/// [`RequestError::NotReady`](crate::RequestError::NotReady) where somebody is not ready and the rule wants all to be.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartCountdown {
    /// The countdown takes this long, at most ten minutes.
    pub after: Duration,
    /// This cancels the countdown (default: a member who is no longer ready, leaves or comes in).
    pub rule: CountdownRule,
}

impl StartCountdown {
    /// Makes a request for a countdown of this length by the default rule.
    pub fn of(after: Duration) -> Self {
        Self { after, rule: CountdownRule::default() }
    }
}

/// Request of a host: stop the countdown. It is answered by [`CountdownCancelled`] or
/// [`RequestFailed`](crate::RequestFailed); in its last half second it is too late.
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelCountdown;

/// Request of a host: make this member host, and stay as a member. It is answered as when a host leaves
/// ([`HostMigrated`](crate::HostMigrated)), with this player as `previous`, or by [`RequestFailed`](crate::RequestFailed):
/// [`RequestError::HostStays`](crate::RequestError::HostStays) where [`RoomOptions::migrate`](crate::RoomOptions::migrate) is
/// off.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// This member is to be host.
    pub player: PlayerId,
}

/// Request of a host: have the room look for more players among those who wait for this quick match, whenever it has a free place:
/// the smaller one of [`QuickMatch::players`] and the room's capacity are inside then. They come in without a password and without
/// [`JoinRequested`](crate::JoinRequested), as [`RoomJoined`](crate::RoomJoined) tells them. Numbers of the rules are the room's
/// own; write the request again when they have changed. Shape and teams have to be those of the room. It is answered by
/// [`BackfillChanged`] or [`RequestFailed`](crate::RequestFailed).
///
/// The wish stands until [`EndBackfill`], or until another player hosts the room. It is said again to whichever lobby server
/// this player logs in at.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use bevy_traversal::prelude::*;
/// use bevy_traversal::Backfill;
///
/// // Whoever hosts the room of a match looks for somebody else when a player has left.
/// fn fill_up(
///     mut joined: MessageReader<RoomJoined>,
///     mut migrated: MessageReader<HostMigrated>,
///     mut backfill: MessageWriter<Backfill>,
/// ) {
///     let hosts = joined.read().any(|joined| joined.hosting) | migrated.read().any(|change| change.hosting);
///     if hosts {
///         backfill.write(Backfill(QuickMatch::of("brawl", 4)));
///     }
/// }
/// # bevy_ecs::system::assert_is_system(fill_up);
/// ```
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct Backfill(pub QuickMatch);

/// Request of a host: have the room look for more players no longer. Those who are on their way in wait on in their line. It is
/// answered by [`BackfillChanged`] or [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndBackfill;

/// Outcome: the search of this player's room for more players ([`Backfill`]) comes along like this; `None`: it is over, since it was
/// taken back, refused, or another player hosts the room.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillChanged(pub Option<BackfillStatus>);

/// Outcome: a member, perhaps this player, changed its ready flag, its team or its properties. What all say is in
/// [`RoomShared`], and on the other players' entities ([`PlayerProperties`](crate::PlayerProperties)).
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PlayerPropertiesChanged {
    /// This is the member.
    pub player: PlayerId,
    /// This is what it has changed.
    pub changed: MemberDiff,
    /// This is all that it says.
    pub state: MemberState,
}

/// Outcome: the host set or removed a property of the room. All of them are in [`RoomShared`].
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct RoomPropertyChanged {
    /// The property has this key.
    pub key: String,
    /// It has this value; `None`: it was removed.
    pub value: Option<String>,
    /// This player wrote it, as host.
    pub by: PlayerId,
}

/// Outcome: all members are ready now, this player among them; or they are not any more.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllReadyChanged {
    /// It is true when all are.
    pub all_ready: bool,
}

/// Outcome: a countdown began, or this player came in while one runs. [`CountdownOver`] or [`CountdownCancelled`] follows.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountdownStarted(pub Countdown);

/// Outcome: the countdown was cancelled.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountdownCancelled {
    /// This is why; its text is fit for a player.
    pub why: CountdownEnd,
}

/// Outcome: the countdown is over. All members read this at the same moment, as exactly as each knows the server's clock
/// ([`Countdown::exact`]), and up to a frame later.
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountdownOver;

/// Resource: it holds what the members of the room tell each other. It is empty while this player is in no room.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomShared {
    pub(crate) members: BTreeMap<PlayerId, MemberState>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) all_ready: bool,
    pub(crate) countdown: Option<Countdown>,
}

impl RoomShared {
    /// Returns what a member says of itself, this player too; none: it has said nothing yet.
    pub fn member(&self, player: PlayerId) -> Option<&MemberState> {
        self.members.get(&player)
    }

    /// Returns the properties of the room.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// Returns whether all members are ready, this player among them.
    pub fn all_ready(&self) -> bool {
        self.all_ready
    }

    /// Returns the countdown that runs, if any.
    pub fn countdown(&self) -> Option<&Countdown> {
        self.countdown.as_ref()
    }

    /// Returns the time until the countdown ends, or `None` while none runs.
    pub fn left(&self) -> Option<Duration> {
        self.countdown.map(|countdown| countdown.at.saturating_duration_since(Instant::now()))
    }
}

/// Registers all of them.
pub(crate) fn add(app: &mut App) {
    app.init_resource::<RoomShared>()
        .add_message::<SetProperties>()
        .add_message::<SetRoomProperties>()
        .add_message::<SetReady>()
        .add_message::<SetTeam>()
        .add_message::<LockRoom>()
        .add_message::<SetTeams>()
        .add_message::<StartCountdown>()
        .add_message::<CancelCountdown>()
        .add_message::<HandOver>()
        .add_message::<Backfill>()
        .add_message::<EndBackfill>()
        .add_message::<BackfillChanged>()
        .add_message::<PlayerPropertiesChanged>()
        .add_message::<RoomPropertyChanged>()
        .add_message::<AllReadyChanged>()
        .add_message::<CountdownStarted>()
        .add_message::<CountdownCancelled>()
        .add_message::<CountdownOver>();
}
