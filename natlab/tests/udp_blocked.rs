//! Networks that let no UDP through: login and play over TCP to the server, and back to UDP when that works.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use lobby_server::ServerConfig;
use natlab::lobby::{Lobby, SimulatedProgram};
use natlab::nat::NatSpec;
use natlab::scenario::{JoinMoment, PairWorld, PairWorldSettings};
use natlab::world::HostId;
use traversal_core::failure::FailureReason;
use traversal_core::nat::NatKind;
use traversal_core::{Event, LobbyState, PathKind, RelayPolicy};

const DELAY: Duration = Duration::from_millis(30);
/// A round trip between a player and the server takes this long.
const RTT: Duration = Duration::from_millis(60);

fn others() -> impl Iterator<Item = &'static str> {
    natlab::matrix::ALWAYS.into_iter().filter(|name| *name != "udpblocked")
}

fn settings(seed: u64, left: &str, right: &str) -> PairWorldSettings {
    let [left, right] = [left, right].map(|spec| spec.parse::<NatSpec>().unwrap().chain);
    PairWorldSettings::equal(seed, &left, &right, DELAY)
}

fn run(pair: &mut PairWorld, time: Duration) {
    let end = pair.world.now() + time;
    pair.world.run_until(end);
}

fn heard(pair: &PairWorld, host: HostId) -> u32 {
    pair.player(host).heard.values().sum()
}

fn path(pair: &PairWorld, host: HostId) -> Option<PathKind> {
    pair.player(host).paths.values().next().map(|path| path.kind)
}

fn disconnects(pair: &PairWorld) -> u32 {
    pair.player(pair.left).disconnects + pair.player(pair.right).disconnects
}

/// Both talk 50 times a second over what they have.
fn playing(settings: PairWorldSettings) -> PairWorld {
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare(), "logged in and in a room");
    pair.request();
    assert!(pair.wait(Duration::from_secs(5), PairWorld::is_played), "played");
    for host in [pair.left, pair.right] {
        pair.act(host, |player, now| player.keep_talking(now, 50));
    }
    pair
}

#[test]
fn every_pair_with_udp_blocked_plays_over_the_relay_and_says_why() {
    let blocked = "udpblocked";
    let mut pairs: Vec<(&str, &str)> =
        others().flat_map(|other| [(other, blocked), (blocked, other)]).collect();
    pairs.push((blocked, blocked));
    pairs.push(("portrestricted+udpblocked", "portrestricted"));
    for (seed, (left, right)) in pairs.into_iter().enumerate() {
        let mut pair = PairWorld::new(settings(seed as u64, left, right));
        assert!(pair.prepare(), "{left} - {right}: logged in");
        let (host, guest) = (pair.left, pair.right);
        for (spec, host) in [(left, host), (right, guest)] {
            let expected = spec.contains(blocked);
            assert_eq!(pair.player(host).nat.kind() == NatKind::UdpBlocked, expected, "{left} - {right}");
            assert_eq!(pair.world.has_stream(host), expected, "{left} - {right}");
        }
        pair.request();
        assert!(pair.wait(Duration::from_secs(2), PairWorld::is_played), "{left} - {right}: played");
        let took = pair.world.now() - pair.requested();
        assert!(took <= RTT * 4, "{left} - {right}: {took:?}");
        run(&mut pair, Duration::from_secs(12));
        for host in [host, guest] {
            assert_eq!(path(&pair, host), Some(PathKind::Relay), "{left} - {right}");
            assert_eq!(pair.world.stats(host).to_players, 0, "{left} - {right}: nothing but the relay");
            let why = pair.player(host).events.iter().find_map(|(_, event)| match event {
                Event::PeerRelayed { report, .. } => Some(report.reason),
                _ => None,
            });
            assert_eq!(why, Some(FailureReason::UdpBlocked), "{left} - {right}");
        }
        assert_eq!(disconnects(&pair), 0);
    }
}

#[test]
fn a_login_without_udp_takes_a_second_and_a_few_round_trips() {
    let mut pair = PairWorld::new(settings(1, "none", "udpblocked"));
    assert!(pair.prepare());
    let events = &pair.player(pair.right).events;
    let at = |wanted: fn(&Event) -> bool| events.iter().find(|(_, event)| wanted(event)).unwrap().0;
    let begun = at(|event| matches!(event, Event::Lobby(LobbyState::Connecting)));
    let online = at(|event| matches!(event, Event::Lobby(LobbyState::Online { .. })));
    // Connection, cookie, login.
    assert!(online - begun <= Duration::from_secs(1) + RTT * 4, "{:?}", online - begun);
    // That UDP is blocked, and not only slow, takes some tries to say.
    let blocked = at(|event| matches!(event, Event::Nat(nat) if nat.kind() == NatKind::UdpBlocked));
    assert!(blocked - online <= Duration::from_secs(5) + RTT, "{:?}", blocked - online);
}

#[test]
fn udp_that_comes_late_is_not_called_blocked() {
    for (left, right) in [("portrestricted", "restricted,udp=no"), ("restricted,udp=no", "portrestricted")] {
        let mut settings = settings(8, left, right);
        settings.join = JoinMoment::AtOnce;
        let mut pair = PairWorld::new(settings);
        assert!(pair.prepare());
        pair.request();
        assert!(pair.wait(Duration::from_secs(2), PairWorld::is_played), "{left} - {right}: over the relay");
        run(&mut pair, Duration::from_secs(1));
        for nat in [pair.left_nats[0], pair.right_nats[0]] {
            pair.world.nat_mut(nat).block_udp(false);
        }
        assert!(pair.wait(Duration::from_secs(5), PairWorld::is_direct), "{left} - {right}");
        for host in [pair.left, pair.right] {
            let called = pair.player(host).events.iter().find(|(_, event)| match event {
                Event::Nat(nat) => nat.udp_blocked,
                Event::PeerRelayed { report, .. } => report.reason == FailureReason::UdpBlocked,
                _ => false,
            });
            assert_eq!(called, None, "{left} - {right}");
        }
    }
}

