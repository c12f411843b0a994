//! One of two players is out of contact for a while: real renet streams over the shipping agents, in virtual time.

#![allow(clippy::unwrap_used)]

mod play;
mod stream;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use natlab::lobby::{ADDRESSES, SimulatedProgram};
use natlab::nat::NatSpec;
use natlab::scenario::{PairWorld, PairWorldSettings, PartyWorld};
use natlab::world::{HostId, NatId};
use play::{Play, SECOND};
use traversal_core::wire::message::{MatchEnd, RoomEnd, Topology};
use traversal_core::{AgentConfig, DisconnectReason, Event, RelayPolicy};

/// What keeps a player away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Its network carries nothing.
    Cut,
    /// The same, and its router has forgotten all mappings afterwards.
    Router,
    /// The same, and it is at another address afterwards.
    Network,
    /// The same, and the lobby server is started anew meanwhile.
    Lobby,
    /// Its machine sleeps; `counted` tells whether its clock goes on.
    Sleep { counted: bool },
}

/// It is the player who is away: who hosts, or who joined.
#[derive(Clone, Copy, Debug)]
enum Side {
    Host,
    Guest,
}

fn settings(seed: u64, nats: [&str; 2], relay: RelayPolicy) -> PairWorldSettings {
    let [left, right] = nats.map(|spec| spec.parse::<NatSpec>().unwrap().chain);
    let mut settings = PairWorldSettings::equal(seed, &left, &right, Duration::from_millis(30));
    settings.config.relay = relay;
    // Who hosts does not change: that is another test's.
    settings.migrate = false;
    settings
}

fn playing(seed: u64, nats: [&str; 2], relay: RelayPolicy) -> Play {
    Play::new(settings(seed, nats, relay))
}

fn host_and_nat(play: &Play, side: Side) -> (HostId, NatId) {
    match side {
        Side::Host => (play.pair.left, play.pair.left_nats[0]),
        Side::Guest => (play.pair.right, play.pair.right_nats[0]),
    }
}

fn other(play: &Play, side: Side) -> HostId {
    match side {
        Side::Host => play.pair.right,
        Side::Guest => play.pair.left,
    }
}

/// Puts a side out of contact for so long.
fn part(play: &mut Play, side: Side, cause: Cause, gap: Duration) {
    let (host, nat) = host_and_nat(play, side);
    let other = match side {
        Side::Host => Side::Guest,
        Side::Guest => Side::Host,
    };
    if let Cause::Sleep { counted } = cause {
        play.pair.world.suspend(host);
        play.run(gap);
        return play.pair.world.resume(host, counted);
    }
    let outside = play.pair.world.nat(nat).external()[0];
    let theirs = host_and_nat(play, other).1;
    let mut all = vec![play.pair.world.nat(theirs).external()[0]];
    all.extend(ADDRESSES);
    cut(play, outside, &all, true);
    play.run(gap / 2);
    if cause == Cause::Lobby {
        play.pair.start_server(gap.as_secs() + 1000);
    }
    play.run(gap / 2);
    match cause {
        Cause::Router => play.pair.world.nat_mut(nat).reboot(),
        Cause::Network => {
            let moved: IpAddr = [198, 18, 9, 1].into();
            play.pair.world.nat_mut(nat).change_address(vec![moved]);
        }
        _ => {}
    }
    cut(play, outside, &all, false);
}

/// Nothing passes between this address and those, either way.
fn cut(play: &mut Play, outside: IpAddr, others: &[IpAddr], cut: bool) {
    for other in others {
        play.pair.world.cut(outside, *other, cut);
        play.pair.world.cut(*other, outside, cut);
    }
}

fn contacts(pair: &PairWorld, host: HostId) -> String {
    let mark = |(_, event): &(Instant, Event)| match event {
        Event::PeerConnected { .. } => Some('+'),
        Event::PeerAway { .. } => Some('a'),
        Event::PeerBack { .. } => Some('b'),
        Event::PeerDisconnected { .. } => Some('-'),
        Event::PeerFailed { .. } => Some('f'),
        Event::Plan { .. } => Some('p'),
        Event::RoomLeft { .. } => Some('l'),
        _ => None,
    };
    pair.player(host).events.iter().filter_map(mark).collect()
}

