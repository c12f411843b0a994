//! What it takes to put waiting players together, without sessions: time and memory.
//!
//! `cargo bench -p lobby_server --bench matchmaking -- [PLAYERS] [MODES]`, two million players in twenty modes if nothing else
//! is said. Skills are spread as ratings are: a mean of 1,500 and a standard deviation of 350, which the Glicko system gives
//! to a player of whom nothing is known (Glickman, "Example of the Glicko-2 system", step 1). Tolerances are 50, 100, 200 in
//! steps of 5 s, and then any.
#![allow(clippy::unwrap_used)] // a bench is a test

use std::time::{Duration, Instant};

use lobby_server::measured::WaitingPlayers;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use traversal_core::wire::message::{NumberRule, QuickMatch, QuickRules};

fn main() {
    // `cargo test --all-targets` runs benches too, to see that they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let players = numbers.first().copied().unwrap_or(2_000_000);
    let modes = numbers.get(1).copied().unwrap_or(20);
    nobody_suits(players, modes);
    for size in [2, 10] {
        all_at_once(players, modes, size);
        arrivals(players.min(500_000), modes, size);
    }
}

fn wish(rng: &mut ChaCha20Rng, modes: u64, players: u16) -> QuickMatch {
    // The sum of twelve is near a normal distribution with a standard deviation of 1.
    let sum: f64 = (0..12).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX)).sum();
    let skill = (1500.0 + (sum - 6.0) * 350.0) as i32;
    let numbers = vec![NumberRule::new("skill", skill).within([50, 100, 200]).every(5).then_any()];
    let mode = format!("mode {}", rng.next_u64() % modes);
    QuickMatch {
        mode,
        players,
        rules: QuickRules { numbers, ..QuickRules::default() },
        ..QuickMatch::default()
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|kb| kb.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Times each call, and prints how long they took.
fn timed(what: &str, count: u64, mut call: impl FnMut(u64)) {
    let mut took: Vec<u32> = (0..count)
        .map(|index| {
            let begun = Instant::now();
            call(index);
            begun.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32
        })
        .collect();
    took.sort_unstable();
    let at = |share: f64| f64::from(took[((took.len() - 1) as f64 * share) as usize]) / 1000.0;
    let mean = took.iter().map(|ns| f64::from(*ns)).sum::<f64>() / took.len().max(1) as f64 / 1000.0;
    println!("  {what}: mean {mean:.1} us, p50 {:.1}, p99 {:.1}, max {:.1}", at(0.5), at(0.99), at(1.0));
}

/// The worst for the matchmaker: a second number keeps all apart, so everybody waits, and each look is in vain.
fn nobody_suits(players: u64, modes: u64) {
    println!("{players} players wait in {modes} modes, and nobody suits:");
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let mut waiting = WaitingPlayers::default();
    let start = Instant::now();
    let before = resident();
    let mut wanted = |number: u64| {
        let mut wanted = wish(&mut rng, modes, 2);
        wanted.rules.numbers.push(NumberRule::new("apart", number as i32));
        wanted
    };
    timed("one comes", players, |number| waiting.enter(start, number, &wanted(number)));
    println!("  memory: {} bytes for each who waits", (resident() - before) / players);
    timed("one more comes and is looked at", 20_000, |index| {
        waiting.enter(start, players + index, &wanted(players + index));
        assert_eq!(waiting.look(start, players + index), None);
    });
    let later = start + Duration::from_secs(6);
    timed("a turn of 32 whose tolerance has widened", 3_000, |_| {
        assert_eq!(waiting.look_at_due(later, 32), (32, 0));
    });
}

/// All wait already when the first one is looked at, as after a fault.
fn all_at_once(players: u64, modes: u64, size: u16) {
    println!("{players} players wait for matches of {size} in {modes} modes, and all are looked at:");
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    let mut waiting = WaitingPlayers::default();
    let start = Instant::now();
    for number in 0..players {
        waiting.enter(start, number, &wish(&mut rng, modes, size));
    }
    let mut matches = 0_u64;
    let begun = Instant::now();
    timed("a look", players, |number| matches += u64::from(waiting.look(start, number).is_some()));
    let each = begun.elapsed().as_secs_f64() * 1e6 / matches.max(1) as f64;
    println!("  {matches} matches, {each:.1} us for each; {} wait on", waiting.waiting());
}

/// 5,000 players come in a second, and those whose tolerance widens are looked at, in virtual time.
fn arrivals(players: u64, modes: u64, size: u16) {
    println!("5,000 players come in a second for matches of {size} in {modes} modes:");
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let mut waiting = WaitingPlayers::default();
    let start = Instant::now();
    let (mut played, mut most) = (0, 0);
    let begun = Instant::now();
    for number in 0..players {
        let now = start + Duration::from_micros(number * 200);
        waiting.enter(now, number, &wish(&mut rng, modes, size));
        played += waiting.look(now, number).unwrap_or(0);
        if number % 25 == 0 {
            played += waiting.look_at_due(now, 256).1;
        }
        most = most.max(waiting.waiting());
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / players as f64;
    println!("  {played} of {players} play, {each:.1} us for each; at most {most} waited at once");
}
