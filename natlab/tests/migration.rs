//! A room outlives its host: killed, gone, cut off, back again, or several of it at once.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use lobby_server::ServerConfig;
use natlab::link::{Link, Way};
use natlab::lobby::{ADDRESSES, Lobby, SimulatedProgram};
use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::{RequestError, RoomEnd};
use traversal_core::{AgentConfig, Command, Event, RequestFailure};

/// What a member needs to notice, the server to be sure, and the pair to punch: 4 s, 1.5 s and 1 s, with a reserve for
/// lost datagrams.
const SILENT: Duration = Duration::from_secs(10);
/// Nobody has to be asked.
const CLEAN: Duration = Duration::from_secs(3);

/// Returns players behind these NATs, all in one room, talking 20 times a second. The first one hosts.
fn playing(seed: u64, specs: &[&str]) -> PartyWorld {
    let chains: Vec<_> = specs.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
    let mut party = PartyWorld::new(seed, &chains, Duration::from_millis(30), &AgentConfig::default());
    all_join(&mut party);
    party
}

fn all_join(party: &mut PartyWorld) {
    assert!(party.prepare());
    for index in 1..party.players.len() {
        party.join(index);
    }
    let all = |party: &PartyWorld| (1..party.players.len()).all(|index| party.is_played(index));
    assert!(party.wait(Duration::from_secs(10), all), "all play with the first host");
    for host in party.players.clone() {
        party.world.act(host, |node, now| node.player_mut().unwrap().keep_talking(now, 20));
    }
    run(party, 1);
}

fn run(party: &mut PartyWorld, seconds: u64) {
    let end = party.world.now() + Duration::from_secs(seconds);
    party.world.run_until(end);
}

fn id(party: &PartyWorld, index: usize) -> PlayerId {
    party.player(index).id.unwrap()
}

/// Returns the changes of host that this player was told: epoch, whether it hosts, and the host.
fn hosts(party: &PartyWorld, index: usize) -> Vec<(u32, bool, PlayerId)> {
    let events = party.player(index).events.iter();
    events
        .filter_map(|(_, event)| match event {
            Event::HostChanged { room, hosting, .. } => Some((room.epoch, *hosting, room.host)),
            _ => None,
        })
        .collect()
}

/// Tells whether one of these players hosts in this epoch and all the others play with it.
fn play_on(party: &PartyWorld, epoch: u32, members: &[usize]) -> bool {
    let newest: Vec<_> = members.iter().map(|index| hosts(party, *index).last().copied()).collect();
    let Some(host) = members.iter().position(|index| {
        hosts(party, *index).last().is_some_and(|(since, hosting, _)| *since == epoch && *hosting)
    }) else {
        return false;
    };
    let host = members[host];
    let host_id = id(party, host);
    newest.iter().all(|told| told.is_some_and(|(since, _, told)| since == epoch && told == host_id))
        && members.iter().filter(|index| **index != host).all(|index| {
            let (one, other) = (party.player(host), party.player(*index));
            let member_id = id(party, *index);
            one.paths.contains_key(&member_id)
                && other.paths.contains_key(&host_id)
                && one.heard.contains_key(&member_id)
                && other.heard.contains_key(&host_id)
        })
}

fn tell(party: &PartyWorld) -> String {
    (0..party.players.len()).fold(String::new(), |text, index| match party.world.node(party.players[index]) {
        SimulatedProgram::Player(player) => format!("{text}\nplayer {index}: {:#?}", player.events),
        _ => text,
    })
}

fn room_ends(party: &PartyWorld, index: usize) -> Vec<Option<RoomEnd>> {
    let events = party.player(index).events.iter();
    events
        .filter_map(|(_, event)| match event {
            Event::RoomLeft { reason } => Some(reason.clone()),
            _ => None,
        })
        .collect()
}

fn kill(party: &mut PartyWorld, index: usize) {
    let host = party.players[index];
    party.world.replace_node(host, SimulatedProgram::Idle);
}

