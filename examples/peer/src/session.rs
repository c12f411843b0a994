//! What this player came for, and how far it has come.

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_traversal::{
    HostRoom, JoinInvite, JoinRoom, LONGEST_LIFETIME_SEARCH, NatFacts, NatProfile, QuickMatch, RoomTarget,
};
use headless::Output;
use serde_json::json;

use crate::args::{Game, Sub};
use crate::invites::Inviting;
use crate::lan::Serving;
use crate::quick::Answer;
use crate::rooms::RoomsArgs;

/// So much is waited for beyond the longest silence of a search for a mapping's lifetime: the knocks after it.
const LIFETIME_SETTLES: Duration = Duration::from_secs(10);
/// A search for a mapping's lifetime takes so long, at the most.
pub(crate) const LIFETIME_SEARCH: Duration = LONGEST_LIFETIME_SEARCH.saturating_add(LIFETIME_SETTLES);

/// This is what this player came for.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    Nat {
        /// This says whether to find out, too, how long an idle mapping lives.
        lifetime: bool,
    },
    Host {
        room: HostRoom,
        expected: usize,
        refuse: Option<String>,
        inviting: Inviting,
        serving: Serving,
    },
    /// Enter the room that this invite leads to.
    Invited {
        invite: JoinInvite,
    },
    /// Enter the room of this name, which is in the local network or at the lobby server.
    Found {
        room: String,
        wait: Duration,
    },
    Join {
        join: JoinRoom,
        idle: Duration,
    },
    Quick(QuickMatch, Answer),
    Rooms(RoomsArgs),
}

impl Goal {
    /// Returns how much longer than any other goal this one takes.
    pub(crate) fn takes(&self) -> Duration {
        match self {
            Self::Nat { lifetime: true } => LIFETIME_SEARCH,
            Self::Rooms(rooms) => rooms.takes(),
            _ => Duration::ZERO,
        }
    }

    /// Returns whether this goal has a lobby server of its own, or finds one.
    pub(crate) fn needs_no_lobby(&self) -> bool {
        match self {
            Self::Host { serving, .. } => serving.is_wanted(),
            Self::Invited { .. } => true,
            Self::Nat { .. } | Self::Join { .. } | Self::Found { .. } | Self::Quick(..) | Self::Rooms(_) => {
                false
            }
        }
    }

    pub(crate) fn of(command: &Sub) -> Self {
        match command {
            Sub::Nat { lifetime, .. } => Self::Nat { lifetime: *lifetime },
            // It has a run of its own.
            Sub::Doctor(_) | Sub::People(_) | Sub::Party { .. } => Self::Nat { lifetime: false },
            Sub::Host {
                room,
                players,
                capacity,
                refuse,
                password,
                seats,
                inviting,
                serving,
                game,
                shown,
                backfill,
                ..
            } => {
                let teams = match game.members.teams.clone() {
                    teams if teams.is_empty() => backfill.teams(),
                    teams => teams,
                };
                let room = bevy_traversal::RoomOptions {
                    name: room.clone(),
                    capacity: capacity.unwrap_or(*players),
                    password: password.clone(),
                    auto_allow: refuse.is_none(),
                    migrate: game.migrate,
                    teams,
                    properties: game.members.room_properties(),
                    metadata: shown.metadata(),
                    ..seats.options()
                };
                let expected = usize::from(*players) - usize::from(room.seat);
                let (refuse, inviting, serving) = (refuse.clone(), inviting.clone(), serving.clone());
                Self::Host { room: HostRoom(room), expected, refuse, inviting, serving }
            }
            Sub::Rooms { rooms, .. } => Self::Rooms(rooms.clone()),
            Sub::Quick { mode, players, rules, .. } => {
                let wanted = QuickMatch { rules: rules.rules(), ..QuickMatch::of(mode.clone(), *players) };
                Self::Quick(wanted, rules.answer)
            }
            Sub::Join { invite: Some(text), wait, .. } => {
                Self::Invited { invite: JoinInvite { text: text.clone(), wait: *wait } }
            }
            Sub::Join { room: Some(room), lan: true, wait, .. } => {
                Self::Found { room: room.clone(), wait: *wait }
            }
            Sub::Join { room, wait, idle, password, seats, .. } => {
                let target = RoomTarget::Name(room.clone().unwrap_or_default());
                let join =
                    JoinRoom { target, password: password.clone(), wait: *wait, spectate: seats.spectate };
                Self::Join { join, idle: *idle }
            }
        }
    }
}

