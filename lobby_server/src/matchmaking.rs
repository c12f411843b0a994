//! Which addresses of a player the other one is told, and the two plans of a match.

use std::net::{IpAddr, SocketAddr};

use traversal_core::address::{Scope, is_site, scope};
use traversal_core::classify::RttEstimate;
use traversal_core::id::MatchId;
use traversal_core::nat::NatProfile;
use traversal_core::plan::{Plan, PlanInForce, PlanOptions, plan};
use traversal_core::wire::message::{
    MAX_LOCAL_ADDRESSES, Method, NoRelay, PlayerInfo, PunchPlan, RelayGrant, Replan, Role, RoundTrip,
};

/// One side of a match, as its home node knows it.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub(crate) info: PlayerInfo,
    pub(crate) ephemeral: [u8; 32],
    /// Its lasting key.
    pub(crate) key: [u8; 32],
    /// The validated address of its session.
    pub(crate) public: SocketAddr,
    /// Its validated address in the other family, if it has one.
    pub(crate) other: Option<SocketAddr>,
    /// `public` is a TCP address: UDP does not get through to this player, and nobody is to try there.
    pub(crate) over_stream: bool,
    /// A port of the same IP that its router forwards to it, as proven.
    pub(crate) mapped: Option<SocketAddr>,
    /// What it says its own interfaces have.
    pub(crate) local: Vec<SocketAddr>,
    pub(crate) relay_only: bool,
    /// The server's address as this player knows it.
    pub(crate) server_ip: Option<IpAddr>,
    pub(crate) nat: NatProfile,
    /// Its round trip to this server.
    pub(crate) timing: RttEstimate,
}

/// What a match is, whoever its players are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairing {
    pub(crate) match_id: MatchId,
    /// What the keys of the pair are made of, with the players' own.
    pub(crate) pair_secret: [u8; 32],
    /// How often their room has changed its host.
    pub(crate) epoch: u32,
    /// The two are members of a mesh, neither of them the host.
    pub(crate) mesh: bool,
}

/// What the operator sets about matches.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// Leading bits of two public IPv4 addresses that must agree for the same-NAT bit (M25).
    pub(crate) mask_v4: u8,
    /// The same for IPv6.
    pub(crate) mask_v6: u8,
    /// Milliseconds for an attempt.
    pub(crate) deadline_ms: u32,
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    /// This machine.
    Loopback,
    /// This link or site: private, shared with a carrier's or an overlay network, link-local, unique local.
    Local,
    /// Everything else.
    Public,
}

pub(crate) fn realm(ip: IpAddr) -> Realm {
    match scope(ip) {
        Scope::Loopback => Realm::Loopback,
        _ if is_site(ip) => Realm::Local,
        _ => Realm::Public,
    }
}

