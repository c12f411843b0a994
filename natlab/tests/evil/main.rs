//! Players whose server or whose fellow player means harm to others. The server has the right key and the player the
//! pair's key, so everything they say is authentic; what a player sends is bounded by its own caps and by where it
//! sends at all. The world counts, at the bystanders' doors.

#![allow(clippy::unwrap_used)]

mod clear_text;
mod liar;
mod peer;
mod server;
mod stage;
mod texts;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natlab::link::Link;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::failure::FailureReason;
use traversal_core::id::MatchId;
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::wire::message::{
    Facts, Method, PlannedMethod, PunchPlan, RelayGrant, Replan, Role, RoundTrip, ToPlayer,
};
use traversal_core::{Caps, Event};

use server::{identity_of, nobody};
use stage::{BYSTANDERS, LAN_BYSTANDER, Stage};

/// Draws a NAT as only a liar has it.
fn absurd_nat(rng: &mut ChaCha8Rng) -> NatProfile {
    let mappings = [
        MappingBehavior::Unknown,
        MappingBehavior::EndpointIndependent,
        MappingBehavior::AddressDependent,
        MappingBehavior::AddressAndPortDependent,
    ];
    let filters = [
        FilteringBehavior::Unknown,
        FilteringBehavior::EndpointIndependent,
        FilteringBehavior::AddressDependent,
        FilteringBehavior::AddressAndPortDependent,
    ];
    let allocations = [
        PortAllocation::Sequential { step: 0 },
        PortAllocation::Sequential { step: 1 },
        PortAllocation::Sequential { step: i32::MAX },
        PortAllocation::Sequential { step: i32::MIN },
        PortAllocation::Random,
        PortAllocation::RandomInBlock { first: 0, last: u16::MAX },
        PortAllocation::RandomInBlock { first: 9, last: 3 },
        PortAllocation::Unknown,
    ];
    let rates = [f32::NAN, f32::INFINITY, -1.0, 1e30, 0.0, 50.0];
    NatProfile {
        mapping: mappings[rng.random_range(0..4)],
        filtering: filters[rng.random_range(0..4)],
        allocation: allocations[rng.random_range(0..8)],
        translated: Some(rng.random()),
        hairpin: Some(rng.random()),
        pooled: Some(rng.random()),
        udp_blocked: rng.random_bool(0.05),
        timeout: Some(Duration::from_secs(rng.random_range(0..u64::MAX / 2))),
        foreign_rate: Some(rates[rng.random_range(0..6)]),
        confidence: Confidence::Full,
        mapped: rng.random_bool(0.2),
        ..NatProfile::default()
    }
}

/// Returns addresses that must never be sent to, whoever names them.
fn unsendable() -> Vec<SocketAddr> {
    [
        "255.255.255.255:7",
        "224.0.0.1:5353",
        "239.255.255.250:1900",
        "0.0.0.0:53",
        "203.0.113.5:0",
        "[ff02::1]:7",
    ]
    .map(|address| address.parse().unwrap())
    .to_vec()
}

/// Returns addresses of networks that are nobody's business.
fn private() -> Vec<SocketAddr> {
    ["127.0.0.1:22", "10.0.0.1:53", "169.254.1.1:80", "100.64.0.1:53", "[fe80::1]:5", "[fd00::1]:5"]
        .map(|address| address.parse().unwrap())
        .into_iter()
        .chain([SocketAddr::new(LAN_BYSTANDER, 53)])
        .collect()
}

/// Draws as many addresses as fit a plan, some of each kind.
fn addresses(rng: &mut ChaCha8Rng) -> Vec<SocketAddr> {
    let mut all = [unsendable(), private()].concat();
    for _ in 0..rng.random_range(1..60) {
        let victim = BYSTANDERS[rng.random_range(0..BYSTANDERS.len())];
        all.push(SocketAddr::new(victim, rng.random()));
    }
    // Which comes first matters: methods take one.
    let start = rng.random_range(0..all.len());
    all.rotate_left(start);
    all
}

fn plan(rng: &mut ChaCha8Rng, number: u64, key: [u8; 32]) -> PunchPlan {
    let mut methods = Method::ALL.to_vec();
    methods.rotate_left(rng.random_range(0..6));
    methods.truncate(rng.random_range(0..=6));
    PunchPlan {
        match_id: MatchId(number),
        peer: nobody(number % 100),
        peer_ephemeral: key,
        pair_secret: [3; 32],
        hosting: rng.random(),
        role: if rng.random() { Role::Sending } else { Role::Receiving },
        same_nat: false,
        peer_public: addresses(rng),
        peer_local: private(),
        own_nat: absurd_nat(rng),
        peer_nat: absurd_nat(rng),
        methods,
        deadline_ms: u32::MAX,
        relay: rng.random::<bool>().then_some(RelayGrant {
            token: [9; traversal_core::wire::RELAY_HEADER - 1],
            bytes_per_second: u32::MAX,
            lifetime_s: u32::MAX,
        }),
        no_relay: None,
        epoch: if rng.random_bool(0.9) { 0 } else { u32::MAX },
        mesh: rng.random_bool(0.3),
        peer_rtt: Some(RoundTrip { ms: u32::MAX, spread_ms: u32::MAX }),
        peer_key: identity_of(number % 100).public_key(),
        spectator: false,
    }
}

