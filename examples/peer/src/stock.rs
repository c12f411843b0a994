//! `--transport stock-netcode`: the punched socket goes to renet's own transports.

use std::time::{Duration, Instant};

use bevy_app::App;
use bevy_ecs::prelude::*;
use bevy_renet::netcode::{NetcodeClientPlugin, NetcodeServerPlugin};
use bevy_renet::renet::ConnectionConfig;
use bevy_renet::{RenetClient, RenetClientPlugin, RenetServer, RenetServerPlugin};
use bevy_traversal::{
    Datagrams, LobbyLink, PeerConnected, PendingSocket, PlayerId, PunchedSocket, TraversalLink,
    netcode_client, netcode_server,
};
use headless::Output;
use serde_json::json;

use crate::session::Session;

/// Both sides say that they are connected before they take the socket: one that takes it earlier leaves the other
/// one's agent without an answer. The host says so until it takes the socket; that it ceases is the sign for the
/// player who joined, who takes the way that the host's last word came.
const READY: &[u8] = b"ready";
/// The host keeps saying so for so long: the choice of a path settles, and some of its words arrive.
const SETTLE: Duration = Duration::from_millis(250);
/// The host has ceased, and did not just lose a few datagrams.
const CEASED: Duration = Duration::from_millis(150);
/// All words may be lost; by then the other side is connected all the same.
const PATIENCE: Duration = Duration::from_secs(3);

/// This resource follows the one player and its socket.
#[derive(Resource, Default)]
enum HandOver {
    #[default]
    Nobody,
    Waiting {
        player: PlayerId,
        hosting: bool,
        since: Instant,
        heard: Option<Instant>,
    },
    Asked {
        hosting: bool,
        pending: PendingSocket,
    },
    Done,
}

pub(crate) fn add(app: &mut App) {
    app.add_plugins((RenetServerPlugin, RenetClientPlugin, NetcodeServerPlugin, NetcodeClientPlugin))
        .init_resource::<HandOver>()
        .add_systems(bevy_app::Update, hand_over.before(crate::play::play));
}

fn hand_over(
    mut commands: Commands,
    mut state: ResMut<HandOver>,
    mut session: ResMut<Session>,
    mut datagrams: ResMut<Datagrams>,
    mut link: ResMut<TraversalLink>,
    mut connected: MessageReader<PeerConnected>,
    (lobby, output): (Res<LobbyLink>, Res<Output>),
) {
    for PeerConnected { peer, hosting, .. } in connected.read() {
        *state = HandOver::Waiting { player: peer.id, hosting: *hosting, since: Instant::now(), heard: None };
    }
    match &mut *state {
        HandOver::Waiting { player, hosting, since, heard } => {
            if datagrams.drain().any(|datagram| datagram.payload == READY) {
                *heard = Some(Instant::now());
            }
            // The host's word is the sign, so the other side's must not run into the host's new transport.
            if *hosting || heard.is_none_or(|at| at.elapsed() < CEASED / 4) {
                // Without a connection the session says so by itself.
                let _ = datagrams.send(*player, READY.to_vec());
            }
            let ready = match heard {
                Some(_) if *hosting => since.elapsed() >= SETTLE,
                Some(at) => at.elapsed() >= CEASED,
                None => since.elapsed() >= PATIENCE,
            };
            if ready {
                *state = HandOver::Asked { hosting: *hosting, pending: link.into_socket(*player) };
            }
        }
        HandOver::Asked { hosting, pending } => {
            let Some(result) = pending.poll() else { return };
            let hosting = *hosting;
            *state = HandOver::Done;
            let made = result.map_err(|error| error.to_string()).and_then(|punched| {
                let own = lobby.player().map_or(0, PlayerId::client_id);
                transports(&mut commands, punched, hosting, own)
            });
            if let Err(text) = made {
                output.event(
                    "failed",
                    json!({"peer": null, "stage": "hand-over", "reason": "socket", "text": text}),
                );
                session.fail(text);
            }
        }
        HandOver::Nobody | HandOver::Done => {}
    }
}

fn transports(
    commands: &mut Commands,
    punched: PunchedSocket,
    hosting: bool,
    own: u64,
) -> Result<(), String> {
    if hosting {
        let transport = netcode_server(punched).map_err(|error| error.to_string())?;
        commands.insert_resource(transport);
        commands.insert_resource(RenetServer::new(ConnectionConfig::default()));
    } else {
        let transport = netcode_client(punched, own).map_err(|error| error.to_string())?;
        commands.insert_resource(transport);
        commands.insert_resource(RenetClient::new(ConnectionConfig::default()));
    }
    Ok(())
}
