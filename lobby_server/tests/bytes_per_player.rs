//! What a registered player takes of the server's memory, counted in what the core allocates.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::alloc::System;
use std::ops::Range;
use std::time::{Duration, Instant};

use lobby_server::Server;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use test_support::crowd::{self, Member, SOCKET};
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

/// Returns the bytes that are allocated now, and in how many blocks.
fn held() -> (usize, usize) {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated - stats.bytes_deallocated, stats.allocations - stats.deallocations)
}

/// Players log in, say what their NATs are like, and then do no more than to show that they are there.
fn register(server: &mut Server, now: &mut Instant, numbers: Range<u32>) {
    let mut members: Vec<Member> = numbers.map(Member::new).collect();
    for member in &mut members {
        *now += Duration::from_millis(1);
        member.log_in(server, *now);
        let profile =
            ToServer::Profile { profile: NatProfile::default(), check: true, manual: NatFacts::NONE };
        member.say(*now, profile);
        member.talk(server, *now);
        assert!(!member.told.is_empty(), "the server has answered");
    }
    *now += Duration::from_secs(15);
    for member in &mut members {
        let ping = member.ping(*now);
        server.handle_datagram(*now, SOCKET, member.address, &ping);
        while server.poll_transmit().is_some() {}
    }
}

#[test]
fn a_registered_player_takes_less_than_a_kilobyte() {
    let mut now = Instant::now();
    let mut server = crowd::server((FIRST + COUNTED) as usize, now);
    register(&mut server, &mut now, 0..FIRST);
    let before = held();
    register(&mut server, &mut now, FIRST..FIRST + COUNTED);
    assert_eq!(server.gauges().sessions, (FIRST + COUNTED) as usize);
    let after = held();
    let count = COUNTED as usize;
    let (bytes, blocks) = ((after.0 - before.0) / count, (after.1 - before.1) as f64 / count as f64);
    // What the C library's allocator adds to a block: its header of 8 bytes, and half of its step of 16.
    let resident = bytes + (16.0 * blocks) as usize;
    println!("{bytes} bytes in {blocks:.1} blocks for each registered player, about {resident} resident");
    assert!(resident <= MOST, "{bytes} bytes in {blocks:.1} blocks");
}
