//! Ports of single bursts, and of whole classifications over the worlds that players sit in. One file of over 400 lines,
//! since all of it shares the worlds.

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));

fn seen(ports: &[u16]) -> Vec<FreshMapping> {
    let mapping = |(i, external): (usize, &u16)| FreshMapping {
        sent: Duration::from_millis(i as u64),
        burst: 0,
        order: i as u32,
        local: 50_000 + 3 * i as u16,
        external: *external,
        address: HERE,
        repeated: false,
    };
    ports.iter().enumerate().map(mapping).collect()
}

fn told(ports: &[u16]) -> PortAllocation {
    allocation(&seen(ports), StepRule::Gcd).allocation
}

/// Returns the step that ports at these intervals show.
fn step_of(first: u16, intervals: &[i32], rule: StepRule) -> Option<i32> {
    let mut ports = vec![first];
    ports.extend(intervals.iter().scan(i32::from(first), |at, interval| {
        *at += interval;
        Some(*at as u16)
    }));
    match allocation(&seen(&ports), rule).allocation {
        PortAllocation::Sequential { step } => Some(step),
        _ => None,
    }
}

#[test]
fn m4_smallest_interval() {
    assert_eq!(step_of(2_000, &[12, 6, 18], StepRule::Min), Some(6));
}

#[test]
fn m4_greatest_common_divisor() {
    assert_eq!(step_of(2_000, &[12, 6, 9], StepRule::Gcd), Some(3));
    assert_eq!(step_of(2_000, &[12, 6, 9], StepRule::Min), Some(6));
    assert_eq!(step_of(2_000, &[8, 4, 8], StepRule::Gcd), Some(4));
}

#[test]
fn m4_steps_are_signed_by_the_majority() {
    assert_eq!(step_of(50_000, &[-4, -2, -6], StepRule::Min), Some(-2));
    assert_eq!(step_of(50_000, &[-4, 2, -6], StepRule::Gcd), Some(-2));
    assert_eq!(step_of(50_000, &[4, -2, 6], StepRule::Min), Some(2));
}

#[test]
fn m4_nothing_to_measure() {
    for rule in [StepRule::Min, StepRule::Gcd] {
        assert_eq!(step_of(5_000, &[], rule), None);
        assert_eq!(allocation(&[], rule), Estimate::default());
    }
}

#[test]
fn a_counter_is_one_even_where_its_order_is_lost() {
    let PortAllocation::Sequential { step } = told(&[42_051, 42_069, 42_057, 42_063, 42_060, 42_075]) else {
        panic!()
    };
    assert_eq!(step, 3);
}

#[test]
fn m4_sequential_with_signed_steps_and_foreign_ports() {
    assert_eq!(told(&[2_000, 2_001, 2_002]), PortAllocation::Sequential { step: 1 });
    assert_eq!(told(&[2_000, 2_009, 2_012, 2_024]), PortAllocation::Sequential { step: 3 });
    assert_eq!(told(&[2_000, 1_998, 1_990, 1_988]), PortAllocation::Sequential { step: -2 });
    assert_eq!(told(&[65_534, 65_535, 1_024, 1_026]), PortAllocation::Sequential { step: 1 });
}

#[test]
fn m4_a_repeated_probe_does_not_hide_the_counter() {
    // The third one was lost before the NAT and got its port last.
    let mut ports = seen(&[2_000, 2_001, 2_030, 2_002, 2_003, 2_004, 2_005, 2_006]);
    assert_eq!(allocation(&ports, StepRule::Gcd).allocation, PortAllocation::Sequential { step: 1 });
    ports[2].repeated = true;
    assert_eq!(allocation(&ports, StepRule::Gcd).allocation, PortAllocation::Sequential { step: 1 });
    let mut three = seen(&[2_000, 2_044, 2_041, 2_002, 2_003]);
    three[1].repeated = true;
    three[2].repeated = true;
    assert_eq!(allocation(&three, StepRule::Gcd).allocation, PortAllocation::Sequential { step: 1 });
}

