//! `peer contacts`, `peer call` and `peer wait-call`: who is on line, and who calls whom.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bevy_app::{App, AppExit, ScheduleRunnerPlugin, TaskPoolPlugin, Update};
use bevy_ecs::prelude::*;
use bevy_time::TimePlugin;
use bevy_traversal::{
    AnswerCall, CallAccepted, CallAnswer, CallEnded, CallPlayer, CallRinging, Calling, ContactText, Contacts,
    CurrentRoom, HangUp, IncomingCall, LobbyChanged, LobbyFailed, LobbyLink, LobbyState, PeerConnected,
    PlayerId, Presence, PresenceChanged, RequestFailed, RoomJoined, RoomLeft, SetStatus, TraversalConfig,
    TraversalPlugin,
};
use clap::{Args, Subcommand, ValueEnum};
use headless::Output;
use headless::args::seconds;
use serde_json::{Value, json};

use crate::FRAME;
use crate::args::Common;
use crate::chat::{self, ChatArgs};
use crate::finish::end;

#[derive(Subcommand, Debug)]
pub(crate) enum People {
    /// Say which contacts are on line, and how this player is shown to them
    ///
    /// Those who are allowed hear of this player if they allow it, too. JSON events: logged_in {player, contact}, presence {player, name,
    /// online, room, playing, away, text}, request_failed {request, text}. Succeeds if it was logged in.
    #[command(after_help = chat::EVENTS)]
    Contacts {
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        common: Common,
    },
    /// Call a player, and come into one room with it
    ///
    /// JSON events: logged_in {player, contact}, calling, ringing, accepted, call_ended {player, text}, room {name, code, role}, connected
    /// {player, path}. Succeeds if the two are connected.
    Call {
        /// Player to call: its id, or the text that its logged_in event has as contact
        #[arg(long, value_name = "ID|TEXT")]
        player: ContactText,
        /// Hang up so long after the call began
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        hang_up: Option<Duration>,
        /// Call again so often while the player cannot be reached
        #[arg(long, value_name = "TIMES", default_value_t = 0)]
        again: u32,
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        common: Common,
    },
    /// Wait until a player calls, and answer
    ///
    /// JSON events: as for contacts and call, with incoming_call {player, name, contact}. Succeeds if the two are connected, or the
    /// call was not taken as --answer says.
    WaitCall {
        /// What to answer
        #[arg(long, value_enum, default_value_t = AnswerArg::Yes)]
        answer: AnswerArg,
        /// Why not, with --answer no
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerArg {
    Yes,
    No,
    Busy,
    /// Let it ring
    Nothing,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Shown {
    /// Player who may know that this one is on line, and may call it: its id, or the text that its logged_in event has as
    /// contact; may be given several times. With --identity they are kept beside it
    #[arg(long, value_name = "ID|TEXT")]
    pub(crate) allow: Vec<ContactText>,
    /// Id of a player who may not any more
    #[arg(long, value_name = "ID")]
    pub(crate) forget: Vec<PlayerId>,
    /// What contacts read of this player
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) status: String,
    /// Contacts see that the player is away
    #[arg(long)]
    pub(crate) away: bool,
    /// Contacts are not told of the room
    #[arg(long)]
    pub(crate) hide_room: bool,
    /// Players who are not allowed may call, too
    #[arg(long)]
    pub(crate) strangers_ring: bool,
    #[command(flatten)]
    pub(crate) chat: ChatArgs,
    /// How long to stay: from the login on; with calls from the connection on
    #[arg(long = "for", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) stay: Duration,
}

impl People {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Contacts { common, .. } | Self::Call { common, .. } | Self::WaitCall { common, .. } => {
                common
            }
        }
    }

    fn shown(&self) -> &Shown {
        match self {
            Self::Contacts { shown, .. } | Self::Call { shown, .. } | Self::WaitCall { shown, .. } => shown,
        }
    }
}

/// This is what is to be done, and how far it is.
#[derive(Resource)]
struct Task {
    what: Goal,
    shown: Shown,
    /// The player goes by this name.
    name: String,
    /// It ends then, if not before.
    until: Instant,
    online: bool,
    begun: bool,
    /// Hang up then.
    hang_up_at: Option<Instant>,
    call: Option<bevy_traversal::CallId>,
    /// This is why it failed, or ends well.
    outcome: Option<Result<(), String>>,
    /// It ends then, well.
    done_at: Option<Instant>,
    stop: Arc<AtomicBool>,
}

