//! Nodes with their drivers over one Redis, which is killed, stopped and filled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use test_support::redis::Redis;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::RoomTarget;

use super::super::jobs::{Event, Job, Order};
use super::super::link::fine;
use super::super::{Cluster, Member, Outlook, address, look};
use super::{assert_all_end, identifying, link, record};
use crate::registry::{
    LEASE, RegistryCommand, RegistryDown, RegistryId, RegistryNote, RegistryOperation, RegistryReply,
};

/// Nothing here takes so long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);

/// This is a node without a server.
struct Node {
    number: u64,
    cluster: Cluster,
    poll: Poll,
    notes: Vec<RegistryNote>,
    asked: u64,
}

fn member(node: u64) -> Member {
    let at = std::net::SocketAddr::from(([198, 51, 100, node as u8], 3478));
    Member { node, addresses: vec![at], public_key: [7; 32] }
}

impl Node {
    fn start(redis: &Redis, number: u64) -> Self {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let address = address(&redis.url()).unwrap().unwrap();
        let cluster = Cluster::start(address, &member(number), waker).unwrap();
        Self { number, cluster, poll, notes: Vec::new(), asked: 0 }
    }

    /// Waits until the registry is there for this node, or is not.
    fn until_up(mut self, up: bool) -> Self {
        self.wait(if up { "it is up" } else { "it is down" }, |node| node.cluster.shared.is_up() == up);
        self
    }

    fn wait(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(Instant::now() < end, "{what}: not in time");
            self.hear(Duration::from_millis(10));
        }
    }

    /// Waits for a word of the driver, at most so long, and returns an answer that has come.
    fn hear(&mut self, wait: Duration) -> Option<(RegistryId, Result<RegistryReply, RegistryDown>)> {
        let mut events = Events::with_capacity(4);
        let mut waited = false;
        loop {
            match self.cluster.events.try_recv() {
                Ok(Event::Reply(id, reply)) => return Some((id, reply)),
                Ok(Event::Note(note)) => self.notes.push(note),
                Err(_) if waited => return None,
                Err(_) => {
                    self.poll.poll(&mut events, Some(wait)).unwrap();
                    waited = true;
                }
            }
        }
    }

    fn order(&mut self, operation: RegistryOperation) -> RegistryId {
        self.asked += 1;
        let id = RegistryId(self.asked);
        assert!(self.cluster.outbox.send(Order::of(RegistryCommand { id, operation })).is_ok());
        id
    }

    fn ask(&mut self, operation: RegistryOperation) -> Result<RegistryReply, RegistryDown> {
        let id = self.order(operation);
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "no answer");
            match self.hear(Duration::from_millis(10)) {
                Some((its, reply)) if its == id => return reply,
                _ => {}
            }
        }
    }

    fn claim(&mut self, room: u64, name: &str) -> Result<RegistryReply, RegistryDown> {
        self.ask(RegistryOperation::Claim(record(self.number, room, name)))
    }

    /// Claims it as soon as the registry has run for long enough.
    fn has_claimed(&mut self, room: u64, name: &str) {
        let name = name.to_owned();
        self.wait("it is claimed", |node| match node.claim(room, &name) {
            Ok(RegistryReply::Claimed) => true,
            Ok(RegistryReply::Moving) => false,
            other => panic!("{other:?}"),
        });
    }

    fn find(&mut self, code: &str) -> Result<RegistryReply, RegistryDown> {
        let target = RoomTarget::Code(code.into());
        self.ask(RegistryOperation::Find { game: "g".into(), target })
    }

    fn finds(&mut self, code: &str, node: u64) -> bool {
        match self.find(code) {
            Ok(RegistryReply::Found(Some(site))) => site.location.node == node,
            _ => false,
        }
    }
}

#[test]
fn of_a_thousand_claims_for_one_name_on_eight_connections_one_wins() {
    let Some(redis) = Redis::start(&[]) else { return };
    let node = Node::start(&redis, 1).until_up(true);
    let (url, start) = (redis.url(), Instant::now());
    redis.has_run_for_long(1);
    let claimed_by = |connection: u64| {
        let mut link = super::link(&redis);
        (0..125)
            .filter(|index| {
                let record = record(1, connection * 1000 + index + 1, "the one");
                let call = Job::Claim { id: RegistryId(0), record: Box::new(record) }.call(&identifying(1));
                let reply = fine(link.run(&[call]).unwrap().pop().unwrap()).unwrap();
                super::super::entries::read_reply(&reply) == Some(RegistryReply::Claimed)
            })
            .count()
    };
    let won: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|connection| scope.spawn(move || claimed_by(connection))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(won, 1, "at {url}");
    assert_eq!(redis.keys("bt:[rkci]:*").len(), 4, "and the others have left nothing");
    println!("1,000 claims for one name: {:?} with the wait", start.elapsed());
    drop(node);
}

