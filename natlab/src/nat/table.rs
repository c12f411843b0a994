//! The box itself: what it holds, and the way of a packet through it.

mod filter;
mod foreign;
mod mapping;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::config::{Hairpin, Kind, NatConfig};
use super::forward::Forwards;
use super::ports::Ports;
use super::{Counters, DropReason, Header, MappingView, Proto, Verdict};

/// An established TCP session lives at least 2 hours and 4 minutes (RFC 5382 REQ-5).
const TCP_TIMEOUT: Duration = Duration::from_secs(7440);

/// It says which packets of an internal endpoint share a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope {
    All,
    Address(IpAddr),
    Endpoint(SocketAddr),
}

type Key = (Proto, SocketAddr, Scope);

#[derive(Debug)]
struct Entry {
    key: Key,
    internal: SocketAddr,
    external: SocketAddr,
    expires: Duration,
    /// Whether an answer has come in.
    answered: bool,
    /// They are the remotes sent to, and until when they may answer.
    addresses: HashMap<IpAddr, Duration>,
    endpoints: HashMap<SocketAddr, Duration>,
}

#[derive(Debug)]
struct Subscriber {
    external: IpAddr,
    block: Option<RangeInclusive<u16>>,
    mappings: u32,
}

/// This is a NAT or stateful firewall; see the [module's documentation](super).
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    external: Vec<IpAddr>,
    rng: ChaCha8Rng,
    ports: Ports,
    entries: HashMap<u64, Entry>,
    next_entry: u64,
    keys: HashMap<Key, u64>,
    subscribers: HashMap<IpAddr, Subscriber>,
    forwards: Forwards,
    next_block: HashMap<IpAddr, u32>,
    /// They are the external endpoints and remotes that unsolicited packets have occupied.
    occupied: HashMap<(SocketAddr, SocketAddr), Duration>,
    unsolicited: HashMap<IpAddr, (u32, Duration)>,
    next_foreign: Option<Duration>,
    last_sweep: Duration,
    counters: Counters,
}

impl Nat {
    /// Makes a box with these external addresses (the pool; a router or firewall has none of its own and ignores them).
    pub fn new(config: NatConfig, external: Vec<IpAddr>, seed: u64) -> Self {
        let mut nat = Self {
            config,
            external,
            rng: ChaCha8Rng::seed_from_u64(seed),
            ports: Ports::default(),
            entries: HashMap::new(),
            next_entry: 0,
            keys: HashMap::new(),
            subscribers: HashMap::new(),
            forwards: Forwards::default(),
            next_block: HashMap::new(),
            occupied: HashMap::new(),
            unsolicited: HashMap::new(),
            next_foreign: None,
            last_sweep: Duration::ZERO,
            counters: Counters::default(),
        };
        nat.next_foreign = nat.draw_foreign(Duration::ZERO);
        nat
    }

    /// Returns the settings of this NAT.
    pub fn config(&self) -> &NatConfig {
        &self.config
    }

    /// Lets no UDP through from now on, or lets it through again.
    pub fn block_udp(&mut self, blocked: bool) {
        self.config.udp_blocked = blocked;
    }

    /// Lets unsolicited packets occupy its ports from now on, or no longer: see [`NatConfig::clash`].
    pub fn set_clash(&mut self, clash: bool) {
        self.config.clash = clash;
    }

    /// Returns the external addresses of this NAT.
    pub fn external(&self) -> &[IpAddr] {
        &self.external
    }

    /// Returns the counts of what it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Forwards a port of the first external address to an inner endpoint, whoever sends to it. Answers leave by that
    /// port; what the inner endpoint sends of its own accord is translated as everything else (as Linux does it).
    pub fn forward_port(&mut self, proto: Proto, port: u16, internal: SocketAddr) {
        if let Some(ip) = self.external.first() {
            self.forwards.add(proto, SocketAddr::new(*ip, port), internal);
        }
    }

    /// Forwards this port no more.
    pub fn stop_forwarding(&mut self, proto: Proto, port: u16) {
        if let Some(ip) = self.external.first() {
            self.forwards.remove(proto, SocketAddr::new(*ip, port));
        }
    }

    /// It is switched off and on: all mappings, filters, bans, forwarded ports and counters of ports are gone.
    pub fn reboot(&mut self) {
        self.forwards.clear();
        self.ports.clear();
        self.entries.clear();
        self.keys.clear();
        self.subscribers.clear();
        self.next_block.clear();
        self.occupied.clear();
        self.unsolicited.clear();
    }

