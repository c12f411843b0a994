//! Ports that routers forward: they count when they lead here, and only then.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use natlab::lobby::ADDRESSES;
use natlab::nat::{Header, NatSpec, Proto};
use natlab::scenario::{PairWorld, PairWorldSettings, PartyWorld};
use natlab::world::{Fate, Packet};
use traversal_core::nat::NatKind;
use traversal_core::{
    AgentConfig, Command, Event, MappingProtocol, NoPortMapping, PortMapping, PortMappingState, RelayPolicy,
};

const DELAY: Duration = Duration::from_millis(30);

fn party_with(seed: u64, specs: &[&str], relay: RelayPolicy) -> PartyWorld {
    let chains: Vec<_> = specs.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
    let config = AgentConfig { relay, ..AgentConfig::default() };
    PartyWorld::new(seed, &chains, DELAY, &config)
}

/// Returns players who are logged in and classified, with a room.
fn party(seed: u64, specs: &[&str], relay: RelayPolicy) -> PartyWorld {
    let mut party = party_with(seed, specs, relay);
    assert!(party.prepare());
    party
}

fn mapping(external_port: u16, external_ip: Option<IpAddr>) -> PortMapping {
    PortMapping { protocol: MappingProtocol::Upnp, external_ip, external_port }
}

/// The nearest router forwards this port, and the driver tells the agent.
fn forward(party: &mut PartyWorld, index: usize, port: u16, external_ip: Option<IpAddr>) {
    let local = party.world.local(party.players[index], 0).unwrap();
    party.world.nat_mut(party.nats[index][0]).forward_port(Proto::Udp, port, local);
    party.command(index, Command::PortMapping(Ok(mapping(port, external_ip))));
}

fn state(party: &PartyWorld, index: usize) -> PortMappingState {
    party.player(index).port_mapping()
}

fn settles(party: &mut PartyWorld, index: usize) -> PortMappingState {
    party.wait(Duration::from_secs(10), |party| {
        !matches!(state(party, index), PortMappingState::Checking(_) | PortMappingState::None(_))
    });
    state(party, index)
}

fn port_of(party: &PartyWorld, index: usize) -> u16 {
    party.world.local(party.players[index], 0).unwrap().port()
}

fn run_for(party: &mut PartyWorld, time: Duration) {
    let end = party.world.now() + time;
    party.world.run_until(end);
}

#[test]
fn a_forwarded_port_on_either_side_is_reached_by_every_nat_at_once() {
    let others = ["psrandom", "ps", "as", "portrestricted", "restricted", "linux", "cgn", "firewall", "none"];
    for (n, other) in others.into_iter().enumerate() {
        for mapped in [0, 1] {
            for shift in [0, 7] {
                let nats = if mapped == 0 { ["psrandom", other] } else { [other, "psrandom"] };
                let mut party = party(n as u64, &nats, RelayPolicy::Never);
                let port = port_of(&party, mapped) + shift;
                forward(&mut party, mapped, port, None);
                let verified = settles(&mut party, mapped);
                assert_eq!(
                    verified.address().map(|address| address.port()),
                    Some(port),
                    "{nats:?}: {verified:?}"
                );
                assert_eq!(party.player(mapped).nat.kind(), NatKind::FullCone);
                let asked = party.world.now();
                party.join(1);
                let direct =
                    party.wait(Duration::from_secs(4), |party| party.is_direct(1) && party.is_played(1));
                let failures = &party.player(1).failures;
                assert!(direct, "{nats:?}, {mapped} mapped, {shift}: {failures:?} {:?}", party.world.drops());
                // A request, a plan, a packet and its answer: 2.5 round trips, and one for a wait that was too short.
                let took = party.world.now() - asked;
                assert!(took < DELAY * 7, "{nats:?}, {mapped} mapped, {shift}: {took:?}");
            }
        }
    }
}

