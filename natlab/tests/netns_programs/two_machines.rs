//! Two shipped lobby servers with one address each, which are each other's second address.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, thread};

use test_support::redis::Redis;

use crate::{event, run};

#[test]
fn two_servers_with_one_address_each_classify_in_full_and_players_meet() {
    for (left, right, told) in [
        ("restricted", "as", ["restricted cone", "address-sensitive symmetric"]),
        ("portrestricted", "fullcone", ["port-restricted cone", "full cone"]),
    ] {
        let nats = ["--left", left, "--right", right, "--two-lobbies", "--after", "nat"];
        let Some(report) = run(&nats, &["--for", "3"]) else { return };
        assert_eq!((&report["ok"], &report["path"]), (&true.into(), &"direct".into()), "{report}");
        for (role, kind) in [("host", told[0]), ("join", told[1])] {
            let nat = event(&report, role, "nat");
            assert_eq!(nat["confidence"], "full", "{report}");
            assert!(nat["kind"].as_str().is_some_and(|said| said == kind), "{kind}: {nat}");
        }
        let directory = report["log_dir"].as_str().expect("a directory");
        for name in ["lobby", "neighbour"] {
            let log = fs::read_to_string(format!("{directory}/{name}.err")).expect("the server's log");
            assert!(log.contains("linked") && !log.contains("WARN"), "{log}");
        }
    }
}

/// Waits until a file has this text, and then kills the Redis and starts it anew, without what it knew. Ends when the sender is gone:
/// the run that writes the file may wait for its turn beforehand, for as long as others take.
fn restart_when(
    mut redis: Redis,
    file: PathBuf,
    text: &'static str,
    goes_on: mpsc::Receiver<()>,
) -> thread::JoinHandle<(Redis, bool)> {
    thread::spawn(move || {
        while !fs::read_to_string(&file).is_ok_and(|told| told.contains(text)) {
            if goes_on.recv_timeout(Duration::from_millis(50)) != Err(mpsc::RecvTimeoutError::Timeout) {
                return (redis, false);
            }
        }
        redis.kill();
        redis.begin();
        (redis, true)
    })
}

#[test]
fn players_of_two_nodes_meet_behind_nats_and_play_on_while_redis_is_restarted() {
    let pairs = [
        ("portrestricted", "fullcone", "direct", &[][..]),
        ("ps", "portrestricted", "direct", &[]),
        ("portrestricted", "restricted", "relay", &["--relay", "only"]),
    ];
    for (left, right, path, relay) in pairs {
        let Some(redis) = Redis::start(&[]) else { return };
        let url = redis.url();
        let logs = std::env::temp_dir().join(format!("two_nodes-{}-{left}-{path}", std::process::id()));
        let nodes = ["--two-lobbies", "--registry", &url, "--log-dir", logs.to_str().unwrap()];
        let nats = [&["--left", left, "--right", right][..], &nodes].concat();
        let (running, goes_on) = mpsc::channel();
        let restart = restart_when(redis, logs.join("join.out"), "\"game_connected\"", goes_on);
        let report = run(&nats, &[&["--for", "6"], relay].concat());
        drop(running);
        let (_redis, restarted) = restart.join().unwrap();
        let Some(report) = report else { return };
        assert!(restarted, "{left} and {right}: {report}");
        assert_eq!(
            (&report["ok"], &report["path"]),
            (&true.into(), &path.into()),
            "{left} and {right}: {report}"
        );
        let sent = fs::read_to_string(logs.join("join.out")).unwrap();
        assert!(sent.contains("\"game_message\""), "{sent}");
        fs::remove_dir_all(&logs).unwrap();
    }
}
