//! Where the server stands, and where its players come from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;

use super::Server;
use super::context::Context;
use super::roster::Client;
use crate::matchmaking::{Realm, realm};
use crate::surroundings::{Finding, Surroundings, Watch};

/// The log has each kind of finding once in this time.
const LOG_AGAIN: Duration = Duration::from_secs(3600);

/// This owner has the server's place in the network, as the system and the logins of players show it.
#[derive(Default)]
pub(super) struct Place {
    watch: Watch,
    /// These kinds of findings are in the log; it is noted when each was last written.
    logged: BTreeMap<&'static str, Instant>,
}

impl Server {
    /// Takes an input: what the system says of its addresses now. Sockets that are bound to all addresses are known
    /// to players by the new ones from then on.
    pub fn set_surroundings(&mut self, now: Instant, around: Surroundings) {
        self.cx.now = now;
        self.place.set(&mut self.cx, around);
    }

    /// Returns what is wrong with the server's place in the network now, the worst first.
    pub fn findings(&self, now: Instant) -> Vec<Finding> {
        self.place.findings(&self.cx, now)
    }
}

impl Place {
    fn set(&mut self, cx: &mut Context, around: Surroundings) {
        for socket in cx.sockets.iter_mut().filter(|socket| socket.local.ip().is_unspecified()) {
            socket.interface = around.reachable(socket.local.is_ipv6());
        }
        self.watch.set(cx.now, around);
        self.log_findings(cx);
    }

    fn findings(&self, cx: &Context, now: Instant) -> Vec<Finding> {
        let bound = cx.sockets.iter().take(cx.own_sockets).map(|socket| socket.local.ip());
        let public =
            cx.sockets.iter().any(|socket| socket.public.is_some_and(|ip| realm(ip) == Realm::Public));
        let mut findings = self.watch.findings(now, bound, public);
        findings.extend(cx.neighbour_trouble.clone());
        findings
    }

    /// Notes where a player has proven to be, and the addresses that it has itself.
    pub(super) fn note_origin(&mut self, cx: &Context, player: PlayerId, client: &Client) {
        self.watch.logged_in(player, client.ip(), client.login().local().iter().map(SocketAddr::ip));
        self.log_findings(cx);
    }

    /// Writes into the log what is wrong, each kind once in an hour.
    pub(super) fn log_findings(&mut self, cx: &Context) {
        let now = cx.now;
        for finding in self.findings(cx, now) {
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
