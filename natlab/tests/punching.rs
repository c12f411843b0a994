//! Punching where round trips are long, counters busy, and ports the inner ones: what the methods must do there.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::scenario::{Draw, JoinMoment, PairWorld, PairWorldSettings};
use traversal_core::wire::message::Method;
use traversal_core::{AgentConfig, Command, Detect, Event, RelayPolicy};

/// They are tidy worlds of the matrix, joined when both NATs are known, but for what is given here.
struct Worlds {
    draw: Draw,
    seeds: u64,
}

impl Worlds {
    fn new(seeds: u64) -> Self {
        let config = AgentConfig { relay: RelayPolicy::Never, ..AgentConfig::default() };
        Self { draw: Draw { config, ..Draw::tidy() }, seeds }
    }

    fn forced(mut self, method: Method) -> Self {
        self.draw.config.method = Some(method);
        self
    }

    /// Sets the delay one way between any two of players and server, in milliseconds, without loss.
    fn delay(mut self, ms: u64) -> Self {
        (self.draw.delay, self.draw.loss) = (Some(Duration::from_millis(ms)), Some(0.0));
        self
    }

    fn settings(&self, seed: u64, left: &str, right: &str) -> PairWorldSettings {
        let [left, right] = [left, right].map(|spec| spec.parse::<NatSpec>().unwrap());
        self.draw.settings(seed, &left, &right)
    }

    /// Counts the direct joins of all, and names the seeds of the others.
    fn direct(&self, left: &str, right: &str) -> (u64, Vec<u64>) {
        let joins = |seed: &u64| PairWorld::new(self.settings(*seed, left, right)).join().direct;
        let missed: Vec<u64> = (1..=self.seeds).filter(|seed| !joins(seed)).collect();
        (self.seeds - missed.len() as u64, missed)
    }
}

/// Round trips to the server up to those of a geostationary satellite at both ends (ITU-T G.114: 1,200 ms and less).
#[test]
fn m24_two_counting_nats_meet_at_any_round_trip_to_the_server() {
    for delay in [20, 120, 250, 400, 600] {
        let (direct, missed) = Worlds::new(30).delay(delay).direct("ps", "ps");
        assert!(direct >= 29, "{} ms: {direct} of 30 without {missed:?}", 2 * delay);
    }
}

#[test]
fn m24_n_can_be_set() {
    let mut worlds = Worlds::new(10).forced(Method::Prediction).delay(50);
    worlds.draw.cross = Some(0.0);
    worlds.draw.config.ports_ahead = Some(20);
    for seed in 1..=worlds.seeds {
        let report = PairWorld::new(worlds.settings(seed, "ps", "ps")).join();
        assert!(report.direct, "seed {seed}");
        let most = report.left.sockets.max(report.right.sockets);
        assert!((22..=24).contains(&most), "the game's, a probe's and n: {most}");
    }
}

/// The request to enter a room tells nothing of ports. They are seen after the host's yes, by a call and an answer from new
/// ports, so a host may take its time: in ten seconds each of these counters goes on by 200, farther than M24's n reaches.
#[test]
fn m23_a_host_that_takes_its_time_to_allow_a_join_costs_the_prediction_nothing() {
    let mut direct = 0;
    for seed in 1..=10 {
        let mut worlds = Worlds::new(1).forced(Method::Prediction).delay(50);
        worlds.draw.cross = Some(20.0);
        let mut settings = worlds.settings(seed, "ps", "ps");
        settings.auto_allow = false;
        let mut pair = PairWorld::new(settings);
        let (left, right) = (pair.left, pair.right);
        pair.act(left, |player, _| player.silent = true);
        assert!(pair.prepare(), "seed {seed}");
        pair.request();
        let asked = |pair: &PairWorld| {
            let mut events = pair.player(left).events.iter();
            events.find_map(|(_, event)| match event {
                Event::JoinRequest { join, .. } => Some(*join),
                _ => None,
            })
        };
        assert!(pair.wait(Duration::from_secs(5), |pair| asked(pair).is_some()), "seed {seed}");
        let join = asked(&pair).unwrap();
        let end = pair.world.now() + Duration::from_secs(10);
        pair.world.run_until(end);
        assert!(!pair.is_direct());
        pair.act(left, |player, now| {
            player.silent = false;
            player.command(now, Command::AnswerJoin { join, allow: true, reason: String::new() });
        });
        let yes = pair.world.now();
        if pair.wait(Duration::from_secs(10), PairWorld::is_direct) {
            let took = pair.world.now() - yes;
            // The yes and the plan, the call, its answer and the meeting: four round trips, and one try more.
            direct += u64::from(took <= Duration::from_millis(800));
        }
        assert!(pair.player(right).refusals.is_empty());
    }
    assert!(direct >= 9, "{direct} of 10 within eight round trips of the yes");
}

