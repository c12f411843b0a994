//! Probes and STUN on two addresses with two ports each.

use super::*;
use traversal_core::NatFacts;
use traversal_core::id::MatchId;
use traversal_core::wire::message::{Facts, Probe, ProbePurpose};

pub(super) fn four_sockets() -> Vec<ServerSocket> {
    let socket = |address: &str, second_address, second_port| ServerSocket {
        local: at(address),
        public: None,
        second_address,
        second_port,
        interface: None,
        stream: false,
    };
    vec![
        socket("198.18.0.10:3478", false, false),
        socket("198.18.0.10:3479", false, true),
        socket("198.18.0.11:3478", true, false),
        socket("198.18.0.11:3479", true, true),
    ]
}

pub(super) fn probe(
    world: &mut World,
    index: usize,
    socket: u16,
    from: &str,
    tag: u32,
    purpose: ProbePurpose,
) {
    let now = world.now;
    let session = world.fakes[index].session.as_mut().unwrap();
    let datagram = session.seal(now, Kind::Probe, &Frame::Probe(Probe { tag, purpose })).unwrap();
    let before = world.sent.len();
    world.send_from(ServerSocketId(socket), at(from), &datagram);
    for (_, to, reply) in world.sent.iter().skip(before) {
        if *to == at(from) {
            assert!(reply.len() <= datagram.len(), "{} > {}", reply.len(), datagram.len());
        }
    }
}

#[test]
fn probes_are_answered_from_the_socket_they_ask_for_and_move_nothing() {
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let player = world.player(1, "203.0.113.1:4000");
    let targets = world.fakes[player].welcome.as_ref().unwrap().probe_targets.clone();
    assert_eq!(targets, four_sockets().iter().map(|socket| socket.local).collect::<Vec<_>>());
    for (asked, purpose, answered) in [
        (0, ProbePurpose::Report, 0),
        (2, ProbePurpose::Report, 2),
        (0, ProbePurpose::ReplyFromOtherPort, 1),
        (0, ProbePurpose::ReplyFromOtherAddress, 2),
        (3, ProbePurpose::ReplyFromOtherPort, 2),
        (3, ProbePurpose::ReplyFromOtherAddress, 1),
    ] {
        probe(&mut world, player, asked, "203.0.113.1:4055", 7, purpose);
        let (socket, to, _) = world.sent.back().unwrap();
        assert_eq!((socket.0, *to), (answered, at("203.0.113.1:4055")), "{purpose:?} at {asked}");
    }
    let id = world.server.roster.session_of(world.fakes[player].id()).unwrap();
    assert_eq!(world.server.roster.client(id).unwrap().route().peer, at("203.0.113.1:4000"));
}

#[test]
fn one_address_says_nothing_from_an_other_one() {
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    let before = world.sent.len();
    probe(&mut world, player, 0, "203.0.113.1:4000", 7, ProbePurpose::ReplyFromOtherAddress);
    probe(&mut world, player, 0, "203.0.113.1:4000", 7, ProbePurpose::ReplyFromOtherPort);
    assert_eq!(world.sent.len(), before);
}

#[test]
fn a_range_reaches_the_other_side_of_the_match_alone() {
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    let stranger = world.player(3, "192.0.2.1:5000");
    world.host(host, named("r"));
    assert!(world.answer(joiner, by_name("r")).is_ok());
    let match_id = world.fakes[host].plans()[0].match_id;
    let range = |second| ProbePurpose::Range { match_id, round: 1, second };
    for second in [false, true] {
        let from = format!("192.0.2.1:{}", 7000 + u16::from(second));
        probe(&mut world, stranger, 0, &from, 1, range(second));
    }
    assert!(facts(&world.fakes[host]).is_empty());
    probe(&mut world, joiner, 0, "198.51.100.1:10135", 1, range(false));
    probe(&mut world, joiner, 2, "198.51.100.1:10145", 2, range(true));
    let ip = at("198.51.100.1:0").ip();
    let seen = Facts::Range { round: 1, ip, first: 10135, last: 10145, step: 1 };
    assert_eq!(facts(&world.fakes[host]), [(match_id, seen)]);
    assert!(facts(&world.fakes[joiner]).is_empty() && facts(&world.fakes[stranger]).is_empty());

    // From another IP than the session's: answered, but no fact about the player.
    probe(
        &mut world,
        joiner,
        0,
        "192.0.2.9:1",
        3,
        ProbePurpose::Newest { match_id, round: 2, ahead: [4, 0, 0, 0] },
    );
    assert_eq!(facts(&world.fakes[host]).len(), 1);
}

