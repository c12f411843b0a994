//! The sealed transport: renet's server and client fed by authenticated paths.

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::component::Mutable;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Commands, Local, Res, ResMut};
use bevy_renet::renet::{self, ConnectionConfig};
use bevy_renet::{RenetClient, RenetServer};
use bevy_time::{Real, Time};
use std::collections::BTreeMap;
use std::time::Duration;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::MatchEnd;
use traversal_core::{Command, DisconnectReason};

use crate::config::RenetConfig;
use crate::datagrams::{Datagrams, GAME};
use crate::link::TraversalLink;
use crate::queue::GameDatagram;
use crate::renet_guard::{Guard, Verdict};

/// This is what renet has to hear of, in the order in which it happened. `hosting`: this player does.
#[derive(Debug)]
pub(crate) enum Change {
    RoomEntered { hosting: bool },
    HostChanged { hosting: bool },
    Connected { player: PlayerId, client_id: u64, hosting: bool, spectator: bool },
    Disconnected { client_id: u64, hosting: bool, reason: DisconnectReason },
    RoomLeft,
}

/// Resource: it stands between the room's events and renet's resources.
#[derive(Resource, Debug, Default)]
pub(crate) struct HandOff {
    pub(crate) changes: Vec<Change>,
    /// On the host, these are the connections to renet's clients, by their ids. These come from authenticated keys,
    /// so nobody gets another's.
    clients: BTreeMap<u64, Connection>,
    /// On a guest, this is the connection to the host.
    server: Option<Connection>,
    /// This is how the last room ended, if not by this player's wish.
    pub(crate) room_end: Option<MatchEnd>,
    /// The resources go at the end of the frame, so that the game hears the last events.
    closing: bool,
}

/// This is the other end of a connection of renet's, and what came from there.
#[derive(Debug)]
struct Connection {
    player: PlayerId,
    guard: Guard,
}

/// This system runs in `PreUpdate`. It makes renet's resources follow the room, and feeds them.
pub(crate) fn receive(
    mut commands: Commands,
    mut hand_off: ResMut<HandOff>,
    mut datagrams: ResMut<Datagrams>,
    link: Option<ResMut<TraversalLink>>,
    server: Option<ResMut<RenetServer>>,
    client: Option<ResMut<RenetClient>>,
    (config, time): (Res<RenetConfig>, Res<Time<Real>>),
) {
    let Some(mut link) = link else { return };
    let now = time.elapsed();
    let hand_off = hand_off.bypass_change_detection();
    let datagrams = datagrams.bypass_change_detection();
    let link = link.bypass_change_detection();
    let (mut server, mut client) = (Slot::new(server), Slot::new(client));
    let mut changes = std::mem::take(&mut hand_off.changes).into_iter();
    while let Some(change) = changes.next() {
        if hand_off.closing && matches!(change, Change::RoomEntered { .. }) {
            // What the former room had goes at the end of this frame, and the new one's comes in the next.
            hand_off.changes = std::iter::once(change).chain(changes).collect();
            break;
        }
        hand_off.follow(change, &config.0, link, &mut server, &mut client);
    }
    if let Some(server) = server.get() {
        hand_off.feed_server(server, &datagrams.received, now, link);
    }
    if let Some(client) = client.get() {
        hand_off.feed_client(client, &datagrams.received, now, link);
    }
    server.finish(&mut commands);
    client.finish(&mut commands);
}

/// One of renet's resources while the changes of a frame are followed.
struct Slot<'a, R: Resource<Mutability = Mutable>> {
    /// This is the one that was there when the frame began.
    old: Option<ResMut<'a, R>>,
    /// Takes its place at the end.
    new: Option<R>,
    /// Nothing takes its place.
    removed: bool,
}

impl<'a, R: Resource<Mutability = Mutable>> Slot<'a, R> {
    fn new(old: Option<ResMut<'a, R>>) -> Self {
        Self { old, new: None, removed: false }
    }

    fn is_empty(&self) -> bool {
        self.old.is_none() && self.new.is_none()
    }

    /// Returns the resource of this frame: the one made a moment ago, or the one that was there.
    fn get(&mut self) -> Option<&mut R> {
        match &mut self.new {
            Some(new) => Some(new),
            None => self.old.as_deref_mut(),
        }
    }

    fn replace(&mut self, new: R) {
        self.new = Some(new);
    }

    fn remove(&mut self) {
        (self.new, self.removed) = (None, true);
    }

    /// One that takes another's place is added, as Bevy sees it, only where the other one was removed.
    fn finish(self, commands: &mut Commands) {
        if self.removed || self.old.is_some() && self.new.is_some() {
            commands.remove_resource::<R>();
        }
        if let Some(new) = self.new {
            commands.insert_resource(new);
        }
    }
}