#[test]
fn redis_is_killed_and_comes_back_empty_and_rooms_are_there_again() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let mut one = Node::start(&redis, 1).until_up(true);
    let mut two = Node::start(&redis, 2).until_up(true);
    for room in 1..=300 {
        one.has_claimed(room, &format!("room {room}"));
    }
    one.order(RegistryOperation::Arrive(PlayerId([5; 16])));
    assert!(two.finds("CODE300", 1));
    redis.kill();
    one = one.until_up(false);
    let asked = Instant::now();
    assert_eq!(one.find("CODE1"), Err(RegistryDown));
    assert!(asked.elapsed() < Duration::from_secs(2), "nobody waits for it: {:?}", asked.elapsed());
    // A room ends, another one has news, while Redis hears nothing.
    let location = record(1, 1, "room 1").location;
    one.order(RegistryOperation::Release { game: "g".into(), location, name: "room 1".into() });
    let mut news = record(1, 2, "room 2");
    news.shown.summary.members = 5;
    one.order(RegistryOperation::Update(news));
    redis.begin();
    let back = Instant::now();
    one = one.until_up(true);
    two = two.until_up(true);
    two.wait("all rooms are there", |two| (2..=300).all(|room| two.finds(&format!("CODE{room}"), 1)));
    println!("299 rooms were there again {:?} after Redis was", back.elapsed());
    let room = |room: u64| format!("bt:r:1:g:room {room}");
    assert!(redis.ask(&["HGET", &room(2), "summary"]).unwrap().contains("\"members\":5"));
    assert_eq!(redis.keys(&room(1)), [""; 0]);
    two.wait("the player is there", |two| {
        two.ask(RegistryOperation::Locate(PlayerId([5; 16]))) == Ok(RegistryReply::At(Some(1)))
    });
    assert!(!one.notes.iter().any(|note| matches!(note, RegistryNote::RoomLost { .. })), "{:?}", one.notes);
    assert_all_end(&redis);
}

#[test]
fn redis_is_killed_and_comes_back_with_what_it_has_written_down() {
    let Some(mut redis) = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let mut one = Node::start(&redis, 1).until_up(true);
    one.has_claimed(7, "room");
    redis.kill();
    one = one.until_up(false);
    redis.begin();
    let mut link = link(&redis);
    let find = Job::Find { id: RegistryId(0), game: "g".into(), target: RoomTarget::Name("room".into()) };
    let reply = fine(link.run(&[find.call(&identifying(2))]).unwrap().pop().unwrap()).unwrap();
    let reply = super::super::entries::read_reply(&reply).unwrap();
    assert!(matches!(reply, RegistryReply::Moving | RegistryReply::Found(Some(_))), "{reply:?}");
    one = one.until_up(true);
    assert_eq!(one.claim(8, "new"), Ok(RegistryReply::Claimed), "nothing was lost: nobody has to wait");
}

#[test]
fn redis_stands_still_and_nobody_takes_a_live_room() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut one = Node::start(&redis, 1).until_up(true);
    let mut two = Node::start(&redis, 2).until_up(true);
    one.has_claimed(7, "room");
    redis.signal("STOP");
    let stopped = Instant::now();
    one = one.until_up(false);
    two = two.until_up(false);
    assert_eq!(two.claim(8, "other"), Err(RegistryDown));
    while stopped.elapsed() < LEASE + Duration::from_millis(300) {
        one.hear(Duration::from_millis(50));
    }
    redis.signal("CONT");
    // A member of the room is at the other node, and has a ticket.
    let end = Instant::now() + LEASE + Duration::from_secs(1);
    while Instant::now() < end {
        let reply = two.ask(RegistryOperation::Claim(record(2, 7, "room")));
        assert!(!matches!(reply, Ok(RegistryReply::Claimed)), "it took a live room");
    }
    assert!(two.finds("CODE7", 1));
    assert!(!one.notes.iter().any(|note| matches!(note, RegistryNote::RoomLost { .. })));
}

#[test]
fn a_full_redis_refuses_what_is_new_and_nodes_stay_there() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut one = Node::start(&redis, 1).until_up(true);
    one.has_claimed(7, "room");
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).as_deref(), Some("+OK\r\n"));
    assert_eq!(one.claim(8, "new"), Err(RegistryDown));
    assert!(one.finds("CODE7", 1));
    // Longer than a lease: beats are heard.
    let beats = |node: &Node| node.notes.iter().filter(|note| matches!(note, RegistryNote::Nodes(_))).count();
    let before = beats(&one);
    one.wait("five beats", |one| beats(one) >= before + 5);
    assert!(one.cluster.shared.is_up());
    assert_eq!(one.claim(8, "new"), Err(RegistryDown));
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    assert_eq!(one.claim(8, "new"), Ok(RegistryReply::Claimed));
    assert_eq!(redis.keys("bt:[rkci]:*").len(), 8, "and nothing of what was refused");
    assert!(one.cluster.shared.numbers().failed >= 2);
    assert_all_end(&redis);
}

