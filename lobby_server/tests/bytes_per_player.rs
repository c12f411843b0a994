//! What a registered player takes of the server's memory, counted in what the core allocates.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::alloc::System;
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use test_support::crowd::{self, Member};
use traversal_core::NatFacts;
use traversal_core::nat::NatProfile;
use traversal_core::wire::message::ToServer;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// These come first: they fill what has one size whoever comes, such as the answers that are kept for repetitions.
const FIRST: u32 = 5_000;
const COUNTED: u32 = 10_000;
/// A registered player takes so many bytes at the most.
const MOST: usize = 1024;

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Players log in, say what their NATs are like, and then do no more than to show that they are there.
#[test]
fn a_registered_player_takes_a_kilobyte() {
    let mut now = Instant::now();
    let mut server = crowd::server((FIRST + COUNTED) as usize, now);
    let mut before = 0;
    for number in 0..FIRST + COUNTED {
        if number == FIRST {
            before = allocated();
        }
        now += Duration::from_millis(1);
        let mut member = Member::new(number);
        member.log_in(&mut server, now);
        let profile =
            ToServer::Profile { profile: NatProfile::default(), check: true, manual: NatFacts::NONE };
        member.say(now, profile);
        member.talk(&mut server, now);
        assert!(!member.told.is_empty(), "the server has answered");
    }
    assert_eq!(server.gauges().sessions, (FIRST + COUNTED) as usize);
    let each = (allocated() - before) / COUNTED as usize;
    println!("{each} bytes for each registered player");
    assert!(each <= MOST, "{each} bytes");
}
