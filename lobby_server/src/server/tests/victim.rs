//! A player with a changed client lies about everything it may say. Whoever has nothing to do with it must get nothing:
//! not from the server, and not from the players that the server talks to.

use std::net::IpAddr;

use super::*;
use traversal_core::NatFacts;
use traversal_core::id::MatchId;
use traversal_core::nat::NatProfile;
use traversal_core::wire::message::{Facts, Farewell, MatchOutcome, Probe, ProbePurpose};
use traversal_core::wire::port_report::PortReport;

const VICTIM: &str = "192.0.2.99:53";
const EVIL: &str = "198.51.100.66:5000";

fn victim() -> IpAddr {
    at(VICTIM).ip()
}

/// Returns addresses that nobody may be sent to on a player's word.
fn lies() -> Vec<SocketAddr> {
    [
        VICTIM,
        "192.0.2.99:443",
        "224.0.0.1:5353",
        "255.255.255.255:9",
        "127.0.0.1:631",
        "0.0.0.0:7",
        "[2001:db8::99]:53",
    ]
    .map(at)
    .to_vec()
}

struct Scene {
    world: World,
    host: usize,
    evil: usize,
}

impl Scene {
    /// Starts a world with an honest host in an open room, and the evil player, who is logged in from this address.
    fn new(evil_at: &str) -> Self {
        let mut world = World::new();
        let host = world.player(1, "203.0.113.1:4000");
        world.host(host, named("r"));
        let evil = world.add(66, evil_at);
        world.fakes[evil].login.local = lies();
        world.log_in(evil);
        Self { world, host, evil }
    }

    fn join(&mut self) -> MatchId {
        assert!(self.world.answer(self.evil, by_name("r")).is_ok());
        self.world.fakes[self.evil].plans()[0].match_id
    }

    /// Returns every address that the server has named to the honest host.
    fn named_to_host(&self) -> Vec<SocketAddr> {
        let mut named = Vec::new();
        for message in &self.world.fakes[self.host].told {
            match message {
                ToPlayer::Plan(plan) => {
                    named.extend(plan.peer_public.iter().chain(&plan.peer_local));
                }
                ToPlayer::Facts { facts: Facts::PeerPublic(addresses), .. } => named.extend(addresses),
                ToPlayer::Facts { facts: Facts::Newest { address, .. }, .. } => named.push(*address),
                ToPlayer::Facts { facts: Facts::Range { ip, first, .. }, .. } => {
                    named.push(SocketAddr::new(*ip, *first));
                }
                _ => {}
            }
        }
        named
    }

    fn assert_nothing_for_the_victim(&self) {
        let sent = self.world.sent.iter().filter(|(_, to, _)| to.ip() == victim()).count();
        assert_eq!(sent, 0, "the server sent to the victim");
        for address in self.named_to_host() {
            let own = [at(EVIL).ip(), at("203.0.113.1:1").ip()].contains(&address.ip());
            assert!(own, "the host was told {address}");
        }
    }

    /// A sealed datagram of the evil player's session, from wherever it says.
    fn sealed(&mut self, kind: Kind, frame: &Frame<ToServer>) -> Vec<u8> {
        let now = self.world.now;
        self.world.fakes[self.evil].session.as_mut().unwrap().seal(now, kind, frame).unwrap()
    }

    fn probe(&mut self, purpose: ProbePurpose, tag: u32) -> Vec<u8> {
        self.sealed(Kind::Probe, &Frame::Probe(Probe { tag, purpose }))
    }
}

fn purposes(match_id: MatchId) -> Vec<ProbePurpose> {
    vec![
        ProbePurpose::Report,
        ProbePurpose::ReplyFromOtherPort,
        ProbePurpose::ReplyFromOtherAddress,
        ProbePurpose::Range { match_id, round: 1, second: false },
        ProbePurpose::Range { match_id, round: 1, second: true },
        ProbePurpose::Newest { match_id, round: 2, ahead: [4, 0, 0, 0] },
        ProbePurpose::MappedPort { port: 53 },
        ProbePurpose::Register,
    ]
}

#[test]
fn addresses_that_a_player_claims_are_named_to_nobody() {
    let mut scene = Scene::new(EVIL);
    scene.join();
    scene.world.say(scene.evil, ToServer::LocalAddresses(lies()));
    // Again, with what it says while the match runs.
    let profile = NatProfile::UNKNOWN;
    scene.world.say(scene.evil, ToServer::Profile { profile, check: false, manual: NatFacts::NONE });
    scene.world.pass(Duration::from_secs(2));
    scene.assert_nothing_for_the_victim();
    assert_eq!(scene.named_to_host(), [at(EVIL)]);
}

