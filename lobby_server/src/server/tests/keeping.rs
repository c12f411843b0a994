//! Matches that go on after the server was started anew.

use super::*;
use crate::RelayMode;
use traversal_core::id::MatchId;
use traversal_core::wire::message::{KeptMatch, MAX_KEPT, RelayGrant, Topology};

/// These are a host and those who joined, on a server that has just forgotten them; all are back in their room.
struct Room {
    world: World,
    match_id: MatchId,
}

const HOST: usize = 0;
const JOINER: usize = 1;
const OTHER: usize = 2;

fn room_with(config: &ServerConfig, options: RoomOptions) -> Room {
    let sockets = || vec![ServerSocket::first(at("198.18.0.10:3478"))];
    let mut world = World::with(config.clone(), sockets());
    for (secret, address) in [(1, "203.0.113.1:4000"), (2, "198.51.100.1:5000"), (3, "198.51.100.2:6000")] {
        world.player(secret, address);
    }
    let room = world.host(HOST, options);
    for joiner in [JOINER, OTHER] {
        assert!(world.answer(joiner, by_name("r")).is_ok());
    }
    let match_id = world.fakes[JOINER].plans()[0].match_id;
    world.server =
        Server::new(config.clone(), Identity::from_secret([9; 32]), [77; 32], sockets(), world.now);
    world.registry = Some(MemoryRegistry::new());
    for index in [HOST, JOINER, OTHER] {
        let ticket = world.fakes[index].ticket();
        world.fakes[index].handshake = ClientHandshake::new(&mut world.rng);
        world.log_in(index);
        assert!(world.answer(index, back_to(&room, ticket)).is_ok());
        world.fakes[index].told.clear();
    }
    Room { world, match_id }
}

fn room() -> Room {
    room_with(&ServerConfig::default(), named("r"))
}

impl Room {
    fn id(&self, index: usize) -> PlayerId {
        self.world.fakes[index].id()
    }

    fn keep(&mut self, index: usize, with: usize, host: bool, edition: u8) {
        self.keep_as(
            index,
            with,
            KeptMatch { match_id: self.match_id, player: self.id(with), hosting: host, edition },
        );
    }

    fn keep_as(&mut self, index: usize, with: usize, kept: KeptMatch) {
        assert_eq!(kept.player, self.id(with));
        self.world.say(index, ToServer::KeepMatches(vec![kept]));
    }

    fn grants(&self, index: usize) -> Vec<RelayGrant> {
        let told = self.world.fakes[index].told.iter();
        told.filter_map(|message| match message {
            ToPlayer::Relay { match_id, grant } if *match_id == self.match_id => Some(*grant),
            _ => None,
        })
        .collect()
    }

    /// Nobody may use the relay.
    fn assert_nothing(&self) {
        assert!((0..3).all(|index| self.grants(index).is_empty()));
        let gauges = self.world.server.gauges();
        assert_eq!((gauges.matches, gauges.relays), (0, 0));
    }
}

#[test]
fn both_say_it_and_both_may_use_the_relay_again() {
    for first in [HOST, JOINER] {
        let mut room = room();
        let second = if first == HOST { JOINER } else { HOST };
        room.keep(first, second, first == HOST, 3);
        room.assert_nothing();
        room.keep(second, first, second == HOST, 5);
        let [of_host, of_joiner] = [HOST, JOINER].map(|index| room.grants(index)[0]);
        assert_ne!(of_host.token, of_joiner.token);
        let mut datagram = vec![Kind::Relay as u8];
        datagram.extend_from_slice(&of_joiner.token);
        datagram.push(Kind::Pair as u8);
        datagram.extend_from_slice(&room.match_id.0.to_le_bytes());
        room.world.sent.clear();
        room.world.send_raw(JOINER, &datagram);
        assert_eq!(room.world.sent.len(), 1);
        let (_, to, carried) = room.world.sent.pop_front().unwrap();
        assert_eq!(to, at("203.0.113.1:4000"));
        assert_eq!(carried[1..16], of_host.token);
        // Said again, it changes nothing: tokens that are in use stay good.
        room.keep(first, second, first == HOST, 5);
        room.keep(second, first, second == HOST, 5);
        assert_eq!([HOST, JOINER].map(|index| room.grants(index).len()), [1, 1]);
        assert_eq!(room.world.server.gauges().relays, 1);
        // The match is one like any other: its next plan is newer than the newest that either knows.
        room.world.say(JOINER, ToServer::PunchAgain { match_id: room.match_id });
        let editions = room.world.fakes[JOINER].told.iter().filter_map(|message| match message {
            ToPlayer::Replan(plan) => Some(plan.edition),
            _ => None,
        });
        assert_eq!(editions.collect::<Vec<_>>(), [6]);
        assert!(room.world.answer(JOINER, Request::LeaveRoom).is_ok());
        let gauges = room.world.server.gauges();
        assert_eq!((gauges.matches, gauges.relays), (0, 0), "over with it");
    }
}

