//! Which external endpoint an outgoing packet leaves by (RFC 4787 section 4).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;

use super::super::config::{Allocation, Kind, Mapping, Pooling};
use super::super::ports::Want;
use super::super::{DropReason, Header, Proto};
use super::{Entry, Key, Nat, Scope, Subscriber};

impl Nat {
    /// Returns the external endpoint for this packet, new or old, refreshed and opened for its destination.
    pub(super) fn mapping_for(&mut self, now: Duration, packet: Header) -> Result<SocketAddr, DropReason> {
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

    /// Returns the living entry of a key; a dead one is buried.
    fn live(&mut self, now: Duration, key: Key) -> Option<u64> {
        let id = *self.keys.get(&key)?;
        if self.entries.get(&id)?.expires > now {
            return Some(id);
        }
        self.bury(id);
        None
    }

    pub(super) fn bury(&mut self, id: u64) {
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
                Pooling::Arbitrary => self.external[self.rng.random_range(0..self.external.len())],
                Pooling::Paired => ip,
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
        self.ports.hold(packet.proto, external, id);
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

    pub(super) fn want(
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

    /// Returns the subscriber's external address and block of ports; the quota is checked here.
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

    pub(super) fn bury_all_dead(&mut self, now: Duration) {
        let dead: Vec<u64> =
            self.entries.iter().filter(|(_, entry)| entry.expires <= now).map(|(id, _)| *id).collect();
        for id in dead {
            self.bury(id);
        }
    }
}
