use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::Identity;
use crate::id::{MatchId, RequestId, RoomId};
use crate::wire::handshake::{ClientHandshake, ClientProgress, ServerHandshake};
use crate::wire::message::{Facts, Login, MatchEnd, PlayerInfo, QueueStatus, Request, RequestError, Welcome};

/// Both ends of a session that has just begun.
fn pair() -> (ClientSession, ServerSession, Instant) {
    let (now, mut rng) = (Instant::now(), ChaCha20Rng::from_seed([1; 32]));
    let player = Identity::from_secret([2; 32]);
    let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let server = ServerHandshake::new(Identity::from_secret([3; 32]), [4; 32], now);
    let mut client = ClientHandshake::new(&mut rng);
    let login = Login {
        game: "g".into(),
        game_protocol: 1,
        name: "A".into(),
        token: Vec::new(),
        ephemeral: [3; 32],
        local: Vec::new(),
        relay_only: false,
    };
    let cookie = server.handle_hello(now, (from, false), client.datagram()).unwrap();
    client.handle(&cookie, &player, &[], &login, now, &mut rng).unwrap();
    let pending = server.handle_init(now, (from, false), client.datagram(), &mut rng).unwrap();
    let welcome = Welcome {
        session: 7,
        observed: from,
        probe_targets: Vec::new(),
        session_timeout_s: 35,
        other_family: Vec::new(),
        reset: [0; 16],
    };
    let (accept, of_server) = pending.accept(&welcome, now).unwrap();
    let Ok(ClientProgress::Accepted(accepted)) = client.handle(&accept, &player, &[], &login, now, &mut rng)
    else {
        panic!("accepted")
    };
    (accepted.1, of_server, now)
}

fn drain<Out: Serialize + Topical, In: DeserializeOwned>(session: &mut Session<Out, In>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| session.poll_datagram()).collect()
}

/// Everything that the server sends arrives, and so do the acknowledgements.
fn deliver(server: &mut ServerSession, client: &mut ClientSession, now: Instant) -> Vec<ToPlayer> {
    let mut told = Vec::new();
    loop {
        let datagrams = drain(server);
        if datagrams.is_empty() {
            return told;
        }
        for datagram in datagrams {
            if let Ok(Some(Frame::Reliable { body, .. })) = client.handle(now, &datagram) {
                told.push(body);
            }
        }
        for ack in drain(client) {
            server.handle(now, &ack).unwrap();
        }
    }
}

/// Returns a list of members of about the longest kind.
fn members(revision: u32) -> ToPlayer {
    let member = |n: u8| PlayerInfo { id: crate::id::PlayerId([n; 16]), name: "n".repeat(48) };
    ToPlayer::Members { room: RoomId(1), revision, part: 0, parts: 1, members: (0..12).map(member).collect() }
}

/// Returns a state, which a newer one replaces where it still waits.
fn place(position: u32) -> ToPlayer {
    ToPlayer::Queue(QueueStatus { position, waiting: 9, players: 4, estimate_s: None })
}

fn answer(id: u32) -> ToPlayer {
    ToPlayer::Response { id: RequestId(id), result: Err(RequestError::RoomFull) }
}

#[test]
fn a_state_that_waits_makes_room_for_the_newer_one_and_the_last_one_arrives() {
    let (mut client, mut server, now) = pair();
    // The 700, and as many again: nobody acknowledges meanwhile.
    for revision in 0..1400 {
        server.send(now, members(revision)).unwrap();
        server
            .send(now, ToPlayer::Queue(QueueStatus { position: 1, waiting: 9, players: 4, estimate_s: None }))
            .unwrap();
        let facts = Facts::PeerPublic(vec!["192.0.2.1:1".parse().unwrap()]);
        server.send(now, ToPlayer::Facts { match_id: MatchId(u64::from(revision % 63)), facts }).unwrap();
    }
    assert!(server.outgoing.len() <= 32 + 2 + 63, "{} frames", server.outgoing.len());
    let told = deliver(&mut server, &mut client, now);
    let newest = told.iter().filter_map(|message| match message {
        ToPlayer::Members { revision, .. } => Some(*revision),
        _ => None,
    });
    assert_eq!(newest.max(), Some(1399));
    assert_eq!(server.poll_timeout(), None, "nothing left to repeat");
}

