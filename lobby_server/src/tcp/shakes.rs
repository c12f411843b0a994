//! What handshakes of TLS may cost. Who wants to have the server compute needs to send some hundred bytes for each, so they
//! are bounded twice: in number by address, and in time for all together. Those that are over the time wait in the
//! system's buffers, and nothing that goes by UDP, TCP or a TLS that stands waits with them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::{PrefixLimiter, Rate};
use crate::tls::Certificate;

/// Each address may begin so many handshakes a second, and at once: the players of a school or an office come back together
/// after the server's restart, each within some seconds.
const RATE: Rate = Rate::new(8.0, 128.0);
/// Handshakes may take this share of the time, a quarter of a core. One takes 0.24 ms with a key of P-256 and
/// 0.68 ms with one of RSA with 2,048 bits (measured by `lobby_tls_seconds_total` in a development build): a thousand or
/// four hundred a second.
const SHARE: f64 = 0.25;
/// So much may be used at once: the loop turns no slower for it than for a burst of logins.
const AT_ONCE: Duration = Duration::from_millis(20);
/// Those that wait are looked at again after this.
const AGAIN: Duration = Duration::from_millis(20);

/// These are numbers for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TlsNumbers {
    /// There are so many connections of TLS now, those within a handshake too.
    pub connections: usize,
    /// So many handshakes were done.
    pub handshakes: u64,
    /// So many connections ended within their handshake, or brought something else than TLS.
    pub failed: u64,
    /// So often a handshake had to wait because all together took their share of the time.
    pub waited: u64,
    /// The handshakes have taken so much of the processor.
    pub time: Duration,
}

/// These are the bounds, and the certificate.
pub(super) struct Shakes {
    pub(super) certificate: Certificate,
    by_address: PrefixLimiter,
    left: f64,
    filled: Instant,
    pub(super) numbers: TlsNumbers,
}

impl Shakes {
    pub(super) fn new(certificate: Certificate, key: [u8; 16], now: Instant) -> Self {
        Self {
            certificate,
            by_address: PrefixLimiter::new(RATE, key, now),
            left: AT_ONCE.as_secs_f64(),
            filled: now,
            numbers: TlsNumbers::default(),
        }
    }

    /// Returns whether this address may begin one more.
    pub(super) fn allow(&mut self, now: Instant, from: IpAddr) -> bool {
        self.by_address.allow(from, now)
    }

    /// Returns when a handshake may go on, where it has to wait.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Instant> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + passed * SHARE).min(AT_ONCE.as_secs_f64());
        self.filled = self.filled.max(now);
        if self.left > 0.0 {
            return None;
        }
        self.numbers.waited += 1;
        Some(now + AGAIN)
    }

    /// A handshake has taken so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.left -= time.as_secs_f64();
        self.numbers.time += time;
    }
}

#[cfg(all(test, feature = "tls", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use test_support::certificates::ONE;

    use super::*;
    use crate::config::Settings;

    #[test]
    fn handshakes_get_their_share_of_the_time_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = ONE.write(folder.path());
        let settings = Settings { tls_cert: Some(certificate), tls_key: Some(key), ..Settings::default() };
        let certificate = Certificate::read(&settings).unwrap().unwrap();
        let start = Instant::now();
        let mut shakes = Shakes::new(certificate, [7; 16], start);
        // Each takes 2 ms, and there is always another one.
        let (mut now, mut done) = (start, 0u32);
        while now < start + Duration::from_secs(10) {
            match shakes.wait(now) {
                Some(later) => now = later,
                None => {
                    shakes.took(Duration::from_millis(2));
                    now += Duration::from_millis(2);
                    done += 1;
                }
            }
        }
        let took = shakes.numbers.time.as_secs_f64();
        assert!((2.3..2.6).contains(&took), "a quarter of ten seconds: {took} for {done}");
        assert!(shakes.numbers.waited > 0);
        // By address.
        let begun = |shakes: &mut Shakes, ip: &str| {
            let ip = ip.parse().unwrap();
            (0..1000).filter(|_| shakes.allow(now, ip)).count()
        };
        assert_eq!((begun(&mut shakes, "203.0.113.1"), begun(&mut shakes, "203.0.113.2")), (128, 128));
    }
}
