//! How far a round of probe, bubbles and probe has come.

/// The stage of one round, whose datagrams leave once its sockets are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoundStage {
    /// So many of its sockets are not open yet.
    Opening { missing: u8 },
    /// Everything has been sent.
    Sent,
    /// Both probes were answered, so the other side learns of this round and gets the time to reply.
    Answered,
}

impl RoundStage {
    /// Notes that one more socket is open. True when that was the last one.
    pub(super) fn socket_opened(&mut self) -> bool {
        let Self::Opening { missing } = self else { return false };
        *missing = missing.saturating_sub(1);
        if *missing > 0 {
            return false;
        }
        *self = Self::Sent;
        true
    }
}
