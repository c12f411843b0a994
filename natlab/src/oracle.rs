//! Is a direct path possible at all? Reasoned from the NATs' settings alone, never from what the product measured.
//!
//! The reasoning, for two players whose NATs have nothing in common:
//! - A NAT with an endpoint-independent mapping has one external port that the server sees: the other side can
//!   aim at it. One with a predictable port can be bracketed or predicted.
//! - Somebody whose port is *random per destination* cannot be aimed at. It can still be the one that sends: what
//!   it sends must get in, so the other side must have a port that can be aimed at, and a filter that does not ask
//!   for the exact port.
//! - If neither holds, trying many ports remains (a search), where one side can collect open ports for the other
//!   side to hit; if that cannot be either, no direct path exists.

use crate::nat::{Allocation, Filtering, Kind, Mapping, NatConfig};

/// What can be hoped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outlook {
    /// A direct path, without search: the ports are known, bracketed or predicted.
    Direct,
    /// Only by trying many ports (a birthday search), within the caps not for certain.
    Search,
    /// None.
    Impossible(Cause),
}

/// Why there is no direct path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A side has no UDP: it reaches the server alone, by TCP.
    UdpBlocked,
    /// Both sides' ports are random for each destination.
    RandomOnBothSides,
    /// One side's ports are random for each destination, and the other's filter wants to know them.
    RandomAgainstSymmetric,
    /// Both are behind one NAT that does not turn packets round, in different networks.
    NoHairpin,
}

impl Cause {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::UdpBlocked => "udp-blocked",
            Self::RandomOnBothSides => "random-ports-on-both-sides",
            Self::RandomAgainstSymmetric => "random-ports-against-symmetric",
            Self::NoHairpin => "no-hairpin",
        }
    }
}

/// What the two players' networks share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Nothing but the internet.
    #[default]
    Apart,
    /// The same LAN.
    SameLan,
    /// The outermost NAT, but not the LAN.
    SameOuterNat,
}

/// Several NATs in a row, as somebody outside sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effective {
    /// No UDP.
    pub udp_blocked: bool,
    /// The widest mapping of the row.
    pub mapping: Mapping,
    /// The strictest filter of the row.
    pub filtering: Filtering,
    /// Whether the port of a new mapping can be foreseen from ports seen before.
    pub predictable: bool,
}

impl Effective {
    /// Of a row, the inner one first.
    pub fn of(chain: &[NatConfig]) -> Self {
        let mut seen = Self {
            udp_blocked: false,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::EndpointIndependent,
            predictable: true,
        };
        for nat in chain {
            seen.udp_blocked |= nat.udp_blocked;
            if nat.kind == Kind::Router {
                continue;
            }
            seen.filtering = strictest(seen.filtering, nat.filtering);
            if nat.kind == Kind::Firewall {
                continue;
            }
            seen.mapping = widest(seen.mapping, nat.mapping);
            seen.predictable = match nat.allocation {
                // An inner random port shows through; and a second mapping of one socket collides with the first
                // and falls back to a random port, but a fresh socket's port is as good as known.
                Allocation::Preserving(_) => seen.predictable,
                Allocation::Sequential(_) => true,
                Allocation::Random | Allocation::RandomInBlock(_) => false,
            };
        }
        seen
    }

    /// Its port towards a new destination can be known beforehand, bracketed or predicted.
    fn aimable(&self) -> bool {
        self.mapping == Mapping::EndpointIndependent || self.predictable
    }

    /// Its filter lets in any port of an address that was sent to.
    fn lenient(&self) -> bool {
        self.filtering != Filtering::AddressAndPortDependent
    }
}

fn strictest(a: Filtering, b: Filtering) -> Filtering {
    use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    match (a, b) {
        (AddressAndPortDependent, _) | (_, AddressAndPortDependent) => AddressAndPortDependent,
        (AddressDependent, _) | (_, AddressDependent) => AddressDependent,
        (EndpointIndependent, EndpointIndependent) => EndpointIndependent,
    }
}

fn widest(a: Mapping, b: Mapping) -> Mapping {
    use Mapping::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    match (a, b) {
        (AddressAndPortDependent, _) | (_, AddressAndPortDependent) => AddressAndPortDependent,
        (AddressDependent, _) | (_, AddressDependent) => AddressDependent,
        (EndpointIndependent, EndpointIndependent) => EndpointIndependent,
    }
}

