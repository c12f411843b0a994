//! Calls: each has one end, and what is not allowed shows in nothing.

use super::*;
use crate::registry::RegistryDown;
use traversal_core::wire::message::RoomEnd;

const CALL: CallId = CallId(77);
const BACK: CallId = CallId(88);

fn ring(call: CallId, player: PlayerId) -> Request {
    Request::Call(CallRequest::Ring { call, player })
}

fn answer(call: CallId, answer: CallAnswer) -> Request {
    Request::Call(CallRequest::Answer { call, answer })
}

fn on_one_node_and_on_two(test: impl Fn(Nodes, [Player; 3])) {
    for count in [1, 2] {
        let mut nodes = Nodes::new(count);
        let [a, b, c] = nodes.players(3)[..] else { unreachable!() };
        nodes.list(b, &[a]);
        test(nodes, [a, b, c]);
    }
}

impl Nodes {
    fn ring(&mut self, caller: Player, call: CallId, callee: Player) {
        let callee = self.id(callee);
        self.ask(caller, ring(call, callee));
    }

    fn ends(&self, player: Player) -> Vec<(CallId, CallEnd)> {
        let ends = self.calls(player).into_iter().filter_map(|news| match news {
            CallNews::Ended { call, why } => Some((call, why)),
            _ => None,
        });
        ends.collect()
    }

    fn rings_at(&self, player: Player) -> Vec<CallId> {
        let rings = self.calls(player).into_iter().filter_map(|news| match news {
            CallNews::Ring { call, .. } => Some(call),
            _ => None,
        });
        rings.collect()
    }

    fn place(&self, player: Player, of: CallId) -> Option<CallPlace> {
        self.calls(player).into_iter().find_map(|news| match news {
            CallNews::Accepted { call, place } if call == of => Some(place),
            _ => None,
        })
    }

    /// Goes where the call leads, as an agent does, over another node if need be. Returns where the player is then.
    fn follow(&mut self, player: Player, of: CallId) -> Player {
        let Some(CallPlace::Enter { code }) = self.place(player, of) else { return player };
        let enter = Request::JoinRoom { target: RoomTarget::Code(code), password: None };
        let world = &mut self.worlds[player.node];
        let id = world.ask(player.index, enter.clone());
        self.turn();
        if let Some(result) = self.fake(player).answer(id) {
            assert!(matches!(result, Ok(Response::Room(_))), "{result:?}");
            return player;
        }
        let sent = self.fake(player).told.iter().any(|told| matches!(told, ToPlayer::GoTo(_)));
        assert!(sent, "it is at the other node");
        let secret =
            (1..=9).find(|n| Identity::from_secret([*n; 32]).player_id() == self.id(player)).unwrap();
        let node = 1 - player.node;
        let moved = self.player(secret, node);
        let result = self.worlds[node].answer(moved.index, enter);
        assert!(matches!(result, Ok(Response::Room(_))), "{result:?}");
        self.pass(Duration::from_secs(1));
        moved
    }

    /// Asserts that both are in one room with these players.
    fn assert_in_one_room(&self, one: Player, other: Player, count: usize) {
        let (own, its) = (self.fake(one).members(), self.fake(other).members());
        assert_eq!(own, its);
        assert_eq!(own.len(), count);
        assert!(own.contains(&self.id(one)) && own.contains(&self.id(other)));
    }
}

#[test]
fn m36_a_contact_rings_and_both_come_into_a_room_of_two() {
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        nodes.ring(a, CALL, b);
        assert_eq!(nodes.calls(a), [CallNews::Ringing { call: CALL }]);
        let from = message::PlayerInfo { id: nodes.id(a), name: "P1".into() };
        assert_eq!(nodes.calls(b), [CallNews::Ring { call: CALL, from, contact: true }]);
        nodes.ask(b, answer(CALL, CallAnswer::Yes));
        let Some(CallPlace::Opened(room)) = nodes.place(a, CALL) else { panic!("{:?}", nodes.calls(a)) };
        assert_eq!((room.capacity, room.public, room.host), (2, false, nodes.id(a)));
        assert_eq!(nodes.place(b, CALL), Some(CallPlace::Enter { code: room.code.clone() }));
        let b = nodes.follow(b, CALL);
        nodes.assert_in_one_room(a, b, 2);
        // Nobody was asked to let it in, and nothing ends later.
        assert!(!nodes.fake(a).told.iter().any(|told| matches!(told, ToPlayer::JoinRequest { .. })));
        nodes.pass(Duration::from_secs(34));
        assert_eq!((nodes.ends(a), nodes.ends(b)), (vec![], vec![]));
        // And the next call is possible.
        nodes.ring(b, BACK, a);
    });
}

