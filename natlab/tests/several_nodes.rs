//! Several lobby nodes that share a registry: players of different nodes meet, a node ends or dies while games run.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use lobby_server::MemoryRegistry;
use lobby_server::registry::{NodeSite, RegistryOperation, RegistryReply, RoomLocation, RoomRecord, Shown};
use natlab::lobby::{Lobby, SimulatedProgram, sockets_of_node};
use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use natlab::world::HostId;
use traversal_core::id::RoomId;
use traversal_core::wire::message::{
    NumberRule, QuickMatch, QuickRules, RequestError, RoomSummary, RoomTarget,
};
use traversal_core::{AgentConfig, Command, LobbyError, LobbyState, RelayPolicy, RequestFailure};

const SECOND: Duration = Duration::from_secs(1);

struct Nodes {
    party: PartyWorld,
    hosts: Vec<HostId>,
    registry: MemoryRegistry,
}

/// Makes a world of players behind these NATs, each logged in at the node of the same place in the list.
fn world(seed: u64, players: &[(&str, u8)], nodes: u8, config: &AgentConfig) -> Nodes {
    let chains: Vec<_> = players.iter().map(|(nat, _)| nat.parse::<NatSpec>().unwrap().chain).collect();
    let mut party = PartyWorld::new(seed, &chains, Duration::from_millis(30), config);
    let registry = MemoryRegistry::new();
    let hosts = party.spread_servers(seed, nodes, &registry);
    for (index, (_, node)) in players.iter().enumerate() {
        assert!(party.log_in_at(index, *node), "player {index} logs in at node {node}");
    }
    Nodes { party, hosts, registry }
}

impl Nodes {
    fn host_room(&mut self, index: usize) {
        let room = self.party.room.clone();
        self.party.command(index, Command::HostRoom(room));
        assert!(self.party.wait(5 * SECOND, |party| party.player(index).in_room));
    }

    fn run(&mut self, time: Duration) {
        let end = self.party.world.now() + time;
        self.party.world.run_until(end);
    }

    /// Returns the node at which this player is logged in.
    fn node_of(&self, index: usize) -> Option<u8> {
        let LobbyState::Online { server, .. } = self.party.player(index).lobby else { return None };
        (1..=self.hosts.len() as u8).find(|node| sockets_of_node(*node).contains(&server))
    }

    fn kill(&mut self, node: u8) {
        let host = self.hosts[usize::from(node) - 1];
        self.party.world.replace_node(host, SimulatedProgram::Idle);
    }

    /// Starts a killed node anew.
    fn start(&mut self, node: u8, incarnation: u64) {
        let now = self.party.world.instant();
        let numbers = (node, incarnation);
        let lobby = Lobby::node(numbers, Default::default(), self.registry.clone(), [node; 32], now);
        let host = self.hosts[usize::from(node) - 1];
        self.party.world.replace_node(host, SimulatedProgram::Lobby(Box::new(lobby)));
    }

    fn cut_off(&mut self, node: u8, cut_off: bool) {
        let host = self.hosts[usize::from(node) - 1];
        self.party.world.act(host, |program, _| program.lobby_mut().unwrap().cut_off(cut_off));
    }

    fn server<R>(
        &mut self,
        node: u8,
        ask: impl FnOnce(&mut lobby_server::Server, std::time::Instant) -> R,
    ) -> R {
        let host = self.hosts[usize::from(node) - 1];
        self.party.world.act(host, |program, now| ask(program.lobby_mut().unwrap().server(), now))
    }

    fn refusals(&self, index: usize) -> Vec<RequestFailure> {
        self.party.player(index).refusals.iter().map(|(_, failure)| failure.clone()).collect()
    }
}

