//! The way of this player through rooms as one of Bevy's states.

use bevy_app::App;
use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::message::MessageReader;
use bevy_ecs::system::{Local, Res, ResMut, SystemParam};
use bevy_state::app::{AppExtStates, StatesPlugin};
use bevy_state::state::{NextState, State, States};
use traversal_core::RequestKind;

use crate::messages::outcomes as m;
use crate::state::CurrentRoom;
use crate::systems::News;

/// State: it says where this player is. It follows what the messages say, in the frame in which they are read;
/// setting it changes nothing.
///
/// ```no_run
/// use bevy_app::App;
/// use bevy_state::prelude::*;
/// use bevy_traversal::prelude::*;
///
/// # fn build(app: &mut App) {
/// app.add_systems(OnEnter(RoomState::Hosting), || println!("this player hosts"));
/// # }
/// ```
#[derive(States, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect))]
pub enum RoomState {
    /// The player is in no room, and not on the way into one. This is the state at the start.
    #[default]
    Out,
    /// A room was asked for ([`HostRoom`](crate::HostRoom), [`JoinRoom`](crate::JoinRoom), [`QuickMatch`](crate::QuickMatch)), and
    /// there is no answer yet.
    Entering,
    /// The player is in a room, as its host.
    Hosting,
    /// The player is in a room of another player.
    Joined,
    /// The player is in a room whose host is lost: from [`PeerDisconnected`](crate::PeerDisconnected) about the host
    /// until the next one is connected.
    Migrating,
}

/// Adds the state, and Bevy's plugin for states where the game has not.
pub(crate) fn add(app: &mut App) {
    if !app.is_plugin_added::<StatesPlugin>() {
        app.add_plugins(StatesPlugin);
    }
    app.init_state::<RoomState>();
}

/// This is what is read for it.
#[derive(SystemParam)]
pub(crate) struct Signs<'w, 's> {
    joined: MessageReader<'w, 's, m::RoomJoined>,
    failed: MessageReader<'w, 's, m::RequestFailed>,
    connected: MessageReader<'w, 's, m::PeerConnected>,
    disconnected: MessageReader<'w, 's, m::PeerDisconnected>,
}

/// This is what is remembered between two frames.
#[derive(Default)]
pub(crate) struct Remembered {
    /// A room was asked for.
    entering: bool,
    /// The room's host was connected, and is not any more.
    host_lost: bool,
}

/// Sets the state to what the messages say.
pub(crate) fn follow(
    mut signs: Signs,
    room: Res<CurrentRoom>,
    mut news: ResMut<News>,
    mut now: Local<Remembered>,
    state: Option<Res<State<RoomState>>>,
    next: Option<ResMut<NextState<RoomState>>>,
) {
    let (Some(state), Some(mut next)) = (state, next) else { return };
    let now = &mut *now;
    // Requests are older than what is told in this frame.
    let wants_room = news.bypass_change_detection().wants_room.take();
    now.entering = wants_room.unwrap_or(now.entering);
    for failed in signs.failed.read() {
        now.entering &= !matches!(
            failed.request,
            RequestKind::Host | RequestKind::Join | RequestKind::QuickMatch | RequestKind::TakeSeat
        );
    }
    if signs.joined.read().count() > 0 {
        (now.entering, now.host_lost) = (false, false);
    }
    let host = room.info.as_ref().map(|room| room.host);
    for gone in signs.disconnected.read() {
        now.host_lost |= host.is_none_or(|host| gone.peer.id == host);
    }
    for here in signs.connected.read() {
        now.host_lost &= host != Some(here.peer.id);
    }
    now.host_lost &= host.is_some() && !room.hosting;
    // An answer that came within a frame is told in the next one, so that nobody who waits for `Entering` misses it.
    if wants_room == Some(true) && *state.get() == RoomState::Out {
        next.set(RoomState::Entering);
        news.set_changed();
        return;
    }
    let wanted = match (host, room.hosting) {
        (None, _) if now.entering => RoomState::Entering,
        (None, _) => RoomState::Out,
        (Some(_), true) => RoomState::Hosting,
        (Some(_), false) if now.host_lost => RoomState::Migrating,
        (Some(_), false) => RoomState::Joined,
    };
    if *state.get() != wanted {
        next.set(wanted);
    }
}
