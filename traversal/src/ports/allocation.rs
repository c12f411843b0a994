//! How a NAT chooses the port of a new mapping, told from the ports it gave to fresh sockets (M4).
//!
//! Three explanations of what was seen are weighed against each other by their likelihoods: a counter ([`counter`]),
//! ports drawn from a block, ports drawn from the whole space. A NAT that keeps the inner port needs no weighing: by
//! chance no two ports are kept.
//!
//! [`counter`]: super::counter

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::counter::{Counter, chains, fit, log_sum};
use super::{FIRST_PORT, PORT_SPACE, StepRule};
use crate::nat::PortAllocation;

/// This is a mapping that a NAT made for a socket that had none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshMapping {
    /// This says when the packet that made it was sent, counted from any fixed moment.
    pub sent: Duration,
    /// Packets with the same number left back to back.
    pub burst: u8,
    /// This is the mapping's place in the order of sending.
    pub order: u32,
    /// The probe left from the local socket with this port.
    pub local: u16,
    /// The port it got.
    pub external: u16,
    /// The external address that the port belongs to.
    pub address: IpAddr,
    /// More than one packet was sent before this was known: which of them made the mapping is not sure.
    pub repeated: bool,
}

/// This is what the ports of fresh mappings say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// This is the allocation; it is unknown while more than one explanation is left.
    pub allocation: PortAllocation,
    /// This is probability of the explanation that fits best, 0 to 1.
    pub confidence: f32,
    /// This says whether even inner ports get even outer ports, and odd ones odd (RFC 4787 section 4.2.2). `None`:
    /// there were too few of either to tell.
    pub parity: Option<bool>,
}

/// Each explanation is so frequent before anything was seen. All three are frequent among carriers' NATs (Richter et
/// al., "A Multi-perspective Analysis of Carrier-Grade NAT Deployment", IMC 2016); the likelihoods of eight ports
/// differ by so many powers of ten that the exact shares hardly count.
const COUNTER: f64 = 0.5;
const WHOLE: f64 = 0.3;
const BLOCK: f64 = 0.2;
/// Blocks have these sizes with these shares: mostly 512 to 16,384 ports (the chunks that Richter et al. found);
/// smaller ones as RFC 7422 allows them.
const BLOCKS: [(u32, f64); 9] = [
    (64, 0.01),
    (128, 0.02),
    (256, 0.04),
    (512, 0.13),
    (1_024, 0.2),
    (2_048, 0.2),
    (4_096, 0.2),
    (8_192, 0.13),
    (16_384, 0.07),
];
/// Below so many samples a block cannot be told from chance.
const BLOCK_SAMPLES: usize = 6;
/// A counter is excluded below this probability, and told above the other one.
const EXCLUDED: f64 = 0.01;
const TOLD: f64 = 0.9;
/// So many ports must have kept their parity to rule out chance (once in 1,000 times), some of them even, some odd.
const PARITY_SAMPLES: usize = 10;

/// Finds what the ports of at least three fresh mappings say about the allocation.
///
/// The first mapping of a socket alone shows whether its port is kept: the later ones of a NAT that maps per
/// destination find it held by the first.
pub fn allocation(mappings: &[FreshMapping], rule: StepRule) -> Estimate {
    let parity = parity(mappings);
    if mappings.len() < 3 {
        return Estimate { parity, ..Estimate::default() };
    }
    if let Some(kept) = kept(mappings) {
        // Two ports kept by chance: each once in 64,512 times.
        return Estimate { allocation: PortAllocation::Preserving, confidence: kept, parity: Some(true) };
    }
    let sure: Vec<FreshMapping> = mappings.iter().filter(|m| !m.repeated).copied().collect();
    let dated = if sure.len() >= 3 { sure } else { mappings.to_vec() };
    let [up, down] = fit(&chains(&dated, parity == Some(true)), rule);
    let counter = |counter: Option<Counter>| {
        counter.map_or(f64::NEG_INFINITY, |counter| counter.likelihood) + COUNTER.ln()
    };
    let logs = [counter(up), counter(down), whole(&dated) + WHOLE.ln(), in_blocks(&dated) + BLOCK.ln()];
    let sum = log_sum(logs);
    let [rises, falls, whole, block] = logs.map(|log| (log - sum).exp());
    // Which way it counts may still be open; a bracket holds the same ports either way.
    let allocation = match if rises >= falls { up } else { down } {
        Some(counter) if rises + falls >= TOLD => PortAllocation::Sequential { step: counter.step },
        _ if rises + falls > EXCLUDED => PortAllocation::Unknown,
        _ if block > whole && mappings.len() >= BLOCK_SAMPLES => block_of(mappings),
        _ => PortAllocation::Random,
    };
    Estimate { allocation, confidence: rises.max(falls).max(whole).max(block) as f32, parity }
}