#[test]
fn m4_a_probe_lost_behind_the_nat_keeps_its_early_port() {
    // Seen in a simulated join: of eight probes of a counter by -1 three were lost between the NAT and the
    // server; their ports are the first ones, but they came in last.
    let mut lost = seen(&[16_262, 16_261, 16_259, 16_258, 16_257, 16_265, 16_264, 16_263]);
    for mapping in &mut lost[5..] {
        mapping.sent += Duration::from_millis(300);
        mapping.repeated = true;
    }
    assert_eq!(allocation(&lost, StepRule::Gcd).allocation, PortAllocation::Sequential { step: -1 });
}

#[test]
fn m4_preserving_even_if_ports_were_taken() {
    assert_eq!(told(&[50_000, 50_003, 50_006]), PortAllocation::Preserving);
    assert_eq!(told(&[50_000, 50_003, 31_337, 50_009]), PortAllocation::Preserving);
    // A busy NAT: five of eight are held by others already.
    let busy = [50_000, 9_201, 31_337, 44_100, 50_012, 50_015, 12_345, 60_002];
    assert_eq!(told(&busy), PortAllocation::Preserving);
    // The first socket's further mappings find their port held by the first one.
    let mut per_destination = seen(&[50_000, 50_003, 50_006, 17_001, 29_555, 40_404, 2_222]);
    for mapping in &mut per_destination[3..] {
        mapping.local = 50_000;
    }
    let estimate = allocation(&per_destination, StepRule::Gcd);
    assert_eq!((estimate.allocation, estimate.confidence), (PortAllocation::Preserving, 1.0));
}

#[test]
fn m4_random() {
    assert_eq!(told(&[40_122, 1_999, 60_441, 22_020, 9_123, 33_333, 51_151]), PortAllocation::Random);
    assert_eq!(told(&[2_000, 30_000, 60_000]), PortAllocation::Random, "order alone is not a counter");
}

#[test]
fn m4_random_inside_a_block() {
    let ports = [13_507, 12_211, 14_924, 15_800, 12_938, 14_102, 13_041, 15_263];
    let PortAllocation::RandomInBlock { first, last } = told(&ports) else { panic!("{:?}", told(&ports)) };
    assert!(first <= 12_211 && last >= 15_800);
    assert!(last - first < 2 * (15_800 - 12_211));
}

#[test]
fn m4_too_few_samples_say_nothing() {
    assert_eq!(told(&[2_000, 2_001]), PortAllocation::Unknown);
    assert_eq!(told(&[]), PortAllocation::Unknown);
}

/// This is a generator of its own (SplitMix64), so that the numbers below stay what they are.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    fn poisson(&mut self, mean: f64) -> i64 {
        let (mut at, mut count) = (self.exponential(1.0), 0);
        while at < mean {
            at += self.exponential(1.0);
            count += 1;
        }
        count
    }
}

#[derive(Clone, Copy, Debug)]
enum Ports {
    /// The NAT counts with this step, in ports from the first to the last.
    Count(i64, u16, u16),
    Random,
    Block(u16),
    /// The NAT preserves ports, with this share of all of them held by others.
    Preserve(f64),
}

/// This is what lies between the sockets and the one who looks.
#[derive(Clone, Copy, Debug)]
struct Between {
    /// Others take so many ports a second.
    foreign: f64,
    /// So many seconds pass from one packet of a burst to the next at the NAT, on average.
    spread: f64,
    /// This share of the probes is not seen.
    loss: f64,
    /// Others overtake this share of the packets.
    reorder: f64,
    rtt: f64,
    addresses: u8,
    parity: bool,
    /// Several processors work on a burst at once.
    shuffled: bool,
}

