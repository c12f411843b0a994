//! Invites: what they let in, when they are over, and that nobody makes one.

use std::time::Duration;

use traversal_core::wire::message::{
    InRoom, InviteFault, InviteTerms, InviteToken, MAX_OPEN_INVITES, Rejoin, Request, RequestError, Response,
    RoomInfo, RoomOptions,
};

use super::{World, back_to, by_name, named};

/// Returns a world with a host, whose room has a password and lets in nobody without its word, and three other players.
fn closed() -> (World, [usize; 4], RoomInfo) {
    let mut world = World::new();
    let players = [1, 2, 3, 4].map(|n| world.player(n, &format!("203.0.113.{n}:4000")));
    let options = RoomOptions { password: Some("sesame".into()), auto_allow: false, ..named("r") };
    let room = world.host(players[0], options);
    (world, players, room)
}

fn invite(world: &mut World, host: usize, terms: InviteTerms) -> InviteToken {
    match world.answer(host, Request::MakeInvite(terms)) {
        Ok(Response::Invite(token)) => token,
        other => panic!("an invite, not {other:?}"),
    }
}

fn by(room: &RoomInfo, token: InviteToken) -> Request {
    Request::JoinInvited { code: room.code.to_lowercase(), token: Some(token) }
}

fn over(why: InviteFault) -> Result<Response, RequestError> {
    Err(RequestError::InviteOver { why })
}

/// Lets so many seconds pass, in which these players give signs of life.
fn wait(world: &mut World, players: &[usize], seconds: u64) {
    for _ in 0..seconds {
        world.pass(Duration::from_secs(1));
        for player in players {
            world.ping(*player);
        }
    }
}

#[test]
fn an_invite_lets_in_past_the_password_and_the_hosts_word_for_its_time() {
    let (mut world, players, room) = closed();
    let [host, first, second, third] = players;
    let token = invite(&mut world, host, InviteTerms::for_minutes(1));
    assert!(matches!(world.answer(first, by(&room, token)), Ok(Response::Room(_))));
    wait(&mut world, &players, 58);
    assert!(matches!(world.answer(second, by(&room, token)), Ok(Response::Room(_))));
    wait(&mut world, &players, 3);
    assert_eq!(world.answer(third, by(&room, token)), over(InviteFault::Expired));
    assert_eq!(world.answer(third, by_name("r")), Err(RequestError::WrongPassword));
}

#[test]
fn an_invite_that_serves_once_lets_in_one_player_as_often_as_it_comes_back() {
    let (mut world, [host, first, second, _], room) = closed();
    let token = invite(&mut world, host, InviteTerms::once());
    assert!(matches!(world.answer(first, by(&room, token)), Ok(Response::Room(_))));
    assert!(world.answer(first, Request::LeaveRoom).is_ok());
    assert_eq!(world.answer(second, by(&room, token)), over(InviteFault::Used));
    assert!(matches!(world.answer(first, by(&room, token)), Ok(Response::Room(_))));
}

#[test]
fn nobody_makes_or_changes_an_invite_but_the_host_by_the_server() {
    let (mut world, [host, first, second, _], room) = closed();
    let token = invite(&mut world, host, InviteTerms::for_minutes(1));
    let mut forged = [token; 4];
    forged[0].until_s += 1;
    forged[1].number ^= 1;
    forged[2].once = true;
    forged[3].seal[15] ^= 1;
    for forged in forged {
        assert_eq!(world.answer(first, by(&room, forged)), over(InviteFault::Ended));
    }
    let other = world.host(second, RoomOptions { auto_allow: false, ..named("other") });
    assert_eq!(world.answer(first, by(&other, token)), over(InviteFault::Ended), "of another room");
    // A member is no host, and who is in no room neither.
    assert!(world.answer(first, by(&room, token)).is_ok());
    let make = || Request::MakeInvite(InviteTerms::once());
    assert_eq!(world.answer(first, make()), Err(RequestError::NotHost));
    let alone = world.player(5, "203.0.113.5:4000");
    assert_eq!(world.answer(alone, make()), Err(RequestError::NotInRoom));
    for minutes in [0, 10_081] {
        let answer = world.answer(host, Request::MakeInvite(InviteTerms::for_minutes(minutes)));
        assert!(matches!(answer, Err(RequestError::Malformed { .. })), "{answer:?}");
    }
}

#[test]
fn the_hosts_word_a_ban_and_another_host_end_all_invites() {
    let (mut world, [host, first, second, third], room) = closed();
    let terms = [InviteTerms::once(), InviteTerms::for_minutes(60)];
    let old = terms.map(|terms| invite(&mut world, host, terms));
    assert_eq!(world.answer(first, Request::RevokeInvites), Err(RequestError::NotInRoom));
    assert_eq!(world.answer(host, Request::RevokeInvites), Ok(Response::Done));
    for token in old {
        assert_eq!(world.answer(first, by(&room, token)), over(InviteFault::Ended));
    }
    let token = invite(&mut world, host, InviteTerms::for_minutes(60));
    for guest in [first, second] {
        assert!(world.answer(guest, by(&room, token)).is_ok());
    }
    // Who was put out is out whatever it shows, and an invite that it has serves nobody else.
    let kick =
        Request::Kick { player: world.fakes[first].id(), reason: String::new(), rejoin: Rejoin::Never };
    assert_eq!(world.answer(host, kick), Ok(Response::Done));
    assert_eq!(world.answer(third, by(&room, token)), over(InviteFault::Ended));
    let token = invite(&mut world, host, InviteTerms::for_minutes(60));
    let answer = world.answer(first, by(&room, token));
    assert!(matches!(answer, Err(RequestError::Banned { .. })), "{answer:?}");
    world.answer(host, Request::LeaveRoom).unwrap();
    assert_eq!(world.answer(third, by(&room, token)), over(InviteFault::Ended), "another one hosts");
}

