//! The network thread and what can go wrong around it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bevy_traversal::*;
use lobby_server::{Identity, LobbyServer, Settings};
use test_support::game::{Game, config, host, pair, room, until};
use test_support::lobby;

#[test]
fn a_taken_address_is_an_error_and_not_a_panic() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap();
    let mut game = Game::new(TraversalConfig {
        lobby: vec!["127.0.0.1:9".into()],
        bind: Some(bind),
        ..TraversalConfig::default()
    });
    until([&mut game], "the error", 1.0, |[game]| !game.all::<LobbyFailed>().is_empty());
    let failed = &game.all::<LobbyFailed>()[0];
    assert!(matches!(failed.error, TraversalError::Bind { address, .. } if address == bind), "{failed:?}");
    assert_eq!(game.resource::<LobbyLink>().error.as_ref(), Some(&failed.error));
    // When the address is free, the game may try again.
    drop(taken);
    let lobby = lobby();
    game.write(ConnectLobby::to(lobby.addresses().first[0].to_string()));
    until([&mut game], "the login", 5.0, |[game]| game.resource::<LobbyLink>().online());
}

struct Silent;
impl Resolve for Silent {
    fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
        loop {
            std::thread::park();
        }
    }
}

#[test]
fn a_resolver_that_never_answers_is_reported_and_does_not_hold_up_the_end() {
    let start = Instant::now();
    let mut game = Game::new(TraversalConfig {
        lobby: vec!["lobby.test:3478".into()],
        resolver: Arc::new(Silent),
        ..TraversalConfig::default()
    });
    game.write(JoinRoom::name("room"));
    until([&mut game], "the error", 4.5, |[game]| !game.all::<LobbyFailed>().is_empty());
    let error = game.all::<LobbyFailed>()[0].error.clone();
    assert!(matches!(error, TraversalError::Lobby(LobbyError::Unresolvable { .. })), "{error:?}");
    until([&mut game], "the answer to the request", 1.0, |[game]| !game.all::<RequestFailed>().is_empty());
    drop(game);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[derive(Clone)]
struct Table(Arc<Mutex<Vec<SocketAddr>>>);

impl Table {
    fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Mutex::new(addresses)))
    }
}

impl Resolve for Table {
    fn resolve(&self, host: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "lobby.test");
        Ok(self.0.lock().unwrap().clone())
    }
}

#[test]
fn a_lobby_server_that_moved_behind_its_name_is_found_by_players_in_a_room() {
    let begin = || {
        let settings = Settings {
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            second_port: Some(0),
            no_http: true,
            ..Settings::default()
        };
        LobbyServer::new(settings).identity(Identity::from_secret([7; 32])).spawn().unwrap()
    };
    let first = begin();
    let table = Table::new(vec![first.addresses().first[0]]);
    let known = config(&first, "player");
    let player = |name: &str| {
        Game::new(TraversalConfig {
            lobby: vec!["lobby.test".into()],
            resolver: Arc::new(table.clone()),
            name: name.into(),
            ..known.clone()
        })
    };
    let (mut host, mut guest) = (player("host"), player("guest"));
    host.write(HostRoom(room()));
    until([&mut host], "the room", 5.0, |[host]| !host.all::<RoomJoined>().is_empty());
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    let second = begin();
    *table.0.lock().unwrap() = second.addresses().first.clone();
    first.stop();
    until([&mut host, &mut guest], "the loss is noticed", 10.0, |games| {
        games.iter().all(|game| !game.resource::<LobbyLink>().online())
    });
    until([&mut host, &mut guest], "both are back at the new address", 60.0, |games| {
        games.iter().all(|game| game.resource::<LobbyLink>().online())
    });
    // The room is there again, with both in it, and they have played on.
    let mut third = player("third");
    third.write(JoinRoom::name("room"));
    until([&mut host, &mut guest, &mut third], "somebody else joins the same room", 10.0, |[_, _, third]| {
        !third.all::<PeerConnected>().is_empty() && third.resource::<Members>().0.len() == 3
    });
    for game in [&host, &guest] {
        assert!(game.all::<RoomLeft>().is_empty() && game.all::<PeerDisconnected>().is_empty());
    }
}

#[test]
fn every_address_of_a_name_is_tried() {
    let lobby = lobby();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses = vec![silent.local_addr().unwrap(), lobby.addresses().first[0]];
    let mut game = Game::new(TraversalConfig {
        lobby: vec!["lobby.test".into()],
        resolver: Arc::new(Table::new(addresses)),
        ..config(&lobby, "player")
    });
    // Asked before the name is resolved.
    game.write(HostRoom(room()));
    until([&mut game], "the room", 10.0, |[game]| !game.all::<RoomJoined>().is_empty());
}

#[test]
fn dropping_the_app_frees_its_port_and_says_goodbye() {
    let lobby = lobby();
    let (host, mut guest) = pair(&lobby);
    let local = host.resource::<TraversalLink>().config().bind;
    assert!(local.is_none());
    let start = Instant::now();
    drop(host);
    assert!(start.elapsed() < Duration::from_secs(1));
    until([&mut guest], "the guest hears it", 2.0, |[guest]| !guest.all::<PeerDisconnected>().is_empty());
    let reason = guest.all::<PeerDisconnected>()[0].reason.clone();
    assert!(matches!(reason, DisconnectReason::Closed { .. } | DisconnectReason::Match(_)), "{reason:?}");
}

