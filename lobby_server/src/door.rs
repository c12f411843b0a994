//! Newcomers wait at the door while those who are inside are served.
//!
//! A login costs as much as twenty keepalives. Where more of them come than can be served, they must not take the place of
//! what players say who are logged in already: a driver gives their datagrams to the core at once, and hellos and inits to
//! the [`Door`]; it takes one out when nothing else is there to be read. Inits come first, since each has a cookie that was
//! given to it, with some hellos between them, which cost little. When the inits have to wait, further hellos are told to
//! come back later, each at another time.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use traversal_core::wire::Kind;
use traversal_core::wire::handshake::MOST_BUSY_S;

use crate::server::ServerSocketId;

/// So many of each kind may wait: 2.5 MB, and a second's work. Of hellos that are too many the oldest goes, whose player has
/// sent another since; of inits the newest, which will be sent again.
const PLACES: usize = 2048;
/// A hello, or an init, that has waited for so long is of no use: another one has come since, perhaps by another way.
const HELLO_LIFETIME: Duration = Duration::from_secs(1);
const INIT_LIFETIME: Duration = Duration::from_secs(3);
/// The door is busy when so many inits wait, or one for so long; that is some 100 ms of work in either case, and a player
/// sends its init again after 250 ms or more.
const BUSY: usize = 256;
const BUSY_WAIT: Duration = Duration::from_millis(100);
/// So many hellos are served between two inits: together they cost about as much as one of those.
const HELLOS_BETWEEN: u32 = 8;
/// A server that is counted as slower than this many logins a second has not been busy for long enough to tell.
const LEAST_RATE: u32 = 100;

/// This is a datagram of somebody who is not logged in yet.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// The datagram came in then.
    pub since: Instant,
    /// The datagram came in by this socket.
    pub socket: ServerSocketId,
    /// The datagram was sent to this address, where the socket is bound to all.
    pub asked: Option<IpAddr>,
    /// The datagram came from there.
    pub from: SocketAddr,
    /// This is the datagram.
    pub datagram: Vec<u8>,
}

/// This is what a newcomer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The core is to handle its datagram.
    Serve,
    /// It is to be told to come back ([`Server::turn_away`](crate::Server::turn_away)).
    ComeBack {
        /// The player is to try again after this many seconds, 1 to 30.
        again_s: u8,
    },
}

/// This is the door; see the module.
#[derive(Debug)]
pub struct Door {
    inits: VecDeque<Newcomer>,
    hellos: VecDeque<Newcomer>,
    hellos_since_init: u32,
    second: Second,
    /// The numbers of the last whole second.
    last: Second,
    turned_away: u64,
    left_out: u64,
}

/// What came and was served in a second.
#[derive(Clone, Copy, Debug)]
struct Second {
    since: Instant,
    hellos: u32,
    inits: u32,
}

impl Second {
    fn new(since: Instant) -> Self {
        Self { since, hellos: 0, inits: 0 }
    }
}

impl Door {
    /// Makes a door with nobody before it.
    pub fn new(now: Instant) -> Self {
        Self {
            inits: VecDeque::new(),
            hellos: VecDeque::new(),
            hellos_since_init: 0,
            second: Second::new(now),
            last: Second::new(now),
            turned_away: 0,
            left_out: 0,
        }
    }

    /// Returns whether a datagram is a newcomer's.
    pub fn is_for(datagram: &[u8]) -> bool {
        matches!(Kind::of(datagram), Some(Kind::Hello | Kind::Init))
    }

