//! Rooms and matches as players see them.

use super::*;
use crate::server::tests::{Fake, World, at, by_name, named};
use traversal_core::wire::message::{MatchEnd, Method, RoomEnd, RoomQuery, RoomSummary};

fn match_ends(fake: &Fake) -> Vec<MatchEnd> {
    fake.told
        .iter()
        .filter_map(|message| match message {
            ToPlayer::MatchEnded { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect()
}

fn room_ends(fake: &Fake) -> Vec<RoomEnd> {
    fake.told
        .iter()
        .filter_map(|message| match message {
            ToPlayer::RoomEnded { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_join_brings_the_room_two_plans_and_the_members() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    let room = world.host(host, named("Room"));
    assert_eq!(world.answer(joiner, by_name("rOOm")), Ok(Response::Room(room)));

    let (of_host, of_joiner) = (world.fakes[host].plans(), world.fakes[joiner].plans());
    assert_eq!((of_host.len(), of_joiner.len()), (1, 1));
    let (of_host, of_joiner) = (&of_host[0], &of_joiner[0]);
    assert!(of_host.hosting && !of_joiner.hosting);
    assert_eq!(of_host.match_id, of_joiner.match_id);
    assert_eq!(of_host.pair_secret, of_joiner.pair_secret);
    assert_eq!(of_host.peer.id, world.fakes[joiner].id());
    assert_eq!(of_joiner.peer_ephemeral, [1; 32]);
    assert_eq!(of_joiner.peer_public, [at("203.0.113.1:4000")]);
    assert!(of_joiner.methods.contains(&Method::Cone) && of_host.methods == of_joiner.methods);
    assert!(of_joiner.peer_local.is_empty());
    let both = [world.fakes[host].id(), world.fakes[joiner].id()];
    assert_eq!(world.fakes[host].members(), both);
    assert_eq!(world.fakes[joiner].members(), both);
}

#[test]
fn codes_serve_as_well_as_names_and_an_unnamed_room_is_called_by_its_code() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    let room = world.host(host, named(""));
    assert_eq!(room.name, room.code);
    let target = RoomTarget::Code(room.code.to_lowercase());
    let join = Request::JoinRoom { target, password: None };
    assert_eq!(world.answer(joiner, join), Ok(Response::Room(room)));
}

#[test]
fn each_refusal_says_why() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    assert_eq!(world.answer(joiner, by_name("r")), Err(RequestError::NoSuchRoom));
    world.host(host, RoomOptions { password: Some("secret".into()), ..named("r") });
    assert_eq!(world.answer(joiner, by_name("r")), Err(RequestError::WrongPassword));
    assert_eq!(world.answer(host, by_name("r")), Err(RequestError::AlreadyInRoom));
    assert_eq!(world.answer(joiner, Request::LeaveRoom), Err(RequestError::NotInRoom));
    let kick = Request::Kick {
        player: world.fakes[host].id(),
        reason: String::new(),
        rejoin: message::Rejoin::Never,
    };
    assert_eq!(world.answer(joiner, kick.clone()), Err(RequestError::NotInRoom));
    let create = Request::CreateRoom { options: named("R ") };
    assert_eq!(world.answer(joiner, create), Err(RequestError::NameTaken));
    let password = Some("secret".into());
    let join = || Request::JoinRoom { target: RoomTarget::Name("r".into()), password: password.clone() };
    assert!(world.answer(joiner, join()).is_ok());
    assert_eq!(world.answer(joiner, kick), Err(RequestError::NotHost));
    let nobody =
        Request::Kick { player: PlayerId([0; 16]), reason: String::new(), rejoin: message::Rejoin::Never };
    assert_eq!(world.answer(host, nobody), Err(RequestError::NoSuchPlayer));

    let other = world.add(3, "198.51.100.2:5000");
    world.fakes[other].login.game_protocol = 2;
    world.log_in(other);
    assert_eq!(world.answer(other, join()), Err(RequestError::OtherVersion { room: 1, yours: 2 }));
    let stranger = world.add(4, "198.51.100.3:5000");
    world.fakes[stranger].login.game = "another".into();
    world.log_in(stranger);
    assert_eq!(world.answer(stranger, join()), Err(RequestError::NoSuchRoom));
}

#[test]
fn the_host_is_asked_where_the_room_is_not_open_to_all() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    world.host(host, RoomOptions { auto_allow: false, ..named("r") });
    let last_ask = |fake: &Fake| {
        fake.told
            .iter()
            .rev()
            .find_map(|message| match message {
                ToPlayer::JoinRequest { join, .. } => Some(*join),
                _ => None,
            })
            .expect("a request to join")
    };

    let first = world.ask(joiner, by_name("r"));
    let join = last_ask(&world.fakes[host]);
    world.say(joiner, ToServer::JoinAnswer { join, allow: true, reason: String::new() });
    assert_eq!(world.fakes[joiner].answer(first), None, "only the host may answer");
    world.say(host, ToServer::JoinAnswer { join, allow: false, reason: "too\u{7} late".into() });
    let refused = RequestError::Refused { reason: "too late".into() };
    assert_eq!(world.fakes[joiner].answer(first), Some(Err(refused)));

    let second = world.ask(joiner, by_name("r"));
    let join = last_ask(&world.fakes[host]);
    assert!(world.fakes[joiner].plans().is_empty(), "no address before the host's yes");
    world.say(host, ToServer::JoinAnswer { join, allow: true, reason: String::new() });
    assert!(matches!(world.fakes[joiner].answer(second), Some(Ok(Response::Room(_)))));
    assert_eq!(world.fakes[joiner].plans().len(), 1);

    assert!(world.answer(joiner, Request::LeaveRoom).is_ok());
    let third = world.ask(joiner, by_name("r"));
    world.pass(Duration::from_secs(19));
    assert_eq!(world.fakes[joiner].answer(third), None);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.fakes[joiner].answer(third), Some(Err(RequestError::HostSilent)));
}

#[test]
fn leaving_kicking_and_closing_end_matches_with_their_reasons() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let leaver = world.player(2, "198.51.100.1:5000");
    let kicked = world.player(3, "198.51.100.2:5000");
    let stayer = world.player(4, "198.51.100.3:5000");
    world.host(host, RoomOptions { migrate: false, ..named("r") });
    for joiner in [leaver, kicked, stayer] {
        assert!(world.answer(joiner, by_name("r")).is_ok());
    }
    assert_eq!(world.answer(leaver, Request::LeaveRoom), Ok(Response::Done));
    assert_eq!(match_ends(&world.fakes[host]), [MatchEnd::Left]);
    assert_eq!(world.fakes[stayer].members().len(), 3);

    let kick = Request::Kick {
        player: world.fakes[kicked].id(),
        reason: "cheats".into(),
        rejoin: message::Rejoin::Never,
    };
    assert_eq!(world.answer(host, kick), Ok(Response::Done));
    assert_eq!(match_ends(&world.fakes[kicked]), [MatchEnd::Kicked]);
    assert_eq!(room_ends(&world.fakes[kicked]), [RoomEnd::Kicked { reason: "cheats".into() }]);
    assert_eq!(match_ends(&world.fakes[host]), [MatchEnd::Left, MatchEnd::Kicked]);

    assert_eq!(world.answer(host, Request::LeaveRoom), Ok(Response::Done));
    assert_eq!(room_ends(&world.fakes[stayer]), [RoomEnd::Closed]);
    assert_eq!(match_ends(&world.fakes[stayer]), [MatchEnd::Left]);
    assert_eq!(world.server.gauges().matches, 0);
    assert_eq!(world.answer(stayer, by_name("r")), Err(RequestError::NoSuchRoom));
    world.host(kicked, named("r"));
}

#[test]
fn metadata_changes_reach_members_and_listings() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.player(2, "198.51.100.1:5000");
    world.host(host, named("r"));
    assert!(world.answer(joiner, by_name("r")).is_ok());
    let metadata: BTreeMap<String, String> = [("map".to_string(), "ice".to_string())].into();
    assert_eq!(world.answer(host, Request::SetMetadata(metadata.clone())), Ok(Response::Done));
    let changed = world.fakes[joiner]
        .told
        .iter()
        .any(|message| matches!(message, ToPlayer::RoomChanged(info) if info.metadata == metadata));
    assert!(changed);
    let Ok(Response::Rooms { rooms, next }) =
        world.answer(joiner, Request::ListRooms { query: Default::default() })
    else {
        panic!("a page")
    };
    assert_eq!(next, None);
    let [RoomSummary { members, metadata: listed, .. }] = &rooms[..] else { panic!("one room") };
    assert_eq!((*members, listed), (2, &metadata));
}

