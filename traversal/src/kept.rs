//! Profiles that were measured at an earlier start, as hints for the next one in the same network (M9: "read from a stored
//! profile"; S1: the kind of NAT may be stored in memory and read when it is needed).
//!
//! A measurement takes about a second, and a player may join at once. Until then the hint serves, as [`Confidence::Stale`];
//! the NAT is measured all the same, and what is measured wins. A wrong hint costs a wrong plan for that second.
//!
//! The agent takes hints with [`AgentConfig::kept`](crate::AgentConfig::kept) and gives
//! [`Event::NatMeasured`](crate::Event::NatMeasured) for its driver to store.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nat::{Confidence, MappingBehavior, NatProfile};

/// An older profile is no hint any more: routers are replaced and updated, providers change what they do.
pub const MAX_AGE: Duration = Duration::from_secs(30 * 86_400);
/// More networks are not kept: home, work, friends, a phone. The oldest is forgotten.
pub const MAX_NETWORKS: usize = 16;

/// This is a network, as far as its NAT is concerned. Only the same network gets a hint: behind another router, or
/// with another provider, it says nothing.
///
/// IPv4: the first 24 bits of the public address, since providers give out others of a block, and the /24 networks of all
/// local addresses. With another VPN or another bridge it is another network. IPv6, which is not translated: the first 64
/// bits of the public address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Network {
    public: IpAddr,
    local: Vec<IpAddr>,
}

impl Network {
    /// Returns where a machine with these addresses is, if the lobby server sees it at `public`.
    pub fn of(public: IpAddr, local: &[IpAddr]) -> Self {
        let public = block(public.to_canonical());
        let local = local.iter().map(IpAddr::to_canonical).filter(|ip| ip.is_ipv4() && public.is_ipv4());
        let mut local: Vec<IpAddr> = local.map(block).collect();
        local.sort_unstable();
        local.dedup();
        Self { public, local }
    }
}

fn block(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xff).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// This is a profile and the network that it was measured in.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptProfile {
    /// This is the network that was measured.
    pub network: Network,
    /// This is what was measured, without what was set by hand.
    pub profile: NatProfile,
    /// The measurement is this old. From [`MAX_AGE`] on it is not used.
    pub age: Duration,
}

impl KeptProfile {
    /// Returns a measurement that is worth keeping: something is known of the mapping, and UDP got through.
    pub(crate) fn of(network: Network, profile: NatProfile) -> Option<Self> {
        let measured = matches!(profile.confidence, Confidence::Full | Confidence::Reduced);
        let tells = profile.mapping != MappingBehavior::Unknown && !profile.udp_blocked;
        // Whether a forwarded port leads here is proven anew each time.
        let profile = NatProfile { mapped: false, ..profile };
        (measured && tells).then_some(Self { network, profile, age: Duration::ZERO })
    }

    /// Returns what it says about this network.
    fn hint(&self, network: &Network) -> Option<NatProfile> {
        let profile = NatProfile {
            confidence: Confidence::Stale,
            mapped: false,
            udp_blocked: false,
            // How busy the others behind this NAT were then says nothing about now.
            foreign_rate: None,
            allocation_confidence: None,
            ..self.profile.plausible()
        };
        (self.network == *network && self.age < MAX_AGE).then_some(profile)
    }
}

/// Returns what the newest of these says about this network.
pub(crate) fn hint<'a>(kept: impl Iterator<Item = &'a KeptProfile>, network: &Network) -> Option<NatProfile> {
    kept.filter_map(|kept| Some((kept.age, kept.hint(network)?)))
        .min_by_key(|(age, _)| *age)
        .map(|(_, hint)| hint)
}