    /// Returns whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.inits.is_empty() && self.hellos.is_empty()
    }

    /// Returns how many were left out since this was asked last, for want of place or of time.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// Somebody comes.
    pub fn come(&mut self, newcomer: Newcomer) {
        if Kind::of(&newcomer.datagram) == Some(Kind::Hello) {
            self.turn_second(newcomer.since);
            self.second.hellos = self.second.hellos.saturating_add(1);
            if self.hellos.len() >= PLACES {
                self.hellos.pop_front();
                self.left_out += 1;
            }
            self.hellos.push_back(newcomer);
        } else if self.inits.len() < PLACES {
            self.inits.push_back(newcomer);
        } else {
            self.left_out += 1;
        }
    }

    fn turn_second(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.second.since);
        if passed >= Duration::from_secs(1) {
            // Of a second that is long over nothing is known.
            self.last = if passed < Duration::from_secs(2) { self.second } else { Second::new(now) };
            self.second = Second::new(now);
        }
    }

    /// Returns who is next, and what is to be done.
    pub fn next(&mut self, now: Instant) -> Option<(Newcomer, Answer)> {
        self.drop_old(now);
        if !self.hellos.is_empty() && (self.inits.is_empty() || self.hellos_since_init < HELLOS_BETWEEN) {
            self.hellos_since_init += 1;
            let hello = self.hellos.pop_front()?;
            let answer =
                if self.is_busy(now) { Answer::ComeBack { again_s: self.again() } } else { Answer::Serve };
            return Some((hello, answer));
        }
        let init = self.inits.pop_front()?;
        self.hellos_since_init = 0;
        self.turn_second(now);
        self.second.inits = self.second.inits.saturating_add(1);
        Some((init, Answer::Serve))
    }

    fn drop_old(&mut self, now: Instant) {
        for (queue, lifetime) in [(&mut self.inits, INIT_LIFETIME), (&mut self.hellos, HELLO_LIFETIME)] {
            while queue.front().is_some_and(|first| now.saturating_duration_since(first.since) >= lifetime) {
                queue.pop_front();
                self.left_out += 1;
            }
        }
    }

    fn is_busy(&self, now: Instant) -> bool {
        let waits = |first: &Newcomer| now.saturating_duration_since(first.since) >= BUSY_WAIT;
        self.inits.len() >= BUSY || self.inits.front().is_some_and(waits)
    }

    /// Returns after how many seconds the next one who is turned away is to come back: as many are told each number of
    /// seconds as can be served in one.
    fn again(&mut self) -> u8 {
        let hellos = self.second.hellos.max(self.last.hellos);
        let served = self.second.inits.max(self.last.inits).max(LEAST_RATE);
        let seconds = hellos.div_ceil(served).clamp(1, MOST_BUSY_S.into());
        self.turned_away += 1;
        // Not zero, and the longest first: who is told 1 comes back into the same crowd.
        (u64::from(seconds) - self.turned_away % u64::from(seconds)).clamp(1, MOST_BUSY_S.into()) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomer(since: Instant, kind: Kind, number: u16) -> Newcomer {
        let from = SocketAddr::from(([203, 0, 113, 1], number + 1));
        Newcomer { since, socket: ServerSocketId(0), asked: None, from, datagram: vec![kind as u8; 1200] }
    }

    #[test]
    fn only_newcomers_wait_at_the_door() {
        for kind in [Kind::Hello, Kind::Init] {
            assert!(Door::is_for(&[kind as u8]));
        }
        for kind in [Kind::Control, Kind::Probe, Kind::Relay] {
            assert!(!Door::is_for(&[kind as u8]));
        }
        assert!(!Door::is_for(&[]));
    }

    #[test]
    fn who_has_a_cookie_goes_first_and_hellos_are_not_starved() {
        let now = Instant::now();
        let mut door = Door::new(now);
        (0..3).for_each(|number| door.come(newcomer(now, Kind::Init, number)));
        (0..100).for_each(|number| door.come(newcomer(now, Kind::Hello, number)));
        let kinds: Vec<Option<Kind>> = std::iter::from_fn(|| door.next(now))
            .map(|(newcomer, answer)| {
                assert_eq!(answer, Answer::Serve);
                Kind::of(&newcomer.datagram)
            })
            .collect();
        assert_eq!(kinds.len(), 103);
        let last_init = kinds.iter().rposition(|kind| *kind == Some(Kind::Init));
        assert_eq!(last_init, Some(3 * HELLOS_BETWEEN as usize + 2));
        assert!(door.is_empty());
    }

    #[test]
    fn a_crowd_is_told_to_come_back_at_times_that_spread_it() {
        let now = Instant::now();
        let mut door = Door::new(now);
        (0..BUSY as u16).for_each(|number| door.come(newcomer(now, Kind::Init, number)));
        (0..1000).for_each(|number| door.come(newcomer(now, Kind::Hello, number)));
        let mut told = [0u32; MOST_BUSY_S as usize + 1];
        // As long as nobody is let in: hellos between inits only.
        while let Some((newcomer, answer)) = door.next(now) {
            if Kind::of(&newcomer.datagram) == Some(Kind::Init) {
                door.come(newcomer);
            } else if let Answer::ComeBack { again_s } = answer {
                told[usize::from(again_s)] += 1;
            }
            if door.hellos.is_empty() {
                break;
            }
        }
        assert_eq!(told.iter().sum::<u32>(), 1000);
        let seconds = told.iter().filter(|count| **count > 0).count();
        assert!((3..=10).contains(&seconds), "1,000 at 100 to 256 a second: {told:?}");
        assert!(told.iter().all(|count| *count <= 400), "{told:?}");
        assert_eq!(told[0], 0);
    }

    #[test]
    fn places_and_times_are_bounded_and_what_is_left_out_is_counted() {
        let now = Instant::now();
        let mut door = Door::new(now);
        (0..5000).for_each(|number| {
            door.come(newcomer(now, Kind::Init, number));
            door.come(newcomer(now, Kind::Hello, number));
        });
        assert_eq!((door.inits.len(), door.hellos.len()), (PLACES, PLACES));
        assert_eq!(door.take_left_out(), 2 * (5000 - PLACES as u64));
        // The newest hellos and the oldest inits stay.
        assert_eq!(door.hellos.back().unwrap().from.port(), 5000);
        assert_eq!(door.inits.front().unwrap().from.port(), 1);
        assert!(door.next(now + INIT_LIFETIME).is_none());
        assert_eq!(door.take_left_out(), 2 * PLACES as u64);
    }

    #[test]
    fn a_door_that_waits_long_is_busy_and_a_quick_one_is_not() {
        let now = Instant::now();
        let mut door = Door::new(now);
        door.come(newcomer(now, Kind::Init, 1));
        door.come(newcomer(now, Kind::Hello, 2));
        let (_, answer) = door.next(now + BUSY_WAIT).unwrap();
        assert_eq!(answer, Answer::ComeBack { again_s: 1 });
        door.come(newcomer(now, Kind::Hello, 3));
        let (_, answer) = door.next(now + BUSY_WAIT / 2).unwrap();
        assert_eq!(answer, Answer::Serve);
    }
}
