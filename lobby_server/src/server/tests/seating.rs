//! Seats that are kept, spectators, hosts without a seat, and ban lists.

use super::*;
use message::{AwaySeat, MatchEnd, Rejoin, RoomBan, RoomEnd, SeatKept};

/// Lets so many seconds pass, in which these players are there.
fn pass(world: &mut World, present: &[usize], seconds: u32) {
    for _ in 0..seconds {
        world.pass(Duration::from_secs(1));
        for index in present {
            world.ping(*index);
        }
    }
}

/// Opens a room and lets three players in, so that it is full.
fn full(options: RoomOptions) -> (World, [usize; 3], RoomInfo) {
    let mut world = World::new();
    let (players, room) = world.three(RoomOptions { capacity: 3, ..options });
    (world, players, room)
}

fn watch(name: &str, resume: bool) -> Request {
    Request::Spectate { target: RoomTarget::Name(name.into()), password: None, resume }
}

impl Fake {
    /// Returns who is away and who watches, as this player was told last.
    fn seats(&self) -> (Vec<AwaySeat>, Vec<PlayerId>) {
        let newest = self.told.iter().rev().find_map(|message| match message {
            ToPlayer::Seats { away, spectators, .. } => {
                Some((away.clone(), spectators.iter().map(|player| player.id).collect()))
            }
            _ => None,
        });
        newest.unwrap_or_default()
    }

    fn seat_kept(&self) -> Option<SeatKept> {
        self.told.iter().rev().find_map(|message| match message {
            ToPlayer::SeatKept(kept) => Some(kept.clone()),
            _ => None,
        })
    }
}

#[test]
fn a_full_room_stays_full_while_a_seat_is_kept_and_no_longer() {
    let (mut world, [host, other, lost], _) = full(named("r"));
    world.kill(lost);
    pass(&mut world, &[host, other], 10);
    let lost_id = world.fakes[lost].id();
    let (away, _) = world.fakes[other].seats();
    assert_eq!(away.iter().map(|seat| seat.player).collect::<Vec<_>>(), [lost_id]);
    assert!((57..=60).contains(&away[0].kept_s), "{away:?}");
    let stranger = world.player(4, "198.51.100.4:5000");
    pass(&mut world, &[host, other, stranger], 50);
    assert_eq!(world.answer(stranger, by_name("r")), Err(RequestError::RoomFull));
    assert_eq!(world.fakes[host].members().len(), 3);
    pass(&mut world, &[host, other, stranger], 10);
    assert_eq!(world.fakes[host].members().len(), 2);
    assert!(world.answer(stranger, by_name("r")).is_ok());
    assert!(world.fakes[other].seats().0.is_empty());
    // Too late.
    let back = world.player(3, "198.51.100.2:6000");
    assert_eq!(world.fakes[back].seat_kept(), None);
    assert_eq!(world.answer(back, Request::TakeSeat), Err(RequestError::NoSeat));
}

#[test]
fn a_guest_that_is_started_anew_takes_its_seat_without_the_password() {
    let password = Some("sesame".into());
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let other = world.player(2, "198.51.100.1:5000");
    let lost = world.player(3, "198.51.100.2:6000");
    let room = world.host(host, RoomOptions { capacity: 3, password, ..named("r") });
    let target = RoomTarget::Name("r".into());
    let join = Request::JoinRoom { target: target.clone(), password: Some("sesame".into()) };
    for guest in [other, lost] {
        assert!(world.answer(guest, join.clone()).is_ok());
    }
    world.kill(lost);
    pass(&mut world, &[host, other], 20);
    let plans = world.fakes[host].plans().len();
    let back = world.player(3, "198.51.100.7:6000");
    let kept = world.fakes[back].seat_kept().expect("a seat");
    assert_eq!((kept.name.as_str(), kept.code.as_str(), kept.hosting), ("r", room.code.as_str(), false));
    assert!((40..=60).contains(&kept.kept_s), "{kept:?}");
    assert_eq!(world.fakes[other].seats().0.len(), 1, "a login is not enough");
    assert_eq!(world.answer(back, Request::TakeSeat), Ok(Response::Room(room)));
    assert_eq!(world.fakes[host].plans().len(), plans + 1);
    assert_eq!(world.fakes[host].members().len(), 3);
    assert!(world.fakes[other].seats().0.is_empty());
    assert_eq!(world.answer(back, Request::TakeSeat), Err(RequestError::AlreadyInRoom));
    // Whoever leaves gives its seat up.
    assert!(world.answer(back, Request::LeaveRoom).is_ok());
    let again = world.player(3, "198.51.100.7:6000");
    assert_eq!(world.fakes[again].seat_kept(), None);
    let none = Request::JoinRoom { target, password: None };
    assert_eq!(world.answer(again, none), Err(RequestError::WrongPassword));
}

