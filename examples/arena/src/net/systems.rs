//! Ties the match to Bevy and renet. Added to every player's app, with a window or without, human or not.

use bevy::prelude::*;
use bevy_renet::renet::{DefaultChannel, ServerEvent};
use bevy_renet::{RenetClient, RenetReceive, RenetSend, RenetServer, RenetServerEvent};

use super::glide::Glide;
use super::{ClientGame, HostGame};
use crate::scene::{Happened, Scene};
use crate::session::Session;
use crate::sim::{Input, TICK_HZ};

/// This is the match of a host; it exists while this player hosts a room.
#[derive(Resource, Debug)]
pub struct Hosted(pub HostGame);

/// This is the match of a client; it exists while this player is connected to a host.
#[derive(Resource, Debug)]
pub struct Joined(pub ClientGame);

/// This is what the player who sits here wants now: it is written by the keyboard and mouse, or by a computer player.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub struct Wish(pub Input);

/// The player plays under this name.
#[derive(Resource, Clone, Debug)]
pub struct PlayerName(pub String);

/// The player wishes this number, and so its colour; none: any.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub struct Colour(pub Option<u8>);

/// The player who sits here is ready for a match, or wants another one; or no longer.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(pub bool);

/// These are groups of the systems, for ordering.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetSystems {
    /// Takes the messages that came in.
    Receive,
    /// Plays a step of the match.
    Tick,
    /// [`Scene`] and [`Happened`] are new after this.
    Scene,
    /// Hands the messages out to renet.
    Send,
}

/// This plugin plays the game over renet.
#[derive(Debug)]
pub struct NetPlugin;

impl Plugin for NetPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Wish>()
            .init_resource::<Scene>()
            .init_resource::<Colour>()
            .add_message::<Ready>()
            .add_message::<Happened>()
            .insert_resource(Time::<Fixed>::from_hz(f64::from(TICK_HZ)))
            .configure_sets(PreUpdate, NetSystems::Receive.after(RenetReceive))
            .configure_sets(PostUpdate, NetSystems::Send.before(RenetSend))
            .add_systems(
                PreUpdate,
                (greet.run_if(resource_exists::<RenetClient>), receive_as_client, receive_as_host)
                    .chain()
                    .in_set(NetSystems::Receive),
            )
            .add_systems(FixedUpdate, (tick_host, tick_client).in_set(NetSystems::Tick))
            .add_systems(Update, show.in_set(NetSystems::Scene))
            .add_systems(PostUpdate, (tell_ready, send_as_host).chain().in_set(NetSystems::Send))
            .add_observer(client_left);
    }
}

/// Says hello, once, where there is a fresh connection to a host.
fn greet(
    mut commands: Commands,
    (name, colour): (Res<PlayerName>, Res<Colour>),
    mut client: ResMut<RenetClient>,
    session: Option<Res<Session>>,
    joined: Option<ResMut<Joined>>,
) {
    if session.is_some_and(|session| session.watching) {
        // Who watches says nothing, and the host begins.
        if joined.is_none() {
            commands.insert_resource(Joined(ClientGame::default()));
        }
        return;
    }
    if !client.is_connected() || joined.as_ref().is_some_and(|joined| joined.0.greeted) {
        return;
    }
    client.send_message(DefaultChannel::ReliableOrdered, ClientGame::hello_as(&name.0, colour.0));
    if let Some(mut joined) = joined {
        joined.0.greeted = true;
        return;
    }
    let mut game = ClientGame::default();
    game.greeted = true;
    commands.insert_resource(Joined(game));
}

fn receive_as_client(
    time: Res<Time<Real>>,
    client: Option<ResMut<RenetClient>>,
    joined: Option<ResMut<Joined>>,
) {
    let (Some(mut client), Some(mut joined)) = (client, joined) else { return };
    joined.0.advance(time.delta_secs_f64());
    while let Some(bytes) = client.receive_message(DefaultChannel::ReliableOrdered) {
        joined.0.reliable(&bytes);
    }
    while let Some(bytes) = client.receive_message(DefaultChannel::Unreliable) {
        joined.0.unreliable(&bytes);
    }
}

