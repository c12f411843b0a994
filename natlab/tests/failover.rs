//! What a change of path does to a game: real renet streams over the shipping agents, in virtual time. 60 unreliable
//! and 20 reliable messages a second each way.

#![allow(clippy::unwrap_used)]

mod stream;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::lobby::SimulatedProgram;
use natlab::nat::NatSpec;
use natlab::scenario::{Draw, PairWorld, PairWorldSettings};
use natlab::world::{Fate, HostId, Packet, World};
use stream::{SharedTally, Streams};
use traversal_core::{PathKind, RelayPolicy};

const SECOND: Duration = Duration::from_secs(1);

/// A game datagram is longer than this, and than any message of the agents.
const GAME_DATAGRAM: usize = 120;

/// When the network lost a game datagram.
type Lost = Rc<RefCell<Vec<Duration>>>;

/// Notes every game datagram that a link loses.
fn watch_losses(world: &mut World<SimulatedProgram>) -> Lost {
    let lost = Lost::default();
    let seen = Rc::clone(&lost);
    world.add_tap(Box::new(move |fate: Fate, packet: &Packet<'_>| {
        // What is longer is a test of what passes.
        let length = packet.payload.len();
        if fate == Fate::Lost
            && length > GAME_DATAGRAM
            && length < traversal_core::wire::sizes::LEAST_DATAGRAM
        {
            seen.borrow_mut().push(packet.at);
        }
    }));
    lost
}

fn nat(name: &str) -> NatSpec {
    name.parse().unwrap()
}

/// Draws a world from its seed: round trips of 20 to 300 ms, unequal legs, jitter, and this loss.
fn drawn(seed: u64, left: &str, right: &str, loss: f64) -> Play {
    let draw = Draw { loss: Some(loss), cross: Some(5.0), ..Draw::tidy() };
    Play::new(draw.settings(seed, &nat(left), &nat(right)))
}

/// They are two players with renet between them.
struct Play {
    pair: PairWorld,
    /// What each side sent and got.
    tallies: [SharedTally; 2],
    /// The network lost game datagrams at these times.
    lost: Lost,
}

impl Play {
    fn new(settings: PairWorldSettings) -> Self {
        let mut pair = PairWorld::new(settings);
        let tallies = [SharedTally::default(), SharedTally::default()];
        for (host, tally) in [pair.left, pair.right].into_iter().zip(&tallies) {
            let streams = Streams::new(tally.clone());
            pair.act(host, |player, _| player.play(Box::new(streams)));
        }
        let lost = watch_losses(&mut pair.world);
        Self { pair, tallies, lost }
    }

    fn hosts(&self) -> [HostId; 2] {
        [self.pair.left, self.pair.right]
    }

    /// Joins, and plays until both have a direct path; false where there is none within 12 s.
    fn direct(&mut self) -> bool {
        assert!(self.pair.prepare(), "not ready");
        self.pair.request();
        self.pair.wait(12 * SECOND, PairWorld::is_direct)
    }

    fn run(&mut self, time: Duration) {
        let end = self.pair.world.now() + time;
        self.pair.world.run_until(end);
    }

    fn kinds(&self) -> [Option<PathKind>; 2] {
        self.hosts().map(|host| self.pair.player(host).paths.values().next().map(|path| path.kind))
    }

    /// Returns how often the paths of both changed since then.
    fn changes_since(&self, at: Duration) -> usize {
        let at = self.pair.world.instant_at(at);
        self.tallies
            .iter()
            .map(|tally| tally.borrow().moves.iter().filter(|moved| **moved > at).count())
            .sum()
    }

    /// All that was reliable and is three seconds old has arrived, in order.
    fn assert_reliable(&self, told: &str) {
        let settled = self.pair.world.instant() - 3 * SECOND;
        for (from, to) in [(0, 1), (1, 0)] {
            let (sent, got) = (self.tallies[from].borrow(), self.tallies[to].borrow());
            let due = sent.reliable_sent.iter().filter(|at| **at <= settled).count();
            let arrived: Vec<u32> = got.reliable_got.clone();
            assert!(arrived.len() >= due, "{told}: {} of {due} reliable messages", arrived.len());
            assert!(
                arrived.iter().copied().eq(0..arrived.len() as u32),
                "{told}: reliable messages out of order"
            );
            assert!(due > 20, "{told}: hardly anything was sent");
        }
    }