/// Puts `new` in the place of an older one of the same network; the oldest of too many goes.
pub fn keep(kept: &mut Vec<KeptProfile>, new: KeptProfile) {
    kept.retain(|old| old.network != new.network);
    kept.insert(0, new);
    kept.sort_by_key(|kept| kept.age);
    kept.truncate(MAX_NETWORKS);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::PortAllocation;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn network(public: &str, local: &[&str]) -> Network {
        let local: Vec<IpAddr> = local.iter().map(|text| ip(text)).collect();
        Network::of(ip(public), &local)
    }

    fn measured(step: i32) -> NatProfile {
        NatProfile {
            mapping: MappingBehavior::AddressAndPortDependent,
            allocation: PortAllocation::Sequential { step },
            confidence: Confidence::Full,
            ..NatProfile::UNKNOWN
        }
    }

    fn kept(network: &Network, step: i32, age_s: u64) -> KeptProfile {
        let age = Duration::from_secs(age_s);
        KeptProfile { age, ..KeptProfile::of(network.clone(), measured(step)).unwrap() }
    }

    #[test]
    fn the_same_home_is_known_again_and_no_other_network_is_taken_for_it() {
        let home = network("203.0.113.7", &["192.168.1.20", "fd00::1"]);
        for same in [
            network("203.0.113.200", &["192.168.1.33"]),
            network("::ffff:203.0.113.9", &["192.168.1.33", "192.168.1.34", "2001:db8::5"]),
        ] {
            assert_eq!(same, home, "another address of the provider's block, another lease of the router");
        }
        for other in [
            network("203.0.114.7", &["192.168.1.20"]),
            network("203.0.113.7", &["192.168.2.20"]),
            network("203.0.113.7", &["192.168.1.20", "10.8.0.2"]),
            network("203.0.113.7", &[]),
            network("2001:db8::7", &["192.168.1.20"]),
        ] {
            assert_ne!(other, home);
        }
        assert_eq!(network("2001:db8::7", &["2001:db8::7"]), network("2001:db8::9:1", &["2001:db8::9:1"]));
        assert_ne!(network("2001:db8::7", &[]), network("2001:db8:0:1::7", &[]));
    }

    #[test]
    fn a_hint_is_the_newest_of_its_network_stale_and_not_too_old() {
        let (home, work) = (network("203.0.113.7", &["192.168.1.2"]), network("192.0.2.1", &["10.0.0.2"]));
        let all = [kept(&home, 3, 500), kept(&home, 1, 100), kept(&work, 7, 1)];
        let found = hint(all.iter(), &home).unwrap();
        assert_eq!(found, NatProfile { confidence: Confidence::Stale, ..measured(1) });
        assert_eq!(hint(all[..2].iter(), &work), None);
        let month = 30 * 86_400;
        assert!(hint([kept(&home, 1, month - 1)].iter(), &home).is_some());
        assert_eq!(hint([kept(&home, 1, month)].iter(), &home), None);
    }

    #[test]
    fn what_tells_nothing_is_not_kept() {
        let home = network("203.0.113.7", &["192.168.1.2"]);
        for worthless in [
            NatProfile::UNKNOWN,
            NatProfile { confidence: Confidence::Stale, ..measured(1) },
            NatProfile { confidence: Confidence::Manual, ..measured(1) },
            NatProfile { udp_blocked: true, ..measured(1) },
            NatProfile { mapping: MappingBehavior::Unknown, ..measured(1) },
        ] {
            assert_eq!(KeptProfile::of(home.clone(), worthless), None);
        }
    }

    #[test]
    fn networks_that_are_kept_are_few_and_each_is_kept_once() {
        let mut all = Vec::new();
        for n in 0..100u8 {
            let network = network(&format!("203.0.{n}.1"), &["192.168.1.2"]);
            keep(&mut all, kept(&network, 1, 1000 - u64::from(n)));
            keep(&mut all, kept(&network, 2, 1000 - u64::from(n)));
        }
        assert_eq!(all.len(), MAX_NETWORKS);
        let newest = network("203.0.99.1", &["192.168.1.2"]);
        assert_eq!(hint(all.iter(), &newest).map(|hint| hint.allocation), Some(measured(2).allocation));
        assert_eq!(hint(all.iter(), &network("203.0.1.1", &["192.168.1.2"])), None, "the oldest went");
    }
}
