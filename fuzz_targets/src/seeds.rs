//! Inputs to begin with: the corpus was seeded with them.

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use traversal_core::Identity;
use traversal_core::wire::handshake::ClientHandshake;
use traversal_core::wire::message::{Frame, Login, LoginRefusal, LoginReply, Welcome};
use traversal_core::wire::pair::PairMessage;
use traversal_core::wire::{Kind, codec};

use crate::messages::{Known, player_frame, server_frame, to_player, to_server, usual_addresses};
use crate::servers::at;

/// One input of each kind of message, real datagrams, and files as the manual has them; stories are random bytes, which
/// tell the targets what to do next.
pub fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let hello = ClientHandshake::new(&mut rng).hello().to_vec();
    let bare_stun = [&b"\x00\x01\x00\x00\x21\x12\xa4\x42"[..], &[7; 12]].concat();
    let change =
        [&b"\x00\x01\x00\x08\x21\x12\xa4\x42"[..], &[7; 12], &b"\x00\x03\x00\x04\0\0\0\x06"[..]].concat();
    let sealed = [&[Kind::Control as u8][..], &[1; 80]].concat();
    let datagrams = [&hello, &bare_stun, &change, &sealed];
    let framed: Vec<u8> = datagrams
        .iter()
        .flat_map(|datagram| [&(datagram.len() as u16).to_be_bytes()[..], datagram].concat())
        .collect();
    let first = |byte: u8, rest: &[u8]| [&[byte], rest].concat();
    let settings = [
        first(0, include_bytes!("../../lobby_server/lobby.example.toml")),
        first(0, b"bind = \"198.18.0.10:3478\"\nsecond_address = [\"198.18.0.11\"]\nrelay_games = { a = \"never\" }\n"),
        first(2, b"port-restricted-cone"),
        first(2, b"40000-40100"),
    ];
    let stories = |rng: &mut ChaCha20Rng, count: usize, length: usize| {
        let mut story = || {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        (0..count).map(|_| story()).collect::<Vec<_>>()
    };
    [
        ("agent", stories(&mut rng, 12, 400)),
        ("frame", messages(&mut rng)),
        ("handshake", stories(&mut rng, 8, 120)),
        ("pair", stories(&mut rng, 8, 120)),
        ("seals", stories(&mut rng, 8, 120)),
        ("server", stories(&mut rng, 12, 400)),
        ("session", stories(&mut rng, 12, 200)),
        ("settings", settings.to_vec()),
        ("stranger", (0..8).map(|way| first(way * 5, datagrams[usize::from(way) % 4])).collect()),
        ("stream", (1..5).map(|cut| [&[cut, 255, 3, 90], &framed[..]].concat()).collect()),
        ("stun", stories(&mut rng, 8, 80)),
    ]
    .into()
}

/// Returns of each kind of message the first that chance brings.
fn messages(rng: &mut ChaCha20Rng) -> Vec<Vec<u8>> {
    let known = Known { addresses: usual_addresses(), ..Known::default() };
    let mut kinds: BTreeMap<(u8, [u8; 3]), Vec<u8>> = BTreeMap::new();
    let mut put = |which: u8, bytes: Vec<u8>| {
        let kind =
            [bytes.first(), bytes.get(2), bytes.get(4)].map(|byte| byte.copied().unwrap_or_default() & 31);
        let front = if which < 2 && kind[0] == 0 { kind } else { [kind[0], 0, 0] };
        kinds.entry((which, front)).or_insert_with(|| [&[which], &bytes[..]].concat());
    };
    for _ in 0..400 {
        let mut bytes = [0; 300];
        rng.fill_bytes(&mut bytes);
        let mut u = Unstructured::new(&bytes);
        if let Ok(body) = to_server(&mut u, &known) {
            let frame = Frame::Reliable { seq: 1, body };
            codec::encode(&frame).into_iter().for_each(|bytes| put(0, bytes));
        }
        if let Ok(body) = to_player(&mut u, &known) {
            let frame = Frame::Reliable { seq: 1, body };
            codec::encode(&frame).into_iter().for_each(|bytes| put(1, bytes));
        }
        let (own, others) = (player_frame(&mut u, &known), server_frame(&mut u, &known));
        own.into_iter().filter_map(|frame| codec::encode(&frame).ok()).for_each(|bytes| put(0, bytes));
        others.into_iter().filter_map(|frame| codec::encode(&frame).ok()).for_each(|bytes| put(1, bytes));
    }
    let login = Login {
        game: "game".into(),
        game_protocol: 1,
        name: "player".into(),
        token: vec![1, 2, 3],
        ephemeral: Identity::from_secret([4; 32]).public_key(),
        local: vec![at("192.168.1.2:4000"), at("[2001:db8::1]:4000")],
        relay_only: false,
    };
    let welcome = Welcome {
        session: 70,
        observed: at("203.0.113.1:4000"),
        probe_targets: vec![at("198.18.0.10:3478"); 4],
        session_timeout_s: 35,
        other_family: vec![at("[2001:db8:1::10]:3478")],
        reset: [3; 16],
    };
    let test = PairMessage::Confirm { tag: 1, observed: at("203.0.113.1:4000"), test: Some(2) };
    let close = PairMessage::Close { reason: "bye".into() };
    let others = [
        (2, codec::encode(&login)),
        (3, codec::encode::<LoginReply>(&Ok(welcome))),
        (3, codec::encode::<LoginReply>(&Err(LoginRefusal::Full))),
        (4, codec::encode(&test)),
        (4, codec::encode(&close)),
    ];
    for (which, bytes) in others {
        bytes.into_iter().for_each(|bytes| put(which, bytes));
    }
    put(5, [&[Kind::Control as u8][..], &[1; 80]].concat());
    kinds.into_values().collect()
}
