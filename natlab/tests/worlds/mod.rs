//! Worlds drawn by chance, and an onlooker who remembers what must hold in all of them.

#![allow(dead_code)] // Each of the tests uses its part.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::lobby;
use natlab::nat::{Allocation, Fallback, Filtering, Hairpin, Kind, Mapping, NatConfig, Pooling};
use natlab::oracle::Relation;
use natlab::scenario::{JoinMoment, PairSettings, PairWorld};
use natlab::world::{Fate, HostId, Packet};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::RelayPolicy;
use traversal_core::wire::Kind as WireKind;

pub(crate) fn any<T: Copy>(rng: &mut ChaCha8Rng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

pub(crate) fn any_nat(rng: &mut ChaCha8Rng) -> NatConfig {
    NatConfig {
        kind: any(rng, &[Kind::Nat, Kind::Nat, Kind::Nat, Kind::Nat, Kind::Firewall, Kind::Router]),
        mapping: any(
            rng,
            &[Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent],
        ),
        filtering: any(
            rng,
            &[
                Filtering::EndpointIndependent,
                Filtering::AddressDependent,
                Filtering::AddressAndPortDependent,
            ],
        ),
        allocation: any(
            rng,
            &[
                Allocation::Preserving(Fallback::Random),
                Allocation::Preserving(Fallback::Sequential),
                Allocation::Sequential(1),
                Allocation::Sequential(-2),
                Allocation::Sequential(5),
                Allocation::Random,
                Allocation::RandomInBlock(1024),
            ],
        ),
        parity: rng.random_bool(0.1),
        cross: rng.random_range(0.0..50.0),
        timeout: Duration::from_secs(any(rng, &[20, 30, 120])),
        stream_timeout: Duration::from_secs(any(rng, &[20, 120])),
        inbound_refresh: rng.random(),
        pool: any(rng, &[1, 1, 1, 4]),
        pooling: any(rng, &[Pooling::Paired, Pooling::Paired, Pooling::Arbitrary]),
        quota: any(rng, &[None, None, None, Some(40), Some(300)]),
        hairpin: any(rng, &[Hairpin::No, Hairpin::ExternalSource, Hairpin::InternalSource]),
        clash: rng.random_bool(0.2),
        udp_blocked: rng.random_bool(0.03),
        ..NatConfig::default()
    }
}

pub(crate) fn any_link(rng: &mut ChaCha8Rng, most_loss: f64) -> Link {
    let mut way = || Way {
        delay: Duration::from_secs_f64(rng.random_range(0.001..0.07)),
        jitter: Duration::from_secs_f64(rng.random_range(0.0..0.02)),
        loss: rng.random_range(0.0..most_loss),
        reorder: rng.random_range(0.0..0.1),
        duplicate: rng.random_range(0.0..0.1),
        ..Way::default()
    };
    Link { up: way(), down: way() }
}

fn any_chain(rng: &mut ChaCha8Rng) -> Vec<NatConfig> {
    let depth = any(rng, &[0, 1, 1, 1, 1, 2]);
    (0..depth).map(|_| any_nat(rng)).collect()
}

pub(crate) fn any_world(seed: u64) -> PairSettings {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (left, right) = (any_chain(&mut rng), any_chain(&mut rng));
    let mut settings = PairSettings::equal(seed, &left, &right, Duration::ZERO);
    settings.left_link = any_link(&mut rng, 0.15);
    settings.right_link = any_link(&mut rng, 0.15);
    settings.server_link = any_link(&mut rng, 0.15);
    settings.relation = any(
        &mut rng,
        &[Relation::Apart, Relation::Apart, Relation::Apart, Relation::SameLan, Relation::SameOuterNat],
    );
    settings.two_addresses = rng.random_bool(0.8);
    settings.join = if rng.random_bool(0.8) { JoinMoment::BothKnown } else { JoinMoment::AtOnce };
    settings.config.relay = any(&mut rng, &[RelayPolicy::Allow, RelayPolicy::Never]);
    settings
}

/// What the world has seen the two players do.
#[derive(Default)]
pub(crate) struct Seen {
    /// Where each host sent to, in the order in which it first did.
    pub(crate) sent: Vec<(Duration, usize, SocketAddr)>,
    known: BTreeSet<(usize, SocketAddr)>,
    /// When a datagram of the players' own first arrived at each of them, not through the server.
    pub(crate) arrived: BTreeMap<usize, Duration>,
    /// Addresses from which something came to the server, and when first.
    pub(crate) validated: BTreeMap<IpAddr, Duration>,
    /// Addresses from which a datagram of the other player's came to a player, and when first: a pool may have more than
    /// the server has seen. It is answered, one for one.
    pub(crate) answered: BTreeMap<(usize, IpAddr), Duration>,
}

pub(crate) type Watched = Rc<RefCell<Seen>>;

/// Looks on from now on.
pub(crate) fn watch(pair: &mut PairWorld) -> Watched {
    let watched = Watched::default();
    let sink = Rc::clone(&watched);
    let (players, server) = ([pair.left.0, pair.right.0], pair.server.0);
    pair.world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| {
        let mut seen = sink.borrow_mut();
        let (src, dst) = (packet.header.src, packet.header.dst);
        match fate {
            Fate::Sent(host) if players.contains(&host.0) && seen.known.insert((host.0, dst)) => {
                seen.sent.push((packet.at, host.0, dst));
            }
            Fate::Delivered(host) if host.0 == server => {
                seen.validated.entry(src.ip()).or_insert(packet.at);
            }
            Fate::Delivered(host)
                if players.contains(&host.0)
                    && !is_server(src.ip())
                    && WireKind::of(packet.payload) == Some(WireKind::Pair) =>
            {
                seen.arrived.entry(host.0).or_insert(packet.at);
                seen.answered.entry((host.0, src.ip())).or_insert(packet.at);
            }
            _ => {}
        }
    }));
    watched
}