    /// The provider gave it other addresses; nothing of before holds.
    pub fn change_address(&mut self, external: Vec<IpAddr>) {
        self.reboot();
        self.external = external;
    }

    /// Another box stands in its place, at the same addresses; nothing of before holds.
    pub fn replace(&mut self, config: NatConfig) {
        self.reboot();
        self.config = config;
    }

    /// Returns the live mappings, in the order they were made.
    pub fn mappings(&self, now: Duration) -> Vec<MappingView> {
        let mut live: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.expires > now).collect();
        live.sort_by_key(|(id, _)| **id);
        live.into_iter()
            .map(|(_, entry)| MappingView {
                internal: entry.internal,
                external: entry.external,
                expires: entry.expires,
            })
            .collect()
    }

    /// Takes a packet from the inside.
    pub fn outbound(&mut self, now: Duration, packet: Header) -> Verdict {
        self.advance(now);
        if packet.ttl <= 1 {
            return self.drop(DropReason::TtlExpired);
        }
        if self.config.udp_blocked && packet.proto == Proto::Udp {
            return self.drop(DropReason::UdpBlocked);
        }
        let out = Header { ttl: packet.ttl - 1, ..packet };
        if self.config.kind == Kind::Router {
            self.counters.outbound += 1;
            return Verdict::Forward(out);
        }
        let to_self = self.config.translates() && self.external.contains(&packet.dst.ip());
        if to_self && self.config.hairpin == Hairpin::No {
            return self.drop(DropReason::NoHairpin);
        }
        let flow = (packet.proto, packet.src, packet.dst);
        if let Some(external) = self.forwards.answer(now, flow) {
            self.forwards.note(flow, external, now + self.life(packet.proto, true));
            self.counters.outbound += 1;
            return Verdict::Forward(Header { src: external, ..out });
        }
        let external = match self.mapping_for(now, packet) {
            Ok(external) => external,
            Err(reason) => return self.drop(reason),
        };
        let out = Header { src: external, ..out };
        if !to_self {
            self.counters.outbound += 1;
            return Verdict::Forward(out);
        }
        // Filters apply to the session's external source, whichever one the receiver gets to see.
        match self.admit(now, out) {
            Ok(internal) => {
                self.counters.hairpinned += 1;
                let src = match self.config.hairpin {
                    Hairpin::InternalSource => packet.src,
                    Hairpin::ExternalSource | Hairpin::No => out.src,
                };
                Verdict::Hairpin(Header { src, dst: internal, ..out })
            }
            Err(reason) => self.drop(reason),
        }
    }

    /// Takes a packet from the outside.
    pub fn inbound(&mut self, now: Duration, packet: Header) -> Verdict {
        self.advance(now);
        if packet.ttl <= 1 {
            return self.drop(DropReason::TtlExpired);
        }
        if self.config.udp_blocked && packet.proto == Proto::Udp {
            return self.drop(DropReason::UdpBlocked);
        }
        let packet = Header { ttl: packet.ttl - 1, ..packet };
        if self.config.kind == Kind::Router {
            self.counters.inbound += 1;
            return Verdict::Forward(packet);
        }
        if self.config.translates() && !self.external.contains(&packet.dst.ip()) {
            return self.drop(DropReason::NotMine);
        }
        if let Some((_, until)) = self.unsolicited.get(&packet.src.ip())
            && *until > now
        {
            return self.drop(DropReason::Blacklisted);
        }
        if let Some(internal) = self.forwards.rule(packet.proto, packet.dst) {
            if self.has_other_flow(now, internal, packet) {
                return self.drop(DropReason::FlowExists);
            }
            let flow = (packet.proto, internal, packet.src);
            self.forwards.note(flow, packet.dst, now + self.life(packet.proto, true));
            self.counters.inbound += 1;
            return Verdict::Forward(Header { dst: internal, ..packet });
        }
        match self.admit(now, packet) {
            Ok(internal) => {
                self.counters.inbound += 1;
                Verdict::Forward(Header { dst: internal, ..packet })
            }
            Err(reason) => {
                self.note_unsolicited(now, packet);
                self.drop(reason)
            }
        }
    }

    fn drop(&mut self, reason: DropReason) -> Verdict {
        *self.counters.drops.entry(reason).or_default() += 1;
        Verdict::Drop(reason)
    }

    fn life(&self, proto: Proto, answered: bool) -> Duration {
        match (proto, answered) {
            (Proto::Tcp, _) => TCP_TIMEOUT,
            (Proto::Udp, false) => self.config.timeout,
            (Proto::Udp, true) => self.config.stream_timeout,
        }
    }
}
