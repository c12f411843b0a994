//! Texts between players behind NATs: over the connections, through the server, with loss, without the server, and by who watches.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::lobby::SimulatedProgram;
use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use traversal_core::wire::message::{ChatFault, ChatTo, PartyRequest, RequestError, RoomTarget, Topology};
use traversal_core::{AgentConfig, ChatWay, Command, Event, RelayPolicy, RequestFailure};

const SECOND: Duration = Duration::from_secs(1);

fn world(seed: u64, specs: &[&str], config: &AgentConfig) -> PartyWorld {
    let chains: Vec<_> = specs.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
    PartyWorld::new(seed, &chains, Duration::from_millis(30), config)
}

/// Puts all into one room of this shape, and waits until all who are to be connected are.
fn together(party: &mut PartyWorld, topology: Topology) {
    assert!(party.prepare_as(topology));
    for index in 1..party.players.len() {
        party.join(index);
    }
    let count = party.players.len();
    assert!(party.wait(10 * SECOND, |party| {
        let mesh = topology == Topology::Mesh;
        (0..count).all(|one| (one + 1..count).all(|other| one > 0 && !mesh || party.has_played(one, other)))
            // And each knows of all others.
            && (0..count).all(|index| members(party, index) == count)
    }));
}

fn members(party: &PartyWorld, index: usize) -> usize {
    let told = party.player(index).events.iter().rev().find_map(|(_, event)| match event {
        Event::Members(members) => Some(members.len()),
        _ => None,
    });
    told.unwrap_or_default()
}

fn say(party: &mut PartyWorld, index: usize, text: &str) {
    party.command(index, Command::Say { to: ChatTo::Room, text: text.into() });
}

/// Returns how often each text was shown to a player, and by which way first.
fn read(party: &PartyWorld, index: usize) -> BTreeMap<String, (usize, ChatWay)> {
    let mut read = BTreeMap::new();
    for (_, event) in &party.player(index).events {
        if let Event::ChatReceived { text, by, .. } = event {
            read.entry(text.clone()).or_insert((0, *by)).0 += 1;
        }
    }
    read
}

/// Returns by which way this text of a player went, and whether all have it.
fn sent(party: &PartyWorld, index: usize, wanted: &str) -> Option<(ChatWay, bool)> {
    party.player(index).events.iter().find_map(|(_, event)| match event {
        Event::ChatSent { text, by, all, .. } if text == wanted => Some((*by, *all)),
        _ => None,
    })
}

fn refused(party: &PartyWorld, index: usize) -> Vec<RequestFailure> {
    let events = party.player(index).events.iter();
    let refused = events.filter_map(|(_, event)| match event {
        Event::ChatRefused { why, .. } => Some(why.clone()),
        _ => None,
    });
    refused.collect()
}

fn run(party: &mut PartyWorld, time: Duration) {
    let end = party.world.now() + time;
    party.world.run_until(end);
}

/// Each says one thing; in the end each has read it once, and nothing of its own. Returns the ways.
fn all_write(party: &mut PartyWorld, what: &str, patience: Duration) -> Vec<ChatWay> {
    let count = party.players.len();
    for index in 0..count {
        say(party, index, &format!("{what} of {index}"));
    }
    run(party, patience);
    let mut ways = Vec::new();
    for reader in 0..count {
        let read = read(party, reader);
        for writer in 0..count {
            let text = format!("{what} of {writer}");
            if reader == writer {
                assert!(!read.contains_key(&text), "{text} came back");
                let sent = sent(party, writer, &text);
                assert_eq!(sent.map(|(_, all)| all), Some(true), "{text}: {:?}", refused(party, writer));
                ways.extend(sent.map(|(by, _)| by));
            } else {
                assert_eq!(read.get(&text).map(|(count, _)| *count), Some(1), "{text} at {reader}");
            }
        }
    }
    ways
}

