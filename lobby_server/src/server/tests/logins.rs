//! What a login costs, and when; and how an address is proven beside somebody who would not have it.

use std::sync::{Arc, Mutex};

use super::*;
use crate::ids::SessionId;
use crate::tokens::{TokenCheck, TokenLogin, TokenStep};
use traversal_core::wire::handshake::parse_unknown_session;
use traversal_core::wire::message::Farewell;

/// These tokens serve once.
#[derive(Clone, Default)]
struct OneTime(Arc<Mutex<Vec<Vec<u8>>>>);

impl TokenCheck for OneTime {
    fn check(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        let spent = self.0.lock().unwrap().iter().any(|spent| spent == login.token);
        if spent { Err("used".into()) } else { Ok(()) }
    }

    fn spend(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        self.check(login)?;
        self.0.lock().unwrap().push(login.token.to_vec());
        Ok(())
    }
}

fn with_tokens() -> (World, OneTime) {
    let (mut world, tokens) = (World::new(), OneTime::default());
    world.server.set_token_check(Box::new(tokens.clone()));
    (world, tokens)
}

#[test]
fn a_token_is_spent_when_the_player_has_proven_to_be_there_and_no_sooner() {
    let (mut world, tokens) = with_tokens();
    let player = world.add(1, "203.0.113.1:4000");
    world.fakes[player].login.token = b"ticket".to_vec();
    let hello = world.fakes[player].handshake.datagram().to_vec();
    world.send_raw(player, &hello);
    let init = world.fakes[player].handshake.datagram().to_vec();
    // Somebody on the way sends copies of it, under the player's own address.
    for _ in 0..20 {
        world.send_raw(player, &init);
        assert!(tokens.0.lock().unwrap().is_empty());
    }
    world.ping(player);
    assert_eq!(*tokens.0.lock().unwrap(), [b"ticket".to_vec()]);
    assert_eq!(world.server.gauges().sessions, 1);
}

#[test]
fn of_two_logins_with_one_token_the_second_to_prove_itself_is_sent_away() {
    let (mut world, tokens) = with_tokens();
    let players = [world.add(1, "203.0.113.1:4000"), world.add(2, "203.0.113.2:4000")];
    for player in players {
        world.fakes[player].login.token = b"ticket".to_vec();
        for _ in 0..2 {
            let datagram = world.fakes[player].handshake.datagram().to_vec();
            world.send_raw(player, &datagram);
        }
    }
    for player in players {
        world.ping(player);
    }
    assert_eq!((tokens.0.lock().unwrap().len(), world.server.gauges().sessions), (1, 1));
    let bye = world.fakes[players[1]]
        .frames
        .iter()
        .any(|frame| matches!(frame, Frame::Goodbye { reason, why: Farewell::Token } if reason == "used"));
    assert!(bye, "and told why");
    assert_eq!(world.server.counters().logins_refused, 1);
}

#[test]
fn a_login_that_nobody_stands_behind_gives_its_place_up_after_seconds_and_may_come_again() {
    let config = ServerConfig { max_sessions: 2, ..ServerConfig::default() };
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let ghosts: Vec<usize> = (1..=2).map(|n| world.add(n, &format!("203.0.113.{n}:4000"))).collect();
    let mut inits = Vec::new();
    for ghost in &ghosts {
        let hello = world.fakes[*ghost].handshake.datagram().to_vec();
        world.send_raw(*ghost, &hello);
        inits.push(world.fakes[*ghost].handshake.datagram().to_vec());
        world.fakes[*ghost].dead = true;
        world.send_raw(*ghost, inits.last().unwrap());
    }
    assert_eq!(world.server.roster.clients().count(), 2);
    world.pass(Duration::from_millis(9900));
    assert_eq!(world.server.roster.clients().count(), 2);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.server.roster.clients().count(), 0);
    // The same question is not answered with a session that is no more.
    world.fakes[0].dead = false;
    world.send_raw(0, &inits[0]);
    world.ping(0);
    assert!(world.answer(0, Request::ListRooms { query: Default::default() }).is_ok());
}

#[test]
fn the_end_of_a_session_is_told_with_a_token_that_only_its_player_knows() {
    let mut world = World::new();
    let player = world.player(1, "203.0.113.1:4000");
    let welcome = world.fakes[player].welcome.clone().unwrap();
    let now = world.now;
    let ping = world.fakes[player].session.as_mut().unwrap().seal(now, Kind::Control, &Frame::Ping { id: 1 });
    let ping = ping.unwrap();
    // While it lives, nobody gets it out of the server, whatever comes for it.
    for from in ["203.0.113.1:4000", "192.0.2.66:6"] {
        let mut junk = ping.clone();
        junk[30] ^= 1;
        world.sent.clear();
        world.send_from(ServerSocketId(0), at(from), &junk);
        assert!(world.sent.is_empty());
    }
    let other = world.player(2, "203.0.113.2:4000");
    let others = world.fakes[other].welcome.clone().unwrap();
    assert_ne!(welcome.reset, others.reset);
    world.pass(Duration::from_secs(40));
    world.sent.clear();
    world.send_raw(player, &ping);
    let refusal = world.sent.back().map(|(.., refusal)| parse_unknown_session(refusal));
    assert_eq!(refusal, Some(Some((welcome.session, welcome.reset))));
}

