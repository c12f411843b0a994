//! Is a direct path possible at all? Reasoned from the NATs' settings alone, never from what the product measured.
//!
//! The reasoning, for two players whose NATs have nothing in common:
//! - A NAT with an endpoint-independent mapping has one external port that the server sees: the other side can
//!   aim at it. One with a predictable port can be bracketed or predicted.
//! - Somebody whose port is *random per destination* cannot be aimed at. It can still be the one that sends: what
//!   it sends must get in, so the other side must have a port that can be aimed at, and a filter that does not ask
//!   for the exact port. The answer must get in there as well: it leaves by the port that was sent to, unless that side
//!   has a new port for each port that it sends to; then the sender's filter must not ask for it either.
//! - If neither holds, trying many ports remains (a search), where one side can collect open ports for the other
//!   side to hit; if that cannot be either, no direct path exists.

use crate::nat::{Allocation, Filtering, Hairpin, Kind, Mapping, NatConfig, Pooling};

/// What can be hoped for between two players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outlook {
    /// A direct path exists without a search: the ports are known, bracketed or predicted.
    Direct,
    /// A direct path is only found by trying many ports (a birthday search), within the caps not for certain.
    Search,
    /// No direct way is possible, for this cause.
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
    /// Returns the name that it has in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::UdpBlocked => "udp-blocked",
            Self::RandomOnBothSides => "random-ports-on-both-sides",
            Self::RandomAgainstSymmetric => "random-ports-against-symmetric",
            Self::NoHairpin => "no-hairpin",
        }
    }
}

/// This says what the two players' networks share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Relation {
    /// They share nothing but the internet.
    #[default]
    Apart,
    /// Both are in the same LAN.
    SameLan,
    /// They share the outermost NAT, but not the LAN.
    SameOuterNat,
}

/// It is several NATs in a row, as somebody outside sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effective {
    /// This is the widest mapping of the row.
    pub mapping: Mapping,
    /// This is the strictest filter of the row.
    pub filtering: Filtering,
    /// Whether the port of a new mapping can be foreseen from ports seen before.
    pub predictable: bool,
    /// A new mapping may get any of several external addresses.
    pub scattered: bool,
}

impl Effective {
    /// Returns the behaviour of a row of NATs, the inner one first.
    pub fn of(chain: &[NatConfig]) -> Self {
        let mut seen = Self {
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::EndpointIndependent,
            predictable: true,
            scattered: false,
        };
        for nat in chain {
            if nat.kind == Kind::Router {
                continue;
            }
            seen.filtering = strictest(seen.filtering, nat.filtering);
            if nat.kind == Kind::Firewall {
                continue;
            }
            seen.mapping = widest(seen.mapping, nat.mapping);
            let inner = seen;
            // A NAT of one address hides the inner one. One of several has an address for each host inside, if it pairs
            // them, and an inner NAT that draws its address is several hosts to it.
            seen.scattered = nat.pool > 1 && (nat.pooling == Pooling::Arbitrary || inner.scattered);
            seen.predictable = match nat.allocation {
                // An inner random port shows through, and so do the several counters of an inner NAT that draws its
                // address; and a second mapping of one socket collides with the first and falls back to a random port,
                // but a fresh socket's port is as good as known.
                Allocation::Preserving(_) => inner.predictable && !inner.scattered,
                Allocation::Sequential(_) => true,
                Allocation::Random | Allocation::RandomInBlock(_) => false,
            };
        }
        seen
    }

    /// Tells whether its address and port towards a new destination can be known beforehand, bracketed or predicted.
    fn aimable(&self) -> bool {
        self.is_fixed() || (self.predictable && !self.scattered)
    }

    /// Tells whether it has one address and port for every destination.
    pub fn is_fixed(&self) -> bool {
        self.mapping == Mapping::EndpointIndependent
    }

