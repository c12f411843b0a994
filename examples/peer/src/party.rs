//! `peer party`: players who stay together, and wait for quick matches with their leader.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bevy_app::{App, AppExit, ScheduleRunnerPlugin, TaskPoolPlugin, Update};
use bevy_ecs::prelude::*;
use bevy_time::TimePlugin;
use bevy_traversal::{
    AnswerMatch, Contacts, CreateParty, CurrentParty, DisbandParty, InviteToParty, JoinParty, KickFromParty,
    LeadParty, LeaveParty, LeaveRoom, LobbyChanged, LobbyFailed, LobbyState, MatchFound, PartyChanged,
    PartyEnded, PartyInfo, PartyInvited, PartyMate, PeerConnected, PlayerId, QueueChanged, QuickMatch,
    QuickTeams, RequestError, RequestFailed, RequestFailure, RoomJoined, RoomLeft, SetPartyNumbers,
    TraversalConfig, TraversalLink, TraversalPlugin,
};
use clap::Args;
use headless::Output;
use headless::args::seconds;
use serde_json::{Value, json};

use crate::FRAME;
use crate::args::Common;
use crate::chat::{self, ChatArgs};
use crate::finish::end;
use crate::quick::{Answer, RulesArgs};

/// The leader asks for a match again after so long, where some were not there.
const AGAIN: Duration = Duration::from_millis(500);

pub(crate) const EVENTS: &str = "JSON events (--json):
  logged_in        player
  party            code, invite (the text for --code of players at any lobby server), most, queued, members (player, name, leads,
                   away), mates (entities of the other members): the party is like this now
  party_invited    code, player, name, contact
  party_ended      text
  queue            position, waiting, players, estimate_s; null: the wait is over
  match_found      players, within_s
  teams            teams
  room             name, code, role (host or join), players
  connected        player, path
  room_left        text
  request_failed   request, text";

/// This is what a player does in a party.
#[derive(Args, Clone, Debug)]
pub(crate) struct PartyArgs {
    /// Make a party that takes so many members
    #[arg(long, value_name = "MOST", value_parser = clap::value_parser!(u16).range(2..=16))]
    create: Option<u16>,
    /// Enter the party of this code, or that this invite leads to: its text or a link, which needs no --lobby
    #[arg(long, value_name = "CODE|TEXT", conflicts_with = "create")]
    code: Option<String>,
    /// Enter the party that a contact invites to
    #[arg(long, conflicts_with_all = ["create", "code"])]
    wait_invite: bool,
    /// Id of a player who may know that this one is on line, and may invite it; may be given several times
    #[arg(long, value_name = "ID")]
    allow: Vec<PlayerId>,
    /// Id of a player to invite; may be given several times
    #[arg(long, value_name = "ID")]
    invite: Vec<PlayerId>,
    /// The own number of this name; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = own_number, allow_hyphen_values = true)]
    number: Vec<(String, i32)>,
    /// What the leader does when the party has --members: wait for a quick match of this mode with all
    #[arg(long, value_name = "NAME")]
    mode: Option<String>,
    /// Players of the match
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=64))]
    players: u16,
    /// The party has so many members before anything is done with it
    #[arg(long, default_value_t = 2)]
    members: usize,
    #[command(flatten)]
    rules: RulesArgs,
    /// Play so many matches: leave the room after each, and wait for the next with the same party
    #[arg(long, default_value_t = 1)]
    matches: u32,
    /// The leader puts the last member out when the party has --members
    #[arg(long)]
    kick_last: bool,
    /// The leader has the last member lead when the party has --members
    #[arg(long)]
    lead_last: bool,
    /// The leader ends the party when it has --members
    #[arg(long)]
    disband: bool,
    /// Leave the party when it has --members
    #[arg(long)]
    leave: bool,
    /// How long to stay in the room after the connection; without --mode in the party, once it has --members
    #[arg(long = "for", value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    stay: Duration,
    #[command(flatten)]
    chat: ChatArgs,
}

impl PartyArgs {
    /// Returns whether the lobby server is named by an invite.
    pub(crate) fn is_invited(&self) -> bool {
        self.code.as_ref().is_some_and(|code| code.contains('#') || code.contains("%23"))
    }
}

fn own_number(text: &str) -> Result<(String, i32), String> {
    let parsed = text.split_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    parsed.ok_or_else(|| "write NAME=VALUE".to_owned())
}

/// This is how far it is.
#[derive(Resource)]
struct Task {
    args: PartyArgs,
    until: Instant,
    own: Option<PlayerId>,
    begun: bool,
    entered: bool,
    /// What was to be done with the party is done.
    acted: bool,
    /// The leader asks for a match again then.
    again_at: Option<Instant>,
    played: u32,
    in_room: bool,
    leave_room_at: Option<Instant>,
    done_at: Option<Instant>,
    outcome: Option<Result<(), String>>,
    stop: Arc<AtomicBool>,
}