#[test]
fn players_of_different_nodes_meet_directly_and_over_the_relay() {
    let pairs = [("portrestricted", "fullcone", true), ("ps", "portrestricted", true), ("none", "as", false)];
    for (seed, (left, right, direct)) in pairs.into_iter().enumerate() {
        let players = [(left, 1), (right, 2)];
        let relay = if direct { RelayPolicy::default() } else { RelayPolicy::Only };
        let config = AgentConfig { relay, ..AgentConfig::default() };
        let mut nodes = world(seed as u64, &players, 2, &config);
        nodes.host_room(0);
        nodes.party.join(1);
        let began = nodes.party.world.now();
        let played = nodes.party.wait(10 * SECOND, |party| party.is_played(1));
        assert!(played, "{left} and {right}: {:?}", nodes.refusals(1));
        assert!(nodes.party.world.now() - began < 3 * SECOND, "{left} and {right} take too long");
        assert_eq!([nodes.node_of(0), nodes.node_of(1)], [Some(1); 2], "who joins is at the room's node");
        let is_direct = nodes.party.wait(8 * SECOND, |party| party.is_direct(1));
        assert_eq!(is_direct, direct, "{left} and {right}");
        assert_eq!(nodes.server(2, |server, _| server.gauges().sessions), 0);
    }
}

#[test]
fn a_wrong_room_is_refused_at_any_node_and_a_name_is_there_once() {
    let mut nodes = world(7, &[("fullcone", 1), ("fullcone", 2)], 2, &AgentConfig::default());
    nodes.host_room(0);
    let room = nodes.party.room.clone();
    nodes.party.command(1, Command::HostRoom(room));
    nodes.run(2 * SECOND);
    let taken = RequestFailure::Server(RequestError::NameTaken);
    assert_eq!(nodes.refusals(1), [taken]);
    let target = RoomTarget::Name("another".into());
    nodes.party.command(1, Command::JoinRoom { target, password: None, wait: Duration::ZERO });
    nodes.run(2 * SECOND);
    assert_eq!(nodes.refusals(1).last(), Some(&RequestFailure::Server(RequestError::NoSuchRoom)));
    assert_eq!(nodes.node_of(1), Some(2));
}

#[test]
fn a_node_that_dies_takes_no_game_along_and_its_room_is_joined_again_within_ten_seconds() {
    for seed in 0..4 {
        let players = [("portrestricted", 1), ("restricted", 1), ("fullcone", 2)];
        let mut nodes = world(seed, &players, 2, &AgentConfig::default());
        nodes.host_room(0);
        nodes.party.join(1);
        assert!(nodes.party.wait(10 * SECOND, |party| party.is_played(1) && party.is_direct(1)));
        nodes.run(5 * SECOND);
        nodes.kill(1);
        let died = nodes.party.world.now();
        // The game asks again and again, as one whose player keeps pressing the button.
        let joined = loop {
            nodes.party.join(2);
            if nodes.party.wait(SECOND, |party| party.is_played(2)) {
                break nodes.party.world.now() - died;
            }
            assert!(nodes.party.world.now() - died < 20 * SECOND, "{seed}: {:?}", nodes.refusals(2));
        };
        assert!(joined < 10 * SECOND, "seed {seed}: joined again after {joined:?}");
        assert_eq!([0, 1, 2].map(|index| nodes.node_of(index)), [Some(2); 3]);
        nodes.run(10 * SECOND);
        assert_eq!(nodes.party.player(1).disconnects, 0, "the game between those who were there went on");
        assert!(nodes.party.has_direct(0, 1));

        // It comes back, and nothing changes.
        nodes.start(1, 77);
        nodes.run(10 * SECOND);
        assert_eq!([0, 1, 2].map(|index| nodes.node_of(index)), [Some(2); 3]);
        assert_eq!((0..3).map(|index| nodes.party.player(index).disconnects).sum::<u32>(), 0);
    }
}