#[test]
fn a_host_that_is_killed_is_replaced_and_all_play_on() {
    for (seed, nats) in [
        ["portrestricted", "portrestricted", "portrestricted"],
        ["none", "portrestricted", "restricted"],
        ["fullcone", "as", "portrestricted"],
        ["portrestricted", "ps", "psrandom"],
    ]
    .into_iter()
    .enumerate()
    {
        let mut party = playing(seed as u64, &nats);
        kill(&mut party, 0);
        let done = party.wait(SILENT, |party| play_on(party, 1, &[1, 2]));
        assert!(done, "{nats:?}{}", tell(&party));
        run(&mut party, 30);
        assert!(play_on(&party, 1, &[1, 2]), "and it stays so");
        assert!(room_ends(&party, 1).is_empty() && room_ends(&party, 2).is_empty());
    }
}

#[test]
fn the_one_whom_all_reach_is_the_next_host() {
    let mut party = playing(7, &["portrestricted", "psrandom", "fullcone", "psrandom"]);
    kill(&mut party, 0);
    let done = party.wait(SILENT, |party| play_on(party, 1, &[1, 2, 3]));
    assert!(done, "{}", tell(&party));
    assert_eq!(hosts(&party, 1), [(1, false, id(&party, 2))]);
}

#[test]
fn lost_datagrams_do_not_stop_it() {
    for seed in 0..5 {
        let mut party = playing(seed, &["portrestricted", "restricted", "portrestricted", "fullcone"]);
        for index in 0..4 {
            let nat = party.nats[index][0];
            let way = Way { delay: Duration::from_millis(15), loss: 0.1, ..Way::default() };
            party.world.set_nat_link(nat, Link::both(way));
        }
        run(&mut party, 3);
        kill(&mut party, 0);
        let done = party.wait(SILENT * 2, |party| play_on(party, 1, &[1, 2, 3]));
        assert!(done, "seed {seed}{}", tell(&party));
    }
}

#[test]
fn a_host_that_leaves_is_replaced_at_once() {
    let mut party = playing(11, &["portrestricted", "portrestricted", "restricted"]);
    party.command(0, Command::LeaveRoom);
    let done = party.wait(CLEAN, |party| play_on(party, 1, &[1, 2]));
    assert!(done, "{}", tell(&party));
    assert_eq!(room_ends(&party, 0), [None]);
    // It may come back as a member.
    party.join(0);
    let back = |party: &PartyWorld| play_on(party, 1, &[1, 2]) && party.player(0).paths.len() == 1;
    assert!(party.wait(CLEAN, back), "{}", tell(&party));
    assert!(hosts(&party, 0).is_empty());
}

#[test]
fn a_host_that_only_the_server_does_not_hear_stays_host() {
    let mut party = playing(12, &["portrestricted", "portrestricted", "restricted"]);
    // The outside of its NAT.
    let outside = [198, 18, 1, 1].into();
    ADDRESSES.iter().for_each(|server| party.world.cut(outside, *server, true));
    run(&mut party, 90);
    for index in 1..3 {
        assert!(hosts(&party, index).is_empty(), "{}", tell(&party));
        assert!(room_ends(&party, index).is_empty());
        assert_eq!(party.player(index).disconnects, 0);
    }
    ADDRESSES.iter().for_each(|server| party.world.cut(outside, *server, false));
    assert!(party.wait(Duration::from_secs(40), |party| party.player(0).is_online()));
    run(&mut party, 5);
    // It is the host for the server too.
    party.command(2, Command::LeaveRoom);
    run(&mut party, 1);
    party.join(2);
    assert!(party.wait(CLEAN, |party| party.player(0).paths.len() == 2), "{}", tell(&party));
    assert!(hosts(&party, 1).is_empty());
}

#[test]
fn a_host_that_was_asleep_comes_back_as_a_member_or_is_told_that_it_was_too_long() {
    for asleep in [12, 55, 75] {
        let mut party = playing(13, &["portrestricted", "portrestricted", "restricted"]);
        let host = party.players[0];
        party.world.set_down(host, true);
        run(&mut party, asleep);
        assert!(play_on(&party, 1, &[1, 2]), "{}", tell(&party));
        party.world.set_down(host, false);
        if asleep < 60 {
            let back = |party: &PartyWorld| party.player(0).paths.len() == 1;
            assert!(party.wait(Duration::from_secs(10), back), "{asleep} s: {}", tell(&party));
            assert_eq!(
                hosts(&party, 0).iter().map(|(epoch, hosting, _)| (*epoch, *hosting)).collect::<Vec<_>>(),
                [(1, false)]
            );
            assert!(room_ends(&party, 0).is_empty(), "{asleep} s: {}", tell(&party));
            assert!(play_on(&party, 1, &[1, 2]));
            continue;
        }
        let told = party.wait(Duration::from_secs(30), |party| !room_ends(party, 0).is_empty());
        assert!(told, "{asleep} s: {}", tell(&party));
        assert_eq!(room_ends(&party, 0), [Some(RoomEnd::HostReplaced { epoch: 1 })]);
        party.join(0);
        let back = |party: &PartyWorld| party.player(0).paths.len() == 1;
        assert!(party.wait(CLEAN, back), "{}", tell(&party));
        assert!(play_on(&party, 1, &[1, 2]));
    }
}

