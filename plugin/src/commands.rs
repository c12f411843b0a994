//! Requests as commands: the same as writing the request messages, in one call.

use bevy_ecs::message::Message;
use bevy_ecs::system::Commands;
use bevy_ecs::world::World;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::{Rejoin, RoomOptions};

use crate::messages::requests::{
    AnswerMatch, CancelQuickMatch, ConnectLobby, DisconnectLobby, HostRoom, JoinRoom, KickPeer, LeaveRoom,
    QuickMatch, TakeSeat,
};
use crate::messages::room::{HandOver, SetProperties, SetReady};

/// These methods of [`Commands`] make requests to the lobby server and the room. Each writes the request message of
/// the same name when the commands are applied; what comes of it is told as with the message.
///
/// ```no_run
/// use bevy_ecs::prelude::*;
/// use bevy_traversal::prelude::*;
///
/// fn play(mut commands: Commands) {
///     commands.host_room("den");
/// }
/// ```
pub trait TraversalCommands {
    /// Opens a room of this name with the default options, and hosts it ([`HostRoom`]).
    fn host_room(&mut self, name: impl Into<String>) {
        self.host_room_with(RoomOptions { name: name.into(), ..RoomOptions::default() });
    }

    /// Opens a room with these options, and hosts it ([`HostRoom`]).
    fn host_room_with(&mut self, options: RoomOptions) {
        self.request(HostRoom(options));
    }

    /// Enters the room of this name ([`JoinRoom`]).
    fn join_room(&mut self, name: impl Into<String>) {
        self.request(JoinRoom::name(name));
    }

    /// Enters the room of this short code ([`JoinRoom`]).
    fn join_code(&mut self, code: impl Into<String>) {
        self.request(JoinRoom::code(code));
    }

    /// Waits for players who want the same mode, until there are so many with this one ([`QuickMatch`]).
    fn quick_match(&mut self, mode: impl Into<String>, players: u16) {
        self.request(QuickMatch::of(mode, players));
    }

    /// Says whether this player plays the match that was found ([`AnswerMatch`]).
    fn answer_match(&mut self, proposal: u64, accept: bool) {
        self.request(AnswerMatch { proposal, accept });
    }

    /// Stops waiting for a quick match ([`CancelQuickMatch`]).
    fn cancel_quick_match(&mut self) {
        self.request(CancelQuickMatch);
    }

    /// Leaves the room ([`LeaveRoom`]).
    fn leave_room(&mut self) {
        self.request(LeaveRoom);
    }

    /// Watches the room of this name ([`JoinRoom::spectate`]).
    fn spectate(&mut self, name: impl Into<String>) {
        self.request(JoinRoom { spectate: true, ..JoinRoom::name(name) });
    }

    /// Takes the seat that was kept for this player ([`TakeSeat`]).
    fn take_seat(&mut self) {
        self.request(TakeSeat);
    }

    /// Kicks a member for as long as the room exists; only the host may ([`KickPeer`] with [`Rejoin::Never`]).
    fn kick_player(&mut self, player: PlayerId, reason: impl Into<String>) {
        self.request(KickPeer { player, reason: reason.into(), rejoin: Rejoin::Never });
    }

    /// Says that this player is ready, or is not any more ([`SetReady`]).
    fn set_ready(&mut self, ready: bool) {
        self.request(SetReady(ready));
    }

    /// Gives this player a property that all in the room see ([`SetProperties`]).
    fn set_property(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.request(SetProperties::put(key, value));
    }

    /// Makes a member host, and stays as a member ([`HandOver`]).
    fn hand_over(&mut self, player: PlayerId) {
        self.request(HandOver { player });
    }

    /// Logs in to this lobby server, `host:port` or `host`, instead of the present one ([`ConnectLobby`]).
    fn connect_lobby(&mut self, server: impl Into<String>) {
        self.request(ConnectLobby::to(server));
    }

    /// Leaves the room, logs out and stays out ([`DisconnectLobby`]).
    fn disconnect_lobby(&mut self) {
        self.request(DisconnectLobby);
    }

    /// Writes a request message.
    fn request(&mut self, request: impl Message);
}

impl TraversalCommands for Commands<'_, '_> {
    fn request(&mut self, request: impl Message) {
        self.queue(move |world: &mut World| {
            world.write_message(request);
        });
    }
}
