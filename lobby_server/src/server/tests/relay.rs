//! The relay as players see it.

use super::*;
use crate::RelayMode;
use traversal_core::wire::message::{NoRelay, RelayGrant};

struct Pair {
    world: World,
    host: usize,
    joiner: usize,
    match_id: u64,
    of_host: RelayGrant,
    of_joiner: RelayGrant,
}

fn pair_with(config: ServerConfig) -> Pair {
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    world.host(host, named("r"));
    assert!(world.answer(joiner, by_name("r")).is_ok());
    let (of_host, of_joiner) = (&world.fakes[host].plans()[0], &world.fakes[joiner].plans()[0]);
    let match_id = of_host.match_id.0;
    let (of_host, of_joiner) = (of_host.relay.unwrap(), of_joiner.relay.unwrap());
    world.sent.clear();
    Pair { world, host, joiner, match_id, of_host, of_joiner }
}

fn pair() -> Pair {
    pair_with(ServerConfig::default())
}

impl Pair {
    fn datagram(&self, grant: RelayGrant, content: usize) -> Vec<u8> {
        let mut out = vec![Kind::Relay as u8];
        out.extend_from_slice(&grant.token);
        out.push(Kind::Pair as u8);
        out.extend_from_slice(&self.match_id.to_le_bytes());
        out.resize(out.len() + content, 9);
        out
    }

    /// Returns what went to whom, since the last time.
    fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.world.sent.drain(..).map(|(_, to, datagram)| (to, datagram)).collect()
    }
}

#[test]
fn a_datagram_of_one_player_reaches_the_other_under_its_own_token() {
    let mut pair = pair();
    // The longest there is: with a full renet slice inside.
    let longest = traversal_core::wire::MAX_DATAGRAM - 25;
    let sent = pair.datagram(pair.of_joiner, longest);
    pair.world.send_raw(pair.joiner, &sent);
    let received = pair.datagram(pair.of_host, longest);
    assert_eq!(pair.sent(), [(at("203.0.113.1:4000"), received)]);
    let back = pair.datagram(pair.of_host, 10);
    pair.world.send_raw(pair.host, &back);
    let received = pair.datagram(pair.of_joiner, 10);
    assert_eq!(pair.sent(), [(at("198.51.100.1:5000"), received)]);
    assert_eq!(pair.world.server.counters().relayed, 2);
    assert_eq!(pair.world.server.gauges().relays, 1);
}

#[test]
fn a_token_serves_its_owner_alone() {
    let mut pair = pair();
    let sent = pair.datagram(pair.of_joiner, 0);
    for thief in ["192.0.2.66:666", "203.0.113.1:4000", "198.51.100.1:5001"] {
        pair.world.send_from(ServerSocketId(0), at(thief), &sent);
        assert_eq!(pair.sent(), [], "{thief}");
    }
    // A longer one is asked to prove itself, in no more bytes; a thief cannot.
    let long = pair.datagram(pair.of_joiner, 100);
    pair.world.send_from(ServerSocketId(0), at("192.0.2.66:666"), &long);
    let asked = pair.sent();
    assert!(matches!(&asked[..], [(to, challenge)] if *to == at("192.0.2.66:666") && challenge.len() <= 64));
    let guess = RelayGrant { token: [5; 15], ..pair.of_joiner };
    let guess = pair.datagram(guess, 100);
    pair.world.send_raw(pair.joiner, &guess);
    assert_eq!(pair.sent(), []);
    assert_eq!(pair.world.server.counters().relay_dropped, 5);
}

#[test]
fn a_player_whose_port_changed_goes_on_after_an_echo() {
    let mut pair = pair();
    pair.world.fakes[pair.joiner].address = at("198.51.100.1:5999");
    let sent = pair.datagram(pair.of_joiner, 100);
    pair.world.send_raw(pair.joiner, &sent);
    pair.sent();
    pair.world.send_raw(pair.joiner, &sent);
    assert!(pair.sent().iter().any(|(to, _)| *to == at("203.0.113.1:4000")));
    let back = pair.datagram(pair.of_host, 0);
    pair.world.send_raw(pair.host, &back);
    assert!(pair.sent().iter().any(|(to, _)| *to == at("198.51.100.1:5999")));
}

#[test]
fn after_the_match_the_token_is_worth_nothing() {
    let mut pair = pair();
    assert!(pair.world.answer(pair.joiner, Request::LeaveRoom).is_ok());
    pair.sent();
    for (index, grant) in [(pair.joiner, pair.of_joiner), (pair.host, pair.of_host)] {
        let sent = pair.datagram(grant, 100);
        pair.world.send_raw(index, &sent);
    }
    assert_eq!(pair.sent(), []);
    assert_eq!(pair.world.server.gauges().relays, 0);
}

#[test]
fn a_flood_is_cut_to_the_quota() {
    let config = ServerConfig { relay_rate: crate::Rate::new(1000.0, 10_000.0), ..ServerConfig::default() };
    let mut pair = pair_with(config);
    let sent = pair.datagram(pair.of_joiner, 975);
    for _ in 0..50 {
        pair.world.send_raw(pair.joiner, &sent);
    }
    assert_eq!(pair.sent().len(), 10);
    assert_eq!(pair.world.server.counters().relay_limited, 40);
}