#[test]
fn a_new_host_that_leaves_at_once_or_dies_is_replaced_too() {
    for dies in [false, true] {
        let mut party = playing(14, &["portrestricted", "restricted", "portrestricted", "fullcone"]);
        party.command(0, Command::LeaveRoom);
        let changed = |party: &PartyWorld| (1..4).any(|index| !hosts(party, index).is_empty());
        assert!(party.wait(CLEAN, changed));
        run(&mut party, 1);
        let next = (1..4).find(|index| hosts(&party, *index) == [(1, true, id(&party, *index))]).unwrap();
        let rest: Vec<usize> = (1..4).filter(|index| *index != next).collect();
        if dies {
            kill(&mut party, next);
        } else {
            party.command(next, Command::LeaveRoom);
        }
        let done = party.wait(SILENT, |party| play_on(party, 2, &rest));
        assert!(done, "dies: {dies}{}", tell(&party));
    }
}

#[test]
fn a_host_that_dies_while_somebody_joins_is_replaced_for_that_one_too() {
    let nats = ["portrestricted", "portrestricted", "restricted"];
    let chains: Vec<_> = nats.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
    for leaves in [true, false] {
        let mut party = PartyWorld::new(15, &chains, Duration::from_millis(30), &AgentConfig::default());
        assert!(party.prepare());
        party.join(1);
        assert!(party.wait(CLEAN, |party| party.is_played(1)));
        party.join(2);
        let planned = |party: &PartyWorld| {
            party.player(2).events.iter().any(|(_, event)| matches!(event, Event::Plan { .. }))
        };
        assert!(party.wait(CLEAN, planned));
        if leaves {
            party.command(0, Command::LeaveRoom);
        } else {
            kill(&mut party, 0);
        }
        let done = party.wait(SILENT * 2, |party| play_on(party, 1, &[1, 2]));
        assert!(done, "leaves: {leaves}{}", tell(&party));
    }
}

#[test]
fn a_server_that_restarts_meanwhile_does_not_end_the_room() {
    // Before the members miss the host; while the server asks; when the new host is named.
    for after_ms in [500, 4500, 7000] {
        let mut party = playing(16, &["portrestricted", "portrestricted", "restricted"]);
        kill(&mut party, 0);
        let end = party.world.now() + Duration::from_millis(after_ms);
        party.world.run_until(end);
        let (server, now) = (party.server, party.world.instant());
        let fresh = Lobby::new(ServerConfig::default(), true, [99; 32], now);
        party.world.replace_node(server, SimulatedProgram::Lobby(Box::new(fresh)));
        let done = party.wait(Duration::from_secs(30), |party| play_on(party, 1, &[1, 2]));
        assert!(done, "{after_ms} ms: {}", tell(&party));
        // The room is known again: who comes late gets in.
        run(&mut party, 20);
        assert!(play_on(&party, 1, &[1, 2]));
        let rooms = party.world.act(server, |node, _| node.lobby_mut().unwrap().server().gauges().rooms);
        assert_eq!(rooms, 1);
    }
}

#[test]
fn after_a_restart_the_room_goes_on_under_its_host() {
    let mut party = playing(17, &["portrestricted", "portrestricted", "restricted"]);
    let (server, now) = (party.server, party.world.instant());
    let fresh = Lobby::new(ServerConfig::default(), true, [98; 32], now);
    party.world.replace_node(server, SimulatedProgram::Lobby(Box::new(fresh)));
    run(&mut party, 30);
    for index in 0..3 {
        assert!(hosts(&party, index).is_empty() && room_ends(&party, index).is_empty(), "{}", tell(&party));
        assert_eq!(party.player(index).disconnects, 0);
    }
    // And it can change its host as before.
    party.command(0, Command::LeaveRoom);
    assert!(party.wait(CLEAN, |party| play_on(party, 1, &[1, 2])), "{}", tell(&party));
}

