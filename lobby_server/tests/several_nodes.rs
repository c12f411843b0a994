//! Built lobby servers that share a registry in Redis, which goes away and comes back. What players make of several nodes
//! stands in `examples/peer/tests/several_nodes.rs`.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(unix)] // the Redis of a test is at a Unix socket

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use test_support::redis::Redis;
use test_support::server::{Player, Running, get, program};
use test_support::until;
use traversal_core::id::RequestId;
use traversal_core::wire::message::{
    Request, RequestError, Response, RoomInfo, RoomOptions, RoomTarget, ToPlayer, ToServer,
};

/// Nothing here takes this many seconds, on a busy machine either.
const PATIENCE: f64 = 20.0;
const LOOPBACK: [&str; 4] = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];

struct Node {
    running: Running,
    directory: tempfile::TempDir,
}

impl Node {
    /// Starts a node with a copy of this key, if there is one already.
    fn start(registry: &str, like: Option<&Node>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if let Some(other) = like {
            std::fs::copy(other.directory.path().join("key"), directory.path().join("key")).unwrap();
        }
        let mut command = program();
        command.env("LOBBY_REGISTRY", registry);
        Self { running: Running::start_as(command, directory.path(), &LOOPBACK), directory }
    }

    fn log_in(&self, seed: u8) -> Player {
        Player::log_in(self.running.address(), seed, b"").unwrap()
    }

    /// Returns a number of the metrics.
    fn metric(&self, name: &str) -> u64 {
        let text = get(self.running.http(), "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }

    fn waits_until(&self, name: &str, is: impl Fn(u64) -> bool) {
        until(name, PATIENCE, || is(self.metric(name)));
    }

    fn log(self) -> String {
        String::from_utf8(self.running.stop("-INT").stderr).unwrap()
    }
}

fn open(player: &mut Player, number: u32, name: &str) -> Result<RoomInfo, RequestError> {
    let options = RoomOptions { name: name.into(), ..RoomOptions::default() };
    match player.ask(number, Request::CreateRoom { options })? {
        Response::Room(room) => Ok(room),
        other => panic!("{other:?}"),
    }
}

fn join(room: &str) -> Request {
    Request::JoinRoom { target: RoomTarget::Name(room.into()), password: None }
}

#[test]
fn redis_goes_away_and_comes_back_and_who_plays_notices_nothing() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let one = Node::start(&redis.url(), None);
    let two = Node::start(&redis.url(), Some(&one));
    redis.has_run_for_long(2);
    let mut host = one.log_in(1);
    let room = open(&mut host, 1, "room").unwrap();
    let mut member = one.log_in(2);
    assert!(matches!(member.ask(1, join("room")), Ok(Response::Room(_))));
    let mut elsewhere = two.log_in(3);
    let Ok(Response::Rooms { rooms, .. }) =
        elsewhere.ask(1, Request::ListRooms { query: Default::default() })
    else {
        panic!("a list")
    };
    assert_eq!(rooms.iter().map(|room| room.name.as_str()).collect::<Vec<_>>(), ["room"]);

    redis.kill();
    one.waits_until("lobby_registry_up", |up| up == 0);
    two.waits_until("lobby_registry_up", |up| up == 0);
    // Who is in a room is served as before, and others are told what is wrong, at once.
    assert!(host.ping() && member.ping());
    let asked = Instant::now();
    for number in 2..5 {
        assert_eq!(open(&mut elsewhere, number, "new"), Err(RequestError::RegistryUnavailable));
    }
    assert_eq!(elsewhere.ask(5, join("room")), Err(RequestError::RegistryUnavailable));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(get(one.running.http(), "/health").starts_with("HTTP/1.1 200"));
    // The pages are some moments old.
    two.waits_until("lobby_registry_failed_total", |failed| failed >= 4);

    redis.begin();
    one.waits_until("lobby_registry_up", |up| up == 1);
    two.waits_until("lobby_registry_up", |up| up == 1);
    // It has lost everything, and hears of the room again: players are sent to its node.
    assert_eq!(sent_to(&mut elsewhere, 6, "room"), [one.running.address()]);
    assert!(host.ping() && member.ping());
    assert_eq!(room.name, "room");
    let log = one.log();
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("the registry is not there"), 1, "{log}");
    assert_eq!(count("the registry is there"), 2, "at the start and now: {log}");
}