#[test]
fn the_operator_decides_per_game() {
    let never = ServerConfig { relay: RelayMode::Never, ..ServerConfig::default() };
    let only = ServerConfig { relay_games: [("game".into(), RelayMode::Only)].into(), ..never.clone() };
    for (config, granted, addresses) in [(never, false, true), (only, true, false)] {
        let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
        let host = world.player(1, "203.0.113.1:4000");
        let joiner = world.player(2, "203.0.113.1:5000");
        world.host(host, named("r"));
        assert!(world.answer(joiner, by_name("r")).is_ok());
        for index in [host, joiner] {
            let plan = &world.fakes[index].plans()[0];
            assert_eq!(plan.relay.is_some(), granted);
            assert_eq!(!plan.peer_public.is_empty() || !plan.peer_local.is_empty(), addresses);
        }
    }
}

#[test]
fn nothing_is_forwarded_to_an_address_that_has_been_silent_for_ten_seconds() {
    let mut pair = pair();
    pair.world.fakes[pair.host].dead = true;
    let mut bytes = 0;
    for second in 0..34 {
        pair.world.pass(Duration::from_secs(1));
        pair.sent();
        let datagram = pair.datagram(pair.of_joiner, 1000);
        pair.world.send_raw(pair.joiner, &datagram);
        let to_host: usize = pair
            .sent()
            .iter()
            .filter(|(to, _)| *to == at("203.0.113.1:4000"))
            .map(|(_, sent)| sent.len())
            .sum();
        assert_eq!(to_host > 0, second < 9, "second {second}");
        bytes += to_host;
    }
    assert!(bytes < 10_000, "{bytes} bytes");
    // Its own datagrams for the relay are a sign of life, too.
    pair.world.fakes[pair.host].dead = false;
    let back = pair.datagram(pair.of_host, 10);
    pair.world.send_raw(pair.host, &back);
    pair.sent();
    let datagram = pair.datagram(pair.of_joiner, 1000);
    pair.world.send_raw(pair.joiner, &datagram);
    assert!(pair.sent().iter().any(|(to, _)| *to == at("203.0.113.1:4000")));
}

/// Returns a pair whose relay has these budgets.
fn with_budget(budgets: crate::RelayBudgets) -> Pair {
    pair_with(ServerConfig { relay_budgets: budgets, ..ServerConfig::default() })
}

fn day(bytes: u64) -> crate::RelayBudget {
    crate::RelayBudget { day: Some(bytes), month: None }
}

/// The joiner sends as much as it may for a second; so many bytes come to the host.
fn a_second(pair: &mut Pair) -> usize {
    let sent = pair.datagram(pair.of_joiner, 1000);
    for _ in 0..100 {
        pair.world.pass(Duration::from_millis(10));
        for _ in 0..4 {
            pair.world.send_raw(pair.joiner, &sent);
        }
        // Both are heard: nothing is forwarded to the silent.
        let host = pair.datagram(pair.of_host, 0);
        pair.world.send_raw(pair.host, &host);
    }
    pair.sent()
        .iter()
        .filter(|(to, _)| *to == at("203.0.113.1:4000"))
        .map(|(_, datagram)| datagram.len())
        .sum()
}

#[test]
fn when_the_days_traffic_is_used_up_running_games_go_on_slowly_and_new_matches_get_no_relay() {
    let game = String::from("game");
    let all = crate::RelayBudgets { all: day(600_000), ..Default::default() };
    let own = crate::RelayBudgets { games: [(game, day(600_000))].into(), ..Default::default() };
    for (budgets, reason) in [(all, crate::Refusal::RelayBudget), (own, crate::Refusal::RelayGameBudget)] {
        let mut pair = with_budget(budgets.clone());
        let first = a_second(&mut pair);
        assert!(first > 350_000, "{first}");
        a_second(&mut pair);
        let slow = a_second(&mut pair);
        assert!((4_000..20_000).contains(&slow), "a game goes on, at {slow} bytes a second");
        let refused = |pair: &mut Pair, from: &str, number: u8| {
            let joiner = pair.world.player(number, from);
            assert!(pair.world.answer(joiner, by_name("r")).is_ok());
            (
                pair.world.fakes[joiner].plans()[0].relay.is_none(),
                pair.world.fakes[joiner].plans()[0].no_relay,
            )
        };
        assert_eq!(refused(&mut pair, "198.51.100.9:5000", 9), (true, Some(NoRelay::Budget)));
        assert_eq!(pair.world.server.counters().refusals.of(reason), 1);
        // After a restart the day is what it was.
        let usage = pair.world.server.relay_usage(pair.world.now).clone();
        assert!(usage.all.day >= 600_000);
        let mut again = with_budget(budgets);
        again.world.server.restore_relay_usage(&usage);
        assert_eq!(refused(&mut again, "198.51.100.9:5000", 9), (true, Some(NoRelay::Budget)));
        // And the next one begins anew.
        let tomorrow = again.world.now + Duration::from_secs(86_400);
        assert_eq!(again.world.server.relay_usage(tomorrow).all.day, 0);
    }
}
