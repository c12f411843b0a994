//! The server's word that a player's packet came from an address, for the player to show again (M7, E2).
//!
//! Where the player works out its port range itself, the server keeps nothing of its probes; the range that the player
//! claims is believed only with two such reports. So nobody can have another player send to ports, let alone
//! addresses, that the server has not seen the claimant's own packets come from.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// A MAC has so many bytes; guessing one would take 2^64 claims.
const MAC: usize = 16;

/// This is the server's word on where it saw a probe, which it knows again when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortReport {
    /// This says where the packet was seen.
    pub observed: SocketAddr,
    /// This says when it was seen, in milliseconds of the server's own clock.
    pub at_ms: u64,
    mac: [u8; MAC],
}

/// This is the key that the server signs its reports with.
#[derive(Clone)]
pub struct ReportKey([u8; 32]);

impl std::fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReportKey(..)")
    }
}

impl ReportKey {
    /// Makes a key of bytes from the server's generator; it need not outlive the server.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    fn mac(&self, session: u64, at_ms: u64, observed: SocketAddr) -> Option<Hmac<Sha256>> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).ok()?;
        mac.update(&session.to_le_bytes());
        mac.update(&at_ms.to_le_bytes());
        match observed.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&observed.port().to_le_bytes());
        Some(mac)
    }

    /// A packet of this session was seen there.
    pub fn sign(&self, session: u64, at_ms: u64, observed: SocketAddr) -> PortReport {
        let mut short = [0; MAC];
        if let Some(mac) = self.mac(session, at_ms, observed) {
            short.copy_from_slice(&mac.finalize().into_bytes()[..MAC]);
        }
        PortReport { observed, at_ms, mac: short }
    }

    /// Returns whether this server has said so, to this session.
    pub fn is_genuine(&self, session: u64, report: &PortReport) -> bool {
        self.mac(session, report.at_ms, report.observed)
            .is_some_and(|mac| mac.verify_truncated_left(&report.mac).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_for_its_session_address_and_time_alone() {
        let key = ReportKey::new([7; 32]);
        let report = key.sign(5, 1_000, "203.0.113.1:4000".parse().unwrap());
        assert!(key.is_genuine(5, &report));
        assert!(!key.is_genuine(6, &report));
        assert!(!ReportKey::new([8; 32]).is_genuine(5, &report));
        for forged in [
            PortReport { observed: "203.0.113.1:4001".parse().unwrap(), ..report },
            PortReport { observed: "203.0.113.2:4000".parse().unwrap(), ..report },
            PortReport { at_ms: 1_001, ..report },
            PortReport { mac: [0; MAC], ..report },
        ] {
            assert!(!key.is_genuine(5, &forged), "{forged:?}");
        }
    }
}