/// Whether two addresses agree in their first `bits` bits.
fn agree(a: IpAddr, b: IpAddr, mask_v4: u8, mask_v6: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let shift = 32 - u32::from(mask_v4.min(32));
            (u64::from(a.to_bits()) >> shift) == (u64::from(b.to_bits()) >> shift)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let shift = 128 - u32::from(mask_v6.min(128));
            (a.to_bits() ^ b.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

impl Party {
    /// Where it is seen, in one family or both.
    fn seen_at(&self) -> impl Iterator<Item = SocketAddr> + Clone {
        [Some(self.public), self.other].into_iter().flatten()
    }
}

/// M25's bit. Players that the server sees at private addresses or on its own machine are on its own network. With
/// both families, one in common is enough.
fn same_nat(a: &Party, b: &Party, policy: &Policy) -> bool {
    let same = |a: IpAddr, b: IpAddr| match (realm(a), realm(b)) {
        (Realm::Public, Realm::Public) => agree(a, b, policy.mask_v4, policy.mask_v6),
        (Realm::Public, _) | (_, Realm::Public) => false,
        _ => true,
    };
    a.seen_at().any(|a| b.seen_at().any(|b| same(a.ip(), b.ip())))
}

/// The public addresses of `of` that `to` is told: none where one of them plays over the relay alone.
pub(crate) fn public_addresses(of: &Party, to: &Party, policy: &Policy) -> Vec<SocketAddr> {
    if of.relay_only || to.relay_only { Vec::new() } else { public_for(of, to, same_nat(of, to, policy)) }
}

fn public_for(of: &Party, to: &Party, same_nat: bool) -> Vec<SocketAddr> {
    if of.over_stream {
        return Vec::new();
    }
    // The forwarded one first: methods that take one address take that.
    let mapped = of.mapped.filter(|_| realm(of.public.ip()) == Realm::Public);
    let seen = of.seen_at().filter(|address| Some(*address) != mapped);
    mapped.into_iter().chain(seen.filter_map(|address| address_for(address, to, same_nat))).collect()
}

/// How `to` reaches what the server sees at `address`.
fn address_for(address: SocketAddr, to: &Party, same_nat: bool) -> Option<SocketAddr> {
    let told = match realm(address.ip()) {
        Realm::Public => true,
        Realm::Local => same_nat,
        Realm::Loopback if to.seen_at().any(|to| realm(to.ip()) == Realm::Loopback) => true,
        // On our own machine: where the other one reaches us it reaches that player too.
        Realm::Loopback => {
            let ip = to.server_ip.filter(|ip| ip.is_ipv4() == address.is_ipv4())?;
            let told = match realm(ip) {
                Realm::Public => true,
                Realm::Local => same_nat,
                Realm::Loopback => false,
            };
            return told.then(|| SocketAddr::new(ip, address.port()));
        }
    };
    told.then_some(address)
}

/// What to try between the room's host and the player who comes in, who is the caller (M10). The profiles are about the
/// NATs of the sessions' family: where the two differ there is only the hope that tests get through. Nothing is tried
/// where one of them plays over the relay alone.
pub(crate) fn choose(host: &Party, joiner: &Party) -> Plan {
    let chosen = plan(&joiner.nat, &host.nat, PlanOptions::default());
    let blocked = host.over_stream || joiner.over_stream;
    let methods = if host.relay_only || joiner.relay_only {
        Vec::new()
    } else if blocked || host.public.is_ipv4() == joiner.public.is_ipv4() {
        chosen.methods
    } else {
        vec![Method::Cone]
    };
    Plan { methods, ..chosen }
}

/// The local addresses of `of` that `to` is told.
fn local_for(of: &Party, to: &Party, same_nat: bool) -> Vec<SocketAddr> {
    if !same_nat {
        return Vec::new();
    }
    let both_on_loopback =
        realm(of.public.ip()) == Realm::Loopback && realm(to.public.ip()) == Realm::Loopback;
    of.local
        .iter()
        .filter(|address| match realm(address.ip()) {
            Realm::Local => true,
            Realm::Loopback => both_on_loopback,
            Realm::Public => false,
        })
        .take(MAX_LOCAL_ADDRESSES)
        .copied()
        .collect()
}

/// The plans for the room's host and for the player who comes in, with what was [chosen](choose) for them; `relay` is
/// for them in this order.
pub(crate) fn plans(
    pairing: Pairing,
    (host, joiner): (&Party, &Party),
    chosen: &Plan,
    relay: Result<[RelayGrant; 2], NoRelay>,
    policy: &Policy,
) -> (PunchPlan, PunchPlan) {
    let no_addresses = host.relay_only || joiner.relay_only;
    let same_nat = same_nat(host, joiner, policy);
    let callee = chosen.caller.other();
    let plan = |own: &Party, peer: &Party, hosting: bool| PunchPlan {
        match_id: pairing.match_id,
        peer: peer.info.clone(),
        peer_ephemeral: peer.ephemeral,
        pair_secret: pairing.pair_secret,
        host: hosting,
        role: if hosting { callee } else { chosen.caller },
        same_nat: same_nat && !no_addresses,
        peer_public: if no_addresses { Vec::new() } else { public_for(peer, own, same_nat) },
        peer_local: if no_addresses { Vec::new() } else { local_for(peer, own, same_nat) },
        own_nat: own.nat,
        peer_nat: peer.nat,
        methods: chosen.methods.clone(),
        deadline_ms: policy.deadline_ms,
        relay: relay.ok().map(|grants| grants[usize::from(!hosting)]),
        no_relay: relay.err(),
        epoch: pairing.epoch,
        mesh: pairing.mesh,
        peer_rtt: RoundTrip::of(peer.timing),
        peer_key: peer.key,
    };
    (plan(host, joiner, true), plan(joiner, host, false))
}

/// The plan in force of a match that runs, for the room's host and for the player who came in.
pub(crate) fn replans(
    match_id: MatchId,
    host: &Party,
    joiner: &Party,
    in_force: &PlanInForce,
) -> (Replan, Replan) {
    let replan = |role: Role, own: &Party, peer: &Party| Replan {
        match_id,
        role,
        methods: in_force.methods.clone(),
        own_nat: own.nat,
        peer_nat: peer.nat,
        edition: in_force.edition,
    };
    (replan(in_force.caller.other(), host, joiner), replan(in_force.caller, joiner, host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use traversal_core::id::PlayerId;
    use traversal_core::wire::message::Role;

    fn party(public: &str, local: &[&str]) -> Party {
        Party {
            info: PlayerInfo { id: PlayerId([1; 16]), name: "p".into() },
            ephemeral: [2; 32],
            key: [3; 32],
            public: public.parse().unwrap(),
            mapped: None,
            local: local.iter().map(|address| address.parse().unwrap()).collect(),
            relay_only: false,
            other: None,
            over_stream: false,
            server_ip: None,
            nat: NatProfile::default(),
            timing: RttEstimate::default(),
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn policy() -> Policy {
        Policy { mask_v4: 32, mask_v6: 64, deadline_ms: 10_000 }
    }

    fn pairing() -> Pairing {
        Pairing { match_id: MatchId(7), pair_secret: [3; 32], epoch: 0, mesh: false }
    }

    fn told(host: &Party, joiner: &Party, policy: &Policy) -> (PunchPlan, PunchPlan) {
        let (host, joiner) =
            plans(pairing(), (host, joiner), &choose(host, joiner), Err(NoRelay::Off), policy);
        assert!(host.host && !joiner.host);
        assert_eq!((host.role, joiner.role), (Role::Receiving, Role::Sending));
        assert_eq!(host.pair_secret, joiner.pair_secret);
        (host, joiner)
    }

    #[test]
    fn players_behind_different_nats_get_public_addresses_only() {
        let a = party("203.0.113.1:4000", &["192.168.1.2:4000"]);
        let b = party("198.51.100.1:5000", &["192.168.1.2:5000"]);
        let (host, joiner) = told(&a, &b, &policy());
        assert!(!host.same_nat && host.peer_local.is_empty() && joiner.peer_local.is_empty());
        assert_eq!((host.peer_public, joiner.peer_public), (vec![b.public], vec![a.public]));
    }

    #[test]
    fn a_forwarded_port_comes_first_and_the_sessions_own_address_after_it() {
        let mut a = party("203.0.113.1:4000", &[]);
        let b = party("198.51.100.1:5000", &[]);
        a.mapped = Some("203.0.113.1:40000".parse().unwrap());
        assert_eq!(told(&a, &b, &policy()).1.peer_public, [a.mapped.unwrap(), a.public]);
        a.mapped = Some(a.public);
        assert_eq!(told(&a, &b, &policy()).1.peer_public, [a.public]);
    }

    #[test]
    fn one_nat_gives_private_addresses_but_never_loopback_or_a_strangers_public_one() {
        let a =
            party("203.0.113.1:4000", &["192.168.1.2:4000", "127.0.0.1:4000", "8.8.8.8:53", "[fd00::1]:4"]);
        let b = party("203.0.113.1:5000", &["192.168.1.3:5000"]);
        let (_, joiner) = told(&a, &b, &policy());
        assert!(joiner.same_nat);
        assert_eq!(joiner.peer_local, [a.local[0], a.local[3]]);
        assert_eq!(joiner.peer_public, [a.public]);
    }

    #[test]
    fn an_address_pool_is_one_nat_under_a_mask() {
        let a = party("203.0.113.1:4000", &[]);
        let b = party("203.0.113.6:5000", &[]);
        assert!(!told(&a, &b, &policy()).0.same_nat);
        assert!(told(&a, &b, &Policy { mask_v4: 29, ..policy() }).0.same_nat);
        assert!(told(&a, &b, &Policy { mask_v4: 0, ..policy() }).0.same_nat);
        let a = party("[2001:db8::1]:4000", &[]);
        let b = party("[2001:db8::9]:4000", &[]);
        let c = party("[2001:db8:0:1::9]:4000", &[]);
        assert!(told(&a, &b, &policy()).0.same_nat);
        assert!(!told(&a, &c, &policy()).0.same_nat);
        assert!(told(&a, &c, &Policy { mask_v6: 0, ..policy() }).0.same_nat);
    }

    #[test]
    fn shared_space_is_a_network_of_its_own() {
        // A server inside Tailscale or behind a carrier's NAT sees its players there (RFC 6598).
        let a = party("100.64.0.7:4000", &["100.64.0.7:4000", "192.168.1.2:4000"]);
        let b = party("100.127.3.9:5000", &["100.127.3.9:5000"]);
        let (host, joiner) = told(&a, &b, &policy());
        assert!(host.same_nat && joiner.same_nat);
        assert_eq!((host.peer_public, joiner.peer_public), (vec![b.public], vec![a.public]));
        assert_eq!((host.peer_local, joiner.peer_local), (b.local.clone(), a.local.clone()));
        // One of them alone: the other one is elsewhere.
        let outside = party("198.51.100.1:5000", &[]);
        let (host, joiner) = told(&a, &outside, &policy());
        assert!(!host.same_nat && !joiner.same_nat && joiner.peer_local.is_empty());
        // In whichever form.
        assert_eq!(realm("::ffff:100.64.0.7".parse().unwrap()), Realm::Local);
        assert_eq!(realm("::ffff:127.0.0.1".parse().unwrap()), Realm::Loopback);
        assert_eq!(realm("100.128.0.1".parse().unwrap()), Realm::Public);
    }

    #[test]
    fn loopback_is_for_loopback() {
        let a = party("127.0.0.1:4000", &["127.0.0.1:4000", "192.168.1.2:4000"]);
        let b = party("127.0.0.1:5000", &["127.0.0.1:5000"]);
        let (_, joiner) = told(&a, &b, &policy());
        assert_eq!(joiner.peer_public, [a.public]);
        assert_eq!(joiner.peer_local, a.local);

        // One on the server's machine, one on its LAN: the private address serves, loopback does not.
        let lan = party("192.168.1.9:5000", &["192.168.1.9:5000"]);
        let (host, joiner) = told(&a, &lan, &policy());
        assert!(host.same_nat && joiner.same_nat);
        assert_eq!(host.peer_public, [lan.public]);
        assert!(joiner.peer_public.is_empty());
        assert_eq!(joiner.peer_local, ["192.168.1.2:4000".parse().unwrap()]);

        // And one on the internet: only the address that it knows us by.
        let mut far = party("203.0.113.1:5000", &[]);
        let (_, joiner) = told(&a, &far, &policy());
        assert!(joiner.peer_public.is_empty() && joiner.peer_local.is_empty());
        far.server_ip = Some("198.51.100.7".parse().unwrap());
        assert_eq!(told(&a, &far, &policy()).1.peer_public, ["198.51.100.7:4000".parse().unwrap()]);
        far.server_ip = Some("10.0.0.7".parse().unwrap());
        assert!(told(&a, &far, &policy()).1.peer_public.is_empty());
    }

    #[test]
    fn a_private_address_does_not_go_to_the_internet() {
        let lan = party("10.0.0.5:4000", &["10.0.0.5:4000"]);
        let far = party("203.0.113.1:5000", &["10.0.0.5:4000"]);
        let (host, joiner) = told(&lan, &far, &policy());
        assert!(joiner.peer_public.is_empty() && joiner.peer_local.is_empty());
        assert_eq!(host.peer_public, [far.public]);
        assert!(host.peer_local.is_empty());
    }

    #[test]
    fn the_tcp_address_of_a_player_is_no_place_to_punch_at() {
        let mut a = party("203.0.113.1:4000", &["192.168.1.2:4000"]);
        a.over_stream = true;
        a.nat.udp_blocked = true;
        let far = party("198.51.100.1:5000", &["192.168.1.3:5000"]);
        let (host, joiner) = told(&a, &far, &policy());
        assert!(joiner.peer_public.is_empty() && joiner.peer_local.is_empty());
        assert!(host.methods.is_empty() && joiner.methods.is_empty());
        // UDP inside its own network is another matter.
        let near = party("203.0.113.1:5000", &["192.168.1.3:5000"]);
        let (_, joiner) = told(&a, &near, &policy());
        assert!(joiner.same_nat && joiner.peer_public.is_empty());
        assert_eq!(joiner.peer_local, a.local);
        // On the server's own machine, too, the port is TCP's.
        a.public = at("127.0.0.1:4000");
        let far = Party { server_ip: Some(at("198.51.100.7:1").ip()), ..far };
        assert!(told(&a, &far, &policy()).1.peer_public.is_empty());
    }

    #[test]
    fn both_families_are_told_once_they_are_proven() {
        let mut a = party("203.0.113.1:4000", &[]);
        a.other = Some(at("[2001:db8:1::1]:4001"));
        let v4 = party("198.51.100.1:5000", &[]);
        let (host, joiner) = told(&a, &v4, &policy());
        assert_eq!(joiner.peer_public, [a.public, a.other.unwrap()]);
        assert_eq!(host.peer_public, [v4.public]);
        // Sessions in different families: the profiles are about different NATs, so nothing but tests.
        let v6 = party("[2001:db8:2::1]:5000", &[]);
        let (host, joiner) = told(&a, &v6, &policy());
        assert_eq!((host.methods, joiner.methods), (vec![Method::Cone], vec![Method::Cone]));
        assert_eq!(joiner.peer_public.len(), 2);
        // One network, as IPv6 alone tells; a private address still needs the bit.
        let near = party("[2001:db8:1::2]:5000", &["192.168.1.3:5000", "[fd00::3]:5000"]);
        let (host, joiner) = told(&a, &near, &policy());
        assert!(host.same_nat && joiner.same_nat);
        assert_eq!(host.peer_local, near.local);
        a.other = Some(at("[fd00::1]:4001"));
        assert_eq!(told(&a, &v4, &policy()).1.peer_public, [a.public]);
        a.relay_only = true;
        assert!(told(&a, &v6, &policy()).1.peer_public.is_empty());
    }

    #[test]
    fn relay_only_players_leave_no_address_in_either_plan() {
        let mut a = party("203.0.113.1:4000", &["192.168.1.2:4000"]);
        let b = party("203.0.113.1:5000", &["192.168.1.3:5000"]);
        (a.relay_only, a.mapped) = (true, Some("203.0.113.1:40000".parse().unwrap()));
        let (host, joiner) = told(&a, &b, &policy());
        for plan in [host, joiner] {
            assert!(plan.peer_public.is_empty() && plan.peer_local.is_empty() && !plan.same_nat);
            assert!(plan.methods.is_empty());
        }
    }
}
