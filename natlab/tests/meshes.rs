//! Every two of several players behind different NATs.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use traversal_core::wire::message::{QuickMatch, Topology};
use traversal_core::{AgentConfig, Command, RelayPolicy};

fn world(seed: u64, specs: &[&str], config: &AgentConfig) -> PartyWorld {
    let chains: Vec<_> = specs.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
    PartyWorld::new(seed, &chains, Duration::from_millis(30), config)
}

fn mesh(seed: u64, specs: &[&str], config: &AgentConfig) -> PartyWorld {
    let mut party = world(seed, specs, config);
    assert!(party.prepare_as(Topology::Mesh));
    party
}

/// Returns all pairs of so many.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |one| (one + 1..count).map(move |other| (one, other)))
}

/// Returns the pairs for which this does not hold.
fn without(party: &PartyWorld, specs: &[&str], test: fn(&PartyWorld, usize, usize) -> bool) -> Vec<String> {
    let missing = pairs(party.players.len()).filter(|(one, other)| !test(party, *one, *other));
    missing.map(|(one, other)| format!("{}-{}", specs[one], specs[other])).collect()
}

#[test]
fn all_six_pairs_of_four_players_are_direct_and_the_caps_hold_over_all_of_them() {
    let specs = ["portrestricted", "as", "ps", "fullcone"];
    for seed in 0..4 {
        let config = AgentConfig { relay: RelayPolicy::Never, ..AgentConfig::default() };
        let mut party = mesh(seed, &specs, &config);
        for host in party.players.clone() {
            party.world.count_anew(host);
        }
        for index in 1..specs.len() {
            party.join(index);
        }
        let done = party.wait(Duration::from_secs(10), |party| {
            without(party, &specs, PartyWorld::has_direct).is_empty()
                && without(party, &specs, PartyWorld::has_played).is_empty()
        });
        assert!(done, "seed {seed}: {:?}", without(&party, &specs, PartyWorld::has_direct));
        for (index, host) in party.players.iter().enumerate() {
            let stats = party.world.stats(*host);
            // Beside punching: each pair's pings (400 ms) and greetings (100 ms), and their answers.
            let game = 3 * (20 + 10);
            let cap = u64::from(config.caps.datagrams_per_second) + game;
            assert!(stats.busiest_second <= cap, "seed {seed}, {}: {}", specs[index], stats.busiest_second);
            let targets = 3 * config.caps.targets_per_attempt as usize;
            assert!(stats.targets.len() <= targets, "seed {seed}, {}", specs[index]);
        }
    }
}

#[test]
fn a_pair_that_cannot_connect_fails_on_both_sides_and_the_others_play() {
    let specs = ["fullcone", "psrandom", "psrandom", "none"];
    let config = AgentConfig { relay: RelayPolicy::Never, ..AgentConfig::default() };
    let mut party = mesh(7, &specs, &config);
    for index in 1..specs.len() {
        party.join(index);
    }
    assert!(party.wait(Duration::from_secs(25), |party| {
        [1, 2].iter().all(|index| party.player(*index).failures.len() == 1)
    }));
    assert_eq!(without(&party, &specs, PartyWorld::has_direct), ["psrandom-psrandom"]);
    for index in [0, 3] {
        assert!(party.player(index).failures.is_empty());
    }
    // Nobody tries for ever what cannot be.
    let end = party.world.now() + Duration::from_secs(60);
    party.world.run_until(end);
    for index in [1, 2] {
        assert_eq!(party.player(index).failures.len(), 1);
        assert!(party.player(index).in_room);
    }
    assert_eq!(without(&party, &specs, PartyWorld::has_direct), ["psrandom-psrandom"]);
}

#[test]
fn the_relay_carries_the_pairs_that_have_no_direct_path() {
    let specs = ["psrandom", "psrandom", "psrandom"];
    let mut party = mesh(9, &specs, &AgentConfig::default());
    party.join(1);
    party.join(2);
    let played =
        party.wait(Duration::from_secs(5), |party| without(party, &specs, PartyWorld::has_played).is_empty());
    assert!(played, "{:?}", without(&party, &specs, PartyWorld::has_played));
}

#[test]
fn one_comes_late_one_leaves_and_the_others_do_not_notice() {
    let specs = ["portrestricted", "restricted", "portrestricted", "fullcone"];
    let mut party = mesh(4, &specs, &AgentConfig::default());
    for index in 1..3 {
        party.join(index);
    }
    let three = |party: &PartyWorld| pairs(3).all(|(one, other)| party.has_direct(one, other));
    assert!(party.wait(Duration::from_secs(5), three));
    party.join(3);
    assert!(party.wait(Duration::from_secs(5), |party| {
        without(party, &["", "", "", ""], PartyWorld::has_played).is_empty()
    }));
    party.command(1, Command::LeaveRoom);
    assert!(party.wait(Duration::from_secs(2), |party| {
        [0, 2, 3].iter().all(|index| party.player(*index).disconnects == 1)
    }));
    let end = party.world.now() + Duration::from_secs(30);
    party.world.run_until(end);
    for (one, other) in [(0, 2), (0, 3), (2, 3)] {
        assert!(party.has_direct(one, other));
    }
    assert!([0, 2, 3].iter().all(|index| party.player(*index).disconnects == 1));
}

