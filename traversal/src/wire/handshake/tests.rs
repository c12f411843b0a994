use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::wire::Dropped;
use crate::wire::message::{Frame, Login, Request, ToServer, Welcome};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port))
}

fn login() -> Login {
    Login {
        game: "g".into(),
        game_protocol: 1,
        name: "A".into(),
        token: vec![7; crate::wire::message::MAX_TOKEN],
        ephemeral: [3; 32],
        local: vec!["[2001:db8::1]:40000".parse().unwrap(); crate::wire::message::MAX_LOCAL_ADDRESSES],
        relay_only: false,
    }
}

struct Pair {
    now: Instant,
    rng: ChaCha20Rng,
    player: Identity,
    client: ClientHandshake,
    server: ServerHandshake,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let client = ClientHandshake::new(&mut rng);
        let server = ServerHandshake::new(Identity::from_secret([2; 32]), [4; 32], now);
        Self { now, rng, player: Identity::from_secret([1; 32]), client, server }
    }

    fn answer(&mut self, datagram: &[u8], expected: &[[u8; 32]]) -> Result<ClientProgress, Dropped> {
        self.client.handle(datagram, &self.player, expected, &login(), self.now, &mut self.rng)
    }

    fn cookie(&mut self, from: SocketAddr) -> Vec<u8> {
        self.server.handle_hello(self.now, (from, false), self.client.datagram()).unwrap()
    }

    fn init(&mut self, from: SocketAddr) -> Result<PendingLogin, Dropped> {
        self.server.handle_init(self.now, (from, false), self.client.datagram(), &mut self.rng)
    }
}

fn welcome() -> Welcome {
    let target: SocketAddr = "[2001:db8::2]:3478".parse().unwrap();
    Welcome {
        session: 99,
        observed: target,
        probe_targets: vec![target; 4],
        session_timeout_s: 40,
        other_family: vec![target; 2],
        reset: [9; 16],
    }
}

#[test]
fn a_login_with_every_field_at_its_longest_goes_through_and_no_answer_is_longer_than_its_question() {
    let mut pair = Pair::new();
    let cookie = pair.cookie(address(1));
    assert!(cookie.len() <= pair.client.datagram().len());
    let key = pair.server.identity().public_key();
    assert!(matches!(pair.answer(&cookie, &[key]), Ok(ClientProgress::Cookie)));
    let pending = pair.init(address(1)).unwrap();
    assert_eq!(pending.player, pair.player.player_id());
    assert_eq!(pending.login, login());
    let (accept, mut server) = pending.accept(&welcome(), pair.now).unwrap();
    assert!(accept.len() <= pair.client.datagram().len());
    let Ok(ClientProgress::Accepted(accepted)) = pair.answer(&accept, &[key]) else { panic!("not accepted") };
    let (got, mut client, server_key) = *accepted;
    assert_eq!((got, server_key), (welcome(), key));

    let body = ToServer::Request { id: crate::id::RequestId(1), request: Request::LeaveRoom };
    client.send(pair.now, body.clone()).unwrap();
    let datagram = client.poll_datagram().unwrap();
    assert_eq!(server.handle(pair.now, &datagram), Ok(Some(Frame::Reliable { seq: 0, body })));
    assert_eq!(server.handle(pair.now, &datagram), Err(Dropped::Replayed));
    let ack = server.poll_datagram().unwrap();
    assert_eq!(client.handle(pair.now, &ack), Ok(None));
    assert_eq!(client.poll_timeout(), None, "nothing left to repeat");
}

#[test]
fn a_short_login_is_padded_beyond_its_answer() {
    let mut pair = Pair::new();
    let cookie = pair.cookie(address(1));
    let short = Login { token: Vec::new(), local: Vec::new(), ..login() };
    pair.client.handle(&cookie, &pair.player, &[], &short, pair.now, &mut pair.rng).unwrap();
    let asked = pair.client.datagram().len();
    let (accept, _) = pair.init(address(1)).unwrap().accept(&welcome(), pair.now).unwrap();
    assert!(accept.len() <= asked, "{} > {asked}", accept.len());
}