#[test]
fn m34_who_is_not_there_does_not_exist_or_has_not_allowed_it_cannot_be_reached_after_the_same_time() {
    on_one_node_and_on_two(|mut nodes, [_, b, c]| {
        let gone = nodes.player(8, 0);
        let gone_id = nodes.id(gone);
        nodes.list(gone, &[c]);
        nodes.log_out(gone);
        let told = nodes.fake(b).told.len();
        for (n, callee) in [gone_id, PlayerId([9; 16]), nodes.id(b)].into_iter().enumerate() {
            let call = CallId(n as u64);
            nodes.ask(c, ring(call, callee));
            let asked = nodes.worlds[c.node].now;
            assert_eq!(nodes.ends(c).len(), n);
            while nodes.ends(c).len() == n {
                for world in &mut nodes.worlds {
                    world.pass(Duration::from_millis(50));
                }
                nodes.turn();
            }
            assert_eq!(nodes.ends(c)[n], (call, CallEnd::NotReached));
            assert_eq!(nodes.worlds[c.node].now - asked, Duration::from_secs(2), "{n}");
        }
        assert_eq!(nodes.fake(b).told.len(), told, "and nothing is heard of it there");
    });
}

#[test]
fn strangers_ring_only_where_the_player_said_so() {
    on_one_node_and_on_two(|mut nodes, [_, b, c]| {
        nodes.status(b, Status { strangers_ring: true, ..Status::default() });
        nodes.ring(c, CALL, b);
        assert!(
            matches!(nodes.calls(b)[..], [CallNews::Ring { contact: false, .. }]),
            "{:?}",
            nodes.calls(b)
        );
        assert_eq!(nodes.news(c), vec![], "which is not to know that it is on line otherwise");
    });
}

#[test]
fn a_call_is_refused_with_a_reason_and_the_caller_waits() {
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        nodes.ring(a, CALL, b);
        nodes.ask(b, answer(CALL, CallAnswer::No { reason: "dinner".into() }));
        assert_eq!(nodes.ends(a), [(CALL, CallEnd::Refused { reason: "dinner".into() })]);
        assert_eq!(nodes.try_ask(b, answer(CALL, CallAnswer::Yes)), Err(RequestError::NoSuchCall));
        nodes.ring(a, BACK, b);
        assert!(matches!(nodes.ends(a)[1], (BACK, CallEnd::TooSoon { retry_after_s: 1..=61 })));
        assert_eq!(nodes.rings_at(b), [CALL]);
        nodes.pass(Duration::from_secs(62));
        nodes.ring(a, CallId(3), b);
        assert_eq!(nodes.rings_at(b), [CALL, CallId(3)]);
        nodes.ask(b, answer(CallId(3), CallAnswer::Busy));
        assert_eq!(nodes.ends(a)[2], (CallId(3), CallEnd::Busy));
    });
}

#[test]
fn who_is_in_another_call_is_busy() {
    on_one_node_and_on_two(|mut nodes, [a, b, c]| {
        nodes.list(b, &[a, c]);
        nodes.ring(a, CALL, b);
        nodes.ring(c, BACK, b);
        assert_eq!((nodes.ends(c), nodes.ends(a)), (vec![(BACK, CallEnd::Busy)], vec![]));
        let second = nodes.id(c);
        assert_eq!(nodes.try_ask(a, ring(CallId(3), second)), Err(RequestError::AlreadyCalling));
    });
}

