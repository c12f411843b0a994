//! Sockets beside the main ones: who asked for them, and which are open.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::api::{Output, SocketId};
use crate::cx::Cx;
use crate::id::MatchId;
use crate::wire::message::Method;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A slot of the running classification.
    Classifier(u16),
    /// A slot of the search for the mapping's lifetime.
    Lifetime(u16),
    /// A slot of a method of a match.
    Match(MatchId, Method, u16),
}

/// All sockets that the agent asked for.
#[derive(Debug)]
pub(crate) struct Sockets {
    next: u32,
    next_probe: u16,
    owners: BTreeMap<SocketId, Owner>,
    by_owner: BTreeMap<Owner, (SocketId, Option<SocketAddr>)>,
}

impl Default for Sockets {
    fn default() -> Self {
        // 0 and 1 are the main ones.
        Self { next: 2, next_probe: 0, owners: BTreeMap::new(), by_owner: BTreeMap::new() }
    }
}

impl Sockets {
    pub(crate) fn open(&mut self, cx: &mut Cx<'_>, owner: Owner, v6: bool) {
        let socket = SocketId(self.next);
        self.next = self.next.wrapping_add(1).max(2);
        self.owners.insert(socket, owner);
        self.by_owner.insert(owner, (socket, None));
        cx.outputs.push_back(Output::OpenSocket { socket, v6 });
    }

    /// A tag for a probe of a match. Those of a classification have a port in their upper half, these have none.
    pub(crate) fn next_probe_tag(&mut self) -> u32 {
        self.next_probe = self.next_probe.wrapping_add(1);
        u32::from(self.next_probe)
    }

    /// The driver opened it, or could not. Whose it was.
    pub(crate) fn opened(&mut self, socket: SocketId, local: Option<SocketAddr>) -> Option<Owner> {
        let owner = *self.owners.get(&socket)?;
        if local.is_some() {
            self.by_owner.insert(owner, (socket, local));
        } else {
            self.forget(owner);
        }
        Some(owner)
    }

    /// The socket in a slot, once it is open.
    pub(crate) fn get(&self, owner: Owner) -> Option<(SocketId, SocketAddr)> {
        self.by_owner.get(&owner).and_then(|(socket, local)| Some((*socket, (*local)?)))
    }

    /// Whose socket this is.
    pub(crate) fn owner(&self, socket: SocketId) -> Option<Owner> {
        self.owners.get(&socket).copied()
    }

    pub(crate) fn close(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        if let Some(socket) = self.forget(owner) {
            cx.outputs.push_back(Output::CloseSocket { socket });
        }
    }

    /// Gives a socket away: it is nobody's from now on, and stays open.
    pub(crate) fn forget(&mut self, owner: Owner) -> Option<SocketId> {
        let (socket, _) = self.by_owner.remove(&owner)?;
        self.owners.remove(&socket);
        Some(socket)
    }

    /// All owners that are such.
    pub(crate) fn owned(&self, such: impl Fn(Owner) -> bool) -> Vec<Owner> {
        self.by_owner.keys().copied().filter(|owner| such(*owner)).collect()
    }

    /// Closes all sockets whose owner is such.
    pub(crate) fn close_all(&mut self, cx: &mut Cx<'_>, such: impl Fn(Owner) -> bool) {
        for owner in self.owned(such) {
            self.close(cx, owner);
        }
    }
}
