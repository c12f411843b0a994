//! Every byte that leaves a socket.

pub mod handshake;
pub mod message;

/// Longest control datagram, headers included, in bytes.
pub const MAX_CONTROL: usize = 1200;
