//! Networks that change under a running game: idle time, reboots, restarts, new addresses.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use lobby_server::ServerConfig;
use natlab::link::{Link, Way};
use natlab::lobby::{Lobby, SimulatedProgram};
use natlab::nat::NatSpec;
use natlab::oracle::Relation;
use natlab::scenario::{PairWorld, PairWorldSettings};
use traversal_core::{Event, PathKind};

fn pair(seed: u64, left: &str, right: &str) -> PairWorld {
    let [left, right] = [left, right].map(|spec| spec.parse::<NatSpec>().unwrap().chain);
    PairWorld::new(PairWorldSettings::equal(seed, &left, &right, Duration::from_millis(30)))
}

fn playing(seed: u64, left: &str, right: &str) -> PairWorld {
    let mut pair = pair(seed, left, right);
    let report = pair.join();
    assert!(report.direct && report.played, "{:?}", report.cause);
    for host in [pair.left, pair.right] {
        pair.act(host, |player, now| player.keep_talking(now, 20));
    }
    pair
}

/// Returns how many game datagrams both sides heard so far; the smaller number.
fn heard(pair: &PairWorld) -> u32 {
    let count = |host| pair.player(host).heard.values().sum::<u32>();
    count(pair.left).min(count(pair.right))
}

fn run(pair: &mut PairWorld, seconds: u64) {
    let end = pair.world.now() + Duration::from_secs(seconds);
    pair.world.run_until(end);
}

#[test]
fn a_lobby_that_was_idle_for_long_behind_a_nat_of_20_s_can_still_be_joined() {
    let mut pair = pair(1, "portrestricted,timeout=20", "portrestricted,timeout=20");
    assert!(pair.prepare());
    run(&mut pair, 300);
    pair.request();
    let done = pair.wait(Duration::from_secs(10), PairWorld::is_direct_and_played);
    assert!(done, "after five idle minutes");
}

#[test]
fn an_idle_game_keeps_its_path_behind_a_nat_of_20_s_that_only_outbound_refreshes() {
    let nat = "portrestricted,timeout=20,inbound-refresh=no";
    let mut pair = pair(2, nat, nat);
    assert!(pair.join().direct);
    run(&mut pair, 180);
    assert!(pair.is_direct());
    assert_eq!(pair.player(pair.left).disconnects + pair.player(pair.right).disconnects, 0);
}

/// The user of one player, or of both, answers the system's question after half a minute of play.
#[test]
fn a_game_that_met_by_hairpinning_moves_to_the_own_network_when_the_system_allows_it() {
    for both in [false, true] {
        let nat = "portrestricted,hairpin=yes".parse::<NatSpec>().unwrap().chain;
        let mut settings = PairWorldSettings::equal(4, &nat, &nat, Duration::from_millis(30));
        settings.relation = Relation::SameLan;
        let mut pair = PairWorld::new(settings);
        let (left, right) = (pair.left, pair.right);
        let asked = if both { vec![left, right] } else { vec![left] };
        for host in &asked {
            pair.act(*host, |player, _| player.lan_allowed = false);
        }
        let report = pair.join();
        assert!(report.direct && report.played, "{:?}", report.cause);
        assert_eq!((report.left.path, report.right.path), (Some(PathKind::Direct), Some(PathKind::Direct)));
        for host in [left, right] {
            pair.act(host, |player, now| player.keep_talking(now, 20));
        }
        run(&mut pair, 30);
        for host in asked {
            pair.act(host, |player, _| player.lan_allowed = true);
        }
        run(&mut pair, 40);
        let kind = |host| pair.player(host).paths.values().next().map(|path| path.kind);
        assert_eq!((kind(left), kind(right)), (Some(PathKind::Lan), Some(PathKind::Lan)), "both: {both}");
    }
}

#[test]
fn a_game_outlives_the_reboot_of_a_nat() {
    for nat in ["portrestricted", "fullcone", "restricted"] {
        let mut pair = playing(3, nat, "portrestricted");
        let rebooted = pair.left_nats[0];
        run(&mut pair, 2);
        pair.world.nat_mut(rebooted).reboot();
        run(&mut pair, 8);
        let before = heard(&pair);
        run(&mut pair, 5);
        assert!(heard(&pair) >= before + 80, "{nat}: the game goes on");
    }
}

#[test]
fn the_game_goes_on_without_the_server_and_the_players_log_in_again() {
    let mut pair = playing(4, "restricted", "portrestricted");
    run(&mut pair, 2);
    let server = pair.server;
    pair.world.set_down(server, true);
    let before = heard(&pair);
    run(&mut pair, 60);
    assert!(heard(&pair) >= before + 1100, "the game does not need the server");
    for host in [pair.left, pair.right] {
        assert!(!pair.player(host).is_online(), "the loss is noticed");
    }
    let now = pair.world.instant();
    let fresh = Lobby::new(ServerConfig::default(), true, [9; 32], now);
    pair.world.replace_node(server, SimulatedProgram::Lobby(Box::new(fresh)));
    pair.world.set_down(server, false);
    run(&mut pair, 40);
    for host in [pair.left, pair.right] {
        assert!(pair.player(host).is_online(), "logged in again");
        assert!(pair.player(host).in_room, "and back in the room");
        assert_eq!(pair.player(host).disconnects, 0);
    }
    let before = heard(&pair);
    run(&mut pair, 2);
    assert!(heard(&pair) >= before + 30);
}

#[test]
fn a_player_who_vanishes_is_noticed() {
    let mut pair = playing(5, "restricted", "portrestricted");
    let right = pair.right;
    pair.world.set_down(right, true);
    run(&mut pair, 5);
    let left = pair.left;
    let away = |(_, event): &(_, Event)| matches!(event, Event::PeerAway { .. });
    assert!(pair.player(left).events.iter().any(away), "within 5 s");
    assert_eq!(pair.player(left).disconnects, 0, "it may be asleep");
    run(&mut pair, 60);
    assert_eq!(pair.player(left).disconnects, 1);
}

#[test]
fn a_link_that_is_gone_for_two_seconds_is_no_end() {
    let mut pair = playing(6, "portrestricted", "portrestricted");
    let nat = pair.right_nats[0];
    let link = pair.settings().right_link.clone();
    pair.world.set_nat_link(nat, Link::both(Way { loss: 1.0, ..Way::default() }));
    run(&mut pair, 2);
    pair.world.set_nat_link(nat, link);
    let before = heard(&pair);
    run(&mut pair, 3);
    assert!(heard(&pair) >= before + 40);
    assert_eq!(pair.player(pair.left).disconnects + pair.player(pair.right).disconnects, 0);
}
