//! The promises of every registry, kept by scripts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use redis::Value;
use test_support::redis::Redis;
use traversal_core::id::{PlayerId, RoomId};

use super::super::entries::{hex, read_changes, read_lost, read_posts, read_pulse, read_reply};
use super::super::jobs::{Job, Order};
use super::super::link::{Call, Link, fine};
use super::{assert_all_end, identifying, link, record};
use crate::registry::tests::{PROMISES, Rig};
use crate::registry::{
    ChangeMark, LEASE, NodeSite, RegistryCommand, RegistryId, RegistryNote, RegistryOperation, RegistryReply,
    RoomLocation,
};

/// This is a registry in Redis, each operation of which is run by itself, and whose time a test makes pass.
struct InRedis<'a> {
    redis: &'a Redis,
    link: Link,
    notes: BTreeMap<u64, Vec<RegistryNote>>,
    /// The last post that each node has read.
    posts: BTreeMap<u64, String>,
}

impl<'a> InRedis<'a> {
    /// Begins with an empty one that has run for long.
    fn new(redis: &'a Redis) -> Self {
        redis.ask(&["FLUSHALL"]).unwrap();
        let long_ago = (since_1970().saturating_sub(Duration::from_secs(3600))).as_millis().to_string();
        redis.ask(&["HSET", "bt:pulse", "era", "e", "born", &long_ago, "since", &long_ago]).unwrap();
        redis.ask(&["PEXPIRE", "bt:pulse", "3600000"]).unwrap();
        let rig = Self { redis, link: link(redis), notes: BTreeMap::new(), posts: BTreeMap::new() };
        rig.keep_going();
        rig
    }

    /// All this time some node told that it is there.
    fn keep_going(&self) {
        let ahead = (since_1970() + Duration::from_secs(3600)).as_millis().to_string();
        self.redis.ask(&["HSET", "bt:pulse", "last", &ahead]).unwrap();
    }

