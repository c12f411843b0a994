//! Chat by programs: in a room over the connections and through the server, after the end of the server, between contacts on one
//! node and on two, switched off, muted, too fast, and reports.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")] // other systems have one loopback address only

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use test_support::programs::{Lobby, Program, lobby_path};
use test_support::redis::Redis;
use test_support::{scratch, until};

/// Returns the first of these events with this text, whether it has come already or is waited for.
fn seen(program: &mut Program, event: &str, text: &str) -> Value {
    let mut looked = 0;
    loop {
        let all = program.events(event);
        if let Some(found) = all.iter().skip(looked).find(|told| told["text"] == text) {
            return found.clone();
        }
        looked = all.len();
        program.event(event, 20.0);
    }
}

/// Writes this again and again until it is taken: what comes too fast is refused.
fn write(program: &mut Program, text: &str) {
    let said = format!("\"text\":\"{text}\"");
    until(&format!("{text:?} is taken"), 20.0, || {
        program.give(text);
        let answer = program
            .line("an answer", 10.0, |line| line.contains("\"event\":\"chat_") && line.contains(&said));
        answer.contains("\"event\":\"chat_sent\"")
    });
}

/// Asserts that this text was shown once.
fn assert_once(program: &Program, text: &str) {
    let shown = program.events("chat").into_iter().filter(|chat| chat["text"] == text).count();
    assert_eq!(shown, 1, "{text}\n{}", program.log());
}

/// Three who play: the first one hosts, and the others are connected with it alone.
fn three(lobby: &Lobby, seconds: &str) -> [Program; 3] {
    let mut host = lobby.host("A", &["--players", "3", "--for", seconds, "--chat"]);
    let mut others = ["B", "C"].map(|name| lobby.peer(name, "join", &["--for", seconds, "--chat"]));
    for program in &mut others {
        program.event("game_message", 20.0);
    }
    host.event("game_message", 20.0);
    host.event("game_message", 20.0);
    let [second, third] = others;
    [host, second, third]
}

#[test]
fn a_text_goes_over_the_connections_and_through_the_server_where_they_do_not_carry_it() {
    let lobby = Lobby::start();
    let [mut host, mut second, mut third] = three(&lobby, "60");
    // The host passes it on.
    second.give("  one, two  ");
    for reader in [&mut host, &mut third] {
        let read = seen(reader, "chat", "one, two");
        assert_eq!(
            (&read["from"], &read["to"], &read["by"]),
            (&"B".into(), &"room".into(), &"connection".into())
        );
    }
    let sent = seen(&mut second, "chat_sent", "one, two");
    assert_eq!((&sent["by"], &sent["all"]), (&"connection".into(), &true.into()), "{sent}");
    // A host that does not answer passes nothing on: the server does.
    host.halt();
    second.give("three");
    assert_eq!(seen(&mut third, "chat", "three")["by"], "server");
    assert_eq!(seen(&mut second, "chat_sent", "three")["by"], "server");
    host.signal("-CONT");
    // It comes by both ways, and again and again, and is shown once.
    seen(&mut host, "chat", "three");
    host.give("four");
    for reader in [&mut second, &mut third] {
        seen(reader, "chat", "four");
    }
    for program in [&host, &third] {
        assert_once(program, "one, two");
        assert_once(program, "three");
    }
}

#[test]
fn it_goes_on_when_the_lobby_server_is_killed() {
    let mut lobby = Lobby::start();
    let [mut host, mut second, mut third] = three(&lobby, "60");
    lobby.kill();
    second.give("still here");
    for reader in [&mut host, &mut third] {
        assert_eq!(seen(reader, "chat", "still here")["by"], "connection");
    }
    let sent = seen(&mut second, "chat_sent", "still here");
    assert_eq!((&sent["by"], &sent["all"]), (&"connection".into(), &true.into()), "{sent}");
    host.give("so am I");
    for reader in [&mut second, &mut third] {
        seen(reader, "chat", "so am I");
    }
    // And when another one is there in its place.
    lobby.restart();
    third.give("back");
    for reader in [&mut host, &mut second] {
        seen(reader, "chat", "back");
    }
}

