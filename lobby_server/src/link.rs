//! The link between two lobby servers: each lends the other its address as a second one (RFC 5780's A2).
//!
//! Both have one key file, from which the link's key comes; nobody else can have either of them send anything. What is kept
//! about the other server stands in `server::neighbour`; here are the datagrams, the memory of who has sent to us, and the
//! way from the settings to sockets.

pub(crate) mod datagram;
pub(crate) mod heard;
mod places;
mod socket;

pub use places::NeighbourPlaces;
pub(crate) use places::{Resolver, link_of};
pub(crate) use socket::{Sockets, is_link};
