//! Junk, forged, mutated, repeated datagrams, sent with the right source address: nobody falls over, nobody is cut
//! off, nothing is delivered twice.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::scenario::{PairWorld, PairWorldSettings};
use natlab::world::{Fate, Packet};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Recorded = Rc<RefCell<Vec<(usize, SocketAddr, SocketAddr, Vec<u8>)>>>;

fn connected(seed: u64) -> (PairWorld, Recorded) {
    let nat = "restricted".parse::<NatSpec>().unwrap().chain;
    let mut pair = PairWorld::new(PairWorldSettings::equal(seed, &nat, &nat, Duration::from_millis(30)));
    let recorded: Recorded = Recorded::default();
    let sink = Rc::clone(&recorded);
    pair.world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| {
        if let Fate::Delivered(host) = fate {
            let mut sink = sink.borrow_mut();
            // Enough to forge from, and no endless growth from our own forgeries.
            if sink.len() < 4000 {
                sink.push((host.0, packet.header.src, packet.header.dst, packet.payload.to_vec()));
            }
        }
    }));
    let report = pair.join();
    assert!(report.direct && report.played, "{:?}", report.cause);
    for host in [pair.left, pair.right] {
        pair.act(host, |player, now| player.keep_talking(now, 20));
    }
    (pair, recorded)
}

fn mutate(rng: &mut ChaCha8Rng, datagram: &[u8]) -> Vec<u8> {
    let mut forged = datagram.to_vec();
    match rng.random_range(0..4) {
        0 if !forged.is_empty() => {
            for _ in 0..rng.random_range(1..4) {
                let place = rng.random_range(0..forged.len());
                forged[place] ^= 1 << rng.random_range(0..8);
            }
        }
        1 => forged.truncate(rng.random_range(0..=datagram.len())),
        2 => forged.extend((0..rng.random_range(1..200)).map(|n: u32| n as u8)),
        _ => {
            // The first byte and the id stay, the rest is noise.
            let keep = forged.len().min(rng.random_range(1..20));
            rng.fill_bytes(&mut forged[keep..]);
        }
    }
    forged
}

#[test]
fn nobody_falls_over_or_is_cut_off() {
    for seed in 0..3 {
        let (mut pair, recorded) = connected(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ids = [pair.left, pair.right].map(|host| pair.player(host).id.unwrap());
        for round in 0..200 {
            let end = pair.world.now() + Duration::from_millis(20);
            pair.world.run_until(end);
            for host in [pair.left, pair.right, pair.server] {
                let known: Vec<_> =
                    recorded.borrow().iter().filter(|entry| entry.0 == host.0).cloned().collect();
                for _ in 0..6 {
                    let (_, src, dst, datagram) = known[rng.random_range(0..known.len())].clone();
                    let forged = match rng.random_range(0..4) {
                        0 => {
                            let mut noise = vec![0; rng.random_range(0..1500)];
                            rng.fill_bytes(&mut noise);
                            noise
                        }
                        1 => datagram,
                        _ => mutate(&mut rng, &datagram),
                    };
                    pair.world.inject_at_host(host, src, dst, forged);
                }
            }
            for (host, other) in [(pair.left, ids[1]), (pair.right, ids[0])] {
                assert_eq!(pair.player(host).disconnects, 0, "seed {seed}, round {round}");
                assert!(pair.player(host).is_direct(other), "seed {seed}, round {round}");
                assert!(pair.player(host).is_online(), "seed {seed}, round {round}");
            }
        }
        let end = pair.world.now() + Duration::from_secs(2);
        pair.world.run_until(end);
        let (left, right) = (pair.player(pair.left), pair.player(pair.right));
        for (from, to, from_id, to_id) in [(left, right, ids[0], ids[1]), (right, left, ids[1], ids[0])] {
            let (said, heard) = (from.said[&to_id], to.heard[&from_id]);
            assert!(heard <= said, "{heard} of {said}: something was delivered twice");
            // The last ones are still on their way.
            assert!(heard + 3 >= said, "{heard} of {said} arrived");
            assert!(said > 100);
        }
    }
}

#[test]
fn replayed_logins_do_not_throw_a_player_out() {
    let (mut pair, recorded) = connected(9);
    let to_server: Vec<_> =
        recorded.borrow().iter().filter(|entry| entry.0 == pair.server.0).cloned().collect();
    for (_, src, dst, datagram) in to_server {
        pair.world.inject_at_host(pair.server, src, dst, datagram);
    }
    let end = pair.world.now() + Duration::from_secs(60);
    pair.world.run_until(end);
    for host in [pair.left, pair.right] {
        assert!(pair.player(host).is_online());
        assert_eq!(pair.player(host).disconnects, 0);
    }
}
