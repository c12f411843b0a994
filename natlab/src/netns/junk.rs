//! Forged datagrams: what somebody sends who knows both players' addresses and writes one of them as the source.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// No header options are ever in a packet that is forged after.
const HEADERS: usize = 28;
const MAX_PAYLOAD: usize = 1400;

/// Makes forged datagrams after genuine ones.
#[derive(Debug)]
pub(crate) struct Junk {
    per_datagram: u32,
    rng: ChaCha8Rng,
    number: u64,
}

impl Junk {
    /// So many for each genuine one between two players.
    pub(crate) fn new(per_datagram: u32, seed: u64) -> Self {
        Self { per_datagram, rng: ChaCha8Rng::seed_from_u64(seed ^ 0x6a75_6e6b), number: 0 }
    }

    /// Forged ones with the addresses and ports of `genuine`, a UDP packet without header options.
    pub(crate) fn after(&mut self, genuine: &[u8]) -> Vec<Vec<u8>> {
        if self.per_datagram == 0 || genuine.len() < HEADERS || genuine[0] != 0x45 {
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

/// Another payload behind the same addresses. Without a UDP checksum, which IPv4 permits.
fn packet(genuine: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = genuine[..HEADERS].to_vec();
    bytes.extend_from_slice(payload);
    let udp = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    bytes[2..4].copy_from_slice(&(udp + 20).to_be_bytes());
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
