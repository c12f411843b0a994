//! Boxes that lightyear replicates from the host to all: each player pushes its own one, by messages, to the end of the way. When the
//! host leaves, the next one makes the boxes anew where it has seen them last.

#![allow(clippy::too_many_arguments, reason = "systems take what they use")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bevy_app::{App, AppExit, ScheduleRunnerPlugin, Startup, TaskPoolPlugin, Update};
use bevy_ecs::prelude::*;
use bevy_state::app::StatesPlugin;
use bevy_time::TimePlugin;
use bevy_traversal::prelude::{
    CurrentRoom, HostMigrated, JoinRoom, LobbyLink, PeerConnected, Peers, RoomLeft, TraversalCommands,
    TraversalConfig, TraversalPlugin,
};
use bevy_traversal::{RequestFailed, ServerKey, Transport};
use clap::{Parser, ValueEnum};
use headless::{Output, args::seconds};
use lightyear::prelude::client::{ClientPlugins, Connected};
use lightyear::prelude::server::{ClientOf, ServerPlugins};
use lightyear::prelude::*;
use lightyear_traversal::{LightyearTraversalPlugin, RoomServer};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The boxes' way ends here.
const END: u32 = 100;
/// This is how long the host waits for the others to see the end.
const LINGER: Duration = Duration::from_secs(3);

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Host,
    Join,
}

/// Players without a window who push boxes, over lightyear. Succeeds when as many boxes as players are wanted are at the end.
#[derive(Parser, Resource, Clone, Debug)]
#[command(name = "lightyear_traversal", version)]
struct Args {
    /// Open the room, or enter it
    #[arg(value_enum)]
    entry: Entry,
    /// Name of the room
    room: String,
    /// Lobby server, HOST:PORT
    #[arg(long, default_value = "127.0.0.1")]
    lobby: String,
    /// Public key that the lobby server must have, as `lobby_server key` prints it
    #[arg(long, value_name = "BASE64")]
    server_key: Vec<ServerKey>,
    /// Players in a game, with this one
    #[arg(long, default_value_t = 2)]
    players: usize,
    /// As the host, leave the room once when the own box is there, and come again as a guest
    #[arg(long, value_name = "PLACE")]
    leave_at: Option<u32>,
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    deadline: Duration,
    /// JSON lines instead of text
    #[arg(long)]
    json: bool,
}

/// Replicated component: this is a player's box, with the player's client id and where it is.
#[derive(Component, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct PlayerBox {
    player: u64,
    at: u32,
}

/// By this message a player asks the host to push the player's box one step on, from here.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
struct Push(u32);

struct Pushes;

/// Resource: it holds what only this program knows.
#[derive(Resource)]
struct Local {
    output: Output,
    start: Instant,
    stop: Arc<AtomicBool>,
    /// This is where the boxes were seen last. It outlives the host.
    seen: BTreeMap<u64, u32>,
    done_since: Option<Instant>,
    has_left: bool,
    migrations: u32,
    trouble: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let stop = match headless::start("boxes", "warn,bevy_traversal=info") {
        Ok(stop) => stop,
        Err(code) => return code,
    };
    let config = TraversalConfig {
        server_keys: args.server_key.clone(),
        transport: Transport::Manual,
        ..TraversalPlugin::new("boxes", args.lobby.clone()).config
    };
    let local = Local {
        output: Output::new(args.json),
        start: Instant::now(),
        stop,
        seen: BTreeMap::new(),
        done_since: None,
        has_left: false,
        migrations: 0,
        trouble: None,
    };
    let turn = Duration::from_millis(10);
    let mut app = App::new();
    app.add_plugins((
        TaskPoolPlugin::default(),
        TimePlugin,
        StatesPlugin,
        ScheduleRunnerPlugin::run_loop(turn),
    ))
    .add_plugins(TraversalPlugin { config })
    .add_plugins((ClientPlugins::default(), ServerPlugins::default(), LightyearTraversalPlugin))
    .insert_resource(args)
    .insert_resource(local);
    app.component::<PlayerBox>().replicate();
    app.add_channel::<Pushes>(ChannelSettings {
        mode: ChannelMode::OrderedReliable(ReliableSettings::default()),
        ..ChannelSettings::default()
    })
    .add_direction(NetworkDirection::ClientToServer);
    app.register_message::<Push>().add_direction(NetworkDirection::ClientToServer);
    app.add_observer(forget)
        .add_systems(Startup, enter)
        .add_systems(Update, (watch, set_up, push, apply, see, finish).chain());
    headless::exit_code(&app.run())
}

fn enter(mut commands: Commands, args: Res<Args>) {
    match args.entry {
        Entry::Host => commands.host_room(&args.room),
        Entry::Join => commands.queue(join(&args.room)),
    }
}

/// Enters the room as a guest, as soon as it is there.
fn join(room: &str) -> impl Command<Out = ()> + use<> {
    let wish = JoinRoom { wait: Duration::from_secs(30), ..JoinRoom::name(room) };
    move |world: &mut World| _ = world.write_message(wish)
}