#[test]
fn a_room_of_64_fits_the_wire() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, RoomOptions { capacity: 64, ..named("r") });
    for index in 2..=64 {
        let joiner = world.player(index, &format!("198.51.100.{index}:5000"));
        assert!(world.answer(joiner, by_name("r")).is_ok(), "{index}");
    }
    // A room that fills within a moment tells so four times a second.
    world.pass(Duration::from_millis(250));
    assert_eq!(world.fakes[host].members().len(), 64);
    assert_eq!(world.fakes[63].members().len(), 64);
    assert!(world.sent.iter().all(|(.., datagram)| datagram.len() <= traversal_core::wire::MAX_CONTROL));
}

#[test]
fn relay_only_players_get_plans_without_addresses() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let joiner = world.add(2, "203.0.113.1:5000");
    world.fakes[joiner].login.relay_only = true;
    world.log_in(joiner);
    world.host(host, named("r"));
    assert!(world.answer(joiner, by_name("r")).is_ok());
    for index in [host, joiner] {
        let plan = &world.fakes[index].plans()[0];
        assert!(plan.peer_public.is_empty() && plan.peer_local.is_empty());
    }
}

#[test]
fn listings_page_through_all_rooms_and_leave_other_games_out() {
    let mut world = World::new();
    let mut names = Vec::new();
    for index in 0..40u8 {
        let host = world.player(index + 1, &format!("203.0.113.{index}:4000"));
        let name = format!("room {index:02} {}", "x".repeat(50));
        world.host(host, named(&name));
        names.push(name);
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let reader = world.player(200, "198.51.100.1:5000");
        let query = RoomQuery { after, ..RoomQuery::default() };
        let page = world.answer(reader, Request::ListRooms { query });
        let Ok(Response::Rooms { rooms, next }) = page else { panic!("a page, not {page:?}") };
        assert!(!rooms.is_empty());
        seen.extend(rooms.into_iter().map(|room| room.name));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
}

#[test]
fn a_full_page_of_short_names_can_be_read() {
    let mut world = World::new();
    for index in 0..30u8 {
        let host = world.player(index + 1, &format!("203.0.113.{index}:4000"));
        world.host(host, named(&format!("room number {index:02}")));
    }
    let reader = world.player(200, "198.51.100.1:5000");
    let page = world.answer(reader, Request::ListRooms { query: Default::default() });
    assert!(matches!(&page, Ok(Response::Rooms { rooms, next: Some(_) }) if rooms.len() >= 9), "{page:?}");
}