pub(crate) fn is_server(ip: IpAddr) -> bool {
    lobby::ADDRESSES.contains(&ip)
}

/// RFC 1918, RFC 3927, RFC 6598.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(_) => false,
    }
}

/// The two networks share an external address, as the server would say (M25).
fn same_nat(pair: &PairWorld) -> bool {
    pair.settings().relation != Relation::Apart
}

/// Every destination so far was one that this player may send to: the server; itself, for the hairpin test; and, from
/// the request on, public addresses from which the server has heard the other one, or private ones on one network.
pub(crate) fn check_destinations(pair: &PairWorld, watched: &Watched, ready: bool, told: &str) {
    let seen = watched.borrow();
    let nets = |ip: IpAddr, side: u8| matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [198, 18, side]);
    for (at, host, to) in &seen.sent {
        let ip = to.ip();
        if is_server(ip) {
            continue;
        }
        let (own, other) = if *host == pair.left.0 { (1, 2) } else { (2, 1) };
        let before = |first: Option<&Duration>| first.is_some_and(|first| first <= at);
        let heard = before(seen.validated.get(&ip)) || before(seen.answered.get(&(*host, ip)));
        // Behind one NAT all have its addresses.
        // A NAT behind a mere firewall has addresses of the network between.
        let own_nats = if own == 1 { &pair.left_nats } else { &pair.right_nats };
        let own_nat = own_nats.iter().any(|nat| pair.world.nat(*nat).external().contains(&ip));
        let own_net = own_nat || nets(ip, own) || (same_nat(pair) && nets(ip, 1));
        let other_net = nets(ip, other) || (same_nat(pair) && nets(ip, 1));
        let asked = ready && *at >= pair.requested();
        let lan = is_private(ip) && same_nat(pair);
        assert!(
            (own_net && heard) || (asked && (lan || (other_net && heard))),
            "{told}: host {host} sent to {to} at {at:?} (heard by the server: {heard}, asked: {asked})"
        );
        assert!(to.port() != 0 && !ip.is_multicast() && !ip.is_unspecified(), "{told}: {to}");
    }
}

/// What the caps mean to somebody who looks on: pings and the game's own greetings come on top.
pub(crate) fn check_caps(pair: &PairWorld, host: HostId, attempts: u64, told: &str) {
    let (stats, caps) = (pair.world.stats(host), pair.settings().config.caps);
    let extra = 60;
    let (second, targets, sockets) = (stats.busiest_second, stats.targets.len() as u64, stats.sockets_opened);
    assert!(second <= u64::from(caps.datagrams_per_second) + extra, "{told}: {second} in a second");
    // A renewed classification sends its hairpin test to this side's own addresses.
    let hairpin = 4;
    let most = attempts * u64::from(caps.targets_per_attempt) + hairpin;
    assert!(targets <= most, "{told}: {targets} targets");
    // Classification opens fresh ones for its tests (M4); and a game on the relay tries again after its deadline, with
    // new sockets, but not to new targets.
    let tests = 40;
    let deadlines =
        (pair.world.now() - pair.requested()).as_secs() / pair.settings().config.connect_deadline.as_secs();
    let most = (attempts + deadlines) * u64::from(caps.sockets_per_attempt) + tests;
    assert!(sockets <= most, "{told}: {sockets} sockets, {most} allowed");
}