impl HandOff {
    fn follow(
        &mut self,
        change: Change,
        config: &ConnectionConfig,
        link: &mut TraversalLink,
        server: &mut Slot<RenetServer>,
        client: &mut Slot<RenetClient>,
    ) {
        match change {
            Change::RoomEntered { hosting: true } => {
                // After a restart of the lobby server the room is entered anew, with the players still there.
                if server.is_empty() {
                    server.replace(RenetServer::new(config.clone()));
                }
            }
            Change::RoomEntered { hosting: false } => {}
            Change::HostChanged { hosting } => {
                self.clients.clear();
                self.server = None;
                if hosting {
                    server.replace(RenetServer::new(config.clone()));
                    client.remove();
                    return;
                }
                // This player may have hosted, been away, and been replaced meanwhile.
                server.remove();
                if let Some(client) = client.get() {
                    // The next one comes with the connection to the new host.
                    client.disconnect_due_to_transport();
                }
            }
            Change::Connected { player, client_id, hosting: true, spectator } => {
                let Some(server) = server.get() else { return };
                let other = self.clients.get(&client_id).map(|other| other.player);
                if let Some(other) = other.filter(|other| *other != player) {
                    // Two keys whose hashes share 64 bits: the one who was first stays.
                    bevy_log::debug!("{player} has the client id of {other}");
                    close(link, player, "another player has the same client id");
                    return;
                }
                server.add_connection(client_id);
                let guard = Guard::new(&config.client_channels_config);
                let guard = if spectator { guard.of_spectator() } else { guard };
                self.clients.insert(client_id, Connection { player, guard });
            }
            Change::Connected { player, hosting: false, .. } => {
                let mut fresh = RenetClient::new(config.clone());
                fresh.set_connected();
                client.replace(fresh);
                let guard = Guard::new(&config.server_channels_config);
                self.server = Some(Connection { player, guard });
            }
            Change::Disconnected { client_id, hosting: true, reason } => {
                let known = self.clients.remove(&client_id).is_some();
                if let Some(server) = server.get().filter(|_| known) {
                    remove(server, client_id, &reason, config);
                }
            }
            Change::Disconnected { hosting: false, .. } => {
                self.server = None;
                if let Some(client) = client.get() {
                    client.disconnect_due_to_transport();
                }
            }
            Change::RoomLeft => self.closing = true,
        }
    }

    /// Gives renet's server what its clients sent, as far as the guards let it through, and closes the connections that it
    /// has ended.
    fn feed_server(
        &mut self,
        server: &mut RenetServer,
        received: &[GameDatagram],
        now: Duration,
        link: &mut TraversalLink,
    ) {
        for datagram in received {
            let client_id = datagram.player.client_id();
            let connection = self.clients.get_mut(&client_id);
            let Some(connection) = connection.filter(|known| known.player == datagram.player) else {
                continue;
            };
            // An unknown client was disconnected by the game a moment ago.
            let mut process = |packet: &[u8]| _ = server.process_packet_from(packet, client_id);
            match connection.guard.check(&datagram.payload, now) {
                Verdict::Pass => process(&datagram.payload),
                Verdict::Instead(packet) => process(&packet),
                Verdict::Drop => {}
                Verdict::Refuse => {
                    server.remove_connection(client_id);
                    self.clients.remove(&client_id);
                    close(link, datagram.player, MALFORMED);
                }
            }
        }
        for client_id in server.disconnections_id() {
            let reason = server.disconnect_reason(client_id);
            server.remove_connection(client_id);
            if let Some(connection) = self.clients.remove(&client_id) {
                close(link, connection.player, &reason.map(reason_text).unwrap_or_default());
            }
        }
    }

    /// Gives renet's client what the host sent, as far as the guard lets it through. One that has ended leaves the room.
    fn feed_client(
        &mut self,
        client: &mut RenetClient,
        received: &[GameDatagram],
        now: Duration,
        link: &mut TraversalLink,
    ) {
        let Some(connection) = &mut self.server else { return };
        let host = connection.player;
        for datagram in received.iter().filter(|datagram| datagram.player == host) {
            match connection.guard.check(&datagram.payload, now) {
                Verdict::Pass => client.process_packet(&datagram.payload),
                Verdict::Instead(packet) => client.process_packet(&packet),
                Verdict::Drop => {}
                Verdict::Refuse => {
                    client.disconnect_due_to_transport();
                    break;
                }
            }
        }
        if let Some(reason) = client.disconnect_reason() {
            self.server = None;
            close(link, host, &reason_text(reason));
            // Out of the game is out of the room.
            link.command(Command::LeaveRoom);
        }
    }
}

