//! The TCP connection to the server, as the link sees it: asked for, open, on its way out.

use std::net::SocketAddr;
use std::time::Instant;

use crate::api::Output;
use crate::env::Env;

/// This is the connection, of which there is at most one.
#[derive(Debug, Default)]
pub(super) struct Stream {
    to: Option<SocketAddr>,
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

    pub(super) fn connect(&mut self, env: &mut Env<'_>, to: SocketAddr) {
        *self = Self { to: Some(to), open: false, close_at: None };
        env.outputs.push_back(Output::OpenStream { to });
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