#[test]
fn nobody_who_causes_challenges_elsewhere_keeps_a_player_from_proving_its_new_address() {
    let mut world = World::new();
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, named("r"));
    let mover = world.player(2, "198.51.100.1:5000");
    assert!(world.answer(mover, by_name("r")).is_ok());
    let plan = &world.fakes[mover].plans()[0];
    // The token stands in the clear in front of what is relayed.
    let mut relayed = vec![Kind::Relay as u8];
    relayed.extend_from_slice(&plan.relay.unwrap().token);
    relayed.push(Kind::Pair as u8);
    relayed.extend_from_slice(&plan.match_id.0.to_le_bytes());
    relayed.resize(200, 1);
    let moved = at("198.51.100.1:5999");
    let now = world.now;
    // Its datagrams come from there now, and the thief's in between.
    let ping = world.fakes[mover].session.as_mut().unwrap().seal(now, Kind::Control, &Frame::Ping { id: 1 });
    world.sent.clear();
    world.send_from(ServerSocketId(0), moved, &ping.unwrap());
    let challenge = world.sent.iter().find(|(_, to, _)| *to == moved).unwrap().2.clone();
    for port in 1..50 {
        world.send_from(ServerSocketId(0), SocketAddr::from(([192, 0, 2, 66], port)), &relayed);
    }
    let session = world.fakes[mover].session.as_mut().unwrap();
    let Ok(Some(Frame::PathChallenge { token })) = session.handle(now, &challenge) else {
        panic!("challenge")
    };
    let echo = session.seal(now, Kind::Control, &Frame::PathResponse { token }).unwrap();
    world.send_from(ServerSocketId(0), moved, &echo);
    let session = world.fakes[mover].welcome.as_ref().unwrap().session;
    assert_eq!(world.server.roster.client(SessionId(session)).unwrap().route().peer, moved);
    // It proves that address alone, once, and for seconds.
    let again = world.fakes[mover].session.as_mut().unwrap();
    let late = again.seal(now, Kind::Control, &Frame::PathResponse { token }).unwrap();
    let before = world.server.counters().dropped;
    world.send_from(ServerSocketId(0), at("192.0.2.66:7"), &late);
    assert_eq!(world.server.counters().dropped, before + 1);
    assert_eq!(world.server.roster.client(SessionId(session)).unwrap().route().peer, moved);
}

#[test]
fn a_login_key_with_which_nothing_can_be_agreed_on_is_refused() {
    let mut world = World::new();
    let player = world.add(1, "203.0.113.1:4000");
    world.fakes[player].login.ephemeral = [0; 32];
    world.log_in(player);
    assert!(
        matches!(&world.fakes[player].refused, Some(LoginRefusal::Malformed { what }) if what.contains("ephemeral"))
    );
}

/// Sends a player's hello and its init, whose token is asked about.
fn knock(world: &mut World, player: usize, token: &[u8]) {
    world.fakes[player].login.token = token.to_vec();
    for _ in 0..2 {
        let datagram = world.fakes[player].handshake.datagram().to_vec();
        world.send_raw(player, &datagram);
    }
}

#[test]
fn while_a_token_is_checked_others_are_served_and_the_player_waits() {
    let mut world = World::new();
    let other = world.player(9, "203.0.113.9:4000");
    world.server.ask_about_tokens();
    let player = world.add(1, "203.0.113.1:4000");
    knock(&mut world, player, b"ticket");
    let question = world.server.poll_token_question().unwrap();
    assert_eq!(
        (question.step, question.address, &question.token[..]),
        (TokenStep::Check, "203.0.113.1".parse().unwrap(), &b"ticket"[..])
    );
    // It asks again, which is no further question; others are answered.
    knock(&mut world, player, b"ticket");
    assert!(world.server.poll_token_question().is_none());
    assert!(world.answer(other, Request::ListRooms { query: Default::default() }).is_ok());
    assert!(world.fakes[player].session.is_none());
    world.server.handle_token_answer(world.now, question.id, Ok(crate::Admission::default()));
    world.turn();
    assert!(world.fakes[player].session.is_some());
    world.ping(player);
    let spend = world.server.poll_token_question().unwrap();
    assert_eq!((spend.step, spend.player), (TokenStep::Spend, question.player));
    world.server.handle_token_answer(world.now, spend.id, Err(LoginRefusal::Token { reason: "used".into() }));
    assert_eq!(world.server.gauges().sessions, 1, "only the other one is left");
    // An answer that comes twice is none.
    world.server.handle_token_answer(world.now, spend.id, Err(LoginRefusal::Token { reason: "used".into() }));
    assert_eq!(world.server.gauges().sessions, 1);
}

#[test]
fn a_token_that_is_refused_or_not_checked_in_time_is_said_to_be_so() {
    let mut world = World::new();
    world.server.ask_about_tokens();
    let wrong = world.add(1, "203.0.113.1:4000");
    knock(&mut world, wrong, b"no");
    let question = world.server.poll_token_question().unwrap();
    world.server.handle_token_answer(
        world.now,
        question.id,
        Err(LoginRefusal::Token { reason: "banned".into() }),
    );
    world.turn();
    assert_eq!(world.fakes[wrong].refused, Some(LoginRefusal::Token { reason: "banned".into() }));
    let late = world.add(2, "203.0.113.2:4000");
    knock(&mut world, late, b"yes");
    let question = world.server.poll_token_question().unwrap();
    world.pass(Duration::from_millis(2900));
    assert_eq!(world.fakes[late].refused, None);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.fakes[late].refused, Some(LoginRefusal::Unchecked));
    world.server.handle_token_answer(world.now, question.id, Ok(crate::Admission::default()));
    assert_eq!(world.server.gauges().sessions, 0, "too late");
}
