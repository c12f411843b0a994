//! Logins over TCP on real sockets, and what those get who misuse it.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lobby_server::{LobbyServer, RunningServer, Settings};
use test_support::login::log_in;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Frame, ToPlayer};
use traversal_core::wire::session::ClientSession;
use traversal_core::wire::stream::{StreamReader, StreamWriter};

fn server(settings: Settings) -> RunningServer {
    let bind = vec!["127.0.0.1:0".parse().unwrap()];
    LobbyServer::new(Settings { bind, no_http: true, ..settings }).spawn().unwrap()
}

/// Hears of nothing any more.
fn is_closed(stream: &mut TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

struct Player {
    stream: TcpStream,
    reader: StreamReader,
    session: ClientSession,
    got: Vec<Vec<u8>>,
}

fn send(stream: &mut TcpStream, datagram: &[u8], piece: usize) -> std::io::Result<()> {
    let mut writer = StreamWriter::default();
    assert!(writer.push(datagram));
    for piece in writer.pending().chunks(piece) {
        stream.write_all(piece)?;
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, reader: &mut StreamReader, got: &mut Vec<Vec<u8>>) -> Option<Vec<u8>> {
    while got.is_empty() {
        let mut buffer = [0; 700];
        let length = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result.ok().filter(|length| *length > 0)?,
        };
        reader.feed(&buffer[..length], |datagram| got.push(datagram.to_vec())).unwrap();
    }
    Some(got.remove(0))
}

impl Player {
    /// Logs in over TCP; `piece` bytes are written at a time.
    fn log_in(server: SocketAddr, seed: u8, piece: usize) -> Self {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (mut reader, mut got) = (StreamReader::default(), Vec::new());
        let (welcome, session, _) = log_in(seed, &[], |datagram| {
            send(&mut stream, datagram, piece).unwrap();
            receive(&mut stream, &mut reader, &mut got).ok_or_else(|| "no answer".into())
        })
        .unwrap();
        assert_eq!(welcome.observed, stream.local_addr().unwrap());
        Self { stream, reader, session, got }
    }

    fn send(&mut self, frame: &Frame<traversal_core::wire::message::ToServer>) -> std::io::Result<()> {
        let datagram = self.session.seal(Instant::now(), Kind::Control, frame).unwrap();
        send(&mut self.stream, &datagram, datagram.len() + 2)
    }

    fn wait_for(&mut self, wanted: impl Fn(&Frame<ToPlayer>) -> bool) -> bool {
        while let Some(datagram) = receive(&mut self.stream, &mut self.reader, &mut self.got) {
            if let Ok(Some(frame)) = self.session.handle(Instant::now(), &datagram)
                && wanted(&frame)
            {
                return true;
            }
        }
        false
    }

    fn ping(&mut self) -> bool {
        self.send(&Frame::Ping { id: 77 }).unwrap();
        self.wait_for(|frame| matches!(frame, Frame::Pong { id: 77, .. }))
    }
}

fn connections(server: &RunningServer) -> usize {
    server.handle().status().unwrap().tcp_connections
}

#[test]
fn a_player_logs_in_over_tcp_at_the_port_of_udp_however_the_bytes_are_cut() {
    let server = server(Settings::default());
    let addresses = server.addresses();
    assert_eq!(addresses.tcp, addresses.first);
    for (seed, piece) in [(1, 4096), (2, 100), (3, 1)] {
        let mut player = Player::log_in(addresses.first[0], seed, piece);
        assert!(player.ping());
    }
    let mut player = Player::log_in(addresses.first[0], 4, 4096);
    assert!(player.ping());
    server.stop();
    assert!(player.wait_for(|frame| matches!(frame, Frame::Goodbye { .. })), "told that it stops");
}

#[test]
fn a_session_goes_on_over_udp_after_an_echo_and_comes_back() {
    let server = server(Settings::default());
    let mut player = Player::log_in(server.addresses().first[0], 1, 4096);
    assert!(player.ping());
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(server.addresses().first[0]).unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let frame = |player: &mut Player| {
        let mut buffer = [0; 2048];
        let length = loop {
            match udp.recv(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.unwrap(),
            }
        };
        player.session.handle(Instant::now(), &buffer[..length]).unwrap()
    };
    let knock = |player: &mut Player, frame: &Frame<_>| {
        udp.send(&player.session.seal(Instant::now(), Kind::Control, frame).unwrap()).unwrap();
    };
    knock(&mut player, &Frame::Ping { id: 1 });
    let Some(Frame::PathChallenge { token }) = frame(&mut player) else { panic!("a challenge by UDP") };
    assert!(player.ping(), "still over TCP");
    knock(&mut player, &Frame::PathResponse { token });
    let local = udp.local_addr().unwrap();
    assert!(matches!(frame(&mut player), Some(Frame::Pong { observed, .. }) if observed == local));
    knock(&mut player, &Frame::Ping { id: 2 });
    assert!(matches!(frame(&mut player), Some(Frame::Pong { id: 2, .. })), "over UDP now");
    // A former way is as good for a second; then it must be proven anew.
    let deadline = Instant::now() + Duration::from_secs(5);
    let token = loop {
        assert!(Instant::now() < deadline, "challenged in time");
        player.send(&Frame::Ping { id: 3 }).unwrap();
        player.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        if let Some(datagram) = receive(&mut player.stream, &mut player.reader, &mut player.got)
            && let Ok(Some(Frame::PathChallenge { token })) = player.session.handle(Instant::now(), &datagram)
        {
            break token;
        }
    };
    player.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    player.send(&Frame::PathResponse { token }).unwrap();
    assert!(player.wait_for(|frame| matches!(frame, Frame::Pong { .. })));
    assert!(player.ping());
}

#[test]
fn garbage_ends_a_connection_and_nothing_else() {
    let server = server(Settings::default());
    let address = server.addresses().first[0];
    let mut player = Player::log_in(address, 1, 4096);
    // Lengths out of range: HTTP, TLS, none, too long.
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0x16, 3, 1, 2, 0], &[0, 0], &[0x05, 0xdd]] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(garbage).unwrap();
        assert!(is_closed(&mut stream, Duration::from_secs(5)), "{garbage:?}");
    }
    // Well-formed frames of nonsense, more than the server will read, and half of one.
    let mut stream = TcpStream::connect(address).unwrap();
    for n in 0..2000u32 {
        let mut datagram = vec![(n * 7) as u8; 1 + (n as usize * 13) % 1400];
        datagram[0] = 0xC7 + (n % 10) as u8;
        if send(&mut stream, &datagram, 4096).is_err() {
            break;
        }
    }
    stream.write_all(&[1, 0, 9]).unwrap();
    assert!(player.ping());
    drop(stream);
    // A client that says no more, but listens.
    let mut half = Player::log_in(address, 2, 4096);
    half.stream.shutdown(Shutdown::Write).unwrap();
    assert!(is_closed(&mut half.stream, Duration::from_secs(5)));
    assert!(player.ping());
}

