//! NAT traversal for Bevy: gets two players' UDP sockets through their NATs and hands the path to renet.
//!
//! # Add it to your game
//!
//! ```no_run
//! use bevy_app::{App, Startup, Update};
//! use bevy_ecs::prelude::*;
//! use bevy_renet::RenetServer;
//! use bevy_renet::renet::DefaultChannel;
//! use bevy_traversal::prelude::*;
//!
//! fn main() {
//!     App::new()
//!         .add_plugins(bevy_app::TaskPoolPlugin::default()) // or MinimalPlugins, or DefaultPlugins
//!         .add_plugins(bevy_time::TimePlugin)
//!         .add_plugins(TraversalPlugin {
//!             config: TraversalConfig {
//!                 lobby: vec!["lobby.example.com".into()],
//!                 game: "pong".into(),
//!                 ..Default::default()
//!             },
//!         })
//!         .add_systems(Startup, open_room)
//!         .add_systems(Update, greet.run_if(hosting))
//!         .run();
//! }
//!
//! // Waits for the login by itself. The other players write `JoinRoom::name("my room")`.
//! fn open_room(mut host: MessageWriter<HostRoom>) {
//!     host.write(HostRoom(RoomOptions { name: "my room".into(), ..Default::default() }));
//! }
//!
//! // From here on it is ordinary renet: `RenetServer` (host) and `RenetClient` (others) appear by themselves.
//! fn greet(mut connected: MessageReader<PeerConnected>, server: Option<ResMut<RenetServer>>) {
//!     let Some(mut server) = server else { return };
//!     for peer in connected.read() {
//!         println!("{} is here, by the {} path", peer.peer.name, peer.path.kind.name());
//!         server.send_message(peer.client_id, DefaultChannel::ReliableOrdered, "welcome");
//!     }
//! }
//! ```
//!
//! The game writes request messages ([`HostRoom`], [`JoinRoom`], ...) and reads outcome messages ([`RoomJoined`],
//! [`PeerConnected`], [`TraversalFailed`], ...) and resources ([`LobbyLink`], [`CurrentRoom`], [`Members`],
//! [`Peers`], ...). Nothing there happens once per packet. It needs `Time<Real>`, so `TimePlugin` (which is in
//! `MinimalPlugins` and `DefaultPlugins`).
//!
//! One thread per app reads the sockets, punches holes and keeps paths alive, also while a level loads. renet's
//! plugins are added if they are not there.
//!
//! # When the host leaves
//!
//! Another player hosts the room (unless [`RoomOptions::migrate`] is off) and all read [`HostMigrated`]. The new host
//! builds its simulation from what it last heard as a client; connections come by themselves.
//!
//! ```no_run
//! use bevy_ecs::prelude::*;
//! use bevy_traversal::prelude::*;
//!
//! # #[derive(Resource, Clone)]
//! # struct Scores(std::collections::BTreeMap<u64, u32>);
//! # #[derive(Resource)]
//! # struct Simulation(Scores);
//! fn carry_over(mut commands: Commands, mut migrated: MessageReader<HostMigrated>, last: Res<Scores>) {
//!     for change in migrated.read().filter(|change| change.hosting) {
//!         let mut scores = last.clone();
//!         scores.0.remove(&change.previous.client_id());
//!         commands.insert_resource(Simulation(scores));
//!     }
//! }
//! ```

