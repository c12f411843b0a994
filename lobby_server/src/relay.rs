//! The relay: a lean forwarder of sealed datagrams between two matched players, on the sockets that they talk to
//! the server through anyway.
//!
//! ```text
//! kind 1 | token 15 | a datagram of the match, sealed by the players
//! ```
//! Each side has a token of its own, drawn for the match: it stands in front of what that side sends, and of what
//! comes to it. The server reads no more than the kind and the match of what it carries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::RngCore;
use serde::{Deserialize, Serialize};
use traversal_core::id::{MatchId, PlayerId};
use traversal_core::wire::message::RelayGrant;
use traversal_core::wire::{Kind, RELAY_HEADER};

use crate::limits::{Bucket, Rate};

/// Length of a token.
const TOKEN: usize = RELAY_HEADER - 1;

type Token = [u8; TOKEN];

/// Whether players of a game may play over this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayMode {
    /// While and where there is no direct path.
    #[default]
    Allow,
    /// Always: no address of a player leaves the server.
    Only,
    /// Never.
    Never,
}

/// What the relay may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayLimits {
    /// Bytes of each side of a pair.
    pub(crate) side: Rate,
    /// Bytes of all together.
    pub(crate) total: Rate,
    /// How long one match may use it.
    pub(crate) lifetime: Duration,
}

/// One direction of a match, found by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) match_id: MatchId,
    side: usize,
    pub(crate) from: PlayerId,
    pub(crate) to: PlayerId,
    /// Goes in front of what the receiver gets.
    pub(crate) token: Token,
}

#[derive(Debug)]
struct Allocation {
    tokens: [Token; 2],
    players: [PlayerId; 2],
    buckets: [Bucket; 2],
    until: Instant,
}

/// All allocations of this node.
#[derive(Debug)]
pub(crate) struct Relay {
    limits: RelayLimits,
    tokens: BTreeMap<Token, (MatchId, usize)>,
    allocations: BTreeMap<MatchId, Allocation>,
    total: Bucket,
}

