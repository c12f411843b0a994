//! Which addresses of a player the other one is told, and the two plans of a match.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use traversal_core::address::{Scope, is_site, scope};
use traversal_core::classify::RttEstimate;
use traversal_core::id::MatchId;
use traversal_core::nat::NatProfile;
use traversal_core::plan::{Plan, PlanInForce, PlanOptions, plan};
use traversal_core::wire::message::{
    MAX_LOCAL_ADDRESSES, Method, NoRelay, PlayerInfo, PunchPlan, RelayGrant, Replan, Role, RoundTrip,
};

use crate::ids::Sides;

/// This is one side of a match, as its home node knows it.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub(crate) info: PlayerInfo,
    pub(crate) ephemeral: [u8; 32],
    /// The player has this lasting key.
    pub(crate) key: [u8; 32],
    /// The player's session was validated at this address.
    pub(crate) public: SocketAddr,
    /// This is its validated address in the other family, if it has one.
    pub(crate) other: Option<SocketAddr>,
    /// `public` is a TCP address: UDP does not get through to this player, and nobody is to try there.
    pub(crate) over_stream: bool,
    /// This is a port of the same IP that its router forwards to it, as proven.
    pub(crate) mapped: Option<SocketAddr>,
    /// This is what it says its own interfaces have.
    pub(crate) local: Vec<SocketAddr>,
    pub(crate) relay_only: bool,
    /// This is the server's address as this player knows it.
    pub(crate) server_ip: Option<IpAddr>,
    pub(crate) nat: NatProfile,
    /// This is the player's round trip to this server.
    pub(crate) timing: RttEstimate,
}

/// This is what a match is, whoever its players are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairing {
    pub(crate) match_id: MatchId,
    /// The keys of the pair are made of this, with the players' own.
    pub(crate) pair_secret: [u8; 32],
    /// Their room has changed its host so often.
    pub(crate) epoch: u32,
    /// The two are members of a mesh, neither of them the host.
    pub(crate) mesh: bool,
    /// The one who joins only watches.
    pub(crate) spectator: bool,
}

/// The operator sets this about matches.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// So many leading bits of two public IPv4 addresses must agree for the same-NAT bit (M25).
    pub(crate) mask_v4: u8,
    /// So many leading bits of two IPv6 addresses must agree.
    pub(crate) mask_v6: u8,
    /// An attempt may take so many milliseconds.
    pub(crate) deadline_ms: u32,
}

/// This says how far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    /// The address is one of this machine.
    Loopback,
    /// It is one of this link or site: private, shared with a carrier's or an overlay network, link-local, unique local.
    Local,
    /// It is any other one, which the internet reaches.
    Public,
}

pub(crate) fn realm(ip: IpAddr) -> Realm {
    match scope(ip) {
        Scope::Loopback => Realm::Loopback,
        _ if is_site(ip) => Realm::Local,
        _ => Realm::Public,
    }
}

/// Returns whether two addresses agree in their leading bits, as many as the mask of their family says.
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
    /// Returns where it is seen, in one family or both.
    fn seen_at(&self) -> impl Iterator<Item = SocketAddr> + Clone {
        [Some(self.public), self.other].into_iter().flatten()
    }
}

/// Decides M25's bit. Players that the server sees at private addresses or on its own machine are on its own network.
/// With both families, one in common is enough.
fn same_nat(a: &Party, b: &Party, policy: &Policy) -> bool {
    let same = |a: IpAddr, b: IpAddr| match (realm(a), realm(b)) {
        (Realm::Public, Realm::Public) => agree(a, b, policy.mask_v4, policy.mask_v6),
        (Realm::Public, _) | (_, Realm::Public) => false,
        _ => true,
    };
    a.seen_at().any(|a| b.seen_at().any(|b| same(a.ip(), b.ip())))
}

/// The public addresses of `of` that `to` is told: none where one of them plays over the relay alone.
pub(crate) fn public_addresses(shown: &Party, to: &Party, policy: &Policy) -> Vec<SocketAddr> {
    if shown.relay_only || to.relay_only {
        Vec::new()
    } else {
        public_for(shown, to, same_nat(shown, to, policy))
    }
}

fn public_for(shown: &Party, to: &Party, same_nat: bool) -> Vec<SocketAddr> {
    if shown.over_stream {
        return Vec::new();
    }
    // The forwarded one first: methods that take one address take that.
    let mapped = shown.mapped.filter(|_| realm(shown.public.ip()) == Realm::Public);
    let seen = shown.seen_at().filter(|address| Some(*address) != mapped);
    mapped.into_iter().chain(seen.filter_map(|address| address_for(address, to, same_nat))).collect()
}

/// Returns how `to` reaches what the server sees at `address`.
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

/// Returns what to try between the room's host and the player who comes in, who is the caller (M10). The profiles are
/// about the NATs of the sessions' family: where the two differ there is only the hope that tests get through.
/// Nothing is tried where one of them plays over the relay alone.
pub(crate) fn choose(parties: &Sides<Party>) -> Plan {
    let Sides { host, joiner } = parties.as_ref();
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

/// Returns the NATs of caller and callee, in this order, as a [`PlanInForce`] wants them.
pub(crate) fn nats(parties: &Sides<Party>) -> [NatProfile; 2] {
    [parties.joiner.nat, parties.host.nat]
}

/// The local addresses of `shown` that `to` is told.
fn local_for(shown: &Party, to: &Party, same_nat: bool) -> Vec<SocketAddr> {
    if !same_nat {
        return Vec::new();
    }
    let both_on_loopback =
        realm(shown.public.ip()) == Realm::Loopback && realm(to.public.ip()) == Realm::Loopback;
    shown
        .local
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

/// Returns the plans for the room's host and for the player who comes in, with what was [chosen](choose) for them;
/// `relay` is for them in this order.
pub(crate) fn plans(
    pairing: Pairing,
    parties: &Sides<Party>,
    chosen: &Plan,
    relay: Result<[RelayGrant; 2], NoRelay>,
    policy: &Policy,
) -> Sides<PunchPlan> {
    let Sides { host, joiner } = parties.as_ref();
    let no_addresses = host.relay_only || joiner.relay_only;
    let same_nat = same_nat(host, joiner, policy);
    let callee = chosen.caller.other();
    let plan = |own: &Party, peer: &Party, hosting: bool| PunchPlan {
        match_id: pairing.match_id,
        peer: peer.info.clone(),
        peer_ephemeral: peer.ephemeral,
        pair_secret: pairing.pair_secret,
        hosting,
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
        spectator: pairing.spectator,
        peer_rtt: RoundTrip::of(peer.timing),
        peer_key: peer.key,
    };
    Sides { host: plan(host, joiner, true), joiner: plan(joiner, host, false) }
}

/// Returns the plan in force of a match that runs, for the room's host and for the player who came in.
pub(crate) fn replans(match_id: MatchId, parties: &Sides<Party>, in_force: &PlanInForce) -> Sides<Replan> {
    let Sides { host, joiner } = parties.as_ref();
    let replan = |role: Role, own: &Party, peer: &Party| Replan {
        match_id,
        role,
        methods: in_force.methods.clone(),
        own_nat: own.nat,
        peer_nat: peer.nat,
        edition: in_force.edition,
    };
    Sides {
        host: replan(in_force.caller.other(), host, joiner),
        joiner: replan(in_force.caller, joiner, host),
    }
}
