//! NATs that forget, in a few lines.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::wire::port_report::ReportKey;

const RTT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
struct Nat {
    /// An idle mapping lives for so many seconds.
    lives: u64,
    /// What arrives refreshes it, too.
    inbound_refreshes: bool,
    /// A mapping made anew gets the same port again.
    preserving: bool,
    /// So many of a hundred packets are lost; the seed says which.
    loss: u32,
    seed: u64,
    /// The server does what it is asked for.
    server: bool,
}

const NAT: Nat =
    Nat { lives: 60, inbound_refreshes: false, preserving: true, loss: 0, seed: 1, server: true };

struct Run {
    lifetime: Lifetime,
    took: Duration,
    /// So many packets left the sockets, and requests went to the server.
    sent: u32,
    open: i32,
}

enum Coming {
    Report(u16, PortReport),
    Acknowledged(u16),
    Knock(u16),
}

/// Runs a search behind such a NAT; whatever comes takes one round trip.
fn run(nat: Nat) -> Run {
    let start = Instant::now();
    let mut now = start;
    let mut search = LifetimeSearch::new(RttEstimate::of(RTT));
    let key = ReportKey::new([1; 32]);
    let (mut next_port, mut sent, mut open) = (40_000u16, 0, 0);
    let mut rng = ChaCha8Rng::seed_from_u64(nat.seed);
    let mut lost = || rng.next_u32() % 100 < nat.loss;
    // Its port, and when it was refreshed.
    let mut mappings: BTreeMap<u16, (u16, Instant)> = BTreeMap::new();
    let mut coming: Vec<(Instant, Coming)> = Vec::new();
    let lives = Duration::from_secs(nat.lives);
    while !search.is_done() {
        while let Some(order) = search.poll_order() {
            match order {
                LifetimeOrder::OpenSocket { slot } => {
                    open += 1;
                    search.handle_socket(now, slot, true);
                }
                LifetimeOrder::CloseSocket { .. } => open -= 1,
                LifetimeOrder::Probe { slot } => {
                    sent += 1;
                    let fresh = if nat.preserving { 50_000 + slot } else { next_port };
                    let mapping = mappings.entry(slot).or_insert((fresh, now));
                    next_port += 1;
                    mapping.1 = now;
                    let observed = SocketAddr::from(([198, 51, 100, 1], mapping.0));
                    if !lost() && !lost() {
                        coming.push((now + RTT, Coming::Report(slot, key.sign(1, 0, observed))));
                    }
                }
                LifetimeOrder::Knock { slot, report } => {
                    sent += 1;
                    if !nat.server || lost() {
                        continue;
                    }
                    let mapping = mappings.get_mut(&slot).unwrap();
                    assert_eq!(report.observed.port(), mapping.0);
                    if !lost() {
                        coming.push((now + RTT, Coming::Acknowledged(slot)));
                    }
                    if now - mapping.1 <= lives && !lost() {
                        if nat.inbound_refreshes {
                            mapping.1 = now;
                        }
                        coming.push((now + RTT, Coming::Knock(slot)));
                    }
                }
            }
        }
        coming.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let due = search.poll_timeout();
        let Some(due) = due else { break };
        if coming.last().is_some_and(|(at, _)| *at <= due) {
            let (at, what) = coming.pop().unwrap();
            now = at;
            match what {
                Coming::Report(slot, report) => search.handle_report(now, slot, report),
                Coming::Acknowledged(slot) => search.handle_acknowledged(now, slot),
                Coming::Knock(slot) => search.handle_knock(slot),
            }
        } else {
            now = due;
            search.handle_timeout(now);
        }
    }
    while let Some(LifetimeOrder::CloseSocket { .. }) = search.poll_order() {
        open -= 1;
    }
    Run { lifetime: search.lifetime(), took: now - start, sent, open }
}

fn between(at_least: u64, below: u64) -> Lifetime {
    let seconds = |s| (s > 0).then_some(Duration::from_secs(s));
    Lifetime { at_least: seconds(at_least), below: seconds(below) }
}

#[test]
fn m31_finds_the_timeouts_in_use_whatever_the_ports() {
    for preserving in [true, false] {
        for inbound_refreshes in [true, false] {
            for (lives, expected) in [
                (5, between(0, 8)),
                (10, between(8, 18)),
                (20, between(18, 28)),
                (30, between(28, 58)),
                (60, between(58, 118)),
                (120, between(118, 178)),
                (300, between(178, 0)),
            ] {
                let run = run(Nat { lives, preserving, inbound_refreshes, ..NAT });
                assert_eq!(run.lifetime, expected, "{lives} s, {preserving}, {inbound_refreshes}");
                assert!(run.sent <= 6 * (1 + 12), "{}", run.sent);
                assert_eq!(run.open, 0, "every socket is given back");
            }
        }
    }
}

#[test]
fn m31_is_bounded_and_outlives_loss() {
    for seed in 0..200 {
        let run = run(Nat { lives: 120, loss: 10, seed, ..NAT });
        assert_eq!(run.lifetime, between(118, 178), "seed {seed}");
        assert!(run.took < Duration::from_secs(190), "{:?}", run.took);
    }
}

#[test]
fn m31_silence_of_the_server_is_no_word_about_the_nat() {
    // It refuses, was restarted, or knows no such request.
    let refused = run(Nat { server: false, ..NAT });
    assert_eq!(refused.lifetime, Lifetime::default(), "said, not guessed");
    assert!(refused.took < Duration::from_secs(190));
    assert_eq!(refused.open, 0);
    let unreachable = run(Nat { loss: 100, ..NAT });
    assert_eq!(unreachable.lifetime, Lifetime::default());
    assert!(unreachable.took < Duration::from_secs(60));
}

#[test]
fn what_nobody_asked_for_is_ignored() {
    let now = Instant::now();
    let mut search = LifetimeSearch::new(RttEstimate::default());
    let report = ReportKey::new([1; 32]).sign(1, 0, SocketAddr::from(([198, 51, 100, 1], 1)));
    for slot in [0, 3, 999] {
        search.handle_knock(slot);
        search.handle_acknowledged(now, slot);
        search.handle_report(now, slot, report);
    }
    search.handle_socket(now, 999, true);
    search.handle_timeout(now);
    assert_eq!(search.lifetime(), Lifetime::default());
    // A knock that comes while the socket is still to be silent is no proof of anything.
    search.handle_socket(now, 0, true);
    search.handle_report(now, 0, report);
    search.handle_knock(0);
    assert_eq!(search.lifetime(), Lifetime::default());
}
