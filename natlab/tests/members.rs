//! What members tell each other, over ways that lose datagrams, over another host and a restart of the server.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::{Changes, CountdownRule, MemberChanges, MemberState};
use traversal_core::{AgentConfig, Command, Event};

const SECOND: Duration = Duration::from_secs(1);

/// Players behind port-restricted cones, at different distances; each way loses this share.
fn together(seed: u64, players: usize, inside: usize, loss: f64) -> PartyWorld {
    let spec: NatSpec = "portrestricted".parse().unwrap();
    let chains = vec![spec.chain; players];
    let mut party = PartyWorld::new(seed, &chains, Duration::from_millis(30), &AgentConfig::default());
    assert!(party.prepare());
    for index in 1..inside {
        party.join(index);
    }
    let all = |party: &PartyWorld| (1..inside).all(|index| party.is_played(index));
    assert!(party.wait(10 * SECOND, all));
    for index in 0..players {
        let delay = Duration::from_millis(10 + 20 * index as u64);
        party.world.set_nat_link(party.nats[index][0], Link::both(Way { delay, loss, ..Way::default() }));
    }
    party
}

fn run(party: &mut PartyWorld, time: Duration) {
    let end = party.world.now() + time;
    party.world.run_until(end);
}

fn id(party: &PartyWorld, index: usize) -> PlayerId {
    party.player(index).id.unwrap()
}

/// Returns what this player knows of the room's properties and its members, by all that it was told.
fn known(party: &PartyWorld, index: usize) -> (BTreeMap<String, String>, BTreeMap<PlayerId, MemberState>) {
    let (mut properties, mut members) = (BTreeMap::new(), BTreeMap::new());
    for (_, event) in &party.player(index).events {
        match event.clone() {
            Event::PropertyChanged { key, value: Some(value), .. } => _ = properties.insert(key, value),
            Event::PropertyChanged { key, value: None, .. } => _ = properties.remove(&key),
            Event::MemberChanged { player, state, .. } => _ = members.insert(player, state),
            _ => {}
        }
    }
    (properties, members)
}

fn failures(party: &PartyWorld, index: usize) -> Vec<Event> {
    let events = party.player(index).events.iter().map(|(_, event)| event.clone());
    events.filter(|event| matches!(event, Event::RequestFailed { .. })).collect()
}

fn put(key: impl Into<String>, value: impl Into<String>) -> Changes {
    [(key.into(), Some(value.into()))].into()
}

fn skin(value: impl Into<String>) -> Command {
    Command::SetMember(MemberChanges { properties: put("skin", value), ready: Some(true), team: None })
}

#[test]
fn what_changes_all_the_time_is_the_same_for_all_in_the_end_over_lossy_ways_and_another_host() {
    for seed in 0..4 {
        let mut party = together(seed, 3, 3, 0.15);
        let story = "x".repeat(500);
        for n in 0..100 {
            party.command(0, Command::SetProperties(put(format!("key{}", n % 7), n.to_string())));
            party.command(0, Command::SetProperties(put("story", story.clone())));
            party.command(1, skin(n.to_string()));
            party.command(2, skin((n * 2).to_string()));
            run(&mut party, Duration::from_millis(20));
        }
        party.command(0, Command::SetProperties([(String::from("key3"), None)].into()));
        let keys: Vec<String> =
            ["key0", "key1", "key2", "key4", "key5", "key6", "story"].map(String::from).into();
        let settled = |party: &PartyWorld, players: &[usize]| {
            players.iter().all(|index| {
                let (properties, members) = known(party, *index);
                properties.keys().eq(&keys)
                    && members
                        .get(&id(party, 1))
                        .is_some_and(|said| said.properties["skin"] == "99" && said.ready)
                    && members.get(&id(party, 2)).is_some_and(|said| said.properties["skin"] == "198")
            })
        };
        let told = |party: &PartyWorld| [0, 1, 2].map(|index| (known(party, index), failures(party, index)));
        assert!(
            party.wait(20 * SECOND, |party| settled(party, &[0, 1, 2])),
            "seed {seed}: {:#?}",
            told(&party)
        );
        for index in 0..3 {
            assert_eq!(failures(&party, index), [], "seed {seed}");
        }
        // The host leaves, and the next one writes.
        party.command(0, Command::LeaveRoom);
        let hosts = |party: &PartyWorld, index: usize| {
            let mut events = party.player(index).events.iter();
            events.any(|(_, event)| matches!(event, Event::HostChanged { hosting: true, .. }))
        };
        assert!(party.wait(20 * SECOND, |party| hosts(party, 1) || hosts(party, 2)));
        let next = if hosts(&party, 1) { 1 } else { 2 };
        party.command(next, Command::SetProperties(put("key0", "next")));
        let written = |party: &PartyWorld| {
            settled(party, &[1, 2]) && [1, 2].iter().all(|index| known(party, *index).0["key0"] == "next")
        };
        assert!(party.wait(20 * SECOND, written), "seed {seed}: {:#?}", told(&party));
    }
}