#[test]
fn a_cookie_serves_one_address_and_a_minute_at_most() {
    let mut pair = Pair::new();
    let cookie = pair.cookie(address(1));
    pair.answer(&cookie, &[]).unwrap();
    assert_eq!(pair.init(address(2)).unwrap_err(), Dropped::BadCookie);
    pair.now += Duration::from_secs(29);
    assert!(pair.init(address(1)).is_ok());
    pair.now += Duration::from_secs(32);
    assert_eq!(pair.init(address(1)).unwrap_err(), Dropped::BadCookie);
}

#[test]
fn a_server_with_another_key_is_noticed() {
    let mut pair = Pair::new();
    let cookie = pair.cookie(address(1));
    assert!(matches!(pair.answer(&cookie, &[[8; 32]]), Ok(ClientProgress::WrongKey)));
}

#[test]
fn another_version_is_answered_with_ours() {
    let mut pair = Pair::new();
    let mut hello = pair.client.datagram().to_vec();
    hello[4] = 0xee;
    let refusal = pair.server.handle_hello(pair.now, (address(1), false), &hello).unwrap();
    assert!(matches!(
        pair.answer(&refusal, &[]),
        Ok(ClientProgress::RefusedInClear(Refusal::Version { theirs: VERSION }))
    ));
}

#[test]
fn an_unpadded_hello_gets_nothing() {
    let pair = Pair::new();
    let hello = &pair.client.datagram()[..MAX_CONTROL - 1];
    assert_eq!(pair.server.handle_hello(pair.now, (address(1), false), hello), Err(Dropped::Malformed));
}

#[test]
fn a_forged_accept_does_not_end_the_attempt() {
    let mut pair = Pair::new();
    let cookie = pair.cookie(address(1));
    pair.answer(&cookie, &[]).unwrap();
    let (accept, _) = pair.init(address(1)).unwrap().accept(&welcome(), pair.now).unwrap();
    for at in HEADER..accept.len() {
        let mut forged = accept.clone();
        forged[at] ^= 1;
        assert_eq!(pair.answer(&forged, &[]).unwrap_err(), Dropped::NotAuthentic);
    }
    assert!(matches!(pair.answer(&accept, &[]), Ok(ClientProgress::Accepted(_))));
}

#[test]
fn an_unknown_session_is_named_back() {
    let mut datagram = vec![Kind::Control as u8];
    datagram.extend_from_slice(&0x0102_0304_0506_0708u64.to_le_bytes());
    datagram.extend_from_slice(&[0; 40]);
    let server = Pair::new().server;
    let refuse = |datagram: &[u8]| refuse_unknown_session(datagram, |session| server.reset_token(3, session));
    let refusal = refuse(&datagram).unwrap();
    assert!(refusal.len() <= datagram.len());
    let token = server.reset_token(3, 0x0102_0304_0506_0708).unwrap();
    assert_eq!(parse_unknown_session(&refusal), Some((0x0102_0304_0506_0708, token)));
    assert_eq!(refuse(&datagram[..38]), None, "never longer than the question");
    assert_ne!(server.reset_token(4, 0x0102_0304_0506_0708), Some(token), "of this node alone");
    // After a restart it is the same: the player still knows it.
    let restarted = ServerHandshake::new(Identity::from_secret([2; 32]), [77; 32], Instant::now());
    assert_eq!(restarted.reset_token(3, 0x0102_0304_0506_0708), Some(token));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..1300)) {
        let mut pair = Pair::new();
        let _ = pair.server.handle_hello(pair.now, (address(1), false), &bytes);
        let _ = pair.server.handle_init(pair.now, (address(1), false), &bytes, &mut pair.rng);
        let _ = pair.client.handle(&bytes, &pair.player, &[], &login(), pair.now, &mut pair.rng);
        let _ = parse_unknown_session(&bytes);
        let _ = refuse_unknown_session(&bytes, |_| Some([0; 16]));
    }
}

