//! Invites at two lobby servers that share a registry in Redis and a key: one that was made at the first serves at the second, and
//! one that serves once does so whoever comes from where at the same time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")] // other systems have one loopback address only

use std::process::Command;

use test_support::program;
use test_support::programs::{Lobby, Program, assert_played};
use test_support::redis::{Redis, two_nodes};

const CLOSED: [&str; 4] = ["--password", "sesame", "--refuse", "only by invite"];

/// These share a registry and a key.
struct Nodes {
    one: Lobby,
    two: Lobby,
    _redis: Redis,
}

impl Nodes {
    fn start() -> Option<Self> {
        let ([one, two], _redis) = two_nodes()?;
        Some(Self { one, two, _redis })
    }

    /// Starts a host at the first node, whose room lets in nobody without an invite of this kind. Returns it with the invite's
    /// texts: as it was made, and as somebody has it who knows the second node.
    fn host(&self, kind: &str, seconds: &str) -> (Program, [String; 2]) {
        let args =
            ["--players", "2", "--capacity", "8", "--for", seconds, "--deadline", "90", "--invite", kind];
        let mut host = self.one.peer("A", "host", &[&CLOSED[..], &args].concat());
        let text = host.event("invite", 20.0)["text"].as_str().unwrap().to_owned();
        assert!(text.contains(&self.one.address), "{text}");
        let at_two = text.replace(&self.one.address, &self.two.address);
        (host, [text, at_two])
    }
}

/// Starts a player who has nothing but an invite.
fn invited(name: &str, invite: &str, seconds: &str) -> Program {
    let mut command = Command::new(program("peer"));
    command.args([
        "join",
        "--json",
        "--name",
        name,
        "--invite",
        invite,
        "--no-port-mapping",
        "--for",
        seconds,
    ]);
    command.args(["--wait", "20", "--deadline", "40"]);
    Program::start(name, &mut command)
}

#[test]
fn an_invite_that_was_made_at_one_node_serves_at_the_other_one() {
    let Some(nodes) = Nodes::start() else { return };
    let (mut host, [_, at_two]) = nodes.host("once", "8");
    let mut guest = invited("B", &at_two, "3");
    guest.success(40.0);
    assert_played(&guest, "A");
    let mut late = invited("C", &at_two, "1");
    let failed = late.event("failed", 30.0);
    assert_eq!(failed["reason"], "invite-over", "{failed}");
    late.failure(10.0, "another one has used it");
    host.success(40.0);
}

#[test]
fn of_many_who_come_at_once_from_both_nodes_an_invite_for_one_lets_in_one() {
    let Some(nodes) = Nodes::start() else { return };
    let (host, texts) = nodes.host("once", "60");
    let names = ["B", "C", "D", "E", "F", "G"];
    let mut guests: Vec<Program> =
        names.iter().enumerate().map(|(n, name)| invited(name, &texts[n % 2], "3")).collect();
    let played = guests.iter_mut().map(|guest| guest.exit(60.0).success()).filter(|played| *played).count();
    let over =
        |guest: &Program| guest.events("failed").iter().any(|failed| failed["reason"] == "invite-over");
    let refused = guests.iter().filter(|guest| over(guest)).count();
    let logs = || guests.iter().map(Program::log).collect::<Vec<_>>().join("\n");
    assert_eq!((played, refused), (1, 5), "{}", logs());
    let entered = host.events("game_connected").len();
    assert!(entered <= 1, "{}", host.log());
}

#[test]
fn an_invite_for_some_minutes_outlives_the_node_that_it_was_made_at() {
    let Some(mut nodes) = Nodes::start() else { return };
    let (mut host, [_, at_two]) = nodes.host("5", "30");
    nodes.one.kill();
    host.event("lobby_failed", 30.0);
    let mut guest = invited("B", &at_two, "3");
    guest.success(60.0);
    assert_played(&guest, "A");
}