// Where things are. The app's side: `messages` (requests and outcomes), `state` (resources), `conditions`, `systems`
// (once a frame, between app and driver), `link` (the app's end of the driver), `renet`, `datagrams`, `ggrs` and
// `handoff` (what a connection is used for), `visit` (a server that an invite has led to), `lan` (rooms without a lobby server,
// with threads of their own). Between the sides: `protocol` and `queue`. The thread's side: `driver`
// (starts and ends the threads), `run_loop`, `binding`, `sockets`, `stream`, `resolve`, `interfaces`, `port_mapping`,
// `identity`, `known_servers`, `kept_profiles`. Arrows between modules go one way only.
mod binding;
mod chat;
mod commands;
mod conditions;
mod config;
mod datagrams;
mod descriptors;
mod diagnostics;
mod driver;
#[cfg(feature = "embedded_lobby")]
mod embedded;
mod error;
#[cfg(feature = "ggrs")]
mod ggrs;
mod handoff;
mod identity;
mod interfaces;
mod kept_file;
mod kept_profiles;
mod known_servers;
#[cfg(feature = "lan")]
mod lan;
mod link;
mod log;
mod messages;
mod own_networks;
mod party;
mod people;
mod players;
#[cfg(feature = "port_mapping")]
mod port_mapping;
mod progress;
mod protocol;
mod queue;
mod renet;
mod renet_guard;
mod resolve;
mod room_list;
#[cfg(feature = "states")]
mod room_state;
mod run_loop;
mod sockets;
mod state;
mod stream;
mod systems;
mod trouble;
mod visit;

use bevy_app::{App, Last, Plugin, PostUpdate, PreUpdate};
use bevy_ecs::schedule::IntoScheduleConfigs;
#[cfg(feature = "states")]
use bevy_ecs::schedule::SystemCondition;
use bevy_ecs::schedule::common_conditions::{on_message, resource_changed, resource_exists};
use bevy_renet::{RenetClientPlugin, RenetReceive, RenetSend, RenetServerPlugin};
#[cfg(feature = "states")]
use bevy_state::condition::state_changed;