#[test]
fn a_node_that_ends_hands_its_rooms_over_at_once() {
    let config = AgentConfig::default();
    let mut nodes = world(3, &[("portrestricted", 1), ("as", 1), ("none", 1)], 2, &config);
    nodes.host_room(0);
    nodes.party.join(1);
    assert!(nodes.party.wait(10 * SECOND, |party| party.is_played(1)));
    nodes.run(3 * SECOND);
    nodes.server(1, |server, now| server.drain(now, "an update"));
    let moved = nodes.party.wait(4 * SECOND, |party| (0..3).all(|index| party.player(index).is_online()));
    assert!(moved);
    nodes.run(3 * SECOND);
    assert_eq!([0, 1, 2].map(|index| nodes.node_of(index)), [Some(2); 3]);
    assert!(nodes.server(1, |server, _| server.is_empty()), "it can end now");
    assert_eq!(nodes.server(2, |server, _| server.gauges().rooms), 1);
    assert_eq!((0..2).map(|index| nodes.party.player(index).disconnects).sum::<u32>(), 0);
    nodes.party.join(2);
    assert!(nodes.party.wait(5 * SECOND, |party| party.is_played(2)), "{:?}", nodes.refusals(2));
}

#[test]
fn relayed_players_play_on_over_the_node_that_takes_their_room() {
    let config = AgentConfig { relay: RelayPolicy::Only, ..AgentConfig::default() };
    let mut nodes = world(5, &[("portrestricted", 1), ("fullcone", 1)], 2, &config);
    nodes.host_room(0);
    nodes.party.join(1);
    assert!(nodes.party.wait(10 * SECOND, |party| party.is_played(1)));
    nodes.run(3 * SECOND);
    nodes.kill(1);
    nodes.run(15 * SECOND);
    assert_eq!([0, 1].map(|index| nodes.node_of(index)), [Some(2); 2]);
    assert_eq!([0, 1].map(|index| nodes.party.player(index).disconnects), [0; 2]);
    let relayed = nodes.server(2, |server, _| server.counters().relayed);
    assert!(relayed > 20, "{relayed} datagrams went over the second node");
}

#[test]
fn those_who_want_a_quick_match_meet_though_they_are_at_different_nodes() {
    for seed in 0..3 {
        let players = [("portrestricted", 1), ("fullcone", 2), ("restricted", 3)];
        let mut nodes = world(seed, &players, 3, &AgentConfig::default());
        let wanted = QuickMatch { mode: format!("mode {seed}"), players: 3, ..QuickMatch::default() };
        for index in 0..3 {
            nodes.party.command(index, Command::QuickMatch(wanted.clone()));
        }
        let met = nodes.party.wait(8 * SECOND, |party| (0..3).all(|index| party.player(index).in_room));
        assert!(met, "seed {seed}: {:?}", [0, 1, 2].map(|index| nodes.node_of(index)));
        assert!(nodes.party.wait(8 * SECOND, |party| {
            [(0, 1), (0, 2), (1, 2)].iter().filter(|(one, other)| party.has_played(*one, *other)).count() >= 2
        }));
    }
}

#[test]
fn rules_of_a_quick_match_hold_across_nodes() {
    for seed in 0..3 {
        let players = [("portrestricted", 1), ("fullcone", 2), ("restricted", 3)];
        let mut nodes = world(100 + seed, &players, 3, &AgentConfig::default());
        for (index, skill) in [(0, 1200), (1, 1500), (2, 1210)] {
            let numbers = vec![NumberRule::new("skill", skill).within([50])];
            let rules = QuickRules { numbers, ..QuickRules::default() };
            let wanted = QuickMatch { mode: format!("mode {seed}"), rules, ..QuickMatch::default() };
            nodes.party.command(index, Command::QuickMatch(wanted));
        }
        let met =
            nodes.party.wait(8 * SECOND, |party| [0, 2].iter().all(|index| party.player(*index).in_room));
        assert!(met, "seed {seed}: {:?}", [0, 1, 2].map(|index| nodes.node_of(index)));
        nodes.run(5 * SECOND);
        assert!(!nodes.party.player(1).in_room, "300 apart, and 50 allowed");
        assert!(nodes.party.wait(8 * SECOND, |party| party.has_played(0, 2)));
    }
}

