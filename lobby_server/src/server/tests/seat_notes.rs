//! Seats of members who are away while the server is restarted: the host shows the notes that it holds.

use super::*;
use message::{MAX_SEAT_NOTES, Rejoin, SeatKept, SeatNote};
use traversal_core::id::RoomId;

fn notes_of(world: &World, index: usize) -> Vec<SeatNote> {
    let told = world.fakes[index].told.iter();
    let notes = told.filter_map(|message| match message {
        ToPlayer::SeatNotes { notes, .. } => Some(notes.clone()),
        _ => None,
    });
    notes.flatten().collect()
}

fn kept(world: &World, index: usize) -> Option<SeatKept> {
    world.fakes[index].told.iter().rev().find_map(|message| match message {
        ToPlayer::SeatKept(kept) => Some(kept.clone()),
        _ => None,
    })
}

fn away(world: &World, index: usize) -> Vec<PlayerId> {
    let newest = world.fakes[index].told.iter().rev().find_map(|message| match message {
        ToPlayer::Seats { away, .. } => Some(away.iter().map(|seat| seat.player).collect()),
        _ => None,
    });
    newest.unwrap_or_default()
}

/// A room of three that is full; the server is restarted, and its host and the second player are back. Gives the two,
/// the id of the third, the notes that the host holds, and the room.
fn restarted(options: RoomOptions) -> (World, [usize; 2], PlayerId, Vec<SeatNote>, RoomInfo) {
    let mut world = World::new();
    let ([host, other, lost], room) = world.three(RoomOptions { capacity: 3, ..options });
    let (notes, lost) = (notes_of(&world, host), world.fakes[lost].id());
    assert!(notes_of(&world, other).is_empty(), "they are for the host");
    let tickets = [host, other].map(|index| world.fakes[index].ticket());
    world.restart();
    let host = world.player(1, "203.0.113.1:4000");
    assert!(world.answer(host, back_to(&room, tickets[0])).is_ok());
    let other = world.player(2, "198.51.100.1:5000");
    assert!(world.answer(other, back_to(&room, tickets[1])).is_ok());
    (world, [host, other], lost, notes, room)
}

fn show(world: &mut World, who: usize, room: RoomId, away: bool, notes: &[SeatNote]) {
    world.say(who, ToServer::SeatNotes { room, away, notes: notes.to_vec() });
}

/// Lets so many seconds pass, in which these players are there.
fn pass(world: &mut World, present: &[usize], seconds: u32) {
    for _ in 0..seconds {
        world.pass(Duration::from_secs(1));
        for index in present {
            world.ping(*index);
        }
    }
}

#[test]
fn a_seat_outlives_a_restart_by_the_note_that_the_host_holds() {
    let (mut world, [host, other], lost, notes, room) = restarted(named("r"));
    assert_eq!(notes.iter().map(|note| note.player.id).filter(|player| *player == lost).count(), 1);
    assert_eq!(world.fakes[host].members().len(), 2);
    show(&mut world, host, room.id, true, &notes);
    assert_eq!(world.fakes[other].members().len(), 3);
    assert_eq!(away(&world, other), [lost]);
    let stranger = world.player(4, "198.51.100.4:5000");
    assert_eq!(world.answer(stranger, by_name("r")), Err(RequestError::RoomFull));
    let back = world.player(3, "198.51.100.2:6000");
    let seat = kept(&world, back).expect("it is told");
    assert_eq!((seat.name.as_str(), seat.code, seat.hosting), ("r", room.code, false));
    assert!(matches!(world.answer(back, Request::TakeSeat), Ok(Response::Room(_))));
    assert_eq!(world.fakes[host].members().len(), 3);
    assert!(away(&world, other).is_empty());
    // Its plan with the host is a fresh one.
    assert_eq!(world.fakes[back].plans().len(), 1);
    // And the host holds a note of it again.
    assert!(notes_of(&world, host).iter().any(|note| note.player.id == lost));
}

