//! `peer rooms`: lists with conditions, and rooms that are watched, at one lobby server and at two that share a registry.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use test_support::programs::{Lobby, Program};

fn host(lobby: &Lobby, room: &str, args: &[&str]) -> Program {
    lobby.host(room, &[&["--room", room, "--players", "2", "--capacity", "4", "--for", "60"], args].concat())
}

fn names(rooms: &Value) -> Vec<&str> {
    rooms.as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect()
}

/// Returns the names that one list has with these conditions.
fn list(lobby: &Lobby, args: &[&str]) -> Value {
    let mut peer = lobby.peer("looker", "rooms", args);
    let listed = peer.event("listed", 20.0);
    peer.success(10.0);
    assert_eq!(listed["more"], false);
    listed["rooms"].clone()
}

#[test]
fn a_list_has_the_rooms_that_pass_in_the_order_that_was_asked_for() {
    let lobby = Lobby::start_with(&[("LOBBY_REGION", "eu")]);
    let _one = host(&lobby, "alpha", &["--metadata", "map=desert", "--metadata", "level=9"]);
    let _two = host(&lobby, "beta", &["--metadata", "map=ice", "--metadata", "level=10"]);
    let _three = host(&lobby, "gamma", &["--metadata", "map=desert", "--password", "pw"]);
    let mut guest = lobby.peer("guest", "join", &["--room", "beta", "--for", "60"]);
    guest.event("room", 20.0);

    let all = list(&lobby, &["--sort", "players", "--descending"]);
    assert_eq!(names(&all), ["beta", "gamma", "alpha"]);
    let room = &all[0];
    assert_eq!((&room["members"], &room["capacity"], &room["host"]), (&2.into(), &4.into(), &"beta".into()));
    assert_eq!((&room["region"], &room["metadata"]["map"]), (&"eu".into(), &"ice".into()));
    assert!(room["rtt_ms"].as_u64().unwrap() >= 20 && room["age_s"].is_u64(), "{room}");
    // On loopback there is no NAT; of a room with a password strangers are told nothing.
    let ways = list(&lobby, &["--sort", "name"]);
    assert_eq!([&ways[0]["way"], &ways[2]["way"]], ["direct", "unknown"]);
    for (args, expected) in [
        (&["--filter", "map=desert"][..], &["alpha", "gamma"][..]),
        (&["--filter", "level<10"], &["alpha"]),
        (&["--filter", "map=ice|snow", "--filter", "level>9"], &["beta"]),
        (&["--filter", "level", "--filter", "map!=ice"], &["alpha"]),
        (&["--no-password", "--text", "ET"], &["beta"]),
        (&["--direct", "--limit", "1"], &["alpha"]),
        (&["--region", "us"], &[]),
    ] {
        // With a limit there may be more.
        let mut peer = lobby.peer("looker", "rooms", args);
        let listed = peer.event("listed", 20.0);
        assert_eq!(names(&listed["rooms"]), expected, "{args:?}");
        peer.success(10.0);
    }
    // What is too long for a datagram is looked at all the same, and shown by its key.
    let long = format!("list.rules={}", "no snow ".repeat(60).trim_end());
    let more = [
        "--room-property",
        long.as_str(),
        "--room-property",
        "list.mode=duel",
        "--room-property",
        "secret=1",
    ];
    let mut four = host(&lobby, "delta", &more);
    while !four.events("room_property").iter().any(|told| told["key"] == "list.mode") {
        four.event("room_property", 20.0);
    }
    let wanted =
        ["--filter", "list.mode=duel", "--filter", "list.rules", "--show", "list.rules", "--show", "secret"];
    let found = list(&lobby, &wanted);
    assert_eq!(names(&found), ["delta"]);
    assert_eq!(found[0]["metadata"]["list.rules"].as_str().map(str::len), Some(479), "{found}");
    assert!(found[0]["metadata"].get("secret").is_none(), "members alone see it: {found}");
    assert_eq!(names(&list(&lobby, &["--filter", "secret"])), Vec::<&str>::new());
    let mut wrong = lobby.peer("looker", "rooms", &["--filter", "level<five"]);
    wrong.failure(20.0, "less and greater need a number");
}

