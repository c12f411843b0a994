//! IPv4 packets as a NAT sees them: read, and rewritten in place with incremental checksums (RFC 1624), so that a
//! packet that was damaged before stays recognisably damaged.

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddrV4};

/// This says what of IPv4 the emulated NATs translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Udp,
    Tcp,
    /// It is an echo request or reply; the identifier stands for the port (RFC 5508, 3.1).
    Ping,
}

/// Why a packet is nothing for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not IPv4, or shorter than it says.
    Malformed,
    /// It is a fragment: ports are only in the first one, and nothing here sends any below an MTU of 1,500.
    Fragment,
    /// It is neither UDP nor TCP nor ICMP.
    Protocol,
}

/// This is an ICMP error, with the packet that caused it inside.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
/// This is a code of [`UNREACHABLE`].
const FRAGMENTATION_NEEDED: u8 = 4;

/// This is a view of one whole packet.
#[derive(Debug)]
pub(crate) struct Ipv4<'a> {
    bytes: &'a mut [u8],
    header: usize,
}

/// What a packet is, for a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is a packet of a flow.
    Flow(Protocol),
    /// It is an ICMP error about a packet of a flow.
    Error,
}

impl<'a> Ipv4<'a> {
    /// Checks the lengths.
    pub(crate) fn parse(bytes: &'a mut [u8]) -> Result<Self, Unreadable> {
        if bytes.len() < 20 || bytes[0] >> 4 != 4 {
            return Err(Unreadable::Malformed);
        }
        let header = usize::from(bytes[0] & 15) * 4;
        let total = usize::from(word(bytes, 2));
        if header < 20 || total < header || bytes.len() < total {
            return Err(Unreadable::Malformed);
        }
        if word(bytes, 6) & 0x3fff != 0 {
            return Err(Unreadable::Fragment);
        }
        let needed = match bytes[9] {
            UDP | ICMP => 8,
            TCP => 20,
            _ => return Err(Unreadable::Protocol),
        };
        if total < header + needed {
            return Err(Unreadable::Malformed);
        }
        Ok(Self { bytes: &mut bytes[..total], header })
    }

