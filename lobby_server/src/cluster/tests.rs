//! A registry in a real Redis: it promises what the one in memory does, and what it does when Redis is not as it should be.
#![cfg(unix)] // the Redis of a test is at a Unix socket

mod facts;
mod nodes;
mod promises;

use std::collections::BTreeMap;

use test_support::redis::Redis;
use traversal_core::id::RoomId;
use traversal_core::wire::message::RoomSummary;

use super::jobs::Identifying;
use super::link::{Link, address};
use crate::registry::{RoomLocation, RoomRecord, Shown};

/// Connects to the Redis of a test.
fn link(redis: &Redis) -> Link {
    Link::open(&address(&redis.url()).unwrap()).unwrap()
}

fn identifying(node: u64) -> Identifying {
    Identifying { node, key: "the key of all".into(), era: format!("era of {node}") }
}

fn record(node: u64, room: u64, name: &str) -> RoomRecord {
    RoomRecord {
        location: RoomLocation { node, room: RoomId(room) },
        epoch: 0,
        game: "g".into(),
        public: true,
        shown: Shown {
            summary: RoomSummary {
                name: name.into(),
                code: format!("CODE{room}"),
                host_name: "h".into(),
                members: 1,
                capacity: 8,
                metadata: BTreeMap::from([("map".into(), "hills".into())]),
                locked: true,
                ..RoomSummary::default()
            },
            ..Shown::default()
        },
    }
}

/// Asserts that nothing is in Redis that would stay there for ever.
fn assert_all_end(redis: &Redis) {
    let keys = redis.keys("*");
    assert!(!keys.is_empty());
    for key in keys.iter().filter(|key| *key != "test:offset") {
        let left: i64 = redis.ask(&["TTL", key]).unwrap().trim().trim_start_matches(':').parse().unwrap();
        assert!(left >= 0, "{key} has no lifetime ({left})");
    }
}