#[test]
fn what_is_too_long_empty_or_too_fast_is_refused_and_who_is_muted_is_not_shown() {
    let lobby = Lobby::start();
    let [mut host, mut second, third] = three(&lobby, "40");
    let id = |program: &mut Program| program.events("logged_in")[0]["player"].as_str().unwrap().to_owned();
    let (of_second, _) = (id(&mut second), third);
    second.give(&"x".repeat(257));
    let why = seen(&mut second, "chat_refused", &"x".repeat(257))["why"].as_str().unwrap().to_owned();
    assert!(why.contains("256 characters"), "{why}");
    second.give("\u{202e}");
    let why = seen(&mut second, "chat_refused", "\u{202e}")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("U+202E"), "{why}");
    for n in 0..30 {
        second.give(&format!("flood {n}"));
    }
    let why = seen(&mut second, "chat_refused", "flood 29")["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("too fast; write again in 0.") || why.contains("in 1.0 s"), "{why}");
    seen(&mut host, "chat", "flood 4");
    let passed = host.events("chat").len();
    assert!((5..=7).contains(&passed), "{passed} of 30");
    host.give(&format!("/mute {of_second}"));
    // What was written after that is not shown; what another says is, and it came later.
    host.give("now");
    seen(&mut second, "chat", "now");
    write(&mut second, "unread");
    host.give(&format!("/unmute {of_second}"));
    host.give("again");
    seen(&mut second, "chat", "again");
    write(&mut second, "read");
    seen(&mut host, "chat", "read");
    assert!(host.events("chat").iter().all(|chat| chat["text"] != "unread"), "{}", host.log());
}

