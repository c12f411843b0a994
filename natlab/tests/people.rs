//! Contacts and calls in simulated worlds of two lobby nodes that share a registry: who is on line is known across nodes, and a
//! call leads to a game whatever the NATs.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use lobby_server::MemoryRegistry;
use natlab::lobby::{SimulatedProgram, sockets_of_node};
use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use natlab::world::HostId;
use traversal_core::id::CallId;
use traversal_core::wire::message::{CallAnswer, CallEnd, Presence, Status};
use traversal_core::{AgentConfig, Command, Event, LobbyState};

const SECOND: Duration = Duration::from_secs(1);

struct Nodes {
    party: PartyWorld,
    hosts: Vec<HostId>,
}

/// Makes a world of two nodes, with players behind these NATs who are logged in at them in turn.
fn world(seed: u64, nats: &[&str]) -> Nodes {
    let chains: Vec<_> = nats.iter().map(|nat| nat.parse::<NatSpec>().unwrap().chain).collect();
    let mut party = PartyWorld::new(seed, &chains, Duration::from_millis(30), &AgentConfig::default());
    let hosts = party.spread_servers(seed, 2, &MemoryRegistry::new());
    for index in 0..nats.len() {
        assert!(party.log_in_at(index, index as u8 % 2 + 1), "player {index}");
    }
    Nodes { party, hosts }
}

impl Nodes {
    /// A player allows these, and nobody else.
    fn allow(&mut self, index: usize, others: &[usize]) {
        let list = others.iter().map(|other| self.party.player(*other).id.unwrap()).collect();
        self.party.command(index, Command::SetContacts(list));
    }

    fn node_of(&self, index: usize) -> Option<u8> {
        let LobbyState::Online { server, .. } = self.party.player(index).lobby else { return None };
        (1..=2).find(|node| sockets_of_node(*node).contains(&server))
    }
}

/// How a player was told last that another one is: `None` where it has heard nothing yet.
fn told(party: &PartyWorld, index: usize, other: usize) -> Option<Option<Presence>> {
    let id = party.player(other).id.unwrap();
    party.player(index).events.iter().rev().find_map(|(_, event)| match event {
        Event::Presence { player, presence } if *player == id => Some(presence.clone()),
        _ => None,
    })
}

fn sees(party: &PartyWorld, index: usize, other: usize) -> Option<Presence> {
    told(party, index, other).flatten()
}

fn incoming(party: &PartyWorld, index: usize) -> Option<CallId> {
    party.player(index).events.iter().find_map(|(_, event)| match event {
        Event::IncomingCall { call, .. } => Some(*call),
        _ => None,
    })
}

fn ended(party: &PartyWorld, index: usize) -> Option<CallEnd> {
    party.player(index).events.iter().find_map(|(_, event)| match event {
        Event::CallEnded { why, .. } => Some(why.clone()),
        _ => None,
    })
}

#[test]
fn m35_players_of_two_nodes_see_each_other_until_a_node_dies_and_again_when_its_player_is_back() {
    for seed in 0..4 {
        let mut nodes = world(seed, &["portrestricted", "as", "fullcone"]);
        nodes.allow(0, &[1, 2]);
        nodes.allow(1, &[0]);
        // The third one lists nobody.
        let both = |party: &PartyWorld| sees(party, 0, 1).is_some() && sees(party, 1, 0).is_some();
        assert!(nodes.party.wait(5 * SECOND, both), "seed {seed}");
        assert_eq!(sees(&nodes.party, 0, 1).unwrap().name, "player 2");
        let status = Status { text: "on the roof".into(), away: true, ..Status::default() };
        nodes.party.command(1, Command::SetStatus(status));
        let changed =
            |party: &PartyWorld| sees(party, 0, 1).is_some_and(|one| one.away && one.text == "on the roof");
        assert!(nodes.party.wait(2 * SECOND, changed), "seed {seed}");

        nodes.party.world.replace_node(nodes.hosts[1], SimulatedProgram::Idle);
        let gone = |party: &PartyWorld| told(party, 0, 1) == Some(None);
        assert!(nodes.party.wait(15 * SECOND, gone), "seed {seed}: it is off line with its node");
        // Its agent knows the other node, and says there what it said here.
        assert!(nodes.party.wait(60 * SECOND, changed), "seed {seed}: and back with the other one");
        assert_eq!(nodes.node_of(1), Some(1));
        assert_eq!(told(&nodes.party, 0, 2), None, "a player who lists nobody is seen by nobody");
        assert_eq!(told(&nodes.party, 2, 0), None);
    }
}

#[test]
fn m36_a_call_across_nodes_leads_to_a_game_and_one_of_a_stranger_to_nothing() {
    for (seed, nats) in
        [["portrestricted", "fullcone"], ["ps", "portrestricted"], ["as", "as"]].iter().enumerate()
    {
        let mut nodes = world(seed as u64, &[nats[0], nats[1], "none", "none"]);
        nodes.allow(0, &[1]);
        nodes.allow(1, &[0]);
        let ids: Vec<_> = (0..4).map(|index| nodes.party.player(index).id.unwrap()).collect();
        // A stranger at the other node calls: it reads that nobody is there, and nothing rings.
        nodes.party.command(3, Command::Call(ids[0]));
        assert!(nodes.party.wait(5 * SECOND, |party| ended(party, 3).is_some()));
        assert_eq!(ended(&nodes.party, 3), Some(CallEnd::NotReached));
        assert_eq!(incoming(&nodes.party, 0), None);

        nodes.party.command(1, Command::Call(ids[0]));
        assert!(nodes.party.wait(5 * SECOND, |party| incoming(party, 0).is_some()), "{nats:?}: it rings");
        let call = incoming(&nodes.party, 0).unwrap();
        nodes.party.command(0, Command::AnswerCall { call, answer: CallAnswer::Yes });
        let played = nodes.party.wait(20 * SECOND, |party| party.has_played(0, 1));
        assert!(played, "{nats:?}: {:?}", nodes.party.player(0).refusals);
        assert_eq!(nodes.node_of(0), nodes.node_of(1), "both are where the room is");
        // Its contact sees that it plays now, its room's name not among what strangers may see.
        let playing = |party: &PartyWorld| sees(party, 0, 1).is_some_and(|one| one.playing);
        assert!(nodes.party.wait(5 * SECOND, playing), "{nats:?}");
        assert_eq!(told(&nodes.party, 3, 0), None);
    }
}