#[test]
fn behind_the_hosts_own_nat_only_addresses_of_a_private_network_are_named() {
    let mut scene = Scene::new("203.0.113.1:5000");
    let printer = at("192.168.1.50:9100");
    let mut local = lies();
    local.truncate(3);
    local.push(printer);
    scene.world.say(scene.evil, ToServer::LocalAddresses(local));
    scene.join();
    for address in scene.named_to_host() {
        assert!([printer, at("203.0.113.1:5000")].contains(&address), "the host was told {address}");
    }
    scene.assert_sent_none();
}

impl Scene {
    fn assert_sent_none(&self) {
        assert!(self.world.sent.iter().all(|(_, to, _)| to.ip() != victim()));
    }
}

#[test]
fn what_comes_under_a_forged_source_is_answered_with_no_more_bytes_and_names_nobody() {
    let mut scene = Scene::new(EVIL);
    let match_id = scene.join();
    let mut datagrams = Vec::new();
    for (tag, purpose) in purposes(match_id).into_iter().enumerate() {
        datagrams.push(scene.probe(purpose, tag as u32));
    }
    datagrams.push(scene.sealed(Kind::Control, &Frame::Ping { id: 1 }));
    datagrams.push(scene.sealed(Kind::Control, &Frame::PathResponse { token: [1; 16] }));
    let grant = scene.world.fakes[scene.evil].plans()[0].relay.unwrap();
    for content in [0, 100, 1000] {
        let mut relayed = vec![Kind::Relay as u8];
        relayed.extend_from_slice(&grant.token);
        relayed.push(Kind::Pair as u8);
        relayed.extend_from_slice(&match_id.0.to_le_bytes());
        relayed.resize(relayed.len() + content, 1);
        datagrams.push(relayed);
    }
    for datagram in datagrams {
        for source in [VICTIM, "192.0.2.99:40000"] {
            scene.world.sent.clear();
            scene.world.send_from(ServerSocketId(0), at(source), &datagram);
            let bytes: usize = scene
                .world
                .sent
                .iter()
                .filter(|(_, to, _)| to.ip() == victim())
                .map(|(.., sent)| sent.len())
                .sum();
            assert!(bytes <= datagram.len(), "{bytes} for {} of {:?}", datagram.len(), Kind::of(&datagram));
        }
    }
    scene.world.sent.clear();
    scene.world.pass(Duration::from_secs(3));
    scene.assert_nothing_for_the_victim();
}

#[test]
fn a_login_under_a_forged_source_is_answered_with_no_more_bytes_and_goes_no_further() {
    let mut world = World::new();
    let index = world.add(66, EVIL);
    let hello = world.fakes[index].handshake.datagram().to_vec();
    for cut in [hello.len(), hello.len() / 2, 30] {
        world.sent.clear();
        world.send_from(ServerSocketId(0), at(VICTIM), &hello[..cut]);
        let bytes: usize = world.sent.iter().map(|(.., sent)| sent.len()).sum();
        assert!(bytes <= cut, "{bytes} for {cut}");
    }
    // A cookie that was given to the evil one's own address is worth nothing under another.
    world.send_raw(index, &hello);
    let init = world.fakes[index].handshake.datagram().to_vec();
    assert_ne!(init, hello);
    world.sent.clear();
    world.send_from(ServerSocketId(0), at(VICTIM), &init);
    assert!(world.sent.is_empty());
    assert_eq!(world.server.gauges().sessions, 0);
}

#[test]
fn a_forwarded_port_is_looked_for_at_the_players_own_address_alone() {
    let mut scene = Scene::new(EVIL);
    scene.join();
    scene.world.sent.clear();
    for port in [53, 1024, 4444, 65_535] {
        let probe = scene.probe(ProbePurpose::MappedPort { port }, u32::from(port));
        scene.world.send_raw(scene.evil, &probe);
    }
    let strangers = scene
        .world
        .sent
        .iter()
        .filter(|(_, to, _)| ![at(EVIL).ip(), at("203.0.113.1:1").ip()].contains(&to.ip()));
    assert_eq!(strangers.count(), 0);
    // A claim without the token that only the forwarded port gets is not believed.
    scene.world.say(scene.evil, ToServer::MappedPort(Some([7; 16])));
    assert!(scene.named_to_host().iter().all(|address| *address == at(EVIL)));
}

