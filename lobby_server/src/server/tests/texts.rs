//! Texts of players who mean harm: refused with the rule, or told to nobody as they came.

use std::collections::BTreeMap;

use super::*;
use traversal_core::text::{GAME, MODE, NAME, REASON};
use traversal_core::wire::message::{Farewell, QuickMatch, RoomEnd};

/// These must be given to nobody's screen; with each stands the part of an error that names it.
const ATTACKS: [(&str, &str); 10] = [
    ("gnp.\u{202e}exe.ynnuf", "U+202E"),
    ("\u{200b}\u{200d}\u{feff}", "U+200B"),
    ("Ann\u{e0041}\u{e0062}\u{e007f}", "U+E0041"),
    ("\u{1b}[2J", "U+001B"),
    ("a\0b", "U+0000"),
    ("one\ntwo", "U+000A"),
    ("one\u{2028}two", "U+2028"),
    ("Z\u{335}\u{335}\u{335}\u{335}\u{335}\u{335}algo", "4 marks"),
    ("\u{3164}", "U+3164"),
    ("\u{2800}", "can be seen"),
];

fn refusal(world: &mut World, player: usize, request: Request) -> String {
    match world.answer(player, request) {
        Err(error @ RequestError::Malformed { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rooms_metadata_and_modes_of_a_player_who_means_harm_are_refused_with_the_rule() {
    for (text, part) in ATTACKS {
        let mut world = World::new();
        let player = world.player(1, "203.0.113.1:4000");
        let room = |name: &str, metadata: BTreeMap<String, String>| Request::CreateRoom {
            options: RoomOptions { name: name.into(), metadata, ..RoomOptions::default() },
        };
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let mode = Request::QuickMatch(QuickMatch { mode: text.into(), ..QuickMatch::default() });
        for (request, what) in [
            (room(text, BTreeMap::new()), "room name"),
            (room("r", map(text, "v")), "key of the metadata"),
            (room("r", map("k", text)), "value of the metadata"),
            (mode, MODE.what),
        ] {
            let error = refusal(&mut world, player, request);
            assert!(error.contains(what) && error.contains(part), "{text:?}: {error}");
        }
        world.answer(player, room("r", BTreeMap::new())).unwrap();
        let error = refusal(&mut world, player, Request::SetMetadata(map("k", text)));
        assert!(error.contains(part), "{text:?}: {error}");
    }
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    let long = RoomOptions { name: "x".repeat(65), ..RoomOptions::default() };
    let error = refusal(&mut world, player, Request::CreateRoom { options: long });
    for part in ["64 characters", "64 bytes", "has 65"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_players_name_is_clipped_and_cleaned_and_keeps_it_out_only_when_nothing_is_left() {
    for (text, _) in ATTACKS {
        let mut world = World::new();
        let (host, guest) = (world.player(1, "203.0.113.1:4000"), world.add(2, "203.0.113.2:4000"));
        world.fakes[guest].login.name = text.into();
        world.log_in(guest);
        if NAME.clean(text).is_empty() {
            let refused = world.fakes[guest].refused.clone().expect("refused").to_string();
            assert!(refused.contains("name: at least one character that can be seen"), "{refused}");
            continue;
        }
        let options = RoomOptions { name: "r".into(), ..RoomOptions::default() };
        world.answer(host, Request::CreateRoom { options }).unwrap();
        let target = RoomTarget::Name("r".into());
        world.answer(guest, Request::JoinRoom { target, password: None }).unwrap();
        let told = world.fakes[host].told.iter().rev().find_map(|message| match message {
            ToPlayer::Members { members, .. } if members.len() == 2 => Some(members[1].name.clone()),
            _ => None,
        });
        assert_eq!(told, Some(NAME.clean(text)));
        assert_eq!(
            world.server.roster.party(&world.server.cx, world.fakes[guest].id()).unwrap().info.name,
            NAME.clean(text)
        );
    }
    let mut world = World::new();
    for (number, name) in [(1, "é".repeat(300)), (2, "Z".to_owned() + &"\u{335}".repeat(400))] {
        let player = world.add(number, &format!("203.0.113.{number}:4000"));
        world.fakes[player].login.name.clone_from(&name);
        world.log_in(player);
        let kept = world
            .server
            .roster
            .party(&world.server.cx, world.fakes[player].id())
            .expect("it is let in")
            .info
            .name;
        assert_eq!(kept, NAME.clean(&name));
    }
}

#[test]
fn games_are_named_by_texts_too() {
    for (text, part) in ATTACKS {
        let mut world = World::new();
        let player = world.add(1, "203.0.113.1:4000");
        world.fakes[player].login.game = text.into();
        world.log_in(player);
        let refused = world.fakes[player].refused.clone().expect("refused").to_string();
        assert!(refused.contains(GAME.what) && refused.contains(part), "{text:?}: {refused}");
    }
}

#[test]
fn reasons_reach_the_other_player_without_what_steers_or_hides() {
    for (text, _) in ATTACKS {
        let mut world = World::new();
        let (host, guest) = (world.player(1, "203.0.113.1:4000"), world.player(2, "203.0.113.2:4000"));
        let options = RoomOptions { name: "r".into(), auto_allow: false, ..RoomOptions::default() };
        world.answer(host, Request::CreateRoom { options }).unwrap();
        let join = |world: &mut World, allow: bool| {
            let target = RoomTarget::Name("r".into());
            let request = world.ask(guest, Request::JoinRoom { target, password: None });
            let join = world.fakes[host].told.iter().rev().find_map(|message| match message {
                ToPlayer::JoinRequest { join, .. } => Some(*join),
                _ => None,
            });
            world.say(host, ToServer::JoinAnswer { join: join.unwrap(), allow, reason: text.repeat(20) });
            world.fakes[guest].answer(request)
        };
        let refused = Err(RequestError::Refused { reason: REASON.clean(&text.repeat(20)) });
        assert_eq!(join(&mut world, false), Some(refused));
        assert!(matches!(join(&mut world, true), Some(Ok(Response::Room(_)))));
        let player = world.fakes[guest].id();
        world
            .answer(host, Request::Kick { player, reason: text.repeat(20), rejoin: message::Rejoin::Now })
            .unwrap();
        let kicked = RoomEnd::Kicked { reason: REASON.clean(&text.repeat(20)) };
        let told = world.fakes[guest]
            .told
            .iter()
            .any(|message| matches!(message, ToPlayer::RoomEnded { reason, .. } if *reason == kicked));
        assert!(told, "{text:?}: {:?}", world.fakes[guest].told);
    }
}

#[test]
fn names_that_look_the_same_open_one_room_and_lead_into_it() {
    let mut world = World::new();
    let players: Vec<usize> = (1..=4).map(|n| world.player(n, &format!("203.0.113.{n}:4000"))).collect();
    let room = |name: &str| Request::CreateRoom {
        options: RoomOptions {
            name: name.into(),
            password: Some("Cafe\u{301}".into()),
            ..RoomOptions::default()
        },
    };
    let opened = world.answer(players[0], room("Cafe\u{301} paypal"));
    assert!(
        matches!(opened, Ok(Response::Room(info)) if info.name == "Café paypal"),
        "kept in normal form C"
    );
    for (player, name) in [(players[1], "CAFÉ paypal"), (players[2], "Café p\u{430}yp\u{430}l")] {
        assert_eq!(world.answer(player, room(name)), Err(RequestError::NameTaken), "{name}");
    }
    let target = RoomTarget::Name("  café  PayPal".into());
    let join = Request::JoinRoom { target, password: Some("Café".into()) };
    assert!(matches!(world.answer(players[3], join), Ok(Response::Room(_))));
}

#[test]
fn who_logs_in_from_another_place_is_told_so() {
    let mut world = World::new();
    let first = world.player(1, "203.0.113.1:4000");
    world.player(1, "203.0.113.9:4000");
    let told = |frame: &Frame<ToPlayer>| matches!(frame, Frame::Goodbye { why: Farewell::Replaced, .. });
    assert!(world.fakes[first].frames.iter().any(told), "{:?}", world.fakes[first].frames);
}