#[test]
fn a_countdown_is_over_at_the_same_moment_for_players_at_different_distances() {
    for (seed, loss) in [(1, 0.0), (2, 0.0), (3, 0.1), (4, 0.1), (5, 0.2)] {
        let mut party = together(seed, 4, 4, loss);
        for index in 0..4 {
            party.command(index, skin("red"));
        }
        let ready = |party: &PartyWorld, index: usize| {
            party.player(index).events.iter().any(|(_, event)| matches!(event, Event::AllReady(true)))
        };
        assert!(party.wait(20 * SECOND, |party| (0..4).all(|index| ready(party, index))), "seed {seed}");
        let rule = CountdownRule::default();
        party.command(0, Command::StartCountdown { after: 5 * SECOND, rule });
        run(&mut party, 8 * SECOND);
        let over = [0, 1, 2, 3].map(|index| {
            let events = &party.player(index).events;
            let begun = events.iter().find_map(|(_, event)| match event {
                Event::CountdownStarted(countdown) => countdown.exact,
                _ => None,
            });
            let over =
                events.iter().find(|(_, event)| matches!(event, Event::CountdownOver)).map(|(at, _)| *at);
            (
                over.unwrap_or_else(|| panic!("seed {seed}: player {index} never began: {events:#?}")),
                begun.unwrap(),
            )
        });
        for (at, exact) in over {
            for (other, its_exact) in over {
                let apart = if at > other { at - other } else { other - at };
                // The server's clock is told in whole milliseconds.
                let most = if loss == 0.0 {
                    Duration::from_millis(3)
                } else {
                    exact + its_exact + Duration::from_millis(3)
                };
                assert!(apart <= most, "seed {seed}, loss {loss}: {apart:?} apart, {over:?}");
            }
        }
    }
}

#[test]
fn what_was_said_is_there_again_after_a_restart_of_the_server_for_who_comes_later_too() {
    for seed in 0..3 {
        let mut party = together(seed, 4, 3, 0.05);
        party.command(0, Command::SetProperties(put("map", "cave")));
        let long: Changes = (0..7).map(|n| (format!("long{n}"), Some("y".repeat(512)))).collect();
        party.command(0, Command::SetProperties(long));
        party.command(0, Command::SetTeams(vec![2, 2]));
        party.command(1, skin("red"));
        party.command(2, skin("blue"));
        let said = |party: &PartyWorld, index: usize| {
            let (properties, members) = known(party, index);
            properties.len() == 8
                && members
                    .get(&id(party, 1))
                    .is_some_and(|said| said.ready && said.properties["skin"] == "red")
                && members
                    .get(&id(party, 2))
                    .is_some_and(|said| said.ready && said.properties["skin"] == "blue")
        };
        assert!(party.wait(20 * SECOND, |party| (0..3).all(|index| said(party, index))), "seed {seed}");
        party.restart_server(100 + seed);
        run(&mut party, 30 * SECOND);
        party.join(3);
        let told = |party: &PartyWorld| format!("seed {seed}: {:#?}", known(party, 3));
        assert!(party.wait(20 * SECOND, |party| said(party, 3)), "{}", told(&party));
        // Nobody was told of anything that had not changed.
        for index in 0..3 {
            let removed = party.player(index).events.iter().any(|(_, event)| {
                matches!(event, Event::PropertyChanged { value: None, .. })
                    || matches!(event, Event::MemberChanged { changed, .. } if changed.ready == Some(false))
            });
            assert!(!removed, "seed {seed}, player {index}");
        }
    }
}

#[test]
fn a_host_hands_over_and_plays_on_as_a_member() {
    for seed in 0..3 {
        let mut party = together(seed, 3, 3, 0.05);
        party.command(0, Command::SetProperties(put("map", "cave")));
        let player = id(&party, 2);
        party.command(0, Command::HandOver { player });
        let plays = |party: &PartyWorld| {
            (0..2).all(|index| {
                let (one, host) = (party.player(index), party.player(2));
                one.paths.contains_key(&id(party, 2)) && host.paths.contains_key(&id(party, index))
            })
        };
        assert!(party.wait(20 * SECOND, plays), "seed {seed}");
        for index in 0..3 {
            let events = &party.player(index).events;
            assert!(!events.iter().any(|(_, event)| matches!(event, Event::RoomLeft { .. })), "seed {seed}");
            let changes =
                events.iter().filter(|(_, event)| matches!(event, Event::HostChanged { .. })).count();
            assert_eq!(changes, 1, "seed {seed}, player {index}");
        }
        party.command(2, Command::SetProperties(put("map", "sea")));
        let sea = |party: &PartyWorld| (0..3).all(|index| known(party, index).0["map"] == "sea");
        assert!(party.wait(10 * SECOND, sea), "seed {seed}");
    }
}
