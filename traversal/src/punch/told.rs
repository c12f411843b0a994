//! Ports that the other side has made known, for [`prediction`](super::prediction).

use std::net::{IpAddr, SocketAddr};

use crate::ports::{FIRST_PORT, advance};
use crate::wire::message::Ahead;

/// Sockets whose own ports are told at a time. A home router has a few thousand mappings, so one port in ten may be
/// taken already; all three are once in a thousand times.
pub(super) const KEPT_PORTS: usize = 3;

/// This is what the other side has made known of its ports.
#[derive(Clone, Copy, Debug)]
pub(super) enum Theirs<'a> {
    Newest(SocketAddr, Ahead),
    Kept(IpAddr, &'a [u16]),
}

impl Theirs<'_> {
    pub(super) fn ip(&self) -> IpAddr {
        match self {
            Self::Newest(address, _) => address.ip(),
            Self::Kept(ip, _) => *ip,
        }
    }

    /// Returns the port that its packet number `i` of the round leaves by, from 0 on.
    pub(super) fn port(&self, i: usize, step: i32) -> Option<SocketAddr> {
        match self {
            Self::Newest(address, _) => {
                Some(SocketAddr::new(address.ip(), advance(address.port(), i64::from(step) * (1 + i as i64))))
            }
            Self::Kept(ip, ports) => ports
                .get(i)
                .filter(|port| i < KEPT_PORTS && **port >= FIRST_PORT)
                .map(|port| SocketAddr::new(*ip, *port)),
        }
    }

    /// Returns where it wants one packet each.
    pub(super) fn targets(&self, step: i32) -> Vec<SocketAddr> {
        match self {
            Self::Newest(address, ahead) => ahead
                .iter()
                .take_while(|n| **n > 0)
                .map(|n| {
                    SocketAddr::new(address.ip(), advance(address.port(), i64::from(step) * i64::from(*n)))
                })
                .collect(),
            Self::Kept(..) => (0..KEPT_PORTS).map_while(|i| self.port(i, step)).collect(),
        }
    }
}
