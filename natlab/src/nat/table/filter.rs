//! What gets in (RFC 4787 section 5), and what unsolicited packets leave behind.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::config::Filtering;
use super::super::{DropReason, Header};
use super::Nat;

/// Linux keeps an entry that only one side has used for so long; measured (`UDP timers 30 s one way`).
const CLASH_LIFE: Duration = Duration::from_secs(30);

impl Nat {
    /// The inner endpoint has itself sent to where this comes from, by another port than the one it comes to.
    pub(super) fn has_other_flow(&self, now: Duration, internal: SocketAddr, packet: Header) -> bool {
        self.entries.values().any(|entry| {
            entry.key.0 == packet.proto
                && entry.internal == internal
                && entry.external != packet.dst
                && entry.endpoints.get(&packet.src).is_some_and(|until| *until > now)
        })
    }

    pub(super) fn is_occupied(&self, now: Duration, external: SocketAddr, remote: SocketAddr) -> bool {
        self.config.clash && self.occupied.get(&(external, remote)).is_some_and(|until| *until > now)
    }

    /// Whether a packet from the outside gets in, and to whom.
    pub(super) fn admit(&mut self, now: Duration, packet: Header) -> Result<SocketAddr, DropReason> {
        let Some(id) = self.ports.mapping(packet.proto, packet.dst) else {
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

    pub(super) fn note_unsolicited(&mut self, now: Duration, packet: Header) {
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
}
