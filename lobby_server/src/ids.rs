//! Names of the server's own.

use traversal_core::id::{MatchId, PlayerId, RequestId};

/// This names a login of a player, as the wire layer numbers it: it is drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// This says who waits for an answer, and to which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) session: SessionId,
    pub(crate) player: PlayerId,
    pub(crate) request: RequestId,
}

/// This names one plan of a match: each better plan that both players get has the next edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanId {
    pub(crate) match_id: MatchId,
    /// The plan has this number among those of its match, from 0.
    pub(crate) edition: u8,
}

/// This is something that both players of a match have: who they are, what is known of them, what they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sides<T> {
    /// It belongs to the room's host; in a pair of a mesh, to the player that was there first.
    pub(crate) host: T,
    /// It belongs to the player who came in, who is the caller (M10).
    pub(crate) joiner: T,
}

impl<T> Sides<T> {
    /// Returns both, the host's first.
    pub(crate) fn both(self) -> [T; 2] {
        [self.host, self.joiner]
    }

    /// Returns what `with` makes of each.
    pub(crate) fn map<U>(self, mut with: impl FnMut(T) -> U) -> Sides<U> {
        Sides { host: with(self.host), joiner: with(self.joiner) }
    }

    /// Borrows what both have.
    pub(crate) fn as_ref(&self) -> Sides<&T> {
        Sides { host: &self.host, joiner: &self.joiner }
    }
}