#[test]
fn texts_go_over_the_connections_directly_and_relayed_with_the_server_and_without_it() {
    for (seed, topology) in [(1, Topology::Star), (2, Topology::Mesh)] {
        // Between two of these nothing but the relay gets through.
        let mut party =
            world(seed, &["fullcone", "psrandom", "psrandom", "portrestricted"], &AgentConfig::default());
        together(&mut party, topology);
        let ways = all_write(&mut party, "first", 3 * SECOND);
        assert_eq!(ways, [ChatWay::Connection; 4], "{topology:?}");
        for index in 0..4 {
            assert!(read(&party, index).values().all(|(_, by)| *by == ChatWay::Connection), "{topology:?}");
        }
        if topology == Topology::Star {
            // Without the relay, which goes with the server, too.
            let mut party =
                world(seed, &["fullcone", "restricted", "portrestricted"], &AgentConfig::default());
            together(&mut party, topology);
            party.world.replace_node(party.server, SimulatedProgram::Idle);
            run(&mut party, 10 * SECOND);
            let ways = all_write(&mut party, "alone", 3 * SECOND);
            assert_eq!(ways, [ChatWay::Connection; 3]);
        }
    }
}

/// Returns whether a player is in a party of this many.
fn in_party_of(party: &PartyWorld, index: usize, count: usize) -> bool {
    party.player(index).events.iter().rev().any(|(_, event)| match event {
        Event::Party(info) => info.members.len() == count,
        _ => false,
    })
}

#[test]
fn a_party_writes_over_its_connections_and_through_the_server_where_a_member_is_elsewhere() {
    let mut party =
        world(5, &["fullcone", "portrestricted", "psrandom", "restricted"], &AgentConfig::default());
    together(&mut party, Topology::Star);
    party.command(0, Command::Party(PartyRequest::Create { most: 3 }));
    assert!(party.wait(5 * SECOND, |party| in_party_of(party, 0, 1)));
    let code = party.player(0).events.iter().find_map(|(_, event)| match event {
        Event::Party(info) => Some(info.code.clone()),
        _ => None,
    });
    let join = Command::Party(PartyRequest::Join { code: code.unwrap() });
    party.command(1, join.clone());
    assert!(party.wait(5 * SECOND, |party| (0..2).all(|index| in_party_of(party, index, 2))));
    let write = |text: &str| Command::Say { to: ChatTo::Party, text: text.into() };
    party.command(1, write("both are in the match"));
    party.command(2, write("I am in no party"));
    assert!(party.wait(3 * SECOND, |party| sent(party, 1, "both are in the match").is_some()));
    assert_eq!(sent(&party, 1, "both are in the match"), Some((ChatWay::Connection, true)));
    let no_party = RequestFailure::Server(RequestError::Chat(ChatFault::NotInParty));
    assert_eq!(refused(&party, 2), [no_party]);

    // The host is connected with each, these two are not connected with each other.
    party.command(2, join);
    assert!(party.wait(5 * SECOND, |party| (0..3).all(|index| in_party_of(party, index, 3))));
    party.command(0, write("from the host"));
    party.command(1, write("from a guest"));
    assert!(party.wait(3 * SECOND, |party| {
        sent(party, 0, "from the host").is_some() && sent(party, 1, "from a guest").is_some()
    }));
    assert_eq!(sent(&party, 0, "from the host"), Some((ChatWay::Connection, true)));
    assert_eq!(sent(&party, 1, "from a guest"), Some((ChatWay::Server, true)));
    run(&mut party, 3 * SECOND);
    let texts = |index: usize| {
        read(&party, index).into_iter().map(|(text, (times, by))| (text, times, by)).collect::<Vec<_>>()
    };
    let (by, at) = (ChatWay::Connection, ChatWay::Server);
    assert_eq!(texts(0), [("both are in the match".into(), 1, by), ("from a guest".into(), 1, at)]);
    assert_eq!(texts(1), [("from the host".into(), 1, by)]);
    assert_eq!(texts(2), [("from a guest".into(), 1, at), ("from the host".into(), 1, by)]);
    assert_eq!(texts(3), [], "who is not in the party reads nothing");

    // The server is gone: those in the party who are connected still read.
    party.world.replace_node(party.server, SimulatedProgram::Idle);
    run(&mut party, 10 * SECOND);
    party.command(0, write("alone"));
    assert!(party.wait(10 * SECOND, |party| sent(party, 0, "alone").is_some()));
    assert_eq!(sent(&party, 0, "alone"), Some((ChatWay::Connection, true)));
    assert!(party.wait(SECOND, |party| (1..3).all(|index| read(party, index).contains_key("alone"))));
}

