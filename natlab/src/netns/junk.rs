//! Forged datagrams: what somebody sends who knows both players' addresses and writes one of them as the source.
//!
//! They leave a raw socket in a namespace of their own, so that the kernel and the cables treat them as anybody's.

use std::net::Ipv4Addr;

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::device::{Device, address_line};
use super::error::NetnsError;
use super::namespace::Namespace;

/// Where the attacker lives. No packet of its own has this address in it.
pub(crate) const ATTACKER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 66);

/// No header options are ever in a packet that is forged after.
const HEADERS: usize = 28;
const MAX_PAYLOAD: usize = 1400;

/// This is the first TTL of any system: what is forged after a datagram must go as far as that.
const TTL: u8 = 64;
/// It is `IPPROTO_RAW`: the socket sends whole packets, header included.
const WHOLE_PACKETS: i32 = 255;

/// It is the attacker's machine.
pub(crate) struct Attacker {
    /// It is kept: closing it would take the machine off its cable.
    _namespace: Namespace,
    socket: Socket,
    junk: Junk,
}

impl Attacker {
    /// Makes one with a cable to the Internet, on which nobody looks at source addresses.
    pub(crate) fn new(per_datagram: u32, seed: u64) -> Result<(Self, Device), NetnsError> {
        let namespace = Namespace::new()?;
        let device = Device::new(&namespace, "eth0")?;
        namespace.ip(&format!("{}route add default dev eth0\n", address_line("eth0", ATTACKER, 32)))?;
        let raw = || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(WHOLE_PACKETS)))?;
            socket.set_header_included_v4(true)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = namespace
            .enter(|| raw().map_err(NetnsError::system::<std::io::Error>("opening a raw socket")))?;
        Ok((Self { _namespace: namespace, socket, junk: Junk::new(per_datagram, seed) }, device))
    }

    /// Has seen `genuine` go by.
    pub(crate) fn saw(&mut self, genuine: &[u8]) {
        for forged in self.junk.after(genuine) {
            let to = Ipv4Addr::new(forged[16], forged[17], forged[18], forged[19]);
            // A full queue drops it.
            let _ = self.socket.send_to(&forged, &SockAddr::from(std::net::SocketAddrV4::new(to, 0)));
        }
    }
}

/// Makes forged datagrams after genuine ones.
#[derive(Debug)]
struct Junk {
    per_datagram: u32,
    rng: ChaCha8Rng,
    number: u64,
}

impl Junk {
    /// Makes this many for each genuine one between two players.
    fn new(per_datagram: u32, seed: u64) -> Self {
        Self { per_datagram, rng: ChaCha8Rng::seed_from_u64(seed ^ 0x6a75_6e6b), number: 0 }
    }

    /// Returns forged ones with the addresses and ports of `genuine`, a UDP packet without header options.
    fn after(&mut self, genuine: &[u8]) -> Vec<Vec<u8>> {
        if genuine.len() < HEADERS || genuine[0] != 0x45 {
            return Vec::new();
        }
        (0..self.per_datagram).map(|_| self.forge(genuine)).collect()
    }

    fn forge(&mut self, genuine: &[u8]) -> Vec<u8> {
        self.number += 1;
        let mut payload = genuine[HEADERS..].to_vec();
        match self.number % 5 {
            // A replay.
            0 => {}
            // One bit turned over.
            1 if !payload.is_empty() => {
                let bit = self.rng.random_range(0..payload.len() * 8);
                payload[bit / 8] ^= 1 << (bit % 8);
            }
            // Cut short.
            2 => payload.truncate(self.rng.random_range(0..=payload.len())),
            // The right beginning, then noise of any length.
            3 => {
                payload.truncate(8);
                payload.resize(self.rng.random_range(8..MAX_PAYLOAD), 0);
                let noise = payload.len().min(8);
                self.rng.fill_bytes(&mut payload[noise..]);
            }
            // Noise.
            _ => {
                payload.resize(self.rng.random_range(0..MAX_PAYLOAD), 0);
                self.rng.fill_bytes(&mut payload);
            }
        }
        packet(genuine, &payload)
    }
}

/// Puts another payload behind the same addresses, without a UDP checksum, which IPv4 permits.
fn packet(genuine: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = genuine[..HEADERS].to_vec();
    bytes.extend_from_slice(payload);
    let udp = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    bytes[2..4].copy_from_slice(&(udp + 20).to_be_bytes());
    bytes[8] = TTL;
    bytes[10..12].fill(0);
    let sum = super::ipv4::checksum(&bytes[..20]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes[24..26].copy_from_slice(&udp.to_be_bytes());
    bytes[26..28].fill(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::ipv4::{Ipv4, checksum};

    #[test]
    fn forged_packets_bear_the_genuine_addresses_and_are_well_formed() {
        let mut genuine = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 60, 17, 0, 0, 198, 18, 1, 1, 198, 18, 2, 1];
        genuine.extend([0x9c, 0x41, 0x9c, 0x42, 0, 0, 0, 0]);
        let genuine = packet(&genuine, b"a genuine payload");
        let forged = Junk::new(50, 1).after(&genuine);
        assert_eq!(forged.len(), 50);
        assert!(forged.contains(&genuine), "some are replays");
        assert!(forged.iter().filter(|bytes| **bytes != genuine).count() > 30);
        for mut bytes in forged {
            assert_eq!(checksum(&bytes[..20]), 0);
            let length = bytes.len();
            let view = Ipv4::parse(&mut bytes).expect("well-formed");
            assert_eq!(view.source().to_string(), "198.18.1.1:40001");
            assert_eq!(view.destination().to_string(), "198.18.2.1:40002");
            assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), length);
        }
    }
}