#[test]
fn without_the_relay_there_is_no_path_and_a_reason() {
    let mut settings = settings(2, "portrestricted", "udpblocked");
    settings.config.relay = RelayPolicy::Never;
    let report = PairWorld::new(settings).join();
    assert!(report.ready && !report.played);
    assert_eq!(report.cause.as_deref(), Some("udp-blocked"));
}

#[test]
fn switched_off_it_is_said_that_nobody_answers() {
    let mut settings = settings(3, "portrestricted", "udpblocked");
    settings.config.tcp = false;
    let report = PairWorld::new(settings).join();
    assert!(!report.ready);
    assert!(report.cause.unwrap().starts_with("right: the lobby server does not answer"));
}

#[test]
fn when_udp_gets_through_again_the_game_moves_to_it_and_then_to_a_direct_path() {
    let mut pair = playing(settings(4, "portrestricted", "restricted,udp=no"));
    let (host, guest) = (pair.left, pair.right);
    run(&mut pair, Duration::from_secs(5));
    let nat = pair.right_nats[0];
    pair.world.nat_mut(nat).block_udp(false);
    let direct = pair.wait(Duration::from_secs(40), PairWorld::is_direct);
    assert!(direct, "direct within half a minute and some");
    run(&mut pair, Duration::from_secs(4));
    assert!(!pair.world.has_stream(guest), "the stream is not needed any more");
    assert_ne!(pair.player(guest).nat.kind(), NatKind::UdpBlocked);
    assert_eq!(disconnects(&pair), 0);
    // Nothing was lost on the way: two moves, and no loss on the links.
    for (from, to) in [(host, guest), (guest, host)] {
        let said: u32 = pair.player(from).said.values().sum();
        let on_its_way = 5;
        assert!(heard(&pair, to) + on_its_way >= said, "{} of {said}", heard(&pair, to));
    }
}

#[test]
fn a_relayed_game_goes_on_over_tcp_when_udp_is_cut_off() {
    let mut settings = settings(5, "portrestricted", "portrestricted");
    settings.config.relay = RelayPolicy::Only;
    let mut pair = playing(settings);
    let (host, guest) = (pair.left, pair.right);
    run(&mut pair, Duration::from_secs(3));
    let nat = pair.right_nats[0];
    pair.world.nat_mut(nat).block_udp(true);
    let before = [heard(&pair, host), heard(&pair, guest)];
    // The link to the server is asked after at most 4 s, while a room is open.
    let back = pair.wait(Duration::from_secs(7), |pair| {
        heard(pair, host) >= before[0] + 50 && heard(pair, guest) >= before[1] + 50
    });
    assert!(back, "heard again");
    assert_eq!(disconnects(&pair), 0);
    assert!(pair.player(guest).is_online() && pair.world.has_stream(guest));
    let known =
        pair.wait(Duration::from_secs(6), |pair| pair.player(guest).nat.kind() == NatKind::UdpBlocked);
    assert!(known, "after some tries");
}

#[test]
fn a_cut_connection_is_made_again_and_the_game_goes_on() {
    let mut pair = playing(settings(6, "portrestricted", "udpblocked"));
    let (host, guest) = (pair.left, pair.right);
    for _ in 0..5 {
        run(&mut pair, Duration::from_secs(2));
        let before = heard(&pair, host);
        pair.world.cut_stream(guest);
        run(&mut pair, Duration::from_secs(1));
        // Connection and echo: three round trips, and the rest of the second is played.
        assert!(heard(&pair, host) >= before + 30, "{}", heard(&pair, host) - before);
    }
    // The NAT forgets it: the server does not know what comes from the new port.
    let nat = pair.right_nats[0];
    pair.world.nat_mut(nat).reboot();
    run(&mut pair, Duration::from_secs(1));
    let before = heard(&pair, host);
    run(&mut pair, Duration::from_secs(1));
    assert!(heard(&pair, host) >= before + 45);
    assert_eq!(disconnects(&pair), 0);
    assert_eq!(
        pair.player(guest).events.iter().filter(|(_, e)| matches!(e, Event::RoomLeft { .. })).count(),
        0
    );
}

#[test]
fn players_over_tcp_log_in_again_after_the_servers_restart() {
    let mut pair = playing(settings(7, "udpblocked", "udpblocked"));
    run(&mut pair, Duration::from_secs(2));
    let (server, now) = (pair.server, pair.world.instant());
    let fresh = Lobby::new(ServerConfig::default(), true, [9; 32], now);
    pair.world.replace_node(server, SimulatedProgram::Lobby(Box::new(fresh)));
    let all_back = |pair: &PairWorld| {
        [pair.left, pair.right].into_iter().all(|host| {
            let player = pair.player(host);
            let logins = player.events.iter().filter(|(_, event)| {
                matches!(event, Event::Lobby(traversal_core::LobbyState::Retrying { .. }))
            });
            player.is_online() && logins.count() == 1
        })
    };
    assert!(pair.wait(Duration::from_secs(10), all_back), "both are back");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut settings = settings(seed, "udpblocked", "ps,cross=20");
        settings.left_link.up.loss = 0.1;
        PairWorld::new(settings).join()
    };
    let (first, again) = (run(1), run(1));
    assert!(first.played && !first.direct);
    assert_eq!(first.trace, again.trace);
    assert_eq!(format!("{:?}", first.left.events), format!("{:?}", again.left.events));
}
