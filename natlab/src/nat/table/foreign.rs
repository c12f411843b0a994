//! The other machines behind the same NAT.

use std::net::SocketAddr;
use std::time::Duration;

use rand::Rng;

use super::super::Proto;
use super::super::config::Allocation;
use super::Nat;

impl Nat {
    pub(super) fn draw_foreign(&mut self, from: Duration) -> Option<Duration> {
        if !self.config.translates() || self.config.cross <= 0.0 || self.external.is_empty() {
            return None;
        }
        // Inverse of the exponential distribution; 1 - u is never 0.
        let u: f64 = self.rng.random();
        Some(from + Duration::from_secs_f64(-(1.0 - u).ln() / self.config.cross))
    }

    /// Makes the foreign traffic up to now take and free its ports.
    pub(super) fn advance(&mut self, now: Duration) {
        while let Some(at) = self.next_foreign.filter(|at| *at <= now) {
            self.next_foreign = self.draw_foreign(at);
            // Other subscribers have blocks of their own.
            if matches!(self.config.allocation, Allocation::RandomInBlock(_)) {
                continue;
            }
            let ip = self.external[self.rng.random_range(0..self.external.len())];
            let port = self.rng.random_range(1024..=u16::MAX);
            let want = self.want(at, Proto::Udp, ip, port, None);
            if let Some(port) = self.ports.choose(&mut self.rng, self.config.allocation, &want) {
                let until = at + self.config.timeout;
                self.ports.hold_foreign(SocketAddr::new(ip, port), until);
                self.counters.foreign += 1;
            }
        }
        if now >= self.last_sweep + Duration::from_secs(60) {
            self.last_sweep = now;
            self.bury_all_dead(now);
            self.occupied.retain(|_, until| *until > now);
        }
    }
}