#[test]
fn a_player_is_logged_in_once_whichever_nodes_it_chooses() {
    let mut nodes = world(11, &[("fullcone", 1)], 2, &AgentConfig::default());
    // The same player, started a second time on another machine, finds the other node.
    let identity = nodes.party.player(0).id;
    let twin = nodes.party.add_twin(0, &"none".parse::<NatSpec>().unwrap().chain);
    assert!(nodes.party.log_in_at(twin, 2));
    assert_eq!(nodes.party.player(twin).id, identity);
    nodes.run(3 * SECOND);
    let replaced = LobbyState::Refused { error: LobbyError::Replaced };
    assert_eq!(nodes.party.player(0).lobby, replaced);
    assert!(nodes.party.player(twin).is_online(), "the later login counts");
}

#[test]
fn a_node_that_is_cut_off_from_the_registry_serves_its_games_and_says_what_it_cannot_do() {
    let players = [("portrestricted", 1), ("fullcone", 1), ("restricted", 1), ("none", 2)];
    let mut nodes = world(13, &players, 2, &AgentConfig::default());
    nodes.host_room(0);
    nodes.party.join(1);
    assert!(nodes.party.wait(10 * SECOND, |party| party.is_played(1)));
    nodes.cut_off(1, true);
    nodes.run(3 * SECOND);
    nodes.party.join(2);
    nodes.party.join(3);
    nodes.run(20 * SECOND);
    let unavailable = RequestFailure::Server(RequestError::RegistryUnavailable);
    assert_eq!(nodes.refusals(2), [unavailable]);
    assert!(
        nodes.refusals(3).iter().all(|why| matches!(why, RequestFailure::Server(RequestError::NoSuchRoom)))
    );
    assert!(!nodes.refusals(3).is_empty(), "it hears in the end that nobody has the room");
    assert_eq!((0..2).map(|index| nodes.party.player(index).disconnects).sum::<u32>(), 0);
    nodes.cut_off(1, false);
    nodes.run(2 * SECOND);
    for index in [2, 3] {
        nodes.party.join(index);
        assert!(nodes.party.wait(8 * SECOND, |party| party.is_played(index)), "{:?}", nodes.refusals(index));
    }
}

#[test]
fn a_room_that_was_taken_up_while_its_node_was_cut_off_is_one_room_again() {
    let players = [("portrestricted", 1), ("fullcone", 1), ("restricted", 1)];
    let mut nodes = world(17, &players, 2, &AgentConfig::default());
    nodes.host_room(0);
    for index in [1, 2] {
        nodes.party.join(index);
        assert!(nodes.party.wait(10 * SECOND, |party| party.is_played(index)));
    }
    nodes.run(3 * SECOND);
    nodes.cut_off(1, true);
    // One member does not reach the node any more, the others do.
    let away: std::net::IpAddr = match nodes.party.nats[2].last() {
        Some(nat) => nodes.party.world.nat(*nat).external()[0],
        None => unreachable!("it is behind a NAT"),
    };
    for address in natlab::lobby::addresses_of(1) {
        nodes.party.world.cut(away, address, true);
        nodes.party.world.cut(address, away, true);
    }
    assert!(nodes.party.wait(20 * SECOND, |party| {
        matches!(&party.player(2).lobby, LobbyState::Online { server, .. } if sockets_of_node(2).contains(server))
    }));
    nodes.run(10 * SECOND);
    assert_eq!(nodes.server(2, |server, _| server.gauges().rooms), 1, "it has taken the room up");
    nodes.cut_off(1, false);
    nodes.run(12 * SECOND);
    assert_eq!([0, 1, 2].map(|index| nodes.node_of(index)), [Some(2); 3]);
    assert_eq!(nodes.server(1, |server, _| server.gauges().rooms), 0);
    assert_eq!(nodes.server(2, |server, _| server.gauges().rooms), 1);
    assert!(nodes.party.has_direct(0, 1) && nodes.party.has_direct(0, 2));
    assert_eq!(nodes.party.player(1).disconnects, 0);
}

