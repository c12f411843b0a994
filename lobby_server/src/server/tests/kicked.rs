//! Players who were put out, and how they try to come back.

use std::time::Duration;

use traversal_core::id::RoomId;
use traversal_core::wire::message::{
    KickNote, Rejoin, Request, RequestError, Response, RoomEnd, RoomInfo, RoomOptions, RoomTicket, ToPlayer,
    ToServer,
};

use super::{World, back_to, by_name, named};

/// A room whose host has put the third player out. The players, the room and the ticket of the one who is out.
fn kicked(options: RoomOptions, rejoin: Rejoin) -> (World, [usize; 3], RoomInfo, RoomTicket) {
    let mut world = World::new();
    let players = [(1, "203.0.113.1:4000"), (2, "198.51.100.1:5000"), (3, "198.51.100.2:5000")]
        .map(|(secret, address)| world.player(secret, address));
    let [host, member, out] = players;
    let auto_allow = options.auto_allow;
    let room = world.host(host, options);
    for joiner in [member, out] {
        let request = world.ask(joiner, by_name("r"));
        if !auto_allow {
            answer_last(&mut world, host, true);
        }
        assert!(matches!(world.fakes[joiner].answer(request), Some(Ok(Response::Room(_)))));
    }
    let ticket = world.fakes[out].ticket();
    let kick = Request::Kick { player: world.fakes[out].id(), reason: "cheats".into(), rejoin };
    assert_eq!(world.answer(host, kick), Ok(Response::Done));
    (world, players, room, ticket)
}

fn answer_last(world: &mut World, host: usize, allow: bool) {
    let join = world.fakes[host].told.iter().rev().find_map(|message| match message {
        ToPlayer::JoinRequest { join, .. } => Some(*join),
        _ => None,
    });
    let answer = ToServer::JoinAnswer { join: join.expect("a request"), allow, reason: String::new() };
    world.say(host, answer);
}

#[test]
fn who_was_put_out_stays_out_whoever_hosts_and_by_whatever_way() {
    let (mut world, [host, member, out], room, ticket) = kicked(named("r"), Rejoin::Never);
    for request in [by_name("r"), back_to(&room, ticket)] {
        let answer = world.answer(out, request);
        assert!(matches!(answer, Err(RequestError::Banned { .. })), "{answer:?}");
    }
    // With a new session, and under another host.
    let again = world.player(3, "198.51.100.7:5000");
    assert!(world.answer(host, Request::LeaveRoom).is_ok());
    assert_eq!(world.fakes[member].members(), [world.fakes[member].id()]);
    let answer = world.answer(again, by_name("r"));
    assert!(matches!(answer, Err(RequestError::Banned { .. })), "{answer:?}");
    let friend = world.player(4, "198.51.100.4:5000");
    assert!(world.answer(friend, by_name("r")).is_ok());
}

#[test]
fn who_may_rejoin_does() {
    let (mut world, [.., out], ..) = kicked(named("r"), Rejoin::Now);
    assert!(matches!(world.answer(out, by_name("r")), Ok(Response::Room(_))));
}

fn notes_of(world: &World, index: usize) -> Vec<KickNote> {
    let told = world.fakes[index].told.iter();
    told.filter_map(|message| match message {
        ToPlayer::KickNotes { notes, .. } => Some(notes.clone()),
        _ => None,
    })
    .flatten()
    .collect()
}