#[test]
fn behind_a_second_nat_it_does_not_count() {
    // The inner router knows no public address, tells its own, or lies that it has the outer one's.
    for (seed, told) in [None, Some([100, 65, 1, 1]), Some([198, 18, 1, 1])].into_iter().enumerate() {
        for outer in ["portrestricted", "psrandom", "as"] {
            let inner = format!("psrandom+{outer}");
            let mut party = party(seed as u64, &[inner.as_str(), "psrandom"], RelayPolicy::Allow);
            let before = party.player(0).nat;
            let port = port_of(&party, 0);
            forward(&mut party, 0, port, told.map(IpAddr::from));
            assert!(matches!(settles(&mut party, 0), PortMappingState::Unreachable(_)), "{inner} {told:?}");
            assert_eq!(party.player(0).nat, before, "the NAT is what was measured");
            party.join(1);
            assert!(party.wait(Duration::from_secs(5), |party| party.is_played(1)), "over the relay");
            run_for(&mut party, Duration::from_secs(12));
            assert!(!party.is_direct(1), "{inner}: random against random");
        }
    }
}

#[test]
fn a_router_that_elsewhere_claims_to_be_makes_nobody_send_anything() {
    let mut party = party(3, &["psrandom", "psrandom"], RelayPolicy::Allow);
    let sent = party.world.stats(party.server).clone();
    let port = port_of(&party, 0);
    forward(&mut party, 0, port, Some([203, 0, 113, 7].into()));
    assert!(matches!(settles(&mut party, 0), PortMappingState::Unreachable(_)));
    assert_eq!(party.world.stats(party.server).to_players, sent.to_players);
}

#[test]
fn a_port_that_was_not_forwarded_or_is_no_longer_does_not_count() {
    let mut party = party(4, &["psrandom", "psrandom"], RelayPolicy::Allow);
    let measured = party.player(0).nat;
    let port = port_of(&party, 0);
    // Granted, but never done.
    party.command(0, Command::PortMapping(Ok(mapping(port, None))));
    assert!(matches!(settles(&mut party, 0), PortMappingState::Unreachable(_)));
    forward(&mut party, 0, port, None);
    assert!(party.wait(Duration::from_secs(5), |party| state(party, 0).address().is_some()));
    assert!(party.player(0).nat.mapped);
    // Each renewal is looked at again.
    let nat = party.nats[0][0];
    party.world.nat_mut(nat).stop_forwarding(Proto::Udp, port);
    party.command(0, Command::PortMapping(Ok(mapping(port, None))));
    assert!(party.wait(Duration::from_secs(10), |party| state(party, 0).address().is_none()));
    assert_eq!(party.player(0).nat, measured);
    party.join(1);
    assert!(party.wait(Duration::from_secs(5), |party| party.is_played(1)));
    run_for(&mut party, Duration::from_secs(12));
    assert!(!party.is_direct(1));
}

#[test]
fn a_mapping_that_is_lost_is_said_and_the_measured_nat_holds_again() {
    let mut party = party(5, &["psrandom", "portrestricted"], RelayPolicy::Allow);
    let measured = party.player(0).nat;
    let port = port_of(&party, 0);
    forward(&mut party, 0, port, None);
    assert!(settles(&mut party, 0).address().is_some());
    party.command(0, Command::PortMapping(Err(NoPortMapping::Refused)));
    assert_eq!(state(&party, 0), PortMappingState::None(NoPortMapping::Refused));
    assert_eq!(party.player(0).nat, measured);
    run_for(&mut party, Duration::from_secs(1));
    party.join(1);
    assert!(party.wait(Duration::from_secs(3), |party| {
        party.player(1).events.iter().any(|(_, event)| matches!(event, Event::Plan { .. }))
    }));
    let hopes = party.player(1).events.iter().find_map(|(_, event)| match event {
        Event::Plan { methods, .. } => Some(methods.clone()),
        _ => None,
    });
    assert!(hopes.unwrap().contains(&traversal_core::wire::message::Method::Birthday), "it is hard again");
}

#[test]
fn a_mapping_that_comes_while_they_play_over_the_relay_makes_them_direct() {
    for mapped in [0, 1] {
        let mut party = party(6, &["psrandom", "psrandom"], RelayPolicy::Allow);
        party.join(1);
        assert!(party.wait(Duration::from_secs(5), |party| party.is_played(1)));
        run_for(&mut party, Duration::from_secs(3));
        assert!(!party.is_direct(1));
        let port = port_of(&party, mapped);
        forward(&mut party, mapped, port, None);
        assert!(party.wait(Duration::from_secs(3), |party| party.is_direct(1)), "{mapped} mapped");
        assert_eq!(party.player(0).disconnects + party.player(1).disconnects, 0);
    }
}