#[test]
fn the_operator_switches_chat_off_and_reads_reports() {
    let folder = scratch("chat");
    std::fs::create_dir_all(&folder).unwrap();
    let (config, socket, key) = (folder.join("lobby.toml"), folder.join("admin.sock"), folder.join("key"));
    std::fs::write(&config, "chat = true\n").unwrap();
    let mut command = Lobby::command("127.0.0.1:0", &key);
    command.arg("--config").arg(&config).arg("--admin-socket").arg(&socket);
    let lobby = Lobby::of(Program::start("lobby_server", &mut command), key);
    let [mut host, mut second, mut third] = three(&lobby, "40");
    second.give("before");
    seen(&mut host, "chat", "before");
    let of_second = second.events("logged_in")[0]["player"].as_str().unwrap().to_owned();
    host.give(&format!("/report {of_second} says nothing but before"));
    host.event("reported", 10.0);
    let admin = |what: &str| {
        let mut command = Command::new(lobby_path());
        let answer =
            command.arg("--admin-socket").arg(&socket).args(["admin", what, "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    };
    let reports = &admin("reports")["reports"];
    assert_eq!(reports.as_array().unwrap().len(), 1, "{reports}");
    let report = &reports[0];
    assert_eq!((&report["by_name"], &report["name"]), (&"A".into(), &"B".into()), "{report}");
    assert_eq!((&report["player"], &report["same_room"]), (&of_second.into(), &true.into()), "{report}");
    assert_eq!(report["text"], "says nothing but before");
    // Off for all who are here, over their connections too.
    std::fs::write(&config, "chat = false\n").unwrap();
    lobby.program.signal("-HUP");
    for program in [&mut host, &mut second, &mut third] {
        assert_eq!(program.event("chat_switched", 10.0)["on"], false);
    }
    second.give("after");
    let why = seen(&mut second, "chat_refused", "after")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("switched it off"), "{why}");
    std::fs::write(&config, "chat = true\n").unwrap();
    lobby.program.signal("-HUP");
    for program in [&mut host, &mut second, &mut third] {
        assert_eq!(program.event("chat_switched", 10.0)["on"], true);
    }
    second.give("on again");
    seen(&mut third, "chat", "on again");
}

#[test]
fn a_server_without_chat_says_so_at_once() {
    let key = scratch("no-chat").join("key");
    let mut command = Lobby::command("127.0.0.1:0", &key);
    let lobby = Lobby::of(Program::start("lobby_server", command.args(["--chat", "off"])), key);
    let mut host = lobby.host("A", &["--for", "20", "--say", "hello"]);
    let why = seen(&mut host, "chat_refused", "hello")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("switched it off"), "{why}");
    assert_eq!(host.events("chat_switched")[0]["on"], false);
}

/// This is a player's file, and the id in it.
struct Identity {
    file: PathBuf,
    id: String,
}

impl Identity {
    /// Has a player made, who logs in once.
    fn new(lobby: &Lobby, name: &str) -> Self {
        let file = scratch("chat").join(format!("{name}.key"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut once = lobby.peer(name, "contacts", &["--identity", file.to_str().unwrap(), "--for", "0"]);
        let id = once.event("logged_in", 20.0)["player"].as_str().unwrap().to_owned();
        once.success(20.0);
        Self { file, id }
    }

    fn start(&self, lobby: &Lobby, name: &str, options: &[&str]) -> Program {
        let file = self.file.to_str().unwrap();
        let options = [&["--identity", file, "--for", "60", "--deadline", "60", "--chat"], options].concat();
        lobby.peer(name, "contacts", &options)
    }
}

fn contacts_write_to_each_other(one: &Lobby, two: &Lobby) {
    let [ada, bob, eve] = ["Ada", "Bob", "Eve"].map(|name| Identity::new(one, name));
    let hello = format!("@{} hello Bob", bob.id);
    let mut first = ada.start(one, "Ada", &["--allow", &bob.id, "--say", &hello]);
    let mut second = bob.start(two, "Bob", &["--allow", &ada.id]);
    let read = seen(&mut second, "chat", "hello Bob");
    assert_eq!((&read["from"], &read["to"], &read["by"]), (&"Ada".into(), &"you".into(), &"server".into()));
    assert_eq!(read["player"], ada.id.as_str());
    assert_eq!(seen(&mut first, "chat_sent", "hello Bob")["to"], bob.id.as_str());
    second.give(&format!("@{} hello Ada", ada.id));
    seen(&mut first, "chat", "hello Ada");
    // Somebody whom Bob has not allowed, somebody who is not there, and somebody who is nobody: the same words.
    let mut third = eve.start(two, "Eve", &["--allow", &bob.id]);
    third.event("logged_in", 20.0);
    let nobody = "00112233445566778899aabbccddeeff";
    let mut answers = [bob.id.as_str(), nobody].map(|id| {
        third.give(&format!("@{id} psst {id}"));
        seen(&mut third, "chat_refused", &format!("psst {id}"))["why"].clone()
    });
    first.kill();
    // Bob hears that Ada is off line, and then the answer is that one.
    loop {
        let news = second.event("presence", 60.0);
        if news["online"] == false {
            break;
        }
    }
    second.give(&format!("@{} gone?", ada.id));
    let gone = seen(&mut second, "chat_refused", "gone?")["why"].clone();
    answers.sort_by_key(Value::to_string);
    assert!(answers.iter().all(|why| *why == gone), "{answers:?}, {gone}");
    assert!(second.events("chat").len() == 1, "{}", second.log());
}

#[test]
fn contacts_write_to_each_other_on_one_node() {
    let lobby = Lobby::start();
    contacts_write_to_each_other(&lobby, &lobby);
}

#[test]
fn contacts_write_to_each_other_on_two_nodes() {
    let Some(redis) = Redis::start(&[]) else { return };
    let keys = [scratch("chat-node"), scratch("chat-node")].map(|folder| folder.join("key"));
    let one = Lobby::start_node("127.0.0.1:0", keys[0].clone(), &redis.url());
    std::fs::create_dir_all(keys[1].parent().unwrap()).unwrap();
    std::fs::copy(&keys[0], &keys[1]).unwrap();
    let two = Lobby::start_node("127.0.0.2:0", keys[1].clone(), &redis.url());
    redis.has_run_for_long(2);
    contacts_write_to_each_other(&one, &two);
}
