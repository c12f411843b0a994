//! Rollback over a mesh: a quick match brings the players together, the plugin connects every two of them, and a
//! session of ggrs runs on its datagrams.

#![allow(clippy::too_many_arguments, reason = "systems take what they use")]

mod args;
mod netplay;
mod sim;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bevy_app::{App, AppExit, ScheduleRunnerPlugin, TaskPoolPlugin, Update};
use bevy_ecs::prelude::*;
use bevy_time::TimePlugin;
use bevy_traversal::{
    AgentConfig, Datagrams, LobbyFailed, LobbyLink, Members, PathChanged, PeerConnected, PeerDisconnected,
    Peers, PlayerId, QueueChanged, QuickMatch, RequestFailed, RoomJoined, RoomLeft, Topology,
    TraversalConfig, TraversalFailed, TraversalPlugin,
};
use clap::Parser;
use headless::{Output, ms};
use serde_json::json;

use crate::args::Args;
use crate::netplay::{FPS, Netplay};

/// The app turns more often than the game has frames: what came in waits less.
const TURN: Duration = Duration::from_millis(4);
/// A player who is done says so this often.
const REPEAT: Duration = Duration::from_millis(50);
/// A player who has heard that all are done stays so long for those who have not.
const LINGER: Duration = Duration::from_secs(2);

/// This resource keeps the settings, and how far the game has come.
#[derive(Resource)]
struct Game {
    args: Args,
    output: Output,
    start: Instant,
    stop: Arc<AtomicBool>,
    asked: bool,
    netplay: Option<Netplay>,
    /// This is when the next frame is due.
    next_frame: Option<Instant>,
    /// This is what the others say of the last frame, and whether they have heard it of all.
    done: BTreeMap<PlayerId, (u64, bool)>,
    next_word: Option<Instant>,
    all_done: Option<Instant>,
    trouble: Option<String>,
}