#[test]
fn another_name_is_another_login() {
    let lobby = lobby();
    let mut game = host(&lobby, room());
    let server = lobby.addresses().first[0].to_string();
    game.write(ConnectLobby { name: Some("renamed".into()), ..ConnectLobby::to(server) });
    until([&mut game], "the old room is left", 5.0, |[game]| !game.all::<RoomLeft>().is_empty());
    game.write(HostRoom(room()));
    until([&mut game], "the room opens again", 5.0, |[game]| {
        game.resource::<Members>().0.first().is_some_and(|host| host.name == "renamed")
    });
}

#[test]
fn a_game_that_stops_ticking_lets_its_players_go() {
    let lobby = lobby();
    let mut guest =
        Game::new(TraversalConfig { stall_timeout: Duration::from_millis(500), ..config(&lobby, "guest") });
    let mut host = host(&lobby, room());
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    // Only the host ticks.
    until([&mut host], "the host hears it", 3.0, |[host]| !host.all::<PeerDisconnected>().is_empty());
    let reason = host.all::<PeerDisconnected>()[0].reason.to_string();
    assert!(reason.contains("stopped responding"), "{reason}");
    until([&mut guest], "the guest awakes", 1.0, |[guest]| !guest.all::<RoomLeft>().is_empty());
    assert_eq!(guest.all::<PeerDisconnected>()[0].reason, DisconnectReason::Stalled);
}

#[test]
fn the_punched_socket_can_be_taken() {
    let lobby = lobby();
    let manual = |name| TraversalConfig { transport: Transport::Manual, ..config(&lobby, name) };
    let (mut host, mut guest) = (Game::new(manual("host")), Game::new(manual("guest")));
    host.write(HostRoom(room()));
    guest.write(JoinRoom { wait: Duration::from_secs(5), ..JoinRoom::name("room") });
    until([&mut host, &mut guest], "both connect", 5.0, |games| {
        games.iter().all(|game| !game.resource::<Peers>().is_empty())
    });
    let take = |game: &mut Game| {
        let player = game.all::<PeerConnected>()[0].peer.id;
        game.app.world_mut().resource_mut::<TraversalLink>().into_socket(player)
    };
    // The guest follows the host's way.
    let mut words = 0;
    until([&mut host, &mut guest], "the host's word comes", 5.0, |[host, guest]| {
        let player = host.all::<PeerConnected>()[0].peer.id;
        host.app.world_mut().resource_mut::<Datagrams>().send(player, b"here".to_vec()).unwrap();
        words += guest.app.world_mut().resource_mut::<Datagrams>().drain().count();
        words > 20
    });
    let (mut at_host, mut at_guest) = (take(&mut host), take(&mut guest));
    let (mut host_socket, mut guest_socket) = (None, None);
    until([&mut host, &mut guest], "both have it", 5.0, |_| {
        host_socket = host_socket.take().or_else(|| at_host.poll());
        guest_socket = guest_socket.take().or_else(|| at_guest.poll());
        host_socket.is_some() && guest_socket.is_some()
    });
    let (host_socket, guest_socket) = (host_socket.unwrap().unwrap(), guest_socket.unwrap().unwrap());
    assert_eq!(host_socket.shared_key, guest_socket.shared_key);
    guest_socket.socket.send_to(b"mine", guest_socket.remote).unwrap();
    let mut buffer = [0; 1500];
    until([&mut host, &mut guest], "it carries", 5.0, |_| {
        host_socket
            .socket
            .recv_from(&mut buffer)
            .is_ok_and(|(length, from)| buffer[..length] == *b"mine" && from == host_socket.remote)
    });
    until([&mut host, &mut guest], "the plugin forgets", 5.0, |games| {
        games.iter().all(|game| game.resource::<Peers>().is_empty())
    });
    assert!(host.all::<PeerDisconnected>().is_empty() && guest.all::<PeerDisconnected>().is_empty());
    // The lobby is still there, by another port.
    host.write(ListRooms::default());
    until([&mut host], "the lobby answers", 5.0, |[host]| !host.all::<RoomsListed>().is_empty());
    let mut again = host.app.world_mut().resource_mut::<TraversalLink>().into_socket(host_socket.player);
    until([&mut host], "it is given once", 5.0, |_| match again.poll() {
        Some(Err(error)) => {
            assert_eq!(error, SocketError::Path(IntoSocketError::NotConnected));
            true
        }
        other => other.is_some(),
    });
}

#[test]
fn datagrams_pass_without_renet() {
    let lobby = lobby();
    let manual = |name| TraversalConfig { transport: Transport::Manual, ..config(&lobby, name) };
    let (mut host, mut guest) = (Game::new(manual("host")), Game::new(manual("guest")));
    host.write(HostRoom(room()));
    guest.write(JoinRoom { wait: Duration::from_secs(5), ..JoinRoom::name("room") });
    let mut got = Vec::new();
    until([&mut host, &mut guest], "a datagram comes", 8.0, |[host, guest]| {
        if let Some(player) = guest.all::<PeerConnected>().first().map(|connected| connected.peer.id) {
            // Not before the frame that says so to the resource too.
            let _ = guest.app.world_mut().resource_mut::<Datagrams>().send(player, b"hello".to_vec());
        }
        got.extend(host.app.world_mut().resource_mut::<Datagrams>().drain());
        !got.is_empty()
    });
    assert_eq!(got[0].payload, b"hello");
    assert_eq!(got[0].player, host.all::<PeerConnected>()[0].peer.id);
}
