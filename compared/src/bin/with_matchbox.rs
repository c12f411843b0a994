//! A player on `bevy_matchbox`, as in its example `hello`: `with_matchbox host|join ROOM [turn]`.

use std::process::ExitCode;

use bevy::app::{AppExit, ScheduleRunnerPlugin};
use bevy::prelude::*;
use bevy_matchbox::matchbox_socket::RtcIceServerConfig;
use bevy_matchbox::prelude::*;
use compared::{FRAME, HELLO, Meeting, SERVER, SIGNALLING, TURN};

#[derive(Resource)]
struct Play(Meeting, bool);

fn main() -> ExitCode {
    let meeting = Meeting::begin();
    let end = App::new()
        .add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(FRAME)))
        .insert_resource(Play(meeting, false))
        .add_systems(Startup, start)
        .add_systems(Update, (greet, end).chain())
        .run();
    if end.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(mut commands: Commands, play: Res<Play>) {
    let mut servers =
        RtcIceServerConfig { urls: vec![format!("stun:{SERVER}:3478")], username: None, credential: None };
    if play.0.rest.iter().any(|word| word == "turn") {
        servers.urls.push(format!("turn:{SERVER}:{TURN}?transport=udp"));
        servers.username = Some("player".into());
        servers.credential = Some("player".into());
    }
    let socket = WebRtcSocketBuilder::new(format!("ws://{SERVER}:{SIGNALLING}/{}", play.0.room))
        .ice_server(servers)
        .add_channel(ChannelConfig::unreliable());
    commands.insert_resource(MatchboxSocket::from(socket));
}

fn greet(mut play: ResMut<Play>, mut socket: ResMut<MatchboxSocket>) {
    if play.0.hosts && !play.1 && socket.id().is_some() {
        play.1 = true;
        play.0.open();
    }
    socket.update_peers();
    let peers: Vec<PeerId> = socket.connected_peers().collect();
    let greets = !peers.is_empty() && play.0.greets();
    for peer in peers {
        play.0.on(socket.is_relayed(peer));
        if greets {
            socket.channel_mut(0).send(HELLO.into(), peer);
        }
    }
    for _ in socket.channel_mut(0).receive() {
        play.0.heard();
    }
}

fn end(play: Res<Play>, mut exit: MessageWriter<AppExit>) {
    if let Some(code) = play.0.over() {
        exit.write(if code == ExitCode::SUCCESS { AppExit::Success } else { AppExit::error() });
    }
}