/// Two registries that each say that a room is at the other node: a fault of ours, or of an operator's who has set two servers
/// up with two registries and one name.
#[test]
fn two_nodes_that_send_a_player_to_each_other_have_it_log_in_a_few_times_only() {
    let mut nodes = world(19, &[("fullcone", 1)], 2, &AgentConfig::default());
    let claim = |registry: &mut MemoryRegistry, nodes: &Nodes, holder: u64| {
        let location = RoomLocation { node: holder, room: RoomId(5) };
        let summary = RoomSummary {
            name: nodes.party.room.name.clone(),
            code: "AAAAAA".into(),
            host_name: String::new(),
            members: 1,
            capacity: 8,
            password: false,
            ..RoomSummary::default()
        };
        let shown = Shown { summary, ..Shown::default() };
        let record =
            RoomRecord { location, epoch: 0, game: AgentConfig::default().game, public: true, shown };
        let now = nodes.party.world.instant();
        let addresses = vec![sockets_of_node(holder as u8)[0]];
        registry.beat(now, NodeSite { node: holder, addresses, players: 0, draining: false });
        registry.handle(now, holder, RegistryOperation::Claim(record))
    };
    let mut split = [MemoryRegistry::new(), MemoryRegistry::new()];
    for node in [1, 2] {
        assert_eq!(claim(&mut split[node - 1], &nodes, 3 - node as u64), RegistryReply::Claimed);
        let now = nodes.party.world.instant();
        let registry = split[node - 1].clone();
        let lobby =
            Lobby::node((node as u8, node as u64), Default::default(), registry, [node as u8; 32], now);
        nodes.party.world.replace_node(nodes.hosts[node - 1], SimulatedProgram::Lobby(Box::new(lobby)));
    }
    assert!(nodes.party.log_in_at(0, 1));
    let before: u64 =
        [1, 2].map(|node| nodes.server(node, |server, _| server.counters().logins)).iter().sum();
    nodes.party.join(0);
    for _ in 0..20 {
        nodes.run(SECOND / 2);
        for node in [1, 2] {
            let now = nodes.party.world.instant();
            let other = 3 - node;
            let addresses = vec![sockets_of_node(other as u8)[0]];
            split[node - 1]
                .beat(now, NodeSite { node: other as u64, addresses, players: 0, draining: false });
        }
    }
    let logins: u64 =
        [1, 2].map(|node| nodes.server(node, |server, _| server.counters().logins)).iter().sum();
    assert!((2..=4).contains(&(logins - before)), "{} logins in ten seconds", logins - before);
    nodes.run(30 * SECOND);
    assert!(!nodes.refusals(0).is_empty(), "the game hears that it came to nothing");
}

#[test]
fn who_is_sent_to_a_node_with_another_key_comes_back() {
    let mut nodes = world(23, &[("portrestricted", 1), ("fullcone", 2)], 2, &AgentConfig::default());
    nodes.host_room(0);
    // Somebody has taken over the machine of node 1, or its operator has given it another key.
    let now = nodes.party.world.instant();
    let own = MemoryRegistry::new();
    let other = Lobby::with_key((1, 9), Default::default(), own, [9; 32], [9; 32], now);
    nodes.party.world.replace_node(nodes.hosts[0], SimulatedProgram::Lobby(Box::new(other)));
    nodes.party.join(1);
    nodes.run(SECOND);
    assert_eq!(nodes.node_of(1), None, "it was sent to node 1, which has its room in the registry");
    let back = nodes.party.wait(8 * SECOND, |party| party.player(1).is_online());
    assert!(back, "{:?}", nodes.party.player(1).lobby);
    assert_eq!(nodes.node_of(1), Some(2));
    assert_eq!(nodes.server(1, |server, _| server.counters().logins), 0);
}