#[test]
fn a_second_message_leaves_while_the_first_is_in_flight_and_each_is_repeated_until_its_own_acknowledgement() {
    let (mut client, mut server, now) = pair();
    server.send(now, place(1)).unwrap();
    let first = drain(&mut server);
    server.send(now, place(2)).unwrap();
    let second = drain(&mut server);
    assert_eq!((first.len(), second.len()), (1, 1), "neither waits for the other's acknowledgement");
    assert_eq!(server.outgoing.len(), 2, "what has left is not replaced");
    // The first one is lost; the acknowledgement of the second says nothing about it.
    let told = client.handle(now, &second[0]);
    assert_eq!(told, Ok(Some(Frame::Reliable { seq: 1, body: place(2) })));
    for ack in drain(&mut client) {
        server.handle(now, &ack).unwrap();
    }
    assert_eq!(server.outgoing.len(), 1);
    let due = server.poll_timeout().expect("the first one comes again");
    server.handle_timeout(due);
    let again = drain(&mut server);
    assert_eq!(again.len(), 1);
    assert_eq!(client.handle(due, &again[0]), Ok(Some(Frame::Reliable { seq: 0, body: place(1) })));
    for ack in drain(&mut client) {
        server.handle(due, &ack).unwrap();
    }
    assert_eq!((server.outgoing.len(), server.poll_timeout()), (0, None));
}

#[test]
fn so_many_messages_are_in_flight_at_a_time_and_an_acknowledgement_lets_the_next_one_leave() {
    let (mut client, mut server, now) = pair();
    for id in 0..33 {
        server.send(now, answer(id)).unwrap();
    }
    let sent = drain(&mut server);
    assert_eq!(sent.len(), 32, "the last one waits");
    client.handle(now, &sent[7]).unwrap();
    let ack = client.poll_datagram().unwrap();
    server.handle(now, &ack).unwrap();
    let next = drain(&mut server);
    assert_eq!(next.len(), 1);
    assert_eq!(client.handle(now, &next[0]), Ok(Some(Frame::Reliable { seq: 32, body: answer(32) })));
}

#[test]
fn answers_are_not_replaced_and_what_waits_is_bounded_in_bytes() {
    let (mut client, mut server, now) = pair();
    for id in 0..600 {
        server.send(now, answer(id)).unwrap();
    }
    assert_eq!(deliver(&mut server, &mut client, now).len(), 600);
    let mut bytes = 0;
    let full = (0..).find_map(|id| {
        let page = ToPlayer::Response {
            id: RequestId(id),
            result: Err(RequestError::Malformed { what: "w".repeat(1000) }),
        };
        bytes += 1000;
        server.send(now, page).err()
    });
    assert_eq!(full, Some(SendError::QueueFull));
    assert!(server.is_backed_up());
    assert!((100_000..180_000).contains(&bytes), "{bytes} bytes");
    let long = ToPlayer::Response {
        id: RequestId(0),
        result: Err(RequestError::Malformed { what: "w".repeat(1170) }),
    };
    assert_eq!(server.send(now, long), Err(SendError::TooLong));
}

#[test]
fn what_waits_about_a_match_that_is_over_is_taken_back() {
    let (_, mut server, now) = pair();
    for id in 0..100 {
        server.send(now, answer(id)).unwrap();
    }
    for id in 0..5 {
        server.send(now, ToPlayer::MatchEnded { match_id: MatchId(id), reason: MatchEnd::Left }).unwrap();
    }
    let before = server.outgoing.len();
    let withdrawn = server.withdraw(|topic| topic.match_id() == Some(MatchId(3)));
    assert_eq!(withdrawn, [Topic::MatchEnded(MatchId(3))]);
    assert_eq!(server.outgoing.len(), before - 1);
}

