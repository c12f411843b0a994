//! Who has sent to this server lately. A NAT may let in what comes back from here, so a datagram from here proves nothing
//! about it: neither that it forwards a port nor that it filters nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Mappings live about so long at the most, unless they are kept alive (RFC 4787 section 4.3 asks for two minutes or more,
/// and recommends five).
const KEPT: Duration = Duration::from_secs(300);
/// So many addresses are remembered, in some 6 MB: those of as many players, and of whoever else sends something.
const MOST: usize = 131_072;
/// Old ones are looked for so often at the most, where there are so many.
const SWEEP: Duration = Duration::from_secs(10);

/// This is the memory of addresses.
#[derive(Debug)]
pub(crate) struct Heard {
    last: HashMap<SocketAddr, Instant>,
    swept: Option<Instant>,
    /// There were more than can be remembered: until then everybody may have sent something.
    blind_until: Option<Instant>,
}

impl Heard {
    pub(crate) fn new() -> Self {
        Self { last: HashMap::new(), swept: None, blind_until: None }
    }

    /// Something came from there.
    pub(crate) fn note(&mut self, now: Instant, from: SocketAddr) {
        if let Some(at) = self.last.get_mut(&from) {
            *at = now;
            return;
        }
        let rested = self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP);
        if self.last.len() >= MOST && rested {
            self.swept = Some(now);
            self.last.retain(|_, at| now.saturating_duration_since(*at) < KEPT);
        }
        if self.last.len() < MOST {
            self.last.insert(from, now);
        } else {
            self.blind_until = Some(now + KEPT);
        }
    }

    /// Returns whether something may have come from there lately.
    pub(crate) fn may_have(&self, now: Instant, from: SocketAddr) -> bool {
        let lately = |at: &Instant| now.saturating_duration_since(*at) < KEPT;
        self.blind_until.is_some_and(|until| now < until) || self.last.get(&from).is_some_and(lately)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16, host: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, host], port))
    }

    #[test]
    fn an_address_is_remembered_for_five_minutes_after_it_was_heard_last() {
        let start = Instant::now();
        let mut heard = Heard::new();
        heard.note(start, at(4000, 1));
        heard.note(start + KEPT / 2, at(4000, 1));
        assert!(!heard.may_have(start, at(4000, 2)) && !heard.may_have(start, at(4001, 1)));
        assert!(heard.may_have(start + KEPT, at(4000, 1)));
        assert!(!heard.may_have(start + KEPT / 2 + KEPT, at(4000, 1)));
    }

    #[test]
    fn more_than_can_be_remembered_make_it_say_yes_to_everybody_for_a_while() {
        let start = Instant::now();
        let mut heard = Heard::new();
        for number in 0..=MOST as u32 {
            heard.note(start, at(number as u16, (number >> 16) as u8));
        }
        assert!(heard.last.len() <= MOST && heard.may_have(start, at(9, 200)));
        // Who is known stays known, and old ones make room.
        let later = start + KEPT;
        assert!(!heard.may_have(later, at(9, 200)));
        heard.note(later, at(9, 200));
        assert!(heard.may_have(later, at(9, 200)) && heard.last.len() == 1);
    }
}
