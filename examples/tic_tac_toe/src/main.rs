//! Tic-tac-toe in the terminal. The host's world is replicated to everybody by bevy_replicon over renet; when the host leaves,
//! another player hosts what it has, and the game goes on. Two play, further players look on.

#![allow(clippy::too_many_arguments, reason = "systems take what they use")]

mod args;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bevy_app::{App, AppExit, ScheduleRunnerPlugin, Startup, TaskPoolPlugin, Update};
use bevy_ecs::prelude::*;
use bevy_replicon::prelude::*;
use bevy_replicon::shared::backend::connected_client::NetworkId;
use bevy_replicon_renet::{RenetChannelsExt, RepliconRenetPlugins};
use bevy_state::app::StatesPlugin;
use bevy_state::prelude::*;
use bevy_time::TimePlugin;
use bevy_traversal::prelude::*;
use bevy_traversal::{RenetConfig, RequestFailed};
use clap::Parser;
use headless::Output;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{Args, Entry};

/// These are the cells of each line that wins.
const LINES: [[usize; 3]; 8] =
    [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];
/// A full board is shown for so long, and the host waits so long for the others to see the end.
const PAUSE: Duration = Duration::from_millis(300);
const LINGER: Duration = Duration::from_secs(3);
/// A move that did not come out is asked for again: the host may have left with it.
const REPEAT: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    X,
    O,
}

/// This is replicated: a mark on the board, in a cell from 0 to 8.
#[derive(Component, Serialize, Deserialize, Clone, Copy)]
struct Mark(u8, Symbol);

/// This is replicated: who plays a symbol, by renet's client id. It comes of the player's key, so it outlives a host.
#[derive(Component, Serialize, Deserialize, Clone, Copy)]
struct Seat(u64, Symbol);

/// This is replicated: rounds played, and those that X and O have won.
#[derive(Component, Serialize, Deserialize, Clone, Copy, Default)]
struct Score(u32, u32, u32);

/// A player sends this to the host, to ask for this cell.
#[derive(Event, Serialize, Deserialize, Clone, Copy)]
struct Pick(u8);