#[test]
fn without_its_redis_a_server_starts_and_says_so_and_is_whole_when_it_is_there() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.kill();
    let node = Node::start(&redis.url(), None);
    let mut player = node.log_in(1);
    assert_eq!(open(&mut player, 1, "room"), Err(RequestError::RegistryUnavailable));
    let check = check(&redis.url(), &node, &LOOPBACK);
    assert!(check.contains("registry: NOT THERE"), "{check}");
    redis.begin();
    redis.has_run_for_long(1);
    node.waits_until("lobby_registry_up", |up| up == 1);
    assert!(open(&mut player, 2, "room").is_ok());
    let log = node.log();
    assert!(log.contains("WARN") && log.contains("the registry is not there"), "{log}");
}

/// Returns what `lobby_server check` prints, with the node's key.
fn check(registry: &str, node: &Node, flags: &[&str]) -> String {
    let key = node.directory.path().join("key");
    let mut command = program();
    command.arg("check").args(flags).arg("--key-file").arg(key).env("LOBBY_REGISTRY", registry);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// Returns what the program says where it does not start with these flags.
fn refusal(registry: &str, flags: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(flags).arg("--key-file").arg(directory.path().join("key"));
    let output = command.env("LOBBY_REGISTRY", registry).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(!error.contains("sesame"), "a password: {error}");
    error.lines().find(|line| line.starts_with("lobby_server: ")).expect("a reason").to_owned()
}

#[test]
fn what_cannot_work_is_refused_at_the_start_with_its_cure() {
    let everywhere = refusal("redis://:sesame@127.0.0.1:1", &["--no-http"]);
    assert!(everywhere.contains("--public-address") && everywhere.contains("--bind"), "{everywhere}");
    for (registry, said) in [("redis:", "redis://"), ("rediss://:sesame@h", "tunnel"), ("sesame", "memory")] {
        let error = refusal(registry, &LOOPBACK);
        assert!(error.contains("registry") && error.contains(said), "{registry}: {error}");
    }
    let Some(redis) = Redis::start(&[]) else { return };
    let node = Node::start(&redis.url(), None);
    redis.has_run_for_long(1);
    let fine = check(&redis.url(), &node, &LOOPBACK);
    assert!(fine.contains("registry: ok, Redis ") || fine.contains("registry: ok, Valkey "), "{fine}");
    assert!(fine.contains("appendonly") && fine.contains("send players to: 127.0.0.1:"), "{fine}");
    assert_eq!(redis.keys("bt:n:*").len(), 1, "check is no node");
    redis.ask(&["CONFIG", "SET", "appendonly", "yes"]).unwrap();
    assert!(!check(&redis.url(), &node, &LOOPBACK).contains("appendonly"));
    // A key of its own.
    let stranger = refusal(&redis.url(), &LOOPBACK);
    assert!(stranger.contains("copy the key file"), "{stranger}");
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).unwrap();
    let evicts = refusal(&redis.url(), &LOOPBACK);
    assert!(evicts.contains("noeviction"), "{evicts}");
    assert!(check(&redis.url(), &node, &LOOPBACK).contains("registry: FAILED"));
}

#[test]
fn a_player_is_sent_to_the_node_of_its_room_and_a_reload_leaves_the_node_as_it_is() {
    let Some(redis) = Redis::start(&[]) else { return };
    let one = Node::start(&redis.url(), None);
    let two = Node::start(&redis.url(), Some(&one));
    redis.has_run_for_long(2);
    let hangup =
        std::process::Command::new("kill").args(["-HUP", &one.running.child.id().to_string()]).status();
    assert!(hangup.unwrap().success());
    let mut host = one.log_in(1);
    open(&mut host, 1, "room").unwrap();
    assert_eq!(sent_to(&mut two.log_in(2), 1, "room"), [one.running.address()]);
    assert_eq!(two.metric("lobby_registry_nodes"), 2);
    assert_eq!(two.metric("lobby_sent_elsewhere_total"), 1);
    let text = redis.keys("bt:*").join(" ");
    let rooms: Vec<String> =
        redis.keys("bt:r:*").iter().map(|key| redis.ask(&["HGETALL", key]).unwrap()).collect();
    assert_eq!(rooms.len(), 1);
    // Redis learns where players log in, and nothing of where they are.
    let from = host.socket.local_addr().unwrap().to_string();
    assert!(!text.contains(&from) && !rooms[0].contains(&from), "{rooms:?}");
}

/// Returns where the player is sent who wants the room.
fn sent_to(player: &mut Player, number: u32, room: &str) -> Vec<SocketAddr> {
    let request = ToServer::Request { id: RequestId(number), request: join(room) };
    player.session.send(Instant::now(), request).unwrap();
    let sent = player.told_until(|told| match told {
        ToPlayer::GoTo(addresses) => Some(addresses.clone()),
        _ => None,
    });
    sent.expect("it is sent")
}