#[test]
fn junk_cookies_do_not_keep_the_true_one_out() {
    for junk_first in [true, false] {
        let mut pair = Pair::new();
        let cookie = pair.cookie(address(1));
        let key = pair.server.identity().public_key();
        let mut junk = cookie.clone();
        junk[HEADER + 6] ^= 1;
        let mut of_another = cookie.clone();
        *of_another.last_mut().unwrap() ^= 1;
        assert!(matches!(pair.answer(&of_another, &[key]), Ok(ClientProgress::WrongKey)));
        let order = if junk_first { [&junk, &cookie] } else { [&cookie, &junk] };
        for cookie in order {
            assert!(matches!(pair.answer(cookie, &[key]), Ok(ClientProgress::Cookie)));
        }
        assert_eq!(
            pair.answer(&cookie, &[key]).unwrap_err(),
            Dropped::Replayed,
            "the same one is tried once"
        );
        let inits: Vec<Vec<u8>> = pair.client.inits().map(<[u8]>::to_vec).collect();
        assert_eq!(inits.len(), 2);
        let mut accepted = 0;
        for init in inits {
            let Ok(pending) = pair.server.handle_init(pair.now, (address(1), false), &init, &mut pair.rng)
            else {
                continue;
            };
            let (accept, _) = pending.accept(&welcome(), pair.now).unwrap();
            assert!(matches!(pair.answer(&accept, &[key]), Ok(ClientProgress::Accepted(_))));
            accepted += 1;
        }
        assert_eq!(accepted, 1, "junk first: {junk_first}");
    }
}

#[test]
fn a_flood_of_junk_cookies_costs_a_bounded_number_of_handshakes() {
    let mut pair = Pair::new();
    let cookie = pair.cookie(address(1));
    let mut tried = 0;
    for n in 0..1000u16 {
        let mut junk = cookie.clone();
        junk[HEADER + 4..HEADER + 6].copy_from_slice(&n.to_le_bytes());
        tried += usize::from(pair.answer(&junk, &[]).is_ok());
    }
    assert_eq!((tried, pair.client.inits().count()), (64, 8));
}

#[test]
fn the_first_message_of_one_login_cannot_be_wrapped_into_another_one() {
    let mut pair = Pair::new();
    let cookie = pair.cookie(address(1));
    pair.answer(&cookie, &[]).unwrap();
    let init = pair.client.datagram().to_vec();
    // The thief asks for a cookie of its own, by its own address and nonce, and puts the message behind it.
    let thief = ClientHandshake::new(&mut pair.rng);
    let other = pair.server.handle_hello(pair.now, (address(2), false), thief.datagram()).unwrap();
    let own_cookie = &other[HEADER..HEADER + 20];
    let mut wrapped = thief.datagram()[..HEADER].to_vec();
    wrapped[0] = Kind::Init as u8;
    wrapped.extend_from_slice(own_cookie);
    wrapped.extend_from_slice(&init[HEADER + 20..]);
    let handled = pair.server.handle_init(pair.now, (address(2), false), &wrapped, &mut pair.rng);
    assert_eq!(handled.unwrap_err(), Dropped::NotAuthentic);
    assert!(pair.init(address(1)).is_ok());
}

#[test]
fn a_cookie_of_a_stream_serves_no_datagram_and_the_other_way_round() {
    for over_stream in [true, false] {
        let mut pair = Pair::new();
        let cookie =
            pair.server.handle_hello(pair.now, (address(1), over_stream), pair.client.datagram()).unwrap();
        pair.answer(&cookie, &[]).unwrap();
        let init = pair.client.datagram().to_vec();
        let mut by = |stream| pair.server.handle_init(pair.now, (address(1), stream), &init, &mut pair.rng);
        assert_eq!(by(!over_stream).unwrap_err(), Dropped::BadCookie);
        assert!(by(over_stream).is_ok());
    }
}

#[test]
fn nothing_secret_is_printed() {
    let mut pair = Pair::new();
    let cookie = pair.cookie(address(1));
    pair.answer(&cookie, &[]).unwrap();
    let pending = pair.init(address(1)).unwrap();
    let printed = format!("{:?} {:?} {pending:?} {:?}", pair.server, pair.client, pending.login);
    // The cookie key is [4; 32], the token [7; 512].
    assert!(!printed.contains("4, 4, 4") && !printed.contains("7, 7, 7"), "{printed}");
}