#[test]
fn where_every_fifth_packet_between_two_is_lost_each_text_is_read_once() {
    for seed in 0..6 {
        let topology = if seed % 2 == 0 { Topology::Star } else { Topology::Mesh };
        let mut party =
            world(seed, &["fullcone", "restricted", "portrestricted", "none"], &AgentConfig::default());
        together(&mut party, topology);
        let way = Way { delay: Duration::from_millis(15), loss: 0.1, ..Way::default() };
        let lossy = Link::both(way);
        for nats in party.nats.clone() {
            for nat in nats {
                party.world.set_nat_link(nat, lossy.clone());
            }
        }
        for round in 0..3 {
            let ways = all_write(&mut party, &format!("round {round}"), 8 * SECOND);
            println!("seed {seed}, {topology:?}: {ways:?}");
        }
    }
}

#[test]
fn two_who_cannot_be_connected_write_through_the_server_and_it_may_be_restarted_meanwhile() {
    let config = AgentConfig { relay: RelayPolicy::Never, ..AgentConfig::default() };
    let mut party = world(3, &["fullcone", "psrandom", "psrandom"], &config);
    assert!(party.prepare_as(Topology::Mesh));
    party.join(1);
    party.join(2);
    assert!(party.wait(20 * SECOND, |party| (1..3).all(|index| !party.player(index).failures.is_empty())));
    let ways = all_write(&mut party, "before", 3 * SECOND);
    assert_eq!(ways, [ChatWay::Connection, ChatWay::Server, ChatWay::Server]);
    // The server is gone in this moment, and there again within the ten seconds for which a text is tried.
    party.world.replace_node(party.server, SimulatedProgram::Idle);
    run(&mut party, Duration::from_secs(40));
    say(&mut party, 1, "meanwhile");
    run(&mut party, SECOND);
    assert!(read(&party, 0).contains_key("meanwhile") && !read(&party, 2).contains_key("meanwhile"));
    run(&mut party, 10 * SECOND);
    // One who was reached has it: nobody is to write it again.
    assert_eq!(sent(&party, 1, "meanwhile"), Some((ChatWay::Connection, false)));
    party.restart_server(5);
    run(&mut party, Duration::from_secs(40));
    assert!(all_write(&mut party, "after", 5 * SECOND).contains(&ChatWay::Server));
}

#[test]
fn without_the_server_and_without_anybody_a_text_is_refused_after_ten_seconds() {
    let mut party = world(4, &["fullcone", "fullcone"], &AgentConfig::default());
    assert!(party.prepare_as(Topology::Star));
    party.world.replace_node(party.server, SimulatedProgram::Idle);
    run(&mut party, Duration::from_secs(60));
    party.command(0, Command::Say { to: ChatTo::Player(party.player(1).id.unwrap()), text: "hello?".into() });
    run(&mut party, 9 * SECOND);
    assert_eq!(refused(&party, 0), []);
    run(&mut party, 2 * SECOND);
    assert_eq!(refused(&party, 0), [RequestFailure::NotLoggedIn]);
    // In no room there is nobody to write to.
    say(&mut party, 1, "hello?");
    let fault = RequestFailure::Server(RequestError::Chat(ChatFault::NotInRoom));
    assert_eq!(refused(&party, 1), [fault]);
}

#[test]
fn who_watches_reads_what_all_write_and_does_not_write() {
    for (seed, topology) in [(5, Topology::Star), (6, Topology::Mesh)] {
        let mut party = world(seed, &["fullcone", "restricted", "none", "fullcone"], &AgentConfig::default());
        (party.room.capacity, party.room.spectators) = (3, 1);
        assert!(party.prepare_as(topology));
        party.join(1);
        party.join(2);
        let target = RoomTarget::Name(party.room.name.clone());
        party.command(3, Command::Spectate { target, password: None, wait: 5 * SECOND });
        assert!(party.wait(10 * SECOND, |party| {
            (1..4).all(|index| party.player(index).connected_at.len() >= usize::from(index < 3))
                && !party.player(3).connected_at.is_empty()
        }));
        run(&mut party, 5 * SECOND);
        for writer in 0..3 {
            say(&mut party, writer, &format!("text {writer}"));
        }
        say(&mut party, 3, "look behind you");
        run(&mut party, 5 * SECOND);
        let read_by_watcher = read(&party, 3);
        for writer in 0..3 {
            let text = format!("text {writer}");
            assert_eq!(read_by_watcher.get(&text).map(|(count, _)| *count), Some(1), "{topology:?}: {text}");
        }
        let fault = RequestFailure::Server(RequestError::Chat(ChatFault::OnlyWatches));
        assert_eq!(refused(&party, 3), [fault]);
        assert!((0..3).all(|reader| read(&party, reader).len() == 2), "{topology:?}");
    }
}
