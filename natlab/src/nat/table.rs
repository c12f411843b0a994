//! The box itself: mappings, filters, timers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::{Allocation, Filtering, Kind, Mapping, NatConfig, Pooling};
use super::forward::Forwards;
use super::ports::{Holder, Ports, Want};
use super::{Counters, DropReason, Header, MappingView, Proto, Verdict};

/// Linux keeps an entry that only one side has used for so long; measured (`UDP timers 30 s one way`).
const CLASH_LIFE: Duration = Duration::from_secs(30);
/// RFC 5382 REQ-5: an established TCP session lives at least 2 hours and 4 minutes.
const TCP_TIMEOUT: Duration = Duration::from_secs(7440);

/// Which packets of an internal endpoint share a mapping.
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
    /// An answer has come in.
    answered: bool,
    /// Remotes sent to, and until when they may answer.
    addresses: HashMap<IpAddr, Duration>,
    endpoints: HashMap<SocketAddr, Duration>,
}

#[derive(Debug)]
struct Subscriber {
    external: IpAddr,
    block: Option<RangeInclusive<u16>>,
    mappings: u32,
}

/// A NAT or stateful firewall; see the [module's documentation](super).
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
    /// External endpoint and remote that an unsolicited packet has occupied.
    occupied: HashMap<(SocketAddr, SocketAddr), Duration>,
    unsolicited: HashMap<IpAddr, (u32, Duration)>,
    next_foreign: Option<Duration>,
    last_sweep: Duration,
    counters: Counters,
}

impl Nat {
    /// A box with these external addresses (the pool; a router or firewall has none of its own and ignores them).
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

    /// Its settings.
    pub fn config(&self) -> &NatConfig {
        &self.config
    }

    /// Lets no UDP through from now on, or lets it through again.
    pub fn block_udp(&mut self, blocked: bool) {
        self.config.udp_blocked = blocked;
    }

    /// Its external addresses.
    pub fn external(&self) -> &[IpAddr] {
        &self.external
    }

    /// What it did so far.
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

    /// Takes that back.
    pub fn stop_forwarding(&mut self, proto: Proto, port: u16) {
        if let Some(ip) = self.external.first() {
            self.forwards.remove(proto, SocketAddr::new(*ip, port));
        }
    }

    /// Switched off and on: all mappings, filters, bans, forwarded ports and counters of ports are gone.
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

    /// The live mappings, in the order they were made.
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

    /// A packet from the inside.
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
        if to_self && !self.config.hairpin {
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
        // RFC 4787 REQ-9: the receiver sees the external source address, and filters apply to it.
        match self.admit(now, out) {
            Ok(internal) => {
                self.counters.hairpinned += 1;
                Verdict::Hairpin(Header { dst: internal, ..out })
            }
            Err(reason) => self.drop(reason),
        }
    }

    /// A packet from the outside.
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

    /// The inner endpoint has itself sent to where this comes from, by another port than the one it comes to.
    fn has_other_flow(&self, now: Duration, internal: SocketAddr, packet: Header) -> bool {
        self.entries.values().any(|entry| {
            entry.key.0 == packet.proto
                && entry.internal == internal
                && entry.external != packet.dst
                && entry.endpoints.get(&packet.src).is_some_and(|until| *until > now)
        })
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

    /// The external endpoint for this packet, new or old, refreshed and opened for its destination.
    fn mapping_for(&mut self, now: Duration, packet: Header) -> Result<SocketAddr, DropReason> {
        let scope = match (self.config.kind, self.config.mapping) {
            (Kind::Firewall | Kind::Router, _) | (_, Mapping::EndpointIndependent) => Scope::All,
            (_, Mapping::AddressDependent) => Scope::Address(packet.dst.ip()),
            (_, Mapping::AddressAndPortDependent) => Scope::Endpoint(packet.dst),
        };
        let key = (packet.proto, packet.src, scope);
        let after_clash = (packet.proto, packet.src, Scope::Endpoint(packet.dst));
        let id = match self.live(now, after_clash).or_else(|| self.live(now, key)) {
            Some(id) => {
                let clashed = self.entries.get(&id).is_some_and(|entry| {
                    entry.key != after_clash
                        && !entry.endpoints.contains_key(&packet.dst)
                        && self.is_occupied(now, entry.external, packet.dst)
                });
                if clashed { self.make(now, after_clash, packet, true)? } else { id }
            }
            None => self.make(now, key, packet, false)?,
        };
        let Some(answered) = self.entries.get(&id).map(|entry| entry.answered) else {
            return Err(DropReason::NoMapping);
        };
        let expires = now + self.life(packet.proto, answered);
        let entry = self.entries.get_mut(&id).ok_or(DropReason::NoMapping)?;
        entry.expires = entry.expires.max(expires);
        entry.addresses.insert(packet.dst.ip(), expires);
        entry.endpoints.insert(packet.dst, expires);
        Ok(entry.external)
    }

    fn is_occupied(&self, now: Duration, external: SocketAddr, remote: SocketAddr) -> bool {
        self.config.clash && self.occupied.get(&(external, remote)).is_some_and(|until| *until > now)
    }

    /// The living entry of a key; a dead one is buried.
    fn live(&mut self, now: Duration, key: Key) -> Option<u64> {
        let id = *self.keys.get(&key)?;
        if self.entries.get(&id)?.expires > now {
            return Some(id);
        }
        self.bury(id);
        None
    }

    fn bury(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.keys.remove(&entry.key);
            self.ports.free(entry.key.0, entry.external);
            if let Some(subscriber) = self.subscribers.get_mut(&entry.internal.ip()) {
                subscriber.mappings = subscriber.mappings.saturating_sub(1);
            }
        }
    }

