//! What the members of a room tell each other: properties, who is ready, teams, the countdown, the lock, and who hosts next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use bevy_traversal::{
    AllReadyChanged, CountdownCancelled, CountdownOver, CountdownStarted, CurrentRoom, HandOver, LobbyLink,
    LockRoom, Members, PlayerId, PlayerPropertiesChanged, RequestFailed, RequestKind, RoomChanged,
    RoomJoined, RoomPropertyChanged, RoomShared, SetProperties, SetReady, SetTeam, StartCountdown, TeamWish,
};
use clap::Args;
use headless::args::seconds;
use headless::{Output, ms};
use serde_json::json;

use crate::session::{Goal, Session};

/// These events are printed with --json.
pub(crate) const EVENTS: &str = "Events of --json about what members tell each other (times in milliseconds):
  member_changed       peer, player, ready, team, properties; changed: what of it is new
  room_property        key, value (null: removed), by: the id of the host who wrote it
  room_changed         locked, teams, metadata
  all_ready            all_ready: true or false
  countdown            in_ms: it is over then; exact_ms: the clock of the server is known so exactly
  countdown_cancelled  text
  countdown_over       unix_ms: the time of day, to compare it with that of the others
  request_failed       request, text";

#[derive(Args, Clone, Debug)]
pub(crate) struct MembersArgs {
    /// Give this player a property that all in the room see; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) property: Vec<(String, String)>,
    /// Be ready, from when this player is in the room
    #[arg(long)]
    pub(crate) ready: bool,
    /// Not be ready any more, so long after this player came into the room
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "ready")]
    pub(crate) unready_after: Option<Duration>,
    /// Play in this team, counted from 0, or in any: then the server balances
    #[arg(long, value_name = "N|any", value_parser = team)]
    pub(crate) team: Option<TeamWish>,
    /// Host: give the room a property that all in it see; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) room_property: Vec<(String, String)>,
    /// Host: have teams of these sizes
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',')]
    pub(crate) teams: Vec<u8>,
    /// Host: let nobody new in as soon as --players are inside
    #[arg(long)]
    pub(crate) lock: bool,
    /// Host: have a countdown begin as soon as --players are inside and all are ready
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) start_when_ready: Option<Duration>,
    /// Host: make the player of this name host, and stay
    #[arg(long, value_name = "NAME")]
    pub(crate) hand_over: Option<String>,
    /// How long after that player came into the room
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, requires = "hand_over")]
    pub(crate) after: Duration,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn team(text: &str) -> Result<TeamWish, String> {
    match text {
        "any" => Ok(TeamWish::Any),
        number => number.parse().map(TeamWish::Team).map_err(|_| "a number or `any` is expected".to_owned()),
    }
}

impl MembersArgs {
    /// Returns the room's properties.
    pub(crate) fn room_properties(&self) -> BTreeMap<String, String> {
        self.room_property.iter().cloned().collect()
    }
}

/// This is remembered of what was done already.
#[derive(Debug, Default)]
pub(crate) struct Done {
    in_room_since: Option<Instant>,
    unready: bool,
    locked: bool,
    started: bool,
    handed_over: bool,
    /// The player who is to be host next has been in the room since then.
    next_since: Option<Instant>,
}

/// These requests are written.
#[derive(SystemParam)]
pub(crate) struct Writers<'w> {
    properties: MessageWriter<'w, SetProperties>,
    ready: MessageWriter<'w, SetReady>,
    team: MessageWriter<'w, SetTeam>,
    lock: MessageWriter<'w, LockRoom>,
    start: MessageWriter<'w, StartCountdown>,
    hand_over: MessageWriter<'w, HandOver>,
}