/// The share of sockets whose first mapping kept their port; `None` where the NAT does not do that.
fn kept(mappings: &[FreshMapping]) -> Option<f32> {
    let mut firsts: BTreeMap<u16, &FreshMapping> = BTreeMap::new();
    for mapping in mappings {
        let first = firsts.entry(mapping.local).or_insert(mapping);
        if mapping.order < first.order {
            *first = mapping;
        }
    }
    let kept = firsts.values().filter(|m| m.local == m.external).count();
    (kept >= 2).then(|| kept as f32 / firsts.len() as f32)
}

fn parity(mappings: &[FreshMapping]) -> Option<bool> {
    let same = |m: &&FreshMapping| m.local % 2 == m.external % 2;
    let even = mappings.iter().filter(|m| m.local % 2 == 0).count();
    if mappings.iter().filter(same).count() < mappings.len() {
        return Some(false);
    }
    let both = even >= 2 && mappings.len() - even >= 2;
    (both && mappings.len() >= PARITY_SAMPLES).then_some(true)
}

fn by_address(mappings: &[FreshMapping]) -> BTreeMap<IpAddr, Vec<u16>> {
    let mut addresses: BTreeMap<IpAddr, Vec<u16>> = BTreeMap::new();
    for mapping in mappings {
        addresses.entry(mapping.address).or_default().push(mapping.external);
    }
    addresses
}

/// Returns the logarithm of the probability of these ports by chance, given the first one of each address.
fn whole(mappings: &[FreshMapping]) -> f64 {
    let free = mappings.len() - by_address(mappings).len();
    -(free as f64) * f64::from(PORT_SPACE).ln()
}

/// Returns the likelihood of ports chosen by chance from a block of unknown size and place at each address.
fn in_blocks(mappings: &[FreshMapping]) -> f64 {
    let block = |ports: Vec<u16>| {
        let (low, high) =
            (ports.iter().min().copied().unwrap_or(0), ports.iter().max().copied().unwrap_or(0));
        let span = u32::from(high - low);
        log_sum(BLOCKS.map(|(size, share)| {
            let places = f64::from(size.saturating_sub(span));
            share.ln() + places.ln() - ports.len() as f64 * f64::from(size).ln()
        }))
    };
    by_address(mappings).into_values().map(block).sum()
}

/// Finds the block at the address with the most ports. Its ends lie, on average, one gap outside of the outermost
/// samples.
fn block_of(mappings: &[FreshMapping]) -> PortAllocation {
    let most = by_address(mappings).into_values().max_by_key(Vec::len).unwrap_or_default();
    let (Some(low), Some(high)) = (most.iter().min(), most.iter().max()) else {
        return PortAllocation::Random;
    };
    let margin = (high - low) / (most.len() as u16).saturating_sub(1).max(1);
    PortAllocation::RandomInBlock {
        first: low.saturating_sub(margin).max(FIRST_PORT.min(*low)),
        last: high.saturating_add(margin),
    }
}

#[cfg(test)]
mod tests;
