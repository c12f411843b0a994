//! Other nodes of the same servers: the player goes there when it is sent, or when its own is gone.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{LinkEvent, ServerLink, State, interleaved};
use crate::api::{Event, LobbyState};
use crate::env::Env;
use crate::wire::message::{Farewell, Frame, MAX_NODE_ADDRESSES};

/// A player follows so many words to go elsewhere within [`HOPS_WITHIN`]: two nodes that each take the other for the right one
/// have it log in no more often than this.
const HOPS: usize = 4;
/// See [`HOPS`].
const HOPS_WITHIN: Duration = Duration::from_secs(10);

/// A node that the player was sent to has to begin to answer within this, which is longer than the longest usual round trip
/// (1.2 s): it may have died a moment ago, and then the player is better off where it came from.
const BEGINS_WITHIN: Duration = Duration::from_millis(2500);

/// This is what a player knows of the other nodes of its servers.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Other nodes have these addresses, as the last one has said.
    others: Vec<SocketAddr>,
    /// The node that has said so has this key, and so do the others.
    key: Option<[u8; 32]>,
    /// The player was sent to these addresses, of one node, and is not there yet.
    sent_to: Vec<SocketAddr>,
    /// The node at this address is the last one that sent the player away, or was lost: it is tried last.
    passed: Option<SocketAddr>,
    /// It went elsewhere at these times.
    hops: VecDeque<Instant>,
}

impl Nodes {
    /// Returns where the next login goes to, if the game has named these servers.
    pub(super) fn targets(&self, env: &Env<'_>, servers: &[SocketAddr]) -> Vec<SocketAddr> {
        if !self.sent_to.is_empty() {
            return self.sent_to.clone();
        }
        let others = self.others.iter().filter(|other| !servers.contains(other));
        let others: Vec<SocketAddr> =
            others.copied().filter(|other| env.main.towards(*other).is_some()).collect();
        let mut targets: Vec<SocketAddr> = servers.iter().copied().chain(interleaved(others)).collect();
        if let Some(passed) = self.passed.filter(|_| targets.len() > servers.len()) {
            targets.sort_by_key(|target| *target == passed);
        }
        targets
    }

    /// Has this node be tried last.
    pub(super) fn pass_over(&mut self, server: SocketAddr) {
        self.passed = Some(server);
    }

    /// Returns the key that a node at this address has to have, where the game has pinned none.
    pub(super) fn key_at(&self, server: SocketAddr) -> Option<[u8; 32]> {
        self.key.filter(|_| self.sent_to.contains(&server) || self.others.contains(&server))
    }

    /// Returns how long a login may take until the server begins to answer, which is usually this.
    pub(super) fn patience(&self, usual: Duration) -> Duration {
        if self.sent_to.is_empty() { usual } else { usual.min(BEGINS_WITHIN) }
    }

    /// Notes that the player is logged in, or that the node that it was sent to does not answer. Returns whether it was sent.
    pub(super) fn arrived(&mut self) -> bool {
        !std::mem::take(&mut self.sent_to).is_empty()
    }

    /// Forgets all nodes, since the game names other servers.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Returns whether the player may go elsewhere once more.
    fn may_hop(&mut self, now: Instant) -> bool {
        while self.hops.front().is_some_and(|at| now.saturating_duration_since(*at) >= HOPS_WITHIN) {
            self.hops.pop_front();
        }
        let may = self.hops.len() < HOPS;
        if may {
            self.hops.push_back(now);
        }
        may
    }
}

impl ServerLink {
    /// Notes which other nodes there are, in the words of the present one.
    pub(crate) fn know_nodes(&mut self, mut nodes: Vec<SocketAddr>) {
        let State::Online(online) = &self.state else { return };
        nodes.truncate(MAX_NODE_ADDRESSES);
        nodes.retain(|node| node.port() != 0);
        self.nodes.key = Some(online.server_key);
        self.nodes.others = nodes;
    }

    /// Logs in at another node, at the word of the present one. What the player has asked for and has no answer to is asked
    /// there again.
    pub(crate) fn go_to(&mut self, env: &mut Env<'_>, mut node: Vec<SocketAddr>) -> Option<LinkEvent> {
        let State::Online(online) = &mut self.state else { return None };
        let present = online.server;
        node.truncate(MAX_NODE_ADDRESSES);
        node.retain(|at| at.port() != 0 && *at != present && env.main.towards(*at).is_some());
        if node.is_empty() || !self.nodes.may_hop(env.now) {
            return None;
        }
        self.nodes.key = Some(online.server_key);
        self.nodes.sent_to = interleaved(node);
        if !self.nodes.others.contains(&present) {
            self.nodes.others.push(present);
        }
        let goodbye = Frame::Goodbye { reason: String::new(), why: Farewell::Leaving };
        online.session.send_once(env.now, &goodbye);
        self.drain(env);
        self.stream.close(env);
        self.backoff = env.config.relogin_min;
        env.emit(Event::Lobby(LobbyState::Connecting));
        self.start(env);
        Some(LinkEvent::Lost)
    }
}