fn receive_as_host(server: Option<ResMut<RenetServer>>, hosted: Option<ResMut<Hosted>>) {
    let (Some(mut server), Some(mut hosted)) = (server, hosted) else { return };
    for client in server.clients_id() {
        while let Some(bytes) = server.receive_message(client, DefaultChannel::ReliableOrdered) {
            hosted.0.reliable(client, &bytes);
        }
        while let Some(bytes) = server.receive_message(client, DefaultChannel::Unreliable) {
            hosted.0.unreliable(client, &bytes);
        }
    }
}

fn client_left(event: On<RenetServerEvent>, hosted: Option<ResMut<Hosted>>) {
    if let (ServerEvent::ClientDisconnected { client_id, .. }, Some(mut hosted)) = (&event.event().0, hosted)
    {
        hosted.0.disconnected(*client_id);
    }
}

fn tick_host(wish: Res<Wish>, hosted: Option<ResMut<Hosted>>) {
    if let Some(mut hosted) = hosted {
        hosted.0.tick(wish.0);
    }
}

fn tick_client(wish: Res<Wish>, client: Option<ResMut<RenetClient>>, joined: Option<ResMut<Joined>>) {
    let (Some(mut client), Some(mut joined)) = (client, joined) else { return };
    if let Some(bytes) = joined.0.tick(wish.0) {
        client.send_message(DefaultChannel::Unreliable, bytes);
    }
}

pub(crate) fn show(
    time: Res<Time<Fixed>>,
    hosted: Option<ResMut<Hosted>>,
    joined: Option<ResMut<Joined>>,
    (mut scene, mut glide): (ResMut<Scene>, Local<Glide>),
    real: Res<Time<Real>>,
    mut happened: MessageWriter<Happened>,
) {
    let dt = real.delta_secs();
    let fraction = time.overstep_fraction();
    let events = if let Some(mut hosted) = hosted {
        let mut seen = hosted.0.scene(fraction);
        glide.soften(&scene, &mut seen, dt);
        *scene = seen;
        hosted.0.take_events()
    } else if let Some(mut joined) = joined {
        let mut seen = joined.0.scene(fraction);
        if seen.phase.is_some() || scene.phase.is_none() {
            glide.soften(&scene, &mut seen, dt);
            *scene = seen;
        } else {
            // Another host has not told anything yet: what was seen last is shown until then.
            scene.stands = true;
        }
        joined.0.take_events()
    } else {
        return;
    };
    happened.write_batch(events.into_iter().map(Happened));
}

fn tell_ready(
    mut ready: MessageReader<Ready>,
    scene: Res<Scene>,
    hosted: Option<ResMut<Hosted>>,
    client: Option<ResMut<RenetClient>>,
    time: Res<Time<Real>>,
    mut told: Local<Option<(bool, f32)>>,
) {
    let Some(Ready(ready)) = ready.read().last().copied() else { return };
    if let (Some(mut hosted), Some(me)) = (hosted, scene.local) {
        hosted.0.set_ready(me, ready);
        return;
    }
    // The answer comes with the next snapshots: until then the same is not said again.
    let now = time.elapsed_secs();
    if told.is_some_and(|(said, at)| said == ready && now < at + 0.5) {
        return;
    }
    *told = Some((ready, now));
    if let Some(mut client) = client.filter(|client| client.is_connected()) {
        client.send_message(DefaultChannel::ReliableOrdered, ClientGame::ready(ready));
    }
}

fn send_as_host(server: Option<ResMut<RenetServer>>, hosted: Option<ResMut<Hosted>>) {
    let Some(mut hosted) = hosted else { return };
    let outgoing = hosted.0.take_outgoing();
    let Some(mut server) = server else { return };
    for message in outgoing {
        let channel =
            if message.reliable { DefaultChannel::ReliableOrdered } else { DefaultChannel::Unreliable };
        if server.is_connected(message.client) {
            server.send_message(message.client, channel, message.bytes);
        }
    }
}
