//! Game datagrams that are longer than a way takes: split here, joined there.
//!
//! ```text
//! tag 2: channel 1 | message 2 | part 1 | parts 1 | content
//! ```
//! Each part is a sealed datagram of its own. A game datagram of which a part is lost is lost whole; nothing is repeated.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{CHANNELS, MAX_PAYLOAD, OVERHEAD};
use crate::wire::RELAY_HEADER;
use crate::wire::sizes::LEAST_DATAGRAM;

/// A part has so many bytes in front of its content, behind the tag.
pub(super) const PART_HEADER: usize = 1 + 2 + 1 + 1;
/// A game datagram has at most this many parts.
pub const MAX_PARTS: u8 = 4;
/// So many game datagrams may be there of which only some parts are here. Parts leave together, so there are more
/// only where many get lost or swapped.
const MAX_PENDING: usize = 32;
/// The missing parts of a game datagram are waited for so long: it may take two ways at once, and one may be a
/// satellite's.
const KEEP: Duration = Duration::from_secs(2);

// The longest game datagram fits the narrowest way.
const _: () =
    assert!(MAX_PAYLOAD <= (LEAST_DATAGRAM - RELAY_HEADER - OVERHEAD - PART_HEADER) * MAX_PARTS as usize);

/// This is one part of a game datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The game datagram has this channel.
    pub channel: u8,
    /// This numbers the game datagram, and is the same for all its parts; it comes again after 65,536 others.
    pub message: u16,
    /// This numbers the part, from 0.
    pub index: u8,
    /// There are this many parts, 2 to [`MAX_PARTS`].
    pub count: u8,
    /// The part has these bytes.
    pub content: &'a [u8],
}

impl<'a> Part<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.channel);
        out.extend_from_slice(&self.message.to_le_bytes());
        out.extend([self.index, self.count]);
        out.extend_from_slice(self.content);
    }

    /// Reads a part; `None`: this is no part.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[channel, low, high, index, count], content) = bytes.split_first_chunk::<PART_HEADER>()?;
        let valid = channel < CHANNELS && (2..=MAX_PARTS).contains(&count) && index < count;
        let message = u16::from_le_bytes([low, high]);
        (valid && !content.is_empty()).then_some(Self { channel, message, index, count, content })
    }
}

#[derive(Debug)]
struct Pending {
    channel: u8,
    message: u16,
    begun: Instant,
    parts: Vec<Option<Vec<u8>>>,
}

/// Joins the parts of one match's game datagrams. It holds 32 unfinished ones at the most, of [`MAX_PAYLOAD`] bytes each
/// (45 kB), whatever the other side sends; the oldest gives way.
#[derive(Debug, Default)]
pub struct Joiner {
    pending: VecDeque<Pending>,
}

impl Joiner {
    /// Takes a part. Returns the channel and the whole game datagram, if this was the last part missing.
    pub fn take(&mut self, now: Instant, part: &Part<'_>) -> Option<(u8, Vec<u8>)> {
        while self.pending.front().is_some_and(|oldest| oldest.begun + KEEP <= now) {
            self.pending.pop_front();
        }
        let count = usize::from(part.count);
        let known = self.pending.iter().position(|pending| pending.message == part.message);
        let at = known.unwrap_or_else(|| {
            if self.pending.len() >= MAX_PENDING {
                self.pending.pop_front();
            }
            let (channel, message) = (part.channel, part.message);
            self.pending.push_back(Pending { channel, message, begun: now, parts: vec![None; count] });
            self.pending.len() - 1
        });
        let pending = self.pending.get_mut(at)?;
        // No shipping player sends such, and no part twice.
        if pending.channel != part.channel || pending.parts.len() != count {
            return None;
        }
        let held: usize = pending.parts.iter().flatten().map(Vec::len).sum();
        let place = pending.parts.get_mut(usize::from(part.index)).filter(|place| place.is_none())?;
        if held + part.content.len() > MAX_PAYLOAD {
            self.pending.remove(at);
            return None;
        }
        *place = Some(part.content.to_vec());
        if pending.parts.iter().any(Option::is_none) {
            return None;
        }
        let whole = self.pending.remove(at)?;
        Some((whole.channel, whole.parts.into_iter().flatten().flatten().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(message: u16, index: u8, count: u8, content: &[u8]) -> Part<'_> {
        Part { channel: 3, message, index, count, content }
    }

    #[test]
    fn parts_are_joined_in_whatever_order_they_come() {
        let now = Instant::now();
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut joiner = Joiner::default();
            let contents: [&[u8]; 3] = [b"abc", b"def", b"g"];
            let joined: Vec<_> = order
                .iter()
                .filter_map(|index| joiner.take(now, &part(7, *index, 3, contents[usize::from(*index)])))
                .collect();
            assert_eq!(joined, [(3, b"abcdefg".to_vec())]);
            assert!(joiner.pending.is_empty());
        }
    }

    #[test]
    fn what_is_lost_in_part_is_lost_whole_and_forgotten_after_two_seconds() {
        let start = Instant::now();
        let mut joiner = Joiner::default();
        assert_eq!(joiner.take(start, &part(1, 0, 2, b"old")), None);
        // The number comes again.
        assert_eq!(joiner.take(start + KEEP, &part(1, 1, 2, b"new")), None);
        assert_eq!(joiner.pending.len(), 1);
        let whole = joiner.take(start + KEEP, &part(1, 0, 2, b"a "));
        assert_eq!(whole, Some((3, b"a new".to_vec())));
    }

    #[test]
    fn unfinished_ones_cost_a_bounded_amount_whatever_comes() {
        let now = Instant::now();
        let mut joiner = Joiner::default();
        let content = [0; MAX_PAYLOAD];
        let held = |joiner: &Joiner| -> usize {
            joiner.pending.iter().flat_map(|pending| pending.parts.iter().flatten()).map(Vec::len).sum()
        };
        for message in 0..2000 {
            for index in 0..3 {
                joiner.take(now, &part(message, index, 4, &content[..500]));
                assert!(held(&joiner) <= MAX_PENDING * MAX_PAYLOAD && joiner.pending.len() <= MAX_PENDING);
            }
        }
        // The newest are still there: a burst of lost parts costs others nothing.
        assert_eq!(joiner.take(now, &part(1999, 2, 4, b"x")), None, "1,500 bytes are none that was sent");
        joiner.take(now, &part(3000, 0, 2, b"x"));
        assert_eq!(joiner.take(now, &part(3000, 1, 2, b"y")), Some((3, b"xy".to_vec())));
    }

    #[test]
    fn contradictions_are_dropped() {
        let now = Instant::now();
        let mut joiner = Joiner::default();
        joiner.take(now, &part(1, 0, 2, b"a"));
        assert_eq!(joiner.take(now, &part(1, 1, 3, b"b")), None, "another count");
        assert_eq!(joiner.take(now, &Part { channel: 4, ..part(1, 1, 2, b"b") }), None, "another channel");
        assert_eq!(joiner.take(now, &part(1, 0, 2, b"b")), None, "the same part again");
        assert_eq!(joiner.take(now, &part(1, 1, 2, b"b")), Some((3, b"ab".to_vec())));
    }
}