impl Relay {
    pub(crate) fn new(limits: RelayLimits, now: Instant) -> Self {
        Self {
            limits,
            tokens: BTreeMap::new(),
            allocations: BTreeMap::new(),
            total: Bucket::full(limits.total, now),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.allocations.len()
    }

    /// Leave for both sides of a match.
    pub(crate) fn grant(
        &mut self,
        now: Instant,
        match_id: MatchId,
        players: [PlayerId; 2],
        rng: &mut ChaCha20Rng,
    ) -> [RelayGrant; 2] {
        let tokens = [0, 1].map(|side| {
            let mut token = [0; TOKEN];
            rng.fill_bytes(&mut token);
            self.tokens.insert(token, (match_id, side));
            token
        });
        let bucket = Bucket::full(self.limits.side, now);
        let until = now + self.limits.lifetime;
        self.allocations.insert(match_id, Allocation { tokens, players, buckets: [bucket; 2], until });
        tokens.map(|token| RelayGrant {
            token,
            bytes_per_second: self.limits.side.per_second as u32,
            lifetime_s: u32::try_from(self.limits.lifetime.as_secs()).unwrap_or(u32::MAX),
        })
    }

    /// The match is over.
    pub(crate) fn end(&mut self, match_id: MatchId) {
        if let Some(allocation) = self.allocations.remove(&match_id) {
            for token in allocation.tokens {
                self.tokens.remove(&token);
            }
        }
    }

    /// Whose datagram this is, and for whom. What is carried must be of the match.
    pub(crate) fn find(&self, now: Instant, datagram: &[u8]) -> Option<Lane> {
        let (header, carried) = datagram.split_first_chunk::<RELAY_HEADER>()?;
        let token: &Token = header[1..].try_into().ok()?;
        let (match_id, side) = *self.tokens.get(token)?;
        let allocation = self.allocations.get(&match_id).filter(|allocation| now < allocation.until)?;
        let named = carried.get(1..9)?;
        if Kind::of(carried) != Some(Kind::Pair) || named != match_id.0.to_le_bytes() {
            return None;
        }
        Some(Lane {
            match_id,
            side,
            from: allocation.players[side],
            to: allocation.players[1 - side],
            token: allocation.tokens[1 - side],
        })
    }

    /// Whether so many bytes are within all limits; they are counted if so.
    pub(crate) fn charge(&mut self, now: Instant, lane: &Lane, bytes: usize) -> bool {
        let Some(allocation) = self.allocations.get_mut(&lane.match_id) else { return false };
        let cost = bytes as f64;
        let (side, total) = (self.limits.side, self.limits.total);
        allocation.buckets[lane.side].take_many(side, now, cost) && self.total.take_many(total, now, cost)
    }
}

/// What the receiver gets.
pub(crate) fn forwarded(lane: &Lane, datagram: &[u8]) -> Vec<u8> {
    let mut out = datagram.to_vec();
    out[1..RELAY_HEADER].copy_from_slice(&lane.token);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    const A: PlayerId = PlayerId([1; 16]);
    const B: PlayerId = PlayerId([2; 16]);
    const M: MatchId = MatchId(0x0102_0304_0506_0708);

    fn relay(now: Instant) -> (Relay, [RelayGrant; 2]) {
        let limits = RelayLimits {
            side: Rate::new(1000.0, 2000.0),
            total: Rate::new(10_000.0, 2500.0),
            lifetime: Duration::from_secs(60),
        };
        let mut relay = Relay::new(limits, now);
        let grants = relay.grant(now, M, [A, B], &mut ChaCha20Rng::from_seed([1; 32]));
        (relay, grants)
    }

    fn datagram(token: &Token, match_id: MatchId, content: usize) -> Vec<u8> {
        let mut out = vec![Kind::Relay as u8];
        out.extend_from_slice(token);
        out.push(Kind::Pair as u8);
        out.extend_from_slice(&match_id.0.to_le_bytes());
        out.resize(out.len() + content, 7);
        out
    }

    #[test]
    fn each_token_leads_to_the_other_side_and_is_swapped_for_the_receivers() {
        let now = Instant::now();
        let (relay, [a, b]) = relay(now);
        assert_ne!(a.token, b.token);
        let sent = datagram(&a.token, M, 20);
        let lane = relay.find(now, &sent).expect("a lane");
        assert_eq!((lane.from, lane.to), (A, B));
        let received = forwarded(&lane, &sent);
        assert_eq!(received, datagram(&b.token, M, 20));
        assert!(relay.find(now, &datagram(&b.token, M, 0)).is_some_and(|lane| lane.to == A));
    }

    #[test]
    fn what_is_not_of_the_match_is_not_carried() {
        let now = Instant::now();
        let (mut relay, [a, _]) = relay(now);
        assert_eq!(relay.find(now, &datagram(&[0; TOKEN], M, 20)), None, "guessed");
        assert_eq!(relay.find(now, &datagram(&a.token, MatchId(9), 20)), None, "another match");
        let mut other = datagram(&a.token, M, 20);
        other[RELAY_HEADER] = b'x';
        assert_eq!(relay.find(now, &other), None, "something else");
        let whole = datagram(&a.token, M, 0);
        for end in 0..whole.len() {
            assert_eq!(relay.find(now, &whole[..end]), None, "cut at {end}");
        }
        assert_eq!(relay.find(now + Duration::from_secs(60), &whole), None, "too late");
        relay.end(M);
        assert_eq!(relay.find(now, &whole), None, "over");
        assert_eq!((relay.len(), relay.tokens.len()), (0, 0));
    }

    #[test]
    fn a_side_and_the_whole_server_have_a_quota() {
        let now = Instant::now();
        let (mut relay, grants) = relay(now);
        let lanes = grants.map(|grant| relay.find(now, &datagram(&grant.token, M, 0)).unwrap());
        assert!(relay.charge(now, &lanes[0], 2000));
        assert!(!relay.charge(now, &lanes[0], 1), "this side's is used up");
        assert!(relay.charge(now, &lanes[1], 400));
        assert!(!relay.charge(now, &lanes[1], 400), "the server's is used up");
        assert!(relay.charge(now + Duration::from_secs(1), &lanes[0], 1000));
    }
}