#[test]
fn a_host_that_is_started_anew_hosts_on() {
    let (mut world, [host, one, two], room) = full(RoomOptions { migrate: false, ..named("r") });
    world.kill(host);
    pass(&mut world, &[one, two], 30);
    assert!(world.fakes[one].ends().0.is_empty());
    let host = world.player(1, "203.0.113.1:4000");
    assert!(world.fakes[host].seat_kept().expect("a seat").hosting);
    assert_eq!(world.answer(host, Request::TakeSeat), Ok(Response::Room(room)));
    assert_eq!(world.fakes[host].plans().len(), 2, "one for each guest");
    assert_eq!(world.fakes[one].plans().len(), 2);
    pass(&mut world, &[host, one, two], 30);
    assert_eq!(world.fakes[one].members().len(), 3);
}

#[test]
fn a_seat_is_one_for_each_player_and_other_rooms_give_it_up() {
    let (mut world, [host, other, lost], _) = full(named("r"));
    world.kill(lost);
    pass(&mut world, &[host, other], 10);
    let back = world.player(3, "198.51.100.2:6000");
    world.host(back, named("own"));
    assert_eq!(world.fakes[host].members().len(), 2);
    assert_eq!(world.server.gauges().sessions, 3);
}

#[test]
fn the_server_bounds_what_a_room_wants() {
    let config = ServerConfig { keep_seat: Duration::from_secs(20), ..ServerConfig::default() };
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let ([host, other, lost], room) = world.three(RoomOptions { capacity: 3, ..named("r") });
    assert_eq!(room.seats.keep_seat_s, 20);
    world.kill(lost);
    pass(&mut world, &[host, other], 30);
    assert_eq!(world.fakes[host].members().len(), 2);
}

#[test]
fn spectators_have_their_own_limit_no_seat_and_a_match_with_the_host_alone() {
    let (mut world, [host, one, two], room) = full(RoomOptions { spectators: 1, ..named("r") });
    let eye = world.player(4, "198.51.100.4:5000");
    assert_eq!(world.answer(eye, watch("r", false)), Ok(Response::Room(room.clone())));
    let id = world.fakes[eye].id();
    for player in [host, one, two, eye] {
        assert_eq!(world.fakes[player].members().len(), 3);
        assert_eq!(world.fakes[player].seats().1, [id]);
    }
    let plan = world.fakes[eye].newest_plan();
    assert!(plan.spectator && !plan.hosting && plan.peer.id == world.fakes[host].id());
    assert!(world.fakes[host].newest_plan().spectator);
    assert!(world.fakes[one].plans().iter().all(|plan| plan.peer.id != id));
    let late = world.player(5, "198.51.100.5:5000");
    assert_eq!(world.answer(late, watch("r", false)), Err(RequestError::SpectatorsFull { limit: 1 }));
    let Ok(Response::Rooms { rooms, .. }) =
        world.answer(late, Request::ListRooms { query: Default::default() })
    else {
        panic!("no list")
    };
    assert_eq!((rooms[0].members, rooms[0].spectators, rooms[0].spectator_limit), (3, 1, 1));
    // It hosts never, has no say, and goes along to the next host.
    world.host_seen(eye, &room, 0, false);
    assert!(!world.server.rooms.doubts_a_host());
    assert!(world.answer(host, Request::LeaveRoom).is_ok());
    let next = world.fakes[eye].hosts().pop().expect("another host").1;
    assert_eq!(world.fakes[eye].newest_plan().peer.id, next);
    assert!(world.fakes[eye].newest_plan().spectator);
    for player in [one, two] {
        assert!(world.answer(player, Request::LeaveRoom).is_ok());
    }
    assert_eq!(world.fakes[eye].ends().0, [RoomEnd::Closed], "nobody plays any more");
    assert_eq!(world.server.gauges().matches, 0);
}

#[test]
fn a_spectator_is_put_out_and_a_silent_one_leaves_no_seat() {
    let (mut world, [host, one, two], _) = full(RoomOptions { spectators: 2, ..named("r") });
    let (eye, ghost) = (world.player(4, "198.51.100.4:5000"), world.player(5, "198.51.100.5:5000"));
    for spectator in [eye, ghost] {
        assert!(world.answer(spectator, watch("r", false)).is_ok());
    }
    let player = world.fakes[eye].id();
    let kick = Request::Kick { player, reason: "noise".into(), rejoin: Rejoin::After { seconds: 60 } };
    assert_eq!(world.answer(host, kick), Ok(Response::Done));
    assert_eq!(world.fakes[eye].ends().1, [MatchEnd::Kicked]);
    let answer = world.answer(eye, watch("r", false));
    assert!(
        matches!(&answer, Err(RequestError::Banned { reason, for_s: Some(1..=61) }) if reason == "noise")
    );
    world.kill(ghost);
    pass(&mut world, &[host, one, two, eye], 40);
    assert!(world.fakes[host].seats().1.is_empty());
    pass(&mut world, &[host, one, two, eye], 25);
    assert!(world.answer(eye, watch("r", false)).is_ok());
}

