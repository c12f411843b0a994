//! Ports that routers forward: proven by an echo, and never a stranger's.

use super::probes::{four_sockets, probe};
use super::*;
use traversal_core::NatFacts;
use traversal_core::nat::{NatKind, NatProfile};
use traversal_core::wire::message::{Facts, ProbePurpose};

const HOME: &str = "203.0.113.1:4000";

fn ask(world: &mut World, index: usize, from: &str, port: u16) -> Vec<(ServerSocketId, SocketAddr)> {
    let before = world.sent.len();
    probe(world, index, 0, from, 7, ProbePurpose::MappedPort { port });
    world.sent.iter().skip(before).map(|(socket, to, _)| (*socket, *to)).collect()
}

/// Returns what arrived at the forwarded port, as the player's router hands it on.
fn token(world: &mut World, index: usize) -> Option<[u8; 16]> {
    let (_, _, datagram) = world.sent.back()?.clone();
    let now = world.now;
    match world.fakes[index].session.as_mut()?.handle(now, &datagram) {
        Ok(Some(Frame::MappedPortSeen { token, .. })) => Some(token),
        _ => None,
    }
}

fn told(world: &World, index: usize) -> Vec<Option<u16>> {
    let told = world.fakes[index].told.iter();
    told.filter_map(|message| match message {
        ToPlayer::MappedPort(port) => Some(*port),
        _ => None,
    })
    .collect()
}

#[test]
fn an_echoed_port_makes_a_full_cone_and_is_told_to_the_other_side() {
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let host = world.player(1, HOME);
    let joiner = world.player(2, "198.51.100.1:5000");
    let sent = ask(&mut world, host, HOME, 40_000);
    // From the second address and the second port.
    assert_eq!(sent, [(ServerSocketId(3), at("203.0.113.1:40000"))]);
    let token = token(&mut world, host);
    assert!(token.is_some());
    world.say(host, ToServer::MappedPort(token));
    assert_eq!(told(&world, host), [Some(40_000)]);
    world.host(host, named("r"));
    assert!(world.answer(joiner, by_name("r")).is_ok());
    let plan = world.fakes[joiner].plans()[0].clone();
    assert_eq!(plan.peer_public, [at("203.0.113.1:40000"), at(HOME)]);
    assert!(plan.peer_nat.mapped && plan.peer_nat.kind() == NatKind::FullCone);
    assert!(world.fakes[host].plans()[0].own_nat.mapped);

    // The router forgot it.
    world.say(host, ToServer::MappedPort(None));
    assert_eq!(told(&world, host), [Some(40_000), None]);
    let facts = world.fakes[joiner].told.iter().rev().find_map(|message| match message {
        ToPlayer::Facts { facts, .. } => Some(facts.clone()),
        _ => None,
    });
    assert_eq!(facts, Some(Facts::PeerPublic(vec![at(HOME)])));
}

#[test]
fn without_the_echo_nothing_is_believed() {
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let host = world.player(1, HOME);
    world.say(host, ToServer::MappedPort(Some([0; 16])));
    ask(&mut world, host, HOME, 40_000);
    world.say(host, ToServer::MappedPort(Some([0; 16])));
    let profile = NatProfile { mapped: true, ..NatProfile::default() };
    world.say(host, ToServer::Profile { profile, check: false, manual: NatFacts::NONE });
    assert!(told(&world, host).is_empty());
    let joiner = world.player(2, "198.51.100.1:5000");
    world.host(host, named("r"));
    assert!(world.answer(joiner, by_name("r")).is_ok());
    let plan = &world.fakes[joiner].plans()[0];
    assert_eq!(plan.peer_public, [at(HOME)]);
    assert!(!plan.peer_nat.mapped);
}

#[test]
fn nothing_goes_to_strangers_or_to_well_known_ports_and_never_much() {
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let player = world.player(1, HOME);
    for port in [0, 53, 1023] {
        assert!(ask(&mut world, player, HOME, port).is_empty(), "port {port}");
    }
    // From an address that is not the session's, be it forged: neither there nor to the session's.
    assert!(ask(&mut world, player, "192.0.2.66:4000", 40_000).is_empty());
    assert!(ask(&mut world, player, "203.0.113.1:4001", 40_000).is_empty());
    let sent: usize = (0..1000).map(|n| ask(&mut world, player, HOME, 2000 + n).len()).sum();
    assert_eq!(sent, 20, "the burst of the rate");
    // Another session from the same address shares it.
    let neighbour = world.player(2, "203.0.113.1:4444");
    assert!(ask(&mut world, neighbour, "203.0.113.1:4444", 40_000).is_empty());
}

#[test]
fn a_server_with_one_address_and_players_over_the_relay_alone_take_no_part() {
    let mut world = World::new();
    let player = world.player(1, HOME);
    assert!(ask(&mut world, player, HOME, 40_000).is_empty());

    let mut world = World::with(ServerConfig::default(), four_sockets());
    let player = world.add(1, HOME);
    world.fakes[player].login.relay_only = true;
    world.log_in(player);
    assert!(ask(&mut world, player, HOME, 40_000).is_empty());
}

#[test]
fn a_new_address_ends_what_was_proven_at_the_old_one() {
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let player = world.player(1, HOME);
    ask(&mut world, player, HOME, 40_000);
    let token = token(&mut world, player);
    world.say(player, ToServer::MappedPort(token));
    // A new port of the same NAT changes nothing; another NAT does.
    for (address, expected) in
        [("203.0.113.1:4500", vec![Some(40_000)]), ("203.0.113.9:4000", vec![Some(40_000), None])]
    {
        world.fakes[player].address = at(address);
        world.ping(player);
        world.pass(Duration::from_secs(1));
        assert_eq!(told(&world, player), expected, "{address}");
    }
    // An old echo is worth nothing.
    world.say(player, ToServer::MappedPort(token));
    assert_eq!(told(&world, player).len(), 2);
}
