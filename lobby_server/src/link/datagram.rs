//! What the two servers say to each other: the bytes of a datagram, and its seal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use traversal_core::Identity;
use traversal_core::wire::MAX_CONTROL;
use traversal_core::wire::secret::{CODE, MacKey};

/// The first byte: like the kinds of [`Kind`](traversal_core::wire::Kind) outside the ranges of RFC 7983, and none of them.
pub(crate) const LINK_KIND: u8 = 0xD7;
/// This is the version of all that stands in this file. Servers of two versions do not link, and say so.
pub(crate) const LINK_VERSION: u8 = 1;
/// A player's datagram that is carried has so many bytes at the most.
pub(crate) const MAX_CARRIED: usize = MAX_CONTROL;

/// So many bytes of the public key say whose link it is.
const NAME: usize = 8;
const PURPOSE: &[u8] = b"bevy_traversal lobby link 1";
const PING: u8 = 1;
const PONG: u8 = 2;
const ARRIVED: u8 = 3;
const EMIT: u8 = 4;
/// These are the bits of the flags of a carried datagram.
const SECOND_PORT: u8 = 1;
const PROOF: u8 = 2;

/// These are the second ports of a server's first address in IPv4 and IPv6; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecondPorts {
    pub(crate) v4: u16,
    pub(crate) v6: u16,
}

/// This is what one server tells the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkMessage<'a> {
    /// It asks whether the other one is there.
    Ping { ports: SecondPorts },
    /// It answers the ping with this counter.
    Pong { ping: u64, ports: SecondPorts },
    /// A player's probe came to it, of a session that it does not know.
    Arrived { second_port: bool, from: SocketAddr, datagram: &'a [u8] },
    /// The other one is to send this from its first or second port. `proof`: it proves something only if nothing was sent
    /// to the other one from there before.
    Emit { second_port: bool, proof: bool, to: SocketAddr, datagram: &'a [u8] },
}

/// This says who sends to whom: numbers drawn at the start of each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) from: u64,
    /// 0: the sender does not know the other one's yet.
    pub(crate) to: u64,
    /// It goes up with each datagram of the sender.
    pub(crate) counter: u64,
}

/// This says why a datagram is none of this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOfLink {
    /// It is not in our format, or its seal does not fit.
    Foreign,
    /// The other server has another version.
    OtherVersion(u8),
    /// The other server has another key.
    OtherKey,
}

/// This key seals the datagrams of a link.
pub(crate) struct LinkKey {
    mac: MacKey,
    name: [u8; NAME],
}

impl LinkKey {
    /// Returns the key of all links between servers with this identity.
    pub(crate) fn new(identity: &Identity) -> Option<Self> {
        let mut key = [0; 2 * CODE];
        for (half, part) in key.chunks_exact_mut(CODE).zip([b"1", b"2"]) {
            half.copy_from_slice(&identity.mac(PURPOSE, part)?);
        }
        let public = identity.public_key();
        Some(Self { mac: MacKey::new(key), name: *public.first_chunk()? })
    }

    /// Returns the datagram that says this; none: what it carries is too long.
    pub(crate) fn seal(&self, head: Head, message: &LinkMessage<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(64);
        let (what, carried) = match message {
            LinkMessage::Ping { .. } => (PING, 0),
            LinkMessage::Pong { .. } => (PONG, 0),
            LinkMessage::Arrived { datagram, .. } => (ARRIVED, datagram.len()),
            LinkMessage::Emit { datagram, .. } => (EMIT, datagram.len()),
        };
        if carried > MAX_CARRIED {
            return None;
        }
        out.extend_from_slice(&[LINK_KIND, LINK_VERSION, what]);
        out.extend_from_slice(&self.name);
        for number in [head.from, head.to, head.counter] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let put_ports = |out: &mut Vec<u8>, ports: &SecondPorts| {
            out.extend_from_slice(&ports.v4.to_le_bytes());
            out.extend_from_slice(&ports.v6.to_le_bytes());
        };
        match message {
            LinkMessage::Ping { ports } => put_ports(&mut out, ports),
            LinkMessage::Pong { ping, ports } => {
                put_ports(&mut out, ports);
                out.extend_from_slice(&ping.to_le_bytes());
            }
            LinkMessage::Arrived { second_port, from, datagram } => {
                put_carried(&mut out, u8::from(*second_port) * SECOND_PORT, *from, datagram);
            }
            LinkMessage::Emit { second_port, proof, to, datagram } => {
                let flags = u8::from(*second_port) * SECOND_PORT + u8::from(*proof) * PROOF;
                put_carried(&mut out, flags, *to, datagram);
            }
        }
        let code = self.mac.code(PURPOSE, &[&out])?;
        out.extend_from_slice(&code);
        Some(out)
    }

