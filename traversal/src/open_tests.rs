//! Tests that are on their way, and the tags that they are told by.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::method::Method;
use crate::way::Way;

/// Tests that are remembered: more than any attempt sends.
pub(crate) const MAX_OPEN_TESTS: usize = 4096;

/// This says which way a test went, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenTest {
    pub(crate) way: Way,
    pub(crate) method: Method,
    pub(crate) sent: Instant,
    /// This is its length, if it is to show that such pass.
    pub(crate) probe: Option<usize>,
}

/// These are the tests of one match.
///
/// Their tags cannot be guessed: whoever confirms one has received it, so a player who forges its source cannot have a
/// stranger's address taken for a way to itself.
#[derive(Debug)]
pub(crate) struct OpenTests {
    tags: ChaCha20Rng,
    by_tag: BTreeMap<u32, OpenTest>,
    /// Tags as they were given out, the confirmed ones among them.
    order: VecDeque<u32>,
}

impl OpenTests {
    /// No tests are on their way at first. The seed is for tags that nobody can guess.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { tags: ChaCha20Rng::from_seed(seed), by_tag: BTreeMap::new(), order: VecDeque::new() }
    }

    /// Notes a test that leaves now, and gives it a tag.
    pub(crate) fn open(&mut self, test: OpenTest) -> u32 {
        let mut tag = self.tags.next_u32();
        // Of four thousand million hardly any is taken.
        while self.by_tag.contains_key(&tag) {
            tag = self.tags.next_u32();
        }
        self.by_tag.insert(tag, test);
        self.order.push_back(tag);
        if self.order.len() > MAX_OPEN_TESTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_tag.remove(&oldest);
        }
        tag
    }

    /// Returns the test of this tag, which is never asked for again.
    pub(crate) fn close(&mut self, tag: u32) -> Option<OpenTest> {
        self.by_tag.remove(&tag)
    }

    /// Returns the newest of the tests that went this way.
    pub(crate) fn newest(&self, way: Way) -> Option<&OpenTest> {
        let of_tag = |tag| self.by_tag.get(tag);
        self.order.iter().rev().filter_map(of_tag).find(|test| test.way == way)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::api::SocketId;

    fn test(port: u16, sent: Instant) -> OpenTest {
        let remote = SocketAddr::from(([192, 0, 2, 1], port));
        OpenTest { way: Way::new(SocketId::MAIN, remote), method: Method::Cone, sent, probe: None }
    }

    #[test]
    fn a_tag_serves_once_and_the_oldest_ones_go_first() {
        let now = Instant::now();
        let mut tests = OpenTests::new([1; 32]);
        let tags: Vec<u32> = (0..MAX_OPEN_TESTS as u16 + 10).map(|n| tests.open(test(n, now))).collect();
        assert!(tests.close(tags[9]).is_none(), "forgotten");
        assert_eq!(tests.close(tags[10]).map(|test| test.way.remote.port()), Some(10));
        assert!(tests.close(tags[10]).is_none(), "once");
        assert!(tests.by_tag.len() < MAX_OPEN_TESTS && tests.order.len() <= MAX_OPEN_TESTS);
    }

    #[test]
    fn tags_do_not_follow_from_each_other() {
        let now = Instant::now();
        let mut tests = OpenTests::new([2; 32]);
        let tags: Vec<u32> = (0..1000).map(|n| tests.open(test(n, now))).collect();
        let mut gaps: Vec<u32> = tags.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        gaps.sort_unstable();
        gaps.dedup();
        assert!(gaps.len() > 990, "{} different gaps of 999", gaps.len());
        let mut other = OpenTests::new([3; 32]);
        assert_ne!(other.open(test(0, now)), tags[0], "another seed, other tags");
    }

    #[test]
    fn the_newest_of_a_way_is_found() {
        let now = Instant::now();
        let mut tests = OpenTests::new([4; 32]);
        tests.open(test(7, now));
        let later = now + std::time::Duration::from_millis(5);
        let tag = tests.open(test(7, later));
        let remote = SocketAddr::from(([192, 0, 2, 1], 7));
        assert_eq!(tests.newest(Way::new(SocketId::MAIN, remote)).map(|test| test.sent), Some(later));
        tests.close(tag);
        assert_eq!(tests.newest(Way::new(SocketId::MAIN, remote)).map(|test| test.sent), Some(now));
        assert!(tests.newest(Way::new(SocketId::MAIN_V6, remote)).is_none());
    }
}
