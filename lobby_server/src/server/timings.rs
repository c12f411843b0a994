//! How long things take, as the server sees them.

use crate::histogram::Histogram;

/// These are times since the start, by how long they were.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Timings {
    /// This is the time from a login's second datagram to the first sealed one of its session.
    pub login: Histogram,
    /// This is the time from the request to enter a room to its answer, of those who got in. A host that is asked first is
    /// a part of it.
    pub join: Histogram,
    /// This is the time from a match's begin to the first word of one of the two that they are connected directly.
    pub connect_direct: Histogram,
    /// This is the same where they play over the relay.
    pub connect_relayed: Histogram,
    /// These are the round trips between players and the server, as it estimates them (RFC 6298), one at each
    /// acknowledgement.
    pub rtt: Histogram,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            login: Histogram::of_round_trips(),
            join: Histogram::of_round_trips(),
            connect_direct: Histogram::of_connecting(),
            connect_relayed: Histogram::of_connecting(),
            rtt: Histogram::of_round_trips(),
        }
    }
}
