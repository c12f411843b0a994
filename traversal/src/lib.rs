//! Sans-IO core of `bevy_traversal`: gets the UDP sockets of two players through their NATs.
//!
//! Nothing in here opens a socket, reads a clock, starts a thread or draws a random number of its own: time,
//! randomness and datagrams come in as arguments. So the simulator runs the very code that ships, and the same seed
//! and inputs are the same run.
//!
//! [`Agent`] is one player. A driver turns it:
//! 1. give it one input: [`Agent::handle_command`], [`Agent::handle_datagram`], [`Agent::handle_socket`],
//!    [`Agent::handle_stream`], [`Agent::send`], or [`Agent::handle_timeout`] when its time has come;
//! 2. drain [`Agent::poll_output`] (datagrams to send, sockets and the stream to open and close) and [`Agent::poll_event`];
//! 3. sleep until [`Agent::poll_timeout`], or the next input.
//!
//! What the agent promises in return: after [`Agent::handle_timeout`] at `now` it has put out something (an output or an
//! event), or [`Agent::poll_timeout`] is later than `now` (or none). So a driver that calls it only when it is due never
//! turns without progress. The simulator fails every run in which a wake-up breaks this promise; [`WakeGuard`] keeps a
//! real driver's thread cool, should it ever be broken.
//!
//! ```
//! use std::time::Instant;
//!
//! use traversal_core::{Agent, AgentConfig, Command, Event, Identity, LobbyState, Output};
//!
//! let now = Instant::now();
//! let identity = Identity::from_secret([7; 32]); // from the system's entropy, in earnest
//! let main = "192.0.2.1:40000".parse().unwrap();
//! let mut agent = Agent::new(AgentConfig::default(), identity, [9; 32], (main, None));
//! agent.handle_command(now, Command::Connect(vec!["198.51.100.1:3478".parse().unwrap()]));
//! assert_eq!(agent.poll_event(), Some(Event::Lobby(LobbyState::Connecting)));
//! let Some(Output::Transmit(hello)) = agent.poll_output() else { panic!("a hello to the lobby server") };
//! assert_eq!(hello.payload.len(), traversal_core::wire::MAX_CONTROL); // padded, so that no answer is longer
//! assert!(agent.poll_timeout().is_some()); // to say it again
//! ```
//!
//! Where to find what: [`wire`] has every byte on the network, [`classify`] tells NATs apart (M1-M9), [`plan`] picks
//! roles and methods (M10-M12), [`ports`] counts ports (M4, M15, M19), [`punch`] has one file a method (M13-M24).
//!
//! Behind [`Agent`], each part in a room of its own: `login` keeps the session with the lobby server, `lobby` the room
//! and its requests, `mesh` its pairs, `detection` runs the classification, `mapping_check` checks a forwarded port. What they share is in `cx`.
//! One match is a `peer`: an `attempt` punches, `path` chooses among the ways that were found, `pulse` watches the
//! chosen one.
//!
//! Out of scope: sockets and names (the driver's), rooms and matching (the lobby server's), what the game says.

pub mod address;
mod agent;
mod api;
mod attempt;
mod chat;
pub mod classify;
pub mod config;
mod cx;
mod detection;
mod env;
pub mod facts;
pub mod failure;
pub mod host_port;
pub mod id;
pub mod invite;
pub mod kept;
pub mod known_routers;
mod lobby;
mod login;
mod mapping_check;
mod mesh;
pub mod method;
pub mod nat;
mod open_tests;
mod path;
mod peer;
mod people;
pub mod plan;
pub mod port_mapping;
pub mod ports;
mod pulse;
pub mod punch;
mod reach;
mod rtt;
mod seat;
mod secret;
mod sockets;
pub mod text;
mod timer;
mod wake;
mod way;
pub mod wire;

pub use address::{is_local, is_sendable};
pub use agent::{
    Agent, ChatWay, Command, Countdown, DisconnectReason, Event, IntoSocketError, KnownServer, LinkQuality,
    LobbyError, LobbyState, MemberDiff, Output, PathInfo, PathKind, ReleasedSocket, RequestFailure,
    RequestKind, RoomsFound, Said, SocketId, StreamBy, StreamState, Transmit,
};
pub use config::{AgentConfig, Caps, Detect, RelayPolicy};
pub use facts::{BubbleTargets, FactError, NatFacts};
pub use host_port::{DEFAULT_PORT, HostPort, HostPortError};
pub use kept::KeptProfile;
pub use known_routers::RouterName;
pub use port_mapping::{MappingProtocol, NoPortMapping, PortMapping, PortMappingState};
pub use seat::Seat;
pub use secret::Secret;
pub use wake::WakeGuard;
pub use wire::handshake::Identity;
pub use wire::stream::TLS_PORT;
