//! Contacts and calls by programs: on one node, and on two that share a registry in Redis.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")] // other systems have one loopback address only

use std::path::PathBuf;

use serde_json::Value;
use test_support::programs::{Lobby, Program};
use test_support::redis::Redis;
use test_support::scratch;

/// This is one node, or two: players log in to the first or to the second one.
struct Servers {
    nodes: Vec<Lobby>,
    _redis: Option<Redis>,
}

impl Servers {
    fn one() -> Self {
        Self { nodes: vec![Lobby::start()], _redis: None }
    }

    /// Other systems have one loopback address only.
    #[cfg(target_os = "linux")]
    fn two() -> Option<Self> {
        let redis = Redis::start(&[])?;
        let keys = [scratch("people"), scratch("people")].map(|folder| folder.join("key"));
        let one = Lobby::start_node("127.0.0.1:0", keys[0].clone(), &redis.url());
        std::fs::create_dir_all(keys[1].parent().unwrap()).unwrap();
        std::fs::copy(&keys[0], &keys[1]).unwrap();
        let two = Lobby::start_node("127.0.0.2:0", keys[1].clone(), &redis.url());
        redis.has_run_for_long(2);
        Some(Self { nodes: vec![one, two], _redis: Some(redis) })
    }

    fn all() -> Vec<Self> {
        let one = Some(Self::one());
        #[cfg(target_os = "linux")]
        let all = [one, Self::two()];
        #[cfg(not(target_os = "linux"))]
        let all = [one];
        all.into_iter().flatten().collect()
    }

    fn node(&self, n: usize) -> &Lobby {
        &self.nodes[n % self.nodes.len()]
    }

    /// Starts a player at this node.
    fn peer(&self, n: usize, name: &str, command: &str, options: &[&str]) -> Program {
        self.node(n).peer(name, command, options)
    }
}

/// This is a player's file, and the id in it.
struct Identity {
    file: PathBuf,
    id: String,
}