    /// Tells whether its filter lets the other side in without knowing its port: by the address alone, if that is
    /// known.
    fn lenient_to(&self, other: &Self) -> bool {
        match self.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => other.is_fixed() || !other.scattered,
            Filtering::AddressAndPortDependent => false,
        }
    }

    /// It may open many ports of which the other side hits one: towards the other's only port, or behind a filter that
    /// looks at no port.
    pub fn collects_for(&self, other: &Self) -> bool {
        other.is_fixed() || (self.filtering != Filtering::AddressAndPortDependent && self.answers(other))
    }

    /// What it answers to whom it let in gets in there: it leaves by the port that was sent to.
    fn answers(&self, other: &Self) -> bool {
        self.mapping != Mapping::AddressAndPortDependent
            || other.filtering != Filtering::AddressAndPortDependent
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
    match relation {
        // Nothing of it passes a NAT.
        Relation::SameLan => return Outlook::Direct,
        Relation::SameOuterNat => match common(left, right) {
            Common::Apart(left, right) => return outlook(left, right, Relation::Apart),
            Common::NoHairpin if !blocked(left) && !blocked(right) => {
                return Outlook::Impossible(Cause::NoHairpin);
            }
            Common::NoHairpin | Common::Hairpin => {}
        },
        Relation::Apart => {}
    }
    if blocked(left) || blocked(right) {
        return Outlook::Impossible(Cause::UdpBlocked);
    }
    let (a, b) = (Effective::of(left), Effective::of(right));
    if a.aimable() && b.aimable() {
        return Outlook::Direct;
    }
    // From here on one side at least is random per destination: it sends, the other one receives.
    let reached = |a: &Effective, b: &Effective| a.aimable() && a.lenient_to(b) && a.answers(b);
    if reached(&a, &b) || reached(&b, &a) {
        return Outlook::Direct;
    }
    // Open many ports towards one fixed port, and let the other side hit one of them; or, behind a lenient
    // filter, open many ports towards the other's address. A counter at an address drawn by chance is met now and then.
    if a.collects_for(&b) || b.collects_for(&a) || (a.predictable && b.predictable) {
        return Outlook::Search;
    }
    if a.predictable || b.predictable {
        Outlook::Impossible(Cause::RandomAgainstSymmetric)
    } else {
        Outlook::Impossible(Cause::RandomOnBothSides)
    }
}

fn blocked(chain: &[NatConfig]) -> bool {
    chain.iter().any(|nat| nat.udp_blocked)
}

/// What the outermost NAT is to two who are both behind it.
enum Common<'a> {
    /// It translates nothing, or one of them is in the network right below it, where the other one reaches it: what is
    /// below it counts.
    Apart(&'a [NatConfig], &'a [NatConfig]),
    /// The common NAT sends packets back inside, which brings them together.
    Hairpin,
    /// The common NAT does not send packets back inside.
    NoHairpin,
}

fn common<'a>(left: &'a [NatConfig], right: &'a [NatConfig]) -> Common<'a> {
    let (Some((outer, left)), Some((_, right))) = (left.split_last(), right.split_last()) else {
        return Common::Apart(left, right);
    };
    let open = |chain| Effective::of(chain).filtering == Filtering::EndpointIndependent;
    // Its own address is good between the two.
    let plain = |chain: &[NatConfig]| !chain.iter().any(NatConfig::translates);
    let reached = |chain| plain(chain) && open(chain);
    if !outer.translates() || reached(left) || reached(right) || (plain(left) && plain(right)) {
        return Common::Apart(left, right);
    }
    match outer.hairpin {
        Hairpin::ExternalSource => Common::Hairpin,
        // The source that it shows is one that neither inner filter has sent to.
        Hairpin::InternalSource if open(left) && open(right) => Common::Hairpin,
        Hairpin::InternalSource | Hairpin::No => Common::NoHairpin,
    }
}