enum Goal {
    Contacts,
    Call { player: PlayerId, hang_up: Option<Duration>, again: u32 },
    Wait { answer: AnswerArg, reason: String },
}

/// Does it.
pub(crate) fn run(people: &People, config: TraversalConfig, stop: Arc<AtomicBool>) -> ExitCode {
    let output = Output::new(people.common().json);
    output.event("start", json!({"version": env!("CARGO_PKG_VERSION")}));
    let what = match people {
        People::Contacts { .. } => Goal::Contacts,
        People::Call { player, hang_up, again, .. } => {
            Goal::Call { player: player.player(), hang_up: *hang_up, again: *again }
        }
        People::WaitCall { answer, reason, .. } => Goal::Wait { answer: *answer, reason: reason.clone() },
    };
    let task = Task {
        what,
        shown: people.shown().clone(),
        name: people.common().name.clone(),
        until: Instant::now() + people.common().deadline,
        online: false,
        begun: false,
        hang_up_at: None,
        call: None,
        outcome: None,
        done_at: None,
        stop,
    };
    let mut app = App::new();
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin, ScheduleRunnerPlugin::run_loop(FRAME)))
        .add_plugins(TraversalPlugin { config })
        .insert_resource(output)
        .insert_resource(chat::Lines::of(&people.shown().chat))
        .insert_resource(task)
        .add_systems(Update, (lobby, calls, rooms, chat::say, chat::print, finish).chain());
    headless::exit_code(&app.run())
}

fn presence(player: PlayerId, presence: Option<&Presence>) -> Value {
    json!({
        "player": player.to_string(),
        "online": presence.is_some(),
        "name": presence.map(|presence| &presence.name),
        "room": presence.and_then(|presence| presence.room.as_ref()),
        "playing": presence.map(|presence| presence.playing),
        "away": presence.map(|presence| presence.away),
        "text": presence.map(|presence| &presence.text),
    })
}

fn lobby(
    mut task: ResMut<Task>,
    output: Res<Output>,
    (mut changed, mut failed): (MessageReader<LobbyChanged>, MessageReader<LobbyFailed>),
    link: Res<LobbyLink>,
    mut contacts: ResMut<Contacts>,
    mut status: MessageWriter<SetStatus>,
    mut news: MessageReader<PresenceChanged>,
) {
    if !std::mem::replace(&mut task.begun, true) {
        let Shown { allow, forget, status: text, away, hide_room, strangers_ring, .. } = task.shown.clone();
        allow.into_iter().for_each(|contact| contacts.allow(contact.player(), contact.name()));
        status.write(SetStatus { away, text, hide_room, strangers_ring });
        // What is in the file has come by the time of the login.
        drop(forget);
    }
    for LobbyChanged(state) in changed.read() {
        if let LobbyState::Online { player, public, .. } = state {
            let local: Vec<String> = link.local.iter().map(ToString::to_string).collect();
            let contact = ContactText::new(*player, &task.name).to_string();
            let (player, public) = (player.to_string(), public.to_string());
            let about = json!({"player": player, "contact": contact, "public": public, "local": local});
            output.event("logged_in", about);
            if !std::mem::replace(&mut task.online, true) {
                for player in task.shown.forget.clone() {
                    contacts.forget(player);
                }
                if matches!(task.what, Goal::Contacts) {
                    task.done_at = Some(Instant::now() + task.shown.stay);
                }
            }
        }
    }
    for LobbyFailed { error, retry_in, .. } in failed.read() {
        output.event("lobby_failed", json!({"text": error.to_string()}));
        if retry_in.is_none() {
            task.outcome = Some(Err(error.to_string()));
        }
    }
    for PresenceChanged { player, presence: new } in news.read() {
        output.event("presence", presence(*player, new.as_ref()));
    }
}

