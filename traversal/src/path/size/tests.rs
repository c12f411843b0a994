//! The search on ways that take so much, lose so much, and change.

use super::*;

const IPV4_UDP: usize = 28;
const PING: Duration = Duration::from_millis(400);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// This is a way, with what is under way on it, and a player who pings.
struct SimulatedWay {
    search: SizeSearch,
    pulse: Pulse,
    now: Instant,
    rtt: Duration,
    /// This is longest IP packet that passes.
    mtu: usize,
    /// This is share of tests or answers that get lost, in per cent, and what decides which.
    loss: u64,
    random: u64,
    answers: Vec<(Instant, Instant, Option<usize>)>,
    next_ping: Instant,
    /// The game sends so many bytes, each 30 ms.
    game: Option<usize>,
    next_game: Instant,
    probes: usize,
    bytes: usize,
    dead: bool,
}

impl SimulatedWay {
    fn new(mtu: usize, rtt: Duration) -> Self {
        let now = Instant::now();
        let mut pulse = Pulse::new(None);
        pulse.answer(now, now.checked_sub(rtt).unwrap());
        let mut search = SizeSearch::new(false);
        search.begin(now);
        Self {
            search,
            pulse,
            now,
            rtt,
            mtu,
            loss: 0,
            random: 1,
            answers: Vec::new(),
            next_ping: now,
            game: None,
            next_game: now,
            probes: 0,
            bytes: 0,
            dead: false,
        }
    }

    fn is_lost(&mut self) -> bool {
        // Knuth's constants for a linear congruential generator.
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 100 < self.loss
    }

    fn test(&mut self, probe: Option<usize>) {
        let passes = probe.is_none_or(|length| length + IPV4_UDP <= self.mtu) && self.mtu > 0;
        if !self.is_lost() && passes {
            self.answers.push((self.now + self.rtt, self.now, probe));
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += ms(5);
            while let Some(at) = self.answers.iter().position(|(at, ..)| *at <= self.now) {
                let (_, sent, probe) = self.answers.remove(at);
                self.pulse.answer(self.now, sent);
                self.search.answered(self.now, sent, probe);
            }
            if self.next_ping <= self.now {
                self.next_ping = self.now + PING;
                self.pulse.ping(self.now);
                self.test(None);
            }
            if let Some(length) = self.game.filter(|_| self.next_game <= self.now) {
                self.next_game = self.now + ms(30);
                self.search.sent(length.min(self.search.present()));
            }
            let mut tests = Vec::new();
            self.search.begin(self.now);
            self.dead |= !self.search.handle_timeout(self.now, &self.pulse, &mut tests);
            assert!(self.search.poll_timeout().is_none_or(|at| at > self.now), "it asks for a time to come");
            for length in tests {
                self.probes += usize::from(length > 0);
                self.bytes += length;
                self.test((length > 0).then_some(length));
            }
        }
    }
}

#[test]
fn most_ways_show_all_they_carry_with_two_probes() {
    let mut way = SimulatedWay::new(1500, ms(50));
    assert_eq!((way.search.present(), way.search.carries()), (LEAST_DATAGRAM, Carries::Unknown));
    way.run(ms(60));
    assert_eq!((way.search.present(), way.search.carries()), (FULL_DATAGRAM, Carries::Full));
    way.run(ms(60));
    assert_eq!(way.search.present(), MAX_DATAGRAM);
    way.run(Duration::from_secs(60));
    assert_eq!(way.probes, 2, "nothing is asked of a way that the game does not use");
}

/// These are the MTUs of Ethernet, PPPoE (RFC 2516), tunnels, WireGuard, mobile carriers, and the least of IPv6.
#[test]
fn what_a_way_carries_is_found_within_seconds_and_a_few_bytes() {
    for mtu in [1500, 1492, 1480, 1460, 1440, 1420, 1400, 1380, 1358, 1300, 1280, 1270, 1250] {
        for rtt in [20, 100, 300] {
            let mut way = SimulatedWay::new(mtu, ms(rtt));
            way.run(ms(rtt * 30 + 1500));
            let found = way.search.present();
            let most = mtu - IPV4_UDP;
            assert!(found <= most && found + GRAIN > most, "{found} of {most} at {rtt} ms");
            assert!(way.probes <= 25, "{} probes for {mtu}", way.probes);
            assert_eq!(way.search.phase, Phase::Complete, "{mtu} at {rtt} ms");
        }
    }
}

#[test]
fn a_way_that_passes_short_datagrams_only_is_told_apart_and_tried_again() {
    let mut way = SimulatedWay::new(1000, ms(50));
    way.run(ms(1000));
    assert_eq!((way.search.present(), way.search.carries()), (LEAST_DATAGRAM, Carries::Short));
    let probes = way.probes;
    way.run(Duration::from_secs(60));
    assert!(way.probes - probes <= 6 * 7, "{} probes a minute", way.probes - probes);
    way.mtu = 1500;
    way.run(Duration::from_secs(12));
    assert_eq!((way.search.present(), way.search.carries()), (MAX_DATAGRAM, Carries::Full));
}