#[test]
fn matches_of_others_cannot_be_touched() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "203.0.114.1:4000");
    world.host(host, named("r"));
    assert!(world.answer(joiner, by_name("r")).is_ok());
    let evil = world.player(66, EVIL);
    let (match_id, grant) = {
        let plan = &world.fakes[host].plans()[0];
        (plan.match_id, plan.relay.unwrap())
    };
    let told: Vec<usize> = [host, joiner].map(|index| world.fakes[index].told.len()).to_vec();
    let relays = world.server.gauges().relays;
    world.sent.clear();
    for outcome in [MatchOutcome::Direct, MatchOutcome::Failed, MatchOutcome::Closed, MatchOutcome::Lost] {
        world.say(evil, ToServer::MatchReport { match_id, outcome, cause: None });
    }
    world.say(evil, ToServer::PunchAgain { match_id });
    let now = world.now;
    for (tag, purpose) in purposes(match_id).into_iter().enumerate() {
        let frame = Frame::Probe(Probe { tag: tag as u32, purpose });
        let probe = world.fakes[evil].session.as_mut().unwrap().seal(now, Kind::Probe, &frame).unwrap();
        world.send_raw(evil, &probe);
    }
    // The host's own allocation, from another session.
    let mut relayed = vec![Kind::Relay as u8];
    relayed.extend_from_slice(&grant.token);
    relayed.push(Kind::Pair as u8);
    relayed.extend_from_slice(&match_id.0.to_le_bytes());
    relayed.resize(60, 1);
    world.send_raw(evil, &relayed);
    for (index, before) in [host, joiner].into_iter().zip(told) {
        assert_eq!(world.fakes[index].told.len(), before, "somebody else's word reached a player");
        let address = world.fakes[index].address;
        assert!(world.sent.iter().all(|(_, to, _)| *to != address));
    }
    assert_eq!(world.server.gauges().relays, relays);
    assert_eq!(world.server.counters().matches_failed, 0);
}

#[test]
fn a_relay_allocation_ends_with_the_session_of_either_side() {
    for leaver in [0, 1] {
        let mut scene = Scene::new(EVIL);
        let match_id = scene.join();
        let grants = [scene.host, scene.evil].map(|index| scene.world.fakes[index].plans()[0].relay.unwrap());
        let leaving = [scene.host, scene.evil][leaver];
        let now = scene.world.now;
        let bye = Frame::Goodbye { reason: String::new(), why: Farewell::Leaving };
        scene.world.fakes[leaving].session.as_mut().unwrap().send_once(now, &bye);
        scene.world.turn();
        scene.world.sent.clear();
        for (index, grant) in [scene.host, scene.evil].into_iter().zip(grants) {
            let mut relayed = vec![Kind::Relay as u8];
            relayed.extend_from_slice(&grant.token);
            relayed.push(Kind::Pair as u8);
            relayed.extend_from_slice(&match_id.0.to_le_bytes());
            relayed.resize(200, 1);
            scene.world.send_raw(index, &relayed);
        }
        assert!(scene.world.sent.is_empty(), "{:?}", scene.world.sent);
        assert_eq!(scene.world.server.gauges().relays, 0);
    }
}

/// Returns the server's word to this player where a probe of its session was seen.
pub(super) fn signed_report(world: &mut World, index: usize, tag: u32) -> PortReport {
    let frame = Frame::Probe(Probe { tag, purpose: ProbePurpose::SignedReport });
    let now = world.now;
    let probe = world.fakes[index].session.as_mut().unwrap().seal(now, Kind::Probe, &frame).unwrap();
    world.send_raw(index, &probe);
    let report = world.fakes[index].frames.iter().find_map(|frame| match frame {
        Frame::PortSeen { tag: seen, report } if *seen == tag => Some(*report),
        _ => None,
    });
    report.expect("a report")
}

#[test]
fn a_claimed_range_is_passed_on_only_with_two_fresh_reports_of_ones_own() {
    let mut scene = Scene::new(EVIL);
    let match_id = scene.join();
    let other = scene.world.player(3, "203.0.115.1:4000");
    let own = [1, 2].map(|tag| signed_report(&mut scene.world, scene.evil, tag));
    let of_another = [1, 2].map(|tag| signed_report(&mut scene.world, other, tag));
    let moved = |address: &str| {
        let mut reports = own;
        reports[1].observed = at(address);
        reports
    };
    let mut round = 0;
    let mut claim = |scene: &mut Scene, match_id, reports| {
        round += 1;
        scene.world.say(scene.evil, ToServer::ClaimRange { match_id, round, step: 1, reports });
    };
    claim(&mut scene, match_id, moved(VICTIM));
    claim(&mut scene, match_id, moved("198.51.100.66:5001"));
    claim(&mut scene, match_id, of_another);
    claim(&mut scene, MatchId(match_id.0 ^ 1), own);
    scene.assert_nothing_for_the_victim();
    assert_eq!((scene.world.server.counters().claims, scene.world.server.counters().claims_refused), (0, 4));
    claim(&mut scene, match_id, own);
    assert_eq!(scene.named_to_host(), [at(EVIL), at(EVIL)], "the plan, and the range");
    scene.world.pass(Duration::from_secs(9));
    claim(&mut scene, match_id, own);
    assert_eq!((scene.world.server.counters().claims, scene.world.server.counters().claims_refused), (1, 5));
}