/// RFC 4787 section 4.2.1: the inner port is kept while it is free, for each destination anew.
#[test]
fn a_fresh_sockets_own_port_is_the_one_where_ports_are_kept_for_each_destination() {
    let kept = "ps,ports=preserving";
    for other in ["portrestricted", "restricted", "as", "ps", kept, "linux"] {
        for (left, right) in [(kept, other), (other, kept)] {
            let (direct, missed) = Worlds::new(30).direct(left, right);
            assert!(direct >= 29, "{left} - {right}: {direct} of 30 without {missed:?}");
        }
    }
}

#[test]
fn each_bracketing_method_alone_meets_kept_ports() {
    let kept = "ps,ports=preserving";
    for method in [Method::Bubble, Method::MultiBubble, Method::Prediction] {
        for (left, right) in [(kept, "portrestricted"), ("portrestricted", kept)] {
            let (direct, missed) = Worlds::new(10).forced(method).direct(left, right);
            assert!(direct >= 9, "{method:?}, {left} - {right}: {direct} of 10 without {missed:?}");
        }
    }
}

/// Linux gives a reply another port if the packet that it answers came in before (inbound-first clash). A player who joins
/// at once does not know the other's filter yet; guess and bubble must not both run into that.
#[test]
fn a_linux_router_that_nothing_is_known_of_is_met_as_fast_as_others() {
    for (left, right) in [("linux", "ps"), ("ps", "linux")] {
        let mut worlds = Worlds::new(20).delay(50);
        worlds.draw.join = Some(JoinMoment::AtOnce);
        let mut times: Vec<f64> = (1..=worlds.seeds)
            .map(|seed| {
                let report = PairWorld::new(worlds.settings(seed, left, right)).join();
                assert!(report.direct, "{left} - {right}, seed {seed}");
                report.confirmed.unwrap().as_secs_f64() / report.rtt.as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        assert!(times[times.len() / 2] <= 5.0, "{left} - {right}: {times:?} round trips");
    }
}

/// E2: what the peers measure themselves serves as well as what the server sees.
#[test]
fn m7_many_bubbles_with_ranges_that_the_peers_measure_themselves() {
    let mut worlds = Worlds::new(40).forced(Method::MultiBubble);
    worlds.draw.config.detect = Detect::Peer;
    for right in ["portrestricted", "ps"] {
        let (direct, missed) = worlds.direct("portrestricted", right);
        assert_eq!(direct, 40, "portrestricted - {right}: without {missed:?}");
    }
}

/// The busier counter's port is told at the moment of its use, the other's is foretold: a busy NAT costs little beside a
/// quiet one.
#[test]
fn m24_a_busy_counter_meets_a_quiet_one() {
    for rate in [100, 300] {
        for step in [1, 3] {
            let busy = format!("ps,ports=sequential:{step},cross={rate}");
            let mut worlds = Worlds::new(20);
            // What is asked here is the method; how such a counter is told from random ports is the classification's.
            worlds.draw.config.method = Some(Method::Prediction);
            let (direct, missed) = worlds.direct("ps", &busy);
            assert!(direct >= 18, "{rate} a second, step {step}: {direct} of 20 without {missed:?}");
        }
    }
}