/// This resource says how far the player has come.
#[derive(Resource)]
pub(crate) struct Session {
    pub(crate) goal: Goal,
    pub(crate) game: Option<Game>,
    /// This is what the user has set of the own NAT.
    pub(crate) manual: NatFacts,
    pub(crate) deadline: Instant,
    /// The room is asked for then, or again; `None`: it was asked for.
    pub(crate) ask_at: Option<Instant>,
    /// This is when the player was logged in for the first time.
    pub(crate) online_at: Option<Instant>,
    /// A room was entered; it is printed when its members are known.
    pub(crate) room_pending: bool,
    /// renet was connected for the first time at this moment.
    pub(crate) connected_at: Option<Instant>,
    /// This is what is known of the own NAT, and since when.
    pub(crate) nat: Option<(NatProfile, Instant)>,
    /// This is when it was first known.
    pub(crate) nat_since: Option<Instant>,
    /// The host of a joined room is gone.
    pub(crate) host_gone: bool,
    /// This player hosts the present room.
    pub(crate) hosting: bool,
    /// This player has hosted the room from the start: all others are expected. One who takes over may do so when
    /// they leave.
    pub(crate) hosted_first: bool,
    pub(crate) frozen: bool,
    /// This is the last thing that went wrong.
    pub(crate) trouble: Option<String>,
    pub(crate) stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// This is set when it is over.
    pub(crate) over: bool,
}

impl Session {
    pub(crate) fn new(
        goal: Goal,
        (game, manual): (Option<Game>, NatFacts),
        deadline: Duration,
        stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    ) -> Self {
        Self {
            goal,
            game,
            manual,
            deadline: Instant::now() + deadline,
            ask_at: Some(Instant::now()),
            online_at: None,
            room_pending: false,
            connected_at: None,
            nat: None,
            nat_since: None,
            host_gone: false,
            hosting: false,
            hosted_first: false,
            frozen: false,
            trouble: None,
            stop,
            over: false,
        }
    }

    /// A join of a name that looks like a code is tried as a code too.
    pub(crate) fn next_target(&mut self) -> bool {
        let Goal::Join { join, .. } = &mut self.goal else { return false };
        let RoomTarget::Name(name) = &join.target else { return false };
        if name.len() != 6 || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return false;
        }
        join.target = RoomTarget::Code(name.clone());
        join.wait = Duration::ZERO;
        true
    }

    /// Plays with a host, and with it only.
    pub(crate) fn has_joined(&self) -> bool {
        match self.goal {
            Goal::Join { .. } | Goal::Invited { .. } | Goal::Found { .. } => true,
            Goal::Quick(..) => !self.hosting,
            _ => false,
        }
    }

    /// Without its host there is nothing left to do.
    pub(crate) fn ends_with_its_host(&self) -> bool {
        self.has_joined() && !self.game.as_ref().is_some_and(|game| game.migrate)
    }

    /// Ends it with this text.
    pub(crate) fn fail(&mut self, text: String) {
        self.trouble = Some(text);
        self.over = true;
    }

    pub(crate) fn give_up(&mut self, output: &Output, stage: &str, reason: &str, text: &str) {
        output.event(
            "failed",
            json!({"peer": null, "stage": stage, "reason": reason, "text": text, "local_nat": null,
                   "remote_nat": null, "no_relay": null, "tried": [], "advice": null}),
        );
        self.fail(text.to_owned());
    }
}
