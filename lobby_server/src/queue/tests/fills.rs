//! Rooms that look for players in a line.

use super::*;

const ROOM: RoomId = RoomId(1 << 40);
const OTHER: RoomId = RoomId(1 << 41);

impl Waiting {
    /// A room looks for players of this line, hosted by the player of this number, with so many free places.
    fn look_for(
        &mut self,
        at: u64,
        room: RoomId,
        host: (u8, &HostCandidate),
        wanted: &QuickMatch,
        free: &[usize],
    ) {
        let numbers = wanted.rules.numbers.iter().map(|number| number.value).collect();
        let members = Unit { first: comer(host.0, numbers, host.1), mates: Vec::new() };
        let key = QueueKey::of("game", 1, wanted);
        self.queues.look_for(self.at(at), room, (key, wanted.clone()), &members);
        let teams = if wanted.rules.teams.is_empty() { Vec::new() } else { free.to_vec() };
        let places = Places { all: free.iter().sum(), teams };
        assert!(self.queues.set_places(self.at(at), room, &members, places).is_empty());
    }

    /// Who is found for a room now, with their teams.
    fn fill(&mut self, at: u64, room: RoomId) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (now, rooms) = (self.at(at), &mut self.rooms);
        let id = || {
            *rooms += 1;
            RoomId(*rooms)
        };
        let found = self.queues.fill_room(now, room, id, |_| true);
        found.into_iter().map(|found| (numbers(&found.players), found.teams)).collect()
    }

    /// The room that is found for a player now, and its team there.
    fn find(&mut self, at: u64, number: u8) -> Option<(RoomId, Vec<u8>)> {
        self.rooms += 1;
        let found = self.queues.find_room(self.at(at), player(number), RoomId(self.rooms), |_, _| true)?;
        Some((found.room, found.teams))
    }

    fn free_and_coming(&mut self, room: RoomId) -> Option<(u16, u16)> {
        self.queues.news_of_room(room).map(|(_, status)| (status.free, status.coming))
    }
}

fn numbers(players: &[PlayerId]) -> Vec<u8> {
    players.iter().map(|player| player.0[0]).collect()
}

fn in_teams(sizes: &[u16]) -> QuickMatch {
    let players = sizes.iter().sum();
    QuickMatch {
        players,
        rules: QuickRules { teams: sizes.to_vec(), ..QuickRules::default() },
        ..wish("", 2)
    }
}

#[test]
fn who_waits_comes_into_a_room_that_looks_and_no_place_is_given_twice() {
    let mut waiting = Waiting::new();
    let duel = wish("duel", 4);
    for number in 1..=3 {
        waiting.enter(0, number, &duel);
    }
    waiting.enter(0, 4, &wish("other", 4));
    waiting.look_for(1, ROOM, (100, &cone()), &duel, &[2]);
    assert_eq!(waiting.free_and_coming(ROOM), Some((2, 0)));
    assert_eq!(waiting.fill(1, ROOM), [(vec![1], vec![]), (vec![2], vec![])], "those who waited longest");
    assert_eq!(waiting.free_and_coming(ROOM), Some((0, 2)));
    assert_eq!(waiting.free_and_coming(ROOM), None, "once");
    assert!(waiting.fill(1, ROOM).is_empty());
    assert_eq!(waiting.find(1, 3), None);
    assert_eq!(waiting.queues.gathering_of(player(1)), Some(RoomId(1)));
    // One does not come: its place is free.
    let now = waiting.at(2);
    waiting.queues.leave(player(1));
    waiting.queues.free_up(now, ROOM, RoomId(1));
    assert_eq!(waiting.free_and_coming(ROOM), Some((1, 1)));
    assert_eq!(waiting.find(2, 3), Some((ROOM, vec![])));
    assert_eq!(waiting.find(2, 4), None, "another line");
    // It looks no longer: both are told to wait on.
    assert_eq!(waiting.queues.stop_looking(ROOM).map(|gone| gone.len()), Some(2));
    assert_eq!(waiting.queues.stop_looking(ROOM), None);
}