    fn run(&mut self, call: Call) -> Value {
        fine(self.link.run(&[call]).unwrap().pop().unwrap()).unwrap()
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

impl Rig for InRedis<'_> {
    fn handle(&mut self, node: u64, operation: RegistryOperation) -> RegistryReply {
        self.keep_going();
        let own = identifying(node);
        let job = match Order::of(RegistryCommand { id: RegistryId(0), operation }) {
            Order::Ask(job) => job,
            Order::Update(record) => Job::Renew(vec![*record]),
            Order::Release { room, key } => Job::Release { room, key },
            Order::Arrive(player) => Job::Arrive(player),
            Order::Depart(player) => Job::Depart(player),
            Order::End => unreachable!("no operation"),
        };
        let reply = self.run(job.call(&own));
        match job {
            Job::Renew(_) => {
                let lost = read_lost(&reply).unwrap().into_iter();
                let notes = lost.map(|(room, site)| RegistryNote::RoomLost { room, site });
                self.notes.entry(node).or_default().extend(notes);
                RegistryReply::Done
            }
            Job::Changes { .. } => read_changes(&reply).unwrap(),
            _ => read_reply(&reply).unwrap(),
        }
    }

    fn beat(&mut self, site: NodeSite) {
        let node = site.node;
        let own = identifying(node);
        let reply = self.run(Job::Beat { site, last: None }.call(&own));
        let pulse = read_pulse(&reply).unwrap().unwrap();
        let notes = self.notes.entry(node).or_default();
        notes.retain(|note| !matches!(note, RegistryNote::Nodes(_)));
        notes.push(RegistryNote::Nodes(pulse.others));
    }

    fn notes(&mut self, node: u64) -> Vec<RegistryNote> {
        let mut notes = self.notes.remove(&node).unwrap_or_default();
        let last = self.posts.get(&node).cloned();
        let reply = self.run(Job::Collect { last }.call(&identifying(node)));
        for (id, post) in read_posts(&reply).unwrap() {
            self.posts.insert(node, id);
            let post = post.expect("a post");
            notes.push(RegistryNote::Post { from: post.from, to: post.to, body: post.body });
        }
        let inbox = format!("bt:in:{}", hex(node));
        let waiting = self.redis.ask(&["XRANGE", &inbox, "-", "+"]).unwrap();
        for line in waiting.lines().filter(|line| line.len() == 32) {
            let player = u128::from_str_radix(line, 16).unwrap();
            notes.push(RegistryNote::PlayerElsewhere(PlayerId(player.to_be_bytes())));
        }
        self.redis.ask(&["DEL", &inbox]).unwrap();
        notes
    }

    fn pass(&mut self, time: Duration) {
        self.redis.ask(&["INCRBY", "test:offset", &time.as_millis().to_string()]).unwrap();
    }
}

#[test]
fn a_registry_in_redis_keeps_the_promises_of_every_registry() {
    let Some(redis) = Redis::start(&[]) else { return };
    for (name, promise) in PROMISES {
        eprintln!("{name}");
        promise(&mut InRedis::new(&redis));
        assert_all_end(&redis);
    }
}

fn site(node: u64) -> NodeSite {
    NodeSite { node, addresses: vec!["198.51.100.7:3478".parse().unwrap()], players: 0, draining: false }
}

fn claim(rig: &mut InRedis<'_>, node: u64, room: u64, name: &str) -> RegistryReply {
    rig.handle(node, RegistryOperation::Claim(record(node, room, name)))
}

#[test]
fn what_is_done_twice_is_as_if_it_was_done_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut rig = InRedis::new(&redis);
    rig.beat(site(1));
    for _ in 0..2 {
        assert_eq!(claim(&mut rig, 1, 7, "room"), RegistryReply::Claimed);
        rig.handle(1, RegistryOperation::Arrive(PlayerId([7; 16])));
    }
    assert_eq!(redis.keys("bt:[rkci]:*").len(), 4);
    let location = RoomLocation { node: 1, room: RoomId(7) };
    for _ in 0..2 {
        rig.handle(1, RegistryOperation::Release { game: "g".into(), location, name: "room".into() });
        rig.handle(1, RegistryOperation::Depart(PlayerId([7; 16])));
    }
    assert_eq!(redis.keys("bt:[rkcip]:*"), [""; 0]);
}

#[test]
fn nothing_is_taken_over_where_nodes_could_not_tell_that_they_are_there() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut rig = InRedis::new(&redis);
    rig.beat(site(1));
    rig.beat(site(2));
    assert_eq!(claim(&mut rig, 1, 7, "room"), RegistryReply::Claimed);
    // Redis stands still for longer than a lease, and this node is the first to be back.
    let stalled = LEASE + Duration::from_secs(1);
    rig.pass(stalled);
    redis.ask(&["HSET", "bt:pulse", "last", &since_1970().as_millis().to_string()]).unwrap();
    let own = identifying(2);
    let reply = rig.run(Job::Claim { id: RegistryId(0), record: Box::new(record(2, 7, "room")) }.call(&own));
    assert_eq!(read_reply(&reply), Some(RegistryReply::Moving));
    rig.beat(site(2));
    assert_eq!(claim(&mut rig, 2, 7, "room"), RegistryReply::Moving);
    assert!(matches!(claim(&mut rig, 2, 8, "room"), RegistryReply::NameTaken(_)));
    assert_eq!(claim(&mut rig, 2, 9, "another"), RegistryReply::Claimed, "a new one stands in nobody's way");
    rig.beat(site(1));
    assert!(matches!(claim(&mut rig, 2, 7, "room"), RegistryReply::Held(_)));
    // And where the other one does not come back, it goes on.
    rig.pass(stalled);
    rig.beat(site(2));
    assert_eq!(claim(&mut rig, 2, 7, "room"), RegistryReply::Claimed);
}

