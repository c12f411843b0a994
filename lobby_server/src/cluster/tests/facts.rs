//! What the core tells the driver while that is busy: all of it is done when the driver comes to it, in this order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Poll, Token, Waker};
use test_support::redis::Redis;
use traversal_core::id::PlayerId;

use super::super::jobs::{Event, Order};
use super::super::{Cluster, Member, address};
use super::record;
use crate::registry::{RegistryCommand, RegistryId, RegistryOperation};

/// Nothing here takes so long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);

fn order(operation: RegistryOperation) -> Order {
    Order::of(RegistryCommand { id: RegistryId(7), operation })
}

fn release(room: u64, name: &str) -> Order {
    let location = record(1, room, name).location;
    order(RegistryOperation::Release { game: "g".into(), location, name: name.into() })
}

fn update(room: u64, name: &str) -> Order {
    order(RegistryOperation::Update(record(1, room, name)))
}

/// Makes a node whose driver begins when the work that comes back is run, and for which so many orders may wait.
fn sleeping(redis: &Redis, waiting: usize) -> (Poll, Cluster, impl FnOnce() + Send + use<>) {
    let poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
    let address = address(&redis.url()).unwrap().unwrap();
    let member = Member { node: 1, addresses: vec!["198.51.100.1:3478".parse().unwrap()], public_key: [7; 32] };
    let (cluster, work) = Cluster::prepare(address, &member, waker, waiting).unwrap();
    (poll, cluster, work)
}

/// Waits until the driver has done all that it was told: what is asked last is answered last.
fn is_through(cluster: &mut Cluster) {
    let end = Instant::now() + PATIENCE;
    // What is told again goes with the same batch as the question, or the next one.
    for _ in 0..3 {
        let ask = || order(RegistryOperation::Locate(PlayerId([1; 16])));
        while cluster.orders.try_send(ask()).is_err() {
            assert!(Instant::now() < end, "the driver takes nothing");
            std::thread::yield_now();
        }
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if let Event::Reply(_, reply) = cluster.events.recv_timeout(left).expect("an answer") {
                assert!(reply.is_ok(), "{reply:?}");
                break;
            }
        }
    }
}

#[test]
fn a_room_with_news_that_is_released_in_the_same_turn_stays_released() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (_poll, mut cluster, work) = sleeping(&redis, 16);
    for order in [update(7, "room"), update(8, "stays"), release(7, "room")] {
        assert!(cluster.orders.try_send(order).is_ok());
    }
    std::thread::spawn(work);
    is_through(&mut cluster);
    assert_eq!(redis.keys("bt:r:*"), ["bt:r:1:g:stays"]);
}