/// Follows what happens to the room. A host that is to leave does so, and comes again.
fn watch(
    mut commands: Commands,
    mut local: ResMut<Local>,
    (args, room, lobby): (Res<Args>, Res<CurrentRoom>, Res<LobbyLink>),
    (mut left, mut migrated): (MessageReader<RoomLeft>, MessageReader<HostMigrated>),
    (mut connected, mut refused): (MessageReader<PeerConnected>, MessageReader<RequestFailed>),
) {
    for peer in connected.read() {
        local.output.event("met", json!({"name": peer.peer.name, "path": peer.path.kind.name()}));
    }
    for change in migrated.read() {
        local.migrations += 1;
        local.output.event("host_changed", json!({"hosting": change.hosting}));
    }
    for refused in refused.read() {
        local.trouble = Some(refused.error.to_string());
    }
    for left in left.read() {
        if let Some(reason) = &left.reason {
            local.trouble = Some(reason.to_string());
        } else {
            local.output.event("left", json!({}));
            commands.queue(join(&args.room));
        }
    }
    let own = lobby.player().and_then(|own| local.seen.get(&own.client_id()));
    let leaves = args.leave_at.zip(own).is_some_and(|(place, own)| *own >= place);
    if args.entry == Entry::Host && room.hosting && leaves && !local.has_left {
        local.has_left = true;
        commands.leave_room();
    }
}

/// On the host, makes a box for each player who has none, where this player has seen it last.
fn set_up(
    mut commands: Commands,
    local: Res<Local>,
    boxes: Query<(Entity, &PlayerBox)>,
    (lobby, peers): (Res<LobbyLink>, Res<Peers>),
    servers: Query<Entity, With<RoomServer>>,
) {
    if servers.is_empty() {
        return;
    }
    let players = lobby.player().map(|own| own.client_id()).into_iter();
    let players = players.chain(peers.iter().map(|peer| peer.client_id)).chain(local.seen.keys().copied());
    let missing: std::collections::BTreeSet<u64> =
        players.filter(|player| boxes.iter().all(|(_, other)| other.player != *player)).collect();
    for player in missing {
        let at = local.seen.get(&player).copied().unwrap_or_default();
        commands.spawn((PlayerBox { player, at }, Replicate::to_clients(NetworkTarget::All)));
    }
}

/// Removes the boxes of a player who hosts no more: they are the next host's.
fn forget(_: On<Remove, RoomServer>, mut commands: Commands, boxes: Query<Entity, With<PlayerBox>>) {
    boxes.iter().for_each(|own| commands.entity(own).try_despawn());
}

/// Pushes the own box on from where it is, when all boxes are there. Every player does so, the host too.
fn push(
    boxes: Query<&PlayerBox>,
    mut clients: Query<&mut MessageSender<Push>, (With<Client>, With<Connected>)>,
    (args, lobby): (Res<Args>, Res<LobbyLink>),
) {
    let Some(own) = lobby.player().filter(|_| boxes.iter().count() >= args.players) else { return };
    let own = boxes.iter().find(|own_box| own_box.player == own.client_id() && own_box.at < END);
    if let Some(own) = own {
        clients.iter_mut().for_each(|mut sender| sender.send::<Pushes>(Push(own.at)));
    }
}

/// On the host, moves the boxes, each by its own player's pushes.
fn apply(
    mut clients: Query<(&RemoteId, &mut MessageReceiver<Push>), With<ClientOf>>,
    mut boxes: Query<&mut PlayerBox>,
    lobby: Res<LobbyLink>,
) {
    for (RemoteId(from), mut pushes) in &mut clients {
        let player = match from {
            PeerId::Netcode(client_id) => Some(*client_id),
            PeerId::Local(_) => lobby.player().map(|own| own.client_id()),
            _ => None,
        };
        for Push(at) in pushes.receive() {
            let own = boxes.iter_mut().find(|own_box| Some(own_box.player) == player && own_box.at == at);
            if let Some(mut own) = own {
                own.at = (at + 1).min(END);
            }
        }
    }
}

/// Remembers where the boxes are.
fn see(mut local: ResMut<Local>, boxes: Query<&PlayerBox>) {
    for &PlayerBox { player, at } in &boxes {
        if local.seen.insert(player, at).is_none_or(|before| before / 20 != at / 20) {
            local.output.event("box", json!({"player": format!("{player:016x}"), "at": at}));
        }
    }
}

/// Watches the clock, the signals and the end: guests go when they have seen it, then the host goes.
fn finish(
    mut local: ResMut<Local>,
    (args, room, peers): (Res<Args>, Res<CurrentRoom>, Res<Peers>),
    mut exit: MessageWriter<AppExit>,
) {
    let there = local.seen.values().filter(|at| **at == END).count();
    if local.stop.load(Ordering::Relaxed) {
        local.trouble = Some("stopped".into());
    } else if local.start.elapsed() > args.deadline {
        local.trouble = Some(format!("{there} of {} boxes are there in time", args.players));
    }
    let done = there >= args.players;
    let since = *local.done_since.get_or_insert_with(Instant::now);
    if !done {
        local.done_since = None;
    }
    let alone = !room.hosting || peers.is_empty() || since.elapsed() > LINGER;
    if local.trouble.is_none() && !(done && alone) {
        return;
    }
    let ok = local.trouble.is_none();
    local.output.event(
        "summary",
        json!({"ok": ok, "boxes": there, "migrations": local.migrations, "trouble": local.trouble}),
    );
    exit.write(if ok { AppExit::Success } else { AppExit::error() });
}