    /// Returns what kind of packet it is; `None` for ICMP that is no NAT's business.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match (self.bytes[9], self.bytes[self.header]) {
            (UDP, _) => Some(Kind::Flow(Protocol::Udp)),
            (TCP, _) => Some(Kind::Flow(Protocol::Tcp)),
            (ICMP, ECHO_REQUEST | ECHO_REPLY) => Some(Kind::Flow(Protocol::Ping)),
            (ICMP, UNREACHABLE | TIME_EXCEEDED) => Some(Kind::Error),
            _ => None,
        }
    }

    /// What a UDP datagram carries; nothing for others.
    pub(crate) fn payload(&self) -> &[u8] {
        if self.bytes[9] == UDP { &self.bytes[self.header + 8..] } else { &[] }
    }

    pub(crate) fn ttl(&self) -> u8 {
        self.bytes[8]
    }

    pub(crate) fn source(&self) -> SocketAddrV4 {
        self.endpoint(12, self.source_port_at())
    }

    pub(crate) fn destination(&self) -> SocketAddrV4 {
        self.endpoint(16, self.destination_port_at())
    }

    pub(crate) fn set_source(&mut self, to: SocketAddrV4) {
        self.rewrite(12, self.source_port_at(), to);
    }

    pub(crate) fn set_destination(&mut self, to: SocketAddrV4) {
        self.rewrite(16, self.destination_port_at(), to);
    }

    /// Counts one hop down; with false, the packet must not be forwarded.
    pub(crate) fn take_hop(&mut self) -> bool {
        let Some(ttl) = self.bytes[8].checked_sub(1) else { return false };
        let before = word(self.bytes, 8);
        self.bytes[8] = ttl;
        let after = word(self.bytes, 8);
        self.update(10, before, after);
        ttl > 0
    }

    /// Returns source and destination of the packet that an ICMP error is about, as it was where the error arose.
    pub(crate) fn quoted(&self) -> Option<(Protocol, SocketAddrV4, SocketAddrV4)> {
        let inner = self.bytes.get(self.header + 8..)?;
        let header = usize::from(inner.first()? & 15) * 4;
        if inner.len() < header + 8 || header < 20 {
            return None;
        }
        let protocol = match inner[9] {
            UDP => Protocol::Udp,
            TCP => Protocol::Tcp,
            _ => return None,
        };
        Some((
            protocol,
            SocketAddrV4::new(address(inner, 12), word(inner, header)),
            SocketAddrV4::new(address(inner, 16), word(inner, header + 2)),
        ))
    }

    /// An ICMP error comes in: its destination and the source that it quotes become `to`.
    ///
    /// Only after [`Self::quoted`] has found a packet quoted.
    pub(crate) fn translate_error_inward(&mut self, to: SocketAddrV4) {
        self.rewrite_quoted(12, 0, to);
        self.replace_address(16, *to.ip(), None);
    }

    /// An ICMP error goes out: its source and the destination that it quotes become `to`. See above.
    pub(crate) fn translate_error_outward(&mut self, to: SocketAddrV4) {
        self.rewrite_quoted(16, 2, to);
        self.replace_address(12, *to.ip(), None);
    }

    fn rewrite_quoted(&mut self, address_at: usize, port_at: usize, to: SocketAddrV4) {
        let start = self.header + 8;
        let quoted_header = usize::from(self.bytes[start] & 15) * 4;
        self.bytes[start + address_at..][..4].copy_from_slice(&to.ip().octets());
        self.bytes[start + quoted_header + port_at..][..2].copy_from_slice(&to.port().to_be_bytes());
        put(self.bytes, start + 10, 0);
        let sum = checksum(&self.bytes[start..start + quoted_header]);
        put(self.bytes, start + 10, sum);
        put(self.bytes, self.header + 2, 0);
        let sum = checksum(&self.bytes[self.header..]);
        put(self.bytes, self.header + 2, sum);
    }

    fn source_port_at(&self) -> Option<usize> {
        match self.bytes[9] {
            UDP | TCP => Some(self.header),
            _ if self.bytes[self.header] == ECHO_REQUEST => Some(self.header + 4),
            _ => None,
        }
    }

    fn destination_port_at(&self) -> Option<usize> {
        match self.bytes[9] {
            UDP | TCP => Some(self.header + 2),
            _ if self.bytes[self.header] == ECHO_REPLY => Some(self.header + 4),
            _ => None,
        }
    }

    fn endpoint(&self, address_at: usize, port_at: Option<usize>) -> SocketAddrV4 {
        SocketAddrV4::new(address(self.bytes, address_at), port_at.map_or(0, |at| word(self.bytes, at)))
    }

    fn rewrite(&mut self, address_at: usize, port_at: Option<usize>, to: SocketAddrV4) {
        let transport = match self.bytes[9] {
            UDP if word(self.bytes, self.header + 6) != 0 => Some(self.header + 6),
            TCP => Some(self.header + 16),
            _ => None,
        };
        self.replace_address(address_at, *to.ip(), transport);
        if let Some(at) = port_at {
            let before = word(self.bytes, at);
            put(self.bytes, at, to.port());
            let sum = if self.bytes[9] == ICMP { Some(self.header + 2) } else { transport };
            if let Some(sum) = sum {
                self.update(sum, before, to.port());
            }
        }
        // A UDP checksum of zero would mean that there is none (RFC 768).
        if self.bytes[9] == UDP && transport.is_some_and(|at| word(self.bytes, at) == 0) {
            put(self.bytes, self.header + 6, 0xffff);
        }
    }

    fn replace_address(&mut self, at: usize, to: Ipv4Addr, transport: Option<usize>) {
        let octets = to.octets();
        for half in [0, 2] {
            let before = word(self.bytes, at + half);
            let after = word(&octets, half);
            put(self.bytes, at + half, after);
            self.update(10, before, after);
            if let Some(sum) = transport {
                self.update(sum, before, after);
            }
        }
    }

    /// Updates a checksum as RFC 1624, equation 3, has it: HC' = ~(~HC + ~m + m').
    fn update(&mut self, sum_at: usize, before: u16, after: u16) {
        let sum = u32::from(!word(self.bytes, sum_at)) + u32::from(!before) + u32::from(after);
        put(self.bytes, sum_at, !fold(sum));
    }
}

/// Makes "time exceeded in transit" about `packet`, from the router `from` (RFC 792).
pub(crate) fn time_exceeded(packet: &[u8], from: Ipv4Addr) -> Option<Vec<u8>> {
    error(packet, from, [TIME_EXCEEDED, 0], 0)
}

/// Makes "fragmentation needed and DF set" about `packet`: the next link takes `mtu` bytes (RFC 1191 section 4).
pub(crate) fn fragmentation_needed(packet: &[u8], from: Ipv4Addr, mtu: u16) -> Option<Vec<u8>> {
    error(packet, from, [UNREACHABLE, FRAGMENTATION_NEEDED], mtu)
}

fn error(packet: &[u8], from: Ipv4Addr, kind: [u8; 2], word: u16) -> Option<Vec<u8>> {
    let header = usize::from(packet.first()? & 15) * 4;
    let quoted = packet.get(..header + 8)?;
    let total = u16::try_from(28 + quoted.len()).ok()?;
    let mut error = vec![0; 28];
    error[0] = 0x45;
    put(&mut error, 2, total);
    error[8] = 64;
    error[9] = ICMP;
    error[12..16].copy_from_slice(&from.octets());
    error[16..20].copy_from_slice(quoted.get(12..16)?);
    error[20..22].copy_from_slice(&kind);
    put(&mut error, 26, word);
    error.extend_from_slice(quoted);
    let sum = checksum(&error[..20]);
    put(&mut error, 10, sum);
    let sum = checksum(&error[20..]);
    put(&mut error, 22, sum);
    Some(error)
}

/// Returns the Internet checksum (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    !fold(sum)
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}