/// This is told to a player whose packets no renet makes.
const MALFORMED: &str = "sent malformed game data";

/// Ends a connection of the server, so that the game reads the reason that renet has for it.
fn remove(server: &mut RenetServer, client_id: u64, reason: &DisconnectReason, config: &ConnectionConfig) {
    match reason {
        // renet keeps its way of saying so for local clients.
        DisconnectReason::Closed { .. } | DisconnectReason::Match(MatchEnd::Left) => {
            let mut stand_in = renet::RenetClient::new(config.clone());
            server.disconnect_local_client(client_id, &mut stand_in);
        }
        DisconnectReason::Local | DisconnectReason::Match(MatchEnd::Kicked) => {
            server.disconnect(client_id);
            server.remove_connection(client_id);
        }
        _ => server.remove_connection(client_id),
    }
}

fn reason_text(reason: renet::DisconnectReason) -> String {
    use renet::DisconnectReason as R;
    match reason {
        R::DisconnectedByServer => "disconnected by the host".into(),
        R::DisconnectedByClient => "left the game".into(),
        other => other.to_string(),
    }
}

fn close(link: &mut TraversalLink, player: PlayerId, reason: &str) {
    link.command(Command::ClosePeer { player, reason: reason.to_owned() });
}

/// Returns whether renet's packets are to be taken in this frame.
pub(crate) fn is_send_due(
    link: Option<Res<TraversalLink>>,
    time: Res<Time<Real>>,
    mut next: Local<Duration>,
) -> bool {
    let period = link.map_or(Duration::ZERO, |link| link.config.renet_send_period);
    is_due(time.elapsed(), period, &mut next)
}

fn is_due(now: Duration, period: Duration, next: &mut Duration) -> bool {
    let Some(late) = now.checked_sub(*next) else { return false };
    // On the average the period is kept, also where it is no multiple of a frame's length; what a long frame has missed
    // is not made up for.
    *next = if late < period { *next + period } else { now.saturating_add(period) };
    true
}

/// This system runs in `PostUpdate`. It takes renet's packets.
pub(crate) fn send(
    hand_off: Res<HandOff>,
    mut datagrams: ResMut<Datagrams>,
    mut server: Option<ResMut<RenetServer>>,
    mut client: Option<ResMut<RenetClient>>,
) {
    let outgoing = &mut datagrams.bypass_change_detection().outgoing;
    if let Some(server) = &mut server {
        for (&client_id, &Connection { player, .. }) in &hand_off.clients {
            // An unknown client was disconnected by the game in this frame.
            let packets = server.get_packets_to_send(client_id).unwrap_or_default();
            outgoing.extend(packets.into_iter().map(|packet| (player, GAME, packet)));
        }
    }
    if let (Some(client), Some(Connection { player: host, .. })) = (&mut client, &hand_off.server) {
        let host = *host;
        outgoing.extend(client.get_packets_to_send().into_iter().map(|packet| (host, GAME, packet)));
    }
}

/// Run condition: the room was left in this frame.
pub(crate) fn is_closing(hand_off: Res<HandOff>) -> bool {
    hand_off.closing
}

/// This system runs at the end of the frame. It removes renet's resources when the room was left.
pub(crate) fn clean_up(mut commands: Commands, mut hand_off: ResMut<HandOff>) {
    if std::mem::take(&mut hand_off.bypass_change_detection().closing) {
        hand_off.clients.clear();
        hand_off.server = None;
        commands.remove_resource::<RenetServer>();
        commands.remove_resource::<RenetClient>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_is_kept_on_the_average_and_zero_is_every_frame() {
        let frame = Duration::from_millis(16);
        let sent = |period: Duration, frames: &mut dyn Iterator<Item = u32>| {
            let mut next = Duration::ZERO;
            frames.filter(|n| is_due(frame * *n, period, &mut next)).count()
        };
        assert_eq!(sent(Duration::ZERO, &mut (1..=625)), 625);
        // Ten seconds at 30 a second, and at twice the frames' rate.
        assert!((299..=301).contains(&sent(Duration::from_secs(1) / 30, &mut (1..=625))));
        assert_eq!(sent(frame / 2, &mut (1..=625)), 625);
        // Nothing is made up for after a minute without a frame: one frame in ten as before (1, 10, 20, 30, 4000, 4010, 4020).
        assert_eq!(sent(frame * 10, &mut (1..=30).chain(4000..4030)), 7);
    }
}