/// Does it.
pub(crate) fn run(
    args: &PartyArgs,
    common: &Common,
    config: TraversalConfig,
    stop: Arc<AtomicBool>,
) -> ExitCode {
    let output = Output::new(common.json);
    output.event("start", json!({"version": env!("CARGO_PKG_VERSION")}));
    let task = Task {
        args: args.clone(),
        until: Instant::now() + common.deadline,
        own: None,
        begun: false,
        entered: false,
        acted: false,
        again_at: None,
        played: 0,
        in_room: false,
        leave_room_at: None,
        done_at: None,
        outcome: None,
        stop,
    };
    let mut app = App::new();
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin, ScheduleRunnerPlugin::run_loop(FRAME)))
        .add_plugins(TraversalPlugin { config })
        .insert_resource(output)
        .insert_resource(task)
        .insert_resource(chat::Lines::of(&args.chat))
        .add_systems(
            Update,
            ((lobby, party, act, queue, rooms).chain(), (chat::say, chat::print).chain(), finish).chain(),
        );
    headless::exit_code(&app.run())
}

fn told(party: &PartyInfo, invite: Option<String>, mates: usize) -> Value {
    let leader = party.leader();
    let members: Vec<Value> = party
        .members
        .iter()
        .map(|member| {
            let player = member.info.id;
            json!({"player": player.to_string(), "name": member.info.name, "leads": leader == Some(player),
                   "away": member.away})
        })
        .collect();
    json!({"code": party.code, "invite": invite, "most": party.most, "queued": party.queued, "members": members,
           "mates": mates})
}

fn lobby(
    mut task: ResMut<Task>,
    output: Res<Output>,
    (mut changed, mut failed): (MessageReader<LobbyChanged>, MessageReader<LobbyFailed>),
    mut contacts: ResMut<Contacts>,
    mut numbers: MessageWriter<SetPartyNumbers>,
    (mut create, mut join): (MessageWriter<CreateParty>, MessageWriter<JoinParty>),
) {
    if !std::mem::replace(&mut task.begun, true) {
        task.args.allow.iter().for_each(|player| contacts.allow(*player, ""));
        if !task.args.number.is_empty() {
            numbers.write(SetPartyNumbers(task.args.number.iter().cloned().collect()));
        }
        if let Some(code) = task.args.code.clone().filter(|_| task.args.is_invited()) {
            // It leads to its lobby server by itself.
            task.entered = true;
            join.write(JoinParty { code });
        }
    }
    for LobbyChanged(state) in changed.read() {
        let LobbyState::Online { player, .. } = state else { continue };
        output.event("logged_in", json!({"player": player.to_string()}));
        task.own = Some(*player);
        if !std::mem::replace(&mut task.entered, true) {
            if let Some(most) = task.args.create {
                create.write(CreateParty { most });
            } else if let Some(code) = task.args.code.clone() {
                join.write(JoinParty { code });
            }
        }
    }
    for LobbyFailed { error, retry_in, .. } in failed.read() {
        output.event("lobby_failed", json!({"text": error.to_string()}));
        if retry_in.is_none() {
            task.outcome = Some(Err(error.to_string()));
        }
    }
}

fn party(
    mut task: ResMut<Task>,
    output: Res<Output>,
    (mut changed, mut ended): (MessageReader<PartyChanged>, MessageReader<PartyEnded>),
    (mut invited, mut failed): (MessageReader<PartyInvited>, MessageReader<RequestFailed>),
    (mut join, mut invite): (MessageWriter<JoinParty>, MessageWriter<InviteToParty>),
    (current, link): (Res<CurrentParty>, Res<TraversalLink>),
    mates: Query<&PartyMate>,
) {
    for PartyChanged(party) in changed.read() {
        let text = current.invite(&link).map(|invite| invite.to_string());
        output.event("party", told(party, text, mates.iter().count()));
        for player in std::mem::take(&mut task.args.invite) {
            invite.write(InviteToParty { player });
        }
    }
    for PartyEnded { why } in ended.read() {
        output.event("party_ended", json!({"text": why.to_string()}));
        task.done_at = Some(Instant::now() + Duration::from_secs(1));
    }
    for PartyInvited { code, from, contact } in invited.read() {
        let player = from.id.to_string();
        output.event(
            "party_invited",
            json!({"code": code, "player": player, "name": from.name, "contact": contact}),
        );
        if std::mem::take(&mut task.args.wait_invite) {
            join.write(JoinParty { code: code.clone() });
        }
    }
    for RequestFailed { request, error } in failed.read() {
        let text = error.to_string();
        output.event("request_failed", json!({"request": format!("{request:?}"), "text": text}));
        // Some are in the room of the last match still.
        if matches!(error, RequestFailure::Server(RequestError::PartyIncomplete { .. })) {
            task.again_at = Some(Instant::now() + AGAIN);
        } else {
            task.outcome = Some(Err(text));
        }
    }
}