impl Identity {
    /// Has a player made, who logs in once.
    fn new(servers: &Servers, name: &str) -> Self {
        let file = scratch("people").join(format!("{name}.key"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut once =
            servers.peer(0, name, "contacts", &["--identity", file.to_str().unwrap(), "--for", "0"]);
        let id = once.event("logged_in", 20.0)["player"].as_str().unwrap().to_owned();
        once.success(20.0);
        Self { file, id }
    }

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

fn presence_of(program: &mut Program, id: &str) -> Value {
    loop {
        let presence = program.event("presence", 20.0);
        if presence["player"] == id {
            return presence;
        }
    }
}

#[test]
fn m35_two_who_allow_each_other_see_each_other_and_a_stranger_sees_nobody() {
    for servers in Servers::all() {
        let [a, b, c] = ["A", "B", "C"].map(|name| Identity::new(&servers, name));
        let mut one = servers.peer(
            0,
            "A",
            "contacts",
            &[
                "--identity",
                a.path(),
                "--allow",
                &b.id,
                "--allow",
                &c.id,
                "--status",
                "on the roof",
                "--for",
                "60",
            ],
        );
        let contact = one.event("logged_in", 20.0)["contact"].as_str().unwrap().to_owned();
        assert!(contact.starts_with(&format!("bevy-traversal:player/{}.", a.id)), "{contact}");
        // It lists both, and neither lists it.
        let mut stranger =
            servers.peer(1, "C", "contacts", &["--identity", c.path(), "--allow", &b.id, "--for", "4"]);
        stranger.event("logged_in", 20.0);
        let mut two =
            servers.peer(1, "B", "contacts", &["--identity", b.path(), "--allow", &contact, "--for", "3"]);
        let seen = presence_of(&mut two, &a.id);
        assert_eq!(
            (&seen["online"], &seen["name"], &seen["text"]),
            (&true.into(), &"A".into(), &"on the roof".into())
        );
        let seen = presence_of(&mut one, &b.id);
        assert_eq!((&seen["online"], &seen["name"]), (&true.into(), &"B".into()));
        // It goes.
        two.success(20.0);
        assert_eq!(presence_of(&mut one, &b.id)["online"], false);
        stranger.success(20.0);
        assert_eq!(stranger.events("presence").len(), 0, "{}", stranger.log());
        assert!(one.events("presence").iter().all(|presence| presence["player"] != c.id.as_str()));
        // The list was kept beside the identity, with the name in the text that was pasted.
        let kept = std::fs::read_to_string(format!("{}.contacts", b.path())).unwrap();
        assert!(kept.contains(&format!("{} A\n", a.id)), "{kept}");
        let mut again = servers.peer(0, "B", "contacts", &["--identity", b.path(), "--for", "2"]);
        assert_eq!(presence_of(&mut again, &a.id)["online"], true);
        assert_eq!(presence_of(&mut one, &b.id)["online"], true);
        // And whoever is taken off it is told nothing.
        again.success(20.0);
        presence_of(&mut one, &b.id);
        let forget = ["--identity", b.path(), "--forget", &a.id, "--for", "2"];
        servers.peer(0, "B", "contacts", &forget).success(20.0);
        servers.peer(0, "B", "contacts", &["--identity", b.path(), "--for", "1"]).success(20.0);
        let kept = std::fs::read_to_string(format!("{}.contacts", b.path())).unwrap();
        assert!(!kept.contains(&a.id), "{kept}");
    }
}

#[test]
fn m36_a_contact_is_called_says_yes_and_both_play_in_a_room_of_two() {
    for servers in Servers::all() {
        let [a, b] = ["A", "B"].map(|name| Identity::new(&servers, name));
        let mut callee = servers.peer(
            1,
            "B",
            "wait-call",
            &["--identity", b.path(), "--allow", &a.id, "--for", "2", "--deadline", "60"],
        );
        callee.event("logged_in", 20.0);
        let mut caller = servers.peer(
            0,
            "A",
            "call",
            &["--identity", a.path(), "--player", &b.id, "--again", "3", "--for", "2", "--deadline", "60"],
        );
        let incoming = callee.event("incoming_call", 20.0);
        assert_eq!((&incoming["player"], &incoming["contact"]), (&a.id.clone().into(), &true.into()));
        caller.event("ringing", 5.0);
        caller.event("accepted", 10.0);
        let (here, there) = (caller.event("connected", 20.0), callee.event("connected", 20.0));
        assert_eq!((&here["player"], &there["player"]), (&b.id.clone().into(), &a.id.clone().into()));
        assert_eq!(here["code"], there["code"]);
        caller.success(20.0);
        callee.success(20.0);
    }
}

#[test]
fn a_call_is_refused_or_nobody_answers_or_there_is_nobody() {
    for servers in Servers::all() {
        let [a, b, c] = ["A", "B", "C"].map(|name| Identity::new(&servers, name));
        let allow = ["--identity", b.path(), "--allow", &a.id, "--deadline", "60"];
        let with = |more: &[&'static str]| -> Vec<&str> {
            allow.iter().copied().chain(more.iter().copied()).collect()
        };
        let call = |identity: &Identity, more: &[&str]| {
            let options = ["--identity", identity.path(), "--player", &b.id].into_iter();
            let options: Vec<&str> = options.chain(more.iter().copied()).collect();
            servers.peer(0, "caller", "call", &options)
        };
        // M34: nobody is there, and a stranger is told the same.
        call(&a, &[]).failure(20.0, "cannot be reached");
        let mut refuses =
            servers.peer(1, "B", "wait-call", &with(&["--answer", "no", "--reason", "at dinner"]));
        refuses.event("logged_in", 20.0);
        call(&c, &[]).failure(20.0, "cannot be reached");
        assert_eq!(refuses.events("incoming_call").len(), 0);
        call(&a, &["--again", "3"]).failure(20.0, "the call was refused: at dinner");
        refuses.success(20.0);
        let mut busy = servers.peer(1, "B", "wait-call", &with(&["--answer", "busy", "--strangers-ring"]));
        busy.event("logged_in", 20.0);
        call(&c, &["--again", "3"]).failure(20.0, "busy");
        assert_eq!(busy.event("incoming_call", 5.0)["contact"], false);
        busy.success(20.0);
        // The caller hangs up.
        let mut rings =
            servers.peer(1, "B", "wait-call", &with(&["--answer", "nothing", "--strangers-ring"]));
        rings.event("logged_in", 20.0);
        call(&c, &["--again", "3", "--hang-up", "2"]).failure(20.0, "hung up");
        assert_eq!(rings.event("call_ended", 5.0)["text"], "the caller hung up");
    }
}