#[test]
fn where_all_was_lost_rooms_that_are_there_come_before_new_ones() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut rig = InRedis::new(&redis);
    redis.ask(&["FLUSHALL"]).unwrap();
    rig.beat(site(1));
    rig.beat(site(2));
    assert_eq!(claim(&mut rig, 2, 8, "room"), RegistryReply::Moving, "somebody may have it");
    let find = RegistryOperation::Find {
        game: "g".into(),
        target: traversal_core::wire::message::RoomTarget::Name("room".into()),
    };
    assert_eq!(rig.handle(2, find.clone()), RegistryReply::Moving);
    rig.handle(1, RegistryOperation::Update(record(1, 7, "room")));
    assert_eq!(rig.notes(1).len(), 1, "of the nodes alone");
    assert!(matches!(claim(&mut rig, 2, 8, "room"), RegistryReply::NameTaken(_)));
    assert!(matches!(rig.handle(2, find), RegistryReply::Found(Some(_))));
    rig.pass(LEASE);
    rig.beat(site(2));
    assert_eq!(claim(&mut rig, 2, 9, "new"), RegistryReply::Claimed);
    assert_all_end(&redis);
}

#[test]
fn who_takes_its_leave_leaves_its_rooms_to_those_who_were_in_them_at_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut rig = InRedis::new(&redis);
    rig.beat(site(1));
    rig.beat(site(2));
    assert_eq!(claim(&mut rig, 1, 7, "room"), RegistryReply::Claimed);
    let leave = Job::leave(&identifying(1));
    rig.run(leave);
    assert!(matches!(claim(&mut rig, 2, 8, "room"), RegistryReply::NameTaken(_)));
    assert_eq!(claim(&mut rig, 2, 7, "room"), RegistryReply::Claimed);
}

#[test]
fn a_node_with_another_key_or_version_does_not_take_part_while_others_are_there() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut rig = InRedis::new(&redis);
    rig.beat(site(1));
    let mut other = identifying(2);
    other.key = "another key".into();
    let beat = Job::Beat { site: site(2), last: None };
    let before = redis.keys("bt:*");
    let reply = rig.run(beat.call(&other));
    let error = read_pulse(&reply).unwrap().unwrap_err();
    assert!(error.to_string().contains("copy the key file"), "{error}");
    let reply = rig.run(Job::fits(&other));
    assert_eq!(read_pulse(&reply), Some(Err(error)));
    redis.ask(&["HSET", &format!("bt:n:{}", hex(1)), "wire", "9999"]).unwrap();
    let reply = rig.run(beat.call(&identifying(2)));
    let error = read_pulse(&reply).unwrap().unwrap_err().to_string();
    assert!(error.contains("9999"), "{error}");
    assert_eq!(redis.keys("bt:*"), before, "nothing of it is there");
    // The old ones are gone: what is new begins.
    rig.pass(LEASE);
    let reply = rig.run(beat.call(&other));
    assert!(read_pulse(&reply).unwrap().is_ok());
}

#[test]
fn a_list_forgets_rooms_whose_node_has_not_said_a_word_of_them_for_long() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut rig = InRedis::new(&redis);
    rig.beat(site(1));
    assert_eq!(claim(&mut rig, 1, 7, "gone"), RegistryReply::Claimed);
    assert_eq!(claim(&mut rig, 1, 8, "here"), RegistryReply::Claimed);
    // Redis has let go of it, as it does after ten minutes.
    let keys = redis.keys("bt:r:*gone");
    assert_eq!(keys.len(), 1);
    redis.ask(&["DEL", &keys[0]]).unwrap();
    for _ in 0..2 {
        let all = RegistryOperation::Changes { game: "g".into(), since: ChangeMark::default() };
        let RegistryReply::Changes(all) = rig.handle(2, all) else { panic!("changes") };
        let rooms: Vec<_> =
            all.rooms.iter().map(|(node, shown)| (*node, shown.summary.name.as_str())).collect();
        assert_eq!(rooms, [(1, "here")]);
        assert_eq!(all.rooms[0].1.summary.metadata["map"], "hills");
    }
    assert_eq!(redis.ask(&["ZCARD", "bt:l:1:g:"]).unwrap().trim().trim_start_matches(':'), "1");
}