/// How long after both could reach each other again the later side got what was sent since.
fn comes_back(play: &mut Play, told: &str) -> Duration {
    let again = play.pair.world.instant();
    let sent = [0, 1].map(|side| play.tallies[side].borrow().unreliable_sent.len() as u32);
    let arrived = |tallies: &[stream::SharedTally; 2]| {
        [0, 1].map(|side| {
            let got = tallies[1 - side].borrow();
            got.unreliable_got.range(sent[side]..).next().map(|(_, at)| *at)
        })
    };
    let tallies = play.tallies.clone();
    let back = play.pair.wait(10 * SECOND, |_| arrived(&tallies).iter().all(Option::is_some));
    let seen = [play.pair.left, play.pair.right].map(|host| contacts(&play.pair, host));
    assert!(back, "{told}: not back: {seen:?}");
    arrived(&tallies).into_iter().flatten().map(|at| at - again).max().unwrap()
}

/// Takes a side away and back, by whichever way, and returns how long that takes.
fn survives(seed: u64, nats: [&str; 2], relay: RelayPolicy, side: Side, cause: Cause, gap: u64) -> Duration {
    let told = format!("seed {seed}, {nats:?}, relay {relay:?}, {side:?} away for {gap} s: {cause:?}");
    let mut play = playing(seed, nats, relay);
    assert!(play.flow() > 40, "{told}: {} before", play.flow());
    part(&mut play, side, cause, Duration::from_secs(gap));
    let time = comes_back(&mut play, &told);
    play.run(6 * SECOND);
    let seen = contacts(&play.pair, other(&play, side));
    assert_eq!(seen, "p+ab", "{told}: who waited is told both, and the connection stays");
    let seen = contacts(&play.pair, host_and_nat(&play, side).0);
    // Who slept hears it at once, or has not missed anything.
    let usual = if matches!(cause, Cause::Sleep { .. }) { ["p+ab", "p+"] } else { ["p+ab"; 2] };
    assert!(usual.contains(&seen.as_str()), "{told}: {seen}");
    plays_on(&mut play, &told);
    time
}

/// Messages flow both ways, and all reliable ones but those of the last second have come, once and in order. By number, since
/// the clock of one who slept may be behind.
fn plays_on(play: &mut Play, told: &str) {
    let got = |play: &Play| [0, 1].map(|side| play.tallies[side].borrow().unreliable_got.len());
    let before = got(play);
    play.run(SECOND);
    let more = [0, 1].map(|side| got(play)[side] - before[side]);
    assert!(more.iter().all(|more| *more > 40), "{told}: {more:?} messages a second afterwards");
    for (from, to) in [(0, 1), (1, 0)] {
        let sent = play.tallies[from].borrow().reliable_sent.len();
        let arrived = &play.tallies[to].borrow().reliable_got;
        assert!(arrived.iter().copied().eq(0..arrived.len() as u32), "{told}: out of order");
        assert!(arrived.len() + 20 > sent, "{told}: {} of {sent} reliable messages", arrived.len());
    }
}

const CONES: [&str; 2] = ["portrestricted", "portrestricted"];

#[test]
fn a_player_who_was_out_of_contact_plays_on_in_the_same_connection() {
    let (mut seed, mut worst) = (0, Duration::ZERO);
    for gap in [6, 10, 45] {
        for side in [Side::Host, Side::Guest] {
            for relay in [RelayPolicy::Only, RelayPolicy::Allow, RelayPolicy::Never] {
                let causes = [
                    Cause::Cut,
                    Cause::Router,
                    Cause::Network,
                    Cause::Lobby,
                    Cause::Sleep { counted: true },
                    Cause::Sleep { counted: false },
                ];
                for cause in causes {
                    worst = worst.max(survives(seed, CONES, relay, side, cause, gap));
                    seed += 1;
                }
            }
        }
    }
    println!("at the latest {worst:?} after the network was there again");
    // A try to log in every two to three seconds, and the way through the relay.
    assert!(worst < Duration::from_secs(6), "{worst:?}");
}

