//! Clocks and timers as systems have them: timers that come late, and machines that sleep, with clocks that count the sleep
//! or do not.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::scenario::{JoinReport, PairWorld, PairWorldSettings};
use natlab::soak::{self, any};
use natlab::world::{Fate, HostId, Packet};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::Method;
use traversal_core::{Command, Event, RelayPolicy};

/// Windows' timers usually step 64 times a second, by this time.
const WINDOWS: Duration = Duration::from_micros(15_625);

fn specs(left: &str, right: &str) -> [NatSpec; 2] {
    [left, right].map(|spec| spec.parse().unwrap())
}

/// Joins by this method alone, with every machine's timers in steps of `step`.
fn joins(method: Method, (left, right): (&str, &str), step: Duration, seeds: u64) -> Vec<JoinReport> {
    let [left, right] = specs(left, right);
    let run = |seed| {
        let mut settings =
            PairWorldSettings::equal(seed, &left.chain, &right.chain, Duration::from_millis(30));
        settings.config.method = Some(method);
        settings.config.relay = RelayPolicy::Never;
        let mut pair = PairWorld::new(settings);
        for host in [pair.left, pair.right, pair.server] {
            pair.world.set_timer_step(host, step);
        }
        let report = pair.join();
        for host in [pair.left, pair.right] {
            soak::check_caps(&pair, host, 1).unwrap_or_else(|why| panic!("seed {seed}, {method:?}: {why}"));
        }
        report
    };
    (0..seeds).map(run).collect()
}

#[test]
fn searches_reach_as_much_with_the_timers_of_windows_as_with_exact_ones() {
    for (method, left, right, seeds) in [
        (Method::Birthday, "psrandom", "portrestricted", 60),
        (Method::Birthday, "portrestricted", "psrandom", 60),
        (Method::GiantStep, "ps", "ps", 20),
        (Method::GiantStep, "ps,ports=sequential:3", "as", 20),
        (Method::Bubble, "ps,ports=sequential", "portrestricted", 20),
    ] {
        let count = |reports: &[JoinReport]| reports.iter().filter(|report| report.direct).count();
        let mean = |reports: &[JoinReport]| {
            let times: Vec<f64> = reports
                .iter()
                .filter_map(|report| [report.left.direct, report.right.direct].into_iter().flatten().max())
                .map(|time| time.as_secs_f64())
                .collect();
            times.iter().sum::<f64>() / times.len() as f64
        };
        let exact = joins(method, (left, right), Duration::ZERO, seeds);
        let coarse = joins(method, (left, right), WINDOWS, seeds);
        let told = format!(
            "{method:?}, {left} - {right}: {} of {seeds} in {:.2} s, {} in {:.2} s with steps of 15.6 ms",
            count(&exact),
            mean(&exact),
            count(&coarse),
            mean(&coarse)
        );
        println!("{told}");
        assert!(count(&coarse) + 1 >= count(&exact), "{told}");
        // A few waits of a step each; pacing itself is as fast.
        assert!(mean(&coarse) <= mean(&exact) * 1.15 + 0.1, "{told}");
    }
}

/// Counts the most datagrams that a machine sends in 100 ms.
fn watch_bursts(pair: &mut PairWorld, host: HostId) -> Rc<Cell<usize>> {
    let most = Rc::new(Cell::new(0));
    let (sink, mut recent) = (Rc::clone(&most), std::collections::VecDeque::new());
    pair.world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| {
        if fate == Fate::Sent(host) {
            recent.push_back(packet.at);
            while recent.front().is_some_and(|at| *at + Duration::from_millis(100) <= packet.at) {
                recent.pop_front();
            }
            sink.set(sink.get().max(recent.len()));
        }
    }));
    most
}

/// It says which machines sleep in a case.
#[derive(Clone, Copy, Debug)]
enum Sleepers {
    Left,
    Right,
    Server,
    Players,
    All,
}

/// They are the sleeps of a closed lid that is opened again soon, and of a phone in the pocket.
const SLEEPS: [Duration; 2] = [Duration::from_secs(40), Duration::from_secs(2 * 3600)];

/// Draws a pair of machines and their server; the moment at which some of them sleep, while they punch or play; how
/// fine timers are.
fn world(seed: u64) -> (PairWorld, Duration, Duration) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0073_6c65_6570);
    let (left, right) = any(
        &mut rng,
        &[
            ("ps", "ps"),
            ("portrestricted", "fullcone"),
            ("psrandom", "portrestricted"),
            ("portrestricted", "psrandom"),
        ],
    );
    let [left, right] = specs(left, right);
    let mut settings = PairWorldSettings::equal(seed, &left.chain, &right.chain, Duration::from_millis(30));
    settings.config.relay = any(&mut rng, &[RelayPolicy::Allow, RelayPolicy::Never]);
    let moment = any(&mut rng, &[0.05, 0.2, 1.0, 3.0, 30.0]) * rng.random_range(0.5..1.5);
    let step = any(&mut rng, &[Duration::ZERO, WINDOWS]);
    (PairWorld::new(settings), Duration::from_secs_f64(moment), step)
}

