//! A player on `bevy_iroh`, as in its example `host`: `with_bevy_iroh host|join ROOM`.

use std::process::ExitCode;

use bevy::app::{AppExit, ScheduleRunnerPlugin};
use bevy::prelude::*;
use bevy_iroh::prelude::*;
use compared::{FRAME, Meeting, SERVER};
use iroh_relay::{RelayConfig, RelayQuicConfig};
use serde::{Deserialize, Serialize};

#[derive(Resource)]
struct Play(Meeting);

#[derive(Serialize, Deserialize)]
struct Hello;

fn main() -> ExitCode {
    let meeting = Meeting::begin();
    let Ok(url) = format!("https://{SERVER}").parse() else { return ExitCode::FAILURE };
    let relay = RelayConfig::new(url, Some(RelayQuicConfig::default()));
    let end = App::new()
        .add_plugins((
            MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(FRAME)),
            IrohPlugin::default().with_relays(Relays::Only(vec![relay])),
        ))
        .insert_resource(Play(meeting))
        .add_net_message::<Hello>()
        .add_systems(Startup, enter)
        .add_systems(Update, (open, greet, end).chain())
        .run();
    if end.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn enter(mut commands: Commands, play: Res<Play>) -> Result {
    if play.0.hosts {
        commands.spawn(Room::host(play.0.room.clone()));
    } else {
        let ticket: RoomTicket = std::fs::read_to_string(play.0.ticket())?.parse()?;
        commands.spawn(Room::join(ticket));
    }
    Ok(())
}

fn open(play: Res<Play>, tickets: Query<&Ticket, Added<Ticket>>) -> Result {
    for ticket in tickets.iter().filter(|_| play.0.hosts) {
        std::fs::write(play.0.ticket(), ticket.0.to_string())?;
        play.0.open();
    }
    Ok(())
}

fn greet(
    mut play: ResMut<Play>,
    mut received: MessageReader<Received<Hello>>,
    net: NetSender,
    peers: Query<(&Peer, &MemberOf)>,
) {
    if !peers.is_empty() && play.0.greets() {
        net.broadcast_all(&Hello);
    }
    if received.read().count() > 0 {
        play.0.heard();
    }
}

fn end(mut play: ResMut<Play>, stats: Res<NetStats>, mut exit: MessageWriter<AppExit>) {
    let link = stats.0.iter().flat_map(|stats| &stats.links).find(|link| link.rtt.is_some());
    play.0.on(link.map(|link| link.relayed));
    if let Some(code) = play.0.over() {
        exit.write(if code == ExitCode::SUCCESS { AppExit::Success } else { AppExit::error() });
    }
}