    fn make(&mut self, now: Duration, key: Key, packet: Header, clash: bool) -> Result<u64, DropReason> {
        let mut external = packet.src;
        if self.config.translates() {
            if self.config.quota.is_some_and(|quota| {
                self.subscribers.get(&packet.src.ip()).is_some_and(|known| known.mappings >= quota)
            }) {
                self.bury_all_dead(now);
            }
            let (ip, block) = self.subscribe(packet.src.ip())?;
            let ip = match self.config.pooling {
                Pooling::Arbitrary
                    if self.external.len() > 1 && self.config.mapping != Mapping::EndpointIndependent =>
                {
                    self.external[self.rng.random_range(0..self.external.len())]
                }
                _ => ip,
            };
            let want = self.want(now, packet.proto, ip, packet.src.port(), block);
            let port = if clash { self.ports.random(&mut self.rng, &want) } else { self.choose(&want) };
            external = SocketAddr::new(ip, port.ok_or(DropReason::NoPort)?);
            let occupied = self.is_occupied(now, external, packet.dst);
            if occupied {
                external.set_port(self.ports.random(&mut self.rng, &want).ok_or(DropReason::NoPort)?);
            }
            if clash || occupied {
                self.counters.clashes += 1;
            }
        }
        if let Some(subscriber) = self.subscribers.get_mut(&packet.src.ip()) {
            subscriber.mappings += 1;
        }
        let id = self.next_entry;
        self.next_entry += 1;
        self.counters.mappings += 1;
        self.ports.hold(packet.proto, external, Holder::Mapping(id));
        self.keys.insert(key, id);
        self.entries.insert(
            id,
            Entry {
                key,
                internal: packet.src,
                external,
                expires: now + self.life(packet.proto, false),
                answered: false,
                addresses: HashMap::new(),
                endpoints: HashMap::new(),
            },
        );
        Ok(id)
    }

    fn want(
        &self,
        now: Duration,
        proto: Proto,
        ip: IpAddr,
        internal_port: u16,
        block: Option<RangeInclusive<u16>>,
    ) -> Want {
        let range = block.unwrap_or_else(|| self.config.port_range.clone());
        Want { now, proto, ip, internal_port, range, parity: self.config.parity }
    }

    fn choose(&mut self, want: &Want) -> Option<u16> {
        let chosen = self.ports.choose(&mut self.rng, self.config.allocation, want);
        if chosen.is_some() {
            return chosen;
        }
        self.bury_all_dead(want.now);
        self.ports.choose(&mut self.rng, self.config.allocation, want)
    }