/// A room may change its host, as it does by default: a guest who was away takes it from nobody.
#[test]
fn a_guest_who_was_away_leaves_the_host_its_room() {
    for (seed, relay) in [RelayPolicy::Only, RelayPolicy::Allow, RelayPolicy::Never].into_iter().enumerate() {
        for gap in [10, 45] {
            for cause in [Cause::Cut, Cause::Lobby, Cause::Sleep { counted: true }] {
                let seed = 300 + seed as u64;
                let told = format!("relay {relay:?}, {gap} s: {cause:?}");
                let mut settings = settings(seed, CONES, relay);
                settings.migrate = true;
                let mut play = Play::new(settings);
                part(&mut play, Side::Guest, cause, Duration::from_secs(gap));
                comes_back(&mut play, &told);
                play.run(6 * SECOND);
                assert_eq!(contacts(&play.pair, play.pair.left), "p+ab", "{told}");
                plays_on(&mut play, &told);
            }
        }
    }
}

/// Over the relay the server hears a host that plays, so it notices at once that it does not any more, and waits for 10 s.
#[test]
fn a_host_over_the_relay_that_was_away_for_six_seconds_keeps_its_room() {
    for cause in [Cause::Cut, Cause::Router, Cause::Network, Cause::Sleep { counted: false }] {
        for seed in 400..404 {
            let told = format!("seed {seed}, {cause:?}");
            let mut settings = settings(seed, CONES, RelayPolicy::Only);
            settings.migrate = true;
            let mut play = Play::new(settings);
            part(&mut play, Side::Host, cause, 6 * SECOND);
            comes_back(&mut play, &told);
            play.run(6 * SECOND);
            assert_eq!(contacts(&play.pair, play.pair.right), "p+ab", "{told}");
            plays_on(&mut play, &told);
        }
    }
}

/// UDP does not get through to one of them, so it plays over TCP to the server.
#[test]
fn a_player_over_tcp_who_was_away_plays_on() {
    for side in [Side::Host, Side::Guest] {
        for gap in [6, 45] {
            for cause in [Cause::Cut, Cause::Sleep { counted: true }] {
                let nats = match side {
                    Side::Host => ["udpblocked", "portrestricted"],
                    Side::Guest => ["portrestricted", "udpblocked"],
                };
                let time = survives(600 + gap, nats, RelayPolicy::Allow, side, cause, gap);
                assert!(time < 10 * SECOND, "{side:?}, {gap} s, {cause:?}: {time:?}");
            }
        }
    }
}

#[test]
fn in_a_mesh_who_was_away_plays_with_all_again_whether_it_hosts_or_not() {
    for away in [0, 2] {
        for seconds in [8, 30] {
            let chains = ["portrestricted", "restricted", "portrestricted"]
                .map(|spec| spec.parse::<NatSpec>().unwrap().chain);
            let config = AgentConfig::default();
            let mut party = PartyWorld::new(700 + seconds, &chains, Duration::from_millis(30), &config);
            assert!(party.prepare_as(Topology::Mesh));
            party.join(1);
            assert!(party.wait(10 * SECOND, |party| party.has_played(0, 1)));
            party.join(2);
            let all = |party: &PartyWorld| {
                [(0, 1), (0, 2), (1, 2)].into_iter().all(|(one, other)| party.has_played(one, other))
            };
            assert!(party.wait(10 * SECOND, all));
            let host = party.players[away];
            party.world.set_down(host, true);
            let end = party.world.now() + Duration::from_secs(seconds);
            party.world.run_until(end);
            party.world.set_down(host, false);
            let end = party.world.now() + 15 * SECOND;
            party.world.run_until(end);
            for index in 0..3 {
                let player = party.player(index);
                let present = player.paths.len() == 2 && player.in_room;
                assert!(present, "player {away} away for {seconds} s: player {index}: {:#?}", player.events);
                // A member's connections stay as they are.
                assert!(away == 0 || player.disconnects == 0, "player {index}: {:#?}", player.events);
            }
        }
    }
}

/// These need more than test messages to open a way again.
#[test]
fn two_whose_nats_have_to_be_punched_anew_come_back_without_a_relay() {
    for (seed, nats) in [["as", "portrestricted"], ["portrestricted", "ps"]].into_iter().enumerate() {
        for side in [Side::Host, Side::Guest] {
            for cause in [Cause::Cut, Cause::Router] {
                let seed = 500 + seed as u64;
                let told = format!("{nats:?}, {side:?}, {cause:?}");
                let mut play = playing(seed, nats, RelayPolicy::Never);
                part(&mut play, side, cause, 10 * SECOND);
                let again = play.pair.wait(40 * SECOND, |pair| {
                    [pair.left, pair.right].iter().all(|host| contacts(pair, *host) == "p+ab")
                });
                let seen = [play.pair.left, play.pair.right].map(|host| contacts(&play.pair, host));
                assert!(again, "{told}: {seen:?}");
                play.run(6 * SECOND);
                plays_on(&mut play, &told);
            }
        }
    }
}