#[test]
fn nodes_hear_of_each_other_and_of_players_who_went_and_scripts_are_told_again() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut one = Node::start(&redis, 1).until_up(true);
    let mut two = Node::start(&redis, 2).until_up(true);
    let sees = |node: &Node, other: u64| {
        let nodes = node.notes.iter().rev().find_map(|note| match note {
            RegistryNote::Nodes(nodes) => Some(nodes),
            _ => None,
        });
        nodes.is_some_and(|nodes| nodes.iter().any(|site| site.node == other && site.addresses.len() == 1))
    };
    one.wait("it sees the other", |one| sees(one, 2));
    let player = PlayerId([9; 16]);
    one.order(RegistryOperation::Arrive(player));
    one.wait("it is at one", |one| {
        one.ask(RegistryOperation::Locate(player)) == Ok(RegistryReply::At(Some(1)))
    });
    redis.ask(&["SCRIPT", "FLUSH"]).unwrap();
    two.wait("it is at two", |two| {
        two.order(RegistryOperation::Arrive(player));
        two.ask(RegistryOperation::Locate(player)) == Ok(RegistryReply::At(Some(2)))
    });
    let gone = RegistryNote::PlayerElsewhere(player);
    one.wait("it hears of it", |one| one.notes.contains(&gone));
    let heard = one.notes.iter().filter(|note| **note == gone).count();
    assert_eq!(heard, 1);
    // And when one ends, the other one knows at once.
    one.order(RegistryOperation::Depart(player));
    drop(one);
    let left = Instant::now();
    two.notes.clear();
    two.wait("it is alone", |two| !two.notes.is_empty() && !sees(two, 1));
    assert!(left.elapsed() < Duration::from_millis(2500), "{:?}", left.elapsed());
}

#[test]
fn a_node_that_does_not_fit_is_told_before_it_starts() {
    let Some(redis) = Redis::start(&[]) else { return };
    let _one = Node::start(&redis, 1).until_up(true);
    let here = address(&redis.url()).unwrap().unwrap();
    assert!(matches!(look(&here, &member(2)), Ok(Outlook::Fine(_))));
    let error = look(&here, &Member { public_key: [8; 32], ..member(2) }).unwrap_err();
    assert!(error.to_string().contains("copy the key file"), "{error}");
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).unwrap();
    let error = look(&here, &member(2)).unwrap_err();
    assert!(error.to_string().contains("noeviction"), "{error}");
    let nowhere = address("redis+unix:///nowhere/redis.sock").unwrap().unwrap();
    assert!(matches!(look(&nowhere, &member(2)), Ok(Outlook::Away(_))));
}

#[test]
fn what_a_node_posts_comes_to_the_node_of_the_player_and_nothing_of_it_stays_for_ever() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut one = Node::start(&redis, 1).until_up(true);
    let mut two = Node::start(&redis, 2).until_up(true);
    let player = PlayerId([7; 16]);
    two.order(RegistryOperation::Arrive(player));
    one.wait("the player has arrived", |one| {
        one.ask(RegistryOperation::Locate(player)) == Ok(RegistryReply::At(Some(2)))
    });
    let post = |body: &str| RegistryOperation::Post { to: vec![player], body: body.into() };
    let posted = |body: &str| RegistryNote::Post { from: 1, to: vec![player], body: body.into() };
    assert_eq!(one.ask(post("first")), Ok(RegistryReply::Done));
    two.wait("it has come", |two| two.notes.contains(&posted("first")));
    // Something else is in the stream: the posts behind it are read.
    let stream = format!("bt:post:{}", super::super::entries::hex(2));
    assert!(redis.ask(&["XADD", &stream, "*", "what", "is this"]).unwrap().contains('-'));
    let start = Instant::now();
    assert_eq!(one.ask(post("second")), Ok(RegistryReply::Done));
    two.wait("the second one, too", |two| two.notes.contains(&posted("second")));
    println!("from one node to the other in {:?}", start.elapsed());
    assert_eq!(two.notes.iter().filter(|note| **note == posted("first")).count(), 1, "each comes once");
    assert_all_end(&redis);
    // Redis is gone for a moment: both hear that words may be lost.
    one.notes.clear();
    redis.ask(&["FLUSHALL"]).unwrap();
    one.wait("it has heard", |one| one.notes.contains(&RegistryNote::Resumed));
}
