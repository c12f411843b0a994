//! A player on `bevy_traversal`, over renet: `with_traversal host|join ROOM LOBBY KEY`.

use std::process::ExitCode;

use bevy::app::{AppExit, ScheduleRunnerPlugin};
use bevy::prelude::*;
use bevy_renet::renet::DefaultChannel::Unreliable;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::prelude::*;
use bevy_traversal::{PathKind, ServerKey};
use compared::{FRAME, HELLO, Meeting};

#[derive(Resource)]
struct Play(Meeting);

fn main() -> ExitCode {
    let meeting = Meeting::begin();
    let [lobby, key] = [0, 1].map(|place| meeting.rest.get(place).cloned().unwrap_or_default());
    let mut plugin = TraversalPlugin::new("compared", lobby);
    plugin.config.server_keys.extend(key.parse::<ServerKey>());
    let end = App::new()
        .add_plugins((MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(FRAME)), plugin))
        .insert_resource(Play(meeting))
        .add_systems(Startup, enter)
        .add_systems(Update, (open, greet_all.run_if(server_ready), greet.run_if(client_ready), end).chain())
        .run();
    if end.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn enter(mut commands: Commands, play: Res<Play>) {
    if play.0.hosts {
        commands.host_room(&play.0.room);
    } else {
        commands.join_room(&play.0.room);
    }
}

fn open(play: Res<Play>, mut joined: MessageReader<RoomJoined>) {
    if joined.read().count() > 0 && play.0.hosts {
        play.0.open();
    }
}

fn greet_all(mut play: ResMut<Play>, mut server: ResMut<RenetServer>) {
    if play.0.greets() {
        server.broadcast_message(Unreliable, HELLO);
    }
    for client in server.clients_id() {
        while server.receive_message(client, Unreliable).is_some() {
            play.0.heard();
        }
    }
}

fn greet(mut play: ResMut<Play>, mut client: ResMut<RenetClient>) {
    if play.0.greets() {
        client.send_message(Unreliable, HELLO);
    }
    while client.receive_message(Unreliable).is_some() {
        play.0.heard();
    }
}

fn end(mut play: ResMut<Play>, peers: Res<Peers>, mut exit: MessageWriter<AppExit>) {
    play.0.on(peers.iter().next().map(|peer| peer.path.kind == PathKind::Relay));
    if let Some(code) = play.0.over() {
        exit.write(if code == ExitCode::SUCCESS { AppExit::Success } else { AppExit::error() });
    }
}