/// Returns the round trips from the request to the first direct packet and to both sides confirmed that are enough
/// where every way takes the same time, nothing is lost, and both NATs are known: the request and the plan take one,
/// and then - a message that gets in at once half of one more, and its confirmations a half or, where only one side can
/// begin, a whole one; - a bracket that is measured after the plan a whole one, before the reply to it can be sent. A
/// guess that is sent meanwhile can be faster.
///
/// None where the network sets no such bound: a search takes as long as it takes, and predicted ports are sent one
/// after the other, as many as the NATs are busy.
pub fn bound_round_trips(left: &[NatConfig], right: &[NatConfig], relation: Relation) -> Option<(f64, f64)> {
    if outlook(left, right, relation) != Outlook::Direct {
        return None;
    }
    let (a, b) = (Effective::of(left), Effective::of(right));
    if relation == Relation::SameLan || (a.is_fixed() && b.is_fixed()) {
        return Some((1.5, 2.0));
    }
    if (a.is_fixed() && a.lenient_to(&b)) || (b.is_fixed() && b.lenient_to(&a)) {
        return Some((1.5, 2.5));
    }
    let strict = |side: &Effective| side.filtering == Filtering::AddressAndPortDependent;
    let predicted = !a.is_fixed() && !b.is_fixed() && strict(&a) && strict(&b);
    (!predicted).then_some((2.5, 3.5))
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
    fn what_gets_in_must_be_answered_by_a_port_that_gets_in() {
        // Each answer leaves by a port of its own, which the other filter has never heard of.
        let against = Outlook::Impossible(Cause::RandomAgainstSymmetric);
        assert_eq!(apart("ps,filtering=adf", "psrandom"), against);
        assert_eq!(apart("ps,filtering=eif", "psrandom"), against);
        assert_eq!(apart("psrandom,filtering=adf", "ps"), against);
        let both = Outlook::Impossible(Cause::RandomOnBothSides);
        assert_eq!(apart("psrandom,filtering=adf", "psrandom"), both);
        assert_eq!(apart("ps,filtering=adf", "psrandom,filtering=adf"), Outlook::Direct);
        assert_eq!(apart("psrandom,filtering=adf", "psrandom,filtering=adf"), Outlook::Search);
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
    fn an_address_drawn_by_chance_cannot_be_aimed_at() {
        let scattered = "ps,pool=4,pooling=arbitrary";
        assert_eq!(
            apart("fullcone,pool=4,pooling=arbitrary", "ps"),
            Outlook::Direct,
            "one mapping, one address"
        );
        assert_eq!(apart(scattered, "fullcone"), Outlook::Direct, "it lets everybody in");
        for other in ["restricted", "portrestricted", "as", "ps"] {
            assert_eq!(apart(scattered, other), Outlook::Search, "{other}");
        }
        let against = Outlook::Impossible(Cause::RandomAgainstSymmetric);
        assert_eq!(apart(scattered, "psrandom"), against);
        assert_eq!(apart("ps,pool=4", "ps"), Outlook::Direct, "paired");
        // An inner NAT that draws its address is many hosts to the outer one, which has an address for each of them.
        let inner = "portrestricted,ports=sequential:1,pool=4,pooling=arbitrary";
        let both = Outlook::Impossible(Cause::RandomOnBothSides);
        assert_eq!(apart(&format!("{inner}+ps,ports=preserving,pool=4"), "psrandom"), both);
        assert_eq!(apart(&format!("{inner}+ps,ports=preserving"), "psrandom"), both, "four counters");
        assert_eq!(apart(&format!("{inner}+ps,ports=sequential:1"), "ps"), Outlook::Direct, "one counter");
    }

    #[test]
    fn bounds() {
        let bound = |left, right| bound_round_trips(&chain(left), &chain(right), Relation::Apart);
        assert_eq!(bound("portrestricted", "firewall"), Some((1.5, 2.0)));
        assert_eq!(bound("ps", "restricted"), Some((1.5, 2.5)));
        assert_eq!(bound("ps", "portrestricted"), Some((2.5, 3.5)));
        assert_eq!(bound("as", "as"), Some((2.5, 3.5)));
        assert_eq!(bound("psrandom", "as"), Some((2.5, 3.5)));
        assert_eq!(bound("ps", "ps"), None);
        assert_eq!(bound("psrandom", "portrestricted"), None);
    }

    #[test]
    fn an_internal_source_passes_open_inner_filters_only() {
        let behind = |inner: &str| chain(&format!("{inner}+cgn,pool=1,hairpin=internal"));
        let both = |left: &str, right: &str| outlook(&behind(left), &behind(right), Relation::SameOuterNat);
        assert_eq!(both("fullcone", "fullcone"), Outlook::Direct);
        for (left, right) in [("fullcone", "restricted"), ("portrestricted", "portrestricted")] {
            assert_eq!(both(left, right), Outlook::Impossible(Cause::NoHairpin));
        }
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
