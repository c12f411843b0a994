//! Sockets beside the main ones: who asked for them, and which are open.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::api::{Output, SocketId};
use crate::env::Env;
use crate::id::MatchId;
use crate::method::Method;

/// This is what a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// It serves the running classification, in this slot.
    Classifier(u16),
    /// It serves the search for the mapping's lifetime, in this slot.
    Lifetime(u16),
    /// It serves a method of a match, in this slot.
    Match(MatchId, Method, u16),
}

/// These are all sockets that the agent asked for.
#[derive(Debug)]
pub(crate) struct Sockets {
    next: u32,
    next_probe: u16,
    /// This says what each is for, and where it is open.
    all: BTreeMap<SocketId, (Owner, Option<SocketAddr>)>,
    /// This is the newest socket of each slot. A method that begins anew opens its slots anew; the earlier ones stay
    /// open, since a way may stand on one, until they are closed with the others of their owner.
    newest: BTreeMap<Owner, SocketId>,
}

impl Default for Sockets {
    fn default() -> Self {
        // 0 and 1 are the main ones.
        Self { next: 2, next_probe: 0, all: BTreeMap::new(), newest: BTreeMap::new() }
    }
}

impl Sockets {
    pub(crate) fn open(&mut self, env: &mut Env<'_>, owner: Owner, v6: bool) {
        let socket = SocketId(self.next);
        self.next = self.next.wrapping_add(1).max(2);
        self.all.insert(socket, (owner, None));
        self.newest.insert(owner, socket);
        env.outputs.push_back(Output::OpenSocket { socket, v6 });
    }

    /// Draws a tag for a probe of a match. Those of a classification have a port in their upper half, these have none.
    pub(crate) fn next_probe_tag(&mut self) -> u32 {
        self.next_probe = self.next_probe.wrapping_add(1);
        u32::from(self.next_probe)
    }

    /// The driver opened it, or could not. Whose it was; none: nobody wants it any more, or there is a newer one.
    pub(crate) fn opened(&mut self, socket: SocketId, local: Option<SocketAddr>) -> Option<Owner> {
        let (owner, known) = self.all.get_mut(&socket)?;
        let owner = *owner;
        *known = local;
        let newest = self.is_newest(socket);
        if local.is_none() {
            self.forget(socket);
        }
        newest.then_some(owner)
    }

    /// The socket in a slot, once it is open.
    pub(crate) fn get(&self, owner: Owner) -> Option<(SocketId, SocketAddr)> {
        let socket = *self.newest.get(&owner)?;
        self.all.get(&socket).and_then(|(_, local)| Some((socket, (*local)?)))
    }

    /// Returns whose socket this is.
    pub(crate) fn owner(&self, socket: SocketId) -> Option<Owner> {
        self.all.get(&socket).map(|(owner, _)| *owner)
    }

    /// Returns whether no other socket was asked for later in its slot.
    pub(crate) fn is_newest(&self, socket: SocketId) -> bool {
        self.owner(socket).is_some_and(|owner| self.newest.get(&owner) == Some(&socket))
    }

    /// Closes the newest socket in a slot.
    pub(crate) fn close(&mut self, env: &mut Env<'_>, owner: Owner) {
        if let Some(socket) = self.newest.get(&owner).copied() {
            self.close_socket(env, socket);
        }
    }

    pub(crate) fn close_socket(&mut self, env: &mut Env<'_>, socket: SocketId) {
        self.forget(socket);
        env.outputs.push_back(Output::CloseSocket { socket });
    }

    /// Gives a socket away: it is nobody's from now on, and stays open.
    pub(crate) fn forget(&mut self, socket: SocketId) {
        let Some((owner, _)) = self.all.remove(&socket) else { return };
        if self.newest.get(&owner) == Some(&socket) {
            self.newest.remove(&owner);
        }
    }

    /// Returns all sockets whose owner is one of these.
    pub(crate) fn owned(&self, wanted: impl Fn(Owner) -> bool) -> Vec<(SocketId, Owner)> {
        let all = self.all.iter().map(|(socket, (owner, _))| (*socket, *owner));
        all.filter(|(_, owner)| wanted(*owner)).collect()
    }

    /// Closes all sockets whose owner is one of these.
    pub(crate) fn close_all(&mut self, env: &mut Env<'_>, wanted: impl Fn(Owner) -> bool) {
        for (socket, _) in self.owned(wanted) {
            self.close_socket(env, socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test does as a method does that begins anew for a better plan.
    #[test]
    fn a_slot_that_is_opened_anew_leaves_no_socket_open_behind_it() {
        let slot = Owner::Match(MatchId(1), Method::Bubble, 0);
        let local = |port| Some(SocketAddr::from(([192, 168, 1, 2], port)));
        let mut sockets = Sockets::default();
        let put = |sockets: &mut Sockets, socket: u32| {
            sockets.all.insert(SocketId(socket), (slot, None));
            sockets.newest.insert(slot, SocketId(socket));
        };
        put(&mut sockets, 5);
        assert_eq!(sockets.opened(SocketId(5), local(50_005)), Some(slot));
        put(&mut sockets, 6);
        assert_eq!(sockets.get(slot), None, "the newer one is not open yet");
        assert_eq!(
            sockets.opened(SocketId(5), local(50_005)),
            None,
            "an answer for the older one changes nothing"
        );
        assert_eq!(sockets.opened(SocketId(6), local(50_006)), Some(slot));
        assert_eq!(sockets.get(slot).map(|(socket, _)| socket), Some(SocketId(6)));
        // A way may stand on the older one: it is known, and among those that are closed in the end.
        assert_eq!(sockets.owner(SocketId(5)), Some(slot));
        assert_eq!(sockets.owned(|owner| owner == slot), [(SocketId(5), slot), (SocketId(6), slot)]);
        // Given away, it is nobody's, and the slot has its newer one still.
        sockets.forget(SocketId(5));
        assert_eq!(sockets.owned(|owner| owner == slot), [(SocketId(6), slot)]);
        assert_eq!(sockets.get(slot).map(|(socket, _)| socket), Some(SocketId(6)));
        assert_eq!(sockets.opened(SocketId(6), None), Some(slot), "it could not be opened after all");
        assert_eq!((sockets.get(slot), sockets.owned(|_| true)), (None, Vec::new()));
    }
}