/// What can be hoped for between players behind these NATs, the inner one of each first.
pub fn outlook(left: &[NatConfig], right: &[NatConfig], relation: Relation) -> Outlook {
    let (a, b) = (Effective::of(left), Effective::of(right));
    if a.udp_blocked || b.udp_blocked {
        return Outlook::Impossible(Cause::UdpBlocked);
    }
    match relation {
        Relation::SameLan => return Outlook::Direct,
        Relation::SameOuterNat if left.last().is_some_and(|nat| nat.translates() && !nat.hairpin) => {
            return Outlook::Impossible(Cause::NoHairpin);
        }
        Relation::SameOuterNat | Relation::Apart => {}
    }
    if a.aimable() && b.aimable() {
        return Outlook::Direct;
    }
    // From here on one side at least is random per destination: it sends, the other one receives.
    if (a.aimable() && a.lenient()) || (b.aimable() && b.lenient()) {
        return Outlook::Direct;
    }
    // Open many ports towards one fixed port, and let the other side hit one of them; or, behind a lenient
    // filter, open many ports towards the other's address.
    let fixed = |side: &Effective| side.mapping == Mapping::EndpointIndependent;
    if fixed(&a) || fixed(&b) || a.lenient() || b.lenient() {
        return Outlook::Search;
    }
    if a.aimable() || b.aimable() {
        Outlook::Impossible(Cause::RandomAgainstSymmetric)
    } else {
        Outlook::Impossible(Cause::RandomOnBothSides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::NatSpec;

    fn chain(spec: &str) -> Vec<NatConfig> {
        spec.parse::<NatSpec>().unwrap().chain
    }

    fn apart(left: &str, right: &str) -> Outlook {
        let forward = outlook(&chain(left), &chain(right), Relation::Apart);
        assert_eq!(forward, outlook(&chain(right), &chain(left), Relation::Apart), "symmetric");
        forward
    }

    #[test]
    fn every_pair_of_the_six_named_types_has_a_direct_path() {
        let six = ["none", "fullcone", "restricted", "portrestricted", "as", "ps"];
        for left in six {
            for right in six {
                assert_eq!(apart(left, right), Outlook::Direct, "{left} {right}");
            }
        }
    }

    #[test]
    fn random_ports() {
        for easy in ["none", "fullcone", "restricted", "as", "cgn"] {
            assert_eq!(apart("psrandom", easy), Outlook::Direct, "{easy}");
        }
        for search in ["portrestricted", "linux", "firewall"] {
            assert_eq!(apart("psrandom", search), Outlook::Search, "{search}");
        }
        let against = Outlook::Impossible(Cause::RandomAgainstSymmetric);
        assert_eq!(apart("psrandom", "ps"), against);
        assert_eq!(apart("psrandom", "psrandom"), Outlook::Impossible(Cause::RandomOnBothSides));
        assert_eq!(apart("as,ports=random", "as,ports=random"), Outlook::Search);
    }

    #[test]
    fn blocked_udp() {
        assert_eq!(apart("udpblocked", "none"), Outlook::Impossible(Cause::UdpBlocked));
        assert_eq!(apart("portrestricted+udpblocked", "none"), Outlook::Impossible(Cause::UdpBlocked));
    }

    #[test]
    fn rows_are_as_strict_as_their_strictest() {
        assert_eq!(apart("fullcone+psrandom", "portrestricted"), Outlook::Search);
        assert_eq!(apart("psrandom+fullcone", "portrestricted"), Outlook::Search, "the port shows through");
        let counted = "psrandom+fullcone,ports=sequential:1";
        assert_eq!(apart(counted, "portrestricted"), Outlook::Direct, "the outer one counts");
    }

    #[test]
    fn networks_in_common() {
        let (home, cgn) = (chain("portrestricted+cgn"), chain("portrestricted+cgn,hairpin=no"));
        assert_eq!(outlook(&home, &home, Relation::SameOuterNat), Outlook::Direct);
        assert_eq!(outlook(&cgn, &cgn, Relation::SameOuterNat), Outlook::Impossible(Cause::NoHairpin));
        let random = chain("psrandom");
        assert_eq!(outlook(&random, &random, Relation::SameLan), Outlook::Direct);
    }
}
