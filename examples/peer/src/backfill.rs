//! A room that looks for more players among those who wait for a quick match: on the command line, and how it comes along, printed.

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_traversal::{Backfill, BackfillChanged, CurrentRoom, EndBackfill, QuickMatch};
use clap::Args;
use headless::Output;
use headless::args::seconds;
use serde_json::json;

use crate::args::Sub;
use crate::quick::RulesArgs;

/// These events are printed with --json.
pub(crate) const EVENTS: &str = "JSON events of a room that looks for more players (--json):
  backfill       free: so many more are looked for; coming: so many were found and are on their way; null: the room does not look";

/// These flags say whom a hosted room looks for.
#[derive(Args, Clone, Debug)]
pub(crate) struct HostBackfill {
    /// Look for more players whenever there is a place, among those who wait for this mode with as many players as the room takes
    /// (event "backfill")
    #[arg(long, value_name = "MODE")]
    pub(crate) backfill: Option<String>,
    /// Look no longer so long after the room was opened
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "backfill")]
    pub(crate) backfill_for: Option<Duration>,
    #[command(flatten)]
    pub(crate) rules: RulesArgs,
}

impl HostBackfill {
    /// Returns the sizes of the room's teams, where those who wait have teams.
    pub(crate) fn teams(&self) -> Vec<u8> {
        let teams = self.rules.rules().teams;
        teams
            .into_iter()
            .filter(|_| self.backfill.is_some())
            .map(|size| u8::try_from(size).unwrap_or(u8::MAX))
            .collect()
    }
}

/// This resource says whom a room looks for that this player hosts.
#[derive(Resource, Clone, Debug, Default)]
pub(crate) struct Wish {
    wanted: Option<QuickMatch>,
    length: Option<Duration>,
}

impl Wish {
    pub(crate) fn of(command: &Sub) -> Self {
        match command {
            Sub::Quick { mode, players, rules, backfill: true, .. } => {
                let wanted = QuickMatch { rules: rules.rules(), ..QuickMatch::of(mode.clone(), *players) };
                Self { wanted: Some(wanted), length: None }
            }
            Sub::Host { backfill, players, capacity, .. } => {
                let of = |mode: &String| {
                    let wanted = QuickMatch::of(mode.clone(), capacity.unwrap_or(*players));
                    QuickMatch { rules: backfill.rules.rules(), ..wanted }
                };
                Self { wanted: backfill.backfill.as_ref().map(of), length: backfill.backfill_for }
            }
            _ => Self::default(),
        }
    }
}

/// Asks for more players when this player begins to host the room, and prints how that comes along. After a new login the plugin
/// asks again by itself.
pub(crate) fn backfill(
    wish: Res<Wish>,
    output: Res<Output>,
    room: Res<CurrentRoom>,
    mut changed: MessageReader<BackfillChanged>,
    (mut look, mut end): (MessageWriter<Backfill>, MessageWriter<EndBackfill>),
    (mut hosts, mut end_at): (Local<bool>, Local<Option<Instant>>),
) {
    let Some(wanted) = &wish.wanted else { return };
    let hosting = room.hosting && room.info.is_some();
    if hosting && !*hosts {
        look.write(Backfill(wanted.clone()));
        *end_at = wish.length.map(|length| Instant::now() + length);
    }
    *hosts = hosting;
    if end_at.take_if(|at| *at <= Instant::now()).is_some() {
        end.write(EndBackfill);
    }
    for BackfillChanged(status) in changed.read() {
        let (free, coming) = (status.map(|status| status.free), status.map(|status| status.coming));
        output.event("backfill", json!({"free": free, "coming": coming}));
    }
}
