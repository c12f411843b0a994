//! Lobby server of `bevy_traversal`: matches players, directs hole punching, answers STUN.
//!
//! [`Server`] is the core, without sockets, clock or threads; simulators turn it themselves. [`LobbyServer`] runs
//! it on real sockets in a thread of its own, for games that bring their server along.
//!
//! Which room holds what: `server` is the core, with a file for each thing that players do (`login`, `creating`,
//! `joining`, `migration`, `probes`, ...). What it decides with is pure and stands beside it: `room`, `queue`,
//! `matchmaking`, `rendezvous`, `host_choice`, `claims`, `relay`, `searches`, `limits`, `census`, `budget`, `surroundings`, `kicked`, `outcomes`, and [`registry`],
//! which other nodes may share by `cluster`. Around the core: `run` turns it, `bind` opens the sockets, which `udp` and `tcp` have, `stun` the
//! STUN format, `watch` looks at what it takes and loses, `http` has the metrics and the dashboard, [`log`] the log; [`config`], [`key`], [`files`], `special_use` and [`check`] serve the operator, who asks a running server by `admin`. `link` is between this server and another one, whose address is its second.

mod addresses;
#[cfg(unix)]
pub mod admin;
pub mod bans;
mod bind;
mod bind_error;
mod budget;
mod census;
pub mod check;
mod claims;
mod cluster;
pub mod config;
pub mod door;
pub mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guesses;
mod histogram;
mod host_choice;
mod http;
mod ids;
pub mod key;
mod kicked;
mod limits;
mod link;
mod listing;
pub mod log;
mod matchmaking;
mod outcomes;
mod party;
mod queue;
pub mod registry;
mod relay;
mod rendezvous;
mod room;
mod run;
mod searches;
mod server;
mod shared;
mod special_use;
mod status;
mod stun;
mod surroundings;
mod tcp;
mod tickets;
#[cfg_attr(
    not(all(feature = "tls", any(target_arch = "x86_64", target_arch = "aarch64"))),
    path = "no_tls.rs"
)]
mod tls;
mod tls_error;
mod tokens;
mod turns;
mod udp;
mod watch;

pub use addresses::Addresses;
pub use bind_error::{BindError, Transport};
pub use budget::{RelayBudget, RelayBudgets, RelayUsage, RelayUsed};
pub use cluster::{RegistryError, RegistryNumbers, Stranger, Unfit};
pub use config::{ConfigError, Reload, ServerConfig, Settings};
pub use histogram::Histogram;
pub use http::HttpError;
pub use key::KeyError;
pub use limits::Rate;
pub use link::NeighbourPlaces;
pub use outcomes::{Outcomes, PairOutcome, PairResult};
#[doc(hidden)]
pub use queue::measured;
pub use registry::MemoryRegistry;
pub use relay::RelayMode;
pub use run::{BoundServer, LobbyServer, RunningServer, StartError};
pub use server::{
    BanError, BanRow, Banned, Counters, GameNumbers, Gauges, LinkTransmit, NeighbourState, NotOne, PlayerRow,
    Refusal, Refusals, ReportRow, RoomRow, Server, ServerSocket, ServerSocketId, ServerTransmit, Timings,
};
pub use status::{Handle, Limit, Status};
pub use surroundings::{Finding, NeighbourTrouble, Surroundings};
pub use tcp::TlsNumbers;
pub use tickets::{Tickets, TokenKeyError};
pub use tls::{TlsError, check_tls};
pub use tokens::{Admission, TokenCheck, TokenId, TokenLogin, TokenQuestion, TokenStep};
pub use traversal_core::Identity;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

#[cfg(doctest)]
#[doc = include_str!("../../docs/accounts.md")]
struct AccountsDoctests;
