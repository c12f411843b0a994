//! The laboratory's NAT, applied to real packets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::nat::{Counters, DropReason, Header, Nat, NatConfig, Proto, Verdict};

use super::ipv4::{Ipv4, Kind, Protocol};

/// This says what became of a packet in a NAT; it was rewritten in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It goes on.
    Onward,
    /// It came from the inside and goes back inside.
    Turned,
    /// It goes nowhere, for this reason.
    Dropped(&'static str),
}

const EXPIRED: Passage = Passage::Dropped("ttl-expired");

/// This is an emulated NAT between two networks.
#[derive(Debug)]
pub(crate) struct Translator {
    nat: Nat,
    /// Echo requests have identifiers of their own (RFC 5508): they must not take UDP's ports.
    ping: Nat,
    address: Ipv4Addr,
}

impl Translator {
    /// Makes one; `external` are its addresses outside, or, where it does not translate, those of the machine behind
    /// it.
    pub(crate) fn new(config: &NatConfig, external: &[Ipv4Addr], seed: u64) -> Self {
        let pool: Vec<IpAddr> = external.iter().copied().map(IpAddr::V4).collect();
        let ping = NatConfig { udp_blocked: false, cross: 0.0, ..config.clone() };
        Self {
            nat: Nat::new(config.clone(), pool.clone(), seed),
            ping: Nat::new(ping, pool, seed ^ 1),
            address: external.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// Returns the address that its own ICMP errors come from.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// It forgets everything.
    pub(crate) fn reboot(&mut self) {
        self.nat.reboot();
        self.ping.reboot();
    }

    /// It has these addresses outside from now on, and forgets everything.
    pub(crate) fn change_address(&mut self, external: &[Ipv4Addr]) {
        let pool: Vec<IpAddr> = external.iter().copied().map(IpAddr::V4).collect();
        self.nat.change_address(pool.clone());
        self.ping.change_address(pool);
        self.address = external.first().copied().unwrap_or(self.address);
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.nat.counters()
    }

    /// Translates a packet from the inside.
    pub(crate) fn outward(&mut self, now: Duration, packet: &mut Ipv4<'_>) -> Passage {
        match packet.kind() {
            Some(Kind::Flow(protocol)) => {
                let header = header(packet, protocol);
                let verdict = self.table(protocol).outbound(now, header);
                Self::apply(packet, verdict)
            }
            Some(Kind::Error) => self.error_outward(now, packet),
            None => Passage::Dropped("protocol"),
        }
    }

    /// Translates a packet from the outside.
    pub(crate) fn inward(&mut self, now: Duration, packet: &mut Ipv4<'_>) -> Passage {
        match packet.kind() {
            Some(Kind::Flow(protocol)) => {
                let header = header(packet, protocol);
                let verdict = self.table(protocol).inbound(now, header);
                Self::apply(packet, verdict)
            }
            Some(Kind::Error) => self.error_inward(now, packet),
            None => Passage::Dropped("protocol"),
        }
    }

    fn table(&mut self, protocol: Protocol) -> &mut Nat {
        if protocol == Protocol::Ping { &mut self.ping } else { &mut self.nat }
    }

    fn apply(packet: &mut Ipv4<'_>, verdict: Verdict) -> Passage {
        let (after, passage) = match verdict {
            Verdict::Forward(after) => (after, Passage::Onward),
            Verdict::Hairpin(after) => (after, Passage::Turned),
            Verdict::Drop(DropReason::TtlExpired) => return EXPIRED,
            Verdict::Drop(reason) => return Passage::Dropped(reason.name()),
        };
        if let SocketAddr::V4(source) = after.src
            && source != packet.source()
        {
            packet.set_source(source);
        }
        if let SocketAddr::V4(destination) = after.dst
            && destination != packet.destination()
        {
            packet.set_destination(destination);
        }
        if packet.take_hop() { passage } else { EXPIRED }
    }

    /// Translates an error about a packet of ours: it is found by the external endpoint that it quotes as the source.
    fn error_inward(&mut self, now: Duration, packet: &mut Ipv4<'_>) -> Passage {
        let Some((protocol, source, _)) = packet.quoted() else { return Passage::Dropped("malformed") };
        if self.nat.config().translates() {
            let outside = SocketAddr::V4(source);
            let mappings = self.table(protocol).mappings(now);
            let Some(SocketAddr::V4(inside)) =
                mappings.iter().find(|mapping| mapping.external == outside).map(|mapping| mapping.internal)
            else {
                return Passage::Dropped("no-mapping");
            };
            packet.translate_error_inward(inside);
        }
        if packet.take_hop() { Passage::Onward } else { EXPIRED }
    }

    /// Translates an error of our host about a packet that came in: it is found by the internal endpoint that it quotes
    /// as the destination, where only one mapping can be meant.
    fn error_outward(&mut self, now: Duration, packet: &mut Ipv4<'_>) -> Passage {
        let Some((protocol, _, destination)) = packet.quoted() else { return Passage::Dropped("malformed") };
        if self.nat.config().translates() {
            let inside = SocketAddr::V4(destination);
            let mappings = self.table(protocol).mappings(now);
            let mut meant = mappings.iter().filter(|mapping| mapping.internal == inside);
            let (Some(mapping), None) = (meant.next(), meant.next()) else {
                return Passage::Dropped("no-mapping");
            };
            let SocketAddr::V4(outside) = mapping.external else { return Passage::Dropped("no-mapping") };
            packet.translate_error_outward(outside);
        }
        if packet.take_hop() { Passage::Onward } else { EXPIRED }
    }
}

fn header(packet: &Ipv4<'_>, protocol: Protocol) -> Header {
    Header {
        src: packet.source().into(),
        dst: packet.destination().into(),
        ttl: packet.ttl(),
        proto: if protocol == Protocol::Tcp { Proto::Tcp } else { Proto::Udp },
    }
}
