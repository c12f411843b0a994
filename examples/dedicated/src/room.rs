//! One room: it is opened, or hosted on after a crash, and its game is played.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_renet::RenetServer;
use bevy_renet::renet::DefaultChannel;
use bevy_traversal::{
    HostRoom, LobbyLink, PeerConnected, PeerDisconnected, PlayerAway, PlayerBack, RequestFailed, RoomJoined,
    RoomLeft, RoomOptions, SeatKept, TakeSeat,
};
use headless::Output;
use serde_json::json;

/// News of a seat comes with the login: without any for so long, the room is opened anew.
const NO_SEAT: Duration = Duration::from_secs(2);
/// The room is asked for again so long after that failed.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// This resource is the room's own business.
#[derive(Resource)]
pub(crate) struct Table {
    options: RoomOptions,
    output: Arc<Output>,
    /// This program may have hosted the room before.
    returns: bool,
    /// The room is asked for then; `None`: it was asked for.
    ask_at: Option<Instant>,
    online: bool,
    hosts_on: bool,
}

/// This resource counts what each player has sent, by renet's id: the game.
#[derive(Resource, Default)]
pub(crate) struct Rounds(BTreeMap<u64, (String, u64)>);

impl Table {
    pub(crate) fn new(options: RoomOptions, output: Arc<Output>, returns: bool) -> Self {
        Self { options, output, returns, ask_at: Some(Instant::now()), online: false, hosts_on: false }
    }

    fn tell(&self, event: &str, peer: &str) {
        self.output.event(event, json!({"room": self.options.name, "peer": peer}));
    }
}

/// Opens the room, or hosts it on, and does so again when it ended.
pub(crate) fn host(
    mut table: ResMut<Table>,
    link: Res<LobbyLink>,
    (mut kept, mut joined): (MessageReader<SeatKept>, MessageReader<RoomJoined>),
    (mut left, mut failed): (MessageReader<RoomLeft>, MessageReader<RequestFailed>),
    (mut open, mut take): (MessageWriter<HostRoom>, MessageWriter<TakeSeat>),
) {
    let now = Instant::now();
    if link.online() && !std::mem::replace(&mut table.online, true) && table.returns {
        table.ask_at = Some(now + NO_SEAT);
    }
    for seat in kept.read() {
        if seat.hosting {
            (table.ask_at, table.hosts_on) = (None, true);
            take.write(TakeSeat);
        }
    }
    for RoomJoined { room, .. } in joined.read() {
        let hosts_on = table.hosts_on;
        table.output.event("room", json!({"name": room.name, "code": room.code, "hosts_on": hosts_on}));
    }
    if left.read().count() > 0 {
        table.ask_at = Some(now);
    }
    for RequestFailed { error, .. } in failed.read() {
        table.output.event("room_failed", json!({"room": table.options.name, "text": error.to_string()}));
        (table.ask_at, table.hosts_on) = (Some(now + ASK_AGAIN), false);
    }
    if link.online() && table.ask_at.is_some_and(|at| at <= now) {
        table.ask_at = None;
        open.write(HostRoom(table.options.clone()));
    }
}

/// Prints who comes, goes, and is away.
pub(crate) fn guests(
    table: Res<Table>,
    mut rounds: ResMut<Rounds>,
    (mut connected, mut gone): (MessageReader<PeerConnected>, MessageReader<PeerDisconnected>),
    (mut away, mut back): (MessageReader<PlayerAway>, MessageReader<PlayerBack>),
) {
    for left in gone.read() {
        table.tell("player_out", &left.peer.name);
        // What a player had in the game would be kept here for as long as its seat.
        if let Some((name, messages)) = rounds.0.remove(&left.client_id) {
            let fields = json!({"room": table.options.name, "peer": name, "messages": messages});
            table.output.event("served", fields);
        }
    }
    for here in connected.read() {
        rounds.0.insert(here.client_id, (here.peer.name.clone(), 0));
        table.tell("player_in", &here.peer.name);
    }
    for PlayerAway { player, .. } in away.read() {
        table.tell("player_away", &player.name);
    }
    for PlayerBack { player, .. } in back.read() {
        table.tell("player_back", &player.name);
    }
}

/// Sends everybody back what it has sent. A spectator sends nothing, and would not be heard.
pub(crate) fn play(mut rounds: ResMut<Rounds>, server: Option<ResMut<RenetServer>>) {
    let Some(mut server) = server else { return };
    for client in server.clients_id() {
        for channel in [DefaultChannel::Unreliable, DefaultChannel::ReliableOrdered].map(u8::from) {
            while let Some(message) = server.receive_message(client, channel) {
                if let Some((_, count)) = rounds.0.get_mut(&client) {
                    *count += 1;
                }
                if server.can_send_message(client, channel, message.len()) {
                    server.send_message(client, channel, message);
                }
            }
        }
    }
}

/// Tells how many messages were served, at the end.
pub(crate) fn leave(table: Res<Table>, rounds: Res<Rounds>) {
    for (name, messages) in rounds.0.values() {
        let fields = json!({"room": table.options.name, "peer": name, "messages": messages});
        table.output.event("served", fields);
    }
}
