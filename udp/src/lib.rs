//! The only place of the project that sends and receives UDP datagrams: the sockets of plugin and lobby server.
//!
//! A [`Socket`] is non-blocking, is watched by a [`mio::Poll`], and moves several datagrams with one system call where
//! the system can. It never lets a fault of the system silence it:
//!
//! - Every call runs inside mio's `try_io`. Windows tells of readiness once, and mio arms the interest again only when a
//!   call inside `try_io` would block; a call outside leaves the socket deaf.
//! - What the system refuses as an option (batching, buffer sizes) is done without.
//! - After a receive error the socket counts as readable still, and is read again at once a few times, then after pauses
//!   that double up to a second ([`Health`]). One that has failed for two seconds should be opened anew
//!   ([`Socket::mend`]): iOS and macOS take sockets away from a suspended app.
//! - A batch that the system refuses is sent one datagram at a time, and no batch is tried again.
//!
//! An [`Alarm`] wakes the poll in time where the system's own timeouts come late (Windows).
//!
//! What is to be told of all that is told once for each [`Episode`]. With the feature `tls` there is TLS for the two ends of a
//! stream, over a connection that does not block.
//!
//! The methods of mio's and quinn-udp's sockets that do I/O are forbidden elsewhere (`clippy.toml`).

mod alarm;
mod buffer;
pub mod descriptors;
mod episode;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
mod health;
mod outgoing;
pub mod private;
mod queues;
mod socket;
#[cfg(feature = "tls")]
mod tls;

pub use alarm::Alarm;
pub use buffer::{Buffer, Datagram};
pub use episode::Episode;
pub use health::Health;
pub use outgoing::{Origin, Outgoing, Sent, is_too_long};
pub use queues::{KernelQueue, kernel_queues};
pub use socket::{Mended, Received, Socket, in_use};
#[cfg(feature = "tls")]
pub use tls::Tls;