/// Returns the longest burst of each machine where nobody sleeps.
fn awake(seed: u64) -> [usize; 3] {
    let (mut pair, ..) = world(seed);
    assert!(pair.prepare());
    let bursts = [pair.left, pair.right, pair.server].map(|host| watch_bursts(&mut pair, host));
    pair.request();
    let end = pair.world.now() + Duration::from_secs(60);
    pair.world.run_until(end);
    bursts.map(|most| most.get())
}

/// Puts some of them to sleep.
fn sleep(seed: u64, sleepers: Sleepers, sleep: Duration, counted: bool) {
    let (mut pair, moment, step) = world(seed);
    // Far more than a pair does in so long a time; a loop would use it up.
    pair.world.limit_steps(2_000_000);
    let told = format!("seed {seed}: {sleepers:?} sleep {sleep:?} after {moment:?}, counted: {counted}");
    let hosts = match sleepers {
        Sleepers::Left => vec![pair.left],
        Sleepers::Right => vec![pair.right],
        Sleepers::Server => vec![pair.server],
        Sleepers::Players => vec![pair.left, pair.right],
        Sleepers::All => vec![pair.left, pair.right, pair.server],
    };
    for host in &hosts {
        pair.world.set_timer_step(*host, step);
    }
    assert!(pair.prepare(), "{told}");
    pair.request();
    let end = pair.world.now() + moment;
    pair.world.run_until(end);
    hosts.iter().for_each(|host| pair.world.suspend(*host));
    let end = pair.world.now() + sleep;
    pair.world.run_until(end);
    let bursts: Vec<_> =
        [pair.left, pair.right, pair.server].map(|host| watch_bursts(&mut pair, host)).into();
    hosts.iter().for_each(|host| pair.world.resume(*host, counted));

    // The longest wait between two tries of a login, twice, and an attempt.
    let (left, right) = (pair.left, pair.right);
    let online = |pair: &PairWorld| [left, right].iter().all(|host| pair.player(*host).is_online());
    let end = pair.world.now() + Duration::from_secs(180);
    pair.world.run_until(end);
    assert!(
        online(&pair),
        "{told}: both are logged in: {:?}",
        [left, right].map(|host| pair.player(host).lobby.clone())
    );
    // What one side takes for a session is one for the other, and every request has its answer.
    let ids = [left, right].map(|host| pair.player(host).id.unwrap());
    let connected =
        [pair.player(left).paths.contains_key(&ids[1]), pair.player(right).paths.contains_key(&ids[0])];
    assert_eq!(connected[0], connected[1], "{told}");
    let joiner = pair.player(right);
    let answered = |event: &Event| {
        matches!(event, Event::PeerConnected { .. } | Event::PeerFailed { .. } | Event::RequestFailed { .. })
    };
    assert!(joiner.events.iter().any(|(_, event)| answered(event)), "{told}: the join has an outcome");
    if connected[0] {
        talks(&mut pair, ids, &told);
    }
    let usual = awake(seed);
    for ((host, most), usual) in ["left", "right", "the server"].iter().zip(&bursts).zip(usual) {
        let most = most.get();
        assert!(
            most <= usual.max(BURST) + LOGIN,
            "{told}: {host} sent {most} in 100 ms, and {usual} without a sleep"
        );
    }
    is_answered(&mut pair, &told);
}

/// Game data goes both ways.
fn talks(pair: &mut PairWorld, ids: [PlayerId; 2], told: &str) {
    let (left, right) = (pair.left, pair.right);
    let heard = |pair: &PairWorld| {
        [(left, ids[1]), (right, ids[0])]
            .map(|(host, from)| pair.player(host).heard.get(&from).copied().unwrap_or(0))
    };
    let before = heard(pair);
    for host in [left, right] {
        pair.act(host, |player, now| player.keep_talking(now, 10));
    }
    let end = pair.world.now() + Duration::from_secs(5);
    pair.world.run_until(end);
    let more = [0, 1].map(|side| heard(pair)[side] - before[side]);
    assert!(more.iter().all(|more| *more >= 40), "{told}: the session carries {more:?}");
}

/// Whoever is logged in is answered.
fn is_answered(pair: &mut PairWorld, told: &str) {
    let (left, right) = (pair.left, pair.right);
    let lists = |pair: &PairWorld, host: HostId| {
        pair.player(host).events.iter().filter(|(_, event)| matches!(event, Event::Rooms(_))).count()
    };
    for host in [left, right] {
        let before = lists(pair, host);
        pair.act(host, |player, now| player.command(now, Command::ListRooms(Default::default())));
        assert!(
            pair.wait(Duration::from_secs(5), |pair| lists(pair, host) > before),
            "{told}: {host:?} is answered"
        );
    }
}

/// This many datagrams of a machine in 100 ms are no burst: what a search sends in that time (20), a row of replies and
/// their copies, a login and the probes of a classification.
const BURST: usize = 100;

/// What comes beside it where a login (3) and the probes of a classification (two from each of eight sockets) fall into the
/// same moment.
const LOGIN: usize = 19;

#[test]
fn whoever_slept_comes_back_and_everything_that_was_under_way_has_an_outcome() {
    let mut seed = 0;
    for sleepers in [Sleepers::Left, Sleepers::Right, Sleepers::Server, Sleepers::Players, Sleepers::All] {
        for time in SLEEPS {
            for counted in [false, true] {
                for _ in 0..5 {
                    sleep(seed, sleepers, time, counted);
                    seed += 1;
                }
            }
        }
    }
}