#[test]
fn one_players_word_moves_nothing() {
    let mut room = room();
    room.keep(JOINER, HOST, false, 0);
    room.keep(OTHER, HOST, false, 0);
    room.assert_nothing();
    // Neither does that of two who both host it, or neither of whom hosts the room.
    room.keep(HOST, JOINER, false, 0);
    room.assert_nothing();
    room.keep(JOINER, HOST, true, 0);
    room.assert_nothing();
    room.keep(JOINER, OTHER, false, 0);
    room.keep(OTHER, JOINER, true, 0);
    room.assert_nothing();
}

#[test]
fn who_is_elsewhere_gets_nothing() {
    let mut room = room();
    assert!(room.world.answer(HOST, Request::LeaveRoom).is_ok());
    room.keep(HOST, JOINER, true, 0);
    room.keep(JOINER, HOST, false, 0);
    assert!(room.grants(HOST).is_empty() && room.grants(JOINER).is_empty());
}

#[test]
fn a_newer_match_of_the_two_stands() {
    let mut room = room();
    let former = room.match_id;
    assert!(room.world.answer(JOINER, Request::LeaveRoom).is_ok());
    assert!(room.world.answer(JOINER, by_name("r")).is_ok());
    let newer = room.world.fakes[JOINER].plans().last().unwrap().match_id;
    assert_ne!(former, newer);
    room.keep(HOST, JOINER, true, 0);
    room.keep(JOINER, HOST, false, 0);
    assert!(room.grants(JOINER).is_empty());
    assert_eq!(room.world.server.gauges().matches, 1);
}

#[test]
fn in_a_mesh_any_two_may() {
    let mut room = room_with(
        &ServerConfig::default(),
        RoomOptions { topology: Topology::Mesh, capacity: 4, ..named("r") },
    );
    room.keep(JOINER, OTHER, true, 0);
    room.keep(OTHER, JOINER, false, 0);
    assert_eq!([JOINER, OTHER].map(|index| room.grants(index).len()), [1, 1]);
}

#[test]
fn a_server_without_a_relay_grants_none() {
    let never = ServerConfig { relay: RelayMode::Never, ..ServerConfig::default() };
    let mut room = room_with(&never, named("r"));
    room.keep(HOST, JOINER, true, 0);
    room.keep(JOINER, HOST, false, 0);
    assert!(room.grants(HOST).is_empty());
    let gauges = room.world.server.gauges();
    assert_eq!((gauges.matches, gauges.relays), (1, 0), "but it knows them");
}

#[test]
fn what_one_player_says_takes_little_room() {
    let mut room = room();
    let player = room.id(HOST);
    let kept = |n: u64| KeptMatch { match_id: MatchId(n), player, hosting: false, edition: 255 };
    for n in 0..100 {
        let many = (0..2 * MAX_KEPT as u64).map(|m| kept(n * 100 + m)).collect::<Vec<_>>();
        for part in many.chunks(MAX_KEPT) {
            room.world.say(JOINER, ToServer::KeepMatches(part.to_vec()));
        }
        room.world.pass(Duration::from_millis(20));
    }
    assert_eq!(room.world.server.matches.kept_of(room.id(JOINER)), 64);
    room.assert_nothing();
    // The newest ones count, and an edition out of range does no harm.
    let newest = kept(99 * 100 + 31);
    room.world.say(
        HOST,
        ToServer::KeepMatches(vec![KeptMatch { player: room.id(JOINER), hosting: true, ..newest }]),
    );
    assert_eq!(room.world.server.gauges().relays, 1);
}
