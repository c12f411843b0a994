//! What stands between a player and the Internet: names, addresses.

use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::link::{Mtu, MtuError};
use crate::nat::{NatConfig, NatSpec};

use super::error::NetnsError;
use super::kernel_nat::KernelNat;

/// This is one box of a chain.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// It is the laboratory's own NAT.
    Emulated(NatConfig),
    /// It is the kernel's masquerade.
    Kernel(KernelNat),
}

impl Stage {
    fn translates(&self) -> bool {
        match self {
            Self::Emulated(config) => config.translates(),
            Self::Kernel(_) => true,
        }
    }

    fn forwards_ports(&self) -> bool {
        matches!(self, Self::Kernel(nat) if nat.service.any())
    }

    fn pool(&self) -> u16 {
        match self {
            Self::Emulated(config) => config.pool.max(1),
            Self::Kernel(_) => 1,
        }
    }
}

/// These are the NATs of one player, the innermost first.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// It is the name as it was given.
    pub name: String,
    /// They are its boxes.
    pub stages: Vec<Stage>,
    /// What its line, or its machine, does with long packets.
    pub narrow: Option<Narrow>,
}

/// It is a side that takes less than Ethernet does: `mtu=1280`, `mtu=1280:silent`, `mtu=1280:own`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrow {
    /// This is the longest UDP packet.
    pub mtu: Mtu,
    /// It is the player's own interface that takes no more, as with a VPN; else a router on the line.
    pub own: bool,
}

impl FromStr for Narrow {
    type Err = MtuError;

    fn from_str(text: &str) -> Result<Self, MtuError> {
        let own = text.strip_suffix(":own");
        Ok(Self { mtu: own.unwrap_or(text).parse()?, own: own.is_some() })
    }
}

impl FromStr for Side {
    type Err = NetnsError;

    fn from_str(name: &str) -> Result<Self, NetnsError> {
        let error = |reason: String| NetnsError::Nat { name: name.to_owned(), reason };
        let (mut stages, mut narrow) = (Vec::new(), None);
        for part in name.split('+') {
            if let Some(mtu) = part.strip_prefix("mtu=") {
                narrow = Some(mtu.parse::<Narrow>().map_err(|source| error(format!("{source}")))?);
            } else if let Some(options) = part.strip_prefix("kernel") {
                stages.push(Stage::Kernel(KernelNat::parse(options).map_err(error)?));
            } else {
                let spec: NatSpec = part.parse().map_err(|source| error(format!("{source}")))?;
                stages.extend(spec.chain.into_iter().map(Stage::Emulated));
            }
        }
        // Each box is a hop, and each level of private addresses a network: more than this is a typing error.
        if stages.len() > 4 {
            return Err(error(String::from("at most 4 NATs in a row")));
        }
        if stages.is_empty() {
            return Err(error(String::from("no NAT is named; `none+mtu=1280` has none")));
        }
        Ok(Self { name: name.to_owned(), stages, narrow })
    }
}

/// Who has which address on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// This is the player's machine.
    pub(crate) host: Ipv4Addr,
    /// They are the outer addresses of each stage, in the order of the stages; empty for one that does not translate.
    pub(crate) external: Vec<Vec<Ipv4Addr>>,
    /// The Internet routes these addresses to this side.
    pub(crate) public: Vec<Ipv4Addr>,
}

impl Side {
    /// Tells whether no kernel's NAT is among its boxes.
    pub(crate) fn is_emulated(&self) -> bool {
        self.stages.iter().all(|stage| matches!(stage, Stage::Emulated(_)))
    }

    /// Returns its addresses; `number` is 1 for the left player and 2 for the right one.
    pub(crate) fn addresses(&self, number: u8) -> Addresses {
        let mut external = vec![Vec::new(); self.stages.len()];
        let mut public = Vec::new();
        // RFC 2544's test network: no real Internet address. miniupnpd knows it and would not serve there; nobody on
        // the Internet announces this one, and nothing gets out of here anyway.
        let [a, b] = if self.stages.iter().any(Stage::forwards_ports) { [11, 18] } else { [198, 18] };
        for (index, stage) in self.stages.iter().enumerate().rev().filter(|(_, stage)| stage.translates()) {
            let pool = (1..=stage.pool()).map(|last| u8::try_from(last).unwrap_or(u8::MAX));
            external[index] = if public.is_empty() {
                let addresses: Vec<_> = pool.map(|last| Ipv4Addr::new(a, b, number, last)).collect();
                public.clone_from(&addresses);
                addresses
            } else {
                // RFC 6598: between a carrier's NAT and its customers'.
                let third = number * 16 + u8::try_from(index).unwrap_or(0);
                pool.map(|last| Ipv4Addr::new(100, 64, third, last)).collect()
            };
        }
        if public.is_empty() {
            let host = Ipv4Addr::new(198, 18, number, 1);
            return Addresses { host, external, public: vec![host] };
        }
        Addresses { host: Ipv4Addr::new(192, 168, number, 2), external, public }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(name: &str) -> Addresses {
        name.parse::<Side>().expect("a side").addresses(2)
    }

    #[test]
    fn a_player_without_nat_is_public() {
        for name in ["none", "firewall"] {
            let found = addresses(name);
            assert_eq!(found.host, Ipv4Addr::new(198, 18, 2, 1));
            assert_eq!(found.public, [found.host]);
        }
    }

    #[test]
    fn one_nat_has_the_public_address() {
        let found = addresses("ps");
        assert_eq!(found.host, Ipv4Addr::new(192, 168, 2, 2));
        assert_eq!(found.external, [[Ipv4Addr::new(198, 18, 2, 1)]]);
        assert_eq!(found.public, [Ipv4Addr::new(198, 18, 2, 1)]);
    }

    #[test]
    fn nats_in_a_row_have_a_network_between_them() {
        let found = addresses("kernel+cgn,pool=2");
        assert_eq!(found.external[0], [Ipv4Addr::new(100, 64, 32, 1)]);
        assert_eq!(found.external[1], [Ipv4Addr::new(198, 18, 2, 1), Ipv4Addr::new(198, 18, 2, 2)]);
        assert_eq!(found.public, found.external[1]);
    }

    #[test]
    fn an_mtu_stands_behind_the_nats() {
        let side: Side = "portrestricted+cgn+mtu=1280:silent".parse().expect("a side");
        assert_eq!(side.stages.len(), 2);
        assert_eq!(side.narrow, Some(Narrow { mtu: Mtu { bytes: 1280, icmp: false }, own: false }));
        let own: Side = "none+mtu=1420:own".parse().expect("a side");
        assert_eq!(own.narrow, Some(Narrow { mtu: Mtu { bytes: 1420, icmp: true }, own: true }));
        for wrong in ["mtu=1280", "ps+mtu=9000", "ps+mtu=1280:loud"] {
            assert!(wrong.parse::<Side>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_name_says_what_is_wrong() {
        let error = "kernel:sideways".parse::<Side>().expect_err("no such option").to_string();
        assert!(error.contains("kernel:sideways") && error.contains("fully-random"), "{error}");
        let error = "portrestrictd".parse::<Side>().expect_err("no such NAT").to_string();
        assert!(error.contains("portrestricted"), "{error}");
    }
}