    /// Counts unreliable messages sent in this time that never arrived, beside those that the network itself lost.
    fn missing(&self, since: Duration, until: Duration) -> [i64; 2] {
        let [since_at, until_at] = [since, until].map(|time| self.pair.world.instant_at(time));
        let network =
            self.lost.borrow().iter().filter(|at| (since..until + SECOND).contains(*at)).count() as i64;
        [(0, 1), (1, 0)].map(|(from, to)| {
            let (sent, got) = (self.tallies[from].borrow(), self.tallies[to].borrow());
            let missing = sent.unreliable_sent.iter().enumerate().filter(|(n, at)| {
                (since_at..until_at).contains(*at) && !got.unreliable_got.contains_key(&(*n as u32))
            });
            missing.count() as i64 - network
        })
    }

    /// Returns the time from `death` to the arrival of the first message that was sent after it, on both sides the
    /// later one.
    fn silence(&self, death: Duration) -> Duration {
        let death = self.pair.world.instant_at(death);
        let flows = [(0, 1), (1, 0)].map(|(from, to)| {
            let (sent, got) = (self.tallies[from].borrow(), self.tallies[to].borrow());
            let arrivals =
                got.unreliable_got.iter().filter(|(n, _)| sent.unreliable_sent[**n as usize] >= death);
            arrivals.map(|(_, at)| *at - death).min().unwrap_or(Duration::MAX)
        });
        flows[0].max(flows[1])
    }

    /// Returns the addresses under which the two are seen.
    fn public(&self) -> [std::net::IpAddr; 2] {
        [(self.pair.left, &self.pair.left_nats), (self.pair.right, &self.pair.right_nats)].map(
            |(host, nats)| match nats.last().map(|nat| self.pair.world.nat(*nat)) {
                Some(nat) if nat.config().translates() => nat.external()[0],
                _ => self.pair.world.local(host, 0).unwrap().ip(),
            },
        )
    }

    fn cut(&mut self, cut: bool) {
        let [left, right] = self.public();
        self.pair.world.cut(left, right, cut);
        self.pair.world.cut(right, left, cut);
    }
}

/// They are pairs that begin over the relay, and such that are direct from the start.
const PAIRS: [(&str, &str); 6] = [
    ("portrestricted", "ps"),
    ("as", "ps"),
    ("ps", "ps"),
    ("portrestricted", "portrestricted"),
    ("none", "fullcone"),
    ("restricted", "as"),
];

#[test]
fn the_way_up_from_the_relay_costs_no_reliable_message_and_hardly_another() {
    let mut upgrades = 0;
    for loss in [0.0, 0.02, 0.1] {
        for (index, (left, right)) in PAIRS.into_iter().enumerate() {
            for seed in 0..8 {
                let seed = seed + 100 * index as u64;
                let told = format!("{left} - {right}, seed {seed}, loss {loss}");
                let mut play = drawn(seed, left, right, loss);
                assert!(play.direct(), "{told}: not direct");
                let (began, direct) = (play.pair.requested(), play.pair.world.now());
                play.run(5 * SECOND);
                upgrades += play.changes_since(began);
                play.assert_reliable(&told);
                let missing = play.missing(began, direct + 3 * SECOND);
                assert!(
                    missing.iter().all(|missing| *missing < 3),
                    "{told}: {missing:?} unreliable ones missing"
                );
            }
        }
    }
    assert!(upgrades > 100, "{upgrades}: the relay came first in many of them");
}

#[derive(Clone, Copy, Debug)]
enum Death {
    /// The internet between the two carries nothing.
    Cut,
    /// It carries nothing from the left one to the right one.
    CutOneWay,
    /// The left one's NAT forgets everything.
    Reboot,
}

fn dies(seed: u64, (left, right): (&str, &str), loss: f64, death: Death) -> f64 {
    let told = format!("{left} - {right}, seed {seed}, loss {loss}, {death:?}");
    let mut play = drawn(seed, left, right, loss);
    assert!(play.direct(), "{told}: not direct");
    play.run(4 * SECOND);
    let at = play.pair.world.now();
    match death {
        Death::Cut => play.cut(true),
        Death::CutOneWay => {
            let [left, right] = play.public();
            play.pair.world.cut(left, right, true);
        }
        Death::Reboot => {
            let nat = play.pair.left_nats[0];
            play.pair.world.nat_mut(nat).reboot();
        }
    }
    play.run(6 * SECOND);
    play.assert_reliable(&told);
    let silence = play.silence(at);
    let bound = Duration::from_millis(1500) + play.pair.settings().mean_rtt();
    assert!(silence <= bound, "{told}: {silence:?} of silence, {bound:?} allowed");
    // And it goes on flowing.
    let now = play.pair.world.now();
    let missing = play.missing(now - 3 * SECOND, now - SECOND);
    assert!(missing.iter().all(|missing| *missing < 3), "{told}: {missing:?} missing afterwards");
    if matches!(death, Death::Cut) {
        assert_eq!(play.kinds(), [Some(PathKind::Relay); 2], "{told}");
    }
    silence.as_secs_f64()
}

