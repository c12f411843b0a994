//! The run-loop contract of agent and server: whoever was woken has put something out, or asks for a later time. The
//! simulator fails every run in which that is not so; here it gets worlds and starts that lead into many corners.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::oracle::Relation;
use natlab::scenario::{JoinMoment, PairWorld, PairWorldSettings};
use natlab::soak::{any, any_world};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::wire::message::Method;
use traversal_core::{Command, Detect, RelayPolicy};

/// Draws a world and a start of this seed: what is known at the join, who measures, what is allowed, how long things
/// may take.
fn any_start(seed: u64) -> PairWorldSettings {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0077_616b_6573);
    let mut settings = any_world(seed);
    settings.join = any(&mut rng, &[JoinMoment::AtOnce, JoinMoment::AtOnce, JoinMoment::HostKnown]);
    settings.config.detect = any(&mut rng, &[Detect::Server, Detect::Peer]);
    settings.config.relay = any(&mut rng, &[RelayPolicy::Allow, RelayPolicy::Never, RelayPolicy::Only]);
    settings.config.lan = rng.random();
    settings.config.tcp = rng.random();
    settings.config.search_wait = Duration::from_secs(any(&mut rng, &[0, 2, 60]));
    settings.config.connect_deadline = Duration::from_secs(any(&mut rng, &[0, 1, 10]));
    if rng.random_bool(0.3) {
        settings.config.method = Some(any(
            &mut rng,
            &[
                Method::Cone,
                Method::Bubble,
                Method::MultiBubble,
                Method::Prediction,
                Method::GiantStep,
                Method::Birthday,
            ],
        ));
    }
    settings
}

/// Both log in, one opens the room, the other asks to join before anything is known, and some things change on the way.
fn run(seed: u64, settings: PairWorldSettings) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7374_6172_7473);
    let mut pair = PairWorld::new(settings);
    if !pair.prepare() {
        return;
    }
    pair.request();
    let (left, right) = (pair.left, pair.right);
    for _ in 0..6 {
        let pause = Duration::from_secs_f64(rng.random_range(0.0..5.0));
        let end = pair.world.now() + pause;
        pair.world.run_until(end);
        let host = if rng.random() { left } else { right };
        match rng.random_range(0..7) {
            0 => pair.act(host, |player, now| {
                player.agent().handle_command(now, Command::LocalAddresses(vec![[10, 0, 0, 9].into()]));
            }),
            1 => pair.act(host, |player, now| player.command(now, Command::LeaveRoom)),
            2 => {
                pair.stop_server();
                let end = pair.world.now() + Duration::from_secs_f64(rng.random_range(0.0..8.0));
                pair.world.run_until(end);
                pair.start_server(seed);
                None
            }
            3 => {
                let nats = if host == left { &pair.left_nats } else { &pair.right_nats };
                for nat in nats.clone() {
                    pair.world.nat_mut(nat).reboot();
                }
                None
            }
            4 => pair.act(host, |player, now| player.command(now, Command::Disconnect)),
            5 => pair.act(host, |player, now| player.command(now, Command::ListRooms(Default::default()))),
            _ => None,
        };
    }
    let end = pair.world.now() + Duration::from_secs(12);
    pair.world.run_until(end);
}

#[test]
fn nobody_who_was_woken_asks_for_the_same_instant_in_random_worlds_from_random_starts() {
    for seed in 0..300 {
        run(seed, any_start(seed));
    }
}

/// An attempt that was told "no turn for your search" waited for one all the same, and asked to be woken at the instant
/// at which the search should have begun.
#[test]
fn a_search_whose_turn_was_called_off_before_it_began_does_not_ask_for_it_for_ever() {
    let nats = |name: &str| name.parse::<NatSpec>().unwrap().chain;
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (left, right) = (nats("psrandom"), nats("portrestricted"));
        let delay = Duration::from_secs_f64(rng.random_range(0.01..0.15));
        let mut settings = PairWorldSettings::equal(seed, &left, &right, delay);
        settings.relation = Relation::Apart;
        settings.join = JoinMoment::AtOnce;
        settings.config.relay = RelayPolicy::Never;
        for link in [&mut settings.left_link, &mut settings.right_link, &mut settings.server_link] {
            for way in [&mut link.up, &mut link.down] {
                way.loss = rng.random_range(0.0..0.1);
            }
        }
        PairWorld::new(settings).join();
    }
}