#[test]
fn switched_off_the_room_ends_with_its_host() {
    let nats = ["portrestricted", "portrestricted", "restricted"];
    let chains: Vec<_> = nats.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
    for killed in [false, true] {
        let mut party = PartyWorld::new(18, &chains, Duration::from_millis(30), &AgentConfig::default());
        party.room.migrate = false;
        all_join(&mut party);
        if killed {
            kill(&mut party, 0);
        } else {
            party.command(0, Command::LeaveRoom);
        }
        let out = |party: &PartyWorld| (1..3).all(|index| !room_ends(party, index).is_empty());
        // A host that is killed may be asleep.
        let patience = if killed { SILENT + AgentConfig::default().away_timeout } else { SILENT };
        assert!(party.wait(patience, out), "{}", tell(&party));
        assert!(hosts(&party, 1).is_empty());
    }
}

/// Cuts a player's network from another one's, or from the server's addresses, both ways.
fn cut(party: &mut PartyWorld, index: usize, others: &[std::net::IpAddr]) {
    let outside = outside(index);
    for other in others {
        party.world.cut(outside, *other, true);
        party.world.cut(*other, outside, true);
    }
}

/// Returns the outside address of a player's NAT.
fn outside(index: usize) -> std::net::IpAddr {
    [198, 18, index as u8 + 1, 1].into()
}

#[test]
fn a_host_that_the_server_and_one_member_do_not_hear_stays_host_of_the_others() {
    let mut party = playing(31, &["portrestricted", "portrestricted", "restricted", "portrestricted"]);
    let mut cut_off: Vec<_> = ADDRESSES.to_vec();
    cut_off.push(outside(3));
    cut(&mut party, 0, &cut_off);
    run(&mut party, 90);
    for index in 1..3 {
        assert!(hosts(&party, index).is_empty() && room_ends(&party, index).is_empty(), "{}", tell(&party));
        assert_eq!(party.player(index).disconnects, 0);
    }
    assert_eq!(room_ends(&party, 3), [Some(RoomEnd::HostLost)], "{}", tell(&party));
}

#[test]
fn a_host_that_the_server_and_one_of_two_members_do_not_hear_stays_host_of_the_other() {
    let mut party = playing(32, &["portrestricted", "portrestricted", "restricted"]);
    let mut cut_off: Vec<_> = ADDRESSES.to_vec();
    cut_off.push(outside(1));
    cut(&mut party, 0, &cut_off);
    run(&mut party, 75);
    assert_eq!(room_ends(&party, 1), [Some(RoomEnd::HostLost)], "it is told: {}", tell(&party));
    assert!(hosts(&party, 2).is_empty() && room_ends(&party, 2).is_empty(), "{}", tell(&party));
    assert_eq!(party.player(2).disconnects, 0);
    assert!(party.player(2).paths.contains_key(&id(&party, 0)));
}

#[test]
fn a_kick_outlives_a_restart_of_the_server() {
    let mut party = playing(33, &["portrestricted", "portrestricted", "restricted"]);
    let player = id(&party, 2);
    party.command(
        0,
        Command::Kick {
            player,
            reason: "cheats".into(),
            rejoin: traversal_core::wire::message::Rejoin::Never,
        },
    );
    run(&mut party, 2);
    assert!(matches!(&room_ends(&party, 2)[..], [Some(RoomEnd::Kicked { .. })]), "{}", tell(&party));
    party.restart_server(97);
    run(&mut party, 20);
    party.join(2);
    run(&mut party, 5);
    let refused = party.player(2).events.iter().any(|(_, event)| {
        let Event::RequestFailed { error, .. } = event else { return false };
        matches!(error, RequestFailure::Server(RequestError::Banned { .. }))
    });
    assert!(refused, "{}", tell(&party));
    assert!(party.player(0).paths.len() == 1 && party.player(1).disconnects == 0);
}