#[test]
fn a_direct_way_that_dies_silently_is_left_within_a_second_and_a_half() {
    let (mut shortest, mut worst) = (f64::MAX, 0.0_f64);
    for death in [Death::Cut, Death::CutOneWay, Death::Reboot] {
        for loss in [0.0, 0.02, 0.1] {
            for (index, pair) in PAIRS.into_iter().enumerate() {
                // Whoever has no NAT has none that could forget.
                if pair.0 == "none" && matches!(death, Death::Reboot) {
                    continue;
                }
                for seed in 0..6 {
                    let silence = dies(1000 + seed + 100 * index as u64, pair, loss, death);
                    (shortest, worst) = (shortest.min(silence), worst.max(silence));
                }
            }
        }
    }
    println!("{shortest:.3} to {worst:.3} s of silence");
    assert!(worst > 0.3, "{worst}: so short that the way did not die at all");
}

#[test]
fn once_the_way_is_good_again_the_game_comes_back_to_it() {
    for (index, (left, right)) in PAIRS.into_iter().enumerate() {
        for death in [Death::Cut, Death::Reboot] {
            let told = format!("{left} - {right}, {death:?}");
            let mut play = drawn(40 + index as u64, left, right, 0.02);
            assert!(play.direct(), "{told}: not direct");
            play.run(4 * SECOND);
            match death {
                Death::Cut => {
                    play.cut(true);
                    play.run(6 * SECOND);
                    assert_eq!(play.kinds(), [Some(PathKind::Relay); 2], "{told}");
                    play.cut(false);
                }
                _ => {
                    if left == "none" {
                        continue;
                    }
                    let nat = play.pair.left_nats[0];
                    play.pair.world.nat_mut(nat).reboot();
                    play.run(2 * SECOND);
                }
            }
            let back = play.pair.wait(40 * SECOND, PairWorld::is_direct);
            assert!(back, "{told}: still {:?}", play.kinds());
            play.run(4 * SECOND);
            play.assert_reliable(&told);
        }
    }
}

#[test]
fn a_way_that_comes_and_goes_does_not_make_the_game_hop() {
    let mut play = drawn(7, "portrestricted", "portrestricted", 0.0);
    assert!(play.direct());
    let began = play.pair.world.now();
    for n in 0..40 {
        play.cut(n % 2 == 0);
        play.run(Duration::from_millis(1700));
    }
    // 20 deaths in 68 s would be 80 changes of both sides; each waits longer after each fall.
    let changes = play.changes_since(began);
    assert!((2..=20).contains(&changes), "{changes} changes of both sides in 68 s");
    play.assert_reliable("a way that comes and goes");
}

#[test]
fn lost_packets_are_no_reason_to_leave_a_way() {
    for seed in 0..6 {
        let mut play = drawn(seed, "portrestricted", "restricted", 0.1);
        assert!(play.direct());
        play.run(3 * SECOND);
        let began = play.pair.world.now();
        play.run(120 * SECOND);
        let changes = play.changes_since(began);
        assert!(changes <= 2, "seed {seed}: {changes} changes in two minutes at 10 % loss");
    }
}

#[test]
fn a_stall_of_everything_is_no_reason_either() {
    let mut play = drawn(3, "portrestricted", "portrestricted", 0.0);
    assert!(play.direct());
    play.run(4 * SECOND);
    let (began, nat) = (play.pair.world.now(), play.pair.right_nats[0]);
    let link = play.pair.settings().right_link.clone();
    for _ in 0..5 {
        play.pair.world.set_nat_link(nat, Link::both(Way { loss: 1.0, ..Way::default() }));
        play.run(Duration::from_millis(600));
        play.pair.world.set_nat_link(nat, link.clone());
        play.run(3 * SECOND);
    }
    assert_eq!(play.changes_since(began), 0, "the relay stalls with it");
    play.assert_reliable("a stall");
}

#[test]
fn without_a_relay_the_direct_way_is_found_again() {
    for (left, right) in
        [("portrestricted", "portrestricted"), ("restricted", "fullcone"), ("fullcone", "none")]
    {
        let mut settings = Draw { loss: Some(0.02), ..Draw::tidy() }.settings(5, &nat(left), &nat(right));
        settings.config.relay = RelayPolicy::Never;
        let mut play = Play::new(settings);
        assert!(play.direct(), "{left} - {right}");
        play.run(3 * SECOND);
        let (at, rebooted) = (play.pair.world.now(), play.pair.left_nats[0]);
        play.pair.world.nat_mut(rebooted).reboot();
        play.run(6 * SECOND);
        let silence = play.silence(at);
        assert!(silence < Duration::from_secs(3), "{left} - {right}: {silence:?} of silence");
        play.assert_reliable(&format!("{left} - {right}"));
    }
}