/// Returns one of the worlds that the project is to stand: up to 1,000 foreign ports a second, log-uniform (issue 11,
/// item 6); round trips of 10 to 1,200 ms; loss up to 15 %; up to 1 % of packets out of order (Paxson 1997: 0.1 to 2
/// %); a burst that leaves a home in a millisecond, or one of 128 kbit/s with 5 ms a packet.
fn world(dice: &mut Dice) -> Between {
    let log_uniform = |dice: &mut Dice, low: f64, high: f64| low * (high / low).powf(dice.unit());
    Between {
        foreign: if dice.below(5) == 0 { 0.0 } else { log_uniform(dice, 1.0, 1_000.0) },
        spread: log_uniform(dice, 0.000_02, 0.005),
        loss: 0.15 * dice.unit(),
        reorder: 0.01 * dice.unit(),
        rtt: log_uniform(dice, 0.01, 1.2),
        addresses: 1,
        parity: false,
        shuffled: false,
    }
}

/// Returns the bursts of a classification as a server sees them that loses some.
fn classification(dice: &mut Dice, ports: Ports, way: Between) -> Vec<FreshMapping> {
    let mut counters: Vec<i64> = match ports {
        Ports::Count(_, first, last) => {
            let length = u64::from(last - first) + 1;
            (0..way.addresses).map(|_| dice.below(length) as i64).collect()
        }
        _ => vec![0; usize::from(way.addresses)],
    };
    let block = 1_024 + dice.below(48_000) as u16;
    let (mut now, mut order, mut mappings) = (0.0, 0, Vec::new());
    let mut taken = std::collections::BTreeSet::new();
    for (burst, (size, later)) in [(10, 0.0), (2, way.rtt), (2, 0.06), (2, 0.7)].into_iter().enumerate() {
        let mut sent: Vec<(f64, u32)> = (0..size).map(|i| (f64::from(i), i)).collect();
        for packet in &mut sent {
            if way.shuffled {
                packet.0 = dice.unit();
            } else if dice.unit() < way.reorder {
                packet.0 += dice.exponential(3.0);
            }
        }
        sent.sort_by(|a, b| a.0.total_cmp(&b.0));
        let began = now + later;
        for (_, i) in sent {
            let at = if now < began { began } else { now + dice.exponential(way.spread) };
            let address = dice.below(way.addresses.into()) as u8;
            // Slot 0 goes to three targets; evens first, as the classifier sends them.
            let slot = if burst == 0 { i.min(7) } else { 10 + 2 * burst as u32 + i };
            let local = 40_000 + if slot < 4 { 2 * slot } else { 2 * slot + 1 } as u16;
            let external = match ports {
                Ports::Count(step, first, last) => {
                    let length = i64::from(last - first) + 1;
                    let counter = &mut counters[usize::from(address)];
                    let foreign = dice.poisson(way.foreign * (at - now) / f64::from(way.addresses));
                    *counter += step * foreign;
                    loop {
                        *counter = (*counter + step).rem_euclid(length);
                        let mut port = first + *counter as u16;
                        if way.parity && port % 2 != local % 2 {
                            port ^= 1;
                        }
                        if taken.insert((address, port)) {
                            break port;
                        }
                    }
                }
                Ports::Random => 1_024 + dice.below(64_512) as u16,
                Ports::Block(size) => block + dice.below(size.into()) as u16,
                Ports::Preserve(held) if dice.unit() < held => 1_024 + dice.below(64_512) as u16,
                Ports::Preserve(_) => local,
            };
            now = at;
            if dice.unit() >= way.loss {
                mappings.push(FreshMapping {
                    sent: Duration::from_secs_f64(at),
                    burst: burst as u8,
                    order: order + i,
                    local,
                    external,
                    address: [203, 0, 113, address].into(),
                    repeated: false,
                });
            }
        }
        order += size;
    }
    mappings
}

/// There are more in a release build, for numbers to be printed (`cargo test --release -p traversal_core m4_ --
/// --nocapture`).
const MANY: u32 = if cfg!(debug_assertions) { 1 } else { 10 };