#[test]
fn a_black_hole_is_noticed_within_a_second_of_play_and_everything_passes_from_then_on() {
    for (rtt, mtu) in [(10, 1280), (50, 1400), (100, 1280), (200, 1280), (100, 700)] {
        let mut way = SimulatedWay::new(1500, ms(rtt));
        way.game = Some(1420);
        way.run(Duration::from_secs(10));
        assert_eq!(way.search.present(), MAX_DATAGRAM);
        way.mtu = mtu;
        let begins = way.now;
        while way.search.present() + IPV4_UDP > mtu && way.now < begins + ms(3000) {
            way.run(ms(5));
        }
        let took = way.now - begins;
        assert!(took <= ms(1000), "{took:?} at {rtt} ms");
        way.run(Duration::from_secs(8));
        let found = way.search.present();
        let most = mtu - IPV4_UDP;
        assert!(found <= most, "{found} of {most}");
        assert!(if mtu < 1228 { found == LEAST_DATAGRAM } else { found + GRAIN > most }, "{found} of {most}");
    }
}

#[test]
fn play_costs_no_more_than_four_probes_a_second_as_long_as_what_is_sent() {
    let mut way = SimulatedWay::new(1500, ms(50));
    way.run(Duration::from_secs(5));
    let (probes, bytes) = (way.probes, way.bytes);
    way.game = Some(700);
    way.run(Duration::from_secs(60));
    assert!((way.probes - probes) <= 4 * 60 && way.bytes - bytes <= 4 * 60 * 700);
    assert!(way.probes - probes >= 60, "it is asked");
    // Short ones are not worth asking for.
    let probes = way.probes;
    way.game = Some(300);
    way.run(Duration::from_secs(60));
    assert!(way.probes <= probes + 1);
}

#[test]
fn what_the_system_refuses_is_not_sent_again() {
    let mut way = SimulatedWay::new(1280, ms(50));
    way.run(ms(70));
    assert_eq!(way.search.trial.map(|trial| trial.length), Some(MAX_DATAGRAM));
    let probes = way.probes;
    way.search.refused(way.now, MAX_DATAGRAM);
    assert!(way.search.trial.is_some_and(|trial| trial.length < MAX_DATAGRAM && trial.probes == 0));
    way.run(ms(2000));
    assert!(way.search.present() + GRAIN > 1252 && way.search.present() <= 1252);
    assert!(way.probes - probes < 20);
    // In play, as when another interface is taken.
    way.search.refused(way.now, 1230);
    assert_eq!((way.search.present(), way.search.carries()), (FULL_DATAGRAM, Carries::Full));
    way.search.refused(way.now, 1000);
    assert_eq!((way.search.present(), way.search.carries()), (LEAST_DATAGRAM, Carries::Short));
    way.search.refused(way.now, 100);
    assert_eq!(way.search.present(), LEAST_DATAGRAM, "there is nothing below");
}

#[test]
fn loss_is_not_taken_for_a_narrow_way() {
    let (mut short, mut narrow) = (0, 0);
    for seed in 0..200 {
        let mut way = SimulatedWay::new(1500, ms(80));
        (way.loss, way.random) = (28, seed * 7919 + 3);
        way.run(Duration::from_secs(10));
        short += usize::from(way.search.carries() == Carries::Short);
        narrow += usize::from(way.search.present() < MAX_DATAGRAM);
    }
    assert!(short <= 1 && narrow <= 30, "{short} taken for short, {narrow} for narrower, of 200");
}

#[test]
fn a_dead_way_is_given_up_and_costs_a_bounded_number_of_probes() {
    let mut way = SimulatedWay::new(0, ms(50));
    way.run(Duration::from_secs(1));
    assert_eq!(way.search.carries(), Carries::Unknown, "nothing is known of its length");
    let start = way.now;
    while !way.dead && way.now < start + Duration::from_secs(20) {
        way.run(ms(50));
    }
    assert!(way.dead && way.probes <= 20, "{} probes", way.probes);
}

#[test]
fn what_was_too_long_once_is_tried_again_after_ten_minutes() {
    let mut way = SimulatedWay::new(1400, ms(50));
    way.run(Duration::from_secs(5));
    way.mtu = 1500;
    way.run(Duration::from_secs(590));
    assert!(way.search.present() < 1400);
    way.run(Duration::from_secs(30));
    assert_eq!(way.search.present(), MAX_DATAGRAM);
}

/// A way that is dead for a while, over and over, loses short tests and long ones alike.
#[test]
fn a_way_that_comes_and_goes_is_not_taken_for_a_narrow_one() {
    for dead in [100, 300, 700, 1300] {
        let mut way = SimulatedWay::new(1500, ms(50));
        way.game = Some(1300);
        for _ in 0..40 {
            way.mtu = 0;
            way.run(ms(dead));
            way.mtu = 1500;
            way.run(ms(1700));
            assert_eq!(way.search.carries(), Carries::Full, "dead for {dead} ms");
        }
    }
}
