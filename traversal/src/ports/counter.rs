//! Which counter, if any, is behind some ports: its step, its direction, and how likely the ports are if it is one.
//!
//! Packets that leave back to back meet a counter that nobody had time to move: their ports lie whole steps apart, with
//! the few ports in between that other machines took in that moment. Only such chains are compared port by port; how
//! far the counter went from one burst to the next says how busy the NAT is, but not whether it counts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::allocation::FreshMapping;
use super::step::{StepRule, gcd};
use super::{FIRST_PORT, PORT_SPACE};

/// A longer step than that is not believed: from the ports themselves it could hardly be told from chance.
const LONGEST_STEP: u32 = 1024;
/// Others may take so many ports between two packets of a burst, as means of an exponential mixture with weights. A
/// home's uplink sends a burst in less than a millisecond, one of 128 kbit/s needs 5 ms a packet: with 1,000 foreign
/// ports a second 1 and 5 ports.
const FOREIGN_BETWEEN: [(f64, f64); 7] =
    [(0.01, 0.2), (0.03, 0.2), (0.1, 0.2), (0.3, 0.15), (1.0, 0.12), (3.0, 0.1), (10.0, 0.03)];
/// Others of the same burst overtake this share of the packets before the NAT: 0.1 to 3 % of all packets are
/// reordered on paths of the internet (Bennett 1999, Paxson 1997 section 4), nearly none on a home's own link.
const OVERTAKEN: f64 = 0.03;
/// This share of NATs hands a burst to several processors, so that its order means nothing.
const SHUFFLED: f64 = 0.01;
/// In this share of bursts a counter starts again.
const SEAM: f64 = 0.01;
/// More ports a second than a NAT can give out at one address for long: 64,512 ports that each live 30 s are gone at
/// 2,150 a second. Beyond it the distance between two bursts says nothing.
const BUSIEST: f64 = 3_000.0;

/// These are the ports of one burst at one external address, in the order of sending.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) address: IpAddr,
    pub(super) sent: Duration,
    /// This is for even or odd ports, where the two are counted apart; else it is 0.
    class: u16,
    ports: Vec<u16>,
}

/// Gives the bursts, in turn. With `parity`, even and odd ports are counted apart.
pub(super) fn chains(mappings: &[FreshMapping], parity: bool) -> Vec<Chain> {
    let mut chains: BTreeMap<(u8, IpAddr, u16), Vec<&FreshMapping>> = BTreeMap::new();
    for mapping in mappings {
        let class = if parity { mapping.external % 2 } else { 0 };
        chains.entry((mapping.burst, mapping.address, class)).or_default().push(mapping);
    }
    let chain = |((_, address, class), mut mappings): ((u8, IpAddr, u16), Vec<&FreshMapping>)| {
        mappings.sort_by_key(|mapping| mapping.order);
        let sent = mappings.iter().map(|mapping| mapping.sent).min().unwrap_or_default();
        Chain { address, sent, class, ports: mappings.iter().map(|mapping| mapping.external).collect() }
    };
    chains.into_iter().map(chain).collect()
}

/// This is a counter that fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    /// The counter goes so far from port to port; negative: downwards.
    pub(super) step: i32,
    /// This is the logarithm of the probability of these ports, given the first one of each address.
    pub(super) likelihood: f64,
}

/// Finds the counters that fit best, one upwards and one downwards.
pub(super) fn fit(chains: &[Chain], rule: StepRule) -> [Option<Counter>; 2] {
    let plain: Vec<Laid> = chains.iter().map(|chain| Laid::new(chain, false)).collect();
    let over_seams: Vec<Laid> = chains.iter().map(|chain| Laid::new(chain, true)).collect();
    [1, -1].map(|sign| {
        let candidates =
            [&plain, &over_seams].into_iter().filter_map(|laid| fit_laid(chains, laid, sign, rule));
        candidates.max_by(|a, b| a.likelihood.total_cmp(&b.likelihood))
    })
}

/// This is a chain laid along the counter, upwards.
#[derive(Clone, Debug)]
struct Laid {
    gaps: Vec<u32>,
    /// This says where each port of the chain stands along the counter, in the order of sending.
    ranks: Vec<usize>,
    /// The counter started again within, by so much over the end that is assumed.
    seam: Option<u32>,
}

impl Laid {
    fn new(chain: &Chain, seams: bool) -> Self {
        let mut sorted = chain.ports.clone();
        sorted.sort_unstable();
        let gap = |i: usize| u32::from(sorted[i + 1] - sorted[i]);
        let widest = (0..sorted.len().saturating_sub(1)).max_by_key(|i| gap(*i));
        let next = (0..sorted.len().saturating_sub(1)).filter(|i| Some(*i) != widest).map(gap).max();
        let seam = widest.filter(|i| seams && gap(*i) > 256 + 16 * next.unwrap_or(64));
        let gaps = (0..sorted.len().saturating_sub(1)).filter(|i| Some(*i) != seam).map(gap).collect();
        let start = seam.map_or(0, |i| i + 1);
        let rank = |port: &u16| {
            let at = sorted.binary_search(port).unwrap_or_default();
            (at + sorted.len() - start) % sorted.len()
        };
        Self {
            gaps,
            ranks: chain.ports.iter().map(rank).collect(),
            seam: seam.map(|i| PORT_SPACE.saturating_sub(gap(i))),
        }
    }