#[test]
fn a_rooms_tolerance_widens_from_when_it_began_to_look_and_that_of_players_counts_too() {
    let mut waiting = Waiting::new();
    waiting.enter(0, 1, &skilled(2, 1290, &[50, 100]));
    waiting.look_for(4, ROOM, (100, &cone()), &skilled(2, 1200, &[50, 100]), &[1]);
    assert!(waiting.fill(6, ROOM).is_empty(), "the player takes it, and the room does not yet");
    assert_eq!(waiting.find(6, 1), None);
    let due = waiting.at(9);
    assert_eq!(waiting.queues.take_due_rooms(waiting.at(4), 9), [ROOM], "at once");
    assert!(waiting.queues.take_due_rooms(due - Duration::from_millis(1), 9).is_empty());
    assert_eq!(waiting.queues.take_due_rooms(due, 9), [ROOM]);
    assert_eq!(waiting.fill(9, ROOM), [(vec![1], vec![])]);
    // Without a free place it is not looked at.
    assert!(waiting.queues.take_due_rooms(waiting.at(1000), 9).is_empty());
    // The same wish with other numbers: it has looked since 4 s.
    waiting.look_for(9, ROOM, (100, &cone()), &skilled(2, 1500, &[50, 100]), &[2]);
    assert_eq!(waiting.free_and_coming(ROOM), Some((1, 1)));
    waiting.enter(9, 2, &skilled(2, 1590, &[50, 100]));
    assert_eq!(waiting.find(9, 2), None, "it has just come");
    assert_eq!(waiting.find(14, 2), Some((ROOM, vec![])));
}

#[test]
fn the_best_ways_come_first() {
    let mut waiting = Waiting::new();
    waiting.enter_with(2, 1, &wish("duel", 2), &symmetric());
    waiting.enter(5, 2, &wish("duel", 2));
    waiting.look_for(5, ROOM, (100, &symmetric()), &wish("duel", 2), &[1]);
    assert_eq!(waiting.fill(5, ROOM), [(vec![2], vec![])], "without the relay");
    // And a player gets the room that it reaches.
    let mut waiting = Waiting::new();
    waiting.look_for(0, ROOM, (100, &symmetric()), &wish("duel", 2), &[1]);
    waiting.look_for(1, OTHER, (101, &cone()), &wish("duel", 2), &[1]);
    waiting.enter_with(1, 1, &wish("duel", 2), &symmetric());
    assert_eq!(waiting.find(1, 1), Some((OTHER, vec![])));
    waiting.enter_with(1, 2, &wish("duel", 2), &symmetric());
    assert_eq!(waiting.find(1, 2), Some((ROOM, vec![])));
}

#[test]
fn a_party_comes_into_one_team_or_not_at_all() {
    let mut waiting = Waiting::new();
    let teams = in_teams(&[3, 3]);
    waiting.enter_party(0, &[(1, 0), (2, 0)], &teams);
    waiting.look_for(0, ROOM, (100, &cone()), &teams, &[1, 1]);
    assert!(waiting.fill(0, ROOM).is_empty(), "a pair is not torn apart");
    waiting.look_for(0, ROOM, (100, &cone()), &teams, &[1, 2]);
    waiting.enter(1, 3, &teams);
    waiting.enter(1, 4, &teams);
    assert_eq!(waiting.fill(1, ROOM), [(vec![1, 2], vec![1, 1]), (vec![3], vec![0])]);
    // One that is larger than each team is spread over them.
    let pairs = in_teams(&[1, 1]);
    waiting.enter_party(2, &[(11, 0), (12, 0)], &pairs);
    waiting.look_for(2, OTHER, (101, &cone()), &pairs, &[1, 1]);
    assert_eq!(waiting.find(2, 11), Some((OTHER, vec![0, 1])));
}

#[test]
fn who_has_no_place_any_more_is_sent_back() {
    let mut waiting = Waiting::new();
    let duel = wish("duel", 4);
    for number in 1..=2 {
        waiting.enter(0, number, &duel);
    }
    waiting.look_for(0, ROOM, (100, &cone()), &duel, &[2]);
    assert_eq!(waiting.fill(0, ROOM).len(), 2);
    let members = Unit { first: comer(100, Vec::new(), &cone()), mates: Vec::new() };
    let (now, one) = (waiting.at(1), Places { all: 1, teams: Vec::new() });
    assert_eq!(waiting.queues.set_places(now, ROOM, &members, one), [RoomId(2)]);
    assert_eq!(waiting.queues.set_places(now, ROOM, &members, Places::default()), [RoomId(1), RoomId(2)]);
    assert_eq!(waiting.queues.next_look(), None, "nothing is to be had");
}

#[test]
fn many_full_rooms_hide_none_that_has_a_place() {
    let mut waiting = Waiting::new();
    let duel = wish("duel", 2);
    for room in 0..200 {
        waiting.look_for(0, RoomId(1000 + room), (100, &cone()), &duel, &[0]);
    }
    waiting.look_for(1, ROOM, (100, &cone()), &duel, &[1]);
    waiting.enter(2, 1, &duel);
    assert_eq!(waiting.find(2, 1), Some((ROOM, vec![])));
}