#[test]
fn it_rings_for_half_a_minute() {
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        nodes.ring(a, CALL, b);
        nodes.pass(Duration::from_millis(29_500));
        assert_eq!((nodes.ends(a), nodes.ends(b)), (vec![], vec![]));
        nodes.pass(Duration::from_secs(1));
        assert_eq!(
            (nodes.ends(a), nodes.ends(b)),
            (vec![(CALL, CallEnd::NoAnswer)], vec![(CALL, CallEnd::NoAnswer)])
        );
        assert_eq!(nodes.try_ask(b, answer(CALL, CallAnswer::Yes)), Err(RequestError::NoSuchCall));
    });
}

#[test]
fn a_caller_hangs_up_or_either_logs_out() {
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        nodes.ring(a, CALL, b);
        nodes.ask(a, Request::Call(CallRequest::HangUp { call: CALL }));
        assert_eq!(nodes.ends(b), [(CALL, CallEnd::HungUp)]);
        let again = nodes.try_ask(a, Request::Call(CallRequest::HangUp { call: CALL }));
        assert_eq!(again, Err(RequestError::NoSuchCall));
        nodes.ring(a, BACK, b);
        nodes.log_out(a);
        assert_eq!(nodes.ends(b)[1], (BACK, CallEnd::Gone));
    });
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        nodes.ring(a, CALL, b);
        nodes.log_out(b);
        assert_eq!(nodes.ends(a), [(CALL, CallEnd::Gone)]);
    });
}

#[test]
fn a_node_is_lost_in_the_middle_of_a_call() {
    for lost in [0, 1] {
        let mut nodes = Nodes::new(2);
        let [a, b] = nodes.players(2)[..] else { unreachable!() };
        nodes.list(b, &[a]);
        nodes.ring(a, CALL, b);
        for _ in 0..8 {
            nodes.worlds[1 - lost].pass(Duration::from_millis(500));
            nodes.beat_of(1 - lost);
            nodes.worlds[1 - lost].turn();
        }
        let other = [b, a][lost];
        assert_eq!(nodes.ends(other), [(CALL, CallEnd::Gone)]);
    }
}

#[test]
fn two_who_call_each_other_come_into_one_room() {
    // Whichever id is the smaller one, and whether both have the other as a contact or only one.
    for count in [1, 2] {
        for (first, second) in [(0, 1), (1, 0)] {
            for mutual in [true, false] {
                let mut nodes = Nodes::new(count);
                let players = nodes.players(2);
                let (a, b) = (players[first], players[second]);
                nodes.list(a, &[b]);
                nodes.list(b, if mutual { &players } else { &[] });
                let (call_a, call_b) = (ring(CALL, nodes.id(b)), ring(BACK, nodes.id(a)));
                // At the same moment: neither has heard of the other.
                let now = nodes.worlds[0].now;
                for (player, request) in [(a, call_a), (b, call_b)] {
                    let fake = &mut nodes.worlds[player.node].fakes[player.index];
                    let message = ToServer::Request { id: RequestId(900), request };
                    fake.session.as_mut().unwrap().send(now, message).unwrap();
                }
                nodes.turn();
                let opened = |nodes: &Nodes, player, call| {
                    matches!(nodes.place(player, call), Some(CallPlace::Opened(_)))
                };
                let both = [opened(&nodes, a, CALL), opened(&nodes, b, BACK)];
                assert_eq!(
                    both.iter().filter(|opened| **opened).count(),
                    1,
                    "{:?} {:?}",
                    nodes.calls(a),
                    nodes.calls(b)
                );
                let (a, b) = (nodes.follow(a, CALL), nodes.follow(b, BACK));
                nodes.assert_in_one_room(a, b, 2);
                assert_eq!((nodes.ends(a), nodes.ends(b)), (vec![], vec![]));
                let rooms: usize = nodes.worlds.iter().map(|world| world.server.gauges().rooms).sum();
                assert_eq!(rooms, 1);
            }
        }
    }
}

#[test]
fn a_caller_comes_into_the_room_of_the_one_who_was_called() {
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        let options = RoomOptions { password: Some("secret".to_owned().into()), ..named("r") };
        nodes.worlds[b.node].host(b.index, options);
        nodes.ring(a, CALL, b);
        nodes.ask(b, answer(CALL, CallAnswer::Yes));
        assert_eq!(nodes.place(b, CALL), Some(CallPlace::Stay));
        let a = nodes.follow(a, CALL);
        nodes.assert_in_one_room(a, b, 2);
    });
}