    /// Returns how many packets others overtook, if the counter goes this way.
    fn displaced(&self, sign: i32) -> usize {
        let upwards = |rank: &usize| if sign > 0 { *rank } else { self.ranks.len() - *rank };
        let ranks: Vec<usize> = self.ranks.iter().map(upwards).collect();
        // Longest rising subsequence; chains are short.
        let mut longest = vec![1usize; ranks.len()];
        for i in 0..ranks.len() {
            for j in 0..i {
                if ranks[j] < ranks[i] {
                    longest[i] = longest[i].max(longest[j] + 1);
                }
            }
        }
        ranks.len() - longest.into_iter().max().unwrap_or(0)
    }
}

fn fit_laid(chains: &[Chain], laid: &[Laid], sign: i32, rule: StepRule) -> Option<Counter> {
    let gaps = || laid.iter().flat_map(|chain| chain.gaps.iter().copied());
    let size = match rule {
        StepRule::Gcd => gaps().reduce(gcd),
        StepRule::Min => gaps().min(),
    };
    let size = size.filter(|size| (1..=LONGEST_STEP).contains(size))?;
    let mut likelihood = -(f64::from(2 * size) * f64::from(size + 1)).ln();
    likelihood += foreign_between(gaps().map(|gap| f64::from(gap / size) - 1.0));
    let any_port = -f64::from(PORT_SPACE).ln();
    for chain in laid {
        likelihood += order(chain.ranks.len(), chain.displaced(sign));
        likelihood += match chain.seam {
            None => (1.0 - SEAM).ln(),
            // At the end of the port space the distance over it is a step or a few as well.
            Some(over) if over < 4 * LONGEST_STEP => SEAM.ln() - f64::from(over + 1).ln(),
            Some(_) => SEAM.ln() + any_port,
        };
    }
    for (i, chain) in chains.iter().enumerate() {
        let same = |before: &&Chain| before.address == chain.address && before.class == chain.class;
        if let Some(before) = chains[..i].iter().rfind(same) {
            likelihood += drift(before, chain, size, sign).unwrap_or(any_port + 0.1f64.ln());
        }
    }
    Some(Counter { step: size as i32 * sign, likelihood })
}

/// Returns the logarithm of the probability of so many ports taken between neighbours: it is geometric, which is what
/// packets at exponential distances among Poisson traffic see, at whatever mean fits.
fn foreign_between(taken: impl Iterator<Item = f64> + Clone) -> f64 {
    let at = |(mean, weight): (f64, f64)| {
        let each = |taken: f64| taken.max(0.0) * (mean / (1.0 + mean)).ln() - (1.0 + mean).ln();
        weight.ln() + taken.clone().map(each).sum::<f64>()
    };
    log_sum(FOREIGN_BETWEEN.map(at))
}

/// Returns the logarithm of the probability of an order in which so many of `n` packets are displaced.
fn order(n: usize, displaced: usize) -> f64 {
    let falling = |n: usize, k: usize| (0..k).map(|i| ((n - i) as f64).ln()).sum::<f64>();
    let (kept, moved) = ((n - displaced) as f64, displaced as f64);
    let overtaken = moved * OVERTAKEN.ln() + kept * (1.0 - OVERTAKEN).ln() - falling(n, displaced);
    log_sum([overtaken, SHUFFLED.ln() - falling(n, n)])
}

/// Returns the logarithm of the probability of a burst's place, given the burst before it: whole steps on, at a rate of
/// foreign ports of which only the magnitude is known. Returns `None` where this counter did not get there by itself.
fn drift(before: &Chain, after: &Chain, size: u32, sign: i32) -> Option<f64> {
    let (from, to) = (*before.ports.last()?, *after.ports.first()?);
    let way = if sign > 0 { forward(from, to) } else { forward(to, from) };
    let taken = f64::from(way / size);
    let time = after.sent.saturating_sub(before.sent).as_secs_f64().max(0.01);
    let fits = way.is_multiple_of(size) && way > 0 && taken <= BUSIEST * time + 8.0;
    fits.then(|| 0.9f64.ln() - (10.0 * taken).ln())
}

/// Counts ports from one to another upwards, starting again at [`FIRST_PORT`].
pub(super) fn forward(from: u16, to: u16) -> u32 {
    let place = |port: u16| i64::from(port.max(FIRST_PORT) - FIRST_PORT);
    (place(to) - place(from)).rem_euclid(i64::from(PORT_SPACE)) as u32
}

/// Returns the logarithm of the sum of numbers given by their logarithms.
pub(super) fn log_sum<const N: usize>(logs: [f64; N]) -> f64 {
    let most = logs.into_iter().fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() {
        most + logs.into_iter().map(|log| (log - most).exp()).sum::<f64>().ln()
    } else {
        most
    }
}