    /// Reads a datagram of the other server.
    pub(crate) fn open<'a>(&self, datagram: &'a [u8]) -> Result<(Head, LinkMessage<'a>), NotOfLink> {
        let mut front = datagram;
        let [kind, version] = take(&mut front)?;
        if kind != LINK_KIND {
            return Err(NotOfLink::Foreign);
        }
        if version != LINK_VERSION {
            return Err(NotOfLink::OtherVersion(version));
        }
        let [what] = take(&mut front)?;
        if take::<NAME>(&mut front)? != self.name {
            return Err(NotOfLink::OtherKey);
        }
        let (sealed, code) = datagram.split_last_chunk::<CODE>().ok_or(NotOfLink::Foreign)?;
        if !self.mac.fits(PURPOSE, &[sealed], code) {
            return Err(NotOfLink::Foreign);
        }
        let mut rest = sealed.get(3 + NAME..).ok_or(NotOfLink::Foreign)?;
        let mut number = || take(&mut rest).map(u64::from_le_bytes);
        let head = Head { from: number()?, to: number()?, counter: number()? };
        let message = match what {
            PING => LinkMessage::Ping { ports: take_ports(&mut rest)? },
            PONG => {
                let ports = take_ports(&mut rest)?;
                LinkMessage::Pong { ping: u64::from_le_bytes(take(&mut rest)?), ports }
            }
            ARRIVED => {
                let (flags, from) = take_carried(&mut rest)?;
                let datagram = std::mem::take(&mut rest);
                LinkMessage::Arrived { second_port: flags & SECOND_PORT != 0, from, datagram }
            }
            EMIT => {
                let (flags, to) = take_carried(&mut rest)?;
                let datagram = std::mem::take(&mut rest);
                let (second_port, proof) = (flags & SECOND_PORT != 0, flags & PROOF != 0);
                LinkMessage::Emit { second_port, proof, to, datagram }
            }
            _ => return Err(NotOfLink::Foreign),
        };
        match message {
            LinkMessage::Arrived { datagram, .. } | LinkMessage::Emit { datagram, .. }
                if datagram.len() > MAX_CARRIED =>
            {
                Err(NotOfLink::Foreign)
            }
            _ if !rest.is_empty() => Err(NotOfLink::Foreign),
            message => Ok((head, message)),
        }
    }
}

fn put_carried(out: &mut Vec<u8>, flags: u8, address: SocketAddr, datagram: &[u8]) {
    out.push(flags);
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
    out.extend_from_slice(datagram);
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], NotOfLink> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(NotOfLink::Foreign)?;
    *bytes = rest;
    Ok(*head)
}

fn take_ports(bytes: &mut &[u8]) -> Result<SecondPorts, NotOfLink> {
    Ok(SecondPorts { v4: u16::from_le_bytes(take(bytes)?), v6: u16::from_le_bytes(take(bytes)?) })
}

fn take_carried(bytes: &mut &[u8]) -> Result<(u8, SocketAddr), NotOfLink> {
    let [flags, family] = take(bytes)?;
    let ip = match family {
        4 => IpAddr::V4(Ipv4Addr::from(take::<4>(bytes)?)),
        6 => IpAddr::V6(Ipv6Addr::from(take::<16>(bytes)?)),
        _ => return Err(NotOfLink::Foreign),
    };
    Ok((flags, SocketAddr::new(ip, u16::from_le_bytes(take(bytes)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: u8) -> LinkKey {
        LinkKey::new(&Identity::from_secret([secret; 32])).unwrap()
    }

    const HEAD: Head = Head { from: 7, to: 8, counter: 9 };

    fn all(carried: &[u8]) -> [LinkMessage<'_>; 5] {
        let ports = SecondPorts { v4: 3479, v6: 0 };
        let (v4, v6) = ("203.0.113.1:4000".parse().unwrap(), "[2001:db8::1]:5000".parse().unwrap());
        [
            LinkMessage::Ping { ports },
            LinkMessage::Pong { ping: 3, ports },
            LinkMessage::Arrived { second_port: true, from: v4, datagram: carried },
            LinkMessage::Emit { second_port: false, proof: true, to: v6, datagram: carried },
            LinkMessage::Emit { second_port: true, proof: false, to: v4, datagram: &[] },
        ]
    }

    #[test]
    fn what_is_sealed_is_read_as_it_was_and_fits_a_datagram() {
        let carried = vec![0xCD; MAX_CARRIED];
        for message in all(&carried) {
            let sealed = key(1).seal(HEAD, &message).unwrap();
            assert_eq!(key(1).open(&sealed), Ok((HEAD, message)));
            // With the headers of IPv6 and UDP it passes every link of 1,500 bytes, and those of 1,320.
            assert!(sealed.len() + 48 <= 1320, "{}", sealed.len());
        }
        let long = vec![0; MAX_CARRIED + 1];
        let from = "203.0.113.1:4000".parse().unwrap();
        assert_eq!(
            key(1).seal(HEAD, &LinkMessage::Arrived { second_port: false, from, datagram: &long }),
            None
        );
    }

    proptest::proptest! {
        /// Nobody can make these but who has the key; they are read or refused all the same.
        #[test]
        fn whatever_stands_under_a_good_seal_is_read_or_refused(
            what in 0u8..6,
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
        ) {
            let key = key(1);
            let mut sealed = vec![LINK_KIND, LINK_VERSION, what];
            sealed.extend_from_slice(&key.name);
            sealed.extend_from_slice(&rest);
            let code = key.mac.code(PURPOSE, &[&sealed]).unwrap();
            sealed.extend_from_slice(&code);
            if let Ok((head, message)) = key.open(&sealed) {
                proptest::prop_assert_eq!(key.seal(head, &message).map(|again| again.len()), Some(sealed.len()));
            }
        }
    }

    #[test]
    fn no_damaged_cut_or_foreign_datagram_is_read() {
        for message in all(b"a probe") {
            let sealed = key(1).seal(HEAD, &message).unwrap();
            for end in 0..sealed.len() {
                assert_eq!(key(1).open(&sealed[..end]), Err(NotOfLink::Foreign), "cut at {end}");
            }
            for index in 2..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[index] ^= 1;
                assert!(key(1).open(&damaged).is_err(), "byte {index}");
            }
            let mut other = sealed.clone();
            other[1] = 2;
            assert_eq!(key(1).open(&other), Err(NotOfLink::OtherVersion(2)));
            assert_eq!(key(2).open(&sealed), Err(NotOfLink::OtherKey));
        }
    }
}