#[test]
fn after_a_new_login_it_is_proven_anew() {
    let mut party = party(7, &["psrandom", "psrandom"], RelayPolicy::Allow);
    let port = port_of(&party, 0);
    forward(&mut party, 0, port, None);
    assert!(settles(&mut party, 0).address().is_some());
    party.command(0, Command::Disconnect);
    assert!(matches!(state(&party, 0), PortMappingState::Checking(_)));
    assert!(!party.player(0).nat.mapped);
    party.command(0, Command::Connect(vec![natlab::lobby::sockets(false)[0]]));
    assert!(party.wait(Duration::from_secs(5), |party| state(party, 0).address().is_some()));
    assert!(party.player(0).nat.mapped);
}

/// Has the first player's router forward a port, and counts what the server sends to it from its other address, by which it
/// proves one.
fn asked(party: &mut PartyWorld) -> u32 {
    let port = port_of(party, 0);
    let asked = Rc::new(Cell::new(0));
    let seen = Rc::clone(&asked);
    let outside = party.world.nat(party.nats[0][0]).external()[0];
    party.world.add_tap(Box::new(move |_: Fate, packet: &Packet<'_>| {
        let Header { src, dst, .. } = packet.header;
        seen.set(
            seen.get() + u32::from(src.ip() == ADDRESSES[1] && dst.ip() == outside && dst.port() == port),
        );
    }));
    forward(party, 0, port, None);
    run_for(party, Duration::from_millis(500));
    asked.get()
}

#[test]
fn a_player_over_the_relay_alone_asks_for_nothing_and_shows_nothing() {
    assert!(asked(&mut party(8, &["psrandom", "psrandom"], RelayPolicy::Allow)) > 0);
    let mut party = party(8, &["psrandom", "psrandom"], RelayPolicy::Only);
    assert_eq!(asked(&mut party), 0, "nothing was sent to the port");
    assert_eq!(state(&party, 0), PortMappingState::None(NoPortMapping::NotNeeded));
    party.join(1);
    assert!(party.wait(Duration::from_secs(5), |party| party.is_played(1)));
    run_for(&mut party, Duration::from_secs(5));
    assert!(!party.is_direct(1));
}

#[test]
fn a_server_with_one_address_cannot_prove_it() {
    let nat: NatSpec = "psrandom".parse().unwrap();
    let settings = PairWorldSettings::equal(9, &nat.chain, &nat.chain, DELAY);
    let settings = PairWorldSettings { two_addresses: false, ..settings };
    let mut pair = PairWorld::new(settings);
    let (left, nat) = (pair.left, pair.left_nats[0]);
    let local = pair.world.local(left, 0).unwrap();
    pair.world.nat_mut(nat).forward_port(Proto::Udp, local.port(), local);
    pair.act(left, |player, now| {
        player.command(now, Command::Connect(vec![natlab::lobby::sockets(false)[0]]));
        player.command(now, Command::PortMapping(Ok(mapping(local.port(), None))));
    });
    let end = pair.world.now() + Duration::from_secs(5);
    pair.world.run_until(end);
    let states: Vec<_> = pair
        .player(left)
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::PortMapping(state) => Some(state.name()),
            _ => None,
        })
        .collect();
    assert_eq!(states, ["checking", "unproven"]);
    assert!(!pair.player(left).nat.mapped);
}

#[test]
fn m9_m13_a_port_of_the_other_router_set_by_hand_is_aimed_at_where_no_method_finds_the_way() {
    // The owner of the right router has forwarded a port by hand, and told the other player; no program knows of it.
    for (set, other, direct) in
        [("40000", "psrandom", true), ("39998-40001", "ps", true), ("40001", "psrandom", false)]
    {
        let config = AgentConfig {
            relay: RelayPolicy::Never,
            bubble_targets: Some(set.parse().unwrap()),
            ..AgentConfig::default()
        };
        let chains = [other, "psrandom"].map(|spec| spec.parse::<NatSpec>().unwrap().chain);
        let mut party = PartyWorld::new(3, &chains, DELAY, &config);
        assert!(party.prepare());
        let local = party.world.local(party.players[1], 0).unwrap();
        party.world.nat_mut(party.nats[1][0]).forward_port(Proto::Udp, 40_000, local);
        party.join(1);
        let reached = party.wait(Duration::from_secs(4), |party| party.is_direct(1) && party.is_played(1));
        assert_eq!(reached, direct, "{set} {other}: {:?}", party.player(1).failures);
    }
}