#[test]
fn what_is_taken_back_leaves_its_place_to_another_and_no_more() {
    let (_, mut server, now) = pair();
    let ended = |id| ToPlayer::MatchEnded { match_id: MatchId(id), reason: MatchEnd::Left };
    // All of them take as many bytes.
    let full = (1_000..).find(|id| server.send(now, ended(*id)).is_err()).unwrap();
    assert_eq!(server.withdraw(|topic| topic.match_id() == Some(MatchId(full - 1))).len(), 1);
    assert_eq!(server.send(now, ended(full)), Ok(()));
    assert_eq!(server.send(now, ended(full + 1)), Err(SendError::QueueFull));
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_dropped_and_frees_nothing() {
    let (mut client, mut server, now) = pair();
    for id in 0..100 {
        server.send(now, answer(id)).unwrap();
    }
    let queued = server.outgoing.len();
    for seq in [32, 33, 99, 1000, u32::MAX] {
        client.send_once(now, &Frame::Ack { seq, counter: 0 });
        let ack = client.poll_datagram().unwrap();
        assert_eq!(server.handle(now, &ack), Err(Dropped::NeverSent), "{seq}");
    }
    assert_eq!((server.outgoing.len(), server.rtt()), (queued, None));
    client.send_once(now, &Frame::Ack { seq: 0, counter: 0 });
    let ack = client.poll_datagram().unwrap();
    assert_eq!(server.handle(now, &ack), Ok(None));
    assert_eq!(server.outgoing.len(), queued - 1);
}

#[test]
fn an_address_that_answers_no_more_gets_a_few_kilobytes_and_then_nothing() {
    let (mut client, mut server, start) = pair();
    for id in 0..100 {
        let what = "w".repeat(1000);
        let page = ToPlayer::Response { id: RequestId(id), result: Err(RequestError::Malformed { what }) };
        server.send(start, page).unwrap();
    }
    let (mut early, mut late, mut now) = (0, 0, start);
    loop {
        let bytes: usize = drain(&mut server).iter().map(Vec::len).sum();
        let silent = now - start >= Duration::from_secs(10);
        *(if silent { &mut late } else { &mut early }) += bytes;
        let Some(due) = server.poll_timeout().filter(|due| *due < start + Duration::from_secs(3600)) else {
            break;
        };
        assert!(due > now, "it does not spin");
        now = due;
        server.handle_timeout(now);
    }
    // Three rounds of the initial window, and one frame from then on.
    assert!(early <= 100_000, "{early} bytes in the first ten seconds");
    assert!(late <= SILENT_BYTES, "{late} bytes after them");
    // Nor can somebody elsewhere have more sent there.
    let later = start + Duration::from_secs(60);
    for n in 0..1000 {
        server.send(later, members(n)).unwrap();
        server.send_once(later, &Frame::Ping { id: n });
    }
    let more: usize = drain(&mut server).iter().map(Vec::len).sum();
    assert!(late + more <= SILENT_BYTES, "{late} and {more} bytes");
    // It is back: all of it goes on.
    server.heard(later);
    let told = deliver(&mut server, &mut client, later);
    assert_eq!(told.iter().filter(|message| matches!(message, ToPlayer::Response { .. })).count(), 100);
}

#[test]
fn a_frame_that_is_not_accepted_comes_again() {
    let (mut client, mut server, mut now) = pair();
    let body = ToServer::Request { id: RequestId(1), request: Request::LeaveRoom };
    client.send(now, body.clone()).unwrap();
    let first = client.poll_datagram().unwrap();
    assert_eq!(server.open(&first), Ok(Frame::Reliable { seq: 0, body: body.clone() }));
    assert!(server.is_fresh(0) && server.poll_datagram().is_none(), "no acknowledgement");
    now = client.poll_timeout().unwrap();
    client.handle_timeout(now);
    let again = client.poll_datagram().unwrap();
    assert_eq!(server.handle(now, &again), Ok(Some(Frame::Reliable { seq: 0, body })));
    assert!(!server.is_fresh(0));
    let ack = server.poll_datagram().unwrap();
    assert_eq!(client.handle(now, &ack), Ok(None));
}

#[test]
fn the_kind_of_a_datagram_cannot_be_changed_on_its_way() {
    let (mut client, mut server, now) = pair();
    let probe = client.seal(now, Kind::Probe, &Frame::Ping { id: 1 }).unwrap();
    let mut turned = probe.clone();
    turned[0] = Kind::Control as u8;
    assert_eq!(server.handle(now, &turned), Err(Dropped::NotAuthentic));
    assert_eq!(server.handle(now, &probe), Ok(Some(Frame::Ping { id: 1 })), "the true one still counts");
}

#[test]
fn after_too_many_forgeries_a_key_opens_nothing_more() {
    let (mut client, mut server, now) = pair();
    let ping = client.seal(now, Kind::Control, &Frame::Ping { id: 1 }).unwrap();
    let mut forged = ping.clone();
    forged[40] ^= 1;
    server.forged = FORGERIES - 1;
    assert_eq!(server.handle(now, &forged), Err(Dropped::NotAuthentic));
    assert_eq!(server.handle(now, &ping), Err(Dropped::Limit));
}

/// Over 5 s every frame is sent again before its acknowledgement can be there, and each tells the round trip all the same.
#[test]
fn a_round_trip_that_is_longer_than_the_first_wait_is_measured_and_waited_for() {
    let (mut client, mut server, start) = pair();
    let way = Duration::from_millis(2500);
    let mut to_client: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut to_server: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let (mut now, mut sent) = (start, 0);
    let mut of_second_half = 0;
    for step in 0..6000u32 {
        now = start + Duration::from_millis(10) * step;
        if step % 500 == 0 {
            server.send(now, answer(step / 500)).unwrap();
        }
        if server.poll_timeout().is_some_and(|at| at <= now) {
            server.handle_timeout(now);
        }
        while let Some(datagram) = server.poll_datagram() {
            sent += 1;
            of_second_half += u32::from(step >= 3000);
            to_client.push_back((now + way, datagram));
        }
        while to_client.front().is_some_and(|(at, _)| *at <= now) {
            client.handle(now, &to_client.pop_front().unwrap().1).unwrap();
        }
        while let Some(datagram) = client.poll_datagram() {
            to_server.push_back((now + way, datagram));
        }
        while to_server.front().is_some_and(|(at, _)| *at <= now) {
            server.handle(now, &to_server.pop_front().unwrap().1).unwrap();
        }
    }
    let rtt = server.rtt().expect("measured");
    assert!(rtt >= way * 2 && rtt <= way * 2 + Duration::from_millis(20), "{rtt:?}");
    assert!(sent >= 12, "all twelve frames");
    assert_eq!(of_second_half, 6, "once each, as nothing is lost");
    assert!(now > start);
}
