//! An evil player who speaks the real protocol over real sockets to a running server: it throws nobody out, and gets no more
//! than it may. What takes longer than some seconds to see is shown on the core (`src/server/tests`).
//!
//! One file, though a long one: every test needs the evil player, which is half of it.
#![cfg(target_os = "linux")] // the only system where all of 127.0.0.0/8 is there without being set up
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, RunningServer, Settings, Status, TokenCheck, TokenLogin};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use test_support::server::{Player, receive};
use traversal_core::id::RequestId;
use traversal_core::nat::NatProfile;
use traversal_core::wire::Kind;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{
    Frame, Login, Probe, ProbePurpose, REGISTER_TAG, Request, RequestError, Response, RoomOptions,
    RoomTarget, ToPlayer, ToServer,
};
use traversal_core::{Identity, NatFacts};

/// What is waited for is looked at so often.
const PACE: Duration = Duration::from_millis(20);
/// Anything that has to come may take so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The evil player is here; `FRIEND` is where an honest one comes in later.
const EVIL: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 66, 1));
const FRIEND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 7, 1));

/// This is a server, with an honest player who hosts a room in it.
struct Stage {
    server: RunningServer,
    address: SocketAddr,
    host: Player,
}

impl Stage {
    fn new(settings: Settings, password: Option<&str>) -> Self {
        Self::with_tokens(settings, password, Box::<OneTime>::default())
    }

    fn with_tokens(settings: Settings, password: Option<&str>, tokens: Box<dyn TokenCheck>) -> Self {
        let bind = vec!["127.0.0.1:0".parse().unwrap()];
        let settings = Settings { bind, no_http: true, ..settings };
        let server = LobbyServer::new(settings).token_check(tokens).spawn().unwrap();
        let address = server.addresses().first[0];
        let mut host = Player::log_in(address, 1, b"host").unwrap();
        let password = password.map(Into::into);
        let options = RoomOptions { name: "r".into(), password, ..RoomOptions::default() };
        assert!(matches!(host.ask(1, Request::CreateRoom { options }), Ok(Response::Room(_))));
        Self { server, address, host }
    }

    fn player(&self, ip: IpAddr, seed: u8) -> Player {
        Player::log_in_from(ip, self.address, seed, &[seed]).unwrap()
    }

    fn status(&self) -> Status {
        self.server.handle().status().unwrap()
    }

    /// Waits until what came in before this has been dealt with, and the answers are there: datagrams to one socket
    /// of this machine come in their order, and the server deals with them in it, but for one newcomer's, whose turn is
    /// before the second ping.
    fn settle(&mut self) {
        assert!(self.host.ping() && self.host.ping(), "the honest host is answered");
    }

    /// The honest player has its session and its room, and does what only a host may do.
    fn assert_served(&mut self, number: u32, sessions: usize) {
        self.settle();
        let metadata = BTreeMap::from([("number".to_string(), number.to_string())]);
        assert_eq!(self.host.ask(number, Request::SetMetadata(metadata)), Ok(Response::Done));
        let status = self.status();
        assert_eq!((status.gauges.sessions, status.gauges.rooms), (sessions, 1));
    }
}

/// These tokens serve once; it is counted how often one was looked at.
#[derive(Clone, Default)]
struct OneTime {
    spent: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    checks: Arc<AtomicUsize>,
}

impl TokenCheck for OneTime {
    fn check(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        if self.spent.lock().unwrap().contains(login.token) { Err("used".into()) } else { Ok(()) }
    }

    fn spend(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        if self.spent.lock().unwrap().insert(login.token.to_vec()) { Ok(()) } else { Err("used".into()) }
    }
}

