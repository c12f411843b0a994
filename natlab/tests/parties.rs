//! One host, several who join: at the same instant, one after the other, through different NATs.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use traversal_core::{AgentConfig, Command};

fn party(seed: u64, specs: &[&str]) -> PartyWorld {
    let chains: Vec<_> = specs.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
    let mut party = PartyWorld::new(seed, &chains, Duration::from_millis(30), &AgentConfig::default());
    assert!(party.prepare());
    party
}

fn all(party: &PartyWorld, test: impl Fn(&PartyWorld, usize) -> bool) -> bool {
    (1..party.players.len()).all(|index| test(party, index))
}

#[test]
fn seven_join_at_the_same_instant() {
    let nats =
        ["portrestricted", "none", "fullcone", "restricted", "portrestricted", "firewall", "cgn", "linux"];
    for seed in 0..3 {
        let mut party = party(seed, &nats);
        for index in 1..nats.len() {
            party.join(index);
        }
        let done = party.wait(Duration::from_secs(10), |party| {
            all(party, PartyWorld::is_played) && all(party, PartyWorld::is_direct)
        });
        let missing: Vec<_> =
            (1..nats.len()).filter(|index| !party.is_direct(*index)).map(|index| nats[index]).collect();
        assert!(done, "seed {seed}: not direct: {missing:?}");
    }
}

#[test]
fn late_ones_do_not_disturb_those_who_play() {
    let nats = ["portrestricted", "restricted", "portrestricted", "fullcone"];
    let mut party = party(4, &nats);
    for index in 1..nats.len() {
        party.join(index);
        assert!(party.wait(Duration::from_secs(5), |party| party.is_played(index) && party.is_direct(index)));
        let end = party.world.now() + Duration::from_secs(3);
        party.world.run_until(end);
    }
    for index in 0..nats.len() {
        assert_eq!(party.player(index).disconnects, 0);
    }
    assert_eq!(party.player(0).paths.len(), 3);
}

#[test]
fn one_who_leaves_is_gone_for_the_host_and_for_nobody_else() {
    let mut party = party(5, &["restricted", "portrestricted", "fullcone"]);
    party.join(1);
    party.join(2);
    assert!(party.wait(Duration::from_secs(5), |party| all(party, PartyWorld::is_played)));
    party.command(1, Command::LeaveRoom);
    assert!(party.wait(Duration::from_secs(2), |party| party.player(0).disconnects == 1));
    let end = party.world.now() + Duration::from_secs(10);
    party.world.run_until(end);
    assert_eq!(party.player(0).disconnects, 1);
    assert_eq!(party.player(2).disconnects, 0);
    assert!(party.is_direct(2));
    party.join(1);
    let back = party.wait(Duration::from_secs(5), |party| party.player(0).paths.len() == 2);
    assert!(back, "and back again: {:#?}\n{:#?}", party.player(1).events, party.player(0).events);
}
