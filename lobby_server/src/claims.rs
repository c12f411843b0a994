//! Port ranges that players have measured themselves (M7, E2), and why one is not believed.

use std::net::IpAddr;
use std::time::Duration;

use traversal_core::ports::distance;
use traversal_core::punch::WIDEST_CLAIM;
use traversal_core::wire::message::Facts;
use traversal_core::wire::port_report::{PortReport, ReportKey};

/// A report serves for so long: a bracket is claimed one round trip after its probes, or a few if packets are lost: five
/// of 1.2 s and some. By then a busy NAT has gone on, which is the claimant's loss alone.
const REPORT_AGE: Duration = Duration::from_secs(8);

/// This is what a player claims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RangeClaim {
    pub(crate) round: u16,
    pub(crate) step: i32,
    pub(crate) reports: [PortReport; 2],
}

/// This says why a claim is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimError {
    /// The report is not this server's word, or was given to another session.
    Forged,
    /// The probe was seen too long ago.
    Stale,
    /// The probe was seen at another IP than the session's.
    OtherAddress,
    /// More ports than a bracket can hold.
    TooWide,
}

impl RangeClaim {
    /// The range as the other side may be told it. `validated`: the IP of the claimant's session.
    pub(crate) fn check(
        &self,
        key: &ReportKey,
        session: u64,
        validated: IpAddr,
        now_ms: u64,
    ) -> Result<Facts, ClaimError> {
        let oldest = now_ms.saturating_sub(REPORT_AGE.as_millis() as u64);
        for report in &self.reports {
            if !key.is_genuine(session, report) {
                return Err(ClaimError::Forged);
            }
            if report.at_ms < oldest || report.at_ms > now_ms {
                return Err(ClaimError::Stale);
            }
            if report.observed.ip() != validated {
                return Err(ClaimError::OtherAddress);
            }
        }
        let [first, last] = self.reports.map(|report| report.observed.port());
        if distance(first, last).unsigned_abs() > WIDEST_CLAIM || self.step.unsigned_abs() > WIDEST_CLAIM {
            return Err(ClaimError::TooWide);
        }
        let step = if self.step == 0 { 1 } else { self.step };
        Ok(Facts::Range { round: self.round, ip: validated, first, last, step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: u64 = 9;

    fn report(key: &ReportKey, at: &str, at_ms: u64) -> PortReport {
        key.sign(SESSION, at_ms, at.parse().unwrap())
    }

    #[test]
    fn only_two_fresh_reports_of_ones_own_address_close_together_are_believed() {
        let key = ReportKey::new([1; 32]);
        let own: IpAddr = "203.0.113.1".parse().unwrap();
        let first = report(&key, "203.0.113.1:10135", 60_000);
        let last = report(&key, "203.0.113.1:10145", 60_001);
        let claim = |reports, step| RangeClaim { round: 3, step, reports };
        let check = |claim: RangeClaim| claim.check(&key, SESSION, own, 60_100);

        let facts = Facts::Range { round: 3, ip: own, first: 10135, last: 10145, step: 5 };
        assert_eq!(check(claim([first, last], 5)), Ok(facts));

        let mut moved = last;
        moved.observed = "203.0.113.1:9".parse().unwrap();
        assert_eq!(check(claim([first, moved], 5)), Err(ClaimError::Forged));
        let of_another = key.sign(SESSION + 1, 60_001, last.observed);
        assert_eq!(check(claim([first, of_another], 5)), Err(ClaimError::Forged));
        let old = report(&key, "203.0.113.1:10135", 52_000);
        assert_eq!(check(claim([old, last], 5)), Err(ClaimError::Stale));
        let elsewhere = report(&key, "198.51.100.1:10145", 60_001);
        assert_eq!(check(claim([first, elsewhere], 5)), Err(ClaimError::OtherAddress));
        let far = report(&key, "203.0.113.1:11160", 60_001);
        assert_eq!(check(claim([first, far], 5)), Err(ClaimError::TooWide));
        assert_eq!(check(claim([first, last], i32::MIN)), Err(ClaimError::TooWide));
        assert!(check(claim([last, first], -5)).is_ok(), "a NAT may count down");
    }
}