pub use bevy_renet;
pub use chat::{
    ChatReceived, ChatRefused, ChatSent, ChatSwitched, MutePlayer, MutedPlayers, PlayerReported,
    ReportPlayer, SendChat,
};
pub use commands::TraversalCommands;
pub use conditions::{
    client_ready, hosting, in_room, joined, lobby_online, peer_connected, server_ready, spectating,
};
pub use config::{
    IdentitySource, LONGEST_LIFETIME_SEARCH, RenetConfig, ServerKey, ServerKeyError, Transport,
    TraversalConfig,
};
pub use datagrams::{Datagram, DatagramError, DatagramSocket, Datagrams, MAX_DATAGRAM, SOCKET_CHANNELS};
pub use diagnostics::{Jitter, Loss, Rtt, Traffic, TraversalDiagnosticsPlugin};
pub use error::{SocketError, TraversalError};
#[cfg(feature = "ggrs")]
pub use ggrs::GgrsSocket;
#[cfg(feature = "stock_netcode")]
pub use handoff::{NETCODE_PROTOCOL, netcode_client, netcode_server};
pub use handoff::{PendingSocket, PunchedSocket};
pub use interfaces::Interfaces;
pub use kept_file::KeptFile;
#[cfg(feature = "lan")]
pub use lan::{
    Forwarded, FoundRoom, FoundRooms, HostHere, LanRoom, LanRooms, MAX_LAN_ROOMS, RoomOrigin, Served,
    ServedHere, WatchLan,
};
pub use link::TraversalLink;
pub use messages::invites::{InviteMade, InvitesRevoked, JoinInvite, MakeInvite, RevokeInvites};
pub use messages::outcomes::{
    Announcement, BanLifted, BansListed, HostMigrated, JoinRequested, LobbyChanged, LobbyFailed, MatchFound,
    MembersChanged, NatChanged, PathChanged, PeerAway, PeerBack, PeerConnected, PeerDisconnected,
    PeerPlanned, PeerRelayed, PlayerAway, PlayerBack, PortMappingChanged, QueueChanged, QuickTeams,
    RequestFailed, RoomChanged, RoomJoined, RoomLeft, RoomListChanged, RoomsListed, SeatKept, SizeChanged,
    SpectatorsChanged, TraversalFailed, WrongPasswords,
};
pub use messages::requests::{
    AllowPeer, AnswerMatch, CancelQuickMatch, ClosePeer, ConnectLobby, DisconnectLobby, HostRoom, JoinRoom,
    KickPeer, LeaveRoom, LiftBan, ListBans, ListRooms, QuickMatch, RefusePeer, SetRoomMetadata,
    StopWatchingRooms, TakeSeat, WatchRooms,
};
pub use messages::room::{
    AllReadyChanged, Backfill, BackfillChanged, CancelCountdown, CountdownCancelled, CountdownOver,
    CountdownStarted, EndBackfill, HandOver, LockRoom, PlayerPropertiesChanged, RoomPropertyChanged,
    RoomShared, SetProperties, SetReady, SetRoomProperties, SetTeam, SetTeams, StartCountdown,
};
pub use party::{
    CreateParty, CurrentParty, DisbandParty, InviteToParty, JoinParty, KickFromParty, LeadParty, LeaveParty,
    PartyChanged, PartyEnded, PartyInvited, PartyMate, SetPartyNumbers,
};
pub use people::{
    AnswerCall, CallAccepted, CallEnded, CallPlayer, CallRinging, Calling, Contacts, HangUp, IncomingCall,
    PresenceChanged, SetStatus,
};
pub use players::{
    ConnectedBy, IsAway, IsHost, MemberOf, PlayerConnected, PlayerDisconnected, PlayerProperties,
    RemotePlayer, Room, RoomMembers, Spectator,
};
pub use progress::{Progress, ProgressState, Step, StepKind};
pub use resolve::{Resolve, SystemResolver};
pub use room_list::RoomList;
#[cfg(feature = "states")]
pub use room_state::RoomState;
pub use state::{
    CurrentRoom, LobbyLink, Members, NatStatus, Peer, Peers, QuickMatchQueue, RoomSeats, TraversalStats,
};
#[cfg(feature = "tls")]
pub use stream::is_served_by_tls;
pub use systems::TraversalSystems;
pub use traversal_core::config::MOST_PORTS_AHEAD;
pub use traversal_core::failure::{FailureReason, FailureReport, Stage, Tried};
pub use traversal_core::id::{CallId, JoinId, PlayerId, PlayerIdError, RoomId};
pub use traversal_core::invite::{
    ContactText, ContactTextError, DISCORD_SECRET, Invite, InviteError, PartyInvite, STEAM_CONNECT,
};
pub use traversal_core::nat::{
    Confidence, FilteringBehavior, MappingBehavior, NatKind, NatProfile, PortAllocation,
};
pub use traversal_core::wire::message::{
    BackfillStatus, CallAnswer, CallEnd, ChatFault, ChatTo, InviteFault, InviteTerms, LoginRefusal,
    MAX_CONTACTS, MAX_INVITE_MINUTES, MESH_CAPACITY, MatchEnd, Method, NoRelay, NumberRule, PlayerInfo,
    Presence, QueueStatus, QuickRules, Rejoin, RequestError, Role, RoomBan, RoomEnd, RoomInfo, RoomOptions,
    RoomSummary, RoomTarget, Status, TextRule, Topology,
};
pub use traversal_core::wire::message::{
    Changes, CountdownEnd, CountdownRule, ExpectedWay, FilterTest, LISTED_PREFIX, MAX_MEMBER_BYTES,
    MAX_MEMBER_PROPERTIES, MAX_ROOM_BYTES, MAX_ROOM_PROPERTIES, MAX_TEAMS, MemberState, RoomCursor,
    RoomFilter, RoomQuery, RoomSort, TeamWish,
};
pub use traversal_core::wire::message::{MAX_PARTY, PartyEnd, PartyInfo, PartyMember};
pub use traversal_core::{
    AgentConfig, BubbleTargets, Caps, ChatWay, Countdown, DEFAULT_PORT, Detect, DisconnectReason, FactError,
    HostPort, HostPortError, IntoSocketError, KeptProfile, LobbyError, LobbyState, MappingProtocol,
    MemberDiff, NatFacts, NoPortMapping, PathInfo, PathKind, PortMapping, PortMappingState, RelayPolicy,
    RequestFailure, RequestKind, Secret,
};
pub use trouble::Trouble;