#[test]
fn nobody_makes_a_note_and_a_seat_that_was_shown_ends() {
    let (mut world, [host, other], lost, notes, room) = restarted(named("r"));
    let good: Vec<SeatNote> = notes.iter().filter(|note| note.player.id == lost).cloned().collect();
    let victim = world.player(7, "192.0.2.7:4000");
    let of_victim = message::PlayerInfo { id: world.fakes[victim].id(), name: "P7".into() };
    let renamed = message::PlayerInfo { name: "king".into(), ..good[0].player.clone() };
    for (who, room, note) in [
        (host, room.id, SeatNote { player: of_victim, ..good[0].clone() }),
        (host, room.id, SeatNote { player: renamed, ..good[0].clone() }),
        (host, room.id, SeatNote { until_s: 7, ..good[0].clone() }),
        (host, RoomId(room.id.0 ^ 1), good[0].clone()),
        (other, room.id, good[0].clone()),
        (victim, room.id, good[0].clone()),
    ] {
        show(&mut world, who, room, true, &[note]);
        assert_eq!(world.fakes[host].members().len(), 2);
    }
    assert_eq!(kept(&world, victim), None);
    assert!(!format!("{good:?}").contains("seal"), "a secret is not printed");

    // Who did not know that the player is away is told some seconds later.
    show(&mut world, host, room.id, false, &good);
    assert_eq!((world.fakes[host].members().len(), away(&world, host)), (3, vec![]));
    pass(&mut world, &[host, other], 10);
    assert_eq!(away(&world, host), [lost]);
    pass(&mut world, &[host, other], 52);
    assert_eq!(world.fakes[host].members().len(), 2, "its time is over");
    show(&mut world, host, room.id, true, &good);
    assert_eq!(world.fakes[host].members().len(), 2, "counted from when the room was taken up");
    let late = world.player(3, "198.51.100.2:6000");
    assert_eq!(kept(&world, late), None);
}

#[test]
fn who_is_back_before_the_host_shows_its_note_or_was_put_out_is_treated_so() {
    let (mut world, [host, _], _, notes, room) = restarted(named("r"));
    let back = world.player(3, "198.51.100.2:6000");
    assert_eq!(kept(&world, back), None);
    show(&mut world, host, room.id, true, &notes);
    assert!(kept(&world, back).is_some());
    assert!(world.answer(back, Request::TakeSeat).is_ok());
    let rejoin = Rejoin::Never;
    let kick = Request::Kick { player: world.fakes[back].id(), reason: String::new(), rejoin };
    assert!(world.answer(host, kick).is_ok());
    show(&mut world, host, room.id, true, &notes);
    assert_eq!(world.fakes[host].members().len(), 2);
}

#[test]
fn a_seat_is_given_up_by_who_enters_another_room_and_a_room_that_keeps_none_has_no_notes() {
    let (mut world, [host, _], _, notes, room) = restarted(named("r"));
    show(&mut world, host, room.id, true, &notes);
    let back = world.player(3, "198.51.100.2:6000");
    assert!(matches!(world.answer(back, Request::CreateRoom { options: named("s") }), Ok(Response::Room(_))));
    assert_eq!(world.fakes[host].members().len(), 2);

    let mut world = World::new();
    let ([host, ..], _) = world.three(RoomOptions { keep_seat: Duration::ZERO, ..named("r") });
    assert!(notes_of(&world, host).is_empty());
}

#[test]
fn a_new_host_holds_notes_of_all_who_are_inside_in_parts_that_fit() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, RoomOptions { capacity: 20, ..named("r") });
    let mut others = Vec::new();
    for index in 2..=20 {
        let joiner = world.add(index, &format!("198.51.100.{index}:5000"));
        world.fakes[joiner].login.name = format!("{index:02}{}", "é".repeat(22));
        world.log_in(joiner);
        assert!(world.answer(joiner, by_name("r")).is_ok());
        others.push(joiner);
    }
    assert!(world.answer(host, Request::LeaveRoom).is_ok());
    let heirs: Vec<usize> =
        others.iter().copied().filter(|index| !notes_of(&world, *index).is_empty()).collect();
    let [heir] = heirs[..] else { panic!("{heirs:?}") };
    assert_eq!(notes_of(&world, heir).len(), 18);
    let parts = world.fakes[heir].told.iter().filter_map(|message| match message {
        ToPlayer::SeatNotes { notes, .. } => Some(notes.len()),
        _ => None,
    });
    assert_eq!(parts.max(), Some(MAX_SEAT_NOTES));
    assert!(world.sent.iter().all(|(.., datagram)| datagram.len() <= traversal_core::wire::MAX_CONTROL));
}
