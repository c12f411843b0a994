//! Worlds drawn by chance, and an onlooker who remembers what must hold in all of them.

#![allow(dead_code, unused_imports)] // Each of the tests uses its part.

use natlab::scenario::PairWorld;
use natlab::soak;
use natlab::world::HostId;

pub(crate) use natlab::soak::{Watched, any, any_link, any_nat, any_world, is_server, watch};

/// Every destination so far was one that this player may send to.
pub(crate) fn check_destinations(pair: &PairWorld, watched: &Watched, ready: bool, told: &str) {
    if let Err(why) = soak::check_destinations(pair, watched, ready) {
        panic!("{told}: {why}");
    }
}

/// What the caps mean to somebody who looks on.
pub(crate) fn check_caps(pair: &PairWorld, host: HostId, attempts: u64, told: &str) {
    if let Err(why) = soak::check_caps(pair, host, attempts) {
        panic!("{told}: {why}");
    }
}