/// This resource keeps what only this program knows.
#[derive(Resource)]
struct Local {
    output: Output,
    start: Instant,
    stop: Arc<AtomicBool>,
    input: Mutex<Receiver<u8>>,
    /// This is the move that was asked for last: of which round, after how many marks, and when.
    asked: Option<(u32, usize, Instant)>,
    shown: String,
    over_since: Option<Instant>,
    rounds: u32,
    done_since: Option<Instant>,
    has_left: bool,
    migrations: u32,
    trouble: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let stop = match headless::start("tic_tac_toe", "warn,bevy_traversal=info") {
        Ok(stop) => stop,
        Err(code) => return code,
    };
    let config = TraversalConfig {
        server_keys: args.server_key.clone(),
        name: args.name.clone(),
        ..TraversalPlugin::new("tic_tac_toe", args.lobby.clone()).config
    };
    let local = Local {
        output: Output::new(args.json),
        start: Instant::now(),
        stop,
        input: Mutex::new(input()),
        asked: None,
        shown: String::new(),
        over_since: None,
        rounds: 0,
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
    .add_plugins((RepliconPlugins, RepliconRenetPlugins, TraversalPlugin { config }))
    .insert_resource(args)
    .insert_resource(local)
    // Who hosts next shows the others what it has got from the last host.
    .register_required_components::<Remote, Replicated>();
    app.replicate::<Mark>()
        .replicate::<Seat>()
        .replicate::<Score>()
        .add_client_event::<Pick>(Channel::Ordered)
        .add_observer(sit_down)
        .add_observer(apply)
        .add_systems(Startup, (set_channels, enter))
        .add_systems(OnEnter(ServerState::Running), begin)
        .add_systems(OnExit(ServerState::Running), forget::<Replicated>)
        // Not when the last connection ends: then this player may host next.
        .add_systems(OnEnter(ClientState::Connecting), forget::<Remote>)
        .add_systems(
            Update,
            (
                watch,
                play.run_if(in_state(ClientState::Connected).or_else(in_state(ServerState::Running))),
                count.run_if(server_ready),
                show,
                finish,
            )
                .chain(),
        );
    headless::exit_code(&app.run())
}

/// replicon's channels are renet's. They are known when all is registered, and the same on all players.
fn set_channels(mut config: ResMut<RenetConfig>, channels: Res<RepliconChannels>) {
    config.0.server_channels_config = channels.server_configs();
    config.0.client_channels_config = channels.client_configs();
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

fn own_id(link: &LobbyLink) -> Option<u64> {
    link.player().map(|player| player.client_id())
}

/// Gives the host its own seat and the score, where the last host has left none.
fn begin(
    mut commands: Commands,
    seats: Query<(Entity, &Seat)>,
    scores: Query<&Score>,
    (link, peers): (Res<LobbyLink>, Res<Peers>),
) {
    if scores.is_empty() {
        commands.spawn((Replicated, Score::default()));
    }
    if let Some(own) = own_id(&link) {
        take_seat(&mut commands, &seats, &peers, own, own);
    }
}

/// Gives a seat to a client that is here to play.
fn sit_down(
    added: On<Add, AuthorizedClient>,
    mut commands: Commands,
    clients: Query<&NetworkId>,
    seats: Query<(Entity, &Seat)>,
    (link, peers): (Res<LobbyLink>, Res<Peers>),
) {
    if let (Ok(client), Some(own)) = (clients.get(added.entity), own_id(&link)) {
        take_seat(&mut commands, &seats, &peers, client.get(), own);
    }
}

/// Takes the player's own seat, a free one, that of one who is not here any more, or none.
fn take_seat(commands: &mut Commands, seats: &Query<(Entity, &Seat)>, peers: &Peers, player: u64, own: u64) {
    if seats.iter().any(|(_, seat)| seat.0 == player) {
        return;
    }
    let here = |player| player == own || peers.by_client_id(player).is_some();
    let free =
        [Symbol::X, Symbol::O].into_iter().find(|symbol| seats.iter().all(|(_, seat)| seat.1 != *symbol));
    if let Some(symbol) = free {
        commands.spawn((Replicated, Seat(player, symbol)));
    } else if let Some((entity, seat)) = seats.iter().find(|(_, seat)| !here(seat.0)) {
        commands.entity(entity).insert(Seat(player, seat.1));
    }
}

fn forget<C: Component>(mut commands: Commands, entities: Query<Entity, With<C>>) {
    entities.iter().for_each(|entity| commands.entity(entity).despawn());
}

fn board(marks: &Query<&Mark>) -> [Option<Symbol>; 9] {
    let mut board = [None; 9];
    for Mark(cell, symbol) in marks {
        if let Some(cell) = board.get_mut(usize::from(*cell)) {
            *cell = Some(*symbol);
        }
    }
    board
}

/// Returns whether the round is over, and who has won it.
fn verdict(board: &[Option<Symbol>; 9]) -> Option<Option<Symbol>> {
    let won = |line: &&[usize; 3]| {
        board[line[0]].is_some() && line.iter().all(|cell| board[*cell] == board[line[0]])
    };
    let winner = LINES.iter().find(won).and_then(|line| board[line[0]]);
    (winner.is_some() || board.iter().all(Option::is_some)).then_some(winner)
}

/// Whose turn it is: X begins the even rounds.
fn turn(round: u32, board: &[Option<Symbol>; 9]) -> Symbol {
    let moves = board.iter().flatten().count() as u32;
    if (round + moves).is_multiple_of(2) { Symbol::X } else { Symbol::O }
}

/// Asks for a cell when it is this player's turn.
fn play(
    mut commands: Commands,
    mut local: ResMut<Local>,
    (args, link): (Res<Args>, Res<LobbyLink>),
    (marks, seats, scores): (Query<&Mark>, Query<&Seat>, Query<&Score>),
) {
    let typed = local.input.get_mut().ok().and_then(|input| input.try_recv().ok());
    let (Some(own), Some(score)) = (own_id(&link), scores.iter().next()) else { return };
    let Some(seat) = seats.iter().find(|seat| seat.0 == own) else { return };
    let board = board(&marks);
    if seats.iter().count() < 2 || verdict(&board).is_some() || turn(score.0, &board) != seat.1 {
        return;
    }
    let now = (score.0, board.iter().flatten().count());
    let asked = local.asked.is_some_and(|(round, moves, at)| (round, moves) == now && at.elapsed() < REPEAT);
    let picked = match args.autoplay {
        // Any free cell will do: another one for each player, round and move.
        true if !asked => {
            let free: Vec<u8> = (0..9).filter(|cell| board[usize::from(*cell)].is_none()).collect();
            Some(free[(own as usize / 7 + now.0 as usize + now.1) % free.len()])
        }
        true => None,
        false => typed,
    };
    if let Some(cell) = picked {
        local.asked = Some((now.0, now.1, Instant::now()));
        commands.client_trigger(Pick(cell));
    }
}

/// Makes a move on the host, if that player may make it.
fn apply(
    pick: On<FromClient<Pick>>,
    mut commands: Commands,
    (marks, seats, scores): (Query<&Mark>, Query<&Seat>, Query<&Score>),
    (clients, link): (Query<&NetworkId>, Res<LobbyLink>),
) {
    let player = match pick.client_id {
        ClientId::Server => own_id(&link),
        ClientId::Client(client) => clients.get(client).ok().map(NetworkId::get),
    };
    let seat = seats.iter().find(|seat| Some(seat.0) == player);
    let (Some(seat), Some(score)) = (seat, scores.iter().next()) else { return };
    let (board, Pick(cell)) = (board(&marks), pick.message);
    let free = board.get(usize::from(cell)).is_some_and(Option::is_none);
    if free && verdict(&board).is_none() && turn(score.0, &board) == seat.1 {
        commands.spawn((Replicated, Mark(cell, seat.1)));
    }
}

/// Counts a round that is over, on the host, and begins the next one.
fn count(
    mut commands: Commands,
    mut local: ResMut<Local>,
    args: Res<Args>,
    (marks, entities): (Query<&Mark>, Query<Entity, With<Mark>>),
    mut scores: Query<&mut Score>,
) {
    let Some(winner) = verdict(&board(&marks)) else { return local.over_since = None };
    let since = *local.over_since.get_or_insert_with(Instant::now);
    if since.elapsed() < PAUSE {
        return;
    }
    for mut score in scores.iter_mut().filter(|score| score.0 < args.rounds) {
        score.0 += 1;
        score.1 += u32::from(winner == Some(Symbol::X));
        score.2 += u32::from(winner == Some(Symbol::O));
    }
    entities.iter().for_each(|mark| commands.entity(mark).despawn());
}

/// Watches what happens to the room. A host that is to leave does so, and comes again.
fn watch(
    mut commands: Commands,
    mut local: ResMut<Local>,
    (args, room): (Res<Args>, Res<CurrentRoom>),
    marks: Query<&Mark>,
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
    let leaves = args.entry == Entry::Host && args.leave_at.is_some_and(|most| marks.iter().count() >= most);
    if room.hosting && leaves && !local.has_left {
        local.has_left = true;
        commands.leave_room();
    }
}

/// Shows the board when it has changed, and how each round ended.
fn show(mut local: ResMut<Local>, (marks, scores): (Query<&Mark>, Query<&Score>)) {
    let Some(score) = scores.iter().next() else { return };
    if score.0 > local.rounds {
        local.rounds = score.0;
        local.output.event("round", json!({"played": score.0, "won_by_x": score.1, "won_by_o": score.2}));
    }
    let text = |cell: Option<Symbol>| cell.map_or("-".to_owned(), |symbol| format!("{symbol:?}"));
    let rows = board(&marks).map(text).chunks(3).map(<[String]>::concat).collect::<Vec<_>>().join(" ");
    if rows != local.shown && rows.contains(['X', 'O']) {
        local.output.event("board", json!({"rows": rows}));
        local.shown = rows;
    }
}

/// Minds the clock and signals, and ends the game: guests go when they have seen it, then the host goes.
fn finish(
    mut local: ResMut<Local>,
    (args, room, peers): (Res<Args>, Res<CurrentRoom>, Res<Peers>),
    mut exit: MessageWriter<AppExit>,
) {
    if local.stop.load(Ordering::Relaxed) {
        local.trouble = Some("stopped".into());
    } else if local.start.elapsed() > args.deadline {
        local.trouble = Some(format!("{} of {} rounds played in time", local.rounds, args.rounds));
    }
    let done = local.rounds >= args.rounds;
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
        json!({"ok": ok, "rounds": local.rounds, "migrations": local.migrations, "trouble": local.trouble}),
    );
    exit.write(if ok { AppExit::Success } else { AppExit::error() });
}

/// Returns the cells that are written in the terminal, counted from 0.
fn input() -> Receiver<u8> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if let Some(cell) = line.trim().parse::<u8>().ok().and_then(|cell| cell.checked_sub(1)) {
                let _ = sender.send(cell);
            }
        }
    });
    receiver
}
