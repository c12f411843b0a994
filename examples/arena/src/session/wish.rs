//! What the player wants: who it is, its goal, and what is asked of whoever carries it out.

use std::time::Duration;

use bevy::prelude::{Message, Resource};
use bevy_traversal::{
    ConnectLobby, CountdownRule, JoinRoom, MakeInvite, PlayerId, QueueStatus, QuickMatch, RequestKind,
    RoomOptions, RoomQuery, Secret, StartCountdown,
};

pub use bevy_traversal::RoomTarget as Target;

use crate::sim::Rules;

/// So many may watch a room's matches.
const WATCHERS: u16 = 8;
/// An invite of the host lets friends in for so many minutes: a day.
const INVITE: u16 = 24 * 60;
/// The lobby server counts down for so long.
const COUNT: Duration = Duration::from_secs(3);

/// This says who plays here, and which lobby server serves.
#[derive(Resource, Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Others see this name.
    pub name: String,
    /// This is the lobby server, `host:port`.
    pub server: String,
}

impl Profile {
    /// Returns the request to log in.
    pub fn login(&self) -> ConnectLobby {
        ConnectLobby { name: Some(self.name.clone()), ..ConnectLobby::to(self.server.clone()) }
    }
}

/// This says how a room is to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPlan {
    /// This is the room's name; where it is empty the server finds one.
    pub room: String,
    /// Everyone who joins is asked for this password; `None`: nobody is asked.
    pub password: Option<Secret<String>>,
    /// This says whether the room stands in the list.
    pub listed: bool,
    /// So many players fit into the room, with the host.
    pub capacity: u16,
    /// So many computer players are let in.
    pub bots: usize,
    /// These are the rules of the match.
    pub rules: Rules,
    /// The match begins without being asked when so many are here.
    pub begin_with: Option<usize>,
}

impl HostPlan {
    /// Returns the room as the lobby server is asked for it.
    pub fn options(self) -> RoomOptions {
        RoomOptions {
            name: self.room,
            capacity: self.capacity,
            password: self.password,
            public: self.listed,
            spectators: WATCHERS,
            ..RoomOptions::default()
        }
    }
}

impl Default for HostPlan {
    fn default() -> Self {
        Self {
            room: String::new(),
            password: None,
            listed: true,
            capacity: 8,
            bots: 0,
            rules: Rules::default(),
            begin_with: None,
        }
    }
}

/// This says which players are waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuickPlan {
    /// So many play, this one among them: 2..=8. Only players who want as many meet.
    pub players: u16,
    /// These are the rules of the match, where this player comes to host it.
    pub rules: Rules,
}

impl From<QuickPlan> for QuickMatch {
    fn from(plan: QuickPlan) -> Self {
        Self::of("free for all", plan.players)
    }
}

/// Returns who waits for a quick match with this player, as a sentence.
pub fn queue_words(queue: &QueueStatus) -> String {
    let QueueStatus { position, waiting, players, .. } = *queue;
    match waiting {
        0 | 1 => String::from("You are the first: nobody else waits yet."),
        _ if waiting <= u32::from(players) => format!("{waiting} of {players} players are here."),
        _ => format!("{waiting} players wait for matches of {players}; you are number {position}."),
    }
}

/// Returns how long it is expected to take, as a sentence.
pub fn estimate_words(queue: &QueueStatus) -> String {
    match queue.estimate_s {
        Some(seconds) => format!("Half of those before you waited no longer than {seconds} s."),
        None => String::from("How long it takes is not known: few were matched lately."),
    }
}

/// Returns the request for an invite to the present room: one of its host lets friends in without the password for a day, one of a
/// guest says where the room is.
pub fn invite(hosting: bool) -> MakeInvite {
    if hosting { MakeInvite::for_minutes(INVITE) } else { MakeInvite::default() }
}

/// Returns the request to count down for all in the room, which nobody stops: who is not ready plays, too.
pub fn count_for_all() -> StartCountdown {
    let rule = CountdownRule { unready: false, leave: false, join: false };
    StartCountdown { after: COUNT, rule }
}

/// Returns a room to be entered as a sentence names it.
pub fn target_words(target: &Target) -> String {
    match target {
        Target::Name(name) => format!("room \"{name}\""),
        Target::Code(code) => format!("the room with code {}", code.to_uppercase()),
    }
}

/// Returns whether a text is an invite, or a link with one, rather than the code or the name of a room.
pub fn is_invite(text: &str) -> bool {
    text.contains('#') || text.starts_with("bevy-traversal:")
}

/// This is what the player is after. The flow pursues it until it is reached or given up.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub enum Goal {
    /// Nothing is wanted.
    #[default]
    Idle,
    /// See the public rooms.
    Browse,
    /// Open a room and host the game.
    Host(HostPlan),
    /// Enter a room.
    Join {
        /// This is the room to enter.
        target: Target,
        /// This is the password; `None`: the room wants none.
        password: Option<Secret<String>>,
        /// Keep asking for so long while there is no such room.
        wait: Duration,
        /// The player only watches the match.
        watch: bool,
    },
    /// Enter the room that this invite leads to.
    Invited(String),
    /// Wait for players who want a match, too.
    Quick(QuickPlan),
}

impl Goal {
    /// Returns the rules of a match that this player hosts on its way to the goal; none: it hosts none.
    pub fn rules(&self) -> Option<Rules> {
        match self {
            Self::Host(plan) => Some(plan.rules),
            Self::Quick(plan) => Some(plan.rules),
            _ => None,
        }
    }

    /// Returns with how many players the match begins by itself; none: the host begins it.
    pub fn begins_with(&self) -> Option<usize> {
        match self {
            Self::Host(plan) => plan.begin_with,
            Self::Quick(plan) => Some(plan.players.into()),
            _ => None,
        }
    }

    /// Returns the request without which there is no way to the goal.
    pub fn request(&self) -> Option<RequestKind> {
        match self {
            Self::Idle => None,
            Self::Browse => Some(RequestKind::Watch),
            Self::Host(_) => Some(RequestKind::Host),
            Self::Join { .. } | Self::Invited(_) => Some(RequestKind::Join),
            Self::Quick(_) => Some(RequestKind::QuickMatch),
        }
    }
}

/// These rooms are listed while the player looks at the list.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub struct RoomWish(pub RoomQuery);

/// This is a request to whoever carries it out.
#[derive(Message, Clone, Debug, PartialEq)]
pub enum Ask {
    /// Log in as the [`Profile`] says.
    Connect,
    /// Open a room and host the game.
    Host(HostPlan),
    /// Enter a room, or watch it.
    Join(JoinRoom),
    /// Enter the room that this invite leads to.
    Invited(String),
    /// Wait for players who want a match, too.
    Quick(QuickPlan),
    /// Wait for them no longer.
    Unqueue,
    /// Hear of these rooms, and of what changes there.
    Watch(RoomQuery),
    /// Hear of rooms no more.
    Unwatch,
    /// Make an invite to the present room: as its host, one that lets friends in without the password.
    Invite {
        /// This player hosts the room.
        hosting: bool,
    },
    /// Tell the room that this player is ready for a match, or no longer.
    Ready(bool),
    /// Count down for all in the room, as its host.
    Count,
    /// Leave the present room.
    Leave,
    /// Put a member out.
    Kick(PlayerId),
}
