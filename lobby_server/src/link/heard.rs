//! Who has sent to this server lately. A NAT may let in what comes back from here, so a datagram from here proves nothing
//! about it: neither that it forwards a port nor that it filters nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Mappings live about so long at the most, unless they are kept alive (RFC 4787 section 4.3 asks for two minutes or more,
/// and recommends five). An address is remembered for one to two of these.
const SPAN: Duration = Duration::from_secs(300);
/// So many addresses are remembered of one span: 2 MB.
const MOST: usize = 65_536;

/// This is the memory of addresses.
#[derive(Debug)]
pub(crate) struct Heard {
    recent: HashSet<SocketAddr>,
    older: HashSet<SocketAddr>,
    /// `recent` began then.
    began: Instant,
    /// There were more than can be remembered: until then everybody may have sent something.
    blind_until: Option<Instant>,
}

impl Heard {
    pub(crate) fn new(now: Instant) -> Self {
        Self { recent: HashSet::new(), older: HashSet::new(), began: now, blind_until: None }
    }

    /// Something came from there.
    pub(crate) fn note(&mut self, now: Instant, from: SocketAddr) {
        self.age(now);
        if self.recent.len() < MOST {
            self.recent.insert(from);
        } else if !self.recent.contains(&from) {
            self.blind_until = Some(now + SPAN);
        }
    }

    /// Returns whether something may have come from there lately.
    pub(crate) fn may_have(&mut self, now: Instant, from: SocketAddr) -> bool {
        self.age(now);
        self.blind_until.is_some_and(|until| now < until)
            || self.recent.contains(&from)
            || self.older.contains(&from)
    }

    fn age(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began);
        if passed < SPAN {
            return;
        }
        self.older = std::mem::take(&mut self.recent);
        if passed >= 2 * SPAN {
            self.older.clear();
        }
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16, host: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, host], port))
    }

    #[test]
    fn an_address_is_remembered_for_five_minutes_and_forgotten_after_ten() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        heard.note(start + SPAN / 2, at(4000, 1));
        assert!(!heard.may_have(start + SPAN / 2, at(4000, 2)) && !heard.may_have(start, at(4001, 1)));
        assert!(heard.may_have(start + SPAN / 2 + SPAN, at(4000, 1)));
        assert!(!heard.may_have(start + 3 * SPAN, at(4000, 1)));
    }

    #[test]
    fn more_than_can_be_remembered_make_it_say_yes_to_everybody_for_a_while() {
        let start = Instant::now();
        let mut heard = Heard::new(start);
        for number in 0..=MOST as u32 {
            heard.note(start, at(number as u16, (number >> 16) as u8));
        }
        assert!(heard.recent.len() <= MOST && heard.may_have(start, at(9, 200)));
        let later = start + SPAN + Duration::from_secs(1);
        assert!(heard.may_have(later, at(9, 0)) && !heard.may_have(later, at(9, 200)));
    }
}