#[test]
fn a_locked_room_is_opened_by_no_invite_and_they_serve_again_when_it_is_unlocked() {
    let (mut world, [host, first, ..], room) = closed();
    let token = invite(&mut world, host, InviteTerms::once());
    assert!(world.answer(host, Request::InRoom(InRoom::Lock(true))).is_ok());
    assert_eq!(world.answer(first, by(&room, token)), Err(RequestError::RoomLocked));
    assert!(world.answer(host, Request::InRoom(InRoom::Lock(false))).is_ok());
    assert!(matches!(world.answer(first, by(&room, token)), Ok(Response::Room(_))));
}

#[test]
fn an_invite_for_some_minutes_outlives_a_restart_and_one_that_serves_once_does_not() {
    let (mut world, [host, ..], room) = closed();
    world.server.set_time_of_day(world.now, 1_700_000_000);
    let lasting = invite(&mut world, host, InviteTerms::for_minutes(60));
    let once = invite(&mut world, host, InviteTerms::once());
    let ticket = world.fakes[host].ticket();
    world.restart();
    world.server.set_time_of_day(world.now, 1_700_000_060);
    let host = world.player(1, "203.0.113.1:4000");
    assert!(world.answer(host, back_to(&room, ticket)).is_ok());
    let [first, second] = [2, 3].map(|n| world.player(n, &format!("203.0.113.{n}:4000")));
    assert_eq!(world.answer(first, by(&room, once)), over(InviteFault::Ended));
    assert!(matches!(world.answer(second, by(&room, lasting)), Ok(Response::Room(_))));
}

#[test]
fn invites_that_serve_once_are_bounded_and_their_places_come_back() {
    let (mut world, [host, ..], _) = closed();
    let terms = InviteTerms { once: true, minutes: 1 };
    for _ in 0..MAX_OPEN_INVITES {
        invite(&mut world, host, terms);
        world.pass(Duration::from_millis(250));
        world.ping(host);
    }
    let full = Err(RequestError::TooManyInvites { most: MAX_OPEN_INVITES });
    assert_eq!(world.answer(host, Request::MakeInvite(terms)), full);
    // The others are not counted, since nothing is kept of them.
    invite(&mut world, host, InviteTerms::for_minutes(1));
    wait(&mut world, &[host], 61);
    invite(&mut world, host, terms);
}

/// A host that invites one after the other may do so all evening.
#[test]
fn an_invite_that_has_served_takes_no_place_from_the_next_one() {
    let (mut world, [host, guest, ..], room) = closed();
    for _ in 0..MAX_OPEN_INVITES + 5 {
        let token = invite(&mut world, host, InviteTerms { once: true, minutes: 600 });
        wait(&mut world, &[host, guest], 2);
        assert!(matches!(world.answer(guest, by(&room, token)), Ok(Response::Room(_))));
        assert_eq!(world.answer(guest, Request::LeaveRoom), Ok(Response::Done));
    }
}

#[test]
fn an_invite_that_is_over_does_no_harm_where_everybody_is_let_in() {
    let mut world = World::new();
    let [host, guest] = [1, 2].map(|n| world.player(n, &format!("203.0.113.{n}:4000")));
    let room = world.host(host, named("r"));
    let token = invite(&mut world, host, InviteTerms::once());
    assert_eq!(world.answer(host, Request::RevokeInvites), Ok(Response::Done));
    assert!(matches!(world.answer(guest, by(&room, token)), Ok(Response::Room(_))));
}

#[test]
fn an_invite_without_a_code_leads_into_the_only_public_room() {
    let mut world = World::new();
    let [host, other, guest] = [1, 2, 3].map(|n| world.player(n, &format!("203.0.113.{n}:4000")));
    let only = || Request::JoinInvited { code: String::new(), token: None };
    assert_eq!(world.answer(guest, only()), Err(RequestError::NoSuchRoom));
    let hidden = world.player(4, "203.0.113.4:4000");
    world.host(hidden, RoomOptions { public: false, ..named("hidden") });
    assert_eq!(world.answer(guest, only()), Err(RequestError::NoSuchRoom));
    let room = world.host(host, named("r"));
    match world.answer(guest, only()) {
        Ok(Response::Room(entered)) => assert_eq!(entered.id, room.id),
        other => panic!("{other:?}"),
    }
    world.answer(guest, Request::LeaveRoom).unwrap();
    world.host(other, named("second"));
    assert_eq!(world.answer(guest, only()), Err(RequestError::SeveralRooms));
}
