//! What the log says of the registry: once when it is gone and once when it is back, and no kind more often than every ten
//! minutes, however often it happens.

use std::time::{Duration, Instant};

use super::entries::Stranger;
use super::link::{LinkError, Unfit};
use crate::check::chain;

/// A kind is told again after so long.
const QUIET: Duration = Duration::from_secs(600);

/// This remembers what was said.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// It was said then that Redis is not reached.
    away: Option<Instant>,
    /// Nothing was said since then.
    away_said: bool,
    was_there: bool,
    stranger: Option<Instant>,
    refused: Option<Instant>,
}

fn may(at: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let lately = at.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
    if !lately {
        *at = Some(now);
    }
    !lately
}

impl Words {
    /// Redis is not reached, or of no use.
    pub(super) fn is_away(&mut self, registry: &str, error: &LinkError) {
        self.was_there = false;
        if self.away_said || !may(&mut self.away) {
            return;
        }
        self.away_said = true;
        let cause = chain(error);
        match error {
            LinkError::Unfit(Unfit::Old(_) | Unfit::Evicts(_) | Unfit::Cluster) => {
                tracing::error!(registry, "the registry cannot be used: {cause}");
            }
            _ => tracing::warn!(
                registry,
                cause,
                "the registry is not there: rooms can be neither opened nor found until it is; running games go on"
            ),
        }
    }

    /// Redis has taken this node in; `lost`: it has lost what it knew.
    pub(super) fn is_there(&mut self, registry: &str, lost: bool) {
        if lost {
            tracing::info!(
                registry,
                "the registry has lost what it knew, and is told of all rooms here again"
            );
        }
        if !self.was_there && (self.away_said || self.away.is_none()) {
            tracing::info!(registry, "the registry is there");
        }
        (self.was_there, self.away_said) = (true, false);
        self.stranger = None;
    }

    /// The other nodes do not take this one in.
    pub(super) fn stranger(&mut self, stranger: &Stranger) {
        self.was_there = false;
        if may(&mut self.stranger) {
            tracing::error!("this node does not take part in the registry: {stranger}");
        }
    }

    /// Redis refuses to do something.
    pub(super) fn refused(&mut self, error: &LinkError) {
        if may(&mut self.refused) {
            tracing::warn!("the registry refuses something, and is perhaps full: {}", chain(error));
        }
    }
}