/// These rules are about texts that players see of each other: how long they may be, and how they are cleaned.
pub mod text {
    pub use traversal_core::text::{
        Breach, CHAT, CODE, GAME, METADATA, METADATA_KEY, METADATA_VALUE, MODE, NAME, PROPERTY_KEY,
        PROPERTY_VALUE, REASON, REPORT, ROOM_NAME, Rule, STATUS, TextError,
    };
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadmeDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/migration.md")]
struct MigrationDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/away.md")]
struct AwayDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/contacts.md")]
struct ContactsDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/chat.md")]
struct ChatDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/seats.md")]
struct SeatsDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/coming-from.md")]
struct ComingFromDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/tutorial.md")]
struct TutorialDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes.md")]
struct RecipesDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/rooms.md")]
struct RoomsDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/ways-in.md")]
struct WaysInDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/shown.md")]
struct ShownDoctests;

/// This module has what most games use.
pub mod prelude {
    #[cfg(feature = "states")]
    pub use crate::RoomState;
    pub use crate::{
        AnswerMatch, CancelQuickMatch, ConnectLobby, ConnectedBy, CurrentRoom, Datagrams, HostMigrated,
        HostRoom, IsAway, IsHost, JoinRoom, KickPeer, LeaveRoom, LobbyChanged, LobbyFailed, LobbyLink,
        LobbyState, MatchFound, MemberOf, Members, NumberRule, PeerAway, PeerBack, PeerConnected,
        PeerDisconnected, Peers, PlayerAway, PlayerBack, PlayerConnected, PlayerDisconnected, PlayerId,
        PlayerProperties, PlayerPropertiesChanged, QueueChanged, QuickMatch, QuickTeams, Rejoin,
        RemotePlayer, RequestFailed, Room, RoomJoined, RoomLeft, RoomMembers, RoomOptions, RoomSeats,
        RoomShared, RoomTarget, SeatKept, SetProperties, SetReady, Spectator, TakeSeat, Topology,
        TraversalCommands, TraversalConfig, TraversalFailed, TraversalPlugin, TraversalSystems, Trouble,
        client_ready, hosting, in_room, joined, lobby_online, peer_connected, server_ready, spectating,
    };
}

/// Adds everything; see the [crate's documentation](crate).
#[derive(Clone, Debug, Default)]
pub struct TraversalPlugin {
    /// This is what is to be done, and how.
    pub config: TraversalConfig,
}

impl TraversalPlugin {
    /// Makes the plugin for a game of this name, with this lobby server (`host` or `host:port`) and else the default
    /// settings.
    ///
    /// Without a lobby server (`""`) one runs within the game, on this machine alone, if the feature `embedded_lobby` is
    /// on: `TraversalConfig::embedded_lobby` at `127.0.0.1:3478`. Without the feature the plugin then waits for
    /// [`ConnectLobby`].
    pub fn new(game: impl Into<String>, lobby: impl Into<String>) -> Self {
        let lobby = Some(lobby.into()).filter(|lobby| !lobby.is_empty());
        Self {
            config: TraversalConfig {
                #[cfg(feature = "embedded_lobby")]
                embedded_lobby: lobby.is_none().then_some(embedded::HERE),
                lobby: lobby.into_iter().collect(),
                game: game.into(),
                ..TraversalConfig::default()
            },
        }
    }
}

impl Plugin for TraversalPlugin {
    fn build(&self, app: &mut App) {
        let stats = TraversalStats::default();
        let config = self.config.clone();
        #[cfg(feature = "embedded_lobby")]
        let config = embedded::start(app, config);
        app.insert_resource(LobbyLink { servers: config.lobby.clone(), ..LobbyLink::default() })
            .insert_resource(TraversalLink::new(config, stats.clone()))
            .insert_resource(stats)
            .init_resource::<CurrentRoom>()
            .init_resource::<Members>()
            .init_resource::<RoomSeats>()
            .init_resource::<Peers>()
            .init_resource::<NatStatus>()
            .insert_resource(Datagrams::new(&self.config))
            .init_resource::<QuickMatchQueue>()
            .init_resource::<RoomList>()
            .init_resource::<renet::HandOff>()
            .init_resource::<systems::News>()
            .init_resource::<players::Entities>()
            .init_resource::<progress::Stories>()
            .init_resource::<diagnostics::Qualities>()
            .init_resource::<log::LogBound>();
        messages::add(app);
        #[cfg(feature = "lan")]
        lan::add(app);
        #[cfg(feature = "reflect")]
        reflect(app);
        app.configure_sets(PreUpdate, TraversalSystems::Receive.before(RenetReceive))
            .configure_sets(PostUpdate, TraversalSystems::Send.after(RenetSend))
            .add_systems(
                PreUpdate,
                (
                    systems::take_datagrams,
                    systems::receive.run_if(systems::has_news),
                    systems::sort_datagrams,
                    (log::tell, trouble::trigger, (players::follow, progress::follow).chain())
                        .run_if(resource_changed::<systems::News>),
                    party::follow.run_if(resource_changed::<CurrentParty>),
                )
                    .chain()
                    .in_set(TraversalSystems::Receive),
            )
            .add_observer(players::leave_with_the_entity)
            .add_systems(
                PostUpdate,
                (
                    systems::connect.run_if(on_message::<ConnectLobby>),
                    systems::hand_over_requests,
                    systems::invites.run_if(systems::has_invites),
                    (systems::follow_visit, systems::go_home.run_if(systems::wants_home))
                        .chain()
                        .run_if(resource_changed::<systems::News>),
                    systems::hand_over_datagrams,
                )
                    .chain()
                    .run_if(resource_exists::<TraversalLink>)
                    .in_set(TraversalSystems::Send),
            );
        #[cfg(feature = "states")]
        app.add_systems(
            PreUpdate,
            room_state::follow
                .run_if(resource_changed::<systems::News>.or_else(state_changed::<RoomState>))
                .after(systems::receive)
                .in_set(TraversalSystems::Receive),
        );
        if self.config.transport == Transport::Sealed {
            app.insert_resource(RenetConfig(self.config.renet.clone()))
                .add_systems(
                    PreUpdate,
                    renet::receive
                        .in_set(RenetReceive)
                        .after(systems::sort_datagrams)
                        .after(RenetServerPlugin::update_system)
                        .after(RenetClientPlugin::update_system)
                        .before(RenetServerPlugin::emit_server_events_system),
                )
                .add_systems(PostUpdate, renet::send.run_if(renet::is_send_due).in_set(RenetSend))
                .add_systems(Last, renet::clean_up.run_if(renet::is_closing));
        }
    }

    /// Adds plugins of others where the game has not added them itself, before this one or after it.
    fn finish(&self, app: &mut App) {
        if self.config.transport == Transport::Sealed {
            if !app.is_plugin_added::<RenetServerPlugin>() {
                app.add_plugins(RenetServerPlugin);
            }
            if !app.is_plugin_added::<RenetClientPlugin>() {
                app.add_plugins(RenetClientPlugin);
            }
        }
        #[cfg(feature = "states")]
        room_state::add(app);
    }
}

/// Tells Bevy's registry of types of all components and of the state.
#[cfg(feature = "reflect")]
fn reflect(app: &mut App) {
    app.register_type::<Room>()
        .register_type::<RoomMembers>()
        .register_type::<MemberOf>()
        .register_type::<RemotePlayer>()
        .register_type::<IsHost>()
        .register_type::<ConnectedBy>()
        .register_type::<IsAway>()
        .register_type::<PlayerProperties>()
        .register_type::<Spectator>()
        .register_type::<PartyMate>()
        .register_type::<Rtt>()
        .register_type::<Jitter>()
        .register_type::<Loss>()
        .register_type::<Traffic>();
    #[cfg(feature = "states")]
    app.register_type::<RoomState>();
}
