//! Where the game's socket has sent to lately: what comes from there proves nothing about a NAT, which may let it in as an
//! answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// These are the lobby servers that the game's socket has sent to.
#[derive(Debug, Default)]
pub(crate) struct Contacted(BTreeMap<IpAddr, Instant>);

impl Contacted {
    /// No NAT keeps a way in for longer after the last packet out, unless it is kept alive: RFC 4787 section 4.3 recommends five
    /// minutes.
    pub(crate) const KEPT: Duration = Duration::from_secs(300);

    /// Something leaves for there.
    pub(super) fn note(&mut self, now: Instant, to: IpAddr) {
        if self.0.insert(to, now).is_none() {
            self.0.retain(|_, at| now.saturating_duration_since(*at) < Self::KEPT);
        }
    }

    /// Returns what something has left for within the last five minutes.
    pub(crate) fn lately(&self, now: Instant) -> BTreeSet<IpAddr> {
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < Self::KEPT;
        self.0.iter().filter(|(_, at)| fresh(at)).map(|(ip, _)| *ip).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_counts_for_five_minutes_after_the_last_datagram_and_takes_no_memory_then() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ip = |last: u8| IpAddr::from([198, 18, 0, last]);
        let mut contacted = Contacted::default();
        contacted.note(at(0), ip(1));
        contacted.note(at(200), ip(1));
        assert_eq!(contacted.lately(at(499)), BTreeSet::from([ip(1)]));
        assert!(contacted.lately(at(500)).is_empty());
        contacted.note(at(600), ip(2));
        assert_eq!(contacted.0.len(), 1);
    }
}