    /// The subscriber's external address and block of ports; the quota is checked here.
    fn subscribe(&mut self, internal: IpAddr) -> Result<(IpAddr, Option<RangeInclusive<u16>>), DropReason> {
        if let Some(known) = self.subscribers.get(&internal) {
            if self.config.quota.is_some_and(|quota| known.mappings >= quota) {
                return Err(DropReason::Quota);
            }
            return Ok((known.external, known.block.clone()));
        }
        if self.external.is_empty() {
            return Err(DropReason::NoPort);
        }
        let external = self.external[self.rng.random_range(0..self.external.len())];
        let block = match self.config.allocation {
            Allocation::RandomInBlock(size) => {
                let (first, last) =
                    (u32::from(*self.config.port_range.start()), u32::from(*self.config.port_range.end()));
                let blocks = ((last - first + 1) / u32::from(size)).max(1);
                let start = self.rng.random_range(0..blocks);
                let index = *self.next_block.entry(external).and_modify(|next| *next += 1).or_insert(start);
                let start = first + (index % blocks) * u32::from(size);
                Some(start as u16..=(start + u32::from(size) - 1).min(last) as u16)
            }
            _ => None,
        };
        self.subscribers.insert(internal, Subscriber { external, block: block.clone(), mappings: 0 });
        Ok((external, block))
    }

    fn bury_all_dead(&mut self, now: Duration) {
        let dead: Vec<u64> =
            self.entries.iter().filter(|(_, entry)| entry.expires <= now).map(|(id, _)| *id).collect();
        for id in dead {
            self.bury(id);
        }
    }

    /// Whether a packet from the outside gets in, and to whom.
    fn admit(&mut self, now: Duration, packet: Header) -> Result<SocketAddr, DropReason> {
        let Some(Holder::Mapping(id)) = self.ports.holder(packet.proto, packet.dst) else {
            return Err(DropReason::NoMapping);
        };
        if self.entries.get(&id).is_none_or(|entry| entry.expires <= now) {
            self.bury(id);
            return Err(DropReason::NoMapping);
        }
        let life = self.life(packet.proto, true);
        let (filtering, refresh) = (self.config.filtering, self.config.inbound_refresh);
        let entry = self.entries.get_mut(&id).ok_or(DropReason::NoMapping)?;
        let alive = |until: Option<&Duration>| until.is_some_and(|until| *until > now);
        let admitted = match filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => alive(entry.addresses.get(&packet.src.ip())),
            Filtering::AddressAndPortDependent => alive(entry.endpoints.get(&packet.src)),
        };
        if !admitted {
            return Err(DropReason::Filtered);
        }
        entry.answered = true;
        if refresh {
            let expires = now + life;
            entry.expires = entry.expires.max(expires);
            if let Some(until) = entry.addresses.get_mut(&packet.src.ip()) {
                *until = (*until).max(expires);
            }
            if let Some(until) = entry.endpoints.get_mut(&packet.src) {
                *until = (*until).max(expires);
            }
        }
        Ok(entry.internal)
    }

    fn note_unsolicited(&mut self, now: Duration, packet: Header) {
        if self.config.clash {
            self.occupied.insert((packet.dst, packet.src), now + CLASH_LIFE);
        }
        if let Some(blacklist) = self.config.blacklist {
            let (count, until) = self.unsolicited.entry(packet.src.ip()).or_default();
            *count += 1;
            if *count >= blacklist.after {
                *count = 0;
                *until = now + blacklist.ban;
            }
        }
    }

    fn draw_foreign(&mut self, from: Duration) -> Option<Duration> {
        if !self.config.translates() || self.config.cross <= 0.0 || self.external.is_empty() {
            return None;
        }
        // Inverse of the exponential distribution; 1 - u is never 0.
        let u: f64 = self.rng.random();
        Some(from + Duration::from_secs_f64(-(1.0 - u).ln() / self.config.cross))
    }

    /// Foreign traffic up to now.
    fn advance(&mut self, now: Duration) {
        while let Some(at) = self.next_foreign.filter(|at| *at <= now) {
            self.next_foreign = self.draw_foreign(at);
            // Other subscribers have blocks of their own.
            if matches!(self.config.allocation, Allocation::RandomInBlock(_)) {
                continue;
            }
            let ip = self.external[self.rng.random_range(0..self.external.len())];
            let port = self.rng.random_range(1024..=u16::MAX);
            let want = self.want(at, Proto::Udp, ip, port, None);
            if let Some(port) = self.ports.choose(&mut self.rng, self.config.allocation, &want) {
                let until = at + self.config.timeout;
                self.ports.hold(Proto::Udp, SocketAddr::new(ip, port), Holder::Foreign(until));
                self.counters.foreign += 1;
            }
        }
        if now >= self.last_sweep + Duration::from_secs(60) {
            self.last_sweep = now;
            self.ports.sweep(now);
            self.bury_all_dead(now);
            self.occupied.retain(|_, until| *until > now);
        }
    }
}
