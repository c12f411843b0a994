//! Texts in rooms, what they cost, the switch, and reports.

use super::*;
use crate::server::tests::{World, by_name, named};
use crate::{Refusal, ReportRow, ServerConfig};
use traversal_core::wire::message::{ChatFault, ChatNews, ChatPlace, ChatRequest, ChatTo};

fn say(world: &mut World, index: usize, number: u64, text: &str) -> Result<Response, RequestError> {
    world.answer(index, Request::Chat(ChatRequest::Say { number, to: ChatTo::Room, text: text.into() }))
}

fn fault(answer: Result<Response, RequestError>) -> ChatFault {
    match answer {
        Err(RequestError::Chat(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

/// Returns what this player was told of chat.
fn news(world: &World, index: usize) -> Vec<ChatNews> {
    let told = world.fakes[index].told.iter();
    told.filter_map(|message| match message {
        ToPlayer::Chat(news) => Some(news.clone()),
        _ => None,
    })
    .collect()
}

/// Returns the texts that this player reads: writers, numbers and texts.
fn read(world: &World, index: usize) -> Vec<(String, u64, String)> {
    let texts = news(world, index).into_iter().filter_map(|news| match news {
        ChatNews::Text { from, number, text, .. } => Some((from.name, number, text)),
        _ => None,
    });
    texts.collect()
}

/// Makes a room of the first player, with these members and one who watches. Returns all of them and somebody outside.
fn inhabited(config: ServerConfig) -> (World, [usize; 5], RoomInfo) {
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let all: [usize; 5] = std::array::from_fn(|n| {
        let n = n as u8 + 1;
        world.player(n, &format!("203.0.113.{n}:4000"))
    });
    let room = world.host(all[0], RoomOptions { auto_allow: true, spectators: 4, ..named("r") });
    for member in &all[1..3] {
        assert!(world.answer(*member, by_name("r")).is_ok());
    }
    let target = RoomTarget::Name("r".into());
    let watch = Request::Spectate { target, password: None, resume: false };
    assert!(world.answer(all[3], watch).is_ok());
    (world, all, room)
}

#[test]
fn all_others_in_the_room_read_it_under_the_name_that_the_server_knows_and_nobody_else() {
    let (mut world, [host, member, other, watches, outside], room) = inhabited(ServerConfig::default());
    assert_eq!(say(&mut world, member, 7, "  cafe\u{301} ?  "), Ok(Response::Done));
    let text = ("P2".to_owned(), 7, "café ?".to_owned());
    for reader in [host, other, watches] {
        assert_eq!(read(&world, reader), std::slice::from_ref(&text));
        assert!(matches!(&news(&world, reader)[0],
            ChatNews::Text { from, place: ChatPlace::Room(id), .. }
                if from.id == world.fakes[member].id() && *id == room.id));
    }
    assert!(news(&world, member).is_empty() && news(&world, outside).is_empty());
    // Who is in no room, and who only watches, writes to nobody.
    assert_eq!(fault(say(&mut world, outside, 1, "hi")), ChatFault::NotInRoom);
    assert_eq!(fault(say(&mut world, watches, 1, "hi")), ChatFault::OnlyWatches);
    // Who has left reads nothing any more.
    assert_eq!(world.answer(other, Request::LeaveRoom), Ok(Response::Done));
    assert_eq!(say(&mut world, host, 1, "gone?"), Ok(Response::Done));
    assert_eq!((read(&world, other).len(), read(&world, member).len()), (1, 1));
    assert_eq!(world.server.counters().room_texts, 2);
}

#[test]
fn a_text_that_breaks_the_rule_reaches_nobody_and_names_the_limit() {
    let (mut world, [host, member, ..], _) = inhabited(ServerConfig::default());
    for (text, said) in [
        ("", "at least one character"),
        ("\u{200b}\u{202e}", "no control"),
        ("red\u{1b}[31m", "U+001B"),
        (&"x".repeat(257), "256 characters"),
        (&"\u{1f600}".repeat(120), "448 bytes"),
    ] {
        let ChatFault::Text { what } = fault(say(&mut world, host, 1, text)) else { panic!("{text}") };
        assert!(what.contains(said), "{text:?}: {what}");
    }
    assert!(news(&world, member).is_empty());
    assert_eq!(world.server.counters().refusals.of(Refusal::ChatText), 5);
}

#[test]
fn a_flood_of_texts_reaches_the_others_at_one_a_second_and_the_flooder_is_told_when_to_go_on() {
    let (mut world, [host, member, other, ..], _) = inhabited(ServerConfig::default());
    let out = world.server.counters().datagrams_out;
    let (mut taken, mut waits, mut asked) = (0, Vec::new(), 0u64);
    for _ in 0..20 {
        // Thirty requests a second are ten more than a player may make at all.
        for _ in 0..30 {
            asked += 1;
            match say(&mut world, member, asked, "buy") {
                Ok(_) => taken += 1,
                Err(RequestError::Chat(ChatFault::TooFast { retry_after_ms })) => waits.push(retry_after_ms),
                Err(RequestError::Limited { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        world.pass(Duration::from_secs(1));
    }
    assert!((27..=28).contains(&taken), "8 at once and one a second: {taken}");
    assert!(!waits.is_empty() && waits.iter().all(|ms| (1..=1000).contains(ms)), "{waits:?}");
    assert_eq!((read(&world, host).len(), read(&world, other).len()), (taken, taken));
    let counters = world.server.counters();
    assert!(counters.refusals.of(Refusal::ChatRate) > 100, "{:?}", counters.refusals);
    println!(
        "{asked} texts asked for in 20 s, {taken} reached each of 3 readers; the server sent {} datagrams",
        counters.datagrams_out - out
    );
    // The others write on.
    assert_eq!(say(&mut world, host, 1, "stop it"), Ok(Response::Done));
}

/// Makes a room with so many players.
fn crowd(count: u8) -> (World, Vec<usize>) {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, RoomOptions { auto_allow: true, capacity: count.into(), ..named("r") });
    let mut all = vec![host];
    for n in 2..=count {
        let member = world.player(n, &format!("203.0.113.{n}:4000"));
        assert!(world.answer(member, by_name("r")).is_ok());
        all.push(member);
    }
    // What is told of the members has come.
    world.pass(Duration::from_secs(10));
    (world, all)
}

#[test]
fn all_of_a_full_room_together_write_no_more_than_can_be_read() {
    let (mut world, all) = crowd(32);
    let mut taken = 0;
    for second in 0..10 {
        for index in &all {
            taken += usize::from(say(&mut world, *index, second, "spam").is_ok());
        }
        world.pass(Duration::from_secs(1));
    }
    println!("{taken} of 320 texts of 32 players went to all within ten seconds");
    assert!((100..=130).contains(&taken), "30 at once and 10 a second: {taken}");
    let counters = world.server.counters();
    assert!(counters.refusals.of(Refusal::ChatRoomRate) > 100, "{:?}", counters.refusals);
}

#[test]
fn who_takes_nothing_is_left_out_and_holds_up_nobody() {
    let (mut world, mut all) = crowd(9);
    let silent = all.pop().unwrap();
    // It is there as far as the server knows, for 35 s.
    world.fakes[silent].dead = true;
    let mut taken = 0;
    for second in 0..30 {
        for index in &all {
            taken += usize::from(say(&mut world, *index, second, &"x".repeat(256)).is_ok());
            world.ping(*index);
        }
        world.pass(Duration::from_secs(1));
    }
    let counters = world.server.counters();
    println!("{taken} texts; {} were kept from the one who takes nothing", counters.texts_dropped);
    assert!(taken >= 230 && counters.texts_dropped > 50, "{taken}, {counters:?}");
    // Its own texts are not read by who writes them.
    assert_eq!(all.iter().map(|index| read(&world, *index).len()).sum::<usize>(), taken * (all.len() - 1));
}

#[test]
fn the_operator_switches_chat_off_and_on_and_all_hear_of_it() {
    let off = ServerConfig { chat: false, ..ServerConfig::default() };
    let (mut world, [host, member, ..], _) = inhabited(off.clone());
    let switched = |on| ChatNews::Switched { on };
    assert_eq!(news(&world, host), [switched(false)], "at the login");
    assert_eq!(fault(say(&mut world, host, 1, "hi")), ChatFault::Off);
    let now = world.now;
    world.server.reconfigure(now, ServerConfig { chat: true, ..off.clone() });
    world.turn();
    assert_eq!(news(&world, member), [switched(false), switched(true)]);
    assert_eq!(say(&mut world, host, 1, "hi"), Ok(Response::Done));
    world.server.reconfigure(now, off);
    world.turn();
    assert_eq!(news(&world, host).last(), Some(&switched(false)));
    assert_eq!(world.server.counters().refusals.of(Refusal::ChatOff), 1);
}

#[test]
fn reports_are_kept_for_the_operator_and_say_nothing_about_who_is_here() {
    let (mut world, [host, member, .., outside], room) = inhabited(ServerConfig::default());
    let report = |world: &mut World, by: usize, player: PlayerId| {
        world.answer(by, Request::Chat(ChatRequest::Report { player, text: "rude\n\u{202e}".into() }))
    };
    let there = world.fakes[member].id();
    let nobody = PlayerId([9; 16]);
    for player in [there, nobody, world.fakes[outside].id()] {
        assert_eq!(report(&mut world, host, player), Ok(Response::Done));
    }
    let rows: Vec<ReportRow> = world.server.reports();
    let names: Vec<(&str, bool)> = rows.iter().map(|row| (row.name.as_str(), row.same_room)).collect();
    assert_eq!(names, [("P2", true), ("", false), ("P5", false)]);
    assert_eq!((rows[0].by_name.as_str(), rows[0].text.as_str()), ("P1", "rude"));
    assert_eq!(rows[0].room.as_deref(), Some(room.code.as_str()));
    // At most five at once, and never more than are kept.
    let all = (0..20).filter(|_| report(&mut world, host, there).is_ok()).count();
    assert_eq!(all, 2);
    for minute in 0..600u32 {
        world.pass(Duration::from_secs(61));
        let _ = report(&mut world, host, PlayerId([minute as u8; 16]));
        if minute > 520 {
            break;
        }
    }
    assert!(world.server.reports().len() <= 500);
}