fn calls(
    mut task: ResMut<Task>,
    output: Res<Output>,
    (mut calling, mut ringing): (MessageReader<Calling>, MessageReader<CallRinging>),
    (mut incoming, mut accepted): (MessageReader<IncomingCall>, MessageReader<CallAccepted>),
    (mut ended, mut failed): (MessageReader<CallEnded>, MessageReader<RequestFailed>),
    (mut call, mut answers, mut hang_up): (
        MessageWriter<CallPlayer>,
        MessageWriter<AnswerCall>,
        MessageWriter<HangUp>,
    ),
) {
    let task = &mut *task;
    if let Goal::Call { player, .. } = task.what
        && task.online
        && task.call.is_none()
        && task.hang_up_at.is_none()
    {
        // Once: the next one follows an end.
        task.hang_up_at = Some(Instant::now() + Duration::from_secs(3600));
        call.write(CallPlayer { player });
    }
    for Calling { call, player } in calling.read() {
        output.event("calling", json!({"player": player.to_string()}));
        task.call = Some(*call);
        if let Goal::Call { hang_up: Some(after), .. } = task.what {
            task.hang_up_at = Some(Instant::now() + after);
        }
    }
    for CallRinging { player, .. } in ringing.read() {
        output.event("ringing", json!({"player": player.to_string()}));
    }
    for IncomingCall { call, from, contact } in incoming.read() {
        let (player, name) = (from.id.to_string(), &from.name);
        output.event("incoming_call", json!({"player": player, "name": name, "contact": contact}));
        let Goal::Wait { answer, reason } = &task.what else { continue };
        let answer = match answer {
            AnswerArg::Yes => CallAnswer::Yes,
            AnswerArg::No => CallAnswer::No { reason: reason.clone() },
            AnswerArg::Busy => CallAnswer::Busy,
            AnswerArg::Nothing => continue,
        };
        if answer != CallAnswer::Yes {
            // The answer is on its way by then.
            task.done_at = Some(Instant::now() + Duration::from_secs(1));
        }
        answers.write(AnswerCall { call: *call, answer });
    }
    for CallAccepted { player, .. } in accepted.read() {
        output.event("accepted", json!({"player": player.to_string()}));
        task.hang_up_at = None;
    }
    for CallEnded { player, why, .. } in ended.read() {
        output.event("call_ended", json!({"player": player.to_string(), "text": why.to_string()}));
        match &mut task.what {
            Goal::Call { again, .. } if *again > 0 && *why == bevy_traversal::CallEnd::NotReached => {
                *again -= 1;
                (task.call, task.hang_up_at) = (None, None);
            }
            Goal::Call { .. } => task.outcome = Some(Err(why.to_string())),
            Goal::Contacts | Goal::Wait { .. } => {}
        }
    }
    if let (Some(call), Some(at)) = (task.call, task.hang_up_at)
        && at <= Instant::now()
    {
        task.hang_up_at = None;
        hang_up.write(HangUp { call });
    }
    for RequestFailed { request, error } in failed.read() {
        let text = error.to_string();
        output.event("request_failed", json!({"request": format!("{request:?}"), "text": text}));
        if matches!(task.what, Goal::Call { .. }) {
            task.outcome = Some(Err(text));
        }
    }
}

fn rooms(
    mut task: ResMut<Task>,
    output: Res<Output>,
    room: Res<CurrentRoom>,
    mut joined: MessageReader<RoomJoined>,
    mut left: MessageReader<RoomLeft>,
    mut connected: MessageReader<PeerConnected>,
) {
    for RoomJoined { room, hosting, .. } in joined.read() {
        let role = if *hosting { "host" } else { "join" };
        output.event("room", json!({"name": room.name, "code": room.code, "role": role}));
    }
    for RoomLeft { reason, .. } in left.read() {
        let text = reason.as_ref().map_or_else(|| "left".to_owned(), ToString::to_string);
        output.event("room_left", json!({"text": text}));
    }
    for PeerConnected { peer, path, .. } in connected.read() {
        let code = room.info.as_ref().map(|room| room.code.clone());
        let (player, path) = (peer.id.to_string(), path.kind.name());
        output.event("connected", json!({"player": player, "path": path, "code": code}));
        task.done_at = Some(Instant::now() + task.shown.stay);
    }
}

fn finish(mut task: ResMut<Task>, output: Res<Output>, mut exit: MessageWriter<AppExit>) {
    let late = if task.online { "nothing came of it in time" } else { "no login in time" };
    let times = (task.done_at, task.until);
    let stopped = task.stop.load(Ordering::Relaxed);
    end(task.outcome.take(), times, (stopped, late), &output, &mut exit);
}
