//! What the core tells the driver while that is busy: all of it is done when the driver comes to it, in this order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Poll, Token, Waker};
use test_support::redis::Redis;
use traversal_core::id::PlayerId;

use super::super::jobs::{Event, Order};
use super::super::outbox::NoRoom;
use super::super::{Cluster, Member, address};
use super::record;
use crate::registry::{RegistryCommand, RegistryId, RegistryOperation, RegistryReply};

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
    let member =
        Member { node: 1, addresses: vec!["198.51.100.1:3478".parse().unwrap()], public_key: [7; 32] };
    let (cluster, work) = Cluster::prepare(address, &member, waker, waiting).unwrap();
    (poll, cluster, work)
}

/// Asks where a player is, as soon as there is room for the question.
fn locate(cluster: &mut Cluster, player: PlayerId) -> RegistryReply {
    let end = Instant::now() + PATIENCE;
    while cluster.outbox.send(order(RegistryOperation::Locate(player))).is_err() {
        assert!(Instant::now() < end, "the driver takes nothing");
        std::thread::yield_now();
    }
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if let Event::Reply(_, reply) = cluster.events.recv_timeout(left).expect("an answer") {
            return reply.unwrap();
        }
    }
}

/// Waits until the driver has done all that it was told: what is told again goes with the same batch as the question, or the
/// next one.
fn is_through(cluster: &mut Cluster) {
    for _ in 0..3 {
        locate(cluster, PlayerId([99; 16]));
    }
}

#[test]
fn a_room_with_news_that_is_released_in_the_same_turn_stays_released() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (_poll, mut cluster, work) = sleeping(&redis, 16);
    for order in [update(7, "room"), update(8, "stays"), release(7, "room")] {
        assert!(cluster.outbox.send(order).is_ok());
    }
    std::thread::spawn(work);
    is_through(&mut cluster);
    assert_eq!(redis.keys("bt:r:*"), ["bt:r:1:g:stays"]);
}

#[test]
fn facts_for_which_the_driver_had_no_room_come_to_redis_later() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (_poll, mut cluster, work) = sleeping(&redis, 3);
    let player = |n| PlayerId([n; 16]);
    let mut news = record(1, 7, "room");
    news.shown.summary.members = 5;
    let arrive = |n| order(RegistryOperation::Arrive(player(n)));
    let depart = |n| order(RegistryOperation::Depart(player(n)));
    for order in [update(7, "room"), update(8, "gone"), arrive(1)] {
        assert!(cluster.outbox.send(order).is_ok());
    }
    // No more fit. What is asked is not done; what is told is kept, of each room and each player the last word.
    let ask = order(RegistryOperation::Locate(player(1)));
    assert_eq!(cluster.outbox.send(ask), Err(NoRoom));
    for _ in 0..100 {
        let told = [update(8, "gone"), arrive(2), arrive(3), depart(3), depart(1)];
        for order in told.into_iter().chain([order(RegistryOperation::Update(news.clone()))]) {
            assert!(cluster.outbox.send(order).is_ok());
        }
    }
    assert!(cluster.outbox.send(release(8, "gone")).is_ok());
    assert_eq!(cluster.outbox.kept(), (2, 2), "two rooms, and two players: of the third one nobody knows");
    std::thread::spawn(work);
    is_through(&mut cluster);
    assert_eq!(cluster.outbox.kept(), (0, 0));
    assert_eq!(redis.keys("bt:r:*"), ["bt:r:1:g:room"]);
    assert!(redis.ask(&["HGET", "bt:r:1:g:room", "summary"]).unwrap().contains("\"members\":5"));
    let nowhere = RegistryReply::At(None);
    for (n, at) in [(1, nowhere.clone()), (2, RegistryReply::At(Some(1))), (3, nowhere)] {
        assert_eq!(locate(&mut cluster, player(n)), at, "player {n}");
    }
}
