//! How matches went: by outcome, cause and the two NATs. What people ask first of a game that "does not connect".

use std::collections::BTreeMap;

use traversal_core::failure::FailureReason;
use traversal_core::nat::NatKind;
use traversal_core::wire::message::MatchOutcome;

/// This says how a match went, for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairResult {
    /// The two found a direct path.
    Direct,
    /// They play over the relay.
    Relayed,
    /// They found no path, or lost the one that they had.
    Failed,
}

impl PairResult {
    /// Names the result as the metrics do: `direct`, `relayed` or `failed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
            Self::Failed => "failed",
        }
    }
}

/// This is what is counted: of every match each outcome once, so that a path that comes and goes is not counted for
/// ever.
///
/// All parts are enumerations, and the NATs are what this server thinks of the players, in the order of their names: at
/// most three outcomes, some fourteen causes and 45 pairs, whatever players report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairOutcome {
    /// This says how the match went.
    pub outcome: PairResult,
    /// This says why there is no direct path; none where there is one.
    pub cause: Option<FailureReason>,
    /// These are the NATs of the two players, in the order of their names.
    pub nats: [NatKind; 2],
}

impl PairOutcome {
    /// Returns `None` for what is no outcome, or says no cause where there must be one.
    pub(crate) fn new(
        outcome: MatchOutcome,
        cause: Option<FailureReason>,
        mut nats: [NatKind; 2],
    ) -> Option<Self> {
        let (outcome, cause) = match (outcome, cause) {
            (MatchOutcome::Direct, _) => (PairResult::Direct, None),
            (MatchOutcome::Relayed, Some(cause)) => (PairResult::Relayed, Some(cause)),
            (MatchOutcome::Failed | MatchOutcome::Lost, Some(cause)) => (PairResult::Failed, Some(cause)),
            _ => return None,
        };
        nats.sort();
        Some(Self { outcome, cause, nats })
    }

    /// Names the cause as the players' reports do; `none` where the path is direct.
    pub fn cause_name(&self) -> &'static str {
        self.cause.map_or("none", FailureReason::name)
    }
}

/// These say how many matches went in each way since the start.
pub type Outcomes = BTreeMap<PairOutcome, u64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_nats_have_no_order_and_a_relay_without_a_cause_is_not_the_end_of_it() {
        let nats = [NatKind::PortSensitiveSymmetric, NatKind::FullCone];
        let [one, other] = [nats, [nats[1], nats[0]]]
            .map(|nats| PairOutcome::new(MatchOutcome::Failed, Some(FailureReason::NoAnswer), nats).unwrap());
        assert_eq!(one, other);
        assert_eq!(PairOutcome::new(MatchOutcome::Relayed, None, nats), None);
        assert_eq!(PairOutcome::new(MatchOutcome::Closed, Some(FailureReason::PeerLeft), nats), None);
        let direct = PairOutcome::new(MatchOutcome::Direct, Some(FailureReason::PeerLeft), nats).unwrap();
        assert_eq!(direct.cause_name(), "none");
    }
}