/// Shares of right, wrong and open answers among `runs` classifications, of all bursts and of the first one alone.
fn shares(
    name: &str,
    runs: u32,
    mut draw: impl FnMut(&mut Dice) -> (Ports, Between),
    right: impl Fn(Ports, PortAllocation) -> bool,
) -> [(f64, f64); 2] {
    let runs = runs * MANY;
    let mut counts = [[0u32; 3]; 2];
    for seed in 0..runs {
        let mut dice = Dice(u64::from(seed) << 20);
        let (ports, way) = draw(&mut dice);
        let all = classification(&mut dice, ports, way);
        let first: Vec<FreshMapping> = all.iter().filter(|m| m.burst == 0).copied().collect();
        for (count, seen) in counts.iter_mut().zip([all, first]) {
            let told = allocation(&seen, StepRule::Gcd).allocation;
            let index = match told {
                PortAllocation::Unknown => 2,
                told if right(ports, told) => 0,
                _ => 1,
            };
            count[index] += 1;
        }
    }
    let share = |n: u32| 100.0 * f64::from(n) / f64::from(runs);
    for (which, [right, wrong, open]) in ["all bursts", "first burst"].into_iter().zip(counts) {
        println!(
            "{name}, {runs} seeds, {which}: right {:.2} %, wrong {:.2} %, open {:.2} %",
            share(right),
            share(wrong),
            share(open)
        );
    }
    counts.map(|[right, wrong, _]| (share(right), share(wrong)))
}

fn is_counter(ports: Ports, told: PortAllocation) -> bool {
    matches!((ports, told), (Ports::Count(step, ..), PortAllocation::Sequential { step: told }) if i64::from(told) == step)
}

#[test]
fn m4_every_step_from_minus_64_to_64_is_told_whatever_others_take() {
    let mut step = -64;
    let draw = |dice: &mut Dice| {
        step = if step == 64 { -64 } else { step + 1 + i64::from(step == -1) };
        (Ports::Count(step, 1_024, 65_535), world(dice))
    };
    let [all, first] = shares("counters", 12_800, draw, is_counter);
    assert!(all.0 >= 99.0 && first.0 >= 98.0, "{all:?} {first:?}");
    assert!(all.1 <= 0.5 && first.1 <= 0.5, "{all:?} {first:?}");
}

#[test]
fn m4_a_counter_that_starts_again_within_a_small_range_is_one() {
    // Ranges of real NATs: Linux's 32768-60999, pf's 50001-65535, IANA's 49152-65535 and a carrier's 4,096.
    for (first, last) in [(32_768, 60_999), (50_001, 65_535), (49_152, 65_535), (20_000, 24_095)] {
        let draw = |dice: &mut Dice| {
            let step = [1, 2, 4, 16, -1, -2, -4, -16][dice.below(8) as usize];
            (Ports::Count(step, first, last), Between { foreign: 300.0 * dice.unit(), ..world(dice) })
        };
        let [all, _] = shares(&format!("counters in {first}-{last}"), 2_000, draw, is_counter);
        assert!(all.0 >= 98.0 && all.1 <= 1.0, "{first} to {last}: {all:?}");
    }
}

#[test]
fn m4_pools_and_parity_do_not_hide_a_counter() {
    let pool = |dice: &mut Dice| {
        let step = [1, 3, -2, 8][dice.below(4) as usize];
        (Ports::Count(step, 1_024, 65_535), Between { addresses: 4, ..world(dice) })
    };
    let [all, _] = shares("a pool of four", 2_000, pool, is_counter);
    assert!(all.0 >= 90.0 && all.1 <= 3.0, "{all:?}");
    // An odd step takes every second port of a parity, so 2 is right for a socket; an even one stays as it is.
    let parity = |dice: &mut Dice| {
        let step = [1, 2, 4, -2][dice.below(4) as usize];
        (Ports::Count(step, 1_024, 65_535), Between { parity: true, loss: 0.0, ..world(dice) })
    };
    let right = |ports: Ports, told: PortAllocation| {
        let Ports::Count(step, ..) = ports else { return false };
        let expected = if step % 2 == 0 { step } else { 2 * step };
        matches!(told, PortAllocation::Sequential { step } if i64::from(step) == expected)
    };
    let [all, _] = shares("parity", 2_000, parity, right);
    assert!(all.0 >= 98.0, "{all:?}");
}