#[test]
fn a_kick_outlives_a_restart_by_the_notes_that_any_member_holds_and_none_can_make() {
    let (mut world, [host, member, out], room, ticket) = kicked(named("r"), Rejoin::Never);
    let tickets = [host, member].map(|player| world.fakes[player].ticket());
    let out_id = world.fakes[out].id();
    assert_eq!(notes_of(&world, member), notes_of(&world, host));
    let notes = notes_of(&world, member);
    assert_eq!(notes.iter().map(|note| note.player).collect::<Vec<_>>(), [out_id]);
    assert!(notes_of(&world, out).is_empty());
    // Who comes later holds them, too.
    let late = world.player(4, "198.51.100.4:5000");
    assert!(world.answer(late, by_name("r")).is_ok());
    assert_eq!(notes_of(&world, late), notes);
    assert!(!format!("{notes:?}").contains(&format!("{:?}", notes[0].seal)), "a secret is not printed");

    world.restart();
    let host = world.player(1, "203.0.113.1:4000");
    assert!(world.answer(host, back_to(&room, tickets[0])).is_ok());
    let out = world.player(3, "198.51.100.2:5000");
    assert!(world.answer(out, by_name("r")).is_ok(), "nobody has said anything yet");
    let member = world.player(2, "198.51.100.1:5000");
    assert!(world.answer(member, back_to(&room, tickets[1])).is_ok());

    // What is forged, of another room, or shown from outside counts for nothing.
    let member_id = world.fakes[member].id();
    let outsider = world.player(5, "198.51.100.5:5000");
    let lie = |player| vec![KickNote { player, ..notes[0] }];
    for (who, room, notes) in [
        (out, room.id, lie(member_id)),
        (out, room.id, vec![KickNote { until_s: 7, ..notes[0] }]),
        (out, RoomId(room.id.0 ^ 1), notes.clone()),
        (outsider, room.id, notes.clone()),
    ] {
        world.say(who, ToServer::KickNotes { room, notes });
        assert_eq!(world.fakes[host].members().len(), 3);
    }

    world.say(member, ToServer::KickNotes { room: room.id, notes });
    assert_eq!(world.fakes[host].members(), [world.fakes[host].id(), member_id]);
    for request in [by_name("r"), back_to(&room, ticket)] {
        let answer = world.answer(out, request);
        assert!(matches!(answer, Err(RequestError::Banned { .. })), "{answer:?}");
    }
    // And it goes on: those who come now hold the note.
    let late = world.player(6, "198.51.100.6:5000");
    assert!(world.answer(late, by_name("r")).is_ok());
    assert_eq!(notes_of(&world, late).len(), 1);
}

#[test]
fn a_note_ends_a_day_after_the_kick_over_a_restart() {
    for (later, refused) in [(86_000, true), (87_000, false)] {
        let mut world = World::new();
        world.server.set_time_of_day(world.now, 1_800_000_000);
        let [host, out] = [(1, "203.0.113.1:4000"), (3, "198.51.100.2:5000")]
            .map(|(secret, address)| world.player(secret, address));
        let room = world.host(host, named("r"));
        let code = Request::TakeUpRoom {
            ticket: world.fakes[host].ticket(),
            code: room.code.clone(),
            options: room.options(None),
        };
        assert!(world.answer(out, by_name("r")).is_ok());
        let rejoin = Rejoin::After { seconds: 86_400 };
        let kick = Request::Kick { player: world.fakes[out].id(), reason: String::new(), rejoin };
        assert!(world.answer(host, kick).is_ok());
        let notes = notes_of(&world, host);
        world.restart();
        // The clock of the server goes on from when the room was taken up.
        world.server.set_time_of_day(world.now, 1_800_000_000);
        let host = world.player(1, "203.0.113.1:4000");
        assert!(world.answer(host, code).is_ok());
        world.server.set_time_of_day(world.now, 1_800_000_000 + later);
        world.say(host, ToServer::KickNotes { room: room.id, notes });
        let out = world.player(3, "198.51.100.2:5000");
        assert_eq!(world.answer(out, by_name("r")).is_err(), refused, "{later} s later");
    }
}

#[test]
fn after_a_restart_an_old_ticket_opens_no_invite_only_room() {
    let options = RoomOptions { auto_allow: false, ..named("r") };
    let (mut world, [host, _, out], room, ticket) = kicked(options, Rejoin::Never);
    let of_host = world.fakes[host].ticket();
    world.restart();
    let host = world.player(1, "203.0.113.1:4000");
    assert!(matches!(world.answer(host, back_to(&room, of_host)), Ok(Response::Room(_))));
    let out = {
        let address = world.fakes[out].address.to_string();
        world.player(3, &address)
    };
    let request = world.ask(out, back_to(&room, ticket));
    assert_eq!(world.fakes[out].answer(request), None, "the host is asked");
    answer_last(&mut world, host, false);
    assert!(matches!(world.fakes[out].answer(request), Some(Err(RequestError::Refused { .. }))));
}

