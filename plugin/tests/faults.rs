//! What the driver makes of errors that the system answers: the game goes on, nothing spins, and each fault is told once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bevy_renet::renet::DefaultChannel;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::game::{Game, config, room, until};
use test_support::lobby;
use traversal_udp::faults::{self, Call, log};

/// Returns the error number of this system out of two of one meaning: on Windows, elsewhere (Linux).
fn code(windows: i32, linux: i32) -> i32 {
    if cfg!(windows) { windows } else { linux }
}

/// Returns a port of loopback that nothing has.
fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Returns the levels of the lines of the plugin that name this address, which no other test has.
fn lines_about(address: SocketAddr) -> Vec<&'static str> {
    log::levels_about("bevy_traversal", address)
}

/// Returns a host and a guest who are connected, and their addresses.
fn pair(lobby: &RunningServer) -> ((Game, SocketAddr), (Game, SocketAddr)) {
    log::listen();
    let at = |name: &str| {
        let address = free();
        (Game::new(TraversalConfig { bind: Some(address), ..config(lobby, name) }), address)
    };
    let (mut host, mut guest) = (at("host"), at("guest"));
    host.0.write(HostRoom(room()));
    until([&mut host.0], "the room opens", 5.0, |[host]| !host.all::<RoomJoined>().is_empty());
    guest.0.write(JoinRoom::name("room"));
    until([&mut host.0, &mut guest.0], "both connect", 10.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    (host, guest)
}

/// The host sends a message of this length, and the guest gets it.
fn plays(host: &mut Game, guest: &mut Game, length: usize, what: &str) {
    let payload = vec![length as u8; length];
    let mut server = host.app.world_mut().resource_mut::<RenetServer>();
    server.broadcast_message(DefaultChannel::ReliableOrdered, payload.clone());
    let mut got = None;
    until([host, guest], what, 20.0, |[_, guest]| {
        let mut client = guest.app.world_mut().resource_mut::<RenetClient>();
        got = client.receive_message(DefaultChannel::ReliableOrdered).or(got.take());
        got.is_some()
    });
    assert_eq!(got.unwrap(), payload);
}

#[test]
fn a_system_that_refuses_batches_costs_batches_and_no_datagram() {
    let lobby = lobby();
    let ((mut host, address), (mut guest, _)) = pair(&lobby);
    // WSAEINVAL, EINVAL: what a driver without segmentation offload answers.
    faults::fail_forever(address, Call::SendBatch, code(10022, 22));
    plays(&mut host, &mut guest, 60_000, "a message of many datagrams");
    let refused = host.resource::<TraversalStats>().batches_refused();
    let tried = faults::heal(address, Call::SendBatch);
    assert_eq!((refused, tried), (1, 1), "one is tried, and no other");
    assert_eq!(host.resource::<TraversalStats>().send_errors(), 0);
    assert_eq!(lines_about(address), ["INFO"]);
}

#[test]
fn a_socket_that_the_system_took_away_is_opened_anew_and_the_game_goes_on() {
    let lobby = lobby();
    let ((mut host, address), (mut guest, _)) = pair(&lobby);
    // WSAENOTCONN, ENOTCONN: what iOS answers for ever after a suspension.
    faults::fail_forever(address, Call::Receive, code(10057, 107));
    until([&mut host, &mut guest], "the socket is open again", 10.0, |_| {
        // A new socket ends the fault.
        let taken = faults::taken(address, Call::Receive);
        let over = taken > 0 && !faults::fails(address, Call::Receive);
        assert!(taken < 200, "it does not spin");
        over
    });
    plays(&mut host, &mut guest, 3_000, "a message over the new socket");
    assert_eq!(lines_about(address), ["DEBUG", "INFO"], "the first error, and that the socket is open again");
    assert!(guest.all::<PeerDisconnected>().is_empty() && host.all::<PeerDisconnected>().is_empty());
}

#[test]
fn errors_of_earlier_sends_hide_nothing() {
    let lobby = lobby();
    let ((mut host, _), (mut guest, address)) = pair(&lobby);
    // WSAECONNRESET, WSAENETRESET; ECONNREFUSED, EHOSTUNREACH.
    for code in [code(10054, 111), code(10052, 113)] {
        faults::fail(address, Call::Receive, code, 200);
        plays(&mut host, &mut guest, 3_000, "a message behind the errors");
    }
    assert_eq!(lines_about(address), ["DEBUG"], "400 errors, with datagrams between them");
}

/// There is no route for a second: on macOS and iOS without the permission, or with the cable out.
#[test]
fn sends_that_the_system_refuses_are_told_once() {
    let lobby = lobby();
    let ((mut host, address), (mut guest, _)) = pair(&lobby);
    // WSAEHOSTUNREACH, EHOSTUNREACH.
    faults::fail_forever(address, Call::Send, code(10065, 113));
    faults::fail_forever(address, Call::SendBatch, code(10065, 113));
    let to = host.resource::<Peers>().iter().next().unwrap().info.id;
    until([&mut host, &mut guest], "many were refused", 10.0, |[host, _]| {
        // It waits for nothing: the queue takes what is not there any more.
        let _ = host.app.world_mut().resource_mut::<Datagrams>().send(to, vec![1; 100]);
        faults::taken(address, Call::Send) > 100
    });
    faults::heal(address, Call::Send);
    faults::heal(address, Call::SendBatch);
    assert!(host.resource::<TraversalStats>().send_errors() > 100);
    plays(&mut host, &mut guest, 3_000, "a message behind the errors");
    assert_eq!(lines_about(address), ["DEBUG"]);
}

/// Starts a player alone, at an address of its own on Linux: a fault of opening any port there is nobody else's.
#[cfg(target_os = "linux")]
fn alone(lobby: &RunningServer, any: SocketAddr) -> (Game, SocketAddr) {
    log::listen();
    let address = UdpSocket::bind(any).unwrap().local_addr().unwrap();
    (Game::new(TraversalConfig { bind: Some(address), ..config(lobby, "alone") }), address)
}

/// A socket that cannot be had is tried again after five seconds.
#[cfg(target_os = "linux")]
const NEXT_TRY: Duration = Duration::from_secs(6);

/// EMFILE: the process has too many files open.
#[cfg(target_os = "linux")]
const TOO_MANY_FILES: i32 = 24;

#[cfg(target_os = "linux")]
#[test]
fn further_sockets_that_the_system_refuses_are_told_once() {
    let (lobby, any) = (lobby(), "127.0.0.78:0".parse().unwrap());
    faults::fail_forever(any, Call::Open, TOO_MANY_FILES);
    let (mut game, _) = alone(&lobby, any);
    until([&mut game], "a NAT test has asked for sockets", 10.0, |[game]| {
        game.resource::<LobbyLink>().online() && faults::taken(any, Call::Open) > 5
    });
    let told = log::logged().lines().filter(|line| line.contains("fewer sockets")).count();
    assert_eq!(told, 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_cannot_be_had_again_is_told_once_and_so_is_its_end() {
    let (lobby, any) = (lobby(), "127.0.0.79:0".parse().unwrap());
    let (mut game, address) = alone(&lobby, any);
    until([&mut game], "the login", 10.0, |[game]| game.resource::<LobbyLink>().online());
    faults::fail_forever(any, Call::Open, TOO_MANY_FILES);
    // ENOTCONN.
    faults::fail_forever(address, Call::Receive, 107);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"something to read", address).unwrap();
    let told = ["DEBUG", "WARN"];
    until([&mut game], "the first error and the lack of a socket are told", 10.0, |_| {
        lines_about(address) == told
    });
    let since = Instant::now();
    until([&mut game], "the next try", 10.0, |_| since.elapsed() > NEXT_TRY);
    assert_eq!(lines_about(address), told);
    faults::heal(any, Call::Open);
    until([&mut game], "that it is open again is told", 20.0, |_| {
        lines_about(address) == ["DEBUG", "WARN", "INFO"]
    });
}

/// An interface that takes 1,280 bytes, as VPNs have: nobody need be told, and everything arrives.
#[test]
fn what_the_system_refuses_as_too_long_is_sent_shorter_and_the_size_is_shown() {
    let lobby = lobby();
    let ((mut host, address), (mut guest, _)) = pair(&lobby);
    // 20 bytes of IPv4, 8 of UDP.
    faults::narrow(address, 1280 - 28);
    let to = host.resource::<Peers>().iter().next().unwrap().info.id;
    let long = |host: &mut Game| {
        host.app.world_mut().resource_mut::<Datagrams>().send(to, vec![7; MAX_DATAGRAM]).unwrap();
    };
    let size = |game: &Game| game.resource::<Peers>().iter().next().unwrap().path.size;
    long(&mut host);
    until([&mut host, &mut guest], "the size is known", 10.0, |[host, guest]| {
        // 34 bytes of the seal, and what the search leaves open.
        (1280 - 28 - 34 - 8..=1280 - 28 - 34).contains(&size(host)) && size(guest) == MAX_DATAGRAM
    });
    let refused = host.resource::<TraversalStats>().too_long();
    assert!((1..100).contains(&refused), "{refused} refused");
    plays(&mut host, &mut guest, 60_000, "a message of many datagrams");
    long(&mut host);
    until([&mut host, &mut guest], "a long datagram", 5.0, |[_, guest]| {
        let mut datagrams = guest.app.world_mut().resource_mut::<Datagrams>();
        datagrams.drain().any(|datagram| datagram.payload == [7; MAX_DATAGRAM])
    });
    assert_eq!(host.resource::<TraversalStats>().too_long(), refused, "it is not tried again");
    assert_eq!(host.all::<SizeChanged>().last().unwrap().size, size(&host));
}
