//! The TCP or TLS connection to the server, as the link sees it: asked for, open, on its way out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::api::{Output, StreamBy};
use crate::env::Env;

/// This is the connection, of which there is at most one.
#[derive(Debug, Default)]
pub(super) struct Stream {
    to: Option<SocketAddr>,
    /// This says when it was asked for.
    since: Option<Instant>,
    open: bool,
    /// The stream is out of use, and closed then; what is on its way may arrive until then.
    close_at: Option<Instant>,
}

impl Stream {
    /// Returns where it leads, if it was asked for.
    pub(super) fn to(&self) -> Option<SocketAddr> {
        self.to
    }

    /// Returns whether the connection is open, and in use or to be used.
    pub(super) fn is_open(&self) -> bool {
        self.open && self.close_at.is_none()
    }

    pub(super) fn connect(&mut self, env: &mut Env<'_>, to: SocketAddr, by: StreamBy) {
        *self = Self { to: Some(to), since: Some(env.now), open: false, close_at: None };
        env.outputs.push_back(Output::OpenStream { to, by });
    }

    /// Returns how long ago it was asked for; for one that has just come about, a round trip or more.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.since.map(|since| now.saturating_duration_since(since)).unwrap_or_default()
    }

    pub(super) fn opened(&mut self) {
        self.open = self.to.is_some();
    }

    /// The driver says that it is closed.
    pub(super) fn closed(&mut self) {
        *self = Self::default();
    }

    pub(super) fn close(&mut self, env: &mut Env<'_>) {
        if self.to.is_some() {
            env.outputs.push_back(Output::CloseStream);
        }
        self.closed();
    }

    pub(super) fn close_later(&mut self, at: Instant) {
        self.close_at = self.to.map(|_| at);
    }

    pub(super) fn close_at(&self) -> Option<Instant> {
        self.close_at
    }
}
