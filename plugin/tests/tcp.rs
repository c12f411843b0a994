//! Real apps whose way to the lobby server is TCP alone, or IPv6: a door that forwards TCP and has no UDP behind it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bevy_renet::RenetClient;
use bevy_renet::RenetServer;
use bevy_renet::renet::DefaultChannel;
use bevy_traversal::*;
use lobby_server::{LobbyServer, RunningServer, Settings};
use test_support::game::{Game, config, host, room, until};
use test_support::lobby;

/// Forwards TCP connections to a server. Nothing listens at its UDP port, so UDP is blocked for whoever knows only
/// this address.
struct Door {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    _udp: UdpSocket,
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

impl Door {
    fn to(server: SocketAddr) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), server)
    }

    fn at(bind: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(bind).unwrap();
        let address = listener.local_addr().unwrap();
        // Takes what comes and says nothing, as a firewall that drops.
        let udp = UdpSocket::bind(address).unwrap();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = open.clone();
        std::thread::spawn(move || {
            for inner in listener.incoming().map_while(Result::ok) {
                let Ok(outer) = TcpStream::connect(server) else { continue };
                inner.set_nodelay(true).unwrap();
                outer.set_nodelay(true).unwrap();
                kept.lock().unwrap().push(inner.try_clone().unwrap());
                let (back, forth) = (inner.try_clone().unwrap(), outer.try_clone().unwrap());
                std::thread::spawn(move || copy(inner, outer));
                std::thread::spawn(move || copy(forth, back));
            }
        });
        Self { address, open, _udp: udp }
    }

    /// Writes this into every connection, towards the player.
    fn inject(&self, bytes: &[u8]) {
        for stream in self.open.lock().unwrap().iter_mut() {
            let _ = stream.write_all(bytes);
        }
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

const RELIABLE: DefaultChannel = DefaultChannel::ReliableOrdered;

/// Takes what arrived at the guest: numbers in order, of which `next` is the next one.
fn take(guest: &mut Game, next: &mut u32) {
    let mut client = guest.app.world_mut().resource_mut::<RenetClient>();
    while let Some(message) = client.receive_message(RELIABLE) {
        assert_eq!(message[..], next.to_le_bytes(), "in order, none lost");
        *next += 1;
    }
}

#[test]
fn without_udp_a_game_is_played_over_tcp_and_outlives_cuts_and_garbage() {
    let lobby = lobby();
    let door = Door::to(lobby.addresses().first[0]);
    let mut host = host(&lobby, room());
    let mut guest =
        Game::new(TraversalConfig { lobby: vec![door.address.to_string()], ..config(&lobby, "guest") });
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 10.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    // Only silence to all that was sent over UDP for some seconds says that it is blocked.
    until([&mut host, &mut guest], "UDP is known to be blocked", 15.0, |[_, guest]| {
        guest.resource::<NatStatus>().kind() == NatKind::UdpBlocked
    });
    assert_eq!(lobby.handle().status().unwrap().tcp_connections, 1);

    let (mut sent, mut received) = (0u32, 0u32);
    for round in 0..4 {
        match round {
            1 => door.cut(),
            2 => door.inject(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            3 => door.inject(&[0, 9, 1]),
            _ => {}
        }
        let goal = sent + 200;
        until([&mut host, &mut guest], "all messages arrive", 20.0, |[host, guest]| {
            if sent < goal {
                let mut server = host.app.world_mut().resource_mut::<RenetServer>();
                server.broadcast_message(RELIABLE, sent.to_le_bytes().to_vec());
                sent += 1;
            }
            take(guest, &mut received);
            received == goal
        });
    }
    assert!(guest.all::<PeerDisconnected>().is_empty() && host.all::<PeerDisconnected>().is_empty());
    assert!(guest.all::<RoomLeft>().is_empty());
}

/// Serves the same address by a server with another key.
fn served_anew(first: RunningServer) -> RunningServer {
    let address = first.addresses().first[0];
    first.stop();
    let settings =
        Settings { bind: vec![address], second_port: Some(0), no_http: true, ..Settings::default() };
    LobbyServer::new(settings).identity(lobby_server::Identity::from_secret([7; 32])).spawn().unwrap()
}

/// Returns a player behind this door who knows no key.
fn anybody(door: &Door, lobby: &RunningServer) -> Game {
    let servers = vec![door.address.to_string()];
    Game::new(TraversalConfig { lobby: servers, server_keys: Vec::new(), ..config(lobby, "player") })
}

fn online(game: &Game) -> bool {
    game.resource::<LobbyLink>().online()
}

#[test]
fn a_player_over_tcp_is_back_after_the_restart_of_a_server_on_its_machine_whatever_its_key() {
    let first = lobby();
    let door = Door::to(first.addresses().first[0]);
    let mut game = anybody(&door, &first);
    until([&mut game], "the login", 10.0, |[game]| online(game));
    let again = served_anew(first);
    until([&mut game], "the loss is noticed", 10.0, |[game]| !online(game));
    until([&mut game], "the player is back", 20.0, |[game]| online(game));
    assert_eq!(again.handle().status().unwrap().tcp_connections, 1);
}

#[test]
fn another_key_of_a_server_elsewhere_is_told_and_not_borne() {
    let Some(own) = own_address() else {
        return test_support::skipped("this machine has no address but loopback");
    };
    let first = lobby();
    let door = Door::at(SocketAddr::new(own, 0), first.addresses().first[0]);
    let mut game = anybody(&door, &first);
    until([&mut game], "the login", 10.0, |[game]| online(game));
    let again = served_anew(first);
    until([&mut game], "the other key is noticed", 20.0, |[game]| {
        game.all::<LobbyFailed>()
            .iter()
            .any(|failed| matches!(&failed.error, TraversalError::Lobby(LobbyError::KeyChanged { .. })))
    });
    let mut fresh = anybody(&door, &again);
    until([&mut fresh], "a login at the new server", 10.0, |[game]| online(game));
}

/// Returns the address by which this machine would leave for the internet; none: it has none but loopback.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Returns a server that is reached over IPv6 alone; none, and said, where there is no IPv6.
fn ipv6_lobby() -> Option<RunningServer> {
    if UdpSocket::bind("[::1]:0").is_err() {
        test_support::skipped("this machine has no IPv6 loopback");
        return None;
    }
    let settings = Settings {
        bind: vec!["[::1]:0".parse().unwrap()],
        second_port: Some(0),
        no_http: true,
        ..Settings::default()
    };
    Some(LobbyServer::new(settings).spawn().unwrap())
}

#[test]
fn a_game_is_played_over_ipv6() {
    let Some(lobby) = ipv6_lobby() else { return };
    let v6 = |name| Game::new(TraversalConfig { ipv6: true, ..config(&lobby, name) });
    let (mut host, mut guest) = (v6("host"), v6("guest"));
    host.write(HostRoom(room()));
    until([&mut host], "the room opens", 5.0, |[host]| !host.all::<RoomJoined>().is_empty());
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect directly", 10.0, |games| {
        games.iter().all(|game| game.resource::<Peers>().iter().any(|peer| peer.path.kind != PathKind::Relay))
    });
    let path = guest.resource::<Peers>().iter().next().unwrap().path.clone();
    assert!(path.remote.unwrap().is_ipv6(), "{path:?}");
}

struct Both(Vec<SocketAddr>);
impl Resolve for Both {
    fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(self.0.clone())
    }
}

#[test]
fn of_a_name_with_both_families_the_one_that_answers_is_taken() {
    let Some(lobby) = ipv6_lobby() else { return };
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses = vec![silent.local_addr().unwrap(), lobby.addresses().first[0]];
    let config = |ipv6| TraversalConfig {
        lobby: vec!["lobby.test".into()],
        resolver: Arc::new(Both(addresses.clone())),
        ipv6,
        ..config(&lobby, "player")
    };
    let mut game = Game::new(config(true));
    let start = std::time::Instant::now();
    until([&mut game], "the login", 5.0, |[game]| game.resource::<LobbyLink>().online());
    assert!(start.elapsed() < Duration::from_secs(4), "no timeout had to pass");
    // Told to leave IPv6 alone, it does.
    let mut without = Game::new(config(false));
    until([&mut without], "no answer", 10.0, |[game]| !game.all::<LobbyFailed>().is_empty());
}
