//! How a NAT chooses the port of a new mapping, told from the ports it gave to fresh sockets (M4).

use std::time::Duration;

use super::{FIRST_PORT, StepRule, detect_step, distance};
use crate::nat::PortAllocation;

/// A mapping that a NAT made for a socket that had none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshMapping {
    /// When the packet that made it was sent, counted from any fixed moment.
    pub sent: Duration,
    /// The socket's own port.
    pub local: u16,
    /// The port it got.
    pub external: u16,
    /// More than one packet was sent before this was known: which of them made the mapping is not sure.
    pub repeated: bool,
}

/// A counter with other machines' ports in between stays inside so many ports over the second or two of a
/// classification: 50 foreign ports a second, times 3 s, times a step of 3, with room.
const SEQUENTIAL_SPAN: u32 = 1024;
/// Random ports inside at most so many are called a block; 8 ports out of the whole space fall so near to each
/// other once in 250,000 times. RFC 7422 blocks are about half as large.
const BLOCK_SPAN: u32 = 8192;
/// No carrier gives a subscriber a block this small (RFC 7422 speaks of hundreds of ports at the least): ports that
/// lie so near to each other came from a counter, even where lost and repeated probes hide their order.
const COUNTER_SPAN: u32 = 128;
/// Below so many samples a block cannot be told from chance.
const BLOCK_SAMPLES: usize = 6;

/// What the ports of at least three fresh mappings, in the order of sending, say about the allocation. Preserving, if
/// two of three kept their own port (a port taken already is replaced on most NATs); sequential, if they lie near
/// to each other in the order of sending; random else, in a block if they lie near to each other without order.
pub fn allocation(mappings: &[FreshMapping], rule: StepRule) -> PortAllocation {
    if mappings.len() < 3 {
        return PortAllocation::Unknown;
    }
    let kept = mappings.iter().filter(|m| m.local == m.external).count();
    if kept * 3 >= mappings.len() * 2 {
        return PortAllocation::Preserving;
    }
    let (ordered, span) = along_the_counter(mappings);
    if span <= SEQUENTIAL_SPAN
        && let Some(step) = sequential_step(&ordered, rule, span <= COUNTER_SPAN)
    {
        return PortAllocation::Sequential { step };
    }
    if span <= BLOCK_SPAN && ordered.len() >= BLOCK_SAMPLES {
        return block(&ordered, span);
    }
    PortAllocation::Random
}

/// The mappings by rising port, starting behind the largest gap, since a counter may have started again; and how
/// many ports they cover.
fn along_the_counter(mappings: &[FreshMapping]) -> (Vec<FreshMapping>, u32) {
    let mut sorted = mappings.to_vec();
    // Those of one moment stand in the order of sending; a nanosecond apart they keep it through the next sort.
    for (mapping, nanos) in sorted.iter_mut().zip(0u64..) {
        mapping.sent += Duration::from_nanos(nanos);
    }
    sorted.sort_by_key(|m| m.external);
    sorted.dedup_by_key(|m| m.external);
    let seam = (1..sorted.len())
        .find(|i| u32::from(sorted[*i].external - sorted[*i - 1].external) > super::PORT_SPACE / 2);
    if let Some(seam) = seam {
        sorted.rotate_left(seam);
    }
    let span = match (sorted.first(), sorted.last()) {
        (Some(first), Some(last)) if seam.is_some() => {
            super::PORT_SPACE.saturating_add(last.external.into()).saturating_sub(first.external.into())
        }
        (Some(first), Some(last)) => u32::from(last.external - first.external),
        _ => 0,
    };
    (sorted, span)
}

/// `ordered` rises by port; a counter's ports rise or fall with time as well. A probe that was lost before the
/// NAT and repeated gets its port late: such ones are left out where enough others are there. `surely`: it is a
/// counter, only its direction is asked.
fn sequential_step(ordered: &[FreshMapping], rule: StepRule, surely: bool) -> Option<i32> {
    let (mut up, mut down) = (0u32, 0u32);
    let sure: Vec<_> = ordered.iter().filter(|m| !m.repeated).collect();
    let dated = if sure.len() >= 3 { sure } else { ordered.iter().collect() };
    for (i, earlier) in dated.iter().enumerate() {
        for later in &dated[i + 1..] {
            match earlier.sent.cmp(&later.sent) {
                std::cmp::Ordering::Less => up += 1,
                std::cmp::Ordering::Greater => down += 1,
                std::cmp::Ordering::Equal => {}
            }
        }
    }
    // Of eight random ports, three quarters of the pairs agree once in ten times; but they would have to lie close
    // together as well. Packets that overtook each other on the way to the NAT cost a pair or two.
    if !surely && (up.max(down) * 4 < (up + down) * 3 || up == down) {
        return None;
    }
    let ports: Vec<u16> = ordered.iter().map(|m| m.external).collect();
    let step = detect_step(&ports, rule)?;
    Some(if up >= down { step } else { -step })
}

/// The block's ends lie, on average, one gap outside of the outermost samples.
fn block(ordered: &[FreshMapping], span: u32) -> PortAllocation {
    let (Some(low), Some(high)) = (ordered.first(), ordered.last()) else { return PortAllocation::Random };
    if low.external > high.external {
        return PortAllocation::Random; // A block does not reach over the seam.
    }
    let margin = u16::try_from(span / (ordered.len() as u32 - 1)).unwrap_or(u16::MAX);
    PortAllocation::RandomInBlock {
        first: low.external.saturating_sub(margin).max(FIRST_PORT.min(low.external)),
        last: high.external.saturating_add(margin),
    }
}

