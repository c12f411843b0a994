//! How the link is now: what the other parts of the agent ask of it.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Contacted, Online, ServerLink, State};
use crate::env::Families;
use crate::rtt::RttEstimate;
use crate::way::Way;
use crate::wire::message::{Frame, ToPlayer};

impl ServerLink {
    pub(crate) fn online(&mut self) -> Option<&mut Online> {
        match &mut self.state {
            State::Online(online) => Some(online),
            _ => None,
        }
    }

    /// Returns what a datagram of the server's says, without taking it.
    pub(crate) fn read(&self, datagram: &[u8]) -> Option<Frame<ToPlayer>> {
        match &self.state {
            State::Online(online) => online.session.read(datagram),
            _ => None,
        }
    }

    pub(crate) fn is_online(&self) -> bool {
        matches!(self.state, State::Online(_))
    }

    /// Returns whether the server was gone at some time since `at`, or seems to be gone now.
    pub(crate) fn was_interrupted(&self, now: Instant, at: Instant) -> bool {
        match &self.state {
            State::Online(online) => online.was_interrupted(now, at),
            _ => true,
        }
    }

    /// Returns how long an answer of the server takes; nothing is known of it before the login.
    pub(crate) fn timing(&self) -> RttEstimate {
        match &self.state {
            State::Online(online) => online.session.timing(),
            _ => RttEstimate::default(),
        }
    }

    /// Returns until when a login goes on that the server has begun to answer.
    pub(crate) fn answered_until(&self) -> Option<Instant> {
        match &self.state {
            State::Shaking(shaking) if shaking.is_answered() => Some(shaking.deadline),
            _ => None,
        }
    }

    /// Returns which servers the game's socket has sent to.
    pub(crate) fn contacted(&self) -> &Contacted {
        &self.contacted
    }

    /// Returns the way to the server, while logged in.
    pub(crate) fn uplink(&self) -> Option<Way> {
        match &self.state {
            State::Online(online) => Some(online.uplink()),
            _ => None,
        }
    }

    /// Returns the families in which the server sees this player; none while it is not logged in.
    pub(crate) fn families(&self) -> Families {
        match &self.state {
            State::Online(online) => online.families(),
            _ => Families::default(),
        }
    }

    /// Returns where the server sees this player; none while it is not logged in by UDP.
    pub(crate) fn seen_at(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Online(online) if !online.over_stream() => Some(online.public),
            _ => None,
        }
    }

    /// Returns whether the session has moved, between UDP and the stream or to another public address, since this was
    /// asked last.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Returns whether this player is logged in, or on the way there.
    pub(crate) fn is_wanted(&self) -> bool {
        !matches!(self.state, State::Idle)
    }
}
