//! The relay: a lean forwarder of sealed datagrams between two matched players, on the sockets that they talk to
//! the server through anyway.
//!
//! ```text
//! kind 1 | token 15 | a datagram of the match, sealed by the players
//! ```
//! Each side has a token of its own, drawn for the match: it stands in front of what that side sends, and of what
//! comes to it. The server reads no more than the kind and the match of what it carries.
//!
//! What all together may send is shared: first among the customers of networks that send, then among the lanes of each.
//! Nobody is slower than its share because of the others; what some leave over is for whoever comes first. Where the
//! shares would become too small to play, no further match gets the relay.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::RngCore;
use serde::{Deserialize, Serialize};
use traversal_core::id::{MatchId, PlayerId};
use traversal_core::wire::message::RelayGrant;
use traversal_core::wire::{Kind, RELAY_HEADER};

use crate::limits::{Bucket, Prefix, Rate, widest};

/// A token has so many bytes.
const TOKEN: usize = RELAY_HEADER - 1;

type Token = [u8; TOKEN];

/// This says whether players of a game may play over this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayMode {
    /// Players play over the server while, and where, they have no direct path.
    #[default]
    Allow,
    /// Players always play over the server: no address of a player leaves it.
    Only,
    /// Players never play over the server.
    Never,
}

/// The shares are worked out anew so often.
const SHARING: Duration = Duration::from_secs(1);
/// A customer of whom nothing came for so long shares no more.
const SHARES_FOR: Duration = Duration::from_secs(10);
/// So much of its share a lane may send at once, in seconds.
const SHARE_BURST: f64 = 0.5;
/// A game can be played with so many bytes per second: 20 packets a second of 400 bytes, each with its headers.
const PLAYABLE: f64 = 8_000.0;

/// This says what the relay may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayLimits {
    /// Each side of a pair may send so many bytes.
    pub(crate) side: Rate,
    /// All together may send so many bytes.
    pub(crate) total: Rate,
    /// One match may use it for so long.
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
    shares: [Share; 2],
    until: Instant,
}

/// This is a lane's part of what all may send.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// It may send these bytes, the others notwithstanding.
    bucket: Bucket,
    /// So many bytes per second fill it.
    per_second: f64,
    /// This says who sent, and when it last did.
    from: Option<(Prefix, Instant)>,
}

impl Share {
    fn rate(&self) -> Rate {
        Rate::new(self.per_second, self.per_second * SHARE_BURST)
    }
}

/// These are all allocations of this node.
#[derive(Debug)]
pub(crate) struct Relay {
    limits: RelayLimits,
    tokens: BTreeMap<Token, (MatchId, usize)>,
    allocations: BTreeMap<MatchId, Allocation>,
    total: Bucket,
    /// This says when the shares were worked out, and how many lanes had one.
    shared: Instant,
    sending: usize,
}

impl Relay {
    pub(crate) fn new(limits: RelayLimits, now: Instant) -> Self {
        Self {
            limits,
            tokens: BTreeMap::new(),
            allocations: BTreeMap::new(),
            total: Bucket::full(limits.total, now),
            shared: now,
            sending: 0,
        }
    }

    /// Takes other limits. What runs keeps its end, and shares the new total from the next sharing on.
    pub(crate) fn set_limits(&mut self, limits: RelayLimits) {
        self.limits = limits;
    }

    /// Returns whether one more match may use it: the shares of those that send stay large enough to play.
    pub(crate) fn has_room(&mut self, now: Instant) -> bool {
        self.share(now);
        (self.sending + 2) as f64 * PLAYABLE <= self.limits.total.per_second
    }

    pub(crate) fn len(&self) -> usize {
        self.allocations.len()
    }

    /// Lets both sides of a match use the relay.
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
        let share = Share { bucket: Bucket::of_any_rate(now), per_second: 0.0, from: None };
        let allocation = Allocation { tokens, players, buckets: [bucket; 2], shares: [share; 2], until };
        self.allocations.insert(match_id, allocation);
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

    /// Returns whether so many bytes from this address are within all limits; they are counted if so.
    pub(crate) fn charge(&mut self, now: Instant, lane: &Lane, from: IpAddr, bytes: usize) -> bool {
        self.charge_at(now, lane, (from, self.limits.side), bytes)
    }

    /// Does the same where the budget is used up: each side may send no more than a game needs.
    pub(crate) fn charge_slowly(&mut self, now: Instant, lane: &Lane, from: IpAddr, bytes: usize) -> bool {
        let Rate { per_second, burst } = self.limits.side;
        self.charge_at(now, lane, (from, Rate::new(per_second.min(PLAYABLE), burst.min(PLAYABLE))), bytes)
    }

    fn charge_at(&mut self, now: Instant, lane: &Lane, (from, side): (IpAddr, Rate), bytes: usize) -> bool {
        let Some(allocation) = self.allocations.get_mut(&lane.match_id) else { return false };
        let customer = widest(from);
        let known = allocation.shares[lane.side].from.replace((customer, now));
        if known.is_some_and(|(known, _)| known == customer) {
            self.share(now);
        } else {
            // One more sends: the others' shares are smaller from now on.
            self.share_anew(now);
        }
        let Some(allocation) = self.allocations.get_mut(&lane.match_id) else { return false };
        let cost = bytes as f64;
        let total = self.limits.total;
        let share = &mut allocation.shares[lane.side];
        let left = self.total.left(total, now);
        let (own, own_rate) = (share.bucket.left(share.rate(), now) >= cost, share.rate());
        // Half of what is left at once is kept for those within their shares.
        if left < cost || !(own || left - cost >= total.burst / 2.0) {
            return false;
        }
        if !allocation.buckets[lane.side].take_many(side, now, cost) {
            return false;
        }
        if own {
            share.bucket.take_many(own_rate, now, cost);
        }
        self.total.take_many(total, now, cost)
    }

    /// Works the shares out anew, once a second.
    fn share(&mut self, now: Instant) {
        if now.saturating_duration_since(self.shared) >= SHARING {
            self.share_anew(now);
        }
    }

    fn share_anew(&mut self, now: Instant) {
        self.shared = now;
        // Its lanes, and whether anything came over one of them.
        let mut customers: BTreeMap<Prefix, (usize, bool)> = BTreeMap::new();
        let shares = self.allocations.values().flat_map(|allocation| &allocation.shares);
        let age = |at| now.saturating_duration_since(at);
        self.sending =
            shares.clone().filter(|share| share.from.is_some_and(|(_, at)| age(at) <= SHARING)).count();
        for (customer, at) in shares.filter_map(|share| share.from) {
            let (lanes, active) = customers.entry(customer).or_default();
            *lanes += 1;
            *active |= age(at) <= SHARES_FOR;
        }
        let active = customers.values().filter(|(_, active)| *active).count();
        for share in self.allocations.values_mut().flat_map(|allocation| &mut allocation.shares) {
            let Some((lanes, shares)) = share.from.and_then(|(customer, _)| customers.get(&customer)) else {
                continue;
            };
            // One that was silent for long is one more when it begins again.
            let customers = active + usize::from(!shares);
            share.per_second = self.limits.total.per_second / *lanes as f64 / customers as f64;
        }
    }
}

/// Returns what the receiver gets.
pub(crate) fn forwarded(lane: &Lane, datagram: &[u8]) -> Vec<u8> {
    let mut out = datagram.to_vec();
    out[1..RELAY_HEADER].copy_from_slice(&lane.token);
    out
}