/// Asks for what the flags want.
pub(crate) fn say(
    session: Res<Session>,
    (room, members, shared): (Res<CurrentRoom>, Res<Members>, Res<RoomShared>),
    mut entered: MessageReader<RoomJoined>,
    mut over: MessageReader<CountdownOver>,
    mut cancelled: MessageReader<CountdownCancelled>,
    mut out: Writers,
    mut done: Local<Done>,
) {
    let Some(args) = session.game.as_ref().map(|game| &game.members) else { return };
    // After a new login the plugin says it again by itself.
    if entered.read().count() > 0 && done.in_room_since.is_none() {
        done.in_room_since = Some(Instant::now());
        let changes = args.property.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        let changes = SetProperties(changes.collect());
        if !changes.0.is_empty() {
            out.properties.write(changes);
        }
        if let Some(team) = args.team {
            out.team.write(SetTeam(team));
        }
        if args.ready {
            out.ready.write(SetReady(true));
        }
    }
    let Some(since) = done.in_room_since.filter(|_| room.info.is_some()) else { return };
    if args.unready_after.is_some_and(|after| !done.unready && since.elapsed() >= after) {
        done.unready = true;
        out.ready.write(SetReady(false));
    }
    done.started &= cancelled.read().count() == 0;
    done.started |= over.read().count() > 0;
    if !room.hosting {
        return;
    }
    let expected = match &session.goal {
        Goal::Host { expected, .. } => expected + 1,
        _ => 2,
    };
    let all_here = members.0.len() >= expected;
    if args.lock && all_here && !done.locked {
        done.locked = true;
        out.lock.write(LockRoom(true));
    }
    if let Some(after) = args.start_when_ready.filter(|_| all_here && shared.all_ready() && !done.started) {
        done.started = true;
        out.start.write(StartCountdown::of(after));
    }
    let next = members.0.iter().find(|member| Some(&member.name) == args.hand_over.as_ref());
    if let Some(next) = next.filter(|_| !done.handed_over)
        && done.next_since.get_or_insert_with(Instant::now).elapsed() >= args.after
    {
        done.handed_over = true;
        out.hand_over.write(HandOver { player: next.id });
    }
}

/// These outcomes are read.
#[derive(SystemParam)]
pub(crate) struct Readers<'w, 's> {
    member: MessageReader<'w, 's, PlayerPropertiesChanged>,
    property: MessageReader<'w, 's, RoomPropertyChanged>,
    room: MessageReader<'w, 's, RoomChanged>,
    all_ready: MessageReader<'w, 's, AllReadyChanged>,
    started: MessageReader<'w, 's, CountdownStarted>,
    cancelled: MessageReader<'w, 's, CountdownCancelled>,
    over: MessageReader<'w, 's, CountdownOver>,
    failed: MessageReader<'w, 's, RequestFailed>,
}

/// Prints what the plugin says.
pub(crate) fn print(output: Res<Output>, (members, link): (Res<Members>, Res<LobbyLink>), mut read: Readers) {
    let name = |player: PlayerId| {
        let member = members.0.iter().find(|member| member.id == player);
        member.map(|member| member.name.clone()).or_else(|| (link.player() == Some(player)).then(String::new))
    };
    for PlayerPropertiesChanged { player, changed, state } in read.member.read() {
        let changed = json!({"ready": changed.ready, "team": changed.team, "properties": changed.properties});
        output.event(
            "member_changed",
            json!({"peer": name(*player), "player": player.to_string(), "ready": state.ready, "team": state.team,
                   "properties": state.properties, "changed": changed}),
        );
    }
    for RoomPropertyChanged { key, value, by } in read.property.read() {
        output.event("room_property", json!({"key": key, "value": value, "by": by.to_string()}));
    }
    for RoomChanged(room) in read.room.read() {
        let (locked, teams, metadata) = (room.locked, &room.teams, &room.metadata);
        output.event("room_changed", json!({"locked": locked, "teams": teams, "metadata": metadata}));
    }
    for AllReadyChanged { all_ready } in read.all_ready.read() {
        output.event("all_ready", json!({"all_ready": all_ready}));
    }
    for CountdownStarted(countdown) in read.started.read() {
        let left = countdown.at.saturating_duration_since(Instant::now());
        output.event("countdown", json!({"in_ms": ms(left), "exact_ms": countdown.exact.map(ms)}));
    }
    for CountdownCancelled { why } in read.cancelled.read() {
        output.event("countdown_cancelled", json!({"text": why.to_string()}));
    }
    for CountdownOver in read.over.read() {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        output.event("countdown_over", json!({"unix_ms": ms(unix)}));
    }
    for RequestFailed { request, error } in read.failed.read() {
        if !matches!(request, RequestKind::Host | RequestKind::Join | RequestKind::QuickMatch) {
            output.event(
                "request_failed",
                json!({"request": format!("{request:?}"), "text": error.to_string()}),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_and_teams_are_read_from_the_command_line() {
        assert_eq!(pair("skin=dark=red"), Ok(("skin".into(), "dark=red".into())));
        assert!(pair("skin").is_err());
        assert_eq!((team("any"), team("1")), (Ok(TeamWish::Any), Ok(TeamWish::Team(1))));
        assert!(team("red").is_err());
    }
}