#[test]
fn m4_a_nat_of_several_processors_that_shuffle_a_burst_is_a_counter_still() {
    let draw = |dice: &mut Dice| {
        let step = [1, 2, 4, 16][dice.below(4) as usize];
        let foreign = 200.0 * dice.unit();
        (
            Ports::Count(step, 1_024, 65_535),
            Between { shuffled: true, foreign, spread: 0.000_1, ..world(dice) },
        )
    };
    // The direction shows from burst to burst only.
    let size = |ports: Ports, told: PortAllocation| matches!((ports, told), (Ports::Count(step, ..), PortAllocation::Sequential { step: told }) if i64::from(told.abs()) == step);
    let [_, first] = shares("shuffled, without its sign", 2_000, draw, size);
    let [all, _] = shares("shuffled", 2_000, draw, is_counter);
    assert!(all.0 >= 99.0 && first.0 >= 99.0, "{all:?} {first:?}");
    let ports = seen(&[42_051, 42_069, 42_057, 42_063, 42_060, 42_075]);
    assert!(allocation(&ports, StepRule::Gcd).confidence < 0.9, "nor is it sure before");
}

#[test]
fn m4_what_does_not_count_is_never_taken_for_a_counter() {
    let random = |_: Ports, told| told == PortAllocation::Random;
    let draw = |dice: &mut Dice| (Ports::Random, world(dice));
    for (right, wrong) in shares("random", 20_000, draw, random) {
        assert!(right >= 99.5 && wrong <= 0.2, "{right} {wrong}");
    }
    for size in [512, 1_024, 4_032, 16_384] {
        let draw = |dice: &mut Dice| (Ports::Block(size), world(dice));
        let counter = |_: Ports, told| !matches!(told, PortAllocation::Sequential { .. });
        for (_, wrong) in shares(&format!("block of {size}, told a counter"), 5_000, draw, counter) {
            assert!(wrong <= 0.1, "{size}: {wrong}");
        }
        let block = |_: Ports, told| matches!(told, PortAllocation::RandomInBlock { .. });
        let [all, _] = shares(&format!("block of {size}, told a block"), 5_000, draw, block);
        assert!(all.0 >= 98.0, "{size}: {all:?}");
    }
}

#[test]
fn m4_ports_that_are_kept_where_free_are_never_taken_for_anything_else() {
    let draw = |dice: &mut Dice| (Ports::Preserve(0.5 * dice.unit()), world(dice));
    let kept = |_: Ports, told| told == PortAllocation::Preserving;
    let [all, first] = shares("preserving", 5_000, draw, kept);
    assert!(all.0 >= 99.9 && first.0 >= 99.0, "{all:?} {first:?}");
}

#[test]
fn m24_the_rate_is_told_as_well_as_so_many_ports_can_tell_it() {
    let mut off = Vec::new();
    for seed in 0..4_000u64 {
        let mut dice = Dice(seed << 20);
        let step = [1, 3, -2, 16, 64, -64][dice.below(6) as usize];
        let way = world(&mut dice);
        let mappings = classification(&mut dice, Ports::Count(step, 1_024, 65_535), way);
        let Some(rate) = super::super::foreign_rate(&mappings, step as i32) else { continue };
        // Standard deviation of a Poisson count over the time of all bursts, and of own ports that were lost.
        let time = way.rtt + 0.76;
        let deviation = (way.foreign / time).sqrt() + 2.0 / time;
        off.push((f64::from(rate) - way.foreign).abs() / deviation);
    }
    off.sort_by(f64::total_cmp);
    let (median, most) = (off[off.len() / 2], off[off.len() * 99 / 100]);
    println!("{} rates: median {median:.2}, 99th {most:.2} standard deviations off", off.len());
    assert!(off.len() > 3_700, "{}", off.len());
    assert!(median < 1.0 && most < 4.0, "{median} {most}");
}
