//! What one player sees of rooms.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use traversal_core::nat::{Confidence, NatProfile};
use traversal_core::plan::expected_way;
use traversal_core::text::fold;
use traversal_core::wire::message::{
    ExpectedWay, MAX_LISTED_METADATA, MAX_NAMED_METADATA, RoomQuery, RoomSummary,
};

use super::catalogue::Entry;
use crate::limits::{Prefix, widest};
use crate::registry::Shown;

/// The NAT that counts for an address does not change for so long, see [`Views`].
const SETTLED: Duration = Duration::from_secs(600);
/// So many addresses are remembered.
const MAX_VIEWS: usize = 16_384;
/// Round trips are told in steps of so many milliseconds.
const RTT_STEP: u64 = 10;

/// Returns a round trip as others are told it: in whole steps, rounded up.
pub(crate) fn told_rtt(rtt: Duration) -> u16 {
    let steps = (rtt.as_millis() as u64).div_ceil(RTT_STEP).max(1);
    u16::try_from(steps.saturating_mul(RTT_STEP)).unwrap_or(u16::MAX)
}

/// Returns how many bytes a room takes in a message, at the most.
pub(crate) fn row_bytes(room: &RoomSummary) -> usize {
    let metadata: usize = room.metadata.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
    room.name.len() + room.code.len() + room.host_name.len() + room.region.len() + metadata + 48
}

/// Returns as much of what a room says of itself as a listing shows: what was asked for, or else of the metadata.
fn shown_metadata(shown: &Shown, keys: &[String]) -> BTreeMap<String, String> {
    let named = keys.iter().filter_map(|key| Some((key, shown.value(key)?)));
    let (said, mut left): (Vec<_>, _) = if keys.is_empty() {
        (shown.summary.metadata.iter().collect(), MAX_LISTED_METADATA)
    } else {
        (named.collect(), MAX_NAMED_METADATA)
    };
    let mut shown = BTreeMap::new();
    for (key, value) in said {
        if let Some(rest) = left.checked_sub(key.len() + value.len()) {
            left = rest;
            shown.insert(key.clone(), value.clone());
        }
    }
    shown
}

/// This is the player who asks, as the server knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Viewer {
    /// This is its NAT; none: too little is known of it.
    pub(crate) nat: Option<NatProfile>,
    /// The NAT is one of IPv6.
    pub(crate) v6: bool,
    /// It plays over the relay alone.
    pub(crate) relay_only: bool,
    /// The server passes packets on for its game.
    pub(crate) relay: bool,
    /// This is its round trip to the server.
    pub(crate) rtt: Option<Duration>,
    /// The game speaks this protocol.
    pub(crate) protocol: u32,
    /// Its server is in this region.
    pub(crate) region: String,
    /// This is the time in seconds since 1970.
    pub(crate) now_s: u64,
}

impl Viewer {
    /// Returns how this player is expected to reach the room's host.
    fn way(&self, entry: &Entry) -> ExpectedWay {
        let (Some(own), Some(host)) = (self.nat, entry.shown.host) else { return ExpectedWay::Unknown };
        let without = if self.relay { ExpectedWay::Relay } else { ExpectedWay::Unreachable };
        if self.relay_only || host.relay_only {
            without
        } else if own.udp_blocked || host.nat.udp_blocked || self.v6 == host.v6 {
            expected_way(&own, &host.nat, self.relay)
        } else {
            // What is known is about NATs of two families.
            ExpectedWay::Unknown
        }
    }

    /// Returns the room as this player is told of it, which wants to know of these keys.
    pub(crate) fn sees(&self, entry: &Entry, keys: &[String]) -> RoomSummary {
        let room = &entry.shown.summary;
        let near = room.region == self.region;
        let rtt = self.rtt.map(told_rtt).zip(room.rtt_ms.filter(|_| near));
        RoomSummary {
            name: room.name.clone(),
            code: room.code.clone(),
            host_name: room.host_name.clone(),
            region: room.region.clone(),
            metadata: shown_metadata(&entry.shown, keys),
            age_s: u32::try_from(self.now_s.saturating_sub(entry.shown.opened_s)).unwrap_or(u32::MAX),
            rtt_ms: rtt.map(|(own, host)| own.saturating_add(host)),
            way: self.way(entry),
            ..*room
        }
    }
}

/// This is a query, with its text as it is searched for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    query: &'a RoomQuery,
    text: String,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(query: &'a RoomQuery) -> Self {
        Self { query, text: fold(&query.text) }
    }

    /// Returns whether a room passes all conditions.
    pub(crate) fn has(&self, viewer: &Viewer, entry: &Entry) -> bool {
        let (room, value) = (&entry.shown.summary, |key: &str| entry.shown.value(key));
        let contains = || entry.text.contains(&self.text);
        self.query.passes_by(room, viewer.protocol, value, contains, || viewer.way(entry))
    }
}

/// These are the NATs by which players are told how they are expected to reach hosts: one for each address, for some minutes.
/// A stranger cannot find out a host's NAT by saying that it has one NAT after the other: all who ask from one address are told
/// by the one that was said there first.
#[derive(Debug, Default)]
pub(crate) struct Views {
    seen: BTreeMap<Prefix, (NatProfile, Instant)>,
}

impl Views {
    /// Returns the NAT that counts for a player at this address, who says that it has this one. None: too little is known.
    pub(crate) fn nat(&mut self, now: Instant, ip: IpAddr, said: NatProfile) -> Option<NatProfile> {
        // Known and blocked alike, it is one that was measured, or is told by the way that the player came.
        if said.confidence == Confidence::Unknown && !said.udp_blocked && !said.mapped {
            return None;
        }
        let key = widest(ip);
        let settled = |since: Instant| now.saturating_duration_since(since) < SETTLED;
        if let Some((known, _)) = self.seen.get(&key).filter(|(_, since)| settled(*since)) {
            return Some(*known);
        }
        if self.seen.len() >= MAX_VIEWS {
            self.seen.retain(|_, (_, since)| settled(*since));
            if self.seen.len() >= MAX_VIEWS {
                return None;
            }
        }
        self.seen.insert(key, (said, now));
        Some(said)
    }
}