#[test]
fn over_the_limit_the_oldest_connection_without_a_login_gives_way_and_players_stay() {
    for settings in [
        Settings { max_tcp_per_address: 3, ..Settings::default() },
        Settings { max_tcp: 3, ..Settings::default() },
    ] {
        let server = server(settings);
        let address = server.addresses().first[0];
        let mut player = Player::log_in(address, 1, 4096);
        let mut idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
        let another = Player::log_in(address, 3, 4096);
        assert!(is_closed(&mut idle[0], Duration::from_secs(5)), "the oldest made room");
        assert_eq!(connections(&server), 3);
        let third = Player::log_in(address, 4, 4096);
        assert!(is_closed(&mut idle[1], Duration::from_secs(5)));
        let mut over = TcpStream::connect(address).unwrap();
        assert!(is_closed(&mut over, Duration::from_secs(5)), "players make no room");
        assert!(player.ping());
        assert_eq!(connections(&server), 3);
        drop((another, third));
        // Their places are free again.
        let deadline = Instant::now() + Duration::from_secs(5);
        while connections(&server) > 1 {
            assert!(Instant::now() < deadline, "noticed in time");
        }
        assert!(Player::log_in(address, 2, 4096).ping() && player.ping());
    }
}

#[test]
fn who_does_not_log_in_is_put_out_and_who_did_stays() {
    let server = server(Settings { tcp_login_timeout_s: 1, ..Settings::default() });
    let address = server.addresses().first[0];
    let mut player = Player::log_in(address, 1, 4096);
    assert!(player.ping());
    let since = Instant::now();
    let mut silent = TcpStream::connect(address).unwrap();
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(&[4]).unwrap();
    assert!(is_closed(&mut silent, Duration::from_secs(10)));
    assert!(since.elapsed() >= Duration::from_secs(1), "not before its time");
    assert!(is_closed(&mut slow, Duration::from_secs(10)));
    assert!(player.ping());
    assert_eq!(connections(&server), 1);
}

#[test]
fn a_reader_that_stands_still_does_not_hold_up_the_others() {
    let server = server(Settings::default());
    let address = server.addresses().first[0];
    let mut lazy = Player::log_in(address, 1, 4096);
    lazy.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut player = Player::log_in(address, 2, 4096);
    for _ in 0..3000 {
        // Each is answered; nothing is read.
        if lazy.send(&Frame::Ping { id: 1 }).is_err() {
            break;
        }
    }
    for _ in 0..50 {
        assert!(player.ping());
    }
}

#[test]
fn a_taken_tcp_port_is_said_with_what_to_do_and_tcp_can_be_left_off() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings { bind: vec![taken.local_addr().unwrap()], no_http: true, ..Settings::default() };
    let error = LobbyServer::new(settings.clone()).bind().unwrap_err();
    let text = lobby_server::check::chain(&error);
    assert!(text.contains("TCP") && text.contains("--no-tcp"), "{text}");
    let server = LobbyServer::new(Settings { no_tcp: true, ..settings }).spawn().unwrap();
    assert!(server.addresses().tcp.is_empty());
}

#[test]
fn check_says_what_to_open_for_tcp() {
    let bind = vec!["127.0.0.1:0".parse().unwrap()];
    let settings = Settings { bind, no_http: true, ..Settings::default() };
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let text = lobby_server::check::check(settings.clone(), &key).unwrap().text;
    assert!(text.contains("let TCP in to port") && text.contains("/tcp"), "{text}");
    let text = lobby_server::check::check(Settings { no_tcp: true, ..settings }, &key).unwrap().text;
    assert!(text.contains("tcp: off") && !text.contains("/tcp"), "{text}");
}
