//! Knocks at a player's idle mappings: only where the player's own packets came from, one for one, and not many.

use super::probes::four_sockets;
use super::victim::signed_report;
use super::*;
use traversal_core::wire::message::{Probe, ProbePurpose};
use traversal_core::wire::port_report::{PortReport, ReportKey};

const HOME: &str = "203.0.113.1:4000";
const MAPPING: &str = "203.0.113.1:4055";
const VICTIM: &str = "192.0.2.99:53";

/// Returns the server's word that a packet of this player came from there.
fn report(world: &mut World, index: usize, from: &str) -> PortReport {
    let home = std::mem::replace(&mut world.fakes[index].address, at(from));
    let tag = world.fakes[index].frames.len() as u32;
    let report = signed_report(world, index, tag);
    world.fakes[index].address = home;
    report
}

fn sealed(world: &mut World, index: usize, report: PortReport) -> Vec<u8> {
    let frame = Frame::Probe(Probe { tag: 5, purpose: ProbePurpose::Knock { report } });
    let now = world.now;
    world.fakes[index].session.as_mut().unwrap().seal(now, Kind::Probe, &frame).unwrap()
}

/// Asks for a knock; what was sent for it, and that none of it is longer than the request.
fn ask(world: &mut World, index: usize, report: PortReport) -> Vec<(ServerSocketId, SocketAddr)> {
    let request = sealed(world, index, report);
    world.sent.clear();
    world.send_raw(index, &request);
    assert!(world.sent.iter().all(|(.., sent)| sent.len() <= request.len()));
    world.sent.iter().map(|(socket, to, _)| (*socket, *to)).collect()
}

#[test]
fn a_knock_goes_to_a_mapping_that_was_proven_and_the_word_of_it_to_the_session() {
    for sockets in [four_sockets(), vec![ServerSocket::first(at("198.18.0.10:3478"))]] {
        let mut world = World::with(ServerConfig::default(), sockets);
        let player = world.player(1, HOME);
        let proven = report(&mut world, player, MAPPING);
        world.fakes[player].frames.clear();
        // Both from the socket that was asked.
        let sent = ask(&mut world, player, proven);
        assert_eq!(sent, [(ServerSocketId(0), at(MAPPING)), (ServerSocketId(0), at(HOME))]);
        let told = Frame::ProbeSeen { tag: 5, observed: at(HOME) };
        assert_eq!(world.fakes[player].frames, [told]);
        let (_, _, knock) = world.sent[0].clone();
        let now = world.now;
        let knock = world.fakes[player].session.as_mut().unwrap().handle(now, &knock);
        assert_eq!(knock, Ok(Some(Frame::Knock { tag: 5 })));
        // It never becomes the session's address, nor a place that others are told.
        let id = world.server.roster.session_of(world.fakes[player].id()).unwrap();
        assert_eq!(world.server.roster.client(id).unwrap().route().peer, at(HOME));
    }
}

#[test]
fn a_report_that_is_forged_or_somebody_elses_sends_nothing() {
    let mut world = World::new();
    let evil = world.player(66, HOME);
    let neighbour = world.player(2, "203.0.113.1:7000");
    let own = report(&mut world, evil, MAPPING);
    let of_neighbour = report(&mut world, neighbour, "203.0.113.1:7055");
    let session = world.server.roster.session_of(world.fakes[evil].id()).unwrap().0;
    let restarted = ReportKey::new([1; 32]).sign(session, own.at_ms, own.observed);
    let changed = |change: fn(&mut PortReport)| {
        let mut report = own;
        change(&mut report);
        report
    };
    let elsewhere = changed(|report| report.observed = at(VICTIM));
    let another_port = changed(|report| report.observed = at("203.0.113.1:4056"));
    let fresher = changed(|report| report.at_ms += 1);
    for forged in [elsewhere, another_port, fresher, of_neighbour, restarted] {
        let before = world.server.counters().dropped;
        assert!(ask(&mut world, evil, forged).is_empty(), "{forged:?}");
        assert_eq!(world.server.counters().dropped, before + 1);
    }
    assert_eq!(ask(&mut world, evil, own).len(), 2, "the true one still counts");
}

#[test]
fn a_report_of_another_address_than_the_sessions_sends_nothing() {
    let mut world = World::new();
    let evil = world.player(66, HOME);
    // Under a forged source; even if it came to know what the server told the victim.
    let of_victim = report(&mut world, evil, VICTIM);
    assert!(ask(&mut world, evil, of_victim).is_empty());
    // A request under a forged source is nobody's.
    let own = report(&mut world, evil, MAPPING);
    let request = sealed(&mut world, evil, own);
    world.sent.clear();
    world.send_from(ServerSocketId(0), at(VICTIM), &request);
    world.send_from(ServerSocketId(0), at(MAPPING), &request);
    assert!(world.sent.is_empty());
    // Nor does what was proven at one address count at the next.
    world.fakes[evil].address = at("198.51.100.7:4000");
    world.ping(evil);
    world.pass(Duration::from_secs(1));
    assert!(ask(&mut world, evil, own).is_empty());
}

#[test]
fn a_replay_sends_nothing_and_requests_are_few() {
    let mut world = World::new();
    let evil = world.player(66, HOME);
    let own = report(&mut world, evil, MAPPING);
    let request = sealed(&mut world, evil, own);
    world.sent.clear();
    for _ in 0..10 {
        world.send_raw(evil, &request);
    }
    let knocks = |world: &World| world.sent.iter().filter(|(_, to, _)| *to == at(MAPPING)).count();
    assert_eq!(knocks(&world), 1);
    let sent: usize = (0..200).map(|_| ask(&mut world, evil, own).len()).sum();
    assert_eq!(sent, 2 * 23, "the rest of the burst");
    assert!(world.server.counters().limited >= 150);
    // In the long run one a second.
    let mut served = 0;
    for _ in 0..20 {
        world.pass(Duration::from_secs(1));
        for _ in 0..5 {
            served += ask(&mut world, evil, own).len() / 2;
        }
    }
    assert!((19..=21).contains(&served), "{served} in 20 s");
}

#[test]
fn a_report_serves_for_the_longest_silence_and_not_much_longer() {
    let mut world = World::new();
    let player = world.player(1, HOME);
    let own = report(&mut world, player, MAPPING);
    let stay = |world: &mut World, seconds: u64| {
        for _ in 0..seconds / 10 {
            world.pass(Duration::from_secs(10));
            world.ping(player);
        }
    };
    stay(&mut world, 190);
    assert_eq!(ask(&mut world, player, own).len(), 2);
    stay(&mut world, 60);
    assert!(ask(&mut world, player, own).is_empty());
}
