//! The other nodes of the same servers, as the registry tells of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use traversal_core::wire::message::{Farewell, Frame, MAX_NODE_ADDRESSES, MatchEnd};

use super::Server;
use super::timers::Timer;
use crate::ids::SessionId;
use crate::registry::{NodeSite, RegistryNote};

/// So many players at once are told of other nodes than before, which comes to 12,800 a second: half a second of processor
/// would be missing for everything else if a node with 20,000 players told all of them in one turn.
const TOLD_AT_ONCE: usize = 256;
/// See [`TOLD_AT_ONCE`].
const TOLD_EVERY: Duration = Duration::from_millis(20);

/// These are the other nodes that are there.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    sites: Vec<NodeSite>,
    /// Players are being told of other nodes than before: those with sessions from this one on are next.
    telling: Option<SessionId>,
}

impl Nodes {
    /// Returns whether there is no other node.
    pub(super) fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Returns the numbers of all other nodes.
    pub(super) fn numbers(&self) -> BTreeSet<u64> {
        self.sites.iter().map(|site| site.node).collect()
    }

    /// Takes the other nodes as they are now. Returns whether players are to hear of it.
    fn set(&mut self, sites: Vec<NodeSite>) -> bool {
        let addresses = |sites: &[NodeSite]| -> Vec<Vec<SocketAddr>> {
            sites.iter().filter(|site| !site.draining).map(|site| site.addresses.clone()).collect()
        };
        let changed = addresses(&self.sites) != addresses(&sites);
        self.sites = sites;
        changed
    }

    /// Returns the nodes that take players.
    fn open(&self) -> impl Iterator<Item = &NodeSite> {
        self.sites.iter().filter(|site| !site.draining && !site.addresses.is_empty())
    }

    /// Returns the numbers of the nodes that take players: these own what players meet by.
    fn open_numbers(&self) -> BTreeSet<u64> {
        self.open().map(|site| site.node).collect()
    }

    /// Returns the other node that all nodes take for the owner of this, by rendezvous hashing; none: it is this one, or there
    /// is no other. `own` is this node's number, if it may be the owner.
    pub(super) fn owner(&self, own: Option<u64>, of: &[u8]) -> Option<&NodeSite> {
        let weight = |node: u64| {
            let digest = Sha256::new().chain_update(node.to_le_bytes()).chain_update(of).finalize();
            (digest, node)
        };
        let best = self.open().max_by_key(|site| weight(site.node))?;
        (own.is_none_or(|own| weight(best.node) > weight(own))).then_some(best)
    }

    /// Returns addresses of other nodes for this player, at most as many as one message takes. Players are told of them in
    /// different orders, so that they spread when this node is gone.
    pub(super) fn addresses(&self, of: SessionId) -> Vec<SocketAddr> {
        let open: Vec<&NodeSite> = self.open().collect();
        let first = (of.0 % (open.len().max(1) as u64)) as usize;
        let in_turn = open[first..].iter().chain(&open[..first]);
        in_turn.flat_map(|site| site.addresses.iter().copied()).take(MAX_NODE_ADDRESSES).collect()
    }
}

impl Server {
    /// Takes what the registry says without being asked.
    pub fn handle_registry_note(&mut self, now: Instant, note: RegistryNote) {
        self.cx.now = now;
        match note {
            RegistryNote::Nodes(sites) => {
                let there = sites.iter().map(|site| site.node).collect();
                let (rooms, mut others) = self.split();
                rooms.nodes_are(&mut others, there);
                let open = self.cx.nodes.open_numbers();
                let tell = self.cx.nodes.set(sites);
                if self.cx.nodes.open_numbers() != open {
                    let (rooms, mut others) = self.split();
                    rooms.nodes_changed(&mut others);
                }
                if tell {
                    self.cx.nodes.telling = Some(SessionId(0));
                    self.tell_nodes();
                }
                self.people_of_nodes();
            }
            RegistryNote::RoomLost { room, site } => {
                let (rooms, mut others) = self.split();
                rooms.room_lost(&mut others, room, site);
            }
            RegistryNote::PlayerElsewhere(player) => {
                let (rooms, mut others) = self.split();
                rooms.player_elsewhere(&mut others, player);
            }
            RegistryNote::Post { from, to, body } => self.take_post(from, to, &body),
            RegistryNote::Resumed => self.resync_people(),
        }
        self.settle();
    }

    /// Tells the next players of the other nodes.
    pub(super) fn tell_nodes(&mut self) {
        let Some(first) = self.cx.nodes.telling.take() else { return };
        let told = self.roster.sessions_from(first, TOLD_AT_ONCE);
        for id in &told {
            self.roster.tell_nodes(&mut self.cx, *id);
        }
        if told.len() == TOLD_AT_ONCE
            && let Some(next) = told.last().and_then(|last| last.0.checked_add(1))
        {
            self.cx.nodes.telling = Some(SessionId(next));
            self.cx.timers.set(Timer::Nodes, Some(self.cx.now + TOLD_EVERY));
        }
    }

    /// The player of this session plays at another node now: the session ends.
    pub(super) fn replaced_elsewhere(&mut self, id: SessionId) {
        let reason = String::from("this player logged in from another place");
        self.send_away(id, &Frame::Goodbye { reason, why: Farewell::Replaced }, MatchEnd::Gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(numbers: &[u64]) -> Nodes {
        let site = |node: &u64| NodeSite {
            node: *node,
            addresses: vec![SocketAddr::from(([198, 51, 100, *node as u8], 3478))],
            players: 0,
            draining: false,
        };
        let mut nodes = Nodes::default();
        nodes.set(numbers.iter().map(site).collect());
        nodes
    }

    #[test]
    fn all_nodes_name_the_same_owner_and_a_node_that_goes_takes_only_its_own_along() {
        let mut owned = [0; 4];
        for key in 0..300u32 {
            let key = key.to_le_bytes();
            let seen_from =
                |own: u64, others: &[u64]| nodes(others).owner(Some(own), &key).map_or(own, |site| site.node);
            let owner = seen_from(1, &[2, 3]);
            assert_eq!([seen_from(2, &[1, 3]), seen_from(3, &[1, 2])], [owner; 2]);
            owned[owner as usize] += 1;
            if owner != 3 {
                assert_eq!(seen_from(1, &[2]), owner, "nothing moves between nodes that stay");
            }
        }
        assert!(owned[1..].iter().all(|count| *count > 60), "{owned:?}");
    }

    #[test]
    fn a_node_that_ends_is_named_to_nobody() {
        let mut known = nodes(&[2, 3]);
        let mut sites = known.sites.clone();
        sites[0].players = 9;
        assert!(!known.set(sites.clone()), "how many are there is no news for players");
        sites[0].draining = true;
        assert!(known.set(sites));
        let only: Vec<SocketAddr> = vec!["198.51.100.3:3478".parse().unwrap()];
        assert_eq!(known.addresses(SessionId(0)), only);
        assert_eq!(known.addresses(SessionId(1)), only);
        assert_eq!(known.owner(None, b"room").map(|site| site.node), Some(3));
        assert!(nodes(&[]).addresses(SessionId(7)).is_empty());
    }
}