fn socket_at(ip: IpAddr, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(ip, 0)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// Returns all that waits at a socket.
fn waiting(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_nonblocking(true).unwrap();
    let all = std::iter::from_fn(|| receive(socket).ok()).collect();
    socket.set_nonblocking(false).unwrap();
    all
}

fn join(password: Option<&str>) -> Request {
    Request::JoinRoom { target: RoomTarget::Name("r".into()), password: password.map(Into::into) }
}

/// Row 1: 700 profiles in a row made so many messages to the host that its session ended.
#[test]
fn seven_hundred_profiles_do_not_throw_the_host_out() {
    let mut stage = Stage::new(Settings::default(), None);
    let mut evil = stage.player(EVIL, 66);
    assert!(matches!(evil.ask(1, join(None)), Ok(Response::Room(_))));
    let before = stage.status().counters;
    for seq in 1..=700u32 {
        let profile = NatProfile { foreign_rate: Some(seq as f32), ..NatProfile::default() };
        let body = ToServer::Profile { profile, check: false, manual: NatFacts::NONE };
        evil.say(None, Kind::Control, &Frame::Reliable { seq, body });
        if seq.is_multiple_of(50) {
            // The system's own buffers keep up. The host hears nothing meanwhile.
            assert!(evil.ping());
        }
    }
    let after = stage.status().counters;
    assert!(after.datagrams_in - before.datagrams_in >= 700, "all of them arrived");
    assert!(after.limited > before.limited, "and some were too many");
    assert_eq!((after.pushes_dropped, after.migrations), (0, 0));
    stage.assert_served(2, 2);
}

/// Row 2: acknowledgements of what was never sent freed the sender's queue.
#[test]
fn acknowledgements_of_frames_that_were_never_sent_are_counted_and_change_nothing() {
    let mut stage = Stage::new(Settings::default(), None);
    let mut evil = stage.player(EVIL, 66);
    let before = stage.status().counters.dropped;
    for seq in 1000..1100 {
        evil.say(None, Kind::Control, &Frame::Ack { seq, counter: 0 });
    }
    assert!(evil.ping());
    assert_eq!(stage.status().counters.dropped, before + 100);
    // Neither is the answer that it gets next, by the number that it must have, in a datagram that has not been sent.
    for seq in 0..4 {
        evil.say(None, Kind::Control, &Frame::Ack { seq, counter: 1 << 40 });
    }
    assert_eq!(evil.ask(1, Request::LeaveQueue), Err(RequestError::NotQueued));
    assert!(stage.status().counters.dropped >= before + 104);
    stage.assert_served(2, 2);
}

/// Row 5: what nobody acknowledged was sent again for ever, to an address that its player had left.
#[test]
fn an_address_that_was_left_and_one_that_is_not_proven_get_little() {
    let mut stage = Stage::new(Settings::default(), None);
    let mut evil = stage.player(EVIL, 66);
    let elsewhere = socket_at(IpAddr::V4(Ipv4Addr::new(127, 0, 67, 1)), stage.address);
    let begun = Instant::now();
    let mut sent = 0;
    for seq in 0..400u32 {
        let request = Request::ListRooms { query: Default::default() };
        let body = ToServer::Request { id: RequestId(seq), request };
        sent += evil.say(Some(&elsewhere), Kind::Control, &Frame::Reliable { seq, body });
        if seq.is_multiple_of(50) {
            stage.settle();
        }
    }
    stage.settle();
    let bytes = |socket: &UdpSocket| waiting(socket).iter().map(Vec::len).sum::<usize>();
    let (here, there) = (bytes(&elsewhere), bytes(&evil.socket));
    assert!(here <= sent, "{here} bytes where nothing is proven, for {sent}");
    // An acknowledgement of 64 bytes for each, and what may be on its way at once, as often as it was sent in this time.
    let tries = 2 + (begun.elapsed().as_millis() / 500) as usize;
    assert!(there <= 400 * 64 + 14_720 * tries, "{there} bytes where it was, for {sent}");
    stage.assert_served(2, 2);
}

/// Row 6: limits per address held at the login only.
#[test]
fn sessions_that_move_to_one_address_are_within_its_limit() {
    const MOST: usize = 4;
    let settings = Settings { max_sessions_per_address: MOST, ..Settings::default() };
    let mut stage = Stage::new(settings, None);
    let mut evil: Vec<Player> =
        (2..=11).map(|n| stage.player(IpAddr::V4(Ipv4Addr::new(127, 0, 66, n)), n)).collect();
    let one = IpAddr::V4(Ipv4Addr::new(127, 0, 67, 1));
    let mut there = 0;
    for player in &mut evil {
        let socket = socket_at(one, stage.address);
        player.say(Some(&socket), Kind::Control, &Frame::Ping { id: 1 });
        stage.settle();
        let opened = |socket: &UdpSocket, player: &mut Player| {
            let got = waiting(socket);
            got.iter().filter_map(|datagram| player.session.open(datagram).ok()).collect::<Vec<_>>()
        };
        for frame in opened(&socket, player) {
            if let Frame::PathChallenge { token } = frame {
                player.say(Some(&socket), Kind::Control, &Frame::PathResponse { token });
            }
        }
        stage.settle();
        let moved = opened(&socket, player).iter().any(|frame| matches!(frame, Frame::Pong { id: 0, .. }));
        there += usize::from(moved);
        if !moved {
            assert!(player.ping(), "who did not get in is served where it was");
        }
    }
    assert_eq!(there, MOST);
    stage.assert_served(2, 11);
}

/// Row 7: passwords could be tried 2,400 times a second.
#[test]
fn a_password_is_not_guessed_and_who_knows_it_gets_in() {
    let mut stage = Stage::new(Settings::default(), Some("9999"));
    let begun = Instant::now();
    let (mut wrong, mut limited) = (0, 0);
    for session in 0..5 {
        let mut evil = stage.player(EVIL, 60 + session);
        for guess in 0..20 {
            match evil.ask(guess + 1, join(Some(&format!("{session}{guess:03}")))) {
                Err(RequestError::WrongPassword) => wrong += 1,
                Err(RequestError::Limited { .. }) => limited += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    // Ten at once, and then one each ten seconds.
    let allowed = 11 + begun.elapsed().as_secs() / 10;
    assert!((10..=allowed).contains(&wrong), "{wrong} tried, {limited} limited");
    let told = stage.host.told_until(|message| match message {
        ToPlayer::WrongPasswords { in_last_minute, .. } => Some(*in_last_minute),
        _ => None,
    });
    assert!(told.is_some_and(|told| told > 0), "the host is told");
    let mut friend = stage.player(FRIEND, 7);
    assert!(matches!(friend.ask(1, join(Some("9999"))), Ok(Response::Room(_))));
    stage.assert_served(2, 7);
}

/// Row 10: some datagrams were answered with more than they had, to whoever was their sender on paper.
#[test]
fn an_address_that_is_not_proven_gets_no_more_bytes_than_came_from_it() {
    let mut stage = Stage::new(Settings::default(), None);
    let mut evil = stage.player(EVIL, 66);
    let server = stage.address;
    let mut handshake = ClientHandshake::new(&mut ChaCha20Rng::from_seed([5; 32]));
    let hello = handshake.hello().to_vec();
    let init = init_of(&mut handshake, server, FRIEND, b"x").0;
    let register = Probe { tag: REGISTER_TAG, purpose: ProbePurpose::Register };
    let probes = [
        ProbePurpose::Report,
        ProbePurpose::ReplyFromOtherPort,
        ProbePurpose::MappedPort { port: 4444 },
        ProbePurpose::SignedReport,
    ];
    let list =
        ToServer::Request { id: RequestId(1), request: Request::ListRooms { query: Default::default() } };
    let mut frames = vec![
        (Kind::Control, Frame::Ping { id: 1 }),
        (Kind::Control, Frame::PathResponse { token: [1; 16] }),
        (Kind::Control, Frame::Reliable { seq: 0, body: list }),
        (Kind::Control, Frame::Probe(register)),
        (Kind::Probe, Frame::Probe(register)),
        (Kind::Probe, Frame::Ping { id: 1 }),
    ];
    frames.extend(probes.map(|purpose| (Kind::Probe, Frame::Probe(Probe { tag: 1, purpose }))));
    let mut datagrams: Vec<Vec<u8>> =
        frames.iter().map(|(kind, frame)| evil.session.seal(Instant::now(), *kind, frame).unwrap()).collect();
    datagrams.extend([hello, init, [&[Kind::Relay as u8][..], &[7; 100]].concat()]);
    // Each from an address of its own: neither its rates nor what came from it before are an excuse.
    let mut addresses = (1..=u16::MAX).map(|n| {
        let [high, low] = n.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(127, 1, high, low))
    });
    let mut answered = 0;
    for datagram in &datagrams {
        // The whole one last: what is authentic counts once.
        let cuts = (1..datagram.len()).step_by(if datagram.len() > 400 { 97 } else { 7 });
        for length in cuts.chain([datagram.len()]) {
            // Open to all of the server's sockets.
            let socket = UdpSocket::bind((addresses.next().unwrap(), 0)).unwrap();
            socket.send_to(&datagram[..length], server).unwrap();
            stage.settle();
            let got: usize = waiting(&socket).iter().map(Vec::len).sum();
            let kind = Kind::of(datagram);
            assert!(got <= length, "{kind:?}: {got} bytes for {length} of {}", datagram.len());
            answered += usize::from(got > 0);
        }
    }
    assert!(answered >= 8, "only {answered} were answered at all");
    stage.assert_served(2, 2);
}

/// Row 13: a reliable frame over the rate was acknowledged, and then dropped.
#[test]
fn a_message_over_the_rate_is_not_acknowledged_and_taken_when_it_comes_again() {
    const SENT: u32 = 1023;
    let mut stage = Stage::new(Settings::default(), None);
    let mut evil = stage.player(EVIL, 66);
    let mut acknowledged = BTreeSet::new();
    let mut say_and_hear = |evil: &mut Player, acknowledged: &mut BTreeSet<u32>, seq: u32| {
        let body = ToServer::LocalAddresses(vec![SocketAddr::from(([192, 168, 1, 1], 2000))]);
        evil.say(None, Kind::Control, &Frame::Reliable { seq, body });
        if seq.is_multiple_of(16) {
            stage.settle();
            for datagram in waiting(&evil.socket) {
                if let Ok(Frame::Ack { seq, .. }) = evil.session.open(&datagram) {
                    acknowledged.insert(seq);
                }
            }
        }
    };
    // As many messages twice: more than the rate has in store.
    for seq in (0..SENT).chain(0..SENT) {
        say_and_hear(&mut evil, &mut acknowledged, seq);
    }
    let end = Instant::now() + PATIENCE;
    while acknowledged.len() < SENT as usize && Instant::now() < end {
        for seq in (0..SENT).filter(|seq| !acknowledged.contains(seq)).take(16).collect::<Vec<_>>() {
            say_and_hear(&mut evil, &mut acknowledged, seq);
        }
        say_and_hear(&mut evil, &mut acknowledged, 0);
        // The rate gives one message in this time; asking faster uses up that of the honest player, who pings to settle.
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(acknowledged.len(), SENT as usize, "all are taken in the end");
    assert!(stage.status().counters.limited > 0, "and not all at once");
    stage.assert_served(2, 2);
}

/// Returns the datagram with the first Noise message of a login, and the socket that its cookie serves.
fn init_of(
    handshake: &mut ClientHandshake,
    server: SocketAddr,
    ip: IpAddr,
    token: &[u8],
) -> (Vec<u8>, UdpSocket) {
    let socket = socket_at(ip, server);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(handshake.hello()).unwrap();
    let cookie = receive(&socket).unwrap();
    let mut rng = ChaCha20Rng::from_seed([6; 32]);
    let (identity, login) = victim(token);
    let progress = handshake.handle(&cookie, &identity, &[], &login, Instant::now(), &mut rng);
    assert!(matches!(progress, Ok(ClientProgress::Cookie)));
    (handshake.datagram().to_vec(), socket)
}

fn victim(token: &[u8]) -> (Identity, Login) {
    let login = Login {
        game: "game".into(),
        game_protocol: 1,
        name: "victim".into(),
        token: token.to_vec(),
        ephemeral: Identity::from_secret([88; 32]).public_key(),
        local: Vec::new(),
        relay_only: false,
    };
    (Identity::from_secret([8; 32]), login)
}

/// Row 20: a first message could be wrapped into another login's nonce and cookie, and burned the token in it.
#[test]
fn anothers_first_message_runs_no_token_check_and_holds_no_place() {
    let tokens = OneTime::default();
    let mut stage = Stage::with_tokens(Settings::default(), None, Box::new(tokens.clone()));
    let checks = || tokens.checks.load(Ordering::Relaxed);
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    let mut of_victim = ClientHandshake::new(&mut rng);
    let (init, socket) = init_of(&mut of_victim, stage.address, FRIEND, b"once");
    let before = checks();
    for n in 1..=20 {
        // Nonce and cookie of one's own login, and all that follows of the victim's.
        let mut own = ClientHandshake::new(&mut rng);
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 66, n));
        let (wrapped, evil) = init_of(&mut own, stage.address, ip, b"none");
        evil.send(&[&wrapped[..42], &init[42..]].concat()).unwrap();
        stage.settle();
        assert!(waiting(&evil).is_empty(), "no answer to it");
    }
    assert_eq!(checks(), before, "nobody looks at a token");
    assert_eq!(stage.status().gauges.sessions, 1, "and nobody has a place");
    socket.send(&init).unwrap();
    let (identity, login) = victim(b"once");
    let answer = receive(&socket).unwrap();
    let progress = of_victim.handle(&answer, &identity, &[], &login, Instant::now(), &mut rng);
    let Ok(ClientProgress::Accepted(accepted)) = progress else { panic!("the victim gets in: {progress:?}") };
    let (_, session, server_key) = *accepted;
    let mut victim = Player { socket, session, server_key };
    assert!(victim.ping());
    let deadline = Instant::now() + PATIENCE;
    while !tokens.spent.lock().unwrap().contains(&b"once"[..]) {
        assert!(Instant::now() < deadline, "with its token");
        std::thread::sleep(PACE);
    }
    stage.assert_served(2, 2);
}

/// Checks of tokens wait until they may end; the host's do not, nor does one that breaks the check.
#[derive(Clone, Default)]
struct Slow {
    inside: Arc<AtomicUsize>,
    may_end: Arc<AtomicBool>,
}

impl TokenCheck for Slow {
    fn check(&self, login: &TokenLogin<'_>) -> Result<(), String> {
        assert!(login.address.is_loopback());
        match login.token {
            b"host" => {}
            b"panic" => panic!("a check that panics"),
            _ => {
                self.inside.fetch_add(1, Ordering::SeqCst);
                let begin = Instant::now();
                while !self.may_end.load(Ordering::SeqCst) && begin.elapsed() < PATIENCE {
                    std::thread::sleep(PACE);
                }
            }
        }
        Ok(())
    }
}

#[test]
fn checks_of_tokens_that_take_long_keep_nobody_else_waiting() {
    let slow = Slow::default();
    let mut stage = Stage::with_tokens(Settings::default(), None, Box::new(slow.clone()));
    let address = stage.address;
    let logins: Vec<_> = (10..14u8)
        .map(|seed| std::thread::spawn(move || Player::log_in(address, seed, &[seed]).is_ok()))
        .collect();
    let begin = Instant::now();
    while slow.inside.load(Ordering::SeqCst) < logins.len() {
        assert!(begin.elapsed() < PATIENCE, "they are checked side by side");
        stage.settle();
        // A player may say 200 things a second.
        std::thread::sleep(PACE);
    }
    stage.settle();
    assert!(
        !logins.iter().any(std::thread::JoinHandle::is_finished),
        "the host is answered, and none of them yet"
    );
    slow.may_end.store(true, Ordering::SeqCst);
    assert!(logins.into_iter().all(|login| login.join().unwrap()));
    let broken = Player::log_in(address, 20, b"panic").err().unwrap();
    assert!(broken.contains("the login service failed"), "{broken}");
    stage.settle();
}
