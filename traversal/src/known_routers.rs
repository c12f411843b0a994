//! A small table of routers whose NAT is known by what they call themselves (S1: "the database server may store the
//! characteristic by corresponding to the ID or type number of the communication control unit"; M38).
//!
//! Only a hint until the NAT is measured, like a profile of an earlier start ([`kept`](crate::kept)), which comes before it:
//! an owner may have changed the rules, and a carrier's NAT may stand behind the router.
//!
//! Routers answer on their own network, long before a far lobby server does; so on a slow link the hint comes first.
//!
//! The table has what a source says and nothing else. There is no entry for carriers' shared addresses (100.64.0.0/10): RFC
//! 6888 demands endpoint-independent mappings there, but about a third of the mobile providers were measured symmetric. Nor
//! for makers who sell routers of many kinds.

use crate::facts::NatFacts;
use crate::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};

/// This is what a router calls itself in its UPnP device description. Devices say what they like: it is only looked
/// up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterName {
    /// This is who made it: `manufacturer` in its UPnP description.
    pub manufacturer: String,
    /// This is what it is called: `modelName` in its UPnP description.
    pub model: String,
}

/// This is a row of the table.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The router's `manufacturer` is this, in any case of letters.
    manufacturer: &'static str,
    facts: NatFacts,
}

/// This is Linux netfilter, `masquerade` without `random`: it keeps the port while it is free, towards every
/// destination, so that it looks endpoint-independent; it lets in what was sent to. Linux 6.18 is measured by
/// `natlab/tests/netns_nats.rs`.
const NETFILTER: NatFacts = NatFacts {
    translated: Some(true),
    mapping: Some(MappingBehavior::EndpointIndependent),
    filtering: Some(FilteringBehavior::AddressAndPortDependent),
    allocation: Some(PortAllocation::Preserving),
    ..NatFacts::NONE
};

/// This is pf: it makes a state, and with it a random port, for each destination, unless the rule says `static-port`:
/// pf.conf(5); docs.netgate.com, "Outbound NAT", "Static Port".
const PF: NatFacts = NatFacts {
    translated: Some(true),
    mapping: Some(MappingBehavior::AddressAndPortDependent),
    filtering: Some(FilteringBehavior::AddressAndPortDependent),
    allocation: Some(PortAllocation::Random),
    ..NatFacts::NONE
};

/// miniupnpd names the system as the manufacturer (`upnpdescstrings.h`: `ROOTDEV_MANUFACTURER` is `OS_NAME`), and its
/// `genconfig.sh` has the names and the packet filter of each. FreeBSD, NetBSD and DragonFly have several filters, so they
/// are not here.
const TABLE: [Known; 8] = [
    Known { manufacturer: "OpenWrt", facts: NETFILTER },
    Known { manufacturer: "AstLinux", facts: NETFILTER },
    Known { manufacturer: "Debian", facts: NETFILTER },
    Known { manufacturer: "Ubuntu", facts: NETFILTER },
    Known { manufacturer: "Gentoo", facts: NETFILTER },
    Known { manufacturer: "Linux", facts: NETFILTER },
    Known { manufacturer: "pfSense", facts: PF },
    Known { manufacturer: "OpenBSD", facts: PF },
];

/// Returns what is known of a router of this name, as a hint.
pub fn hint(router: &RouterName) -> Option<NatProfile> {
    let name = router.manufacturer.trim();
    let known = TABLE.iter().find(|known| known.manufacturer.eq_ignore_ascii_case(name))?;
    let facts = known.facts.over(NatProfile::UNKNOWN);
    Some(NatProfile { confidence: Confidence::Stale, ..facts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::NatKind;

    fn named(manufacturer: &str) -> RouterName {
        RouterName { manufacturer: manufacturer.into(), model: format!("{manufacturer} router") }
    }

    #[test]
    fn m38_routers_are_known_by_the_name_that_they_give_themselves() {
        for (name, kind) in [
            ("OpenWRT", NatKind::PortRestrictedCone),
            ("OpenWrt", NatKind::PortRestrictedCone),
            (" pfSense ", NatKind::PortSensitiveSymmetric),
        ] {
            let hint = hint(&named(name)).unwrap();
            assert_eq!((hint.kind(), hint.confidence), (kind, Confidence::Stale), "{name}");
        }
        for unknown in ["", "FreeBSD", "MiniUPnP", "pfSense's neighbour", "OpenWrt\u{0}"] {
            assert_eq!(hint(&named(unknown)), None, "{unknown}");
        }
    }

    #[test]
    fn every_row_can_be_and_is_there_once() {
        for (n, known) in TABLE.iter().enumerate() {
            known.facts.check().unwrap();
            assert!(TABLE[n + 1..].iter().all(|o| !o.manufacturer.eq_ignore_ascii_case(known.manufacturer)));
        }
    }
}