/// Does what is to be done when the party has all its members.
fn act(
    mut task: ResMut<Task>,
    current: Res<CurrentParty>,
    mut quick: MessageWriter<QuickMatch>,
    (mut kick, mut lead): (MessageWriter<KickFromParty>, MessageWriter<LeadParty>),
    (mut disband, mut leave): (MessageWriter<DisbandParty>, MessageWriter<LeaveParty>),
) {
    let (Some(party), Some(own)) = (&current.0, task.own) else { return };
    if task.again_at.take_if(|at| *at <= Instant::now()).is_some() {
        task.acted = false;
    }
    let there = party.members.iter().filter(|member| !member.away).count();
    if there < task.args.members || task.acted || task.in_room {
        return;
    }
    task.acted = true;
    let last = party.members.last().map(|member| member.info.id).filter(|last| *last != own);
    if let Some(player) = last.filter(|_| current.is_led_by(own)) {
        if task.args.kick_last {
            kick.write(KickFromParty { player });
        } else if task.args.lead_last {
            lead.write(LeadParty { player });
        }
    }
    if task.args.disband {
        disband.write(DisbandParty);
    } else if task.args.leave {
        leave.write(LeaveParty);
    } else if let Some(mode) = task.args.mode.clone() {
        if current.is_led_by(own) {
            let (players, rules) = (task.args.players, task.args.rules.rules());
            quick.write(QuickMatch { rules, ..QuickMatch::of(mode, players) });
        }
    } else {
        task.done_at = Some(Instant::now() + task.args.stay);
    }
}

fn queue(
    task: Res<Task>,
    output: Res<Output>,
    (mut changed, mut found): (MessageReader<QueueChanged>, MessageReader<MatchFound>),
    mut teams: MessageReader<QuickTeams>,
    mut answers: MessageWriter<AnswerMatch>,
) {
    for QueueChanged(status) in changed.read() {
        let told = status.map(|status| {
            json!({"position": status.position, "waiting": status.waiting, "players": status.players,
                   "estimate_s": status.estimate_s})
        });
        output.event("queue", told.unwrap_or_else(|| json!({"position": null})));
    }
    for MatchFound(found) in found.read() {
        output.event("match_found", json!({"players": found.players, "within_s": found.within_s}));
        if task.args.rules.answer != Answer::Nothing {
            let accept = task.args.rules.answer == Answer::Yes;
            answers.write(AnswerMatch { proposal: found.proposal, accept });
        }
    }
    for QuickTeams(teams) in teams.read() {
        let teams: Vec<Vec<String>> =
            teams.iter().map(|team| team.iter().map(ToString::to_string).collect()).collect();
        output.event("teams", json!({"teams": teams}));
    }
}

fn rooms(
    mut task: ResMut<Task>,
    output: Res<Output>,
    (mut joined, mut left): (MessageReader<RoomJoined>, MessageReader<RoomLeft>),
    mut connected: MessageReader<PeerConnected>,
    mut leave: MessageWriter<LeaveRoom>,
) {
    for RoomJoined { room, hosting, .. } in joined.read() {
        let role = if *hosting { "host" } else { "join" };
        output.event(
            "room",
            json!({"name": room.name, "code": room.code, "role": role, "players": room.capacity}),
        );
        task.in_room = true;
    }
    for PeerConnected { peer, path, .. } in connected.read() {
        output.event("connected", json!({"player": peer.id.to_string(), "path": path.kind.name()}));
        if task.in_room && task.leave_room_at.is_none() {
            task.leave_room_at = Some(Instant::now() + task.args.stay);
        }
    }
    if task.leave_room_at.is_some_and(|at| at <= Instant::now()) {
        task.leave_room_at = None;
        leave.write(LeaveRoom);
    }
    for RoomLeft { reason, .. } in left.read() {
        let text = reason.as_ref().map_or_else(|| "left".to_owned(), ToString::to_string);
        output.event("room_left", json!({"text": text}));
        task.leave_room_at = None;
        (task.in_room, task.acted) = (false, false);
        task.played += 1;
        if task.played >= task.args.matches {
            // The others are in the room still, and the room's end is theirs.
            task.acted = true;
            task.done_at = Some(Instant::now() + Duration::from_secs(1));
        }
    }
}

fn finish(mut task: ResMut<Task>, output: Res<Output>, mut exit: MessageWriter<AppExit>) {
    let late = if task.own.is_some() { "nothing came of it in time" } else { "no login in time" };
    let times = (task.done_at, task.until);
    let stopped = task.stop.load(Ordering::Relaxed);
    end(task.outcome.take(), times, (stopped, late), &output, &mut exit);
}