/// When this player was told that the connection is lost, and why.
fn lost(pair: &PairWorld, host: HostId) -> Option<(Instant, DisconnectReason)> {
    pair.player(host).events.iter().find_map(|(at, event)| match event {
        Event::PeerDisconnected { reason, .. } => Some((*at, reason.clone())),
        _ => None,
    })
}

#[test]
fn both_are_told_at_the_same_time_that_it_was_too_long() {
    for side in [Side::Host, Side::Guest] {
        for relay in [RelayPolicy::Only, RelayPolicy::Allow] {
            let told = format!("{side:?}, relay {relay:?}");
            let mut play = playing(900, CONES, relay);
            part(&mut play, side, Cause::Cut, 70 * SECOND);
            play.run(3 * SECOND);
            let hosts = [play.pair.left, play.pair.right];
            let ends = hosts.map(|host| lost(&play.pair, host).unwrap_or_else(|| panic!("{told}: not told")));
            let apart = ends[0].0.max(ends[1].0) - ends[0].0.min(ends[1].0);
            assert!(apart < SECOND, "{told}: {apart:?} between the two");
            for (_, reason) in &ends {
                let usual = [DisconnectReason::Lost, DisconnectReason::Match(MatchEnd::Gone)];
                assert!(usual.contains(reason), "{told}: {reason}");
            }
            let out = play
                .pair
                .player(play.pair.right)
                .events
                .iter()
                .any(|(_, event)| matches!(event, Event::RoomLeft { reason: Some(RoomEnd::HostLost) }));
            assert!(out, "{told}: without its host the room is of no use to the guest");
        }
    }
}

#[test]
fn one_dead_direction_is_missed_and_lost_by_both() {
    let mut play = playing(901, CONES, RelayPolicy::Never);
    let [left, right] =
        [&play.pair.left_nats, &play.pair.right_nats].map(|nats| play.pair.world.nat(nats[0]).external()[0]);
    play.pair.world.cut(left, right, true);
    play.run(12 * SECOND);
    for host in [play.pair.left, play.pair.right] {
        assert_eq!(contacts(&play.pair, host), "p+a");
    }
    play.run(55 * SECOND);
    let ends = [play.pair.left, play.pair.right].map(|host| lost(&play.pair, host).unwrap().0);
    let apart = ends[0].max(ends[1]) - ends[0].min(ends[1]);
    assert!(apart < SECOND, "{apart:?} between the two");
}

/// Its clock stood still, so it does not know that the other one has waited long enough.
#[test]
fn one_who_slept_too_long_without_noticing_gets_a_fresh_connection() {
    for relay in [RelayPolicy::Only, RelayPolicy::Allow] {
        let mut play = playing(902, CONES, relay);
        part(&mut play, Side::Guest, Cause::Sleep { counted: false }, 70 * SECOND);
        play.run(15 * SECOND);
        let [left, right] = [play.pair.left, play.pair.right];
        assert!(contacts(&play.pair, left).ends_with("-p+"), "{}", contacts(&play.pair, left));
        assert!(contacts(&play.pair, right).ends_with("-p+"), "{}", contacts(&play.pair, right));
        let (_, reason) = lost(&play.pair, right).unwrap();
        let usual = [MatchEnd::Gone, MatchEnd::Replaced].map(DisconnectReason::Match);
        assert!(usual.contains(&reason), "relay {relay:?}: {reason}");
    }
}

#[test]
fn a_player_who_is_killed_is_missed_soon_and_lost_after_the_time_set() {
    let mut play = playing(903, CONES, RelayPolicy::Allow);
    let (left, right) = (play.pair.left, play.pair.right);
    play.pair.world.replace_node(right, SimulatedProgram::Idle);
    play.run(5 * SECOND);
    assert_eq!(contacts(&play.pair, left), "p+a");
    play.run(52 * SECOND);
    assert_eq!(contacts(&play.pair, left), "p+a");
    play.run(6 * SECOND);
    assert_eq!(contacts(&play.pair, left), "p+a-");
}