#[test]
fn who_watches_is_told_of_rooms_that_come_change_and_go_and_again_after_a_restart_of_the_server() {
    let mut lobby = Lobby::start();
    let one = host(&lobby, "alpha", &["--metadata", "map=desert"]);
    let mut watcher = lobby.peer("W", "rooms", &["--filter", "map=desert", "--watch", "60"]);
    assert_eq!(watcher.event("room_changed", 20.0)["name"], "alpha");
    assert_eq!(watcher.event("watching", 5.0)["rooms"].as_array().unwrap().len(), 1);

    let _other = host(&lobby, "other", &["--metadata", "map=ice"]);
    let mut two = host(&lobby, "beta", &["--metadata", "map=desert"]);
    assert_eq!(watcher.event("room_changed", 5.0)["name"], "beta", "the other one is not wanted");
    let mut guest = lobby.peer("guest", "join", &["--room", "beta", "--for", "60"]);
    guest.event("room", 20.0);
    let changed = watcher.event("room_changed", 5.0);
    assert_eq!((&changed["name"], &changed["members"]), (&"beta".into(), &2.into()));
    guest.kill();
    two.terminate();
    two.exit(20.0);
    let gone = watcher.event("room_gone", 20.0);
    assert_eq!(gone["code"], changed["code"]);

    // The server forgets all of it, and is told again.
    lobby.kill();
    lobby.restart();
    watcher.event("logged_in", 30.0);
    let _three = host(&lobby, "gamma", &["--metadata", "map=desert"]);
    watcher.line("gamma", 20.0, |line| line.contains("\"room_changed\"") && line.contains("\"gamma\""));
    drop(one);
}

#[cfg(target_os = "linux")] // other systems have one loopback address only
#[test]
fn rooms_of_another_node_are_listed_and_watched_and_gone_with_it() {
    use test_support::redis::Redis;
    use test_support::scratch;

    let Some(redis) = Redis::start(&[]) else { return };
    let keys = [scratch("node"), scratch("node")].map(|folder| folder.join("key"));
    let mut one = Lobby::start_node("127.0.0.1:0", keys[0].clone(), &redis.url());
    std::fs::create_dir_all(keys[1].parent().unwrap()).unwrap();
    std::fs::copy(&keys[0], &keys[1]).unwrap();
    let two = Lobby::start_node("127.0.0.2:0", keys[1].clone(), &redis.url());
    redis.has_run_for_long(2);
    let _far = host(&one, "far", &["--metadata", "map=desert", "--metadata", "level=3"]);
    let _ice = host(&one, "ice", &["--metadata", "map=ice"]);
    let _near = host(&two, "near", &["--metadata", "map=desert"]);
    let mut watcher = two.peer("W", "rooms", &["--filter", "map=desert", "--watch", "60"]);
    watcher.line("far", 20.0, |line| line.contains("\"room_changed\"") && line.contains("\"far\""));
    let both = list(&two, &["--filter", "map=desert"]);
    assert_eq!(names(&both), ["far", "near"]);
    assert_eq!(names(&list(&one, &["--filter", "map=desert"])), ["far", "near"], "at the other node, too");
    assert_eq!(names(&list(&two, &["--filter", "level<5"])), ["far"]);

    // Somebody enters the room at the other node: it is told a second later.
    let mut guest = one.peer("guest", "join", &["--room", "far", "--for", "60"]);
    guest.event("room", 20.0);
    let begun = std::time::Instant::now();
    watcher.line("two members", 10.0, |line| line.contains("\"far\"") && line.contains("\"members\":2"));
    println!("a change at the other node was told after {:?}", begun.elapsed());
    let later = host(&one, "later", &["--metadata", "map=desert"]);
    watcher.line("later", 10.0, |line| line.contains("\"room_changed\"") && line.contains("\"later\""));
    // The node is killed: nobody can enter its rooms at the moment.
    one.kill();
    watcher.event("room_gone", 10.0);
    drop(later);
}
