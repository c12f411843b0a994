//! An onlooker who remembers where players sent to, and what of that they may.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use traversal_core::wire::Kind;

use crate::lobby;
use crate::oracle::Relation;
use crate::scenario::PairWorld;
use crate::world::{Fate, HostId, Packet};

/// What the world has seen the two players do.
#[derive(Debug, Default)]
pub struct Seen {
    /// Where each host sent to, in the order in which it first did.
    pub sent: Vec<(Duration, usize, SocketAddr)>,
    known: BTreeSet<(usize, SocketAddr)>,
    /// A datagram of the players' own first arrived at each of them at this time, not through the server.
    pub arrived: BTreeMap<usize, Duration>,
    /// They are the addresses from which something came to the server, and when first.
    pub validated: BTreeMap<IpAddr, Duration>,
    /// They are the addresses from which a datagram of the other player's came to a player, and when first: a pool may
    /// have more than the server has seen. It is answered, one for one.
    pub answered: BTreeMap<(usize, IpAddr), Duration>,
}

/// What an onlooker has seen, shared with the world that it looks on.
pub type Watched = Rc<RefCell<Seen>>;

/// Has an onlooker see all that happens from now on.
pub fn watch(pair: &mut PairWorld) -> Watched {
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
                    && Kind::of(packet.payload) == Some(Kind::Pair) =>
            {
                seen.arrived.entry(host.0).or_insert(packet.at);
                seen.answered.entry((host.0, src.ip())).or_insert(packet.at);
            }
            _ => {}
        }
    }));
    watched
}

/// Whether this is one of the lobby server's addresses.
pub fn is_server(ip: IpAddr) -> bool {
    lobby::ADDRESSES.contains(&ip)
}

/// Tells whether an address is private (RFC 1918, RFC 3927, RFC 6598).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(_) => false,
    }
}

/// Every destination so far was one that this player may send to: the server; itself, for the hairpin test; and, from
/// the request on, public addresses from which the server has heard the other one, or private ones on one network.
///
/// # Errors
/// Names the first one that was not.
pub fn check_destinations(pair: &PairWorld, watched: &Watched, ready: bool) -> Result<(), String> {
    let seen = watched.borrow();
    // The two networks share an external address, as the server would say (M25).
    let same_nat = pair.settings().relation != Relation::Apart;
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
        let own_net = own_nat || nets(ip, own) || (same_nat && nets(ip, 1));
        let other_net = nets(ip, other) || (same_nat && nets(ip, 1));
        let asked = ready && *at >= pair.requested();
        let lan = is_private(ip) && same_nat;
        if !((own_net && heard) || (asked && (lan || (other_net && heard)))) {
            return Err(format!(
                "host {host} sent to {to} at {at:?} (heard by the server: {heard}, asked: {asked})"
            ));
        }
        if to.port() == 0 || ip.is_multicast() || ip.is_unspecified() {
            return Err(format!("host {host} sent to {to}"));
        }
    }
    Ok(())
}

/// The caps as somebody sees them who looks on: pings and the game's own greetings come on top.
///
/// # Errors
/// Says which one was passed.
pub fn check_caps(pair: &PairWorld, host: HostId, attempts: u64) -> Result<(), String> {
    let (stats, caps) = (pair.world.stats(host), pair.settings().config.caps);
    let extra = 60;
    let (second, sockets) = (stats.busiest_second, stats.sockets_opened);
    // A classification's hairpin test goes to this side's own addresses, whichever they were at the time.
    let own = if host == pair.left { 1 } else { 2 };
    let apart = pair.settings().relation == Relation::Apart;
    let is_own = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [198, 18, own]);
    let targets = stats.targets.keys().filter(|to| !(apart && is_own(to.ip()))).count() as u64;
    if second > u64::from(caps.datagrams_per_second) + extra {
        return Err(format!("{host:?}: {second} datagrams in a second"));
    }
    let hairpin = if apart { 0 } else { 4 };
    let most = attempts * u64::from(caps.targets_per_attempt) + hairpin;
    if targets > most {
        return Err(format!("{host:?}: {targets} targets, {most} allowed"));
    }
    // Classification opens fresh ones for its tests (M4); and a game on the relay tries again after its deadline, with
    // new sockets, but not to new targets.
    let tests = 40;
    let deadlines = (pair.world.now() - pair.requested()).as_secs()
        / pair.settings().config.connect_deadline.as_secs().max(1);
    let most = (attempts + deadlines) * u64::from(caps.sockets_per_attempt) + tests;
    if sockets > most {
        return Err(format!("{host:?}: {sockets} sockets, {most} allowed"));
    }
    Ok(())
}
