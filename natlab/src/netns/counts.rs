//! What the router in the middle has seen: the programs' own counts are checked against it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Duration;

use serde::Serialize;

use super::ipv4::{Ipv4, Kind, Protocol};

/// A run of more seconds is not plotted further.
const MAX_SECONDS: usize = 3600;
/// More endpoints than one address has ports cannot be.
const MAX_ENDPOINTS: usize = 1 << 18;

/// It counts the packets in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Direction {
    /// This many were UDP datagrams.
    pub udp: u64,
    /// This many were TCP segments.
    pub tcp: u64,
    /// This many were ICMP messages.
    pub icmp: u64,
    /// They have this many bytes in all, IP headers included.
    pub bytes: u64,
    /// It counts the UDP datagrams in each second of the run.
    pub udp_per_second: Vec<u32>,
}

/// This is one side's traffic at its access line, outside of its NATs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// What the side sent to the Internet.
    pub sent: Direction,
    /// It counts what reached the side's outermost box from the Internet.
    pub received: Direction,
    /// The line lost this many packets of this side on purpose.
    pub lost: u64,
    /// This many packets of this side ran out of hops on the way.
    pub expired: u64,
    /// This many packets went to an address that nobody has.
    pub unroutable: u64,
    /// This many forged datagrams were sent to this side, among those received.
    pub forged: u64,
    /// The programs here addressed this many packets to another player, whether they got there or not.
    pub to_players: u64,
    /// This many relayed datagrams of bevy_traversal went between this side and the lobby server, as this side sent
    /// them.
    pub relayed: u64,
    /// This many packets got lost: those to another player because `--cut-direct` said so, and those either way while a
    /// script had the line dead.
    pub cut: u64,
    /// It counts the packets that the boxes dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// This many public UDP endpoints were seen from outside: the mappings, whoever made them.
    pub udp_endpoints: u64,
    /// The emulated NATs count this many UDP mappings; none for the kernel's.
    pub emulated_mappings: Option<u64>,
    #[serde(skip)]
    seen: BTreeSet<SocketAddrV4>,
}

impl Counts {
    pub(crate) fn sent(&mut self, now: Duration, packet: &Ipv4<'_>, length: usize) {
        self.sent.add(now, packet.kind(), length);
        if packet.kind() == Some(Kind::Flow(Protocol::Udp))
            && self.seen.len() < MAX_ENDPOINTS
            && self.seen.insert(packet.source())
        {
            self.udp_endpoints += 1;
        }
    }

    pub(crate) fn received(&mut self, now: Duration, packet: &Ipv4<'_>, length: usize) {
        self.received.add(now, packet.kind(), length);
    }

    pub(crate) fn dropped(&mut self, reason: &'static str) {
        match self.dropped.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(self.dropped.insert(reason.to_owned(), 1)),
        }
    }
}

impl Direction {
    fn add(&mut self, now: Duration, kind: Option<Kind>, length: usize) {
        self.bytes += length as u64;
        match kind {
            Some(Kind::Flow(Protocol::Udp)) => {
                self.udp += 1;
                let second = usize::try_from(now.as_secs()).unwrap_or(usize::MAX);
                if second < MAX_SECONDS {
                    if self.udp_per_second.len() <= second {
                        self.udp_per_second.resize(second + 1, 0);
                    }
                    self.udp_per_second[second] += 1;
                }
            }
            Some(Kind::Flow(Protocol::Tcp)) => self.tcp += 1,
            _ => self.icmp += 1,
        }
    }
}