/// Returns what a player was told of the other's ports.
fn facts(fake: &Fake) -> Vec<(MatchId, Facts)> {
    fake.told
        .iter()
        .filter_map(|message| match message {
            ToPlayer::Facts { match_id: told, facts } => Some((*told, facts.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn kept_ports_are_passed_on_with_the_sessions_own_ip_once_a_round_and_only_where_the_nat_keeps_them() {
    use traversal_core::nat::{NatProfile, PortAllocation};
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    let stranger = world.player(3, "192.0.2.1:5000");
    world.host(host, named("r"));
    assert!(world.answer(joiner, by_name("r")).is_ok());
    let match_id = world.fakes[host].plans()[0].match_id;
    let kept = |round, ports: &[u16]| ToServer::KeptPorts { match_id, round, ports: ports.to_vec() };
    world.say(joiner, kept(1, &[40_001]));
    assert_eq!(facts(&world.fakes[host]), [], "as far as the server knows, its NAT does not");
    let profile = NatProfile { allocation: PortAllocation::Preserving, ..NatProfile::UNKNOWN };
    for player in [joiner, stranger] {
        world.say(player, ToServer::Profile { profile, check: false, manual: NatFacts::NONE });
    }
    for wrong in [&[][..], &[1_023], &[40_001; 5]] {
        world.say(joiner, kept(1, wrong));
    }
    world.say(stranger, kept(1, &[40_001]));
    assert_eq!(facts(&world.fakes[host]), []);
    assert_eq!(world.server.counters().claims_refused, 4);
    world.say(joiner, kept(1, &[40_001, 40_002]));
    world.say(joiner, kept(1, &[50_000]));
    let ip = at("198.51.100.1:0").ip();
    let told = Facts::Kept { round: 1, ip, ports: vec![40_001, 40_002] };
    assert_eq!(facts(&world.fakes[host]), [(match_id, told)]);
    assert!(facts(&world.fakes[joiner]).is_empty() && facts(&world.fakes[stranger]).is_empty());
}

#[test]
fn probes_over_the_rate_are_not_answered() {
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    let before = world.server.counters().probes;
    for tag in 0..700 {
        probe(&mut world, player, 0, "203.0.113.1:4000", tag, ProbePurpose::Report);
    }
    assert_eq!(world.server.counters().probes - before, 500);
    assert_eq!(world.server.counters().limited, 200);
}

#[test]
fn stun_is_answered_from_where_it_is_asked_and_can_be_switched_off() {
    let mut request = vec![0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42];
    request.extend_from_slice(&[3; 12]);
    request.extend_from_slice(b"\0\x03\0\x04\0\0\0\x06");
    let mut world = World::with(ServerConfig::default(), four_sockets());
    world.send_from(ServerSocketId(0), at("192.0.2.1:999"), &request);
    let (socket, to, reply) = world.sent.back().unwrap();
    assert_eq!((socket.0, *to, &reply[..2]), (3, at("192.0.2.1:999"), &[1, 1][..]));

    let mut one = World::new();
    one.send_from(ServerSocketId(0), at("192.0.2.1:999"), &request);
    assert_eq!(one.sent.back().unwrap().2[..2], [1, 0x11], "420 where there is no other address");

    let config = ServerConfig { stun: false, ..ServerConfig::default() };
    let mut off = World::with(config, four_sockets());
    off.send_from(ServerSocketId(0), at("192.0.2.1:999"), &request);
    assert!(off.sent.is_empty());
}

#[test]
fn a_flood_of_stun_from_one_address_is_cut() {
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend_from_slice(&[3; 12]);
    let mut world = World::new();
    for port in 1..=1000 {
        world.send_from(ServerSocketId(0), SocketAddr::new([192, 0, 2, 1].into(), port), &request);
    }
    assert_eq!(world.server.counters().stun, 200);
}

#[test]
fn addresses_told_to_players_fit_where_they_are() {
    let mut socket = ServerSocket::first(at("10.0.0.5:3478"));
    socket.public = Some("198.51.100.200".parse().unwrap());
    let mut world = World::with(ServerConfig::default(), vec![socket]);
    let player = world.player(1, "203.0.113.1:4000");
    assert_eq!(world.fakes[player].welcome.as_ref().unwrap().probe_targets, [at("198.51.100.200:3478")]);

    let mut world = World::with(ServerConfig::default(), vec![ServerSocket::first(at("127.0.0.1:3478"))]);
    let player = world.player(1, "127.0.0.1:4000");
    assert_eq!(world.fakes[player].welcome.as_ref().unwrap().probe_targets, [at("127.0.0.1:3478")]);
    let far = world.player(2, "203.0.113.1:4000");
    assert!(world.fakes[far].welcome.as_ref().unwrap().probe_targets.is_empty());

    // Bound to all addresses: only the asked one is known.
    let mut world = World::with(ServerConfig::default(), vec![ServerSocket::first(at("0.0.0.0:3478"))]);
    let player = world.player(1, "203.0.113.1:4000");
    assert!(world.fakes[player].welcome.as_ref().unwrap().probe_targets.is_empty());
}

#[test]
fn the_server_checks_a_profile_against_what_it_saw() {
    use traversal_core::classify::ProbeTag;
    use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let player = world.player(1, "203.0.113.1:4000");
    // A NAT with a new port for each destination, counting by 2; eight sockets, the first to three targets.
    let mut port = 20_000;
    let mut sequence = 0;
    for local_port in 50_000..50_008 {
        let targets: &[u16] = if local_port == 50_000 { &[0, 1, 2] } else { &[0] };
        for target in targets {
            sequence += 1;
            port += 2;
            let tag = ProbeTag { local_port, repeated: false, burst: 0, sequence }.into();
            probe(&mut world, player, *target, &format!("203.0.113.1:{port}"), tag, ProbePurpose::Report);
            world.pass(Duration::from_millis(2));
        }
    }
    let report = NatProfile {
        mapping: MappingBehavior::EndpointIndependent,
        filtering: FilteringBehavior::AddressAndPortDependent,
        confidence: Confidence::Full,
        ..NatProfile::default()
    };
    world.say(player, ToServer::Profile { profile: report, check: true, manual: NatFacts::NONE });
    let told = world.fakes[player].told.iter().find_map(|message| match message {
        ToPlayer::Profile(profile) => Some(*profile),
        _ => None,
    });
    let told = told.expect("the server's word");
    assert_eq!(told.mapping, MappingBehavior::AddressAndPortDependent);
    assert_eq!(told.filtering, FilteringBehavior::AddressAndPortDependent, "only the player can know it");
    assert!(matches!(told.allocation, PortAllocation::Sequential { step: 2 }), "{told:?}");
    assert_eq!(told.confidence, Confidence::Full);

    // What is set by hand holds against what the server sees later, too; what cannot be set is left out (M9).
    for (step, kept) in [(9, true), (i32::MIN, false), (0, false)] {
        let mut world = World::with(ServerConfig::default(), four_sockets());
        let player = world.player(1, "203.0.113.1:4000");
        let allocation = PortAllocation::Sequential { step };
        let manual = NatFacts { allocation: Some(allocation), ..NatFacts::NONE };
        let set = manual.over(NatProfile::UNKNOWN);
        world.say(player, ToServer::Profile { profile: set, check: false, manual });
        for (socket, sequence) in (0..8u16).zip(1..) {
            let tag = ProbeTag { local_port: 50_000 + socket, repeated: false, burst: 0, sequence }.into();
            let seen_at = format!("203.0.113.1:{}", 20_000 + 2 * socket);
            probe(&mut world, player, 0, &seen_at, tag, ProbePurpose::Report);
            world.pass(Duration::from_millis(2));
        }
        world.say(player, ToServer::Profile { profile: report, check: true, manual });
        let told = world.fakes[player].told.iter().rev().find_map(|message| match message {
            ToPlayer::Profile(profile) => Some(profile.allocation),
            _ => None,
        });
        let measured = PortAllocation::Sequential { step: 2 };
        assert_eq!(told, Some(if kept { allocation } else { measured }), "{step}");
    }
}

#[test]
fn a_probe_lost_on_the_way_here_does_not_hide_the_counter() {
    use traversal_core::classify::ProbeTag;
    use traversal_core::nat::{NatProfile, PortAllocation};
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let player = world.player(1, "203.0.113.1:4000");
    // The first three of eight probes were lost between the NAT and here, and come again half a second later.
    for (sequence, n) in (1..).zip([3u16, 4, 5, 6, 7, 0, 1, 2]) {
        let repeated = n < 3;
        if n == 0 {
            world.pass(Duration::from_millis(500));
        }
        let tag = ProbeTag { local_port: 50_000 + n, repeated, burst: 0, sequence }.into();
        let seen_at = format!("203.0.113.1:{}", 20_000 + 3 * n);
        probe(&mut world, player, 0, &seen_at, tag, ProbePurpose::Report);
        world.pass(Duration::from_millis(2));
    }
    world.say(
        player,
        ToServer::Profile { profile: NatProfile::default(), check: true, manual: NatFacts::NONE },
    );
    let told = world.fakes[player].told.iter().find_map(|message| match message {
        ToPlayer::Profile(profile) => Some(profile.allocation),
        _ => None,
    });
    assert_eq!(told, Some(PortAllocation::Sequential { step: 3 }));
}

#[test]
fn m24_how_busy_a_nat_is_goes_into_the_plan_before_the_players_own_word() {
    use traversal_core::classify::ProbeTag;
    use traversal_core::nat::PortAllocation;
    for (foreign, busy) in [(0u16, false), (400, true)] {
        let mut world = World::with(ServerConfig::default(), four_sockets());
        let host = world.player(1, "203.0.113.1:4000");
        let joiner = world.player(2, "203.0.113.2:4000");
        let room = world.host(host, named("den"));
        assert!(world.answer(joiner, by_name(&room.name)).is_ok());
        // A NAT with a new port for each destination, counting by 3: a burst of ten, and later two of two.
        let (mut port, mut sequence) = (20_000, 0);
        let mut burst = |world: &mut World, burst: u8, locals: std::ops::Range<u16>| {
            for local_port in locals {
                for target in if local_port == 50_000 { 0..3 } else { 0..1 } {
                    (sequence, port) = (sequence + 1, port + 3);
                    let tag = ProbeTag { local_port, repeated: false, burst, sequence }.into();
                    probe(world, host, target, &format!("203.0.113.1:{port}"), tag, ProbePurpose::Report);
                }
            }
            world.pass(Duration::from_millis(100));
            // What others take in a tenth of a second.
            port += 3 * (foreign / 10);
        };
        burst(&mut world, 0, 50_000..50_008);
        burst(&mut world, 1, 50_008..50_010);
        let seen = |world: &World| {
            world.fakes[joiner].told.iter().rev().find_map(|message| match message {
                ToPlayer::Replan(plan) => Some(plan.peer_nat),
                _ => None,
            })
        };
        let early = seen(&world).expect("the early plan");
        assert_eq!(early.allocation, PortAllocation::Sequential { step: 3 });
        burst(&mut world, 2, 50_010..50_012);
        let rate = seen(&world).unwrap().foreign_rate;
        assert_eq!(rate.is_some_and(|rate| (rate - 400.0).abs() < 20.0), busy, "{rate:?}");
    }
}

#[test]
fn m8_probes_of_the_network_before_are_not_mixed_with_those_of_the_new_one() {
    use traversal_core::classify::ProbeTag;
    use traversal_core::nat::{NatProfile, PortAllocation};
    let mut world = World::with(ServerConfig::default(), four_sockets());
    let player = world.player(1, "203.0.113.1:4000");
    // Half a first burst, then the player is behind another router, which counts by 5.
    for (address, first, step, ports) in
        [("203.0.113.77", 50_000, 1, 50_000..50_004), ("203.0.113.1", 51_000, 5, 51_000..51_008)]
    {
        for local_port in ports {
            let sequence = local_port - 49_999;
            let tag = ProbeTag { local_port, repeated: false, burst: 0, sequence }.into();
            let seen_at = format!("{address}:{}", 20_000 + step * (local_port - first));
            probe(&mut world, player, 0, &seen_at, tag, ProbePurpose::Report);
        }
        world.pass(Duration::from_secs(3));
    }
    world.say(
        player,
        ToServer::Profile { profile: NatProfile::default(), check: true, manual: NatFacts::NONE },
    );
    let told = world.fakes[player].told.iter().rev().find_map(|message| match message {
        ToPlayer::Profile(profile) => Some(*profile),
        _ => None,
    });
    let told = told.unwrap();
    assert_eq!((told.allocation, told.pooled), (PortAllocation::Sequential { step: 5 }, Some(false)));
}