#[test]
fn who_comes_first_after_a_restart_with_an_old_ticket_does_not_keep_the_room() {
    let (mut world, [host, member, _], room, ticket) = kicked(named("r"), Rejoin::Never);
    let (of_host, of_member) = (world.fakes[host].ticket(), world.fakes[member].ticket());
    world.restart();
    let out = world.player(3, "198.51.100.2:5000");
    assert!(matches!(world.answer(out, back_to(&room, ticket)), Ok(Response::Room(_))));
    // It says that the host is silent, until it hosts.
    let seen = ToServer::HostSeen { room: room.id, epoch: 0, heard: false };
    world.say(out, seen);
    world.pass(Duration::from_secs(11));
    assert_eq!(world.fakes[out].members(), [world.fakes[out].id()], "it hosts");

    let member = world.player(2, "198.51.100.1:5000");
    assert!(matches!(world.answer(member, back_to(&room, of_member)), Ok(Response::Room(_))));
    let host = world.player(1, "203.0.113.1:4000");
    assert!(matches!(world.answer(host, back_to(&room, of_host)), Ok(Response::Room(_))));
    let ended = world.fakes[out]
        .told
        .iter()
        .any(|message| matches!(message, ToPlayer::RoomEnded { reason: RoomEnd::HostReplaced { .. }, .. }));
    assert!(ended, "it is out");
    let inside = world.fakes[host].members();
    assert_eq!(inside, [world.fakes[host].id(), world.fakes[member].id()]);
}

#[test]
fn who_takes_a_room_up_says_nothing_about_it_that_the_host_did_not_say() {
    // The host wants neither another host nor strangers.
    let options = RoomOptions { migrate: false, ..named("r") };
    let (mut world, [_, member, _], room, _) = kicked(options, Rejoin::Never);
    let of_member = world.fakes[member].ticket();
    world.restart();
    let member = world.player(2, "198.51.100.1:5000");
    let lie = RoomInfo { migrate: true, ..room.clone() };
    assert_eq!(world.answer(member, back_to(&lie, of_member)), Err(RequestError::NoSuchRoom));

    let options = RoomOptions { password: Some("sesame".into()), ..named("r") };
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let room = world.host(host, options.clone());
    let member = world.player(2, "198.51.100.1:5000");
    let join = Request::JoinRoom {
        target: traversal_core::wire::message::RoomTarget::Name("r".into()),
        password: options.password.clone(),
    };
    assert!(world.answer(member, join.clone()).is_ok());
    let (of_host, of_member) = (world.fakes[host].ticket(), world.fakes[member].ticket());
    world.restart();
    let member = world.player(2, "198.51.100.1:5000");
    let lie = RoomInfo { capacity: 64, public: true, ..room.clone() };
    let Ok(Response::Room(restored)) = world.answer(member, back_to(&lie, of_member)) else { panic!("in") };
    assert_eq!((restored.capacity, restored.public), (room.capacity, room.public));
    let stranger = world.player(8, "192.0.2.8:4000");
    for request in [by_name("r"), join.clone()] {
        assert_eq!(
            world.answer(stranger, request),
            Err(RequestError::WrongPassword),
            "until the host is back"
        );
    }
    let host = world.player(1, "203.0.113.1:4000");
    let back = Request::TakeUpRoom { ticket: of_host, code: room.code.clone(), options };
    assert!(matches!(world.answer(host, back), Ok(Response::Room(_))));
    assert!(world.answer(stranger, join).is_ok(), "the host's word counts again");
}

#[test]
fn a_ticket_ends_after_a_day() {
    let mut world = World::new();
    world.server.set_time_of_day(world.now, 1_800_000_000);
    let host = world.player(1, "203.0.113.1:4000");
    let room = world.host(host, named("r"));
    let ticket = world.fakes[host].ticket();
    for (later, good) in [(86_000, true), (87_000, false)] {
        world.restart();
        world.server.set_time_of_day(world.now, 1_800_000_000 + later);
        let again = world.player(1, "203.0.113.1:4000");
        let answer = world.answer(again, back_to(&room, ticket));
        assert_eq!(matches!(answer, Ok(Response::Room(_))), good, "{answer:?}");
    }
}