#[test]
fn one_who_is_called_comes_into_the_room_of_the_caller() {
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        nodes.worlds[a.node].host(a.index, named("r"));
        nodes.ring(a, CALL, b);
        nodes.ask(b, answer(CALL, CallAnswer::Yes));
        assert_eq!(nodes.place(a, CALL), Some(CallPlace::Stay));
        let b = nodes.follow(b, CALL);
        nodes.assert_in_one_room(a, b, 2);
    });
}

#[test]
fn of_two_who_are_in_rooms_neither_is_taken_out() {
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        nodes.worlds[a.node].host(a.index, named("one"));
        nodes.worlds[b.node].host(b.index, named("two"));
        nodes.ring(a, CALL, b);
        nodes.ask(b, answer(CALL, CallAnswer::Yes));
        assert_eq!(nodes.ends(a), [(CALL, CallEnd::BothInRooms)]);
        assert_eq!(nodes.ends(b), [(CALL, CallEnd::BothInRooms)]);
    });
}

#[test]
fn one_who_says_yes_and_does_not_come_leaves_no_room_behind() {
    on_one_node_and_on_two(|mut nodes, [a, b, _]| {
        nodes.ring(a, CALL, b);
        nodes.ask(b, answer(CALL, CallAnswer::Yes));
        nodes.log_out(b);
        nodes.pass(Duration::from_secs(32));
        assert_eq!(nodes.ends(a), [(CALL, CallEnd::Gone)]);
        let closed = |told: &ToPlayer| matches!(told, ToPlayer::RoomEnded { reason: RoomEnd::Closed, .. });
        assert!(nodes.fake(a).told.iter().any(closed));
        assert_eq!(nodes.worlds[a.node].server.gauges().rooms, 0);
    });
}

#[test]
fn without_the_registry_a_call_that_is_taken_ends() {
    let mut nodes = Nodes::new(1);
    let [a, b] = nodes.players(2)[..] else { unreachable!() };
    nodes.list(b, &[a]);
    nodes.ring(a, CALL, b);
    nodes.worlds[0].registry = None;
    nodes.ask(b, answer(CALL, CallAnswer::Yes));
    let now = nodes.worlds[0].now;
    while let Some(command) = nodes.worlds[0].server.poll_registry() {
        nodes.worlds[0].server.handle_registry_reply(now, command.id, Err(RegistryDown));
    }
    nodes.turn();
    assert_eq!(nodes.ends(a), [(CALL, CallEnd::NoRoom)]);
    assert_eq!(nodes.ends(b), [(CALL, CallEnd::NoRoom)]);
}

#[test]
fn rings_have_a_rate_per_caller_per_pair_and_per_player_that_is_called() {
    // One to one.
    let mut nodes = Nodes::new(1);
    let players = nodes.players(40);
    let (victim, callers) = players.split_first().unwrap();
    nodes.list(*victim, callers);
    let hang_up = |nodes: &mut Nodes, player, call| {
        let _ = nodes.try_ask(player, Request::Call(CallRequest::HangUp { call }));
    };
    let victim_id = nodes.id(*victim);
    let mut rung = 0;
    for n in 0..20 {
        let call = CallId(n);
        rung += usize::from(nodes.try_ask(callers[0], ring(call, victim_id)).is_ok());
        hang_up(&mut nodes, callers[0], call);
    }
    assert_eq!((rung, nodes.rings_at(*victim).len()), (3, 3), "of one pair");
    // One to many, whoever they are.
    let answers: Vec<_> = (0..20)
        .map(|n| {
            let call = CallId(100 + n);
            let answer = nodes.try_ask(callers[1], ring(call, PlayerId([n as u8; 16])));
            hang_up(&mut nodes, callers[1], call);
            answer
        })
        .collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5, "of one caller");
    assert!(matches!(answers[19], Err(RequestError::Limited { .. })));
    // Many to one: who is over the rate does not reach it, as if it were not there.
    for (n, caller) in callers[2..].iter().enumerate() {
        let call = CallId(200 + n as u64);
        nodes.ask(*caller, ring(call, victim_id));
        hang_up(&mut nodes, *caller, call);
    }
    assert_eq!(nodes.rings_at(*victim).len(), 10, "of one who is called");
}