fn facts(rng: &mut ChaCha8Rng) -> Facts {
    let victim = BYSTANDERS[rng.random_range(0..BYSTANDERS.len())];
    match rng.random_range(0..5) {
        0 => Facts::PeerPublic(addresses(rng)),
        1 => {
            let address = [SocketAddr::new(victim, rng.random()), unsendable()[rng.random_range(0..6)]];
            Facts::Newest {
                round: rng.random(),
                address: address[rng.random_range(0..2)],
                ahead: rng.random(),
            }
        }
        2 => Facts::Kept {
            round: rng.random(),
            ip: [victim, LAN_BYSTANDER][rng.random_range(0..2)],
            ports: (0..rng.random_range(0..400)).map(|_| rng.random::<u16>()).collect(),
        },
        _ => {
            let (first, last) = [(0, u16::MAX), (u16::MAX, 0), (1, 1023)][rng.random_range(0..3)];
            let step = [0, 1, -1, i32::MIN, i32::MAX][rng.random_range(0..5)];
            let ip = [victim, LAN_BYSTANDER, IpAddr::from([224, 0, 0, 1])][rng.random_range(0..3)];
            Facts::Range { round: rng.random(), ip, first, last, step }
        }
    }
}

#[test]
fn a_server_that_says_anything_cannot_have_a_player_break_its_caps() {
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut stage = Stage::new(seed, "fullcone", Link::delay(Duration::from_millis(10)));
        stage.log_in();
        let mut said = 0u64;
        let mut started: Vec<u64> = Vec::new();
        let end = stage.world.now() + Duration::from_secs(60);
        while stage.world.now() < end {
            let now = stage.world.instant();
            if stage.server().is_heard(now) {
                said += 1;
                let known = started.last().copied().unwrap_or(1);
                let key = stage::key_of_nobody();
                let message = match rng.random_range(0..10) {
                    0 => {
                        started.push(said);
                        ToPlayer::Plan(Box::new(plan(&mut rng, said, key)))
                    }
                    1..=3 => ToPlayer::Replan(Box::new(Replan {
                        match_id: MatchId(known),
                        role: Role::Receiving,
                        methods: Method::ALL
                            .map(|method| PlannedMethod { method, since: rng.random() })
                            .to_vec(),
                        own_nat: absurd_nat(&mut rng),
                        peer_nat: absurd_nat(&mut rng),
                        edition: rng.random(),
                    })),
                    _ => ToPlayer::Facts { match_id: MatchId(known), facts: facts(&mut rng) },
                };
                stage.say(&message);
            }
            let step = stage.world.now() + Duration::from_millis(rng.random_range(1..25));
            stage.world.run_until(step);
        }
        assert!(said > 500 && started.len() > 40, "{said} lies, {} plans", started.len());
        let caps = Caps::default();
        let stats = stage.world.stats(stage.victim);
        let second = stats.busiest_second;
        assert!(stats.to_players > 200, "seed {seed}: it does what a server says: {}", stats.to_players);
        assert!(second <= u64::from(caps.datagrams_per_second), "seed {seed}: {second} in a second");
        let sockets = stats.most_sockets;
        assert!(sockets <= 2 * caps.sockets_per_attempt as usize, "seed {seed}: {sockets} sockets at once");
        // Nothing to where nothing may go, and nothing into the own network without the bit.
        for to in stats.targets.keys() {
            assert!(traversal_core::is_sendable(*to), "seed {seed}: {to}");
            assert!(!traversal_core::is_local(to.ip()), "seed {seed}: {to} without the same-NAT bit");
            assert!(BYSTANDERS.contains(&to.ip()) || stage.is_own(to.ip()), "seed {seed}: {to}");
        }
        // What a bystander got in a minute: no more than the caps of all attempts that there was time for.
        let most = BYSTANDERS.map(|ip| stage.got(ip));
        assert!(
            most.iter().sum::<u64>() <= 60 * u64::from(caps.datagrams_per_second),
            "seed {seed}: {most:?}"
        );
        let player = stage.player();
        assert!(player.is_online(), "seed {seed}: still there");
        assert!(player.paths.is_empty() || player.paths.values().all(|path| path.remote.is_none()));
        // It stops when the lies stop.
        let end = stage.world.now() + Duration::from_secs(30);
        stage.world.run_until(end);
        let quiet = stage.world.stats(stage.victim).to_players;
        let end = stage.world.now() + Duration::from_secs(60);
        stage.world.run_until(end);
        let after = stage.world.stats(stage.victim).to_players - quiet;
        assert!(after <= 4, "seed {seed}: {after} datagrams a minute later");
    }
}

