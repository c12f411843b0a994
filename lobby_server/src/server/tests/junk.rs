//! Whatever comes in, the core lives on.

use proptest::prelude::*;

use super::*;
use traversal_core::id::RoomId;
use traversal_core::wire::message::RoomTicket;

/// Returns datagrams whose first bytes lead somewhere.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![any::<u8>(), 0xC7..=0xCFu8, Just(0u8)];
    (first, proptest::collection::vec(any::<u8>(), 0..1600), any::<bool>()).prop_map(
        |(first, mut bytes, marked)| {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            if marked && bytes.len() > 8 {
                bytes[1..6].copy_from_slice(b"btv\x01\0");
                if first == 0 {
                    bytes[..8].copy_from_slice(b"\0\x01\0\0\x21\x12\xa4\x42");
                    let length = ((bytes.len().max(20) - 20) as u16).to_be_bytes();
                    bytes[2..4].copy_from_slice(&length);
                }
            }
            bytes
        },
    )
}

/// Returns what a logged-in player may seal, right or wrong.
fn sealed() -> impl Strategy<Value = Frame<ToServer>> {
    let text = || "[a-z\u{0}-\u{ff}]{0,40}";
    prop_oneof![
        any::<u32>().prop_map(|id| Frame::Ping { id }),
        any::<[u8; 16]>().prop_map(|token| Frame::PathResponse { token }),
        any::<(u32, u64, u16, bool)>().prop_map(|(tag, id, round, second)| {
            let match_id = traversal_core::id::MatchId(id);
            Frame::Probe(message::Probe {
                tag,
                purpose: message::ProbePurpose::Range { match_id, round, second },
            })
        }),
        (any::<u32>(), text(), any::<u16>(), any::<bool>(), 0..8u8).prop_map(
            |(seq, name, capacity, flag, kind)| {
                let request = match kind {
                    0 => Request::CreateRoom {
                        options: RoomOptions { name, capacity, public: flag, ..RoomOptions::default() },
                    },
                    1 => Request::JoinRoom { target: RoomTarget::Name(name), password: None },
                    2 => Request::ListRooms {
                        query: message::RoomQuery {
                            text: name,
                            limit: capacity,
                            descending: flag,
                            ..Default::default()
                        },
                    },
                    3 => Request::TakeUpRoom {
                        ticket: RoomTicket {
                            room: RoomId(seq.into()),
                            epoch: seq,
                            host: PlayerId([seq as u8; 16]),
                            seal: [capacity as u8; 16],
                            generation: seq,
                            until_s: seq.into(),
                            terms: message::RoomTerms { capacity, ..message::RoomTerms::default() },
                        },
                        code: name.clone(),
                        options: RoomOptions { name, capacity, ..RoomOptions::default() },
                    },
                    4 => Request::QuickMatch(message::QuickMatch {
                        mode: if flag { String::new() } else { name },
                        players: capacity % 4,
                        ..message::QuickMatch::default()
                    }),
                    5 => Request::LeaveQueue,
                    6 => Request::Rematch { player: Identity::from_secret([seq as u8 % 4; 32]).player_id() },
                    _ => Request::LeaveRoom,
                };
                let id = RequestId(seq);
                Frame::Reliable { seq: seq % 64, body: ToServer::Request { id, request } }
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_datagrams_never_panic_and_never_amplify(
        datagrams in proptest::collection::vec((datagram(), 0..3u16, any::<u16>()), 1..40)
    ) {
        let mut world = World::new();
        let player = world.player(1, "203.0.113.1:4000");
        for (datagram, socket, port) in datagrams {
            let before = world.sent.len();
            world.send_from(ServerSocketId(socket), SocketAddr::new([192, 0, 2, 7].into(), port), &datagram);
            let answers: usize = world.sent.iter().skip(before).map(|(.., reply)| reply.len()).sum();
            let stun = datagram.first().is_some_and(|first| *first < 4);
            prop_assert!(stun || answers <= datagram.len());
            world.pass(Duration::from_millis(10));
        }
        let alive = world.answer(player, Request::ListRooms { query: Default::default() }).is_ok();
        prop_assert!(alive);
    }

    #[test]
    fn damaged_and_repeated_datagrams_of_a_session_do_no_harm(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..30)
    ) {
        let mut world = World::new();
        let player = world.player(1, "203.0.113.1:4000");
        let address = world.fakes[player].address;
        let now = world.now;
        let ping = world.fakes[player].session.as_mut().unwrap().seal(now, Kind::Control, &Frame::Ping { id: 1 });
        let ping = ping.unwrap();
        for (at, flip) in flips {
            let mut damaged = ping.clone();
            let index = at.index(damaged.len());
            damaged[index] ^= flip;
            world.send_from(ServerSocketId(0), address, &damaged);
            world.send_from(ServerSocketId(0), address, &ping);
        }
        prop_assert_eq!(world.server.gauges().sessions, 1);
        let alive = world.answer(player, Request::ListRooms { query: Default::default() }).is_ok();
        prop_assert!(alive);
    }

    #[test]
    fn players_who_say_anything_at_all_break_nothing(
        frames in proptest::collection::vec((0..2usize, sealed(), 0..3000u64), 1..60)
    ) {
        let mut world = World::new();
        let players = [world.player(1, "203.0.113.1:4000"), world.player(2, "198.51.100.1:5000")];
        for (index, frame, pause) in frames {
            let now = world.now;
            let Some(session) = &mut world.fakes[players[index]].session else { continue };
            let Some(datagram) = session.seal(now, Kind::Control, &frame) else { continue };
            world.send_raw(players[index], &datagram);
            world.pass(Duration::from_millis(pause % 500));
        }
        let third = world.player(3, "192.0.2.1:5000");
        world.pass(Duration::from_secs(4));
        let alive = world.answer(third, Request::ListRooms { query: Default::default() }).is_ok();
        prop_assert!(alive);
        prop_assert!(world.server.rooms.count() <= 2);
        prop_assert!(!world.server.rooms.waits_for_registry());
    }
}