/// Ports a second that other machines behind the same NAT took, from all ports that this player's packets got
/// over some time. `None` if the surely dated ones lie too near to each other in time to tell or the allocation is not sequential.
pub fn foreign_rate(mappings: &[FreshMapping], step: i32) -> Option<f32> {
    if step == 0 {
        return None;
    }
    // The moment of a repeated one's port is not known; its port is an own one all the same.
    let dated = || mappings.iter().filter(|m| !m.repeated);
    let first = dated().min_by_key(|m| m.sent)?;
    let last = dated().max_by_key(|m| m.sent)?;
    let time = last.sent.saturating_sub(first.sent);
    if time < Duration::from_millis(200) {
        return None;
    }
    let way = |m: &FreshMapping| distance(first.external, m.external) / step;
    let mut own: Vec<i32> = mappings.iter().map(way).filter(|w| *w > 0 && *w <= way(last)).collect();
    own.sort_unstable();
    own.dedup();
    let foreign = (way(last) - own.len() as i32).max(0);
    Some(foreign as f32 / time.as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ports: &[u16]) -> Vec<FreshMapping> {
        let mapping = |(i, external): (usize, &u16)| FreshMapping {
            sent: Duration::from_millis(i as u64),
            local: 50_000 + i as u16,
            external: *external,
            repeated: false,
        };
        ports.iter().enumerate().map(mapping).collect()
    }

    #[test]
    fn a_counter_is_one_even_where_its_order_is_lost() {
        assert_eq!(
            told(&[42_051, 42_069, 42_057, 42_063, 42_060, 42_075]),
            PortAllocation::Sequential { step: 3 }
        );
    }

    fn told(ports: &[u16]) -> PortAllocation {
        allocation(&seen(ports), StepRule::Gcd)
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
        let ports = [2_000, 2_001, 2_030, 2_002, 2_003, 2_004, 2_005, 2_006];
        assert_eq!(told(&ports), PortAllocation::Sequential { step: 1 });
        let mut three = seen(&[2_000, 2_044, 2_041, 2_002, 2_003]);
        three[1].repeated = true;
        three[2].repeated = true;
        assert_eq!(allocation(&three, StepRule::Gcd), PortAllocation::Sequential { step: 1 });
    }

    #[test]
    fn m4_a_probe_lost_behind_the_nat_keeps_its_early_port() {
        // Seen in a simulated join: of eight probes of a counter by -1 three were lost between the NAT and the
        // server; their ports are the first ones, but they came in last.
        let mut lost = seen(&[16_262, 16_261, 16_259, 16_258, 16_257, 16_265, 16_264, 16_263]);
        for mapping in &mut lost[5..] {
            mapping.sent += Duration::from_millis(300);
        }
        assert_ne!(allocation(&lost, StepRule::Gcd), PortAllocation::Sequential { step: -1 }, "it matters");
        for mapping in &mut lost[5..] {
            mapping.repeated = true;
        }
        assert_eq!(allocation(&lost, StepRule::Gcd), PortAllocation::Sequential { step: -1 });
    }

    #[test]
    fn m4_preserving_even_if_one_port_was_taken() {
        assert_eq!(told(&[50_000, 50_001, 50_002]), PortAllocation::Preserving);
        assert_eq!(told(&[50_000, 50_001, 31_337, 50_003]), PortAllocation::Preserving);
    }

    #[test]
    fn m4_random() {
        assert_eq!(told(&[40_122, 1_999, 60_441, 22_020, 9_123, 33_333, 51_151]), PortAllocation::Random);
        assert_eq!(told(&[2_000, 30_000, 60_000]), PortAllocation::Random, "order alone is not a counter");
    }

    #[test]
    fn m4_random_inside_a_block() {
        let ports = [13_500, 12_200, 14_900, 15_800, 12_900, 14_100, 13_000, 15_200];
        let PortAllocation::RandomInBlock { first, last } = told(&ports) else {
            panic!("{:?}", told(&ports))
        };
        assert!(first <= 12_200 && last >= 15_800);
        assert!(last - first < 2 * (15_800 - 12_200));
    }

    #[test]
    fn m4_too_few_samples_say_nothing() {
        assert_eq!(told(&[2_000, 2_001]), PortAllocation::Unknown);
    }

    #[test]
    fn m24_foreign_rate_leaves_out_the_own_ports() {
        let at = |ms, external| FreshMapping {
            sent: Duration::from_millis(ms),
            local: 1,
            external,
            repeated: false,
        };
        // Five own ports and 20 foreign ones over one second, step 2.
        let mappings = [at(0, 3_000), at(0, 3_002), at(300, 3_020), at(600, 3_030), at(1_000, 3_048)];
        let rate = foreign_rate(&mappings, 2).unwrap();
        assert!((rate - 20.0).abs() < 0.01, "{rate}");
        assert_eq!(foreign_rate(&mappings[..2], 2), None, "no time went by");
        // A port made at the start, but seen late, does not hide what others took; it is an own one still.
        let late = FreshMapping { repeated: true, ..at(1_200, 3_004) };
        let with_late = [&mappings[..], &[late]].concat();
        let rate = foreign_rate(&with_late, 2).unwrap();
        assert!((rate - 19.0).abs() < 0.01, "{rate}");
        assert_eq!(foreign_rate(&[], 1), None);
    }
}
