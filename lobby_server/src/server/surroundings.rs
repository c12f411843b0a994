//! Where the server stands, and where its players come from.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Server;
use crate::matchmaking::{Reach, reach};
use crate::surroundings::{Finding, Surroundings};

/// The log has each kind of finding once in this time.
const LOG_AGAIN: Duration = Duration::from_secs(3600);

impl Server {
    /// Input: what the system says of its addresses now. Sockets that are bound to all addresses are known to players by
    /// the new ones from then on.
    pub fn set_surroundings(&mut self, now: Instant, around: Surroundings) {
        self.cx.now = now;
        for socket in self.cx.sockets.iter_mut().filter(|socket| socket.local.ip().is_unspecified()) {
            socket.interface = around.reachable(socket.local.is_ipv6());
        }
        self.watch.set(now, around);
        self.log_findings();
    }

    /// What is wrong with the server's place in the network now, the worst first.
    pub fn findings(&self, now: Instant) -> Vec<Finding> {
        let bound = self.cx.sockets.iter().map(|socket| socket.local.ip());
        let public =
            self.cx.sockets.iter().any(|socket| socket.public.is_some_and(|ip| reach(ip) == Reach::Public));
        self.watch.findings(now, bound, public)
    }

    /// A player has proven to be where it is seen.
    pub(super) fn note_origin(&mut self, id: u64) {
        let (Some(player), Some(client)) = (self.roster.player_of(id), self.roster.client(id)) else {
            return;
        };
        let (seen, local) = (client.ip(), client.login().local.clone());
        self.watch.logged_in(player, seen, local.iter().map(SocketAddr::ip));
        self.log_findings();
    }

    fn log_findings(&mut self) {
        let now = self.cx.now;
        for finding in self.findings(now) {
            let known = self.logged.get(finding.name());
            if known.is_some_and(|at| now.saturating_duration_since(*at) < LOG_AGAIN) {
                continue;
            }
            self.logged.insert(finding.name(), now);
            if finding.is_serious() {
                tracing::warn!("{finding}");
            } else {
                tracing::info!("{finding}");
            }
        }
    }
}
