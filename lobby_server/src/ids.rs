//! Names of the server's own.

use traversal_core::id::{PlayerId, RequestId};

/// A login of a player, as the wire layer numbers it: drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// Who waits for an answer, and to which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) session: SessionId,
    pub(crate) player: PlayerId,
    pub(crate) request: RequestId,
}