#[test]
fn one_plan_sends_a_stranger_no_more_than_one_attempt_may_cost_whatever_is_said_after_it() {
    let caps = Caps::default();
    for (number, method) in Method::ALL.into_iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(number as u64);
        let mut stage = Stage::new(7, "portrestricted", Link::delay(Duration::from_millis(10)));
        stage.log_in();
        let mut plan = plan(&mut rng, 1, stage::key_of_nobody());
        (plan.methods, plan.epoch, plan.mesh, plan.relay) = (vec![method], 0, false, None);
        (plan.own_nat, plan.peer_nat) = (NatProfile::default(), NatProfile::default());
        plan.peer_public = vec![SocketAddr::new(BYSTANDERS[0], 4000)];
        stage.say(&ToPlayer::Plan(Box::new(plan)));
        for edition in 0..200u32 {
            let step = stage.world.now() + Duration::from_millis(150);
            stage.world.run_until(step);
            stage.say(&ToPlayer::Replan(Box::new(Replan {
                match_id: MatchId(1),
                role: if edition % 2 == 0 { Role::Sending } else { Role::Receiving },
                methods: vec![PlannedMethod { method, since: edition as u8 }],
                own_nat: absurd_nat(&mut rng),
                peer_nat: absurd_nat(&mut rng),
                edition: edition as u8,
            })));
            let wide = Facts::Range { round: 0, ip: BYSTANDERS[0], first: 1024, last: u16::MAX, step: 1 };
            stage.say(&ToPlayer::Facts { match_id: MatchId(1), facts: wide });
        }
        let end = stage.world.now() + Duration::from_secs(20);
        stage.world.run_until(end);
        let stats = stage.world.stats(stage.victim);
        let (got, targets) = (stage.got(BYSTANDERS[0]), stats.targets.len());
        assert!(got <= u64::from(caps.datagrams_per_attempt), "{method:?}: {got} datagrams");
        assert!(targets <= caps.targets_per_attempt as usize + 4, "{method:?}: {targets} targets");
        assert!(stats.sockets_opened <= u64::from(caps.sockets_per_attempt) + 40, "{method:?}");
        let told = stage.player().events.iter().any(|(_, event)| matches!(event, Event::PeerFailed { .. }));
        assert!(told, "{method:?}: and the game is told how it ended");
        // Ten seconds, whatever deadline the server named.
        let reason = stage.player().failures[0].reason;
        assert!(reason != FailureReason::BadPlan, "{method:?}: it was tried");
    }
}

#[test]
fn a_network_of_ones_own_is_only_entered_with_the_bit_and_then_under_the_caps() {
    for same_nat in [false, true] {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mut stage = Stage::new(9, "portrestricted", Link::delay(Duration::from_millis(10)));
        stage.log_in();
        for number in 0..20 {
            let mut plan = plan(&mut rng, 1 + number, stage::key_of_nobody());
            (plan.epoch, plan.mesh, plan.same_nat) = (0, false, same_nat);
            plan.methods = Method::ALL.to_vec();
            plan.peer_local = (0..30).map(|n| SocketAddr::new(LAN_BYSTANDER, 5000 + n)).collect();
            plan.peer_public = plan.peer_local.clone();
            stage.say(&ToPlayer::Plan(Box::new(plan)));
            let step = stage.world.now() + Duration::from_secs(1);
            stage.world.run_until(step);
        }
        let (got, second) = (stage.got(LAN_BYSTANDER), stage.world.stats(stage.victim).busiest_second);
        assert_eq!(got > 0, same_nat, "{got} datagrams");
        assert!(second <= u64::from(Caps::default().datagrams_per_second), "{second} in a second");
    }
}

#[test]
fn a_server_that_calls_strangers_its_own_sockets_gets_them_a_few_probes() {
    let mut stage = Stage::new(3, "portrestricted", Link::delay(Duration::from_millis(10)));
    let strangers = (0..60).map(|port| SocketAddr::new(BYSTANDERS[1], 2000 + port));
    let targets = stage.server().probe_targets.iter().copied().take(1).chain(strangers).chain(unsendable());
    let targets: Vec<SocketAddr> = targets.collect();
    stage.with_server(|server| {
        server.probe_targets = targets;
        server.other_family = (0..20).map(|n| format!("[2001:db8:9::{n}]:53").parse().unwrap()).collect();
    });
    stage.log_in();
    let end = stage.world.now() + Duration::from_secs(120);
    stage.world.run_until(end);
    let got = stage.got(BYSTANDERS[1]);
    // A classification is a few dozen datagrams, and is renewed after a while.
    assert!(got <= 200, "{got} probes in two minutes");
    for to in stage.world.stats(stage.victim).targets.keys() {
        assert!(traversal_core::is_sendable(*to), "{to}");
    }
}
