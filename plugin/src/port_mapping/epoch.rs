//! The router's clock, which starts anew where a router has lost its mappings (RFC 6887 section 8.5, RFC 6886 section 3.6).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::Route;

/// This is where NAT-PMP and PCP are spoken.
const PORT: u16 = 5351;
/// The two clocks may differ by this many seconds, beside a sixteenth of the time between (RFC 6887 section 8.5).
const TOLERANCE: u64 = 2;
/// These are the waits for an answer (RFC 6886 section 3.1); it is asked again a minute later.
const WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];

/// This is what the router's clock said, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    seconds: u32,
    at: Instant,
}

impl Epoch {
    pub(super) fn new(seconds: u32) -> Self {
        Self { seconds, at: Instant::now() }
    }

    /// Asks for it with the question for the public address, which a router without NAT-PMP answers too, by the header of PCP
    /// (RFC 6887 appendix A). None: no answer that says it.
    pub(super) async fn ask(route: Route) -> Option<Self> {
        let socket = UdpSocket::bind((route.local, 0)).await.ok()?;
        socket.connect(SocketAddr::from((route.gateway, PORT))).await.ok()?;
        let mut answer = [0; 1100];
        for wait in WAITS {
            socket.send(&[0, 0]).await.ok()?;
            if let Ok(Ok(length)) = timeout(wait, socket.recv(&mut answer)).await
                && let Some(seconds) = read(answer.get(..length)?)
            {
                return Some(Self::new(seconds));
            }
        }
        None
    }

    /// Returns whether the router has begun anew between this and `later`.
    pub(super) fn is_lost_by(self, later: Self) -> bool {
        let passed = later.at.saturating_duration_since(self.at).as_secs();
        let Some(counted) = (u64::from(later.seconds) + 1).checked_sub(u64::from(self.seconds)) else {
            return true;
        };
        let behind = |a: u64, b: u64| a + TOLERANCE < b - b / 16;
        // One second is allowed to be missing.
        behind(passed, counted.saturating_sub(1)) || behind(counted, passed)
    }
}

/// Returns the clock in an answer: of NAT-PMP (version 0) or PCP (version 2).
fn read(answer: &[u8]) -> Option<u32> {
    let at = match answer {
        [0, 128, ..] => 4,
        [2, kind, ..] if kind & 128 != 0 => 8,
        _ => return None,
    };
    answer.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_stands_or_leaps_is_a_router_that_began_anew() {
        let start = Instant::now();
        let at = |seconds, after| Epoch { seconds, at: start + Duration::from_secs(after) };
        let first = at(1000, 0);
        for (seconds, after) in
            [(1000, 0), (1000, 1), (999, 0), (1060, 60), (1062, 60), (1055, 60), (4600, 3600), (4400, 3600)]
        {
            assert!(!first.is_lost_by(at(seconds, after)), "{seconds} after {after}");
        }
        for (seconds, after) in [(998, 0), (0, 0), (5, 60), (1000, 60), (1050, 60), (1080, 60), (9000, 3600)]
        {
            assert!(first.is_lost_by(at(seconds, after)), "{seconds} after {after}");
        }
        assert!(at(u32::MAX, 0).is_lost_by(at(0, 60)));
    }

    #[test]
    fn it_is_read_from_either_protocol_and_from_nothing_else() {
        assert_eq!(read(&[0, 128, 0, 0, 0, 0, 1, 2, 203, 0, 113, 9]), Some(258));
        // A router that knows PCP alone: unsupported version.
        let mut pcp = [0; 24];
        pcp[..4].copy_from_slice(&[2, 128, 0, 1]);
        pcp[11] = 7;
        assert_eq!(read(&pcp), Some(7));
        for wrong in [
            &[][..],
            &[0],
            &[0, 128, 0],
            &[0, 129, 0, 0, 0, 0, 0, 1],
            &[2, 128, 0, 0, 0, 0, 0, 0, 1],
            &[1, 128, 0, 0, 9, 9, 9, 9],
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