#[test]
fn a_host_without_a_seat_is_not_counted_and_takes_the_room_along() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    let [one, two, three] = [(2, "198.51.100.1:5000"), (3, "198.51.100.2:5000"), (4, "198.51.100.3:5000")]
        .map(|(secret, address)| world.player(secret, address));
    let room = world.host(host, RoomOptions { seat: false, capacity: 2, migrate: true, ..named("r") });
    assert!(!room.migrate && !room.seats.seat);
    for player in [one, two] {
        assert!(world.answer(player, by_name("r")).is_ok());
    }
    assert_eq!(world.answer(three, by_name("r")), Err(RequestError::RoomFull));
    let Ok(Response::Rooms { rooms, .. }) =
        world.answer(three, Request::ListRooms { query: Default::default() })
    else {
        panic!("no list")
    };
    assert_eq!((rooms[0].members, rooms[0].capacity, rooms[0].dedicated), (2, 2, true));
    assert!(world.answer(host, Request::LeaveRoom).is_ok());
    assert_eq!(world.fakes[one].ends().0, [RoomEnd::Closed]);
}

#[test]
fn bans_are_listed_in_pages_end_and_are_lifted_for_good() {
    let mut world = World::new();
    world.server.set_time_of_day(world.now, 1_800_000_000);
    let host = world.player(1, "203.0.113.1:4000");
    let witness = world.player(2, "198.51.100.1:5000");
    let room = world.host(host, RoomOptions { capacity: 64, ..named("r") });
    assert!(world.answer(witness, by_name("r")).is_ok());
    let mut out = Vec::new();
    for secret in 10..16u8 {
        let player = world.player(secret, &format!("198.51.100.{secret}:5000"));
        assert!(world.answer(player, by_name("r")).is_ok());
        let rejoin = if secret == 10 { Rejoin::After { seconds: 100 } } else { Rejoin::Never };
        let id = world.fakes[player].id();
        let kick = Request::Kick { player: id, reason: format!("reason {secret}"), rejoin };
        assert_eq!(world.answer(host, kick), Ok(Response::Done));
        out.push((id, player));
    }
    let list = |world: &mut World| {
        let (mut all, mut after) = (Vec::<RoomBan>::new(), None);
        loop {
            let Ok(Response::Bans { bans, more }) = world.answer(host, Request::ListBans { after }) else {
                panic!("no list")
            };
            after = bans.last().map(|ban| ban.player);
            all.extend(bans);
            if !more {
                return all;
            }
        }
    };
    let bans = list(&mut world);
    assert_eq!(bans.len(), 6);
    assert!(bans.iter().all(|ban| ban.reason.starts_with("reason ")));
    assert_eq!(bans.iter().filter(|ban| ban.left_s.is_some()).count(), 1);
    assert_eq!(world.answer(witness, Request::ListBans { after: None }), Err(RequestError::NotHost));
    let (lifted, back) = out[5];
    assert_eq!(world.answer(witness, Request::LiftBan { player: lifted }), Err(RequestError::NotHost));
    assert_eq!(world.answer(host, Request::LiftBan { player: lifted }), Ok(Response::Done));
    assert_eq!(world.answer(host, Request::LiftBan { player: lifted }), Err(RequestError::NoSuchPlayer));
    assert!(world.answer(back, by_name("r")).is_ok());
    pass(&mut world, &[host, witness, back, out[0].1], 102);
    assert!(world.answer(out[0].1, by_name("r")).is_ok(), "its time is over");
    assert_eq!(list(&mut world).len(), 4);

    // After a restart the old note of a ban that was lifted counts for nothing, whoever shows it first.
    let tickets = [host, witness].map(|player| world.fakes[player].ticket());
    let notes: Vec<message::KickNote> = world.fakes[witness]
        .told
        .iter()
        .filter_map(|told| match told {
            ToPlayer::KickNotes { notes, .. } => Some(notes.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(notes.iter().filter(|note| note.player == lifted).count(), 2);
    world.restart();
    world.server.set_time_of_day(world.now, 1_800_000_100);
    let host = world.player(1, "203.0.113.1:4000");
    let witness = world.player(2, "198.51.100.1:5000");
    for (player, ticket) in [host, witness].into_iter().zip(tickets) {
        let request = world.ask(player, back_to(&room, ticket));
        assert!(matches!(world.fakes[player].answer(request), Some(Ok(Response::Room(_)))));
    }
    for note in notes.iter().rev().chain(&notes) {
        world.say(witness, ToServer::KickNotes { room: room.id, notes: vec![*note] });
    }
    let back = world.player(15, "198.51.100.15:5000");
    assert!(world.answer(back, by_name("r")).is_ok());
    let still = world.player(14, "198.51.100.14:5000");
    let answer = world.answer(still, by_name("r"));
    assert!(matches!(answer, Err(RequestError::Banned { for_s: None, .. })), "{answer:?}");
}