impl Game {
    fn fail(&mut self, text: impl ToString) {
        self.trouble.get_or_insert(text.to_string());
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let stop = match headless::start("rollback", "warn") {
        Ok(stop) => stop,
        Err(code) => return code,
    };
    let config = TraversalConfig {
        lobby: args.lobby.clone(),
        server_keys: args.server_key.clone(),
        game: "rollback".into(),
        name: args.name.clone(),
        // Nobody can go on without the others' inputs, so nobody who is out of contact is waited for.
        agent: AgentConfig {
            relay: args.relay.into(),
            away_timeout: Duration::ZERO,
            ..AgentConfig::default()
        },
        ..TraversalConfig::default()
    };
    let game = Game {
        output: Output::new(args.json),
        args,
        start: Instant::now(),
        stop,
        asked: false,
        netplay: None,
        next_frame: None,
        done: BTreeMap::new(),
        next_word: None,
        all_done: None,
        trouble: None,
    };
    game.output.event("start", json!({"version": env!("CARGO_PKG_VERSION")}));
    let mut app = App::new();
    app.add_plugins((TaskPoolPlugin::default(), TimePlugin, ScheduleRunnerPlugin::run_loop(TURN)))
        .add_plugins(TraversalPlugin { config })
        .insert_resource(game)
        .add_systems(Update, (meet, connect, play, agree, finish).chain());
    headless::exit_code(&app.run())
}

/// Asks for a quick match, and says how it comes along.
fn meet(
    mut game: ResMut<Game>,
    link: Res<LobbyLink>,
    mut quick: MessageWriter<QuickMatch>,
    mut queue: MessageReader<QueueChanged>,
    mut joined: MessageReader<RoomJoined>,
    mut left: MessageReader<RoomLeft>,
    (mut refused, mut lost): (MessageReader<RequestFailed>, MessageReader<LobbyFailed>),
) {
    if link.online() && !game.asked {
        game.asked = true;
        let (mode, players) = (game.args.mode.clone(), game.args.players);
        quick.write(QuickMatch { topology: Topology::Mesh, ..QuickMatch::of(mode, players) });
    }
    for QueueChanged(status) in queue.read() {
        if let Some(status) = status {
            let (waiting, players) = (status.waiting, status.players);
            game.output
                .event("queue", json!({"position": status.position, "waiting": waiting, "players": players}));
        }
    }
    for RoomJoined { room, hosting, .. } in joined.read() {
        let role = if *hosting { "host" } else { "join" };
        game.output.event("room", json!({"name": room.name, "code": room.code, "role": role}));
    }
    for RoomLeft { reason, .. } in left.read() {
        if game.all_done.is_none() {
            let text = reason.as_ref().map_or_else(|| "left the room".to_owned(), ToString::to_string);
            game.fail(text);
        }
    }
    for RequestFailed { error, .. } in refused.read() {
        game.fail(error);
    }
    for LobbyFailed { error, retry_in, .. } in lost.read() {
        game.output.event("lobby_failed", json!({"text": error.to_string()}));
        if retry_in.is_none() {
            game.fail(error);
        }
    }
}

/// Starts the session when every two are connected, as far as this player knows: ggrs waits for the others.
fn connect(
    mut game: ResMut<Game>,
    link: Res<LobbyLink>,
    (members, peers): (Res<Members>, Res<Peers>),
    mut datagrams: ResMut<Datagrams>,
    mut connected: MessageReader<PeerConnected>,
    (mut changed, mut gone): (MessageReader<PathChanged>, MessageReader<PeerDisconnected>),
    mut failed: MessageReader<TraversalFailed>,
) {
    let path = |name: &str, path: &bevy_traversal::PathInfo| {
        json!({"peer": name, "path": path.kind.name(), "method": path.method.map(|method| method.name()),
               "rtt_ms": path.rtt.map(ms), "since_request_ms": ms(path.since_request),
               "packets_sent": path.packets_sent})
    };
    for PeerConnected { peer, path: to, .. } in connected.read() {
        game.output.event("path", path(&peer.name, to));
    }
    for PathChanged { player, path: to } in changed.read() {
        if let Some(peer) = peers.peer(*player) {
            game.output.event("path", path(&peer.info.name, to));
        }
    }
    for PeerDisconnected { peer, reason, .. } in gone.read() {
        // Who has heard it of all may go, and it has if this player has: nobody goes before.
        if game.all_done.is_none() {
            game.fail(format!("{}: {reason}", peer.name));
        } else if let Some((_, heard)) = game.done.get_mut(&peer.id) {
            *heard = true;
        }
    }
    for TraversalFailed { peer, report } in failed.read() {
        game.output.event("failed", json!({"peer": peer.name, "text": report.to_string()}));
        game.fail(format!("{}: {report}", peer.name));
    }
    let all = usize::from(game.args.players);
    let (true, true, Some(own)) = (members.0.len() == all, peers.len() == all - 1, link.player()) else {
        return;
    };
    if game.netplay.is_none() && game.trouble.is_none() {
        let mut players: Vec<PlayerId> = members.0.iter().map(|member| member.id).collect();
        players.sort();
        match Netplay::start(&mut datagrams, own, &players, game.args.frames) {
            Ok(netplay) => game.netplay = Some(netplay),
            Err(trouble) => game.fail(trouble),
        }
    }
}

/// Lets the session talk, and simulates the frames that are due.
fn play(mut game: ResMut<Game>) {
    let game = &mut *game;
    let Some(netplay) = &mut game.netplay else { return };
    let was_running = netplay.running;
    if let Err(trouble) = netplay.poll() {
        return game.fail(trouble);
    }
    let now = Instant::now();
    let mut next = *game.next_frame.get_or_insert(now);
    let frame = Duration::from_secs(1) / FPS as u32;
    // After a stop, not everything at once.
    next = next.max(now.checked_sub(frame * 4).unwrap_or(now));
    while next <= now {
        next += if netplay.is_ahead() { frame * 11 / 10 } else { frame };
        if let Err(trouble) = netplay.advance() {
            return game.fail(trouble);
        }
    }
    game.next_frame = Some(next);
    if game.netplay.as_ref().is_some_and(|netplay| netplay.running && !was_running) {
        game.output.event("running", json!({"players": game.args.players}));
    }
}

/// Tells the others what came out, beside ggrs: a byte whether this player has heard it of all, and the checksum.
fn agree(mut game: ResMut<Game>, mut datagrams: ResMut<Datagrams>, peers: Res<Peers>) {
    for datagram in datagrams.drain() {
        if let Some((heard, checksum)) = datagram.payload.split_first()
            && let Ok(checksum) = checksum.try_into()
        {
            game.done.insert(datagram.player, (u64::from_le_bytes(checksum), *heard == 1));
        }
    }
    let Some(result) = game.netplay.as_ref().and_then(|netplay| netplay.result) else { return };
    if game.done.values().any(|(checksum, _)| *checksum != result) {
        game.fail("the players' worlds differ in the last frame");
    }
    let now = Instant::now();
    let all = game.done.len() + 1 == usize::from(game.args.players);
    if all {
        game.all_done.get_or_insert(now);
    }
    if game.next_word.is_none_or(|at| at <= now) {
        game.next_word = Some(now + REPEAT);
        let word: Vec<u8> = [u8::from(all)].into_iter().chain(result.to_le_bytes()).collect();
        for peer in peers.iter() {
            // It is repeated; whose connection is gone is noticed elsewhere.
            let _ = datagrams.send(peer.info.id, word.clone());
        }
    }
}

/// Minds the clock and signals, and gives the verdict.
fn finish(mut game: ResMut<Game>, mut exit: MessageWriter<AppExit>) {
    let now = Instant::now();
    let agreed = game
        .all_done
        .is_some_and(|since| now >= since + LINGER || game.done.values().all(|(_, heard)| *heard));
    if game.stop.load(Ordering::Relaxed) {
        game.fail("stopped");
    } else if !agreed && now >= game.start + game.args.deadline {
        let text = match &game.netplay {
            None => "the players did not come together in time".to_owned(),
            Some(netplay) => {
                format!("{} of {} frames confirmed in time", netplay.confirmed(), game.args.frames)
            }
        };
        game.fail(text);
    }
    if !agreed && game.trouble.is_none() {
        return;
    }
    let netplay = game.netplay.as_ref();
    let number = |count: fn(&Netplay) -> u64| netplay.map_or(0, count);
    game.output.event(
        "summary",
        json!({
            "ok": game.trouble.is_none(),
            "players": game.args.players,
            "frames": game.args.frames,
            "confirmed": netplay.map_or(0, |netplay| netplay.confirmed()),
            "checksum": netplay.and_then(|netplay| netplay.result).map(|result| format!("{result:016x}")),
            "rollbacks": number(|netplay| netplay.rollbacks),
            "resimulated": number(|netplay| netplay.resimulated),
            "dropped": number(|netplay| netplay.dropped()),
        }),
    );
    match &game.trouble {
        None => exit.write(AppExit::Success),
        Some(trouble) => {
            eprintln!("rollback: {trouble}");
            exit.write(AppExit::error())
        }
    };
}