#[test]
fn four_who_want_the_same_are_put_together_as_a_mesh() {
    let specs = ["ps", "portrestricted", "none", "as"];
    let mut party = world(11, &specs, &AgentConfig::default());
    assert!(party.log_in());
    let wish =
        QuickMatch { mode: "brawl".into(), players: 4, topology: Topology::Mesh, ..QuickMatch::default() };
    for index in 0..specs.len() {
        party.command(index, Command::QuickMatch(wish.clone()));
    }
    let done = party.wait(Duration::from_secs(10), |party| {
        without(party, &specs, PartyWorld::has_played).is_empty()
            && without(party, &specs, PartyWorld::has_direct).is_empty()
    });
    assert!(done, "{:?}", without(&party, &specs, PartyWorld::has_direct));
    // The one behind no NAT is whom all reach.
    let host = party.player(2).id.unwrap();
    let hosts = party.player(0).events.iter().filter_map(|(_, event)| match event {
        traversal_core::Event::RoomEntered { room, .. } => Some(room.host),
        _ => None,
    });
    assert_eq!(hosts.collect::<Vec<_>>(), [host]);
}

#[test]
fn a_mesh_is_taken_up_again_after_the_server_was_away() {
    let specs = ["portrestricted", "restricted", "fullcone"];
    let mut party = mesh(13, &specs, &AgentConfig::default());
    party.join(1);
    party.join(2);
    assert!(party.wait(Duration::from_secs(5), |party| {
        without(party, &["", "", ""], PartyWorld::has_direct).is_empty()
    }));
    party.restart_server(99);
    let end = party.world.now() + Duration::from_secs(60);
    party.world.run_until(end);
    for index in 0..3 {
        assert_eq!(party.player(index).disconnects, 0);
        assert!(party.player(index).in_room && party.player(index).is_online());
    }
    assert!(without(&party, &["", "", ""], PartyWorld::has_direct).is_empty());
}

#[test]
fn a_relayed_pair_goes_on_after_the_server_was_away() {
    // The host is reached directly; the other two play over the relay, whose tokens the new server does not know.
    let specs = ["none", "psrandom", "psrandom"];
    let mut party = mesh(17, &specs, &AgentConfig::default());
    party.join(1);
    party.join(2);
    assert!(party.wait(Duration::from_secs(12), |party| {
        party.has_direct(0, 1) && party.has_direct(0, 2) && party.has_played(1, 2)
    }));
    party.restart_server(98);
    // Three times as long as a silent relay is borne.
    let end = party.world.now() + Duration::from_secs(60);
    party.world.run_until(end);
    for (at, from) in [(1, 2), (2, 1)] {
        let id = party.player(from).id.unwrap();
        assert_eq!(party.player(at).paths[&id].kind, traversal_core::PathKind::Relay);
    }
    assert!((0..3).all(|index| party.player(index).disconnects == 0));
}

#[test]
fn a_mesh_outlives_its_host() {
    for killed in [false, true] {
        let specs = ["portrestricted", "restricted", "none", "portrestricted"];
        let mut party = mesh(19, &specs, &AgentConfig::default());
        for index in 1..specs.len() {
            party.join(index);
        }
        assert!(party.wait(Duration::from_secs(8), |party| {
            without(party, &specs, PartyWorld::has_played).is_empty()
        }));
        if killed {
            let host = party.players[0];
            party.world.replace_node(host, natlab::lobby::SimulatedProgram::Idle);
        } else {
            party.command(0, Command::LeaveRoom);
        }
        let rest = [(1, 2), (1, 3), (2, 3)];
        let new_host = |party: &PartyWorld, index: usize| {
            party.player(index).events.iter().rev().find_map(|(_, event)| match event {
                traversal_core::Event::HostChanged { room, .. } => Some(room.host),
                _ => None,
            })
        };
        let lives = party.wait(Duration::from_secs(15), |party| {
            let host = new_host(party, 1);
            (1..4).any(|index| host.is_some() && party.player(index).id == host)
                && (1..4).all(|index| party.player(index).in_room && new_host(party, index) == host)
                && rest.iter().all(|(one, other)| party.has_direct(*one, *other))
        });
        assert!(lives, "killed: {killed}, {:#?}", party.player(1).events);
        let end = party.world.now() + Duration::from_secs(30);
        party.world.run_until(end);
        assert!(rest.iter().all(|(one, other)| party.has_direct(*one, *other)), "killed: {killed}");
    }
}
